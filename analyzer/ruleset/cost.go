package ruleset

import (
	"cmp"
	"slices"
	"time"

	"fengsui/schemas"
)

// Cost is what a rule took of the time in which rules were evaluated.
type Cost struct {
	Rule  schemas.Rule
	Share float64 // 0 to 1, of all rules together
}

// topCosts is how many rules the metric names; costsEvery is how often the log
// repeats that a rule costs too much.
const (
	topCosts   = 20
	costsEvery = time.Hour
)

// TellCosts puts the rules that cost most into the metric rule_cost_share, and
// names those above the configured share in the log. None is switched off.
func (s *Set) TellCosts(costs []Cost, now time.Time) {
	costs = slices.Clone(costs)
	slices.SortFunc(costs, func(a, b Cost) int {
		return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Rule.ID, b.Rule.ID))
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.metrics.cost.Reset()
	for i, c := range costs {
		if i < topCosts {
			s.metrics.cost.WithLabelValues(c.Rule.ID, c.Rule.Title).Set(c.Share)
		}
		if c.Share <= s.cfg.CostShare || now.Sub(s.costly[c.Rule.ID]) < costsEvery {
			continue
		}
		s.costly[c.Rule.ID] = now
		s.log.Warn("a rule costs more than its share; it works on", "rule", c.Rule.ID, "title", c.Rule.Title, "share", c.Share, "above", s.cfg.CostShare)
	}
}
