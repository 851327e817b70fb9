package scanner

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/testkit/lab"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

// sights are the observations of hosts and ports, a line each, with how they were
// come by.
func sights(all []schemas.Observation) []string {
	var out []string
	for _, o := range all {
		switch o.Kind {
		case schemas.ObservedHost:
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s up=%v %s %s %s", o.IP, o.Open, o.Method, o.MAC, o.Doubt)))
		case schemas.ObservedPort:
			out = append(out, fmt.Sprintf("%s %d open=%v", o.IP, o.Port, o.Open))
		}
	}
	slices.Sort(out)
	return out
}

// Who is there on an own link, with the privilege to ask and without; and beyond
// it, where one hides: only the policy that leaves out what shows no sign of life
// misses him.
func TestDiscovery(t *testing.T) {
	lab.Require(t, "nft", "setpriv")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	a, quiet := l.Host("a", "", ""), l.Host("quiet", "", "")
	far, hidden := l.Host("far", "10.60.1.10", ""), l.Host("hidden", "10.60.1.20", "")
	l.Link("lan", []*lab.Host{scanner, a, quiet}, []string{"10.70.0.1/24,fd00:70::1/64", "10.70.0.11/24,fd00:70::11/64", "10.70.0.12/24,fd00:70::12/64"})
	l.Blackhole("10.60.1.0/24")
	drop := func(but string) string {
		return "table inet t { chain i { type filter hook input priority 0; meta l4proto tcp tcp dport != " + but + " drop; ip protocol icmp drop; }; }"
	}
	quiet.Rules(drop("1")) // nothing but ARP; over IPv6 whatever it must
	hidden.Rules(drop("8443"))
	a.Listen(8080)
	far.Listen(8080)
	hidden.Listen(8443)
	in := inside{
		Units:    units,
		Networks: []schemas.Network{network("10.70.0.0/24", "u1", true), network("10.60.1.0/24", "u1", true), network("fd00:70::/64", "u1", true)},
		Config:   config(sweep.Connect),
		Tasks:    []schemas.ScanTask{sweepTask("1", "8080,8443", "10.70.0.0/25"), sweepTask("2", "8080,8443", "10.60.1.0/25")},
	}
	unprivileged := filepath.Join(t.TempDir(), "fengsui-sweep")
	if err := os.WriteFile(unprivileged, []byte("#!/bin/sh\nexec setpriv --bounding-set=-all --inh-caps=-all "+lab.SweepHelper(t)+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	self := "10.70.0.1 up=true connect"
	f := func(name string, change func(*Config), gone float64, want ...string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			in := in
			change(&in.Config)
			s := runInside(t, scanner, in)
			slices.Sort(want)
			got := sights(s.Observations)
			for i := range got { // an echo and a connection go side by side
				got[i] = strings.Replace(got[i], " icmp", " connect", 1)
			}
			if diff := cmp.Diff(want, got); diff != "" || strings.Join(s.Errors, "") != "" {
				t.Errorf("%v, want-, got+:\n%s", s.Errors, diff)
			}
			if n := s.Metrics["fengsui_scanner_absent_hosts_total"]; n != gone {
				t.Errorf("%v addresses were left out, want %v", n, gone)
			}
		})
	}
	onLink := []string{
		self, "10.70.0.11 up=true arp " + a.MAC("lan"), "10.70.0.11 8080 open=true", "10.70.0.12 up=true arp " + quiet.MAC("lan"),
		"fd00:70::11 up=true ndp " + a.MAC("lan"), "fd00:70::12 up=true ndp " + quiet.MAC("lan"),
	}
	beyond := []string{"10.60.1.10 8080 open=true", "10.60.1.20 8443 open=true", "10.60.1.20 up=true connect"}
	f("auto", func(*Config) {}, 125, slices.Concat(onLink, beyond, []string{"10.60.1.10 up=true connect"})...)
	f("quick", func(c *Config) { c.Discovery = sweep.Quick }, 125+127, slices.Concat(onLink, []string{
		"10.60.1.10 up=true connect", "10.60.1.10 8080 open=true",
	})...)
	f("off", func(c *Config) { c.Discovery = sweep.Off }, 0, slices.Concat([]string{
		self, "10.70.0.11 up=true connect", "10.70.0.11 8080 open=true", "10.60.1.10 up=true connect",
	}, beyond)...)
	f("auto without privilege", func(c *Config) { c.Sweep = unprivileged }, 125, slices.Concat([]string{
		self, "10.70.0.11 up=true arp " + a.MAC("lan"), "10.70.0.11 8080 open=true", "10.70.0.12 up=true arp " + quiet.MAC("lan"),
		"10.60.1.10 up=true connect",
	}, beyond)...)
}

