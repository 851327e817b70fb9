package flow

import (
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/input/udp"
	"fengsui/internal/communityid"
	"fengsui/schemas"
)

// writer writes records as lines, of one goroutine. Lines lie one after the
// other in pieces of memory, which are never written again: who has the lines
// owns them.
type writer struct {
	r      record // the one being read
	memory []byte
	lines  []input.Line
	usual  int // lines of the last batch

	names  udp.Names
	from   netip.Addr
	source string
	at     time.Time

	seconds [16]second // lately written, each at its number's last bits
}

// second is the text of a time to the second.
type second struct {
	at   int64
	text [19]byte
}

const (
	pieceBytes = 64 << 10
	// usualLine is more than almost any line has: a longer one costs a copy.
	usualLine = 2 << 10
)

func newWriter() *writer { return &writer{names: udp.Names{}} }

// begin says whose records come now, and when they came.
func (w *writer) begin(from netip.Addr, at time.Time) {
	if from != w.from || w.source == "" {
		w.from, w.source = from, w.names.Of(from)
	}
	w.at = at
}

// take gives the lines away.
func (w *writer) take() []input.Line {
	lines := w.lines
	w.lines, w.usual = nil, len(lines)
	return lines
}

// room is the memory that the next line is appended to.
func (w *writer) room(n int) []byte {
	if cap(w.memory)-len(w.memory) < n {
		w.memory = make([]byte, 0, max(pieceBytes, n))
	}
	if w.lines == nil {
		w.lines = make([]input.Line, 0, max(w.usual, 32))
	}
	return w.memory
}

// add makes a line of what b has more than the memory had.
func (w *writer) add(b []byte, reject string, at time.Time) {
	start := len(w.memory)
	w.memory = b
	w.lines = append(w.lines, input.Line{
		Value: b[start:len(b):len(b)], Source: w.source, Received: at, Format: Format, Reject: reject,
	})
}

// reject hands a datagram on, whole, as what could not be decoded.
func (w *writer) reject(b []byte, at time.Time, err error) {
	w.add(append(w.room(len(b)), b...), fmt.Sprintf("flow: %v", err), at)
}

// flow writes the record that was read.
func (w *writer) flow(m *message, dom *domain, rate uint32, multiply bool) {
	r := &w.r
	start, end := r.times(m, dom)
	if end == 0 {
		end = m.received.UnixNano()
	}
	b := w.room(usualLine)
	b = w.appendTime(append(b, `{"@timestamp":`...), end)
	if start != 0 {
		b = w.appendTime(append(b, `,"event.start":`...), start)
		b = w.appendTime(append(b, `,"event.end":`...), end)
		if end >= start {
			b = appendInt(b, `,"event.duration":`, uint64(end-start)) //nolint:gosec // not negative
		}
	}
	b = append(append(append(b, `,"event.provider":"`...), m.version.String()...), '"')
	b = r.ends(b, rate, multiply)
	b = r.network(b, dom)
	b = r.rest(b)
	if rate > 1 {
		b = appendInt(b, `,"labels.sampling_rate":`, uint64(rate))
	}
	if dom.of.domain != 0 {
		b = appendInt(b, `,"labels.observation_domain":`, uint64(dom.of.domain))
	}
	if a := r.addrs[aAgent]; a.IsValid() && a != m.from {
		b = appendAddr(b, `,"observer.ip":"`, a)
	}
	w.add(append(b, '}'), "", m.received)
}

// ends writes source and destination.
func (r *record) ends(b []byte, rate uint32, multiply bool) []byte {
	times := uint64(1)
	if multiply {
		times = uint64(rate)
	}
	b = appendAddr(b, `,"source.ip":"`, r.addrs[aSource])
	b = r.appendPort(b, `,"source.port":`, nSourcePort)
	b = r.appendCount(b, `,"source.bytes":`, times, nBytes, nTotalBytes, nInitiatorBytes, nPostBytes)
	b = r.appendCount(b, `,"source.packets":`, times, nPackets, nTotalPackets, nInitiatorPackets, nPostPackets)
	b = r.appendMAC(b, `,"source.mac":"`, nSourceMAC, nPostSourceMAC)
	b = r.appendSome(b, `,"source.as.number":`, nSourceAS)
	b = appendAddr(b, `,"source.nat.ip":"`, r.addrs[aNATSource])
	b = r.appendSome(b, `,"source.nat.port":`, nNATSourcePort)
	b = appendText(b, `,"source.user.name":`, r.texts[tUser])
	b = appendAddr(b, `,"destination.ip":"`, r.addrs[aDestination])
	b = r.appendPort(b, `,"destination.port":`, nDestinationPort)
	b = r.appendCount(b, `,"destination.bytes":`, times, nReverseBytes, nReverseTotalBytes, nResponderBytes)
	b = r.appendCount(b, `,"destination.packets":`, times, nReversePackets, nReverseTotalPackets, nResponderPackets)
	b = r.appendMAC(b, `,"destination.mac":"`, nDestinationMAC, nPostDestinationMAC)
	b = r.appendSome(b, `,"destination.as.number":`, nDestinationAS)
	b = appendAddr(b, `,"destination.nat.ip":"`, r.addrs[aNATDestination])
	return r.appendSome(b, `,"destination.nat.port":`, nNATDestinationPort)
}

