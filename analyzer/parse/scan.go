package parse

import (
	"net/netip"
	"strings"

	"fengsui/schemas"
)

// word cuts s at its first space and drops the spaces after it.
func word(s string) (first, rest string) {
	i := indexByte(s, ' ')
	if i < 0 {
		return s, ""
	}
	return s[:i], noSpaces(s[i+1:])
}

// indexByte is strings.IndexByte for what is mostly a few bytes away, or short.
func indexByte(s string, c byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] == c {
			return i
		}
	}
	return -1
}

// noSpaces is s without the spaces that it begins with: strings.TrimLeft for what
// mostly begins with none.
func noSpaces(s string) string {
	for s != "" && s[0] == ' ' {
		s = s[1:]
	}
	return s
}

// number reads the digits that s begins with: their value and how many. More
// than 18 digits are no number.
func number(s string) (n int64, digits int) {
	for digits < len(s) && isDigit(s[digits]) {
		if digits == 18 {
			return 0, 0
		}
		n = n*10 + int64(s[digits]-'0')
		digits++
	}
	return n, digits
}

// whole reads s as a decimal number, with a sign or not.
func whole(s string) (int64, bool) {
	unsigned := strings.TrimPrefix(s, "-")
	n, d := number(unsigned)
	if d == 0 || d != len(unsigned) {
		return 0, false
	}
	if len(unsigned) < len(s) {
		n = -n
	}
	return n, true
}

func isDigit(c byte) bool { return c-'0' <= 9 }

func isAlnum(c byte) bool { return isDigit(c) || (c|0x20)-'a' <= 25 }

// setWhole sets a field to the number that s is, if it is one.
func setWhole(ev *schemas.Event, id schemas.FieldID, s string) bool {
	n, ok := whole(s)
	if ok {
		ev.SetInt(id, n)
	}
	return ok
}

// canonicalIP is the canonical form of an address, without zone: s itself where
// it is that already, so that the common case does not allocate.
func canonicalIP(s string) (string, bool) {
	if dottedQuad(s) {
		return s, true
	}
	if !mayBeIP(s) { // a refusal by netip costs an allocation
		return "", false
	}
	a, err := netip.ParseAddr(s)
	if err != nil {
		return "", false
	}
	var buf [48]byte
	text := a.Unmap().WithZone("").AppendTo(buf[:0])
	if string(text) == s {
		return s, true
	}
	return string(text), true
}

// dottedQuad says that s is an IPv4 address as it is usual, which is canonical.
func dottedQuad(s string) bool {
	if len(s) < len("0.0.0.0") || len(s) > len("255.255.255.255") {
		return false
	}
	dots, digits, n := 0, 0, 0
	for i := 0; i < len(s); i++ {
		d := s[i] - '0'
		switch {
		case d <= 9:
			if n = n*10 + int(d); n > 255 || digits == 1 && n < 10 { // a zero that leads
				return false
			}
			digits++
		case s[i] != '.' || digits == 0:
			return false
		default:
			dots, digits, n = dots+1, 0, 0
		}
	}
	return dots == 3 && digits > 0
}

// mayBeIP says that s has only what an address has, before its zone.
func mayBeIP(s string) bool {
	if len(s) < 2 || len(s) > 64 {
		return false
	}
	marks := 0
	for i := 0; i < len(s) && s[i] != '%'; i++ {
		switch c := s[i]; {
		case c == '.' || c == ':':
			marks++
		case !isHex(c):
			return false
		}
	}
	return marks > 1
}

// setIP sets a field to the canonical form of an address, if s is one.
func setIP(ev *schemas.Event, id schemas.FieldID, s string) bool {
	ip, ok := canonicalIP(s)
	if ok {
		ev.Set(id, schemas.String(ip))
	}
	return ok
}

// setSource sets the source to an address, or to the text as logged.
func setSource(ev *schemas.Event, s string) {
	if !setIP(ev, schemas.FieldSourceIP, s) {
		ev.SetString(schemas.FieldSourceAddress, s)
	}
}

// setDestination is setSource for the other end.
func setDestination(ev *schemas.Event, s string) {
	if !setIP(ev, schemas.FieldDestinationIP, s) {
		ev.SetString(schemas.FieldDestinationAddress, s)
	}
}

// lower is strings.ToLower without allocation for what is lower already.
func lower(s string) string { return strings.ToLower(s) }

// domain is a name as the catalogue keeps it: lower case, no final dot.
func domain(s string) string {
	if len(s) > 1 {
		s = strings.TrimSuffix(s, ".")
	}
	return strings.ToLower(s)
}

// splitHostPort cuts "host:port", "[v6]:port", "host" and a bare IPv6 address.
func splitHostPort(s string) (host, port string) {
	if strings.HasPrefix(s, "[") {
		if i := strings.IndexByte(s, ']'); i > 0 {
			return s[1:i], strings.TrimPrefix(s[i+1:], ":")
		}
		return s, ""
	}
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.IndexByte(s, ':') != i {
		return s, ""
	}
	if _, d := number(s[i+1:]); d == 0 || d != len(s)-i-1 {
		return s, ""
	}
	return s[:i], s[i+1:]
}

// baseName is what follows the last slash or backslash.
func baseName(path string) string {
	return path[strings.LastIndexAny(path, `/\`)+1:]
}

// clip shortens what an error quotes.
func clip(s string) string {
	const most = 60
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// what names the kind of an event in ECS's words.
type what struct{ category, kind, action, outcome string }

func (w what) set(ev *schemas.Event) {
	ev.SetString(schemas.FieldEventCategory, w.category)
	ev.SetString(schemas.FieldEventType, w.kind)
	ev.SetString(schemas.FieldEventAction, w.action)
	ev.SetString(schemas.FieldEventOutcome, w.outcome)
}

// label sets a field under labels.; name is "labels.…" so that it costs nothing.
func label(ev *schemas.Event, name, value string) {
	if value != "" {
		ev.SetOpen(name, schemas.String(value))
	}
}
