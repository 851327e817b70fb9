package tune

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/match"
	"fengsui/internal/directory"
	"fengsui/rules"
	"fengsui/rules/tuning"
	"fengsui/schemas"
)

const someRules = `title: login failed
id: base
name: failed
level: informational
logsource: {product: linux, service: sshd}
detection:
  selection: {event.action: ssh_login, event.outcome: failure}
  condition: selection
---
title: brute force
id: many
level: high
tags: [attack.t1110]
correlation: {type: event_count, rules: [failed], group-by: [source.ip, host.name], timespan: 1m, condition: {gte: 5}}
---
title: chain
id: chain
level: high
correlation: {type: event_count, rules: [many], group-by: [source.ip], timespan: 1h, condition: {gte: 2}}
---
title: root
id: root
level: low
tags: [attack.t1078]
logsource: {product: linux, service: sshd}
detection:
  selection: {event.action: ssh_login, user.name: root}
  condition: selection
---
title: scanner
id: web
level: medium
logsource: {category: webserver}
detection:
  selection: {cs-method: SEARCH}
  condition: selection
`

var units = func() *directory.Snapshot {
	s, err := directory.NewSnapshot([]schemas.Unit{
		{Code: "1", Name: "province", Level: "province"},
		{Code: "10", Name: "university", Level: "university", Parent: "1"},
		{Code: "101", Name: "faculty", Level: "university", Parent: "10"},
		{Code: "20", Name: "other", Level: "university", Parent: "1"},
	}, nil, nil, nil)
	if err != nil {
		panic(err)
	}
	return s
}()

func compile(t *testing.T, text string) (*match.Engine, *Tuner, []string) {
	t.Helper()
	rs, errs := rules.Parse("rules.yml", []byte(someRules))
	for _, e := range errs {
		t.Fatal(e)
	}
	engine, problems := match.Compile(rs, match.Options{})
	for _, p := range problems {
		if !p.Warning {
			t.Fatal(p)
		}
	}
	read, errs := tuning.Parse("t.yml", []byte(text), time.UTC)
	for _, e := range errs {
		t.Fatal(e)
	}
	tuner, problems := Compile(read, rs, engine, match.Options{})
	var said []string
	for _, p := range problems {
		word := "problem "
		if p.Warning {
			word = "warning "
		}
		said = append(said, word+p.String())
	}
	return engine, tuner, said
}

func decode(at, fields string) *schemas.Event {
	ev, err := rules.DecodeEvent([]byte(`{"@timestamp":"` + at + `","event.provider":"sshd","process.name":"sshd","event.action":"ssh_login",` + fields + `}`))
	if err != nil {
		panic(err)
	}
	ev.Stream, ev.Seq = "s", 1
	return ev
}

