package directory

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"fengsui/schemas"
)

// Snapshot is the registry at one moment. It is safe for concurrent use; what
// it returns must not be changed.
type Snapshot struct {
	*places
	*whitelist
	decisions map[string]*schemas.DriftDecision // by drift
}

// places is who owns what: everything of a snapshot but what is allowed.
type places struct {
	units    map[string]*unit
	order    []schemas.Unit // by code
	networks bart.Table[*schemas.Network]
	byPrefix []schemas.Network // in CIDR order
	domains  map[string]*schemas.Domain
	byName   []schemas.Domain // by name
	policies

	systems systems
}

type unit struct {
	schemas.Unit
	parent   *unit
	children []schemas.Unit // by code
}

// NewSnapshot makes a snapshot of records that did not come from the topic. It
// is an error when one of them is invalid, given twice or (a unit) its own
// ancestor.
func NewSnapshot(units []schemas.Unit, networks []schemas.Network, domains []schemas.Domain, whitelist []schemas.WhitelistEntry, systems ...schemas.System) (*Snapshot, error) {
	records := map[string]schemas.RegistryRecord{}
	var errs []error
	add := func(r schemas.RegistryRecord) {
		key := RecordKey(r)
		if err := check(&r); err != nil {
			errs = append(errs, err)
		} else if _, twice := records[key]; twice {
			errs = append(errs, fmt.Errorf("%s is given twice", key))
		}
		records[key] = r
	}
	for i := range units {
		add(schemas.RegistryRecord{Unit: &units[i]})
	}
	for i := range networks {
		add(schemas.RegistryRecord{Network: &networks[i]})
	}
	for i := range domains {
		add(schemas.RegistryRecord{Domain: &domains[i]})
	}
	for i := range whitelist {
		add(schemas.RegistryRecord{Whitelist: &whitelist[i]})
	}
	for i := range systems {
		add(schemas.RegistryRecord{System: &systems[i]})
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	s := build(records)
	for code, u := range s.units {
		if u.Parent != "" && u.parent == nil && s.units[u.Parent] != nil {
			return nil, fmt.Errorf("unit %q is its own ancestor", code)
		}
	}
	return s, nil
}

// build makes a snapshot of checked records. It copies them.
func build(records map[string]schemas.RegistryRecord) *Snapshot {
	var own, entries, decided map[string]schemas.RegistryRecord
	own, entries, decided = map[string]schemas.RegistryRecord{}, map[string]schemas.RegistryRecord{}, map[string]schemas.RegistryRecord{}
	for key, r := range records {
		switch {
		case r.Whitelist != nil:
			entries[key] = r
		case r.Decision != nil:
			decided[key] = r
		default:
			own[key] = r
		}
	}
	return &Snapshot{places: newPlaces(own), whitelist: newWhitelist(entries), decisions: decide(nil, decided)}
}

func newPlaces(records map[string]schemas.RegistryRecord) *places {
	s := &places{units: map[string]*unit{}, domains: map[string]*schemas.Domain{}}
	for _, key := range slices.Sorted(maps.Keys(records)) {
		r := records[key]
		switch {
		case r.Unit != nil:
			s.order = append(s.order, *r.Unit)
		case r.Network != nil:
			s.byPrefix = append(s.byPrefix, *r.Network)
		case r.Domain != nil:
			s.byName = append(s.byName, *r.Domain)
		case r.System != nil:
			s.systems.order = append(s.systems.order, *r.System)
		}
	}
	s.systems.index()
	slices.SortFunc(s.byPrefix, func(a, b schemas.Network) int {
		return cmp.Or(a.Prefix.Addr().Compare(b.Prefix.Addr()), cmp.Compare(a.Prefix.Bits(), b.Prefix.Bits()))
	})
	s.link()
	for i := range s.byPrefix {
		s.networks.Insert(s.byPrefix[i].Prefix, &s.byPrefix[i])
		s.policies.network(&s.byPrefix[i])
	}
	for i := range s.byName {
		s.domains[s.byName[i].Name] = &s.byName[i]
		s.policies.domain(&s.byName[i])
	}
	return s
}

// link makes the tree. Records come in any order and one at a time, so a parent
// may be unknown for a while and a move of two units may look like a circle:
// such a unit has no parent until the rest arrives.
func (s *places) link() {
	for _, u := range s.order {
		s.units[u.Code] = &unit{Unit: u}
	}
	for _, u := range s.order {
		child, parent := s.units[u.Code], s.units[u.Parent]
		if parent == nil || parent.under(child) {
			continue
		}
		child.parent = parent
		parent.children = append(parent.children, u)
	}
}

func (u *unit) under(ancestor *unit) bool {
	for ; u != nil; u = u.parent {
		if u == ancestor {
			return true
		}
	}
	return false
}

// Unit finds a unit by its code.
func (s *Snapshot) Unit(code string) (schemas.Unit, bool) {
	u := s.units[code]
	if u == nil {
		return schemas.Unit{}, false
	}
	return u.Unit, true
}

// Units is every unit, by code.
func (s *Snapshot) Units() []schemas.Unit { return s.order }

// Children is the units directly below one, by code.
func (s *Snapshot) Children(code string) []schemas.Unit {
	if u := s.units[code]; u != nil {
		return u.children
	}
	return nil
}

// Path is the unit's code and those of all units above it, to the root.
func (s *Snapshot) Path(code string) []string {
	var out []string
	for u := s.units[code]; u != nil; u = u.parent {
		out = append(out, u.Code)
	}
	return out
}

// TagsOf is what the registry says of an address: the name of its network and
// the services that it is listed with, each once.
func (s *Snapshot) TagsOf(ip netip.Addr) []string {
	var out []string
	if n, ok := s.NetworkOf(ip); ok && n.Name != "" {
		out = append(out, n.Name)
	}
	for _, w := range s.ListedAt(ip) {
		if w.Service != "" && !slices.Contains(out, w.Service) {
			out = append(out, w.Service)
		}
	}
	return out
}

// Under says whether a unit is the ancestor or somewhere below it. Nothing is
// under the empty code.
func (s *Snapshot) Under(code, ancestor string) bool {
	if ancestor == "" {
		return false
	}
	if code == ancestor {
		return true
	}
	a := s.units[ancestor]
	return a != nil && s.units[code].under(a)
}

// NetworkOf is the most specific registered network that holds an address.
func (s *Snapshot) NetworkOf(ip netip.Addr) (schemas.Network, bool) {
	n, ok := s.networks.Lookup(plain(ip))
	if !ok {
		return schemas.Network{}, false
	}
	return *n, true
}

// UnitOf is the unit that an address belongs to, or "".
func (s *Snapshot) UnitOf(ip netip.Addr) string {
	if n, ok := s.networks.Lookup(plain(ip)); ok {
		return n.Unit
	}
	return ""
}

// DomainOf is the most specific registered domain that is the name or above it.
func (s *Snapshot) DomainOf(name string) (schemas.Domain, bool) {
	for above := range upwards(schemas.CanonicalName(name)) {
		if d := s.domains[above]; d != nil {
			return *d, true
		}
	}
	return schemas.Domain{}, false
}

// upwards goes through a name and the names above it.
func upwards(name string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for ; name != "" && yield(name); _, name, _ = strings.Cut(name, ".") {
		}
	}
}

