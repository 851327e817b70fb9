package http

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "0123456789abcdef-campus"

func open(change func(*Config)) Config {
	cfg := Config{Listen: "127.0.0.1:0", Tokens: []Token{{Unit: "410105", Secret: secret}}}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// server is an input that runs, with a client.
type server struct {
	*Input
	t      testing.TB
	sink   *listentest.Sink
	client *http.Client
	url    string
	stop   func()
}

func serve(t testing.TB, cfg Config) *server {
	t.Helper()
	in, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Input: in, t: t, sink: &listentest.Sink{}}
	s.stop = listentest.Start(t, in, s.sink)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.client, s.url = &http.Client{Transport: transport, Timeout: 30 * time.Second}, "http://"+in.Addrs()[0].String()
	return s
}

// do sends a request with the token, and returns the answer.
func (s *server) do(method, path string, body []byte, header ...string) (status int, answer string, h http.Header) {
	s.t.Helper()
	r, err := http.NewRequest(method, s.url+path, bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, strings.TrimSpace(string(b)), resp.Header
}

// values are the sink's lines from the given one on.
func (s *server) values(from int) (v []string) {
	for _, l := range s.sink.Lines()[from:] {
		v = append(v, string(l.Value))
	}
	return v
}

// balanced checks that everything that was held was given back.
func (s *server) balanced() {
	s.t.Helper()
	listentest.Eventually(s.t, "all memory is given back", func() bool { return s.memory.Left() == s.cfg.Memory && len(s.slots) == 0 })
}

// TestLines sends text in each encoding.
func TestLines(t *testing.T) {
	s := serve(t, open(nil))
	body := []byte("{\"a\":1}\n\n<38>a line\r\n烽燧")
	f := func(encoding string, encode func(io.Writer) io.WriteCloser) {
		t.Helper()
		before := len(s.sink.Lines())
		var b bytes.Buffer
		w := encode(&b)
		_, _ = w.Write(body)
		_ = w.Close()
		if status, answer, _ := s.do("POST", "/logs", b.Bytes(), "Content-Encoding", encoding); status != 204 {
			t.Fatalf("%s: %d %s", encoding, status, answer)
		}
		if got := fmt.Sprintf("%q", s.values(before)); got != `["{\"a\":1}" "<38>a line" "烽燧"]` {
			t.Errorf("%s: %s", encoding, got)
		}
	}
	f("identity", func(w io.Writer) io.WriteCloser { return plain{w} })
	f("gzip", func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) })
	f("deflate", func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) })
	f("deflate", func(w io.Writer) io.WriteCloser { z, _ := flate.NewWriter(w, 6); return z })
	f("zstd", func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z })
	l := s.sink.Lines()[0]
	if l.Unit != "410105" || l.Source != "127.0.0.1" || l.Format != "" || l.Reject != "" || time.Since(l.Received) > time.Minute {
		t.Errorf("%+v", l)
	}
	s.balanced()
}

type plain struct{ io.Writer }

func (plain) Close() error { return nil }

// TestTokens tries each form of authorization.
func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("of-a-file-0123456789\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TEST_TOKEN", "of-the-environment-0")
	s := serve(t, open(func(c *Config) {
		c.Tokens = append(c.Tokens, Token{Unit: "410106", SecretFile: file}, Token{SecretEnv: "TEST_TOKEN"})
	}))
	b64 := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	f := func(authorization, unit string, ok bool) {
		t.Helper()
		before := len(s.sink.Lines())
		status, _, h := s.do("POST", "/logs", []byte("x"), "Authorization", authorization)
		lines := s.sink.Lines()[before:]
		if ok && (status != 204 || len(lines) != 1 || lines[0].Unit != unit) || !ok && (status != 401 || len(lines) != 0 || h.Get("WWW-Authenticate") == "") {
			t.Errorf("%s: %d %+v", authorization, status, lines)
		}
	}
	f("Bearer "+secret, "410105", true)
	f("bearer of-a-file-0123456789", "410106", true)
	f("Splunk of-the-environment-0", "", true)
	f("ApiKey "+secret, "410105", true)
	f("ApiKey "+b64("an-id:"+secret), "410105", true)
	f("Basic "+b64("anybody:"+secret), "410105", true)
	f("Basic "+b64(secret+":"), "", false)
	f("Bearer "+secret[:22], "", false)
	f("Bearer "+secret+"x", "", false)
	f("Digest "+secret, "", false)
	f("Bearer", "", false)
	f("", "", false)
}

