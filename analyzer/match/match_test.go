package match

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fengsui/rules"
	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ruleOf is a rule over any event, with the detection given.
func ruleOf(t testing.TB, detection string) *rules.Rule {
	t.Helper()
	return parseRules(t, "title: t\nid: r1\nlogsource: {product: fengsui}\ndetection:\n"+indent(detection))[0]
}

func parseRules(t testing.TB, text string) []*rules.Rule {
	t.Helper()
	rs, errs := rules.Parse("rule.yml", []byte(text))
	for _, e := range errs {
		t.Fatal(e)
	}
	return rs
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ") + "\n"
}

// event is a JSON object of fields; event.kind is there for the log source.
func event(t testing.TB, fields string) *schemas.Event {
	t.Helper()
	ev, err := rules.DecodeEvent([]byte(fields))
	if err != nil {
		t.Fatal(err)
	}
	if ev.Get(schemas.FieldEventKind).IsNone() {
		ev.SetString(schemas.FieldEventKind, "event")
	}
	return ev
}

var placeholders = Options{Placeholders: map[string][]string{"admins": {"root", "adm*"}}}

// The semantics of Sigma, each with the clause of the specification (2.1.0) that
// says so. Program and oracle must both say it.
func TestSemantics(t *testing.T) {
	f := func(selection, fields string, want bool) {
		t.Helper()
		e, problems := Compile([]*rules.Rule{ruleOf(t, "s:\n"+indent(selection)+"condition: s")}, placeholders)
		for _, p := range problems {
			t.Fatalf("%s: %s", selection, p)
		}
		ev := event(t, fields)
		hits := compareWithOracle(t, e, ev, func() string { return fields })
		if got := hits == 1; got != want {
			t.Errorf("%s\non %s is %v; program %s", selection, fields, got, e.Rules()[0].Source)
		}
	}

	// "All values are treated as case-insensitive strings."
	f(`user.name: ROOT`, `{"user.name":"root"}`, true)
	f(`user.name: 'Ärger'`, `{"user.name":"äRGER"}`, true)
	f(`user.name: 'ΣΟΦΟΣ'`, `{"user.name":"σοφος"}`, true)
	f(`user.name: kelvin`, `{"user.name":"\u212aelvin"}`, true)
	f(`user.name: 李明`, `{"user.name":"李明"}`, true)
	f(`user.name: istanbul`, `{"user.name":"\u0130stanbul"}`, false) // İ folds to no plain i
	f(`user.name: root`, `{"user.name":"root2"}`, false)
	// "cased: Values are applied case sensitively."
	f(`user.name|cased: root`, `{"user.name":"Root"}`, false)
	f(`user.name|cased: Root`, `{"user.name":"Root"}`, true)
	f(`user.name|cased: Root`, `{"user.name":"root"}`, false)
	f(`user.name|cased: 'R?o*'`, `{"user.name":"Root"}`, true)
	f(`user.name|cased: 'R?o*'`, `{"user.name":"root"}`, false)
	f(`user.name|contains|cased: oo`, `{"user.name":"Root"}`, true)

	// "? to replace a single mandatory character", "* to replace an unbounded
	// length wildcard".
	f(`file.name: 'prog?.exe'`, `{"file.name":"progA.exe"}`, true)
	f(`file.name: 'prog?.exe'`, `{"file.name":"prog.exe"}`, false)
	f(`file.name: 'prog?.exe'`, `{"file.name":"prog文.exe"}`, true)
	f(`file.name: 'antivirus_V*.exe'`, `{"file.name":"antivirus_V21.2.1.exe"}`, true)
	f(`file.name: 'a*b*c'`, `{"file.name":"aXbXbYc"}`, true)
	f(`file.name: 'a*b*c'`, `{"file.name":"aXcXb"}`, false)
	f(`file.name: '*'`, `{"file.name":"x"}`, true)
	f(`file.name: '*'`, `{}`, false)

	// "Plain backslash not followed by a wildcard can be expressed as single \ or
	// double backslash \\." "A wildcard has to be escaped". "Three backslashes are
	// necessary to escape both". "Four [..] results in the plain value \\".
	f(`file.path: 'C:\Windows\x'`, `{"file.path":"C:\\Windows\\x"}`, true)
	f(`file.path: 'C:\\Windows\\x'`, `{"file.path":"C:\\Windows\\x"}`, true)
	f(`file.path: 'a\*b'`, `{"file.path":"a*b"}`, true)
	f(`file.path: 'a\*b'`, `{"file.path":"a1b"}`, false)
	f(`file.path: 'a\\*'`, `{"file.path":"a\\anything"}`, true)
	f(`file.path: 'a\\\*'`, `{"file.path":"a\\*"}`, true)
	f(`file.path: 'a\\\*'`, `{"file.path":"a\\b"}`, false)
	f(`file.path: 'a\\\\b'`, `{"file.path":"a\\\\b"}`, true)
	f(`file.path|endswith: '\'`, `{"file.path":"C:\\"}`, true)

	// contains "puts * wildcards around the values"; startswith; endswith.
	f(`message|contains: needle`, `{"message":"hay needle hay"}`, true)
	f(`message|contains: ''`, `{"message":"x"}`, true)
	f(`message|startswith: hay`, `{"message":"hay needle"}`, true)
	f(`message|startswith: needle`, `{"message":"hay needle"}`, false)
	f(`message|endswith: needle`, `{"message":"hay needle"}`, true)
	f(`message|contains: 'n*e'`, `{"message":"hay needle hay"}`, true)

	// "lists of values are linked with OR"; all "changes this to AND".
	f(`message|contains: [one, two]`, `{"message":"two"}`, true)
	f(`message|contains|all: [one, two]`, `{"message":"two"}`, false)
	f(`message|contains|all: [one, two]`, `{"message":"two one"}`, true)
	// What a modifier makes of one value are alternatives, of which all asks for one
	// of each value.
	f(`message|contains|all|windash: ['-a', '-b']`, `{"message":"x /a \u2013b"}`, true)
	f(`message|windash|contains|all: ['-a', '-b']`, `{"message":"x /a"}`, false)
	f(`message|base64offset|contains|all: [foobar, cmd]`, `{"message":"eHhmb29iYXJ4 Y21k"}`, true)
	f(`message|base64offset|contains|all: [foobar, cmd]`, `{"message":"eHhmb29iYXJ4"}`, false)
	f(`user.name|contains|expand|all: ['%admins%', x]`, `{"user.name":"xadmin"}`, true)
	f(`user.name|contains|expand|all: ['%admins%', x]`, `{"user.name":"admin"}`, false)
	f(`message|contains|all|neq: [one, two]`, `{"message":"two"}`, true)
	f(`message|contains|all|neq: [one, two]`, `{"message":"one two"}`, false)
	f(`message|fieldref|all: [user.name, host.name]`, `{"message":"a","user.name":"A","host.name":"a"}`, true)
	f(`message|fieldref|all: [user.name, host.name]`, `{"message":"a","user.name":"A","host.name":"b"}`, false)
	// "All elements of a map are joined with a logical AND."
	f("user.name: a\nhost.name: h", `{"user.name":"a"}`, false)
	f("user.name: a\nhost.name: h", `{"user.name":"a","host.name":"h"}`, true)
	f("<<: {user.name: a, host.name: x}\nhost.name: h", `{"user.name":"a","host.name":"h"}`, true) // YAML's merge
	f("<<: {user.name: a, host.name: x}\nhost.name: h", `{"user.name":"a","host.name":"x"}`, false)
	// "All map items of a list are logically linked with OR."
	f("- user.name: a\n- host.name: h", `{"host.name":"h"}`, true)
	// A field of many values matches by any of them.
	f(`dns.answers.data: b`, `{"dns.answers.data":["a","b"]}`, true)
	f(`dns.answers.data|contains|all: [a, b]`, `{"dns.answers.data":["a","b"]}`, true)

	// "All values are treated as case-insensitive strings": an address however it
	// is written, beyond ASCII by Unicode's simple folding.
	f(`source.ip: '2001:DB8:0:0::1'`, `{"source.ip":"2001:db8::1"}`, true)
	f(`source.ip: '::ffff:10.0.0.1'`, `{"source.ip":"10.0.0.1"}`, true)
	f(`user.name: 'ЖУК'`, `{"user.name":"жук"}`, true)
	f(`user.name|contains: 'ΑΣ'`, `{"user.name":"κοσμας"}`, true) // final sigma
	f(`user.name: 'strasse'`, `{"user.name":"straße"}`, false)    // simple folding changes no length
	f(`user.name: 'STRAẞE'`, `{"user.name":"straße"}`, true)
	f(`user.name: 'ＡＢＣ'`, `{"user.name":"ａｂｃ"}`, true) // full width
	f(`user.name: 'ＡＢＣ'`, `{"user.name":"abc"}`, false)

	// Numbers are compared as they are written in the event.
	f(`source.port: 22`, `{"source.port":22}`, true)
	f(`source.port: '22'`, `{"source.port":22}`, true)
	f(`user.id: 22`, `{"user.id":"22"}`, true)
	f(`source.port: 0x16`, `{"source.port":22}`, true)
	// A number stands in a text as the rule writes it, or as numbers are written.
	f(`tls.version: 1.0`, `{"tls.version":"1.0"}`, true)
	f(`tls.version: 1.0`, `{"tls.version":"1"}`, true)
	f(`tls.version: 1.0`, `{"tls.version":"1.00"}`, false)
	f(`user.name: 0012345`, `{"user.name":"0012345"}`, true) // a student's number; as a number it is octal
	f(`user.name|neq: 0012345`, `{"user.name":"0012345"}`, false)
	f(`event.code: 0xC000006D`, `{"event.code":"0xc000006d"}`, true)
	f(`event.code: 0xC000006D`, `{"event.code":"3221225581"}`, true)
	f(`message|contains: 007`, `{"message":"agent 007"}`, true)
	f(`message|contains: 007`, `{"message":"7 agents"}`, false)
	f(`message|startswith: 1.10`, `{"message":"1.1 is older"}`, false)
	f(`message|re: 007`, `{"message":"7"}`, false)
	f(`message|re: 007`, `{"message":"007"}`, true)
	f(`source.port|gte: 0x16`, `{"source.port":22}`, true)
	f(`'@timestamp|hour': '08'`, `{"@timestamp":"2025-03-01T08:30:00Z"}`, true)
	f(`'@timestamp|hour': ['07', 08]`, `{"@timestamp":"2025-03-01T08:30:00Z"}`, true)
	f(`source.port: '2*'`, `{"source.port":22}`, true)
	f(`tls.established: true`, `{"tls.established":true}`, true)
	f(`tls.established: 'False'`, `{"tls.established":false}`, true)

	// "lt: Field is less than the value" and its like.
	f(`source.port|lt: 23`, `{"source.port":22}`, true)
	f(`source.port|lt: 22`, `{"source.port":22}`, false)
	f(`source.port|lte: 22`, `{"source.port":22}`, true)
	f(`source.port|gt: 22`, `{"source.port":22}`, false)
	f(`source.port|gte: 22`, `{"source.port":22}`, true)
	f(`event.risk_score|gt: -1.5`, `{"event.risk_score":-1}`, true)
	f(`user.id|gt: 9`, `{"user.id":"10"}`, true)
	f(`user.id|gt: 9`, `{"user.id":"ten"}`, false)
	f(`source.port|gt: 1`, `{}`, false)

	// "minute: number between 0 and 59" … "it extracts a numeric value from a date".
	at := `{"@timestamp":"2025-08-02T22:05:09Z","tls.server.not_after":"2024-02-29T00:00:00Z"}`
	f(`'@timestamp|minute': 5`, at, true)
	f(`'@timestamp|hour': [21, 22]`, at, true)
	f(`'@timestamp|hour|gte': 22`, at, true)
	f(`'@timestamp|hour|lt': 22`, at, false)
	f(`'@timestamp|hour|neq': 22`, at, false)
	f(`'@timestamp|hour|neq': 21`, at, true)
	f(`'@timestamp|day': 2`, at, true)
	f(`'@timestamp|week': 31`, at, true) // of ISO 8601
	f(`'@timestamp|month': 8`, at, true)
	f(`'@timestamp|year': 2025`, at, true)
	f(`tls.server.not_after|day: 29`, at, true)
	f(`'@timestamp|hour|neq': 1`, `{}`, false)
	f(`message|hour: 22`, `{"message":"2025-08-02T22:05:09+00:00"}`, true) // a date in a text
	f(`message|hour|neq: 22`, `{"message":"no date"}`, false)

	// "A null value is defined with null", "an empty value with ''".
	f(`user.name: null`, `{}`, true)
	f(`user.name: null`, `{"user.name":null}`, true)
	f(`user.name: null`, `{"user.name":"x"}`, false)
	// "null cannot be part of a list of field values": where it is, it can only
	// mean what it says.
	f(`user.name: [null, x]`, `{"user.name":"x"}`, true)
	f(`user.name: [null, x]`, `{}`, true)
	f(`user.name: [null, x]`, `{"user.name":"y"}`, false)
	f(`user.name: ''`, `{"user.name":""}`, true)
	f(`user.name: ''`, `{}`, false)
	f(`user.name: ''`, `{"user.name":"x"}`, false)
	// exists "only verifies the presence of a field, not its value".
	f(`user.name|exists: true`, `{"user.name":""}`, true)
	f(`user.name|exists: true`, `{}`, false)
	f(`user.name|exists: false`, `{}`, true)
	// "neq: The field is different from the specified values."
	f(`user.name|neq: root`, `{"user.name":"x"}`, true)
	f(`user.name|neq: root`, `{"user.name":"Root"}`, false)
	f(`user.name|neq: root`, `{}`, false) // no field, so none that differs
	f(`user.name|neq: [root, toor]`, `{"user.name":"toor"}`, false)
	f(`user.name|fieldref|neq: host.name`, `{"user.name":"x","host.name":"y"}`, true)
	f(`user.name|fieldref|neq: host.name`, `{"user.name":"x"}`, false)

	// "fieldref: [..] used to compare fields of matched events". Two fields that
	// are both missing are not the same.
	f(`user.name|fieldref: host.name`, `{"user.name":"X","host.name":"x"}`, true)
	f(`user.name|fieldref: host.name`, `{}`, false)
	f(`message|fieldref|contains: host.name`, `{"message":"on web1 now","host.name":"WEB1"}`, true)
	f(`message|fieldref|startswith: host.name`, `{"message":"on web1","host.name":"web1"}`, false)
	f(`message|fieldref|endswith: host.name`, `{"message":"on web1","host.name":"web1"}`, true)

	// "Regex is matched case-sensitive by default"; i, m, s.
	f(`message|re: 'ro+t$'`, `{"message":"is root"}`, true)
	f(`message|re: 'ro+t$'`, `{"message":"is ROOT"}`, false)
	f(`message|re|i: 'ro+t$'`, `{"message":"is ROOT"}`, true)
	f(`message|re: '^two$'`, `{"message":"one\ntwo"}`, false)
	f(`message|re|m: '^two$'`, `{"message":"one\ntwo"}`, true)
	f(`message|re: 'one.two'`, `{"message":"one\ntwo"}`, false)
	f(`message|re|s: 'one.two'`, `{"message":"one\ntwo"}`, true)
	f(`source.port|re: '^2'`, `{"source.port":22}`, true)

	// cidr "supports both IPv4 and IPv6 notations".
	f(`source.ip|cidr: 10.0.0.0/8`, `{"source.ip":"10.1.2.3"}`, true)
	f(`source.ip|cidr: 10.0.0.0/8`, `{"source.ip":"11.1.2.3"}`, false)
	f(`source.ip|cidr: ['10.0.0.0/8', 'fe80::/10']`, `{"source.ip":"fe80::1"}`, true)
	f(`user.name|cidr: 10.0.0.0/8`, `{"user.name":"::ffff:10.0.0.1"}`, true)
	f(`user.name|cidr: 10.0.0.0/8`, `{"user.name":"no address"}`, false)
	f(`source.ip|cidr: '::ffff:10.0.0.0/104'`, `{"source.ip":"10.1.2.3"}`, true)
	f(`source.ip|cidr: '::/0'`, `{"source.ip":"10.1.2.3"}`, false)
	f(`user.name|cidr: 'fe80::/10'`, `{"user.name":"fe80::1%12"}`, true) // as Windows logs it

	// Encodings: "cmd > 63 00 6d 00 64 00" and so on.
	f(`message|base64: foobar`, `{"message":"Zm9vYmFy"}`, true)
	f(`message|base64offset|contains: foobar`, `{"message":"eHhmb29iYXJ4"}`, true) // xxfoobarx
	f(`message|base64offset|contains: foobar`, `{"message":"Zm9v"}`, false)
	f(`message|wide|base64offset|contains: cmd`, `{"message":"YwBtAGQA"}`, true)
	f(`message|utf16le: cmd`, `{"message":"c\u0000m\u0000d\u0000"}`, true)
	f(`message|utf16be: cmd`, `{"message":"\u0000c\u0000m\u0000d"}`, true)
	f(`message|utf16|base64: cmd`, `{"message":"//5jAG0AZAA="}`, true)

	f(`message|utf16le|base64offset|contains: cmd`, `{"message":"YwBtAGQA"}`, true)
	f(`message|utf16be|base64: cmd`, `{"message":"AGMAbQBk"}`, true)
	f(`message|utf16|base64offset|contains: cmd`, `{"message":"Pv+YwBtAG"}`, false)
	f(`message|base64offset|contains|cased: foobar`, `{"message":"EHHMB29IYXJ4"}`, false)
	f(`message|wide|contains|all: [cmd, whoami]`, `{"message":"w\u0000h\u0000o\u0000a\u0000m\u0000i\u0000c\u0000m\u0000d\u0000"}`, true)

	// windash makes "all possible permutations of the -, /, –, —, and ―".
	f(`message|contains|windash: ' -s '`, `{"message":"x /s y"}`, true)
	f(`message|contains|windash: ' -s '`, `{"message":"x \u2014s y"}`, true)
	f(`message|contains|windash: '-a /b'`, `{"message":"/a \u2015b"}`, true)
	f(`message|contains|windash: ' –s '`, `{"message":"x -s y"}`, true) // written with a dash of a text editor
	f(`message|contains|windash: ' —s '`, `{"message":"x /s y"}`, true)
	f(`message|windash: 'a–b'`, `{"message":"a-b"}`, false)
	f(`message|windash: 'a-b'`, `{"message":"a/b"}`, false) // no flag

	// "field|expand: %name% handles %name% as placeholder."
	f(`user.name|expand: '%admins%'`, `{"user.name":"administrator"}`, true)
	f(`user.name|expand: '%admins%'`, `{"user.name":"guest"}`, false)
	f(`user.name: '%admins%'`, `{"user.name":"%admins%"}`, true)
	f(`user.name|expand: '\%x%admins%'`, `{"user.name":"%xroot"}`, true)

	// "searching for keywords across an entire event"; '|all'.
	f("- EVILSERVICE\n- 'svchost.exe -n evil'", `{"message":"the EvilService ran"}`, true)
	f("- evil", `{"user.name":"xEVILx"}`, true)
	f("- 'e*l'", `{"user.name":"xEVILx"}`, true)
	f("- evil", `{"event.original":"<13>evil"}`, true)
	f("- evil", `{"message":"good"}`, false)
	f("'|all': [one, two]", `{"message":"one","user.name":"two"}`, true)
	f("'|all': [one, two]", `{"message":"one"}`, false)
	f("'|re': 'o[mn]e'", `{"message":"ONE one"}`, true)
	f("- 22", `{"source.port":22}`, true)

	// Bytes that are not UTF-8 stay what they are.
	ev := event(t, `{}`)
	ev.SetString(schemas.FieldMessage, "a\xffb")
	e, _ := Compile([]*rules.Rule{ruleOf(t, "s: {message: 'a?b'}\ncondition: s")}, Options{})
	if compareWithOracle(t, e, ev, func() string { return "a\\xffb" }) != 1 {
		t.Error("? must match a byte that is not UTF-8")
	}
}

