package parse

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fengsui/schemas"
)

func FuzzAuto(f *testing.F)         { fuzzFormat(f, "auto") }
func FuzzSyslog(f *testing.F)       { fuzzFormat(f, "syslog") }
func FuzzLinux(f *testing.F)        { fuzzFormat(f, "linux") }
func FuzzNginxAccess(f *testing.F)  { fuzzFormat(f, "nginx-access") }
func FuzzNginxError(f *testing.F)   { fuzzFormat(f, "nginx-error") }
func FuzzApacheAccess(f *testing.F) { fuzzFormat(f, "apache-access") }
func FuzzApacheError(f *testing.F)  { fuzzFormat(f, "apache-error") }
func FuzzZeek(f *testing.F)         { fuzzFormat(f, "zeek") }
func FuzzZeekTSV(f *testing.F)      { fuzzFormat(f, "zeek-tsv") }
func FuzzZeekJSON(f *testing.F)     { fuzzFormat(f, "zeek-json") }
func FuzzSuricata(f *testing.F)     { fuzzFormat(f, "suricata") }
func FuzzWindows(f *testing.F)      { fuzzFormat(f, "windows") }
func FuzzJSON(f *testing.F)         { fuzzFormat(f, "json") }

// fuzzFormat starts from the format's samples. Whatever comes, a parser returns:
// an error that says something, or an event that has a time, is valid JSON and
// comes out the same again.
func fuzzFormat(f *testing.F, format string) {
	preamble := ""
	files, err := filepath.Glob(filepath.Join("testdata", format, "*.log"))
	if err != nil || len(files) == 0 {
		f.Fatal("no samples of ", format)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		preamble = ""
		for line := range strings.Lines(string(data)) {
			if strings.HasPrefix(line, "#") {
				preamble += line
				continue
			}
			f.Add(strings.TrimSuffix(line, "\n"), preamble)
		}
	}
	f.Add("", "")
	f.Add("\xff\xfe", "#separator \\x\n#fields")
	f.Fuzz(func(t *testing.T, line, preamble string) {
		parse := func() (*schemas.Event, error) {
			ev := &schemas.Event{Original: line, Origin: schemas.Origin{Format: format, Received: received, Source: "192.0.2.250", Preamble: preamble}}
			return ev, Parse(ev)
		}
		ev, err := parse()
		again, err2 := parse()
		if err != nil {
			if err2 == nil || err.Error() != err2.Error() || err.Error() == "" {
				t.Fatalf("errors differ: %v, %v", err, err2)
			}
			return
		}
		if ev.Get(schemas.FieldTimestamp).Kind() != schemas.KindTime {
			t.Fatal("no @timestamp")
		}
		text := ev.AppendJSON(nil)
		if !json.Valid(text) {
			t.Fatalf("not JSON: %s", text)
		}
		if err2 != nil || string(again.AppendJSON(nil)) != string(text) {
			t.Fatalf("not the same again: %v\n%s\n%s", err2, text, again.AppendJSON(nil))
		}
		checkTypes(t, ev)
	})
}

// checkTypes holds every catalogue field to its type.
func checkTypes(t *testing.T, ev *schemas.Event) {
	t.Helper()
	ev.Each(func(id schemas.FieldID, v schemas.Value) {
		field := id.Field()
		if v.Kind() == schemas.KindList != field.List {
			t.Fatalf("%s is a list or is not: %s", field.Name, v.Text())
		}
		for _, e := range v.List() {
			want := schemas.KindString
			switch field.Type {
			case schemas.Long:
				want = schemas.KindInt
			case schemas.Double:
				want = schemas.KindFloat
			case schemas.Boolean:
				want = schemas.KindBool
			case schemas.Date:
				want = schemas.KindTime
			case schemas.IP:
				if ip, ok := canonicalIP(e.Str()); !ok || ip != e.Str() {
					t.Fatalf("%s is no canonical address: %q", field.Name, e.Str())
				}
			}
			if e.Kind() != want {
				t.Fatalf("%s has kind %d, want %d: %s", field.Name, e.Kind(), want, e.Text())
			}
		}
	})
	for _, o := range ev.Open() {
		if _, ok := schemas.OpenField(o.Name); !ok {
			t.Fatalf("%q is in no open namespace", o.Name)
		}
	}
}

// counter is a visitor that only counts.
type counter struct{ n int }

func (c *counter) visit([]byte, *jsonValue) { c.n++ }

// FuzzWalk holds the JSON walker to encoding/json: it accepts an object exactly
// where the library does, its limits apart.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"a":1}`, `{"a":[1,2,{"b":null}],"c":{"d":"\u00e9\ud83d\ude00\n"}}`, `{"a":-0.5e+10}`, `{"a":01}`,
		`{"a":}`, `{,}`, `{"a":1,}`, `[1]`, `"x"`, `{"a":"` + "\x01" + `"}`, `{"a":tru}`, ` {"":""} `, `{"a":[[],[[]],{}]}`, `{"a":1}}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		var w jsonWalker
		err := w.walk(s, &counter{})
		want := json.Valid([]byte(s)) && strings.HasPrefix(strings.TrimLeft(s, " \t\r\n"), "{")
		if err == errJSONDepth || err == errJSONKeys || err == errJSONList {
			return
		}
		if (err == nil) != want {
			t.Fatalf("walk says %v, encoding/json %v: %q", err, want, s)
		}
	})
}
