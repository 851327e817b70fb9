// Package tuning reads what an installation says about rules without changing
// them: exceptions, bounds on how often a rule alerts, and other severities. Such
// files live apart from rules and survive their updates. It only reads; what an
// entry does to an event is analyzer/tune's.
//
//	exceptions:
//	  - rule: 25bb5200-fcc1-5d90-b309-692d0060f2c0
//	    unit: "10001"                       # and those below it
//	    host: [scan-*, 10.1.0.0/16]
//	    when: {user.name|startswith: nagios}
//	    until: 2026-12-31
//	    who: 王工
//	    why: 授权的弱口令检查 / an authorised password check
//	throttle:
//	  - {rule: sshd_brute_force, fields: [source.ip], at_most: 3, per: 1d, who: 李工, why: …}
//	severity:
//	  - {rule: 7cea7011-8603-5c91-8c35-093dd501f5c4, unit: "10002", level: high, who: 李工, why: …}
package tuning

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"fengsui/rules"
	"fengsui/schemas"
)

// Limits on what one file may hold.
const (
	MaxFileBytes = 1 << 20
	MaxEntries   = 5_000
	MaxAtMost    = 1_000
)

// Tuning is what one file, or several together, say.
type Tuning struct {
	Exceptions []Exception
	Throttles  []Throttle
	Severities []Severity
}

// Add appends another's entries.
func (t *Tuning) Add(o *Tuning) {
	t.Exceptions = append(t.Exceptions, o.Exceptions...)
	t.Throttles = append(t.Throttles, o.Throttles...)
	t.Severities = append(t.Severities, o.Severities...)
}

// Entry is what every entry says: about which rules, where, until when, who
// decided it and why. All that it names must hold.
type Entry struct {
	File string
	Line int
	Name string // told in metrics and logs; the file's name and the line where it has none

	Rules []string // ids or names; "*" is every rule; empty where Tags chooses
	Tags  []string // any of these
	Unit  string   // the unit and those below it; "" is everywhere
	Until time.Time
	Who   string
	Why   string
}

// Ended says whether the entry no longer holds for what happens at a time. A date
// ends with its day.
func (e *Entry) Ended(at time.Time) bool { return !e.Until.IsZero() && !at.Before(e.Until) }

// Exception keeps an event from counting for a rule.
type Exception struct {
	Entry
	Levels []schemas.Level // of the rule; any of these; empty is any
	Hosts  []string        // names with * and ?, addresses or networks; any of these
	When   *yaml.Node      // a selection of Sigma, as in a rule; nil is every event
}

// Throttle bounds the alerts of a rule.
type Throttle struct {
	Entry
	Fields []string // for each value of these, which must be of the rule's group; none is for the rule as a whole
	AtMost int
	Per    time.Duration
}

// Severity gives a rule another level.
type Severity struct {
	Entry
	Level schemas.Level
}

// Parse reads a file. A broken entry costs itself alone: the others are returned
// beside its error. Dates are in the zone.
func Parse(file string, data []byte, zone *time.Location) (*Tuning, []*rules.Error) {
	p := &parser{file: file, zone: zone, tuning: &Tuning{}}
	if len(data) > MaxFileBytes {
		p.errs = append(p.errs, &rules.Error{File: file, Line: 1, Reason: fmt.Sprintf("%d bytes, more than the %d that a file of tuning may have", len(data), MaxFileBytes)})
		return p.tuning, p.errs
	}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if !errors.Is(err, io.EOF) { // an empty file says nothing
			p.errs = append(p.errs, &rules.Error{File: file, Line: yamlLine(err), Reason: err.Error()})
		}
		return p.tuning, p.errs
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		p.errs = append(p.errs, &rules.Error{File: file, Line: 1, Reason: "one document a file, please"})
		return p.tuning, p.errs
	}
	p.document(doc.Content[0])
	return p.tuning, p.errs
}

var lineOf = regexp.MustCompile(`\bline (\d+)`)

func yamlLine(err error) int {
	if m := lineOf.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

type parser struct {
	file   string
	zone   *time.Location
	tuning *Tuning
	errs   []*rules.Error
	failed bool // the entry that is being read
	count  int
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	if !p.failed {
		p.errs = append(p.errs, &rules.Error{File: p.file, Line: n.Line, Reason: fmt.Sprintf(format, args...)})
	}
	p.failed = true
}

func (p *parser) document(doc *yaml.Node) {
	if doc.Tag == "!!null" {
		return
	}
	p.pairs(doc, func(key string, at, value *yaml.Node) {
		read := map[string]func(*yaml.Node){"exceptions": p.exception, "throttle": p.throttle, "severity": p.severity}[key]
		if read == nil {
			p.fail(at, "unknown key %q; there are exceptions, throttle and severity", key)
			return
		}
		if value.Tag == "!!null" {
			return
		}
		if value.Kind != yaml.SequenceNode {
			p.fail(value, "%s: a list is needed here", key)
			return
		}
		for _, n := range value.Content {
			if p.count++; p.count > MaxEntries {
				p.fail(n, "more than %d entries", MaxEntries)
				return
			}
			p.failed = false
			read(rules.Resolve(n))
		}
		p.failed = false
	})
}

// entry reads an entry; more reads the keys that only its kind has.
func (p *parser) entry(n *yaml.Node, kind string, more map[string]func(*yaml.Node)) Entry {
	e := Entry{File: p.file, Line: n.Line, Name: fmt.Sprintf("%s:%d", path.Base(p.file), n.Line)}
	keys := map[string]func(*yaml.Node){
		"name":  func(n *yaml.Node) { e.Name = p.text(n) },
		"rule":  func(n *yaml.Node) { e.Rules = p.texts(n) },
		"tag":   func(n *yaml.Node) { e.Tags = p.texts(n) },
		"unit":  func(n *yaml.Node) { e.Unit = p.text(n) },
		"until": func(n *yaml.Node) { e.Until = p.until(n) },
		"who":   func(n *yaml.Node) { e.Who = p.text(n) },
		"why":   func(n *yaml.Node) { e.Why = p.text(n) },
	}
	for k, read := range more {
		keys[k] = read
	}
	p.pairs(n, func(key string, at, value *yaml.Node) {
		switch read := keys[key]; {
		case read == nil:
			p.fail(at, "%s: unknown key %q", kind, key)
		case nothing(value): // it would be for every unit, or every host
			p.fail(at, "%s: %s is empty; leave it out where it does not matter", kind, key)
		default:
			read(value)
		}
	})
	switch {
	case e.Who == "":
		p.fail(n, "%s: who is missing", kind)
	case e.Why == "":
		p.fail(n, "%s: why is missing", kind)
	}
	return e
}

// nothing says that a value is null, an empty text, or a list with one of these.
func nothing(n *yaml.Node) bool {
	if n.Kind == yaml.SequenceNode {
		return len(n.Content) == 0 || slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return nothing(rules.Resolve(c)) })
	}
	return n.Tag == "!!null" || n.Kind == yaml.ScalarNode && strings.TrimSpace(n.Value) == ""
}