func TestAnonymous(t *testing.T) {
	s := serve(t, open(func(c *Config) { c.Anonymous = true }))
	f := func(authorization string, want int) {
		t.Helper()
		if got, _, _ := s.do("POST", "/logs", []byte("x"), "Authorization", authorization); got != want {
			t.Errorf("%q: %d", authorization, got)
		}
	}
	f("", 204)
	f("Bearer "+secret, 204)
	f("Bearer wrong", 401)
	if got := s.sink.Lines(); got[0].Unit != "" || got[1].Unit != "410105" {
		t.Errorf("%+v", got)
	}
}

// TestBulk looks at the answer to each action.
func TestBulk(t *testing.T) {
	s := serve(t, open(nil))
	status, answer, h := s.do("POST", "/logs-campus/_bulk?filter_path=errors", []byte(`{"index":{}}
{"n":1}
{"create":{"_index":"other","_id":"a\"b"}}
{"n":2}
{"delete":{"_id":"3"}}
{"update":{"_id":"4"}}
{"doc":{}}
{ "create" : { } }
{"n":5}`))
	var got struct {
		Errors bool
		Items  []map[string]struct {
			Index  string `json:"_index"`
			ID     string `json:"_id"`
			Status int
			Error  map[string]string
		}
	}
	if err := json.Unmarshal([]byte(answer), &got); err != nil || status != 200 || !got.Errors || len(got.Items) != 5 || h.Get("X-Elastic-Product") != "Elasticsearch" {
		t.Fatalf("%d %v %s", status, err, answer)
	}
	for i, want := range []struct {
		action, index, id string
		status            int
	}{{"index", "logs-campus", "", 201}, {"create", "other", `a"b`, 201}, {"delete", "logs-campus", "3", 400}, {"update", "logs-campus", "4", 400}, {"create", "logs-campus", "", 201}} {
		it, ok := got.Items[i][want.action]
		if !ok || it.Index != want.index || it.Status != want.status || want.id != "" && it.ID != want.id || it.ID == "" || (it.Error["type"] != "") != (want.status != 201) {
			t.Errorf("item %d: %+v", i, got.Items[i])
		}
	}
	if v := fmt.Sprint(s.values(0)); v != `[{"n":1} {"n":2} {"n":5}]` {
		t.Error(v)
	}

	before := len(s.sink.Lines())
	f := func(path, body string, want int, says string) {
		t.Helper()
		status, answer, h := s.do("POST", path, []byte(body))
		if status != want || !strings.Contains(answer, says) || h.Get("X-Elastic-Product") == "" {
			t.Errorf("%q: %d %s", body, status, answer)
		}
	}
	f("/_bulk", "{\"index\":{}}\n{\"n\":1}\nnonsense\n{}\n", 400, `Malformed action/metadata line [3]`)
	f("/_bulk", "{\"index\":{}}\n{\"n\":1}\n{\"index\":{}}\n", 400, `line [3] is missing`)
	f("/_bulk", "{\"index\":{},\"create\":{}}\n{}\n", 400, "Malformed")
	f("/_bulk", "{\"index\":1}\n{}\n", 400, "Malformed")
	f("/_bulk", "", 400, "required")
	f("/_bulk", "{\"delete\":{}}\n", 200, `"errors":true`)
	if n := len(s.sink.Lines()) - before; n != 0 {
		t.Errorf("%d lines of malformed requests", n)
	}
	f("/logs/_doc", "{\"n\":\n6}", 201, `"result":"created"`)
	if got := s.values(before); len(got) != 1 || got[0] != `{"n":6}` {
		t.Errorf("%q", got)
	}
	s.balanced()
}

