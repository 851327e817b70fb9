package parse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"fengsui/analyzer/parse/structure"
	"fengsui/schemas"
)

// deviceReader reads one line; it is pooled.
type deviceReader struct {
	ev      *schemas.Event
	pairs   []structure.Pair
	numbers []int            // of the pairs' keys, or -1
	values  []string         // by number of the key: the first value that is one
	used    []bool           // by number of the key: a field took the value
	whole   []bool           // by number of the key: a list took all its values
	again   []int            // pairs whose key had a value before
	reached []bool           // by goal
	scratch []byte           // of keys joined
	list    []schemas.Value  // of a list
	rest    names            // labels.<key> of keys that no file knows
	more    []structure.Pair // of a nested structure
	trace   *Explanation     // nil unless somebody asks
}

var deviceReaders = sync.Pool{New: func() any { return &deviceReader{rest: names{prefix: "labels."}} }}

func (r *deviceReader) release() {
	r.ev, r.trace = nil, nil
	clear(r.pairs[:cap(r.pairs)])
	clear(r.values[:cap(r.values)])
	clear(r.more[:cap(r.more)])
	clear(r.list[:cap(r.list)])
	if cap(r.scratch) > maxKept {
		r.scratch = nil
	}
	deviceReaders.Put(r)
}

// begin forgets the last line.
func (r *deviceReader) begin(d *device) {
	n := len(d.keys.keys)
	r.pairs, r.numbers, r.again = r.pairs[:0], r.numbers[:0], r.again[:0]
	r.values = slices.Grow(r.values[:0], n)[:n]
	r.used = slices.Grow(r.used[:0], n)[:n]
	r.whole = slices.Grow(r.whole[:0], n)[:n]
	clear(r.values)
	clear(r.used)
	clear(r.whole)
}

// read reads a line of the device into the event. An error says why it is none;
// the event is then as it was.
func (d *device) read(ev *schemas.Event, h *header, trace *Explanation) error {
	r := deviceReaders.Get().(*deviceReader)
	defer r.release()
	r.ev, r.trace = ev, trace
	r.begin(d)
	body, id, err := r.open(d, h)
	if err != nil {
		return err
	}
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
	return nil
}

var errNoDeviceHeader = errors.New("no header of the device's")

// open reads the device's header and structure.
func (r *deviceReader) open(d *device, h *header) (body, id string, err error) {
	body, id = strings.TrimLeft(h.content, " "), h.msgid
	for i, v := range [...]string{h.app, h.msgid, h.host, h.severity()} {
		r.values[d.special[i]] = v
	}
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
		r.pairs = kept
		r.number(d)
	}
	if d.reader == nil {
		return body, id, nil
	}
	if r.pairs, err = appendOf(d.reader, r.pairs, body, h); err != nil {
		return "", "", err
	}
	r.tracePattern(d.reader, body)
	r.number(d)
	return body, id, r.nest(d, d.nested)
}

// appendOf reads a structure; structured data stands in the syslog header, the
// names of W3C's columns in the header lines of the file.
func appendOf(of structure.Reader, pairs []structure.Pair, body string, h *header) ([]structure.Pair, error) {
	switch of := of.(type) {
	case sdStructure:
		body = h.elements
	case *w3cStructure:
		return of.by(h.preamble).Append(pairs, body)
	}
	return of.Append(pairs, body)
}

// number finds the keys of the pairs that have no number yet.
func (r *deviceReader) number(d *device) {
	for i := len(r.numbers); i < len(r.pairs); i++ {
		p := &r.pairs[i]
		n := d.keys.find(p.Key)
		if n < 0 && p.Alias != "" {
			if n = d.keys.find(p.Alias); n >= 0 {
				p.Key = p.Alias
			}
		}
		r.numbers = append(r.numbers, n)
		if n < 0 || d.isEmpty(p.Value) {
			continue
		}
		if r.values[n] == "" {
			r.values[n] = p.Value
		} else {
			r.again = append(r.again, i)
		}
	}
}

func (d *device) isEmpty(v string) bool {
	if v == "" {
		return true
	}
	for _, e := range d.empty {
		if v == e {
			return true
		}
	}
	return false
}

