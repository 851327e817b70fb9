package match

import "fengsui/rules"

// Reported are the rules that can raise an alert of their own: detections that
// do not only serve a correlation, and correlations.
func (e *Engine) Reported() []*rules.Rule {
	var out []*rules.Rule
	seen := map[*rules.Rule]bool{}
	for _, c := range e.rules {
		for _, as := range c.raises {
			if !seen[as.Rule] {
				seen[as.Rule] = true
				out = append(out, as.Rule)
			}
		}
	}
	return out
}
