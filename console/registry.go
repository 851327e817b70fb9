package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/internal/config"
	"fengsui/registry"
	"fengsui/schemas"
)

// resource is one kind of entry of the registry: who may change it, and how it
// is found.
type resource[T any] struct {
	path, kind, what string
	named            string // the field that its key is of
	key              func(*T) string
	unit             func(*T) string
	of               func(*registry.Content) *[]T
	may              func(*viewer, *T) error
}

func (c *Console) registerRegistry() {
	register(c, resource[schemas.Unit]{
		"units", "unit", "units", "code", func(u *schemas.Unit) string { return u.Code }, func(u *schemas.Unit) string { return u.Code },
		func(c *registry.Content) *[]schemas.Unit { return &c.Units }, (*viewer).mayUnit,
	})
	register(c, resource[schemas.Network]{
		"networks", "network", "networks", "prefix", func(n *schemas.Network) string { return n.Prefix.String() }, func(n *schemas.Network) string { return n.Unit },
		func(c *registry.Content) *[]schemas.Network { return &c.Networks }, func(v *viewer, _ *schemas.Network) error { return v.mayAll() },
	})
	register(c, resource[schemas.Domain]{
		"domains", "domain", "domains", "name", func(d *schemas.Domain) string { return d.Name }, func(d *schemas.Domain) string { return d.Unit },
		func(c *registry.Content) *[]schemas.Domain { return &c.Domains }, func(v *viewer, _ *schemas.Domain) error { return v.mayAll() },
	})
	register(c, resource[registry.System]{
		"systems", "system", "information systems", "code", func(s *registry.System) string { return s.Code }, func(s *registry.System) string { return s.Unit },
		func(c *registry.Content) *[]registry.System { return &c.Systems }, (*viewer).maySystem,
	})
	register(c, resource[registry.Contact]{
		"contacts", "contact", "contacts", "unit", (*registry.Contact).Key, func(p *registry.Contact) string { return p.Unit },
		func(c *registry.Content) *[]registry.Contact { return &c.Contacts }, func(v *viewer, p *registry.Contact) error { return v.mayOwn(p.Unit) },
	})
	huma.Register(c.api, operation(http.MethodGet, "history", "The changes of one entry, the newest first", forUsers, http.StatusNotFound), c.getHistory)
	huma.Register(c.api, operation(http.MethodGet, "requests", "Requests for the whitelist, the oldest first", forUsers), c.getRequests)
	huma.Register(c.api, operation(http.MethodPost, "requests", "Ask for an entry on the whitelist, or for its removal", forUsers, http.StatusNotFound), c.postRequest)
	huma.Register(c.api, operation(http.MethodPost, "decisions", "Approve or refuse what another person has asked for, or withdraw one's own", forUsers, http.StatusNotFound), c.postDecision)
}

// ofOthers is that what a field names is another unit's already.
func ofOthers(field string) error {
	return mistake(field, "是其他单位的登记", "another unit has this entry")
}

// mayAll is for those who see everything: what belongs to whom, and what may be
// scanned, is not for a unit to say of itself.
func (v *viewer) mayAll() error {
	if v.units != nil {
		return mistake("", "仅全局管理员可以", "only an administrator of everything may do this")
	}
	return nil
}

func (v *viewer) mayOwn(unit string) error {
	if !v.sees(unit) {
		return mistake("unit", "不是您的单位或其下属", "the unit is not one of yours")
	}
	return nil
}

// mayUnit lets an administrator of a unit arrange what is below it, and not the
// unit itself.
func (v *viewer) mayUnit(u *schemas.Unit) error {
	switch {
	case v.units != nil && u.Code == v.Unit:
		return mistake("code", "是您自己的单位，由上级登记", "the unit is not below yours")
	case v.units != nil && !v.sees(u.Parent):
		return mistake("parent", "不是您的单位或其下属", "the unit is not below yours")
	}
	return nil
}

