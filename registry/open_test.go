package registry

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pressly/goose/v3"
	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/kafka"
	kafkatest "fengsui/internal/testkit/kafka"
	pgtest "fengsui/internal/testkit/postgres"
	"fengsui/schemas"
)

// TestMigratesTheFirstSchema opens a registry as the first release left it.
func TestMigratesTheFirstSchema(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "registry.db")
	db, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Sub(migrations, "migrations/sqlite")
	if err != nil {
		t.Fatal(err)
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, files)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := provider.UpTo(ctx, 1); err != nil {
		t.Fatal(err)
	}
	changes := []struct{ key, value string }{
		{"unit/41", `{"unit":{"code":"41","name":"某省","level":"province"}}`},
		{"unit/10001", `{"unit":{"code":"10001","name":"甲大学","level":"university","parent":"41"}}`},
		{"network/192.0.2.0/24", `{"network":{"prefix":"192.0.2.0/24","unit":"41","scan":false}}`},
		{"network/192.0.2.0/24", `{"network":{"prefix":"192.0.2.0/24","unit":"10001","scan":true}}`},
		{"domain/gone.example.cn", `{"domain":{"name":"gone.example.cn","unit":"41","scan":true}}`},
		{"domain/gone.example.cn", ""},
		{"whitelist/host/192.0.2.1/32", `{"whitelist":{"kind":"host","host":"192.0.2.1/32","unit":"10001","until":"2027-01-01T00:00:00Z"}}`},
	}
	for _, c := range changes {
		if _, err := db.Exec("INSERT INTO changes (at, who, key, value) VALUES (?, 'me', ?, ?)", "2026-01-02 03:04:05+00:00", c.key, c.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	r := closed(t)(Open(ctx, path))
	c, err := r.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	got, err := recordsOf(c)
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for _, rec := range got {
		text = append(text, string(rec.value))
	}
	if diff := cmp.Diff([]string{changes[1].value, changes[0].value, changes[3].value, changes[6].value}, text); diff != "" {
		t.Error(diff)
	}
	if err := r.Delete(ctx, "me", "unit/10001"); err == nil || !strings.Contains(err.Error(), "still owns entries: 1 of kind network, 1 of kind whitelist") {
		t.Errorf("the owner of entries is deleted: %v", err)
	}
	if changed, err := r.Put(ctx, "me", c); err != nil || changed != 0 {
		t.Errorf("what was there counts as changed: %d, %v", changed, err)
	}
}

// TestChangesBecomeVisibleInTheirOrder has two processes write while a reader
// follows by the last change it has seen: it misses none, and sees each writer's
// in the order they were made.
func TestChangesBecomeVisibleInTheirOrder(t *testing.T) {
	everywhere(t, testChangesBecomeVisibleInTheirOrder)
}

func testChangesBecomeVisibleInTheirOrder(t *testing.T, at backend) {
	ctx := context.Background()
	first, again := at.fresh(t)
	processes := []*Registry{first, again(t)}
	const writers, each = 4, 25
	var working sync.WaitGroup
	for w := range writers {
		working.Go(func() {
			for n := range each {
				unit := schemas.Unit{Code: "u" + strconv.Itoa(w), Name: strconv.Itoa(n), Level: schemas.School}
				if _, err := processes[w%2].Put(ctx, "me", &Content{Units: []schemas.Unit{unit}}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { working.Wait(); close(done) }()
	reader, last, seen := again(t), int64(0), map[string][]string{}
	for over := false; !over; {
		select {
		case <-done:
			over = true // and one look more
		default:
		}
		rows, err := changesAfter(ctx, reader.db, last)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			var s stored
			if err := json.Unmarshal([]byte(row.Value), &s); err != nil || row.ID <= last {
				t.Fatalf("change %d after %d: %v", row.ID, last, err)
			}
			last = row.ID
			seen[row.Key] = append(seen[row.Key], s.Unit.Name)
		}
	}
	var want []string
	for n := range each {
		want = append(want, strconv.Itoa(n))
	}
	for w := range writers {
		if diff := cmp.Diff(want, seen["unit/u"+strconv.Itoa(w)]); diff != "" {
			t.Errorf("writer %d: %s", w, diff)
		}
	}
}

// TestPublishersTakeTurns runs two publishers on one PostgreSQL, ends every
// connection to it in the middle, and reads what the topic was told: each key's
// values in their order, and at the end what the database holds.
func TestPublishersTakeTurns(t *testing.T) {
	ctx := context.Background()
	dsn := pgtest.Database(t)
	again := func() *Registry { return closed(t)(OpenPostgres(ctx, dsn)) }
	cfg := kafka.DefaultConfig()
	cfg.Brokers, cfg.Timeout = []string{kafkatest.Start(t).Addr}, time.Second
	if err := kafka.EnsureTopics(ctx, cfg, schemas.Topics(), 1); err != nil {
		t.Fatal(err)
	}
	defer publish(t, again(), cfg)()
	defer publish(t, again(), cfg)()
	writer := again()
	write := func(n int) {
		t.Helper()
		unit := schemas.Unit{Code: "u", Name: fmt.Sprintf("%03d", n), Level: schemas.School}
		if _, err := writer.Put(ctx, "me", &Content{Units: []schemas.Unit{unit}}); err != nil {
			t.Fatal(err)
		}
	}
	for n := range 50 {
		write(n)
	}
	pgtest.Cut(t, dsn)
	eventually(t, "the database answers again", func() bool { _, err := writer.All(ctx); return err == nil })
	for n := range 50 {
		write(50 + n)
	}
	observer, err := NewPublisher(writer, cfg, PublisherDeps{Log: quiet, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "the topic holds the newest", func() bool {
		there, err := observer.published(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(there["unit/u"], `"099"`)
	})
	names := told(t, cfg, "unit/u")
	for i := range names {
		if i > 0 && names[i] < names[i-1] {
			t.Fatalf("the topic was told %s after %s: %v", names[i], names[i-1], names)
		}
	}
}

// told are the names that the topic was given for a unit, in their order.
func told(t *testing.T, cfg kafka.Config, key string) (names []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	apply := func(r kafka.Record) error {
		if string(r.Key) == key {
			var rec schemas.RegistryRecord
			if err := json.Unmarshal(r.Value, &rec); err != nil {
				return err
			}
			names = append(names, rec.Unit.Name)
		}
		return nil
	}
	_ = kafka.Follow(ctx, cfg, kafka.Deps{Log: quiet}, schemas.TopicRegistry, apply, cancel)
	return names
}

func TestOpenPostgresSaysWhatIsWrong(t *testing.T) {
	f := func(dsn, want string) {
		t.Helper()
		_, err := OpenPostgres(context.Background(), dsn)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %q and no password", err, want)
		}
	}
	f("postgres://fengsui:hunter2@127.0.0.1:nine/fengsui", "registry.dsn")
	f("host="+t.TempDir()+" user=fengsui password=hunter2 dbname=fengsui", "opening the registry in the database fengsui")
}
