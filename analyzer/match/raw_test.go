package match

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/race"
	"fengsui/rules"
	"fengsui/schemas"
)

// compareRaw matches a record as it is and as the event that it is parsed to.
func compareRaw(t testing.TB, e *Engine, raw *Raw, line []byte) (hits int) {
	t.Helper()
	var want, got []string
	ev := schemas.Event{Original: string(line)}
	parsing := raw.layout.Parse(&ev)
	if parsing == nil {
		e.Match(&ev, func(h Hit) { want = append(want, fmt.Sprint(h.Rule.Rule.ID, h.Rule.Base.ID)) })
	}
	before := raw.Parsed()
	err := raw.Match(line, func(h Hit) { got = append(got, fmt.Sprint(h.Rule.Rule.ID, h.Rule.Base.ID)) })
	if raw.Parsed() > before && (err == nil) != (parsing == nil) {
		t.Errorf("raw says %v, parsing %v\n%s", err, parsing, line)
	}
	if parsing != nil {
		return 0 // such a record is no event; only its time may be wrong
	}
	slices.Sort(want)
	slices.Sort(got)
	if err != nil || !slices.Equal(want, got) {
		t.Errorf("raw %q (%v)\nevent %q\n%s", got, err, want, line)
	}
	return len(got)
}

// Every record of both corpora meets the same rules without being parsed as with;
// of all rules together a sample is tried, and with FENGSUI_CORPUS_ALL=1 every one.
func TestRawCorpus(t *testing.T) {
	race.SkipPure(t)
	ours, _ := rules.Shipped()
	for name, rs := range map[string][]*rules.Rule{"Windows": windowsOnly(corpusRules(t)), "all": append(corpusRules(t), ours...)} {
		e, _ := Compile(rs, Options{Placeholders: corpusPlaceholders})
		raw := e.Raw(parse.Windows())
		records, hits := 0, 0
		for _, file := range []string{"events/evtx-dev.jsonl.gz", "events/otrf-dev.jsonl.gz"} {
			step := 1
			if name == "all" && os.Getenv("FENGSUI_CORPUS_ALL") == "" { // most are parsed, since some of our rules ask for derived fields
				step = 8
			}
			for _, line := range eventLines(t, file, 1<<30, step) {
				hits += compareRaw(t, e, raw, line)
				records++
			}
		}
		t.Logf("%s rules: %d records, %d parsed, %d hits", name, records, raw.Parsed(), hits)
		if hits < 1000 {
			t.Errorf("%d hits", hits)
		}
		if name == "Windows" && raw.Parsed() > uint64(records)/20 { //nolint:gosec // not negative
			t.Errorf("%d of %d records had to be parsed", raw.Parsed(), records)
		}
	}
}

const rawRules = `
title: process
id: process
logsource: {product: windows, category: process_creation}
detection:
  s: {Image|endswith: '\cmd.exe', CommandLine|contains|all: ['/c', 'naïve']}
  f: {User: null}
  condition: s and not f
---
title: words
id: words
logsource: {product: windows}
detection: {k: ['sekurlsa::', 'C:\evil\path'], condition: k}
---
title: expression
id: expression
logsource: {product: windows, category: process_creation}
detection: {s: {CommandLine|re: '(?i)set.+&&\s?set.+"'}, condition: s}
---
title: same
id: same
logsource: {product: windows, category: process_creation}
detection: {s: {Image|fieldref: ParentImage}, condition: s}
---
title: number
id: number
logsource: {product: windows, category: process_creation}
detection: {s: {ProcessId|gt: 4000}, condition: s}
---
title: derived
id: derived
logsource: {product: windows, category: process_creation}
detection: {s: {md5: d41d8cd98f00b204e9800998ecf8427e}, condition: s}
---
title: all else
id: else
logsource: {product: windows, category: process_creation}
detection: {s: {Image|contains: ''}, condition: not s}
`

