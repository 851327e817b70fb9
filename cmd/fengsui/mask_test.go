package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

const personalRules = `
title: 身份证号出现在日志中 / an identity card number in a log
id: e2e-leak
level: high
logsource: {category: webserver}
detection: {s: {message|re: '\d{17}[\dXx]'}, condition: s}
---
title: 手机号登录失败 / failed login of a phone number
id: e2e-failed
name: failed
logsource: {product: linux, service: sshd}
detection: {s: {user.name|re: '^1[3-9]\d{9}$', event.outcome: failure}, condition: s}
---
title: 同一手机号多次失败 / many of one number
id: e2e-many
correlation: {type: event_count, rules: [failed], group-by: [user.name], timespan: 10m, condition: {gte: 3}}
---
title: 多个手机号 / many numbers
id: e2e-numbers
correlation: {type: value_count, rules: [failed], group-by: [source.ip], timespan: 10m, condition: {field: user.name, gte: 3}}
`

// TestMasking: rules see what was logged; no table and no topic but that of the
// raw lines holds it; alerts still tell people apart; the key brings it back.
func TestMasking(t *testing.T) {
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: own, unit: "10001", type: syslog, syslog: {tcp: "127.0.0.1:0"}}
    - {name: json, unit: "10001", format: json, type: syslog, syslog: {tcp: "127.0.0.1:0"}}
analyzer:
  rule_dirs: [DIR/rules]
  privacy: {key_file: DIR/mask.key, id: {do: token}, phone: {do: token}, name: {do: token}, email: {do: off}}
