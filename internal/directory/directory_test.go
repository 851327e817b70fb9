package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func pfx(s string) netip.Prefix { return netip.MustParsePrefix(s) }
func ip(s string) netip.Addr    { return netip.MustParseAddr(s) }

func encode(t testing.TB, r schemas.RegistryRecord) []byte {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func apply(t testing.TB, d *Directory, records ...schemas.RegistryRecord) {
	t.Helper()
	for _, r := range records {
		if err := d.Apply(RecordKey(r), encode(t, r)); err != nil {
			t.Fatal(err)
		}
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestFollowsTheTopic(t *testing.T) {
	d := New()
	if d.Snapshot().MayScan(ip("10.1.0.1")) == nil {
		t.Fatal("an empty directory authorises a scan")
	}
	// Children may come before parents.
	apply(t, d,
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "HN-ZZ-01", Name: "某大学", Level: schemas.University, Parent: "HN-ZZ"}},
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "HN-ZZ", Name: "某市", Level: schemas.City, Parent: "HN"}},
		schemas.RegistryRecord{Network: &schemas.Network{Prefix: pfx("10.1.0.0/16"), Unit: "HN-ZZ-01", Scan: true}},
		schemas.RegistryRecord{Domain: &schemas.Domain{Name: "zz.example.edu.cn", Unit: "HN-ZZ-01", Scan: true}},
		schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: pfx("10.1.0.1/32"), Port: 22, Unit: "HN-ZZ-01"}},
	)
	s := d.Snapshot()
	if err := s.MayScan(ip("10.1.0.1")); err != nil {
		t.Error(err)
	}
	if got := s.UnitOf(ip("::ffff:10.1.2.3")); got != "HN-ZZ-01" {
		t.Errorf("unit of an IPv4-mapped address: %q", got)
	}
	if !s.Under("HN-ZZ-01", "HN-ZZ") || s.Under("HN-ZZ", "HN-ZZ-01") || s.Under("HN-ZZ", "") {
		t.Error("the tree is wrong")
	}
	if w, ok := s.WhitelistedPort(ip("10.1.0.1"), "tcp", 22, time.Now()); !ok || w.Transport != "tcp" {
		t.Errorf("tcp is not the default: %+v %v", w, ok)
	}
	if d.Snapshot() != s {
		t.Error("an unchanged registry gave another snapshot")
	}
	if closed(d.Ready()) {
		t.Error("ready before the end of the topic")
	}
	d.CaughtUp()
	if closed(d.Ready()) {
		t.Error("ready though the registry was never published whole")
	}
	apply(t, d, schemas.RegistryRecord{Ready: &schemas.RegistryReady{Version: 1}})
	if !closed(d.Ready()) {
		t.Error("not ready")
	}
	d.CaughtUp()

	if err := d.Apply("network/10.1.0.0/16", nil); err != nil {
		t.Fatal(err)
	}
	if d.Snapshot().MayScan(ip("10.1.0.1")) == nil {
		t.Error("a deleted network still authorises")
	}
	if s.MayScan(ip("10.1.0.1")) != nil {
		t.Error("an old snapshot changed")
	}
}

