package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"go.uber.org/goleak"

	"fengsui/internal/store"
	"fengsui/internal/store/storetest"
)

func TestMain(m *testing.M) {
	storetest.Main(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// open connects by the unix socket as a user.
func open(t testing.TB, s *storetest.Store, user string) driver.Conn {
	t.Helper()
	path := strings.TrimPrefix(s.Config.Addr(), "unix://")
	return openOptions(t, &ch.Options{
		Addr: []string{"localhost"}, Protocol: ch.HTTP, Auth: ch.Auth{Username: user, Database: "default"},
		DialContext: func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	})
}

func openOptions(t testing.TB, o *ch.Options) driver.Conn {
	t.Helper()
	conn, err := ch.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func codeOf(err error) int32 {
	var ex *ch.Exception
	if errors.As(err, &ex) {
		return ex.Code
	}
	return 0
}

func exec(t testing.TB, conn driver.Conn, sql string, args ...any) {
	t.Helper()
	if err := conn.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func count(t testing.TB, conn driver.Conn, sql string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := conn.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// rss is what the process has in memory, in bytes.
func rss(t testing.TB, pid int) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}

func TestTypesThroughTheDriver(t *testing.T) {
	conn := open(t, storetest.Start(t), store.UserFull)
	exec(t, conn, `CREATE TABLE default.t (
		s String, low LowCardinality(String), lown LowCardinality(Nullable(String)), n Nullable(Int64), u8 UInt8, f Float64, b Bool, nb Nullable(Bool),
		d Date, dt DateTime('UTC'), dt6 DateTime64(6, 'UTC'), ndt Nullable(DateTime64(3, 'UTC')), id UUID, ip IPv6, ip4 IPv4, dec Decimal(18, 4),
		arr Array(String), arrlow Array(LowCardinality(String)), m Map(LowCardinality(String), String), e Enum8('x' = 1, 'y' = 2), fix FixedString(3)
	) ENGINE = MergeTree ORDER BY s`)
	type row struct {
		S, Low string
		LowN   *string
		N      *int64
		U8     uint8
		F      float64
		B      bool
		NB     *bool
		D, DT  time.Time
		DT6    time.Time
		NDT    *time.Time
		ID     uuid.UUID
		IP     net.IP
		IP4    net.IP
		Dec    decimal.Decimal
		Arr    []string
		ArrLow []string
		M      map[string]string
		E, Fix string
	}
	text, seven, yes := "中文", int64(-7), true
	at := time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)
	ms := at.Truncate(time.Millisecond)
	rows := []row{
		{
			S: "a\x00b__exception__\r\n", Low: "l", LowN: &text, N: &seven, U8: 255, F: -0.25, B: true, NB: &yes, D: at.Truncate(24 * time.Hour), DT: at.Truncate(time.Second),
			DT6: at, NDT: &ms, ID: uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), IP: net.ParseIP("2001:db8::1"), IP4: net.ParseIP("192.0.2.1").To4(),
			Dec: decimal.RequireFromString("12.3456"), Arr: []string{"x", ""}, ArrLow: []string{"p", "p"}, M: map[string]string{"k": "v", "中": "文"}, E: "y", Fix: "abc",
		},
		{
			S: "b", D: time.Unix(0, 0).UTC(), DT: time.Unix(0, 0).UTC(), DT6: time.Unix(0, 0).UTC(), IP: net.IPv6zero, IP4: net.IPv4zero.To4(), Dec: decimal.Zero,
			Arr: []string{}, ArrLow: []string{}, M: map[string]string{}, E: "x", Fix: "\x00\x00\x00",
		},
	}
	batch, err := conn.PrepareBatch(t.Context(), "INSERT INTO default.t (s, low, lown, n, u8, f, b, nb, d, dt, dt6, ndt, id, ip, ip4, dec, arr, arrlow, m, e, fix)")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := batch.Append(r.S, r.Low, r.LowN, r.N, r.U8, r.F, r.B, r.NB, r.D, r.DT, r.DT6, r.NDT, r.ID, r.IP, r.IP4, r.Dec, r.Arr, r.ArrLow, r.M, r.E, r.Fix); err != nil {
			t.Fatal(err)
		}
	}
	if err := batch.Send(); err != nil {
		t.Fatal(err)
	}
	got, err := conn.Query(t.Context(), "SELECT * FROM default.t ORDER BY s")
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close() //nolint:errcheck // Err is asked
	for _, want := range rows {
		var r row
		if !got.Next() {
			t.Fatalf("a row is missing: %v", got.Err())
		}
		if err := got.Scan(&r.S, &r.Low, &r.LowN, &r.N, &r.U8, &r.F, &r.B, &r.NB, &r.D, &r.DT, &r.DT6, &r.NDT, &r.ID, &r.IP, &r.IP4, &r.Dec, &r.Arr, &r.ArrLow, &r.M, &r.E, &r.Fix); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, r, cmp.Comparer(func(a, b decimal.Decimal) bool { return a.Equal(b) })); d != "" {
			t.Error(d)
		}
	}
}

