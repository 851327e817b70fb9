package match

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"fengsui/schemas"
)

// predicate is a test made ready: its field has a slot, its texts are folded,
// its expressions compiled.
type predicate struct {
	test     *test
	slot     int // -1: the whole event
	other    int
	texts    []string
	set      map[string]struct{} // of opIs with many texts
	globs    []pattern
	res      []searcher
	required []string // of expressions: one of these texts
	needs    []needs  // and of each, what must be there
	nets     []netip.Prefix
	nums     []float64
	letters  [][]letter // parts of texts, if some of them are not UTF-8: half a character is no part of a whole one
}

// manyTexts is from how many texts on a set is quicker than looking through.
const manyTexts = 8

// intern gives equal tests one number.
func (c *compiler) intern(t *test) (int, error) {
	var b strings.Builder
	t.source(&b)
	if id, ok := c.byText[b.String()]; ok {
		return id, nil
	}
	p, err := c.prepare(t)
	if err != nil {
		return 0, err
	}
	id := len(c.predicates)
	c.predicates = append(c.predicates, p)
	c.byText[b.String()] = id
	return id, nil
}

func (c *compiler) prepare(t *test) (*predicate, error) {
	t.zone = c.zone
	p := &predicate{test: t, slot: -1}
	for _, f := range slices.Concat(t.field, t.other) {
		if err := schemas.CheckField(f); err != nil {
			return nil, err
		}
	}
	if t.op.ofField() {
		p.slot = c.slot(t.field)
	}
	if t.other != nil {
		p.other = c.slot(t.other)
	}
	for _, w := range t.want {
		switch t.op {
		case opLike, opWordLike:
			g := parsePattern(w)
			if !t.cased {
				g = g.folded()
			}
			p.globs = append(p.globs, g)
		case opRe, opWordRe:
			re, err := newSearcher(w)
			if err != nil {
				return nil, fmt.Errorf("not a regular expression of RE2: %w", err)
			}
			p.res = append(p.res, re)
		case opCIDR:
			n, err := ParseNet(w)
			if err != nil {
				return nil, fmt.Errorf("not a network: %w", err)
			}
			p.nets = append(p.nets, n)
		case opGt, opGte, opLt, opLte:
			x, err := strconv.ParseFloat(w, 64)
			if err != nil {
				return nil, fmt.Errorf("not a number: %q", w)
			}
			p.nums = append(p.nums, x)
		default:
			if !t.cased {
				w = fold(w)
			}
			p.texts = append(p.texts, w)
		}
	}
	if t.op != opIs && t.op.folds() && slices.ContainsFunc(t.want, func(w string) bool { return !utf8.ValidString(w) }) {
		p.letters = t.allLetters(t.want)
	}
	if t.op == opRe || t.op == opWordRe {
		p.required, p.needs = requiredOf(t.want), needsOf(t.want)
	}
	if t.op == opIs && len(p.texts) >= manyTexts {
		p.set = make(map[string]struct{}, len(p.texts))
		for _, w := range p.texts {
			p.set[w] = struct{}{}
		}
	}
	return p, nil
}

// slotDef is where an event's value is found: the first of these that it has.
type slotDef struct {
	names []string
	refs  []fieldRef
}

type fieldRef struct {
	id   schemas.FieldID
	open string // name in an open namespace; "" for a field of the catalogue
}

func (c *compiler) slot(fields []string) int {
	key := strings.Join(fields, "\x00")
	if s, ok := c.slotOf[key]; ok {
		return s
	}
	def := slotDef{names: fields}
	for _, name := range fields {
		ref := fieldRef{open: name}
		if f, ok := schemas.LookupField(name); ok {
			ref = fieldRef{id: f.ID}
		}
		def.refs = append(def.refs, ref)
	}
	c.slots = append(c.slots, def)
	c.slotOf[key] = len(c.slots) - 1
	return len(c.slots) - 1
}

func (d *slotDef) lookup(ev *schemas.Event) schemas.Value {
	for _, r := range d.refs {
		if r.open == "" {
			if v := ev.Get(r.id); !v.IsNone() {
				return v
			}
			continue
		}
		for _, o := range ev.Open() {
			if o.Name == r.open {
				return o.Value
			}
		}
	}
	return schemas.Value{}
}

// compares answers a predicate over two fields for the event that the state
// holds.
func (p *predicate) compares(s *state) bool {
	texts, others := s.slotTexts(p.slot), s.slotTexts(p.other)
	for _, text := range texts {
		if p.test.fn != asIs {
			made, ok := p.test.fn.appendOf(nil, text, p.test.zone)
			if !ok {
				continue
			}
			text = string(made)
		}
		for _, other := range others {
			if !p.test.cased {
				text, other = s.fold(text), s.fold(other)
			}
			if sameAs(p.test.op, text, other) {
				return true
			}
		}
	}
	return false
}

// meets answers any other predicate for a text that is there.
func (p *predicate) meets(text, folded string) bool {
	if p.test.fn != asIs {
		made, ok := p.test.fn.appendOf(nil, text, p.test.zone)
		if !ok {
			return false
		}
		text = string(made)
		folded = fold(text)
	}
	switch {
	case p.letters != nil:
		return p.test.meets(text, p.letters)
	case p.test.cased || !p.test.op.folds():
		return p.holds(text)
	}
	return p.holds(folded)
}

// holds is given the text in one case, unless case matters.
func (p *predicate) holds(text string) bool {
	switch p.test.op {
	case opIs:
		if p.set != nil {
			_, ok := p.set[text]
			return ok
		}
		return slices.Contains(p.texts, text)
	case opHas, opWord:
		for _, w := range p.texts {
			if strings.Contains(text, w) {
				return true
			}
		}
	case opStarts:
		for _, w := range p.texts {
			if strings.HasPrefix(text, w) {
				return true
			}
		}
	case opEnds:
		for _, w := range p.texts {
			if strings.HasSuffix(text, w) {
				return true
			}
		}
	case opLike, opWordLike:
		for _, g := range p.globs {
			if g.match(text) {
				return true
			}
		}
	case opRe, opWordRe:
		for i := range p.res {
			if p.res[i].match(text) {
				return true
			}
		}
	case opCIDR:
		a, err := ParseAddr(text)
		if err != nil {
			return false
		}
		for _, n := range p.nets {
			if n.Contains(a) {
				return true
			}
		}
	case opGt, opGte, opLt, opLte:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return false
		}
		for _, n := range p.nums {
			if compare(p.test.op, x, n) {
				return true
			}
		}
	}
	return false
}

// ParseAddr reads an address as networks are asked for it: without its zone
// (fe80::1%12 is how Windows writes it), and IPv4's as such.
func ParseAddr(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	return a.Unmap().WithZone(""), err
}

func sameAs(o op, text, other string) bool {
	switch o {
	case opSameHas:
		return strings.Contains(text, other)
	case opSameStarts:
		return strings.HasPrefix(text, other)
	case opSameEnds:
		return strings.HasSuffix(text, other)
	}
	return text == other
}
