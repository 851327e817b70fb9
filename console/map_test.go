package console

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/clickhouse"
	"fengsui/internal/graph"
	"fengsui/registry"
	"fengsui/schemas"
)

// fillMap writes a name with two addresses, one in each city; a service of each
// presents the same certificate, the first city's another one until an hour ago.
func fillMap(t *testing.T, db *clickhouse.DB, now time.Time) (domain, current schemas.Asset) {
	t.Helper()
	ago := func(hours int) time.Time { return now.Add(-time.Duration(hours) * time.Hour) }
	mine, other := netip.MustParseAddr("198.51.100.10"), otherAddr
	tls := func(sha string) *schemas.Service {
		return &schemas.Service{Name: "https", Product: "nginx", TLS: &schemas.TLS{SHA256: sha, Names: []string{"www.c1.example.edu.cn"}}, HTTP: &schemas.HTTP{Status: 200, Body: "<p>"}}
	}
	service := func(ip netip.Addr, unit string, doc *schemas.Service, since int) schemas.Asset {
		return schemas.Asset{
			Key: schemas.ServiceKey(ip, "tcp", 443), Version: 2, Kind: schemas.AssetService, Unit: unit, IP: ip, Port: 443, Transport: "tcp", Alive: true,
			Service: doc, First: ago(48), Last: now, Updated: now, Since: ago(since),
		}
	}
	host := func(ip netip.Addr, unit string) schemas.Asset {
		return schemas.Asset{Key: schemas.HostKey(ip), Version: 1, Kind: schemas.AssetHost, Unit: unit, IP: ip, Alive: true, First: ago(48), Last: now, Updated: now, Since: ago(48)}
	}
	domain = schemas.Asset{
		Key: "domain/www.c1.example.edu.cn", Version: 1, Kind: schemas.AssetDomain, Unit: "c1", Name: "www.c1.example.edu.cn", Alive: true,
		Records: []schemas.Record{{Type: "A", Values: []string{mine.String(), other.String()}}}, First: ago(48), Last: now, Updated: now, Since: ago(48),
	}
	current = service(mine, "c1", tls("bb"), 1)
	must(t, db.InsertAssets(t.Context(), []schemas.Asset{domain, host(mine, "c1"), host(other, "c2"), current, service(other, "c2", tls("bb"), 48)}, "1"))
	former := service(mine, "c1", tls("aa"), 48)
	former.Version = 1
	must(t, db.InsertVersions(t.Context(), []schemas.AssetVersion{{Asset: former, Until: ago(1)}}, "1"))
	var edges []schemas.Edge
	for _, a := range []schemas.Asset{domain, former, current, service(other, "c2", tls("bb"), 48)} {
		for _, e := range graph.EdgesOf(&a) {
			e.Source, e.First, e.Last, e.Count = "scan", ago(48), now, 7
			edges = append(edges, e)
		}
	}
	must(t, db.InsertEdges(t.Context(), edges, "1"))
	return domain, current
}

var otherAddr = netip.MustParseAddr("203.0.113.10") // of the other city

// TestMap: assets, their past and what is around them, by the API; and nobody
// sees or reaches what is not theirs.
func TestMap(t *testing.T) {
	db := openStore(t)
	s := start(t, db, nil)
	now := time.Now().UTC().Truncate(time.Microsecond)
	domain, current := fillMap(t, db, now)
	key := url.QueryEscape(current.Key)
	b := s.user("of-c1", registry.RoleAnalyst, "c1")
	var a schemas.Asset
	b.do("GET", "/api/v1/asset?key="+key, nil, 200).into(t, &a)
	if a.Service.TLS.SHA256 != "bb" || a.Service.HTTP.Body != "<p>" {
		t.Errorf("%+v", a.Service)
	}
	b.do("GET", "/api/v1/asset?key="+key+"&at=2h", nil, 200).into(t, &a)
	if a.Service.TLS.SHA256 != "aa" {
		t.Errorf("two hours ago: %+v", a.Service.TLS)
	}
	var history Page[schemas.AssetVersion]
	b.do("GET", "/api/v1/asset-history?key="+key, nil, 200).into(t, &history)
	if len(history.Items) != 2 || !history.Items[0].Until.IsZero() || !history.Items[1].Until.Equal(now.Add(-time.Hour)) {
		t.Errorf("%+v", history.Items)
	}
	notMine := url.QueryEscape(schemas.HostKey(otherAddr))
	for _, path := range []string{"asset?key=" + notMine, "asset-history?key=" + notMine, "graph?around=" + notMine, "graph?around=unit/c2", "graph?around=network/203.0.113.0/24", "asset?key=" + key + "&at=90h", "graph?around=nothing/x"} {
		b.refused("GET", "/api/v1/"+path, nil, 404, codeNotFound)
	}
	b.refused("GET", "/api/v1/graph?around="+key+"&at=yesterday", nil, 422, codeInvalid)
	b.refused("GET", "/api/v1/graph?around="+key+"&depth=4", nil, 422, codeInvalid)

	f := func(b *browser, query string, want ...string) *graph.Graph {
		t.Helper()
		var g graph.Graph
		b.do("GET", "/api/v1/graph?around="+query, nil, 200).into(t, &g)
		var got []string
		for _, n := range g.Nodes {
			got = append(got, strings.Replace(n.Key, "c1.example.edu.cn", "C1", 1))
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", query, d)
		}
		return &g
	}
	g := f(b, url.QueryEscape(domain.Key), "domain/www.C1", "host/198.51.100.10", "unit/c1", "certificate/aa", "certificate/bb")
	for _, l := range g.Links {
		if l.Kind == schemas.EdgeResolves && (!l.Current || len(l.Evidence) != 1 || l.Evidence[0].Count != 7 || l.Evidence[0].Source != "scan") {
			t.Errorf("%+v", l)
		}
	}
	// The other city's host, of the same name and with the same certificate, is not
	// reached by any way; whoever sees everything reaches it.
	all := []string{"domain/www.C1", "host/198.51.100.10", "unit/c1", "certificate/aa", "certificate/bb", "service/198.51.100.10/tcp/443", "network/198.51.100.0/24", "technology/nginx"}
	f(b, url.QueryEscape(domain.Key)+"&depth=3", all...)
	f(s.user("all", registry.RoleAnalyst, ""), url.QueryEscape(domain.Key)+"&depth=3",
		append([]string{"host/203.0.113.10", "service/203.0.113.10/tcp/443", "unit/c2", "network/203.0.113.0/24"}, all...)...)
	f(b, "technology/nginx", "technology/nginx", "service/198.51.100.10/tcp/443")
	// What was, and what has ended.
	f(b, key+"&at=2h", "service/198.51.100.10/tcp/443", "host/198.51.100.10", "certificate/aa", "technology/nginx")
	f(b, key, "service/198.51.100.10/tcp/443", "host/198.51.100.10", "certificate/bb", "technology/nginx")
	f(b, key+"&past=true", "service/198.51.100.10/tcp/443", "host/198.51.100.10", "certificate/aa", "certificate/bb", "technology/nginx")
	if g := f(b, url.QueryEscape(domain.Key)+"&depth=3&limit=2", "domain/www.C1", "certificate/aa"); g.More == 0 {
		t.Error("nothing says that there is more")
	}
}
