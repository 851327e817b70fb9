package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"fengsui/schemas"
)

// maxAccepted is how far ahead a drift can be accepted: then somebody is to look
// at it again.
const maxAccepted = 366 * 24 * time.Hour

// DecideDrift keeps and publishes what a user decides about a drift of a unit;
// each decision replaces the one before, and History has them all. An auditor
// decides nothing, and to accept is for administrators. No decision closes a drift:
// the analyzer does, when it is seen no more.
func (r *Registry) DecideDrift(ctx context.Context, by User, d *schemas.Drift, work schemas.DriftWork) (*schemas.DriftDecision, error) {
	decision := &schemas.DriftDecision{Drift: d.ID, Unit: d.Unit, DriftWork: work}
	decision.By, decision.At, decision.Note, decision.Assignee = by.Name, now(), strings.TrimSpace(work.Note), strings.TrimSpace(work.Assignee)
	if err := checkDecision(by, d, decision); err != nil {
		return nil, fmt.Errorf("deciding about a drift: %w", err)
	}
	err := r.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		parent, err := unitsOf(ctx, tx)
		if err != nil {
			return err
		}
		if by.Unit != "" && !below(parent, d.Unit, by.Unit) {
			return classified{bad("", "the unit is not one of yours", "不是您的单位或其下属"), ErrForbidden}
		}
		rec, err := (&stored{Decision: decision}).record()
		if err != nil {
			return err
		}
		return put(ctx, tx, by.Name, []record{rec})
	})
	if err != nil {
		return nil, fmt.Errorf("deciding about a drift: %w", err)
	}
	return decision, nil
}

func checkDecision(by User, d *schemas.Drift, decision *schemas.DriftDecision) error {
	invalid := func(field, en, zh string, args ...any) error {
		return classified{bad(field, en, zh, args...), ErrInvalid}
	}
	switch {
	case by.Role == RoleAuditor:
		return classified{bad("", "an auditor changes nothing", "审计员不作修改"), ErrForbidden}
	case d.ID == "" || !isCode(d.ID):
		return invalid("id", "%q is no drift", "%q 不是差异", d.ID)
	case d.Status == schemas.DriftClosed:
		return invalid("", "drift %s is closed already", "差异 %s 已关闭", d.ID)
	case len(decision.Note) > maxNote:
		return invalid("note", "a note has at most %d bytes", "说明最长 %d 字节", maxNote)
	case len(decision.Assignee) > 128:
		return invalid("assignee", "an assignee has at most 128 bytes", "处理人最长 128 字节")
	}
	switch decision.State {
	case schemas.WorkAcknowledged, schemas.WorkFixed, schemas.WorkRequested:
		decision.Until = time.Time{}
		return nil
	case schemas.WorkAccepted:
	default:
		return invalid("state", "%q is no decision: acknowledged, fixed, accepted or requested", "%q 不是签收、已整改、接受、已申请之一", decision.State)
	}
	if by.Role != RoleAdmin {
		return classified{bad("state", "only an administrator may accept", "只有管理员可以接受"), ErrForbidden}
	}
	if d.Kind.IsChange() {
		decision.Until = time.Time{} // what a service has become is accepted for good
		return nil
	}
	if !decision.Until.After(decision.At) || decision.Until.After(decision.At.Add(maxAccepted)) {
		return invalid("until", "it can be accepted until a time within a year from now, and no longer", "只能接受到一年以内的某个时间")
	}
	return nil
}

// Officer is who handles what is found at a unit: its security officer, or
// whoever else is registered for it, or the officer of the nearest unit above that
// has one; false when there is nobody.
func (r *Registry) Officer(ctx context.Context, unit string) (Contact, bool, error) {
	content, err := r.Read(ctx, Query{Kind: "contact"})
	if err != nil {
		return Contact{}, false, err
	}
	parent, err := unitsOf(ctx, r.db)
	if err != nil {
		return Contact{}, false, fmt.Errorf("reading units: %w", err)
	}
	duties := []Duty{SecurityOfficer, Liaison, Responsible}
	for range len(parent) + 1 {
		for _, duty := range duties {
			if at := slices.IndexFunc(content.Contacts, func(c Contact) bool { return c.Unit == unit && c.Duty == duty }); at >= 0 {
				return content.Contacts[at], true, nil
			}
		}
		if unit = parent[unit]; unit == "" {
			break
		}
	}
	return Contact{}, false, nil
}

// HandleDrift is DecideDrift, but that to accept what an entry of the whitelist
// could allow is to ask for that entry: another person approves it, and then the
// drift closes by itself.
func (r *Registry) HandleDrift(ctx context.Context, by User, d *schemas.Drift, work schemas.DriftWork) (*schemas.DriftDecision, *Request, error) {
	entry, can := d.Entry()
	if work.State != schemas.WorkAccepted || !can {
		decision, err := r.DecideDrift(ctx, by, d, work)
		return decision, nil, err
	}
	work.State = schemas.WorkRequested
	if err := checkDecision(by, d, &schemas.DriftDecision{Drift: d.ID, DriftWork: work}); err != nil { // before anything is asked for
		return nil, nil, fmt.Errorf("deciding about a drift: %w", err)
	}
	entry.Reason, entry.Until = strings.TrimSpace(work.Note), work.Until
	request, err := r.Ask(ctx, by.Name, entry, false)
	if err != nil {
		return nil, nil, err
	}
	work.Note = strings.TrimSpace(request.ID + " " + work.Note)
	decision, err := r.DecideDrift(ctx, by, d, work)
	return decision, request, err
}
