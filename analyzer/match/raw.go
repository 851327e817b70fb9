package match

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"fengsui/analyzer/parse"
	"fengsui/schemas"
)

// Raw tries rules on JSON records without making events of them: a record is
// walked once, only the values that some rule of its shape asks for are looked
// at, and those mostly are known already. A record of any other form than a plain
// flat object, or for which that is not enough, is parsed and matched as an
// event. Either way the result is that of parsing and Match, but for one thing:
// parsing also refuses a record whose time cannot be read.
//
// A Raw is for one goroutine.
type Raw struct {
	engine *Engine
	layout *parse.Layout
	state  *state

	keys   map[string]*rawKey
	byID   []*rawKey
	values []rawValue // of the record, by key
	turn   uint32
	line   []byte
	hidden asciiSet // of ASCII, in one case, that the line has in another form

	settling []*rawKey // keys that tell the shape
	shapes   map[string]*rawShape
	shape    *rawShape // of the record
	usable   bool
	parsed   uint64
	err      error
	words    map[*slotIndex]rawWords
	added    []string // the layout's texts in one case

	ev  schemas.Event
	key []byte
	buf []byte
}

type rawKey struct {
	id    int32
	name  string
	plain bool
	role  uint8   // keys of one role exclude one another; 0 is none
	next  *rawKey // that came after it the last time
}

type rawValue struct {
	turn     uint32
	kind     rawKind
	from, to int32
}

// there says that the record of a turn has the value.
func (v *rawValue) there(turn uint32) bool { return v.turn == turn && v.kind != rawNull }

type rawKind uint8

const (
	rawText    rawKind = iota // a string without escapes, a number, true or false
	rawEscaped                // a string with escapes
	rawNull
	rawList // of scalars, brackets included
)

// rawShape is what is known of records with the same values of the keys that
// settle the shape.
type rawShape struct {
	plan    *livePlan
	sources []rawSource
	of      []sourceRange // of each slot: which sources are its
	first   []int32       // of each slot: the key whose value it is as it stands, if that is there, or noKey
	single  []bool        // of each slot: it has no other source
	usable  bool          // all of the plan's slots have sources
	words   rawWords
	reads   []rawRead // of the plan's slots
	version uint32    // of the plan, for which they are
}

// rawRead is how a slot is read from records of a shape, and what that means to
// the plan.
type rawRead struct {
	planSlot
	key    int32  // as in first
	single bool   // likewise
	values *table // of plain texts
	absent *view  // of records without a value; nil if no rule cares
}

// rawWords are texts of which one must stand in a record for any rule over the
// whole event to hold; nil if that cannot be said.
type rawWords struct {
	texts *literals
	of    asciiSet
}

// sourceRange is of the sources of a slot; unknown ones are those that the plan
// does not ask for, or that only parsing can tell.
type sourceRange struct{ from, to int32 }

func (s sourceRange) unknown() bool { return s.to < s.from }

// rawSource is where a value may come from: the one of some keys that is there, or
// what text makes of it; or a text that the shape has settled.
type rawSource struct {
	keys  []*rawKey
	text  func(string) (string, bool)
	fixed string
}

var fixedValue = &rawValue{}

const maxRawKeys = 4096 // that are remembered

const noKey = -1

// Raw prepares for records of a layout.
func (e *Engine) Raw(l *parse.Layout) *Raw {
	r := &Raw{engine: e, layout: l, state: newState(e), keys: map[string]*rawKey{}, shapes: map[string]*rawShape{}, usable: true, words: map[*slotIndex]rawWords{}}
	for _, t := range l.Texts {
		r.added = append(r.added, fold(t))
	}
	for _, f := range e.planned {
		for _, name := range e.slots[f.slot].names {
			keys, ok := l.Settles(name)
			r.usable = r.usable && ok
			for _, k := range keys {
				if key := r.keyOf(k); !slices.Contains(r.settling, key) {
					r.settling = append(r.settling, key)
				}
			}
		}
	}
	return r
}

