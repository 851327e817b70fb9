package rules

import "gopkg.in/yaml.v3"

func (r *reader) correlation(n *yaml.Node) *Correlation {
	c := &Correlation{Line: n.Line}
	var condition *yaml.Node
	r.pairs(n, func(key string, at, value *yaml.Node) {
		switch key {
		case "type":
			c.Type = r.text(value)
			if c.Type != "event_count" {
				r.fail(value, "correlation: not supported in this version: %s", c.Type)
			}
		case "rules":
			for _, ref := range r.items(value) {
				c.Rules = append(c.Rules, Reference{Rule: r.text(ref), Line: ref.Line})
			}
		case "group-by":
			c.GroupBy = r.texts(value)
		case "timespan":
			c.Timespan = r.timespan(value)
		case "condition":
			condition = value
		case "generate":
			c.Generate = r.boolean(value)
		case "aliases":
			c.Aliases = r.aliases(value)
		default:
			r.fail(at, "correlation: unknown key %q", key)
		}
	})
	switch {
	case c.Type == "":
		r.fail(n, "correlation: type is missing")
	case len(c.Rules) == 0:
		r.fail(n, "correlation: rules is missing")
	case c.Timespan == 0:
		r.fail(n, "correlation: timespan is missing")
	case condition == nil:
		r.fail(n, "correlation: condition is missing")
	default:
		c.AtLeast = r.atLeast(condition)
	}
	return c
}

// atLeast reads an event_count condition as the least number of matches that
// meets it. eq is met on reaching the number, when the alert is raised.
func (r *reader) atLeast(n *yaml.Node) int {
	least := 0
	r.pairs(n, func(key string, at, value *yaml.Node) {
		var v int
		if err := value.Decode(&v); err != nil || v < 0 {
			r.fail(value, "correlation: condition %s: %q is not a count", key, value.Value)
			return
		}
		switch key {
		case "gte", "eq":
		case "gt":
			v++
		default:
			r.fail(at, "correlation: condition not supported in this version: %s", key)
		}
		if least != 0 {
			r.fail(at, "correlation: a range of counts is not supported in this version")
		}
		least = v
	})
	if least < 1 {
		r.fail(n, "correlation: condition must ask for one match at least")
	}
	return least
}

func (r *reader) aliases(n *yaml.Node) map[string]map[string]string {
	out := map[string]map[string]string{}
	r.pairs(n, func(alias string, _, rules *yaml.Node) {
		out[alias] = map[string]string{}
		r.pairs(rules, func(rule string, _, field *yaml.Node) { out[alias][rule] = r.text(field) })
	})
	return out
}
