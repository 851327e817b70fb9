package match

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"fengsui/rules"
	"fengsui/schemas"
)

// Limits on what correlations make of one event.
const (
	maxChain   = 8   // correlations that refer to one another
	maxPaths   = 256 // ways from detections to one correlation
	maxCounted = 64  // counted values of one event
)

// counted is a correlation as it counts the matches of one base rule, for events
// of one detection.
type counted struct {
	rule   *rules.Rule
	def    *schemas.Correlation // of all base rules of the correlation
	base   int                  // place in def.Rules
	group  []groupField
	values []groupField
	next   []*counted // what counts the correlation in turn
}

// way is how a detection's match gets to a correlation: directly, or by way of
// correlations that are met.
type way struct {
	detection *CompiledRule
	at        *counted
	direct    bool
}

// linker links correlations to what they refer to, whatever the order in which
// they were written.
type linker struct {
	*builder
	named     map[string]*rules.Rule // correlations by id and by name
	ways      map[*rules.Rule][]way
	links     map[*rules.Rule]*link
	path      []*rules.Rule // of what is being linked
	served    map[*rules.Rule]bool
	generated map[*rules.Rule]bool
}

type link struct {
	def    *schemas.Correlation
	failed bool
	depth  int
}

// correlations links every correlation. Source: correlation rules specification
// 2.1.0, "Related rules": "Refers to one or multiple Sigma or Correlations rules.
// Allowing the user to chain multiple correlations together."
func (b *builder) correlations(rs []*rules.Rule) {
	l := &linker{
		builder: b, named: map[string]*rules.Rule{}, ways: map[*rules.Rule][]way{}, links: map[*rules.Rule]*link{},
		served: map[*rules.Rule]bool{}, generated: map[*rules.Rule]bool{},
	}
	for _, r := range rs {
		if r.Correlation != nil {
			l.name(r)
		}
	}
	for _, r := range rs {
		if r.Correlation != nil {
			l.link(r)
		}
	}
	l.finish(rs)
}

// name makes a correlation known by its id and its name, which are its own.
func (l *linker) name(r *rules.Rule) {
	for _, name := range []string{r.ID, r.Name} {
		if name == "" {
			continue
		}
		other := l.named[name]
		if d := l.byName[name]; d != nil {
			other = d.Rule
		}
		if other != nil && other != r {
			l.fail(r, r.Line, "the id or name %q is that of the rule at %s:%d, too", name, other.File, other.Line)
			l.links[r] = &link{failed: true}
			return
		}
	}
	l.named[r.ID] = r
	if r.Name != "" {
		l.named[r.Name] = r
	}
}

func (l *linker) link(r *rules.Rule) *link {
	if done := l.links[r]; done != nil {
		return done
	}
	if i := slices.Index(l.path, r); i >= 0 {
		var names []string
		for _, p := range l.path[i:] {
			names = append(names, nameOf(p))
		}
		l.fail(r, r.Correlation.Line, "it refers to itself: %s", strings.Join(append(names, nameOf(r)), " > "))
		l.links[r] = &link{failed: true}
		return l.links[r]
	}
	l.path = append(l.path, r)
	defer func() { l.path = l.path[:len(l.path)-1] }()
	done := &link{def: l.definition(r)}
	ways := l.waysTo(r, done)
	if l.links[r] != nil { // refused as part of a circle
		return l.links[r]
	}
	l.links[r] = done
	if done.failed = ways == nil; done.failed {
		return done
	}
	l.ways[r] = ways
	for _, w := range ways {
		if w.direct {
			d := w.detection
			d.raises = append(d.raises, &CompiledRule{
				Rule: r, Base: d.Rule, Source: d.Source, program: d.program, tree: d.tree, group: w.at.group, counts: w.at,
			})
		}
	}
	for i, ref := range r.Correlation.Rules {
		base := l.named[ref.Rule]
		if d := l.byName[ref.Rule]; d != nil {
			base = d.Rule
		}
		l.served[base] = true
		l.generated[base] = l.generated[base] || r.Correlation.Generate
		done.def.Rules[i].Title = base.Title
		for _, w := range l.ways[base] {
			for _, mine := range ways {
				if mine.detection == w.detection && mine.at.base == i {
					w.at.next = append(w.at.next, mine.at)
				}
			}
		}
	}
	return done
}

