package match

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// An automaton says what package regexp says, whatever the expression, and
// declines rather than guess.
func FuzzAutomaton(f *testing.F) {
	for _, want := range []string{
		`a`, `\w+x(\w+|-|.)`, `(?i)k+ſ`, `^a|b$`, `(?m)^a$`, `\bab\b`, `\Ba`, `[^\x00-\x{10FFFF}]`, `\x{FFFD}`, `(?s).\n`, `a{3,5}b`, `\pL+\PL`, `(|a)+$`, `\Aab\z`,
		`"(\{\d\}){2,}"\s*-f`, `abc\b.x`,
	} {
		f.Add(want, "a Kſ\nab\xffb abc. x \"{0}{1}\" -f 郑州")
	}
	f.Fuzz(func(t *testing.T, want, text string) {
		re, err := regexp.Compile(want)
		if err != nil || len(want) > 100 {
			return
		}
		s, err := newSearcher(want)
		if err != nil {
			t.Fatalf("%q: %v", want, err)
		}
		if s.run != nil {
			return
		}
		for range 2 { // while states are made, and after
			if holds, ok := s.quick.match(text); ok && holds != re.MatchString(text) {
				t.Fatalf("%q in %q: %v", want, text, holds)
			}
		}
	})
}

// An expression that needs more states than are allowed is left to package
// regexp, after a few tries for good, and the memory is given back.
func TestAutomatonDeclines(t *testing.T) {
	want := `(a|b)*a(a|b){14}c`
	re := regexp.MustCompile(want)
	s, err := newSearcher(want)
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	declined := 0
	for range 3 * maxDeclined {
		var b strings.Builder
		for range 20_000 {
			b.WriteByte("ab"[random.IntN(2)])
		}
		text := b.String()
		if _, ok := s.quick.match(text); !ok {
			declined++
		}
		if text += "c"; s.match(text) != re.MatchString(text) {
			t.Fatal("another answer than regexp's")
		}
	}
	if declined < maxDeclined || !s.quick.given || s.quick.free != nil {
		t.Errorf("declined %d times, given up: %v, %d automata kept", declined, s.quick.given, len(s.quick.free))
	}
}

// Goroutines that ask at once each have an automaton of their own.
func TestAutomatonTogether(t *testing.T) {
	s, err := newSearcher(`x[ab]+\d{2}y`)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if !s.match("--xab12y") || s.match("--xab1y") {
					t.Error("wrong answer")
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.quick.free); n == 0 || n > 4 {
		t.Errorf("%d automata for 4 goroutines", n)
	}
}
