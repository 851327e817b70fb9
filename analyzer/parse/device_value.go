package parse

import (
	"encoding/hex"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"fengsui/schemas"
)

// step is one key, or several joined, that become a field.
type step struct {
	keys      []int
	goal      int // number of the field within the program: the first step with a value sets it
	id        schemas.FieldID
	plain     bool // the value of one key becomes the field as it is
	quad      bool // likewise, where it is an IPv4 address as it is usual
	many      bool // the field is a list
	convert   func(s *step, r *deviceReader, text string) (schemas.Value, bool)
	table     map[string]string
	open      string // name, where the field is in an open namespace
	kind      string
	otherwise string
	separator string
	of        string // type of a list's elements
	formats   []string
	zone      *time.Location
	zoneKey   int
	unit      float64
	ends      ends
	to        string
	line      int
}

// ends are the fields of one end of traffic.
type ends struct{ ip, address, port schemas.FieldID }

func endsOf(side string) ends {
	of := func(name string) schemas.FieldID {
		f, _ := schemas.LookupField(side + name)
		return f.ID
	}
	return ends{of(".ip"), of(".address"), of(".port")}
}

// converters read a value. One that sets its fields itself returns None.
var converters = map[string]func(s *step, r *deviceReader, text string) (schemas.Value, bool){
	"text":  func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) { return schemas.String(v), true },
	"lower": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) { return schemas.String(lower(v)), true },
	"ip": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
		ip, ok := canonicalIP(v)
		return schemas.String(ip), ok
	},
	"hexip": toHexIP,
	"port": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
		n, ok := whole(v)
		return schemas.Int(n), ok && n >= 0 && n <= 65535
	},
	"int": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
		n, ok := whole(strings.TrimPrefix(v, "+"))
		return schemas.Int(n), ok
	},
	"float": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
		n, ok := float(v)
		return schemas.Float(n), ok
	},
	"bool":     toBool,
	"time":     (*step).toTime,
	"duration": (*step).toDuration,
	"bytes":    (*step).toBytes,
	"mac":      toMAC,
	"domain": func(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
		return schemas.String(domain(labelled(v))), true
	},
	"url":      toURL,
	"user":     toUser,
	"list":     nil, // the step gathers its values
	"address":  (*step).toAddress,
	"endpoint": (*step).toEndpoint,
}

// toHexIP reads an address as hexadecimal digits, 4-c0000201 (DPtech) or
// C0000201, or as it is usual.
func toHexIP(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
	if ip, ok := canonicalIP(v); ok {
		return schemas.String(ip), true
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(v, "4-"), "6-"), "0x")
	var buf [net.IPv6len]byte
	if n := len(digits); n != 2*net.IPv4len && n != 2*net.IPv6len {
		return schemas.Value{}, false
	}
	n, err := hex.Decode(buf[:], []byte(digits))
	if err != nil {
		return schemas.Value{}, false
	}
	ip, ok := netip.AddrFromSlice(buf[:n])
	return schemas.String(ip.Unmap().String()), ok
}

func toBool(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
	switch lower(v) {
	case "true", "yes", "1", "on", "y", "是":
		return schemas.Bool(true), true
	case "false", "no", "0", "off", "n", "否":
		return schemas.Bool(false), true
	}
	return schemas.Value{}, false
}

func (s *step) toTime(r *deviceReader, v string) (schemas.Value, bool) {
	received := r.ev.Received
	if s.zone != nil {
		received = received.In(s.zone)
	}
	if s.zoneKey >= 0 {
		if loc := fixedZone(r.said[s.zoneKey]); loc != nil {
			received = received.In(loc)
			r.taken[s.zoneKey] |= isUsed
		}
	}
	t, ok := timeFormats(s.formats, v, received)
	return schemas.Time(t), ok
}

