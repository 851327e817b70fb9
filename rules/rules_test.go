package rules

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

func TestParse(t *testing.T) {
	rs, errs := Parse("a.yml", []byte(`
title: base
id: b1
name: base_rule
level: low
tags: [attack.t1110]
logsource: {product: Linux, service: sshd, definition: any}
detection:
  two: {a: 1}
  one: [x, y]
  condition: one and two
custom: anything
fengsui: {group: [host.name], quiet: 2h}
---
---
title: broken
id: x1
level: severe
---
title: many
id: c1
correlation:
  type: event_count
  rules: [base_rule]
  group-by: [source.ip]
  timespan: 90m
  condition: {gt: 9}
generate: true
`))
	want := []*Rule{
		{
			File: "a.yml", Line: 2, ID: "b1", Name: "base_rule", Title: "base", Level: schemas.Low, Tags: []string{"attack.t1110"},
			LogSource: LogSource{Product: "linux", Service: "sshd", Line: 7},
			Detection: &Detection{Selections: []Selection{{Name: "two", Line: 9}, {Name: "one", Line: 10}}, Conditions: []Condition{{"one and two", 11}}},
			Alerting:  Alerting{Group: []string{"host.name"}, Quiet: 2 * time.Hour},
		},
		{
			File: "a.yml", Line: 20, ID: "c1", Title: "many", Level: schemas.Medium,
			Correlation: &Correlation{
				Type: schemas.EventCount, Rules: []Reference{{"base_rule", 24}}, GroupBy: []string{"source.ip"},
				Timespan: 90 * time.Minute, Condition: []schemas.Comparison{{Op: "gt", Value: 9}}, Generate: true, Line: 23, FieldLine: 27,
			},
		},
	}
	nodes := cmp.FilterValues(func(_, _ *yaml.Node) bool { return true }, cmp.Ignore())
	if diff := cmp.Diff(want, rs, nodes); diff != "" {
		t.Error(diff)
	}
	if len(errs) != 1 || errs[0].Error() != `a.yml:18: rule x1: "severe" is none of informational, low, medium, high, critical` {
		t.Errorf("errors %v", errs)
	}
}

// YAML's merge key brings in what a map has not; a rule may say the rest.
func TestMerge(t *testing.T) {
	rs, errs := Parse("a.yml", []byte(`
title: t
id: r
logsource: &l {product: x, service: s}
detection: {s: {a: b}, condition: s}
---
title: u
id: q
logsource: {<<: [{product: y}, {product: z, category: c}], service: t}
detection: {s: {a: b}, condition: s}
`))
	if len(errs) > 0 || len(rs) != 2 || rs[1].LogSource.String() != "y/c/t" {
		t.Fatal(rs, errs)
	}
	f := func(text, want string) {
		t.Helper()
		if _, errs := Parse("a.yml", []byte("title: t\nid: r\n"+text)); len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("%v, want %s", errs, want)
		}
	}
	const body = "detection: {s: {a: b}, condition: s}\n"
	f("logsource: {<<: x}\n"+body, "a.yml:3: rule r: << needs a map, or a list of maps")
	f("logsource: &a {<<: *a}\n"+body, "a.yml:3: rule r: << merges too much")
	f("logsource: {<<: {product: x}, service: a, service: b}\n"+body, `a.yml:3: rule r: key "service" is said twice`)
}

