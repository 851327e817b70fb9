package collector

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"fengsui/collector/input/flow"
	kafkainput "fengsui/collector/input/kafka"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// TestOthersTopics brings the records of another's topic into ours, over
// restarts of the collector and the death of the broker, and a datagram of flows.
func TestOthersTopics(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	others := schemas.Topic{Name: "others", Partitions: 2, Retention: time.Hour, RetentionBytes: 1 << 30}
	if err := kafka.EnsureTopics(ctx, w.cfg.Kafka, []schemas.Topic{others}, 1); err != nil {
		t.Fatal(err)
	}
	w.cfg.Inputs = []InputConfig{
		{Name: "topics", Type: "kafka", Format: "zeek", Kafka: &kafkainput.Config{Topics: []kafkainput.Topic{{Name: "others", Format: "zeek-json"}}}},
		{Name: "flows", Type: "flow", Flow: &flow.Config{UDP: []string{"127.0.0.1:0"}, ReceiveBuffer: 1 << 20}},
	}
	p, err := kafka.NewProducer(w.cfg.Kafka, kafka.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close() //nolint:errcheck // never fails
	const n = 3000
	value := func(i int) string { return fmt.Sprintf(`{"_path":"conn","n":%d}`, i) }
	produce := func(from, to int) {
		t.Helper()
		var records []kafka.Record
		for i := from; i < to; i++ {
			records = append(records, kafka.Record{Key: fmt.Append(nil, i%7), Value: []byte(value(i))})
		}
		if err := p.Produce(ctx, "others", records); err != nil {
			t.Fatal(err)
		}
	}
	produce(0, n/3)
	c := w.collect()
	eventually(t, "some lines came", func() bool { return c.metric("received_lines_total", "topics") > 0 })
	c.stop()
	produce(n/3, 2*n/3)
	c = w.collect()
	eventually(t, "more lines came", func() bool { return c.metric("received_lines_total", "topics") > 0 })
	if w.broker.Dir != "" {
		w.broker.Kill()
		w.broker.Restart(t)
	}
	produce(2*n/3, n)
	conn, err := net.Dial("udp", c.Addrs()["flows"][0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()                                        //nolint:errcheck // only written to
	if _, err := conn.Write([]byte{0, 7, 0, 1}); err != nil { // NetFlow v7, which nobody understands
		t.Fatal(err)
	}
	var s stored
	eventually(t, "everything is stored", func() bool {
		time.Sleep(100 * time.Millisecond)
		s = w.read()
		return len(s.records) >= n+1
	})
	c.stop()
	s = w.read()
	values := s.values()
	for i := range n {
		if values[value(i)] != 1 {
			t.Fatalf("%s is stored %d times", value(i), values[value(i)])
		}
	}
	for _, o := range s.origins {
		switch o.Input {
		case "topics":
			if o.Format != "zeek-json" || !strings.HasPrefix(o.Stream, "kafka/fengsui/others/") || o.Source != "others" {
				t.Fatalf("%+v", o)
			}
		case "flows":
			if o.Format != "flow" || !strings.Contains(o.Reject, "version 7") || o.Source != "127.0.0.1" {
				t.Fatalf("%+v", o)
			}
		}
	}
	t.Logf("%d records, %d repetitions", len(s.records), s.repeated)
}
