package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"fengsui/console"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/registry"
	"fengsui/scanner/plan"
	"fengsui/scanner/queue"
	"fengsui/schemas"
)

const (
	scansRetry    = 5 * time.Second
	scansForget   = 30 * time.Second
	scansAge      = time.Second     // of what is told: folding is dear, and everybody who looks asks every two seconds
	scansPatience = 2 * time.Second // that what was written may take to be read
)

// scans follows the topics of scans for as long as the process lives. It is the
// console's and the schedule's way to the scanners.
type scans struct {
	process  *process
	registry *registry.Registry
	store    *clickhouse.DB

	mu     sync.Mutex
	view   *scanView
	err    error         // why there is no view
	opened chan struct{} // closed when there was one for the first time

	folding  sync.Mutex
	folded   *console.Scans // as they were
	foldedAt time.Time
}

var _ console.Scanners = (*scans)(nil)

func newScans(p *process, reg *registry.Registry, db *clickhouse.DB) *scans {
	return &scans{process: p, registry: reg, store: db, err: errors.New("the process starts"), opened: make(chan struct{})}
}

func (s *scans) set(view *scanView, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view, s.err = view, err
	if view == nil {
		return
	}
	select {
	case <-s.opened:
	default:
		close(s.opened)
	}
}

// current is the view, or why there is none.
func (s *scans) current() (*scanView, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.view == nil {
		return nil, s.err
	}
	return s.view, nil
}

// Run follows until ctx ends. What fails is tried again.
func (s *scans) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := s.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		s.set(nil, err)
		s.process.log.Warn("the topics of scans cannot be followed; it is tried again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(scansRetry):
		}
	}
	return nil
}

func (s *scans) follow(ctx context.Context) error {
	view, err := openScanView(ctx, s.process)
	if err != nil {
		return err
	}
	defer view.Close()
	s.set(view, nil)
	ticker := time.NewTicker(scansForget)
	defer ticker.Stop()
	for {
		select {
		case <-view.following.Done():
			return context.Cause(view.following)
		case <-ticker.C:
			view.forget()
		}
	}
}

// Now implements console.Scanners.
func (s *scans) Now() (*console.Scans, error) {
	s.folding.Lock()
	defer s.folding.Unlock()
	if s.folded == nil || time.Since(s.foldedAt) >= scansAge {
		all, err := s.fold()
		if err != nil {
			return nil, err
		}
		s.folded, s.foldedAt = all, time.Now()
	}
	return &console.Scans{Jobs: slices.Clone(s.folded.Jobs), Parts: s.folded.Parts, Agents: s.folded.Agents, Stops: s.folded.Stops}, nil
}

func (s *scans) fold() (*console.Scans, error) {
	view, err := s.current()
	if err != nil {
		return nil, err
	}
	jobs := view.jobs()
	all := &console.Scans{Jobs: make([]schemas.ScanJob, len(jobs)), Parts: view.parts(), Agents: view.agents(), Stops: view.stops()}
	for i := range jobs {
		all.Jobs[i] = jobs[i].ScanJob
	}
	return all, nil
}

func (s *scans) forgetFolded() {
	s.folding.Lock()
	defer s.folding.Unlock()
	s.folded = nil
}

// Shards implements console.Scanners.
func (s *scans) Shards(job string) ([]schemas.ScanShard, error) {
	view, err := s.current()
	if err != nil {
		return nil, err
	}
	return view.shards(job), nil
}

// LeftOut implements console.Scanners.
func (s *scans) LeftOut(ctx context.Context, unit string, scope []string, at time.Time) ([]schemas.ScanLeftOut, error) {
	c, err := s.registry.Read(ctx, registry.Query{At: at})
	if err != nil {
		return nil, err
	}
	snap, err := directory.NewSnapshot(c.Units, c.Networks, c.Domains, nil)
	if err != nil {
		return nil, err
	}
	return plan.LeftOut(snap, unit, scope)
}

// Plan implements console.Scanners.
func (s *scans) Plan(ctx context.Context, r *console.ScanRequest) (*console.ScanPlan, error) {
	tasks, err := planScan(ctx, s.registry, s.store, plan.Request{
		Unit: r.Unit, Scope: r.Scope, By: r.By, Reason: r.Reason, Ports: r.Ports, Rate: r.Rate, Discover: r.Discover, Now: time.Now().UTC(),
	})
	if m := mistakes(err); len(m) > 0 {
		return nil, m
	}
	if err != nil {
		return nil, err
	}
	out := &console.ScanPlan{Tasks: tasks}
	for i := range tasks {
		out.Seconds += queue.Cost(&tasks[i])
	}
	if view, err := s.current(); err == nil {
		out.Seconds /= float64(min(max(len(view.agents()), 1), len(tasks)))
	}
	out.LeftOut, err = s.LeftOut(ctx, r.Unit, r.Scope, time.Time{})
	return out, err
}

// mistakes are what a plan refuses, each with its field.
func mistakes(err error) (out console.Mistakes) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, one := range joined.Unwrap() {
			out = append(out, mistakes(one)...)
		}
		return out
	}
	if r, ok := err.(*plan.Refused); ok { //nolint:errorlint // its parents are looked at one by one
		return console.Mistakes{{Field: r.Field, Zh: r.Zh, En: r.En}}
	}
	if err = errors.Unwrap(err); err != nil {
		return mistakes(err)
	}
	return nil
}

// Start implements console.Scanners. The job is known when it returns, unless the
// topics are read late.
func (s *scans) Start(ctx context.Context, p *console.ScanPlan) error {
	if err := sendTasks(ctx, s.process, p.Tasks); err != nil {
		return fmt.Errorf("sending the tasks of job %s: %w", p.Tasks[0].Job, err)
	}
	s.untilRead(ctx, func(v *scanView) bool {
		_, ok := v.job(p.Tasks[0].Job)
		return ok
	})
	return nil
}

// Say implements console.Scanners.
func (s *scans) Say(ctx context.Context, key string, state *schemas.ScanState) error {
	if err := sayScanState(ctx, s.process, key, state); err != nil {
		return err
	}
	s.untilRead(ctx, func(v *scanView) bool {
		said := slices.ContainsFunc(v.stops(), func(stop schemas.ScanStop) bool {
			now := schemas.ScanState{Stop: &stop}
			return now.Key() == key && (state == nil || stop.Time.Equal(state.Stop.Time))
		})
		return said == (state != nil)
	})
	return nil
}

// untilRead waits until what was written is read, so that who has asked for it sees
// it at once; but not for long.
func (s *scans) untilRead(ctx context.Context, is func(*scanView) bool) {
	defer s.forgetFolded()
	for deadline := time.Now().Add(scansPatience); time.Now().Before(deadline) && ctx.Err() == nil; time.Sleep(20 * time.Millisecond) {
		if view, err := s.current(); err != nil || is(view) {
			return
		}
	}
}
