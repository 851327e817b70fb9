// Package packet is the collector's built-in sensor, for networks that have a
// mirror port but no Zeek. It reads a capture file or an interface and writes
// records shaped like Zeek's JSON logs: conn, dns, ssl (with server name, JA3,
// JA3S and JA4), http, and stratum for mining conversations in the clear.
//
// It recognises protocols by content, never by port alone (DNS excepted), and
// holds bounded memory whatever arrives. It never writes to the network, never
// keeps a password, and never judges: a stratum record says what was spoken.
package packet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
)

// Format is the Line.Format of every record.
const Format = "zeek-json"

// paths are the kinds of records.
var paths = []string{"conn", "dns", "ssl", "http", "stratum"}

// Config says what to read. Exactly one of File and Interface is given.
// Time-outs are in packet time.
type Config struct {
	File      string   `koanf:"file"`      // a capture: pcap or pcapng, plain or gzip
	Interface string   `koanf:"interface"` // a mirror port; needs CAP_NET_RAW
	Records   []string `koanf:"records"`   // kinds to write: conn, dns, ssl, http, stratum

	Promiscuous bool `koanf:"promiscuous"` // also take what is not addressed to this machine
	SnapLen     int  `koanf:"snap_len"`    // bytes taken of a packet
	RingMiB     int  `koanf:"ring_mib"`    // the kernel's ring buffer

	MaxConnections int `koanf:"max_connections"` // beyond it the least worth keeping are ended early
	MaxBufferMiB   int `koanf:"max_buffer_mib"`  // of all streams that wait for missing bytes

	AttemptTimeout time.Duration `koanf:"attempt_timeout"` // a SYN that nobody answers
	TCPTimeout     time.Duration `koanf:"tcp_timeout"`     // silence of a TCP connection
	UDPTimeout     time.Duration `koanf:"udp_timeout"`     // silence of a UDP exchange
	ICMPTimeout    time.Duration `koanf:"icmp_timeout"`    // silence of an ICMP exchange
	DNSTimeout     time.Duration `koanf:"dns_timeout"`     // a query without an answer

	StratumFirst int           `koanf:"stratum_first"` // messages of one method that a connection gets written in full
	StratumEvery time.Duration `koanf:"stratum_every"` // after these, one per so much time
}

// DefaultConfig has Zeek's own time-outs.
func DefaultConfig() Config {
	return Config{
		Records:     slices.Clone(paths),
		Promiscuous: true, SnapLen: 65536, RingMiB: 64,
		MaxConnections: 200_000, MaxBufferMiB: 128,
		AttemptTimeout: 5 * time.Second, TCPTimeout: 5 * time.Minute,
		UDPTimeout: time.Minute, ICMPTimeout: time.Minute, DNSTimeout: 10 * time.Second,
		StratumFirst: 5, StratumEvery: 10 * time.Minute,
	}
}

// Validate checks everything that can be checked without the source.
func (c Config) Validate() error {
	if (c.File == "") == (c.Interface == "") {
		return errors.New("packet: give either file or interface")
	}
	if len(c.Records) == 0 {
		return errors.New("packet: records is empty: nothing would be written")
	}
	for _, r := range c.Records {
		if !slices.Contains(paths, r) {
			return fmt.Errorf("packet: records: %q is none of %v", r, paths)
		}
	}
	between := func(name string, v, low, high int) error {
		if v < low || v > high {
			return fmt.Errorf("packet: %s is %d, not between %d and %d", name, v, low, high)
		}
		return nil
	}
	positive := func(name string, d time.Duration) error {
		if d <= 0 {
			return fmt.Errorf("packet: %s is %v, not positive", name, d)
		}
		return nil
	}
	return errors.Join(
		between("snap_len", c.SnapLen, 128, 262144),
		between("ring_mib", c.RingMiB, 1, 4096),
		between("max_connections", c.MaxConnections, 16, 10_000_000),
		between("max_buffer_mib", c.MaxBufferMiB, 1, 65536),
		between("stratum_first", c.StratumFirst, 1, 1_000_000),
		positive("attempt_timeout", c.AttemptTimeout),
		positive("tcp_timeout", c.TCPTimeout),
		positive("udp_timeout", c.UDPTimeout),
		positive("icmp_timeout", c.ICMPTimeout),
		positive("dns_timeout", c.DNSTimeout),
		positive("stratum_every", c.StratumEvery),
	)
}

func (c Config) limits() limits {
	l := limits{
		connections: c.MaxConnections, buffered: c.MaxBufferMiB << 20, queries: c.MaxConnections,
		dnsTimeout:   int64(c.DNSTimeout),
		stratumFirst: c.StratumFirst, stratumEvery: int64(c.StratumEvery),
	}
	l.timeouts[classAttempt] = int64(c.AttemptTimeout)
	l.timeouts[classClosing] = int64(min(c.AttemptTimeout, 5*time.Second))
	l.timeouts[classUDP] = int64(c.UDPTimeout)
	l.timeouts[classICMP] = int64(c.ICMPTimeout)
	l.timeouts[classOpen] = int64(c.TCPTimeout)
	return l
}

// Deps is what the sensor needs of its surroundings. Both may be nil.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Sensor is an input of the collector.
type Sensor struct {
	cfg   Config
	log   *slog.Logger
	m     *metrics
	ready chan struct{}
}

