// Package flow receives what routers, switches and firewalls tell of the traffic
// that they carry: NetFlow v5 and v9 (RFC 3954), IPFIX (RFC 7011) and sFlow v5
// over UDP, told apart by their first bytes. Each flow, sampled packet and NAT
// event becomes one line of JSON, format "flow", with ECS's names where ECS has
// one and names under labels. otherwise.
//
// It turns binary records into text and never judges them: which side of a flow
// is the server, and what a NAT event means, is the analyzer's to say. Over UDP
// nobody can wait; what the kernel dropped and what the exporters' sequence
// numbers miss is counted.
package flow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"

	"fengsui/collector/input"
	"fengsui/collector/input/udp"
)

// Format is the name of the lines' format.
const Format = "flow"

// Config says where to listen. What is zero takes its default.
type Config struct {
	UDP           []string `koanf:"udp"`            // addresses to listen on, such as ":2055"; every version is understood on each
	UDPSockets    int      `koanf:"udp_sockets"`    // sockets that share each address, each read by its own goroutine; 2
	ReceiveBuffer int      `koanf:"receive_buffer"` // bytes of the kernel's buffer of each; 8 MiB

	Allow        []string      `koanf:"allow"`          // networks whose exporters are listened to; empty: all
	SamplingRate uint32        `koanf:"sampling_rate"`  // of exporters that do not say it: one packet in so many; 1
	CountsAsSent bool          `koanf:"counts_as_sent"` // bytes and packets are not multiplied by the sampling rate
	TemplateLife time.Duration `koanf:"template_life"`  // a template that was not repeated, and an exporter that was silent, is forgotten; 3h
	MaxExporters int           `koanf:"max_exporters"`  // exporters times their observation domains; more are refused; 4096
	PendingTime  time.Duration `koanf:"pending_time"`   // data waits so long for its template; 10m
	PendingBytes int64         `koanf:"pending_bytes"`  // of all data that waits; 16 MiB
}

// Deps is what an input needs from the process. Metrics is the input's own:
// whatever is registered there carries its name. Both may be nil.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	if c.UDPSockets == 0 {
		c.UDPSockets = 2
	}
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = 8 << 20
	}
	if c.SamplingRate == 0 {
		c.SamplingRate = 1
	}
	if c.TemplateLife == 0 {
		c.TemplateLife = 3 * time.Hour
	}
	if c.MaxExporters == 0 {
		c.MaxExporters = 4096
	}
	if c.PendingTime == 0 {
		c.PendingTime = 10 * time.Minute
	}
	if c.PendingBytes == 0 {
		c.PendingBytes = 16 << 20
	}
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.WithDefaults()
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(len(c.UDP) > 0, "udp: at least one address to listen on is needed")
	for _, address := range c.UDP {
		_, port, err := net.SplitHostPort(address)
		check(err == nil && port != "", "udp: %q is not host:port or :port", address)
	}
	for _, network := range c.Allow {
		_, err := netip.ParsePrefix(network)
		check(err == nil, "allow: %q is no network such as 10.0.0.0/8", network)
	}
	check(c.UDPSockets >= 1 && c.UDPSockets <= 64, "udp_sockets: %d is not between 1 and 64", c.UDPSockets)
	check(c.ReceiveBuffer >= 64<<10 && c.ReceiveBuffer <= 1<<30, "receive_buffer: %d is not between 64 KiB and 1 GiB", c.ReceiveBuffer)
	check(c.SamplingRate <= maxRate, "sampling_rate: %d is more than %d", c.SamplingRate, maxRate)
	check(c.TemplateLife >= time.Minute, "template_life: %v is less than 1m", c.TemplateLife)
	check(c.MaxExporters >= 1 && c.MaxExporters <= 1<<20, "max_exporters: %d is not between 1 and 1048576", c.MaxExporters)
	check(c.PendingTime >= time.Second && c.PendingTime <= 24*time.Hour, "pending_time: %v is not between 1s and 24h", c.PendingTime)
	check(c.PendingBytes >= 64<<10 && c.PendingBytes <= 1<<30, "pending_bytes: %d is not between 64 KiB and 1 GiB", c.PendingBytes)
	return errors.Join(errs...)
}

// Input listens. New makes one.
type Input struct {
	cfg     Config
	log     *slog.Logger
	allow   []netip.Prefix
	decoder *decoder
	metrics *metrics
	ready   chan struct{}

	mu    sync.Mutex
	addrs []net.Addr
	drops udp.Drops
}

// New checks cfg. Nothing listens before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	in := &Input{cfg: cfg.WithDefaults(), log: deps.Log, ready: make(chan struct{})}
	for _, network := range in.cfg.Allow {
		in.allow = append(in.allow, netip.MustParsePrefix(network).Masked()) // Validate has read it
	}
	in.metrics = newMetrics()
	in.decoder = newDecoder(in.cfg, in.metrics)
	if err := in.metrics.register(deps.Metrics, in); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return in, nil
}

// Ready is closed when every socket is bound.
func (in *Input) Ready() <-chan struct{} { return in.ready }

// Addrs is where the input listens, once it is ready, in the order of Config.UDP.
func (in *Input) Addrs() []net.Addr {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]net.Addr(nil), in.addrs...)
}

// KernelDrops is how many datagrams the kernel has dropped since Run.
func (in *Input) KernelDrops() uint64 { return in.drops.Total() }

