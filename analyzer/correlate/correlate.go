// Package correlate folds matches into alerts: it counts them where a rule asks
// for many, for several or for an order within a time, raises one alert for one
// cause, and adds what follows to that alert. It is pure: records come in with
// their place in the topic, and time comes in as an argument; it never reads a
// clock, a topic or a database.
//
// The fold can be repeated. A record that is delivered again, at the same
// offset or as a second copy, changes nothing.
//
// # Windows
//
// A correlation's condition is looked at for each event, over the timespan that
// ends with it, both ends included, in the order of event time. An event that
// comes late, within Config.Lateness of the newest of its group, is put in its
// place, and what is newer is looked at again: which events met the condition
// does not depend on the order in which they came. Alerts are raised at once. A
// condition that more events can undo (lt, lte, eq, neq, not, and the computed
// values) may turn out not to have been met when a late one comes; then its alert
// is closed and says so.
package correlate

import (
	"cmp"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/cespare/xxhash/v2"

	"fengsui/analyzer/seen"
	"fengsui/schemas"
)

// Config bounds the fold.
type Config struct {
	// Quiet is how long after an alert's first match further ones of its group
	// join it, in event time, where the rule does not say. For a correlation it
	// is at least its timespan and the lateness.
	Quiet time.Duration `koanf:"quiet"`
	// Lateness is how much older than the newest event of its group an event may
	// be and still count rightly in a correlation. It also bounds how far a
	// time may lie ahead of when the collector received the event: beyond, the
	// time of receipt is taken.
	Lateness time.Duration `koanf:"lateness"`
	// MaxGroups bounds the groups held in memory, of all rules together.
	MaxGroups int `koanf:"max_groups"`
	// MaxRuleGroups bounds the groups of one rule; one that was not used lately
	// goes first.
	MaxRuleGroups int `koanf:"max_rule_groups"`
	// MaxRuleEvents bounds the counted events, or values of events, that are held
	// of one rule; a group that was not used lately goes first.
	MaxRuleEvents int `koanf:"max_rule_events"`
	// MaxEvents bounds those of one group; the oldest go first. A rule that asks
	// for more of them gets them.
	MaxEvents int `koanf:"max_events"`
	// MaxValues bounds the distinct values of one group in the same way.
	MaxValues int `koanf:"max_values"`
	// MaxSeen bounds the match ids remembered to recognise a second copy.
	MaxSeen int `koanf:"max_seen"`
}

