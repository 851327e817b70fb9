package console

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/clickhouse"
	"fengsui/registry"
	"fengsui/schemas"
)

// fill writes for each of the units one alert, one mining detection, one asset,
// one drift, one dead letter and two events.
func fill(t *testing.T, db *clickhouse.DB, codes ...string) {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Microsecond)
	batch := clickhouse.NewEventBatch()
	for i, unit := range codes {
		host := netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)})
		one := fmt.Sprintf("%s-%s", unit, "1")
		must(t, db.InsertAlerts(t.Context(), []schemas.Alert{{
			ID: "alert-" + one, Version: 1, Kind: schemas.AlertRule, Status: schemas.AlertOpen,
			Rule: schemas.Rule{ID: "ssh-brute-force", Title: "SSH 口令暴力破解 / SSH brute force", Level: schemas.High, Tags: []string{"attack.t1110"}},
			Unit: unit, Host: host.String(), First: now.Add(-time.Minute), Last: now, Raised: now, Updated: now, Received: now, Count: 48,
			EventIDs: []string{"event-" + one, "event-" + unit + "-2"}, Summary: "sshd: Failed password for root from 203.0.113.7",
			Satisfied: []schemas.Satisfied{{Selection: "failed", Field: "event.outcome", Value: "failure"}},
		}}, "alert"+one))
		must(t, db.InsertDetections(t.Context(), []schemas.MiningDetection{{
			ID: "mining-" + one, Version: 1, Status: schemas.AlertOpen, Host: host.String(), Unit: unit,
			Pools: []string{"pool.miner.example"}, Coins: []string{"XMR"}, Protocols: []string{"stratum"}, Wallets: []string{"48edfHu7V9Z84YzzMa6fUueoELZ9ZRXq9VetWzYGzKt52XU5xvqgzYnDK9URnRoJMk1j8nLwEVsaSWJ4fhdUyZijBGUicoD"},
			Confidence: 0.97, First: now.Add(-time.Hour), Last: now, Raised: now, Received: now, Updated: now, Count: 2,
			Evidence: []schemas.MiningEvidence{
				{Kind: schemas.PoolDomainDNS, EventID: "event-" + one, Time: now.Add(-time.Hour), Pool: "pool.miner.example", Detail: "pool.miner.example", Weight: 0.8},
				{Kind: schemas.MinerLogin, EventID: "event-" + unit + "-2", Time: now, Pool: "pool.miner.example", Port: 3333, Coin: "XMR", Protocol: "stratum", Detail: "login", Weight: 0.95},
			},
		}}, "mining"+one))
		must(t, db.InsertAssets(t.Context(), []schemas.Asset{{
			Key: schemas.ServiceKey(host, "tcp", 6379), Version: 1, Kind: schemas.AssetService, Unit: unit, IP: host, Port: 6379, Transport: "tcp", Alive: true,
			Service: &schemas.Service{Name: "redis", Product: "Redis", Version: "7.0.15"}, Sources: []string{"scan"}, First: now.Add(-24 * time.Hour), Last: now, Updated: now,
		}}, "asset"+one))
		must(t, db.InsertDrift(t.Context(), []schemas.Drift{{
			ID: "drift-" + one, Version: 1, Kind: schemas.UnlistedPort, Status: schemas.DriftOpen, Asset: schemas.ServiceKey(host, "tcp", 6379), Unit: unit,
			Expected: "", Observed: "redis Redis 7.0.15", First: now.Add(-time.Hour), Confirmed: now, Last: now, Updated: now, Evidence: []string{"observation-1"},
		}}, "drift"+one))
		must(t, db.InsertDeadLetters(t.Context(), []clickhouse.DeadLetter{{
			Origin: schemas.Origin{Stream: "s", Seq: uint64(i), Unit: unit, Received: now}, Reason: "no syslog header", Raw: []byte("\x00\x01"),
		}}, now, "dead"+one))
		for n := range 2 {
			batch.Add(newEvent(unit, fmt.Sprintf("stream-%s", unit), n, now, host), 0, int64(2*i+n))
		}
	}
	must(t, db.InsertEvents(t.Context(), batch, now, "events"+strings.Join(codes, "")))
}

