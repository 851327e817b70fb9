// Package portset is a set of ports as people and records write it:
// "22,80,1000-2000", and where UDP ports are meant too "22,80,u:53,161".
//
// It knows no service and touches no network.
package portset

import (
	"errors"
	"fmt"
	"iter"
	"math/bits"
	"strconv"
	"strings"
)

// Last is the highest port; 0 is none.
const Last = 65535

// maxText bounds what Parse reads: every port by itself is 382 KB long.
const maxText = 512 << 10

// Set is a set of ports 1 to 65535. The zero value is empty; a copy is its own.
type Set struct {
	words [1024]uint64
}

// Of is the set of the given ports; those that are no port are left out.
func Of(ports ...int) Set {
	var s Set
	for _, p := range ports {
		s.Add(p)
	}
	return s
}

// All is every port.
func All() Set {
	var s Set
	s.addRange(1, Last)
	return s
}

// Parse reads ports and ranges between commas; "all" is every port.
func Parse(text string) (Set, error) {
	var s Set
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return s, errors.New("no ports")
	case text == "all":
		return All(), nil
	case len(text) > maxText:
		return s, fmt.Errorf("ports: %d bytes of text, at most %d", len(text), maxText)
	}
	for item := range strings.SplitSeq(text, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(item), "-")
		from, err := parsePort(low)
		if err != nil {
			return Set{}, err
		}
		to := from
		if isRange {
			if to, err = parsePort(high); err != nil {
				return Set{}, err
			}
		}
		if from > to {
			return Set{}, fmt.Errorf("ports: %q runs backwards", item)
		}
		s.addRange(from, to)
	}
	return s, nil
}

// ParseBoth reads TCP ports and, after "u:", UDP ports. Either may be missing,
// not both. "t:" goes back to TCP.
func ParseBoth(text string) (tcp, udp Set, err error) {
	if len(text) > maxText {
		return tcp, udp, fmt.Errorf("ports: %d bytes of text, at most %d", len(text), maxText)
	}
	lists := map[string][]string{}
	of := "t"
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		if kind, rest, found := strings.Cut(item, ":"); found {
			if kind != "t" && kind != "u" {
				return tcp, udp, fmt.Errorf("ports: %.20q is neither t: nor u:", item)
			}
			of, item = kind, rest
		}
		lists[of] = append(lists[of], item)
	}
	if lists["t"] != nil {
		if tcp, err = Parse(strings.Join(lists["t"], ",")); err != nil {
			return Set{}, Set{}, err
		}
	}
	if lists["u"] != nil {
		if udp, err = Parse(strings.Join(lists["u"], ",")); err != nil {
			return Set{}, Set{}, err
		}
	}
	return tcp, udp, nil
}

// Both is two sets as ParseBoth reads them; "" when both are empty.
func Both(tcp, udp Set) string {
	switch {
	case udp.Len() == 0:
		return tcp.String()
	case tcp.Len() == 0:
		return "u:" + udp.String()
	}
	return tcp.String() + ",u:" + udp.String()
}

func parsePort(text string) (int, error) {
	for _, c := range []byte(text) {
		if c < '0' || c > '9' {
			return 0, fmt.Errorf("ports: %.20q is not a port", text)
		}
	}
	p, err := strconv.Atoi(text)
	if err != nil || p < 1 || p > Last {
		return 0, fmt.Errorf("ports: %.20q is not a port from 1 to %d", text, Last)
	}
	return p, nil
}

// Add puts a port into the set; what is no port is left out.
func (s *Set) Add(port int) {
	if port >= 1 && port <= Last {
		s.words[port/64] |= 1 << (port % 64)
	}
}

// Union puts all ports of another set in.
func (s *Set) Union(other *Set) {
	for i := range s.words {
		s.words[i] |= other.words[i]
	}
}

func (s *Set) addRange(from, to int) {
	for p := from; p <= to; p++ {
		s.Add(p)
	}
}

// Contains says whether a port is in the set.
func (s *Set) Contains(port int) bool {
	return port >= 1 && port <= Last && s.words[port/64]&(1<<(port%64)) != 0
}

// Len is the number of ports.
func (s *Set) Len() int {
	n := 0
	for _, w := range s.words {
		n += bits.OnesCount64(w)
	}
	return n
}

// Each goes through the ports, the lowest first.
func (s *Set) Each() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, w := range s.words {
			for ; w != 0; w &= w - 1 {
				if !yield(i*64 + bits.TrailingZeros64(w)) {
					return
				}
			}
		}
	}
}

// String is the set as Parse reads it, shortest and in order; "" when empty.
func (s *Set) String() string {
	var b strings.Builder
	from, last := 0, -1
	flush := func() {
		if from == 0 {
			return
		}
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(from))
		if last > from {
			b.WriteByte('-')
			b.WriteString(strconv.Itoa(last))
		}
	}
	for p := range s.Each() {
		if p != last+1 {
			flush()
			from = p
		}
		last = p
	}
	flush()
	return b.String()
}
