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
	scopeCheck       = time.Second / 4 // how soon a withdrawn authorisation, or the end of its hours, stops a shard
	scopeGrace       = 3 * time.Second // how long a new task may be ahead of the registry
	scopeWait        = 50 * time.Millisecond
	batchOut         = 200 // observations in one call of the producer
)

// Scanner claims shards of the topic scan.tasks, one at a time, and puts what it
// sees on the topic observations. Which shard it may have it knows from the topics
// alone (see scanner/queue), so scanners need nobody to share them out.
type Scanner struct {
	*Looker
	deps   Deps
	leases *leases
	book   book
	ready  chan struct{}
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
	if err := deps.Kafka.Validate(); err != nil {
		return nil, fmt.Errorf("scanner: %w", err)
	}
	return &Scanner{
		Looker: looker, deps: deps, ready: make(chan struct{}), book: book{rate: cfg.Rate},
		leases: newLeases(cfg, deps, looker.id, looker.m, looker.log),
	}, nil
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
	// What is said last, that a shard is given back, comes before that this
	// scanner is gone.
	following, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	followed := make(chan error, 1)
	go func() { followed <- s.leases.run(following) }()
	working, stop := context.WithCancel(ctx)
	defer stop()
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		s.work(working)
	}()
	var err error
	select {
	case err = <-followed:
		stop()
		<-worked
	case <-worked:
		end()
		err = <-followed
	}
	if err != nil {
		return fmt.Errorf("scanner: %w", err)
	}
	return nil
}

// work carries shards out, one after the other, until ctx ends.
func (s *Scanner) work(ctx context.Context) {
	select {
	case <-s.leases.caught:
	case <-ctx.Done():
		return
	}
	close(s.ready)
	for {
		claim, err := s.leases.next(ctx, func(t *schemas.ScanTask) ([]schemas.ScanShare, bool) {
			return s.book.shares(s.deps.Directory.Snapshot(), t, time.Now())
		})
		mine := false
		if err == nil {
			mine, err = s.leases.claim(ctx, claim)
		}
		if mine {
			s.leases.at(claim.Key())
			err = s.shard(ctx, claim)
			s.leases.at("")
		}
		if ctx.Err() != nil {
			return
		}
		if err != nil { // the lease lapses, and the shard is somebody's
			s.log.warn("a shard is left as it is", "error", err)
		}
	}
}

// shard carries out what was claimed: once, and says how it ended. An error says
// that this could not be said.
func (s *Scanner) shard(ctx context.Context, claim schemas.ScanEvent) error {
	task, failures, ok := s.leases.claimed(claim)
	if !ok {
		return fmt.Errorf("shard %s was forgotten", claim.Key())
	}
	log := s.deps.log().With("job", task.Job, "shard", task.Shard, "of", task.Shards, "kind", task.Kind, "unit", task.Unit)
	kind := string(task.Kind)
	switch task.Kind {
	case schemas.TaskNames, schemas.TaskSweep, schemas.TaskConfirm, schemas.TaskDiscover:
	default:
		kind = "unknown" // a label must not grow with what others write
	}
	s.m.busy.Set(1)
	defer s.m.busy.Set(0)
	start := time.Now()
	var how ended
	journal := s.attempt(claim, &task, start)
	if start.Before(task.Expires) {
		if _, _, err := check(&task); err == nil {
			s.awaitScope(ctx, &task)
		}
		how.seen, how.err = s.lookOnce(ctx, claim, task, journal)
		s.m.seconds.WithLabelValues(kind).Observe(time.Since(start).Seconds())
	} else {
		how.err = errExpired
	}
	how.seconds = time.Since(start).Seconds()
	event, outcome := s.judge(ctx, &task, &how, failures)
	defer s.m.shards.WithLabelValues(kind, string(outcome)).Inc() // once it was said
	log.Info("a shard ends", "outcome", outcome, "observations", how.seen, "seconds", how.seconds, "error", how.err)

	// The last words of a scanner that is to end are said, too.
	saying, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.patience(ctx))
	defer cancel()
	journal.Ended, journal.Outcome, journal.Seen = time.Now().UTC(), outcome, how.seen
	if how.err != nil {
		journal.Error = short(how.err.Error())
	}
	observed := schemas.ObservedEnded
	if event == schemas.ScanSettled {
		observed = schemas.ObservedDone
	}
	if err := s.record(saying, s.entry(observed, &task, *journal)); err != nil {
		return err
	}
	return s.leases.end(saying, claim, event, outcome, how)
}

