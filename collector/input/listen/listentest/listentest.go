// Package listentest is what the tests of listening inputs share: a sink that
// keeps what it is given, and an authority with certificates.
package listentest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"fengsui/collector/input"
	"fengsui/internal/config"
)

// Eventually waits until ok, and fails the test if that takes too long.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Sink keeps lines. The zero value is ready.
type Sink struct {
	mu    sync.Mutex
	lines []input.Line
	full  bool
	slow  bool
	dones []func()
}

// Put is input.Sink's.
func (s *Sink) Put(ctx context.Context, lines []input.Line, done func()) error {
	for s.isFull() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, lines...)
	switch {
	case done == nil:
	case s.slow:
		s.dones = append(s.dones, done)
	default:
		done()
	}
	return nil
}

func (s *Sink) isFull() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.full
}

// Full makes Put wait, or no longer.
func (s *Sink) Full(full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.full = full
}

// Slow makes what is put durable only when Slow(false) is called.
func (s *Sink) Slow(slow bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = slow
	if slow {
		return
	}
	for _, done := range s.dones {
		done()
	}
	s.dones = nil
}

// Lines is what was put so far.
func (s *Sink) Lines() []input.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]input.Line(nil), s.lines...)
}

// Start runs an input until the test ends, or until stop is called.
func Start(t testing.TB, in interface {
	input.Input
	Ready() <-chan struct{}
}, s input.Sink,
) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, s) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-in.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return stop
}

// Program finds a real peer. Where it is missing the test is skipped, or fails
// where CI is set.
func Program(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("a peer of this test is missing:", err)
		}
		t.Skip("a peer of this test is missing:", err)
	}
}

// Example is the settings of the first input in the first example of the
// package's README.md, with texts of it replaced as strings.NewReplacer does.
func Example[T config.Validator](t testing.TB, key string, replace ...string) (settings T) {
	t.Helper()
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\n")
	example, _, _ = strings.Cut(example, "```")
	var whole struct {
		Inputs []map[string]any `yaml:"inputs"`
	}
	if err := yaml.Unmarshal([]byte(strings.NewReplacer(replace...).Replace(example)), &whole); err != nil || len(whole.Inputs) == 0 {
		t.Fatalf("README.md has no example of an input: %v", err)
	}
	part, err := yaml.Marshal(whole.Inputs[0][key])
	path := filepath.Join(t.TempDir(), "example.yaml")
	if err == nil {
		err = os.WriteFile(path, part, 0o600)
	}
	if err == nil {
		err = config.Load(path, &settings)
	}
	if err != nil {
		t.Fatalf("the example of README.md: %v", err)
	}
	return settings
}

// Authority signs certificates that are good for an hour.
type Authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	CA   string // file
	Pool *x509.CertPool
}

// NewAuthority makes an authority.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, dir: t.TempDir(), Pool: x509.NewCertPool()}
	template := a.template("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	a.key = a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, template, a.key.Public(), a.key)
	if err == nil {
		a.cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		t.Fatal(err)
	}
	a.Pool.AddCert(a.cert)
	a.CA = a.write("ca.pem", "CERTIFICATE", der)
	return a
}

func (a *Authority) newKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	return key
}

func (a *Authority) template(name string) *x509.Certificate {
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		a.t.Fatal(err)
	}
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
}

// Issue writes a certificate for a name and 127.0.0.1, and its key.
func (a *Authority) Issue(name string) (cert, key string) {
	a.t.Helper()
	template := a.template(name)
	template.DNSNames, template.IPAddresses = []string{name}, []net.IP{net.IPv4(127, 0, 0, 1)}
	private := a.newKey()
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name+".pem", "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", keyDER)
}

// Client is a client's side of TLS; without a name it shows no certificate.
func (a *Authority) Client(name string) *tls.Config {
	a.t.Helper()
	c := &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(a.Issue(name))
		if err != nil {
			a.t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c
}

func (a *Authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err == nil {
		err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Close())
	}
	if err != nil {
		a.t.Fatal(err)
	}
	return path
}
