package match

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"gopkg.in/yaml.v3"
	"pgregory.net/rapid"

	"fengsui/rules"
	"fengsui/schemas"
)

// Generated rules over generated events, of an alphabet so small that they meet:
// programs and oracle say the same.
func TestGeneratedRules(t *testing.T) {
	fields := []string{"user.name", "message", "source.port", "dns.answers.data", "labels.x", "source.ip", "@timestamp"}
	text := rapid.OneOf(
		rapid.StringOfN(rapid.RuneFrom([]rune("aAb.")), 0, 5, -1),
		rapid.StringOfN(rapid.RuneFrom([]rune("aAk*\\-\u212a")), 0, 4, -1),
		rapid.StringOfN(rapid.RuneFrom([]rune("aAb*?\\-/ %kK\u212aß文1.")), 0, 6, -1),
	)
	mods := rapid.SampledFrom([]string{
		"", "", "|contains", "|startswith", "|endswith", "|contains|all", "|cased", "|contains|cased", "|re", "|re|i",
		"|contains|windash", "|exists", "|gt", "|lte", "|neq", "|fieldref", "|fieldref|contains", "|cidr", "|base64offset|contains", "|wide|contains",
		"|utf16|base64offset|contains", "|expand", "|contains|expand|cased", "|hour", "|hour|gte", "|minute|neq", "|day|lt",
	})
	value := func(t *rapid.T, mod string) any {
		switch mod {
		case "|exists":
			return rapid.Bool().Draw(t, "exists")
		case "|hour", "|hour|gte", "|minute|neq", "|day|lt":
			return rapid.IntRange(1, 23).Draw(t, "time")
		case "|expand", "|contains|expand|cased":
			return rapid.SampledFrom([]string{"%x%", "a%x%", `\\%x%x%`}).Draw(t, "placeholder")
		case "|gt", "|lte":
			return rapid.IntRange(-1, 12).Draw(t, "number")
		case "|cidr":
			return rapid.SampledFrom([]string{"10.0.0.0/8", "10.0.0.1", "::/0"}).Draw(t, "net")
		case "|fieldref", "|fieldref|contains":
			return rapid.SampledFrom(fields).Draw(t, "other")
		}
		if mod == "" && rapid.IntRange(0, 9).Draw(t, "null") == 0 {
			return nil
		}
		if rapid.IntRange(0, 5).Draw(t, "int") == 0 {
			return rapid.IntRange(0, 11).Draw(t, "number")
		}
		return text.Draw(t, "value")
	}
	events, hits, loaded := 0, 0, 0
	defer func() { t.Logf("%d rules, %d events, %d hits", loaded, events, hits) }()
	check := func(t *rapid.T) {
		detection := map[string]any{}
		var names []string
		for i := range rapid.IntRange(1, 4).Draw(t, "selections") {
			name := fmt.Sprintf("s%d", i)
			if rapid.IntRange(0, 4).Draw(t, "written") == 0 {
				name = "expr_" + name
				names = append(names, name)
				detection[name] = expression(t, fields, text, 0)
				continue
			}
			if names = append(names, name); rapid.IntRange(0, 4).Draw(t, "keywords") == 0 {
				detection[name] = []string{text.Draw(t, "keyword"), text.Draw(t, "keyword")}
				continue
			}
			selection := map[string]any{}
			for range rapid.IntRange(1, 3).Draw(t, "items") {
				mod := mods.Draw(t, "modifiers")
				var values []any
				for range rapid.IntRange(1, 3).Draw(t, "values") {
					values = append(values, value(t, mod))
				}
				selection[rapid.SampledFrom(fields).Draw(t, "field")+mod] = values
			}
			detection[name] = selection
		}
		var condition func(depth int) string
		condition = func(depth int) string {
			kind := rapid.IntRange(0, 6).Draw(t, "condition")
			if depth > 3 {
				kind = 0
			}
			switch kind {
			case 1, 2:
				return "(" + condition(depth+1) + " and " + condition(depth+1) + ")"
			case 3:
				return "(" + condition(depth+1) + " or " + condition(depth+1) + ")"
			case 4:
				return "not " + condition(depth+1)
			case 5:
				return "1 of *s*"
			case 6:
				return "all of them"
			}
			return rapid.SampledFrom(names).Draw(t, "name")
		}
		detection["condition"] = condition(0)
		doc, err := yaml.Marshal(map[string]any{"title": "t", "id": "r", "logsource": map[string]string{"product": "fengsui"}, "detection": detection})
		if err != nil {
			t.Fatal(err)
		}
		rs, errs := rules.Parse("r.yml", doc)
		if len(errs) > 0 {
			t.Fatalf("%v\n%s", errs[0], doc)
		}
		e, _ := Compile(rs, Options{
			Zone: shanghai, Placeholders: map[string][]string{"x": {"a", "B*", "k"}}, Lists: map[string][]string{"l": {"a", "AB", "7", "b.ab"}},
		})
		loaded += len(e.Rules())
		var seen []*schemas.Event
		for range 12 {
			ev := &schemas.Event{}
			seen = append(seen, ev)
			ev.SetString(schemas.FieldEventKind, "event")
			for _, f := range fields {
				switch n := rapid.IntRange(0, 3).Draw(t, "set"); {
				case n == 0:
				case f == "source.port":
					ev.SetInt(schemas.FieldSourcePort, int64(rapid.IntRange(0, 11).Draw(t, "port")))
				case f == "source.ip":
					ev.SetIP(schemas.FieldSourceIP, rapid.SampledFrom([]string{"10.0.0.1", "fe80::1"}).Draw(t, "ip"))
				case f == "@timestamp":
					ev.SetTime(schemas.FieldTimestamp, time.Unix(rapid.Int64Range(1_700_000_000, 1_702_000_000).Draw(t, f), 0))
				case f == "labels.x":
					ev.SetOpen(f, schemas.String(text.Draw(t, f)))
				case f == "dns.answers.data":
					ev.Set(schemas.FieldDNSAnswersData, schemas.Strings(rapid.SliceOfN(text, 0, 3).Draw(t, f)...))
				default:
					ev.Set(mustField(f), schemas.String(text.Draw(t, f)))
				}
			}
			events++
			e.Match(ev, func(Hit) { hits++ })
			agree(t, e, ev, func() string { return fmt.Sprintf("%s\nrule:\n%s", ev.AppendJSON(nil), doc) })
		}
		for _, ev := range seen { // from memory, and with triggers chosen by what was seen
			agree(t, e, ev, func() string { return fmt.Sprintf("again %s\nrule:\n%s", ev.AppendJSON(nil), doc) })
		}
	}
	for range 10 { // times rapid's own number
		rapid.Check(t, check)
	}
}

