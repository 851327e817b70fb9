package packet

// Bounds of the reassembly of one direction of a connection. What lies before a
// hole is given up when they are reached: the bytes are counted as missed and
// reading goes on after the hole.
const (
	maxPieces       = 64
	maxPendingBytes = 128 << 10
	maxHoleNs       = int64(2e9) // of packet time
	maxJump         = 1 << 28    // a sequence number further off than any window is no part of the stream
)

// stream is one direction of a TCP connection.
type stream struct {
	started   bool
	isn       uint32 // the first sequence number seen
	next      uint32 // the next byte to hand on
	top       uint32 // behind the highest byte seen
	sent      int64  // bytes between the first and top
	pieces    []piece
	pending   int // bytes in pieces
	holeSince int64
}

// piece is data that came before its turn.
type piece struct {
	seq      uint32
	data     []byte
	declared int // its length on the wire
}

func (s *stream) start(seq uint32) {
	if !s.started {
		s.started, s.isn, s.next, s.top = true, seq, seq, seq
	}
}

// advance accounts for data up to end. It says whether the data belongs to the
// stream at all, and whether any of it is new.
func (s *stream) advance(seq uint32, n int) (belongs, fresh bool) {
	if d := int64(int32(seq - s.top)); d > maxJump || d < -maxJump {
		return false, false
	}
	if d := int32(seq + uint32(n) - s.top); d > 0 { //nolint:gosec // n is a packet's length
		s.sent += int64(d)
		s.top += uint32(d)
		return true, true
	}
	return true, false
}

// keep stores data that lies behind a hole. It says whether the data was kept.
func (s *stream) keep(seq uint32, data []byte, declared int, now int64) bool {
	at := len(s.pieces)
	for at > 0 && int32(s.pieces[at-1].seq-seq) > 0 {
		at--
	}
	if at > 0 && s.pieces[at-1].seq == seq && s.pieces[at-1].declared >= declared {
		return false
	}
	if len(s.pieces) == 0 {
		s.holeSince = now
	}
	s.pieces = append(s.pieces, piece{})
	copy(s.pieces[at+1:], s.pieces[at:])
	s.pieces[at] = piece{seq, append([]byte(nil), data...), declared}
	s.pending += len(data)
	return true
}

// full says whether waiting for the hole to be filled has to end.
func (s *stream) full(now int64) bool {
	return len(s.pieces) > maxPieces || s.pending > maxPendingBytes ||
		len(s.pieces) > 0 && now-s.holeSince > maxHoleNs
}

// tcpPayload hands a segment's data on in order.
func (e *engine) tcpPayload(c *conn, dir int, seq uint32, s *segment) {
	st := &c.ends[dir].stream
	st.start(seq)
	belongs, fresh := st.advance(seq, s.payloadLen)
	if !belongs {
		return
	}
	if !fresh && s.payloadLen > 1 { // a single byte again is a keepalive
		c.note(dir, 'T')
	}
	if c.deaf {
		return
	}
	if c.session == nil {
		c.session = newSession(e, c)
	}
	if c.session.halves[dir].off {
		e.drop(st)
		return
	}
	switch d := int32(seq - st.next); {
	case d > 0:
		if st.keep(seq, s.payload, s.payloadLen, e.now) {
			e.buffered += len(s.payload)
		}
	default:
		e.hand(c, dir, seq, s.payload, s.payloadLen)
		e.drain(c, dir)
	}
	for !c.deaf && st.full(e.now) {
		e.skipHole(c, dir)
	}
	if e.buffered > e.limits.buffered {
		e.forget(c)
	}
}

// drop gives up what waits in a direction that nobody listens to any more.
func (e *engine) drop(st *stream) {
	e.buffered -= st.pending
	st.pieces, st.pending = nil, 0
	st.next = st.top
}

// hand gives data that begins at or before the next byte to the session. What
// was handed on before is cut off: the first copy counts.
func (e *engine) hand(c *conn, dir int, seq uint32, data []byte, declared int) {
	st := &c.ends[dir].stream
	old := int(st.next - seq)
	if old >= declared {
		return
	}
	st.next += uint32(declared - old) //nolint:gosec // both are lengths of a packet
	missing := declared - max(len(data), old)
	if old < len(data) {
		c.session.data(dir, data[old:], e.now)
	}
	if missing > 0 && !c.deaf { // cut off by the capture
		e.hole(c, dir, missing)
	}
}

// drain hands on every piece whose turn has come.
func (e *engine) drain(c *conn, dir int) {
	st := &c.ends[dir].stream
	for len(st.pieces) > 0 && !c.deaf {
		p := st.pieces[0]
		if int32(p.seq-st.next) > 0 {
			st.holeSince = e.now
			return
		}
		st.pieces = st.pieces[1:]
		st.pending -= len(p.data)
		e.buffered -= len(p.data)
		e.hand(c, dir, p.seq, p.data, p.declared)
	}
	if len(st.pieces) == 0 {
		st.pieces = nil
	}
}

func (e *engine) skipHole(c *conn, dir int) {
	st := &c.ends[dir].stream
	n := int(st.pieces[0].seq - st.next)
	st.next += uint32(n) //nolint:gosec // shorter than maxJump
	e.hole(c, dir, n)
	e.drain(c, dir)
}

func (e *engine) hole(c *conn, dir, n int) {
	c.missed += int64(n)
	e.m.missed.Add(float64(n))
	c.note(dir, 'G')
	c.session.gap(dir, n)
}

// flush hands on everything that waits, over all holes: the direction has ended.
func (e *engine) flush(c *conn, dir int) {
	st := &c.ends[dir].stream
	for len(st.pieces) > 0 && c.session != nil && !c.deaf {
		if c.session.halves[dir].off {
			e.drop(st)
			return
		}
		e.skipHole(c, dir)
	}
}

// forget stops listening to a connection and gives its buffers back.
func (e *engine) forget(c *conn) {
	e.m.evicted.WithLabelValues("session").Inc()
	e.close(c)
}

// close ends the session of c, if it has one.
func (e *engine) close(c *conn) {
	if s := c.session; s != nil {
		s.end()
		e.buffered -= s.held
	}
	e.silence(c)
}

// silence drops the session and all that waits for it.
func (e *engine) silence(c *conn) {
	for dir := range c.ends {
		e.drop(&c.ends[dir].stream)
	}
	c.session, c.deaf = nil, true
}