// The units of durations in nanoseconds and of sizes in bytes.
var (
	durations = map[string]float64{"": 1e9, "ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9, "m": 60e9, "h": 3600e9, "d": 86400e9}
	sizes     = map[string]float64{"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "bit": 0.125}
)

// unitMarks are what stands between the parts of 1h:02m:03s and 1h 2m 3s.
var unitMarks = strings.NewReplacer(" ", "", ":", "")

// toDuration reads a number of the unit, 01:02:03, 1 day 01:02:03, 1h2m3s or 1h:02m:03s.
func (s *step) toDuration(_ *deviceReader, v string) (schemas.Value, bool) {
	if n, ok := whole(v); ok && n >= 0 {
		return scaled(float64(n), s.unit)
	}
	if n, ok := float(v); ok && n >= 0 {
		return scaled(n, s.unit)
	}
	if ns, ok := clockDuration(v); ok {
		return schemas.Int(ns), true
	}
	d, err := time.ParseDuration(unitMarks.Replace(v))
	return schemas.Int(d.Nanoseconds()), err == nil && d >= 0
}

func scaled(n, unit float64) (schemas.Value, bool) {
	n *= unit
	return schemas.Int(int64(n)), n < 1<<62
}

// clockDuration reads hours:minutes:seconds or minutes:seconds, with days and a
// fraction or without.
func clockDuration(v string) (ns int64, ok bool) {
	days := int64(0)
	if n, d := number(v); d > 0 && d < 6 {
		rest := strings.TrimLeft(v[d:], " ")
		for _, word := range []string{"days", "day", "d", "天"} {
			if after, ok := strings.CutPrefix(rest, word); ok {
				days, v = n, strings.TrimLeft(after, ", ")
				break
			}
		}
	}
	parts, total := 0, int64(0)
	for {
		n, d := number(v)
		if d == 0 || d > 9 {
			return 0, false
		}
		total, parts, v = total*60+n, parts+1, v[d:]
		rest, more := strings.CutPrefix(v, ":")
		if !more {
			break
		}
		v = rest
	}
	fraction := int64(0)
	if rest, ok := strings.CutPrefix(v, "."); ok {
		var c civil
		v = rest[c.fraction(rest):]
		fraction = int64(c.nano)
	}
	if v != "" || parts < 2 || parts > 3 || total > 1e9 {
		return 0, false
	}
	return (days*86400+total)*1e9 + fraction, true
}

// toBytes reads a number of the unit, or one with a unit of its own: 1.5 MB.
func (s *step) toBytes(_ *deviceReader, v string) (schemas.Value, bool) {
	if n, ok := whole(v); ok && s.unit == 1 {
		return schemas.Int(n), n >= 0
	}
	number := strings.TrimRight(v, "BKMGTbytesi ")
	unit := s.unit
	if name := strings.TrimSpace(v[len(number):]); name != "" {
		at := strings.IndexByte("KMGT", strings.ToUpper(name)[0])
		if at < 0 && strings.ToUpper(name)[0] != 'B' {
			return schemas.Value{}, false
		}
		unit = float64(uint64(1) << (10 * (at + 1)))
	}
	n, ok := float(number)
	if !ok || n < 0 {
		return schemas.Value{}, false
	}
	return scaled(n, unit)
}

// toMAC writes a MAC address as the catalogue has it: 00:00:5e:00:53:01.
func toMAC(_ *step, _ *deviceReader, v string) (schemas.Value, bool) {
	if len(v) == 17 && v[2] == ':' && strings.Count(v, ":") == 5 && hexOnly(v, ":") == 12 {
		return schemas.String(lower(v)), true
	}
	if len(v) > 17 || hexOnly(v, "-.:") != 12 {
		return schemas.Value{}, false
	}
	b := make([]byte, 0, 17)
	for i := range len(v) {
		if !isHex(v[i]) {
			continue
		}
		if len(b)%3 == 2 {
			b = append(b, ':')
		}
		b = append(b, v[i])
	}
	return schemas.String(lower(string(b))), true
}

// hexOnly counts the hexadecimal digits of what has only those and marks.
func hexOnly(v, marks string) (n int) {
	for i := range len(v) {
		switch {
		case isHex(v[i]):
			n++
		case strings.IndexByte(marks, v[i]) < 0:
			return -1
		}
	}
	return n
}

// labelled reads a name as Windows's DNS server writes it, each label after its
// length: (3)www(7)example(3)com(0). Another one stays as it is.
func labelled(v string) string {
	if !strings.HasPrefix(v, "(") {
		return v
	}
	b := make([]byte, 0, len(v))
	for rest := v; rest != ""; {
		n, d := number(rest[1:])
		end := 2 + d + int(n)
		if rest[0] != '(' || d == 0 || d > 2 || end > len(rest) || rest[1+d] != ')' {
			return v
		}
		if n > 0 && len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, rest[2+d:end]...)
		rest = rest[end:]
	}
	return string(b)
}

// toURL sets the parts of a URL, which may lack its scheme.
func toURL(s *step, r *deviceReader, v string) (schemas.Value, bool) {
	if s.id != schemas.FieldURLOriginal && s.id != schemas.FieldURLFull {
		return schemas.String(v), true
	}
	if strings.Contains(v, "://") || v[0] == '/' {
		setURL(r.ev, v, false)
		return schemas.Value{}, true
	}
	host := v
	if i := strings.IndexAny(v, "/?#"); i >= 0 {
		host = v[:i]
	}
	setURL(r.ev, v[len(host):], false)
	setHost2(r.ev, host)
	return schemas.String(v), true
}

// toUser cuts the domain from DOMAIN\user; user@domain is one name.
func toUser(s *step, r *deviceReader, v string) (schemas.Value, bool) {
	where, name, ok := strings.Cut(v, `\`)
	if !ok || name == "" || where == "" {
		return schemas.String(v), true
	}
	switch s.id {
	case schemas.FieldUserName:
		r.ev.SetString(schemas.FieldUserDomain, where)
	case schemas.FieldUserTargetName:
		r.ev.SetString(schemas.FieldUserTargetDomain, where)
	}
	return schemas.String(name), true
}

// toAddress sets the address, or the text where it is none.
func (s *step) toAddress(r *deviceReader, v string) (schemas.Value, bool) {
	if !setIP(r.ev, s.ends.ip, v) {
		r.ev.SetString(s.ends.address, v)
	}
	return schemas.Value{}, true
}

// toEndpoint reads address:port, [address]:port, address/port, address(port) and
// address#port.
func (s *step) toEndpoint(r *deviceReader, v string) (schemas.Value, bool) {
	host, port := splitHostPort(v)
	if port == "" {
		if i := strings.IndexAny(v, "/(#@"); i > 0 {
			host, port = v[:i], strings.TrimSuffix(v[i+1:], ")")
		}
	}
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		r.ev.SetInt(s.ends.port, int64(n)) //nolint:gosec // 16 bits
	} else if port != "" {
		return schemas.Value{}, false
	}
	return s.toAddress(r, host)
}

// mapped is the text after the step's table.
func (s *step) mapped(v string) string {
	if s.table == nil {
		return v
	}
	if to, ok := s.table[v]; ok {
		return to
	}
	if s.otherwise != "" {
		return s.otherwise
	}
	return v
}
