package match

import "fengsui/rules"

// Reported are the rules that can raise an alert of their own: detections that
// do not only serve a correlation, and correlations.
func (e *Engine) Reported() []*rules.Rule {
	var out []*rules.Rule
	seen := map[*rules.Rule]bool{}
	for _, c := range e.rules {
		for _, as := range c.raises {
			as.each(func(r *rules.Rule, _ []groupField, silent bool) {
				if !silent && !seen[r] {
					seen[r] = true
					out = append(out, r)
				}
			})
		}
	}
	return out
}

// GroupFields are the fields by which the alerts of a rule are grouped, by the
// rule's id; none if the engine does not know.
func (e *Engine) GroupFields(id string) []string {
	var out []string
	for _, c := range e.rules {
		for _, as := range c.raises {
			as.each(func(r *rules.Rule, fields []groupField, _ bool) {
				if r.ID != id || out != nil {
					return
				}
				if len(fields) == 0 && r.Correlation == nil {
					fields = defaultGroup
				}
				for _, f := range fields {
					out = append(out, f.name)
				}
			})
		}
	}
	return out
}
