package directory

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

var someHours = []string{"", "22:00-06:00", "mon-fri 08:00-12:00; sat,sun"}

func genPolicies(t *rapid.T) []schemas.Network {
	networks := genNetworks(t)
	slices.SortFunc(networks, func(a, b schemas.Network) int { return a.Prefix.Compare(b.Prefix) })
	for i := range networks {
		n := &networks[i]
		n.Hours = rapid.SampledFrom(someHours).Draw(t, "hours")
		for range rapid.IntRange(0, 2).Draw(t, "exclusions") {
			p := genPrefix(t, "exclusion")
			if p.Bits() < n.Prefix.Bits() || !n.Prefix.Contains(p.Addr()) {
				p = netip.PrefixFrom(n.Prefix.Addr(), n.Prefix.Addr().BitLen())
			}
			n.Exclude = append(n.Exclude, p)
		}
	}
	return networks
}

// Whatever the registry: an address may be scanned at a moment when the most
// specific network around it says so, its hours are open, and nobody excludes it;
// and a block when every address of it may.
func TestPoliciesAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		networks := genPolicies(t)
		s, err := NewSnapshot(nil, networks, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1_790_000_000+3600*int64(rapid.IntRange(0, 7*24).Draw(t, "hour")), 0)
		p := genPrefix(t, "asked")
		inScope, inTime := true, true
		deciding := map[netip.Prefix]bool{}
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			var best *schemas.Network
			excluded := false
			for i := range networks {
				n := &networks[i]
				if n.Prefix.Contains(a) && (best == nil || n.Prefix.Bits() > best.Prefix.Bits()) {
					best = n
				}
				excluded = excluded || slices.ContainsFunc(n.Exclude, func(e netip.Prefix) bool { return e.Contains(a) })
			}
			may, open := best != nil && best.Scan && !excluded, false
			if best != nil {
				h, err := hours.Parse(best.Hours)
				if err != nil {
					t.Fatal(err)
				}
				open = h.Open(now)
				deciding[best.Prefix] = true
			}
			if err := s.MayScan(a); (err == nil) != may || err != nil && !errors.Is(err, ErrOutOfScope) {
				t.Fatalf("%s: %v, want %v", a, err, may)
			}
			err := s.MayScanAt(a, now)
			if (err == nil) != (may && open) || errors.Is(err, ErrOutOfHours) != (may && !open) {
				t.Fatalf("%s at %v: %v, want %v and %v", a, now, err, may, open)
			}
			inScope, inTime = inScope && may, inTime && open
		}
		if err := s.MayScanPrefix(p); (err == nil) != inScope {
			t.Fatalf("%s: %v, want %v", p, err, inScope)
		}
		err = s.MayScanPrefixAt(p, now)
		if (err == nil) != (inScope && inTime) || errors.Is(err, ErrOutOfHours) != (inScope && !inTime) {
			t.Fatalf("%s at %v: %v, want %v and %v", p, now, err, inScope, inTime)
		}
		if !inScope {
			return
		}
		of, err := s.NetworksOf(p)
		if err != nil || len(of) != len(deciding) {
			t.Fatalf("networks of %s: %v, %v, want %v", p, of, err, deciding)
		}
		var texts []string
		for _, n := range of {
			if !deciding[n.Prefix] {
				t.Fatalf("%s decides nothing of %s", n.Prefix, p)
			}
			texts = append(texts, n.Hours)
		}
		// The next hours of all of them, an hour at a time.
		next := time.Time{}
		for at := now; at.Before(now.Add(8 * 24 * time.Hour)); at = at.Truncate(time.Hour).Add(time.Hour) {
			if s.MayScanPrefixAt(p, at) == nil {
				next = at
				break
			}
		}
		if got := NextHours(now, texts...); !got.Equal(next) {
			t.Fatalf("%v from %v: %v, want %v", texts, now, got, next)
		}
	})
}

func TestQuestionsAgainstBruteForce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var domains []schemas.Domain
		for _, n := range rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) string { return genName(t, "domain") }), 0, 6, rapid.ID).Draw(t, "domains") {
			d := schemas.Domain{Name: n, Scan: rapid.Bool().Draw(t, "scan"), Hours: rapid.SampledFrom(someHours).Draw(t, "hours")}
			if rapid.Bool().Draw(t, "excludes") {
				d.Exclude = []string{genName(t, "excluded") + "." + n}
			}
			domains = append(domains, d)
		}
		s, err := NewSnapshot(nil, nil, domains, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Unix(1_790_000_000+3600*int64(rapid.IntRange(0, 7*24).Draw(t, "hour")), 0)
		name := genName(t, "asked") + rapid.SampledFrom([]string{"", "."}).Draw(t, "dot")
		below := func(above string) bool { return strings.HasSuffix("."+strings.TrimSuffix(name, "."), "."+above) }
		var best schemas.Domain
		excluded := false
		for _, d := range domains {
			if below(d.Name) && len(d.Name) > len(best.Name) {
				best = d
			}
			excluded = excluded || slices.ContainsFunc(d.Exclude, below)
		}
		h, err := hours.Parse(best.Hours)
		if err != nil {
			t.Fatal(err)
		}
		may := best.Scan && !excluded
		if err := s.MayResolve(name); (err == nil) != may {
			t.Fatalf("%s: %v, want %v", name, err, may)
		}
		if err := s.MayResolveAt(name, now); (err == nil) != (may && h.Open(now)) || errors.Is(err, ErrOutOfHours) != (may && !h.Open(now)) {
			t.Fatalf("%s at %v: %v", name, now, err)
		}
	})
}

func TestHoursThatNeverMeet(t *testing.T) {
	if at := NextHours(time.Unix(1_790_000_000, 0), "mon", "tue"); !at.IsZero() {
		t.Errorf("%v", at)
	}
}

func TestBadPoliciesAreRefused(t *testing.T) {
	f := func(n schemas.Network, d schemas.Domain) {
		t.Helper()
		if n.Prefix.IsValid() {
			if _, err := NewSnapshot(nil, []schemas.Network{n}, nil, nil); err == nil {
				t.Errorf("%+v is taken", n)
			}
		}
		if d.Name != "" {
			if _, err := NewSnapshot(nil, nil, []schemas.Domain{d}, nil); err == nil {
				t.Errorf("%+v is taken", d)
			}
		}
	}
	f(schemas.Network{Prefix: pfx("10.0.0.0/8"), Hours: "night"}, schemas.Domain{Name: "a.b", Hours: "night"})
	f(schemas.Network{Prefix: pfx("10.0.0.0/8"), Rate: -1}, schemas.Domain{Name: "a.b", Rate: -1})
	f(schemas.Network{Prefix: pfx("10.0.0.0/8"), HostRate: -1}, schemas.Domain{Name: "a.b", Exclude: []string{"X.a.b"}})
	f(schemas.Network{Prefix: pfx("10.0.0.0/8"), Exclude: []netip.Prefix{{}}}, schemas.Domain{})
}
