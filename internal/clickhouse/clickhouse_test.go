package clickhouse

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"fengsui/internal/store/storetest"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	storetest.Main(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// open starts a store and opens its database, migrated.
func open(t testing.TB) *DB {
	t.Helper()
	db := openAt(t, storetest.Start(t).Config.Addr())
	if err := Migrate(t.Context(), db, DefaultRetention()); err != nil {
		t.Fatal(err)
	}
	return db
}

func openAt(t testing.TB, addr string) *DB {
	t.Helper()
	cfg := DefaultConfig()
	cfg.Addr = addr
	db, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// sshd fills ev with what the sshd parser makes of a line.
func sshd(ev *schemas.Event, i int) {
	ev.Reset()
	at := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Millisecond)
	ip := netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)})
	ev.Origin = schemas.Origin{
		Stream: "collector-1/syslog/7", Seq: uint64(i), Unit: "u-001", Source: "10.1.2.3", Input: "syslog",
		Format: "syslog", Received: at.Add(time.Second),
	}
	ev.Original = fmt.Sprintf("<86>Mar  1 08:00:00 web-%02d sshd[%d]: Failed password for invalid user admin%d from %s port %d ssh2",
		i%40, 1000+i%5000, i%300, ip, 1024+i%60000)
	ev.SetTime(schemas.FieldTimestamp, at)
	ev.SetString(schemas.FieldMessage, ev.Original[35:])
	ev.SetString(schemas.FieldEventKind, "event")
	ev.SetString(schemas.FieldEventCategory, "authentication")
	ev.SetString(schemas.FieldEventType, "start")
	ev.SetString(schemas.FieldEventAction, "ssh_login")
	ev.SetString(schemas.FieldEventOutcome, "failure")
	ev.SetString(schemas.FieldEventModule, "sshd")
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	ev.SetString(schemas.FieldOrganizationID, "u-001")
	ev.SetInt(schemas.FieldLogSyslogFacilityCode, 10)
	ev.SetInt(schemas.FieldLogSyslogSeverityCode, 6)
	ev.SetString(schemas.FieldHostName, fmt.Sprintf("web-%02d", i%40))
	ev.SetString(schemas.FieldProcessName, "sshd")
	ev.SetInt(schemas.FieldProcessPID, int64(1000+i%5000))
	ev.SetString(schemas.FieldUserName, fmt.Sprintf("admin%d", i%300))
	ev.Set(schemas.FieldSourceIP, schemas.Addr(ip))
	ev.SetInt(schemas.FieldSourcePort, int64(1024+i%60000))
	ev.SetString(schemas.FieldNetworkTransport, "tcp")
}

