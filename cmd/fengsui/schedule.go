package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"fengsui/internal/clickhouse"
	"fengsui/internal/hours"
	"fengsui/registry"
	"fengsui/scanner/plan"
	"fengsui/scanner/portset"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

const scheduleEvery = 30 * time.Second // how often is looked for what is due

// schedule plans scans that are due. A job is named after its unit and the period
// that it is of, so that of several processes that plan it nobody plans another,
// and a restart plans nothing twice.
type schedule struct {
	process  *process
	registry *registry.Registry
	store    *clickhouse.DB
	scans    *scans
}

func checkSchedule(all []ScheduleConfig) error {
	var errs []error
	for i, c := range all {
		if c.Unit == "" {
			errs = append(errs, fmt.Errorf("schedule %d: unit is missing", i+1))
		}
		if c.Every < time.Hour || c.Every > 7*24*time.Hour {
			errs = append(errs, fmt.Errorf("schedule %d: every: %v is not between 1h and 168h", i+1, c.Every))
		}
		if c.Rate < 0 || c.Rate > sweep.MaxRate {
			errs = append(errs, fmt.Errorf("schedule %d: rate: %d is not between 0 and %d", i+1, c.Rate, sweep.MaxRate))
		}
		if c.Ports != "" {
			if _, _, err := portset.ParseBoth(c.Ports); err != nil {
				errs = append(errs, fmt.Errorf("schedule %d: ports: %w", i+1, err))
			}
		}
		for _, before := range all[:i] {
			if before.Unit == c.Unit && before.Every == c.Every {
				errs = append(errs, fmt.Errorf("schedule %d: unit %s is scanned every %v already", i+1, c.Unit, c.Every))
			}
		}
	}
	return errors.Join(errs...)
}

// job is the name of what is due at a time.
func (c *ScheduleConfig) job(now time.Time) string {
	_, offset := now.In(hours.Zone).Zone()
	shift := time.Duration(offset) * time.Second
	begin := now.Add(shift).Truncate(c.Every).Add(-shift).UTC()
	return fmt.Sprintf("%s%s", c.prefix(), begin.Format("20060102T150405Z"))
}

func (c *ScheduleConfig) prefix() string { return fmt.Sprintf("periodic-%s-%s-", c.Unit, c.Every) }

// Run plans until ctx ends. What fails is tried again.
func (s *schedule) Run(ctx context.Context) error {
	select {
	case <-s.scans.opened:
	case <-ctx.Done():
		return nil
	}
	ticker := time.NewTicker(scheduleEvery)
	defer ticker.Stop()
	for {
		for i := range s.process.cfg.Schedule {
			c := &s.process.cfg.Schedule[i]
			view, err := s.scans.current()
			if err == nil {
				err = s.due(ctx, view, c, time.Now())
			}
			if err != nil && ctx.Err() == nil {
				s.process.log.Warn("a scan of the schedule could not be planned; it is tried again", "unit", c.Unit, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// due plans a scan, unless it was planned or the one before is still at work.
func (s *schedule) due(ctx context.Context, view *scanView, c *ScheduleConfig, now time.Time) error {
	job := c.job(now)
	if _, planned := view.job(job); planned || view.working(c.prefix()) {
		return nil
	}
	var seen uint64
	if err := s.store.QueryRow(ctx, "SELECT count() FROM observations WHERE job = ?", job).Scan(&seen); err != nil {
		return fmt.Errorf("asking whether job %s was: %w", job, err)
	}
	if seen > 0 {
		return nil
	}
	tasks, err := planScan(ctx, s.registry, s.store, plan.Request{
		Unit: c.Unit, By: "schedule", Reason: c.Reason, Ports: c.Ports, Rate: c.Rate, Discover: true, Class: schemas.ScanPeriodic, Job: job, Now: now.UTC(),
	})
	if err != nil {
		return err
	}
	s.process.log.Info("a scan of the schedule is planned", "job", job, "shards", len(tasks))
	return sendTasks(ctx, s.process, tasks)
}
