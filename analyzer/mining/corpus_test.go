package mining

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"fengsui/schemas"
)

// corpus is the path of a file of the corpus; without the corpus the test is
// skipped.
func corpus(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("FENGSUI_CORPUS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "corpus")
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no corpus: %v (set FENGSUI_CORPUS)", err)
	}
	return path
}

// Ordinary DNS and TLS traffic of a real network holds no mining.
func TestOrdinaryTrafficIsSilent(t *testing.T) {
	d := detector(t)
	for _, name := range []string{"zeek/dns.json.gz", "zeek/ssl.json.gz"} {
		f, err := os.Open(corpus(t, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(z)
		lines.Buffer(nil, 1<<20)
		n := 0
		for lines.Scan() {
			var r struct {
				Query   string   `json:"query"`
				QType   string   `json:"qtype_name"`
				Answers []string `json:"answers"`
				SNI     string   `json:"server_name"`
				Subject string   `json:"subject"`
				Orig    string   `json:"id.orig_h"`
				Resp    string   `json:"id.resp_h"`
				Port    int64    `json:"id.resp_p"`
			}
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				t.Fatal(err)
			}
			ev := event(t)
			ev.SetIP(schemas.FieldSourceIP, r.Orig)
			ev.SetIP(schemas.FieldDestinationIP, r.Resp)
			ev.SetInt(schemas.FieldDestinationPort, r.Port)
			ev.SetString(schemas.FieldDNSQuestionName, r.Query)
			ev.SetString(schemas.FieldDNSQuestionType, r.QType)
			ev.Set(schemas.FieldDNSAnswersData, schemas.Strings(r.Answers...))
			ev.SetString(schemas.FieldTLSClientServerName, r.SNI)
			ev.SetString(schemas.FieldTLSServerSubject, r.Subject)
			if found := d.Examine(ev); len(found) > 0 {
				t.Errorf("%s: %+v", lines.Bytes(), found)
			}
			n++
		}
		if err := lines.Err(); err != nil || n < 1000 {
			t.Errorf("%s: %d lines, %v", name, n, err)
		}
	}
}

// Packets of real mining conversations, looked at one by one as a device's
// payload excerpts are, give the kinds of evidence that are in them.
func TestMiningCaptures(t *testing.T) {
	d := detector(t)
	f := func(name string, kinds ...schemas.EvidenceKind) {
		t.Helper()
		file, err := os.Open(corpus(t, "pcap-mining/testing/Traces/"+name))
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
