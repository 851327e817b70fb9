package http

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/collector/input/listen/listentest"
)

// TestSyslogNG has a real syslog-ng ship to Splunk's event collector in batches, as
// its manual tells, over TLS, while the collector is full at first.
func TestSyslogNG(t *testing.T) {
	s, a := secure(t, func(c *Config) { c.Wait = 200 * time.Millisecond })
	s.sink.Full(true)
	dir := t.TempDir()
	const n = 500
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, "第 %04d 行 \"登录\" 成功\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "device.log"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	listentest.RunSyslogNG(t, "../../../deploy/setup/aside", dir, fmt.Sprintf(`@version: 3.38
options { stats-freq(0); keep-hostname(yes); time-reopen(1); };
source s { file("%s/device.log" flags(no-parse) follow-freq(0.1)); };
rewrite r { set("campus-gate" value("HOST")); };
destination d { http(url("%s/services/collector/event") method("POST") headers("Authorization: Splunk %s") tls(ca-file("%s"))
  batch-lines(100) batch-timeout(100) delimiter("\n") body("$(format-json --scope none time=$S_UNIXTIME host=$HOST event=$MSG)")); };
log { source(s); rewrite(r); destination(d); flags(flow-control); };
`, dir, s.url, secret, a.CA))
	listentest.Eventually(t, "syslog-ng waits", func() bool { return len(s.slots) > 0 })
	time.Sleep(300 * time.Millisecond)
	s.sink.Full(false)
	listentest.Eventually(t, "all lines", func() bool { return len(s.sink.Lines()) >= n })
	for i, l := range s.sink.Lines() {
		if want := fmt.Sprintf("第 %04d 行 \"登录\" 成功", i); string(l.Value) != want || l.Source != "campus-gate" || l.Unit != "410105" || l.Reject != "" {
			t.Fatalf("line %d is %q from %q of %q, reject %q", i, l.Value, l.Source, l.Unit, l.Reject)
		}
	}
}
