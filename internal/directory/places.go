package directory

import "fengsui/schemas"

// SamePlaces says whether two snapshots have the same units, networks, domains and
// systems: what was worked out of these for the one holds for the other.
func (s *Snapshot) SamePlaces(other *Snapshot) bool {
	return s == other || s != nil && other != nil && s.places == other.places
}

// AllDomains is every registered domain, whoever owns it, by name.
func (s *Snapshot) AllDomains() []schemas.Domain { return s.byName }

// Places is the snapshot without what is whitelisted and decided: who keeps it for
// long keeps little.
func (s *Snapshot) Places() *Snapshot {
	return &Snapshot{places: s.places, whitelist: newWhitelist(nil)}
}
