package parse

import (
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/schemas"
)

// TestDottedQuad holds the quick way to the library's: what it accepts is an
// address in its usual form.
func TestDottedQuad(t *testing.T) {
	f := func(s string) {
		t.Helper()
		a, err := netip.ParseAddr(s)
		if want := err == nil && a.Is4() && a.String() == s; dottedQuad(s) != want {
			t.Errorf("%q: %v, want %v", s, !want, want)
		}
	}
	for _, s := range []string{"", "0.0.0.0", "255.255.255.255", "256.1.1.1", "1.2.3.04", "00.1.2.3", "1.2.3", "1.2.3.4.5", "1..2.3", ".1.2.3", "1.2.3.", "1.2.3.4 ", "::1", "1.2.3.4%a", "1.2.3.4444", "1.2.3.a"} {
		f(s)
	}
	rapid.Check(t, func(rt *rapid.T) {
		f(rapid.StringMatching(`[0-9]{1,3}(\.[0-9]{1,3}){2,4}[.0-9a]?`).Draw(rt, "s"))
	})
}

// TestNotText holds eight bytes at once to one at a time.
func TestNotText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune{'a', ' ', '~', '\t', '\n', 0x1b, '防', 0x80, 0xff, 1, 0x1f, 0x7f}), 0, 40, -1).Draw(t, "s")
		want := -1
		for i := 0; i < len(s) && want < 0; i++ {
			if control[s[i]] {
				want = i
			}
		}
		if got := notText(s); got != want {
			t.Fatalf("%q: %d, want %d", s, got, want)
		}
	})
}

// TestHostIP: a list that is shared is right, whoever else was in its place, and
// costs nothing.
func TestHostIP(t *testing.T) {
	var ev schemas.Event
	f := func(text, want string) {
		t.Helper()
		ev.Reset()
		if setHostIP(&ev, text); ev.Get(schemas.FieldHostIP).Text() != want {
			t.Errorf("%q: %q, want %q", text, ev.Get(schemas.FieldHostIP).Text(), want)
		}
	}
	a := netip.MustParseAddr("192.0.2.0")
	for range 3 * len(hostIPs) {
		a = a.Next()
		f(a.String(), a.String())
	}
	f("2001:DB8::1", "2001:db8::1")
	f("2001:DB8::1", "2001:db8::1")
	f("gw1", "")
	f("", "")
	if n := testing.AllocsPerRun(100, func() { ev.Reset(); setHostIP(&ev, "192.0.2.7") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestLastFrom compares with strings.LastIndex.
func TestLastFrom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := strings.Join(rapid.SliceOf(rapid.SampledFrom([]string{" from ", "from", " fro", " ", "f", "m ", "192.0.2.7", "来"})).Draw(t, "parts"), "")
		if got, want := lastFrom(s), strings.LastIndex(s, " from "); got != want {
			t.Fatalf("%q: %d, want %d", s, got, want)
		}
	})
}

// TestYearBy: that dates are remembered changes nothing of what a time without a year
// is.
func TestYearBy(t *testing.T) {
	var zones []*time.Location
	for _, name := range []string{"Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	const day = 24 * time.Hour
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		first := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "first"), 0).In(zone)
		if rapid.Bool().Draw(t, "about a transition") { // when New York's clocks go back
			first = time.Unix(1793512800, 0).Add(time.Duration(rapid.IntRange(-60, 60).Draw(t, "hours")) * time.Hour).In(zone)
		}
		for range rapid.IntRange(2, 8).Draw(t, "lines") {
			clock := first.Add(time.Duration(rapid.Int64Range(0, 43200).Draw(t, "later")) * time.Second)
			received := clock.Add(time.Duration(rapid.SampledFrom([]int{-1, 0, 1, 90, 363, 364, 365, 366, 800}).Draw(t, "days"))*day +
				time.Duration(rapid.IntRange(-2, 2).Draw(t, "off"))*time.Second)
			c := civil{month: int(clock.Month()), day: clock.Day(), hour: clock.Hour(), minute: clock.Minute(), second: clock.Second(), nano: 5}
			got, err := c.yearBy(received)
			if err != nil {
				t.Fatal(err)
			}
			want, err := c.latest(received.Add(maxAhead))
			if err != nil || !got.Equal(want) {
				t.Fatalf("%v received at %v became %v, want %v %v", clock.Format(time.Stamp), received, got.In(zone), want.In(zone), err)
			}
		}
	})
}

