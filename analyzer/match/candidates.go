package match

import (
	"cmp"
	"slices"
	"time"
)

// livePlan is a plan at work in one goroutine: for each rule the atoms that
// trigger it, of which one must hold before the rule can, chosen by how often
// atoms were seen to hold.
type livePlan struct {
	plan     *plan
	triggers []trigger // by atom
	always   []int32   // rules that nothing triggers
	slots    []int32   // whose values are looked at
	turns    []uint32  // of each rule: the event that it was last tried for
	version  uint32    // of triggers

	events   uint64
	next     uint64 // the event at which to begin or end a sample
	sampling bool
	samples  uint32
	views    []*view // of which uses are counted
}

type trigger struct{ atom, rule int32 }

// A sample counts how often every atom of the plan holds. The first is taken at
// once; a later one when the plan has seen eight times as many events.
const (
	firstSample     = 16
	laterSample     = 512
	growth          = 8
	fewRules        = 4    // a plan of so few is not worth it
	maxCountedViews = 8192 // views in a sample
)

func newLivePlan(e *Engine, p *plan) *livePlan {
	l := &livePlan{plan: p, turns: make([]uint32, len(p.rules))}
	l.choose(e, func(a int32) float32 { return e.index.atoms[a].prior })
	if len(p.rules) > fewRules {
		l.sampling, l.next, l.samples = true, firstSample, 1
		l.slots = p.slots
	}
	return l
}

// match calls found for every rule of the plan that the event meets, in the
// order of the rules.
func (s *state) match(l *livePlan, found func(*CompiledRule)) {
	start, timed := time.Time{}, s.turn%timedEvery == 0
	if timed {
		start = time.Now()
	}
	s.choose(l, timed)
	if timed {
		s.engine.spent.Add(int64(time.Since(start)))
	}
	for _, r := range s.hits {
		found(l.plan.rules[r].CompiledRule)
	}
}

// choose finds the rules that the event meets.
func (s *state) choose(l *livePlan, timed bool) {
	s.live = l
	if len(s.fired) > 0 {
		clear(s.fired)
	}
	s.tried = append(s.tried[:0], l.always...)
	for _, slot := range l.slots {
		e := s.entryOf(slot)
		if len(e.atoms)+len(e.maybe) == 0 {
			continue
		}
		for _, r := range l.view(e).rules {
			if l.turns[r] != s.turn {
				l.turns[r] = s.turn
				s.tried = append(s.tried, r)
			}
		}
	}
	s.hits = s.hits[:0]
	for _, r := range s.tried {
		if rule := &l.plan.rules[r]; timed && s.tryTimed(rule) || !timed && s.try(rule) {
			s.hits = append(s.hits, r)
		}
	}
	slices.Sort(s.hits)
	if l.events++; l.events == l.next {
		l.sample(s)
	}
}

// try says whether the rule holds: its formula, which is its program read once,
// or the program itself where the formula is not all of it.
func (s *state) try(r *planRule) bool {
	if r.formula.kind == isProgram {
		return s.holds(r.CompiledRule)
	}
	return s.truth(r.formula)
}

// truth answers a formula.
func (s *state) truth(f *formula) bool {
	switch f.kind {
	case isAtom:
		return s.meets(s.entryOf(s.engine.index.atoms[f.id].slot), f.id)
	case isPredicate:
		return s.p(int(f.id))
	case isAnd:
		for _, k := range f.kids {
			if !s.truth(k) {
				return false
			}
		}
		return true
	case isOr:
		for _, k := range f.kids {
			if s.truth(k) {
				return true
			}
		}
		return false
	case isNot:
		return !s.truth(f.kids[0])
	}
	return f.kind == isYes
}

