package parse

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

func parseNginxAccess(ev *schemas.Event, line string) error {
	ev.SetString(schemas.FieldEventModule, "nginx")
	ev.SetString(schemas.FieldEventDataset, "nginx.access")
	if strings.HasPrefix(line, "{") {
		return accessJSON(ev, line)
	}
	return accessLine(ev, line)
}

func parseApacheAccess(ev *schemas.Event, line string) error {
	ev.SetString(schemas.FieldEventModule, "apache")
	ev.SetString(schemas.FieldEventDataset, "apache.access")
	if strings.HasPrefix(line, "{") {
		return accessJSON(ev, line)
	}
	return accessLine(ev, line)
}

var (
	errNoTime    = errors.New(`no "[time]" after the client`)
	errNoRequest = errors.New("no quoted request")
	errNoClient  = errors.New("no client before the time")
)

// accessTime finds the "[10/Oct/2026:13:55:36 +0800]" of an access line. A user
// name may hold a bracket, so it is the first that looks like a time.
func accessTime(s string) int {
	for i := 0; ; i++ {
		j := strings.IndexByte(s[i:], '[')
		if j < 0 || i+j+22 > len(s) {
			return -1
		}
		i += j
		if t := s[i+1:]; t[2] == '/' && t[6] == '/' && t[11] == ':' {
			return i
		}
	}
}

// looksAccess says that a line has an access line's shape.
func looksAccess(s string) bool { return accessTime(s) > 0 }

// accessLine reads NCSA common, combined and vhost_combined: [host[:port] ]client
// ident user [time] "request" status bytes[ "referrer" "agent"[ anything]].
func accessLine(ev *schemas.Event, s string) error {
	at := accessTime(s)
	if at < 0 {
		return errNoTime
	}
	if err := accessClient(ev, strings.TrimRight(s[:at], " ")); err != nil {
		return err
	}
	end := strings.IndexByte(s[at:], ']')
	if end < 0 {
		return errNoTime
	}
	if err := setAccessTime(ev, s[at+1:at+end]); err != nil {
		return err
	}
	rest := strings.TrimLeft(s[at+end+1:], " ")
	request, n := quotedText(rest)
	if n == 0 {
		return errNoRequest
	}
	rest = strings.TrimLeft(rest[n:], " ")
	status, rest := word(rest)
	bytes, rest := word(rest)
	if status != "-" && !setWhole(ev, schemas.FieldHTTPResponseStatusCode, status) {
		return fmt.Errorf("status %q is not a number", clip(status))
	}
	setWhole(ev, schemas.FieldHTTPResponseBodyBytes, bytes)
	setRequest(ev, request)
	if referrer, n := quotedText(rest); n > 0 {
		setLogged(ev, schemas.FieldHTTPRequestReferrer, referrer)
		rest = strings.TrimLeft(rest[n:], " ")
		if agent, n := quotedText(rest); n > 0 {
			setLogged(ev, schemas.FieldUserAgentOriginal, agent)
			rest = strings.TrimLeft(rest[n:], " ")
		}
	}
	if forwarded, n := quotedText(rest); n == len(rest) && n > 0 { // nginx's "main" format
		if forwarded != "-" {
			label(ev, "labels.x_forwarded_for", forwarded)
		}
	} else {
		label(ev, "labels.extra", rest)
	}
	setAccess(ev)
	return nil
}

// accessClient reads "[host[:port] ]client ident user", where the client may be
// what proxies say of it: "203.0.113.9, 198.51.100.1". Of those the last alone was
// not written by somebody before.
func accessClient(ev *schemas.Event, s string) error {
	first, rest := word(s)
	if strings.HasSuffix(first, ",") {
		for strings.HasSuffix(first, ",") {
			first, rest = word(rest)
		}
		label(ev, "labels.x_forwarded_for", strings.TrimSpace(s[:len(s)-len(rest)]))
	}
	second, user := word(rest)
	if _, after := word(user); after != "" { // four words or more: a virtual host, or a user with spaces
		if _, isIP := canonicalIP(first); !isIP || second != "-" {
			host, port := splitHostPort(first)
			setHost(ev, host, port)
			first, user = second, after
		}
	}
	if first == "" || user == "" {
		return errNoClient
	}
	setSource(ev, first)
	setLogged(ev, schemas.FieldUserName, user)
	return nil
}

func setHost(ev *schemas.Event, host, port string) {
	if host == "" || host == "-" || host == "_" {
		return
	}
	ev.SetString(schemas.FieldURLDomain, domain(host))
	setWhole(ev, schemas.FieldURLPort, port)
}

// setAccessTime reads "10/Oct/2026:13:55:36 +0800".
func setAccessTime(ev *schemas.Event, s string) error {
	t, err := accessClock(s, ev.Received.Location())
	ev.SetTime(schemas.FieldTimestamp, t)
	return err
}

