package geo

import (
	"net/netip"
	"testing"
	"time"

	"fengsui/internal/testkit/mmdb"
)

// FuzzOpenMMDB: a file that is not what it says never ends the program nor keeps
// it busy, neither when it is opened nor when it is asked.
func FuzzOpenMMDB(f *testing.F) {
	for _, records := range []map[string]mmdb.Map{
		{},
		{"203.0.113.0/24": mmdb.Country("US", "Ohio", "Dayton"), "2001:db8::/32": mmdb.AS(64500, "Example")},
		{"0.0.0.0/1": mmdb.Country("US", "Ohio", "Dayton"), "128.0.0.0/1": {"country": mmdb.Text("JP"), "asn": mmdb.Text("AS1")}},
	} {
		f.Add(mmdb.Write(f, "Test", records))
	}
	f.Add([]byte("\xAB\xCD\xEFMaxMind.com"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		start := time.Now()
		d, err := OpenMMDB(data, "zh-CN")
		if err == nil {
			for _, address := range []string{"203.0.113.7", "2001:db8::7", "8.8.8.8", "::", "255.255.255.255", "ffff::"} {
				if p, _ := d.Find(netip.MustParseAddr(address)); p != nil {
					check(t, *p)
				}
			}
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("%d bytes took %s", len(data), took)
		}
	})
}

func check(t *testing.T, p Place) {
	t.Helper()
	if p.Country != "" && countryCode(p.Country) != p.Country {
		t.Fatalf("country %q", p.Country)
	}
	for _, s := range []string{p.Region, p.City, p.Organization} {
		if len(s) > maxName || cleanName(s) != s {
			t.Fatalf("name %q", s)
		}
	}
	if p.AS < 0 || p.AS >= 1<<32 {
		t.Fatalf("number %d", p.AS)
	}
}

// FuzzReadCSV: a table is read whole or refused.
func FuzzReadCSV(f *testing.F) {
	f.Add([]byte("network,country,region,city,asn,organization\n203.0.113.0/24,CN,江苏,南京,4538,x\n"))
	f.Add([]byte("\xef\xbb\xbf网段,国家\n# x\n\"2001:db8::/32\",hk\n"))
	f.Add([]byte("network\n::ffff:1.2.3.4\n0.0.0.0/0\n::/0\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := ReadCSV(data)
		if (n == nil) == (err == nil) {
			t.Fatalf("%v %v", n, err)
		}
		if n == nil {
			return
		}
		for p, place := range n.table.All() {
			check(t, *place)
			if n.Find(p.Addr()) == nil {
				t.Fatalf("%s is not found", p)
			}
		}
	})
}
