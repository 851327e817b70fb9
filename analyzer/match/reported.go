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

// GroupFields are the fields by which the alerts of a rule are grouped, by the
// rule's id; none if the engine does not know.
func (e *Engine) GroupFields(id string) []string {
	for _, c := range e.rules {
		for _, as := range c.raises {
			if as.Rule.ID != id {
				continue
			}
			fields := as.group
			if len(fields) == 0 && as.Rule.Correlation == nil {
				fields = defaultGroup
			}
			var out []string
			for _, f := range fields {
				out = append(out, f.name)
			}
			return out
		}
	}
	return nil
}
