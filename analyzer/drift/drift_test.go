package drift

import (
	"fmt"
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

var t0 = time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)

func minute(n int) time.Time { return t0.Add(time.Duration(n) * time.Minute) }

// registry is one university with a network, a domain and a whitelist written as
// "host 10.0.0.1", "10.0.0.1:22 ssh" or "www.a.edu.cn".
func registry(t testing.TB, whitelist ...string) *directory.Snapshot {
	t.Helper()
	var entries []schemas.WhitelistEntry
	for _, w := range whitelist {
		w, service, _ := strings.Cut(w, " ")
		if w == "host" {
			entries = append(entries, schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: single(service), Unit: "U"})
			continue
		}
		if ap, err := netip.ParseAddrPort(w); err == nil {
			entries = append(entries, schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: single(ap.Addr().String()), Port: int(ap.Port()), Transport: "tcp", Service: service, Unit: "U"})
			continue
		}
		entries = append(entries, schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: w, Unit: "U"})
	}
	s, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "U", Name: "某大学", Level: schemas.University}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Unit: "U", Scan: true}, {Prefix: netip.MustParsePrefix("10.0.0.128/25"), Unit: "U"}},
		[]schemas.Domain{{Name: "a.edu.cn", Unit: "U", Scan: true}}, entries)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func single(ip string) netip.Prefix {
	a := netip.MustParseAddr(ip)
	return netip.PrefixFrom(a, a.BitLen())
}

// story feeds a judge and keeps what a table of drifts would hold.
type story struct {
	t      *testing.T
	j      *Judge
	snap   *directory.Snapshot
	offset int64
	rows   map[string]schemas.Drift
	order  []string
	asked  []schemas.ScanTask
	late   time.Duration // of what is seen from now on, after its minute
}

// later makes what is seen from now on later than its minute.
func (s *story) later(late time.Duration) *story {
	s.late = late
	return s
}

func begin(t *testing.T, whitelist ...string) *story {
	return &story{t: t, j: NewJudge(DefaultConfig()), snap: registry(t, whitelist...), rows: map[string]schemas.Drift{}}
}

func (s *story) write(changed []schemas.Drift) {
	s.t.Helper()
	for _, d := range changed {
		was, known := s.rows[d.ID]
		if !known {
			s.order = append(s.order, d.ID)
		}
		if d.Version != was.Version+1 || was.Status == schemas.DriftClosed {
			s.t.Errorf("%s %s: version %d after %d, %s after %s", d.Kind, d.Asset, d.Version, was.Version, d.Status, was.Status)
		}
		s.rows[d.ID] = d
	}
}

// see is one observation of a shard: "10.0.0.1:22 ssh", "10.0.0.1:22 closed",
// "10.0.0.1 up", "10.0.0.1 down", "10.0.0.1 swept 1-1024", "www.a.edu.cn A 10.0.0.1"
// or "www.a.edu.cn NXDOMAIN". A shard "" is a passive sighting.
func (s *story) see(shard string, at int, what string) *story {
	s.t.Helper()
	o := observation(shard, at, what)
	o.Time = o.Time.Add(s.late)
	s.offset++
	changed, asked := s.j.Observe(s.snap, &o, 0, s.offset, o.Time)
	s.write(changed)
	s.asked = append(s.asked, asked...)
	return s
}

func observation(shard string, at int, what string) schemas.Observation {
	o := schemas.Observation{ID: fmt.Sprint(shard, "/", at, "/", what), Time: minute(at), Source: assets.SourceScan, Job: "j", Shard: shard, Unit: "U", Transport: "tcp"}
	switch {
	case shard == "":
		o.Source, o.Job = "zeek.conn", ""
	case strings.HasPrefix(shard, "drift-"): // a second look that was asked for
		o.Job, o.Shard = shard, "1"
	}
	target, rest, _ := strings.Cut(what, " ")
	word, value, _ := strings.Cut(rest, " ")
	if ap, err := netip.ParseAddrPort(target); err == nil {
		o.Kind, o.IP, o.Port, o.Open = schemas.ObservedPort, ap.Addr(), int(ap.Port()), word != "closed"
		if o.Open && word != "" {
			o.Service = &schemas.Service{Name: word, Product: value}
		}
		return o
	}
	if ip, err := netip.ParseAddr(target); err == nil {
		o.Kind, o.IP, o.Open = schemas.ObservedHost, ip, word == "up"
		if word == "swept" {
			o.Kind, o.Ports = schemas.ObservedSweep, value
		}
		return o
	}
	o.Kind, o.Name, o.RecordType, o.RCode = schemas.ObservedName, target, word, "NOERROR"
	if value != "" {
		o.Values = []string{value}
	}
	if word == "NXDOMAIN" || word == "SERVFAIL" {
		o.RecordType, o.RCode = "A", word
	}
	return o
}

