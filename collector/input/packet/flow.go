package packet

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math/big"
	"net/netip"

	"fengsui/internal/communityid"
)

// flowKey names a connection whichever way a packet of it goes: the lower
// endpoint stands first.
type flowKey struct {
	a, b         [16]byte
	aport, bport uint16
	proto        uint8
	v6           bool
}

// endpointState is one side's state as Zeek names it.
type endpointState uint8

const (
	stateInactive endpointState = iota
	statePartial                // traffic without a handshake seen
	stateSynSent
	stateSynAckSent
	stateEstablished
	stateClosed
	stateReset
)

// endpoint is what one side of a connection has sent.
type endpoint struct {
	state   endpointState
	packets int64
	ipBytes int64
	payload int64 // UDP and ICMP: bytes; TCP: from sequence numbers, see stream
	history uint16
	stream  stream
}

// class is the list of connections that share a timeout.
type class uint8

const (
	classAttempt class = iota // nobody answered yet
	classClosing              // closed or reset: a moment for stragglers
	classUDP                  // UDP
	classICMP                 // ICMP
	classOpen                 // TCP with traffic both ways, or in the middle
	classes
)

// conn is one connection. Index 0 is its originator, 1 its responder.
type conn struct {
	key         flowKey
	addr        [2]netip.Addr
	port        [2]uint16
	proto       uint8
	vlan, inner uint16
	first, last int64 // packet time, ns
	ends        [2]endpoint
	history     []byte
	services    []string
	session     *session // what speaks in it; nil when nobody listens
	dns         *dnsPending
	started     bool // begins with its handshake
	class       class
	prev, next  *conn
	uidText     string
	missed      int64
	deaf        bool // nothing in it is worth listening to any more
}

func makeKey(s *segment) flowKey {
	k := flowKey{a: s.src.As16(), b: s.dst.As16(), aport: s.sport, bport: s.dport, proto: s.proto, v6: s.src.Is6()}
	if s.proto == protoICMP || s.proto == protoICMPv6 {
		// A reply belongs to its request, and to the same conn.
		request, reply, paired := communityid.Pair(s.proto, s.sport)
		if paired {
			k.aport, k.bport = request, reply
			if s.sport == reply {
				k.aport, k.bport = reply, request
			}
		}
	}
	switch c := bytes.Compare(k.a[:], k.b[:]); {
	case c < 0, c == 0 && k.aport <= k.bport:
		return k
	}
	k.a, k.b, k.aport, k.bport = k.b, k.a, k.bport, k.aport
	return k
}

func (c *conn) protoName() string {
	switch c.proto {
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	}
	return "icmp"
}

func (c *conn) addService(name string) {
	for _, s := range c.services {
		if s == name {
			return
		}
	}
	c.services = append(c.services, name)
}

// uid is stable: the same connection read again from the same capture has the
// same. It looks like Zeek's.
func (c *conn) uid(identity string) string {
	if c.uidText != "" {
		return c.uidText
	}
	h := sha256.New()
	var n [21]byte
	binary.BigEndian.PutUint64(n[:], uint64(c.first)) //nolint:gosec // only hashed
	binary.BigEndian.PutUint16(n[8:], c.key.aport)
	binary.BigEndian.PutUint16(n[10:], c.key.bport)
	binary.BigEndian.PutUint16(n[12:], c.vlan)
	n[14] = c.proto
	h.Write([]byte(identity))
	h.Write(c.key.a[:])
	h.Write(c.key.b[:])
	h.Write(n[:])
	text := new(big.Int).SetBytes(h.Sum(nil)[:14]).Text(62)
	c.uidText = "C" + text[:min(17, len(text))]
	return c.uidText
}

func (c *conn) communityID() string {
	return string(communityid.Append(nil, c.addr[0], c.addr[1], c.proto, c.port[0], c.port[1]))
}

// Zeek's letters of history and the bit that remembers that one was written.
const historyLetters = "SHADFRTGIW"

