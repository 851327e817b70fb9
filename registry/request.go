package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"fengsui/schemas"
)

// RequestState is what became of a request.
type RequestState string

// The states of a request.
const (
	RequestPending   RequestState = "pending"
	RequestApproved  RequestState = "approved"
	RequestRefused   RequestState = "refused"
	RequestWithdrawn RequestState = "withdrawn" // by who asked
)

// Request is somebody's wish to have an entry put on the whitelist, changed or
// taken away, and what was decided about it.
type Request struct {
	ID        string                 `json:"id"`
	Entry     schemas.WhitelistEntry `json:"entry"`
	Remove    bool                   `json:"remove,omitempty"` // take the entry away
	State     RequestState           `json:"state"`
	AskedBy   string                 `json:"asked_by"`
	Asked     time.Time              `json:"asked"`
	DecidedBy string                 `json:"decided_by,omitempty"`
	Decided   time.Time              `json:"decided,omitzero"`
	Note      string                 `json:"note,omitempty"` // why it was decided so
}

// ErrForbidden says that a person may not do what they asked for.
var ErrForbidden = errors.New("not allowed")

// maxNote bounds what is written about a decision, in bytes.
const maxNote = 4096

// Ask files a request in the name of who. The entry is checked as if it were
// written now.
func (r *Registry) Ask(ctx context.Context, who string, entry schemas.WhitelistEntry, remove bool) (*Request, error) {
	q, err := newRequest(who, entry, remove)
	if err != nil {
		return nil, err
	}
	if err := r.write(ctx, q.file); err != nil {
		return nil, fmt.Errorf("asking for a whitelist entry: %w", err)
	}
	return q, nil
}

func newRequest(who string, entry schemas.WhitelistEntry, remove bool) (*Request, error) {
	c := &Content{Whitelist: []schemas.WhitelistEntry{entry}}
	if err := Check(c); err != nil {
		return nil, err
	}
	q := &Request{ID: rand.Text(), Entry: c.Whitelist[0], Remove: remove, State: RequestPending, AskedBy: who, Asked: now()}
	q.Entry.AskedBy, q.Entry.ApprovedBy = who, ""
	return q, nil
}

// file writes a new request, once what it names is there.
func (q *Request) file(ctx context.Context, tx bun.Tx) error {
	c := &Content{Whitelist: []schemas.WhitelistEntry{q.Entry}}
	if err := errors.Join(checkReferences(ctx, tx, c), checkSystems(ctx, tx, c)); err != nil {
		return err
	}
	if q.Remove {
		key := "whitelist/" + q.Entry.Key()
		there, err := valuesOf(ctx, tx, []string{key})
		if err != nil {
			return err
		}
		if there[key] == "" {
			return classified{fmt.Errorf("%s is not in the registry", key), ErrNotFound}
		}
	}
	return putRequest(ctx, tx, q.AskedBy, q)
}

// notAsked refuses what another request asks for that waits for a decision.
func (q *Request) notAsked(ctx context.Context, tx bun.Tx) error {
	waiting, err := requests(ctx, tx, RequestPending)
	if err != nil {
		return err
	}
	for _, other := range waiting {
		if !other.Remove && other.Entry.Key() == q.Entry.Key() {
			return classified{bad("", "%[2]s has asked for it already: request %[1]s waits for a decision", "%[2]s 已提出申请 %[1]s，尚待审批", other.ID, other.AskedBy), ErrInvalid}
		}
	}
	return nil
}

// now is the time to the microsecond: PostgreSQL keeps no more.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func putRequest(ctx context.Context, tx bun.Tx, who string, q *Request) error {
	rec, err := (&stored{Request: q}).record()
	if err != nil {
		return err
	}
	return put(ctx, tx, who, []record{rec})
}

// Requests are those in a state, or all with "", the oldest first.
func (r *Registry) Requests(ctx context.Context, state RequestState) ([]Request, error) {
	return requests(ctx, r.db, state)
}

func requests(ctx context.Context, db bun.IDB, state RequestState) ([]Request, error) {
	var rows []recordRow
	if err := db.NewSelect().Model(&rows).Column("key", "value").Where("kind = ?", "request").Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading requests: %w", err)
	}
	var out []Request
	for _, row := range rows {
		q, err := requestOf(row.Key, row.Value)
		if err != nil {
			return nil, err
		}
		if state == "" || q.State == state {
			out = append(out, *q)
		}
	}
	slices.SortFunc(out, func(a, b Request) int { return cmp.Or(a.Asked.Compare(b.Asked), strings.Compare(a.ID, b.ID)) })
	return out, nil
}

// Request reads one request, or returns an ErrNotFound.
func (r *Registry) Request(ctx context.Context, id string) (*Request, error) {
	return request(ctx, r.db, id)
}

