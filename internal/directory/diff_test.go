package directory

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

func put(t testing.TB, d *Directory, r schemas.RegistryRecord) {
	t.Helper()
	value, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Apply(RecordKey(r), value); err != nil {
		t.Fatal(err)
	}
}

func TestSince(t *testing.T) {
	d := New()
	listed := func(host string, reason string) schemas.RegistryRecord {
		return schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix(host), Reason: reason}}
	}
	put(t, d, listed("192.0.2.1/32", ""))
	put(t, d, listed("192.0.2.2/32", ""))
	before := d.Snapshot()
	if c := before.Since(before); !c.Empty() {
		t.Errorf("%+v", c)
	}
	put(t, d, listed("192.0.2.2/32", "门户"))
	put(t, d, schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "*.a.example"}})
	put(t, d, schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "www.a.example"}})
	put(t, d, schemas.RegistryRecord{Network: &schemas.Network{Prefix: netip.MustParsePrefix("192.0.2.0/24")}})
	put(t, d, schemas.RegistryRecord{Domain: &schemas.Domain{Name: "b.example"}})
	put(t, d, schemas.RegistryRecord{System: &schemas.System{Code: "s", Domains: []string{"c.example"}, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}}})
	put(t, d, schemas.RegistryRecord{Unit: &schemas.Unit{Code: "u"}})
	put(t, d, schemas.RegistryRecord{Decision: &schemas.DriftDecision{Drift: "x", DriftWork: schemas.DriftWork{State: schemas.WorkFixed}}})
	if err := d.Apply("whitelist/host/192.0.2.1/32", nil); err != nil {
		t.Fatal(err)
	}
	got := d.Snapshot().Since(before)
	var prefixes []string
	for _, p := range got.Prefixes {
		prefixes = append(prefixes, p.String())
	}
	slices.Sort(prefixes)
	want := []string{"192.0.2.0/24", "192.0.2.1/32", "192.0.2.2/32", "192.0.2.2/32", "198.51.100.1/32"}
	if diff := cmp.Diff(want, prefixes); diff != "" {
		t.Error(diff)
	}
	if fmt.Sprint(got.Names, got.Belows, got.Systems, got.Decisions, got.Units) != "[www.a.example c.example] [a.example b.example] [s] [x] true" {
		t.Errorf("%+v", got)
	}
	if w, ok := d.Snapshot().Decision("x"); !ok || w.State != schemas.WorkFixed {
		t.Errorf("%+v", w)
	}
	if err := d.Apply("decision/y", []byte(`{"decision":{"drift":"y","state":"closed"}}`)); err == nil {
		t.Error("a decision that there is not was taken")
	}
}

// What is in one of two random whitelists, and not the same in the other, is told.
func TestSinceTellsEveryDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		list := func(name string) map[string]schemas.WhitelistEntry {
			out := map[string]schemas.WhitelistEntry{}
			for _, n := range rapid.SliceOfN(rapid.IntRange(1, 12), 0, 12).Draw(t, name) {
				w := schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(n)}), 32), Reason: rapid.SampledFrom([]string{"", "x"}).Draw(t, "reason")}
				out[w.Key()] = w
			}
			return out
		}
		a, b := list("before"), list("after")
		snap := func(entries map[string]schemas.WhitelistEntry) *Snapshot {
			var all []schemas.WhitelistEntry
			for _, w := range entries {
				all = append(all, w)
			}
			s, err := NewSnapshot(nil, nil, nil, all)
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		want := map[netip.Prefix]bool{}
		for key, w := range a {
			if b[key] != w {
				want[w.Host] = true
			}
		}
		for key, w := range b {
			if a[key] != w {
				want[w.Host] = true
			}
		}
		got := map[netip.Prefix]bool{}
		for _, p := range snap(b).Since(snap(a)).Prefixes {
			got[p] = true
		}
		if len(got) != len(want) {
			t.Fatalf("got %v, want %v", got, want)
		}
		for p := range want {
			if !got[p] {
				t.Fatalf("%v is not told", p)
			}
		}
	})
}

