package match

import (
	"encoding/base64"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"gopkg.in/yaml.v3"

	"fengsui/rules"
	"fengsui/schemas"
)

// maxValues bounds the texts that one item of a rule grows into, by placeholders
// or by windash.
const maxValues = 10_000

// Limits of a rule's selections. YAML's aliases can make a short text endless.
const (
	maxItems = 10_000
	maxDepth = 20
)

// reader turns a rule's detection into a tree, in terms of the catalogue. It
// keeps the first problem.
type reader struct {
	rule    *rules.Rule
	source  *schemas.SigmaSource
	opt     Options
	problem *Problem
	depth   int
	read    int // items
}

func (r *reader) fail(line int, format string, args ...any) {
	if r.problem == nil {
		r.problem = &Problem{File: r.rule.File, Line: line, RuleID: r.rule.ID, Reason: fmt.Sprintf(format, args...)}
	}
}

// tree reads the whole detection; nil after a problem.
func (r *reader) tree() *node {
	selections := map[string]*node{}
	var names []string
	for _, s := range r.rule.Detection.Selections {
		names = append(names, s.Name)
		if body := r.selection(s.Node); body != nil {
			selections[s.Name] = &node{kind: selectionNode, name: s.Name, kids: []*node{body}}
		}
	}
	if r.problem != nil {
		return nil
	}
	var alternatives []*node
	for _, c := range r.rule.Detection.Conditions {
		n, err := parseCondition(c.Text, names, selections)
		if err != nil {
			r.fail(c.Line, "%v", err)
			return nil
		}
		alternatives = append(alternatives, n)
	}
	return or(alternatives...)
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
		return r.item(n.Line, "", []*yaml.Node{n})
	}
	r.fail(n.Line, "a map, a list or a text is needed here")
	return nil
}

func (r *reader) items(n *yaml.Node) *node {
	var kids []*node
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], rules.Resolve(n.Content[i+1])
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
	null bool
	raw  string  // as the rule has it
	text pattern // what modifiers made of it
}

// item reads one field with its modifiers and values; an empty name searches
// the whole event.
func (r *reader) item(line int, key string, nodes []*yaml.Node) *node {
	if r.read++; r.read > maxItems {
		r.fail(line, "more than %d items", maxItems)
		return nil
	}
	name, mods, _ := strings.Cut(key, "|")
	it := &item{line: line, name: name}
	for _, n := range nodes {
		n = rules.Resolve(n)
		if n.Kind != yaml.ScalarNode {
			r.fail(n.Line, "%s: a value must be a text, a number, true, false or null", key)
			return nil
		}
		v := value{null: n.Tag == "!!null", raw: scalarText(n)}
		v.text = parsePattern(v.raw)
		if n.Tag != "!!str" { // a number has no wildcards
			v.text = literal(v.raw)
		}
		it.values = append(it.values, v)
	}
	if len(it.values) == 0 {
		r.fail(line, "%s: an empty list matches nothing", key)
		return nil
	}
	if mods != "" {
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

// modify applies one modifier, in the order in which they stand.
func (r *reader) modify(it *item, mod string) error {
	star := pattern{{kind: many}}
	switch mod {
	case "contains":
		it.starts, it.ends = true, true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(star, p, star)}, nil })
	case "startswith":
		it.starts = true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(p, star)}, nil })
	case "endswith":
		it.ends = true
		return it.each(func(p pattern) ([]pattern, error) { return []pattern{concat(star, p)}, nil })
	case "all":
		it.all = true
	case "cased":
		it.cased = true
	case "neq":
		it.neq = true
	case "re":
		return it.become(reItem, mod)
	case "i", "m", "s":
		if it.kind != reItem {
			return fmt.Errorf("modifier %s belongs after re", mod)
		}
		it.flags += mod
	case "ignorecase", "multiline", "dotall":
		return r.modify(it, map[string]string{"ignorecase": "i", "multiline": "m", "dotall": "s"}[mod])
	case "cidr":
		return it.become(cidrItem, mod)
	case "exists":
		return it.become(existsItem, mod)
	case "fieldref":
		it.kind = refItem
	case "gt", "gte", "lt", "lte":
		it.order = map[string]op{"gt": opGt, "gte": opGte, "lt": opLt, "lte": opLte}[mod]
		return it.become(orderItem, mod)
	case "windash":
		return it.each(windash)
	case "expand":
		return it.each(r.expand)
	case "base64":
		return it.each(func(p pattern) ([]pattern, error) {
			text, err := encodable(p, mod)
			return []pattern{literal(base64.StdEncoding.EncodeToString([]byte(text)))}, err
		})
	case "base64offset":
		return it.each(base64Offsets)
	case "wide", "utf16le", "utf16be", "utf16":
		return it.each(func(p pattern) ([]pattern, error) {
			text, err := encodable(p, mod)
			return []pattern{literal(utf16Text(text, mod))}, err
		})
	default:
		return fmt.Errorf("not supported in this version: modifier %s", mod)
	}
	return nil
}

