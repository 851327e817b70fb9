package trial

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/correlate"
	"fengsui/analyzer/match"
	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/corpus"
	"fengsui/rules"
	"fengsui/schemas"
)

// TestOrdinary: over logs in which nothing much happens no shipped rule alerts
// more than once in a thousand events, and no base of a correlation sends on more
// than a quarter of them. What the logs hold of attacks is named: there a rule may
// alert, and is told.
func TestOrdinary(t *testing.T) {
	rs, errs := rules.Shipped()
	for _, e := range errs {
		t.Fatal(e)
	}
	engine, _ := match.Compile(rs, match.Options{})
	title := map[string]string{}
	for _, r := range rs {
		title[r.ID], _, _ = strings.Cut(r.File+" "+r.Title, " / ")
	}
	f := func(name, format string, attacked ...string) {
		t.Helper()
		run := New(engine, nil, correlate.DefaultConfig())
		events, unread := 0, 0
		matches := map[string]int{}
		for line := range corpusLines(t, name) {
			ev, err := parseLine(line, format, events+unread)
			if err != nil {
				unread++
				continue
			}
			events++
			for _, m := range run.Event(ev) {
				matches[m.Rule.ID]++
			}
		}
		alerts := map[string]int{}
		for _, a := range run.Alerts() {
			alerts[a.Rule.ID]++
		}
		t.Logf("%s: %d events, %d not read, %d alerts", name, events, unread, len(run.Alerts()))
		if events < 20 || unread > events/10 {
			t.Errorf("%s: %d events and %d that are none", name, events, unread)
		}
		for _, id := range sortedKeys(matches) {
			n, text := alerts[id], fmt.Sprintf("%s: %s: %d matches, %d alerts of %d events", name, title[id], matches[id], alerts[id], events)
			known := slices.ContainsFunc(attacked, func(a string) bool { return strings.Contains(title[id], a) })
			switch {
			case !known && n > max(1, events/1000):
				t.Error(text)
			case !known && matches[id] > events/4:
				t.Errorf("%s: that is much to count", text)
			default:
				t.Log(text)
			}
		}
	}
	// A network on which a contest of attackers and defenders was held.
	f("zeek/dns.json.gz", "zeek")
	f("zeek/ssl.json.gz", "zeek")
	f("zeek/smtp.json.gz", "zeek")
	f("zeek/rdp.json.gz", "zeek")
	f("zeek/ftp.json.gz", "zeek")
	f("zeek/ntlm.json.gz", "zeek", "account_guessing") // nothing but logins: they are counted
	f("zeek/ssh.json.gz", "zeek")
	f("zeek/weird.json.gz", "zeek")
	f("zeek/known_services.json.gz", "zeek")
	f("zeek/notice.json.gz", "zeek")
	// A host on the internet: sshd is all attack, Linux has some.
	f("loghub/Linux/*.log", "syslog")
	f("loghub/OpenSSH/*.log", "syslog", "sshd_")
	f("loghub/Apache/*.log", "apache-error")
	// Hosts on which attacks were carried out one after the other: what rules find
	// there is told, and must not be everything.
	attacks := []string{"windows/", "host/", "network/"}
	f("events/evtx-dev.jsonl.gz", "windows", attacks...)
	f("events/otrf-dev.jsonl.gz", "windows", attacks...)
}

// parseLine makes an event of a line as the analyzer does.
func parseLine(line, format string, seq int) (*schemas.Event, error) {
	ev := &schemas.Event{Original: line, Origin: schemas.Origin{
		Stream: "corpus", Seq: uint64(seq), Format: format, Source: "192.0.2.1", Received: time.Now().UTC(), //nolint:gosec // not negative
	}}
	return ev, parse.Parse(ev)
}

// corpusLines are the lines of the files that a pattern means.
func corpusLines(t *testing.T, pattern string) func(func(string) bool) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(corpus.Path(t, ""), pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no such file in the corpus: %v", pattern, err)
	}
	return func(yield func(string) bool) {
		for _, name := range names {
			file, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			var text io.Reader = file
			if strings.HasSuffix(name, ".gz") {
				if text, err = gzip.NewReader(file); err != nil {
					t.Fatal(err)
				}
			}
			sc := bufio.NewScanner(text)
			sc.Buffer(nil, 1<<20)
			for sc.Scan() {
				if line := sc.Text(); line != "" && !yield(line) {
					return
				}
			}
			if err := sc.Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func sortedKeys(m map[string]int) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
