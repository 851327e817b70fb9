package match

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf16"
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
	odd    bool // a letter or an escape that hides a letter of ASCII

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
	sources map[int32][]rawSource // of each slot of the plan
	usable  bool                  // all of the plan's slots have sources
	words   rawWords
}

// rawWords are texts of which one must stand in a record for any rule over the
// whole event to hold; nil if that cannot be said.
type rawWords struct{ texts *literals }

// rawSource is where a value may come from: the one of some keys that is there, or
// what text makes of it; or a text that the shape has settled.
type rawSource struct {
	keys  []*rawKey
	text  func(string) (string, bool)
	fixed string
}

var fixedValue = &rawValue{}

const maxRawKeys = 4096 // that are remembered

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
	report := func(c *CompiledRule) { c.report(s.fired, emit) }
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
	s := &rawShape{plan: live, sources: map[int32][]rawSource{}, usable: true}
	for _, slot := range live.plan.asked {
		if slot == r.engine.wordSlot() {
			s.words = r.wordsOf(live.plan.words)
			continue
		}
		s.sources[slot] = nil
		for _, name := range r.engine.slots[slot].names {
			if r.settled(name) {
				if v := r.state.ev.Lookup(name); !v.IsNone() {
					s.sources[slot] = append(s.sources[slot], rawSource{fixed: v.Text()})
				}
				continue
			}
			keys, text, ok := r.layout.Source(name, r.state.ev)
			if !ok {
				s.usable = s.usable && !slices.Contains(live.plan.slots, slot)
				delete(s.sources, slot)
				break
			}
			source := rawSource{text: text}
			for _, k := range keys {
				source.keys = append(source.keys, r.keyOf(k))
			}
			s.sources[slot] = append(s.sources[slot], source)
		}
	}
	return s
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

// entry finds what a slot's value of the record makes true.
func (r *Raw) entry(slot int32) *entry {
	s := r.state
	v, text, made := r.find(slot)
	switch {
	case v == nil && s.raw == nil: // parsed after all
		return s.fieldEntry(slot)
	case v == nil:
		return s.missing[slot]
	case made || v.kind == rawText:
		return s.textEntry(slot, text)
	}
	c := &s.values[slot][escapedValue]
	if v.kind == rawList {
		c = &s.values[slot][rawListValue]
	}
	e := c.get(text)
	if e == nil {
		if v.kind == rawList {
			texts := listTexts(text)
			if e = s.missing[slot]; len(texts) > 0 {
				e = s.workOut(slot, texts...)
			}
		} else {
			r.buf = unescape(r.buf[:0], text)
			e = s.workOut(slot, stringOf(r.buf))
		}
		s.remember(c, text, e)
	}
	return e
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
	v, text, made := r.find(slot)
	if v == nil {
		return nil, r.state.raw != nil
	}
	switch {
	case made || v.kind == rawText:
	case v.kind == rawList:
		return listTexts(text), true
	default:
		text = unescape(nil, text)
	}
	return []string{stringOf(text)}, true
}

