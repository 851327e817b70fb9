package scanner

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

const (
	attemptsPerShard = 3
	retryPause       = 5 * time.Second
	scopeCheck       = time.Second     // how soon a withdrawn authorisation stops a shard
	scopeGrace       = 3 * time.Second // how long a new task may be ahead of the registry
	scopeWait        = 50 * time.Millisecond
	batchOut         = 200 // observations in one call of the producer
)

// Scanner takes shards from the topic scan.tasks, one at a time, and puts what
// it sees on the topic observations. A shard's offset is committed when it is
// done, so that of a scanner that dies the group gives the shard to another.
type Scanner struct {
	*Looker
	deps  Deps
	group *kafka.Group
	ready chan struct{}
	slot  chan struct{} // one shard at a time, so that Rate is the whole scanner's
}

// New checks the configuration and connects to nothing.
func New(cfg Config, deps Deps) (*Scanner, error) {
	if deps.Directory == nil || deps.Producer == nil {
		return nil, errors.New("scanner: needs the registry's directory and a producer")
	}
	looker, err := NewLooker(cfg, deps)
	if err != nil {
		return nil, err
	}
	s := &Scanner{Looker: looker, deps: deps, ready: make(chan struct{}), slot: make(chan struct{}, 1)}
	gc := kafka.DefaultGroupConfig()
	gc.Group, gc.Topics = cfg.Group, []string{schemas.TopicScanTasks}
	gc.MaxBatch = 1 // a shard is committed by itself
	gc.MaxWait = 0
	s.group, err = kafka.NewGroup(deps.Kafka, kafka.Deps{Log: deps.Log, Metrics: deps.Metrics}, gc,
		func(context.Context, string, int, int64) (kafka.Handler, int64, error) {
			return handler{s}, kafka.Committed, nil
		})
	if err != nil {
		return nil, fmt.Errorf("scanner: %w", err)
	}
	return s, nil
}

// Ready is closed when the registry is known and shards are taken.
func (s *Scanner) Ready() <-chan struct{} { return s.ready }

// Run works until ctx ends. Before the registry is known it takes no shard.
func (s *Scanner) Run(ctx context.Context) error {
	select {
	case <-s.deps.Directory.Ready():
	case <-ctx.Done():
		return nil
	}
	if _, err := sweep.Find(s.cfg.Sweep); err != nil {
		s.deps.log().Warn("ports cannot be swept: names alone are looked at", "error", err)
	}
	close(s.ready)
	if err := s.group.Run(ctx); err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	return nil
}

// handler is the handler of one partition; all share the scanner's slot.
type handler struct{ s *Scanner }

func (h handler) Close() error { return nil }

