package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"fengsui/analyzer/enrich"
	"fengsui/analyzer/match"
	"fengsui/analyzer/parse"
	"fengsui/analyzer/ruleset"
	"fengsui/analyzer/tune"
	"fengsui/internal/gzfile"
	"fengsui/rules"
	"fengsui/schemas"
)

func newRules(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "检测规则 / detection rules", Example: "  fengsui rules check ./rules"}
	cmd.AddCommand(newRulesCheck(flags), newRulesTest(flags), newRulesMatch(flags), newRulesBacktest(flags), newRulesBench(flags))
	return cmd
}

// readRules reads a folder or file of rules, or the shipped ones.
func readRules(dir string) ([]*rules.Rule, []match.Problem) {
	read := rules.Shipped
	if dir != "" {
		read = func() ([]*rules.Rule, []*rules.Error) { return rules.LoadDir(dir) }
	}
	rs, errs := read()
	var problems []match.Problem
	for _, e := range errs {
		problems = append(problems, match.ProblemOf(e))
	}
	return rs, problems
}

func newRulesCheck(flags *globalFlags) *cobra.Command {
	var tuning []string
	cmd := &cobra.Command{
		Use: "check [DIR]", Short: "检查规则与调优 / name every rule that cannot be loaded or would never match",
		Long: `检查一个目录的 Sigma 规则（不给目录则检查内置规则与配置中的目录）以及调优文件，逐条指出文件、行与原因。
Check a folder of Sigma rules; without one, the shipped rules with the folders of
the configuration. Files of exceptions, throttles and severities are checked too:
those of the configuration, or of --tuning; an unknown rule and an entry that has
ended are warnings. Exit code 3 when something cannot be used.`,
		Example: "  fengsui rules check ./rules --tuning ./tuning", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := ruleSetOf(flags)
			if err != nil {
				return err
			}
			if len(args) == 1 {
				where.RuleDirs, where.TuningDirs = args, nil
			}
			if len(tuning) > 0 {
				where.TuningDirs = tuning
			}
			n, problems, err := checkRules(where, len(args) == 1)
			if err != nil {
				return err
			}
			return showProblems(cmd, flags, n, problems)
		},
	}
	cmd.Flags().StringSliceVar(&tuning, "tuning", nil, "folder or file of exceptions, throttles and severities")
	return cmd
}

// ruleSetOf is where the configuration has the rules.
func ruleSetOf(flags *globalFlags) (ruleset.Config, error) {
	cfg, err := loadConfig(flags)
	if err != nil {
		return ruleset.Config{}, usageError{err}
	}
	where, err := cfg.Analyzer.RuleSet()
	if err != nil {
		return where, usageError{err}
	}
	return where, nil
}

// checkRules returns the number of rules, and everything that is wrong with them
// and the tuning; alone leaves the shipped rules out.
func checkRules(where ruleset.Config, alone bool) (int, []match.Problem, error) {
	if !alone {
		c, err := ruleset.Load(where)
		if err != nil {
			return 0, nil, err
		}
		return len(c.Rules), append(c.Problems, c.Tuner.Expired(time.Now())...), nil
	}
	rs, problems := readRules(where.RuleDirs[0])
	n := len(rs)
	own := map[string]bool{}
	for _, r := range rs {
		own[r.File] = true
	}
	rs = append(rules.Beside(rs), rs...) // they may refer to shipped ones, and tuning may
	engine, more := match.Compile(rs, where.Options)
	for _, p := range more {
		if own[p.File] {
			problems = append(problems, p)
		}
	}
	tuning, more := ruleset.ReadTuning(where.TuningDirs, where.Zone)
	problems = append(problems, more...)
	tuner, more := tune.Compile(tuning, rs, engine, where.Options)
	return n, append(append(problems, more...), tuner.Expired(time.Now())...), nil
}

