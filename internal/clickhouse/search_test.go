package clickhouse

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"fengsui/schemas"
)

// TestUnindexed: what assets are searched by is written without its indexes of
// texts, is found all the same, and has them when parts have been merged.
func TestUnindexed(t *testing.T) {
	db := open(t)
	at := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	service := func(n int, title string) schemas.NotedAsset {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(n)})
		return schemas.NotedAsset{Asset: schemas.Asset{
			Key: schemas.ServiceKey(ip, "tcp", 80), Version: uint64(n), Kind: schemas.AssetService, IP: ip, Port: 80, Transport: "tcp", First: at, Last: at,
			Service: &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: 200, Title: title}},
		}}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const rows = 20
	must(db.Exec(t.Context(), "SYSTEM STOP MERGES asset_search"))
	for n := range rows {
		must(db.InsertSearch(t.Context(), []schemas.NotedAsset{service(n, fmt.Sprintf("第%d学院", n))}, fmt.Sprint("t", n)))
	}
	f := func(indexed bool) {
		t.Helper()
		var found, bytes uint64
		must(db.QueryRow(t.Context(), "SELECT count() FROM asset_search FINAL WHERE lower(title) LIKE '%第7学院%'").Scan(&found))
		must(db.QueryRow(t.Context(), "SELECT sum(secondary_indices_compressed_bytes) FROM system.parts WHERE active AND database = currentDatabase() AND table = 'asset_search' AND rows = (SELECT count() FROM asset_search)").Scan(&bytes))
		if found != 1 || (bytes > 0) != indexed {
			t.Errorf("found %d, want 1; %d bytes of indexes of the merged part, indexed: want %v", found, bytes, indexed)
		}
	}
	f(false)
	must(db.Exec(t.Context(), "SYSTEM START MERGES asset_search"))
	must(db.Exec(t.Context(), "OPTIMIZE TABLE asset_search FINAL"))
	f(true)
}
