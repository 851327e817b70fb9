package match

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"fengsui/rules"
	"fengsui/schemas"
)

// BenchResult is what a run of rules over events costs on one core.
type BenchResult struct {
	ColdEventsPerS     float64 `json:"cold_events_per_s"` // first pass of a new engine
	WarmEventsPerS     float64 `json:"warm_events_per_s"` // median of the passes after it
	CandidatesPerEvent float64 `json:"candidates_per_event"`
	CompileS           float64 `json:"compile_s"`
	CompileBytes       uint64  `json:"compile_bytes"` // memory that the engine keeps
	Rules              int     `json:"rules"`
	Events             int     `json:"events"`
	Hits               int     `json:"hits"` // of one pass
}

// Bench compiles the rules and matches every line with them: once cold, then
// passes times warm. The caller's decode makes an event of a line, and its cost
// is part of the figures. It stops at a line that cannot be decoded.
func Bench(rs []*rules.Rule, opt Options, lines [][]byte, passes int, decode func(line []byte, ev *schemas.Event) error) (BenchResult, error) {
	before := heap()
	start := time.Now()
	e, _ := Compile(rs, opt)
	res := BenchResult{CompileS: time.Since(start).Seconds(), Rules: len(e.rules), Events: len(lines)}
	if after := heap(); after > before {
		res.CompileBytes = after - before
	}
	if len(lines) == 0 {
		return res, fmt.Errorf("no events to match")
	}
	var ev schemas.Event
	pass := func(match func(*schemas.Event)) (float64, error) {
		start := time.Now()
		for i, line := range lines {
			ev.Reset()
			if err := decode(line, &ev); err != nil {
				return 0, fmt.Errorf("event %d: %w", i+1, err)
			}
			match(&ev)
		}
		return float64(len(lines)) / time.Since(start).Seconds(), nil
	}
	hits := func(ev *schemas.Event) { e.Match(ev, func(Hit) { res.Hits++ }) }
	var err error
	if res.ColdEventsPerS, err = pass(hits); err != nil {
		return res, err
	}
	var warm []float64
	for range max(passes, 1) {
		res.Hits = 0
		rate, err := pass(hits)
		if err != nil {
			return res, err
		}
		warm = append(warm, rate)
	}
	slices.Sort(warm)
	res.WarmEventsPerS = warm[len(warm)/2]
	tried := 0
	_, err = pass(func(ev *schemas.Event) { tried += e.Candidates(ev) })
	res.CandidatesPerEvent = float64(tried) / float64(len(lines))
	runtime.KeepAlive(e)
	return res, err
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Candidates is how many rules Match looks at for the event.
func (e *Engine) Candidates(ev *schemas.Event) int {
	s := e.take()
	defer e.give(s)
	s.begin(ev)
	s.match(s.planOf(), func(*CompiledRule) {})
	s.ev = nil
	return len(s.tried)
}
