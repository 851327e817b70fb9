package match

import (
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"

	"fengsui/rules"
	"fengsui/schemas"
)

// Limits of a rule's selections. YAML's aliases can make a short text endless.
const (
	maxItems = 10_000
	maxDepth = 20
)

// reader turns a detection into a tree, in terms of the catalogue. It keeps the
// first problem.
type reader struct {
	rule     *rules.Rule // whose detection, or filter, it is
	source   *schemas.SigmaSource
	opt      Options
	problem  *Problem
	warnings []Problem
	depth    int
	read     int // items
}

func (r *reader) fail(line int, format string, args ...any) {
	if r.problem == nil {
		r.problem = &Problem{File: r.rule.File, Line: line, RuleID: r.rule.ID, Reason: fmt.Sprintf(format, args...)}
	}
}

func (r *reader) warn(line int, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{File: r.rule.File, Line: line, RuleID: r.rule.ID, Reason: fmt.Sprintf(format, args...), Warning: true})
}

// meant warns of a name that stands in an open namespace, and is almost a known
// one.
func (r *reader) meant(line int, name string) {
	if known := r.source.Meant(name); known != "" {
		r.warn(line, meantText, name, known)
	}
}

const meantText = "%s is not a name that is known of this log source; did you mean %s?"

// tree reads the whole detection; nil after a problem.
func (r *reader) tree(d *rules.Detection) *node {
	selections := map[string]*node{}
	var names []string
	for _, s := range d.Selections {
		names = append(names, s.Name)
		if body := r.search(&s); body != nil {
			selections[s.Name] = &node{kind: selectionNode, name: s.Name, kids: []*node{body}}
		}
	}
	if r.problem != nil {
		return nil
	}
	var alternatives []*node
	for _, c := range d.Conditions {
		n, err := parseCondition(c.Text, names, selections)
		if err != nil {
			r.fail(c.Line, "%v", err)
			return nil
		}
		alternatives = append(alternatives, n)
	}
	tree := or(alternatives...)
	for _, s := range d.Selections {
		if !tree.has(selections[s.Name]) {
			r.warn(s.Line, "the condition does not use %q", s.Name)
		}
	}
	return tree
}

func (n *node) has(other *node) bool {
	return n == other || slices.ContainsFunc(n.kids, func(k *node) bool { return k.has(other) })
}

// search reads one search of the detection: an expression or a selection.
func (r *reader) search(s *rules.Selection) *node {
	if n := rules.Resolve(s.Node); n.Kind == yaml.ScalarNode && (s.Name == "expr" || strings.HasPrefix(s.Name, "expr_")) {
		return r.expression(n)
	}
	return r.selection(s.Node)
}

// selection reads a map (all items), or a list of maps and keywords (any).
func (r *reader) selection(n *yaml.Node) *node {
	n = rules.Resolve(n)
	if r.depth++; r.depth > maxDepth {
		r.fail(n.Line, "selections nested deeper than %d", maxDepth)
	}
	defer func() { r.depth-- }()
	if r.problem != nil {
		return nil
	}
	switch n.Kind {
	case yaml.MappingNode:
		return r.items(n)
	case yaml.SequenceNode:
		var kids []*node
		for _, c := range n.Content {
			if k := r.selection(c); k != nil {
				kids = append(kids, k)
			}
		}
		if len(kids) == 0 {
			r.fail(n.Line, "an empty list matches nothing")
			return nil
		}
		return or(kids...)
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			r.fail(n.Line, "a map, a list or a text is needed here, and there is nothing")
			return nil
		}
		return r.item(n.Line, "", []*yaml.Node{n})
	}
	r.fail(n.Line, "a map, a list or a text is needed here")
	return nil
}

