package identify

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"regexp"
	"strings"

	"github.com/miekg/dns"

	"fengsui/schemas"
)

// line says whether a whole line has come.
func line(b []byte) bool { return bytes.IndexByte(b, '\n') >= 0 }

var (
	redisVersion = regexp.MustCompile(`(?m)^(redis|valkey)_version:([\w.-]+)`)
	redisSystem  = regexp.MustCompile(`(?m)^os:([^\r\n]{1,80})`)
)

// tryRedis sends PING, and INFO where that is allowed: neither changes anything.
func tryRedis(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		pong := exchange(c, []byte("PING\r\n"), line)
		switch {
		case bytes.HasPrefix(pong, []byte("+PONG")):
		case bytes.HasPrefix(pong, []byte("-NOAUTH")), bytes.HasPrefix(pong, []byte("-DENIED Redis")):
			s = &schemas.Service{Name: "redis", Product: "Redis", Banner: Printable(pong)}
			return
		default:
			return
		}
		s = &schemas.Service{Name: "redis", Product: "Redis", Banner: Printable(pong)}
		readRedis(s, exchange(c, []byte("INFO server\r\n"), func(b []byte) bool {
			return bytes.Contains(b, []byte("\r\n\r\n")) || bytes.HasPrefix(b, []byte("-")) && line(b)
		}))
	})
	return s, silent, err
}

func readRedis(s *schemas.Service, info []byte) {
	for _, m := range redisVersion.FindAllSubmatch(info, -1) {
		s.Version = Printable(m[2])
		if string(m[1]) == "valkey" {
			s.Product = "Valkey"
		}
	}
	if s.Version == "" {
		return // PING may be allowed where nothing else is
	}
	if m := redisSystem.FindSubmatch(info); m != nil {
		s.OS = Printable(m[1])
	}
	add(s, schemas.ExposureNoAuth, "INFO is answered without a password: "+s.Product+" "+s.Version)
}

var memcachedVersion = regexp.MustCompile(`^VERSION ([\w.-]{1,40})\r\n`)

// tryMemcached asks for the version. Whoever is answered may read and write.
func tryMemcached(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s = readMemcached(exchange(c, []byte("version\r\n"), line))
	})
	return s, silent, err
}

func readMemcached(answer []byte) *schemas.Service {
	s := &schemas.Service{Name: "memcache", Product: "memcached", Banner: Printable(answer)}
	switch m := memcachedVersion.FindSubmatch(answer); {
	case m != nil:
		s.Version = string(m[1])
		add(s, schemas.ExposureNoAuth, "version is answered without authentication: memcached "+s.Version)
	case bytes.HasPrefix(answer, []byte("CLIENT_ERROR unauthenticated")):
	default:
		return nil
	}
	return s
}

// tryPostgreSQL begins a session as a user that there is none of, and reads
// whether a password is asked for. None is given.
func tryPostgreSQL(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s = readPostgreSQL(exchange(c, postgresStart, func(b []byte) bool {
			return len(b) >= 5 && len(b) > int(binary.BigEndian.Uint32(b[1:])) && (b[0] == 'E' || b[0] == 'R' && len(b) >= 9 && binary.BigEndian.Uint32(b[5:]) != 0)
		}))
	})
	return s, silent, err
}

var postgresStart = func() []byte {
	text := "\x00\x03\x00\x00user\x00fengsui-nobody\x00database\x00postgres\x00\x00"
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text)+4)), text...)
}()

// postgresError is the letters that every ErrorResponse has.
var postgresError = regexp.MustCompile(`(?s)^E....S[^\x00]{1,40}\x00(?:V[A-Z]+\x00)?C[0-9A-Z]{5}\x00`)

