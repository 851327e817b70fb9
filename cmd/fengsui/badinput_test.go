package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/clickhouse"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// bad is a record that cannot become an event, with a part of the reason; cut
// says that only its beginning can be kept.
type bad struct {
	raw    string
	reason string
}

// TestBadInput sends what no device should send. Nothing crashes, and each
// record is an event or a dead letter, whole, in the table and in the topic, and
// is counted.
func TestBadInput(t *testing.T) {
	metrics := freePort(t)
	s := newSystem(t, loopback+`
metrics: {listen: "`+metrics+`"}
collector:
  inputs:
    - {name: syslog, unit: "10001", type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
    - {name: json, unit: "10001", format: json, type: syslog, syslog: {tcp: "127.0.0.1:0"}}
    - {name: odd, unit: "10001", format: no-such-format, type: syslog, syslog: {tcp: "127.0.0.1:0"}}
analyzer: {health: {letters_at_least: 1000000}} # what is counted here is what was sent, without the event that says how bad it is
`)
	s.metrics = metrics
	s.start()
	children := map[string]int{"store": s.child("store"), "broker": s.child("broker")}

	r := rand.New(rand.NewPCG(1, 2))
	noise := func(n int, without string) string { // never text: 0xff is in no UTF-8
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
			for strings.IndexByte(without, b[i]) >= 0 {
				b[i] = byte(r.Uint32())
			}
		}
		b[n/2], b[0] = 0xff, 'x' // nor a count of octets
		return string(b)
	}
	var letters []bad
	var events []string
	line := func(i int, text string) string {
		return fmt.Sprintf("<13>1 2026-03-01T08:00:%02dZ web1 app - - - %s", i%60, text)
	}

	// Over UDP a datagram is a record, whatever it holds.
	udp, err := net.Dial("udp", s.input("syslog", "udp"))
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	datagram := func(raw string) {
		t.Helper()
		if _, err := udp.Write([]byte(raw)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		raw := noise(1+i*13+2, "\n")
		datagram(raw)
		letters = append(letters, bad{raw, "UTF-8"})
	}
	for _, b := range []bad{
		{"\x00\x01\x02\x03", "control character"},
		{"line one\nline \xc3\x28 two", "invalid UTF-8 at byte 14"},
		{"<13>1 2026-02-30T08:00:00Z web1 app - - - no such day", "2026-02-30"},
		{"<13>Feb 30 08:00:00 web1 app: no such day", "Feb 30"},
		{"<13>1 2026-03-01T25:00:00Z web1 app - - - no such hour", "2026-03-01T25:00:00Z"},
		{"<13>1 2026-03-01T08:00:00Z", "RFC 5424 header ends too early"},
		{"\r\n", "empty"},
		{"\x00", "empty"},
	} {
		datagram(b.raw)
		letters = append(letters, bad{strings.TrimSuffix(b.raw, "\n"), b.reason})
	}
	datagram("\n") // is nothing, as an empty line of a stream
	datagram("")
	for i := range 50 {
		text := line(i, fmt.Sprintf("good datagram %d", i))
		datagram(text)
		events = append(events, text)
	}

	// Over TCP lines end at newlines; long ones are no records, and are kept.
	var stream bytes.Buffer
	add := func(raw, reason string) {
		stream.WriteString(raw + "\n")
		letters = append(letters, bad{raw, reason})
	}
	good := func(text string) {
		stream.WriteString(text + "\n")
		events = append(events, text)
	}
	stream.WriteString("\n\n\r\n\n")
	for i := range 100 {
		add(noise(3+i*29, "\n\r"), "UTF-8")
		good(line(i, fmt.Sprintf("good line %d", i)))
	}
	good(line(0, "controls \x01\x02\x1b[31mred\x07 and 中文 \u202e"))
	good(line(1, "an ordinary long line "+strings.Repeat("长", 100_000)))
	good(line(2, strings.Repeat("y", 1<<20-len(line(2, ""))))) // 1 MiB to the byte
	add(line(3, strings.Repeat("z", 1<<20)), "longer than 1048576")
	add(line(4, strings.Repeat("\xff", 3<<20)), "longer than 1048576")
	add("<13>1 0000-00-00T00:00:00Z web1 app - - - nothing", "0000-00-00")
	send(t, "tcp", s.input("syslog", "tcp"), stream.String())

	// Longer than Kafka takes: the beginning is kept, and it says how much was cut.
	huge := line(5, strings.Repeat("w", 9<<20))
	send(t, "tcp", s.input("syslog", "tcp"), huge+"\n")
	cut := "message of " + fmt.Sprint(len(huge)) + " bytes cut to "

	// Octets counted, and the connection ends within the message.
	send(t, "tcp", s.input("syslog", "tcp"), "500 <13>1 2026-03-01T08:00:00Z web1 app - - - begins")
	letters = append(letters, bad{"<13>1 2026-03-01T08:00:00Z web1 app - - - begins", "48 of 500 bytes: the connection ended"})

	// A format that is no match, and one that nobody knows.
	for _, raw := range []string{`{"a":`, `[]`, `"x"`, `{"a":1}{"b":2}`, "text", strings.Repeat("[", 100_000)} {
		send(t, "tcp", s.input("json", "tcp"), raw+"\n")
		letters = append(letters, bad{raw, "json: "})
	}
	send(t, "tcp", s.input("odd", "tcp"), "whatever\n")
	letters = append(letters, bad{"whatever", `unknown format "no-such-format"`})

	// A truncated archive, replayed: its lines, and a letter about what is missing.
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	for i := range 2000 {
		text := line(i, fmt.Sprintf("archived %d", i))
		fmt.Fprintln(z, text)
		events = append(events, text)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "old.log.gz")
	write(t, archive, zipped.String()[:zipped.Len()-8])
	s.run("replay", archive, "--format", "syslog", "--unit", "10001")
	fromArchive := 2000 + 1

	db := s.db()
	total := uint64(len(events) + len(letters) + 2) //nolint:gosec // a few thousand
	s.eventually(60*time.Second, "everything is stored", func() error {
		stored, err := s.count(db, "SELECT count() FROM events")
		dead, err2 := s.count(db, "SELECT count() FROM dead_letters")
		if err := errors.Join(err, err2); err != nil {
			return err
		}
		if stored != uint64(len(events)) || stored+dead != total { //nolint:gosec // a few thousand
			return fmt.Errorf("%d events of %d, %d of all %d", stored, len(events), stored+dead, total)
		}
		return nil
	})
	table := deadLetters(t, db)
	sameLetters(t, "the table", table, letters, huge, cut)
	sameLetters(t, "the topic", letterTopic(t, s), letters, huge, cut)
	sameEvents(t, db, events)

	for _, m := range []struct {
		name string
		want int
	}{
		{"fengsui_collector_received_lines_total", int(total) - fromArchive}, //nolint:gosec // a few thousand
		{"fengsui_collector_rejected_lines_total", 4},                        // too long: 2; cut: 1; cut off: 1
		{"fengsui_collector_shipped_lines_total", int(total) - fromArchive},  //nolint:gosec // a few thousand
		{"fengsui_collector_lost_lines_total", 0},
		{"fengsui_collector_kernel_drops_total", 0},
		{"fengsui_analyzer_records_received_total", int(total)}, //nolint:gosec // a few thousand
		{"fengsui_analyzer_events_stored_total", len(events)},
		{"fengsui_analyzer_dead_letters_total", len(letters) + 2},
		{"fengsui_analyzer_records_repeated_total", 0},
		{"fengsui_child_restarts_total", 0},
	} {
		if got := s.metric(m.name); got != float64(m.want) {
			t.Errorf("%s is %v, want %d", m.name, got, m.want)
		}
	}
	for name, pid := range children {
		if now := s.child(name); now != pid || pid == 0 {
			t.Errorf("%s was process %d and is %d", name, pid, now)
		}
	}

	// What a terminal shows of it has no control characters.
	for _, q := range [][]string{{"events", "--limit", "10000"}, {"events", "controls"}} {
		if out := s.run(q...); strings.ContainsAny(out, "\x1b\x07\x00\x01") {
			t.Errorf("%v writes control characters", q)
		}
	}
	s.stop()
}

