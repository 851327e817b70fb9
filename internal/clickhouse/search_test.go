package clickhouse

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"fengsui/schemas"
	files "fengsui/schemas/clickhouse"
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

// TestIndexedLater: rows of a table that an earlier version made get the indexes
// that a later one adds, without being written again.
func TestIndexedLater(t *testing.T) {
	db := open(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	size := func() (bytes uint64) {
		must(db.QueryRow(t.Context(), "SELECT sum(data_compressed_bytes) FROM system.data_skipping_indices WHERE database = currentDatabase() AND table = 'asset_search' AND name IN ('in_header', 'in_body')").Scan(&bytes))
		return bytes
	}
	at := time.Date(2026, 11, 29, 8, 0, 0, 0, time.UTC)
	ip := netip.MustParseAddr("192.0.2.7")
	must(db.InsertSearch(t.Context(), []schemas.NotedAsset{{Asset: schemas.Asset{
		Key: schemas.ServiceKey(ip, "tcp", 80), Version: 1, Kind: schemas.AssetService, IP: ip, Port: 80, Transport: "tcp", First: at, Last: at,
		Service: &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: 200, Header: "X-Trace: t7", Body: "<p>技术支持</p>"}},
	}}}, "before"))
	must(db.Exec(t.Context(), "ALTER TABLE asset_search DROP INDEX in_header, DROP INDEX in_body SETTINGS mutations_sync = 2"))
	if n := size(); n != 0 {
		t.Fatalf("%d bytes of indexes that there are none of", n)
	}
	text, err := files.Files.ReadFile("00007_header_body.sql")
	must(err)
	statements, err := render(string(text), layout{})
	must(err)
	for _, s := range statements {
		must(db.Exec(t.Context(), s))
	}
	deadline := time.Now().Add(time.Minute)
	for size() == 0 {
		if time.Now().After(deadline) {
			t.Fatal("no index of the row after a minute")
		}
		time.Sleep(50 * time.Millisecond)
	}
}
