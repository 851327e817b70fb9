package parse

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fengsui/schemas"
)

// TestZeekTwins writes drawn records as TSV and as JSON the way Zeek does: the
// events must be the same in every field.
func TestZeekTwins(t *testing.T) {
	columns := []struct{ name, kind string }{
		{"ts", "time"},
		{"uid", "string"},
		{"id.orig_h", "addr"},
		{"id.orig_p", "port"},
		{"id.resp_h", "addr"},
		{"id.resp_p", "port"},
		{"proto", "enum"},
		{"service", "string"},
		{"duration", "interval"},
		{"orig_bytes", "count"},
		{"local_orig", "bool"},
		{"local_resp", "bool"},
		{"query", "string"},
		{"answers", "vector[string]"},
		{"TTLs", "vector[interval]"},
		{"AA", "bool"},
		{"rcode_name", "string"},
		{"server_name", "string"},
		{"version", "string"},
		{"cert_chain_fps", "vector[string]"},
		{"host", "string"},
		{"uri", "string"},
		{"auth_success", "bool"},
		{"strange", "string"},
		{"score", "double"},
		{"names", "set[string]"},
		{"counts", "vector[count]"},
		{"flag", "bool"},
	}
	rapid.Check(t, func(t *rapid.T) {
		path := rapid.SampledFrom([]string{"conn", "dns", "ssl", "http", "ssh", "notice", "stratum", "files", "dhcp", "kerberos", "ntlm", "smb_files", "socks", "websocket", "known_services", "made_up"}).Draw(t, "path")
		var fields, types, row []string
		object := []string{`"_path":"` + path + `"`}
		for _, c := range columns {
			fields, types = append(fields, c.name), append(types, c.kind)
			if rapid.IntRange(0, 4).Draw(t, c.name+" unset") == 0 && c.name != "ts" {
				row = append(row, "-")
				continue
			}
			tsv, text := drawZeek(t, c.name, c.kind)
			row, object = append(row, tsv), append(object, fmt.Sprintf("%q:%s", c.name, text))
		}
		preamble := "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\t" + path +
			"\n#fields\t" + strings.Join(fields, "\t") + "\n#types\t" + strings.Join(types, "\t")
		a := &schemas.Event{Original: strings.Join(row, "\t"), Origin: schemas.Origin{Format: "zeek-tsv", Preamble: preamble, Received: received}}
		b := &schemas.Event{Original: "{" + strings.Join(object, ",") + "}", Origin: schemas.Origin{Format: "zeek-json", Received: received}}
		if err := Parse(a); err != nil {
			t.Fatalf("%v: %q", err, a.Original)
		}
		if err := Parse(b); err != nil {
			t.Fatalf("%v: %s", err, b.Original)
		}
		if diff := difference(a, b); diff != "" {
			t.Fatalf("%s\n%q\n%s", diff, a.Original, b.Original)
		}
	})
}

// drawZeek draws a value and writes it as Zeek's two writers do.
func drawZeek(t *rapid.T, name, kind string) (tsv, text string) {
	for _, prefix := range []string{"set[", "vector["} {
		inner, ok := strings.CutPrefix(kind, prefix)
		if !ok {
			continue
		}
		var rows, texts []string
		for i := range rapid.IntRange(0, 3).Draw(t, name+" elements") {
			r, x := drawZeek(t, fmt.Sprint(name, i), strings.TrimSuffix(inner, "]"))
			rows, texts = append(rows, r), append(texts, x)
		}
		if len(rows) == 0 {
			return "(empty)", "[]"
		}
		return strings.Join(rows, ","), "[" + strings.Join(texts, ",") + "]"
	}
	switch kind {
	case "time":
		us := rapid.Int64Range(0, 4e15).Draw(t, name)
		return fmt.Sprintf("%d.%06d", us/1e6, us%1e6), fmt.Sprintf("%d.%06d", us/1e6, us%1e6)
	case "interval", "double":
		us := rapid.Int64Range(0, 4e12).Draw(t, name)
		written, _ := json.Marshal(float64(us) / 1e6)
		return fmt.Sprintf("%d.%06d", us/1e6, us%1e6), string(written)
	case "count", "port":
		n := fmt.Sprint(rapid.IntRange(0, 65535).Draw(t, name))
		return n, n
	case "bool":
		if rapid.Bool().Draw(t, name) {
			return "T", "true"
		}
		return "F", "false"
	case "addr":
		a := rapid.SampledFrom([]string{"192.0.2.7", "198.51.100.9", "2001:db8::7", "fe80::1"}).Draw(t, name)
		return a, `"` + a + `"`
	case "enum":
		return "tcp", `"tcp"`
	}
	s := rapid.StringMatching(`[a-zA-Z0-9:/.?=& ,\\"\t中é]{0,12}`).Draw(t, name)
	written, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	switch s {
	case "":
		return "(empty)", string(written)
	case "-":
		return `\x2d`, string(written)
	}
	return strings.NewReplacer(`\`, `\\`, "\t", `\x09`, ",", `\x2c`).Replace(s), string(written)
}

func TestZeekHeader(t *testing.T) {
	f := func(preamble, want string) {
		t.Helper()
		_, err := readZeekHeader(preamble)
		if got := fmt.Sprint(err); got != want {
			t.Errorf("%q: got %s, want %s", preamble, got, want)
		}
	}
	f("#fields\tts\tuid\n#types\ttime\tstring", "<nil>")
	f("#separator ;\n#fields;ts;uid\r\n#types;time;string\r\n", "<nil>")
	f("", "no #fields header came with the record")
	f("#fields\tts\tuid\n#types\ttime", "header has 2 #fields and 1 #types")
	f("#fields\tts\t\n#types\ttime\tstring", "column 2 of the header has no name")
	f("#separator \n#fields\tts", "header has an empty #separator")
	f("#set_separator\t\n#fields\tts\n#types\ttime", "header has an empty #set_separator")
	f("#fields\tts"+strings.Repeat("\tx", maxKeys)+"\n#types\ttime"+strings.Repeat("\tstring", maxKeys), "header has more than 1024 #fields")
	f(strings.Repeat("#", maxPreamble+1), "header of 65537 bytes is longer than 65536")
}

// TestZeekNames names the log of JSON that does not.
func TestZeekNames(t *testing.T) {
	f := func(source, line, want string) {
		t.Helper()
		ev := &schemas.Event{Origin: schemas.Origin{Source: source}}
		if got := zeekName(ev, line); got != want {
			t.Errorf("%s %s: %q, want %q", source, line, got, want)
		}
	}
	f("", `{"_path":"dns"}`, "dns")
	f("", `{"ts":1,"_path" : "conn"}`, "conn")
	f("/var/log/zeek/current/http.log", `{"ts":1}`, "http")
	f("/var/log/zeek/2026-12-10/ssl.10:00:00-11:00:00.log.gz", `{"ts":1}`, "ssl")
	f("192.0.2.1", `{"conn_state":"SF"}`, "conn")
	f("192.0.2.1", `{"ts":1}`, "unknown")
	f("192.0.2.1", `{"x":"\"_path\":\"dns\""}`, "unknown")
}
