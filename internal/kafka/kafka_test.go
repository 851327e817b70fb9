package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	kafkago "github.com/segmentio/kafka-go"
	"go.uber.org/goleak"

	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	goleak.VerifyTestMain(m)
}

// The story of one Kafka: all of these share it, each in topics of its own.
func TestKafka(t *testing.T) {
	cfg := testConfig(testkafka.Start(t))
	run := func(name string, f func(*testing.T, Config)) {
		t.Helper()
		t.Run(name, func(t *testing.T) { f(t, cfg) })
	}
	run("topics are made once and then kept right", testTopics)
	run("what is produced is what is read", testRoundTrip)
	run("records up to the limit", testLarge)
	run("a batch over the broker's limit is halved", testHalved)
	run("callers at the same time", testConcurrent)
	run("offsets", testOffsets)
	run("a handler's error repeats the records", testHandlerError)
	run("a handler goes back", testRewind)
	run("a batch waits for MaxWait or MaxBatch", testBatches)
	run("a second member takes over", testRebalance)
	run("records gone before they were read", testRetention)
	run("following a compacted topic", testFollow)
	run("following an empty topic", testFollowEmpty)
}

func testConfig(b *testkafka.Broker) Config {
	cfg := DefaultConfig()
	cfg.Brokers = []string{b.Addr}
	return cfg
}

func testDeps(t testing.TB) Deps {
	return Deps{
		Log:     slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn})),
		Metrics: prometheus.NewRegistry(),
	}
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func testTopic(t testing.TB, cfg Config, partitions int) string {
	t.Helper()
	return makeTopic(t, cfg, schemas.Topic{Partitions: partitions, Retention: time.Hour, RetentionBytes: 1 << 30})
}

// makeTopic makes a topic with a name of its own.
func makeTopic(t testing.TB, cfg Config, topic schemas.Topic) string {
	t.Helper()
	topic.Name = fmt.Sprintf("test-%d", time.Now().UnixNano())
	if err := EnsureTopics(testContext(t), cfg, []schemas.Topic{topic}, 1); err != nil {
		t.Fatal(err)
	}
	return topic.Name
}

