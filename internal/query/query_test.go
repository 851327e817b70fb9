package query

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

type testFields struct{}

func (testFields) Field(name string) (Field, error) {
	f, ok := map[string]Field{
		"user":    {SQL: "user_name"},
		"message": {SQL: "message", Type: Text},
		"src":     {SQL: "source_ip", Type: IP},
		"port":    {SQL: "port", Type: Number},
		"ok":      {SQL: "ok", Type: Bool},
		"time":    {SQL: "timestamp", Type: Time},
		"answers": {SQL: "answers", List: true},
	}[name]
	if !ok {
		return f, fmt.Errorf("unknown field %q", name)
	}
	return f, nil
}

func (testFields) Text() Field { return Field{SQL: "message", Type: Text} }

var now = time.Date(2026, 9, 2, 8, 0, 0, 0, time.UTC)

func TestCompile(t *testing.T) {
	f := func(text, sql string, params ...string) {
		t.Helper()
		c, err := Compile(text, testFields{}, now)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			return
		}
		if c.SQL != sql {
			t.Errorf("%s:\n got %s\nwant %s", text, c.SQL, sql)
		}
		var got []string
		for _, k := range slices.Sorted(maps.Keys(c.Params)) {
			got = append(got, c.Params[k])
		}
		if !slices.Equal(got, params) {
			t.Errorf("%s: params %q, want %q", text, got, params)
		}
	}
	f("", "1")
	f("  ", "1")
	f("user = root", "user_name = {p0:String}", "root")
	f(`user="a b\"c"`, "user_name = {p0:String}", `a b"c`)
	f("user != root", "NOT (user_name = {p0:String})", "root")
	f("user *= 张*?_", "user_name ILIKE {p0:String}", `张%_\\_`) // escaped as a parameter is
	f("failed", "positionCaseInsensitiveUTF8(message, {p0:String}) > 0", "failed")
	f("fail*word", "message ILIKE {p0:String}", "%fail%word%")
	f("src = 192.0.2.1", "source_ip = {p0:String}", "192.0.2.1")
	f("src = ::ffff:192.0.2.1", "source_ip = {p0:String}", "192.0.2.1")
	f("port >= 1024 && ok = true", "(ifNull(port >= {p0:Float64}, 0) AND ifNull(ok = {p1:Bool}, 0))", "1024", "true")
	f("user=a user=b", "(user_name = {p0:String} AND user_name = {p1:String})", "a", "b")
	f("user=a or user=b and not port=1", "(user_name = {p0:String} OR (user_name = {p1:String} AND NOT (ifNull(port = {p2:Float64}, 0))))", "a", "b", "1")
	f("!(user=a || user=b)", "NOT ((user_name = {p0:String} OR user_name = {p1:String}))", "a", "b")
	f("answers = x", "arrayExists(x -> x = {p0:String}, answers)", "x")
	f("answers != x", "NOT arrayExists(x -> x = {p0:String}, answers)", "x")
	f("time > 2h", "ifNull(timestamp > {p0:DateTime64(6, 'UTC')}, 0)", "2026-09-02 06:00:00.000000")
	f("time >= 2017 && time < 2026-9", "(ifNull(timestamp >= {p0:DateTime64(6, 'UTC')}, 0) AND ifNull(timestamp < {p1:DateTime64(6, 'UTC')}, 0))", "2017-01-01 00:00:00.000000", "2026-09-01 00:00:00.000000")
	f("time = 2024-02", "ifNull(timestamp >= {p0:DateTime64(6, 'UTC')} AND timestamp < {p1:DateTime64(6, 'UTC')}, 0)", "2024-02-01 00:00:00.000000", "2024-03-01 00:00:00.000000")
	f("user = 附中（东校区）", "user_name = {p0:String}", "附中（东校区）")
	f("time = 2026-09-01", "ifNull(timestamp >= {p0:DateTime64(6, 'UTC')} AND timestamp < {p1:DateTime64(6, 'UTC')}, 0)", "2026-09-01 00:00:00.000000", "2026-09-02 00:00:00.000000")
}

func TestCaret(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := Compile(text, testFields{}, now)
		var e *Error
		if !errors.As(err, &e) || e.Caret() != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, e.Caret(), want)
		}
	}
	f("user = a && usr = b", "user = a && usr = b\n            ^")
	f("user = 学校\n&& usr = b", "user = 学校 && usr = b\n               ^")
	f(strings.Repeat("user=abcd ", 20)+"usr=b", "…"+strings.Repeat("user=abcd ", 6)+"usr=b\n"+strings.Repeat(" ", 61)+"^")
}

func TestCompileRefuses(t *testing.T) {
	f := func(text string, at int, want string) {
		t.Helper()
		_, err := Compile(text, testFields{}, now)
		var e *Error
		if !errors.As(err, &e) || e.At != at || !strings.Contains(e.Msg, want) || e.Zh == e.Msg && !strings.Contains(e.Msg, "unknown field") {
			t.Errorf("%s: got %v, want %q at byte %d", text, err, want, at)
		}
	}
	f("usr = root", 0, `unknown field "usr"`)
	f("user = a && usr = b", 12, `unknown field "usr"`)
	f("user =", 6, "a value is missing after =")
	f("(user = a", 9, "a ) is missing")
	f("user = a)", 8, "not expected")
	f(`user = "a`, 7, "is not closed")
	f("port = many", 7, "is not a number")
	f("ok = perhaps", 5, "true or = false")
	f("src = example.org", 6, "neither an address nor a network")
	f("src > 192.0.2.1", 6, "not by >")
	f("time > soon", 7, "is no time")
	f("time > 9999-01-01", 7, "is not between")
	f("time = 2026-13", 7, "is no time")
	f("user = “root”", 7, `write "`)
	f("user = a && （user = b", 12, "write (")
	f("user＝root", 4, "write =")
	f("user = a ＆＆ user = b", 9, "write &")
	f("&& user = a", 0, "a field or a word is missing")
	f("\xff", 0, "not UTF-8")
	f(strings.Repeat("(", 200), 101, "nested deeper")
	f(strings.Repeat("a ", MaxTerms+1), 2*MaxTerms, "more than")
	f(strings.Repeat("a", MaxLength+1), MaxLength, "longer than")
}

// FuzzCompile holds the promise that no value gets into the SQL: whatever is
// asked, the SQL is made of the known words and placeholders.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{`user = "x'; DROP TABLE events"`, "src = 10.0.0.0/8 || !(port<1)", "answers *= *.cn time > 7d", `"a" "b\`} {
		f.Add(s)
	}
	allowed := strings.NewReplacer("user_name", "", "message", "", "source_ip", "", "timestamp", "", "port", "", "answers", "",
		"positionCaseInsensitiveUTF8", "", "isIPAddressInRange", "", "isIPv4String", "", "isIPv6String", "", "arrayExists", "", "toString", "",
		"ifNull", "", "ILIKE", "", "DateTime64(6, 'UTC')", "", "Float64", "", "String", "", "Bool", "", "AND", "", "NOT", "", "OR", "",
		"'::'", "", "''", "", "->", "", "if", "", "ok", "")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Compile(text, testFields{}, now)
		if err != nil {
			return
		}
		rest := strings.Trim(strings.Map(func(r rune) rune {
			if strings.ContainsRune("(){}:,=<>!0123456789 px", r) {
				return -1
			}
			return r
		}, allowed.Replace(c.SQL)), " ")
		if rest != "" {
			t.Fatalf("%q put %q into the SQL: %s", text, rest, c.SQL)
		}
	})
}
