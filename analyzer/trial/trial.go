// Package trial runs rules over given events offline, as the analyzer does with
// events that arrive: the same engine, the same fold of matches into alerts. It
// is what tests of rules and backtests stand on. It is pure: it reads no topic,
// no database and no clock; time is that of the events.
package trial

import (
	"fengsui/analyzer/correlate"
	"fengsui/analyzer/match"
	"fengsui/schemas"
)

// Run is rules at work on one sequence of events. It is not safe for concurrent
// use.
type Run struct {
	engine  *match.Engine
	fold    *correlate.Fold
	offset  int64
	matches []schemas.Match
	alerts  map[string]*schemas.Alert
	order   []string // ids of alerts as they were raised
}

// New begins a run.
func New(engine *match.Engine, cfg correlate.Config) *Run {
	return &Run{engine: engine, fold: correlate.New(cfg), alerts: map[string]*schemas.Alert{}}
}

// Event takes the next event and returns its matches, which are good until the
// next call. Events are best given in order of their time.
func (r *Run) Event(ev *schemas.Event) []schemas.Match {
	r.matches = r.matches[:0]
	r.engine.Match(ev, func(h match.Hit) { r.matches = append(r.matches, h.ToMatch(ev)) })
	for i := 0; i < len(r.matches); i++ { // it grows: a correlation that is met counts for others
		m := r.matches[i]
		r.offset++
		alerts, next := r.fold.Add(&m, 0, r.offset, m.Time)
		for _, a := range alerts {
			r.keep(a)
		}
		r.matches = append(r.matches, next...)
	}
	return r.matches
}

func (r *Run) keep(a *schemas.Alert) {
	if _, known := r.alerts[a.ID]; !known {
		r.order = append(r.order, a.ID)
	}
	c := *a
	r.alerts[a.ID] = &c
}

// Alerts are the alerts so far, in the order in which they were raised, each in
// its newest state.
func (r *Run) Alerts() []schemas.Alert {
	out := make([]schemas.Alert, len(r.order))
	for i, id := range r.order {
		out[i] = *r.alerts[id]
	}
	return out
}
