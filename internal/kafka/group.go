package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
)

// Committed is what an OpenFunc returns to go on from the committed offset, or
// from the earliest record where nothing is committed.
const Committed int64 = -1

// Handler handles the records of one partition.
type Handler interface {
	// Handle takes records in order: all of one partition, at most MaxBatch.
	// When it returns nil, the offset after the last of them may be committed;
	// that says that they need never be read again. An error closes the handler
	// and opens another from the committed offset, after a pause. It must return
	// soon after ctx ends: the group waits for it.
	Handle(ctx context.Context, records []Record) error
	// Close is called once, after the last Handle has returned.
	Close() error
}

// OpenFunc is called when a partition is assigned, and again after an error of
// its handler. committed is the group's committed offset, or -1. Reading begins
// at from: Committed, or any offset, before or after: a handler that rebuilds a
// state goes back. Offsets before the committed one are not committed again.
type OpenFunc func(ctx context.Context, topic string, partition int, committed int64) (h Handler, from int64, err error)

// GroupConfig says what a group reads.
type GroupConfig struct {
	Group          string        `koanf:"group"`
	Topics         []string      `koanf:"topics"`
	MaxBatch       int           `koanf:"max_batch"`       // records in one Handle
	MaxBytes       int           `koanf:"max_bytes"`       // in one Handle, about
	MaxWait        time.Duration `koanf:"max_wait"`        // from a batch's first record to its Handle
	CommitInterval time.Duration `koanf:"commit_interval"` // commits are gathered this long
	SessionTimeout time.Duration `koanf:"session_timeout"` // a member that died is missed after this
}

// DefaultGroupConfig has everything but the group's name and topics.
func DefaultGroupConfig() GroupConfig {
	return GroupConfig{
		MaxBatch:       10_000,
		MaxBytes:       16 << 20,
		MaxWait:        200 * time.Millisecond,
		CommitInterval: 200 * time.Millisecond,
		SessionTimeout: 10 * time.Second,
	}
}

// Validate says what is wrong with c.
func (c GroupConfig) Validate() error {
	var errs []error
	if c.Group == "" {
		errs = append(errs, errors.New("group: is empty"))
	}
	if len(c.Topics) == 0 {
		errs = append(errs, errors.New("topics: is empty"))
	}
	if c.MaxBatch < 1 || c.MaxBatch > 1_000_000 {
		errs = append(errs, fmt.Errorf("max_batch: %d is not between 1 and 1000000", c.MaxBatch))
	}
	if c.MaxBytes < 64<<10 || c.MaxBytes > 256<<20 {
		errs = append(errs, fmt.Errorf("max_bytes: %d is not between 64 KiB and 256 MiB", c.MaxBytes))
	}
	if c.MaxWait < 0 || c.MaxWait > time.Minute {
		errs = append(errs, fmt.Errorf("max_wait: %v is not between 0 and 1m", c.MaxWait))
	}
	if c.CommitInterval < 10*time.Millisecond || c.CommitInterval > time.Minute {
		errs = append(errs, fmt.Errorf("commit_interval: %v is not between 10ms and 1m", c.CommitInterval))
	}
	if c.SessionTimeout < 6*time.Second || c.SessionTimeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("session_timeout: %v is not between 6s and 5m", c.SessionTimeout))
	}
	return errors.Join(errs...)
}

// Group is one member of a consumer group.
type Group struct {
	cfg   Config
	gc    GroupConfig
	c     *client
	open  OpenFunc
	quiet quiet
	deps  Deps

	active atomic.Int32 // generations at work: 0 or 1

	lag                 *prometheus.GaugeVec
	records, errs, lost *prometheus.CounterVec
	generations         prometheus.Counter
}

// NewGroup checks the configuration and connects to nothing.
func NewGroup(cfg Config, deps Deps, gc GroupConfig, open OpenFunc) (*Group, error) {
	if err := gc.Validate(); err != nil {
		return nil, fmt.Errorf("kafka: group: %w", err)
	}
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	reg := deps.Metrics
	return &Group{
		cfg: cfg, gc: gc, c: c, open: open, deps: deps,
		quiet:   quiet{log: deps.log()},
		lag:     gauge(reg, "lag_records", "Records that the group has not handled yet.", "group", "topic", "partition"),
		records: counter(reg, "handled_records_total", "Records handled; redelivered ones count again.", "group", "topic"),
		errs:    counter(reg, "handle_errors_total", "Errors of handlers, each followed by a redelivery.", "group", "topic"),
		lost:    counter(reg, "lost_records_total", "Records that retention deleted before the group read them.", "group", "topic"),
		generations: counter(reg, "generations_total", "Times that partitions were assigned anew.", "group").
			WithLabelValues(gc.Group),
	}, nil
}