func (r *reader) items(n *yaml.Node) *node {
	var kids []*node
	seen := map[string]bool{}
	content, err := rules.Merged(n)
	if err != nil {
		r.fail(n.Line, "%v", err)
		return nil
	}
	for i := 0; i+1 < len(content); i += 2 {
		key, value := content[i], rules.Resolve(content[i+1])
		if seen[key.Value] {
			r.fail(key.Line, "%q is said twice; the first would be lost", key.Value)
		}
		seen[key.Value] = true
		values := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			values = value.Content
		}
		if k := r.item(key.Line, key.Value, values); k != nil {
			kids = append(kids, k)
		}
	}
	if len(kids) == 0 {
		r.fail(n.Line, "an empty map matches everything")
		return nil
	}
	return and(kids...)
}

// item is one line of a selection while its modifiers are applied.
type item struct {
	line   int
	values []value
	kind   itemKind
	flags  string // of a regular expression
	order  op     // of a comparison
	all    bool
	cased  bool
	neq    bool
	fn     function
	made   bool // a modifier made other texts of the values
	starts bool // fieldref: the other field's text need only begin …
	ends   bool // … or end this one's
	name   string
}

type itemKind uint8

const (
	textItem itemKind = iota
	reItem
	cidrItem
	existsItem
	orderItem
	refItem
)

// value is one value of an item.
type value struct {
	from int // place among the rule's values: modifiers make several of one
	null bool
	raw  string  // as the rule has it; a number as events have it
	text pattern // what modifiers made of it

	written string // of a number that no modifier changed, as the rule has it: 1.0, 0x16, 007
}

// item reads one field with its modifiers and values; an empty name searches
// the whole event.
func (r *reader) item(line int, key string, nodes []*yaml.Node) *node {
	if r.read++; r.read > maxItems {
		r.fail(line, "more than %d items", maxItems)
		return nil
	}
	name, mods, modified := strings.Cut(key, "|")
	if key == "" {
		key = "keyword"
	}
	it := &item{line: line, name: name}
	for _, n := range nodes {
		n = rules.Resolve(n)
		if n.Kind != yaml.ScalarNode {
			r.fail(n.Line, "%s: a value must be a text, a number, true, false or null", key)
			return nil
		}
		v := value{from: len(it.values), null: n.Tag == "!!null", raw: scalarText(n)}
		switch n.Tag {
		case "!!str":
			v.text = parsePattern(v.raw)
		case "!!int", "!!float": // a number has no wildcards
			v.text, v.written = literal(n.Value), n.Value
		default:
			v.text = literal(v.raw)
		}
		it.values = append(it.values, v)
	}
	if len(it.values) == 0 {
		r.fail(line, "%s: an empty list matches nothing", key)
		return nil
	}
	if modified {
		for _, m := range strings.Split(mods, "|") {
			if err := r.modify(it, m); err != nil {
				r.fail(line, "%s: %v", key, err)
				return nil
			}
		}
	}
	n, err := r.build(it)
	if err != nil {
		r.fail(line, "%s: %v", key, err)
		return nil
	}
	for _, v := range nodes {
		if v = rules.Resolve(v); v.Tag == "!!null" && v.Value == "" {
			r.warn(v.Line, "%s: nothing is written here, which asks for events without the field; write null if that is meant", key)
		}
	}
	return n
}

// scalarText writes numbers as an event's value does: 0x10 is 16.
func scalarText(n *yaml.Node) string {
	switch n.Tag {
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return strconv.FormatInt(i, 10)
		}
	case "!!float":
		var f float64
		if n.Decode(&f) == nil {
			return strconv.FormatFloat(f, 'g', -1, 64)
		}
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return strconv.FormatBool(b)
		}
	}
	return n.Value
}