func (h handler) Handle(ctx context.Context, records []kafka.Record) error {
	for _, r := range records {
		select {
		case h.s.slot <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		err := h.s.shard(ctx, r.Value)
		<-h.s.slot
		if err != nil {
			return err
		}
	}
	return nil
}

// shard settles one record: done, refused, expired or, after some attempts,
// failed. It returns an error only when the shard must be given back: ctx ended,
// or Kafka does not take the observations.
func (s *Scanner) shard(ctx context.Context, value []byte) error {
	log := s.deps.log()
	var task schemas.ScanTask
	if err := json.Unmarshal(value, &task); err != nil {
		s.m.shards.WithLabelValues("", "unreadable").Inc()
		s.log.warn("a record of scan.tasks is no task", "error", err)
		return nil
	}
	log = log.With("job", task.Job, "shard", task.Shard, "of", task.Shards, "kind", task.Kind, "unit", task.Unit)
	kind := string(task.Kind)
	switch task.Kind {
	case schemas.TaskNames, schemas.TaskSweep, schemas.TaskConfirm, schemas.TaskDiscover:
	default:
		kind = "unknown" // a label must not grow with what others write
	}
	s.m.busy.Set(1)
	defer s.m.busy.Set(0)
	if _, err := check(&task); err == nil {
		s.awaitScope(ctx, &task)
	}
	for attempt := 1; ; attempt++ {
		if !time.Now().Before(task.Expires) {
			s.m.shards.WithLabelValues(kind, "expired").Inc()
			log.Warn("a shard has expired and is dropped", "expires", task.Expires)
			return nil
		}
		start := time.Now()
		seen, err := s.lookOnce(ctx, task)
		s.m.seconds.WithLabelValues(kind).Observe(time.Since(start).Seconds())
		var lost *unsent
		switch {
		case err == nil:
			s.m.shards.WithLabelValues(kind, "done").Inc()
			log.Info("a shard is done", "observations", seen, "seconds", time.Since(start).Seconds())
			return nil
		case ctx.Err() != nil:
			s.m.shards.WithLabelValues(kind, "stopped").Inc()
			return context.Cause(ctx)
		case errors.As(err, &lost):
			return err
		case errors.Is(err, ErrRefused), errors.Is(err, directory.ErrOutOfScope):
			s.m.shards.WithLabelValues(kind, "refused").Inc()
			s.m.refused.WithLabelValues("task").Inc()
			s.log.warn("a shard is refused", "job", task.Job, "shard", task.Shard, "by", task.By, "error", err)
			return nil
		case attempt == attemptsPerShard:
			s.m.shards.WithLabelValues(kind, "failed").Inc()
			log.Error("a shard failed and is given up", "attempts", attempt, "observations", seen, "error", err)
			return nil
		}
		log.Warn("a shard failed and is tried again", "attempt", attempt, "error", err)
		select {
		case <-time.After(retryPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitScope gives the registry time to authorise a new task. The two come by
// different topics, so a task for a network that was registered a moment ago may
// be here before the network is.
func (s *Scanner) awaitScope(ctx context.Context, task *schemas.ScanTask) {
	now := time.Now()
	until := now.Add(scopeGrace)
	if task.Created.Before(now) {
		until = task.Created.Add(scopeGrace)
	}
	for now.Before(until) && !authorised(s.deps.Directory.Snapshot(), task) {
		select {
		case now = <-time.After(scopeWait):
		case <-ctx.Done():
			return
		}
	}
}

// authorised says whether the registry allows all of a task.
func authorised(snap *directory.Snapshot, task *schemas.ScanTask) bool {
	for _, t := range task.Targets {
		if snap.MayScanPrefix(t) != nil {
			return false
		}
	}
	for _, n := range task.Names {
		if snap.MayResolve(n) != nil {
			return false
		}
	}
	return true
}

// unsent says that observations could not be handed over.
type unsent struct{ err error }

func (u *unsent) Error() string { return "handing over observations: " + u.err.Error() }
func (u *unsent) Unwrap() error { return u.err }

// lookOnce carries a shard out in bounded time and produces what is seen. It
// stops when the registry withdraws an authorisation that the shard began with.
func (s *Scanner) lookOnce(ctx context.Context, task schemas.ScanTask) (seen int, err error) {
	snap := s.deps.Directory.Snapshot()
	looking, cancel := context.WithTimeoutCause(ctx, s.cfg.ShardTimeout,
		fmt.Errorf("took longer than %v", s.cfg.ShardTimeout))
	defer cancel()
	looking, stop := context.WithCancelCause(looking)
	defer stop(nil)
	watched := make(chan struct{})
	defer func() { <-watched }()
	defer stop(nil)
	go func() {
		defer close(watched)
		s.watchScope(looking, &task, snap, stop)
	}()

	var out []kafka.Record
	flush := func() error {
		if len(out) == 0 {
			return nil
		}
		if err := s.deps.Producer.Produce(ctx, schemas.TopicObservations, out); err != nil {
			return &unsent{err}
		}
		seen += len(out)
		out = out[:0]
		return nil
	}
	emit := func(o schemas.Observation) error {
		value, err := json.Marshal(o)
		if err != nil {
			return fmt.Errorf("encoding an observation: %w", err)
		}
		out = append(out, kafka.Record{Key: []byte(o.Key()), Value: value})
		if len(out) < batchOut {
			return nil
		}
		return flush()
	}
	if err = s.Look(looking, task, snap, emit); err == nil {
		err = emit(done(&task, s.id))
	}
	// What was seen before an error was seen.
	return seen, errors.Join(err, flush())
}

// done is the observation that a shard was worked through, by which whoever asked
// for it knows.
func done(task *schemas.ScanTask, scanner string) schemas.Observation {
	name := task.Job + "/" + task.Shard
	return schemas.Observation{
		ID: name + "/done", Kind: schemas.ObservedDone, Time: time.Now().UTC(), Source: "scan",
		Job: task.Job, Shard: task.Shard, Scanner: scanner, Unit: task.Unit, Name: name,
	}
}

// watchScope stops the shard when something that was authorised at its
// beginning is no longer. Every connection is checked against the shard's
// snapshot; this keeps the snapshot true.
func (s *Scanner) watchScope(ctx context.Context, task *schemas.ScanTask, began *directory.Snapshot, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(scopeCheck)
	defer ticker.Stop()
	last := began
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := s.deps.Directory.Snapshot()
		if now == last {
			continue
		}
		last = now
		for _, t := range task.Targets {
			if err := now.MayScanPrefix(t); err != nil && began.MayScanPrefix(t) == nil {
				stop(fmt.Errorf("authorisation withdrawn: %w", err))
				return
			}
		}
		for _, n := range task.Names {
			if err := now.MayResolve(n); err != nil && began.MayResolve(n) == nil {
				stop(fmt.Errorf("authorisation withdrawn: %w", err))
				return
			}
		}
	}
}
