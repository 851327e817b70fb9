package mining

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/corpus"
	"fengsui/schemas"
)

// Logs of real networks and hosts without mining, read by the real parsers, hold
// no evidence at all, not even weak.
func TestOrdinaryLogsAreSilent(t *testing.T) {
	d := detector(t)
	f := func(name, format string) {
		t.Helper()
		file, err := os.Open(corpus.Path(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var r io.Reader = file
		if strings.HasSuffix(name, ".gz") {
			if r, err = gzip.NewReader(file); err != nil {
				t.Fatal(err)
			}
		}
		read, err := parse.Lookup(format)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 4<<20)
		n := 0
		for ; lines.Scan(); n++ {
			ev := event(t)
			ev.Original = lines.Text()
			if err := read(ev); err != nil {
				t.Fatalf("%s line %d: %v", name, n+1, err)
			}
			if found := d.Examine(ev); len(found) > 0 {
				t.Errorf("%s line %d: %+v", name, n+1, found)
			}
		}
		if err := lines.Err(); err != nil || n == 0 {
			t.Errorf("%s: %d lines, %v", name, n, err)
		}
	}
	for _, log := range []string{"dns", "ssl", "ssh", "rdp", "smtp", "notice", "weird"} {
		f("zeek/"+log+".json.gz", "zeek")
	}
	f("events/evtx-dev.jsonl.gz", "auto")
	f("events/otrf-dev.jsonl.gz", "auto")
	f("loghub/OpenSSH/OpenSSH_2k.log", "linux")
	f("loghub/Linux/Linux_2k.log", "linux")
	f("loghub/Proxifier/Proxifier_2k.log", "auto")
}

// Packets of real mining conversations, looked at one by one as a device's
// payload excerpts are, give the kinds of evidence that are in them.
func TestMiningCaptures(t *testing.T) {
	d := detector(t)
	f := func(name string, kinds ...schemas.EvidenceKind) {
		t.Helper()
		file, err := os.Open(corpus.Path(t, "pcap-mining/testing/Traces/"+name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		r, err := pcapgo.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		fold := NewFold(DefaultFoldConfig())
		found := map[schemas.EvidenceKind]bool{}
		var last *schemas.MiningDetection
		for offset := int64(0); ; offset++ {
			data, ci, err := r.ReadPacketData()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range d.Examine(packetEvent(t, data, ci.Timestamp, uint64(offset))) {
				found[e.Kind] = true
				m := &schemas.Match{Kind: schemas.MatchMining, EventID: e.EventID, Received: e.Time, Host: "miner", Mining: &e}
				if got, changed := fold.Add(m, 0, offset, e.Time); changed {
					last = got
				}
			}
		}
		for _, k := range kinds {
			if !found[k] {
				t.Errorf("%s: %v, want %s", name, found, k)
			}
		}
		if last == nil || last.Confidence < 0.5 {
			t.Errorf("%s: no detection", name)
		}
	}
	f("bitcoin-mining.pcap", schemas.StratumMethod)
	f("bitcoin-mining-in-progress.pcap", schemas.StratumMethod)
	f("coinhive-stratum.pcap", schemas.MinerLogin)
	f("coinhive.pcap", schemas.PoolDomainDNS)
}

// packetEvent is a packet as an IDS with payload excerpts logs it.
func packetEvent(t *testing.T, data []byte, at time.Time, seq uint64) *schemas.Event {
	t.Helper()
	ev := event(t)
	ev.Seq = seq
	ev.SetTime(schemas.FieldTimestamp, at)
	p := gopacket.NewPacket(data, layers.LayerTypeEthernet, gopacket.NoCopy)
	if n := p.NetworkLayer(); n != nil {
		ev.SetIP(schemas.FieldSourceIP, n.NetworkFlow().Src().String())
		ev.SetIP(schemas.FieldDestinationIP, n.NetworkFlow().Dst().String())
	}
	if q, ok := p.Layer(layers.LayerTypeDNS).(*layers.DNS); ok && len(q.Questions) > 0 {
		ev.SetString(schemas.FieldDNSQuestionName, string(q.Questions[0].Name))
	}
	if tcp, ok := p.Layer(layers.LayerTypeTCP).(*layers.TCP); ok {
		ev.SetInt(schemas.FieldSourcePort, int64(tcp.SrcPort))
		ev.SetInt(schemas.FieldDestinationPort, int64(tcp.DstPort))
		ev.SetOpen("suricata.eve.payload_printable", schemas.String(string(tcp.Payload)))
	}
	return ev
}
