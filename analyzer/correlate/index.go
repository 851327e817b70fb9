package correlate

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"fengsui/schemas"
)

// index finds groups by their keys.
type index struct {
	table []entry // open addressing, a power of two, at most half full
	used  int
}

type entry struct {
	key   uint64
	group *group // nil is free
}

func (x *index) find(key uint64) int {
	mask := len(x.table) - 1
	at := int(key) & mask //nolint:gosec // masked
	for x.table[at].group != nil && x.table[at].key != key {
		at = (at + 1) & mask
	}
	return at
}

func (x *index) get(key uint64) *group {
	if x.used == 0 {
		return nil
	}
	return x.table[x.find(key)].group
}

// put adds a group whose key is not there.
func (x *index) put(g *group) {
	if 2*(x.used+1) > len(x.table) {
		old := x.table
		x.table = make([]entry, max(64, 2*len(old)))
		for _, e := range old {
			if e.group != nil {
				x.table[x.find(e.key)] = e
			}
		}
	}
	x.table[x.find(g.key)] = entry{g.key, g}
	x.used++
}

// remove takes out a key that is there.
func (x *index) remove(key uint64) {
	mask := len(x.table) - 1
	hole := x.find(key)
	x.table[hole] = entry{}
	x.used--
	for at := (hole + 1) & mask; x.table[at].group != nil; at = (at + 1) & mask {
		home := int(x.table[at].key) & mask //nolint:gosec // masked
		if (at-home)&mask >= (at-hole)&mask {
			x.table[hole], x.table[at] = x.table[at], entry{}
			hole = at
		}
	}
}

// Lookahead is how many matches are best expected at once: as many as can have
// their reads under way together, and what they read stays in the processor's first
// cache.
const Lookahead = 16

// ahead is a match that is expected, with its hashes.
type ahead struct {
	m *schemas.Match
	hashes
	group *group
}

// hashes are what a match is known by.
type hashes struct {
	id    uint64 // tells matches apart as schemas.Match.ID does
	key   uint64 // tells groups apart as schemas.Match.Key does: among a hundred thousand, two are alike once in about 3.7 billion runs
	value uint64 // of the first of Match.Values
}

func hashesOf(m *schemas.Match) (h hashes) {
	rule := xxhash.Sum64String(m.Rule.ID)
	if h.id = mix(xxhash.Sum64String(m.EventID), rule); m.CountsBase() {
		h.id = mix(h.id, uint64(m.Base)+1) //nolint:gosec // a hash
	}
	if h.key = rule; m.Correlation == nil && m.Unit != "" {
		h.key = mix(h.key, ^xxhash.Sum64String(m.Unit))
	}
	for i := range m.Group {
		h.key = mix(h.key, xxhash.Sum64String(m.Group[i].Value))
	}
	if len(m.Values) > 0 {
		h.value = xxhash.Sum64String(m.Values[0])
	}
	return h
}

// mix spreads and joins two hashes.
func mix(a, b uint64) uint64 {
	x := (a ^ b) * 0x9e3779b97f4a7c15
	return (x ^ x>>32) + b
}

// Expect brings near what the matches need that are added next, in this order:
// over many groups most of an update is waiting for memory, and what is waited
// for together takes the time of one. It changes nothing that is counted, and
// matches need not be expected.
//
// It goes through them step by step, each step with what the one before brought
// near, and in as few instructions as can be: a processor begins no read that lies
// some hundreds of instructions behind one that it waits for.
func (f *Fold) Expect(next []*schemas.Match) {
	f.expected = f.expected[:0]
	f.reached = 0
	for _, m := range next {
		f.expected = append(f.expected, ahead{m: m, hashes: hashesOf(m)})
	}
	near := uint64(0)
	for i := range f.expected {
		a := &f.expected[i]
		near += f.seen.Peek(a.id, i) + f.groups.peek(a.key)
	}
	for i := range f.expected {
		a := &f.expected[i]
		if a.group = f.groups.get(a.key); a.group != nil {
			near += a.group.peek()
		}
	}
	for i := range f.expected {
		if a := &f.expected[i]; a.group != nil {
			near += a.group.window.peek()
		}
	}
	for i := range f.expected {
		if a := &f.expected[i]; a.group != nil {
			near += a.group.window.peekTallies(a.value)
		}
	}
	f.near = near
}

func (x *index) peek(key uint64) uint64 {
	if len(x.table) == 0 {
		return 0
	}
	return x.table[int(key)&(len(x.table)-1)].key //nolint:gosec // masked
}

// peek reads from all over the group, which takes several lines of the processor's
// memory.
func (g *group) peek() uint64 {
	w := &g.window
	return uint64(len(g.alerts)+len(w.items)+w.values.used+len(w.ranked.few)) + uint64(w.last) //nolint:gosec // no value
}

// peek reads where a sighting will be put in and where the first that leave stand.
func (w *window) peek() (near uint64) {
	n := len(w.items)
	if n > 0 {
		near = uint64(w.items[w.head].at + w.items[w.lo].at + w.items[min(w.lo+1, n-1)].at) //nolint:gosec // no value
	}
	if n < min(cap(w.items), cap(w.origins)) {
		near += w.items[:n+1][n].value + uint64(len(w.origins[:n+1][n].eventID))
	}
	return near
}

// peekTallies reads where a value is counted that comes and the next that leaves.
func (w *window) peekTallies(value uint64) (near uint64) {
	if len(w.items) == 0 {
		return 0
	}
	switch w.def.kind {
	case valueCount:
		mask := uint64(len(w.values.table) - 1)
		near = w.values.table[value&mask].hash + w.values.table[w.items[w.lo].value&mask].hash
	case percentile:
		if few := w.ranked.few; len(few) > 0 {
			near = math.Float64bits(few[0]) + math.Float64bits(few[len(few)-1])
		}
	case ordered:
		near = uint64(w.rules[0]) + uint64(w.starts[0]+w.undo[len(w.undo)-1]) //nolint:gosec // no value
	case temporal:
		near = uint64(w.rules[0])
	case eventCount, sumOf, average: // stand in the window
	}
	return near
}

// hashes are those of a match, known if it was expected.
func (f *Fold) hashes(m *schemas.Match) hashes {
	if f.reached < len(f.expected) && f.expected[f.reached].m == m {
		f.reached++
		return f.expected[f.reached-1].hashes
	}
	return hashesOf(m)
}
