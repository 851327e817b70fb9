package match

import (
	"slices"
	"strings"

	"fengsui/rules"
	"fengsui/schemas"
)

// read makes a rule's tree, with the filters that name it; nil after a problem.
func (b *builder) read(r *rules.Rule, source *schemas.SigmaSource) *node {
	reader := &reader{rule: r, source: source, opt: b.opt}
	tree := reader.tree(r.Detection)
	b.problems = append(b.problems, reader.warnings...)
	if reader.problem != nil {
		b.problems = append(b.problems, *reader.problem)
		return nil
	}
	for _, f := range b.filters {
		if f.names(r) && f.LogSource.Covers(r.LogSource) {
			tree = b.filtered(f, source, tree)
		}
	}
	if tree.never(source) {
		b.warn(r, r.Detection.Conditions[0].Line, "it can never match: the condition contradicts itself or what every event of its log source has (%s)", whenText(source))
	}
	return tree
}

// filter is a document of that kind, while rules are compiled.
type filter struct {
	*rules.Rule
	used bool
}

// A filter's condition must hold as well for the rules that it names: Sigma's
// filters specification leaves this to its reference implementation, which joins
// both by and. Its selections are its own: names that a rule has, too, mean
// nothing.
func (b *builder) filtered(f *filter, source *schemas.SigmaSource, tree *node) *node {
	f.used = true
	reader := &reader{rule: f.Rule, source: source, opt: b.opt}
	more := reader.tree(&f.Filter.Detection)
	found := reader.warnings
	if reader.problem != nil { // the rule goes on without it: rather too many alerts than none
		found = append(found, *reader.problem)
	}
	for _, p := range found {
		if !slices.Contains(b.problems, p) { // once, however many rules it is for
			b.problems = append(b.problems, p)
		}
	}
	if reader.problem != nil {
		return tree
	}
	return and(tree, more)
}

func (f *filter) names(r *rules.Rule) bool {
	return f.Filter.Any() || slices.ContainsFunc(f.Filter.Rules, func(ref rules.Reference) bool { return ref.Rule == r.ID || ref.Rule == r.Name })
}

// addFilters takes the filters of the set.
func (b *builder) addFilters(rs []*rules.Rule) {
	for _, r := range rs {
		if r.Filter == nil {
			continue
		}
		b.filters = append(b.filters, &filter{Rule: r})
		for _, c := range r.Filter.Detection.Conditions {
			if !slices.Contains(strings.Fields(strings.ToLower(strings.ReplaceAll(c.Text, "(", " "))), "not") {
				b.warn(r, c.Line, "filter: only events for which %q holds are left to the rules; to leave them out, write not", c.Text)
			}
		}
	}
}

// checkReferences names what documents say of rules that are not there, or that
// are there and should not be.
func (b *builder) checkReferences(rs []*rules.Rule) {
	known := map[string]*rules.Rule{}
	for _, r := range rs {
		if r.Filter == nil {
			known[r.ID], known[r.Name] = r, r
		}
	}
	delete(known, "")
	for _, f := range b.filters {
		for _, ref := range f.Filter.Rules {
			switch r := known[ref.Rule]; {
			case f.Filter.Any():
				if !f.used {
					b.fail(f.Rule, f.LogSource.Line, "filter: no rule that is loaded is of log source %s", f.LogSource)
				}
			case r == nil:
				b.fail(f.Rule, ref.Line, "filter: it refers to %q, which is no rule that is loaded", ref.Rule)
			case r.Detection == nil:
				b.fail(f.Rule, ref.Line, "filter: %q is a correlation: name the rules that it counts", ref.Rule)
			case !f.LogSource.Covers(r.LogSource):
				b.fail(f.Rule, ref.Line, "filter: %q is of log source %s, and the filter for %s", ref.Rule, r.LogSource, f.LogSource)
			}
		}
	}
	for _, r := range rs {
		for _, rel := range r.Related {
			if other := known[rel.Rule]; rel.Type == "obsolete" && other != nil && other != r {
				b.warn(other, other.Line, "rule %s takes its place (%s:%d): both are loaded", r.ID, r.File, rel.Line)
			}
		}
		if r.Status == "unsupported" {
			b.warn(r, r.Line, "its author says that it cannot be used as it is (status: unsupported)")
		}
	}
}

func (b *builder) warn(r *rules.Rule, line int, format string, args ...any) {
	b.fail(r, line, format, args...)
	b.problems[len(b.problems)-1].Warning = true
}