// accessClock reads an access log's time; without a zone it is in loc.
func accessClock(s string, loc *time.Location) (time.Time, error) {
	c := civil{}
	ok, digits := false, 0
	if len(s) >= 20 {
		var year int64
		year, digits = number(s[7:11])
		c.day, ok = two(s, 0)
		c.month, c.year = month(s[3:6]), int(year)
	}
	if !ok || digits != 4 || s[11] != ':' || c.clock(s[12:]) == 0 {
		return time.Time{}, fmt.Errorf("time %q cannot be read", clip(s))
	}
	offset, n, err := zone(strings.TrimLeft(s[20:], " "))
	var t time.Time
	switch {
	case err != nil:
	case n > 0:
		t, err = c.in(offset)
	default:
		t, err = c.local(loc)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("time %q: %w", clip(s), err)
	}
	return t, nil
}

// quotedText reads a quoted text at the start of s, in which Apache and nginx
// escape a quote as \" or \x22. It gives the text unescaped where that is valid
// UTF-8, and as logged where it is not. n is 0 when there is none.
func quotedText(s string) (text string, n int) {
	if s == "" || s[0] != '"' {
		return "", 0
	}
	if i := strings.IndexByte(s[1:], '"'); i >= 0 && strings.IndexByte(s[1:1+i], '\\') < 0 { // as nearly always
		return s[1 : 1+i], i + 2
	}
	escaped := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			escaped = true
			i++
		case '"':
			if !escaped {
				return s[1:i], i + 1
			}
			return unescapeLog(s[1:i]), i + 1
		}
	}
	return "", 0
}

// unescapeLog opens \", \\, \n, \t, \r and \xHH.
func unescapeLog(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, c)
		case c == 'n':
			b = append(b, '\n')
		case c == 't':
			b = append(b, '\t')
		case c == 'r':
			b = append(b, '\r')
		case c == 'x' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, '\\', c)
		}
	}
	if !utf8.Valid(b) {
		return s
	}
	return string(b)
}

func isHex(c byte) bool { return isDigit(c) || (c|0x20)-'a' <= 5 }

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return (c | 0x20) - 'a' + 10
}

// setLogged sets a field unless it was logged as "-".
func setLogged(ev *schemas.Event, id schemas.FieldID, s string) {
	if s != "-" {
		ev.SetString(id, s)
	}
}

// setRequest reads "GET /path?query HTTP/1.1". What is no request line, such as
// the first bytes of TLS sent to a plain port, is kept in url.original.
func setRequest(ev *schemas.Event, s string) {
	if s == "" || s == "-" {
		return
	}
	method, rest := word(s)
	if !isMethod(method) || rest == "" {
		ev.SetString(schemas.FieldURLOriginal, s)
		ev.SetString(schemas.FieldEventReason, "malformed request line")
		return
	}
	ev.SetString(schemas.FieldHTTPRequestMethod, method)
	if target, version, ok := cutLast(rest, " HTTP/"); ok {
		rest = target
		ev.SetString(schemas.FieldHTTPVersion, version)
	}
	setURL(ev, rest, method == "CONNECT")
}

func isMethod(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if (s[i]|0x20)-'a' > 25 && s[i] != '-' && s[i] != '_' {
			return false
		}
	}
	return true
}

// setURL splits a request's target: an absolute path, a whole URL (to a proxy),
// or host:port (CONNECT). A host found here outweighs the virtual host.
func setURL(ev *schemas.Event, target string, connect bool) {
	ev.SetString(schemas.FieldURLOriginal, target)
	path := target
	if connect {
		setHost2(ev, target)
		return
	}
	if scheme, rest, ok := strings.Cut(target, "://"); ok && isMethod(scheme) {
		ev.SetString(schemas.FieldURLScheme, lower(scheme))
		ev.SetString(schemas.FieldURLFull, target)
		i := strings.IndexAny(rest, "/?#")
		if i < 0 {
			i = len(rest)
		}
		setHost2(ev, rest[:i][strings.LastIndexByte(rest[:i], '@')+1:])
		path = rest[i:]
	}
	if i := strings.IndexByte(path, '#'); i >= 0 {
		path = path[:i]
	}
	path, query, _ := strings.Cut(path, "?")
	ev.SetString(schemas.FieldURLPath, path)
	ev.SetString(schemas.FieldURLExtension, extension(path))
	ev.SetString(schemas.FieldURLQuery, query)
}

// maxExtension bounds an extension, in bytes: what is longer is a name with a dot.
const maxExtension = 16

// extension is that of a path's last part, without its dot.
func extension(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	i := strings.LastIndexByte(name, '.')
	if i < 1 || len(name)-i-1 > maxExtension { // .htaccess has none
		return ""
	}
	return name[i+1:]
}

func setHost2(ev *schemas.Event, hostPort string) {
	host, port := splitHostPort(hostPort)
	setHost(ev, host, port)
}

// setAccess says what kind of event an access line is.
func setAccess(ev *schemas.Event) {
	w := what{"web", "access", "http_request", "success"}
	if code := ev.Get(schemas.FieldHTTPResponseStatusCode); !code.IsNone() && code.Int() >= 400 {
		w.outcome = "failure"
	}
	w.set(ev)
	ev.SetString(schemas.FieldNetworkProtocol, "http")
}