`)
	config := filepath.Join(s.dir, "fengsui.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.ReplaceAll(string(text), "DIR", s.dir))
	if err := os.Mkdir(filepath.Join(s.dir, "rules"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(s.dir, "rules", "personal.yml"), personalRules)
	s.run("mask", "key", "new", filepath.Join(s.dir, "mask.key"))
	s.start()

	const id = "41010520350307101" // and its check digit
	phones := []string{"13800000000", "13900000001", "15000000002"}
	base := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	n := 0
	at := func() string {
		n++
		return base.Add(time.Duration(n) * time.Second).Format(time.RFC3339)
	}
	for _, phone := range append(phones, phones[0], phones[0]) {
		send(t, "tcp", s.input("own", "tcp"), fmt.Sprintf("<86>1 %s gw sshd %d - - Failed password for invalid user %s from 203.0.113.7 port 50022 ssh2\n", at(), 1000+n, phone))
	}
	record, err := json.Marshal(map[string]any{
		"@timestamp": at(), "event.category": "web", "url.original": "/q?sfz=" + id + "6&d=%2013800000000", "message": "李小四的身份证号是 " + id + "6，手机 138-0000-0000",
		"labels": map[string]any{"xm": "李小四", "lxdh": 13800000000, "list": []string{"x", "tel:13900000001"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	send(t, "tcp", s.input("json", "tcp"), string(record)+"\n")
	send(t, "tcp", s.input("json", "tcp"), `{"xm":"李小四","phone":"13800000000",`+"\n") // a dead letter

	var alerts []schemas.Alert
	s.eventually(60*time.Second, "three rules have alerted", func() (err error) {
		alerts, err = tryFind[schemas.Alert](s, "alerts", "status = open")
		rules := map[string]int{}
		for _, a := range alerts {
			rules[a.Rule.ID]++
		}
		if err == nil && (rules["e2e-leak"] != 1 || rules["e2e-many"] != 1 || rules["e2e-numbers"] != 1) {
			err = fmt.Errorf("%v", rules)
		}
		return err
	})
	event := s.one("event.category = web")
	db := s.db()
	s.eventually(30*time.Second, "the dead letter is stored", func() error {
		if n, err := s.count(db, "SELECT count() FROM dead_letters"); err != nil || n != 1 {
			return fmt.Errorf("%d, %w", n, err)
		}
		return nil
	})

	secrets := append([]string{id, "138-0000-0000", "李小四", "1.38e+10"}, phones...)
	for _, table := range tables(t, s) {
		for _, secret := range secrets {
			found, err := s.count(db, "SELECT count() FROM "+table+" WHERE position(formatRowNoNewline('JSONEachRow', *), ?) > 0", secret)
			if err != nil || found > 0 {
				t.Errorf("table %s holds %s in %d rows: %v", table, secret, found, err)
			}
		}
	}
	for _, topic := range []string{schemas.TopicMatches, schemas.TopicAlerts, schemas.TopicDeadLetters, schemas.TopicObservations} {
		for _, r := range everything(t, s, topic) {
			for _, secret := range secrets {
				if strings.Contains(r, secret) {
					t.Errorf("topic %s holds %s: %q", topic, secret, r)
				}
			}
		}
	}

	// One number has one token wherever it stands, and it opens.
	for _, a := range alerts {
		if a.Rule.ID != "e2e-many" {
			continue
		}
		token := a.Group[0].Value
		if got := s.run("mask", "open", token); got != phones[0]+"\n" {
			t.Errorf("%s opens as %q", token, got)
		}
		if event["labels.lxdh"] != token && !strings.Contains(fmt.Sprint(event), token) {
			t.Errorf("the event says %v, the alert %s", event, token)
		}
		if events := find[map[string]any](s, "events", "user.name = "+token); len(events) != 3 {
			t.Errorf("%d events of %s", len(events), token)
		}
	}
	whole, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	stored := filepath.Join(t.TempDir(), "event.json")
	write(t, stored, string(whole))
	if out, code := cli(t, string(whole), "mask", "open", "--key", filepath.Join(s.dir, "mask.key")); code != 0 || !strings.Contains(out.out, id) ||
		!strings.Contains(out.out, "李小四") || !strings.Contains(out.out, "138-0000-0000") || strings.Contains(out.out, "masked-") {
		t.Errorf("opened: %s%s", out.out, out.err)
	}
	audit, err := os.ReadFile(filepath.Join(s.dir, "mask-audit.log"))
	if err != nil || !strings.Contains(string(audit), `"opened":1`) || strings.Contains(string(audit), phones[0]) {
		t.Errorf("%s, %v", audit, err)
	}
	for _, text := range []string{s.run("config", "dump"), s.log.tail(1 << 20)} {
		key, _ := os.ReadFile(filepath.Join(s.dir, "mask.key"))
		if strings.Contains(text, strings.Fields(string(key))[1]) || strings.Contains(text, phones[0]) {
			t.Error("a key or a number is in the log or the dump")
		}
	}
	s.stop()
}

// tables are all that the store has.
func tables(t *testing.T, s *system) (names []string) {
	t.Helper()
	rows, err := s.db().Query(context.Background(), "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	if err := rows.Err(); err != nil || len(names) < 5 {
		t.Fatalf("%v, %v", names, err)
	}
	return names
}

// everything is each record of a topic, its key and headers before its value.
func everything(t *testing.T, s *system, topic string) (all []string) {
	t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var mu sync.Mutex
	err = kafka.Follow(ctx, cfg.Kafka, kafka.Deps{Metrics: prometheus.NewRegistry()}, topic, func(r kafka.Record) error {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, fmt.Sprintf("%s %s %s", r.Key, r.Headers, r.Value))
		return nil
	}, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if len(all) == 0 && topic != schemas.TopicObservations {
		t.Errorf("topic %s is empty", topic)
	}
	return all
}

// TestMaskCommand: keys, opening and trying, and what they say when used wrongly.
func TestMaskCommand(t *testing.T) {
	dir := t.TempDir()
	key, other, audit := filepath.Join(dir, "a.key"), filepath.Join(dir, "b.key"), filepath.Join(dir, "audit.log")
	f := func(code int, stdin, say string, args ...string) string {
		t.Helper()
		out, got := cli(t, stdin, append([]string{"mask"}, args...)...)
		if got != code || !strings.Contains(out.out+out.err, say) {
			t.Errorf("fengsui mask %s: exit code %d, want %d with %q: %s%s", strings.Join(args, " "), got, code, say, out.out, out.err)
		}
		return out.out
	}
	f(0, "", "mask key ", "key", "new", key)
	f(0, "", `"key":"`, "key", "new", other, "--json")
	f(1, "", "exists", "key", "new", key)
	f(2, "", "", "key", "new")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	t.Setenv("FENGSUI_ANALYZER__PRIVACY__PHONE__DO", "token")
	f(2, "", "neither key_file nor key is set", "test", "-")
	t.Setenv("FENGSUI_ANALYZER__PRIVACY__KEY_FILE", key)
	line := "姓名：张三 13800000000 20261122093000123\n"
	f(0, line+line, "phone: 2", "test", "-")
	shown := f(0, line, `"class":"phone"`, "test", "-", "--json")
	jsonLines(t, shown)
	var piece tried
	for line := range strings.Lines(shown) {
		if strings.Contains(line, "masked-") {
			if err := json.Unmarshal([]byte(line), &piece); err != nil {
				t.Fatal(err)
			}
		}
	}
	f(0, "", "13800000000\n", "open", piece.Mask, "--audit", audit)
	f(0, "", `"class":"phone","value":"13800000000"`, "open", "--json", piece.Mask, "--audit", audit)
	f(1, "", "1 of 2 tokens", "open", piece.Mask, "x", "--audit", audit)
	f(1, "", "a token of another key", "open", piece.Mask, "--key", other, "--audit", audit)
	f(0, "a "+piece.Mask+"\r\nb", "a 13800000000\r\nb", "open", "--key", other, "--key", key, "--audit", audit)
	f(1, "", "audit", "open", piece.Mask, "--audit", filepath.Join(key, "audit.log")) // no audit, no value
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	f(2, "", "chmod 600", "open", piece.Mask, "--audit", audit)
	f(2, "", "chmod 600", "test", "-")
	lines, err := os.ReadFile(audit)
	if err != nil || strings.Contains(string(lines), "13800000000") || strings.Count(string(lines), "\n") != 6 {
		t.Errorf("%s, %v", lines, err)
	}
}
