package structure

import (
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// TestLexicon numbers known keys, then those that are met, as many as it can hold.
func TestLexicon(t *testing.T) {
	l := NewLexicon(NewKeys([]string{"a", "b", "源IP"}))
	f := func(key string, before, want int) {
		t.Helper()
		if got := l.Number(key, before); got != want {
			t.Errorf("%q after %d is %d, want %d", key, before, got, want)
		}
	}
	f("b", AtStart, 1)
	f("源IP", 1, 2)
	f("x", 2, 3)
	f("y", 3, 4)
	f("b", AtStart, 1) // as expected
	f("x", 1, 3)       // not as expected
	f("x", 3, 3)
	f("", Unknown, 5)
	f(strings.Repeat("k", MaxKey+1), 3, Unknown)
	f("a", Unknown, 0)
	for i := range 2 * maxLearned {
		l.Number(strings.Repeat("z", 1+i%MaxKey)+string(rune('A'+i/MaxKey)), Unknown)
	}
	f("one too many", 0, Unknown)
	f("x", Unknown, 3)
	if l.Len() != 3+maxLearned || l.Word(2) != "源IP" || l.Word(3) != "x" {
		t.Errorf("%d words, %q, %q", l.Len(), l.Word(2), l.Word(3))
	}
}

// kvOptions are ways to write pairs that differ in what a key may be.
var kvOptions = []KVOptions{
	{},
	{Separators: " ", Assign: "="},
	{Separators: ",，", Assign: ":：", Quotes: "none"},
	{Separators: ",", Assign: "="},
	{Separators: " =", Assign: "="},
	{Separators: ";", Assign: "=＝", Quotes: "'"},
	{Separators: "，", Assign: "：:"},
	{Separators: "|", Assign: "：，"},
}

func kvReaders() (readers []*KV) {
	for _, o := range kvOptions {
		readers = append(readers, NewKV(o))
	}
	return readers
}

// lexiconSeeds are lines that differ in what may be taken for a key.
var lexiconSeeds = [][3]string{
	{"a=1 b=2 c=3", "a=1 b=x=y c=3", "a=1, b=2,c=3"},
	{`a="x" b='y z' c= d=4`, `a="x"b='y z' c= d=4`, `a="x" , b=1 c==d=4`},
	{"源IP：192.0.2.1，b:2, threat name:x", "源IP：192.0.2.1，, b:2,  threat name:x", "源IP:，b：2, threat  name:x"},
	{"a=1;b=2；c=3", "a=1；b=2;\tc=3", " a=1 ; b=2 c=3\n"},
	{"a=1 aLabel=b b=2", "a=1 b=2 bLabel=c bLabel=a", "aLabel=x a=1"},
	{`a=\"x b=1 \b=2`, "1=2 3a=4", "a= b=c\t b=d  \r"},
}

// FuzzLexicon reads lines one after another with a lexicon that all readers share:
// what it expects changes nothing of what is read, and numbers are those of the
// keys.
func FuzzLexicon(f *testing.F) {
	for _, s := range lexiconSeeds {
		f.Add(s[0], s[1], s[2])
	}
	f.Fuzz(func(t *testing.T, one, two, three string) {
		lex := NewLexicon(NewKeys([]string{"a", "b", "源IP", "a b=c", "", "threat name", " x"}))
		type reader interface {
			Reader
			AppendBy(dst []Pair, s string, lex *Lexicon) ([]Pair, error)
		}
		readers := []reader{CEF{}, cefExtension}
		for _, k := range kvReaders() {
			readers = append(readers, k)
		}
		for range 2 {
			for i, line := range []string{one, two, one, three, two, three} {
				for j, k := range readers {
					text := line
					if j == 0 {
						text = "CEF:0|a|b|c|d|e|5|" + line
					}
					want, err := k.Append(nil, text)
					got, err2 := k.AppendBy(nil, text, lex)
					if err != err2 || show(got) != show(want) { //nolint:errorlint // the very same
						t.Fatalf("line %d, reader %d, %q:\n%s %v, want\n%s %v", i, j, text, show(got), err2, show(want), err)
					}
					for _, p := range got {
						if p.Number > 0 && lex.Word(int(p.Number)-1) != p.Key {
							t.Fatalf("%q is numbered as %q", p.Key, lex.Word(int(p.Number)-1))
						}
					}
				}
			}
		}
	})
}

// TestKeys finds every key and no other.
func TestKeys(t *testing.T) {
	var keys []string
	for i := range 300 {
		keys = append(keys, strings.Repeat("k", i%7)+strconv.Itoa(i), "source.field"+strconv.Itoa(i)+".name")
	}
	keys = append(keys, "", "a", "b", "ab", "源IP", "目的IP", strings.Repeat("x", 300))
	table := NewKeys(keys)
	for i, k := range keys {
		if got := table.Find(k); got != i {
			t.Errorf("%q is %d, want %d", k, got, i)
		}
		if got := table.Find(k + "!"); got != -1 {
			t.Errorf("%q! is %d", k, got)
		}
	}
	empty := NewKeys(nil)
	if empty.Find("a") != -1 {
		t.Error("found in nothing")
	}
}

// TestNear holds eight bytes at once to one at a time.
func TestNear(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.SampledFrom([]rune{'a', 'b', ' ', '!', 0, 1, '防', 0x7f, 0x80}), 0, 50, -1).Draw(t, "s")
		i, c := rapid.IntRange(0, len(s)).Draw(t, "i"), rapid.SampledFrom([]byte{'a', ' ', '!', 0, 1, 0xe9, 0x80}).Draw(t, "c")
		want := strings.IndexByte(s[i:], c)
		if want >= 0 {
			want += i
		}
		if got := near(s, i, c); got != want {
			t.Fatalf("%q in %q from %d: %d, want %d", c, s, i, got, want)
		}
	})
}
