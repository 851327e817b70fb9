package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestHelp walks all commands: each says in a line what it does, and shows how
// it is called.
func TestHelp(t *testing.T) {
	n := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		n++
		if !strings.Contains(cmd.Example, cmd.CommandPath()) {
			t.Errorf("%s: no example of its use: %q", cmd.CommandPath(), cmd.Example)
		}
		if !strings.Contains(cmd.Short, " / ") {
			t.Errorf("%s: not in both languages: %q", cmd.CommandPath(), cmd.Short)
		}
		root, out := newRoot(), &bytes.Buffer{}
		root.SetOut(out)
		root.SetArgs(append(strings.Fields(cmd.CommandPath())[1:], "--help"))
		if err := root.Execute(); err != nil || !strings.Contains(out.String(), cmd.Example) || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s --help: %v: %s", cmd.CommandPath(), err, out)
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(newRoot())
	if n < 25 {
		t.Errorf("only %d commands were found", n)
	}
}

type output struct{ out, err string }

// cli runs the program in a folder of its own and returns its exit code.
func cli(t *testing.T, stdin string, args ...string) (output, int) {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("fengsui %v: %v", args, err)
	}
	for _, text := range []string{out.String(), errOut.String()} {
		if strings.ContainsRune(text, '\x1b') {
			t.Errorf("fengsui %v wrote a terminal's control sequence: %q", args, text)
		}
	}
	return output{out.String(), errOut.String()}, cmd.ProcessState.ExitCode()
}

// TestExitCodes: 0 is success, 1 a failure, 2 a wrong call or configuration, 3 a
// check that found something; and the reason is said on standard error.
func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.yaml")
	write(t, bad, "analyzer: {max_bach: 1}\nkafka: {brokers: [\"127.0.0.1:1\"]}\n")
	wrong := filepath.Join(dir, "wrong.yaml")
	write(t, wrong, "analyzer: {max_batch: 0}\n")
	good := filepath.Join(dir, "good.yaml")
	write(t, good, "analyzer: {max_batch: 1000}\n")
	rule := filepath.Join(dir, "rule.yml")
	write(t, rule, "title: x\nid: 0f0d1b2a-7d9f-5b39-9a4e-3c1d2e4f5a6b\nlogsource: {product: linux}\ndetection: {a: {user.name: x}, condition: b}\n")
	f := func(want int, say string, args ...string) {
		t.Helper()
		out, code := cli(t, "", args...)
		if code != want || !strings.Contains(out.err, say) || (want != 0) != (out.err != "") {
			t.Errorf("fengsui %s: exit code %d, want %d with %q: %s%s", strings.Join(args, " "), code, want, say, out.out, out.err)
		}
	}
	f(0, "")
	f(0, "", "config", "check")
	f(0, "", "config", "check", "--config", good)
	f(0, "", "rules", "check")
	f(0, "", "parse")

	f(1, "no such file", "rules", "match", "--events", "nowhere")
	f(1, "does not exist", "parse", "nowhere")
	f(1, "running?", "events")
	f(1, "no such file", "registry", "import", "nowhere.csv")

	f(2, `unknown command "evnts"; did you mean fengsui events?`, "evnts")
	f(2, `unknown command "chek"; did you mean fengsui rules check?`, "rules", "chek")
	f(2, "unknown flag: --limt", "events", "--limt", "3")
	f(2, "--limit", "events", "--limit", "many")
	f(2, "--since", "events", "--since", "yesterday")
	f(2, `unknown command "x" for "fengsui up"`, "up", "x")
	f(2, "at most 1 arg", "parse", "a", "b")
	f(2, "takes a file", "replay")
	f(2, "takes a file", "registry", "import")
	f(2, "--unit is missing", "scan")
	f(2, "--events is missing", "rules", "match")
	f(2, "known are auto, syslog", "parse", "--format", "sylog")
	f(2, "no Kafka", "analyzer")
	f(2, "no Kafka", "replay", good)
	f(2, "max_bach", "up", "--config", bad)
	f(2, "max_batch 0 is not between", "up", "--config", wrong)
	f(2, "there is nothing to write", "registry", "export", "x.csv")
	f(2, ".xlsx", "registry", "export", "x.txt")
	f(2, `"boss"`, "user", "reset", "li", "--role", "boss")

	f(3, "unknown key analyzer.max_bach; the keys here are: analyzer.assets, analyzer.correlate", "config", "check", "--config", bad)
	f(3, "max_batch 0 is not between", "config", "check", "--config", wrong)
	f(3, "1 rules cannot be used", "rules", "check", rule)
}

