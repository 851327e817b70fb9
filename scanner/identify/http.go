package identify

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"html"
	"io"
	"math/bits"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/html/charset"
	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/schemas"
)

const (
	userAgent = "Mozilla/5.0 (compatible; Fengsui)"
	maxBody   = 64 << 10  // of a page
	maxIcon   = 256 << 10 // one that is longer has no hash: half of it would have another
	maxTitle  = 256       // characters
	maxShown  = 4 << 10   // of headers and of a page's beginning, in an observation
)

func tryHTTP(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, probeWait, func(c net.Conn) {
		s, _ = t.askHTTP(c)
	})
	if s != nil && s.HTTP != nil {
		t.web(ctx, s)
	}
	return s, silent, err
}

// page is one answer of a web server.
type page struct {
	status int
	header http.Header
	head   []byte // as it came
	body   []byte // at most as much as was asked for
	whole  bool   // nothing of the body is missing
	text   []byte // the body in UTF-8
}

// get asks for a path. Without a page and with first, the other side began with
// these bytes instead of HTTP; with neither it said nothing.
func (t *Target) get(c net.Conn, path string, most int) (p *page, first []byte) {
	request := "GET " + path + " HTTP/1.1\r\nHost: " + t.authority() + "\r\nUser-Agent: " + userAgent +
		"\r\nAccept: text/html,*/*;q=0.5\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return nil, nil
	}
	limited := io.LimitReader(c, int64(most)+maxRead-maxBody)
	var head bytes.Buffer
	in := bufio.NewReader(io.TeeReader(limited, &prefix{&head}))
	if start, err := in.Peek(5); err != nil || string(start) != "HTTP/" {
		rest, _ := in.Peek(in.Buffered())
		return nil, bytes.Clone(rest)
	}
	p = &page{}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return p, nil // it began like HTTP
	}
	defer func() { _ = resp.Body.Close() }()
	var body io.Reader = resp.Body
	if strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") { // which was not asked for
		if z, err := gzip.NewReader(body); err == nil {
			body = z
		}
	}
	// Half a page is still a page: what was read until the error is looked at.
	p.body, err = io.ReadAll(io.LimitReader(body, int64(most)+1))
	p.whole = err == nil && len(p.body) <= most
	p.body = p.body[:min(len(p.body), most)]
	p.status, p.header = resp.StatusCode, resp.Header
	p.head, _, _ = bytes.Cut(head.Bytes(), []byte("\r\n\r\n"))
	p.text = decode(p.body, resp.Header.Get("Content-Type"))
	return p, nil
}

// prefix keeps the beginning of what is written.
type prefix struct{ *bytes.Buffer }

func (p *prefix) Write(b []byte) (int, error) {
	p.Buffer.Write(b[:min(len(b), max(0, 2*maxShown-p.Len()))])
	return len(b), nil
}

// authority is the host and port that a request is for.
func (t *Target) authority() string {
	host := t.Host
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if t.Name != "" {
		host = t.Name
	}
	if t.Port == 80 || t.Port == 443 {
		return host
	}
	return host + ":" + strconv.Itoa(t.Port)
}

// askHTTP asks for the first page. nil is no HTTP; then first is what came
// instead.
func (t *Target) askHTTP(c net.Conn) (s *schemas.Service, first []byte) {
	p, first := t.get(c, "/", maxBody)
	switch {
	case p == nil:
		return nil, first
	case p.status == 0:
		return &schemas.Service{Name: "http"}, nil
	}
	if _, secure := c.(*tls.Conn); !secure && p.wantsTLS() {
		return nil, nil
	}
	t.page = p
	s = &schemas.Service{Name: "http", HTTP: &schemas.HTTP{
		Status:   p.status,
		Title:    title(p.text),
		Server:   Printable([]byte(p.header.Get("Server"))),
		Location: Printable([]byte(p.header.Get("Location"))),
		Header:   printable(p.head, maxShown, "\r\n\t"),
		Body:     shown(p.text),
	}}
	s.Product, s.Version = product(s.HTTP.Server)
	s.OS = systemOf(s.HTTP.Server)
	s.Technologies = technologies(p)
	p.api(s)
	p.exposures(s)
	return s, nil
}

