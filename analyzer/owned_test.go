package analyzer

import (
	"net/netip"
	"testing"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// campus is a registry with systems that share an address, a name and a block.
func campus(tb testing.TB) *directory.Snapshot {
	tb.Helper()
	block := func(s string) []netip.Prefix { return []netip.Prefix{netip.MustParsePrefix(s)} }
	snap, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "10", Name: "university", Level: "university"}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("10.10.0.0/16"), Unit: "10"}, {Prefix: netip.MustParsePrefix("2001:db8:1::/48"), Unit: "10"}},
		[]schemas.Domain{{Name: "example.edu.cn", Unit: "10"}}, nil,
		schemas.System{Code: "oa", Name: "办公", Unit: "10", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, Addresses: block("10.10.0.5/32"), Domains: []string{"oa.example.edu.cn"}, Ports: []schemas.PortName{{Port: 443, Transport: "tcp"}}},
		schemas.System{Code: "mail", Name: "邮件", Unit: "10", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, Addresses: block("10.10.0.5/32"), Ports: []schemas.PortName{{Port: 25, Transport: "tcp"}}},
		schemas.System{Code: "lab", Name: "实验", Unit: "10", State: schemas.SystemRetired, Hosting: schemas.HostingOwn, Addresses: block("10.10.9.0/24")},
		schemas.System{Code: "cloud", Name: "云上", Unit: "10", State: schemas.SystemRegistered, Hosting: schemas.HostingPublicCloud, Domains: []string{"*.apps.example.edu.cn"}},
	)
	if err != nil {
		tb.Fatal(err)
	}
	return snap
}

// TestOwned: an event carries the assets and systems that it is about.
func TestOwned(t *testing.T) {
	snap := campus(t)
	var owns owner
	f := func(set func(ev *schemas.Event), assets, codes, names string) {
		t.Helper()
		var ev schemas.Event
		set(&ev)
		owns.set(snap, &ev)
		owns.set(snap, &ev) // as remembered
		for id, want := range map[schemas.FieldID]string{schemas.FieldFengsuiAssetID: assets, schemas.FieldFengsuiSystemCode: codes, schemas.FieldFengsuiSystemName: names} {
			if got := ev.Get(id).Text(); got != want {
				t.Errorf("%s is %q, want %q", id, got, want)
			}
		}
	}
	flow := func(source, destination, transport string, port int64) func(*schemas.Event) {
		return func(ev *schemas.Event) {
			ev.SetIP(schemas.FieldSourceIP, source)
			ev.SetIP(schemas.FieldDestinationIP, destination)
			ev.SetString(schemas.FieldNetworkTransport, transport)
			if port > 0 {
				ev.SetInt(schemas.FieldDestinationPort, port)
			}
		}
	}
	f(func(*schemas.Event) {}, "", "", "")
	f(flow("192.0.2.1", "192.0.2.2", "tcp", 443), "", "", "")
	f(flow("192.0.2.1", "10.10.0.5", "tcp", 443), "host/10.10.0.5, service/10.10.0.5/tcp/443", "oa", "办公") // not the mail at the same address
	f(flow("192.0.2.1", "10.10.0.5", "tcp", 22), "host/10.10.0.5, service/10.10.0.5/tcp/22", "", "")
	f(flow("192.0.2.1", "10.10.0.5", "icmp", 0), "host/10.10.0.5", "mail, oa", "邮件, 办公")
	f(flow("192.0.2.1", "10.10.0.5", "tcp", 70000), "host/10.10.0.5", "mail, oa", "邮件, 办公")
	f(flow("10.10.9.7", "10.10.0.5", "tcp", 25), "host/10.10.0.5, service/10.10.0.5/tcp/25, host/10.10.9.7", "mail, lab", "邮件, 实验")
	f(flow("2001:db8:1::7", "2001:db8:2::1", "udp", 53), "host/2001:db8:1::7", "", "")
	f(func(ev *schemas.Event) { ev.SetString(schemas.FieldURLDomain, "OA.example.edu.cn.") }, "domain/oa.example.edu.cn", "oa", "办公")
	f(func(ev *schemas.Event) { ev.SetString(schemas.FieldTLSClientServerName, "x.apps.example.edu.cn") }, "domain/x.apps.example.edu.cn", "cloud", "云上")
	f(func(ev *schemas.Event) { ev.SetString(schemas.FieldURLDomain, "www.example.com") }, "", "", "")
	f(func(ev *schemas.Event) { ev.Set(schemas.FieldHostIP, schemas.Strings("10.10.9.8")) }, "host/10.10.9.8", "lab", "实验")
	f(func(ev *schemas.Event) { ev.Source = "10.10.0.5" }, "", "", "") // a sender may be a relay
	snap, err := directory.NewSnapshot(nil, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f(flow("192.0.2.1", "10.10.0.5", "tcp", 443), "", "", "") // another registry
}

func BenchmarkOwned(b *testing.B) {
	snap := campus(b)
	for name, destination := range map[string]string{"ours": "10.10.0.5", "nobody's": "192.0.2.2"} {
		b.Run(name, func(b *testing.B) {
			var ev schemas.Event
			var owns owner
			b.ReportAllocs()
			for b.Loop() {
				ev.Reset()
				ev.SetString(schemas.FieldSourceIP, "192.0.2.1")
				ev.SetString(schemas.FieldDestinationIP, destination)
				ev.SetString(schemas.FieldNetworkTransport, "tcp")
				ev.SetInt(schemas.FieldDestinationPort, 443)
				owns.set(snap, &ev)
			}
		})
	}
}
