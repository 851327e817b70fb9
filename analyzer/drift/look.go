package drift

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// look is the judging of one observation, or of a change of the registry.
type look struct {
	j         *Judge
	snap      *directory.Snapshot
	o         *schemas.Observation // nil: the registry or the time has changed
	partition int
	offset    int64
	now       time.Time
	at        time.Time // when it was seen
	scan      bool
	id        handle // of a scan: job and shard

	changed []schemas.Drift
	written map[string]int // places in changed; made when there are many
	confirm []schemas.ScanTask
}

// passiveLook is what Drift.Look says of a sighting by logs.
const passiveLook = "passive"

// whyRegistry is the history's word for what no look has found, but a change of
// the registry about what was there already.
const whyRegistry = "registry"

// finding is a difference as one look sees it.
type finding struct {
	kind      schemas.DriftKind
	asset     string
	detail    string
	unit      string
	expected  string
	observed  string
	whitelist string
	ip        netip.Addr
	svc       service
	baseline  *schemas.ServiceProfile
	accept    string // the reason to close it once confirmed: it is no alert
	why       string // of the first step of its history
}

func (f *finding) key() driftKey { return driftKey{f.kind, f.asset, f.detail} }

// again says that there is no new look: what was seen before is judged anew.
func (l *look) again() bool { return l.o == nil }

// scanOf is the look's job and shard.
func (l *look) scanOf() string {
	if l.id == (handle{}) {
		return passiveLook
	}
	return l.id.Value()
}

// fresh says whether this observation is news to a drift: neither counted in
// already nor older than what was.
func (l *look) fresh(s *state) bool {
	if l.again() {
		return true
	}
	return !(l.partition == s.Partition && l.offset <= s.Offset) && !l.at.Before(s.lastLook)
}

// holds takes a look that found the difference. It returns the drift when the
// look counts.
func (l *look) holds(f finding) *state {
	s := l.j.drifts[f.key()]
	if s == nil || s.Status == schemas.DriftClosed {
		if s != nil && !l.again() && (!l.fresh(s) || !l.at.After(s.lastLook)) {
			return nil
		}
		return l.suspect(f, s)
	}
	if l.again() {
		return s
	}
	if !l.fresh(s) {
		return nil
	}
	second := l.second(s)
	l.counted(s)
	s.Last = l.at
	if !s.ofHost() && f.observed != "" && (l.scan || kinds[s.Kind].passive) {
		s.Observed, s.Expected = f.observed, cmp.Or(f.expected, s.Expected)
	}
	stillSeen := l.scan && s.stillSeen(l)
	if l.scan && !s.saidSince(l.at) || s.Look == passiveLook {
		s.Doubt, s.DoubtAt = "", time.Time{}
	}
	switch {
	case s.Status == schemas.DriftSuspected && second && f.accept != "":
		l.j.rebase(s)
		l.close(s, f.accept, l.at)
	case s.Status == schemas.DriftSuspected && second && !l.at.Before(s.Settles):
		s.Status, s.Confirmed, s.Look = schemas.DriftOpen, l.at, l.scanOf()
		s.evidence(l.o.ID)
		s.step(l.at, "", string(schemas.DriftOpen), l.o.Scanner)
		l.opened(s)
		l.write(s)
	case s.Status == schemas.DriftSuspected:
		l.ask(s)
	case stillSeen || l.scan && l.scanOf() != s.Look || !l.scan && l.at.Sub(s.Updated) > l.j.cfg.PassiveApart:
		s.Look = l.scanOf()
		l.write(s)
	}
	return s
}

// second says whether this is another look than the one that suspected.
func (l *look) second(s *state) bool {
	if !l.scan {
		return kinds[s.Kind].passive && l.at.Sub(s.First) >= l.j.cfg.PassiveApart
	}
	if !l.at.After(s.First) {
		return false
	}
	if s.Look == "" {
		return !l.tooClose(s)
	}
	return s.Look != l.scanOf()
}

// tooClose says whether this look may be the very one that made or last saw the
// drift, when it is not known which that was: rows of old do not say. A look that
// was asked for because of a suspicion is not the one that suspected.
func (l *look) tooClose(s *state) bool {
	if s.Status == schemas.DriftSuspected && strings.HasPrefix(l.o.Job, jobOf(s)) {
		return false
	}
	return l.at.Sub(s.Last) < unknownLook
}

// jobOf is what the jobs of a drift's looks begin with.
func jobOf(s *state) string { return "drift-" + s.ID + "-" }

