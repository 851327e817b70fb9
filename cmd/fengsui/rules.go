package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"fengsui/analyzer/match"
	"fengsui/analyzer/parse"
	"fengsui/internal/gzfile"
	"fengsui/rules"
	"fengsui/schemas"
)

func newRules(flags *globalFlags) *cobra.Command {
	cmd := &cobra.Command{Use: "rules", Short: "检测规则 / detection rules", Example: "  fengsui rules check ./rules"}
	cmd.AddCommand(newRulesCheck(flags), newRulesTest(flags), newRulesMatch(flags), newRulesBench(flags))
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
	return &cobra.Command{
		Use: "check [DIR]", Short: "检查规则 / name every rule that cannot be loaded or would never match",
		Long: `检查一个目录的 Sigma 规则（不给目录则检查内置规则），逐条指出文件、行与原因。
Check a folder of Sigma rules (the shipped ones without a folder). Exit code 3
when a rule cannot be used.`,
		Example: "  fengsui rules check ./rules", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := ""
			if len(args) == 1 {
				dir = args[0]
			}
			rs, problems := readRules(dir)
			_, more := match.Compile(rs, match.Options{})
			problems = append(problems, more...)
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
				} else {
					fmt.Fprintln(cmd.OutOrStdout(), p.String())
				}
			}
			if !flags.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%d 条规则，%d 条不可用 / %d rules read, %d problems that make one unusable\n", len(rs), bad, len(rs), bad)
			}
			if bad > 0 {
				return findingError{fmt.Errorf("%d rules cannot be used", bad)}
			}
			return nil
		},
	}
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
	r, err := gzfile.Open(f.events)
	return r, parser, err
}

func scanLines(r io.Reader) *bufio.Scanner {
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 64<<10), 16<<20)
	return sc
}

// matchLine is one line of `fengsui rules match`.
type matchLine struct {
	Event     int                 `json:"event"` // number of the event in the file, from 1
	RuleID    string              `json:"rule_id"`
	Title     string              `json:"title"`
	Level     schemas.Level       `json:"level"`
	Satisfied []schemas.Satisfied `json:"satisfied"`
}

func newRulesMatch(flags *globalFlags) *cobra.Command {
	var f eventFlags
	cmd := &cobra.Command{
		Use: "match --events FILE", Short: "用规则匹配文件中的事件 / match the events of a file, one JSON object a match",
		Example: "  fengsui rules match --rules ./rules --events events.jsonl.gz --format windows", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, parser, err := f.open()
			if err != nil {
				return err
			}
			defer r.Close()
			rs, problems := readRules(f.rules)
			engine, more := match.Compile(rs, match.Options{})
			for _, p := range append(problems, more...) {
				if !p.Warning {
					fmt.Fprintln(cmd.ErrOrStderr(), p.String())
				}
			}
			return matchFile(cmd, r, parser, engine)
		},
	}
	f.add(cmd)
	return cmd
}

func matchFile(cmd *cobra.Command, r io.Reader, parser parse.Parser, engine *match.Engine) error {
	w := bufio.NewWriter(cmd.OutOrStdout())
	enc := json.NewEncoder(w)
	lines := scanLines(r)
	var ev schemas.Event
	var writeErr error
	for n := 1; lines.Scan(); n++ {
		ev.Reset()
		ev.Original, ev.Received = lines.Text(), time.Now()
		if err := parser(&ev); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "event %d: %v\n", n, err)
			continue
		}
		engine.Match(&ev, func(h match.Hit) {
			m := h.ToMatch(&ev)
			if err := enc.Encode(matchLine{n, m.Rule.ID, m.Rule.Title, m.Rule.Level, m.Satisfied}); err != nil {
				writeErr = err
			}
		})
	}
	return errors.Join(writeErr, lines.Err(), w.Flush())
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
			if err := sc.Err(); err != nil {
				return fmt.Errorf("reading %s: %w", f.events, err)
			}
			if cpus > 0 {
				runtime.GOMAXPROCS(cpus)
			}
			rs, _ := readRules(f.rules)
			received := time.Now()
			res, err := match.Bench(rs, match.Options{}, lines, passes, func(line []byte, ev *schemas.Event) error {
				ev.Original, ev.Received = string(line), received
				return parser(ev)
			})
			if err != nil {
				return err
			}
			return out(cmd, flags, res, fmt.Sprintf(
				"规则 / rules %d · 编译 / compile %.2f s, %d MB · 冷 / cold %.0f events/s · 热 / warm %.0f events/s · 候选 / candidates %.2f an event",
				res.Rules, res.CompileS, res.CompileBytes>>20, res.ColdEventsPerS, res.WarmEventsPerS, res.CandidatesPerEvent))
		},
	}
	f.add(cmd)
	cmd.Flags().IntVar(&cpus, "cpu", 1, "processors to use")
	cmd.Flags().IntVar(&passes, "passes", 3, "warm passes")
	return cmd
}
