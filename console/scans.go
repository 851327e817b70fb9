package console

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"fengsui/registry"
	"fengsui/schemas"
)

// Scanners is the way to the scanners: what they say of their jobs, and what they
// are told. It is used by several requests at a time.
type Scanners interface {
	// Now is what the topics of scans tell. It is an error until they are read.
	Now() (*Scans, error)
	// Shards is those of a job, those that are not done first.
	Shards(job string) ([]schemas.ScanShard, error)
	// LeftOut is what a scan of a unit, or of a part of it, does not look at, as
	// the registry was.
	LeftOut(ctx context.Context, unit string, scope []string, at time.Time) ([]schemas.ScanLeftOut, error)
	// Plan plans and sends nothing. What is wrong with the request are Mistakes.
	Plan(ctx context.Context, r *ScanRequest) (*ScanPlan, error)
	// Start hands a plan to the scanners.
	Start(ctx context.Context, p *ScanPlan) error
	// Say writes to the topic scan.state; nil takes back what was said.
	Say(ctx context.Context, key string, s *schemas.ScanState) error
}

// Scans is everything that is known of scans.
type Scans struct {
	Jobs   []schemas.ScanJob // the newest first
	Parts  []schemas.ScanPart
	Agents []schemas.ScanAgent
	Stops  []schemas.ScanStop
}

// ScanRequest is what somebody asks for: an interactive job.
type ScanRequest struct {
	Unit     string   `json:"unit" minLength:"1" maxLength:"64" doc:"the unit, with those below it" example:"10001"`
	Scope    []string `json:"scope,omitempty" maxItems:"64" doc:"only these addresses, address blocks and domain names of it; without any: all that the registry authorises" example:"[\"192.0.2.0/28\"]"`
	Ports    string   `json:"ports,omitempty" maxLength:"4096" doc:"such as 22,80,1000-2000,u:53,161 (after u: those of UDP), or all; empty: the usual ones. The whitelist's are always added" example:"22,80,443"`
	Rate     int      `json:"rate,omitempty" minimum:"0" doc:"packets a second; 0: the scanner's own rate. The registry's bounds hold in any case"`
	Discover bool     `json:"discover,omitempty" doc:"look for names in the domains, too"`
	Reason   string   `json:"reason,omitempty" maxLength:"1024" doc:"why; kept with the job"`
	By       string   `json:"-"`
}

// ScanPlan is what a job would do.
type ScanPlan struct {
	Tasks   []schemas.ScanTask
	Seconds float64 // about, with the scanners that there are
	LeftOut []schemas.ScanLeftOut
}

const (
	stopPatience = 10 * time.Second // that Kafka may take to take a stop
	planPatience = time.Minute      // that planning and starting may take
	maxJobs      = 500              // that are listed
	maxShards    = 500              // of a job, that are listed
)

func (c *Console) registerScans() {
	huma.Register(c.api, operation(http.MethodGet, "scan-jobs", "Scan jobs of the units that the user sees, and of units above as far as they look at networks or domains of these, the newest first, with the scanners that live", forUsers), c.getScanJobs)
	huma.Register(c.api, operation(http.MethodGet, "scan-job", "A scan job with its shards and what it leaves out", forUsers, http.StatusNotFound), c.getScanJob)
	huma.Register(c.api, operation(http.MethodPost, "scan-jobs", "Plan an interactive scan job and hand it to the scanners", forAdmins), c.postScanJob)
	huma.Register(c.api, operation(http.MethodPost, "scan-stops", "Stop a scan job, or all scanning: no scanner sends anything two seconds later", forAdmins, http.StatusNotFound), c.postScanStop)
	huma.Register(c.api, operation(http.MethodDelete, "scan-stops", "Go on with what was stopped", forAdmins, http.StatusNotFound), c.deleteScanStop)
}

// scans is what is known of scans, as far as the viewer sees it.
func (c *Console) scans(v *viewer) (*Scans, *Problem) {
	if c.deps.Scanners == nil {
		return nil, noScanners()
	}
	now, err := c.deps.Scanners.Now()
	if err != nil {
		return nil, problem(http.StatusServiceUnavailable, codeScanners, "the topics of scans are not read yet: "+err.Error())
	}
	now.Jobs = v.jobs(now)
	return now, nil
}