// note writes a letter of history once for each side: upper case for the
// originator, lower for the responder.
func (c *conn) note(dir int, letter byte) {
	i := bytes.IndexByte([]byte(historyLetters), letter)
	if bit := uint16(1) << i; c.ends[dir].history&bit == 0 {
		c.ends[dir].history |= bit
		if dir == 1 {
			letter += 'a' - 'A'
		}
		c.history = append(c.history, letter)
	}
}

// state is conn_state as Zeek's base/protocols/conn defines it.
func (c *conn) state() string {
	o, r := c.ends[0].state, c.ends[1].state
	switch c.proto {
	case protoUDP:
		switch {
		case o != stateInactive && r != stateInactive:
			return "SF"
		case o != stateInactive:
			return "S0"
		default:
			return "SHR"
		}
	case protoICMP, protoICMPv6:
		return "OTH"
	}
	quietO, quietR := o == stateInactive || o == statePartial, r == stateInactive || r == statePartial
	switch {
	case r == stateReset:
		switch {
		case o == stateSynSent || o == stateSynAckSent,
			o == stateReset && c.size(0) == 0 && c.size(1) == 0:
			return "REJ"
		case quietO:
			return "RSTRH"
		}
		return "RSTR"
	case o == stateReset:
		switch {
		case quietR && c.gaveUp():
			return "RSTOS0"
		case quietR:
			return "OTH"
		}
		return "RSTO"
	case o == stateClosed && r == stateClosed:
		return "SF"
	case o == stateClosed:
		if quietR {
			return "SH"
		}
		return "S2"
	case r == stateClosed:
		if quietO {
			return "SHR"
		}
		return "S3"
	case o == stateSynSent && r == stateInactive:
		return "S0"
	case o == stateEstablished && r == stateEstablished:
		return "S1"
	}
	return "OTH"
}

// gaveUp says whether the originator sent nothing between its SYN and its reset.
func (c *conn) gaveUp() bool {
	h := bytes.TrimPrefix(c.history, []byte("^"))
	reset := bytes.IndexByte(h, 'R')
	return reset > 0 && h[0] == 'S' && !bytes.ContainsAny(h[:reset], "HAFGI")
}

func (c *conn) size(dir int) int64 {
	if c.proto == protoTCP {
		return c.ends[dir].stream.sent
	}
	return c.ends[dir].payload
}

// head begins a record of this connection.
func (c *conn) head(path string, at int64, identity string) *record {
	r := newRecord(path, at)
	r.str("uid", c.uid(identity))
	r.str("id.orig_h", c.addr[0].String())
	r.int("id.orig_p", int64(c.port[0]))
	r.str("id.resp_h", c.addr[1].String())
	r.int("id.resp_p", int64(c.port[1]))
	return r
}

func (c *conn) record(identity string) []byte {
	r := c.head("conn", c.first, identity)
	r.str("proto", c.protoName())
	service := ""
	for i, s := range c.services {
		if i > 0 {
			service += ","
		}
		service += s
	}
	r.str("service", service)
	if c.ends[0].packets+c.ends[1].packets > 1 {
		r.seconds("duration", c.last-c.first)
	}
	r.int("orig_bytes", c.size(0))
	r.int("resp_bytes", c.size(1))
	r.str("conn_state", c.state())
	r.int("missed_bytes", c.missed)
	r.str("history", string(c.history))
	r.int("orig_pkts", c.ends[0].packets)
	r.int("orig_ip_bytes", c.ends[0].ipBytes)
	r.int("resp_pkts", c.ends[1].packets)
	r.int("resp_ip_bytes", c.ends[1].ipBytes)
	if c.vlan != 0 {
		r.int("vlan", int64(c.vlan))
	}
	if c.inner != 0 {
		r.int("inner_vlan", int64(c.inner))
	}
	r.str("community_id", c.communityID())
	return r.done()
}

// connList is the connections of one class, the longest silent first.
type connList struct{ head, tail *conn }

func (l *connList) push(c *conn) {
	c.prev, c.next = l.tail, nil
	if l.tail != nil {
		l.tail.next = c
	} else {
		l.head = c
	}
	l.tail = c
}

func (l *connList) remove(c *conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		l.head = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		l.tail = c.prev
	}
	c.prev, c.next = nil, nil
}
