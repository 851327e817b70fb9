package resolve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/goleak"

	"fengsui/internal/testkit/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Against the real bind9: every type, aliases, nothing there, refusal,
// truncation, and many questions at once. The client runs inside the lab.
func TestAgainstBind(t *testing.T) {
	const ip4, ip6 = "10.70.0.53", "fd00:70::53"
	if lab.Inside() == "" {
		lab.Require(t, "named")
		l := lab.New(t)
		server := l.Host("server", ip4, ip6)
		var many strings.Builder
		for i := range 95 { // bind9 takes at most 100 records of a type
			fmt.Fprintf(&many, "many IN A 10.70.9.%d\n", i+1)
		}
		for i := range 2000 {
			fmt.Fprintf(&many, "n%d IN A 10.70.%d.%d\n", i, i/250, i%250+1)
		}
		server.Bind(lab.Zone{Name: "u1.example", Records: many.String() +
			"www IN A 10.70.1.1\nwww IN AAAA fd00:70::1\nalias IN CNAME Www\nfar IN CNAME alias\n@ IN MX 10 Mail\n@ IN MX 20 mail.other.example.\n" +
			"sub IN NS ns.sub\nns.sub IN A 10.70.1.2\n"},
			lab.Reverse(map[string]string{"10.70.1.1": "www.u1.example"}))
		l.Host("client", "10.70.0.2", "fd00:70::2").Rerun(t)
		return
	}
	for _, server := range []string{ip4, ip6} {
		c, err := Open([]netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(server), 53)}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		f := func(name string, qtype uint16, rcode string, values ...string) {
			t.Helper()
			a, err := c.Ask(t.Context(), name, qtype)
			if err != nil || a.RCode != rcode || !slices.Equal(a.Values, values) {
				t.Errorf("%s %s: %+v, %v; want %s %q", name, dns.TypeToString[qtype], a, err, rcode, values)
			}
		}
		f("www.u1.example", dns.TypeA, "NOERROR", "10.70.1.1")
		f("WWW.u1.example.", dns.TypeAAAA, "NOERROR", "fd00:70::1")
		f("far.u1.example", dns.TypeA, "NOERROR", "10.70.1.1")
		f("far.u1.example", dns.TypeCNAME, "NOERROR", "alias.u1.example")
		f("u1.example", dns.TypeMX, "NOERROR", "10 mail.u1.example", "20 mail.other.example")
		f("u1.example", dns.TypeNS, "NOERROR", "ns.u1.example")
		f("u1.example", dns.TypeA, "NOERROR")
		f("gone.u1.example", dns.TypeA, "NXDOMAIN")
		f("1.1.70.10.in-addr.arpa", dns.TypePTR, "NOERROR", "www.u1.example")
		f("elsewhere.example", dns.TypeA, "REFUSED")

		// 95 addresses do not fit into a datagram: they come over TCP, whole.
		a, err := c.Ask(t.Context(), "many.u1.example", dns.TypeA)
		if err != nil || len(a.Values) != 95 {
			t.Errorf("a large answer: %d values, %v", len(a.Values), err)
		}

		start := time.Now()
		var wrong atomic.Int32
		var wg sync.WaitGroup
		next := make(chan int)
		for range 300 {
			wg.Go(func() {
				for i := range next {
					a, err := c.Ask(t.Context(), fmt.Sprintf("n%d.u1.example", i), dns.TypeA)
					if err != nil || !slices.Equal(a.Values, []string{fmt.Sprintf("10.70.%d.%d", i/250, i%250+1)}) {
						wrong.Add(1)
					}
				}
			})
		}
		const rounds = 10
		for i := range rounds * 2000 {
			next <- i % 2000
		}
		close(next)
		wg.Wait()
		if wrong.Load() > 0 {
			t.Errorf("%d of %d answers are wrong", wrong.Load(), rounds*2000)
		}
		t.Logf("%s: %d questions in %v", server, rounds*2000, time.Since(start))
	}
}

// serve answers questions on a loopback port as f does; nil is no answer.
func serve(t *testing.T, f func(n int, q *dns.Msg) []*dns.Msg) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 4096)
		for n := 1; ; n++ {
			size, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			q := new(dns.Msg)
			if q.Unpack(buf[:size]) != nil {
				continue
			}
			for _, m := range f(n, q) {
				if b, err := m.Pack(); err == nil {
					_, _ = conn.WriteTo(b, from)
				}
			}
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func reply(q *dns.Msg, rcode int, ip string) *dns.Msg {
	m := new(dns.Msg)
	m.SetRcode(q, rcode)
	if ip != "" {
		m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}, A: net.ParseIP(ip)})
	}
	return m
}

func TestBadServers(t *testing.T) {
	f := func(what, want string, servers ...netip.AddrPort) {
		t.Helper()
		c, err := Open(servers, Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		a, err := c.Ask(t.Context(), "x.example", dns.TypeA)
		got := fmt.Sprint(a.RCode, a.Values)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	good := serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, 0, "192.0.2.1")} })
	failing := serve(t, func(_ int, q *dns.Msg) []*dns.Msg { return []*dns.Msg{reply(q, dns.RcodeServerFailure, "")} })
	silent := serve(t, func(int, *dns.Msg) []*dns.Msg { return nil })
	lossy := serve(t, func(n int, q *dns.Msg) []*dns.Msg {
		if n < 3 {
			return nil
		}
		return []*dns.Msg{reply(q, 0, "192.0.2.3")}
	})
	forging := serve(t, func(_ int, q *dns.Msg) []*dns.Msg {
		wrongID, wrongName, notReply := reply(q, 0, "192.0.2.66"), reply(q, 0, "192.0.2.66"), reply(q, 0, "192.0.2.66")
		wrongID.Id++
		wrongName.Question = []dns.Question{{Name: "y.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
		notReply.Response = false
		stray := reply(q, 0, "192.0.2.4") // the right reply with a record of another name
		stray.Answer = append(stray.Answer, &dns.A{Hdr: dns.RR_Header{Name: "z.example.", Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.ParseIP("192.0.2.66")})
		return []*dns.Msg{wrongID, wrongName, notReply, stray}
	})
	f("good", "NOERROR[192.0.2.1]", good)
	f("failing, then good", "NOERROR[192.0.2.1]", failing, good)
	f("failing alone", "SERVFAIL[]", failing)
	f("silent, then good", "NOERROR[192.0.2.1]", silent, good)
	f("lossy", "NOERROR[192.0.2.3]", lossy)
	f("forging", "NOERROR[192.0.2.4]", forging)
	f("nobody there", ErrNoAnswer.Error(), netip.MustParseAddrPort("127.0.0.1:1"))
}

func TestAskEndsWithItsContext(t *testing.T) {
	c, err := Open([]netip.AddrPort{serve(t, func(int, *dns.Msg) []*dns.Msg { return nil })}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	var wg sync.WaitGroup
	for range 200 { // more than may be in flight
		wg.Go(func() {
			if _, err := c.Ask(ctx, "x.example", dns.TypeA); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestParseServer(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		at, err := ParseServer(text)
		if got := at.String(); err == nil && got != want || err != nil && want != "" {
			t.Errorf("%q: %s, %v; want %q", text, got, err, want)
		}
	}
	f("192.0.2.53", "192.0.2.53:53")
	f("2001:db8::53", "[2001:db8::53]:53")
	f("[2001:db8::53]:5353", "[2001:db8::53]:5353")
	f("ns.example", "")
	f("192.0.2.53:0", "")
	f("", "")
}
