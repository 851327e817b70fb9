package match

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"fengsui/internal/suffix"
)

// A function makes of a field's text another, which is what a test then looks
// at: Sigma's time modifiers, and those of hand-written conditions. It looks at
// nothing but the text, so whatever is known of a field's value and a test holds
// of the value and the test of a function of it. A text that the function has
// nothing to say of (no time, no name) meets no test.

type function uint8

const (
	asIs function = iota
	fnMinute
	fnHour
	fnDay
	fnWeekday
	fnWeek
	fnMonth
	fnYear
	fnLength
	fnEntropy
	fnDomain
)

// fnNames are the names of the functions in programs and hand-written
// conditions.
var fnNames = [...]string{
	fnMinute: "minute", fnHour: "hour", fnDay: "day", fnWeekday: "weekday", fnWeek: "week", fnMonth: "month", fnYear: "year",
	fnLength: "length", fnEntropy: "entropy", fnDomain: "registered_domain",
}

func (f function) String() string { return fnNames[f] }

// lookupFunction finds a function by its name.
func lookupFunction(name string) (function, bool) {
	i := slices.Index(fnNames[:], name)
	return function(max(i, 0)), i > 0 //nolint:gosec // ten functions
}

// ofTime says that the function reads a time.
func (f function) ofTime() bool { return fnMinute <= f && f <= fnYear }

// numbers are the least and the greatest of what a function makes; no limits are
// for texts.
func (f function) numbers() (least, most float64) {
	switch f {
	case fnMinute:
		return 0, 59
	case fnHour:
		return 0, 23
	case fnDay:
		return 1, 31
	case fnWeekday:
		return 1, 7
	case fnWeek: // of ISO 8601, where some years have 53
		return 1, 53
	case fnMonth:
		return 1, 12
	case fnYear:
		return 1, 9999
	case fnLength:
		return 0, maxRecord
	case fnEntropy:
		return 0, 8
	}
	return 0, 0
}

// maxRecord is the longest record, in bytes.
const maxRecord = 1 << 20

// check says whether the function can make such a text.
func (f function) check(want string) error {
	least, most := f.numbers()
	if most == 0 {
		return nil
	}
	x, err := strconv.ParseFloat(want, 64)
	if err != nil || !(least <= x && x <= most) || f != fnEntropy && x != math.Trunc(x) {
		return fmt.Errorf("%s is a number from %v to %v, and never %q", f, least, most, want)
	}
	return nil
}

// sameForm writes a number that check let pass as the function makes it: 8 for 08.
func (f function) sameForm(want string) string {
	if _, most := f.numbers(); most == 0 {
		return want
	}
	x, err := strconv.ParseFloat(want, 64)
	if err != nil { // cannot happen: check reads it, too
		return want
	}
	if x == math.Trunc(x) {
		return strconv.FormatInt(int64(x), 10)
	}
	return strconv.FormatFloat(x, 'g', -1, 64)
}

// appendOf appends what the function makes of the text, and says whether it
// makes anything of it. Times are in the zone given.
func (f function) appendOf(dst []byte, text string, zone *time.Location) ([]byte, bool) {
	switch f {
	case fnLength:
		return strconv.AppendInt(dst, int64(utf8.RuneCountInString(text)), 10), true
	case fnEntropy:
		return strconv.AppendFloat(dst, math.Round(entropy(text)*1e4)/1e4, 'g', -1, 64), true
	case fnDomain:
		domain, ok := suffix.Registered(text)
		return append(dst, domain...), ok
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return dst, false
	}
	return strconv.AppendInt(dst, int64(f.ofDate(t.In(zone))), 10), true
}

func (f function) ofDate(t time.Time) int {
	switch f {
	case fnMinute:
		return t.Minute()
	case fnHour:
		return t.Hour()
	case fnDay:
		return t.Day()
	case fnWeekday: // ISO 8601: Monday is 1
		return int(t.Weekday()+6)%7 + 1
	case fnWeek:
		_, week := t.ISOWeek()
		return week
	case fnMonth:
		return int(t.Month())
	}
	return t.Year()
}

// entropy is Shannon's, in bits a byte: 0 for a text of one letter again and
// again, 8 at most. Letters of both cases differ.
func entropy(text string) float64 {
	var counts [256]int
	for i := range len(text) {
		counts[text[i]]++
	}
	sum := 0.0
	for _, n := range counts {
		if n > 0 {
			sum += float64(n) * math.Log2(float64(n))
		}
	}
	if len(text) == 0 {
		return 0
	}
	return max(0, math.Log2(float64(len(text)))-sum/float64(len(text)))
}