// The protocols that have ports, and those that have types instead (IANA).
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoDCCP   = 33
	protoICMPv6 = 58
	protoSCTP   = 132
	protoLite   = 136
)

var protocols = [256]string{
	protoICMP: "icmp", 2: "igmp", 4: "ipip", protoTCP: "tcp", protoUDP: "udp", protoDCCP: "dccp", 41: "ipv6", 47: "gre", 50: "esp", 51: "ah",
	protoICMPv6: "icmp", 88: "eigrp", 89: "ospf", 103: "pim", 112: "vrrp", 115: "l2tp", protoSCTP: "sctp", protoLite: "udplite",
}

func (r *record) hasPorts() bool {
	switch r.n[nProto] {
	case protoTCP, protoUDP, protoDCCP, protoSCTP, protoLite:
		return true
	}
	return false
}

// network writes what is between the ends.
func (r *record) network(b []byte, dom *domain) []byte {
	if r.is(nProto) && r.n[nProto] < 256 {
		proto := uint8(r.n[nProto]) //nolint:gosec // checked
		if name := protocols[proto]; name != "" {
			b = append(append(append(b, `,"network.transport":"`...), name...), '"')
		} else {
			b = append(appendInt(b, `,"network.transport":"`, uint64(proto)), '"')
		}
		one, other := uint16(r.n[nSourcePort]), uint16(r.n[nDestinationPort]) //nolint:gosec // 16 bits
		if !r.is(nSourcePort) || !r.is(nDestinationPort) {
			one, other = 0, 0
		}
		known := r.hasPorts() && r.is(nSourcePort) && r.is(nDestinationPort)
		if proto == protoICMP || proto == protoICMPv6 {
			if one, other, known = r.icmp(); known {
				b = appendInt(b, `,"labels.icmp_type":`, uint64(one))
				b = appendInt(b, `,"labels.icmp_code":`, uint64(other))
			}
		} else {
			known = known || !r.hasPorts()
		}
		from, to := r.addrs[aSource], r.addrs[aDestination]
		if known && from.IsValid() && from.BitLen() == to.BitLen() {
			b = append(b, `,"network.community_id":"`...)
			b = append(communityid.Append(b, from, to, proto, one, other), '"')
		}
	}
	if vlan, _ := r.first(nDot1qVLAN, nVLAN); vlan != 0 {
		b = append(appendInt(b, `,"network.vlan.id":"`, vlan), '"')
	}
	app := r.texts[tApplication]
	if len(app) > 0 {
		b = appendText(b, `,"network.application":`, app)
	} else if r.is(nApplicationID) {
		if name := dom.applications[r.n[nApplicationID]]; name != "" {
			b = schemas.String(name).AppendJSON(append(b, `,"network.application":`...))
		}
	}
	b = r.appendInterface(b, dom, nIngress, `,"labels.ingress_interface":`, `,"observer.ingress.interface.name":`)
	return r.appendInterface(b, dom, nEgress, `,"labels.egress_interface":`, `,"observer.egress.interface.name":`)
}

// icmp is the type and code of ICMP: exporters that have no fields for them put
// both into the destination's port.
func (r *record) icmp() (typ, code uint16, ok bool) {
	if r.is(nICMPType) {
		code := uint64(0)
		if r.is(nICMPCode) {
			code = r.n[nICMPCode]
		}
		return uint16(r.n[nICMPType] & 255), uint16(code & 255), true
	}
	for _, k := range [...]num{nICMPTypeCode, nDestinationPort} {
		if r.is(k) {
			return uint16(r.n[k] >> 8 & 255), uint16(r.n[k] & 255), true
		}
	}
	return 0, 0, false
}

func (r *record) appendInterface(b []byte, dom *domain, k num, number, name string) []byte {
	if !r.is(k) || r.n[k] == 0 || r.n[k] > math.MaxUint32 {
		return b
	}
	b = appendInt(b, number, r.n[k])
	if text := dom.interfaces[uint32(r.n[k])]; text != "" { //nolint:gosec // checked
		b = schemas.String(text).AppendJSON(append(b, name...))
	}
	return b
}

// plain are the numbers that are written as they are, where they are there.
var plain = [...]struct {
	k    num
	key  string
	zero bool // zero says something
}{
	{nTOS, `,"labels.tos":`, false},
	{nSourceMask, `,"labels.source_mask":`, false},
	{nDestinationMask, `,"labels.destination_mask":`, false},
	{nInnerVLAN, `,"labels.inner_vlan":`, false},
	{nPostVLAN, `,"labels.post_vlan":`, false},
	{nForwarding, `,"labels.forwarding_status":`, false},
	{nTTL, `,"labels.ttl":`, false},
	{nNATEvent, `,"labels.nat_event":`, true},
	{nNATPool, `,"labels.nat_pool_id":`, false},
	{nFirewallEvent, `,"labels.firewall_event":`, true},
	{nPortRangeStart, `,"labels.port_range_start":`, true},
	{nPortRangeEnd, `,"labels.port_range_end":`, true},
	{nPortRangeStep, `,"labels.port_range_step":`, false},
	{nPortRangeSize, `,"labels.port_range_size":`, false},
	{nIngressVRF, `,"labels.ingress_vrf":`, false},
	{nEgressVRF, `,"labels.egress_vrf":`, false},
}

