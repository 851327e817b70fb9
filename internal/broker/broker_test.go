package broker_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/internal/broker"
	"fengsui/internal/kafka"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	goleak.VerifyTestMain(m)
}

func testConfig(t testing.TB) broker.Config {
	cfg := broker.DefaultConfig()
	cfg.Dir = filepath.Join(t.TempDir(), "broker")
	cfg.Sync = false
	cfg.RetentionInterval = 100 * time.Millisecond
	return cfg
}

// start runs a broker in this process until stop or the test's end.
func start(t testing.TB, cfg broker.Config) (client kafka.Config, stop func()) {
	t.Helper()
	b, err := broker.New(cfg, broker.Deps{Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	select {
	case <-b.Ready():
	case err := <-done:
		t.Fatalf("the broker ended: %v", err)
	}
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the broker ended with %v", err)
			}
		}
	}
	t.Cleanup(stop)
	client = kafka.DefaultConfig()
	client.Brokers = []string{b.Addr()}
	return client, stop
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func ensure(t testing.TB, cfg kafka.Config, topic schemas.Topic) {
	t.Helper()
	if err := kafka.EnsureTopics(testContext(t), cfg, []schemas.Topic{topic}, 1); err != nil {
		t.Fatal(err)
	}
}

func produce(t testing.TB, cfg kafka.Config, topic string, rs ...kafka.Record) {
	t.Helper()
	p, err := kafka.NewProducer(cfg, kafka.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if err := p.Produce(testContext(t), topic, rs); err != nil {
		t.Fatal(err)
	}
}

func numbered(from, n int) []kafka.Record {
	rs := make([]kafka.Record, n)
	for i := range rs {
		rs[i] = kafka.Record{Key: fmt.Appendf(nil, "%d", (from+i)%10), Value: fmt.Appendf(nil, "%d", from+i)}
	}
	return rs
}

func readAll(t testing.TB, cfg kafka.Config, topic string) []kafka.Record {
	t.Helper()
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	var all []kafka.Record
	if err := kafka.Follow(ctx, cfg, kafka.Deps{}, topic, func(r kafka.Record) error { all = append(all, r); return nil }, stop); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	return all
}

func bounds(t testing.TB, cfg kafka.Config, topic string) (first, end int64) {
	t.Helper()
	c, err := kafka.NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first, end, err = c.Bounds(testContext(t), topic, 0)
	if err != nil {
		t.Fatal(err)
	}
	return first, end
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !f(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

func dirBytes(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

func TestConfig(t *testing.T) {
	f := func(change func(*broker.Config), want string) {
		t.Helper()
		cfg := broker.DefaultConfig()
		cfg.Dir = "x"
		change(&cfg)
		err := cfg.Validate()
		if (want == "") != (err == nil) || (err != nil && !strings.Contains(err.Error(), want)) {
			t.Errorf("says %v, want %q in it", err, want)
		}
	}
	f(func(*broker.Config) {}, "")
	f(func(c *broker.Config) { c.Listen = "[::1]:9092" }, "")
	f(func(c *broker.Config) { c.Dir = "" }, "dir")
	f(func(c *broker.Config) { c.Listen = "0.0.0.0:9092" }, "not a loopback address")
	f(func(c *broker.Config) { c.Listen = "localhost:9092" }, "listen")
	f(func(c *broker.Config) { c.RetentionInterval = 0 }, "retention_interval")
	f(func(c *broker.Config) { c.CompactInterval = 0 }, "compact_interval")
	f(func(c *broker.Config) { c.TLS.Key = "k" }, "tls")
	f(func(c *broker.Config) { c.SASL.Username = "u" }, "sasl")
}

func TestSecondStartIsRefused(t *testing.T) {
	cfg := testConfig(t)
	_, stop := start(t, cfg)
	second, err := broker.New(cfg, broker.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	err = second.Run(testContext(t))
	if !errors.Is(err, broker.ErrInUse) || !strings.Contains(err.Error(), cfg.Dir) {
		t.Fatalf("the second start said %v", err)
	}
	if info, err := os.Stat(cfg.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v (%v), want 0700", info.Mode(), err)
	}
	stop()
	start(t, cfg)
}

// TestRetentionBoundsTheDisk writes five times what a topic may keep.
func TestRetentionBoundsTheDisk(t *testing.T) {
	const keep = 16 << 20
	cfg := testConfig(t)
	client, stop := start(t, cfg)
	topic := schemas.Topic{Name: "bounded", Partitions: 2, Retention: time.Hour, RetentionBytes: keep}
	ensure(t, client, topic)
	value := make([]byte, 64<<10)
	_, _ = rand.Read(value)
	rs := make([]kafka.Record, 2*5*keep/len(value))
	for i := range rs {
		rs[i] = kafka.Record{Key: fmt.Appendf(nil, "%d", i), Value: value}
	}
	produce(t, client, topic.Name, rs...)
	bound := int64(2 * (keep + 10<<20)) // and a segment each
	eventually(t, "the disk is bounded", func() bool { return dirBytes(cfg.Dir) <= bound })
	first, end := bounds(t, client, topic.Name)
	if left := (end - first) * int64(len(value)); first == 0 || left < keep/2 {
		t.Errorf("offsets %d to %d are left, %d bytes", first, end, left)
	}
	stop()
	client, _ = start(t, cfg)
	if f, e := bounds(t, client, topic.Name); e != end || f < first {
		t.Errorf("after a restart %d to %d are left, before %d to %d", f, e, first, end)
	}
	eventually(t, "the disk stays bounded", func() bool { return dirBytes(cfg.Dir) <= bound })
}

// TestOffsetsAreGivenOnce: retention deletes everything, and the partition goes
// on where it was, after a stop and after kill -9.
func TestOffsetsAreGivenOnce(t *testing.T) {
	if os.Getenv(testkafka.EnvBrokers) != "" {
		t.Skip("the broker is not ours to kill")
	}
	b := testkafka.Start(t)
	client := kafka.DefaultConfig()
	client.Brokers = []string{b.Addr}
	topic := schemas.Topic{Name: "short", Partitions: 1, Retention: time.Second}
	ensure(t, client, topic)
	end := int64(0)
	for round := range 3 {
		produce(t, client, topic.Name, numbered(0, 100)...)
		end += 100
		if _, e := bounds(t, client, topic.Name); e != end {
			t.Fatalf("round %d: ends at %d, want %d", round, e, end)
		}
		eventually(t, "all is deleted", func() bool { first, _ := bounds(t, client, topic.Name); return first == end })
		if round == 1 {
			b.Stop(t)
		} else {
			b.Kill()
		}
		b.Restart(t)
	}
	if rs := readAll(t, client, topic.Name); len(rs) != 0 {
		t.Errorf("%d records came back", len(rs))
	}
	produce(t, client, topic.Name, numbered(0, 1)...)
	if rs := readAll(t, client, topic.Name); len(rs) != 1 || rs[0].Offset != end {
		t.Errorf("after all was deleted: %+v, want offset %d", rs, end)
	}
}

// TestCompaction: the newest of each key is kept, also by a broker that was
// killed while it compacted.
func TestCompaction(t *testing.T) {
	cfg := testConfig(t)
	cfg.CompactInterval = time.Second
	client, stop := start(t, cfg)
	topic := schemas.Topic{Name: "state", Partitions: 1, Compact: true}
	ensure(t, client, topic)
	filler := make([]byte, 10<<10)
	for round := range 40 {
		rs := numbered(round*10, 10)
		for i := range rs {
			rs[i].Value = append(rs[i].Value, filler...)
		}
		produce(t, client, topic.Name, rs...)
	}
	newest := func(when string) {
		t.Helper()
		got := map[string]string{}
		for _, r := range readAll(t, client, topic.Name) {
			got[string(r.Key)] = strings.TrimRight(string(r.Value), "\x00")
		}
		for i := range 10 {
			if k := fmt.Sprint(i); got[k] != fmt.Sprint(390+i) {
				t.Errorf("%s: %s is %s", when, k, got[k])
			}
		}
	}
	eventually(t, "it is compacted", func() bool { return len(readAll(t, client, topic.Name)) <= 20 })
	newest("compacted")
	_, end := bounds(t, client, topic.Name)
	if end != 400 {
		t.Errorf("ends at %d, want 400", end)
	}
	stop()

	// As it looks when it was killed between deleting the old segments and
	// writing the new ones.
	part := filepath.Join(cfg.Dir, "partitions", "state-0")
	kept := filepath.Join(cfg.Dir, "compaction", "state-0")
	if err := os.MkdirAll(kept, 0o700); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(part, "*.*"))
	for _, f := range files {
		switch filepath.Ext(f) {
		case ".dat", ".idx":
			if err := os.Rename(f, filepath.Join(kept, filepath.Base(f))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(part, "0.dat"), []byte("half a"), 0o600); err != nil {
		t.Fatal(err)
	}
	client, _ = start(t, cfg)
	newest("after an interrupted compaction")
	if _, e := bounds(t, client, topic.Name); e != end {
		t.Errorf("ends at %d, want %d", e, end)
	}
	if _, err := os.Stat(filepath.Dir(kept)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was kept is still there: %v", err)
	}
	produce(t, client, topic.Name, kafka.Record{Key: []byte("0"), Value: []byte("390")})
	newest("written after that")
}

// TestHalfWritten: a batch that a loss of power cut short is taken away, and
// writing goes on behind the last whole one.
func TestHalfWritten(t *testing.T) {
	f := func(name string, damage func(t *testing.T, segment string)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			cfg := testConfig(t)
			client, stop := start(t, cfg)
			topic := schemas.Topic{Name: "logs", Partitions: 1, Retention: time.Hour}
			ensure(t, client, topic)
			for i := range 3 {
				produce(t, client, topic.Name, numbered(i*10, 10)...)
			}
			stop()
			damage(t, filepath.Join(cfg.Dir, "partitions", "logs-0", "0.dat"))
			client, stop = start(t, cfg)
			before := readAll(t, client, topic.Name)
			produce(t, client, topic.Name, numbered(100, 10)...)
			for range 2 {
				after := readAll(t, client, topic.Name)
				if len(before)%10 != 0 || len(after) != len(before)+10 || string(after[len(before)].Value) != "100" {
					t.Errorf("%d records before, %d after", len(before), len(after))
				}
				for i, r := range after {
					if r.Offset != int64(i) {
						t.Errorf("record %d has offset %d", i, r.Offset)
					}
				}
				stop()
				client, stop = start(t, cfg)
			}
		})
	}
	size := func(t *testing.T, path string) int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	f("cut", func(t *testing.T, s string) {
		if err := os.Truncate(s, size(t, s)-7); err != nil {
			t.Fatal(err)
		}
	})
	f("zeroes at the end", func(t *testing.T, s string) {
		if err := os.Truncate(s, size(t, s)+1000); err != nil {
			t.Fatal(err)
		}
	})
	f("a flipped bit in the last batch", func(t *testing.T, s string) {
		b, err := os.ReadFile(s)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-3] ^= 4
		if err := os.WriteFile(s, b, 0o600); err != nil {
			t.Fatal(err)
		}
	})
	f("nothing whole", func(t *testing.T, s string) {
		if err := os.Truncate(s, 20); err != nil {
			t.Fatal(err)
		}
	})
}

// TestForeignConnections: what does not speak Kafka costs its connection only.
func TestForeignConnections(t *testing.T) {
	client, _ := start(t, testConfig(t))
	ensure(t, client, schemas.Topic{Name: "logs", Partitions: 1, Retention: time.Hour})
	f := func(name string, send []byte) {
		t.Helper()
		c, err := net.Dial("tcp", client.Brokers[0])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Write(send); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: %d bytes and %v, want a closed connection", name, n, err)
		}
	}
	request := func(size uint32, kind, version uint16) []byte {
		b := binary.BigEndian.AppendUint32(nil, size)
		b = binary.BigEndian.AppendUint16(b, kind)
		b = binary.BigEndian.AppendUint16(b, version)
		return append(b, make([]byte, 64)...)
	}
	f("HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f("4 GiB", request(1<<32-1, 3, 1))
	f("too short", request(4, 3, 1))
	f("an unknown kind", request(68, 12345, 0))
	f("a negative kind", request(68, 0xffff, 0))
	produce(t, client, "logs", numbered(0, 10)...)
	if n := len(readAll(t, client, "logs")); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
}

func TestTLSAndPasswords(t *testing.T) {
	cfg := testConfig(t)
	dir := t.TempDir()
	cfg.TLS.Cert, cfg.TLS.Key = certificate(t, dir)
	cfg.SASL.Username, cfg.SASL.Password = "fengsui", "first"
	client, stop := start(t, cfg)
	client.TLS = kafka.TLSConfig{Enabled: true, CA: cfg.TLS.Cert}
	client.SASL = kafka.SASLConfig{Mechanism: "scram-sha-512", Username: "fengsui", Password: "first"}
	ensure(t, client, schemas.Topic{Name: "logs", Partitions: 1, Retention: time.Hour})
	produce(t, client, "logs", numbered(0, 10)...)
	if n := len(readAll(t, client, "logs")); n != 10 {
		t.Errorf("%d records, want 10", n)
	}
	group(t, client, "logs", 10)
	stop()

	// The configuration's password holds, not the one that was saved.
	cfg.SASL.Password = "second"
	again, _ := start(t, cfg)
	client.Brokers = again.Brokers
	refused := func(name string, c kafka.Config) {
		t.Helper()
		p, err := kafka.NewProducer(c, kafka.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if _, err := p.TryProduce(testContext(t), "logs", numbered(0, 1)); err == nil {
			t.Errorf("%s: was let in", name)
		}
	}
	refused("the old password", client)
	client.SASL.Password = "second"
	group(t, client, "logs", 10)
	plain := client
	plain.TLS = kafka.TLSConfig{}
	refused("without TLS", plain)
	anonymous := client
	anonymous.SASL = kafka.SASLConfig{}
	refused("without a password", anonymous)
}

// group reads n records with a consumer group.
func group(t *testing.T, cfg kafka.Config, topic string, n int) {
	t.Helper()
	gc := kafka.DefaultGroupConfig()
	gc.Group, gc.Topics = fmt.Sprintf("g%d", time.Now().UnixNano()), []string{topic}
	ctx, cancel := context.WithCancel(testContext(t))
	got := 0
	g, err := kafka.NewGroup(cfg, kafka.Deps{}, gc, func(context.Context, string, int, int64) (kafka.Handler, int64, error) {
		return handler(func(rs []kafka.Record) {
			if got += len(rs); got >= n {
				cancel()
			}
		}), kafka.Committed, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(ctx); err != nil || got != n {
		t.Errorf("the group read %d records (%v), want %d", got, err, n)
	}
}

type handler func([]kafka.Record)

func (h handler) Handle(_ context.Context, rs []kafka.Record) error { h(rs); return nil }
func (h handler) Close() error                                      { return nil }

// certificate makes one for 127.0.0.1 that signs itself.
func certificate(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pk, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return write("cert.pem", "CERTIFICATE", der), write("key.pem", "PRIVATE KEY", pk)
}

// TestRestartAfterKillNeedsLittleMemory: a log of 400 MB, killed, started again.
func TestRestartAfterKillNeedsLittleMemory(t *testing.T) {
	if testing.Short() || os.Getenv(testkafka.EnvBrokers) != "" || os.Getenv(testkafka.EnvLibs) != "" {
		t.Skip("for the embedded broker only, and not with -short")
	}
	b := testkafka.Start(t)
	client := kafka.DefaultConfig()
	client.Brokers = []string{b.Addr}
	topic := schemas.Topic{Name: "logs", Partitions: 4, Retention: time.Hour, RetentionBytes: 1 << 30}
	ensure(t, client, topic)
	value := make([]byte, 1<<20)
	_, _ = rand.Read(value)
	for range 4 {
		rs := make([]kafka.Record, 100)
		for i := range rs {
			rs[i].Value = value
		}
		produce(t, client, topic.Name, rs...)
	}
	_, end := bounds(t, client, topic.Name)
	b.Kill()
	log := dirBytes(b.Dir)
	start := time.Now()
	b.Restart(t)
	if _, e := bounds(t, client, topic.Name); e != end {
		t.Errorf("ends at %d, want %d", e, end)
	}
	peak := peakMemory(t, b.PID())
	t.Logf("%d MB of log: answers after %v with %d MB at most", log>>20, time.Since(start), peak>>20)
	if !raced() && peak > 350<<20 {
		t.Errorf("the start took %d MB for %d MB of log", peak>>20, log>>20)
	}
}

// raced says that the race detector is on: it needs many times the memory.
func raced() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// peakMemory is the most memory that a process has had.
func peakMemory(t *testing.T, pid int) (n int64) {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip(err)
	}
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			_, _ = fmt.Sscan(v, &n)
		}
	}
	return n << 10
}
