package tune

import (
	"slices"
	"time"

	"fengsui/rules/tuning"
	"fengsui/schemas"
)

// Bounds of a gate's memory.
const (
	maxSpans      = 100_000
	maxPassed     = 1_000 // alerts that are remembered of one value
	maxSuppressed = 1_000
)

// Gate is what alerts pass on their way out: each gets its level, and one of a
// throttled rule goes no further when there are enough. It holds the state of one
// partition of the topic matches and is not safe for concurrent use.
//
// A suppressed alert is counted in the last one that passed. The same alerts in
// the same order pass again after a restart, once Seed has put back what was
// written.
type Gate struct {
	spans map[string]*span // by throttled values
}

// span is what passed of one throttled value.
type span struct {
	passed     []*passed // in the order of passing
	suppressed []string  // ids
	newest     time.Time
}

type passed struct {
	alert      schemas.Alert // as it last came in
	suppressed uint64
	offset     int64
}

// NewGate makes a gate that nothing has passed.
func NewGate() *Gate { return &Gate{spans: map[string]*span{}} }

// Seed puts back alerts that were written before a restart, oldest first.
func (g *Gate) Seed(t *Tuner, alerts []schemas.Alert) {
	for i := range alerts {
		a := alerts[i]
		if x := t.throttleOf(a.Rule.ID, a.First); x != nil && a.Kind == schemas.AlertRule {
			s := g.span(throttleKey(x, a.Rule.ID, a.Unit, a.Group), a.First, x.Per)
			p := &passed{suppressed: a.Suppressed, offset: a.Offset}
			p.keep(&a)
			s.add(p)
		}
	}
}

// Pass returns what is to be written of an alert that is new or has changed: the
// alert, or the earlier one in which a suppressed one is counted, or nil. by is
// the entry that has just suppressed it.
func (g *Gate) Pass(t *Tuner, a *schemas.Alert, units Units) (out *schemas.Alert, by *tuning.Throttle) {
	if a.Kind != schemas.AlertRule {
		return a, nil
	}
	x := t.throttleOf(a.Rule.ID, a.First)
	if x == nil {
		return t.written(a, units), nil
	}
	s := g.span(throttleKey(x, a.Rule.ID, a.Unit, a.Group), a.First, x.Per)
	if p := s.find(a.ID); p != nil {
		p.keep(a)
		return t.written(p.out(), units), nil
	}
	if slices.Contains(s.suppressed, a.ID) {
		return nil, nil
	}
	near := s.near(a.First, x.Per)
	if len(near) < x.AtMost {
		p := &passed{offset: a.Offset}
		p.keep(a)
		s.add(p)
		return t.written(p.out(), units), nil
	}
	s.suppressed = append(s.suppressed, a.ID)
	if len(s.suppressed) > maxSuppressed {
		s.suppressed = slices.Delete(s.suppressed, 0, 1)
	}
	last := near[len(near)-1]
	if a.Offset <= last.offset { // the record came again, and was counted
		return nil, x
	}
	last.suppressed++
	last.offset = a.Offset
	return t.written(last.out(), units), x
}

// written is the alert with its level.
func (t *Tuner) written(a *schemas.Alert, units Units) *schemas.Alert {
	level := t.Level(&a.Rule, a.Unit, a.First, units)
	if level == a.Rule.Level {
		return a
	}
	c := *a
	c.Rule.Level = level
	return &c
}

// span finds or makes what is known of a value, and forgets others that are too
// old to matter when there are too many.
func (g *Gate) span(key string, at time.Time, per time.Duration) *span {
	s := g.spans[key]
	if s == nil {
		if len(g.spans) >= maxSpans {
			g.forget(at.Add(-per))
		}
		s = &span{}
		g.spans[key] = s
	}
	if at.After(s.newest) {
		s.newest = at
	}
	return s
}

// forget drops what is older than a time; then, to stay within the bound,
// anything. What is forgotten may alert more often than it should.
func (g *Gate) forget(before time.Time) {
	for key, s := range g.spans {
		if s.newest.Before(before) {
			delete(g.spans, key)
		}
	}
	for key := range g.spans {
		if len(g.spans) < maxSpans*9/10 {
			return
		}
		delete(g.spans, key)
	}
}

func (s *span) add(p *passed) {
	s.passed = append(s.passed, p)
	if len(s.passed) > maxPassed {
		s.passed = slices.Delete(s.passed, 0, 1)
	}
}

func (s *span) find(id string) *passed {
	for _, p := range s.passed {
		if p.alert.ID == id {
			return p
		}
	}
	return nil
}

// near are those that passed within a time of another.
func (s *span) near(at time.Time, per time.Duration) (out []*passed) {
	for _, p := range s.passed {
		if d := at.Sub(p.alert.First); d < per && d > -per {
			out = append(out, p)
		}
	}
	return out
}

// keep copies the alert: its own lists change while it is held.
func (p *passed) keep(a *schemas.Alert) {
	p.alert = *a
	p.alert.EventIDs = slices.Clone(a.EventIDs)
	p.offset = max(p.offset, a.Offset)
}

// out is the alert with what was suppressed after it. Both numbers only grow, so
// their sum is a version.
func (p *passed) out() *schemas.Alert {
	a := p.alert
	a.Suppressed = p.suppressed
	a.Version += p.suppressed
	a.Offset = p.offset
	return &a
}
