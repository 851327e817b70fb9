package drift

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"fengsui/schemas"
)

// learnBefore is how long the judge watches before it holds against a system that
// nothing of it was ever seen.
const learnBefore = 24 * time.Hour

func inUse(s schemas.SystemState) bool {
	return s == schemas.SystemRegistered || s == schemas.SystemChanged
}

func isOff(s schemas.SystemState) bool {
	return s == schemas.SystemSuspended || s == schemas.SystemRetired
}

// answers judges what an answer of an address or one of its ports says of the
// system that it is of.
func (l *look) answers(ip netip.Addr, svc service, text string) {
	var sys schemas.System
	if svc.port != 0 {
		found, ok := l.snap.SystemOfPort(ip, svc.transport, svc.port)
		if !ok {
			return
		}
		sys = found
	} else {
		found := l.snap.SystemsAt(ip)
		if len(found) != 1 { // an address of several says nothing of one
			return
		}
		sys = found[0]
	}
	l.seen(&sys)
	if svc.port != 0 && isOff(sys.State) {
		l.holds(finding{
			kind: schemas.Zombie, asset: svc.key(), detail: sys.Code, unit: sys.Unit, ip: ip, svc: svc,
			expected: string(sys.State), observed: cmp.Or(text, "open"),
		})
	}
}

// nameAnswers judges what a name that resolves says of its system. Where a system
// has addresses, they speak for it: a name may stay when everything behind it is
// gone.
func (l *look) nameAnswers(key string, domain *schemas.Domain) {
	sys, ok := l.snap.SystemOfName(key)
	if !ok {
		return
	}
	if len(sys.Addresses) == 0 {
		l.seen(&sys)
	}
	if isOff(sys.State) {
		l.holds(finding{
			kind: schemas.Zombie, asset: schemas.DomainKey(key), detail: sys.Code, unit: cmp.Or(sys.Unit, domain.Unit),
			expected: string(sys.State), observed: "resolves",
		})
	}
}

// seen notes that something of a system answers: it is no zombie.
func (l *look) seen(sys *schemas.System) {
	at := l.at
	if was := l.j.systems[sys.Code]; at.After(was) {
		l.j.systems[sys.Code] = at
	}
	if l.again() {
		return
	}
	s := l.j.active(systemKey(sys.Code))
	if s == nil || !l.fresh(s) {
		return
	}
	reason := ReasonBack
	if s.Status == schemas.DriftSuspected {
		reason = ReasonUnconfirmed
	}
	l.counted(s)
	l.close(s, reason, l.at)
}

func systemKey(code string) driftKey { return driftKey{schemas.Zombie, "system/" + code, ""} }

// zombies suspects the systems in use of which nothing was seen for long. Of one
// that was never seen the time counts from the suspicion.
func (l *look) zombies() {
	for _, sys := range l.snap.Systems() {
		if !inUse(sys.State) || len(sys.Addresses)+len(sys.Domains) == 0 || l.j.active(systemKey(sys.Code)) != nil {
			continue
		}
		last := l.j.systems[sys.Code]
		if last.IsZero() && l.now.Sub(l.j.began) < learnBefore || !last.IsZero() && l.now.Sub(last) < l.j.cfg.ZombieAfter {
			continue
		}
		if t := (schemas.ScanTask{}); !l.targetSystem(sys.Code, &t) {
			continue // nobody may look: silence means nothing
		}
		f := finding{kind: schemas.Zombie, asset: "system/" + sys.Code, unit: sys.Unit, expected: string(sys.State), observed: "never seen"}
		if !last.IsZero() {
			f.observed = "last seen " + last.UTC().Format(time.DateOnly)
		}
		l.holds(f)
	}
}

// silentEnough says whether a suspected zombie has been silent for so long that a
// look is to decide.
func (l *look) silentEnough(s *state) bool {
	if !strings.HasPrefix(s.Asset, "system/") || s.Status != schemas.DriftSuspected {
		return true
	}
	since := l.j.systems[strings.TrimPrefix(s.Asset, "system/")]
	if since.IsZero() {
		since = s.First
	}
	return l.now.Sub(since) >= l.j.cfg.ZombieAfter
}

// targetSystem asks for all of a system that may be looked at: its names where it
// has no addresses.
func (l *look) targetSystem(code string, t *schemas.ScanTask) bool {
	sys, ok := l.snap.System(code)
	if !ok {
		return false
	}
	if len(sys.Addresses) == 0 {
		for _, name := range sys.Domains {
			if !strings.HasPrefix(name, "*.") && l.snap.MayResolve(name) == nil && len(t.Names) < maxPorts {
				t.Names = append(t.Names, name)
			}
		}
		return len(t.Names) > 0
	}
	ports := []int{}
	for _, p := range sys.Ports {
		if p.Transport == "tcp" {
			ports = append(ports, p.Port)
		}
	}
	for _, p := range sys.Addresses {
		if !p.IsSingleIP() || l.snap.MayScan(p.Addr()) != nil || len(t.Targets) >= maxPorts {
			continue
		}
		t.Targets = append(t.Targets, p)
		if len(sys.Ports) == 0 {
			for _, w := range l.snap.ListedAt(p.Addr()) {
				if w.Kind == schemas.WhitelistPort && w.Transport == "tcp" {
					ports = append(ports, w.Port)
				}
			}
		}
	}
	if len(ports) == 0 {
		ports = append(ports, commonPorts...)
	}
	t.Ports = portList(ports)
	return len(t.Targets) > 0
}

// done takes the end of a look that was asked for because a system is silent:
// nothing of it has answered, or the drift would be closed.
func (l *look) done() {
	rest, ours := strings.CutPrefix(l.o.Job, "drift-")
	id, _, _ := strings.Cut(rest, "-")
	s := l.j.byID[id]
	if !ours || s == nil || s.Status != schemas.DriftSuspected || !strings.HasPrefix(s.Asset, "system/") || !l.fresh(s) || !l.silentEnough(s) || l.at.Before(s.Settles) {
		return
	}
	l.counted(s)
	s.Status, s.Confirmed, s.Last, s.Look = schemas.DriftOpen, l.at, l.at, l.scanOf()
	s.evidence(l.o.ID)
	s.step(l.at, "", string(schemas.DriftOpen), l.o.Scanner)
	l.write(s)
}
