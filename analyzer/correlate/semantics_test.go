package correlate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

// script plays events of one group, written as "second:base=value", and returns
// what alerts came of it: "first-last count value rules".
func script(t *testing.T, c *schemas.Correlation, cfg Config, events string) (*stream, []string) {
	t.Helper()
	s := newStreamOf(cfg)
	for i, e := range strings.Fields(events) {
		var second, base int
		when, value, _ := strings.Cut(e, "=")
		when, of, _ := strings.Cut(when, ":")
		if _, err := fmt.Sscan(when, &second); err != nil {
			t.Fatal(err)
		}
		base = max(0, slices.IndexFunc(c.Rules, func(r schemas.BaseRule) bool { return r.Name == of }))
		m := match(i, time.Duration(second)*time.Second, "x", c)
		m.Base = base
		if value != "" {
			m.Values = strings.Split(value, ",")
			for _, v := range m.Values {
				var n float64
				if _, err := fmt.Sscan(v, &n); err == nil {
					m.Numbers = append(m.Numbers, n)
				}
			}
		}
		s.add(m)
	}
	var out []string
	for _, a := range s.alerts {
		text := fmt.Sprintf("%v-%v %d events %g", a.First.Sub(epoch).Seconds(), a.Last.Sub(epoch).Seconds(), a.Count, a.Correlation.Value)
		for _, r := range a.Correlation.Rules {
			text += fmt.Sprintf(" %s:%d", r.Name, r.Events)
		}
		if a.Status == schemas.AlertClosed {
			text += " closed"
		}
		out = append(out, text)
	}
	slices.Sort(out)
	return s, out
}

func counting(of schemas.CorrelationType, condition string, rules ...string) *schemas.Correlation {
	c := &schemas.Correlation{Type: of, Timespan: time.Minute, Version: "1", Percentile: 90}
	for _, r := range rules {
		c.Rules = append(c.Rules, schemas.BaseRule{Name: r})
	}
	var cmp schemas.Comparison
	if n, _ := fmt.Sscan(condition, &cmp.Op, &cmp.Value); n == 2 {
		c.Condition = []schemas.Comparison{cmp}
	} else {
		c.Logic = condition
	}
	return c
}

