package directory

import (
	"encoding/json"
	"net/netip"
	"testing"
	"time"

	"fengsui/schemas"
)

func TestWhoseAnAddressANameOrAPortIs(t *testing.T) {
	block := netip.MustParsePrefix
	web := []schemas.PortName{{Port: 80, Transport: "tcp"}, {Port: 443, Transport: "tcp"}}
	s, err := NewSnapshot(nil, nil, nil, nil,
		schemas.System{Code: "cloud", State: schemas.SystemRegistered, Addresses: []netip.Prefix{block("192.0.2.0/24")}},
		schemas.System{Code: "old", State: schemas.SystemRetired, Domains: []string{"www.example.cn"}, Addresses: []netip.Prefix{block("192.0.2.10/32")}, Ports: web},
		schemas.System{Code: "portal", State: schemas.SystemRegistered, Domains: []string{"www.example.cn"}, Addresses: []netip.Prefix{block("192.0.2.10/32"), block("2001:db8::/64")}, Ports: web},
		schemas.System{Code: "mail", State: schemas.SystemSuspended, Domains: []string{"*.mail.example.cn"}, Addresses: []netip.Prefix{block("192.0.2.10/32")}, Ports: []schemas.PortName{{Port: 25, Transport: "tcp"}}},
	)
	if err != nil {
		t.Fatal(err)
	}
	port := func(ip, transport string, n int, want string) {
		t.Helper()
		if got, ok := s.SystemOfPort(netip.MustParseAddr(ip), transport, n); got.Code != want || ok != (want != "") {
			t.Errorf("%s %d/%s is of %q, not %q", ip, n, transport, got.Code, want)
		}
	}
	port("192.0.2.10", "tcp", 443, "portal") // and not of the retired one
	port("192.0.2.10", "tcp", 25, "mail")
	port("192.0.2.10", "udp", 443, "cloud") // which names no ports
	port("192.0.2.11", "tcp", 443, "cloud")
	port("::ffff:192.0.2.10", "tcp", 25, "mail")
	port("2001:db8::1", "tcp", 80, "portal")
	port("2001:db8::1", "tcp", 22, "")
	port("198.51.100.1", "tcp", 80, "")
	name := func(n, want string) {
		t.Helper()
		if got, ok := s.SystemOfName(n); got.Code != want || ok != (want != "") {
			t.Errorf("%s is of %q, not %q", n, got.Code, want)
		}
	}
	name("WWW.example.cn.", "portal")
	name("a.b.mail.example.cn", "mail")
	name("mail.example.cn", "")
	name("a.www.example.cn", "")
	if at := s.SystemsAt(netip.MustParseAddr("192.0.2.10")); len(at) != 3 || at[2].Code != "old" {
		t.Errorf("%+v", at)
	}
	if _, err := NewSnapshot(nil, nil, nil, nil, schemas.System{Code: "a", Domains: []string{"A.cn"}}); err == nil {
		t.Error("a name in upper case is taken")
	}
}

func TestSystemsAreFollowed(t *testing.T) {
	d := New()
	value, err := json.Marshal(schemas.RegistryRecord{System: &schemas.System{Code: "a", Name: "甲", Unit: "u", Domains: []string{"a.example.cn"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Apply("system/a", value); err != nil {
		t.Fatal(err)
	}
	if got, ok := d.Snapshot().System("a"); !ok || got.Name != "甲" {
		t.Errorf("%+v", got)
	}
	if err := d.Apply("system/b", value); err == nil {
		t.Error("a record under another's key is taken")
	}
	if err := d.Apply("system/a", nil); err != nil || len(d.Snapshot().Systems()) != 0 {
		t.Errorf("still there: %v", err)
	}
}

func TestExpiring(t *testing.T) {
	now := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	day := 24 * time.Hour
	entry := func(host string, until time.Time) schemas.WhitelistEntry {
		return schemas.WhitelistEntry{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix(host), Unit: "u", Until: until}
	}
	s, err := NewSnapshot(nil, nil, nil, []schemas.WhitelistEntry{
		entry("192.0.2.1/32", time.Time{}), entry("192.0.2.2/32", now), entry("192.0.2.3/32", now.Add(30*day)),
		entry("192.0.2.4/32", now.Add(time.Second)), entry("192.0.2.5/32", now.Add(31*day)),
	})
	if err != nil {
		t.Fatal(err)
	}
	got := s.Expiring(now, 30*day)
	if len(got) != 2 || got[0].Host.String() != "192.0.2.4/32" || got[1].Host.String() != "192.0.2.3/32" {
		t.Errorf("%+v", got)
	}
}
