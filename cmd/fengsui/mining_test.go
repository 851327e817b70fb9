package main

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/miekg/dns"

	"fengsui/internal/testkit/corpus"
	"fengsui/schemas"
)

// TestMining replays captures and logs: those that mine become detections with
// evidence and an alert each, and ordinary ones nothing.
func TestMining(t *testing.T) {
	s := newSystem(t, loopback)
	s.start()
	t.Run("ordinary", func(t *testing.T) { testOrdinary(t, s) })
	t.Run("captures", func(t *testing.T) { testCaptures(t, s) })
	t.Run("accrual", func(t *testing.T) { testAccrual(t, s) })
	t.Run("ordinary logs", func(t *testing.T) { testOrdinaryLogs(t, s) })
	s.stop()
}

// replayed sends a file and waits until all of it is stored, and what was found
// in it too.
func replayed(t *testing.T, s *system, path, format, unit string) (events int) {
	t.Helper()
	db := s.db()
	before, err := s.count(db, "SELECT (SELECT count() FROM events) + (SELECT count() FROM dead_letters)")
	if err != nil {
		t.Fatal(err)
	}
	sent := jsonLines(t, s.run("replay", path, "--format", format, "--unit", unit, "--json"))
	if len(sent) != 1 {
		t.Fatalf("replay said %v", sent)
	}
	events = int(sent[0]["shipped"].(float64))
	s.eventually(60*time.Second, fmt.Sprintf("the %d records of %s are stored", events, filepath.Base(path)), func() error {
		now, err := s.count(db, "SELECT (SELECT count() FROM events) + (SELECT count() FROM dead_letters)")
		if err == nil && now != before+uint64(events) { //nolint:gosec // a few thousand
			err = fmt.Errorf("%d", now-before)
		}
		return err
	})
	return events
}

// detected waits for the one detection of a unit that satisfies ok, and checks
// that it stands on events that are there, and that one alert tells of it.
func detected(t *testing.T, s *system, unit string, ok func(*schemas.MiningDetection) bool) schemas.MiningDetection {
	t.Helper()
	var d schemas.MiningDetection
	s.eventually(30*time.Second, "one detection of unit "+unit, func() error {
		all, err := tryFind[schemas.MiningDetection](s, "mining", "unit == "+unit)
		if err != nil {
			return err
		}
		if len(all) != 1 || !ok(&all[0]) {
			return fmt.Errorf("%d: %+v", len(all), all)
		}
		d = all[0]
		alerts, err := tryFind[schemas.Alert](s, "alerts", "kind == mining && unit == "+unit)
		if err != nil {
			return err
		}
		if len(alerts) != 1 || alerts[0].ID != d.ID || alerts[0].Version != d.Version || alerts[0].Host != d.Host || alerts[0].Count != d.Count {
			return fmt.Errorf("alerts %+v of detection %+v", alerts, d)
		}
		return nil
	})
	if d.Count < uint64(len(d.Evidence)) || len(d.Evidence) == 0 || d.Received.IsZero() || d.Raised.Before(d.Received) {
		t.Errorf("%+v", d)
	}
	events := map[string]string{}
	for _, ev := range find[map[string]any](s, "events", "organization.id == "+unit) {
		events[ev["event.id"].(string)] = ev["@timestamp"].(string)
	}
	for _, e := range d.Evidence {
		at, err := time.Parse(time.RFC3339Nano, events[e.EventID])
		if err != nil || at.Sub(e.Time).Abs() > time.Microsecond {
			t.Errorf("%s: evidence %s at %v of event %s at %q", unit, e.Kind, e.Time, e.EventID, events[e.EventID])
		}
	}
	return d
}

func kinds(d *schemas.MiningDetection) map[schemas.EvidenceKind]bool {
	found := map[schemas.EvidenceKind]bool{}
	for _, e := range d.Evidence {
		found[e.Kind] = true
	}
	return found
}

