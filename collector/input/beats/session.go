package beats

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
)

const (
	// An event waits to be handed over with others until they have so many bytes,
	// or there are so many of them, or the window is at its end.
	chunkBytes  = 1 << 20
	chunkEvents = 4096
	// lineCost is what a line costs beside its bytes.
	lineCost = 320
	// longEvent is where an event is counted in the half of the memory for long
	// ones, so that claims of long ones do not keep short ones waiting.
	longEvent = 64 << 10
	// answerTime is for writing an acknowledgement.
	answerTime = 10 * time.Second
	// memoryPoll is how often is looked whether others have given memory back.
	memoryPoll = 10 * time.Millisecond
)

// session is one connection.
type session struct {
	in           *Input
	conn         net.Conn
	sink         input.Sink
	unit, source string
	ended, drain context.Context

	lines   []input.Line
	bytes   int
	reading int    // memory of the event that is being read
	seq     uint32 // of the last event that was read
	acked   uint32 // in this window
}

var (
	errStopped = errors.New("the collector stops")
	errMemory  = errors.New("no memory became free in time")
)

// serve reads windows until the connection ends.
func (s *session) serve() {
	defer func() {
		s.in.budget(s.reading).Give(s.reading)
		s.in.giveLines(s.lines)
	}()
	defer context.AfterFunc(s.ended, func() { _ = s.conn.SetReadDeadline(time.Now()) })()
	r := newReader(s.conn, s.in.cfg, s.hold)
	for {
		s.deadline(s.in.cfg.IdleTimeout)
		count, err := r.window()
		if err == nil {
			s.acked = 0
			s.deadline(s.in.cfg.FrameTimeout)
			err = r.events(count, s.take)
		}
		if err == nil {
			err = s.flush()
		}
		if err != nil {
			s.cut(err)
			return
		}
	}
}

// deadline bounds the next reads, unless the end has come.
func (s *session) deadline(d time.Duration) {
	_ = s.conn.SetReadDeadline(time.Now().Add(d)) // fails only on a closed connection, as Read will
	if s.ended.Err() != nil {
		_ = s.conn.SetReadDeadline(time.Now())
	}
}

// cut counts why a connection ended, if not by the peer's will.
func (s *session) cut(err error) {
	reason := ""
	var wrong *protocolError
	switch {
	case s.ended.Err() != nil || errors.Is(err, errStopped) || errors.Is(err, errNoWindow):
		return
	case errors.As(err, &wrong):
		reason = wrong.reason
	case errors.Is(err, os.ErrDeadlineExceeded):
		reason = "slow"
	case errors.Is(err, errMemory):
		reason = "memory"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		reason = "unfinished"
	default:
		reason = "failed"
	}
	s.in.cut.WithLabelValues(reason).Inc()
	s.in.conns.Refuse(reason)
	s.in.quiet.Warn("a connection of Beats was cut", "from", s.source, "reason", reason, "error", err)
}

// budget is the memory that so many bytes of an event and its line come from.
func (in *Input) budget(n int) *listen.Budget {
	if n > longEvent {
		return in.long
	}
	return in.short
}

func (in *Input) giveLines(lines []input.Line) {
	for i := range lines {
		n := cap(lines[i].Value) + lineCost
		in.budget(n).Give(n)
	}
}

// hold takes memory for an event, after what is held has been brought away if
// there is none.
func (s *session) hold(n int) error {
	budget := s.in.budget(n)
	if budget.Take(n) {
		s.reading = n
		return nil
	}
	if err := s.flush(); err != nil {
		return err
	}
	for until := time.Now().Add(s.in.cfg.FrameTimeout); time.Now().Before(until); {
		if budget.Take(n) {
			s.reading = n
			s.deadline(s.in.cfg.FrameTimeout)
			return nil
		}
		select {
		case <-s.ended.Done():
			return errStopped
		case <-time.After(memoryPoll):
		}
	}
	return errMemory
}

// take takes an event that was read; its memory is held already.
func (s *session) take(seq uint32, value []byte, total int) error {
	l := input.Line{Value: value, Source: s.source, Unit: s.unit, Received: time.Now()}
	switch {
	case total > len(value):
		l.Reject = fmt.Sprintf("event of %d bytes cut to %d: longer than %d", total, len(value), input.MaxValue)
	case total > s.in.cfg.MaxLine:
		l.Reject = fmt.Sprintf("event of %d bytes: longer than %d", total, s.in.cfg.MaxLine)
	}
	s.lines, s.reading = append(s.lines, l), 0
	s.bytes += len(value)
	s.seq = seq
	if s.bytes < chunkBytes && len(s.lines) < chunkEvents {
		return nil
	}
	return s.flush()
}

// flush hands over what was read, and acknowledges it when it is durable.
func (s *session) flush() error {
	if len(s.lines) == 0 {
		return nil
	}
	lines := s.lines
	s.lines, s.bytes = nil, 0
	var shortMemory, longMemory int // Put's receiver may change the lines
	for i := range lines {
		n := cap(lines[i].Value) + lineCost
		if s.in.budget(n) == s.in.long {
			longMemory += n
		} else {
			shortMemory += n
		}
	}
	give := func() {
		s.in.short.Give(shortMemory)
		s.in.long.Give(longMemory)
	}
	durable, refused := make(chan struct{}), make(chan error, 1)
	go func() {
		err := s.sink.Put(s.drain, lines, func() {
			give()
			close(durable)
		})
		if err != nil {
			give()
			refused <- err
		}
	}()
	alive := time.NewTicker(s.in.cfg.KeepAlive)
	defer alive.Stop()
	for {
		select {
		case <-durable:
			s.acked = s.seq
			s.deadline(s.in.cfg.FrameTimeout)
			return s.acknowledge()
		case <-refused:
			return errStopped
		case <-s.drain.Done():
			return errStopped
		case <-alive.C:
			if err := s.acknowledge(); err != nil {
				return err
			}
		}
	}
}

// acknowledge tells up to which event of the window all are durable; repeated, it
// tells that we are still there.
func (s *session) acknowledge() error {
	frame := binary.BigEndian.AppendUint32([]byte{version, codeAck}, s.acked)
	_ = s.conn.SetWriteDeadline(time.Now().Add(answerTime)) // fails only on a closed connection, as Write will
	_, err := s.conn.Write(frame)
	return err
}
