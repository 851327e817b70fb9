// Package hours is when something may be done: hours of the day, on some days of
// the week, in China's time. It reads no clock.
package hours

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Zone is the time in which hours are meant: China has had one, without summer
// time, since 1991.
var Zone = time.FixedZone("Asia/Shanghai", 8*60*60)

const (
	week = 7 * 24 * 60 // minutes

	maxText  = 256
	maxSpans = 32
)

// Hours is a set of minutes of the week. The zero value is always.
type Hours struct {
	open []span // in order, disjoint and not touching, within the week; nil: always
	text string
}

// span is from a minute of the week, which begins on Monday, until before another.
type span struct{ from, until int }

var days = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

const chinese = "一二三四五六日"

// Parse reads hours such as "22:00-06:00", "mon-fri 22:00-06:00; sat,sun" or
// "周一至周五 22:00-06:00；周六、周日": parts after each other, each with days, hours of
// the day or both. Hours that end before they begin end on the next day; without
// hours it is the whole day, without days every day. Nothing is always.
func Parse(text string) (Hours, error) {
	h := Hours{}
	if len(text) > maxText {
		return h, fmt.Errorf("hours of more than %d bytes", maxText)
	}
	text = strings.ToLower(strings.NewReplacer("；", ";", "，", ",", "、", ",", "：", ":", "－", "-", "—", "-", "–", "-", "至", "-", "到", "-",
		"星期", "周", "礼拜", "周", "周天", "周日").Replace(text))
	if strings.TrimSpace(text) == "" {
		return h, nil
	}
	var spans []span
	var written []string
	for part := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		some, canonical, err := parsePart(part)
		if err != nil {
			return Hours{}, err
		}
		if written = append(written, canonical); len(written) > maxSpans {
			return Hours{}, fmt.Errorf("hours of more than %d parts", maxSpans)
		}
		spans = append(spans, some...)
	}
	if len(written) == 0 {
		return Hours{}, fmt.Errorf("hours %q say nothing", text)
	}
	h.open, h.text = union(spans), strings.Join(written, "; ")
	return h, nil
}

// parsePart reads days, hours or both.
func parsePart(part string) (spans []span, canonical string, err error) {
	var on [7]bool
	from, until, timed, dayed := 0, 24*60, false, false
	for _, word := range strings.Fields(part) {
		switch {
		case strings.Contains(word, ":"):
			if timed {
				return nil, "", fmt.Errorf("hours %q: two times of the day; write a semicolon between parts", strings.TrimSpace(part))
			}
			timed = true
			if from, until, err = parseTimes(word); err != nil {
				return nil, "", err
			}
		default:
			dayed = true
			if err := parseDays(word, &on); err != nil {
				return nil, "", err
			}
		}
	}
	length := until - from
	if length <= 0 {
		length += 24 * 60
	}
	var named []string
	for day, is := range on {
		if !is && dayed {
			continue
		}
		named = append(named, days[day])
		begin := day*24*60 + from
		if end := begin + length; end <= week {
			spans = append(spans, span{begin, end})
		} else { // over the end of Sunday
			spans = append(spans, span{begin, week}, span{0, end - week})
		}
	}
	if dayed {
		canonical = strings.Join(named, ",")
	}
	if timed {
		canonical = strings.TrimSpace(canonical + " " + clock(from) + "-" + clock(until))
	}
	return spans, canonical, nil
}

func clock(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }

func parseTimes(word string) (from, until int, err error) {
	a, b, ok := strings.Cut(word, "-")
	if !ok {
		return 0, 0, fmt.Errorf("hours %q are not like 22:00-06:00", word)
	}
	if from, err = minute(a); err != nil {
		return 0, 0, err
	}
	if until, err = minute(b); err != nil {
		return 0, 0, err
	}
	if from == until || from == 24*60 {
		return 0, 0, fmt.Errorf("hours %q begin where they end", word)
	}
	if until == 0 {
		until = 24 * 60
	}
	return from, until, nil
}

func minute(s string) (int, error) {
	hour, rest, ok := strings.Cut(s, ":")
	h, errHour := strconv.Atoi(hour)
	m, errMinute := strconv.Atoi(rest)
	if !ok || errHour != nil || errMinute != nil || len(hour) > 2 || len(rest) != 2 || hour[0] == '+' || rest[0] == '+' ||
		h < 0 || m < 0 || m > 59 || h*60+m > 24*60 {
		return 0, fmt.Errorf("time of the day %q is not 00:00 to 24:00", s)
	}
	return h*60 + m, nil
}

func parseDays(word string, on *[7]bool) error {
	for list := range strings.SplitSeq(word, ",") {
		if list == "" {
			continue
		}
		a, b, isRange := strings.Cut(list, "-")
		first, err := day(a)
		if err != nil {
			return err
		}
		last := first
		if isRange {
			if last, err = day(b); err != nil {
				return err
			}
		}
		for d := first; ; d = (d + 1) % 7 {
			on[d] = true
			if d == last {
				break
			}
		}
	}
	return nil
}

func day(s string) (int, error) {
	if d := slices.Index(days, s); d >= 0 {
		return d, nil
	}
	if short := strings.TrimPrefix(s, "周"); short != "" {
		if at := strings.Index(chinese, short); at >= 0 && len(short) == 3 && at%3 == 0 {
			return at / 3, nil
		}
	}
	return 0, fmt.Errorf("day %q is none of mon, tue, wed, thu, fri, sat, sun (周一 to 周日)", s)
}

// union sorts spans and joins those that touch; nil when they are the whole week.
func union(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.from - b.from })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && s.from <= out[n-1].until {
			out[n-1].until = max(out[n-1].until, s.until)
			continue
		}
		out = append(out, s)
	}
	if len(out) == 1 && out[0] == (span{0, week}) {
		return nil
	}
	return out
}

// String is the hours in their one form.
func (h Hours) String() string { return h.text }

// Always says that there is no bound.
func (h Hours) Always() bool { return h.open == nil }

// Open says whether t is within the hours.
func (h Hours) Open(t time.Time) bool {
	if h.open == nil {
		return true
	}
	at := minuteOfWeek(t)
	return slices.ContainsFunc(h.open, func(s span) bool { return s.from <= at && at < s.until })
}

// Until is when hours that are open at t end; zero when they never do, or are
// not open.
func (h Hours) Until(t time.Time) time.Time {
	if h.open == nil || !h.Open(t) {
		return time.Time{}
	}
	return h.change(t, func(s span) int { return s.until }, func(t time.Time) bool { return !h.Open(t) })
}

// Next is the first moment from t on at which the hours are open.
func (h Hours) Next(t time.Time) time.Time {
	if h.Open(t) {
		return t
	}
	return h.change(t, func(s span) int { return s.from }, h.Open)
}

// change is the first edge after t at which is holds.
func (h Hours) change(t time.Time, edge func(span) int, is func(time.Time) bool) time.Time {
	monday := beginningOfWeek(t)
	for range 3 { // this week, and the next
		for _, s := range h.open {
			at := monday.Add(time.Duration(edge(s)) * time.Minute)
			if at.After(t) && is(at) {
				return at
			}
		}
		monday = monday.Add(week * time.Minute)
	}
	panic(errors.New("hours: no edge within two weeks")) // a mistake in this file
}

func minuteOfWeek(t time.Time) int {
	return int(t.Sub(beginningOfWeek(t)) / time.Minute)
}

func beginningOfWeek(t time.Time) time.Time {
	t = t.In(Zone)
	back := (int(t.Weekday()) + 6) % 7
	return time.Date(t.Year(), t.Month(), t.Day()-back, 0, 0, 0, 0, Zone)
}
