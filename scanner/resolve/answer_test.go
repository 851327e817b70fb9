package resolve

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

var from = netip.MustParseAddrPort("192.0.2.53:53")

// seeds are packets of every kind that answers have.
func seeds(t testing.TB) [][]byte {
	t.Helper()
	var out [][]byte
	add := func(q Question, rcode int, records ...string) {
		m := new(dns.Msg)
		m.SetQuestion(dns.Fqdn(q.Name), q.Type)
		m.Response, m.Compress, m.Rcode = true, true, rcode
		for _, text := range records {
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		for _, edns := range []bool{false, true} {
			if edns {
				m.SetEdns0(1232, false)
			}
			b, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, b)
		}
	}
	a, aaaa := Question{Name: "www.u1.example", Type: dns.TypeA}, Question{Name: "www.u1.example", Type: dns.TypeAAAA}
	add(a, dns.RcodeSuccess, "www.u1.example. 1 A 192.0.2.2", "www.u1.example. 1 A 192.0.2.1", "www.u1.example. 1 A 192.0.2.1")
	add(a, dns.RcodeSuccess)
	add(a, dns.RcodeNameError)
	add(a, dns.RcodeRefused)
	add(a, dns.RcodeNameError, "www.u1.example. 1 CNAME gone.u1.example.")
	add(a, dns.RcodeSuccess, "www.u1.example. 1 CNAME b.u1.example.", "b.u1.example. 1 CNAME www.u1.example.")
	add(a, dns.RcodeSuccess, "www.u1.example. 1 A 192.0.2.2", "other.u1.example. 1 A 192.0.2.66")
	add(aaaa, dns.RcodeSuccess, "www.u1.example. 1 AAAA 2001:db8::1", "www.u1.example. 1 AAAA ::ffff:192.0.2.1")
	return out
}

// The quick way through a packet says what the whole one says, of whatever packet;
// and nothing that is said is beyond bounds.
func FuzzRead(f *testing.F) {
	for _, s := range seeds(f) {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, packet []byte, six bool) {
		q := Question{Name: "www.u1.example", Type: dns.TypeA}
		if six {
			q.Type = dns.TypeAAAA
		}
		wire, err := pack(q)
		if err != nil {
			t.Fatal(err)
		}
		if len(packet) < headerSize {
			return
		}
		if !answers(wire, packet) {
			return
		}
		fast, ok := quick(q, packet, from)
		whole, err := read(Question{q.Name, q.Type, false}, packet, from)
		m := new(dns.Msg)
		if unpacked := m.Unpack(packet); unpacked == nil && len(m.Question) == 1 {
			if !fits(m.Question[0], m) || !strings.EqualFold(m.Question[0].Name, "www.u1.example.") || m.Question[0].Qtype != q.Type {
				t.Fatalf("takes another's answer: %v", m)
			}
			if slow := answer(q, m, from); ok && !reflect.DeepEqual(fast, slow) {
				t.Fatalf("quick %+v, whole %+v", fast, slow)
			}
		}
		if err == nil && (len(whole.Values) > maxValues || len(whole.Chain) > maxChain || !slices.IsSorted(whole.Values)) {
			t.Fatalf("%+v", whole)
		}
	})
}

func TestQuickIsTaken(t *testing.T) {
	taken := 0
	for _, s := range seeds(t) {
		if _, ok := quick(Question{Name: "www.u1.example", Type: dns.TypeA}, s, from); ok {
			taken++
		}
	}
	if taken != 4 { // addresses and "no such name", with EDNS and without
		t.Errorf("%d packets are read the quick way", taken)
	}
}

// Whatever a question: its packet is what the library reads as that question.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		labels := rapid.SliceOfN(rapid.StringMatching(`[a-z0-9_*-]{1,63}`), 1, 3).Draw(t, "labels")
		q := Question{strings.Join(labels, "."), rapid.SampledFrom([]uint16{dns.TypeA, dns.TypeNSEC, dns.TypePTR}).Draw(t, "type"), rapid.Bool().Draw(t, "signed")}
		wire, err := pack(q)
		if err != nil {
			t.Fatal(err)
		}
		m := new(dns.Msg)
		if err := m.Unpack(wire); err != nil {
			t.Fatal(err)
		}
		opt := m.IsEdns0()
		if len(m.Question) != 1 || schemas.CanonicalName(m.Question[0].Name) != q.Name || m.Question[0].Qtype != q.Type || opt == nil || opt.Do() != q.Signed || !m.RecursionDesired {
			t.Fatalf("%v", m)
		}
		m.Response = true
		m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
		m.Extra = nil
		packet, err := m.Pack()
		if err != nil || !answers(wire, packet) {
			t.Fatalf("its own answer is not taken: %v", err)
		}
		m.Question[0].Qtype++
		if packet, err = m.Pack(); err == nil && answers(wire, packet) {
			t.Fatal("an answer of another type is taken")
		}
	})
}

