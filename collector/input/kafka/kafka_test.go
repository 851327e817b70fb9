package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/internal/kafka"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	goleak.VerifyTestMain(m)
}

// ledger is a sink that remembers the id under which each value came, as our
// Kafka would have it.
type ledger struct {
	mu    sync.Mutex
	ids   map[string]map[string]bool // by value
	lines []input.Line
	// answer decides what becomes of a batch: an error refuses it; false takes it
	// and never says that it is done.
	answer func(lines []input.Line) (done bool, err error)
}

func (l *ledger) Put(_ context.Context, lines []input.Line, done func()) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	ok, err := true, error(nil)
	if l.answer != nil {
		ok, err = l.answer(lines)
	}
	if err != nil {
		return err
	}
	if l.ids == nil {
		l.ids = make(map[string]map[string]bool)
	}
	for _, line := range lines {
		v := string(line.Value)
		if l.ids[v] == nil {
			l.ids[v] = make(map[string]bool)
		}
		l.ids[v][fmt.Sprintf("%s-%d", line.Stream, line.Seq)] = true
	}
	l.lines = append(l.lines, lines...)
	if ok {
		done()
	}
	return nil
}

func (l *ledger) values() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.ids)
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

type world struct {
	t      testing.TB
	broker *testkafka.Broker
	kafka  kafka.Config
}

func newWorld(t testing.TB, topics ...string) *world {
	t.Helper()
	w := &world{t: t, broker: testkafka.Start(t), kafka: kafka.DefaultConfig()}
	w.kafka.Brokers = []string{w.broker.Addr}
	w.kafka.Timeout = 2 * time.Second
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var all []schemas.Topic
	for _, name := range topics {
		all = append(all, schemas.Topic{Name: name, Partitions: 3, Retention: time.Hour, RetentionBytes: 1 << 30})
	}
	if err := kafka.EnsureTopics(ctx, w.kafka, all, 1); err != nil {
		t.Fatal(err)
	}
	return w
}