// maySystem refuses a system that would speak for the addresses or names of
// other units. Those that nobody has registered may be anybody's: a cloud's.
func (v *viewer) maySystem(s *registry.System) error {
	if v.units == nil {
		return nil
	}
	if err := v.mayOwn(s.Unit); err != nil {
		return err
	}
	for _, name := range s.Domains {
		if d, ok := v.directory.DomainOf(strings.TrimPrefix(name, "*.")); ok && !v.sees(d.Unit) {
			return mistake("domains", name+" 在其他单位的域名之下", name+" is below a domain of another unit")
		}
	}
	for _, p := range s.Addresses {
		if v.othersIn(p) {
			return mistake("addresses", p.String()+" 在其他单位的网段内", p.String()+" is in a network of another unit")
		}
	}
	return nil
}

// othersIn says whether an address block touches a network of others that is
// not inside one of the viewer's own.
func (v *viewer) othersIn(p netip.Prefix) bool {
	if n, ok := v.directory.NetworkOf(p.Addr()); ok && !v.sees(n.Unit) {
		return true
	}
	return slices.ContainsFunc(v.directory.AllNetworks(), func(n schemas.Network) bool {
		return !v.sees(n.Unit) && n.Prefix.Bits() >= p.Bits() && n.Prefix.Overlaps(p)
	})
}

// AtInput asks for the registry as it was, or for a part of it.
type AtInput struct {
	At   string `query:"at" maxLength:"40" doc:"as it was at the end of this day, or at this time (RFC 3339)" example:"2026-11-01"`
	Unit string `query:"unit" maxLength:"64" doc:"only of this unit and those below it"`
}

func (in *AtInput) moment() (time.Time, *Problem) {
	if in.At == "" {
		return time.Time{}, nil
	}
	at, err := registry.ParseMoment(in.At)
	if err != nil {
		return at, problem(http.StatusUnprocessableEntity, codeInvalid, "at: "+err.Error())
	}
	return at, nil
}

// shows says whether what is of a unit is asked for, and the viewer's to see.
func (in *AtInput) shows(v *viewer, unit string) bool {
	return v.sees(unit) && (in.Unit == "" || v.directory.Under(unit, in.Unit))
}

type keyInput struct {
	Key string `query:"key" required:"true" minLength:"1" maxLength:"400"`
}

type bodyOf[T any] struct{ Body T }

func register[T any](c *Console, r resource[T]) {
	huma.Register(c.api, operation(http.MethodGet, r.path, "The "+r.what+" of the units that the user sees", forUsers),
		func(ctx context.Context, in *AtInput) (*listOutput[T], error) {
			at, p := in.moment()
			if p != nil {
				return nil, p
			}
			content, err := c.deps.Registry.Read(ctx, registry.Query{At: at, Kind: r.kind})
			if err != nil {
				return nil, c.internal("reading the registry", err)
			}
			v, out := viewerOf(ctx), &listOutput[T]{Page[T]{[]T{}}}
			all := *r.of(content)
			for i := range all {
				if in.shows(v, r.unit(&all[i])) {
					out.Body.Items = append(out.Body.Items, all[i])
				}
			}
			return out, nil
		})
	huma.Register(c.api, operation(http.MethodPut, r.path, "Write one of the "+r.what+", or change it", forAdmins),
		func(ctx context.Context, in *bodyOf[T]) (*bodyOf[T], error) { return putEntry(ctx, c, r, in.Body) })
	huma.Register(c.api, operation(http.MethodDelete, r.path, "Delete one of the "+r.what, forAdmins, http.StatusNotFound),
		func(ctx context.Context, in *keyInput) (*struct{}, error) { return nil, deleteEntry(ctx, c, r, in.Key) })
}

// there finds an entry by its key.
func (r *resource[T]) there(ctx context.Context, c *Console, key string) (*T, error) {
	content, err := c.deps.Registry.Read(ctx, registry.Query{Kind: r.kind})
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	all := *r.of(content)
	for i := range all {
		if r.key(&all[i]) == key {
			return &all[i], nil
		}
	}
	return nil, nil
}

