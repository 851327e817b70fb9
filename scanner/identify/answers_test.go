package identify

import (
	"context"
	"encoding/asn1"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/praetorian-inc/fingerprintx/pkg/plugins"

	"fengsui/schemas"
)

// said is a service in one line.
func said(s *schemas.Service) string {
	if s == nil {
		return "none"
	}
	text := strings.Join([]string{s.Name, s.Product, s.Version}, "|")
	for _, e := range s.Exposures {
		text += " " + string(e.Kind)
	}
	return text
}

func want(t *testing.T, what string, s *schemas.Service, want string) {
	t.Helper()
	if got := said(s); got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// amqpStart is Connection.Start with the properties that RabbitMQ sends.
func amqpStart(properties string) []byte {
	args := append([]byte{0, 10, 0, 10, 0, 9}, binary.BigEndian.AppendUint32(nil, uint32(len(properties)))...)
	args = append(args, properties...)
	frame := append([]byte{1, 0, 0}, binary.BigEndian.AppendUint32(nil, uint32(len(args)))...)
	return append(append(frame, args...), 0xce)
}

func long(name, value string) string {
	return string(rune(len(name))) + name + "S" + string(binary.BigEndian.AppendUint32(nil, uint32(len(value)))) + value
}

func bson(elements ...string) string {
	body := strings.Join(elements, "") + "\x00"
	return string(binary.LittleEndian.AppendUint32(nil, uint32(len(body)+4))) + body
}

func opMsg(id uint32, document string) []byte {
	m := binary.LittleEndian.AppendUint32(nil, uint32(21+len(document)))
	m = binary.LittleEndian.AppendUint32(m, 99)
	m = binary.LittleEndian.AppendUint32(m, id)
	m = binary.LittleEndian.AppendUint32(m, 2013)
	return append(append(m, 0, 0, 0, 0, 0), document...)
}

func double(name string, v float64) string {
	return "\x01" + name + "\x00" + string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
}

func TestAnswers(t *testing.T) {
	want(t, "memcached", readMemcached([]byte("VERSION 1.6.18\r\n")), "memcache|memcached|1.6.18 no_auth")
	want(t, "memcached that asks", readMemcached([]byte("CLIENT_ERROR unauthenticated\r\n")), "memcache|memcached|")
	want(t, "memcached, not", readMemcached([]byte("ERROR\r\n")), "none")

	want(t, "ZooKeeper", readZooKeeper([]byte("Zookeeper version: 3.4.13-2d71af4dbe22557fda74f9a9b4309b15a7487f03, built on 06/29/2018\nLatency: 0\nNode count: 4\n")),
		"zookeeper|ZooKeeper|3.4.13 no_auth")
	want(t, "ZooKeeper that refuses", readZooKeeper([]byte("srvr is not executed because it is not in the whitelist.\n")), "zookeeper|ZooKeeper|")
	want(t, "ZooKeeper, not", readZooKeeper([]byte("what?\n")), "none")

	want(t, "RabbitMQ", readAMQP(amqpStart(long("product", "RabbitMQ")+long("version", "3.10.8"))), "amqp|RabbitMQ|3.10.8")
	want(t, "AMQP 1.0", readAMQP([]byte("AMQP\x03\x01\x00\x00")), "amqp||")
	want(t, "AMQP with a lie", readAMQP(amqpStart("\x07productS\xff\xff\xff\xffx")), "amqp||")
	want(t, "AMQP, not", readAMQP([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")), "none")

	want(t, "MQTT", readMQTT([]byte{0x20, 2, 0, 0}), "mqtt|| no_auth")
	want(t, "MQTT that asks", readMQTT([]byte{0x20, 2, 0, 5}), "mqtt||")
	want(t, "MQTT, not", readMQTT([]byte{0x20, 2, 9, 0}), "none")

	want(t, "X11", readX11(append([]byte{1, 0, 11, 0, 0, 0, 10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, "X.Org..."...)),
		"x11|X.Org| no_auth")
	want(t, "X11 that refuses", readX11(append([]byte{0, 5, 11, 0, 0, 0, 2, 0}, "nope!..."...)), "x11||")
	want(t, "X11, not", readX11([]byte("HTTP/1.1")), "none")

	postgres := func(kind byte, body string) []byte {
		return append(append([]byte{kind}, binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))...), body...)
	}
	want(t, "PostgreSQL", readPostgreSQL(postgres('R', "\x00\x00\x00\x0aSCRAM-SHA-256\x00\x00")), "postgresql|PostgreSQL|")
	want(t, "PostgreSQL that trusts", readPostgreSQL(append(postgres('R', "\x00\x00\x00\x00"), postgres('S', "server_version\x0013.4\x00")...)), "postgresql|PostgreSQL|13.4 no_auth")
	want(t, "PostgreSQL that has no place for us", readPostgreSQL(postgres('E', "SFATAL\x00VFATAL\x00C28000\x00Mno pg_hba.conf entry\x00\x00")), "postgresql|PostgreSQL|")
	want(t, "PostgreSQL, not", readPostgreSQL([]byte("E no idea what you mean by that, sorry")), "none")
	want(t, "PostgreSQL, nothing", readPostgreSQL(nil), "none")

	hello := readMongoDB(opMsg(1, bson("\x08isWritablePrimary\x00\x01", "\x10maxWireVersion\x00\x11\x00\x00\x00", double("ok", 1))), 1)
	if _, is := hello["maxWireVersion"]; !is || hello["ok"] != 1.0 {
		t.Errorf("MongoDB: %v", hello)
	}
	list := readMongoDB(opMsg(4, bson("\x04databases\x00"+bson("\x030\x00"+bson("\x02name\x00\x02\x00\x00\x00a\x00"), "\x031\x00"+bson()), double("ok", 1))), 4)
	if list["databases"] != 2 {
		t.Errorf("MongoDB: %v", list)
	}
	for _, b := range [][]byte{nil, []byte("HTTP/1.1 400 Bad"), opMsg(2, bson()), opMsg(1, "\xff\xff\xff\xff")} {
		if got := readMongoDB(b, 1); got != nil {
			t.Errorf("%q: %v", b, got)
		}
	}

	s := &schemas.Service{Product: "Redis"}
	readRedis(s, []byte("$100\r\n# Server\r\nredis_version:7.0.15\r\nos:Linux 6.1.0 x86_64\r\n\r\n"))
	if want(t, "Redis", s, "|Redis|7.0.15 no_auth"); s.OS != "Linux 6.1.0 x86_64" {
		t.Errorf("Redis on %q", s.OS)
	}
	s = &schemas.Service{Product: "Redis"}
	readRedis(s, []byte("-NOPERM this user has no permissions to run the 'info' command\r\n"))
	want(t, "Redis that lets nobody ask", s, "|Redis|")
	s = &schemas.Service{Product: "Redis"}
	readRedis(s, []byte("redis_version:7.2.4\r\nvalkey_version:8.0.1\r\n"))
	want(t, "Valkey", s, "|Valkey|8.0.1 no_auth")
}

// askAlone is a question and what is said to an answer.
func answerTo(port int, answer func(sent []byte) []byte) *schemas.Service {
	q := questions[port](&Target{Host: "192.0.2.1", Port: port})
	return q.read(answer(q.send))
}

func TestAnswersOverUDP(t *testing.T) {
	fixed := func(text string) func([]byte) []byte { return func([]byte) []byte { return []byte(text) } }
	for port := range questions {
		want(t, fmt.Sprint(port, " something else"), answerTo(port, fixed("what?")), "none")
		want(t, fmt.Sprint(port, " nothing"), answerTo(port, fixed("")), "none")
		if port != 5353 { // which is asked like any DNS server
			want(t, fmt.Sprint(port, " its own words"), answerTo(port, func(sent []byte) []byte { return sent }), "none")
		}
	}
	want(t, "DNS", answerTo(53, func(sent []byte) []byte {
		m := new(dns.Msg)
		if err := m.Unpack(sent); err != nil {
			t.Fatal(err)
		}
		m.Response = true
		m.Answer = []dns.RR{&dns.TXT{Hdr: dns.RR_Header{Name: "version.bind.", Rrtype: dns.TypeTXT, Class: dns.ClassCHAOS}, Txt: []string{"dnsmasq-2.90"}}}
		b, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}), "domain|dnsmasq|2.90")
	want(t, "TFTP", answerTo(69, fixed("\x00\x05\x00\x01File not found\x00")), "tftp||")
	want(t, "NTP", answerTo(123, func(sent []byte) []byte {
		b := make([]byte, 48)
		b[0], b[1] = 4<<3|4, 2
		copy(b[24:], sent[40:])
		return b
	}), "ntp||")
	want(t, "NTP for another", answerTo(123, func([]byte) []byte { b := make([]byte, 48); b[0], b[24] = 4<<3|4, 1; return b }), "none")
	if s := answerTo(137, func(sent []byte) []byte {
		b := append([]byte{sent[0], sent[1], 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0, 32}, sent[13:45]...)
		b = append(b, 0, 0, 0x21, 0, 1, 0, 0, 0, 0, 0, 47, 2)
		b = append(b, "SERVER1        \x00\x04\x00"...)
		return append(b, "WORKGROUP      \x00\x84\x00"...)
	}); s == nil || s.Name != "netbios-ns" || s.Banner != "name SERVER1, group WORKGROUP" {
		t.Errorf("NetBIOS: %+v", s)
	}
	if s := answerTo(161, func(sent []byte) []byte {
		var m snmpMessage
		if rest, err := asn1.Unmarshal(sent, &m); err != nil || len(rest) > 0 || m.Version != 3 || m.Global.Flags[0] != 4 {
			t.Fatalf("our question: %+v, %v", m, err)
		}
		security, err := asn1.Marshal(snmpSecurity{Engine: []byte("\x80\x00\x63\xa2\x03abcdef"), Boots: 3, Time: 100, User: []byte{}, Auth: []byte{}, Crypt: []byte{}})
		if err != nil {
			t.Fatal(err)
		}
		m.Security = security
		m.Global.Flags = []byte{0}
		b, err := asn1.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}); s == nil || said(s) != "snmp|H3C|" || s.Banner != "SNMPv3 engine 800063a203616263646566, 3 boots, up 100 s" {
		t.Errorf("SNMP: %+v", s)
	}
	want(t, "IKE", answerTo(500, func(sent []byte) []byte {
		if int(binary.BigEndian.Uint32(sent[24:])) != len(sent) || int(binary.BigEndian.Uint16(sent[30:])) != len(sent)-28 {
			t.Errorf("our question's lengths: %x", sent)
		}
		return append(append(append([]byte{}, sent[:8]...), "responde"...), 11, 0x10, 5, 0, 0, 0, 0, 0, 0, 0, 0, 28)
	}), "isakmp||")
	want(t, "SSDP", answerTo(1900, fixed("HTTP/1.1 200 OK\r\nCACHE-CONTROL: max-age=120\r\nSERVER: Linux/5.10 UPnP/1.0 MiniUPnPd/2.2.1\r\n\r\n")), "ssdp|MiniUPnPd|2.2.1")
	want(t, "SIP", answerTo(5060, fixed("SIP/2.0 200 OK\r\nServer: Asterisk PBX 18.10.0\r\n\r\n")), "sip|Asterisk PBX|18.10.0")
	want(t, "CoAP", answerTo(5683, func(sent []byte) []byte { return []byte{0x70, 0, sent[2], sent[3]} }), "coap||")
	want(t, "memcached", answerTo(11211, func(sent []byte) []byte {
		return append([]byte{sent[0], sent[1], 0, 0, 0, 1, 0, 0}, "VERSION 1.4.15\r\n"...)
	}), "memcache|memcached|1.4.15 no_auth")
	m := new(dns.Msg)
	m.Response = true
	m.Answer = []dns.RR{&dns.PTR{Hdr: dns.RR_Header{Name: "_services._dns-sd._udp.local.", Rrtype: dns.TypePTR, Class: dns.ClassINET}, Ptr: "_ipp._tcp.local."}}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	if s := answerTo(5353, func([]byte) []byte { return b }); s == nil || s.Name != "mdns" || s.Banner != "_ipp._tcp" {
		t.Errorf("mDNS: %+v", s)
	}
}

// One datagram is sent, an answer of any kind is an open port, silence is none.
func TestUDP(t *testing.T) {
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	got := make(chan int, 100)
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := server.ReadFrom(buf)
			if err != nil {
				close(got)
				return
			}
			got <- n
			if buf[0] != 0 { // TFTP's question begins with 0
				_, _ = server.WriteTo([]byte("no\x1b idea"), from)
			}
		}
	}()
	dial := func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", server.LocalAddr().String())
	}
	s, err := UDP(t.Context(), Target{Host: "127.0.0.1", Port: 1900, Dial: dial}, time.Second)
	if err != nil || s == nil || s.Name != "" || s.Banner != "no. idea" {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err = UDP(t.Context(), Target{Host: "127.0.0.1", Port: 69, Dial: dial}, 200*time.Millisecond); s != nil || err != nil {
		t.Errorf("silence: %+v, %v", s, err)
	}
	if s, err = UDP(t.Context(), Target{Host: "127.0.0.1", Port: 9999, Dial: dial}, time.Second); s != nil || err != nil {
		t.Errorf("no question: %+v, %v", s, err)
	}
	_ = server.Close()
	n := 0
	for range got {
		n++
	}
	if n != 2 {
		t.Errorf("%d datagrams", n)
	}
}

// Mail and file servers, before TLS: what they offer is taken or noted.
func TestUpgrades(t *testing.T) {
	f := func(service, script string, begun bool, plain string) {
		t.Helper()
		client, server := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			defer func() { _ = server.Close() }()
			buf := make([]byte, 512)
			for i, turn := range strings.Split(script, "|") {
				if i > 0 {
					if _, err := server.Read(buf); err != nil {
						return
					}
				}
				if _, err := io.WriteString(server, turn); err != nil {
					return
				}
			}
		}()
		_ = client.SetDeadline(time.Now().Add(5 * time.Second))
		gotBegun, gotPlain := upgrades[service](talk(client))
		_ = client.Close()
		<-done
		if gotBegun != begun || !strings.HasPrefix(gotPlain, plain) || plain == "" && gotPlain != "" {
			t.Errorf("%s %q: %v %q, want %v %q", service, script, gotBegun, gotPlain, begun, plain)
		}
	}
	f("ftp", "220-Welcome\r\n220 here\r\n|234 Proceed\r\n", true, "")
	f("ftp", "220 here\r\n|530 Please login with USER and PASS.\r\n", false, "FTP without TLS")
	f("ftp", "220 here\r\n|421 busy\r\n", false, "")
	f("smtp", "220 x ESMTP\r\n|250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n|220 go\r\n", true, "")
	f("smtp", "220 x ESMTP\r\n|250-x\r\n250-STARTTLS\r\n250 AUTH PLAIN\r\n|454 not now\r\n", false, "")
	f("smtp", "220 x ESMTP\r\n|250-x\r\n250 AUTH LOGIN PLAIN\r\n", false, "SMTP offers AUTH")
	f("smtp", "220 x ESMTP\r\n|250 x\r\n", false, "")
	f("pop3", "+OK\r\n|+OK\r\nSTLS\r\nUSER\r\n.\r\n|+OK\r\n", true, "")
	f("pop3", "+OK\r\n|+OK\r\nUSER\r\n.\r\n", false, "POP3")
	f("pop3", "+OK\r\n|-ERR\r\n", false, "POP3")
	f("imap", "* OK ready\r\n|* CAPABILITY IMAP4rev1 STARTTLS LOGINDISABLED\r\na OK\r\n|b OK\r\n", true, "")
	f("imap", "* OK ready\r\n|* CAPABILITY IMAP4rev1\r\na OK\r\n", false, "IMAP allows LOGIN")
	f("imap", "* OK ready\r\n|* CAPABILITY IMAP4rev1 LOGINDISABLED\r\na OK\r\n", false, "")
	f("imap", "* OK", false, "")
	f("smtp", strings.Repeat("220-x\r\n", 10_000), false, "")
}

