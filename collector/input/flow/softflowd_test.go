package flow

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"fengsui/collector/input/listen/listentest"
)

// traffic writes a capture of connections that all exporters must tell the same
// of, a minute ago, and returns when it began.
func traffic(t testing.TB, file string) time.Time {
	t.Helper()
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // checked below by who reads it
	w := pcapgo.NewWriter(f)
	if err := w.WriteFileHeader(65535, layers.LinkTypeEthernet); err != nil {
		t.Fatal(err)
	}
	began := time.Now().Add(-time.Minute).Truncate(time.Millisecond)
	at := began
	packet := func(vlan uint16, from, to string, transport gopacket.SerializableLayer, payload int) {
		t.Helper()
		src, dst := netip.MustParseAddrPort(from), netip.MustParseAddrPort(to)
		eth := &layers.Ethernet{
			SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4,
		}
		var ip gopacket.SerializableLayer
		proto := map[string]layers.IPProtocol{"TCP": layers.IPProtocolTCP, "UDP": layers.IPProtocolUDP, "ICMPv4": layers.IPProtocolICMPv4}[transport.LayerType().String()]
		var network gopacket.NetworkLayer
		if src.Addr().Is4() {
			v4 := &layers.IPv4{Version: 4, TTL: 64, TOS: 0x10, Protocol: proto, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
			ip, network = v4, v4
		} else {
			eth.EthernetType = layers.EthernetTypeIPv6
			v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
			ip, network = v6, v6
		}
		switch l := transport.(type) {
		case *layers.TCP:
			l.SrcPort, l.DstPort, l.Window = layers.TCPPort(src.Port()), layers.TCPPort(dst.Port()), 65535
			_ = l.SetNetworkLayerForChecksum(network)
		case *layers.UDP:
			l.SrcPort, l.DstPort = layers.UDPPort(src.Port()), layers.UDPPort(dst.Port())
			_ = l.SetNetworkLayerForChecksum(network)
		}
		all := []gopacket.SerializableLayer{eth, ip, transport, gopacket.Payload(make([]byte, payload))}
		if vlan != 0 {
			tag := &layers.Dot1Q{VLANIdentifier: vlan, Type: eth.EthernetType}
			eth.EthernetType = layers.EthernetTypeDot1Q
			all = slices.Insert(all, 1, gopacket.SerializableLayer(tag))
		}
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, all...); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: at, CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
		at = at.Add(100 * time.Millisecond)
	}
	tcp := func(vlan uint16, client, server string) {
		packet(vlan, client, server, &layers.TCP{SYN: true, Seq: 1}, 0)
		packet(vlan, server, client, &layers.TCP{SYN: true, ACK: true, Seq: 1, Ack: 2}, 0)
		packet(vlan, client, server, &layers.TCP{ACK: true, PSH: true, Seq: 2, Ack: 2}, 300)
		packet(vlan, server, client, &layers.TCP{ACK: true, PSH: true, Seq: 2, Ack: 302}, 1200)
		packet(vlan, client, server, &layers.TCP{ACK: true, FIN: true, Seq: 302, Ack: 1202}, 0)
		packet(vlan, server, client, &layers.TCP{ACK: true, FIN: true, Seq: 1202, Ack: 303}, 0)
	}
	tcp(0, "10.1.0.5:40000", "203.0.113.9:443")
	tcp(42, "10.1.0.6:50123", "10.2.0.1:3306")
	packet(0, "10.1.0.5:53001", "10.1.0.1:53", &layers.UDP{}, 40)
	packet(0, "10.1.0.1:53", "10.1.0.5:53001", &layers.UDP{}, 140)
	packet(0, "10.1.0.7:0", "10.1.0.1:0", &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 7}, 56)
	packet(0, "10.1.0.1:0", "10.1.0.7:0", &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: 7}, 56)
	tcp(0, "[2001:db8::5]:41000", "[2001:db8:1::9]:22")
	return began
}

