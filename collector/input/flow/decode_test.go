package flow

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"fengsui/collector/input/listen/listentest"

	nf "github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
)

var (
	sentAt    = time.Date(2026, 11, 22, 9, 0, 0, 0, time.UTC)
	cameAt    = sentAt.Add(2 * time.Second)
	exporter1 = netip.MustParseAddr("192.0.2.1")
)

// decode gives datagrams to a decoder, one after the other.
func (d *decoder) lines(datagrams ...[]byte) []input.Line {
	w := newWriter()
	for _, b := range datagrams {
		d.datagram(w, exporter1, b, cameAt)
	}
	return w.take()
}

func newTestDecoder(change ...func(*Config)) *decoder {
	var cfg Config
	for _, f := range change {
		f(&cfg)
	}
	return newDecoder(cfg.WithDefaults(), newMetrics())
}

// valueOf reads a counter.
func valueOf(t testing.TB, c prometheus.Collector) (sum float64) {
	t.Helper()
	reg := prometheus.NewRegistry()
	if err := reg.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// has checks fields of a line, by name and text; "" is a field that is not there.
func has(t *testing.T, r fields, want ...string) {
	t.Helper()
	for i := 0; i < len(want); i += 2 {
		got := ""
		switch v := r[want[i]].(type) {
		case nil:
		case float64:
			got = strconv.FormatFloat(v, 'f', -1, 64)
		default:
			got = fmt.Sprint(v)
		}
		if got != want[i+1] {
			t.Errorf("%s is %q, want %q, in %v", want[i], got, want[i+1], r)
		}
	}
}

func one(t *testing.T, lines []input.Line) fields {
	t.Helper()
	rs := decodeLines(t, lines)
	if len(rs) != 1 {
		t.Fatalf("%d lines, want 1: %v", len(rs), rs)
	}
	return rs[0]
}

func TestV5(t *testing.T) {
	d := newTestDecoder()
	rs := decodeLines(t, d.lines(v5(sentAt, 10_000, 4_000, 9_500, 0, 2, 0x4000|100)))
	if len(rs) != 2 {
		t.Fatalf("%d lines", len(rs))
	}
	has(t, rs[1],
		"@timestamp", "2026-11-22T08:59:59.5Z", "event.start", "2026-11-22T08:59:54Z", "event.end", "2026-11-22T08:59:59.5Z", "event.duration", "5500000000",
		"event.provider", "netflow5", "source.ip", "10.1.0.5", "source.port", "40000", "source.bytes", "432100", "source.packets", "700",
		"source.as.number", "64500", "destination.ip", "203.0.113.9", "destination.port", "443", "destination.as.number", "15169", "destination.bytes", "",
		"network.transport", "tcp", "network.community_id", "1:weQIFH83RCgZUCjVQRKpfgnrRUw=", "labels.tcp_flags", "FSPA", "labels.tos", "16",
		"labels.source_mask", "24", "labels.destination_mask", "16", "labels.next_hop", "10.0.0.254",
		"labels.ingress_interface", "3", "labels.egress_interface", "4", "labels.sampling_rate", "100")
	// The counts as the exporter has them.
	r := one(t, newTestDecoder(func(c *Config) { c.CountsAsSent = true }).lines(v5(sentAt, 1, 1, 1, 0, 1, 100)))
	has(t, r, "source.bytes", "4321", "labels.sampling_rate", "100")
	// The rate that is configured, for who does not say any.
	r = one(t, newTestDecoder(func(c *Config) { c.SamplingRate = 10 }).lines(v5(sentAt, 1, 1, 1, 0, 1, 0)))
	has(t, r, "source.bytes", "43210", "labels.sampling_rate", "10")
}

// TestTimes: uptimes overflow after 49.7 days, and a flow may end after the
// header was written.
func TestTimes(t *testing.T) {
	f := func(uptime, first, last uint32, start, end string) {
		t.Helper()
		has(t, one(t, newTestDecoder().lines(v5(sentAt, uptime, first, last, 0, 1, 0))), "event.start", start, "event.end", end)
	}
	f(1000, math.MaxUint32-999, 500, "2026-11-22T08:59:58Z", "2026-11-22T08:59:59.5Z")
	f(1000, 900, 1250, "2026-11-22T08:59:59.9Z", "2026-11-22T09:00:00.25Z")
	f(0, math.MaxUint32, 0, "2026-11-22T08:59:59.999Z", "2026-11-22T09:00:00Z")

	g := func(start, end string, fs ...field) {
		t.Helper()
		fs = append(fs, ip(nf.IPFIX_FIELD_sourceIPv4Address, "10.1.0.5"))
		r := one(t, newTestDecoder().lines(v10(sentAt, 0, 1, templateSet(ipfix, 256, 0, fs...), dataSet(256, fs))))
		has(t, r, "event.start", start, "@timestamp", end)
	}
	ms := uint64(sentAt.UnixMilli()) //nolint:gosec // after 1970
	ntpOf := func(at time.Time) uint64 {
		return uint64(at.Unix()+2_208_988_800)<<32 | uint64(at.Nanosecond())<<32/1e9 //nolint:gosec // after 1970
	}
	g("2026-11-22T08:59:58.5Z", "2026-11-22T08:59:59Z", u(nf.IPFIX_FIELD_flowStartMilliseconds, 8, ms-1500), u(nf.IPFIX_FIELD_flowEndMilliseconds, 8, ms-1000))
	g("2026-11-22T08:59:50Z", "2026-11-22T08:59:55Z", u(nf.IPFIX_FIELD_flowStartSeconds, 4, ms/1000-10), u(nf.IPFIX_FIELD_flowEndSeconds, 4, ms/1000-5))
	g("2026-11-22T08:59:59.999Z", "2026-11-22T08:59:59.9995Z", u(nf.IPFIX_FIELD_flowStartDeltaMicroseconds, 4, 1000), u(nf.IPFIX_FIELD_flowEndDeltaMicroseconds, 4, 500))
	g("2026-11-22T08:59:59.25Z", "2026-11-22T09:00:00Z", u(nf.IPFIX_FIELD_flowStartNanoseconds, 8, ntpOf(sentAt.Add(-750*time.Millisecond))), u(nf.IPFIX_FIELD_flowEndNanoseconds, 8, ntpOf(sentAt)))
	g("2026-11-22T08:59:59.000001Z", "2026-11-22T09:00:00Z", u(nf.IPFIX_FIELD_flowStartMicroseconds, 8, ntpOf(sentAt.Add(-999_999*time.Microsecond))), u(nf.IPFIX_FIELD_flowEndMicroseconds, 8, ntpOf(sentAt)))
	g("2026-11-22T08:59:58Z", "2026-11-22T08:59:59Z", u(nf.IPFIX_FIELD_systemInitTimeMilliseconds, 8, ms-60_000), u(nf.IPFIX_FIELD_flowStartSysUpTime, 4, 58_000), u(nf.IPFIX_FIELD_flowEndSysUpTime, 4, 59_000))
	g("2026-11-22T08:59:59Z", "2026-11-22T09:00:00Z", u(nf.IPFIX_FIELD_flowStartSysUpTime, 4, 58_000), u(nf.IPFIX_FIELD_flowEndSysUpTime, 4, 59_000)) // no beginning known
	g("2026-11-22T08:59:58Z", "2026-11-22T08:59:59Z", u(nf.IPFIX_FIELD_flowEndMilliseconds, 8, ms-1000), u(nf.IPFIX_FIELD_flowDurationMilliseconds, 4, 1000))
	g("", "2026-11-22T08:59:59Z", u(nf.IPFIX_FIELD_observationTimeMilliseconds, 8, ms-1000))
	g("", "2026-11-22T09:00:00Z")
	// NTP's second era.
	if got := time.Unix(0, ntp(1<<32)).UTC(); got != time.Date(2036, 2, 7, 6, 28, 17, 0, time.UTC) {
		t.Errorf("the first second of NTP's second era is %v", got)
	}
}

func TestV9AndIPFIX(t *testing.T) {
	want := []string{
		"source.ip", "10.1.0.5", "source.port", "40000", "source.bytes", "4321", "source.packets", "7", "destination.ip", "203.0.113.9",
		"destination.port", "443", "network.vlan.id", "42", "source.as.number", "64500", "destination.as.number", "15169",
		"network.community_id", "1:weQIFH83RCgZUCjVQRKpfgnrRUw=", "labels.observation_domain", "7",
	}
	fs := plainFlow()
	r := one(t, newTestDecoder().lines(v9(sentAt, 4000, 0, 7, templateSet(netflow9, 256, 0, fs...), append(dataSet(256, fs), 0, 0))))
	has(t, r, append(want, "event.provider", "netflow9", "event.start", "2026-11-22T08:59:57Z", "event.end", "2026-11-22T08:59:59.5Z")...)
	r = one(t, newTestDecoder().lines(v10(sentAt, 0, 7, templateSet(ipfix, 256, 0, fs...), dataSet(256, fs))))
	has(t, r, append(want, "event.provider", "ipfix")...)
}

// TestNAT: what address translators log.
func TestNAT(t *testing.T) {
	fs := []field{
		u(nf.IPFIX_FIELD_observationTimeMilliseconds, 8, uint64(sentAt.UnixMilli())), //nolint:gosec // after 1970
		ip(nf.IPFIX_FIELD_sourceIPv4Address, "100.64.3.9"), ip(nf.IPFIX_FIELD_postNATSourceIPv4Address, "198.51.100.7"),
		u(nf.IPFIX_FIELD_sourceTransportPort, 2, 50000), u(nf.IPFIX_FIELD_postNAPTSourceTransportPort, 2, 21001),
		ip(nf.IPFIX_FIELD_destinationIPv4Address, "203.0.113.9"), u(nf.IPFIX_FIELD_destinationTransportPort, 2, 443),
		u(nf.IPFIX_FIELD_protocolIdentifier, 1, 17), u(nf.IPFIX_FIELD_natEvent, 1, 4), txt(nf.IPFIX_FIELD_natPoolName, "dorm \"7\""),
		txt(nf.IPFIX_FIELD_userName, "张三"), u(nf.IPFIX_FIELD_portRangeStart, 2, 0), u(nf.IPFIX_FIELD_portRangeEnd, 2, 511),
	}
	has(t, one(t, newTestDecoder().lines(v10(sentAt, 0, 0, templateSet(ipfix, 300, 0, fs...), dataSet(300, fs)))),
		"@timestamp", "2026-11-22T09:00:00Z", "source.ip", "100.64.3.9", "source.nat.ip", "198.51.100.7", "source.nat.port", "21001",
		"labels.nat_event", "4", "labels.nat_pool", "dorm \"7\"", "source.user.name", "张三", "labels.port_range_start", "0", "labels.port_range_end", "511", "source.bytes", "")
	asa := []field{
		ip(nf.IPFIX_FIELD_sourceIPv4Address, "10.1.0.5"), ip(40001, "198.51.100.7"), u(40003, 2, 1024), u(40005, 1, 2),
		{id: 40000, length: 20, value: append([]byte("zhang"), make([]byte, 15)...)},
		u(nf.IPFIX_FIELD_initiatorOctets, 4, 10), u(nf.IPFIX_FIELD_responderOctets, 4, 20),
		u(nf.IPFIX_FIELD_icmpTypeCodeIPv4, 2, 0x0301), u(nf.IPFIX_FIELD_protocolIdentifier, 1, 1),
	}
	has(t, one(t, newTestDecoder().lines(v9(sentAt, 0, 0, 0, templateSet(netflow9, 260, 0, asa...), dataSet(260, asa)))),
		"source.nat.ip", "198.51.100.7", "source.nat.port", "1024", "labels.firewall_event", "2", "source.user.name", "zhang", "source.bytes", "10",
		"destination.bytes", "20", "labels.icmp_type", "3", "labels.icmp_code", "1")
}

// TestBiflow is RFC 5103's way of telling both directions in one record.
func TestBiflow(t *testing.T) {
	reverse := func(f field) field { f.pen = reversePEN; return f }
	fs := append(plainFlow(), reverse(u(nf.IPFIX_FIELD_octetDeltaCount, 8, 99)), reverse(u(nf.IPFIX_FIELD_packetDeltaCount, 8, 2)),
		reverse(u(nf.IPFIX_FIELD_tcpControlBits, 2, 0x12)), field{id: 5, length: 3, pen: 2011, value: []byte{1, 2, 3}})
	has(t, one(t, newTestDecoder().lines(v10(sentAt, 0, 0, templateSet(ipfix, 256, 0, fs...), dataSet(256, fs)))),
		"source.bytes", "4321", "destination.bytes", "99", "destination.packets", "2", "labels.tcp_flags", "FSPA", "labels.tcp_flags_reverse", "SA")
}

// TestOptions: samplers and the names of interfaces and applications are told by
// options, and explain the flows after them.
func TestOptions(t *testing.T) {
	scope := u(2, 4, 3) // v9's scope: interface 3
	sampler := []field{scope, u(nf.IPFIX_FIELD_samplerId, 1, 5), u(nf.IPFIX_FIELD_samplerRandomInterval, 4, 50)}
	name := []field{scope, {id: nf.IPFIX_FIELD_interfaceName, length: 8, value: []byte("Gi0/3\x00\x00\x00")}}
	fs := append(plainFlow(), u(nf.IPFIX_FIELD_samplerId, 1, 5))
	has(t, one(t, newTestDecoder().lines(v9(sentAt, 0, 0, 0,
		templateSet(netflow9, 256, 1, sampler...), templateSet(netflow9, 257, 1, name...), templateSet(netflow9, 258, 0, fs...),
		dataSet(256, sampler), dataSet(257, name), dataSet(258, fs)))),
		"source.bytes", "216050", "source.packets", "350", "labels.sampling_rate", "50", "observer.ingress.interface.name", "Gi0/3", "observer.egress.interface.name", "")

	selector := []field{u(nf.IPFIX_FIELD_selectorId, 8, 9), u(nf.IPFIX_FIELD_samplingPacketInterval, 4, 1), u(nf.IPFIX_FIELD_samplingPacketSpace, 4, 9)}
	app := []field{u(nf.IPFIX_FIELD_applicationId, 4, 0x03000050), txt(nf.IPFIX_FIELD_applicationName, "http")}
	fs = append(plainFlow(), u(nf.IPFIX_FIELD_applicationId, 4, 0x03000050))
	has(t, one(t, newTestDecoder().lines(v10(sentAt, 0, 0,
		templateSet(ipfix, 256, 1, selector...), templateSet(ipfix, 257, 1, app...), templateSet(ipfix, 258, 0, fs...),
		dataSet(256, selector), dataSet(257, app), dataSet(258, fs)))),
		"source.bytes", "43210", "labels.sampling_rate", "10", "network.application", "http")
}

// TestSFlow: the short and the expanded form say the same.
func TestSFlow(t *testing.T) {
	for _, expanded := range []bool{false, true} {
		has(t, one(t, newTestDecoder().lines(sflowDatagram(1, expanded))),
			"@timestamp", "2026-11-22T09:00:02Z", "event.provider", "sflow", "source.ip", "10.1.0.5", "source.port", "40000", "source.bytes", "1500000",
			"source.packets", "1000", "source.mac", "02:00:00:00:00:01", "source.nat.ip", "198.51.100.7", "destination.ip", "203.0.113.9",
			"destination.port", "443", "destination.mac", "02:00:00:00:00:02", "network.vlan.id", "42", "labels.post_vlan", "43", "labels.ttl", "63",
			"labels.tos", "16", "labels.tcp_flags", "PA", "labels.next_hop", "10.0.0.254", "labels.ingress_interface", "3", "labels.egress_interface", "4",
			"labels.sampling_rate", "1000", "observer.ip", "192.0.2.9", "labels.observation_domain", "2", "network.community_id", "1:weQIFH83RCgZUCjVQRKpfgnrRUw=")
	}
}

// TestTsharkReadsOurSFlow: the datagrams that we test with are what Wireshark
// takes for sFlow, with the same values.
func TestTsharkReadsOurSFlow(t *testing.T) {
	for _, expanded := range []bool{false, true} {
		flows := tshark(t, "sflow", func(key string) bool { return strings.Contains(key, "low sample") }, sflowDatagram(1, expanded))
		if len(flows) != 1 {
			t.Fatalf("tshark reads %d samples: %v", len(flows), flows)
		}
		for key, want := range map[string]string{"ip.src": "10.1.0.5", "ip.dst": "203.0.113.9", "tcp.srcport": "40000", "tcp.dstport": "443", "vlan.id": "42", "ip.ttl": "63", "ip.len": "1500"} {
			if got := flows[0][key]; len(got) == 0 || got[0] != want {
				t.Errorf("expanded %v: tshark has %s %v, want %s", expanded, key, got, want)
			}
		}
	}
}

// TestTemplatesComeLate: data waits for its template, within bounds.
func TestTemplatesComeLate(t *testing.T) {
	fs := plainFlow()
	template, data := templateSet(netflow9, 256, 0, fs...), dataSet(256, fs)
	d := newTestDecoder()
	if lines := d.lines(v9(sentAt, 4000, 0, 0, data, data), v9(sentAt.Add(-time.Hour), 4000, 1, 0, data)); len(lines) != 0 || d.pending.Load() != int64(3*(len(data)-4)) {
		t.Fatalf("%d lines, %d bytes wait", len(lines), d.pending.Load())
	}
	rs := decodeLines(t, d.lines(v9(sentAt, 4000, 2, 0, template)))
	if len(rs) != 3 || d.pending.Load() != 0 {
		t.Fatalf("%d lines, %d bytes wait", len(rs), d.pending.Load())
	}
	has(t, rs[0], "event.end", "2026-11-22T08:59:59.5Z")
	has(t, rs[2], "event.end", "2026-11-22T07:59:59.5Z") // each by its own header

	expired := func(d *decoder) float64 { return valueOf(t, d.metrics.expired) }
	// A template is of one domain and one version.
	if lines := d.lines(v9(sentAt, 4000, 0, 1, data), v10(sentAt, 0, 0, data)); len(lines) != 0 {
		t.Errorf("%d lines by another's template", len(lines))
	}
	// Too old, too many.
	d.sweep(cameAt.Add(d.cfg.PendingTime + time.Second))
	if got := expired(d); got != 2 || d.pending.Load() != 0 {
		t.Errorf("%v sets given up, %d bytes wait", got, d.pending.Load())
	}
	d = newTestDecoder()
	for i := range uint32(maxPendingSets + 10) {
		d.lines(v9(sentAt, 0, i, 0, data))
	}
	if got := expired(d); got != 10 {
		t.Errorf("%v sets given up for want of room", got)
	}
	d.forgetPending()
	if got := expired(d); got != maxPendingSets+10 {
		t.Errorf("%v sets given up in all", got)
	}
	// An old template, and a silent exporter, are forgotten.
	d = newTestDecoder()
	d.lines(v9(sentAt, 4000, 0, 0, template))
	d.sweep(cameAt.Add(d.cfg.TemplateLife + time.Second))
	if d.count() != 0 || len(d.lines(v9(sentAt, 4000, 1, 0, data))) != 0 {
		t.Error("the exporter was not forgotten")
	}
	// IPFIX withdraws templates.
	d = newTestDecoder()
	d.lines(v10(sentAt, 0, 0, templateSet(ipfix, 256, 0, fs...)), v10(sentAt, 0, 0, templateSet(ipfix, 256, 0)))
	if lines := d.lines(v10(sentAt, 0, 0, data)); len(lines) != 0 {
		t.Error("a template that was withdrawn is used")
	}
}

// TestGaps: what the exporters' numbers miss.
func TestGaps(t *testing.T) {
	f := func(what string, want float64, datagrams ...[]byte) {
		t.Helper()
		d := newTestDecoder()
		d.lines(datagrams...)
		name := exporter1.String()
		if what == "sflow" {
			name, what = "192.0.2.9", "datagrams"
		}
		if got := valueOf(t, d.metrics.lost.WithLabelValues(name, what)); got != want {
			t.Errorf("%v %s lost, want %v", got, what, want)
		}
	}
	five := func(number, uptime uint32) []byte { return v5(sentAt, uptime, 0, 0, number, 2, 0) }
	f("flows", 0, five(10, 100), five(12, 200), five(14, 300))
	f("flows", 6, five(10, 100), five(18, 200))
	f("flows", 2, five(math.MaxUint32-1, 100), five(2, 200))                  // over the end of 32 bits
	f("flows", 2, five(10, 100), five(14, 200), five(12, 150), five(16, 300)) // one came late
	f("flows", 0, five(1_000_000, 90_000_000), five(0, 100), five(2, 200))    // began anew
	f("datagrams", 3, v9(sentAt, 0, 5, 0), v9(sentAt, 0, 9, 0))
	f("datagrams", 0, v9(sentAt, 0, 5, 0), v9(sentAt, 0, 77, 1)) // another domain
	f("sflow", 1, sflowDatagram(1, false), sflowDatagram(3, true))
	fs := plainFlow()
	template, data := templateSet(ipfix, 256, 0, fs...), dataSet(256, fs, fs)
	f("flows", 0, v10(sentAt, 0, 0, template, data), v10(sentAt, 2, 0, data), v10(sentAt, 4, 0, data))
	f("flows", 4, v10(sentAt, 0, 0, template, data), v10(sentAt, 6, 0, data))
	f("flows", 0, v10(sentAt, 2, 0, template, data), v10(sentAt, 3, 0, dataSet(256, fs)), v10(sentAt, 5, 0, data)) // counts its own too
}

// TestHostile: what cannot be decoded is a dead letter, whole, and costs its
// sender more than us.
func TestHostile(t *testing.T) {
	fs := plainFlow()
	f := func(name string, b []byte, reason string) {
		t.Helper()
		d := newTestDecoder()
		began := time.Now()
		lines := d.lines(b)
		if took := time.Since(began); took > time.Second {
			t.Errorf("%s: took %v", name, took)
		}
		if len(lines) == 0 {
			t.Errorf("%s: no dead letter", name)
			return
		}
		last := lines[len(lines)-1]
		if !strings.Contains(last.Reject, reason) || !bytes.Equal(last.Value, b) {
			t.Errorf("%s: a dead letter of %d bytes: %q", name, len(last.Value), last.Reject)
		}
		if got := valueOf(t, d.metrics.undecoded); got != 1 {
			t.Errorf("%s: %v counted", name, got)
		}
	}
	f("short", []byte{0, 5}, "no flow datagram")
	f("NetFlow 7", []byte{0, 7, 0, 1}, "version 7")
	f("text", []byte("GET / HTTP/1.1\r\n"), "version 18245")
	f("v5 without its records", v5(sentAt, 0, 0, 0, 0, 2, 0)[:24+48+47], "fewer than 2 records")
	f("v9 header", []byte{0, 9, 0, 0}, "cut off")
	f("set longer than its datagram", v9(sentAt, 0, 0, 0, []byte{0, 0, 0, 99, 1, 2}), "99 bytes long")
	f("set of no length", v9(sentAt, 0, 0, 0, []byte{1, 0, 0, 0}), "0 bytes long")
	f("template of no bytes", v9(sentAt, 0, 0, 0, templateSet(netflow9, 256, 0, field{id: 1}), dataSet(256, fs)), "no bytes")
	f("template of no fields", v9(sentAt, 0, 0, 0, set(0, 1, 0, 0, 0), dataSet(256, fs)), "no bytes")
	f("template of 65535 fields", v10(sentAt, 0, 0, set(2, 1, 0, 0xff, 0xff)), "65535 fields")
	f("template of more than is there", v10(sentAt, 0, 0, set(2, 1, 0, 1, 0, 0, 8, 0, 4)), "cut off")
	f("reserved number", v10(sentAt, 0, 0, set(2, 0, 9, 0, 1, 0, 8, 0, 4)), "less than 256")
	f("more scopes than fields", v10(sentAt, 0, 0, set(3, 1, 0, 0, 1, 0, 9, 0, 8, 0, 4)), "scopes")
	f("string longer than the set", v10(sentAt, 0, 0, templateSet(ipfix, 256, 0, txt(371, "")), set(256, 200, 'x')), "cut off")
	f("IPFIX longer than its datagram", append([]byte{0, 10, 1, 0}, make([]byte, 12)...), "a message of 256 bytes")
	f("sFlow of 4 billion samples", words(5, 1, []byte{1, 2, 3, 4}, 0, 0, 0, -1), "samples are more")
	f("sFlow sample of 4 billion records", words(5, 1, []byte{1, 2, 3, 4}, 0, 0, 0, 1, 3, 44, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, -1), "4294967295 records")
	f("sFlow agent", words(5, 3, 0, 0, 0, 0), "no known kind")
	// What was whole is kept.
	d := newTestDecoder()
	lines := d.lines(append(v9(sentAt, 0, 0, 0, templateSet(netflow9, 256, 0, fs...), dataSet(256, fs)), 1, 0, 0, 1))
	if len(lines) != 2 || lines[0].Reject != "" || lines[1].Reject == "" {
		t.Errorf("%d lines", len(lines))
	}
	// One exporter too many, and one from where none is allowed.
	d = newTestDecoder(func(c *Config) { c.MaxExporters = 1 })
	lines = d.lines(v9(sentAt, 0, 0, 0), v9(sentAt, 0, 0, 1))
	if len(lines) != 1 || !strings.Contains(lines[0].Reject, "no room") {
		t.Errorf("%d lines", len(lines))
	}
	// Templates without end.
	d = newTestDecoder()
	for id := range uint16(maxTemplates + 5) {
		lines = append(lines, d.lines(v9(sentAt, 0, 0, 0, templateSet(netflow9, 256+id, 0, u(1, 4, 0))))...)
	}
	if got := valueOf(t, d.metrics.undecoded); got != 5 {
		t.Errorf("%v templates refused", got)
	}
}

func TestAllow(t *testing.T) {
	f := func(allow string, want int) {
		t.Helper()
		in := listen(t, Config{Allow: []string{allow}})
		in.send(t, v5(sentAt, 0, 0, 0, 0, 1, 0))
		listentest.Eventually(t, "it is counted", func() bool { return valueOf(t, in.metrics.refused)+float64(len(in.Lines())) == 1 })
		if len(in.Lines()) != want {
			t.Errorf("%s: %d lines, want %d", allow, len(in.Lines()), want)
		}
	}
	f("127.0.0.0/8", 1)
	f("10.0.0.0/8", 0)
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		err := cfg.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	f(Config{UDP: []string{":2055"}}, "")
	f(Config{}, "at least one address")
	f(Config{UDP: []string{"2055"}}, "not host:port")
	f(Config{UDP: []string{":2055"}, Allow: []string{"10.0.0.1"}}, "no network")
	f(Config{UDP: []string{":2055"}, TemplateLife: time.Second}, "template_life")
}
