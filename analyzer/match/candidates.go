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
	number   uint64     // that its views are found by
	triggers []trigger  // by atom
	always   []int32    // rules that nothing triggers and no slot decides
	slots    []planSlot // whose values are looked at
	watched  []trigger  // by slot, in place of the atom: rules that nothing triggers and the slot may rule out
	turns    []uint32   // of each rule: the event that it was last tried for
	starts   []int32    // of each rule: its first step
	steps    []step
	version  uint32 // of triggers

	events   uint64
	next     uint64 // the event at which to begin or end a sample
	sampling bool
	samples  uint32
	views    []*view // of which uses are counted
}

type trigger struct{ atom, rule int32 }

// planSlot is a slot that a plan looks at.
type planSlot struct {
	slot int32
	none *view // of values that make nothing true; nil if no rule cares
}

// A sample counts how often every atom of the plan holds. The first is taken at
// once; a later one when the plan has seen eight times as many events.
const (
	firstSample     = 16
	laterSample     = 512
	growth          = 8
	fewRules        = 4    // a plan of so few is not worth it
	maxCountedViews = 8192 // views in a sample
)

func (s *state) newLivePlan(p *plan) *livePlan {
	e := s.engine
	s.planned++
	l := &livePlan{plan: p, number: s.planned, turns: make([]uint32, len(p.rules)), starts: slices.Repeat([]int32{unwritten}, len(p.rules))}
	l.choose(e, func(a int32) float32 { return e.index.atoms[a].prior })
	if len(p.rules) > fewRules {
		l.sampling, l.next, l.samples = true, firstSample, 1
		l.slots = l.everySlot(e)
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
	s.fired = s.fired[:0]
	s.tried = append(s.tried[:0], l.always...)
	s.hits = s.hits[:0]
	if s.raw != nil && !l.sampling {
		s.raw.gather(l)
	} else {
		s.gather(l)
	}
	for _, r := range s.tried {
		if timed && s.tryTimed(l, r) || !timed && s.try(l, r) {
			s.hits = append(s.hits, r)
		}
	}
	if len(s.hits) > 1 {
		slices.Sort(s.hits)
	}
	if l.events++; l.events == l.next {
		l.sample(s)
	}
}

// gather finds the rules that the values of the plan's slots trigger.
func (s *state) gather(l *livePlan) {
	for _, p := range l.slots {
		s.takeEntry(l, p, s.entryOf(p.slot))
	}
}

// takeEntry adds the rules that an entry of the slot triggers.
func (s *state) takeEntry(l *livePlan, p planSlot, e *entry) {
	if e.says {
		s.take(l, l.view(s.engine, e, p.slot))
	} else if p.none != nil {
		s.take(l, p.none)
	}
}

// take adds the rules of a view that no other has added for this event.
func (s *state) take(l *livePlan, v *view) {
	for _, r := range v.rules {
		if l.turns[r] != s.turn {
			l.turns[r] = s.turn
			s.tried = append(s.tried, r)
		}
	}
	for _, r := range v.holds {
		if l.turns[r] != s.turn {
			l.turns[r] = s.turn
			s.hits = append(s.hits, r)
		}
	}
}

// try says whether the rule holds: its formula, which is its program read once,
// or the program itself where the formula is not all of it.
func (s *state) try(l *livePlan, r int32) bool {
	if l.starts[r] == unwritten {
		l.starts[r] = l.write(s.engine, l.plan.rules[r].formula, stepHolds, stepFails)
	}
	at := l.starts[r]
	for at >= 0 {
		if q := &l.steps[at]; s.answer(q) {
			at = q.yes
		} else {
			at = q.no
		}
	}
	return at == stepHolds || at == stepProgram && s.holds(l.plan.rules[r].CompiledRule)
}

// step is a question of a formula, and where to go on by the answer. A rule's
// questions stand together, the first at the end.
type step struct {
	slot    int32 // of the atom
	id      int32 // of the atom; of a predicate if slot is noSlot
	yes, no int32
}

// Where there are no more questions.
const (
	stepHolds = -1 - iota
	stepFails
	stepProgram // of a rule whose formula is not all of it
	unwritten   // not read yet
)

// write appends the questions of a formula and says which is the first.
func (l *livePlan) write(e *Engine, f *formula, yes, no int32) int32 {
	switch f.kind {
	case isProgram:
		return stepProgram
	case isYes:
		return yes
	case isAtom:
		l.steps = append(l.steps, step{e.index.atoms[f.id].slot, f.id, yes, no})
	case isPredicate:
		l.steps = append(l.steps, step{noSlot, f.id, yes, no})
	case isNot:
		return l.write(e, f.kids[0], no, yes)
	case isAnd:
		for _, k := range slices.Backward(f.kids) {
			yes = l.write(e, k, yes, no)
		}
		return yes
	case isOr:
		for _, k := range slices.Backward(f.kids) {
			no = l.write(e, k, yes, no)
		}
		return no
	default:
		return no
	}
	return int32(len(l.steps) - 1) //nolint:gosec // bounded by the rules
}

func (s *state) answer(q *step) bool {
	if q.slot == noSlot {
		return s.p(int(q.id))
	}
	return s.entryOf(q.slot).says && s.meets(q.slot, q.id)
}

// view is what the entry means to the plan.
func (l *livePlan) view(e *Engine, of *entry, slot int32) *view {
	v := of.views[l.number%nearViews]
	if v == nil || v.plan != l.number {
		v = l.find(of, slot)
	}
	if v.version != l.version {
		l.look(e, v)
	}
	if l.sampling {
		l.count(v)
	}
	return v
}

// find finds or makes the view, which is not looked at yet when it is new.
func (l *livePlan) find(of *entry, slot int32) *view {
	near := &of.views[l.number%nearViews]
	for i, v := range of.more {
		if v.plan == l.number {
			of.more[i], *near = *near, v
			return v
		}
	}
	if *near != nil {
		if len(of.more) >= maxViews { // of plans that are gone, or a sender who makes shapes up
			of.more = of.more[:0]
		}
		of.more = append(of.more, *near)
	}
	*near = &view{plan: l.number, entry: of, slot: slot}
	return *near
}

func (l *livePlan) count(v *view) {
	if v.sample != l.samples {
		if len(l.views) >= maxCountedViews {
			return
		}
		v.sample, v.uses = l.samples, 0
		l.views = append(l.views, v)
	}
	v.uses++
}

// look finds the rules that the entry's atoms trigger and those that watch its
// slot, without those that it rules out.
func (l *livePlan) look(e *Engine, v *view) {
	v.version, v.rules, v.holds = l.version, nil, nil
	for a := range v.entry.all() {
		l.take(e, v, l.triggers, a)
	}
	l.take(e, v, l.watched, v.slot)
}

// take adds the rules that stand beside a number in one of the lists.
func (l *livePlan) take(e *Engine, v *view, list []trigger, number int32) {
	i, _ := slices.BinarySearchFunc(list, number, func(t trigger, n int32) int { return cmp.Compare(t.atom, n) })
	for ; i < len(list) && list[i].atom == number; i++ {
		r := list[i].rule
		if slices.Contains(v.rules, r) || slices.Contains(v.holds, r) {
			continue
		}
		switch v.entry.decides(e.index, l.plan.rules[r].formula, v.slot) {
		case unknown:
			v.rules = append(v.rules, r)
		case yes:
			v.holds = append(v.holds, r)
		}
	}
}

// decides says what a formula is when only this entry of a slot is known.
func (e *entry) decides(x *index, f *formula, slot int32) truth {
	return partial(f, func(leaf *formula) truth {
		switch {
		case leaf.kind != isAtom || x.atoms[leaf.id].slot != slot || slices.Contains(e.maybe, leaf.id):
			return unknown
		case slices.Contains(e.atoms, leaf.id):
			return yes
		}
		return no
	})
}

// everySlot is every slot of the plan, for samples.
func (l *livePlan) everySlot(e *Engine) []planSlot {
	var out []planSlot
	for _, slot := range l.plan.slots {
		out = append(out, l.planSlot(e, slot))
	}
	return out
}

// planSlot finds out what values that make nothing true mean in the slot.
func (l *livePlan) planSlot(e *Engine, slot int32) planSlot {
	v := &view{plan: l.number, entry: nothing, slot: slot}
	if l.look(e, v); len(v.rules)+len(v.holds) == 0 {
		v = nil
	}
	return planSlot{slot, v}
}

// sample ends a sample and chooses by it, or begins one.
func (l *livePlan) sample(s *state) {
	if !l.sampling {
		l.sampling, l.next = true, l.events+laterSample
		l.samples++
		l.slots = l.everySlot(s.engine)
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
	l.triggers, l.always, l.watched = l.triggers[:0], l.always[:0], l.watched[:0]
	var slots, untriggered, atoms []int32
	look := func(slot int32) {
		if !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
	}
	for r := range l.plan.rules {
		var ok bool
		if atoms, _, ok = l.plan.rules[r].formula.triggers(atoms[:0], often); !ok {
			untriggered = append(untriggered, int32(r)) //nolint:gosec // bounded by the rules
			continue
		}
		for _, a := range atoms {
			l.triggers = append(l.triggers, trigger{a, int32(r)}) //nolint:gosec // as above
			look(e.index.atoms[a].slot)
		}
	}
	for _, r := range untriggered {
		slot, ok := e.decider(l.plan.rules[r].formula, slots, often)
		if !ok {
			l.always = append(l.always, r)
			continue
		}
		l.watched = append(l.watched, trigger{slot, r})
		look(slot)
	}
	byAtom := func(x, y trigger) int { return cmp.Or(cmp.Compare(x.atom, y.atom), cmp.Compare(x.rule, y.rule)) }
	slices.SortFunc(l.triggers, byAtom)
	slices.SortFunc(l.watched, byAtom)
	l.slots = nil
	for _, slot := range slots {
		l.slots = append(l.slots, l.planSlot(e, slot))
	}
}

// decider is the slot whose value most often rules a formula out by itself, of
// those that are looked at anyway if there is one. The whole event is none: it is
// different each time.
func (e *Engine) decider(f *formula, looked []int32, often func(atom int32) float32) (best int32, ok bool) {
	var most float32
	f.eachAtom(func(a int32) {
		slot := e.index.atoms[a].slot
		if slot == e.wordSlot() {
			return
		}
		share, _ := e.index.decided(f, slot, often)
		if slices.Contains(looked, slot) {
			share *= 2
		}
		if share > most {
			most, best, ok = share, slot, true
		}
	})
	return best, ok
}

// decided is how often a slot's value alone makes a formula false, and true.
func (x *index) decided(f *formula, slot int32, often func(atom int32) float32) (no, yes float32) {
	switch f.kind {
	case isNo:
		return 1, 0
	case isYes:
		return 0, 1
	case isAtom:
		if x.atoms[f.id].slot != slot {
			return 0, 0
		}
		share := often(f.id)
		return 1 - share, share
	case isNot:
		yes, no = x.decided(f.kids[0], slot, often)
		return no, yes
	case isAnd, isOr: // a kid that is false, or true, decides
		deciding, other := float32(0), float32(1)
		for _, k := range f.kids {
			n, y := x.decided(k, slot, often)
			if f.kind == isOr {
				n, y = y, n
			}
			deciding, other = max(deciding, n), min(other, y)
		}
		if f.kind == isOr {
			return other, deciding
		}
		return deciding, other
	}
	return 0, 0
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
