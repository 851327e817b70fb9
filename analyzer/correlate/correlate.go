// Package correlate folds matches into alerts: it counts them where a rule asks
// for many within a time, raises one alert for one cause, and adds what follows
// to that alert. It is pure: records come in with their place in the topic, and
// time comes in as an argument; it never reads a clock, a topic or a database.
//
// The fold can be repeated. A record that is delivered again, at the same
// offset or as a second copy, changes nothing.
package correlate

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"fengsui/analyzer/seen"
	"fengsui/schemas"
)

// Config bounds the fold.
type Config struct {
	// Quiet is how long after an alert's first match further ones of its group
	// join it, in event time, where the rule does not say.
	Quiet time.Duration `koanf:"quiet"`
	// MaxGroups bounds the groups held in memory; the longest unused goes first.
	MaxGroups int `koanf:"max_groups"`
	// MaxSeen bounds the match ids remembered to recognise a second copy.
	MaxSeen int `koanf:"max_seen"`
}

// DefaultConfig is for one machine: about 300 MB at the bounds.
func DefaultConfig() Config {
	return Config{Quiet: time.Hour, MaxGroups: 200_000, MaxSeen: 1_000_000}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Quiet <= 0 || c.MaxGroups <= 0 || c.MaxSeen <= 0 {
		return errors.New("quiet, max_groups and max_seen must be above zero")
	}
	return nil
}

// Fold is the state of one partition of the topic matches. It is not safe for
// concurrent use.
type Fold struct {
	cfg     Config
	groups  map[string]*group
	oldest  *group // least recently used
	newest  *group
	seen    *seen.Set // ids of matches
	evicted uint64
}

// group is what is known of one rule and one set of group values.
type group struct {
	key        string
	alerts     []*schemas.Alert // newest last
	recent     []sighting       // of a rule with a window, in order of time
	prev, succ *group
}

type sighting struct {
	at      time.Time
	eventID string
}

// maxAlerts bounds the alerts of one group that are still open to joining:
// more are only alive at once when events come far out of order.
const maxAlerts = 4

// New makes an empty fold.
func New(cfg Config) *Fold {
	return &Fold{cfg: cfg, groups: map[string]*group{}, seen: seen.New(cfg.MaxSeen)}
}

// Evicted counts the groups that were dropped to stay within MaxGroups; a
// dropped group may raise its alert a second time.
func (f *Fold) Evicted() uint64 { return f.evicted }

// Groups is the number of groups held.
func (f *Fold) Groups() int { return len(f.groups) }

// Seed puts back the alerts that were written before a restart. Alerts of other
// kinds than rules are passed over.
func (f *Fold) Seed(alerts []schemas.Alert) {
	slices.SortFunc(alerts, func(a, b schemas.Alert) int { return a.Raised.Compare(b.Raised) })
	for i := range alerts {
		a := alerts[i]
		if a.Kind != schemas.AlertRule {
			continue
		}
		f.group(alertKey(&a)).addAlert(&a)
	}
}

// alertKey is schemas.Match.Key for the matches of the alert.
func alertKey(a *schemas.Alert) string {
	m := schemas.Match{Kind: schemas.MatchRule, Rule: a.Rule, Group: a.Group}
	return m.Key()
}

// Warm takes a record from before the committed offset, when the window is read
// again after a restart: it counts for what comes, and raises nothing.
func (f *Fold) Warm(m *schemas.Match) {
	if m.Kind != schemas.MatchRule || f.seen.Note(m.ID()) {
		return
	}
	if m.Window.AtLeast > 1 {
		f.group(m.Key()).note(m)
	}
}

// Add folds one record in. It returns the alert that changed, or nil. The alert
// is the fold's own: copy it before the next call.
func (f *Fold) Add(m *schemas.Match, partition int, offset int64, now time.Time) *schemas.Alert {
	if m.Kind != schemas.MatchRule || f.seen.Note(m.ID()) {
		return nil
	}
	g := f.group(m.Key())
	quiet := f.quiet(m)
	if a := g.alertFor(m.Time, quiet); a != nil {
		if m.Window.AtLeast > 1 {
			g.note(m)
		}
		return join(a, m, partition, offset, now)
	}
	var counted []sighting
	if m.Window.AtLeast > 1 {
		if counted = g.note(m); counted == nil {
			return nil
		}
	} else {
		counted = []sighting{{m.Time, m.EventID}}
	}
	a := raise(m, counted, partition, offset, now)
	g.addAlert(a)
	return a
}

func (f *Fold) quiet(m *schemas.Match) time.Duration {
	if m.Quiet > 0 {
		return m.Quiet
	}
	return max(f.cfg.Quiet, m.Window.Timespan)
}

