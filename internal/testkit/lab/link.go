package lab

import (
	"net/netip"
	"strconv"
	"strings"
)

// Link joins hosts by one more Ethernet link, on which they are neighbours: a
// switch in a namespace of its own. Each gets the address of the same place in
// the list, of IPv4 or IPv6 or both between commas, with the length of the link's
// prefix ("192.0.2.1/24,2001:db8::1/64"), on an interface of the link's name.
func (l *Lab) Link(name string, hosts []*Host, addresses []string) {
	l.t.Helper()
	if len(hosts) != len(addresses) {
		l.t.Fatalf("lab: link %s: %d hosts and %d addresses", name, len(hosts), len(addresses))
	}
	ns := l.namespace(name)
	l.must("ip", "-n", ns, "link", "add", "br0", "type", "bridge")
	l.must("ip", "-n", ns, "link", "set", "br0", "type", "bridge", "mcast_snooping", "0")
	l.must("ip", "-n", ns, "link", "set", "br0", "up")
	for i, h := range hosts {
		port := "p" + strconv.Itoa(i)
		l.must("ip", "-n", ns, "link", "add", port, "type", "veth", "peer", "name", name, "netns", h.NS)
		l.must("ip", "-n", ns, "link", "set", port, "master", "br0", "up")
		l.set(h.NS, "net/ipv6/conf/"+name+"/accept_dad", "0")
		l.must("ip", "-n", h.NS, "link", "set", name, "up")
		for _, a := range strings.Split(addresses[i], ",") {
			p, err := netip.ParsePrefix(a)
			if err != nil {
				l.t.Fatalf("lab: link %s: %v", name, err)
			}
			args := []string{"-n", h.NS, "addr", "add", p.String(), "dev", name}
			if p.Addr().Is6() {
				args = append(args, "nodad")
			}
			l.must("ip", args...)
		}
	}
}

// Rules loads nftables' rules on the host, in place of those that were there.
func (h *Host) Rules(rules string) {
	h.lab.t.Helper()
	Require(h.lab.t, "nft")
	h.nft(h.NS, rules)
}

// Rules loads nftables' rules on the router, in place of those that were there.
func (l *Lab) Rules(rules string) {
	l.t.Helper()
	Require(l.t, "nft")
	h := Host{lab: l}
	h.nft(l.router, rules)
}

func (h *Host) nft(ns, rules string) {
	h.lab.t.Helper()
	nft, err := find("nft")
	if err != nil {
		h.lab.t.Fatalf("lab: %v", err)
	}
	h.lab.must("ip", "netns", "exec", ns, nft, "flush ruleset; "+rules)
}

// MAC is the hardware address of one of the host's interfaces.
func (h *Host) MAC(name string) string {
	h.lab.t.Helper()
	out, err := h.Command("cat", "/sys/class/net/"+name+"/address").Output()
	if err != nil {
		h.lab.t.Fatalf("lab: host %s: the hardware address of %s: %v", h.Name, name, err)
	}
	return strings.TrimSpace(string(out))
}
