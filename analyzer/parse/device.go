package parse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"fengsui/analyzer/parse/structure"
	"fengsui/schemas"
)

// deviceReader reads one line of a device. Each device has a pool of them.
type deviceReader struct {
	ev       *schemas.Event
	lex      *structure.Lexicon // of the device's keys, by their numbers, and of others that it writes
	labels   []string           // labels.<key>, by number of the key
	pairs    []structure.Pair   // what was found; a value that means none is ""
	numbered int                // of them, those whose numbers and values are taken
	last     int                // number of the last of these
	said     []string           // by number of the key: its first value that is one
	taken    []uint8            // likewise: isUsed, isWhole
	again    []int              // pairs whose key had a value before
	reached  []bool             // by goal
	scratch  []byte             // of keys joined
	list     []schemas.Value    // of a list
	rest     names              // labels.<key> of keys that are not numbered
	more     []structure.Pair   // of a nested structure
	trace    *Explanation       // nil unless somebody asks

	forms  *structure.Forms // nil where lines have more than one structure
	formed []formed         // by number of the form
	values []string         // of a line of a form, by place: those of its keys, then those of the specials
	stamps []uint8          // taken, by place
}

// What became of a key's value.
const (
	isUsed  = 1 << iota // a field took it
	isWhole             // a list took all the key's values
)

func newDeviceReader(d *device) *deviceReader {
	r := &deviceReader{
		lex: structure.NewLexicon(d.keys), labels: slices.Clip(d.labels), last: structure.AtStart,
		said: make([]string, d.keys.Len()), taken: make([]uint8, d.keys.Len()), rest: names{prefix: "labels."},
	}
	if kv, ok := d.reader.(*structure.KV); ok && d.header == nil && len(d.nested) == 0 {
		r.forms = structure.NewForms(kv)
		r.values, r.stamps = make([]string, structure.MaxForm+len(specials)), make([]uint8, structure.MaxForm+len(specials))
	}
	return r
}

func (r *deviceReader) release(d *device) {
	r.begin(d)
	r.ev, r.trace = nil, nil
	clear(r.more[:cap(r.more)])
	clear(r.list[:cap(r.list)])
	if cap(r.scratch) > maxKept {
		r.scratch = nil
	}
	d.readers.Put(r)
}

// begin forgets what was found.
func (r *deviceReader) begin(d *device) {
	for i := range r.pairs {
		if n := int(r.pairs[i].Number) - 1; n >= 0 && n < len(r.said) {
			r.said[n], r.taken[n] = "", 0
		}
	}
	for _, n := range d.special {
		r.said[n], r.taken[n] = "", 0
	}
	clear(r.pairs)
	r.pairs, r.numbered, r.last, r.again = r.pairs[:0], 0, structure.AtStart, r.again[:0]
}

// read reads a line of the device into the event. An error says why it is none;
// the event is then as it was.
func (d *device) read(ev *schemas.Event, h *header, trace *Explanation) error {
	r := d.readers.Get().(*deviceReader)
	defer r.release(d)
	r.ev, r.trace = ev, trace
	if trace == nil && r.readForm(d, h) {
		return nil
	}
	body, id, err := r.open(d, h)
	if err != nil {
		return err
	}
	r.learn(d)
	p := &d.base
	m, err := r.choose(d, h, body, id)
	if err != nil {
		return err
	}
	if m != nil {
		p = &m.program
	}
	r.explain(d, m)
	for i := range d.constants {
		d.constants[i].apply(ev)
	}
	r.apply(d, p)
	r.leave(d, p)
	return nil
}

var errNoDeviceHeader = errors.New("no header of the device's")

// open reads the device's header and structure.
func (r *deviceReader) open(d *device, h *header) (body, id string, err error) {
	body, id = noSpaces(h.content), h.msgid
	r.special(d, h)
	if d.header != nil {
		which := 0
		if r.pairs, which = d.header.Append(r.pairs, body); which < 0 {
			return "", "", errNoDeviceHeader
		}
		r.traceHeader(which)
		kept := r.pairs[:0]
		for _, p := range r.pairs {
			switch p.Key {
			case "body":
				body = p.Value
				continue
			case "id":
				id = p.Value
			}
			kept = append(kept, p)
		}
		clear(r.pairs[len(kept):])
		r.pairs = kept
		r.number(d)
	}
	if d.reader == nil {
		return body, id, nil
	}
	if r.pairs, err = r.appendOf(d.reader, r.pairs, body, h); err != nil {
		return "", "", err
	}
	r.tracePattern(d.reader, body)
	r.number(d)
	return body, id, r.nest(d, d.nested)
}

