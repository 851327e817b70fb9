package syslog

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

// secureConfig listens for clients that the authority knows, one of them with a
// unit.
func secureConfig(a *listentest.Authority) Config {
	cert, key := a.Issue("collector.test")
	return Config{TLS: TLSConfig{Listen: "127.0.0.1:0", TLS: listen.TLS{
		Cert: cert, Key: key, ClientCA: a.CA,
		Clients: []listen.Client{{Name: "school.test", Unit: "410105"}, {Name: "campus.test"}},
	}}}
}

// TestRsyslogTLS has a real rsyslogd forward over TLS (RFC 5425), where both
// sides prove who they are.
func TestRsyslogTLS(t *testing.T) {
	listentest.Program(t, "/usr/lib/x86_64-linux-gnu/rsyslog/lmnsd_gtls.so")
	a := listentest.NewAuthority(t)
	s := &listentest.Sink{}
	in, _, _ := start(t, secureConfig(a), s)
	cert, key := a.Issue("school.test")
	dir := t.TempDir()
	var text strings.Builder
	const n = 500
	for i := range n {
		fmt.Fprintf(&text, "line %04d of a device\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "device.log"), []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	listentest.RunRsyslog(t, dir, fmt.Sprintf(`global(workDirectory="%[1]s" defaultNetstreamDriver="gtls"
  defaultNetstreamDriverCAFile="%[2]s" defaultNetstreamDriverCertFile="%[3]s" defaultNetstreamDriverKeyFile="%[4]s")
module(load="imfile" mode="polling" pollingInterval="1")
input(type="imfile" file="%[1]s/device.log" tag="device:")
action(type="omfwd" target="127.0.0.1" port="%[5]s" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"
  streamDriver="gtls" streamDriverMode="1" streamDriverAuthMode="x509/name" streamDriverPermittedPeers="collector.test")
`, dir, a.CA, cert, key, port(in.Addrs()[0])))
	device := func() (count int) {
		for _, l := range s.Lines() {
			if bytes.HasSuffix(l.Value, fmt.Appendf(nil, "line %04d of a device", count)) {
				count++
			}
			if l.Unit != "410105" || l.Source != "127.0.0.1" {
				t.Fatalf("unit %q, source %q", l.Unit, l.Source)
			}
		}
		return count
	}
	listentest.Eventually(t, "all lines, in order", func() bool { return device() == n })
}

// TestOpenSSL sends with openssl's client, in each version of TLS that is taken.
func TestOpenSSL(t *testing.T) {
	listentest.Program(t, "/usr/bin/openssl")
	a := listentest.NewAuthority(t)
	s := &listentest.Sink{}
	in, _, _ := start(t, secureConfig(a), s)
	f := func(name, version string, ok bool) {
		t.Helper()
		before := len(s.Lines())
		cert, key := a.Issue(name)
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, "/usr/bin/openssl", "s_client", "-quiet", "-no_ign_eof", "-connect", in.Addrs()[0].String(), "-CAfile", a.CA, "-cert", cert, "-key", key, version)
		cmd.Stdin = strings.NewReader("<13>by openssl\n")
		out, err := cmd.CombinedOutput()
		if !ok {
			if got := len(s.Lines()); got != before {
				t.Errorf("%s %s was let in", name, version)
			}
			return
		}
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		listentest.Eventually(t, "a line by "+name+" "+version, func() bool { return len(s.Lines()) == before+1 })
	}
	f("campus.test", "-tls1_2", true)
	f("campus.test", "-tls1_3", true)
	f("campus.test", "-tls1_1", false)
	f("stranger.test", "-tls1_3", false)
	if got := s.Lines()[0]; string(got.Value) != "<13>by openssl" || got.Unit != "" {
		t.Errorf("%+v", got)
	}
	listentest.Eventually(t, "failures are counted", func() bool { return value(t, in.conns.Failed) == 2 })
}

// TestNoHandshake: who says nothing is dropped in time, and who has no
// certificate sends nothing.
func TestNoHandshake(t *testing.T) {
	a := listentest.NewAuthority(t)
	cfg := secureConfig(a)
	cfg.FrameTimeout = time.Second
	s := &listentest.Sink{}
	in, _, _ := start(t, cfg, s)
	silent := dial(t, in)
	secure := tls.Client(dial(t, in), a.Client(""))
	_, _ = secure.Write([]byte("<13>x\n")) // with TLS 1.3 the refusal comes after
	_ = secure.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := secure.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a client without a certificate: %v", err)
	}
	_ = silent.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := silent.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("a silent one was kept: %v", err)
	}
	if n := len(s.Lines()); n != 0 {
		t.Errorf("%d lines", n)
	}
}

// TestExample starts what README.md shows.
func TestExample(t *testing.T) {
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("collector.test")
	cfg := listentest.Example[Config](t, "syslog", ":514", "127.0.0.1:0", ":6514", "127.0.0.1:0",
		"/etc/fengsui/collector.pem", cert, "/etc/fengsui/collector.key", key, "/etc/fengsui/schools.pem", a.CA)
	s := &listentest.Sink{}
	in, _, _ := start(t, cfg, s)
	secure := tls.Client(dial(t, in), a.Client("school-17.example.edu.cn"))
	if _, err := secure.Write([]byte("<13>x\n")); err != nil {
		t.Fatal(err)
	}
	listentest.Eventually(t, "the line", func() bool { return len(s.Lines()) == 1 })
	if got := s.Lines()[0]; got.Unit != "410117" {
		t.Errorf("%+v", got)
	}
}