// TestPlain3164 holds the quick way to the header of most lines to the other.
func TestPlain3164(t *testing.T) {
	quick := 0
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringMatching(`(Dec|jan|Feb|Mai) ( [0-9]|[0-3][0-9]|[0-9] ) ([01][0-9]|2[0-5]):[0-6][0-9]:[0-6][0-9]( |  |:|\.)[a-z][a-zA-Z0-9: ]{0,8}`).Draw(t, "line")
		got, ok := plain3164(s, received)
		if !ok {
			return
		}
		quick++
		want, n, err := bsd(s, received)
		if !got.Equal(want) || n != len("Mmm dd hh:mm:ss") || err != nil {
			t.Fatalf("%q is %v, want %v in %d bytes: %v", s, got, want, n, err)
		}
	})
	if quick == 0 {
		t.Error("none was read")
	}
}

// TestNear: knowing another time's offset changes nothing but which of two times a
// clock means that shows an hour twice.
func TestNear(t *testing.T) {
	var zones []*time.Location
	for _, name := range []string{"Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "UTC"} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		zones = append(zones, zone)
	}
	second := rapid.Int64Range(-5e8, 5e9)
	twice := 0
	rapid.Check(t, func(t *rapid.T) {
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		at, other := time.Unix(second.Draw(t, "at"), 0).In(zone), time.Unix(second.Draw(t, "other"), 0).In(zone)
		if rapid.Bool().Draw(t, "at a transition") { // a day on which New York's clocks go back
			at = time.Unix(1793512800+rapid.Int64Range(-7200, 7200).Draw(t, "after"), 0).In(zone)
		}
		c := civil{at.Year(), int(at.Month()), at.Day(), at.Hour(), at.Minute(), at.Second(), 0}
		_, offset := other.Zone()
		got, err := c.near(zone, offset)
		want, err2 := c.local(zone)
		if err != nil || err2 != nil || got.In(zone).Format(time.DateTime) != at.Format(time.DateTime) {
			t.Fatalf("%v became %v: %v %v", at, got.In(zone), err, err2)
		}
		if !got.Equal(want) {
			twice++
			if _, a := got.In(zone).Zone(); a != offset {
				t.Fatalf("%v became %v and %v", at, got.In(zone), want.In(zone))
			}
		}
	})
	t.Logf("%d times that a clock shows twice", twice)
}

// TestClock holds eight bytes at once to one at a time.
func TestClock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := []byte("12:34:56")
		for range rapid.IntRange(0, 3).Draw(t, "n") {
			b[rapid.IntRange(0, 7).Draw(t, "at")] = byte(rapid.IntRange(0, 255).Draw(t, "byte"))
		}
		s := string(b)[:rapid.SampledFrom([]int{8, 8, 8, 7}).Draw(t, "length")]
		want, wanted := civil{}, 0
		if match := regexp.MustCompile(`^(\d\d):(\d\d):(\d\d)$`).FindStringSubmatch(s); match != nil {
			wanted = 8
			for i, into := range []*int{&want.hour, &want.minute, &want.second} {
				*into, _ = strconv.Atoi(match[1+i])
			}
		}
		var got civil
		if n := got.clock(s); n != wanted || n > 0 && got != want {
			t.Fatalf("%q: %d %+v, want %d %+v", s, n, got, wanted, want)
		}
	})
}
