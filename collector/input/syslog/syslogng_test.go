package syslog

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"fengsui/collector/input/listen/listentest"
)

// aside is where deploy/setup/aside.sh has unpacked syslog-ng.
const aside = "../../../deploy/setup/aside"

// TestSyslogNG has a real syslog-ng read a file and forward it with each of its
// drivers and transports, with structured data and Chinese text.
func TestSyslogNG(t *testing.T) {
	const (
		rfc3164 = `^<165>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d campus-网关 登录\[42\]: `
		rfc5424 = `^<165>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d campus-网关 登录 42 ID47 \[ex@32473 iut="3" unit="教育厅"\]\[meta sequenceId="\d+"\] `
		n       = 500
	)
	f := func(name, driver, header string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			a := listentest.NewAuthority(t)
			cfg := secureConfig(a)
			cfg.UDP, cfg.TCP = "127.0.0.1:0", "127.0.0.1:0"
			s := &listentest.Sink{}
			in, _, _ := start(t, cfg, s)
			cert, key := a.Issue("school.test")
			dir := t.TempDir()
			var text strings.Builder
			for i := range n {
				fmt.Fprintf(&text, "第 %04d 行：用户登录成功\n", i)
			}
			if err := os.WriteFile(filepath.Join(dir, "device.log"), []byte(text.String()), 0o600); err != nil {
				t.Fatal(err)
			}
			driver = strings.NewReplacer("UDP", port(in.Addrs()[0]), "TCP", port(in.Addrs()[1]), "TLS", port(in.Addrs()[2]),
				"PROOF", fmt.Sprintf("ca-file(%q) cert-file(%q) key-file(%q)", a.CA, cert, key)).Replace(driver)
			listentest.RunSyslogNG(t, aside, dir, fmt.Sprintf(`@version: 3.38
options { stats-freq(0); keep-hostname(yes); };
source s { file("%s/device.log" flags(no-parse) default-facility(local4) default-priority(notice) follow-freq(0.1)); };
rewrite r {
	set("campus-网关" value("HOST")); set("登录" value("PROGRAM")); set("42" value("PID")); set("ID47" value("MSGID"));
	set("3" value(".SDATA.ex@32473.iut")); set("教育厅" value(".SDATA.ex@32473.unit"));
};
log { source(s); rewrite(r); destination { %s }; };
`, dir, driver))
			listentest.Eventually(t, "all lines", func() bool { return len(s.Lines()) >= n })
			shape := regexp.MustCompile(header)
			for i, l := range s.Lines() {
				if !shape.Match(l.Value) || !bytes.HasSuffix(l.Value, fmt.Appendf(nil, "第 %04d 行：用户登录成功", i)) || l.Reject != "" {
					t.Fatalf("line %d is %q, reject %q", i, l.Value, l.Reject)
				}
				if proved := strings.Contains(name, "TLS"); (l.Unit == "410105") != proved || l.Source != "127.0.0.1" {
					t.Fatalf("unit %q, source %q", l.Unit, l.Source)
				}
			}
		})
	}
	f("network, UDP", `network("127.0.0.1" port(UDP) transport("udp"));`, rfc3164)
	f("syslog, UDP", `syslog("127.0.0.1" port(UDP) transport("udp"));`, rfc5424)
	f("network, TCP", `network("127.0.0.1" port(TCP));`, rfc3164)
	f("network, TCP, RFC 5424", `network("127.0.0.1" port(TCP) flags(syslog-protocol));`, rfc5424)
	f("syslog, TCP", `syslog("127.0.0.1" port(TCP) transport("tcp"));`, rfc5424)
	f("network, TLS", `network("127.0.0.1" port(TLS) transport("tls") tls(PROOF peer-verify(required-trusted)));`, rfc3164)
	f("syslog, TLS", `syslog("127.0.0.1" port(TLS) transport("tls") tls(PROOF peer-verify(required-trusted)));`, rfc5424)
}
