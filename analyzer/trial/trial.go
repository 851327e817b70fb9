// Package trial runs rules over given events offline, as the analyzer does with
// events that arrive: the same engine, the same fold of matches into alerts. It
// is what tests of rules and backtests stand on. It is pure: it reads no topic,
// no database and no clock; time is that of the events.
package trial

import (
	"cmp"
	"slices"

	"fengsui/analyzer/correlate"
	"fengsui/analyzer/match"
	"fengsui/analyzer/tune"
	"fengsui/schemas"
)

// maxAlerts bounds the alerts that a run remembers; more are raised, and only
// counted by who asks Raised.
const maxAlerts = 100_000

// Run is rules at work on one sequence of events. It is not safe for concurrent
// use.
type Run struct {
	engine *match.Engine
	fold   *correlate.Fold
	tuner  *tune.Tuner
	gate   *tune.Gate
	units  paths
	offset int64

	matches    []schemas.Match
	raised     []schemas.Alert
	alerts     map[string]*schemas.Alert
	order      []string // ids of alerts as they were raised
	suppressed map[Suppression]uint64
}

// Suppression counts what one entry of the tuning kept back of one rule.
type Suppression struct {
	Kind  string `json:"kind"` // exception: matches; throttle: alerts
	Rule  string `json:"rule"`
	Entry string `json:"entry"`
	Count uint64 `json:"count"`
}

// New begins a run. The tuner may be nil.
func New(engine *match.Engine, tuner *tune.Tuner, cfg correlate.Config) *Run {
	return &Run{
		engine: engine, tuner: tuner, fold: correlate.New(cfg), gate: tune.NewGate(), units: paths{},
		alerts: map[string]*schemas.Alert{}, suppressed: map[Suppression]uint64{},
	}
}

// Event takes the next event and returns its matches, which are good until the
// next call. Events are best given in order of their time.
func (r *Run) Event(ev *schemas.Event) []schemas.Match {
	r.matches, r.raised = r.matches[:0], r.raised[:0]
	r.units.learn(ev)
	r.engine.Match(ev, func(h match.Hit) {
		m := h.ToMatch(ev)
		if x := r.tuner.Excepted(h, &m, ev, r.units); x != nil {
			r.suppressed[Suppression{Kind: "exception", Rule: m.Rule.ID, Entry: x.Name}]++
			return
		}
		r.matches = append(r.matches, m)
	})
	for i := 0; i < len(r.matches); i++ { // it grows: a correlation that is met counts for others
		m := r.matches[i]
		r.offset++
		alerts, next := r.fold.Add(&m, 0, r.offset, m.Time)
		for _, a := range alerts {
			r.pass(a)
		}
		r.matches = append(r.matches, next...)
	}
	return r.matches
}

// pass does with an alert what the tuning says.
func (r *Run) pass(a *schemas.Alert) {
	out, by := r.gate.Pass(r.tuner, a, r.units)
	if by != nil {
		r.suppressed[Suppression{Kind: "throttle", Rule: a.Rule.ID, Entry: by.Name}]++
	}
	if out == nil {
		return
	}
	if known := r.alerts[out.ID]; known != nil {
		*known = *out
		return
	}
	if out.Version > 1 && len(r.order) >= maxAlerts {
		return // of one that is not remembered
	}
	r.raised = append(r.raised, *out)
	if len(r.order) < maxAlerts {
		c := *out
		r.alerts[out.ID], r.order = &c, append(r.order, out.ID)
	}
}

// Raised are the alerts that the last event raised.
func (r *Run) Raised() []schemas.Alert { return r.raised }

// Alert is an alert as it is now.
func (r *Run) Alert(id string) (schemas.Alert, bool) {
	a := r.alerts[id]
	if a == nil {
		return schemas.Alert{}, false
	}
	return *a, true
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

// Suppressed is what the tuning kept back.
func (r *Run) Suppressed() (out []Suppression) {
	for s, n := range r.suppressed {
		s.Count = n
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b Suppression) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Entry, b.Entry))
	})
	return out
}

// paths are the units that events belonged to, each with those above it: the
// registry as it was when the events came.
type paths map[string][]string

func (p paths) learn(ev *schemas.Event) {
	unit := ev.Str(schemas.FieldOrganizationID)
	above := ev.Get(schemas.FieldFengsuiUnitPath).List()
	if unit == "" || len(above) == len(p[unit]) && p[unit] != nil {
		return
	}
	codes := make([]string, len(above))
	for i, v := range above {
		codes[i] = v.Text()
	}
	p[unit] = codes
}

// Under implements tune.Units.
func (p paths) Under(code, ancestor string) bool { return slices.Contains(p[code], ancestor) }
