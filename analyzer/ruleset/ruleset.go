// Package ruleset holds the rules and the tuning that the analyzer works with,
// and keeps them as the files are: it watches the folders, and what changed takes
// the place of what was while evaluation goes on. A broken file changes nothing:
// its former version works on, and it is named in the log and in a metric.
//
// It reads files and a clock; it never evaluates an event itself.
package ruleset

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/match"
	"fengsui/analyzer/tune"
	"fengsui/rules"
	"fengsui/rules/tuning"
)

// Config says where rules and tuning are.
type Config struct {
	RuleDirs   []string       // folders, or files, of rules beside the shipped ones
	TuningDirs []string       // folders, or files, of exceptions, throttles and severities
	Options    match.Options  // what rules leave to their installation
	Zone       *time.Location // of dates in tuning
	CostShare  float64        // of the time of all rules, above which the log names a rule
	Rescan     time.Duration  // how often the folders are read again without a sign
}

// Deps is what the set stands on.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Current is what works now. It does not change.
type Current struct {
	Engine   *match.Engine
	Tuner    *tune.Tuner
	Rules    []*rules.Rule
	Problems []match.Problem // what is left out of what works, and warnings
	Broken   []match.Problem // files of which a former version works, and why
}

// Set is the rules as the files are. Its methods may be called at the same time.
type Set struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	shipped []*rules.Rule
	current atomic.Pointer[Current]
	kick    chan struct{}

	mu     sync.Mutex // held while files are read and compiled
	files  map[string]*file
	said   map[string]bool      // expired entries that the log has named
	costly map[string]time.Time // when the log last named a rule for its cost
}

// file is one file with the version of it that works.
type file struct {
	sum     [32]byte // of the newest version
	working *version
	pending *version       // newer, and broken
	reason  *match.Problem // why
}

// New reads everything once. Problems are no error: what can be used works.
func New(cfg Config, deps Deps) (*Set, error) {
	shipped, errs := rules.Shipped()
	for _, e := range errs { // they are part of the program, and tested
		return nil, fmt.Errorf("a shipped rule: %w", e)
	}
	return newSet(cfg, deps, shipped)
}

func newSet(cfg Config, deps Deps, shipped []*rules.Rule) (*Set, error) {
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, err
	}
	s := &Set{
		cfg: cfg, log: deps.Log, metrics: m, shipped: shipped, kick: make(chan struct{}, 1),
		files: map[string]*file{}, said: map[string]bool{}, costly: map[string]time.Time{},
	}
	s.load(true)
	return s, nil
}

// Load reads everything once, for a command that ends.
func Load(cfg Config) (*Current, error) {
	s, err := New(cfg, Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return nil, err
	}
	return s.Current(), nil
}

// Current is what works now.
func (s *Set) Current() *Current { return s.current.Load() }

// Reload reads the files again and returns when what changed works. It says
// whether anything did.
func (s *Set) Reload() bool { return s.load(false) }

// Ask has Run read the files again, and returns at once.
func (s *Set) Ask() {
	select {
	case s.kick <- struct{}{}:
	default: // it is asked already
	}
}

// load reads the files and, if any changed, compiles anew.
func (s *Set) load(first bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.expired()
	found, unread := s.scan()
	if !s.changed(found) && !first {
		return false
	}
	begin := time.Now()
	next, dropped := s.candidates(found)
	var c *Current
	for {
		if c = s.compile(next); !s.refuse(next, c.Problems) {
			break
		}
	}
	for path, f := range next {
		if f.pending == nil {
			f.reason = nil
		} else {
			c.Broken = append(c.Broken, *f.reason)
		}
		s.files[path] = f
	}
	for i := range c.Problems {
		if f := next[c.Problems[i].File]; f != nil {
			f.working.note(c.Problems[i])
		}
	}
	c.Problems = append(c.Problems, unread...)
	sortProblems(c.Problems)
	sortProblems(c.Broken)
	s.current.Store(c)
	s.tell(c, first, dropped, time.Since(begin))
	return true
}

// changed says whether any file is other than it was.
func (s *Set) changed(found map[string]*version) bool {
	for path, v := range found {
		if f := s.files[path]; f == nil || f.sum != v.sum {
			return true
		}
	}
	for path := range s.files {
		if found[path] == nil {
			return true
		}
	}
	return false
}

// candidates are the files as they will be if all that changed is sound. What is
// broken when it is read is broken at once, if there is a version that works.
func (s *Set) candidates(found map[string]*version) (next map[string]*file, dropped []string) {
	next = map[string]*file{}
	for path, v := range found {
		f := s.files[path]
		switch {
		case f == nil:
			next[path] = &file{sum: v.sum, working: v}
		case f.sum == v.sum && f.pending == nil:
			next[path] = f
		case f.working.news(v.problems) != nil:
			next[path] = &file{sum: v.sum, working: f.working, pending: v, reason: f.working.news(v.problems)}
		default:
			// A version that was refused for another file's sake is tried again.
			next[path] = &file{sum: v.sum, working: v, pending: f.working}
		}
	}
	for path := range s.files {
		if found[path] == nil {
			dropped = append(dropped, path)
			delete(s.files, path)
		}
	}
	slices.Sort(dropped)
	return next, dropped
}

// refuse puts the former version of files back whose new one has a problem that
// the former had not, and says whether there were any. Files without a former version stay.
func (s *Set) refuse(next map[string]*file, problems []match.Problem) (refused bool) {
	for i := range problems {
		p := problems[i]
		f := next[p.File]
		if p.Warning || f == nil || f.pending == nil || f.reason != nil || f.pending.knew(p) {
			continue
		}
		f.working, f.pending = f.pending, f.working
		f.reason = &p
		refused = true
	}
	if refused {
		return true
	}
	for _, f := range next {
		if f.reason == nil {
			f.pending = nil // the new version is sound: the former is forgotten
		}
	}
	return false
}

