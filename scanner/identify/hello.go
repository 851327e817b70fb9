package identify

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"

	"fengsui/schemas"
)

// The versions on the wire. TLCP is GB/T 38636-2020's.
const (
	versionTLCP  = 0x0101
	versionSSL3  = 0x0300
	versionTLS10 = 0x0301
	versionTLS11 = 0x0302
	versionTLS12 = 0x0303
	versionTLS13 = 0x0304
)

var versionNames = map[uint16]string{
	versionTLCP: "TLCPv1.1", versionSSL3: "SSLv3", versionTLS10: "TLSv1.0", versionTLS11: "TLSv1.1", versionTLS12: "TLSv1.2", versionTLS13: "TLSv1.3",
}

// clientHello is a ClientHello as RFC 5246 and RFC 8446 lay it out.
type clientHello struct {
	record     uint16 // version of the record
	version    uint16
	suites     []uint16
	extensions []byte // all of them; nil: none, and no length either
}

// bytes is the record that holds the message. Random and session id are random.
func (h clientHello) bytes() []byte {
	var random [64]byte
	_, _ = rand.Read(random[:]) // never fails
	m := binary.BigEndian.AppendUint16(nil, h.version)
	m = append(m, random[:32]...)
	m = append(m, 32)
	m = append(m, random[32:]...)
	m = binary.BigEndian.AppendUint16(m, uint16(2*len(h.suites)))
	for _, s := range h.suites {
		m = binary.BigEndian.AppendUint16(m, s)
	}
	m = append(m, 1, 0) // no compression
	if h.extensions != nil {
		m = binary.BigEndian.AppendUint16(m, uint16(len(h.extensions)))
		m = append(m, h.extensions...)
	}
	r := []byte{22}
	r = binary.BigEndian.AppendUint16(r, h.record)
	r = binary.BigEndian.AppendUint16(r, uint16(len(m)+4))
	r = append(r, 1, 0)
	r = binary.BigEndian.AppendUint16(r, uint16(len(m)))
	return append(r, m...)
}

// extension is one extension of a ClientHello.
func extension(kind uint16, content ...byte) []byte {
	e := binary.BigEndian.AppendUint16(nil, kind)
	e = binary.BigEndian.AppendUint16(e, uint16(len(content)))
	return append(e, content...)
}

// serverName is the extension that names a host.
func serverName(host string) []byte {
	c := binary.BigEndian.AppendUint16(nil, uint16(len(host)+3))
	c = append(c, 0)
	c = binary.BigEndian.AppendUint16(c, uint16(len(host)))
	return extension(0, append(c, host...)...)
}

// keyShare offers an X25519 key that nobody has the private half of: nothing is
// read after the ServerHello.
func keyShare(before ...byte) []byte {
	c := append(before, 0x00, 0x1d, 0x00, 0x20)
	var key [32]byte
	_, _ = rand.Read(key[:]) // never fails
	c = append(c, key[:]...)
	return extension(0x33, append(binary.BigEndian.AppendUint16(nil, uint16(len(c))), c...)...)
}

// serverHello is what a ServerHello says.
type serverHello struct {
	version uint16 // that was chosen
	suite   uint16
}

var errNoHello = errors.New("no ServerHello")

// parseServerHello reads the first record of an answer.
func parseServerHello(b []byte) (h serverHello, err error) {
	if len(b) < 9 || b[0] != 22 || b[5] != 2 {
		return h, errNoHello
	}
	size := int(b[6])<<16 | int(b[7])<<8 | int(b[8])
	if len(b) < 9+size || size < 38 {
		return h, errNoHello
	}
	m := b[9 : 9+size]
	h.version = binary.BigEndian.Uint16(m)
	id := int(m[34])
	if len(m) < 35+id+3 {
		return h, errNoHello
	}
	h.suite = binary.BigEndian.Uint16(m[35+id:])
	rest := m[35+id+3:]
	if len(rest) < 2 {
		return h, nil
	}
	rest = rest[2:]
	for len(rest) >= 4 {
		kind, n := binary.BigEndian.Uint16(rest), int(binary.BigEndian.Uint16(rest[2:]))
		if len(rest) < 4+n {
			return h, errNoHello
		}
		if kind == 0x2b && n == 2 {
			h.version = binary.BigEndian.Uint16(rest[4:])
		}
		rest = rest[4+n:]
	}
	return h, nil
}

