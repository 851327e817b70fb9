package flow

import (
	"encoding/binary"
	"math"
	"net/netip"

	nf "github.com/netsampler/goflow2/v2/decoders/netflow"
)

// num names a number that a record may have; addr an address, text a string.
type (
	num  uint8
	addr uint8
	text uint8
)

const (
	nBytes num = iota // the record's own direction
	nPackets
	nTotalBytes
	nTotalPackets
	nPostBytes
	nPostPackets
	nInitiatorBytes // of a biflow; the responder's are below
	nInitiatorPackets
	nResponderBytes
	nResponderPackets
	nReverseBytes // of a biflow as RFC 5103 has it
	nReversePackets
	nReverseTotalBytes
	nReverseTotalPackets
	nReverseTCPFlags
	nProto
	nTOS
	nTCPFlags
	nSourcePort
	nDestinationPort
	nIngress
	nEgress
	nSourceMask
	nDestinationMask
	nSourceAS
	nDestinationAS
	nStartUptime // ms since the exporter began
	nEndUptime
	nStartSeconds
	nEndSeconds
	nStartMillis
	nEndMillis
	nStartMicros // NTP's format
	nEndMicros
	nStartNanos // NTP's format
	nEndNanos
	nStartDelta // µs before the export
	nEndDelta
	nInitMillis // when the exporter began
	nDurationMillis
	nDurationMicros
	nObservedSeconds
	nObservedMillis
	nObservedMicros // NTP's format
	nObservedNanos  // NTP's format
	nICMPTypeCode
	nICMPType
	nICMPCode
	nSourceMAC
	nDestinationMAC
	nPostSourceMAC
	nPostDestinationMAC
	nVLAN
	nDot1qVLAN
	nInnerVLAN
	nPostVLAN
	nDirection
	nEndReason
	nForwarding
	nTTL
	nNATSourcePort
	nNATDestinationPort
	nNATEvent
	nNATPool
	nFirewallEvent
	nPortRangeStart
	nPortRangeEnd
	nPortRangeStep
	nPortRangeSize
	nIngressVRF
	nEgressVRF
	nApplicationID
	nFragment
	// Of options, and of records that say their sampling themselves.
	nSamplerID
	nSamplingInterval
	nSamplerInterval
	nPacketInterval
	nPacketSpace
	nSampleSize
	nPopulation
	nProbability
	nScopeInterface
	nums
)

const (
	aSource addr = iota
	aDestination
	aNextHop
	aNATSource
	aNATDestination
	aAgent // of sFlow, which is not always who sent the datagram
	addrs
)

const (
	tUser text = iota
	tApplication
	tInterface
	tPool
	texts
)

// record is one record of any version. It is used again and again: only what has
// says to be there is of this record.
type record struct {
	has   [2]uint64
	n     [nums]uint64
	addrs [addrs]netip.Addr // the zero Addr is none
	texts [texts][]byte     // share the datagram's memory
}

func (r *record) reset() {
	r.has = [2]uint64{}
	r.addrs = [addrs]netip.Addr{}
	r.texts = [texts][]byte{}
}

func (r *record) set(k num, v uint64) {
	r.n[k] = v
	r.has[k>>6] |= 1 << (k & 63)
}

func (r *record) is(k num) bool { return r.has[k>>6]&(1<<(k&63)) != 0 }

// first is the first of the numbers that is there and not zero, or a zero.
func (r *record) first(ks ...num) (v uint64, ok bool) {
	for _, k := range ks {
		if r.is(k) {
			if ok = true; r.n[k] != 0 {
				return r.n[k], true
			}
		}
	}
	return 0, ok
}

// setAddr keeps an address unless it is all zeros, which exporters send for none.
func (r *record) setAddr(k addr, b []byte) {
	a, ok := netip.AddrFromSlice(b)
	if ok && !a.IsUnspecified() {
		r.addrs[k] = a.Unmap()
	}
}

// class is how the bytes of a field are read.
type class uint8

const (
	skip class = iota
	number
	address
	str
	float
)

