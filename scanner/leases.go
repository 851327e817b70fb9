package scanner

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"fengsui/internal/kafka"
	"fengsui/scanner/queue"
	"fengsui/schemas"
)

const (
	signsPerLease = 5 // how often in a lease a scanner says that it lives
	forgetEvery   = 10 * time.Minute
	forgotten     = time.Hour // a scanner that has been silent
	lastWords     = time.Second
)

// leases keeps the queue equal to its topics, says that this scanner lives, and
// says what it does.
type leases struct {
	deps  Deps
	lease time.Duration
	m     *metrics
	log   *seldom

	mu      sync.Mutex
	queue   *queue.Queue
	me      schemas.ScanAgent
	changed chan struct{}       // closed at the next change
	sent    map[int64]time.Time // signs on their way to the topic and back, by what they say
	alive   time.Time           // when the last sign that arrived was sent; by the monotonic clock
	behind  int                 // topics that were not read to their end yet
	caught  chan struct{}       // closed when all were
}

func newLeases(cfg Config, deps Deps, name string, m *metrics, log *seldom) *leases {
	host, err := os.Hostname()
	if err != nil {
		host = "" // it is for people
	}
	l := &leases{
		deps: deps, lease: cfg.Lease, m: m, log: log, queue: queue.New(cfg.Lease), changed: make(chan struct{}),
		sent: map[int64]time.Time{}, behind: 3, caught: make(chan struct{}),
		me: schemas.ScanAgent{Instance: rand.Text(), Scanner: name, Host: host, Rate: cfg.Rate, Started: time.Now().UTC()},
	}
	l.queue.Current(time.Now()) // nothing of before is judged
	return l
}

// run follows the topics and says that this scanner lives, until ctx ends.
func (l *leases) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	for topic, apply := range map[string]func(kafka.Record){
		schemas.TopicScanTasks: l.task, schemas.TopicScanLeases: l.event, schemas.TopicScanState: l.state,
	} {
		all.Go(func() {
			err := kafka.Follow(ctx, l.deps.Kafka, kafka.Deps{Log: l.deps.Log, Metrics: l.deps.Metrics}, topic, func(r kafka.Record) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				apply(r)
				l.tell()
				return nil
			}, l.caughtUp)
			if ctx.Err() == nil {
				cancel(fmt.Errorf("following %s: %w", topic, err))
			}
		})
	}
	all.Go(func() { l.live(ctx) })
	all.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// tell wakes whoever waits for a change.
func (l *leases) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leases) caughtUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.behind--; l.behind == 0 {
		close(l.caught)
	}
}

// The records of the three topics.

func (l *leases) task(r kafka.Record) {
	var t schemas.ScanTask
	err := json.Unmarshal(r.Value, &t)
	if err == nil && (len(t.Job) > maxText || len(t.Shard) > maxText) {
		err = fmt.Errorf("its job or shard has more than %d bytes", maxText)
	}
	if err != nil {
		l.m.shards.WithLabelValues("", "unreadable").Inc()
		l.log.warn("a record of scan.tasks is no task", "error", err)
		return
	}
	l.queue.Task(t, time.Now())
}

func (l *leases) event(r kafka.Record) {
	var e schemas.ScanEvent
	if err := json.Unmarshal(r.Value, &e); err != nil {
		l.log.warn("a record of scan.leases is no event", "error", err)
		return
	}
	l.queue.Event(e, time.Now())
}

func (l *leases) state(r kafka.Record) {
	if len(r.Value) == 0 {
		l.queue.State(string(r.Key), nil, time.Now())
		return
	}
	var s schemas.ScanState
	if err := json.Unmarshal(r.Value, &s); err != nil {
		l.log.warn("a record of scan.state is none", "error", err)
		return
	}
	l.queue.State(string(r.Key), &s, time.Now())
	if s.Agent == nil || s.Agent.Instance != l.me.Instance {
		return
	}
	if at, ok := l.sent[s.Agent.Time.UnixNano()]; ok {
		l.queue.Current(at)
		for sign, when := range l.sent {
			if !when.After(at) {
				delete(l.sent, sign)
			}
		}
	}
}

// live says that this scanner lives, until ctx ends, and then that it does not.
func (l *leases) live(ctx context.Context) {
	ticker := time.NewTicker(l.lease / signsPerLease)
	defer ticker.Stop()
	cleaned := time.Now()
	for {
		l.sign(ctx)
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
			defer cancel()
			if err := l.say(ctx, schemas.TopicScanState, (&schemas.ScanState{Agent: &l.me}).Key(), nil); err != nil {
				l.log.warn("could not say that this scanner ends", "error", err)
			}
			return
		case <-ticker.C:
		}
		if time.Since(cleaned) >= forgetEvery {
			cleaned = time.Now()
			l.forget(ctx)
		}
	}
}