// TestExceptions says which of an event's matches an exception takes away.
func TestExceptions(t *testing.T) {
	const (
		day   = "2026-03-01T08:00:00Z"
		event = `"event.outcome":"failure","user.name":"root","source.ip":"192.0.2.7","host.name":"WEB-1","host.ip":["10.1.2.3"],"organization.id":"101"`
	)
	f := func(entry string, want ...string) {
		t.Helper()
		engine, tuner, said := compile(t, "exceptions: [{"+entry+", who: li, why: tested}]")
		for _, s := range said {
			if strings.HasPrefix(s, "problem") {
				t.Error(s)
			}
		}
		var got []string
		ev := decode(day, event)
		engine.Match(ev, func(h match.Hit) {
			m := h.ToMatch(ev)
			if tuner.Excepted(h, &m, ev, units) == nil {
				got = append(got, m.Rule.ID)
			}
		})
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: left over are %v, want %v", entry, got, want)
		}
	}
	f("rule: nobody", "many", "root")
	f("rule: root", "many")
	f("rule: many", "root")
	f("rule: base", "root") // a correlation does not count it either
	f("rule: failed", "root")
	f("rule: [many, root]")
	f(`rule: "*"`)
	f("tag: attack.t1078", "many")
	f("level: [low, high]")
	f("level: low, tag: attack.t1110", "many", "root")
	// Units, and those below them.
	f("rule: root, unit: '101'", "many")
	f("rule: root, unit: '10'", "many")
	f("rule: root, unit: '1'", "many")
	f("rule: root, unit: '20'", "many", "root")
	// Hosts by name, address and network.
	f("rule: root, host: web-*", "many")
	f("rule: root, host: [db-*, 'Web-?']", "many")
	f("rule: root, host: db-*", "many", "root")
	f("rule: root, host: 10.1.2.3", "many")
	f("rule: root, host: 10.1.0.0/16", "many")
	f("rule: root, host: '::ffff:10.1.0.0/112'", "many")
	f("rule: root, host: 192.0.2.0/24", "many", "root") // who attacked is not where it happened
	// Field values, in Sigma's words.
	f("rule: root, when: {source.ip: 192.0.2.7}", "many")
	f("rule: root, when: {source.ip|cidr: 192.0.2.0/24, user.name|startswith: ro}", "many")
	f("rule: root, when: {source.ip|cidr: 192.0.2.0/24, user.name|startswith: no}", "many", "root")
	f("rule: root, when: [{user.name: nobody}, {user.name|re: '^r..t$'}]", "many")
	f("rule: many, when: {source.ip: 192.0.2.7}", "root")
	f(`rule: "*", when: {source.ip: 192.0.2.7}`)
	f(`rule: "*", when: {source.ip: 192.0.2.8}`, "many", "root")
	// Until when, by the event's time: a date ends with its day.
	f("rule: root, until: 2026-03-01", "many")
	f("rule: root, until: 2026-02-28", "many", "root")
	f("rule: root, until: '2026-03-01T08:00:00Z'", "many", "root")
	f("rule: root, until: '2026-03-01T16:00:01+08:00'", "many")
	// All of it together.
	f("rule: root, unit: '1', host: web-1, when: {user.name: root}, until: 2026-12-31", "many")
	f("rule: root, unit: '1', host: web-2, when: {user.name: root}, until: 2026-12-31", "many", "root")
}

// TestProblems: an entry that would do nothing is named.
func TestProblems(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		_, _, got := compile(t, text)
		if len(got) != len(want) {
			t.Fatalf("%s:\n%s\nwant\n%s", text, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s:\n%s\nwant %s", text, got[i], want[i])
			}
		}
	}
	const signed = ", who: li, why: x}"
	f("exceptions:\n- {rule: [root, gone]"+signed, `warning t.yml:2: no rule that is loaded has the id or name "gone"`)
	f("exceptions:\n- {tag: attack.t9999"+signed, "warning t.yml:2: no rule that is loaded has such a tag and level")
	f("exceptions:\n- {rule: root, when: {source.ipp: a}"+signed, `problem t.yml:2: when, on log source linux/*/sshd: source.ipp: unknown field "source.ipp"; did you mean "source.ip"?`)
	f("exceptions:\n- {rule: root, when: {source.ip|begins: a}"+signed, "problem t.yml:2: when, on log source linux/*/sshd: source.ip|begins: ")
	f("exceptions:\n- {rule: root, host: 'a/b'"+signed, `problem t.yml:2: host: "a/b" is no name`)
	f("exceptions:\n- {rule: chain"+signed, "problem t.yml:2: the rule chain counts the correlation many, not events")
	f("throttle:\n- {rule: many, fields: [user.name], at_most: 1, per: 1h"+signed, `problem t.yml:2: "user.name" is not of what alerts of the rule many are grouped by: source.ip, host.name`)
	f("throttle:\n- {rule: many, at_most: 1, per: 1h"+signed+"\n- {rule: many, at_most: 2, per: 1h"+signed, "problem t.yml:3: the rule many is throttled at t.yml:2 already, without an end")
	f("severity:\n- {rule: gone, level: low"+signed, `warning t.yml:2: no rule that is loaded has the id or name "gone"`)

	_, tuner, _ := compile(t, "exceptions:\n- {rule: root, until: 2026-03-01"+signed+"\n- {rule: root"+signed)
	if got := tuner.Expired(time.Date(2026, 3, 1, 23, 59, 59, 0, time.UTC)); len(got) != 0 {
		t.Error(got)
	}
	if got := tuner.Expired(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)); len(got) != 1 || got[0].Line != 2 {
		t.Error(got)
	}
}