// endReasons are flowEndReason's (RFC 5102, 5.11.3).
var endReasons = [...]string{1: "idle timeout", 2: "active timeout", 3: "end of flow", 4: "forced end", 5: "lack of resources"}

// rest writes what has no name in ECS.
func (r *record) rest(b []byte) []byte {
	b = r.appendFlags(b, `,"labels.tcp_flags":"`, nTCPFlags)
	b = r.appendFlags(b, `,"labels.tcp_flags_reverse":"`, nReverseTCPFlags)
	for i := range plain {
		if p := &plain[i]; r.is(p.k) && (p.zero || r.n[p.k] != 0) {
			b = appendInt(b, p.key, r.n[p.k])
		}
	}
	b = appendAddr(b, `,"labels.next_hop":"`, r.addrs[aNextHop])
	b = appendText(b, `,"labels.nat_pool":`, r.texts[tPool])
	if r.is(nDirection) {
		switch r.n[nDirection] {
		case 0:
			b = append(b, `,"labels.flow_direction":"ingress"`...)
		case 1:
			b = append(b, `,"labels.flow_direction":"egress"`...)
		}
	}
	if r.is(nEndReason) {
		if n := r.n[nEndReason]; n > 0 && n < uint64(len(endReasons)) {
			b = append(append(append(b, `,"labels.flow_end_reason":"`...), endReasons[n]...), '"')
		}
	}
	return b
}

// flagLetters are TCP's flags, the lowest bit first.
const flagLetters = "FSRPAUEC"

func (r *record) appendFlags(b []byte, key string, k num) []byte {
	if !r.is(k) || r.n[k]&255 == 0 || r.is(nProto) && r.n[nProto] != protoTCP {
		return b
	}
	b = append(b, key...)
	for i := range len(flagLetters) {
		if r.n[k]&(1<<i) != 0 {
			b = append(b, flagLetters[i])
		}
	}
	return append(b, '"')
}

func (r *record) appendPort(b []byte, key string, k num) []byte {
	if !r.is(k) || r.n[k] > math.MaxUint16 || !r.hasPorts() && r.is(nProto) {
		return b
	}
	return appendInt(b, key, r.n[k])
}

// maxCount bounds a number that every reader of JSON understands, and we do.
const maxCount = 999_999_999_999_999_999

// appendCount writes the first of the counts that is there, times the sampling
// rate.
func (r *record) appendCount(b []byte, key string, times uint64, ks ...num) []byte {
	v, ok := r.first(ks...)
	if !ok {
		return b
	}
	if v > maxCount/times {
		v, times = maxCount, 1
	}
	return appendInt(b, key, v*times)
}

// appendSome writes a number that is not zero.
func (r *record) appendSome(b []byte, key string, k num) []byte {
	if !r.is(k) || r.n[k] == 0 {
		return b
	}
	return appendInt(b, key, r.n[k])
}

func (r *record) appendMAC(b []byte, key string, ks ...num) []byte {
	v, _ := r.first(ks...)
	if v == 0 || v>>48 != 0 {
		return b
	}
	b = append(b, key...)
	for shift := 40; shift >= 0; shift -= 8 {
		b = append(b, hex[v>>(shift+4)&15], hex[v>>shift&15], ':')
	}
	b[len(b)-1] = '"'
	return b
}

const hex = "0123456789abcdef"

func appendInt(b []byte, key string, v uint64) []byte {
	return strconv.AppendUint(append(b, key...), min(v, maxCount), 10)
}

func appendAddr(b []byte, key string, a netip.Addr) []byte {
	if !a.IsValid() {
		return b
	}
	return append(a.AppendTo(append(b, key...)), '"')
}

func appendText(b []byte, key string, text []byte) []byte {
	if len(text) == 0 {
		return b
	}
	return schemas.String(string(text)).AppendJSON(append(b, key...))
}

// appendTime writes a time as RFC 3339 has it. The lines of a batch have few
// different seconds.
func (w *writer) appendTime(b []byte, ns int64) []byte {
	at, fraction := ns/1e9, ns%1e9
	if fraction < 0 {
		at, fraction = at-1, fraction+1e9
	}
	s := &w.seconds[at&int64(len(w.seconds)-1)]
	if at != s.at || s.text[0] == 0 {
		s.at = at
		time.Unix(at, 0).UTC().AppendFormat(s.text[:0], "2006-01-02T15:04:05")
	}
	b = append(append(b, '"'), s.text[:]...)
	if fraction != 0 {
		b = append(b, '.')
		for scale := int64(1e8); fraction > 0; scale /= 10 {
			b = append(b, byte('0'+fraction/scale))
			fraction %= scale
		}
	}
	return append(b, 'Z', '"')
}