func showProblems(cmd *cobra.Command, flags *globalFlags, n int, problems []match.Problem) error {
	bad := 0
	enc := json.NewEncoder(cmd.OutOrStdout())
	for _, p := range problems {
		if !p.Warning {
			bad++
		}
		if flags.json {
			if err := enc.Encode(p); err != nil {
				return err
			}
			continue
		}
		text := p.String()
		if p.Warning {
			text = "警告 / warning: " + text
		}
		fmt.Fprintln(cmd.OutOrStdout(), text)
	}
	if !flags.json {
		fmt.Fprintf(cmd.OutOrStdout(), "%d 条规则，%d 处不可用 / %d rules read, %d problems that make one unusable\n", n, bad, n, bad)
	}
	if bad > 0 {
		return findingError{fmt.Errorf("%d rules cannot be used", bad)}
	}
	return nil
}

// eventFlags are those of commands that read events from a file.
type eventFlags struct {
	rules, events, format string
}

func (f *eventFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.rules, "rules", "", "folder or file of rules (default: the shipped ones)")
	cmd.Flags().StringVar(&f.events, "events", "", "file of events, one a line; .gz is read too")
	cmd.Flags().StringVar(&f.format, "format", "windows", "format of the events, as of `fengsui parse`")
}

// open checks the flags and opens the events.
func (f *eventFlags) open() (io.ReadCloser, parse.Parser, error) {
	if f.events == "" {
		return nil, nil, usageError{errors.New("--events is missing")}
	}
	parser, err := parse.Lookup(f.format)
	if err != nil {
		return nil, nil, usageError{err}
	}
	if f.rules != "" { // no rules would find nothing, and look as if nothing were there
		if _, err := os.Stat(f.rules); err != nil {
			return nil, nil, fmt.Errorf("rules: %w", err)
		}
	}
	r, err := gzfile.Open(f.events)
	return r, parser, err
}

// maxLine is the longest line of a file of events, in bytes.
const maxLine = 16 << 20

func scanLines(r io.Reader) *bufio.Scanner {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), maxLine)
	return sc
}

// readError says where a file of events could not be read on.
func readError(name string, line int, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bufio.ErrTooLong):
		return fmt.Errorf("reading %s: line %d is longer than %d MiB", name, line, maxLine>>20)
	}
	return fmt.Errorf("reading %s: line %d: %w", name, line, err)
}

// matchLine is one line of `fengsui rules match`.
type matchLine struct {
	Event     int                 `json:"event"` // number of the event in the file, from 1
	RuleID    string              `json:"rule_id"`
	Title     string              `json:"title"`
	Level     schemas.Level       `json:"level"`
	Satisfied []schemas.Satisfied `json:"satisfied"`
	CountedBy []string            `json:"counted_by,omitempty"` // ids of correlations that refer to the rule, met or not
}

// single are the rules that one event can meet, and the ids of the correlations
// that count each of them, by id and by name.
func single(rs []*rules.Rule) (detections []*rules.Rule, countedBy map[string][]string) {
	countedBy = map[string][]string{}
	for _, r := range rs {
		if r.Correlation == nil {
			detections = append(detections, r)
			continue
		}
		for _, ref := range r.Correlation.Rules {
			countedBy[ref.Rule] = append(countedBy[ref.Rule], r.ID)
		}
	}
	for _, r := range detections {
		if r.Name != "" && r.Name != r.ID {
			countedBy[r.ID] = append(countedBy[r.ID], countedBy[r.Name]...)
		}
	}
	return detections, countedBy
}

func newRulesMatch(flags *globalFlags) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use: "match --events FILE", Short: "用规则匹配文件中的事件 / match the events of a file, one JSON object a match",
		Long: `逐个事件匹配，输出事件序号、规则与满足的字段值。关联规则跨事件计数，这里只在 counted_by 列出会计数该命中的关联，
是否达到条件用 rules test 或 rules backtest 查看。
Match event by event: the event's number, the rule, and the values that satisfied
it. Correlations count over many events: counted_by names those that count a match;
whether their conditions are met, rules test and rules backtest say.`,
		Example: "  fengsui rules match --rules ./rules --events events.jsonl.gz --format windows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			where, err := ruleSetOf(flags)
			if err != nil {
				return err
			}
			r, parser, err := f.open()
			if err != nil {
				return err
			}
			defer r.Close()
			rs, problems := readRules(f.rules)
			detections, countedBy := single(rs)
			engine, more := match.Compile(detections, where.Options)
			for _, p := range append(problems, more...) {
				if !p.Warning {
					fmt.Fprintln(cmd.ErrOrStderr(), p.String())
				}
			}
			if len(engine.Rules()) == 0 { // no match would look as if nothing were there
				return findingError{errors.New("there is no rule that can be used")}
			}
			enricher, err := enricherOf(cmd, flags)
			if err != nil {
				return err
			}
			return matchFile(cmd, f.events, r, parser, enricher, engine, countedBy)
		},
	}
	f.add(cmd)
	return cmd
}

