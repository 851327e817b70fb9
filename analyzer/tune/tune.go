// Package tune decides what an installation's tuning does to matches and alerts:
// which matches are excepted, which level an alert has, and which alerts are one
// too many. It is pure: time is that of the event, so that a backtest decides as
// the analyzer did. It counts nothing and writes nothing: it says which entry
// decided, and the caller counts.
package tune

import (
	"cmp"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"fengsui/analyzer/match"
	"fengsui/rules"
	"fengsui/rules/tuning"
	"fengsui/schemas"
)

// Units knows which unit lies below which. *directory.Snapshot does.
type Units interface {
	Under(code, ancestor string) bool
}

// Tuner is tuning made ready for a set of rules. It does not change, and any
// number of goroutines may use it. The nil Tuner does nothing.
type Tuner struct {
	exceptions map[string][]*exception // by the rule's id
	named      map[string][]*exception // those that name the rule itself
	when       *match.Engine           // the exceptions' conditions
	severities map[string][]*tuning.Severity
	throttles  map[string][]*tuning.Throttle // of each, all but the last have an end
	levels     map[string]schemas.Level      // of the rules themselves
	entries    []*tuning.Entry
}

type exception struct {
	*tuning.Exception
	nets  []netip.Prefix
	hosts []string // patterns, in small letters
}

// Compile makes tuning ready for the rules of an engine. An entry with a problem
// is left out, unless the problem is a warning, such as a rule that nobody has.
func Compile(t *tuning.Tuning, rs []*rules.Rule, engine *match.Engine, opt match.Options) (*Tuner, []match.Problem) {
	b := &builder{
		tuner: &Tuner{
			exceptions: map[string][]*exception{}, named: map[string][]*exception{},
			severities: map[string][]*tuning.Severity{}, throttles: map[string][]*tuning.Throttle{},
			levels: map[string]schemas.Level{},
		},
		rules: rs, engine: engine, byName: map[string][]*rules.Rule{},
	}
	for _, r := range rs {
		b.tuner.levels[r.ID] = r.Level
		b.byName[r.ID] = append(b.byName[r.ID], r)
		if r.Name != "" && r.Name != r.ID {
			b.byName[r.Name] = append(b.byName[r.Name], r)
		}
	}
	for i := range t.Exceptions {
		b.exception(&t.Exceptions[i])
	}
	for i := range t.Throttles {
		b.throttle(&t.Throttles[i])
	}
	for i := range t.Severities {
		x := &t.Severities[i]
		for _, r := range b.chosen(&x.Entry, nil) {
			b.tuner.severities[r.ID] = append(b.tuner.severities[r.ID], x)
		}
	}
	b.compileWhen(opt)
	sortProblems(b.problems)
	return b.tuner, b.problems
}

type builder struct {
	tuner    *Tuner
	rules    []*rules.Rule
	engine   *match.Engine
	byName   map[string][]*rules.Rule
	when     []*rules.Rule // the exceptions' conditions as rules
	tried    map[string]int
	problems []match.Problem
}

func (b *builder) problem(e *tuning.Entry, warning bool, format string, args ...any) {
	b.problems = append(b.problems, match.Problem{File: e.File, Line: e.Line, Reason: fmt.Sprintf(format, args...), Warning: warning})
}

// chosen are the rules that an entry is about.
func (b *builder) chosen(e *tuning.Entry, levels []schemas.Level) []*rules.Rule {
	b.tuner.entries = append(b.tuner.entries, e)
	candidates := b.rules
	if len(e.Rules) > 0 && !slices.Contains(e.Rules, "*") {
		candidates = nil
		for _, name := range e.Rules {
			found := b.byName[name]
			if len(found) == 0 {
				b.problem(e, true, "no rule that is loaded has the id or name %q", name)
			}
			candidates = append(candidates, found...)
		}
	}
	var out []*rules.Rule
	for _, r := range candidates {
		if len(levels) > 0 && !slices.Contains(levels, r.Level) {
			continue
		}
		if len(e.Tags) > 0 && !slices.ContainsFunc(e.Tags, func(t string) bool { return slices.Contains(r.Tags, t) }) {
			continue
		}
		out = append(out, r)
	}
	if len(out) == 0 && len(candidates) > 0 {
		b.problem(e, true, "no rule that is loaded has such a tag and level")
	}
	return out
}

func (b *builder) exception(x *tuning.Exception) {
	e := &exception{Exception: x}
	for _, h := range x.Hosts {
		if net, err := match.ParseNet(h); err == nil {
			e.nets = append(e.nets, net)
		} else if _, err := path.Match(h, ""); err != nil || strings.ContainsAny(h, `[]\/`) {
			b.problem(&x.Entry, false, "host: %q is no name, address or network", h)
			return
		} else {
			e.hosts = append(e.hosts, strings.ToLower(h))
		}
	}
	byID := len(x.Rules) > 0 && !slices.Contains(x.Rules, "*")
	for _, r := range b.chosen(&x.Entry, x.Levels) {
		if c := b.chain(r); c != "" && !slices.Contains(x.Rules, "*") {
			b.problem(&x.Entry, !byID, "the rule %s counts the correlation %s, not events: except what that counts", r.ID, c)
			continue
		}
		b.tuner.exceptions[r.ID] = append(b.tuner.exceptions[r.ID], e)
		if byID {
			b.tuner.named[r.ID] = append(b.tuner.named[r.ID], e)
		}
		if x.When != nil {
			b.addWhen(x, r)
		}
	}
}