// testCaptures: four real captures of mining, as if each were of another unit.
func testCaptures(t *testing.T, s *system) {
	f := func(name, unit string, confidence float64, kind schemas.EvidenceKind, pool, protocol string) {
		t.Helper()
		path := corpus.Path(t, "pcap-mining/testing/Traces/"+name)
		replayed(t, s, path, "pcap", unit)
		d := detected(t, s, unit, func(d *schemas.MiningDetection) bool { return kinds(d)[kind] && d.Confidence >= confidence })
		t.Logf("%s: confidence %.2f, pools %v, coins %v, protocols %v, %d pieces of evidence of %d kinds", name, d.Confidence, d.Pools, d.Coins, d.Protocols, d.Count, len(kinds(&d)))
		if d.Host != "10.0.2.15" || pool != "" && !slices.Contains(d.Pools, pool) || protocol != "" && !slices.Contains(d.Protocols, protocol) {
			t.Errorf("%s: host %s, pools %v, protocols %v, want %s, %s", name, d.Host, d.Pools, d.Protocols, pool, protocol)
		}
		s.run("replay", path, "--format", "pcap", "--unit", unit) // a second time: nothing new, or in its place
		drained(t, s)
		detected(t, s, unit, func(again *schemas.MiningDetection) bool { return again.ID == d.ID })
	}
	f("bitcoin-mining.pcap", "20001", 0.9, schemas.StratumMethod, "74.84.128.158", "stratum1")
	f("bitcoin-mining-in-progress.pcap", "20002", 0.9, schemas.StratumMethod, "74.84.128.158", "stratum1")
	f("coinhive-stratum.pcap", "20003", 0.95, schemas.MinerLogin, "supportxmr.com", "xmr-stratum")
	f("coinhive.pcap", "20004", 0.6, schemas.PoolDomainDNS, "authedmine.com", "")
}

// testAccrual: what one host does adds up to one detection.
func testAccrual(t *testing.T, s *system) {
	const (
		unit, host, server, pool = "30001", "10.30.1.7", "192.0.2.80", "xmr-eu1.nanopool.org"
		wallet                   = "48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD"
	)
	step := func(say func(*capture), ok func(*schemas.MiningDetection) bool) schemas.MiningDetection {
		t.Helper()
		c := newCapture(t)
		say(c)
		replayed(t, s, c.file(), "pcap", unit)
		return detected(t, s, unit, ok)
	}
	asked := step(func(c *capture) { c.ask(host, pool, server) }, func(*schemas.MiningDetection) bool { return true })
	if asked.Host != host || math.Abs(asked.Confidence-0.6) > 1e-9 || len(asked.Evidence) != 1 || !slices.Equal(asked.Coins, []string{"XMR"}) {
		t.Errorf("after a question: %+v", asked)
	}
	contacted := step(func(c *capture) { c.hello(host, server, 14433, pool) }, func(d *schemas.MiningDetection) bool {
		return kinds(d)[schemas.PoolDomainTLS]
	})
	if contacted.ID != asked.ID || contacted.Confidence < 0.9 || contacted.Version <= asked.Version || !contacted.Raised.Equal(asked.Raised) {
		t.Errorf("after a TLS handshake: %+v", contacted)
	}
	mined := step(func(c *capture) {
		c.talk(host, server, 14444,
			`{"id":1,"jsonrpc":"2.0","method":"login","params":{"login":"`+wallet+`","pass":"x","agent":"XMRig/6.21.0"}}`+"\n",
			`{"id":1,"jsonrpc":"2.0","error":null,"result":{"id":"9","job":{"blob":"0707c5e0dfdc05","job_id":"j1","target":"711b0d00","algo":"rx/0"},"status":"OK"}}`+"\n")
	}, func(d *schemas.MiningDetection) bool { return kinds(d)[schemas.MinerLogin] })
	if mined.ID != asked.ID || mined.Confidence <= contacted.Confidence || len(mined.Evidence) <= len(contacted.Evidence) ||
		!slices.Contains(mined.Protocols, "xmr-stratum") || !slices.Contains(mined.Wallets, wallet) {
		t.Errorf("after a login: %+v", mined)
	}
	alerts := find[schemas.Alert](s, "alerts", "unit == "+unit)
	if len(alerts) != 1 || alerts[0].Rule.Level != schemas.High || !strings.Contains(alerts[0].Summary, host) {
		t.Errorf("%+v", alerts)
	}
}

