package mining

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"fengsui/analyzer/seen"
	"fengsui/schemas"
)

// FoldConfig bounds the fold.
type FoldConfig struct {
	// Threshold is the confidence from which a detection is raised.
	Threshold float64 `koanf:"threshold"`
	// Quiet is how long, in event time, a host may show nothing and still be in
	// the same detection.
	Quiet time.Duration `koanf:"quiet"`
	// MaxHosts bounds the hosts held in memory; the longest unused goes first.
	MaxHosts int `koanf:"max_hosts"`
	// MaxSeen bounds the match ids remembered to recognise a second copy.
	MaxSeen int `koanf:"max_seen"`
}

// DefaultFoldConfig is for one machine.
func DefaultFoldConfig() FoldConfig {
	return FoldConfig{Threshold: 0.5, Quiet: 24 * time.Hour, MaxHosts: 100_000, MaxSeen: 500_000}
}

// Validate checks the configuration.
func (c FoldConfig) Validate() error {
	if c.Threshold < weakBelow || c.Threshold > maxConfidence {
		return fmt.Errorf("threshold %v is not from %v to %v", c.Threshold, weakBelow, maxConfidence)
	}
	if c.Quiet <= 0 || c.MaxHosts <= 0 || c.MaxSeen <= 0 {
		return errors.New("quiet, max_hosts and max_seen must be above zero")
	}
	return nil
}

const (
	maxConfidence = 0.99 // nothing is certain
	maxEpisodes   = 8    // of one host: more are only alive at once when events come far out of order
	maxNames      = 20   // pools, coins, protocols and wallets named in one detection
)

// Fold is the state of one partition of the topic matches. It is not safe for
// concurrent use.
type Fold struct {
	cfg     FoldConfig
	hosts   map[string]*host
	used    uint64    // counts up
	seen    *seen.Set // ids of matches
	evicted uint64
}

// host is what is known of one host: its episodes of mining in the order they
// were begun. An episode is a detection, raised (Version above 0) or not yet.
type host struct {
	used     uint64
	touched  time.Time
	episodes []*schemas.MiningDetection
}

// NewFold makes an empty fold.
func NewFold(cfg FoldConfig) *Fold {
	return &Fold{cfg: cfg, hosts: map[string]*host{}, seen: seen.New(cfg.MaxSeen)}
}

// Hosts is the number of hosts held.
func (f *Fold) Hosts() int { return len(f.hosts) }

// Evicted counts the hosts dropped to stay within MaxHosts. Such a host may be
// detected a second time.
func (f *Fold) Evicted() uint64 { return f.evicted }

// Seed puts back the detections that were written before a restart.
func (f *Fold) Seed(detections []schemas.MiningDetection) {
	sorted := slices.Clone(detections)
	slices.SortStableFunc(sorted, func(a, b schemas.MiningDetection) int {
		return cmp.Or(a.Raised.Compare(b.Raised), cmp.Compare(a.ID, b.ID))
	})
	for i := range sorted {
		h := f.host(key(sorted[i].Unit, sorted[i].Host), sorted[i].Updated)
		h.add(clone(&sorted[i]))
	}
}

// Warm takes a record from before the committed offset, when the window is read
// again after a restart: it counts for what comes, where it is not counted yet.
func (f *Fold) Warm(m *schemas.Match, partition int, offset int64) {
	f.Add(m, partition, offset, m.Received)
}

// Add folds one record in. It returns the detection, the caller's own, when the
// record raised or changed it; else nil and false. A record that is delivered
// again changes nothing, be it at the same offset or as a second copy.
func (f *Fold) Add(m *schemas.Match, partition int, offset int64, now time.Time) (*schemas.MiningDetection, bool) {
	if m.Kind != schemas.MatchMining || m.Mining == nil || m.Host == "" || f.seen.Note(m.ID()) {
		return nil, false
	}
	h := f.host(key(m.Unit, m.Host), now)
	d := h.episode(m.Mining.Time, f.cfg.Quiet)
	if d == nil {
		d = &schemas.MiningDetection{
			ID: detectionID(m), Status: schemas.AlertOpen, Host: m.Host, Unit: m.Unit,
			First: m.Mining.Time, Last: m.Mining.Time, Partition: partition, Offset: -1,
		}
		h.add(d)
	}
	if partition == d.Partition && offset <= d.Offset {
		return nil, false
	}
	d.Partition, d.Offset = partition, offset
	count(d, m)
	if d.Version == 0 {
		if d.Confidence < f.cfg.Threshold {
			return nil, false
		}
		d.Raised, d.Received = now, m.Received
	}
	d.Version++
	d.Updated = now
	return clone(d), true
}

