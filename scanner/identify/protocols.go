package identify

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"html"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/net/html/charset"

	"fengsui/schemas"
)

const (
	userAgent = "Mozilla/5.0 (compatible; Fengsui)"
	maxBody   = 64 << 10
	maxTitle  = 256 // characters
	maxNames  = 100 // of a certificate
)

// tlsConfig takes whatever a server offers: the certificate is looked at, not
// trusted, and an old cipher is a finding, not a reason to see nothing.
var tlsConfig = func() *tls.Config {
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10} //nolint:gosec // see above
	for _, s := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		c.CipherSuites = append(c.CipherSuites, s.ID)
	}
	return c
}()

// tryTLS makes a handshake and then looks at what is inside.
func tryTLS(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		inner := tls.Client(c, tlsConfig)
		if inner.HandshakeContext(ctx) != nil {
			return
		}
		s = insideTLS(inner, t)
		s.TLS = certificate(inner.ConnectionState())
	})
	return s, silent, err
}

// insideTLS identifies what speaks inside TLS.
func insideTLS(c *tls.Conn, t *target) *schemas.Service {
	named := map[string]string{"ftp": "ftps", "smtp": "submissions", "pop3": "pop3s", "imap": "imaps", "telnet": "telnets"}
	if hint := hints[t.port]; hint == "tls" && t.port != 443 && t.port != 4443 && t.port != 8443 && t.port != 9443 {
		_ = c.SetDeadline(time.Now().Add(probeWait))
		if s := bannerService(readSome(c), t.port); s != nil {
			if n := named[s.Name]; n != "" {
				s.Name = n
			}
			return s
		}
		// A connection that timed out is of no more use; the port's own name must do.
		return &schemas.Service{Name: cmp.Or(map[int]string{636: "ldaps", 853: "domain-s"}[t.port], "ssl")}
	}
	_ = c.SetDeadline(time.Now().Add(probeWait))
	if s := askHTTP(c, t.host); s != nil {
		s.Name = "https"
		return s
	}
	return &schemas.Service{Name: "ssl"}
}

func certificate(state tls.ConnectionState) *schemas.TLS {
	out := &schemas.TLS{
		Version: strings.Replace(tls.VersionName(state.Version), "TLS ", "TLSv", 1),
		Cipher:  tls.CipherSuiteName(state.CipherSuite),
	}
	if len(state.PeerCertificates) == 0 {
		return out
	}
	cert := state.PeerCertificates[0]
	sum := sha256.Sum256(cert.Raw)
	out.Subject = Printable([]byte(cert.Subject.String()))
	out.Issuer = Printable([]byte(cert.Issuer.String()))
	out.NotBefore, out.NotAfter = cert.NotBefore.UTC(), cert.NotAfter.UTC()
	out.SHA256 = hex.EncodeToString(sum[:])
	for _, name := range cert.DNSNames {
		out.Names = append(out.Names, Printable([]byte(strings.ToLower(name))))
	}
	for _, ip := range cert.IPAddresses {
		out.Names = append(out.Names, ip.String())
	}
	out.Names = out.Names[:min(len(out.Names), maxNames)]
	return out
}

func tryHTTP(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s = askHTTP(c, t.host)
	})
	return s, silent, err
}

// askHTTP asks for the first page. nil is no HTTP.
func askHTTP(c net.Conn, host string) *schemas.Service {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	request := "GET / HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: " + userAgent +
		"\r\nAccept: text/html,*/*;q=0.5\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return nil
	}
	in := bufio.NewReader(bounded(c))
	if start, err := in.Peek(5); err != nil || string(start) != "HTTP/" {
		return nil
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return &schemas.Service{Name: "http"} // it began like HTTP
	}
	defer func() { _ = resp.Body.Close() }()
	// Half a page is still a page: what was read until the error is looked at.
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	s := &schemas.Service{Name: "http", HTTP: &schemas.HTTP{
		Status: resp.StatusCode,
		Title:  title(body, resp.Header.Get("Content-Type")),
		Server: Printable([]byte(resp.Header.Get("Server"))),
	}}
	s.Product, s.Version = product(s.HTTP.Server)
	return s
}

// product cuts a Server header: "nginx/1.22.1 (Debian)" is nginx 1.22.1.
func product(server string) (name, version string) {
	first, _, _ := strings.Cut(server, " ")
	name, version, _ = strings.Cut(first, "/")
	return name, version
}

var titleTag = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// title is a page's title as UTF-8, whatever it was written in.
func title(body []byte, contentType string) string {
	if r, err := charset.NewReader(bytes.NewReader(body), contentType); err == nil {
		if decoded, err := io.ReadAll(io.LimitReader(r, 4*maxBody)); err == nil {
			body = decoded
		}
	}
	m := titleTag.FindSubmatch(body)
	if m == nil {
		return ""
	}
	text := strings.Join(strings.Fields(html.UnescapeString(string(m[1]))), " ")
	if r := []rune(text); len(r) > maxTitle {
		text = string(r[:maxTitle])
	}
	return Printable([]byte(text))
}

var redisVersion = regexp.MustCompile(`(?m)^(redis|valkey)_version:([\w.-]+)`)

// tryRedis sends PING, and INFO where that is allowed: neither changes anything.
func tryRedis(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		line := func(b []byte) bool { return bytes.IndexByte(b, '\n') >= 0 }
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
		info := exchange(c, []byte("INFO server\r\n"), redisVersion.Match)
		for _, m := range redisVersion.FindAllSubmatch(info, -1) {
			s.Version = string(m[2])
			if string(m[1]) == "valkey" {
				s.Product = "Valkey"
			}
		}
	})
	return s, silent, err
}

// tryDNS asks for the root's name servers without recursion, which every DNS
// server answers somehow, and for its version, as administrators do.
func tryDNS(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		root := new(dns.Msg)
		root.SetQuestion(".", dns.TypeNS)
		root.RecursionDesired = false
		if askDNS(c, root) == nil {
			return
		}
		s = &schemas.Service{Name: "domain"}
		version := new(dns.Msg)
		version.SetQuestion("version.bind.", dns.TypeTXT)
		version.Question[0].Qclass = dns.ClassCHAOS
		version.RecursionDesired = false
		reply := askDNS(c, version)
		if reply == nil || len(reply.Answer) == 0 {
			return
		}
		if txt, ok := reply.Answer[0].(*dns.TXT); ok {
			s.Banner = Printable([]byte(strings.Join(txt.Txt, "")))
			s.Product, s.Version = dnsProduct(s.Banner)
		}
	})
	return s, silent, err
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
	reply := new(dns.Msg)
	if reply.Unpack(got[2:2+int(binary.BigEndian.Uint16(got))]) != nil || !reply.Response || reply.Id != question.Id {
		return nil
	}
	return reply
}
