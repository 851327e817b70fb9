package live

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"fengsui/internal/testkit/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// street is a scanner and two hosts on one link, and a host behind a router.
type street struct {
	scanner, a, b, far *lab.Host
}

func newStreet(t *testing.T) street {
	t.Helper()
	l := lab.New(t)
	s := street{scanner: l.Host("scanner", "10.50.0.2", "fd00:50::2"), a: l.Host("a", "", ""), b: l.Host("b", "", ""), far: l.Host("far", "10.60.1.10", "fd00:60::10")}
	l.Link("lan", []*lab.Host{s.scanner, s.a, s.b}, []string{"10.70.0.1/24,fd00:70::1/64", "10.70.0.11/24,fd00:70::11/64", "10.70.0.12/24,fd00:70::12/64"})
	return s
}

func block(of string, from, to int) (out []netip.Addr) {
	for i := from; i <= to; i++ {
		out = append(out, netip.MustParseAddr(fmt.Sprintf(of, i)))
	}
	return out
}

func lines(signs []Sign) []string {
	var out []string
	for _, s := range signs {
		out = append(out, fmt.Sprintf("%s %s %s", s.IP, s.Method, s.MAC))
	}
	slices.Sort(out)
	return out
}

func TestWhoIsThere(t *testing.T) {
	s := newStreet(t)
	check := func(what string, want []string, look func(context.Context) ([]Sign, error)) {
		t.Helper()
		err := s.scanner.In(func() error {
			signs, err := look(t.Context())
			if diff := cmp.Diff(want, lines(signs)); diff != "" {
				t.Errorf("%s: want-, got+:\n%s", what, diff)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	lan := func() *Link {
		links, err := Links()
		if err != nil {
			t.Fatal(err)
		}
		return On(links, s.addr("10.70.0.11"))
	}
	check("ARP", []string{"10.70.0.11 arp " + s.a.MAC("lan"), "10.70.0.12 arp " + s.b.MAC("lan")}, func(ctx context.Context) ([]Sign, error) {
		return ARP(ctx, lan(), block("10.70.0.%d", 2, 60), 1000)
	})
	check("echo", []string{"10.60.1.10 icmp ", "10.70.0.12 icmp "}, func(ctx context.Context) ([]Sign, error) {
		return Ping(ctx, append(block("10.70.0.%d", 12, 30), block("10.60.1.%d", 1, 30)...), 1000)
	})
	check("echo over IPv6", []string{"fd00:60::10 icmp ", "fd00:70::11 icmp "}, func(ctx context.Context) ([]Sign, error) {
		return Ping(ctx, []netip.Addr{s.addr("fd00:60::10"), s.addr("fd00:60::11"), s.addr("fd00:70::11"), s.addr("fd00:70::13")}, 1000)
	})
	// The same by the kernel's own socket for everybody's ping, where it is allowed.
	if out, err := s.scanner.Command("sh", "-c", "echo 0 2147483647 > /proc/sys/net/ipv4/ping_group_range").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check("everybody's echo", []string{"10.60.1.10 icmp "}, func(ctx context.Context) ([]Sign, error) {
		if p, err := newPinger(false); err != nil || p.ip || unix.Close(p.fd) != nil {
			t.Errorf("a raw socket, or none: %v", err)
		}
		return Ping(ctx, block("10.60.1.%d", 1, 30), 1000)
	})
	check("everybody's echo over IPv6", []string{"fd00:60::10 icmp "}, func(ctx context.Context) ([]Sign, error) {
		return Ping(ctx, []netip.Addr{s.addr("fd00:60::10"), s.addr("fd00:60::11")}, 1000)
	})
	check("all nodes", []string{"fd00:70::11 ndp ", "fd00:70::12 ndp "}, func(ctx context.Context) ([]Sign, error) {
		return AllNodes(ctx, lan(), netip.MustParsePrefix("fd00:70::/64"))
	})
	if err := s.scanner.In(func() error {
		// Those that answered are in the table, and one that nobody has is not for long.
		dialer := net.Dialer{Timeout: 4 * time.Second}
		if c, err := dialer.Dial("tcp", "10.70.0.77:80"); err == nil {
			_ = c.Close()
		}
		table, err := Table()
		if n := table[s.addr("10.70.0.12")]; n.MAC != s.b.MAC("lan") || n.Failed {
			t.Errorf("a neighbour: %+v", n)
		}
		if n := table[s.addr("10.70.0.77")]; n.MAC != "" || !n.Failed {
			t.Errorf("no neighbour: %+v", n)
		}
		return err
	}); err != nil {
		t.Error(err)
	}
}

func (s *street) addr(text string) netip.Addr { return netip.MustParseAddr(text) }

func TestDirect(t *testing.T) {
	s := newStreet(t)
	if err := s.scanner.In(func() error {
		r, err := NewRouter()
		if err != nil {
			return err
		}
		defer r.Close()
		links, err := Links()
		if err != nil {
			return err
		}
		lan := On(links, s.addr("10.70.0.11"))
		if lan == nil || lan.Name != "lan" || On(links, s.addr("10.60.1.10")) != nil || On(links, s.addr("10.70.0.1")) != nil {
			t.Fatalf("links: %+v", links)
		}
		f := func(ip string, want int) {
			t.Helper()
			if got, err := r.Direct(s.addr(ip)); err != nil || got != want {
				t.Errorf("%s: link %d, %v, want %d", ip, got, err, want)
			}
		}
		f("10.70.0.11", lan.Index)
		f("fd00:70::11", lan.Index)
		f("10.60.1.10", 0)
		f("fd00:60::10", 0)
		f("10.70.0.1", 0) // itself
		f("127.0.0.1", 0)
		if _, err := AllNodes(t.Context(), lan, netip.MustParsePrefix("fd00:71::/64")); err == nil {
			t.Error("an echo to all nodes from a prefix that is not this link's")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

func TestStops(t *testing.T) {
	s := newStreet(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if err := s.scanner.In(func() error {
		_, err := Ping(ctx, block("10.60.1.%d", 1, 200), 10)
		return err
	}); err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
}

func TestChecksum(t *testing.T) {
	// The example of RFC 1071, section 3.
	if got := checksum([]byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}); got != ^uint16(0xddf2) {
		t.Errorf("%#x", got)
	}
	if got := checksum([]byte{0xab}); got != ^uint16(0xab00) {
		t.Errorf("%#x", got)
	}
}

// Whatever the kernel or the network says is read without harm.
func FuzzPackets(f *testing.F) {
	p := &pinger{token: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}}
	raw := &pinger{ip: true, token: p.token}
	reply := p.packet(1)
	reply[0] = echoReply4
	f.Add(reply)
	f.Add(append(make([]byte, 20), reply...))
	f.Add(request(net.HardwareAddr{1, 2, 3, 4, 5, 6}, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")))
	f.Add([]byte{2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 8, 0, 1, 0, 192, 0, 2, 1, 10, 0, 2, 0, 1, 2, 3, 4, 5, 6, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		if ip, n, ok := neighbour(b); ok && (!ip.IsValid() || len(n.MAC) > 17) {
			t.Errorf("%v %+v", ip, n)
		}
		if ip, mac, ok := sender(b); ok && (!ip.Is4() || len(mac) != 6) {
			t.Errorf("%v %v", ip, mac)
		}
		if p.reply(b) && len(b) < echoHeader+8 || raw.reply(b) && len(b) < 20+echoHeader+8 {
			t.Error("a reply that is too short")
		}
		direct(b, 1)
	})
}