// room makes room for one more drift and says whether there is.
func (j *Judge) room(k driftKey) bool {
	if j.drifts[k] != nil || len(j.drifts) < j.cfg.MaxDrifts {
		return true
	}
	j.forget()
	if len(j.drifts) < j.cfg.MaxDrifts {
		return true
	}
	j.dropped++
	return false
}

// suspect begins a drift; before is the one of the same key that has closed.
func (l *look) suspect(f finding, before *state) *state {
	if !l.j.room(f.key()) {
		return nil
	}
	first, evidence := l.at, ""
	if l.again() {
		first, f.why = l.now, whyRegistry
	} else {
		evidence = l.o.ID
	}
	s := &state{
		Drift: schemas.Drift{
			ID: driftID(f.key(), first), Kind: f.kind, Status: schemas.DriftSuspected, Asset: f.asset, Detail: f.detail, Unit: f.unit,
			Expected: f.expected, Observed: f.observed, Whitelist: f.whitelist, First: first, Last: first, Look: l.scanOf(), Baseline: f.baseline,
		},
		ip: f.ip, svc: f.svc, lastLook: first,
	}
	s.follow(before, l.j.cfg.Settle)
	s.step(first, "", string(schemas.DriftSuspected), f.why)
	s.evidence(evidence)
	s.Partition, s.Offset = l.partition, l.offset
	if l.again() {
		s.Offset = -1 // no record is counted in
	} else {
		s.vantage(l)
	}
	l.j.put(s)
	l.write(s)
	if f.accept == "" {
		l.ask(s)
	}
	return s
}

// follow takes over what an earlier drift of the same key leaves: its history,
// and that what closed by itself does not open anew at once.
func (s *state) follow(before *state, settle time.Duration) {
	if before == nil {
		return
	}
	s.Previous, s.Times, s.History = before.ID, before.Times+1, slices.Clone(before.History)
	s.Settles = before.Settles
	if !before.Confirmed.IsZero() && bySight(before.Reason) {
		s.Settles = before.Closed.Add(settle)
	}
}

// bySight says whether a drift closed because of what was seen, not of what the
// registry says.
func bySight(reason string) bool {
	return reason == ReasonGone || reason == ReasonBack || reason == ReasonSilent || reason == ReasonUnconfirmed
}