func testProducer(t testing.TB, cfg Config) *Producer {
	t.Helper()
	p, err := NewProducer(cfg, testDeps(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// numbered makes records whose value is their number and whose key repeats.
func numbered(from, n, keys int) []Record {
	rs := make([]Record, n)
	for i := range rs {
		rs[i] = Record{Key: fmt.Appendf(nil, "key-%d", (from+i)%keys), Value: fmt.Appendf(nil, "%08d", from+i)}
	}
	return rs
}

// readAll reads a topic as it stands.
func readAll(t testing.TB, cfg Config, topic string) []Record {
	t.Helper()
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	var all []Record
	err := Follow(ctx, cfg, testDeps(t), topic, func(r Record) error {
		all = append(all, r)
		return nil
	}, stop)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("reading %s: %v", topic, err)
	}
	return all
}

func testTopics(t *testing.T, cfg Config) {
	ctx := testContext(t)
	topics := []schemas.Topic{
		{Name: "t.delete", Partitions: 3, Retention: time.Hour, RetentionBytes: 1 << 30},
		{Name: "t.compact", Partitions: 1, Compact: true},
	}
	f := func(name, key, want string) {
		t.Helper()
		c, err := newClient(cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.close()
		res, err := c.DescribeConfigs(ctx, &kafkago.DescribeConfigsRequest{Resources: []kafkago.DescribeConfigRequestResource{{
			ResourceType: kafkago.ResourceTypeTopic, ResourceName: name, ConfigNames: []string{key},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Resources[0].ConfigEntries[0].ConfigValue; got != want {
			t.Errorf("%s of %s is %s, want %s", key, name, got, want)
		}
	}
	ensure := func() {
		t.Helper()
		if err := EnsureTopics(ctx, cfg, topics, 1); err != nil {
			t.Fatal(err)
		}
	}
	ensure()
	f("t.delete", "retention.ms", "3600000")
	f("t.delete", "retention.bytes", "1073741824")
	f("t.delete", "cleanup.policy", "delete")
	f("t.compact", "cleanup.policy", "compact")
	f("t.compact", "max.message.bytes", "9437184")
	topics[0].Retention = 2 * time.Hour
	topics = append(topics, schemas.Topic{Name: "t.later", Partitions: 1, Retention: time.Hour})
	ensure()
	ensure()
	f("t.delete", "retention.ms", "7200000")
	f("t.later", "retention.ms", "3600000")
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if n, err := c.Partitions(ctx, "t.delete"); n != 3 || err != nil {
		t.Errorf("t.delete has %d partitions (%v), want 3", n, err)
	}
}

func testRoundTrip(t *testing.T, cfg Config) {
	for _, compression := range []string{"none", "lz4", "zstd", "snappy", "gzip"} {
		cfg.Compression = compression
		topic := testTopic(t, cfg, 3)
		in := numbered(0, 1000, 7)
		in[0].Headers = []schemas.Header{{Key: "unit", Value: []byte("10335")}, {Key: "null"}, {Key: "empty", Value: []byte{}}}
		in[1].Value = nil
		in[2].Value = []byte{}
		in[3].Key = []byte{}
		start := time.Now().Add(-time.Second)
		if err := testProducer(t, cfg).Produce(testContext(t), topic, in); err != nil {
			t.Fatal(err)
		}
		out := readAll(t, cfg, topic)
		if len(out) != len(in) {
			t.Fatalf("%s: %d records, want %d", compression, len(out), len(in))
		}
		// Within a partition they stand in the order they were given in.
		var want, got [3][]Record
		for _, r := range in {
			p := partitionOf(r.Key, 3)
			want[p] = append(want[p], Record{Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
		for _, r := range out {
			if r.Topic != topic || r.Offset != int64(len(got[r.Partition])) || r.Time.Before(start) || r.Time.After(time.Now()) {
				t.Fatalf("%s: %+v has a wrong place or time", compression, r)
			}
			got[r.Partition] = append(got[r.Partition], Record{Key: r.Key, Value: r.Value, Headers: r.Headers})
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatalf("%s: %s", compression, d)
		}
	}
}

func testLarge(t *testing.T, cfg Config) {
	topic := testTopic(t, cfg, 1)
	p := testProducer(t, cfg)
	in := []Record{
		{Value: []byte("before")},
		{Value: make([]byte, MaxRecordBytes-100)},
		{Value: []byte("after")},
	}
	if err := p.Produce(testContext(t), topic, in); err != nil {
		t.Fatal(err)
	}
	out := readAll(t, cfg, topic)
	if len(out) != 3 || len(out[1].Value) != len(in[1].Value) || string(out[2].Value) != "after" {
		t.Fatalf("%d records came back", len(out))
	}
	in[1].Value = make([]byte, MaxRecordBytes)
	if err := p.Produce(testContext(t), topic, in); !errors.Is(err, ErrRecordTooLarge) {
		t.Fatalf("a record over the limit: %v", err)
	}
	if out := readAll(t, cfg, topic); len(out) != 3 {
		t.Fatalf("%d records after a refused call, want 3", len(out))
	}
}

// testHalved: a topic that somebody else has made takes less than we send.
func testHalved(t *testing.T, cfg Config) {
	ctx := testContext(t)
	topic := testTopic(t, cfg, 1)
	c, err := newClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	if _, err := c.IncrementalAlterConfigs(ctx, &kafkago.IncrementalAlterConfigsRequest{Resources: []kafkago.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafkago.ResourceTypeTopic, ResourceName: topic,
		Configs: []kafkago.IncrementalAlterConfigsRequestConfig{{Name: "max.message.bytes", Value: "50000"}},
	}}}); err != nil {
		t.Fatal(err)
	}
	p := testProducer(t, cfg)
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err = p.TryProduce(ctx, topic, []Record{{Value: make([]byte, 60_000)}})
		if errors.Is(err, ErrRecordTooLarge) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("one record over the broker's limit: %v", err)
		}
	}
	before := len(readAll(t, cfg, topic))
	in := make([]Record, 100)
	for i := range in {
		in[i].Value = fmt.Appendf(nil, "%05000d", i)
	}
	if err := p.Produce(ctx, topic, in); err != nil {
		t.Fatal(err)
	}
	out := readAll(t, cfg, topic)[before:]
	for i := range out {
		if string(out[i].Value) != string(in[i].Value) {
			t.Fatalf("record %d is %s", i, out[i].Value)
		}
	}
	if len(out) != len(in) {
		t.Fatalf("%d records, want %d", len(out), len(in))
	}
}

func testConcurrent(t *testing.T, cfg Config) {
	const callers, calls, each = 8, 10, 50
	topic := testTopic(t, cfg, 2)
	p := testProducer(t, cfg)
	ctx := testContext(t)
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range calls {
				rs := make([]Record, each)
				for j := range rs {
					rs[j] = Record{Key: fmt.Appendf(nil, "caller-%d", c), Value: fmt.Appendf(nil, "%d", i*each+j)}
				}
				if err := p.Produce(ctx, topic, rs); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	next := map[string]int{}
	for _, r := range readAll(t, cfg, topic) {
		k := string(r.Key)
		if string(r.Value) != fmt.Sprint(next[k]) {
			t.Fatalf("%s: %s after %d", k, r.Value, next[k]-1)
		}
		next[k]++
	}
	for c := range callers {
		if n := next[fmt.Sprintf("caller-%d", c)]; n != calls*each {
			t.Errorf("caller %d: %d records, want %d", c, n, calls*each)
		}
	}
}

func testOffsets(t *testing.T, cfg Config) {
	ctx := testContext(t)
	topic := testTopic(t, cfg, 1)
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	bounds := func(first, end int64) {
		t.Helper()
		f, e, err := c.Bounds(ctx, topic, 0)
		if err != nil || f != first || e != end {
			t.Errorf("bounds %d..%d (%v), want %d..%d", f, e, err, first, end)
		}
	}
	at := func(when time.Time, want int64) {
		t.Helper()
		got, err := c.OffsetForTime(ctx, topic, 0, when)
		if err != nil || got != want {
			t.Errorf("offset at %v is %d (%v), want %d", when, got, err, want)
		}
	}
	bounds(0, 0)
	at(time.Now(), 0)
	p := testProducer(t, cfg)
	t0 := time.Now()
	if err := p.Produce(ctx, topic, numbered(0, 10, 1)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(20 * time.Millisecond) // Kafka's times have milliseconds
	t1 := time.Now()
	if err := p.Produce(ctx, topic, numbered(10, 10, 1)); err != nil {
		t.Fatal(err)
	}
	bounds(0, 20)
	at(t0.Add(-time.Hour), 0)
	at(t1, 10)
	at(time.Now().Add(time.Hour), 20)
}

// member is a running member of a group.
type member struct {
	*Group
	stop func()
}

func join(t testing.TB, cfg Config, deps Deps, gc GroupConfig, open OpenFunc) member {
	t.Helper()
	g, err := NewGroup(cfg, deps, gc, open)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	var once sync.Once
	m := member{g, func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("the group ended with %v", err)
			}
		})
	}}
	t.Cleanup(m.stop)
	return m
}

func groupConfig(topic string) GroupConfig {
	gc := DefaultGroupConfig()
	gc.Group, gc.Topics = "group-of-"+topic, []string{topic}
	gc.SessionTimeout = 6 * time.Second
	return gc
}

// handlerFunc is a handler without state.
type handlerFunc func(ctx context.Context, rs []Record) error

func (f handlerFunc) Handle(ctx context.Context, rs []Record) error { return f(ctx, rs) }
func (f handlerFunc) Close() error                                  { return nil }

func always(h handlerFunc) OpenFunc {
	return func(context.Context, string, int, int64) (Handler, int64, error) { return h, Committed, nil }
}

// seen collects what handlers were given.
type seen struct {
	mu      sync.Mutex
	records []Record
	batches []int
}

func (s *seen) add(rs []Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = append(s.records, rs...)
	s.batches = append(s.batches, len(rs))
}

func (s *seen) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.records)
}

func eventually(t testing.TB, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in a minute: %s", what)
		}
	}
}

