package firstmet

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var monday = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)

func TestNew(t *testing.T) {
	b := New(DefaultConfig())
	f := func(name string, after time.Duration, first time.Duration, want bool) {
		t.Helper()
		at, isNew := b.Note(name, monday.Add(after))
		if !at.Equal(monday.Add(first)) || isNew != want {
			t.Errorf("%s after %v: first met at %v, new %v; want %v, %v", name, after, at.Sub(monday), isNew, first, want)
		}
	}
	day := 24 * time.Hour
	f("a.example", 0, 0, false) // the first week everything is
	f("b.example", 6*day, 6*day, false)
	f("c.example", 7*day, 7*day, true)
	f("c.example", 7*day+23*time.Hour, 7*day, true)
	f("c.example", 8*day, 7*day, false)
	f("a.example", 9*day, 0, false)
	f("b.example", 9*day, 6*day, false)
	f("d.example", 9*day+time.Hour, 9*day+time.Hour, true)
	f("d.example", 9*day, 9*day, true) // out of order
}

// TestSeed: after a restart the names of before are known, and how long they were
// listened for.
func TestSeed(t *testing.T) {
	b := New(DefaultConfig())
	b.Seed("old.example", monday)
	b.Seed("young.example", monday.Add(20*24*time.Hour))
	now := monday.Add(20*24*time.Hour + time.Hour)
	for name, want := range map[string]bool{"old.example": false, "young.example": true, "never.example": true} {
		if _, got := b.Note(name, now); got != want {
			t.Errorf("%s is new: %v, want %v", name, got, want)
		}
	}
	empty := New(DefaultConfig())
	if _, got := empty.Note("never.example", now); got {
		t.Error("without a past everything would be new, so nothing is")
	}
}

// TestBound: names that are met again are kept, and no more than the bound.
func TestBound(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		most := rapid.IntRange(2, 40).Draw(rt, "most")
		b := New(Config{Young: time.Hour, MaxNames: most})
		b.Seed("kept", monday)
		for i := range rapid.IntRange(0, 300).Draw(rt, "names") {
			at := monday.Add(time.Duration(i+2) * time.Hour)
			b.Note(fmt.Sprint(i), at)
			if most >= 4 {
				if first, isNew := b.Note("kept", at); isNew || !first.Equal(monday) {
					rt.Fatalf("a name that is met all the time is forgotten after %d others", i)
				}
			}
			if b.Len() > most {
				rt.Fatalf("%d names, more than %d", b.Len(), most)
			}
		}
	})
}