// waysTo finds how matches get to the correlation, or says why they cannot and
// returns nil. It changes nothing yet.
func (l *linker) waysTo(r *rules.Rule, done *link) []way {
	c := r.Correlation
	var ways []way
	known := map[string]bool{} // names that aliases may say fields for
	for i, ref := range c.Rules {
		var from []way
		if d := l.byName[ref.Rule]; d != nil {
			from = []way{{detection: d, direct: true}}
		} else if base := l.named[ref.Rule]; base != nil {
			below := l.link(base)
			if below.failed && l.links[r] != nil { // a circle, which is said
				return nil
			}
			if below.failed {
				l.fail(r, ref.Line, "it refers to %q, which cannot be used", ref.Rule)
				return nil
			}
			if done.depth = max(done.depth, below.depth+1); done.depth >= maxChain {
				l.fail(r, ref.Line, "it is the last of a chain of more than %d correlations", maxChain)
				return nil
			}
			for _, w := range l.ways[base] {
				from = append(from, way{detection: w.detection})
			}
			known[base.ID], known[base.Name] = true, true
		} else {
			l.fail(r, ref.Line, "it refers to %q, which is no rule that is loaded%s", ref.Rule, l.titled(ref.Rule))
			return nil
		}
		known[ref.Rule] = true
		for _, w := range from {
			d := w.detection
			known[d.Rule.ID], known[d.Rule.Name] = true, true
			names := []string{ref.Rule, d.Rule.Name, d.Rule.ID}
			if base := l.named[ref.Rule]; base != nil && !w.direct {
				names = append(names, base.Name, base.ID)
			}
			w.at = &counted{rule: r, def: done.def, base: i}
			var err error
			if w.at.group, err = l.fields(c, d, names, c.GroupBy); err != nil {
				l.fail(r, c.Line, "group-by: %v", err)
				return nil
			}
			if w.at.values, err = l.fields(c, d, names, c.Fields); err != nil {
				l.fail(r, c.FieldLine, "condition: field: %v", err)
				return nil
			}
			l.meant(c, r, d)
			l.numbers(r, w.at.values)
			if ways = append(ways, w); len(ways) > maxPaths {
				l.fail(r, c.Line, "detections get to it in more than %d ways", maxPaths)
				return nil
			}
		}
	}
	for alias, of := range c.Aliases {
		for name := range of {
			if !known[name] {
				l.fail(r, c.Line, "aliases: %s says a field for %q, which is none of the rules", alias, name)
				return nil
			}
		}
	}
	return ways
}

// titled says whose title a reference is, which refers to nothing.
func (l *linker) titled(title string) string {
	for _, d := range l.rules {
		if d.Rule.Title == title {
			return fmt.Sprintf("; that is a title: its id is %s", d.Rule.ID)
		}
	}
	return ""
}

// fields are names of group-by or of the condition as fields of the detection's
// log source. An alias must say a field for the rule by one of its names.
func (l *linker) fields(c *rules.Correlation, d *CompiledRule, of, names []string) ([]groupField, error) {
	out := slices.Clone(names)
	for i, n := range names {
		alias, ok := c.Aliases[n]
		if !ok {
			continue
		}
		at := slices.IndexFunc(of, func(name string) bool { return name != "" && alias[name] != "" })
		if at < 0 {
			return nil, fmt.Errorf("the alias %s says no field for the rule %q", n, of[0])
		}
		out[i] = alias[of[at]]
	}
	return groupFields(l.sources[d], out)
}