// patience is how long may be waited for Kafka to take the last words about a
// shard: while nothing else is to be done, until others have the shard anyway.
func (s *Scanner) patience(ctx context.Context) time.Duration {
	if ctx.Err() != nil {
		return lastWords
	}
	return s.cfg.Lease
}

var errExpired = errors.New("nobody came to it in time")

// judge says what becomes of a shard after an attempt.
func (s *Scanner) judge(ctx context.Context, task *schemas.ScanTask, how *ended, failures int) (schemas.ScanEventKind, schemas.ScanOutcome) {
	var stopped *stoppedError
	switch {
	case how.err == nil:
		return schemas.ScanSettled, schemas.ShardDone
	case errors.Is(how.err, errExpired):
		return schemas.ScanSettled, schemas.ShardExpired
	case errors.As(how.err, &stopped):
		return schemas.ScanReleased, schemas.ShardStopped
	case errors.Is(how.err, errLeaseLost), ctx.Err() != nil:
		return schemas.ScanReleased, schemas.ShardAbandoned
	case errors.Is(how.err, directory.ErrOutOfHours):
		p := policyOf(s.deps.Directory.Snapshot(), task, s.cfg.Rate)
		how.notBefore = p.opens(time.Now()).UTC()
		return schemas.ScanReleased, schemas.ShardOffHours
	case errors.Is(how.err, ErrRefused), errors.Is(how.err, directory.ErrOutOfScope):
		s.m.refused.WithLabelValues("task").Inc()
		s.log.warn("a shard is refused", "job", task.Job, "shard", task.Shard, "by", task.By, "error", how.err)
		return schemas.ScanSettled, schemas.ShardRefused
	case failures+1 >= attemptsPerShard:
		return schemas.ScanSettled, schemas.ShardFailed
	}
	how.notBefore = time.Now().Add(retryPause).UTC()
	return schemas.ScanReleased, schemas.ShardRetry
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

// record puts one observation on the topic.
func (s *Scanner) record(ctx context.Context, o schemas.Observation) error {
	value, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("encoding an observation: %w", err)
	}
	if err := s.deps.Producer.Produce(ctx, schemas.TopicObservations, []kafka.Record{{Key: []byte(o.Key()), Value: value}}); err != nil {
		return &unsent{err}
	}
	return nil
}

// lookOnce carries a shard out in bounded time and produces what is seen, after
// it has put down why. It stops when the registry withdraws an authorisation that
// the shard began with, when the hours end, when somebody stops the job, and when
// the lease cannot be kept.
func (s *Scanner) lookOnce(ctx context.Context, claim schemas.ScanEvent, task schemas.ScanTask, journal *schemas.Attempt) (seen int, err error) {
	if _, _, err := check(&task); err != nil { // before it is bounded
		return 0, err
	}
	snap := s.deps.Directory.Snapshot()
	p := policyOf(snap, &task, s.cfg.Rate)
	if err := p.closed(time.Now()); err != nil {
		return 0, err
	}
	p.bound(&task, s.cfg.Rate, claim.Shares)
	journal.Rate = task.Rate
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
		s.watch(looking, claim, &task, snap, p, stop)
	}()
	if err := s.record(looking, s.entry(schemas.ObservedBegun, &task, *journal)); err != nil {
		return 0, errors.Join(err, context.Cause(looking))
	}

	var out []kafka.Record
	flush := func(ctx context.Context) error {
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
		return flush(looking)
	}
	err = s.Look(looking, task, snap, emit)
	if cause := context.Cause(looking); err != nil && cause != nil && !errors.Is(err, cause) {
		err = errors.Join(cause, err) // why it was stopped is what it is judged by
	}
	// What was seen before an error was seen.
	saying, cancelSaying := context.WithTimeout(context.WithoutCancel(ctx), s.patience(ctx))
	defer cancelSaying()
	return seen, errors.Join(err, flush(saying))
}

// watch stops a shard that must not go on. Every connection is checked against the
// shard's snapshot; this keeps the snapshot true.
func (s *Scanner) watch(ctx context.Context, claim schemas.ScanEvent, task *schemas.ScanTask, began *directory.Snapshot, p policy, stop context.CancelCauseFunc) {
	ticker := time.NewTicker(scopeCheck)
	defer ticker.Stop()
	last := began
	for {
		changed, err := s.leases.standing(claim)
		if err == nil {
			err = p.closed(time.Now())
		}
		if now := s.deps.Directory.Snapshot(); err == nil && now != last {
			last, p = now, policyOf(now, task, s.cfg.Rate)
			err = withdrawn(began, now, task)
		}
		if err != nil {
			stop(err)
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-changed:
		}
	}
}
