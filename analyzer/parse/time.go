package parse

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"
)

var errNoDate = errors.New("no such date or time")

// civil is a time as written, checked for its ranges when it is made a time.
type civil struct {
	year, month, day, hour, minute, second, nano int
}

// in is the time at a fixed offset of seconds east of UTC.
func (c *civil) in(offset int) (time.Time, error) {
	if err := c.check(); err != nil {
		return time.Time{}, err
	}
	sec := days(c.year, c.month, c.day)*86400 + c.ofDay() - int64(offset)
	return time.Unix(sec, int64(c.nano)).UTC(), nil
}

// local is the time in a location.
func (c *civil) local(loc *time.Location) (time.Time, error) {
	if loc == time.UTC {
		return c.in(0)
	}
	if err := c.check(); err != nil {
		return time.Time{}, err
	}
	return time.Date(c.year, time.Month(c.month), c.day, c.hour, c.minute, c.second, c.nano, loc).UTC(), nil
}

// check accepts second 60, which a leap second has, and the years that can be
// stored: nanoseconds since 1970 end in 2262, ClickHouse's DateTime64 begins in 1900.
func (c *civil) check() error {
	if c.month < 1 || c.month > 12 || c.day < 1 || c.day > monthDays(c.year, c.month) ||
		c.hour > 23 || c.minute > 59 || c.second > 60 {
		return errNoDate
	}
	return checkYear(c.year)
}

func checkYear(year int) error {
	if year < 1900 || year > 2261 {
		return yearError(year)
	}
	return nil
}

type yearError int

func (year yearError) Error() string {
	return fmt.Sprintf("year %d cannot be stored (1900 to 2261 can)", int(year))
}

