package drift

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"fengsui/analyzer/assets"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// The world of the property: what there is, and what is registered of it. Its times
// are minutes.
type truth struct {
	ports     map[netip.AddrPort]schemas.Service
	names     map[string][]schemas.Observation // record sets
	whitelist map[string]schemas.WhitelistEntry
}

var (
	oracleHosts = []string{"10.0.0.1", "10.0.0.2", "10.0.0.3"}
	oracleNames = []string{"www.a.edu.cn", "x.a.edu.cn"}
)

func (w *truth) snapshot(t *rapid.T) *directory.Snapshot {
	s, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "U", Name: "某大学", Level: schemas.University}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Unit: "U", Scan: true}},
		[]schemas.Domain{{Name: "a.edu.cn", Unit: "U", Scan: true}}, slices.Collect(maps.Values(w.whitelist)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// change changes one thing of the world or of the registry.
func (w *truth) change(t *rapid.T, at int) (registry bool) {
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0: // a port opens or closes
		p := netip.AddrPortFrom(netip.MustParseAddr(rapid.SampledFrom(oracleHosts).Draw(t, "host")), uint16(rapid.IntRange(1, 2).Draw(t, "port")))
		if rapid.Bool().Draw(t, "closes") {
			delete(w.ports, p)
			return false
		}
		s := schemas.Service{Name: rapid.SampledFrom([]string{"http", "ssh"}).Draw(t, "service")}
		if rapid.Bool().Draw(t, "exposed") {
			s.Exposures = []schemas.Exposure{{Kind: schemas.ExposureNoAuth}}
		}
		w.ports[p] = s
	case 1: // a name comes, goes or moves
		name := rapid.SampledFrom(oracleNames).Draw(t, "name")
		switch rapid.IntRange(0, 3).Draw(t, "record") {
		case 0:
			delete(w.names, name)
		case 1:
			w.names[name] = []schemas.Observation{{RecordType: "A", Values: []string{"10.0.0.1"}, RCode: "NOERROR"}}
		case 2:
			w.names[name] = []schemas.Observation{{RecordType: "A", Values: []string{"192.0.2.1"}, RCode: "NOERROR"}}
		case 3:
			w.names[name] = []schemas.Observation{{RecordType: "A", RCode: "NXDOMAIN"}, {RecordType: "CNAME", Values: []string{"gone.example"}, RCode: "NXDOMAIN"}}
		}
	default:
		e := schemas.WhitelistEntry{Unit: "U", Kind: rapid.SampledFrom([]schemas.WhitelistKind{schemas.WhitelistDomain, schemas.WhitelistHost, schemas.WhitelistPort}).Draw(t, "kind")}
		switch e.Kind {
		case schemas.WhitelistDomain:
			e.Domain = rapid.SampledFrom(oracleNames).Draw(t, "listed")
		case schemas.WhitelistPort:
			e.Port, e.Transport, e.Service = rapid.IntRange(1, 2).Draw(t, "port"), "tcp", rapid.SampledFrom([]string{"", "http"}).Draw(t, "service")
			fallthrough
		default:
			e.Host = single(rapid.SampledFrom(oracleHosts).Draw(t, "host"))
		}
		if rapid.IntRange(0, 3).Draw(t, "ends") == 0 {
			e.Until = minute(at + rapid.IntRange(0, 40).Draw(t, "until"))
		}
		if key := e.Key(); rapid.Bool().Draw(t, "removed") {
			delete(w.whitelist, key)
		} else {
			w.whitelist[key] = e
		}
		return true
	}
	return false
}

// look is everything that one scan of the world sees.
func (w *truth) look(shard string, at int, only string) []schemas.Observation {
	var out []schemas.Observation
	add := func(o schemas.Observation) {
		o.ID = fmt.Sprint(shard, "/", len(out))
		o.Time, o.Source, o.Job, o.Shard, o.Unit = minute(at), assets.SourceScan, "j", shard, "U"
		out = append(out, o)
	}
	for _, host := range oracleHosts {
		if only != "" && only != host {
			continue
		}
		ip := netip.MustParseAddr(host)
		answered := false
		for port := uint16(1); port <= 2; port++ {
			if s, open := w.ports[netip.AddrPortFrom(ip, port)]; open {
				answered = true
				add(schemas.Observation{Kind: schemas.ObservedPort, IP: ip, Port: int(port), Transport: "tcp", Open: true, Service: &s})
			}
		}
		add(schemas.Observation{Kind: schemas.ObservedSweep, IP: ip, Ports: "1-2", Transport: "tcp"})
		if !answered {
			add(schemas.Observation{Kind: schemas.ObservedHost, IP: ip})
		}
	}
	for _, name := range oracleNames {
		if only != "" && only != name {
			continue
		}
		records := w.names[name]
		for _, typ := range []string{"A", "AAAA", "CNAME"} {
			o := schemas.Observation{Kind: schemas.ObservedName, Name: name, RecordType: typ, RCode: "NXDOMAIN"}
			for _, r := range records {
				if o.RCode = records[0].RCode; r.RecordType == typ {
					o.Values, o.RCode = r.Values, r.RCode
				}
			}
			add(o)
		}
	}
	return out
}

