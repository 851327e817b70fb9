package match

import (
	"encoding/binary"
	"maps"
	"slices"
	"strings"

	"fengsui/schemas"
)

// A plan is the list of programs that can hold for events of one shape. The
// shape is the event's values of the fields that log sources are told by, so
// whether a rule's log source takes the event, and every predicate over those
// fields alone (EventID: 4625 for one), is settled once for the shape.

// Limits of the cache of plans. Shapes come from the network: a sender can make
// up as many as it likes.
const (
	maxPlans    = 4096
	maxShapeKey = 512 // bytes; an event with a longer shape is planned each time
)

type plan struct {
	rules []planRule
	slots []int32    // that the rules' formulas ask for
	asked []int32    // that their programs ask for
	words *slotIndex // predicates over the whole event; nil if none ask
}

// planRule is a rule with what is left of its formula for events of the shape.
type planRule struct {
	*CompiledRule
	formula *formula
}

// route is a log source with its rules.
type route struct {
	source *schemas.SigmaSource
	rules  []*CompiledRule
	when   [][]routeTerm // source.When for the shape of an event
}

// routeTerm is a term of the log source: one of the texts, in one case, or any at
// all if there are none.
type routeTerm struct {
	slot  int
	texts []string
}

// takes is route.takes by the slots of the shape.
func (s *state) takes(r *route) bool {
	for _, all := range r.when {
		if !slices.ContainsFunc(all, func(t routeTerm) bool { return !s.termHolds(t) }) {
			return true
		}
	}
	return false
}

func (s *state) termHolds(t routeTerm) bool {
	v := s.value(t.slot)
	if t.texts == nil {
		return v.there()
	}
	return slices.ContainsFunc(s.texts(v, false), func(text string) bool { return slices.Contains(t.texts, text) })
}

// takes says whether the event belongs to the log source.
func (r *route) takes(ev *schemas.Event) bool {
	for _, all := range r.source.When {
		if !slices.ContainsFunc(all, func(t schemas.SigmaTerm) bool { return !termHolds(ev, t) }) {
			return true
		}
	}
	return false
}

func termHolds(ev *schemas.Event, t schemas.SigmaTerm) bool {
	for _, text := range fieldTexts(ev, []string{t.Field}) {
		for _, v := range t.Values {
			if v == "*" || strings.EqualFold(v, text) {
				return true
			}
		}
	}
	return false
}

// plannedField is a field of the shape: by its value, or only whether it is
// there.
type plannedField struct {
	slot    int
	byValue bool
}

// settledFields have few values in honest logs and are asked for by many rules,
// so they are part of the shape whether or not a log source is told by them.
var settledFields = []string{"winlog.event_id", "event.outcome"}

func (e *Engine) addRoutes(b *builder) {
	byValue := map[string]bool{}
	for _, f := range settledFields {
		if _, used := b.compiler.slotOf[f]; used {
			byValue[f] = true
		}
	}
	for _, r := range b.rules { // in the order of the rules
		route := b.routes[b.sources[r]]
		if slices.Contains(e.routes, route) {
			continue
		}
		e.routes = append(e.routes, route)
		for _, all := range route.source.When {
			for _, t := range all {
				byValue[t.Field] = byValue[t.Field] || !slices.Equal(t.Values, []string{"*"})
			}
		}
	}
	for field, v := range byValue {
		e.planned = append(e.planned, plannedField{b.compiler.slot([]string{field}), v})
	}
	slices.SortFunc(e.planned, func(x, y plannedField) int { return x.slot - y.slot })
	e.settled = make([]bool, len(b.compiler.slots)+1)
	for _, f := range e.planned {
		e.settled[f.slot] = f.byValue
	}
	for _, r := range e.routes {
		for _, all := range r.source.When {
			var terms []routeTerm
			for _, t := range all {
				term := routeTerm{slot: b.compiler.slot([]string{t.Field})}
				for _, v := range t.Values {
					if v != "*" {
						term.texts = append(term.texts, fold(v))
					}
				}
				if slices.Contains(t.Values, "*") {
					term.texts = nil
				}
				terms = append(terms, term)
			}
			r.when = append(r.when, terms)
		}
	}
}

// shapeKey appends the shape of the event that the state holds.
func (s *state) shapeKey(key []byte) []byte {
	for _, f := range s.engine.planned {
		v := s.value(f.slot)
		key = binary.AppendUvarint(key, uint64(v.to-v.from)) //nolint:gosec // not negative
		if !f.byValue {
			continue
		}
		for _, t := range s.texts(v, false) { // with its length: no value can pass for two
			key = append(binary.AppendUvarint(key, uint64(len(t))), t...)
		}
	}
	return key
}

