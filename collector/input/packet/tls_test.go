package packet

import (
	"encoding/binary"
	"strings"
	"testing"
)

// hello writes a ClientHello's body.
type hello struct {
	version            uint16
	ciphers            []uint16
	extensions         []uint16 // in this order; the bodies follow from the rest
	groups, sigs, vers []uint16
	points             []byte
	name               string
	alpn               []string
}

func u16s(vs []uint16) (b []byte) {
	for _, v := range vs {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	return b
}

func sized(n int, b []byte) []byte {
	if n == 1 {
		return append([]byte{byte(len(b))}, b...)
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func (h hello) body() []byte {
	b := binary.BigEndian.AppendUint16(nil, h.version)
	b = append(b, make([]byte, 32)...)
	b = append(b, 0)
	b = append(b, sized(2, u16s(h.ciphers))...)
	b = append(b, 1, 0)
	var ext []byte
	for _, e := range h.extensions {
		var body []byte
		switch e {
		case extServerName:
			body = sized(2, append([]byte{0}, sized(2, []byte(h.name))...))
		case extGroups:
			body = sized(2, u16s(h.groups))
		case extPointFormats:
			body = sized(1, h.points)
		case extSigAlgs:
			body = sized(2, u16s(h.sigs))
		case extVersions:
			body = sized(1, u16s(h.vers))
		case extALPN:
			for _, p := range h.alpn {
				body = append(body, sized(1, []byte(p))...)
			}
			body = sized(2, body)
		}
		ext = append(ext, u16s([]uint16{e})...)
		ext = append(ext, sized(2, body)...)
	}
	return append(b, sized(2, ext)...)
}

// chrome is the example of FoxIO's description of JA4.
var chrome = hello{
	version: 0x0303,
	ciphers: []uint16{
		0x1a1a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
	},
	extensions: []uint16{
		0x0a0a, 0x001b, 0x0000, 0x0033, 0x0010, 0x4469, 0x0017, 0x002d, 0x000d, 0x0005, 0x0023, 0x0012, 0x002b, 0xff01, 0x000b, 0x000a, 0x3a3a, 0x0015,
	},
	groups: []uint16{0x2a2a, 29, 23, 24},
	sigs:   []uint16{0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601},
	vers:   []uint16{0x5a5a, 0x0304, 0x0303},
	points: []byte{0},
	name:   "example.org", alpn: []string{"h2", "http/1.1"},
}

func TestJA4(t *testing.T) {
	f := func(name string, h hello, want string) {
		t.Helper()
		c, err := parseClientHello(h.body())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := c.ja4(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	f("the description's example", chrome, "t13d1516h2_8daaf6152771_e5627efa2ab1")
	h := chrome
	h.alpn = []string{"\xab\xcd"}
	f("a protocol that is no text", h, "t13d1516ad_8daaf6152771_e5627efa2ab1")
	f("nothing at all", hello{version: 0x0302}, "t11i000000_000000000000_000000000000")
	c, err := parseClientHello(hello{version: 0x0303, ciphers: []uint16{0x002f}, extensions: []uint16{extSigAlgs}}.body())
	if err != nil || !strings.HasPrefix(c.ja4(), "t12i010100_") {
		t.Errorf("without algorithms: %v %v", c, err)
	}
}

// TestHelloInPieces sends a hello in records of one byte.
func TestHelloInPieces(t *testing.T) {
	body := chrome.body()
	message := append([]byte{helloClient, 0, byte(len(body) >> 8), byte(len(body))}, body...)
	var stream strings.Builder
	stream.WriteString("\x16\x03\x01\x00\x02" + string(message[:2])) // enough to recognise it
	for _, c := range message[2:] {
		stream.WriteString("\x16\x03\x01\x00\x01" + string([]byte{c}))
	}
	w := newWire(t)
	w.talk("10.0.0.1", "10.0.0.2:8443").open().say(0, stream.String()).close()
	got := of(w.run(), "ssl")
	if len(got) != 1 || got[0]["server_name"] != "example.org" || got[0]["ja4"] != "t13d1516h2_8daaf6152771_e5627efa2ab1" || got[0]["established"] != false {
		t.Errorf("got %v", got)
	}
}

func TestBrokenHello(t *testing.T) {
	body := chrome.body()
	for n := range body {
		if n < 40 || n > 110 { // between, an end without extensions is a whole hello
			if h, err := parseClientHello(body[:n]); err == nil && len(h.extensions) > 0 {
				t.Errorf("the first %d bytes pass", n)
			}
		}
	}
}
