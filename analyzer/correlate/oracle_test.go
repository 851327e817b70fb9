package correlate

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/rules"
	"fengsui/schemas"
)

// outcome is what an alert comes to, in whatever order its events came.
type outcome struct {
	First, Last, Fired time.Duration
	Count              uint64
	Rules              string
}

func outcomes(alerts map[string]schemas.Alert) (out []outcome) {
	for _, a := range alerts {
		if a.Status != schemas.AlertOpen {
			continue
		}
		o := outcome{First: a.First.Sub(epoch), Last: a.Last.Sub(epoch), Count: a.Count, Fired: a.Correlation.Fired.Sub(epoch)}
		for _, r := range a.Correlation.Rules {
			o.Rules += fmt.Sprintf("%s:%d ", r.Name, r.Events)
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b outcome) int { return int(a.First - b.First) })
	return out
}

// oracle has all events of a group and takes its time: it sorts them, looks at
// the whole of each event's window, and then goes through them once.
func oracle(c *schemas.Correlation, events []*schemas.Match, quiet time.Duration) []outcome {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b *schemas.Match) int {
		if d := a.Time.Compare(b.Time); d != 0 {
			return d
		}
		if a.Base != b.Base {
			return a.Base - b.Base
		}
		return strings.Compare(a.EventID, b.EventID)
	})
	var out []outcome
	end := time.Time{}
	for i, ev := range events {
		if !ev.Time.After(end) || !plainly(c, events[:i+1], ev.Time) {
			continue
		}
		first := slices.IndexFunc(events, func(o *schemas.Match) bool {
			return ev.Time.Sub(o.Time) <= c.Timespan && o.Time.After(end)
		})
		o := outcome{First: events[first].Time.Sub(epoch), Fired: ev.Time.Sub(epoch)}
		end = events[first].Time.Add(quiet)
		seen := map[int]uint64{}
		for _, x := range events[first:] {
			if !x.Time.After(end) {
				o.Count++
				o.Last = x.Time.Sub(epoch)
				seen[x.Base]++
			}
		}
		for k, r := range c.Rules {
			if seen[k] > 0 {
				o.Rules += fmt.Sprintf("%s:%d ", r.Name, seen[k])
			}
		}
		out = append(out, o)
	}
	return out
}

// plainly says whether the condition holds for the window that ends at a time, of
// events in order.
func plainly(c *schemas.Correlation, events []*schemas.Match, at time.Time) bool {
	window := slices.DeleteFunc(slices.Clone(events), func(o *schemas.Match) bool { return at.Sub(o.Time) > c.Timespan })
	values, met := map[string]bool{}, map[int]bool{}
	var numbers []float64
	total := 0.0
	for _, o := range window {
		for _, v := range o.Values {
			values[v] = true
		}
		numbers = append(numbers, o.Numbers...)
		for _, v := range o.Numbers {
			total += v
		}
		met[o.Base] = true
	}
	slices.Sort(numbers)
	share := func(p float64) float64 {
		h := p * float64(len(numbers)-1)
		low, high := numbers[int(math.Floor(h))], numbers[int(math.Ceil(h))]
		return low + (h-math.Floor(h))*(high-low)
	}
	switch c.Type {
	case schemas.EventCount:
		return schemas.AllHold(c.Condition, float64(len(window)))
	case schemas.ValueCount:
		return schemas.AllHold(c.Condition, float64(len(values)))
	case schemas.ValueSum:
		return schemas.AllHold(c.Condition, total)
	case schemas.ValueAvg:
		return schemas.AllHold(c.Condition, total/float64(len(numbers)))
	case schemas.ValueMedian:
		return schemas.AllHold(c.Condition, share(0.5))
	case schemas.ValuePercentile:
		return schemas.AllHold(c.Condition, share(c.Percentile/100))
	case schemas.Temporal:
		if c.Logic == "" {
			return schemas.AllHold(c.Condition, float64(len(met)))
		}
	}
	// Every set of rules that meets the condition, for temporal_ordered with a way
	// to pick an event of each in order.
	for set := range 1 << len(c.Rules) {
		count, in := 0, map[string]bool{}
		for k, r := range c.Rules {
			if set&(1<<k) != 0 {
				count++
				in[r.Name] = true
			}
		}
		if c.Logic != "" && !truth(c.Logic, in) || c.Logic == "" && !schemas.AllHold(c.Condition, float64(count)) {
			continue
		}
		ok := true
		if c.Type == schemas.Temporal {
			for k := range c.Rules {
				ok = ok && met[k] == (set&(1<<k) != 0)
			}
		} else {
			from := time.Time{}
			for k := range c.Rules {
				if set&(1<<k) == 0 {
					continue
				}
				next := slices.IndexFunc(window, func(o *schemas.Match) bool { return o.Base == k && !o.Time.Before(from) })
				if ok = ok && next >= 0; ok {
					from = window[next].Time
				}
			}
		}
		if ok {
			return true
		}
	}
	return false
}