// However records come and go, a snapshot that was changed is the one that is made
// of all there is.
func TestChangedIsMadeAnew(t *testing.T) {
	same := cmp.Options{cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmpopts.EquateEmpty(), cmp.AllowUnexported(listed{})}
	rapid.Check(t, func(t *rapid.T) {
		d, there := New(), map[string]schemas.RegistryRecord{}
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			w := schemas.WhitelistEntry{
				Kind:   rapid.SampledFrom([]schemas.WhitelistKind{schemas.WhitelistDomain, schemas.WhitelistHost, schemas.WhitelistPort}).Draw(t, "kind"),
				Reason: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "reason"),
			}
			switch w.Kind {
			case schemas.WhitelistDomain:
				w.Domain = rapid.SampledFrom([]string{"*.a.example", "a.example", "b.example"}).Draw(t, "name")
			case schemas.WhitelistPort:
				w.Port, w.Transport = rapid.IntRange(1, 3).Draw(t, "port"), rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "transport")
				fallthrough
			default:
				w.Host = netip.MustParsePrefix(rapid.SampledFrom([]string{"192.0.2.0/24", "192.0.2.1/32", "2001:db8::1/128"}).Draw(t, "host"))
			}
			r := schemas.RegistryRecord{Whitelist: &w}
			if key := RecordKey(r); rapid.Bool().Draw(t, "delete") {
				delete(there, key)
				_ = d.Apply(key, nil)
			} else {
				there[key] = r
				value, err := json.Marshal(r)
				if err != nil {
					t.Fatal(err)
				}
				if err := d.Apply(key, value); err != nil {
					t.Fatal(err)
				}
			}
			if rapid.Bool().Draw(t, "look") {
				continue
			}
			got, want := d.Snapshot(), build(there)
			if diff := cmp.Diff(want.Whitelist(), got.Whitelist(), same); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(want.names, got.names, same); diff != "" {
				t.Fatal(diff)
			}
			if diff := cmp.Diff(want.belows, got.belows, same); diff != "" {
				t.Fatal(diff)
			}
			for p, l := range want.hosts.All() {
				have, _ := got.hosts.Get(p)
				if diff := cmp.Diff(l, have, same); diff != "" {
					t.Fatal(p, diff)
				}
			}
			if want.hosts.Size() != got.hosts.Size() {
				t.Fatal(want.hosts.Size(), got.hosts.Size())
			}
		}
	})
}

func TestStanding(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }
	s, err := NewSnapshot(nil, nil, nil, []schemas.WhitelistEntry{
		{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("192.0.2.1/32"), Until: day(10)},
		{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("192.0.2.1/32"), Port: 80, From: day(5), Until: day(20)},
		{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("192.0.2.0/24"), Port: 22, Transport: "tcp", From: day(30)},
		{Kind: schemas.WhitelistDomain, Domain: "www.a.example", Until: day(10)},
		{Kind: schemas.WhitelistDomain, Domain: "*.b.example", Until: day(10)},
		{Kind: schemas.WhitelistDomain, Domain: "*.example", From: day(30)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ip := netip.MustParseAddr("192.0.2.1")
	f := func(at time.Time, host, port, www, below Standing) {
		t.Helper()
		_, h := s.HostStanding(ip, at)
		_, p := s.PortStanding(ip, "tcp", 80, at)
		_, w := s.DomainStanding("www.a.example", at)
		_, b := s.DomainStanding("x.b.example", at)
		if h != host || p != port || w != www || b != below {
			t.Errorf("%v: host %v port %v www %v below %v", at, h, p, w, b)
		}
	}
	f(day(1), Allowed, Unlisted, Allowed, Allowed)
	f(day(7), Allowed, Allowed, Allowed, Allowed)
	f(day(10), Allowed, Allowed, Expired, Expired)
	f(day(20), Expired, Expired, Expired, Expired)
	f(day(30), Allowed, Expired, Allowed, Allowed)
	if got := s.Turned(day(9), day(10)); len(got.Prefixes) != 1 || len(got.Names) != 1 || len(got.Belows) != 1 {
		t.Errorf("%+v", got)
	}
	if !s.Listing(ip) || s.Listing(netip.MustParseAddr("192.0.2.2")) {
		t.Error("Listing")
	}
}

// BenchmarkOneChange is a registry of a province of which one entry changes: the
// snapshot is made anew, and what differs is found.
func BenchmarkOneChange(b *testing.B) {
	d := New()
	entry := func(i int, reason string) schemas.RegistryRecord {
		return schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{
			Kind: schemas.WhitelistPort, Host: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32), Port: 443, Transport: "tcp", Service: "https", Reason: reason,
		}}
	}
	for i := range 300_000 {
		put(b, d, entry(i, ""))
	}
	before := d.Snapshot()
	i := 0
	for b.Loop() {
		i++
		put(b, d, entry(1000, fmt.Sprint(i)))
		after := d.Snapshot()
		if c := after.Since(before); len(c.Prefixes) != 2 {
			b.Fatalf("%+v", c)
		}
		before = after
	}
}