func noScanners() *Problem {
	return problem(http.StatusServiceUnavailable, codeScanners, "this console has no way to the scanners")
}

type scanJobsInput struct {
	Active bool   `query:"active" doc:"only those that are not over"`
	Class  string `query:"class" enum:"interactive,confirm,periodic" doc:"only of this class"`
	Unit   string `query:"unit" maxLength:"64" doc:"only of this unit and those below it"`
}

type scanJobsOutput struct{ Body ScanJobs }

// ScanJobs is the newest jobs, and who carries them out.
type ScanJobs struct {
	Items   []schemas.ScanJob   `json:"items" nullable:"false" doc:"the newest, 500 at most"`
	Total   int                 `json:"total" doc:"jobs that match"`
	Agents  []schemas.ScanAgent `json:"agents" nullable:"false" doc:"the scanners that live"`
	Stopped *schemas.ScanStop   `json:"stopped,omitempty" doc:"all scanning is stopped"`
}

func (c *Console) getScanJobs(ctx context.Context, in *scanJobsInput) (*scanJobsOutput, error) {
	v := viewerOf(ctx)
	now, p := c.scans(v)
	if p != nil {
		return nil, p
	}
	visible := map[string]bool{}
	for i := range now.Jobs {
		visible[now.Jobs[i].ID] = !now.Jobs[i].Above
	}
	of := func(*schemas.ScanJob) bool { return true }
	if in.Unit != "" {
		touching := partsOf(now.Parts, func(unit string) bool { return v.sees(unit) && v.directory.Under(unit, in.Unit) })
		of = func(j *schemas.ScanJob) bool {
			_, touched := touching[j.ID]
			return v.directory.Under(j.Unit, in.Unit) || j.Above && touched
		}
	}
	jobs := slices.DeleteFunc(now.Jobs, func(j schemas.ScanJob) bool {
		return in.Active && j.Over() || in.Class != "" && string(j.Class) != in.Class || !of(&j)
	})
	out := ScanJobs{Items: same(jobs[:min(len(jobs), maxJobs)]), Total: len(jobs), Agents: same(now.Agents)}
	for i := range out.Agents {
		if job, _ := schemas.ShardOf(out.Agents[i].Shard); !visible[job] {
			out.Agents[i].Shard = "" // it is at a job of others
		}
	}
	out.Stopped = stopOf(now, schemas.AllJobs)
	return &scanJobsOutput{out}, nil
}

func stopOf(now *Scans, job string) *schemas.ScanStop {
	for i := range now.Stops {
		if now.Stops[i].Job == job {
			return &now.Stops[i]
		}
	}
	return nil
}

type scanJobInput struct {
	Job string `query:"job" required:"true" minLength:"1" maxLength:"256"`
}

type scanJobOutput struct{ Body ScanJobDetail }

// ScanJobDetail is a job with its parts.
type ScanJobDetail struct {
	Job     schemas.ScanJob       `json:"job"`
	Shards  []schemas.ScanShard   `json:"shards" nullable:"false" doc:"those that run, those that went wrong, those that wait, and the others; 500 at most"`
	LeftOut []schemas.ScanLeftOut `json:"left_out" nullable:"false" doc:"what it does not look at, as the registry was when it was planned; 1000 at most; none of a job of a unit above"`
}

func (c *Console) getScanJob(ctx context.Context, in *scanJobInput) (*scanJobOutput, error) {
	j, _, p := c.scanJob(ctx, in.Job)
	if p != nil {
		return nil, p
	}
	shards, err := c.deps.Scanners.Shards(j.ID)
	if err != nil {
		return nil, c.internal("reading a job's shards", err)
	}
	if j.Above {
		shards = viewerOf(ctx).shards(shards)
	}
	out := ScanJobDetail{Job: *j, Shards: same(shards[:min(len(shards), maxShards)]), LeftOut: []schemas.ScanLeftOut{}}
	if j.Above || j.Class == schemas.ScanConfirm {
		return &scanJobOutput{out}, nil // a confirmation looks at exactly what a drift is about
	}
	left, err := c.leftOut.of(ctx, c.deps.Scanners, j)
	if err != nil {
		return nil, c.internal("reading what a job leaves out", err)
	}
	out.LeftOut = append(out.LeftOut, left...)
	return &scanJobOutput{out}, nil
}