func TestCondition(t *testing.T) {
	f := func(condition string, want bool) {
		t.Helper()
		text := `
yes: {user.name: u}
sel_a: {user.name: u}
'web/1': {user.name: u}
sel_b: {user.name: x}
filter_a: {user.name: x}
_hidden: {user.name: x}
condition: ` + condition
		e, problems := Compile([]*rules.Rule{ruleOf(t, text)}, Options{})
		for _, p := range problems {
			if !strings.Contains(p.Reason, "the condition does not use") {
				t.Fatal(p)
			}
		}
		if got := compareWithOracle(t, e, event(t, `{"user.name":"u"}`), func() string { return condition }) == 1; got != want {
			t.Errorf("%s is %v", condition, got)
		}
	}
	f("yes", true)
	f("not yes", false)
	f("not not yes", true)
	f("yes and sel_b", false)
	f("yes or sel_b", true)
	f("sel_b and yes or yes", true) // or binds least
	f("yes or yes and sel_b", true) //
	f("not sel_b and yes", true)    // not binds more than and
	f("not (sel_b and yes)", true)  //
	f("not (sel_b or yes)", false)  //
	f("1 of sel_*", true)           //
	f("all of sel_*", false)        //
	f("1 of filter_*", false)       //
	f("not 1 of filter_*", true)    //
	f("yes and not 1 of filter_*", true)
	f("1 of them", true)
	f("all of them", false)
	f("1 of *_a and yes", true)
	f("1 of _hidden", false) // by name it is found; only "them" leaves it out
	f("Not sel_b AND yes", true)
	// "Matching is done with * wildcards (any number of characters) at arbitrary
	// positions in the pattern."
	f("1 of s*_a", true)
	f("all of *el_a", true)
	f("1 of web*", true) // of any characters
	f("any of sel_*", true)
	f("1 of sel_a", true)
	f("not all of sel_*", true)
}

