package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/parse"
	"fengsui/analyzer/trial"
	"fengsui/internal/kafka"
	"fengsui/internal/testkit/corpus"
	"fengsui/schemas"
)

// Rules that look at what is hardest to read back: one of several values of a
// field in an open namespace, words anywhere, what is missing, numbers.
const hardRules = `title: 列表中的一个 / one of a list
id: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a01
level: low
logsource: {product: fengsui}
detection: {selection: {labels.roles: admin}, condition: selection}
---
title: 列表中的数 / a number of a list
id: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a02
level: low
logsource: {product: fengsui}
detection: {selection: {labels.ports|gt: 8000}, condition: selection}
---
title: 正文 / words
id: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a03
level: low
logsource: {product: linux, service: sshd}
detection: {keywords: [oracle, 'invalid user'], condition: keywords}
---
title: 没有 / what is missing
id: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a04
level: low
logsource: {category: webserver}
detection: {selection: {http.request.referrer: null}, filter: {url.query|contains: x}, condition: selection and not filter}
---
title: 端口 / a port
id: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a05
level: low
logsource: {product: linux, service: sshd}
detection: {selection: {source.port|gte: 50000, event.outcome|exists: true}, condition: selection}
`

const someTuning = `exceptions:
  - {name: port, rule: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a05, unit: "1", when: {source.ip|cidr: 203.0.113.0/25}, who: li, why: tested}
throttle:
  - {name: few, rule: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a03, fields: [host.name], at_most: 1, per: 7d, who: li, why: tested}
severity:
  - {rule: 25bb5200-fcc1-5d90-b309-692d0060f2c0, unit: "1", level: critical, who: li, why: tested}
`

// TestBacktest: what rules found while events arrived, they find again in the
// stored ones: the same matches, to the letter, of everything that we can parse.
// Then the rules change under the running system.
func TestBacktest(t *testing.T) {
	metrics := freePort(t)
	dir := t.TempDir()
	rulesDir, tuningDir := filepath.Join(dir, "rules"), filepath.Join(dir, "tuning")
	for _, d := range []string{rulesDir, tuningDir} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	write(t, filepath.Join(rulesDir, "hard.yml"), hardRules)
	write(t, filepath.Join(tuningDir, "some.yml"), someTuning)
	s := newSystem(t, loopback+fmt.Sprintf(`
metrics: {listen: %q}
analyzer:
  rule_dirs: [%q]
  tuning_dirs: [%q]
  rules:
    placeholders: {servers: [web1, web2]}
    lists: {scanners: [192.0.2.1]}
collector:
  inputs:
    - {name: own, unit: "10001", type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
    - {name: shared, type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
`, metrics, rulesDir, tuningDir))
	s.metrics = metrics
	s.start()
	registered(s)
	sendEverything(t, s)
	drained(t, s)
	drained(t, s) // what a correlation led to comes after what it came from
	t.Run("the same matches", func(t *testing.T) { sameMatches(t, s) })
	t.Run("the same alerts", func(t *testing.T) { sameAlerts(t, s) })
	t.Run("the corpus", func(t *testing.T) {
		s.run("replay", corpus.Path(t, "events/evtx-dev.jsonl.gz"), "--format", "windows", "--unit", "10003")
		drained(t, s)
		drained(t, s)
		sameMatches(t, s)
	})
	t.Run("hang-up", func(t *testing.T) { hangUp(t, s, rulesDir) })
	s.stop()
}

