package match

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"fengsui/rules"
	"fengsui/schemas"
)

var shanghai = time.FixedZone("UTC+8", 8*3600)

// writtenOptions are those of the tests of hand-written conditions.
var writtenOptions = Options{
	Zone:  shanghai,
	Lists: map[string][]string{"bad domains": {"evil.com", "Example.NET"}, "none": nil},
}

// writtenRule is a rule of one expression, in the literal style of YAML.
func writtenRule(expression string) string {
	return "title: t\nid: r1\nlogsource: {product: fengsui}\ndetection:\n  expr: |\n    " +
		strings.ReplaceAll(expression, "\n", "\n    ") + "\n  condition: expr\n"
}

// TestHalfCharacters: bytes that are part of a character are no part of a text, in
// the program as in the oracle.
func TestHalfCharacters(t *testing.T) {
	f := func(expression, fields string, want bool) {
		t.Helper()
		e, problems := Compile(parseRules(t, writtenRule(expression)), writtenOptions)
		if len(problems) != 1 || !problems[0].Warning || !strings.Contains(problems[0].Reason, "is not UTF-8") {
			t.Fatalf("%s: %v", expression, problems)
		}
		if got := compareWithOracle(t, e, event(t, fields), func() string { return fields }) == 1; got != want {
			t.Errorf("%s\non %s is %v", expression, fields, got)
		}
	}
	f(`like(message, b"\xc3*")`, `{"message":"Î"}`, false)
	f(`has(message, b"\xc3", "x")`, `{"message":"Î"}`, false)
	f(`has(message, b"\xc3", "x")`, `{"message":"Îx"}`, true)
	f(`starts(message, b"\xc3")`, `{"message":"Î"}`, false)
	f(`ends(message, b"\x8e")`, `{"message":"Î"}`, false)
	f(`word(b"\x8e")`, `{"message":"Î"}`, false)
	f(`is(message, b"\xc3", "Î")`, `{"message":"Î"}`, true)
}

