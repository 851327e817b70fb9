package packet

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"github.com/valyala/fastjson"
)

// fuzzEngine is an engine whose every record must be JSON.
func fuzzEngine(t *testing.T) *engine {
	return newEngine("fuzz", DefaultConfig().limits(), paths, mustMetrics(t), func(b []byte) {
		if !json.Valid(b) {
			t.Fatalf("record is no JSON: %q", b)
		}
	})
}

func checkEmpty(t *testing.T, e *engine) {
	for e.end(100) {
	}
	if e.buffered != 0 || len(e.conns) != 0 {
		t.Fatalf("%d bytes and %d connections are left", e.buffered, len(e.conns))
	}
}

// FuzzPacket decodes whatever follows a link type's number.
func FuzzPacket(f *testing.F) {
	w := newWire(f)
	w.talk("10.0.0.1", "10.0.0.2:53").open().say(0, "\x00\x0cabcdefghijkl")
	w.talk("fd00::1", "[fd00::2]:80").open().say(0, "GET / HTTP/1.1\r\n\r\n").close()
	for _, x := range w.frames {
		f.Add(uint16(layers.LinkTypeEthernet), x.data)
		f.Add(uint16(layers.LinkTypeRaw), x.data[14:])
	}
	f.Add(uint16(layers.LinkTypeLinuxSLL2), bytes.Repeat([]byte{8, 0}, 40))
	f.Fuzz(func(t *testing.T, link uint16, data []byte) {
		e := fuzzEngine(t)
		for i := range 3 { // the same again, whole and cut
			e.packet(start.UnixNano()+int64(i), layers.LinkType(link), data[:len(data)-i*len(data)/4], uint16(i))
		}
		checkEmpty(t, e)
	})
}

// FuzzStream reads two streams in pieces as they come from connections.
func FuzzStream(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n"+webSocket(`{"type":"authed","params":{"hashes":1}}`, true)), []byte("HTTP/1.1 101 S\r\n\r\n"+webSocket("{}", false)), uint8(7))
	f.Add([]byte("CONNECT a:1 HTTP/1.1\r\n\r\n{\"method\":\"mining.subscribe\",\"params\":[]}\n"), []byte("HTTP/1.1 200 OK\r\n\r\n"), uint8(100))
	f.Add([]byte("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{} \r\n0\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[1,2]"), uint8(1))
	f.Add(append([]byte("\x16\x03\x01\x00\xff\x01\x00\x00\xfb"), chrome.body()...), []byte("\x16\x03\x03\x00\x2a\x02\x00\x00\x26\x03\x03"+strings.Repeat("r", 32)+"\x00\x13\x01\x00"), uint8(50))
	f.Add([]byte(`{"id":1,"method":"login","params":{"login":"a","pass":"x"}}`), []byte(`{"id":1,"result":{"job":{"blob":"`+blob+`","job_id":"1","target":"ff"}}}`), uint8(200))
	f.Fuzz(func(t *testing.T, forth, back []byte, size uint8) {
		e := fuzzEngine(t)
		w := newWire(t)
		k := w.talk("10.0.0.1", "10.0.0.2:8080").open()
		n := int(size) + 1
		for len(forth)+len(back) > 0 && len(w.frames) < 400 {
			for side, text := range []*[]byte{&forth, &back} {
				if c := min(n, len(*text)); c > 0 {
					if size%16 == 3 && len(w.frames)%7 == 0 { // lost
						k.seq[side] += uint32(c)
					} else {
						k.say(side, string((*text)[:c]))
					}
					*text = (*text)[c:]
				}
			}
		}
		k.flag(0, 'F')
		for _, x := range w.frames {
			e.packet(x.at.UnixNano(), layers.LinkTypeEthernet, x.data, 0)
		}
		checkEmpty(t, e)
	})
}

