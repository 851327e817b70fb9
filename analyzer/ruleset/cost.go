package ruleset

import (
	"time"

	"fengsui/analyzer/match"
)

// topCosts is how many rules the metric names; costsEvery is how often the log
// repeats that a rule costs too much. Less than enoughTimed says nothing: one
// slow moment would be a share of all.
const (
	topCosts    = 20
	costsEvery  = time.Hour
	enoughTimed = 50 * time.Millisecond
)

// tellCosts puts the rules that cost most, the dearest first, into the metric
// rule_cost_share, and names those above the configured share in the log. None is
// switched off.
func (s *Set) tellCosts(costs []match.Cost, timed time.Duration, now time.Time) {
	if timed < enoughTimed {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.cost.Reset()
	for i, c := range costs {
		r := c.Rule
		if i < topCosts {
			s.metrics.cost.WithLabelValues(r.ID, r.Title).Set(c.Share)
		}
		if c.Share <= s.cfg.CostShare || now.Sub(s.costly[r.ID]) < costsEvery {
			continue
		}
		s.costly[r.ID] = now
		s.log.Warn("a rule costs more than its share; it works on", "rule", r.ID, "title", r.Title, "file", r.File, "share", c.Share, "above", s.cfg.CostShare)
	}
}
