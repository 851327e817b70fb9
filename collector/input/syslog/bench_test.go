package syslog

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
)

// message254 is a message of the size that the measurements of other collectors
// were made with.
var message254 = append([]byte("<38>1 2026-11-22T03:10:47.123456Z gate.example.edu sshd 4242 - - "), bytes.Repeat([]byte("Failed password for root from 192.0.2.7 port 52222 ssh2 "), 4)...)[:254]

func sendDatagrams(t testing.TB, address string, n int, message []byte) {
	t.Helper()
	addr, err := net.ResolveUDPAddr("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.DialUDP("udp", nil, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	batch := make([]ipv4.Message, 64)
	for i := range batch {
		batch[i].Buffers = [][]byte{message}
	}
	p := ipv4.NewPacketConn(c)
	for sent := 0; sent < n; {
		k, err := p.WriteBatch(batch[:min(64, n-sent)], 0)
		if err != nil {
			t.Fatal(err)
		}
		sent += k
	}
}

func BenchmarkFramer(b *testing.B) {
	f := func(name string, one []byte) {
		b.Run(name, func(b *testing.B) {
			chunk := bytes.Repeat(one, 1000)
			fr := newFramer(1<<20, func(int) bool { return true }, func(int) {})
			b.SetBytes(int64(len(chunk)))
			n := 0
			for b.Loop() {
				for rest := chunk; len(rest) > 0; {
					k := copy(fr.space(), rest)
					rest = rest[k:]
					fr.fed(k)
					n += len(fr.take())
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "lines/s")
		})
	}
	f("newline", append(bytes.Clone(message254), '\n'))
	f("octets", fmt.Appendf(nil, "%d %s", len(message254), message254))
}

// BenchmarkTCP sends through real sockets, with four connections.
func BenchmarkTCP(b *testing.B) {
	s := &sink{countOnly: true}
	in, _, _ := start(b, Config{TCP: "127.0.0.1:0"}, s)
	chunk := bytes.Repeat(fmt.Appendf(nil, "%d %s", len(message254), message254), 1000)
	var conns []net.Conn
	for range 4 {
		conns = append(conns, dial(b, in))
	}
	b.SetBytes(int64(4 * len(chunk)))
	for b.Loop() {
		want := s.count.Load() + 4000
		var wg sync.WaitGroup
		for _, c := range conns {
			wg.Go(func() { _, _ = c.Write(chunk) })
		}
		wg.Wait()
		for s.count.Load() < want {
			time.Sleep(20 * time.Microsecond)
		}
	}
	b.ReportMetric(float64(s.count.Load())/b.Elapsed().Seconds(), "lines/s")
}

// BenchmarkUDP sends as fast as one socket can, and reports what was lost.
func BenchmarkUDP(b *testing.B) {
	s := &sink{countOnly: true}
	in, _, _ := start(b, Config{UDP: "127.0.0.1:0"}, s)
	sent := int64(0)
	for b.Loop() {
		sendDatagrams(b, in.Addrs()[0].String(), 10_000, message254)
		sent += 10_000
	}
	eventually(b, "all received or dropped", func() bool { return s.count.Load()+int64(in.KernelDrops()) == sent })
	b.ReportMetric(float64(s.count.Load())/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(100*float64(in.KernelDrops())/float64(sent), "%dropped")
}
