package kafka

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"fengsui/collector/input/listen/listentest"
)

// TestRsyslog has a real rsyslogd write a topic with librdkafka, which Zeek's and
// Suricata's writers use too, with each compression that it has.
func TestRsyslog(t *testing.T) {
	const rsyslogd = "/usr/sbin/rsyslogd"
	listentest.Program(t, rsyslogd)
	listentest.Program(t, "/usr/lib/x86_64-linux-gnu/rsyslog/omkafka.so")
	codecs := []string{"none", "gzip", "snappy", "lz4", "zstd"}
	w := newWorld(t, codecs...)
	const n = 500
	f := func(codec string) {
		t.Helper()
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
		for name, text := range map[string]string{"device.log": text.String(), "rsyslog.conf": conf} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(rsyslogd, "-n", "-f", filepath.Join(dir, "rsyslog.conf"), "-i", filepath.Join(dir, "pid"))
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // it was killed
			if t.Failed() {
				t.Logf("rsyslogd said: %s", out.String())
			}
		}()
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
	}
	for _, codec := range codecs {
		f(codec)
	}
}