// planOf finds the plan of the event that the state holds.
func (s *state) planOf() *livePlan {
	s.key = s.shapeKey(s.key[:0])
	if len(s.key) > maxShapeKey {
		return s.newLivePlan(s.engine.newPlan(s))
	}
	if p := s.plans[string(s.key)]; p != nil {
		return p
	}
	key := string(s.key)
	p := s.newLivePlan(s.engine.planFor(key, s))
	if len(s.plans) >= maxPlans {
		clear(s.plans)
	}
	s.plans[key] = p
	return p
}

// planFor shares the plans between goroutines.
func (e *Engine) planFor(key string, s *state) *plan {
	e.mu.Lock()
	p := e.plans[key]
	e.mu.Unlock()
	if p != nil {
		return p
	}
	p = e.newPlan(s)
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.plans) >= maxPlans {
		clear(e.plans)
	}
	e.plans[key] = p
	return p
}

func (e *Engine) newPlan(s *state) *plan {
	known := func(leaf *formula) truth {
		p := e.predicates[leaf.id]
		if p.test.cased || p.test.fn != asIs || p.test.op == opRe {
			return unknown // the shape is the value in one case
		}
		if s.p(int(leaf.id)) {
			return yes
		}
		return no
	}
	p := &plan{}
	var worded []planRule
	slots, asked := make([]bool, len(e.slots)+1), make([]bool, len(e.slots)+1)
	for _, route := range e.routes {
		if !s.takes(route) {
			continue
		}
		for _, r := range route.rules {
			f := r.formula
			if r.shaped {
				f = e.index.settle(f, e.settled, known)
			}
			if f.kind == isNo {
				continue
			}
			p.rules = append(p.rules, planRule{r, f})
			if r.words {
				worded = append(worded, planRule{r, f})
			}
			f.eachAtom(func(a int32) { slots[e.index.atoms[a].slot] = true })
			for _, slot := range r.asks {
				asked[slot] = true
			}
		}
	}
	p.slots, p.asked = numbersOf(slots), numbersOf(asked)
	if slots[e.wordSlot()] {
		p.words = e.wordsOf(worded)
	}
	return p
}

func numbersOf(set []bool) []int32 {
	var out []int32
	for i, in := range set {
		if in {
			out = append(out, int32(i)) //nolint:gosec // bounded by the rules
		}
	}
	return out
}

// wordsOf is the index of some rules' predicates over the whole event: most plans
// share the few rules that have such.
func (e *Engine) wordsOf(worded []planRule) *slotIndex {
	ids := map[int32]bool{}
	for _, r := range worded {
		r.formula.eachAtom(func(a int32) {
			if at := &e.index.atoms[a]; at.slot == e.wordSlot() {
				at.body.each(func(id int32) { ids[id] = true })
			}
		})
	}
	sorted := slices.Sorted(maps.Keys(ids))
	key := stringOf(bytesOfNumbers(sorted))
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.words[key]
	if x == nil {
		x = newSlotIndex(e.predicates, sorted)
		if len(e.words) < maxPlans {
			e.words[key] = x
		}
	}
	return x
}

// settle puts in what is known.
func (x *index) settle(f *formula, settled []bool, known func(leaf *formula) truth) *formula {
	switch f.kind {
	case isAtom:
		if !settled[x.atoms[f.id].slot] {
			return f
		}
		switch partial(x.atoms[f.id].body, known) {
		case yes:
			return formulaYes
		case no:
			return formulaNo
		}
		return f
	case isNot:
		kid := x.settle(f.kids[0], settled, known)
		if kid == f.kids[0] {
			return f
		}
		return negate(kid)
	case isAnd, isOr:
		var kids []*formula // once one differs
		for i, k := range f.kids {
			s := x.settle(k, settled, known)
			if f.kind == isAnd && s.kind == isNo || f.kind == isOr && s.kind == isYes {
				return s
			}
			if s != k && kids == nil {
				kids = slices.Clone(f.kids)
			}
			if kids != nil {
				kids[i] = s
			}
		}
		if kids != nil {
			return combine(f.kind, kids...)
		}
	}
	return f
}

func (f *formula) eachAtom(do func(atom int32)) {
	if f.kind == isAtom {
		do(f.id)
	}
	for _, k := range f.kids {
		k.eachAtom(do)
	}
}

// truth is a formula's value when only some predicates are known.
type truth uint8

const (
	unknown truth = iota
	no
	yes
)

// partial answers a formula as far as its atoms and predicates are known.
func partial(f *formula, known func(leaf *formula) truth) truth {
	switch f.kind {
	case isNo:
		return no
	case isYes:
		return yes
	case isAtom, isPredicate:
		return known(f)
	case isNot:
		switch partial(f.kids[0], known) {
		case yes:
			return no
		case no:
			return yes
		}
	case isAnd, isOr:
		deciding, out := no, yes
		if f.kind == isOr {
			deciding, out = yes, no
		}
		for _, k := range f.kids {
			switch t := partial(k, known); t {
			case deciding:
				return deciding
			case unknown:
				out = unknown
			}
		}
		return out
	}
	return unknown
}
