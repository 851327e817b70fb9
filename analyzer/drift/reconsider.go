package drift

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gaissmai/bart"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// tickEvery is how often time itself is judged: entries that begin and end, what
// is overdue, systems that are silent.
const tickEvery = time.Minute

// Reconsider judges what a change of the registry touches, and once a minute what
// time does. Drifts that the registry now allows, or that are nobody's business any
// more, close; what was seen and is allowed no longer is suspected at once.
// Everything is judged when it is called for the first time.
func (j *Judge) Reconsider(snap *directory.Snapshot, now time.Time) (changed []schemas.Drift, confirm []schemas.ScanTask) {
	l := &look{j: j, snap: snap, now: now, at: now}
	before := j.snap
	j.snap = snap
	switch {
	case before == nil:
		j.began = now
		l.all()
	case before != snap:
		c := snap.Since(before)
		l.touched(&c)
	}
	if now.Sub(j.ticked) >= tickEvery {
		if !j.ticked.IsZero() {
			c := snap.Turned(j.ticked, now)
			l.touched(&c)
		}
		j.ticked = now
		l.time()
	}
	return l.changed, l.confirm
}

// time judges what time alone changes.
func (l *look) time() {
	l.zombies()
	for _, s := range l.j.sorted(func(s *state) bool { return s.Status != schemas.DriftClosed }) {
		l.silent(s)
		l.late(s)
	}
}

// sorted is the drifts that f picks, in the order of their keys.
func (j *Judge) sorted(f func(*state) bool) []*state {
	var out []*state
	for _, s := range j.drifts {
		if f(s) {
			out = append(out, s)
		}
	}
	sortStates(out)
	return out
}

func sortStates(list []*state) {
	slices.SortFunc(list, func(a, b *state) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Asset, b.Asset), cmp.Compare(a.Detail, b.Detail))
	})
}

// all judges everything, as a restart needs: what changed meanwhile is not known.
func (l *look) all() {
	var states []*state
	for _, s := range l.j.sorted(func(s *state) bool { return s.Status != schemas.DriftClosed }) {
		states = append(states, s)
		if d, ok := l.snap.Decision(s.ID); ok {
			l.decided(d)
		}
	}
	l.settle(states)
	for ip := range l.j.facts.hosts {
		l.rejudge(ip)
	}
	for name := range l.j.facts.names {
		l.rejudgeName(name)
	}
}

// touched judges what some changes of the registry touch. Single addresses and
// names are found at once; blocks and domains cost a pass over all that is known.
func (l *look) touched(c *directory.Changes) {
	if c.Empty() {
		return
	}
	for _, id := range c.Decisions {
		if d, ok := l.snap.Decision(id); ok {
			l.decided(d)
		}
	}
	ips := map[netip.Addr]bool{}
	var blocks *bart.Lite
	for _, p := range c.Prefixes {
		if p.IsSingleIP() {
			ips[p.Addr()] = true
			continue
		}
		if blocks == nil {
			blocks = &bart.Lite{}
		}
		blocks.Insert(p)
	}
	if blocks != nil {
		for ip := range l.j.facts.hosts {
			if blocks.Contains(ip) {
				ips[ip] = true
			}
		}
		for ip := range l.j.byIP {
			if blocks.Contains(ip) {
				ips[ip] = true
			}
		}
	}
	names := map[string]bool{}
	for _, name := range c.Names {
		names[name] = true
	}
	if len(c.Belows) > 0 {
		belows := make(map[string]bool, len(c.Belows))
		for _, name := range c.Belows {
			belows[name] = true
		}
		for name := range l.j.facts.names {
			if below(name, belows) {
				names[name] = true
			}
		}
		for name := range l.j.byName {
			if below(name, belows) {
				names[name] = true
			}
		}
	}
	l.settle(l.touchedStates(c, ips, names))
	for ip := range ips {
		l.rejudge(ip)
	}
	for name := range names {
		l.rejudgeName(name)
	}
}

func (l *look) touchedStates(c *directory.Changes, ips map[netip.Addr]bool, names map[string]bool) []*state {
	var out []*state
	open := func(list []*state) {
		for _, s := range list {
			if s.Status != schemas.DriftClosed {
				out = append(out, s)
			}
		}
	}
	for ip := range ips {
		open(l.j.byIP[ip])
	}
	for name := range names {
		open(l.j.byName[name])
	}
	for _, code := range c.Systems {
		if s := l.j.active(systemKey(code)); s != nil {
			out = append(out, s)
		}
	}
	if len(c.Belows)+len(c.Names) > 0 || c.Units { // a foreign name, or a unit's marks, may be ours now
		open(l.j.sorted(func(s *state) bool { return s.Kind == schemas.ForeignDomain || s.Kind == schemas.UnregisteredMarks }))
	}
	sortStates(out)
	return slices.Compact(out)
}

// below says whether a name is one of some domains or lies below one.
func below(name string, domains map[string]bool) bool {
	for ; name != ""; _, name, _ = strings.Cut(name, ".") {
		if domains[name] {
			return true
		}
	}
	return false
}

// settle closes the drifts that the registry ends, and grades the others anew: a
// system may matter more than it did.
func (l *look) settle(states []*state) {
	for _, s := range states {
		if reason := l.settled(s); reason != "" {
			l.close(s, reason, l.now)
			continue
		}
		severity, due, system := s.Severity, s.Due, s.System
		l.grade(s)
		if s.Severity != severity || !s.Due.Equal(due) || s.System != system {
			l.write(s)
		}
	}
}

