// Package listen is what the inputs share that accept connections: a bound on how
// many there are, together and from one address, TLS with certificates that are
// renewed while it runs, and a budget of memory. It never reads from a
// connection but for TLS's handshake, and never logs what a peer sent.
package listen

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
)

// Limits bounds the connections of a listener. What is zero takes its default.
type Limits struct {
	MaxConnections int `koanf:"max_connections"` // more are closed at once; 1024
	MaxPerAddress  int `koanf:"max_per_address"` // of them from one address; 256
}

// WithDefaults fills in what is zero.
func (l Limits) WithDefaults() Limits {
	if l.MaxConnections == 0 {
		l.MaxConnections = 1024
	}
	if l.MaxPerAddress == 0 {
		l.MaxPerAddress = min(256, l.MaxConnections)
	}
	return l
}

// Validate says what is wrong with l.
func (l Limits) Validate() error {
	l = l.WithDefaults()
	var errs []error
	if l.MaxConnections < 1 || l.MaxConnections > 1<<20 {
		errs = append(errs, fmt.Errorf("max_connections: %d is not between 1 and 1048576", l.MaxConnections))
	}
	if l.MaxPerAddress < 1 || l.MaxPerAddress > l.MaxConnections {
		errs = append(errs, fmt.Errorf("max_per_address: %d is not between 1 and max_connections, %d", l.MaxPerAddress, l.MaxConnections))
	}
	return errors.Join(errs...)
}

// Address says what is wrong with an address to listen on.
func Address(key, address string) error {
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%s: %q is not host:port or :port", key, address)
	}
	return nil
}

// Metrics are a listener's.
type Metrics struct {
	Open    prometheus.Gauge
	Refused prometheus.Counter
	Failed  prometheus.Counter // of TLS's handshakes

	refusals *input.Refusals
}

// NewMetrics makes the metrics of an input of a type.
func NewMetrics(of string) Metrics {
	name := "fengsui_collector_" + of
	return Metrics{
		refusals: &input.Refusals{},
		Open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: name + "_connections", Help: "TCP connections that are open.",
		}),
		Refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "_refused_connections_total", Help: "TCP connections closed at once, because there were too many, together or from their address.",
		}),
		Failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: name + "_failed_handshakes_total", Help: "TCP connections closed because their TLS handshake failed or took too long.",
		}),
	}
}

// Refuse counts a refusal, for the collector's status.
func (m Metrics) Refuse(reason string) { m.refusals.Add(reason) }

// HandshakeFailed counts a connection whose handshake failed.
func (m Metrics) HandshakeFailed() {
	m.Failed.Inc()
	m.Refuse("handshake")
}

// Refusals is what senders were refused, by the reason.
func (m Metrics) Refusals() map[string]uint64 { return m.refusals.All() }

// All is for registering them.
func (m Metrics) All() []prometheus.Collector {
	return []prometheus.Collector{m.Open, m.Refused, m.Failed}
}

// Register registers metrics of an input; reg may be nil.
func Register(reg prometheus.Registerer, all ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	for _, m := range all {
		if err := reg.Register(m); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Listener accepts connections within its limits.
type Listener struct {
	net.Listener
	limits  Limits
	metrics Metrics

	mu   sync.Mutex
	open int
	from map[netip.Addr]int
}

// TCP listens on an address.
func TCP(ctx context.Context, address string, limits Limits, metrics Metrics) (*Listener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &Listener{Listener: l, limits: limits.WithDefaults(), metrics: metrics, from: make(map[netip.Addr]int)}, nil
}

// Accept returns the next connection within the limits; others are closed.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from := addrOf(c.RemoteAddr())
		if l.enter(from) {
			l.metrics.Open.Inc()
			return &conn{Conn: c, leave: func() { l.leave(from) }}, nil
		}
		l.metrics.Refused.Inc()
		l.metrics.Refuse("connections")
		_ = c.Close() // nothing was said
	}
}

func (l *Listener) enter(from netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.limits.MaxConnections || l.from[from] >= l.limits.MaxPerAddress {
		return false
	}
	l.open++
	l.from[from]++
	return true
}

func (l *Listener) leave(from netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.metrics.Open.Dec()
	l.open--
	if l.from[from]--; l.from[from] == 0 {
		delete(l.from, from)
	}
}

// conn leaves its listener when it is closed.
type conn struct {
	net.Conn
	left  atomic.Bool
	leave func()
}

func (c *conn) Close() error {
	if c.left.CompareAndSwap(false, true) {
		c.leave()
	}
	return c.Conn.Close()
}

// CloseWrite is for net/http, which lets a peer read its answer before the end.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// Serve gives each connection to handle, in a goroutine of its own, and closes it
// after. It returns when ctx has ended and every handle has returned.
func (l *Listener) Serve(ctx context.Context, log *slog.Logger, handle func(net.Conn)) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = c.Close()
			}
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accepting connections on TCP %s: %w", l.Addr(), err)
			}
			// Out of descriptors, or a peer that has gone again: both pass.
			log.Warn("accepting a connection failed", "address", l.Addr().String(), "error", err)
			pause(ctx, time.Second)
			continue
		}
		conns.Go(func() {
			defer func() { _ = c.Close() }()
			handle(c)
		})
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

func addrOf(a net.Addr) netip.Addr {
	addr, _ := netip.ParseAddrPort(a.String()) // else all strange ones are one
	return addr.Addr().Unmap().WithZone("")
}

// Source is how a line names the peer of a connection: by its address.
func Source(a net.Addr) string { return SourceOf(a.String()) }

// SourceOf is Source of an address as text, with its port.
func SourceOf(address string) string {
	if a, err := netip.ParseAddrPort(address); err == nil {
		return a.Addr().Unmap().WithZone("").String()
	}
	return address
}

// Budget is memory that everything of an input holds together.
type Budget struct{ left atomic.Int64 }

// NewBudget has so many bytes.
func NewBudget(bytes int64) *Budget {
	b := &Budget{}
	b.left.Store(bytes)
	return b
}

// Take takes n bytes if they are there.
func (b *Budget) Take(n int) bool {
	if b.left.Add(-int64(n)) >= 0 {
		return true
	}
	b.left.Add(int64(n))
	return false
}

// Give gives n bytes back.
func (b *Budget) Give(n int) { b.left.Add(int64(n)) }

// Left is how many bytes are there.
func (b *Budget) Left() int64 { return b.left.Load() }
