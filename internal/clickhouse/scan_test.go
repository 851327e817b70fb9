package clickhouse

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

// texts are a value's texts, as rules compare them.
func texts(v schemas.Value) (out []string) {
	if v.Kind() != schemas.KindList {
		return []string{v.Text()}
	}
	for _, e := range v.List() {
		out = append(out, texts(e)...)
	}
	return out
}

// seen is everything that rules may see of an event.
func seen(ev *schemas.Event) string {
	lines := []string{fmt.Sprintf("%s %d %q %q %q %q %v %v %q", ev.Stream, ev.Seq, ev.Unit, ev.Source, ev.Input, ev.Format, ev.Received.UTC(), ev.Drill, ev.Original)}
	add := func(name string, v schemas.Value) {
		if t := texts(v); len(t) > 0 {
			lines = append(lines, fmt.Sprintf("%s = %q", name, t))
		}
	}
	ev.Each(func(id schemas.FieldID, v schemas.Value) { add(id.String(), v) })
	for _, o := range ev.Open() {
		add(o.Name, o.Value)
	}
	sort.Strings(lines[1:])
	return strings.Join(lines, "\n")
}

// anyValue is a value of any kind, of the field's type or not.
func anyValue(r *rand.Rand, depth int) schemas.Value {
	word := []string{"", "a", "root", "中文\x00'\\\"", "7", "007", "5.0", "true", "2026-03-01T08:00:00Z", "1e9", strings.Repeat("x", 300)}
	switch n := r.IntN(12); {
	case n < 4:
		return schemas.String(word[r.IntN(len(word))])
	case n < 6:
		return schemas.Int([]int64{0, -1, 80, 1 << 62, 123456789}[r.IntN(5)])
	case n < 7:
		return schemas.Float([]float64{0, 0.5, -1e30, 123456789, 3}[r.IntN(5)])
	case n < 8:
		return schemas.Bool(r.IntN(2) == 1)
	case n < 10 || depth > 1:
		at := time.Date(2026, 3, 1, 8, 0, 0, r.IntN(2)*123456000+r.IntN(2)*789, time.UTC)
		return schemas.Time([]time.Time{at, time.Date(1800, 1, 1, 0, 0, 0, 0, time.UTC)}[r.IntN(8)/7])
	}
	vs := make([]schemas.Value, r.IntN(4))
	for i := range vs {
		vs[i] = anyValue(r, depth+1)
	}
	return schemas.List(vs...)
}

// TestScanEvents: whatever an event holds, it comes back with the same texts; in
// order, whole, and each once, however small the pages.
func TestScanEvents(t *testing.T) {
	db := open(t)
	r := rand.New(rand.NewPCG(1, 2))
	begin := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	want := map[string]string{}
	b := NewEventBatch()
	for i := range 2000 {
		ev := &schemas.Event{}
		ev.Origin = schemas.Origin{
			Stream: "s", Seq: uint64(i), Unit: "1", Source: "10.0.0.1", Input: "in", Format: "auto",
			Received: begin.Add(time.Duration(i) * time.Microsecond), Drill: i%7 == 0,
		}
		ev.Original = fmt.Sprintf("line %d", i)
		ev.SetTime(schemas.FieldTimestamp, begin.Add(time.Duration(i/10)*time.Second)) // ten of one time
		for range r.IntN(12) {
			id := schemas.FieldID(r.IntN(schemas.NumFields))
			if id != schemas.FieldTimestamp {
				ev.Set(id, anyValue(r, 0))
			}
		}
		for k := range r.IntN(4) {
			ns := schemas.OpenNamespaces()[r.IntN(len(schemas.OpenNamespaces()))]
			ev.SetOpen(fmt.Sprintf("%skey.%d", ns.Prefix, k), anyValue(r, 0))
		}
		if i%2 == 0 {
			ev.Set(schemas.FieldFengsuiUnitPath, schemas.Strings("11", "1"))
		}
		want[ev.EventID()] = seen(ev)
		b.Add(ev, 0, int64(i))
	}
	if err := db.InsertEvents(t.Context(), b, ingested, "t"); err != nil {
		t.Fatal(err)
	}
	f := func(r EventRange, page, count int) {
		t.Helper()
		n, err := db.CountEvents(t.Context(), r)
		if err != nil || n != uint64(count) {
			t.Errorf("%+v: %d events are counted, want %d: %v", r, n, count, err)
		}
		got := map[string]bool{}
		var last time.Time
		err = db.ScanEvents(t.Context(), r, page, func(ev *schemas.Event) error {
			id := ev.EventID()
			if s := seen(ev); s != want[id] {
				t.Fatalf("stored\n%s\nread\n%s", want[id], s)
			}
			if got[id] || ev.Time().Before(last) {
				t.Errorf("%s comes twice, or after %v", id, last)
			}
			got[id], last = true, ev.Time()
			return nil
		})
		if err != nil || len(got) != count {
			t.Errorf("%+v in pages of %d: %d events, want %d: %v", r, page, len(got), count, err)
		}
	}
	all := EventRange{From: begin, To: begin.Add(time.Hour)}
	f(all, 100_000, 2000)
	f(all, 2000, 2000)
	f(all, 333, 2000)
	f(all, 7, 2000)
	f(EventRange{From: begin.Add(10 * time.Second), To: begin.Add(12 * time.Second)}, 3, 20)
	f(EventRange{From: begin, To: begin.Add(time.Second), Unit: "11"}, 100, 5)
	f(EventRange{From: begin, To: begin.Add(time.Second), Unit: "2"}, 100, 0)
	f(EventRange{From: begin.Add(time.Hour), To: begin.Add(2 * time.Hour)}, 100, 0)

	enough := errors.New("enough")
	if err := db.ScanEvents(t.Context(), all, 100, func(*schemas.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("the caller's error came back as %v", err)
	}
}

// BenchmarkScanEvents is what reading back costs, a core of the client's side
// and the embedded store together: rows/s.
func BenchmarkScanEvents(b *testing.B) {
	db := open(b)
	events := benchEvents(50_000)
	batch := NewEventBatch()
	for i := range events {
		batch.Add(&events[i], 0, int64(i))
	}
	if err := db.InsertEvents(b.Context(), batch, ingested, "t"); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		err := db.ScanEvents(b.Context(), EventRange{To: time.Now().Add(time.Hour)}, 20_000, func(*schemas.Event) error { n++; return nil })
		if err != nil || n != len(events) {
			b.Fatal(n, err)
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(events))/b.Elapsed().Seconds(), "rows/s")
}
