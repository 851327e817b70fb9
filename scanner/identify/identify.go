// Package identify says what answers on an open TCP port: the service's name,
// product and version, its banner, its certificate, its page's title.
//
// It makes no connection itself: whoever calls it dials, and so decides where to.
// It sends only what an ordinary client sends first, never a password, follows no
// redirect, and reads a bounded amount for a bounded time.
package identify

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

const (
	maxBanner   = 512
	maxRead     = 80 << 10 // of one answer: a page of 64 KiB and its header
	probeWait   = 2 * time.Second
	maxDuration = 10 * time.Second // for one port, all probes together
	// enoughSilence is after how many protocols without a byte of answer no more
	// are tried: whatever speaks, answers a greeting, TLS or HTTP, if with an error.
	enoughSilence = 3
)

// Dial makes one more connection to the port.
type Dial func(ctx context.Context) (net.Conn, error)

// probe tries one protocol on a fresh connection. A nil service is "not this";
// silent says that the other side said nothing at all.
type probe struct {
	name string
	try  func(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error)
}

type target struct {
	host string // as HTTP's Host
	port int
	dial Dial
}

var probes = []probe{
	{"banner", tryBanner},
	{"tls", tryTLS},
	{"http", tryHTTP},
	{"redis", tryRedis},
	{"dns", tryDNS},
}

// hints is the protocol to try first on a usual port. On others the side that
// speaks first is let speak first.
var hints = map[int]string{
	53: "dns", 6379: "redis", 6380: "redis",
	80: "http", 81: "http", 591: "http", 3000: "http", 5000: "http", 7001: "http", 8000: "http", 8001: "http", 8008: "http",
	8080: "http", 8081: "http", 8088: "http", 8888: "http", 9000: "http", 9090: "http", 9200: "http",
	443: "tls", 465: "tls", 636: "tls", 853: "tls", 990: "tls", 993: "tls", 995: "tls", 4443: "tls", 8443: "tls", 9443: "tls",
}

// Service finds out what listens on a port of a host; host is an address, for
// HTTP's Host. nil is an open port that tells nothing. The error is of the
// dialling: ctx's, or a connection that could not be made any more.
func Service(ctx context.Context, host string, port int, dial Dial) (*schemas.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	t := &target{host: host, port: port, dial: dial}
	order := slices.Clone(probes)
	if hint := hints[port]; hint != "" {
		slices.SortStableFunc(order, func(a, b probe) int { return btoi(b.name == hint) - btoi(a.name == hint) })
	}
	allSilent := true
	for i, p := range order {
		if allSilent && i >= enoughSilence && p.name != hints[port] {
			break // it says nothing to anybody
		}
		s, silent, err := p.try(ctx, t)
		if s != nil {
			return s, nil
		}
		if err != nil {
			return nil, timedOut(ctx, err)
		}
		allSilent = allSilent && silent
	}
	s, err := tryLibrary(ctx, t, allSilent)
	return s, timedOut(ctx, err)
}

