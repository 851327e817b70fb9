package seen

import (
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"
	"pgregory.net/rapid"
)

// TestSet: what was noted among the last ids is known, and nothing else, whether
// hashes are well spread or so many of them ask for one bucket that most spill.
func TestSet(t *testing.T) {
	f := func(name string, most int, hash func(byte) uint64) {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				most := rapid.IntRange(1, most).Draw(t, "most")
				s := New(most)
				var fresh []byte // new ids in the order in which they came
				for range rapid.IntRange(0, 300).Draw(t, "notes") {
					id := rapid.ByteRange(0, byte(2*most)).Draw(t, "id") //nolint:gosec // up to 120
					want := slices.Contains(fresh[max(0, len(fresh)-most):], id)
					s.Peek(rapid.Uint64().Draw(t, "peeked"), rapid.IntRange(0, 40).Draw(t, "nth")) // which changes nothing
					if got := s.NoteHash(hash(id)); got != want {
						t.Fatalf("%d known: %v, want %v", id, got, want)
					}
					if !want {
						fresh = append(fresh, id)
					}
					held, spilled := len(s.spilled), 0
					for _, b := range s.buckets {
						held += int(b.n)
						spilled += int(b.spilled)
					}
					if n := min(most, len(fresh)); s.Len() != n || held != n || len(s.order) != n || len(s.spilled) != spilled {
						t.Fatalf("%d ids remembered, %d held, %d in order, want %d; %d spilled, of all buckets %d",
							s.Len(), held, len(s.order), n, len(s.spilled), spilled)
					}
				}
			})
		})
	}
	f("spread", 60, func(id byte) uint64 { return xxhash.Sum64([]byte{id}) })
	f("crowded", 30, func(id byte) uint64 { return uint64(id)<<32 | uint64(id%2) })
}

// TestNote: an id that hashes to nothing is an id, too.
func TestNote(t *testing.T) {
	s := New(2)
	f := func(known bool, h uint64) {
		t.Helper()
		if got := s.NoteHash(h); got != known {
			t.Errorf("hash %d known: %v, want %v", h, got, known)
		}
	}
	f(false, 0)
	f(true, 0)
	f(false, 2)
	f(false, 3)
	f(false, 0)
	if s = New(1); s.Note("a") || !s.Note("a") || s.Note("b") || s.Note("a") {
		t.Error("the last id is known, and no other")
	}
}