// What each operator and function of hand-written conditions means. Program and
// oracle must both say it.
func TestWritten(t *testing.T) {
	f := func(expression, fields string, want bool) {
		t.Helper()
		e, problems := Compile(parseRules(t, writtenRule(expression)), writtenOptions)
		for _, p := range problems {
			t.Fatalf("%s: %s", expression, p)
		}
		hits := compareWithOracle(t, e, event(t, fields), func() string { return fields })
		if got := hits == 1; got != want {
			t.Errorf("%s\non %s is %v; program %s", expression, fields, got, e.Rules()[0].Source)
		}
	}

	// Comparisons; letters of any case are the same, as in Sigma.
	f(`user.name == "ROOT"`, `{"user.name":"root"}`, true)
	f(`"ROOT" == user.name`, `{"user.name":"root"}`, true)
	f(`user.name == "a*"`, `{"user.name":"abc"}`, false) // no wildcards but in like
	f(`source.port == 22`, `{"source.port":22}`, true)
	f(`source.port == "22"`, `{"source.port":22}`, true)
	f(`source.ip == "2001:DB8:0::1"`, `{"source.ip":"2001:db8::1"}`, true)
	f(`tls.established == true`, `{"tls.established":true}`, true)
	f(`source.port > 1024 and source.port <= 65535`, `{"source.port":65535}`, true)
	f(`1024 < source.port`, `{"source.port":1024}`, false)
	f(`event.risk_score >= -1.5`, `{"event.risk_score":-1}`, true)
	f(`user.id < 11`, `{"user.id":"10"}`, true)
	f(`user.id < 11`, `{"user.id":"ten"}`, false)
	f(`source.port in [22, 3389]`, `{"source.port":3389}`, true)
	f(`source.port in 6881..6889`, `{"source.port":6885}`, true)
	f(`source.port not in [22, 3389]`, `{"source.port":80}`, true)
	f(`message contains "Needle"`, `{"message":"a needle b"}`, true)
	f(`message startsWith "a n"`, `{"message":"A needle"}`, true)
	f(`message endsWith "x"`, `{"message":"A needle"}`, false)
	f(`message matches "^a+$"`, `{"message":"aaa"}`, true)
	f(`message matches "^a+$"`, `{"message":"AAA"}`, false) // as with Sigma's re
	f(`dns.answers.data == "b"`, `{"dns.answers.data":["a","b"]}`, true)

	// A field that is missing meets no comparison, != included; not is plain.
	f(`user.name == "x"`, `{}`, false)
	f(`user.name != "x"`, `{}`, false)
	f(`user.name != "x"`, `{"user.name":"y"}`, true)
	f(`user.name != "x"`, `{"user.name":"X"}`, false)
	f(`not (user.name == "x")`, `{}`, true)
	f(`user.name not in ["x"]`, `{}`, true)
	f(`user.name == nil`, `{}`, true)
	f(`user.name != nil`, `{"user.name":""}`, true)
	f(`source.port < 1`, `{}`, false)

	// Two fields.
	f(`user.name == host.name`, `{"user.name":"A","host.name":"a"}`, true)
	f(`user.name == host.name`, `{}`, false)
	f(`user.name != host.name`, `{"user.name":"A"}`, false)
	f(`user.name != host.name`, `{"user.name":"A","host.name":"b"}`, true)
	f(`message contains host.name`, `{"message":"on WEB1","host.name":"web1"}`, true)
	f(`(source.ip ?? destination.ip) == "10.0.0.1"`, `{"destination.ip":"10.0.0.1"}`, true)
	f(`(source.ip ?? destination.ip) == "10.0.0.1"`, `{"source.ip":"10.0.0.2","destination.ip":"10.0.0.1"}`, false)

	// The predicates of programs.
	f(`has(message, "a", "b")`, `{"message":"xbx"}`, true)
	f(`contains_any(message, "a", "b")`, `{"message":"xBx"}`, true)
	f(`contains_all(message, "a", "b")`, `{"message":"xBx"}`, false)
	f(`contains_all(message, "a", "b")`, `{"message":"xBa"}`, true)
	f(`has_cased(message, "b")`, `{"message":"xBx"}`, false)
	f(`like(message, "a*z")`, `{"message":"AbcZ"}`, true)
	f(`starts(message, "a") and ends(message, "c") and is(message, "abc")`, `{"message":"ABC"}`, true)
	f(`like(message, "*Î?") and has(message, "\u00ce")`, `{"message":"xÎy"}`, true)
	f(`re(message, "a.c")`, `{"message":"xabcx"}`, true)
	f(`exists(message) and null(user.name)`, `{"message":"m"}`, true)
	f(`gt(source.port, 21) && lte(source.port, 22)`, `{"source.port":22}`, true)
	f(`word("needle")`, `{"user.name":"a NEEDLE b"}`, true)

	// Addresses.
	f(`cidr(source.ip, "10.0.0.0/8", "fe80::/10")`, `{"source.ip":"fe80::1"}`, true)
	f(`cidr(source.ip, "10.0.0.0/8")`, `{"source.ip":"11.0.0.1"}`, false)
	f(`is_private(source.ip)`, `{"source.ip":"172.31.0.1"}`, true)
	f(`is_private(source.ip)`, `{"source.ip":"172.32.0.1"}`, false)
	f(`is_private(source.ip)`, `{"source.ip":"fd00::1"}`, true)
	f(`is_private(source.ip)`, `{"source.ip":"100.64.1.1"}`, true)
	f(`is_private(source.ip)`, `{"source.ip":"2400::1"}`, false)
	f(`not is_private(destination.ip) and is_private(source.ip)`, `{"source.ip":"10.0.0.1","destination.ip":"8.8.8.8"}`, true)

	// Functions of a text.
	f(`entropy(dns.question.name) > 3.8`, `{"dns.question.name":"q7x9k2m4p8w1z5v3"}`, true) // sixteen letters: 4 bits
	f(`entropy(dns.question.name) == 4`, `{"dns.question.name":"q7x9k2m4p8w1z5v3"}`, true)
	f(`entropy(dns.question.name) > 3.8`, `{"dns.question.name":"www.edu.cn"}`, false)
	f(`entropy(dns.question.name) == 0`, `{"dns.question.name":"aaaa"}`, true)
	f(`entropy(dns.question.name) < 8`, `{}`, false)
	f(`length(message) == 2`, `{"message":"李明"}`, true)
	f(`length(message) >= 3`, `{"message":"李明"}`, false)
	f(`length(message) in 1..9`, `{"message":"李明"}`, true)
	f(`registered_domain(dns.question.name) == "x.edu.cn"`, `{"dns.question.name":"www.lab.X.edu.cn."}`, true)
	f(`registered_domain(dns.question.name) == "edu.cn"`, `{"dns.question.name":"edu.cn"}`, false)
	f(`registered_domain(url.domain) != "x.com"`, `{"url.domain":"10.0.0.1"}`, false) // an address has none
	f(`registered_domain(url.domain) == nil`, `{"url.domain":"10.0.0.1"}`, true)
	f(`registered_domain(url.domain) != nil`, `{"url.domain":"a.b.com"}`, true)
	f(`hour() >= 22 or hour() < 6`, `{"@timestamp":"2025-03-01T15:30:00Z"}`, true) // 23:30 in UTC+8
	f(`hour() in 8..18 and weekday() <= 5`, `{"@timestamp":"2025-03-03T04:00:00Z"}`, true)
	f(`weekday() == 7`, `{"@timestamp":"2025-03-01T17:00:00Z"}`, true) // already Sunday
	f(`year(tls.server.not_after) < 2024`, `{"tls.server.not_after":"2023-06-01T00:00:00Z"}`, true)
	f(`hour() == "08"`, `{"@timestamp":"2025-03-01T00:30:00Z"}`, true)
	f(`hour() >= 0`, `{}`, false)

	// Lists of the configuration.
	f(`in_list(dns.question.name, "bad domains")`, `{"dns.question.name":"EVIL.com"}`, true)
	f(`in_list(dns.question.name, "bad domains")`, `{"dns.question.name":"www.evil.com"}`, false)
	f(`in_list(registered_domain(dns.question.name), "bad domains")`, `{"dns.question.name":"www.example.net"}`, true)
	f(`not in_list(dns.question.name, "none")`, `{"dns.question.name":"x"}`, true)

	// What enrichment says of the event.
	f(`unit_under("410100")`, `{"fengsui.unit.path":["410102","410100","41"]}`, true)
	f(`unit_under("410200", "410300")`, `{"fengsui.unit.path":["410102","410100","41"]}`, false)
	f(`asset_has_tag("mysql") and not unit_under("9")`, `{"fengsui.asset.tags":["servers","MySQL"]}`, true)

	// Precedence is expr's: not, comparison, and, or.
	f(`user.name == "a" or user.name == "b" and host.name == "h"`, `{"user.name":"a"}`, true)
	f("user.name == \"a\" and // a comment\n!(host.name == \"h\")", `{"user.name":"a"}`, true)
	f(`1 <= source.port <= 9`, `{"source.port":5}`, true)
	f(`1 <= source.port <= 9`, `{"source.port":10}`, false)
}