// Tried is how many rules were looked at for the last record.
func (r *Raw) Tried() int { return len(r.state.tried) }

// Parsed is how many records had to be parsed.
func (r *Raw) Parsed() uint64 { return r.parsed }

// Match calls emit for each rule that the record meets, as Engine.Match does for
// its event. The record must not change before the next call.
func (r *Raw) Match(line []byte, emit func(Hit)) error {
	s := r.state
	r.line, r.err = line, nil
	s.begin(nil)
	report := func(c *CompiledRule) { c.report(&s.fired, emit) }
	if !r.usable || !r.walk() || r.unsettled() {
		if err := r.parse(); err != nil {
			return err
		}
		s.match(s.planOf(), report)
		return nil
	}
	shape, err := r.shapeOf()
	if err != nil {
		return err
	}
	if r.shape = shape; !shape.usable && s.ev == nil {
		if err := r.parse(); err != nil {
			return err
		}
	}
	if s.ev == nil {
		s.raw = r
	}
	s.match(shape.plan, report)
	s.raw = nil
	return r.err
}

// parse makes an event of the record after all.
func (r *Raw) parse() error {
	r.parsed++
	r.ev.Reset()
	r.ev.Original = stringOf(r.line)
	if err := r.layout.Parse(&r.ev); err != nil {
		return err
	}
	r.state.ev, r.state.raw = &r.ev, nil
	return nil
}

func (r *Raw) keyOf(name string) *rawKey {
	if k := r.keys[name]; k != nil {
		return k
	}
	plain, role := r.layout.Key(name)
	k := &rawKey{id: int32(len(r.byID)), name: strings.Clone(name), plain: plain, role: role} //nolint:gosec // at most maxRawKeys
	r.keys[k.name] = k
	r.byID = append(r.byID, k)
	r.values = append(r.values, rawValue{})
	return k
}

// unsettled says that a key that tells the shape has more than one value.
func (r *Raw) unsettled() bool {
	return slices.ContainsFunc(r.settling, func(k *rawKey) bool {
		v := &r.values[k.id]
		return v.turn == r.turn && v.kind == rawList
	})
}

// shapeOf finds the shape of the record. The first of a shape is parsed.
func (r *Raw) shapeOf() (*rawShape, error) {
	key := r.key[:0]
	for _, k := range r.settling {
		v := &r.values[k.id]
		if v.turn != r.turn {
			key = append(key, 0)
			continue
		}
		key = append(key, byte(v.kind)+1)
		key = append(binary.AppendUvarint(key, uint64(v.to-v.from)), r.line[v.from:v.to]...) //nolint:gosec // not negative
	}
	r.key = key
	if s := r.shapes[string(key)]; s != nil {
		return s, nil
	}
	text := string(key)
	if err := r.parse(); err != nil {
		return nil, err
	}
	shape := r.newShape()
	if len(r.shapes) >= maxPlans {
		clear(r.shapes)
	}
	if len(text) <= maxShapeKey {
		r.shapes[text] = shape
	}
	return shape, nil
}

func (r *Raw) newShape() *rawShape {
	live := r.state.planOf()
	n := len(r.engine.slots)
	s := &rawShape{plan: live, of: make([]sourceRange, n), first: make([]int32, n), single: make([]bool, n), usable: true}
	for i := range n {
		s.of[i].to, s.first[i] = -1, noKey
	}
	for _, slot := range live.plan.asked {
		if slot == r.engine.wordSlot() {
			s.words = r.wordsOf(live.plan.words)
			continue
		}
		from := len(s.sources)
		if r.appendSources(s, slot) {
			s.of[slot] = sourceRange{int32(from), int32(len(s.sources))} //nolint:gosec // bounded by the rules
			if all := s.sources[from:]; len(all) > 0 && len(all[0].keys) > 0 && all[0].text == nil {
				s.first[slot], s.single[slot] = all[0].keys[0].id, len(all) == 1 && len(all[0].keys) == 1
			}
			continue
		}
		s.sources = s.sources[:from]
		s.usable = s.usable && !slices.Contains(live.plan.slots, slot)
	}
	return s
}

