package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"fengsui/analyzer/match"
	"fengsui/analyzer/trial"
	"fengsui/rules"
)

func newRulesTest(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "test [DIR]", Short: "用样例测试规则 / run the samples beside every rule",
		Long: `对目录（或单个文件；不给则为内置规则）中每个规则文件 x.yml，用旁边的 x.fires.jsonl 与
x.silent.jsonl 测试：前者每条事件都须命中、每条规则都须告警，后者不得告警。没有样例的规则不算通过。
Run the samples beside each rule file x.yml of a folder, or of one file; of the
shipped rules without either. Every event of x.fires.jsonl must be matched, and
every rule of the file must raise an alert over all of them, a correlation by
reaching its number; the near misses of x.silent.jsonl must raise none. A rule
without samples fails. Exit code 3 when something fails.`,
		Example: "  fengsui rules test ./rules", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			where, err := ruleSetOf(flags)
			if err != nil {
				return err
			}
			var report trial.Report
			if len(args) == 0 {
				report = trial.TestFS(rules.Files(), "sigma", "rules/", where.Options)
			} else if report, err = trial.TestDir(args[0], where.Options); err != nil {
				return err
			}
			return showReport(cmd, flags, &report)
		},
	}
}

// showReport writes the failures, then the numbers.
func showReport(cmd *cobra.Command, flags *globalFlags, report *trial.Report) error {
	w := cmd.OutOrStdout()
	if flags.json {
		if report.Failures == nil {
			report.Failures = []match.Problem{}
		}
		if err := json.NewEncoder(w).Encode(report); err != nil {
			return err
		}
	} else {
		for _, f := range report.Failures {
			fmt.Fprintln(w, f.String())
		}
		fmt.Fprintf(w, "%d 条规则，%d 个文件，%d 个样例事件，%d 处失败 / %d rules in %d files, %d sample events, %d failures\n",
			report.Rules, report.Files, report.Samples, len(report.Failures), report.Rules, report.Files, report.Samples, len(report.Failures))
	}
	if len(report.Failures) > 0 {
		return findingError{fmt.Errorf("%d samples or rules failed", len(report.Failures))}
	}
	return nil
}
