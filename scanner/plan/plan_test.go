package plan

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/internal/directory"
	"fengsui/scanner/identify"
	"fengsui/scanner/portset"
	"fengsui/schemas"
)

var now = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func snapshot(t interface {
	Helper()
	Fatalf(string, ...any)
}, networks []schemas.Network, domains []schemas.Domain, whitelist []schemas.WhitelistEntry,
) *directory.Snapshot {
	t.Helper()
	units := []schemas.Unit{
		{Code: "p", Level: schemas.Province},
		{Code: "a", Level: schemas.City, Parent: "p"},
		{Code: "a1", Level: schemas.School, Parent: "a"},
		{Code: "b", Level: schemas.University, Parent: "p"},
	}
	s, err := directory.NewSnapshot(units, networks, domains, whitelist)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return s
}

func network(prefix, unit string, scan bool) schemas.Network {
	return schemas.Network{Prefix: netip.MustParsePrefix(prefix), Unit: unit, Scan: scan}
}

func TestPlan(t *testing.T) {
	snap := snapshot(t,
		[]schemas.Network{
			network("10.1.0.0/22", "a", true), network("10.1.1.0/24", "a1", true), network("10.1.2.0/30", "a", false),
			network("10.2.0.0/24", "b", true), network("10.3.0.0/16", "a", false), network("fd00:1::/48", "a", true), network("fd00:2::/120", "a1", true),
		},
		[]schemas.Domain{{Name: "a.example", Unit: "a", Scan: true}, {Name: "x.a.example", Unit: "a"}, {Name: "b.example", Unit: "b", Scan: true}},
		[]schemas.WhitelistEntry{
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.1.0.9/32"), Port: 54321, Unit: "a"},
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.2.0.9/32"), Port: 54322, Unit: "b"},
			{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("fd00:1::5/128"), Unit: "a"},
			{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("10.3.0.1/32"), Unit: "a"},
			{Kind: schemas.WhitelistDomain, Domain: "*.www.a.example", Unit: "a"},
			{Kind: schemas.WhitelistDomain, Domain: "old.a.example", Unit: "a", Until: now},
		})
	f := func(r Request, targets, names string) {
		t.Helper()
		r.By, r.Now = "test", now
		tasks, err := Plan(snap, r)
		if err != nil {
			t.Errorf("%s: %v", r.Unit, err)
			return
		}
		var gotTargets, gotNames []string
		for i, task := range tasks {
			if task.Shard != fmt.Sprint(i+1) || task.Shards != len(tasks) || task.Job != tasks[0].Job || !task.Expires.After(now) {
				t.Errorf("%s: badly stamped: %+v", r.Unit, task)
			}
			gotNames = append(gotNames, task.Names...)
			if task.Kind == schemas.TaskSweep {
				for _, p := range task.Targets {
					gotTargets = append(gotTargets, p.String())
				}
			}
		}
		if got := strings.Join(gotTargets, " "); got != targets {
			t.Errorf("%s: targets\n%s, want\n%s", r.Unit, got, targets)
		}
		if got := strings.Join(gotNames, " "); got != names {
			t.Errorf("%s: names %s, want %s", r.Unit, got, names)
		}
	}
	known := []netip.Addr{netip.MustParseAddr("fd00:1::7"), netip.MustParseAddr("fd00:2::7"), netip.MustParseAddr("10.2.0.1"), netip.MustParseAddr("::ffff:10.1.1.1"), netip.MustParseAddr("192.0.2.1")}
	f(Request{Unit: "a", Known: known, Names: []string{"New.A.example.", "y.x.a.example", "b.example"}},
		"10.1.0.0/24 10.1.0.9/32 10.1.2.4/30 10.1.2.8/29 10.1.2.16/28 10.1.2.32/27 10.1.2.64/26 10.1.2.128/25 10.1.3.0/24 "+
			"10.1.1.0/24 10.1.1.1/32 fd00:2::/120 fd00:2::7/128 fd00:1::5/128 fd00:1::7/128",
		"a.example new.a.example www.a.example")
	f(Request{Unit: "a1"}, "10.1.1.0/24 fd00:2::/120", "")
	f(Request{Unit: "b"}, "10.2.0.0/24 10.2.0.9/32", "b.example")

	tasks, err := Plan(snap, Request{Unit: "a", By: "test", Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.Kind != schemas.TaskSweep {
			continue
		}
		ports, udp, err := portset.ParseBoth(task.Ports)
		if err != nil {
			t.Fatal(err)
		}
		if got := udp.String(); got != sortedUDP(t) {
			t.Errorf("UDP ports %s", got)
		}
		for port, want := range map[int]bool{22: true, 443: true, 3333: true, 54321: true, 54322: false} {
			if ports.Contains(port) != want {
				t.Errorf("port %d is planned: %v", port, !want)
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	snap := snapshot(t, []schemas.Network{network("10.1.0.0/22", "a", false), network("fd00::/32", "b", true), network("10.0.0.0/9", "p", true)}, nil, nil)
	f := func(r Request, reason string, is error) {
		t.Helper()
		tasks, err := Plan(snap, r)
		if err == nil || !strings.Contains(err.Error(), reason) || is != nil && !errors.Is(err, is) || tasks != nil {
			t.Errorf("%+v: %v, want an error with %q", r, err, reason)
		}
	}
	f(Request{Unit: "a", By: "t", Now: now}, "authorised", ErrNoScope)
	f(Request{Unit: "b", By: "t", Now: now}, "IPv6", ErrNoScope)
	f(Request{Unit: "nobody", By: "t", Now: now}, "not registered", nil)
	f(Request{Unit: "p", By: "t", Now: now, Ports: "all"}, "more than 10000 shards", nil)
	f(Request{Unit: "p", By: "t", Now: now, Ports: "0"}, "not a port", nil)
	f(Request{Unit: "p", By: "t", Now: now, Rate: -1}, "rate", nil)
	f(Request{Unit: "p", Now: now}, "nobody asks", nil)
	f(Request{Unit: "p", By: "t"}, "no time", nil)
}

// Whatever the registry: no target is outside the scope or another unit's, every
// address of the scope is covered, and no shard is too large.
func TestPlanCoversTheScopeAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seen := map[netip.Prefix]bool{}
		var networks []schemas.Network
		for range rapid.IntRange(1, 12).Draw(t, "networks") {
			// Sixteen bits of address space, so that networks lie inside each other.
			var p netip.Prefix
			at := byte(rapid.IntRange(0, 3).Draw(t, "third"))
			last := byte(rapid.IntRange(0, 255).Draw(t, "fourth"))
			if rapid.Bool().Draw(t, "v4") {
				p = netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, at, last}), rapid.IntRange(20, 32).Draw(t, "bits")).Masked()
			} else {
				a := [16]byte{0: 0xfd, 14: at, 15: last}
				p = netip.PrefixFrom(netip.AddrFrom16(a), rapid.IntRange(112, 128).Draw(t, "bits")).Masked()
			}
			if seen[p] {
				continue
			}
			seen[p] = true
			n := schemas.Network{
				Prefix: p, Scan: rapid.Bool().Draw(t, "scan"),
				Unit:     rapid.SampledFrom([]string{"p", "a", "a1", "b"}).Draw(t, "unit"),
				Hours:    rapid.SampledFrom([]string{"", "", "22:00-06:00", "sat,sun", "15:00-17:00"}).Draw(t, "hours"),
				Rate:     rapid.SampledFrom([]int{0, 0, 1, 50, 3000}).Draw(t, "rate"),
				HostRate: rapid.SampledFrom([]int{0, 0, 20}).Draw(t, "host rate"),
			}
			if rapid.Bool().Draw(t, "excludes") {
				n.Exclude = []netip.Prefix{netip.PrefixFrom(p.Addr(), min(p.Bits()+rapid.IntRange(0, 3).Draw(t, "excluded"), p.Addr().BitLen())).Masked()}
			}
			networks = append(networks, n)
		}
		snap := snapshot(t, networks, nil, nil)
		unit := rapid.SampledFrom([]string{"p", "a", "a1", "b"}).Draw(t, "asked")
		ports := rapid.SampledFrom([]string{"", "80", "all", "1-20000"}).Draw(t, "ports")
		known := []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 1, 7}), netip.AddrFrom16([16]byte{0: 0xfd, 14: 1, 15: 7})}
		var scope []string // up to two blocks
		var blocks []netip.Prefix
		for range rapid.IntRange(0, 2).Draw(t, "blocks") {
			a, from := netip.AddrFrom4([4]byte{10, 0, 0, 0}), 20
			if rapid.Bool().Draw(t, "asked v6") {
				a, from = netip.AddrFrom16([16]byte{0: 0xfd}), 112
			}
			bytes := a.AsSlice()
			bytes[len(bytes)-2], bytes[len(bytes)-1] = byte(rapid.IntRange(0, 3).Draw(t, "asked third")), byte(rapid.IntRange(0, 255).Draw(t, "asked fourth"))
			a, _ = netip.AddrFromSlice(bytes)
			block := netip.PrefixFrom(a, rapid.IntRange(from, a.BitLen()).Draw(t, "asked bits")).Masked()
			scope, blocks = append(scope, block.String()), append(blocks, block)
		}
		mine := func(ip netip.Addr) bool {
			n, ok := snap.NetworkOf(ip)
			in := len(blocks) == 0 || slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(ip) })
			return ok && in && n.Scan && snap.Under(n.Unit, unit) && snap.MayScan(ip) == nil
		}
		tasks, err := Plan(snap, Request{Unit: unit, Scope: scope, By: "test", Now: now, Ports: ports, Known: known})
		if errors.Is(err, directory.ErrOutOfScope) {
			// One of the blocks at least has nothing to look at.
			if !slices.ContainsFunc(blocks, func(b netip.Prefix) bool {
				for ip := b.Addr(); b.Contains(ip); ip = ip.Next() {
					if n, _ := snap.NetworkOf(ip); mine(ip) && (ip.Is4() || max(n.Prefix.Bits(), b.Bits()) >= sweepable6) {
						return false
					}
				}
				return true
			}) {
				t.Fatalf("%v, and there is something in each of %v", err, blocks)
			}
			return
		}
		if err != nil && strings.Contains(err.Error(), "shards") {
			return // all ports at one packet a second
		}
		if err != nil && !errors.Is(err, ErrNoScope) {
			t.Fatal(err)
		}
		looked := map[netip.Addr]int{} // ports
		covered := map[schemas.ScanTaskKind]map[netip.Addr]bool{schemas.TaskSweep: {}, schemas.TaskNames: {}}
		for _, task := range tasks {
			addresses, owners := 0, map[string]bool{}
			for _, p := range task.Targets {
				if err := snap.MayScanPrefix(p); err != nil {
					t.Fatalf("target %s: %v", p, err)
				}
				for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
					if !mine(ip) {
						t.Fatalf("target %s of unit %s holds %s, which is another's", p, unit, ip)
					}
					covered[task.Kind][ip] = true
					addresses++
					n, _ := snap.NetworkOf(ip)
					owners[n.Unit] = true
					checkPolicy(t, snap, &task, ip)
				}
			}
			if whose := slices.Sorted(maps.Keys(owners)); !slices.Equal(whose, task.Units) {
				t.Fatalf("a shard of %v says that it is of %v, not %v", task.Targets, task.Units, whose)
			}
			if task.Kind == schemas.TaskSweep {
				set, udp, err := portset.ParseBoth(task.Ports)
				if err != nil {
					t.Fatal(err)
				}
				if ports := set.Len() + udp.Len(); addresses*ports > MaxProbes || addresses > maxAddresses {
					t.Fatalf("a shard of %d addresses × %d ports", addresses, ports)
				}
				if rate := task.NetworkRate; rate > 0 && addresses*set.Len() > max(rate*shardSeconds, 2*set.Len()) {
					t.Fatalf("a shard of %d addresses × %d ports at %d packets a second", addresses, set.Len(), rate)
				}
				if task.HostRate > 0 && set.Len() > task.HostRate*shardSeconds {
					t.Fatalf("%d ports at %d packets a second to a host", set.Len(), task.HostRate)
				}
				once := map[netip.Addr]bool{}
				for _, p := range task.Targets {
					for ip := p.Addr(); p.Contains(ip); ip = ip.Next() {
						if !once[ip] {
							once[ip] = true
							looked[ip] += set.Len()
						}
					}
				}
			}
		}
		for ip, n := range looked {
			set, _ := portset.Parse(ports)
			if ports != "" && n != set.Len() {
				t.Fatalf("%d ports of %s are looked at, %d are asked for", n, ip, set.Len())
			}
		}
		for _, n := range networks {
			if n.Prefix.Addr().Is6() && n.Prefix.Bits() < sweepable6 {
				continue // only what is known
			}
			for ip := n.Prefix.Addr(); n.Prefix.Contains(ip); ip = ip.Next() {
				decides, _ := snap.NetworkOf(ip)
				if mine(ip) && decides.Prefix == n.Prefix && !(covered[schemas.TaskSweep][ip] && covered[schemas.TaskNames][ip]) {
					t.Fatalf("%s of unit %s is not covered", ip, unit)
				}
			}
		}
		for _, ip := range known {
			single := netip.PrefixFrom(ip, ip.BitLen())
			named := slices.ContainsFunc(tasks, func(k schemas.ScanTask) bool {
				return k.Kind == schemas.TaskSweep && slices.Contains(k.Targets, single)
			})
			if mine(ip) != named {
				t.Fatalf("known %s: in the scope %v, named %v", ip, mine(ip), named)
			}
		}
	})
}

