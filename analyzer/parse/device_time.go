package parse

import (
	"strconv"
	"strings"
	"time"
)

// timeFormats reads a time by the first of the formats that fits.
func timeFormats(formats []string, s string, received time.Time) (time.Time, bool) {
	for _, f := range formats {
		if t, ok := timeFormat(f, s, received); ok {
			return t, true
		}
	}
	return time.Time{}, false
}

// timeFormat reads a time by one format, in the location of received where the
// text names no zone.
func timeFormat(format, s string, received time.Time) (t time.Time, ok bool) {
	var err error
	switch format {
	case "auto":
		return autoTime(s, received)
	case "iso":
		t, err = isoWhole(s, received.Location())
	case "bsd":
		var n int
		t, n, err = bsd(s, received)
		return t, err == nil && n == len(s) && n > 0
	case "epoch", "epoch_s", "epoch_ms", "epoch_us", "epoch_ns":
		t, err = epochOf(format, s)
	default:
		return patternTime(format, s, received)
	}
	return t, err == nil
}

// epochOf reads a number of seconds, milliseconds, microseconds or nanoseconds
// since 1970, told apart by its length where the format does not say.
func epochOf(format, s string) (time.Time, error) {
	if !allDigits(s) {
		return time.Time{}, errNoDate
	}
	if strings.Contains(s, ".") {
		return epoch(s)
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, errNoDate
	}
	var t time.Time
	switch {
	case format == "epoch_ns" || format == "epoch" && len(s) > 17:
		t = time.Unix(0, n)
	case format == "epoch_us" || format == "epoch" && len(s) > 14:
		t = time.UnixMicro(n)
	case format == "epoch_ms" || format == "epoch" && len(s) > 11:
		t = time.UnixMilli(n)
	default:
		t = time.Unix(min(n, 1<<40), 0)
	}
	if sec := t.Unix(); sec < firstSecond || sec >= lastSecond {
		return t, checkYear(t.UTC().Year())
	}
	return t.UTC(), nil
}

// Those of the years that can be stored.
var firstSecond, lastSecond = days(1900, 1, 1) * 86400, days(2262, 1, 1) * 86400

func allDigits(s string) bool {
	for i := 0; i < len(s); i++ {
		if !isDigit(s[i]) && s[i] != '.' {
			return false
		}
	}
	return s != ""
}

// autoFormats are tried in turn on what is none of the common forms.
var autoFormats = []string{
	"%Y-%m-%d %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%Y.%m.%d %H:%M:%S", "%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日%H:%M:%S",
	"%Y年%m月%d日 %H时%M分%S秒", "%Y年%m月%d日%H时%M分%S秒", "%Y年%m月%d日 %p%I:%M:%S", "%Y-%m-%d %p%I:%M:%S", "%d/%b/%Y %H:%M:%S", "%b %d %Y %H:%M:%S",
	"%d %b %Y %H:%M:%S", "%Y-%m-%dT%H:%M:%S",
}

// autoTime reads the forms that devices use: ISO 8601, seconds to nanoseconds
// since 1970, RFC 3164, an access log's, 20261210120000, and Chinese ones.
func autoTime(s string, received time.Time) (time.Time, bool) {
	if allDigits(s) {
		if len(s) == 14 && (strings.HasPrefix(s, "20") || strings.HasPrefix(s, "19")) {
			return patternTime("%Y%m%d%H%M%S", s, received)
		}
		return timeFormat("epoch", s, received)
	}
	if t, n, err := iso(s, received.Location()); n == len(s) && n > 0 {
		return t, err == nil
	}
	if t, n, err := bsd(s, received); n == len(s) && n > 0 {
		return t, err == nil
	}
	for _, f := range autoFormats {
		if t, ok := patternTime(f, s, received); ok {
			return t, true
		}
	}
	return time.Time{}, false
}

// clockReader reads a time by a pattern of strftime's.
type clockReader struct {
	civil
	pm, am    bool
	zoned     bool
	noYear    bool
	offset    int // seconds east of UTC
	remaining string
}

// patternTime reads a time by a pattern. Numbers may have fewer digits than the
// pattern's; seconds may have a fraction; a zone may follow what has none in the
// pattern.
func patternTime(format, s string, received time.Time) (time.Time, bool) {
	c := clockReader{remaining: s}
	if !c.begin(format, received) {
		return time.Time{}, false
	}
	if rest := strings.TrimLeft(c.remaining, " "); rest != "" {
		offset, n, err := zone(rest)
		if n != len(rest) || err != nil {
			return time.Time{}, false
		}
		c.offset, c.zoned = offset, true
	}
	t, err := c.time(received)
	return t, err == nil
}

// patternPrefix reads a time by a pattern at the start of s and says how many
// bytes that took, with a zone right behind it; 0 where there is none.
func patternPrefix(format, s string, received time.Time) (t time.Time, n int, err error) {
	c := clockReader{remaining: s}
	if !c.begin(format, received) {
		return t, 0, nil
	}
	offset, k, err := zoneAfter(c.remaining)
	if n = len(s) - len(c.remaining) + k; err != nil {
		return t, n, err
	}
	if k > 0 {
		c.offset, c.zoned = offset, true
	}
	t, err = c.time(received)
	return t, n, err
}

