// Package syslog receives syslog over UDP and TCP. It frames: a datagram is a
// message (RFC 5426), and a TCP stream is cut by octet counting or at newlines
// (RFC 6587), whichever each message uses. The message is passed on as its bytes,
// whatever they are; the package never parses it and never answers.
//
// Over TCP a collector that is full makes the sender wait. Over UDP nobody can
// wait: what does not fit into the socket's buffer is dropped by the kernel, and
// that is counted.
package syslog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"fengsui/collector/input"
)

// Config says where to listen. UDP or TCP or both; what is zero takes its
// default.
type Config struct {
	UDP string `koanf:"udp"` // address to listen on, such as ":514"
	TCP string `koanf:"tcp"`

	UDPSockets    int `koanf:"udp_sockets"`    // sockets that share the address, each read by its own goroutine; 2
	ReceiveBuffer int `koanf:"receive_buffer"` // bytes of the kernel's buffer of each; 8 MiB

	MaxLine        int           `koanf:"max_line"`         // bytes of a message over TCP; a longer one becomes a dead letter; 1 MiB
	MaxConnections int           `koanf:"max_connections"`  // over TCP; more are closed at once; 1024
	IdleTimeout    time.Duration `koanf:"idle_timeout"`     // a connection without a message is closed; 1h
	FrameTimeout   time.Duration `koanf:"frame_timeout"`    // for one message to arrive whole; 60s
	LongLineMemory int64         `koanf:"long_line_memory"` // bytes that all messages over 64 KiB may hold while they arrive; 256 MiB
}

// Deps is what an input needs from the process. Metrics is the input's own:
// whatever is registered there carries its name.
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
	if c.MaxLine == 0 {
		c.MaxLine = 1 << 20
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = 1024
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Hour
	}
	if c.FrameTimeout == 0 {
		c.FrameTimeout = time.Minute
	}
	if c.LongLineMemory == 0 {
		c.LongLineMemory = 256 << 20
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
	check(c.UDP != "" || c.TCP != "", "udp, tcp: at least one address to listen on is needed")
	for _, l := range []struct{ key, address string }{{"udp", c.UDP}, {"tcp", c.TCP}} {
		if l.address != "" {
			_, port, err := net.SplitHostPort(l.address)
			check(err == nil && port != "", "%s: %q is not host:port or :port", l.key, l.address)
		}
	}
	check(c.UDPSockets >= 1 && c.UDPSockets <= 64, "udp_sockets: %d is not between 1 and 64", c.UDPSockets)
	check(c.ReceiveBuffer >= 64<<10 && c.ReceiveBuffer <= 1<<30, "receive_buffer: %d is not between 64 KiB and 1 GiB", c.ReceiveBuffer)
	check(c.MaxLine >= 480 && c.MaxLine <= input.MaxValue, "max_line: %d is not between 480 and %d", c.MaxLine, input.MaxValue)
	check(c.MaxConnections >= 1 && c.MaxConnections <= 1<<20, "max_connections: %d is not between 1 and 1048576", c.MaxConnections)
	check(c.IdleTimeout >= time.Second, "idle_timeout: %v is less than 1s", c.IdleTimeout)
	check(c.FrameTimeout >= time.Second, "frame_timeout: %v is less than 1s", c.FrameTimeout)
	check(c.LongLineMemory >= int64(c.MaxLine), "long_line_memory: %d is less than max_line", c.LongLineMemory)
	return errors.Join(errs...)
}

// Input listens. New makes one.
type Input struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{}

	mu    sync.Mutex
	addrs []net.Addr
	drops dropCounter

	longMemory atomic.Int64 // left of Config.LongLineMemory
	open       prometheus.Gauge
	refused    prometheus.Counter
	cut        prometheus.Counter
}

// New checks cfg. Nothing listens before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	in := &Input{
		cfg: cfg.WithDefaults(), log: deps.Log, ready: make(chan struct{}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "fengsui_collector_syslog_connections", Help: "TCP connections that are open.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_syslog_refused_connections_total", Help: "TCP connections closed at once, because there were too many.",
		}),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_syslog_unfinished_total", Help: "TCP connections ended by us or by the peer within a message.",
		}),
	}
	in.longMemory.Store(in.cfg.LongLineMemory)
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "fengsui_collector_kernel_drops_total", Help: "Datagrams that the kernel dropped because the socket's buffer was full.",
	}, func() float64 { return float64(in.KernelDrops()) })
	if deps.Metrics != nil {
		for _, m := range []prometheus.Collector{in.open, in.refused, in.cut, dropped} {
			if err := deps.Metrics.Register(m); err != nil {
				return nil, fmt.Errorf("registering metrics: %w", err)
			}
		}
	}
	return in, nil
}

// Ready is closed when every socket is bound.
func (in *Input) Ready() <-chan struct{} { return in.ready }

// Addrs is where the input listens, once it is ready.
func (in *Input) Addrs() []net.Addr {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]net.Addr(nil), in.addrs...)
}

// KernelDrops is how many datagrams the kernel has dropped since Run.
func (in *Input) KernelDrops() uint64 { return in.drops.total() }

// drainTime bounds how long, after the context has ended, messages are read that
// had arrived before: over TCP they count as delivered for their sender.
const drainTime = 2 * time.Second

// Run listens until ctx ends, reads what has arrived by then, and returns nil.
// Any other end is an error.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	udp, err := in.listenUDP(ctx)
	if err != nil {
		return err
	}
	tcp, err := in.listenTCP(ctx)
	if err != nil {
		for _, c := range udp {
			_ = c.Close() // nothing was read from it
		}
		return err
	}
	close(in.ready)

	// What is read while draining must still find the sink open.
	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })
	defer stop()

	group, run := errgroup.WithContext(ctx)
	for _, c := range udp {
		group.Go(func() error { return in.serveUDP(run, drain, c, sink) })
	}
	if tcp != nil {
		group.Go(func() error { return in.serveTCP(run, drain, tcp, sink) })
	}
	return group.Wait()
}