// softflowd exports a capture, and returns the datagrams that it sent.
func softflowd(t testing.TB, capture string, args ...string) [][]byte {
	t.Helper()
	path := program(t, "softflowd")
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close() //nolint:errcheck // only read from
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dir := t.TempDir()
	// With a control socket it now and then waits for somebody to connect there.
	args = append([]string{"-d", "-r", capture, "-n", pc.LocalAddr().String(), "-p", dir + "/pid", "-c", "none"}, args...)
	if out, err := exec.CommandContext(ctx, path, args...).CombinedOutput(); err != nil {
		t.Fatalf("softflowd %v: %v\n%s", args, err, out)
	}
	// It has ended: all that it sent over loopback is here.
	var datagrams [][]byte
	buf := make([]byte, 65535)
	for {
		_ = pc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		n, _, err := pc.ReadFrom(buf)
		if err != nil {
			return datagrams
		}
		datagrams = append(datagrams, bytes.Clone(buf[:n]))
	}
}

// tshark decodes datagrams as Wireshark does: each flow is the list of the
// values of each of its fields.
func tshark(t testing.TB, protocol string, is func(key string) bool, datagrams ...[]byte) (flows []map[string][]string) {
	t.Helper()
	path := program(t, "tshark")
	file := filepath.Join(t.TempDir(), "datagrams.pcap")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	w := pcapgo.NewWriter(f)
	_ = w.WriteFileHeader(65535, layers.LinkTypeRaw)
	for _, b := range datagrams {
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: net.IP{127, 0, 0, 1}, DstIP: net.IP{127, 0, 0, 1}}
		udp := &layers.UDP{SrcPort: 9999, DstPort: 2055}
		_ = udp.SetNetworkLayerForChecksum(ip)
		buf := gopacket.NewSerializeBuffer()
		if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, udp, gopacket.Payload(b)); err != nil {
			t.Fatal(err)
		}
		if err := w.WritePacket(gopacket.CaptureInfo{Timestamp: time.Now(), CaptureLength: len(buf.Bytes()), Length: len(buf.Bytes())}, buf.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(path, "-r", file, "-n", "-d", "udp.port==2055,"+protocol, "-T", "json").Output() //nolint:gosec // of the test
	if err != nil {
		t.Fatalf("tshark: %v", err)
	}
	// A key may come twice in an object, which maps would lose.
	dec := json.NewDecoder(bytes.NewReader(out))
	var walk func(into map[string][]string)
	walk = func(into map[string][]string) {
		tok, err := dec.Token()
		if err != nil {
			if err != io.EOF {
				t.Fatal(err)
			}
			return
		}
		switch tok {
		case json.Delim('['):
			for dec.More() {
				walk(into)
			}
			_, _ = dec.Token()
		case json.Delim('{'):
			for dec.More() {
				key, _ := dec.Token()
				name := key.(string)
				if is(name) {
					flow := map[string][]string{}
					walk(flow)
					flows = append(flows, flow)
					continue
				}
				inner := into
				if into != nil {
					before := len(into[name])
					walk(inner)
					if v := into[""]; len(v) > 0 && len(into[name]) == before {
						into[name] = append(into[name], v...)
						delete(into, "")
					}
					continue
				}
				walk(inner)
			}
			_, _ = dec.Token()
		default:
			if into != nil {
				into[""] = []string{fmt.Sprint(tok)}
			}
		}
	}
	walk(nil)
	return flows
}

func isFlow(key string) bool {
	return strings.HasPrefix(key, "Flow ") || strings.HasPrefix(key, "pdu ")
}

// told is what both must agree on, of one flow.
func told(v func(key string) string) string {
	return fmt.Sprintf("%s %s:%s > %s:%s bytes %s packets %s flags %s tos %s back %s/%s %s vlan %s mac %s > %s as %s > %s if %s > %s",
		v("proto"), v("src"), v("sport"), v("dst"), v("dport"), v("bytes"), v("packets"), v("flags"), v("tos"),
		v("rbytes"), v("rpackets"), v("rflags"), v("vlan"), v("smac"), v("dmac"), v("sas"), v("das"), v("in"), v("out"))
}