// build makes tests of the item.
func (r *reader) build(it *item) (*node, error) {
	var field []string
	if it.name != "" {
		var err error
		if field, err = r.source.Fields(it.name); err != nil {
			return nil, err
		}
		r.meant(it.line, it.name)
	}
	if field == nil && it.starts != it.ends {
		return nil, fmt.Errorf("a keyword may stand anywhere: startswith and endswith need a field")
	}
	tests, err := r.tests(it, field)
	if err != nil {
		return nil, err
	}
	var all []*node
	for _, of := range tests {
		all = append(all, or(of...))
	}
	if len(all) > 1 && !slices.ContainsFunc(all, func(n *node) bool { return n.test == nil || n.test.op != opIs }) {
		r.warn(it.line, "%s is asked to be several things at once, which only a field of many values can; is contains missing?", it.name)
	}
	n := and(all...)
	if !it.neq {
		return n, nil
	}
	if field == nil {
		return nil, fmt.Errorf("modifier neq needs a field")
	}
	// "The field is different from the specified values": so there is a field.
	there := []*node{r.there(operand{it.fn, field})}
	for _, t := range slices.Concat(tests...) {
		if t.test.op >= opSame && t.test.op <= opSameEnds {
			there = append(there, leaf(&test{op: opExists, field: t.test.other}))
		}
	}
	return and(append(there, not(n))...), nil
}

func leaf(t *test) *node { return &node{kind: testNode, test: t} }

// operand is what a test looks at: a field, or a function of it.
type operand struct {
	fn    function
	field []string
}

func (r *reader) test(o op, of operand, want ...string) *test {
	return &test{op: o, fn: of.fn, zone: r.opt.Zone, field: of.field, want: want}
}

// there says that the event has what tests look at.
func (r *reader) there(of operand) *node {
	if of.fn == asIs {
		return leaf(r.test(opExists, of))
	}
	return leaf(r.test(opLike, of, "*")) // the function makes something
}

// tests are the item's values as tests, of which values of the same kind share
// one. Of each list one must hold: there is one list, or with the modifier all one
// for each value of the rule, with what modifiers (windash, base64offset, expand)
// made of it.
func (r *reader) tests(it *item, field []string) ([][]*node, error) {
	var out [][]*node
	var place map[op]*test
	from := -1
	leafOf := func(t *test) { out[len(out)-1] = append(out[len(out)-1], leaf(t)) }
	add := func(o op, want ...string) {
		if t := place[o]; t != nil && len(want) > 0 {
			t.want = append(t.want, want...)
			return
		}
		t := r.test(o, operand{it.fn, field}, want...)
		t.cased = it.cased
		place[o] = t
		leafOf(t)
	}
	for _, v := range it.values {
		if from < 0 || it.all && v.from != from {
			from, place, out = v.from, map[op]*test{}, append(out, nil)
		}
		if v.null {
			if it.kind != textItem || field == nil || it.fn != asIs {
				return nil, fmt.Errorf("null is not a value here")
			}
			add(opNull)
			continue
		}
		if err := it.fn.check(v.raw); err != nil {
			return nil, err
		}
		switch it.kind {
		case textItem:
			o, want := classify(v.text, field == nil)
			if o == opWord && *want == "" {
				return nil, fmt.Errorf("%q stands in every event", v.raw)
			}
			if want == nil {
				add(o)
				continue
			}
			switch {
			case o != opIs:
				add(o, *want)
			case it.fn != asIs:
				add(o, it.fn.sameForm(v.raw))
			default:
				for _, w := range v.forms(typeOf(field)) {
					add(o, r.sameForm(it.line, field, w))
				}
			}
		case reItem:
			re := v.raw
			if v.written != "" {
				re = v.written
			}
			if it.flags != "" {
				re = "(?" + it.flags + ")" + re
			}
			o := opRe
			if field == nil {
				o = opWordRe
			}
			if err := o.check(re); err != nil {
				return nil, err
			}
			add(o, re)
		case cidrItem:
			if opCIDR.check(v.raw) != nil || field == nil {
				return nil, fmt.Errorf("cidr needs a field and a network: %q", v.raw)
			}
			add(opCIDR, v.raw)
		case orderItem:
			if it.order.check(v.raw) != nil || field == nil {
				return nil, fmt.Errorf("a comparison needs a field and a number: %q", v.raw)
			}
			add(it.order, v.raw)
		case existsItem:
			want, err := strconv.ParseBool(v.raw)
			if err != nil || field == nil {
				return nil, fmt.Errorf("exists needs a field and true or false: %q", v.raw)
			}
			if want {
				add(opExists)
			} else {
				add(opNull)
			}
		case refItem:
			other, err := r.source.Fields(v.raw)
			if err != nil {
				return nil, err
			}
			o := opSame
			switch {
			case it.starts && it.ends:
				o = opSameHas
			case it.starts:
				o = opSameStarts
			case it.ends:
				o = opSameEnds
			}
			if field == nil {
				return nil, fmt.Errorf("fieldref needs a field")
			}
			leafOf(&test{op: o, cased: it.cased, field: field, other: other})
		}
	}
	return out, nil
}

