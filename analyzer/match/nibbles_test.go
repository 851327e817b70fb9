package match

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Texts are found where they stand and nowhere else, whichever way they are looked
// for, in texts of all lengths.
func TestLiteralsFindAll(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 11))
	const letters = "aAbBzZ:\\.@`0pP é\x00"
	text := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = letters[random.IntN(len(letters))]
		}
		return string(b)
	}
	for round := range 20_000 {
		few := 12
		if round%40 < 2 {
			few = 2 * maxNibbles
		}
		texts := make([]string, 1+random.IntN(few))
		for i := range texts {
			texts[i] = fold(text(1 + random.IntN(12)))
			if round%2 == 0 {
				texts[i] += fold(text(gramBytes))
			}
		}
		slices.Sort(texts)
		texts = slices.Compact(texts)
		s := text(random.IntN(150))
		for range random.IntN(3) {
			at := random.IntN(len(s) + 1)
			s = s[:at] + strings.ToUpper(texts[random.IntN(len(texts))]) + s[at:]
		}
		type place struct {
			text int32
			at   int
		}
		var want, got []place
		for n, one := range texts {
			for at := range len(s) - len(one) + 1 {
				if same([]byte(s[at:at+len(one)]), one) {
					want = append(want, place{int32(n), at}) //nolint:gosec // a few
				}
			}
		}
		l := newLiterals(texts)
		one := *l
		for _, l := range []*literals{l, &one} {
			got = nil
			l.find([]byte(s), func(text int32, at int) bool {
				got = append(got, place{text, at})
				return true
			})
			for _, w := range want {
				if !slices.Contains(got, w) {
					t.Fatalf("%q at %d of %q is not found among %q", texts[w.text], w.at, s, texts)
				}
			}
			if len(got) != len(want) {
				t.Fatalf("in %q of %q: %v, want %v", s, texts, got, want)
			}
			one.fast = nil
		}
		seen := 0
		l.find([]byte(s), func(int32, int) bool {
			seen++
			return false
		})
		if seen > 1 || (seen == 1) != (len(want) > 0) {
			t.Fatalf("it went on after it was stopped: %d", seen)
		}
	}
}

// Nothing is read behind a text's end.
func TestLiteralsStayInside(t *testing.T) {
	page := unix.Getpagesize()
	memory, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(memory) }()
	if err := unix.Mprotect(memory[page:], unix.PROT_NONE); err != nil {
		t.Fatal(err)
	}
	l := newLiterals([]string{"needle", "sekurlsa::"})
	for n := range 200 {
		if s := memory[page-n : page]; l.any(s) {
			t.Fatalf("found in %d zeroes", n)
		} else if n >= len("needle") {
			copy(s[n-len("needle"):], "NEEDLE")
			if !l.any(s) {
				t.Fatalf("not found at the end of %d bytes", n)
			}
			clear(s)
		}
	}
}
