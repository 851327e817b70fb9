package communityid

import (
	"net/netip"
	"testing"
)

// TestAppend has the specification's own examples
// (community-id-spec/baseline/baseline_deflt.json), and both ways of each.
func TestAppend(t *testing.T) {
	f := func(from, to string, proto uint8, sport, dport uint16, want string) {
		t.Helper()
		got := string(Append(nil, netip.MustParseAddr(from), netip.MustParseAddr(to), proto, sport, dport))
		if got != want {
			t.Errorf("%s:%d > %s:%d (%d): %s, want %s", from, sport, to, dport, proto, got, want)
		}
	}
	f("128.232.110.120", "66.35.250.204", tcp, 34855, 80, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f("66.35.250.204", "128.232.110.120", tcp, 80, 34855, "1:LQU9qZlK+B5F3KDmev6m5PMibrg=")
	f("192.168.1.52", "8.8.8.8", udp, 54585, 53, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
	f("8.8.8.8", "192.168.1.52", udp, 53, 54585, "1:d/FP5EW3wiY1vCndhwleRRKHowQ=")
	f("192.168.170.8", "192.168.170.20", sctp, 7, 7, string(Append(nil, netip.MustParseAddr("192.168.170.20"), netip.MustParseAddr("192.168.170.8"), sctp, 7, 7)))
	f("192.168.0.89", "192.168.0.1", icmp, 8, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=")
	f("192.168.0.1", "192.168.0.89", icmp, 0, 0, "1:X0snYXpgwiv9TZtqg64sgzUn6Dk=")
	f("fe80::200:86ff:fe05:80da", "fe80::260:97ff:fe07:69ea", icmpv6, 135, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=")
	f("fe80::260:97ff:fe07:69ea", "fe80::200:86ff:fe05:80da", icmpv6, 136, 0, "1:dGHyGvjMfljg6Bppwm3bg0LO8TY=")
	f("192.168.0.1", "192.168.0.2", 47, 1, 2, string(Append(nil, netip.MustParseAddr("192.168.0.2"), netip.MustParseAddr("192.168.0.1"), 47, 0, 0)))
}

func TestNothingAllocated(t *testing.T) {
	a, b, buf := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("2001:db8::1"), make([]byte, 0, 64)
	if n := testing.AllocsPerRun(100, func() { Append(buf, a, b, tcp, 1, 2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
