package drift

import (
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"testing"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// province is a generated province: 3,000 units, each with a /22, a domain and two
// systems; 300,000 whitelist entries; and a million observations of what is there,
// of which one in a hundred is not what is registered.
type province struct {
	dir  *directory.Directory
	snap *directory.Snapshot
	seen []schemas.Observation
}

const (
	provinceUnits   = 3000
	provinceEntries = 300_000
	provinceSeen    = 1_000_000
)

// whole is the province of the benchmarks: making it takes longer than judging it.
func whole(b *testing.B) *province {
	b.Helper()
	if wholeProvince == nil {
		wholeProvince = newProvince(b, provinceEntries, provinceSeen)
	}
	return wholeProvince
}

var wholeProvince *province

// provinceHost is the n-th address of a unit.
func provinceHost(unit, n int) netip.Addr {
	at := unit<<10 + n + 1
	return netip.AddrFrom4([4]byte{10, byte(at >> 16), byte(at >> 8), byte(at)})
}

func newProvince(b testing.TB, entries, observations int) *province {
	b.Helper()
	var (
		units     = []schemas.Unit{{Code: "edu", Name: "省教育厅", Level: schemas.Province}}
		networks  []schemas.Network
		domains   []schemas.Domain
		whitelist []schemas.WhitelistEntry
		systems   []schemas.System
	)
	services := []string{"ssh", "http", "https", "mysql"}
	ports := []int{22, 80, 443, 3306}
	perUnit := entries / provinceUnits
	for u := range provinceUnits {
		code := fmt.Sprintf("u%04d", u)
		units = append(units, schemas.Unit{Code: code, Name: fmt.Sprintf("示例大学第%d校区", u), Level: schemas.University, Parent: "edu"})
		networks = append(networks, schemas.Network{Prefix: netip.PrefixFrom(provinceHost(u, -1), 22), Unit: code, Scan: true})
		domains = append(domains, schemas.Domain{Name: code + ".edu.cn", Unit: code, Scan: true})
		for n := range perUnit {
			if n%10 == 9 {
				whitelist = append(whitelist, schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: fmt.Sprintf("h%d.%s.edu.cn", n/10, code), Unit: code})
				continue
			}
			whitelist = append(whitelist, schemas.WhitelistEntry{
				Kind: schemas.WhitelistPort, Host: netip.PrefixFrom(provinceHost(u, n/4), 32), Port: ports[n%4], Transport: "tcp", Service: services[n%4], Unit: code,
			})
		}
		for k := range 2 {
			systems = append(systems, schemas.System{
				Code: fmt.Sprintf("%s-%d", code, k), Name: "系统", Unit: code, State: schemas.SystemRegistered, Level: 2 + k,
				Addresses: []netip.Prefix{netip.PrefixFrom(provinceHost(u, k), 32)}, Domains: []string{fmt.Sprintf("h%d.%s.edu.cn", k, code)},
			})
		}
	}
	p := &province{dir: directory.New()}
	var err error
	if p.snap, err = directory.NewSnapshot(units, networks, domains, whitelist, systems...); err != nil {
		b.Fatal(err)
	}
	for i := range observations {
		u, n := i%provinceUnits, i/provinceUnits
		o := schemas.Observation{
			Time: minute(i / 10_000), Source: assets.SourceScan, Job: "j", Shard: fmt.Sprint(u, "/", n/perUnit), Scanner: "s", Unit: units[u+1].Code, Transport: "tcp",
		}
		entry := n % perUnit
		if entry%10 == 9 {
			o.Kind, o.Name, o.RecordType, o.RCode = schemas.ObservedName, fmt.Sprintf("h%d.u%04d.edu.cn", entry/10, u), "A", "NOERROR"
			o.Values = []string{provinceHost(u, entry/10).String()}
		} else {
			o.Kind, o.IP, o.Port, o.Open = schemas.ObservedPort, provinceHost(u, entry/4), ports[entry%4], true
			o.Service = &schemas.Service{Name: services[entry%4], Product: "product " + services[entry%4], Version: fmt.Sprint("1.", u%10)}
			switch {
			case (u*31+n)%100 == 7: // not registered
				o.Port += 8000
			case entry%4 == 2:
				o.Service.TLS = &schemas.TLS{SHA256: fmt.Sprintf("%064x", u<<10+entry), Issuer: "CN=CA", Names: []string{fmt.Sprintf("h.u%04d.edu.cn", u)}}
			}
		}
		p.seen = append(p.seen, o)
	}
	return p
}

func (p *province) judge(j *Judge) (drifts, asked int) {
	for i := range p.seen {
		o := &p.seen[i]
		changed, confirm := j.Observe(p.snap, o, 0, int64(i), o.Time)
		drifts, asked = drifts+len(changed), asked+len(confirm)
	}
	return drifts, asked
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkProvince judges a million observations against 300,000 entries. The
// memory is what the judge holds in the end, for each fact that it remembers.
func BenchmarkProvince(b *testing.B) {
	p := whole(b)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		before, j := heap(), NewJudge(DefaultConfig())
		began := cpu(b)
		b.StartTimer()
		drifts, _ := p.judge(j)
		b.StopTimer()
		b.ReportMetric((cpu(b) - began).Seconds(), "cpu-s")
		if j.Len() < provinceUnits/2 || drifts < j.Len() {
			b.Fatalf("%d drifts, %d rows", j.Len(), drifts)
		}
		after := heap()
		b.ReportMetric(float64(after-before)/float64(j.Facts()), "B/fact")
		b.ReportMetric(float64(after-before)/1e6, "MB")
		b.ReportMetric(float64(j.Len()), "drifts")
		b.ReportMetric(float64(j.Facts()), "facts")
		runtime.KeepAlive(j)
		b.StartTimer()
	}
}