// decide changes the whitelist.
func (s *story) decide(at int, whitelist ...string) *story {
	s.t.Helper()
	s.snap = registry(s.t, whitelist...)
	changed, asked := s.j.Reconsider(s.snap, minute(at))
	s.write(changed)
	s.asked = append(s.asked, asked...)
	return s
}

// restart makes a new judge of what was written.
func (s *story) restart() *story {
	var all []schemas.Drift
	for _, d := range s.rows {
		all = append(all, d)
	}
	s.j = NewJudge(DefaultConfig())
	s.j.Seed(all)
	return s
}

// is checks every drift, in the order they began: "kind asset status reason".
func (s *story) is(want ...string) *story {
	s.t.Helper()
	var got []string
	for _, id := range s.order {
		d := s.rows[id]
		got = append(got, strings.TrimSpace(strings.Join([]string{string(d.Kind), d.Asset, string(d.Status), d.Reason}, " ")))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.t.Errorf("drifts (-want +got):\n%s", diff)
	}
	return s
}

func (s *story) asks(n int) *story {
	s.t.Helper()
	if len(s.asked) != n {
		s.t.Errorf("%d second looks asked for, want %d: %+v", len(s.asked), n, s.asked)
	}
	return s
}

func TestUnlistedPort(t *testing.T) {
	s := begin(t, "10.0.0.1:22")
	s.see("1", 0, "10.0.0.1:22 ssh").is().asks(0)
	s.see("1", 0, "10.0.0.1:80 http nginx").see("1", 1, "10.0.0.1 swept 1-1024")
	s.is("unlisted_port service/10.0.0.1/tcp/80 suspected").asks(1)
	task := s.asked[0]
	if task.Kind != schemas.TaskConfirm || task.Ports != "80" || !slices.Equal(task.Targets, []netip.Prefix{single("10.0.0.1")}) || task.By != "drift" || !task.Expires.After(task.Created) {
		t.Errorf("%+v", task)
	}
	s.see("c1", 2, "10.0.0.1:80 http nginx").is("unlisted_port service/10.0.0.1/tcp/80 open")
	d := s.rows[s.order[0]]
	if d.Observed != "http nginx" || !d.Confirmed.Equal(minute(2)) || len(d.Evidence) != 2 || d.Unit != "U" {
		t.Errorf("%+v", d)
	}
	a := ToAlert(&d, s.snap)
	if a.ID != d.ID || a.Version != d.Version || a.Status != schemas.AlertOpen || a.Rule.ID != "drift.unlisted_port" || a.Host != "10.0.0.1" || a.Summary != "某大学：端口 10.0.0.1 80/tcp 未列入白名单（http nginx） / port 10.0.0.1 80/tcp is not whitelisted (http nginx)" || !IsAlert(&d) {
		t.Errorf("%+v", a)
	}
	// The administrator allows it, and the alert closes.
	s.decide(3, "10.0.0.1:22", "10.0.0.1:80").is("unlisted_port service/10.0.0.1/tcp/80 closed whitelisted")
	d = s.rows[s.order[0]]
	if a := ToAlert(&d, s.snap); a.Status != schemas.AlertClosed || a.Reason != ReasonWhitelisted || a.ID != d.ID {
		t.Errorf("%+v", a)
	}
	// Later the allowed port is closed, which is another drift.
	s.see("3", 60, "10.0.0.1 swept 1-1024").see("c3", 61, "10.0.0.1:80 closed").is(
		"unlisted_port service/10.0.0.1/tcp/80 closed whitelisted",
		"listed_gone port/10.0.0.1/32/tcp/22 suspected",
		"listed_gone port/10.0.0.1/32/tcp/80 open")
	s.see("c4", 62, "10.0.0.1:22 ssh").see("4", 120, "10.0.0.1:80 http").is(
		"unlisted_port service/10.0.0.1/tcp/80 closed whitelisted",
		"listed_gone port/10.0.0.1/32/tcp/22 closed not confirmed",
		"listed_gone port/10.0.0.1/32/tcp/80 closed back")
}