// DefaultConfig is for one machine: a rule at its bound of groups, with ten events
// in each, takes 240 to 280 MB beside the texts of the events' ids.
func DefaultConfig() Config {
	return Config{
		Quiet: time.Hour, Lateness: 5 * time.Minute, MaxGroups: 200_000, MaxRuleGroups: 100_000,
		MaxRuleEvents: 2_000_000, MaxEvents: 20_000, MaxValues: 20_000, MaxSeen: 1_000_000,
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Quiet <= 0 || min(c.MaxGroups, c.MaxRuleGroups, c.MaxRuleEvents, c.MaxEvents, c.MaxValues, c.MaxSeen) <= 0 {
		return errors.New("quiet, max_groups, max_rule_groups, max_rule_events, max_events, max_values and max_seen must be above zero")
	}
	if c.Lateness < 0 || c.Lateness > 24*time.Hour {
		return errors.New("lateness must be between zero and a day")
	}
	return nil
}

// Fold is the state of one partition of the topic matches. It is not safe for
// concurrent use.
type Fold struct {
	cfg    Config
	groups index
	rules  map[string]*ruleState
	latest *ruleState
	lossy  []*ruleState // those with something in losses
	seen   *seen.Set

	expected []ahead
	reached  int    // how many of them came
	near     uint64 // what was read ahead, which has no meaning

	event  []sighting // what is being put in
	origin origin     // of event
	alerts []*schemas.Alert
	next   []schemas.Match
}

// ruleState is what is held of one rule.
type ruleState struct {
	rule   schemas.Rule
	def    *definition // the newest that came
	broken string      // version of a correlation that cannot be counted
	groups []*group
	hand   int // where the search for a group to evict goes on
	events int // sightings of all groups
	lost   Losses
}

// group is what is known of one rule and one set of group values.
type group struct {
	rule   *ruleState
	used   bool
	alerts []*raised // newest last
	window window
	key    uint64 // hashes.key
	place  int    // in rule.groups
}

// maxAlerts bounds the alerts of one group that are still open to joining:
// more are only alive at once when events come far out of order.
const maxAlerts = 4

// Losses is what a rule did not count, or may count wrongly for want of it.
type Losses struct {
	Rule     schemas.Rule
	Groups   uint64 // evicted to stay within the bounds; one may raise its alert a second time
	Events   uint64 // evicted from a group that held too many
	Values   uint64 // the same, for its distinct values
	Late     uint64 // events that came later than Lateness: they join an alert and count for nothing else
	Unusable uint64 // matches that do not say how to count them
}

func (l *Losses) none() bool { return l.Groups|l.Events|l.Values|l.Late|l.Unusable == 0 }

// New makes an empty fold.
func New(cfg Config) *Fold {
	return &Fold{cfg: cfg, rules: map[string]*ruleState{}, seen: seen.New(cfg.MaxSeen)}
}

// Losses calls yield for each rule with losses since the last call.
func (f *Fold) Losses(yield func(Losses)) {
	for _, r := range f.lossy {
		yield(r.lost)
		r.lost = Losses{}
	}
	f.lossy = f.lossy[:0]
}

// lose is where a rule's losses are counted.
func (f *Fold) lose(r *ruleState) *Losses {
	if r.lost.none() {
		r.lost.Rule = r.rule
		f.lossy = append(f.lossy, r)
	}
	return &r.lost
}

// Groups is the number of groups held.
func (f *Fold) Groups() int { return f.groups.used }

// Seed puts back the alerts that were written before a restart. Alerts of other
// kinds than rules are passed over.
func (f *Fold) Seed(alerts []schemas.Alert) {
	slices.SortFunc(alerts, func(a, b schemas.Alert) int {
		return cmp.Or(a.Raised.Compare(b.Raised), a.First.Compare(b.First))
	})
	for i := range alerts {
		a := alerts[i]
		if a.Kind != schemas.AlertRule {
			continue
		}
		r := &raised{Alert: &a, first: nanos(a.First), fired: nanos(a.First)}
		if a.Correlation != nil {
			r.fired = nanos(a.Correlation.Fired)
		}
		m := matchOf(&a)
		g := f.group(m, hashesOf(m).key)
		g.alerts = append(g.alerts, r) // all of them: the records that raised them may come again
	}
}

// matchOf has what finds an alert's group.
func matchOf(a *schemas.Alert) *schemas.Match {
	m := &schemas.Match{Kind: schemas.MatchRule, Rule: a.Rule, Unit: a.Unit, Group: a.Group}
	if a.Correlation != nil {
		m.Correlation = &schemas.Correlation{}
	}
	return m
}

// Warm takes a record from before the committed offset, when the window is read
// again after a restart: it counts for what comes, and raises nothing.
func (f *Fold) Warm(m *schemas.Match) {
	h := f.hashes(m)
	if m.Kind != schemas.MatchRule || f.seen.NoteHash(h.id) || m.Correlation == nil {
		return
	}
	g := f.group(m, h.key)
	if from, ok := f.count(g, m, h.value); ok {
		for i := from; i < len(g.window.items); i++ {
			g.window.items[i].told = g.window.items[i].on
		}
	}
}

// Add folds one record in. It returns the alerts that changed and the matches
// that it leads to: a correlation that is met counts for those that refer to it.
// Those matches must be in the topic before the record is committed. What is
// returned is the fold's own: copy it before the next call.
func (f *Fold) Add(m *schemas.Match, partition int, offset int64, now time.Time) ([]*schemas.Alert, []schemas.Match) {
	f.alerts, f.next = f.alerts[:0], f.next[:0]
	h := f.hashes(m)
	if m.Kind != schemas.MatchRule || f.seen.NoteHash(h.id) {
		return nil, nil
	}
	g := f.group(m, h.key)
	c := &change{Fold: f, g: g, m: m, partition: partition, offset: offset, now: now, at: f.timeOf(m)}
	if m.Correlation == nil {
		c.quiet = f.quiet(m)
		c.single()
		return f.alerts, nil
	}
	from, ok := f.count(g, m, h.value)
	c.quiet = max(f.quiet(m), m.Correlation.Timespan+f.cfg.Lateness)
	switch silent := m.Correlation.Silent; {
	case from < 0:
	case !ok && !silent:
		c.joinOnly()
	case ok:
		c.chain(from)
		if !silent {
			c.settle(from)
		}
	}
	return f.alerts, f.next
}

func (f *Fold) quiet(m *schemas.Match) time.Duration {
	if m.Quiet > 0 {
		return m.Quiet
	}
	return f.cfg.Quiet
}

// count puts an event into its group's window. It returns its place there; of one
// that came too late ok is false and from what is newest; of one that has nothing
// to count from is negative.
func (f *Fold) count(g *group, m *schemas.Match, value uint64) (from int, ok bool) {
	d := f.definition(g.rule, m)
	if d == nil || m.Base < 0 || m.Base >= len(d.Rules) {
		f.lose(g.rule).Unusable++
		return -1, false
	}
	w := &g.window
	if w.def != d { // the rule was changed: it counts anew
		g.rule.events -= w.len()
		*w = newWindow(d)
	}
	if f.sight(d, m, value); len(f.event) == 0 {
		return -1, false
	}
	if w.len() > 0 && f.event[0].at < w.last-int64(f.cfg.Lateness) {
		f.lose(g.rule).Late++
		return len(w.items), false
	}
	before := w.len()
	newer := w.add(f.event, f.origin)
	w.trim()
	f.bound(g)
	if g.rule.events += w.len() - before; g.rule.events > f.cfg.MaxRuleEvents {
		f.makeRoom(g)
	}
	return max(len(w.items)-newer, w.head), true
}

// sight makes f.event and f.origin of what a match counts, whose first value has
// that hash.
func (f *Fold) sight(d *definition, m *schemas.Match, value uint64) {
	s := sighting{at: f.timeOf(m), base: uint8(m.Base), leads: len(m.Next) > 0} //nolint:gosec // below MaxBaseRules
	if f.origin = (origin{eventID: m.EventID}); s.leads {
		c := *m
		f.origin.match = &c
	}
	f.event = f.event[:0]
	switch d.kind {
	case valueCount:
		for i, v := range m.Values {
			if i > 0 {
				value = xxhash.Sum64String(v)
			}
			s.value, s.more = value, i+1 < len(m.Values)
			f.event = append(f.event, s)
		}
	case sumOf, average, percentile:
		for i, v := range m.Numbers {
			s.value, s.more = math.Float64bits(v), i+1 < len(m.Numbers)
			f.event = append(f.event, s)
		}
	default:
		f.event = append(f.event, s)
	}
}

// bound keeps a window within what one group may hold.
func (f *Fold) bound(g *group) {
	w := &g.window
	most, values := f.cfg.MaxEvents, f.cfg.MaxValues
	for _, c := range w.def.cond {
		if n := c.value + 2; w.def.kind == eventCount && n > float64(most) {
			most = int(min(n, math.MaxInt32))
		} else if w.def.kind == valueCount && n > float64(values) {
			values = int(min(n, math.MaxInt32))
			most = max(most, values)
		}
	}
	for w.len() > most {
		if w.evict() {
			f.lose(g.rule).Events++
		}
	}
	for w.def.kind == valueCount && w.values.used > values && w.len() > 1 {
		if w.evict() {
			f.lose(g.rule).Values++
		}
	}
}

// definition is the correlation of a match, made ready once for each version;
// nil if it makes no sense.
func (f *Fold) definition(r *ruleState, m *schemas.Match) *definition {
	version := m.Correlation.Version
	if r.def != nil && r.def.Version == version {
		return r.def
	}
	if r.broken == version && r.broken != "" {
		return nil
	}
	d, err := define(m.Correlation, f.cfg.Lateness)
	if err != nil {
		r.broken = version
		return nil
	}
	r.def = d
	return d
}

// timeOf is the event time of a match, unless the event's clock was ahead.
func (f *Fold) timeOf(m *schemas.Match) int64 {
	t := nanos(m.Time)
	if !m.Received.IsZero() {
		if received := nanos(m.Received); t > received+int64(f.cfg.Lateness) {
			return received
		}
	}
	return t
}

// nanos is a time as nanoseconds since 1970, kept within what these can say and
// sums of them need.
func nanos(t time.Time) int64 {
	const limit = 1 << 32 // seconds: until 2106
	switch s := t.Unix(); {
	case s > limit:
		return limit * int64(time.Second)
	case s < -limit:
		return -limit * int64(time.Second)
	}
	return t.UnixNano()
}

func timeAt(ns int64) time.Time { return time.Unix(0, ns).UTC() }

// group finds or makes a group and marks it as used.
func (f *Fold) group(m *schemas.Match, key uint64) *group {
	if g := f.groups.get(key); g != nil {
		g.used = true
		return g
	}
	r := f.ruleOf(m)
	if len(r.groups) >= f.cfg.MaxRuleGroups {
		f.evict(r, nil)
	} else if f.groups.used >= f.cfg.MaxGroups {
		f.evict(f.biggest(r), nil)
	}
	g := &group{key: key, rule: r, place: len(r.groups), used: true}
	r.groups = append(r.groups, g)
	f.groups.put(g)
	return g
}

func (f *Fold) ruleOf(m *schemas.Match) *ruleState {
	if f.latest != nil && f.latest.rule.ID == m.Rule.ID {
		return f.latest
	}
	r := f.rules[m.Rule.ID]
	if r == nil {
		r = &ruleState{}
		f.rules[m.Rule.ID] = r
	}
	r.rule = m.Rule
	f.latest = r
	return r
}

// biggest is the rule that pays for a new group: the one that makes it, if it
// has others.
func (f *Fold) biggest(r *ruleState) *ruleState {
	if len(r.groups) > 0 {
		return r
	}
	for _, o := range f.rules {
		if len(o.groups) > len(r.groups) {
			r = o
		}
	}
	return r
}

// evict drops a group of the rule that was not used since it was last looked at,
// but never the one to be kept.
func (f *Fold) evict(r *ruleState, keep *group) {
	for {
		if r.hand >= len(r.groups) {
			r.hand = 0
		}
		g := r.groups[r.hand]
		if g.used || g == keep {
			g.used = false
			r.hand++
			continue
		}
		last := r.groups[len(r.groups)-1]
		r.groups[g.place], last.place = last, g.place
		r.groups = r.groups[:len(r.groups)-1]
		r.events -= g.window.len()
		f.groups.remove(g.key)
		f.lose(r).Groups++
		return
	}
}

// makeRoom drops groups until the rule holds few enough events.
func (f *Fold) makeRoom(keep *group) {
	r := keep.rule
	for r.events > f.cfg.MaxRuleEvents && len(r.groups) > 1 {
		f.evict(r, keep)
	}
}