func putEntry[T any](ctx context.Context, c *Console, r resource[T], entry T) (*bodyOf[T], error) {
	v, content := viewerOf(ctx), &registry.Content{}
	*r.of(content) = []T{entry}
	if err := registry.Check(content); err != nil {
		return nil, invalidEntry(err)
	}
	entry = (*r.of(content))[0]
	if err := r.may(v, &entry); err != nil {
		return nil, forbidden(err)
	}
	before, err := r.there(ctx, c, r.key(&entry))
	if err != nil {
		return nil, err
	}
	if before != nil && !v.sees(r.unit(before)) {
		return nil, forbidden(ofOthers(r.named))
	}
	if _, err := c.deps.Registry.Put(ctx, v.Name, content); err != nil {
		return nil, c.registryProblem(err)
	}
	c.forgetDirectory()
	c.deps.Log.Info("registry entry put", "audit", "registry", "user", v.Name, "key", r.kind+"/"+r.key(&entry), "unit", r.unit(&entry))
	return &bodyOf[T]{entry}, nil
}

func deleteEntry[T any](ctx context.Context, c *Console, r resource[T], key string) error {
	v := viewerOf(ctx)
	entry, err := r.there(ctx, c, key)
	if err != nil {
		return err
	}
	if entry == nil || !v.sees(r.unit(entry)) { // those of others are not told of
		return problem(http.StatusNotFound, codeNotFound, "there is no such entry")
	}
	if err := r.may(v, entry); err != nil {
		return forbidden(err)
	}
	if err := c.deps.Registry.Delete(ctx, v.Name, r.kind+"/"+key); err != nil {
		return c.registryProblem(err)
	}
	c.forgetDirectory()
	c.deps.Log.Info("registry entry deleted", "audit", "registry", "user", v.Name, "key", r.kind+"/"+key, "unit", r.unit(entry))
	return nil
}

// registryProblem is what a person is told of a failed change.
func (c *Console) registryProblem(err error) *Problem {
	switch {
	case errors.Is(err, registry.ErrInvalid):
		return invalidEntry(err)
	case errors.Is(err, registry.ErrNotFound):
		return problem(http.StatusNotFound, codeNotFound, plainly(err))
	case errors.Is(err, registry.ErrForbidden):
		p := invalidEntry(err)
		return &Problem{Title: http.StatusText(http.StatusForbidden), Status: http.StatusForbidden, Code: codeForbidden, Detail: p.Detail, Fields: p.Fields}
	}
	return c.internal("writing the registry", err)
}

// plainly is the error without what the registry was doing.
func plainly(err error) string {
	text := err.Error()
	for _, doing := range []string{"writing the registry: ", "deleting from the registry: ", "asking for a whitelist entry: ", "deciding about a request: ", "deciding about a drift: ", "planning a change of the registry: "} {
		text = strings.TrimPrefix(text, doing)
	}
	return text
}

type historyOutput struct{ Body Page[Change] }

// Change is one change of an entry, with the fields that it changed.
type Change struct {
	ID      int64                 `json:"id"`
	At      time.Time             `json:"at"`
	Who     string                `json:"who"`
	Key     string                `json:"key"`
	Deleted bool                  `json:"deleted"`
	Fields  []registry.Difference `json:"fields" nullable:"false"`
}

func (c *Console) getHistory(ctx context.Context, in *keyInput) (*historyOutput, error) {
	unit, err := c.deps.Registry.UnitOf(ctx, in.Key)
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	if !viewerOf(ctx).sees(unit) {
		return nil, problem(http.StatusNotFound, codeNotFound, "there is no such entry")
	}
	changes, err := c.deps.Registry.History(ctx, in.Key)
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	out := &historyOutput{Page[Change]{[]Change{}}}
	for i := range changes {
		one, err := changed(&changes[i])
		if err != nil {
			return nil, c.internal("reading the registry", err)
		}
		out.Body.Items = append(out.Body.Items, one)
	}
	return out, nil
}

