package kafka

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	testkafka.Main()
	goleak.VerifyTestMain(m, goleak.Cleanup(os.Exit))
}

func testConfig(b *testkafka.Broker) Config {
	cfg := DefaultConfig()
	cfg.Brokers = []string{b.Addr}
	return cfg
}

// testTopic makes a topic of its own for the test.
func testTopic(t testing.TB, cfg Config, partitions int) string {
	t.Helper()
	name := fmt.Sprintf("%s-%d", strings.NewReplacer("/", "-", "_", "-").Replace(t.Name()), time.Now().UnixNano())
	topic := schemas.Topic{Name: name, Partitions: partitions, Retention: time.Hour, RetentionBytes: 1 << 30}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	if err := EnsureTopics(ctx, cfg, []schemas.Topic{topic}, 1); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestRoundTrip(t *testing.T) {
	b := testkafka.Start(t)
	cfg := testConfig(b)
	topic := testTopic(t, cfg, 3)
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	p, err := NewProducer(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	var rs []Record
	for i := range 1000 {
		rs = append(rs, Record{Key: []byte(fmt.Sprintf("k%d", i%7)), Value: []byte(fmt.Sprintf("v%d", i)), Headers: []schemas.Header{{Key: "a", Value: []byte("b")}}})
	}
	if err := p.Produce(ctx, topic, rs); err != nil {
		t.Fatal(err)
	}
	n := 0
	fctx, stop := context.WithCancel(ctx)
	err = Follow(fctx, cfg, Deps{}, topic, func(r Record) error { n++; return nil }, stop)
	t.Log(n, err)
	if n != 1000 {
		t.Fatal(n)
	}
}