// TestElasticStart asks what shippers ask before they send.
func TestElasticStart(t *testing.T) {
	s := serve(t, open(nil))
	f := func(method, path string, want int, says string) {
		t.Helper()
		status, answer, h := s.do(method, path, nil)
		if status != want || !strings.Contains(answer, says) || h.Get("X-Elastic-Product") != "Elasticsearch" {
			t.Errorf("%s %s: %d %s", method, path, status, answer)
		}
	}
	f("GET", "/", 200, `"tagline":"You Know, for Search"`)
	f("GET", "/", 200, `"number":"8.17.0"`)
	f("HEAD", "/", 200, "")
	f("GET", "/_license?human=false", 200, `"status":"active"`)
	f("GET", "/_xpack", 200, `"ilm"`)
	f("GET", "/_cluster/health", 200, `"green"`)
	f("GET", "/_cat/health", 200, "green")
	f("HEAD", "/_index_template/filebeat-8.17.0", 200, "")
	f("PUT", "/_index_template/filebeat-8.17.0", 200, `"acknowledged":true`)
	f("GET", "/_ilm/policy/filebeat", 200, "{}")
	f("PUT", "/_ilm/policy/filebeat", 200, `"acknowledged":true`)
	f("PUT", "/_template/logstash", 200, `"acknowledged":true`)
	f("HEAD", "/_alias/filebeat-8", 200, "")
	f("PUT", "/filebeat-8-000001", 200, `"acknowledged":true`)
	f("PUT", "/_ingest/pipeline/p", 200, `"acknowledged":true`)
	f("GET", "/_search", 404, "nothing here")
	f("POST", "/logs/_search", 404, "nothing here")
	f("GET", "/_bulk", 405, "neither POST nor PUT")
	if status, _, _ := s.do("GET", "/", nil, "Authorization", "Bearer wrong"); status != 401 {
		t.Errorf("a wrong token: %d", status)
	}
}

