package kafka

import "testing"

// TestAdapt: what is asked for grows while answers are as small as asked, and
// shrinks until the records of an answer take what they may.
func TestAdapt(t *testing.T) {
	f := func(ratio, want int64) {
		t.Helper()
		r := reader{want: leastBytes}
		most := int64(0)
		for range 20 { // answers that are full
			held := ratio * r.want
			r.adapt(held)
			most = max(most, held)
		}
		if r.want != want || most > max(2*fetchBytes, ratio*leastBytes) {
			t.Errorf("compressed to one in %d: asks for %d, want %d; an answer held %d", ratio, r.want, want, most)
		}
	}
	f(1, fetchBytes)
	f(2, fetchBytes/2)
	f(14, 256<<10)
	f(1000, leastBytes)

	r := reader{want: leastBytes}
	for range 20 { // a quiet topic
		r.adapt(1000)
	}
	if r.want != leastBytes {
		t.Errorf("a quiet topic makes it ask for %d", r.want)
	}
	r.want = fetchBytes
	r.adapt(16 * fetchBytes)
	if r.want != fetchBytes/16 {
		t.Errorf("after too much it asks for %d", r.want)
	}
}