// "not": a missing field meets no value, so its negation holds.
func TestNegation(t *testing.T) {
	f := func(selection, fields string, want bool) {
		t.Helper()
		e, problems := Compile([]*rules.Rule{ruleOf(t, "s: "+selection+"\ncondition: not s")}, Options{})
		for _, p := range problems {
			t.Fatal(p)
		}
		if got := compareWithOracle(t, e, event(t, fields), func() string { return fields }) == 1; got != want {
			t.Errorf("not %s on %s is %v", selection, fields, got)
		}
	}
	f(`{user.name: x}`, `{}`, true)
	f(`{user.name: x}`, `{"user.name":"X"}`, false)
	f(`{user.name: ''}`, `{}`, true)
	// "To get an expression that says not null you have to create another
	// selection and negate it in the condition."
	f(`{user.name: null}`, `{"user.name":""}`, true)
	f(`{user.name: null}`, `{}`, false)
	f(`{user.name|neq: x}`, `{}`, true)
	f(`{user.name|neq: x}`, `{"user.name":"x"}`, true)
	f(`{source.port|gt: 5}`, `{}`, true)
	f(`{source.ip|cidr: 10.0.0.0/8}`, `{}`, true)
	f(`{user.name|fieldref: host.name}`, `{}`, true)
	f(`{'@timestamp|hour': 1}`, `{}`, true)
	f(`{user.name: a, host.name: b}`, `{"user.name":"a"}`, true)
	f(`[evil]`, `{"message":"good"}`, true)
	// A field of many values: not that any of them is.
	f(`{dns.answers.data: a}`, `{"dns.answers.data":["a","b"]}`, false)
}

