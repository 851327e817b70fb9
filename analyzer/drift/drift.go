// Package drift judges the map against the registry: what is there and is not
// whitelisted, what is whitelisted and is gone, what has become something else,
// what lies where it is not registered, what is exposed.
//
// It is pure: observations, registry and time come in as arguments. It never
// scans (it asks for a second look, and someone else sends the packets) and
// never changes registry or map.
//
// Nothing is an alert at first sight. A difference is suspected, a second look
// is asked for, from another scanner where there is one, and only a scan of
// another job or shard, at a later time, makes it open. What is open closes when
// two looks in a row find its cause gone, or when the registry allows it;
// passive observations can make suspect, but neither confirm nor close. So a
// service that comes and goes does not flap; and what was closed because it was
// gone does not open anew within Settle. Two kinds can only be told by logs (a
// foreign name on our address, a foreign page with our marks): for them two
// sightings PassiveApart confirm, and a long silence closes.
//
// An address that is not whitelisted at all is one drift, UnlistedHost, with its
// open ports in Observed; its ports are no drifts of their own.
//
// What was seen is remembered, so that a change of the registry is judged at
// once: only what it touches is looked at (see Reconsider).
package drift

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/marks"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// Why a drift closed.
const (
	ReasonGone         = "gone"                        // two looks found nothing
	ReasonWhitelisted  = "whitelisted"                 // the registry now allows it
	ReasonRegistered   = "registered"                  // the address or name is registered now
	ReasonUnconfirmed  = "not confirmed"               // the second look found nothing: it was never an alert
	ReasonBack         = "back"                        // what was missing, or what was expected, is there again
	ReasonSilent       = "not seen any more"           // logs have not told of it for long
	ReasonUnlisted     = "no longer whitelisted"       // nothing is expected there any more
	ReasonUnregistered = "no longer registered"        // the network, domain or system is no unit's any more
	ReasonCovered      = "covered by the host's drift" // the whole host is unlisted now
	ReasonAnother      = "another kind now"            // the registry says something else of it, and another drift tells
	ReasonAccepted     = "accepted"                    // a person has accepted what a service has become
	ReasonUpgraded     = "upgraded"                    // a newer version of the same product: never an alert
	ReasonRenewed      = "renewed"                     // a certificate of the same names and issuer: never an alert
)

// Config sets how the judge asks and what it remembers.
type Config struct {
	// AskEvery is how often at most the second look of one drift is asked for.
	AskEvery time.Duration `koanf:"ask_every"`
	// AskWithin is how long a second look may wait for its scanner.
	AskWithin time.Duration `koanf:"ask_within"`
	// RecheckEvery is how long an open drift may go unseen before Recheck asks for
	// a look whether it is still there.
	RecheckEvery time.Duration `koanf:"recheck_every"`
	// Settle is how long what has closed by itself does not open anew.
	Settle time.Duration `koanf:"settle"`
	// PassiveApart is how far two sightings by logs lie apart to confirm what only logs can tell.
	PassiveApart time.Duration `koanf:"passive_apart"`
	// ForgetAfter closes what only logs told of, when they have not for this long.
	ForgetAfter time.Duration `koanf:"forget_after"`
	// ZombieAfter is how long nothing is seen of a system in use until it is one.
	ZombieAfter time.Duration `koanf:"zombie_after"`
	// Due is the time to handle a drift, by severity.
	Due DueConfig `koanf:"due"`
	// MaxDrifts bounds the drifts held in memory, closed ones included.
	MaxDrifts int `koanf:"max_drifts"`
}

// DueConfig is how long after its confirmation a drift is due.
type DueConfig struct {
	Critical time.Duration `koanf:"critical"`
	High     time.Duration `koanf:"high"`
	Medium   time.Duration `koanf:"medium"`
	Low      time.Duration `koanf:"low"`
}

