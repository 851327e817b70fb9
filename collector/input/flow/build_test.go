package flow

import (
	"encoding/binary"
	"net/netip"
	"time"

	nf "github.com/netsampler/goflow2/v2/decoders/netflow"
)

var be = binary.BigEndian

// field is one field of a template and a value.
type field struct {
	id     uint16
	length uint16
	pen    uint32
	value  []byte
}

func u(id uint16, length int, v uint64) field {
	b := be.AppendUint64(nil, v)
	return field{id: id, length: uint16(length), value: b[8-length:]} //nolint:gosec // small
}

func ip(id uint16, a string) field {
	b := netip.MustParseAddr(a).AsSlice()
	return field{id: id, length: uint16(len(b)), value: b} //nolint:gosec // small
}

func txt(id uint16, s string) field {
	return field{id: id, length: variable, value: append([]byte{byte(len(s))}, s...)} //nolint:gosec // short
}

func set(id uint16, body ...byte) []byte {
	return append(be.AppendUint16(be.AppendUint16(nil, id), uint16(4+len(body))), body...) //nolint:gosec // small
}

// templateSet is a template of the fields; scopes of them, if not 0, are scopes
// of options.
func templateSet(v version, id uint16, scopes int, fields ...field) []byte {
	b := be.AppendUint16(nil, id)
	setID := map[version]uint16{netflow9: 0, ipfix: 2}[v]
	switch {
	case scopes == 0:
		b = be.AppendUint16(b, uint16(len(fields))) //nolint:gosec // small
	case v == netflow9:
		setID = 1
		b = be.AppendUint16(be.AppendUint16(b, uint16(4*scopes)), uint16(4*(len(fields)-scopes))) //nolint:gosec // small
	default:
		setID = 3
		b = be.AppendUint16(be.AppendUint16(b, uint16(len(fields))), uint16(scopes)) //nolint:gosec // small
	}
	for _, f := range fields {
		if f.pen != 0 {
			b = be.AppendUint32(be.AppendUint16(be.AppendUint16(b, f.id|0x8000), f.length), f.pen)
		} else {
			b = be.AppendUint16(be.AppendUint16(b, f.id), f.length)
		}
	}
	return set(setID, b...)
}

func dataSet(id uint16, records ...[]field) []byte {
	var b []byte
	for _, r := range records {
		for _, f := range r {
			b = append(b, f.value...)
		}
	}
	return set(id, b...)
}

// v9 and v10 are messages, sent at.
func v9(at time.Time, uptime, number, domain uint32, sets ...[]byte) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, 9), uint16(len(sets)))                                                     //nolint:gosec // small
	b = be.AppendUint32(be.AppendUint32(be.AppendUint32(be.AppendUint32(b, uptime), uint32(at.Unix())), number), domain) //nolint:gosec // until 2106
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

func v10(at time.Time, number, domain uint32, sets ...[]byte) []byte {
	b := be.AppendUint16(nil, 10)
	n := 16
	for _, s := range sets {
		n += len(s)
	}
	b = be.AppendUint16(b, uint16(n))                                                           //nolint:gosec // small
	b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, uint32(at.Unix())), number), domain) //nolint:gosec // until 2106
	for _, s := range sets {
		b = append(b, s...)
	}
	return b
}

// v5 is a datagram of n equal flows.
func v5(at time.Time, uptime, first, last, number uint32, n int, sampling uint16) []byte {
	b := be.AppendUint16(be.AppendUint16(nil, 5), uint16(n))                                                     //nolint:gosec // small
	b = be.AppendUint32(be.AppendUint32(be.AppendUint32(b, uptime), uint32(at.Unix())), uint32(at.Nanosecond())) //nolint:gosec // until 2106
	b = be.AppendUint32(b, number)
	b = append(b, 0, 0)
	b = be.AppendUint16(b, sampling)
	for range n {
		b = append(b, 10, 1, 0, 5, 203, 0, 113, 9, 10, 0, 0, 254)
		b = be.AppendUint16(be.AppendUint16(b, 3), 4)
		b = be.AppendUint32(be.AppendUint32(be.AppendUint32(be.AppendUint32(b, 7), 4321), first), last)
		b = be.AppendUint16(be.AppendUint16(b, 40000), 443)
		b = append(b, 0, 0x1b, 6, 0x10)
		b = be.AppendUint16(be.AppendUint16(b, 64500), 15169)
		b = append(b, 24, 16, 0, 0)
	}
	return b
}

