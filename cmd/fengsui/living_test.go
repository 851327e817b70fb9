package main

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestRulesTestAndCheck: what is wrong with samples and with tuning is said with
// file and line, as text and as JSON, and by the exit code.
func TestRulesTestAndCheck(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yml"), "title: a\nid: rule-a\nlogsource: {product: linux, service: sshd}\ndetection: {selection: {user.name: root}, condition: selection}\n")
	root := `{"event.provider":"sshd","user.name":"root"}` + "\n"
	other := `{"event.provider":"sshd","user.name":"li"}` + "\n"
	write(t, filepath.Join(dir, "a.fires.jsonl"), root)
	tuning := filepath.Join(t.TempDir(), "t.yaml")
	write(t, tuning, "exceptions:\n- {rule: gone, until: 2020-01-01, who: li, why: x}\n- {rule: rule-a, when: {user.nam: root}, who: li, why: x}\n")
	f := func(code int, say string, args ...string) {
		t.Helper()
		for _, json := range []bool{false, true} {
			if json {
				args = append(args, "--json")
			}
			out, got := cli(t, "", args...)
			text := strings.ReplaceAll(out.out, `\"`, `"`)
			if got != code || !strings.Contains(text, say) {
				t.Errorf("fengsui %s: exit code %d, want %d with %q: %s%s", strings.Join(args, " "), got, code, say, out.out, out.err)
			}
			if json {
				jsonLines(t, out.out)
			}
		}
	}
	f(3, "a.silent.jsonl: the rule has no such samples", "rules", "test", dir)
	write(t, filepath.Join(dir, "a.silent.jsonl"), root)
	f(3, `"a" fires on a near miss`, "rules", "test", dir)
	write(t, filepath.Join(dir, "a.silent.jsonl"), other)
	f(0, "", "rules", "test", dir)
	f(0, "", "rules", "test", filepath.Join(dir, "a.yml"))
	f(0, "", "rules", "test")

	f(0, "", "rules", "check", dir)
	f(3, `no rule that is loaded has the id or name "gone"`, "rules", "check", dir, "--tuning", tuning)
	f(3, "it ended 2020-01-02T00:00:00Z (li: x)", "rules", "check", dir, "--tuning", tuning)
	f(3, "user.nam", "rules", "check", dir, "--tuning", tuning)

	for _, wrong := range [][]string{
		{"no id or name of a rule", "rules", "backtest", "nothing"},
		{"--since", "rules", "backtest", "--since", "yesterday"},
		{"is not before", "rules", "backtest", "--since", "1h", "--until", "2h"},
	} {
		if out, code := cli(t, "", wrong[1:]...); code != 2 || !strings.Contains(out.err, wrong[0]) {
			t.Errorf("fengsui %v: exit code %d: %s", wrong[1:], code, out.err)
		}
	}
	if out, code := cli(t, "", "rules", "backtest", filepath.Join(dir, "a.yml")); code != 1 || !strings.Contains(out.err, "running?") {
		t.Errorf("without a store: exit code %d: %s", code, out.err)
	}
}
