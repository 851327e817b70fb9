package syslog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"fengsui/collector/input"
)

// tcpDrain is how long a connection is read on after the end, at most: what has
// arrived counts as delivered for its sender. A silent one is left sooner.
const tcpDrain = 250 * time.Millisecond

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

func (in *Input) listenTCP(ctx context.Context) (net.Listener, error) {
	if in.cfg.TCP == "" {
		return nil, nil
	}
	lc := net.ListenConfig{KeepAliveConfig: keepAlive}
	l, err := lc.Listen(ctx, "tcp", in.cfg.TCP)
	if err != nil {
		return nil, fmt.Errorf("listening for syslog on TCP %s: %w", in.cfg.TCP, err)
	}
	in.mu.Lock()
	in.addrs = append(in.addrs, l.Addr())
	in.mu.Unlock()
	return l, nil
}

func (in *Input) serveTCP(ctx, drain context.Context, l net.Listener, sink input.Sink) error {
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var conns sync.WaitGroup
	defer conns.Wait()
	var open atomic.Int64
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			if err == nil {
				_ = conn.Close()
			}
			return nil
		}
		if err != nil {
			// Out of descriptors, or a peer that has gone again: both pass.
			in.log.Warn("accepting a syslog connection failed", "address", l.Addr().String(), "error", err)
			if errors.Is(err, net.ErrClosed) {
				return fmt.Errorf("accepting syslog connections on TCP %s: %w", l.Addr(), err)
			}
			sleep(ctx, time.Second)
			continue
		}
		if open.Add(1) > int64(in.cfg.MaxConnections) {
			open.Add(-1)
			in.refused.Inc()
			_ = conn.Close()
			continue
		}
		in.open.Inc()
		conns.Go(func() {
			defer func() {
				_ = conn.Close() // only read from
				in.open.Dec()
				open.Add(-1)
			}()
			in.serveConn(ctx, drain, conn, sink)
		})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// serveConn reads one connection to its end.
func (in *Input) serveConn(ctx, drain context.Context, conn net.Conn, sink input.Sink) {
	source := sourceOf(conn.RemoteAddr())
	f := newFramer(in.cfg.MaxLine, in.growLong, func(n int) { in.longMemory.Add(int64(n)) })
	defer f.close()
	deadline := deadlines{conn: conn, idle: in.cfg.IdleTimeout, frame: in.cfg.FrameTimeout}
	defer context.AfterFunc(ctx, deadline.finish)()
	for progress := false; ; {
		deadline.set(f.partial(), progress)
		n, err := conn.Read(f.space())
		f.fed(n)
		if err != nil {
			in.endConn(ctx, f, err)
		}
		progress = len(f.lines) > 0
		if !put(drain, sink, f, source) || err != nil {
			return
		}
	}
}

// endConn says of an unfinished message why it is one. Where the peer closed, a
// line without a newline is whole.
func (in *Input) endConn(ctx context.Context, f *framer, err error) {
	why := ""
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil:
		why = "the collector stopped"
	case errors.Is(err, os.ErrDeadlineExceeded):
		why = fmt.Sprintf("no end after %v", in.cfg.FrameTimeout)
	case !errors.Is(err, io.EOF):
		why = err.Error()
	}
	if f.partial() {
		if why != "" {
			in.cut.Inc()
		}
		f.end(why)
	}
}

// put hands over what was framed; false: the sink has ended.
func put(ctx context.Context, sink input.Sink, f *framer, source string) bool {
	messages := f.take()
	if len(messages) == 0 {
		return true
	}
	now := time.Now()
	lines := make([]input.Line, len(messages))
	for i, m := range messages {
		lines[i] = input.Line{Value: m.value, Reject: m.reject, Source: source, Received: now}
	}
	err := sink.Put(ctx, lines, nil)
	f.settle()
	return err == nil
}

func (in *Input) growLong(n int) bool {
	if in.longMemory.Add(-int64(n)) >= 0 {
		return true
	}
	in.longMemory.Add(int64(n))
	return false
}

func sourceOf(a net.Addr) string {
	addr, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	return addr.Addr().Unmap().WithZone("").String()
}

// deadlines sets how long a read may take: a whole message's time from its first
// byte on, so that sending a byte now and then does not hold a connection.
type deadlines struct {
	conn        net.Conn
	idle, frame time.Duration

	mu       sync.Mutex
	finished bool
	began    time.Time // of the unfinished message
	until    time.Time // what was set last
}

// set sets the deadline of the next read. partial says that a message has begun;
// progress that another one ended with the last read.
func (d *deadlines) set(partial, progress bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.finished {
		return
	}
	now := time.Now()
	until := now.Add(d.idle)
	if !partial {
		d.began = time.Time{}
	} else if d.began.IsZero() || progress {
		d.began = now
	}
	if partial && d.began.Add(d.frame).Before(until) {
		until = d.began.Add(d.frame)
	}
	// A busy connection does not need a new deadline for every read.
	if diff := until.Sub(d.until); diff > d.frame/16 || diff < 0 {
		d.until = until
		_ = d.conn.SetReadDeadline(until) // fails only on a closed connection, as Read will
	}
}

// finish leaves a short time to read what has arrived.
func (d *deadlines) finish() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.finished = true
	_ = d.conn.SetReadDeadline(time.Now().Add(tcpDrain))
}
