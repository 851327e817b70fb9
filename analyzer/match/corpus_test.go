package match

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fengsui/rules"
	"fengsui/schemas"
)

// corpus is the folder of real data, or skips the test.
func corpus(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("FENGSUI_CORPUS")
	if dir == "" {
		root, err := os.Getwd()
		if err != nil {
			t.Fatal(err)
		}
		for ; root != "/"; root = filepath.Dir(root) {
			if _, err := os.Stat(filepath.Join(root, "go.mod")); err == nil {
				break
			}
		}
		dir = filepath.Join(root, "..", "shared", "corpus")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("no corpus: %v", err)
	}
	return dir
}

func corpusRules(t testing.TB) []*rules.Rule {
	t.Helper()
	var all []*rules.Rule
	for _, d := range []string{"rules", "rules-emerging-threats", "rules-threat-hunting"} {
		rs, errs := rules.LoadDir(filepath.Join(corpus(t), "sigma", d))
		for _, e := range errs {
			t.Error(e)
		}
		all = append(all, rs...)
	}
	return all
}

// windowsLines are the raw lines of an events file.
func eventLines(t testing.TB, name string, limit, step int) [][]byte {
	t.Helper()
	f, err := os.Open(filepath.Join(corpus(t), "events", name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	sc := bufio.NewScanner(z)
	sc.Buffer(nil, 1<<20)
	for n := 0; sc.Scan() && len(lines) < limit; n++ {
		if n%step == 0 {
			lines = append(lines, bytes.Clone(sc.Bytes()))
		}
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	return lines
}

// decodeWindows is flat JSON as an event, without the parse package, which may
// not be what decides this package's tests.
func decodeWindows(line []byte, ev *schemas.Event) error {
	ev.Reset()
	var m map[string]any
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if err := dec.Decode(&m); err != nil {
		return err
	}
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		var v schemas.Value
		switch x := m[k].(type) {
		case nil:
			continue
		case string:
			v = schemas.String(x)
		case json.Number:
			v = schemas.String(x.String())
		case bool:
			v = schemas.Bool(x)
		case []any:
			var ss []string
			for _, e := range x {
				ss = append(ss, fmt.Sprint(e))
			}
			v = schemas.Strings(ss...)
		default:
			b, err := json.Marshal(x)
			if err != nil {
				return err
			}
			v = schemas.String(string(b))
		}
		ev.SetOpen("winlog.event_data."+k, v)
		switch k {
		case "Channel":
			ev.Set(schemas.FieldWinlogChannel, v)
		case "EventID":
			n, err := strconv.ParseInt(v.Text(), 10, 64)
			if err == nil {
				ev.SetInt(schemas.FieldWinlogEventID, n)
			}
		case "Provider_Name", "SourceName":
			ev.Set(schemas.FieldWinlogProviderName, v)
		case "Computer", "Hostname":
			ev.Set(schemas.FieldHostName, v)
		case "Message":
			ev.Set(schemas.FieldMessage, v)
		}
	}
	ev.Original = string(line)
	return nil
}

// Every rule of the corpus loads but the few named here with their reasons.
func TestCorpusLoads(t *testing.T) {
	rs := corpusRules(t)
	start := time.Now()
	e, problems := Compile(rs, Options{})
	t.Logf("%d rules, %d compiled in %v; %d predicates over %d fields", len(rs), len(e.Rules()), time.Since(start), len(e.predicates), len(e.slots))
	byReason := map[string][]string{}
	failed := 0
	for _, p := range problems {
		reason, _, _ := strings.Cut(p.Reason, ":")
		if p.Warning {
			reason = "warning: " + strings.Fields(p.Reason)[2]
		} else {
			failed++
			t.Logf("%s", p)
		}
		byReason[reason] = append(byReason[reason], p.RuleID)
	}
	for reason, ids := range byReason {
		t.Logf("%4d × %s", len(ids), reason)
	}
	if len(e.Rules())+failed != len(rs) {
		t.Errorf("%d rules, %d compiled, %d problems", len(rs), len(e.Rules()), failed)
	}
}