// Not one packet leaves for what is not authorised, whichever way something else
// comes to be known: a redirect, a name that resolves elsewhere, an alias, a
// certificate, a neighbour, a link that is authorised in part.
func TestNoWayLeadsOutside(t *testing.T) {
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	web := l.Host("web", "10.60.1.10", "fd00:60::10")
	dns := l.Host("dns", "10.60.1.20", "")
	foreign := l.Host("foreign", "10.99.0.10", "fd00:99::10")
	near := l.Host("near", "", "")
	l.Link("lan", []*lab.Host{scanner, near}, []string{"10.70.0.1/24,fd00:70::1/64", "10.70.0.200/24,fd00:70::200/64"})
	foreign.Nginx(lab.Web{Port: 80, TLS: 443, Name: "www.foreign.example"})
	web.Nginx(lab.Web{Port: 80, TLS: 443, Name: "www.foreign.example", Redirect: "http://10.99.0.10/"})
	web.Nginx(lab.Web{Port: 8080, Redirect: "http://www.foreign.example/"})
	web.Nginx(lab.Web{Port: 8081, Redirect: "http://[fd00:99::10]/"})
	dns.Bind(
		lab.Zone{Name: "u1.example", Records: "www IN A 10.60.1.10\nout IN A 10.99.0.10\nout IN AAAA fd00:99::10\nalias IN CNAME www.foreign.example.\n@ IN MX 10 www.foreign.example.\n"},
		lab.Zone{Name: "foreign.example", Records: "www IN A 10.99.0.10\nwww IN AAAA fd00:99::10\n"},
		lab.Reverse(map[string]string{"10.60.1.10": "www.foreign.example"}))
	in := inside{
		Units: units,
		Networks: []schemas.Network{
			network("10.60.1.0/27", "u1", true), network("fd00:60::/64", "u1", true), network("10.99.0.0/16", "edu", false),
			// Of the own link: half of IPv4, and IPv6 but for one address.
			network("10.70.0.0/25", "u1", true), network("fd00:70::/64", "u1", true), network("fd00:70::200/128", "u1", false),
		},
		Domains: []schemas.Domain{{Name: "u1.example", Unit: "u1", Scan: true}},
	}
	names := sweepTask("1", "")
	names.Kind, names.Names = schemas.TaskNames, []string{"u1.example", "out.u1.example", "alias.u1.example", "www.foreign.example"}
	ptr := sweepTask("2", "", "10.60.1.0/27")
	ptr.Kind = schemas.TaskNames
	confirm := sweepTask("3", "80,443", "10.60.1.10", "10.99.0.10", "fd00:99::10")
	confirm.Kind = schemas.TaskConfirm
	in.Tasks = []schemas.ScanTask{
		names, ptr, confirm,
		sweepTask("4", "80,443,8080,8081", "10.60.1.0/27"), sweepTask("5", "80,443,8080,8081", "fd00:60::10", "fd00:99::10"),
		sweepTask("6", "80", "10.70.0.0/25"), sweepTask("7", "80", "10.70.0.128/25"), sweepTask("8", "80", "fd00:70::200", "fd00:70::100"),
	}
	authorised := []netip.Prefix{
		netip.MustParsePrefix("10.60.1.0/27"), netip.MustParsePrefix("fd00:60::/64"), netip.MustParsePrefix("10.70.0.0/25"), netip.MustParsePrefix("fd00:70::100/128"),
	}
	for _, discovery := range []sweep.Discovery{sweep.Auto, sweep.Quick} {
		t.Run(string(discovery), func(t *testing.T) {
			in := in
			in.Config = config(sweep.Connect)
			in.Config.Discovery = discovery
			in.Config.Resolvers = []string{dns.IP4.String()}
			sniffer := scanner.Sniff()
			s := runInside(t, scanner, in)
			sent := elsewhere(t, sniffer)
			for _, own := range []string{"10.70.0.1", "fd00:70::1"} { // over loopback
				delete(sent, netip.MustParseAddr(own))
			}
			inside, probes := 0, s.Metrics["fengsui_scanner_probes_total"]
			for ip, n := range sent {
				if slices.ContainsFunc(authorised, func(p netip.Prefix) bool { return p.Contains(ip) }) {
					inside += n
				} else {
					t.Errorf("%d packets to %s, which is outside the scope", n, ip)
				}
			}
			if inside < 200 || probes < 100 {
				t.Errorf("%d packets and %v probes: the counter does not count", inside, probes)
			}
			for _, o := range s.Observations {
				if o.IP.IsValid() && !slices.ContainsFunc(authorised, func(p netip.Prefix) bool { return p.Contains(o.IP) }) {
					t.Errorf("something was seen outside: %s", what(o))
				}
			}
			if e := s.Errors[6]; !strings.Contains(e, ErrRefused.Error()) {
				t.Errorf("the other half of the link: %q", e)
			}
			sniffer.Close()
		})
	}
}

