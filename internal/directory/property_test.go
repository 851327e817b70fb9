package directory

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/schemas"
)

// genPrefix draws blocks from a corner of the address space so small that they
// nest and touch.
func genPrefix(t *rapid.T, label string) netip.Prefix {
	b := byte(rapid.IntRange(0, 255).Draw(t, label+" byte"))
	if rapid.Bool().Draw(t, label+" v6") {
		a := netip.MustParseAddr("2001:db8::").As16()
		a[15] = b
		return netip.PrefixFrom(netip.AddrFrom16(a), rapid.IntRange(118, 128).Draw(t, label+" bits")).Masked()
	}
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{192, 0, 2, b}), rapid.IntRange(22, 32).Draw(t, label+" bits")).Masked()
}

func genNetworks(t *rapid.T) []schemas.Network {
	byPrefix := map[netip.Prefix]schemas.Network{}
	for i := range rapid.IntRange(0, 12).Draw(t, "networks") {
		p := genPrefix(t, "network")
		byPrefix[p] = schemas.Network{Prefix: p, Unit: fmt.Sprint("U", i), Scan: rapid.Bool().Draw(t, "scan")}
	}
	return slices.Collect(maps.Values(byPrefix))
}

func TestNetworksAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		networks := genNetworks(t)
		s, err := NewSnapshot(nil, networks, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		brute := func(a netip.Addr) (best schemas.Network, ok bool) {
			for _, n := range networks {
				if n.Prefix.Contains(a) && (!ok || n.Prefix.Bits() > best.Prefix.Bits()) {
					best, ok = n, true
				}
			}
			return best, ok
		}
		p := genPrefix(t, "asked")
		all := true
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			want, wantOK := brute(a)
			if got, ok := s.NetworkOf(a); got.Prefix != want.Prefix || got.Unit != want.Unit || ok != wantOK {
				t.Fatalf("network of %s: %v %v, want %v %v", a, got, ok, want, wantOK)
			}
			if s.Internal(a) != wantOK || s.UnitOf(a) != want.Unit {
				t.Fatalf("internal or unit of %s", a)
			}
			may := wantOK && want.Scan
			if err := s.MayScan(a); (err == nil) != may {
				t.Fatalf("may scan %s: %v, want %v", a, err, may)
			}
			all = all && may
		}
		if err := s.MayScanPrefix(p); (err == nil) != all {
			t.Fatalf("may scan %s: %v, want %v", p, err, all)
		}
	})
}

func genName(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 5).Draw(t, label), ".")
}

func TestNamesAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var domains []schemas.Domain
		var entries []schemas.WhitelistEntry
		for _, n := range rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string { return genName(t, "domain") }), 0, 8, rapid.ID).Draw(t, "domains") {
			domains = append(domains, schemas.Domain{Name: n, Scan: rapid.Bool().Draw(t, "scan")})
			if rapid.Bool().Draw(t, "wild") {
				n = "*." + n
			}
			entries = append(entries, schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: n})
		}
		s, err := NewSnapshot(nil, nil, domains, entries)
		if err != nil {
			t.Fatal(err)
		}
		name := genName(t, "asked")
		var best schemas.Domain
		for _, d := range domains {
			if (name == d.Name || strings.HasSuffix(name, "."+d.Name)) && len(d.Name) > len(best.Name) {
				best = d
			}
		}
		if got, ok := s.DomainOf(name); got.Name != best.Name || ok != (best.Name != "") {
			t.Fatalf("domain of %s: %v %v, want %v", name, got, ok, best)
		}
		listed := slices.ContainsFunc(entries, func(w schemas.WhitelistEntry) bool {
			above, wild := strings.CutPrefix(w.Domain, "*")
			return name == w.Domain || wild && strings.HasSuffix(name, above)
		})
		if _, ok := s.WhitelistedDomain(name, time.Time{}); ok != listed {
			t.Fatalf("%s whitelisted: %v, want %v", name, ok, listed)
		}
	})
}

func TestWhitelistAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		byKey := map[string]schemas.WhitelistEntry{}
		for range rapid.IntRange(0, 12).Draw(t, "entries") {
			w := schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: genPrefix(t, "entry")}
			if rapid.Bool().Draw(t, "port") {
				w.Kind, w.Port, w.Transport = schemas.WhitelistPort, rapid.IntRange(1, 3).Draw(t, "port"), rapid.SampledFrom([]string{"tcp", "udp"}).Draw(t, "transport")
			}
			if rapid.Bool().Draw(t, "ended") {
				w.Until = now
			}
			byKey[w.Key()] = w
		}
		s, err := NewSnapshot(nil, nil, nil, slices.Collect(maps.Values(byKey)))
		if err != nil {
			t.Fatal(err)
		}
		a := genPrefix(t, "asked").Addr()
		host, port, bits := false, false, -1
		for _, w := range byKey {
			if !w.Host.Contains(a) || !w.In(now) {
				continue
			}
			host = true
			if w.Kind == schemas.WhitelistPort && w.Port == 2 && w.Transport == "tcp" {
				port, bits = true, max(bits, w.Host.Bits())
			}
		}
		if _, ok := s.WhitelistedHost(a, now); ok != host {
			t.Fatalf("host %s: %v, want %v", a, ok, host)
		}
		w, ok := s.WhitelistedPort(a, "tcp", 2, now)
		if ok != port || ok && w.Host.Bits() != bits {
			t.Fatalf("port of %s: %v %v, want %v in /%d", a, w, ok, port, bits)
		}
	})
}

// Units in any order make the same tree.
func TestOrderOfUnitsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "units")
		var units []schemas.Unit
		for i := range n {
			u := schemas.Unit{Code: fmt.Sprint("U", i)}
			if i > 0 {
				u.Parent = fmt.Sprint("U", rapid.IntRange(0, i-1).Draw(t, "parent"))
			}
			units = append(units, u)
		}
		under := func(c, a int) bool {
			for u := units[c]; ; {
				if u.Code == units[a].Code {
					return true
				}
				if u.Parent == "" {
					return false
				}
				var i int
				if _, err := fmt.Sscanf(u.Parent, "U%d", &i); err != nil {
					t.Fatal(err)
				}
				u = units[i]
			}
		}
		s, err := NewSnapshot(rapid.Permutation(units).Draw(t, "order"), nil, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for c := range n {
			for a := range n {
				if got := s.Under(units[c].Code, units[a].Code); got != under(c, a) {
					t.Fatalf("%s under %s: %v", units[c].Code, units[a].Code, got)
				}
			}
		}
	})
}

func BenchmarkLookups(b *testing.B) {
	var networks []schemas.Network
	var entries []schemas.WhitelistEntry
	for i := range 20000 {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)
		networks = append(networks, schemas.Network{Prefix: p, Unit: "U", Scan: true})
		entries = append(entries, schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: netip.PrefixFrom(p.Addr().Next(), 32), Port: 443, Transport: "tcp"})
	}
	domains := []schemas.Domain{{Name: "example.edu.cn", Scan: true}}
	s, err := NewSnapshot(nil, networks, domains, entries)
	if err != nil {
		b.Fatal(err)
	}
	a, now := netip.MustParseAddr("10.20.30.1"), time.Now()
	b.Run("UnitOf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.UnitOf(a)
		}
	})
	b.Run("MayScan", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = s.MayScan(a)
		}
	})
	b.Run("WhitelistedPort", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.WhitelistedPort(a, "tcp", 443, now)
		}
	})
	b.Run("DomainOf", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.DomainOf("www.jw.example.edu.cn")
		}
	})
	b.Run("Build", func(b *testing.B) {
		for b.Loop() {
			if _, err := NewSnapshot(nil, networks, domains, entries); err != nil {
				b.Fatal(err)
			}
		}
	})
}
