package rules

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"fengsui/schemas"
)

// Limits on what one file may hold.
const (
	MaxFileBytes = 1 << 20
	MaxDocuments = 1000
	MaxTimespan  = 10 * 366 * 24 * time.Hour // sums of times stay within 64 bits of nanoseconds
)

// Parse reads a file of one or more YAML documents. A broken document costs
// itself alone: the others are returned beside its error.
func Parse(file string, data []byte) ([]*Rule, []*Error) {
	if len(data) > MaxFileBytes {
		return nil, []*Error{{File: file, Line: 1, Reason: fmt.Sprintf("%d bytes, more than the %d that a rule file may have", len(data), MaxFileBytes)}}
	}
	var rs []*Rule
	var errs []*Error
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for n := 0; ; n++ {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return rs, errs
		}
		if err == nil && n == MaxDocuments {
			err = fmt.Errorf("more than %d documents", MaxDocuments)
		}
		if err != nil { // the decoder cannot find the next document after it
			line := yamlErrorLine(err)
			return rs, append(errs, &Error{File: file, Line: line, Reason: err.Error() + yamlHint(err, data, line)})
		}
		if len(doc.Content) == 0 || doc.Content[0].Tag == "!!null" {
			continue
		}
		r, e := parseRule(file, doc.Content[0])
		if e != nil {
			errs = append(errs, e)
			continue
		}
		rs = append(rs, r)
	}
}

var yamlLine = regexp.MustCompile(`\bline (\d+)`)