// leftOuts keeps what jobs leave out: it is of the registry as it was, never
// changes, and takes reading all of that.
type leftOuts struct {
	mu  sync.Mutex
	all map[string][]schemas.ScanLeftOut
}

const maxLeftOuts = 100

func (l *leftOuts) of(ctx context.Context, s Scanners, j *schemas.ScanJob) ([]schemas.ScanLeftOut, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if left, ok := l.all[j.ID]; ok {
		return left, nil
	}
	left, err := s.LeftOut(ctx, j.Unit, j.Scope, j.Created)
	if err != nil {
		return nil, err
	}
	if l.all == nil || len(l.all) >= maxLeftOuts {
		l.all = map[string][]schemas.ScanLeftOut{}
	}
	l.all[j.ID] = left
	return left, nil
}

// scanJob finds a job that the viewer sees.
func (c *Console) scanJob(ctx context.Context, id string) (*schemas.ScanJob, *Scans, *Problem) {
	now, p := c.scans(viewerOf(ctx))
	if p != nil {
		return nil, nil, p
	}
	for i := range now.Jobs {
		if now.Jobs[i].ID == id {
			return &now.Jobs[i], now, nil
		}
	}
	return nil, nil, problem(http.StatusNotFound, codeNotFound, "there is no such job")
}

type startInput struct {
	Body struct {
		ScanRequest
		DryRun bool `json:"dry_run,omitempty" doc:"plan and answer what would be done; do nothing"`
	}
}

// StartedScan is a job that was handed to the scanners, or would be.
type StartedScan struct {
	Job       string                `json:"job,omitempty" doc:"of one that was started"`
	Started   bool                  `json:"started"`
	Shards    int                   `json:"shards"`
	Addresses int                   `json:"addresses" doc:"whose ports are looked at"`
	Names     int                   `json:"names" doc:"that are asked about"`
	Seconds   float64               `json:"seconds" doc:"that it takes, about, with the scanners that there are, without the hours that it waits for"`
	NotBefore time.Time             `json:"not_before,omitzero" doc:"when the first hours of what has to wait for some begin"`
	Waiting   int                   `json:"waiting" doc:"shards that wait for hours"`
	LeftOut   []schemas.ScanLeftOut `json:"left_out" nullable:"false" doc:"what is not looked at"`
}

func (c *Console) postScanJob(ctx context.Context, in *startInput) (*bodyOf[StartedScan], error) {
	v, r := viewerOf(ctx), in.Body.ScanRequest
	if err := v.mayOwn(r.Unit); err != nil {
		return nil, forbidden(err)
	}
	if c.deps.Scanners == nil {
		return nil, noScanners()
	}
	ctx, cancel := context.WithTimeout(ctx, planPatience)
	defer cancel()
	select { // planning reads the whole map: one at a time
	case c.planning <- struct{}{}:
		defer func() { <-c.planning }()
	case <-ctx.Done():
		return nil, problem(http.StatusServiceUnavailable, codeScanners, "other scans are being planned; try again soon")
	}
	r.By = v.Name
	plan, err := c.deps.Scanners.Plan(ctx, &r)
	if m := (Mistakes{}); errors.As(err, &m) {
		return nil, m.problem()
	}
	if err != nil {
		return nil, c.storeProblem(ctx, "planning a scan", err)
	}
	out := startedScan(plan)
	if in.Body.DryRun {
		return &bodyOf[StartedScan]{*out}, nil
	}
	if err := c.deps.Scanners.Start(ctx, plan); err != nil {
		return nil, c.internal("handing a scan to the scanners", err)
	}
	out.Job, out.Started = plan.Tasks[0].Job, true
	c.deps.Log.Info("scan started", "audit", "scan", "user", v.Name, "job", out.Job, "unit", r.Unit, "scope", r.Scope, "shards", out.Shards, "reason", r.Reason)
	return &bodyOf[StartedScan]{*out}, nil
}