// The types, by the words of the correlation rules specification 2.1.0.
func TestTypes(t *testing.T) {
	f := func(c *schemas.Correlation, events string, want ...string) {
		t.Helper()
		if _, got := script(t, c, DefaultConfig(), events); !slices.Equal(got, want) {
			t.Errorf("%s %s of %s\ngot  %q\nwant %q", c.Type, c.Text(), events, got, want)
		}
	}
	// "Counts events occurring in the given time frame specified by the referred
	// Sigma rule or rules."
	count := counting(schemas.EventCount, "gte 3", "a", "b")
	f(count, "0:a 30:b 60:a", "0-60 3 events 3 a:2 b:1")
	f(count, "0:a 30:b 61:a")
	f(count, "0:a 30:b 61:a 62:a", "30-62 3 events 3 a:2 b:1")
	f(count, "0:a 1:a 2:a 3:b", "0-3 4 events 4 a:3 b:1")

	// "The count of distinct values contained in the field".
	f(counting(schemas.ValueCount, "gte 3", "a"), "0=x 1=x 2=y 3=x")
	f(counting(schemas.ValueCount, "gte 3", "a"), "0=x 1=x 2=y 3=z", "0-3 4 events 3 a:4")
	f(counting(schemas.ValueCount, "gte 3", "a"), "0=x,y,z", "0-0 1 events 3 a:1")
	f(counting(schemas.ValueCount, "gte 3", "a"), "0=x 50=y 61=z")
	f(counting(schemas.ValueCount, "gte 1", "a"), "0") // an event without the field counts for nothing

	// "All events defined by the rules referred by the rule field must occur in
	// the time frame defined by timespan." In any order.
	all := counting(schemas.Temporal, "gte 3", "a", "b", "c")
	f(all, "0:c 20:a 60:b", "0-60 3 events 3 a:1 b:1 c:1")
	f(all, "0:c 20:a 61:b")
	f(all, "0:a 1:a 2:a 3:b")
	// "it specified the count of different event types (Sigma rules matching) in
	// the given time frame."
	f(counting(schemas.Temporal, "gte 2", "a", "b", "c"), "0:c 1:c 2:a", "0-2 3 events 2 a:1 c:2")
	f(counting(schemas.Temporal, "a and not b or c", "a", "b", "c"), "0:b 1:a")
	f(counting(schemas.Temporal, "a and not b or c", "a", "b", "c"), "0:b 1:a 61:a", "1-61 2 events 1 a:2")

	// "behaves like temporal and requires in addition that the events appear in
	// the order provided in the rule attribute."
	ordered := counting(schemas.TemporalOrdered, "gte 3", "a", "b", "c")
	f(ordered, "0:a 1:b 2:c", "0-2 3 events 3 a:1 b:1 c:1")
	f(ordered, "0:a 1:c 2:b")
	f(ordered, "0:c 1:b 2:a 3:b 4:b 5:c", "0-5 6 events 3 a:1 b:3 c:2")
	f(ordered, "0:a 40:b 61:c")
	f(ordered, "0:a 40:a 41:b 100:c", "40-100 3 events 3 a:1 b:1 c:1")
	f(ordered, "5:c 5:b 5:a", "5-5 3 events 3 a:1 b:1 c:1") // at one time is in order
	f(ordered, "9:c 0:a 4:b", "0-9 3 events 3 a:1 b:1 c:1") // whatever came first
	f(counting(schemas.TemporalOrdered, "gte 2", "a", "b", "c"), "0:b 1:a 2:c", "0-2 3 events 3 a:1 b:1 c:1")
	f(counting(schemas.TemporalOrdered, "(a or b) and c", "a", "b", "c"), "0:c 1:b 2:c", "0-2 3 events 2 b:1 c:2")

	// The metrics of 2.1.0.
	f(counting(schemas.ValueSum, "gt 100", "a"), "0=60 30=40.5", "0-30 2 events 100.5 a:2")
	f(counting(schemas.ValueSum, "gt 100", "a"), "0=60 61=50 90=-5")
	f(counting(schemas.ValueAvg, "gte 10", "a"), "0=2 1=4 2=24", "0-2 3 events 10 a:3")
	f(counting(schemas.ValueMedian, "eq 3", "a"), "0=100 1=2 2=3", "0-2 3 events 3 a:3")
	f(counting(schemas.ValueMedian, "eq 2.5", "a"), "0=100 1=2 2=3 3=1", "0-3 4 events 2.5 a:4")
	f(counting(schemas.ValuePercentile, "gte 9", "a"), "0=0 1=10 2=10", "0-2 3 events 10 a:3")
}

// A condition that more events can undo is looked at for each event as it comes;
// that it was not met, as a late event shows, closes its alert.
func TestWithdrawn(t *testing.T) {
	c := counting(schemas.ValueAvg, "gte 10", "a")
	s, got := script(t, c, DefaultConfig(), "10=12 5=1 20=1")
	if want := []string{"10-10 1 events 12 a:1 closed"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	for _, a := range s.alerts {
		if a.Reason != Withdrawn || a.Version != 2 {
			t.Errorf("%+v", a)
		}
	}
	_, got = script(t, counting(schemas.Temporal, "a and not b", "a", "b"), DefaultConfig(), "10:a 5:b")
	if len(got) != 1 || !strings.HasSuffix(got[0], "closed") {
		t.Errorf("got %q", got)
	}
}

// A late event counts rightly up to the lateness; beyond, it is counted as late,
// and joins an alert that covers it.
func TestLateness(t *testing.T) {
	cfg := DefaultConfig()
	cfg.Lateness = 30 * time.Second
	c := counting(schemas.EventCount, "gte 3", "a")
	f := func(events string, late uint64, want ...string) {
		t.Helper()
		s, got := script(t, c, cfg, events)
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %q", events, got)
		}
		n := uint64(0)
		s.fold.Losses(func(l Losses) { n += l.Late })
		if n != late {
			t.Errorf("%s: %d late", events, n)
		}
	}
	f("0 90 70 71 72", 0, "70-90 4 events 4 a:4") // the window that ends with 90 was looked at again
	f("0 81 50", 1)
	f("0 1 2 80 40", 1, "0-80 5 events 3 a:5")
	// An alert begins with the earliest event of its window, however late.
	f("40 50 60 35", 0, "35-60 4 events 4 a:4")
	f("20 100 100 110 71 80", 1, "80-110 4 events 4 a:4")
}

