package identify

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/schemas"
)

// The hash's published values: MurmurHash3_x86_32 with seed 0.
func TestMurmur3(t *testing.T) {
	for text, want := range map[string]uint32{
		"": 0, "hello": 0x248bfa47, "hello, world": 0x149bbb7f, "The quick brown fox jumps over the lazy dog": 0x2e4ff723,
		"test": 0xba6bd213, "Hello, world!": 0xc0363e43,
	} {
		if got := murmur3([]byte(text)); got != want {
			t.Errorf("%q: %08x, want %08x", text, got, want)
		}
	}
}

// The icon's hash is over base64 in lines of 76 characters, each ended.
func TestIconHash(t *testing.T) {
	for n, lines := range map[int]int{0: 0, 1: 1, 57: 1, 58: 2, 114: 2, 115: 3} {
		image := bytes.Repeat([]byte("x"), n)
		var b strings.Builder
		e := base64.StdEncoding.EncodeToString(image)
		for i := 0; i < len(e); i += 76 {
			b.WriteString(e[i:min(i+76, len(e))] + "\n")
		}
		if strings.Count(b.String(), "\n") != lines {
			t.Fatalf("%d bytes in %d lines", n, strings.Count(b.String(), "\n"))
		}
		if got, want := iconHash(image), fmt.Sprint(int32(murmur3([]byte(b.String())))); got != want {
			t.Errorf("%d bytes: %s, want %s", n, got, want)
		}
	}
}

func TestSameOrigin(t *testing.T) {
	f := func(target Target, secure bool, at, reference, want string) {
		t.Helper()
		if got, _ := target.sameOrigin(secure, at, reference); got != want {
			t.Errorf("%s from %s: %q, want %q", reference, at, got, want)
		}
	}
	ip := Target{Host: "192.0.2.1", Port: 80}
	f(ip, false, "/", "/login", "/login")
	f(ip, false, "/a/b", "c?d=1", "/a/c?d=1")
	f(ip, false, "/", "http://192.0.2.1/x", "/x")
	f(ip, false, "/", "http://192.0.2.1:80/x", "/x")
	f(ip, false, "/", "//192.0.2.1/x", "/x")
	f(ip, false, "/", "http://192.0.2.1:8080/x", "")
	f(ip, false, "/", "https://192.0.2.1/x", "")
	f(ip, false, "/", "http://192.0.2.2/x", "")
	f(ip, false, "/", "//192.0.2.2/x", "")
	f(ip, false, "/", "http://192.0.2.1@192.0.2.2/x", "")
	f(ip, false, "/", "http://u:p@192.0.2.1/x", "")
	f(ip, false, "/", "http://192.0.2.1.evil.example/x", "")
	f(ip, false, "/", "javascript:alert(1)", "")
	f(ip, false, "/", "", "")
	f(ip, false, "/", "http://[::1", "")
	f(ip, false, "/", "/"+strings.Repeat("x", 3000), "")
	f(ip, false, "/", "/a\r\nX: y", "")
	six := Target{Host: "2001:db8::1", Port: 8443, Name: "www.u1.example"}
	f(six, true, "/", "https://[2001:db8::1]:8443/x", "/x")
	f(six, true, "/", "https://www.u1.example:8443/x", "/x")
	f(six, true, "/", "https://WWW.u1.example:8443/x", "/x")
	f(six, true, "/", "https://www.u1.example/x", "")
}

func TestIconReference(t *testing.T) {
	f := func(page, want string) {
		t.Helper()
		if got := iconReference([]byte(page)); got != want {
			t.Errorf("%q: %q, want %q", page, got, want)
		}
	}
	f(`<link rel="icon" href="/a.png">`, "/a.png")
	f(`<LINK href='b.ico?x=1&amp;y=2' type=x rel='shortcut icon'>`, "b.ico?x=1&y=2")
	f(`<link rel=icon href=c.ico>`, "c.ico")
	f(`<link rel="stylesheet" href="icon.css"><link rel="icon" href="d.ico">`, "d.ico")
	f(`<link rel="stylesheet" href="icon.css">`, "")
	f(`<link rel="apple-touch-icon" href="e.png">`, "")
	f(``, "")
}