// testOrdinary: what people do on an ordinary day, among it those who trade
// coins and read about mining.
func testOrdinary(t *testing.T, s *system) {
	const unit, host, server = "40001", "10.40.1.7", "192.0.2.81"
	c := newCapture(t)
	for _, name := range []string{
		"www.binance.com", "api.binance.com", "www.okx.com", "www.huobi.com", "www.coinbase.com", "metamask.io", "www.blockchain.com",
		"www.baidu.com", "www.example.edu.cn", "mirrors.example.edu.cn", "www.taobao.com", "update.example.com", "pool.ntp.org", "cn.pool.ntp.org",
		"swimming-pool.example.edu.cn", "miner.example.edu.cn", "mining.example.edu.cn", "stratum.example.edu.cn", "www.nanopool.example.com",
	} {
		c.ask(host, name, server)
		c.hello(host, server, 443, name)
	}
	c.talk(host, server, 80, "GET /news/mining?coin=btc HTTP/1.1\r\nHost: www.binance.com\r\nUser-Agent: Mozilla/5.0\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	c.talk(host, server, 8080, `{"jsonrpc":"2.0","id":1,"method":"login","params":{"user":"lin","password":"x"}}`+"\n", `{"jsonrpc":"2.0","id":1,"result":true}`+"\n")
	c.talk(host, server, 8545, `{"jsonrpc":"2.0","id":1,"method":"eth_blockNumber","params":[]}`+"\n", `{"jsonrpc":"2.0","id":1,"result":"0x10"}`+"\n")
	c.talk(host, server, 22, "SSH-2.0-OpenSSH_9.2\r\n", "SSH-2.0-OpenSSH_9.2\r\n")
	if n := replayed(t, s, c.file(), "pcap", unit); n < 60 {
		t.Errorf("only %d records", n)
	}
	silent(t, s, unit)
}

// silent checks that nothing was found of a unit, once all has been looked at.
func silent(t *testing.T, s *system, unit string) {
	t.Helper()
	drained(t, s)
	if found := find[schemas.MiningDetection](s, "mining", "unit == "+unit); len(found) != 0 {
		t.Errorf("%+v", found)
	}
	if found := find[schemas.Alert](s, "alerts", "kind == mining && unit == "+unit); len(found) != 0 {
		t.Errorf("%+v", found)
	}
}

// testOrdinaryLogs: real logs of networks and hosts without mining.
func testOrdinaryLogs(t *testing.T, s *system) {
	const unit = "50001"
	n := 0
	f := func(name, format string) {
		t.Helper()
		n += replayed(t, s, corpus.Path(t, name), format, unit)
	}
	logs, err := filepath.Glob(filepath.Join(filepath.Dir(corpus.Path(t, "zeek/dns.log.gz")), "*.gz"))
	if err != nil || len(logs) < 20 {
		t.Fatalf("%d logs of Zeek, %v", len(logs), err)
	}
	for _, path := range logs {
		f("zeek/"+filepath.Base(path), "zeek")
	}
	f("loghub/OpenSSH/OpenSSH_2k.log", "linux")
	f("loghub/Linux/Linux_2k.log", "linux")
	f("loghub/Apache/Apache_2k.log", "apache-error")
	f("loghub/Proxifier/Proxifier_2k.log", "auto")
	silent(t, s, unit)
	letters, err := s.count(s.db(), "SELECT count() FROM dead_letters WHERE unit = ?", unit)
	if err != nil || letters != 0 {
		t.Errorf("%d of %d records could not be parsed, %v", letters, n, err)
	}
	t.Logf("%d records of ordinary logs", n)
}

// capture is a capture file in the making.
type capture struct {
	t    *testing.T
	now  time.Time
	port uint16
	out  bytes.Buffer
	w    *pcapgo.Writer
}

func newCapture(t *testing.T) *capture {
	t.Helper()
	c := &capture{t: t, now: time.Now().Add(-time.Hour), port: 40000}
	c.w = pcapgo.NewWriter(&c.out)
	c.must(c.w.WriteFileHeader(65536, layers.LinkTypeEthernet))
	return c
}

func (c *capture) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *capture) file() string {
	path := filepath.Join(c.t.TempDir(), "made.pcap")
	write(c.t, path, c.out.String())
	return path
}