// cpu is the processor time of this process, garbage collection included: on a
// machine with others it tells more than the clock.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// change is a change of the registry and back.
func benchmarkChange(b *testing.B, change func(p *province, there bool) *directory.Snapshot) {
	p := whole(b)
	j := NewJudge(DefaultConfig())
	p.judge(j)
	now := minute(200)
	j.Reconsider(p.snap, now)
	there := true
	changed := 0
	var spent time.Duration
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		there = !there
		now = now.Add(time.Second)
		snap := change(p, there)
		began := cpu(b)
		b.StartTimer()
		drifts, _ := j.Reconsider(snap, now)
		b.StopTimer()
		spent += cpu(b) - began
		b.StartTimer()
		changed += len(drifts)
	}
	if changed == 0 {
		b.Fatal("nothing was judged")
	}
	b.ReportMetric(float64(changed)/float64(b.N), "rows/change")
	b.ReportMetric(spent.Seconds()*1000/float64(b.N), "cpu-ms/change")
}

// BenchmarkChangeOfAnEntry takes one entry of a port away and puts it back.
func BenchmarkChangeOfAnEntry(b *testing.B) {
	entry := schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: netip.PrefixFrom(provinceHost(7, 1), 32), Port: 22, Transport: "tcp", Service: "ssh", Unit: "u0007"}
	var with, without *directory.Snapshot
	benchmarkChange(b, func(p *province, there bool) *directory.Snapshot {
		if with == nil {
			with, without = p.snap, without1(b, p.snap, entry.Key())
		}
		if there {
			return with
		}
		return without
	})
}

// BenchmarkChangeOfADomain takes a unit's domain away, with every name below it.
func BenchmarkChangeOfADomain(b *testing.B) {
	var with, without *directory.Snapshot
	benchmarkChange(b, func(p *province, there bool) *directory.Snapshot {
		if with == nil {
			with = p.snap
			var domains []schemas.Domain
			for _, u := range with.Units() {
				for _, d := range with.Domains(u.Code, false) {
					if d.Name != "u0007.edu.cn" {
						domains = append(domains, d)
					}
				}
			}
			var whitelist []schemas.WhitelistEntry
			for _, w := range with.Whitelist() {
				if w.Unit != "u0007" || w.Kind != schemas.WhitelistDomain {
					whitelist = append(whitelist, w)
				}
			}
			var err error
			if without, err = directory.NewSnapshot(with.Units(), with.AllNetworks(), domains, whitelist, with.Systems()...); err != nil {
				b.Fatal(err)
			}
			// The domain stays registered in what it is changed against, its entries do not.
			if with, err = directory.NewSnapshot(with.Units(), with.AllNetworks(), append(domains, schemas.Domain{Name: "u0007.edu.cn", Unit: "u0007", Scan: true}), whitelist, with.Systems()...); err != nil {
				b.Fatal(err)
			}
		}
		if there {
			return with
		}
		return without
	})
}

func without1(b *testing.B, s *directory.Snapshot, key string) *directory.Snapshot {
	b.Helper()
	var whitelist []schemas.WhitelistEntry
	for _, w := range s.Whitelist() {
		if w.Key() != key {
			whitelist = append(whitelist, w)
		}
	}
	var domains []schemas.Domain
	for _, u := range s.Units() {
		domains = append(domains, s.Domains(u.Code, false)...)
	}
	out, err := directory.NewSnapshot(s.Units(), s.AllNetworks(), domains, whitelist, s.Systems()...)
	if err != nil {
		b.Fatal(err)
	}
	return out
}

// BenchmarkRestart judges everything that is remembered, as the first look at the
// registry after a restart does.
func BenchmarkRestart(b *testing.B) {
	p := whole(b)
	j := NewJudge(DefaultConfig())
	p.judge(j)
	began := cpu(b)
	for b.Loop() {
		j.snap = nil
		j.Reconsider(p.snap, minute(200))
	}
	b.ReportMetric((cpu(b)-began).Seconds()/float64(b.N), "cpu-s/restart")
}

// The generated province is what it says, in small.
func TestProvince(t *testing.T) {
	p := newProvince(t, 2*provinceUnits, 20_000)
	j := NewJudge(DefaultConfig())
	drifts, asked := p.judge(j)
	if len(p.snap.Whitelist()) != 2*provinceUnits || drifts == 0 || asked == 0 || j.Facts() == 0 {
		t.Errorf("%d entries, %d rows, %d asked, %d facts", len(p.snap.Whitelist()), drifts, asked, j.Facts())
	}
}