// sign is one sign of life.
func (l *leases) sign(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, l.lease/2)
	defer cancel()
	l.mu.Lock()
	at := time.Now()
	me := l.me
	me.Time = at.UTC()
	l.sent[at.UnixNano()] = at
	l.mu.Unlock()
	state := schemas.ScanState{Agent: &me}
	if err := l.say(ctx, schemas.TopicScanState, state.Key(), &state); err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			l.log.warn("could not say that this scanner lives", "error", err)
		}
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.alive = at
	l.tell()
}

// forget drops what nobody needs, here and in the topic.
func (l *leases) forget(ctx context.Context) {
	l.mu.Lock()
	l.queue.Forget(time.Now())
	silent := l.queue.Silent(time.Now(), forgotten)
	l.mu.Unlock()
	for i := range silent {
		if err := l.say(ctx, schemas.TopicScanState, (&schemas.ScanState{Agent: &silent[i]}).Key(), nil); err != nil {
			return // another time
		}
	}
}

// say writes a record; a nil value deletes.
func (l *leases) say(ctx context.Context, topic, key string, v any) error {
	r := kafka.Record{Key: []byte(key)}
	if v != nil {
		var err error
		if r.Value, err = json.Marshal(v); err != nil {
			return fmt.Errorf("encoding %s: %w", key, err)
		}
	}
	return l.deps.Producer.Produce(ctx, topic, []kafka.Record{r})
}

// fencedLocked says that others may soon take this scanner for dead.
func (l *leases) fencedLocked() bool { return time.Since(l.alive) >= l.lease*2/3 }

// next waits until there is a shard to claim.
func (l *leases) next(ctx context.Context, shares queue.Shares) (schemas.ScanEvent, error) {
	for {
		l.mu.Lock()
		changed := l.changed
		if !l.fencedLocked() {
			now := time.Now()
			if e, ok := l.queue.Next(now, l.me, shares); ok {
				l.mu.Unlock()
				e.Lease, e.Time = l.lease, now.UTC()
				return e, nil
			}
		}
		l.mu.Unlock()
		// Many changes at a time, such as the tasks of a new job, are one.
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return schemas.ScanEvent{}, context.Cause(ctx)
		}
		select {
		case <-changed:
		case <-time.After(time.Second): // hours begin, leases lapse
		case <-ctx.Done():
			return schemas.ScanEvent{}, context.Cause(ctx)
		}
	}
}

// claim writes a claim and waits until the topic's order has decided about it.
func (l *leases) claim(ctx context.Context, e schemas.ScanEvent) (mine bool, err error) {
	if err := l.say(ctx, schemas.TopicScanLeases, e.Key(), &e); err != nil {
		return false, fmt.Errorf("claiming shard %s: %w", e.Key(), err)
	}
	for {
		l.mu.Lock()
		decided, mine, changed := l.queue.Decided(e), l.queue.Mine(e), l.changed
		fits := mine && l.queue.Fits(e, time.Now())
		l.mu.Unlock()
		switch {
		case mine && !fits: // of a bounded rate nothing is left by those who came before
			return false, l.end(ctx, e, schemas.ScanReleased, schemas.ShardAbandoned, ended{})
		case decided:
			return mine, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

// ended is how an attempt went.
type ended struct {
	err       error
	notBefore time.Time
	seconds   float64
	seen      int
}

// end says that a claim is over.
func (l *leases) end(ctx context.Context, e schemas.ScanEvent, kind schemas.ScanEventKind, o schemas.ScanOutcome, how ended) error {
	e.Kind, e.Outcome, e.Shares, e.Lease = kind, o, nil, 0
	e.Time, e.NotBefore, e.Seconds, e.Seen = time.Now().UTC(), how.notBefore, how.seconds, how.seen
	if how.err != nil {
		e.Error = short(how.err.Error())
	}
	if err := l.say(ctx, schemas.TopicScanLeases, e.Key(), &e); err != nil {
		return fmt.Errorf("giving back shard %s: %w", e.Key(), err)
	}
	return nil
}

// short bounds what is told of an error.
func short(s string) string {
	const most = 500
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// claimed is the task of a claim.
func (l *leases) claimed(e schemas.ScanEvent) (schemas.ScanTask, int, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.queue.Claimed(e)
}

// at says, to whoever asks for the scanners, what this one is at.
func (l *leases) at(shard string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.me.Shard = shard
}

// standing is whether a claim still stands: an error says why its shard must be
// left at once. changed is closed when that may be another.
func (l *leases) standing(e schemas.ScanEvent) (changed <-chan struct{}, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	stop, stopped := l.queue.Stopped(e.Job)
	switch {
	case stopped:
		return nil, &stoppedError{stop}
	case l.fencedLocked() || !l.queue.Mine(e):
		return nil, errLeaseLost
	}
	return l.changed, nil
}

var errLeaseLost = errors.New("the lease could not be kept")

// stoppedError says who has stopped a job.
type stoppedError struct{ stop schemas.ScanStop }

func (s *stoppedError) Error() string {
	text := "stopped by " + s.stop.By
	if s.stop.Reason != "" {
		text += ": " + s.stop.Reason
	}
	return text
}
