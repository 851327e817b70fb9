package match

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

// Limits of what a match repeats of its event.
const (
	maxSatisfied = 32
	maxValue     = 256 // bytes of one value
	maxSummary   = 400 // bytes
)

// Satisfied says which values of the event met which selections. Values that met
// nothing by being absent, and whatever stands under a not, are left out.
func (h Hit) Satisfied(ev *schemas.Event) []schemas.Satisfied {
	w := why{ev: ev}
	w.walk(h.Rule.tree, "")
	return w.found
}

// bind gives tests the predicates that programs have for them.
func (n *node) bind(c *compiler) {
	for _, k := range n.kids {
		k.bind(c)
	}
	if n.test == nil {
		return
	}
	var b strings.Builder
	n.test.source(&b)
	if id, ok := c.byText[b.String()]; ok {
		n.predicate = c.predicates[id]
	}
}

// find is eval by the predicate where there is one: an event's long texts are
// looked through again for each hit.
func (n *node) find(ev *schemas.Event) (string, bool) {
	t := n.test
	if n.predicate == nil || t.other != nil || t.op == opExists || t.op == opNull {
		return t.eval(ev)
	}
	texts := fieldTexts(ev, t.field)
	if !t.op.ofField() {
		texts = eventTexts(ev)
	}
	for _, text := range texts {
		if n.predicate.meets(text, fold(text)) {
			return text, true
		}
	}
	return "", false
}

type why struct {
	ev    *schemas.Event
	found []schemas.Satisfied
}

// walk evaluates the node and keeps what was found below it only if it holds.
// Unlike eval it looks at all alternatives, until enough is found.
func (w *why) walk(n *node, selection string) bool {
	before := len(w.found)
	holds := n.kind != orNode
	switch n.kind {
	case testNode:
		text, ok := n.find(w.ev)
		if ok && n.test.op != opNull && len(w.found) < maxSatisfied {
			found := schemas.Satisfied{Selection: selection, Field: n.test.present(w.ev), Value: cut(text, maxValue)}
			if !slices.Contains(w.found, found) { // contains|all asks of one value again and again
				w.found = append(w.found, found)
			}
		}
		return ok
	case notNode:
		return !w.holds(n.kids[0])
	case selectionNode:
		selection = n.name
	}
	for _, k := range n.kids {
		ok := w.walk(k, selection)
		if n.kind == orNode {
			if holds = holds || ok; holds && len(w.found) >= maxSatisfied {
				break
			}
		} else if !ok {
			holds = false
			break
		}
	}
	if !holds {
		w.found = w.found[:before]
	}
	return holds
}

// holds is eval by the predicates.
func (w *why) holds(n *node) bool {
	switch n.kind {
	case testNode:
		_, ok := n.find(w.ev)
		return ok
	case notNode:
		return !w.holds(n.kids[0])
	}
	for _, k := range n.kids {
		if w.holds(k) == (n.kind == orNode) {
			return n.kind == orNode
		}
	}
	return n.kind != orNode
}

// present is the field that the event has, of those the test looks at.
func (t *test) present(ev *schemas.Event) string {
	if !t.op.ofField() {
		return "event.original"
	}
	for _, f := range t.field {
		if !ev.Lookup(f).IsNone() {
			return f
		}
	}
	return t.field[0]
}

// cut shortens a text to at most n bytes, never within a character.
func cut(s string, n int) string {
	const dots = "…"
	if len(s) <= n {
		return s
	}
	n -= len(dots)
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + dots
}

// Group of a rule that names none: one alert for a host, whoever attacked it and
// as whom. Host is where it happened, however the source says that.
var (
	hostFields   = []string{"host.name", "winlog.computer_name", "log.syslog.hostname", "observer.hostname"}
	defaultGroup = []groupField{
		{"host.name", hostFields},
		{"source.ip", []string{"source.ip"}},
		{"user.name", []string{"user.name", "winlog.event_data.TargetUserName"}},
	}
)

// common is what all matches of one event repeat: it is made with the first.
type common struct {
	match     schemas.Match // without what is the rule's
	made      bool
	tree      *node // of which satisfied is told
	satisfied []schemas.Satisfied
}

