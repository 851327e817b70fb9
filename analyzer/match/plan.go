package match

import (
	"encoding/binary"
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
	rules []*CompiledRule
}

// route is a log source with its rules.
type route struct {
	source *schemas.SigmaSource
	rules  []*CompiledRule
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
}

// planOf finds the plan of the event that the state holds.
func (e *Engine) planOf(s *state) *plan {
	key := s.key[:0]
	for _, f := range e.planned {
		v := s.value(f.slot)
		key = binary.AppendUvarint(key, uint64(v.to-v.from)) //nolint:gosec // not negative
		if !f.byValue {
			continue
		}
		for _, t := range s.texts(v, false) { // with its length: no value can pass for two
			key = append(binary.AppendUvarint(key, uint64(len(t))), t...)
		}
	}
	s.key = key
	if len(key) > maxShapeKey {
		return e.newPlan(s)
	}
	if p := s.plans[string(key)]; p != nil {
		return p
	}
	e.mu.Lock()
	p := e.plans[string(key)]
	e.mu.Unlock()
	if p == nil {
		p = e.newPlan(s)
		e.mu.Lock()
		if len(e.plans) >= maxPlans {
			clear(e.plans)
		}
		e.plans[string(key)] = p
		e.mu.Unlock()
	}
	if len(s.plans) >= maxPlans {
		clear(s.plans)
	}
	s.plans[string(key)] = p
	return p
}

func (e *Engine) newPlan(s *state) *plan {
	settled := make(map[int]bool, len(e.planned))
	for _, f := range e.planned {
		if f.byValue {
			settled[f.slot] = true
		}
	}
	known := func(id int) truth {
		p := e.predicates[id]
		if p.slot < 0 || !settled[p.slot] || p.test.other != nil || p.test.cased || p.test.fn != asIs || p.test.op == opRe {
			return unknown
		}
		if s.p(id) {
			return yes
		}
		return no
	}
	p := &plan{}
	for _, route := range e.routes {
		if !route.takes(s.ev) {
			continue
		}
		for _, r := range route.rules {
			if partial(r.program.Node(), known) != no {
				p.rules = append(p.rules, r)
			}
		}
	}
	return p
}
