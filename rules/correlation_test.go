package rules

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/schemas"
)

// parseOne reads a correlation that refers to a, b and c.
func parseOne(text string) (*Correlation, error) {
	rs, errs := Parse("a.yml", []byte("title: t\nid: r\ncorrelation:\n  "+strings.ReplaceAll(text, "\n", "\n  ")))
	if len(errs) > 0 {
		return nil, errs[0]
	}
	return rs[0].Correlation, nil
}

// Every type with what it may say. Source: correlation rules specification 2.1.0.
func TestCorrelation(t *testing.T) {
	f := func(text string, want Correlation) {
		t.Helper()
		c, err := parseOne(text)
		if err != nil {
			t.Fatal(err)
		}
		c.Line, c.FieldLine = 0, 0
		for i := range c.Rules {
			c.Rules[i].Line = 0
		}
		if diff := cmp.Diff(&want, c); diff != "" {
			t.Errorf("%s\n%s", text, diff)
		}
	}
	refs := func(names ...string) (out []Reference) {
		for _, n := range names {
			out = append(out, Reference{Rule: n})
		}
		return out
	}
	is := func(text string) (out []schemas.Comparison) {
		for one := range strings.SplitSeq(text, ",") {
			var c schemas.Comparison
			if _, err := fmt.Sscan(one, &c.Op, &c.Value); err != nil {
				t.Fatal(err)
			}
			out = append(out, c)
		}
		return out
	}
	const tail = "\nrules: [a, b, c]\ntimespan: 5m\n"
	three := refs("a", "b", "c")
	const span = 5 * time.Minute
	f("type: event_count\nrules: a\ntimespan: 5m\ngroup-by: [x, y]\ncondition: {gte: 100}", Correlation{
		Type: schemas.EventCount, Rules: refs("a"), Timespan: span, GroupBy: []string{"x", "y"}, Condition: is("gte 100"),
	})
	// "Example 101 to 200": two comparisons, both must hold.
	f("type: event_count"+tail+"condition: {gt: 100, lte: 200}", Correlation{Type: schemas.EventCount, Rules: three, Timespan: span, Condition: is("gt 100,lte 200")})
	f("type: value_count"+tail+"condition: {field: User, gte: 100}", Correlation{Type: schemas.ValueCount, Rules: three, Timespan: span, Fields: []string{"User"}, Condition: is("gte 100")})
	f("type: value_count"+tail+"condition: {field: [User, Host], neq: 3}", Correlation{Type: schemas.ValueCount, Rules: three, Timespan: span, Fields: []string{"User", "Host"}, Condition: is("neq 3")})
	f("type: value_sum"+tail+"condition: {field: bytes, gt: 1.5e9}", Correlation{Type: schemas.ValueSum, Rules: three, Timespan: span, Fields: []string{"bytes"}, Condition: is("gt 1.5e9")})
	f("type: value_avg"+tail+"condition: {field: bytes, lt: -0.5}", Correlation{Type: schemas.ValueAvg, Rules: three, Timespan: span, Fields: []string{"bytes"}, Condition: is("lt -0.5")})
	f("type: value_median"+tail+"condition: {field: bytes, eq: 0}", Correlation{Type: schemas.ValueMedian, Rules: three, Timespan: span, Fields: []string{"bytes"}, Condition: is("eq 0")})
	f("type: value_percentile"+tail+"condition: {field: bytes, gte: 10, percentile: 99.9}", Correlation{
		Type: schemas.ValuePercentile, Rules: three, Timespan: span, Fields: []string{"bytes"}, Condition: is("gte 10"), Percentile: 99.9,
	})
	// "All events defined by the rules referred by the rule field must occur".
	f("type: temporal"+tail, Correlation{Type: schemas.Temporal, Rules: three, Timespan: span, Condition: is("gte 3")})
	f("type: temporal_ordered"+tail+"condition: {gt: 1}", Correlation{Type: schemas.TemporalOrdered, Rules: three, Timespan: span, Condition: is("gt 1")})
	f("type: temporal"+tail+"condition: a AND (b or not c)", Correlation{Type: schemas.Temporal, Rules: three, Timespan: span, Logic: "a AND (b or not c)"})
	f("type: temporal\ntimespan: 5m\ncondition: b and a", Correlation{Type: schemas.Temporal, Rules: refs("b", "a"), Timespan: span, Logic: "b and a"})
	f("type: temporal_ordered"+tail+"condition: (a or b) and c\naliases: {ip: {a: source.ip, b: destination.ip}}\ngenerate: true", Correlation{
		Type: schemas.TemporalOrdered, Rules: three, Timespan: span, Logic: "(a or b) and c", Generate: true,
		Aliases: map[string]map[string]string{"ip": {"a": "source.ip", "b": "destination.ip"}},
	})
}