// chain is the correlation that a rule counts, if it counts one.
func (b *builder) chain(r *rules.Rule) string {
	if r.Correlation == nil {
		return ""
	}
	for _, ref := range r.Correlation.Rules {
		for _, base := range b.byName[ref.Rule] {
			if base.Correlation != nil {
				return base.ID
			}
		}
	}
	return ""
}

// conditionID is the id of an exception's condition as a rule on a log source.
func conditionID(x *tuning.Exception, source rules.LogSource) string {
	return fmt.Sprintf("%s:%d %s", x.File, x.Line, source)
}

// addWhen makes the exception's condition a rule on the log source of each
// detection that it is about: what its fields are called depends on that.
func (b *builder) addWhen(x *tuning.Exception, r *rules.Rule) {
	for _, d := range b.detections(r, 0) {
		id := conditionID(x, d.LogSource)
		if b.tried == nil {
			b.tried = map[string]int{}
		}
		if _, done := b.tried[id]; done {
			continue
		}
		b.tried[id] = len(b.when)
		b.when = append(b.when, &rules.Rule{
			File: x.File, Line: x.Line, ID: id, Title: id, Level: schemas.Informational, LogSource: d.LogSource,
			Detection: &rules.Detection{
				Selections: []rules.Selection{{Name: "when", Node: x.When}},
				Conditions: []rules.Condition{{Text: "when", Line: x.When.Line}},
			},
		})
	}
}

// detections are the rule itself, or what a correlation counts.
func (b *builder) detections(r *rules.Rule, depth int) (out []*rules.Rule) {
	if r.Detection != nil {
		return []*rules.Rule{r}
	}
	if r.Correlation == nil || depth > 10 {
		return nil
	}
	for _, ref := range r.Correlation.Rules {
		for _, base := range b.byName[ref.Rule] {
			out = append(out, b.detections(base, depth+1)...)
		}
	}
	return out
}

// compileWhen compiles the conditions. One that holds on no log source of its
// rules is a problem; on some, a warning.
func (b *builder) compileWhen(opt match.Options) {
	engine, problems := match.Compile(b.when, opt)
	b.tuner.when = engine
	type place struct {
		file string
		line int
	}
	usable := map[place]bool{}
	for _, c := range engine.Rules() {
		usable[place{c.Rule.File, c.Rule.Line}] = true
	}
	said := map[string]bool{}
	for _, p := range problems {
		i, ok := b.tried[p.RuleID]
		if p.Warning || !ok {
			continue
		}
		r := b.when[i]
		p.RuleID, p.Warning = "", usable[place{r.File, r.Line}]
		p.Reason = fmt.Sprintf("when, on log source %s: %s", r.LogSource, p.Reason)
		if text := fmt.Sprint(p.File, p.Line, p.Reason); !said[text] {
			said[text] = true
			b.problems = append(b.problems, p)
		}
	}
}

func (b *builder) throttle(x *tuning.Throttle) {
	for _, r := range b.chosen(&x.Entry, nil) {
		group := b.engine.GroupFields(r.ID)
		for _, f := range x.Fields {
			if f == unitField && r.Detection != nil { // an alert of a detection is of one unit
				continue
			}
			if len(group) > 0 && !slices.Contains(group, f) {
				b.problem(&x.Entry, false, "%q is not of what alerts of the rule %s are grouped by: %s", f, r.ID, strings.Join(group, ", "))
				return
			}
		}
		for _, other := range b.tuner.throttles[r.ID] {
			if other.Until.IsZero() {
				b.problem(&x.Entry, false, "the rule %s is throttled at %s:%d already, without an end", r.ID, other.File, other.Line)
				return
			}
		}
		b.tuner.throttles[r.ID] = append(b.tuner.throttles[r.ID], x)
	}
}

// Expired names the entries that no longer hold for what happens now.
func (t *Tuner) Expired(now time.Time) (out []match.Problem) {
	if t == nil {
		return nil
	}
	for _, e := range t.entries {
		if e.Ended(now) {
			out = append(out, match.Problem{File: e.File, Line: e.Line, Warning: true, Reason: fmt.Sprintf("it ended %s (%s: %s)", e.Until.Format(time.RFC3339), e.Who, e.Why)})
		}
	}
	return out
}

// Entries is the number of entries.
func (t *Tuner) Entries() int {
	if t == nil {
		return 0
	}
	return len(t.entries)
}