func newEvent(unit, stream string, n int, at time.Time, host netip.Addr) *schemas.Event {
	ev := &schemas.Event{Origin: schemas.Origin{
		Stream: stream, Seq: uint64(n), Unit: unit, Source: host.String(), Input: "syslog", Format: "syslog", Received: at,
	}}
	ev.Original = fmt.Sprintf("<86>Mar  1 08:00:00 web-01 sshd[%d]: Failed password for root from 203.0.113.7 port 50000 ssh2", 1000+n)
	ev.SetTime(schemas.FieldTimestamp, at)
	ev.SetString(schemas.FieldMessage, ev.Original[35:])
	ev.SetString(schemas.FieldEventOutcome, "failure")
	ev.SetString(schemas.FieldOrganizationID, unit)
	ev.SetString(schemas.FieldHostName, "web-01")
	ev.SetIP(schemas.FieldSourceIP, "203.0.113.7")
	return ev
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Who belongs to a unit sees that unit and those below it, in every answer.
func TestScope(t *testing.T) {
	db := openStore(t)
	fill(t, db, "c1", "c2", "s1", "")
	s := start(t, db, nil)
	paths := []string{"alerts", "mining", "assets", "drift", "events"}
	f := func(unit string, want ...string) {
		t.Helper()
		b := s.user("user-"+unit, registry.RoleAnalyst, unit)
		for _, path := range paths {
			for _, query := range []string{"", "x || !x", "!(zzz)", `unit = c2 || !unit = c2 || x`} {
				if path == "events" {
					query = strings.ReplaceAll(query, "unit", "organization.id")
				}
				if got := unitsIn(t, b.do("GET", "/api/v1/"+path+"?query="+url.QueryEscape(query), nil, 200)); !cmp.Equal(got, want) {
					t.Errorf("%s of %q by %q: units %q, want %q", path, unit, query, got, want)
				}
			}
		}
		var counts AllCounts
		b.do("GET", "/api/v1/counts", nil, 200).into(t, &counts)
		n := uint64(len(want))
		counts.Total.EventsLastMinute = 0 // a slow machine may take longer
		total := Counts{Events: 2 * n, EventsLastHour: 2 * n, AlertsOpen: n, MiningOpen: n, DriftOpen: n, Services: n, DeadLetters: n}
		if diff := cmp.Diff(total, counts.Total); diff != "" {
			t.Errorf("counts of %q (-want +got):\n%s", unit, diff)
		}
		var by []string
		for _, u := range counts.Units {
			by = append(by, u.Unit)
			if u.Events != 2 || u.AlertsOpen != 1 {
				t.Errorf("counts of %q: %+v", unit, u)
			}
		}
		if !cmp.Equal(by, want) {
			t.Errorf("counts of %q are of the units %q", unit, by)
		}
	}
	f("", "", "c1", "c2", "s1")
	f("p", "c1", "c2", "s1")
	f("c1", "c1", "s1")
	f("c2", "c2")
	f("s1", "s1")
	f("unknown")

	// A part of what one sees can be asked for, and no more.
	b := s.user("city", registry.RoleAnalyst, "c1")
	for of, want := range map[string][]string{"s1": {"s1"}, "c1": {"c1", "s1"}, "p": {"c1", "s1"}, "c2": nil, "unknown": nil} {
		for _, path := range paths {
			if got := unitsIn(t, b.do("GET", "/api/v1/"+path+"?unit="+of, nil, 200)); !cmp.Equal(got, want) {
				t.Errorf("%s of the unit %q: units %q, want %q", path, of, got, want)
			}
		}
	}

	var seen struct{ Items []schemas.Unit }
	b.do("GET", "/api/v1/units", nil, 200).into(t, &seen)
	if want := []schemas.Unit{units[1], units[3]}; !cmp.Equal(seen.Items, want) {
		t.Errorf("units %v, want %v", seen.Items, want)
	}
	// A unit that moves is seen from where it is.
	if _, err := s.registry.Put(t.Context(), "test", &registry.Content{Units: []schemas.Unit{{Code: "s1", Name: "甲市一中", Level: schemas.School, Parent: "c2"}}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		return cmp.Equal(unitsIn(t, b.do("GET", "/api/v1/alerts", nil, 200)), []string{"c1"})
	})
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it has not come to be in 20 s")
		}
	}
}

