package drift

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"fengsui/analyzer/assets"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// address judges what was seen of an address of ours. A port that something
// answers for on every port (see Observation.Doubt) shows that the address
// answers, and no more.
func (l *look) address() {
	o := l.o
	ip := o.IP.Unmap()
	switch o.Kind {
	case schemas.ObservedHost:
		if o.Open {
			l.hostUp(ip)
		} else if l.scan {
			l.hostDown(ip)
		}
	case schemas.ObservedPort:
		svc := service{ip, o.Transport, o.Port}
		switch {
		case o.Port < 1 || o.Port > 65535 || o.Transport != "tcp" && o.Transport != "udp":
		case o.Open && o.Doubt != "":
			l.hostUp(ip)
		case o.Open:
			l.portOpen(svc)
		case l.scan:
			l.portsClosed(ip, func(s service) bool { return s == svc })
		}
	case schemas.ObservedSweep:
		if ports, err := assets.ParsePorts(o.Ports); err == nil && l.scan {
			transport := cmp.Or(o.Transport, "tcp")
			l.portsClosed(ip, func(s service) bool {
				return s.transport == transport && ports.Has(s.port) && !l.sawOpen(s)
			})
		}
	}
}

// sawOpen says whether this scan, or a later one, saw a service open.
func (l *look) sawOpen(s service) bool {
	f := l.j.facts.service(s)
	return f != nil && f.look != (handle{}) && (f.look == l.id || f.at > l.at.UnixNano())
}

// there calls f with every drift of an address that is not closed.
func (j *Judge) there(ip netip.Addr, f func(*state)) {
	list := j.byIP[ip]
	if len(list) == 0 {
		return
	}
	for _, s := range slices.Clone(list) {
		if s.Status != schemas.DriftClosed {
			f(s)
		}
	}
}

func (l *look) hostUp(ip netip.Addr) {
	h := l.j.facts.host(ip)
	if at := l.at.UnixNano(); at > h.upAt {
		h.upAt = at
		h.upLook = l.id
	}
	l.j.there(ip, func(s *state) {
		if s.Kind == schemas.ListedGone && s.svc.port == 0 {
			l.fails(s)
		}
	})
	l.answers(ip, service{}, "up")
	if s := l.hostThere(ip); s != nil && !s.up {
		s.up = true
		l.refresh(s)
	}
}

// hostThere judges whether an address that answers is whitelisted, and returns
// its drift if this look counts for one.
func (l *look) hostThere(ip netip.Addr) *state {
	entry, standing := l.snap.HostStanding(ip, l.now)
	if standing == directory.Allowed {
		return nil
	}
	f := finding{kind: schemas.UnlistedHost, asset: schemas.HostKey(ip), unit: l.snap.UnitOf(ip), ip: ip}
	if standing == directory.Expired {
		f.kind = schemas.WhitelistExpired
		l.ended(&f, entry)
	}
	return l.holds(f)
}

// ended says which entry has ended.
func (l *look) ended(f *finding, w *schemas.WhitelistEntry) {
	f.whitelist, f.expected = w.Key(), "until "+w.Until.UTC().Format("2006-01-02 15:04")
	f.unit = cmp.Or(f.unit, w.Unit)
}

func (l *look) hostDown(ip netip.Addr) {
	if h := l.j.facts.hosts[ip]; h != nil {
		if h.upAt <= l.at.UnixNano() {
			h.upAt, h.upLook = 0, handle{}
		}
		h.close(ip, l.at, func(s service) bool { return !l.sawOpen(s) })
	}
	l.j.there(ip, func(s *state) {
		if s.ofHost() && l.fresh(s) && !slices.ContainsFunc(s.ports, func(p hostPort) bool { return l.sawOpen(p.service) }) {
			l.fails(s)
		}
	})
	for _, w := range l.snap.ListedAt(ip) {
		if w.Kind == schemas.WhitelistHost && w.In(l.now) {
			l.holds(finding{kind: schemas.ListedGone, asset: w.Key(), unit: cmp.Or(w.Unit, l.snap.UnitOf(ip)), expected: "up", observed: "down", whitelist: w.Key(), ip: ip})
		}
	}
}

