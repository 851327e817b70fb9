package packet

import (
	"net/netip"
	"time"

	"github.com/gopacket/gopacket/layers"
	"github.com/valyala/fastjson"
)

// limits bound what the engine keeps.
type limits struct {
	connections int
	buffered    int // bytes of streams waiting for their rest
	queries     int // DNS queries without an answer yet
	timeouts    [classes]int64
	dnsTimeout  int64

	stratumFirst int   // messages of one method and direction that are all written
	stratumEvery int64 // after these, one per so much packet time
}

// engine turns packets into records. It is a pure fold: time is the packets',
// and equal packets in equal order give equal records in equal order.
type engine struct {
	identity string // of the capture: part of every uid
	limits   limits
	m        *metrics
	emit     func(line []byte)
	wanted   map[string]bool

	now      int64
	conns    map[flowKey]*conn
	lists    [classes]connList
	frags    *defragmenter
	json     fastjson.Parser
	queries  queryQueue
	buffered int
	dg       datagram
	seg      segment
}

func newEngine(identity string, l limits, wanted []string, m *metrics, emit func([]byte)) *engine {
	e := &engine{
		identity: identity, limits: l, m: m, emit: emit, wanted: map[string]bool{},
		conns: map[flowKey]*conn{}, frags: newDefragmenter(),
	}
	for _, w := range wanted {
		e.wanted[w] = true
	}
	return e
}

// write hands a record on, if its kind is wanted.
func (e *engine) write(path string, line []byte) {
	if e.wanted[path] {
		e.m.records[path].Inc()
		e.emit(line)
	}
}

// clockSlack is how far a packet's time may lie behind the newest before the
// engine believes that the clock was set back and follows it.
const clockSlack = int64(time.Hour)

// advance moves time forward and ends what has been silent too long.
func (e *engine) advance(at int64) {
	if at > e.now || at < e.now-clockSlack {
		e.now = at
	}
	e.expireQueries()
	for class := range e.lists {
		l := &e.lists[class]
		for l.head != nil && l.head.last+e.limits.timeouts[class] <= e.now {
			e.finish(l.head)
		}
	}
	if n := e.frags.expire(e.now); n > 0 {
		e.m.malformed[faultFragment].Add(float64(n))
	}
}

// packet takes one frame as captured. vlan is the tag that the card took off.
func (e *engine) packet(at int64, link layers.LinkType, frame []byte, vlan uint16) {
	e.m.packets.Inc()
	e.m.bytes.Add(float64(len(frame)))
	e.advance(at)
	if f := e.decode(at, link, frame, vlan); f != faultNone {
		e.m.malformed[f].Inc()
	}
}

func (e *engine) decode(at int64, link layers.LinkType, frame []byte, vlan uint16) fault {
	ip, outer, inner, f := stripLink(link, frame)
	if ip == nil || f != faultNone {
		return f
	}
	if vlan != 0 && outer != vlan {
		outer, inner = vlan, outer
	}
	d := &e.dg
	*d = datagram{vlan: outer, inner: inner}
	if f := decodeIP(ip, d); f != faultNone {
		return f
	}
	if d.fragmented {
		if whole, f := e.frags.add(e.now, d); !whole {
			return f
		}
	}
	s := &e.seg
	if ok, f := decodeTransport(d, s); !ok {
		return f
	}
	e.transport(at, s)
	return faultNone
}

func (e *engine) transport(at int64, s *segment) {
	key := makeKey(s)
	c := e.conns[key]
	if c != nil && e.reused(c, s) {
		e.finish(c)
		c = nil
	}
	if c == nil {
		c = e.open(key, at, s)
	}
	dir := 0
	if s.src != c.addr[0] || c.addr[0] == c.addr[1] && (s.sport != c.port[0]) {
		dir = 1
	}
	c.last = max(c.last, at)
	end := &c.ends[dir]
	end.packets++
	end.ipBytes += int64(s.ipLen)
	switch s.proto {
	case protoTCP:
		e.tcp(c, dir, s)
	case protoUDP:
		end.state = stateEstablished
		end.payload += int64(s.payloadLen)
		if s.payloadLen > 0 {
			c.note(dir, 'D')
		}
		if s.sport == portDNS || s.dport == portDNS {
			e.dnsMessage(c, dir, at, s.payload, len(s.payload) < s.payloadLen)
		}
	default:
		end.state = stateEstablished
		end.payload += int64(s.payloadLen)
	}
	e.touch(c)
}

// reused says whether s begins a new connection on the ports of an old one.
func (e *engine) reused(c *conn, s *segment) bool {
	if s.proto != protoTCP || s.flags&(flagSYN|flagACK|flagRST) != flagSYN {
		return false
	}
	if c.class == classClosing {
		return true
	}
	dir := 0
	if s.src != c.addr[0] {
		dir = 1
	}
	st := &c.ends[dir].stream
	return c.ends[dir].state >= stateEstablished && st.started && st.isn != s.seq+1
}

