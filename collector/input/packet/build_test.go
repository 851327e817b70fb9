package packet

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// start is when the captures that the tests make begin.
var start = time.Date(2026, 3, 2, 8, 0, 0, 0, time.UTC)

// frame is one packet of a capture that a test makes.
type frame struct {
	at   time.Time
	data []byte
}

// wire writes packets of conversations.
type wire struct {
	t      testing.TB
	now    time.Time
	frames []frame
	ports  uint16
}

func newWire(t testing.TB) *wire { return &wire{t: t, now: start, ports: 40000} }

func (w *wire) after(d time.Duration) *wire { w.now = w.now.Add(d); return w }

func (w *wire) send(ls ...gopacket.SerializableLayer) {
	w.t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		w.t.Fatal(err)
	}
	w.frames = append(w.frames, frame{w.now, bytes.Clone(b.Bytes())})
	w.now = w.now.Add(time.Millisecond)
}

func ethernet(t layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: t}
}

// ip gives the layers below transport between two addresses.
func ip(src, dst netip.Addr, proto layers.IPProtocol) (gopacket.SerializableLayer, gopacket.NetworkLayer, gopacket.SerializableLayer) {
	if src.Is4() {
		l := &layers.IPv4{Version: 4, TTL: 64, Protocol: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		return ethernet(layers.EthernetTypeIPv4), l, l
	}
	l := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: proto, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
	return ethernet(layers.EthernetTypeIPv6), l, l
}

func (w *wire) udp(src, dst netip.AddrPort, payload []byte) {
	w.t.Helper()
	eth, network, l3 := ip(src.Addr(), dst.Addr(), layers.IPProtocolUDP)
	l4 := &layers.UDP{SrcPort: layers.UDPPort(src.Port()), DstPort: layers.UDPPort(dst.Port())}
	if err := l4.SetNetworkLayerForChecksum(network); err != nil {
		w.t.Fatal(err)
	}
	w.send(eth, l3, l4, gopacket.Payload(payload))
}

// talk is a TCP conversation. Side 0 calls, side 1 is called.
type talk struct {
	w    *wire
	ends [2]netip.AddrPort
	seq  [2]uint32
}

func (w *wire) talk(caller, called string) *talk {
	w.ports++
	return &talk{
		w:    w,
		ends: [2]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(caller), w.ports), netip.MustParseAddrPort(called)},
		seq:  [2]uint32{1000, 4294967000}, // the second wraps around
	}
}

// segment sends flags (letters as in Zeek's history: S, H for SYN with ACK, A,
// F, R) with data at an offset from the stream's place.
func (k *talk) segment(side int, flag byte, offset int, data []byte) {
	k.w.t.Helper()
	eth, network, l3 := ip(k.ends[side].Addr(), k.ends[1-side].Addr(), layers.IPProtocolTCP)
	l4 := &layers.TCP{
		SrcPort: layers.TCPPort(k.ends[side].Port()), DstPort: layers.TCPPort(k.ends[1-side].Port()),
		Seq: k.seq[side] + uint32(offset), Ack: k.seq[1-side], Window: 1024,
		SYN: flag == 'S' || flag == 'H', ACK: flag != 'S' && flag != 'R', FIN: flag == 'F', RST: flag == 'R',
	}
	if err := l4.SetNetworkLayerForChecksum(network); err != nil {
		k.w.t.Fatal(err)
	}
	k.w.send(eth, l3, l4, gopacket.Payload(data))
}

// flag sends a segment without data and counts what it takes of the sequence.
func (k *talk) flag(side int, flag byte) *talk {
	k.w.t.Helper()
	k.segment(side, flag, 0, nil)
	if flag == 'S' || flag == 'H' || flag == 'F' {
		k.seq[side]++
	}
	return k
}

func (k *talk) open() *talk { return k.flag(0, 'S').flag(1, 'H').flag(0, 'A') }

func (k *talk) close() *talk { return k.flag(0, 'F').flag(1, 'F').flag(0, 'A') }

// say sends data in segments of at most 1,400 bytes.
func (k *talk) say(side int, data string) *talk {
	k.w.t.Helper()
	for b := []byte(data); len(b) > 0; {
		n := min(1400, len(b))
		k.segment(side, 'A', 0, b[:n])
		k.seq[side] += uint32(n)
		b = b[n:]
	}
	return k
}

// file writes the capture as pcap.
func (w *wire) file() string {
	w.t.Helper()
	var b bytes.Buffer
	p := pcapgo.NewWriter(&b)
	if err := p.WriteFileHeader(65536, layers.LinkTypeEthernet); err != nil {
		w.t.Fatal(err)
	}
	for _, f := range w.frames {
		ci := gopacket.CaptureInfo{Timestamp: f.at, CaptureLength: len(f.data), Length: len(f.data)}
		if err := p.WritePacket(ci, f.data); err != nil {
			w.t.Fatal(err)
		}
	}
	return save(w.t, "made.pcap", b.Bytes())
}

func save(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// run gives the records of the packets straight from the engine.
func (w *wire) run(change ...func(*Config)) (records []fields) {
	w.t.Helper()
	return decodeAll(w.t, read(w.t, w.file(), change...))
}

// of picks the records of one kind.
func of(records []fields, path string) (out []fields) {
	for _, r := range records {
		if r["_path"] == path {
			out = append(out, r)
		}
	}
	return out
}

// texts gives one field of all records.
func texts(records []fields, key string) (out []string) {
	for _, r := range records {
		s, _ := r[key].(string)
		out = append(out, s)
	}
	return out
}