// find looks for a slot's value: as it is in the record, or made of what is. If
// only parsing can tell, the record is parsed.
func (r *Raw) find(slot int32) (v *rawValue, text []byte, made bool) {
	sources, ok := r.shape.sources[slot]
	if !ok {
		r.give()
		return nil, nil, false
	}
	for i := range sources {
		src := &sources[i]
		if src.keys == nil && src.fixed != "" {
			return fixedValue, bytesOf(src.fixed), true
		}
		for _, k := range src.keys {
			v := &r.values[k.id]
			if v.turn != r.turn || v.kind == rawNull {
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
		line, may := r.line, false
		if r.odd {
			r.buf = unescape(r.buf[:0], line)
			line = bytesOf(r.state.fold(stringOf(r.buf)))
		}
		texts.find(line, func(int32, int) bool {
			may = true
			return false
		})
		if !may {
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
	}
	r.words[x] = w
	return w
}

// unescape appends a well-formed string without its escapes. Half a surrogate
// pair becomes U+FFFD, as in encoding/json.
func unescape(b, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			from := i
			for i+1 < len(text) && text[i+1] != '\\' {
				i++
			}
			b = append(b, text[from:i+1]...)
			continue
		}
		if i++; text[i] != 'u' {
			b = append(b, "\"\\/\b\f\n\r\t"[strings.IndexByte(`"\/bfnrt`, text[i])])
			continue
		}
		c := unhex4(text[i+1:])
		i += 4
		if utf16.IsSurrogate(c) {
			low := rune(0)
			if i+6 < len(text) && text[i+1] == '\\' && text[i+2] == 'u' {
				low = unhex4(text[i+3:])
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, c)
	}
	return b
}

// unhex4 reads four hexadecimal digits.
func unhex4(text []byte) rune {
	var r rune
	for _, c := range text[:4] {
		if c >= 'A' {
			c = c&^0x20 - 'A' + '9' + 1
		}
		r = r<<4 | rune(c-'0')
	}
	return r
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
	r.odd = w.odd || high && (bytes.Contains(line, []byte("ſ")) || bytes.Contains(line, []byte("\u212a")))
	return i+1 == len(line) && len(r.line) <= parse.MaxRecord && (!high || utf8.Valid(r.line))
}

// walker reads JSON's tokens from a line.
type walker struct {
	line []byte
	high uint64 // the eighth bits of its bytes
	odd  bool   // an escape for something that texts without escapes may be of
}

func (w *walker) space(i int) int {
	for i < len(w.line) && (w.line[i] == ' ' || w.line[i] == '\t' || w.line[i] == '\n' || w.line[i] == '\r') {
		i++
	}
	return i
}

// value reads one value and returns where it ends, or -1.
func (w *walker) value(i int, v *rawValue) int {
	if i >= len(w.line) {
		return -1
	}
	c := w.line[i]
	switch {
	case c == '"':
		end, escaped := w.text(i + 1)
		v.kind, v.from, v.to = rawText, int32(i+1), int32(end) //nolint:gosec // a record is at most 1 MiB
		if escaped {
			v.kind = rawEscaped
		}
		if end < 0 {
			return -1
		}
		return end + 1
	case c == '-' || '0' <= c && c <= '9':
		end := i + 1
		for end < len(w.line) && '0' <= w.line[end] && w.line[end] <= '9' {
			end++
		}
		digits := w.line[i:end]
		if c == '-' {
			digits = digits[1:]
		}
		if len(digits) == 0 || len(digits) > 1 && digits[0] == '0' {
			return -1
		}
		v.kind, v.from, v.to = rawText, int32(i), int32(end) //nolint:gosec // as above
		return end                                           // a fraction or an exponent is not what follows a value
	case c == '[':
		return w.list(i+1, v)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(w.line[i:], bytesOf(word)) {
			v.kind, v.from, v.to = rawText, int32(i), int32(i+len(word)) //nolint:gosec // as above
			if word == "null" {
				v.kind = rawNull
			}
			return i + len(word)
		}
	}
	return -1
}

// list passes over a list of scalars.
func (w *walker) list(i int, v *rawValue) int {
	from := int32(i - 1) //nolint:gosec // a record is at most 1 MiB
	if i = w.space(i); i < len(w.line) && w.line[i] == ']' {
		v.kind, v.from, v.to = rawList, from, int32(i+1) //nolint:gosec // as above
		return i + 1
	}
	for {
		if i = w.space(i); i >= len(w.line) || w.line[i] == '[' || w.line[i] == '{' {
			return -1
		}
		if i = w.value(i, v); i < 0 {
			return -1
		}
		if i = w.space(i); i >= len(w.line) {
			return -1
		}
		if w.line[i] == ']' {
			v.kind, v.from, v.to = rawList, from, int32(i+1) //nolint:gosec // as above
			return i + 1
		}
		if w.line[i] != ',' {
			return -1
		}
		i++
	}
}

// text finds the quote that ends a string, eight bytes at a time (after Alan
// Mycroft's test for a zero byte, 1987), or -1.
func (w *walker) text(i int) (end int, escaped bool) {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	line := w.line
	for {
		for ; i+8 <= len(line); i += 8 {
			x := binary.LittleEndian.Uint64(line[i:])
			w.high |= x
			quote, slash := x^ones*'"', x^ones*'\\'
			stop := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs
			if stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
		}
		for i < len(line) && line[i] != '"' && line[i] != '\\' && line[i] >= ' ' {
			w.high |= uint64(line[i])
			i++
		}
		if i >= len(line) || line[i] < ' ' {
			return -1, escaped
		}
		if line[i] == '"' {
			return i, escaped
		}
		if i+1 >= len(line) {
			return -1, escaped
		}
		escaped = true
		switch line[i+1] {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			i += 2
		case '/':
			w.odd = true
			i += 2
		case 'u':
			if !hex4(line, i+2) {
				return -1, escaped
			}
			c := unhex4(line[i+2:])
			w.odd = w.odd || ' ' <= c && c <= '~' || c == 'ſ' || c == '\u212a'
			i += 6
		default:
			return -1, escaped
		}
	}
}

func hex4(line []byte, i int) bool {
	if i+4 > len(line) {
		return false
	}
	for _, c := range line[i : i+4] {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}