// TestHEC sends what Splunk's clients send.
func TestHEC(t *testing.T) {
	s := serve(t, open(nil))
	f := func(path, body string, want int, says string, lines ...string) {
		t.Helper()
		before := len(s.sink.Lines())
		status, answer, _ := s.do("POST", path, []byte(body), "Authorization", "Splunk "+secret)
		if got := s.values(before); status != want || !strings.Contains(answer, says) || fmt.Sprintf("%q", got) != fmt.Sprintf("%q", lines) {
			t.Errorf("%s:\n%d %s\n got %q\nwant %q", body, status, answer, got, lines)
		}
	}
	const ok = `{"code":0,"text":"Success"}`
	f("/services/collector", `{"event":"<38>a \"line\"","host":"gate","time":1763781047.5}`, 200, ok, `<38>a "line"`)
	if got := s.sink.Lines()[0]; got.Source != "gate" {
		t.Errorf("source %q", got.Source)
	}
	f("/services/collector/event", `{"event":{"a":"}{","b":[1]},"host":"gate","time":"1763781047.123","source":"s","fields":{"x":"1"}}{"event":{}}
		{"event":{"host":"own","time":1},"host":"h","time":2}`, 200, ok,
		`{"a":"}{","b":[1],"@timestamp":"2025-11-22T03:10:47.123Z","host.name":"gate","labels":{"x":"1"},"splunk.source":"s"}`, `{}`,
		`{"host":"own","time":1}`)
	f("/services/collector/event/1.0", `{"event":{"n":1},"time":1763781047123}`, 200, ok, `{"n":1,"@timestamp":"2025-11-22T03:10:47.123Z"}`)
	f("/services/collector/event", `{"event":17}`, 200, ok, `17`)
	f("/services/collector/raw?host=fw", "one\ntwo\n", 200, ok, "one", "two")
	f("/services/collector", ``, 400, `"code":5`)
	f("/services/collector", `{"event":"x"}{"event":`, 400, `"code":6,"invalid-event-number":1`)
	f("/services/collector", `{"event":"x"} nonsense`, 400, `"code":6`)
	f("/services/collector", `{"time":1}`, 400, `"code":12`)
	f("/services/collector", `{"event":""}`, 400, `"code":13`)
	f("/services/collector/event?channel=c", `{"event":"x"}`, 200, `"ackId":1,`, "x")
	f("/services/collector/ack?channel=c", `{"acks":[1,77]}`, 200, `{"acks":{"1":true,"77":false}}`)
	g := func(authorization, path, method string, want int, says string) {
		t.Helper()
		if status, answer, _ := s.do(method, path, []byte(`{"event":1}`), "Authorization", authorization); status != want || !strings.Contains(answer, says) {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
	g("", "/services/collector/health", "GET", 200, `"code":17`)
	g("", "/services/collector", "POST", 401, `"code":2`)
	g("Splunk wrong", "/services/collector", "POST", 403, `"code":4`)
	s.balanced()
}

// TestFull: a collector without room says so, in each dialect's words, and takes
// nothing; one that cannot store says that it is not sure.
func TestFull(t *testing.T) {
	s := serve(t, open(func(c *Config) { c.Wait = 150 * time.Millisecond }))
	all := func(want int, hec int) {
		t.Helper()
		for _, r := range []struct {
			path, body string
			want       int
		}{{"/logs", "x", want}, {"/_bulk", "{\"index\":{}}\n{}\n", want}, {"/services/collector", `{"event":"x"}`, hec}, {"/v1/logs", "\x0a\x04\x12\x02\x12\x00", want}} {
			status, answer, h := s.do("POST", r.path, []byte(r.body))
			if status != r.want || h.Get("Retry-After") == "" {
				t.Errorf("%s: %d %s", r.path, status, answer)
			}
		}
	}
	s.sink.Full(true)
	all(429, 503)
	if n := len(s.sink.Lines()); n != 0 {
		t.Errorf("%d lines", n)
	}
	s.balanced()
	s.sink.Full(false)
	s.sink.Slow(true)
	all(503, 503)
	if s.memory.Left() == s.cfg.Memory {
		t.Error("what is not stored yet holds no memory")
	}
	s.sink.Slow(false)
	s.balanced()
}

// TestAnswerWaits: no answer before the lines are durable, and one at once then.
func TestAnswerWaits(t *testing.T) {
	s := serve(t, open(nil))
	s.sink.Slow(true)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := s.do("POST", "/logs", []byte("x"))
		answered <- status
	}()
	listentest.Eventually(t, "the line is there", func() bool { return len(s.sink.Lines()) == 1 })
	select {
	case status := <-answered:
		t.Fatalf("answered %d before the line was durable", status)
	case <-time.After(50 * time.Millisecond):
	}
	s.sink.Slow(false)
	if status := <-answered; status != 204 {
		t.Error(status)
	}
}

// TestStop stops while a request waits: it is told that nothing is sure.
func TestStop(t *testing.T) {
	s := serve(t, open(nil))
	s.sink.Slow(true)
	answered := make(chan int, 1)
	go func() {
		status, _, _ := s.do("POST", "/logs", []byte("x"))
		answered <- status
	}()
	listentest.Eventually(t, "the line is there", func() bool { return len(s.sink.Lines()) == 1 })
	s.stop()
	if status := <-answered; status != 503 {
		t.Error(status)
	}
	s.sink.Slow(false)
}

// TestBounds sends what is too large in each way.
func TestBounds(t *testing.T) {
	s := serve(t, open(func(c *Config) {
		c.MaxBody, c.MaxLine, c.MaxLines, c.MaxRatio, c.Memory = 4<<20, 1000, 100, 50, 20<<20
	}))
	f := func(what string, body []byte, want int, says string, header ...string) {
		t.Helper()
		before := len(s.sink.Lines())
		status, answer, _ := s.do("POST", "/logs", body, header...)
		if status != want || !strings.Contains(answer, says) || want != 204 && len(s.sink.Lines()) != before {
			t.Errorf("%s: %d %.200s", what, status, answer)
		}
		s.balanced()
	}
	zipped := func(n int) []byte {
		var b bytes.Buffer
		z, _ := gzip.NewWriterLevel(&b, 9)
		_, _ = z.Write(make([]byte, n))
		_ = z.Close()
		return b.Bytes()
	}
	zstds := func(n int) []byte {
		z, _ := zstd.NewWriter(nil)
		defer z.Close()
		return z.EncodeAll(make([]byte, n), nil)
	}
	f("a long body", make([]byte, 4<<20+1), 413, "longer than")
	f("a bomb", zipped(3<<20), 413, "grows more than 50 times", "Content-Encoding", "gzip")
	f("a bomb", zstds(64<<20), 413, "", "Content-Encoding", "zstd")
	f("a small one that grows much", zipped(1<<19), 204, "", "Content-Encoding", "gzip")
	f("many lines", bytes.Repeat([]byte("x\n"), 101), 413, "more than 100 lines")
	f("a broken body", []byte("nonsense"), 400, "", "Content-Encoding", "gzip")
	f("an encoding", []byte("x"), 415, "br", "Content-Encoding", "br")
	f("a body cut short", zipped(1000)[:20], 400, "ends early", "Content-Encoding", "gzip")
	f("a long line", bytes.Repeat([]byte("y"), 1001), 204, "")
	lines := s.sink.Lines()
	if got := lines[len(lines)-1]; got.Reject != "line of 1001 bytes: longer than 1000" || len(got.Value) != 1001 {
		t.Errorf("%d bytes, %q", len(got.Value), got.Reject)
	}
	// What a resource says once, and each record repeats.
	var b []byte
	attribute := protoBytes(nil, 1, []byte("k"))
	attribute = protoBytes(attribute, 2, protoBytes(nil, 1, bytes.Repeat([]byte("v"), 900_000)))
	b = protoBytes(b, 1, protoBytes(nil, 1, attribute))
	var records []byte
	for range 50 {
		records = protoBytes(records, 2, nil)
	}
	b = protoBytes(nil, 1, append(b, protoBytes(nil, 2, records)...))
	if status, _, _ := s.do("POST", "/v1/logs", b); status != 413 {
		t.Errorf("a resource that is repeated: %d", status)
	}
	s.balanced()
}

// TestSlow: who is slow with the header or the body loses the connection in time.
func TestSlow(t *testing.T) {
	s := serve(t, open(func(c *Config) {
		c.HeaderTimeout, c.BodyTimeout, c.Limits.MaxPerAddress = 300*time.Millisecond, 600*time.Millisecond, 3
	}))
	dial := func(text string) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", s.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_, _ = c.Write([]byte(text))
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		return c
	}
	header := dial("POST /logs HTTP/1.1\r\nHost: x\r\nX-Slow: ")
	body := dial("POST /logs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + secret + "\r\nContent-Length: 100\r\n\r\nfirst")
	silent := dial("")
	refused := dial("")
	for name, c := range map[string]net.Conn{"header": header, "body": body, "silent": silent, "a fourth": refused} {
		answer, err := io.ReadAll(c)
		if err != nil && os.IsTimeout(err) {
			t.Errorf("%s: kept", name)
		}
		if name == "body" && !strings.Contains(string(answer), "408") {
			t.Errorf("body: %s", answer)
		}
	}
	s.balanced()
	if n := len(s.sink.Lines()); n != 0 {
		t.Errorf("%d lines", n)
	}
	long := "POST /logs HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"
	if answer, _ := io.ReadAll(dial(long)); !strings.Contains(string(answer), "431") {
		t.Errorf("a long header: %.100s", answer)
	}
}

// TestManyRequests holds more requests than are served at the same time.
func TestManyRequests(t *testing.T) {
	s := serve(t, open(func(c *Config) { c.MaxRequests = 3 }))
	s.sink.Slow(true)
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() { s.do("POST", "/logs", []byte("x")) })
	}
	listentest.Eventually(t, "three wait", func() bool { return len(s.sink.Lines()) == 3 })
	if status, _, h := s.do("POST", "/logs", []byte("x")); status != 429 || h.Get("Retry-After") == "" {
		t.Errorf("the fourth: %d", status)
	}
	if got := s.Refusals(); len(got) != 1 || got["busy"] != 1 {
		t.Errorf("refused: %v", got)
	}
	s.sink.Slow(false)
	group.Wait()
	s.balanced()
}