// Forget drops hosts of which nothing has come for twice Quiet, by the time that
// is told to Add. Evidence that comes later begins a new detection.
func (f *Fold) Forget(now time.Time) {
	for k, h := range f.hosts {
		if now.Sub(h.touched) > 2*f.cfg.Quiet {
			delete(f.hosts, k)
		}
	}
}

// count takes one piece of evidence into a detection.
func count(d *schemas.MiningDetection, m *schemas.Match) {
	e := *m.Mining
	d.Count++
	d.Drill = d.Drill || m.Drill
	if e.Time.Before(d.First) {
		d.First = e.Time
	}
	if e.Time.After(d.Last) {
		d.Last = e.Time
	}
	d.Evidence = keep(d.Evidence, e)
	if e.Weight >= weakBelow { // a pool's page or a port does not say which pool
		d.Pools = name(d.Pools, e.Pool)
	}
	d.Coins = name(d.Coins, e.Coin)
	d.Protocols = name(d.Protocols, e.Protocol)
	d.Wallets = name(d.Wallets, e.Wallet)
	d.Confidence = max(d.Confidence, confidence(d.Evidence))
}

// name adds a name to a bounded, sorted list of different ones.
func name(names []string, n string) []string {
	at, known := slices.BinarySearch(names, n)
	if n == "" || known || len(names) >= maxNames {
		return names
	}
	return slices.Insert(names, at, n)
}

// source is what makes evidence independent of other evidence: the same thing
// seen a thousand times is one source.
type source struct {
	kind schemas.EvidenceKind
	pool string
}

// confidence is the probability that not all sources are wrong. Weak evidence
// alone, however much, stays below every threshold.
func confidence(evidence []schemas.MiningEvidence) float64 {
	heaviest := make(map[source]float64, 8)
	for i := range evidence {
		s := source{evidence[i].Kind, evidence[i].Pool}
		if evidence[i].Weight < weakBelow {
			s.pool = "" // many ports are one hint
		}
		heaviest[s] = max(heaviest[s], evidence[i].Weight)
	}
	weights := make([]float64, 0, len(heaviest))
	for _, w := range heaviest {
		weights = append(weights, w)
	}
	slices.Sort(weights) // the product of floats depends on the order
	wrong, strong := 1.0, false
	for _, w := range weights {
		wrong *= 1 - w
		strong = strong || w >= weakBelow
	}
	if !strong {
		return min(1-wrong, weakBelow)
	}
	return min(1-wrong, maxConfidence)
}

// keep appends evidence within schemas.MaxAlertEvents. The first half stays; in
// the second the oldest whose source is shown by another piece goes, so that the
// confidence can be told from what is kept.
func keep(evidence []schemas.MiningEvidence, e schemas.MiningEvidence) []schemas.MiningEvidence {
	evidence = append(evidence, e)
	if len(evidence) <= schemas.MaxAlertEvents {
		return evidence
	}
	shown := make(map[source]int, 8)
	for i := range evidence {
		shown[source{evidence[i].Kind, evidence[i].Pool}]++
	}
	half := schemas.MaxAlertEvents / 2
	for i := half; i < len(evidence); i++ {
		if shown[source{evidence[i].Kind, evidence[i].Pool}] > 1 {
			return slices.Delete(evidence, i, i+1)
		}
	}
	return slices.Delete(evidence, half, half+1)
}

// episode is the one that evidence of time t belongs to: the first begun within
// quiet of it.
func (h *host) episode(t time.Time, quiet time.Duration) *schemas.MiningDetection {
	for _, d := range h.episodes {
		if !t.Before(d.First.Add(-quiet)) && !t.After(d.Last.Add(quiet)) {
			return d
		}
	}
	return nil
}

func (h *host) add(d *schemas.MiningDetection) {
	h.episodes = append(h.episodes, d)
	if len(h.episodes) <= maxEpisodes {
		return
	}
	oldest := 0
	for i, e := range h.episodes[:maxEpisodes] {
		if e.Last.Before(h.episodes[oldest].Last) {
			oldest = i
		}
	}
	h.episodes = slices.Delete(h.episodes, oldest, oldest+1)
}

