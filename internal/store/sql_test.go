package store

import (
	"strings"
	"testing"
)

func TestFirstWord(t *testing.T) {
	f := func(sql, want string) {
		t.Helper()
		if got := firstWord(sql); got != want {
			t.Errorf("%q: %q, want %q", sql, got, want)
		}
	}
	f("select 1", "SELECT")
	f(" -- x\n /* y */ ((Select 1))", "SELECT")
	f("", "")
	f("/* never closed", "")
	f("'text'", "")
	f("`select`", "")
}

func TestSplitInsert(t *testing.T) {
	f := func(sql, statement, format string) {
		t.Helper()
		s, g, ok := splitInsert(sql)
		if ok != (format != "") || s != statement || g != format {
			t.Errorf("%q: %q, %q, %v", sql, s, g, ok)
		}
	}
	f("INSERT INTO t (a, b) FORMAT Native", "INSERT INTO t (a, b)", "Native")
	f("insert into t\nformat\tJSONEachRow ; ", "insert into t", "JSONEachRow")
	f("INSERT INTO t (a) SETTINGS x=1 VALUES", "INSERT INTO t (a) SETTINGS x=1", "Values")
	f("INSERT INTO t (a)", "", "")
	f("INSERT INTO t VALUES (1)", "", "")
}

func TestQuoting(t *testing.T) {
	if got, want := quoteString("a'b\\c\x00"), `'a\'b\\c\0'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := quoteIdentifier("a`b\\"), "`a\\`b\\\\`"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// FuzzReaderCheck: whatever the text, the check ends, and a text that says
// file( where a lexer must see it never passes.
func FuzzReaderCheck(f *testing.F) {
	rules := &readerRules{forbidden: map[string]bool{"file": true}, outside: map[string]bool{"url": true}}
	for _, s := range []string{"", "1", "'", "a' b", "/*", "*/", "--", "\n", "`", `"`, `\`, "$$", "#", "(", ";", "中", "x'y''z\\'w"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		_ = rules.check(s)
		_, _, _ = splitInsert(s)
		_ = hasInnerSemicolon(s)
		if strings.ContainsAny(s, "'`\"/-#$\\") {
			return // what follows may be inside quotes or a comment
		}
		if rules.check("SELECT "+s+" file('x')") == nil && s != "" && !isWord(s[len(s)-1]) {
			t.Errorf("passed: %q", s)
		}
		if rules.check("SELECT "+s+" ,file('x')") == nil {
			t.Errorf("passed: %q", s)
		}
	})
}
