package syslog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps the lines, or only counts them.
type sink struct {
	countOnly bool
	count     atomic.Int64

	mu    sync.Mutex
	lines []input.Line
}

func (s *sink) Put(_ context.Context, lines []input.Line, done func()) error {
	s.count.Add(int64(len(lines)))
	if !s.countOnly {
		s.mu.Lock()
		s.lines = append(s.lines, lines...)
		s.mu.Unlock()
	}
	if done != nil {
		done()
	}
	return nil
}

func (s *sink) all() []input.Line {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]input.Line(nil), s.lines...)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// start runs an input until the test ends, or until stop is called.
func start(t testing.TB, cfg Config, s input.Sink) (in *Input, reg *prometheus.Registry, stop func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	in, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: reg})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, s) }()
	select {
	case <-in.Ready():
	case err := <-ended:
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return in, reg, stop
}

func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}

func port(a net.Addr) string {
	_, p, _ := net.SplitHostPort(a.String())
	return p
}

// TestLogger sends messages with util-linux's logger in each of its ways.
func TestLogger(t *testing.T) {
	if _, err := exec.LookPath("logger"); err != nil {
		t.Skip("no logger (util-linux):", err)
	}
	s := &sink{}
	in, _, _ := start(t, Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}, s)
	udp, tcp := port(in.Addrs()[0]), port(in.Addrs()[1])
	f := func(wantStart string, args ...string) {
		t.Helper()
		before := len(s.all())
		text := fmt.Sprintf("烽燧 message %d", before)
		args = append(args, "-n", "127.0.0.1", "-t", "tower", "-p", "auth.warning", text)
		if out, err := exec.Command("logger", args...).CombinedOutput(); err != nil {
			t.Fatalf("logger %q: %v: %s", args, err, out)
		}
		eventually(t, "one more line", func() bool { return len(s.all()) == before+1 })
		got := s.all()[before]
		if !strings.HasPrefix(string(got.Value), wantStart) || !strings.HasSuffix(string(got.Value), text) || got.Source != "127.0.0.1" || got.Reject != "" {
			t.Errorf("logger %q gave %q from %q, reject %q", args, got.Value, got.Source, got.Reject)
		}
	}
	f("<36>1 ", "-d", "-P", udp)
	f("<36>1 ", "-T", "-P", tcp)
	f("<36>1 ", "-T", "-P", tcp, "--octet-count")
	f("<36>", "-d", "-P", udp, "--rfc3164")
	f("<36>", "-T", "-P", tcp, "--rfc3164", "--octet-count")
}

// TestRsyslog has a real rsyslogd read a file and forward it in each framing.
func TestRsyslog(t *testing.T) {
	f := func(name, action string, tcp bool) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			in, _, _ := start(t, Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"}, s)
			p := port(in.Addrs()[0])
			if tcp {
				p = port(in.Addrs()[1])
			}
			dir := t.TempDir()
			const n = 2000
			var text bytes.Buffer
			for i := range n {
				fmt.Fprintf(&text, "line %04d of a device\n", i)
			}
			source := filepath.Join(dir, "device.log")
			if err := os.WriteFile(source, text.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
			conf := fmt.Sprintf(`global(workDirectory="%[1]s")
module(load="imfile" mode="polling" pollingInterval="1")
input(type="imfile" file="%[1]s/device.log" tag="device:")
action(type="omfwd" target="127.0.0.1" port="%[2]s" %[3]s)
`, dir, p, action)
			listentest.RunRsyslog(t, dir, conf)
			device := func() (lines []input.Line) {
				for _, l := range s.all() {
					if bytes.HasSuffix(l.Value, []byte(" of a device")) {
						lines = append(lines, l)
					}
				}
				return lines
			}
			eventually(t, "all lines", func() bool { return len(device()) >= n })
			for i, l := range device() {
				if want := fmt.Sprintf("line %04d of a device", i); !bytes.HasSuffix(l.Value, []byte(want)) || l.Value[0] != '<' || l.Reject != "" {
					t.Fatalf("line %d is %q, reject %q", i, l.Value, l.Reject)
				}
			}
		})
	}
	f("tcp newline", `protocol="tcp" template="RSYSLOG_SyslogProtocol23Format"`, true)
	f("tcp octet counted", `protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format"`, true)
	f("udp", `protocol="udp" template="RSYSLOG_ForwardFormat"`, false)
}

// TestFlood sends 100,000 datagrams as fast as it can: each is received or
// counted as dropped by the kernel.
func TestFlood(t *testing.T) {
	s := &sink{countOnly: true}
	in, reg, _ := start(t, Config{UDP: "127.0.0.1:0"}, s)
	const n = 100_000
	sendDatagrams(t, in.Addrs()[0].String(), n, message254)
	eventually(t, "received and dropped are what was sent", func() bool {
		return s.count.Load()+int64(in.KernelDrops()) == n
	})
	t.Logf("%d received, %d dropped", s.count.Load(), in.KernelDrops())
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "fengsui_collector_kernel_drops_total" && uint64(f.Metric[0].Counter.GetValue()) == in.KernelDrops() {
			return
		}
	}
	t.Error("the drops are not in the metrics")
}