func TestStatements(t *testing.T) {
	s := storetest.Start(t)
	conn := open(t, s, store.UserFull)
	f := func(sql string, code int32) {
		t.Helper()
		if err := conn.Exec(t.Context(), sql); codeOf(err) != code || (code == 0 && err != nil) {
			t.Errorf("%s: %v, want code %d", sql, err, code)
		}
	}
	f("CREATE DATABASE d ENGINE = Atomic", 0)
	f("CREATE TABLE d.t (a UInt64) ENGINE = MergeTree ORDER BY a", 0)
	f("INSERT INTO d.t VALUES (1), (2)", 0)
	f("INSERT INTO d.t SELECT number + 3 FROM numbers(3)", 0)
	f("ALTER TABLE d.t ADD COLUMN b String DEFAULT 'x'", 0)
	f("OPTIMIZE TABLE d.t FINAL", 0)
	f("SHOW TABLES FROM d", 0)
	f("-- a comment\n/* and one more */ SELECT 1", 0)
	f("(SELECT 1) UNION ALL (SELECT 2)", 0)
	f("SELEC 1", 62)
	f("INSERT INTO d.t VALUES (8); SELEC", 62)
	f("SELECT * FROM d.nothing", 60)
	f("SELECT * FROM nothing.t", 81)
	f("SELECT throwIf(1)", 395)
	f("SELECT 1; SELECT 2", 62)
	f("INSERT INTO d.t VALUES (9); DROP TABLE d.t", 62)
	f("", 62)
	f("-- nothing", 62)
	f("INSERT INTO d.t FORMAT Native", 108)
	if n := count(t, conn, "SELECT count() FROM d.t WHERE b = 'x'"); n != 5 {
		t.Errorf("%d rows, want 5", n)
	}
	// Parameters are the server's to put in.
	var text string
	var n uint64
	ctx := ch.Context(t.Context(), ch.WithParameters(ch.Parameters{"s": `it's \\ 中文\t`, "n": "7"}))
	if err := conn.QueryRow(ctx, "SELECT {s:String}, {n:UInt64}").Scan(&text, &n); err != nil || text != "it's \\ 中文\t" || n != 7 {
		t.Errorf("parameters: %q, %d, %v", text, n, err)
	}
	// Settings go with the query, and only with it.
	ctx = ch.Context(t.Context(), ch.WithSettings(ch.Settings{"max_result_rows": 1}))
	if err := conn.Exec(ctx, "SELECT number FROM numbers(10)"); codeOf(err) != 396 {
		t.Errorf("a setting was not obeyed: %v", err)
	}
	f("SELECT number FROM numbers(10)", 0)
	ctx = ch.Context(t.Context(), ch.WithSettings(ch.Settings{"no_such_setting": 1}))
	if err := conn.Exec(ctx, "SELECT 1"); codeOf(err) != 115 {
		t.Errorf("an unknown setting: %v", err)
	}
}