// become makes the item one that takes its values as they are.
func (it *item) become(k itemKind, mod string) error {
	if it.kind != textItem || it.starts || it.ends {
		return fmt.Errorf("modifier %s cannot follow those before it", mod)
	}
	it.kind = k
	return nil
}

// each replaces every text by those that f makes of it.
func (it *item) each(f func(pattern) ([]pattern, error)) error {
	if it.kind != textItem && it.kind != refItem {
		return fmt.Errorf("a text modifier cannot follow re, cidr, exists or a comparison")
	}
	var out []value
	for _, v := range it.values {
		if v.null {
			out = append(out, v)
			continue
		}
		ps, err := f(v.text)
		if err != nil {
			return err
		}
		for _, p := range ps {
			out = append(out, value{raw: v.raw, text: p})
		}
		if len(out) > maxValues {
			return fmt.Errorf("grows to more than %d values", maxValues)
		}
	}
	it.values = out
	return nil
}

func concat(ps ...pattern) pattern { return slices.Concat(ps...).normal() }

// build makes tests of the item.
func (r *reader) build(it *item) (*node, error) {
	var field []string
	if it.name != "" {
		var err error
		if field, err = r.source.Fields(it.name); err != nil {
			return nil, err
		}
	}
	if field == nil && it.starts != it.ends {
		return nil, fmt.Errorf("a keyword may stand anywhere: startswith and endswith need a field")
	}
	tests, err := r.tests(it, field)
	if err != nil {
		return nil, err
	}
	combine := or
	if it.all {
		combine = and
	}
	n := combine(tests...)
	if !it.neq {
		return n, nil
	}
	if field == nil {
		return nil, fmt.Errorf("modifier neq needs a field")
	}
	// "The field is different from the specified values": so there is a field.
	there := []*node{leaf(&test{op: opExists, field: field})}
	for _, t := range tests {
		if t.test.op >= opSame && t.test.op <= opSameEnds {
			there = append(there, leaf(&test{op: opExists, field: t.test.other}))
		}
	}
	return and(append(there, not(n))...), nil
}

func leaf(t *test) *node { return &node{kind: testNode, test: t} }

