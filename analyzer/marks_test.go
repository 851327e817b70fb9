package analyzer

import (
	"encoding/json"
	"net/netip"
	"testing"

	"fengsui/analyzer/assets"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// A site abroad that carries a unit's marks is a drift with its evidence, and no
// asset: neither in the map nor in the graph nor in the search.
func TestMarksAreNoAssets(t *testing.T) {
	db := mapStore(t)
	h := openMap(t, t.Context(), db, DefaultConfig())
	r := schemas.RegistryRecord{Unit: &schemas.Unit{Code: "U", Name: "示例大学", Level: schemas.University}}
	value, err := json.Marshal(r)
	if err == nil {
		err = h.registry.Apply(directory.RecordKey(r), value)
	}
	if err != nil {
		t.Fatal(err)
	}
	sighting := schemas.Observation{
		ID: "a", Kind: schemas.ObservedPort, Time: began, Source: "zeek.ssl", IP: netip.MustParseAddr("203.0.113.9"), Port: 443, Transport: "tcp", Open: true, Method: assets.MethodMarks,
		Service: &schemas.Service{TLS: &schemas.TLS{Subject: "CN=jw.example.com,O=示例大学"}},
	}
	if err := h.Handle(t.Context(), recordsOf(t, []schemas.Observation{sighting})); err != nil {
		t.Fatal(err)
	}
	drifts, err := clickhouse.LoadDocs[schemas.Drift](t.Context(), db, "drift", "")
	if err != nil || len(drifts) != 1 || drifts[0].Kind != schemas.UnregisteredMarks || drifts[0].Status != schemas.DriftSuspected || drifts[0].Unit != "U" {
		t.Errorf("%+v, %v", drifts, err)
	}
	for table, want := range map[string]uint64{"observations": 1, "assets": 0, "asset_search": 0, "edges": 0} {
		var n uint64
		if err := db.QueryRow(t.Context(), "SELECT count() FROM "+table).Scan(&n); err != nil || n != want {
			t.Errorf("%s: %d rows, want %d, %v", table, n, want, err)
		}
	}
	if n := valueOf(t, h.metrics.assets); n != 0 {
		t.Errorf("%v assets", n)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}