// truth knows the few conditions that the test uses.
func truth(logic string, in map[string]bool) bool {
	switch logic {
	case "a and not b or c":
		return in["a"] && !in["b"] || in["c"]
	case "a and (b or c)":
		return in["a"] && (in["b"] || in["c"])
	}
	panic(logic)
}

func TestLogicOfTheTest(t *testing.T) {
	for _, text := range []string{"a and not b or c", "a and (b or c)"} {
		l, err := rules.ParseLogic(text, []string{"a", "b", "c"})
		if err != nil {
			t.Fatal(err)
		}
		for met := range uint64(8) {
			if l.Holds(met) != truth(text, map[string]bool{"a": met&1 != 0, "b": met&2 != 0, "c": met&4 != 0}) {
				t.Errorf("%s of %03b", text, met)
			}
		}
	}
}

// drawCorrelation is any condition of a type that can be met.
func drawCorrelation(t *rapid.T, of schemas.CorrelationType) *schemas.Correlation {
	c := &schemas.Correlation{
		Type: of, Timespan: time.Duration(rapid.IntRange(1, 40).Draw(t, "span")) * time.Second, Version: "1",
		Rules: []schemas.BaseRule{{Name: "a"}, {Name: "b"}, {Name: "c"}},
	}
	op := func(ops ...string) string { return rapid.SampledFrom(ops).Draw(t, "op") }
	number := func(from, to int) float64 { return float64(rapid.IntRange(from, to).Draw(t, "threshold")) }
	switch of {
	case schemas.Temporal:
		if rapid.Bool().Draw(t, "logic") {
			c.Logic = rapid.SampledFrom([]string{"a and not b or c", "a and (b or c)"}).Draw(t, "condition")
			return c
		}
		c.Condition = []schemas.Comparison{{Op: op("gte", "eq", "lt"), Value: number(2, 3)}}
	case schemas.TemporalOrdered:
		if rapid.Bool().Draw(t, "logic") {
			c.Logic = "a and (b or c)"
			return c
		}
		c.Condition = []schemas.Comparison{{Op: "gte", Value: number(2, 3)}}
	case schemas.EventCount, schemas.ValueCount:
		c.Condition = []schemas.Comparison{{Op: op("gt", "gte", "lt", "lte", "eq", "neq"), Value: number(1, 6)}}
		if rapid.Bool().Draw(t, "range") {
			c.Condition = []schemas.Comparison{{Op: "gt", Value: 2}, {Op: "lte", Value: 4}}
		}
	default:
		c.Condition = []schemas.Comparison{{Op: op("gt", "gte", "lt", "lte", "eq", "neq"), Value: number(-3, 9) / 2}}
		c.Percentile = rapid.Float64Range(0.1, 99.9).Draw(t, "percentile")
	}
	return c
}

// arriving is an event with when it comes.
type arriving struct {
	m  *schemas.Match
	at time.Time
}

