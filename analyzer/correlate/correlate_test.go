package correlate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

var epoch = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

// atLeast asks for so many events within a timespan.
func atLeast(n int, span time.Duration) *schemas.Correlation {
	return &schemas.Correlation{
		Type: schemas.EventCount, Timespan: span, Condition: []schemas.Comparison{{Op: "gte", Value: float64(n)}},
		Rules: []schemas.BaseRule{{Name: "base"}}, Version: fmt.Sprint(n, span),
	}
}

func match(n int, at time.Duration, source string, c *schemas.Correlation) *schemas.Match {
	return &schemas.Match{
		Kind: schemas.MatchRule, EventID: fmt.Sprintf("s-%d", n), Time: epoch.Add(at),
		Rule: schemas.Rule{ID: "r"}, Group: []schemas.GroupValue{{Field: "source.ip", Value: source}}, Correlation: c,
	}
}

// stream is a partition of the topic, and the alerts that its fold wrote.
type stream struct {
	fold   *Fold
	offset int64
	alerts map[string]schemas.Alert
	next   []schemas.Match
}

func newStream() *stream { return newStreamOf(DefaultConfig()) }

func newStreamOf(cfg Config) *stream {
	return &stream{fold: New(cfg), alerts: map[string]schemas.Alert{}}
}

func (s *stream) add(m *schemas.Match) {
	s.addAt(m, s.offset)
	s.offset++
}

func (s *stream) addAt(m *schemas.Match, offset int64) {
	alerts, next := s.fold.Add(m, 0, offset, epoch.Add(time.Hour))
	for _, a := range alerts {
		c := *a
		c.EventIDs = slices.Clone(a.EventIDs)
		if a.Correlation != nil {
			r := *a.Correlation
			r.Rules = slices.Clone(r.Rules)
			c.Correlation = &r
		}
		s.alerts[a.ID] = c
	}
	s.next = append(s.next, next...)
}

func (s *stream) counts() map[string]uint64 {
	out := map[string]uint64{}
	for _, a := range s.alerts {
		if a.Status == schemas.AlertOpen {
			out[a.Group[0].Value] += a.Count
		}
	}
	return out
}

func TestOneAlertForOneCause(t *testing.T) {
	s := newStream()
	for i := range 50 {
		s.add(match(i, time.Duration(i)*time.Second, "192.0.2.1", nil))
	}
	s.add(match(50, 0, "192.0.2.2", nil))
	if len(s.alerts) != 2 {
		t.Fatalf("%d alerts", len(s.alerts))
	}
	want := map[string]uint64{"192.0.2.1": 50, "192.0.2.2": 1}
	if diff := cmp.Diff(want, s.counts()); diff != "" {
		t.Error(diff)
	}
	s.add(match(51, 2*time.Hour, "192.0.2.1", nil))
	if len(s.alerts) != 3 {
		t.Error("after the quiet time a match is a new cause")
	}
}

func TestWindow(t *testing.T) {
	w := atLeast(5, time.Minute)
	f := func(name string, want int, at ...int) {
		t.Helper()
		s := newStream()
		for i, seconds := range at {
			s.add(match(i, time.Duration(seconds)*time.Second, "192.0.2.1", w))
		}
		if len(s.alerts) != want {
			t.Errorf("%s: %d alerts, want %d", name, len(s.alerts), want)
		}
	}
	f("four are not five", 0, 1, 2, 3, 4)
	f("five in a minute", 1, 1, 2, 3, 4, 5)
	f("just a minute", 1, 0, 15, 30, 45, 60)
	f("too slow", 0, 0, 20, 40, 60, 80, 100, 120)
	f("out of order", 1, 50, 10, 30, 20, 40)
	f("a late one completes a window", 1, 0, 10, 20, 100, 110, 30, 40)
	f("fifty are one alert", 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	f("a second burst long after", 2, 1, 2, 3, 4, 5, 7201, 7202, 7203, 7204, 7205)
	f("between bursts nothing is left over", 1, 1, 2, 3, 4, 5, 7201, 7202)
}

func TestAlertSaysWhatRaisedIt(t *testing.T) {
	s := newStream()
	for i := range 7 {
		s.add(match(i, time.Duration(i)*time.Second, "192.0.2.1", atLeast(5, time.Minute)))
	}
	for _, a := range s.alerts {
		if a.Count != 7 || !a.First.Equal(epoch) || !a.Last.Equal(epoch.Add(6*time.Second)) || a.EventIDs[0] != "s-0" || a.EventIDs[6] != "s-6" || a.Version != 3 {
			t.Errorf("%+v", a)
		}
	}
}

// TestRestart is the promise that redelivery changes nothing: at any point the
// process may die, having written its alerts or not, and start again from the
// committed offset with the alerts that were written.
func TestRestart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := rapid.SampledFrom([]*schemas.Correlation{nil, atLeast(3, 30*time.Second)}).Draw(t, "window")
		n := rapid.IntRange(1, 60).Draw(t, "matches")
		var topic []*schemas.Match
		at := time.Duration(0)
		for i := range n {
			at += time.Duration(rapid.IntRange(0, 40).Draw(t, "gap")) * time.Second
			topic = append(topic, match(i, at, fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "source")), w))
		}
		// Second copies, as a producer's retry makes them.
		for range rapid.IntRange(0, 5).Draw(t, "copies") {
			from := rapid.IntRange(0, len(topic)-1).Draw(t, "from")
			topic = append(topic, topic[from])
		}
		whole := newStream()
		for _, m := range topic {
			whole.add(m)
		}

		died := newStream()
		committed := rapid.IntRange(0, len(topic)).Draw(t, "committed")
		for _, m := range topic[:committed] {
			died.add(m)
		}
		written := rapid.IntRange(committed, len(topic)).Draw(t, "written")
		for _, m := range topic[committed:written] {
			died.add(m)
		}
		again := newStream()
		for id, a := range died.alerts {
			again.alerts[id] = a
		}
		var seed []schemas.Alert
		for _, a := range died.alerts {
			seed = append(seed, a)
		}
		again.fold.Seed(seed)
		for _, m := range topic[:committed] {
			again.fold.Warm(m)
		}
		for i, m := range topic[committed:] {
			again.addAt(m, int64(committed+i))
		}
		if diff := cmp.Diff(whole.counts(), again.counts()); diff != "" {
			t.Fatalf("after the restart: %s", diff)
		}
		if len(whole.alerts) != len(again.alerts) {
			t.Fatalf("%d alerts, want %d", len(again.alerts), len(whole.alerts))
		}
		for id := range whole.alerts {
			if _, ok := again.alerts[id]; !ok {
				t.Fatalf("alert %s has another id after the restart", id)
			}
		}
	})
}

func TestEventIDsAreBounded(t *testing.T) {
	var ids []int
	for i := range 1000 {
		ids = AppendBounded(ids, i)
	}
	if len(ids) != schemas.MaxAlertEvents || ids[0] != 0 || ids[49] != 49 || ids[99] != 999 {
		t.Errorf("%d ids: first half %v…, last %d", len(ids), ids[:3], ids[len(ids)-1])
	}
}
