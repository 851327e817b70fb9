// Package mmdb writes MaxMind DB files of invented data for tests, with
// MaxMind's own writer.
package mmdb

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// Map, Text, Number, Decimal and Slice are the values of records.
type (
	Map     = mmdbtype.Map
	Text    = mmdbtype.String
	Number  = mmdbtype.Uint32
	Decimal = mmdbtype.Float64
	Slice   = mmdbtype.Slice
)

// Write makes a file of what is known of networks, those reserved for
// documentation included. The smaller network goes before the larger.
func Write(t testing.TB, kind string, records map[string]Map) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{
		DatabaseType: kind, Description: map[string]string{"en": "invented for a test"}, Languages: []string{"en", "zh-CN"},
		IncludeReservedNetworks: true, DisableIPv4Aliasing: true, BuildEpoch: 1_795_305_600,
	})
	if err != nil {
		t.Fatal(err)
	}
	for bits := range 129 {
		for network, record := range records {
			p := netip.MustParsePrefix(network)
			if p.Bits() != bits {
				continue
			}
			err := tree.Insert(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(bits, p.Addr().BitLen())}, record)
			if err != nil {
				t.Fatalf("%s: %v", network, err)
			}
		}
	}
	var out bytes.Buffer
	if _, err := tree.WriteTo(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Country is a record as GeoLite2-Country, GeoLite2-City and DB-IP have it.
func Country(code, region, city string) Map {
	m := Map{"country": Map{"iso_code": Text(code), "names": Map{"en": Text("Country " + code)}}}
	if region != "" {
		m["subdivisions"] = Slice{Map{"names": Map{"en": Text(region)}}}
	}
	if city != "" {
		m["city"] = Map{"names": Map{"en": Text(city)}}
	}
	return m
}

// AS is a record as GeoLite2-ASN and DB-IP have it.
func AS(number uint32, organization string) Map {
	return Map{"autonomous_system_number": Number(number), "autonomous_system_organization": Text(organization)}
}