func TestRefusesBadRecords(t *testing.T) {
	f := func(key, value string) {
		t.Helper()
		d := New()
		before := d.Snapshot()
		if err := d.Apply(key, []byte(value)); err == nil {
			t.Errorf("%s %s: accepted", key, value)
		}
		if d.Snapshot() != before {
			t.Errorf("%s %s: changed the directory", key, value)
		}
	}
	f("unit/A", `{`)
	f("unit/A", `{}`)
	f("unit/A", `{"unit":{"code":"B","name":"b","level":"city"}}`)
	f("unit/", `{"unit":{"code":"","name":"b","level":"city"}}`)
	f("unit/A", `{"unit":{"code":"A","name":"b","level":"city","parent":"A"}}`)
	f("unit/A", `{"unit":{"code":"A"},"domain":{"name":"a.cn"}}`)
	f("network/10.0.0.1/8", `{"network":{"prefix":"10.0.0.1/8","unit":"A"}}`)
	f("network/x", `{"network":{"prefix":"x","unit":"A"}}`)
	f("network/::ffff:10.0.0.0/104", `{"network":{"prefix":"::ffff:10.0.0.0/104","unit":"A"}}`)
	f("network/invalid Prefix", `{"network":{"unit":"A"}}`)
	f("domain/A.cn", `{"domain":{"name":"A.cn","unit":"A"}}`)
	f("domain/a.cn.", `{"domain":{"name":"a.cn.","unit":"A"}}`)
	f("domain/a..cn", `{"domain":{"name":"a..cn","unit":"A"}}`)
	f("whitelist/port/10.0.0.0/8/tcp/0", `{"whitelist":{"kind":"port","host":"10.0.0.0/8","transport":"tcp"}}`)
	f("whitelist/port/10.0.0.0/8/sctp/1", `{"whitelist":{"kind":"port","host":"10.0.0.0/8","port":1,"transport":"sctp"}}`)
	f("whitelist/domain/*.", `{"whitelist":{"kind":"domain","domain":"*."}}`)
	f("whitelist/host/10.0.0.0/8", `{"whitelist":{"kind":"net","host":"10.0.0.0/8"}}`)
}

// A unit that becomes its own ancestor while two moves arrive must not hang.
func TestCircleOfUnits(t *testing.T) {
	d := New()
	apply(t, d,
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "A", Parent: "B"}},
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "B", Parent: "C"}},
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "C", Parent: "A"}},
	)
	s := d.Snapshot()
	if s.Under("A", "D") {
		t.Error("under an unknown unit")
	}
	_, err := NewSnapshot([]schemas.Unit{{Code: "A", Parent: "B"}, {Code: "B", Parent: "A"}}, nil, nil, nil)
	if err == nil {
		t.Error("NewSnapshot accepts a circle")
	}
}

func TestNewSnapshotRefusesTwice(t *testing.T) {
	_, err := NewSnapshot(nil, []schemas.Network{{Prefix: pfx("10.0.0.0/8")}, {Prefix: pfx("10.0.0.0/8")}}, nil, nil)
	if err == nil {
		t.Error("accepted")
	}
}

