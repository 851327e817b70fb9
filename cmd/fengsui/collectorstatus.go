package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/collector"
	"fengsui/internal/clickhouse"
)

// collectorStatus is the collector's own books beside what became of its lines in
// the store.
type collectorStatus struct {
	collector.Status
	Stored []clickhouse.SourceHealth `json:"stored,omitempty"` // of the last day
	Store  string                    `json:"store,omitempty"`  // why nothing could be asked there
}

func newCollectorStatus(flags *globalFlags) *cobra.Command {
	var sources bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "采集状态：每个输入、单位和来源收到、送达、暂存、拒绝了多少 / what was received, shipped, spooled and rejected, by input, unit and source",
		Long: `received = shipped + spooled + queued + lost，任何时刻都成立。drained 是先暂存、后送达的。
kernel 是内核因缓冲区满而丢弃的 UDP 数据报。refused 是发送方被拒绝的请求和连接，按原因：busy 和 unacknowledged 是叫它稍后再发（HTTP 429、503），unauthorized 是令牌不对，connections 是连接太多。
letters（死信）、skew（设备时钟与接收时刻之差的中位数）和 read as（按什么解析）来自存储，最近一天；解析不对时用 analyzer.formats 指定格式。

received = shipped + spooled + queued + lost at any moment; drained lines were spooled
first and reached Kafka later. kernel counts UDP datagrams that the kernel dropped.
refused counts the requests and connections that senders were refused, by the reason:
busy and unacknowledged were told to come again (HTTP 429, 503), unauthorized had no
valid token, connections were too many.
letters (dead letters), skew (median of a device's clock against our receiving) and
"read as" (the dataset of most events) come from the store, over the last day; where
a source is read wrongly, analyzer.formats names its format.`,
		Example: "  fengsui collector status\n  fengsui collector status --sources\n  fengsui collector status --json | jq .inputs",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := loadConfig(flags)
			if err != nil {
				return usageError{err}
			}
			status := collectorStatus{}
			if status.Status, err = collector.AskStatus(cmd.Context(), cfg.Collector.StateDir); err != nil {
				return err
			}
			if status.Stored, err = storedSources(cmd.Context(), cfg); err != nil {
				status.Store = err.Error()
			}
			if flags.json {
				return out(cmd, flags, status, "")
			}
			return status.print(cmd, sources)
		},
	}
	cmd.Flags().BoolVar(&sources, "sources", false, "逐个来源 / source by source")
	return cmd
}

func storedSources(ctx context.Context, cfg *Config) ([]clickhouse.SourceHealth, error) {
	db, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer db.Close() //nolint:errcheck // only read from
	return db.SourcesHealth(ctx, time.Now().UTC().Add(-24*time.Hour))
}

func (s *collectorStatus) print(cmd *cobra.Command, sources bool) error {
	w := cmd.OutOrStdout()
	fmt.Fprintf(w, "collector %s since %s\nspool %d lines, %s of %s", s.ID, when(s.Since), s.SpoolLines, bytesText(s.SpoolBytes), bytesText(s.SpoolMax))
	if s.SpoolAtStart > 0 {
		fmt.Fprintf(w, " (%d lines of an earlier run at the start)", s.SpoolAtStart)
	}
	if !s.SpoolFull.IsZero() {
		fmt.Fprintf(w, "\n暂存已满，各输入在等，UDP 由内核丢弃：自 %s / the spool is full since then: inputs wait, datagrams are dropped by the kernel", when(s.SpoolFull))
	}
	fmt.Fprint(w, "\n\n")
	header := []string{"INPUT", "TYPE", "SOURCES", "RECEIVED", "SHIPPED", "SPOOLED", "DRAINED", "QUEUED", "REJECTED", "LOST", "KERNEL", "LAST", "LISTENS"}
	var rows [][]string
	for _, in := range s.Inputs {
		drops := ""
		if in.KernelDrops != nil {
			drops = strconv.FormatUint(*in.KernelDrops, 10)
		}
		rows = append(rows, slices.Concat([]string{in.Input, in.Type, strconv.Itoa(in.Sources)}, counts(in.Account), []string{drops, when(in.Last), strings.Join(in.Listens, ", ")}))
	}
	if err := table(w, header, rows); err != nil {
		return err
	}
	for _, in := range s.Inputs {
		if len(in.Refused) > 0 {
			fmt.Fprintf(w, "%s 拒绝 / refused: %s\n", in.Input, refusals(in.Refused))
		}
	}
	if !sources {
		return nil
	}
	fmt.Fprintln(w)
	if s.Store != "" {
		fmt.Fprintf(w, "the store was not asked: %s\n\n", printable(s.Store))
	}
	stored := map[[3]string]clickhouse.SourceHealth{}
	for _, h := range s.Stored {
		stored[[3]string{h.Input, h.Unit, h.Source}] = h
	}
	header = []string{"INPUT", "UNIT", "SOURCE", "RECEIVED", "SHIPPED", "SPOOLED", "DRAINED", "QUEUED", "REJECTED", "LOST", "LETTERS", "SKEW", "READ AS", "LAST"}
	rows = nil
	for _, a := range s.Sources {
		letters, skew, dataset := "", "", ""
		if h, ok := stored[[3]string{a.Input, a.Unit, a.Source}]; ok {
			letters, skew, dataset = strconv.FormatUint(h.Letters, 10), h.Skew.Round(time.Millisecond).String(), h.Dataset
		}
		rows = append(rows, slices.Concat([]string{a.Input, cmp.Or(a.Unit, "-"), a.Source}, counts(a), []string{letters, skew, dataset, when(a.Last)}))
	}
	return table(w, header, rows)
}

// refusals are the reasons with their counts.
func refusals(by map[string]uint64) string {
	var out []string
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		out = append(out, fmt.Sprintf("%s %d", reason, by[reason]))
	}
	return strings.Join(out, ", ")
}

func counts(a collector.Account) []string {
	var out []string
	for _, n := range []int64{a.Received, a.Shipped, a.Spooled, a.Drained, a.Queued, a.Rejected, a.Lost} {
		out = append(out, strconv.FormatInt(n, 10))
	}
	return out
}

func bytesText(n int64) string {
	if n < 1<<20 {
		return strconv.FormatInt(n>>10, 10) + " KiB"
	}
	return strconv.FormatInt(n>>20, 10) + " MiB"
}
