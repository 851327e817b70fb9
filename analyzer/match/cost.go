package match

import (
	"cmp"
	"slices"
	"time"

	"fengsui/rules"
)

// timedEvery is of how many events one has its rules timed: two looks at the
// clock cost as much as a rule.
const timedEvery = 64

// Cost is the share that trying one rule has of all the time spent matching, in
// a sample of the events.
type Cost struct {
	Rule  *rules.Rule
	Share float64 // 0 to 1
}

// Costs are those of all rules that were tried since the last call, the dearest
// first, with how much time was measured. What finding the rules to try costs
// belongs to none of them.
func (e *Engine) Costs() ([]Cost, time.Duration) {
	all := e.spent.Swap(0)
	var out []Cost
	for _, r := range e.rules {
		if own := r.spent.Swap(0); own > 0 && all > 0 {
			out = append(out, Cost{r.Rule, min(1, float64(own)/float64(all))})
		}
	}
	slices.SortStableFunc(out, func(a, b Cost) int { return cmp.Compare(b.Share, a.Share) })
	return out, time.Duration(all)
}

// tryTimed is try by the clock.
func (s *state) tryTimed(l *livePlan, r int32) bool {
	start := time.Now()
	holds := s.try(l, r)
	l.plan.rules[r].spent.Add(int64(time.Since(start)))
	return holds
}