// jsonLines checks that every line of a text is a JSON object, and returns them.
func jsonLines(t *testing.T, text string) (objects []map[string]any) {
	t.Helper()
	for line := range strings.Lines(text) {
		var o map[string]any
		if err := json.Unmarshal([]byte(line), &o); err != nil {
			t.Errorf("not a JSON object: %q: %v", line, err)
		}
		objects = append(objects, o)
	}
	return objects
}

// TestParse reads each format from a file, from a compressed one, and from a
// pipe: all the same.
func TestParse(t *testing.T) {
	f := func(format, text string, want ...map[string]string) {
		t.Helper()
		plain := filepath.Join(t.TempDir(), "some.log")
		write(t, plain, text)
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		_, _ = z.Write([]byte(text)) // to memory
		_ = z.Close()
		write(t, plain+".gz", zipped.String())
		check := func(how string, out output, code int) {
			t.Helper()
			if code != 0 || out.err != "" {
				t.Errorf("%s %s: exit code %d: %s", format, how, code, out.err)
			}
			got := jsonLines(t, out.out)
			if len(got) != len(want) {
				t.Fatalf("%s %s: %d lines, want %d:\n%s", format, how, len(got), len(want), out.out)
			}
			for i := range want {
				for name, value := range want[i] {
					if s, _ := got[i][name].(string); !strings.Contains(s, value) {
						t.Errorf("%s %s: line %d: %s = %v, want %q", format, how, i, name, got[i][name], value)
					}
				}
			}
		}
		for _, file := range []string{plain, plain + ".gz"} {
			out, code := cli(t, "", "parse", "--format", format, "--timezone", "Asia/Shanghai", file)
			check(filepath.Ext(file), out, code)
		}
		for _, in := range []string{text, zipped.String()} {
			out, code := cli(t, in, "parse", "--format", format, "--timezone", "Asia/Shanghai")
			check("from a pipe", out, code)
		}
	}
	f("syslog", "<86>1 2026-03-01T08:00:00Z web1 sshd 7 - - Accepted password for lin from 192.0.2.9 port 4 ssh2\n"+
		"<13>1 2026-13-01T08:00:00Z web1 cron 7 - - hello\n",
		map[string]string{"@timestamp": "2026-03-01T08:00:00Z", "host.name": "web1", "user.name": "lin", "source.ip": "192.0.2.9"},
		map[string]string{"error": "2026-13-01", "raw": "<13>1 2026-13-01T08:00:00Z web1 cron 7 - - hello"})
	f("nginx-access", `192.0.2.9 - - [01/Mar/2026:16:00:00 +0800] "GET /a?b=1 HTTP/1.1" 404 10 "-" "curl/8"`+"\n",
		map[string]string{"@timestamp": "2026-03-01T08:00:00Z", "url.path": "/a", "user_agent.original": "curl/8"})
	f("zeek", "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tdns\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tquery\n#types\ttime\tstring\taddr\tport\taddr\tport\tstring\n"+
		"1772352000.5\tC1\t10.1.2.3\t5353\t10.0.0.53\t53\twww.example.edu.cn\n#close\t2026-03-01-08-00-01\n",
		map[string]string{"@timestamp": "2026-03-01T08:00:00.5Z", "dns.question.name": "www.example.edu.cn"})
	f("suricata", `{"timestamp":"2026-03-01T16:00:00.000000+0800","event_type":"tls","src_ip":"10.1.2.3","dest_ip":"192.0.2.1","tls":{"sni":"www.example.edu.cn"}}`+"\n",
		map[string]string{"source.ip": "10.1.2.3", "tls.client.server_name": "www.example.edu.cn"})
	f("windows", `{"EventID":4625,"Channel":"Security","Computer":"pc1","@timestamp":"2026-03-01T08:00:00Z","TargetUserName":"lin"}`+"\n",
		map[string]string{"host.name": "pc1"})
	f("auto", "{\"a\":\n\xff\xfe\n\x00\x01\n",
		map[string]string{"error": "", "raw": `{"a":`}, map[string]string{"error": "invalid UTF-8 at byte 0"}, map[string]string{"error": "control character"})
}

// TestParseDamaged: what could be read is there, and what is missing is said.
func TestParseDamaged(t *testing.T) {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	for range 1000 {
		_, _ = z.Write([]byte("<13>1 2026-03-01T08:00:00Z web1 app 7 - - hello\n")) // to memory
	}
	_ = z.Close()
	out, code := cli(t, zipped.String()[:zipped.Len()-6], "parse")
	lines := jsonLines(t, out.out)
	if code != 0 || len(lines) != 1001 || !strings.Contains(lines[1000]["error"].(string), "truncated archive") {
		t.Errorf("exit code %d, %d lines: %s", code, len(lines), out.err)
	}
}

