package drift

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/marks"
	"fengsui/internal/directory"
	"fengsui/internal/graph"
	"fengsui/schemas"
)

// world is a registry that a story changes record by record.
type world struct {
	*story
	dir *directory.Directory
}

func newWorld(t *testing.T, records ...schemas.RegistryRecord) *world {
	w := &world{story: begin(t), dir: directory.New()}
	w.put(
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "U", Name: "示例大学", Level: schemas.University, Parent: "P"}},
		schemas.RegistryRecord{Unit: &schemas.Unit{Code: "P", Name: "省教育厅", Level: schemas.Province}},
		schemas.RegistryRecord{Network: &schemas.Network{Prefix: netip.MustParsePrefix("10.0.0.0/24"), Unit: "U", Scan: true}},
		schemas.RegistryRecord{Network: &schemas.Network{Prefix: netip.MustParsePrefix("10.9.0.0/24"), Unit: "P", Scan: true}},
		schemas.RegistryRecord{Domain: &schemas.Domain{Name: "a.edu.cn", Unit: "U", Scan: true}},
		schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "*.a.edu.cn", Unit: "U"}},
	)
	w.put(records...)
	w.judge(0)
	return w
}

func (w *world) put(records ...schemas.RegistryRecord) {
	w.t.Helper()
	for _, r := range records {
		value, err := json.Marshal(r)
		if err != nil {
			w.t.Fatal(err)
		}
		if err := w.dir.Apply(directory.RecordKey(r), value); err != nil {
			w.t.Fatal(err)
		}
	}
	w.snap = w.dir.Snapshot()
}

func (w *world) remove(key string) {
	w.t.Helper()
	if err := w.dir.Apply(key, nil); err != nil {
		w.t.Fatal(err)
	}
	w.snap = w.dir.Snapshot()
}

// judge lets the judge look at registry and time.
func (w *world) judge(at int) *world {
	changed, asked := w.j.Reconsider(w.snap, minute(at))
	w.write(changed)
	w.asked = append(w.asked, asked...)
	return w
}

// sees takes an observation that the words of see cannot say.
func (w *world) sees(shard string, at int, what string, more func(o *schemas.Observation)) *world {
	w.t.Helper()
	o := observation(shard, at, what)
	more(&o)
	w.offset++
	changed, asked := w.j.Observe(w.snap, &o, 0, w.offset, o.Time)
	w.write(changed)
	w.asked = append(w.asked, asked...)
	return w
}

// only is the one drift of a kind that is not closed.
func (w *world) only(kind schemas.DriftKind) schemas.Drift {
	w.t.Helper()
	var found []schemas.Drift
	for _, d := range w.rows {
		if d.Kind == kind && d.Status != schemas.DriftClosed {
			found = append(found, d)
		}
	}
	if len(found) != 1 {
		w.t.Fatalf("%d drifts of kind %s: %+v", len(found), kind, w.rows)
	}
	return found[0]
}

func portEntry(ip string, port int, service string, until time.Time) schemas.RegistryRecord {
	return schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistPort, Host: single(ip), Port: port, Transport: "tcp", Service: service, Unit: "U", Until: until}}
}

func TestRemovingAnEntryShowsWhatIsThere(t *testing.T) {
	w := newWorld(t, portEntry("10.0.0.1", 22, "ssh", time.Time{}), portEntry("10.0.0.1", 80, "http", time.Time{}))
	w.see("1", 1, "10.0.0.1:22 ssh").see("1", 1, "10.0.0.1:80 http nginx").is()
	w.remove("whitelist/port/10.0.0.1/32/tcp/80")
	w.judge(2).is("unlisted_port service/10.0.0.1/tcp/80 suspected").asks(1)
	if d := w.only(schemas.UnlistedPort); d.Observed != "http nginx" || !d.First.Equal(minute(2)) || d.History[0].Why != whyRegistry {
		t.Errorf("%+v", d)
	}
	// The scan that saw it before is no second look, another one is.
	w.see("1", 3, "10.0.0.1:80 http nginx").is("unlisted_port service/10.0.0.1/tcp/80 suspected")
	w.see("2", 4, "10.0.0.1:80 http nginx").is("unlisted_port service/10.0.0.1/tcp/80 open")
	// A port that closed meanwhile is nothing to tell of.
	w.see("3", 5, "10.0.0.1:22 closed")
	w.remove("whitelist/port/10.0.0.1/32/tcp/22")
	w.judge(6)
	if d := w.only(schemas.UnlistedHost); d.Observed != "80/tcp http nginx" {
		t.Errorf("%+v", d)
	}
}