// An event whose clock is ahead counts at the time it was received, and does not
// make all others late.
func TestClockAhead(t *testing.T) {
	s := newStream()
	for i := range 3 {
		m := match(i, time.Duration(i)*time.Second, "x", atLeast(3, time.Minute))
		m.Received = m.Time
		if i == 1 {
			m.Time = m.Time.AddDate(30, 0, 0)
		}
		s.add(m)
	}
	if len(s.alerts) != 1 {
		t.Errorf("%d alerts", len(s.alerts))
	}
	for _, far := range []time.Time{{}, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-5, 1, 1, 0, 0, 0, 0, time.UTC)} {
		m := match(9, 0, "far", atLeast(2, time.Minute))
		m.Time = far
		s.add(m)
	}
}

// A correlation that is met counts for those that refer to it, one that raises
// no alert as well.
func TestChain(t *testing.T) {
	inner := atLeast(3, time.Minute)
	inner.Silent = true
	then := counting(schemas.TemporalOrdered, "gte 2", "many", "success")
	then.Version = "2"
	often := counting(schemas.EventCount, "gte 2", "many")
	often.Version, often.Timespan = "3", time.Hour
	refers := func(rule, source string, c *schemas.Correlation) schemas.Match {
		return schemas.Match{Rule: schemas.Rule{ID: rule}, Group: []schemas.GroupValue{{Value: source}}, Correlation: c, From: "r"}
	}
	s := newStream()
	failed := func(n int, at time.Duration) *schemas.Match {
		m := match(n, at, "x", inner)
		m.Next = []schemas.Match{refers("then", "x", then), refers("often", "x", often)}
		return m
	}
	told := func(want ...string) {
		t.Helper()
		var got []string
		for _, m := range s.next {
			got = append(got, m.ID())
			if m.Kind != schemas.MatchRule || m.Time.IsZero() {
				t.Errorf("%+v", m)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("led to %q", got)
		}
	}
	for i := range 2 {
		s.add(failed(i, time.Duration(i)*time.Second))
	}
	told()
	// What asks whether it was met counts each event at which it is; what asks
	// how often, once for as long as it goes on.
	s.add(failed(2, 2*time.Second))
	told("s-2/then/0", "s-2/often/0")
	s.add(failed(3, 3*time.Second))
	told("s-2/then/0", "s-2/often/0", "s-3/then/0")
	if len(s.alerts) != 0 {
		t.Errorf("a silent correlation raised %v", s.alerts)
	}
	// Again, with a pause of a timespan before it.
	for i := range 3 {
		s.add(failed(10+i, 10*time.Minute+time.Duration(i)*time.Second))
	}
	told("s-2/then/0", "s-2/often/0", "s-3/then/0", "s-12/then/0", "s-12/often/0")

	// They come back by the topic, once and again.
	next := slices.Clone(s.next)
	for _, m := range append(next, next...) {
		s.add(&m)
	}
	if len(s.alerts) != 1 {
		t.Fatalf("%d alerts, want that of two times many", len(s.alerts))
	}
	success := match(20, 10*time.Minute+30*time.Second, "x", then)
	success.Rule.ID, success.Base = "then", 1
	s.add(success)
	for _, a := range s.alerts {
		want := map[string][]string{"often": {"s-2", "s-12"}, "then": {"s-12", "s-20"}}[a.Rule.ID]
		if diff := cmp.Diff(want, a.EventIDs); diff != "" {
			t.Errorf("%s: %s", a.Rule.ID, diff)
		}
	}
	if len(s.alerts) != 2 {
		t.Errorf("%d alerts", len(s.alerts))
	}

	// After a restart that reads it again nothing is told twice.
	again := newStream()
	for i := range 4 {
		again.fold.Warm(failed(i, time.Duration(i)*time.Second))
	}
	again.add(failed(4, 2500*time.Millisecond)) // late: the last is looked at again
	if len(again.next) != 1 || again.next[0].EventID != "s-4" {
		t.Errorf("after the restart: %v", again.next)
	}
}

// What was counted by one version of a rule says nothing to the next, and what
// cannot be counted is said.
func TestVersions(t *testing.T) {
	s := newStream()
	for i := range 2 {
		s.add(match(i, 0, "x", atLeast(3, time.Minute)))
	}
	s.add(match(2, 0, "x", atLeast(3, time.Hour)))
	if len(s.alerts) != 0 {
		t.Error("the new version counted what the old one had seen")
	}
	f := func(change func(*schemas.Correlation)) {
		t.Helper()
		c := atLeast(1, time.Minute)
		c.Version = "broken"
		change(c)
		m := match(9, 0, "y", c)
		m.Base = len(c.Rules) - 1
		one := newStream()
		one.add(m)
		lost := uint64(0)
		one.fold.Losses(func(l Losses) { lost += l.Unusable })
		if lost != 1 || len(one.alerts) != 0 {
			t.Errorf("%+v: lost %d, alerts %v", c, lost, one.alerts)
		}
	}
	f(func(c *schemas.Correlation) { c.Type = "near" })
	f(func(c *schemas.Correlation) { c.Timespan = 0 })
	f(func(c *schemas.Correlation) { c.Timespan = math.MaxInt64 })
	f(func(c *schemas.Correlation) { c.Condition = nil })
	f(func(c *schemas.Correlation) { c.Condition[0].Op = "above" })
	f(func(c *schemas.Correlation) { c.Rules = nil })
	f(func(c *schemas.Correlation) { c.Type, c.Logic = schemas.Temporal, "base and" })
	f(func(c *schemas.Correlation) { c.Type, c.Logic = schemas.TemporalOrdered, "not base" })
}

// Memory is bounded for each rule, and what is dropped is counted and said.
func TestMemoryIsBounded(t *testing.T) {
	lost := func(f *Fold) (sum Losses) {
		f.Losses(func(l Losses) {
			sum.Groups, sum.Events, sum.Values = sum.Groups+l.Groups, sum.Events+l.Events, sum.Values+l.Values
			if l.Rule.ID == "" {
				t.Error("losses of no rule")
			}
		})
		return sum
	}
	add := func(f *Fold, i int, rule, source string, at time.Duration, c *schemas.Correlation) {
		m := match(i, at, source, c)
		m.Rule.ID = rule
		m.Values = []string{fmt.Sprint(i)}
		f.Add(m, 0, int64(i), epoch)
	}
	small := DefaultConfig()
	small.MaxRuleGroups, small.MaxSeen, small.MaxEvents, small.MaxValues = 100, 50, 20, 10

	f := New(small)
	for i := range 10_000 {
		add(f, i, "r", fmt.Sprint(i), 0, atLeast(3, time.Minute))
	}
	add(f, 0, "other", "x", 0, atLeast(3, time.Minute))
	if l := lost(f); f.Groups() != 101 || l.Groups != 9_900 || f.seen.Len() != 50 {
		t.Errorf("%d groups, %+v, %d seen", f.Groups(), l, f.seen.Len())
	}
	if l := lost(f); !l.none() {
		t.Errorf("said twice: %+v", l)
	}

	// The groups in use stay.
	f = New(small)
	for i := range 5_000 {
		add(f, 2*i, "r", "busy", time.Duration(i)*time.Millisecond, atLeast(1_000_000, time.Minute))
		add(f, 2*i+1, "r", fmt.Sprint(i), 0, atLeast(1_000_000, time.Minute))
	}
	if m := match(0, 0, "busy", nil); f.groups.get(hashesOf(m).key) == nil || f.groups.get(hashesOf(m).key).window.len() < 4_000 {
		t.Error("a group that is always used was evicted")
	}

	// Of one group: what the window needs no more goes by itself; beyond the bound
	// the oldest go, but for a rule that asks for more.
	f = New(small)
	for i := range 10_000 {
		add(f, i, "r", "x", time.Duration(i)*time.Hour, atLeast(3, time.Minute))
	}
	if n, l := f.rules["r"].events, lost(f); n > 2 || l.Events != 0 {
		t.Errorf("%d sightings held, %+v", n, l)
	}
	f = New(small)
	for i := range 1_000 {
		add(f, i, "r", "x", time.Duration(i)*time.Millisecond, counting(schemas.ValueSum, "gt 5", "a"))
		add(f, i, "s", "x", time.Duration(i)*time.Millisecond, counting(schemas.ValueCount, "gt 5", "a"))
	}
	if l := lost(f); l.Values != 990 || l.Events != 0 || f.rules["s"].events != 10 {
		t.Errorf("%d sightings held, %+v", f.rules["s"].events, l)
	}
	s := newStreamOf(small)
	for i := range 100 {
		s.add(match(i, time.Duration(i)*time.Millisecond, "x", atLeast(100, time.Minute)))
	}
	if l := lost(s.fold); len(s.alerts) != 1 || l.Events != 0 {
		t.Errorf("%d alerts, %+v", len(s.alerts), l)
	}

	// Of one rule.
	small.MaxRuleEvents = 1_000
	f = New(small)
	for i := range 10_000 {
		add(f, i, "r", fmt.Sprint(i%90), time.Duration(i)*time.Millisecond, atLeast(18, time.Minute))
	}
	total := 0
	for _, g := range f.rules["r"].groups {
		total += g.window.len()
	}
	if l := lost(f); f.rules["r"].events > 1_000 || total != f.rules["r"].events || l.Groups == 0 {
		t.Errorf("%d sightings held, %d by count, %+v", total, f.rules["r"].events, l)
	}
}

// What a window needs no more is not held: of a sighting that is gone what it would
// have led to, and nothing at all behind the last.
func TestGoneIsFreed(t *testing.T) {
	f := New(DefaultConfig())
	c := counting(schemas.EventCount, "gte 1000", "a")
	rng := rand.New(rand.NewPCG(1, 2))
	at := time.Duration(0)
	gone := 0
	for i := range 2_000 {
		at += time.Duration(rng.IntN(int(2 * time.Minute)))
		m := match(i, at-time.Duration(rng.IntN(int(time.Minute))), "x", c)
		m.Next = []schemas.Match{{Rule: schemas.Rule{ID: "next"}, Correlation: c}}
		f.Add(m, 0, int64(i), epoch)
		w := &f.groups.get(f.hashes(m).key).window
		if len(w.origins) != len(w.items) {
			t.Fatalf("%d origins of %d sightings", len(w.origins), len(w.items))
		}
		for k, o := range w.origins[:cap(w.origins)] {
			switch {
			case k < w.head && o.match != nil:
				t.Fatalf("a sighting that is gone, %d of %d, holds its match", k, w.head)
			case k < w.head:
				gone++
			case k >= len(w.items) && o != origin{}:
				t.Fatalf("behind the last sighting %q is held", o.eventID)
			case k >= w.head && k < len(w.items) && (o.match == nil || o.match.EventID != o.eventID):
				t.Fatalf("sighting %d of %q has another's match", k, o.eventID)
			}
		}
	}
	if gone == 0 {
		t.Error("nothing went")
	}
}

// The structures that count agree with plain ones.
func TestDistinct(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d distinct
		plain := map[uint64]uint32{}
		var held []uint64
		for range rapid.IntRange(0, 200).Draw(t, "steps") {
			if len(held) > 0 && rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				i := rapid.IntRange(0, len(held)-1).Draw(t, "which")
				d.remove(held[i])
				if plain[held[i]]--; plain[held[i]] == 0 {
					delete(plain, held[i])
				}
				held = slices.Delete(held, i, i+1)
			} else {
				v := uint64(rapid.IntRange(0, 9).Draw(t, "value")) * 4 // they meet in the table
				d.add(v)
				plain[v]++
				held = append(held, v)
			}
			if d.used != len(plain) {
				t.Fatalf("%d, want %d", d.used, len(plain))
			}
		}
	})
}

func TestNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ranked
		var s sum
		var held []float64
		steps := rapid.SampledFrom([]int{20, 2_000}).Draw(t, "steps")
		rise := rapid.IntRange(0, steps).Draw(t, "rise")
		kinds := rapid.SampledFrom([]int{3, 500}).Draw(t, "kinds")
		seed := rapid.Uint64().Draw(t, "seed")
		random := func(n int) int {
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33) % n
		}
		for step := range steps {
			if len(held) > 0 && (step > rise || random(4) == 0) {
				i := random(len(held))
				r.remove(held[i])
				s.remove(held[i])
				held = slices.Delete(held, i, i+1)
			} else {
				v := float64(random(kinds)-100) / 4
				if random(50) == 0 {
					v *= 1 << 45
				}
				r.add(v)
				s.add(v)
				held = append(held, v)
			}
			inBlocks := len(r.few)
			for at, b := range r.more {
				inBlocks += len(b)
				if before := r.get(at - 1); len(before) == 0 || len(b) == 0 || len(b) > blockMost || len(before)+len(b) <= blockMost/2 {
					t.Fatalf("block %d of %d numbers stands after one of %d", at, len(b), len(before))
				}
			}
			if r.size != len(held) || inBlocks != len(held) || len(r.few) > blockMost {
				t.Fatalf("%d numbers, %d in blocks, want %d", r.size, inBlocks, len(held))
			}
			if step%16 != 0 || len(held) == 0 {
				continue
			}
			sorted := slices.Sorted(slices.Values(held))
			total := 0.0
			for _, v := range sorted {
				total += v
			}
			k := random(len(held))
			if v, next := r.at(k); v != sorted[k] || next != sorted[min(k+1, len(held)-1)] || r.share(1) != sorted[len(held)-1] || r.share(0) != sorted[0] {
				t.Fatalf("rank %d is %v and the next %v, want %v", k, v, next, sorted[k])
			}
			if math.Abs(s.value()-total) > 1e-9*math.Max(1, math.Abs(total)) {
				t.Fatalf("sum %v, want %v", s.value(), total)
			}
		}
	})
}

