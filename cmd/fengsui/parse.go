package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"fengsui/analyzer/enrich"
	"fengsui/analyzer/parse"
	"fengsui/collector/input"
	"fengsui/collector/input/file"
	"fengsui/schemas"
)

func newParse(flags *globalFlags) *cobra.Command {
	var format, zone, devicesDir string
	var explain, enriched bool
	cmd := &cobra.Command{
		Use: "parse --format F [FILE]", Short: "解析日志为 ECS 事件 / parse lines into ECS events, as JSON Lines",
		Long: `把日志逐行解析为 ECS 事件，输出 JSON Lines；不能解析的行说明原因。没有 FILE 时读标准输入。
Parse each line into an ECS event. A line that cannot be parsed is an object
with "error" and "raw". Without FILE, standard input is read.

--explain 说明每行由哪种格式、哪个设备文件（schemas/devices）、其中哪类消息读出，厂商的
每个键成了哪个字段，剩下了哪些。
With --explain: which format, device file and kind of message read each line, which
of the vendor's keys became which field, and what was left over.

--enrich 加上分析器所加的地理位置、自治系统、客户端与会话指纹（analyzer.enrich）。
With --enrich: and what the analyzer adds, places, autonomous systems, user agents
and fingerprints of flows (analyzer.enrich).

格式 / formats: ` + formatNames(),
		Example: "  fengsui parse --format syslog /var/log/auth.log\n  zcat dns.log.gz | fengsui parse --format zeek\n" +
			"  fengsui parse --explain --devices ./my-devices firewall.log",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			location, err := time.LoadLocation(zone)
			if err != nil {
				return usageError{err}
			}
			if devicesDir != "" {
				if err := parse.LoadDevices(os.DirFS(devicesDir)); err != nil {
					return usageError{err}
				}
			}
			parser, err := parse.Lookup(format)
			if err != nil {
				return usageError{err}
			}
			path := "/dev/stdin"
			if len(args) == 1 && args[0] != "-" {
				path = args[0]
			}
			p := &parsing{parser: parser, format: format, zone: location, w: bufio.NewWriter(cmd.OutOrStdout()), explain: explain, asJSON: flags.json}
			if enriched {
				if p.enricher, err = enricherOf(cmd, flags); err != nil {
					return err
				}
			}
			return parseFile(cmd.Context(), p, path)
		},
	}
	cmd.Flags().StringVar(&format, "format", "auto", "format of the lines")
	cmd.Flags().StringVar(&zone, "timezone", "Local", "zone of times that name none")
	cmd.Flags().BoolVar(&explain, "explain", false, "say how each line became an event")
	cmd.Flags().BoolVar(&enriched, "enrich", false, "add what the analyzer adds")
	cmd.MarkFlagsMutuallyExclusive("enrich", "explain")
	cmd.Flags().StringVar(&devicesDir, "devices", "", "folder of further device files")
	return cmd
}

// parseFile reads a file as the collector does, and parses as the analyzer does.
func parseFile(ctx context.Context, p *parsing, path string) error {
	abs, err := filepath.Abs(path)
	if err != nil {
		return err
	}
	in, err := file.New(file.Config{Paths: []string{globEscape(abs)}, Once: true}, file.Deps{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Name: "parse", Format: p.format,
	})
	if err != nil {
		return usageError{err}
	}
	return in.Run(ctx, p)
}

// parsing is a sink that parses what it is given.
type parsing struct {
	parser   parse.Parser
	format   string
	zone     *time.Location
	w        *bufio.Writer
	explain  bool
	asJSON   bool
	enricher *enrich.Enricher // nil: nothing is added
	ev       schemas.Event
	buf      []byte
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
	ev.Origin = schemas.Origin{Source: l.Source, Format: p.format, Received: l.Received.In(p.zone), Preamble: l.Preamble, Reject: l.Reject}
	ev.Original = string(l.Value)
	if p.explain {
		return p.explained(ev)
	}
	err := p.parser(ev)
	if err != nil {
		return json.NewEncoder(p.w).Encode(struct {
			Error string `json:"error"`
			Raw   string `json:"raw"`
		}{err.Error(), ev.Original})
	}
	if p.enricher != nil {
		p.enricher.Event(nil, ev)
	}
	p.buf = append(ev.AppendJSON(p.buf[:0]), '\n')
	_, err = p.w.Write(p.buf)
	return err
}

// explained writes how the line became an event. That it did not is in it.
func (p *parsing) explained(ev *schemas.Event) error {
	x, _ := parse.Explain(ev)
	if p.asJSON {
		return json.NewEncoder(p.w).Encode(struct {
			parse.Explanation
			Raw string `json:"raw"`
		}{x, ev.Original})
	}
	fmt.Fprintf(p.w, "%s\n  format %s", ev.Original, x.Format)
	if x.Device != "" {
		fmt.Fprintf(p.w, ", device %s, message %s", x.Device, orDash(x.Message))
	}
	fmt.Fprintln(p.w)
	if x.Error != "" {
		fmt.Fprintf(p.w, "  error: %s\n", x.Error)
	}
	t := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	for _, f := range x.Fields {
		if f.Key == "" {
			fmt.Fprintf(t, "  %s\t= %s\n", f.Field, f.Text)
			continue
		}
		fmt.Fprintf(t, "  %s=%s\t-> %s\t= %s\n", f.Key, f.Value, f.Field, f.Text)
	}
	for _, l := range x.Left {
		fmt.Fprintf(t, "  %s=%s\tleft over\n", l.Key, l.Value)
	}
	for _, l := range x.Ignored {
		fmt.Fprintf(t, "  %s=%s\tignored\n", l.Key, l.Value)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.w)
	return err
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
