package console

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"fengsui/internal/clickhouse"
	"fengsui/internal/store/storetest"
	"fengsui/registry"
	"fengsui/schemas"
)

var update = flag.Bool("update", false, "write openapi.json anew")

func TestMain(m *testing.M) {
	storetest.Main(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// station is a running console with what it stands on.
type station struct {
	t        *testing.T
	url      string
	registry *registry.Registry
	store    *clickhouse.DB
	log      *logBuffer
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// The units of the tests: a province with two cities, and a school in one.
var units = []schemas.Unit{
	{Code: "p", Name: "某省", Level: schemas.Province},
	{Code: "c1", Name: "甲市", Level: schemas.City, Parent: "p"},
	{Code: "c2", Name: "乙市", Level: schemas.City, Parent: "p"},
	{Code: "s1", Name: "甲市一中", Level: schemas.School, Parent: "c1"},
}

func newRegistry(t *testing.T) *registry.Registry {
	t.Helper()
	reg, err := registry.Open(t.Context(), filepath.Join(t.TempDir(), "registry.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reg.Close() })
	_, err = reg.Put(t.Context(), "test", &registry.Content{
		Units: units,
		Networks: []schemas.Network{
			{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Unit: "c1"},
			{Prefix: netip.MustParsePrefix("198.51.100.128/25"), Unit: "s1"},
			{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Unit: "c2"},
			{Prefix: netip.MustParsePrefix("198.51.100.64/28"), Unit: "c2"},
		},
		Domains: []schemas.Domain{
			{Name: "c1.example.edu.cn", Unit: "c1"},
			{Name: "c2.example.edu.cn", Unit: "c2"},
			{Name: "guest.lab.c1.example.edu.cn", Unit: "c2"},
		},
		Whitelist: []schemas.WhitelistEntry{
			{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("198.51.100.9/32"), Unit: "c1", Reason: "校园网站"},
			{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("203.0.113.9/32"), Unit: "c2"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return reg
}

// start runs a console. Without a store, what reads from it fails.
func start(t *testing.T, db *clickhouse.DB, change func(*Console)) *station {
	t.Helper()
	s := &station{t: t, registry: newRegistry(t), store: db, log: &logBuffer{}}
	if db == nil {
		cfg := clickhouse.DefaultConfig()
		cfg.Addr = "unix://" + filepath.Join(t.TempDir(), "nobody")
		var err error
		if s.store, err = clickhouse.Open(cfg); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.store.Close() })
	}
	cfg := DefaultConfig()
	cfg.Listen = "127.0.0.1:0"
	metrics := prometheus.NewRegistry()
	c, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(s.log, nil)), Metrics: metrics, Gatherer: metrics, Registry: s.registry, Store: s.store})
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(c)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	select {
	case <-c.Ready():
	case err := <-done:
		done <- nil
		t.Fatal(err)
	}
	s.url = strings.TrimSuffix(c.URL(), "/")
	return s
}

// openStore runs a store with the tables.
func openStore(t *testing.T) *clickhouse.DB {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = storetest.Start(t).Config.Addr()
	db, err := clickhouse.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := clickhouse.Migrate(t.Context(), db, clickhouse.DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	return db
}

// browser is somebody with cookies.
type browser struct {
	*station
	http   *http.Client
	header http.Header
}

func (s *station) browser() *browser {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	transport := &http.Transport{}
	s.t.Cleanup(transport.CloseIdleConnections)
	return &browser{s, &http.Client{Jar: jar, Transport: transport, Timeout: time.Minute}, http.Header{}}
}

const password = "a password of one's own"

// user is a browser that is logged in, with a password of its own.
func (s *station) user(name string, role registry.Role, unit string) *browser {
	s.t.Helper()
	oneTime, err := s.registry.ResetPassword(s.t.Context(), registry.User{Name: name, Role: role, Unit: unit})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.registry.ChangePassword(s.t.Context(), name, oneTime, password); err != nil {
		s.t.Fatal(err)
	}
	b := s.browser()
	b.do("POST", "/api/v1/login", map[string]string{"name": name, "password": password}, 200)
	return b
}

// answer is what the API answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a *answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%v in %s", err, a.body)
	}
}

func (b *browser) do(method, path string, body any, want int) *answer {
	b.t.Helper()
	var in io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			b.t.Fatal(err)
		}
		in = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.url+path, in)
	if err != nil {
		b.t.Fatal(err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, values := range b.header {
		req.Header[name] = values
	}
	if host := b.header.Get("Host"); host != "" {
		req.Host = host
	}
	res, err := b.http.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	if res.StatusCode != want {
		b.t.Fatalf("%s %s: status %d, want %d: %s\nlog: %s", method, path, res.StatusCode, want, text, b.log)
	}
	return &answer{res.StatusCode, res.Header, text}
}

// refused calls the API and wants a problem with the code.
func (b *browser) refused(method, path string, body any, status int, code string) *Problem {
	b.t.Helper()
	a := b.do(method, path, body, status)
	var p Problem
	a.into(b.t, &p)
	if p.Code != code || p.Status != status || !strings.HasPrefix(a.header.Get("Content-Type"), "application/problem+json") {
		b.t.Fatalf("%s %s: %s (%s), want code %s", method, path, a.body, a.header.Get("Content-Type"), code)
	}
	return &p
}

func TestDescription(t *testing.T) {
	s := start(t, nil, nil)
	got := s.browser().do("GET", "/openapi.json", nil, 200).body
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, got, "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile("openapi.json", pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(pretty.Bytes(), want) {
		t.Error("openapi.json is not what the handlers are: go test ./console -run TestDescription -update")
	}
	if yaml := s.browser().do("GET", "/openapi.yaml", nil, 200).body; !bytes.Contains(yaml, []byte("openapi: 3.1")) {
		t.Errorf("openapi.yaml: %.100s", yaml)
	}
}

// Every operation that is described wants a login, whoever adds one.
func TestEveryOperationWantsALogin(t *testing.T) {
	s := start(t, nil, nil)
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	s.browser().do("GET", "/openapi.json", nil, 200).into(t, &doc)
	oneTime, err := s.registry.ResetPassword(t.Context(), registry.User{Name: "new", Role: registry.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	fresh := s.browser()
	fresh.do("POST", "/api/v1/login", map[string]string{"name": "new", "password": oneTime}, 200)
	body := map[string]any{"old": "x", "new": "123456789012", "kind": "domain", "domain": "x.example.edu.cn", "unit": "p"}
	seen := 0
	for path, methods := range doc.Paths {
		for method := range methods {
			seen++
			method = strings.ToUpper(method)
			if path == "/api/v1/login" {
				continue
			}
			s.browser().refused(method, path+"?key=x", body, 401, codeLogin)
			forged := s.browser()
			forged.header.Set("Cookie", "fengsui=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
			forged.refused(method, path+"?key=x", body, 401, codeLogin)
			switch path {
			case "/api/v1/me", "/api/v1/logout", "/api/v1/password":
			default:
				fresh.refused(method, path+"?key=x", body, 403, codeOneTime)
			}
		}
	}
	if seen < 15 {
		t.Errorf("%d operations are described", seen)
	}
	s.browser().refused("GET", "/api/v1/nothing", nil, 404, codeNotFound)
	s.browser().refused("GET", "/api/", nil, 404, codeNotFound)
}

func TestPassword(t *testing.T) {
	s := start(t, nil, nil)
	oneTime, err := s.registry.EnsureAdmin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b, other := s.browser(), s.browser()
	login := map[string]string{"name": "admin", "password": oneTime}
	b.refused("POST", "/api/v1/login", map[string]string{"name": "admin", "password": "wrong"}, 401, codeWrongPassword)
	b.refused("POST", "/api/v1/login", map[string]string{"name": "nobody", "password": "wrong"}, 401, codeWrongPassword)
	var me Me
	a := b.do("POST", "/api/v1/login", login, 200)
	a.into(t, &me)
	if (me != Me{Name: "admin", Role: "admin", OneTime: true}) {
		t.Errorf("me is %+v", me)
	}
	cookie := a.header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=/"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("cookie %q has no %s", cookie, want)
		}
	}
	other.do("POST", "/api/v1/login", login, 200)
	b.refused("GET", "/api/v1/units", nil, 403, codeOneTime)
	change := func(old, chosen string) map[string]string { return map[string]string{"old": old, "new": chosen} }
	b.refused("POST", "/api/v1/password", change(oneTime, "short"), 422, codeInvalid)
	b.refused("POST", "/api/v1/password", change(oneTime, oneTime), 422, codeInvalid)
	b.refused("POST", "/api/v1/password", change("wrong", password), 422, codeWrongPassword)
	before := b.http.Jar.Cookies(mustURL(t, s.url))[0].Value
	b.do("POST", "/api/v1/password", change(oneTime, password), 200).into(t, &me)
	if me.OneTime {
		t.Error("the password is one-time after its change")
	}
	if b.http.Jar.Cookies(mustURL(t, s.url))[0].Value == before {
		t.Error("the session's token is what it was before")
	}
	b.do("GET", "/api/v1/units", nil, 200)
	other.refused("GET", "/api/v1/me", nil, 401, codeLogin) // the session from before the change
	b.do("POST", "/api/v1/logout", nil, 204)
	b.refused("GET", "/api/v1/me", nil, 401, codeLogin)
	for _, want := range []string{"audit=login", "audit=password", "audit=logout", "user=admin"} {
		if !strings.Contains(s.log.String(), want) {
			t.Errorf("the log has no %s", want)
		}
	}
	if strings.Contains(s.log.String(), password) || strings.Contains(s.log.String(), oneTime) {
		t.Error("the log has a password")
	}
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// A password that is reset ends what was open with the former one.
func TestResetEndsSessions(t *testing.T) {
	s := start(t, nil, nil)
	b := s.user("analyst", registry.RoleAnalyst, "")
	b.do("GET", "/api/v1/units", nil, 200)
	if _, err := s.registry.ResetPassword(t.Context(), registry.User{Name: "analyst"}); err != nil {
		t.Fatal(err)
	}
	b.refused("GET", "/api/v1/units", nil, 403, codeOneTime)
}

func TestSessionsEnd(t *testing.T) {
	s := start(t, nil, func(c *Console) { c.sessions.IdleTimeout = 300 * time.Millisecond })
	b := s.user("analyst", registry.RoleAnalyst, "")
	deadline := time.Now().Add(20 * time.Second)
	for b.status("/api/v1/me") != 401 {
		if time.Now().After(deadline) {
			t.Fatal("an idle session has not ended")
		}
		time.Sleep(600 * time.Millisecond)
	}
}

func (b *browser) status(path string) int {
	b.t.Helper()
	res, err := b.http.Get(b.url + path)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = res.Body.Close()
	return res.StatusCode
}

func TestAttemptsAreBounded(t *testing.T) {
	s := start(t, nil, func(c *Console) { c.attempts.every = time.Hour })
	oneTime, err := s.registry.EnsureAdmin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b := s.browser()
	wrong := func(name string, status int, code string) {
		t.Helper()
		b.refused("POST", "/api/v1/login", map[string]string{"name": name, "password": "wrong"}, status, code)
	}
	for range attemptsByName {
		wrong("admin", 401, codeWrongPassword)
	}
	wrong("admin", 429, codeTooMany)
	// Not even with the right one: else trying on would pay.
	b.refused("POST", "/api/v1/login", map[string]string{"name": "admin", "password": oneTime}, 429, codeTooMany)
	left := attemptsByAddress - attemptsByName - 2 // all of them came from here
	for i := range left {
		wrong(fmt.Sprint("name", i), 401, codeWrongPassword)
	}
	// Another name does not help, nor a header that claims another address.
	b.header.Set("X-Forwarded-For", "203.0.113.77")
	wrong("one more", 429, codeTooMany)
}

func TestOtherSites(t *testing.T) {
	s := start(t, nil, nil)
	b := s.user("admin", registry.RoleAdmin, "")
	entry := map[string]any{"kind": "domain", "domain": "x.example.edu.cn", "unit": "p"}
	f := func(name, value string, status int, code string) {
		t.Helper()
		b.header = http.Header{name: {value}}
		if code == "" {
			b.do("PUT", "/api/v1/whitelist", entry, status)
			return
		}
		b.refused("PUT", "/api/v1/whitelist", entry, status, code)
	}
	f("Sec-Fetch-Site", "cross-site", 403, codeOrigin)
	f("Sec-Fetch-Site", "same-site", 403, codeOrigin)
	f("Sec-Fetch-Site", "same-origin", 200, "")
	f("Origin", "https://evil.example", 403, codeOrigin)
	f("Origin", "null", 403, codeOrigin)
	f("Origin", s.url, 200, "")
	f("Host", "rebound.example", 421, codeHost)
	f("Host", "rebound.example:8088", 421, codeHost)
	f("Content-Type", "text/plain", 415, codeInvalid)
	for _, host := range []string{"localhost:8088", "[::1]:8088", "127.0.0.1"} {
		b.header = http.Header{"Host": {host}}
		b.do("GET", "/healthz", nil, 200)
	}
}

func TestHeaders(t *testing.T) {
	s := start(t, nil, nil)
	for _, path := range []string{"/", "/healthz", "/api/v1/me", "/nothing"} {
		res, err := s.browser().http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		h := res.Header
		if !strings.Contains(h.Get("Content-Security-Policy"), "script-src 'self';") || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: headers %v", path, h)
		}
		if strings.HasPrefix(path, "/api/") && h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", path, h.Get("Cache-Control"))
		}
	}
	s.browser().do("GET", "/metrics", nil, 200) // from loopback
	big := map[string]string{"name": "admin", "password": strings.Repeat("x", maxBody)}
	s.browser().refused("POST", "/api/v1/login", big, 413, codeInvalid)
}

func TestStoreAway(t *testing.T) {
	s := start(t, nil, nil)
	b := s.user("analyst", registry.RoleAnalyst, "")
	for _, path := range []string{"alerts", "mining", "assets", "drift", "events", "counts"} {
		p := b.refused("GET", "/api/v1/"+path, nil, 503, codeStore)
		if strings.Contains(p.Detail, "nobody") || strings.Contains(p.Detail, "SELECT") {
			t.Errorf("%s: %s", path, p.Detail)
		}
	}
	if !strings.Contains(s.log.String(), "reading from the store failed") {
		t.Error("the log does not say what failed")
	}
}