func (p *parser) exception(n *yaml.Node) {
	var x Exception
	x.Entry = p.entry(n, "exception", map[string]func(*yaml.Node){
		"host": func(n *yaml.Node) { x.Hosts = p.texts(n) },
		"when": func(n *yaml.Node) { x.When = n },
		"level": func(n *yaml.Node) {
			for _, l := range p.texts(n) {
				x.Levels = append(x.Levels, p.level(n, l))
			}
		},
	})
	if len(x.Rules) == 0 && len(x.Tags) == 0 && len(x.Levels) == 0 {
		p.fail(n, `exception: it names no rule, tag or level; rule: "*" is every rule`)
	}
	if !p.failed {
		p.tuning.Exceptions = append(p.tuning.Exceptions, x)
	}
}

func (p *parser) throttle(n *yaml.Node) {
	var x Throttle
	x.Entry = p.entry(n, "throttle", map[string]func(*yaml.Node){
		"fields":  func(n *yaml.Node) { x.Fields = p.texts(n) },
		"at_most": func(n *yaml.Node) { x.AtMost = p.number(n) },
		"per":     func(n *yaml.Node) { x.Per = p.span(n) },
	})
	switch {
	case len(x.Rules) == 0:
		p.fail(n, "throttle: rule is missing")
	case len(x.Tags) > 0 || x.Unit != "":
		p.fail(n, "throttle: it is of rules, not of tags or units")
	case x.AtMost < 1 || x.AtMost > MaxAtMost || x.Per == 0:
		p.fail(n, "throttle: at_most (1 to %d) and per are needed, such as at_most: 3 and per: 1d", MaxAtMost)
	}
	if !p.failed {
		p.tuning.Throttles = append(p.tuning.Throttles, x)
	}
}

func (p *parser) severity(n *yaml.Node) {
	var x Severity
	x.Entry = p.entry(n, "severity", map[string]func(*yaml.Node){
		"level": func(n *yaml.Node) { x.Level = p.level(n, p.text(n)) },
	})
	switch {
	case len(x.Rules) == 0 && len(x.Tags) == 0:
		p.fail(n, `severity: it names no rule or tag; rule: "*" is every rule`)
	case x.Level == "":
		p.fail(n, "severity: level is missing")
	}
	if !p.failed {
		p.tuning.Severities = append(p.tuning.Severities, x)
	}
}

// until reads a time, or a date, which ends with its day.
func (p *parser) until(n *yaml.Node) time.Time {
	s := p.text(n)
	if day, err := time.ParseInLocation(time.DateOnly, s, p.zone); err == nil {
		return day.AddDate(0, 0, 1)
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		p.fail(n, "until: %q is neither a date such as 2026-12-31 nor a time such as 2026-12-31T18:00:00+08:00", s)
	}
	return at
}

func (p *parser) span(n *yaml.Node) time.Duration {
	d, err := rules.ParseTimespan(p.text(n))
	if err != nil {
		p.fail(n, "%v", err)
	}
	return d
}

func (p *parser) number(n *yaml.Node) int {
	var i int
	if err := n.Decode(&i); err != nil {
		p.fail(n, "%q is not a number", n.Value)
	}
	return i
}

func (p *parser) level(n *yaml.Node, s string) schemas.Level {
	switch l := schemas.Level(strings.ToLower(s)); l {
	case schemas.Informational, schemas.Low, schemas.Medium, schemas.High, schemas.Critical:
		return l
	}
	p.fail(n, "%q is none of informational, low, medium, high, critical", s)
	return ""
}

func (p *parser) pairs(n *yaml.Node, f func(key string, at, value *yaml.Node)) {
	if n = rules.Resolve(n); n.Kind != yaml.MappingNode {
		p.fail(n, "a map is needed here")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		if seen[k.Value] {
			p.fail(k, "key %q is said twice", k.Value)
			return
		}
		seen[k.Value] = true
		f(k.Value, k, rules.Resolve(n.Content[i+1]))
	}
}

func (p *parser) text(n *yaml.Node) string {
	if n = rules.Resolve(n); n.Kind != yaml.ScalarNode {
		p.fail(n, "a text is needed here")
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (p *parser) texts(n *yaml.Node) []string {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	var out []string
	for _, i := range list {
		if s := p.text(i); s != "" {
			out = append(out, s)
		}
	}
	return out
}
