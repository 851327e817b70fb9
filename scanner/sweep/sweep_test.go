package sweep

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"fengsui/internal/directory"
	"fengsui/internal/testkit/lab"
	"fengsui/scanner/portset"
	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func prefixes(text ...string) (out []netip.Prefix) {
	for _, t := range text {
		out = append(out, netip.MustParsePrefix(t))
	}
	return out
}

func good() Request {
	return Request{
		Targets: prefixes("127.0.0.1/32"), Scope: prefixes("127.0.0.0/8"), Ports: "1-65535",
		Rate: 5000, Mode: Connect, Retries: 1, Timeout: 1500,
	}
}

func TestCheckRefuses(t *testing.T) {
	f := func(reason string, change func(*Request)) {
		t.Helper()
		r := good()
		change(&r)
		if _, err := r.Check(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%v, want a refusal with %q", err, reason)
		}
	}
	f("no scope", func(r *Request) { r.Scope = nil })
	f("no targets", func(r *Request) { r.Targets = nil })
	f("outside the scope", func(r *Request) { r.Targets = prefixes("192.0.2.1/32") })
	f("outside the scope", func(r *Request) { r.Exclude = prefixes("127.0.0.0/8") })
	f("outside the scope", func(r *Request) {
		r.Targets, r.Exclude, r.Ports = prefixes("127.0.0.0/30"), prefixes("127.0.0.2/32"), "1"
	})
	f("both families", func(r *Request) {
		r.Targets, r.Scope = prefixes("127.0.0.1/32", "::1/128"), prefixes("127.0.0.0/8", "::1/128")
	})
	f("more than", func(r *Request) { r.Targets = prefixes("127.0.0.0/24") })
	f("too large", func(r *Request) { r.Targets, r.Scope = prefixes("fd00::/64"), prefixes("fd00::/8") })
	f("not an address block", func(r *Request) { r.Targets = []netip.Prefix{{}} })
	f("not an address block", func(r *Request) { r.Targets = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8")} })
	f("not an address block", func(r *Request) { r.Targets = prefixes("224.0.0.1/32") })
	f("not an address block", func(r *Request) { r.Scope = prefixes("0.0.0.0/0") })
	f("not an address block", func(r *Request) { r.Scope = prefixes("::/0") })
	f("rate", func(r *Request) { r.Rate = MaxRate + 1 })
	f("rate", func(r *Request) { r.Rate, r.Mode = MaxSYNRate+1, SYN })
	f("rate", func(r *Request) { r.HostRate = -1 })
	f("rate", func(r *Request) { r.NetworkRate = MaxRate + 1 })
	f("discovery", func(r *Request) { r.Discovery = "loud" })
	f("retries", func(r *Request) { r.Retries = 0 })
	f("timeout", func(r *Request) { r.Timeout = 100 })
	f("mode", func(r *Request) { r.Mode = "udp" })
	f("ports", func(r *Request) { r.Ports = "" })
}

// The helper's own check agrees with the registry's, for any networks.
func TestCheckAgreesWithTheRegistry(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string, least int) netip.Prefix {
			last := byte(rapid.IntRange(0, 255).Draw(t, name))
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, last}), rapid.IntRange(least, 32).Draw(t, name+" bits")).Masked()
		}
		r := good()
		r.Ports = "80"
		var networks []schemas.Network
		seen := map[netip.Prefix]bool{}
		for range rapid.IntRange(1, 10).Draw(t, "networks") {
			n := schemas.Network{Prefix: draw("network", 24), Scan: rapid.Bool().Draw(t, "scan")}
			if seen[n.Prefix] {
				continue
			}
			seen[n.Prefix] = true
			networks = append(networks, n)
		}
		r.Scope = prefixes("192.0.2.0/24") // never empty
		for _, n := range networks {
			if n.Scan {
				r.Scope = append(r.Scope, n.Prefix)
			} else {
				r.Exclude = append(r.Exclude, n.Prefix)
			}
		}
		snap, err := directory.NewSnapshot(nil, networks, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		target := draw("target", 22)
		r.Targets = []netip.Prefix{target}
		_, ours := r.Check()
		theirs := snap.MayScanPrefix(target)
		if (ours == nil) != (theirs == nil) {
			t.Fatalf("%s with %v: the helper says %v, the registry %v", target, networks, ours, theirs)
		}
	})
}

func FuzzCheck(f *testing.F) {
	seed, err := json.Marshal(good())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(seed))
	f.Add(`{"targets":["fd00::/100"],"scope":["fd00::/64"],"ports":"1-9","rate":1,"mode":"syn","retries":1,"timeout_ms":500}`)
	f.Add(`{"targets":["::ffff:1.2.3.4/128"],"scope":["::/1"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		var r Request
		if json.Unmarshal([]byte(text), &r) != nil {
			return
		}
		s, err := r.Check()
		if err != nil {
			return
		}
		if s.Probes() < 1 || s.Probes() > MaxProbes {
			t.Fatalf("%d probes", s.Probes())
		}
		for _, p := range s.Targets {
			if !slices.ContainsFunc(r.Scope, p.Overlaps) {
				t.Fatalf("%s is outside %v", p, r.Scope)
			}
		}
	})
}

func sweepNow(t *testing.T, ctx context.Context, path string, r Request) (open []netip.AddrPort, err error) {
	t.Helper()
	_, err = Helper{Path: path}.Sweep(ctx, r, func(l Line) {
		if l.Port != 0 {
			open = append(open, netip.AddrPortFrom(l.IP, uint16(l.Port)))
		}
	})
	return open, err
}

// The real helper, over loopback.
func TestSweepLoopback(t *testing.T) {
	path := lab.SweepHelper(t)
	var want []netip.AddrPort
	for range 3 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }()
		want = append(want, l.Addr().(*net.TCPAddr).AddrPort())
	}
	r := good()
	r.Rate = 500 // what a busy machine, too, keeps up with
	var ports portset.Set
	for p := range 1000 {
		ports.Add(p)
	}
	for _, w := range want {
		ports.Add(int(w.Port()))
	}
	r.Ports = ports.String()
	home := t.TempDir() // of this test alone: others, too, start helpers
	t.Setenv("TMPDIR", home)
	start := time.Now()
	open, err := sweepNow(t, t.Context(), path, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range want {
		if !slices.Contains(open, w) {
			t.Errorf("%s is missing in %v", w, open)
		}
	}
	left, err := os.ReadDir(home)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("homes are left: %v", left)
	}
	t.Logf("%d ports in %v", ports.Len(), time.Since(start))
}

// What calls itself the helper and is none.
func TestBadHelpers(t *testing.T) {
	f := func(script, reason string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "helper")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		start := time.Now()
		_, err := sweepNow(t, ctx, path, good())
		if err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %v, want an error with %q", script, err, reason)
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("%s: took %v", script, took)
		}
	}
	f(`echo '{"ip":"192.0.2.1","port":80}'`, "not asked for")
	f(`echo 'open sesame'`, "wrote")
	f(`echo '{"error":"no privilege"}'; exit 1`, "no privilege")
	f(`exit 0`, "before it was done")
	f(`echo oops >&2; exit 7`, "oops")
	f(`head -c 100000 /dev/zero | tr '\0' x; exec sleep 20`, "too long")
	f(`exec sleep 20`, "stopped")
	_, err := sweepNow(t, t.Context(), "/nonexistent/helper", good())
	if err == nil || !strings.Contains(err.Error(), "starting") {
		t.Errorf("%v", err)
	}
}