// differences is the plain difference of registry and world: no memory, no order,
// no second looks.
func (w *truth) differences(at time.Time) []string {
	var out []string
	say := func(kind schemas.DriftKind, asset, detail string) {
		out = append(out, strings.TrimSpace(string(kind)+" "+asset+" "+detail))
	}
	in := func(key string) (listed, ended bool, service string) {
		e, ok := w.whitelist[key]
		if !ok {
			return false, false, ""
		}
		return e.In(at), !e.In(at), e.Service
	}
	for _, host := range oracleHosts {
		ip := netip.MustParseAddr(host)
		up, hostListed, hostEnded := false, false, false
		for _, key := range []string{"host/" + host + "/32", "port/" + host + "/32/tcp/1", "port/" + host + "/32/tcp/2"} {
			listed, ended, _ := in(key)
			hostListed, hostEnded = hostListed || listed, hostEnded || ended
		}
		for port := uint16(1); port <= 2; port++ {
			s, open := w.ports[netip.AddrPortFrom(ip, port)]
			up = up || open
			listed, ended, service := in(fmt.Sprint("port/", host, "/32/tcp/", port))
			asset := schemas.ServiceKey(ip, "tcp", int(port))
			if open && len(s.Exposures) > 0 {
				say(schemas.Exposed, asset, string(schemas.ExposureNoAuth))
			}
			switch {
			case listed && !open:
				say(schemas.ListedGone, fmt.Sprint("port/", host, "/32/tcp/", port), "")
			case !open || !hostListed:
			case ended:
				say(schemas.WhitelistExpired, asset, "")
			case !listed:
				say(schemas.UnlistedPort, asset, "")
			case service != "" && service != s.Name:
				say(schemas.UnlistedService, asset, "")
			}
		}
		listed, _, _ := in("host/" + host + "/32")
		switch {
		case !up && listed:
			say(schemas.ListedGone, "host/"+host+"/32", "")
		case up && !hostListed && hostEnded:
			say(schemas.WhitelistExpired, schemas.HostKey(ip), "")
		case up && !hostListed:
			say(schemas.UnlistedHost, schemas.HostKey(ip), "")
		}
	}
	for _, name := range oracleNames {
		listed, ended, _ := in("domain/" + name)
		records, asset := w.names[name], schemas.DomainKey(name)
		switch {
		case len(records) == 0 && listed:
			say(schemas.ListedGone, asset, "")
		case len(records) > 0 && ended:
			say(schemas.WhitelistExpired, asset, "")
		case len(records) > 0 && !listed:
			say(schemas.UnlistedDomain, asset, "")
		}
		for _, r := range records {
			if r.RecordType == "CNAME" {
				say(schemas.DanglingName, asset, "gone.example")
			} else if len(r.Values) > 0 && r.Values[0] == "192.0.2.1" {
				say(schemas.ForeignAddress, asset, "A")
			}
		}
	}
	slices.Sort(out)
	return out
}

// run is a judge with the tables that it writes.
type run struct {
	judge  *Judge
	assets *assets.Map
	rows   map[string]schemas.Drift
	offset int64
}

func newRun() *run {
	return &run{judge: NewJudge(DefaultConfig()), assets: assets.NewMap(), rows: map[string]schemas.Drift{}}
}

func (r *run) write(changed []schemas.Drift) {
	for _, d := range changed {
		r.rows[d.ID] = d
	}
}

func (r *run) observe(snap *directory.Snapshot, seen []schemas.Observation) {
	for i := range seen {
		o := &seen[i]
		r.offset++
		r.assets.Apply(o, 0, r.offset)
		changed, _ := r.judge.Observe(snap, o, 0, r.offset, o.Time)
		r.write(changed)
	}
}

