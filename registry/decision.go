package registry

import (
	"context"
	"encoding/json"
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
	decision, err := decisionOf(by, d, work)
	if err == nil {
		err = r.write(ctx, func(ctx context.Context, tx bun.Tx) error { return putDecision(ctx, tx, by, decision) })
	}
	if err != nil {
		return nil, fmt.Errorf("deciding about a drift: %w", err)
	}
	return decision, nil
}

// decisionOf is what a user wants to decide, once it is one that they may make.
func decisionOf(by User, d *schemas.Drift, work schemas.DriftWork) (*schemas.DriftDecision, error) {
	decision := &schemas.DriftDecision{Drift: d.ID, Unit: d.Unit, DriftWork: work}
	decision.By, decision.At, decision.Note, decision.Assignee = by.Name, now(), strings.TrimSpace(work.Note), strings.TrimSpace(work.Assignee)
	return decision, checkDecision(by, d, decision)
}

// putDecision writes a decision over the one before. Its time is later than that
// one's, whoever has come first and whatever the clocks say: the analyzer takes the
// latest.
func putDecision(ctx context.Context, tx bun.Tx, by User, decision *schemas.DriftDecision) error {
	parent, err := unitsOf(ctx, tx)
	if err != nil {
		return err
	}
	if by.Unit != "" && !below(parent, decision.Unit, by.Unit) {
		return classified{bad("", "the unit is not one of yours", "不是您的单位或其下属"), ErrForbidden}
	}
	rec, err := (&stored{Decision: decision}).record()
	if err != nil {
		return err
	}
	there, err := valuesOf(ctx, tx, []string{rec.key})
	if err != nil {
		return err
	}
	if text := there[rec.key]; text != "" {
		var before stored
		if err := json.Unmarshal([]byte(text), &before); err != nil || before.Decision == nil {
			return fmt.Errorf("record %s is no decision: %w", rec.key, err)
		}
		if last := before.Decision.At; !decision.At.After(last) {
			decision.At = last.Add(time.Microsecond)
			if rec, err = (&stored{Decision: decision}).record(); err != nil {
				return err
			}
		}
	}
	return put(ctx, tx, by.Name, []record{rec})
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
		return onlyAdministrators()
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
// drift closes by itself. What is asked for already is not asked for again.
func (r *Registry) HandleDrift(ctx context.Context, by User, d *schemas.Drift, work schemas.DriftWork) (*schemas.DriftDecision, *Request, error) {
	entry, can := d.Entry()
	if work.State != schemas.WorkAccepted || !can {
		decision, err := r.DecideDrift(ctx, by, d, work)
		return decision, nil, err
	}
	entry.Reason, entry.Until = strings.TrimSpace(work.Note), work.Until
	work.State = schemas.WorkRequested
	decision, err := decisionOf(by, d, work)
	if err == nil {
		err = mayRequest(by, decision, entry.Until)
	}
	var request *Request
	if err == nil {
		request, err = newRequest(by.Name, entry, false)
	}
	if err == nil {
		decision.Note = strings.TrimSpace(request.ID + " " + decision.Note)
		err = r.write(ctx, func(ctx context.Context, tx bun.Tx) error { // both, or neither
			if err := request.notAsked(ctx, tx); err != nil {
				return err
			}
			if err := request.file(ctx, tx); err != nil {
				return err
			}
			return putDecision(ctx, tx, by, decision)
		})
	}
	if err != nil {
		return nil, nil, fmt.Errorf("deciding about a drift: %w", err)
	}
	return decision, request, nil
}

// mayRequest refuses what an accepted drift cannot ask for.
func mayRequest(by User, decision *schemas.DriftDecision, until time.Time) error {
	if by.Role != RoleAdmin {
		return onlyAdministrators()
	}
	if !until.IsZero() && !until.After(decision.At) {
		return classified{bad("until", "the time is past", "时间已过"), ErrInvalid}
	}
	return nil
}

func onlyAdministrators() error {
	return classified{bad("state", "only an administrator may accept", "只有管理员可以接受"), ErrForbidden}
}