var _ input.Input = (*Sensor)(nil)

// New checks the configuration; it opens nothing.
func New(cfg Config, deps Deps) (*Sensor, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("packet: registering metrics: %w", err)
	}
	log := deps.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Sensor{cfg: cfg, log: log, m: m, ready: make(chan struct{})}, nil
}

// Ready is closed when the source is open: packets from then on are seen.
func (s *Sensor) Ready() <-chan struct{} { return s.ready }

// Run reads the capture to its end, or the interface until ctx ends, and
// returns nil then. It is called once.
//
// A capture that breaks off in the middle of a packet, as one does whose writer
// was killed, is read as far as it goes; the loss is counted and one line is
// handed on with Reject set.
func (s *Sensor) Run(ctx context.Context, sink input.Sink) error {
	if s.cfg.File != "" {
		return s.runFile(ctx, sink)
	}
	return s.runLive(ctx, sink)
}

// batchLines is how many records go to the sink at one time.
const batchLines = 512

// batch collects the engine's records for the sink. A record of a capture has
// its number within it as its place, so that reading again gives the same ids.
type batch struct {
	sink   input.Sink
	source string
	stream string
	seq    uint64
	lines  []input.Line
}

func (b *batch) add(value []byte) {
	l := input.Line{Value: value, Source: b.source, Received: time.Now(), Format: Format}
	if b.stream != "" {
		l.Stream, l.Seq = b.stream, b.seq
		b.seq++
	}
	b.lines = append(b.lines, l)
}

func (b *batch) flush(ctx context.Context) error {
	if len(b.lines) == 0 {
		return nil
	}
	if err := b.sink.Put(ctx, b.lines, nil); err != nil {
		return err
	}
	b.lines = make([]input.Line, 0, batchLines) // the sink owns the others now
	return nil
}

// end writes what is known of the connections that are still open.
func (b *batch) end(ctx context.Context, e *engine) error {
	for more := true; more; {
		more = e.end(batchLines)
		if err := b.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (b *batch) full() bool { return len(b.lines) >= batchLines }

// metrics are shared by all sensors of a process.
type metrics struct {
	packets       prometheus.Counter
	bytes         prometheus.Counter
	kernelDrops   prometheus.Counter
	missed        prometheus.Counter
	suppressed    prometheus.Counter
	truncated     prometheus.Counter
	interfaceLost prometheus.Counter
	connections   prometheus.Gauge
	evicted       *prometheus.CounterVec
	malformed     map[fault]prometheus.Counter
	undecoded     map[string]prometheus.Counter
	records       map[string]prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	var errs []error
	counter := func(name, help string) prometheus.Counter {
		c, err := register(reg, prometheus.NewCounter(prometheus.CounterOpts{Name: "fengsui_packet_" + name, Help: help}))
		errs = append(errs, err)
		return c
	}
	vector := func(name, help, label string) *prometheus.CounterVec {
		c, err := register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fengsui_packet_" + name, Help: help}, []string{label}))
		errs = append(errs, err)
		return c
	}
	m := &metrics{
		packets:       counter("packets_total", "Packets taken from the capture or interface."),
		bytes:         counter("bytes_total", "Bytes of these packets, as captured."),
		kernelDrops:   counter("kernel_drops_total", "Packets that the kernel dropped since the ring was full."),
		missed:        counter("missed_bytes_total", "Bytes of TCP streams that were never seen."),
		suppressed:    counter("stratum_suppressed_total", "Mining messages counted but not written, see stratum_first."),
		truncated:     counter("truncated_captures_total", "Captures that broke off in the middle of a packet."),
		interfaceLost: counter("interface_lost_total", "Times that an interface could not be read and was opened again."),
		evicted:       vector("evicted_total", "Ended early since a bound was reached.", "what"),
		malformed:     map[fault]prometheus.Counter{},
		undecoded:     map[string]prometheus.Counter{},
		records:       map[string]prometheus.Counter{},
	}
	gauge, err := register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fengsui_packet_connections", Help: "Connections that are followed now.",
	}))
	errs = append(errs, err)
	m.connections = gauge
	malformed := vector("malformed_total", "Packets that could not be decoded, by layer.", "layer")
	for _, f := range []fault{faultLink, faultIP, faultTCP, faultUDP, faultICMP, faultFragment} {
		m.malformed[f] = malformed.WithLabelValues(string(f))
	}
	undecoded := vector("undecoded_total", "Messages that began like a protocol and broke it.", "protocol")
	for _, p := range []string{"dns", "tls", "http", "websocket", "json", "stream"} {
		m.undecoded[p] = undecoded.WithLabelValues(p)
	}
	records := vector("records_total", "Records written, by kind.", "path")
	for _, p := range paths {
		m.records[p] = records.WithLabelValues(p)
	}
	return m, errors.Join(errs...)
}

// register registers c, or gives back the one that another sensor registered.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) (C, error) {
	if reg == nil {
		return c, nil
	}
	err := reg.Register(c)
	var again prometheus.AlreadyRegisteredError
	if errors.As(err, &again) {
		if old, ok := again.ExistingCollector.(C); ok {
			return old, nil
		}
	}
	return c, err
}