func testHandlerError(t *testing.T, cfg Config) {
	topic := testTopic(t, cfg, 1)
	if err := testProducer(t, cfg).Produce(testContext(t), topic, numbered(0, 30, 1)); err != nil {
		t.Fatal(err)
	}
	gc := groupConfig(topic)
	gc.MaxBatch = 10
	var (
		s      seen
		mu     sync.Mutex
		opened []int64
		failed bool
	)
	deps := testDeps(t)
	m := join(t, cfg, deps, gc, func(_ context.Context, _ string, _ int, committed int64) (Handler, int64, error) {
		mu.Lock()
		opened = append(opened, committed)
		mu.Unlock()
		return handlerFunc(func(_ context.Context, rs []Record) error {
			if rs[0].Offset == 10 && !failed {
				failed = true
				return errors.New("once")
			}
			s.add(rs)
			return nil
		}), Committed, nil
	})
	eventually(t, "all are handled", func() bool { return s.len() == 30 })
	m.stop()
	mu.Lock()
	defer mu.Unlock()
	if d := cmp.Diff([]int64{-1, 10}, opened); d != "" {
		t.Errorf("committed when opened: %s", d)
	}
	for i, r := range s.records {
		if r.Offset != int64(i) {
			t.Fatalf("record %d has offset %d", i, r.Offset)
		}
	}
	if n := value(t, m.errs.WithLabelValues(gc.Group, topic)); n != 1 {
		t.Errorf("%v errors counted, want 1", n)
	}
	// What is committed stays: the next member begins at the end.
	join(t, cfg, testDeps(t), gc, func(_ context.Context, _ string, _ int, committed int64) (Handler, int64, error) {
		mu.Lock()
		opened = append(opened, committed)
		mu.Unlock()
		return handlerFunc(func(context.Context, []Record) error { return nil }), Committed, nil
	})
	mu.Unlock()
	eventually(t, "it is opened again", func() bool { mu.Lock(); defer mu.Unlock(); return len(opened) == 3 })
	mu.Lock()
	if opened[2] != 30 {
		t.Errorf("begins at %d after a stop, want 30", opened[2])
	}
}