// special takes what the syslog header says.
func (r *deviceReader) special(d *device, h *header) {
	for i, v := range h.specials() {
		r.said[d.special[i]] = v
	}
}

// appendOf reads a structure; structured data stands in the syslog header, the
// names of W3C's columns in the header lines of the file.
func (r *deviceReader) appendOf(of structure.Reader, pairs []structure.Pair, body string, h *header) ([]structure.Pair, error) {
	switch of := of.(type) {
	case *structure.KV:
		return of.AppendBy(pairs, body, r.lex)
	case structure.CEF:
		return of.AppendBy(pairs, body, r.lex)
	case sdStructure:
		body = h.elements
	case *w3cStructure:
		return of.by(h.preamble).Append(pairs, body)
	}
	return of.Append(pairs, body)
}

// number takes the values of the pairs that it has not seen yet, by the numbers of
// their keys.
func (r *deviceReader) number(d *device) {
	for ; r.numbered < len(r.pairs); r.numbered++ {
		p := &r.pairs[r.numbered]
		if p.Number == 0 {
			r.find(d, p)
		}
		n := int(p.Number) - 1
		if r.last = n; n < 0 {
			r.last = structure.Unknown
		}
		if d.isEmpty(p.Value) {
			p.Value = ""
			continue
		}
		if n < 0 || n >= len(r.said) {
			continue
		}
		if r.said[n] == "" {
			r.said[n] = p.Value
		} else {
			r.again = append(r.again, r.numbered)
		}
	}
}

// find finds the number of a pair's key, or of the other name of the key.
func (r *deviceReader) find(d *device, p *structure.Pair) {
	n := 0
	if p.Alias == "" {
		n = r.lex.Number(p.Key, r.last)
	} else if n = d.keys.Find(p.Key); n < 0 {
		if n = d.keys.Find(p.Alias); n >= 0 {
			p.Key = p.Alias
		}
	}
	p.Number = int32(max(n, -1) + 1) //nolint:gosec // of few thousand keys
}

func (d *device) isEmpty(v string) bool {
	return v == "" || d.emptyFirst[v[0]] && slices.Contains(d.empty, v)
}

// nest reads the values that have a structure of their own. One that has not is
// left as it is.
func (r *deviceReader) nest(d *device, of []nestedKey) error {
	for i := range of {
		n := &of[i]
		v := r.said[n.key]
		if v == "" {
			continue
		}
		more, err := n.reader.Append(r.more[:0], v)
		r.more = more
		if err != nil {
			continue
		}
		if len(r.pairs)+len(more) > 2*structure.MaxPairs {
			return fmt.Errorf("more than %d keys", 2*structure.MaxPairs)
		}
		r.taken[n.key] |= isUsed
		for _, p := range more {
			key := n.prefixed(d, p.Key)
			r.pairs = append(r.pairs, structure.Pair{Key: key, Value: p.Value})
		}
		r.number(d)
	}
	return nil
}

// prefixed is the key's full name, without allocating for one that is known.
func (n *nestedKey) prefixed(d *device, key string) string {
	var b [2 * structure.MaxKey]byte
	full := append(append(b[:0], n.names.prefix...), key...)
	if i := d.keys.Find(string(full)); i >= 0 {
		return d.keys.Name(i)
	}
	return string(full)
}

// choose finds the message that the line is, or nil. What the message's own
// structure finds replaces what the device's did.
func (r *deviceReader) choose(d *device, h *header, body, id string) (*message, error) {
	exact, others := d.byID[id], d.byRest
	for len(exact) > 0 || len(others) > 0 {
		var i int
		if len(others) == 0 || len(exact) > 0 && exact[0] < others[0] {
			i, exact = exact[0], exact[1:]
		} else {
			i, others = others[0], others[1:]
		}
		m := &d.messages[i]
		if !m.says(body, id) || d.reader != nil && !r.hold(m.conds) {
			continue
		}
		if !m.own {
			if d.reader == nil && !r.hold(m.conds) {
				continue
			}
			return m, nil
		}
		if ok, err := r.reread(d, m, h, body); ok || err != nil {
			return m, err
		}
	}
	return nil, nil
}