func changed(c *registry.Change) (Change, error) {
	fields, err := c.Differences()
	return Change{ID: c.ID, At: c.At, Who: c.Who, Key: c.Key, Deleted: c.After == nil, Fields: append([]registry.Difference{}, fields...)}, err
}

type requestsInput struct {
	State string `query:"state" enum:"pending,approved,refused,withdrawn" doc:"only those in this state"`
}

func (c *Console) getRequests(ctx context.Context, in *requestsInput) (*listOutput[registry.Request], error) {
	requests, err := c.deps.Registry.Requests(ctx, registry.RequestState(in.State))
	if err != nil {
		return nil, c.internal("reading the registry", err)
	}
	v := viewerOf(ctx)
	return &listOutput[registry.Request]{Page[registry.Request]{same(slices.DeleteFunc(requests, func(q registry.Request) bool { return !v.sees(q.Entry.Unit) }))}}, nil
}

type askInput struct {
	Body struct {
		Entry  schemas.WhitelistEntry `json:"entry"`
		Remove bool                   `json:"remove,omitempty" doc:"take the entry away"`
	}
}

func (c *Console) postRequest(ctx context.Context, in *askInput) (*bodyOf[registry.Request], error) {
	v := viewerOf(ctx)
	if v.Role == registry.RoleAuditor {
		return nil, auditing()
	}
	content := &registry.Content{Whitelist: []schemas.WhitelistEntry{in.Body.Entry}}
	if err := registry.Check(content); err != nil { // what is mistyped is nobody's
		return nil, invalidEntry(err)
	}
	entry := content.Whitelist[0]
	if err := v.mayList(&entry); err != nil {
		return nil, forbidden(err)
	}
	q, err := c.deps.Registry.Ask(ctx, v.Name, entry, in.Body.Remove)
	if err != nil {
		return nil, c.registryProblem(err)
	}
	c.deps.Log.Info("whitelist entry asked for", "audit", "request", "user", v.Name, "request", q.ID, "key", q.Entry.Key(), "unit", q.Entry.Unit)
	return &bodyOf[registry.Request]{*q}, nil
}

type decideInput struct {
	Body struct {
		ID    string `json:"id" minLength:"1" maxLength:"64"`
		State string `json:"state" enum:"approved,refused,withdrawn"`
		Note  string `json:"note,omitempty" maxLength:"4096" doc:"why"`
	}
}

func (c *Console) postDecision(ctx context.Context, in *decideInput) (*bodyOf[registry.Request], error) {
	v := viewerOf(ctx)
	q, err := c.deps.Registry.Request(ctx, in.Body.ID)
	if err == nil && !v.sees(q.Entry.Unit) {
		return nil, problem(http.StatusNotFound, codeNotFound, "there is no such request")
	}
	if err == nil && in.Body.State == string(registry.RequestApproved) {
		if err := v.mayList(&q.Entry); err != nil {
			return nil, forbidden(err)
		}
	}
	if err == nil {
		q, err = c.deps.Registry.Decide(ctx, v.User, in.Body.ID, registry.RequestState(in.Body.State), in.Body.Note)
	}
	if err != nil {
		return nil, c.registryProblem(err)
	}
	c.forgetDirectory()
	c.deps.Log.Info("whitelist request decided", "audit", "request", "user", v.Name, "request", q.ID, "state", string(q.State), "key", q.Entry.Key(), "unit", q.Entry.Unit)
	return &bodyOf[registry.Request]{*q}, nil
}

// within reads a time ahead such as 30d.
func within(s string) (time.Duration, *Problem) {
	d, err := config.ParseDuration(s)
	if err != nil || d <= 0 {
		return 0, mistake("within", "应为多久以内（如 30d）", "write a time such as 30d").problem()
	}
	return d, nil
}
