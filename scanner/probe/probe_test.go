package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"fengsui/internal/testkit/lab"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// all is every port.
func all() []uint16 {
	var out []uint16
	for p := 1; p <= 65535; p++ {
		out = append(out, uint16(p))
	}
	return out
}

func config() Config { return Config{Rate: 50_000, Timeout: 1500 * time.Millisecond, Passes: 3} }

// from runs a sweep from a host of a lab.
func from(t *testing.T, h *lab.Host, ips []netip.Addr, ports []uint16, cfg Config) (open, up []string, stats Stats) {
	t.Helper()
	err := h.In(func() (err error) {
		stats, err = Run(t.Context(), ips, ports, cfg, func(at netip.AddrPort, a Answer) {
			if a == Open {
				open = append(open, at.String())
			} else {
				up = append(up, at.Addr().String())
			}
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(open)
	t.Logf("%+v", stats)
	return open, up, stats
}

// Every port of a host, over both families: those that are open, no other.
func TestEveryPort(t *testing.T) {
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	target := l.Host("target", "10.60.1.10", "fd00:60::10")
	var want4, want6 []string
	for range 46 {
		p := 1 + rand.IntN(65535)
		if !slices.Contains(want4, netip.AddrPortFrom(target.IP4, uint16(p)).String()) {
			target.Listen(p)
			want4 = append(want4, netip.AddrPortFrom(target.IP4, uint16(p)).String())
			want6 = append(want6, netip.AddrPortFrom(target.IP6, uint16(p)).String())
		}
	}
	slices.Sort(want4)
	slices.Sort(want6)
	f := func(ip netip.Addr, want []string) {
		t.Helper()
		got, up, stats := from(t, scanner, []netip.Addr{ip}, all(), config())
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("want-, got+:\n%s", diff)
		}
		if stats.Refused != 65535-len(want) || stats.Silent != 0 || len(up) > 1 {
			t.Errorf("%+v, up %v", stats, up)
		}
	}
	f(target.IP4, want4)
	f(target.IP6, want6)
}

// On the machine itself, where a connection from an ephemeral port can meet
// itself, nothing is invented.
func TestItself(t *testing.T) {
	l := lab.New(t)
	h := l.Host("alone", "10.60.1.10", "")
	h.Listen(40000)
	for range 2 {
		if got, _, _ := from(t, h, []netip.Addr{h.IP4}, all(), config()); !slices.Equal(got, []string{"10.60.1.10:40000"}) {
			t.Errorf("%v", got)
		}
	}
}

// A router that drops every tenth packet costs time, not truth.
func TestNetworkThatDrops(t *testing.T) {
	lab.Require(t, "nft")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "")
	target := l.Host("target", "10.60.1.10", "")
	var want []string
	for p := 1; p <= 3000; p += 3 {
		target.Listen(p)
		want = append(want, netip.AddrPortFrom(target.IP4, uint16(p)).String())
	}
	slices.Sort(want)
	l.Rules("table inet t { chain f { type filter hook forward priority 0; numgen random mod 10 0 drop; }; }")
	ports := all()[:3000]
	cfg := config()
	cfg.Rate, cfg.Passes = 5000, 5
	got, _, stats := from(t, scanner, []netip.Addr{target.IP4}, ports, cfg)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
	if stats.Late == 0 || stats.Again == 0 || stats.Rate >= cfg.Rate {
		t.Errorf("the loss has not shown: %+v", stats)
	}
}

// What a firewall drops, on a network that loses nothing, is not asked twice.
func TestFirewallIsNotAskedTwice(t *testing.T) {
	lab.Require(t, "nft")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "")
	target := l.Host("target", "10.60.1.10", "")
	target.Listen(80)
	target.Rules("table inet t { chain i { type filter hook input priority 0; tcp dport != { 80, 81 } drop; }; }")
	got, _, stats := from(t, scanner, []netip.Addr{target.IP4}, all()[:2000], config())
	if !slices.Equal(got, []string{"10.60.1.10:80"}) || stats.Silent != 1998 || stats.Refused != 1 {
		t.Errorf("%v, %+v", got, stats)
	}
	if stats.Late == 0 && stats.Probes != 2000 { // a busy machine may itself be late
		t.Errorf("%d probes for 2000 ports", stats.Probes)
	}
}

// With hardly a file left nothing is missed: a lack of files is no closed port.
func TestFewFiles(t *testing.T) {
	if lab.Inside() == "" {
		l := lab.New(t)
		scanner := l.Host("scanner", "10.50.0.2", "")
		target := l.Host("target", "10.60.1.10", "")
		for p := 1000; p < 3000; p += 50 {
			target.Listen(p)
		}
		l.Blackhole("10.60.2.0/24")
		scanner.Rerun(t)
		return
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 90, Max: 90}); err != nil {
		t.Fatal(err)
	}
	var open int
	see := func(_ netip.AddrPort, a Answer) {
		if a == Open {
			open++
		}
	}
	// Run keeps 64 of the 90 files for others; somebody takes more of them.
	var taken []int
	for range 70 {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		taken = append(taken, fd)
	}
	stats, err := Run(t.Context(), []netip.Addr{netip.MustParseAddr("10.60.1.10")}, all()[:3000], config(), see)
	if err != nil || open != 40 || stats.Refused != 2960 {
		t.Errorf("%v, %d open, %+v", err, open, stats)
	}
	silent := []netip.Addr{netip.MustParseAddr("10.60.2.1")}
	short := config()
	short.Timeout = 100 * time.Millisecond
	if stats, err = Run(t.Context(), silent, all()[:100], short, see); err != nil || stats.Silent != 100 || stats.Stalls == 0 {
		t.Errorf("%v, %+v", err, stats)
	}
	// None at all for long is an error, and says nothing of the ports.
	for {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		taken = append(taken, fd)
	}
	_ = unix.Close(taken[0]) // for epoll
	stats, err = Run(t.Context(), silent, all()[:100], short, see)
	if !errors.Is(err, ErrMachine) || stats.Silent != 0 {
		t.Errorf("%v, %+v", err, stats)
	}
	for _, fd := range taken[1:] {
		_ = unix.Close(fd)
	}
}