func request(ctx context.Context, db bun.IDB, id string) (*Request, error) {
	key := "request/" + id
	there, err := valuesOf(ctx, db, []string{key})
	if err != nil {
		return nil, err
	}
	if there[key] == "" {
		return nil, classified{fmt.Errorf("there is no request %s", id), ErrNotFound}
	}
	return requestOf(key, there[key])
}

func requestOf(key, value string) (*Request, error) {
	var s stored
	if err := json.Unmarshal([]byte(value), &s); err != nil || s.Request == nil {
		return nil, fmt.Errorf("record %s is no request: %w", key, err)
	}
	return s.Request, nil
}

// Decide ends a pending request in the name of a user. Approving and refusing
// is for administrators of the entry's unit or one above it, and never for who
// has asked, who may only withdraw. An approved entry is written, or removed, in
// the same transaction.
func (r *Registry) Decide(ctx context.Context, by User, id string, to RequestState, note string) (*Request, error) {
	note = strings.TrimSpace(note)
	if len(note) > maxNote {
		return nil, classified{bad("note", "a note has at most %d bytes", "说明最长 %d 字节", maxNote), ErrInvalid}
	}
	var q *Request
	err := r.write(ctx, func(ctx context.Context, tx bun.Tx) (err error) {
		if q, err = request(ctx, tx, id); err != nil {
			return err
		}
		parent, err := unitsOf(ctx, tx)
		if err != nil {
			return err
		}
		if err := q.mayDecide(by, to, parent); err != nil {
			return err
		}
		if to == RequestApproved {
			if err := q.mayReplace(ctx, tx, by, parent); err != nil {
				return err
			}
		}
		q.State, q.DecidedBy, q.Decided, q.Note = to, by.Name, now(), note
		if err := putRequest(ctx, tx, by.Name, q); err != nil || to != RequestApproved {
			return err
		}
		return q.carryOut(ctx, tx)
	})
	if err != nil {
		return nil, fmt.Errorf("deciding about a request: %w", err)
	}
	return q, nil
}

func (q *Request) mayDecide(by User, to RequestState, parent map[string]string) error {
	forbid := func(en, zh string) error { return classified{bad("", en, zh), ErrForbidden} }
	switch {
	case q.State != RequestPending:
		return classified{bad("", "request %[1]s is already %[2]s", "申请 %[1]s %[3]s", q.ID, q.State, settledInChinese[q.State]), ErrInvalid}
	case to == RequestWithdrawn:
		if by.Name != q.AskedBy {
			return forbid("only who has asked may withdraw", "只有申请人可以撤回")
		}
		return nil
	case to != RequestApproved && to != RequestRefused:
		return classified{bad("state", "%q is no decision: approved, refused or withdrawn", "%q 不是批准、驳回、撤回之一", to), ErrInvalid}
	case by.Name == q.AskedBy:
		return forbid("who has asked may not decide", "申请人不能审批自己的申请")
	case by.Role != RoleAdmin:
		return forbid("only an administrator may decide", "只有管理员可以审批")
	case by.Unit != "" && !below(parent, q.Entry.Unit, by.Unit):
		return forbid("the unit is not one of yours", "不是您的单位或其下属")
	}
	return nil
}

var settledInChinese = map[RequestState]string{RequestApproved: "已批准", RequestRefused: "已驳回", RequestWithdrawn: "已撤回"}

// mayReplace refuses that what was asked for would change or remove an entry that is
// of another unit by now.
func (q *Request) mayReplace(ctx context.Context, db bun.IDB, by User, parent map[string]string) error {
	key := "whitelist/" + q.Entry.Key()
	there, err := valuesOf(ctx, db, []string{key})
	if err != nil || there[key] == "" || by.Unit == "" {
		return err
	}
	var s stored
	if err := json.Unmarshal([]byte(there[key]), &s); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	if s.Whitelist == nil {
		return fmt.Errorf("record %s is no entry of the whitelist", key)
	}
	if !below(parent, s.Whitelist.Unit, by.Unit) {
		return classified{bad("", "another unit has this entry", "是其他单位的登记"), ErrForbidden}
	}
	return nil
}

// carryOut does what was approved. What the entry names may have gone meanwhile.
func (q *Request) carryOut(ctx context.Context, tx bun.Tx) error {
	if q.Remove {
		key := "whitelist/" + q.Entry.Key()
		if err := deleteRow(ctx, tx, key); err != nil {
			return err
		}
		return note(ctx, tx, q.DecidedBy, []record{{key: key}})
	}
	entry := q.Entry
	entry.ApprovedBy = q.DecidedBy
	_, _, err := putContent(ctx, tx, q.DecidedBy, &Content{Whitelist: []schemas.WhitelistEntry{entry}})
	return err
}