// restart makes another judge of what the tables hold.
func (r *run) restart() {
	r.judge = NewJudge(DefaultConfig())
	r.judge.Seed(slices.Collect(maps.Values(r.rows)))
	var all []schemas.Asset
	for _, host := range oracleHosts {
		for _, key := range []string{"host/" + host, "service/" + host + "/tcp/1", "service/" + host + "/tcp/2"} {
			if a, ok := r.assets.Get(key); ok {
				all = append(all, a)
			}
		}
	}
	for _, name := range oracleNames {
		if a, ok := r.assets.Get(schemas.DomainKey(name)); ok {
			all = append(all, a)
		}
	}
	r.judge.SeedAssets(all)
}

func (r *run) open() []string {
	out := []string{}
	for _, d := range r.rows {
		if d.Status == schemas.DriftOpen && !d.Kind.IsChange() {
			out = append(out, strings.TrimSpace(string(d.Kind)+" "+d.Asset+" "+d.Detail))
		}
	}
	slices.Sort(out)
	return out
}

// However world and registry changed, whatever was scanned when, with restarts or
// without: after a quiet time in which all is looked at again the open drifts are
// exactly the difference of registry and world.
func TestDriftIsTheDifference(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &truth{ports: map[netip.AddrPort]schemas.Service{}, names: map[string][]schemas.Observation{}, whitelist: map[string]schemas.WhitelistEntry{}}
		plain, restarted := newRun(), newRun()
		snap := w.snapshot(t)
		both := func(f func(r *run)) { f(plain); f(restarted) }
		at := 1
		scan := func(only string) {
			seen := w.look(fmt.Sprint("s", at), at, only)
			both(func(r *run) { r.observe(snap, seen) })
		}
		tick := func() {
			both(func(r *run) {
				changed, _ := r.judge.Reconsider(snap, minute(at))
				r.write(changed)
			})
		}
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			at += rapid.SampledFrom([]int{1, 5, 30}).Draw(t, "later")
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				scan(rapid.SampledFrom(append(append([]string{""}, oracleHosts...), oracleNames...)).Draw(t, "only"))
			case 1:
				restarted.restart()
			default:
				if w.change(t, at) {
					snap = w.snapshot(t)
				}
			}
			tick()
		}
		at += 61
		tick()
		for range 4 { // two looks close, two open; what has closed settles for an hour
			at += 31
			scan("")
			tick()
		}
		want := append([]string{}, w.differences(minute(at))...)
		if diff := cmp.Diff(want, plain.open()); diff != "" {
			t.Fatalf("open drifts (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, restarted.open()); diff != "" {
			t.Fatalf("open drifts with restarts (-want +got):\n%s", diff)
		}
	})
}

// However services come and go and looks are interleaved, nothing that closed because
// of what was seen opens again within Settle.
func TestNothingFlaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, snap := newRun(), registry(tb{}, "host 10.0.0.1", "www.a.edu.cn")
		closed := map[string]time.Time{}
		at := 0
		for i := range rapid.IntRange(1, 60).Draw(t, "looks") {
			at += rapid.IntRange(1, 20).Draw(t, "later")
			shard := fmt.Sprint(i)
			if rapid.IntRange(0, 4).Draw(t, "passive") == 0 {
				shard = ""
			}
			o := observation(shard, at, rapid.SampledFrom([]string{
				"10.0.0.1:80 http", "10.0.0.1:80 closed", "10.0.0.1 up", "10.0.0.1 down", "10.0.0.1 swept 1-100",
				"10.0.0.2 up", "10.0.0.2 down", "10.0.0.2:22 ssh", "10.0.0.2 swept 1-100", "x.a.edu.cn A 10.0.0.1", "x.a.edu.cn NXDOMAIN", "www.a.edu.cn A 10.0.0.1", "www.a.edu.cn NXDOMAIN",
			}).Draw(t, "seen"))
			o.Time = o.Time.Add(-time.Duration(rapid.IntRange(0, 3).Draw(t, "early")) * time.Minute)
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				r.restart()
			}
			r.offset++
			r.assets.Apply(&o, 0, r.offset)
			changed, _ := r.judge.Observe(snap, &o, 0, r.offset, minute(at))
			for _, d := range changed {
				was := r.rows[d.ID]
				key := string(d.Kind) + " " + d.Asset
				if d.Status == schemas.DriftOpen && was.Status != schemas.DriftOpen {
					if since, ok := closed[key]; ok && d.Confirmed.Sub(since) < DefaultConfig().Settle {
						t.Fatalf("%s opened %v after it had closed", key, d.Confirmed.Sub(since))
					}
				}
				if d.Status == schemas.DriftClosed && was.Status == schemas.DriftOpen {
					closed[key] = d.Closed
				}
			}
			r.write(changed)
		}
	})
}
