package identify

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tjfoc/gmsm/gmtls"
	"github.com/tjfoc/gmsm/sm2"
	gmx509 "github.com/tjfoc/gmsm/x509"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

// secured is a web server with TLS of the given configuration.
func secured(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// Each version that a server speaks is found, and none besides.
func TestVersionsOfTLS(t *testing.T) {
	f := func(low, high uint16, want string, weak bool) {
		t.Helper()
		s, _ := identify(t, secured(t, &tls.Config{MinVersion: low, MaxVersion: high}))
		if s == nil || s.TLS == nil {
			t.Fatalf("%+v", s)
		}
		if got := strings.Join(s.TLS.Versions, " "); got != want {
			t.Errorf("%s, want %s", got, want)
		}
		if got := slices.ContainsFunc(s.Exposures, func(e schemas.Exposure) bool { return e.Kind == schemas.ExposureWeakTLS }); got != weak {
			t.Errorf("%s: %+v", want, s.Exposures)
		}
	}
	f(tls.VersionTLS10, tls.VersionTLS13, "TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3", true)
	f(tls.VersionTLS11, tls.VersionTLS12, "TLSv1.1 TLSv1.2", true)
	f(tls.VersionTLS12, tls.VersionTLS12, "TLSv1.2", false)
	f(tls.VersionTLS13, tls.VersionTLS13, "TLSv1.3", false)
}

func TestCertificateFacts(t *testing.T) {
	s, _ := identify(t, secured(t, nil))
	c := s.TLS
	if c.Key != "RSA 2048" || !c.SelfSigned || c.Subject != "O=Acme Co" || len(c.SHA256) != 64 || c.Serial == "" || !slices.Contains(c.Names, "example.com") {
		t.Errorf("%+v", c)
	}
}

// openssl starts "openssl s_server" and gives its address and certificate.
func openssl(t *testing.T, key []string, args ...string) (address string) {
	t.Helper()
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %v: %v\n%s", args, err, out)
		}
	}
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is missing")
	}
	keyFile, certFile := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	run(append([]string{"req", "-x509", "-nodes", "-keyout", keyFile, "-out", certFile, "-subj", "/CN=lab.example", "-days", "30", "-newkey"}, key...)...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", address, "-key", keyFile, "-cert", certFile, "-quiet", "-www"}, args...)...)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			_ = c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatalf("openssl s_server: %v\n%s", err, said.String())
		}
	}
}

// A real OpenSSL: keys, self-signed, and versions down to TLS 1.0.
func TestBesideOpenSSL(t *testing.T) {
	f := func(key []string, want, versions string, args ...string) {
		t.Helper()
		s, _ := identify(t, openssl(t, key, args...))
		if s == nil || s.TLS == nil {
			t.Fatalf("%v: %+v", args, s)
		}
		if s.Name != "https" || s.TLS.Key != want || !s.TLS.SelfSigned || s.TLS.Subject != "CN=lab.example" || len(s.TLS.Serial) < 16 {
			t.Errorf("%v: %s, %+v", args, s.Name, s.TLS)
		}
		if got := strings.Join(s.TLS.Versions, " "); got != versions {
			t.Errorf("%v: %s, want %s", args, got, versions)
		}
	}
	old := "DEFAULT:@SECLEVEL=0"
	f([]string{"rsa:2048"}, "RSA 2048", "TLSv1.0 TLSv1.1 TLSv1.2 TLSv1.3", "-cipher", old)
	f([]string{"rsa:3072"}, "RSA 3072", "TLSv1.2 TLSv1.3")
	f([]string{"ec", "-pkeyopt", "ec_paramgen_curve:P-384"}, "ECDSA P-384", "TLSv1.3", "-tls1_3")
	f([]string{"ed25519"}, "Ed25519", "TLSv1.2 TLSv1.3")
	f([]string{"rsa:2048"}, "RSA 2048", "TLSv1.0", "-tls1", "-cipher", old)
}

// A gateway for TLCP alone, with certificates of SM2 keys, as the national
// standard has it.
func TestTLCP(t *testing.T) {
	pair := func(name string) gmtls.Certificate {
		t.Helper()
		key, err := sm2.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		template := gmTemplate(name)
		der, err := gmx509.CreateCertificate(template, template, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		return gmtls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	l, err := gmtls.Listen("tcp", "127.0.0.1:0", &gmtls.Config{
		GMSupport: gmtls.NewGMSupport(), Certificates: []gmtls.Certificate{pair("sign.example"), pair("encrypt.example")},
	})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(time.Second))
			_ = c.(*gmtls.Conn).Handshake() // it ends when we have seen enough
			_ = c.Close()
		}
	}()
	defer func() { _ = l.Close(); <-done }()
	s, _ := identify(t, l.Addr().String())
	if s == nil || s.TLS == nil || s.TLS.Version != "TLCPv1.1" || s.TLS.Key != "SM2" || s.TLS.Subject != "CN=sign.example" || !s.TLS.SelfSigned ||
		!slices.Equal(s.TLS.Versions, []string{"TLCPv1.1"}) || len(s.TLS.Chain) != 1 {
		t.Errorf("%+v", s)
		if s != nil {
			t.Errorf("%+v", s.TLS)
		}
	}
}

