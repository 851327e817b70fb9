package identify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"fengsui/schemas"
)

// maxDatagram is what is read of an answer.
const maxDatagram = 64 << 10

// question is one datagram, and how to tell its answer from anything else. A nil
// service is an answer of something else.
type question struct {
	send []byte
	read func(answer []byte) *schemas.Service
}

// questions is what is asked on which UDP port: one datagram that an ordinary
// client sends, without a password, a community string included.
var questions = map[int]func(t *Target) question{
	53:    askVersionBind,
	69:    askTFTP,
	123:   askNTP,
	137:   askNetBIOS,
	161:   askSNMP,
	500:   askIKE,
	1900:  askSSDP,
	5060:  askSIP,
	5353:  askMDNS,
	5683:  askCoAP,
	11211: askMemcachedUDP,
}

// UDPPorts is the UDP ports that there is a question for, in order.
func UDPPorts() []int {
	var out []int
	for port := range questions {
		out = append(out, port)
	}
	slices.Sort(out)
	return out
}

// UDP asks one question on a UDP port: one datagram, sent once. An answer is an
// open port, with a service that may have no name. Without one, and on a port
// that no question is known for, there is nothing: nil. The error is ctx's, or of
// a socket that could not be made.
func UDP(ctx context.Context, t Target, wait time.Duration) (*schemas.Service, error) {
	ask := questions[t.Port]
	if ask == nil {
		return nil, nil
	}
	q := ask(&t)
	var s *schemas.Service
	_, err := t.with(ctx, wait, func(c net.Conn) {
		if _, err := c.Write(q.send); err != nil {
			return // refused, or unreachable: no answer
		}
		buf := make([]byte, maxDatagram)
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if s = q.read(buf[:n]); s == nil {
			s = &schemas.Service{Banner: Printable(buf[:n])}
		}
	})
	if s == nil || err != nil {
		return nil, err
	}
	t.expose(s)
	return s, nil
}