// FuzzHello: a hello that parses has fingerprints of the right shape.
func FuzzHello(f *testing.F) {
	f.Add(chrome.body())
	f.Add(hello{version: 0x0301}.body())
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := parseClientHello(b); err == nil {
			if ja4 := h.ja4(); len(ja4) != 36 || len(h.ja3()) != 32 {
				t.Fatalf("ja4 %q, ja3 %q", ja4, h.ja3())
			}
		}
		if h, err := parseServerHello(b); err == nil && len(h.ja3s()) != 32 {
			t.Fatalf("ja3s %q", h.ja3s())
		}
		certificateNames(b)
	})
}

// FuzzStratum: what is believed has a method and a protocol.
func FuzzStratum(f *testing.F) {
	f.Add(`{"id":1,"method":"mining.submit","params":["a","b"]}`)
	f.Add(`{"id":1,"method":"eth_submitWork","params":["0x1","0x2","0x3"]}`)
	f.Add(`{"id":1,"method":"job","params":{"job_id":"1","blob":"` + blob + `","target":"ff","height":1e400}}`)
	f.Add(`{"identifier":"handshake","pool":"p","login":"DOGE:` + walletETH + `"}`)
	f.Add(`{"id":0,"result":[[["mining.notify","x"]],"00",4],"error":null}`)
	f.Fuzz(func(t *testing.T, text string) {
		var p fastjson.Parser
		v, err := p.Parse(text)
		if err != nil {
			return
		}
		if m, b := classify(v); b == beliefSure && (m.method == "" || m.protocol == "") {
			t.Fatalf("%q gives %+v", text, m)
		}
		answerByShape(v)
		walletCoin(text)
	})
}

// FuzzDNS reads a message and its answer.
func FuzzDNS(f *testing.F) {
	f.Add(query(f, 7, "pool.example.", 1), []byte{})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		e := fuzzEngine(t)
		w := newWire(t)
		k := w.talk("10.0.0.1", "10.0.0.2:53")
		if len(a) > 1400 || len(b) > 1400 {
			return
		}
		w.udp(k.ends[0], k.ends[1], a)
		w.udp(k.ends[1], k.ends[0], b)
		for _, x := range w.frames {
			e.packet(x.at.UnixNano(), layers.LinkTypeEthernet, x.data, 0)
		}
		checkEmpty(t, e)
	})
}

// BenchmarkEngine replays a capture of the corpus from memory, and plain bulk
// traffic.
func BenchmarkEngine(b *testing.B) {
	run := func(name string, frames []frame) {
		b.Run(name, func(b *testing.B) {
			size := 0
			for _, f := range frames {
				size += len(f.data)
			}
			m := mustMetrics(b)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				e := newEngine("bench", DefaultConfig().limits(), paths, m, func([]byte) {})
				for _, f := range frames {
					e.packet(f.at.UnixNano(), layers.LinkTypeEthernet, f.data, 0)
				}
				for e.end(1000) {
				}
			}
			b.ReportMetric(float64(len(frames)*b.N)/b.Elapsed().Seconds(), "packets/s")
		})
	}
	load := func(name string) (frames []frame) {
		file, err := os.Open(filepath.Join(captures(b), name))
		if err != nil {
			b.Fatal(err)
		}
		defer file.Close()
		r, err := pcapgo.NewReader(file)
		if err != nil {
			b.Fatal(err)
		}
		for {
			data, ci, err := r.ReadPacketData()
			if err != nil {
				return frames
			}
			frames = append(frames, frame{ci.Timestamp, data})
		}
	}
	run("coinhive", load("coinhive.pcap"))
	run("stratum", load("coinhive-stratum.pcap"))

	w := newWire(b)
	k := w.talk("10.0.0.1", "10.0.0.2:80").open().say(0, "GET /big HTTP/1.1\r\nHost: h\r\n\r\n")
	k.say(1, "HTTP/1.1 200 OK\r\nContent-Length: 14000000\r\n\r\n")
	for range 1000 {
		k.say(1, strings.Repeat("x", 14000))
		k.flag(0, 'A')
	}
	run("download", w.frames)

	w = newWire(b)
	for range 10000 {
		w.talk("10.0.0.1", "10.0.0.2:80").flag(0, 'S')
	}
	run("scan", w.frames)
}
