package rules

import (
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"fengsui/schemas"
)

// Limits on a condition of names.
const (
	maxLogicBytes = 4 << 10
	maxLogicDepth = 64
	maxChains     = 64
)

// Logic is a condition over base rules: their names with and, or, not and
// brackets. Not binds most and or least.
// Source: Sigma specification issue 198, part of 2.2.0.
type Logic struct {
	op   string // "and", "or", "not"; "" is a base rule
	rule int
	kids []*Logic
}

// ParseLogic reads a condition. It must name every rule of the list and no
// other; there are at most MaxBaseRules.
func ParseLogic(text string, rules []string) (*Logic, error) {
	if len(text) > maxLogicBytes {
		return nil, fmt.Errorf("%d bytes are more than %d", len(text), maxLogicBytes)
	}
	if len(rules) > MaxBaseRules {
		return nil, fmt.Errorf("%d rules are more than %d", len(rules), MaxBaseRules)
	}
	p := &logicParser{tokens: logicTokens(text), rules: rules}
	l, err := p.either()
	if err != nil {
		return nil, err
	}
	if p.next < len(p.tokens) {
		return nil, fmt.Errorf("%q is not expected here", p.tokens[p.next])
	}
	for i, name := range rules {
		if p.named&(1<<i) == 0 {
			return nil, fmt.Errorf("the rule %q is in the list and not in the condition", name)
		}
	}
	return l, nil
}

// LogicNames are the names in a condition, each once, in order.
func LogicNames(text string) []string {
	if len(text) > maxLogicBytes {
		return nil
	}
	var names []string
	for _, t := range logicTokens(text) {
		if !isLogicWord(t) && !slices.Contains(names, t) {
			names = append(names, t)
		}
	}
	return names
}

func logicTokens(text string) []string {
	return strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(text))
}

func isLogicWord(t string) bool {
	return t == "(" || t == ")" || slices.Contains([]string{"and", "or", "not"}, strings.ToLower(t))
}

type logicParser struct {
	tokens []string
	rules  []string
	next   int
	depth  int
	named  uint64
}

func (p *logicParser) take(word string) bool {
	if p.next < len(p.tokens) && strings.EqualFold(p.tokens[p.next], word) {
		p.next++
		return true
	}
	return false
}

func (p *logicParser) either() (*Logic, error) { return p.list("or", p.all) }
func (p *logicParser) all() (*Logic, error)    { return p.list("and", p.one) }

func (p *logicParser) list(word string, item func() (*Logic, error)) (*Logic, error) {
	first, err := item()
	if err != nil {
		return nil, err
	}
	l := &Logic{op: word, kids: []*Logic{first}}
	for p.take(word) {
		k, err := item()
		if err != nil {
			return nil, err
		}
		l.kids = append(l.kids, k)
	}
	if len(l.kids) == 1 {
		return first, nil
	}
	return l, nil
}

func (p *logicParser) one() (*Logic, error) {
	if p.depth++; p.depth > maxLogicDepth {
		return nil, fmt.Errorf("nested deeper than %d", maxLogicDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.next >= len(p.tokens):
		return nil, errors.New("it ends where a rule's name is needed")
	case p.take("not"):
		k, err := p.one()
		if err != nil {
			return nil, err
		}
		return &Logic{op: "not", kids: []*Logic{k}}, nil
	case p.take("("):
		l, err := p.either()
		if err != nil {
			return nil, err
		}
		if !p.take(")") {
			return nil, errors.New("a bracket is not closed")
		}
		return l, nil
	}
	name := p.tokens[p.next]
	i := slices.Index(p.rules, name)
	if isLogicWord(name) {
		return nil, fmt.Errorf("%q stands where a rule's name is needed", name)
	}
	if i < 0 {
		return nil, fmt.Errorf("%q is not in the list of rules", name)
	}
	p.next++
	p.named |= 1 << i
	return &Logic{rule: i}, nil
}

// Holds evaluates the condition; bit i of met says that rule i was met.
func (l *Logic) Holds(met uint64) bool {
	switch l.op {
	case "and":
		return !slices.ContainsFunc(l.kids, func(k *Logic) bool { return !k.Holds(met) })
	case "or":
		return slices.ContainsFunc(l.kids, func(k *Logic) bool { return k.Holds(met) })
	case "not":
		return !l.kids[0].Holds(met)
	}
	return met&(1<<l.rule) != 0
}

// Rising says that one more rule met never undoes the condition.
func (l *Logic) Rising() bool {
	return l.op != "not" && !slices.ContainsFunc(l.kids, func(k *Logic) bool { return !k.Rising() })
}

// useful refuses what the type cannot decide, and what holds before anything
// was met.
func (l *Logic) useful(t schemas.CorrelationType, n int) error {
	if l.Holds(0) {
		return errors.New("it holds when no rule was met")
	}
	if t == schemas.TemporalOrdered {
		if !l.Rising() {
			return errors.New("temporal_ordered has no meaning for not: what does not occur has no place in an order")
		}
		if l.Sets() == nil {
			return fmt.Errorf("more than %d combinations of rules", maxChains)
		}
	}
	return nil
}

// Sets are the smallest sets of rules that meet a rising condition, as bits;
// nil when there are more than 64.
func (l *Logic) Sets() []uint64 {
	switch l.op {
	case "":
		return []uint64{1 << l.rule}
	case "or":
		var all []uint64
		for _, k := range l.kids {
			sets := k.Sets()
			if sets == nil {
				return nil
			}
			all = append(all, sets...)
		}
		return smallest(all)
	}
	all := []uint64{0}
	for _, k := range l.kids {
		var product []uint64
		for _, a := range all {
			for _, b := range k.Sets() {
				product = append(product, a|b)
			}
		}
		if all = smallest(product); all == nil {
			return nil
		}
	}
	return all
}

// AtLeast are the sets of k of n rules; nil when there are more than 64.
func AtLeast(k, n int) []uint64 {
	if n > 20 && k < n { // more than 64 for every k between, and too many to try
		if k == 1 {
			return one(n)
		}
		if k < n-1 {
			return nil
		}
		full := uint64(1)<<n - 1
		if n == MaxBaseRules {
			full = ^uint64(0)
		}
		sets := one(n)
		for i := range sets {
			sets[i] = full &^ sets[i]
		}
		return sets
	}
	if k == n {
		if n == MaxBaseRules {
			return []uint64{^uint64(0)}
		}
		return []uint64{1<<n - 1}
	}
	var sets []uint64
	for s := range uint64(1) << n {
		if bits.OnesCount64(s) == k {
			if sets = append(sets, s); len(sets) > maxChains {
				return nil
			}
		}
	}
	return sets
}

func one(n int) []uint64 {
	sets := make([]uint64, n)
	for i := range sets {
		sets[i] = 1 << i
	}
	return sets
}

// smallest leaves out the sets that hold another; nil when too many are left.
func smallest(sets []uint64) []uint64 {
	var out []uint64
	for i, s := range sets {
		if !slices.ContainsFunc(sets[:i], func(o uint64) bool { return o == s }) &&
			!slices.ContainsFunc(sets, func(o uint64) bool { return o != s && o&s == o }) {
			out = append(out, s)
		}
	}
	if len(out) > maxChains {
		return nil
	}
	return out
}