func TestProblems(t *testing.T) {
	f := func(rule, want string) {
		t.Helper()
		rs, errs := rules.Parse("r.yml", []byte(rule))
		var got []string
		for _, e := range errs {
			got = append(got, e.Error())
		}
		_, problems := Compile(rs, Options{})
		for _, p := range problems {
			got = append(got, p.String())
		}
		if len(got) != 1 || got[0] != want {
			t.Errorf("problems %q\nwant     %q", got, want)
		}
	}
	detection := func(body string) string {
		return "title: t\nid: r1\nlogsource:\n  product: fengsui\ndetection:\n" + indent(body)
	}
	f(detection("s: &a [*a]\ncondition: s"), `r.yml:6: rule r1: selections nested deeper than 20`)
	f(detection("a: &a [x, y, z, x, y, z, x, y, z, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c, *c]\ncondition: d"),
		`r.yml:6: rule r1: more than 10000 items`)
	f(detection("s: {sorce.ip: x}\ncondition: s"), `r.yml:6: rule r1: sorce.ip: unknown field "sorce.ip"; did you mean "source.ip"?`)
	f("title: t\nid: r1\nlogsource: {product: plan9}\ndetection: {s: {a: b}, condition: s}", `r.yml:3: rule r1: log source plan9/*/* is not mapped`)
	f(detection("s: {user.name|expand: '%who%'}\ncondition: s"), `r.yml:6: rule r1: user.name|expand: placeholder %who% has no values in the configuration`)
	f(detection("s: {'@timestamp|second': 5}\ncondition: s"), `r.yml:6: rule r1: @timestamp|second: modifier second is none of Sigma 2.1`)
	f(detection("s: {'@timestamp|minute': 60}\ncondition: s"), `r.yml:6: rule r1: @timestamp|minute: minute is a number from 0 to 59, and never "60"`)
	f(detection("s: {'@timestamp|hour|contains': 5}\ncondition: s"), `r.yml:6: rule r1: @timestamp|hour|contains: a text modifier cannot follow re, cidr, exists, a time or a comparison`)
	f(detection("s: {'@timestamp|gte|hour': 5}\ncondition: s"), `r.yml:6: rule r1: @timestamp|gte|hour: modifier hour cannot follow those before it`)
	f(detection("s: {'@timestamp|day|re': 5}\ncondition: s"), `r.yml:6: rule r1: @timestamp|day|re: modifier re cannot follow those before it`)
	f(detection("s: {user.name|re: '(?=x)'}\ncondition: s"), "r.yml:6: rule r1: user.name|re: look-around is not supported (expressions are RE2's): error parsing regexp: invalid or unsupported Perl syntax: `(?=`")
	f(detection("s: {message|fieldref|base64: user.name}\ncondition: s"), `r.yml:6: rule r1: message|fieldref|base64: fieldref compares with what the other field holds, which no modifier but contains, startswith, endswith and cased can change`)
	f(detection("s: {message|windash|fieldref: user.name}\ncondition: s"), `r.yml:6: rule r1: message|windash|fieldref: modifier fieldref cannot follow those before it`)
	f(detection("s: {message|expand|re: '%x%'}\ncondition: s"), `r.yml:6: rule r1: message|expand|re: placeholder %x% has no values in the configuration`)
	f(detection("s: {message|windash|re: '-x'}\ncondition: s"), `r.yml:6: rule r1: message|windash|re: modifier re cannot follow those before it`)
	f(detection("s: {user.name: x}\ncondition: t"), `r.yml:7: rule r1: condition: no selection is named "t", only s`)
	f(detection("s: {user.name: x}\ncondition: 1 of x_*"), `r.yml:7: rule r1: condition: 1 of x_*: no selection has such a name, there are only s`)
	f(detection("s: {user.name: x}\nt: {user.name: y}\ncondition: s and not （t）"), `r.yml:8: rule r1: condition: no selection is named "（t）", only s, t; （ ） ｜ are an input method's, ( ) | are meant`)
	f(detection("s: {message|regex: x}\ncondition: s"), `r.yml:6: rule r1: message|regex: modifier regex is none of Sigma 2.1; did you mean re?`)
	f(detection("s: {message|Contains: x}\ncondition: s"), `r.yml:6: rule r1: message|Contains: modifier Contains is none of Sigma 2.1; did you mean contains?`)
	f(detection("s: {source.port|gt: .nan}\ncondition: s"), `r.yml:6: rule r1: source.port|gt: a comparison needs a field and a number: "NaN"`)
	f(detection("s: {source.port|lt: .inf}\ncondition: s"), `r.yml:6: rule r1: source.port|lt: a comparison needs a field and a number: "+Inf"`)
	// A blank item would have met every event without the field.
	f(detection("s:\n  message|contains:\n    - x\n    -\ncondition: s"), `r.yml:7: rule r1: message|contains: null has no text that a modifier could change; is an item of the list blank?`)
	f("title: t\nid: r1\nlogsource: {product: linux, service: ssh}\ndetection: {s: {user.name: b}, condition: s}", `r.yml:3: rule r1: log source linux/*/ssh is not mapped; did you mean linux/*/sshd?`)
	f("title: t\nid: r1\nlogsource: {product: linux, category: sshd}\ndetection: {s: {user.name: b}, condition: s}", `r.yml:3: rule r1: log source linux/sshd/* is not mapped; did you mean linux/*/sshd?`)
	f(detection("s: {user.name: x}\ncondition: s")+"---\ntitle: c\nid: c\ncorrelation: {type: event_count, rules: [t], timespan: 1m, condition: {gte: 3}}\n", `r.yml:11: rule c: it refers to "t", which is no rule that is loaded; that is a title: its id is r1`)
	f(detection("s: {user.name: x}\ncondition: s | count() > 5"), `r.yml:7: rule r1: condition: aggregation after | (Sigma 1) is not supported; write a correlation`)
	f(detection("s: {user.name: x}\ncondition: (s"), `r.yml:7: rule r1: condition: ) is missing`)
	f(detection("s: {user.name: x}\ncondition: s s"), `r.yml:7: rule r1: condition: "s" is not expected here`)
	f(detection("s: {user.name: []}\ncondition: s"), `r.yml:6: rule r1: user.name: an empty list matches nothing`)
	f(detection("s: {message|: x}\ncondition: s"), `r.yml:6: rule r1: message|: modifier  is none of Sigma 2.1`)
	f(detection("s:\ncondition: s"), `r.yml:6: rule r1: a map, a list or a text is needed here, and there is nothing`)
	f(detection("s: ['']\ncondition: s"), `r.yml:6: rule r1: keyword: "" stands in every event`)
	f(detection("s: {}\ncondition: s"), `r.yml:6: rule r1: an empty map matches everything`)
	f(detection("s:\n  user.name: x\n  user.name: y\ncondition: s"), `r.yml:8: rule r1: "user.name" is said twice; the first would be lost`)
	f(detection("s: {source.ip|cidr: 10.0.0.0/33}\ncondition: s"), `r.yml:6: rule r1: source.ip|cidr: cidr needs a field and a network: "10.0.0.0/33"`)
	f(detection("s: {message|base64: 'a*'}\ncondition: s"), `r.yml:6: rule r1: message|base64: modifier base64 cannot encode wildcards`)
	f("title: t\nid: r1\nlogsource: {product: okta, service: okta}\ndetection: {s: {eventtype: b}, condition: s}",
		`r.yml:3: rule r1: log source okta/*/okta has no parser yet: only events whose sender names it (event.dataset: okta.okta) can match`)
}