// timedOut makes the end of our own time for a port no error: it is simply not
// identified.
func timedOut(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// with dials, and closes the connection after f, or when ctx ends. silent says
// that the other side neither said anything nor hung up.
func (t *target) with(ctx context.Context, wait time.Duration, f func(net.Conn)) (silent bool, err error) {
	conn, err := t.dial(ctx)
	if err != nil {
		return true, err
	}
	heard := &listener{Conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	_ = conn.SetDeadline(time.Now().Add(wait)) // fails only on a closed connection, as f will
	f(heard)
	return !heard.anything, nil
}

// listener notes whether the other side does anything.
type listener struct {
	net.Conn
	anything bool
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	var timeout net.Error
	l.anything = l.anything || n > 0 || err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
	return n, err
}

// tryBanner listens to a service that speaks first.
func tryBanner(ctx context.Context, t *target) (s *schemas.Service, silent bool, err error) {
	silent, err = t.with(ctx, time.Second, func(c net.Conn) {
		s = bannerService(readSome(c), t.port)
	})
	return s, silent, err
}

// readSome reads what comes first, up to a line's end or a pause.
func readSome(c net.Conn) []byte {
	buf := make([]byte, 2*maxBanner)
	n := 0
	for end := time.Now().Add(time.Second); n < len(buf) && time.Now().Before(end); {
		m, err := c.Read(buf[n:])
		n += m
		if err != nil || bytes.IndexByte(buf[:n], '\n') >= 0 {
			break
		}
		_ = c.SetReadDeadline(time.Now().Add(200 * time.Millisecond)) // the rest of it, if there is one
	}
	return buf[:n]
}

var banners = []struct {
	is      *regexp.Regexp // product and version are its named groups
	service string
	ports   []int // where the pattern alone does not tell
}{
	{is: regexp.MustCompile(`^SSH-[\d.]+-(?P<product>[^\s_-]+)(?:[_-](?P<version>\S+))?`), service: "ssh"},
	{is: regexp.MustCompile(`(?i)^220[ -].*?(?:(?P<product>vsFTPd|ProFTPD|Pure-FTPd|FileZilla Server|Microsoft FTP)\)?[ ]?(?P<version>[\d.]*\w*)|\bFTP\b)`), service: "ftp"},
	{is: regexp.MustCompile(`(?i)^220[ -]\S+ E?SMTP(?: (?P<product>Postfix|Exim|Sendmail|[A-Za-z]+)(?: (?P<version>\d[\w.]*))?)?`), service: "smtp"},
	{is: regexp.MustCompile(`^220[ -]`), service: "smtp", ports: []int{25, 465, 587, 2525}},
	{is: regexp.MustCompile(`^220[ -]`), service: "ftp", ports: []int{21, 990, 2121}},
	{is: regexp.MustCompile(`^\+OK(?: (?P<product>Dovecot))?`), service: "pop3"},
	{is: regexp.MustCompile(`^\* (?:OK|PREAUTH|BYE)(?:.*(?P<product>Dovecot|Courier|Cyrus))?`), service: "imap"},
	{is: regexp.MustCompile(`^RFB (?P<version>\d{3}\.\d{3})`), service: "rfb"},
	{is: regexp.MustCompile(`(?s)^.\x00\x00\x00\x0a(?P<version>[0-9][\x20-\x7e]*)\x00`), service: "mysql"},
	{is: regexp.MustCompile(`(?s)^.\x00\x00\x00\xff.{2}.*(?P<product>MySQL|MariaDB)`), service: "mysql"},
	{is: regexp.MustCompile(`^@RSYNCD: (?P<version>[\d.]+)`), service: "rsync"},
	{is: regexp.MustCompile(`(?s)^\xff[\xfb-\xfe]`), service: "telnet"},
}

// bannerService is the service that greets so; without a name if none is known;
// nil for no greeting.
func bannerService(first []byte, port int) *schemas.Service {
	if len(first) == 0 {
		return nil
	}
	s := &schemas.Service{Banner: Printable(first)}
	// Patterns see bytes as Latin-1, so that any byte is one character.
	text := latin1(first)
	for _, b := range banners {
		if b.ports != nil && !slices.Contains(b.ports, port) {
			continue
		}
		m := b.is.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		s.Name = b.service
		s.Product = group(b.is, m, "product")
		s.Version = group(b.is, m, "version")
		if s.Name == "mysql" && s.Product == "" {
			s.Product = "MySQL"
			if strings.Contains(s.Version, "MariaDB") {
				s.Product = "MariaDB"
			}
		}
		return s
	}
	return s
}

func group(re *regexp.Regexp, m []string, name string) string {
	if i := re.SubexpIndex(name); i >= 0 {
		return Printable([]byte(m[i]))
	}
	return ""
}

func latin1(b []byte) string {
	r := make([]rune, len(b))
	for i, c := range b {
		r[i] = rune(c)
	}
	return string(r)
}

// Printable is bytes from the network as text that may be shown and stored:
// valid UTF-8, control characters as dots, at most 512 bytes.
func Printable(b []byte) string {
	if len(b) > maxBanner {
		b = b[:maxBanner]
		for i := 1; i < utf8.UTFMax; i++ { // not in the middle of a character
			if utf8.RuneStart(b[len(b)-i]) && !utf8.FullRune(b[len(b)-i:]) {
				b = b[:len(b)-i]
				break
			}
		}
	}
	text := strings.ToValidUTF8(string(b), ".")
	text = strings.TrimSpace(text)
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			return '.'
		}
		return r
	}, text)
	for len(text) > maxBanner { // a replacement may have lengthened it
		text = text[:len(text)-1]
	}
	return strings.ToValidUTF8(text, "")
}

// exchange sends and reads until enough, the end or the time-out.
func exchange(c net.Conn, send []byte, enough func([]byte) bool) []byte {
	if _, err := c.Write(send); err != nil {
		return nil
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < maxRead {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil || enough(got) {
			break
		}
	}
	return got
}

// bounded is a connection of which no more than maxRead is read.
func bounded(c net.Conn) io.Reader { return io.LimitReader(c, maxRead) }