func TestAnotherServiceOnTheEntry(t *testing.T) {
	w := newWorld(t, portEntry("10.0.0.1", 80, "", time.Time{}))
	w.see("1", 1, "10.0.0.1:80 redis Redis").is()
	w.put(portEntry("10.0.0.1", 80, "http", time.Time{}))
	w.judge(2).is("unlisted_service service/10.0.0.1/tcp/80 suspected")
	w.see("2", 3, "10.0.0.1:80 redis Redis").is("unlisted_service service/10.0.0.1/tcp/80 open")
	w.see("3", 4, "10.0.0.1:80 http").see("4", 5, "10.0.0.1:80 http").is("unlisted_service service/10.0.0.1/tcp/80 closed gone")
}

// A service over UDP is asked for as such, and goes when two looks got no answer.
func TestUDP(t *testing.T) {
	w := newWorld(t, schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: single("10.0.0.1"), Unit: "U"}},
		portEntry("10.0.0.1", 80, "", time.Time{}))
	udp := func(open bool) func(*schemas.Observation) {
		return func(o *schemas.Observation) { o.Transport, o.Open, o.Service = "udp", open, nil }
	}
	w.sees("1", 1, "10.0.0.1:161", udp(true))
	w.is("unlisted_port service/10.0.0.1/udp/161 suspected")
	if last := w.asked[len(w.asked)-1]; last.Ports != "u:161" || last.Kind != schemas.TaskConfirm {
		t.Errorf("asked: %+v", last)
	}
	w.sees("2", 2, "10.0.0.1:161", udp(true))
	w.is("unlisted_port service/10.0.0.1/udp/161 open")
	w.sees("3", 3, "10.0.0.1:161", udp(false))
	w.is("unlisted_port service/10.0.0.1/udp/161 open")
	w.sees("4", 4, "10.0.0.1:161", udp(false))
	w.is("unlisted_port service/10.0.0.1/udp/161 closed gone")
}

func TestWhitelistExpires(t *testing.T) {
	w := newWorld(t, portEntry("10.0.0.1", 22, "", time.Time{}), portEntry("10.0.0.1", 80, "http", minute(10)))
	w.see("1", 1, "10.0.0.1:22 ssh").see("1", 1, "10.0.0.1:80 http").judge(9).is()
	w.judge(11).is("whitelist_expired service/10.0.0.1/tcp/80 suspected").asks(1)
	w.see("2", 12, "10.0.0.1:80 http").is("whitelist_expired service/10.0.0.1/tcp/80 open")
	if d := w.only(schemas.WhitelistExpired); d.Whitelist != "port/10.0.0.1/32/tcp/80" || d.Expected != "until 2026-03-01 08:10" || d.Severity != schemas.Medium || !d.Due.Equal(minute(12).Add(7*24*time.Hour)) {
		t.Errorf("%+v", d)
	}
	// It is renewed; then all of it is taken away.
	w.put(portEntry("10.0.0.1", 80, "http", minute(100)))
	w.judge(13).is("whitelist_expired service/10.0.0.1/tcp/80 closed whitelisted")
	w.judge(101)
	w.remove("whitelist/port/10.0.0.1/32/tcp/80")
	w.judge(102).is(
		"whitelist_expired service/10.0.0.1/tcp/80 closed whitelisted",
		"whitelist_expired service/10.0.0.1/tcp/80 closed no longer whitelisted",
		"unlisted_port service/10.0.0.1/tcp/80 suspected")

	// A host, and a name.
	w = newWorld(t, schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: single("10.0.0.2"), Until: minute(10)}},
		schemas.RegistryRecord{Domain: &schemas.Domain{Name: "b.edu.cn", Unit: "U", Scan: true}},
		schemas.RegistryRecord{Whitelist: &schemas.WhitelistEntry{Kind: schemas.WhitelistDomain, Domain: "www.b.edu.cn", Until: minute(10)}})
	w.see("1", 1, "10.0.0.2 up").see("1", 1, "www.b.edu.cn A 10.0.0.2").judge(11)
	w.see("2", 12, "10.0.0.2 up").see("2", 12, "www.b.edu.cn A 10.0.0.2").is("whitelist_expired host/10.0.0.2 open", "whitelist_expired domain/www.b.edu.cn open")
}

func (w *world) service(shard string, at int, target string, s schemas.Service) *world {
	return w.sees(shard, at, target, func(o *schemas.Observation) { o.Service = &s })
}

