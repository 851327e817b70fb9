// Package drift judges the map against the registry: what is there and is not
// whitelisted, what is whitelisted and is gone, what has become something else.
//
// It is pure: observations, registry and time come in as arguments. It never
// scans (it asks for a second look, and someone else sends the packets) and
// never changes registry or map.
//
// Nothing is an alert at first sight. A difference is suspected, a second look
// is asked for, and only a scan of another job or shard, at a later time, makes
// it open. What is open closes when two looks in a row find its cause gone, or
// when the registry allows it; passive observations can make suspect, but
// neither confirm nor close. So a service that comes and goes does not flap.
//
// An address that is not whitelisted at all is one drift, UnlistedHost, with its
// open ports in Observed; its ports are no drifts of their own.
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

	"fengsui/analyzer/assets"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// Why a drift closed.
const (
	ReasonGone         = "gone"                        // two looks found nothing
	ReasonWhitelisted  = "whitelisted"                 // the registry now allows it
	ReasonUnconfirmed  = "not confirmed"               // the second look found nothing: it was never an alert
	ReasonBack         = "back"                        // what was missing, or what was expected, is there again
	ReasonUnlisted     = "no longer whitelisted"       // nothing is expected there any more
	ReasonUnregistered = "no longer registered"        // the network or domain is no unit's any more
	ReasonCovered      = "covered by the host's drift" // the whole host is unlisted now
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
	// MaxDrifts bounds the drifts held in memory, closed ones included.
	MaxDrifts int `koanf:"max_drifts"`
}

// DefaultConfig is for one machine.
func DefaultConfig() Config {
	return Config{AskEvery: 10 * time.Minute, AskWithin: time.Hour, RecheckEvery: time.Hour, MaxDrifts: 300_000}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.AskEvery <= 0 || c.AskWithin <= 0 || c.RecheckEvery <= 0 || c.MaxDrifts <= 0 {
		return errors.New("ask_every, ask_within, recheck_every and max_drifts must be above zero")
	}
	return nil
}

// The bounds of one drift and of the judge's memory of what was seen.
const (
	maxEvidence = 20
	maxPorts    = 64 // of an unlisted host
	maxSeen     = 2_000_000
	maxRecheck  = 200
)

// unknownLook is how far a look must lie behind what a restart has made the
// judge forget the shard of, to count as another look.
const unknownLook = time.Minute

// Judge holds the drifts. It must be given every partition of the topic
// observations. It is not safe for concurrent use.
type Judge struct {
	cfg     Config
	drifts  map[string]*state       // the latest of each kind and asset
	byIP    map[netip.Addr][]*state // of hosts and services
	seen    map[service]sighting    // services that a scan saw open
	dropped uint64
}

type service struct {
	ip        netip.Addr
	transport string
	port      int
}

func (s service) key() string { return schemas.ServiceKey(s.ip, s.transport, s.port) }

// sighting is the last scan that saw a service, and what it took it for.
type sighting struct {
	look string
	at   time.Time
	name string // what the service was first found to be
	prod string
}

// state is a drift with what its rows do not hold.
type state struct {
	schemas.Drift
	ip       netip.Addr
	svc      service // of UnlistedPort, ServiceChanged and a port's ListedGone
	look     string  // the scan that suspected it; "" after a restart
	doubt    string  // the scan that first found its cause gone
	doubtAt  time.Time
	lastLook time.Time // the latest look that counted
	asked    time.Time
	up       bool // of UnlistedHost: the address answers by itself
	ports    []hostPort
	looked   []int // some of the ports that the last sweep looked at
}

type hostPort struct {
	service
	name   string
	closed bool
}

// NewJudge makes a judge that knows no drifts.
func NewJudge(cfg Config) *Judge {
	return &Judge{cfg: cfg, drifts: map[string]*state{}, byIP: map[netip.Addr][]*state{}, seen: map[service]sighting{}}
}

// Dropped counts the drifts that were not taken in to stay within MaxDrifts.
func (j *Judge) Dropped() uint64 { return j.dropped }

// Len is the number of drifts held.
func (j *Judge) Len() int { return len(j.drifts) }

// Seed puts back the drifts that were written before a restart. Of one asset the
// latest counts; closed ones tell which records are judged already.
func (j *Judge) Seed(drifts []schemas.Drift) {
	sorted := slices.Clone(drifts)
	slices.SortStableFunc(sorted, func(a, b schemas.Drift) int { return a.First.Compare(b.First) })
	for i := range sorted {
		s := &state{Drift: sorted[i]}
		s.lastLook = s.Last
		if s.Closed.After(s.lastLook) {
			s.lastLook = s.Closed
		}
		s.readAsset()
		s.readObserved()
		j.put(s)
	}
}

// SeedAssets tells the judge what services were found to be before a restart, so
// that a change is seen.
func (j *Judge) SeedAssets(list []schemas.Asset) {
	for i := range list {
		a := &list[i]
		if a.Kind != schemas.AssetService || !a.Alive || a.Service == nil {
			continue
		}
		svc := service{a.IP.Unmap(), a.Transport, a.Port}
		seen := sighting{at: a.Last, name: a.Service.Name, prod: a.Service.Product}
		if d := j.active(schemas.ServiceChanged, a.Key); d != nil {
			seen.name, seen.prod, _ = strings.Cut(d.Expected, " ")
		}
		j.seen[svc] = seen
	}
}

