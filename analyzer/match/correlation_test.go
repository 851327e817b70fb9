package match

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/rules"
	"fengsui/schemas"
)

// base is a detection of a name over events of one action.
func base(name string) string {
	return "---\ntitle: the " + name + "\nid: id-" + name + "\nname: " + name + "\nlogsource: {product: fengsui}\ndetection: {s: {event.action: " + name + "}, condition: s}\n"
}

func correlation(name, body string) string {
	return "---\ntitle: " + name + "\nid: id-" + name + "\nname: " + name + "\ncorrelation:\n  " + strings.ReplaceAll(body, "\n", "\n  ") + "\n"
}

// said is a match in one line: what it is of, its group, and what counts.
func said(m *schemas.Match) string {
	s := strings.TrimPrefix(m.Rule.ID, "id-")
	for _, g := range m.Group {
		s += " " + g.Field + "=" + g.Value
	}
	if c := m.Correlation; c != nil {
		s += fmt.Sprintf(" %s %d/%d", c.Type, m.Base, len(c.Rules))
		if c.Silent {
			s += " silent"
		}
	}
	for _, v := range m.Values {
		s += fmt.Sprintf(" %q", v)
	}
	for _, v := range m.Numbers {
		s += fmt.Sprint(" ", v)
	}
	for i := range m.Next {
		s += " > [" + said(&m.Next[i]) + "]"
	}
	return s
}