// compile makes an engine of the files' working versions.
func (s *Set) compile(files map[string]*file) *Current {
	c := &Current{Rules: slices.Clone(s.shipped)}
	all := &tuning.Tuning{}
	at := s.owners(files)
	for _, path := range sortedKeys(files) {
		v := files[path].working
		c.Problems = append(c.Problems, v.problems...)
		for _, r := range v.rules {
			if other := at[r.ID]; other != r {
				c.Problems = append(c.Problems, match.Problem{File: r.File, Line: r.Line, RuleID: r.ID, Reason: fmt.Sprintf("the id is taken by %s:%d", other.File, other.Line)})
				continue
			}
			c.Rules = append(c.Rules, r)
		}
		if v.tuning != nil {
			all.Add(v.tuning)
		}
	}
	engine, problems := match.Compile(c.Rules, s.cfg.Options)
	c.Engine, c.Problems = engine, append(c.Problems, problems...)
	c.Tuner, problems = tune.Compile(all, c.Rules, engine, s.cfg.Options)
	c.Problems = append(c.Problems, problems...)
	return c
}

// owners says which rule has each id. An id stays with the file whose it was
// while that has it: a file that takes another's id is the broken one.
func (s *Set) owners(files map[string]*file) map[string]*rules.Rule {
	at := map[string]*rules.Rule{}
	for _, r := range s.shipped {
		at[r.ID] = r
	}
	now := map[string]string{}
	if c := s.current.Load(); c != nil {
		for _, r := range c.Rules {
			now[r.ID] = r.File
		}
	}
	for _, path := range sortedKeys(files) {
		for _, r := range files[path].working.rules {
			other := at[r.ID]
			if other == nil || now[r.ID] == r.File && other.File != r.File {
				at[r.ID] = r
			}
		}
	}
	return at
}

// tell says what has changed.
func (s *Set) tell(c *Current, first bool, dropped []string, took time.Duration) {
	left := 0
	for _, p := range c.Problems {
		if p.Warning {
			s.log.Debug("rules", "warning", p.String())
			continue
		}
		left++
		s.log.Warn("rule left out", "problem", p.String())
	}
	for _, p := range c.Broken {
		s.log.Error("a file is broken; its former version works on", "problem", p.String())
	}
	s.metrics.loaded.Set(float64(len(c.Rules)))
	s.metrics.leftOut.Set(float64(left))
	s.metrics.tuning.Set(float64(c.Tuner.Entries()))
	s.metrics.broken.Reset()
	for _, p := range c.Broken {
		s.metrics.broken.WithLabelValues(p.File).Set(1)
	}
	s.metrics.seconds.Set(took.Seconds())
	if first {
		return
	}
	result := "applied"
	if len(c.Broken) > 0 {
		result = "broken"
	}
	s.metrics.reloads.WithLabelValues(result).Inc()
	s.log.Info("rules read again", "rules", len(c.Rules), "left_out", left, "broken_files", len(c.Broken), "files_gone", strings.Join(dropped, ", "), "took", took.Round(time.Millisecond))
}

// expired counts the entries of the tuning that have ended, and names each once.
func (s *Set) expired() {
	c := s.current.Load()
	if c == nil {
		return
	}
	ended := c.Tuner.Expired(time.Now())
	s.metrics.expired.Set(float64(len(ended)))
	for _, p := range ended {
		if text := p.String(); !s.said[text] {
			s.said[text] = true
			s.log.Warn("tuning that has ended", "entry", text)
		}
	}
}

// ErrUnwatched says that the system gives no sign of changes; the folders are
// still read again every so often.
var ErrUnwatched = errors.New("folders of rules are not watched")

// Run keeps the set as the files are until ctx ends.
func (s *Set) Run(ctx context.Context) error {
	w := s.watch()
	defer w.close()
	rescan := time.NewTicker(s.cfg.Rescan)
	defer rescan.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
			if !s.load(false) {
				s.log.Info("rules read again: nothing has changed")
			}
		case <-w.settled():
			s.load(false)
		case now := <-rescan.C:
			s.load(false)
			costs, timed := s.Current().Engine.Costs()
			s.tellCosts(costs, timed, now)
		}
		w.follow(s.folders())
	}
}

type metrics struct {
	loaded, leftOut, tuning, expired, seconds prometheus.Gauge
	broken, cost                              *prometheus.GaugeVec
	reloads                                   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "fengsui", Subsystem: "analyzer", Name: name, Help: help})
	}
	m := &metrics{
		loaded:  gauge("rules_loaded", "Rules that were read, the shipped ones included."),
		leftOut: gauge("rules_left_out", "Problems that keep a rule or an entry of the tuning from working."),
		tuning:  gauge("tuning_entries", "Exceptions, throttles and severities that were read."),
		expired: gauge("tuning_expired", "Entries of the tuning that have ended."),
		seconds: gauge("rules_compile_seconds", "What the last reading and compiling of the rules took."),
		broken: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "rules_broken", Help: "Files whose newest version is broken, so that a former one works: 1 for each.",
		}, []string{"file"}),
		cost: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "rule_cost_share", Help: "Share of the time of all rules, of those that take most.",
		}, []string{"rule", "title"}),
		reloads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "rules_reloads_total", Help: "Times that changed files were read: applied, or broken when some were.",
		}, []string{"result"}),
	}
	for _, c := range []prometheus.Collector{m.loaded, m.leftOut, m.tuning, m.expired, m.seconds, m.broken, m.cost, m.reloads} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