// open begins a connection and decides who began it.
func (e *engine) open(key flowKey, at int64, s *segment) *conn {
	for len(e.conns) >= e.limits.connections {
		e.evict()
	}
	c := &conn{
		key: key, proto: s.proto, vlan: s.vlan, inner: s.inner, first: at, last: at,
		addr: [2]netip.Addr{s.src, s.dst}, port: [2]uint16{s.sport, s.dport},
	}
	if flipped(s) {
		c.addr[0], c.addr[1] = c.addr[1], c.addr[0]
		c.port[0], c.port[1] = c.port[1], c.port[0]
		c.history = append(c.history, '^')
	}
	c.started = s.proto == protoTCP && s.flags&flagSYN != 0
	e.conns[key] = c
	c.class = classAttempt
	e.lists[c.class].push(c)
	e.m.connections.Set(float64(len(e.conns)))
	return c
}

// flipped says whether the first packet that was seen of a connection comes
// from the side that was called: a SYN's answer, or, where no handshake was
// seen, the one with a server's port.
func flipped(s *segment) bool {
	const ephemeral = 32768 // where Linux begins to choose the caller's ports
	switch s.proto {
	case protoTCP:
		switch {
		case s.flags&flagSYN != 0:
			return s.flags&flagACK != 0
		case s.sport < 1024 && s.dport >= 1024:
			return true
		default:
			return s.sport < ephemeral && s.dport >= ephemeral
		}
	case protoUDP:
		return s.sport < 1024 && s.dport >= 1024
	}
	return false
}

// tcp follows the handshake, the end and the data of a connection.
func (e *engine) tcp(c *conn, dir int, s *segment) {
	me, peer := &c.ends[dir], &c.ends[1-dir]
	seq := s.seq
	switch {
	case s.flags&flagRST != 0:
		c.note(dir, 'R')
		me.state = stateReset
	case s.flags&(flagSYN|flagACK) == flagSYN|flagACK:
		c.note(dir, 'H')
		if me.state <= stateSynSent {
			me.state = stateSynAckSent
		}
	case s.flags&flagSYN != 0:
		c.note(dir, 'S')
		if me.state <= statePartial {
			me.state = stateSynSent
		}
	default:
		e.tcpTraffic(c, me, peer)
		if s.flags&flagACK != 0 && s.payloadLen == 0 && s.flags&flagFIN == 0 {
			c.note(dir, 'A')
		}
	}
	if s.flags&flagSYN != 0 {
		seq++
		me.stream.start(seq)
	}
	if s.window == 0 && s.flags&(flagSYN|flagRST|flagFIN) == 0 {
		c.note(dir, 'W')
	}
	if s.payloadLen > 0 && s.flags&flagRST == 0 { // a reset may carry a text (RFC 9293 3.5.3) that is no part of the stream
		c.note(dir, 'D')
		e.tcpPayload(c, dir, seq, s)
	}
	if s.flags&flagFIN != 0 {
		c.note(dir, 'F')
		if me.state != stateReset {
			me.state = stateClosed
		}
	}
	if ended(c) {
		for d := range c.ends {
			e.flush(c, d)
		}
		e.close(c)
	}
}

// tcpTraffic learns from a segment that is neither SYN nor RST.
func (e *engine) tcpTraffic(c *conn, me, peer *endpoint) {
	switch {
	case me.state == stateSynSent && peer.state == stateSynAckSent,
		me.state == stateInactive && peer.state == stateSynAckSent,
		me.state == stateInactive && peer.state == stateSynSent:
		me.state, peer.state = stateEstablished, stateEstablished
	case me.state == stateInactive:
		me.state = statePartial
	}
}

// ended says whether nothing more can come: reset, or closed by both.
func ended(c *conn) bool {
	o, r := c.ends[0].state, c.ends[1].state
	return o == stateReset || r == stateReset || o == stateClosed && r == stateClosed
}

// touch puts a connection behind the others of its class.
func (e *engine) touch(c *conn) {
	var class class
	switch {
	case c.proto == protoUDP:
		class = classUDP
	case c.proto != protoTCP:
		class = classICMP
	case ended(c):
		class = classClosing
	case c.ends[0].state == stateSynSent && c.ends[1].state == stateInactive:
		class = classAttempt
	default:
		class = classOpen
	}
	if class == c.class && e.lists[class].tail == c {
		return
	}
	e.lists[c.class].remove(c)
	c.class = class
	e.lists[class].push(c)
}

// evict ends the connection that is least worth keeping: of the half-open, then
// of the closing, and so on, the one silent for longest.
func (e *engine) evict() {
	for class := range e.lists {
		if c := e.lists[class].head; c != nil {
			e.m.evicted.WithLabelValues("connection").Inc()
			e.finish(c)
			return
		}
	}
}

// finish writes what is still to say of a connection and forgets it.
func (e *engine) finish(c *conn) {
	for d := range c.ends {
		e.flush(c, d)
	}
	e.close(c)
	e.dnsFlush(c)
	e.lists[c.class].remove(c)
	delete(e.conns, c.key)
	e.m.connections.Set(float64(len(e.conns)))
	if e.wanted["conn"] {
		e.write("conn", c.record(e.identity))
	}
}

// end finishes up to n of the connections that are still open, in a fixed
// order, and says whether there are more.
func (e *engine) end(n int) (more bool) {
	for class := range e.lists {
		for ; e.lists[class].head != nil; n-- {
			if n == 0 {
				return true
			}
			e.finish(e.lists[class].head)
		}
	}
	return false
}
