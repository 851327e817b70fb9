package parse

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

var errNoDate = errors.New("no such date or time")

// civil is a time as written, checked for its ranges when it is made a time.
type civil struct {
	year, month, day, hour, minute, second, nano int
}

// in is the time at a fixed offset of seconds east of UTC.
func (c civil) in(offset int) (time.Time, error) {
	if err := c.check(); err != nil {
		return time.Time{}, err
	}
	sec := days(c.year, c.month, c.day)*86400 + int64(c.hour*3600+c.minute*60+c.second-offset)
	return time.Unix(sec, int64(c.nano)).UTC(), nil
}

// local is the time in a location.
func (c civil) local(loc *time.Location) (time.Time, error) {
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
func (c civil) check() error {
	if c.month < 1 || c.month > 12 || c.day < 1 || c.day > monthDays(c.year, c.month) ||
		c.hour > 23 || c.minute > 59 || c.second > 60 {
		return errNoDate
	}
	return checkYear(c.year)
}

func checkYear(year int) error {
	if year < 1900 || year > 2261 {
		return fmt.Errorf("year %d cannot be stored (1900 to 2261 can)", year)
	}
	return nil
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
	}
	era := y / 400
	yoe := y - era*400
	doy := (153*((m+9)%12)+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
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
	if len(s) < 8 || s[2] != ':' || s[5] != ':' {
		return 0
	}
	var ok [3]bool
	c.hour, ok[0] = two(s, 0)
	c.minute, ok[1] = two(s, 3)
	c.second, ok[2] = two(s, 6)
	if !ok[0] || !ok[1] || !ok[2] {
		return 0
	}
	return 8
}

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

// iso reads an ISO 8601 or RFC 3339 time at the start of s, with T or a space
// between date and time, dashes or slashes in the date, a fraction or none, and
// a zone (Z, +08:00, +0800, +08) or, in loc, none. It says how many bytes it
// read; 0 means that s does not look like such a time at all.
func iso(s string, loc *time.Location) (t time.Time, n int, err error) {
	if len(s) < 19 || (s[4] != '-' && s[4] != '/') || s[7] != s[4] || (s[10] != 'T' && s[10] != ' ' && s[10] != 't') {
		return t, 0, nil
	}
	y, digits := number(s[:4])
	if digits != 4 {
		return t, 0, nil
	}
	c := civil{year: int(y)}
	var okMonth, okDay bool
	c.month, okMonth = two(s, 5)
	c.day, okDay = two(s, 8)
	if !okMonth || !okDay || c.clock(s[11:]) == 0 {
		return t, 0, nil
	}
	n = 19
	if n+1 < len(s) && (s[n] == '.' || s[n] == ',') && isDigit(s[n+1]) {
		n += 1 + c.fraction(s[n+1:])
	}
	offset, z, err := zone(s[n:])
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

// month reads a three-letter English month; 0 is none.
func month(s string) int {
	if len(s) < 3 {
		return 0
	}
	switch s[:3] {
	case "Jan":
		return 1
	case "Feb":
		return 2
	case "Mar":
		return 3
	case "Apr":
		return 4
	case "May":
		return 5
	case "Jun":
		return 6
	case "Jul":
		return 7
	case "Aug":
		return 8
	case "Sep":
		return 9
	case "Oct":
		return 10
	case "Nov":
		return 11
	case "Dec":
		return 12
	}
	return 0
}

// bsd reads the time of RFC 3164, "Mmm dd hh:mm:ss", and what devices make of
// it: a year before the month, after the day or at the end, a fraction after a
// dot, or after a colon where a year follows. It says how many bytes it read; 0
// means that s does not look like such a time at all.
func bsd(s string, received time.Time) (t time.Time, n int, err error) {
	c, i := civil{month: month(s)}, 0
	if y, d := number(s[:min(len(s), 4)]); d == 4 && len(s) > 5 && s[4] == ' ' { // NX-OS: 2026 Dec 10
		c.year, c.month, i = int(y), month(s[5:]), 5
	}
	if c.month == 0 || len(s) < i+14 || s[i+3] != ' ' {
		return t, 0, nil
	}
	i += 4
	for n := i + 2; i < n && s[i] == ' '; {
		i++
	}
	day, d := number(s[i:])
	if d == 0 || d > 2 {
		return t, 0, nil
	}
	c.day = int(day)
	if i += d; i >= len(s) || s[i] != ' ' {
		return t, 0, nil
	}
	i++
	if y, d := number(s[i:]); d == 4 && c.year == 0 && i+5 < len(s) && s[i+4] == ' ' {
		c.year = int(y)
		i += 5
	}
	k := c.clock(s[i:])
	if k == 0 {
		return t, 0, nil
	}
	i += k
	if i+1 < len(s) && s[i] == '.' && isDigit(s[i+1]) {
		i += 1 + c.fraction(s[i+1:])
	} else if i+4 < len(s) && s[i] == ':' && isDigit(s[i+1]) { // H3C: hh:mm:ss:mmm yyyy
		frac := c
		if f := frac.fraction(s[i+1:]); i+1+f < len(s) && s[i+1+f] == ' ' {
			if y, d := number(s[i+2+f:]); d == 4 {
				c = frac
				c.year = int(y)
				i += 6 + f
			}
		}
	}
	if c.year == 0 && i+5 <= len(s) && s[i] == ' ' { // a year at the end: ctime's order
		if y, d := number(s[i+1:]); d == 4 && y >= 1900 && y <= 2261 && (i+5 == len(s) || s[i+5] == ' ' || s[i+5] == ':') {
			c.year = int(y)
			i += 5
		}
	}
	if c.year != 0 {
		t, err = c.local(received.Location())
		return t, i, err
	}
	t, err = c.yearBy(received)
	return t, i, err
}

// yearBy gives a time without a year the latest year that does not put it more
// than a day after received: a line of New Year's Eve read on New Year's Day is
// last year's, a device a minute ahead at midnight is next year's, and 29
// February is the latest leap year's.
func (c civil) yearBy(received time.Time) (time.Time, error) {
	if received.IsZero() {
		return time.Time{}, errors.New("time without a year, and when it was received is not known")
	}
	limit := received.Add(maxAhead)
	c.year = limit.Year()
	for range 9 { // between two leap years lie at most eight
		if t, err := c.local(received.Location()); err == nil && !t.After(limit) {
			return t, nil
		}
		c.year--
	}
	return time.Time{}, errNoDate
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
