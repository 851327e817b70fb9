package drift

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// look is the judging of one observation.
type look struct {
	j         *Judge
	snap      *directory.Snapshot
	o         *schemas.Observation
	partition int
	offset    int64
	now       time.Time
	scan      bool
	id        string // of a scan: job and shard

	changed []schemas.Drift
	confirm []schemas.ScanTask
}

// finding is a difference as one look sees it.
type finding struct {
	kind      schemas.DriftKind
	asset     string
	unit      string
	expected  string
	observed  string
	whitelist string
	ip        netip.Addr
	svc       service
}

// address judges what was seen of an address of ours.
func (l *look) address() {
	o := l.o
	switch o.Kind {
	case schemas.ObservedHost:
		if o.Open {
			l.hostUp()
		} else if l.scan {
			l.hostDown()
		}
	case schemas.ObservedPort:
		svc := service{o.IP.Unmap(), o.Transport, o.Port}
		if o.Open {
			l.portOpen(svc)
		} else if l.scan {
			l.portsClosed(func(s service) bool { return s == svc })
		}
	case schemas.ObservedSweep:
		if ports, err := assets.ParsePorts(o.Ports); err == nil && l.scan {
			transport := cmp.Or(o.Transport, "tcp")
			l.portsClosed(func(s service) bool {
				return s.transport == transport && ports.Has(s.port) && !l.sawOpen(s)
			})
		}
	}
}

// sawOpen says whether this scan, or a later one, saw a service open.
func (l *look) sawOpen(s service) bool {
	seen, ok := l.j.seen[s]
	return ok && (seen.look == l.id || seen.at.After(l.o.Time))
}

func (l *look) hostUp() {
	ip := l.o.IP.Unmap()
	for _, w := range l.snap.ListedAt(ip) {
		if w.Kind == schemas.WhitelistHost {
			l.fails(schemas.ListedGone, w.Key())
		}
	}
	if s := l.unlistedHost(ip); s != nil && !s.up {
		s.up = true
		l.refresh(s)
	}
}

// unlistedHost judges whether an address that answers is whitelisted, and
// returns its drift if this look counts for one.
func (l *look) unlistedHost(ip netip.Addr) *state {
	asset := schemas.HostKey(ip)
	if _, ok := l.snap.WhitelistedHost(ip, l.now); ok {
		l.allowed(schemas.UnlistedHost, asset)
		return nil
	}
	return l.holds(finding{kind: schemas.UnlistedHost, asset: asset, unit: l.snap.UnitOf(ip), ip: ip})
}

func (l *look) hostDown() {
	ip := l.o.IP.Unmap()
	if s := l.j.active(schemas.UnlistedHost, schemas.HostKey(ip)); s != nil && l.fresh(s) {
		if !slices.ContainsFunc(s.ports, func(p hostPort) bool { return l.sawOpen(p.service) }) {
			l.fails(s.Kind, s.Asset)
		}
	}
	for _, w := range l.snap.ListedAt(ip) {
		if w.Kind == schemas.WhitelistHost && w.In(l.now) {
			l.holds(finding{kind: schemas.ListedGone, asset: w.Key(), unit: cmp.Or(w.Unit, l.snap.UnitOf(ip)), expected: "up", observed: "down", whitelist: w.Key(), ip: ip})
		}
	}
}

func (l *look) portOpen(svc service) {
	was := l.j.seen[svc]
	l.remember(svc)
	for _, w := range l.snap.ListedAt(svc.ip) {
		if w.Kind == schemas.WhitelistHost || w.Port == svc.port && w.Transport == svc.transport {
			l.fails(schemas.ListedGone, w.Key())
		}
	}
	if _, ok := l.snap.WhitelistedHost(svc.ip, l.now); !ok {
		if s := l.unlistedHost(svc.ip); s != nil && s.open(svc, serviceText(l.o.Service)) {
			l.refresh(s)
		}
		return
	}
	l.allowed(schemas.UnlistedHost, schemas.HostKey(svc.ip))
	entry, ok := l.snap.WhitelistedPort(svc.ip, svc.transport, svc.port, l.now)
	if !ok {
		l.holds(finding{kind: schemas.UnlistedPort, asset: svc.key(), unit: l.snap.UnitOf(svc.ip), observed: serviceText(l.o.Service), ip: svc.ip, svc: svc})
		return
	}
	l.allowed(schemas.UnlistedPort, svc.key())
	if l.scan && l.o.Service != nil && l.o.Service.Name != "" {
		l.service(svc, &entry, was)
	}
}

