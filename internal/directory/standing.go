package directory

import (
	"net/netip"
	"strings"
	"time"

	"fengsui/schemas"
)

// Standing is what the whitelist says of something that is there.
type Standing int

// The standings.
const (
	Unlisted Standing = iota
	Expired           // an entry allowed it, and has ended
	Allowed
)

// standing looks at entries, the most telling first.
type standing struct {
	at    time.Time
	entry *schemas.WhitelistEntry
	is    Standing
}

// take looks at one entry and says whether nothing can tell more.
func (s *standing) take(w *schemas.WhitelistEntry) bool {
	switch {
	case w.In(s.at):
		s.entry, s.is = w, Allowed
		return true
	case s.is == Unlisted && !w.Until.IsZero() && !s.at.Before(w.Until):
		s.entry, s.is = w, Expired
	}
	return false
}

// HostStanding is that of an address which answers, with the entry that says so:
// the host's own, or one of a port of it; the most specific block first. The
// entry must not be changed.
func (s *Snapshot) HostStanding(ip netip.Addr, at time.Time) (*schemas.WhitelistEntry, Standing) {
	found := standing{at: at}
	for l := range s.listings(ip) {
		if l.host != nil && found.take(l.host) {
			return found.entry, found.is
		}
		for _, w := range l.ports {
			if found.take(w) {
				return found.entry, found.is
			}
		}
	}
	return found.entry, found.is
}

// PortStanding is that of an open port; an entry of a host allows no port.
func (s *Snapshot) PortStanding(ip netip.Addr, transport string, port int, at time.Time) (*schemas.WhitelistEntry, Standing) {
	found := standing{at: at}
	for l := range s.listings(ip) {
		for _, w := range l.ports {
			if w.Port == port && w.Transport == transport && found.take(w) {
				return found.entry, found.is
			}
		}
	}
	return found.entry, found.is
}

// DomainStanding is that of a name which is there.
func (s *Snapshot) DomainStanding(name string, at time.Time) (*schemas.WhitelistEntry, Standing) {
	found := standing{at: at}
	name = schemas.CanonicalName(name)
	if w := s.names[name]; w != nil && found.take(w) {
		return found.entry, found.is
	}
	for {
		_, above, ok := strings.Cut(name, ".")
		if !ok {
			return found.entry, found.is
		}
		if w := s.belows[above]; w != nil && found.take(w) {
			return found.entry, found.is
		}
		name = above
	}
}

// Listing says whether the whitelist has an entry, in force or not, of exactly an
// address.
func (s *Snapshot) Listing(ip netip.Addr) bool {
	ip = plain(ip)
	if !ip.IsValid() {
		return false
	}
	_, ok := s.hosts.Get(netip.PrefixFrom(ip, ip.BitLen()))
	return ok
}
