package packet

import (
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Headers is what the headers of one packet say, to those who sample packets.
type Headers struct {
	IP              []byte // the packet from its IP header on
	Source, Dest    netip.Addr
	Proto           uint8
	VLAN, InnerVLAN uint16
	Length          int // that the IP header declares, itself included

	Transport            bool   // the rest was there to be read
	SourcePort, DestPort uint16 // for ICMP its type and code
	Flags                uint8  // TCP's, up to ACK
}

// ReadHeaders reads the headers at the beginning of a packet, of which no more
// than they may be there. false: it is no IP, or contradicts itself.
func ReadHeaders(link layers.LinkType, b []byte) (Headers, bool) {
	ip, vlan, inner, f := stripLink(link, b)
	if f != faultNone || ip == nil {
		return Headers{}, false
	}
	var d datagram
	if decodeIP(ip, &d) != faultNone {
		return Headers{}, false
	}
	h := Headers{IP: ip, Source: d.src, Dest: d.dst, Proto: d.proto, VLAN: vlan, InnerVLAN: inner, Length: d.ipLen}
	if d.offset > 0 {
		return h, true
	}
	var s segment
	if ok, f := decodeTransport(&d, &s); ok && f == faultNone {
		h.Transport, h.SourcePort, h.DestPort, h.Flags = true, s.sport, s.dport, s.flags
	}
	return h, true
}