// unitsIn is the units of the rows of an answer.
func unitsIn(t *testing.T, a *answer) []string {
	t.Helper()
	var page struct{ Items []map[string]any }
	a.into(t, &page)
	if page.Items == nil {
		t.Fatalf("items are null: %s", a.body)
	}
	var codes []string
	for _, item := range page.Items {
		code, _ := item["unit"].(string)
		if _, event := item["event.id"]; event {
			code, _ = item["organization.id"].(string)
		}
		codes = append(codes, code)
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// A province with thousands of units can be looked at by who sees one city.
func TestManyUnits(t *testing.T) {
	db := openStore(t)
	s := start(t, db, nil)
	var many []schemas.Unit
	for i := range 5000 {
		many = append(many, schemas.Unit{Code: fmt.Sprintf("school-%06d", i), Name: "学校", Level: schemas.School, Parent: "c1"})
	}
	if _, err := s.registry.Put(t.Context(), "test", &registry.Content{Units: many}); err != nil {
		t.Fatal(err)
	}
	fill(t, db, "school-004321", "c2")
	b := s.user("city", registry.RoleAnalyst, "c1")
	begin := time.Now()
	for _, path := range []string{"alerts", "mining", "assets", "drift", "events"} {
		if got := unitsIn(t, b.do("GET", "/api/v1/"+path, nil, 200)); !cmp.Equal(got, []string{"school-004321"}) {
			t.Errorf("%s: units %q", path, got)
		}
	}
	t.Logf("five reads: %v", time.Since(begin))
}

func TestQueries(t *testing.T) {
	db := openStore(t)
	fill(t, db, "c1", "c2")
	s := start(t, db, nil)
	b := s.user("analyst", registry.RoleAuditor, "")
	count := func(path, query, more string, want int) {
		t.Helper()
		var page struct{ Items []json.RawMessage }
		b.do("GET", "/api/v1/"+path+"?query="+url.QueryEscape(query)+more, nil, 200).into(t, &page)
		if len(page.Items) != want {
			t.Errorf("%s %s %s: %d rows, want %d", path, query, more, len(page.Items), want)
		}
	}
	count("events", "source.ip = 203.0.113.0/24 && event.outcome = failure", "", 4)
	count("events", "organization.id = c2", "&limit=1", 1)
	count("events", "", "&since=1h", 4)
	count("events", "", "&since=2099-01-01T00:00:00%2B08:00", 0)
	count("alerts", "level = high && brute", "&since=1d", 2)
	count("mining", "pool = pool.miner.example && confidence > 0.9", "", 2)
	count("assets", "service = redis && unit = c1", "", 1)
	count("drift", "kind = unlisted_port && status = open", "", 2)

	column := func(path, query string, want int) {
		t.Helper()
		p := b.refused("GET", "/api/v1/"+path+"?query="+url.QueryEscape(query), nil, 422, codeQuery)
		if p.Column != want || p.Detail == "" {
			t.Errorf("%s %s: column %d (%s), want %d", path, query, p.Column, p.Detail, want)
		}
	}
	column("events", "event.outcome = failure && sorce.ip = 192.0.2.1", 28)
	column("events", `message = "学`, 11)
	column("events", "学校 && (", 8)
	column("alerts", "nonsense = 1", 1)
	for _, more := range []string{"limit=0", "limit=1001", "limit=x", "since=yesterday", "since=-3h", "query=" + strings.Repeat("x", 16385)} {
		b.refused("GET", "/api/v1/events?"+more, nil, 422, codeInvalid)
	}
}

func TestWhitelist(t *testing.T) {
	s := start(t, nil, nil)
	admin := s.user("admin", registry.RoleAdmin, "")
	city := s.user("city", registry.RoleAdmin, "c1")
	analyst := s.user("analyst", registry.RoleAnalyst, "")
	keys := func(b *browser, want ...string) {
		t.Helper()
		var page struct{ Items []Listed }
		b.do("GET", "/api/v1/whitelist", nil, 200).into(t, &page)
		var got []string
		for _, w := range page.Items {
			got = append(got, w.Key)
		}
		if !cmp.Equal(got, want) {
			t.Errorf("whitelist %q, want %q", got, want)
		}
	}
	const path = "/api/v1/whitelist"
	entry := func(kind, what, unit string) map[string]any {
		e := map[string]any{"kind": kind, "unit": unit}
		switch kind {
		case "domain":
			e["domain"] = what
		case "port":
			e["host"], e["port"] = what, 443
		default:
			e["host"] = what
		}
		return e
	}
	keys(admin, "host/198.51.100.9/32", "host/203.0.113.9/32")
	keys(city, "host/198.51.100.9/32")

	var put Listed
	admin.do("PUT", path, map[string]any{"kind": "port", "host": "203.0.113.10/32", "port": 443, "service": "HTTPS", "unit": "c2", "reason": "门户", "until": "2099-01-01T00:00:00Z"}, 200).into(t, &put)
	if put.Key != "port/203.0.113.10/32/tcp/443" || put.Service != "https" {
		t.Errorf("put %+v", put)
	}
	keys(admin, "host/198.51.100.9/32", "host/203.0.113.9/32", put.Key)
	analyst.refused("PUT", path, entry("host", "203.0.113.10/32", "c2"), 403, codeForbidden)
	analyst.refused("DELETE", path+"?key="+url.QueryEscape(put.Key), nil, 403, codeForbidden)
	for _, bad := range []map[string]any{
		entry("host", "203.0.113.10/32", "nowhere"), entry("host", "203.0.113.300/32", "c2"), entry("thing", "203.0.113.10/32", "c2"),
		entry("domain", "not a name..", "c2"),
		{"kind": "host", "unit": "c2"},
		{"kind": "host"},
		{"kind": "host", "host": "203.0.113.10/32", "unit": "c2", "colour": "red"},
	} {
		p := admin.refused("PUT", path, bad, 422, codeInvalid)
		if strings.Contains(p.Detail, "SQL") || p.Detail == "" {
			t.Errorf("%v: %q", bad, p.Detail)
		}
	}
	admin.do("DELETE", path+"?key="+url.QueryEscape(put.Key), nil, 204)
	admin.refused("DELETE", path+"?key="+url.QueryEscape(put.Key), nil, 404, codeNotFound)
	keys(admin, "host/198.51.100.9/32", "host/203.0.113.9/32")

	// An administrator of a city speaks for its addresses and names only.
	for _, e := range []map[string]any{
		entry("host", "203.0.113.10/32", "c2"),                  // another's unit
		entry("host", "203.0.113.10/32", "c1"),                  // another's address
		entry("port", "203.0.113.10/32", "c1"),                  //
		entry("host", "0.0.0.0/0", "c1"),                        // everybody's
		entry("host", "198.51.100.0/23", "c1"),                  // more than theirs
		entry("host", "198.51.100.0/24", "c1"),                  // theirs, with another's within
		entry("host", "198.51.100.66/32", "c1"),                 // another's within theirs
		entry("host", "::ffff:203.0.113.10/128", "c1"),          // another's, in disguise
		entry("domain", "www.c2.example.edu.cn", "c1"),          // another's name
		entry("domain", "*.example.edu.cn", "c1"),               // everybody's
		entry("domain", "*.c1.example.edu.cn", "c1"),            // theirs, with another's below
		entry("domain", "a.guest.lab.C1.example.edu.cn.", "c1"), // another's below theirs
		entry("domain", "www.example.com", "c1"),                // nobody's
	} {
		city.refused("PUT", path, e, 403, codeForbidden)
	}
	city.refused("DELETE", path+"?key="+url.QueryEscape("host/203.0.113.9/32"), nil, 404, codeNotFound)
	city.do("PUT", path, entry("host", "198.51.100.200/32", "s1"), 200)
	city.do("PUT", path, entry("domain", "*.www.c1.example.edu.cn", "c1"), 200)
	city.do("DELETE", path+"?key="+url.QueryEscape("host/198.51.100.9/32"), nil, 204)
	keys(city, "domain/*.www.c1.example.edu.cn", "host/198.51.100.200/32")
	if n := strings.Count(s.log.String(), "audit=whitelist"); n != 5 {
		t.Errorf("%d changes in the log, want 5:\n%s", n, s.log)
	}
}

func TestStream(t *testing.T) {
	db := openStore(t)
	fill(t, db, "c1", "c2")
	s := start(t, db, nil)
	b := s.user("city", registry.RoleAnalyst, "c1")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/api/v1/stream", nil)
	must(t, err)
	res, err := b.http.Do(req)
	must(t, err)
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); kind != "text/event-stream" {
		t.Fatalf("content type %q", kind)
	}
	lines := bufio.NewScanner(res.Body)
	// next is the data of the next message with the name.
	next := func(name string, into any) {
		t.Helper()
		current := ""
		for lines.Scan() {
			if what, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				current = what
			}
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok && current == name {
				must(t, json.Unmarshal([]byte(data), into))
				return
			}
		}
		t.Fatalf("the stream ended without %s: %v", name, lines.Err())
	}
	var counts LiveCounts
	next("counts", &counts)
	if counts.Total.AlertsOpen != 1 || counts.Total.Events != 2 || counts.Total.EventsLastMinute != 2 {
		t.Errorf("counts %+v", counts.Total)
	}
	var alerts LiveAlerts
	next("alerts", &alerts)
	if len(alerts.Items) != 1 || alerts.Items[0].Unit != "c1" {
		t.Errorf("alerts %+v", alerts.Items)
	}
	fill(t, db, "s1")
	next("alerts", &alerts)
	if len(alerts.Items) != 2 {
		t.Errorf("%d alerts after a new one", len(alerts.Items))
	}
	next("counts", &counts)
	if counts.Total.AlertsOpen != 2 {
		t.Errorf("counts %+v after a new alert", counts.Total)
	}
	// It ends with the session.
	b.do("POST", "/api/v1/logout", nil, 204)
	for lines.Scan() {
	}
	if err := lines.Err(); err != nil {
		t.Errorf("the stream ended with %v", err)
	}
}
