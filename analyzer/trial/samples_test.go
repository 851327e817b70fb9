package trial

import (
	"strings"
	"testing"
	"testing/fstest"

	"fengsui/analyzer/match"
)

const counted = `title: login failed
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
correlation: {type: event_count, rules: [failed], group-by: [source.ip], timespan: 1m, condition: {gte: 5}}
`

const failed = `"event.provider":"sshd","process.name":"sshd","event.action":"ssh_login","event.outcome":"failure","source.ip":"192.0.2.1"}`

// TestSamples: every way in which samples can fail a rule is told with file and
// line.
func TestSamples(t *testing.T) {
	f := func(rule, fires, silent string, want ...string) {
		t.Helper()
		fsys := fstest.MapFS{"a.yml": {Data: []byte(rule)}}
		if fires != "" {
			fsys["a.fires.jsonl"] = &fstest.MapFile{Data: []byte(fires)}
		}
		if silent != "" {
			fsys["a.silent.jsonl"] = &fstest.MapFile{Data: []byte(silent)}
		}
		report := TestFS(fsys, ".", "dir/", match.Options{})
		var got []string
		for _, p := range report.Failures {
			got = append(got, p.String())
		}
		if len(got) != len(want) {
			t.Fatalf("%d failures, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
		}
		for i := range want {
			if !strings.HasPrefix(got[i], want[i]) {
				t.Errorf("%s\nwant %s", got[i], want[i])
			}
		}
	}
	times := func(n, every string) string {
		return `{"repeat":{"times":` + n + `,"every":"` + every + `"},` + failed + "\n"
	}
	good := `{"event.action":"ssh_login","event.outcome":"success"}` + "\n"

	f(counted, times("5", "10s"), good+times("4", "10s"))
	f(counted, "", good, "dir/a.yml:1: a.fires.jsonl: the rule has no such samples")
	f(counted, times("5", "10s"), "", "dir/a.yml:1: a.silent.jsonl: the rule has no such samples")
	// Too few, and too slow; a sample that nothing matches.
	f(counted, times("4", "10s"), good, `dir/a.yml:10: rule many: no alert of "brute force" is raised by the events of a.fires.jsonl`)
	f(counted, times("5", "20s"), good, `dir/a.yml:10: rule many: no alert`)
	f(counted, times("5", "10s")+good, good, "dir/a.fires.jsonl:2: no rule of a.yml matches this event")
	// A near miss that is none.
	f(counted, times("5", "10s"), good+times("5", "10s"), `dir/a.silent.jsonl:2: rule many: "brute force" fires on a near miss: selection: event.action = "ssh_login"`)
	// A rule may count what a shipped one finds.
	_, many, _ := strings.Cut(strings.Replace(counted, "[failed]", "[sshd_login_failed]", 1), "---\n")
	f(many, times("5", "10s"), good+times("4", "10s"))
	// A correlation may count what another has counted.
	chain := counted + `---
title: again
id: again
correlation: {type: event_count, rules: [many], group-by: [source.ip], timespan: 1h, condition: {gte: 1}}
`
	f(chain, times("5", "10s"), good+times("4", "10s"))
	f(chain, times("4", "10s"), good, `dir/a.yml:15: rule again: no alert of "again" is raised`)
	// What cannot be used fails as well.
	f("title: x\nid: y\n", "", "", "dir/a.yml:1: rule y: detection is missing")
	f(strings.Replace(counted, "[failed]", "[other]", 1), times("5", "1s"), good, `dir/a.yml:13: rule many: it refers to "other"`)
	f(counted, times("0", "1s"), good, "dir/a.yml:1: a.fires.jsonl:1: repeat: times 0")
	f(counted, times("5", "often"), good, `dir/a.yml:1: a.fires.jsonl:1: repeat: every "often"`)
	f(counted, times("20000", "1s"), good, `dir/a.yml:1: a.fires.jsonl:1: repeat: times 20000 is not between`)
}

// TestRepeat: the number of an event stands where its text asks for it.
func TestRepeat(t *testing.T) {
	// Five addresses are five groups, none of which reaches five.
	varied := `{"repeat":{"times":5,"every":"1s"},` + strings.Replace(failed, "192.0.2.1", "192.0.2.{n}", 1) + "\n"
	fsys := fstest.MapFS{
		"a.yml":          {Data: []byte(counted)},
		"a.fires.jsonl":  {Data: []byte(`{"repeat":{"times":5,"every":"1s"},` + failed)},
		"a.silent.jsonl": {Data: []byte(varied)},
	}
	if report := TestFS(fsys, ".", "", match.Options{}); len(report.Failures) > 0 || report.Samples != 10 {
		t.Errorf("%+v", report)
	}
}
