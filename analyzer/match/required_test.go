package match

import (
	"regexp"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// What an expression requires is in whatever it matches.
func TestRequired(t *testing.T) {
	f := func(want string, keys ...string) {
		t.Helper()
		if got := requiredOf([]string{want}); !slices.Equal(got, keys) {
			t.Errorf("%s: %q, want %q", want, got, keys)
		}
	}
	f(`(?i)Set.+&&\s?set`, "set")
	f(`[Pp]rogram[Dd]ata\\`, `programdata\`)
	f(`(?:AppData|[Tt]emp)\\x?`, "appdata", "temp")
	f(`(?:AppData|[a-z]+)`)
	f(`(abc){2,}z*`, "abc")
	f(`x*`)
	f(`\x{FFFD}`)
	f(`.{1000,}`)
}

// The searcher, and the quick look before it, agree with the expression itself.
func TestSearcher(t *testing.T) {
	piece := rapid.SampledFrom([]string{
		"a", "b", "A", "k", `\w`, `\s`, ".", "[ab]", "[Aa]", "[^a]", "(ab)", "(?:a|bb)", "(?i:k)", "^", "$", `\b`, "x?", "(a|)", "\u212a", `\x{FFFD}`,
	})
	repeat := rapid.SampledFrom([]string{"", "", "", "*", "+", "?", "{2}", "{2,}", "{1,3}", "*?", "+?"})
	texts := rapid.StringOfN(rapid.RuneFrom([]rune("aAbkKx \n\u212aß")), 0, 12, -1)
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SampledFrom([]string{"", "", "(?i)", "(?s)", "(?m)"}).Draw(t, "flags")
		for range rapid.IntRange(1, 5).Draw(t, "pieces") {
			want += piece.Draw(t, "piece") + repeat.Draw(t, "repeat")
		}
		re, err := regexp.Compile(want)
		if err != nil {
			t.Skip(err)
		}
		s, err := newSearcher(want)
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		p := &predicate{needs: needsOf([]string{want}), required: requiredOf([]string{want})}
		for range 10 {
			text := texts.Draw(t, "text")
			if rapid.IntRange(0, 5).Draw(t, "broken") == 0 {
				text += "\xff"
			}
			holds := re.MatchString(text)
			if s.match(text) != holds {
				t.Fatalf("%s in %q: %v", want, text, !holds)
			}
			if holds && !p.mayMatch(fold(text)) {
				t.Fatalf("%s matches %q, but %v must be there", want, text, p.needs)
			}
		}
	})
	if _, err := newSearcher(`(`); err == nil {
		t.Error("no error")
	}
}
