package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"fengsui/scanner/queue"
	"fengsui/schemas"
)

// withScans opens the view of scans for a command.
func withScans(cmd *cobra.Command, flags *globalFlags, f func(p *process, v *scanView) error) error {
	p, err := newProcess(flags)
	if err != nil {
		return err
	}
	if err := reachKafka(cmd.Context(), p.cfg); err != nil {
		return err
	}
	v, err := openScanView(cmd.Context(), p)
	if err != nil {
		return err
	}
	defer v.Close()
	return f(p, v)
}

func newScanList(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "列出扫描任务 / list scan jobs, the newest first",
		Example: "  fengsui scan list", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withScans(cmd, flags, func(_ *process, v *scanView) error {
				return show(cmd, flags, v.jobs(), jobHeader, jobRow)
			})
		},
	}
}

func newScanAgents(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "agents", Short: "列出在运行的扫描器 / list the scanners that live, and what each is at",
		Example: "  fengsui scan agents", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withScans(cmd, flags, func(_ *process, v *scanView) error {
				return show(cmd, flags, v.agents(), []string{"SCANNER", "HOST", "RATE", "SINCE", "AT", "INSTANCE"}, func(a *schemas.ScanAgent) []string {
					return []string{a.Scanner, a.Host, strconv.Itoa(a.Rate), when(a.Started), a.Shard, a.Instance}
				})
			})
		},
	}
}

func newScanStatus(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "status [JOB]", Short: "扫描任务的进度与预计 / how far scan jobs are, and how long they will take",
		Long: `各任务的分片数、已完成、进行中、等待、失败，观测数，百分比，以及按已测得的分片用时估计的剩余时间。
不给任务号，则列出未结束的任务。
Shards done, running, waiting and failed, observations, percentage, and the time
that is left, estimated from what shards have taken. Without a job: all that are
not over.`,
		Example: "  fengsui scan status\n  fengsui scan status 20261128T020000Z-0123456789ab --json",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return withScans(cmd, flags, func(_ *process, v *scanView) error {
				jobs := v.jobs()
				if len(args) > 0 {
					j, ok := v.job(args[0])
					if !ok {
						return fmt.Errorf("没有任务 / there is no job %s", args[0])
					}
					jobs = []queue.Job{j}
				} else {
					jobs = slices.DeleteFunc(jobs, func(j queue.Job) bool { return j.Over() })
				}
				if err := show(cmd, flags, jobs, jobHeader, jobRow); err != nil || flags.json || len(args) == 0 {
					return err
				}
				return jobDetails(cmd, &jobs[0])
			})
		},
	}
}

var jobHeader = []string{"JOB", "CLASS", "UNIT", "BY", "CREATED", "SHARDS", "DONE", "RUNNING", "QUEUED", "WAITING", "FAILED", "SEEN", "%", "LEFT", "STATE"}

func jobRow(j *queue.Job) []string {
	left := ""
	if j.Left > 0 {
		left = j.Left.String()
	}
	n := strconv.Itoa
	return []string{
		j.ID, string(j.Class), j.Unit, j.By, when(j.Created), n(j.Shards), n(j.Done), n(j.Running), n(j.Queued), n(j.Waiting),
		n(j.Failed + j.Refused + j.Expired), n(j.Seen), strconv.FormatFloat(j.Percent, 'f', 0, 64), left, jobState(j),
	}
}

func jobState(j *queue.Job) string {
	switch j.State {
	case schemas.JobDone:
		return "完成 / done"
	case schemas.JobPartial:
		return "结束，有未完成 / over, not all done"
	case schemas.JobStopped:
		return "已停止 / stopped by " + j.Stopped.By
	case schemas.JobRunning:
		return "进行中 / running"
	case schemas.JobQueued:
		return "排队 / queued"
	}
	return "等到 / waits until " + when(j.Next)
}

