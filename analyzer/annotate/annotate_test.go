package annotate

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

var now = time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)

func snapshot(t *testing.T) *directory.Snapshot {
	t.Helper()
	host := netip.MustParsePrefix("192.0.2.10/32")
	s, err := directory.NewSnapshot(
		[]schemas.Unit{
			{Code: "41", Name: "河南省", Level: schemas.Province, Division: "410000"},
			{Code: "4101", Name: "郑州市", Level: schemas.City, Parent: "41", Division: "410100"},
			{Code: "410105", Name: "金水区", Level: schemas.County, Parent: "4101", Division: "410105"},
			{Code: "419001", Name: "济源市", Level: schemas.City, Parent: "41", Division: "419001"},
			{Code: "10001", Name: "示例大学", Level: schemas.University, Parent: "41", Division: "410105", SchoolCode: "4141000001"},
			{Code: "s1", Name: "某\n小学", Level: schemas.School, Parent: "410105"},
			{Code: "s2", Name: "某中学", Level: schemas.School, Parent: "419001", Division: "419001"},
		},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("192.0.2.0/24"), Unit: "10001"}},
		[]schemas.Domain{{Name: "example.edu.cn", Unit: "10001"}},
		[]schemas.WhitelistEntry{
			{Kind: schemas.WhitelistPort, Host: host, Port: 443, Transport: "tcp", Unit: "10001"},
			{Kind: schemas.WhitelistDomain, Domain: "www.example.edu.cn", Unit: "10001", Until: now.Add(-time.Hour)},
		},
		schemas.System{Code: "jw", Name: "教务系统", Unit: "10001", State: schemas.SystemRegistered, Level: 3, Hosting: schemas.HostingOwn, Domains: []string{"jw.example.edu.cn"}, Addresses: []netip.Prefix{host}, Ports: []schemas.PortName{{Port: 443, Transport: "tcp"}}},
		schemas.System{Code: "old", Name: "旧系统", Unit: "10001", State: schemas.SystemRetired, Level: 2, Hosting: schemas.HostingOwn, Domains: []string{"www.example.edu.cn"}},
	)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNote(t *testing.T) {
	n := New(snapshot(t))
	f := func(a schemas.Asset, names []string, drifts []schemas.DriftKind, want schemas.Notes) {
		t.Helper()
		if diff := cmp.Diff(want, n.Note(&a, names, drifts, now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", a.Key, diff)
		}
	}
	ip := netip.MustParseAddr("192.0.2.10")
	university := schemas.Notes{
		UnitIn: []string{"10001", "示例大学", "41", "河南省"}, City: []string{"郑州市", "4101", "410100"}, County: []string{"金水区", "410105"}, School: []string{"示例大学", "10001", "4141000001"},
	}
	want := university
	want.Names, want.System, want.Level, want.Filed, want.Allowed = []string{"jw.example.edu.cn"}, []string{"教务系统", "jw"}, 3, true, true
	want.Drift = []string{"exposure", "version_changed"}
	f(schemas.Asset{Kind: schemas.AssetService, Key: "https", Unit: "10001", IP: ip, Port: 443, Transport: "tcp"}, want.Names, []schemas.DriftKind{schemas.VersionChanged, schemas.Exposed, schemas.Exposed}, want)

	want = university
	f(schemas.Asset{Kind: schemas.AssetService, Key: "a port that nobody names", Unit: "10001", IP: ip, Port: 22, Transport: "tcp"}, nil, nil, want)

	want = university
	want.System, want.Level, want.Filed, want.Allowed = []string{"教务系统", "jw"}, 3, true, true
	f(schemas.Asset{Kind: schemas.AssetHost, Key: "host", Unit: "10001", IP: ip}, nil, nil, want)

	want = university
	want.Names, want.System, want.Level = []string{"www.example.edu.cn"}, []string{"旧系统", "old"}, 2 // retired, and its entry has ended
	f(schemas.Asset{Kind: schemas.AssetDomain, Key: "domain", Unit: "10001", Name: "www.example.edu.cn"}, nil, nil, want)

	f(schemas.Asset{Kind: schemas.AssetDomain, Key: "nobody's", Name: "a.example"}, nil, nil, schemas.Notes{Names: []string{"a.example"}})
	f(schemas.Asset{Kind: schemas.AssetHost, Key: "of a school in the tree", Unit: "s1", IP: netip.MustParseAddr("198.51.100.1")}, nil, nil, schemas.Notes{
		UnitIn: []string{"s1", "某 小学", "410105", "金水区", "4101", "郑州市", "41", "河南省"}, City: []string{"郑州市", "4101", "410100"}, County: []string{"金水区", "410105"}, School: []string{"某 小学", "s1"},
	})
	f(schemas.Asset{Kind: schemas.AssetHost, Key: "in a county that is a city", Unit: "s2", IP: netip.MustParseAddr("198.51.100.2")}, nil, nil, schemas.Notes{
		UnitIn: []string{"s2", "某中学", "419001", "济源市", "41", "河南省"}, City: []string{"济源市", "419001"}, School: []string{"某中学", "s2"},
	})
}

func TestDrifts(t *testing.T) {
	var d Drifts
	put := func(id string, kind schemas.DriftKind, status schemas.DriftStatus) {
		d.Put(&schemas.Drift{ID: id, Kind: kind, Status: status, Asset: "host/192.0.2.1"})
	}
	f := func(want ...schemas.DriftKind) {
		t.Helper()
		got := d.Of("host/192.0.2.1")
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	put("1", schemas.UnlistedHost, schemas.DriftSuspected)
	f()
	put("1", schemas.UnlistedHost, schemas.DriftOpen)
	put("2", schemas.Exposed, schemas.DriftOpen)
	f(schemas.Exposed, schemas.UnlistedHost)
	put("1", schemas.UnlistedHost, schemas.DriftClosed)
	put("3", schemas.Exposed, schemas.DriftClosed)
	f(schemas.Exposed)
	put("2", schemas.Exposed, schemas.DriftClosed)
	f()
	if len(d.open) != 0 {
		t.Errorf("%v is kept", d.open)
	}
}

// Marks are the same for the same, and differ where anything does: texts cannot
// move from one list, or from one text, to the next.
func TestMark(t *testing.T) {
	texts := rapid.SliceOfN(rapid.SampledFrom([]string{"", "a", "b", "ab"}), 0, 3)
	any := rapid.Custom(func(t *rapid.T) schemas.Notes {
		return schemas.Notes{
			Names: texts.Draw(t, "names"), UnitIn: texts.Draw(t, "in"), City: texts.Draw(t, "city"), County: texts.Draw(t, "county"), School: texts.Draw(t, "school"),
			System: texts.Draw(t, "system"), Drift: texts.Draw(t, "drift"), Level: rapid.IntRange(0, 1).Draw(t, "level"), Filed: rapid.Bool().Draw(t, "filed"), Allowed: rapid.Bool().Draw(t, "allowed"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := any.Draw(t, "a"), any.Draw(t, "b")
		v, w := rapid.Uint64Range(0, 300).Draw(t, "v"), rapid.Uint64Range(0, 300).Draw(t, "w")
		same := v == w && cmp.Equal(a, b)
		if got := Mark(v, &a) == Mark(w, &b); got != same {
			t.Fatalf("marks are the same: %v, want %v", got, same)
		}
	})
}
