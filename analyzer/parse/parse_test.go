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