// TestConfigDump writes what may be written again, without secrets.
func TestConfigDump(t *testing.T) {
	t.Setenv("FENGSUI_KAFKA__SASL__PASSWORD", "deadbeefdeadbeef")
	out, code := cli(t, "", "config", "dump")
	path := filepath.Join(t.TempDir(), "fengsui.yaml")
	write(t, path, out.out)
	if code != 0 || strings.Contains(out.out, "deadbeef") {
		t.Errorf("exit code %d: %s", code, out.out)
	}
	if check, code := cli(t, "", "config", "check", "--config", path, "--json"); code != 0 || len(jsonLines(t, check.out)) != 1 {
		t.Errorf("its own dump is refused: %s", check.err)
	}
	dumped, _ := cli(t, "", "config", "dump", "--json")
	if o := jsonLines(t, dumped.out); len(o) != 1 || o[0]["analyzer"] == nil {
		t.Errorf("as JSON: %s", dumped.out)
	}
}

// TestRulesTools checks, matches and measures rules on a file of events.
func TestRulesTools(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.yml"), `title: whoami
id: 7b4f66a5-8f40-5a62-9c1f-3f2a9a0e6c11
logsource: {category: process_creation, product: windows}
detection:
  selection: {Image|endswith: '\whoami.exe'}
  condition: selection
level: low
`)
	events := filepath.Join(dir, "events.jsonl")
	write(t, events, `{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\Windows\\System32\\whoami.exe","Computer":"pc1"}
{"Channel":"Microsoft-Windows-Sysmon/Operational","EventID":1,"Image":"C:\\Windows\\System32\\calc.exe","Computer":"pc1"}
`)
	out, code := cli(t, "", "rules", "check", "--json", dir)
	if code != 0 || out.out != "" {
		t.Errorf("check: %d %s%s", code, out.out, out.err)
	}
	// What will work beside the shipped rules may refer to them.
	write(t, filepath.Join(dir, "c.yml"), `title: many hosts
id: 0d2f0c0e-6f5c-4c36-9a29-2f0c6d1e7b55
correlation: {type: value_count, rules: [sshd_login_failed], group-by: [source.ip], timespan: 1h, condition: {field: host.name, gte: 9}}
---
title: not from the scanner
logsource: {product: linux, service: sshd}
filter: {rules: [sshd_login_failed], scanner: {source.ip: 10.9.9.9}, condition: not scanner}
`)
	if out, code = cli(t, "", "rules", "check", "--json", dir); code != 0 || out.out != "" {
		t.Errorf("check of a correlation over a shipped rule: %d %s%s", code, out.out, out.err)
	}
	out, code = cli(t, "", "rules", "match", "--json", "--rules", dir, "--events", events, "--format", "windows")
	if m := jsonLines(t, out.out); code != 0 || len(m) != 1 || m[0]["event"] != 1.0 || m[0]["title"] != "whoami" {
		t.Errorf("match: %d %s%s", code, out.out, out.err)
	}
	// One event meets no correlation: what it is counted by is told.
	logins := filepath.Join(dir, "logins.log")
	write(t, logins, "<86>Nov 29 08:00:01 web1 sshd[1]: Failed password for root from 203.0.113.5 port 1 ssh2\n")
	out, code = cli(t, "", "rules", "match", "--events", logins, "--format", "syslog")
	if m := jsonLines(t, out.out); code != 0 || len(m) != 1 || m[0]["rule_id"] != "1bfb1a5e-29cd-5e7d-9abb-e2c3a191c93a" || len(m[0]["counted_by"].([]any)) != 3 {
		t.Errorf("match of what a correlation counts: %d %s%s", code, out.out, out.err)
	}
	if out, code = cli(t, "", "rules", "match", "--rules", filepath.Join(dir, "none"), "--events", events); code != 1 || !strings.Contains(out.err, "no such file") {
		t.Errorf("match without rules: %d %s%s", code, out.out, out.err)
	}
	empty := t.TempDir()
	for _, args := range [][]string{{"match", "--events", events, "--rules", empty}, {"bench", "--events", events, "--rules", empty}, {"check", empty}} {
		if out, code = cli(t, "", append([]string{"rules"}, args...)...); code != 3 {
			t.Errorf("%s of a folder without rules: %d %s%s", args[0], code, out.out, out.err)
		}
	}
	if out, code = cli(t, "", "rules", "test", empty); code != 1 || !strings.Contains(out.err, "no rule is there") {
		t.Errorf("test of a folder without rules: %d %s%s", code, out.out, out.err)
	}
	long := filepath.Join(dir, "long.jsonl")
	write(t, long, "{}\n"+strings.Repeat("x", maxLine+1)+"\n")
	if out, code = cli(t, "", "rules", "match", "--events", long, "--rules", dir); code != 1 || !strings.Contains(out.err, "long.jsonl: line 2 is longer than 16 MiB") {
		t.Errorf("match of a line without end: %d %s%s", code, out.out, out.err)
	}
	out, code = cli(t, "", "rules", "bench", "--json", "--rules", dir, "--events", events, "--format", "windows")
	if m := jsonLines(t, out.out); code != 0 || len(m) != 1 || m[0]["rules"] != 1.0 {
		t.Errorf("bench: %d %s%s", code, out.out, out.err)
	}
	write(t, filepath.Join(dir, "b.yml"), "title: broken\ndetection: {a: {Imag: x}, condition: b}\n")
	out, code = cli(t, "", "rules", "check", "--json", dir)
	if m := jsonLines(t, out.out); code != 3 || len(m) == 0 || !strings.HasSuffix(m[0]["file"].(string), "b.yml") {
		t.Errorf("check of a broken rule: %d %s%s", code, out.out, out.err)
	}
}

// TestRegistryTools needs no running system.
func TestRegistryTools(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "units.yaml")
	write(t, file, `units:
  - {code: "1", name: 某省教育厅, level: province}
  - {code: "10001", name: 某大学, level: university, parent: "1"}
networks:
  - {prefix: 10.1.0.0/16, unit: "10001", scan: true}
`)
	f := func(args ...string) map[string]any {
		t.Helper()
		out, code := cli(t, "", append(args, "--json", "--data-dir", dir)...)
		lines := jsonLines(t, out.out)
		if code != 0 || len(lines) != 1 {
			t.Fatalf("%v: exit code %d: %s%s", args, code, out.out, out.err)
		}
		return lines[0]
	}
	if got := f("registry", "import", file); got["read"] != 3.0 || got["changed"] != 3.0 {
		t.Errorf("import: %v", got)
	}
	if got := f("registry", "import", file); got["changed"] != 0.0 {
		t.Errorf("import again: %v", got)
	}
	for _, name := range []string{"out.yaml", "out.xlsx"} {
		if got := f("registry", "export", filepath.Join(dir, name)); got["written"] != 3.0 {
			t.Errorf("export: %v", got)
		}
		if got := f("registry", "import", filepath.Join(dir, name)); got["read"] != 3.0 || got["changed"] != 0.0 {
			t.Errorf("import of the export %s: %v", name, got)
		}
	}
	if got := f("registry", "delete", "network/10.1.0.0/16"); got["deleted"] != 1.0 {
		t.Errorf("delete: %v", got)
	}
	if got := f("user", "reset", "li", "--role", "analyst", "--unit", "10001"); len(got["one_time_password"].(string)) < 16 {
		t.Errorf("user reset: %v", got)
	}
	if info, err := os.Stat(filepath.Join(dir, "registry.db")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the registry's file: %v, %v", info, err)
	}
}

// testQueries asks the running system: answers are lines of JSON, and an error
// points at the character.
func testQueries(t *testing.T, s *system) {
	f := func(want int, say string, args ...string) {
		t.Helper()
		out, code := cli(t, "", append(args, "--data-dir", s.dir)...)
		if code != want || !strings.Contains(out.err, say) || (want != 0) != (out.err != "") {
			t.Errorf("fengsui %s: exit code %d, want %d with %q: %s%s", strings.Join(args, " "), code, want, say, out.out, out.err)
		}
		if want == 0 && slices.Contains(args, "--json") {
			jsonLines(t, out.out)
		}
	}
	for _, kind := range []string{"events", "alerts", "mining", "assets", "drift"} {
		f(0, "", kind)
		f(0, "", kind, "--json", "--since", "1h", "--limit", "3")
		f(2, "query, character 9: unknown field \"colour\"", kind, "some && colour = red")
	}
	f(2, "query, character 9: a ) is missing", "events", "(id = 42")
	f(2, "query, character 6: a value is missing", "events", "id = ")
	f(2, "user.nmae", "events", "user.nmae = lin")
	f(2, "user.name", "events", "user.nmae = lin") // the nearest
	f(2, "not-an-address", "events", "source.ip = not-an-address")
	f(0, "", "events", "--json", "source.ip = 198.51.100.0/24", "&&", "user.name = li1")
	f(0, "", "migrate", "--json")
	f(2, "is not registered", "scan", "--json", "--unit", "99999")
}

// TestPastMoment: only the past can be asked for.
func TestPastMoment(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		_, err := pastMoment(text)
		if err == nil && want != "" || err != nil && (want == "" || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f("", "")
	f("7d", "")
	f("2026-03-01T08:00:00+08:00", "")
	f("2126-03-01T08:00:00+08:00", "is still to come")
	f("yesterday", "no time such as")
}
