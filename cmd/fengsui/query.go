package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/console/search"
	"fengsui/internal/clickhouse"
	"fengsui/internal/config"
	"fengsui/schemas"
)

// newQuery makes a command that finds rows of one kind and shows them.
func newQuery[T any](flags *globalFlags, use, short, example string,
	find func(context.Context, *clickhouse.DB, search.Query) ([]T, error), header []string, row func(*T) []string,
) *cobra.Command {
	var (
		limit int
		since string
	)
	cmd := &cobra.Command{
		Use: use + " [QUERY]", Short: short, Example: example, Args: cobra.ArbitraryArgs,
		Long: short + `

查询语言 / the search language:
  source.ip = 192.0.2.0/24 && event.outcome = failure && !(user.name = root)
  =  等于；地址可写网段；文本为包含 / equal; within a network; contained in a text
  == 全等 / to the letter    !=  不等 / not    *=  通配 * ? / wildcards    < <= > >=
  && || ! ()，或 and or not；时间可写 2026-09-01 或 2h、7d / a time or an age`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := loadConfig(flags)
			if err != nil {
				return usageError{err}
			}
			q := search.Query{Text: strings.Join(args, " "), Limit: limit, Now: time.Now()}
			if since != "" {
				age, err := config.ParseDuration(since)
				if err != nil {
					return usageError{fmt.Errorf("--since: %w", err)}
				}
				q.Since = q.Now.Add(-age)
			}
			db, err := openStore(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			defer db.Close()
			rows, err := find(cmd.Context(), db, q)
			if err != nil {
				if _, ok := search.IsQueryError(err); ok {
					return usageError{err}
				}
				return err
			}
			return show(cmd, flags, rows, header, row)
		},
	}
	cmd.Flags().IntVar(&limit, "limit", 100, "rows at most")
	cmd.Flags().StringVar(&since, "since", "", "only what happened in this time, such as 30m, 12h or 7d")
	return cmd
}

func show[T any](cmd *cobra.Command, flags *globalFlags, rows []T, header []string, row func(*T) []string) error {
	if flags.json {
		enc := json.NewEncoder(cmd.OutOrStdout())
		for i := range rows {
			if err := enc.Encode(rows[i]); err != nil {
				return err
			}
		}
		return nil
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), "没有结果 / nothing found")
		return err
	}
	cells := make([][]string, len(rows))
	for i := range rows {
		cells[i] = row(&rows[i])
	}
	return table(cmd.OutOrStdout(), header, cells)
}

func newEvents(flags *globalFlags) *cobra.Command {
	return newQuery(flags, "events", "查询事件 / search events", "  fengsui events 'event.outcome = failure && source.ip = 192.0.2.0/24' --since 1h",
		search.Events, []string{"TIME", "UNIT", "HOST", "SOURCE", "MESSAGE"}, func(e *search.Event) []string {
			text := e.Str("message")
			if text == "" {
				text = e.Str("event.original")
			}
			return []string{when(e.Time()), e.Str("organization.id"), e.Str("host.name"), e.Str("source.ip"), text}
		})
}

func newAlerts(flags *globalFlags) *cobra.Command {
	return newQuery(flags, "alerts", "查询告警 / search alerts", "  fengsui alerts 'level = high && status = open'",
		search.Alerts, []string{"LAST", "LEVEL", "STATUS", "UNIT", "HOST", "WHO", "COUNT", "TITLE", "SUMMARY"}, func(a *schemas.Alert) []string {
			return []string{when(a.Last), string(a.Rule.Level), string(a.Status), a.Unit, a.Host, behind(a.Who), strconv.FormatUint(a.Count, 10), a.Rule.Title, a.Summary}
		})
}

func newMining(flags *globalFlags) *cobra.Command {
	return newQuery(flags, "mining", "查询“挖矿”检测 / search mining detections", "  fengsui mining 'confidence >= 0.8'",
		search.Detections, []string{"LAST", "UNIT", "HOST", "CONFIDENCE", "POOLS", "COINS", "EVIDENCE"}, func(d *schemas.MiningDetection) []string {
			kinds := map[string]bool{}
			for _, e := range d.Evidence {
				kinds[string(e.Kind)] = true
			}
			return []string{
				when(d.Last), d.Unit, d.Host, fmt.Sprintf("%.0f%%", 100*d.Confidence),
				strings.Join(d.Pools, ","), strings.Join(d.Coins, ","), strings.Join(sortedKeys(kinds), ","),
			}
		})
}

func newAssets(flags *globalFlags) *cobra.Command {
	cmd := newQuery(flags, "assets", "查询资产地图 / search the asset map", "  fengsui assets 'kind = service && port = 22'",
		search.Assets, []string{"KIND", "UNIT", "ADDRESS", "PORT", "SERVICE", "PRODUCT", "NAME", "ALIVE", "LAST"}, assetRow)
	cmd.Annotations = map[string]string{besideCommands: "yes"}
	cmd.AddCommand(newAssetShow(flags), newAssetHistory(flags))
	return cmd
}

func assetRow(a *schemas.Asset) []string {
	row := []string{string(a.Kind), a.Unit, addr(a.IP), "", "", "", a.Name, strconv.FormatBool(a.Alive), when(a.Last)}
	if a.Port > 0 {
		row[3] = strconv.Itoa(a.Port) + "/" + a.Transport
	}
	if a.Service != nil {
		row[4], row[5] = a.Service.Name, strings.TrimSpace(a.Service.Product+" "+a.Service.Version)
	}
	if a.Kind == schemas.AssetHost {
		row[6] = strings.Join(a.Names, ",")
	}
	if a.Kind == schemas.AssetDomain {
		row[2] = strings.Join(a.Addresses, ",")
	}
	return row
}

func addr(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func newDrift(flags *globalFlags) *cobra.Command {
	return newQuery(flags, "drift", "查询与台账的差异 / search what differs from the registry", "  fengsui drift 'status = open'",
		search.Drift, []string{"LAST", "STATUS", "KIND", "UNIT", "ASSET", "EXPECTED", "OBSERVED", "REASON"}, func(d *schemas.Drift) []string {
			return []string{when(d.Last), string(d.Status), string(d.Kind), d.Unit, d.Asset, d.Expected, d.Observed, d.Reason}
		})
}