func TestUnlistedPortGoes(t *testing.T) {
	s := begin(t, "host 10.0.0.1")
	s.see("1", 0, "10.0.0.1:80").see("2", 5, "10.0.0.1:80").is("unlisted_port service/10.0.0.1/tcp/80 open").asks(1)
	// One sweep that misses it is not enough, nor is anything passive.
	s.see("3", 10, "10.0.0.1 swept 1-1024").asks(2).is("unlisted_port service/10.0.0.1/tcp/80 open")
	s.see("", 11, "10.0.0.1:80 closed").see("3", 12, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 open")
	s.see("4", 20, "10.0.0.1:80").see("5", 30, "10.0.0.1 swept 1-1024").is("unlisted_port service/10.0.0.1/tcp/80 open")
	s.see("6", 31, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 closed gone")
	// A late report from before does not open it again; a new sighting is a new drift.
	s.see("0", 25, "10.0.0.1:80").is("unlisted_port service/10.0.0.1/tcp/80 closed gone")
	s.see("7", 90, "10.0.0.1:80").is("unlisted_port service/10.0.0.1/tcp/80 closed gone", "unlisted_port service/10.0.0.1/tcp/80 suspected")
	s.see("8", 91, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 closed gone", "unlisted_port service/10.0.0.1/tcp/80 closed not confirmed")
	if d := s.rows[s.order[1]]; IsAlert(&d) {
		t.Error("what was never confirmed is an alert")
	}
}

func TestUnlistedHost(t *testing.T) {
	s := begin(t)
	s.see("1", 0, "10.0.0.9:22 ssh").see("1", 0, "10.0.0.9:80 http").see("1", 1, "10.0.0.9 swept 1-1024")
	s.is("unlisted_host host/10.0.0.9 suspected").asks(1)
	if s.asked[0].Ports != "22,80" {
		t.Errorf("%+v", s.asked[0])
	}
	s.see("2", 30, "10.0.0.9:22 ssh").see("2", 30, "10.0.0.9:443 https").see("2", 31, "10.0.0.9 swept 1-1024")
	s.is("unlisted_host host/10.0.0.9 open")
	if d := s.rows[s.order[0]]; d.Observed != "22/tcp ssh, 443/tcp https" {
		t.Errorf("observed %q", d.Observed)
	}
	s.restart()
	// The host is allowed, its ports are not: they are drifts of their own now.
	s.decide(40, "host 10.0.0.9").is("unlisted_host host/10.0.0.9 closed whitelisted")
	s.see("3", 60, "10.0.0.9:22 ssh").see("4", 61, "10.0.0.9:22 ssh").is("unlisted_host host/10.0.0.9 closed whitelisted", "unlisted_port service/10.0.0.9/tcp/22 open")
	// And when the host is allowed no longer, it is one drift again.
	s.decide(70).is("unlisted_host host/10.0.0.9 closed whitelisted", "unlisted_port service/10.0.0.9/tcp/22 closed "+ReasonCovered, "unlisted_host host/10.0.0.9 suspected")
	s.see("5", 80, "10.0.0.9 up").see("6", 81, "10.0.0.9:22 ssh").is(
		"unlisted_host host/10.0.0.9 closed whitelisted", "unlisted_port service/10.0.0.9/tcp/22 closed "+ReasonCovered, "unlisted_host host/10.0.0.9 open")
	// It answers by itself, so closed ports do not make it gone.
	s.see("7", 90, "10.0.0.9 swept 1-1024").see("8", 91, "10.0.0.9 swept 1-1024")
	if d := s.rows[s.order[2]]; d.Status != schemas.DriftOpen || d.Observed != "up" {
		t.Errorf("%+v", d)
	}
	s.see("9", 100, "10.0.0.9 down").see("10", 101, "10.0.0.9 down")
	if d := s.rows[s.order[2]]; d.Status != schemas.DriftClosed || d.Reason != ReasonGone {
		t.Errorf("%+v", d)
	}
}

func TestUnlistedHostGoesWithItsPorts(t *testing.T) {
	s := begin(t)
	s.see("1", 0, "10.0.0.9:22").see("2", 10, "10.0.0.9:22").see("3", 20, "10.0.0.9 swept 1-1024").is("unlisted_host host/10.0.0.9 open").asks(1)
	if s.asked[0].Ports != "22" {
		t.Errorf("%+v", s.asked[0])
	}
	s.see("4", 21, "10.0.0.9:22 closed").is("unlisted_host host/10.0.0.9 closed gone")
}

// A scanner tells of a host that it answers, then its ports, then the sweep. A
// host without an open port is asked for by ports that were looked at.
func TestAsScannersTell(t *testing.T) {
	s := begin(t)
	s.see("1", 0, "10.0.0.9 up").asks(0).see("1", 0, "10.0.0.9 swept 8000-9000").asks(1)
	if p := s.asked[0].Ports; p != "22,80,443,445,3389,8000,8001,8002,8003,8004" {
		t.Errorf("ports %s", p)
	}
	s.see("c", 1, "10.0.0.9 up").see("c", 1, "10.0.0.9 swept 8000").is("unlisted_host host/10.0.0.9 open").asks(1)
	// Switched off: no ordinary scan tells, so the judge asks by and by.
	recheck := func(at, n int) {
		t.Helper()
		if got := s.j.Recheck(s.snap, minute(at)); len(got) != n {
			t.Errorf("at %d: %+v", at, got)
		}
	}
	recheck(30, 0)
	recheck(61, 1)
	recheck(62, 0)
	s.see("r1", 63, "10.0.0.9 down").is("unlisted_host host/10.0.0.9 open").asks(2)
	recheck(64, 0)
	recheck(73, 1)
	s.see("r2", 74, "10.0.0.9 down").is("unlisted_host host/10.0.0.9 closed gone")
	recheck(1000, 0)
}

func TestDomains(t *testing.T) {
	s := begin(t, "www.a.edu.cn", "*.ok.a.edu.cn")
	s.see("1", 0, "www.a.edu.cn A 10.0.0.1").see("1", 0, "x.ok.a.edu.cn A 10.0.0.1").see("1", 0, "www.other.cn A 192.0.2.1").see("1", 0, "_dmarc.a.edu.cn TXT v=DMARC1").is()
	s.see("1", 1, "new.a.edu.cn A 10.0.0.1").see("1", 1, "new.a.edu.cn AAAA ::1").is("unlisted_domain domain/new.a.edu.cn suspected").asks(1)
	if !slices.Equal(s.asked[0].Names, []string{"new.a.edu.cn"}) {
		t.Errorf("%+v", s.asked[0])
	}
	s.see("2", 2, "new.a.edu.cn A 10.0.0.1").is("unlisted_domain domain/new.a.edu.cn open")
	s.see("3", 3, "new.a.edu.cn SERVFAIL").see("4", 4, "new.a.edu.cn NXDOMAIN").is("unlisted_domain domain/new.a.edu.cn open")
	s.see("5", 5, "new.a.edu.cn NXDOMAIN").is("unlisted_domain domain/new.a.edu.cn closed gone")
	s.see("6", 6, "www.a.edu.cn NXDOMAIN").see("7", 7, "www.a.edu.cn NXDOMAIN").see("7", 7, "y.ok.a.edu.cn NXDOMAIN")
	s.is("unlisted_domain domain/new.a.edu.cn closed gone", "listed_gone domain/www.a.edu.cn open")
	// The administrator takes it off the list.
	s.decide(8, "*.ok.a.edu.cn").is("unlisted_domain domain/new.a.edu.cn closed gone", "listed_gone domain/www.a.edu.cn closed no longer whitelisted")
}

func TestHostListedGone(t *testing.T) {
	s := begin(t, "host 10.0.0.1")
	s.see("1", 0, "10.0.0.1 down").see("2", 1, "10.0.0.1 down").is("listed_gone host/10.0.0.1/32 open")
	s.see("3", 2, "10.0.0.1 up").is("listed_gone host/10.0.0.1/32 closed back")
}

func TestServiceChanged(t *testing.T) {
	// Against what the whitelist says.
	s := begin(t, "10.0.0.1:22 ssh")
	s.see("1", 0, "10.0.0.1:22 ssh OpenSSH").see("2", 1, "10.0.0.1:22 http").see("3", 2, "10.0.0.1:22 http").is("unlisted_service service/10.0.0.1/tcp/22 open")
	if d := s.rows[s.order[0]]; d.Expected != "ssh" || d.Observed != "http" {
		t.Errorf("%+v", d)
	}
	s.decide(3, "10.0.0.1:22 http").is("unlisted_service service/10.0.0.1/tcp/22 closed whitelisted")

	// Against what it was before, where the whitelist does not say.
	s = begin(t, "10.0.0.1:80")
	s.see("1", 0, "10.0.0.1:80 http nginx").see("2", 1, "10.0.0.1:80").see("3", 2, "10.0.0.1:80 http Apache").see("4", 3, "10.0.0.1:80 http Apache")
	s.is("product_changed service/10.0.0.1/tcp/80 open")
	s.see("5", 4, "10.0.0.1:80 http nginx").see("6", 5, "10.0.0.1:80 http nginx").is("product_changed service/10.0.0.1/tcp/80 closed back")

	// A restart does not forget what it was.
	s = begin(t, "10.0.0.1:80")
	s.j.SeedAssets([]schemas.Asset{{Kind: schemas.AssetService, IP: netip.MustParseAddr("10.0.0.1"), Port: 80, Transport: "tcp", Alive: true, Service: &schemas.Service{Name: "http"}}})
	s.see("1", 0, "10.0.0.1:80 redis").is("service_changed service/10.0.0.1/tcp/80 suspected")
}

func TestPassiveOnlySuspects(t *testing.T) {
	s := begin(t, "host 10.0.0.1")
	s.see("", 0, "10.0.0.1:8080 http").see("", 1, "10.0.0.1:8080 http").see("", 20, "10.0.0.1:8080 http").is("unlisted_port service/10.0.0.1/tcp/8080 suspected").asks(2)
	s.see("c", 21, "10.0.0.1:8080").is("unlisted_port service/10.0.0.1/tcp/8080 open")
	// Where no scan is authorised none is asked for.
	s.see("", 100, "10.0.0.77:8080 http")
	if last := s.asked[len(s.asked)-1]; last.Ports != "8080" || last.Targets[0] != single("10.0.0.77") {
		t.Errorf("%+v", last)
	}
	s = begin(t, "host 10.0.0.200")
	s.see("", 0, "10.0.0.200:8080 http").see("", 0, "192.0.2.1:80").is("unlisted_port service/10.0.0.200/tcp/8080 suspected").asks(0)
}

// A shard that a restart cuts in two is still one look.
func TestRestartWithinAShard(t *testing.T) {
	s := begin(t)
	s.see("1", 0, "10.0.0.9:22").restart().see("1", 0, "10.0.0.9:80").see("1", 0, "10.0.0.9 swept 1-1024").is("unlisted_host host/10.0.0.9 suspected")
	s.see("2", 2, "10.0.0.9:22").is("unlisted_host host/10.0.0.9 open")
}

// The second look is the second one, however soon after a restart it comes.
func TestRestartBeforeTheSecondLook(t *testing.T) {
	s := begin(t, "host 10.0.0.1")
	s.see("1", 0, "10.0.0.1:80 http").restart().see("1", 0, "10.0.0.1 swept 1-1024").is("unlisted_port service/10.0.0.1/tcp/80 suspected")
	s.later(20*time.Second).see(s.asked[0].Job, 0, "10.0.0.1:80 http").is("unlisted_port service/10.0.0.1/tcp/80 open")
	s = begin(t, "host 10.0.0.1")
	s.see("1", 0, "10.0.0.1:80 http").restart()
	s.later(20*time.Second).see(s.asked[0].Job, 0, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 closed not confirmed")
}

func TestBounds(t *testing.T) {
	cfg := DefaultConfig()
	cfg.MaxDrifts = 10
	j, snap := NewJudge(cfg), registry(t, "host 10.0.0.1")
	for i := 1; i <= 100; i++ {
		o := observation("1", 0, fmt.Sprintf("10.0.0.1:%d", i))
		j.Observe(snap, &o, 0, int64(i), o.Time)
	}
	if j.Len() != 10 || j.Dropped() != 90 {
		t.Errorf("%d drifts, %d dropped", j.Len(), j.Dropped())
	}
	if cfg.MaxDrifts = 0; cfg.Validate() == nil || DefaultConfig().Validate() != nil {
		t.Error("Validate")
	}
}

// step is one thing that happens in a random history.
type step struct {
	o         schemas.Observation
	whitelist []string // a decision when not nil
	at        time.Time
}

func genSteps(t *rapid.T) []step {
	var out []step
	at := 0
	for shard := range rapid.IntRange(1, 14).Draw(t, "shards") {
		at += 2
		id := fmt.Sprint(shard)
		if rapid.IntRange(0, 5).Draw(t, "passive") == 0 {
			id = ""
		}
		ip := rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "ip")
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0:
			out = append(out, step{whitelist: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"host 10.0.0.1", "10.0.0.1:1", "10.0.0.2:2", "x.a.edu.cn"}), 0, 4, rapid.ID).Draw(t, "whitelist"), at: minute(at)})
		case 1:
			out = append(out, step{o: observation(id, at, "x.a.edu.cn "+rapid.SampledFrom([]string{"A 10.0.0.1", "NXDOMAIN"}).Draw(t, "answer"))})
		case 2:
			out = append(out, step{o: observation(id, at, ip+rapid.SampledFrom([]string{" up", " down"}).Draw(t, "state"))})
		default:
			for _, p := range rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 0, 3, rapid.ID).Draw(t, "open") {
				out = append(out, step{o: observation(id, at, fmt.Sprintf("%s:%d %s", ip, p, rapid.SampledFrom([]string{"http", "ssh"}).Draw(t, "service")))})
			}
			out = append(out, step{o: observation(id, at+1, ip+" swept 1-3")})
			at++
		}
	}
	return out
}

