package kafka

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"fengsui/collector/input/listen/listentest"
)

// TestRsyslog has a real rsyslogd write a topic with librdkafka, which Zeek's and
// Suricata's writers use too, with each compression that it has.
func TestRsyslog(t *testing.T) {
	listentest.Program(t, "/usr/lib/x86_64-linux-gnu/rsyslog/omkafka.so")
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	w := newWorld(t, codecs...)
	const n = 500
	f := func(codec string) {
		t.Helper()
		t.Run(codec, func(t *testing.T) {
			dir := t.TempDir()
			var text strings.Builder
			for i := range n {
				fmt.Fprintf(&text, "第 %04d 行, compressed by %s\n", i, codec)
			}
			conf := fmt.Sprintf(`global(workDirectory="%[1]s")
module(load="imfile" mode="polling" pollingInterval="1")
module(load="omkafka")
input(type="imfile" file="%[1]s/device.log" tag="device:")
template(name="doc" type="list" option.jsonf="on") {
  property(outname="host.name" name="hostname" format="jsonf")
  property(outname="message" name="msg" format="jsonf")
}
if $syslogtag == "device:" then
  action(type="omkafka" broker=["%[2]s"] topic="%[3]s" template="doc" key="device" confParam=["compression.codec=%[3]s", "linger.ms=20"])
`, dir, w.broker.Addr, codec)
			if err := os.WriteFile(filepath.Join(dir, "device.log"), []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			listentest.RunRsyslog(t, dir, conf)
			var l ledger
			stop := w.run(&l, func(c *Config, _ *Deps) {
				c.Group, c.Topics, c.SourceField = "of-"+codec, []Topic{{Name: codec, Format: "json"}}, "host.name"
			})
			eventually(t, "all that rsyslog wrote with "+codec, func() bool { return l.values() == n })
			stop()
			l.check(t, n)
			for _, line := range l.lines {
				if !bytes.Contains(line.Value, []byte(" 行, compressed by "+codec+`"`)) || line.Source == codec || net.ParseIP(line.Source) != nil || line.Format != "json" {
					t.Fatalf("%s from %q as %q", line.Value, line.Source, line.Format)
				}
			}
		})
	}
	for _, codec := range codecs {
		f(codec)
	}
}
