package analyzer

import (
	"context"
	"fmt"
	"sync"
	"time"

	"fengsui/analyzer/health"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Silence is looked for this often, at most: more often where the configuration
// reports a shorter one.
const silenceEvery = 30 * time.Second

// sourceHistory is how far back the stored events tell what is usual for a
// source, historyStretches how many stretches of speech are asked for, and
// historyTimeout how long the question may take: without an answer the sources
// are learned anew.
const (
	sourceHistory    = 3 * 24 * time.Hour
	historyStretches = 200_000
	historyTimeout   = 20 * time.Second
)

// sources watches who speaks in one partition of the topic logs. A source is one
// partition's, because its records are keyed by it. What is found goes into the
// same topic under the source's key, as a record of its own.
//
// Silence is judged only when every record of the partition has been read: what
// has not been handled yet is no silence.
type sources struct {
	*Analyzer
	producer  *kafka.Producer
	partition int
	client    *kafka.Client
	cancel    context.CancelFunc
	ended     chan struct{}

	mu    sync.Mutex
	watch *health.Watch
	next  int64 // the offset after the last record handled
	busy  bool  // a batch is being handled
	deaf  bool  // the end of the partition could not be asked for at the last look
	lost  uint64
	found []kafka.Record // by the batch being handled
}

// openSources begins to listen. It knows what the stored events tell.
func (a *Analyzer) openSources(ctx context.Context, producer *kafka.Producer, partition int, committed int64) (*sources, error) {
	client, err := kafka.NewClient(a.deps.Kafka)
	if err != nil {
		return nil, fmt.Errorf("watching the sources: %w", err)
	}
	s := &sources{
		Analyzer: a, producer: producer, partition: partition, client: client,
		watch: health.New(a.cfg.Health), next: committed, ended: make(chan struct{}),
	}
	s.learn(ctx)
	run, cancel := context.WithCancel(context.Background()) // ended by close
	s.cancel = cancel
	go s.run(run)
	return s, nil
}

// learn asks the stored events for the sources' habits.
func (s *sources) learn(ctx context.Context) {
	now := time.Now().UTC()
	ask, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	spoke, err := s.deps.Store.Sources(ask, s.partition, now.Add(-sourceHistory), s.cfg.Health.Silence, historyStretches)
	if err != nil {
		s.log.Warn("what is usual for the sources is learned anew", "partition", s.partition, "error", err)
		return
	}
	for _, x := range spoke {
		if x.Input == health.Dataset {
			continue
		}
		id := health.Source{Unit: x.Unit, Source: x.Source, Input: x.Input, Format: x.Format}
		s.watch.Seed(id, x.First, x.Last, x.Records, now)
	}
}

func (s *sources) close() {
	s.cancel()
	<-s.ended
	_ = s.client.Close()
}

// begin and end stand around a batch.
func (s *sources) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.found = true, s.found[:0]
}

func (s *sources) end(next int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = false
	s.next = max(s.next, next)
}

// note takes a record; what it tells of its source is added to found.
func (s *sources) note(r *kafka.Record, o *schemas.Origin, letter bool) {
	if health.Own(o) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	id := health.Source{Unit: o.Unit, Source: o.Source, Input: o.Input, Format: o.Format}
	for _, f := range s.watch.Note(id, o.Received, r.Time, letter) {
		s.found = append(s.found, findingRecord(&f))
	}
	if lost := s.watch.Evicted(); lost > s.lost {
		s.metrics.forgotten.Add(float64(lost - s.lost))
		s.lost = lost
	}
}

func findingRecord(f *health.Finding) kafka.Record {
	o := f.Origin()
	return kafka.Record{Key: []byte(o.Source), Value: f.Record(), Headers: o.Headers()}
}

// run looks for silence until ctx ends.
func (s *sources) run(ctx context.Context) {
	defer close(s.ended)
	ticker := time.NewTicker(min(silenceEvery, max(s.cfg.Health.Silence/4, 100*time.Millisecond)))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			s.look(ctx)
		}
	}
}

// look reports the sources that are silent too long.
func (s *sources) look(ctx context.Context) {
	ask, cancel := context.WithTimeout(ctx, s.deps.Kafka.Timeout)
	first, end, err := s.client.Bounds(ask, schemas.TopicLogs, s.partition)
	cancel()
	now := time.Now().UTC()
	silent := s.silent(first, end, err, now)
	if len(silent) == 0 {
		return
	}
	out := make([]kafka.Record, len(silent))
	for i := range silent {
		out[i] = findingRecord(&silent[i])
	}
	// For ever: what is not sent would never be found again. When ctx ends first,
	// whoever listens next finds it, because the stored events tell of the source.
	if err := s.producer.Produce(ctx, schemas.TopicLogs, out); err != nil && ctx.Err() == nil {
		s.metrics.badRecords.WithLabelValues(schemas.TopicLogs).Add(float64(len(out)))
		s.log.Error("silent sources could not be reported", "partition", s.partition, "sources", len(out), "error", err)
	}
}

// silent is the verdict at a time, if there is one: none while records are still
// to be read, and none right after Kafka was away, when everybody was silent.
func (s *sources) silent(first, end int64, err error, now time.Time) []health.Finding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.deaf = true
		return nil
	}
	if s.deaf {
		s.deaf = false
		s.watch.Deaf(now)
	}
	read := max(s.next, first)
	if s.busy || end > read+1 { // a transaction ends in a mark that is no record
		return nil
	}
	return s.watch.Silent(now)
}
