package assets

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

// topic numbers observations as they are put in.
type topic struct {
	t      testing.TB
	m      *Map
	offset int64
}

func (tp *topic) put(o schemas.Observation) []Change {
	tp.offset++
	return tp.m.Apply(&o, 0, tp.offset)
}

func port(shard string, at int, ip string, n int, open bool, s *schemas.Service) schemas.Observation {
	return schemas.Observation{Kind: schemas.ObservedPort, Time: minute(at), Source: SourceScan, Job: "j", Shard: shard, Unit: "U", IP: netip.MustParseAddr(ip), Port: n, Transport: "tcp", Open: open, Service: s}
}

func sweep(shard string, at int, ip, ports string) schemas.Observation {
	return schemas.Observation{Kind: schemas.ObservedSweep, Time: minute(at), Source: SourceScan, Job: "j", Shard: shard, Unit: "U", IP: netip.MustParseAddr(ip), Ports: ports}
}

func name(at int, name, kind, rcode string, values ...string) schemas.Observation {
	return schemas.Observation{Kind: schemas.ObservedName, Time: minute(at), Source: SourceScan, Job: "j", Shard: "n", Unit: "U", Name: name, RecordType: kind, RCode: rcode, Values: values}
}

// alive is the keys of what is alive, in one line.
func (m *Map) alive() string {
	var keys []string
	for a := range m.All {
		if a.Alive {
			keys = append(keys, strings.NewReplacer("service/", "", "host/", "", "domain/", "").Replace(a.Key))
		}
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

func (tp *topic) want(alive string) {
	tp.t.Helper()
	if got := tp.m.alive(); got != alive {
		tp.t.Errorf("alive: %s\nwant:  %s", got, alive)
	}
}

func TestServicesComeAndGo(t *testing.T) {
	tp := &topic{t: t, m: NewMap()}
	ssh := &schemas.Service{Name: "ssh", Product: "OpenSSH", Version: "9.2"}
	changed := tp.put(port("1", 0, "10.0.0.1", 22, true, ssh))
	if len(changed) != 2 || changed[0].Key != "service/10.0.0.1/tcp/22" || changed[0].Version != 1 || changed[1].Key != "host/10.0.0.1" {
		t.Fatalf("%+v", changed)
	}
	tp.put(port("1", 0, "10.0.0.1", 80, true, nil))
	tp.put(port("1", 0, "10.0.0.1", 8080, true, nil))
	tp.put(sweep("1", 1, "10.0.0.1", "1-1024"))
	tp.want("10.0.0.1 10.0.0.1/tcp/22 10.0.0.1/tcp/80 10.0.0.1/tcp/8080")

	// The next shard finds 22 only; 8080 was not among its ports.
	tp.put(port("2", 60, "10.0.0.1", 22, true, nil))
	changed = tp.put(sweep("2", 61, "10.0.0.1", "1-1024"))
	if len(changed) != 1 || changed[0].Key != "service/10.0.0.1/tcp/80" || changed[0].Alive || !changed[0].Last.Equal(minute(0)) {
		t.Fatalf("%+v", changed)
	}
	tp.want("10.0.0.1 10.0.0.1/tcp/22 10.0.0.1/tcp/8080")
	if a, _ := tp.m.Get("service/10.0.0.1/tcp/22"); a.Service == nil || a.Service.Version != "9.2" {
		t.Errorf("a look that could not tell forgot the service: %+v", a.Service)
	}
	// A late word from before changes nothing but what it may.
	tp.put(port("0", 30, "10.0.0.1", 80, true, nil))
	tp.want("10.0.0.1 10.0.0.1/tcp/22 10.0.0.1/tcp/8080")
	tp.put(port("c", 90, "10.0.0.1", 8080, false, nil))
	tp.want("10.0.0.1 10.0.0.1/tcp/22")
	tp.put(schemas.Observation{Kind: schemas.ObservedHost, Time: minute(95), Source: SourceScan, IP: netip.MustParseAddr("10.0.0.1")})
	tp.want("10.0.0.1/tcp/22")
	// What never was there is not an asset when it is closed.
	if c := tp.put(port("c", 99, "10.0.0.9", 1, false, nil)); c != nil {
		t.Errorf("%+v", c)
	}
}

func TestNamesAndAddresses(t *testing.T) {
	tp := &topic{t: t, m: NewMap()}
	tp.put(port("1", 0, "10.0.0.1", 80, true, nil))
	changed := tp.put(name(1, "WWW.a.edu.cn.", "A", "NOERROR", "10.0.0.1", "10.0.0.2"))
	if len(changed) != 2 || changed[0].Key != "domain/www.a.edu.cn" || changed[1].Key != "host/10.0.0.1" || !slices.Equal(changed[1].Names, []string{"www.a.edu.cn"}) {
		t.Fatalf("%+v", changed)
	}
	names := func(ip, want string) {
		t.Helper()
		a, _ := tp.m.Get("host/" + ip)
		if got := strings.Join(a.Names, " "); got != want {
			t.Errorf("names of %s: %q, want %q", ip, got, want)
		}
	}
	// A host that comes later knows its names; PTR names count too.
	tp.put(port("1", 2, "10.0.0.2", 80, true, nil))
	names("10.0.0.2", "www.a.edu.cn")
	tp.put(name(3, "2.0.0.10.in-addr.arpa", "PTR", "NOERROR", "srv2.a.edu.cn."))
	names("10.0.0.2", "srv2.a.edu.cn www.a.edu.cn")
	tp.put(name(4, "www.a.edu.cn", "AAAA", "NOERROR", "2001:db8::1"))
	tp.put(name(5, "www.a.edu.cn", "A", "NOERROR", "10.0.0.2"))
	names("10.0.0.1", "")
	tp.want("10.0.0.1 10.0.0.1/tcp/80 10.0.0.2 10.0.0.2/tcp/80 www.a.edu.cn")
	// A resolver that failed says nothing; one record set gone leaves the other.
	tp.put(name(6, "www.a.edu.cn", "A", "SERVFAIL"))
	names("10.0.0.2", "srv2.a.edu.cn www.a.edu.cn")
	tp.put(name(7, "www.a.edu.cn", "A", "NOERROR"))
	names("10.0.0.2", "srv2.a.edu.cn")
	if a, _ := tp.m.Get("domain/www.a.edu.cn"); !a.Alive || !slices.Equal(a.Addresses, []string{"2001:db8::1"}) {
		t.Errorf("%+v", a)
	}
	tp.put(name(8, "www.a.edu.cn", "A", "NXDOMAIN"))
	tp.want("10.0.0.1 10.0.0.1/tcp/80 10.0.0.2 10.0.0.2/tcp/80")
	tp.put(name(9, "b.a.edu.cn", "A", "NXDOMAIN"))
	if _, ok := tp.m.Get("domain/b.a.edu.cn"); ok {
		t.Error("a name that never was is an asset")
	}
}

func TestPassiveOnlyAdds(t *testing.T) {
	tp := &topic{t: t, m: NewMap()}
	passive := func(o schemas.Observation) []Change {
		o.Source, o.Job, o.Shard = "zeek.conn", "", ""
		return tp.put(o)
	}
	tp.put(port("1", 0, "10.0.0.1", 22, true, &schemas.Service{Name: "ssh", Product: "OpenSSH"}))
	tp.put(name(0, "a.cn", "A", "NOERROR", "10.0.0.1"))
	passive(port("", 1, "10.0.0.1", 22, true, &schemas.Service{Name: "tunnel"}))
	if a, _ := tp.m.Get("service/10.0.0.1/tcp/22"); a.Service.Name != "ssh" || !slices.Equal(a.Sources, []string{"scan", "zeek.conn"}) {
		t.Errorf("%+v", a)
	}
	passive(port("", 2, "10.0.0.1", 22, false, nil))
	passive(sweep("", 2, "10.0.0.1", "1-65535"))
	passive(name(3, "a.cn", "A", "NXDOMAIN"))
	passive(name(4, "a.cn", "A", "NOERROR", "10.0.0.2"))
	tp.want("10.0.0.1 10.0.0.1/tcp/22 a.cn")
	if a, _ := tp.m.Get("domain/a.cn"); len(a.Addresses) != 2 {
		t.Errorf("%+v", a.Addresses)
	}
}

// After a restart between a shard's ports and its sweep nothing is closed that
// the shard saw.
func TestRestartBeforeSweep(t *testing.T) {
	tp := &topic{t: t, m: NewMap()}
	tp.put(port("0", -600, "10.0.0.1", 80, true, nil))
	tp.put(port("1", 0, "10.0.0.1", 22, true, nil))
	tp.put(name(0, "x.cn", "A", "NOERROR", "10.0.0.1"))
	tp.put(name(0, "1.0.0.10.in-addr.arpa", "PTR", "NOERROR", "p.cn"))
	var seeds []schemas.Asset
	for a := range tp.m.All {
		seeds = append(seeds, a)
	}
	tp.m = NewMap()
	tp.m.Seed(seeds)
	tp.put(sweep("1", 2, "10.0.0.1", "1-1024"))
	tp.want("10.0.0.1 10.0.0.1/tcp/22 x.cn")
	// A shard that wholly came since the restart knows what is closed.
	tp.put(schemas.Observation{Kind: schemas.ObservedHost, Time: minute(3), Source: SourceScan, Job: "j", Shard: "2", Unit: "U", IP: netip.MustParseAddr("10.0.0.1"), Open: true})
	tp.put(sweep("2", 3, "10.0.0.1", "1-1024"))
	tp.want("10.0.0.1 x.cn")
	tp.put(name(3, "x.cn", "A", "NXDOMAIN"))
	if a, _ := tp.m.Get("host/10.0.0.1"); !slices.Equal(a.Names, []string{"p.cn"}) {
		t.Errorf("names %v", a.Names)
	}
}

func TestBounds(t *testing.T) {
	m := NewMap()
	for i := 1; i <= 65535; i++ {
		o := port("1", 0, "10.0.0.1", i, true, nil)
		m.Apply(&o, 0, int64(i))
	}
	if m.Len() != maxServices+1 || m.Dropped() != 65535-maxServices {
		t.Errorf("%d assets, %d dropped", m.Len(), m.Dropped())
	}
	for _, o := range []schemas.Observation{{}, {Kind: schemas.ObservedPort}, {Kind: schemas.ObservedSweep}, {Kind: schemas.ObservedHost, Open: true}, {Kind: schemas.ObservedName, Values: []string{"x"}}} {
		if c := m.Apply(&o, 1, 1); c != nil {
			t.Errorf("%+v made %+v", o, c)
		}
	}
}

func TestParsePorts(t *testing.T) {
	p, err := ParsePorts("22,80,1000-2000")
	if err != nil || !p.Has(22) || !p.Has(1000) || !p.Has(2000) || p.Has(2001) || p.Has(23) {
		t.Errorf("%v %v", p, err)
	}
	if got := p.First(4); !slices.Equal(got, []int{22, 80, 1000, 1001}) {
		t.Errorf("first: %v", got)
	}
	for _, bad := range []string{"", "a", "1-", "70000", "1,,2"} {
		if _, err := ParsePorts(bad); err == nil {
			t.Errorf("%q accepted", bad)
		}
	}
}

func genTopic(t *rapid.T) []schemas.Observation {
	var out []schemas.Observation
	for shard := range rapid.IntRange(1, 8).Draw(t, "shards") {
		at, id := shard*10, fmt.Sprint(shard)
		ip := rapid.SampledFrom([]string{"10.0.0.1", "2001:db8::1"}).Draw(t, "ip")
		switch rapid.IntRange(0, 2).Draw(t, "kind") {
		case 0:
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 3, rapid.ID).Draw(t, "open") {
				out = append(out, port(id, at, ip, p, true, nil))
			}
			out = append(out, sweep(id, at+1, ip, rapid.SampledFrom([]string{"1-4", "1-2", "3"}).Draw(t, "ports")))
		case 1:
			out = append(out, name(at, rapid.SampledFrom([]string{"a.cn", "b.cn"}).Draw(t, "name"), rapid.SampledFrom([]string{"A", "AAAA"}).Draw(t, "type"), "NOERROR",
				rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"10.0.0.1", "2001:db8::1"}), 0, 2, rapid.ID).Draw(t, "values")...))
		default:
			out = append(out, port(id, at, ip, rapid.IntRange(1, 4).Draw(t, "port"), rapid.Bool().Draw(t, "open"), nil))
		}
	}
	return out
}