// A site as campuses have them: GBK without a word of it, the first page sends to
// another one, an icon of its own, headers that tell.
func TestPage(t *testing.T) {
	t.Parallel()
	icon := []byte("\x89PNG a picture")
	login, err := simplifiedchinese.GBK.NewEncoder().String(`<html><head><title>教务 管理系统</title><link rel="icon" href="img/i.png"></head>` +
		`<body><form action="/jsxsd/xk/LoginToXk"><input name=p type=password></form>欢迎</body></html>`)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := 0
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer other.Close()
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		w.Header().Set("Server", "Apache/2.2.15 (CentOS)")
		switch r.URL.Path {
		case "/":
			w.Header().Set("X-Powered-By", "PHP/5.3.3")
			http.Redirect(w, r, "/app/login", http.StatusFound)
		case "/app/login":
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, login)
		case "/app/img/i.png":
			_, _ = w.Write(icon)
		default:
			http.Redirect(w, r, other.URL, http.StatusFound)
		}
	}))
	defer server.Close()
	s, _ := identify(t, server.Listener.Addr().String())
	if s == nil || s.HTTP == nil {
		t.Fatalf("%+v", s)
	}
	if s.HTTP.Status != 302 || s.HTTP.Location != "/app/login" || s.HTTP.Title != "教务 管理系统" || !strings.Contains(s.HTTP.Body, "欢迎") || s.HTTP.IconHash != iconHash(icon) {
		t.Errorf("%+v", s.HTTP)
	}
	if !strings.HasPrefix(s.HTTP.Header, "HTTP/1.1 302 Found\r\n") || !strings.Contains(s.HTTP.Header, "X-Powered-By: PHP/5.3.3") {
		t.Errorf("%q", s.HTTP.Header)
	}
	var names []string
	for _, x := range s.Technologies {
		names = append(names, strings.TrimSpace(x.Name+" "+x.Version))
	}
	if got := strings.Join(names, ", "); got != "Apache HTTP Server 2.2.15, CentOS, PHP 5.3.3, 强智教务" {
		t.Errorf("%s", got)
	}
	var kinds []string
	for _, e := range s.Exposures {
		kinds = append(kinds, string(e.Kind))
	}
	if got := strings.Join(kinds, " "); got != "end_of_life end_of_life plain_login" {
		t.Errorf("%+v", s.Exposures)
	}
	if s.OS != "CentOS" || elsewhere > 0 || strings.Join(asked, " ") != "/ /app/login /app/img/i.png" {
		t.Errorf("on %q, %d requests elsewhere, %v", s.OS, elsewhere, asked)
	}
}

// A port that speaks TLS is found to, although HTTP is tried first there.
func TestTLSOnAPlainPort(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = quiet
	server.StartTLS()
	defer server.Close()
	s, err := Service(t.Context(), at("127.0.0.1", 8080, server.Listener.Addr().String()))
	if err != nil || s == nil || s.Name != "https" {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestHTTPExposures(t *testing.T) {
	f := func(name, answer string, want ...schemas.ExposureKind) {
		t.Helper()
		s := &schemas.Service{HTTP: &schemas.HTTP{}}
		p := answered(t, answer)
		s.HTTP.Header = string(p.head)
		p.api(s)
		p.exposures(s)
		(&Target{}).expose(s)
		var got []schemas.ExposureKind
		for _, e := range s.Exposures {
			got = append(got, e.Kind)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, want %v", name, s.Exposures, want)
		}
	}
	ok := "HTTP/1.1 200 OK\n\n"
	f("nginx lists", ok+"<html><head><title>Index of /backup/</title></head><body><a href=\"../\">../</a>", schemas.ExposureDirectoryListing)
	f("Python lists", ok+"<title>Directory listing for /</title><li><a href=\"x\">x</a>", schemas.ExposureDirectoryListing)
	f("Tomcat lists", ok+"<title>Directory Listing For [/]</title>", schemas.ExposureDirectoryListing)
	f("IIS lists", ok+"<title>192.0.2.1 - /files/</title><A HREF=\"/\">[To Parent Directory]</A>", schemas.ExposureDirectoryListing)
	f("a page about lists", ok+"<title>Index of the journal</title><a href=x>")
	f("a title with a slash", ok+"<title>Home - /</title>")
	f("forbidden list", "HTTP/1.1 403 Forbidden\n\n<title>Index of /</title><a href=x>")
	f("nginx's own", ok+"<title>Welcome to nginx!</title>", schemas.ExposureDefaultPage)
	f("Debian's Apache", ok+"<title>Apache2 Debian Default Page: It works</title>", schemas.ExposureDefaultPage)
	f("Apache's own", ok+"<html><body><h1>It works!</h1></body></html>", schemas.ExposureDefaultPage)
	f("IIS's own", ok+"<title>IIS Windows Server</title><img src=\"iisstart.png\">", schemas.ExposureDefaultPage)
	f("Tomcat's own", ok+"<title>Apache Tomcat/9.0.70</title><h2>If you're seeing this, you've successfully installed Tomcat. Congratulations!</h2>", schemas.ExposureDefaultPage)
	f("Tomcat's error", "HTTP/1.1 404 Not Found\n\n<title>Apache Tomcat/7.0.1 - Error report</title>")
	f("somebody's page", ok+"<title>Welcome to our school</title>")
	f("Basic", "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Basic realm=\"router\"\n\n", schemas.ExposurePlainLogin)
	f("Digest", "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: Digest realm=\"router\"\n\n")
	f("a form", ok+"<form><input id=\"p\" type=\"password\"></form>", schemas.ExposurePlainLogin)
	f("a search", ok+"<form><input type=\"text\" placeholder=\"password\"></form>")
	f("Elasticsearch", ok+`{"name":"n","cluster_name":"c","version":{"number":"7.17.9"},"tagline":"You Know, for Search"}`, schemas.ExposureNoAuth)
	f("Elasticsearch that asks", "HTTP/1.1 401 Unauthorized\nWWW-Authenticate: ApiKey\n\n"+`{"error":{"type":"security_exception"},"status":401}`)
	f("some JSON", ok+`{"version":{"number":"1"}}`)
}

// APIs that are asked for one thing more.
func TestAPIs(t *testing.T) {
	t.Parallel()
	f := func(port int, path, answer string, status int, root, product, version string, exposed bool) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch {
			case r.URL.Path == path:
				w.WriteHeader(status)
				_, _ = io.WriteString(w, answer)
			case r.URL.Path == "/" && root != "":
				w.WriteHeader(http.StatusNotFound)
				_, _ = io.WriteString(w, root)
			default:
				http.NotFound(w, r)
			}
		}))
		defer server.Close()
		s, err := Service(t.Context(), at("127.0.0.1", port, server.Listener.Addr().String()))
		if err != nil || s == nil {
			t.Fatalf("%d: %+v, %v", port, s, err)
		}
		if s.Product != product || s.Version != version || (len(s.Exposures) == 1 && s.Exposures[0].Kind == schemas.ExposureNoAuth) != exposed {
			t.Errorf("%d: %+v", port, s)
		}
	}
	f(2375, "/version", `{"Version":"24.0.7","ApiVersion":"1.43","Os":"linux"}`, 200, `{"message":"page not found"}`, "Docker", "24.0.7", true)
	f(12375, "/version", `{"Version":"24.0.7","ApiVersion":"1.43","Os":"linux"}`, 200, `{"message":"page not found"}`, "Docker", "24.0.7", true)
	f(2375, "/version", `{"message":"no"}`, 403, "", "", "", false)
	f(2379, "/version", `{"etcdserver":"3.5.9","etcdcluster":"3.5.0"}`, 200, "", "etcd", "3.5.9", false)
	f(6443, "/version", `{"gitVersion":"v1.28.2","platform":"linux/amd64"}`, 200, "", "Kubernetes", "1.28.2", false)
	f(10255, "/healthz", "ok", 200, "", "kubelet", "", true)
	f(10250, "/healthz", "Unauthorized", 401, "", "kubelet", "", false)
	f(10250, "/healthz", "<html>", 200, "", "", "", false)
}