// FuzzFold: whatever the topic holds, the fold neither breaks nor loses count.
func FuzzFold(f *testing.F) {
	f.Add([]byte("event_count gte 3"), []byte{0, 1, 2, 3, 200, 5, 6, 7})
	f.Add([]byte("temporal_ordered gte 2"), []byte{9, 1, 0, 3, 2, 255, 6, 7})
	f.Add([]byte("value_median lt 2"), []byte{9, 9, 9, 3, 3, 3})
	f.Fuzz(func(t *testing.T, text, steps []byte) {
		of, condition, _ := strings.Cut(string(text), " ")
		c := counting(schemas.CorrelationType(of), condition, "a", "b", "c")
		cfg := DefaultConfig()
		cfg.MaxEvents, cfg.MaxValues, cfg.MaxRuleEvents, cfg.MaxRuleGroups, cfg.Lateness = 8, 4, 20, 3, 20*time.Second
		fold := New(cfg)
		for i, b := range steps[:min(len(steps), 500)] {
			m := match(i, time.Duration(b)*time.Second, fmt.Sprint(b%5), c)
			m.Base = int(b%4) - 1
			m.Values, m.Numbers = []string{fmt.Sprint(b % 7)}, []float64{float64(b), 0.5}
			fold.Add(m, 0, int64(i), epoch)
			held := 0
			for _, r := range fold.rules {
				for _, g := range r.groups {
					held += g.window.len()
				}
				if held != r.events || len(r.groups) > cfg.MaxRuleGroups || r.events > cfg.MaxRuleEvents+2 {
					t.Fatalf("%d sightings held, %d by count", held, r.events)
				}
			}
		}
	})
}