// TestDropsAreCounted lets the sink block: the buffer fills and every datagram
// that did not fit is counted.
func TestDropsAreCounted(t *testing.T) {
	release := make(chan struct{})
	s := &blockingSink{release: release}
	in, _, _ := start(t, Config{UDP: "127.0.0.1:0", UDPSockets: 1, ReceiveBuffer: 64 << 10}, s)
	const n = 20_000
	sendDatagrams(t, in.Addrs()[0].String(), n, message254)
	if in.KernelDrops() == 0 {
		t.Error("nothing was dropped")
	}
	close(release)
	eventually(t, "received and dropped are what was sent", func() bool {
		return s.count.Load()+int64(in.KernelDrops()) == n
	})
}

type blockingSink struct {
	sink
	release chan struct{}
}

func (s *blockingSink) Put(ctx context.Context, lines []input.Line, done func()) error {
	select {
	case <-s.release:
		s.countOnly = true
		return s.sink.Put(ctx, lines, done)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func dial(t testing.TB, in *Input) net.Conn {
	t.Helper()
	addrs := in.Addrs()
	c, err := net.Dial("tcp", addrs[len(addrs)-1].String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestIPv6 receives on both families with one socket, and names IPv4 senders as
// what they are.
func TestIPv6(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{UDP: "[::]:0", TCP: "[::]:0"}, s)
	f := func(network, host, want string) {
		t.Helper()
		before := len(s.all())
		addr := in.Addrs()[0]
		if network == "tcp" {
			addr = in.Addrs()[1]
		}
		c, err := net.Dial(network, net.JoinHostPort(host, port(addr)))
		if err != nil {
			t.Skip("no IPv6:", err)
		}
		defer c.Close()
		fmt.Fprintf(c, "<13>x\n")
		eventually(t, "one more line", func() bool { return len(s.all()) == before+1 })
		if got := s.all()[before]; got.Source != want || string(got.Value) != "<13>x" {
			t.Errorf("%q from %q, want %q", got.Value, got.Source, want)
		}
	}
	f("udp", "127.0.0.1", "127.0.0.1")
	f("udp", "::1", "::1")
	f("tcp", "127.0.0.1", "127.0.0.1")
	f("tcp", "::1", "::1")
}

// TestLongMessages: a message over the limit is a reject with all its bytes; one
// over what can be kept says how long it was; the next message is unharmed.
func TestLongMessages(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{TCP: "127.0.0.1:0"}, s)
	f := func(stream func(c net.Conn), wantLen int, wantReject string) {
		t.Helper()
		before := len(s.all())
		c := dial(t, in)
		stream(c)
		fmt.Fprintf(c, "<13>after\n")
		_ = c.Close()
		eventually(t, "two more lines", func() bool { return len(s.all()) == before+2 })
		got := s.all()[before:]
		if len(got[0].Value) != wantLen || got[0].Reject != wantReject || string(got[1].Value) != "<13>after" || got[1].Reject != "" {
			t.Errorf("%d bytes with reject %q, then %q", len(got[0].Value), got[0].Reject, got[1].Value)
		}
	}
	line := func(n int) []byte { return append([]byte("<13>"), bytes.Repeat([]byte("x"), n-4)...) }
	newline := func(n int) func(net.Conn) {
		return func(c net.Conn) { _, _ = c.Write(append(line(n), '\n')) }
	}
	octets := func(n int) func(net.Conn) {
		return func(c net.Conn) { fmt.Fprintf(c, "%d %s", n, line(n)) }
	}
	for _, framing := range []func(int) func(net.Conn){newline, octets} {
		f(framing(1<<20), 1<<20, "")
		f(framing(1<<20+1), 1<<20+1, "message of 1048577 bytes: longer than 1048576")
		f(framing(5<<20), 5<<20, "message of 5242880 bytes: longer than 1048576")
		f(framing(20<<20), input.MaxValue, fmt.Sprintf("message of 20971520 bytes cut to %d: longer than %d bytes", input.MaxValue, input.MaxValue))
	}
	if left := in.longMemory.Left(); left != in.cfg.LongLineMemory {
		t.Errorf("%d of %d bytes of the memory for long messages came back", left, in.cfg.LongLineMemory)
	}
}

// TestEndlessLines has many senders that never end their line: memory is
// bounded, and others are served.
func TestEndlessLines(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{TCP: "127.0.0.1:0", LongLineMemory: 16 << 20}, s)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	chunk := bytes.Repeat([]byte("y"), 1<<20)
	var senders sync.WaitGroup
	var conns []net.Conn
	for range 20 {
		c := dial(t, in)
		conns = append(conns, c)
		senders.Go(func() {
			for range 12 {
				_, _ = c.Write(chunk)
			}
		})
	}
	senders.Wait()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 40<<20 {
		t.Errorf("240 MiB of endless lines hold %d MiB", grown>>20)
	}
	fmt.Fprintf(dial(t, in), "<13>still served\n")
	eventually(t, "another sender is served", func() bool { return len(s.all()) == 1 })
	for _, c := range conns {
		_ = c.Close()
	}
	eventually(t, "each line is kept in part", func() bool { return len(s.all()) == 21 })
	for _, l := range s.all()[1:] {
		if !strings.HasPrefix(l.Reject, "message of 12582912 bytes cut to ") {
			t.Errorf("reject %q", l.Reject)
		}
	}
	if left := in.longMemory.Left(); left != in.cfg.LongLineMemory {
		t.Errorf("%d of %d bytes came back", left, in.cfg.LongLineMemory)
	}
}

// TestSlowSender sends a byte now and then: it has the time of one message, not
// of one byte. A sender of whole messages keeps its connection.
func TestSlowSender(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{TCP: "127.0.0.1:0", FrameTimeout: time.Second}, s)
	slow, steady := dial(t, in), dial(t, in)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for {
			if _, err := slow.Write([]byte("z")); err != nil {
				return
			}
			// Always a whole message and the beginning of the next.
			_, _ = steady.Write([]byte("<13>whole\n<13>"))
			time.Sleep(50 * time.Millisecond)
		}
	}()
	select {
	case <-gone:
	case <-time.After(10 * time.Second):
		t.Fatal("a slow sender was kept")
	}
	eventually(t, "what it sent is kept", func() bool {
		for _, l := range s.all() {
			if l.Reject == "line without an end: no end after 1s" && l.Value[0] == 'z' {
				return true
			}
		}
		return false
	})
	if _, err := steady.Write([]byte("<13>last\n")); err != nil {
		t.Error("a steady sender was not kept:", err)
	}
	eventually(t, "the steady sender's last", func() bool {
		lines := s.all()
		return bytes.HasSuffix(lines[len(lines)-1].Value, []byte("last"))
	})
	if value(t, in.cut) != 1 {
		t.Error("the cut connection is not counted")
	}
}

