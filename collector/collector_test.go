package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"fengsui/collector/input/file"
	"fengsui/collector/input/packet"
	"fengsui/collector/input/syslog"
	"fengsui/internal/kafka"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

// With these set, the test binary is a collector that is killed.
const (
	childDirEnv    = "COLLECTOR_TEST_DIR"
	childBrokerEnv = "COLLECTOR_TEST_BROKER"
	// childListensEnv gives it inputs that listen.
	childListensEnv = "COLLECTOR_TEST_LISTENS"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	if dir := os.Getenv(childDirEnv); dir != "" && os.Getenv(childListensEnv) != "" {
		listenUntilKilled(dir, os.Getenv(childBrokerEnv))
	} else if dir != "" {
		collectUntilKilled(dir, os.Getenv(childBrokerEnv))
	}
	goleak.VerifyTestMain(m)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// world is a broker, a directory, and a collector's configuration for them.
type world struct {
	t      testing.TB
	broker *testkafka.Broker
	dir    string
	cfg    Config
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, broker: testkafka.Start(t), dir: t.TempDir()}
	w.cfg = testConfig(w.dir, w.broker.Addr)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := kafka.EnsureTopics(ctx, w.cfg.Kafka, schemas.Topics(), 1); err != nil {
		t.Fatal(err)
	}
	return w
}

func testConfig(dir, broker string) Config {
	cfg := DefaultConfig()
	cfg.Kafka.Brokers = []string{broker}
	cfg.Kafka.Timeout = 2 * time.Second
	cfg.Spool.Dir, cfg.StateDir = filepath.Join(dir, "spool"), filepath.Join(dir, "state")
	cfg.Inputs = []InputConfig{{
		Name: "net", Type: "syslog", Unit: "410100", Syslog: &syslog.Config{UDP: "127.0.0.1:0", TCP: "127.0.0.1:0"},
	}, {
		Name: "files", Type: "file", Unit: "410200", Format: "nginx", Drill: true,
		File: &file.Config{
			Paths: []string{filepath.Join(dir, "logs", "*.log*")}, Scan: 20 * time.Millisecond, Poll: 10 * time.Millisecond, Quiet: 200 * time.Millisecond,
		},
	}}
	return cfg
}

// collecting is a collector that runs.
type collecting struct {
	*Collector
	t    testing.TB
	reg  *prometheus.Registry
	stop func()
}

func (w *world) collect() *collecting {
	w.t.Helper()
	c := &collecting{t: w.t, reg: prometheus.NewRegistry()}
	var err error
	if c.Collector, err = New(w.cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: c.reg}); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	select {
	case <-c.Ready():
	case err := <-ended:
		w.t.Fatal(err)
	}
	c.stop = sync.OnceFunc(func() {
		start := time.Now()
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
		if took := time.Since(start); took > 10*time.Second {
			w.t.Errorf("stopping took %v", took)
		}
	})
	w.t.Cleanup(c.stop)
	return c
}

