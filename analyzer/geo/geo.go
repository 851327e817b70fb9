// Package geo tells where an address is and which autonomous system it belongs
// to: from MaxMind DB files (MaxMind's, DB-IP's and IPinfo's layouts), and before
// those from networks that the operator has listed in a CSV file.
//
// It is pure: bytes come in, places come out. Who reads the files and notices
// that they change is fengsui/analyzer/enrich.
package geo

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
)

// Place is what is known of an address. What is not known is empty or 0.
type Place struct {
	Country      string // ISO 3166-1 alpha-2, in capitals
	Region       string // its largest part: province, state
	City         string
	AS           int64 // number of the autonomous system
	Organization string
}

// Atlas is a number of files, of which the earlier go before the later. It does
// not change, and may be used at the same time. The nil Atlas knows nothing.
type Atlas struct {
	own   []*Networks
	world []*Database
	met   [1 << 14]atomic.Pointer[met] // by the address's hash; one takes another's place
}

// met is an address that was asked for, and what world says of it.
type met struct {
	ip    netip.Addr
	place Place
}

// NewAtlas puts files together. own go before world.
func NewAtlas(own []*Networks, world []*Database) *Atlas {
	if len(own) == 0 && len(world) == 0 {
		return nil
	}
	return &Atlas{own: own, world: world}
}

// Find is what the files say of an address. Where it lies is taken from one of
// them, and so is the autonomous system: the first that knows a country, and the
// first that knows a number. The error, of a damaged database, leaves what others
// say.
//
// Special addresses (private, shared, link-local, multicast …), and internal ones
// as the caller knows them, are nowhere in the world: of them only the operator's
// own networks tell.
func (a *Atlas) Find(ip netip.Addr, internal bool) (p Place, err error) {
	if a == nil {
		return p, nil
	}
	ip = ip.Unmap().WithZone("")
	for _, s := range a.own {
		p.add(s.Find(ip))
	}
	if internal || Special(ip) || p.Country != "" && p.AS != 0 {
		return p, nil
	}
	found, err := a.worldly(ip)
	p.add(&found)
	return p, err
}

// worldly is what the databases say of an address. An error is not remembered.
func (a *Atlas) worldly(ip netip.Addr) (p Place, err error) {
	if len(a.world) == 0 {
		return p, nil
	}
	sixteen := ip.As16()
	high, low := binary.LittleEndian.Uint64(sixteen[:8]), binary.LittleEndian.Uint64(sixteen[8:])
	at := &a.met[(high*0x9E3779B97F4A7C15^low)*0xC2B2AE3D27D4EB4F>>50]
	if m := at.Load(); m != nil && m.ip == ip {
		return m.place, nil
	}
	for _, s := range a.world {
		found, e := s.Find(ip)
		p.add(found)
		if e != nil {
			err = e
		}
	}
	if err == nil {
		at.Store(&met{ip, p})
	}
	return p, err
}

func (p *Place) add(q *Place) {
	if q == nil {
		return
	}
	if p.Country == "" {
		p.Country, p.Region, p.City = q.Country, q.Region, q.City
	}
	if p.AS == 0 {
		p.AS, p.Organization = q.AS, q.Organization
	}
}

// shared is the space between carriers and their customers (RFC 6598), future
// the one that nobody may use (RFC 1112).
var (
	shared = netip.MustParsePrefix("100.64.0.0/10")
	future = netip.MustParsePrefix("240.0.0.0/4")
)

// Special says that an address is nobody's place in the world. Those reserved for
// documentation are not meant: nobody knows a place of them, except who writes
// one for an exercise.
func Special(ip netip.Addr) bool {
	return !ip.IsGlobalUnicast() || ip.IsPrivate() || shared.Contains(ip) || future.Contains(ip)
}
