package drift

import (
	"cmp"
	"net/netip"
	"strings"
	"time"

	"fengsui/schemas"
)

// grade says of a drift which system it is of, how much it matters, and by when it
// is to be handled.
func (l *look) grade(s *state) {
	sys, ok := l.systemOf(s)
	s.System = ""
	if ok {
		s.System = sys.Code
	}
	s.Severity = severity(s.Kind, s.Detail, s.Asset, ok && (sys.Critical || sys.Level >= 3))
	if s.Confirmed.IsZero() {
		return
	}
	s.Due = s.Confirmed.Add(l.j.cfg.Due.of(s.Severity))
	if w := s.Work; w != nil && w.State == schemas.WorkAccepted && !w.Until.IsZero() {
		s.Due = w.Until
	}
}

func (l *look) systemOf(s *state) (schemas.System, bool) {
	if code, ok := strings.CutPrefix(s.Asset, "system/"); ok {
		return l.snap.System(code)
	}
	if name, ok := strings.CutPrefix(s.Asset, "domain/"); ok {
		return l.snap.SystemOfName(name)
	}
	if s.svc.port != 0 {
		return l.snap.SystemOfPort(s.ip, s.svc.transport, s.svc.port)
	}
	if found := l.snap.SystemsAt(s.ip); s.ip != (netip.Addr{}) && len(found) == 1 {
		return found[0], true
	}
	return schemas.System{}, false
}

var levels = []schemas.Level{schemas.Low, schemas.Medium, schemas.High, schemas.Critical}

// severity is that of the kind, and a step more for a system of the third level of
// classified protection and above, or of critical infrastructure.
func severity(kind schemas.DriftKind, detail, asset string, matters bool) schemas.Level {
	base := kinds[kind].level
	switch {
	case kind == schemas.Exposed:
		base = cmp.Or(exposureLevels[schemas.ExposureKind(detail)], schemas.Medium)
	case kind == schemas.Zombie && !strings.HasPrefix(asset, "system/"):
		base = schemas.High // what nobody tends, and answers
	}
	if !matters {
		return base
	}
	for i, level := range levels[:len(levels)-1] {
		if level == base {
			return levels[i+1]
		}
	}
	return base
}

var exposureLevels = map[schemas.ExposureKind]schemas.Level{
	schemas.ExposureNoAuth: schemas.Critical, schemas.ExposureEndOfLife: schemas.High, schemas.ExposurePlainLogin: schemas.Medium,
	schemas.ExposureDirectoryListing: schemas.Medium, schemas.ExposureCertificateExpired: schemas.Medium,
	schemas.ExposureWeakTLS: schemas.Low, schemas.ExposureDefaultPage: schemas.Low,
}

func (c DueConfig) of(level schemas.Level) time.Duration {
	switch level {
	case schemas.Critical:
		return c.Critical
	case schemas.High:
		return c.High
	case schemas.Medium:
		return c.Medium
	}
	return c.Low
}

// decided takes in what a person has decided about a drift. No decision closes
// what is still seen: what is said to be fixed is looked at again, and only a
// change of a service that is allowed can be accepted for good.
func (l *look) decided(d schemas.DriftDecision) {
	s := l.j.byID[d.Drift]
	if s == nil || s.Status == schemas.DriftClosed || s.Work != nil && !d.At.After(s.Work.At) {
		return
	}
	work := d.DriftWork
	s.Work = &work
	s.step(d.At, d.By, string(d.State), d.Note)
	if l.grade(s); l.now.Before(s.Due) {
		s.Overdue = time.Time{} // it has been given more time
	}
	switch {
	case d.State == schemas.WorkAccepted && s.Kind.IsChange():
		l.j.rebase(s)
		l.close(s, ReasonAccepted, l.now)
		return
	case d.State == schemas.WorkFixed && s.Status == schemas.DriftOpen:
		// The person's word is the first of the two looks that close.
		s.Doubt, s.DoubtAt = doubtDecided, l.now
		asked := len(l.confirm)
		l.askAnew(s)
		if len(l.confirm) == asked {
			s.step(l.now, "", "waits", "nothing may be looked at on request: the next scan decides")
		}
	}
	l.write(s)
}

// doubtDecided is the doubt that a person has raised.
const doubtDecided = "decision"

// stillSeen says of a drift that was said to be fixed that it is not. What was on
// its way when the person said so does not count.
func (s *state) stillSeen(l *look) bool {
	if s.Work == nil || s.Work.State != schemas.WorkFixed || s.Doubt != doubtDecided || s.saidSince(l.at) {
		return false
	}
	s.sendBack(l)
	return true
}

// sendBack takes back a person's word that a drift is fixed: a scan has found it.
func (s *state) sendBack(l *look) {
	work := *s.Work
	work.State = schemas.WorkAcknowledged
	s.Work = &work
	s.step(l.at, "", "still_seen", l.scanOf())
}

// opened settles what a person has said of a drift while it was only suspected: the
// look that opens it contradicts that it is fixed, or is older than that word, which
// then is the first of the two looks that close.
func (l *look) opened(s *state) {
	switch {
	case !l.scan || s.Work == nil || s.Work.State != schemas.WorkFixed:
	case l.at.After(s.Work.At):
		s.sendBack(l)
	default:
		s.Doubt, s.DoubtAt = doubtDecided, s.Work.At
		l.askAnew(s)
	}
}

// saidSince says whether a person has said at or after a time that a drift is
// fixed: what was seen by then does not contradict it.
func (s *state) saidSince(at time.Time) bool {
	return s.Doubt == doubtDecided && !at.After(s.DoubtAt)
}

// late notes what was not handled in time: once.
func (l *look) late(s *state) {
	if s.Status != schemas.DriftOpen || s.Due.IsZero() || !s.Overdue.IsZero() || l.now.Before(s.Due) {
		return
	}
	s.Overdue = l.now
	s.step(l.now, "", "overdue", "")
	l.write(s)
}

// silent closes what only logs have told of, and have not for long; and what was
// suspected so long ago that nobody will look any more.
func (l *look) silent(s *state) {
	if l.now.Sub(s.lastLook) < l.j.cfg.ForgetAfter || strings.HasPrefix(s.Asset, "system/") {
		return
	}
	switch {
	case s.Status == schemas.DriftSuspected:
		l.close(s, ReasonUnconfirmed, l.now)
	case s.Status == schemas.DriftOpen && kinds[s.Kind].passive:
		l.close(s, ReasonSilent, l.now)
	}
}
