package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/uptrace/bun"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// pollEvery is how soon a change made by another process is noticed.
const pollEvery = 250 * time.Millisecond

// turnEvery is how soon a process notices that nobody publishes any more.
const turnEvery = time.Second

// Publisher keeps the compacted topic registry equal to the database. At its
// start it compares the two and mends every difference, so that a broker that
// lost its data, or a database that was restored, is put right; then it sends
// changes as they are made, by whichever process. Of several publishers of one
// registry one works and the others wait, so that no change overtakes another.
type Publisher struct {
	registry *Registry
	kafka    kafka.Config
	deps     PublisherDeps
	sent     prometheus.Counter
	failed   prometheus.Counter
	ready    chan struct{}
	opened   sync.Once
}

// PublisherDeps is what a publisher stands on.
type PublisherDeps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// NewPublisher makes a publisher; it does nothing until Run.
func NewPublisher(r *Registry, cfg kafka.Config, deps PublisherDeps) (*Publisher, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("registry publisher: %w", err)
	}
	p := &Publisher{registry: r, kafka: cfg, deps: deps, ready: make(chan struct{})}
	p.sent = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fengsui_registry_published_total", Help: "Records written to the topic registry.",
	})
	p.failed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fengsui_registry_publisher_interrupted_total", Help: "Times that the publisher lost the database and began anew.",
	})
	if err := errors.Join(deps.Metrics.Register(p.sent), deps.Metrics.Register(p.failed)); err != nil {
		return nil, fmt.Errorf("registry publisher: %w", err)
	}
	return p, nil
}

// Ready is closed when the topic is equal to the database for the first time, or
// another process is found to see to it.
func (p *Publisher) Ready() <-chan struct{} { return p.ready }

// Run publishes until ctx ends, while no other process does. What PostgreSQL
// fails at is tried again: it may come back, at another place.
func (p *Publisher) Run(ctx context.Context) error {
	producer, err := kafka.NewProducer(p.kafka, kafka.Deps{Log: p.deps.Log, Metrics: p.deps.Metrics})
	if err != nil {
		return fmt.Errorf("registry publisher: %w", err)
	}
	defer producer.Close()
	for waited := false; ; waited = true {
		err := p.turn(ctx, producer, waited)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && (!p.registry.postgres() || !errors.Is(err, errDatabase)) {
			return err
		}
		if err != nil {
			p.failed.Inc()
			p.deps.Log.Warn("publishing the registry is interrupted; it is tried again", "error", err)
		}
		if !sleep(ctx, turnEvery) {
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) (slept bool) {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// turn publishes while this process leads. Without an error another one does.
func (p *Publisher) turn(ctx context.Context, producer *kafka.Producer, waited bool) error {
	db, end, err := p.registry.lead(ctx)
	if err != nil {
		return database(err)
	}
	if db == nil {
		p.opened.Do(func() { close(p.ready) })
		return nil
	}
	defer end()
	// Whoever led before may have lost PostgreSQL and still hold a batch that is
	// on its way to the broker: what is compared before it has arrived would miss it.
	if waited && p.registry.postgres() && !sleep(ctx, p.kafka.Timeout+turnEvery) {
		return nil
	}
	last, err := p.reconcile(ctx, producer)
	if err != nil {
		return fmt.Errorf("comparing the topic %s with the registry: %w", schemas.TopicRegistry, err)
	}
	p.opened.Do(func() { close(p.ready) })
	for sleep(ctx, pollEvery) {
		if last, err = p.sendChanges(ctx, db, producer, last); err != nil {
			return fmt.Errorf("publishing changes of the registry: %w", err)
		}
	}
	return nil
}

// errDatabase marks what the database failed at.
var errDatabase = errors.New("database")

func database(err error) error {
	if err == nil {
		return nil
	}
	return classified{err, errDatabase}
}

// reconcile makes the topic equal to the database and returns the last change
// that is in it.
func (p *Publisher) reconcile(ctx context.Context, producer *kafka.Producer) (last int64, err error) {
	there, err := p.published(ctx)
	if err != nil {
		return 0, err
	}
	// The change is read before the content: a change in between is sent twice,
	// which changes nothing.
	if last, err = lastChange(ctx, p.registry.db); err != nil {
		return 0, database(err)
	}
	content, err := p.registry.All(ctx)
	if err != nil {
		return 0, database(err)
	}
	records, err := publicationOf(content)
	if err != nil {
		return 0, err
	}
	mark := schemas.RegistryRecord{Ready: &schemas.RegistryReady{Version: uint64(last)}} //nolint:gosec // ids count up from 1
	value, err := json.Marshal(mark)
	if err != nil {
		return 0, err
	}
	var out []record
	for _, r := range records {
		if there[r.key] != string(r.value) {
			out = append(out, r)
		}
		delete(there, r.key)
	}
	delete(there, directory.RecordKey(mark))
	for key := range there {
		out = append(out, record{key: key})
	}
	// The mark comes last: whoever has read it has read a whole registry.
	return last, p.send(ctx, producer, append(out, record{key: directory.RecordKey(mark), value: value}))
}

// published reads what the topic holds now.
func (p *Publisher) published(ctx context.Context) (map[string]string, error) {
	there := map[string]string{}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	errCaughtUp := errors.New("caught up")
	apply := func(r kafka.Record) error {
		if len(r.Value) == 0 {
			delete(there, string(r.Key))
		} else {
			there[string(r.Key)] = string(r.Value)
		}
		return nil
	}
	err := kafka.Follow(ctx, p.kafka, kafka.Deps{Log: p.deps.Log, Metrics: nil}, schemas.TopicRegistry, apply, func() { cancel(errCaughtUp) })
	if errors.Is(context.Cause(ctx), errCaughtUp) {
		return there, nil
	}
	return nil, err
}

// sendChanges sends the changes after last, read by the connection that holds
// the turn: when the turn is over, so are the changes.
func (p *Publisher) sendChanges(ctx context.Context, db bun.IDB, producer *kafka.Producer, last int64) (int64, error) {
	for {
		rows, err := changesAfter(ctx, db, last)
		if err != nil || len(rows) == 0 {
			return last, database(err)
		}
		out := make([]record, 0, len(rows))
		for _, row := range rows {
			value, public, err := publication(row.Key, row.Value)
			if err != nil {
				return last, err
			}
			if public {
				out = append(out, record{key: row.Key, value: value})
			}
		}
		if err := p.send(ctx, producer, out); err != nil {
			return last, err
		}
		last = rows[len(rows)-1].ID
	}
}

func (p *Publisher) send(ctx context.Context, producer *kafka.Producer, records []record) error {
	for chunk := range slices.Chunk(records, maxChanges) {
		out := make([]kafka.Record, len(chunk))
		for i, r := range chunk {
			out[i] = kafka.Record{Key: []byte(r.key), Value: r.value}
		}
		if err := producer.Produce(ctx, schemas.TopicRegistry, out); err != nil {
			return err
		}
		p.sent.Add(float64(len(chunk)))
	}
	return nil
}