// A record's notation makes no difference.
func TestRaw(t *testing.T) {
	e, problems := Compile(parseRules(t, rawRules), Options{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	raw := e.Raw(parse.Windows())
	const head = `"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"UtcTime":"2026-01-02 03:04:05.678"`
	f := func(fields string, want int) {
		t.Helper()
		line := strings.Replace(fields, "HEAD", head, 1)
		for range 2 { // the second time from memory
			if got := compareRaw(t, e, raw, []byte(line)); got != want {
				t.Errorf("%s: %d hits, want %d", line, got, want)
			}
		}
	}
	const cmd = `"Image":"C:\\Windows\\CMD.EXE","User":"x"`
	f(`{HEAD,`+cmd+`,"CommandLine":"cmd /c naïve"}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"cmd /C NAÏVE"}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"cmd \/c na\u00efve"}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"cmd /c naive"}`, 0)
	f(` { HEAD , "Image" : "C:\\cmd.exe" ,"User": null, "CommandLine" : "/c naïve" } `, 0)
	f(`{HEAD,"Image":["C:\\a.exe","C:\\cmd.exe"],"User":"x","CommandLine":"/c naïve"}`, 1)
	f(`{HEAD,"Image":["C:\\a.exe",{"b":"C:\\cmd.exe"}],"User":"x","CommandLine":"/c naïve"}`, 0)
	f(`{HEAD,"EventData":{"Image":"C:\\cmd.exe","User":"x","CommandLine":"/c naïve"}}`, 1)
	f(`{HEAD,"EventData":"{\"Image\":\"C:\\\\cmd.exe\",\"User\":\"x\",\"CommandLine\":\"/c naïve\"}"}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"a","CommandLine":"cmd /c naïve"}`, 1)
	f(`{HEAD,`+cmd+`,"Command\u004cine":"cmd /c naïve"}`, 1)
	f(`{HEAD,`+cmd+`,"x":"SEKURLSA::logonpasswords"}`, 1)
	f(`{HEAD,`+cmd+`,"x":"sekurlsa\u003a:logonpasswords"}`, 1)
	f(`{HEAD,`+cmd+`,"x":"\u017fekurlsa::"}`, 1) // the long s folds to s
	f(`{HEAD,`+cmd+`,"x":"c:\\EVIL\\path\\y"}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"set a && set b \""}`, 1)
	f(`{HEAD,`+cmd+`,"CommandLine":"set a \" && set b"}`, 0)
	f(`{HEAD,"Image":"C:\\a.exe","ParentImage":"c:\\A.exe"}`, 1)
	f(`{HEAD,"Image":"C:\\a.exe","ProcessId":4001}`, 1)
	f(`{HEAD,"Image":"C:\\a.exe","ProcessId":4.001e3}`, 1)
	f(`{HEAD,"Image":"C:\\a.exe","ProcessId":"4000"}`, 0)
	f(`{HEAD,"Image":"C:\\a.exe","Hashes":"SHA1=0,MD5=D41D8CD98F00B204E9800998ECF8427E"}`, 1)
	f(`{HEAD,"Image":"C:\\a.exe","Hashes":"-"}`, 0)
	f(`{"Channel":["a","Microsoft-Windows-Sysmon/Operational"],"EventID":1,"x":"sekurlsa::"}`, 0)
	f(`{"Channel":["Microsoft-Windows-Sysmon/Operational"],"EventID":1,"User":"x"}`, 0)
	f(`{HEAD,"User":"x"}`, 1)
	f(`{HEAD,"User":"x","Image":null}`, 1)
	f(`{HEAD,"User":"x","Image":""}`, 0)
	f(`{HEAD,"winlog.channel":"Security","User":"x"}`, 0)
	f(`{"Channel":"Security","EventID":"4688","NewProcessName":"C:\\cmd.exe","User":true,"CommandLine":"/c naïve"}`, 1)
	for _, broken := range []string{``, `{`, `{}`, `[]`, `{"EventID":1`, `{"EventID":01}`, `{"EventID":1,}`, `{"EventID":1}}`, `{"EventID":1,"x":"\q"}`, `{"EventID":1,"x":"\u00g0"}`, "{\"EventID\":1,\"x\":\"\x01\"}", "{\"EventID\":1,\"x\":\"\xff\"}", `{"EventID":1,"x":tru}`, `{"x":1}`} {
		if err := raw.Match([]byte(broken), func(Hit) { t.Errorf("%s: a hit", broken) }); err == nil {
			t.Errorf("%s: no error", broken)
		}
	}
}

// FuzzRaw holds records as they are to the events they are parsed to.
func FuzzRaw(f *testing.F) {
	e, _ := Compile(parseRules(f, rawRules), Options{})
	raw := e.Raw(parse.Windows())
	f.Add(`{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\cmd.exe","User":"x","CommandLine":"/c na\u00efve && set \ud83d\ude00 \""}`)
	f.Add(`{"Channel":"Security","EventID":4688,"NewProcessName":["C:\\cmd.exe",null],"Hashes":"MD5=1,","x":-1.5e3,"EventType":"sekurlsa::"}`)
	f.Fuzz(func(t *testing.T, line string) {
		for range 2 {
			compareRaw(t, e, raw, []byte(line))
		}
	})
}
