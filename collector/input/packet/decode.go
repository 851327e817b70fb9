package packet

import (
	"encoding/binary"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// Transport protocol numbers (IANA).
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// TCP's flags.
const (
	flagFIN = 1 << iota
	flagSYN
	flagRST
	flagPSH
	flagACK
)

// A fault says at which layer a packet could not be decoded. It is the label of
// the metric that counts such packets.
type fault string

const (
	faultNone     fault = ""
	faultLink     fault = "link"     // too short, or a link type that is not known
	faultIP       fault = "ip"       // a header that contradicts itself
	faultTCP      fault = "tcp"      // likewise
	faultUDP      fault = "udp"      // likewise
	faultICMP     fault = "icmp"     // likewise
	faultFragment fault = "fragment" // overlapping, over-long or out of room
)

// segment is what one packet says on the transport layer. Its payload points
// into the packet.
type segment struct {
	src, dst     netip.Addr
	sport, dport uint16 // for ICMP its type and code
	proto        uint8
	flags        uint8
	vlan, inner  uint16
	seq, ack     uint32
	window       uint16
	ipLen        int // length that the IP header declares, header included
	payload      []byte
	payloadLen   int // as the headers declare: more than len(payload) where the capture cut it off
}

// datagram is an IP packet on its way from the network to the transport layer.
type datagram struct {
	src, dst    netip.Addr
	proto       uint8
	ipLen       int
	body        []byte
	bodyLen     int // declared
	vlan, inner uint16

	fragmented bool
	more       bool
	offset     int
	fragID     uint32
}

// maxLinkHeaders bounds VLAN tags, MPLS labels and the like before IP.
const maxLinkHeaders = 8

// stripLink finds the IP packet within a frame. A frame that is no IP at all
// (ARP, LLDP) gives nil and no fault.
func stripLink(link layers.LinkType, b []byte) (ip []byte, vlan, inner uint16, f fault) {
	var etherType uint16
	switch link {
	case layers.LinkTypeEthernet:
		if len(b) < 14 {
			return nil, 0, 0, faultLink
		}
		etherType, b = binary.BigEndian.Uint16(b[12:]), b[14:]
	case layers.LinkTypeLinuxSLL:
		if len(b) < 16 {
			return nil, 0, 0, faultLink
		}
		etherType, b = binary.BigEndian.Uint16(b[14:]), b[16:]
	case layers.LinkTypeLinuxSLL2:
		if len(b) < 20 {
			return nil, 0, 0, faultLink
		}
		etherType, b = binary.BigEndian.Uint16(b), b[20:]
	case layers.LinkTypeNull, layers.LinkTypeLoop:
		// The family's number and byte order are the capturing system's; IP's
		// own version nibble says the same without them.
		if len(b) < 4 {
			return nil, 0, 0, faultLink
		}
		return rawIP(b[4:])
	case layers.LinkTypeRaw, layers.LinkTypeIPv4, layers.LinkTypeIPv6, 12, 14: // 12 and 14: raw IP on some BSDs
		return rawIP(b)
	default:
		return nil, 0, 0, faultLink
	}
	for range maxLinkHeaders {
		switch etherType {
		case 0x0800, 0x86dd:
			return b, vlan, inner, faultNone
		case 0x8100, 0x88a8, 0x9100: // 802.1Q, 802.1ad and the older QinQ
			if len(b) < 4 {
				return nil, 0, 0, faultLink
			}
			id := binary.BigEndian.Uint16(b) & 0xfff
			if vlan == 0 {
				vlan = id
			} else {
				inner = id
			}
			etherType, b = binary.BigEndian.Uint16(b[2:]), b[4:]
		case 0x8847, 0x8848: // MPLS: what follows the bottom of the stack has no type
			if len(b) < 4 {
				return nil, 0, 0, faultLink
			}
			bottom := b[2]&1 != 0
			b = b[4:]
			if bottom {
				ip, _, _, f = rawIP(b)
				return ip, vlan, inner, f
			}
		case 0x8864: // a PPPoE session: 6 bytes of its own, 2 of PPP
			if len(b) < 8 {
				return nil, 0, 0, faultLink
			}
			switch binary.BigEndian.Uint16(b[6:]) {
			case 0x0021:
				etherType = 0x0800
			case 0x0057:
				etherType = 0x86dd
			default:
				return nil, vlan, inner, faultNone
			}
			b = b[8:]
		default:
			return nil, vlan, inner, faultNone
		}
	}
	return nil, vlan, inner, faultLink
}

func rawIP(b []byte) ([]byte, uint16, uint16, fault) {
	if len(b) == 0 {
		return nil, 0, 0, faultLink
	}
	if v := b[0] >> 4; v != 4 && v != 6 {
		return nil, 0, 0, faultNone
	}
	return b, 0, 0, faultNone
}

// decodeIP reads an IPv4 or IPv6 header with its extensions.
func decodeIP(b []byte, d *datagram) fault {
	if len(b) == 0 {
		return faultIP
	}
	switch b[0] >> 4 {
	case 4:
		return decodeIPv4(b, d)
	case 6:
		return decodeIPv6(b, d)
	}
	return faultIP
}

func decodeIPv4(b []byte, d *datagram) fault {
	if len(b) < 20 {
		return faultIP
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if total == 0 { // segmentation offload leaves the length to the card
		total = len(b)
	}
	if header < 20 || total < header || len(b) < header {
		return faultIP
	}
	frag := binary.BigEndian.Uint16(b[6:])
	d.src, d.dst = netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20]))
	d.proto, d.ipLen = b[9], total
	d.more, d.offset = frag&0x2000 != 0, int(frag&0x1fff)*8
	d.fragmented = d.more || d.offset > 0
	d.fragID = uint32(binary.BigEndian.Uint16(b[4:]))
	d.bodyLen = total - header
	d.body = b[header:min(total, len(b))] // what follows is the frame's padding
	return faultNone
}

