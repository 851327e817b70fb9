// Package seen remembers ids in bounded memory, so that a second copy of a
// record is recognised. It is pure, and never says of a new id that it is old,
// but for an accident of hashing.
package seen

import "github.com/cespare/xxhash/v2"

// Set remembers the last ids that were noted. It is not safe for concurrent use.
type Set struct {
	most  int
	known map[uint64]struct{}
	order []uint64 // in a ring, the oldest at next
	next  int
}

// New makes a set that remembers at most so many ids.
func New(most int) *Set { return &Set{most: most, known: map[uint64]struct{}{}} }

// Note notes an id and says whether it was known. Ids are kept as 64 bits: among
// a million, two are alike once in about 37 million runs.
func (s *Set) Note(id string) (known bool) {
	h := xxhash.Sum64String(id)
	if _, ok := s.known[h]; ok {
		return true
	}
	s.known[h] = struct{}{}
	if len(s.order) < s.most {
		s.order = append(s.order, h)
		return false
	}
	delete(s.known, s.order[s.next])
	s.order[s.next] = h
	s.next = (s.next + 1) % s.most
	return false
}

// Len is the number of ids remembered.
func (s *Set) Len() int { return len(s.known) }
