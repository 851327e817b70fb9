package ruleset

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"fengsui/analyzer/match"
	"fengsui/rules"
	"fengsui/schemas"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// rule is a file of one rule that looks for a word.
func rule(id, word string) string {
	return fmt.Sprintf("title: looks for %s\nid: %s\nlogsource: {product: linux, service: sshd}\ndetection:\n  selection: {user.name: %s}\n  condition: selection\n", word, id, word)
}

// house is a set on folders of the test.
type house struct {
	t       *testing.T
	dir     string
	set     *Set
	metrics *prometheus.Registry
	log     *logText
	reloads float64 // that were counted at the last look, when files are watched
	watched bool
}

type logText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func open(t *testing.T, files map[string]string) *house {
	t.Helper()
	h := &house{t: t, dir: t.TempDir(), metrics: prometheus.NewRegistry(), log: &logText{}}
	for _, d := range []string{"rules", "tuning"} {
		if err := os.Mkdir(filepath.Join(h.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		h.write(name, text)
	}
	shipped, _ := rules.Shipped()
	var err error
	h.set, err = newSet(Config{ // a few of the shipped rules: compiling all takes its time under the race detector
		RuleDirs: []string{filepath.Join(h.dir, "rules")}, TuningDirs: []string{filepath.Join(h.dir, "tuning")},
		Zone: time.UTC, Rescan: time.Hour,
	}, Deps{Log: slog.New(slog.NewTextHandler(h.log, nil)), Metrics: h.metrics}, shipped[:10])
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) path(name string) string { return filepath.Join(h.dir, name) }

func (h *house) write(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(h.path(name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) remove(name string) {
	h.t.Helper()
	if err := os.RemoveAll(h.path(name)); err != nil {
		h.t.Fatal(err)
	}
}

// run keeps the set as the files are until the test ends.
func (h *house) run() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.set.Run(ctx) }()
	h.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			h.t.Error(err)
		}
	})
	h.watched = true
	time.Sleep(50 * time.Millisecond) // a change before the folders are watched is not what is tested
}

func login(user string) *schemas.Event {
	ev, err := rules.DecodeEvent([]byte(`{"@timestamp":"2026-03-01T08:00:00Z","event.provider":"sshd","process.name":"sshd","user.name":"` + user + `"}`))
	if err != nil {
		panic(err)
	}
	return ev
}

// fired are the rules of this test that an event of the user meets now, those
// that an exception takes away left out.
func (h *house) fired(user string) string {
	var ids []string
	c, ev := h.set.Current(), login(user)
	c.Engine.Match(ev, func(hit match.Hit) {
		m := hit.ToMatch(ev)
		if strings.HasPrefix(m.Rule.ID, "test") && c.Tuner.Excepted(hit, &m, ev, nil) == nil {
			ids = append(ids, m.Rule.ID)
		}
	})
	return strings.Join(ids, " ")
}

