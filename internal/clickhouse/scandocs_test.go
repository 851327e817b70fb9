package clickhouse

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"fengsui/schemas"
)

// Documents come in their order, however many pages they fill; who has enough is
// asked no more, and what is no document is an error.
func TestScanDocs(t *testing.T) {
	db := open(t)
	const n = 5*scanPage + 7
	var all []schemas.Asset
	for i := range n {
		name := fmt.Sprintf("n%05d.example.edu.cn", i)
		all = append(all, schemas.Asset{Key: schemas.DomainKey(name), Version: 1, Kind: schemas.AssetDomain, Name: name, Addresses: []string{netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).String()}})
	}
	if err := db.InsertAssets(t.Context(), all, ""); err != nil {
		t.Fatal(err)
	}
	i := 0
	err := ScanDocs(t.Context(), db, "assets", plainly[schemas.Asset], func(a *schemas.Asset) error {
		if a.Key != all[i].Key || a.Addresses[0] != all[i].Addresses[0] {
			t.Fatalf("%d: %+v", i, a)
		}
		i++
		return nil
	})
	if err != nil || i != n {
		t.Errorf("%d of %d, %v", i, n, err)
	}
	enough, calls := errors.New("enough"), 0
	err = ScanDocs(t.Context(), db, "assets", plainly[schemas.Asset], func(*schemas.Asset) error {
		if calls++; calls == scanPage+1 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || calls != scanPage+1 {
		t.Errorf("%d calls, %v", calls, err)
	}
	if err := ScanDocs(t.Context(), db, "assets", plainly[struct{ Version string }], func(*struct{ Version string }) error { return nil }); err == nil || !strings.Contains(err.Error(), "a document") {
		t.Error(err)
	}
	if err := ScanDocs(t.Context(), db, "nonesuch", plainly[schemas.Asset], func(*schemas.Asset) error { return nil }); err == nil || !strings.Contains(err.Error(), "nonesuch") {
		t.Error(err)
	}
}

// plainly makes what reads documents as anybody does.
func plainly[T any]() func([]byte, *T) error {
	return func(text []byte, doc *T) error { return json.Unmarshal(text, doc) }
}
