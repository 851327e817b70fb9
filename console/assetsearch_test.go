package console

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"fengsui/console/search"
	"fengsui/registry"
	"fengsui/schemas"
)

// The search shows, counts and exports what is of one's own units alone.
func TestAssetSearch(t *testing.T) {
	db := openStore(t)
	now := time.Now().UTC().Truncate(time.Second)
	var rows []schemas.NotedAsset
	for i, unit := range []string{"c1", "s1", "c2", ""} {
		ip := netip.AddrFrom4([4]byte{198, 51, 100, byte(10 + i)})
		rows = append(rows, schemas.NotedAsset{
			Asset: schemas.Asset{
				Key: schemas.ServiceKey(ip, "tcp", 80), Version: 1, Kind: schemas.AssetService, Unit: unit, IP: ip, Port: 80, Transport: "tcp", Alive: true, First: now, Last: now,
				Service: &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Title: "=教务", Body: "long"}},
			},
			Notes: schemas.Notes{City: []string{"甲市"}},
		})
	}
	must(t, db.InsertSearch(t.Context(), rows, "rows"))
	s := start(t, db, nil)
	f := func(unit string, want int) {
		t.Helper()
		b := s.user("user-"+unit, registry.RoleAnalyst, unit)
		const query = "?query=" + "port+%3D+80+%7C%7C+%21x" // port = 80 || !x
		seen, after := 0, ""
		for {
			var page FoundPage
			b.do("GET", "/api/v1/search"+query+"&limit=1&after="+url.QueryEscape(after), nil, 200).into(t, &page)
			seen += len(page.Items)
			if after = page.Next; after == "" {
				break
			}
		}
		var counted search.Aggregation
		b.do("GET", "/api/v1/search/aggregate"+query+"&by=city", nil, 200).into(t, &counted)
		file := string(b.do("GET", "/api/v1/search/export"+query+"&format=csv&fields=ip,title", nil, 200).body)
		if lines := strings.Count(file, "\n") - 1; seen != want || counted.Total != uint64(want) || lines != want || strings.Count(file, ",'=教务") != want {
			t.Errorf("of %q: %d rows, %+v, the file\n%s\nwant %d", unit, seen, counted, file, want)
		}
	}
	f("", 4)
	f("c1", 2)
	f("c2", 1)
	f("unknown", 0)

	b := s.user("all", registry.RoleAuditor, "")
	var page FoundPage
	b.do("GET", "/api/v1/search?query=body+%3D+long&limit=1&long=body", nil, 200).into(t, &page)
	if len(page.Items) != 1 || page.Items[0].Body != "long" {
		t.Errorf("%+v", page)
	}
	var fields struct{ Items []search.AssetField }
	b.do("GET", "/api/v1/search/fields", nil, 200).into(t, &fields)
	if len(fields.Items) != len(search.AssetFields()) {
		t.Errorf("%d fields", len(fields.Items))
	}
	if p := b.refused("GET", "/api/v1/search?query=alive+%3D+true+%26%26+prot+%3D+1", nil, 422, codeQuery); p.Column != 17 || !strings.Contains(p.Detail, `"port"`) {
		t.Errorf("%+v", p)
	}
	b.refused("GET", "/api/v1/search?after=nonsense", nil, 422, codeInvalid)
	b.refused("GET", "/api/v1/search/aggregate?by=nonsense", nil, 422, codeInvalid)
	b.refused("GET", "/api/v1/search/export?fields=nonsense", nil, 422, codeInvalid)
	b.refused("GET", "/api/v1/search/export?query=prot+%3D+1", nil, 422, codeQuery)
}
