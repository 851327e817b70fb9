package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expr-lang/expr/vm"

	"fengsui/rules"
	"fengsui/schemas"
)

// Options are what rules leave to their installation.
type Options struct {
	Placeholders map[string][]string // values of %name% for the modifier expand
	Lists        map[string][]string // texts of the lists that in_list names
	Zone         *time.Location      // in which a rule's hour, day … are meant; nil is UTC
}

// Problem is a rule that could not be loaded, or that loaded and cannot match
// yet (Warning).
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	RuleID  string `json:"rule_id"`
	Reason  string `json:"reason"`
	Warning bool   `json:"warning,omitempty"` // the rule is loaded
}

func (p Problem) String() string {
	return (&rules.Error{File: p.File, Line: p.Line, RuleID: p.RuleID, Reason: p.Reason}).Error()
}

// ProblemOf is a loader's error as a problem.
func ProblemOf(e *rules.Error) Problem {
	return Problem{File: e.File, Line: e.Line, RuleID: e.RuleID, Reason: e.Reason}
}

// CompiledRule is what an event can match: a detection, or a correlation by way
// of one of its base rules.
type CompiledRule struct {
	Rule   *rules.Rule // whose identity a match carries
	Base   *rules.Rule // whose condition held: Rule itself, or a base rule of the correlation
	alone  bool        // a match is reported as this rule and nothing else
	Source string      // text of the expr program

	program *vm.Program
	formula *formula
	asks    []int32 // slots that the formula asks for
	words   bool    // it asks for the whole event
	shaped  bool    // it asks for what an event's shape settles
	tree    *node
	group   []groupField
	counts  *counted        // of a correlation
	raises  []*CompiledRule // what a match of this program is reported as
	spent   atomic.Int64    // ns, in events that were timed
}

// groupField is a field of the group with where its value is found.
type groupField struct {
	name   string
	fields []string
}

// Engine holds compiled rules. It does not change, and any number of goroutines
// may match with it at once.
type Engine struct {
	rules      []*CompiledRule
	predicates []*predicate
	slots      []slotDef
	routes     []*route
	planned    []plannedField
	settled    []bool // of each slot, the whole event's too: an event's shape has its value
	index      *index

	mu       sync.Mutex
	states   []*state // those that nobody uses: they remember values, so no collector may take them
	plans    map[string]*plan
	words    map[string]*slotIndex // by their predicates
	failures atomic.Uint64
	spent    atomic.Int64 // ns of matching, in events that were timed
}

// Compile makes an engine of the rules. A rule with a problem is left out, unless
// the problem is a warning; the others work.
func Compile(rs []*rules.Rule, opt Options) (*Engine, []Problem) {
	if opt.Zone == nil {
		opt.Zone = time.UTC
	}
	b := &builder{
		opt:      opt,
		compiler: &compiler{byText: map[string]int{}, slotOf: map[string]int{}, zone: opt.Zone, lists: opt.Lists},
		byName:   map[string]*CompiledRule{},
		routes:   map[*schemas.SigmaSource]*route{},
		sources:  map[*CompiledRule]*schemas.SigmaSource{},
	}
	b.addFilters(rs)
	for _, r := range rs {
		if r.Detection != nil {
			b.detection(r)
		}
	}
	b.correlations(rs)
	b.checkReferences(rs)
	for _, c := range b.rules {
		c.alone = len(c.raises) == 1 && c.raises[0] == c
	}
	e := &Engine{rules: b.rules, predicates: b.compiler.predicates, plans: map[string]*plan{}, words: map[string]*slotIndex{}}
	e.addRoutes(b)
	e.slots = b.compiler.slots
	e.index = newIndex(e)
	slices.SortStableFunc(b.problems, func(x, y Problem) int {
		return cmp.Or(strings.Compare(x.File, y.File), x.Line-y.Line)
	})
	return e, b.problems
}

type builder struct {
	opt      Options
	compiler *compiler
	rules    []*CompiledRule
	byName   map[string]*CompiledRule // by id and by name
	routes   map[*schemas.SigmaSource]*route
	sources  map[*CompiledRule]*schemas.SigmaSource
	filters  []*filter
	problems []Problem
}

func (b *builder) fail(r *rules.Rule, line int, format string, args ...any) {
	b.problems = append(b.problems, Problem{File: r.File, Line: line, RuleID: r.ID, Reason: fmt.Sprintf(format, args...)})
}

