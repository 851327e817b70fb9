package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

// Query asks for a part of the registry; zero values ask for all of it as it is.
type Query struct {
	At   time.Time // as it was at this moment
	Kind string    // only this kind: unit, network, domain, whitelist, system or contact
}

// Read reads what q asks for, in the order of the keys.
func (r *Registry) Read(ctx context.Context, q Query) (*Content, error) {
	var rows []recordRow
	sel := r.db.NewSelect().Column("key", "value").Order("key")
	if q.At.IsZero() {
		sel = sel.Model(&rows)
		if q.Kind != "" {
			sel = sel.Where("kind = ?", q.Kind)
		}
	} else {
		// Times of changes never go back: a moment is a prefix of them.
		until := r.db.NewSelect().Model((*changeRow)(nil)).Column("id").Where("at <= ?", q.At.UTC()).Order("id DESC").Limit(1)
		newest := r.db.NewSelect().Model((*changeRow)(nil)).ColumnExpr("MAX(id)").Where("id <= (?)", until).Group("key")
		if q.Kind != "" { // "0" is the character after "/"
			newest = newest.Where("key >= ?", q.Kind+"/").Where("key < ?", q.Kind+"0")
		}
		sel = sel.Table("changes").Where("id IN (?)", newest).Where("value <> ''")
	}
	var err error
	if q.At.IsZero() {
		err = sel.Scan(ctx)
	} else {
		err = sel.Scan(ctx, &rows)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the registry: %w", err)
	}
	var c Content
	for _, row := range rows {
		if err := c.add(row.Key, row.Value); err != nil {
			return nil, fmt.Errorf("reading the registry: %w", err)
		}
	}
	return &c, nil
}

// Of keeps what is of units that in says yes to; a unit is of itself.
func (c *Content) Of(in func(unit string) bool) *Content {
	return &Content{
		Units:     keep(c.Units, func(u *schemas.Unit) bool { return in(u.Code) }),
		Networks:  keep(c.Networks, func(n *schemas.Network) bool { return in(n.Unit) }),
		Domains:   keep(c.Domains, func(d *schemas.Domain) bool { return in(d.Unit) }),
		Whitelist: keep(c.Whitelist, func(w *schemas.WhitelistEntry) bool { return in(w.Unit) }),
		Systems:   keep(c.Systems, func(s *System) bool { return in(s.Unit) }),
		Contacts:  keep(c.Contacts, func(p *Contact) bool { return in(p.Unit) }),
	}
}