// Where something answers on every port, or one port answers on every address,
// nothing is invented, and what is really there is found.
func TestFakes(t *testing.T) {
	lab.Require(t, "nft", "nginx", "redis-server")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "")
	proxy := l.Host("proxy", "10.60.1.10", "")
	proxy.Listen(9)
	proxy.Nginx(lab.Web{Port: 80})
	proxy.Rules("table ip t { chain p { type nat hook prerouting priority -100; ip daddr 10.60.1.10 tcp dport != 80 redirect to :9; }; }")
	many := l.Host("many", "10.60.2.1", "")
	for i := 2; i < 32; i++ {
		many.AddAddress(fmt.Sprintf("10.60.2.%d", i))
	}
	for _, p := range []int{25, 110, 143} {
		many.Listen(p)
	}
	mail := l.Host("mail", "10.60.2.0", "")
	mail.Listen(25, "220 mail.u1.example ESMTP\r\n")
	mail.Listen(110)
	mail.Listen(143)
	mail.Redis()
	in := inside{
		Units: units, Config: config(sweep.Connect),
		Networks:  []schemas.Network{network("10.60.1.0/24", "u1", true), network("10.60.2.0/24", "u1", true)},
		Whitelist: []schemas.WhitelistEntry{{Kind: schemas.WhitelistHost, Host: netip.MustParsePrefix("10.60.2.7/32"), Unit: "u1"}},
	}
	confirm := sweepTask("3", "443", "10.60.1.10")
	confirm.Kind = schemas.TaskConfirm
	in.Tasks = []schemas.ScanTask{sweepTask("1", "22,25,80,443,3306,8080", "10.60.1.10"), sweepTask("2", "25,80,110,143,6379", "10.60.2.0/27"), confirm}
	s := runInside(t, scanner, in)
	const all = "10.60.1.10 up=true connect  answers on every port: 8 of 8 random ones took a connection"
	silent := func(ports string) string {
		return "takes connections and is silent, as nearly every address here, on " + ports
	}
	want := []string{
		all, all, "10.60.1.10 80 open=true",
		"10.60.2.0 up=true connect  " + silent("110,143"), "10.60.2.0 25 open=true", "10.60.2.0 6379 open=true",
	}
	for i := 1; i < 32; i++ { // they refuse port 80, and so are there
		want = append(want, fmt.Sprintf("10.60.2.%d up=true connect  %s", i, silent("25,110,143")))
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, sights(s.Observations)); diff != "" || strings.Join(s.Errors, "") != "" {
		t.Errorf("%v, want-, got+:\n%s", s.Errors, diff)
	}
	for _, o := range s.Observations {
		switch {
		case o.Kind == schemas.ObservedSweep && o.IP == proxy.IP4:
			t.Errorf("ports of %s are said to be closed: %s", o.IP, o.Ports)
		case o.Kind == schemas.ObservedSweep && o.IP == mail.IP4 && o.Ports != "25,80,6379",
			o.Kind == schemas.ObservedSweep && o.IP == many.IP4 && o.Ports != "80,6379":
			t.Errorf("%s: swept %s", o.IP, o.Ports)
		}
	}
	for what, want := range map[string]float64{"host": 2, "port": 2 + 1 + 31*3} {
		if n := s.Metrics["fengsui_scanner_doubted_total{what="+what+"}"]; n < want || what == "host" && n != want {
			t.Errorf("%v of %s are doubted, want %v", n, what, want)
		}
	}
}