func (m *Map) rows() map[string]schemas.Asset {
	out := map[string]schemas.Asset{}
	for a := range m.All {
		out[a.Key] = a
	}
	return out
}

func TestRedeliveryChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		obs := genTopic(t)
		want := NewMap()
		for i := range obs {
			want.Apply(&obs[i], 0, int64(i))
		}
		got := NewMap()
		for i, rewinds := 0, 0; i < len(obs); i++ {
			got.Apply(&obs[i], 0, int64(i))
			if rewinds < 4 && rapid.IntRange(0, 4).Draw(t, "rewind?") == 0 {
				i = rapid.IntRange(-1, i).Draw(t, "to")
				rewinds++
			}
		}
		if diff := cmp.Diff(want.rows(), got.rows(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Whole shards in any order end in the same truth: time decides, not arrival.
func TestOrderOfShardsDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var shards [][]schemas.Observation
		for i := range rapid.IntRange(1, 5).Draw(t, "shards") {
			var s []schemas.Observation
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(1, 4), 0, 4, rapid.ID).Draw(t, "open") {
				s = append(s, port(fmt.Sprint(i), 100*i, "10.0.0.1", p, true, nil))
			}
			shards = append(shards, append(s, sweep(fmt.Sprint(i), 100*i+1, "10.0.0.1", "1-4")))
		}
		run := func(shards [][]schemas.Observation) map[string]bool {
			m, offset := NewMap(), int64(0)
			for _, s := range shards {
				for i := range s {
					m.Apply(&s[i], 0, offset)
					offset++
				}
			}
			alive := map[string]bool{}
			for a := range m.All {
				if a.Kind == schemas.AssetService && a.Alive {
					alive[a.Key] = true
				}
			}
			return alive
		}
		last := map[string]bool{}
		for _, o := range shards[len(shards)-1] {
			if o.Kind == schemas.ObservedPort {
				last[schemas.ServiceKey(o.IP, "tcp", o.Port)] = true
			}
		}
		if diff := cmp.Diff(last, run(shards)); diff != "" {
			t.Fatal("in order:", diff)
		}
		if diff := cmp.Diff(last, run(rapid.Permutation(shards).Draw(t, "order"))); diff != "" {
			t.Fatal("out of order:", diff)
		}
	})
}

