package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/schemas"
)

// chained is a chain of correlations over what sshd says.
const chained = `title: 登录失败 / failed
id: e2e-failed
name: failed
logsource: {product: linux, service: sshd}
detection: {s: {event.action: ssh_login, event.outcome: failure}, condition: s}
---
title: 登录成功 / succeeded
id: e2e-succeeded
name: succeeded
logsource: {product: linux, service: sshd}
detection: {s: {event.action: ssh_login, event.outcome: success}, condition: s}
---
title: 多次失败 / many failed
id: e2e-many
name: many
correlation: {type: event_count, rules: [failed], group-by: [source.ip, host.name], timespan: 10m, condition: {gte: 5}}
---
title: 失败多次后成功 / succeeded after many failures
id: e2e-then
level: critical
correlation: {type: temporal_ordered, rules: [many, succeeded], group-by: [source.ip], timespan: 1h}
---
title: 多个账号 / many accounts
id: e2e-accounts
correlation: {type: value_count, rules: [failed], group-by: [source.ip], timespan: 10m, condition: {field: user.name, gte: 4}}
`

// TestCorrelation: a chain of correlations works through the real parts, over a
// crash in the middle of it: once, for whom it is true, and saying what it saw.
func TestCorrelation(t *testing.T) {
	s := newSystem(t, loopback+`
collector:
  inputs: [{name: own, unit: "10001", type: syslog, syslog: {tcp: "127.0.0.1:0"}}]
analyzer:
  rule_dirs: [RULES]
`)
	rules := filepath.Join(s.dir, "rules")
	if err := os.Mkdir(rules, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(rules, "chain.yml"), chained)
	config := filepath.Join(s.dir, "fengsui.yaml")
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	write(t, config, strings.Replace(string(text), "RULES", rules, 1))
	s.start()

	base := time.Now().UTC().Add(-time.Minute).Truncate(time.Second)
	n := 0
	login := func(outcome, user, from string, second int) {
		n++
		send(t, "tcp", s.input("own", "tcp"), fmt.Sprintf("<86>1 %s gw sshd %d - - %s password for %s from %s port 50022 ssh2\n",
			base.Add(time.Duration(second)*time.Second).Format(time.RFC3339), 1000+n, outcome, user, from))
	}
	stored := func(want int) {
		s.eventually(60*time.Second, fmt.Sprint(want, " events"), func() error {
			events, err := tryFind[map[string]any](s, "events", "event.action = ssh_login")
			if err == nil && len(events) != want {
				err = fmt.Errorf("%d events", len(events))
			}
			return err
		})
	}
	const attacker, early, few = "198.51.100.1", "198.51.100.2", "198.51.100.3"
	for _, second := range []int{4, 1, 0, 3, 2} {
		login("Failed", fmt.Sprint("u", second), attacker, second)
	}
	login("Accepted", "root", early, 0) // succeeded first
	for second := range 5 {
		login("Failed", "root", early, 1+second)
	}
	for second := range 4 { // too few
		login("Failed", "root", few, second)
	}
	stored(15)
	s.eventually(60*time.Second, "the alert of many accounts", func() error {
		alerts, err := tryFind[schemas.Alert](s, "alerts", "rule = e2e-accounts")
		if err == nil && len(alerts) != 1 {
			err = fmt.Errorf("%d alerts", len(alerts))
		}
		return err
	})

	s.kill()
	s.start()
	login("Accepted", "root", few, 30)
	login("Accepted", "root", attacker, 30)
	stored(17)
	s.eventually(60*time.Second, "the alert of the chain", func() error {
		alerts, err := tryFind[schemas.Alert](s, "alerts", "rule = e2e-then")
		if err == nil && len(alerts) != 1 {
			err = fmt.Errorf("%d alerts", len(alerts))
		}
		return err
	})
	time.Sleep(2 * time.Second) // what else might come
	for _, a := range find[schemas.Alert](s, "alerts", "") {
		switch a.Rule.ID {
		case "e2e-then":
			r := a.Correlation
			if a.Group[0].Value != attacker || a.Count != 2 || r == nil || len(r.Rules) != 2 || r.Rules[0].Name != "many" || r.Value != 2 || len(a.EventIDs) != 2 {
				t.Errorf("%+v %+v", a, r)
			}
		case "e2e-accounts":
			if r := a.Correlation; a.Group[0].Value != attacker || r.Value < 4 || r.Field != "user.name" || r.Rules[0].Events != a.Count {
				t.Errorf("%+v %+v", a, r)
			}
		case "e2e-many", "e2e-failed", "e2e-succeeded":
			t.Errorf("a base rule alerts by itself: %+v", a)
		}
	}
	s.stop()
}
