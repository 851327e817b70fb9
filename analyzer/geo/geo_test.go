package geo

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"fengsui/internal/testkit/mmdb"
)

func open(t testing.TB, records map[string]mmdb.Map) *Database {
	t.Helper()
	d, err := OpenMMDB(mmdb.Write(t, "Test-City", records), "zh-CN")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func table(t testing.TB, text string) *Networks {
	t.Helper()
	n, err := ReadCSV([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestLayouts: the same facts are read of every maker's layout.
func TestLayouts(t *testing.T) {
	f := func(what string, record mmdb.Map, want Place) {
		t.Helper()
		d := open(t, map[string]mmdb.Map{"203.0.113.0/24": record, "2001:db8::/32": record})
		for _, address := range []string{"203.0.113.7", "2001:db8::7", "203.0.113.7"} { // the last from what was read
			got, err := d.Find(netip.MustParseAddr(address))
			if err != nil || got == nil || *got != want {
				t.Errorf("%s at %s: %+v %v, want %+v", what, address, got, err, want)
			}
			var v any
			if err := d.reader.Lookup(netip.MustParseAddr(address)).Decode(&v); err != nil || d.placeOf(v) != want {
				t.Errorf("%s read as whatever it is: %+v %v, want %+v", what, d.placeOf(v), err, want)
			}
		}
		if got, err := d.Find(netip.MustParseAddr("198.51.100.1")); got != nil || err != nil {
			t.Errorf("%s: a place of an address that is in no network: %v %v", what, got, err)
		}
	}
	names := func(en, zh string) mmdb.Map {
		m := mmdb.Map{"en": mmdb.Text(en)}
		if zh != "" {
			m["zh-CN"] = mmdb.Text(zh)
		}
		return mmdb.Map{"names": m, "geoname_id": mmdb.Number(7)}
	}
	f("GeoLite2-City", mmdb.Map{
		"continent":          names("Asia", "亚洲"),
		"country":            mmdb.Map{"iso_code": mmdb.Text("CN"), "names": mmdb.Map{"en": mmdb.Text("China")}},
		"registered_country": mmdb.Map{"iso_code": mmdb.Text("US")},
		"subdivisions":       mmdb.Slice{names("Jiangsu", "江苏省"), names("below", "")},
		"city":               names("Nanjing", "南京"),
		"location":           mmdb.Map{"latitude": mmdb.Decimal(32.06), "longitude": mmdb.Decimal(118.79)},
	}, Place{Country: "CN", Region: "江苏省", City: "南京"})
	f("English where there is no Chinese", mmdb.Map{"country": mmdb.Map{"iso_code": mmdb.Text("FR")}, "city": names("Dijon", "")}, Place{Country: "FR", City: "Dijon"})
	f("registered only", mmdb.Map{"registered_country": mmdb.Map{"iso_code": mmdb.Text("HK")}}, Place{Country: "HK"})
	f("GeoLite2-ASN, DB-IP", mmdb.AS(4538, "Invented Education Network"), Place{AS: 4538, Organization: "Invented Education Network"})
	f("GeoIP2-Enterprise", mmdb.Map{
		"country": mmdb.Map{"iso_code": mmdb.Text("DE")},
		"traits":  mmdb.Map{"autonomous_system_number": mmdb.Number(64500), "autonomous_system_organization": mmdb.Text("Beispiel")},
	}, Place{Country: "DE", AS: 64500, Organization: "Beispiel"})
	f("IPinfo Lite", mmdb.Map{
		"country": mmdb.Text("Japan"), "country_code": mmdb.Text("JP"), "continent": mmdb.Text("Asia"),
		"asn": mmdb.Text("AS64501"), "as_name": mmdb.Text("Rei"), "as_domain": mmdb.Text("rei.example"),
	}, Place{Country: "JP", AS: 64501, Organization: "Rei"})
	f("IPinfo country_asn", mmdb.Map{"country": mmdb.Text("JP"), "country_name": mmdb.Text("Japan"), "asn": mmdb.Text("AS64501"), "as_name": mmdb.Text("Rei")},
		Place{Country: "JP", AS: 64501, Organization: "Rei"})
	f("IPinfo location", mmdb.Map{"country": mmdb.Text("BR"), "region": mmdb.Text("Bahia"), "city": mmdb.Text("Ilhéus"), "lat": mmdb.Text("-14.8")},
		Place{Country: "BR", Region: "Bahia", City: "Ilhéus"})
	f("IPinfo ASN", mmdb.Map{"asn": mmdb.Text("AS64502"), "name": mmdb.Text("Exemplo"), "domain": mmdb.Text("exemplo.example")}, Place{AS: 64502, Organization: "Exemplo"})
	f("of other kinds than meant", mmdb.Map{
		"country": mmdb.Slice{mmdb.Text("CN")}, "city": mmdb.Number(7), "subdivisions": mmdb.Text("x"), "asn": mmdb.Text("ASX"),
		"autonomous_system_number": mmdb.Text("many"), "region": mmdb.Map{},
	}, Place{})
	f("a long name", mmdb.Map{"country": mmdb.Text("US"), "city": mmdb.Text(strings.Repeat("南", 100))}, Place{Country: "US", City: strings.Repeat("南", 42)})
}

// TestAtlas: the operator's networks go before the databases, a place is never
// put together of two files, and what is ours or nobody's is nowhere.
func TestAtlas(t *testing.T) {
	a := NewAtlas(
		[]*Networks{table(t, "network,country,region,city,asn,organization\n203.0.113.0/25,CN,江苏,,4538,教育网\n203.0.113.0/26,,,,64496,分校\n10.1.0.0/16,CN,江苏,南京,,\n")},
		[]*Database{
			open(t, map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("US", "Ohio", "Dayton"), "198.51.100.0/24": mmdb.Country("RU", "", ""), "10.0.0.0/8": mmdb.Country("US", "", ""), "2001:db8::/32": mmdb.Country("US", "", "")}),
			open(t, map[string]mmdb.Map{"203.0.113.0/24": mmdb.AS(64511, "Example Ohio"), "198.51.100.0/24": mmdb.Country("BR", "Bahia", "Ilhéus")}),
		})
	f := func(address string, internal bool, want Place) {
		t.Helper()
		got, err := a.Find(netip.MustParseAddr(address), internal)
		if got != want || err != nil {
			t.Errorf("%s: %+v %v, want %+v", address, got, err, want)
		}
	}
	f("203.0.113.200", false, Place{"US", "Ohio", "Dayton", 64511, "Example Ohio"})
	f("::ffff:203.0.113.200", false, Place{"US", "Ohio", "Dayton", 64511, "Example Ohio"})
	f("203.0.113.100", false, Place{"CN", "江苏", "", 4538, "教育网"})
	f("203.0.113.7", false, Place{"US", "Ohio", "Dayton", 64496, "分校"}) // the most specific of a table counts
	f("198.51.100.1", false, Place{Country: "RU"})                      // not Bahia
	f("203.0.113.200", true, Place{})                                   // in the registry
	f("203.0.113.100", true, Place{"CN", "江苏", "", 4538, "教育网"})        // and listed by hand
	f("10.9.9.9", false, Place{})
	f("10.1.9.9", false, Place{Country: "CN", Region: "江苏", City: "南京"})
	f("2001:db8::1", false, Place{Country: "US"})
	for _, special := range []string{"127.0.0.1", "::1", "169.254.1.1", "fe80::1%eth0", "224.0.0.1", "255.255.255.255", "0.0.0.0", "100.64.1.1", "240.0.0.1", "fd00::1", "192.168.1.1"} {
		f(special, false, Place{})
	}
	var none *Atlas
	if got, err := none.Find(netip.MustParseAddr("203.0.113.7"), false); got != (Place{}) || err != nil || NewAtlas(nil, nil) != nil {
		t.Errorf("of no files: %+v %v", got, err)
	}
}

// TestIPv4Only: a database of one family knows nothing of the other's addresses.
func TestIPv4Only(t *testing.T) {
	d := open(t, map[string]mmdb.Map{"203.0.113.0/24": mmdb.Country("US", "", "")})
	d.reader.Metadata.IPVersion = 4
	if p, err := d.Find(netip.MustParseAddr("2001:db8::1")); p != nil || err != nil {
		t.Errorf("%v %v", p, err)
	}
}

// TestReadCSV: what a spreadsheet writes is read, and a mistake is named with its
// line.
func TestReadCSV(t *testing.T) {
	n := table(t, "\ufeff网段, 国家, 省份, 城市, 自治系统, 机构\r\n# 教育网\r\n203.0.113.0/24,cn,江苏,\"南京\",AS4538,\"某大学, 南校区\"\r\n2001:db8::/48,CN,,,,\r\n198.51.100.9,HK,,,,\r\n")
	if n.Len() != 3 {
		t.Errorf("%d networks", n.Len())
	}
	if p := n.Find(netip.MustParseAddr("203.0.113.9")); p == nil || *p != (Place{"CN", "江苏", "南京", 4538, "某大学, 南校区"}) {
		t.Errorf("%+v", p)
	}
	if p := n.Find(netip.MustParseAddr("198.51.100.8")); p != nil {
		t.Errorf("%+v", p)
	}
	f := func(text, want string) {
		t.Helper()
		if _, err := ReadCSV([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
	f("", "names the columns")
	f("country\nCN\n", "no column is called network")
	f("network,land\n", `column "land" is none of`)
	f("network,网段\n", "is there twice")
	f("network,country\n203.0.113.0/24,CN\n203.0.113.1/24,CN\n", "line 3: network 203.0.113.1/24 has bits beyond its mask; 203.0.113.0/24 is meant")
	f("network,country\nx,CN\n", `line 2: network "x" is neither a prefix nor an address`)
	f("network,country\n203.0.113.0/24,中国\n", `line 2: country "中国" is no code`)
	f("network,asn\n203.0.113.0/24,0\n", `asn "0" is no number`)
	f("network,asn\n203.0.113.0/24,4294967296\n", "is no number")
	f("network,city\n203.0.113.0/24,南京\n", "has a region or city and no country")
	f("network,organization\n203.0.113.0/24,x\n", "has an organization and no asn")
	f("network,country\n203.0.113.0/24,CN\n203.0.113.0/24,HK\n", "line 3: network 203.0.113.0/24 is listed twice")
	f("network,country\n203.0.113.0/24\n", "wrong number of fields")
	f("network\n\xb9\xfa\n", "not UTF-8")
}

// TestAgainstScan: what both kinds of file find is what looking at every network
// finds.
func TestAgainstScan(t *testing.T) {
	tb := t
	rapid.Check(t, func(t *rapid.T) {
		type network struct {
			prefix netip.Prefix
			place  Place
		}
		var all []network
		seen := map[netip.Prefix]bool{}
		address := func(label string) netip.Addr {
			if rapid.Bool().Draw(t, label+" is 4") {
				b := [4]byte{203, 0, rapid.ByteRange(112, 115).Draw(t, label), rapid.Byte().Draw(t, label)}
				return netip.AddrFrom4(b)
			}
			b := [16]byte{0x20, 1, 0xd, 0xb8, 15: rapid.Byte().Draw(t, label)}
			b[5] = rapid.ByteRange(0, 3).Draw(t, label)
			return netip.AddrFrom16(b)
		}
		for i := range rapid.IntRange(0, 12).Draw(t, "networks") {
			ip := address("network")
			bits := rapid.IntRange(20, 32).Draw(t, "bits")
			if ip.Is6() {
				bits += 24 + rapid.IntRange(0, 72).Draw(t, "more bits")
			}
			p := netip.PrefixFrom(ip, bits).Masked()
			if seen[p] {
				continue
			}
			seen[p] = true
			all = append(all, network{p, Place{Country: string([]byte{'A' + byte(i), 'X'}), City: fmt.Sprint("city ", i)}})
		}
		var rows strings.Builder
		rows.WriteString("network,country,city\n")
		records := map[string]mmdb.Map{}
		for _, n := range all {
			fmt.Fprintf(&rows, "%s,%s,%s\n", n.prefix, n.place.Country, n.place.City)
			records[n.prefix.String()] = mmdb.Country(n.place.Country, "", n.place.City)
		}
		own, err := ReadCSV([]byte(rows.String()))
		if err != nil {
			t.Fatal(err)
		}
		var world *Database
		if len(all) > 0 {
			world = open(tb, records)
		}
		for range 20 {
			ip := address("asked")
			var want Place
			best := -1
			for _, n := range all {
				if n.prefix.Contains(ip) && n.prefix.Bits() > best {
					best, want = n.prefix.Bits(), n.place
				}
			}
			for _, a := range []*Atlas{NewAtlas([]*Networks{own}, nil), worldOnly(world)} {
				if a == nil {
					continue
				}
				if got, err := a.Find(ip, false); err != nil || got != want {
					t.Fatalf("%s: %+v %v, want %+v of\n%s", ip, got, err, want, rows.String())
				}
			}
		}
	})
}

func worldOnly(d *Database) *Atlas {
	if d == nil {
		return nil
	}
	return NewAtlas(nil, []*Database{d})
}