// says compares what a message says of the text.
func (m *message) says(body, id string) bool {
	if len(m.file.ID) > 0 && !slices.ContainsFunc(m.file.ID, func(want string) bool { return matchesEnd(want, id) }) {
		return false
	}
	if len(m.file.Starts) > 0 && !slices.ContainsFunc(m.file.Starts, func(want string) bool { return strings.HasPrefix(body, want) }) {
		return false
	}
	for _, want := range m.file.Contains {
		if !strings.Contains(body, want) {
			return false
		}
	}
	return true
}

// reread reads the message's own structure in the place of the device's.
func (r *deviceReader) reread(d *device, m *message, h *header, body string) (bool, error) {
	more, err := r.appendOf(m.reader, r.more[:0], body, h)
	r.more = more
	if err != nil {
		return false, nil //nolint:nilerr // another message may be it
	}
	if d.reader != nil { // anew: the header's alone are kept
		r.restart(d, h)
	}
	r.pairs = append(r.pairs, more...)
	r.number(d)
	if d.reader == nil && !r.hold(m.conds) {
		r.restart(d, h)
		return false, nil
	}
	r.tracePattern(m.reader, body)
	return true, r.nest(d, m.nested)
}

// restart forgets what structures found.
func (r *deviceReader) restart(d *device, h *header) {
	r.begin(d)
	r.special(d, h)
	if d.header == nil {
		return
	}
	r.pairs, _ = d.header.Append(r.pairs, strings.TrimLeft(h.content, " "))
	r.pairs = slices.DeleteFunc(r.pairs, func(p structure.Pair) bool { return p.Key == "body" })
	r.number(d)
}

func (r *deviceReader) hold(conds []condition) bool {
	for i := range conds {
		if !conds[i].holds(r.said[conds[i].key]) {
			return false
		}
	}
	return true
}

func (c *condition) holds(v string) bool {
	for i := range c.wants {
		if c.wants[i].holds(v) {
			return true
		}
	}
	return false
}

// want is a value that a condition names, or a part of one. Letters of ASCII are
// compared without regard to their case.
type want struct {
	kind wantKind
	not  bool
	text string
}

type wantKind uint8

const (
	wantExact wantKind = iota
	wantAny            // *
	wantStart          // x*
	wantPart           // *x*
)

func newWant(s string) want {
	if rest, ok := strings.CutPrefix(s, "!"); ok && rest != "" {
		w := newWant(rest)
		w.not = !w.not
		return w
	}
	switch {
	case s == "*":
		return want{kind: wantAny}
	case len(s) > 2 && s[0] == '*' && s[len(s)-1] == '*':
		return want{kind: wantPart, text: s[1 : len(s)-1]}
	case strings.HasSuffix(s, "*"):
		return want{kind: wantStart, text: s[:len(s)-1]}
	}
	return want{text: s}
}

func (w *want) holds(v string) bool {
	ok := false
	switch n := len(w.text); w.kind {
	case wantExact:
		ok = n == len(v) && (v == w.text || strings.EqualFold(v, w.text))
	case wantAny:
		ok = v != ""
	case wantStart:
		ok = len(v) >= n && strings.EqualFold(v[:n], w.text)
	case wantPart:
		ok = containsFold(v, w.text)
	}
	return ok != w.not
}

func containsFold(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(part)], part) {
			return true
		}
	}
	return false
}

// apply sets the event's fields: constants, then what the keys say, then what
// follows from conditions; the later outweighs the earlier.
func (r *deviceReader) apply(d *device, p *program) {
	for i := range p.set {
		p.set[i].apply(r.ev)
	}
	r.reached = slices.Grow(r.reached[:0], p.goals)[:p.goals]
	clear(r.reached)
	for i := range p.goal {
		if g := &p.goal[i]; r.said[g.key] != "" && !r.reached[g.goal] {
			r.take(d, &p.steps[i], g)
		}
	}
	for i := range p.when {
		w := &p.when[i]
		if !r.hold(w.conds) {
			continue
		}
		for j := range w.set {
			w.set[j].apply(r.ev)
		}
		r.traceWhen(w)
	}
}

