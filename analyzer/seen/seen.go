// Package seen remembers ids in bounded memory, so that a second copy of a
// record is recognised. It is pure, and never says of a new id that it is old,
// but for an accident of hashing.
package seen

import "github.com/cespare/xxhash/v2"

// Set remembers the last ids that were noted. It is not safe for concurrent use.
type Set struct {
	most    int
	buckets []bucket            // a power of two, about half full
	spilled map[uint64]struct{} // what found its bucket full
	used    int
	order   []uint64 // in a ring, the oldest at next
	next    int
}

// bucket is one line of the processor's memory: all that is looked at to find an id,
// but for the few that spilled.
type bucket struct {
	ids     [7]uint64 // the first so many; the others are 0
	n       uint32
	spilled uint32 // how many of this bucket are in Set.spilled
}

// New makes a set that remembers at most so many ids.
func New(most int) *Set {
	return &Set{most: most, buckets: make([]bucket, 8), spilled: map[uint64]struct{}{}}
}

// Note notes an id and says whether it was known. Ids are kept as 64 bits: among
// a million, two are alike once in about 37 million runs.
func (s *Set) Note(id string) (known bool) { return s.NoteHash(xxhash.Sum64String(id)) }

// NoteHash is Note for an id that the caller has hashed, well spread over 64
// bits.
func (s *Set) NoteHash(h uint64) (known bool) {
	if h == 0 {
		h = 1
	}
	if s.has(h) {
		return true
	}
	if len(s.order) < s.most {
		s.order = append(s.order, h)
	} else {
		s.remove(s.order[s.next])
		s.order[s.next] = h
		if s.next++; s.next == s.most {
			s.next = 0
		}
	}
	if s.used++; s.used > 4*len(s.buckets) {
		s.grow()
	}
	s.put(h)
	return false
}

// Peek reads the places where h stands or would, and where the id stands that is
// forgotten for the nth new one from now, so that they are near when NoteHash looks
// there. What it returns has no meaning.
func (s *Set) Peek(h uint64, nth int) uint64 {
	near := s.at(h).ids[0]
	if len(s.order) < s.most {
		return near
	}
	if nth += s.next; nth >= len(s.order) {
		nth -= len(s.order)
	}
	if nth < len(s.order) {
		near += s.at(s.order[nth]).ids[0]
	}
	return near
}

func (s *Set) at(h uint64) *bucket { return &s.buckets[h&uint64(len(s.buckets)-1)] }

func (s *Set) has(h uint64) bool {
	b := s.at(h)
	for _, id := range &b.ids {
		if id == h {
			return true
		}
	}
	if b.spilled == 0 {
		return false
	}
	_, ok := s.spilled[h]
	return ok
}

func (s *Set) put(h uint64) {
	b := s.at(h)
	if int(b.n) == len(b.ids) {
		b.spilled++
		s.spilled[h] = struct{}{}
		return
	}
	b.ids[b.n] = h
	b.n++
}

// remove takes out what is there.
func (s *Set) remove(h uint64) {
	s.used--
	b := s.at(h)
	for i, id := range &b.ids {
		if id == h {
			b.n--
			b.ids[i], b.ids[b.n] = b.ids[b.n], 0
			return
		}
	}
	b.spilled--
	delete(s.spilled, h)
}

func (s *Set) grow() {
	old, spilled := s.buckets, s.spilled
	s.buckets, s.spilled = make([]bucket, 2*len(old)), map[uint64]struct{}{}
	for i := range old {
		for _, h := range old[i].ids[:old[i].n] {
			s.put(h)
		}
	}
	for h := range spilled {
		s.put(h)
	}
}

// Len is the number of ids remembered.
func (s *Set) Len() int { return s.used }