// TestClientCertificates: with mutual TLS the certificate tells the unit, and a
// token goes before it.
func TestClientCertificates(t *testing.T) {
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("collector.test")
	s := serve(t, open(func(c *Config) {
		c.TLS = listen.TLS{Cert: cert, Key: key, ClientCA: a.CA, Clients: []listen.Client{{Name: "school.test", Unit: "410117"}}}
	}))
	s.url = strings.Replace(s.url, "http:", "https:", 1)
	f := func(name, authorization string, want int, unit string) {
		t.Helper()
		before := len(s.sink.Lines())
		transport := &http.Transport{TLSClientConfig: a.Client(name)}
		defer transport.CloseIdleConnections()
		s.client.Transport = transport
		if status, answer, _ := s.do("POST", "/logs", []byte("x"), "Authorization", authorization); status != want {
			t.Errorf("%s: %d %s", name, status, answer)
		}
		if got := s.sink.Lines()[before:]; want == 204 && (len(got) != 1 || got[0].Unit != unit) {
			t.Errorf("%+v", got)
		}
	}
	f("school.test", "", 204, "410117")
	f("school.test", "Bearer "+secret, 204, "410105")
	f("school.test", "Bearer wrong", 401, "")
	transport := &http.Transport{TLSClientConfig: a.Client("stranger.test")}
	defer transport.CloseIdleConnections()
	if resp, err := (&http.Client{Transport: transport}).Get(s.url); err == nil {
		_ = resp.Body.Close()
		t.Error("a stranger was let in")
	}
	if c, err := tls.Dial("tcp", s.Addrs()[0].String(), &tls.Config{RootCAs: a.Pool, ServerName: "127.0.0.1", MaxVersion: tls.VersionTLS11}); err == nil { //nolint:gosec // the point
		_ = c.Close()
		t.Error("TLS 1.1 is taken")
	}
}

