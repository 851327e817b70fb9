package lab

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Service is a server process on a host.
type Service struct {
	Port int
	cmd  *exec.Cmd
	said *lockedBuffer
	once sync.Once
}

// Stop ends the server and waits until it is gone. A second call does nothing.
func (s *Service) Stop() {
	s.once.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // already gone is as good
		timer := time.AfterFunc(5*time.Second, func() { _ = s.cmd.Process.Kill() })
		defer timer.Stop()
		_ = s.cmd.Wait() // it was told to end, whatever it says about it
	})
}

// start starts a server and waits until it accepts connections on the port.
func (h *Host) start(port int, name string, args ...string) *Service {
	h.lab.t.Helper()
	said := &lockedBuffer{}
	s := &Service{Port: port, cmd: h.Command(name, args...), said: said}
	s.cmd.Stdout, s.cmd.Stderr = said, said
	s.cmd.Dir = h.dir
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		h.lab.t.Fatalf("lab: host %s: starting %s: %v", h.Name, name, err)
	}
	h.lab.t.Cleanup(s.Stop)
	for deadline := time.Now().Add(startWait); ; time.Sleep(20 * time.Millisecond) {
		err := h.dial(port)
		if err == nil {
			return s
		}
		if time.Now().After(deadline) || syscall.Kill(s.cmd.Process.Pid, 0) != nil || exited(s.cmd.Process.Pid) {
			h.lab.t.Fatalf("lab: host %s: %s does not answer on port %d: %v\n%s", h.Name, name, port, err, said)
		}
	}
}

// exited says whether a child is a zombie, waiting to be waited for.
func exited(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(rest, "Z")
}

func (h *Host) dial(port int) error {
	return h.In(func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), time.Second)
		if err != nil {
			return err
		}
		return c.Close()
	})
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (h *Host) file(name, content string) string {
	h.lab.t.Helper()
	path := filepath.Join(h.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	return path
}

// Web says what nginx serves.
type Web struct {
	Port  int    // plain HTTP; 0 is none
	TLS   int    // HTTPS; 0 is none
	Title string // of the page
	Name  string // the certificate's subject and only name
	// Redirect, if set, is where the page sends the visitor instead.
	Redirect string
}

// Nginx starts the real nginx on all addresses of the host.
func (h *Host) Nginx(w Web) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "nginx")
	if w.Name == "" {
		w.Name = h.Name + ".example"
	}
	dir := "nginx-" + strconv.Itoa(max(w.Port, w.TLS))
	at := filepath.Join(h.dir, dir)
	h.file(dir+"/html/index.html", "<!doctype html><html><head><title>"+w.Title+"</title></head><body>.</body></html>\n")
	var conf strings.Builder
	fmt.Fprintf(&conf, "daemon off; user root; worker_processes 1; pid %s/pid; error_log stderr;\n", at)
	fmt.Fprintf(&conf, "events { worker_connections 256; }\nhttp { access_log off;\n")
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s/%s;\n", what, at, what)
	}
	fmt.Fprintf(&conf, "server { root %s/html; charset utf-8;\n", at)
	if w.Port != 0 {
		fmt.Fprintf(&conf, "listen %d; listen [::]:%d;\n", w.Port, w.Port)
	}
	if w.TLS != 0 {
		cert, key := certificate(h, w.Name)
		fmt.Fprintf(&conf, "listen %d ssl; listen [::]:%d ssl;\n", w.TLS, w.TLS)
		fmt.Fprintf(&conf, "ssl_protocols TLSv1.2 TLSv1.3; ssl_certificate %s; ssl_certificate_key %s;\n", h.file(dir+"/cert.pem", cert), h.file(dir+"/key.pem", key))
	}
	if w.Redirect != "" {
		fmt.Fprintf(&conf, "return 302 %s;\n", w.Redirect)
	}
	conf.WriteString("} }\n")
	port := w.Port
	if port == 0 {
		port = w.TLS
	}
	return h.start(port, "nginx", "-e", "stderr", "-p", at, "-c", h.file(dir+"/nginx.conf", conf.String()))
}

// certificate makes a self-signed certificate that is valid for a day.
func certificate(h *Host, name string) (cert, key string) {
	h.lab.t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()),
		Subject:      pkix.Name{CommonName: name, Organization: []string{"Lab"}},
		DNSNames:     []string{name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	cert = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return cert, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// Redis starts the real redis-server on port 6379, or the one given, without a
// password.
func (h *Host) Redis(port ...int) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "redis-server")
	p := first(port, 6379)
	return h.start(p, "redis-server", "--port", strconv.Itoa(p), "--bind", "*", "-::*",
		"--protected-mode", "no", "--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", h.dir)
}

