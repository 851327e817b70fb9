package drift

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"fengsui/internal/directory"
	"fengsui/internal/graph"
	"fengsui/schemas"
)

// name judges a name: one of ours that is there and not whitelisted, or whitelisted
// and not there, that lies on a foreign address or points to nothing; and one of
// others that lies on an address of ours. Names of services and policies (_dmarc)
// are no hosts'.
func (l *look) name() {
	o := l.o
	key := schemas.CanonicalName(o.Name)
	if o.RecordType == "PTR" {
		if ip, ok := graph.ReverseAddr(key); ok {
			l.reverse(ip)
		}
		return
	}
	domain, ours := l.snap.DomainOf(key)
	if strings.HasPrefix(key, "_") || strings.Contains(key, "._") {
		return
	}
	if !ours {
		l.foreignName(key)
		return
	}
	was := l.j.facts.names[key]
	gone := was.gone(o) && l.scan
	var n *name
	if l.scan || len(o.Values) > 0 {
		n = l.j.facts.resolve(key, o, l.id)
	}
	entry, listed := l.snap.ListedName(key)
	switch {
	case len(o.Values) > 0:
		l.namesThere(key, func(s *state) {
			if s.Kind == schemas.ListedGone {
				l.fails(s)
			}
		})
		l.nameThere(key, &domain, values(o.RecordType, o.Values))
	case gone:
		l.namesThere(key, func(s *state) {
			if s.Kind != schemas.ListedGone {
				l.fails(s)
			}
		})
		if listed && entry.In(l.now) {
			l.holds(finding{kind: schemas.ListedGone, asset: entry.Key(), unit: cmp.Or(entry.Unit, domain.Unit), expected: "resolves", observed: "NXDOMAIN", whitelist: entry.Key()})
		}
		return
	}
	if len(o.Values) > 0 || l.scan && (o.RCode == "NOERROR" || o.RCode == "NXDOMAIN") {
		l.record(key, &domain, n)
	}
}

// namesThere calls f with every drift of a name that is not closed.
func (l *look) namesThere(key string, f func(*state)) {
	list := l.j.byName[key]
	if len(list) == 0 {
		return
	}
	for _, s := range slices.Clone(list) {
		if s.Status != schemas.DriftClosed {
			f(s)
		}
	}
}

// nameThere judges whether a name that is there is whitelisted.
func (l *look) nameThere(key string, domain *schemas.Domain, observed string) {
	l.nameAnswers(key, domain)
	entry, standing := l.snap.DomainStanding(key, l.now)
	if standing == directory.Allowed {
		return
	}
	f := finding{kind: schemas.UnlistedDomain, asset: schemas.DomainKey(key), unit: domain.Unit, observed: observed}
	if standing == directory.Expired {
		f.kind = schemas.WhitelistExpired
		l.ended(&f, entry)
	}
	l.holds(f)
}

// record judges where the addresses of a name lie, and whether its CNAME points to
// nothing.
func (l *look) record(key string, domain *schemas.Domain, n *name) {
	typ := l.o.RecordType
	var found *finding
	switch r := n.find(typ); typ {
	case "A", "AAAA":
		found = l.foreignAddress(key, domain, typ, r)
	case "CNAME":
		if r != nil && r.dangling {
			found = &finding{kind: schemas.DanglingName, asset: schemas.DomainKey(key), detail: schemas.CanonicalName(clip(r.values[0])), unit: domain.Unit, observed: "CNAME " + clip(r.values[0]) + " NXDOMAIN"}
		}
	default:
		return
	}
	l.namesThere(key, func(s *state) {
		about := s.Kind == schemas.ForeignAddress && s.Detail == typ || s.Kind == schemas.DanglingName && typ == "CNAME"
		if about && (found == nil || found.key() != s.key()) {
			l.fails(s)
		}
	})
	if found != nil {
		l.holds(*found)
	}
}

// foreignAddress is the finding that a name of ours lies where it is not
// registered to lie, or nil.
func (l *look) foreignAddress(key string, domain *schemas.Domain, typ string, r *record) *finding {
	if r == nil || typ != "A" && typ != "AAAA" {
		return nil
	}
	var foreign []string
	for _, text := range r.values {
		if ip, err := netip.ParseAddr(text); err == nil && !l.mayLie(key, domain.Unit, ip.Unmap()) {
			foreign = append(foreign, ip.Unmap().String())
		}
	}
	if len(foreign) == 0 {
		return nil
	}
	f := &finding{kind: schemas.ForeignAddress, asset: schemas.DomainKey(key), detail: typ, unit: domain.Unit, observed: values(typ, foreign), expected: "own networks"}
	if sys, ok := l.snap.SystemOfName(key); ok {
		f.expected = string(sys.Hosting) + " (" + sys.Code + ")"
	}
	return f
}

// mayLie says whether a name of a unit may lie on an address: one of the unit's
// networks or of those below it, one that a system of the name is registered on, or
// where the system is in the education cloud any registered network, in a public
// one any address where the registration names none. Private addresses tell nothing:
// they are everybody's.
func (l *look) mayLie(key, unit string, ip netip.Addr) bool {
	network, registered := l.snap.NetworkOf(ip)
	switch {
	case registered && l.snap.Under(network.Unit, unit):
		return true
	case !registered && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() || ip.IsUnspecified()):
		return true
	}
	sys, ok := l.snap.SystemOfName(key)
	if !ok {
		return false
	}
	if slices.ContainsFunc(sys.Addresses, func(p netip.Prefix) bool { return p.Contains(ip) }) {
		return true
	}
	switch sys.Hosting {
	case schemas.HostingEducationCloud:
		return registered
	case schemas.HostingPublicCloud:
		return !registered && len(sys.Addresses) == 0
	}
	return false
}

