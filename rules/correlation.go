package rules

import (
	"math"
	"slices"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// Limits on what a correlation may ask for.
const (
	MaxBaseRules   = 64
	MaxGroupFields = 16
	MaxCount       = 1_000_000 // of events or of distinct values within a timespan
)

var correlationTypes = []schemas.CorrelationType{
	schemas.EventCount, schemas.ValueCount, schemas.Temporal, schemas.TemporalOrdered,
	schemas.ValueSum, schemas.ValueAvg, schemas.ValuePercentile, schemas.ValueMedian,
}

func (r *reader) correlation(n *yaml.Node) *Correlation {
	c := &Correlation{Line: n.Line}
	var condition *yaml.Node
	r.pairs(n, func(key string, at, value *yaml.Node) {
		switch key {
		case "type":
			c.Type = schemas.CorrelationType(r.text(value))
			if !slices.Contains(correlationTypes, c.Type) {
				r.fail(value, "correlation: unknown type %q", c.Type)
			}
		case "rules":
			for _, ref := range r.items(value) {
				c.Rules = append(c.Rules, Reference{Rule: r.text(ref), Line: ref.Line})
			}
		case "group-by":
			if c.GroupBy = r.texts(value); len(c.GroupBy) > MaxGroupFields {
				r.fail(value, "correlation: group-by has %d fields, more than %d", len(c.GroupBy), MaxGroupFields)
			}
		case "timespan":
			c.Timespan = r.timespan(value)
		case "condition":
			condition = value
		case "generate":
			c.Generate = r.boolean(value)
		case "aliases":
			c.Aliases = r.aliases(value)
		default:
			r.fail(at, "correlation: unknown key %q; there are type, rules, group-by, timespan, condition, aliases and generate", key)
		}
	})
	switch {
	case c.Type == "":
		r.fail(n, "correlation: type is missing")
	case c.Timespan == 0:
		r.fail(n, "correlation: timespan is missing")
	case condition == nil && !c.Type.IsTemporal():
		r.fail(n, "correlation: condition is missing")
	case condition != nil && condition.Kind == yaml.ScalarNode:
		r.logic(c, condition)
	case condition != nil:
		r.condition(c, condition)
	default: // "All events defined by the rules [...] must occur"
		c.Condition = []schemas.Comparison{{Op: "gte", Value: float64(len(c.Rules))}}
	}
	r.baseRules(c, n)
	return c
}

// baseRules checks the references: each once.
func (r *reader) baseRules(c *Correlation, n *yaml.Node) {
	if len(c.Rules) == 0 {
		r.fail(n, "correlation: rules is missing")
	}
	if len(c.Rules) > MaxBaseRules {
		r.fail(n, "correlation: %d rules, more than %d", len(c.Rules), MaxBaseRules)
	}
	seen := map[string]bool{}
	for _, ref := range c.Rules {
		at := &yaml.Node{Line: ref.Line}
		if ref.Rule == "" {
			r.fail(at, "correlation: rules has an empty entry")
		}
		if seen[ref.Rule] {
			r.fail(at, "correlation: rules names %q twice", ref.Rule)
		}
		seen[ref.Rule] = true
	}
}

// logic reads a condition of names, and, or and not. Without a list of rules the
// names are the list.
func (r *reader) logic(c *Correlation, n *yaml.Node) {
	if !c.Type.IsTemporal() {
		r.fail(n, "correlation: only the temporal types may have a condition of names, %s has a map such as {gte: 10}", c.Type)
		return
	}
	c.Logic, c.FieldLine = r.text(n), n.Line
	if len(c.Rules) == 0 {
		for _, name := range LogicNames(c.Logic) {
			c.Rules = append(c.Rules, Reference{Rule: name, Line: n.Line})
		}
	}
	var names []string
	for _, ref := range c.Rules {
		names = append(names, ref.Rule)
	}
	if len(names) > MaxBaseRules {
		return // said by baseRules
	}
	l, err := ParseLogic(c.Logic, names)
	if err == nil {
		err = l.useful(c.Type, len(names))
	}
	if err != nil {
		r.fail(n, "correlation: condition: %v", err)
	}
}

// condition reads a map of comparisons, field and percentile.
func (r *reader) condition(c *Correlation, n *yaml.Node) {
	c.FieldLine = n.Line
	r.pairs(n, func(key string, at, value *yaml.Node) {
		switch key {
		case "gt", "gte", "lt", "lte", "eq", "neq":
			c.Condition = append(c.Condition, schemas.Comparison{Op: key, Value: r.threshold(c.Type, key, value)})
		case "field":
			c.Fields, c.FieldLine = r.texts(value), value.Line
		case "percentile":
			c.Percentile = r.percentile(c.Type, value)
		default:
			r.fail(at, "correlation: condition: unknown key %q; there are gt, gte, lt, lte, eq, neq, field and percentile", key)
		}
	})
	countsValues := c.Type == schemas.ValueCount || c.Type.IsNumeric()
	switch {
	case len(c.Condition) == 0:
		r.fail(n, "correlation: condition compares with nothing: it needs gt, gte, lt, lte, eq or neq")
	case len(c.Condition) > 2:
		r.fail(n, "correlation: condition: a range has two comparisons, not %d", len(c.Condition))
	case countsValues && len(c.Fields) == 0:
		r.fail(n, "correlation: condition: %s needs the field whose values it counts", c.Type)
	case !countsValues && len(c.Fields) > 0:
		r.fail(n, "correlation: condition: field has no meaning for %s", c.Type)
	case c.Type.IsNumeric() && len(c.Fields) > 1:
		r.fail(n, "correlation: condition: %s computes with one field, not %d", c.Type, len(c.Fields))
	case len(c.Fields) > MaxGroupFields:
		r.fail(n, "correlation: condition: field names %d fields, more than %d", len(c.Fields), MaxGroupFields)
	case c.Type == schemas.ValuePercentile && c.Percentile == 0:
		r.fail(n, "correlation: condition: value_percentile needs percentile, a number above 0 and below 100")
	default:
		r.possible(c, n)
	}
}

// possible refuses a condition that no window can meet, and one that asks for
// nothing. A window is looked at when it has an event, so a count is at least
// one; of the temporal types it is at most the number of rules.
func (r *reader) possible(c *Correlation, n *yaml.Node) {
	low, high := math.Inf(-1), math.Inf(1)
	if !c.Type.IsNumeric() {
		low, high = 1, MaxCount
	}
	if c.Type.IsTemporal() {
		high = float64(len(c.Rules))
	}
	// Between two thresholds the conditions do not change: they need be tried at
	// the thresholds and beside them.
	try := []float64{low, high}
	for _, cmp := range c.Condition {
		below, above := cmp.Value-1, cmp.Value+1
		if c.Type.IsNumeric() {
			below, above = math.Nextafter(cmp.Value, low), math.Nextafter(cmp.Value, high)
		}
		try = append(try, below, cmp.Value, above)
	}
	met, always := false, !c.Type.IsNumeric() && schemas.AllHold(c.Condition, 0)
	for _, v := range try {
		if v < low || v > high {
			continue
		}
		holds := schemas.AllHold(c.Condition, v)
		met, always = met || holds, always && holds
	}
	switch {
	case always:
		r.fail(n, "correlation: condition must ask for one match at least")
	case !met:
		r.fail(n, "correlation: condition can never be met: %s", comparisons(c.Condition))
	case c.Type == schemas.TemporalOrdered && !c.ordered():
		r.fail(n, "correlation: condition: temporal_ordered needs a least number of rules (gte, gt) or all of them (eq), not %s", comparisons(c.Condition))
	}
}

// ordered says that the condition asks for a least number of rules.
func (c *Correlation) ordered() bool {
	high := float64(len(c.Rules))
	met := false
	for k := 1.0; k <= high; k++ {
		holds := schemas.AllHold(c.Condition, k)
		if met && !holds {
			return false
		}
		met = holds
	}
	return met
}

func comparisons(cs []schemas.Comparison) string {
	text := ""
	for i, c := range cs {
		if i > 0 {
			text += " and "
		}
		text += c.String()
	}
	return text
}

// threshold is what a comparison compares with: a whole number where things are
// counted.
func (r *reader) threshold(t schemas.CorrelationType, key string, n *yaml.Node) float64 {
	var v float64
	if err := n.Decode(&v); err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		what := "count"
		if t.IsNumeric() {
			what = "number"
		}
		r.fail(n, "correlation: condition %s: %q is not a %s", key, n.Value, what)
		return 0
	}
	if t.IsNumeric() {
		return v
	}
	if v < 0 || v != math.Trunc(v) {
		r.fail(n, "correlation: condition %s: %q is not a count", key, n.Value)
	}
	if v > MaxCount {
		r.fail(n, "correlation: condition %s: %q is more than %d, which is the most that is counted", key, n.Value, MaxCount)
	}
	return v
}

func (r *reader) percentile(t schemas.CorrelationType, n *yaml.Node) float64 {
	var v float64
	if err := n.Decode(&v); err != nil || !(v > 0 && v < 100) {
		r.fail(n, "correlation: condition: percentile %q is no number above 0 and below 100", n.Value)
	}
	if t != schemas.ValuePercentile {
		r.fail(n, "correlation: condition: percentile has no meaning for %s", t)
	}
	return v
}

func (r *reader) aliases(n *yaml.Node) map[string]map[string]string {
	out := map[string]map[string]string{}
	r.pairs(n, func(alias string, _, rules *yaml.Node) {
		out[alias] = map[string]string{}
		r.pairs(rules, func(rule string, at, field *yaml.Node) {
			if out[alias][rule] = r.text(field); out[alias][rule] == "" {
				r.fail(at, "correlation: aliases: %s of %s is no field", rule, alias)
			}
		})
	})
	return out
}
