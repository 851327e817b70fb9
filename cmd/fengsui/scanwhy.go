package main

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/internal/clickhouse"
	"fengsui/schemas"
)

const (
	whyWithin = 24 * time.Hour  // without --at
	whySlack  = 5 * time.Second // clocks differ, and the kernel repeats packets
)

func newScanWhy(flags *globalFlags) *cobra.Command {
	var at string
	cmd := &cobra.Command{
		Use: "why ADDRESS|NAME", Short: "查某地址为何被扫描 / why packets were sent to an address, or a name asked about",
		Long: `某地址（或名称）在某一时刻被扫描的缘由：哪个任务、谁提出、事由、哪台扫描器从哪个地址、起止时间、结果。
不给 --at，则列出最近 24 小时。
Which job, who asked for it and why, which scanner from which address, when, and
how it ended. Without --at: all of the last 24 hours.`,
		Example: "  fengsui scan why 10.1.2.3 --at 2026-11-28T02:30:00+08:00\n  fengsui scan why www.example.edu.cn",
		Args:    exactArgs(1, "an address or a name"),
		RunE: func(cmd *cobra.Command, args []string) error {
			now := time.Now()
			since, until := now.Add(-whyWithin), now
			if at != "" {
				t, err := moment(at, now)
				if err != nil {
					return usageError{err}
				}
				since, until = t.Add(-whySlack), t.Add(whySlack)
			}
			return withStore(cmd, flags, func(cfg *Config, db *clickhouse.DB) error {
				found, err := attemptsAt(cmd.Context(), db, args[0], since, until, cfg.Scanner.ShardTimeout)
				if err != nil {
					return err
				}
				return show(cmd, flags, found, []string{"STARTED", "ENDED", "JOB", "SHARD", "KIND", "SCANNER", "FROM", "BY", "REASON", "OUTCOME"}, attemptRow)
			})
		},
	}
	cmd.Flags().StringVar(&at, "at", "", "the time, such as 2026-11-28T02:30:00+08:00, or an age such as 2h")
	return cmd
}

func attemptRow(o *schemas.Observation) []string {
	a := o.Attempt
	var from []string
	for _, ip := range a.Sources {
		from = append(from, ip.String())
	}
	return []string{
		when(a.Started), when(a.Ended), o.Job, o.Shard, string(a.Kind), o.Scanner, strings.Join(from, " "), a.By, a.Reason, string(a.Outcome),
	}
}

// attemptsAt is the attempts at shards that had to do with an address or a name
// and were under way within a time, the oldest first: as they ended, or as they
// began where their scanner never said more.
func attemptsAt(ctx context.Context, db *clickhouse.DB, about string, since, until time.Time, longest time.Duration) ([]schemas.Observation, error) {
	kinds := []string{string(schemas.ObservedBegun), string(schemas.ObservedEnded), string(schemas.ObservedDone)}
	from, to := since.Add(-longest-time.Minute), until.Add(longest+time.Minute)
	where, args := "kind IN (?) AND time BETWEEN ? AND ? AND ", []any{kinds, from, to}
	if ip, err := netip.ParseAddr(about); err == nil {
		where += "arrayExists(p -> isIPAddressInRange(?, p), JSONExtract(doc, 'attempt', 'targets', 'Array(String)'))"
		args = append(args, ip.Unmap().WithZone("").String())
	} else {
		// Also a name that a record led to: the same shard has seen it.
		where += "(has(JSONExtract(doc, 'attempt', 'names', 'Array(String)'), ?) OR " +
			"(job, shard) IN (SELECT job, shard FROM observations WHERE time BETWEEN ? AND ? AND kind = ? AND name = ?))"
		name := schemas.NameInDNS(about)
		args = append(args, name, from, to, string(schemas.ObservedName), name)
	}
	all, err := clickhouse.LoadDocs[schemas.Observation](ctx, db, "observations", where, args...)
	if err != nil {
		return nil, err
	}
	return attempts(all, since, until), nil
}

// attempts joins what was put down of each attempt.
func attempts(all []schemas.Observation, since, until time.Time) []schemas.Observation {
	type attempt struct {
		job, shard string
		epoch      int
	}
	known := map[attempt]schemas.Observation{}
	for _, o := range all {
		if o.Attempt == nil {
			continue
		}
		key := attempt{o.Job, o.Shard, o.Attempt.Epoch}
		if before, ok := known[key]; !ok || before.Attempt.Ended.IsZero() {
			known[key] = o
		}
	}
	var out []schemas.Observation
	for _, o := range known {
		a := o.Attempt
		if a.Started.After(until) || !a.Ended.IsZero() && a.Ended.Before(since) {
			continue
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b schemas.Observation) int {
		return cmp.Or(a.Attempt.Started.Compare(b.Attempt.Started), cmp.Compare(a.Job, b.Job), cmp.Compare(a.Shard, b.Shard))
	})
	return out
}
