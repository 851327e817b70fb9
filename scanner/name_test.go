package scanner

import (
	"net/netip"
	"testing"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// A port is asked for by the name of its system, if that is the address's own.
func TestNameOf(t *testing.T) {
	snap, err := directory.NewSnapshot(units, nil, nil, nil,
		schemas.System{
			Code: "jw", Name: "教务", Unit: "u1", Domains: []string{"*.jw.u1.example", "jw.u1.example"},
			Addresses: []netip.Prefix{netip.MustParsePrefix("10.60.1.10/32")}, Ports: []schemas.PortName{{Port: 443, Transport: "tcp"}},
		},
		schemas.System{Code: "farm", Name: "站群", Unit: "u1", Domains: []string{"www.u1.example"}, Addresses: []netip.Prefix{netip.MustParsePrefix("10.60.2.0/24")}})
	if err != nil {
		t.Fatal(err)
	}
	k := &look{snap: snap}
	for at, want := range map[string]string{"10.60.1.10:443": "jw.u1.example", "10.60.1.10:80": "", "10.60.2.7:443": "", "10.60.3.1:443": ""} {
		if got := k.nameOf(netip.MustParseAddrPort(at)); got != want {
			t.Errorf("%s: %q, want %q", at, got, want)
		}
	}
}