// expression generates a hand-written condition.
func expression(t *rapid.T, fields []string, text *rapid.Generator[string], depth int) string {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth < 3 {
		switch kind {
		case 0:
			return "(" + expression(t, fields, text, depth+1) + " and " + expression(t, fields, text, depth+1) + ")"
		case 1:
			return "(" + expression(t, fields, text, depth+1) + " || " + expression(t, fields, text, depth+1) + ")"
		case 2:
			return "not (" + expression(t, fields, text, depth+1) + ")"
		}
	}
	field := func() string {
		f := rapid.SampledFrom(fields).Draw(t, "operand")
		if f == "@timestamp" {
			f = `$env["@timestamp"]`
		}
		return f
	}
	quoted := func() string { return strconv.Quote(text.Draw(t, "text")) }
	number := func() string {
		return strconv.FormatFloat(float64(rapid.IntRange(0, 20).Draw(t, "tenths"))/10, 'g', -1, 64)
	}
	order := rapid.SampledFrom([]string{"==", "!=", "<", "<=", ">", ">="})
	switch kind {
	case 3:
		return field() + rapid.SampledFrom([]string{" == ", " != ", " contains ", " startsWith ", " endsWith "}).Draw(t, "operator") + quoted()
	case 4:
		return field() + rapid.SampledFrom([]string{" == ", " != ", " contains "}).Draw(t, "operator") + field()
	case 5:
		return "length(" + field() + ") " + order.Draw(t, "order") + " " + strconv.Itoa(rapid.IntRange(0, 4).Draw(t, "length"))
	case 6:
		return "entropy(" + field() + ") " + order.Draw(t, "order") + " " + number()
	case 7:
		form := rapid.SampledFrom([]string{
			"hour(%s) in 0..9", "weekday(%s) > 3", "registered_domain(%s) != nil", `in_list(%s, "l")`,
			`in_list(registered_domain(%s), "l")`, "is_private(%s)", "%s == nil",
		}).Draw(t, "function")
		return fmt.Sprintf(form, field())
	case 8:
		return rapid.SampledFrom([]string{"has", "contains_all", "like", "is_cased", "starts"}).Draw(t, "predicate") + "(" + field() + ", " + quoted() + ", " + quoted() + ")"
	}
	return field() + " " + order.Draw(t, "order") + " " + number()
}