// checkPolicy: a shard is of addresses that are looked at in one way.
func checkPolicy(t interface{ Fatalf(string, ...any) }, snap *directory.Snapshot, task *schemas.ScanTask, ip netip.Addr) {
	n, _ := snap.NetworkOf(ip)
	if task.NetworkRate != n.Rate || task.HostRate != n.HostRate {
		t.Fatalf("%s is planned at %d and %d packets a second, not %d and %d", ip, task.NetworkRate, task.HostRate, n.Rate, n.HostRate)
	}
	if task.Hours != n.Hours {
		t.Fatalf("%s is planned for the hours %q, not %q", ip, task.Hours, n.Hours)
	}
	begin := task.NotBefore
	if begin.IsZero() {
		begin = now
	}
	if err := snap.MayScanAt(ip, begin); err != nil {
		t.Fatalf("%s from %v: %v", ip, begin, err)
	}
	if begin.After(now) && snap.MayScanAt(ip, begin.Add(-time.Minute)) == nil {
		t.Fatalf("%s is to wait until %v", ip, begin)
	}
	if !task.Expires.After(begin) {
		t.Fatalf("expires %v before it begins, %v", task.Expires, begin)
	}
}

func TestDefaultPorts(t *testing.T) {
	s, err := portset.Parse(DefaultPorts)
	if err != nil {
		t.Fatal(err)
	}
	if n := s.Len(); n < 150 || n > 400 {
		t.Errorf("%d default ports", n)
	}
}

// sortedUDP is the default's UDP ports, which must be those that there is a
// question for.
func sortedUDP(t *testing.T) string {
	t.Helper()
	s, err := portset.Parse(DefaultUDP)
	if err != nil {
		t.Fatal(err)
	}
	if want := portset.Of(identify.UDPPorts()...); s != want {
		t.Fatalf("the default asks %s, there are questions for %s", s.String(), want.String())
	}
	return s.String()
}
