package identify

import (
	"bytes"
	"cmp"
	"context"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

// greetingWait is how long a greeting is waited for where one is usual: servers
// look for the caller's name in DNS first.
const greetingWait = 4 * time.Second

// tryBanner listens to a service that speaks first.
func tryBanner(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error) {
	wait := time.Second
	if hints[t.Port] == "banner" {
		wait = greetingWait
	}
	silent, err = t.with(ctx, wait, func(c net.Conn) {
		s = bannerService(readSome(c), t.Port)
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
	{is: regexp.MustCompile(`(?s)^.\x00\x00\x00\x0a(?:5\.5\.5-(?P<version>\d+\.\d+\.\d+)-(?P<product>MariaDB))[\x20-\x7e]*\x00`), service: "mysql"},
	{is: regexp.MustCompile(`(?s)^.\x00\x00\x00\x0a(?P<version>\d[\d.]*)(?:-(?P<product>MariaDB))?[\x20-\x7e]*\x00`), service: "mysql"},
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
		if s.Name == "mysql" {
			s.Product = cmp.Or(s.Product, "MySQL")
		}
		s.OS = systemOf(s.Banner)
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
func Printable(b []byte) string { return printable(b, maxBanner, "") }

// printable is at most most bytes long and keeps the given control characters.
func printable(b []byte, most int, keep string) string {
	if len(b) > most {
		b = b[:most]
		for i := 1; i < utf8.UTFMax && i <= len(b); i++ { // not in the middle of a character
			if utf8.RuneStart(b[len(b)-i]) && !utf8.FullRune(b[len(b)-i:]) {
				b = b[:len(b)-i]
				break
			}
		}
	}
	text := strings.ToValidUTF8(string(b), ".")
	text = strings.TrimSpace(text)
	text = strings.Map(func(r rune) rune {
		switch {
		case r < ' ' && strings.ContainsRune(keep, r):
			return r
		case r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069:
			return '.'
		}
		return r
	}, text)
	for len(text) > most { // a replacement may have lengthened it
		text = text[:len(text)-1]
	}
	return strings.ToValidUTF8(text, "")
}

// systems is how banners and headers name what they run on.
var systems = []struct {
	is   *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`\+deb(\d+)u\d`), "Debian $1"},
	{regexp.MustCompile(`~deb(\d+)u\d`), "Debian $1"},
	{regexp.MustCompile(`(?i)\bDebian\b`), "Debian"},
	{regexp.MustCompile(`(?i)\bUbuntu\b`), "Ubuntu"},
	{regexp.MustCompile(`(?i)\b(?:CentOS|Red Hat|RedHat|Fedora|Rocky|AlmaLinux|openEuler|Anolis|Kylin|FreeBSD|OpenBSD|Raspbian)\b`), "$0"},
	{regexp.MustCompile(`\bMicrosoft ESMTP\b|\bMicrosoft FTP\b|\(Win(?:32|64)\)|\bMicrosoft-IIS/|\bWin64\b|for_Windows`), "Windows"},
	{regexp.MustCompile(`\(Unix\)`), "Unix"},
	{regexp.MustCompile(`\bLinux\b`), "Linux"},
}

// systemOf is the operating system that a service names, or "".
func systemOf(text string) string {
	for _, s := range systems {
		if m := s.is.FindStringSubmatchIndex(text); m != nil {
			return string(s.is.ExpandString(nil, s.name, text, m))
		}
	}
	return ""
}
