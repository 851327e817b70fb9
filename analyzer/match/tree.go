package match

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
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

	predicate *predicate // what programs have for the test; eval does not use it
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
	fn    function       // what is looked at instead of the field's text itself
	zone  *time.Location // of fn's times
	field []string       // of these, the first that the event has
	other []string       // the field that opSame… compares with
	list  string         // name of the list that want is
	want  []string       // texts; of opLike and opWordLike, patterns in Sigma's notation

	letters [][]letter       // of want, for the oracle
	res     []*regexp.Regexp // likewise
}

// ready prepares the tests below for eval. It does so apart from what programs
// use, so that a mistake in either shows.
func (n *node) ready() error {
	for _, k := range n.kids {
		if err := k.ready(); err != nil {
			return err
		}
	}
	if n.test == nil {
		return nil
	}
	t := n.test
	if t.list != "" {
		return nil
	}
	if t.op != opRe && t.op != opWordRe {
		t.letters = t.allLetters(t.want)
		return nil
	}
	for _, w := range t.want {
		re, err := regexp.Compile(w)
		if err != nil {
			return err
		}
		t.res = append(t.res, re)
	}
	return nil
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
	want := t.letters
	if t.op >= opSame && t.op <= opSameEnds {
		want = t.allLetters(fieldTexts(ev, t.other))
	}
	for _, text := range texts {
		looked := []string{text}
		if t.fn != asIs {
			looked = t.functionOf(looked)
		}
		for _, l := range looked {
			if t.meets(l, want) {
				return text, true
			}
		}
	}
	return "", false
}

func (t *test) functionOf(texts []string) []string {
	var out []string
	for _, text := range texts {
		if b, ok := t.fn.appendOf(nil, text, t.zone); ok {
			out = append(out, string(b))
		}
	}
	return out
}

// meets says whether the text meets any of what is wanted.
func (t *test) meets(text string, want [][]letter) bool {
	switch t.op {
	case opRe, opWordRe:
		for _, re := range t.res {
			if re.MatchString(text) {
				return true
			}
		}
		return false
	case opCIDR, opGt, opGte, opLt, opLte:
		for _, w := range t.want {
			if t.measures(text, w) {
				return true
			}
		}
		return false
	}
	if t.list != "" { // too long to be kept as letters
		return slices.ContainsFunc(t.want, func(w string) bool {
			return strings.EqualFold(w, text) && fold(w) == fold(text) // the first takes all broken bytes for one
		})
	}
	given := letters(text, t.cased)
	for _, w := range want {
		if fits(w, given) {
			return true
		}
	}
	return false
}

func (t *test) measures(text, want string) bool {
	if t.op == opCIDR {
		net, err1 := ParseNet(want)
		a, err2 := netip.ParseAddr(text)
		return err1 == nil && err2 == nil && net.Contains(a.Unmap().WithZone(""))
	}
	a, err1 := strconv.ParseFloat(text, 64)
	b, err2 := strconv.ParseFloat(want, 64)
	return err1 == nil && err2 == nil && compare(t.op, a, b)
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

// ParseNet reads a network, or an address as the network of it alone. One of
// IPv4 addresses written as IPv6's (::ffff:10.0.0.0/104) is that of IPv4, as
// addresses are.
func ParseNet(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, err
		}
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	n, err := netip.ParsePrefix(s)
	if a := n.Addr(); a.Is4In6() && n.Bits() >= 96 {
		n = netip.PrefixFrom(a.Unmap(), n.Bits()-96)
	}
	return n.Masked(), err
}

// letter is a character in one case, a byte that is not UTF-8 (above every
// character), or a wildcard.
type letter = rune

const (
	anyOne  letter = -1
	anyMany letter = -2
)

// halfCharacter finds a wanted text that is not UTF-8, which every text of an event
// is; "" if there is none.
func (n *node) halfCharacter() string {
	for _, k := range n.kids {
		if half := k.halfCharacter(); half != "" {
			return half
		}
	}
	if n.test != nil && n.test.op.folds() {
		for _, w := range n.test.want {
			if !utf8.ValidString(w) {
				return w
			}
		}
	}
	return ""
}

func (t *test) allLetters(want []string) [][]letter {
	var out [][]letter
	for _, w := range want {
		out = append(out, t.lettersOf(w))
	}
	return out
}

// lettersOf is what the whole text of a field must fit.
func (t *test) lettersOf(want string) []letter {
	body := letters(want, t.cased)
	switch t.op {
	case opHas, opSameHas, opWord:
		return slices.Concat([]letter{anyMany}, body, []letter{anyMany})
	case opStarts, opSameStarts:
		return append(body, anyMany)
	case opEnds, opSameEnds:
		return append([]letter{anyMany}, body...)
	case opLike, opWordLike:
		body = nil
		for _, e := range parsePattern(want) {
			switch e.kind {
			case one:
				body = append(body, anyOne)
			case many:
				body = append(body, anyMany)
			default:
				body = append(body, letters(e.text, t.cased)...)
			}
		}
	}
	return body
}

func letters(s string, cased bool) []letter {
	out := make([]letter, 0, len(s)+2)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			r = utf8.MaxRune + 1 + rune(s[i])
		case !cased:
			r = foldRune(r)
		}
		out = append(out, r)
		i += n
	}
	return out
}

// fits is the oracle's own matcher: it follows every way to read the wildcards
// at once, letter by letter.
func fits(want, text []letter) bool {
	reach := make([]bool, len(want)+1) // which beginnings of want fit the text so far
	reach[0] = true
	for i := 0; i < len(want) && want[i] == anyMany; i++ {
		reach[i+1] = true
	}
	for _, r := range text {
		alive, before := false, reach[0]
		reach[0] = false
		for i, w := range want {
			here := w == anyMany && (reach[i] || before || reach[i+1]) || (w == anyOne || w == r) && before
			before, reach[i+1] = reach[i+1], here
			alive = alive || here
		}
		if !alive {
			return false
		}
	}
	return reach[len(want)]
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
