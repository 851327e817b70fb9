// Package kafka reads topics that others write: Zeek, Suricata, Filebeat. Each
// record becomes one line, whose id is its place in its cluster: read again, it
// is the same line.
//
// An offset is committed once its line has reached our own Kafka. Lines in the
// spool are not there yet: until the spool is empty nothing more is read, since
// the others' Kafka keeps its records anyway, and another collector of the same
// group that took a partition over would overtake them. The package never looks
// into a record further than for the name of its sender.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/valyala/fastjson"

	"fengsui/collector/input"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Config says what to read. What is zero takes its default.
type Config struct {
	Brokers []string         `koanf:"brokers"` // host:port of some or all brokers; empty: the Kafka that the collector itself writes to
	TLS     kafka.TLSConfig  `koanf:"tls"`     // with brokers
	SASL    kafka.SASLConfig `koanf:"sasl"`    // with brokers
	Timeout time.Duration    `koanf:"timeout"` // for one request; 10s
	Group   string           `koanf:"group"`   // consumer group; a new one begins with the oldest records; fengsui-collector
	Cluster string           `koanf:"cluster"` // name of the cluster in the lines' ids; empty: what the brokers say
	Topics  []Topic          `koanf:"topics"`  // at least one

	SourceHeader string `koanf:"source_header"` // the record's header that names the line's source
	SourceField  string `koanf:"source_field"`  // the field of a record in JSON that does, such as host.name; without either the topic is the source
}

// Topic is one topic.
type Topic struct {
	Name   string `koanf:"name"`
	Format string `koanf:"format"` // of its records; empty: the input's
}

// Deps is what an input needs from the process. Log and Metrics, which is the
// input's own, may be nil.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	// Groups registers what internal/kafka tells of its groups, under the same
	// names for all of a process; nil: nowhere.
	Groups  prometheus.Registerer
	Own     kafka.Config  // the Kafka that the collector writes to
	Spooled func() uint64 // lines that are on their way to it in the spool; nil: never any
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.Group == "" {
		c.Group = "fengsui-collector"
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	return c
}

// client is how the topics' brokers are spoken to.
func (c Config) client(own kafka.Config) kafka.Config {
	if len(c.Brokers) == 0 {
		return own
	}
	cfg := kafka.DefaultConfig()
	cfg.ClientID = own.ClientID
	cfg.Brokers, cfg.TLS, cfg.SASL, cfg.Timeout = c.Brokers, c.TLS, c.SASL, c.Timeout
	return cfg
}

func (c Config) group() kafka.GroupConfig {
	gc := kafka.DefaultGroupConfig()
	gc.Group, gc.MaxBytes = c.Group, 4<<20
	for _, t := range c.Topics {
		gc.Topics = append(gc.Topics, t.Name)
	}
	return gc
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	if len(c.Brokers) > 0 {
		errs = append(errs, c.client(kafka.DefaultConfig()).Validate())
	} else if c.TLS != (kafka.TLSConfig{}) || c.SASL != (kafka.SASLConfig{}) {
		errs = append(errs, errors.New("tls, sasl: are of the brokers, of which there are none"))
	}
	seen := make(map[string]bool)
	for i, t := range c.Topics {
		switch {
		case t.Name == "" || len(t.Name) > 249 || strings.ContainsFunc(t.Name, func(r rune) bool {
			return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", r)
		}):
			errs = append(errs, fmt.Errorf("topics: number %d: %q is no name of a topic", i+1, t.Name))
		case seen[t.Name]:
			errs = append(errs, fmt.Errorf("topics: %s is there twice", t.Name))
		}
		seen[t.Name] = true
	}
	if len(c.Cluster) > 64 || strings.ContainsAny(c.Cluster, "/ \t\r\n") {
		errs = append(errs, fmt.Errorf("cluster: %q is no name", c.Cluster))
	}
	if c.SourceHeader != "" && c.SourceField != "" {
		errs = append(errs, errors.New("source_header, source_field: give one of them"))
	}
	return errors.Join(append(errs, c.group().Validate())...)
}

// Input reads topics. New makes one.
type Input struct {
	cfg     Config
	deps    Deps
	formats map[string]string
	field   []string
	cluster string
	empty   prometheus.Counter
}

// New checks cfg and connects to nothing.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Spooled == nil {
		deps.Spooled = func() uint64 { return 0 }
	}
	in := &Input{
		cfg: cfg.WithDefaults(), deps: deps, formats: make(map[string]string),
		empty: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_kafka_empty_records_total", Help: "Records without a value (tombstones), which are no lines.",
		}),
	}
	for _, t := range in.cfg.Topics {
		in.formats[t.Name] = t.Format
	}
	if in.cfg.SourceField != "" {
		in.field = strings.Split(in.cfg.SourceField, ".")
	}
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(in.empty); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return in, nil
}

