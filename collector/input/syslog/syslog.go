// Package syslog receives syslog over UDP, TCP and TLS. It frames: a datagram is a
// message (RFC 5426), and a TCP or TLS stream (RFC 5425) is cut by octet counting
// or at newlines (RFC 6587), whichever each message uses. The message is passed on as its bytes,
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
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"fengsui/collector/input"
	"fengsui/collector/input/charset"
	"fengsui/collector/input/listen"
)

// Config says where to listen: UDP, TCP, TLS, or several of them. What is zero
// takes its default.
type Config struct {
	UDP string    `koanf:"udp"` // address to listen on, such as ":514"
	TCP string    `koanf:"tcp"`
	TLS TLSConfig `koanf:"tls"`

	// Encoding is that of the messages: auto (UTF-8, or else GB18030, told for each
	// message), utf-8 or gb18030 (GBK and GB 2312 too). "" takes the bytes as they
	// are. What cannot be decoded becomes a dead letter, whole.
	Encoding string `koanf:"encoding"`

	UDPSockets    int `koanf:"udp_sockets"`    // sockets that share the address, each read by its own goroutine; 2
	ReceiveBuffer int `koanf:"receive_buffer"` // bytes of the kernel's buffer of each; 8 MiB

	MaxLine        int           `koanf:"max_line"`         // bytes of a message over TCP or TLS; a longer one becomes a dead letter; 1 MiB
	IdleTimeout    time.Duration `koanf:"idle_timeout"`     // a connection without a message is closed; 1h
	FrameTimeout   time.Duration `koanf:"frame_timeout"`    // for one message to arrive whole; 60s
	LongLineMemory int64         `koanf:"long_line_memory"` // bytes that all messages over 64 KiB may hold while they arrive; 256 MiB

	Limits listen.Limits `koanf:",squash"` // of TCP and TLS, each
}

// TLSConfig is where to listen for syslog over TLS, and how.
type TLSConfig struct {
	Listen     string `koanf:"listen"` // address to listen on, such as ":6514"
	listen.TLS `koanf:",squash"`
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
	c.Limits = c.Limits.WithDefaults()
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
	check(c.UDP != "" || c.TCP != "" || c.TLS.Listen != "", "udp, tcp, tls.listen: at least one address to listen on is needed")
	for _, l := range []struct{ key, address string }{{"udp", c.UDP}, {"tcp", c.TCP}, {"tls.listen", c.TLS.Listen}} {
		if l.address != "" {
			errs = append(errs, listen.Address(l.key, l.address))
		}
	}
	check((c.TLS.Listen != "") == c.TLS.Enabled(), "tls: listen, cert and key belong together")
	errs = append(errs, c.TLS.Validate(), c.Limits.Validate())
	of, err := charset.Named(c.Encoding)
	errs = append(errs, err)
	check(!of.Wide(), "encoding: %s has no place in syslog", c.Encoding)
	check(c.UDPSockets >= 1 && c.UDPSockets <= 64, "udp_sockets: %d is not between 1 and 64", c.UDPSockets)
	check(c.ReceiveBuffer >= 64<<10 && c.ReceiveBuffer <= 1<<30, "receive_buffer: %d is not between 64 KiB and 1 GiB", c.ReceiveBuffer)
	check(c.MaxLine >= 480 && c.MaxLine <= input.MaxValue, "max_line: %d is not between 480 and %d", c.MaxLine, input.MaxValue)
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

	charset charset.Charset

	mu    sync.Mutex
	addrs []net.Addr
	drops dropCounter

	longMemory *listen.Budget // of Config.LongLineMemory
	conns      listen.Metrics
	cut        prometheus.Counter

	undecodable prometheus.Counter
	quiet       input.Quiet
}

// New checks cfg. Nothing listens before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.WithDefaults()
	in := &Input{
		cfg: cfg, log: deps.Log, ready: make(chan struct{}), quiet: input.Quiet{Log: deps.Log},
		longMemory: listen.NewBudget(cfg.LongLineMemory), conns: listen.NewMetrics("syslog"),
		cut: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_syslog_unfinished_total", Help: "TCP connections ended by us or by the peer within a message.",
		}),
	}
	in.charset, _ = charset.Named(cfg.Encoding) // Validate has named it
	in.undecodable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fengsui_collector_syslog_undecodable_total", Help: "Messages that are not of the input's encoding, and became dead letters.",
	})
	dropped := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "fengsui_collector_kernel_drops_total", Help: "Datagrams that the kernel dropped because the socket's buffer was full.",
	}, func() float64 { return float64(in.KernelDrops()) })
	if err := listen.Register(deps.Metrics, append(in.conns.All(), in.cut, in.undecodable, dropped)...); err != nil {
		return nil, err
	}
	return in, nil
}

// put hands lines over in UTF-8, where that is asked for.
func (in *Input) put(ctx context.Context, sink input.Sink, lines []input.Line) error {
	if in.charset != charset.Bytes {
		for i := range lines {
			l := &lines[i]
			text, err := in.charset.Decode(l.Value)
			switch {
			case err == nil:
				l.Value = text
			case l.Reject == "":
				in.undecodable.Inc()
				l.Reject = err.Error()
			}
		}
	}
	return sink.Put(ctx, lines, nil)
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

// Refusals is what senders were refused, by the reason.
func (in *Input) Refusals() map[string]uint64 { return in.conns.Refusals() }

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
	streams, err := in.listenStreams(ctx)
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
	for _, l := range streams {
		group.Go(func() error { return in.serveStreams(run, drain, l, sink) })
	}
	return group.Wait()
}
