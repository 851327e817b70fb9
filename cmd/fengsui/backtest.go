package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/analyzer/match"
	"fengsui/analyzer/ruleset"
	"fengsui/analyzer/trial"
	"fengsui/analyzer/tune"
	"fengsui/internal/clickhouse"
	"fengsui/internal/config"
	"fengsui/rules"
	"fengsui/schemas"
)

// backtestPage is how many events are read at once.
const backtestPage = 20_000

func newRulesBacktest(flags *globalFlags) *cobra.Command {
	var (
		since, until, unit string
		matches            bool
	)
	cmd := &cobra.Command{
		Use: "backtest [RULE|FILE|DIR]", Short: "回测：规则在已存事件上会命中什么 / what rules would have found in stored events",
		Long: `用同一引擎、同样的关联与调优，重放 ClickHouse 中的事件，按天与单位列出会产生的命中与告警。
参数是规则的编号或名字，或规则文件、目录（其中的规则代替同编号的现行规则）；不给则为全部现行规则。
Run rules over the events in ClickHouse, by the same engine, correlation and
tuning as the analyzer, and show what they would have found by day and unit. The
argument is a rule's id or name, or a file or folder whose rules stand in for the
present ones of the same id; without it, all present rules. --matches writes the
matches instead, as they would have gone to the topic.`,
		Example: "  fengsui rules backtest ./new_rule.yml --since 7d\n  fengsui rules backtest 25bb5200-fcc1-5d90-b309-692d0060f2c0 --since 30d --unit 10001 --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(flags)
			if err != nil {
				return usageError{err}
			}
			now := time.Now()
			r := clickhouse.EventRange{Unit: unit}
			if r.From, err = moment(since, now); err != nil {
				return usageError{fmt.Errorf("--since: %w", err)}
			}
			if r.To, err = moment(until, now); err != nil {
				return usageError{fmt.Errorf("--until: %w", err)}
			}
			if !r.From.Before(r.To) {
				return usageError{errors.New("--since is not before --until")}
			}
			which := ""
			if len(args) == 1 {
				which = args[0]
			}
			t, err := chooseRules(cmd, cfg, which)
			if err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer db.Close()
			b := trial.NewBacktest(trial.New(t.engine, t.tuner, cfg.Analyzer.Correlate), r.From, r.To, t.zone, t.only)
			out := bufio.NewWriter(cmd.OutOrStdout())
			var each func(*schemas.Match) error
			if matches {
				enc := json.NewEncoder(out)
				each = func(m *schemas.Match) error { return enc.Encode(m) }
			}
			err = backtest(cmd.Context(), db, r, t.engine.LongestTimespan()+cfg.Analyzer.Correlate.Lateness, b, each, newProgress(cmd.ErrOrStderr(), flags))
			if err == nil && !matches {
				s := b.Summary()
				s.Unit = unit
				err = showSummary(out, flags, &s, t.zone)
			}
			return errors.Join(err, out.Flush())
		},
	}
	cmd.Flags().StringVar(&since, "since", "7d", "from when: an age such as 12h or 7d, a date or a time")
	cmd.Flags().StringVar(&until, "until", "0s", "until when: an age, a date or a time")
	cmd.Flags().StringVar(&unit, "unit", "", "only events of this unit and those below it")
	cmd.Flags().BoolVar(&matches, "matches", false, "write the matches, one JSON object a line")
	return cmd
}

// moment reads an age, a date in local time, or a time.
func moment(s string, now time.Time) (time.Time, error) {
	if age, err := config.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return day, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return at, fmt.Errorf("%[1]q 不是时间，应如 7d（以前）、2026-03-01 或 2026-03-01T08:00:00+08:00 / %[1]q is no age such as 7d, no date such as 2026-03-01 and no time such as 2026-03-01T08:00:00+08:00", s)
	}
	return at, nil
}

// tested are the rules of a backtest.
type tested struct {
	engine *match.Engine
	tuner  *tune.Tuner
	zone   *time.Location
	only   []schemas.Rule // those that are asked for
}

// chooseRules finds the rules that are asked for, with what they count and the
// filters that may be theirs.
func chooseRules(cmd *cobra.Command, cfg *Config, which string) (*tested, error) {
	where, err := cfg.Analyzer.RuleSet()
	if err != nil {
		return nil, usageError{err}
	}
	present, err := ruleset.Load(where)
	if err != nil {
		return nil, err
	}
	all, asked := present.Rules, present.Rules
	switch _, err := os.Stat(which); {
	case which == "":
	case err == nil:
		read, problems := readRules(which)
		for _, p := range problems {
			fmt.Fprintln(cmd.ErrOrStderr(), p.String())
		}
		asked, all = read, replace(present.Rules, read)
	default:
		if asked = named(present.Rules, which); len(asked) == 0 {
			return nil, usageError{fmt.Errorf("%q is no id or name of a rule that is loaded, and no file", which)}
		}
	}
	t := &tested{zone: where.Zone}
	needed := needs(all, asked)
	engine, problems := match.Compile(needed, where.Options)
	t.engine = engine
	ids := map[string]bool{}
	for _, r := range asked {
		ids[r.ID] = true
	}
	for _, p := range problems {
		if !p.Warning && ids[p.RuleID] {
			fmt.Fprintln(cmd.ErrOrStderr(), p.String())
		}
	}
	found := engine.Reported()
	for _, r := range asked {
		if r.Correlation != nil && !slices.Contains(found, r) { // it may only serve another
			found = append(found, r)
		}
	}
	for _, r := range found {
		if ids[r.ID] {
			t.only = append(t.only, schemas.Rule{ID: r.ID, Title: r.Title, Level: r.Level, Tags: r.Tags})
		}
	}
	if len(t.only) == 0 {
		return nil, findingError{fmt.Errorf("%s has no rule that can raise an alert", which)}
	}
	tuning, _ := ruleset.ReadTuning(where.TuningDirs, where.Zone)
	t.tuner, _ = tune.Compile(tuning, needed, engine, where.Options) // what is wrong with it is for rules check to say
	return t, nil
}