func (b *builder) detection(r *rules.Rule) {
	source, ok := schemas.LookupSigma(r.LogSource.Product, r.LogSource.Category, r.LogSource.Service)
	if !ok {
		hint := ""
		if near := schemas.NearSigma(r.LogSource.Product, r.LogSource.Category, r.LogSource.Service); near != nil {
			hint = fmt.Sprintf("; did you mean %s?", rules.LogSource{Product: near.Product, Category: near.Category, Service: near.Service})
		}
		b.fail(r, r.LogSource.Line, "log source %s is not mapped%s", r.LogSource, hint)
		return
	}
	tree := b.read(r, source)
	if tree == nil {
		return
	}
	var text strings.Builder
	tree.source(&text)
	program, err := b.compiler.program(text.String())
	if err == nil {
		tree.bind(b.compiler)
		err = tree.ready()
	}
	if err != nil {
		b.fail(r, r.Detection.Conditions[0].Line, "%v", err)
		return
	}
	if half := tree.halfCharacter(); half != "" {
		b.warn(r, r.Detection.Conditions[0].Line, "%q is not UTF-8, which all texts of events are: no value can hold it", half)
	}
	c := &CompiledRule{Rule: r, Base: r, Source: text.String(), program: program, tree: tree}
	if c.group, err = groupFields(source, r.Alerting.Group); err != nil {
		b.fail(r, r.Line, "fengsui.group: %v", err)
		return
	}
	for _, name := range []string{r.ID, r.Name} {
		if other := b.byName[name]; other != nil && name != "" {
			b.fail(r, r.Line, "the id or name %q is that of the rule at %s:%d, too", name, other.Rule.File, other.Rule.Line)
			return
		}
	}
	if c.raises = []*CompiledRule{c}; source.FedBy == "" {
		b.problems = append(b.problems, Problem{
			File: r.File, Line: r.LogSource.Line, RuleID: r.ID, Warning: true,
			Reason: fmt.Sprintf("log source %s has no parser yet: only events whose sender names it (%s) can match", r.LogSource, whenText(source)),
		})
	}
	b.byName[r.ID] = c
	if r.Name != "" {
		b.byName[r.Name] = c
	}
	b.rules = append(b.rules, c)
	b.sources[c] = source
	if b.routes[source] == nil {
		b.routes[source] = &route{source: source}
	}
	b.routes[source].rules = append(b.routes[source].rules, c)
}

// whenText is the first way by which an event belongs to a log source.
func whenText(s *schemas.SigmaSource) string {
	var parts []string
	for _, t := range s.When[0] {
		parts = append(parts, t.Field+": "+t.Values[0])
	}
	return strings.Join(parts, ", ")
}

func groupFields(source *schemas.SigmaSource, names []string) ([]groupField, error) {
	var out []groupField
	for _, name := range names {
		fields, err := source.Fields(name)
		if err != nil {
			return nil, err
		}
		out = append(out, groupField{fields[0], fields})
	}
	return out, nil
}

// Rules are the programs of the engine: one for each detection rule that loaded.
func (e *Engine) Rules() []*CompiledRule { return e.rules }

// Failures counts programs that ended in an error instead of an answer. It stays
// zero unless the engine is at fault.
func (e *Engine) Failures() uint64 { return e.failures.Load() }

// Hit is a rule that an event met. It is good until emit returns.
type Hit struct {
	Rule   *CompiledRule
	common *common // nil: nothing is shared
}

// Match calls emit for each rule that the event meets, and for each correlation
// that counts it, once.
func (e *Engine) Match(ev *schemas.Event, emit func(Hit)) { e.match(ev, emit) }

// match also says how many rules were looked at.
func (e *Engine) match(ev *schemas.Event, emit func(Hit)) int {
	s := e.take()
	defer e.give(s)
	s.begin(ev)
	s.common = common{}
	share := func(h Hit) {
		h.common = &s.common
		emit(h)
	}
	s.match(s.planOf(), func(r *CompiledRule) { r.report(&s.fired, share) })
	s.ev, s.common = nil, common{}
	return len(s.tried)
}

// take lends a state.
func (e *Engine) take() *state {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.states); n > 0 {
		s := e.states[n-1]
		e.states = e.states[:n-1]
		return s
	}
	return newState(e)
}

func (e *Engine) give(s *state) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.states = append(e.states, s)
}

// wordSlot is the slot of predicates over the whole event.
func (e *Engine) wordSlot() int32 { return int32(len(e.slots)) } //nolint:gosec // bounded by the rules

// MatchPlain is Match by the oracle: every rule's tree, evaluated plainly.
func (e *Engine) MatchPlain(ev *schemas.Event, emit func(Hit)) {
	var fired []*CompiledRule
	for _, route := range e.routes {
		if !route.takes(ev) {
			continue
		}
		for _, r := range route.rules {
			if r.tree.eval(ev) {
				r.report(&fired, emit)
			}
		}
	}
}

// report emits what the program's match is reported as. A correlation of which
// several base rules hold for one event counts it once.
func (r *CompiledRule) report(fired *[]*CompiledRule, emit func(Hit)) {
	if r.alone {
		emit(Hit{Rule: r})
		return
	}
	for _, as := range r.raises {
		if as.Rule.Correlation != nil {
			if as.alreadyIn(*fired) {
				continue
			}
			*fired = append(*fired, as)
		}
		emit(Hit{Rule: as})
	}
}

// alreadyIn is of a correlation.
func (r *CompiledRule) alreadyIn(fired []*CompiledRule) bool {
	return slices.ContainsFunc(fired, func(f *CompiledRule) bool {
		return f.Rule == r.Rule && (f.counts.base == r.counts.base || !r.Rule.Correlation.Type.IsTemporal())
	})
}

// quiet is the rule's own time during which further matches join an alert.
func (r *CompiledRule) quiet() time.Duration { return r.Rule.Alerting.Quiet }