// forms are the texts that a value stands for in a field of the type. A number
// may stand in a text as the rule writes it (a version 1.0, a status 0xC000006D, a
// student's number 007) or as numbers are written.
func (v *value) forms(kind schemas.Type) []string {
	plain, _ := v.text.plain()
	if v.written == "" || v.written == v.raw {
		return []string{plain}
	}
	if kind == schemas.Long || kind == schemas.Double {
		return []string{v.raw}
	}
	return []string{v.written, v.raw}
}

// typeOf is the type of the fields if they have one in common.
func typeOf(field []string) (kind schemas.Type) {
	for _, name := range field {
		f, ok := schemas.LookupField(name)
		if !ok || kind != "" && f.Type != kind {
			return ""
		}
		kind = f.Type
	}
	return kind
}

var lookAround = regexp.MustCompile(`\(\?<?[=!]`)

// check says whether the text can be wanted by the op.
func (o op) check(want string) error {
	switch o {
	case opRe, opWordRe:
		if _, err := regexp.Compile(want); err != nil {
			if lookAround.MatchString(want) {
				return fmt.Errorf("look-around is not supported (expressions are RE2's): %w", err)
			}
			return fmt.Errorf("not a regular expression of RE2: %w", err)
		}
	case opCIDR:
		if _, err := ParseNet(want); err != nil {
			return fmt.Errorf("not a network: %q", want)
		}
	case opGt, opGte, opLt, opLte:
		if x, err := strconv.ParseFloat(want, 64); err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("not a number: %q", want)
		}
	}
	return nil
}

// sameForm writes a text as events of the field's type hold it: an address may
// be written in many ways. A text that no value of the type can be is warned of.
func (r *reader) sameForm(line int, field []string, want string) string {
	kind, ok, hint := typeOf(field), true, ""
	switch kind {
	case schemas.IP:
		a, err := netip.ParseAddr(want)
		if ok = err == nil; ok {
			return schemas.Addr(a).Str()
		}
		if _, err := netip.ParsePrefix(want); err == nil {
			hint = "; a network needs the modifier cidr"
		}
	case schemas.Long:
		n, err := strconv.ParseInt(want, 10, 64)
		ok = err == nil && strconv.FormatInt(n, 10) == want
	case schemas.Boolean:
		ok = strings.EqualFold(want, "true") || strings.EqualFold(want, "false")
	}
	if !ok {
		r.warn(line, "%s holds values of type %s, and never %q%s", field[0], kind, want, hint)
	}
	return want
}

// classify finds the cheapest test for a pattern. A keyword may stand anywhere.
func classify(p pattern, keyword bool) (op, *string) {
	if keyword {
		p = concat(pattern{{kind: many}}, p, pattern{{kind: many}})
	}
	first, last := len(p) > 0 && p[0].kind == many, len(p) > 1 && p[len(p)-1].kind == many
	inner := p
	if first {
		inner = inner[1:]
	}
	if last {
		inner = inner[:len(inner)-1]
	}
	text, plain := inner.plain()
	switch {
	case plain && keyword:
		return opWord, &text
	case plain && text == "" && first:
		return opExists, nil
	case plain && first && last:
		return opHas, &text
	case plain && last:
		return opStarts, &text
	case plain && first:
		return opEnds, &text
	case plain:
		return opIs, &text
	}
	source := p.source()
	if keyword {
		return opWordLike, &source
	}
	return opLike, &source
}