// packet writes one packet.
func (c *capture) packet(from, to string, transport interface {
	gopacket.SerializableLayer
	SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
}, payload []byte,
) {
	c.t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, SrcIP: netip.MustParseAddr(from).AsSlice(), DstIP: netip.MustParseAddr(to).AsSlice(), Protocol: layers.IPProtocolTCP}
	if _, ok := transport.(*layers.UDP); ok {
		ip.Protocol = layers.IPProtocolUDP
	}
	c.must(transport.SetNetworkLayerForChecksum(ip))
	eth := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	b := gopacket.NewSerializeBuffer()
	c.must(gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, eth, ip, transport, gopacket.Payload(payload)))
	c.now = c.now.Add(time.Millisecond)
	c.must(c.w.WritePacket(gopacket.CaptureInfo{Timestamp: c.now, CaptureLength: len(b.Bytes()), Length: len(b.Bytes())}, b.Bytes()))
}

// ask is a host's question for a name, and the answer.
func (c *capture) ask(host, name, answer string) {
	c.t.Helper()
	const resolver = "10.255.0.53"
	c.port++
	q := new(dns.Msg).SetQuestion(dns.Fqdn(name), dns.TypeA)
	raw, err := q.Pack()
	c.must(err)
	c.packet(host, resolver, &layers.UDP{SrcPort: layers.UDPPort(c.port), DstPort: 53}, raw)
	r := new(dns.Msg).SetReply(q)
	r.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: dns.Fqdn(name), Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.ParseIP(answer)}}
	raw, err = r.Pack()
	c.must(err)
	c.packet(resolver, host, &layers.UDP{SrcPort: 53, DstPort: layers.UDPPort(c.port)}, raw)
}

// talk is a TCP conversation: what the host says, and what it is answered.
func (c *capture) talk(host, server string, port uint16, question, answer string) {
	c.t.Helper()
	c.port++
	there, back := uint32(1000), uint32(9000)
	segment := func(fromHost bool, flags string, data string) {
		l := &layers.TCP{
			SrcPort: layers.TCPPort(c.port), DstPort: layers.TCPPort(port), Seq: there, Ack: back, Window: 1024,
			SYN: strings.Contains(flags, "S"), ACK: strings.Contains(flags, "A"), FIN: strings.Contains(flags, "F"),
		}
		from, to, seq := host, server, &there
		if !fromHost {
			from, to, seq = server, host, &back
			l.SrcPort, l.DstPort, l.Seq, l.Ack = l.DstPort, l.SrcPort, back, there
		}
		c.packet(from, to, l, []byte(data))
		*seq += uint32(len(data)) //nolint:gosec // a few kilobytes
		if l.SYN || l.FIN {
			*seq++
		}
	}
	segment(true, "S", "")
	segment(false, "SA", "")
	segment(true, "A", "")
	segment(true, "A", question)
	segment(false, "A", answer)
	segment(true, "FA", "")
	segment(false, "FA", "")
	segment(true, "A", "")
}

// hello is a TLS client's hello with a server name, as Go's client writes it.
func (c *capture) hello(host, server string, port uint16, name string) {
	c.t.Helper()
	ours, theirs := net.Pipe()
	failed := make(chan error, 1)
	go func() {
		failed <- tls.Client(theirs, &tls.Config{ServerName: name, MinVersion: tls.VersionTLS12}).Handshake()
	}()
	b := make([]byte, 16<<10)
	n, err := ours.Read(b)
	c.must(err)
	c.must(errors.Join(ours.Close(), theirs.Close()))
	if err := <-failed; err == nil {
		c.t.Fatal("a handshake without a server")
	}
	// The server refuses: an alert, fatal, handshake failure.
	c.talk(host, server, port, string(b[:n]), "\x15\x03\x03\x00\x02\x02\x28")
}
