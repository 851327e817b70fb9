package identify

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wappalyzer "github.com/projectdiscovery/wappalyzergo"
	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// answered is a page as a server would have answered it.
func answered(t testing.TB, text string) *page {
	t.Helper()
	head, body, found := strings.Cut(text, "\n\n")
	if !found {
		t.Fatalf("no head: %q", text)
	}
	head = strings.ReplaceAll(head, "\n", "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(head+"\r\n\r\n"+body)), nil)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &page{status: resp.StatusCode, header: resp.Header, head: []byte(head), body: b, text: decode(b, resp.Header.Get("Content-Type")), whole: true}
}

// Every product of our table is found in its sample, and nothing of the table in
// what is near to one.
func TestKnownProducts(t *testing.T) {
	b, err := os.ReadFile("testdata/technologies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var samples []struct{ Is, Version, Answer string }
	if err := yaml.Unmarshal(b, &samples); err != nil {
		t.Fatal(err)
	}
	ours := map[string]bool{}
	for _, k := range knownProducts {
		if k.Name == "" || k.Source == "" || len(k.When) == 0 || ours[k.Name] {
			t.Errorf("badly described: %+v", k)
		}
		for _, w := range k.When {
			if w == (sign{}) {
				t.Errorf("%s: a sign that everything has", k.Name)
			}
		}
		ours[k.Name] = false
	}
	silent := 0
	for _, s := range samples {
		var found []string
		for _, x := range technologies(answered(t, s.Answer)) {
			if _, mine := ours[x.Name]; !mine {
				continue
			}
			found = append(found, x.Name)
			if x.Name == s.Is && x.Version != s.Version {
				t.Errorf("%s: version %q, want %q", s.Is, x.Version, s.Version)
			}
		}
		if s.Is == "" {
			silent++
			if len(found) > 0 {
				t.Errorf("%v is seen in\n%s", found, s.Answer)
			}
			continue
		}
		ours[s.Is] = true
		if !slices.Equal(found, []string{s.Is}) {
			t.Errorf("%s: %v", s.Is, found)
		}
	}
	for name, sampled := range ours {
		if !sampled {
			t.Errorf("%s has no sample", name)
		}
	}
	if silent < 5 || len(ours) < 60 {
		t.Errorf("%d products, %d samples of none", len(ours), silent)
	}
}

func TestTechnologies(t *testing.T) {
	f := func(answer, want string) {
		t.Helper()
		var got []string
		for _, x := range technologies(answered(t, answer)) {
			got = append(got, strings.TrimSuffix(x.Name+" "+x.Version, " "))
		}
		if s := strings.Join(got, ", "); s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
	f("HTTP/1.1 200 OK\nServer: Apache/2.4.6 (CentOS) OpenSSL/1.0.2k-fips PHP/5.4.16\nX-Powered-By: PHP/5.4.16\n\n<html></html>",
		"Apache HTTP Server 2.4.6, CentOS, OpenSSL 1.0.2k-fips, PHP 5.4.16")
	f("HTTP/1.1 200 OK\nServer: nginx/1.22.1\n\n<script src=\"/js/jquery-3.5.1.min.js\"></script>", "jQuery 3.5.1, Nginx 1.22.1")
	f("HTTP/1.1 200 OK\nServer: nginx\n\nhello", "Nginx")
	f("HTTP/1.1 200 OK\nContent-Type: text/plain\n\nhello", "")
}

// wappalyzergo itself is the oracle: on every sample both find the same, but for
// what it calls a cookie.
func TestBesideWappalyzergo(t *testing.T) {
	oracle, err := wappalyzer.New()
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("testdata/technologies.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var samples []struct{ Answer string }
	if err := yaml.Unmarshal(b, &samples); err != nil {
		t.Fatal(err)
	}
	pages := []string{
		"<script src=\"/wp-includes/js/jquery/jquery.min.js?ver=3.7.1\"></script><meta name=\"generator\" content=\"WordPress 6.4.2\"><link rel='stylesheet' href='/wp-content/themes/x.css'>",
		"<meta name=\"generator\" content=\"Drupal 9 (https://www.drupal.org)\"><script src=\"/core/misc/drupal.js?v=9.5.0\"></script>",
		"<script src=\"https://cdn.example/vue@2.6.14/dist/vue.min.js\"></script><script src=\"/static/js/bootstrap.min.js\"></script><link href=\"/bootstrap-4.6.0/css/bootstrap.min.css\">",
		"<html><body>Powered by <a href=\"http://www.discuz.net\">Discuz!</a> <strong>X3.4</strong><meta name=\"generator\" content=\"Discuz! X3.4\"></body></html>",
		"<div id=\"app\" data-v-app></div><script src=\"/assets/element-ui/lib/index.js\"></script><script>window.__NUXT__={}</script>",
	}
	for _, p := range pages {
		samples = append(samples, struct{ Answer string }{"HTTP/1.1 200 OK\nServer: nginx/1.20.1\nX-Powered-By: PHP/7.4.33\nContent-Type: text/html\n\n" + p})
	}
	found := 0
	for _, s := range samples {
		p := answered(t, s.Answer)
		want := map[string]bool{}
		for k := range oracle.Fingerprint(p.header, p.text) {
			name, _, _ := strings.Cut(k, ":")
			want[name] = true
		}
		got := map[string]bool{}
		for _, x := range fingerprint(p.header, p.text) {
			got[x.Name] = true
		}
		found += len(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("wappalyzergo-, ours+:\n%s\n%s", diff, s.Answer)
		}
	}
	if found < 15 {
		t.Errorf("only %d", found)
	}
}

// Icons by hashes that FOFA and Shodan publish.
func TestKnownByIcon(t *testing.T) {
	for hash, want := range map[string]string{"116323821": "Spring Boot", "1085941792": "用友 NC", "0": ""} {
		got := ""
		for _, x := range byIcon(hash) {
			got += x.Name
		}
		if got != want {
			t.Errorf("%s: %q, want %q", hash, got, want)
		}
	}
}

func TestAges(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f := func(s schemas.Service, now time.Time, want ...string) {
		t.Helper()
		exposeAge(&s, now)
		var got []string
		for _, e := range s.Exposures {
			if e.Kind != schemas.ExposureEndOfLife {
				t.Errorf("%+v", e)
			}
			what, _, _ := strings.Cut(e.Evidence, ":")
			got = append(got, what)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s %s on %q: %q, want %q", s.Product, s.Version, s.OS, got, want)
		}
	}
	f(schemas.Service{Product: "OpenSSH", Version: "7.4"}, now, "OpenSSH 7.4")
	f(schemas.Service{Product: "OpenSSH", Version: "9.2p1"}, now)
	f(schemas.Service{Product: "OpenSSH", Version: "7.9p1", OS: "Debian 10"}, now, "Debian 10")
	f(schemas.Service{Product: "OpenSSH", Version: "7.9p1", OS: "Debian 13"}, now)
	f(schemas.Service{Product: "OpenSSH", Version: "7.6p1", OS: "Ubuntu"}, now) // whose age it does not tell
	f(schemas.Service{Product: "nginx", Version: "1.24.0"}, now, "nginx 1.24.0")
	f(schemas.Service{Product: "nginx", Version: "1.24.0"}, time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC))
	f(schemas.Service{Product: "nginx", Version: "1.24.0"}, time.Time{}) // nobody said what day it is
	f(schemas.Service{Product: "nginx", Version: ""}, now)
	f(schemas.Service{Product: "nginx", Version: "mainline"}, now)
	f(schemas.Service{Product: "MySQL", Version: "5.7.44"}, now, "MySQL 5.7.44")
	f(schemas.Service{Product: "MariaDB", Version: "10.11.6"}, now)
	f(schemas.Service{Product: "Microsoft-IIS", Version: "8.5", OS: "Windows"}, now, "Microsoft-IIS 8.5")
	f(schemas.Service{Product: "Microsoft-IIS", Version: "10.0", OS: "Windows"}, now)
	f(schemas.Service{Technologies: []schemas.Technology{{Name: "PHP", Version: "5.4.16"}, {Name: "jQuery", Version: "1.4"}}}, now, "PHP 5.4.16")
}

// The table itself: ranges in order, days that make sense, every line with its
// source.
func TestAgesAreInOrder(t *testing.T) {
	last := map[string][]int{}
	for _, l := range lives {
		if len(l.Product) == 0 || l.Source == "" || l.Ended.Year() < 2005 || l.Ended.Year() > 2030 || versionOf(l.Below) == nil {
			t.Fatalf("badly described: %+v", l)
		}
		name := l.Product[0]
		if from := versionOf(l.From); from == nil && last[name] != nil || from != nil && slices.Compare(from, versionOf(l.Below)) >= 0 || slices.Compare(from, last[name]) < 0 {
			t.Errorf("%s from %q below %q comes too late", name, l.From, l.Below)
		}
		last[name] = versionOf(l.Below)
	}
	for _, name := range []string{"OpenSSH", "nginx", "Apache", "PHP", "Apache Tomcat", "MySQL", "MariaDB", "PostgreSQL", "Redis", "BIND", "Microsoft-IIS", "Exim"} {
		if last[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func BenchmarkTechnologies(b *testing.B) {
	text := "HTTP/1.1 200 OK\nServer: nginx/1.22.1\nSet-Cookie: JSESSIONID=1; path=/\n\n<html><head><title>示例大学</title></head><body>" +
		strings.Repeat(`<div class="news"><a href="/info/1001/2345.htm" target="_blank">关于示例的通知</a><span>2026-03-01</span></div>`+"\n", 560) + "</body></html>"
	p := answered(b, text)
	b.SetBytes(int64(len(p.text)))
	technologies(p) // compiles
	for b.Loop() {
		technologies(p)
	}
}

func BenchmarkTechnologiesOfScript(b *testing.B) {
	p := answered(b, "HTTP/1.1 200 OK\n\n"+strings.Repeat(`<script src="/a.js?v=1.2.3"></script><meta name="generator" content="x 1.2">`, 800))
	b.SetBytes(int64(len(p.text)))
	for b.Loop() {
		technologies(p)
	}
}

func FuzzTechnologies(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nServer: x\r\n\r\n<title>x</title>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
		if err != nil {
			return
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxBody))
		p := &page{status: resp.StatusCode, header: resp.Header, head: b, body: body, text: decode(body, resp.Header.Get("Content-Type"))}
		found := technologies(p)
		if len(found) > maxTechnologies {
			t.Fatalf("%d technologies", len(found))
		}
		for i, x := range found {
			if x.Name == "" || len(x.Version) > maxVersion || i > 0 && strings.ToLower(found[i-1].Name) > strings.ToLower(x.Name) {
				t.Fatalf("%+v", found)
			}
		}
		s := &schemas.Service{HTTP: &schemas.HTTP{}}
		p.exposures(s)
		p.api(s)
		_ = iconReference(p.text)
		for _, e := range s.Exposures {
			if len(e.Evidence) > maxEvidence {
				t.Fatalf("%q", e.Evidence)
			}
		}
	})
}