// Run reads until ctx ends, whatever the brokers do, and returns nil then. On
// the way out it commits what is handled and leaves the group.
func (g *Group) Run(ctx context.Context) error {
	defer g.c.close()
	if err := g.waitForTopics(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended
	}
	cg, err := kafkago.NewConsumerGroup(kafkago.ConsumerGroupConfig{
		ID:      g.gc.Group,
		Brokers: g.cfg.Brokers,
		Topics:  g.gc.Topics,
		Dialer: &kafkago.Dialer{
			ClientID: g.cfg.ClientID, Timeout: dialTimeout, DualStack: true,
			TLS: g.c.tls, SASLMechanism: g.c.sasl, DialFunc: g.c.dial,
		},
		HeartbeatInterval:      g.gc.SessionTimeout / 5,
		SessionTimeout:         g.gc.SessionTimeout,
		RebalanceTimeout:       30 * time.Second,
		JoinGroupBackoff:       500 * time.Millisecond,
		WatchPartitionChanges:  true,
		PartitionWatchInterval: 10 * time.Second,
		StartOffset:            kafkago.FirstOffset,
		Timeout:                g.cfg.Timeout,
	})
	if err != nil {
		return fmt.Errorf("joining group %s: %w", g.gc.Group, err)
	}
	defer g.leave(cg)
	for {
		gen, err := cg.Next(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil { // kafka-go pauses and tries again by itself
			g.quiet.warn("joining the group", "group", g.gc.Group, "error", err)
			continue
		}
		g.generations.Inc()
		g.active.Add(1)
		gen.Start(func(gctx context.Context) {
			defer g.active.Add(-1)
			g.generation(gctx, gen)
		})
	}
}

// leave ends the membership. Handlers are waited for; a broker that keeps us
// waiting to join is not.
func (g *Group) leave(cg *kafkago.ConsumerGroup) {
	left := make(chan struct{})
	go func() {
		_ = cg.Close()
		close(left)
	}()
	patience := time.NewTicker(2 * time.Second)
	defer patience.Stop()
	for {
		select {
		case <-left:
			return
		case <-patience.C:
			if g.active.Load() == 0 {
				g.c.close()
			}
		}
	}
}

func (g *Group) waitForTopics(ctx context.Context) error {
	var b backoff
	for _, topic := range g.gc.Topics {
		for {
			ask, cancel := context.WithTimeout(ctx, g.cfg.Timeout)
			_, err := g.c.partitions(ask, topic)
			cancel()
			if err == nil {
				break
			}
			if ctx.Err() == nil {
				g.quiet.warn("waiting for a topic", "group", g.gc.Group, "topic", topic, "error", err)
			}
			if err := b.wait(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// generation works on the assigned partitions until the generation ends. It
// returns only when every handler is closed, because another member may have
// the partitions from then on.
func (g *Group) generation(ctx context.Context, gen *kafkago.Generation) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	com := &committer{dirty: make(map[string]map[int]int64)}
	var wg sync.WaitGroup
	for topic, partitions := range gen.Assignments {
		for _, a := range partitions {
			p := &partition{
				g: g, topic: topic, id: a.ID, com: com, committed: a.Offset,
				label: prometheus.Labels{"group": g.gc.Group, "topic": topic, "partition": strconv.Itoa(a.ID)},
			}
			if a.Offset < 0 {
				p.committed = -1
			}
			wg.Go(func() { p.run(ctx) })
		}
	}
	ticker := time.NewTicker(g.gc.CommitInterval)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-ticker.C:
			if err := com.flush(gen); err != nil {
				// The generation is over, or the coordinator away: begin anew
				// from what is committed.
				g.quiet.warn("committing offsets", "group", g.gc.Group, "error", err)
				cancel()
			}
		}
	}
	wg.Wait()
	if err := com.flush(gen); err != nil {
		g.quiet.warn("committing offsets at the end of a generation", "group", g.gc.Group, "error", err)
	}
}

// committer gathers what may be committed.
type committer struct {
	mu    sync.Mutex
	dirty map[string]map[int]int64
}

func (c *committer) set(topic string, partition int, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty[topic] == nil {
		c.dirty[topic] = make(map[int]int64)
	}
	c.dirty[topic][partition] = offset
}

func (c *committer) flush(gen *kafkago.Generation) error {
	c.mu.Lock()
	dirty := c.dirty
	c.dirty = make(map[string]map[int]int64)
	c.mu.Unlock()
	if len(dirty) == 0 {
		return nil
	}
	return gen.CommitOffsets(dirty)
}

// partition is an assigned partition.
type partition struct {
	g         *Group
	topic     string
	id        int
	com       *committer
	committed int64 // offset after the last handled record, or -1
	label     prometheus.Labels
}

// run opens handlers and feeds them until ctx ends.
func (p *partition) run(ctx context.Context) {
	defer p.g.lag.Delete(p.label)
	var b backoff
	for ctx.Err() == nil {
		before := p.committed
		err := p.session(ctx)
		if ctx.Err() != nil {
			return
		}
		if p.committed != before {
			b.reset()
		}
		p.g.errs.WithLabelValues(p.g.gc.Group, p.topic).Inc()
		p.g.quiet.warn("handling records failed; they will be handled again",
			"group", p.g.gc.Group, "topic", p.topic, "partition", p.id, "committed", p.committed, "error", err)
		_ = b.wait(ctx)
	}
}

// session is the life of one handler.
func (p *partition) session(ctx context.Context) (err error) {
	h, from, err := p.g.open(ctx, p.topic, p.id, p.committed)
	if err != nil {
		return fmt.Errorf("opening the handler of %s/%d: %w", p.topic, p.id, err)
	}
	defer func() {
		if cerr := h.Close(); cerr != nil {
			err = errors.Join(err, fmt.Errorf("closing the handler of %s/%d: %w", p.topic, p.id, cerr))
		}
	}()
	if from == Committed {
		from = p.committed
	}
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan fetched, 1) // the next is fetched while one is handled
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { p.fetch(ctx, from, chunks) })
	return p.handle(ctx, h, chunks)
}