func keep[T any](all []T, yes func(*T) bool) []T {
	var out []T
	for i := range all {
		if yes(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

// Below says of a unit whether it is the ancestor or below it, by the units of c.
func (c *Content) Below(ancestor string) func(unit string) bool {
	parent := make(map[string]string, len(c.Units))
	for _, u := range c.Units {
		parent[u.Code] = u.Parent
	}
	return func(unit string) bool { return below(parent, unit, ancestor) }
}

func below(parent map[string]string, unit, ancestor string) bool {
	for range len(parent) + 1 { // what was stored is no circle, but costs nothing to bound
		if unit == ancestor || unit == "" {
			return unit != ""
		}
		unit = parent[unit]
	}
	return false
}

// Change is one change of one entry.
type Change struct {
	ID     int64           `json:"id"`
	At     time.Time       `json:"at"`
	Who    string          `json:"who"`
	Key    string          `json:"key"`
	Before json.RawMessage `json:"before,omitempty"` // nothing: it was not there
	After  json.RawMessage `json:"after,omitempty"`  // nothing: it was deleted
}

// maxHistory bounds the changes of one key that are shown.
const maxHistory = 1000

// History is the changes of one key, the newest first, at most 1000.
func (r *Registry) History(ctx context.Context, key string) ([]Change, error) {
	var rows []changeRow
	if err := r.db.NewSelect().Model(&rows).Where("key = ?", key).Order("id DESC").Limit(maxHistory + 1).Scan(ctx); err != nil {
		return nil, fmt.Errorf("reading the history of %s: %w", key, err)
	}
	out := make([]Change, 0, len(rows))
	for i, row := range rows {
		c := Change{ID: row.ID, At: row.At.UTC(), Who: row.Who, Key: row.Key}
		if row.Value != "" {
			c.After = json.RawMessage(row.Value)
		}
		if i+1 < len(rows) && rows[i+1].Value != "" {
			c.Before = json.RawMessage(rows[i+1].Value)
		}
		out = append(out, c)
	}
	return out[:min(len(out), maxHistory)], nil
}

// UnitOf is the unit that an entry belongs to, or belonged to when it was last
// there; "" for a key that never was.
func (r *Registry) UnitOf(ctx context.Context, key string) (string, error) {
	var rows []changeRow
	err := r.db.NewSelect().Model(&rows).Column("value").Where("key = ?", key).Where("value <> ''").Order("id DESC").Limit(1).Scan(ctx)
	if err != nil || len(rows) == 0 {
		return "", err
	}
	var s stored
	if err := json.Unmarshal([]byte(rows[0].Value), &s); err != nil {
		return "", fmt.Errorf("record %s: %w", key, err)
	}
	if s.Unit != nil {
		return s.Unit.Code, nil
	}
	rec, err := s.record()
	return rec.unit, err
}

// ParseMoment reads a moment of the past: RFC 3339, or a day in China, which is
// meant as it was at its end.
func ParseMoment(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	t, err := time.ParseInLocation(time.DateOnly, s, hours.Zone)
	if err != nil {
		return t, classified{fmt.Errorf("%q is neither a day such as 2026-11-01 nor a time such as 2026-11-01T08:00:00+08:00", s), ErrInvalid}
	}
	return t.AddDate(0, 0, 1).Add(-time.Microsecond), nil
}

// errDryRun ends a transaction that was only to be tried.
var errDryRun = errors.New("dry run")

// Plan says what Put would change, after the same checks, and changes nothing.
func (r *Registry) Plan(ctx context.Context, c *Content) ([]Change, error) {
	var out []Change
	err := r.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		fresh, there, err := putContent(ctx, tx, "", c)
		if err != nil {
			return err
		}
		for _, rec := range fresh {
			change := Change{Key: rec.key, After: rec.value}
			if before := there[rec.key]; before != "" {
				change.Before = json.RawMessage(before)
			}
			out = append(out, change)
		}
		return errDryRun
	})
	if !errors.Is(err, errDryRun) {
		return nil, fmt.Errorf("planning a change of the registry: %w", err)
	}
	return out, nil
}

// Difference is a field that a change changes. Nothing is before a new entry,
// and nothing after one that is deleted.
type Difference struct {
	Field  string `json:"field"`
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
}

// Differences are the fields that c changes, by name.
func (c *Change) Differences() ([]Difference, error) {
	before, errBefore := fieldsOf(c.Before)
	after, errAfter := fieldsOf(c.After)
	if err := errors.Join(errBefore, errAfter); err != nil {
		return nil, fmt.Errorf("change of %s: %w", c.Key, err)
	}
	names := make(map[string]bool, len(after))
	for name := range before {
		names[name] = true
	}
	for name := range after {
		names[name] = true
	}
	var out []Difference
	for name := range names {
		if before[name] != after[name] {
			out = append(out, Difference{name, before[name], after[name]})
		}
	}
	slices.SortFunc(out, func(a, b Difference) int { return strings.Compare(a.Field, b.Field) })
	return out, nil
}

// fieldsOf are the fields of the one member of a stored record, as text.
func fieldsOf(value json.RawMessage) (map[string]string, error) {
	if len(value) == 0 {
		return nil, nil
	}
	var members map[string]map[string]json.RawMessage
	if err := json.Unmarshal(value, &members); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, fields := range members {
		for name, raw := range fields {
			var text string
			if json.Unmarshal(raw, &text) != nil {
				text = string(raw)
			}
			out[name] = text
		}
	}
	return out, nil
}

// Kinds are the kinds of entry, as keys name them.
func Kinds() []string { return slices.Clone(deletable) }

// Only keeps one kind of entry; "" keeps all.
func (c *Content) Only(kind string) (*Content, error) {
	switch kind {
	case "":
		return c, nil
	case "unit":
		return &Content{Units: c.Units}, nil
	case "network":
		return &Content{Networks: c.Networks}, nil
	case "domain":
		return &Content{Domains: c.Domains}, nil
	case "whitelist":
		return &Content{Whitelist: c.Whitelist}, nil
	case "system":
		return &Content{Systems: c.Systems}, nil
	case "contact":
		return &Content{Contacts: c.Contacts}, nil
	}
	return nil, classified{fmt.Errorf("%q is no kind of entry: %s", kind, strings.Join(deletable, ", ")), ErrInvalid}
}