// produce writes the numbers from up to to, spread over the partitions.
func (w *world) produce(topic string, from, to int, headers ...schemas.Header) {
	w.t.Helper()
	p, err := kafka.NewProducer(w.kafka, kafka.Deps{})
	if err != nil {
		w.t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // never fails
	records := make([]kafka.Record, 0, to-from)
	for i := from; i < to; i++ {
		records = append(records, kafka.Record{
			Key: fmt.Appendf(nil, "%d", i%17), Value: fmt.Appendf(nil, `{"n":%d,"host":{"name":"h%d"}}`, i, i%5), Headers: headers,
		})
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := p.Produce(ctx, topic, records); err != nil {
		w.t.Fatal(err)
	}
}

// run reads into the ledger until the returned function is called.
func (w *world) run(l *ledger, change ...func(*Config, *Deps)) (stop func()) {
	w.t.Helper()
	cfg := Config{Brokers: w.kafka.Brokers, Timeout: 2 * time.Second, Topics: []Topic{{Name: "others", Format: "zeek-json"}}}
	deps := Deps{Own: w.kafka}
	for _, f := range change {
		f(&cfg, &deps)
	}
	in, err := New(cfg, deps)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- in.Run(ctx, l) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// check checks that each of n values came, and always under the same id.
func (l *ledger) check(t testing.TB, n int) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(map[string]string)
	for v, ids := range l.ids {
		if len(ids) != 1 {
			t.Errorf("%s came under %d ids: %v", v, len(ids), ids)
		}
		for id := range ids {
			if other := seen[id]; other != "" {
				t.Errorf("%s and %s came under one id, %s", v, other, id)
			}
			seen[id] = v
		}
	}
	if len(l.ids) != n {
		t.Errorf("%d of %d values came", len(l.ids), n)
	}
	t.Logf("%d values, %d lines", len(l.ids), len(l.lines))
}

// TestRestart ends the input in the middle of batches that were taken and never
// acknowledged, and of ones that were refused; kills the broker; and has two
// inputs share the topic, one of which leaves. Nothing is lost, and nothing has
// a second id.
func TestRestart(t *testing.T) {
	w := newWorld(t, "others")
	var l ledger
	const n = 6000
	w.produce("others", 0, n/2)

	// Takes one batch, and then another that is never done with.
	taken := 0
	l.answer = func([]input.Line) (bool, error) { taken++; return taken == 1, nil }
	stop := w.run(&l)
	eventually(t, "a second batch is taken", func() bool {
		return l.values() > 0 && func() bool { l.mu.Lock(); defer l.mu.Unlock(); return taken > 1 }()
	})
	stop()

	// Refuses every other batch, while the broker is killed.
	l.mu.Lock()
	refuse := false
	l.answer = func([]input.Line) (bool, error) {
		if refuse = !refuse; refuse {
			return false, errors.New("refused by the test")
		}
		return true, nil
	}
	l.mu.Unlock()
	stop = w.run(&l)
	eventually(t, "all of the first half", func() bool { return l.values() == n/2 })
	if w.broker.Dir != "" {
		w.broker.Kill()
		w.broker.Restart(t)
	}
	w.produce("others", n/2, n*3/4)
	eventually(t, "what came after the broker's death", func() bool { return l.values() == n*3/4 })

	// Another joins, the first leaves.
	other := w.run(&l)
	w.produce("others", n*3/4, n-100)
	eventually(t, "what came to both", func() bool { return l.values() == n-100 })
	stop()
	w.produce("others", n-100, n)
	eventually(t, "what came to the one that is left", func() bool { return l.values() == n })
	other()
	l.check(t, n)
}

// TestNothingIsCommittedFromTheSpool: lines that are in the spool are read again
// by whoever is next.
func TestNothingIsCommittedFromTheSpool(t *testing.T) {
	w := newWorld(t, "others")
	w.produce("others", 0, 90)
	var first, second ledger
	spooled := func(_ *Config, d *Deps) {
		d.Spooled = func() uint64 { return uint64(first.values()) } // empty until something was put
	}
	stop := w.run(&first, spooled)
	eventually(t, "a batch is in the spool", func() bool { return first.values() > 0 })
	stop()
	stop = w.run(&second)
	eventually(t, "they are all read again", func() bool { return second.values() == 90 })
	stop()
	for v, ids := range first.ids {
		for id := range ids {
			if !second.ids[v][id] {
				t.Fatalf("%s had the id %s, and then %v", v, id, second.ids[v])
			}
		}
	}
}

func TestSourcesAndFormats(t *testing.T) {
	w := newWorld(t, "others", "more")
	w.produce("others", 0, 5, schemas.Header{Key: "sensor", Value: []byte("zeek-1")})
	w.produce("more", 100, 105)
	f := func(change func(*Config), want string) {
		t.Helper()
		var l ledger
		stop := w.run(&l, func(c *Config, _ *Deps) {
			c.Group = "g-" + want
			c.Topics = append(c.Topics, Topic{Name: "more"})
			change(c)
		})
		eventually(t, "all came", func() bool { return l.values() == 10 })
		stop()
		for _, line := range l.lines {
			if line.Stream[:strings.LastIndexByte(line.Stream, '/')] == "kafka/fengsui/others" && line.Format == "zeek-json" && line.Source == want {
				continue
			}
			if strings.HasPrefix(line.Stream, "kafka/fengsui/more/") && line.Format == "" && line.Source != "" {
				continue
			}
			t.Errorf("%+v", line)
		}
	}
	f(func(*Config) {}, "others")
	f(func(c *Config) { c.SourceHeader = "sensor" }, "zeek-1")
}

func TestFieldOf(t *testing.T) {
	f := func(field, value, want string) {
		t.Helper()
		in, err := New(Config{Brokers: []string{"127.0.0.1:9"}, Topics: []Topic{{Name: "t"}}, SourceField: field}, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		h := &handler{in: in, topic: "t"}
		if got := h.source(&kafka.Record{Value: []byte(value)}); got != want {
			t.Errorf("%s of %s is %q, want %q", field, value, got, want)
		}
	}
	f("host.name", `{"host":{"name":"web-1"}}`, "web-1")
	f("host.name", `{"host.name":"web-2"}`, "web-2")
	f("host.name", `{"host":"web-3"}`, "t")
	f("host.name", `no JSON`, "t")
	f("host.name", `{"host":{"name":"`+strings.Repeat("x", 300)+`"}}`, "t")
	f("host.name", `{"host":{"name":"a\nb"}}`, "t")
}

// TestOwnTopics: what is read from the collector's own topic would go there
// again.
func TestOwnTopics(t *testing.T) {
	w := newWorld(t, "others")
	f := func(brokers []string) {
		t.Helper()
		in, err := New(Config{Brokers: brokers, Topics: []Topic{{Name: schemas.TopicLogs}}}, Deps{Own: w.kafka})
		if err != nil {
			t.Fatal(err)
		}
		if err := in.Run(t.Context(), &ledger{}); err == nil || !strings.Contains(err.Error(), "own") {
			t.Errorf("reading our own topic: %v", err)
		}
	}
	f(nil)
	f([]string{strings.Replace(w.broker.Addr, "127.0.0.1", "localhost", 1)})
}

func TestValidate(t *testing.T) {
	f := func(cfg Config, want string) {
		t.Helper()
		err := cfg.Validate()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", cfg, err, want)
		}
	}
	one := []Topic{{Name: "zeek"}}
	f(Config{Topics: one}, "")
	f(Config{}, "topics: is empty")
	f(Config{Topics: []Topic{{Name: "a b"}}}, "no name of a topic")
	f(Config{Topics: []Topic{{Name: "a"}, {Name: "a"}}}, "twice")
	f(Config{Topics: one, Brokers: []string{"kafka"}}, "not host:port")
	f(Config{Topics: one, SASL: kafka.SASLConfig{Mechanism: "plain"}}, "of which there are none")
	f(Config{Topics: one, SourceField: "a", SourceHeader: "b"}, "give one")
	f(Config{Topics: one, Cluster: "a/b"}, "no name")
}