// DefaultConfig is for one machine.
func DefaultConfig() Config {
	const day = 24 * time.Hour
	return Config{
		AskEvery: 10 * time.Minute, AskWithin: time.Hour, RecheckEvery: time.Hour, Settle: time.Hour,
		PassiveApart: 10 * time.Minute, ForgetAfter: 30 * day, ZombieAfter: 30 * day,
		Due: DueConfig{Critical: day, High: 3 * day, Medium: 7 * day, Low: 30 * day}, MaxDrifts: 300_000,
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.AskEvery <= 0 || c.AskWithin <= 0 || c.RecheckEvery <= 0 || c.MaxDrifts <= 0 || c.PassiveApart <= 0 || c.ForgetAfter <= 0 || c.ZombieAfter <= 0 {
		return errors.New("ask_every, ask_within, recheck_every, passive_apart, forget_after, zombie_after and max_drifts must be above zero")
	}
	if c.Settle < 0 {
		return errors.New("settle must not be below zero")
	}
	if c.Due.Critical <= 0 || c.Due.High < c.Due.Critical || c.Due.Medium < c.Due.High || c.Due.Low < c.Due.Medium {
		return errors.New("due: critical must be above zero, and high, medium and low each at least the one before")
	}
	return nil
}

// The bounds of one drift and of what is asked for at once.
const (
	maxEvidence = 20
	maxVantages = 8
	maxPorts    = 64 // of an unlisted host
	maxRecheck  = 200
	maxScanners = 1024
)

// unknownLook is how far a look must lie behind what a restart has made the
// judge forget the shard of, to count as another look.
const unknownLook = time.Minute

// Judge holds the drifts. It must be given every partition of the topic
// observations. It is not safe for concurrent use.
type Judge struct {
	cfg     Config
	drifts  map[driftKey]*state     // the latest of each kind, asset and detail
	byIP    map[netip.Addr][]*state // of hosts and services
	byName  map[string][]*state     // of names
	byID    map[string]*state
	facts   facts
	dropped uint64

	snap     *directory.Snapshot // what everything was last judged by
	ticked   time.Time           // when time itself was last judged
	began    time.Time
	systems  map[string]time.Time // when something of a system was last seen
	scanners map[string]time.Time // when each was last heard of
	marks    *marks.Marks         // of the units; made when they are needed
	marked   int                  // drifts of sites of others that carry them
	icons    map[string]string    // favicons of pages that name their unit, with the unit

	lastJob, lastShard string // of the handle below
	lastLook           handle
}

type service struct {
	ip        netip.Addr
	transport string
	port      int
}

func (s service) key() string { return schemas.ServiceKey(s.ip, s.transport, s.port) }

// state is a drift with what its rows do not hold.
type state struct {
	schemas.Drift
	ip       netip.Addr
	svc      service   // of what is about one port
	lastLook time.Time // the latest look that counted
	asked    time.Time
	up       bool // of a host: the address answers by itself
	ports    []hostPort
	looked   []int // some of the ports that the last sweep looked at
}

type hostPort struct {
	service
	name   string
	closed bool
}

type driftKey struct {
	kind   schemas.DriftKind
	asset  string
	detail string
}

func (s *state) key() driftKey { return driftKey{s.Kind, s.Asset, s.Detail} }

// ofHost says whether a drift is of a whole address, and holds its ports.
func (s *state) ofHost() bool {
	return s.Kind == schemas.UnlistedHost || s.Kind == schemas.WhitelistExpired && strings.HasPrefix(s.Asset, "host/")
}

// NewJudge makes a judge that knows no drifts.
func NewJudge(cfg Config) *Judge {
	return &Judge{
		cfg: cfg, drifts: map[driftKey]*state{}, byIP: map[netip.Addr][]*state{}, byName: map[string][]*state{}, byID: map[string]*state{}, facts: newFacts(),
		systems: map[string]time.Time{}, scanners: map[string]time.Time{}, icons: map[string]string{},
	}
}

// Dropped counts the drifts that were not taken in to stay within MaxDrifts.
func (j *Judge) Dropped() uint64 { return j.dropped }

// Len is the number of drifts held.
func (j *Judge) Len() int { return len(j.drifts) }

// Facts is the number of services and names that are remembered.
func (j *Judge) Facts() int { return j.facts.count }

// Seed puts back the drifts that were written before a restart. Of one asset the
// latest counts; closed ones tell which records are judged already.
func (j *Judge) Seed(drifts []schemas.Drift) {
	sorted := slices.Clone(drifts)
	slices.SortStableFunc(sorted, func(a, b schemas.Drift) int { return a.First.Compare(b.First) })
	for i := range sorted {
		s := &state{Drift: sorted[i]}
		for _, at := range []time.Time{s.Last, s.Closed, s.DoubtAt} {
			if at.After(s.lastLook) {
				s.lastLook = at
			}
		}
		s.readAsset()
		s.readObserved()
		j.put(s)
	}
}

// SeedAssets tells the judge what was there before a restart. It comes after Seed,
// since of a service that has changed only its drift knows what it was.
func (j *Judge) SeedAssets(list []schemas.Asset) {
	forgotten := unknownScan
	for i := range list {
		a := &list[i]
		if !a.Alive {
			continue
		}
		switch a.Kind {
		case schemas.AssetService:
			j.seedService(a, forgotten)
		case schemas.AssetDomain:
			for _, r := range a.Records {
				j.facts.resolve(a.Name, &schemas.Observation{Name: a.Name, RecordType: r.Type, Values: r.Values, Time: a.Last}, forgotten)
			}
		}
	}
	for i := range list {
		if list[i].Kind == schemas.AssetHost && list[i].Alive {
			j.seedHost(&list[i])
		}
	}
}

func (j *Judge) seedHost(a *schemas.Asset) {
	h := j.facts.host(a.IP.Unmap())
	if !slices.ContainsFunc(h.services, func(f fact) bool { return f.open }) { // else its services may be all that answered
		h.upAt, h.upLook = a.Last.UnixNano(), unknownScan
	}
}

func (j *Judge) seedService(a *schemas.Asset, forgotten handle) {
	svc := service{a.IP.Unmap(), a.Transport, a.Port}
	f := j.facts.serve(svc, a.Last, forgotten, a.Service)
	if f == nil {
		return
	}
	if !slices.Contains(a.Sources, assets.SourceScan) && len(a.Sources) > 0 {
		f.look = handle{}
	}
	for _, s := range j.byIP[svc.ip] {
		if s.Kind.IsChange() && s.svc == svc && s.Status != schemas.DriftClosed && s.Baseline != nil {
			f.was = unique.Make(*s.Baseline)
		}
	}
	j.learnIcon(a.Unit, a.Service)
}

// Observe judges one observation. It returns the drifts that changed, the
// caller's own, and the second looks to be taken. A registry that is new to the
// judge is judged first.
func (j *Judge) Observe(snap *directory.Snapshot, o *schemas.Observation, partition int, offset int64, now time.Time) (changed []schemas.Drift, confirm []schemas.ScanTask) {
	l := &look{j: j, snap: snap, o: o, partition: partition, offset: offset, now: now, at: o.Time, scan: o.Source == assets.SourceScan}
	if snap != j.snap {
		changed, confirm = j.Reconsider(snap, now)
	}
	if l.scan {
		l.id = j.handleOf(o)
		if o.Scanner != "" {
			j.heard(o.Scanner, o.Time)
		}
	}
	switch o.Kind {
	case schemas.ObservedName:
		l.name()
	case schemas.ObservedDone:
		l.done()
	case schemas.ObservedHost, schemas.ObservedPort, schemas.ObservedSweep:
		if _, ours := snap.NetworkOf(o.IP); ours {
			l.address()
		} else if o.Kind == schemas.ObservedPort && o.Open {
			l.foreign()
		}
	}
	return append(changed, l.changed...), append(confirm, l.confirm...)
}

// handleOf is the look that an observation belongs to. Those of one shard come
// one after another.
func (j *Judge) handleOf(o *schemas.Observation) handle {
	if j.lastLook == (handle{}) || o.Job != j.lastJob || o.Shard != j.lastShard {
		j.lastJob, j.lastShard, j.lastLook = o.Job, o.Shard, unique.Make(o.Job+"/"+o.Shard)
	}
	return j.lastLook
}

func (j *Judge) heard(scanner string, at time.Time) {
	was, known := j.scanners[scanner]
	if !known && len(j.scanners) >= maxScanners {
		return
	}
	if at.After(was) {
		j.scanners[scanner] = at
	}
}

// Recheck asks for looks that nothing else will cause: at what is suspected,
// where the question may have been lost, and at open drifts that have not been
// seen for long. An ordinary scan says nothing of an address where nobody
// answers, so a host that was switched off is only found gone when asked for.
// Call it every minute or so; it returns at most 200 tasks at a time.
func (j *Judge) Recheck(snap *directory.Snapshot, now time.Time) []schemas.ScanTask {
	l := &look{j: j, snap: snap, now: now}
	var due []*state
	for _, s := range j.drifts {
		if s.Status == schemas.DriftClosed || s.Kind == schemas.Zombie && !l.silentEnough(s) {
			continue
		}
		every := j.cfg.AskEvery
		if s.Status == schemas.DriftOpen && s.Doubt == "" {
			every = j.cfg.RecheckEvery
		}
		if now.Sub(s.lastLook) >= every && now.Sub(s.asked) >= every {
			due = append(due, s)
		}
	}
	// What waits the longest comes first, so that nothing waits for ever.
	slices.SortFunc(due, func(a, b *state) int { return cmp.Or(a.asked.Compare(b.asked), cmp.Compare(a.ID, b.ID)) })
	for _, s := range due {
		if len(l.confirm) >= maxRecheck {
			break
		}
		l.askAnew(s)
	}
	return l.confirm
}

// put makes a drift the latest of its asset.
func (j *Judge) put(s *state) {
	k := s.key()
	if old := j.drifts[k]; old != nil {
		j.unlink(old)
	} else if len(j.drifts) >= j.cfg.MaxDrifts {
		j.forget()
	}
	j.drifts[k], j.byID[s.ID] = s, s
	if s.Kind == schemas.UnregisteredMarks {
		j.marked++
	}
	if s.ip.IsValid() {
		j.byIP[s.ip] = append(j.byIP[s.ip], s)
	}
	if name, ok := strings.CutPrefix(s.Asset, "domain/"); ok {
		j.byName[name] = append(j.byName[name], s)
	}
}

func (j *Judge) unlink(s *state) {
	delete(j.byID, s.ID)
	if s.Kind == schemas.UnregisteredMarks {
		j.marked--
	}
	if s.ip.IsValid() {
		drop(j.byIP, s.ip, s)
	}
	if name, ok := strings.CutPrefix(s.Asset, "domain/"); ok {
		drop(j.byName, name, s)
	}
}

func drop[K comparable](index map[K][]*state, key K, s *state) {
	rest := slices.DeleteFunc(index[key], func(o *state) bool { return o == s })
	if len(rest) == 0 {
		delete(index, key)
	} else {
		index[key] = rest
	}
}

// forget drops the half of the closed drifts that has been closed the longest.
func (j *Judge) forget() {
	var closed []*state
	for _, s := range j.drifts {
		if s.Status == schemas.DriftClosed {
			closed = append(closed, s)
		}
	}
	slices.SortFunc(closed, func(a, b *state) int { return cmp.Or(a.Closed.Compare(b.Closed), cmp.Compare(a.ID, b.ID)) })
	for _, s := range closed[:(len(closed)+1)/2] {
		j.unlink(s)
		delete(j.drifts, s.key())
	}
}

// active is the drift of an asset that is not closed, or nil.
func (j *Judge) active(k driftKey) *state {
	if s := j.drifts[k]; s != nil && s.Status != schemas.DriftClosed {
		return s
	}
	return nil
}

func driftID(k driftKey, first time.Time) string {
	text := string(k.kind) + " " + k.asset
	if k.detail != "" {
		text += " " + k.detail
	}
	h := sha256.Sum256([]byte(text + " " + strconv.FormatInt(first.UnixNano(), 10)))
	return hex.EncodeToString(h[:16])
}

// readAsset reads address, transport and port back out of the asset's key.
func (s *state) readAsset() {
	if s.Kind == schemas.ListedGone {
		if ip, transport, port, err := readEntryKey(s.Asset); err == nil {
			s.ip, s.svc = ip, service{ip, transport, port}
		}
		return
	}
	kind, rest, _ := strings.Cut(s.Asset, "/")
	text, rest, _ := strings.Cut(rest, "/")
	ip, err := netip.ParseAddr(text)
	if err != nil || kind == "domain" {
		return
	}
	s.ip = ip
	if transport, port, ok := strings.Cut(rest, "/"); ok {
		n, _ := strconv.Atoi(port) // 0 matches no port
		s.svc = service{ip, transport, n}
	}
}

// readEntryKey reads the key of a whitelist entry of one address:
// "host/192.0.2.1/32" or "port/192.0.2.1/32/tcp/80".
func readEntryKey(key string) (ip netip.Addr, transport string, port int, err error) {
	parts := strings.Split(key, "/")
	if len(parts) < 3 {
		return ip, "", 0, fmt.Errorf("whitelist key %q is not of an address", key)
	}
	p, err := netip.ParsePrefix(parts[1] + "/" + parts[2])
	if err != nil || !p.IsSingleIP() {
		return ip, "", 0, fmt.Errorf("whitelist key %q is not of one address", key)
	}
	if len(parts) == 5 {
		if port, err = strconv.Atoi(parts[4]); err != nil {
			return ip, "", 0, fmt.Errorf("whitelist key %q: %w", key, err)
		}
		return p.Addr(), cmp.Or(parts[3], "tcp"), port, nil
	}
	return p.Addr(), "", 0, nil
}

// observed writes an unlisted host's open ports: "up, 22/tcp ssh, 80/tcp http".
// When nothing answers any more it shows what was there.
func (s *state) observed() string {
	var parts []string
	if s.up {
		parts = append(parts, "up")
	}
	alive := s.up || slices.ContainsFunc(s.ports, func(p hostPort) bool { return !p.closed })
	for _, p := range s.ports {
		if !p.closed || !alive {
			parts = append(parts, strings.TrimSpace(fmt.Sprintf("%d/%s %s", p.port, p.transport, p.name)))
		}
	}
	return strings.Join(parts, ", ")
}

// readObserved reads an unlisted host's ports back.
func (s *state) readObserved() {
	if !s.ofHost() {
		return
	}
	for part := range strings.SplitSeq(s.Observed, ", ") {
		if part == "up" {
			s.up = true
			continue
		}
		at, name, _ := strings.Cut(part, " ")
		number, transport, _ := strings.Cut(at, "/")
		if port, err := strconv.Atoi(number); err == nil {
			s.ports = append(s.ports, hostPort{service: service{s.ip, transport, port}, name: name})
		}
	}
}

// sameName compares services' names; some tools have names of their own.
func sameName(a, b string) bool { return ianaName(a) == ianaName(b) }

func ianaName(name string) string {
	switch name = strings.ToLower(name); name {
	case "dns":
		return "domain"
	case "www":
		return "http"
	case "ssl/http":
		return "https"
	case "postgres":
		return "postgresql"
	case "rdp":
		return "ms-wbt-server"
	case "smb":
		return "microsoft-ds"
	}
	return name
}