func TestVersions(t *testing.T) {
	for _, c := range []struct {
		before, after string
		newer         bool
	}{
		{"1.24.0", "1.25.3", true},
		{"1.25.3", "1.24.0", false},
		{"9.2p1", "9.10p1", true},
		{"9.2p1", "9.2p2", true},
		{"9.2", "9.2.1", true},
		{"9.2p1 Debian-2", "9.2p1 Debian-3", true},
		{"1.0a", "1.0b", false},
		{"1.0", "", false},
		{"8", "10", true},
		{"v1", "2", false},
	} {
		if got := newer(c.before, c.after); got != c.newer {
			t.Errorf("%q after %q: %v", c.after, c.before, got)
		}
	}
	ssh := func(version string) schemas.Service {
		return schemas.Service{Name: "ssh", Product: "OpenSSH", Version: version}
	}
	w := newWorld(t, portEntry("10.0.0.1", 22, "ssh", time.Time{}))
	w.service("1", 1, "10.0.0.1:22", ssh("9.2p1")).service("2", 2, "10.0.0.1:22", ssh("9.6p1")).service("3", 3, "10.0.0.1:22", ssh("9.6p1"))
	w.is("version_changed service/10.0.0.1/tcp/22 closed upgraded").asks(0)
	if d := w.rows[w.order[0]]; IsAlert(&d) {
		t.Error("an upgrade is an alert")
	}
	// An older one than that is a change.
	w.service("4", 100, "10.0.0.1:22", ssh("7.4")).service("5", 101, "10.0.0.1:22", ssh("7.4"))
	w.is("version_changed service/10.0.0.1/tcp/22 closed upgraded", "version_changed service/10.0.0.1/tcp/22 open").asks(1)
	d := w.only(schemas.VersionChanged)
	if d.Expected != "ssh OpenSSH 9.6p1" || d.Observed != "ssh OpenSSH 7.4" || d.Severity != schemas.Low {
		t.Errorf("%+v", d)
	}
	// A restart remembers what it was; a person accepts what it is.
	w.restart()
	w.j.SeedAssets([]schemas.Asset{{Kind: schemas.AssetService, IP: netip.MustParseAddr("10.0.0.1"), Port: 22, Transport: "tcp", Alive: true, Last: minute(101), Service: new(ssh("7.4"))}})
	w.judge(102)
	w.service("6", 103, "10.0.0.1:22", ssh("7.4"))
	w.is("version_changed service/10.0.0.1/tcp/22 closed upgraded", "version_changed service/10.0.0.1/tcp/22 open")
	w.put(schemas.RegistryRecord{Decision: &schemas.DriftDecision{Drift: d.ID, Unit: "U", DriftWork: schemas.DriftWork{State: schemas.WorkAccepted, By: "zhang", At: minute(104)}}})
	w.judge(104).is("version_changed service/10.0.0.1/tcp/22 closed upgraded", "version_changed service/10.0.0.1/tcp/22 closed accepted")
	w.service("7", 200, "10.0.0.1:22", ssh("7.4")).service("8", 201, "10.0.0.1:22", ssh("7.4"))
	w.is("version_changed service/10.0.0.1/tcp/22 closed upgraded", "version_changed service/10.0.0.1/tcp/22 closed accepted")
}

func TestCertificates(t *testing.T) {
	https := func(sha, issuer string, names ...string) schemas.Service {
		return schemas.Service{Name: "https", TLS: &schemas.TLS{SHA256: sha, Issuer: issuer, Names: names}}
	}
	w := newWorld(t, portEntry("10.0.0.1", 443, "https", time.Time{}))
	w.service("1", 1, "10.0.0.1:443", https("aa", "CN=R3,O=Let's Encrypt,C=US", "www.a.edu.cn"))
	w.service("2", 2, "10.0.0.1:443", https("bb", "CN=R11,O=Let's Encrypt,C=US", "www.a.edu.cn")).service("3", 3, "10.0.0.1:443", https("bb", "CN=R11,O=Let's Encrypt,C=US", "www.a.edu.cn"))
	w.is("certificate_changed service/10.0.0.1/tcp/443 closed renewed").asks(0)
	w.service("4", 4, "10.0.0.1:443", https("cc", "CN=x", "www.a.edu.cn")).service("5", 5, "10.0.0.1:443", https("cc", "CN=x", "www.a.edu.cn"))
	w.is("certificate_changed service/10.0.0.1/tcp/443 closed renewed", "certificate_changed service/10.0.0.1/tcp/443 open")
	w.service("6", 6, "10.0.0.1:443", https("bb", "CN=R11,O=Let's Encrypt,C=US", "www.a.edu.cn")).service("7", 7, "10.0.0.1:443", https("bb", "CN=R11,O=Let's Encrypt,C=US", "www.a.edu.cn"))
	w.is("certificate_changed service/10.0.0.1/tcp/443 closed renewed", "certificate_changed service/10.0.0.1/tcp/443 closed back")
	if got := marks.Organisation(`CN=x,O=Ministry\, of\, Things,C=CN`); got != "Ministry, of, Things" {
		t.Errorf("organisation %q", got)
	}
}