// sendEverything sends what the parsers are tested with, attacks, and the corpus
// where there is one.
func sendEverything(t *testing.T, s *system) {
	t.Helper()
	files, err := filepath.Glob("../../analyzer/parse/testdata/*/*.log")
	if err != nil || len(files) < 10 {
		t.Fatalf("%d files of the parsers: %v", len(files), err)
	}
	byFormat := map[string][]string{}
	for _, f := range files {
		format := filepath.Base(filepath.Dir(f))
		byFormat[format] = append(byFormat[format], f)
	}
	formats, units := sortedKeys(byFormat), "units:\n"
	for i, format := range formats {
		units += fmt.Sprintf("  - {code: \"%d\", name: %s, level: university, parent: \"1\"}\n", 10100+i, format)
	}
	registry := filepath.Join(t.TempDir(), "units.yaml")
	write(t, registry, units)
	s.run("registry", "import", registry)
	for i, format := range formats {
		s.run("replay", inOrder(t, format, byFormat[format]), "--format", format, "--unit", fmt.Sprint(10100+i))
	}
	lists := filepath.Join(t.TempDir(), "lists.json")
	var b strings.Builder
	for i := range 50 {
		fmt.Fprintf(&b, `{"@timestamp":"2026-03-01T08:00:%02d.1234567Z","event.kind":"event","host.name":"h%d","labels":{"roles":["user","admin"],"ports":[22,%d],"one":["admin"],"none":[],"empty":""},"url.path":["/a","/b"]}`+"\n", i, i%5, 7990+i)
	}
	write(t, lists, b.String())
	s.run("replay", lists, "--format", "json", "--unit", "10002")
	failures(t, s, 40, 49980, "203.0.113.50")
	failures(t, s, 40, 49980, "203.0.113.200")
}

// inOrder writes the lines of files of one format into one, oldest first. What
// comes later than the lateness leads to nothing live; to a backtest, which reads
// the stored events in their order, nothing is late. Header lines keep what is
// below them.
func inOrder(t *testing.T, format string, files []string) string {
	t.Helper()
	parser, err := parse.Lookup(format)
	if err != nil {
		t.Fatal(err)
	}
	type block struct {
		at    time.Time
		lines string
	}
	var blocks []block
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), "#") {
			blocks = append(blocks, block{lines: string(text)})
			continue
		}
		for line := range strings.Lines(string(text)) {
			ev := schemas.Event{Original: strings.TrimSuffix(line, "\n"), Origin: schemas.Origin{Format: format, Received: time.Now()}}
			b := block{lines: line}
			if parser(&ev) == nil {
				b.at = ev.Time()
			}
			blocks = append(blocks, b)
		}
	}
	slices.SortStableFunc(blocks, func(a, b block) int { return a.at.Compare(b.at) })
	var all strings.Builder
	for _, b := range blocks {
		all.WriteString(strings.TrimSuffix(b.lines, "\n") + "\n")
	}
	out := filepath.Join(t.TempDir(), format+".log")
	write(t, out, all.String())
	return out
}

// matchTopic reads the topic of the matches from its beginning: those of rules.
func matchTopic(t *testing.T, s *system) map[string]schemas.Match {
	t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	all := map[string]schemas.Match{}
	var decoder schemas.MatchDecoder
	deps := kafka.Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()}
	err = kafka.Follow(ctx, cfg.Kafka, deps, schemas.TopicMatches, func(r kafka.Record) error {
		var m schemas.Match
		if err := decoder.Decode(r.Value, &m); err != nil {
			return err
		}
		if m.Kind == schemas.MatchRule {
			all[m.ID()] = sameZone(m)
		}
		return nil
	}, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return all
}

// sameZone: a time is the same wherever it is told.
func sameZone(m schemas.Match) schemas.Match {
	m.Time, m.Received = m.Time.UTC(), m.Received.UTC()
	return m
}

func sameMatches(t *testing.T, s *system) {
	live := matchTopic(t, s)
	again := map[string]schemas.Match{}
	for line := range strings.Lines(s.run("rules", "backtest", "--matches", "--since", "1990-01-01", "--until", "2100-01-01")) {
		var m schemas.Match
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		again[m.ID()] = sameZone(m)
	}
	differ := 0
	for _, id := range sortedKeys(live) {
		if d := cmp.Diff(live[id], again[id]); d != "" && differ < 10 {
			differ++
			t.Errorf("%s: live and backtest differ:\n%s", id, d)
		}
	}
	for _, id := range sortedKeys(again) {
		if _, ok := live[id]; !ok && differ < 10 {
			differ++
			t.Errorf("%s: only the backtest finds %+v", id, again[id])
		}
	}
	byRule := map[string]int{}
	for _, m := range live {
		byRule[m.Rule.Title]++
	}
	for _, title := range []string{"列表中的一个 / one of a list", "列表中的数 / a number of a list", "正文 / words", "没有 / what is missing", "端口 / a port", "SSH 暴力破解 / SSH brute force", "同一来源在多个单位猜口令 / One source guesses passwords at several units"} {
		if byRule[title] == 0 {
			t.Errorf("nothing was found by %s", title)
		}
	}
	t.Logf("%d matches of %d rules, live and again", len(live), len(byRule))
}