// Run reads until ctx ends, whatever the brokers do, and returns nil then.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	cfg := in.cfg.client(in.deps.Own)
	if err := in.meet(ctx, cfg); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	group, err := kafka.NewGroup(cfg, kafka.Deps{Log: in.deps.Log, Metrics: in.deps.Groups}, in.cfg.group(),
		func(_ context.Context, topic string, partition int, _ int64) (kafka.Handler, int64, error) {
			return &handler{
				in: in, sink: sink, topic: topic, format: in.formats[topic],
				stream: fmt.Sprintf("kafka/%s/%s/%d", in.cluster, topic, partition),
			}, kafka.Committed, nil
		})
	if err != nil {
		return err
	}
	return group.Run(ctx)
}

// meet asks the brokers for their cluster's name. Our own topics in our own
// cluster are not read: what is read would be written there again, for ever.
func (in *Input) meet(ctx context.Context, cfg kafka.Config) error {
	id, err := clusterID(ctx, cfg)
	if err != nil {
		return err
	}
	for _, t := range schemas.Topics() {
		if _, reads := in.formats[t.Name]; !reads {
			continue
		}
		own := id
		if !slices.Equal(cfg.Brokers, in.deps.Own.Brokers) {
			if own, err = clusterID(ctx, in.deps.Own); err != nil {
				return err
			}
		}
		if own == id {
			return fmt.Errorf("topic %s is the collector's own, in the cluster it writes to", t.Name)
		}
	}
	if in.cluster = in.cfg.Cluster; in.cluster == "" {
		if in.cluster = id; id == "" {
			return errors.New("the brokers do not say their cluster's id: name it with cluster")
		}
	}
	return nil
}

func clusterID(ctx context.Context, cfg kafka.Config) (string, error) {
	c, err := kafka.NewClient(cfg)
	if err != nil {
		return "", err
	}
	defer c.Close() //nolint:errcheck // never fails
	return c.ClusterID(ctx)
}

// handler makes lines of one partition's records.
type handler struct {
	in     *Input
	sink   input.Sink
	topic  string
	format string
	stream string
	json   fastjson.Parser
}

// Handle hands the records on and waits until they have arrived.
func (h *handler) Handle(ctx context.Context, records []kafka.Record) error {
	lines := make([]input.Line, 0, len(records))
	now := time.Now()
	for i := range records {
		r := &records[i]
		if len(r.Value) == 0 {
			h.in.empty.Inc()
			continue
		}
		lines = append(lines, input.Line{
			Value: r.Value, Source: h.source(r), Received: now, Format: h.format,
			Stream: h.stream, Seq: uint64(r.Offset), //nolint:gosec // Kafka's offsets are not negative
		})
	}
	if len(lines) == 0 {
		return nil
	}
	if err := h.drained(ctx); err != nil {
		return err
	}
	done := make(chan struct{})
	if err := h.sink.Put(ctx, lines, func() { close(done) }); err != nil {
		return err
	}
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return h.drained(ctx)
}

// spoolWait is how often the spool is looked at while it is not empty.
const spoolWait = 50 * time.Millisecond

// drained waits until nothing is in the spool.
func (h *handler) drained(ctx context.Context) error {
	for h.in.deps.Spooled() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(spoolWait):
		}
	}
	return nil
}

// maxSource bounds a source's name: it is the key of the record in our Kafka.
const maxSource = 256

// source is who sent the record, or the topic where it does not say.
func (h *handler) source(r *kafka.Record) string {
	name := ""
	switch {
	case h.in.cfg.SourceHeader != "":
		for _, header := range r.Headers {
			if header.Key == h.in.cfg.SourceHeader {
				name = string(header.Value)
			}
		}
	case h.in.field != nil:
		name = h.fieldOf(r.Value)
	}
	name = strings.ToValidUTF8(name, "")
	if name == "" || len(name) > maxSource || strings.ContainsAny(name, "\x00\r\n") {
		return h.topic
	}
	return name
}

// fieldOf finds the field in a record: nested, or with dots in its name.
func (h *handler) fieldOf(value []byte) string {
	v, err := h.json.ParseBytes(value)
	if err != nil {
		return ""
	}
	if b := v.GetStringBytes(h.in.field...); len(b) > 0 {
		return string(b)
	}
	return string(v.GetStringBytes(h.in.cfg.SourceField))
}

// Close is kafka.Handler's.
func (h *handler) Close() error { return nil }