// enricherOf adds to events what the analyzer adds that is not of the registry.
// Files of places that cannot be used are named.
func enricherOf(cmd *cobra.Command, flags *globalFlags) (*enrich.Enricher, error) {
	cfg, err := loadConfig(flags)
	if err != nil {
		return nil, usageError{err}
	}
	e, err := enrich.New(cfg.Analyzer.Enrich, enrich.Deps{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		return nil, usageError{err}
	}
	for _, p := range e.Problems() {
		fmt.Fprintln(cmd.ErrOrStderr(), p)
	}
	return e, nil
}

func matchFile(cmd *cobra.Command, name string, r io.Reader, parser parse.Parser, enricher *enrich.Enricher, engine *match.Engine, countedBy map[string][]string) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	enc := json.NewEncoder(w)
	lines := scanLines(r)
	var ev schemas.Event
	var writeErr error
	n := 1
	for ; lines.Scan(); n++ {
		ev.Reset()
		ev.Original, ev.Received = lines.Text(), time.Now()
		if err := parser(&ev); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "event %d: %v\n", n, err)
			continue
		}
		enricher.Event(nil, &ev)
		engine.Match(&ev, func(h match.Hit) {
			m := h.ToMatch(&ev)
			if err := enc.Encode(matchLine{n, m.Rule.ID, m.Rule.Title, m.Rule.Level, m.Satisfied, countedBy[m.Rule.ID]}); err != nil {
				writeErr = err
			}
		})
	}
	return errors.Join(writeErr, readError(name, n, lines.Err()), w.Flush())
}

func newRulesBench(flags *globalFlags) *cobra.Command {
	var (
		f      eventFlags
		cpus   int
		passes int
	)
	cmd := &cobra.Command{
		Use: "bench --events FILE", Short: "测量规则的开销 / measure what rules cost on the events of a file",
		Example: "  fengsui rules bench --rules ./rules --events events.jsonl.gz --cpu 1 --json", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, parser, err := f.open()
			if err != nil {
				return err
			}
			defer r.Close()
			var lines [][]byte
			sc := scanLines(r)
			for sc.Scan() {
				lines = append(lines, append([]byte(nil), sc.Bytes()...))
			}
			if err := readError(f.events, len(lines)+1, sc.Err()); err != nil {
				return err
			}
			if cpus > 0 {
				runtime.GOMAXPROCS(cpus)
			}
			rs, problems := readRules(f.rules)
			if len(rs) == 0 {
				return findingError{fmt.Errorf("there is no rule to measure: %v", problems)}
			}
			bench := match.Bench{Rules: rs, Lines: lines, Parse: parser, Passes: passes, Workers: cpus}
			if f.format == "windows" {
				bench.Layout = parse.Windows()
			}
			res, err := bench.Run()
			if err != nil {
				return err
			}
			return out(cmd, flags, res, fmt.Sprintf(
				"规则 / rules %d · 编译 / compile %.2f s, %d MB · 冷 / cold %.0f events/s · 热 / warm %.0f events/s · 全解析 / parsed whole %.0f events/s · 候选 / candidates %.2f an event",
				res.Rules, res.CompileS, res.CompileBytes>>20, res.ColdEventsPerS, res.WarmEventsPerS, res.ParsedEventsPerS, res.CandidatesPerEvent))
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&cpus, "cpu", 1, "processors to use")
	cmd.Flags().IntVar(&passes, "passes", 3, "warm passes")
	return cmd
}
