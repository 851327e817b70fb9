package identify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"slices"
	"strings"
)

// JARM is Salesforce's fingerprint of a TLS server: what it answers to ten
// ClientHellos, each odd in its own way. The ClientHellos and the hash are as the
// published definition has them (salesforce/jarm, 2020), so that a hash here is
// the hash that Shodan or FOFA show.

// order is how a list is put before it is sent.
type order int

const (
	forward order = iota
	reverse
	topHalf
	bottomHalf
	middleOut
)

// arrange puts a list into an order. Of an odd list the middle belongs to the
// top half.
func arrange[T any](list []T, o order) []T {
	n := len(list)
	switch o {
	case reverse:
		out := slices.Clone(list)
		slices.Reverse(out)
		return out
	case topHalf:
		out := slices.Clone(list[:(n+1)/2])
		slices.Reverse(out)
		return out
	case bottomHalf:
		return list[(n+1)/2:]
	case middleOut:
		var out []T
		middle := n / 2
		if n%2 == 1 {
			out = append(out, list[middle])
			for i := 1; i <= middle; i++ {
				out = append(out, list[middle+i], list[middle-i])
			}
			return out
		}
		for i := 1; i <= middle; i++ {
			out = append(out, list[middle-1+i], list[middle-i])
		}
		return out
	}
	return list
}

// jarmProbe is one of the ten.
type jarmProbe struct {
	version    uint16
	no13       bool // leaves TLS 1.3's suites out
	suites     order
	grease     bool
	rareALPN   bool
	versions   uint16 // the highest of the extension supported_versions; 0: without
	extensions order  // of ALPN's and supported_versions' lists
}

var jarmProbes = []jarmProbe{
	{version: versionTLS12, suites: forward, versions: versionTLS12, extensions: reverse},
	{version: versionTLS12, suites: reverse, versions: versionTLS12},
	{version: versionTLS12, suites: topHalf},
	{version: versionTLS12, suites: bottomHalf, rareALPN: true},
	{version: versionTLS12, suites: middleOut, grease: true, rareALPN: true, extensions: reverse},
	{version: versionTLS11, suites: forward},
	{version: versionTLS13, suites: forward, versions: versionTLS13, extensions: reverse},
	{version: versionTLS13, suites: reverse, versions: versionTLS13},
	{version: versionTLS13, no13: true, suites: forward, versions: versionTLS13},
	{version: versionTLS13, suites: middleOut, grease: true, versions: versionTLS13, extensions: reverse},
}

// jarmSuites is in the order in which they are offered.
var jarmSuites = []uint16{
	0x0016, 0x0033, 0x0067, 0xc09e, 0xc0a2, 0x009e, 0x0039, 0x006b, 0xc09f, 0xc0a3, 0x009f, 0x0045, 0x00be, 0x0088, 0x00c4, 0x009a,
	0xc008, 0xc009, 0xc023, 0xc0ac, 0xc0ae, 0xc02b, 0xc00a, 0xc024, 0xc0ad, 0xc0af, 0xc02c, 0xc072, 0xc073, 0xcca9, 0x1302, 0x1301,
	0xcc14, 0xc007, 0xc012, 0xc013, 0xc027, 0xc02f, 0xc014, 0xc028, 0xc030, 0xc060, 0xc061, 0xc076, 0xc077, 0xcca8, 0x1305, 0x1304,
	0x1303, 0xcc13, 0xc011, 0x000a, 0x002f, 0x003c, 0xc09c, 0xc0a0, 0x009c, 0x0035, 0x003d, 0xc09d, 0xc0a1, 0x009d, 0x0041, 0x00ba,
	0x0084, 0x00c0, 0x0007, 0x0004, 0x0005,
}

// jarmIndex is the place of each suite in the hash, from 1: by number, but that
// the ChaCha20 ones come before TLS 1.3's.
var jarmIndex = func() map[uint16]int {
	sorted := slices.Clone(jarmSuites)
	rank := func(s uint16) uint32 {
		if s>>8 == 0x13 {
			return 1<<16 | uint32(s)
		}
		return uint32(s)
	}
	slices.SortFunc(sorted, func(a, b uint16) int { return cmp.Compare(rank(a), rank(b)) })
	out := map[uint16]int{}
	for i, s := range sorted {
		out[s] = i + 1
	}
	return out
}()

// jarmALPN is the definition's list. That spdy/3 and h2 are one item, which is
// never parted when the list is turned round, is a slip in it that its hashes
// have kept.
var (
	jarmALPN = []string{"\x08http/0.9", "\x08http/1.0", "\x08http/1.1", "\x06spdy/1", "\x06spdy/2", "\x06spdy/3\x02h2", "\x03h2c", "\x02hq"}
	jarmRare = []string{"\x08http/0.9", "\x08http/1.0", "\x06spdy/1", "\x06spdy/2", "\x06spdy/3", "\x03h2c", "\x02hq"}
)

// grease is one of RFC 8701's values. It does not matter which: nobody answers
// to it, so it is always the same.
const grease = 0x0a0a