// The same configuration has the same hash, another one another.
func TestJARM(t *testing.T) {
	jarm := func(address string) string {
		t.Helper()
		target := at("127.0.0.1", 443, address)
		return target.jarm(t.Context())
	}
	one, same := secured(t, nil), secured(t, nil)
	other := secured(t, &tls.Config{MaxVersion: tls.VersionTLS12})
	a, b, c := jarm(one), jarm(same), jarm(other)
	if a != b || a != jarm(one) || len(a) != 62 || a == c || len(c) != 62 {
		t.Errorf("%s %s %s", a, b, c)
	}
	zeros := strings.Repeat("0", 62)
	if strings.HasSuffix(a, zeros[:32]) || a[:30] == zeros[:30] {
		t.Errorf("%s", a)
	}
	// Who answers, but never by TLS, has zeros; who is not there has none.
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if got := jarm(plain.Listener.Addr().String()); got != zeros {
		t.Errorf("plain: %s", got)
	}
	gone := Target{Host: "127.0.0.1", Port: 1, Dial: func(context.Context) (net.Conn, error) { return nil, fmt.Errorf("gone") }}
	if got := gone.jarm(t.Context()); got != "" {
		t.Errorf("gone: %s", got)
	}
}

// The hash of answers, worked out by hand from the definition: suite 0xc030 is
// the 42nd, TLS 1.3's 0x1301 the 65th; TLS 1.2 is d.
func TestJARMHash(t *testing.T) {
	answers := []jarmAnswer{
		{0xc030, 0x0303, "h2ff01-0000"}, {}, {0x1301, 0x0303, "33-2b"}, {0xffff, 0x0301, ""}, {}, {}, {}, {}, {}, {},
	}
	want := "2ad" + "000" + "41d" + "46b" + strings.Repeat("000", 6)
	if got := jarmHash(answers); got[:30] != want || len(got) != 62 {
		t.Errorf("%s, want %s", got, want)
	}
}

// A ClientHello of ours is one that crypto/tls reads, each of the ten and of the
// versions.
func TestHellosAreWellFormed(t *testing.T) {
	f := func(name string, h clientHello) {
		t.Helper()
		client, server := net.Pipe()
		var info *tls.ClientHelloInfo
		done := make(chan error, 1)
		go func() {
			done <- tls.Server(server, &tls.Config{GetConfigForClient: func(i *tls.ClientHelloInfo) (*tls.Config, error) {
				info = i
				return nil, fmt.Errorf("seen")
			}}).Handshake()
			_ = server.Close()
		}()
		go func() { _, _ = client.Write(h.bytes()) }()
		_ = client.SetReadDeadline(time.Now().Add(5 * time.Second))
		_, _ = client.Read(make([]byte, 100)) // the alert
		err := <-done
		_ = client.Close()
		if info == nil || info.ServerName != "lab.example" || len(info.CipherSuites) != len(h.suites) {
			t.Errorf("%s: %+v, %v", name, info, err)
		}
	}
	for i, p := range jarmProbes {
		f(fmt.Sprintf("JARM %d", i), p.hello("lab.example"))
	}
	for _, v := range []uint16{versionTLS10, versionTLS11, versionTLS12, versionTLS13} {
		f(versionNames[v], helloFor(v, "lab.example"))
	}
}

func TestArrange(t *testing.T) {
	odd, even := []int{1, 2, 3, 4, 5}, []int{1, 2, 3, 4}
	for o, want := range map[order][2][]int{
		forward: {odd, even}, reverse: {{5, 4, 3, 2, 1}, {4, 3, 2, 1}}, bottomHalf: {{4, 5}, {3, 4}},
		topHalf: {{3, 2, 1}, {2, 1}}, middleOut: {{3, 4, 2, 5, 1}, {3, 2, 4, 1}},
	} {
		if diff := cmp.Diff(want, [2][]int{arrange(odd, o), arrange(even, o)}); diff != "" {
			t.Errorf("%d: %s", o, diff)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOf(rapid.Int()).Draw(t, "list")
		halves := append(slices.Clone(arrange(list, topHalf)), arrange(list, bottomHalf)...)
		for _, got := range [][]int{halves, arrange(list, middleOut), arrange(list, reverse)} {
			got = slices.Clone(got)
			want := slices.Clone(list)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Fatalf("%v of %v", got, want)
			}
		}
	})
}

// A server whose certificate does not hold, in two ways.
func TestCertificateDates(t *testing.T) {
	f := func(now time.Time, want string) {
		t.Helper()
		s := &schemas.Service{TLS: &schemas.TLS{
			Version: "TLSv1.3", SHA256: "x", NotBefore: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC),
		}}
		(&Target{Now: now}).expose(s)
		got := ""
		for _, e := range s.Exposures {
			got += string(e.Kind) + ": " + e.Evidence
		}
		if got != want {
			t.Errorf("%v: %q, want %q", now, got, want)
		}
	}
	f(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), "")
	f(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC), "certificate_expired: certificate expired on 2026-03-01")
	f(time.Date(2025, 3, 2, 0, 0, 0, 0, time.UTC), "certificate_expired: certificate is not valid before 2026-01-01")
	f(time.Time{}, "")
}

func FuzzServerHello(f *testing.F) {
	hello, err := hex.DecodeString("160303003802000034" + "0303" + strings.Repeat("11", 32) + "00c03000" + "000c" + "ff01000100" + "002b00020304" + "00")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(hello)
	f.Add([]byte{22, 3, 3, 0, 4, 11, 0, 0, 0})
	f.Add([]byte{21, 3, 3, 0, 2, 2, 40})
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = parseServerHello(b)
		a := readJARM(b)
		if got := jarmHash([]jarmAnswer{a}); len(got) != 35 && len(got) != 62 {
			t.Fatalf("%d", len(got))
		}
		if len(b) > 5 {
			_, chain, _ := parseFlight(b[5:])
			out := &schemas.TLS{}
			describeChain(out, chain)
			if len(out.Chain) > maxChain || len(out.Names) > maxNames {
				t.Fatalf("%+v", out)
			}
		}
		out := &schemas.TLS{}
		describeChain(out, [][]byte{b})
	})
}
