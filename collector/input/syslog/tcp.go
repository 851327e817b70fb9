package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
)

// tcpDrain is how long a connection is read on after the end, at most: what has
// arrived counts as delivered for its sender. A silent one is left sooner.
const tcpDrain = 250 * time.Millisecond

// stream is a listener for TCP, or for TLS where it has a configuration.
type stream struct {
	*listen.Listener
	tls *tls.Config
}

// listenStreams listens for TCP and TLS, on those that are configured.
func (in *Input) listenStreams(ctx context.Context) (streams []stream, err error) {
	defer func() {
		if err != nil {
			for _, s := range streams {
				_ = s.Close() // nothing was accepted
			}
		}
	}()
	for _, at := range []struct{ name, address string }{{"TCP", in.cfg.TCP}, {"TLS", in.cfg.TLS.Listen}} {
		if at.address == "" {
			continue
		}
		var s stream
		if at.name == "TLS" {
			if s.tls, err = in.cfg.TLS.Config(); err != nil {
				return streams, err
			}
		}
		if s.Listener, err = listen.TCP(ctx, at.address, in.cfg.Limits, in.conns); err != nil {
			return streams, fmt.Errorf("listening for syslog on %s %s: %w", at.name, at.address, err)
		}
		streams = append(streams, s)
		in.mu.Lock()
		in.addrs = append(in.addrs, s.Addr())
		in.mu.Unlock()
	}
	return streams, nil
}

func (in *Input) serveStreams(ctx, drain context.Context, l stream, sink input.Sink) error {
	return l.Serve(ctx, in.log, func(conn net.Conn) {
		if l.tls == nil {
			in.serveConn(ctx, drain, conn, "", sink)
			return
		}
		secure, err := listen.Handshake(ctx, conn, l.tls, in.cfg.FrameTimeout)
		if err != nil {
			if ctx.Err() == nil {
				in.conns.HandshakeFailed()
				in.quiet.Warn("a syslog connection was refused", "error", err)
			}
			return
		}
		defer func() { _ = secure.Close() }() // says so to the peer
		in.serveConn(ctx, drain, secure, in.cfg.TLS.Unit(secure.ConnectionState()), sink)
	})
}

// serveConn reads one connection to its end. The unit is of a client that has
// proved it, or "".
func (in *Input) serveConn(ctx, drain context.Context, conn net.Conn, unit string, sink input.Sink) {
	source := listen.Source(conn.RemoteAddr())
	f := newFramer(in.cfg.MaxLine, in.longMemory.Take, in.longMemory.Give)
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
		if !in.putFramed(drain, sink, f, source, unit) || err != nil {
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

// putFramed hands over what was framed; false: the sink has ended.
func (in *Input) putFramed(ctx context.Context, sink input.Sink, f *framer, source, unit string) bool {
	messages := f.take()
	if len(messages) == 0 {
		return true
	}
	now := time.Now()
	lines := make([]input.Line, len(messages))
	for i, m := range messages {
		lines[i] = input.Line{Value: m.value, Reject: m.reject, Source: source, Unit: unit, Received: now}
	}
	clear(messages) // an idle connection holds none
	err := in.put(ctx, sink, lines)
	f.settle()
	return err == nil
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
