package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// pollEvery is how soon a change made by another process is noticed.
const pollEvery = 250 * time.Millisecond

// Publisher keeps the compacted topic registry equal to the database. At its
// start it compares the two and mends every difference, so that a broker that
// lost its data, or a database that was restored, is put right; then it sends
// changes as they are made, by whichever process.
type Publisher struct {
	registry *Registry
	kafka    kafka.Config
	deps     PublisherDeps
	sent     prometheus.Counter
	ready    chan struct{}
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
	if err := deps.Metrics.Register(p.sent); err != nil {
		return nil, fmt.Errorf("registry publisher: %w", err)
	}
	return p, nil
}

// Ready is closed when the topic is equal to the database for the first time.
func (p *Publisher) Ready() <-chan struct{} { return p.ready }

// Run publishes until ctx ends.
func (p *Publisher) Run(ctx context.Context) error {
	producer, err := kafka.NewProducer(p.kafka, kafka.Deps{Log: p.deps.Log, Metrics: p.deps.Metrics})
	if err != nil {
		return fmt.Errorf("registry publisher: %w", err)
	}
	defer producer.Close()
	last, err := p.reconcile(ctx, producer)
	if err != nil {
		return stopped(ctx, fmt.Errorf("comparing the topic %s with the registry: %w", schemas.TopicRegistry, err))
	}
	close(p.ready)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if last, err = p.sendChanges(ctx, producer, last); err != nil {
			return stopped(ctx, fmt.Errorf("publishing changes of the registry: %w", err))
		}
	}
}

// stopped hides an error that is only the end of ctx.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
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
	if last, err = p.registry.lastChange(ctx); err != nil {
		return 0, err
	}
	content, err := p.registry.All(ctx)
	if err != nil {
		return 0, err
	}
	records, err := recordsOf(content)
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
	return last, p.send(ctx, producer, append(out, record{directory.RecordKey(mark), value}))
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

func (p *Publisher) sendChanges(ctx context.Context, producer *kafka.Producer, last int64) (int64, error) {
	for {
		rows, err := p.registry.changesAfter(ctx, last)
		if err != nil || len(rows) == 0 {
			return last, err
		}
		out := make([]record, len(rows))
		for i, row := range rows {
			out[i] = record{key: row.Key}
			if row.Value != "" { // a deletion has no value at all: an empty one would not be a tombstone
				out[i].value = []byte(row.Value)
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