// wantsTLS says that a server's only word is that HTTP must be spoken inside TLS.
func (p *page) wantsTLS() bool {
	if p.status != http.StatusBadRequest {
		return false
	}
	text := strings.ToLower(string(p.body[:min(len(p.body), 2048)]))
	return strings.Contains(text, "to an https server") || strings.Contains(text, "sent to https port") ||
		strings.Contains(text, "requires tls") || strings.Contains(text, "speaking plain http to an ssl-enabled")
}

// shown is a page's beginning in few bytes: one space for many.
func shown(text []byte) string {
	text = text[:min(len(text), 4*maxShown)]
	return printable([]byte(strings.Join(strings.Fields(strings.ToValidUTF8(string(text), ".")), " ")), maxShown, "")
}

// fetch asks for a path on a further connection, inside TLS where the service is.
func (t *Target) fetch(ctx context.Context, secure bool, path string, most int) (p *page) {
	_, _ = t.with(ctx, probeWait, func(c net.Conn) { // a connection that fails has no page
		if secure {
			inner, err := t.secure(ctx, c)
			if err != nil {
				return
			}
			_ = inner.SetDeadline(time.Now().Add(probeWait))
			c = inner
		}
		p, _ = t.get(c, path, most)
	})
	if p != nil && p.status == 0 {
		return nil
	}
	return p
}

// web asks for what the first page leads to on the same address and port: the
// page that it sends to, once, and the icon; and for what an API tells of itself.
func (t *Target) web(ctx context.Context, s *schemas.Service) {
	ctx, cancel := context.WithTimeout(ctx, maxDetails)
	defer cancel()
	secure := s.TLS != nil
	if t.askAPI(ctx, s, secure) {
		return
	}
	if path, ok := t.sameOrigin(secure, "/", s.HTTP.Location); ok && path != "/" && s.HTTP.Status >= 300 && s.HTTP.Status < 400 {
		if p := t.fetch(ctx, secure, path, maxBody); p != nil && len(p.text) > 0 {
			s.HTTP.Title, s.HTTP.Body = title(p.text), shown(p.text)
			s.Technologies = mergeTechnologies(s.Technologies, technologies(p))
			p.exposures(s)
			t.icon(ctx, s, secure, path, p.text)
			return
		}
	}
	t.icon(ctx, s, secure, "/", t.page.text)
}

// sameOrigin is the path of a reference, if it leads to the same scheme, host
// and port.
func (t *Target) sameOrigin(secure bool, at, reference string) (path string, ok bool) {
	scheme := "http"
	if secure {
		scheme = "https"
	}
	base, err := url.Parse(scheme + "://" + t.authority() + at)
	if err != nil || reference == "" || len(reference) > 2048 {
		return "", false
	}
	ref, err := url.Parse(strings.TrimSpace(reference))
	if err != nil {
		return "", false
	}
	to := base.ResolveReference(ref)
	port := to.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[to.Scheme]
	}
	host := t.Host
	if t.Name != "" && !strings.EqualFold(to.Hostname(), t.Host) {
		host = t.Name
	}
	if to.Scheme != scheme || port != strconv.Itoa(t.Port) || !strings.EqualFold(to.Hostname(), host) || to.User != nil {
		return "", false
	}
	return to.RequestURI(), true
}

var (
	linkTag = regexp.MustCompile(`(?is)<link\s[^>]*>`)
	relIcon = regexp.MustCompile(`(?is)\brel\s*=\s*["']?(?:shortcut\s+)?icon\b`)
	hrefOf  = regexp.MustCompile(`(?is)\bhref\s*=\s*(?:"([^"]+)"|'([^']+)'|([^\s>"']+))`)
)

// iconReference is where a page says that its icon is.
func iconReference(text []byte) string {
	for _, link := range linkTag.FindAll(text, 64) {
		if !relIcon.Match(link) {
			continue
		}
		if m := hrefOf.FindSubmatch(link); m != nil {
			return html.UnescapeString(string(m[1]) + string(m[2]) + string(m[3]))
		}
	}
	return ""
}