// take has a step set its field.
func (r *deviceReader) take(d *device, s *step, g *goal) {
	text := r.said[g.key]
	switch {
	case s.plain, s.quad && dottedQuad(text):
		r.ev.Set(s.id, schemas.String(text))
	case len(s.keys) == 1:
		if !r.set(s, text) {
			return
		}
	default:
		if text = r.join(s); text == "" || !r.set(s, text) {
			return
		}
		for _, k := range s.keys {
			r.taken[k] |= isUsed
		}
	}
	r.taken[g.key] |= isUsed
	r.reached[g.goal] = true
	if r.trace != nil {
		r.traceStep(d, s, text)
	}
}

// join joins the keys' values by blanks; all of them must have one.
func (r *deviceReader) join(s *step) string {
	r.scratch = r.scratch[:0]
	for i, k := range s.keys {
		v := r.said[k]
		if v == "" {
			return ""
		}
		if i > 0 {
			r.scratch = append(r.scratch, ' ')
		}
		r.scratch = append(r.scratch, v...)
	}
	if s.kind == "time" && r.trace == nil { // which keeps nothing of its text
		return unsafe.String(unsafe.SliceData(r.scratch), len(r.scratch))
	}
	return string(r.scratch)
}

func (r *deviceReader) set(s *step, text string) bool {
	if s.many {
		return r.gather(s, text)
	}
	if text = s.mapped(text); text == "" {
		return false
	}
	v, ok := s.convert(s, r, text)
	if !ok {
		return false
	}
	if s.open != "" {
		r.ev.SetOpen(s.open, v)
	} else {
		r.ev.Set(s.id, v)
	}
	return true
}

// gather makes a list: of the value's parts, and of the same key's other values.
func (r *deviceReader) gather(s *step, text string) bool {
	r.list = r.list[:0]
	if !r.elements(s, text) {
		return false
	}
	for _, i := range r.again {
		if int(r.pairs[i].Number)-1 == s.keys[0] && !r.elements(s, r.pairs[i].Value) {
			return false
		}
	}
	if len(r.list) == 0 {
		return false
	}
	r.taken[s.keys[0]] |= isWhole
	v := schemas.List(slices.Clone(r.list)...)
	if s.open != "" {
		r.ev.SetOpen(s.open, v)
	} else {
		r.ev.Set(s.id, v)
	}
	return true
}

func (r *deviceReader) elements(s *step, text string) bool {
	convert := s.convert
	if s.kind == "list" {
		convert = converters[s.of]
	}
	for more := true; more; {
		one := text
		if more = false; s.kind == "list" {
			one, text, more = strings.Cut(text, s.separator)
		}
		one = strings.TrimSpace(one)
		if one = s.mapped(one); one == "" {
			continue
		}
		v, ok := convert(s, r, one)
		if !ok || len(r.list) == maxValues {
			return false
		}
		r.list = append(r.list, v)
	}
	return true
}

// leave keeps what no field took, as text under labels.
func (r *deviceReader) leave(d *device, p *program) {
	for i := range r.pairs {
		pair := &r.pairs[i]
		if pair.Value == "" {
			continue
		}
		n := int(pair.Number) - 1
		ignored := false
		if n >= 0 && n < len(r.said) {
			if r.taken[n]&isUsed != 0 && (r.taken[n]&isWhole != 0 || len(r.again) == 0 || pair.Value == r.said[n]) {
				continue
			}
			ignored = p.ignore[n]
		} else {
			ignored = d.matchesIgnore(p, pair.Key)
		}
		if ignored = ignored || !p.keepRest; !ignored {
			r.keep(r.label(n, pair.Key), pair.Value)
		}
		r.traceRest(pair, ignored)
	}
}

// label is the name that a key without a field is kept by.
func (r *deviceReader) label(n int, key string) string {
	if n < 0 {
		return r.rest.ofText(key)
	}
	for len(r.labels) <= n {
		r.labels = append(r.labels, r.rest.prefix+r.lex.Word(len(r.labels)))
	}
	return r.labels[n]
}

// keep sets a label, which becomes a list when it is said again.
func (r *deviceReader) keep(name, value string) {
	if old := r.ev.AddOpen(name, schemas.String(value)); !old.IsNone() {
		r.ev.SetOpen(name, schemas.List(append(old.List(), schemas.String(value))...))
	}
}