// tests are the item's values as tests: values of the same kind share one,
// unless all of them must hold.
func (r *reader) tests(it *item, field []string) ([]*node, error) {
	var out []*node
	place := map[op]*test{}
	add := func(o op, want ...string) {
		if t := place[o]; t != nil && !it.all && len(want) > 0 {
			t.want = append(t.want, want...)
			return
		}
		t := &test{op: o, cased: it.cased, field: field, want: want}
		place[o] = t
		out = append(out, leaf(t))
	}
	for _, v := range it.values {
		if v.null {
			if it.kind != textItem || field == nil {
				return nil, fmt.Errorf("null is not a value here")
			}
			add(opNull)
			continue
		}
		switch it.kind {
		case textItem:
			o, want := classify(v.text, field == nil)
			if want == nil {
				add(o)
			} else {
				add(o, *want)
			}
		case reItem:
			re := v.raw
			if it.flags != "" {
				re = "(?" + it.flags + ")" + re
			}
			if _, err := regexp.Compile(re); err != nil {
				return nil, fmt.Errorf("not a regular expression of RE2: %w", err)
			}
			if field == nil {
				add(opWordRe, re)
			} else {
				add(opRe, re)
			}
		case cidrItem:
			if _, err := parseNet(v.raw); err != nil || field == nil {
				return nil, fmt.Errorf("cidr needs a field and a network: %q", v.raw)
			}
			add(opCIDR, v.raw)
		case orderItem:
			if _, err := strconv.ParseFloat(v.raw, 64); err != nil || field == nil {
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
			out = append(out, leaf(&test{op: o, cased: it.cased, field: field, other: other}))
		}
	}
	return out, nil
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

// encodable is the text of a value that is to be encoded, which wildcards
// cannot be.
func encodable(p pattern, mod string) (string, error) {
	text, ok := p.plain()
	if !ok {
		return "", fmt.Errorf("modifier %s cannot encode wildcards", mod)
	}
	return text, nil
}

// base64Offsets are the three ways a text may look inside encoded data, without
// the letters at its ends that depend on its neighbours.
func base64Offsets(p pattern) ([]pattern, error) {
	text, err := encodable(p, "base64offset")
	if err != nil {
		return nil, err
	}
	var out []pattern
	for before := range 3 {
		padded := strings.Repeat(" ", before) + text
		code := base64.StdEncoding.EncodeToString([]byte(padded))
		from := []int{0, 2, 3}[before]
		until := len(code) - []int{0, 3, 2}[len(padded)%3]
		if from < until {
			out = append(out, literal(code[from:until]))
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%q is too short for base64offset", text)
	}
	return out, nil
}

// utf16Text is the text in UTF-16 as a string of bytes.
func utf16Text(text, mod string) string {
	var b []byte
	if mod == "utf16" {
		b = append(b, 0xff, 0xfe)
	}
	for _, u := range utf16.Encode([]rune(text)) {
		if mod == "utf16be" {
			b = append(b, byte(u>>8), byte(u))
		} else {
			b = append(b, byte(u), byte(u>>8))
		}
	}
	return string(b)
}

// windash makes all permutations of the dashes that begin a word: a flag's.
func windash(p pattern) ([]pattern, error) {
	out := []pattern{nil}
	extend := func(es ...elem) error {
		if len(out)*len(es) > maxValues {
			return fmt.Errorf("windash grows to more than %d values", maxValues)
		}
		var next []pattern
		for _, o := range out {
			for _, e := range es {
				next = append(next, append(slices.Clone(o), e))
			}
		}
		out = next
		return nil
	}
	word := func(c byte) bool {
		return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	dashes := []elem{{lit, "-"}, {lit, "/"}, {lit, "–"}, {lit, "—"}, {lit, "―"}}
	for _, e := range p {
		from := 0
		for i := 0; e.kind == lit && i < len(e.text); i++ {
			flag := (e.text[i] == '-' || e.text[i] == '/') && (i == 0 || !word(e.text[i-1])) && i+1 < len(e.text) && word(e.text[i+1])
			if !flag {
				continue
			}
			if err := extend(elem{lit, e.text[from:i]}); err != nil {
				return nil, err
			}
			if err := extend(dashes...); err != nil {
				return nil, err
			}
			from = i + 1
		}
		rest := e
		if e.kind == lit {
			rest.text = e.text[from:]
		}
		if err := extend(rest); err != nil {
			return nil, err
		}
	}
	for i := range out {
		out[i] = out[i].normal()
	}
	return out, nil
}

var placeholder = regexp.MustCompile(`\\%|%([^%]+)%`)

// expand puts the configured values for %name%; \% is a plain percent sign.
func (r *reader) expand(p pattern) ([]pattern, error) {
	out := []pattern{nil}
	extend := func(ps ...pattern) error {
		if len(out)*len(ps) > maxValues {
			return fmt.Errorf("placeholders grow to more than %d values", maxValues)
		}
		var next []pattern
		for _, o := range out {
			for _, p := range ps {
				next = append(next, concat(o, p))
			}
		}
		out = next
		return nil
	}
	for _, e := range p {
		from := 0
		if e.kind == lit {
			for _, m := range placeholder.FindAllStringSubmatchIndex(e.text, -1) {
				if err := extend(literal(e.text[from:m[0]])); err != nil {
					return nil, err
				}
				from = m[1]
				chosen := []pattern{literal("%")}
				if m[2] >= 0 {
					name := e.text[m[2]:m[3]]
					values := r.opt.Placeholders[name]
					if len(values) == 0 {
						return nil, fmt.Errorf("placeholder %%%s%% has no values in the configuration", name)
					}
					chosen = nil
					for _, v := range values {
						chosen = append(chosen, parsePattern(v))
					}
				}
				if err := extend(chosen...); err != nil {
					return nil, err
				}
			}
		}
		rest := e
		if e.kind == lit {
			rest.text = e.text[from:]
		}
		if err := extend(pattern{rest}); err != nil {
			return nil, err
		}
	}
	return out, nil
}
