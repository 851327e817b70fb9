package hours

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParse(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		h, err := Parse(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
			return
		}
		if h.String() != want {
			t.Errorf("%q is %q, want %q", text, h.String(), want)
		}
		if again, err := Parse(h.String()); err != nil || again.String() != want {
			t.Errorf("%q is read again as %q, %v", want, again.String(), err)
		}
	}
	f("", "")
	f("  ", "")
	f("22:00-06:00", "22:00-06:00")
	f("22:00-24:00", "22:00-24:00")
	f("22:00-0:00", "22:00-24:00")
	f("Mon-Fri 22:00-06:00; sat,sun", "mon,tue,wed,thu,fri 22:00-06:00; sat,sun")
	f("周一至周五 22:00-06:00；周六、周日", "mon,tue,wed,thu,fri 22:00-06:00; sat,sun")
	f("星期五到星期一 1:30—2:30", "mon,fri,sat,sun 01:30-02:30")
	f("fri-mon", "mon,fri,sat,sun")
	f("00:00-24:00", "00:00-24:00")
}

func TestRefuses(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if h, err := Parse(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, %v; want %q", text, h, err, want)
		}
	}
	f(";", "say nothing")
	f("night", "day")
	f("周八", "day")
	f("周一二", "day")
	f("22:00", "not like")
	f("22:00-22:00", "begin where they end")
	f("24:00-01:00", "begin where they end")
	f("25:00-01:00", "time of the day")
	f("22:60-01:00", "time of the day")
	f("22:0-01:00", "time of the day")
	f("+2:00-01:00", "time of the day")
	f("-2:00-01:00", "time of the day")
	f("1:00-2:00 3:00-4:00", "semicolon")
	f(strings.Repeat("mon;", 100), "more than")
	f(strings.Repeat("mon;", 40), "more than")
}

func TestOpen(t *testing.T) {
	f := func(text, at string, open bool, until, next string) {
		t.Helper()
		h, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		when := func(s string) time.Time {
			if s == "" {
				return time.Time{}
			}
			v, err := time.ParseInLocation("2006-01-02 15:04", s, Zone)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		now := when(at)
		if h.Open(now) != open || !h.Until(now).Equal(when(until)) || !h.Next(now).Equal(when(next)) {
			t.Errorf("%q at %s: open %v until %v, next %v", text, at, h.Open(now), h.Until(now), h.Next(now))
		}
	}
	// 2026-11-28 is a Saturday.
	f("", "2026-11-28 12:00", true, "", "2026-11-28 12:00")
	f("22:00-06:00", "2026-11-28 12:00", false, "", "2026-11-28 22:00")
	f("22:00-06:00", "2026-11-28 22:00", true, "2026-11-29 06:00", "2026-11-28 22:00")
	f("22:00-06:00", "2026-11-29 23:00", true, "2026-11-30 06:00", "2026-11-29 23:00") // over the week's end
	f("mon-fri 22:00-06:00", "2026-11-28 05:59", true, "2026-11-28 06:00", "2026-11-28 05:59")
	f("mon-fri 22:00-06:00", "2026-11-28 06:00", false, "", "2026-11-30 22:00")
	f("sat,sun", "2026-11-28 00:00", true, "2026-11-30 00:00", "2026-11-28 00:00")
	f("sun; mon", "2026-11-29 10:00", true, "2026-12-01 00:00", "2026-11-29 10:00")
	f("sat 10:00-11:00", "2026-11-28 11:00", false, "", "2026-12-05 10:00")
	f("mon-sun", "2026-11-28 11:00", true, "", "2026-11-28 11:00")
}

// Whatever the hours: a minute is open when it is in one of the parts, counted
// minute by minute, and the edges are where that changes.
func TestAgainstMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type part struct {
			day       int // -1: every
			from, end int
		}
		var parts []part
		var text []string
		for range rapid.IntRange(1, 3).Draw(t, "parts") {
			p := part{day: rapid.IntRange(-1, 6).Draw(t, "day"), from: 30 * rapid.IntRange(0, 47).Draw(t, "from"), end: 30 * rapid.IntRange(1, 48).Draw(t, "end")}
			if p.from == p.end {
				continue
			}
			parts = append(parts, p)
			word := clock(p.from) + "-" + clock(p.end)
			if p.day >= 0 {
				word = days[p.day] + " " + word
			}
			text = append(text, word)
		}
		h, err := Parse(strings.Join(text, ";"))
		if err != nil {
			t.Fatal(err)
		}
		naive := func(at time.Time) bool {
			if len(parts) == 0 {
				return true
			}
			at = at.In(Zone)
			today, m := (int(at.Weekday())+6)%7, at.Hour()*60+at.Minute()
			for _, p := range parts {
				on := func(day int) bool { return p.day < 0 || p.day == day }
				if p.from < p.end && on(today) && m >= p.from && m < p.end {
					return true
				}
				if p.from > p.end && (on(today) && m >= p.from || on((today+6)%7) && m < p.end) {
					return true
				}
			}
			return false
		}
		now := time.Unix(1_790_000_000+int64(rapid.IntRange(0, 14*24*3600).Draw(t, "at")), 0)
		if h.Open(now) != naive(now) {
			t.Fatalf("%s at %v: %v", h, now.In(Zone), h.Open(now))
		}
		edge := time.Time{}
		for at := now.Truncate(time.Minute).Add(time.Minute); at.Before(now.Add(8 * 24 * time.Hour)); at = at.Add(time.Minute) {
			if naive(at) != naive(now) {
				edge = at
				break
			}
		}
		if naive(now) {
			if got := h.Until(now); !got.Equal(edge) {
				t.Fatalf("%s at %v: until %v, want %v", h, now.In(Zone), got, edge)
			}
			edge = now
		}
		if got := h.Next(now); !got.Equal(edge) {
			t.Fatalf("%s at %v: next %v, want %v", h, now.In(Zone), got, edge)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"22:00-06:00", "周一至周五 22:00-06:00；周六、周日", "mon-fri; sat 1:00-2:00"} {
		f.Add(s)
	}
	now := time.Unix(1_790_000_000, 0)
	f.Fuzz(func(t *testing.T, s string) {
		h, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(h.String())
		if err != nil || again.String() != h.String() {
			t.Fatalf("%q is %q, read again as %q, %v", s, h.String(), again.String(), err)
		}
		if !h.Open(h.Next(now)) || h.Open(now) != h.Next(now).Equal(now) || h.Open(now) != again.Open(now) {
			t.Fatalf("%q: %v", s, h.Next(now))
		}
	})
}