// nest reads the values that have a structure of their own. One that has not is
// left as it is.
func (r *deviceReader) nest(d *device, of []nestedKey) error {
	for i := range of {
		n := &of[i]
		v := r.values[n.key]
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
		r.used[n.key] = true
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
	if i := d.keys.find(string(full)); i >= 0 {
		return d.keys.keys[i]
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
	more, err := appendOf(m.reader, r.more[:0], body, h)
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
	for i, v := range [...]string{h.app, h.msgid, h.host, h.severity()} {
		r.values[d.special[i]] = v
	}
	if d.header == nil {
		return
	}
	r.pairs, _ = d.header.Append(r.pairs, strings.TrimLeft(h.content, " "))
	r.pairs = slices.DeleteFunc(r.pairs, func(p structure.Pair) bool { return p.Key == "body" })
	r.number(d)
}

func (r *deviceReader) hold(conds []condition) bool {
	for i := range conds {
		if !conds[i].holds(r.values[conds[i].key]) {
			return false
		}
	}
	return true
}

func (c *condition) holds(v string) bool {
	for _, want := range c.values {
		if matchesValue(want, v) {
			return true
		}
	}
	return false
}

// matchesValue compares without regard to the case of ASCII letters.
func matchesValue(want, v string) bool {
	if rest, ok := strings.CutPrefix(want, "!"); ok && rest != "" {
		return !matchesValue(rest, v)
	}
	switch {
	case want == "*":
		return v != ""
	case len(want) > 2 && want[0] == '*' && want[len(want)-1] == '*':
		return containsFold(v, want[1:len(want)-1])
	case strings.HasSuffix(want, "*"):
		n := len(want) - 1
		return len(v) >= n && strings.EqualFold(v[:n], want[:n])
	}
	return strings.EqualFold(want, v)
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
	for i := range p.steps {
		r.take(d, &p.steps[i])
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
	r.leave(d, p)
}

// take has a step set its field, unless one before it did.
func (r *deviceReader) take(d *device, s *step) {
	if r.reached[s.goal] {
		return
	}
	text := r.values[s.keys[0]]
	if len(s.keys) > 1 {
		text = r.join(s)
	}
	if text == "" {
		return
	}
	if !r.set(s, text) {
		return
	}
	r.reached[s.goal] = true
	for _, k := range s.keys {
		r.used[k] = true
	}
	r.traceStep(d, s, text)
}

// join joins the keys' values by blanks; all of them must have one.
func (r *deviceReader) join(s *step) string {
	r.scratch = r.scratch[:0]
	for i, k := range s.keys {
		if r.values[k] == "" {
			return ""
		}
		if i > 0 {
			r.scratch = append(r.scratch, ' ')
		}
		r.scratch = append(r.scratch, r.values[k]...)
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
		if r.numbers[i] == s.keys[0] && !r.elements(s, r.pairs[i].Value) {
			return false
		}
	}
	if len(r.list) == 0 {
		return false
	}
	r.whole[s.keys[0]] = true
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
		pair, n := &r.pairs[i], r.numbers[i]
		if d.isEmpty(pair.Value) || n >= 0 && r.used[n] && (r.whole[n] || pair.Value == r.values[n]) {
			continue
		}
		if n >= 0 && p.ignore[n] || n < 0 && d.matchesIgnore(p, pair.Key) {
			r.traceRest(pair, true)
			continue
		}
		r.traceRest(pair, !p.keepRest)
		if !p.keepRest {
			continue
		}
		name := ""
		if n >= 0 {
			name = d.labels[n]
		} else {
			name = r.rest.ofText(pair.Key)
		}
		r.keep(name, pair.Value)
	}
}

// keep sets a label, which becomes a list when it is said again.
func (r *deviceReader) keep(name, value string) {
	for _, o := range r.ev.Open() {
		if o.Name == name {
			r.ev.SetOpen(name, schemas.List(append(o.Value.List(), schemas.String(value))...))
			return
		}
	}
	r.ev.SetOpen(name, schemas.String(value))
}
