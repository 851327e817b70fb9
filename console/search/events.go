package search

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"fengsui/internal/clickhouse"
	"fengsui/internal/query"
	"fengsui/schemas"
)

// Event is a stored event: the fields that it has, by name, in the catalogue's
// order. It is JSON with dotted names.
type Event []EventField

// EventField is one field of an event.
type EventField struct {
	Name  string
	Value any // string, int64, float64, bool, time.Time, or a slice of one of them
}

// Get returns the value of a field, or nil.
func (e Event) Get(name string) any {
	for _, f := range e {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Str returns the value of a field as a string, "" if it is none.
func (e Event) Str(name string) string {
	s, _ := e.Get(name).(string)
	return s
}

// Time is when the event happened.
func (e Event) Time() time.Time {
	t, _ := e.Get("@timestamp").(time.Time)
	return t
}

// MarshalJSON writes the fields in their order.
func (e Event) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range e {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// extra are the fields of a stored event that are not in the catalogue: what the
// record's origin says.
var extra = []struct {
	name string
	query.Field
}{
	{"event.id", query.Field{SQL: "id"}},
	{"event.ingested", query.Field{SQL: "ingested", Type: query.Time}},
	{"event.created", query.Field{SQL: "received", Type: query.Time}},
	{"fengsui.unit", query.Field{SQL: "unit"}},
	{"fengsui.source", query.Field{SQL: "source"}},
	{"fengsui.input", query.Field{SQL: "input"}},
	{"fengsui.format", query.Field{SQL: "format"}},
	{"fengsui.drill", query.Field{SQL: "drill", Type: query.Bool}},
	{"event.original", query.Field{SQL: "original", Type: query.Text}},
}

// eventFields resolves the names of the catalogue, of open namespaces and of
// extra.
type eventFields struct{}

func (eventFields) Field(name string) (query.Field, error) {
	if f, ok := schemas.LookupField(name); ok {
		return query.Field{SQL: f.Column(), Type: queryType(f.Type), List: f.List}, nil
	}
	for _, x := range extra {
		if name == x.name || name == "id" && x.name == "event.id" {
			return x.Field, nil
		}
	}
	if ns, ok := schemas.OpenField(name); ok {
		key := strings.TrimPrefix(name, ns.Prefix)
		if strings.ContainsFunc(key, notInKey) {
			return query.Field{}, query.Bad("the name %q may hold letters, digits, and . _ - only", "名称 %q 只能含字母、数字与 . _ -", name)
		}
		return query.Field{SQL: ns.Column() + "['" + key + "']"}, nil
	}
	err := schemas.CheckField(name)
	if u := new(schemas.UnknownFieldError); errors.As(err, &u) {
		err = query.Bad("%[1]s", "没有字段 %[2]q，是否为 %[3]q？", u.Error(), u.Name, u.Nearest)
	}
	return query.Field{}, err
}

// notInKey keeps out of a name whatever could end the quotes that it is put in.
func notInKey(r rune) bool {
	return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-", r)
}

func (eventFields) Text() query.Field { return query.Field{SQL: "original", Type: query.Text} }

func queryType(t schemas.Type) query.Type {
	switch t {
	case schemas.Text:
		return query.Text
	case schemas.IP:
		return query.IP
	case schemas.Long, schemas.Double:
		return query.Number
	case schemas.Boolean:
		return query.Bool
	case schemas.Date:
		return query.Time
	}
	return query.Keyword
}

// eventColumns are the columns of an event in the order of its fields, with the
// fields' names.
var eventColumns, eventNames = func() (columns, names []string) {
	add := func(column, name string) { columns, names = append(columns, column), append(names, name) }
	add("id", "event.id")
	for _, f := range schemas.Fields() {
		add(f.Column(), f.Name)
	}
	for _, ns := range schemas.OpenNamespaces() {
		add(ns.Column(), ns.Prefix)
	}
	for _, x := range extra[1:] {
		add(x.SQL, x.name)
	}
	return columns, names
}()

// Events returns events, the newest first.
func Events(ctx context.Context, db *clickhouse.DB, q Query) (events []Event, err error) {
	c, err := q.where(eventFields{}, "timestamp", "timestamp DESC, id", "organization_id")
	if err != nil {
		return nil, err
	}
	rows, err := db.Query(ch.Context(ctx, ch.WithParameters(c.Params)),
		"SELECT "+strings.Join(eventColumns, ", ")+" FROM events WHERE "+c.SQL)
	if err != nil {
		return nil, fmt.Errorf("searching events: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		ev, err := scanEvent(rows)
		if err != nil {
			return nil, fmt.Errorf("searching events: %w", err)
		}
		events = append(events, ev)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("searching events: %w", err)
	}
	return events, nil
}

func scanEvent(rows driver.Rows) (Event, error) {
	types := rows.ColumnTypes()
	dest := make([]any, len(types))
	for i, t := range types {
		dest[i] = reflect.New(t.ScanType()).Interface()
	}
	if err := rows.Scan(dest...); err != nil {
		return nil, err
	}
	var ev Event
	for i := range dest {
		v := reflect.ValueOf(dest[i]).Elem()
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				continue
			}
			v = v.Elem()
		}
		switch {
		case v.Kind() == reflect.Map:
			ev = append(ev, openFields(eventNames[i], v.Interface())...)
		case isEmpty(v):
		default:
			ev = append(ev, EventField{eventNames[i], v.Interface()})
		}
	}
	return ev, nil
}

// isEmpty says that a column which cannot be NULL holds nothing.
func isEmpty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice:
		return v.Len() == 0
	}
	return false
}

func openFields(prefix string, m any) Event {
	values, ok := m.(map[string]string)
	if !ok {
		return nil
	}
	var ev Event
	for _, k := range sortedKeys(values) {
		ev = append(ev, EventField{prefix + k, values[k]})
	}
	return ev
}
