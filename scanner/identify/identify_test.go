package identify

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBanners(t *testing.T) {
	f := func(port int, banner, want string) {
		t.Helper()
		s := bannerService([]byte(banner), port)
		if got := fmt.Sprintf("%s|%s|%s", s.Name, s.Product, s.Version); got != want {
			t.Errorf("%q: %s, want %s", banner, got, want)
		}
	}
	f(22, "SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n", "ssh|OpenSSH|9.2p1")
	f(22, "SSH-2.0-dropbear_2022.83\r\n", "ssh|dropbear|2022.83")
	f(2222, "SSH-2.0-Go\r\n", "ssh|Go|")
	f(21, "220 (vsFTPd 3.0.3)\r\n", "ftp|vsFTPd|3.0.3")
	f(21, "220 ProFTPD 1.3.8 Server (Debian) [::ffff:192.0.2.1]\r\n", "ftp|ProFTPD|1.3.8")
	f(2121, "220 Welcome to the FTP service.\r\n", "ftp||")
	f(21, "220 hello\r\n", "ftp||")
	f(25, "220 mail.u1.example ESMTP Postfix (Debian/GNU)\r\n", "smtp|Postfix|")
	f(2526, "220 mail.u1.example ESMTP Exim 4.96 Sun, 01 Mar 2026\r\n", "smtp|Exim|4.96")
	f(25, "220 ready\r\n", "smtp||")
	f(7777, "220 ready\r\n", "||")
	f(110, "+OK Dovecot (Debian) ready.\r\n", "pop3|Dovecot|")
	f(143, "* OK [CAPABILITY IMAP4rev1] Dovecot ready.\r\n", "imap|Dovecot|")
	f(5900, "RFB 003.008\n", "rfb||003.008")
	f(3306, "J\x00\x00\x00\x0a8.0.36\x00\x0b\x00\x00\x00", "mysql|MySQL|8.0.36")
	f(3307, "Y\x00\x00\x00\x0a5.5.5-10.11.6-MariaDB-0+deb12u1\x00", "mysql|MariaDB|10.11.6")
	f(3307, "Y\x00\x00\x00\x0a11.8.2-MariaDB\x00", "mysql|MariaDB|11.8.2")
	f(3306, "Y\x00\x00\x00\x0a5.7.44-log\x00", "mysql|MySQL|5.7.44")
	f(873, "@RSYNCD: 31.0 sha512\n", "rsync||31.0")
	f(23, "\xff\xfd\x18\xff\xfd\x20", "telnet||")
	f(1, "who are you\r\n", "||")
}

func TestPrintable(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		if got := Printable([]byte(in)); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
	f("plain\r\n", "plain")
	f("\x1b[31mred\x00", ".[31mred.")
	f("中文", "中文")
	f("\xff\xfe", ".")
	f("evil\u202Etxt", "evil.txt")
	f(strings.Repeat("中", 300), strings.Repeat("中", 170))
}

func TestTitle(t *testing.T) {
	gbk, err := simplifiedchinese.GBK.NewEncoder().String("<html><head><meta charset=gbk><title>某某大学</title>")
	if err != nil {
		t.Fatal(err)
	}
	f := func(body, contentType, want string) {
		t.Helper()
		if got := title(decode([]byte(body), contentType)); got != want {
			t.Errorf("%q: %q, want %q", body, got, want)
		}
	}
	f("<title>One</title><title>Two</title>", "", "One")
	f("<TITLE lang=en>\n a  b &amp; c\t</TITLE>", "text/html", "a b & c")
	f(gbk, "text/html", "某某大学")
	f("<title>某某大学</title>", "text/html; charset=utf-8", "某某大学")
	f("<title>open", "", "")
	f("no title", "", "")
	f("<title>"+strings.Repeat("x", 1000)+"</title>", "", strings.Repeat("x", 256))
}

func TestDNSProduct(t *testing.T) {
	f := func(text, name, version string) {
		t.Helper()
		if n, v := dnsProduct(text); n != name || v != version {
			t.Errorf("%q: %q %q, want %q %q", text, n, v, name, version)
		}
	}
	f("9.18.24-1-Debian", "BIND", "9.18.24-1-Debian")
	f("dnsmasq-2.90", "dnsmasq", "2.90")
	f("unbound 1.17.1", "unbound", "1.17.1")
	f("go away", "", "")
}

