package listen_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestLimits opens more connections than are let in from one address, and than
// are let in at all; a place that becomes free is taken again.
func TestLimits(t *testing.T) {
	l, err := listen.TCP(t.Context(), "127.0.0.1:0", listen.Limits{MaxConnections: 3, MaxPerAddress: 2}, listen.NewMetrics("test"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- l.Serve(ctx, slog.New(slog.DiscardHandler), func(c net.Conn) {
			defer context.AfterFunc(ctx, func() { _ = c.Close() })()
			_, _ = c.Write([]byte("!"))
			_, _ = io.Copy(io.Discard, c)
		})
	}()
	// All of 127.0.0.0/8 is this machine.
	let := func(from string, want bool) net.Conn {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := c.Read(make([]byte, 1)); (err == nil) != want || err != nil && os.IsTimeout(err) {
			t.Errorf("from %s: %v", from, err)
		}
		return c
	}
	first := let("127.0.0.1", true)
	let("127.0.0.1", true)
	let("127.0.0.1", false)
	let("127.0.0.2", true)
	let("127.0.0.2", false)
	_ = first.Close()
	listentest.Eventually(t, "a place is free", func() bool {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return false
		}
		defer c.Close()
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		_, err = c.Read(make([]byte, 1))
		return err == nil
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestRenewal replaces a certificate while connections are made: none fails, also
// while the certificate and its key are not of the same age.
func TestRenewal(t *testing.T) {
	defer listen.LookAlways()()
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("old.test")
	config, err := listen.TLS{Cert: cert, Key: key}.Config()
	if err != nil {
		t.Fatal(err)
	}
	shows := func(want string) {
		t.Helper()
		ours, theirs := net.Pipe()
		defer theirs.Close()
		go func() {
			defer ours.Close()
			if c, err := listen.Handshake(context.Background(), ours, config, 20*time.Second); err == nil {
				_ = c.Close()
			}
		}()
		c := tls.Client(theirs, &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if got := c.ConnectionState().PeerCertificates[0].Subject.CommonName; got != want {
			t.Errorf("%s, want %s", got, want)
		}
		_, _ = io.Copy(io.Discard, c)
	}
	shows("old.test")
	newCert, newKey := a.Issue("renewed.test")
	replace := func(path, with string) {
		t.Helper()
		text, err := os.ReadFile(with)
		if err == nil {
			err = os.WriteFile(path, append(text, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	replace(cert, newCert)
	shows("old.test")
	replace(key, newKey)
	shows("renewed.test")
	_ = os.Remove(key)
	shows("renewed.test")
}

func TestValidate(t *testing.T) {
	f := func(v interface{ Validate() error }, want string) {
		t.Helper()
		if got := fmt.Sprint(v.Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(listen.Limits{}, "<nil>")
	f(listen.Limits{MaxConnections: 5}, "<nil>")
	f(listen.Limits{MaxConnections: -1}, "max_connections: -1 is not between 1 and 1048576\nmax_per_address: -1 is not between 1 and max_connections, -1")
	f(listen.TLS{}, "<nil>")
	f(listen.TLS{Cert: "c", Key: "k", ClientCA: "a", Clients: []listen.Client{{Name: "a"}, {Name: "A"}}}, `tls.clients: number 2: name "A" is empty or there twice`)
	f(listen.TLS{Cert: "c", Key: "k", Clients: []listen.Client{{Name: "a"}}}, "tls.clients: needs client_ca")
}
