package assets

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Ports is a set of ports as a task or a sweep writes it.
type Ports []portRange

type portRange struct{ first, last int }

// ParsePorts reads "22,80,1000-2000".
func ParsePorts(s string) (Ports, error) {
	var out Ports
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(high, 10, 16); err != nil {
				return nil, err
			}
		}
		out = append(out, portRange{int(first), int(last)})
	}
	return out, nil
}

// Has says whether a port is in the set.
func (p Ports) Has(port int) bool {
	return slices.ContainsFunc(p, func(r portRange) bool { return r.first <= port && port <= r.last })
}

// First is the first n ports of the set, as it is written.
func (p Ports) First(n int) []int {
	var out []int
	for _, r := range p {
		for port := r.first; port <= r.last && len(out) < n; port++ {
			out = append(out, port)
		}
	}
	return out
}

// reverseAddr is the address that a name of in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5) stands for.
func reverseAddr(name string) (netip.Addr, bool) {
	if text, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(text, ".")
		slices.Reverse(labels)
		ip, err := netip.ParseAddr(strings.Join(labels, "."))
		return ip, err == nil && ip.Is4()
	}
	if text, ok := strings.CutSuffix(name, ".ip6.arpa"); ok && len(text) == 63 {
		var b strings.Builder
		for i := 62; i >= 0; i -= 2 {
			b.WriteByte(text[i])
			if i%8 == 0 && i > 0 {
				b.WriteByte(':')
			}
		}
		ip, err := netip.ParseAddr(b.String())
		return ip, err == nil
	}
	return netip.Addr{}, false
}
