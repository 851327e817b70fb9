package mask

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fengsui/schemas"
)

// maxLearned is how many names of one event are looked for in its other texts.
const maxLearned = 16

// Scope masks one event and what is made of it. Begin is called while the event
// is in the clear. It is not safe for concurrent use; it keeps its memory.
type Scope struct {
	m       *Masker
	names   []string // what the event's own fields name
	found   []Found
	ev      *schemas.Event
	set     []change
	counts  [NumClasses]uint64
	eachSet func(schemas.FieldID, schemas.Value)
	learn   func(schemas.FieldID, schemas.Value)
}

type change struct {
	id    schemas.FieldID
	value schemas.Value
}

// NewScope makes a scope.
func (m *Masker) NewScope() *Scope {
	s := &Scope{m: m}
	s.eachSet = s.field
	s.learn = func(id schemas.FieldID, v schemas.Value) {
		if m.named[id] {
			s.learnNames(v)
		}
	}
	return s
}

// Counts are how many pieces of each class were replaced since it was last asked.
func (s *Scope) Counts() (counts [NumClasses]uint64) {
	counts, s.counts = s.counts, counts
	return counts
}

// Rule is what is done with a class.
func (m *Masker) Rule(c Class) Rule { return m.rules[c] }

// Begin learns whom the event's fields name, so that they are found in all that
// is made of it.
func (s *Scope) Begin(ev *schemas.Event) {
	clear(s.names)
	s.names = s.names[:0]
	if ev == nil || !s.m.on(Name) {
		return
	}
	for _, o := range ev.Open() {
		if s.m.fields.has(o.Name) {
			s.learnNames(o.Value)
		}
	}
	ev.Each(s.learn)
}

func (s *Scope) learnNames(v schemas.Value) {
	for _, e := range v.List() {
		name := e.Str()
		if len(s.names) < maxLearned && isName(name) && len(name) >= 4 && utf8.RuneCountInString(name) >= 2 &&
			!strings.HasPrefix(name, tokenPrefix) && !strings.Contains(name, "**") {
			s.names = append(s.names, name)
		}
	}
}

// Text masks a text.
func (s *Scope) Text(text string) string {
	if s.m.idle || len(text) < 2 {
		return text
	}
	text, s.found = s.m.mask(text, s.names, s.found, &s.counts)
	return text
}

// Field masks a value of a field.
func (s *Scope) Field(name, value string) string {
	return s.value1(name, value, s.m.on(Name) && s.m.fields.has(name))
}

// value1 masks one value of a field, of which is known whether it names people.
func (s *Scope) value1(name, value string, named bool) string {
	switch {
	case named && isName(value):
		return s.whole(Name, value)
	case len(value) == 15 && s.m.on(ID) && isOldID(value) && saysIdentity(name, len(name)):
		return s.whole(ID, value)
	}
	return s.Text(value)
}

// whole replaces a value that is one piece of personal data, unless it was before.
func (s *Scope) whole(c Class, value string) string {
	s.found = settle(append(s.found[:0], Found{c, 0, len(value)}), value)
	s.counts[c] += uint64(len(s.found))
	return s.m.replace(value, s.found)
}

// Event masks all that an event holds: the record as it came, and every field.
func (s *Scope) Event(ev *schemas.Event) {
	if s.m.idle {
		return
	}
	ev.Original = s.Text(ev.Original)
	s.ev, s.set = ev, s.set[:0]
	ev.Each(s.eachSet)
	for _, c := range s.set {
		ev.Set(c.id, c.value)
	}
	open := ev.Open()
	for i := range open {
		named := s.m.on(Name) && s.m.fields.has(open[i].Name)
		if v, changed := s.value(open[i].Name, open[i].Value, named, true); changed {
			ev.SetOpen(open[i].Name, v)
		}
	}
	s.ev = nil
}

// untouched are the catalogue's fields that hold no text of people.
var untouched = func() (t [schemas.NumFields]bool) {
	for _, f := range schemas.Fields() {
		t[f.ID] = f.Type == schemas.IP
	}
	return t
}()

