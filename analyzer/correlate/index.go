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

// Lookahead is how many matches are best expected at once: as many reads as a
// processor has under way together.
const Lookahead = 16

// ahead is a match that is expected, with its hashes.
type ahead struct {
	m       *schemas.Match
	id, key uint64
	group   *group
}

// Expect brings near what the matches need that are added next, in this order:
// over many groups most of an update is waiting for memory, and what is waited
// for together takes the time of one. It changes nothing that is counted, and
// matches need not be expected.
func (f *Fold) Expect(next []*schemas.Match) {
	f.expected = f.expected[:0]
	f.reached = 0
	near := uint64(0)
	for i, m := range next {
		a := ahead{m: m, id: idHash(m), key: keyHash(m)}
		near += f.seen.Peek(a.id, i) + f.groups.peek(a.key)
		f.expected = append(f.expected, a)
	}
	for i := range f.expected {
		a := &f.expected[i]
		if a.group = f.groups.get(a.key); a.group != nil {
			near += a.group.peek()
		}
	}
	for i := range f.expected {
		if a := &f.expected[i]; a.group != nil {
			near += a.group.window.peek(a.m)
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
	return g.key + uint64(len(g.alerts)+len(w.items)+w.values.used+len(w.ranked.few)) + uint64(w.last) //nolint:gosec // no value
}

// peek reads what an update of the window begins with.
func (w *window) peek(m *schemas.Match) uint64 {
	if len(w.items) == 0 {
		return 0
	}
	near := uint64(w.items[w.lo].at + w.items[len(w.items)-1].at) //nolint:gosec // no value
	if len(w.values.table) > 0 && len(m.Values) > 0 {
		near += w.values.table[xxhash.Sum64String(m.Values[0])&uint64(len(w.values.table)-1)].hash
		near += w.values.table[w.items[w.lo].value&uint64(len(w.values.table)-1)].hash
	}
	if n := len(w.ranked.few); n > 0 {
		near += math.Float64bits(w.ranked.few[n/2])
	}
	return near
}

// hashes are those of a match, known if it was expected.
func (f *Fold) hashes(m *schemas.Match) (id, key uint64) {
	if f.reached < len(f.expected) && f.expected[f.reached].m == m {
		a := &f.expected[f.reached]
		f.reached++
		return a.id, a.key
	}
	return idHash(m), keyHash(m)
}
