package parse

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"fengsui/internal/testkit/corpus"
	"fengsui/schemas"
)

// readLines reads a file of the corpus, compressed or not.
func readLines(t testing.TB, path string) []string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	var lines []string
	s := bufio.NewScanner(r)
	s.Buffer(nil, MaxRecord+1)
	for s.Scan() {
		lines = append(lines, s.Text())
	}
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// TestCorpusLines parses every line of the logs of the corpus.
func TestCorpusLines(t *testing.T) {
	dir := corpus.Path(t, "")
	f := func(format, file string, mustHave ...schemas.FieldID) {
		t.Helper()
		lines, refused, categorised, had := 0, 0, 0, 0
		for _, line := range readLines(t, filepath.Join(dir, file)) {
			if strings.TrimSpace(line) == "" {
				continue
			}
			lines++
			ev, err := parsed(format, line)
			if err != nil {
				if refused++; refused < 4 {
					t.Errorf("%s: %v: %.200s", file, err, line)
				}
				continue
			}
			if !slices.ContainsFunc(mustHave, func(id schemas.FieldID) bool { return ev.Get(id).IsNone() }) {
				had++
			}
			if ev.Str(schemas.FieldEventCategory) != "" {
				categorised++
			}
			if ev.Time().Equal(received) && format != "json" {
				t.Errorf("%s: no time of its own: %.200s", file, line)
			}
		}
		if lines == 0 {
			t.Errorf("%s is empty", file)
		}
		if had != lines-refused {
			t.Errorf("%s: %d of %d events lack %v", file, lines-refused-had, lines, mustHave)
		}
		t.Logf("%-34s %-13s %6d lines, %d refused, %.1f%% with a category", file, format, lines, refused, 100*float64(categorised)/float64(max(lines, 1)))
	}
	f("linux", "loghub/OpenSSH/OpenSSH_2k.log", schemas.FieldHostName, schemas.FieldProcessName)
	f("linux", "loghub/Linux/Linux_2k.log", schemas.FieldHostName)
	f("apache-error", "loghub/Apache/Apache_2k.log", schemas.FieldLogLevel, schemas.FieldMessage)
	for _, file := range []string{"events/evtx-dev.jsonl.gz", "events/otrf-dev.jsonl.gz"} {
		f("windows", file, schemas.FieldWinlogEventID, schemas.FieldHostName)
		f("auto", file, schemas.FieldWinlogEventID)
		f("json", file)
	}
}

// TestCorpusZeekTwins reads the same Zeek records as TSV and as JSON: each is
// the other's oracle, and the events must be the same in every field.
func TestCorpusZeekTwins(t *testing.T) {
	dir := corpus.Path(t, "")
	files, err := filepath.Glob(filepath.Join(dir, "zeek", "*.log.gz"))
	if err != nil || len(files) != 10 {
		t.Fatalf("%d Zeek logs, want 10 (%v)", len(files), err)
	}
	for _, file := range files {
		var header, rows []string
		for _, line := range readLines(t, file) {
			if strings.HasPrefix(line, "#") {
				header = append(header, line)
			} else {
				rows = append(rows, line)
			}
		}
		objects := readLines(t, strings.TrimSuffix(file, ".log.gz")+".json.gz")
		preamble := strings.Join(header, "\n")
		different, n := 0, min(len(rows), len(objects)) // both files were cut at 3,000 lines
		for i := range n {
			a := zeekEvent(t, "zeek-tsv", preamble, rows[i])
			b := zeekEvent(t, "zeek-json", "", objects[i])
			if diff := difference(a, b); diff != "" {
				if different++; different < 4 {
					t.Errorf("%s record %d: %s\n%s\n%s", filepath.Base(file), i+1, diff, rows[i], objects[i])
				}
			}
			if a.Time().Equal(received) {
				t.Errorf("%s record %d: no time of its own", filepath.Base(file), i+1)
			}
		}
		t.Logf("%-24s %d records, %d differ", filepath.Base(file), n, different)
	}
}

func zeekEvent(t *testing.T, format, preamble, line string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{Original: line, Origin: schemas.Origin{Format: format, Received: received, Preamble: preamble, Unit: "jyt"}}
	if err := Parse(ev); err != nil {
		t.Fatalf("%v: %s", err, line)
	}
	return ev
}

// difference says in which field two events differ, or "".
func difference(a, b *schemas.Event) string {
	for id := range schemas.FieldID(schemas.NumFields) {
		if x, y := a.Get(id), b.Get(id); !x.Equal(y) {
			return id.String() + ": " + x.Text() + " and " + y.Text()
		}
	}
	x, y := sortedOpen(a), sortedOpen(b)
	for i := range max(len(x), len(y)) {
		switch {
		case i >= len(x):
			return y[i].Name + " is in one only"
		case i >= len(y), x[i].Name != y[i].Name:
			return x[i].Name + " is in one only"
		case !x[i].Value.Equal(y[i].Value):
			return x[i].Name + ": " + x[i].Value.Text() + " and " + y[i].Value.Text()
		}
	}
	return ""
}

func sortedOpen(ev *schemas.Event) []schemas.OpenValue {
	open := slices.Clone(ev.Open())
	slices.SortFunc(open, func(a, b schemas.OpenValue) int { return strings.Compare(a.Name, b.Name) })
	return open
}

// TestCorpusWindowsIsLossless finds every key of every Windows event of the
// corpus again under winlog.event_data., as written.
func TestCorpusWindowsIsLossless(t *testing.T) {
	dir := corpus.Path(t, "")
	for _, file := range []string{"evtx-dev.jsonl.gz", "otrf-dev.jsonl.gz"} {
		keys := 0
		for _, line := range readLines(t, filepath.Join(dir, "events", file)) {
			ev, err := parsed("windows", line)
			if err != nil {
				t.Fatal(err)
			}
			var object map[string]any
			d := json.NewDecoder(strings.NewReader(line))
			d.UseNumber()
			if err := d.Decode(&object); err != nil {
				t.Fatal(err)
			}
			for key, want := range object {
				if want == nil || key == "@timestamp" {
					continue
				}
				keys++
				if got := ev.Lookup("winlog.event_data." + key); !sameJSON(got, want) {
					t.Fatalf("%s: %s is %q, want %v: %s", file, key, got.Text(), want, line)
				}
			}
		}
		t.Logf("%s: %d keys kept", file, keys)
	}
}

// sameJSON says that an open field holds a decoded JSON value's text.
func sameJSON(got schemas.Value, want any) bool {
	list, ok := want.([]any)
	if !ok {
		return got.Kind() == schemas.KindString && got.Str() == fmt.Sprint(want)
	}
	values := got.List()
	kept := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return v == nil })
	return slices.EqualFunc(values, kept, func(v schemas.Value, w any) bool { return sameJSON(v, w) })
}
