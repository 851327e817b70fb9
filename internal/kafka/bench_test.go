package kafka

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

// lines makes n records as the collector sends them: 300 bytes and an origin.
func lines(n int) []Record {
	o := schemas.Origin{
		Stream: "collector-1/udp-514/1700000000", Unit: "10335", Source: "192.0.2.17",
		Input: "udp-514", Format: "auto", Received: time.Now(),
	}
	rs := make([]Record, n)
	for i := range rs {
		o.Seq = uint64(i)
		rs[i] = Record{Key: fmt.Appendf(nil, "192.0.2.%d", i%64), Value: fmt.Appendf(nil, "%0300d", i), Headers: o.Headers()}
	}
	return rs
}

func BenchmarkProduce(b *testing.B) {
	cfg := testConfig(testkafka.Start(b))
	for _, compression := range []string{"none", "lz4", "zstd"} {
		for _, n := range []int{1, 1000, 5000, 20_000} {
			b.Run(fmt.Sprintf("%s/batch=%d", compression, n), func(b *testing.B) {
				cfg.Compression = compression
				topic := testTopic(b, cfg, 2)
				p := testProducer(b, cfg)
				rs := lines(n)
				for b.Loop() {
					if err := p.Produce(context.Background(), topic, rs); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

func BenchmarkConsume(b *testing.B) {
	cfg := testConfig(testkafka.Start(b))
	topic := testTopic(b, cfg, 2)
	const total = 500_000
	p := testProducer(b, cfg)
	for range total / 10_000 {
		if err := p.Produce(context.Background(), topic, lines(10_000)); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		var n atomic.Int64
		done := make(chan struct{})
		gc := groupConfig(topic)
		gc.Group = fmt.Sprintf("g%d", time.Now().UnixNano())
		m := join(b, cfg, testDeps(b), gc, always(func(_ context.Context, rs []Record) error {
			if n.Add(int64(len(rs))) == total {
				close(done)
			}
			return nil
		}))
		<-done
		b.StopTimer()
		m.stop()
		b.StartTimer()
	}
	b.ReportMetric(total*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkEncode(b *testing.B) {
	rs := lines(1000)
	buf := make([]byte, 0, 1<<20)
	for b.Loop() {
		var err error
		if buf, err = appendBatch(buf[:0], rs, time.Now(), 0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(1000*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