func TestAnswer(t *testing.T) {
	f := func(q Question, m *dns.Msg, records string, want Answer) {
		t.Helper()
		for line := range strings.Lines(records) {
			section, text, _ := strings.Cut(strings.TrimSpace(line), ": ")
			rr, err := dns.NewRR(text)
			if err != nil {
				t.Fatal(err)
			}
			switch section {
			case "an":
				m.Answer = append(m.Answer, rr)
			case "ns":
				m.Ns = append(m.Ns, rr)
			case "ar":
				m.Extra = append(m.Extra, rr)
			}
		}
		want.Server = from
		if got := answer(q, m, from); !reflect.DeepEqual(got, want) {
			t.Errorf("%v:\n%+v, want\n%+v", q, got, want)
		}
	}
	msg := func(rcode int, aa bool) *dns.Msg {
		m := new(dns.Msg)
		m.Rcode, m.Authoritative = rcode, aa
		return m
	}
	a := Question{Name: "a.x.example", Type: dns.TypeA}
	f(a, msg(0, true), "an: b.x.example. CNAME c.x.example.\nan: A.x.example. CNAME B.x.example.\nan: c.x.example. A 192.0.2.1\nan: z.x.example. A 192.0.2.2",
		Answer{RCode: "NOERROR", Authoritative: true, Chain: []string{"b.x.example", "c.x.example"}, Values: []string{"192.0.2.1"}})
	f(a, msg(0, false), "ns: x.example. NS ns.x.example.", Answer{RCode: "NOERROR", Referral: "x.example"})
	f(a, msg(0, false), "ns: x.example. SOA ns.x.example. h.x.example. 1 2 3 4 5", Answer{RCode: "NOERROR"})
	f(Question{Name: "x.example", Type: dns.TypeNS}, msg(0, false), "ns: x.example. NS ns.x.example.\nar: ns.x.example. A 192.0.2.53",
		Answer{RCode: "NOERROR", Referral: "x.example", Values: []string{"ns.x.example"}, Glue: map[string][]netip.Addr{"ns.x.example": {netip.MustParseAddr("192.0.2.53")}}})
	sig := "an: a.x.example. RRSIG A 13 %s 60 20300101000000 20200101000000 1 x.example. AAAA"
	f(a, msg(0, true), "an: a.x.example. A 192.0.2.1\n"+strings.Replace(sig, "%s", "3", 1), Answer{RCode: "NOERROR", Authoritative: true, Values: []string{"192.0.2.1"}, Exact: true})
	f(a, msg(0, true), "an: a.x.example. A 192.0.2.1\n"+strings.Replace(sig, "%s", "2", 1), Answer{RCode: "NOERROR", Authoritative: true, Values: []string{"192.0.2.1"}, Wildcard: true})
	f(a, msg(0, false), "an: x.example. DNAME y.example.\nan: a.x.example. CNAME a.y.example.", Answer{RCode: "NOERROR", Chain: []string{"a.y.example"}, Synthesized: true})
	f(a, msg(dns.RcodeNameError, true), "ns: 0.x.example. NSEC z.x.example. A RRSIG", Answer{RCode: "NXDOMAIN", Authoritative: true, Denials: []Denial{{"0.x.example", "z.x.example"}}})
	f(Question{Name: "x.example", Type: dns.TypeSRV}, msg(0, true), "an: x.example. SRV 1 2 3 H.x.example.", Answer{RCode: "NOERROR", Authoritative: true, Values: []string{"1 2 3 h.x.example"}})
	f(Question{Name: "x.example", Type: dns.TypeNSEC}, msg(0, true), "an: x.example. NSEC b.x.example. A NS SOA", Answer{RCode: "NOERROR", Authoritative: true, Values: []string{"b.x.example A NS SOA"}})
	f(Question{Name: "x.example", Type: dns.TypeCAA}, msg(0, true), "an: x.example. CAA 0 issue \"ca.example\"", Answer{RCode: "NOERROR", Authoritative: true, Values: []string{`0 issue "ca.example"`}})
}