func jobDetails(cmd *cobra.Command, j *queue.Job) error {
	w := cmd.OutOrStdout()
	if len(j.Agents) > 0 {
		fmt.Fprintf(w, "扫描器 / scanners: %s\n", printable(strings.Join(j.Agents, ", ")))
	}
	if j.Reason != "" {
		fmt.Fprintf(w, "事由 / reason: %s\n", printable(j.Reason))
	}
	if j.Stopped != nil {
		fmt.Fprintf(w, "停止 / stopped: %s %s %s\n", when(j.Stopped.Time), printable(j.Stopped.By), printable(j.Stopped.Reason))
	}
	for _, e := range j.Errors {
		fmt.Fprintf(w, "  %s\n", printable(e))
	}
	return nil
}

// stopWait is how long a stop waits to see that nothing is carried out any more.
const stopWait = 5 * time.Second

func newScanStop(flags *globalFlags) *cobra.Command {
	var (
		all    bool
		reason string
	)
	cmd := &cobra.Command{
		Use: "stop JOB | --all", Short: "停止扫描 / stop a scan job, or all scanning",
		Long: `停止一个任务，或以 --all 停止一切扫描（包括之后的任务），直到 fengsui scan resume。
所有扫描器在两秒内停止发包；未完成的分片保留，恢复后继续。
Stop a job, or with --all everything, later jobs too, until it is resumed. All
scanners send nothing any more within two seconds; shards that are not done stay
and go on when it is resumed.`,
		Example: "  fengsui scan stop 20261128T020000Z-0123456789ab\n  fengsui scan stop --all --reason 误扫",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := stopArgs(args, all)
			if err != nil {
				return err
			}
			return withScans(cmd, flags, func(p *process, v *scanView) error {
				if _, ok := v.job(job); !ok && !all {
					return fmt.Errorf("没有任务 / there is no job %s", job)
				}
				stop := schemas.ScanState{Stop: &schemas.ScanStop{Job: job, By: me(), Reason: reason, Time: time.Now().UTC()}}
				if err := sayScanState(cmd.Context(), p, stop.Key(), &stop); err != nil {
					return err
				}
				running := v.untilStill(cmd.Context(), job)
				if running > 0 {
					return fmt.Errorf("%d 个分片仍在进行 / %d shards are still carried out after %v: their scanners may be cut off from Kafka", running, running, stopWait)
				}
				return out(cmd, flags, map[string]any{"job": job, "stopped": true}, "已停止 / stopped: "+job)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all jobs, those that come later too")
	cmd.Flags().StringVar(&reason, "reason", "", "why; shown with the job")
	return cmd
}

func stopArgs(args []string, all bool) (job string, err error) {
	switch {
	case all == (len(args) > 0):
		return "", usageError{errors.New("须给出任务，或 --all，二者之一 / give a job, or --all")}
	case all:
		return schemas.AllJobs, nil
	}
	return args[0], nil
}

// untilStill waits until nothing of a job is carried out, and says how much is.
func (v *scanView) untilStill(ctx context.Context, job string) (running int) {
	for deadline := time.Now().Add(stopWait); ; time.Sleep(50 * time.Millisecond) {
		running = 0
		for _, j := range v.jobs() {
			if job == schemas.AllJobs || j.ID == job {
				running += j.Running
			}
		}
		if _, said := v.stopped(job); said && running == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			return running
		}
	}
}

func newScanResume(flags *globalFlags) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "resume JOB | --all", Short: "恢复扫描 / go on with what was stopped",
		Example: "  fengsui scan resume --all", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := stopArgs(args, all)
			if err != nil {
				return err
			}
			return withScans(cmd, flags, func(p *process, v *scanView) error {
				stop, ok := v.stopped(job)
				if !ok || stop.Job != job {
					if ok {
						return errors.New("一切扫描已停止；先 resume --all / all scanning is stopped; resume --all first")
					}
					return fmt.Errorf("任务没有停止 / %s is not stopped", job)
				}
				if err := sayScanState(cmd.Context(), p, (&schemas.ScanState{Stop: &stop}).Key(), nil); err != nil {
					return err
				}
				return out(cmd, flags, map[string]any{"job": job, "stopped": false}, "已恢复 / resumed: "+job)
			})
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "take back stop --all")
	return cmd
}
