package correlate

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"fengsui/analyzer/seen"
	"fengsui/schemas"
)

// benchGroups is how many groups share the updates.
const benchGroups = 100_000

// benchmarked is a correlation of each type that hardly ever fires, so that what
// is measured is counting.
func benchmarked(of schemas.CorrelationType, span time.Duration) *schemas.Correlation {
	c := &schemas.Correlation{
		Type: of, Timespan: span, Condition: []schemas.Comparison{{Op: "gt", Value: 1e15}}, Percentile: 95,
		Rules: []schemas.BaseRule{{Name: "a"}, {Name: "b"}, {Name: "c"}}, Version: "1",
	}
	if of.IsTemporal() {
		c.Condition = []schemas.Comparison{{Op: "gte", Value: 3}}
	}
	return c
}

// feed is an endless stream of updates, whose texts lie in memory in the order in
// which they come, as those of records that were just read do.
type feed struct {
	m       schemas.Match
	coming  [Lookahead]schemas.Match
	next    []*schemas.Match
	numbers [Lookahead]float64
	updates []update
	step    time.Duration
	at      time.Time
	n       int
}

type update struct {
	group [2]schemas.GroupValue
	id    string
	value [1]string
	base  int
}

// newFeed makes updates of which perGroup fall into a group's timespan.
func newFeed(c *schemas.Correlation, groups, perGroup int) *feed {
	f := &feed{
		m:  schemas.Match{Kind: schemas.MatchRule, Rule: schemas.Rule{ID: "25bb5200-fcc1-5d90-b309-692d0060f2c0"}, Correlation: c},
		at: epoch, step: c.Timespan / time.Duration(perGroup*groups), updates: make([]update, max(4*groups, 1<<20)),
	}
	rng := rand.New(rand.NewPCG(1, 2))
	var text []byte
	var ends []int
	for i := range f.updates {
		g := rng.IntN(groups)
		for _, part := range []string{
			fmt.Sprintf("10.%d.%d.%d", g>>16, g>>8&255, g&255), fmt.Sprintf("host-%d.example.edu.cn", g%1000),
			fmt.Sprintf("collector-1/syslog-%07d", i), fmt.Sprintf("user-%d", rng.IntN(4096)),
		} {
			text = append(text, part...)
			ends = append(ends, len(text))
		}
		f.updates[i].base = rng.IntN(2) // the third never comes
	}
	all, at := string(text), 0
	cut := func() string {
		end := ends[0]
		ends = ends[1:]
		part := all[at:end]
		at = end
		return part
	}
	for i := range f.updates {
		u := &f.updates[i]
		u.group = [2]schemas.GroupValue{{Field: "source.ip", Value: cut()}, {Field: "host.name", Value: cut()}}
		u.id, u.value = cut(), [1]string{cut()}
	}
	return f
}

// run gives a fold so many updates, as the analyzer does.
func (f *feed) run(fold *Fold, n int) {
	for n > 0 {
		f.next = f.next[:0]
		for i := range min(n, Lookahead) {
			f.coming[i] = *f.one()
			if f.m.Numbers != nil {
				f.numbers[i] = f.m.Numbers[0]
				f.coming[i].Numbers = f.numbers[i : i+1]
			}
			f.next = append(f.next, &f.coming[i])
		}
		fold.Expect(f.next)
		for _, m := range f.next {
			fold.Add(m, 0, int64(f.n), epoch)
		}
		n -= len(f.next)
	}
}

// one is the next update. Ids come again after a million, when they are
// forgotten.
func (f *feed) one() *schemas.Match {
	u := &f.updates[f.n%len(f.updates)]
	f.n++
	f.at = f.at.Add(f.step)
	f.m.Time, f.m.EventID, f.m.Group = f.at, u.id, u.group[:]
	switch t := f.m.Correlation.Type; {
	case t == schemas.ValueCount:
		f.m.Values = u.value[:]
	case t.IsNumeric():
		if f.m.Numbers == nil {
			f.m.Numbers = []float64{0}
		}
		f.m.Numbers[0] = float64(len(u.id)*f.n%4096) * 1.5
	case t.IsTemporal():
		f.m.Base = u.base
	}
	return &f.m
}