func TestStreaming(t *testing.T) {
	s := storetest.Start(t)
	conn := open(t, s, store.UserFull)
	before := rss(t, s.PID())
	rows, err := conn.Query(t.Context(), "SELECT number, toString(number) AS s FROM system.numbers LIMIT 5000000")
	if err != nil {
		t.Fatal(err)
	}
	var n, sum uint64
	for rows.Next() {
		var x uint64
		var text string
		if err := rows.Scan(&x, &text); err != nil {
			t.Fatal(err)
		}
		n, sum = n+1, sum+x
	}
	if err := rows.Err(); err != nil || n != 5_000_000 || sum != 12_499_997_500_000 {
		t.Errorf("%d rows, sum %d: %v", n, sum, err)
	}
	_ = rows.Close()
	if grown := rss(t, s.PID()) - before; grown > 200<<20 {
		t.Errorf("streaming 100 MB took %d MiB of memory", grown>>20)
	}
	// A failure after the first rows reaches the client as an exception.
	rows, err = conn.Query(t.Context(), "SELECT throwIf(number = 2000000, 'half way') FROM system.numbers LIMIT 3000000")
	if err != nil {
		t.Fatal(err)
	}
	for n = 0; rows.Next(); n++ {
	}
	if err := rows.Err(); codeOf(err) != 395 || n == 0 {
		t.Errorf("after %d rows: %v, want code 395", n, err)
	}
	_ = rows.Close()
}

// running is how many queries the engine runs, besides this one.
func running(t testing.TB, conn driver.Conn) uint64 {
	return count(t, conn, "SELECT count() FROM system.processes WHERE query NOT LIKE '%system.processes%'")
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within 10 s: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestCancel(t *testing.T) {
	s := storetest.Start(t)
	conn := open(t, s, store.UserFull)
	f := func(sql string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- conn.Exec(ctx, sql) }()
		eventually(t, "the query runs", func() bool { return running(t, conn) == 1 })
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", sql, err)
		}
		eventually(t, "the query ends in the engine", func() bool { return running(t, conn) == 0 })
	}
	f("SELECT count() FROM system.numbers WHERE NOT ignore(sipHash64(number))")
	f("SELECT sum(sleepEachRow(0.5)) FROM numbers(10000) SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 0")
	exec(t, conn, "CREATE TABLE default.c (a UInt64) ENGINE = MergeTree ORDER BY a")
	f("INSERT INTO default.c SELECT number FROM system.numbers WHERE sleepEachRow(0.1) = 0 SETTINGS max_block_size = 1")
}

func TestQueryTimeout(t *testing.T) {
	cfg := storetest.Config(t)
	cfg.QueryTimeout = 300 * time.Millisecond
	conn := open(t, storetest.StartWith(t, cfg), store.UserFull)
	if err := conn.Exec(t.Context(), "SELECT count() FROM system.numbers"); codeOf(err) != 159 {
		t.Errorf("%v, want code 159", err)
	}
}

func TestReader(t *testing.T) {
	s := storetest.Start(t)
	full, reader := open(t, s, store.UserFull), open(t, s, store.UserReader)
	exec(t, full, "CREATE TABLE default.t (a UInt64, file_name String) ENGINE = MergeTree ORDER BY a")
	exec(t, full, "INSERT INTO default.t VALUES (1, 'x')")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	f := func(sql string, allowed bool) {
		t.Helper()
		err := reader.Exec(t.Context(), strings.NewReplacer("SECRET", secret, "OUT", out).Replace(sql))
		if allowed && err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		if !allowed && err == nil {
			t.Errorf("%s: was allowed", sql)
		}
	}
	f("SELECT a, file_name FROM default.t WHERE file_name LIKE '%file(%' OR a > 0", true)
	f("WITH 1 AS x SELECT x AS `数量`, count() FROM default.t GROUP BY ALL", true)
	f("SELECT * FROM numbers(3) /* file */ -- url('x')", true)
	f("SHOW TABLES FROM default", true)
	f("DESCRIBE TABLE default.t", true)
	f("EXPLAIN SELECT 1", true)

	f("INSERT INTO default.t VALUES (2, 'y')", false)
	f("INSERT INTO default.t SELECT 2, 'y'", false)
	f("DROP TABLE default.t", false)
	f("CREATE TEMPORARY TABLE x (a Int8)", false)
	f("SET readonly = 0", false)
	f("SELECT 1 SETTINGS readonly = 0", false)
	f("SELECT 1 SETTINGS max_threads = 100", false)
	f("SELECT 1 SETTINGS log_comment = 'mine'", false)
	f("KILL QUERY WHERE 1", false)
	f("SYSTEM FLUSH LOGS", false)
	f("SELECT * FROM file('SECRET', 'TSV', 'a UInt64')", false)
	f("SELECT file('SECRET')", false)
	f("SELECT FILE ('SECRET')", false)
	f("SELECT `file`('SECRET')", false)
	f("SELECT \"file\"('SECRET')", false)
	f("SELECT `f\\x69le`('SECRET')", false)
	f("SELECT 'SECRET' AS p, * APPLY(file) FROM (SELECT 'SECRET' AS q)", false)
	f("SELECT 1 /* /* */ + length(file('SECRET')) /* */ */", false)
	f("SELECT $$'$$, file('SECRET'), $$'$$", false)
	f("SELECT ‘'‘, file('SECRET')", false)
	f("DESCRIBE file('SECRET')", false)
	f("DESCRIBE url('http://127.0.0.1:1/', 'CSV')", false)
	f("DESCRIBE TABLE s3('http://127.0.0.1:1/a/b')", false)
	f("SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')", false)
	f("SELECT * FROM remote('127.0.0.1:1', system.one)", false)
	f("SELECT * FROM executable('id', 'TSV', 'a String')", false)
	f("SELECT * FROM sqlite('SECRET', 't')", false)
	f("EXPLAIN SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a Int8')", false)
	f("SELECT 1 INTO OUTFILE 'OUT'", false)
	f("SELECT 1; SELECT 2", false)
	if _, err := os.Stat(out); err == nil {
		t.Error("a file was written")
	}
	if n := count(t, full, "SELECT count() FROM default.t"); n != 1 {
		t.Errorf("%d rows, want 1", n)
	}
	ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"max_memory_usage": 0}))
	if err := reader.Exec(ctx, "SELECT 1"); err == nil {
		t.Error("the reader could set a setting")
	}
}