func (h *house) metric(name string) float64 {
	h.t.Helper()
	families, err := h.metrics.Gather()
	if err != nil {
		h.t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != "fengsui_analyzer_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return sum
}

// is waits until an event of each user meets the rules that it should.
func (h *house) is(what string, broken int, want map[string]string) {
	h.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		wrong := ""
		for user, ids := range want {
			if got := h.fired(user); got != ids {
				wrong += fmt.Sprintf("%s meets %q, want %q; ", user, got, ids)
			}
		}
		if got := h.metric("rules_broken"); got != float64(broken) {
			wrong += fmt.Sprintf("%v files are broken, want %d; ", got, broken)
		}
		n := h.metric("rules_reloads_total")
		if h.watched && n == h.reloads {
			wrong += "nothing was read again; "
		}
		if wrong == "" {
			h.reloads = n
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: %s\n%s", what, wrong, h.log)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestReload changes files in every way in which people and programs do, while
// events are evaluated all the time.
func TestReload(t *testing.T) {
	h := open(t, map[string]string{"rules/a.yml": rule("test-a", "anna"), "rules/deep/b.yml": rule("test-b", "bob")})
	h.run()
	// The load: not one event may miss the rule that stays, whatever is changed.
	h.write("rules/steady.yml", rule("test-steady", "steady"))
	h.is("a new file", 0, map[string]string{"anna": "test-a", "bob": "test-b", "steady": "test-steady"})
	var evaluated, missed atomic.Int64
	ctx, stop := context.WithCancel(context.Background())
	var load sync.WaitGroup
	for range 2 {
		load.Go(func() {
			for ctx.Err() == nil {
				if evaluated.Add(1); h.fired("steady") != "test-steady" {
					missed.Add(1)
				}
				time.Sleep(50 * time.Microsecond) // the machine must compile, too
			}
		})
	}
	defer load.Wait()
	defer stop()

	h.write("rules/a.yml", rule("test-a", "alice"))
	h.is("a changed file", 0, map[string]string{"anna": "", "alice": "test-a"})

	h.write("rules/a.yml", "title: [")
	h.is("no YAML", 1, map[string]string{"alice": "test-a"})
	if !strings.Contains(h.log.String(), "former version works on") || !strings.Contains(h.log.String(), h.path("rules/a.yml")+":1") {
		t.Errorf("the log does not say so: %s", h.log)
	}
	h.write("rules/b2.yml", rule("test-b2", "bob"))
	h.is("another file while one is broken", 1, map[string]string{"alice": "test-a", "bob": "test-b2 test-b"})
	h.write("rules/a.yml", strings.Replace(rule("test-a", "alina"), "user.name", "user.nmae", 1))
	h.is("an unknown field", 1, map[string]string{"alice": "test-a", "alina": ""})
	h.write("rules/a.yml", strings.Replace(rule("test-a", "alina"), "condition: selection", "condition: selektion", 1))
	h.is("a condition of nothing", 1, map[string]string{"alice": "test-a", "alina": ""})
	h.write("rules/a.yml", rule("test-b", "alina"))
	h.is("an id that is taken", 1, map[string]string{"alice": "test-a", "alina": ""})
	h.write("rules/a.yml", rule("test-a", "alina"))
	h.is("the file is sound again", 0, map[string]string{"alice": "", "alina": "test-a"})

	// An editor writes beside the file and renames; another renames the file away.
	h.write("rules/.a.yml.tmp", rule("test-a", "amy"))
	if err := os.Rename(h.path("rules/.a.yml.tmp"), h.path("rules/a.yml")); err != nil {
		t.Fatal(err)
	}
	h.is("an editor that renames", 0, map[string]string{"alina": "", "amy": "test-a"})
	if err := os.Rename(h.path("rules/a.yml"), h.path("rules/a.yml~")); err != nil {
		t.Fatal(err)
	}
	h.write("rules/a.yml", rule("test-a", "ada"))
	h.is("an editor that keeps a copy", 0, map[string]string{"amy": "", "ada": "test-a"})

	h.write("rules/new/deeper/c.yml", rule("test-c", "carl"))
	h.is("a file in new folders", 0, map[string]string{"carl": "test-c"})
	h.write("rules/new/deeper/c.yml", rule("test-c", "carol"))
	h.is("and that file changed", 0, map[string]string{"carl": "", "carol": "test-c"})
	h.remove("rules/new")
	h.is("folders that are gone", 0, map[string]string{"carol": ""})
	h.remove("rules/b2.yml")
	h.is("a file that is gone", 0, map[string]string{"bob": "test-b"})

	h.write("tuning/t.yml", "exceptions: [{rule: test-a, when: {user.name: ada}, who: li, why: hers}]")
	h.is("an exception", 0, map[string]string{"ada": ""})
	h.write("tuning/t.yml", "exceptions: [{rule: test-a, when: {user.name: ada}, who: li}]")
	h.is("a broken exception: the former holds on", 1, map[string]string{"ada": ""})
	h.write("tuning/t.yml", "exceptions: [{rule: test-a, when: {user.name: eve}, who: li, why: hers}]")
	h.is("another exception", 0, map[string]string{"ada": "test-a"})

	stop()
	load.Wait()
	if missed.Load() > 0 || evaluated.Load() < 1000 {
		t.Errorf("of %d events %d missed a rule that stayed", evaluated.Load(), missed.Load())
	}
	if n := h.metric("rules_reloads_total"); n < 17 {
		t.Errorf("%v reloads were counted", n)
	}
	if n := h.metric("tuning_entries"); n != 1 {
		t.Errorf("%v entries of the tuning", n)
	}
	t.Logf("%d events were evaluated meanwhile", evaluated.Load())
}

// TestBroken: what is broken from the beginning, or goes and comes.
func TestBroken(t *testing.T) {
	h := open(t, map[string]string{
		"rules/a.yml": rule("test-a", "anna") + "---\ntitle: x\n", // one of two documents
		"rules/b.yml": "title: [",
	})
	h.is("from the beginning the sound part of a file works", 0, map[string]string{"anna": "test-a"})
	if n := h.metric("rules_left_out"); n != 2 {
		t.Errorf("%v are left out, want 2", n)
	}
	// It can be changed while its old fault is still there.
	h.write("rules/a.yml", rule("test-a", "alice")+"---\ntitle: x\n")
	if !h.set.Reload() {
		t.Error("nothing has changed?")
	}
	h.is("changed beside an old fault", 0, map[string]string{"alice": "test-a"})
	h.write("rules/b.yml", rule("test-b", "bob"))
	h.set.Reload()
	h.is("mended", 0, map[string]string{"bob": "test-b"})
	// A folder that cannot be found is not one whose rules were deleted.
	if err := os.Rename(h.path("rules"), h.path("away")); err != nil {
		t.Fatal(err)
	}
	h.write("tuning/t.yml", "exceptions: []")
	h.set.Reload()
	h.is("the folder is away", 0, map[string]string{"alice": "test-a", "bob": "test-b"})
	if err := os.Rename(h.path("away"), h.path("rules")); err != nil {
		t.Fatal(err)
	}
	h.remove("rules/b.yml")
	h.set.Reload()
	h.is("it is back, without a file", 0, map[string]string{"alice": "test-a", "bob": ""})
	if h.set.Reload() {
		t.Error("nothing has changed, and it was compiled again")
	}
	// A pipe into which nobody writes holds nothing up.
	if err := syscall.Mkfifo(h.path("rules/pipe.yml"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.write("rules/a.yml", rule("test-a", "alma"))
	h.set.Reload()
	h.is("beside a pipe", 0, map[string]string{"alma": "test-a"})
	h.remove("rules/pipe.yml")
	// A link to a folder is said, and keeps nothing else from being read.
	h.write("elsewhere/far.yml", rule("test-far", "fay"))
	if err := os.Symlink(h.path("elsewhere"), h.path("rules/more")); err != nil {
		t.Fatal(err)
	}
	h.write("rules/c.YML", rule("test-c", "cora"))
	h.set.Reload()
	h.is("beside a link", 0, map[string]string{"fay": "", "cora": "test-c"})
	if !strings.Contains(h.log.String(), "a link to a folder, which is not followed") {
		t.Errorf("the link is not spoken of:\n%s", h.log)
	}
	h.remove("rules/more")
	// Two files that need one another.
	base := strings.Replace(rule("test-base", "carl"), "id: test-base", "id: test-base\nname: base", 1)
	many := "title: many\nid: test-many\ncorrelation: {type: event_count, rules: [base], group-by: [user.name], timespan: 1m, condition: {gte: 5}}\n"
	h.write("rules/many.yml", many)
	h.set.Reload()
	h.is("a correlation before its base", 0, map[string]string{"carl": ""})
	h.write("rules/base.yml", base)
	h.set.Reload()
	h.is("with its base", 0, map[string]string{"carl": "test-many"})
}

// TestHangUp: asking has Run read at once, although nothing watches.
func TestHangUp(t *testing.T) {
	h := open(t, map[string]string{"rules/a.yml": rule("test-a", "anna")})
	h.set.cfg.RuleDirs = append(h.set.cfg.RuleDirs, h.path("later"))
	h.run()
	h.watched = false
	h.write("later/b.yml", rule("test-b", "bob")) // a folder that was not there is not watched
	h.set.Ask()
	h.is("asked", 0, map[string]string{"anna": "test-a", "bob": "test-b"})
	h.set.Ask()
	deadline := time.Now().Add(10 * time.Second)
	for !strings.Contains(h.log.String(), "nothing has changed") {
		if time.Now().After(deadline) {
			t.Fatalf("asked in vain: %s", h.log)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestCosts: the dearest rules stand in a metric; one above its share is named in
// the log, once an hour.
func TestCosts(t *testing.T) {
	h := open(t, nil)
	h.set.cfg.CostShare = 0.2
	costs := []match.Cost{{Rule: &rules.Rule{ID: "dear", Title: "dear rule"}, Share: 0.3}}
	for i := range 50 {
		costs = append(costs, match.Cost{Rule: &rules.Rule{ID: fmt.Sprint("cheap", i)}, Share: 0.001})
	}
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	f := func(after time.Duration, said int) {
		t.Helper()
		h.set.tellCosts(costs, time.Second, now.Add(after))
		if n := strings.Count(h.log.String(), "costs more than its share"); n != said {
			t.Errorf("after %v it was said %d times, want %d", after, n, said)
		}
	}
	h.set.tellCosts(costs, time.Millisecond, now) // too little to say
	f(0, 1)
	f(time.Minute, 1)
	f(time.Hour, 2)
	if sum := h.metric("rule_cost_share"); sum < 0.318 || sum > 0.320 {
		t.Errorf("the metric's sum is %v, want that of twenty rules", sum)
	}
}