// replace are the present rules with others in the place of those that have
// their ids.
func replace(present, others []*rules.Rule) []*rules.Rule {
	own := map[string]bool{}
	for _, r := range others {
		own[r.ID] = true
	}
	out := append([]*rules.Rule(nil), others...)
	for _, r := range present {
		if !own[r.ID] {
			out = append(out, r)
		}
	}
	return out
}

func named(rs []*rules.Rule, name string) (out []*rules.Rule) {
	for _, r := range rs {
		if r.ID == name || r.Name == name {
			out = append(out, r)
		}
	}
	return out
}

// needs are the rules, what their correlations count, and every filter.
func needs(all, asked []*rules.Rule) []*rules.Rule {
	want := map[*rules.Rule]bool{}
	var add func(r *rules.Rule)
	add = func(r *rules.Rule) {
		if want[r] {
			return
		}
		want[r] = true
		if r.Correlation == nil {
			return
		}
		for _, ref := range r.Correlation.Rules {
			for _, base := range named(all, ref.Rule) {
				add(base)
			}
		}
	}
	for _, r := range asked {
		add(r)
	}
	var out []*rules.Rule
	for _, r := range all {
		if want[r] || r.Filter != nil {
			out = append(out, r)
		}
	}
	return out
}

// backtest reads the events of the range, and those of the time before it that
// correlations remember.
func backtest(ctx context.Context, db *clickhouse.DB, r clickhouse.EventRange, before time.Duration, b *trial.Backtest, each func(*schemas.Match) error, p *progress) error {
	defer p.done()
	r.From = r.From.Add(-before)
	total, err := db.CountEvents(ctx, r)
	if err != nil {
		return err
	}
	n := uint64(0)
	return db.ScanEvents(ctx, r, backtestPage, func(ev *schemas.Event) error {
		n++
		if n%1000 == 0 {
			p.line("%d / %d 事件 / events (%d%%), %s", n, total, 100*n/max(total, 1), when(ev.Time()))
		}
		for _, m := range b.Event(ev) {
			if each == nil {
				break
			}
			if err := each(&m); err != nil {
				return err
			}
		}
		return nil
	})
}

func showSummary(w io.Writer, flags *globalFlags, s *trial.Summary, zone *time.Location) error {
	if flags.json {
		return json.NewEncoder(w).Encode(s)
	}
	fmt.Fprintf(w, "%s – %s：%d 个事件，%d 次命中，%d 条告警 / %d events, %d matches, %d alerts\n",
		s.Since.In(zone).Format(time.DateTime), s.Until.In(zone).Format(time.DateTime), s.Events, s.Matches, s.Alerts, s.Events, s.Matches, s.Alerts)
	silent := 0
	for i := range s.Rules {
		r := &s.Rules[i]
		if r.Matches == 0 {
			silent++
			continue
		}
		fmt.Fprintf(w, "\n%s  [%s]  %s\n", printable(r.Title), r.Level, r.ID)
		var rows [][]string
		for _, d := range r.Days {
			rows = append(rows, []string{"  " + d.Day, d.Unit, fmt.Sprint(d.Matches), fmt.Sprint(d.Alerts)})
		}
		if err := table(w, []string{"  DAY", "UNIT", "MATCHES", "ALERTS"}, rows); err != nil {
			return err
		}
		for j := range r.Examples {
			a := &r.Examples[j]
			fmt.Fprintf(w, "  例 / example: %s %s ×%d  %s\n", a.First.In(zone).Format(time.DateTime), printable(a.Host), a.Count, printable(a.Summary))
			var why []string
			for _, x := range a.Satisfied {
				why = append(why, x.Selection+": "+x.Field+" = "+x.Value)
			}
			if len(why) > 0 {
				fmt.Fprintf(w, "    %s\n", printable(strings.Join(why, "; ")))
			}
		}
	}
	if silent > 0 {
		fmt.Fprintf(w, "\n%d 条规则没有命中 / %d rules found nothing\n", silent, silent)
	}
	for _, x := range s.Suppressed {
		fmt.Fprintf(w, "调优 / tuning: %s %s, 规则 / rule %s: %d\n", x.Kind, x.Entry, x.Rule, x.Count)
	}
	return nil
}