func TestExposures(t *testing.T) {
	redis := func(kinds ...schemas.ExposureKind) schemas.Service {
		s := schemas.Service{Name: "redis", Product: "Redis"}
		for _, k := range kinds {
			s.Exposures = append(s.Exposures, schemas.Exposure{Kind: k, Evidence: "PING: +PONG"})
		}
		return s
	}
	w := newWorld(t, portEntry("10.0.0.1", 6379, "redis", time.Time{}),
		schemas.RegistryRecord{System: &schemas.System{Code: "card", Unit: "U", State: schemas.SystemRegistered, Level: 3, Addresses: []netip.Prefix{single("10.0.0.1")}}})
	w.service("1", 1, "10.0.0.1:6379", redis(schemas.ExposureEndOfLife, schemas.ExposureNoAuth)).service("2", 2, "10.0.0.1:6379", redis(schemas.ExposureEndOfLife, schemas.ExposureNoAuth))
	w.is("exposure service/10.0.0.1/tcp/6379 open", "exposure service/10.0.0.1/tcp/6379 open")
	for _, d := range w.rows {
		// Of a system of the third level one step more.
		if d.System != "card" || d.Severity != schemas.Critical || d.Observed != "redis Redis: PING: +PONG" || d.Detail == "" {
			t.Errorf("%+v", d)
		}
	}
	// A password is set: two looks, and it closes; the other one stays.
	w.service("3", 3, "10.0.0.1:6379", redis(schemas.ExposureEndOfLife)).service("4", 4, "10.0.0.1:6379", redis(schemas.ExposureEndOfLife))
	if d := w.only(schemas.Exposed); d.Detail != string(schemas.ExposureEndOfLife) {
		t.Errorf("%+v", d)
	}
	// The system is not so important after all.
	w.put(schemas.RegistryRecord{System: &schemas.System{Code: "card", Unit: "U", State: schemas.SystemRegistered, Level: 2, Addresses: []netip.Prefix{single("10.0.0.1")}}})
	w.judge(5)
	if d := w.only(schemas.Exposed); d.Severity != schemas.High || !d.Due.Equal(d.Confirmed.Add(3*24*time.Hour)) {
		t.Errorf("%+v", d)
	}
	w.see("5", 6, "10.0.0.1:6379 closed").see("6", 7, "10.0.0.1:6379 closed")
	for _, d := range w.rows {
		if d.Kind == schemas.Exposed && d.Status != schemas.DriftClosed {
			t.Errorf("%+v", d)
		}
	}
}

func TestOwnDomainOnAForeignAddress(t *testing.T) {
	w := newWorld(t)
	w.see("1", 1, "www.a.edu.cn A 10.0.0.5").see("1", 1, "in.a.edu.cn A 192.168.1.1").is()
	w.see("1", 2, "www.a.edu.cn AAAA 2001:db8::1").see("2", 3, "www.a.edu.cn AAAA 2001:db8::1").see("2", 3, "www.a.edu.cn A 10.0.0.5")
	w.is("domain_foreign_address domain/www.a.edu.cn open")
	if d := w.only(schemas.ForeignAddress); d.Detail != "AAAA" || d.Observed != "AAAA 2001:db8::1" {
		t.Errorf("%+v", d)
	}
	// It is a system in a public cloud: registered so, it may lie there.
	w.put(schemas.RegistryRecord{System: &schemas.System{Code: "portal", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingPublicCloud, Domains: []string{"www.a.edu.cn"}}})
	w.judge(4).is("domain_foreign_address domain/www.a.edu.cn closed registered")
	// Of a cloud's addresses only those that are registered.
	w.put(schemas.RegistryRecord{System: &schemas.System{Code: "portal", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingPublicCloud, Domains: []string{"www.a.edu.cn"}, Addresses: []netip.Prefix{single("2001:db8::2")}}})
	w.judge(5).is("domain_foreign_address domain/www.a.edu.cn closed registered", "domain_foreign_address domain/www.a.edu.cn suspected")
	w.see("3", 6, "www.a.edu.cn AAAA 2001:db8::2").is("domain_foreign_address domain/www.a.edu.cn closed registered", "domain_foreign_address domain/www.a.edu.cn closed not confirmed")
	// The province's network is foreign to a university, unless it is the education cloud.
	w = newWorld(t)
	w.see("1", 1, "x.a.edu.cn A 10.9.0.1").is("domain_foreign_address domain/x.a.edu.cn suspected")
	w.put(schemas.RegistryRecord{System: &schemas.System{Code: "x", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingEducationCloud, Domains: []string{"x.a.edu.cn"}}})
	w.judge(2).is("domain_foreign_address domain/x.a.edu.cn closed registered")
}

