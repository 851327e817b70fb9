package match

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestCache: what is remembered of a value is what was put last, or nothing; what
// comes again and again stays, whatever else comes; and a flood of values takes no
// more than a bounded table.
func TestCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c cache
		last := map[string]*entry{}
		for i := range rapid.IntRange(0, 600).Draw(t, "steps") {
			key := rapid.SampledFrom([]string{"", "a", "b", fmt.Sprint(i), fmt.Sprint(i / 2), fmt.Sprint(i % 97)}).Draw(t, "key")
			e := c.get([]byte(key))
			if e != nil && e != last[key] {
				t.Fatalf("%q: another entry than what was put", key)
			}
			if e == nil {
				last[key] = &entry{}
				c.put([]byte(key), last[key])
			}
			if c.get([]byte(key)) != last[key] {
				t.Fatalf("%q: forgotten at once", key)
			}
		}
	})

	var c cache
	often := &entry{}
	c.put([]byte("often"), often)
	for i := range 20 * maxBuckets {
		once := fmt.Append(nil, "once ", i)
		c.put(once, &entry{})
		if c.get(once) == nil {
			t.Fatalf("%s: forgotten at once", once)
		}
		if c.get([]byte("often")) != often {
			t.Fatalf("what comes all the time was forgotten after %d values", i)
		}
	}
	if len(c.buckets) != maxBuckets {
		t.Errorf("%d buckets, want %d", len(c.buckets), maxBuckets)
	}
	if c.put(make([]byte, maxCachedValue+1), often) != 0 || c.get(make([]byte, maxCachedValue+1)) != nil {
		t.Error("a value that is too long was remembered")
	}
}