// of is what the matches of the event repeat.
func (c *common) of(ev *schemas.Event) schemas.Match {
	if c != nil && c.made {
		return c.match
	}
	m := schemas.Match{
		Kind:     schemas.MatchRule,
		EventID:  ev.EventID(),
		Time:     ev.Time(),
		Received: ev.Received,
		Unit:     firstText(ev, unitFields),
		Host:     cut(firstText(ev, hostFields), maxValue),
		Summary:  Summary(ev),
		Drill:    ev.Drill,
	}
	if m.Unit == "" {
		m.Unit = ev.Unit
	}
	if m.Time.IsZero() {
		m.Time = ev.Received
	}
	if c != nil {
		c.match, c.made = m, true
	}
	return m
}

var unitFields = []string{"organization.id"}

// ToMatch makes the record for the topic matches of the event that was matched.
// It reads the event but keeps nothing of it besides texts. Matches of one event
// share what they repeat of it.
func (h Hit) ToMatch(ev *schemas.Event) schemas.Match {
	m := h.common.of(ev)
	m.Satisfied = h.satisfied(ev)
	if h.Rule.counts != nil {
		h.Rule.counts.fill(&m, ev)
		return m
	}
	r := h.Rule.Rule
	m.Rule = schemas.Rule{ID: r.ID, Title: r.Title, Level: r.Level, Tags: r.Tags}
	m.Group, m.Quiet = h.Rule.groupOf(ev), h.Rule.quiet()
	return m
}

// satisfied is Satisfied, once for all that one condition is reported as.
func (h Hit) satisfied(ev *schemas.Event) []schemas.Satisfied {
	c := h.common
	if c == nil {
		return h.Satisfied(ev)
	}
	if c.tree != h.Rule.tree {
		c.tree, c.satisfied = h.Rule.tree, h.Satisfied(ev)
	}
	return c.satisfied
}

// groupOf keeps fields that the rule names even when the event lacks them: a
// missing value is a group of its own.
func (r *CompiledRule) groupOf(ev *schemas.Event) []schemas.GroupValue {
	fields, named := r.group, true
	if len(fields) == 0 && r.Rule.Correlation == nil {
		fields, named = defaultGroup, false
	}
	var out []schemas.GroupValue
	for _, f := range fields {
		if v := firstText(ev, f.fields); v != "" || named {
			out = append(out, schemas.GroupValue{Field: f.name, Value: distinctText(v)})
		}
	}
	if len(out) == 0 && !named && ev.Source != "" {
		out = append(out, schemas.GroupValue{Field: "log.file.path", Value: cut(ev.Source, maxValue)})
	}
	return out
}

// firstText is the text of the first field that is there; those of a list are
// joined.
func firstText(ev *schemas.Event, fields []string) string {
	for _, f := range fields {
		if v := ev.Lookup(f); v.Kind() == schemas.KindList {
			return strings.Join(valueTexts(v), ", ")
		} else if !v.IsNone() {
			return v.Text()
		}
	}
	return ""
}

// Summary is an event in one line, for people: what it says of itself, or else
// what its most telling fields hold.
func Summary(ev *schemas.Event) string {
	text := ev.Str(schemas.FieldMessage)
	for _, fields := range [][]string{
		{"process.command_line"},
		{"winlog.event_data.CommandLine"},
		{"http.request.method", "url.original", "http.response.status_code", "user_agent.original"},
		{"rule.name", "rule.category"},
		{"dns.question.name", "dns.question.type", "dns.answers.data"},
		{"winlog.channel", "winlog.event_id"},
	} {
		if text != "" {
			break
		}
		if ev.Lookup(fields[0]).IsNone() {
			continue
		}
		var parts []string
		for _, f := range fields {
			if t := firstText(ev, []string{f}); t != "" {
				parts = append(parts, t)
			}
		}
		text = strings.Join(parts, " ")
	}
	if text == "" {
		text = ev.Original
	}
	if at := ev.Time(); text == "" && !at.IsZero() {
		text = at.Format(time.RFC3339)
	}
	if len(text) > 4*maxSummary { // before looking for spaces in all of it
		text = text[:4*maxSummary]
	}
	if !oneLine(text) {
		text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	}
	return cut(text, maxSummary)
}

// oneLine says that a text is words of ASCII with one blank between them, as most
// are.
func oneLine(text string) bool {
	blank := true
	for i := range len(text) {
		c := text[i]
		if c >= utf8.RuneSelf || c < ' ' || c == ' ' && blank {
			return false
		}
		blank = c == ' '
	}
	return !blank || text == ""
}