// drawEvents are events of one group, and the order in which they come: none
// later than lateness.
func drawEvents(t *rapid.T, c *schemas.Correlation, lateness time.Duration) (all []*schemas.Match, order []*schemas.Match) {
	at := time.Duration(0)
	var come []arriving
	for i := range rapid.IntRange(1, 60).Draw(t, "events") {
		at += time.Duration(rapid.SampledFrom([]int{0, 1, 2, 5, 9, 30, 60}).Draw(t, "gap")) * time.Second
		m := match(i, at, "x", c)
		m.Base = rapid.IntRange(0, len(c.Rules)-1).Draw(t, "base")
		switch {
		case c.Type == schemas.ValueCount:
			for range rapid.SampledFrom([]int{1, 1, 1, 2, 3}).Draw(t, "n") {
				m.Values = append(m.Values, fmt.Sprint(rapid.IntRange(0, 6).Draw(t, "value")))
			}
		case c.Type.IsNumeric():
			for range rapid.SampledFrom([]int{1, 1, 1, 2}).Draw(t, "n") {
				m.Numbers = append(m.Numbers, float64(rapid.IntRange(-8, 24).Draw(t, "number"))/4)
			}
		}
		delay := time.Duration(rapid.Int64Range(0, int64(lateness)).Draw(t, "delay"))
		all, come = append(all, m), append(come, arriving{m, m.Time.Add(delay)})
	}
	slices.SortStableFunc(come, func(a, b arriving) int { return a.at.Compare(b.at) })
	for _, a := range come {
		order = append(order, a.m)
	}
	return all, order
}

var types = []schemas.CorrelationType{
	schemas.EventCount, schemas.ValueCount, schemas.Temporal, schemas.TemporalOrdered,
	schemas.ValueSum, schemas.ValueAvg, schemas.ValueMedian, schemas.ValuePercentile,
}

// TestAgainstOracle: the same alerts come of the same events, in whatever order
// within the lateness they came, with second copies, and with a restart anywhere.
func TestAgainstOracle(t *testing.T) {
	for _, of := range types {
		t.Run(string(of), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				cfg := DefaultConfig()
				cfg.Lateness = time.Duration(rapid.SampledFrom([]int{0, 1, 7, 45}).Draw(t, "lateness")) * time.Second
				cfg.Quiet = time.Duration(rapid.SampledFrom([]int{1, 60, 100}).Draw(t, "quiet")) * time.Second
				c := drawCorrelation(t, of)
				all, order := drawEvents(t, c, cfg.Lateness)
				want := oracle(c, all, max(cfg.Quiet, c.Timespan+cfg.Lateness))

				s := newStreamOf(cfg)
				for _, m := range order {
					s.add(m)
					if rapid.IntRange(0, 9).Draw(t, "copy") == 0 {
						s.add(m)
					}
				}
				if diff := cmp.Diff(want, outcomes(s.alerts)); diff != "" {
					t.Fatalf("%s of %s, %s\n%s", of, c.Timespan, c.Text(), diff)
				}
				s.fold.Losses(func(l Losses) { t.Fatalf("%+v", l) })

				// The process dies after some were written, and reads again from where
				// it had committed, with what goes before. A condition that events can
				// undo may have raised and withdrawn alerts in between, which nobody
				// remembers: for it the test ends the process in order.
				committed := rapid.IntRange(0, len(order)).Draw(t, "committed")
				written := committed
				if d, err := define(c, cfg.Lateness); err != nil {
					t.Fatal(err)
				} else if d.rising {
					written = rapid.IntRange(committed, len(order)).Draw(t, "written")
				}
				died := newStreamOf(cfg)
				for _, m := range order[:written] {
					died.add(m)
				}
				again := newStreamOf(cfg)
				var seed []schemas.Alert
				for id, a := range died.alerts {
					again.alerts[id] = a
					if a.Status == schemas.AlertOpen {
						seed = append(seed, a)
					}
				}
				again.fold.Seed(seed)
				for _, m := range order[:committed] {
					again.fold.Warm(m)
				}
				for i, m := range order[committed:] {
					again.addAt(m, int64(committed+i))
				}
				if diff := cmp.Diff(want, outcomes(again.alerts)); diff != "" {
					t.Fatalf("after a restart at %d, %d written: %s of %s, %s\n%s", committed, written, of, c.Timespan, c.Text(), diff)
				}
			})
		})
	}
}