// A filter's condition must hold, too, for the rules it names and no others.
func TestFilters(t *testing.T) {
	const two = `
title: a
id: a
name: first
logsource: {product: fengsui}
detection: {selection: {user.name: [x, y]}, other: {user.name: z}, condition: 1 of them}
---
title: b
id: b
logsource: {product: fengsui}
detection: {selection: {user.name: [x, y]}, condition: selection}
---
title: c
id: c
logsource: {product: linux, service: sshd}
detection: {selection: {user.name: [x, y]}, condition: selection}
---
title: f
id: f
`
	f := func(filter, fields, want string) {
		t.Helper()
		e, problems := Compile(parseRules(t, two+strings.TrimPrefix(filter, "\n")), Options{})
		var got []string
		for _, p := range problems {
			got = append(got, p.String())
		}
		ev := event(t, fields)
		compareWithOracle(t, e, ev, func() string { return fields })
		e.Match(ev, func(h Hit) { got = append(got, h.Rule.Rule.ID) })
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s\non %s: %s\nwant %s", filter, fields, got, want)
		}
	}
	// "The purpose of Filter rules is to apply the same tuning on many rules with
	// the goal to suppress matches of multiple rules."
	const leave = `
logsource: {product: fengsui}
filter:
  rules: [a, b]
  selection: {user.name: y}
  condition: not selection
`
	f(leave, `{"user.name":"x"}`, "a b")
	f(leave, `{"user.name":"y"}`, "")
	f(leave, `{"user.name":"z"}`, "a") // 1 of them is of the rule's own selections
	f(strings.Replace(leave, "[a, b]", "[first]", 1), `{"user.name":"y"}`, "b")
	f(strings.Replace(leave, "[a, b]", "b", 1), `{"user.name":"y"}`, "a")
	f(strings.Replace(leave, "[a, b]", "any", 1), `{"user.name":"y"}`, "")
	f(strings.Replace(leave, "[a, b]", "any", 1), `{"user.name":"y","log.syslog.appname":"sshd"}`, "c") // of another log source
	f(strings.Replace(strings.Replace(leave, "product: fengsui", "category: x", 1), "[a, b]", "any", 1), `{}`,
		"rule.yml:20: rule f: filter: no rule that is loaded is of log source */x/*")
	// What is wrong with a filter is said, and the rules go on without it.
	f(strings.Replace(leave, "[a, b]", "[a, nobody]", 1), `{"user.name":"y"}`, `rule.yml:22: rule f: filter: it refers to "nobody", which is no rule that is loaded b`)
	f(strings.Replace(leave, "[a, b]", "[c]", 1), `{"user.name":"y"}`, `rule.yml:22: rule f: filter: "c" is of log source linux/*/sshd, and the filter for fengsui/*/* a b`)
	f(strings.Replace(leave, "user.name: y", "user.nam: y", 1), `{"user.name":"y"}`, `rule.yml:23: rule f: user.nam: unknown field "user.nam"; did you mean "user.name"? a b`)
	f(strings.Replace(leave, "not selection", "selection", 1), `{"user.name":"y"}`,
		`rule.yml:24: rule f: filter: only events for which "selection" holds are left to the rules; to leave them out, write not a b`)
	f(`
filter: {rules: [many], selection: {user.name: y}, condition: not selection}
logsource: {product: fengsui}
---
title: many
id: many
correlation: {type: event_count, rules: [a], group-by: [user.name], timespan: 1m, condition: {gte: 3}, generate: true}
`, `{}`, `rule.yml:20: rule f: filter: "many" is a correlation: name the rules that it counts`)
}