// Eight kinds of real services, every port of both families: what nmap finds and
// what runs, no more and no less.
func TestRealServicesAgreeWithNmap(t *testing.T) {
	lab.Require(t, "nmap", "nginx", "redis-server", "sshd", "named", "memcached", "lighttpd", "mosquitto", "vsftpd")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	h := l.Host("all", "10.60.1.10", "fd00:60::10")
	h.Nginx(lab.Web{Port: 80, TLS: 443})
	h.SSHD()
	h.Redis()
	h.Bind()
	h.Program(11211, "memcached", "-u", "root", "-l", "0.0.0.0,[::]", "-m", "8", "-t", "1")
	h.Program(8088, "lighttpd", "-D", "-f", h.File("lighttpd.conf",
		"server.document-root = \"/nonexistent\"\nserver.port = 8088\n$SERVER[\"socket\"] == \"[::]:8088\" { }\n"))
	h.Program(1883, "mosquitto", "-c", h.File("mosquitto.conf", "listener 1883\nallow_anonymous true\nuser root\n"))
	h.Program(21, "vsftpd", h.File("vsftpd.conf",
		"listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=NO\nlocal_enable=YES\nsecure_chroot_dir="+t.TempDir()+"\n"))
	h.Listen(61234, "who knows\r\n")
	want := []int{21, 22, 53, 80, 443, 1883, 6379, 8088, 11211, 61234}
	in := inside{
		Units: units, Config: config(sweep.Connect),
		Networks: []schemas.Network{network("10.60.1.0/24", "u1", true), network("fd00:60::/64", "u1", true)},
		Tasks:    []schemas.ScanTask{sweepTask("1", "all", h.IP4.String()), sweepTask("2", "all", h.IP6.String())},
	}
	in.Config.Rate, in.Config.HostRate = 20_000, 0
	s := runInside(t, scanner, in)
	for family, ip := range map[string]netip.Addr{"-4": h.IP4, "-6": h.IP6} {
		var ours []int
		for _, o := range s.Observations {
			if o.Kind == schemas.ObservedPort && o.IP == ip {
				ours = append(ours, o.Port)
			}
		}
		args := []string{"-n", "-Pn", "-sT", "-T4", "-p-", "-oG", "-", ip.String()}
		if family == "-6" {
			args = append([]string{"-6"}, args...)
		}
		out, err := scanner.Command("nmap", args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		theirs := grepable(string(out))
		slices.Sort(ours)
		if diff := cmp.Diff(theirs, ours); diff != "" {
			t.Errorf("%s: nmap-, ours+:\n%s", ip, diff)
		}
		if diff := cmp.Diff(want, ours); diff != "" {
			t.Errorf("%s: runs-, ours+:\n%s", ip, diff)
		}
	}
}

// grepable is the open ports of nmap's -oG.
func grepable(text string) (out []int) {
	for line := range strings.Lines(text) {
		_, ports, ok := strings.Cut(line, "Ports: ")
		if !ok {
			continue
		}
		for item := range strings.SplitSeq(ports, ",") {
			var port int
			if n, _ := fmt.Sscanf(strings.TrimSpace(item), "%d/open/", &port); n == 1 && strings.Contains(item, "/open/") {
				out = append(out, port)
			}
		}
	}
	slices.Sort(out)
	return out
}