// plainFlow is the fields of an ordinary record.
func plainFlow() []field {
	return []field{
		ip(nf.IPFIX_FIELD_sourceIPv4Address, "10.1.0.5"), ip(nf.IPFIX_FIELD_destinationIPv4Address, "203.0.113.9"),
		u(nf.IPFIX_FIELD_octetDeltaCount, 4, 4321), u(nf.IPFIX_FIELD_packetDeltaCount, 4, 7),
		u(nf.IPFIX_FIELD_flowStartSysUpTime, 4, 1000), u(nf.IPFIX_FIELD_flowEndSysUpTime, 4, 3500),
		u(nf.IPFIX_FIELD_sourceTransportPort, 2, 40000), u(nf.IPFIX_FIELD_destinationTransportPort, 2, 443),
		u(nf.IPFIX_FIELD_protocolIdentifier, 1, 6), u(nf.IPFIX_FIELD_tcpControlBits, 1, 0x1b), u(nf.IPFIX_FIELD_ipClassOfService, 1, 16),
		u(nf.IPFIX_FIELD_ingressInterface, 4, 3), u(nf.IPFIX_FIELD_egressInterface, 4, 4),
		u(nf.IPFIX_FIELD_bgpSourceAsNumber, 4, 64500), u(nf.IPFIX_FIELD_bgpDestinationAsNumber, 4, 15169),
		u(nf.IPFIX_FIELD_vlanId, 2, 42),
	}
}

// ethernetFrame is the beginning of a packet, with a VLAN's tag.
func ethernetFrame() []byte {
	b := []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0, 42, 8, 0}
	b = append(b, 0x45, 0x10, 0x05, 0xdc, 0, 1, 0x40, 0, 63, 6, 0, 0, 10, 1, 0, 5, 203, 0, 113, 9)
	b = be.AppendUint16(be.AppendUint16(b, 40000), 443)
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0)
	return append(b, make([]byte, 32)...)
}

// words is a list of 32-bit numbers and bytes.
func words(parts ...any) (b []byte) {
	for _, p := range parts {
		switch v := p.(type) {
		case int:
			b = be.AppendUint32(b, uint32(v)) //nolint:gosec // of the test
		case []byte:
			b = append(b, v...)
			for len(b)%4 != 0 {
				b = append(b, 0)
			}
		}
	}
	return b
}

// record5 is a record of sFlow: its format, length and content.
func record5(format int, body []byte) []byte { return words(format, len(body), body) }

// sflowDatagram is one flow sample with a packet's beginning, the switch's VLANs
// and the router's next hop, in the short or the expanded form.
func sflowDatagram(number int, expanded bool, more ...[]byte) []byte {
	frame := ethernetFrame()
	raw := record5(1, words(1, 1518, 4, len(frame), frame))
	sw := record5(1001, words(42, 0, 43, 0))
	router := record5(1002, words(1, []byte{10, 0, 0, 254}, 24, 16))
	nat := record5(1007, words(1, []byte{198, 51, 100, 7}, 1, []byte{203, 0, 113, 9}))
	records := append(append(append(append([]byte{}, raw...), sw...), router...), nat...)
	var sample []byte
	if expanded {
		body := words(77, 0, 3, 1000, 5000, 0, 0, 3, 0, 4, 4, records)
		sample = words(3, len(body), body)
	} else {
		body := words(77, 3, 1000, 5000, 0, 3, 4, 4, records)
		sample = words(1, len(body), body)
	}
	counters := words(2, 12, 1, 3, 0)
	b := words(5, 1, []byte{192, 0, 2, 9}, 2, number, 123456, 2+len(more), sample, counters)
	for _, m := range more {
		b = append(b, m...)
	}
	return b
}