// What an event counts for, and with what.
func TestCorrelation(t *testing.T) {
	f := func(text, fields string, want ...string) {
		t.Helper()
		e, problems := Compile(parseRules(t, text), Options{})
		for _, p := range problems {
			t.Fatal(p)
		}
		ev := event(t, fields)
		var got []string
		ids := map[string]bool{}
		e.Match(ev, func(h Hit) {
			m := h.ToMatch(ev)
			got = append(got, said(&m))
			if ids[m.ID()] {
				t.Errorf("two matches of the id %s", m.ID())
			}
			ids[m.ID()] = true
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", fields, diff)
		}
		compareWithOracle(t, e, ev, func() string { return fields })
	}
	const count = "type: event_count\nrules: [a]\ngroup-by: [source.ip, host.name]\ntimespan: 5m\ncondition: {gte: 10}"
	const a, b = `{"event.action":"a","source.ip":"10.0.0.1"}`, `{"event.action":"b","source.ip":"10.0.0.1","user.name":"u","destination.bytes":7}`
	many := "c source.ip=10.0.0.1 host.name= event_count 0/1"
	alone := "a source.ip=10.0.0.1"
	f(base("a"), a, alone)
	f(base("a")+correlation("c", count), a, many)
	f(base("a")+correlation("c", count), b)
	// "Generate": base rules do not alert by themselves unless it says so.
	f(base("a")+correlation("c", count+"\ngenerate: true"), a, alone, many)
	f(base("a")+correlation("c", count)+correlation("d", count), a, many, "d"+many[1:])
	f(base("a")+correlation("c", count+"\ngenerate: true")+correlation("d", count), a, alone, many, "d"+many[1:])
	// By id as well as by name; the order in which they are written says nothing.
	f(correlation("c", strings.Replace(count, "[a]", "[id-a]", 1))+base("a"), a, many)

	// What is counted.
	value := "type: value_count\nrules: [b]\ngroup-by: [source.ip]\ntimespan: 5m\ncondition: {field: %s, gte: 10}"
	f(base("b")+correlation("c", fmt.Sprintf(value, "user.name")), b, `c source.ip=10.0.0.1 value_count 0/1 "u"`)
	f(base("b")+correlation("c", fmt.Sprintf(value, "[user.name, host.name]")), b, `c source.ip=10.0.0.1 value_count 0/1 "u\x1f"`)
	f(base("b")+correlation("c", fmt.Sprintf(value, "host.name")), b, `c source.ip=10.0.0.1 value_count 0/1`)
	f(base("b")+correlation("c", fmt.Sprintf(value, "dns.answers.data")), `{"event.action":"b","dns.answers.data":["x","y"]}`, `c source.ip= value_count 0/1 "x" "y"`)
	f(base("b")+correlation("c", strings.Replace(fmt.Sprintf(value, "destination.bytes"), "value_count", "value_sum", 1)), b, `c source.ip=10.0.0.1 value_sum 0/1 7`)
	f(base("b")+correlation("c", strings.Replace(fmt.Sprintf(value, "winlog.event_data.Size"), "value_count", "value_avg", 1)), `{"event.action":"b","source.ip":"10.0.0.1","winlog.event_data.Size":"u"}`, `c source.ip=10.0.0.1 value_avg 0/1`)

	// One event that several base rules match counts once, but for the types that
	// ask which of them were met. An alias gives each its own field.
	both := base("a") + strings.Replace(base("b"), "event.action: b", "event.action: a", 1)
	alias := "rules: [a, b]\ngroup-by: [who]\naliases: {who: {a: source.ip, id-b: user.name}}\ntimespan: 5m\n"
	f(both+correlation("c", "type: event_count\n"+alias+"condition: {eq: 2}"), a, "c source.ip=10.0.0.1 event_count 0/2")
	f(both+correlation("c", "type: temporal_ordered\n"+alias), a, "c source.ip=10.0.0.1 temporal_ordered 0/2", "c user.name= temporal_ordered 1/2")

	// Chains: a match brings along what it becomes. "Even if the rule
	// many_failed_logins groups by the ComputerName field, the correlation rule
	// only uses its own group-by".
	chain := correlation("then", "type: temporal_ordered\nrules: [c, b]\ngroup-by: [user.name]\ntimespan: 1h") + base("a") + correlation("c", count) + base("b")
	f(chain, `{"event.action":"a","source.ip":"10.0.0.1","user.name":"u"}`, many+" silent > [then user.name=u temporal_ordered 0/2]")
	f(chain, b, "then user.name=u temporal_ordered 1/2")
	f(chain+correlation("third", "type: event_count\nrules: [then]\ntimespan: 1d\ncondition: {gte: 3}\ngenerate: true"), b,
		"then user.name=u temporal_ordered 1/2 > [third event_count 0/1]")
}

// What a correlation cannot use is said with its line and why.
func TestCorrelationProblems(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		rs, errs := rules.Parse("r.yml", []byte(text))
		for _, e := range errs {
			t.Fatal(e)
		}
		_, problems := Compile(rs, Options{})
		var got []string
		for _, p := range problems {
			got = append(got, fmt.Sprint(p.Warning, " ", p))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
	count := func(rules, more string) string {
		return "type: event_count\nrules: " + rules + "\ntimespan: 5m\ncondition: {gte: 10}" + more
	}
	f(correlation("c", count("[nobody]", "")), `false r.yml:7: rule id-c: it refers to "nobody", which is no rule that is loaded`)
	f(base("a")+correlation("c", count("[a]", "\ngroup-by: [sorce.ip]")), `false r.yml:12: rule id-c: group-by: unknown field "sorce.ip"; did you mean "source.ip"?`)
	f(base("a")+correlation("c", "type: value_count\nrules: [a]\ntimespan: 5m\ncondition:\n  field: user.nam\n  gte: 10"),
		`false r.yml:16: rule id-c: condition: field: unknown field "user.nam"; did you mean "user.name"?`)
	sum := "type: value_sum\nrules: [a]\ntimespan: 5m\ncondition:\n  field: %s\n  gte: 10"
	f(base("a")+correlation("c", fmt.Sprintf(sum, "user.name")), `true r.yml:16: rule id-c: value_sum of user.name, which is of the type keyword: what is no number counts nothing`)
	f(base("a") + correlation("c", fmt.Sprintf(sum, "network.bytes")))
	f(base("a") + correlation("c", fmt.Sprintf(sum, "winlog.event_data.Size"))) // which may be one
	f(base("a")+base("b")+correlation("c", count("[a, b]", "\ngroup-by: [x]\naliases: {x: {a: user.name}}")), `false r.yml:18: rule id-c: group-by: the alias x says no field for the rule "b"`)
	f(base("a")+correlation("c", count("[a]", "\naliases: {x: {b: user.name}}")), `false r.yml:12: rule id-c: aliases: x says a field for "b", which is none of the rules`)
	f(base("a")+correlation("a", count("[a]", "")), `false r.yml:8: rule id-a: the id or name "id-a" is that of the rule at r.yml:2, too`)
	// Circles are refused by name; what leans on one cannot be used either.
	f(correlation("c", count("[d]", ""))+correlation("d", count("[c]", "")),
		`false r.yml:6: rule id-c: it refers to itself: c > d > c`, `false r.yml:16: rule id-d: it refers to "c", which cannot be used`)
	f(correlation("c", count("[c]", "")), `false r.yml:6: rule id-c: it refers to itself: c > c`)
	long := base("a") + correlation("c1", count("[a]", ""))
	for i := 2; i <= 9; i++ {
		long += correlation(fmt.Sprint("c", i), count(fmt.Sprintf("[c%d]", i-1), ""))
	}
	f(long, `false r.yml:85: rule id-c9: it is the last of a chain of more than 8 correlations`)
	f(base("a")+correlation("c", strings.Replace(count("[a]", ""), "gte", "lt", 1)),
		`true r.yml:12: rule id-c: its condition (lt 10) holds with the first event of every group; a window is looked at when an event comes`)
	f(base("a")+correlation("c", strings.Replace(count("[a]", ""), "5m", "8d", 1)),
		`true r.yml:12: rule id-c: its timespan is longer than the 168h0m0s for which matches are kept: after a restart it counts what is kept`)
}

// A match says all that counting it needs, in JSON as in memory, and another
// version of the rule is told from it.
func TestMatchIsSelfContained(t *testing.T) {
	text := base("a") + base("b") + correlation("c", "type: value_count\nrules: [a, b]\ngroup-by: [source.ip]\ntimespan: 5m\ncondition: {field: user.name, gt: 3, lte: 9}")
	of := func(text string) schemas.Match {
		e, problems := Compile(parseRules(t, text), Options{})
		for _, p := range problems {
			t.Fatal(p)
		}
		ev := event(t, `{"event.action":"b","user.name":"u"}`)
		var m schemas.Match
		e.Match(ev, func(h Hit) { m = h.ToMatch(ev) })
		if e.LongestTimespan() != m.Correlation.Timespan {
			t.Errorf("the longest timespan is %s", e.LongestTimespan())
		}
		return m
	}
	m := of(text)
	want := &schemas.Correlation{
		Type: schemas.ValueCount, Timespan: 5 * time.Minute, Condition: []schemas.Comparison{{Op: "gt", Value: 3}, {Op: "lte", Value: 9}},
		Field: "user.name", Rules: []schemas.BaseRule{{Name: "a", Title: "the a"}, {Name: "b", Title: "the b"}}, Version: m.Correlation.Version,
	}
	if diff := cmp.Diff(want, m.Correlation); diff != "" {
		t.Error(diff)
	}
	line, err := json.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	var back schemas.Match
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, back); diff != "" {
		t.Error(diff)
	}
	for _, other := range []string{strings.Replace(text, "5m", "6m", 1), strings.Replace(text, "field: user.name", "field: host.name", 1), strings.Replace(text, "source.ip", "host.name", 1)} {
		if of(other).Correlation.Version == m.Correlation.Version {
			t.Errorf("the same version of\n%s", other)
		}
	}
}

// Two values are two groups, however long they are and however late they differ.
func TestLongGroups(t *testing.T) {
	e, problems := Compile(parseRules(t, `title: t
id: r1
name: base
logsource: {product: fengsui}
detection: {s: {url.path|startswith: /}, condition: s}
fengsui: {group: [url.path]}
---
title: c
id: c
correlation: {type: event_count, rules: [base], group-by: [url.path], timespan: 1m, condition: {gte: 2}, generate: true}
`), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	groups := map[string]bool{}
	for _, end := range []string{"a", "b"} {
		e.Match(event(t, `{"url.path":"/`+strings.Repeat("x", 2*maxValue)+end+`"}`), func(h Hit) {
			m := h.ToMatch(event(t, `{"url.path":"/`+strings.Repeat("x", 2*maxValue)+end+`"}`))
			groups[m.Rule.ID+m.Group[0].Value] = true
		})
	}
	if len(groups) != 4 {
		t.Errorf("two paths are %d groups of two rules, want 4", len(groups))
	}
}