// TestEncoding: a device that sends GBK beside one that sends UTF-8.
func TestEncoding(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0", Encoding: "auto"}, s)
	fmt.Fprintf(dial(t, in), "<13>\xb5\xc7\xc2\xbc\n<13>登录\n<13>\xff\xff\n")
	eventually(t, "three lines", func() bool { return len(s.all()) == 3 })
	sendDatagrams(t, in.Addrs()[0].String(), 1, []byte("<13>\xb5\xc7\xc2\xbc"))
	eventually(t, "four lines", func() bool { return len(s.all()) == 4 })
	for i, want := range []string{"<13>登录", "<13>登录", "<13>\xff\xff", "<13>登录"} {
		if l := s.all()[i]; string(l.Value) != want || (l.Reject != "") != (i == 2) {
			t.Errorf("line %d: %q, reject %q", i, l.Value, l.Reject)
		}
	}
	if value(t, in.undecodable) != 1 {
		t.Error("what could not be decoded is not counted")
	}
}

func TestConnectionLimit(t *testing.T) {
	s := &sink{}
	in, _, _ := start(t, Config{TCP: "127.0.0.1:0", Limits: listen.Limits{MaxConnections: 2}}, s)
	a, b := dial(t, in), dial(t, in)
	eventually(t, "two connections", func() bool { return value(t, in.conns.Open) == 2 })
	third := dial(t, in)
	_ = third.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := third.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("the third connection was kept: %v", err)
	}
	_ = a.Close()
	eventually(t, "one connection", func() bool { return value(t, in.conns.Open) == 1 })
	fmt.Fprintf(dial(t, in), "<13>c\n")
	fmt.Fprintf(b, "<13>b\n")
	eventually(t, "two lines", func() bool { return len(s.all()) == 2 })
	if got := value(t, in.conns.Refused); got != 1 {
		t.Errorf("%v refused", got)
	}
}

// TestStopReadsWhatArrived stops the input just after a sender has finished.
func TestStopReadsWhatArrived(t *testing.T) {
	s := &sink{countOnly: true}
	in, _, stop := start(t, Config{TCP: "127.0.0.1:0"}, s)
	c := dial(t, in)
	fmt.Fprintf(c, "<13>first\n")
	eventually(t, "first line", func() bool { return s.count.Load() == 1 })
	_, _ = c.Write(bytes.Repeat([]byte("<13>last\n"), 5000))
	stop()
	if got := s.count.Load(); got != 5001 {
		t.Errorf("%d of 5001 lines", got)
	}
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		if got := fmt.Sprint(cfg.Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(Config{UDP: ":514", TCP: "[::1]:514"}, "<nil>")
	f(Config{}, "udp, tcp, tls.listen: at least one address to listen on is needed")
	f(Config{UDP: ":514", Encoding: "utf-16le"}, "encoding: utf-16le has no place in syslog")
	f(Config{UDP: "514"}, `udp: "514" is not host:port or :port`)
	f(Config{TCP: ":1", MaxLine: 100, UDPSockets: -1}, "udp_sockets: -1 is not between 1 and 64\nmax_line: 100 is not between 480 and 8126464")
}