func benchmark(b *testing.B, c *schemas.Correlation, groups, perGroup int) {
	runtime.LockOSThread() // of which cpuTime tells
	defer runtime.UnlockOSThread()
	cfg := DefaultConfig()
	cfg.Lateness = c.Timespan / 12 // five minutes of an hour
	fold, in := New(cfg), newFeed(c, groups, perGroup)
	in.run(fold, min(2*groups*perGroup, 4_000_000)) // until windows are as full as they get
	b.ReportAllocs()
	b.ResetTimer()
	cpu := cpuTime(b)
	in.run(fold, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "updates/s")
	b.ReportMetric(float64(b.N)/(cpuTime(b)-cpu).Seconds(), "updates/cpu-s")
}

// cpuTime is what this thread has used: on a machine that others use as well it
// says more than the clock, and the collector's threads are not in it.
func cpuTime(b *testing.B) time.Duration {
	const thisThread = 1 // RUSAGE_THREAD, which syscall does not name
	var u syscall.Rusage
	if err := syscall.Getrusage(thisThread, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkTypes is every type over 100,000 groups with ten events of each in a
// timespan.
func BenchmarkTypes(b *testing.B) {
	for _, of := range types {
		b.Run(string(of), func(b *testing.B) { benchmark(b, benchmarked(of, time.Hour), benchGroups, 10) })
	}
}

// BenchmarkTimespan is ten events of each of 100,000 groups in a minute, in an
// hour and in a day: an update costs the same.
func BenchmarkTimespan(b *testing.B) {
	for _, of := range []schemas.CorrelationType{schemas.EventCount, schemas.ValueCount, schemas.ValueSum, schemas.ValuePercentile, schemas.TemporalOrdered} {
		for _, span := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
			b.Run(fmt.Sprintf("%s/%s", of, span), func(b *testing.B) { benchmark(b, benchmarked(of, span), benchGroups, 10) })
		}
	}
}

// BenchmarkFull is a window of ten and of ten thousand events in each of a
// hundred groups.
func BenchmarkFull(b *testing.B) {
	for _, of := range []schemas.CorrelationType{schemas.EventCount, schemas.ValueCount, schemas.ValueSum, schemas.ValuePercentile, schemas.TemporalOrdered} {
		for _, events := range []int{10, 100, 1_000, 10_000} {
			b.Run(fmt.Sprintf("%s/%d", of, events), func(b *testing.B) { benchmark(b, benchmarked(of, time.Hour), 100, events) })
		}
	}
}

// BenchmarkAlerting is where every update is of a group whose alert is open.
func BenchmarkAlerting(b *testing.B) {
	c := benchmarked(schemas.EventCount, time.Hour)
	c.Condition = []schemas.Comparison{{Op: "gte", Value: 5}}
	benchmark(b, c, 1000, 100)
}

// BenchmarkParts is what an update is made of: recognising copies, finding the
// group, and what comes before the fold.
func BenchmarkParts(b *testing.B) {
	in := newFeed(benchmarked(schemas.EventCount, time.Hour), benchGroups, 10)
	b.Run("feed", func(b *testing.B) {
		for b.Loop() {
			in.one()
		}
	})
	b.Run("seen", func(b *testing.B) {
		s := seen.New(DefaultConfig().MaxSeen)
		for range 1_100_000 {
			s.NoteHash(hashesOf(in.one()).id)
		}
		for b.Loop() {
			s.NoteHash(hashesOf(in.one()).id)
		}
	})
	b.Run("group", func(b *testing.B) {
		f := New(DefaultConfig())
		for b.Loop() {
			m := in.one()
			f.group(m, hashesOf(m).key)
		}
	})
	b.Run("json", func(b *testing.B) {
		line, err := json.Marshal(in.one())
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(int64(len(line)))
		for b.Loop() {
			var m schemas.Match
			if err := json.Unmarshal(line, &m); err != nil {
				b.Fatal(err)
			}
		}
	})
}
