package flow

import (
	"bytes"
	"testing"

	nf "github.com/netsampler/goflow2/v2/decoders/netflow"
	"github.com/netsampler/goflow2/v2/decoders/netflowlegacy"
	"github.com/netsampler/goflow2/v2/decoders/sflow"

	"fengsui/collector/input"
)

// thirty is a full datagram of each version, of ordinary flows.
func thirty() map[string]struct {
	before, each []byte
	flows        int
} {
	fs := plainFlow()
	records := make([][]field, 24)
	for i := range records {
		records[i] = fs
	}
	samples := make([][]byte, 6)
	for i := range samples {
		frame := ethernetFrame()
		raw := record5(1, words(1, 1518, 4, len(frame), frame))
		body := words(77, 3, 1000, 5000, 0, 3, 4, 1, raw)
		samples[i] = words(1, len(body), body)
	}
	return map[string]struct {
		before, each []byte
		flows        int
	}{
		"netflow5": {each: v5(sentAt, 10_000, 4_000, 9_500, 0, 30, 0), flows: 30},
		"netflow9": {v9(sentAt, 4000, 0, 0, templateSet(netflow9, 256, 0, fs...)), v9(sentAt, 4000, 0, 0, dataSet(256, records...)), 24},
		"ipfix":    {v10(sentAt, 0, 0, templateSet(ipfix, 256, 0, fs...)), v10(sentAt, 0, 0, dataSet(256, records...)), 24},
		"sflow":    {each: sflowDatagram(1, false, samples...), flows: 7},
	}
}

// batch decodes as Serve does: up to 64 datagrams, and then the lines go.
func batch(d *decoder, w *writer, b []byte) []input.Line {
	for range 64 {
		d.datagram(w, exporter1, b, cameAt)
	}
	return w.take()
}

func BenchmarkDecode(b *testing.B) {
	for name, v := range thirty() {
		b.Run(name, func(b *testing.B) {
			d, w := newTestDecoder(), newWriter()
			if v.before != nil {
				d.lines(v.before)
			}
			b.ReportAllocs()
			bytes := 0
			for b.Loop() {
				lines := batch(d, w, v.each)
				if len(lines) != 64*v.flows {
					b.Fatalf("%d lines", len(lines))
				}
				bytes = len(lines[0].Value)
			}
			flows := float64(b.N * 64 * v.flows)
			b.ReportMetric(flows/b.Elapsed().Seconds(), "flows/s")
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/flows, "ns/flow")
			b.ReportMetric(float64(bytes), "B/line")
		})
	}
}

// BenchmarkGoflow2 is what the library's own decoder takes for the same, before
// anything is written.
func BenchmarkGoflow2(b *testing.B) {
	for name, v := range thirty() {
		templates := nf.CreateTemplateSystem()
		decode := func(datagram []byte) (err error) {
			switch buf := bytes.NewBuffer(datagram); name {
			case "netflow5":
				var p netflowlegacy.PacketNetFlowV5
				err = netflowlegacy.DecodeMessageVersion(buf, &p)
			case "sflow":
				var p sflow.Packet
				err = sflow.DecodeMessageVersion(buf, &p)
			default:
				var p9 nf.NFv9Packet
				var p10 nf.IPFIXPacket
				err = nf.DecodeMessageVersion(buf, templates, &p9, &p10)
			}
			return err
		}
		b.Run(name, func(b *testing.B) {
			if v.before != nil {
				_ = decode(v.before)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(v.each); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*v.flows), "ns/flow")
		})
	}
}

// TestNothingAllocated: a flow of NetFlow costs no allocation but its share of
// the memory that its line lies in.
func TestNothingAllocated(t *testing.T) {
	for name, v := range thirty() {
		if name == "sflow" { // decoded by a library
			continue
		}
		d, w := newTestDecoder(), newWriter()
		if v.before != nil {
			d.lines(v.before)
		}
		batch(d, w, v.each)
		flows, size := 64*v.flows, 0
		for _, l := range batch(d, w, v.each) {
			size += len(l.Value)
		}
		most := float64(size/(pieceBytes-usualLine) + 4)
		if n := testing.AllocsPerRun(5, func() { batch(d, w, v.each) }); n > most {
			t.Errorf("%s: %v allocations for %d flows, more than the %v pieces of memory", name, n, flows, most)
		}
	}
}
