package packet

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"pgregory.net/rapid"

	"fengsui/collector/input"
)

// TestConnState plays a conversation per state of Zeek's documentation.
func TestConnState(t *testing.T) {
	// A script's letters are flags as in talk.segment, D data; upper case the
	// caller's, lower case the called side's.
	f := func(name, script, state, history string) {
		t.Helper()
		w := newWire(t)
		k := w.talk("10.0.0.1", "10.0.0.2:80")
		for _, c := range []byte(script) {
			side, letter := 0, c
			if c >= 'a' {
				side, letter = 1, c-'a'+'A'
			}
			if letter == 'D' {
				k.say(side, "\x00data")
			} else {
				k.flag(side, letter)
			}
		}
		conns := of(w.run(), "conn")
		if len(conns) != 1 || conns[0]["conn_state"] != state || conns[0]["history"] != history {
			t.Errorf("%s: %s gives %v", name, script, conns)
		}
	}
	f("attempt without an answer", "S", "S0", "S")
	f("the same, tried again", "SS", "S0", "S")
	f("open to the end of the capture", "ShADad", "S1", "ShADad")
	f("closed by both", "ShADadFfA", "SF", "ShADadFf")
	f("refused", "Sr", "REJ", "Sr")
	f("closed by the caller only", "ShADFa", "S2", "ShADFa")
	f("closed by the called side only", "ShAdfA", "S3", "ShAdf")
	f("reset by the caller", "ShADR", "RSTO", "ShADR")
	f("reset by the called side", "ShADr", "RSTR", "ShADr")
	f("a scanner's half-open probe", "ShR", "RSTO", "ShR")
	f("SYN, then reset by the caller", "SR", "RSTOS0", "SR")
	f("SYN, then FIN, and no answer", "SF", "SH", "SF")
	f("from the middle, then reset by the caller", "DdR", "OTH", "DdR")
	f("answer to an unseen SYN, then reset", "hr", "RSTRH", "^hr")
	f("answer to an unseen SYN, then FIN", "hf", "SHR", "^hf")
	f("from the middle", "DaAd", "OTH", "DaAd")
	f("from the middle, the server first", "dAaD", "OTH", "^dAaD")
}

// TestPing: request and reply are one conn, which begins with the request.
func TestPing(t *testing.T) {
	w := newWire(t)
	a, b := netip.MustParseAddr("10.0.0.9"), netip.MustParseAddr("10.0.0.2")
	for range 2 {
		eth, _, l3 := ip(a, b, layers.IPProtocolICMPv4)
		w.send(eth, l3, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 1}, gopacket.Payload("ping"))
		eth, _, l3 = ip(b, a, layers.IPProtocolICMPv4)
		w.send(eth, l3, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(0, 0), Id: 1}, gopacket.Payload("ping"))
	}
	conns := of(w.run(), "conn")
	want := fields{"id.orig_h": "10.0.0.9", "id.orig_p": 8.0, "id.resp_p": 0.0, "orig_pkts": 2.0, "resp_pkts": 2.0, "orig_bytes": 8.0, "conn_state": "OTH"}
	only := cmpopts.IgnoreMapEntries(func(k string, _ any) bool { _, ok := want[k]; return !ok })
	if d := cmp.Diff([]fields{want}, conns, only); d != "" {
		t.Error(d)
	}
}

func TestPortsUsedAgain(t *testing.T) {
	w := newWire(t)
	k := w.talk("10.0.0.1", "10.0.0.2:80").open().say(0, "GET /one HTTP/1.1\r\nHost: a\r\n\r\n").close()
	w.after(100 * time.Millisecond)
	k.seq = [2]uint32{77_000_000, 99_000_000}
	k.open().say(0, "GET /two HTTP/1.1\r\nHost: a\r\n\r\n").close()
	records := w.run()
	if n := len(of(records, "conn")); n != 2 {
		t.Errorf("%d conn records, want 2", n)
	}
	if d := cmp.Diff([]string{"/one", "/two"}, texts(of(records, "http"), "uri")); d != "" {
		t.Error(d)
	}
	if ids := unique(texts(records, "uid")); len(ids) != 2 {
		t.Errorf("uids %v, want two", ids)
	}
}

