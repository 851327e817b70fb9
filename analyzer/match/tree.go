package match

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"fengsui/schemas"
)

// node is a rule's condition as a tree. Its eval is written to be plain rather
// than fast: it is the oracle.
type node struct {
	kind nodeKind
	name string // of a selection
	kids []*node
	test *test
}

type nodeKind uint8

const (
	andNode nodeKind = iota
	orNode
	notNode       // one kid
	selectionNode // one kid; a name for its findings
	testNode
)

func and(kids ...*node) *node { return join(andNode, kids) }
func or(kids ...*node) *node  { return join(orNode, kids) }
func not(kid *node) *node     { return &node{kind: notNode, kids: []*node{kid}} }

func join(kind nodeKind, kids []*node) *node {
	if len(kids) == 1 {
		return kids[0]
	}
	return &node{kind: kind, kids: kids}
}

// op is what a test asks of a field.
type op uint8

const (
	opIs op = iota
	opHas
	opStarts
	opEnds
	opLike
	opRe
	opCIDR
	opExists
	opNull
	opGt
	opGte
	opLt
	opLte
	opSame       // as another field
	opSameHas    // holds another field's text
	opSameStarts // begins with it
	opSameEnds   // ends with it
	opWord       // somewhere in the event
	opWordLike
	opWordRe
)

// opNames are the names of the predicates in programs.
var opNames = [...]string{
	opIs: "is", opHas: "has", opStarts: "starts", opEnds: "ends", opLike: "like", opRe: "re", opCIDR: "cidr",
	opExists: "exists", opNull: "null", opGt: "gt", opGte: "gte", opLt: "lt", opLte: "lte",
	opSame: "same", opSameHas: "same_has", opSameStarts: "same_starts", opSameEnds: "same_ends",
	opWord: "word", opWordLike: "word_like", opWordRe: "word_re",
}

func (o op) String() string { return opNames[o] }

// ofField says that the test looks at one field rather than the whole event.
func (o op) ofField() bool { return o < opWord }

// test holds when any value of the field meets any of the wanted texts.
type test struct {
	op    op
	cased bool
	field []string // of these, the first that the event has
	other []string // the field that opSame… compares with
	want  []string // texts; of opLike and opWordLike, patterns in Sigma's notation
}

func (n *node) eval(ev *schemas.Event) bool {
	switch n.kind {
	case andNode:
		for _, k := range n.kids {
			if !k.eval(ev) {
				return false
			}
		}
		return true
	case orNode:
		for _, k := range n.kids {
			if k.eval(ev) {
				return true
			}
		}
		return false
	case notNode:
		return !n.kids[0].eval(ev)
	case selectionNode:
		return n.kids[0].eval(ev)
	}
	_, ok := n.test.eval(ev)
	return ok
}

// eval also returns the text that met the test.
func (t *test) eval(ev *schemas.Event) (string, bool) {
	texts := fieldTexts(ev, t.field)
	if !t.op.ofField() {
		texts = eventTexts(ev)
	}
	switch t.op {
	case opExists:
		return strings.Join(texts, ", "), texts != nil
	case opNull:
		return "", texts == nil
	}
	want := t.want
	if t.op >= opSame && t.op <= opSameEnds {
		want = fieldTexts(ev, t.other)
	}
	for _, text := range texts {
		for _, w := range want {
			if t.meets(text, w) {
				return text, true
			}
		}
	}
	return "", false
}

func (t *test) meets(text, want string) bool {
	star := elem{kind: many}
	body := elem{lit, want}
	switch t.op {
	case opIs, opSame:
		return fits(pattern{body}, text, t.cased)
	case opHas, opSameHas, opWord:
		return fits(pattern{star, body, star}, text, t.cased)
	case opStarts, opSameStarts:
		return fits(pattern{body, star}, text, t.cased)
	case opEnds, opSameEnds:
		return fits(pattern{star, body}, text, t.cased)
	case opLike, opWordLike:
		return fits(parsePattern(want), text, t.cased)
	case opRe, opWordRe:
		ok, err := regexp.MatchString(want, text)
		return err == nil && ok
	case opCIDR:
		net, err1 := parseNet(want)
		a, err2 := netip.ParseAddr(text)
		return err1 == nil && err2 == nil && net.Contains(a.Unmap())
	case opGt, opGte, opLt, opLte:
		a, err1 := strconv.ParseFloat(text, 64)
		b, err2 := strconv.ParseFloat(want, 64)
		return err1 == nil && err2 == nil && compare(t.op, a, b)
	}
	return false
}

func compare(o op, a, b float64) bool {
	switch o {
	case opGt:
		return a > b
	case opGte:
		return a >= b
	case opLt:
		return a < b
	default:
		return a <= b
	}
}

// parseNet reads a network, or an address as the network of it alone.
func parseNet(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	return n.Masked(), err
}

// fits is the oracle's own matcher, character by character.
func fits(p pattern, text string, cased bool) bool {
	letter := func(r rune) rune {
		if cased || r > utf8.MaxRune {
			return r
		}
		return foldRune(r)
	}
	var want []rune // -1 is ?, -2 is *
	for _, e := range p {
		switch e.kind {
		case one:
			want = append(want, -1)
		case many:
			want = append(want, -2)
		default:
			for _, r := range runes(e.text) {
				want = append(want, letter(r))
			}
		}
	}
	reach := make([]bool, len(want)+1) // which beginnings of want fit the text so far
	reach[0] = true
	spread := func() {
		for i, w := range want {
			if w == -2 && reach[i] {
				reach[i+1] = true
			}
		}
	}
	spread()
	for _, r := range runes(text) {
		r = letter(r)
		for i := len(want) - 1; i >= 0; i-- {
			w := want[i]
			reach[i+1] = w == -2 && reach[i+1] || (w == -1 || w == r) && reach[i]
		}
		reach[0] = false
		spread()
	}
	return reach[len(want)]
}

// runes keeps each byte that is not UTF-8 apart from every character.
func runes(s string) []rune {
	var out []rune
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			r = utf8.MaxRune + 1 + rune(s[i])
		}
		out = append(out, r)
		i += n
	}
	return out
}

// fieldTexts are the values of the first of the fields that the event has, as
// texts; nil when it has none.
func fieldTexts(ev *schemas.Event, fields []string) []string {
	for _, f := range fields {
		if v := ev.Lookup(f); !v.IsNone() {
			return valueTexts(v)
		}
	}
	return nil
}

func valueTexts(v schemas.Value) []string {
	var out []string
	for _, e := range v.List() {
		if e.Kind() == schemas.KindList {
			out = append(out, valueTexts(e)...)
		} else {
			out = append(out, e.Text())
		}
	}
	return out
}

// eventTexts are all texts of an event, which keywords are looked for in: the
// record as it came, and every value.
func eventTexts(ev *schemas.Event) []string {
	var out []string
	if ev.Original != "" {
		out = append(out, ev.Original)
	}
	ev.Each(func(_ schemas.FieldID, v schemas.Value) { out = append(out, valueTexts(v)...) })
	for _, o := range ev.Open() {
		out = append(out, valueTexts(o.Value)...)
	}
	return out
}