func count(t testing.TB, db *DB, query string, args ...any) uint64 {
	t.Helper()
	var n uint64
	if err := db.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestMigrateConverges(t *testing.T) {
	db := openAt(t, storetest.Start(t).Config.Addr())
	ctx := t.Context()
	f := func(what string, retention RetentionConfig, fields []schemas.Field, open []schemas.OpenNamespace, want int) {
		t.Helper()
		for _, run := range []int{want, 0} {
			changes, err := migrate(ctx, db, retention, fields, open)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			if changes != run {
				t.Errorf("%s: %d changes, want %d", what, changes, run)
			}
		}
	}
	keep := DefaultRetention()
	all, open := schemas.Fields(), schemas.OpenNamespaces()
	var indexedOnly []schemas.Field
	for _, id := range append([]schemas.FieldID{schemas.FieldTimestamp}, indexed...) {
		indexedOnly = append(indexedOnly, id.Field())
	}
	f("an old catalogue", keep, indexedOnly, nil, 10)
	f("today's catalogue", keep, all, open, 1)
	keep.Events, keep.Alerts = 400*day, 0
	f("another retention", keep, all, open, 2)
	f("the default again", DefaultRetention(), all, open, 2)
	keep = DefaultRetention()
	keep.Edges = 365 * day
	f("edges that are forgotten", keep, all, open, 1)
	f("and are not", DefaultRetention(), all, open, 1)

	changed := append([]schemas.Field(nil), all...)
	for i := range changed {
		switch changed[i].Name {
		case "user.name":
			changed[i].Low = true
		}
	}
	f("a field that became low", DefaultRetention(), changed, open, 1)
	for i := range changed {
		if changed[i].Name == "user.name" {
			changed[i].Low, changed[i].Type = false, schemas.Long
		}
	}
	if _, err := migrate(ctx, db, DefaultRetention(), changed, open); err == nil {
		t.Error("a string column was to become a number, and nobody objected")
	}
	columns := count(t, db, "SELECT count() FROM system.columns WHERE database = 'fengsui' AND table = 'events'")
	if want := uint64(len(all) + len(open) + 14); columns != want {
		t.Errorf("%d columns, want %d", columns, want)
	}
}

func TestEventsRoundTrip(t *testing.T) {
	db := open(t)
	f := func(insert func(*EventBatch, string) error) {
		t.Helper()
		if err := db.Exec(t.Context(), "TRUNCATE TABLE events"); err != nil {
			t.Fatal(err)
		}
		b := NewEventBatch()
		var ev schemas.Event
		for i := range 3 {
			sshd(&ev, i)
			if i == 1 {
				ev.Set(schemas.FieldTags, schemas.Strings("a", "中文", ""))
				ev.Set(schemas.FieldDNSAnswersTTL, schemas.List(schemas.Int(60), schemas.Int(-1), schemas.String("x")))
				ev.Set(schemas.FieldEventRiskScore, schemas.Float(0.5))
				ev.Set(schemas.FieldTLSEstablished, schemas.Bool(true))
				ev.SetTime(schemas.FieldEventStart, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
				ev.SetOpen("winlog.event_data.TargetUserName", schemas.String("bob"))
				ev.SetOpen("winlog.event_data.Nothing", schemas.Int(7))
				ev.SetOpen("labels.k", schemas.String("v"))
				ev.Set(schemas.FieldProcessPID, schemas.String("no number"))
				ev.Drill = true
			}
			b.Add(&ev, 3, int64(100+i))
		}
		if b.Len() != 3 || b.Misfits() != 2 {
			t.Errorf("%d rows, %d misfits, want 3 and 2", b.Len(), b.Misfits())
		}
		if err := insert(b, "t1"); err != nil {
			t.Fatal(err)
		}
		type row struct {
			ID, Stream           string
			Seq, Offset          uint64
			Partition            uint16
			Ingested, Received   time.Time
			Timestamp            time.Time
			Drill                bool
			Tags                 []string
			TTL                  []int64
			Risk                 *float64
			Established          *bool
			Start                *time.Time
			PID                  *int64
			Winlog, Labels       map[string]string
			SourceIP, User, Orig string
		}
		var got row
		err := db.QueryRow(t.Context(), `SELECT id, stream, seq, kafka_offset, kafka_partition, ingested, received, timestamp, drill, tags,
			dns_answers_ttl, event_risk_score, tls_established, event_start, process_pid, winlog_event_data, labels, source_ip, user_name, original
			FROM events WHERE seq = 1`).Scan(&got.ID, &got.Stream, &got.Seq, &got.Offset, &got.Partition, &got.Ingested, &got.Received, &got.Timestamp,
			&got.Drill, &got.Tags, &got.TTL, &got.Risk, &got.Established, &got.Start, &got.PID, &got.Winlog, &got.Labels, &got.SourceIP, &got.User, &got.Orig)
		if err != nil {
			t.Fatal(err)
		}
		half, yes, start := 0.5, true, time.Date(2262, 4, 11, 23, 47, 16, 854775000, time.UTC)
		want := row{
			ID: "collector-1/syslog/7-1", Stream: "collector-1/syslog/7", Seq: 1, Offset: 101, Partition: 3,
			Ingested: ingested, Received: time.Date(2026, 3, 1, 8, 0, 1, 1e6, time.UTC), Timestamp: time.Date(2026, 3, 1, 8, 0, 0, 1e6, time.UTC),
			Drill: true, Tags: []string{"a", "中文", ""}, TTL: []int64{60, -1}, Risk: &half, Established: &yes, Start: &start,
			Winlog: map[string]string{"TargetUserName": "bob", "Nothing": "7"}, Labels: map[string]string{"k": "v"},
			SourceIP: "203.0.0.1", User: "admin1", Orig: ev.Original,
		}
		sshd(&ev, 1)
		want.Orig = ev.Original
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		if n := count(t, db, "SELECT count() FROM events WHERE empty(labels) AND event_risk_score IS NULL AND process_pid > 0"); n != 2 {
			t.Errorf("%d rows without what only the second has, want 2", n)
		}
		// The batch is used again, and holds nothing of before.
		b.Reset()
		ev.Reset()
		ev.Stream, ev.Seq = "other", math.MaxUint64
		b.Add(&ev, 0, 0)
		if err := insert(b, "t2"); err != nil {
			t.Fatal(err)
		}
		if n := count(t, db, "SELECT count() FROM events WHERE stream = 'other' AND seq = 18446744073709551615 AND empty(labels) AND user_name = ''"); n != 1 {
			t.Errorf("%d rows of the batch used again, want 1", n)
		}
	}
	f(func(b *EventBatch, token string) error { return db.InsertEvents(t.Context(), b, ingested, token) })
	// The native protocol's way of sending, as far as it can go over HTTP.
	f(func(b *EventBatch, token string) error {
		b.prepare(ingested)
		b.block.encode()
		return db.insertNative(withToken(context.Background(), "n"+token, false), &b.block)
	})
}

// ingested is now: what was written 180 days ago is gone at once.
var ingested = time.Now().UTC().Truncate(time.Millisecond)

func TestDedup(t *testing.T) {
	db := open(t)
	b := NewEventBatch()
	var ev schemas.Event
	for i := range 1000 {
		sshd(&ev, i)
		b.Add(&ev, i%2, int64(i))
	}
	f := func(token string, want uint64) {
		t.Helper()
		if err := db.InsertEvents(t.Context(), b, ingested, token); err != nil {
			t.Fatal(err)
		}
		if got := count(t, db, "SELECT count() FROM events"); got != want {
			t.Errorf("after %s: %d rows, want %d", token, got, want)
		}
	}
	f("a", 1000)
	f("a", 1000)
	f("b", 2000)
	f("a", 2000)
	f("", 3000) // without a token nothing is taken for a repetition
	marks, err := db.HighWater(t.Context(), "events", 1, 500)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]uint64{"collector-1/syslog/7": 999}, marks); d != "" {
		t.Error(d)
	}
	if marks, err = db.HighWater(t.Context(), "events", 1, 1000); err != nil || len(marks) != 0 {
		t.Errorf("past the end: %v, %v", marks, err)
	}
}