func query(t testing.TB, id uint16, name string, typ uint16) []byte {
	m := new(dns.Msg).SetQuestion(name, typ)
	m.Id = id
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestDNS(t *testing.T) {
	w := newWire(t)
	client, server := netip.MustParseAddrPort("[2001:db8::1]:5300"), netip.MustParseAddrPort("[2001:db8::53]:53")
	w.udp(client, server, query(t, 1, "Pool.Example.", dns.TypeA))
	w.udp(client, server, query(t, 2, "lost.example.", dns.TypeMX))
	answer := new(dns.Msg)
	answer.SetQuestion("pool.example.", dns.TypeA)
	answer.Id, answer.Response, answer.RecursionAvailable = 1, true, true
	for _, text := range []string{"pool.example. 60 IN CNAME eu.pool.example.", "eu.pool.example. 30 IN A 192.0.2.7", `eu.pool.example. 30 IN TXT "a b"`} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		answer.Answer = append(answer.Answer, rr)
	}
	b, err := answer.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w.udp(server, client, b)
	w.after(11*time.Second).udp(client, server, []byte("no DNS at all"))
	overTCP := w.talk("10.0.0.1", "10.0.0.53:53").open()
	q := query(t, 3, "big.example.", dns.TypeTXT)
	overTCP.say(0, string(binary.BigEndian.AppendUint16(nil, uint16(len(q))))+string(q)).close()

	records := w.run()
	got := of(records, "dns")
	want := []fields{
		{
			"query": "pool.example", "qtype_name": "A", "rcode_name": "NOERROR", "proto": "udp", "RA": true, "rtt": 0.002,
			"answers": []any{"eu.pool.example", "192.0.2.7", "TXT 3 a b"}, "TTLs": []any{60.0, 30.0, 30.0},
		},
		{"query": "lost.example", "qtype_name": "MX", "proto": "udp", "RA": false},
		{"query": "big.example", "qtype_name": "TXT", "proto": "tcp", "RA": false},
	}
	only := cmpopts.IgnoreMapEntries(func(k string, _ any) bool { _, ok := want[0][k]; return !ok })
	if d := cmp.Diff(want, got, only); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]any{"dns", "dns"}, []any{of(records, "conn")[0]["service"], of(records, "conn")[1]["service"]}); d != "" {
		t.Error(d)
	}
}