func yamlErrorLine(err error) int {
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

// yamlHint says what is behind the usual mistakes, which YAML names by what it
// was about to read. The line it gives may be the one after.
func yamlHint(err error, data []byte, line int) string {
	if strings.Contains(err.Error(), "UTF-8") {
		return "; save the file as UTF-8"
	}
	lines := bytes.Split(data, []byte("\n"))
	near := bytes.Join(lines[min(max(0, line-2), len(lines)):min(line, len(lines))], []byte("\n"))
	switch {
	case bytes.Contains(near, []byte("：")):
		return "; “：” is an input method's, “: ” is meant"
	case strings.Contains(err.Error(), "cannot start any token") && bytes.Contains(near, []byte("\t")):
		return "; indent by blanks, not by tabs"
	}
	return ""
}

// reader collects the first error of a document, so that reading it is a list
// of the keys it may have.
type reader struct {
	rule *Rule
	err  *Error
}

func (r *reader) fail(n *yaml.Node, format string, args ...any) {
	if r.err == nil {
		r.err = &Error{File: r.rule.File, Line: n.Line, RuleID: r.rule.ID, Reason: fmt.Sprintf(format, args...)}
	}
}

func parseRule(file string, doc *yaml.Node) (*Rule, *Error) {
	rule := &Rule{File: file, Line: doc.Line, Level: schemas.Medium}
	r := &reader{rule: rule}
	var logsource, detection, correlation, generate, filter *yaml.Node
	keys := map[string]func(*yaml.Node){
		"title":       func(n *yaml.Node) { rule.Title = r.text(n) },
		"name":        func(n *yaml.Node) { rule.Name = r.text(n) },
		"description": func(n *yaml.Node) { rule.Description = r.text(n) },
		"status": func(n *yaml.Node) {
			rule.Status = r.oneOf(n, "stable", "test", "experimental", "deprecated", "unsupported")
		},
		"level": func(n *yaml.Node) {
			rule.Level = schemas.Level(r.oneOf(n, string(schemas.Informational), string(schemas.Low), string(schemas.Medium), string(schemas.High), string(schemas.Critical)))
		},
		"author":         func(n *yaml.Node) { rule.Author = r.text(n) },
		"tags":           func(n *yaml.Node) { rule.Tags = r.texts(n) },
		"references":     func(n *yaml.Node) { rule.References = r.texts(n) },
		"fields":         func(n *yaml.Node) { rule.Fields = r.texts(n) },
		"falsepositives": func(n *yaml.Node) { rule.FalsePositives = r.texts(n) },
		"logsource":      func(n *yaml.Node) { logsource = n },
		"detection":      func(n *yaml.Node) { detection = n },
		"correlation":    func(n *yaml.Node) { correlation = n },
		"generate":       func(n *yaml.Node) { generate = n },
		"fengsui":        func(n *yaml.Node) { rule.Alerting = r.alerting(n) },
		"action": func(n *yaml.Node) {
			r.fail(n, "action (Sigma 1's document collections) is not supported; write each rule out")
		},
		"filter":  func(n *yaml.Node) { filter = n },
		"related": func(n *yaml.Node) { rule.Related = r.related(n) },
		"taxonomy": func(n *yaml.Node) {
			if t := r.text(n); t != "sigma" {
				r.fail(n, "taxonomy %q is not known: only Sigma's own is", t)
			}
		},
	}
	for _, known := range []string{"id", "license", "date", "modified", "scope"} {
		keys[known] = func(*yaml.Node) {}
	}
	// The id first: every other error names it.
	r.pairs(doc, func(key string, _, value *yaml.Node) {
		if key == "id" {
			rule.ID = r.text(value)
		}
	})
	r.pairs(doc, func(key string, at, value *yaml.Node) {
		if read, ok := keys[key]; ok {
			read(value)
			return
		}
		// Sigma leaves custom attributes to people, so an unknown key is no
		// error; one letter beside a known key is a slip.
		for known := range keys {
			if oneSlip(key, known) {
				r.fail(at, "unknown key %q; did you mean %q?", key, known)
			}
		}
	})
	if rule.Title == "" {
		r.fail(doc, "title is missing")
	}
	if rule.ID == "" && filter == nil && rule.Title != "" { // Sigma leaves it optional, but alerts are told apart by it
		rule.ID = idOf(rule.Title)
	}
	if strings.ContainsAny(rule.ID, "/\x1f \t\n") {
		r.fail(doc, "id %q has a space, a slash or a control character", rule.ID)
	}
	switch {
	case filter != nil && (detection != nil || correlation != nil):
		r.fail(filter, "a document is a filter, a detection or a correlation, not two of them")
	case correlation != nil && detection != nil:
		r.fail(correlation, "a document is a detection or a correlation, not both")
	case correlation != nil:
		rule.Correlation = r.correlation(correlation)
		if generate != nil {
			rule.Correlation.Generate = r.boolean(generate)
		}
	case detection == nil && filter == nil:
		r.fail(doc, "detection is missing")
	case logsource == nil:
		r.fail(doc, "logsource is missing")
	case filter != nil:
		rule.LogSource = r.logsource(logsource)
		rule.Filter = r.filter(filter)
	default:
		rule.LogSource = r.logsource(logsource)
		rule.Detection = r.detection(detection)
	}
	if r.err != nil {
		r.err.RuleID = rule.ID
		return nil, r.err
	}
	return rule, nil
}

func (r *reader) logsource(n *yaml.Node) LogSource {
	l := LogSource{Line: n.Line}
	r.pairs(n, func(key string, at, value *yaml.Node) {
		switch key {
		case "product":
			l.Product = strings.ToLower(r.text(value))
		case "category":
			l.Category = strings.ToLower(r.text(value))
		case "service":
			l.Service = strings.ToLower(r.text(value))
		default: // "an arbitrary number of optional elements", such as definition
			for _, known := range []string{"product", "category", "service"} {
				if oneSlip(key, known) {
					r.fail(at, "logsource: unknown key %q; did you mean %q?", key, known)
				}
			}
		}
	})
	if l.Product == "" && l.Category == "" && l.Service == "" {
		r.fail(n, "logsource names no product, category or service")
	}
	return l
}

func (r *reader) detection(n *yaml.Node) *Detection {
	d := &Detection{}
	r.pairs(n, func(key string, at, value *yaml.Node) { r.search(d, key, at, value) })
	r.whole(n, "detection", d)
	return d
}

// search reads one key of a detection.
func (r *reader) search(d *Detection, key string, at, value *yaml.Node) {
	switch key {
	case "condition":
		for _, c := range r.items(value) {
			d.Conditions = append(d.Conditions, Condition{Text: r.text(c), Line: c.Line})
		}
	case "timeframe":
		r.fail(at, "detection: timeframe (Sigma 1's aggregation) is not supported; write a correlation")
	default:
		d.Selections = append(d.Selections, Selection{Name: key, Node: value, Line: at.Line})
	}
}

func (r *reader) whole(n *yaml.Node, what string, d *Detection) {
	if len(d.Conditions) == 0 {
		r.fail(n, "%s: condition is missing", what)
	}
	if len(d.Selections) == 0 {
		r.fail(n, "%s: no selection", what)
	}
}

func (r *reader) filter(n *yaml.Node) *Filter {
	f := &Filter{}
	r.pairs(n, func(key string, at, value *yaml.Node) {
		if key != "rules" {
			r.search(&f.Detection, key, at, value)
			return
		}
		for _, ref := range r.items(value) {
			if f.Rules = append(f.Rules, Reference{Rule: r.text(ref), Line: ref.Line}); r.text(ref) == "" {
				r.fail(ref, "filter: rules has an empty entry")
			}
		}
	})
	r.whole(n, "filter", &f.Detection)
	if len(f.Rules) == 0 {
		r.fail(n, "filter: rules is missing: ids, names or any")
	}
	return f
}

func (r *reader) related(n *yaml.Node) []Related {
	var out []Related
	for _, item := range r.items(n) {
		one := Related{Line: item.Line}
		r.pairs(item, func(key string, at, value *yaml.Node) {
			switch key {
			case "id":
				one.Rule = r.text(value)
			case "type":
				one.Type = r.oneOf(value, "derived", "obsolete", "merged", "renamed", "similar")
			default:
				r.fail(at, "related: unknown key %q; there are id and type", key)
			}
		})
		if one.Rule == "" || one.Type == "" {
			r.fail(item, "related: needs an id and a type")
		}
		out = append(out, one)
	}
	return out
}

// idOf is the id of a rule that has none.
func idOf(title string) string {
	sum := sha256.Sum256([]byte(title))
	return "title-" + hex.EncodeToString(sum[:6])
}

func (r *reader) alerting(n *yaml.Node) Alerting {
	var a Alerting
	r.pairs(n, func(key string, at, value *yaml.Node) {
		switch key {
		case "group":
			a.Group = r.texts(value)
		case "quiet":
			a.Quiet = r.timespan(value)
		default:
			r.fail(at, "fengsui: unknown key %q; there are group and quiet", key)
		}
	})
	return a
}

var timespanForm = regexp.MustCompile(`^([1-9][0-9]{0,6})([smhd])$`)

// ParseTimespan reads Sigma's number and letter: s, m, h or d. None is longer than
// MaxTimespan.
func ParseTimespan(text string) (time.Duration, error) {
	m := timespanForm.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("%q is not a time span such as 30s, 5m, 1h or 7d", text)
	}
	count, err := strconv.Atoi(m[1])
	if err != nil { // cannot happen: seven digits
		return 0, fmt.Errorf("%q: %w", text, err)
	}
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}[m[2]]
	if time.Duration(count) > MaxTimespan/unit {
		return 0, fmt.Errorf("%q is longer than %dd", text, MaxTimespan/(24*time.Hour))
	}
	return time.Duration(count) * unit, nil
}