// zero makes what says nothing into "".
func zero(s string) string {
	if s == "0" || s == "00:00:00:00:00:00" || s == "<nil>" {
		return ""
	}
	return s
}

func ours(r fields) string {
	keys := map[string]string{
		"src": "source.ip", "sport": "source.port", "dst": "destination.ip", "dport": "destination.port", "bytes": "source.bytes",
		"packets": "source.packets", "flags": "labels.tcp_flags", "tos": "labels.tos", "rbytes": "destination.bytes", "rpackets": "destination.packets",
		"rflags": "labels.tcp_flags_reverse", "vlan": "network.vlan.id", "smac": "source.mac", "dmac": "destination.mac",
		"sas": "source.as.number", "das": "destination.as.number", "in": "labels.ingress_interface", "out": "labels.egress_interface",
	}
	return told(func(key string) string {
		switch key {
		case "proto":
			return fmt.Sprint(r["network.transport"])
		}
		v := r[keys[key]]
		if f, ok := v.(float64); ok {
			return zero(strconv.FormatFloat(f, 'f', -1, 64))
		}
		return zero(fmt.Sprint(v))
	})
}

func theirs(flow map[string][]string) string {
	at := func(i int, keys ...string) string {
		for _, k := range keys {
			if vs := flow["cflow."+k]; i < len(vs) {
				return zero(vs[i])
			}
		}
		return ""
	}
	decimal := func(s string) string { // as 0x1b
		n, err := strconv.ParseUint(s, 0, 64)
		if err != nil || n == 0 {
			return ""
		}
		return strconv.FormatUint(n, 10)
	}
	flags := func(s string) (letters string) {
		n, _ := strconv.ParseUint(s, 0, 16)
		for i := range 8 {
			if n&(1<<i) != 0 {
				letters += string(flagLetters[i])
			}
		}
		return letters
	}
	proto := at(0, "protocol")
	return told(func(key string) string {
		switch key {
		case "proto":
			return map[string]string{"1": "icmp", "6": "tcp", "17": "udp", "58": "icmp"}[proto]
		case "src":
			return at(0, "srcaddr", "srcaddrv6")
		case "dst":
			return at(0, "dstaddr", "dstaddrv6")
		case "sport", "dport":
			if proto == "1" {
				return ""
			}
			return at(0, map[string]string{"sport": "srcport", "dport": "dstport"}[key])
		case "flags":
			return flags(at(0, "tcpflags"))
		case "rflags":
			return flags(at(1, "tcpflags"))
		case "tos":
			return decimal(at(0, "tos"))
		case "rbytes":
			return at(1, "octets")
		case "rpackets":
			return at(1, "packets")
		case "bytes":
			return at(0, "octets")
		case "packets":
			return at(0, "packets")
		case "vlan":
			return at(0, "vlanid")
		case "smac":
			return at(0, "srcmac")
		case "dmac":
			return at(0, "dstmac", "post_dstmac")
		case "sas":
			return at(0, "srcas")
		case "das":
			return at(0, "dstas")
		case "in":
			return at(0, "inputint")
		case "out":
			return at(0, "outputint")
		}
		return ""
	})
}