func testRewind(t *testing.T, cfg Config) {
	topic := testTopic(t, cfg, 1)
	p := testProducer(t, cfg)
	ctx := testContext(t)
	gc := groupConfig(topic)
	var s seen
	m := join(t, cfg, testDeps(t), gc, always(func(_ context.Context, rs []Record) error { s.add(rs); return nil }))
	if err := p.Produce(ctx, topic, numbered(0, 20, 1)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are handled", func() bool { return s.len() == 20 })
	m.stop()
	var again seen
	m = join(t, cfg, testDeps(t), gc, func(_ context.Context, _ string, _ int, committed int64) (Handler, int64, error) {
		return handlerFunc(func(_ context.Context, rs []Record) error { again.add(rs); return errors.New("never") }), committed - 5, nil
	})
	eventually(t, "it reads again", func() bool { return again.len() >= 10 })
	m.stop()
	if again.records[0].Offset != 15 {
		t.Errorf("went back to %d, want 15", again.records[0].Offset)
	}
	committed := make(chan int64, 1)
	join(t, cfg, testDeps(t), gc, func(_ context.Context, _ string, _ int, c int64) (Handler, int64, error) {
		committed <- c
		return handlerFunc(func(context.Context, []Record) error { return nil }), Committed, nil
	})
	if c := <-committed; c != 20 {
		t.Errorf("committed is %d after going back, want 20", c)
	}
}

func testBatches(t *testing.T, cfg Config) {
	topic := testTopic(t, cfg, 1)
	p := testProducer(t, cfg)
	if err := p.Produce(testContext(t), topic, numbered(0, 2500, 1)); err != nil {
		t.Fatal(err)
	}
	gc := groupConfig(topic)
	gc.MaxBatch, gc.MaxWait = 1000, 300*time.Millisecond
	var s seen
	m := join(t, cfg, testDeps(t), gc, always(func(_ context.Context, rs []Record) error { s.add(rs); return nil }))
	eventually(t, "all are handled", func() bool { return s.len() == 2500 })
	m.stop()
	if d := cmp.Diff([]int{1000, 1000, 500}, s.batches); d != "" {
		t.Error(d)
	}
	// A trickle does not put a batch off for ever.
	m = join(t, cfg, testDeps(t), gc, always(func(_ context.Context, rs []Record) error { s.add(rs); return nil }))
	for i := range 40 {
		if err := p.Produce(testContext(t), topic, numbered(2500+i, 1, 1)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Millisecond)
	}
	eventually(t, "the trickle is handled", func() bool { return s.len() == 2540 })
	m.stop()
	if n := len(s.batches) - 3; n < 2 || n > 20 {
		t.Errorf("a second of trickle came in %d batches, want about 4", n)
	}
}

func testRebalance(t *testing.T, cfg Config) {
	topic := testTopic(t, cfg, 4)
	p := testProducer(t, cfg)
	gc := groupConfig(topic)
	var (
		s    seen
		mu   sync.Mutex
		held = map[string]map[int]bool{"a": {}, "b": {}}
	)
	open := func(who string) OpenFunc {
		return func(_ context.Context, _ string, partition int, _ int64) (Handler, int64, error) {
			mu.Lock()
			defer mu.Unlock()
			if held["a"][partition] || held["b"][partition] {
				t.Errorf("partition %d is given to %s while somebody has it", partition, who)
			}
			held[who][partition] = true
			return &holder{s: &s, free: func() { mu.Lock(); delete(held[who], partition); mu.Unlock() }}, Committed, nil
		}
	}
	count := func(who string) int { mu.Lock(); defer mu.Unlock(); return len(held[who]) }
	a := join(t, cfg, testDeps(t), gc, open("a"))
	eventually(t, "a has all", func() bool { return count("a") == 4 })
	b := join(t, cfg, testDeps(t), gc, open("b"))
	eventually(t, "each has half", func() bool { return count("a") == 2 && count("b") == 2 })
	if err := p.Produce(testContext(t), topic, numbered(0, 1000, 100)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are handled", func() bool { return s.len() >= 1000 })
	a.stop()
	eventually(t, "b has all", func() bool { return count("b") == 4 })
	if err := p.Produce(testContext(t), topic, numbered(1000, 1000, 100)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all are handled by b", func() bool { return len(distinct(&s)) == 2000 })
	b.stop()
	if count("a")+count("b") != 0 {
		t.Error("a handler was not closed")
	}
}

type holder struct {
	s    *seen
	free func()
}

func (h *holder) Handle(_ context.Context, rs []Record) error { h.s.add(rs); return nil }
func (h *holder) Close() error                                { h.free(); return nil }

func distinct(s *seen) map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := map[string]bool{}
	for _, r := range s.records {
		d[string(r.Value)] = true
	}
	return d
}

func testRetention(t *testing.T, cfg Config) {
	topic := makeTopic(t, cfg, schemas.Topic{Partitions: 1, Retention: time.Hour, RetentionBytes: 16 << 20})
	p := testProducer(t, cfg)
	ctx := testContext(t)
	gc := groupConfig(topic)
	gc.MaxBatch = 10
	if err := p.Produce(ctx, topic, numbered(0, 10, 1)); err != nil {
		t.Fatal(err)
	}
	var s seen
	open := always(func(_ context.Context, rs []Record) error { s.add(rs); return nil })
	m := join(t, cfg, testDeps(t), gc, open)
	eventually(t, "the first are handled", func() bool { return s.len() == 10 })
	m.stop()
	big := make([]Record, 640) // 64 MiB of what does not compress away
	for i := range big {
		big[i].Value = slices.Repeat(fmt.Appendf(nil, "%010d", i), 10<<10)
	}
	if err := p.Produce(ctx, topic, big); err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var first, end int64
	eventually(t, "retention deletes", func() bool {
		first, end, err = c.Bounds(ctx, topic, 0)
		return err == nil && end-first <= 350
	})
	var rest seen
	deps := testDeps(t)
	m = join(t, cfg, deps, gc, always(func(_ context.Context, rs []Record) error { rest.add(rs); return nil }))
	eventually(t, "the rest is handled", func() bool { return rest.len() > 0 && rest.lastOffset() == end-1 })
	lost := value(t, m.lost.WithLabelValues(gc.Group, topic))
	if got := rest.records[0].Offset; float64(got-10) != lost || lost < 200 {
		t.Errorf("goes on at %d (first is %d) with %v counted as lost", got, first, lost)
	}
	eventually(t, "there is no lag", func() bool {
		return value(t, m.lag.WithLabelValues(gc.Group, topic, "0")) == 0
	})
}

func (s *seen) lastOffset() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.records[len(s.records)-1].Offset
}

func testFollow(t *testing.T, cfg Config) {
	topic := makeTopic(t, cfg, schemas.Topic{Partitions: 3, Compact: true})
	p := testProducer(t, cfg)
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	if err := p.Produce(ctx, topic, numbered(0, 100, 10)); err != nil {
		t.Fatal(err)
	}
	var (
		mu       sync.Mutex
		state    = map[string]string{}
		caughtUp = make(chan struct{})
		done     = make(chan error, 1)
	)
	go func() {
		done <- Follow(ctx, cfg, testDeps(t), topic, func(r Record) error {
			mu.Lock()
			defer mu.Unlock()
			if r.Value == nil {
				delete(state, string(r.Key))
			} else {
				state[string(r.Key)] = string(r.Value)
			}
			return nil
		}, func() { close(caughtUp) })
	}()
	<-caughtUp
	mu.Lock()
	if len(state) != 10 || state["key-3"] != "00000093" {
		t.Errorf("the state when caught up: %v", state)
	}
	mu.Unlock()
	if err := p.Produce(ctx, topic, []Record{{Key: []byte("key-3")}, {Key: []byte("new"), Value: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(state) == 10 && state["new"] == "x" && state["key-3"] == ""
	})
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	refuse := errors.New("refused")
	err := Follow(testContext(t), cfg, testDeps(t), topic, func(Record) error { return refuse }, nil)
	if !errors.Is(err, refuse) || !strings.Contains(err.Error(), topic) {
		t.Errorf("apply's error came back as %v", err)
	}
}

func testFollowEmpty(t *testing.T, cfg Config) {
	if rs := readAll(t, cfg, makeTopic(t, cfg, schemas.Topic{Partitions: 2, Compact: true})); len(rs) != 0 {
		t.Errorf("%d records in an empty topic", len(rs))
	}
}

// value is what a counter or gauge stands at.
func value(t testing.TB, m prometheus.Metric) float64 {
	t.Helper()
	var d dto.Metric
	if err := m.Write(&d); err != nil {
		t.Fatal(err)
	}
	return d.GetCounter().GetValue() + d.GetGauge().GetValue()
}
