package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"fengsui/internal/clickhouse"
	"fengsui/internal/store/storetest"
	"fengsui/schemas"
)

func TestMain(m *testing.M) {
	storetest.Main(m, func(m *testing.M) { goleak.VerifyTestMain(m) })
}

// Of today: what is older than the retention the store drops at once.
var now = time.Now().UTC().Truncate(time.Second)

// open runs a store with the tables.
func open(t *testing.T) *clickhouse.DB {
	t.Helper()
	cfg := clickhouse.DefaultConfig()
	cfg.Addr = storetest.Start(t).Config.Addr()
	db, err := clickhouse.Open(cfg)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	must(t, clickhouse.Migrate(t.Context(), db, clickhouse.DefaultRetention()))
	return db
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// insert writes events, the n-th of which happened n minutes before now.
func insert(t *testing.T, db *clickhouse.DB, fill ...func(*schemas.Event)) {
	t.Helper()
	batch := clickhouse.NewEventBatch()
	for n, f := range fill {
		ev := &schemas.Event{Origin: schemas.Origin{
			Stream: "test", Seq: uint64(n), Unit: "u1", Source: "10.0.0.1", Input: "syslog", Format: "syslog", Received: now,
		}}
		ev.SetTime(schemas.FieldTimestamp, now.Add(-time.Duration(n)*time.Minute))
		ev.SetString(schemas.FieldOrganizationID, "u1")
		f(ev)
		batch.Add(ev, 0, int64(n))
	}
	must(t, db.InsertEvents(t.Context(), batch, now, t.Name()))
}

func TestEvents(t *testing.T) {
	db := open(t)
	const odd = `it's "quoted" \ and {p0:String} 学校`
	insert(t, db,
		func(ev *schemas.Event) { // 0
			ev.Original = "line zero: Failed password"
			ev.SetString(schemas.FieldMessage, "Failed password for root")
			ev.SetIP(schemas.FieldSourceIP, "192.0.2.7")
			ev.SetInt(schemas.FieldSourcePort, 50000)
			ev.SetString(schemas.FieldEventOutcome, "failure")
		},
		func(ev *schemas.Event) { // 1
			ev.Original = "line one"
			ev.SetString(schemas.FieldUserName, odd)
			ev.SetIP(schemas.FieldSourceIP, "2001:db8::7")
			ev.SetString(schemas.FieldOrganizationID, `u'2\`)
		},
		func(ev *schemas.Event) { // 2
			ev.Original = "line two"
			ev.SetOpen("winlog.event_data.TargetUserName", schemas.String("Administrator"))
			ev.SetString(schemas.FieldDNSQuestionName, "pool.miner.example")
		},
	)
	f := func(text string, want ...int) {
		t.Helper()
		found(t, db, Query{Text: text, Limit: 10, Now: now}, want...)
	}
	f("", 0, 1, 2)
	f("source.ip = 192.0.2.0/24", 0)
	f("source.ip = 2001:db8::/32", 1)
	f("source.port >= 50000 && event.outcome = failure", 0)
	f("!(event.outcome = failure)", 1, 2)
	f("event.outcome = failure || dns.question.name *= *.miner.example", 0, 2)
	f(`user.name == "it's \"quoted\" \\ and {p0:String} 学校"`, 1)
	f("failed", 0) // in the line, whatever the case
	f("message = PASSWORD", 0)
	f("winlog.event_data.TargetUserName = Administrator", 2)
	f("event.id = test-0 || id = "+firstID(t, db), 0)
	f("fengsui.input = syslog && @timestamp >= 90s", 0, 1)
	f("fengsui.drill = true")
	found(t, db, Query{Limit: 10, Now: now, Since: now.Add(-time.Minute)}, 0, 1)
	found(t, db, Query{Limit: 1, Now: now}, 0)
	found(t, db, Query{Limit: 10, Now: now, Units: []string{"u1"}}, 0, 2)
	found(t, db, Query{Limit: 10, Now: now, Units: []string{"x", `u'2\`}}, 1)
	found(t, db, Query{Limit: 10, Now: now, Units: []string{}})
	found(t, db, Query{Text: "1=1 || x", Limit: 10, Now: now, Units: []string{}}, -1)
}

func firstID(t *testing.T, db *clickhouse.DB) string {
	t.Helper()
	events, err := Events(t.Context(), db, Query{Limit: 1, Now: now})
	must(t, err)
	return events[0].Str("event.id")
}

// found wants these of the inserted events, and a mistake in the query for -1.
func found(t *testing.T, db *clickhouse.DB, q Query, want ...int) {
	t.Helper()
	events, err := Events(t.Context(), db, q)
	if len(want) == 1 && want[0] == -1 {
		if _, ok := IsQueryError(err); !ok {
			t.Errorf("%q: error %v", q.Text, err)
		}
		return
	}
	must(t, err)
	var got []int
	for _, e := range events {
		got = append(got, int(now.Sub(e.Time())/time.Minute))
	}
	if !cmp.Equal(got, want) {
		t.Errorf("%+v: events %v, want %v", q, got, want)
	}
}

// An event is read back as it was written, as JSON with the fields' names.
func TestEventIsWhole(t *testing.T) {
	db := open(t)
	insert(t, db, func(ev *schemas.Event) {
		ev.Original = "<13>raw"
		ev.SetIP(schemas.FieldSourceIP, "192.0.2.7")
		ev.SetInt(schemas.FieldSourcePort, 50000)
		ev.SetString(schemas.FieldDNSQuestionName, "www.example.edu.cn")
		ev.SetOpen("winlog.event_data.LogonType", schemas.String("3"))
	})
	events, err := Events(t.Context(), db, Query{Limit: 10, Now: now})
	must(t, err)
	text, err := json.Marshal(events[0])
	must(t, err)
	var got map[string]any
	must(t, json.Unmarshal(text, &got))
	delete(got, "event.id")
	at := now.Format(time.RFC3339)
	want := map[string]any{
		"@timestamp": at, "source.ip": "192.0.2.7", "source.port": 50000.0, "dns.question.name": "www.example.edu.cn",
		"organization.id": "u1", "winlog.event_data.LogonType": "3", "event.ingested": at, "event.created": at,
		"fengsui.unit": "u1", "fengsui.source": "10.0.0.1", "fengsui.input": "syslog", "fengsui.format": "syslog", "fengsui.drill": false, "event.original": "<13>raw",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := fmt.Sprint(events[0].Get("no.such")); got != "<nil>" {
		t.Errorf("a field that it has not: %s", got)
	}
}

func TestFindings(t *testing.T) {
	db := open(t)
	addr := netip.MustParseAddr("198.51.100.7")
	must(t, db.InsertAlerts(t.Context(), []schemas.Alert{
		{ID: "a1", Version: 1, Updated: now, Kind: schemas.AlertRule, Status: schemas.AlertOpen, Rule: schemas.Rule{ID: "r1", Title: "口令爆破 / brute force", Level: schemas.High}, Unit: "u1", Host: "198.51.100.7", First: now, Last: now, Count: 5},
		{ID: "a2", Version: 1, Updated: now, Kind: schemas.AlertDrift, Status: schemas.AlertOpen, Rule: schemas.Rule{ID: "r2", Title: "drift", Level: schemas.Low}, Unit: "u2", First: now, Last: now.Add(-time.Hour)},
	}, "1"))
	must(t, db.InsertAlerts(t.Context(), []schemas.Alert{ // a newer version replaces it
		{ID: "a2", Version: 2, Updated: now, Kind: schemas.AlertDrift, Status: schemas.AlertClosed, Rule: schemas.Rule{ID: "r2", Title: "drift", Level: schemas.Low}, Unit: "u2", First: now, Last: now.Add(-time.Hour)},
	}, "2"))
	must(t, db.InsertDetections(t.Context(), []schemas.MiningDetection{
		{ID: "m1", Version: 1, Updated: now, Status: schemas.AlertOpen, Host: "198.51.100.7", Unit: "u1", Pools: []string{"a.pool.example", "b.pool.example"}, Coins: []string{"XMR"}, Confidence: 0.9, First: now, Last: now},
	}, "1"))
	must(t, db.InsertAssets(t.Context(), []schemas.Asset{
		{Key: schemas.ServiceKey(addr, "tcp", 22), Version: 1, Updated: now, Kind: schemas.AssetService, Unit: "u1", IP: addr, Port: 22, Transport: "tcp", Alive: true, Service: &schemas.Service{Name: "ssh", Product: "OpenSSH"}, First: now, Last: now},
		{Key: schemas.DomainKey("www.example.edu.cn"), Version: 1, Updated: now, Kind: schemas.AssetDomain, Unit: "u2", Name: "www.example.edu.cn", First: now, Last: now.Add(-48 * time.Hour)},
	}, "1"))
	must(t, db.InsertDrift(t.Context(), []schemas.Drift{
		{ID: "d1", Version: 1, Updated: now, Kind: schemas.UnlistedPort, Status: schemas.DriftOpen, Asset: schemas.ServiceKey(addr, "tcp", 22), Unit: "u1", Observed: "ssh", First: now, Last: now},
	}, "1"))

	alerts := ids(t, db, Alerts, func(a *schemas.Alert) string { return a.ID })
	alerts(Query{}, "a1", "a2")
	alerts(Query{Text: "status = open"}, "a1")
	alerts(Query{Text: "level = low && kind = drift"}, "a2")
	alerts(Query{Text: `title = "brute"`}, "a1")
	alerts(Query{Text: "爆破"}, "a1")
	alerts(Query{Text: "count > 4 && last >= 30m"}, "a1")
	alerts(Query{Since: now.Add(-time.Minute)}, "a1")
	alerts(Query{Units: []string{"u2"}}, "a2")
	alerts(Query{Text: "x || !x", Units: []string{"u2"}}, "a2")
	alerts(Query{Units: []string{}})

	mining := ids(t, db, Detections, func(d *schemas.MiningDetection) string { return d.ID })
	mining(Query{Text: "pool = b.pool.example && coin = XMR"}, "m1")
	mining(Query{Text: "confidence > 0.95"})
	mining(Query{Text: "a.pool"}, "m1")

	assets := ids(t, db, Assets, func(a *schemas.Asset) string { return a.Key })
	assets(Query{}, "domain/www.example.edu.cn", "service/198.51.100.7/tcp/22")
	assets(Query{Text: "ip = 198.51.100.0/24 && port = 22 && alive = true"}, "service/198.51.100.7/tcp/22")
	assets(Query{Text: "product = openssh"}, "service/198.51.100.7/tcp/22")
	assets(Query{Text: "domain *= *.edu.cn"}, "domain/www.example.edu.cn")
	assets(Query{Since: now.Add(-time.Hour)}, "service/198.51.100.7/tcp/22")

	drift := ids(t, db, Drift, func(d *schemas.Drift) string { return d.ID })
	drift(Query{Text: "kind = unlisted_port && observed = ssh"}, "d1")
	drift(Query{Text: "status = closed"})
}

// ids is a call that searches and wants these rows.
func ids[T any](t *testing.T, db *clickhouse.DB, find func(context.Context, *clickhouse.DB, Query) ([]T, error), id func(*T) string) func(Query, ...string) {
	return func(q Query, want ...string) {
		t.Helper()
		q.Limit, q.Now = 10, now
		rows, err := find(t.Context(), db, q)
		must(t, err)
		var got []string
		for i := range rows {
			got = append(got, id(&rows[i]))
		}
		if !cmp.Equal(got, want) {
			t.Errorf("%+v: %q, want %q", q, got, want)
		}
	}
}

func TestMistakes(t *testing.T) {
	f := func(text, want string, at int) {
		t.Helper()
		q := Query{Text: text, Limit: 1, Now: now}
		_, err := q.where(eventFields{}, "timestamp", "timestamp", "organization_id")
		e, ok := IsQueryError(err)
		if !ok || e.At != at || !strings.Contains(e.Msg, want) {
			t.Errorf("%s: %v, want %q at %d", text, err, want, at)
		}
	}
	f("sorce.ip = 192.0.2.1", "source.ip", 0)
	f("source.ip = 192.0.2.1 && (", "", 26)
	f("winlog.event_data.x'] = 2", "letters, digits", 0)
	for _, limit := range []int{-1, 0, MaxLimit + 1} {
		q := Query{Limit: limit, Now: now}
		if _, err := q.where(eventFields{}, "timestamp", "timestamp", "organization_id"); err == nil {
			t.Errorf("limit %d is taken", limit)
		}
	}
	_, err := tables["alerts"].Field("nonsense")
	if err == nil || !strings.Contains(err.Error(), "summary") {
		t.Errorf("an unknown field of alerts: %v", err)
	}
	if _, ok := IsQueryError(errors.New("other")); ok {
		t.Error("any error is a mistake in a query")
	}
}

// Whatever is asked, what the caller may see comes after it, joined by AND, and
// no unit's code leaves its quotes.
func TestScopeCannotBeLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.StringMatching(`(host|unit|x|!|\(|\)|\|\||&&| |=|"){0,20}`)).Draw(t, "query")
		units := rapid.SliceOf(rapid.String()).Draw(t, "units")
		q := Query{Text: text, Limit: 1, Now: now, Units: units}
		c, err := q.where(tables["alerts"], "last", "id", "unit")
		if err != nil {
			return
		}
		condition, rest, ok := strings.Cut(c.SQL, " AND unit IN {units:Array(String)} ORDER BY id LIMIT 1")
		if !ok || rest != "" {
			t.Fatalf("%s", c.SQL)
		}
		depth := 0
		for i, r := range condition {
			switch r {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth < 0 || depth == 0 && strings.HasPrefix(condition[i:], " OR ") {
				t.Fatalf("%s", c.SQL)
			}
		}
		if depth != 0 {
			t.Fatalf("%s", c.SQL)
		}
		if got := unquote(c.Params["units"]); !cmp.Equal(got, append([]string{}, units...)) {
			t.Fatalf("units %q are %q", units, got)
		}
	})
}

// unquote reads an array of texts as ClickHouse does.
func unquote(s string) []string {
	out, text, inside := []string{}, strings.Builder{}, false
	for i := 0; i < len(s); i++ {
		switch {
		case inside && s[i] == '\\':
			i++
			text.WriteByte(s[i])
		case s[i] == '\'':
			if inside {
				out = append(out, text.String())
				text.Reset()
			}
			inside = !inside
		case inside:
			text.WriteByte(s[i])
		}
	}
	return out
}