func TestScreens(t *testing.T) {
	f := func(ways, evidence string) {
		t.Helper()
		s := &schemas.Service{Name: "rfb"}
		readScreen(s, []byte(ways))
		want(t, ways, s, evidence)
	}
	f("\x02", "rfb||")
	f("\x02\x01", "rfb|| no_auth")
	f("", "rfb||")
}

func TestSystems(t *testing.T) {
	for text, want := range map[string]string{
		"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3": "Debian 12", "SSH-2.0-OpenSSH_8.9p1 Ubuntu-3ubuntu0.10": "Ubuntu",
		"Apache/2.4.6 (CentOS) OpenSSL/1.0.2k-fips": "CentOS", "Apache/2.4.57 (Win64)": "Windows", "Microsoft-IIS/10.0": "Windows",
		"9.18.24-1~deb12u1-Debian": "Debian 12", "nginx/1.22.1": "", "SSH-2.0-OpenSSH_for_Windows_8.1": "Windows", "": "",
	} {
		if got := systemOf(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestWhatTheLibraryFound(t *testing.T) {
	f := func(protocol, version, raw, want string) {
		t.Helper()
		s := readFound(&plugins.Service{Protocol: protocol, Version: version, Raw: []byte(raw)})
		if got := said(s) + "|" + s.OS; got != want {
			t.Errorf("%s: %s, want %s", protocol, got, want)
		}
	}
	f("rdp", "", `{"fingerprint":"Windows Server 2016 or 2019","osVersion":"10.0.17763"}`, "ms-wbt-server|||Windows Server 2016 or 2019")
	f("smb", "10.0.17763", `{"osVersion":"10.0.17763"}`, "microsoft-ds|||Windows 10.0.17763")
	f("smb", "0.0.0", `{"osVersion":"0.0.0"}`, "microsoft-ds|||")
	f("mssql", "15.0.2000", `{}`, "ms-sql-s|Microsoft SQL Server|15.0.2000|")
	f("oracle", "", `{"info":"map[ERROR_CODE:1189 Oracle TNS Listener Version:19.0.0.0.0 VSNNUM:318767104]"}`, "oracle-tns|Oracle TNS Listener|19.0.0.0.0|")
	f("rtsp", "", `{"serverInfo":"GStreamer/1.20 RTSP"}`, "rtsp|GStreamer|1.20|")
	f("ldap", "", `{}`, "ldap|||")
	f("ldap", "", `not json`, "ldap|||")
}

// Every reader of answers takes whatever comes.
func FuzzAnswers(f *testing.F) {
	for _, seed := range []string{"VERSION 1.6\r\n", "\x20\x02\x00\x00", "Zookeeper version: 3.4", "AMQP\x00\x00\x09\x01", "SIP/2.0 200 OK\r\n", string(opMsg(1, bson("\x10a\x00\x01\x00\x00\x00"))), string(amqpStart(long("product", "x")))} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		all := []*schemas.Service{
			readMemcached(b), readZooKeeper(b), readAMQP(b), readMQTT(b), readX11(b), readPostgreSQL(b), readTFTP(b), readSSDP(b), readSIP(b), readMDNS(b),
			readSNMP(b, 1), readNetBIOS(b, []byte{0, 0}), readNTP(b, make([]byte, 8)), readIKE(b, make([]byte, 8)),
		}
		readRedis(&schemas.Service{}, b)
		readMQTTVersion(&schemas.Service{}, b)
		readMongoDB(b, 1)
		readBSON(b)
		for port, ask := range questions {
			if s := ask(&Target{Host: "::1", Port: port}).read(b); s != nil {
				all = append(all, s)
			}
		}
		for _, s := range all {
			if s != nil && (s.Name == "" || len(s.Banner) > maxBanner || len(s.Product) > maxBanner || len(s.Version) > maxBanner) {
				t.Fatalf("%+v", s)
			}
		}
		client, server := net.Pipe()
		go func() {
			_, _ = server.Write(b)
			_ = server.Close()
		}()
		_, _ = talk(client).say("", coded) // it must end
		_ = client.Close()
	})
}
