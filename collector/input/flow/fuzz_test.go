package flow

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	nf "github.com/netsampler/goflow2/v2/decoders/netflow"
)

func seeds() [][]byte {
	fs := plainFlow()
	nat := []field{ip(nf.IPFIX_FIELD_sourceIPv4Address, "100.64.3.9"), txt(nf.IPFIX_FIELD_userName, "a\"\xff"), u(nf.IPFIX_FIELD_natEvent, 1, 4)}
	sampler := []field{u(2, 4, 3), u(nf.IPFIX_FIELD_samplerRandomInterval, 4, 50)}
	return [][]byte{
		v5(sentAt, 10_000, 4_000, 9_500, 0, 2, 100),
		v9(sentAt, 4000, 0, 7, templateSet(netflow9, 256, 0, fs...), dataSet(256, fs, fs)),
		v9(sentAt, 4000, 0, 7, templateSet(netflow9, 257, 1, sampler...), dataSet(257, sampler), dataSet(256, fs)),
		v10(sentAt, 0, 7, templateSet(ipfix, 256, 0, fs...), dataSet(256, fs), templateSet(ipfix, 256, 0)),
		v10(sentAt, 0, 7, templateSet(ipfix, 300, 0, nat...), dataSet(300, nat, nat)),
		sflowDatagram(1, false),
		sflowDatagram(1, true),
	}
}

// FuzzDatagram: whatever comes, lines are JSON or dead letters, and what is no
// dead letter has as many records as goflow2's own decoder finds.
func FuzzDatagram(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, []byte{})
		f.Add(b, b)
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		if len(first) > 65507 || len(second) > 65507 {
			return
		}
		d := newTestDecoder()
		lines := d.lines(first, second)
		rejected := false
		for _, l := range lines {
			if l.Reject == "" && !json.Valid(l.Value) {
				t.Fatalf("no JSON: %s", l.Value)
			}
			if strings.Contains(l.Reject, "the decoder failed") {
				t.Fatalf("a panic: %s", l.Reject)
			}
			rejected = rejected || l.Reject != ""
		}
		d.sweep(cameAt)
		d.forgetPending()
		if d.pending.Load() != 0 {
			t.Fatalf("%d bytes wait for nothing", d.pending.Load())
		}
		if !rejected && len(second) == 0 && len(first) > 20 && first[0] == 0 && (first[1] == 9 || first[1] == 10) {
			if want, ok := goflow2Records(first); ok && want != len(lines)+int(valueOf(t, d.metrics.skipped)) {
				t.Fatalf("%d lines, and goflow2 has %d records", len(lines), want)
			}
		}
	})
}

// goflow2Records counts the records of data in one datagram; false: it finds
// fault with it.
func goflow2Records(b []byte) (n int, ok bool) {
	templates := nf.CreateTemplateSystem()
	var sets []any
	if b[1] == 9 {
		var p nf.NFv9Packet
		if nf.DecodeMessageVersion(bytes.NewBuffer(b), templates, &p, nil) != nil {
			return 0, false
		}
		sets = p.FlowSets
	} else {
		var p nf.IPFIXPacket
		if nf.DecodeMessageVersion(bytes.NewBuffer(b), templates, nil, &p) != nil {
			return 0, false
		}
		sets = p.FlowSets
	}
	for _, set := range sets {
		if s, is := set.(nf.DataFlowSet); is {
			n += len(s.Records)
		}
	}
	return n, true
}