func TestValidate(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		if got := fmt.Sprint(open(change).Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(nil, "<nil>")
	f(func(c *Config) { c.Listen = "9200" }, `listen: "9200" is not host:port or :port`)
	f(func(c *Config) { c.Tokens = nil }, "tokens: without any, and without tls.clients, nobody may send; anonymous: true lets everybody")
	f(func(c *Config) { c.Tokens[0].Secret = "***" }, `tokens: number 1: secret is "***", which stands in a dump for a secret`)
	f(func(c *Config) { c.Tokens[0].Secret = "short" }, "tokens: number 1: secret is shorter than 16 characters")
	f(func(c *Config) { c.Tokens[0].SecretFile = "/f" }, "tokens: number 1: give one of secret, secret_file, secret_env")
	f(func(c *Config) { c.TLS.Cert = "/c" }, "tls: cert and key belong together")
	f(func(c *Config) { c.Memory = 1 << 20 }, "memory: 1048576 is less than four times max_body")
	f(func(c *Config) { c.MaxLine = input.MaxValue + 1 }, fmt.Sprintf("max_line: %d is not between 480 and %d", input.MaxValue+1, input.MaxValue))
	f(func(c *Config) { c.ElasticVersion = "x" }, `elastic_version: "x" is no version such as 8.17.0`)
}

// program runs a peer and returns what it said.
func program(t *testing.T, name string, args ...string) string {
	t.Helper()
	listentest.Program(t, name)
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}
