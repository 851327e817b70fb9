package match

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"fengsui/analyzer/parse"
	"fengsui/rules"
	"fengsui/schemas"
)

// BenchResult is what a run of rules over records costs.
type BenchResult struct {
	ColdEventsPerS     float64 `json:"cold_events_per_s"`   // first pass of a new engine
	WarmEventsPerS     float64 `json:"warm_events_per_s"`   // median of the passes after it
	ParsedEventsPerS   float64 `json:"parsed_events_per_s"` // median of warm passes that parse every record whole
	CandidatesPerEvent float64 `json:"candidates_per_event"`
	CompileS           float64 `json:"compile_s"`
	CompileBytes       uint64  `json:"compile_bytes"` // memory that the engine keeps
	WarmBytes          uint64  `json:"warm_bytes"`    // memory that the values seen take
	Rules              int     `json:"rules"`
	Events             int     `json:"events"`
	Hits               int     `json:"hits"` // of one pass
	Workers            int     `json:"workers"`
}

// Bench is a run of rules over records, each one line as it came.
type Bench struct {
	Rules   []*rules.Rule
	Options Options
	Lines   [][]byte
	Parse   parse.Parser
	Layout  *parse.Layout // of the records' format; nil if it has none: then every record is parsed
	Passes  int           // warm ones
	Workers int
}

// benchWorker tries one record after the other.
type benchWorker struct {
	lines             [][]byte
	try               func(line []byte) error
	done, tried, hits int       // of one pass
	_                 [128]byte // no line of a cache is two workers'
}

// Run compiles the rules and matches every line with them: once cold, then warm.
// Reading the lines' bytes is part of the figures. It stops at a line that cannot
// be read.
func (b Bench) Run() (BenchResult, error) {
	res := BenchResult{Events: len(b.Lines), Workers: max(b.Workers, 1)}
	if len(b.Lines) == 0 {
		return res, errors.New("no events to match")
	}
	before := heap()
	start := time.Now()
	e, _ := Compile(b.Rules, b.Options)
	res.CompileS, res.Rules = time.Since(start).Seconds(), len(e.rules)
	compiled := heap()
	res.CompileBytes = compiled - min(before, compiled)

	parsing := b.workers(res.Workers, e.benchParsed(b.Parse))
	workers := parsing
	if b.Layout != nil {
		workers = b.workers(res.Workers, e.benchRaw(b.Layout))
	}
	var err error
	if res.ColdEventsPerS, err = b.pass(workers, 0); err != nil {
		return res, err
	}
	if res.WarmEventsPerS, err = b.median(workers); err != nil {
		return res, err
	}
	if _, err = b.pass(workers, 0); err != nil {
		return res, err
	}
	for _, w := range workers {
		res.Hits += w.hits
		res.CandidatesPerEvent += float64(w.tried) / float64(len(b.Lines))
	}
	warm := heap()
	res.WarmBytes = warm - min(compiled, warm)
	res.ParsedEventsPerS = res.WarmEventsPerS
	if b.Layout != nil {
		res.ParsedEventsPerS, err = b.median(parsing)
	}
	runtime.KeepAlive(workers)
	return res, err
}

// dealt is how many lines a worker gets at a time: neighbours come from one
// source, as in a partition, and all workers get as much to do.
const dealt = 256

// workers share the lines out.
func (b Bench) workers(n int, try func(*benchWorker) func([]byte) error) []*benchWorker {
	out := make([]*benchWorker, n)
	for i := range out {
		out[i] = &benchWorker{}
		out[i].try = try(out[i])
	}
	for i := 0; i < len(b.Lines); i += dealt {
		w := out[i/dealt%n]
		w.lines = append(w.lines, b.Lines[i:min(i+dealt, len(b.Lines))]...)
	}
	return out
}

// numberOf is the number, from 1, of a worker's nth line among all.
func numberOf(worker, n, workers int) int {
	return (n/dealt*workers+worker)*dealt + n%dealt + 1
}

func (e *Engine) benchRaw(l *parse.Layout) func(*benchWorker) func([]byte) error {
	return func(w *benchWorker) func([]byte) error {
		raw := e.Raw(l)
		hit := func(Hit) { w.hits++ }
		return func(line []byte) error {
			err := raw.Match(line, hit)
			w.tried += raw.Tried()
			return err
		}
	}
}

func (e *Engine) benchParsed(p parse.Parser) func(*benchWorker) func([]byte) error {
	received := time.Now()
	return func(w *benchWorker) func([]byte) error {
		var ev schemas.Event
		hit := func(Hit) { w.hits++ }
		return func(line []byte) error {
			ev.Reset()
			ev.Original, ev.Received = string(line), received
			if err := p(&ev); err != nil {
				return err
			}
			w.tried += e.match(&ev, hit)
			return nil
		}
	}
}

// median is that of the warm passes, after one that warms this way of reading.
func (b Bench) median(workers []*benchWorker) (float64, error) {
	rate, err := b.pass(workers, 0)
	if err != nil {
		return 0, err
	}
	rounds := int(rate*passTime.Seconds())/len(b.Lines) + 1
	var rates []float64
	for range max(b.Passes, 1) {
		rate, err := b.pass(workers, rounds)
		if err != nil {
			return 0, err
		}
		rates = append(rates, rate)
	}
	slices.Sort(rates)
	return rates[len(rates)/2], nil
}

// passTime is about how long a warm pass takes: workers run on for hours, and the rate
// of a few milliseconds is that of their beginning.
const passTime = 100 * time.Millisecond

// pass is all workers at once; it returns lines a second. Each goes through its lines
// once, or so many rounds: then it is over when the first is through. So none waits
// for another, as none does that has its own partition.
func (b Bench) pass(workers []*benchWorker, rounds int) (float64, error) {
	errs := make([]error, len(workers))
	var over atomic.Bool
	var wg sync.WaitGroup
	start := time.Now()
	for i, w := range workers {
		if len(w.lines) == 0 {
			continue
		}
		wg.Go(func() {
			w.done, w.tried, w.hits = 0, 0, 0
			for range max(rounds, 1) {
				for n, line := range w.lines {
					if rounds > 0 && over.Load() {
						return
					}
					if err := w.try(line); err != nil {
						errs[i] = fmt.Errorf("event %d: %w", numberOf(i, n, len(workers)), err)
						return
					}
					w.done++
				}
			}
			over.Store(true)
		})
	}
	wg.Wait()
	took, done := time.Since(start), 0
	for _, w := range workers {
		done += w.done
	}
	return float64(done) / took.Seconds(), errors.Join(errs...)
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