// step reads one field of a template's record.
type step struct {
	length uint16 // variable: the field says it
	class  class
	at     uint8 // num, addr or text
}

// variable is the length of fields that carry their own (RFC 7011, 7).
const variable = 0xffff

// maxText bounds a string's bytes.
const maxText = 256

// read reads one field's bytes into r. What has another length than its meaning
// allows is left out.
func (s step) read(r *record, b []byte) {
	switch s.class {
	case number:
		if len(b) > 0 && len(b) <= 8 {
			r.set(num(s.at), bigEndian(b))
		}
	case address:
		if len(b) == 4 || len(b) == 16 {
			r.setAddr(addr(s.at), b)
		}
	case str:
		for len(b) > 0 && b[len(b)-1] == 0 { // fixed lengths are filled up
			b = b[:len(b)-1]
		}
		r.texts[s.at] = b[:min(len(b), maxText)]
	case float:
		if len(b) == 8 {
			r.set(num(s.at), binary.BigEndian.Uint64(b))
		} else if len(b) == 4 {
			r.set(num(s.at), math.Float64bits(float64(math.Float32frombits(binary.BigEndian.Uint32(b)))))
		}
	case skip:
	}
}

func bigEndian(b []byte) (v uint64) {
	switch len(b) {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// elements says how the information elements of IANA's registry are read
// (https://www.iana.org/assignments/ipfix). NetFlow v9 has the same numbers for
// what it has.
var elements = func() (e [512]step) {
	for id, at := range map[int]num{
		nf.IPFIX_FIELD_octetDeltaCount:                  nBytes,
		nf.IPFIX_FIELD_packetDeltaCount:                 nPackets,
		nf.IPFIX_FIELD_octetTotalCount:                  nTotalBytes,
		nf.IPFIX_FIELD_packetTotalCount:                 nTotalPackets,
		nf.IPFIX_FIELD_postOctetDeltaCount:              nPostBytes,
		nf.IPFIX_FIELD_postPacketDeltaCount:             nPostPackets,
		nf.IPFIX_FIELD_initiatorOctets:                  nInitiatorBytes,
		nf.IPFIX_FIELD_initiatorPackets:                 nInitiatorPackets,
		nf.IPFIX_FIELD_responderOctets:                  nResponderBytes,
		nf.IPFIX_FIELD_responderPackets:                 nResponderPackets,
		nf.IPFIX_FIELD_protocolIdentifier:               nProto,
		nf.IPFIX_FIELD_ipClassOfService:                 nTOS,
		nf.IPFIX_FIELD_tcpControlBits:                   nTCPFlags,
		nf.IPFIX_FIELD_sourceTransportPort:              nSourcePort,
		nf.IPFIX_FIELD_udpSourcePort:                    nSourcePort,
		nf.IPFIX_FIELD_tcpSourcePort:                    nSourcePort,
		nf.IPFIX_FIELD_destinationTransportPort:         nDestinationPort,
		nf.IPFIX_FIELD_udpDestinationPort:               nDestinationPort,
		nf.IPFIX_FIELD_tcpDestinationPort:               nDestinationPort,
		nf.IPFIX_FIELD_ingressInterface:                 nIngress,
		nf.IPFIX_FIELD_egressInterface:                  nEgress,
		nf.IPFIX_FIELD_sourceIPv4PrefixLength:           nSourceMask,
		nf.IPFIX_FIELD_sourceIPv6PrefixLength:           nSourceMask,
		nf.IPFIX_FIELD_destinationIPv4PrefixLength:      nDestinationMask,
		nf.IPFIX_FIELD_destinationIPv6PrefixLength:      nDestinationMask,
		nf.IPFIX_FIELD_bgpSourceAsNumber:                nSourceAS,
		nf.IPFIX_FIELD_bgpDestinationAsNumber:           nDestinationAS,
		nf.IPFIX_FIELD_flowStartSysUpTime:               nStartUptime,
		nf.IPFIX_FIELD_flowEndSysUpTime:                 nEndUptime,
		nf.IPFIX_FIELD_flowStartSeconds:                 nStartSeconds,
		nf.IPFIX_FIELD_flowEndSeconds:                   nEndSeconds,
		nf.IPFIX_FIELD_flowStartMilliseconds:            nStartMillis,
		nf.IPFIX_FIELD_flowEndMilliseconds:              nEndMillis,
		nf.IPFIX_FIELD_flowStartMicroseconds:            nStartMicros,
		nf.IPFIX_FIELD_flowEndMicroseconds:              nEndMicros,
		nf.IPFIX_FIELD_flowStartNanoseconds:             nStartNanos,
		nf.IPFIX_FIELD_flowEndNanoseconds:               nEndNanos,
		nf.IPFIX_FIELD_flowStartDeltaMicroseconds:       nStartDelta,
		nf.IPFIX_FIELD_flowEndDeltaMicroseconds:         nEndDelta,
		nf.IPFIX_FIELD_systemInitTimeMilliseconds:       nInitMillis,
		nf.IPFIX_FIELD_flowDurationMilliseconds:         nDurationMillis,
		nf.IPFIX_FIELD_flowDurationMicroseconds:         nDurationMicros,
		nf.IPFIX_FIELD_observationTimeSeconds:           nObservedSeconds,
		nf.IPFIX_FIELD_observationTimeMilliseconds:      nObservedMillis,
		nf.IPFIX_FIELD_observationTimeMicroseconds:      nObservedMicros,
		nf.IPFIX_FIELD_observationTimeNanoseconds:       nObservedNanos,
		nf.IPFIX_FIELD_icmpTypeCodeIPv4:                 nICMPTypeCode,
		nf.IPFIX_FIELD_icmpTypeCodeIPv6:                 nICMPTypeCode,
		nf.IPFIX_FIELD_icmpTypeIPv4:                     nICMPType,
		nf.IPFIX_FIELD_icmpTypeIPv6:                     nICMPType,
		nf.IPFIX_FIELD_icmpCodeIPv4:                     nICMPCode,
		nf.IPFIX_FIELD_icmpCodeIPv6:                     nICMPCode,
		nf.IPFIX_FIELD_sourceMacAddress:                 nSourceMAC,
		nf.IPFIX_FIELD_destinationMacAddress:            nDestinationMAC,
		nf.IPFIX_FIELD_postSourceMacAddress:             nPostSourceMAC,
		nf.IPFIX_FIELD_postDestinationMacAddress:        nPostDestinationMAC,
		nf.IPFIX_FIELD_vlanId:                           nVLAN,
		nf.IPFIX_FIELD_dot1qVlanId:                      nDot1qVLAN,
		nf.IPFIX_FIELD_dot1qCustomerVlanId:              nInnerVLAN,
		nf.IPFIX_FIELD_postVlanId:                       nPostVLAN,
		nf.IPFIX_FIELD_postDot1qVlanId:                  nPostVLAN,
		nf.IPFIX_FIELD_flowDirection:                    nDirection,
		nf.IPFIX_FIELD_flowEndReason:                    nEndReason,
		nf.IPFIX_FIELD_forwardingStatus:                 nForwarding,
		nf.IPFIX_FIELD_ipTTL:                            nTTL,
		nf.IPFIX_FIELD_minimumTTL:                       nTTL,
		nf.IPFIX_FIELD_postNAPTSourceTransportPort:      nNATSourcePort,
		nf.IPFIX_FIELD_postNAPTDestinationTransportPort: nNATDestinationPort,
		nf.IPFIX_FIELD_natEvent:                         nNATEvent,
		nf.IPFIX_FIELD_natPoolId:                        nNATPool,
		nf.IPFIX_FIELD_firewallEvent:                    nFirewallEvent,
		nf.IPFIX_FIELD_portRangeStart:                   nPortRangeStart,
		nf.IPFIX_FIELD_portRangeEnd:                     nPortRangeEnd,
		nf.IPFIX_FIELD_portRangeStepSize:                nPortRangeStep,
		nf.IPFIX_FIELD_portRangeNumPorts:                nPortRangeSize,
		nf.IPFIX_FIELD_ingressVRFID:                     nIngressVRF,
		nf.IPFIX_FIELD_egressVRFID:                      nEgressVRF,
		nf.IPFIX_FIELD_applicationId:                    nApplicationID,
		nf.IPFIX_FIELD_fragmentOffset:                   nFragment,
		nf.IPFIX_FIELD_samplerId:                        nSamplerID,
		nf.IPFIX_FIELD_selectorId:                       nSamplerID,
		nf.IPFIX_FIELD_samplingInterval:                 nSamplingInterval,
		nf.IPFIX_FIELD_samplerRandomInterval:            nSamplerInterval,
		nf.IPFIX_FIELD_samplingPacketInterval:           nPacketInterval,
		nf.IPFIX_FIELD_samplingPacketSpace:              nPacketSpace,
		nf.IPFIX_FIELD_samplingSize:                     nSampleSize,
		nf.IPFIX_FIELD_samplingPopulation:               nPopulation,
	} {
		e[id] = step{class: number, at: uint8(at)}
	}
	e[nf.IPFIX_FIELD_samplingProbability] = step{class: float, at: uint8(nProbability)}
	for id, at := range map[int]addr{
		nf.IPFIX_FIELD_sourceIPv4Address:             aSource,
		nf.IPFIX_FIELD_sourceIPv6Address:             aSource,
		nf.IPFIX_FIELD_destinationIPv4Address:        aDestination,
		nf.IPFIX_FIELD_destinationIPv6Address:        aDestination,
		nf.IPFIX_FIELD_ipNextHopIPv4Address:          aNextHop,
		nf.IPFIX_FIELD_ipNextHopIPv6Address:          aNextHop,
		nf.IPFIX_FIELD_postNATSourceIPv4Address:      aNATSource,
		nf.IPFIX_FIELD_postNATSourceIPv6Address:      aNATSource,
		nf.IPFIX_FIELD_postNATDestinationIPv4Address: aNATDestination,
		nf.IPFIX_FIELD_postNATDestinationIPv6Address: aNATDestination,
	} {
		e[id] = step{class: address, at: uint8(at)}
	}
	for id, at := range map[int]text{
		nf.IPFIX_FIELD_userName:             tUser,
		nf.IPFIX_FIELD_applicationName:      tApplication,
		nf.IPFIX_FIELD_interfaceName:        tInterface,
		nf.IPFIX_FIELD_interfaceDescription: tInterface,
		nf.IPFIX_FIELD_natPoolName:          tPool,
	} {
		e[id] = step{class: str, at: uint8(at)}
	}
	return e
}()

// reversed are the elements that RFC 5103 has for the way back, under the
// enterprise number 29305.
var reversed = map[uint16]step{
	nf.IPFIX_FIELD_octetDeltaCount:  {class: number, at: uint8(nReverseBytes)},
	nf.IPFIX_FIELD_packetDeltaCount: {class: number, at: uint8(nReversePackets)},
	nf.IPFIX_FIELD_octetTotalCount:  {class: number, at: uint8(nReverseTotalBytes)},
	nf.IPFIX_FIELD_packetTotalCount: {class: number, at: uint8(nReverseTotalPackets)},
	nf.IPFIX_FIELD_tcpControlBits:   {class: number, at: uint8(nReverseTCPFlags)},
}

const reversePEN = 29305

// cisco are the numbers that Cisco's firewalls used in NetFlow v9 before IANA
// had any (NSEL).
var cisco = map[uint16]step{
	40000: {class: str, at: uint8(tUser)},
	40001: {class: address, at: uint8(aNATSource)},
	40002: {class: address, at: uint8(aNATDestination)},
	40003: {class: number, at: uint8(nNATSourcePort)},
	40004: {class: number, at: uint8(nNATDestinationPort)},
	40005: {class: number, at: uint8(nFirewallEvent)},
}

// stepOf says how a field is read.
func stepOf(v version, id uint16, pen uint32, length uint16) step {
	var s step
	switch {
	case pen == reversePEN:
		s = reversed[id]
	case pen != 0:
	case int(id) < len(elements):
		s = elements[id]
	case v == netflow9:
		s = cisco[id]
	}
	s.length = length
	return s
}