type table map[string]schemas.Drift

// Random histories keep the laws: only two scans open a drift, only what was
// open or suspected closes, nothing closed comes back, versions count up by one.
// And reading records again changes nothing.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		steps := genSteps(t)
		run := func(rewind func(i int) int) table {
			j, snap, rows := NewJudge(DefaultConfig()), registry(tb{}), table{}
			write := func(changed []schemas.Drift) {
				for _, d := range changed {
					was := rows[d.ID]
					if d.Version != was.Version+1 || was.Status == schemas.DriftClosed || was.Status == schemas.DriftOpen && d.Status == schemas.DriftSuspected || was.Version == 0 && d.Status != schemas.DriftSuspected {
						t.Fatalf("%+v\nafter %+v", d, was)
					}
					if d.Status == schemas.DriftOpen && (!d.Confirmed.After(d.First) || len(d.Evidence) < 2 && !slices.ContainsFunc(d.History, func(h schemas.DriftStep) bool { return h.Why == whyRegistry && h.At.Equal(d.First) })) {
						t.Fatalf("opened by one look: %+v", d)
					}
					rows[d.ID] = d
				}
			}
			for i := 0; i < len(steps); i++ {
				if s := &steps[i]; s.whitelist != nil {
					snap = registry(tb{}, s.whitelist...)
					changed, _ := j.Reconsider(snap, s.at)
					write(changed)
					continue
				}
				changed, _ := j.Observe(snap, &steps[i].o, 0, int64(i), steps[i].o.Time)
				write(changed)
				for _, again := range steps[rewind(i) : i+1] { // the registry is not read again
					if again.whitelist == nil {
						k := slices.IndexFunc(steps, func(s step) bool { return s.o.ID == again.o.ID && s.o.Time.Equal(again.o.Time) })
						changed, _ := j.Observe(snap, &again.o, 0, int64(k), again.o.Time)
						write(changed)
					}
				}
			}
			return rows
		}
		want := run(func(i int) int { return i + 1 })
		// Back to the last decision at most: what came before it was judged by
		// another whitelist.
		got := run(func(i int) int {
			if rapid.IntRange(0, 3).Draw(t, "rewind?") > 0 {
				return i + 1
			}
			from := i
			for from > 0 && steps[from-1].whitelist == nil {
				from--
			}
			return rapid.IntRange(from, i).Draw(t, "to")
		})
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// tb is a testing.TB for helpers that cannot fail within rapid.
type tb struct{ testing.TB }

func (tb) Helper()           {}
func (tb) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

func BenchmarkObserve(b *testing.B) {
	j, snap := NewJudge(DefaultConfig()), registry(b, "host 10.0.0.1", "10.0.0.1:22")
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		o := schemas.Observation{Kind: schemas.ObservedPort, Time: minute(i), Source: assets.SourceScan, Job: "j", Shard: "s", IP: netip.AddrFrom4([4]byte{10, 0, 0, 1}), Port: 22, Transport: "tcp", Open: true}
		j.Observe(snap, &o, 0, int64(i), o.Time)
	}
}
