package match

import (
	"slices"

	"fengsui/rules"
	"fengsui/schemas"
)

// correlation makes each base rule report the correlation. Specification 2.0.0,
// "Generate": base rules do not alert by themselves unless it says so.
func (b *builder) correlation(r *rules.Rule) {
	c := r.Correlation
	if c.Type != schemas.EventCount || len(c.Condition) != 1 {
		b.fail(r, c.Line, "correlation: %s is read but not yet counted", c.Type)
		return
	}
	least := int(c.Condition[0].Value)
	if c.Condition[0].Op == "gt" {
		least++
	}
	var bases, links []*CompiledRule
	for _, ref := range c.Rules {
		base := b.byName[ref.Rule]
		if base == nil {
			b.fail(r, ref.Line, "it refers to %q, which is no detection rule that is loaded", ref.Rule)
			return
		}
		names := slices.Clone(c.GroupBy)
		for i, n := range names {
			for _, of := range []string{base.Rule.Name, base.Rule.ID} {
				if field, ok := c.Aliases[n][of]; ok {
					names[i] = field
				}
			}
		}
		group, err := groupFields(b.sources[base], names)
		if err != nil {
			b.fail(r, c.Line, "group-by: %v", err)
			return
		}
		bases = append(bases, base)
		links = append(links, &CompiledRule{
			Rule: r, Base: base.Rule, Source: base.Source, program: base.program, tree: base.tree, group: group,
			window: schemas.Window{AtLeast: least, Timespan: c.Timespan},
		})
	}
	for i, base := range bases {
		alone := slices.Index(base.raises, base)
		if alone >= 0 && !c.Generate && !b.generated(base) {
			base.raises = slices.Delete(base.raises, alone, alone+1)
		}
		if c.Generate && alone < 0 {
			base.raises = append(base.raises, base)
		}
		base.raises = append(base.raises, links[i])
	}
}

// generated says that another correlation lets the base rule alert by itself.
func (b *builder) generated(base *CompiledRule) bool {
	return slices.ContainsFunc(base.raises, func(c *CompiledRule) bool {
		return c.Rule.Correlation != nil && c.Rule.Correlation.Generate
	})
}