// group finds or makes a group and marks it as used.
func (f *Fold) group(key string) *group {
	g, ok := f.groups[key]
	if ok {
		f.unlink(g)
	} else {
		if len(f.groups) >= f.cfg.MaxGroups {
			delete(f.groups, f.oldest.key)
			f.unlink(f.oldest)
			f.evicted++
		}
		g = &group{key: key}
		f.groups[key] = g
	}
	g.prev = f.newest
	if f.newest != nil {
		f.newest.succ = g
	}
	f.newest = g
	if f.oldest == nil {
		f.oldest = g
	}
	return g
}

func (f *Fold) unlink(g *group) {
	if g.prev != nil {
		g.prev.succ = g.succ
	} else {
		f.oldest = g.succ
	}
	if g.succ != nil {
		g.succ.prev = g.prev
	} else {
		f.newest = g.prev
	}
	g.prev, g.succ = nil, nil
}

func (g *group) addAlert(a *schemas.Alert) {
	g.alerts = append(g.alerts, a)
	if len(g.alerts) > maxAlerts {
		g.alerts = slices.Delete(g.alerts, 0, len(g.alerts)-maxAlerts)
	}
}

// alertFor is the alert that an event at t belongs to: the latest that began
// within quiet of it.
func (g *group) alertFor(t time.Time, quiet time.Duration) *schemas.Alert {
	for _, a := range slices.Backward(g.alerts) {
		if d := t.Sub(a.First); d <= quiet && d >= -quiet && a.Status == schemas.AlertOpen {
			return a
		}
	}
	return nil
}

// note counts a match of a rule with a window. When it completes a window it
// returns what lies in that window and begins to count anew; else nil.
func (g *group) note(m *schemas.Match) []sighting {
	at, _ := slices.BinarySearchFunc(g.recent, m.Time, func(s sighting, t time.Time) int { return s.at.Compare(t) })
	g.recent = slices.Insert(g.recent, at, sighting{m.Time, m.EventID})
	n := m.Window.AtLeast
	for first := max(0, at-n+1); first <= at && first+n <= len(g.recent); first++ {
		window := g.recent[first : first+n]
		if window[n-1].at.Sub(window[0].at) <= m.Window.Timespan {
			counted := slices.Clone(window)
			g.recent = nil
			return counted
		}
	}
	// What is a timespan older than the newest can only matter to late events:
	// as many are kept as a window needs.
	newest := g.recent[len(g.recent)-1].at
	old, _ := slices.BinarySearchFunc(g.recent, newest.Add(-2*m.Window.Timespan), func(s sighting, t time.Time) int { return s.at.Compare(t) })
	if drop := max(old, len(g.recent)-4*n); drop > 0 {
		g.recent = slices.Delete(g.recent, 0, drop)
	}
	return nil
}

func raise(m *schemas.Match, counted []sighting, partition int, offset int64, now time.Time) *schemas.Alert {
	a := &schemas.Alert{
		ID: alertID(m), Version: 1, Kind: schemas.AlertRule, Status: schemas.AlertOpen, Rule: m.Rule,
		Unit: m.Unit, Host: m.Host, Group: m.Group, First: counted[0].at, Last: counted[len(counted)-1].at,
		Raised: now, Updated: now, Received: m.Received, Count: uint64(len(counted)), Satisfied: m.Satisfied,
		Summary: m.Summary, Drill: m.Drill, Partition: partition, Offset: offset,
	}
	for _, s := range counted {
		a.EventIDs = AppendBounded(a.EventIDs, s.eventID)
	}
	return a
}

// join adds a match to an alert, unless its record is already counted in.
func join(a *schemas.Alert, m *schemas.Match, partition int, offset int64, now time.Time) *schemas.Alert {
	if partition == a.Partition && offset <= a.Offset {
		return nil
	}
	a.Version++
	a.Count++
	a.Partition, a.Offset, a.Updated = partition, offset, now
	if m.Time.Before(a.First) {
		a.First = m.Time
	}
	if m.Time.After(a.Last) {
		a.Last = m.Time
	}
	a.EventIDs = AppendBounded(a.EventIDs, m.EventID)
	return a
}

// AppendBounded appends and keeps schemas.MaxAlertEvents: the first half stays,
// the newest replace one another in the second.
func AppendBounded[T any](s []T, v T) []T {
	if len(s) >= schemas.MaxAlertEvents {
		s = slices.Delete(s, schemas.MaxAlertEvents/2, schemas.MaxAlertEvents/2+1)
	}
	return append(s, v)
}

// alertID is made of what raised the alert, so that the same records raise the
// same alert again.
func alertID(m *schemas.Match) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q", []string{m.Key(), m.EventID})
	return hex.EncodeToString(h.Sum(nil)[:16])
}