// Networks is the networks of a unit, with below also those of all units under
// it, in CIDR order.
func (s *Snapshot) Networks(code string, below bool) []schemas.Network {
	return owned(s, s.byPrefix, code, below, func(n *schemas.Network) string { return n.Unit })
}

// AllNetworks is every registered network, whoever owns it, in CIDR order.
func (s *Snapshot) AllNetworks() []schemas.Network { return s.byPrefix }

// Domains is the domains of a unit, with below also those of all units under
// it, by name.
func (s *Snapshot) Domains(code string, below bool) []schemas.Domain {
	return owned(s, s.byName, code, below, func(d *schemas.Domain) string { return d.Unit })
}

// WhitelistIn is the entries of a unit and of all units under it, by key.
func (s *Snapshot) WhitelistIn(code string) []schemas.WhitelistEntry {
	return owned(s, s.all(), code, true, func(w *schemas.WhitelistEntry) string { return w.Unit })
}

// Whitelist is every entry, by key, in force or not.
func (s *Snapshot) Whitelist() []schemas.WhitelistEntry { return s.all() }

func owned[T any](s *Snapshot, all []T, code string, below bool, owner func(*T) string) []T {
	var out []T
	for i := range all {
		if o := owner(&all[i]); o == code || below && s.Under(o, code) {
			out = append(out, all[i])
		}
	}
	return out
}

