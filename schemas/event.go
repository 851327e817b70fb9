package schemas

import (
	"net/netip"
	"time"
)

// Event is one parsed record: its origin, and the fields of the catalogue that
// it has. It is not safe for concurrent use. The zero Event is empty and ready;
// Reset makes a used one so again and keeps its memory.
type Event struct {
	Origin
	Original string // the raw record as it arrived

	index [NumFields]uint8 // position in set, plus one
	set   []slot
	open  []OpenValue
}

type slot struct {
	id    FieldID
	value Value
}

// OpenValue is a field in an open namespace.
type OpenValue struct {
	Name  string // full dotted name
	Value Value
}

// Reset empties the event and keeps its memory.
func (e *Event) Reset() {
	for _, s := range e.set {
		e.index[s.id] = 0
	}
	e.set, e.open = e.set[:0], e.open[:0]
	e.Origin, e.Original = Origin{}, ""
}

// Set sets a field; None removes nothing and is ignored.
func (e *Event) Set(id FieldID, v Value) {
	if v.kind == None {
		return
	}
	if p := e.index[id]; p > 0 {
		e.set[p-1].value = v
		return
	}
	e.set = append(e.set, slot{id, v})
	e.index[id] = uint8(len(e.set)) //nolint:gosec // NumFields < 256, held by TestCatalogue
}

// SetString sets a field to a string; an empty one is a missing field.
func (e *Event) SetString(id FieldID, s string) {
	if s != "" {
		e.Set(id, String(s))
	}
}

// SetInt sets a field to an integer.
func (e *Event) SetInt(id FieldID, n int64) { e.Set(id, Int(n)) }

// SetTime sets a field to a time; the zero time is a missing field.
func (e *Event) SetTime(id FieldID, t time.Time) {
	if !t.IsZero() {
		e.Set(id, Time(t))
	}
}

// SetIP sets a field to the canonical form of an address and says whether the
// text was one; a field is left alone when it was not.
func (e *Event) SetIP(id FieldID, text string) bool {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	e.Set(id, Addr(a))
	return true
}

// SetOpen sets a field in an open namespace, by its full name.
func (e *Event) SetOpen(name string, v Value) {
	if v.kind == None {
		return
	}
	for i := range e.open {
		if e.open[i].Name == name {
			e.open[i].Value = v
			return
		}
	}
	e.open = append(e.open, OpenValue{name, v})
}

// AddOpen sets a field in an open namespace that has no value yet; where it has
// one, it stays, and is returned.
func (e *Event) AddOpen(name string, v Value) (old Value) {
	for i := range e.open {
		if e.open[i].Name == name {
			return e.open[i].Value
		}
	}
	if v.kind != None {
		e.open = append(e.open, OpenValue{name, v})
	}
	return Value{}
}

// Get returns a field's value, or the missing value.
func (e *Event) Get(id FieldID) Value {
	if p := e.index[id]; p > 0 {
		return e.set[p-1].value
	}
	return Value{}
}

// Has says that a field is set.
func (e *Event) Has(id FieldID) bool { return e.index[id] > 0 }

// Str returns a field's string, or "".
func (e *Event) Str(id FieldID) string {
	if p := e.index[id]; p > 0 {
		return e.set[p-1].value.Str()
	}
	return ""
}

// Lookup returns the value of a field by name, alias or open name.
func (e *Event) Lookup(name string) Value {
	if id, ok := byName[name]; ok {
		return e.Get(id)
	}
	for i := range e.open {
		if e.open[i].Name == name {
			return e.open[i].Value
		}
	}
	return Value{}
}

// Time is when the event happened, or the zero time when unknown.
func (e *Event) Time() time.Time { return e.Get(FieldTimestamp).Time() }

// Each calls f for each field that is set, in the order they were set.
func (e *Event) Each(f func(FieldID, Value)) {
	for _, s := range e.set {
		f(s.id, s.value)
	}
}

// Open returns the fields in open namespaces. It must not be changed.
func (e *Event) Open() []OpenValue { return e.open }

// AppendJSON appends the event as one JSON object with dotted names: the
// catalogue's fields in its order, then the open ones in the order they came,
// then event.id and event.original. Source: ECS 9.5, which allows dotted names.
func (e *Event) AppendJSON(dst []byte) []byte {
	dst = append(dst, '{')
	first := true
	key := func(name string) {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendJSONString(dst, name)
		dst = append(dst, ':')
	}
	for id, p := range e.index {
		if p > 0 {
			key(catalogue.Fields[id].Name)
			dst = e.set[p-1].value.AppendJSON(dst)
		}
	}
	for _, o := range e.open {
		key(o.Name)
		dst = o.Value.AppendJSON(dst)
	}
	if e.Stream != "" {
		key("event.id")
		dst = appendJSONString(dst, e.EventID())
	}
	if e.Original != "" {
		key("event.original")
		dst = appendJSONString(dst, e.Original)
	}
	return append(dst, '}')
}
