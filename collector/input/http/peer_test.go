package http

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/collector/input/listen/listentest"
)

// TestExample starts what README.md shows, and sends to it with curl.
func TestExample(t *testing.T) {
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("collector.test")
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	file := filepath.Join(dir, "lines")
	for name, text := range map[string]string{token: secret, file: strings.Repeat("<38>a line of some log\n", 1000)} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("SCHOOL_18_TOKEN", "of-the-environment-0")
	cfg := listentest.Example[Config](t, "http", ":9200", "127.0.0.1:0", "/etc/fengsui/collector.pem", cert,
		"/etc/fengsui/collector.key", key, "/etc/fengsui/tokens/school-17", token)
	s := serve(t, cfg)
	curl := func(args ...string) string {
		t.Helper()
		return program(t, "/usr/bin/curl", append([]string{"-sS", "--fail-with-body", "--cacert", a.CA}, args...)...)
	}
	url := strings.Replace(s.url, "http:", "https:", 1)
	curl("-H", "Authorization: Bearer "+secret, "--data-binary", "@"+file, url+"/logs") // with Expect: 100-continue
	curl("-u", "beat:"+secret, "-T", file, url+"/logs")
	if got := curl("-u", "beat:"+secret, url); !strings.Contains(got, "You Know, for Search") {
		t.Error(got)
	}
	if got := curl("-H", "Authorization: Splunk of-the-environment-0", "-d", `{"event":"x"}`, url+"/services/collector"); !strings.Contains(got, "Success") {
		t.Error(got)
	}
	lines := s.sink.Lines()
	if len(lines) != 2001 || lines[0].Unit != "410117" || lines[2000].Unit != "410118" {
		t.Errorf("%d lines, %+v", len(lines), lines[len(lines)-1])
	}
}

// TestRsyslog has a real rsyslogd ship to _bulk, as it does to Elasticsearch,
// while the collector is full at first.
func TestRsyslog(t *testing.T) {
	listentest.Program(t, "/usr/lib/x86_64-linux-gnu/rsyslog/omelasticsearch.so")
	s := serve(t, open(nil))
	s.sink.Full(true)
	dir := t.TempDir()
	const n = 2000
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "line %04d \"of\" a device\n", i)
	}
	host, port, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
	conf := fmt.Sprintf(`global(workDirectory="%[1]s")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omelasticsearch")
input(type="imfile" file="%[1]s/device.log" tag="device:")
template(name="index" type="string" string="campus")
template(name="doc" type="list" option.jsonf="on") {
  property(outname="@timestamp" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="host.name" name="hostname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
action(type="omelasticsearch" server="%[2]s" serverport="%[3]s" bulkmode="on" usehttps="off" template="doc"
  searchIndex="index" dynSearchIndex="on" searchType="" uid="rsyslog" pwd="%[4]s" errorfile="%[1]s/errors"
  action.resumeRetryCount="-1" action.resumeInterval="1" queue.dequeueBatchSize="200")
`, dir, host, port, secret)
	if err := os.WriteFile(filepath.Join(dir, "device.log"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if errors, err := os.ReadFile(filepath.Join(dir, "errors")); t.Failed() && err == nil {
			t.Logf("errors of omelasticsearch: %s", errors)
		}
	})
	listentest.RunRsyslog(t, dir, conf)
	device := func() map[string]bool {
		seen := map[string]bool{}
		for _, l := range s.sink.Lines() {
			if l.Unit != "410105" || l.Source != "127.0.0.1" || !bytes.HasPrefix(l.Value, []byte(`{"@timestamp":"20`)) {
				t.Fatalf("%s: %+v", l.Value, l)
			}
			if _, message, ok := bytes.Cut(l.Value, []byte(`"message":"line `)); ok {
				seen[string(message[:4])] = true
			}
		}
		return seen
	}
	listentest.Eventually(t, "rsyslog waits", func() bool { return len(s.slots) > 0 })
	time.Sleep(200 * time.Millisecond)
	s.sink.Full(false)
	listentest.Eventually(t, "all lines", func() bool { return len(device()) == n })
}