// sameAlerts compares the alerts by rule and group, and what was kept back.
func sameAlerts(t *testing.T, s *system) {
	var sum trial.Summary
	if err := json.Unmarshal([]byte(s.run("rules", "backtest", "--json", "--since", "1990-01-01", "--until", "2100-01-01")), &sum); err != nil {
		t.Fatal(err)
	}
	want := map[string]uint64{}
	for _, a := range find[schemas.Alert](s, "alerts", "kind = rule") {
		want[a.Rule.ID+" "+string(a.Rule.Level)]++
		if a.Rule.ID == "25bb5200-fcc1-5d90-b309-692d0060f2c0" && a.Unit == "10001" && a.Rule.Level != schemas.Critical {
			t.Errorf("the level is %s in unit %s", a.Rule.Level, a.Unit)
		}
	}
	raised, suppressed := map[string]uint64{}, 0.0
	for _, r := range sum.Rules {
		if r.Alerts == 0 {
			continue
		}
		level := r.Level
		if len(r.Examples) > 0 {
			level = r.Examples[0].Rule.Level
		}
		raised[r.ID+" "+string(level)] += r.Alerts
		days := uint64(0)
		for _, d := range r.Days {
			days += d.Alerts
		}
		if days != r.Alerts || len(r.Examples) == 0 {
			t.Errorf("%+v", r)
		}
	}
	kinds := map[string]bool{}
	for _, x := range sum.Suppressed {
		kinds[x.Kind+" "+x.Entry] = true
		suppressed += float64(x.Count)
	}
	if !kinds["exception port"] || !kinds["throttle few"] {
		t.Errorf("kept back: %v", sum.Suppressed)
	}
	if got := s.metric("fengsui_analyzer_suppressed_total"); got != suppressed {
		t.Errorf("kept back while events arrived: %v, again: %v", got, suppressed)
	}
	if d := cmp.Diff(want, raised); d != "" {
		t.Errorf("alerts by rule and level, live and again:\n%s", d)
	}
	// A person reads it as a table.
	text := s.run("rules", "backtest", "25bb5200-fcc1-5d90-b309-692d0060f2c0", "--since", "7d", "--unit", "1")
	if !strings.Contains(text, "SSH brute force") || !strings.Contains(text, "10001") || !strings.Contains(text, "203.0.113.200") {
		t.Errorf("%s", text)
	}
	t.Logf("\n%s", text)
}

// hangUp: a file that is new is read on SIGHUP, and by itself; neither the
// system nor its children end.
func hangUp(t *testing.T, s *system, rulesDir string) {
	children := []int{s.child("store"), s.child("broker")}
	write(t, filepath.Join(rulesDir, "new.yml"), "title: 新 / new\nid: 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a09\nlevel: high\nlogsource: {product: linux, service: sshd}\ndetection: {selection: {source.ip: 198.51.100.77}, condition: selection}\n")
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.eventually(20*time.Second, "the new rule is read", func() error {
		if s.metric("fengsui_analyzer_rules_reloads_total") == 0 {
			return errors.New("not yet")
		}
		return nil
	})
	send(t, "tcp", s.input("own", "tcp"), "<86>1 "+time.Now().UTC().Format(time.RFC3339)+" web1 sshd 7 - - Accepted password for lin from 198.51.100.77 port 4 ssh2\n")
	s.eventually(20*time.Second, "the new rule alerts", func() error {
		found, err := tryFind[schemas.Alert](s, "alerts", "rule = 6a0d2d0e-0b1f-4a53-9d0e-1c8d5f0a1a09")
		if err == nil && (len(found) != 1 || len(found[0].Satisfied) == 0 || found[0].Satisfied[0].Value != "198.51.100.77") {
			err = fmt.Errorf("%+v", found)
		}
		return err
	})
	if now := []int{s.child("store"), s.child("broker")}; cmp.Diff(children, now) != "" {
		t.Errorf("children were started again: %v, %v", children, now)
	}
}