// metric adds up a metric, over the given value of its label if that is not "".
func (c *collecting) metric(name, label string) (sum float64) {
	c.t.Helper()
	families, err := c.reg.Gather()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "fengsui_collector_"+name {
			continue
		}
		for _, m := range f.Metric {
			if label == "" || m.Label[0].GetValue() == label {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// checkBooks checks that each line received is somewhere, when nothing moves.
func (c *collecting) checkBooks(spooledBefore float64) {
	c.t.Helper()
	eventually(c.t, "the queue is empty", func() bool { return c.metric("queued_lines", "") == 0 })
	received := c.metric("received_lines_total", "")
	direct, bySpool := c.metric("shipped_lines_total", "direct"), c.metric("shipped_lines_total", "spool")
	spooled, inSpool := c.metric("spooled_lines_total", ""), c.metric("spool_lines", "")
	if lost := c.metric("lost_lines_total", ""); received != direct+spooled+lost || lost != 0 {
		c.t.Errorf("received %v is not shipped %v and spooled %v, lost %v", received, direct, spooled, lost)
	}
	sums := func() (sum Account) {
		for _, a := range c.Status().Sources {
			if a.Queued != 0 || a.Lost != 0 || a.Source == "" || a.Unit == "" {
				c.t.Errorf("nothing moves, and in the books stands %+v", a)
			}
			sum.add(a)
		}
		return sum
	}
	eventually(c.t, "what was drained is in the books", func() bool { return float64(sums().Drained) == bySpool })
	if sum := sums(); float64(sum.Received) != received || float64(sum.Shipped) != direct || float64(sum.Spooled) != spooled ||
		float64(sum.Rejected) != c.metric("rejected_lines_total", "") {
		c.t.Errorf("the books of all sources, %+v, are not what the metrics count: received %v, shipped %v and %v by the spool, spooled %v", sum, received, direct, bySpool, spooled)
	}
	// Kafka is away or the spool is empty: nothing is between.
	if spooledBefore+spooled != bySpool+inSpool {
		c.t.Errorf("%v in the spool before and spooled %v are not shipped %v and still there %v", spooledBefore, spooled, bySpool, inSpool)
	}
}

func (c *collecting) dial() net.Conn {
	c.t.Helper()
	conn, err := net.Dial("tcp", c.Addrs()["net"][1].String())
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// stored is what a consumer keeps that follows the rule of schemas.Origin: a
// record whose number is not above the last of its stream is a repetition.
type stored struct {
	records  []kafka.Record
	origins  []schemas.Origin
	repeated int
}

func (w *world) read() (s stored) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	last := map[string]uint64{}
	err := kafka.Follow(ctx, w.cfg.Kafka, kafka.Deps{}, schemas.TopicLogs, func(r kafka.Record) error {
		o, err := schemas.ParseOrigin(r.Headers, r.Topic, r.Partition, r.Offset, r.Time)
		if err != nil {
			return err
		}
		key := fmt.Sprint(r.Partition, o.Stream)
		if seq, ok := last[key]; ok && o.Seq <= seq {
			s.repeated++
			return nil
		}
		last[key] = o.Seq
		s.records, s.origins = append(s.records, r), append(s.origins, o)
		return nil
	}, cancel)
	if !errors.Is(err, context.Canceled) {
		w.t.Fatal(err)
	}
	return s
}

// values counts each value that was stored.
func (s *stored) values() map[string]int {
	values := make(map[string]int)
	for _, r := range s.records {
		values[string(r.Value)]++
	}
	return values
}

func wantEachOnce(t testing.TB, s stored, n int, value func(i int) string) {
	t.Helper()
	values := s.values()
	missing, more := 0, 0
	for i := range n {
		switch values[value(i)] {
		case 0:
			missing++
		case 1:
		default:
			more++
		}
	}
	if missing != 0 || more != 0 || len(values) != n {
		t.Errorf("of %d lines %d are missing and %d stored more than once; %d different values", n, missing, more, len(values))
	}
	t.Logf("%d lines, %d repetitions", n, s.repeated)
}

func (w *world) writeLog(name, text string) {
	w.t.Helper()
	path := filepath.Join(w.dir, "logs", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestOrigins sends a line by each way and looks at what Kafka has.
func TestOrigins(t *testing.T) {
	w := newWorld(t)
	c := w.collect()
	conn := c.dial()
	fmt.Fprintf(conn, "<38>one\n<38>two\n")
	udp, err := net.Dial("udp", c.Addrs()["net"][0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	eventually(t, "both lines", func() bool { return c.metric("received_lines_total", "net") == 2 })
	fmt.Fprintf(udp, "<38>three")
	eventually(t, "three lines", func() bool { return c.metric("received_lines_total", "net") == 3 })
	w.writeLog("access.log", "four\nfive\n")
	_, _ = conn.Write(append(bytes.Repeat([]byte("x"), 2<<20), '\n'))
	eventually(t, "all lines", func() bool { return c.metric("shipped_lines_total", "direct") == 6 })
	c.checkBooks(0)
	s := w.read()
	byValue := map[string]schemas.Origin{}
	for i, r := range s.records {
		o := s.origins[i]
		if string(r.Key) != o.Source || time.Since(o.Received) > time.Minute {
			t.Errorf("key %q, origin %+v", r.Key, o)
		}
		o.Received = time.Time{}
		value := string(r.Value)
		if len(value) > 1<<20 {
			value = fmt.Sprint(len(value))
		}
		byValue[value] = o
	}
	path := filepath.Join(w.dir, "logs", "access.log")
	fileStream := byValue["four"].Stream
	if !strings.HasPrefix(fileStream, "file-") || len(c.stream) != 11 || c.stream[0] != 'c' {
		t.Errorf("streams %q and %q", fileStream, c.stream)
	}
	for value, want := range map[string]schemas.Origin{
		"<38>one":   {Stream: c.stream, Seq: 1, Unit: "410100", Source: "127.0.0.1", Input: "net", Format: "auto"},
		"<38>two":   {Stream: c.stream, Seq: 2, Unit: "410100", Source: "127.0.0.1", Input: "net", Format: "auto"},
		"<38>three": {Stream: c.stream, Seq: 3, Unit: "410100", Source: "127.0.0.1", Input: "net", Format: "auto"},
		"four":      {Stream: fileStream, Seq: 0, Unit: "410200", Source: path, Input: "files", Format: "nginx", Drill: true},
		"five":      {Stream: fileStream, Seq: 5, Unit: "410200", Source: path, Input: "files", Format: "nginx", Drill: true},
		"2097152": {
			Stream: c.stream, Seq: 4, Unit: "410100", Source: "127.0.0.1", Input: "net", Format: "auto",
			Reject: "message of 2097152 bytes: longer than 1048576",
		},
	} {
		if got := byValue[value]; got != want {
			t.Errorf("%s:\n got %+v\nwant %+v", value, got, want)
		}
	}
	if got := c.metric("rejected_lines_total", "net"); got != 1 {
		t.Errorf("%v rejected", got)
	}
}

// TestKafkaAway takes Kafka away while lines come, by TCP and in a file: the
// spool holds them, over a restart of the collector too, and drains in order.
func TestKafkaAway(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	c := w.collect()
	n, files := 0, 0
	send := func(conn net.Conn, count int) {
		t.Helper()
		var b bytes.Buffer
		for range count {
			fmt.Fprintf(&b, "<38>line %06d\n", n)
			n++
		}
		if _, err := conn.Write(b.Bytes()); err != nil {
			t.Fatal(err)
		}
	}
	log := func(count int) {
		var b strings.Builder
		for range count {
			fmt.Fprintf(&b, "file line %06d\n", files)
			files++
		}
		w.writeLog("app.log", b.String())
	}
	received := func(c *collecting, want int) {
		t.Helper()
		eventually(t, "all is received", func() bool { return int(c.metric("received_lines_total", "")) == want })
	}
	conn := c.dial()
	send(conn, 5000)
	log(1000)
	received(c, 6000)
	w.broker.Kill()
	for range 10 {
		send(conn, 2000)
		log(500)
		time.Sleep(20 * time.Millisecond)
	}
	received(c, n+files)
	eventually(t, "all is shipped or spooled", func() bool { return c.metric("queued_lines", "") == 0 })
	if c.metric("spool_lines", "") == 0 || c.metric("spool_bytes", "") == 0 {
		t.Error("nothing is in the spool")
	}
	c.checkBooks(0)
	c.stop()
	inSpool := c.metric("spool_lines", "")

	c = w.collect()
	if got := c.metric("spool_lines", ""); got != inSpool {
		t.Errorf("%v lines in the spool after the restart, %v before", got, inSpool)
	}
	conn = c.dial()
	send(conn, 3000)
	log(300)
	received(c, 3300)
	w.broker.Restart(t)
	for range 20 { // lines come while the spool drains
		send(conn, 500)
		log(50)
		time.Sleep(10 * time.Millisecond)
	}
	eventually(t, "the spool is empty", func() bool { return c.metric("spool_lines", "") == 0 })
	send(conn, 1000)
	log(100)
	received(c, 3300+20*550+1100)
	c.checkBooks(inSpool)
	if c.metric("shipped_lines_total", "direct") == 0 {
		t.Error("nothing goes directly when the spool is empty")
	}
	c.stop()
	s := w.read()
	wantEachOnce(t, s, n+files, func(i int) string {
		if i < n {
			return fmt.Sprintf("<38>line %06d", i)
		}
		return fmt.Sprintf("file line %06d", i-n)
	})
	streams := map[string]bool{}
	for _, o := range s.origins {
		streams[o.Stream] = true
	}
	if len(streams) != 3 {
		t.Errorf("%d streams of two runs and a file", len(streams))
	}
}

// TestStopWithoutKafka stops while lines are in memory: they are in the spool.
func TestStopWithoutKafka(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	w.broker.Kill()
	c := w.collect()
	conn := c.dial()
	const n = 20_000
	go func() {
		for i := range n {
			fmt.Fprintf(conn, "<38>line %d\n", i)
		}
		_ = conn.Close()
	}()
	eventually(t, "all is received", func() bool { return c.metric("received_lines_total", "net") == n })
	c.stop()
	if got := c.metric("spool_lines", ""); got != n {
		t.Errorf("%v of %d lines in the spool", got, n)
	}
	w.broker.Restart(t)
	c = w.collect()
	eventually(t, "the spool is empty", func() bool { return c.metric("spool_lines", "") == 0 })
	c.stop()
	wantEachOnce(t, w.read(), n, func(i int) string { return fmt.Sprintf("<38>line %d", i) })
}

func collectUntilKilled(dir, broker string) {
	cfg := testConfig(dir, broker)
	c, err := New(cfg, Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))})
	if err != nil {
		panic(err)
	}
	panic(c.Run(context.Background()))
}

// TestKill kills the collector again and again while a log grows and is rotated,
// and Kafka now and then: in the end each line is stored once.
func TestKill(t *testing.T) {
	w := newWorld(t)
	w.broker.NeedsKill(t)
	n, rotated := 0, 0
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	start := func() *exec.Cmd {
		t.Helper()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDirEnv+"="+w.dir, childBrokerEnv+"="+w.broker.Addr)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	for round := range rounds {
		cmd := start()
		for step := range 40 {
			var b strings.Builder
			for range rand.IntN(400) {
				fmt.Fprintf(&b, "line %d\n", n)
				n++
			}
			w.writeLog("app.log", b.String())
			if rand.IntN(15) == 0 {
				rotated++
				name := filepath.Join(w.dir, "logs", "app.log")
				if err := os.Rename(name, fmt.Sprintf("%s.%d", name, rotated)); err != nil {
					t.Fatal(err)
				}
			}
			if round%3 == 1 && step == 10 {
				w.broker.Kill()
			}
			time.Sleep(10 * time.Millisecond)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		if round%3 == 1 {
			w.broker.Restart(t)
		}
	}
	cmd := start()
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	}()
	eventually(t, "every line is there", func() bool { s := w.read(); return len(s.values()) == n })
	s := w.read()
	wantEachOnce(t, s, n, func(i int) string { return fmt.Sprintf("line %d", i) })
	t.Logf("%d kills, %d rotations", rounds, rotated)
}

// TestOnce reads a file and a capture's worth of nothing else, and ends by itself.
func TestOnce(t *testing.T) {
	w := newWorld(t)
	w.writeLog("a.txt", "one\ntwo\nthree")
	w.cfg.Once = true
	w.cfg.Inputs = []InputConfig{{
		Name: "replay", Type: "file", Unit: "41", File: &file.Config{Paths: []string{filepath.Join(w.dir, "logs", "a.txt")}},
	}}
	for range 2 { // the second time changes nothing
		var last file.Progress
		c, err := New(w.cfg, Deps{Progress: func(p file.Progress) { last = p }})
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Run(context.Background()); err != nil {
			t.Fatal(err)
		}
		if last.Lines != 3 {
			t.Errorf("progress %+v", last)
		}
	}
	s := w.read()
	if len(s.records) != 3 || s.repeated != 3 {
		t.Errorf("%d records, %d repetitions", len(s.records), s.repeated)
	}
	w.cfg.Inputs[0].File.Paths = []string{filepath.Join(w.dir, "missing")}
	c, err := New(w.cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
}

// TestInputFails: an input that cannot work ends the collector.
func TestInputFails(t *testing.T) {
	w := &world{t: t, dir: t.TempDir()}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	w.cfg = testConfig(w.dir, "127.0.0.1:1")
	w.cfg.Inputs[0].Syslog = &syslog.Config{TCP: taken.Addr().String()}
	c, err := New(w.cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Run(context.Background()); err == nil || !strings.Contains(err.Error(), "collector: input net: listening for syslog on TCP") {
		t.Errorf("got %v", err)
	}
}

func TestValidate(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := testConfig("/d", "127.0.0.1:1")
		change(&cfg)
		if got := fmt.Sprint(cfg.Validate()); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f(func(*Config) {}, "<nil>")
	f(func(c *Config) { c.Inputs = nil }, "inputs: at least one is needed")
	f(func(c *Config) { c.Inputs[1].Name = "net" }, "input net: another has the same name")
	f(func(c *Config) { c.Inputs[1].Name = "No Name" }, `inputs: number 2: name "No Name" is no name: use a-z, 0-9, - . and _`)
	f(func(c *Config) { c.Inputs[0].Unit = "" }, "<nil>")
	f(func(c *Config) { c.Inputs[0].Unit = "two words" }, `input net: unit: "two words" is no code of a unit`)
	f(func(c *Config) { c.Inputs[0].Type = "sislog" }, "input net: it has settings of type syslog, but is of type \"sislog\"\ntype: \"sislog\" is none of syslog, file, packet, flow, http, beats, kafka")
	f(func(c *Config) { c.Inputs[0].Syslog = nil }, "input net: its settings are missing: write them under syslog")
	f(func(c *Config) { c.Inputs[0].Syslog.UDP = "x" }, `input net: udp: "x" is not host:port or :port`)
	f(func(c *Config) { c.Inputs = append(c.Inputs, c.Inputs[1]); c.Inputs[2].Name = "more" }, "input more: /d/logs/*.log* is read by input files too")
	f(func(c *Config) {
		c.Inputs[0].Type, c.Inputs[0].Syslog, c.Inputs[0].Packet = "packet", nil, &packet.Config{}
	}, "input net: packet: give either file or interface")
	f(func(c *Config) {
		c.Inputs[0].Type, c.Inputs[0].Syslog, c.Inputs[0].Packet = "packet", nil, &packet.Config{Interface: "eth1"}
	}, "<nil>")
	f(func(c *Config) { c.Spool.MaxBytes, c.StateDir = 1, "" }, "state_dir: is empty\nspool.max_bytes: 1 is less than 64 MiB")
	f(func(c *Config) { c.Kafka.Brokers = nil }, "kafka: brokers: at least one host:port is needed")
}

// BenchmarkTCPToKafka sends messages of 254 bytes over four connections, until
// Kafka has acknowledged them.
func BenchmarkTCPToKafka(b *testing.B) {
	w := newWorld(b)
	w.cfg.Inputs = w.cfg.Inputs[:1]
	c := w.collect()
	message := append([]byte("<38>1 2026-11-22T03:10:47.123456Z gate sshd 4242 - - "), bytes.Repeat([]byte("x"), 201)...)
	chunk := bytes.Repeat(fmt.Appendf(nil, "%d %s", len(message), message), 2500)
	var conns []net.Conn
	for range 4 {
		conns = append(conns, c.dial())
	}
	shipped := func() float64 {
		return c.metric("shipped_lines_total", "")
	}
	sent := 0.0
	b.ResetTimer()
	for range b.N {
		var wg sync.WaitGroup
		for _, conn := range conns {
			wg.Go(func() { _, _ = conn.Write(chunk) })
		}
		wg.Wait()
		sent += 10_000
	}
	for shipped() < sent {
		time.Sleep(time.Millisecond)
	}
	b.ReportMetric(sent/b.Elapsed().Seconds(), "lines/s")
	b.ReportMetric(c.metric("shipped_lines_total", "spool"), "spooled")
}