func deadLetters(t *testing.T, db *clickhouse.DB) (all []bad) {
	t.Helper()
	rows, err := db.Query(context.Background(), "SELECT raw, reason FROM dead_letters")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var b bad
		if err := rows.Scan(&b.raw, &b.reason); err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// letterTopic reads the topic of the dead letters from its beginning.
func letterTopic(t *testing.T, s *system) (all []bad) {
	t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	deps := kafka.Deps{Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Metrics: prometheus.NewRegistry()}
	err = kafka.Follow(ctx, cfg.Kafka, deps, schemas.TopicDeadLetters, func(r kafka.Record) error {
		b := bad{raw: string(r.Value)}
		for _, h := range r.Headers {
			if h.Key == schemas.HeaderReason {
				b.reason = string(h.Value)
			}
		}
		all = append(all, b)
		return nil
	}, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return all
}

// sameLetters compares what is kept with what was sent: the bytes of each, once,
// and its reason. Two records cannot be kept whole: the huge one, of which the
// beginning is, and the part of the archive that is not there.
func sameLetters(t *testing.T, where string, got, want []bad, huge, cut string) {
	t.Helper()
	kept := map[string][]string{}
	for _, b := range got {
		kept[b.raw] = append(kept[b.raw], b.reason)
	}
	for _, b := range want {
		i := slices.IndexFunc(kept[b.raw], func(reason string) bool { return strings.Contains(reason, b.reason) })
		if i < 0 {
			t.Errorf("%s: %.60q (%d bytes), want because of %q: kept because of %q", where, b.raw, len(b.raw), b.reason, kept[b.raw])
			continue
		}
		if kept[b.raw] = slices.Delete(kept[b.raw], i, i+1); len(kept[b.raw]) == 0 {
			delete(kept, b.raw)
		}
	}
	for raw, reasons := range kept {
		switch {
		case len(reasons) == 1 && strings.Contains(reasons[0], cut) && len(raw) > 7<<20 && strings.HasPrefix(huge, raw):
		case len(reasons) == 1 && strings.Contains(reasons[0], "truncated archive") && strings.Contains(raw, "old.log.gz"):
		default:
			t.Errorf("%s: nobody sent %.60q (%d bytes), kept because of %q", where, raw, len(raw), reasons)
		}
		delete(kept, raw)
	}
}

// sameEvents compares the records of all events with the lines that were sent.
func sameEvents(t *testing.T, db *clickhouse.DB, want []string) {
	t.Helper()
	count := map[string]int{}
	for _, text := range want {
		count[text]++
	}
	rows, err := db.Query(context.Background(), "SELECT original FROM events")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		count[text]--
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(count, func(_ string, n int) bool { return n == 0 })
	for text, n := range count {
		t.Errorf("%.60q (%d bytes) is missing %d times", text, len(text), n)
	}
}