// A question takes as many threads as there are processors, though the store has
// little memory; who asks may say otherwise.
func TestThreads(t *testing.T) {
	s := storetest.Start(t)
	if runtime.NumCPU() == 1 {
		t.Skip("one processor: there is nothing to share")
	}
	f := func(user, settings string, many bool) {
		t.Helper()
		var pipeline strings.Builder
		rows, err := open(t, s, user).Query(t.Context(), "EXPLAIN PIPELINE SELECT sum(number) FROM numbers_mt(100000000)"+settings)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close() //nolint:errcheck // read to the end below
		for rows.Next() {
			var line string
			if err := rows.Scan(&line); err != nil {
				t.Fatal(err)
			}
			pipeline.WriteString(line + "\n")
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(pipeline.String(), "×") != many {
			t.Errorf("%s%s: %s", user, settings, &pipeline)
		}
	}
	f(store.UserFull, "", true)
	f(store.UserReader, "", true)
	f(store.UserFull, " SETTINGS max_threads_min_free_memory_per_thread = 1073741824", false)
}

func TestReaderResultIsBounded(t *testing.T) {
	cfg := storetest.Config(t)
	cfg.ReaderResult = 1 << 20
	reader := open(t, storetest.StartWith(t, cfg), store.UserReader)
	rows, err := reader.Query(t.Context(), "SELECT number FROM numbers(10000000)")
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
	}
	if err := rows.Err(); codeOf(err) != 396 {
		t.Errorf("%v, want code 396", err)
	}
	_ = rows.Close()
}

func TestAuthentication(t *testing.T) {
	cfg := storetest.Config(t)
	cfg.Listen, cfg.Password, cfg.ReaderPassword = "127.0.0.1:0", "s3cret", "look"
	s := storetest.StartWith(t, cfg)
	f := func(user, password string, ok bool) {
		t.Helper()
		conn := openOptions(t, &ch.Options{Addr: []string{s.TCP}, Protocol: ch.HTTP, Auth: ch.Auth{Username: user, Password: password}})
		err := conn.Exec(t.Context(), "SELECT 1")
		if ok && err != nil {
			t.Errorf("%s/%s: %v", user, password, err)
		}
		if !ok && codeOf(err) != 516 {
			t.Errorf("%s/%s: %v, want code 516", user, password, err)
		}
		if strings.Contains(fmt.Sprint(err), cfg.Password) {
			t.Errorf("the answer tells the password: %v", err)
		}
	}
	f("fengsui", "s3cret", true)
	f("default", "s3cret", true)
	f("reader", "look", true)
	f("reader", "s3cret", false)
	f("fengsui", "look", false)
	f("fengsui", "", false)
	f("fengsui", "s3cret ", false)
	f("nobody", "s3cret", false)
	f("nobody", "", false)

	header := func(key string, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.TCP+"/?query=SELECT+1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-ClickHouse-User", "fengsui")
		req.Header.Set("X-ClickHouse-Key", key)
		req.Close = true
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		body, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != want {
			t.Errorf("key %q: %d %s, want %d", key, resp.StatusCode, body, want)
		}
	}
	header("s3cret", http.StatusOK)
	header("wrong", http.StatusForbidden)

	info, err := os.Stat(strings.TrimPrefix(cfg.Addr(), "unix://"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket's mode is %v (%v), want 0600", info.Mode(), err)
	}
}