func (l *look) portOpen(svc service) {
	f := l.j.facts.serve(svc, l.at, l.id, l.o.Service)
	l.j.there(svc.ip, func(s *state) {
		if s.Kind == schemas.ListedGone && (s.svc.port == 0 || s.svc == svc) {
			l.fails(s)
		}
	})
	if l.o.Service != nil {
		l.exposures(svc)
		l.foreignNames(svc)
		l.j.learnIcon(l.snap.UnitOf(svc.ip), l.o.Service)
	}
	text := ""
	if f == nil || l.scan {
		text = serviceText(l.o.Service)
	}
	l.serviceThere(svc, f, text)
}

// serviceThere judges a service that was seen, now or before.
func (l *look) serviceThere(svc service, f *fact, text string) {
	l.answers(svc.ip, svc, text)
	if _, standing := l.snap.HostStanding(svc.ip, l.now); standing != directory.Allowed {
		if s := l.hostThere(svc.ip); s != nil && s.open(svc, text) {
			if l.again() {
				s.Observed = s.observed()
				l.write(s)
			} else {
				l.refresh(s)
			}
		}
		return
	}
	entry, standing := l.snap.PortStanding(svc.ip, svc.transport, svc.port, l.now)
	switch standing {
	case directory.Allowed:
		if f != nil && (l.again() || l.scan && l.o.Service != nil && l.o.Service.Name != "") {
			l.changes(svc, entry, f)
		}
	default:
		d := finding{kind: schemas.UnlistedPort, asset: svc.key(), unit: l.snap.UnitOf(svc.ip), observed: text, ip: svc.ip, svc: svc}
		if standing == directory.Expired {
			d.kind = schemas.WhitelistExpired
			l.ended(&d, entry)
		}
		l.holds(d)
	}
}

// serviceText is a service in a few words: its name, product and version.
func serviceText(s *schemas.Service) string {
	if s == nil {
		return ""
	}
	return words(s.Name, s.Product, s.Version)
}

func words(parts ...string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(strings.Join(parts, " "), ",", " ")), " ")
}

// portsClosed judges that a scan found services closed.
func (l *look) portsClosed(ip netip.Addr, closed func(service) bool) {
	l.j.facts.hosts[ip].close(ip, l.at, closed)
	l.j.there(ip, func(s *state) {
		switch {
		case s.ofHost():
			l.hostPortsClosed(s, closed)
		case s.svc.port != 0 && s.Kind != schemas.ListedGone && closed(s.svc):
			l.fails(s)
		}
	})
	if !l.snap.Listing(ip) {
		return
	}
	for _, w := range l.snap.ListedAt(ip) {
		svc := service{ip, w.Transport, w.Port}
		if w.Kind == schemas.WhitelistPort && w.In(l.now) && closed(svc) {
			l.holds(finding{kind: schemas.ListedGone, asset: w.Key(), unit: cmp.Or(w.Unit, l.snap.UnitOf(ip)), expected: "open", observed: "closed", whitelist: w.Key(), ip: ip, svc: svc})
		}
	}
}

// hostPortsClosed judges an unlisted host of which ports were found closed: with
// none left open it is gone, unless it answers by itself.
func (l *look) hostPortsClosed(s *state, closed func(service) bool) {
	if l.o.Kind == schemas.ObservedSweep {
		defer l.askOfHost(s)
	}
	if !l.fresh(s) || s.Look == "" && l.tooClose(s) {
		return
	}
	found, open := false, s.up
	for i := range s.ports {
		p := &s.ports[i]
		if closed(p.service) {
			p.closed, found = true, true
		}
		open = open || !p.closed
	}
	switch {
	case found && !open:
		l.fails(s)
	case found:
		l.refresh(s)
	}
}

// askOfHost asks for the second look at an unlisted host once a sweep has told
// all there is of it.
func (l *look) askOfHost(s *state) {
	if s.Status != schemas.DriftSuspected {
		return
	}
	if ports, err := assets.ParsePorts(l.o.Ports); err == nil {
		s.looked = ports.First(len(commonPorts))
	}
	l.ask(s)
}

// open notes an open port of an unlisted host and says whether it is news.
func (s *state) open(svc service, name string) bool {
	at, known := slices.BinarySearchFunc(s.ports, svc, func(p hostPort, t service) int {
		return cmp.Or(cmp.Compare(p.port, t.port), cmp.Compare(p.transport, t.transport))
	})
	if !known {
		if len(s.ports) >= maxPorts {
			return false
		}
		s.ports = slices.Insert(s.ports, at, hostPort{service: svc, name: name})
		return true
	}
	p := &s.ports[at]
	news := p.closed || name != "" && name != p.name
	p.closed, p.name = false, cmp.Or(name, p.name)
	return news
}