// What is wrong is said with its line, and never passed over.
func TestParseErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		rs, errs := Parse("a.yml", []byte(text))
		if len(rs) != 0 || len(errs) != 1 || errs[0].Error() != want {
			t.Errorf("got %d rules and %v, want %s", len(rs), errs, want)
		}
	}
	const ok = "title: t\nid: r\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: s}\n"
	const corr = "title: t\nid: r\ncorrelation:\n  type: event_count\n  rules: [a]\n  timespan: 5m\n"
	f("id: r", "a.yml:1: rule r: title is missing")
	f("[a, b]", "a.yml:1: a map is needed here")
	f("title: t", "a.yml:1: rule title-e3b98a4da31a: detection is missing")
	f("title: t\nid: a b\n", `a.yml:1: rule a b: id "a b" has a space, a slash or a control character`)
	f("title: t\nid: r\nlogsource: {product: x}", "a.yml:1: rule r: detection is missing")
	f("title: t\nid: r\ndetection: {s: {a: b}, condition: s}", "a.yml:1: rule r: logsource is missing")
	f("title: t\nid: r\nlogsource: {}\ndetection: {s: {a: b}, condition: s}", "a.yml:3: rule r: logsource names no product, category or service")
	f("title: t\nid: r\nlogsource: {prodct: x}\ndetection: {s: {a: b}, condition: s}", `a.yml:3: rule r: logsource: unknown key "prodct"; did you mean "product"?`)
	f("title: t\nid: r\nlogsource: {product: x}\ndetection: {s: {a: b}}", "a.yml:4: rule r: detection: condition is missing")
	f("title: t\nid: r\nlogsource: {product: x}\ndetection: {condition: s}", "a.yml:4: rule r: detection: no selection")
	f(ok+"title: u\n", `a.yml:5: rule r: key "title" is said twice`)
	f(ok+"levle: high\n", `a.yml:5: rule r: unknown key "levle"; did you mean "level"?`)
	f(ok+"status: [a]\n", "a.yml:5: rule r: a text is needed here")
	f(ok+"action: global\n", "a.yml:5: rule r: action (Sigma 1's document collections) is not supported; write each rule out")
	f(ok+"fengsui: {quiet: soon}\n", `a.yml:5: rule r: "soon" is not a time span such as 30s, 5m, 1h or 7d`)
	f(ok+"correlation: {type: event_count}\n", "a.yml:5: rule r: a document is a detection or a correlation, not both")
	f(ok+"taxonomy: ecs\n", `a.yml:5: rule r: taxonomy "ecs" is not known: only Sigma's own is`)
	f(ok+"related: [{id: x, type: cousin}]\n", `a.yml:5: rule r: "cousin" is none of derived, obsolete, merged, renamed, similar`)
	f(ok+"related: [{id: x}]\n", `a.yml:5: rule r: related: needs an id and a type`)
	f(ok+"filter: {rules: any}\n", "a.yml:5: rule r: a document is a filter, a detection or a correlation, not two of them")
	const filter = "title: t\nlogsource: {product: x}\n"
	f(filter+"filter: {selection: {a: b}, condition: selection}\n", "a.yml:3: filter: rules is missing: ids, names or any")
	f(filter+"filter: {rules: [x, ''], selection: {a: b}, condition: not selection}\n", "a.yml:3: filter: rules has an empty entry") // it would be of every rule without a name
	f(filter+"filter:\n  rules:\n  selection: {a: b}\n  condition: not selection\n", "a.yml:4: filter: rules has an empty entry")
	f(filter+"filter: {rules: any, selection: {a: b}}\n", "a.yml:3: filter: condition is missing")
	f(filter+"filter: {rules: any, condition: selection}\n", "a.yml:3: filter: no selection")
	f("title: t\nfilter: {rules: any, selection: {a: b}, condition: selection}\n", "a.yml:1: logsource is missing")
	f("title: t\nid: r\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: s, timeframe: 5m}\n", "a.yml:4: rule r: detection: timeframe (Sigma 1's aggregation) is not supported; write a correlation")
	f(corr, "a.yml:4: rule r: correlation: condition is missing")
	f("a: [\n", "a.yml:1: yaml: line 1: did not find expected node content")
	// The usual mistakes are told as what they are.
	f("title：t\nid: r\n", "a.yml:2: yaml: line 2: mapping values are not allowed in this context; “：” is an input method's, “: ” is meant")
	f("title: t\nlogsource:\n\tproduct: x\n", "a.yml:3: yaml: line 3: found character that cannot start any token; indent by blanks, not by tabs")
	f("title: \xb9\xe6\xd4\xf2\n", "a.yml:1: yaml: invalid leading UTF-8 octet; save the file as UTF-8") // GB18030
	f(strings.Repeat("#", MaxFileBytes+1), "a.yml:1: 1048577 bytes, more than the 1048576 that a rule file may have")
}

// A document without an id gets one of its title, but for filters; "related",
// "name" and "taxonomy: sigma" are read. A log source has "an arbitrary number of
// optional elements".
func TestOptional(t *testing.T) {
	rs, errs := Parse("a.yml", []byte("title: t\nname: n\ntaxonomy: sigma\nrelated: [{id: x, type: derived}]\nlogsource: {product: x, definition: d, our_sensor: s1}\ndetection: {s: {a: b}, condition: s}\n---\ntitle: f\nlogsource: {product: x}\nfilter: {rules: [n], s: {a: c}, condition: not s}\n"))
	if len(errs) > 0 || len(rs) != 2 {
		t.Fatal(rs, errs)
	}
	if r := rs[0]; r.ID != "title-e3b98a4da31a" || r.Name != "n" || len(r.Related) != 1 || r.Related[0] != (Related{Rule: "x", Type: "derived", Line: 4}) {
		t.Errorf("rule %+v", r)
	}
	if f := rs[1]; f.ID != "" || f.Filter == nil || f.Filter.Any() || len(f.Filter.Rules) != 1 || f.Filter.Detection.Conditions[0].Text != "not s" {
		t.Errorf("filter %+v", f)
	}
}