// meant warns of names that no field of the detection's log source is known by and
// one is almost: all events would be one group, or none would be counted.
func (l *linker) meant(c *rules.Correlation, r *rules.Rule, d *CompiledRule) {
	for _, name := range slices.Concat(c.GroupBy, c.Fields) {
		known := l.sources[d].Meant(name)
		if _, alias := c.Aliases[name]; alias || known == "" {
			continue
		}
		l.warn(r, c.Line, meantText, name, known)
	}
}

// warn says something of a correlation once, however many rules it counts.
func (l *linker) warn(r *rules.Rule, line int, format string, args ...any) {
	p := Problem{File: r.File, Line: line, RuleID: r.ID, Warning: true, Reason: fmt.Sprintf(format, args...)}
	if !slices.Contains(l.problems, p) {
		l.problems = append(l.problems, p)
	}
}

// numbers warns of a field that a correlation computes with and that holds none.
func (l *linker) numbers(r *rules.Rule, values []groupField) {
	c := r.Correlation
	if !c.Type.IsNumeric() {
		return
	}
	for _, v := range values {
		for _, name := range v.fields {
			if f, ok := schemas.LookupField(name); ok && f.Type != schemas.Long && f.Type != schemas.Double {
				l.warn(r, c.FieldLine, "%s of %s, which is of the type %s: what is no number counts nothing", c.Type, v.name, f.Type)
			}
		}
	}
}

func nameOf(r *rules.Rule) string {
	if r.Name != "" {
		return r.Name
	}
	return r.ID
}

func (l *linker) definition(r *rules.Rule) *schemas.Correlation {
	c := r.Correlation
	def := &schemas.Correlation{
		Type: c.Type, Timespan: c.Timespan, Condition: c.Condition, Logic: c.Logic, Percentile: c.Percentile,
		Field: strings.Join(c.Fields, ", "),
	}
	for _, ref := range c.Rules {
		def.Rules = append(def.Rules, schemas.BaseRule{Name: ref.Rule})
	}
	return def
}

// finish decides who alerts. Specification 2.1.0, "Generate": base rules do not
// alert by themselves unless a correlation that refers to them says so.
func (l *linker) finish(rs []*rules.Rule) {
	silent := func(r *rules.Rule) bool { return l.served[r] && !l.generated[r] }
	for _, d := range l.rules {
		if silent(d.Rule) {
			d.raises = slices.DeleteFunc(d.raises, func(c *CompiledRule) bool { return c == d })
		}
	}
	retention := time.Duration(0)
	for _, t := range schemas.Topics() {
		if t.Name == schemas.TopicMatches {
			retention = t.Retention
		}
	}
	for _, r := range rs {
		done := l.links[r]
		if r.Correlation == nil || done == nil || done.failed {
			continue
		}
		done.def.Silent = silent(r)
		done.def.Version = versionOf(done.def, r)
		for _, warning := range []struct {
			when bool
			text string
		}{
			{r.Correlation.Timespan > retention, fmt.Sprintf("its timespan is longer than the %s for which matches are kept: after a restart it counts what is kept", retention)},
			{holdsAtOnce(r.Correlation), fmt.Sprintf("its condition (%s) holds with the first event of every group; a window is looked at when an event comes", done.def.Text())},
		} {
			if warning.when {
				l.warn(r, r.Correlation.Line, "%s", warning.text)
			}
		}
	}
}

// holdsAtOnce says that a count's upper bound is all that it asks for.
func holdsAtOnce(c *rules.Correlation) bool {
	return !c.Type.IsNumeric() && c.Logic == "" && schemas.AllHold(c.Condition, 1) &&
		slices.ContainsFunc(c.Condition, func(cmp schemas.Comparison) bool { return cmp.Op != "gte" && cmp.Op != "gt" })
}

