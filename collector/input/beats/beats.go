// Package beats receives what the Beats, Logstash and whatever else speaks
// lumberjack version 2 send: each event, as the JSON it came in, is a line. It
// never looks into one.
//
// An event is acknowledged once it is durable, and while it is not, its sender is
// told that we are still there. A collector that is full makes senders wait. What
// was not acknowledged is sent again, so a line can be there twice, never lost.
//
// The protocol's code is our own: go-lumber's server allocates what a window
// promises and inflates whatever comes.
package beats

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
)

// Config says where to listen, for whom, and for how much. What is zero takes its
// default.
type Config struct {
	Listen string     `koanf:"listen"` // address to listen on, such as ":5044"
	TLS    listen.TLS `koanf:"tls"`

	Limits    listen.Limits `koanf:",squash"`
	MaxLine   int           `koanf:"max_line"`   // bytes of an event; a longer one becomes a dead letter; 1 MiB
	MaxFrame  int           `koanf:"max_frame"`  // bytes of a frame, as sent and decompressed; 64 MiB
	MaxRatio  int           `koanf:"max_ratio"`  // bytes that one compressed byte may become, once they are more than 1 MiB; 200
	Memory    int64         `koanf:"memory"`     // bytes that all connections hold until their events are durable, half of it for events over 64 KiB; 256 MiB
	KeepAlive time.Duration `koanf:"keep_alive"` // how often a sender that waits is told that we are there; 5s

	IdleTimeout  time.Duration `koanf:"idle_timeout"`  // a connection without an event is closed; 1h
	FrameTimeout time.Duration `koanf:"frame_timeout"` // for a window of events, or the next MiB of it, and for the handshake; 60s
}

// Deps is what the input needs from the process. Metrics is the input's own.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	c.Limits = c.Limits.WithDefaults()
	if c.MaxLine == 0 {
		c.MaxLine = 1 << 20
	}
	if c.MaxFrame == 0 {
		c.MaxFrame = 64 << 20
	}
	if c.MaxRatio == 0 {
		c.MaxRatio = 200
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.KeepAlive == 0 {
		c.KeepAlive = 5 * time.Second
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = time.Hour
	}
	if c.FrameTimeout == 0 {
		c.FrameTimeout = time.Minute
	}
	return c
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.WithDefaults()
	errs := []error{listen.Address("listen", c.Listen), c.TLS.Validate(), c.Limits.Validate()}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.MaxLine >= 480 && c.MaxLine <= input.MaxValue, "max_line: %d is not between 480 and %d", c.MaxLine, input.MaxValue)
	check(c.MaxFrame >= c.MaxLine && c.MaxFrame <= 1<<30, "max_frame: %d is not between max_line and 1 GiB", c.MaxFrame)
	check(c.MaxRatio >= 2 && c.MaxRatio <= 1<<20, "max_ratio: %d is not between 2 and 1048576", c.MaxRatio)
	check(c.Memory >= 4*input.MaxValue, "memory: %d is less than %d", c.Memory, 4*input.MaxValue)
	check(c.KeepAlive >= 10*time.Millisecond, "keep_alive: %v is less than 10ms", c.KeepAlive)
	check(c.IdleTimeout >= time.Second, "idle_timeout: %v is less than 1s", c.IdleTimeout)
	check(c.FrameTimeout >= 100*time.Millisecond, "frame_timeout: %v is less than 100ms", c.FrameTimeout)
	return errors.Join(errs...)
}

// Input listens. New makes one.
type Input struct {
	cfg         Config
	log         *slog.Logger
	quiet       input.Quiet
	short, long *listen.Budget // halves of Config.Memory, for short and for long events
	ready       chan struct{}

	mu    sync.Mutex
	addrs []net.Addr

	conns listen.Metrics
	cut   *prometheus.CounterVec
}

// New checks cfg. Nothing listens before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.WithDefaults()
	in := &Input{
		cfg: cfg, log: deps.Log, quiet: input.Quiet{Log: deps.Log}, short: listen.NewBudget(cfg.Memory / 2), long: listen.NewBudget(cfg.Memory / 2),
		ready: make(chan struct{}), conns: listen.NewMetrics("beats"),
		cut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_collector_beats_cut_connections_total", Help: "Connections that ended within a window or by our doing, by the reason. Their senders send again what was not acknowledged.",
		}, []string{"reason"}),
	}
	if err := listen.Register(deps.Metrics, append(in.conns.All(), in.cut)...); err != nil {
		return nil, err
	}
	return in, nil
}

// Ready is closed when the input listens.
func (in *Input) Ready() <-chan struct{} { return in.ready }

// Addrs is where the input listens, once it is ready.
func (in *Input) Addrs() []net.Addr {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]net.Addr(nil), in.addrs...)
}

// Refusals is what senders were refused, by the reason.
func (in *Input) Refusals() map[string]uint64 { return in.conns.Refusals() }

// drainTime bounds how long, after the end, is waited for events to be durable
// that were handed over, so that they can be acknowledged.
const drainTime = 2 * time.Second

// Run listens until ctx ends, and returns nil. Any other end is an error.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	var config *tls.Config
	var err error
	if in.cfg.TLS.Enabled() {
		if config, err = in.cfg.TLS.Config(); err != nil {
			return err
		}
	}
	l, err := listen.TCP(ctx, in.cfg.Listen, in.cfg.Limits, in.conns)
	if err != nil {
		return fmt.Errorf("listening for Beats on %s: %w", in.cfg.Listen, err)
	}
	in.mu.Lock()
	in.addrs = []net.Addr{l.Addr()}
	in.mu.Unlock()
	close(in.ready)

	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(drainTime, cancel) })()
	return l.Serve(ctx, in.log, func(conn net.Conn) {
		unit := ""
		if config != nil {
			secure, err := listen.Handshake(ctx, conn, config, in.cfg.FrameTimeout)
			if err != nil {
				if ctx.Err() == nil {
					in.conns.HandshakeFailed()
					in.quiet.Warn("a connection was refused", "error", err)
				}
				return
			}
			defer func() { _ = secure.Close() }() // says so to the peer
			conn, unit = secure, in.cfg.TLS.Unit(secure.ConnectionState())
		}
		s := &session{
			in: in, conn: conn, sink: sink, unit: unit, source: listen.Source(conn.RemoteAddr()), ended: ctx, drain: drain,
		}
		s.serve()
	})
}