// view is what the entry means to the plan.
func (l *livePlan) view(e *entry) *view {
	for _, v := range e.views {
		if v.plan == l {
			if v.version != l.version {
				l.look(v)
			}
			l.count(v)
			return v
		}
	}
	v := &view{plan: l, entry: e}
	l.look(v)
	l.count(v)
	if len(e.views) >= maxViews { // of plans that are gone, or a sender who makes shapes up
		e.views = e.views[:0]
	}
	e.views = append(e.views, v)
	return v
}

func (l *livePlan) count(v *view) {
	if !l.sampling {
		return
	}
	if v.sample != l.samples {
		if len(l.views) >= maxCountedViews {
			return
		}
		v.sample, v.uses = l.samples, 0
		l.views = append(l.views, v)
	}
	v.uses++
}

// look finds the rules that the entry's atoms trigger.
func (l *livePlan) look(v *view) {
	v.version, v.rules = l.version, nil
	for a := range v.entry.all() {
		i, _ := slices.BinarySearchFunc(l.triggers, a, func(t trigger, a int32) int { return cmp.Compare(t.atom, a) })
		for ; i < len(l.triggers) && l.triggers[i].atom == a; i++ {
			if r := l.triggers[i].rule; !slices.Contains(v.rules, r) {
				v.rules = append(v.rules, r)
			}
		}
	}
}

// sample ends a sample and chooses by it, or begins one.
func (l *livePlan) sample(s *state) {
	if !l.sampling {
		l.sampling, l.next = true, l.events+laterSample
		l.samples++
		l.slots = l.plan.slots
		return
	}
	seen := float32(laterSample)
	if l.events == firstSample {
		seen = firstSample
	}
	for _, v := range l.views {
		for a := range v.entry.all() {
			s.counts[a] += v.uses
		}
	}
	const weight = 4 // of what was expected
	l.choose(s.engine, func(a int32) float32 {
		return (float32(s.counts[a]) + weight*s.engine.index.atoms[a].prior) / (seen + weight)
	})
	for _, v := range l.views {
		for a := range v.entry.all() {
			s.counts[a] = 0
		}
	}
	l.views = nil
	l.sampling, l.next = false, l.events*growth
}

// choose sets the triggers of all rules by how often atoms hold.
func (l *livePlan) choose(e *Engine, often func(atom int32) float32) {
	l.version++
	l.triggers, l.always, l.slots = l.triggers[:0], l.always[:0], nil
	var atoms []int32
	for r := range l.plan.rules {
		var ok bool
		if atoms, _, ok = l.plan.rules[r].formula.triggers(atoms[:0], often); !ok {
			l.always = append(l.always, int32(r)) //nolint:gosec // bounded by the rules
			continue
		}
		for _, a := range atoms {
			l.triggers = append(l.triggers, trigger{a, int32(r)}) //nolint:gosec // as above
			if slot := e.index.atoms[a].slot; !slices.Contains(l.slots, slot) {
				l.slots = append(l.slots, slot)
			}
		}
	}
	slices.SortFunc(l.triggers, func(x, y trigger) int { return cmp.Or(cmp.Compare(x.atom, y.atom), cmp.Compare(x.rule, y.rule)) })
}

// triggers appends atoms of which one holds whenever the formula does, those
// that hold least often. There may be none such: then it is false.
func (f *formula) triggers(to []int32, often func(atom int32) float32) ([]int32, float32, bool) {
	switch f.kind {
	case isAtom:
		return append(to, f.id), often(f.id), true
	case isAnd:
		from, best, any := len(to), float32(0), false
		for _, k := range f.kids {
			mark := len(to)
			more, cost, ok := k.triggers(to, often)
			switch {
			case !ok:
				to = to[:mark]
			case !any || cost < best:
				to = append(more[:from], more[mark:]...)
				best, any = cost, true
			default:
				to = more[:mark]
			}
		}
		return to, best, any
	case isOr:
		var sum float32
		for _, k := range f.kids {
			more, cost, ok := k.triggers(to, often)
			if !ok {
				return more, 0, false
			}
			to, sum = more, sum+cost
		}
		return to, sum, true
	}
	return to, 0, false
}