func (p jarmProbe) hello(host string) clientHello {
	h := clientHello{record: p.version, version: p.version}
	if p.version == versionTLS13 {
		h.record, h.version = versionTLS10, versionTLS12
	}
	offered := jarmSuites
	if p.no13 {
		offered = slices.DeleteFunc(slices.Clone(offered), func(s uint16) bool { return s>>8 == 0x13 })
	}
	offered = arrange(offered, p.suites)
	if p.grease {
		offered = append([]uint16{grease}, offered...)
	}
	h.suites = offered

	var greased []byte
	if p.grease {
		greased = binary.BigEndian.AppendUint16(nil, grease)
		h.extensions = extension(grease)
	}
	add := func(e []byte) { h.extensions = append(h.extensions, e...) }
	add(serverName(host))
	add(extension(0x17))
	add(extension(0x01, 1))
	add(extension(0xff01, 0))
	add(extension(0x0a, 0, 8, 0, 0x1d, 0, 0x17, 0, 0x18, 0, 0x19))
	add(extension(0x0b, 1, 0))
	add(extension(0x23))
	alpn := jarmALPN
	if p.rareALPN {
		alpn = jarmRare
	}
	protocols := strings.Join(arrange(alpn, p.extensions), "")
	add(extension(0x10, append(binary.BigEndian.AppendUint16(nil, uint16(len(protocols))), protocols...)...))
	add(extension(0x0d, 0, 18, 4, 3, 8, 4, 4, 1, 5, 3, 8, 5, 5, 1, 8, 6, 6, 1, 2, 1))
	if p.grease {
		add(keyShare(append(slices.Clone(greased), 0, 1, 0)...))
	} else {
		add(keyShare())
	}
	add(extension(0x2d, 1, 1))
	if p.versions != 0 {
		var list []uint16
		for v := uint16(versionTLS10); v <= p.versions; v++ {
			list = append(list, v)
		}
		content := slices.Clone(greased)
		for _, v := range arrange(list, p.extensions) {
			content = binary.BigEndian.AppendUint16(content, v)
		}
		add(extension(0x2b, append([]byte{byte(len(content))}, content...)...))
	}
	return h
}

// jarmAnswer is what of a ServerHello counts.
type jarmAnswer struct {
	suite, version uint16
	rest           string // ALPN's choice, and the extensions' numbers
}

// readJARM reads an answer. Anything else than a ServerHello is the zero value.
func readJARM(b []byte) (a jarmAnswer) {
	if len(b) < 47 || b[0] != 22 || b[5] != 2 {
		return a
	}
	at := 44 + int(b[43])
	if len(b) < at+2 {
		return a
	}
	a = jarmAnswer{suite: binary.BigEndian.Uint16(b[at:]), version: binary.BigEndian.Uint16(b[9:])}
	extensions, alpn, ok := jarmExtensions(b, at-44)
	if ok {
		a.rest = alpn + strings.Join(extensions, "-")
	}
	return a
}

// jarmExtensions reads the extensions; what looks like none, as the definition
// tells it, is none.
func jarmExtensions(b []byte, id int) (numbers []string, alpn string, ok bool) {
	at := id + 47
	if len(b) < at+2 || b[at] == 11 ||
		len(b) >= id+53 && bytes.Equal(b[id+50:id+53], []byte{0x0e, 0xac, 0x0b}) ||
		len(b) >= 85 && bytes.Equal(b[82:85], []byte{0x0f, 0xf0, 0x0b}) {
		return nil, "", false
	}
	end := at + 1 + int(binary.BigEndian.Uint16(b[at:]))
	for at += 2; at < end; {
		if len(b) < at+4 {
			return nil, "", false
		}
		n := int(binary.BigEndian.Uint16(b[at+2:]))
		numbers = append(numbers, hex.EncodeToString(b[at:at+2]))
		if len(b) < at+4+n {
			return nil, "", false
		}
		if b[at] == 0 && b[at+1] == 0x10 && alpn == "" && n > 3 {
			alpn = string(b[at+7 : at+4+n])
		}
		at += 4 + n
	}
	return numbers, alpn, true
}

// jarmHash makes the hash: three characters of each answer, and 32 of the
// SHA-256 of what is left. Without any answer it is zeros.
func jarmHash(answers []jarmAnswer) string {
	var hash, rest strings.Builder
	any := false
	for _, a := range answers {
		rest.WriteString(a.rest)
		if a.suite == 0 && a.version == 0 {
			hash.WriteString("000")
			continue
		}
		any = true
		index, known := jarmIndex[a.suite]
		if !known {
			index = len(jarmSuites) + 1
		}
		fmt.Fprintf(&hash, "%02x%c", index, 'a'+rune(a.version&7))
	}
	if !any {
		return strings.Repeat("0", 62)
	}
	sum := sha256.Sum256([]byte(rest.String()))
	return hash.String() + hex.EncodeToString(sum[:])[:32]
}

// maxJARM is how much of an answer the definition reads.
const maxJARM = 1484

// jarm sends the ten. A server that keeps silent to one has zeros, as the
// definition has it; "" says that they could not all be sent.
func (t *Target) jarm(ctx context.Context) string {
	host := cmp.Or(t.Name, t.Host)
	if len(host) > 255 {
		return ""
	}
	var answers []jarmAnswer
	for _, p := range jarmProbes {
		var answer []byte
		silent, err := t.with(ctx, probeWait, func(c net.Conn) {
			if _, err := c.Write(p.hello(host).bytes()); err == nil {
				answer = readRecord(c)
			}
		})
		switch {
		case err != nil || ctx.Err() != nil:
			return ""
		case silent:
			return jarmHash(nil)
		}
		answers = append(answers, readJARM(answer[:min(len(answer), maxJARM)]))
	}
	return jarmHash(answers)
}
