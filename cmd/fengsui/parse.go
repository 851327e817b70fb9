package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"fengsui/analyzer/parse"
	"fengsui/collector/input"
	"fengsui/collector/input/file"
	"fengsui/schemas"
)

func newParse(flags *globalFlags) *cobra.Command {
	var format, zone string
	cmd := &cobra.Command{
		Use: "parse --format F [FILE]", Short: "解析日志为 ECS 事件 / parse lines into ECS events, as JSON Lines",
		Long: `把日志逐行解析为 ECS 事件，输出 JSON Lines；不能解析的行说明原因。没有 FILE 时读标准输入。
Parse each line into an ECS event. A line that cannot be parsed is an object
with "error" and "raw". Without FILE, standard input is read.

格式 / formats: ` + formatNames(),
		Example: "  fengsui parse --format syslog /var/log/auth.log\n  zcat dns.log.gz | fengsui parse --format zeek",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			location, err := time.LoadLocation(zone)
			if err != nil {
				return usageError{err}
			}
			parser, err := parse.Lookup(format)
			if err != nil {
				return usageError{err}
			}
			path := "/dev/stdin"
			if len(args) == 1 && args[0] != "-" {
				path = args[0]
			}
			return parseFile(cmd.Context(), cmd, parser, path, format, location)
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "format of the lines")
	cmd.Flags().StringVar(&zone, "timezone", "Local", "zone of times that name none")
	return cmd
}

// parseFile reads a file as the collector does, and parses as the analyzer does.
func parseFile(ctx context.Context, cmd *cobra.Command, parser parse.Parser, path, format string, zone *time.Location) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	in, err := file.New(file.Config{Paths: []string{globEscape(abs)}, Once: true}, file.Deps{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Name: "parse", Format: format,
	})
	if err != nil {
		return usageError{err}
	}
	w := bufio.NewWriter(cmd.OutOrStdout())
	p := &parsing{parser: parser, zone: zone, w: w}
	return in.Run(ctx, p)
}

// parsing is a sink that parses what it is given.
type parsing struct {
	parser parse.Parser
	zone   *time.Location
	w      *bufio.Writer
	ev     schemas.Event
	buf    []byte
}

func (p *parsing) Put(_ context.Context, lines []input.Line, done func()) error {
	for i := range lines {
		if err := p.line(&lines[i]); err != nil {
			return fmt.Errorf("writing: %w", err)
		}
	}
	if done != nil {
		done()
	}
	if err := p.w.Flush(); err != nil { // somebody may be watching a pipe
		return fmt.Errorf("writing: %w", err)
	}
	return nil
}

func (p *parsing) line(l *input.Line) error {
	ev := &p.ev
	ev.Reset()
	ev.Origin = schemas.Origin{Source: l.Source, Received: l.Received.In(p.zone), Preamble: l.Preamble}
	ev.Original = string(l.Value)
	var err error
	if l.Reject != "" {
		err = errors.New(l.Reject)
	} else {
		err = p.parser(ev)
	}
	if err != nil {
		return json.NewEncoder(p.w).Encode(struct {
			Error string `json:"error"`
			Raw   string `json:"raw"`
		}{err.Error(), ev.Original})
	}
	p.buf = append(ev.AppendJSON(p.buf[:0]), '\n')
	_, err = p.w.Write(p.buf)
	return err
}