// service judges whether what runs on a whitelisted port is what the entry says
// or, when it does not say, what ran there before.
func (l *look) service(svc service, entry *schemas.WhitelistEntry, was sighting) {
	s := l.o.Service
	expected := entry.Service
	differs := expected != "" && !sameName(expected, s.Name)
	if expected == "" && was.name != "" {
		expected = strings.TrimSpace(was.name + " " + was.prod)
		differs = !sameName(was.name, s.Name) || was.prod != "" && s.Product != "" && was.prod != s.Product
	}
	if !differs {
		l.fails(schemas.ServiceChanged, svc.key())
		return
	}
	l.holds(finding{
		kind: schemas.ServiceChanged, asset: svc.key(), unit: cmp.Or(l.snap.UnitOf(svc.ip), entry.Unit), expected: expected,
		observed: serviceText(s), whitelist: entry.Key(), ip: svc.ip, svc: svc,
	})
}

// serviceText is a service in a few words: its name, product and version.
func serviceText(s *schemas.Service) string {
	if s == nil {
		return ""
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(s.Name+" "+s.Product+" "+s.Version, ",", " ")), " ")
}

// remember notes that a scan saw a service open, and what it was at first.
func (l *look) remember(svc service) {
	if !l.scan {
		return
	}
	seen, known := l.j.seen[svc]
	if !known && len(l.j.seen) >= maxSeen {
		clear(l.j.seen) // sweeps then ask for second looks they did not need
	}
	if !l.o.Time.Before(seen.at) {
		seen.at, seen.look = l.o.Time, l.id
	}
	if s := l.o.Service; s != nil && seen.name == "" {
		seen.name, seen.prod = s.Name, s.Product
	} else if s != nil && seen.prod == "" && sameName(seen.name, s.Name) {
		seen.prod = s.Product
	}
	l.j.seen[svc] = seen
}