func readPostgreSQL(b []byte) *schemas.Service {
	s := &schemas.Service{Name: "postgresql", Product: "PostgreSQL"}
	switch {
	case len(b) >= 9 && b[0] == 'R' && binary.BigEndian.Uint32(b[1:]) < 1024:
		if binary.BigEndian.Uint32(b[5:]) == 0 {
			add(s, schemas.ExposureNoAuth, "a session is begun without a password")
			if _, rest, found := bytes.Cut(b, []byte("server_version\x00")); found {
				version, _, _ := bytes.Cut(rest, []byte{0})
				s.Version = Printable(version)
			}
		}
	case postgresError.MatchString(latin1(b[:min(len(b), 256)])):
	default:
		return nil
	}
	return s
}

// tryMongoDB says hello, asks for the build, and for the names of the databases,
// which are counted and not kept.
func tryMongoDB(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		hello := askMongoDB(c, 1, bsonInt("hello", 1))
		if hello == nil { // of before 4.4, or none
			hello = askMongoDB(c, 2, bsonInt("isMaster", 1))
		}
		if _, is := hello["maxWireVersion"]; !is {
			return
		}
		s = &schemas.Service{Name: "mongodb", Product: "MongoDB"}
		if version, _ := askMongoDB(c, 3, bsonInt("buildInfo", 1))["version"].(string); version != "" {
			s.Version = Printable([]byte(version))
		}
		list := askMongoDB(c, 4, bsonInt("listDatabases", 1), bsonTrue("nameOnly"))
		if names, is := list["databases"].(int); is && list["ok"] == 1.0 {
			add(s, schemas.ExposureNoAuth, fmt.Sprintf("listDatabases is answered without authentication: %d databases", names))
		}
	})
	return s, silent, err
}

func bsonInt(name string, value uint32) []byte {
	return binary.LittleEndian.AppendUint32(append(append([]byte{0x10}, name...), 0), value)
}

func bsonTrue(name string) []byte { return append(append([]byte{0x08}, name...), 0, 1) }

// askMongoDB sends one OP_MSG and reads the answer's first level. nil is none.
func askMongoDB(c net.Conn, id uint32, elements ...[]byte) map[string]any {
	body := append(bytes.Join(elements, nil), "\x02$db\x00\x06\x00\x00\x00admin\x00\x00"...)
	m := binary.LittleEndian.AppendUint32(nil, uint32(16+5+4+len(body)))
	m = binary.LittleEndian.AppendUint32(m, id)
	m = append(m, 0, 0, 0, 0, 0xdd, 0x07, 0, 0, 0, 0, 0, 0, 0)
	m = binary.LittleEndian.AppendUint32(m, uint32(4+len(body)))
	return readMongoDB(exchange(c, append(m, body...), func(b []byte) bool {
		return len(b) >= 4 && (len(b) >= int(binary.LittleEndian.Uint32(b)) || binary.LittleEndian.Uint32(b) > maxRead)
	}), id)
}

// readMongoDB reads an OP_MSG that answers id.
func readMongoDB(b []byte, id uint32) map[string]any {
	if len(b) < 26 || int(binary.LittleEndian.Uint32(b)) != len(b) || binary.LittleEndian.Uint32(b[8:]) != id ||
		binary.LittleEndian.Uint32(b[12:]) != 2013 || b[20] != 0 {
		return nil
	}
	return readBSON(b[21:])
}