func TestForeignDomainOnAnOwnAddress(t *testing.T) {
	listed := portEntry("10.0.0.1", 443, "https", time.Time{})
	https := func(names ...string) schemas.Service {
		return schemas.Service{Name: "https", TLS: &schemas.TLS{SHA256: "aa", Names: names}}
	}
	w := newWorld(t, listed)
	w.service("1", 1, "10.0.0.1:443", https("www.a.edu.cn", "localhost", "10.0.0.1")).is()
	w.service("1", 2, "10.0.0.1:443", https("www.casino.example", "www.a.edu.cn")).service("2", 3, "10.0.0.1:443", https("www.casino.example"))
	w.is("foreign_domain_own_address service/10.0.0.1/tcp/443 open")
	if d := w.only(schemas.ForeignDomain); d.Detail != "www.casino.example" || d.Severity != schemas.High {
		t.Errorf("%+v", d)
	}
	// DNS tells the same: it is one drift.
	w.see("", 4, "www.casino.example A 10.0.0.1").is("foreign_domain_own_address service/10.0.0.1/tcp/443 open")
	w.service("3", 5, "10.0.0.1:443", https("www.a.edu.cn")).service("4", 6, "10.0.0.1:443", https("www.a.edu.cn"))
	w.is("foreign_domain_own_address service/10.0.0.1/tcp/443 closed gone")

	// A redirect to another name of the same page tells; one to a login elsewhere does not.
	w = newWorld(t, portEntry("10.0.0.1", 80, "http", time.Time{}))
	to := func(status int, location string) schemas.Service {
		return schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: status, Location: location}}
	}
	w.service("1", 1, "10.0.0.1:80", to(302, "https://login.example.com/cas?x=1")).service("2", 2, "10.0.0.1:80", to(301, "https://www.a.edu.cn/")).is()
	w.service("3", 3, "10.0.0.1:80", to(301, "https://shop.example/")).service("4", 4, "10.0.0.1:80", to(301, "https://shop.example/"))
	w.is("foreign_domain_own_address service/10.0.0.1/tcp/80 open")
	// The name is registered after all.
	w.put(schemas.RegistryRecord{Domain: &schemas.Domain{Name: "shop.example", Unit: "U"}})
	w.judge(5).is("foreign_domain_own_address service/10.0.0.1/tcp/80 closed registered")

	// Only logs know of a name: two sightings confirm, a month of silence closes.
	w = newWorld(t)
	w.see("", 1, "www.casino.example A 10.0.0.1").see("", 5, "www.casino.example A 10.0.0.1").is("foreign_domain_own_address host/10.0.0.1 suspected").asks(0)
	w.see("", 20, "www.casino.example A 10.0.0.1").is("foreign_domain_own_address host/10.0.0.1 open")
	w.judge(29 * 24 * 60).is("foreign_domain_own_address host/10.0.0.1 open")
	w.judge(31 * 24 * 60).is("foreign_domain_own_address host/10.0.0.1 closed not seen any more")

	// The address's own record.
	w = newWorld(t)
	w.see("1", 1, "9.0.0.10.in-addr.arpa PTR mail.other.example.").is("foreign_domain_own_address host/10.0.0.9 suspected").asks(1)
	if w.asked[0].Kind != schemas.TaskNames || w.asked[0].Targets[0] != single("10.0.0.9") {
		t.Errorf("%+v", w.asked[0])
	}
	w.see("2", 2, "9.0.0.10.in-addr.arpa PTR mail.other.example.").see("3", 3, "9.0.0.10.in-addr.arpa PTR mail.a.edu.cn").see("4", 4, "9.0.0.10.in-addr.arpa PTR mail.a.edu.cn")
	w.is("foreign_domain_own_address host/10.0.0.9 closed gone")
	if ip, ok := graph.ReverseAddr("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"); !ok || ip.String() != "2001:db8::1" {
		t.Error(ip, ok)
	}
}

func TestUnregisteredMarks(t *testing.T) {
	page := func(title, icon string) func(o *schemas.Observation) {
		return func(o *schemas.Observation) {
			o.Service = &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: 200, Title: title, IconHash: icon}}
		}
	}
	w := newWorld(t, portEntry("10.0.0.1", 80, "http", time.Time{}))
	w.sees("", 1, "203.0.113.9:80", page("省教育厅新闻", "")).sees("", 1, "203.0.113.9:80", page("某商店", "")).is()
	w.sees("", 2, "203.0.113.9:80", page("示例大学统一认证", "")).is("unregistered_marks service/203.0.113.9/tcp/80 suspected").asks(0)
	w.sees("", 30, "203.0.113.9:80", page("示例大学统一认证", "")).is("unregistered_marks service/203.0.113.9/tcp/80 open")
	if d := w.only(schemas.UnregisteredMarks); d.Unit != "U" || d.Observed != "title 示例大学" {
		t.Errorf("%+v", d)
	}
	// Nobody may be asked to look there, not even by and by.
	if got := w.j.Recheck(w.snap, minute(3000)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	// The favicon of a page of ours that names the unit; a product's is no mark.
	w.sees("1", 31, "10.0.0.1:80", page("示例大学 & 首页", "-123")).sees("1", 32, "10.0.0.1:80", page("Welcome to nginx!", "7"))
	w.sees("", 33, "203.0.113.10:80", page("登录", "-123")).sees("", 33, "203.0.113.11:80", page("登录", "7"))
	w.is("unregistered_marks service/203.0.113.9/tcp/80 open", "unregistered_marks service/203.0.113.10/tcp/80 suspected")
	// A certificate's organisation.
	w.sees("", 34, "203.0.113.12:443", func(o *schemas.Observation) {
		o.Service = &schemas.Service{TLS: &schemas.TLS{Subject: "CN=x,O=示例大学,C=CN"}}
	})
	// What a scan says of an address outside of its scope is not believed.
	w.sees("2", 35, "203.0.113.13:80", page("示例大学", ""))
	w.is("unregistered_marks service/203.0.113.9/tcp/80 open", "unregistered_marks service/203.0.113.10/tcp/80 suspected", "unregistered_marks service/203.0.113.12/tcp/443 suspected")
}