// handle gathers batches and gives them to h.
func (p *partition) handle(ctx context.Context, h Handler, chunks <-chan fetched) error {
	var (
		batch     []Record
		bytes     int
		next, end int64
		timer     = time.NewTimer(time.Hour) // of the batch's first record
	)
	timer.Stop()
	defer timer.Stop()
	// flush handles full batches, and with all also the rest.
	flush := func(all bool) error {
		for len(batch) > 0 && (all || len(batch) >= p.g.gc.MaxBatch || bytes >= p.g.gc.MaxBytes) {
			n, size := p.cut(batch)
			if err := h.Handle(ctx, batch[:n:n]); err != nil {
				return fmt.Errorf("handling %d records of %s/%d from offset %d: %w", n, p.topic, p.id, batch[0].Offset, err)
			}
			p.handled(batch[n-1].Offset+1, n, end)
			batch, bytes = batch[n:], bytes-size
			timer.Reset(p.g.gc.MaxWait)
		}
		if len(batch) == 0 {
			// What follows the last record (a transaction's mark) is done with too.
			p.handled(next, 0, end)
			batch = nil
			timer.Stop()
		}
		return ctx.Err()
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			if err := flush(true); err != nil {
				return err
			}
		case c := <-chunks:
			if c.reset {
				if err := flush(true); err != nil {
					return err
				}
				p.committed = -1
			}
			if len(batch) == 0 && len(c.records) > 0 {
				timer.Reset(p.g.gc.MaxWait)
			}
			batch = append(batch, c.records...)
			for i := range c.records {
				bytes += c.records[i].size()
			}
			next, end = c.next, c.end
			if err := flush(false); err != nil {
				return err
			}
		}
	}
}

// cut says how many records, with how many bytes, the next Handle gets.
func (p *partition) cut(records []Record) (n, bytes int) {
	for i := range records {
		size := records[i].size()
		if i > 0 && (i == p.g.gc.MaxBatch || bytes+size > p.g.gc.MaxBytes) {
			return i, bytes
		}
		bytes += size
	}
	return len(records), bytes
}

// handled notes that everything before next is done.
func (p *partition) handled(next int64, n int, end int64) {
	p.g.lag.With(p.label).Set(float64(max(end-next, 0)))
	if n > 0 {
		p.g.records.WithLabelValues(p.g.gc.Group, p.topic).Add(float64(n))
	}
	if next > p.committed {
		p.committed = next
		p.com.set(p.topic, p.id, next)
	}
}

// fetch reads from the partition into chunks until ctx ends.
func (p *partition) fetch(ctx context.Context, from int64, chunks chan<- fetched) {
	r := &reader{c: p.g.c, topic: p.topic, partition: p.id, offset: from}
	var b backoff
	for ctx.Err() == nil {
		got, err := p.fetchOnce(ctx, r)
		if err != nil {
			if ctx.Err() == nil {
				p.g.quiet.warn("fetching", "group", p.g.gc.Group, "topic", p.topic, "partition", p.id, "error", err)
			}
			_ = b.wait(ctx)
			continue
		}
		b.reset()
		select {
		case chunks <- got:
		case <-ctx.Done():
		}
	}
}

// fetchOnce is the reader's fetch with the beginning found first where it is
// not known, or no longer there.
func (p *partition) fetchOnce(ctx context.Context, r *reader) (fetched, error) {
	if r.offset < 0 {
		first, _, err := p.g.c.bounds(ctx, p.topic, p.id)
		if err != nil {
			return fetched{}, err
		}
		r.offset = first
	}
	got, err := r.fetch(ctx)
	if !errors.Is(err, kafkago.OffsetOutOfRange) {
		return got, err
	}
	first, end, berr := p.g.c.bounds(ctx, p.topic, p.id)
	if berr != nil {
		return fetched{}, errors.Join(err, berr)
	}
	lost := max(first-r.offset, 0)
	p.g.lost.WithLabelValues(p.g.gc.Group, p.topic).Add(float64(lost))
	p.g.deps.log().Error("records were deleted before they were read",
		"group", p.g.gc.Group, "topic", p.topic, "partition", p.id,
		"wanted", r.offset, "first", first, "end", end, "lost", lost)
	reset := r.offset > end
	r.offset = first
	got, err = r.fetch(ctx)
	got.reset = reset
	return got, err
}