// Answers that swell, or never end: bounded in bytes.
func TestHostilePages(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	for range 200 {
		_, _ = z.Write(make([]byte, 1<<20))
	}
	_ = z.Close()
	f := func(name string, serve func(http.ResponseWriter)) {
		t.Helper()
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { serve(w) }))
		defer server.Close()
		start := time.Now()
		s, _ := identify(t, server.Listener.Addr().String())
		if took := time.Since(start); took > maxDuration+maxDetails {
			t.Errorf("%s: took %v", name, took)
		}
		if s == nil || s.HTTP != nil && (len(s.HTTP.Body) > maxShown || len(s.HTTP.Header) > maxShown || len(s.HTTP.Title) > maxBanner) {
			t.Errorf("%s: %+v", name, s)
		}
		if s != nil && s.HTTP != nil && !utf8.ValidString(s.HTTP.Header+s.HTTP.Body+s.HTTP.Title) {
			t.Errorf("%s: no UTF-8", name)
		}
	}
	f("a gzip bomb", func(w http.ResponseWriter) {
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write(bomb.Bytes())
	})
	f("a page without end", func(w http.ResponseWriter) {
		for range 4 << 10 {
			if _, err := io.WriteString(w, strings.Repeat("<title>x<script src=a>", 50)); err != nil {
				return
			}
		}
	})
	f("a huge header", func(w http.ResponseWriter) { w.Header().Set("X", strings.Repeat("中", 20<<10)) })
	f("many headers", func(w http.ResponseWriter) {
		for i := range 1000 {
			w.Header().Set(fmt.Sprintf("X-%d", i), "\xff\x00\x1b")
		}
	})
	f("a redirect to itself", func(w http.ResponseWriter) { w.Header().Set("Location", "/"); w.WriteHeader(302) })
	f("an endless icon", func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "image/png")
		for range 1 << 10 {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	})
}

// A server that never finishes one thing, whatever is asked.
func TestTarpit(t *testing.T) {
	t.Parallel()
	f := func(name string, port int, begin string) {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			var conns []net.Conn
			for {
				c, err := l.Accept()
				if err != nil {
					break
				}
				conns = append(conns, c)
				_, _ = io.WriteString(c, begin)
			}
			<-stop
			for _, c := range conns {
				_ = c.Close()
			}
		}()
		start := time.Now()
		_, err = Service(t.Context(), at("127.0.0.1", port, l.Addr().String()))
		if took := time.Since(start); took > maxDuration+maxDetails+time.Second || err != nil {
			t.Errorf("%s: took %v, %v", name, took, err)
		}
		_ = l.Close()
		close(stop)
		<-done
	}
	f("ftp", 21, "220 (vsFTPd 3.0.3)\r\n")
	f("smtp", 25, "220 x ESMTP Postfix\r\n")
	f("imap", 143, "* OK Dovecot ready.\r\n")
	f("http", 80, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n<html>")
	f("tls", 443, "\x16\x03\x03\x40\x00\x02")
	f("vnc", 5900, "RFB 003.008\n")
	f("redis", 6379, "+PONG\r\n")
}