func mustField(name string) schemas.FieldID {
	f, ok := schemas.LookupField(name)
	if !ok {
		panic(name)
	}
	return f.ID
}

// agree fails when program and oracle differ.
func agree(t interface{ Fatalf(string, ...any) }, e *Engine, ev *schemas.Event, describe func() string) {
	ids := func(match func(*schemas.Event, func(Hit))) (out []string) {
		match(ev, func(h Hit) { out = append(out, h.Rule.Rule.ID) })
		return out
	}
	// Twice: the second time with what the state remembers.
	for range 2 {
		if fast, plain := ids(e.Match), ids(e.MatchPlain); strings.Join(fast, " ") != strings.Join(plain, " ") {
			t.Fatalf("programs %q, oracle %q\nevent: %s", fast, plain, describe())
		}
	}
	if e.Failures() > 0 {
		t.Fatalf("a program failed on %s", describe())
	}
}

// Whatever a person writes as a rule and a sender as an event: no crash, and
// program and oracle agree.
func FuzzRule(f *testing.F) {
	f.Add("s: {user.name: 'a*'}\ncondition: s", "alice", "x")
	f.Add("s: {message|re: '^a+$'}\nt: {user.name|contains|all: [a, b]}\ncondition: s and not 1 of t*", "b", "aaa")
	f.Add("s: ['k*y', word]\ncondition: not s", "\xff", "a key word")
	f.Add("s: {user.name|fieldref|endswith: message}\ncondition: s", "K", "k")
	f.Add("s: [{message|windash|contains: '-x /y'}, {user.name: null}]\ncondition: all of them", "", "-x /y")
	f.Fuzz(func(t *testing.T, detection, user, message string) {
		rs, _ := rules.Parse("r.yml", []byte("title: t\nid: r\nlogsource: {product: fengsui}\ndetection:\n"+indent(detection)))
		e, _ := Compile(rs, Options{Placeholders: map[string][]string{"x": {"a", "b*"}}})
		var ev schemas.Event
		ev.SetString(schemas.FieldEventKind, "event")
		ev.SetString(schemas.FieldUserName, user)
		ev.SetString(schemas.FieldMessage, message)
		agree(t, e, &ev, func() string { return fmt.Sprintf("%q %q %q", detection, user, message) })
	})
}

// The glob matcher against the oracle's, and a pattern's notation read back.
func FuzzPattern(f *testing.F) {
	f.Add(`a*b?c`, "aXXbYc")
	f.Add(`*\\*`, `x\y`)
	f.Add("*\xff?", "a\xff文")
	f.Add("\xc3*", "Î")
	f.Fuzz(func(t *testing.T, want, text string) {
		p := parsePattern(want)
		if again := parsePattern(p.source()); fmt.Sprint(again) != fmt.Sprint(p) {
			t.Fatalf("%q is written %q", want, p.source())
		}
		if len(want) >= 100 {
			return
		}
		for _, o := range []op{opLike, opIs, opHas, opStarts, opEnds} {
			for _, cased := range []bool{false, true} {
				test := &test{op: o, field: []string{"message"}, want: []string{want}, cased: cased}
				fast, err := (&compiler{byText: map[string]int{}, slotOf: map[string]int{}}).prepare(test)
				if err != nil {
					t.Fatal(err)
				}
				if got := fast.meets(text, fold(text)); got != fits(test.lettersOf(want), letters(text, cased)) {
					t.Fatalf("%s, cased %v: %q on %q: matchers differ, the fast one says %v", o, cased, want, text, got)
				}
			}
		}
	})
}

// fold calls the same what strings.EqualFold calls the same.
func FuzzFold(f *testing.F) {
	f.Add("Straße", "STRASSE")
	f.Add("\u212a\u017f", "ks")
	f.Add("\xffA", "\xffa")
	f.Fuzz(func(t *testing.T, a, b string) {
		if strings.ToValidUTF8(a, "") != a || strings.ToValidUTF8(b, "") != b {
			return // EqualFold takes all broken bytes for one
		}
		if got, want := fold(a) == fold(b), strings.EqualFold(a, b); got != want {
			t.Fatalf("%q and %q: %v, EqualFold %v", a, b, got, want)
		}
	})
}