// startedScan sums a plan up. A block's shards differ in their ports where few
// packets a second are allowed: its addresses count once.
func startedScan(p *ScanPlan) *StartedScan {
	out := &StartedScan{Shards: len(p.Tasks), Seconds: p.Seconds, LeftOut: append([]schemas.ScanLeftOut{}, p.LeftOut...)}
	swept := map[netip.Prefix]bool{}
	for i := range p.Tasks {
		t := &p.Tasks[i]
		if !t.NotBefore.IsZero() {
			out.Waiting++
			if out.NotBefore.IsZero() || t.NotBefore.Before(out.NotBefore) {
				out.NotBefore = t.NotBefore
			}
		}
		if t.Kind == schemas.TaskNames {
			out.Names += len(t.Names)
		}
		if t.Kind != schemas.TaskSweep {
			continue
		}
		var block netip.Prefix
		for _, target := range t.Targets {
			if block.IsValid() && block.Contains(target.Addr()) {
				continue // a known address stands after its block
			}
			if block = target; !swept[block] {
				swept[block] = true
				out.Addresses += 1 << min(block.Addr().BitLen()-block.Bits(), 24)
			}
		}
	}
	return out
}

type stopInput struct {
	Body struct {
		Job    string `json:"job" minLength:"1" maxLength:"256" doc:"the job, or * for every job there is or will be" example:"*"`
		Reason string `json:"reason,omitempty" maxLength:"1024"`
	}
}

type resumeInput struct {
	Job string `query:"job" required:"true" minLength:"1" maxLength:"256" doc:"as it was stopped" example:"*"`
}

func (c *Console) postScanStop(ctx context.Context, in *stopInput) (*bodyOf[schemas.ScanStop], error) {
	before, p := c.mayStop(ctx, in.Body.Job)
	if p != nil {
		return nil, p
	}
	if before != nil && c.mayResume(ctx, before) != nil {
		return &bodyOf[schemas.ScanStop]{*before}, nil // it is stopped, and stays so until they say otherwise
	}
	stop := schemas.ScanStop{Job: in.Body.Job, By: viewerOf(ctx).Name, Reason: in.Body.Reason, Time: time.Now().UTC()}
	state := schemas.ScanState{Stop: &stop}
	if err := c.sayScanState(ctx, state.Key(), &state); err != nil {
		return nil, err
	}
	return &bodyOf[schemas.ScanStop]{stop}, nil
}

func (c *Console) deleteScanStop(ctx context.Context, in *resumeInput) (*struct{}, error) {
	stop, p := c.mayStop(ctx, in.Job)
	if p != nil {
		return nil, p
	}
	if stop != nil {
		if p := c.mayResume(ctx, stop); p != nil {
			return nil, p
		}
	}
	return nil, c.sayScanState(ctx, (&schemas.ScanState{Stop: &schemas.ScanStop{Job: in.Job}}).Key(), nil)
}

// mayStop says whether the viewer may stop a job, and how it is stopped already.
// Who sees everything may stop everything, and what nobody knows; others the jobs
// of their units.
func (c *Console) mayStop(ctx context.Context, job string) (*schemas.ScanStop, *Problem) {
	v := viewerOf(ctx)
	if v.mayAll() == nil {
		return nil, nil // without a look at the topics: the way to stop is short
	}
	if job == schemas.AllJobs {
		return nil, forbidden(v.mayAll())
	}
	j, now, p := c.scanJob(ctx, job)
	if p != nil {
		return nil, p
	}
	if j.Above {
		return nil, notTheirs(j)
	}
	return stopOf(now, job), nil
}

// mayResume is nil when the viewer may take back a stop: nobody does that of
// somebody above them.
func (c *Console) mayResume(ctx context.Context, stop *schemas.ScanStop) *Problem {
	v := viewerOf(ctx)
	if v.mayAll() == nil {
		return nil
	}
	by, err := c.deps.Registry.User(ctx, stop.By)
	if err != nil && !errors.Is(err, registry.ErrNotFound) {
		return c.internal("looking up a user", err)
	}
	if err != nil || !v.sees(by.Unit) {
		return forbidden(mistake("", "由不属于您单位的 "+stop.By+" 停止", "it was stopped by somebody who is not of your units: "+stop.By))
	}
	return nil
}

func (c *Console) sayScanState(ctx context.Context, key string, s *schemas.ScanState) error {
	if c.deps.Scanners == nil {
		return noScanners()
	}
	saying, cancel := context.WithTimeout(ctx, stopPatience)
	defer cancel()
	if err := c.deps.Scanners.Say(saying, key, s); err != nil {
		return c.internal("telling the scanners", err)
	}
	c.deps.Log.Warn("scans are stopped or resumed", "audit", "scan", "what", key, "stopped", s != nil, "user", viewerOf(ctx).Name)
	return nil
}