// at is a target of this test, reached at an address whatever its port is said to be.
func at(host string, port int, address string) Target {
	return Target{Host: host, Port: port, Now: time.Now(), Dial: func(ctx context.Context) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", address)
	}}
}

// identify asks what is at an address of this test.
func identify(t *testing.T, address string) (*schemas.Service, time.Duration) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	s, err := Service(t.Context(), at(host, number, address))
	if err != nil {
		t.Fatal(err)
	}
	return s, time.Since(start)
}

var quiet = log.New(io.Discard, "", 0)

func TestHTTPS(t *testing.T) {
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", "Apache/2.4.57 (Debian)")
		http.Redirect(w, r, other.URL, http.StatusFound)
	}))
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	s, _ := identify(t, server.Listener.Addr().String())
	if s == nil || s.Name != "https" || s.Product != "Apache" || s.Version != "2.4.57" || s.HTTP.Status != 302 || s.TLS.SHA256 == "" {
		t.Errorf("%+v", s)
	}
	if elsewhere > 0 {
		t.Error("a redirect was followed")
	}
}

// An old server with TLS 1.0 and a cipher of its time is a finding.
func TestOldTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10, CipherSuites: []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}}
	server.StartTLS()
	defer server.Close()
	s, _ := identify(t, server.Listener.Addr().String())
	if s == nil || s.TLS == nil || s.TLS.Version != "TLSv1.0" || s.TLS.Cipher != "TLS_RSA_WITH_AES_128_CBC_SHA" {
		t.Errorf("%+v", s)
	}
}

// What we do not know ourselves, fingerprintx may.
func TestKafkaByTheLibrary(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	// Asked as if it were on Kafka's port: it keeps silent to everything else.
	s, err := Service(t.Context(), at("127.0.0.1", 9092, cluster.ListenAddrs()[0]))
	if err != nil || s == nil || s.Name != "kafka" {
		t.Errorf("%+v, %v", s, err)
	}
}

// Peers that want to keep us, or to fill us.
func TestHostilePeers(t *testing.T) {
	f := func(name string, most time.Duration, serve func(net.Conn)) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		stop := make(chan struct{})
		go func() {
			defer close(done)
			var open []chan struct{}
			for {
				c, err := l.Accept()
				if err != nil {
					break
				}
				end := make(chan struct{})
				open = append(open, end)
				go func() {
					defer close(end)
					go func() { <-stop; _ = c.Close() }()
					serve(c)
				}()
			}
			for _, e := range open {
				<-e
			}
		}()
		s, took := identify(t, l.Addr().String())
		if took > most {
			t.Errorf("%s: took %v", name, took)
		}
		if s != nil && len(s.Banner) > maxBanner {
			t.Errorf("%s: a banner of %d bytes", name, len(s.Banner))
		}
		_ = l.Close()
		close(stop)
		<-done
	}
	forever := func(text string, pause time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			for {
				if _, err := c.Write([]byte(text)); err != nil {
					return
				}
				time.Sleep(pause)
			}
		}
	}
	f("silent", 7*time.Second, func(c net.Conn) { _, _ = c.Read(make([]byte, 1<<20)); <-time.After(10 * time.Millisecond) })
	f("hangs up", 7*time.Second, func(c net.Conn) { _ = c.Close() })
	f("flood", 5*time.Second, forever(strings.Repeat("A", 64<<10), 0))
	f("drip", maxDuration+2*time.Second, forever("a", 50*time.Millisecond))
	f("endless header", maxDuration+2*time.Second, func(c net.Conn) {
		_, _ = c.Read(make([]byte, 100))
		forever("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("y", 1<<16), 0)(c)
	})
}

// A port that closes between the confirmation and the identification.
func TestGoneMeanwhile(t *testing.T) {
	_, err := Service(t.Context(), Target{Host: "127.0.0.1", Port: 80, Dial: func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("%v", err)
	}
}

func FuzzBanner(f *testing.F) {
	for _, seed := range []string{"SSH-2.0-x", "220 x ESMTP", "J\x00\x00\x00\x0a8.0\x00", "\xff\xfd\x18", "<title>x</title>"} {
		f.Add([]byte(seed), 25)
	}
	f.Fuzz(func(t *testing.T, b []byte, port int) {
		s := bannerService(b, port)
		if s == nil {
			return
		}
		for _, text := range []string{s.Banner, s.Product, s.Version, title(decode(b, ""))} {
			if !utf8.ValidString(text) || len(text) > maxBanner {
				t.Fatalf("%q from %q", text, b)
			}
		}
	})
}
