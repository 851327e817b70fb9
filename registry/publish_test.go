package registry

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"fengsui/internal/directory"
	"fengsui/internal/directory/follow"
	"fengsui/internal/kafka"
	kafkatest "fengsui/internal/testkit/kafka"
	pgtest "fengsui/internal/testkit/postgres"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	kafkatest.Main()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		pgtest.Stop()
		os.Exit(code)
	}))
}

var quiet = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))

// publish runs a publisher of r until the returned function is called.
func publish(t *testing.T, r *Registry, cfg kafka.Config) (stop func()) {
	t.Helper()
	p, err := NewPublisher(r, cfg, PublisherDeps{Log: quiet, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	select {
	case <-p.Ready():
	case err := <-done:
		t.Fatalf("publisher: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the publisher is not ready after 30 s")
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("publisher: %v", err)
		}
	}
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !check(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// TestPublisher is a registry on its way to every service: what is there at the
// start, what changes, what is deleted; and, after a start with another
// database, what the topic must no longer hold.
func TestPublisher(t *testing.T) { everywhere(t, testPublisher) }

func testPublisher(t *testing.T, at backend) {
	ctx := context.Background()
	b := kafkatest.Start(t)
	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{b.Addr}
	if err := kafka.EnsureTopics(ctx, cfg, schemas.Topics(), 1); err != nil {
		t.Fatal(err)
	}
	r, again := at.fresh(t)
	if _, err := r.Put(ctx, "me", read(t, "a.yaml", province)); err != nil {
		t.Fatal(err)
	}
	dir := directory.New()
	f, err := follow.New(cfg, dir, follow.Deps{Log: quiet, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	following, stopFollowing := context.WithCancel(ctx)
	followed := make(chan error, 1)
	go func() { followed <- f.Run(following) }()
	defer func() {
		stopFollowing()
		if err := <-followed; err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-f.Ready():
		t.Error("ready before anybody has published")
	case <-time.After(300 * time.Millisecond):
	}
	stop := publish(t, r, cfg)
	<-f.Ready()
	if n := len(dir.Snapshot().Whitelist()); n != 3 {
		t.Errorf("%d whitelist entries at the start", n)
	}

	// Another process makes a change.
	other := again(t)
	more := read(t, "b.yaml", `whitelist: [{kind: port, host: 192.0.2.10/32, port: 22, unit: "10001"}]`)
	if _, err := other.Put(ctx, "somebody", more); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new entry is known", func() bool { return len(dir.Snapshot().Whitelist()) == 4 })
	if err := other.Delete(ctx, "somebody", "whitelist/port/192.0.2.10/32/tcp/22"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the deleted entry is gone", func() bool { return len(dir.Snapshot().Whitelist()) == 3 })
	stop()

	// Another registry takes the place of this one.
	restored := at.open(t)
	if _, err := restored.Put(ctx, "me", read(t, "c.yaml", strings.Split(province, "networks:")[0])); err != nil {
		t.Fatal(err)
	}
	stop = publish(t, restored, cfg)
	defer stop()
	eventually(t, "what the other registry does not hold is gone", func() bool {
		s := dir.Snapshot()
		return len(s.Whitelist()) == 0 && len(s.AllNetworks()) == 0 && len(s.Units()) == 3
	})
}
