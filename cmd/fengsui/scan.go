package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"fengsui/internal/clickhouse"
	"fengsui/internal/kafka"
	"fengsui/registry"
	"fengsui/scanner/plan"
	"fengsui/schemas"
)

func newScan(flags *globalFlags) *cobra.Command {
	var (
		req        plan.Request
		wait       time.Duration
		background bool
	)
	cmd := &cobra.Command{
		Use: "scan --unit U", Short: "扫描一个单位的授权范围 / scan a unit's authorised networks and domains",
		Long: `为一个单位及其下级制定扫描计划并交给扫描器。只有台账中授权的网络与域名会被扫描。
默认还在授权域名中发现子域名（--discover=false 关闭）。
Plan a scan of a unit and those below it, and hand it to the scanners. Only
networks and domains that the registry authorises are looked at. Names are looked
for in these domains, too, unless --discover=false.`,
		Example: "  fengsui scan --unit 10001 --ports 22,80,443,1000-2000\n  fengsui scan --unit 10001 --only 10.1.2.0/24,www.example.edu.cn --wait 10m", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Unit == "" {
				return usageError{errors.New("缺少 --unit（要扫描的单位代码） / --unit is missing: the code of the unit to scan")}
			}
			if background {
				req.Class = schemas.ScanPeriodic
			}
			p, err := newProcess(flags)
			if err != nil {
				return err
			}
			if err := reachKafka(cmd.Context(), p.cfg); err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), p.cfg)
			if err != nil {
				return err
			}
			defer db.Close()
			return scan(cmd, flags, p, db, req, wait)
		},
	}
	cmd.Flags().StringVar(&req.Unit, "unit", "", "code of the unit")
	cmd.Flags().StringVar(&req.Ports, "ports", "", `ports, such as 22,80,1000-2000,u:53,161 (after u: those of UDP), or "all" (default: the usual ones and all that are whitelisted)`)
	cmd.Flags().StringSliceVar(&req.Scope, "only", nil, "only these addresses, networks and domain names of the unit (default: all that is authorised)")
	cmd.Flags().IntVar(&req.Rate, "rate", 0, "packets a second (default: the scanner's)")
	cmd.Flags().BoolVar(&req.Discover, "discover", true, "look for names in the authorised domains, too")
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why; kept with the job")
	cmd.Flags().BoolVar(&background, "background", false, "let jobs that somebody waits for, and second looks, pass this one")
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long at most for the scan to be folded into the map")
	cmd.AddCommand(newScanList(flags), newScanStatus(flags), newScanStop(flags), newScanResume(flags), newScanAgents(flags), newScanWhy(flags))
	return cmd
}

func scan(cmd *cobra.Command, flags *globalFlags, p *process, db *clickhouse.DB, req plan.Request, wait time.Duration) error {
	ctx := cmd.Context()
	reg, err := p.cfg.Registry.open(ctx)
	if err != nil {
		return err
	}
	defer reg.Close()
	req.By, req.Now = me(), time.Now().UTC()
	tasks, err := planScan(ctx, reg, db, req)
	if err != nil {
		return err
	}
	if err := sendTasks(ctx, p, tasks); err != nil {
		return err
	}
	job := tasks[0].Job
	if wait > 0 {
		if err := waitForJob(ctx, cmd, flags, p, db, job, len(tasks), wait); err != nil {
			return err
		}
	}
	return out(cmd, flags, map[string]any{"job": job, "shards": len(tasks)},
		fmt.Sprintf("任务 %s：%d 个分片 / job %s: %d shards", job, len(tasks), job, len(tasks)))
}

// planScan plans what is asked for, with all that the map knows.
func planScan(ctx context.Context, reg *registry.Registry, db *clickhouse.DB, req plan.Request) ([]schemas.ScanTask, error) {
	snap, err := reg.Snapshot(ctx)
	if err != nil {
		return nil, err
	}
	assets, err := clickhouse.LoadDocs[schemas.Asset](ctx, db, "assets", "kind IN (?, ?)", string(schemas.AssetHost), string(schemas.AssetDomain))
	if err != nil {
		return nil, fmt.Errorf("loading what is known: %w", err)
	}
	req.Known, req.Names = known(assets)
	if req.Discover {
		if req.Certificates, err = certificateNames(ctx, db); err != nil {
			return nil, err
		}
	}
	tasks, err := plan.Plan(snap, req)
	if err != nil {
		return nil, usageError{err}
	}
	return tasks, nil
}

