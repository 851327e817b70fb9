package lab

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// Zone is a zone that bind9 or NSD serves. Records are lines of a zone file; SOA,
// NS and the server's own addresses are there already.
type Zone struct {
	Name     string // without a final dot
	Records  string
	Transfer bool // given to whoever asks for all of it
	Signed   bool // with NSEC, by keys made for it
	NSEC3    bool // with NSEC3 instead
}

// zoneFile writes a zone and, if it is to be, signs it.
func (h *Host) zoneFile(z Zone) (path string) {
	h.lab.t.Helper()
	text := "$TTL 60\n$ORIGIN " + z.Name + ".\n@ IN SOA ns hostmaster 1 3600 600 86400 60\n"
	if !strings.HasSuffix(z.Name, ".arpa") {
		text += "@ IN NS ns\n"
		if h.IP4.IsValid() {
			text += "ns IN A " + h.IP4.String() + "\n"
		}
		if h.IP6.IsValid() {
			text += "ns IN AAAA " + h.IP6.String() + "\n"
		}
	} else {
		text += "@ IN NS ns.invalid.\n"
	}
	path = h.file("zone-"+z.Name, text+z.Records+"\n")
	if !z.Signed && !z.NSEC3 {
		return path
	}
	Require(h.lab.t, "dnssec-keygen", "dnssec-signzone")
	args := []string{"-S", "-K", h.dir, "-o", z.Name, "-f", path + ".signed"}
	if z.NSEC3 {
		args = append(args, "-3", "-", "-H", "0")
	}
	for _, flags := range [][]string{{"-f", "KSK"}, {}} {
		h.lab.must("dnssec-keygen", append([]string{"-q", "-a", "ECDSAP256SHA256", "-K", h.dir}, append(flags, z.Name)...)...)
	}
	cmd := exec.Command("dnssec-signzone", append(args, path)...)
	cmd.Dir = h.dir
	if out, err := cmd.CombinedOutput(); err != nil {
		h.lab.t.Fatalf("lab: signing %s: %v\n%s", z.Name, err, out)
	}
	if err := os.Chmod(path+".signed", 0o644); err != nil { //nolint:gosec // the server gives up its privileges
		h.lab.t.Fatalf("lab: %v", err)
	}
	return path + ".signed"
}

// NSD starts the real NSD on port 53, which answers for the zones and for nothing
// else.
func (h *Host) NSD(zones ...Zone) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "nsd")
	var conf strings.Builder
	fmt.Fprintf(&conf, "server:\n  server-count: 1\n  username: \"\"\n  chroot: \"\"\n  zonesdir: %q\n  database: \"\"\n  pidfile: \"\"\n", h.dir)
	fmt.Fprintf(&conf, "  xfrdfile: \"\"\n  xfrdir: %q\n  zonelistfile: %q\n  rrl-ratelimit: 0\n", h.dir, filepath.Join(h.dir, "zones.list"))
	for _, ip := range []netip.Addr{h.IP4, h.IP6} {
		if ip.IsValid() {
			fmt.Fprintf(&conf, "  ip-address: %s\n", ip)
		}
	}
	conf.WriteString("  ip-address: 127.0.0.1\nremote-control:\n  control-enable: no\n")
	for _, z := range zones {
		fmt.Fprintf(&conf, "zone:\n  name: %q\n  zonefile: %q\n", z.Name, h.zoneFile(z))
		if z.Transfer {
			conf.WriteString("  provide-xfr: 0.0.0.0/0 NOKEY\n  provide-xfr: ::0/0 NOKEY\n")
		}
	}
	return h.start(53, "nsd", "-d", "-c", h.file("nsd.conf", conf.String()))
}

// Resolver starts bind9 on port 53 as one that asks others: for each zone, and for
// what is below it, the servers at the given addresses and those that they name.
// Of all else it knows nothing. Its log holds every question.
func (h *Host) Resolver(zones map[string][]netip.Addr) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "named")
	var conf strings.Builder
	fmt.Fprintf(&conf, "options { directory %q; listen-on { any; }; listen-on-v6 { any; }; recursion yes; allow-query { any; }; allow-recursion { any; };\n", h.dir)
	conf.WriteString("pid-file none; session-keyfile none; dnssec-validation no; notify no; max-cache-size 16M; qname-minimization off; querylog yes; empty-zones-enable no; };\ncontrols { };\n")
	// No root: a name of no zone here fails at once instead of waiting for servers
	// that are not there.
	root := h.file("zone-root", "$TTL 60\n@ IN SOA . . 1 3600 600 86400 60\n@ IN NS ns.invalid.\nns.invalid. IN A 127.0.0.1\n")
	fmt.Fprintf(&conf, "zone \".\" { type primary; file %q; check-names ignore; };\n", root)
	names := make([]string, 0, len(zones))
	for name := range zones {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&conf, "zone %q { type static-stub; server-addresses {", name)
		for _, ip := range zones[name] {
			fmt.Fprintf(&conf, " %s;", ip)
		}
		conf.WriteString(" }; };\n")
	}
	return h.named(conf.String())
}

// Said is what the server wrote so far.
func (s *Service) Said() string { return s.said.String() }