// SSHD starts the real OpenSSH server on port 22, or the one given.
func (h *Host) SSHD(port ...int) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "sshd", "ssh-keygen")
	p := first(port, 22)
	key := filepath.Join(h.dir, "host_key_"+strconv.Itoa(p))
	h.lab.must("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
	conf := h.file("sshd_config_"+strconv.Itoa(p), fmt.Sprintf(
		"Port %d\nHostKey %s\nPidFile none\nUsePAM no\nPasswordAuthentication no\nMaxStartups 100\nPerSourcePenalties no\n", p, key))
	sshd, err := find("sshd")
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	// sshd insists on /run/sshd. The mounts of "ip netns exec" are private, so
	// the machine keeps its /run.
	conf = compatible(h, sshd, conf)
	return h.start(p, "sh", "-c", "mount -t tmpfs tmpfs /run && mkdir -m 0755 /run/sshd && exec "+sshd+" -D -e -f "+conf)
}

// compatible drops the options that an older sshd does not know.
func compatible(h *Host, sshd, conf string) string {
	h.lab.t.Helper()
	text, err := os.ReadFile(conf)
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	out, _ := exec.Command(sshd, "-T", "-f", conf).CombinedOutput() // it may fail for other reasons; only this one is asked
	if bytes.Contains(out, []byte("PerSourcePenalties")) && bytes.Contains(out, []byte("Bad configuration")) {
		text = bytes.ReplaceAll(text, []byte("PerSourcePenalties no\n"), nil)
	}
	return h.file(filepath.Base(conf), string(text))
}

// Reverse is the zone with the PTR records of the given addresses, for the
// IPv4 /24 or IPv6 /64 that they are in.
func Reverse(names map[string]string) Zone {
	z := Zone{}
	for ip, name := range names {
		a := netip.MustParseAddr(ip)
		full := reverseName(a)
		cut := 1
		if a.Is6() {
			cut = 16
		}
		labels := strings.Split(full, ".")
		z.Name = strings.Join(labels[cut:], ".")
		z.Records += full + ". IN PTR " + name + ".\n"
	}
	return z
}

func reverseName(a netip.Addr) string {
	var labels []string
	if a.Is4() {
		for _, b := range a.As4() {
			labels = append([]string{strconv.Itoa(int(b))}, labels...)
		}
		return strings.Join(labels, ".") + ".in-addr.arpa"
	}
	for _, b := range a.As16() {
		labels = append([]string{strconv.FormatInt(int64(b&15), 16), strconv.FormatInt(int64(b>>4), 16)}, labels...)
	}
	return strings.Join(labels, ".") + ".ip6.arpa"
}

// Bind starts the real bind9 on port 53, authoritative for the zones and for
// nothing else.
func (h *Host) Bind(zones ...Zone) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "named")
	var conf strings.Builder
	fmt.Fprintf(&conf, "options { directory %q; listen-on { any; }; listen-on-v6 { any; }; recursion no; allow-query { any; };\n", h.dir)
	conf.WriteString("pid-file none; session-keyfile none; dnssec-validation no; notify no; max-cache-size 16M; };\ncontrols { };\n")
	for _, z := range zones {
		transfer := "none"
		if z.Transfer {
			transfer = "any"
		}
		fmt.Fprintf(&conf, "zone %q { type master; file %q; check-names ignore; allow-transfer { %s; }; };\n", z.Name, h.zoneFile(z), transfer)
	}
	return h.named(conf.String())
}

// named starts bind9 and waits until it has its zones.
func (h *Host) named(conf string) *Service {
	h.lab.t.Helper()
	s := h.start(53, "named", "-g", "-n", "1", "-c", h.file("named.conf", conf))
	for deadline := time.Now().Add(startWait); ; time.Sleep(20 * time.Millisecond) {
		text := s.said.String()
		if strings.Contains(text, "not loaded due to errors") || time.Now().After(deadline) {
			h.lab.t.Fatalf("lab: host %s: named does not load its zones:\n%s", h.Name, text)
		}
		if strings.Contains(text, "all zones loaded") {
			return s
		}
	}
}

func first(given []int, otherwise int) int {
	if len(given) > 0 {
		return given[0]
	}
	return otherwise
}