// What a correlation cannot do is refused with its line.
func TestCorrelationErrors(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if c, err := parseOne(text); err == nil || err.Error() != "a.yml:"+want {
			t.Errorf("got %+v and %v\nwant %s", c, err, want)
		}
	}
	const tail = "\nrules: [a, b]\ntimespan: 5m\n"
	count := "type: event_count" + tail
	f("type: near"+tail, `4: rule r: correlation: unknown type "near"`)
	f("rules: a\ntimespan: 5m", "4: rule r: correlation: type is missing")
	f("type: temporal\nrules: a", "4: rule r: correlation: timespan is missing")
	f("type: temporal\nrules: a\ntimespan: 5 minutes", `6: rule r: "5 minutes" is not a time span such as 30s, 5m, 1h or 7d`)
	f("type: temporal\nrules: a\ntimespan: 200000d", `6: rule r: "200000d" is longer than 3660d`) // 64 bits of nanoseconds hold 106,751
	f("type: event_count\ntimespan: 5m\ncondition: {gte: 2}", "4: rule r: correlation: rules is missing")
	f(count, "4: rule r: correlation: condition is missing")
	f("type: event_count\nrules: [a, b, a]\ntimespan: 5m\ncondition: {gte: 2}", `5: rule r: correlation: rules names "a" twice`)
	f(count+"window: sliding", `7: rule r: correlation: unknown key "window"; there are type, rules, group-by, timespan, condition, aliases and generate`)
	f(count+"condition: {}", "7: rule r: correlation: condition compares with nothing: it needs gt, gte, lt, lte, eq or neq")
	f(count+"condition: {gte: many}", `7: rule r: correlation: condition gte: "many" is not a count`)
	f(count+"condition: {gte: 1.5}", `7: rule r: correlation: condition gte: "1.5" is not a count`)
	f(count+"condition: {gte: -1}", `7: rule r: correlation: condition gte: "-1" is not a count`)
	f(count+"condition: {gte: 2000000}", `7: rule r: correlation: condition gte: "2000000" is more than 1000000, which is the most that is counted`)
	f(count+"condition: {gte: .nan}", `7: rule r: correlation: condition gte: ".nan" is not a count`)
	f(count+"condition: {gte: 0}", "7: rule r: correlation: condition must ask for one match at least")
	f(count+"condition: {lt: 1}", "7: rule r: correlation: condition can never be met: lt 1")
	f(count+"condition: {eq: 0}", "7: rule r: correlation: condition can never be met: eq 0")
	f(count+"condition: {gt: 10, lt: 11}", "7: rule r: correlation: condition can never be met: gt 10 and lt 11")
	f(count+"condition: {gt: 1, lt: 9, neq: 5}", "7: rule r: correlation: condition: a range has two comparisons, not 3")
	f(count+"condition: {gte: 2, above: 3}", `7: rule r: correlation: condition: unknown key "above"; there are gt, gte, lt, lte, eq, neq, field and percentile`)
	f(count+"condition: {gte: 2, field: x}", "7: rule r: correlation: condition: field has no meaning for event_count")
	f(count+"condition: {gte: 2, percentile: 5}", "7: rule r: correlation: condition: percentile has no meaning for event_count")
	f(count+"condition: a and b", "7: rule r: correlation: only the temporal types may have a condition of names, event_count has a map such as {gte: 10}")
	f("type: value_count"+tail+"condition: {gte: 2}", "7: rule r: correlation: condition: value_count needs the field whose values it counts")
	f("type: value_sum"+tail+"condition: {gte: 2, field: [x, y]}", "7: rule r: correlation: condition: value_sum computes with one field, not 2")
	f("type: value_sum"+tail+"condition: {gt: 2, lt: 2, field: x}", "7: rule r: correlation: condition can never be met: gt 2 and lt 2")
	f("type: value_percentile"+tail+"condition: {gte: 2, field: x}", "7: rule r: correlation: condition: value_percentile needs percentile, a number above 0 and below 100")
	f("type: value_percentile"+tail+"condition: {gte: 2, field: x, percentile: 100}", `7: rule r: correlation: condition: percentile "100" is no number above 0 and below 100`)
	f("type: temporal"+tail+"condition: {gte: 3}", "7: rule r: correlation: condition can never be met: gte 3")
	f("type: temporal_ordered"+tail+"condition: {lt: 2}", "7: rule r: correlation: condition: temporal_ordered needs a least number of rules (gte, gt) or all of them (eq), not lt 2")
	f("type: temporal"+tail+"condition: a and", "7: rule r: correlation: condition: it ends where a rule's name is needed")
	f("type: temporal"+tail+"condition: a", `7: rule r: correlation: condition: the rule "b" is in the list and not in the condition`)
	f("type: temporal"+tail+"condition: a and b and c", `7: rule r: correlation: condition: "c" is not in the list of rules`)
	f("type: temporal"+tail+"condition: (a and b", "7: rule r: correlation: condition: a bracket is not closed")
	f("type: temporal"+tail+"condition: a b", `7: rule r: correlation: condition: "b" is not expected here`)
	f("type: temporal"+tail+"condition: not a and not b", "7: rule r: correlation: condition: it holds when no rule was met")
	f("type: temporal_ordered"+tail+"condition: a and not b", "7: rule r: correlation: condition: temporal_ordered has no meaning for not: what does not occur has no place in an order")
	f(count+"condition: {gte: 2}\naliases: {ip: {a: ''}}", "8: rule r: correlation: aliases: a of ip is no field")
}

