// Package seen remembers ids in bounded memory, so that a second copy of a
// record is recognised. It is pure, and never says of a new id that it is old,
// but for an accident of hashing.
package seen

import "github.com/cespare/xxhash/v2"

// Set remembers the last ids that were noted. It is not safe for concurrent use.
type Set struct {
	most  int
	table []uint64 // open addressing, a power of two, at most half full; 0 is free
	used  int
	order []uint64 // in a ring, the oldest at next
	next  int
}

// New makes a set that remembers at most so many ids.
func New(most int) *Set { return &Set{most: most, table: make([]uint64, 64)} }

// Note notes an id and says whether it was known. Ids are kept as 64 bits: among
// a million, two are alike once in about 37 million runs.
func (s *Set) Note(id string) (known bool) { return s.NoteHash(xxhash.Sum64String(id)) }

// NoteHash is Note for an id that the caller has hashed, well spread over 64
// bits.
func (s *Set) NoteHash(h uint64) (known bool) {
	if h == 0 {
		h = 1
	}
	at := s.find(h)
	if s.table[at] == h {
		return true
	}
	if len(s.order) < s.most {
		s.order = append(s.order, h)
	} else {
		s.remove(s.order[s.next])
		s.order[s.next] = h
		s.next = (s.next + 1) % s.most
		at = s.find(h) // the removal may have moved what stood in between
	}
	s.table[at] = h
	if s.used++; 2*s.used > len(s.table) {
		s.grow()
	}
	return false
}

// Peek reads the places where h stands or would, and where the id stands that is
// forgotten for the nth new one from now, so that they are near when NoteHash looks
// there. What it returns has no meaning.
func (s *Set) Peek(h uint64, nth int) uint64 {
	mask := len(s.table) - 1
	near := s.table[int(h)&mask] //nolint:gosec // masked
	if len(s.order) < s.most {
		return near
	}
	if nth += s.next; nth >= len(s.order) {
		nth -= len(s.order)
	}
	if nth < len(s.order) {
		near += s.table[int(s.order[nth])&mask] //nolint:gosec // masked
	}
	return near
}

// find is where h stands, or where it would.
func (s *Set) find(h uint64) int {
	mask := len(s.table) - 1
	at := int(h) & mask //nolint:gosec // masked
	for s.table[at] != 0 && s.table[at] != h {
		at = (at + 1) & mask
	}
	return at
}

// remove frees the place of h and moves up what stood behind it because of it.
func (s *Set) remove(h uint64) {
	mask := len(s.table) - 1
	hole := s.find(h)
	s.table[hole] = 0
	s.used--
	for at := (hole + 1) & mask; s.table[at] != 0; at = (at + 1) & mask {
		home := int(s.table[at]) & mask //nolint:gosec // masked
		if (at-home)&mask >= (at-hole)&mask {
			s.table[hole], s.table[at] = s.table[at], 0
			hole = at
		}
	}
}

func (s *Set) grow() {
	old := s.table
	s.table = make([]uint64, 2*len(old))
	for _, h := range old {
		if h != 0 {
			s.table[s.find(h)] = h
		}
	}
}

// Len is the number of ids remembered.
func (s *Set) Len() int { return s.used }