// portsClosed judges that a scan found services closed.
func (l *look) portsClosed(closed func(service) bool) {
	ip := l.o.IP.Unmap()
	for _, s := range slices.Clone(l.j.byIP[ip]) {
		if s.Status == schemas.DriftClosed {
			continue
		}
		switch s.Kind {
		case schemas.UnlistedPort, schemas.ServiceChanged:
			if closed(s.svc) {
				l.fails(s.Kind, s.Asset)
			}
		case schemas.UnlistedHost:
			l.hostPortsClosed(s, closed)
		}
	}
	for _, w := range l.snap.ListedAt(ip) {
		if w.Kind == schemas.WhitelistPort && w.In(l.now) && closed(service{ip, w.Transport, w.Port}) {
			svc := service{ip, w.Transport, w.Port}
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
	if !l.fresh(s) || s.look == "" && l.tooClose(s) {
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
		l.fails(s.Kind, s.Asset)
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

// name judges a name of ours: one that is there and not whitelisted, or one that
// is whitelisted and not there. Names of services and policies (_dmarc) are no
// hosts'.
func (l *look) name() {
	o := l.o
	name := strings.ToLower(strings.TrimSuffix(o.Name, "."))
	domain, ours := l.snap.DomainOf(name)
	if !ours || strings.HasPrefix(name, "_") || strings.Contains(name, "._") {
		return
	}
	asset := schemas.DomainKey(name)
	entry, expects := l.snap.ListedName(name)
	switch {
	case len(o.Values) > 0:
		if expects {
			l.fails(schemas.ListedGone, entry.Key())
		}
		if _, ok := l.snap.WhitelistedDomain(name, l.now); ok {
			l.allowed(schemas.UnlistedDomain, asset)
			return
		}
		l.holds(finding{kind: schemas.UnlistedDomain, asset: asset, unit: domain.Unit, observed: values(o)})
	case l.scan && o.RCode == "NXDOMAIN":
		l.fails(schemas.UnlistedDomain, asset)
		if expects && entry.In(l.now) {
			l.holds(finding{kind: schemas.ListedGone, asset: entry.Key(), unit: cmp.Or(entry.Unit, domain.Unit), expected: "resolves", observed: "NXDOMAIN", whitelist: entry.Key()})
		}
	}
}

func values(o *schemas.Observation) string {
	v := slices.Clone(o.Values)
	slices.Sort(v)
	return o.RecordType + " " + strings.Join(v[:min(len(v), 8)], " ")
}

// fresh says whether this observation is news to a drift: neither counted in
// already nor older than what was.
func (l *look) fresh(s *state) bool {
	return !(l.partition == s.Partition && l.offset <= s.Offset) && !l.o.Time.Before(s.lastLook)
}

// holds takes a look that found the difference. It returns the drift when the
// look counts.
func (l *look) holds(f finding) *state {
	s := l.j.drifts[driftKey(f.kind, f.asset)]
	if s == nil || s.Status == schemas.DriftClosed {
		if s != nil && (!l.fresh(s) || !l.o.Time.After(s.lastLook)) {
			return nil
		}
		return l.suspect(f)
	}
	if !l.fresh(s) {
		return nil
	}
	second := l.second(s)
	l.counted(s)
	s.doubt = ""
	s.Last = l.o.Time
	if f.kind != schemas.UnlistedHost && l.scan && f.observed != "" {
		s.Observed, s.Expected = f.observed, cmp.Or(f.expected, s.Expected)
	}
	switch {
	case s.Status == schemas.DriftSuspected && second:
		s.Status, s.Confirmed, s.look = schemas.DriftOpen, l.o.Time, l.id
		s.evidence(l.o.ID)
		l.write(s)
	case s.Status == schemas.DriftSuspected:
		l.ask(s)
	case l.scan && l.id != s.look:
		s.look = l.id
		l.write(s)
	}
	return s
}

// second says whether this is another look than the one that suspected.
func (l *look) second(s *state) bool {
	if !l.scan || !l.o.Time.After(s.First) {
		return false
	}
	if s.look == "" {
		return !l.tooClose(s)
	}
	return s.look != l.id
}

// tooClose says whether this look may be the very one that made or last saw the
// drift, when a restart has made the judge forget which that was. A look that was
// asked for because of a suspicion is not the one that suspected.
func (l *look) tooClose(s *state) bool {
	if s.Status == schemas.DriftSuspected && strings.HasPrefix(l.o.Job, jobOf(s)) {
		return false
	}
	return l.o.Time.Sub(s.Last) < unknownLook
}

// jobOf is what the jobs of a drift's looks begin with.
func jobOf(s *state) string { return "drift-" + s.ID + "-" }

func (l *look) suspect(f finding) *state {
	if len(l.j.drifts) >= l.j.cfg.MaxDrifts {
		l.j.forget()
		if len(l.j.drifts) >= l.j.cfg.MaxDrifts {
			l.j.dropped++
			return nil
		}
	}
	s := &state{
		Drift: schemas.Drift{
			ID: driftID(f.kind, f.asset, l.o.Time), Kind: f.kind, Status: schemas.DriftSuspected, Asset: f.asset, Unit: f.unit,
			Expected: f.expected, Observed: f.observed, Whitelist: f.whitelist, First: l.o.Time, Last: l.o.Time,
		},
		ip: f.ip, svc: f.svc, look: l.id, lastLook: l.o.Time,
	}
	if !l.scan {
		s.look = "passive"
	}
	s.evidence(l.o.ID)
	l.counted(s)
	l.j.put(s)
	l.write(s)
	l.ask(s)
	return s
}

// fails takes a scan that did not find the difference any more.
func (l *look) fails(kind schemas.DriftKind, asset string) {
	s := l.j.active(kind, asset)
	if s == nil || !l.scan || !l.fresh(s) {
		return
	}
	if s.look == l.id || s.look == "" && l.tooClose(s) {
		return // one look cannot contradict itself
	}
	l.counted(s)
	switch {
	case s.Status == schemas.DriftSuspected:
		l.close(s, ReasonUnconfirmed, l.o.Time)
	case kind == schemas.ListedGone: // an answer proves itself
		l.close(s, ReasonBack, l.o.Time)
	case s.doubt == "":
		s.doubt, s.doubtAt = l.id, l.o.Time
		l.askAnew(s)
	case s.doubt != l.id && l.o.Time.After(s.doubtAt):
		reason := ReasonGone
		if kind == schemas.ServiceChanged && l.o.Open {
			reason = ReasonBack
		}
		l.close(s, reason, l.o.Time)
	}
}

// allowed closes a drift that the registry allows by now.
func (l *look) allowed(kind schemas.DriftKind, asset string) {
	if s := l.j.active(kind, asset); s != nil && l.fresh(s) {
		l.counted(s)
		l.close(s, ReasonWhitelisted, l.o.Time)
	}
}

func (l *look) close(s *state, reason string, at time.Time) {
	s.Status, s.Closed, s.Reason = schemas.DriftClosed, at, reason
	if at.After(s.lastLook) {
		s.lastLook = at
	}
	if l.o != nil {
		s.evidence(l.o.ID)
	}
	l.write(s)
}

// counted marks that the drift has taken this record in.
func (l *look) counted(s *state) {
	s.Partition, s.Offset = l.partition, l.offset
	s.lastLook = l.o.Time
}

// refresh writes an unlisted host whose ports have changed.
func (l *look) refresh(s *state) {
	l.counted(s)
	if text := s.observed(); text != s.Observed {
		s.Observed = text
		l.write(s)
	}
}

// write keeps the drift's new state for the caller: once for one observation.
func (l *look) write(s *state) {
	last := len(l.changed) - 1
	if last >= 0 && l.changed[last].ID == s.ID {
		l.changed = l.changed[:last]
	} else {
		s.Version++
	}
	s.Updated = l.now
	d := s.Drift
	d.Evidence = slices.Clone(s.Evidence)
	l.changed = append(l.changed, d)
}

func (s *state) evidence(id string) {
	if id == "" || slices.Contains(s.Evidence, id) {
		return
	}
	if len(s.Evidence) >= maxEvidence {
		s.Evidence = slices.Delete(s.Evidence, maxEvidence/2, maxEvidence/2+1)
	}
	s.Evidence = append(s.Evidence, id)
}

// ask asks for the second look, not more often than AskEvery. Of an unlisted host
// a scan tells its ports one by one and the sweep last: only then is it known
// what to look at again.
func (l *look) ask(s *state) {
	if s.Kind == schemas.UnlistedHost && l.scan && l.o.Kind != schemas.ObservedSweep {
		return
	}
	if s.asked.IsZero() || l.now.Sub(s.asked) >= l.j.cfg.AskEvery {
		l.askAnew(s)
	}
}

// askAnew asks for another look, if the registry allows one at all. The job is
// named after the observation that made it necessary, so that a record that is
// judged again asks for the same job again.
func (l *look) askAnew(s *state) {
	at := l.now
	if l.o != nil {
		at = l.o.Time
	}
	t := schemas.ScanTask{
		Job: jobOf(s) + strconv.FormatInt(at.UnixMilli(), 10), Shard: "1", Shards: 1, Kind: schemas.TaskConfirm, Unit: s.Unit,
		By: "drift", Reason: string(s.Kind) + " " + s.Asset, Created: l.now, Expires: l.now.Add(l.j.cfg.AskWithin),
	}
	if s.ip.IsValid() {
		if l.snap.MayScan(s.ip) != nil || s.svc.transport == "udp" { // scanners connect; a datagram proves little
			return
		}
		t.Targets = []netip.Prefix{netip.PrefixFrom(s.ip, s.ip.BitLen())}
		t.Ports = l.askPorts(s)
	} else {
		name := strings.TrimPrefix(s.Asset, "domain/")
		if l.snap.MayResolve(name) != nil {
			return
		}
		t.Names = []string{name}
	}
	s.asked = l.now
	l.confirm = append(l.confirm, t)
}

// commonPorts are asked for where nothing is known of a host's ports: a refusal
// shows a host to be up, too.
var commonPorts = []int{22, 80, 443, 445, 3389}

// askPorts is the ports that a second look is to look at, as a task writes them.
func (l *look) askPorts(s *state) string {
	var ports []int
	if s.svc.port != 0 {
		ports = append(ports, s.svc.port)
	}
	for _, p := range s.ports {
		if p.transport == "tcp" {
			ports = append(ports, p.port)
		}
	}
	if l.o != nil && l.o.Kind == schemas.ObservedPort && l.o.Transport == "tcp" {
		ports = append(ports, l.o.Port)
	}
	if len(ports) == 0 {
		for _, w := range l.snap.ListedAt(s.ip) {
			if w.Kind == schemas.WhitelistPort && w.Transport == "tcp" {
				ports = append(ports, w.Port)
			}
		}
	}
	if len(ports) == 0 {
		ports = append(ports, s.looked...)
		ports = append(ports, commonPorts...)
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	texts := make([]string, 0, len(ports))
	for _, p := range ports[:min(len(ports), maxPorts)] {
		texts = append(texts, strconv.Itoa(p))
	}
	return strings.Join(texts, ",")
}