// fails takes a scan that did not find the difference any more.
func (l *look) fails(s *state) {
	if s == nil || s.Status == schemas.DriftClosed || !l.scan || !l.fresh(s) {
		return
	}
	id := l.scanOf()
	if s.Look == id || s.Look == "" && l.tooClose(s) {
		return // one look cannot contradict itself
	}
	l.counted(s)
	switch {
	case s.Status == schemas.DriftSuspected:
		l.close(s, ReasonUnconfirmed, l.at)
	case s.Kind == schemas.ListedGone: // an answer proves itself
		l.close(s, ReasonBack, l.at)
	case s.Doubt == "":
		s.Doubt, s.DoubtAt = id, l.at
		l.write(s)
		l.askAnew(s)
	case s.Doubt != id && l.at.After(s.DoubtAt):
		reason := ReasonGone
		if s.Kind.IsChange() && l.o.Open {
			reason = ReasonBack
		}
		l.close(s, reason, l.at)
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
	s.step(at, "", string(schemas.DriftClosed), reason)
	l.write(s)
}

// counted marks that the drift has taken this record in.
func (l *look) counted(s *state) {
	s.Partition, s.Offset = l.partition, l.offset
	s.lastLook = l.at
	s.vantage(l)
}

func (s *state) vantage(l *look) {
	if name := l.o.Scanner; l.scan && name != "" && len(s.Vantages) < maxVantages && !slices.Contains(s.Vantages, name) {
		s.Vantages = append(s.Vantages, name)
	}
}

// refresh writes an unlisted host whose ports have changed.
func (l *look) refresh(s *state) {
	l.counted(s)
	if text := s.observed(); text != s.Observed {
		s.Observed = text
		l.write(s)
	}
}

// write keeps the drift's new state for the caller: once for one observation or
// one change of the registry.
func (l *look) write(s *state) {
	l.grade(s)
	s.Updated = l.now
	at, again := l.place(s.ID)
	if !again {
		s.Version++
		at = len(l.changed)
		l.changed = append(l.changed, schemas.Drift{})
		if l.written != nil {
			l.written[s.ID] = at
		}
	}
	d := s.Drift
	d.Evidence, d.History, d.Vantages = slices.Clone(s.Evidence), slices.Clone(s.History), slices.Clone(s.Vantages)
	l.changed[at] = d
}

// place is where a drift already is among what has changed.
func (l *look) place(id string) (at int, there bool) {
	if len(l.changed) < 16 {
		at = slices.IndexFunc(l.changed, func(d schemas.Drift) bool { return d.ID == id })
		return at, at >= 0
	}
	if l.written == nil {
		l.written = make(map[string]int, len(l.changed))
		for i := range l.changed {
			l.written[l.changed[i].ID] = i
		}
	}
	at, there = l.written[id]
	return at, there
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

// step adds to the history; who is empty for the judge itself. The beginning
// stays, the newest replace one another behind it.
func (s *state) step(at time.Time, who, what, why string) {
	if len(s.History) >= schemas.MaxDriftHistory {
		s.History = slices.Delete(s.History, schemas.MaxDriftHistory/4, schemas.MaxDriftHistory/4+1)
	}
	s.History = append(s.History, schemas.DriftStep{At: at, Who: cmp.Or(who, "fengsui"), What: what, Why: why})
}

// rebase makes what a service is now what it is expected to be.
func (j *Judge) rebase(s *state) {
	if f := j.facts.service(s.svc); f != nil {
		f.was = f.is
	}
}

// ask asks for the second look, not more often than AskEvery. Of an unlisted host
// a scan tells its ports one by one and the sweep last: only then is it known
// what to look at again.
func (l *look) ask(s *state) {
	if s.ofHost() && l.scan && !l.again() && l.o.Kind != schemas.ObservedSweep {
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
		at = l.at
	}
	if s.Status == schemas.DriftSuspected && at.Before(s.Settles) {
		return // nothing it finds could open it yet
	}
	t := schemas.ScanTask{
		Job: jobOf(s) + strconv.FormatInt(at.UnixMilli(), 10), Shard: "1", Shards: 1, Kind: schemas.TaskConfirm, Unit: s.Unit,
		By: "drift", Reason: strings.TrimSpace(string(s.Kind) + " " + s.Asset + " " + s.Detail), Created: l.now, Expires: l.now.Add(l.j.cfg.AskWithin),
		NotBy: l.notBy(s),
	}
	if !l.target(s, &t) {
		return
	}
	s.asked = l.now
	l.confirm = append(l.confirm, t)
}

// notBy is the scanner that saw a suspected drift, where another is at work too.
// What only one of them can see must not be missed: when the other has found
// nothing, any may look the next time.
func (l *look) notBy(s *state) string {
	if s.Status != schemas.DriftSuspected || len(s.Vantages) != 1 {
		return ""
	}
	if n := len(s.History); n >= 2 && s.History[n-2].Why == ReasonUnconfirmed {
		return ""
	}
	for other, at := range l.j.scanners {
		if other != s.Vantages[0] && l.now.Sub(at) < 24*time.Hour {
			return s.Vantages[0]
		}
	}
	return ""
}

// target says what a task is to look at, and whether the registry allows it.
func (l *look) target(s *state, t *schemas.ScanTask) bool {
	switch {
	case s.Kind == schemas.UnregisteredMarks:
		return false // it lies outside of every scope
	case strings.HasPrefix(s.Asset, "system/"):
		return l.targetSystem(strings.TrimPrefix(s.Asset, "system/"), t)
	case !s.ip.IsValid():
		name := strings.TrimPrefix(s.Asset, "domain/")
		if l.snap.MayResolve(name) != nil {
			return false
		}
		t.Names = []string{name}
		return true
	}
	if l.snap.MayScan(s.ip) != nil {
		return false
	}
	t.Targets = []netip.Prefix{netip.PrefixFrom(s.ip, s.ip.BitLen())}
	if s.Kind == schemas.ForeignDomain && s.svc.port == 0 {
		t.Kind = schemas.TaskNames
		return s.fromPTR()
	}
	t.Ports = l.askPorts(s)
	return true
}

// commonPorts are asked for where nothing is known of a host's ports: a refusal
// shows a host to be up, too.
var commonPorts = []int{22, 80, 443, 445, 3389}

// askPorts is the ports that a second look is to look at, as a task writes them.
func (l *look) askPorts(s *state) string {
	if s.svc.transport == "udp" {
		return "u:" + strconv.Itoa(s.svc.port)
	}
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
	return portList(ports)
}

func portList(ports []int) string {
	slices.Sort(ports)
	ports = slices.Compact(ports)
	texts := make([]string, 0, len(ports))
	for _, p := range ports[:min(len(ports), maxPorts)] {
		texts = append(texts, strconv.Itoa(p))
	}
	return strings.Join(texts, ",")
}

// unknownScan is the look of what was seen before a restart.
var unknownScan = unique.Make("")
