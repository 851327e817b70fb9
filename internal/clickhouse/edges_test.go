package clickhouse

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fengsui/schemas"
)

// TestEdges: edges are summed up over batches, found from both ends, and a batch
// that is sent again counts nothing.
func TestEdges(t *testing.T) {
	db := open(t)
	at := time.Date(2026, 11, 28, 8, 0, 0, 1000, time.UTC)
	if n, err := db.EdgesCounted(t.Context()); err != nil || n != -1 {
		t.Fatalf("an empty table has counted up to %d, %v", n, err)
	}
	edge := func(from string, kind schemas.EdgeKind, to, source string, first, last int, count uint64, offset int64) schemas.Edge {
		return schemas.Edge{
			From: from, Kind: kind, To: to, Source: source, Count: count, Offset: offset,
			First: at.Add(time.Duration(first) * time.Minute), Last: at.Add(time.Duration(last) * time.Minute),
		}
	}
	put := func(token string, edges ...schemas.Edge) {
		t.Helper()
		if err := db.InsertEdges(t.Context(), edges, token); err != nil {
			t.Fatal(err)
		}
	}
	first := []schemas.Edge{
		edge("domain/a.cn", schemas.EdgeResolves, "host/192.0.2.1", "scan", 0, 1, 2, 7),
		edge("host/192.0.2.1", schemas.EdgeServes, "service/192.0.2.1/tcp/80", "zeek.conn", 3, 3, 1, 0),
	}
	put("1", first...)
	put("1", first...)
	put("2", edge("domain/a.cn", schemas.EdgeResolves, "host/192.0.2.1", "scan", -5, 9, 3, 12))
	put("3", edge("domain/a.cn", schemas.EdgeResolves, "host/192.0.2.1", "zeek.dns", 2, 2, 1, 11))
	if n, err := db.EdgesCounted(t.Context()); err != nil || n != 12 {
		t.Fatalf("counted up to %d, %v", n, err)
	}
	f := func(nodes []string, until time.Time, per int, want ...schemas.Edge) {
		t.Helper()
		got, err := db.Edges(t.Context(), nodes, until, per)
		if err != nil {
			t.Fatal(err)
		}
		if d := gocmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	resolves := edge("domain/a.cn", schemas.EdgeResolves, "host/192.0.2.1", "scan", -5, 9, 5, 0)
	asked := edge("domain/a.cn", schemas.EdgeResolves, "host/192.0.2.1", "zeek.dns", 2, 2, 1, 0)
	serves := edge("host/192.0.2.1", schemas.EdgeServes, "service/192.0.2.1/tcp/80", "zeek.conn", 3, 3, 1, 0)
	late := at.Add(time.Hour)
	f([]string{"domain/a.cn"}, late, 10, resolves, asked)
	f([]string{"host/192.0.2.1"}, late, 10, resolves, serves, asked)
	f([]string{"host/192.0.2.1"}, late, 1, resolves, serves)
	f([]string{"host/192.0.2.1"}, at.Add(2*time.Minute), 10, resolves, asked)
	f([]string{"domain/b.cn"}, late, 10)
	f(nil, late, 10)
}

// TestAssetsAt: what an asset was at a time, at both sides of every turn.
func TestAssetsAt(t *testing.T) {
	db := open(t)
	at := time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	minute := func(n int) time.Time { return at.Add(time.Duration(n) * time.Minute) }
	ip := netip.MustParseAddr("192.0.2.1")
	asset := func(version uint64, product string, alive bool, since int) schemas.Asset {
		return schemas.Asset{
			Key: schemas.ServiceKey(ip, "tcp", 80), Version: version, Kind: schemas.AssetService, Unit: "u", IP: ip, Port: 80, Transport: "tcp",
			Alive: alive, Service: &schemas.Service{Name: "http", Product: product}, First: minute(0), Last: minute(since), Updated: minute(since), Since: minute(since),
		}
	}
	old, newer, now := asset(1, "nginx", true, 0), asset(4, "Apache httpd", true, 10), asset(9, "Apache httpd", false, 20)
	versions := []schemas.AssetVersion{{Asset: old, Until: minute(10)}, {Asset: newer, Until: minute(20)}}
	for _, token := range []string{"1", "1", "2"} {
		if err := db.InsertVersions(t.Context(), versions, token); err != nil {
			t.Fatal(err)
		}
	}
	host := schemas.Asset{Key: schemas.HostKey(ip), Version: 1, Kind: schemas.AssetHost, IP: ip, First: minute(3), Last: minute(3), Updated: minute(3)} // of before there was Since
	if err := db.InsertAssets(t.Context(), []schemas.Asset{now, host}, "1"); err != nil {
		t.Fatal(err)
	}
	same := gocmp.Comparer(func(a, b netip.Addr) bool { return a == b })
	f := func(when time.Time, want ...schemas.Asset) {
		t.Helper()
		got, err := db.AssetsAt(t.Context(), []string{now.Key, host.Key}, when)
		if err != nil {
			t.Fatal(err)
		}
		wants := map[string]schemas.Asset{}
		for _, a := range want {
			wants[a.Key] = a
		}
		if d := gocmp.Diff(wants, got, same); d != "" {
			t.Errorf("at %s: %s", when, d)
		}
	}
	f(time.Time{}, now, host)
	f(minute(20), now, host)
	f(minute(20).Add(-time.Microsecond), newer, host)
	f(minute(10), newer, host)
	f(minute(10).Add(-time.Microsecond), old, host)
	f(minute(2), old)
	f(minute(0), old)
	f(minute(-1))
	history, err := db.AssetHistory(t.Context(), now.Key, 10)
	if err != nil {
		t.Fatal(err)
	}
	want := []schemas.AssetVersion{{Asset: now}, versions[1], versions[0]}
	if d := gocmp.Diff(want, history, same); d != "" {
		t.Error(d)
	}
	if history, err = db.AssetHistory(t.Context(), now.Key, 2); err != nil || len(history) != 2 {
		t.Errorf("%d versions, %v", len(history), err)
	}
	services, err := db.ServicesOf(t.Context(), []string{now.Key, host.Key, "service/192.0.2.9/tcp/1"})
	if err != nil || services[now.Key].Product != "Apache httpd" || services["service/192.0.2.9/tcp/1"] != nil {
		t.Errorf("%+v, %v", services, err)
	}
	var keys []string
	err = ScanDocs(t.Context(), db, "assets", plainly[schemas.Asset], func(a *schemas.Asset) error { keys = append(keys, a.Key); return nil })
	slices.Sort(keys)
	if err != nil || !slices.Equal(keys, []string{host.Key, now.Key}) {
		t.Errorf("%v, %v", keys, err)
	}
}
