package tuning

import (
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

func TestParse(t *testing.T) {
	zone := time.FixedZone("CST", 8*3600)
	got, errs := Parse("dir/a.yml", []byte(`# tuning
exceptions:
  - name: check
    rule: [a, b]
    level: [low, High]
    tag: attack.t1110
    unit: "10001"
    host: web-*
    when: {user.name: x}
    until: 2026-12-31
    who: 王工
    why: 检查
throttle:
  - {rule: a, fields: [source.ip], at_most: 3, per: 1d, who: li, why: x}
severity:
  - {tag: attack.t1110, level: critical, until: "2026-01-02T03:04:05+08:00", who: li, why: x}
`), zone)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	x := got.Exceptions[0]
	if x.Name != "check" || x.Line != 3 || strings.Join(x.Rules, " ") != "a b" || len(x.Levels) != 2 || x.Levels[1] != schemas.High ||
		x.Unit != "10001" || x.Hosts[0] != "web-*" || x.When == nil || x.Who != "王工" {
		t.Errorf("%+v", x)
	}
	if !x.Until.Equal(time.Date(2027, 1, 1, 0, 0, 0, 0, zone)) || x.Ended(x.Until.Add(-1)) || !x.Ended(x.Until) {
		t.Errorf("until %v", x.Until)
	}
	if y := got.Throttles[0]; y.Name != "a.yml:14" || y.AtMost != 3 || y.Per != 24*time.Hour || y.Fields[0] != "source.ip" {
		t.Errorf("%+v", y)
	}
	if z := got.Severities[0]; z.Level != schemas.Critical || z.Until.IsZero() {
		t.Errorf("%+v", z)
	}
}

// TestErrors: a broken entry is named with its line, and the others stand.
func TestErrors(t *testing.T) {
	f := func(text, want string, left int) {
		t.Helper()
		got, errs := Parse("a.yml", []byte(text), time.UTC)
		if len(errs) != 1 || !strings.HasPrefix(errs[0].Error(), want) {
			t.Errorf("%s:\n%v\nwant %s", text, errs, want)
		}
		if n := len(got.Exceptions) + len(got.Throttles) + len(got.Severities); n != left {
			t.Errorf("%s: %d entries are left, want %d", text, n, left)
		}
	}
	const good = "- {rule: a, who: li, why: x}\n"
	f("throttle: [{rule: a, at_most: 3, per: 200000d, who: w, why: y}]", `a.yml:1: "200000d" is longer than 3660d`, 0)
	f("exceptions:\n"+good+"- {rule: a, why: x}\n"+good, "a.yml:3: exception: who is missing", 2)
	f("exceptions:\n"+good+"- {rule: a, who: x}\n", "a.yml:3: exception: why is missing", 1)
	f("exceptions:\n- {who: li, why: x}\n", "a.yml:2: exception: it names no rule", 0)
	f("exceptions:\n- {rule: a, fields: b, who: li, why: x}\n", `a.yml:2: exception: unknown key "fields"`, 0)
	f("exceptions:\n- {rule: a, until: soon, who: li, why: x}\n", `a.yml:2: until: "soon"`, 0)
	f("exceptions:\n- {rule: a, rule: b, who: li, why: x}\n", `a.yml:2: key "rule" is said twice`, 0)
	f("exceptions:\n- {rule: {a: b}, who: li, why: x}\n", "a.yml:2: a text is needed", 0)
	// What somebody forgot to fill in is no exception for everywhere.
	for _, empty := range []string{"unit: ", "unit: ''", "host: []", "host: [a, '']", "when: ", "when: ''", "tag: ", "until: ", "rule: []"} {
		key, _, _ := strings.Cut(empty, ":")
		f("exceptions:\n- {name: n, level: low, "+empty+", who: li, why: x}\n", "a.yml:2: exception: "+key+" is empty", 0)
	}
	f("severity:\n- {rule: a, unit: , level: low, who: li, why: x}\n", "a.yml:2: severity: unit is empty", 0)
	f("exceptions: {}\n", "a.yml:1: exceptions: a list is needed", 0)
	f("exception:\n"+good, `a.yml:1: unknown key "exception"`, 0)
	f("throttle:\n- {rule: a, at_most: 0, per: 1d, who: li, why: x}\n", "a.yml:2: throttle: at_most (1 to 1000) and per", 0)
	f("throttle:\n- {rule: a, at_most: 1, per: daily, who: li, why: x}\n", `a.yml:2: "daily" is not a time span`, 0)
	f("throttle:\n- {rule: a, tag: b, at_most: 1, per: 1d, who: li, why: x}\n", "a.yml:2: throttle: it is of rules", 0)
	f("severity:\n- {rule: a, level: worst, who: li, why: x}\n", `a.yml:2: "worst" is none of`, 0)
	f("severity:\n- {rule: a, who: li, why: x}\n", "a.yml:2: severity: level is missing", 0)
	f("a: [", "a.yml:1: ", 0)
	f("exceptions:\n"+good+"---\nexceptions: []\n", "a.yml:1: one document", 0)
	for _, nothing := range []string{"", "# only a comment\n", "exceptions:\nseverity: []\n"} {
		if _, errs := Parse("a.yml", []byte(nothing), time.UTC); len(errs) > 0 {
			t.Errorf("%q: %v", nothing, errs)
		}
	}
}

// FuzzParse: no text makes it fail, and what it returns is whole.
func FuzzParse(f *testing.F) {
	f.Add("exceptions:\n- {rule: a, when: {b|re: c}, until: 2026-12-31, who: li, why: x}\n")
	f.Add("throttle:\n- {rule: &a b, fields: *a, at_most: 1, per: 1d, who: li, why: x}\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, _ := Parse("a.yml", []byte(text), time.UTC)
		for _, x := range got.Exceptions {
			if x.Who == "" || x.Why == "" || x.Line < 1 {
				t.Errorf("%+v", x)
			}
		}
	})
}