func TestFromEvent(t *testing.T) {
	internal := func(a netip.Addr) bool { return a.IsPrivate() }
	recent := NewRecent(100, time.Hour)
	ev := func(dataset string, at int, set func(*schemas.Event)) *schemas.Event {
		e := &schemas.Event{}
		e.Stream, e.Seq, e.Unit = "s", 1, "U"
		e.SetString(schemas.FieldEventDataset, dataset)
		e.SetTime(schemas.FieldTimestamp, minute(at))
		e.SetString(schemas.FieldNetworkTransport, "tcp")
		e.SetIP(schemas.FieldSourceIP, "192.0.2.1")
		e.SetIP(schemas.FieldDestinationIP, "10.0.0.1")
		e.SetInt(schemas.FieldDestinationPort, 8443)
		set(e)
		return e
	}
	f := func(e *schemas.Event, want string) {
		t.Helper()
		got := ""
		for _, o := range FromEvent(e, internal, recent) {
			got += fmt.Sprintf("%s %s %d %s", o.Kind, o.Key(), o.Port, strings.Join(o.Values, ","))
			if o.Service != nil {
				got += " " + o.Service.Name
			}
			if o.ID == "" || o.Unit != "U" || o.Time.IsZero() || o.Source == SourceScan {
				t.Errorf("%+v", o)
			}
		}
		if strings.TrimSpace(got) != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	state := func(s, protocol string) func(*schemas.Event) {
		return func(e *schemas.Event) {
			e.SetString(schemas.FieldZeekConnState, s)
			e.SetString(schemas.FieldNetworkProtocol, protocol)
		}
	}
	f(ev("zeek.conn", 0, state("SF", "http")), "port 10.0.0.1 8443  http")
	f(ev("zeek.conn", 30, state("SF", "http")), "") // told half an hour ago
	f(ev("zeek.conn", 61, state("SF", "http")), "port 10.0.0.1 8443  http")
	f(ev("zeek.conn", 61, state("S0", "http")), "")
	f(ev("zeek.conn", 61, state("REJ", "")), "")
	f(ev("zeek.conn", 61, func(e *schemas.Event) {
		state("SF", "")(e)
		e.SetString(schemas.FieldNetworkTransport, "udp")
	}), "")
	f(ev("zeek.conn", 61, func(e *schemas.Event) {
		state("SF", "ssh")(e)
		e.SetIP(schemas.FieldDestinationIP, "192.0.2.9")
	}), "")
	f(ev("zeek.ssl", 61, func(e *schemas.Event) {
		e.Set(schemas.FieldTLSEstablished, schemas.Bool(true))
		e.SetString(schemas.FieldTLSServerSubject, "CN=x")
	}), "port 10.0.0.1 8443")
	f(ev("zeek.http", 61, func(e *schemas.Event) { e.SetInt(schemas.FieldHTTPResponseStatusCode, 200) }), "port 10.0.0.1 8443  http")
	dns := func(answers ...string) func(*schemas.Event) {
		return func(e *schemas.Event) {
			e.SetString(schemas.FieldDNSQuestionName, "WWW.a.cn")
			e.SetString(schemas.FieldDNSQuestionType, "A")
			e.Set(schemas.FieldDNSAnswersData, schemas.Strings(answers...))
		}
	}
	f(ev("zeek.dns", 0, dns("alias.a.cn", "10.0.0.7")), "name www.a.cn 0 10.0.0.7")
	f(ev("zeek.dns", 0, dns("192.0.2.7")), "")
	f(ev("nginx.access", 0, state("SF", "")), "")
	for i := range 1000 {
		FromEvent(ev("zeek.conn", 0, func(e *schemas.Event) {
			state("SF", "")(e)
			e.SetInt(schemas.FieldDestinationPort, int64(i+1))
		}), internal, recent)
	}
	if len(recent.last) > 100 {
		t.Errorf("%d facts remembered", len(recent.last))
	}
}

func BenchmarkApply(b *testing.B) {
	m := NewMap()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		o := port("1", i, fmt.Sprintf("10.0.%d.%d", i>>8&255, i&255), i%100+1, true, nil)
		m.Apply(&o, 0, int64(i))
	}
}
