package geo

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"fengsui/internal/testkit/mmdb"
)

// big is a database of 60,000 networks, in which 20,000 records are shared, and
// addresses in them.
func big(b *testing.B) (*Database, []netip.Addr) {
	b.Helper()
	rnd := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same every time
	records := map[string]mmdb.Map{}
	var ips []netip.Addr
	for range 60_000 {
		var four [4]byte
		binary.BigEndian.PutUint32(four[:], rnd.Uint32())
		ip := netip.AddrFrom4(four)
		p := netip.PrefixFrom(ip, 18+rnd.IntN(9)).Masked()
		n := rnd.IntN(20_000)
		m := mmdb.Country("US", fmt.Sprint("Region ", n%500), fmt.Sprint("City ", n))
		m["continent"] = mmdb.Map{"code": mmdb.Text("NA"), "names": mmdb.Map{"en": mmdb.Text("North America"), "zh-CN": mmdb.Text("北美洲")}}
		m["location"] = mmdb.Map{"latitude": mmdb.Decimal(float64(n)), "longitude": mmdb.Decimal(7), "time_zone": mmdb.Text("America/New_York")}
		records[p.String()] = m
		ips = append(ips, ip)
	}
	return open(b, records), ips
}

// BenchmarkFind looks addresses up that were met before in a record, and others.
func BenchmarkFind(b *testing.B) {
	d, ips := big(b)
	rnd := rand.New(rand.NewPCG(3, 4)) //nolint:gosec // the same every time
	f := func(name string, n int, find func(netip.Addr) error) {
		b.Run(name, func(b *testing.B) {
			asked := ips[:n]
			b.ReportAllocs()
			for b.Loop() {
				ip := asked[rnd.IntN(n)]
				if err := find(ip); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	f("mmdb, 1,000 addresses", 1000, func(ip netip.Addr) error { _, err := d.Find(ip); return err })
	f("mmdb, 60,000 addresses", len(ips), func(ip netip.Addr) error { _, err := d.Find(ip); return err })
	f("mmdb, record decoded each time", len(ips), func(ip netip.Addr) error {
		_, err := d.decode(d.reader.Lookup(ip))
		return err
	})
	f("mmdb, the tree alone", len(ips), func(ip netip.Addr) error { return d.reader.Lookup(ip).Err() })
	a := NewAtlas(nil, []*Database{d, d})
	f("atlas of two, 1,000 addresses", 1000, func(ip netip.Addr) error { _, err := a.Find(ip, false); return err })
	f("atlas of two, 60,000 addresses", len(ips), func(ip netip.Addr) error { _, err := a.Find(ip, false); return err })
	n, err := ReadCSV([]byte("network,country\n203.0.113.0/24,CN\n198.51.100.0/24,CN\n10.0.0.0/8,CN\n"))
	if err != nil {
		b.Fatal(err)
	}
	f("networks of one's own", 1000, func(ip netip.Addr) error { n.Find(ip); return nil })
}
