package match

import (
	"math"
	"runtime"
	"testing"

	"fengsui/analyzer/parse"
)

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