func TestDanglingName(t *testing.T) {
	cname := func(rcode string) func(o *schemas.Observation) {
		return func(o *schemas.Observation) { o.RCode = rcode }
	}
	w := newWorld(t)
	f := func(shard string, at int, rcode string) {
		// In the order in which a scanner asks: the address of a dangling name is NXDOMAIN, too.
		if rcode == "NXDOMAIN" {
			w.see(shard, at, "old.a.edu.cn NXDOMAIN")
		} else {
			w.see(shard, at, "old.a.edu.cn A 10.0.0.1")
		}
		w.sees(shard, at, "old.a.edu.cn CNAME gone.cloud.example.", cname(rcode))
	}
	f("1", 1, "NXDOMAIN")
	f("2", 2, "NXDOMAIN")
	w.is("dangling_name domain/old.a.edu.cn open").asks(1)
	if d := w.only(schemas.DanglingName); d.Detail != "gone.cloud.example" || d.Severity != schemas.High {
		t.Errorf("%+v", d)
	}
	f("3", 3, "NOERROR")
	f("4", 4, "NXDOMAIN")
	f("5", 5, "NOERROR")
	w.is("dangling_name domain/old.a.edu.cn open")
	// The record is taken away.
	for i, shard := range []string{"6", "7"} {
		w.see(shard, 6+i, "old.a.edu.cn NXDOMAIN")
		w.sees(shard, 6+i, "old.a.edu.cn NXDOMAIN", func(o *schemas.Observation) { o.RecordType = "CNAME" })
	}
	w.is("dangling_name domain/old.a.edu.cn closed gone")
}