// TestSoftflowd has the real softflowd export the same traffic in every version
// that it speaks. What comes out must be what tshark reads from the same
// datagrams, and the times must be the packets'.
func TestSoftflowd(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "traffic.pcap")
	began := traffic(t, capture)
	for _, c := range []struct {
		name string
		args []string
		off  time.Duration // what the version's clock is worth
		min  int
	}{
		{"v5", []string{"-v", "5"}, 2 * time.Millisecond, 8},
		{"v9", []string{"-v", "9", "-T", "ether"}, 1002 * time.Millisecond, 10},
		{"ipfix", []string{"-v", "10"}, 1002 * time.Millisecond, 10},
		{"ipfix-biflow-ms", []string{"-v", "10", "-b", "-A", "milli", "-T", "ether"}, time.Millisecond, 5},
		{"ipfix-us", []string{"-v", "10", "-A", "micro"}, time.Microsecond, 10},
		{"ipfix-ns", []string{"-v", "10", "-A", "nano"}, time.Microsecond, 10},
		{"ipfix-seconds", []string{"-v", "10", "-A", "sec"}, time.Second, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			datagrams := softflowd(t, capture, c.args...)
			if len(datagrams) == 0 {
				t.Fatal("softflowd sent nothing")
			}
			in := listen(t, Config{})
			in.send(t, datagrams...)
			var want, got []string
			for _, f := range tshark(t, "cflow", isFlow, datagrams...) {
				if f["cflow.srcaddr"] != nil || f["cflow.srcaddrv6"] != nil {
					want = append(want, theirs(f))
				}
			}
			if len(want) < c.min {
				t.Fatalf("tshark reads %d flows, fewer than %d", len(want), c.min)
			}
			listentest.Eventually(t, "all flows are there", func() bool { return len(in.Lines()) >= len(want) })
			in.stop()
			for _, r := range decodeLines(t, in.Lines()) {
				got = append(got, ours(r))
				checkTimes(t, r, began, c.off)
			}
			slices.Sort(want)
			slices.Sort(got)
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("tshark (-) and the input (+) differ:\n%s", d)
			}
			t.Logf("%d flows agree, such as\n%s", len(got), in.Lines()[0].Value)
		})
	}
}

// TestExample starts what README.md shows, and has softflowd export to it.
func TestExample(t *testing.T) {
	capture := filepath.Join(t.TempDir(), "traffic.pcap")
	traffic(t, capture)
	datagrams := softflowd(t, capture, "-v", "10")
	in := listen(t, listentest.Example[Config](t, "flow", ":2055", "127.0.0.1:0", ":4739", "127.0.0.1:0", ":6343", "[::1]:0"))
	in.send(t, datagrams...)
	listentest.Eventually(t, "its flows are there", func() bool { return len(in.Lines()) == 10 })
	if n := len(in.Addrs()); n != 3 {
		t.Errorf("%d addresses", n)
	}
}

// lasted is when each connection's first and last packet were, after the
// beginning, as traffic writes them: one each 100 ms.
var lasted = map[string][2]time.Duration{
	"10.1.0.5>203.0.113.9":      {0, 500 * time.Millisecond},
	"10.1.0.6>10.2.0.1":         {600 * time.Millisecond, 1100 * time.Millisecond},
	"10.1.0.5>10.1.0.1":         {1200 * time.Millisecond, 1300 * time.Millisecond},
	"10.1.0.7>10.1.0.1":         {1400 * time.Millisecond, 1500 * time.Millisecond},
	"2001:db8::5>2001:db8:1::9": {1600 * time.Millisecond, 2100 * time.Millisecond},
}

// checkTimes checks that a flow began and ended with a packet of its connection.
// Whether of its own direction differs between the versions of softflowd.
func checkTimes(t *testing.T, r fields, began time.Time, off time.Duration) {
	t.Helper()
	from, to := r["source.ip"].(string), r["destination.ip"].(string)
	span, ok := lasted[from+">"+to]
	if !ok {
		span, ok = lasted[to+">"+from]
	}
	if !ok {
		t.Fatalf("%s > %s is not among the traffic", from, to)
	}
	for _, key := range []string{"event.start", "event.end", "@timestamp"} {
		text, _ := r[key].(string)
		got, err := time.Parse(time.RFC3339Nano, text)
		after := got.Sub(began)
		if err != nil || after < span[0]-off || after > span[1]+off || off < 50*time.Millisecond && (after-after.Round(100*time.Millisecond)).Abs() > off {
			t.Errorf("%s > %s: %s is %q: no packet came then, but from %v to %v within %v", from, to, key, text, began.Add(span[0]).UTC(), began.Add(span[1]).UTC(), off)
		}
	}
}