// Excepted finds the exception that keeps a match from counting, or nil. m must
// be the match of h and ev. What an exception says of a rule holds for the
// correlations that count it, too.
func (t *Tuner) Excepted(h match.Hit, m *schemas.Match, ev *schemas.Event, units Units) *tuning.Exception {
	if t == nil {
		return nil
	}
	if x := t.first(t.exceptions[h.Rule.Rule.ID], h, m, ev, units); x != nil || h.Rule.Base == h.Rule.Rule {
		return x
	}
	return t.first(t.named[h.Rule.Base.ID], h, m, ev, units)
}

func (t *Tuner) first(list []*exception, h match.Hit, m *schemas.Match, ev *schemas.Event, units Units) *tuning.Exception {
	for _, x := range list {
		if !x.Ended(m.Time) && within(m.Unit, x.Unit, units) && x.onHost(m, ev) && t.whenHolds(x, h, ev) {
			return x.Exception
		}
	}
	return nil
}

func within(unit, of string, units Units) bool {
	return of == "" || unit == of || unit != "" && units != nil && units.Under(unit, of)
}

// onHost compares the host's name, without regard to case, and its addresses.
func (x *exception) onHost(m *schemas.Match, ev *schemas.Event) bool {
	if len(x.hosts) == 0 && len(x.nets) == 0 {
		return true
	}
	name := strings.ToLower(m.Host)
	for _, pattern := range x.hosts {
		if ok, err := path.Match(pattern, name); ok && err == nil { // the pattern was tried when it was read
			return true
		}
	}
	texts := []string{m.Host}
	for _, v := range ev.Get(schemas.FieldHostIP).List() {
		texts = append(texts, v.Text())
	}
	for _, text := range texts {
		if ip, err := match.ParseAddr(text); err == nil && slices.ContainsFunc(x.nets, func(n netip.Prefix) bool { return n.Contains(ip) }) {
			return true
		}
	}
	return false
}

func (t *Tuner) whenHolds(x *exception, h match.Hit, ev *schemas.Event) (holds bool) {
	if x.When == nil {
		return true
	}
	id := conditionID(x.Exception, h.Rule.Base.LogSource)
	t.when.Match(ev, func(w match.Hit) { holds = holds || w.Rule.Rule.ID == id })
	return holds
}

// Level is the level of a rule's alert in a unit. Of several entries the one of
// the unit furthest down decides, and of these the one that was read last.
func (t *Tuner) Level(r *schemas.Rule, unit string, at time.Time, units Units) schemas.Level {
	if t == nil {
		return r.Level
	}
	var best *tuning.Severity
	for _, x := range t.severities[r.ID] {
		if !x.Ended(at) && within(unit, x.Unit, units) && (best == nil || within(x.Unit, best.Unit, units)) {
			best = x
		}
	}
	if best != nil {
		return best.Level
	}
	if own, known := t.levels[r.ID]; known {
		return own
	}
	return r.Level
}

// RecordKey is the key of a match in the topic matches: its own, or where the
// rule is throttled, a coarser one, so that all alerts that one bound counts are
// raised in one partition.
func (t *Tuner) RecordKey(m *schemas.Match) string {
	x := t.throttleOf(m.Rule.ID, m.Time)
	if x == nil || m.Kind != schemas.MatchRule {
		return m.Key()
	}
	return throttleKey(x, m.Rule.ID, m.Unit, m.Group)
}

// Throttled are the ids of the rules that are throttled, and the longest time for
// which their alerts matter.
func (t *Tuner) Throttled() (rules []string, longest time.Duration) {
	if t == nil {
		return nil, 0
	}
	for id, all := range t.throttles {
		rules = append(rules, id)
		for _, x := range all {
			longest = max(longest, x.Per)
		}
	}
	slices.Sort(rules)
	return rules, longest
}

// throttleOf is the first of a rule's bounds that has not ended at a time, or nil.
func (t *Tuner) throttleOf(rule string, at time.Time) *tuning.Throttle {
	if t == nil {
		return nil
	}
	for _, x := range t.throttles[rule] {
		if !x.Ended(at) {
			return x
		}
	}
	return nil
}

// unitField is part of every detection's group, named or not.
var unitField = schemas.FieldOrganizationID.String()

func throttleKey(x *tuning.Throttle, rule, unit string, group []schemas.GroupValue) string {
	key := rule
	for _, f := range x.Fields {
		i := slices.IndexFunc(group, func(g schemas.GroupValue) bool { return g.Field == f })
		value := ""
		if i >= 0 {
			value = group[i].Value
		} else if f == unitField {
			value = unit
		}
		key += "\x1f" + value
	}
	return key
}

func sortProblems(ps []match.Problem) {
	slices.SortStableFunc(ps, func(a, b match.Problem) int { return cmp.Or(strings.Compare(a.File, b.File), a.Line-b.Line) })
}