// A rule that loads and can never match, or should not be loaded, is named.
func TestWarnings(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		e, problems := Compile(parseRules(t, text), Options{})
		var got []string
		for _, p := range problems {
			if got = append(got, p.String()); !p.Warning {
				t.Errorf("%s is no warning", p)
			}
		}
		if got := strings.Join(got, "\n"); got != want || len(e.Rules()) == 0 {
			t.Errorf("%s\nproblems %s\nwant     %s", text, got, want)
		}
	}
	rule := func(logsource, detection string) string {
		return "title: t\nid: r1\nlogsource: {" + logsource + "}\ndetection:\n" + indent(detection)
	}
	const never = "rule.yml:6: rule r1: it can never match: the condition contradicts itself or what every event of its log source has (%s)"
	f(rule("product: windows, category: process_creation", "s: {EventID: 4625}\ncondition: s"), fmt.Sprintf(never, "winlog.channel: Microsoft-Windows-Sysmon/Operational, winlog.event_id: 1"))
	f(rule("product: windows, category: process_creation", "s: {EventID: 4688, Channel: SECURITY}\ncondition: s"), "")
	f(rule("product: windows, category: process_creation", "s: {EventID: [1, 5]}\ncondition: not s"), "") // 4688
	f(rule("product: windows, category: process_creation", "s: {EventID: [1, 4688]}\ncondition: not s"), fmt.Sprintf(never, "winlog.channel: Microsoft-Windows-Sysmon/Operational, winlog.event_id: 1"))
	f(rule("product: windows, service: security", "s: {Channel: null}\ncondition: s"), fmt.Sprintf(never, "winlog.channel: Security"))
	f(rule("product: windows, service: security", "s: {Channel|startswith: Sys, EventID: 1}\ncondition: s"), fmt.Sprintf(never, "winlog.channel: Security"))
	f(rule("product: fengsui", "s: {message|all: [a, b]}\ncondition: s"), "rule.yml:5: rule r1: message is asked to be several things at once, which only a field of many values can; is contains missing?")
	f(rule("product: fengsui", "s: {message|all: [a*, b]}\ncondition: s"), "")
	// Half a character is in no event.
	const half = `rule.yml:6: rule r1: "\xe9\x00" is not UTF-8, which all texts of events are: no value can hold it`
	f(rule("product: fengsui", "s: {message|utf16le|contains: é}\ncondition: s"), half)
	f(rule("product: fengsui", "expr: has(message, b'\\xe9\\x00', \"x\")\ncondition: expr"), half)
	f(rule("product: fengsui", "s: {message|utf16le|base64offset|contains: ééé}\ncondition: s"), "")
	// What was left behind half written.
	f(rule("product: fengsui", "s: {user.name: x}\nfilter: {user.name: y}\ncondition: s"), `rule.yml:6: rule r1: the condition does not use "filter"`)
	f(rule("product: fengsui", "s: {user.name: x}\n_s: {user.name: y}\ncondition: all of them"), `rule.yml:6: rule r1: the condition does not use "_s"`)
	f(rule("product: fengsui", "s:\n  user.name:\ncondition: s"), `rule.yml:6: rule r1: user.name: nothing is written here, which asks for events without the field; write null if that is meant`)
	f(rule("product: fengsui", "s: {source.ip: 10.0.0.0/8}\ncondition: s"), `rule.yml:5: rule r1: source.ip holds values of type ip, and never "10.0.0.0/8"; a network needs the modifier cidr`)
	// A name in an open namespace that is almost a known one.
	f(rule("product: windows, category: process_creation", "s: {commandline|contains: x}\ncondition: s"), "rule.yml:5: rule r1: commandline is not a name that is known of this log source; did you mean CommandLine?")
	f(rule("product: windows, category: process_creation", "expr: Imege == \"x\" or ParentImge == \"x\"\ncondition: expr"), "rule.yml:5: rule r1: ParentImge is not a name that is known of this log source; did you mean ParentImage?")
	f(rule("product: windows, service: security", "s: {EventID: 4625}\ncondition: s")+"---\ntitle: c\nid: c\ncorrelation: {type: value_count, rules: [r1], group-by: [Ipaddress], timespan: 1m, condition: {field: TargetUsername, gte: 3}}\n",
		"rule.yml:10: rule c: Ipaddress is not a name that is known of this log source; did you mean IpAddress?\nrule.yml:10: rule c: TargetUsername is not a name that is known of this log source; did you mean TargetUserName?")
	f(rule("product: fengsui", "s: {user.name: x}\ncondition: s and not s"), fmt.Sprintf(never, "event.kind: *"))
	f(rule("product: fengsui", "s: {user.name: x}\ncondition: s or not s"), "")
	f(rule("product: fengsui", "s: {source.port: ssh}\ncondition: s"), `rule.yml:5: rule r1: source.port holds values of type long, and never "ssh"`)
	f(rule("product: fengsui", "s: {source.port: '022'}\ncondition: s"), `rule.yml:5: rule r1: source.port holds values of type long, and never "022"`)
	f(rule("product: fengsui", "s: {source.ip: [10.0.0.300, '10.*']}\ncondition: s"), `rule.yml:5: rule r1: source.ip holds values of type ip, and never "10.0.0.300"`)
	f(rule("product: fengsui", "s: {tls.established: 'yes'}\ncondition: s"), `rule.yml:5: rule r1: tls.established holds values of type boolean, and never "yes"`)
	f("status: unsupported\n"+rule("product: fengsui", "s: {user.name: x}\ncondition: s"), "rule.yml:1: rule r1: its author says that it cannot be used as it is (status: unsupported)")
	f(rule("product: fengsui", "s: {user.name: x}\ncondition: s")+"---\ntitle: u\nid: r2\nrelated: [{id: r1, type: obsolete}, {id: gone, type: derived}]\nlogsource: {product: fengsui}\ndetection: {s: {user.name: y}, condition: s}\n",
		"rule.yml:1: rule r1: rule r2 takes its place (rule.yml:10): both are loaded")
}