// A written condition combines with selections, and takes the log source's
// names as well as the catalogue's.
func TestWrittenWithSelections(t *testing.T) {
	rs := parseRules(t, `
title: t
id: r1
logsource: {product: windows, category: process_creation}
detection:
  expr: Image endsWith "\\cmd.exe" and length(CommandLine) > 5
  filter: {winlog.computer_name: lab}
  condition: expr and not filter
`)
	e, problems := Compile(rs, Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f := func(fields string, want int) {
		t.Helper()
		ev := event(t, `{"winlog.channel":"Security","winlog.event_id":4688,`+fields+`}`)
		if got := compareWithOracle(t, e, ev, func() string { return fields }); got != want {
			t.Errorf("%s: %d hits, want %d", fields, got, want)
		}
	}
	f(`"winlog.event_data.NewProcessName":"C:\\CMD.exe","winlog.event_data.CommandLine":"cmd /c x"`, 1)
	f(`"winlog.event_data.NewProcessName":"C:\\CMD.exe","winlog.event_data.CommandLine":"cmd"`, 0)
	f(`"winlog.event_data.NewProcessName":"C:\\CMD.exe","winlog.event_data.CommandLine":"cmd /c x","winlog.computer_name":"lab"`, 0)
	want := "((ends(winlog.event_data.Image ?? winlog.event_data.NewProcessName, \"\\\\cmd.exe\") and " +
		"gt(length(winlog.event_data.CommandLine ?? winlog.event_data.ProcessCommandLine), \"5\")) and not (is(winlog.computer_name, \"lab\")))"
	if got := e.Rules()[0].Source; got != want {
		t.Errorf("program %s\nwant    %s", got, want)
	}
	// The alert shows the field's own text, not what the function made of it.
	var found []schemas.Satisfied
	ev := event(t, `{"winlog.channel":"Security","winlog.event_id":4688,"winlog.event_data.NewProcessName":"C:\\CMD.exe","winlog.event_data.CommandLine":"cmd /c x"}`)
	e.Match(ev, func(h Hit) { found = h.Satisfied(ev) })
	if len(found) != 2 || found[1] != (schemas.Satisfied{Selection: "expr", Field: "winlog.event_data.CommandLine", Value: "cmd /c x"}) {
		t.Errorf("satisfied %v", found)
	}
}

func TestWrittenProblems(t *testing.T) {
	f := func(expression, want string) {
		t.Helper()
		rs, errs := rules.Parse("r.yml", []byte(writtenRule(expression)))
		if len(errs) > 0 {
			t.Fatal(errs[0])
		}
		_, problems := Compile(rs, writtenOptions)
		got := fmt.Sprint(problems)
		if want = "[r.yml:" + want + "]"; got != want {
			t.Errorf("%s\nproblems %s\nwant     %s", expression, got, want)
		}
	}
	f(`sorce.ip == "x"`, `6: rule r1: expr: unknown field "sorce.ip"; did you mean "source.ip"?`)
	f("user.name == \"a\" and\nentropi(user.name) > 3", `7: rule r1: expr: no function of a field is named entropi`)
	f("user.name == \"a\"\n  and\n  frob(user.name)", `8: rule r1: expr: no function is named frob`)
	f(`in_list(user.name, "who")`, `6: rule r1: expr: the configuration has no list "who"`)
	f(`not user.name == "x"`, `6: rule r1: expr: not binds more than ==: put brackets around the comparison`)
	f(`user.name`, `6: rule r1: expr: user.name is no condition: compare it with something`)
	f(`user.name < "b"`, `6: rule r1: expr: < compares numbers, and "b" is a text`)
	f(`hour() == 24`, `6: rule r1: expr: hour is a number from 0 to 23, and never "24"`)
	f(`entropy(user.name) == "high"`, `6: rule r1: expr: entropy is a number from 0 to 8, and never "high"`)
	f(`source.port + 1 == 2`, `6: rule r1: expr: source.port + 1 is not a field`)
	f(`user.name matches "("`, "6: rule r1: expr: not a regular expression of RE2: error parsing regexp: missing closing ): `(`")
	f(`cidr(source.ip, "10.0.0.0/33")`, `6: rule r1: expr: not a network: "10.0.0.0/33"`)
	f(`cidr(source.ip)`, `6: rule r1: expr: no text or number is given to look for`)
	f(`source.port in [source.port]`, `6: rule r1: expr: a text or a number is needed, not source.port`)
	f(`source.port in 9..1`, `6: rule r1: expr: a range needs two whole numbers, the lesser first, at most 10000 apart`)
	f(`length(length(user.name)) > 1`, `6: rule r1: expr: length(user.name) is not a field`)
	f(`filter([1], {# > 0})`, `6: rule r1: expr: filter([1], # > 0) is no condition: compare it with something`)
	f(`let x = 1; x == 1`, `6: rule r1: expr: let x = 1; x == 1 is no condition: compare it with something`)
	f(`true`, `6: rule r1: expr: true is no condition: compare it with something`)
	f("user.name ==\n  \n", "7: rule r1: expr: unexpected token EOF (column 3)")
	f(strings.Repeat("(", 20_000), `6: rule r1: expr: 20001 bytes are more than 16384`)
}

// entropy is Shannon's, to four decimals.
func TestFunctions(t *testing.T) {
	f := func(fn function, text, want string) {
		t.Helper()
		got, ok := fn.appendOf(nil, text, shanghai)
		if !ok {
			got = []byte("nothing")
		}
		if string(got) != want {
			t.Errorf("%s of %q is %s, want %s", fn, text, got, want)
		}
	}
	f(fnEntropy, "", "0")
	f(fnEntropy, "a", "0")
	f(fnEntropy, "ab", "1")
	f(fnEntropy, "aab", "0.9183") // -(2/3 log 2/3 + 1/3 log 1/3)
	f(fnEntropy, "0123456789abcdef", "4")
	f(fnLength, "", "0")
	f(fnLength, "a文\xff", "3")
	f(fnDomain, "a.b.C.com", "c.com")
	f(fnDomain, "a.b.gov.cn", "b.gov.cn")
	f(fnDomain, "com", "nothing")
	f(fnDomain, "", "nothing")
	f(fnDomain, "::1", "nothing")
	f(fnDomain, "..", "nothing")
	// "day: number between 1 and 31" and its like; in the zone configured.
	f(fnMinute, "2024-12-31T23:59:00Z", "59")
	f(fnHour, "2024-12-31T23:59:00Z", "7")
	f(fnHour, "2024-12-31T23:59:00.5+08:00", "23")
	f(fnDay, "2024-12-31T23:59:00Z", "1")
	f(fnMonth, "2024-12-31T23:59:00Z", "1")
	f(fnYear, "2024-12-31T23:59:00Z", "2025")
	f(fnWeek, "2024-12-31T23:59:00Z", "1")
	f(fnWeek, "2020-12-31T00:00:00Z", "53")
	f(fnWeekday, "2024-12-31T23:59:00Z", "3")
	f(fnHour, "yesterday", "nothing")
}

// Whatever a person writes as an expression: no crash, an answer without a
// run-time error, and program and oracle agree.
func FuzzWritten(f *testing.F) {
	for _, seed := range []string{
		`cidr(source.ip, "10.0.0.0/8") and entropy(user.name) > 1.5`, `not (user.name in ["a", 1, true]) or message matches "a+"`,
		`hour() in 0..5 && registered_domain(message) != nil`, `(user.name ?? message) contains host.name`, `in_list(user.name, "l") || unit_under("1")`,
		`contains_all(message, "a", b"\xff") and !is_private($env["source.ip"])`, `1 < length(message) <= 5`, `user.name | has("x")`,
	} {
		f.Add(seed, "alice", "x.example.com")
	}
	f.Fuzz(func(t *testing.T, expression, user, message string) {
		w := strings.ReplaceAll(strings.ToValidUTF8(expression, ""), "'", "''")
		rs, _ := rules.Parse("r.yml", []byte("title: t\nid: r\nlogsource: {product: fengsui}\ndetection: {expr: '"+w+"', condition: expr}"))
		e, _ := Compile(rs, Options{Lists: map[string][]string{"l": {"alice"}}, Zone: shanghai})
		var ev schemas.Event
		ev.SetString(schemas.FieldEventKind, "event")
		ev.SetString(schemas.FieldUserName, user)
		ev.SetString(schemas.FieldMessage, message)
		ev.SetTime(schemas.FieldTimestamp, time.Unix(1740000000, 0))
		agree(t, e, &ev, func() string { return fmt.Sprintf("%q %q %q", expression, user, message) })
	})
}
