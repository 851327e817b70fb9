package structure

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestForms has lines read by the forms of those before them.
func TestForms(t *testing.T) {
	lex, forms := NewLexicon(NewKeys([]string{"a", "b"})), NewForms(NewKV(KVOptions{}))
	values := make([]string, MaxForm)
	f := func(line, want string) {
		t.Helper()
		which, n := forms.Read(values, line)
		if which < 0 {
			pairs, err := forms.by.AppendBy(nil, line, lex)
			if err != nil {
				t.Fatal(err)
			}
			forms.Learn(pairs, lex)
			if strings.Join(values, "") != "" {
				t.Errorf("%q leaves %q", line, values)
			}
		}
		got := fmt.Sprintf("%d %q", which, values[:n])
		if which < 0 {
			got = "none"
		}
		if clear(values); got != want {
			t.Errorf("%q: %s, want %s", line, got, want)
		}
	}
	const long = "twelve_bytes"
	f("a=1 b=2 c=3", "none")
	f("a=2 b=2", "none")
	f("a=2 b=2 c=3", "none") // once more: its form is learned
	f("a=3 b=4 c='x y'", `0 ["3" "4" "x y"]`)
	f("a=4, b=5;c=6", `0 ["4" "5" "6"]`)
	f("a=3 b=4", "none")
	f("a=7 b=8", `1 ["7" "8"]`)
	f("a=7 b=8 c=9", `0 ["7" "8" "9"]`)
	f("a=7 b=8 c=9 "+long+"=0", "none")
	f("a=7 b=8 c=9 "+long+"=0", "none")
	f("a=7 b=8 c=9 "+long+"=1", `2 ["7" "8" "9" "1"]`)
	f("a=7 b=8 c=9 "+long[:11]+"z=1", "none")
	f("a=7 b=8 c=9", `0 ["7" "8" "9"]`)
	f("a=x y b=8", "none") // what must be looked at more closely
	f("a=x b= c=1", "none")
	f(`a="x\" b=1 c=1"`, "none")
	f("a=7 b=8 ", "none")
	f("a=", "none")
	many := strings.Repeat("k=1 ", MaxForm+1)
	f(many, "none")
	f(many, "none")
	f(many, "none")
	for i := range maxForms - 4 {
		line := fmt.Sprintf("x%d=1 a=2", i)
		f(line, "none")
		f(line, "none")
		f(line, fmt.Sprintf(`%d ["1" "2"]`, i+4))
	}
	for range forgetful { // there is no room for more at first
		f("b=1 a=2", "none")
	}
	f("b=1 a=2", "none")
	f("b=1 a=2", `0 ["1" "2"]`)
	f("a=7 b=8 c=9", "none")
}

// FuzzForms reads lines again and again, each as its form is known or is not yet:
// what is read is what KV reads.
func FuzzForms(f *testing.F) {
	for _, s := range lexiconSeeds {
		f.Add(s[0], s[1], s[2])
	}
	f.Add("timestamp=1 a=2 twelve_bytes=3", "timestamp=1 b=2 twelve_bytes=3 c=4", "timestamp=1 a=2 twelve_bytez=3")
	f.Add("a=1 b=2 c=3 d=4", "a=1 b=2 c=3", "a=1 b=2 d=4")
	f.Add("x=1", "x=1 ", "x=")
	f.Fuzz(func(t *testing.T, one, two, three string) {
		values := make([]string, MaxForm)
		for j, k := range append([]*KV{cefExtension}, kvReaders()...) {
			lex, forms := NewLexicon(NewKeys([]string{"a", "b", "源IP", "a b=c", "", "threat name", " x"})), NewForms(k)
			var keys [][]Pair // by form
			for i, text := range []string{one, one, two, two, one, two, three, three, one, two, three, one} {
				want, err := k.Append(nil, text)
				which, n := forms.Read(values, text)
				if which < 0 {
					if strings.Join(values, "") != "" {
						t.Fatalf("%q leaves %q", text, values)
					}
					if pairs, err := k.AppendBy(nil, text, lex); err == nil {
						if which := forms.Learn(pairs, lex); which >= 0 {
							keys = append(keys[:which], pairs)
						}
					}
					continue
				}
				got := slices.Clone(keys[which])
				for i := range got {
					got[i].Value = values[i]
				}
				if err != nil || n != len(got) || show(got) != show(want) {
					t.Fatalf("line %d, reader %d, %q:\n%s, want\n%s %v", i, j, text, show(got), show(want), err)
				}
				clear(values[:n])
			}
		}
	})
}