// drainTime bounds how long, after the context has ended, the sink is waited for
// with what had arrived before.
const drainTime = 2 * time.Second

// sweepEvery is how often what has grown too old is forgotten.
const sweepEvery = 5 * time.Second

// Run listens until ctx ends, reads what has arrived by then, and returns nil.
// Any other end is an error.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	var sockets []*udp.Socket
	for _, address := range in.cfg.UDP {
		more, err := udp.Listen(ctx, udp.Config{Address: address, Sockets: in.cfg.UDPSockets, ReceiveBuffer: in.cfg.ReceiveBuffer}, in.log)
		if err != nil {
			for _, s := range sockets {
				_ = s.Close() // nothing was read from it
			}
			return fmt.Errorf("flow: %w", err)
		}
		in.drops.Watch(more...)
		sockets = append(sockets, more...)
		in.mu.Lock()
		in.addrs = append(in.addrs, more[0].Addr())
		in.mu.Unlock()
	}
	close(in.ready)

	// What is read while draining must still find the sink open.
	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })()

	group, run := errgroup.WithContext(ctx)
	for _, s := range sockets {
		group.Go(func() error { return in.serve(run, drain, s, sink) })
	}
	group.Go(func() error {
		ticker := time.NewTicker(sweepEvery)
		defer ticker.Stop()
		for {
			select {
			case <-run.Done():
				return nil
			case now := <-ticker.C:
				in.decoder.sweep(now)
			}
		}
	})
	err := group.Wait()
	in.decoder.forgetPending()
	return err
}

func (in *Input) serve(ctx, drain context.Context, s *udp.Socket, sink input.Sink) error {
	w := newWriter()
	err := s.Serve(ctx, func(messages []ipv4.Message) error {
		now := time.Now()
		for i := range messages {
			from := udp.From(&messages[i])
			if !in.allowed(from) {
				in.metrics.refused.Inc()
				continue
			}
			in.decoder.datagram(w, from, messages[i].Buffers[0][:messages[i].N], now)
		}
		lines := w.take()
		if len(lines) == 0 {
			return nil
		}
		return sink.Put(drain, lines, nil)
	})
	if err == nil || drain.Err() != nil {
		return nil
	}
	return fmt.Errorf("flow: %w", err)
}

func (in *Input) allowed(from netip.Addr) bool {
	if len(in.allow) == 0 {
		return true
	}
	for _, network := range in.allow {
		if network.Contains(from) {
			return true
		}
	}
	return false
}

// metrics counts what the lines do not tell.
type metrics struct {
	datagrams *prometheus.CounterVec
	byVersion map[version]prometheus.Counter
	refused   prometheus.Counter
	undecoded prometheus.Counter
	lost      *prometheus.CounterVec
	skipped   *prometheus.CounterVec
	noIP      prometheus.Counter
	counters  prometheus.Counter
	noAddress prometheus.Counter
	expired   prometheus.Counter
}

func newMetrics() *metrics {
	opts := func(name, help string) prometheus.CounterOpts {
		return prometheus.CounterOpts{Name: "fengsui_collector_flow_" + name, Help: help}
	}
	m := &metrics{
		datagrams: prometheus.NewCounterVec(opts("datagrams_total", "Datagrams read, by version."), []string{"version"}),
		byVersion: make(map[version]prometheus.Counter),
		refused:   prometheus.NewCounter(opts("refused_total", "Datagrams from outside the allowed networks.")),
		undecoded: prometheus.NewCounter(opts("undecoded_total", "Datagrams that could not be decoded, or not wholly; they become dead letters.")),
		lost: prometheus.NewCounterVec(opts("lost_total",
			"What exporters sent and we did not get, by their sequence numbers: datagrams (v9, sFlow) or flows (v5, IPFIX)."), []string{"exporter", "what"}),
		skipped: prometheus.NewCounterVec(opts("skipped_records_total", "Records that are no flows between addresses."), []string{"why"}),
		expired: prometheus.NewCounter(opts("without_template_total", "Sets of data whose template did not come in time, or for which there was no room to wait.")),
	}
	for _, v := range []version{netflow5, netflow9, ipfix, sflow5} {
		m.byVersion[v] = m.datagrams.WithLabelValues(v.String())
	}
	m.noIP = m.skipped.WithLabelValues("not_ip")
	m.counters = m.skipped.WithLabelValues("counters")
	m.noAddress = m.skipped.WithLabelValues("no_address")
	return m
}

func (m *metrics) register(reg prometheus.Registerer, in *Input) error {
	if reg == nil {
		return nil
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "fengsui_collector_flow_" + name, Help: help}, value)
	}
	for _, c := range []prometheus.Collector{
		m.datagrams, m.refused, m.undecoded, m.lost, m.skipped, m.expired,
		gauge("pending_bytes", "Data that waits for its template.", func() float64 { return float64(in.decoder.pending.Load()) }),
		gauge("exporters", "Exporters, times their observation domains, that are known.", func() float64 { return float64(in.decoder.count()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "fengsui_collector_kernel_drops_total", Help: "Datagrams that the kernel dropped because the socket's buffer was full.",
		}, func() float64 { return float64(in.KernelDrops()) }),
	} {
		if err := reg.Register(c); err != nil {
			return err
		}
	}
	return nil
}
