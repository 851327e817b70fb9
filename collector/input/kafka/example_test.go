package kafka

import (
	"context"
	"testing"
	"time"

	"fengsui/collector/input/listen/listentest"
	"fengsui/internal/broker"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// TestExample starts what README.md shows, against a broker that wants TLS and a
// password.
func TestExample(t *testing.T) {
	a := listentest.NewAuthority(t)
	cfg := broker.DefaultConfig()
	cfg.Dir = t.TempDir() + "/broker"
	cfg.TLS.Cert, cfg.TLS.Key = a.Issue("kafka.edu.example")
	cfg.SASL.Username, cfg.SASL.Password = "fengsui", "not-a-secret"
	b, err := broker.New(cfg, broker.Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	<-b.Ready()

	w := &world{t: t, kafka: kafka.DefaultConfig()}
	w.kafka.Brokers = []string{b.Addr()}
	w.kafka.TLS = kafka.TLSConfig{Enabled: true, CA: a.CA}
	w.kafka.SASL = kafka.SASLConfig{Mechanism: "scram-sha-512", Username: "fengsui", Password: "not-a-secret"}
	var topics []schemas.Topic
	for _, name := range []string{"zeek", "suricata", "filebeat"} {
		topics = append(topics, schemas.Topic{Name: name, Partitions: 1, Retention: time.Hour, RetentionBytes: 1 << 30})
	}
	if err := kafka.EnsureTopics(t.Context(), w.kafka, topics, 1); err != nil {
		t.Fatal(err)
	}
	w.produce("zeek", 0, 10)
	w.produce("filebeat", 10, 20)

	var l ledger
	stop := w.run(&l, func(c *Config, _ *Deps) {
		*c = listentest.Example[Config](t, "kafka", "kafka.edu.example:9093", `"`+b.Addr()+`"`, "/etc/fengsui/kafka-ca.pem", a.CA)
	})
	eventually(t, "all came", func() bool { return l.values() == 20 })
	stop()
	for _, line := range l.lines {
		if line.Source[0] != 'h' || (line.Stream == "kafka/fengsui/zeek/0") != (line.Format == "zeek-json") {
			t.Errorf("%+v", line)
		}
	}
}
