// Package communityid computes Community ID version 1 with seed 0
// (https://github.com/corelight/community-id-spec): the same text for the same
// connection, whoever saw it and whichever way the packet went.
//
// It is pure and allocates nothing.
package communityid

import (
	"crypto/sha1" //nolint:gosec // Community ID is defined by it
	"encoding/base64"
	"encoding/binary"
	"net/netip"
)

// The protocols that have a place of their own in it (IANA).
const (
	icmp   = 1
	tcp    = 6
	udp    = 17
	icmpv6 = 58
	sctp   = 132
)

// Append appends the id to dst. For ICMP the ports are the message's type and
// code; for a protocol without ports they do not count.
func Append(dst []byte, from, to netip.Addr, proto uint8, sport, dport uint16) []byte {
	oneWay, ports := false, true
	switch proto {
	case icmp, icmpv6:
		request, reply, paired := Pair(proto, sport)
		switch {
		case !paired:
			oneWay = true
		case sport == request:
			sport, dport = request, reply
		default:
			sport, dport = reply, request
		}
	case tcp, udp, sctp:
	default:
		ports = false
	}
	if c := from.Compare(to); !oneWay && (c > 0 || c == 0 && ports && sport > dport) {
		from, to, sport, dport = to, from, dport, sport
	}
	var buf [40]byte
	b := buf[:2]
	b = appendAddr(b, from)
	b = appendAddr(b, to)
	b = append(b, proto, 0)
	if ports {
		b = binary.BigEndian.AppendUint16(b, sport)
		b = binary.BigEndian.AppendUint16(b, dport)
	}
	sum := sha1.Sum(b) //nolint:gosec // as the specification says
	return base64.StdEncoding.AppendEncode(append(dst, "1:"...), sum[:])
}

func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		four := a.As4()
		return append(b, four[:]...)
	}
	sixteen := a.As16()
	return append(b, sixteen[:]...)
}

// The types of ICMP (RFC 792, 950, 1256) and ICMPv6 (RFC 4443, 4861, 2710, 4620,
// 6275) that answer each other: request, reply.
var (
	pairs4 = [...][2]uint16{{8, 0}, {13, 14}, {15, 16}, {17, 18}, {10, 9}}
	pairs6 = [...][2]uint16{{128, 129}, {133, 134}, {135, 136}, {139, 140}, {144, 145}, {130, 131}}
)

// Pair tells which type of ICMP asks and which answers, given either.
func Pair(proto uint8, typ uint16) (request, reply uint16, ok bool) {
	pairs := pairs4[:]
	if proto == icmpv6 {
		pairs = pairs6[:]
	}
	for _, p := range pairs {
		if typ == p[0] || typ == p[1] {
			return p[0], p[1], true
		}
	}
	return 0, 0, false
}