func TestSecondProcessIsRefused(t *testing.T) {
	s := storetest.Start(t)
	cfg := s.Config
	cfg.Socket = filepath.Join(filepath.Dir(cfg.Dir), "other.sock")
	if _, err := storetest.TryStart(t, cfg); err == nil || !strings.Contains(err.Error(), store.ErrInUse.Error()) {
		t.Errorf("%v, want %v", err, store.ErrInUse)
	}
	exec(t, open(t, s, store.UserFull), "SELECT 1")
}

func TestStopIsQuickAndKeepsData(t *testing.T) {
	s := storetest.Start(t)
	conn := open(t, s, store.UserFull)
	exec(t, conn, "CREATE TABLE default.t (a UInt64) ENGINE = MergeTree ORDER BY a")
	exec(t, conn, "INSERT INTO default.t SELECT number FROM numbers(1000)")
	done := make(chan error, 1)
	go func() {
		done <- conn.Exec(context.Background(), "SELECT count() FROM system.numbers WHERE NOT ignore(sipHash64(number))")
	}()
	eventually(t, "the query runs", func() bool { return running(t, conn) == 1 })
	start := time.Now()
	if err := s.Stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := <-done; err == nil {
		t.Error("a query that runs for ever ended well")
	}
	again := storetest.StartWith(t, s.Config)
	if n := count(t, open(t, again, store.UserFull), "SELECT count() FROM default.t"); n != 1000 {
		t.Errorf("%d rows after a restart, want 1000", n)
	}
}