// appendSources is false where only parsing can tell the slot's value.
func (r *Raw) appendSources(s *rawShape, slot int32) bool {
	for _, name := range r.engine.slots[slot].names {
		if r.settled(name) {
			if v := r.state.ev.Lookup(name); !v.IsNone() {
				s.sources = append(s.sources, rawSource{fixed: v.Text()})
			}
			continue
		}
		keys, text, ok := r.layout.Source(name, r.state.ev)
		if !ok {
			return false
		}
		source := rawSource{text: text}
		for _, k := range keys {
			source.keys = append(source.keys, r.keyOf(k))
		}
		s.sources = append(s.sources, source)
	}
	return true
}

// settled says that all records of a shape have one text in the field, or none
// has it.
func (r *Raw) settled(field string) bool {
	keys, ok := r.layout.Settles(field)
	if !ok || r.state.ev.Lookup(field).Kind() == schemas.KindList {
		return false
	}
	return !slices.ContainsFunc(keys, func(k string) bool { return !slices.Contains(r.settling, r.keyOf(k)) })
}

// gather is state.gather by the record: most slots have no value there, or the one that
// they had in the record before.
func (r *Raw) gather(l *livePlan) {
	s, shape := r.state, r.shape
	if shape.version != l.version {
		shape.read(s)
	}
	for i := range shape.reads {
		p := &shape.reads[i]
		var e *entry
		if p.key == noKey {
			e = s.entryOf(p.slot)
		} else if v := &r.values[p.key]; !v.there(r.turn) {
			if p.single {
				if p.absent != nil {
					s.take(l, p.absent)
				}
				continue
			}
			e = s.entryOf(p.slot)
		} else {
			text, at := r.line[v.from:v.to], p.values.last
			if v.kind == rawText && at != unremembered && string(s.values.text(at)) == string(text) {
				e = s.remembered(at)
			} else {
				e, at = r.lookUpValue(p.slot, v, text, false)
			}
			s.known[p.slot] = knownEntry{s.turn, at, e}
		}
		s.takeEntry(l, p.planSlot, e)
	}
}

// read finds out how the plan's slots are read, as they are now.
func (shape *rawShape) read(s *state) {
	l := shape.plan
	shape.version, shape.reads = l.version, shape.reads[:0]
	for _, p := range l.slots {
		r := rawRead{planSlot: p, key: noKey}
		if p.slot != s.engine.wordSlot() {
			r.key, r.single = shape.first[p.slot], shape.single[p.slot]
			r.values, r.absent = &s.values.tables[p.slot][plainValue], p.none
			if e := s.missing[p.slot]; e.says {
				r.absent = l.view(s.engine, e, p.slot)
			}
		}
		shape.reads = append(shape.reads, r)
	}
}

// lookUp is state.lookUp by the record.
func (r *Raw) lookUp(slot int32) (*entry, valueRef) {
	s := r.state
	if key := r.shape.first[slot]; key != noKey {
		if v := &r.values[key]; v.there(r.turn) {
			return r.lookUpValue(slot, v, r.line[v.from:v.to], false)
		}
		if r.shape.single[slot] {
			return s.missing[slot], unremembered
		}
	}
	v, text, made := r.find(slot)
	switch {
	case v == nil && s.raw == nil: // parsed after all
		return s.lookUp(slot)
	case v == nil:
		return s.missing[slot], unremembered
	}
	return r.lookUpValue(slot, v, text, made)
}