func key(unit, host string) string { return unit + "\x1f" + host }

// host finds or makes a host and marks it as used.
func (f *Fold) host(key string, now time.Time) *host {
	h, ok := f.hosts[key]
	if !ok {
		if len(f.hosts) >= f.cfg.MaxHosts {
			f.evict()
		}
		h = &host{}
		f.hosts[key] = h
	}
	f.used++
	h.used = f.used
	if now.After(h.touched) {
		h.touched = now
	}
	return h
}

// evict drops the tenth of the hosts that was not used for the longest, so that
// its cost is spread over many additions.
func (f *Fold) evict() {
	type use struct {
		key  string
		used uint64
	}
	uses := make([]use, 0, len(f.hosts))
	for k, h := range f.hosts {
		uses = append(uses, use{k, h.used})
	}
	slices.SortFunc(uses, func(a, b use) int { return cmp.Compare(a.used, b.used) })
	for _, u := range uses[:len(uses)/10+1] {
		delete(f.hosts, u.key)
		f.evicted++
	}
}

// detectionID is made of unit, host and first evidence, so that the same records
// make the same detection again.
func detectionID(m *schemas.Match) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", []string{"mining", m.Unit, m.Host, m.ID()})
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func clone(d *schemas.MiningDetection) *schemas.MiningDetection {
	c := *d
	c.Pools, c.Coins, c.Protocols, c.Wallets = slices.Clone(d.Pools), slices.Clone(d.Coins), slices.Clone(d.Protocols), slices.Clone(d.Wallets)
	c.Evidence = slices.Clone(d.Evidence)
	return &c
}

// RuleID is the rule of every alert about mining.
const RuleID = "mining"

// ToAlert is the alert that tells people of a detection. It has the detection's
// id and version, so that it is updated in place with it.
func ToAlert(d *schemas.MiningDetection) schemas.Alert {
	level := schemas.Medium
	if d.Confidence >= 0.8 {
		level = schemas.High
	}
	a := schemas.Alert{
		ID: d.ID, Version: d.Version, Kind: schemas.AlertMining, Status: d.Status,
		Rule: schemas.Rule{ID: RuleID, Title: "主机疑似挖矿 / Host appears to mine cryptocurrency", Level: level, Tags: []string{"attack.impact", "attack.t1496"}},
		Unit: d.Unit, Host: d.Host, Group: []schemas.GroupValue{{Field: "host", Value: d.Host}},
		First: d.First, Last: d.Last, Raised: d.Raised, Received: d.Received, Updated: d.Updated, Count: d.Count, Drill: d.Drill,
		Partition: d.Partition, Offset: d.Offset, Summary: summary(d), Who: d.Who,
	}
	for i := range d.Evidence {
		e := &d.Evidence[i]
		if !slices.Contains(a.EventIDs, e.EventID) {
			a.EventIDs = append(a.EventIDs, e.EventID)
		}
		s := schemas.Satisfied{Selection: string(e.Kind), Field: "pool", Value: cmp.Or(e.Pool, e.Detail)}
		if len(a.Satisfied) < maxNames && !slices.Contains(a.Satisfied, s) {
			a.Satisfied = append(a.Satisfied, s)
		}
	}
	return a
}

func summary(d *schemas.MiningDetection) string {
	s := fmt.Sprintf("%s 置信度 / confidence %.0f%%", d.Host, 100*d.Confidence)
	for _, part := range []struct {
		label string
		names []string
	}{{"矿池 / pool", d.Pools}, {"币种 / coin", d.Coins}, {"协议 / protocol", d.Protocols}} {
		if len(part.names) > 0 {
			s += "；" + part.label + " " + strings.Join(part.names[:min(3, len(part.names))], ", ")
		}
	}
	return s
}

// SetWho writes into a raised detection who was behind its host's address, and
// returns it as Add does: nil if it is not held any more.
func (f *Fold) SetWho(unit, name, id string, who []schemas.Identity, now time.Time) *schemas.MiningDetection {
	h := f.hosts[key(unit, name)]
	if h == nil {
		return nil
	}
	for _, d := range h.episodes {
		if d.ID == id && d.Version > 0 {
			d.Who, d.Updated = who, now
			d.Version++
			return clone(d)
		}
	}
	return nil
}