// TestSeverity: the entry of the unit furthest down decides.
func TestSeverity(t *testing.T) {
	const signed = ", who: li, why: x}\n"
	_, tuner, _ := compile(t, "severity:\n- {rule: root, unit: '10', level: high"+signed+"- {rule: root, level: medium"+signed+
		"- {rule: root, unit: '1', level: critical, until: 2026-03-01"+signed)
	f := func(unit string, at int, want schemas.Level) {
		t.Helper()
		// An alert from before a restart has the level that it was written with.
		r := schemas.Rule{ID: "root", Level: "informational"}
		if got := tuner.Level(&r, unit, time.Date(2026, 3, at, 8, 0, 0, 0, time.UTC), units); got != want {
			t.Errorf("unit %q: %s, want %s", unit, got, want)
		}
	}
	f("", 1, schemas.Medium)
	f("20", 1, schemas.Critical)
	f("20", 2, schemas.Medium)
	f("10", 1, schemas.High)
	f("101", 1, schemas.High)
	if got := tuner.Level(&schemas.Rule{ID: "web", Level: "high"}, "10", time.Time{}, units); got != schemas.Medium {
		t.Errorf("without an entry it is %s, not the rule's", got)
	}
}

// TestThrottle: at most two alerts of an address within an hour; the others are
// counted in the last.
func TestThrottle(t *testing.T) {
	_, tuner, said := compile(t, "throttle: [{rule: many, fields: [source.ip], at_most: 2, per: 1h, who: li, why: x}]")
	if len(said) > 0 {
		t.Fatal(said)
	}
	gate := NewGate()
	begin := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	var offset int64
	alert := func(ip, host string, minute int) *schemas.Alert {
		offset++
		return &schemas.Alert{
			ID: fmt.Sprint(ip, host), Version: 1, Kind: schemas.AlertRule, Rule: schemas.Rule{ID: "many", Level: schemas.High},
			Group: []schemas.GroupValue{{Field: "source.ip", Value: ip}, {Field: "host.name", Value: host}},
			First: begin.Add(time.Duration(minute) * time.Minute), Offset: offset, Count: 1,
		}
	}
	f := func(a *schemas.Alert, id string, suppressed uint64) *schemas.Alert {
		t.Helper()
		out, by := gate.Pass(tuner, a, units)
		switch {
		case out == nil && id != "" || out != nil && (out.ID != id || out.Suppressed != suppressed):
			t.Errorf("%s: %+v", a.ID, out)
		case (by != nil) != (id != a.ID && !(id == "" && a.Version > 1)):
			t.Errorf("%s: suppressed by %v", a.ID, by)
		}
		return out
	}
	f(alert("a", "1", 0), "a1", 0)
	second := alert("a", "2", 1)
	f(second, "a2", 0)
	third := alert("a", "3", 2)
	f(third, "a2", 1)
	f(alert("b", "3", 2), "b3", 0) // another address
	third.Version, third.Count = 2, 9
	f(third, "", 0) // more of what is suppressed is no other alert
	last := f(alert("a", "4", 30), "a2", 2)
	if last.Version != 3 || last.Count != 1 {
		t.Errorf("%+v", last)
	}
	// More matches of the alert that counts them.
	second.Version, second.Count, second.Offset = 2, 7, 99
	joined := f(second, "a2", 2)
	if joined.Version != 4 || joined.Count != 7 || joined.Offset != 99 {
		t.Errorf("%+v", joined)
	}
	offset = 100
	f(alert("a", "5", 60), "a5", 0) // the first is an hour ago

	// After a restart, with what was written, the same records change nothing.
	gate = NewGate()
	gate.Seed(tuner, []schemas.Alert{*alert("a", "1", 0), *joined})
	again := alert("a", "4", 30)
	again.Offset = 6
	if out, by := gate.Pass(tuner, again, units); out != nil || by == nil {
		t.Errorf("%+v, %v", out, by)
	}
	if out := f(alert("a", "6", 31), "a2", 3); out.Version <= joined.Version {
		t.Errorf("version %d after %d", out.Version, joined.Version)
	}
}

