package console

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/console/search"
	"fengsui/registry"
	"fengsui/schemas"
)

func (c *Console) registerDrift() {
	huma.Register(c.api, operation(http.MethodGet, "drift-item", "One drift, with who handles it at the unit and every decision about it", forUsers, http.StatusNotFound), c.getDriftItem)
	huma.Register(c.api, operation(http.MethodPost, "drift-decisions", "Acknowledge a drift, say that it is fixed (it is scanned again, and only a clean scan closes it), or accept it", forUsers, http.StatusNotFound), c.postDriftDecision)
}

type driftInput struct {
	ID string `query:"id" required:"true" minLength:"1" maxLength:"64"`
}

// DriftItem is a drift with what only the registry knows.
type DriftItem struct {
	schemas.Drift
	Owner     *registry.Contact `json:"owner,omitempty" doc:"the security officer of the unit, or of the nearest above that has one"`
	Decisions []Change          `json:"decisions" nullable:"false" doc:"the newest first"`
}

func (c *Console) getDriftItem(ctx context.Context, in *driftInput) (*bodyOf[DriftItem], error) {
	d, p := c.drift(ctx, in.ID)
	if p != nil {
		return nil, p
	}
	item := DriftItem{Drift: *d, Decisions: []Change{}}
	owner, found, err := c.deps.Registry.Officer(ctx, d.Unit)
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	if found {
		item.Owner = &owner
	}
	changes, err := c.deps.Registry.History(ctx, "decision/"+d.ID)
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	for i := range changes {
		one, err := changed(&changes[i])
		if err != nil {
			return nil, c.internal("reading the registry", err)
		}
		item.Decisions = append(item.Decisions, one)
	}
	return &bodyOf[DriftItem]{item}, nil
}

// drift finds a drift of the units that the viewer sees.
func (c *Console) drift(ctx context.Context, id string) (*schemas.Drift, *Problem) {
	type answer struct {
		d     schemas.Drift
		found bool
	}
	got, err := read(ctx, c, func(ctx context.Context) (answer, error) {
		d, found, err := search.DriftByID(ctx, c.deps.Store, id)
		return answer{d, found}, err
	})
	if err != nil {
		return nil, c.storeProblem(ctx, "drift", err)
	}
	if !got.found || !viewerOf(ctx).sees(got.d.Unit) { // those of others are not told of
		return nil, problem(http.StatusNotFound, codeNotFound, "there is no such drift")
	}
	return &got.d, nil
}

type driftDecisionInput struct {
	Body struct {
		ID       string    `json:"id" minLength:"1" maxLength:"64"`
		State    string    `json:"state" enum:"acknowledged,fixed,accepted" doc:"accepted: what can be whitelisted becomes a request for the whitelist; a change of a service is accepted for good; anything else until a time"`
		Assignee string    `json:"assignee,omitempty" maxLength:"128" doc:"who is to handle it"`
		Until    time.Time `json:"until,omitempty,omitzero" doc:"of accepted: within a year"`
		Note     string    `json:"note,omitempty" maxLength:"4096" doc:"why"`
	}
}

// DriftDecided is a decision as it was kept.
type DriftDecided struct {
	schemas.DriftDecision
	Request *registry.Request `json:"request,omitempty" doc:"the request for the whitelist that it became"`
}

func (c *Console) postDriftDecision(ctx context.Context, in *driftDecisionInput) (*bodyOf[DriftDecided], error) {
	v := viewerOf(ctx)
	if v.Role == registry.RoleAuditor {
		return nil, auditing()
	}
	d, p := c.drift(ctx, in.Body.ID)
	if p != nil {
		return nil, p
	}
	work := schemas.DriftWork{State: schemas.DriftWorkState(in.Body.State), Assignee: in.Body.Assignee, Until: in.Body.Until, Note: in.Body.Note}
	var out DriftDecided
	if entry, can := d.Entry(); can && work.State == schemas.WorkAccepted {
		if err := v.mayList(&entry); err != nil {
			return nil, forbidden(err)
		}
	}
	decision, request, err := c.deps.Registry.HandleDrift(ctx, v.User, d, work)
	if err != nil {
		return nil, c.registryProblem(err)
	}
	out.DriftDecision, out.Request = *decision, request
	c.forgetDirectory()
	c.deps.Log.Info("drift decided", "audit", "drift", "user", v.Name, "drift", d.ID, "state", string(decision.State), "unit", d.Unit)
	return &bodyOf[DriftDecided]{out}, nil
}