// versionOf tells one state of a correlation from another: what was counted by
// one says nothing to the next.
func versionOf(def *schemas.Correlation, r *rules.Rule) string {
	text, err := json.Marshal(struct {
		Def    *schemas.Correlation
		Group  []string
		Fields []string
		Alias  map[string]map[string]string
	}{def, r.Correlation.GroupBy, r.Correlation.Fields, r.Correlation.Aliases})
	if err != nil {
		panic(fmt.Sprintf("match: encoding a correlation: %v", err)) // strings and finite numbers only
	}
	return strconv.FormatUint(xxhash.Sum64(text), 36)
}

// each calls yield for the rule and what counts it in turn, with the fields by
// which its alerts are grouped; silent says that it raises none.
func (r *CompiledRule) each(yield func(rule *rules.Rule, group []groupField, silent bool)) {
	if r.counts == nil {
		yield(r.Rule, r.group, false)
		return
	}
	var walk func(*counted)
	walk = func(c *counted) {
		yield(c.rule, c.group, c.def.Silent)
		for _, n := range c.next {
			walk(n)
		}
	}
	walk(r.counts)
}

// LongestTimespan is that of the correlations: how much of the matches must be
// known to count rightly.
func (e *Engine) LongestTimespan() time.Duration {
	longest := time.Duration(0)
	for _, c := range e.rules {
		for _, as := range c.raises {
			as.each(func(rule *rules.Rule, _ []groupField, _ bool) {
				if rule.Correlation != nil {
					longest = max(longest, rule.Correlation.Timespan)
				}
			})
		}
	}
	return longest
}

// fill puts into a match what the correlation needs to count it.
func (c *counted) fill(m *schemas.Match, ev *schemas.Event) {
	m.Rule = schemas.Rule{ID: c.rule.ID, Title: c.rule.Title, Level: c.rule.Level, Tags: c.rule.Tags}
	m.Quiet = c.rule.Alerting.Quiet
	m.Correlation, m.Base = c.def, c.base
	if len(c.group) > 0 {
		m.Group = make([]schemas.GroupValue, len(c.group))
	}
	for i, f := range c.group { // a missing value is a group of its own
		m.Group[i] = schemas.GroupValue{Field: f.name, Value: distinctText(firstText(ev, f.fields))}
	}
	switch {
	case c.def.Type == schemas.ValueCount:
		m.Values = c.texts(ev)
	case c.def.Type.IsNumeric():
		m.Numbers = c.numbers(ev)
	}
	for _, n := range c.next {
		next := schemas.Match{From: c.rule.ID}
		n.fill(&next, ev)
		m.Next = append(m.Next, next)
	}
}

// texts are the values that value_count counts: each of a field's, or what
// several fields hold together. An event without any counts for nothing.
func (c *counted) texts(ev *schemas.Event) []string {
	if len(c.values) == 1 {
		all := fieldTexts(ev, c.values[0].fields)
		all = all[:min(len(all), maxCounted)]
		for i, t := range all {
			all[i] = distinctText(t)
		}
		return all
	}
	var parts []string
	some := false
	for _, f := range c.values {
		t := firstText(ev, f.fields)
		some = some || t != ""
		parts = append(parts, distinctText(t))
	}
	if !some {
		return nil
	}
	return []string{strings.Join(parts, "\x1f")}
}

// distinctText bounds a value without making two values one.
func distinctText(t string) string {
	if len(t) <= maxValue {
		return t
	}
	return cut(t, maxValue) + strconv.FormatUint(xxhash.Sum64String(t), 36)
}

// numbers are the finite numbers of the field; what is no number counts for
// nothing.
func (c *counted) numbers(ev *schemas.Event) []float64 {
	var out []float64
	for _, t := range fieldTexts(ev, c.values[0].fields) {
		v, err := strconv.ParseFloat(strings.TrimSpace(t), 64)
		if err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) && len(out) < maxCounted {
			out = append(out, v)
		}
	}
	return out
}
