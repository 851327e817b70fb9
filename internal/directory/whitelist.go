package directory

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"github.com/gaissmai/bart"

	"fengsui/schemas"
)

// whitelist is the whitelist of one snapshot. Entries are never changed once they
// are in one, so that snapshots share what is the same in both.
type whitelist struct {
	keys    []string // of the records, sorted
	entries []*schemas.WhitelistEntry
	names   map[string]*schemas.WhitelistEntry // by name
	belows  map[string]*schemas.WhitelistEntry // "*.name" entries, by the name
	hosts   *bart.Table[*listed]
	all     func() []schemas.WhitelistEntry
}

// listed is what the whitelist says about one address block.
type listed struct {
	host  *schemas.WhitelistEntry
	ports []*schemas.WhitelistEntry // in the order of their keys
}

func newWhitelist(records map[string]schemas.RegistryRecord) *whitelist {
	w := &whitelist{names: map[string]*schemas.WhitelistEntry{}, belows: map[string]*schemas.WhitelistEntry{}, hosts: &bart.Table[*listed]{}}
	w.keys = slices.Sorted(maps.Keys(records))
	w.entries = make([]*schemas.WhitelistEntry, len(w.keys))
	for i, key := range w.keys {
		e := entryOf(records[key])
		w.entries[i] = e
		if e.Kind == schemas.WhitelistDomain {
			w.name(e)
			continue
		}
		at, ok := w.hosts.Get(e.Host)
		if !ok {
			at = &listed{}
			w.hosts.Insert(e.Host, at)
		}
		if e.Kind == schemas.WhitelistHost {
			at.host = e
		} else {
			at.ports = append(at.ports, e)
		}
	}
	w.flatten()
	return w
}

// entryOf is a record's entry, with what it leaves out.
func entryOf(r schemas.RegistryRecord) *schemas.WhitelistEntry {
	e := *r.Whitelist
	if e.Kind == schemas.WhitelistPort && e.Transport == "" {
		e.Transport = "tcp"
	}
	return &e
}

func (w *whitelist) flatten() {
	entries := w.entries
	w.all = sync.OnceValue(func() []schemas.WhitelistEntry {
		out := make([]schemas.WhitelistEntry, len(entries))
		for i, e := range entries {
			out[i] = *e
		}
		return out
	})
}

func (w *whitelist) name(e *schemas.WhitelistEntry) {
	if above, wild := strings.CutPrefix(e.Domain, "*."); wild {
		w.belows[above] = e
	} else {
		w.names[e.Domain] = e
	}
}

// with is the whitelist after a few records changed (a record of nothing is one
// that was deleted). It costs what copying two lists of pointers does: a province
// changes one entry without reading three hundred thousand anew.
func (w *whitelist) with(changed map[string]schemas.RegistryRecord) *whitelist {
	next := &whitelist{names: w.names, belows: w.belows, hosts: w.hosts}
	next.keys = make([]string, 0, len(w.keys)+len(changed))
	next.entries = make([]*schemas.WhitelistEntry, 0, len(w.keys)+len(changed))
	from := 0
	own := false // whether the maps of names are already next's own
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		at, there := slices.BinarySearch(w.keys[from:], key)
		at += from
		next.keys = append(next.keys, w.keys[from:at]...)
		next.entries = append(next.entries, w.entries[from:at]...)
		from = at
		var before, after *schemas.WhitelistEntry
		if there {
			before, from = w.entries[at], at+1
		}
		if r := changed[key]; r.Whitelist != nil {
			after = entryOf(r)
			next.keys, next.entries = append(next.keys, key), append(next.entries, after)
		}
		own = next.swap(before, after, own)
	}
	next.keys = append(next.keys, w.keys[from:]...)
	next.entries = append(next.entries, w.entries[from:]...)
	next.flatten()
	return next
}

// swap takes one entry out and another, of the same key, in.
func (w *whitelist) swap(before, after *schemas.WhitelistEntry, own bool) bool {
	for _, e := range []*schemas.WhitelistEntry{before, after} {
		if e != nil && e.Kind == schemas.WhitelistDomain && !own {
			w.names, w.belows, own = maps.Clone(w.names), maps.Clone(w.belows), true
		}
	}
	if before != nil {
		if before.Kind == schemas.WhitelistDomain {
			if above, wild := strings.CutPrefix(before.Domain, "*."); wild {
				delete(w.belows, above)
			} else {
				delete(w.names, before.Domain)
			}
		} else {
			w.hosts = w.hosts.ModifyPersist(before.Host, func(l *listed, _ bool) (*listed, bool) { return l.without(before) })
		}
	}
	if after == nil {
		return own
	}
	if after.Kind == schemas.WhitelistDomain {
		w.name(after)
	} else {
		w.hosts = w.hosts.ModifyPersist(after.Host, func(l *listed, _ bool) (*listed, bool) { return l.and(after), false })
	}
	return own
}

// without is l less one entry; gone says that nothing is left.
func (l *listed) without(e *schemas.WhitelistEntry) (less *listed, gone bool) {
	if l == nil {
		return nil, true
	}
	less = &listed{host: l.host}
	if less.host == e {
		less.host = nil
	}
	for _, p := range l.ports {
		if p != e {
			less.ports = append(less.ports, p)
		}
	}
	return less, less.host == nil && len(less.ports) == 0
}

func (l *listed) and(e *schemas.WhitelistEntry) *listed {
	more := &listed{}
	if l != nil {
		more.host, more.ports = l.host, slices.Clone(l.ports)
	}
	if e.Kind == schemas.WhitelistHost {
		more.host = e
		return more
	}
	at, _ := slices.BinarySearchFunc(more.ports, e, func(a, b *schemas.WhitelistEntry) int { return strings.Compare(a.Key(), b.Key()) })
	more.ports = slices.Insert(more.ports, at, e)
	return more
}

// listings goes through the whitelist's blocks around an address, the most
// specific first.
func (w *whitelist) listings(ip netip.Addr) func(func(*listed) bool) {
	ip = plain(ip)
	return func(yield func(*listed) bool) {
		if !w.hosts.Contains(ip) {
			return
		}
		for _, l := range w.hosts.Supernets(netip.PrefixFrom(ip, ip.BitLen())) {
			if !yield(l) {
				return
			}
		}
	}
}
