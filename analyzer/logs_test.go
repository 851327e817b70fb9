package analyzer

import (
	"encoding/json"
	"net/netip"
	"testing"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// TestUnitOf: the input's unit is made more exact by the event's addresses, never
// changed for another one.
func TestUnitOf(t *testing.T) {
	dir := directory.New()
	put := func(r schemas.RegistryRecord) {
		t.Helper()
		value, err := json.Marshal(r)
		if err == nil {
			err = dir.Apply(directory.RecordKey(r), value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, u := range []schemas.Unit{
		{Code: "1", Name: "province", Level: "province"},
		{Code: "10", Name: "university", Level: "university", Parent: "1"},
		{Code: "20", Name: "other university", Level: "university", Parent: "1"},
	} {
		put(schemas.RegistryRecord{Unit: &u})
	}
	for prefix, unit := range map[string]string{"10.10.0.0/16": "10", "10.20.0.0/16": "20"} {
		put(schemas.RegistryRecord{Network: &schemas.Network{Prefix: netip.MustParsePrefix(prefix), Unit: unit}})
	}
	snap := dir.Snapshot()

	f := func(input, source, destination, host, sender, want string) {
		t.Helper()
		var ev schemas.Event
		ev.Unit, ev.Source = input, sender
		ev.SetIP(schemas.FieldSourceIP, source)
		ev.SetIP(schemas.FieldDestinationIP, destination)
		if host != "" {
			ev.Set(schemas.FieldHostIP, schemas.Strings(host))
		}
		if got := unitOf(snap, &ev); got != want {
			t.Errorf("input's unit %q, %q to %q on %q, sent by %q: %q, want %q", input, source, destination, host, sender, got, want)
		}
	}
	f("", "", "", "", "", "")
	f("10", "", "", "", "", "10")
	f("", "10.10.0.1", "192.0.2.1", "", "", "10")
	f("", "192.0.2.1", "10.20.0.1", "", "", "20")
	f("", "10.10.0.1", "10.20.0.1", "", "", "10")            // who began it
	f("", "192.0.2.1", "", "10.20.0.1", "10.10.0.1", "20")   // an attack from outside: the host's
	f("", "192.0.2.1", "", "", "10.10.0.1", "10")            // the sender's, where nothing else tells
	f("", "192.0.2.1", "", "", "/var/log/auth.log", "")      // a file is no address
	f("1", "10.20.0.1", "", "", "10.10.0.1", "20")           // below the input's
	f("1", "192.0.2.1", "", "", "10.10.0.1", "10")           // so too
	f("10", "10.20.0.1", "", "10.20.0.1", "10.20.0.1", "10") // never beside it
	f("10", "10.20.0.1", "10.10.0.1", "", "", "10")
	f("99", "10.20.0.1", "", "", "", "99") // nor instead of one that nobody knows
}

// TestDirection: what the sender has not said of the traffic's way the registry
// says; rules about what the internet can reach rest on it.
func TestDirection(t *testing.T) {
	snap, err := directory.NewSnapshot([]schemas.Unit{{Code: "10", Name: "university", Level: "university"}}, []schemas.Network{
		{Prefix: netip.MustParsePrefix("203.0.113.0/24"), Unit: "10"}, {Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Unit: "10"},
	}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := func(source, destination, said, want string) {
		t.Helper()
		var ev schemas.Event
		ev.SetIP(schemas.FieldSourceIP, source)
		ev.SetIP(schemas.FieldDestinationIP, destination)
		ev.SetString(schemas.FieldNetworkDirection, said)
		(&logs{}).enrich(snap, &ev)
		if got := ev.Str(schemas.FieldNetworkDirection); got != want {
			t.Errorf("%s to %s: %q, want %q", source, destination, got, want)
		}
	}
	f("203.0.113.7", "198.51.100.1", "", "outbound") // of a campus with public addresses
	f("2001:db8:100::7", "2001:db8:200::1", "", "outbound")
	f("198.51.100.1", "203.0.113.7", "", "inbound")
	f("203.0.113.7", "203.0.113.8", "", "internal")
	f("2001:db8:100::7", "10.1.2.3", "", "internal")
	f("10.1.2.3", "198.51.100.1", "", "outbound")
	f("10.1.2.3", "100.64.0.1", "", "internal")
	f("10.1.2.3", "224.0.0.251", "", "internal")
	f("0.0.0.0", "255.255.255.255", "", "internal")
	f("fe80::1", "ff02::fb", "", "internal")
	f("198.51.100.1", "198.51.100.2", "", "") // mirrored from somewhere, or a network that is not listed
	f("203.0.113.7", "198.51.100.1", "inbound", "inbound")
	f("203.0.113.7", "", "", "")
}

// TestEnrich: what unit_under and asset_has_tag ask is on the event itself.
func TestEnrich(t *testing.T) {
	snap, err := directory.NewSnapshot(
		[]schemas.Unit{{Code: "1", Name: "province", Level: "province"}, {Code: "10", Name: "university", Level: "university", Parent: "1"}},
		[]schemas.Network{{Prefix: netip.MustParsePrefix("10.10.0.0/16"), Unit: "10", Name: "servers"}}, nil,
		[]schemas.WhitelistEntry{
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.10.0.5/32"), Port: 3306, Service: "mysql", Unit: "10"},
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.10.0.5/32"), Port: 3307, Service: "mysql", Unit: "10"},
		})
	if err != nil {
		t.Fatal(err)
	}
	f := func(input, source, destination, path, tags string) {
		t.Helper()
		var ev schemas.Event
		ev.Unit = input
		ev.SetIP(schemas.FieldSourceIP, source)
		ev.SetIP(schemas.FieldDestinationIP, destination)
		(&logs{}).enrich(snap, &ev)
		if got := ev.Get(schemas.FieldFengsuiUnitPath).Text(); got != path {
			t.Errorf("%s to %s: unit path %q, want %q", source, destination, got, path)
		}
		if got := ev.Get(schemas.FieldFengsuiAssetTags).Text(); got != tags {
			t.Errorf("%s to %s: tags %q, want %q", source, destination, got, tags)
		}
	}
	f("", "192.0.2.1", "10.10.0.5", "10, 1", "servers, mysql")
	f("", "10.10.0.9", "10.10.0.5", "10, 1", "servers, mysql")
	f("", "192.0.2.1", "192.0.2.2", "", "")
	f("99", "192.0.2.1", "192.0.2.2", "99", "")
}
