package discover

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestShippedWords(t *testing.T) {
	w, err := Shipped()
	if err != nil {
		t.Fatal(err)
	}
	if n := w.Len(); n < 3000 || n > 20_000 {
		t.Errorf("%d words", n)
	}
	for _, want := range []string{"www", "jwc", "jwgl", "xgc", "lib", "oa", "mail", "vpn", "webvpn", "ehall", "portal", "cas", "my", "xsc", "zsb", "yjs", "gs", "web01", "jsjxy", "www3"} {
		if !slices.Contains(w.all, want) {
			t.Errorf("%s is missing", want)
		}
	}
	t.Logf("%d words", w.Len())
}

func TestReadWords(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		w, err := ReadWords(strings.NewReader(text))
		got := ""
		if err != nil {
			got = "error: " + err.Error()
		} else {
			got = strings.Join(w.all, " ")
		}
		if got != want && !(strings.HasPrefix(want, "error") && err != nil && strings.Contains(got, want[7:])) {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	f("www mail # the usual\n\nWWW ftp", "www mail ftp")
	f("{jwc,xgc}{,2}", "jwc jwc2 xgc xgc2")
	f("ns{1-3} web{08-10}", "ns1 ns2 ns3 web08 web09 web10")
	f("a{b{1-2},c}d", "ab1d ab2d acd")
	f("x.y", "x.y")
	f("{1}", "1")
	f("a{b", "error: do not match")
	f("a}b", "error: do not match")
	f("{3-1}", "error: no range")
	f("{1-65535}{1-65535}", "error: no range")
	f("{1-9999}{1-9999}", "error: more than 10000")
	f("a{b,c}{d,e}{f,g}{h,i}{j,k}", "error: more than 4 braces")
	f("*", "error: no label")
	f(strings.Repeat("a", 64), "error: no label")
	f("a..b", "error: no label")
	f("{,a}", "error: no label")
}

// Whatever a list holds, its words are labels of names, each once, and within the
// limits; and a list of its own words reads as itself.
func FuzzReadWords(f *testing.F) {
	for _, seed := range []string{"www", "{a,b}{1-3}", "a{b{1-2},c}d # x", "{{{{", "}", "{1-99999}", "\x00", "{,}{,}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		w, err := ReadWords(strings.NewReader(text))
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, word := range w.all {
			if !ValidName(word) || seen[word] || strings.ContainsAny(word, "*{},#") && strings.ContainsAny(word, "{}#") {
				t.Fatalf("%q makes %q", text, word)
			}
			seen[word] = true
		}
		if len(w.all) > maxWords {
			t.Fatalf("%d words", len(w.all))
		}
		again, err := ReadWords(strings.NewReader(strings.Join(w.all, "\n")))
		if err != nil || !slices.Equal(again.all, w.all) {
			t.Fatalf("%q: read again: %v", text, err)
		}
	})
}

// A pattern of braces is as many words as its parts make.
func TestExpandCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "numbers")
		parts := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z]{1,5}`), 1, 5, rapid.ID[string]).Draw(t, "parts")
		if len(parts) == 1 {
			parts = append(parts, parts[0]+"x")
		}
		pattern := "{" + strings.Join(parts, ",") + "}-{1-" + string(rune('0'+n)) + "}"
		words, err := expand(pattern, maxNested)
		if err != nil || len(words) != n*len(parts) {
			t.Fatalf("%s: %q, %v", pattern, words, err)
		}
	})
}
