package match

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/corpus"
	"fengsui/internal/testkit/race"
	"fengsui/rules"
	"fengsui/schemas"
)

func corpusRules(t testing.TB) []*rules.Rule {
	t.Helper()
	var all []*rules.Rule
	for _, d := range []string{"rules", "rules-emerging-threats", "rules-threat-hunting"} {
		rs, errs := rules.LoadDir(filepath.Join(corpus.Path(t, ""), "sigma", d))
		for _, e := range errs {
			t.Error(e)
		}
		all = append(all, rs...)
	}
	return all
}

// eventLines are raw lines of a file of the corpus, every step-th.
func eventLines(t testing.TB, name string, limit, step int) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(corpus.Path(t, ""), name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var text io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if text, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var lines [][]byte
	sc := bufio.NewScanner(text)
	sc.Buffer(nil, 1<<20)
	for n := 0; sc.Scan() && len(lines) < limit; n++ {
		if n%step == 0 {
			lines = append(lines, bytes.Clone(sc.Bytes()))
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// decoder makes events of lines as the analyzer does.
func decoder(t testing.TB, format string) func([]byte, *schemas.Event) error {
	t.Helper()
	p, err := parse.Lookup(format)
	if err != nil {
		t.Fatal(err)
	}
	return func(line []byte, ev *schemas.Event) error {
		ev.Reset()
		ev.Original = string(line)
		ev.Received = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
		return p(ev)
	}
}

// Every rule of the corpus loads, but for those that need a placeholder of the
// installation; rules whose log source no parser writes are named as waiting.
func TestCorpusLoads(t *testing.T) {
	race.SkipPure(t)
	rs := corpusRules(t)
	start := time.Now()
	e, problems := Compile(rs, Options{})
	t.Logf("%d rules, %d compiled in %v; %d predicates over %d fields", len(rs), len(e.Rules()), time.Since(start), len(e.predicates), len(e.slots))
	failed, waiting := 0, map[string]int{}
	for _, p := range problems {
		if p.Warning {
			waiting[strings.Fields(p.Reason)[2]]++
			continue
		}
		failed++
		if t.Logf("%s", p); !strings.Contains(p.Reason, "placeholder") {
			t.Errorf("does not load: %s", p)
		}
	}
	t.Logf("%d do not load; waiting for a parser: %v", failed, waiting)
	if len(e.Rules())+failed != len(rs) {
		t.Errorf("%d rules, %d compiled, %d problems", len(rs), len(e.Rules()), failed)
	}
	if _, problems := Compile(rs, Options{Placeholders: corpusPlaceholders}); slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning }) {
		t.Error("with its placeholders given, every rule loads")
	}
}

var corpusPlaceholders = map[string][]string{"known_cdcs": {"dc1.example.edu.cn"}}

// compareWithOracle matches the event both ways and reports any difference.
func compareWithOracle(t testing.TB, e *Engine, ev *schemas.Event, describe func() string) (hits int) {
	t.Helper()
	collect := func(match func(*schemas.Event, func(Hit))) []string {
		var ids []string
		match(ev, func(h Hit) { ids = append(ids, fmt.Sprint(h.Rule.Rule.ID, h.Rule.Rule.Title)) })
		slices.Sort(ids)
		return ids
	}
	fast, plain := collect(e.Match), collect(e.MatchPlain)
	if !slices.Equal(fast, plain) {
		t.Errorf("programs and oracle differ\nprograms: %q\noracle:   %q\nevent:    %s", fast, plain, describe())
	}
	if n := e.Failures(); n > 0 {
		t.Fatalf("%d programs failed on %s", n, describe())
	}
	return len(fast)
}

// Programs and oracle agree on real events, with every rule of the corpus and
// every one of ours. FENGSUI_CORPUS_ALL=1 takes every event, which takes some
// minutes.
func TestCorpusOracle(t *testing.T) {
	race.SkipPure(t)
	ours, _ := rules.Shipped()
	e, _ := Compile(append(corpusRules(t), ours...), Options{Placeholders: corpusPlaceholders})
	f := func(file, format string, step, least int) {
		t.Helper()
		if os.Getenv("FENGSUI_CORPUS_ALL") != "" {
			step = 1
		}
		decode := decoder(t, format)
		events, refused, hits := 0, 0, 0
		var ev schemas.Event
		for _, line := range eventLines(t, file, 1<<30, step) {
			if err := decode(line, &ev); err != nil {
				refused++ // the parser's tests are elsewhere
				continue
			}
			events++
			hits += compareWithOracle(t, e, &ev, func() string { return string(line) })
		}
		if hits < least || refused > events/100 {
			t.Errorf("%s: %d hits in %d events, %d lines refused", file, hits, events, refused)
		}
		t.Logf("%s: %d events, %d hits", file, events, hits)
	}
	f("events/evtx-dev.jsonl.gz", "windows", 25, 100)
	f("events/otrf-dev.jsonl.gz", "windows", 25, 1)
	f("loghub/OpenSSH/OpenSSH_2k.log", "syslog", 20, 10)
	f("loghub/Linux/Linux_2k.log", "syslog", 20, 0)
	f("zeek/dns.json.gz", "zeek", 30, 0)
	f("zeek/ssl.json.gz", "zeek", 30, 0)
}

func BenchmarkCorpus(b *testing.B) {
	rs := corpusRules(b)
	for _, file := range []string{"evtx-dev.jsonl.gz", "otrf-dev.jsonl.gz"} {
		lines := eventLines(b, "events/"+file, 1<<30, 1)
		parser, err := parse.Lookup("windows")
		if err != nil {
			b.Fatal(err)
		}
		bench := Bench{Rules: windowsOnly(rs), Lines: lines, Parse: parser, Layout: parse.Windows(), Passes: 5, Workers: 1}
		b.Run(file, func(b *testing.B) {
			for b.Loop() {
				res, err := bench.Run()
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(res.ColdEventsPerS, "cold-events/s")
				b.ReportMetric(res.WarmEventsPerS, "warm-events/s")
				b.ReportMetric(res.ParsedEventsPerS, "parsed-events/s")
				b.ReportMetric(res.CandidatesPerEvent, "candidates/event")
				b.ReportMetric(float64(res.CompileBytes)/1e6, "compile-MB")
				b.ReportMetric(res.CompileS, "compile-s")
			}
		})
	}
}

func windowsOnly(rs []*rules.Rule) []*rules.Rule {
	return slices.DeleteFunc(slices.Clone(rs), func(r *rules.Rule) bool { return r.LogSource.Product != "windows" })
}

// BenchmarkShipped is what our own rules cost events that are already parsed.
func BenchmarkShipped(b *testing.B) {
	rs, _ := rules.Shipped()
	e, _ := Compile(rs, Options{})
	for _, c := range []struct{ file, format string }{
		{"loghub/OpenSSH/OpenSSH_2k.log", "syslog"}, {"zeek/dns.json.gz", "zeek"}, {"events/evtx-dev.jsonl.gz", "windows"},
	} {
		decode := decoder(b, c.format)
		var evs []*schemas.Event
		for _, line := range eventLines(b, c.file, 2000, 1) {
			ev := &schemas.Event{}
			if err := decode(line, ev); err == nil {
				evs = append(evs, ev)
			}
		}
		b.Run(c.format, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				e.Match(evs[i%len(evs)], func(Hit) {})
				i++
			}
		})
	}
}
