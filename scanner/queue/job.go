package queue

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"fengsui/scanner/portset"
	"fengsui/schemas"
)

const (
	usualRate  = 5000 // probes a second, where nobody says
	usualNames = 1000 // questions a second
	perName    = 6    // questions
	perZone    = 5000 // that a discovery asks about a zone, roughly
	overhead   = 3    // seconds of a shard, whatever its size
	someErrors = 5    // that a job tells
)

// Cost is about how many seconds a shard takes, before any was measured.
func Cost(t *schemas.ScanTask) float64 {
	addresses := 0
	for _, p := range t.Targets {
		addresses += 1 << min(p.Addr().BitLen()-p.Bits(), 24)
	}
	if t.Kind == schemas.TaskNames || t.Kind == schemas.TaskDiscover {
		rate := usualNames
		if t.NetworkRate > 0 {
			rate = min(rate, t.NetworkRate)
		}
		questions := addresses + perName*len(t.Names)
		if t.Kind == schemas.TaskDiscover {
			questions += perZone
		}
		return overhead + float64(questions)/float64(rate)
	}
	ports := 1
	if tcp, udp, err := portset.ParseBoth(t.Ports); err == nil {
		ports = tcp.Len() + udp.Len()
	}
	return overhead + float64(addresses*ports+perName*len(t.Names))/float64(Rate(t, addresses))
}

// Rate is the packets a second that a shard of so many addresses may send, as far
// as the task itself says.
func Rate(t *schemas.ScanTask, addresses int) int {
	rate := usualRate
	for _, r := range []int{t.Rate, t.NetworkRate, t.HostRate * max(addresses, 1)} {
		if r > 0 {
			rate = min(rate, r)
		}
	}
	return rate
}

// Job is how far a job is.
type Job struct {
	schemas.ScanJob
	Left time.Duration `json:"-"` // an estimate; 0 when it is over or stopped

	rest map[string]float64 // cost by kind
	ran  float64            // seconds of those that run
}

// pace is what shards of a kind took, against what they should cost.
type pace struct{ seconds, cost float64 }

// Jobs is every job that is known, the newest first.
func (q *Queue) Jobs(now time.Time) []Job {
	jobs, paces := map[string]*Job{}, map[string]pace{}
	total, over := map[string]float64{}, map[string]float64{}
	for _, key := range slices.Sorted(maps.Keys(q.shards)) {
		s := q.shards[key]
		if s.task == nil {
			continue
		}
		j := jobs[s.task.Job]
		if j == nil {
			t := s.task
			j = &Job{ScanJob: schemas.ScanJob{
				ID: t.Job, Class: t.ClassOf(), Unit: t.Unit, By: t.By, Reason: t.Reason, Created: t.Created, Expires: t.Expires, ScanProgress: schemas.ScanProgress{Shards: t.Shards},
			}, rest: map[string]float64{}}
			if stop, ok := q.Stopped(t.Job); ok {
				j.Stopped = &stop
			}
			jobs[t.Job] = j
		}
		if j.Scope == nil {
			j.Scope = s.task.Scope
		}
		total[j.ID] += s.cost
		j.count(q, s, now)
		if s.settled {
			over[j.ID] += s.cost
		}
		if s.settled && s.outcome == schemas.ShardDone {
			for _, of := range []string{string(s.task.Kind), j.ID + " " + string(s.task.Kind)} {
				paces[of] = pace{paces[of].seconds + s.last.Seconds, paces[of].cost + s.cost}
			}
		}
	}
	out := make([]Job, 0, len(jobs))
	for _, j := range jobs {
		if total[j.ID] > 0 {
			j.Percent = 100 * over[j.ID] / total[j.ID]
		}
		j.estimate(paces, len(q.Agents(now)))
		if j.State = j.At(j.Stopped != nil); j.State == schemas.JobDone {
			j.Percent = 100 // and not what a sum of fractions makes of it
		}
		out = append(out, *j)
	}
	slices.SortFunc(out, func(a, b Job) int { return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(a.ID, b.ID)) })
	return out
}

// Parts is every job that is known, cut by whose networks and domains its shards look
// at, in no order. Those that say nothing of it are in none.
func (q *Queue) Parts(now time.Time) []schemas.ScanPart {
	type of struct{ job, units string }
	parts := map[of]*schemas.ScanPart{}
	for _, s := range q.shards {
		if s.task == nil || len(s.task.Units) == 0 {
			continue
		}
		key := of{s.task.Job, s.whose}
		p := parts[key]
		if p == nil {
			p = &schemas.ScanPart{Job: s.task.Job, Units: s.task.Units}
			parts[key] = p
		}
		p.Shards++
		p.Cost += s.cost
		if s.settled {
			p.Settled += s.cost
		}
		q.tally(&p.ScanProgress, s, now)
	}
	out := make([]schemas.ScanPart, 0, len(parts))
	for _, p := range parts {
		out = append(out, *p)
	}
	return out
}

// tally counts a shard, and says what it is at.
func (q *Queue) tally(p *schemas.ScanProgress, s *shard, now time.Time) string {
	state, wait := q.stateOf(s, now)
	switch {
	case state == string(schemas.ShardDone):
		p.Done++
	case state == string(schemas.ShardRefused):
		p.Refused++
	case state == string(schemas.ShardExpired):
		p.Expired++
	case s.settled:
		p.Failed++
	case state == shardRunning:
		p.Running++
	case state == shardWaiting:
		p.Waiting++
		if p.Next.IsZero() || wait.Before(p.Next) {
			p.Next = wait
		}
	default:
		p.Queued++
	}
	return state
}

func (j *Job) count(q *Queue, s *shard, now time.Time) {
	state := q.tally(&j.ScanProgress, s, now)
	if s.last.Error != "" && s.outcome != schemas.ShardDone && len(j.Errors) < someErrors {
		j.Errors = append(j.Errors, "shard "+s.task.Shard+": "+string(s.outcome)+": "+s.last.Error)
	}
	if s.settled {
		j.Seen += s.last.Seen
		return
	}
	j.rest[string(s.task.Kind)] += s.cost
	if state == shardRunning {
		j.ran += now.Sub(s.lease.since).Seconds()
		if !slices.Contains(j.Agents, s.lease.scanner) {
			j.Agents = append(j.Agents, s.lease.scanner)
		}
	}
}

// estimate says how long the rest takes, at the pace of the job's own shards of
// the same kind, or else of all, with as many scanners as work on it.
func (j *Job) estimate(paces map[string]pace, agents int) {
	if j.Over() || j.Stopped != nil {
		return
	}
	seconds := 0.0
	for kind, cost := range j.rest {
		p := paces[j.ID+" "+kind]
		if p.cost == 0 {
			p = paces[kind]
		}
		if p.cost > 0 {
			cost *= p.seconds / p.cost
		}
		seconds += cost
	}
	side := j.Running
	if side == 0 {
		side = max(agents, 1)
	}
	side = min(side, max(j.Running+j.Queued, 1))
	j.Seconds = max(seconds-j.ran, 0) / float64(side)
	j.Left = time.Duration(j.Seconds * float64(time.Second)).Round(time.Second)
}