// begin reads by the format; false: the text is not of it.
func (c *clockReader) begin(format string, received time.Time) bool {
	c.day, c.month, c.noYear = 1, 1, true
	return c.read(format) && (!c.noYear || !received.IsZero())
}

// time is the time that was read.
func (c *clockReader) time(received time.Time) (time.Time, error) {
	switch {
	case c.pm && c.hour < 12:
		c.hour += 12
	case c.am && c.hour == 12:
		c.hour = 0
	}
	switch {
	case c.noYear && c.zoned:
		return c.yearBy(received.In(time.FixedZone("", c.offset)))
	case c.noYear:
		return c.yearBy(received)
	case c.zoned:
		return c.in(c.offset)
	}
	return c.local(received.Location())
}

func (c *clockReader) read(format string) bool {
	for i := 0; i < len(format); i++ {
		switch b := format[i]; b {
		case ' ':
			trimmed := strings.TrimLeft(c.remaining, " ")
			if len(trimmed) == len(c.remaining) {
				return false
			}
			c.remaining = trimmed
		case '%':
			i++
			if !c.mark(format[i]) {
				return false
			}
		default:
			if c.remaining == "" || c.remaining[0] != b {
				return false
			}
			c.remaining = c.remaining[1:]
		}
	}
	return true
}

// digits reads a number of at most n digits.
func (c *clockReader) digits(n int, into *int) bool {
	s := strings.TrimPrefix(c.remaining, " ") // %e: a blank for a zero
	value, d := number(s[:min(n, len(s))])
	*into, c.remaining = int(value), s[d:]
	return d > 0
}

func (c *clockReader) mark(mark byte) bool {
	switch mark {
	case 'Y':
		c.noYear = false
		return c.digits(4, &c.year) && c.year > 999
	case 'y':
		c.noYear = false
		if !c.digits(2, &c.year) {
			return false
		}
		c.year += 2000
		if c.year > 2069 { // POSIX
			c.year -= 100
		}
		return true
	case 'm':
		return c.digits(2, &c.month)
	case 'd', 'e':
		return c.digits(2, &c.day)
	case 'H', 'I':
		return c.digits(2, &c.hour)
	case 'M':
		return c.digits(2, &c.minute)
	case 'S':
		if !c.digits(2, &c.second) {
			return false
		}
		if s := c.remaining; len(s) > 1 && (s[0] == '.' || s[0] == ',') && isDigit(s[1]) {
			c.remaining = s[1:]
			return c.mark('f')
		}
		return true
	case 'f':
		n := c.fraction(c.remaining)
		c.remaining = c.remaining[n:]
		return n > 0
	case 'b':
		c.month = month(c.remaining)
		if c.month > 0 {
			c.remaining = c.remaining[3:]
		}
		return c.month > 0
	case 'B':
		return c.hanMonth()
	case 'p':
		return c.half()
	case 'z':
		offset, n, err := zone(c.remaining)
		c.offset, c.zoned, c.remaining = offset, true, c.remaining[n:]
		return n > 0 && err == nil
	case 'Z':
		n := 0
		for n < len(c.remaining) && (isAlnum(c.remaining[n]) || c.remaining[n] == '_' || c.remaining[n] == '/') {
			n++
		}
		name := c.remaining[:n]
		if name == "UTC" || name == "GMT" {
			c.zoned = true
		}
		c.remaining = c.remaining[n:]
		return n > 0
	}
	if c.remaining == "" || c.remaining[0] != '%' {
		return false
	}
	c.remaining = c.remaining[1:]
	return true
}

// hanMonth reads 一月 to 十二月.
func (c *clockReader) hanMonth() bool {
	before, after, ok := strings.Cut(c.remaining, "月")
	if !ok || len(before) > 2*len("十") {
		return false
	}
	for i, name := range [...]string{"一", "二", "三", "四", "五", "六", "七", "八", "九", "十", "十一", "十二"} {
		if before == name {
			c.month, c.remaining = i+1, after
			return true
		}
	}
	return false
}

// half reads which half of the day it is.
func (c *clockReader) half() bool {
	for _, one := range []struct {
		text string
		pm   bool
	}{{"AM", false}, {"PM", true}, {"am", false}, {"pm", true}, {"上午", false}, {"下午", true}} {
		if rest, ok := strings.CutPrefix(c.remaining, one.text); ok {
			c.remaining, c.pm, c.am = strings.TrimLeft(rest, " "), one.pm, !one.pm
			return true
		}
	}
	return false
}

// fixedZone is a zone by what a log calls it: +0800, UTC+8, Asia/Shanghai; nil
// is what cannot be read. Zones at whole quarters of an hour cost nothing.
func fixedZone(s string) *time.Location {
	text := strings.TrimPrefix(strings.TrimPrefix(s, "UTC"), "GMT")
	if text == "" && s != "" {
		return time.UTC
	}
	if len(text) == 2 && isDigit(text[1]) { // +8
		text = text[:1] + "0" + text[1:]
	}
	offset, n, err := zone(text)
	if err == nil && n == len(text) && n > 0 && offset%900 == 0 && offset >= -14*3600 && offset <= 14*3600 {
		return fixed(offset)
	}
	return nil
}

var quarters = func() (out [14*8 + 1]*time.Location) {
	for i := range out {
		out[i] = time.FixedZone("", i*900-14*3600)
	}
	return out
}()
