package trial

import (
	"cmp"
	"slices"
	"time"

	"fengsui/schemas"
)

// maxExamples is how many alerts of a rule a summary shows.
const maxExamples = 3

// Summary is what rules would have found in a stretch of stored events.
type Summary struct {
	Since      time.Time     `json:"since"`
	Until      time.Time     `json:"until"`
	Unit       string        `json:"unit,omitempty"`
	Events     uint64        `json:"events"`
	Matches    uint64        `json:"matches"`
	Alerts     uint64        `json:"alerts"`
	Rules      []RuleSummary `json:"rules"`
	Suppressed []Suppression `json:"suppressed,omitempty"`
}

// RuleSummary is what one rule would have found.
type RuleSummary struct {
	schemas.Rule
	Matches  uint64          `json:"matches"`
	Alerts   uint64          `json:"alerts"`
	Days     []Day           `json:"days"`
	Examples []schemas.Alert `json:"examples,omitempty"`
}

// Day is what a rule would have found on one day in one unit. An alert is of the
// day on which it would have been raised.
type Day struct {
	Day     string `json:"day"`
	Unit    string `json:"unit"`
	Matches uint64 `json:"matches"`
	Alerts  uint64 `json:"alerts"`
}

// Backtest sums up a run by day and unit.
type Backtest struct {
	run     *Run
	summary Summary
	zone    *time.Location
	rules   map[string]*ruleDays
}

type ruleDays struct {
	RuleSummary
	cells map[[2]string]*Day
}

// NewBacktest begins one over events from since on; what happened earlier is
// only remembered, for what correlations count. only are the ids of the rules to
// sum up; days are those of the zone.
func NewBacktest(run *Run, since, until time.Time, zone *time.Location, only []schemas.Rule) *Backtest {
	b := &Backtest{run: run, summary: Summary{Since: since, Until: until}, zone: zone, rules: map[string]*ruleDays{}}
	for _, r := range only {
		b.rules[r.ID] = &ruleDays{RuleSummary: RuleSummary{Rule: r}, cells: map[[2]string]*Day{}}
	}
	return b
}

// Event takes the next event, in order of time, and returns the matches of the
// rules that are summed up, good until the next call.
func (b *Backtest) Event(ev *schemas.Event) (matches []schemas.Match) {
	at := ev.Time()
	early := at.Before(b.summary.Since)
	for _, m := range b.run.Event(ev) {
		r := b.rules[m.Rule.ID]
		if r == nil || early {
			continue
		}
		b.summary.Matches++
		r.Matches++
		r.cell(at.In(b.zone), m.Unit).Matches++
		matches = append(matches, m)
	}
	for _, a := range b.run.Raised() {
		r := b.rules[a.Rule.ID]
		if r == nil || early {
			continue
		}
		b.summary.Alerts++
		r.Alerts++
		r.cell(at.In(b.zone), a.Unit).Alerts++
		if len(r.Examples) < maxExamples {
			r.Examples = append(r.Examples, a)
		}
	}
	if !early {
		b.summary.Events++
	}
	return matches
}

func (r *ruleDays) cell(at time.Time, unit string) *Day {
	key := [2]string{at.Format(time.DateOnly), unit}
	c := r.cells[key]
	if c == nil {
		c = &Day{Day: key[0], Unit: unit}
		r.cells[key] = c
	}
	return c
}

// Summary is what was found so far; rules that found most come first.
func (b *Backtest) Summary() Summary {
	s := b.summary
	s.Suppressed = b.run.Suppressed()
	s.Rules = nil
	for _, r := range b.rules {
		out := r.RuleSummary
		out.Days = nil
		for _, c := range r.cells {
			out.Days = append(out.Days, *c)
		}
		slices.SortFunc(out.Days, func(x, y Day) int { return cmp.Or(cmp.Compare(x.Day, y.Day), cmp.Compare(x.Unit, y.Unit)) })
		out.Examples = slices.Clone(r.Examples)
		for i := range out.Examples { // as they were in the end
			if a, ok := b.run.Alert(out.Examples[i].ID); ok {
				out.Examples[i] = a
			}
		}
		s.Rules = append(s.Rules, out)
	}
	slices.SortFunc(s.Rules, func(x, y RuleSummary) int {
		return cmp.Or(cmp.Compare(y.Alerts, x.Alerts), cmp.Compare(y.Matches, x.Matches), cmp.Compare(x.ID, y.ID))
	})
	return s
}
