package trial

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"fengsui/analyzer/correlate"
	"fengsui/analyzer/match"
	"fengsui/rules"
	"fengsui/schemas"
)

// Report is what the samples of a folder of rules say.
type Report struct {
	Rules    int             `json:"rules"`
	Files    int             `json:"files"`
	Samples  int             `json:"samples"` // events
	Failures []match.Problem `json:"failures"`
}

// TestDir runs the samples beside every rule of a folder, or of one file.
func TestDir(name string, opt match.Options) (Report, error) {
	info, err := os.Stat(name)
	if err != nil {
		return Report{}, err
	}
	dir, root := name, "."
	if !info.IsDir() {
		dir, root = filepath.Dir(name), filepath.Base(name)
	}
	report := TestFS(os.DirFS(dir), root, filepath.Clean(dir)+"/", opt)
	if report.Files == 0 && len(report.Failures) == 0 {
		return report, fmt.Errorf("%s: no rule is there, in no file that ends in .yml or .yaml", name)
	}
	return report, nil
}

// TestFS runs the samples beside every rule of a tree, which rules.Load reads.
//
// All of a file's firing samples are one sequence of events, and all of its near
// misses another. Each firing sample must be matched by some rule of the file,
// and every rule of the file that can alert must raise one over the whole of
// them; over the near misses none may. So a correlation has to reach its number,
// and what its base rules meet may stand among its near misses. A rule that
// cannot be used, and a file without samples, fail too.
func TestFS(fsys fs.FS, root, prefix string, opt match.Options) Report {
	rs, errs := rules.Load(fsys, root, prefix)
	t := test{rules: rs, report: Report{Rules: len(rs)}}
	for _, e := range errs {
		t.report.Failures = append(t.report.Failures, match.ProblemOf(e))
	}
	files := map[string][]*rules.Rule{} // those that can alert
	var order []string
	for _, r := range rs {
		if _, known := files[r.File]; !known {
			files[r.File], order = nil, append(order, r.File)
		}
	}
	engine, problems := match.Compile(append(rules.Beside(rs), rs...), opt)
	for _, p := range problems {
		if _, own := files[p.File]; own && !p.Warning {
			t.report.Failures = append(t.report.Failures, p)
		}
	}
	t.engine = engine
	for _, r := range engine.Reported() {
		files[r.File] = append(files[r.File], r)
	}
	for _, file := range order {
		t.file(fsys, strings.TrimPrefix(file, prefix), prefix, files[file])
	}
	return t.report
}

type test struct {
	rules  []*rules.Rule // of the tree
	engine *match.Engine
	report Report
}

func (t *test) fail(file string, line int, rule, format string, args ...any) {
	t.report.Failures = append(t.report.Failures, match.Problem{File: file, Line: line, RuleID: rule, Reason: fmt.Sprintf(format, args...)})
}

func (t *test) file(fsys fs.FS, name, prefix string, alerting []*rules.Rule) {
	t.report.Files++
	samples, err := rules.LoadSamples(fsys, name)
	if err != nil {
		t.fail(prefix+name, 1, "", "%v", err)
		return
	}
	t.report.Samples += len(samples.Fires) + len(samples.Silent)
	raised := t.run(samples.Fires, prefix, prefix+name, true)
	for _, r := range alerting {
		if !slices.ContainsFunc(raised, func(f fired) bool { return f.rule == r.ID }) {
			t.fail(r.File, r.Line, r.ID, "no alert of %q is raised by the events of %s", r.Title, firesFile(name))
		}
	}
	for _, f := range t.run(samples.Silent, prefix, prefix+name, false) {
		t.fail(prefix+f.sample.File, f.sample.Line, f.rule, "%q fires on a near miss: %s", f.title, f.why)
	}
}

func firesFile(name string) string {
	return strings.TrimSuffix(path.Base(name), path.Ext(name)) + ".fires.jsonl"
}

// fired is an alert that samples raised.
type fired struct {
	rule, title, why string
	sample           rules.Sample
}

// run takes samples in their order, as one sequence. It returns the alerts of the
// file's rules, each with the sample that raised it.
func (t *test) run(samples []rules.Sample, prefix, file string, mustMatch bool) (out []fired) {
	own, counting := map[string]bool{}, map[string]bool{} // rules of the file that can alert, and all of them
	for _, r := range t.engine.Reported() {
		own[r.ID] = r.File == file
	}
	for _, r := range t.rules {
		counting[r.ID] = r.File == file // also a correlation that another counts on
	}
	run := New(t.engine, nil, correlate.DefaultConfig())
	seen := 0
	for _, s := range samples {
		matched := false
		for _, m := range run.Event(s.Event) {
			matched = matched || counting[m.Rule.ID]
		}
		if mustMatch && !matched {
			t.fail(prefix+s.File, s.Line, "", "no rule of %s matches this event", path.Base(file))
		}
		alerts := run.Alerts()
		for ; seen < len(alerts); seen++ {
			if a := &alerts[seen]; own[a.Rule.ID] {
				out = append(out, fired{rule: a.Rule.ID, title: a.Rule.Title, why: why(a), sample: s})
			}
		}
	}
	return out
}

// why says in one line what satisfied the rule.
func why(a *schemas.Alert) string {
	var parts []string
	for _, s := range a.Satisfied {
		parts = append(parts, fmt.Sprintf("%s: %s = %q", s.Selection, s.Field, s.Value))
	}
	if a.Count > 1 {
		parts = append(parts, fmt.Sprintf("%d events", a.Count))
	}
	return strings.Join(parts, "; ")
}
