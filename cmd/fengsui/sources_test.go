package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"testing"
	"time"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// TestSilentSource: a source that spoke regularly and falls silent is one alert;
// a restart tells it neither again nor of those that only waited for us; and its
// return is an event. When a domain was first met is known after a restart, too.
func TestSilentSource(t *testing.T) {
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: campus, unit: "10001", type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
analyzer:
  health: {silence: 3s, learn: 2s}
  new_domains: {learn: 0s}
`)
	s.start()
	speak := func(times int) {
		t.Helper()
		conn, err := net.Dial("tcp", s.input("campus", "tcp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		for i := range times {
			if _, err := fmt.Fprintf(conn, "<86>1 %s web1 app 7 - - line %d\n", time.Now().UTC().Format(time.RFC3339Nano), i); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond) // a source is regular by speaking for a while
		}
	}
	events := func(action string) (n int) {
		t.Helper()
		for _, e := range find[json.RawMessage](s, "events", `event.dataset == fengsui.health && event.action == `+action) {
			var fields map[string]any
			if err := json.Unmarshal(e, &fields); err != nil {
				t.Fatal(err)
			}
			if fields["organization.id"] != "10001" || fields["labels.input"] != "campus" || fields["labels.source"] != "127.0.0.1" {
				t.Errorf("%s tells of somebody else: %s", action, e)
			}
			n++
		}
		return n
	}
	asked := func(name string, times int) {
		t.Helper()
		conn, err := net.Dial("udp", s.input("campus", "udp"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := fmt.Fprintf(conn, "<30>1 %s ns1 dnsmasq 7 - - query[A] www.%s from 10.1.2.3", time.Now().UTC().Format(time.RFC3339Nano), name); err != nil {
			t.Fatal(err)
		}
		s.eventually(20*time.Second, "the query is stored", func() error {
			found, err := tryFind[map[string]any](s, "events", "dns.question.registered_domain == "+name)
			if err == nil && len(found) != times {
				err = fmt.Errorf("%d queries", len(found))
			}
			return err
		})
	}
	asked("example.org", 1)
	speak(15)
	s.eventually(30*time.Second, "the silence is an alert", func() error {
		alerts, err := tryFind[schemas.Alert](s, "alerts", "")
		if err != nil {
			return err
		}
		for _, a := range alerts {
			if a.Rule.Title == "日志源静默 / Log source fell silent" && a.Unit == "10001" {
				return nil
			}
		}
		return fmt.Errorf("%d alerts, none of them of silence", len(alerts))
	})
	before := events("source_silent")
	s.stop()
	s.start()
	time.Sleep(6 * time.Second) // twice as long as a silence must be
	if after := events("source_silent"); before != 1 || after != 1 {
		t.Errorf("one silence is %d events, and %d after a restart", before, after)
	}
	asked("example.org", 2)
	met := map[any]bool{}
	for _, e := range find[map[string]any](s, "events", "dns.question.registered_domain == example.org") {
		met[e["fengsui.domain.first_met"]] = true
	}
	if len(met) != 1 || met[nil] {
		t.Errorf("a domain was first met at %v", met)
	}
	speak(1)
	s.eventually(20*time.Second, "its return is an event", func() error {
		if n := events("source_resumed"); n != 1 {
			return fmt.Errorf("%d such events", n)
		}
		return nil
	})
	s.stop()
}

// TestDoubledSource: a source that sends more than twice as much in an hour as it
// used to is an event and an alert, once; twice as much is none.
func TestDoubledSource(t *testing.T) {
	s := newSystem(t, loopback+"analyzer: {health: {surge_at_least: 50}}\n")
	s.start()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	p, err := kafka.NewProducer(cfg.Kafka, kafka.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // never fails
	hour := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	sent := uint64(0)
	// As the collector would have written them at the time.
	speak := func(hour time.Time, from, to int) {
		t.Helper()
		var records []kafka.Record
		for i := from; i < to; i++ {
			sent++
			at := hour.Add(time.Duration(i) * time.Second)
			o := schemas.Origin{Stream: "cdoubled", Seq: sent, Unit: "10001", Source: "192.0.2.7", Input: "campus", Format: "syslog", Received: at}
			records = append(records, kafka.Record{
				Key: []byte(o.Source), Headers: o.Headers(), Value: fmt.Appendf(nil, "<86>1 %s web1 app 7 - - line %d", at.Format(time.RFC3339), i),
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := p.Produce(ctx, schemas.TopicLogs, records); err != nil {
			t.Fatal(err)
		}
		s.eventually(30*time.Second, "the lines are stored", func() error {
			found, err := tryFind[json.RawMessage](s, "events", "host.name = web1")
			if err == nil && uint64(len(found)) != sent {
				err = fmt.Errorf("%d of %d", len(found), sent)
			}
			return err
		})
	}
	surges := func() []map[string]any {
		return find[map[string]any](s, "events", "event.dataset == fengsui.health && event.action == source_surged")
	}
	speak(hour.AddDate(0, 0, -2), 0, 100)
	speak(hour.AddDate(0, 0, -1), 0, 100)
	speak(hour, 0, 200)
	if found := surges(); len(found) != 0 {
		t.Errorf("twice as much is told: %v", found)
	}
	speak(hour, 200, 260)
	s.eventually(30*time.Second, "the surge is an event and an alert", func() error {
		found := surges()
		if len(found) != 1 || found[0]["organization.id"] != "10001" || found[0]["labels.source"] != "192.0.2.7" ||
			found[0]["labels.observed"] != "201" || found[0]["labels.usual"] != "100" {
			return fmt.Errorf("%v", found)
		}
		alerts, err := tryFind[schemas.Alert](s, "alerts", "")
		for _, a := range alerts {
			if a.Rule.Title == "日志源数量激增 / Log source sends far more than usual" && a.Unit == "10001" && a.Count == 1 {
				return nil
			}
		}
		return fmt.Errorf("%d alerts, none of the surge: %w", len(alerts), err)
	})
	s.stop()
}