// lookUpValue finds the entry of a text that was made of a value, or of one as the
// record has it.
func (r *Raw) lookUpValue(slot int32, v *rawValue, text []byte, made bool) (*entry, valueRef) {
	s := r.state
	if made || v.kind == rawText {
		return s.lookUpText(slot, text)
	}
	t := &s.values.tables[slot][escapedValue]
	if v.kind == rawList {
		t = &s.values.tables[slot][rawListValue]
	}
	if at := s.values.get(t, text); at != unremembered {
		return s.remembered(at), at
	}
	if v.kind != rawList {
		r.buf = unescape(r.buf[:0], text)
		return s.remember(t, text, s.workOut(slot, stringOf(r.buf)))
	}
	e := s.missing[slot]
	if texts := listTexts(text); len(texts) > 0 {
		e = s.workOut(slot, texts...)
	}
	return s.remember(t, text, e)
}

// listTexts are the elements of a list that the walk has found to be well formed
// and flat; null is none.
func listTexts(list []byte) []string {
	var out []string
	w := walker{line: list}
	for i := w.space(1); i < len(list) && list[i] != ']'; i = w.space(i) {
		if list[i] == ',' {
			i++
			continue
		}
		var v rawValue
		i = w.value(i, &v)
		switch v.kind {
		case rawText:
			out = append(out, string(list[v.from:v.to]))
		case rawEscaped:
			out = append(out, string(unescape(nil, list[v.from:v.to])))
		}
	}
	return out
}

// texts are the slot's, unless the record had to be parsed for them.
func (r *Raw) texts(slot int32) ([]string, bool) {
	s := r.state
	at := &s.slots[slot]
	if at.turn == s.turn {
		return s.list[at.from:at.to], true
	}
	v, text, made := r.find(slot)
	if v == nil {
		return nil, s.raw != nil
	}
	at.turn, at.from = s.turn, int32(len(s.list)) //nolint:gosec // a record is at most 1 MiB
	switch {
	case v.kind == rawList:
		s.list = append(s.list, listTexts(text)...)
	case made: // the memory may be needed for the next
		from := len(s.buf)
		s.buf = append(s.buf, text...)
		s.list = append(s.list, s.made(from))
	case v.kind == rawText:
		s.list = append(s.list, stringOf(text))
	default:
		from := len(s.buf)
		s.buf = unescape(s.buf, text)
		s.list = append(s.list, s.made(from))
	}
	at.to = int32(len(s.list)) //nolint:gosec // as above
	return s.list[at.from:at.to], true
}

// find looks for a slot's value: as it is in the record, or made of what is. If
// only parsing can tell, the record is parsed.
func (r *Raw) find(slot int32) (v *rawValue, text []byte, made bool) {
	of := r.shape.of[slot]
	if of.unknown() {
		r.give()
		return nil, nil, false
	}
	for i := of.from; i < of.to; i++ {
		src := &r.shape.sources[i]
		if src.keys == nil && src.fixed != "" {
			return fixedValue, bytesOf(src.fixed), true
		}
		for _, k := range src.keys {
			v := &r.values[k.id]
			if !v.there(r.turn) {
				continue
			}
			text := r.line[v.from:v.to]
			switch {
			case v.kind == rawList && src.text != nil:
				r.give()
				return nil, nil, false
			case src.text == nil:
				return v, text, false
			}
			whole := stringOf(text)
			if v.kind == rawEscaped {
				r.buf = unescape(r.buf[:0], text)
				whole = stringOf(r.buf)
			}
			if made, ok := src.text(whole); ok {
				return v, bytesOf(made), true
			}
		}
	}
	return nil, nil, false
}

// give gives up: the record is parsed after all.
func (r *Raw) give() bool {
	if err := r.parse(); err != nil {
		r.err, r.state.raw = err, nil
		r.state.ev = &r.ev
		return false
	}
	return true
}