func (r *reader) timespan(n *yaml.Node) time.Duration {
	d, err := ParseTimespan(n.Value)
	if err != nil {
		r.fail(n, "%v", err)
	}
	return d
}

// pairs calls f for each key of a map, in order. A repeated key is an error:
// YAML libraries differ in which of the two they keep.
func (r *reader) pairs(n *yaml.Node, f func(key string, at, value *yaml.Node)) {
	n = Resolve(n)
	if n.Kind != yaml.MappingNode {
		r.fail(n, "a map is needed here")
		return
	}
	content, err := Merged(n)
	if err != nil {
		r.fail(n, "%v", err)
		return
	}
	seen := make(map[string]bool, len(content)/2)
	for i := 0; i+1 < len(content); i += 2 {
		k := content[i]
		if seen[k.Value] {
			r.fail(k, "key %q is said twice", k.Value)
			return
		}
		seen[k.Value] = true
		f(k.Value, k, Resolve(content[i+1]))
	}
}

// maxMerged bounds the keys of one map with those that are merged into it:
// aliases can make a short text endless.
const maxMerged = 10_000

// Merged is a map's content, keys and values in turn, with what YAML's merge key
// (<<: *name, or a list of these) brings in: the keys that the map has not, of
// several maps the first that has one.
func Merged(n *yaml.Node) ([]*yaml.Node, error) {
	if !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return c.Tag == "!!merge" }) {
		return n.Content, nil
	}
	m := merger{has: map[string]bool{}}
	err := m.add(n, 0)
	return m.content, err
}