// TestThrottleEnds: a bound that has ended makes room for the next one.
func TestThrottleEnds(t *testing.T) {
	_, tuner, said := compile(t, "throttle:\n- {rule: many, at_most: 1, per: 1h, until: '2026-03-01T08:00:00Z', who: li, why: x}\n- {rule: many, fields: [source.ip], at_most: 2, per: 1h, who: li, why: x}")
	if len(said) > 0 {
		t.Fatal(said)
	}
	gate := NewGate()
	f := func(id, at string, passes bool) {
		t.Helper()
		first, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		a := &schemas.Alert{ID: id, Version: 1, Kind: schemas.AlertRule, Rule: schemas.Rule{ID: "many", Level: schemas.High}, Group: []schemas.GroupValue{{Field: "source.ip", Value: "a"}}, First: first, Count: 1}
		if out, _ := gate.Pass(tuner, a, units); (out != nil && out.ID == id) != passes {
			t.Errorf("%s: %+v", id, out)
		}
	}
	f("1", "2026-03-01T07:30:00Z", true)
	f("2", "2026-03-01T07:40:00Z", false)
	f("3", "2026-03-01T08:00:00Z", true)
	f("4", "2026-03-01T08:01:00Z", true)
	f("5", "2026-03-01T08:02:00Z", false)
	key := func(at time.Time) string {
		return tuner.RecordKey(&schemas.Match{Kind: schemas.MatchRule, Rule: schemas.Rule{ID: "many"}, Time: at, Group: []schemas.GroupValue{{Field: "source.ip", Value: "a"}}})
	}
	end := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	if before, after := key(end.Add(-1)), key(end); before != "many" || after != "many\x1fa" {
		t.Errorf("keys %q and %q", before, after)
	}
}

// TestThrottleUnits: a bound for each unit keeps nothing from the others.
func TestThrottleUnits(t *testing.T) {
	_, tuner, said := compile(t, "throttle: [{rule: root, fields: [organization.id], at_most: 1, per: 1h, who: li, why: x}]")
	if len(said) > 0 {
		t.Fatal(said)
	}
	if _, _, said := compile(t, "throttle: [{rule: many, fields: [organization.id], at_most: 1, per: 1h, who: li, why: x}]"); len(said) != 1 {
		t.Errorf("a correlation that counts over units: %v", said)
	}
	gate := NewGate()
	f := func(unit, host string, passes bool) {
		t.Helper()
		out, _ := gate.Pass(tuner, &schemas.Alert{
			ID: unit + host, Version: 1, Kind: schemas.AlertRule, Rule: schemas.Rule{ID: "root"}, Unit: unit,
			Group: []schemas.GroupValue{{Field: "host.name", Value: host}}, First: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
		}, units)
		if got := out != nil && out.ID == unit+host; got != passes {
			t.Errorf("%s %s passes: %v", unit, host, got)
		}
	}
	f("10", "a", true)
	f("10", "b", false)
	f("20", "b", true)
	m := func(unit, host string) string {
		return tuner.RecordKey(&schemas.Match{Kind: schemas.MatchRule, Rule: schemas.Rule{ID: "root"}, Unit: unit, Group: []schemas.GroupValue{{Field: "host.name", Value: host}}})
	}
	if m("10", "a") != m("10", "b") || m("10", "a") == m("20", "a") {
		t.Error("throttled by unit, and the key is not the unit's")
	}
}

// TestRecordKey: what one bound counts lies in one partition.
func TestRecordKey(t *testing.T) {
	_, tuner, _ := compile(t, "throttle: [{rule: many, fields: [source.ip], at_most: 2, per: 1h, who: li, why: x}]")
	m := func(rule, ip, host string) *schemas.Match {
		return &schemas.Match{Kind: schemas.MatchRule, Rule: schemas.Rule{ID: rule}, Group: []schemas.GroupValue{{Field: "source.ip", Value: ip}, {Field: "host.name", Value: host}}}
	}
	if tuner.RecordKey(m("many", "a", "1")) != tuner.RecordKey(m("many", "a", "2")) || tuner.RecordKey(m("many", "a", "1")) == tuner.RecordKey(m("many", "b", "1")) {
		t.Error("throttled by address, and the key is not the address's")
	}
	if x := m("root", "a", "1"); tuner.RecordKey(x) != x.Key() || (*Tuner)(nil).RecordKey(x) != x.Key() {
		t.Error("without a bound the key is the match's own")
	}
}