// TestLinkTypes wraps one packet in everything that a capture may begin with.
func TestLinkTypes(t *testing.T) {
	w := newWire(t)
	w.udp(netip.MustParseAddrPort("10.0.0.1:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, "name.example.", dns.TypeA))
	bare := w.frames[0].data[14:]
	f := func(name string, link layers.LinkType, head string, vlan ...float64) {
		t.Helper()
		var got []fields
		e := newEngine("test", DefaultConfig().limits(), paths, mustMetrics(t), func(b []byte) {
			got = append(got, decodeAll(t, []input.Line{{Value: b}})...)
		})
		e.packet(start.UnixNano(), link, append([]byte(head), bare...), 0)
		for e.end(10) {
		}
		if len(of(got, "dns")) != 1 || of(got, "dns")[0]["query"] != "name.example" {
			t.Fatalf("%s gives %v", name, got)
		}
		conn := of(got, "conn")[0]
		for i, key := range []string{"vlan", "inner_vlan"} {
			if i < len(vlan) && conn[key] != vlan[i] {
				t.Errorf("%s: %s is %v, want %v", name, key, conn[key], vlan[i])
			}
		}
	}
	mac := "\x02\x00\x00\x00\x00\x01\x02\x00\x00\x00\x00\x02"
	f("Ethernet", layers.LinkTypeEthernet, mac+"\x08\x00")
	f("VLAN", layers.LinkTypeEthernet, mac+"\x81\x00\x20\x2a\x08\x00", 42)
	f("QinQ", layers.LinkTypeEthernet, mac+"\x88\xa8\x00\x07\x81\x00\x00\x2a\x08\x00", 7, 42)
	f("MPLS", layers.LinkTypeEthernet, mac+"\x88\x47\x00\x01\x00\x40\x00\x02\x01\x40")
	f("PPPoE", layers.LinkTypeEthernet, mac+"\x88\x64\x11\x00\x00\x01\x00\x3c\x00\x21")
	f("Linux cooked", layers.LinkTypeLinuxSLL, "\x00\x00\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00\x08\x00")
	f("Linux cooked 2", layers.LinkTypeLinuxSLL2, "\x08\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x06\x02\x00\x00\x00\x00\x01\x00\x00")
	f("raw", layers.LinkTypeRaw, "")
	f("IPv4", layers.LinkTypeIPv4, "")
	f("BSD loopback", layers.LinkTypeNull, "\x02\x00\x00\x00")
	f("OpenBSD loopback", layers.LinkTypeLoop, "\x00\x00\x00\x02")
}

func mustMetrics(t testing.TB) *metrics {
	t.Helper()
	m, err := newMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue()
}

// TestFragments cuts a DNS query into pieces, in order and not.
func TestFragments(t *testing.T) {
	w := newWire(t)
	name := strings.Repeat("long-label.", 18) + "example."
	w.udp(netip.MustParseAddrPort("10.0.0.1:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, name, dns.TypeA))
	w.udp(netip.MustParseAddrPort("[2001:db8::1]:5300"), netip.MustParseAddrPort("[2001:db8::53]:53"), query(t, 9, name, dns.TypeA))
	v4, v6 := w.frames[0].data, w.frames[1].data
	piece := func(b []byte, at, n int) []byte {
		if b[12] == 0x08 {
			body := b[34:]
			more := uint16(0x2000)
			if at+n >= len(body) {
				n, more = len(body)-at, 0
			}
			head := bytes.Clone(b[:34])
			binary.BigEndian.PutUint16(head[16:], uint16(20+n))
			binary.BigEndian.PutUint16(head[20:], more|uint16(at/8))
			return append(head, body[at:at+n]...)
		}
		body := b[54:]
		more := byte(1)
		if at+n >= len(body) {
			n, more = len(body)-at, 0
		}
		head := bytes.Clone(b[:54])
		binary.BigEndian.PutUint16(head[18:], uint16(8+n))
		head[20] = 44
		extension := []byte{17, 0, byte(at >> 8), byte(at) | more, 0, 0, 0, 5}
		return append(append(head, extension...), body[at:at+n]...)
	}
	f := func(what string, want int, frames ...[]byte) {
		t.Helper()
		found := 0
		e := newEngine("test", DefaultConfig().limits(), []string{"dns"}, mustMetrics(t), func([]byte) { found++ })
		for _, b := range frames {
			e.packet(start.UnixNano(), layers.LinkTypeEthernet, b, 0)
		}
		for e.end(10) {
		}
		if found != want {
			t.Errorf("%s: %d queries, want %d", what, found, want)
		}
		if e.frags.bytes != 0 && want == 1 {
			t.Errorf("%s: %d bytes are still held", what, e.frags.bytes)
		}
	}
	for _, b := range [][]byte{v4, v6} {
		f("in order", 1, piece(b, 0, 64), piece(b, 64, 64), piece(b, 128, 512))
		f("backwards", 1, piece(b, 128, 512), piece(b, 64, 64), piece(b, 0, 64))
		f("one of them twice", 1, piece(b, 0, 64), piece(b, 0, 64), piece(b, 64, 512))
		f("incomplete", 0, piece(b, 0, 64), piece(b, 128, 512))
		f("overlapping", 0, piece(b, 0, 64), piece(b, 56, 64), piece(b, 120, 512))
	}
}

// TestAnyOrderOfSegments cuts two streams up, repeats and disorders them, and
// holds the records against those of the tidy capture.
func TestAnyOrderOfSegments(t *testing.T) {
	body := strings.Repeat("0123456789", 700)
	forth := "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 39\r\n\r\n{\"method\":\"getwork\",\"params\":[],\"id\":0}GET /b HTTP/1.1\r\nHost: h\r\n\r\n"
	back := fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%sHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", len(body), body)
	ignore := cmpopts.IgnoreMapEntries(func(k string, _ any) bool { return k == "ts" || k == "uid" })
	pick := func(records []fields) []fields { return append(of(records, "http"), of(records, "stratum")...) }

	tidy := newWire(t)
	tidy.talk("10.0.0.1", "10.0.0.2:8080").open().say(0, forth).say(1, back).close()
	want := pick(tidy.run())
	if len(want) != 3 {
		t.Fatalf("tidy capture gives %v", want)
	}
	rapid.Check(t, func(r *rapid.T) {
		w := newWire(t)
		k := w.talk("10.0.0.1", "10.0.0.2:8080").open()
		type cut struct{ from, to int }
		for side, text := range []string{forth, back} {
			var cuts []cut
			for at := 0; at < len(text); {
				n := rapid.IntRange(1, 1400).Draw(r, "length")
				overlap := min(at, rapid.IntRange(0, 20).Draw(r, "overlap"))
				cuts = append(cuts, cut{at - overlap, min(len(text), at+n)})
				at += n
			}
			for i := range cuts { // disorder within a window, some twice
				j := min(len(cuts)-1, i+rapid.IntRange(0, 3).Draw(r, "swap"))
				cuts[i], cuts[j] = cuts[j], cuts[i]
			}
			for _, c := range cuts {
				for range rapid.IntRange(1, 2).Draw(r, "copies") {
					k.segment(side, 'A', c.from, []byte(text[c.from:c.to]))
				}
			}
			k.seq[side] += uint32(len(text))
		}
		k.close()
		if d := cmp.Diff(want, pick(w.run()), ignore); d != "" {
			r.Fatalf("records differ:\n%s", d)
		}
	})
}

// TestLostSegment: what follows a hole is read on, and the hole is counted.
func TestLostSegment(t *testing.T) {
	w := newWire(t)
	k := w.talk("10.0.0.1", "10.0.0.2:3333").open()
	k.say(0, `{"id":1,"method":"mining.subscribe","params":["a"]}`+"\n")
	k.seq[0] += 1000 // never captured
	k.say(0, `{"id":9,"method":"mining.authorize","params":["u","p"]}`+"\n").close()
	records := w.run()
	if d := cmp.Diff([]string{"mining.subscribe", "mining.authorize"}, texts(of(records, "stratum"), "method")); d != "" {
		t.Error(d)
	}
	conn := of(records, "conn")[0]
	if conn["missed_bytes"] != 1000.0 || !strings.Contains(conn["history"].(string), "G") {
		t.Errorf("conn is %v", conn)
	}
}

// TestHoleBesideTheEnd: one direction is given up while a piece of it waits.
func TestHoleBesideTheEnd(t *testing.T) {
	w := newWire(t)
	k := w.talk("10.0.0.1", "10.0.0.2:8080").open().say(0, "GET / HTTP/1.1\r\n")
	k.segment(0, 'A', 100, []byte("waits"))
	k.segment(0, 'A', 0, []byte("X: y\r\n\r\nno request line\r\n"))
	k.segment(0, 'A', 300, []byte("later"))
	k.seq[0] += 305
	k.close()
	if got := of(w.run(), "http"); len(got) != 1 || got[0]["uri"] != "/" {
		t.Errorf("got %v", got)
	}
}

func TestHTTP(t *testing.T) {
	w := newWire(t)
	k := w.talk("10.0.0.1", "10.0.0.2:8080").open()
	k.say(0, "HEAD /h HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\nPUT /p HTTP/1.1\r\nhost: b.example:8080\r\nexpect: 100-continue\r\ncontent-length: 5\r\nauthorization: Basic dXNlcjpzZWNyZXQ=\r\n\r\nhello")
	k.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nContent-Type: text/html; charset=utf-8\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n")
	k.say(0, "GET /last?q=1 HTTP/1.0\r\n\r\n")
	k.say(1, "HTTP/1.0 200 OK\r\n\r\nuntil the end").close()
	got := of(w.run(), "http")
	want := []fields{
		{"method": "HEAD", "host": "2001:db8::1", "uri": "/h", "status_code": 200.0, "response_body_len": 0.0, "request_body_len": 0.0, "version": "1.1"},
		{
			"method": "PUT", "host": "b.example", "uri": "/p", "status_code": 201.0, "response_body_len": 5.0, "request_body_len": 5.0, "version": "1.1",
			"info_code": 100.0, "username": "user", "resp_mime_types": []any{"text/html"},
		},
		{"method": "GET", "uri": "/last?q=1", "status_code": 200.0, "response_body_len": 13.0, "request_body_len": 0.0, "version": "1.0"},
	}
	only := cmpopts.IgnoreMapEntries(func(k string, _ any) bool { _, a := want[0][k]; _, b := want[1][k]; return !a && !b })
	if d := cmp.Diff(want, got, only); d != "" {
		t.Error(d)
	}
	for _, r := range got {
		if b, _ := json.Marshal(r); bytes.Contains(b, []byte("secret")) {
			t.Errorf("a password is in %s", b)
		}
	}
}

// TestCommunityID: the specification's own examples.
func TestCommunityID(t *testing.T) {
	f := func(proto uint8, src, dst, want string) {
		t.Helper()
		a, b := netip.MustParseAddrPort(src), netip.MustParseAddrPort(dst)
		c := &conn{proto: proto, addr: [2]netip.Addr{a.Addr(), b.Addr()}, port: [2]uint16{a.Port(), b.Port()}}
		if got := c.communityID(); got != want {
			t.Errorf("%s → %s: %s, want %s", src, dst, got, want)
		}
	}
	f(protoTCP, "128.232.110.120:34855", "66.35.250.204:80", "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f(protoTCP, "66.35.250.204:80", "128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f(protoUDP, "192.168.1.52:54585", "8.8.8.8:53", "1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
}

// TestSameTwice: a capture read again, plainly, compressed and under another
// name, gives the same lines with the same ids.
func TestSameTwice(t *testing.T) {
	file := filepath.Join(captures(t), "coinhive-stratum.pcap")
	plain := func(lines []input.Line) (out []input.Line) {
		for _, l := range lines {
			l.Received, l.Source = time.Time{}, ""
			out = append(out, l)
		}
		return out
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	want := plain(read(t, file))
	if len(want) == 0 || want[0].Stream == "" || want[len(want)-1].Seq != uint64(len(want)-1) || want[0].Format != "zeek-json" {
		t.Fatalf("ids: %+v", want)
	}
	if d := cmp.Diff(want, plain(read(t, save(t, "other.pcap", raw)))); d != "" {
		t.Error(d)
	}
	var z bytes.Buffer
	g := gzip.NewWriter(&z)
	if _, err := g.Write(raw); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	zipped := read(t, save(t, "x.pcap.gz", z.Bytes()))
	if len(zipped) != len(want) {
		t.Errorf("compressed: %d lines, want %d", len(zipped), len(want))
	}
}

// TestPcapng holds the same packets, in the newer format and with two links.
func TestPcapng(t *testing.T) {
	w := newWire(t)
	w.udp(netip.MustParseAddrPort("10.0.0.1:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, "name.example.", dns.TypeA))
	w.udp(netip.MustParseAddrPort("10.0.0.2:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, "other.example.", dns.TypeA))
	var b bytes.Buffer
	ng, err := pcapgo.NewNgWriter(&b, layers.LinkTypeEthernet)
	if err != nil {
		t.Fatal(err)
	}
	second, err := ng.AddInterface(pcapgo.NgInterface{LinkType: layers.LinkTypeRaw, SnapLength: 65536})
	if err != nil {
		t.Fatal(err)
	}
	for i, data := range [][]byte{w.frames[0].data, w.frames[1].data[14:]} {
		ci := gopacket.CaptureInfo{Timestamp: w.frames[i].at, CaptureLength: len(data), Length: len(data), InterfaceIndex: i * second}
		if err := ng.WritePacket(ci, data); err != nil {
			t.Fatal(err)
		}
	}
	if err := ng.Flush(); err != nil {
		t.Fatal(err)
	}
	got := texts(of(decodeAll(t, read(t, save(t, "x.pcapng", b.Bytes()))), "dns"), "query")
	if d := cmp.Diff([]string{"name.example", "other.example"}, got); d != "" {
		t.Error(d)
	}
}

// TestBadFiles: what is no capture is an error; what breaks off is read as far
// as it goes and says so.
func TestBadFiles(t *testing.T) {
	run := func(path string) error {
		cfg := DefaultConfig()
		cfg.File = path
		s, err := New(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Run(context.Background(), &collect{})
	}
	for name, content := range map[string]string{"empty": "", "text": "this is no capture at all", "gz": "\x1f\x8b\x08\x00garbage that is no gzip"} {
		if run(save(t, name, []byte(content))) == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if run(t.TempDir()) == nil || run(filepath.Join(t.TempDir(), "absent")) == nil {
		t.Error("a folder, or nothing, is taken for a capture")
	}

	w := newWire(t)
	w.udp(netip.MustParseAddrPort("10.0.0.1:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, "name.example.", dns.TypeA))
	w.udp(netip.MustParseAddrPort("10.0.0.1:5300"), netip.MustParseAddrPort("10.0.0.53:53"), query(t, 9, "lost.example.", dns.TypeA))
	raw, err := os.ReadFile(w.file())
	if err != nil {
		t.Fatal(err)
	}
	for _, lost := range []int{1, 10, len(w.frames[1].data), len(w.frames[1].data) + 1} {
		lines := read(t, save(t, "cut.pcap", raw[:len(raw)-lost]))
		if got := texts(of(decodeAll(t, lines), "dns"), "query"); len(got) != 1 || got[0] != "name.example" {
			t.Errorf("%d bytes lost: records of the whole packets: %v", lost, got)
		}
		if last := lines[len(lines)-1]; !strings.Contains(last.Reject, "after packet 1") {
			t.Errorf("%d bytes lost: the last line is %+v", lost, last)
		}
	}
}

func TestConfig(t *testing.T) {
	f := func(what string, change func(*Config)) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.File = "x"
		if err := cfg.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&cfg)
		if _, err := New(cfg, Deps{}); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	f("neither", func(c *Config) { c.File = "" })
	f("both", func(c *Config) { c.Interface = "eth0" })
	f("unknown record", func(c *Config) { c.Records = []string{"weird"} })
	f("no record", func(c *Config) { c.Records = nil })
	f("tiny packets", func(c *Config) { c.SnapLen = 1 })
	f("no time", func(c *Config) { c.TCPTimeout = 0 })

	reg := prometheus.NewRegistry()
	for range 2 { // several sensors share their metrics
		cfg := DefaultConfig()
		cfg.File = "x"
		if _, err := New(cfg, Deps{Metrics: reg}); err != nil {
			t.Error(err)
		}
	}
}

// TestHalfOpenFlood: a million attempts, none answered, hold no more than the
// bound, and each is on record.
func TestHalfOpenFlood(t *testing.T) {
	const bound, n = 10_000, 1_000_000
	cfg := DefaultConfig()
	cfg.MaxConnections = bound
	m := mustMetrics(t)
	records := 0
	e := newEngine("test", cfg.limits(), paths, m, func([]byte) { records++ })
	w := newWire(t)
	w.talk("10.0.0.1", "10.0.0.2:80").flag(0, 'S')
	syn := w.frames[0].data
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range n {
		binary.BigEndian.PutUint32(syn[26:], uint32(i)*2654435761) // everyone else's source
		e.packet(start.UnixNano()+int64(i)*1000, layers.LinkTypeEthernet, syn, 0)
		if len(e.conns) > bound {
			t.Fatalf("%d connections are held", len(e.conns))
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > bound*2048 {
		t.Errorf("%d bytes are held for %d connections", grown, bound)
	}
	for e.end(1000) {
	}
	if records != n {
		t.Errorf("%d records of %d attempts", records, n)
	}
	if got := value(t, m.evicted.WithLabelValues("connection")); got != n-bound {
		t.Errorf("%v evicted, want %d", got, n-bound)
	}
}

// TestManyHoles: streams that wait for what never comes hold bounded memory,
// and all of it is given back.
func TestManyHoles(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxBufferMiB = 1
	e := newEngine("test", cfg.limits(), paths, mustMetrics(t), func([]byte) {})
	rnd := rand.New(rand.NewPCG(1, 2))
	kinds := []string{"POST / HTTP/1.1\r\n", "{", "\x16\x03\x01\x40\x00\x01\x00\x3f\xf0", "HTTP/1.1 200 OK\r\nA: "}
	w := newWire(t)
	flush := func() {
		for _, f := range w.frames {
			e.packet(f.at.UnixNano(), layers.LinkTypeEthernet, f.data, 0)
			if e.buffered > 1<<20 || e.buffered < 0 {
				t.Fatalf("%d bytes are held", e.buffered)
			}
		}
		w.frames = w.frames[:0]
	}
	for i := range 2000 {
		k := w.talk("10.0.0.1", "10.0.0.2:80").open()
		k.say(i&1, kinds[i%len(kinds)]+strings.Repeat("x", rnd.IntN(9000)))
		if i%3 == 0 {
			k.segment(i&1, 'A', 5000, bytes.Repeat([]byte("y"), 1400))
		}
		flush()
	}
	for e.end(1000) {
	}
	if e.buffered != 0 || len(e.conns) != 0 {
		t.Errorf("%d bytes and %d connections are left", e.buffered, len(e.conns))
	}
}
