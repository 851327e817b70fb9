package correlate

import (
	"slices"
	"testing"
	"time"

	"fengsui/schemas"
)

// An alert of a detection is of one unit: every school has a localhost, a user
// admin and a 10.0.0.1, and sees its own alerts alone. A correlation counts by
// its group-by, whosever the events are.
func TestUnits(t *testing.T) {
	of := func(n int, unit string, c *schemas.Correlation) *schemas.Match {
		m := match(n, time.Duration(n)*time.Second, "10.0.0.1", c)
		m.Unit = unit
		return m
	}
	f := func(s *stream, want ...string) {
		t.Helper()
		var got []string
		for _, a := range s.alerts {
			got = append(got, a.Unit+" "+string(rune('0'+a.Count)))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("alerts %q, want %q", got, want)
		}
	}
	s := newStream()
	s.add(of(1, "10001", nil))
	s.add(of(2, "10002", nil))
	s.add(of(3, "10001", nil))
	s.add(of(4, "", nil))
	f(s, " 1", "10001 2", "10002 1")
	if of(1, "10001", nil).Key() == of(1, "10002", nil).Key() {
		t.Error("two units share a key")
	}

	// After a restart each joins its own, and is named in its own.
	again := newStream()
	var stored []schemas.Alert
	for _, a := range s.alerts {
		stored = append(stored, a)
		again.alerts[a.ID] = a
	}
	again.offset = 4
	again.fold.Seed(stored)
	again.add(of(5, "10002", nil))
	f(again, " 1", "10001 2", "10002 2")
	for _, a := range stored {
		if got := again.fold.SetWho(&a, epoch); got == nil || got.ID != a.ID {
			t.Errorf("alert of %q is not found", a.Unit)
		}
	}

	two := atLeast(2, time.Minute)
	s = newStream()
	s.add(of(1, "10001", two))
	s.add(of(2, "10002", two))
	f(s, "10002 2")
	for _, a := range s.alerts {
		if got := s.fold.SetWho(&a, epoch); got == nil {
			t.Error("the correlation's alert is not found")
		}
	}
}