func TestZombies(t *testing.T) {
	system := func(state schemas.SystemState) schemas.RegistryRecord {
		return schemas.RegistryRecord{System: &schemas.System{Code: "card", Unit: "U", State: state, Level: 2, Addresses: []netip.Prefix{single("10.0.0.1")}, Ports: []schemas.PortName{{Port: 80, Transport: "tcp"}}}}
	}
	day := 24 * 60
	w := newWorld(t, portEntry("10.0.0.1", 80, "http", time.Time{}), system(schemas.SystemRegistered))
	w.see("1", 1, "10.0.0.1:80 http").judge(29 * day).is()
	w.judge(31 * day).is("zombie system/card suspected").asks(1)
	task := w.asked[0]
	if task.Ports != "80" || task.Targets[0] != single("10.0.0.1") {
		t.Errorf("%+v", task)
	}
	// The look ends and nothing of it has answered.
	done := func(shard string, at int) {
		w.sees(shard, at, "x", func(o *schemas.Observation) { o.Kind, o.Name = schemas.ObservedDone, "" })
	}
	done("2", 31*day+1)
	w.is("zombie system/card suspected")
	done(task.Job, 31*day+2)
	w.is("zombie system/card open")
	w.see("3", 31*day+3, "10.0.0.1:80 http").is("zombie system/card closed back")
	// It is switched off in the registry, and goes on.
	w.put(system(schemas.SystemRetired))
	w.judge(31*day+4).is("zombie system/card closed back", "zombie service/10.0.0.1/tcp/80 suspected")
	w.see("4", 31*day+5, "10.0.0.1:80 http").is("zombie system/card closed back", "zombie service/10.0.0.1/tcp/80 open")
	if d := w.only(schemas.Zombie); d.Severity != schemas.High || d.Detail != "card" || d.Expected != "retired" {
		t.Errorf("%+v", d)
	}
	w.see("5", 31*day+6, "10.0.0.1:80 closed").see("6", 31*day+7, "10.0.0.1:80 closed")
	if d := w.rows[w.order[1]]; d.Status != schemas.DriftClosed || d.Reason != ReasonGone {
		t.Errorf("%+v", d)
	}
	// One that was never seen is suspected once the judge has watched for a day; its
	// time counts from there, restarts or not.
	w = newWorld(t, system(schemas.SystemRegistered))
	w.judge(day / 2).is()
	w.judge(day + 1).is("zombie system/card suspected")
	w.restart()
	w.judge(2 * day)
	if got := w.j.Recheck(w.snap, minute(20*day)); len(got) != 0 {
		t.Errorf("%+v", got)
	}
	if got := w.j.Recheck(w.snap, minute(32*day)); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// A drift that is said to be fixed before anybody has looked a second time is sent
// back by a look that finds it, as any other.
func TestFixedWhileSuspected(t *testing.T) {
	f := func(restart bool, at int, finds, want string, work schemas.DriftWorkState, steps string) {
		t.Helper()
		w := newWorld(t, portEntry("10.0.0.1", 22, "", time.Time{}))
		w.see("1", 1, "10.0.0.1:80 http")
		d := w.only(schemas.UnlistedPort)
		w.put(schemas.RegistryRecord{Decision: &schemas.DriftDecision{Drift: d.ID, Unit: "U", DriftWork: schemas.DriftWork{State: schemas.WorkFixed, By: "zhang", At: minute(5)}}})
		w.judge(5)
		if restart {
			w.restart()
		}
		w.see("2", at, "10.0.0.1:80 "+finds).is("unlisted_port service/10.0.0.1/tcp/80 " + want)
		row := w.rows[d.ID]
		var got []string
		for _, s := range row.History {
			got = append(got, s.What)
		}
		if row.Work.State != work || strings.Join(got, " ") != steps {
			t.Errorf("%s: %s", row.Work.State, got)
		}
		if at < 5 { // the look was on its way when it was said: one clean look closes
			w.see("3", 9, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 closed gone")
		}
	}
	f(false, 6, "http", "open", schemas.WorkAcknowledged, "suspected fixed open still_seen")
	f(true, 6, "http", "open", schemas.WorkAcknowledged, "suspected fixed open still_seen")
	f(false, 4, "http", "open", schemas.WorkFixed, "suspected fixed open")
	f(false, 6, "closed", "closed not confirmed", schemas.WorkFixed, "suspected fixed closed")
}

func TestDecisions(t *testing.T) {
	w := newWorld(t, portEntry("10.0.0.1", 22, "", time.Time{}))
	w.see("1", 1, "10.0.0.1:80 http").see("2", 2, "10.0.0.1:80 http")
	d := w.only(schemas.UnlistedPort)
	decide := func(at int, work schemas.DriftWork) {
		work.At, work.By = minute(at), "zhang"
		w.put(schemas.RegistryRecord{Decision: &schemas.DriftDecision{Drift: d.ID, Unit: "U", DriftWork: work}})
		w.judge(at)
	}
	decide(3, schemas.DriftWork{State: schemas.WorkAcknowledged, Assignee: "li"})
	if d := w.only(schemas.UnlistedPort); d.Status != schemas.DriftOpen || d.Work == nil || d.Work.Assignee != "li" {
		t.Errorf("%+v", d)
	}
	// Said to be fixed, and still there.
	asked := len(w.asked)
	decide(10, schemas.DriftWork{State: schemas.WorkFixed, Note: "关了"})
	w.asks(asked + 1)
	w.see("c1", 11, "10.0.0.1:80 http")
	if d := w.only(schemas.UnlistedPort); d.Status != schemas.DriftOpen || d.Work.State != schemas.WorkAcknowledged || d.History[len(d.History)-1].What != "still_seen" {
		t.Errorf("%+v", d)
	}
	// A restart in between forgets nothing; the decision is not taken twice.
	w.restart()
	w.judge(12)
	if d := w.only(schemas.UnlistedPort); d.Work.State != schemas.WorkAcknowledged {
		t.Errorf("%+v", d)
	}
	// What was seen before it was said, and comes later, contradicts nothing.
	decide(15, schemas.DriftWork{State: schemas.WorkFixed})
	w.see("late", 14, "10.0.0.1:80 http")
	if d := w.only(schemas.UnlistedPort); d.Work.State != schemas.WorkFixed || d.Doubt != doubtDecided {
		t.Errorf("%+v", d)
	}
	w.see("again", 16, "10.0.0.1:80 http")
	if d := w.only(schemas.UnlistedPort); d.Work.State != schemas.WorkAcknowledged || d.Doubt != "" {
		t.Errorf("%+v", d)
	}
	// Fixed: one clean look is enough.
	decide(20, schemas.DriftWork{State: schemas.WorkFixed})
	w.restart()
	w.see("c2", 21, "10.0.0.1:80 closed").is("unlisted_port service/10.0.0.1/tcp/80 closed gone")
	row := w.rows[d.ID]
	var steps []string
	for _, s := range row.History {
		steps = append(steps, s.Who+" "+s.What)
	}
	if got := strings.Join(steps, ", "); got != "fengsui suspected, fengsui open, zhang acknowledged, zhang fixed, fengsui still_seen, zhang fixed, fengsui still_seen, zhang fixed, fengsui closed" {
		t.Error(got)
	}
	// It is back within the hour: suspected, and no alert until it has settled.
	w.see("3", 30, "10.0.0.1:80 http").see("4", 40, "10.0.0.1:80 http").see("5", 80, "10.0.0.1:80 http")
	w.is("unlisted_port service/10.0.0.1/tcp/80 closed gone", "unlisted_port service/10.0.0.1/tcp/80 suspected")
	w.see("6", 82, "10.0.0.1:80 http").is("unlisted_port service/10.0.0.1/tcp/80 closed gone", "unlisted_port service/10.0.0.1/tcp/80 open")
	again := w.only(schemas.UnlistedPort)
	if again.Previous != d.ID || again.Times != 1 || len(again.History) != len(row.History)+2 {
		t.Errorf("%+v", again)
	}
	// Accepted until a time: then it is overdue, once.
	d = again
	decide(90, schemas.DriftWork{State: schemas.WorkAccepted, Until: minute(5000)})
	if got := w.only(schemas.UnlistedPort); !got.Due.Equal(minute(5000)) || got.Status != schemas.DriftOpen {
		t.Errorf("%+v", got)
	}
	w.judge(4999)
	version := w.only(schemas.UnlistedPort).Version
	w.judge(5001).judge(5002).judge(6000)
	late := w.only(schemas.UnlistedPort)
	if late.Version != version+1 || !late.Overdue.Equal(minute(5001)) {
		t.Errorf("version %d after %d: %+v", late.Version, version, late)
	}
	if a, ok := LateAlert(&late, w.snap); !ok || a.ID != late.ID+"-overdue" || a.Status != schemas.AlertOpen || !a.Raised.Equal(minute(5001)) {
		t.Errorf("%+v", a)
	}
	if _, ok := LateAlert(&row, w.snap); ok {
		t.Error("what was handled in time is late")
	}
	// To know of it is not to have handled it; more time ends the second alert.
	decide(6001, schemas.DriftWork{State: schemas.WorkAcknowledged})
	if now := w.only(schemas.UnlistedPort); !now.Overdue.Equal(minute(5001)) {
		t.Errorf("%+v", now)
	}
	decide(6002, schemas.DriftWork{State: schemas.WorkAccepted, Until: minute(9000)})
	now := w.only(schemas.UnlistedPort)
	if a, ok := LateAlert(&now, w.snap); !ok || a.Status != schemas.AlertClosed || a.Version <= late.Version {
		t.Errorf("%+v", a)
	}
}

// The second look is asked of another scanner, where one is at work; what only one
// of them can see is not missed.
func TestSecondVantage(t *testing.T) {
	by := func(name string) func(o *schemas.Observation) {
		return func(o *schemas.Observation) { o.Scanner = name }
	}
	w := newWorld(t, portEntry("10.0.0.1", 22, "", time.Time{}))
	w.sees("1", 1, "10.0.0.1:80", by("north"))
	if w.asked[0].NotBy != "" {
		t.Errorf("%+v", w.asked[0])
	}
	w.sees("2", 2, "10.0.0.9 down", by("south")).sees("3", 3, "10.0.0.1:81", by("north"))
	if w.asked[1].NotBy != "north" {
		t.Errorf("%+v", w.asked[1])
	}
	w.sees("4", 4, "10.0.0.1:81 closed", by("south")).sees("5", 100, "10.0.0.1:81", by("north"))
	if last := w.asked[len(w.asked)-1]; last.NotBy != "" {
		t.Errorf("%+v", last)
	}
	w.sees("6", 101, "10.0.0.1:81", by("south"))
	d := w.rows[w.order[len(w.order)-1]]
	if d.Status != schemas.DriftOpen || !slices.Equal(d.Vantages, []string{"north", "south"}) {
		t.Errorf("%+v", d)
	}
}

// A port that something answers for on every port is none.
func TestDoubtfulPorts(t *testing.T) {
	w := newWorld(t, portEntry("10.0.0.1", 22, "", time.Time{}))
	for i := range 3 {
		w.sees(fmt.Sprint(i), i+1, "10.0.0.1:81 http", func(o *schemas.Observation) { o.Doubt = "every port answers" })
	}
	w.is()
}

// What a name and an address hold in memory is bounded.
func TestFactsAreBounded(t *testing.T) {
	f := newFacts()
	ip := netip.MustParseAddr("10.0.0.1")
	for port := 1; port <= maxServices+10; port++ {
		f.serve(service{ip, "tcp", port}, minute(0), unknownScan, nil)
	}
	if f.count != maxServices || f.service(service{ip, "tcp", maxServices + 5}) != nil {
		t.Error(f.count)
	}
	o := schemas.Observation{Time: minute(0), Source: assets.SourceScan, Values: make([]string, 1000)}
	for i := range 100 {
		o.RecordType = fmt.Sprint("TYPE", i)
		f.resolve("a.edu.cn", &o, unknownScan)
	}
	if n := f.names["a.edu.cn"]; len(n.records) != maxRecords || len(n.records[0].values) != maxValues {
		t.Error(len(n.records))
	}
}

func (w *world) see(shard string, at int, what string) *world {
	w.t.Helper()
	w.story.see(shard, at, what)
	return w
}

func (w *world) is(want ...string) *world {
	w.t.Helper()
	w.story.is(want...)
	return w
}
