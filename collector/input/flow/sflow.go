package flow

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
	"github.com/netsampler/goflow2/v2/decoders/sflow"

	"fengsui/collector/input/packet"
)

// The bounds of one datagram of sFlow.
const maxSamples = 1000

// sflow decodes sFlow v5 (https://sflow.org/sflow_version_5.txt). The samples
// are cut out here, one by one: each that does not fit in its datagram is
// refused before the library makes room for what it says to hold.
func (d *decoder) sflow(w *writer, m *message, b []byte) error {
	agent, b, err := sflowAgent(b[4:])
	if err != nil {
		return err
	}
	if len(b) < 16 {
		return errCut
	}
	sub, number, uptime, count := binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint32(b[12:])
	b = b[16:]
	if count > maxSamples {
		return fmt.Errorf("%d samples are more than %d", count, maxSamples)
	}
	dom := d.lock(exporter{from: m.from, agent: agent, version: sflow5, domain: sub}, m.received)
	if dom == nil {
		return errRoom
	}
	defer dom.mu.Unlock()
	dom.restarted(uptime)
	d.sequence(dom, number, 1, "datagrams")
	for i := range count {
		if len(b) < 8 {
			return fmt.Errorf("sample %d of %d: %w", i+1, count, errCut)
		}
		format, length := binary.BigEndian.Uint32(b), int(binary.BigEndian.Uint32(b[4:]))
		if length > len(b)-8 {
			return fmt.Errorf("sample %d of %d: %d bytes long where %d are left", i+1, count, length, len(b)-8)
		}
		if err := d.sample(w, m, dom, agent, format, b[8:8+length]); err != nil {
			return fmt.Errorf("sample %d of %d: %w", i+1, count, err)
		}
		b = b[8+length:]
	}
	return nil
}

func sflowAgent(b []byte) (netip.Addr, []byte, error) {
	if len(b) >= 4 {
		size := 0
		switch binary.BigEndian.Uint32(b) {
		case 1:
			size = 4
		case 2:
			size = 16
		}
		if a, ok := netip.AddrFromSlice(b[4:min(4+size, len(b))]); ok {
			return a.Unmap(), b[4+size:], nil
		}
	}
	return netip.Addr{}, nil, errors.New("the agent's address is of no known kind")
}

// countAt is where a sample of each format has the number of its records, and
// flow samples are those that are read.
var countAt = map[uint32]int{
	sflow.SAMPLE_FORMAT_FLOW:          28,
	sflow.SAMPLE_FORMAT_EXPANDED_FLOW: 40,
}

func (d *decoder) sample(w *writer, m *message, dom *domain, agent netip.Addr, format uint32, b []byte) error {
	at, ok := countAt[format]
	if !ok { // counters of interfaces, drops, and what vendors have of their own
		d.metrics.counters.Inc()
		return nil
	}
	if len(b) < at+4 {
		return errCut
	}
	if n := binary.BigEndian.Uint32(b[at:]); int64(n) > int64(len(b)-at-4)/8 {
		return fmt.Errorf("%d records in %d bytes", n, len(b)-at-4)
	}
	decoded, err := sflow.DecodeSample(&sflow.SampleHeader{Format: format, Length: uint32(len(b))}, bytes.NewBuffer(b)) //nolint:gosec // a datagram's
	if err != nil {
		return err
	}
	r := &w.r
	r.reset()
	r.addrs[aAgent] = agent
	var rate uint32
	var records []sflow.FlowRecord
	switch s := decoded.(type) {
	case sflow.FlowSample:
		rate, records = s.SamplingRate, s.Records
		// The two highest bits say what the others are; 0 is an interface's number.
		r.interfaces(s.Input>>30, s.Input&0x3fffffff, s.Output>>30, s.Output&0x3fffffff)
	case sflow.ExpandedFlowSample:
		rate, records = s.SamplingRate, s.Records
		r.interfaces(s.InputIfFormat, s.InputIfValue, s.OutputIfFormat, s.OutputIfValue)
	}
	if rate == 0 || rate > maxRate {
		rate = d.cfg.SamplingRate
	}
	for i := range records {
		r.sampledRecord(&records[i])
	}
	if !r.addrs[aSource].IsValid() {
		d.metrics.noIP.Inc()
		return nil
	}
	r.set(nPackets, 1)
	r.set(nEndMillis, uint64(m.received.UnixMilli())) //nolint:gosec // after 1970
	w.flow(m, dom, rate, !d.cfg.CountsAsSent)
	return nil
}

func (r *record) interfaces(inFormat, in, outFormat, out uint32) {
	if inFormat == 0 && in != 0x3fffffff { // an interface of the device itself
		r.set(nIngress, uint64(in))
	}
	if outFormat == 0 && out != 0x3fffffff {
		r.set(nEgress, uint64(out))
	}
}