// token is random bytes by which an answer is known.
func token(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

func askVersionBind(*Target) question {
	m := dnsVersionQuestion()
	wire, err := m.Pack()
	if err != nil {
		panic(err) // a mistake in this file
	}
	return question{wire, func(b []byte) *schemas.Service {
		reply := readDNS(b, m)
		if reply == nil {
			return nil
		}
		s := &schemas.Service{Name: "domain"}
		readVersionBind(s, reply)
		return s
	}}
}

// askTFTP asks for a file that is not there.
func askTFTP(*Target) question {
	return question{[]byte("\x00\x01fengsui-no-such-file\x00octet\x00"), readTFTP}
}

func readTFTP(b []byte) *schemas.Service {
	if len(b) < 5 || b[0] != 0 || b[1] != 5 && b[1] != 3 {
		return nil
	}
	s := &schemas.Service{Name: "tftp"}
	if b[1] == 5 {
		message, _, _ := bytes.Cut(b[4:], []byte{0})
		s.Banner = Printable(message)
	}
	return s
}

// askNTP asks for the time, as RFC 5905's client.
func askNTP(*Target) question {
	m := make([]byte, 48)
	m[0] = 4<<3 | 3
	copy(m[40:], token(8))
	sent := bytes.Clone(m[40:])
	return question{m, func(b []byte) *schemas.Service { return readNTP(b, sent) }}
}

func readNTP(b, sent []byte) *schemas.Service {
	if len(b) < 48 || b[0]&7 != 4 || !bytes.Equal(b[24:32], sent) {
		return nil
	}
	return &schemas.Service{Name: "ntp", Banner: fmt.Sprintf("version %d, stratum %d", b[0]>>3&7, b[1])}
}

// askNetBIOS asks a Windows machine for the names that it goes by (RFC 1002).
func askNetBIOS(*Target) question {
	id := token(2)
	m := append(bytes.Clone(id), 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 32)
	m = append(m, "CK"+strings.Repeat("A", 30)+"\x00\x00\x21\x00\x01"...)
	return question{m, func(b []byte) *schemas.Service { return readNetBIOS(b, id) }}
}

func readNetBIOS(b, id []byte) *schemas.Service {
	if len(b) < 57 || !bytes.Equal(b[:2], id) || b[2]&0x80 == 0 || b[46] != 0 || b[47] != 0x21 {
		return nil
	}
	s := &schemas.Service{Name: "netbios-ns"}
	var names []string
	rest := b[57:]
	for range min(int(b[56]), 32) {
		if len(rest) < 18 {
			break
		}
		name := strings.TrimSpace(strings.TrimRight(string(rest[:15]), "\x00"))
		if group := rest[16]&0x80 != 0; rest[15] == 0 && name != "" {
			names = append(names, map[bool]string{false: "name ", true: "group "}[group]+name)
		}
		rest = rest[18:]
	}
	s.Banner = Printable([]byte(strings.Join(names, ", ")))
	return s
}

// snmpMessage is SNMPv3's (RFC 3412), with the user-based model's parameters
// (RFC 3414).
type snmpMessage struct {
	Version int
	Global  struct {
		ID, MaxSize int
		Flags       []byte
		Model       int
	}
	Security []byte
	Data     asn1.RawValue
}

type snmpSecurity struct {
	Engine            []byte
	Boots, Time       int
	User, Auth, Crypt []byte
}

// askSNMP asks for the engine's id, which every SNMPv3 manager must before it can
// say who it is. The community "public" of SNMPv1 and v2c is a password that many
// devices are delivered with, and is not tried.
func askSNMP(*Target) question {
	id := int(binary.BigEndian.Uint32(token(4)) & 0x7fffffff)
	security, err := asn1.Marshal(snmpSecurity{Engine: []byte{}, User: []byte{}, Auth: []byte{}, Crypt: []byte{}})
	if err != nil {
		panic(err) // a mistake in this file
	}
	m := snmpMessage{Version: 3, Security: security}
	m.Global.ID, m.Global.MaxSize, m.Global.Flags, m.Global.Model = id, 65507, []byte{4}, 3
	// Of no context, a get-request of nothing.
	m.Data = asn1.RawValue{FullBytes: []byte{0x30, 0x11, 4, 0, 4, 0, 0xa0, 11, 2, 1, 1, 2, 1, 0, 2, 1, 0, 0x30, 0}}
	wire, err := asn1.Marshal(m)
	if err != nil {
		panic(err) // a mistake in this file
	}
	return question{wire, func(b []byte) *schemas.Service { return readSNMP(b, id) }}
}

// enterprises is IANA's private enterprise numbers of makers that are met.
var enterprises = map[uint32]string{
	9: "Cisco", 11: "HP", 311: "Microsoft", 2011: "Huawei", 2636: "Juniper", 3902: "ZTE", 4881: "Ruijie", 8072: "Net-SNMP", 12356: "Fortinet", 25506: "H3C",
}

func readSNMP(b []byte, id int) *schemas.Service {
	var m snmpMessage
	var security snmpSecurity
	if _, err := asn1.Unmarshal(b, &m); err != nil || m.Version != 3 || m.Global.ID != id {
		return nil
	}
	if _, err := asn1.Unmarshal(m.Security, &security); err != nil {
		return nil
	}
	s := &schemas.Service{Name: "snmp", Banner: Printable(fmt.Appendf(nil, "SNMPv3 engine %x, %d boots, up %d s", security.Engine, security.Boots, security.Time))}
	if e := security.Engine; len(e) >= 5 {
		s.Product = enterprises[binary.BigEndian.Uint32(e)&0x7fffffff]
	}
	return s
}

// askIKE proposes what old and new gateways know, by IKEv1's first message
// (RFC 2408).
func askIKE(*Target) question {
	cookie := token(8)
	var transforms []byte
	suites := [][3]byte{{7, 2, 14}, {7, 2, 2}, {5, 2, 2}, {5, 1, 2}} // AES or 3DES, SHA-1 or MD5, group
	for i, v := range suites {
		attributes := []byte{0x80, 1, 0, v[0], 0x80, 2, 0, v[1], 0x80, 3, 0, 1, 0x80, 4, 0, v[2], 0x80, 11, 0, 1, 0x80, 12, 0x70, 0x80}
		if v[0] == 7 {
			attributes = append(attributes, 0x80, 14, 0, 128)
		}
		next := byte(3)
		if i == len(suites)-1 {
			next = 0
		}
		transforms = append(transforms, next, 0, 0, byte(8+len(attributes)), byte(i+1), 1, 0, 0)
		transforms = append(transforms, attributes...)
	}
	proposal := append([]byte{0, 0, 0, byte(8 + len(transforms)), 1, 1, 0, byte(len(suites))}, transforms...)
	sa := append([]byte{0, 0, 0, byte(12 + len(proposal)), 0, 0, 0, 1, 0, 0, 0, 1}, proposal...)
	m := append(bytes.Clone(cookie), 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x10, 2, 0, 0, 0, 0, 0)
	m = binary.BigEndian.AppendUint32(m, uint32(28+len(sa)))
	return question{append(m, sa...), func(b []byte) *schemas.Service { return readIKE(b, cookie) }}
}

func readIKE(b, cookie []byte) *schemas.Service {
	if len(b) < 28 || !bytes.Equal(b[:8], cookie) || b[17]>>4 != 1 && b[17]>>4 != 2 {
		return nil
	}
	return &schemas.Service{Name: "isakmp", Banner: fmt.Sprintf("IKEv%d", b[17]>>4)}
}

func askSSDP(t *Target) question {
	return question{
		[]byte("M-SEARCH * HTTP/1.1\r\nHOST: " + net.JoinHostPort(t.Host, "1900") + "\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: upnp:rootdevice\r\n\r\n"),
		readSSDP,
	}
}

func readSSDP(b []byte) *schemas.Service {
	if !bytes.HasPrefix(b, []byte("HTTP/1.")) {
		return nil
	}
	s := &schemas.Service{Name: "ssdp", Banner: field(b, "Server")}
	words := strings.Fields(s.Banner)
	if len(words) > 0 { // "Linux/5.10 UPnP/1.0 MiniUPnPd/2.2.1": the product is last
		s.Product, s.Version = product(words[len(words)-1])
		if name, version := product(words[0]); len(words) > 1 {
			s.OS = strings.TrimSpace(name + " " + version)
		}
	}
	return s
}

// field is a header of a text like HTTP's.
func field(b []byte, name string) string {
	for line := range bytes.Lines(b) {
		key, value, found := bytes.Cut(line, []byte(":"))
		if found && strings.EqualFold(string(key), name) {
			return Printable(value)
		}
	}
	return ""
}

func askSIP(t *Target) question {
	at := net.JoinHostPort(t.Host, "5060")
	id := fmt.Sprintf("%x", token(8))
	return question{[]byte("OPTIONS sip:" + at + " SIP/2.0\r\nVia: SIP/2.0/UDP scan.invalid;branch=z9hG4bK" + id + ";rport\r\nMax-Forwards: 1\r\nTo: <sip:" + at +
		">\r\nFrom: <sip:fengsui@scan.invalid>;tag=" + id + "\r\nCall-ID: " + id + "@scan.invalid\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"), readSIP}
}

var sipProduct = regexp.MustCompile(`^([A-Za-z][\w .-]*?)[/ -]v?(\d[\w.~+-]*)`)

func readSIP(b []byte) *schemas.Service {
	if !bytes.HasPrefix(b, []byte("SIP/2.0 ")) {
		return nil
	}
	s := &schemas.Service{Name: "sip", Banner: cmp.Or(field(b, "Server"), field(b, "User-Agent"))}
	if m := sipProduct.FindStringSubmatch(s.Banner); m != nil {
		s.Product, s.Version = m[1], m[2]
	}
	return s
}

// askMDNS asks for the kinds of service, to this address and not to the group.
func askMDNS(*Target) question {
	m := new(dns.Msg)
	m.SetQuestion("_services._dns-sd._udp.local.", dns.TypePTR)
	m.RecursionDesired = false
	wire, err := m.Pack()
	if err != nil {
		panic(err) // a mistake in this file
	}
	return question{wire, readMDNS}
}

func readMDNS(b []byte) *schemas.Service {
	reply := new(dns.Msg)
	if reply.Unpack(b) != nil || !reply.Response {
		return nil
	}
	s := &schemas.Service{Name: "mdns"}
	var kinds []string
	for _, r := range reply.Answer {
		if p, ok := r.(*dns.PTR); ok {
			kinds = append(kinds, strings.TrimSuffix(p.Ptr, ".local."))
		}
	}
	s.Banner = Printable([]byte(strings.Join(kinds, " ")))
	return s
}

// askCoAP is RFC 7252's ping: an empty message, answered by an empty reset.
func askCoAP(*Target) question {
	id := token(2)
	return question{append([]byte{0x40, 0}, id...), func(b []byte) *schemas.Service {
		if len(b) == 4 && b[0] == 0x70 && b[1] == 0 && bytes.Equal(b[2:], id) {
			return &schemas.Service{Name: "coap"}
		}
		return nil
	}}
}

func askMemcachedUDP(*Target) question {
	id := token(2)
	return question{append(bytes.Clone(id), "\x00\x00\x00\x01\x00\x00version\r\n"...), func(b []byte) *schemas.Service {
		if len(b) < 8 || !bytes.Equal(b[:2], id) {
			return nil
		}
		return readMemcached(b[8:])
	}}
}
