package seen

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestSet: what was noted among the last ids is known, and nothing else.
func TestSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(1, 20).Draw(t, "most")
		s := New(most)
		var fresh []string // new ids in the order in which they came
		for range rapid.IntRange(0, 200).Draw(t, "notes") {
			id := fmt.Sprint(rapid.IntRange(0, 40).Draw(t, "id"))
			want := false
			for _, old := range fresh[max(0, len(fresh)-most):] {
				want = want || old == id
			}
			s.Peek(rapid.Uint64().Draw(t, "peeked"), rapid.IntRange(0, 40).Draw(t, "nth")) // which changes nothing
			if got := s.Note(id); got != want {
				t.Fatalf("%s known: %v, want %v", id, got, want)
			}
			if !want {
				fresh = append(fresh, id)
			}
			if s.Len() > most || len(s.order) > most {
				t.Fatalf("%d ids remembered, at most %d were asked for", s.Len(), most)
			}
		}
	})
}