func TestLoad(t *testing.T) {
	rule := func(id string) *fstest.MapFile {
		return &fstest.MapFile{Data: []byte("title: t\nid: " + id + "\nlogsource: {product: x}\ndetection: {s: {a: b}, condition: s}\n")}
	}
	rs, errs := Load(fstest.MapFS{"a/1.yml": rule("r1"), "b/2.yaml": rule("r2"), "b/3.yml": rule("r1"), "c/4.YML": rule("r4"), "b/.3.yml": rule("r1"), "..data/1.yml": rule("r1"), "b/README.md": {Data: []byte("x")}}, ".", "etc/")
	if len(rs) != 3 || rs[0].File != "etc/a/1.yml" || rs[1].ID != "r2" || rs[2].ID != "r4" {
		t.Errorf("rules %v", rs)
	}
	if len(errs) != 1 || errs[0].Error() != "etc/b/3.yml:1: rule r1: the id is taken by etc/a/1.yml:1" {
		t.Errorf("errors %v", errs)
	}
	if _, errs := LoadDir(t.TempDir() + "/none"); len(errs) != 1 {
		t.Errorf("a folder that is not there: %v", errs)
	}
	if _, err := LoadSamples(fstest.MapFS{"a.yml": rule("r")}, "a.yml"); err == nil || err.Error() != "a.fires.jsonl: the rule has no such samples" {
		t.Errorf("samples: %v", err)
	}
}

// An event is read back as it was written.
func TestDecodeEvent(t *testing.T) {
	fields := schemas.Fields()
	rapid.Check(t, func(t *rapid.T) {
		ev := schemas.Event{Original: rapid.String().Draw(t, "original")}
		ev.Stream, ev.Seq = "stream-a", rapid.Uint64().Draw(t, "seq")
		for range rapid.IntRange(0, 20).Draw(t, "fields") {
			f := rapid.SampledFrom(fields).Draw(t, "field")
			one := func() schemas.Value {
				switch f.Type {
				case schemas.Long:
					return schemas.Int(rapid.Int64().Draw(t, "n"))
				case schemas.Double:
					return schemas.Float(rapid.Float64Range(-1e9, 1e9).Draw(t, "x"))
				case schemas.Boolean:
					return schemas.Bool(rapid.Bool().Draw(t, "b"))
				case schemas.Date:
					return schemas.Time(time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "s"), 123456000))
				}
				return schemas.String(rapid.String().Draw(t, "text"))
			}
			if f.List {
				ev.Set(f.ID, schemas.List(one(), one()))
			} else {
				ev.Set(f.ID, one())
			}
		}
		ev.SetOpen("labels.a", schemas.String("x"))
		ev.SetOpen("winlog.event_data.B", schemas.Strings("x", "y"))
		line := ev.AppendJSON(nil)
		back, err := DecodeEvent(line)
		if err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if again := back.AppendJSON(nil); !bytes.Equal(line, again) {
			t.Fatalf("read back as\n%s\nfrom\n%s", again, line)
		}
	})
}

func TestDecodeEventErrors(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		_, err := DecodeEvent([]byte(line))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	f(`[]`, "not a JSON object")
	f(`{"sorce.ip":"x"}`, `did you mean "source.ip"?`)
	f(`{"source.port":"x"}`, "source.port: x is not of the type long")
	f(`{"@timestamp":"today"}`, "not a time")
	f(`{"event.id":"7"}`, "not stream-sequence")
	f(`{} {}`, "more text")
	f(`{"message":`, "event")
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("title: t\nid: r\nlogsource: {product: x}\ndetection: {s: &a {a: b}, t: *a, condition: s}\n"))
	f.Add([]byte("title: t\nid: r\ncorrelation: {type: event_count, rules: [a], timespan: 5m, condition: {gte: 3}}\n---\n---\n- x\n"))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		rs, errs := Parse("f.yml", data)
		for _, r := range rs {
			if r.ID == "" || r.Title == "" || (r.Detection == nil) == (r.Correlation == nil) {
				t.Fatalf("half a rule: %+v", r)
			}
		}
		for _, e := range errs {
			if e.Line < 1 || e.Reason == "" {
				t.Fatalf("an error without place or reason: %+v", e)
			}
		}
	})
}

// What is asked for by name and is no rule must not look as if all were well.
func TestLoadNothing(t *testing.T) {
	f := func(name, want string) {
		t.Helper()
		rs, errs := LoadDir(name)
		if len(rs) != 0 || len(errs) != 1 || errs[0].Reason != want {
			t.Errorf("%s: %d rules and %v, want %s", name, len(rs), errs, want)
		}
	}
	dir := t.TempDir()
	f(dir, "no rule is there, in no file that ends in .yml or .yaml")
	text := filepath.Join(dir, "rule.txt")
	if err := os.WriteFile(text, []byte("title: t\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(text, "not read: a file of rules ends in .yml or .yaml")
	// Nobody writes into the pipe: to open it would be to wait for ever.
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	f(dir, "reading: pipe.yml is no regular file")
	linked := t.TempDir()
	if err := os.Symlink(dir, filepath.Join(linked, "more")); err != nil {
		t.Fatal(err)
	}
	f(linked, "a link to a folder, which is not followed: name that folder itself")
}