// The smallest sets of rules are what the condition means, for every condition
// without not.
func TestLogicSets(t *testing.T) {
	f := func(text string, want ...uint64) {
		t.Helper()
		l, err := ParseLogic(text, []string{"a", "b", "c", "d"})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, l.Sets()); diff != "" {
			t.Errorf("%s: %s", text, diff)
		}
		for met := range uint64(16) {
			holds := false
			for _, s := range want {
				holds = holds || met&s == s
			}
			if l.Holds(met) != holds {
				t.Errorf("%s: with %04b it is %v", text, met, !holds)
			}
		}
	}
	f("a and b and c and d", 0b1111)
	f("a or b or c or d", 0b0001, 0b0010, 0b0100, 0b1000)
	f("(a or b) and (c or d)", 0b0101, 0b1001, 0b0110, 0b1010)
	f("a or a and b and c and d", 0b0001)
	f("a and b or c and d", 0b0011, 0b1100)
	if l, err := ParseLogic("a and not b or c and d", []string{"a", "b", "c", "d"}); err != nil || l.Rising() || !l.Holds(0b0001) || l.Holds(0b0011) || !l.Holds(0b1110) {
		t.Errorf("not: %v %v", l, err)
	}
	if n := len(AtLeast(2, 5)); n != 10 {
		t.Errorf("%d pairs of five", n)
	}
	if AtLeast(3, 40) != nil || len(AtLeast(39, 40)) != 40 || len(AtLeast(1, 64)) != 64 || AtLeast(64, 64)[0] != ^uint64(0) {
		t.Error("sets of many rules")
	}
}

func FuzzCorrelation(f *testing.F) {
	f.Add("type: event_count\nrules: [a]\ntimespan: 5m\ncondition: {gte: 2}")
	f.Add("type: temporal_ordered\nrules: [a, b]\ntimespan: 5m\ncondition: a and (b or a)")
	f.Add("type: value_percentile\nrules: [a]\ntimespan: 1d\ncondition: {field: [x], lt: 2, gt: -1e300, percentile: 1}")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseOne(text)
		if err != nil || c == nil {
			return
		}
		if c.Timespan <= 0 || len(c.Rules) == 0 || (c.Logic == "") == (len(c.Condition) == 0) {
			t.Errorf("a correlation that cannot count was accepted: %+v", c)
		}
	})
}