// sampledRecord reads one of the records of a flow sample.
func (r *record) sampledRecord(rec *sflow.FlowRecord) {
	switch v := rec.Data.(type) {
	case sflow.SampledHeader:
		switch v.Protocol {
		case 1: // Ethernet
			r.header(layers.LinkTypeEthernet, v.HeaderData)
		case 11, 12: // IPv4, IPv6
			r.header(layers.LinkTypeRaw, v.HeaderData)
		}
	case sflow.SampledIPv4:
		r.sampled(&v.SampledIPBase, v.Tos)
	case sflow.SampledIPv6:
		r.sampled(&v.SampledIPBase, v.Priority)
	case sflow.SampledEthernet:
		r.set(nSourceMAC, bigEndian(v.SrcMac))
		r.set(nDestinationMAC, bigEndian(v.DstMac))
	case sflow.ExtendedSwitch:
		if !r.is(nVLAN) {
			r.set(nVLAN, uint64(v.SrcVlan))
		}
		r.set(nPostVLAN, uint64(v.DstVlan))
	case sflow.ExtendedRouter:
		r.setAddr(aNextHop, v.NextHop)
		r.set(nSourceMask, uint64(v.SrcMaskLen))
		r.set(nDestinationMask, uint64(v.DstMaskLen))
	case sflow.ExtendedGateway:
		r.set(nSourceAS, uint64(v.SrcAS))
		if len(v.ASPath) > 0 {
			r.set(nDestinationAS, uint64(v.ASPath[len(v.ASPath)-1]))
		}
	case sflow.RawRecord:
		r.extended(rec.Header.DataFormat, v.Data)
	}
}

// header reads the beginning of a packet. The addresses of the frame are the
// neighbours' on the link, as in NetFlow.
func (r *record) header(link layers.LinkType, b []byte) {
	if link == layers.LinkTypeEthernet && len(b) >= 12 {
		r.set(nDestinationMAC, bigEndian(b[0:6]))
		r.set(nSourceMAC, bigEndian(b[6:12]))
	}
	h, ok := packet.ReadHeaders(link, b)
	if !ok {
		return
	}
	r.addrs[aSource], r.addrs[aDestination] = h.Source, h.Dest
	r.set(nBytes, uint64(h.Length)) //nolint:gosec // not negative
	r.set(nProto, uint64(h.Proto))
	if h.VLAN != 0 {
		r.set(nVLAN, uint64(h.VLAN))
		r.set(nInnerVLAN, uint64(h.InnerVLAN))
	}
	if h.Source.Is4() {
		r.set(nTOS, uint64(h.IP[1]))
		r.set(nTTL, uint64(h.IP[8]))
	} else {
		r.set(nTOS, uint64(h.IP[0]<<4|h.IP[1]>>4))
		r.set(nTTL, uint64(h.IP[7]))
	}
	switch {
	case !h.Transport:
	case h.Proto == protoICMP || h.Proto == protoICMPv6:
		r.set(nICMPType, uint64(h.SourcePort))
		r.set(nICMPCode, uint64(h.DestPort))
	default:
		r.set(nSourcePort, uint64(h.SourcePort))
		r.set(nDestinationPort, uint64(h.DestPort))
		if h.Proto == protoTCP {
			r.set(nTCPFlags, uint64(h.Flags))
		}
	}
}

// sampled reads a packet's headers as the agent has read them.
func (r *record) sampled(v *sflow.SampledIPBase, tos uint32) {
	if r.addrs[aSource].IsValid() {
		return // the header itself says more
	}
	r.setAddr(aSource, v.SrcIP)
	r.setAddr(aDestination, v.DstIP)
	r.set(nBytes, uint64(v.Length))
	r.set(nProto, uint64(v.Protocol))
	r.set(nSourcePort, uint64(v.SrcPort))
	r.set(nDestinationPort, uint64(v.DstPort))
	r.set(nTCPFlags, uint64(v.TcpFlags))
	r.set(nTOS, uint64(tos))
}

// extended reads what the library leaves as bytes: a user's names and a
// translation's addresses.
func (r *record) extended(format uint32, b []byte) {
	switch format {
	case sflow.FLOW_TYPE_EXT_USER: // two pairs of a character set and a name
		if len(b) >= 8 {
			if n := binary.BigEndian.Uint32(b[4:]); int64(n) <= int64(len(b)-8) {
				r.texts[tUser] = b[8 : 8+min(n, maxText)]
			}
		}
	case sflow.FLOW_TYPE_EXT_NAT:
		if a, rest, err := sflowAgent(b); err == nil {
			r.setAddr(aNATSource, a.AsSlice())
			if a, _, err := sflowAgent(rest); err == nil {
				r.setAddr(aNATDestination, a.AsSlice())
			}
		}
	}
}