type merger struct {
	content []*yaml.Node
	has     map[string]bool
	steps   int
}

func (m *merger) add(n *yaml.Node, depth int) error {
	n = Resolve(n)
	if m.steps += 1 + len(n.Content); m.steps > maxMerged || depth > 20 {
		return errors.New("<< merges too much")
	}
	if n.Kind != yaml.MappingNode {
		return errors.New("<< needs a map, or a list of maps")
	}
	var from []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], Resolve(n.Content[i+1])
		switch {
		case k.Tag == "!!merge" && v.Kind == yaml.SequenceNode:
			from = append(from, v.Content...)
		case k.Tag == "!!merge":
			from = append(from, v)
		case depth == 0 || !m.has[k.Value]: // what the map itself says twice stays, and is told
			m.content = append(m.content, k, v)
			m.has[k.Value] = true
		}
	}
	for _, f := range from {
		if err := m.add(f, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// items is a list's items, or the node itself as a list of one.
func (r *reader) items(n *yaml.Node) []*yaml.Node {
	n = Resolve(n)
	if n.Kind == yaml.SequenceNode {
		return n.Content
	}
	return []*yaml.Node{n}
}

func (r *reader) text(n *yaml.Node) string {
	n = Resolve(n)
	if n.Kind != yaml.ScalarNode {
		r.fail(n, "a text is needed here")
		return ""
	}
	return strings.TrimSpace(n.Value)
}

func (r *reader) texts(n *yaml.Node) []string {
	if Resolve(n).Tag == "!!null" {
		return nil
	}
	var out []string
	for _, i := range r.items(n) {
		if s := r.text(i); s != "" {
			out = append(out, s)
		}
	}
	return out
}

func (r *reader) boolean(n *yaml.Node) bool {
	var b bool
	if err := Resolve(n).Decode(&b); err != nil {
		r.fail(n, "%q is neither true nor false", n.Value)
	}
	return b
}

func (r *reader) oneOf(n *yaml.Node, allowed ...string) string {
	s := strings.ToLower(r.text(n))
	for _, a := range allowed {
		if s == a {
			return s
		}
	}
	r.fail(n, "%q is none of %s", s, strings.Join(allowed, ", "))
	return ""
}

// Resolve follows a YAML alias to what it stands for.
func Resolve(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

// oneSlip says that a becomes b by changing, adding or leaving out one byte, or
// by swapping two neighbours.
func oneSlip(a, b string) bool {
	if a == b {
		return false
	}
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	case 1:
		return a[i:] == b[i+1:]
	}
	return false
}
