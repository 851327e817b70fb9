package parse

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

var update = flag.Bool("update", false, "write the golden files anew")

// received is when all lines of the tests were received: New Year's Day in China.
var received = time.Date(2027, 1, 1, 8, 30, 0, 0, china)

var china = time.FixedZone("CST", 8*3600)

// parsed parses one line the way the analyzer does.
func parsed(format, line string) (*schemas.Event, error) {
	ev := &schemas.Event{Original: line, Origin: schemas.Origin{Format: format, Received: received, Source: "192.0.2.250", Unit: "jyt"}}
	return ev, Parse(ev)
}

// TestGolden reads testdata/<format>/*.log, a line a record, and compares the
// events with the .golden.jsonl beside it. A line that is refused gives its
// reason instead. Lines beginning with # in a Zeek TSV are its header.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*/*.log")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples", err)
	}
	for _, file := range files {
		format := filepath.Base(filepath.Dir(file))
		t.Run(format+"/"+filepath.Base(file), func(t *testing.T) {
			got := goldenOf(t, format, file)
			golden := strings.TrimSuffix(file, ".log") + ".golden.jsonl"
			if *update {
				if err := os.WriteFile(golden, got, 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			compareLines(t, got, want)
		})
	}
}

func goldenOf(t *testing.T, format, file string) []byte {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	var preamble []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(format, "zeek") && strings.HasPrefix(line, "#") {
			preamble = append(preamble, line)
			continue
		}
		ev := &schemas.Event{Original: line, Origin: schemas.Origin{
			Format: format, Received: received, Source: "192.0.2.250", Unit: "jyt", Preamble: strings.Join(preamble, "\n"),
		}}
		if err := Parse(ev); err != nil {
			out = append(schemas.String(err.Error()).AppendJSON(append(out, `{"error":`...)), "}\n"...)
			continue
		}
		ev.Original = ""
		out = append(ev.AppendJSON(out), '\n')
	}
	return out
}

func compareLines(t *testing.T, got, want []byte) {
	t.Helper()
	g, w := bytes.Split(got, []byte("\n")), bytes.Split(want, []byte("\n"))
	if len(g) != len(w) {
		t.Errorf("%d events, want %d", len(g)-1, len(w)-1)
	}
	for i := range min(len(g), len(w)) {
		if !bytes.Equal(g[i], w[i]) {
			t.Errorf("record %d:\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
}

// TestLimits sends what is too long, too deep, too many or no text: each is an
// error that says so, and what is just within the limits is not.
func TestLimits(t *testing.T) {
	f := func(format, line, want string) {
		t.Helper()
		_, err := parsed(format, line)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s %.40q…: got %q, want %q", format, line, got, want)
		}
	}
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	keys := func(n int) string {
		return `{"a":1` + strings.Repeat(`,"a":1`, n-1) + "}"
	}
	for _, format := range Formats() {
		f(format.Name, strings.Repeat("x", MaxRecord+1), format.Name+": record of 1048577 bytes is longer than 1048576")
		f(format.Name, "abc\xffdef", format.Name+": invalid UTF-8 at byte 3")
		f(format.Name, "\r\n", format.Name+": empty record")
	}
	f("syslog", "<13>Dec 10 12:00:00 host app: "+strings.Repeat("x", MaxRecord-40), "")
	f("syslog", strings.Repeat("x", MaxRecord), "")
	f("syslog", "<13>1 "+strings.Repeat("[", 1000), "")
	f("syslog", `<13>1 - h a - - [x`+strings.Repeat(` a="b"`, 100_000)+"] m", "") // is no structured data then, but message
	f("json", nested(maxDepth), "")
	f("json", nested(maxDepth+1), "json: JSON is nested deeper than 32")
	f("json", keys(maxKeys), "")
	f("json", keys(maxKeys+1), "json: JSON has more than 1024 keys")
	f("json", `{"a":[`+strings.Repeat("1,", maxValues-1)+"1]}", "")
	f("json", `{"a":[`+strings.Repeat("1,", maxValues)+"1]}", "json: JSON has more than 16384 list elements")
	f("json", `{"a":"`+strings.Repeat("x", MaxRecord-8)+`"}`, "")
	f("zeek-json", nested(maxDepth+1), "zeek-json: JSON is nested deeper than 32")
	f("suricata", `{"event_type":"x","a":`+strings.Repeat("[", maxDepth), "suricata: JSON is nested deeper than 32")
}

// TestRejected: what the collector could not frame is not parsed.
func TestRejected(t *testing.T) {
	ev := &schemas.Event{Original: "<13>x", Origin: schemas.Origin{Format: "syslog", Reject: "frame too long"}}
	if err := Parse(ev); err == nil || err.Error() != "frame too long" {
		t.Errorf("got %v", err)
	}
}

func TestLookup(t *testing.T) {
	for _, f := range Formats() {
		if f.Zh == "" || f.En == "" {
			t.Errorf("%s is not described", f.Name)
		}
		if p, err := Lookup(f.Name); p == nil || err != nil {
			t.Errorf("%s: %v", f.Name, err)
		}
	}
	_, err := Lookup("syslogg")
	if err == nil || !strings.Contains(err.Error(), "nginx-access") {
		t.Errorf("the error names no formats: %v", err)
	}
}

// TestEventsAreApart parses with pooled readers into events that stay: a later
// record must not show through in an earlier event.
func TestEventsAreApart(t *testing.T) {
	line := func(n string) string {
		return `{"_path":"dns","ts":1796882136.5,"query":"a` + n + `.example.edu.cn","answers":["x` + n + `","192.0.2.` + n + `"],"esc":"\u4e2d` + n + `","list":["\n` + n + `","b"]}`
	}
	first, err := parsed("zeek-json", line("1"))
	if err != nil {
		t.Fatal(err)
	}
	before := string(first.AppendJSON(nil))
	for range 100 {
		if _, err := parsed("zeek-json", line("2")); err != nil {
			t.Fatal(err)
		}
	}
	if after := string(first.AppendJSON(nil)); after != before {
		t.Errorf("changed:\n%s\n%s", before, after)
	}
}
