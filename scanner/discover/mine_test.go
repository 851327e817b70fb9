package discover

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"pgregory.net/rapid"
)

func TestMine(t *testing.T) {
	f := func(qtype uint16, value string, want ...string) {
		t.Helper()
		if got := Mine(qtype, []string{value}); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", value, got, want)
		}
	}
	f(dns.TypeCNAME, "www.u1.example", "www.u1.example")
	f(dns.TypeMX, "10 mail.u1.example", "mail.u1.example")
	f(dns.TypeMX, "0 ") // none (RFC 7505)
	f(dns.TypeSRV, "0 5 389 ldap.u1.example", "ldap.u1.example")
	f(dns.TypeSOA, "ns.u1.example hostmaster.u1.example 1 2 3 4 5", "ns.u1.example")
	f(dns.TypeTXT, "v=spf1 a:out.u1.example/24 mx:u1.example include:_spf.u1.example exists:%{i}.x.u1.example redirect=r.u1.example -all",
		"out.u1.example", "u1.example", "_spf.u1.example", "r.u1.example")
	f(dns.TypeTXT, "v=DMARC1; p=none; rua=mailto:report@dmarc.u1.example", "dmarc.u1.example")
	f(dns.TypeCAA, `0 iodef "https://caa.u1.example/x"`, "caa.u1.example")
	f(dns.TypeA, "192.0.2.1")
	f(dns.TypeNSEC, "next.u1.example A")
}

// Whatever a record says: what is taken out of it are names that may be asked for,
// and bounded in number.
func FuzzMine(f *testing.F) {
	f.Add(uint16(dns.TypeTXT), "v=spf1 a:out.u1.example/24 -all")
	f.Add(uint16(dns.TypeMX), "10 mail.u1.example")
	f.Add(uint16(dns.TypeSOA), "")
	f.Fuzz(func(t *testing.T, qtype uint16, value string) {
		names := Mine(qtype, []string{value})
		if len(names) > maxMined {
			t.Fatalf("%d names", len(names))
		}
		for _, n := range names {
			if !ValidName(n) || !strings.Contains(n, ".") || !strings.Contains(strings.ToLower(value), n) {
				t.Fatalf("%q of %q", n, value)
			}
		}
	})
}

// RFC 4034, 6.1.
func TestOrderOfNames(t *testing.T) {
	order := strings.Fields("example a.example yljkjljk.a.example z.a.example zabc.a.example z.example *.z.example")
	for i := range order {
		for j := range order {
			if before(order[i], order[j]) != (i < j) {
				t.Errorf("%s before %s: %v", order[i], order[j], !(i < j))
			}
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-c]{1,2}(\.[a-c]{1,2}){0,2}`)
		a, b, c := name.Draw(t, "a"), name.Draw(t, "b"), name.Draw(t, "c")
		if before(a, b) && before(b, a) || a != b && !before(a, b) && !before(b, a) || before(a, b) && before(b, c) && !before(a, c) {
			t.Fatalf("%s %s %s are in no order", a, b, c)
		}
	})
}

// A transferred zone's record sets hold each record once, aliases and what is
// below a cut are only named, and what is not the zone's is left.
func TestGroup(t *testing.T) {
	var records []dns.RR
	for _, text := range []string{
		"u.example. SOA ns.u.example. h.u.example. 1 2 3 4 5", "u.example. NS ns.u.example.", "WWW.u.example. A 192.0.2.2", "www.u.example. A 192.0.2.1",
		"www.u.example. A 192.0.2.1", "old.u.example. CNAME www.u.example.", "cs.u.example. NS ns.cs.u.example.", "ns.cs.u.example. A 192.0.2.53",
		"ns.cs.u.example. AAAA 2001:db8::53", "other.test. A 192.0.2.66", "bu.example. A 192.0.2.66", "u.example. NSEC old.u.example. NS SOA",
		"u.example. SOA ns.u.example. h.u.example. 1 2 3 4 5",
	} {
		rr, err := dns.NewRR(text)
		if err != nil {
			t.Fatal(err)
		}
		records = append(records, rr)
	}
	sets, aliases, beyond, cuts := group("u.example", "192.0.2.53", records)
	lead := func(name string) Lead { return Lead{name, "axfr", "192.0.2.53"} }
	want := []RecordSet{
		{lead("u.example"), dns.TypeSOA, []string{"ns.u.example h.u.example 1 2 3 4 5"}},
		{lead("u.example"), dns.TypeNS, []string{"ns.u.example"}},
		{lead("www.u.example"), dns.TypeA, []string{"192.0.2.1", "192.0.2.2"}},
		{lead("cs.u.example"), dns.TypeNS, []string{"ns.cs.u.example"}},
	}
	if diff := cmp.Diff(want, sets); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
	if !slices.Equal(aliases, []Lead{lead("old.u.example")}) || !slices.Equal(beyond, []Lead{lead("ns.cs.u.example")}) || !slices.Equal(cuts, []string{"cs.u.example"}) {
		t.Errorf("%v %v %v", aliases, beyond, cuts)
	}
}
