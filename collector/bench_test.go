package collector

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input/syslog"
	"fengsui/internal/kafka"
	testkafka "fengsui/internal/testkit/kafka"
	"fengsui/schemas"
)

// BenchmarkIngest takes syslog over TCP into the broker, which is another process,
// or, with Kafka away, to the disk; bench/ingest.sh measures the same beside other
// collectors, without the sender.
func BenchmarkIngest(b *testing.B) {
	b.Run("kafka", func(b *testing.B) {
		broker := testkafka.Start(b)
		cfg := kafka.DefaultConfig()
		cfg.Brokers = []string{broker.Addr}
		topic := schemas.Topic{Name: schemas.TopicLogs, Partitions: 4, Retention: time.Hour, RetentionBytes: 1 << 30}
		if err := kafka.EnsureTopics(b.Context(), cfg, []schemas.Topic{topic}, 1); err != nil {
			b.Fatal(err)
		}
		benchIngest(b, broker.Addr, func(a Account) int64 { return a.Shipped })
	})
	b.Run("spool", func(b *testing.B) {
		benchIngest(b, "127.0.0.1:1", func(a Account) int64 { return a.Spooled })
	})
}

func benchIngest(b *testing.B, broker string, arrived func(Account) int64) {
	cfg := DefaultConfig()
	cfg.Kafka.Brokers = []string{broker}
	cfg.StateDir, cfg.Spool = b.TempDir(), SpoolConfig{Dir: b.TempDir(), MaxBytes: 16 << 30}
	cfg.Inputs = []InputConfig{{Name: "bench", Type: "syslog", Unit: "410100", Syslog: &syslog.Config{TCP: "127.0.0.1:39871"}}}
	c, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	}()
	<-c.Ready()
	message := fmt.Sprintf("<38>1 2026-11-22T03:10:47.123456Z gate.example.edu sshd 4242 - - %0189d", 7)
	chunk := bytes.Repeat(fmt.Appendf(nil, "%d %s", len(message), message), 250)
	var conns []net.Conn
	for range 4 {
		conn, err := net.Dial("tcp", "127.0.0.1:39871")
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	total := int64(0)
	send := func() {
		var all sync.WaitGroup
		for _, conn := range conns {
			all.Go(func() { _, _ = conn.Write(chunk) }) // what does not arrive is missed below
		}
		all.Wait()
		total += 1000
	}
	wait := func() {
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
			n := int64(0)
			for _, a := range c.accounts.all() {
				n += arrived(a)
			}
			if n == total {
				return
			}
			if time.Now().After(deadline) {
				b.Fatalf("%d of %d lines", n, total)
			}
		}
	}
	send()
	wait() // what is done only once is done
	b.ReportAllocs()
	b.SetBytes(1000 * int64(len(message)))
	for b.Loop() {
		send()
	}
	wait()
	b.ReportMetric(float64(total-1000)/b.Elapsed().Seconds(), "lines/s")
}