func TestScope(t *testing.T) {
	s, err := NewSnapshot(nil,
		[]schemas.Network{
			{Prefix: pfx("10.0.0.0/8"), Unit: "HN", Scan: false},
			{Prefix: pfx("10.1.0.0/24"), Unit: "A", Scan: true},
			{Prefix: pfx("10.1.1.0/24"), Unit: "B", Scan: true},
			{Prefix: pfx("10.1.1.128/25"), Unit: "C", Scan: false},
			{Prefix: pfx("2001:db8::/32"), Unit: "A", Scan: true},
			{Prefix: pfx("224.0.0.0/4"), Unit: "A", Scan: true},
		},
		[]schemas.Domain{{Name: "a.edu.cn", Unit: "A", Scan: true}, {Name: "secret.a.edu.cn", Unit: "A"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(err error, may bool) {
		t.Helper()
		if (err == nil) != may {
			t.Errorf("got %v, want allowed: %v", err, may)
		}
		if err != nil && !errors.Is(err, ErrOutOfScope) {
			t.Errorf("%v is not ErrOutOfScope", err)
		}
	}
	f(s.MayScan(ip("10.1.0.7")), true)
	f(s.MayScan(ip("::ffff:10.1.0.7")), true)
	f(s.MayScan(ip("10.1.1.200")), false)
	f(s.MayScan(ip("10.2.0.1")), false)
	f(s.MayScan(ip("192.0.2.1")), false)
	f(s.MayScan(ip("224.0.0.1")), false)
	f(s.MayScan(netip.Addr{}), false)
	f(s.MayScan(ip("2001:db8::1")), true)
	f(s.MayScanPrefix(pfx("10.1.0.0/24")), true)
	f(s.MayScanPrefix(pfx("10.1.0.0/23")), false) // holds C's /25
	f(s.MayScanPrefix(pfx("10.1.1.0/25")), true)
	f(s.MayScanPrefix(pfx("10.1.0.9/24")), true)
	f(s.MayScanPrefix(pfx("0.0.0.0/0")), false)
	f(s.MayScanPrefix(pfx("224.0.0.0/8")), false)
	f(s.MayScanPrefix(netip.Prefix{}), false)
	f(s.MayResolve("www.A.edu.cn."), true)
	f(s.MayResolve("x.secret.a.edu.cn"), false)
	f(s.MayResolve("ba.edu.cn"), false)
	f(s.MayResolve(""), false)
}

func TestWhitelist(t *testing.T) {
	day := 24 * time.Hour
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	s, err := NewSnapshot(nil, nil, nil, []schemas.WhitelistEntry{
		{Kind: schemas.WhitelistDomain, Domain: "www.a.cn"},
		{Kind: schemas.WhitelistDomain, Domain: "*.b.cn"},
		{Kind: schemas.WhitelistDomain, Domain: "old.b.cn", Until: now.Add(-day)},
		{Kind: schemas.WhitelistHost, Host: pfx("10.0.0.1/32"), From: now.Add(day)},
		{Kind: schemas.WhitelistPort, Host: pfx("10.0.0.0/24"), Port: 443, Transport: "tcp", Service: "https"},
		{Kind: schemas.WhitelistPort, Host: pfx("10.0.0.2/32"), Port: 443, Transport: "tcp", Service: "ssh", Until: now},
	})
	if err != nil {
		t.Fatal(err)
	}
	domain := func(name, want string) {
		t.Helper()
		if w, _ := s.WhitelistedDomain(name, now); w.Domain != want {
			t.Errorf("%s: %q, want %q", name, w.Domain, want)
		}
	}
	domain("WWW.a.cn.", "www.a.cn")
	domain("a.cn", "")
	domain("x.www.a.cn", "")
	domain("x.y.b.cn", "*.b.cn")
	domain("b.cn", "")
	domain("old.b.cn", "*.b.cn")
	if w, _ := s.WhitelistedHost(ip("10.0.0.1"), now.Add(2*day)); w.Kind != schemas.WhitelistHost {
		t.Errorf("own entry not first: %+v", w)
	}
	if w, _ := s.WhitelistedHost(ip("10.0.0.1"), now); w.Kind != schemas.WhitelistPort {
		t.Errorf("a port entry does not allow its host: %+v", w)
	}
	if w, _ := s.WhitelistedPort(ip("10.0.0.2"), "tcp", 443, now.Add(-1)); w.Service != "ssh" {
		t.Errorf("the most specific entry is not first: %+v", w)
	}
	if w, _ := s.WhitelistedPort(ip("10.0.0.2"), "tcp", 443, now); w.Service != "https" {
		t.Errorf("an entry past its end is used: %+v", w)
	}
	if got := s.ListedAt(ip("10.0.0.2")); len(got) != 1 || got[0].Service != "ssh" {
		t.Errorf("expected at 10.0.0.2: %+v", got)
	}
	if got := s.ListedAt(ip("10.0.0.3")); got != nil {
		t.Errorf("a block expects something of an address: %+v", got)
	}
	if _, ok := s.ListedName("x.b.cn"); ok {
		t.Error("a wildcard expects a name")
	}
	if w, ok := s.ListedName("www.a.cn"); !ok || w.Domain != "www.a.cn" {
		t.Errorf("%+v", w)
	}
	if _, ok := s.WhitelistedPort(ip("10.0.0.2"), "udp", 443, now); ok {
		t.Error("udp allowed by tcp")
	}
}

// Readers see whole snapshots while the registry changes under them, and the
// last change is there once everyone is still.
func TestConcurrentUse(t *testing.T) {
	d := New()
	const n = 300
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for !closed(stop) {
				s := d.Snapshot()
				if len(s.byPrefix) != s.networks.Size() {
					t.Error("half a snapshot")
					return
				}
			}
		})
	}
	for i := range n {
		apply(t, d, schemas.RegistryRecord{Network: &schemas.Network{Prefix: pfx(fmt.Sprintf("10.%d.%d.0/24", i/256, i%256)), Scan: true}})
	}
	close(stop)
	wg.Wait()
	if got := len(d.Snapshot().Networks("", false)); got != n {
		t.Errorf("%d networks, want %d", got, n)
	}
}