// maxRecord is the longest record, RFC 5246's limit and its header.
const maxRecord = 5 + 1<<14 + 2048

// readRecord reads one record of TLS, or what there is of it.
func readRecord(c net.Conn) []byte {
	head := make([]byte, 5)
	if n, err := io.ReadFull(c, head); err != nil {
		return head[:n]
	}
	size := int(binary.BigEndian.Uint16(head[3:]))
	if (head[0] != 22 && head[0] != 21) || size > maxRecord-5 {
		return head
	}
	body := make([]byte, size)
	n, _ := io.ReadFull(c, body) // half a record is told by its length
	return append(head, body[:n]...)
}

// The suites that are offered for a version: what servers of its time speak.
var (
	suites13   = []uint16{0x1301, 0x1302, 0x1303, 0x1304, 0x1305, 0x00c6, 0x00c7}
	suitesTLCP = []uint16{0xe013, 0xe053, 0xe011, 0xe051, 0xe01c, 0xe05c, 0xe019, 0xe059}
	suitesOld  = []uint16{
		0xc02c, 0xc030, 0xc02b, 0xc02f, 0xcca9, 0xcca8, 0x009f, 0x009e, 0xc024, 0xc028, 0xc023, 0xc027, 0xc00a, 0xc014, 0xc009, 0xc013,
		0x0039, 0x0033, 0x0038, 0x0032, 0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x0041, 0x0084, 0xc012, 0xc008, 0x0016, 0x0013,
		0x000a, 0x0005, 0x0004, 0x0007, 0x0009, 0x0015, 0x0003, 0x0006,
	}
)

// helloFor is a ClientHello that can be answered with one version only.
func helloFor(version uint16, name string) clientHello {
	h := clientHello{record: version, version: version, suites: suitesOld}
	switch version {
	case versionTLCP:
		h.suites = suitesTLCP
		return h
	case versionSSL3:
		return h // had no extensions
	case versionTLS13:
		h.record, h.version, h.suites = versionTLS10, versionTLS12, suites13
	}
	if _, err := netip.ParseAddr(name); err != nil && name != "" && len(name) < 256 {
		h.extensions = serverName(name)
	}
	h.extensions = append(h.extensions, extension(0x0a, 0, 10, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19, 0, 0x29)...)
	h.extensions = append(h.extensions, extension(0x0b, 1, 0)...)
	if version >= versionTLS12 {
		h.extensions = append(h.extensions, extension(0x0d, 0, 20, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 2, 1, 8, 7)...)
	}
	h.extensions = append(h.extensions, extension(0xff01, 0)...)
	if version == versionTLS13 {
		h.extensions = append(h.extensions, extension(0x2b, 2, 3, 4)...)
		h.extensions = append(h.extensions, extension(0x2d, 1, 1)...)
		h.extensions = append(h.extensions, keyShare()...)
	}
	return h
}

// speaks asks whether a version is spoken: the ServerHello is enough.
func (t *Target) speaks(ctx context.Context, version uint16) (yes bool, err error) {
	_, err = t.with(ctx, probeWait, func(c net.Conn) {
		if t.begin != nil {
			if begun, _ := t.begin(talk(c)); !begun {
				return
			}
		}
		if _, err := c.Write(helloFor(version, t.Name).bytes()); err != nil {
			return
		}
		h, err := parseServerHello(readRecord(c))
		yes = err == nil && h.version == version
	})
	return yes, err
}

// handshakes tries each version of TLS, and then what JARM needs.
func (t *Target) handshakes(ctx context.Context, out *schemas.TLS) {
	if t.versions(ctx, out) {
		out.JARM = t.jarm(ctx)
	}
}

// versions tries each version of TLS by a handshake of its own. It says whether
// all could be tried.
func (t *Target) versions(ctx context.Context, out *schemas.TLS) bool {
	for _, v := range []uint16{versionTLCP, versionSSL3, versionTLS10, versionTLS11, versionTLS12, versionTLS13} {
		name := versionNames[v]
		yes := name == out.Version // was seen
		if !yes {
			var err error
			if yes, err = t.speaks(ctx, v); err != nil {
				out.Versions = nil // half a list would say that the rest is not spoken
				return false
			}
		}
		if yes {
			out.Versions = append(out.Versions, name)
		}
	}
	return true
}
