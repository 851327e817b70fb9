package match

import (
	"fmt"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"

	"fengsui/analyzer/parse"
)

// TestValues: what is remembered of a value is what was put last, or nothing; what
// comes again and again stays, whatever else comes; and a flood of values takes no
// more than a bounded table.
func TestValues(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := newValues(1)
		table := &v.tables[0][plainValue]
		last := map[string]uint32{}
		entryOf := func(key string) (uint32, bool) {
			at := v.get(table, []byte(key))
			return v.entry(at), at != unremembered
		}
		for i := range rapid.IntRange(0, 600).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"", "a", "b", fmt.Sprint(i), fmt.Sprint(i / 2), fmt.Sprint(i % 97)}).Draw(t, "key")
			switch n, ok := entryOf(key); {
			case ok && n != last[key]:
				t.Fatalf("%q: another entry than what was put", key)
			case ok && i%3 == 0:
				last[key] = uint32(i) //nolint:gosec // a few
				v.set(v.get(table, []byte(key)), &entry{number: last[key]})
			case !ok:
				last[key] = uint32(i) //nolint:gosec // a few
				v.put(table, []byte(key), &entry{number: last[key]})
			}
			if n, ok := entryOf(key); !ok || n != last[key] {
				t.Fatalf("%q: forgotten at once", key)
			}
		}
	})

	if size := unsafe.Sizeof(bucket{}); size != 64 {
		t.Errorf("a bucket takes %d bytes", size)
	}
	v := newValues(1)
	table := &v.tables[0][plainValue]
	often := v.put(table, []byte("often"), nothing)
	for i := range 20 * maxBuckets {
		once := fmt.Append(nil, "once ", i)
		v.put(table, once, nothing)
		if v.get(table, once) == unremembered {
			t.Fatalf("%s: forgotten at once", once)
		}
		if v.get(table, []byte("often")) != often {
			t.Fatalf("what comes all the time was forgotten after %d values", i)
		}
	}
	if len(table.buckets) != maxBuckets {
		t.Errorf("%d buckets, want %d", len(table.buckets), maxBuckets)
	}
	long := make([]byte, maxCachedValue+1)
	if v.put(table, long, nothing) != unremembered || v.get(table, long) != unremembered {
		t.Error("a value that is too long was remembered")
	}
}

// TestPlaces: a tag is found in whichever place of a bucket it is.
func TestPlaces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b bucket
		for i := range b.tags {
			b.tags[i] = rapid.SampledFrom([]uint8{0, 1, 2, 0x7f, 0x80, 0x81, 0xff}).Draw(t, "tag")
		}
		tag := rapid.SampledFrom([]uint8{0, 1, 2, 0x7f, 0x80, 0x81, 0xff}).Draw(t, "looked for")
		found := map[int]bool{}
		for m := b.places(tag); m != 0; m &= m - 1 {
			found[placeOf(m)] = true
		}
		for i := range b.tags {
			if b.tags[i] == tag && !found[i] {
				t.Fatalf("%d in place %d of %v is not found: %v", tag, i, b.tags, found)
			}
		}
	})
}

// TestForgetting: what was forgotten is worked out again, to the same; values that
// mean the same share what they mean; and an expression is tried once a value.
func TestForgetting(t *testing.T) {
	e, problems := Compile(parseRules(t, rawRules), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var lines [][]byte
	for i := range 300 {
		lines = append(lines, fmt.Appendf(nil, `{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":%d,"UtcTime":"2026-01-02 03:04:05.678","User":%s,"Image":"C:\\%d\\cmd.exe","ProcessId":%d,"CommandLine":"set %d /c naïve%s"}`,
			1+i%7/6, []string{`"u"`, `["u","v"]`, `[null]`, "null"}[i%4], i%20, 3990+i%20, i, []string{"", ` && set \"`, ` && set`}[i%3]))
	}
	raw := e.Raw(parse.Windows())
	s := raw.state
	expressions := func() (waiting, settled int) {
		table := &s.values.tables[slices.IndexFunc(e.slots, func(d slotDef) bool { return slices.Contains(d.names, "winlog.event_data.CommandLine") })]
		for _, kind := range table {
			for _, b := range kind.buckets {
				for _, at := range b.held {
					if at == unremembered {
						continue
					}
					if len(s.remembered(at).later) > 0 {
						waiting++
					} else {
						settled++
					}
				}
			}
		}
		return waiting, settled
	}
	all := 0
	for round := range 6 {
		for i, line := range lines {
			if round%2 == 1 && i%7 == 0 {
				s.values.cached = maxCachedBytes + 1
			}
			compareRaw(t, e, raw, line)
			if round%2 == 1 && i%7 == 0 && (len(s.values.memory) > len(line)+20*valueHead || len(s.finding.entries) >= all) {
				t.Fatalf("%d bytes of values and %d entries after all was to be forgotten", len(s.values.memory), len(s.finding.entries))
			}
		}
		waiting, settled := expressions()
		switch {
		case round%2 == 1:
		case settled < 250:
			t.Errorf("%d command lines are remembered, %d of them wait for an expression", waiting+settled, waiting)
		case waiting > 10: // of the events that are no processes
			t.Errorf("%d command lines wait for an expression that was asked for", waiting)
		}
		if all = len(s.finding.entries); all > 20 {
			t.Errorf("%d entries for %d values", all, len(lines))
		}
	}
}