// wordsEntry is that of the whole event.
func (r *Raw) wordsEntry() *entry {
	if texts := r.shape.words.texts; texts != nil {
		line := r.line
		if r.hidden.meet(r.shape.words.of) {
			r.buf = unescape(r.buf[:0], line)
			line = bytesOf(r.state.fold(stringOf(r.buf)))
		}
		if !texts.any(line) {
			return nothing
		}
	}
	r.give()
	return r.state.wordsEntry()
}

// wordsOf finds in each text that is looked for a part that a record shows as it
// is: without what JSON escapes. It must not be one that parsing may add.
func (r *Raw) wordsOf(x *slotIndex) rawWords {
	if w, ok := r.words[x]; ok {
		return w
	}
	var parts []string
	for _, text := range x.texts() {
		part := ""
		for _, run := range strings.FieldsFunc(text, func(c rune) bool { return c == '"' || c == '\\' || c < ' ' || c >= utf8.RuneSelf }) {
			if len(run) > len(part) {
				part = run
			}
		}
		added := slices.ContainsFunc(r.added, func(t string) bool { return strings.Contains(t, part) })
		if added || len(part) < gramBytes || strings.Trim(part, "0123456789abcdef:.tz+-") == "" { // addresses, numbers and times are written anew
			parts = nil
			break
		}
		parts = append(parts, part)
	}
	var w rawWords
	if len(parts) > 0 && len(x.ask) == 0 { // all are long enough to look for
		w.texts = newLiterals(parts)
		for _, c := range []byte(strings.Join(parts, "")) {
			w.of.add(c)
		}
	}
	r.words[x] = w
	return w
}

// walk notes where the values of a plain flat object are. It says false for what
// is not one, which parsing may still be able to read.
func (r *Raw) walk() bool {
	if r.turn++; r.turn == 0 {
		clear(r.values)
		r.turn = 1
	}
	line := r.line
	for len(line) > 0 && line[len(line)-1] <= ' ' {
		line = line[:len(line)-1]
	}
	w := walker{line: line}
	i := w.space(0)
	if i >= len(line) || line[i] != '{' {
		return false
	}
	i++
	var last *rawKey
	var roles [4]uint64
	for n := 0; ; n++ {
		if i = w.space(i); i >= len(line) || line[i] != '"' || n > 500 {
			return false
		}
		i++
		var key *rawKey
		if last != nil && last.next != nil {
			if end := i + len(last.next.name); end < len(line) && line[end] == '"' && string(line[i:end]) == last.next.name {
				key, i = last.next, end+1
			}
		}
		if key == nil {
			end := bytes.IndexByte(line[i:], '"')
			if end < 0 || bytes.IndexByte(line[i:i+end], '\\') >= 0 {
				return false
			}
			if key = r.keys[string(line[i:i+end])]; key == nil {
				if len(r.byID) >= maxRawKeys {
					return false
				}
				key = r.keyOf(string(line[i : i+end]))
			}
			if i += end + 1; last != nil {
				last.next = key
			}
		}
		v := &r.values[key.id]
		if last = key; !key.plain || v.turn == r.turn {
			return false
		}
		if key.role != 0 {
			bit := uint64(1) << (key.role % 64)
			if roles[key.role/64]&bit != 0 {
				return false
			}
			roles[key.role/64] |= bit
		}
		if i = w.space(i); i >= len(line) || line[i] != ':' {
			return false
		}
		if i = w.value(w.space(i+1), v); i < 0 {
			return false
		}
		v.turn = r.turn
		if i = w.space(i); i >= len(line) {
			return false
		}
		if line[i] == '}' {
			break
		}
		if line[i] != ',' {
			return false
		}
		i++
	}
	high := w.high&0x8080808080808080 != 0
	r.hidden = w.hidden
	if high && bytes.Contains(line, []byte("ſ")) {
		r.hidden.add('s')
	}
	if high && bytes.Contains(line, []byte("\u212a")) {
		r.hidden.add('k')
	}
	return i+1 == len(line) && len(r.line) <= parse.MaxRecord && (!high || utf8.Valid(r.line))
}