// icon fetches the page's icon and notes its hash, and what is known by it.
func (t *Target) icon(ctx context.Context, s *schemas.Service, secure bool, at string, text []byte) {
	reference := iconReference(text)
	var image []byte
	if data, ok := strings.CutPrefix(reference, "data:"); ok {
		_, encoded, _ := strings.Cut(data, ";base64,")
		image, _ = base64.StdEncoding.DecodeString(encoded) // no icon is no icon
	} else {
		path, ok := t.sameOrigin(secure, at, reference)
		if !ok {
			path = "/favicon.ico"
		}
		p := t.fetch(ctx, secure, path, maxIcon)
		if p == nil || p.status != http.StatusOK || !p.whole || strings.HasPrefix(p.header.Get("Content-Type"), "text/html") {
			return
		}
		image = p.body
	}
	if len(image) == 0 {
		return
	}
	s.HTTP.IconHash = iconHash(image)
	s.Technologies = mergeTechnologies(s.Technologies, byIcon(s.HTTP.IconHash))
}

// iconHash is an icon's hash as Shodan and FOFA write it: MurmurHash3 of 32 bits
// over its base64 in lines of 76 characters, each with its newline, as a signed
// number.
func iconHash(image []byte) string {
	encoded := base64.StdEncoding.EncodeToString(image)
	var lines strings.Builder
	for len(encoded) > 0 {
		n := min(76, len(encoded))
		lines.WriteString(encoded[:n])
		lines.WriteByte('\n')
		encoded = encoded[n:]
	}
	return strconv.Itoa(int(int32(murmur3([]byte(lines.String())))))
}

// murmur3 is MurmurHash3_x86_32 with seed 0, as Austin Appleby defined it.
func murmur3(b []byte) uint32 {
	const c1, c2 = 0xcc9e2d51, 0x1b873593
	n := uint32(len(b))
	var h uint32
	for ; len(b) >= 4; b = b[4:] {
		k := bits.RotateLeft32(binary.LittleEndian.Uint32(b)*c1, 15) * c2
		h = bits.RotateLeft32(h^k, 13)*5 + 0xe6546b64
	}
	if len(b) > 0 {
		var tail [4]byte
		copy(tail[:], b)
		h ^= bits.RotateLeft32(binary.LittleEndian.Uint32(tail[:])*c1, 15) * c2
	}
	h ^= n
	h = (h ^ h>>16) * 0x85ebca6b
	h = (h ^ h>>13) * 0xc2b2ae35
	return h ^ h>>16
}

// product cuts a Server header: "nginx/1.22.1 (Debian)" is nginx 1.22.1.
func product(server string) (name, version string) {
	first, _, _ := strings.Cut(server, " ")
	name, version, _ = strings.Cut(first, "/")
	return name, version
}

// decode is a page as UTF-8. What says nothing of its encoding and is no UTF-8
// is taken for Chinese, not for Latin.
func decode(body []byte, contentType string) []byte {
	if len(body) == 0 {
		return nil
	}
	e, _, certain := charset.DetermineEncoding(body, contentType)
	if !certain {
		if utf8.Valid(body[:len(body)-cut(body)]) {
			return body
		}
		e = simplifiedchinese.GB18030
		if m := metaCharset.FindSubmatch(body); m != nil { // beyond where browsers look for it
			if found, _ := charset.Lookup(string(m[1])); found != nil {
				e = found
			}
		}
	}
	text, err := io.ReadAll(io.LimitReader(e.NewDecoder().Reader(bytes.NewReader(body)), 4*maxBody))
	if err != nil {
		return body
	}
	return text
}

var metaCharset = regexp.MustCompile(`(?i)<meta\s[^>]{0,200}charset\s*=\s*["']?([\w-]{1,32})`)

// cut is how many bytes at the end are of a character that is not whole.
func cut(b []byte) int {
	for i := 1; i < utf8.UTFMax && i <= len(b); i++ {
		if c := b[len(b)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(b[len(b)-i:]) {
				return i
			}
			return 0
		}
	}
	return 0
}

var titleTag = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// title is a page's title.
func title(text []byte) string {
	m := titleTag.FindSubmatch(text)
	if m == nil {
		return ""
	}
	line := strings.Join(strings.Fields(html.UnescapeString(string(m[1]))), " ")
	if r := []rune(line); len(r) > maxTitle {
		line = string(r[:maxTitle])
	}
	return Printable([]byte(line))
}