func monthDays(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// days since 1970-01-01 in the Gregorian calendar (Howard Hinnant's
// days_from_civil, for years above 0).
func days(y, m, d int) int64 {
	if m <= 2 {
		y--
		m += 12
	}
	doy := (153*(m-3)+2)/5 + d - 1
	return int64(y*365 + y/4 - y/100 + y/400 + doy - 719468)
}

// two reads two digits.
func two(s string, i int) (int, bool) {
	if i+2 > len(s) || !isDigit(s[i]) || !isDigit(s[i+1]) {
		return 0, false
	}
	return int(s[i]-'0')*10 + int(s[i+1]-'0'), true
}

// clock reads hh:mm:ss and says how many bytes that is: 8, or 0.
func (c *civil) clock(s string) int {
	if len(s) < 8 {
		return 0
	}
	const form, most, high = 0x30303a30303a3030, 0x76767f76767f7676, 0x8080808080808080
	x := eight(s) ^ form // of each byte: a digit's value, or 0 for a colon
	if (x|(x+most))&high != 0 {
		return 0
	}
	c.hour, c.minute, c.second = tens(x), tens(x>>24), tens(x>>48)
	return 8
}

// tens is the number that two digits are.
func tens(x uint64) int { return int(x&0xff)*10 + int(x>>8&0xff) } //nolint:gosec // 99 at most

// fraction reads the digits of a second's fraction; those below a nanosecond
// are dropped.
func (c *civil) fraction(s string) int {
	i, scale := 0, 100_000_000
	for i < len(s) && isDigit(s[i]) {
		c.nano += int(s[i]-'0') * scale
		scale /= 10
		i++
	}
	return i
}

// iso reads an ISO 8601 or RFC 3339 time at the start of s, with T, a space or a
// dash between date and time, dashes or slashes in the date, a fraction or none,
// and a zone (Z, +08:00, +0800, +08, or the first two behind a space) or, in loc,
// none. It says how many bytes it read; 0 means that s does not look like such a
// time at all.
func iso(s string, loc *time.Location) (t time.Time, n int, err error) {
	if len(s) < 19 || (s[4] != '-' && s[4] != '/') || s[7] != s[4] || (s[10] != 'T' && s[10] != ' ' && s[10] != 't' && s[10] != '-') {
		return t, 0, nil
	}
	century, ok := two(s, 0)
	year, okYear := two(s, 2)
	c := civil{year: 100*century + year}
	var okMonth, okDay bool
	c.month, okMonth = two(s, 5)
	c.day, okDay = two(s, 8)
	if !ok || !okYear || !okMonth || !okDay || c.clock(s[11:]) == 0 {
		return t, 0, nil
	}
	n = 19
	if n+1 < len(s) && (s[n] == '.' || s[n] == ',') && isDigit(s[n+1]) {
		n += 1 + c.fraction(s[n+1:])
	}
	offset, z, err := zoneAfter(s[n:])
	if err != nil {
		return t, n, err
	}
	if z == 0 {
		t, err = c.local(loc)
		return t, n, err
	}
	t, err = c.in(offset)
	return t, n + z, err
}

// isoNamed is iso with a zone by name behind it or not.
func isoNamed(s string, local *time.Location) (t time.Time, n int, err error) {
	t, n, err = iso(s, local)
	if n == 0 || err != nil {
		return t, n, err
	}
	loc, z := zoneWord(s[n:], local)
	if z > 0 && loc != local {
		t, _, err = iso(s, loc)
	}
	return t, n + z, err
}

// zoneAfter is zone for what follows a time; behind a space only what has the
// minutes is one, as "-05 degrees" is none.
func zoneAfter(s string) (offset, n int, err error) {
	if len(s) < 6 || s[0] != ' ' || s[1] != '+' && s[1] != '-' {
		return zone(s)
	}
	if offset, n, err = zone(s[1:]); n < 5 || n+1 < len(s) && s[n+1] != ' ' && s[n+1] != ':' {
		return 0, 0, nil
	}
	return offset, n + 1, err
}

// zone reads Z, ±hh:mm, ±hhmm or ±hh; n is 0 where there is none.
func zone(s string) (offset, n int, err error) {
	if s == "" {
		return 0, 0, nil
	}
	if s[0] == 'Z' || s[0] == 'z' {
		return 0, 1, nil
	}
	if s[0] != '+' && s[0] != '-' {
		return 0, 0, nil
	}
	h, ok := two(s, 1)
	if !ok {
		return 0, 0, nil
	}
	n = 3
	m, colon := 0, 0
	if n < len(s) && s[n] == ':' {
		colon = 1
	}
	if v, ok := two(s, n+colon); ok {
		m = v
		n += colon + 2
	}
	if h > 23 || m > 59 {
		return 0, n, errors.New("no such time zone")
	}
	offset = h*3600 + m*60
	if s[0] == '-' {
		offset = -offset
	}
	return offset, n, nil
}

// isoWhole is iso for text that must be a time and nothing else.
func isoWhole(s string, loc *time.Location) (time.Time, error) {
	t, n, err := iso(s, loc)
	switch {
	case err != nil:
		return t, fmt.Errorf("time %q: %w", clip(s), err)
	case n == 0 || n != len(s):
		return t, fmt.Errorf("time %q cannot be read", clip(s))
	}
	return t, nil
}

// month reads a three-letter English month in any case; 0 is none.
func month(s string) int {
	if len(s) < 3 {
		return 0
	}
	switch uint32(s[0]|0x20)<<16 | uint32(s[1]|0x20)<<8 | uint32(s[2]|0x20) {
	case 'j'<<16 | 'a'<<8 | 'n':
		return 1
	case 'f'<<16 | 'e'<<8 | 'b':
		return 2
	case 'm'<<16 | 'a'<<8 | 'r':
		return 3
	case 'a'<<16 | 'p'<<8 | 'r':
		return 4
	case 'm'<<16 | 'a'<<8 | 'y':
		return 5
	case 'j'<<16 | 'u'<<8 | 'n':
		return 6
	case 'j'<<16 | 'u'<<8 | 'l':
		return 7
	case 'a'<<16 | 'u'<<8 | 'g':
		return 8
	case 's'<<16 | 'e'<<8 | 'p':
		return 9
	case 'o'<<16 | 'c'<<8 | 't':
		return 10
	case 'n'<<16 | 'o'<<8 | 'v':
		return 11
	case 'd'<<16 | 'e'<<8 | 'c':
		return 12
	}
	return 0
}

// bsd reads the time of RFC 3164, "Mmm dd hh:mm:ss", and what devices make of
// it: a day of the week before it; a year before the month, after the day or at
// the end; a fraction after a dot, or after a colon where a year follows; a zone
// behind the clock. It says how many bytes it read; 0 means that s does not look
// like such a time at all.
func bsd(s string, received time.Time) (t time.Time, n int, err error) {
	var c civil
	i := c.bsdDate(s)
	if i == 0 {
		return t, 0, nil
	}
	k := c.clock(s[i:])
	if k == 0 {
		return t, 0, nil
	}
	i += k
	i += c.bsdFraction(s[i:])
	loc, k, err := c.bsdZone(s[i:], received.Location())
	if i += k; err != nil {
		return t, i, err
	}
	if y := c.bsdYear(s[i:]); y > 0 {
		if i += y; k == 0 {
			if loc, k, err = c.bsdZone(s[i:], received.Location()); err != nil {
				return t, i + k, err
			}
			i += k
		}
	}
	if c.year != 0 {
		t, err = c.local(loc)
		return t, i, err
	}
	if loc != received.Location() {
		received = received.In(loc)
	}
	t, err = c.yearBy(received)
	return t, i, err
}

// plain3164 is bsd for the time as RFC 3164 has it, followed by a word in lower case:
// what nearly all lines begin with.
func plain3164(s string, received time.Time) (t time.Time, ok bool) {
	const form = "Mmm dd hh:mm:ss h"
	if len(s) < len(form) || s[3] != ' ' || s[6] != ' ' || s[9] != ':' || s[12] != ':' || s[15] != ' ' || s[16]-'a' > 25 {
		return t, false
	}
	c := civil{month: month(s)}
	if c.day, ok = two(s, 4); !ok && s[4] == ' ' && isDigit(s[5]) {
		c.day, ok = int(s[5]-'0'), true
	}
	if !ok || c.month == 0 || c.clock(s[7:]) == 0 {
		return t, false
	}
	t, err := c.yearBy(received)
	return t, err == nil
}

// bsdDate reads what stands before the clock, with the space after it.
func (c *civil) bsdDate(s string) (n int) {
	c.month = month(s)
	if c.month == 0 && len(s) > 5 {
		if y, d := number(s[:4]); d == 4 && s[4] == ' ' { // NX-OS: 2026 Dec 10
			c.year, c.month, n = int(y), month(s[5:]), 5
		} else if s[3] == ' ' && weekday(s) {
			c.month, n = month(s[4:]), 4
		}
	}
	if c.month == 0 || len(s) < n+14 || s[n+3] != ' ' {
		return 0
	}
	n += 4
	for end := n + 2; n < end && s[n] == ' '; {
		n++
	}
	day, d := number(s[n:])
	if c.day = int(day); d == 0 || d > 2 {
		return 0
	}
	if n += d; n >= len(s) || s[n] != ' ' {
		return 0
	}
	n++
	if y, d := number(s[n:]); d == 4 && c.year == 0 && n+5 < len(s) && s[n+4] == ' ' {
		c.year = int(y)
		n += 5
	}
	return n
}

func (c *civil) bsdFraction(s string) int {
	if len(s) < 2 || !isDigit(s[1]) {
		return 0
	}
	switch s[0] {
	case '.':
		return 1 + c.fraction(s[1:])
	case ':': // H3C: hh:mm:ss:mmm yyyy
		of := *c
		if n := 1 + of.fraction(s[1:]); c.year == 0 && of.bsdYear(s[n:]) > 0 {
			*c = of
			c.year = 0
			return n
		}
	}
	return 0
}

// bsdYear reads " 2026" where no year was before: ctime's order.
func (c *civil) bsdYear(s string) int {
	if c.year != 0 || len(s) < 5 || s[0] != ' ' {
		return 0
	}
	y, d := number(s[1:])
	if d != 4 || y < 1900 || y > 2261 || len(s) > 5 && s[5] != ' ' && (s[5] != ':' || len(s) > 6 && s[6] != ' ') { // 2001:db8::7 is a host
		return 0
	}
	c.year = int(y)
	return 5
}

// bsdZone reads an offset or a zone's name behind the clock. China's own names, and
// those that mean several zones, are the device's zone, as where there is none.
func (c *civil) bsdZone(s string, local *time.Location) (loc *time.Location, n int, err error) {
	if len(s) < 2 || s[0] == ':' || s[0] == ' ' && (s[1] < 'A' || s[1] > 'Z') && s[1] != '+' && s[1] != '-' { // names begin with a capital
		return local, 0, nil // as nearly always
	}
	offset, n, err := zoneAfter(s)
	if n > 0 || err != nil {
		return fixed(offset), n, err
	}
	if loc, n = zoneWord(s, local); n > 0 {
		return loc, n, nil
	}
	return local, 0, nil
}

// zoneWord reads the name of a zone behind a blank, with an offset from it or not:
// " UTC", " CST", " UTC+8", " GMT+08:00". A name that is not known is one where a
// whole offset follows it: " Beijing+08:00".
func zoneWord(s string, local *time.Location) (loc *time.Location, n int) {
	if len(s) < 4 || s[0] != ' ' || (s[1]|0x20)-'a' > 25 {
		return local, 0
	}
	n = zoneName(s)
	name := s[1:n]
	hours, known := zoneNames[name]
	offset, d := 0, 0
	if n < len(s) && (s[n] == '+' || s[n] == '-') {
		offset, d = offsetFrom(s[n:])
	}
	end := n + d
	if end < len(s) && s[end] != ' ' && s[end] != ':' {
		return local, 0
	}
	switch {
	case known && d > 0 && hours == ownZone && (offset == 8*3600 || offset == -8*3600): // POSIX's CST-8 is China's too
		return fixed(8 * 3600), end
	case known && d > 0, !known && d == len("+08:00") && s[n] == '+':
		return fixed(offset), end
	case !known || d > 0:
		return local, 0
	case hours == ownZone:
		return local, end
	}
	return fixed(hours * 3600), end
}

// offsetFrom reads +8, +08, +0800 or +08:00, in seconds; n is 0 where it is none.
func offsetFrom(s string) (offset, n int) {
	if h, d := number(s[1:]); d == 1 {
		if offset = int(h) * 3600; s[0] == '-' {
			offset = -offset
		}
		return offset, 2
	}
	offset, n, err := zone(s)
	if err != nil || offset > 14*3600 || offset < -14*3600 {
		return 0, 0
	}
	return offset, n
}

const ownZone = 99

// zoneNames are hours east of UTC.
var zoneNames = map[string]int{
	"UTC": 0, "GMT": 0, "CST": ownZone, "BJT": ownZone, "HKT": 8, "SGT": 8, "JST": 9, "KST": 9, "MSK": 3, "CET": 1, "CEST": 2,
	"EST": -5, "EDT": -4, "PST": -8, "PDT": -7,
}

// fixed is a location by its offset in seconds; those at whole quarters of an
// hour cost nothing.
func fixed(offset int) *time.Location {
	if offset%900 == 0 && offset >= -14*3600 && offset <= 14*3600 {
		return quarters[(offset+14*3600)/900]
	}
	return time.FixedZone("", offset)
}

func weekday(s string) bool {
	switch s[:3] {
	case "Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun":
		return true
	}
	return false
}

// otherFormats are further times of syslog headers, by what they begin with.
var otherFormats = struct{ digit, han []string }{
	digit: []string{
		"%d %b %Y %H:%M:%S", "%d %b %H:%M:%S", "%Y年%m月%d日 %p%I:%M:%S", "%Y年%m月%d日 %H:%M:%S", "%Y年%m月%d日%H时%M分%S秒",
		"%Y年%m月%d日 %H时%M分%S秒", "%Y年%m月%d日%H:%M:%S", "%m月 %d %H:%M:%S", "%m月%d日 %H:%M:%S", "%m月%d %H:%M:%S", "%m/%d/%Y %H:%M:%S",
	},
	han: []string{"%B %d %H:%M:%S", "%B%d日 %H:%M:%S", "%B %d日 %H:%M:%S"},
}

// otherTime reads the rarer times that headers begin with: the day before the
// month, Chinese ones, 20261210 120000 and seconds since 1970. It says how many
// bytes it read. 0 is what is none, and what is no time that there can be: a
// number at the start of a message may mean anything.
func otherTime(s string, received time.Time) (t time.Time, n int) {
	if len(s) < 10 {
		return t, 0
	}
	formats := otherFormats.han
	if isDigit(s[0]) {
		if t, n := compactTime(s, received); n > 0 {
			return t, n
		}
		formats = otherFormats.digit
	} else if s[0] < 0xe4 || s[0] > 0xe5 { // 一, 二 … 十
		return t, 0
	}
	for _, f := range formats {
		if t, n, err := patternPrefix(f, s, received); n > 0 && err == nil {
			return t, n
		}
	}
	return t, 0
}

// compactTime reads what begins with a long number: 20261210120000, 20261210
// 12:00:00 and 20261210T120000, and seconds or milliseconds since 1970.
func compactTime(s string, received time.Time) (t time.Time, n int) {
	format := ""
	switch _, d := number(s); {
	case d == 8 && strings.HasPrefix(s[d:], "T"):
		format = "%Y%m%dT%H%M%S"
	case d == 8:
		format = "%Y%m%d %H:%M:%S"
	case d == 14:
		format = "%Y%m%d%H%M%S"
	case d == 10 || d == 13:
		first, _ := word(s)
		t, ok := timeFormat("epoch", first, received)
		if ok && len(first) < len(s) && !t.After(received.Add(maxAhead)) && t.Year() >= 2000 {
			return t, len(first)
		}
		return t, 0
	default:
		return t, 0
	}
	t, n, err := patternPrefix(format, s, received)
	if err != nil {
		return t, 0
	}
	return t, n
}

// yearBy gives a time without a year the latest year that does not put it more
// than a day after received: a line of New Year's Eve read on New Year's Day is
// last year's, a device a minute ahead at midnight is next year's, and 29
// February is the latest leap year's.
func (c *civil) yearBy(received time.Time) (time.Time, error) {
	if received.IsZero() {
		return time.Time{}, errors.New("time without a year, and when it was received is not known")
	}
	limit, loc := received.Add(maxAhead), received.Location()
	known := &dates[(uintptr(unsafe.Pointer(loc))/64+uintptr(c.day))%uintptr(len(dates))]
	if d := known.Load(); d != nil && d.in == loc && d.month == c.month && d.day == c.day && d.from <= limit.Unix() && limit.Unix() < d.to &&
		c.hour <= 23 && c.minute <= 59 && c.second <= 60 {
		return time.Unix(d.midnight+c.ofDay(), int64(c.nano)).UTC(), nil
	}
	t, err := c.latest(limit)
	if err == nil {
		if d := c.date(t, loc); d != nil {
			known.Store(d)
		}
	}
	return t, err
}

// latest is the time in the latest year in which it is not after the limit.
func (c *civil) latest(limit time.Time) (time.Time, error) {
	_, offset := limit.Zone()
	c.year = limit.Year()
	for range 9 { // between two leap years lie at most eight
		if t, err := c.near(limit.Location(), offset); err == nil && !t.After(limit) {
			return t, nil
		}
		c.year--
	}
	return time.Time{}, errNoDate
}

// ofDay is the seconds since midnight.
func (c *civil) ofDay() int64 { return int64(c.hour*3600 + c.minute*60 + c.second) }

// date is what a date without a year means in a location, for limits from from to
// before to: most lines' date is that of others. midnight is its begin, from and to
// are times as well, in seconds since 1970.
type date struct {
	in                 *time.Location
	month, day         int
	midnight, from, to int64
}

// dates are those last met. One takes another's place.
var dates [32]atomic.Pointer[date]

// date is the date of t, which c says, or nil where clocks are changed about then.
func (c *civil) date(t time.Time, loc *time.Location) *date {
	const day = 86400
	d := &date{in: loc, month: c.month, day: c.day, midnight: t.Unix() - c.ofDay()}
	begin, end := t.In(loc).ZoneBounds()
	if !begin.IsZero() && begin.Unix() > d.midnight-day || !end.IsZero() && end.Unix() < d.midnight+2*day {
		return nil
	}
	d.from, d.to = d.midnight+day+1, d.midnight+364*day // the whole day, a leap second too, and no other year's
	return d
}

// near is local where the location's offset is known for another time: it is mostly
// the same.
func (c *civil) near(loc *time.Location, offset int) (time.Time, error) {
	t, err := c.in(offset)
	if err != nil {
		return t, err
	}
	if _, there := t.In(loc).Zone(); there == offset {
		return t, nil
	}
	return c.local(loc)
}

// epoch reads decimal seconds since 1970, with a fraction or none, rounded to
// microseconds.
func epoch(s string) (time.Time, error) {
	us, ok := micros(s)
	if !ok {
		return time.Time{}, fmt.Errorf("time %q cannot be read", clip(s))
	}
	t := time.UnixMicro(us).UTC()
	return t, checkYear(t.Year())
}

// micros reads decimal seconds as microseconds, rounded half up. It accepts an
// exponent the way JSON writes small numbers.
func micros(s string) (int64, bool) {
	text, negative := strings.CutPrefix(s, "-")
	n, d := number(text)
	if d == 0 || d > 12 {
		return 0, false
	}
	n *= 1_000_000
	rest := text[d:]
	if strings.HasPrefix(rest, ".") {
		rest = rest[1:]
		scale := int64(100_000)
		i := 0
		for ; i < len(rest) && isDigit(rest[i]); i++ {
			if i < 6 {
				n += int64(rest[i]-'0') * scale
				scale /= 10
			} else if i == 6 && rest[i] >= '5' {
				n++
			}
		}
		if i == 0 {
			return 0, false
		}
		rest = rest[i:]
	}
	if rest != "" {
		return microsExponent(s)
	}
	if negative {
		n = -n
	}
	return n, true
}

// microsExponent reads what micros does not: numbers with an exponent.
func microsExponent(s string) (int64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.Abs(f) > 1e12 || math.IsNaN(f) {
		return 0, false
	}
	return int64(math.Round(f * 1e6)), true
}

// float reads a finite decimal number.
func float(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}