func TestToMatch(t *testing.T) {
	rule := ruleOf(t, `
tool: {process.command_line|contains: [mimikatz, sekurlsa]}
who: {user.name: [root, admin]}
not_me: {host.name: lab}
condition: tool and who and not not_me`)
	rule.Alerting.Quiet = time.Hour
	e, problems := Compile([]*rules.Rule{rule}, Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ev := event(t, `{"@timestamp":"2025-03-01T08:00:00Z","host.name":"pc1","user.name":"Admin","process.command_line":"x  MimiKatz\ny","event.id":"s-7"}`)
	ev.Unit = "4101"
	var got schemas.Match
	e.Match(ev, func(h Hit) { got = h.ToMatch(ev) })
	want := schemas.Match{
		Kind: schemas.MatchRule, EventID: "s-7", Time: time.Date(2025, 3, 1, 8, 0, 0, 0, time.UTC),
		Unit: "4101", Host: "pc1", Quiet: time.Hour,
		Rule:  schemas.Rule{ID: "r1", Title: "t", Level: schemas.Medium},
		Group: []schemas.GroupValue{{Field: "host.name", Value: "pc1"}, {Field: "user.name", Value: "Admin"}},
		Satisfied: []schemas.Satisfied{
			{Selection: "tool", Field: "process.command_line", Value: "x  MimiKatz\ny"},
			{Selection: "who", Field: "user.name", Value: "Admin"},
		},
		Summary: "x MimiKatz y",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The program of a rule is text that a person can read.
func TestSource(t *testing.T) {
	rs := parseRules(t, `
title: t
id: r1
logsource: {product: windows, category: process_creation}
detection:
  img: {Image|endswith: ['\a.exe', '\b.exe'], Odd-Name: 1}
  none: {ParentImage: null, '@timestamp|exists': true}
  condition: img and not none
`)
	e, problems := Compile(rs, Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := `((ends(winlog.event_data.Image ?? winlog.event_data.NewProcessName, "\\a.exe", "\\b.exe") and is(winlog.event_data["Odd-Name"], "1")) and ` +
		`not ((null(winlog.event_data.ParentImage ?? winlog.event_data.ParentProcessName) and exists($env["@timestamp"]))))`
	if diff := cmp.Diff(want, e.Rules()[0].Source); diff != "" {
		t.Error(diff)
	}
}

// Only the rules of an event's log source are tried, and of those only the ones
// that its event id leaves possible.
func TestPlans(t *testing.T) {
	rs := parseRules(t, `
title: logon
id: logon
logsource: {product: windows, service: security}
detection: {s: {EventID: [4624, 4625], LogonType: 10}, condition: s}
---
title: cleared
id: cleared
logsource: {product: windows, service: security}
detection: {s: {EventID: 1102}, condition: s}
---
title: other than logon
id: other
logsource: {product: windows, service: security}
detection: {s: {EventID: 4624}, condition: not s}
---
title: ssh
id: ssh
logsource: {product: linux, service: sshd}
detection: {s: {user.name: root}, condition: s}
`)
	e, problems := Compile(rs, Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	f := func(fields string, want int) {
		t.Helper()
		s := e.take()
		defer e.give(s)
		s.begin(event(t, fields))
		if got := len(s.planOf().plan.rules); got != want {
			t.Errorf("%s: %d rules planned, want %d", fields, got, want)
		}
	}
	f(`{"winlog.channel":"Security","winlog.event_id":4624}`, 1)
	f(`{"winlog.channel":"security","winlog.event_id":1102}`, 2)
	f(`{"winlog.channel":"System","winlog.event_id":4624}`, 0)
	f(`{"log.syslog.appname":"sshd"}`, 1)
	f(`{}`, 0)

	// A sender who makes up shapes costs memory up to a bound.
	for i := range 3 * maxPlans {
		f(fmt.Sprintf(`{"log.syslog.appname":"sshd%d"}`, i), 0)
	}
	if len(e.plans) > maxPlans {
		t.Errorf("%d plans kept", len(e.plans))
	}
	// Two values that differ only in how they are cut up are two shapes.
	f(`{"log.syslog.appname":"sshd","event.provider":"x"}`, 1)
	f("{\"log.syslog.appname\":\"ssh\",\"event.provider\":\"d\"}", 0)
}

// Nothing is allocated for rules that do not match.
func TestNoAllocation(t *testing.T) {
	var text strings.Builder
	for i := range 50 {
		fmt.Fprintf(&text, "---\ntitle: t\nid: r%d\nlogsource: {product: fengsui}\ndetection: {s: {message|contains: 'x%d', source.port: %d}, t: {user.name|re: '^z'}, condition: s or t}\n", i, i, i)
	}
	e, problems := Compile(parseRules(t, text.String()), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	ev := event(t, `{"message":"Nothing To See HERE","source.port":4444,"user.name":"李明"}`)
	try := func() { e.Match(ev, func(Hit) { t.Error("a hit") }) }
	try()
	if n := testing.AllocsPerRun(100, try); n > 0 {
		t.Errorf("%v allocations an event", n)
	}
}

// Any number of goroutines match with one engine, while shapes come and go.
func TestConcurrent(t *testing.T) {
	rs, _ := rules.Shipped()
	e, _ := Compile(rs, Options{})
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for i := range 500 {
				ev := &schemas.Event{}
				ev.SetString(schemas.FieldEventKind, "event")
				ev.SetString(schemas.FieldLogSyslogAppname, fmt.Sprintf("app%d", i%50))
				ev.SetString(schemas.FieldProcessCommandLine, fmt.Sprintf("curl http://host%d/%d | SH", worker, i))
				hits := 0
				e.Match(ev, func(Hit) { hits++ })
				if hits != 1 {
					t.Errorf("%d hits", hits)
				}
			}
		})
	}
	wg.Wait()
}