// Internal says whether an address is on our side: in a registered network, or
// private (RFC 1918, RFC 4193), since a log only holds the private addresses of
// its own network.
func (s *Snapshot) Internal(ip netip.Addr) bool {
	ip = plain(ip)
	return ip.IsPrivate() || s.networks.Contains(ip)
}

// WhitelistedDomain finds the entry in force at a time that allows a name: its
// own, or the nearest "*." entry above it.
func (s *Snapshot) WhitelistedDomain(name string, at time.Time) (schemas.WhitelistEntry, bool) {
	name = schemas.CanonicalName(name)
	if w := s.names[name]; w != nil && w.In(at) {
		return *w, true
	}
	for {
		_, above, ok := strings.Cut(name, ".")
		if !ok {
			return schemas.WhitelistEntry{}, false
		}
		if w := s.belows[above]; w != nil && w.In(at) {
			return *w, true
		}
		name = above
	}
}

// WhitelistedHost finds the entry in force at a time that allows an address to
// be up: the host's own, or one of a port of it; the most specific block first.
func (s *Snapshot) WhitelistedHost(ip netip.Addr, at time.Time) (schemas.WhitelistEntry, bool) {
	for l := range s.listings(ip) {
		if l.host != nil && l.host.In(at) {
			return *l.host, true
		}
		for _, w := range l.ports {
			if w.In(at) {
				return *w, true
			}
		}
	}
	return schemas.WhitelistEntry{}, false
}

// WhitelistedPort finds the entry in force at a time that allows a port of an
// address to be open. An entry of a block applies to every address in it; the
// most specific comes first. A host entry allows no port.
func (s *Snapshot) WhitelistedPort(ip netip.Addr, transport string, port int, at time.Time) (schemas.WhitelistEntry, bool) {
	for l := range s.listings(ip) {
		for _, w := range l.ports {
			if w.Port == port && w.Transport == transport && w.In(at) {
				return *w, true
			}
		}
	}
	return schemas.WhitelistEntry{}, false
}

// ListedAt is the host and port entries of exactly one address, in force or not:
// what is expected to be there. Entries of larger blocks allow, but do not expect.
func (s *Snapshot) ListedAt(ip netip.Addr) []schemas.WhitelistEntry {
	ip = plain(ip)
	if !ip.IsValid() {
		return nil
	}
	l, ok := s.hosts.Get(netip.PrefixFrom(ip, ip.BitLen()))
	if !ok {
		return nil
	}
	var out []schemas.WhitelistEntry
	if l.host != nil {
		out = append(out, *l.host)
	}
	for _, w := range l.ports {
		out = append(out, *w)
	}
	return out
}

// ListedName is the entry of exactly one name, in force or not.
func (s *Snapshot) ListedName(name string) (schemas.WhitelistEntry, bool) {
	w := s.names[schemas.CanonicalName(name)]
	if w == nil {
		return schemas.WhitelistEntry{}, false
	}
	return *w, true
}

// Expiring is the entries whose end comes after now and within a time from it,
// the nearest end first.
func (s *Snapshot) Expiring(now time.Time, within time.Duration) []schemas.WhitelistEntry {
	var out []schemas.WhitelistEntry
	for _, e := range s.entries {
		if w := *e; w.Until.After(now) && !w.Until.After(now.Add(within)) {
			out = append(out, w)
		}
	}
	slices.SortStableFunc(out, func(a, b schemas.WhitelistEntry) int { return a.Until.Compare(b.Until) })
	return out
}

// plain is the address as tables hold it: an IPv4 address as one, no zone.
func plain(ip netip.Addr) netip.Addr { return ip.Unmap().WithZone("") }
