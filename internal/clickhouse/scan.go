package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"fengsui/schemas"
)

// EventRange says which stored events are meant.
type EventRange struct {
	From, To time.Time // when they happened: From and later, before To
	Unit     string    // theirs, or one above it when they came; "" is every unit
}

func (r EventRange) where() (condition string, args []any) {
	condition = "timestamp >= ? AND timestamp < ?"
	args = []any{stamp(r.From), stamp(r.To)}
	if r.Unit != "" {
		condition += " AND (organization_id = ? OR unit = ? OR has(fengsui_unit_path, ?))"
		args = append(args, r.Unit, r.Unit, r.Unit)
	}
	return condition, args
}

// stamp is a time as ClickHouse reads it in a condition, to the microsecond.
func stamp(t time.Time) string { return clamp(t).UTC().Format("2006-01-02 15:04:05.000000") }

// CountEvents is the number of events of a range.
func (db *DB) CountEvents(ctx context.Context, r EventRange) (n uint64, err error) {
	where, args := r.where()
	if err := db.QueryRow(ctx, "SELECT count() FROM events WHERE "+where, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("counting events: %w", err)
	}
	return n, nil
}

// ScanEvents reads the events of a range in order of their time, a page of so
// many at once, and calls f for each. The event is good until f returns. It has
// the origin and the fields that it was stored with, and of each field the texts
// that it then had; times of receipt are to the microsecond, and what the origin
// said of a file's header lines is not kept.
//
// Events that are stored while it reads may be passed over.
func (db *DB) ScanEvents(ctx context.Context, r EventRange, page int, f func(*schemas.Event) error) error {
	s := newEventScanner()
	last := ""
	for {
		n, err := s.page(ctx, db, r, last, page, f)
		if err != nil {
			return fmt.Errorf("reading events from %s: %w", stamp(r.From), err)
		}
		if n < page {
			return nil
		}
		r.From, last = s.ev.Time(), s.id
	}
}

// eventScanner holds one row.
type eventScanner struct {
	ev      schemas.Event
	id      string
	at      time.Time
	exact   string
	columns []string
	dest    []any
	set     []func()
}

func newEventScanner() *eventScanner {
	s := &eventScanner{}
	o := &s.ev.Origin
	for _, c := range []struct {
		name string
		dest any
	}{
		{"id", &s.id},
		{"stream", &o.Stream},
		{"seq", &o.Seq},
		{"received", &o.Received},
		{"unit", &o.Unit},
		{"source", &o.Source},
		{"input", &o.Input},
		{"format", &o.Format},
		{"drill", &o.Drill},
		{"original", &s.ev.Original},
		{"exact", &s.exact},
		{"timestamp", &s.at},
	} {
		s.columns, s.dest = append(s.columns, c.name), append(s.dest, c.dest)
	}
	for _, f := range schemas.Fields() {
		if f.ID != schemas.FieldTimestamp {
			s.field(f)
		}
	}
	for _, ns := range schemas.OpenNamespaces() {
		s.columns = append(s.columns, ns.Column())
		var m map[string]string
		s.dest = append(s.dest, &m)
		s.set = append(s.set, func() {
			for k, v := range m {
				s.ev.SetOpen(ns.Prefix+k, schemas.String(v))
			}
		})
	}
	return s
}

// field adds the column of a field, by the type that newFieldColumn writes.
func (s *eventScanner) field(f schemas.Field) {
	s.columns = append(s.columns, "`"+f.Column()+"`")
	switch {
	case f.Type == schemas.Long && f.List:
		addList(s, f.ID, schemas.Int)
	case f.Type == schemas.Double && f.List:
		addList(s, f.ID, schemas.Float)
	case f.Type == schemas.Boolean && f.List:
		addList(s, f.ID, schemas.Bool)
	case f.Type == schemas.Date && f.List:
		addList(s, f.ID, schemas.Time)
	case f.List:
		addList(s, f.ID, schemas.String)
	case f.Type == schemas.Long:
		addOne(s, f.ID, schemas.Int)
	case f.Type == schemas.Double:
		addOne(s, f.ID, schemas.Float)
	case f.Type == schemas.Boolean:
		addOne(s, f.ID, schemas.Bool)
	case f.Type == schemas.Date:
		addOne(s, f.ID, schemas.Time)
	default:
		var v string
		s.dest = append(s.dest, &v)
		s.set = append(s.set, func() { s.ev.SetString(f.ID, v) })
	}
}

func addOne[T any](s *eventScanner, id schemas.FieldID, value func(T) schemas.Value) {
	var v *T
	s.dest = append(s.dest, &v)
	s.set = append(s.set, func() {
		if v != nil {
			s.ev.Set(id, value(*v))
		}
	})
}

func addList[T any](s *eventScanner, id schemas.FieldID, value func(T) schemas.Value) {
	var list []T
	s.dest = append(s.dest, &list)
	s.set = append(s.set, func() {
		if len(list) == 0 {
			return
		}
		vs := make([]schemas.Value, len(list))
		for i, e := range list {
			vs[i] = value(e)
		}
		s.ev.Set(id, schemas.List(vs...))
	})
}

// page reads the next events after the one with the id last at the time r.From.
func (s *eventScanner) page(ctx context.Context, db *DB, r EventRange, last string, limit int, f func(*schemas.Event) error) (n int, err error) {
	where, args := r.where()
	if last != "" {
		where += " AND (timestamp > ? OR id > ?)"
		args = append(args, stamp(r.From), last)
	}
	ctx = ch.Context(ctx, ch.WithSettings(ch.Settings{"optimize_read_in_order": 1, "max_block_size": 8192}))
	rows, err := db.Query(ctx, fmt.Sprintf("SELECT %s FROM events WHERE %s ORDER BY timestamp, id LIMIT %d", strings.Join(s.columns, ", "), where, limit), args...)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		s.ev.Reset()
		if err := rows.Scan(s.dest...); err != nil {
			return n, err
		}
		s.ev.SetTime(schemas.FieldTimestamp, s.at)
		for _, set := range s.set {
			set()
		}
		if err := restore(&s.ev, s.exact); err != nil {
			return n, fmt.Errorf("event %s: %w", s.id, err)
		}
		n++
		if err := f(&s.ev); err != nil {
			return n, err
		}
	}
	return n, rows.Err()
}