// maxExtensions bounds IPv6's chain of extension headers.
const maxExtensions = 10

func decodeIPv6(b []byte, d *datagram) fault {
	if len(b) < 40 {
		return faultIP
	}
	length := int(binary.BigEndian.Uint16(b[4:]))
	if length == 0 { // a jumbogram, or segmentation offload
		length = len(b) - 40
	}
	d.src, d.dst = netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40]))
	next := b[6]
	d.ipLen = 40 + length
	b = b[40:min(40+length, len(b))]
	for range maxExtensions {
		var size int
		switch next {
		case 0, 43, 60, 135: // hop by hop, routing, destination options, mobility
			if len(b) < 8 {
				return faultIP
			}
			size = 8 + int(b[1])*8
		case 51: // authentication
			if len(b) < 8 {
				return faultIP
			}
			size = 8 + int(b[1])*4
		case 44: // fragment
			if len(b) < 8 {
				return faultIP
			}
			at := binary.BigEndian.Uint16(b[2:])
			d.more, d.offset = at&1 != 0, int(at&^7)
			d.fragmented = d.more || d.offset > 0
			d.fragID = binary.BigEndian.Uint32(b[4:])
			size = 8
		default:
			d.proto, d.body, d.bodyLen = next, b, length
			return faultNone
		}
		fragment := next == 44
		next = b[0]
		if size > len(b) || size > length {
			return faultIP
		}
		b, length = b[size:], length-size
		if fragment && d.offset > 0 { // the rest of the chain is in the first fragment
			d.proto, d.body, d.bodyLen = next, b, length
			return faultNone
		}
	}
	return faultIP
}

// decodeTransport reads the header above IP. A protocol that is neither TCP,
// UDP nor ICMP gives false without a fault.
func decodeTransport(d *datagram, s *segment) (ok bool, f fault) {
	b := d.body
	*s = segment{src: d.src, dst: d.dst, proto: d.proto, vlan: d.vlan, inner: d.inner, ipLen: d.ipLen}
	switch d.proto {
	case protoTCP:
		if len(b) < 20 {
			return false, faultTCP
		}
		header := int(b[12]>>4) * 4
		if header < 20 || header > d.bodyLen {
			return false, faultTCP
		}
		s.sport, s.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		s.seq, s.ack = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:])
		s.flags, s.window = b[13]&0x1f, binary.BigEndian.Uint16(b[14:])
		s.payload, s.payloadLen = b[min(header, len(b)):], d.bodyLen-header
	case protoUDP:
		if len(b) < 8 {
			return false, faultUDP
		}
		length := int(binary.BigEndian.Uint16(b[4:]))
		if length == 0 {
			length = d.bodyLen
		}
		if length < 8 || length > d.bodyLen {
			return false, faultUDP
		}
		s.sport, s.dport = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
		s.payload, s.payloadLen = b[8:min(length, len(b))], length-8
	case protoICMP, protoICMPv6:
		if len(b) < 4 {
			return false, faultICMP
		}
		s.sport, s.dport = uint16(b[0]), uint16(b[1])
		s.payload, s.payloadLen = b[min(8, len(b)):], max(0, d.bodyLen-8)
	default:
		return false, faultNone
	}
	return true, faultNone
}