// Observe judges one observation. It returns the drifts that changed, the
// caller's own, and the second looks to be taken.
func (j *Judge) Observe(snap *directory.Snapshot, o *schemas.Observation, partition int, offset int64, now time.Time) (changed []schemas.Drift, confirm []schemas.ScanTask) {
	l := &look{j: j, snap: snap, o: o, partition: partition, offset: offset, now: now, scan: o.Source == assets.SourceScan}
	if l.scan {
		l.id = o.Job + "/" + o.Shard
	}
	switch o.Kind {
	case schemas.ObservedName:
		l.name()
	case schemas.ObservedHost, schemas.ObservedPort, schemas.ObservedSweep:
		if _, ours := snap.NetworkOf(o.IP); ours {
			l.address()
		}
	}
	return l.changed, l.confirm
}

// Reconsider judges every drift anew after the registry has changed. Drifts that
// it now allows, or that are nobody's business any more, close.
func (j *Judge) Reconsider(snap *directory.Snapshot, now time.Time) []schemas.Drift {
	l := &look{j: j, snap: snap, now: now}
	for _, s := range j.unclosed() {
		if reason := l.settled(s); reason != "" {
			l.close(s, reason, now)
		}
	}
	return l.changed
}

// unclosed is every drift that is suspected or open, in the order of their keys.
func (j *Judge) unclosed() []*state {
	var out []*state
	for _, s := range j.drifts {
		if s.Status != schemas.DriftClosed {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b *state) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Asset, b.Asset))
	})
	return out
}

// Recheck asks for looks that nothing else will cause: at what is suspected,
// where the question may have been lost, and at open drifts that have not been
// seen for long. An ordinary scan says nothing of an address where nobody
// answers, so a host that was switched off is only found gone when asked for.
// Call it every minute or so; it returns at most 200 tasks at a time.
func (j *Judge) Recheck(snap *directory.Snapshot, now time.Time) []schemas.ScanTask {
	l := &look{j: j, snap: snap, now: now}
	for _, s := range j.unclosed() {
		if len(l.confirm) >= maxRecheck {
			break
		}
		every := j.cfg.AskEvery
		if s.Status == schemas.DriftOpen && s.doubt == "" {
			every = j.cfg.RecheckEvery
		}
		if now.Sub(s.lastLook) >= every && now.Sub(s.asked) >= every {
			l.askAnew(s)
		}
	}
	return l.confirm
}

// settled says why the registry alone ends a drift; "" when it does not.
func (l *look) settled(s *state) string {
	switch s.Kind {
	case schemas.UnlistedDomain:
		name := strings.TrimPrefix(s.Asset, "domain/")
		if _, ok := l.snap.WhitelistedDomain(name, l.now); ok {
			return ReasonWhitelisted
		}
		if _, ok := l.snap.DomainOf(name); !ok {
			return ReasonUnregistered
		}
		return ""
	case schemas.ListedGone:
		if !l.expected(s.Whitelist) {
			return ReasonUnlisted
		}
		return ""
	}
	if _, ok := l.snap.NetworkOf(s.ip); !ok {
		return ReasonUnregistered
	}
	_, hostListed := l.snap.WhitelistedHost(s.ip, l.now)
	if s.Kind == schemas.UnlistedHost {
		if hostListed {
			return ReasonWhitelisted
		}
		return ""
	}
	entry, listed := l.snap.WhitelistedPort(s.ip, s.svc.transport, s.svc.port, l.now)
	switch {
	case !hostListed:
		return ReasonCovered
	case s.Kind == schemas.UnlistedPort && listed:
		return ReasonWhitelisted
	case s.Kind == schemas.ServiceChanged && !listed:
		return ReasonUnlisted
	case s.Kind == schemas.ServiceChanged && entry.Service != "":
		if name, _, _ := strings.Cut(s.Observed, " "); sameName(entry.Service, name) {
			return ReasonWhitelisted
		}
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

// put makes a drift the latest of its asset.
func (j *Judge) put(s *state) {
	k := driftKey(s.Kind, s.Asset)
	if old := j.drifts[k]; old != nil {
		j.unlink(old)
	} else if len(j.drifts) >= j.cfg.MaxDrifts {
		j.forget()
	}
	j.drifts[k] = s
	if s.ip.IsValid() {
		j.byIP[s.ip] = append(j.byIP[s.ip], s)
	}
}

func (j *Judge) unlink(s *state) {
	if !s.ip.IsValid() {
		return
	}
	rest := slices.DeleteFunc(j.byIP[s.ip], func(o *state) bool { return o == s })
	if len(rest) == 0 {
		delete(j.byIP, s.ip)
	} else {
		j.byIP[s.ip] = rest
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
		delete(j.drifts, driftKey(s.Kind, s.Asset))
	}
}

// active is the drift of an asset that is not closed, or nil.
func (j *Judge) active(kind schemas.DriftKind, asset string) *state {
	if s := j.drifts[driftKey(kind, asset)]; s != nil && s.Status != schemas.DriftClosed {
		return s
	}
	return nil
}

func driftKey(kind schemas.DriftKind, asset string) string { return string(kind) + " " + asset }

func driftID(kind schemas.DriftKind, asset string, first time.Time) string {
	h := sha256.Sum256([]byte(driftKey(kind, asset) + " " + strconv.FormatInt(first.UnixNano(), 10)))
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
	if s.Kind != schemas.UnlistedHost {
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