func TestBatchIsOnePart(t *testing.T) {
	db := open(t)
	b := NewEventBatch()
	var ev schemas.Event
	for i := range 120_000 {
		sshd(&ev, i)
		ev.SetTime(schemas.FieldTimestamp, time.Date(2020+i%5, 1, 1, 0, 0, 0, 0, time.UTC))
		b.Add(&ev, 0, int64(i))
	}
	if err := db.Exec(t.Context(), "SYSTEM STOP MERGES"); err != nil {
		t.Fatal(err)
	}
	if err := db.InsertEvents(t.Context(), b, ingested, "one"); err != nil {
		t.Fatal(err)
	}
	if n := count(t, db, "SELECT count() FROM system.parts WHERE table = 'events' AND active"); n != 1 {
		t.Errorf("%d parts: the batch was cut, so half of it could be stored", n)
	}
}

func TestDocs(t *testing.T) {
	db := open(t)
	ctx := t.Context()
	at := ingested.Truncate(time.Hour).Add(123456 * time.Microsecond) // not so old that the store may drop it
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	same := func(want, got any) {
		t.Helper()
		if d := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
			t.Error(d)
		}
	}
	alert := schemas.Alert{
		ID: "a1", Version: 1, Kind: schemas.AlertRule, Status: schemas.AlertOpen, Unit: "u", Host: "h",
		Rule:  schemas.Rule{ID: "r", Title: "爆破", Level: schemas.High, Tags: []string{"attack.t1110"}},
		First: at, Last: at, Raised: at, Updated: at, Count: 1, EventIDs: []string{"e-1"}, Summary: "s__exception__s",
	}
	ok(db.InsertAlerts(ctx, []schemas.Alert{alert}, "1"))
	newer := alert
	newer.Version, newer.Count, newer.Last = 2, 5, at.Add(time.Minute)
	ok(db.InsertAlerts(ctx, []schemas.Alert{newer}, "2"))
	ok(db.InsertAlerts(ctx, []schemas.Alert{alert}, "3")) // an old version comes late
	alerts, err := LoadDocs[schemas.Alert](ctx, db, "alerts", "status = ? AND level = ? ORDER BY last DESC LIMIT 10", "open", "high")
	ok(err)
	same([]schemas.Alert{newer}, alerts)

	detection := schemas.MiningDetection{
		ID: "m1", Version: 1, Status: schemas.AlertOpen, Host: "10.0.0.1", Unit: "u", Pools: []string{"pool.example"},
		Confidence: 0.9, First: at, Last: at, Raised: at, Updated: at, Count: 1,
		Evidence: []schemas.MiningEvidence{{Kind: schemas.PoolDomainDNS, EventID: "e-1", Time: at, Pool: "pool.example", Weight: 0.9}},
	}
	ok(db.InsertDetections(ctx, []schemas.MiningDetection{detection}, "1"))
	detections, err := LoadDocs[schemas.MiningDetection](ctx, db, "mining_detections", "has(pools, ?) AND confidence > ?", "pool.example", 0.8)
	ok(err)
	same([]schemas.MiningDetection{detection}, detections)

	ip := netip.MustParseAddr("192.0.2.1")
	asset := schemas.Asset{
		Key: schemas.ServiceKey(ip, "tcp", 443), Version: 3, Kind: schemas.AssetService, Unit: "u", IP: ip, Port: 443, Transport: "tcp", Alive: true,
		Service: &schemas.Service{Name: "https", Product: "nginx"}, First: at, Last: at, Updated: at,
	}
	ok(db.InsertAssets(ctx, []schemas.Asset{asset}, "1"))
	assets, err := LoadDocs[schemas.Asset](ctx, db, "assets", "ip = ? AND alive AND product = 'nginx'", "192.0.2.1")
	ok(err)
	same([]schemas.Asset{asset}, assets)

	drift := schemas.Drift{ID: "d1", Version: 1, Kind: schemas.UnlistedPort, Status: schemas.DriftOpen, Asset: asset.Key, First: at, Last: at, Updated: at}
	ok(db.InsertDrift(ctx, []schemas.Drift{drift}, "1"))
	drifts, err := LoadDocs[schemas.Drift](ctx, db, "drift", "")
	ok(err)
	same([]schemas.Drift{drift}, drifts)

	seen := schemas.Observation{ID: "o1", Kind: schemas.ObservedPort, Time: at, Source: "scan", IP: ip, Port: 443, Transport: "tcp", Open: true}
	ok(db.InsertObservations(ctx, []schemas.Observation{seen}, "1"))
	ok(db.InsertObservations(ctx, []schemas.Observation{seen}, "2"))
	observations, err := LoadDocs[schemas.Observation](ctx, db, "observations", "port = ?", 443)
	ok(err)
	same([]schemas.Observation{seen}, observations)

	letter := DeadLetter{
		Origin: schemas.Origin{Stream: "s", Seq: 7, Received: at, Format: "zeek"}, Partition: 2, Offset: 9, Reason: "not JSON", Raw: []byte("\xff\x00bad"),
	}
	ok(db.InsertDeadLetters(ctx, []DeadLetter{letter}, ingested, "1"))
	marks, err := db.HighWater(ctx, "dead_letters", 2, 0)
	ok(err)
	same(map[string]uint64{"s": 7}, marks)
	if n := count(t, db, "SELECT count() FROM dead_letters WHERE raw = unhex('FF00626164')"); n != 1 {
		t.Error("the raw record is not there whole")
	}
}
