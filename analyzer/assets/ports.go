package assets

import (
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