// rejudge judges anew what was seen at an address.
func (l *look) rejudge(ip netip.Addr) {
	if _, ours := l.snap.NetworkOf(ip); !ours {
		return
	}
	h := l.j.facts.hosts[ip]
	if h == nil {
		return
	}
	at := l.now
	if h.upAt != 0 {
		l.scan, l.id, l.at = h.upLook != (handle{}), h.upLook, time.Unix(0, h.upAt).UTC()
		l.answers(ip, service{}, nil)
		if s := l.hostThere(ip); s != nil && !s.up {
			s.up = true
			s.Observed = s.observed()
			l.write(s)
		}
	}
	for i := range h.services {
		f := &h.services[i]
		if !f.open {
			continue
		}
		is := read(f.is)
		l.scan, l.id, l.at = f.look != (handle{}), f.look, time.Unix(0, f.at).UTC()
		l.serviceThere(f.service(ip), f, &schemas.Service{Name: is.Name, Product: is.Product, Version: is.Version})
	}
	l.scan, l.id, l.at = false, handle{}, at
}

// rejudgeName judges anew what was seen of a name.
func (l *look) rejudgeName(key string) {
	n := l.j.facts.names[key]
	domain, ours := l.snap.DomainOf(key)
	if !ours || !n.resolves() {
		return
	}
	l.scan, l.id, l.at = n.look != (handle{}), n.look, time.Unix(0, n.at).UTC()
	first := n.records[slices.IndexFunc(n.records, func(r record) bool { return len(r.values) > 0 })]
	l.nameThere(key, &domain, values(first.typ, first.values))
	for i := range n.records {
		r := &n.records[i]
		if f := l.foreignAddress(key, &domain, r.typ, r); f != nil {
			l.holds(*f)
		}
	}
	l.scan, l.id, l.at = false, handle{}, l.now
}

// settled says why the registry alone ends a drift; "" when it does not.
func (l *look) settled(s *state) string {
	switch s.Kind {
	case schemas.ListedGone:
		if !l.expected(s.Whitelist) {
			return ReasonUnlisted
		}
		return ""
	case schemas.Zombie:
		return l.settledZombie(s)
	case schemas.UnregisteredMarks:
		return l.settledMarks(s)
	}
	if name, ok := strings.CutPrefix(s.Asset, "domain/"); ok {
		return l.settledName(s, name)
	}
	if _, ok := l.snap.NetworkOf(s.ip); !ok {
		return ReasonUnregistered
	}
	switch s.Kind {
	case schemas.Exposed:
		return ""
	case schemas.ForeignDomain:
		if l.ourName(s.Detail) {
			return ReasonRegistered
		}
		return ""
	}
	_, host := l.snap.HostStanding(s.ip, l.now)
	if s.ofHost() {
		return against(s, host)
	}
	if host != directory.Allowed {
		return ReasonCovered
	}
	entry, port := l.snap.PortStanding(s.ip, s.svc.transport, s.svc.port, l.now)
	if s.Kind == schemas.UnlistedPort || s.Kind == schemas.WhitelistExpired {
		return against(s, port)
	}
	if port != directory.Allowed {
		return ReasonUnlisted
	}
	name, _, _ := strings.Cut(s.Observed, " ")
	switch {
	case s.Kind == schemas.UnlistedService && (entry.Service == "" || sameName(entry.Service, name)):
		return ReasonWhitelisted
	case s.Kind == schemas.ServiceChanged && entry.Service != "" && sameName(entry.Service, name):
		l.j.rebase(s)
		return ReasonWhitelisted
	case s.Kind == schemas.ServiceChanged && entry.Service != "":
		return ReasonAnother
	}
	return ""
}

// against says whether what the whitelist says of something still is what a drift
// says of it.
func against(s *state, standing directory.Standing) string {
	expired := s.Kind == schemas.WhitelistExpired
	switch {
	case standing == directory.Allowed:
		return ReasonWhitelisted
	case standing == directory.Expired && !expired:
		return ReasonAnother
	case standing == directory.Unlisted && expired:
		return ReasonUnlisted
	}
	return ""
}

func (l *look) settledName(s *state, name string) string {
	domain, ours := l.snap.DomainOf(name)
	if !ours {
		return ReasonUnregistered
	}
	switch s.Kind {
	case schemas.UnlistedDomain, schemas.WhitelistExpired:
		_, standing := l.snap.DomainStanding(name, l.now)
		return against(s, standing)
	case schemas.ForeignAddress:
		if r := l.j.facts.names[name].find(s.Detail); r != nil && l.foreignAddress(name, &domain, s.Detail, r) == nil {
			return ReasonRegistered
		}
	}
	return ""
}

func (l *look) settledZombie(s *state) string {
	code, silent := strings.CutPrefix(s.Asset, "system/")
	if !silent {
		code = s.Detail
	}
	sys, ok := l.snap.System(code)
	if !ok {
		return ReasonUnregistered
	}
	if silent && !inUse(sys.State) || !silent && !isOff(sys.State) {
		return ReasonAnother
	}
	if silent {
		return ""
	}
	// Another system may be registered there now.
	now, ok := l.systemOf(s)
	if !ok || now.Code != code {
		return ReasonAnother
	}
	return ""
}

// expected says whether the whitelist still has an entry in force with a key.
func (l *look) expected(key string) bool {
	if name, ok := strings.CutPrefix(key, "domain/"); ok {
		w, ok := l.snap.ListedName(name)
		return ok && w.In(l.now)
	}
	ip, _, _, err := readEntryKey(key)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(l.snap.ListedAt(ip), func(w schemas.WhitelistEntry) bool { return w.Key() == key && w.In(l.now) })
}