// readBSON reads the strings and numbers of a document's first level, and how
// many elements its arrays have. nil is no document.
func readBSON(b []byte) map[string]any {
	if len(b) < 5 || int(binary.LittleEndian.Uint32(b)) > len(b) || binary.LittleEndian.Uint32(b) < 5 {
		return nil
	}
	b = b[4 : binary.LittleEndian.Uint32(b)-1]
	out := map[string]any{}
	for len(b) > 0 {
		kind := b[0]
		name, rest, ok := bytes.Cut(b[1:], []byte{0})
		if !ok {
			return nil
		}
		size, fixed := map[byte]int{0x01: 8, 0x07: 12, 0x08: 1, 0x09: 8, 0x0a: 0, 0x10: 4, 0x11: 8, 0x12: 8, 0x13: 16, 0xff: 0, 0x7f: 0}[kind]
		if !fixed {
			if len(rest) < 4 {
				return nil
			}
			n := int(binary.LittleEndian.Uint32(rest))
			switch kind {
			case 0x02, 0x0d:
				size = 4 + n
			case 0x03, 0x04:
				size = n
			case 0x05:
				size = 5 + n
			default:
				return out // what comes after is not needed
			}
			if n < 0 || size < 4 {
				return nil
			}
		}
		if size > len(rest) {
			return nil
		}
		value := rest[:size]
		switch kind {
		case 0x01:
			out[string(name)] = math.Float64frombits(binary.LittleEndian.Uint64(value))
		case 0x02:
			out[string(name)] = strings.TrimRight(string(value[4:]), "\x00")
		case 0x04:
			out[string(name)] = len(readBSON(value))
		case 0x10:
			out[string(name)] = float64(int32(binary.LittleEndian.Uint32(value)))
		default:
			out[string(name)] = nil
		}
		b = rest[size:]
	}
	return out
}

// tryDNS asks for the root's name servers without recursion, which every DNS
// server answers somehow, and for its version, as administrators do.
func tryDNS(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		if askDNS(c, dnsRoot()) == nil {
			return
		}
		s = &schemas.Service{Name: "domain"}
		readVersionBind(s, askDNS(c, dnsVersionQuestion()))
	})
	return s, silent, err
}

func dnsRoot() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion(".", dns.TypeNS)
	m.RecursionDesired = false
	return m
}

func dnsVersionQuestion() *dns.Msg {
	m := new(dns.Msg)
	m.SetQuestion("version.bind.", dns.TypeTXT)
	m.Question[0].Qclass = dns.ClassCHAOS
	m.RecursionDesired = false
	return m
}

// readVersionBind reads the answer to version.bind, if there is one.
func readVersionBind(s *schemas.Service, reply *dns.Msg) {
	if reply == nil || len(reply.Answer) == 0 {
		return
	}
	if txt, ok := reply.Answer[0].(*dns.TXT); ok {
		s.Banner = Printable([]byte(strings.Join(txt.Txt, "")))
		s.Product, s.Version = dnsProduct(s.Banner)
		s.OS = systemOf(s.Banner)
	}
}

var dnsVersion = regexp.MustCompile(`(?i)^(?:(bind|dnsmasq|unbound|nsd|knot dns|powerdns)[ -]?)?(?:authoritative server )?v?(\d+\.\d+\S*)`)

// dnsProduct reads version.bind: BIND itself gives only its number.
func dnsProduct(text string) (name, version string) {
	m := dnsVersion.FindStringSubmatch(text)
	if m == nil {
		return "", ""
	}
	name = m[1]
	if name == "" && strings.HasPrefix(m[2], "9.") {
		name = "BIND"
	}
	return name, m[2]
}

// askDNS asks over TCP. nil is no DNS.
func askDNS(c net.Conn, question *dns.Msg) *dns.Msg {
	wire, err := question.Pack()
	if err != nil {
		return nil
	}
	framed := binary.BigEndian.AppendUint16(nil, uint16(len(wire)))
	whole := func(b []byte) bool { return len(b) >= 2 && len(b) >= 2+int(binary.BigEndian.Uint16(b)) }
	got := exchange(c, append(framed, wire...), whole)
	if !whole(got) {
		return nil
	}
	return readDNS(got[2:2+int(binary.BigEndian.Uint16(got))], question)
}

// readDNS reads an answer to a question. nil is none.
func readDNS(b []byte, question *dns.Msg) *dns.Msg {
	reply := new(dns.Msg)
	if reply.Unpack(b) != nil || !reply.Response || reply.Id != question.Id {
		return nil
	}
	return reply
}