// known is what the map has seen: addresses of hosts and those that names resolve
// to, since of an IPv6 network only known addresses can be looked at; and names,
// since one that no record leads to any more is only found gone when asked for.
func known(assets []schemas.Asset) (addresses []netip.Addr, names []string) {
	for i := range assets {
		a := &assets[i]
		if a.Kind == schemas.AssetHost && a.IP.IsValid() {
			addresses = append(addresses, a.IP)
		}
		if a.Kind != schemas.AssetDomain {
			continue
		}
		names = append(names, a.Name)
		for _, text := range a.Addresses {
			if ip, err := netip.ParseAddr(text); err == nil {
				addresses = append(addresses, ip)
			}
		}
	}
	return addresses, names
}

func sendTasks(ctx context.Context, p *process, tasks []schemas.ScanTask) error {
	producer, err := kafka.NewProducer(p.cfg.Kafka, kafka.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	defer producer.Close()
	records := make([]kafka.Record, len(tasks))
	for i := range tasks {
		value, err := json.Marshal(&tasks[i])
		if err != nil {
			return fmt.Errorf("encoding shard %s: %w", tasks[i].Shard, err)
		}
		records[i] = kafka.Record{Key: []byte(tasks[i].Key()), Value: value}
	}
	return producer.Produce(ctx, schemas.TopicScanTasks, records)
}

// waitForJob waits until every shard is settled and what it saw is in the map. It
// is an error when some were not done, or when somebody stops the job.
func waitForJob(ctx context.Context, cmd *cobra.Command, flags *globalFlags, p *process, db *clickhouse.DB, job string, shards int, wait time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	view, err := openScanView(ctx, p)
	if err != nil {
		return fmt.Errorf("waiting for job %s: %w", job, err)
	}
	defer view.Close()
	show := newProgress(cmd.ErrOrStderr(), flags)
	defer show.done()
	for {
		var settled uint64
		err := db.QueryRow(ctx, "SELECT uniqExact(shard) FROM observations WHERE job = ? AND kind = ?", job, string(schemas.ObservedDone)).Scan(&settled)
		if err == nil && int(settled) >= shards { //nolint:gosec // a count of shards
			return endOfJob(ctx, db, job)
		}
		j, _ := view.job(job)
		if j.Stopped != nil && j.Running == 0 {
			return fmt.Errorf("任务已由 %[2]s 停止，分片完成 %[4]d/%[5]d / job %[1]s was stopped by %[2]s %[3]s: %[4]d of %[5]d shards are done", job, printable(j.Stopped.By), printable(j.Stopped.Reason), j.Done, shards)
		}
		show.line("分片 %d/%d，%.0f%%，约剩 %v / %d of %d shards, %v left", j.Done, shards, j.Percent, j.Left, j.Done, shards, j.Left)
		select {
		case <-ctx.Done():
			if err != nil {
				return fmt.Errorf("waiting for job %s: %w", job, err)
			}
			return fmt.Errorf("%[4]v 内分片完成 %[2]d/%[3]d，任务仍在继续 / job %[1]s: %[2]d of %[3]d shards were done within %[4]v; it goes on", job, settled, shards, wait)
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// endOfJob is an error where shards were settled without having been done.
func endOfJob(ctx context.Context, db *clickhouse.DB, job string) error {
	ends, err := clickhouse.LoadDocs[schemas.Observation](ctx, db, "observations", "job = ? AND kind = ?", job, string(schemas.ObservedDone))
	if err != nil {
		return fmt.Errorf("asking how job %s ended: %w", job, err)
	}
	undone, why := map[string]bool{}, ""
	for _, o := range ends {
		if o.Attempt != nil && o.Attempt.Outcome != schemas.ShardDone {
			undone[o.Shard] = true
			why = fmt.Sprintf("shard %s: %s: %s", o.Shard, o.Attempt.Outcome, o.Attempt.Error)
		}
	}
	if len(undone) > 0 {
		return fmt.Errorf("任务结束，%d 个分片未完成 / job %s is over, and %d shards were not done: %s", len(undone), job, len(undone), printable(why))
	}
	return nil
}
