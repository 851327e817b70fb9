package clickhouse

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"fengsui/internal/store/storetest"
	"fengsui/schemas"
	files "fengsui/schemas/clickhouse"
)

func TestIsRetryable(t *testing.T) {
	f := func(err error, want bool) {
		t.Helper()
		if got := IsRetryable(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
		if err != nil && IsRetryable(fmt.Errorf("insert: %w", err)) != want {
			t.Errorf("%v: not so when wrapped", err)
		}
	}
	f(nil, false)
	f(context.Canceled, false)
	f(context.DeadlineExceeded, false)
	f(ErrEncoding, false)
	f(&ch.Exception{Code: 62}, false)
	f(&ch.Exception{Code: 60}, false)
	f(&ch.Exception{Code: 241}, true)
	f(&ch.HTTPError{StatusCode: 500, Err: &ch.Exception{Code: 27}}, false)
	f(&ch.HTTPError{StatusCode: 500, Err: &ch.Exception{Code: 243}}, true)
	f(&ch.HTTPError{StatusCode: 502, Err: errors.New("gateway")}, true)
	f(&ch.HTTPError{StatusCode: 404, Err: errors.New("not ClickHouse")}, false)
	f(io.EOF, true)
	f(&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, true)
	f(ch.ErrAcquireConnTimeout, true)
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*Config)) {
		t.Helper()
		cfg := DefaultConfig()
		cfg.Addr = "unix:///run/store.sock"
		change(&cfg)
		switch err := cfg.Validate(); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("", func(*Config) {})
	f("", func(c *Config) { c.Addr, c.Protocol, c.TLS = "ch.example:9440", Native, true })
	f("clickhouse.addr", func(c *Config) { c.Addr = "" })
	f("clickhouse.addr", func(c *Config) { c.Addr = "host" })
	f("absolute", func(c *Config) { c.Addr = "unix://store.sock" })
	f("clickhouse.protocol", func(c *Config) { c.Protocol = "grpc" })
	f("a unix socket has http", func(c *Config) { c.Protocol = Native })
	f("clickhouse.database", func(c *Config) { c.Database = "default" })
	f("clickhouse.ca_file", func(c *Config) { c.CAFile = "x" })
	f("clickhouse.max_conns", func(c *Config) { c.MaxConns = 0 })
}

func TestCluster(t *testing.T) {
	for l, want := range map[layout]string{
		{}:    "CREATE TABLE IF NOT EXISTS drift  (",
		{"c"}: "CREATE TABLE IF NOT EXISTS drift ON CLUSTER 'c' (",
	} {
		source, err := files.Files.ReadFile("00001_tables.sql")
		if err != nil {
			t.Fatal(err)
		}
		text, err := render(string(source), l)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) != 7 {
			t.Errorf("%+v: %d statements, want 7", l, len(text))
		}
		all := strings.Join(text, "\n")
		replicated := strings.Count(all, "ENGINE = Replicated")
		if !strings.Contains(all, want) || (l.cluster == "") != (replicated == 0) || l.cluster != "" && replicated != 7 {
			t.Errorf("%+v: %d replicated engines in %s", l, replicated, all)
		}
	}
}

// TestKilledStore kills the store among inserts of events. The caller who sends
// each batch again until it is acknowledged has every event once.
func TestKilledStore(t *testing.T) {
	cfg := storetest.Config(t)
	s := storetest.StartWith(t, cfg)
	db := openAt(t, cfg.Addr())
	if err := Migrate(t.Context(), db, DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	const batches, size = 30, 2000
	b := NewEventBatch()
	var ev schemas.Event
	retries := 0
	for i := range batches {
		b.Reset()
		for j := range size {
			sshd(&ev, i*size+j)
			b.Add(&ev, 0, int64(i*size+j))
		}
		if i%10 == 5 {
			victim := s
			go func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				victim.Kill()
			}()
		}
		for {
			err := db.InsertEvents(t.Context(), b, ingested, fmt.Sprint("batch ", i))
			if err == nil {
				break
			}
			if !IsRetryable(err) {
				t.Fatalf("not to be tried again: %v", err)
			}
			if retries++; retries > 100 {
				t.Fatal("does not come back")
			}
			select {
			case <-s.Done():
				s = storetest.StartWith(t, cfg)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if n, u := count(t, db, "SELECT count() FROM events"), count(t, db, "SELECT uniqExact(id) FROM events"); n != batches*size || u != n {
		t.Errorf("%d events with %d ids, want %d of both (%d retries)", n, u, batches*size, retries)
	}
}

// TestCorruptBlocks sends damaged blocks. The store refuses them, or takes what
// is still a block, and goes on.
func TestCorruptBlocks(t *testing.T) {
	s := storetest.Start(t)
	db := openAt(t, s.Config.Addr())
	if err := Migrate(t.Context(), db, DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	b := NewEventBatch()
	var ev schemas.Event
	for i := range 20 {
		sshd(&ev, i)
		ev.Set(schemas.FieldTags, schemas.Strings("a", "b"))
		ev.SetOpen("labels.k", schemas.String("v"))
		b.Add(&ev, 0, int64(i))
	}
	b.prepare(ingested)
	b.block.encode()
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 200 {
		data := bytes.Clone(b.block.out)
		for range 1 + random.IntN(4) {
			data[random.IntN(len(data))] = byte(random.Uint32())
		}
		if random.IntN(3) == 0 {
			data = data[:random.IntN(len(data))]
		}
		if err := db.InsertFormat(withToken(t.Context(), "", false), "Native", b.block.statement(), bytes.NewReader(data)); err != nil {
			refused++
			if ctx := t.Context(); ctx.Err() != nil {
				t.Fatal(ctx.Err())
			}
		}
		select {
		case <-s.Done():
			t.Fatal("the store died of a damaged block")
		default:
		}
	}
	if refused == 0 {
		t.Error("no damaged block was refused")
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}
