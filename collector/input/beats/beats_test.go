package beats

import (
	"bytes"
	"compress/zlib"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	lumberjack "github.com/elastic/go-lumber/client/v2"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is an input that runs.
type server struct {
	*Input
	t    testing.TB
	sink *listentest.Sink
	stop func()
}

func serve(t testing.TB, cfg Config) *server {
	t.Helper()
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	in, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Input: in, t: t, sink: &listentest.Sink{}}
	s.stop = listentest.Start(t, in, s.sink)
	return s
}

func (s *server) dial() net.Conn {
	s.t.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

// client is elastic's own.
func (s *server) client(c net.Conn, options ...lumberjack.Option) *lumberjack.SyncClient {
	s.t.Helper()
	client, err := lumberjack.NewSyncClientWithConn(c, append([]lumberjack.Option{lumberjack.Timeout(20 * time.Second), lumberjack.JSONEncoder(encode)}, options...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = client.Close() })
	return client
}

// encode leaves long texts as they are, since encoding them takes longer than
// sending them.
func encode(event any) ([]byte, error) {
	if raw, ok := event.(string); ok {
		return []byte(raw), nil
	}
	return json.Marshal(event)
}

// balanced checks that everything that was held was given back.
func (s *server) balanced() {
	s.t.Helper()
	listentest.Eventually(s.t, "all memory is given back", func() bool { return s.short.Left()+s.long.Left() == s.cfg.Memory/2*2 })
}

func (s *server) cuts(reason string) float64 {
	s.t.Helper()
	var m dto.Metric
	if err := s.cut.WithLabelValues(reason).Write(&m); err != nil {
		s.t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

func numbered(from, n int) (events []any) {
	for i := range n {
		events = append(events, map[string]any{"message": fmt.Sprintf("烽燧 line %d", from+i), "winlog": map[string]any{"event_id": 4625}})
	}
	return events
}

// TestClient sends with elastic's own client, plain and compressed, in windows
// that are one chunk and many.
func TestClient(t *testing.T) {
	s := serve(t, Config{})
	f := func(n int, options ...lumberjack.Option) {
		t.Helper()
		before := len(s.sink.Lines())
		client := s.client(s.dial(), options...)
		for round := range 2 {
			if got, err := client.Send(numbered(round*n, n)); err != nil || got != n {
				t.Fatalf("%d events: %d acknowledged, %v", n, got, err)
			}
		}
		lines := s.sink.Lines()[before:]
		if len(lines) != 2*n {
			t.Fatalf("%d lines of %d", len(lines), 2*n)
		}
		for i, l := range lines {
			var event struct{ Message string }
			if err := json.Unmarshal(l.Value, &event); err != nil || event.Message != fmt.Sprintf("烽燧 line %d", i) || l.Source != "127.0.0.1" || l.Reject != "" || l.Unit != "" {
				t.Fatalf("%d: %v %s %+v", i, err, l.Value, l)
			}
		}
	}
	f(1)
	f(2048)
	f(2048, lumberjack.CompressionLevel(3))
	f(chunkEvents+7, lumberjack.CompressionLevel(9))
	s.balanced()
	big := strings.Repeat("x", 3<<20)
	before := len(s.sink.Lines())
	if _, err := s.client(s.dial()).Send([]any{big, "small", strings.Repeat("y", input.MaxValue+1)}); err != nil {
		t.Fatal(err)
	}
	lines := s.sink.Lines()[before:]
	if l := lines[0]; len(l.Value) != len(big) || l.Reject != fmt.Sprintf("event of %d bytes: longer than 1048576", len(big)) {
		t.Errorf("%d bytes: %s", len(l.Value), l.Reject)
	}
	if l := lines[1]; string(l.Value) != "small" || l.Reject != "" {
		t.Errorf("%+v", l)
	}
	if l := lines[2]; len(l.Value) != keptValue || l.Reject != fmt.Sprintf("event of %d bytes cut to %d: longer than %d", input.MaxValue+1, keptValue, input.MaxValue) {
		t.Errorf("%d bytes: %s", len(l.Value), l.Reject)
	}
	s.balanced()
}

// TestExample starts what README.md shows: a certificate tells the unit.
func TestExample(t *testing.T) {
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("collector.test")
	s := serve(t, listentest.Example[Config](t, "beats", ":5044", "127.0.0.1:0", "/etc/fengsui/collector.pem", cert,
		"/etc/fengsui/collector.key", key, "/etc/fengsui/schools.pem", a.CA))
	if _, err := s.client(tls.Client(s.dial(), a.Client("school-17.example.edu.cn"))).Send(numbered(0, 10)); err != nil {
		t.Fatal(err)
	}
	if lines := s.sink.Lines(); len(lines) != 10 || lines[0].Unit != "410117" {
		t.Errorf("%+v", lines)
	}
	for _, name := range []string{"", "stranger.test"} {
		if _, err := s.client(tls.Client(s.dial(), a.Client(name))).Send(numbered(0, 1)); err == nil {
			t.Errorf("%q was let in", name)
		}
	}
}

// TestAcknowledgement comes when all is durable, and the sender, which would not
// wait so long, is told meanwhile that we are there.
func TestAcknowledgement(t *testing.T) {
	f := func(hold, release func(s *server)) {
		t.Helper()
		s := serve(t, Config{KeepAlive: 20 * time.Millisecond})
		hold(s)
		sent := make(chan error, 1)
		client := s.client(s.dial(), lumberjack.Timeout(300*time.Millisecond))
		go func() {
			_, err := client.Send(numbered(0, 100))
			sent <- err
		}()
		select {
		case err := <-sent:
			t.Fatal("answered before the lines were durable:", err)
		case <-time.After(700 * time.Millisecond):
		}
		release(s)
		if err := <-sent; err != nil {
			t.Error(err)
		}
		if n := len(s.sink.Lines()); n != 100 {
			t.Errorf("%d lines", n)
		}
		s.balanced()
	}
	f(func(s *server) { s.sink.Slow(true) }, func(s *server) { s.sink.Slow(false) })
	f(func(s *server) { s.sink.Full(true) }, func(s *server) { s.sink.Full(false) })
}

// TestStop stops while events wait: they are not acknowledged.
func TestStop(t *testing.T) {
	s := serve(t, Config{})
	s.sink.Slow(true)
	sent := make(chan error, 1)
	client := s.client(s.dial())
	go func() {
		_, err := client.Send(numbered(0, 1))
		sent <- err
	}()
	listentest.Eventually(t, "the event", func() bool { return len(s.sink.Lines()) == 1 })
	idle := s.dial()
	s.stop()
	if err := <-sent; err == nil {
		t.Error("acknowledged")
	}
	if _, err := idle.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("an idle connection: %v", err)
	}
	s.sink.Slow(false)
	s.balanced()
}

func frame(code byte, numbers ...uint32) []byte {
	b := []byte{version, code}
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func window(n uint32) []byte { return frame(codeWindow, n) }

func event(seq uint32, value string) []byte {
	return append(frame(codeJSON, seq, uint32(len(value))), value...) //nolint:gosec // short
}

func compress(frames []byte) []byte {
	var b bytes.Buffer
	z := zlib.NewWriter(&b)
	_, _ = z.Write(frames)
	_ = z.Close()
	return append(frame(codeCompressed, uint32(b.Len())), b.Bytes()...) //nolint:gosec // short
}

// TestHostile sends what no client would: each costs its connection, and nothing
// of ours.
func TestHostile(t *testing.T) {
	s := serve(t, Config{FrameTimeout: 400 * time.Millisecond, Memory: 64 << 20, MaxFrame: 8 << 20})
	f := func(reason string, frames ...[]byte) {
		t.Helper()
		before, lines := s.cuts(reason), len(s.sink.Lines())
		c := s.dial()
		_, _ = c.Write(bytes.Join(frames, nil)) // may be cut off within
		if _, err := io.ReadAll(c); err != nil && os.IsTimeout(err) {
			t.Errorf("%.40q was kept", frames)
		}
		listentest.Eventually(t, reason, func() bool { return s.cuts(reason) == before+1 })
		if n := len(s.sink.Lines()) - lines; n != 0 {
			t.Errorf("%.40q gave %d lines", frames, n)
		}
		s.balanced()
	}
	f("protocol", []byte("GET / HTTP/1.1\r\n\r\n"))
	f("protocol", []byte("1W\x00\x00\x00\x01"))
	f("protocol", window(1), []byte("1J\x00\x00\x00\x01"))
	f("protocol", window(2), event(1, "{}"), window(2))
	f("protocol", window(1), frame(codeCompressed, 5), []byte("hello"))
	f("protocol", window(1), compress(compress(event(1, "{}"))))
	f("protocol", window(1), compress(event(1, "{}")[:11]))
	f("slow", window(1<<32-1), event(1, "{}"))
	f("slow", window(1), frame(codeJSON, 1, 7<<20), make([]byte, 1000))
	f("slow", window(1), frame(codeCompressed, 1000))
	f("too_large", window(1), frame(codeJSON, 1, 1<<32-1))
	f("too_large", window(1), frame(codeCompressed, 1<<32-1))
	f("too_large", window(1), compress(append(frame(codeJSON, 1, 7<<20), make([]byte, 7<<20)...)))
	f("too_large", window(1<<20), compress(bytes.Repeat(event(1, strings.Repeat("a", 1<<20)), 3)))
	truncated := s.dial()
	_, _ = truncated.Write(append(window(2), event(1, "{}")...))
	_ = truncated.Close()
	listentest.Eventually(t, "unfinished", func() bool { return s.cuts("unfinished") == 1 })
	if _, err := s.client(s.dial()).Send(numbered(0, 5)); err != nil {
		t.Error("others are not served:", err)
	}
}

// TestMemory has more senders of long events than there is memory: all are taken,
// one after the other.
func TestMemory(t *testing.T) {
	s := serve(t, Config{Memory: 4 * input.MaxValue, MaxLine: input.MaxValue})
	sent := make(chan error)
	for range 8 {
		client := s.client(s.dial())
		go func() {
			_, err := client.Send([]any{strings.Repeat("x", 7<<20), "y"})
			sent <- err
		}()
	}
	for range 8 {
		if err := <-sent; err != nil {
			t.Error(err)
		}
	}
	if n := len(s.sink.Lines()); n != 16 {
		t.Errorf("%d lines", n)
	}
	s.balanced()
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		if got := fmt.Sprint(cfg.Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(Config{Listen: ":5044"}, "<nil>")
	f(Config{}, `listen: "" is not host:port or :port`)
	f(Config{Listen: ":1", MaxLine: 1, TLS: listen.TLS{ClientCA: "/c"}}, fmt.Sprintf("tls.client_ca: needs cert and key\nmax_line: 1 is not between 480 and %d", input.MaxValue))
	f(Config{Listen: ":1", Memory: 1, Limits: listen.Limits{MaxConnections: 5, MaxPerAddress: 6}},
		fmt.Sprintf("max_per_address: 6 is not between 1 and max_connections, 5\nmemory: 1 is less than %d", 4*input.MaxValue))
}

// FuzzReader reads anything as windows: it ends, and holds what it was granted.
func FuzzReader(f *testing.F) {
	f.Add(append(window(2), append(event(1, "{}"), event(2, "[]")...)...))
	f.Add(append(window(2), compress(append(event(1, "{}"), event(2, "[]")...))...))
	f.Add(append(window(1), compress(bytes.Repeat([]byte{0}, 5000))...))
	f.Fuzz(func(t *testing.T, stream []byte) {
		cfg := Config{MaxFrame: 1 << 20}.WithDefaults()
		granted, got := 0, 0
		r := newReader(bytes.NewReader(stream), cfg, func(n int) error {
			granted += n
			return nil
		})
		for {
			count, err := r.window()
			if err == nil {
				err = r.events(count, func(_ uint32, value []byte, size int) error {
					got += cap(value) + lineCost
					if len(value) > size {
						t.Fatalf("%d bytes of %d", len(value), size)
					}
					return nil
				})
			}
			if err != nil {
				break
			}
		}
		if granted < got || granted > got+cfg.MaxFrame+lineCost {
			t.Fatalf("granted %d for %d", granted, got)
		}
	})
}
