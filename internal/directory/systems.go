package directory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"github.com/gaissmai/bart"

	"fengsui/schemas"
)

// systems is the information systems, and what leads to them. Where several
// share a name or a block those in use come before the retired ones, and then
// they are in the order of their codes.
type systems struct {
	order  []schemas.System // by code
	codes  map[string]*schemas.System
	names  map[string][]*schemas.System // by name
	belows map[string][]*schemas.System // "*.name", by the name
	blocks bart.Table[[]*schemas.System]
}

func (s *systems) index() {
	s.codes, s.names, s.belows = map[string]*schemas.System{}, map[string][]*schemas.System{}, map[string][]*schemas.System{}
	ranked := make([]*schemas.System, len(s.order))
	for i := range s.order {
		ranked[i] = &s.order[i]
		s.codes[s.order[i].Code] = &s.order[i]
	}
	slices.SortStableFunc(ranked, func(a, b *schemas.System) int { return cmp.Compare(rank(a), rank(b)) })
	for _, one := range ranked {
		for _, name := range one.Domains {
			if above, wild := strings.CutPrefix(name, "*."); wild {
				s.belows[above] = append(s.belows[above], one)
			} else {
				s.names[name] = append(s.names[name], one)
			}
		}
		for _, p := range one.Addresses {
			there, _ := s.blocks.Get(p)
			s.blocks.Insert(p, append(there, one))
		}
	}
}

func rank(s *schemas.System) int {
	if s.State == schemas.SystemRetired {
		return 1
	}
	return 0
}

// Systems is every information system, by code.
func (s *Snapshot) Systems() []schemas.System { return s.systems.order }

// System finds an information system by its code.
func (s *Snapshot) System(code string) (schemas.System, bool) { return given(s.systems.codes[code]) }

// SystemOfName finds the system that a name belongs to, in whatever state it is:
// one that has the name itself, or the nearest "*." above it.
func (s *Snapshot) SystemOfName(name string) (schemas.System, bool) {
	name = schemas.CanonicalName(name)
	if found := s.systems.names[name]; len(found) > 0 {
		return *found[0], true
	}
	for {
		_, above, ok := strings.Cut(name, ".")
		if !ok {
			return schemas.System{}, false
		}
		if found := s.systems.belows[above]; len(found) > 0 {
			return *found[0], true
		}
		name = above
	}
}

// SystemsAt is every system of the most specific block that holds an address.
func (s *Snapshot) SystemsAt(ip netip.Addr) []schemas.System {
	found, _ := s.systems.blocks.Lookup(plain(ip))
	out := make([]schemas.System, len(found))
	for i, one := range found {
		out[i] = *one
	}
	return out
}

// SystemOfPort finds the system that a port of an address belongs to, in
// whatever state it is: one that names the port, from the most specific block
// on, else one that names no ports.
func (s *Snapshot) SystemOfPort(ip netip.Addr, transport string, port int) (schemas.System, bool) {
	ip = plain(ip)
	if !s.systems.blocks.Contains(ip) {
		return schemas.System{}, false
	}
	var open *schemas.System
	for _, found := range s.systems.blocks.Supernets(netip.PrefixFrom(ip, ip.BitLen())) {
		for _, one := range found {
			if slices.Contains(one.Ports, schemas.PortName{Port: port, Transport: transport}) {
				return *one, true
			}
			if open == nil && len(one.Ports) == 0 {
				open = one
			}
		}
	}
	return given(open)
}

func given(s *schemas.System) (schemas.System, bool) {
	if s == nil {
		return schemas.System{}, false
	}
	return *s, true
}