// The bounds of a host and of a network hold whatever the rate is.
func TestBounds(t *testing.T) {
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "")
	f := func(cfg Config, ips []netip.Addr, ports int, least time.Duration) {
		t.Helper()
		start := time.Now()
		if _, _, stats := from(t, scanner, ips, all()[:ports], cfg); stats.Probes < len(ips)*ports {
			t.Errorf("%+v", stats)
		}
		if took := time.Since(start); took < least {
			t.Errorf("took %v, at least %v was due", took, least)
		}
	}
	block := func(n int, of string) (out []netip.Addr) {
		for i := range n {
			out = append(out, netip.MustParseAddr(fmt.Sprintf(of, i)))
		}
		return out
	}
	cfg := config()
	cfg.HostRate = 100
	f(cfg, block(1, "10.60.1.%d"), 150, 1400*time.Millisecond)
	f(cfg, block(10, "10.60.1.%d"), 150, 1400*time.Millisecond)
	cfg.HostRate, cfg.NetworkRate = 0, 1000
	f(cfg, block(10, "10.60.1.%d"), 150, 1400*time.Millisecond)
	f(cfg, append(block(10, "10.60.1.%d"), block(5, "10.60.2.%d")...), 150, 1400*time.Millisecond)
}

// Every probe is made once, and all addresses take turns.
func TestOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts, ports := rapid.IntRange(1, 40).Draw(t, "hosts"), rapid.IntRange(1, 40).Draw(t, "ports")
		l := &loop{hosts: make([]netip.Addr, hosts), ports: make([]uint16, ports), seen: make([]tally, hosts), pass: 1}
		for h := range l.seen {
			l.seen[h].first = uint32(rapid.IntRange(0, ports-1).Draw(t, "first"))
		}
		seen := map[uint32]bool{}
		var turn []int
		for n := range l.size() {
			item := l.item(n)
			if seen[item] || int(item) >= hosts*ports {
				t.Fatalf("probe %d twice or out of range", item)
			}
			seen[item] = true
			turn = append(turn, int(item)/ports)
			if n >= hosts && turn[n] != turn[n-hosts] {
				t.Fatalf("address %d is out of turn", turn[n])
			}
		}
	})
}

// A pace never lets through more than its rate, whatever the network does.
func TestPace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := float64(rapid.IntRange(1, 200_000).Draw(t, "rate"))
		var p pace
		p.begin(0, rate, false)
		now, sent := time.Duration(0), 0
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			now += time.Duration(rapid.Int64Range(0, int64(300*time.Millisecond)).Draw(t, "step"))
			n := rapid.IntRange(0, max(p.may(now), 0)).Draw(t, "sent")
			p.took(n)
			sent += n
			if rapid.Bool().Draw(t, "answer") {
				p.answer(rapid.Bool().Draw(t, "late"))
			}
			p.adapt(now)
			if p.rate > rate || p.rate < rate*slowest {
				t.Fatalf("rate %v of %v", p.rate, rate)
			}
			if most := 1 + rate*now.Seconds() + max(rate/200, 1); float64(sent) > most {
				t.Fatalf("%d sent in %v at %v a second", sent, now, rate)
			}
		}
	})
}

func TestStops(t *testing.T) {
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "")
	l.Blackhole("10.60.2.0/24")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, errors.New("enough"))
	defer cancel()
	files := openFiles(t)
	err := scanner.In(func() error {
		_, err := Run(ctx, []netip.Addr{netip.MustParseAddr("10.60.2.1")}, all(), config(), func(netip.AddrPort, Answer) {})
		return err
	})
	if err == nil || err.Error() != "enough" {
		t.Errorf("%v", err)
	}
	if left := openFiles(t); left > files {
		t.Errorf("%d files are left open", left-files)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestMeaningless(t *testing.T) {
	one := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	for _, cfg := range []Config{{}, {Rate: 1, Timeout: 1}, {Rate: 1, Passes: 1}} {
		if _, err := Run(t.Context(), one, []uint16{1}, cfg, nil); err == nil || !strings.Contains(err.Error(), "rate "+strconv.Itoa(cfg.Rate)) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if stats, err := Run(t.Context(), nil, nil, Config{}, nil); err != nil || stats != (Stats{}) {
		t.Errorf("%v, %v", stats, err)
	}
}
