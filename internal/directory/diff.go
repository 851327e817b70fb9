package directory

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

// Changes is what differs between two snapshots, as places to look at anew.
type Changes struct {
	Prefixes  []netip.Prefix // of entries, networks and systems
	Names     []string       // exactly these
	Belows    []string       // these and every name below them
	Systems   []string       // codes
	Decisions []string       // ids of drifts
	Units     bool           // a unit came, went, moved or has another name
}

// Empty says that nothing differs.
func (c *Changes) Empty() bool {
	return len(c.Prefixes)+len(c.Names)+len(c.Belows)+len(c.Systems)+len(c.Decisions) == 0 && !c.Units
}

// Since is what changed from an earlier snapshot to this one.
func (s *Snapshot) Since(before *Snapshot) Changes {
	var c Changes
	if before.whitelist != s.whitelist {
		differences(before.entries, s.entries, func(a, b **schemas.WhitelistEntry) int { return strings.Compare((*a).Key(), (*b).Key()) },
			func(a, b **schemas.WhitelistEntry) bool { return *a == *b || **a == **b }, func(w **schemas.WhitelistEntry) { c.entry(*w) })
	}
	if before.places != s.places {
		c.owned(before.places, s.places)
	}
	for id, d := range s.decisions {
		if was := before.decisions[id]; was != d && (was == nil || *was != *d) {
			c.Decisions = append(c.Decisions, id)
		}
	}
	slices.Sort(c.Decisions)
	return c
}

func (c *Changes) owned(before, s *places) {
	differences(before.byPrefix, s.byPrefix, func(a, b *schemas.Network) int { return comparePrefix(a.Prefix, b.Prefix) },
		sameNetwork, func(n *schemas.Network) { c.Prefixes = append(c.Prefixes, n.Prefix) })
	differences(before.byName, s.byName, func(a, b *schemas.Domain) int { return strings.Compare(a.Name, b.Name) },
		sameDomain, func(d *schemas.Domain) { c.Belows = append(c.Belows, d.Name) })
	differences(before.systems.order, s.systems.order, func(a, b *schemas.System) int { return strings.Compare(a.Code, b.Code) }, sameSystem, c.system)
	differences(before.order, s.order, func(a, b *schemas.Unit) int { return strings.Compare(a.Code, b.Code) },
		func(a, b *schemas.Unit) bool { return *a == *b }, func(*schemas.Unit) { c.Units = true })
	slices.Sort(c.Systems)
	c.Systems = slices.Compact(c.Systems)
}

// Turned is the places of the whitelist entries that began or ended after one
// time and until another.
func (s *Snapshot) Turned(after, until time.Time) Changes {
	var c Changes
	between := func(t time.Time) bool { return !t.IsZero() && t.After(after) && !t.After(until) }
	for _, w := range s.entries {
		if between(w.From) || between(w.Until) {
			c.entry(w)
		}
	}
	return c
}

func (c *Changes) entry(w *schemas.WhitelistEntry) {
	if w.Kind != schemas.WhitelistDomain {
		c.Prefixes = append(c.Prefixes, w.Host)
		return
	}
	if above, wild := strings.CutPrefix(w.Domain, "*."); wild {
		c.Belows = append(c.Belows, above)
	} else {
		c.Names = append(c.Names, w.Domain)
	}
}

func (c *Changes) system(s *schemas.System) {
	c.Systems = append(c.Systems, s.Code)
	c.Prefixes = append(c.Prefixes, s.Addresses...)
	for _, name := range s.Domains {
		if above, wild := strings.CutPrefix(name, "*."); wild {
			c.Belows = append(c.Belows, above)
		} else {
			c.Names = append(c.Names, name)
		}
	}
}

func sameNetwork(a, b *schemas.Network) bool {
	return a.Prefix == b.Prefix && a.Unit == b.Unit && a.Name == b.Name && a.Scan == b.Scan && slices.Equal(a.Exclude, b.Exclude) &&
		a.Hours == b.Hours && a.Rate == b.Rate && a.HostRate == b.HostRate
}

func sameDomain(a, b *schemas.Domain) bool {
	return a.Name == b.Name && a.Unit == b.Unit && a.Scan == b.Scan && slices.Equal(a.Exclude, b.Exclude) && a.Hours == b.Hours && a.Rate == b.Rate
}

func sameSystem(a, b *schemas.System) bool {
	return a.Code == b.Code && a.Name == b.Name && a.Unit == b.Unit && a.State == b.State && a.Level == b.Level && a.Critical == b.Critical &&
		a.Hosting == b.Hosting && a.ICP == b.ICP && slices.Equal(a.Domains, b.Domains) && slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Ports, b.Ports)
}

// differences calls f with what is in only one of two lists of one order. What is
// equal is passed over in step, so that no key is made of it. Lists that are out
// of order make it say more than differs, never less.
func differences[T any](before, after []T, order func(a, b *T) int, same func(a, b *T) bool, f func(*T)) {
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		a, b := &before[i], &after[j]
		if same(a, b) {
			i, j = i+1, j+1
			continue
		}
		o := order(a, b)
		if o <= 0 {
			f(a)
			i++
		}
		if o >= 0 {
			f(b)
			j++
		}
	}
	for ; i < len(before); i++ {
		f(&before[i])
	}
	for ; j < len(after); j++ {
		f(&after[j])
	}
}

func comparePrefix(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}