// TestKill kills the store in the middle of inserts, again and again. Every batch
// that was acknowledged is there, and every batch sent again is there once.
func TestKill(t *testing.T) {
	cfg := storetest.Config(t)
	s := storetest.StartWith(t, cfg)
	conn := open(t, s, store.UserFull)
	exec(t, conn, `CREATE TABLE default.k (batch UInt64, n UInt64, text String) ENGINE = MergeTree ORDER BY n
		SETTINGS non_replicated_deduplication_window = 10000`)
	const batches, size, kills = 150, 1000, 5
	send := func(i int) error {
		ctx := ch.Context(t.Context(), ch.WithSettings(ch.Settings{"insert_deduplicate": 1, "insert_deduplication_token": fmt.Sprint("b", i)}))
		b, err := conn.PrepareBatch(ctx, "INSERT INTO default.k (batch, n, text)")
		if err != nil {
			return err
		}
		for j := range size {
			if err := b.Append(uint64(i), uint64(j), strings.Repeat("x", j%50)); err != nil {
				return err
			}
		}
		return b.Send()
	}
	retries := 0
	for i := range batches {
		if i > 0 && i%(batches/kills) == 0 {
			victim := s
			go func() {
				time.Sleep(time.Duration(i%7) * time.Millisecond)
				victim.Kill()
			}()
		}
		for send(i) != nil {
			if retries++; retries > 100 {
				t.Fatal("does not come back")
			}
			select {
			case <-s.Done():
				s = storetest.StartWith(t, cfg)
				conn = open(t, s, store.UserFull)
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	if retries == 0 {
		t.Error("no batch was interrupted: the test showed nothing")
	}
	if n := count(t, conn, "SELECT count() FROM (SELECT batch, count() AS c, uniqExact(n) AS u FROM default.k GROUP BY batch HAVING c = ? AND u = ?)", size, size); n != batches {
		t.Errorf("%d of %d batches are there exactly once", n, batches)
	}
}

// TestBrokenRequests sends what no client should. The store answers each, and
// goes on.
func TestBrokenRequests(t *testing.T) {
	s := storetest.Start(t)
	conn := open(t, s, store.UserFull)
	exec(t, conn, "CREATE TABLE default.t (a UInt64, s String, l LowCardinality(String), m Map(String, String)) ENGINE = MergeTree ORDER BY a")
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", strings.TrimPrefix(s.Config.Addr(), "unix://"))
		},
	}}
	f := func(method, query string, body io.Reader, want int) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "http://localhost/?"+query, body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			if want != 0 {
				t.Errorf("%s %s: %v", method, query, err)
			}
			return
		}
		defer resp.Body.Close() //nolint:errcheck // read only
		text, _ := io.ReadAll(resp.Body)
		if want != 0 && resp.StatusCode != want {
			t.Errorf("%s %s: %d %.200s, want %d", method, query, resp.StatusCode, text, want)
		}
	}
	const insert = "query=INSERT+INTO+default.t+(a,s,l,m)+FORMAT+Native"
	f("DELETE", "query=SELECT+1", nil, 400)
	f("GET", "query=SELECT+1", nil, 200)
	f("GET", "query=DROP+TABLE+default.t", nil, 403)
	f("GET", "query=%zz", nil, 400)
	f("POST", "a%20b=1", strings.NewReader("SELECT 1"), 400)
	f("POST", "session_id=x", strings.NewReader("SELECT 1"), 500)
	f("POST", "compress=1", strings.NewReader("SELECT 1"), 500)
	f("POST", "database=nothing", strings.NewReader("SELECT 1"), 404)
	f("POST", "default_format=No%20Such", strings.NewReader("SELECT 1"), 500)
	f("POST", "default_format=NoSuch", strings.NewReader("SELECT 1"), 500)
	f("POST", "", strings.NewReader("SELECT '"+strings.Repeat("x", 5<<20)+"'"), 400)
	f("POST", "", strings.NewReader("\x00\xff\xfe"), 400)
	f("POST", insert, strings.NewReader(""), 500)
	f("POST", insert, strings.NewReader("\x04\x01garbage"), 500)
	f("POST", insert, strings.NewReader(strings.Repeat("\xff", 3<<20)), 500)
	f("POST", "query=INSERT+INTO+default.t+(a)", strings.NewReader("1"), 400)
	f("POST", "query=INSERT+INTO+default.t+(a)+FORMAT+TSV", strings.NewReader("7\n8\n"), 200)
	f("POST", "query=INSERT+INTO+default.t+(a)+VALUES", strings.NewReader("(9),(10)"), 200)
	// A body that breaks off is not stored, not even what came of it.
	f("POST", "query=INSERT+INTO+default.t+(a)+FORMAT+TSV", io.MultiReader(strings.NewReader(strings.Repeat("11\n", 1<<20)), broken{}), 0)
	if n := count(t, conn, "SELECT count() FROM default.t"); n != 4 {
		t.Errorf("%d rows, want 4", n)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errors.New("the client died") }

func TestWithoutLibrary(t *testing.T) {
	cfg := store.DefaultConfig()
	cfg.Dir = t.TempDir()
	f := func(library, env, want string) {
		t.Helper()
		t.Setenv(store.LibraryEnv, env)
		cfg.Library = library
		s, err := store.New(cfg, store.Deps{})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("/nowhere/libchdb.so", "", "there is no such file")
	f("", "/nowhere/libchdb.so", store.LibraryEnv)
	t.Chdir(t.TempDir())
	f("", "", store.InstallCommand)
}

func TestConfig(t *testing.T) {
	f := func(want string, change func(*store.Config)) {
		t.Helper()
		cfg := store.DefaultConfig()
		cfg.Dir = "/tmp/x"
		change(&cfg)
		switch err := cfg.Validate(); {
		case want == "" && err != nil:
			t.Error(err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%v, want %q", err, want)
		}
	}
	f("", func(*store.Config) {})
	f("store.dir", func(c *store.Config) { c.Dir = "" })
	f("not a loopback", func(c *store.Config) { c.Listen, c.Password = "0.0.0.0:1", "x" })
	f("store.password", func(c *store.Config) { c.Listen = "127.0.0.1:1" })
	f("store.listen", func(c *store.Config) { c.Listen = "localhost" })
	f("reader_password", func(c *store.Config) { c.Password, c.ReaderPassword = "x", "x" })
	f("max_memory", func(c *store.Config) { c.MaxMemory = 1 })
	f("max_concurrent", func(c *store.Config) { c.MaxConcurrent = 0 })
	f("107", func(c *store.Config) { c.Socket = "/" + strings.Repeat("x", 120) })
}
