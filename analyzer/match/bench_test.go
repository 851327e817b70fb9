package match

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"fengsui/analyzer/parse"
	"fengsui/rules"
)

// threadTime is the processor time of this thread, in nanoseconds: on a machine that
// others use, too, the clock says little.
func threadTime(b *testing.B) int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		b.Fatal(err)
	}
	return t.Nano()
}

// TestBench: every line is matched once by however many workers, and a line that
// cannot be read is named by its number in the file.
func TestBench(t *testing.T) {
	rs, errs := rules.Parse("rule.yml", []byte("title: Even\nid: 00000000-0000-4000-8000-000000000001\nlogsource: {product: windows}\ndetection: {sel: {EventID: 2}, condition: sel}\n"))
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	parser, err := parse.Lookup("windows")
	if err != nil {
		t.Fatal(err)
	}
	bench := Bench{Rules: rs, Parse: parser, Layout: parse.Windows()}
	for i := range 1000 {
		bench.Lines = append(bench.Lines, fmt.Appendf(nil, `{"Channel":"Security","EventID":%d,"SystemTime":"2026-01-01T00:00:00Z"}`, i%4))
	}
	for bench.Workers = 1; bench.Workers <= 5; bench.Workers++ {
		res, err := bench.Run()
		if err != nil || res.Events != 1000 || res.Hits != 250 || res.WarmEventsPerS == 0 {
			t.Errorf("%d workers: %+v, %v", bench.Workers, res, err)
		}
		broken := bench
		broken.Lines = slices.Clone(bench.Lines)
		broken.Lines[699] = []byte("{")
		if _, err := broken.Run(); err == nil || !strings.Contains(err.Error(), "event 700:") {
			t.Errorf("%d workers: %v, want event 700", bench.Workers, err)
		}
	}
}

// BenchmarkWarm is what a record costs whose values were met before, with a
// hundred Windows rules and with all: what the many rules cost is the difference.
func BenchmarkWarm(b *testing.B) {
	all := windowsOnly(corpusRules(b))
	var hundred []*rules.Rule
	for i := range 100 {
		hundred = append(hundred, all[i*len(all)/100])
	}
	for _, file := range []string{"evtx-dev.jsonl.gz", "otrf-dev.jsonl.gz"} {
		lines := eventLines(b, "events/"+file, 1<<30, 1)
		for _, set := range []struct {
			name  string
			rules []*rules.Rule
		}{{"100", hundred}, {"all", all}} {
			b.Run(file+"/"+set.name, func(b *testing.B) {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				e, _ := Compile(set.rules, Options{Placeholders: corpusPlaceholders})
				raw := e.Raw(parse.Windows())
				pass := func() {
					for _, line := range lines {
						if err := raw.Match(line, func(Hit) {}); err != nil {
							b.Fatal(err)
						}
					}
				}
				pass()
				pass()
				runtime.GC()
				best := int64(math.MaxInt64) // of all passes: the one that was disturbed least
				for b.Loop() {
					start := threadTime(b)
					pass()
					best = min(best, threadTime(b)-start)
				}
				b.ReportMetric(float64(best)/float64(len(lines)), "cpu-ns/event")
			})
		}
	}
}

// BenchmarkCold is what a record costs whose values were not met before.
func BenchmarkCold(b *testing.B) {
	all := windowsOnly(corpusRules(b))
	for _, file := range []string{"evtx-dev.jsonl.gz", "otrf-dev.jsonl.gz"} {
		lines := eventLines(b, "events/"+file, 1<<30, 1)
		b.Run(file, func(b *testing.B) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			best := int64(math.MaxInt64)
			for b.Loop() {
				b.StopTimer()
				e, _ := Compile(all, Options{Placeholders: corpusPlaceholders})
				raw := e.Raw(parse.Windows())
				runtime.GC()
				b.StartTimer()
				start := threadTime(b)
				for _, line := range lines {
					if err := raw.Match(line, func(Hit) {}); err != nil {
						b.Fatal(err)
					}
				}
				best = min(best, threadTime(b)-start)
			}
			b.ReportMetric(float64(best)/float64(len(lines)), "cpu-ns/event")
		})
	}
}