// values is a record set in a few words.
func values(typ string, list []string) string {
	v := slices.Clone(list)
	slices.Sort(v)
	return clip(typ + " " + strings.Join(v[:min(len(v), 8)], " "))
}

// ourName says whether a name is registered in any way.
func (l *look) ourName(key string) bool {
	if _, ok := l.snap.DomainOf(key); ok {
		return true
	}
	if _, ok := l.snap.SystemOfName(key); ok {
		return true
	}
	_, standing := l.snap.DomainStanding(key, l.now)
	return standing == directory.Allowed
}

// foreignName judges a name of others: logs see it resolve to an address of ours.
func (l *look) foreignName(key string) {
	if l.o.RecordType != "A" && l.o.RecordType != "AAAA" || l.ourName(key) || !isHostName(key) {
		return
	}
	l.foreignMarks(key)
	for _, text := range l.o.Values[:min(len(l.o.Values), 8)] {
		if ip, err := netip.ParseAddr(text); err == nil {
			l.onOurs(key, ip.Unmap(), service{}, "DNS "+l.o.RecordType)
		}
	}
}

// reverse judges the names that an address of ours is given by its PTR records.
func (l *look) reverse(ip netip.Addr) {
	if _, ours := l.snap.NetworkOf(ip); !ours {
		return
	}
	var names []string
	for _, v := range l.o.Values[:min(len(l.o.Values), 16)] {
		names = append(names, schemas.CanonicalName(v))
	}
	l.j.there(ip, func(s *state) {
		if s.Kind == schemas.ForeignDomain && s.fromPTR() && !slices.Contains(names, s.Detail) {
			l.fails(s)
		}
	})
	for _, key := range names {
		if isHostName(key) && !l.ourName(key) {
			l.onOurs(key, ip, service{}, "PTR")
		}
	}
}

// foreignNames judges the names that a service of ours gives itself: in its
// certificate, and in a redirect to the same page under another name, as servers
// send those who came by an address. A redirect elsewhere (a login, another site)
// says nothing of this address.
func (l *look) foreignNames(svc service) {
	s := l.o.Service
	if s.TLS == nil && s.HTTP == nil {
		return
	}
	found := map[string]string{}
	if s.TLS != nil {
		for _, key := range s.TLS.Names[:min(len(s.TLS.Names), 32)] {
			found[strings.ToLower(strings.TrimPrefix(key, "*."))] = "certificate"
		}
	}
	if s.HTTP != nil && (s.HTTP.Status == 301 || s.HTTP.Status == 308) {
		if u, err := url.Parse(s.HTTP.Location); err == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" {
			found[strings.ToLower(u.Hostname())] = "redirect"
		}
	}
	for key := range found {
		if !isHostName(key) || l.ourName(key) {
			delete(found, key)
		}
	}
	if l.scan {
		l.there(svc, func(d *state) {
			if d.Kind == schemas.ForeignDomain && found[d.Detail] == "" {
				l.fails(d)
			}
		})
	}
	keys := make([]string, 0, len(found))
	for key := range found {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		l.onOurs(key, svc.ip, svc, found[key])
	}
}

// onOurs is a foreign name on an address of ours: one drift for both, whatever
// told of it first.
func (l *look) onOurs(key string, ip netip.Addr, svc service, from string) {
	unit := l.snap.UnitOf(ip)
	if _, ours := l.snap.NetworkOf(ip); !ours {
		return
	}
	f := finding{kind: schemas.ForeignDomain, asset: schemas.HostKey(ip), detail: key, unit: unit, observed: clip(from + " " + key), ip: ip, svc: svc}
	if svc.port != 0 {
		f.asset = svc.key()
		f.observed = clip(from + " " + key + " " + strconv.Itoa(svc.port) + "/" + svc.transport)
	}
	known := false
	l.j.there(ip, func(s *state) {
		known = known || s.Kind == schemas.ForeignDomain && s.Detail == key && s.Asset != f.asset
	})
	if !known {
		l.holds(f)
	}
}

// fromPTR says whether the address's own record told of a foreign name: then
// another look at the record decides.
func (s *state) fromPTR() bool { return strings.HasPrefix(s.Observed, "PTR ") }

// isHostName says whether a text is a name that somebody could have registered:
// not an address, not a name of one network alone.
func isHostName(key string) bool {
	if len(key) > 253 || strings.HasPrefix(key, "_") || strings.ContainsAny(key, "/:@ *") {
		return false
	}
	at := strings.LastIndexByte(key, '.')
	if at <= 0 {
		return false
	}
	if _, err := netip.ParseAddr(key); err == nil {
		return false
	}
	switch top := key[at+1:]; top {
	case "", "local", "localdomain", "localhost", "lan", "internal", "intranet", "home", "corp", "invalid", "test", "arpa", "onion":
		return false
	}
	return true
}
