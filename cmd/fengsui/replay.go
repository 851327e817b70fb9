package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"fengsui/analyzer/parse"
	"fengsui/collector"
	"fengsui/collector/input/file"
	"fengsui/collector/input/packet"
)

// formatCapture is the format of `fengsui replay` that reads packets.
const formatCapture = "pcap"

func newReplay(flags *globalFlags) *cobra.Command {
	var (
		format, unit string
		rate         float64
		drill        bool
	)
	cmd := &cobra.Command{
		Use: "replay FILE", Short: "通过采集器重放日志或抓包文件 / send a file of logs or packets through a collector",
		Long: `通过一个采集器重放文件（日志，或 --format pcap 的抓包；.gz 亦可），完成后返回。
Send a file through a collector of its own, and return when Kafka has
acknowledged every record. The lines of a file that is
unchanged keep their ids: replaying it again stores nothing twice.

格式 / formats: ` + formatNames() + `, ` + formatCapture,
		Example: "  fengsui replay auth.log.gz --format syslog --unit 10001 --rate 1000\n  fengsui replay mirror.pcap --format pcap --unit 10001",
		Args:    exactArgs(1, "a file"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := newProcess(flags)
			if err != nil {
				return err
			}
			if err := reachKafka(cmd.Context(), p.cfg); err != nil {
				return err
			}
			in, err := replayInput(args[0], format, unit, drill)
			if err != nil {
				return err
			}
			return replay(cmd, flags, p, in, rate)
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "format of the records")
	cmd.Flags().StringVar(&unit, "unit", "", "code of the unit that the records belong to")
	cmd.Flags().Float64Var(&rate, "rate", 0, "lines a second at most (default: no bound)")
	cmd.Flags().BoolVar(&drill, "drill", false, "mark the records as belonging to an exercise")
	return cmd
}

func formatNames() string {
	var names []string
	for _, f := range parse.Formats() {
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

func replayInput(path, format, unit string, drill bool) (collector.InputConfig, error) {
	in := collector.InputConfig{Name: "replay", Unit: unit, Drill: drill}
	abs, err := filepath.Abs(path)
	if err != nil {
		return in, err
	}
	if _, err := os.Stat(abs); err != nil {
		return in, err
	}
	if format == formatCapture {
		cfg := packet.DefaultConfig()
		cfg.File = abs
		in.Type, in.Packet = "packet", &cfg
		return in, nil
	}
	if _, err := parse.Lookup(format); err != nil {
		return in, usageError{err}
	}
	in.Type, in.Format = "file", format
	in.File = &file.Config{Paths: []string{globEscape(abs)}, Once: true}
	return in, nil
}

// globEscape makes a glob of a path that means just that path.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

func replay(cmd *cobra.Command, flags *globalFlags, p *process, in collector.InputConfig, rate float64) (err error) {
	// The collector that may be running has its own spool and memory of files.
	dir, err := os.MkdirTemp("", "fengsui-replay-")
	if err != nil {
		return fmt.Errorf("making a folder for the replay: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg := collector.DefaultConfig()
	cfg.ID, cfg.Kafka, cfg.Once = "replay", p.cfg.Kafka, true
	cfg.Inputs = []collector.InputConfig{in}
	cfg.StateDir, cfg.Spool.Dir = filepath.Join(dir, "state"), filepath.Join(dir, "spool")
	show := newProgress(cmd.ErrOrStderr(), flags)
	c, err := collector.New(cfg, collector.Deps{
		Log: p.log, Metrics: p.metrics, FileRate: rate,
		Progress: func(pr file.Progress) {
			show.line("%s  %d%%  %d 行 / lines", filepath.Base(pr.Path), 100*pr.Read/max(1, pr.Size), pr.Lines)
		},
	})
	if err != nil {
		return usageError{err}
	}
	err = c.Run(cmd.Context())
	show.done()
	if err != nil {
		return err
	}
	if err := cmd.Context().Err(); err != nil {
		return errors.New("interrupted before the end of the file")
	}
	shipped := counterSum(p.metrics, "fengsui_collector_shipped_lines_total")
	return out(cmd, flags, map[string]any{"shipped": shipped}, fmt.Sprintf("已送出 %.0f 条 / %.0f records shipped", shipped, shipped))
}

// counterSum is a counter's value over all of its labels.
func counterSum(g prometheus.Gatherer, name string) float64 {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