func (s *Scope) field(id schemas.FieldID, v schemas.Value) {
	if untouched[id] {
		return
	}
	if masked, changed := s.value(id.String(), v, s.m.named[id], false); changed {
		s.set = append(s.set, change{id, masked})
	}
}

// value masks a field's value. Numbers are looked at where the field may hold
// anything: those of the catalogue count and measure.
func (s *Scope) value(name string, v schemas.Value, named, open bool) (schemas.Value, bool) {
	switch v.Kind() {
	case schemas.KindString:
		text := v.Str()
		masked := s.value1(name, text, named)
		return schemas.String(masked), masked != text
	case schemas.KindInt, schemas.KindFloat:
		n, ok := whole(v)
		if !open || !ok || !s.m.mayBe(n) || namesQuantity(name) {
			return v, false
		}
		text := strconv.FormatInt(n, 10)
		masked := s.value1(name, text, false)
		return schemas.String(masked), masked != text
	case schemas.KindList:
		list, changed := v.List(), false
		for i, e := range list {
			if masked, c := s.value(name, e, named, open); c {
				if !changed {
					list, changed = slices.Clone(list), true
				}
				list[i] = masked
			}
		}
		return schemas.List(list...), changed
	}
	return v, false
}

// whole is a number without a fraction.
func whole(v schemas.Value) (int64, bool) {
	if v.Kind() == schemas.KindInt {
		return v.Int(), true
	}
	f := v.Float()
	return int64(f), f == math.Trunc(f) && math.Abs(f) < 1<<63
}

// mayBe says that a number has as many digits as one that is looked for, so that
// identifiers and times in milliseconds cost no text.
func (m *Masker) mayBe(n int64) bool {
	switch {
	case n < 1e10:
		return false
	case n < 1e11 || n/1e11 == 86:
		return true
	case n < 1e14:
		return false
	case n < 1e15 || n >= 1e17 && n < 1e18:
		return true
	}
	return m.on(BankCard)
}

// Match masks what a match tells of its event, and what it is grouped and
// counted by: equal values stay equal. What it shares with other matches is left
// as it is and replaced.
func (s *Scope) Match(m *schemas.Match) {
	if s.m.idle {
		return
	}
	m.Host = s.cut(s.Text(m.Host))
	m.Summary = s.cut(s.Text(m.Summary))
	m.Satisfied = mapped(m.Satisfied, func(x *schemas.Satisfied) bool { return s.change(x.Field, &x.Value) })
	if m.Mining != nil {
		mining := *m.Mining
		if a, b := s.change("", &mining.Detail), s.change("", &mining.Wallet); a || b {
			m.Mining = &mining
		}
	}
	s.counted(m)
}

func (s *Scope) counted(m *schemas.Match) {
	m.Group = mapped(m.Group, func(x *schemas.GroupValue) bool { return s.change(x.Field, &x.Value) })
	m.Values = mapped(m.Values, func(x *string) bool { return s.change("", x) })
	for i := range m.Next {
		s.counted(&m.Next[i])
	}
}

func (s *Scope) change(field string, value *string) bool {
	masked := s.cut(s.Field(field, *value))
	if masked == *value {
		return false
	}
	*value = masked
	return true
}

// mapped is the list with each element changed: the same where none is.
func mapped[T any](list []T, change func(*T) bool) []T {
	out := list
	for i := range list {
		x := list[i]
		if !change(&x) {
			continue
		}
		if &out[0] == &list[0] {
			out = slices.Clone(list)
		}
		out[i] = x
	}
	return out
}

// cut hides the digits that a shortened text ends with: they may begin a number
// that was longer than what was left of it.
func (s *Scope) cut(text string) string {
	whole, ok := strings.CutSuffix(text, "…")
	if !ok || !s.m.numbers {
		return text
	}
	end := len(whole)
	for end > 0 && link[whole[end-1]] {
		end--
	}
	rest := whole[end:]
	if len(rest) < 4 {
		return text
	}
	return whole[:end] + string(hide(nil, rest, 0, 0)) + "…"
}
