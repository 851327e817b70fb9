// Package queue is who may carry out which shard: a fold of the topics of scan
// tasks, leases and state that every scanner makes for itself. There is no
// coordinator; the order of the leases' topic decides.
//
// It never talks to Kafka, reads no clock and sends no packet: what was read comes
// in with the time at which it was, and what to claim next goes out.
//
// A shard is claimed with a number one higher than its last claim's. Of two claims
// with the same number the first in the topic's order wins, for everybody. A
// lease has no end in time: others may claim the shard anew once they have heard
// nothing of its holder for the length of a lease, each by its own clock, and the
// holder gives up before, counted from when it last began to say that it lives.
// Who reads late must not take all others for dead: only what a scanner has read
// up to a sign of its own counts (Current).
package queue

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

// The bounds of what is kept.
const (
	keepAfter  = 24 * time.Hour      // an expired task, for those who ask about it
	keepEvents = 11 * 24 * time.Hour // the events of a task that has not come
	longest    = 10 * time.Minute    // lease
	wished     = 20 * time.Second    // a shard that another scanner should take waits for one
)

// Queue is the state. It is not safe for concurrent use.
type Queue struct {
	lease  time.Duration
	shards map[string]*shard
	held   map[string]*shard // those with a lease
	turns  map[schemas.ScanClass]*turns
	heard  map[string]time.Time // by instance, by our own clock
	agents map[string]schemas.ScanAgent
	stops  map[string]schemas.ScanStop
	seq    uint64 // of the last claim that counted

	current time.Time // zero: it is always now
}

// shard is what is known of one.
type shard struct {
	task      *schemas.ScanTask // nil when events came first
	came      time.Time         // the task, by our own clock
	number    int               // of the shard within its job, for order
	cost      float64
	about     string // what it looks at, for people
	whose     string // the units of its task, in one word
	hours     hours.Hours
	epoch     int
	settled   bool
	outcome   schemas.ScanOutcome
	failures  int
	notBefore time.Time
	last      schemas.ScanEvent // that counted
	at        time.Time         // when it was read

	lease *lease
}

// lease is who has a shard.
type lease struct {
	instance, scanner string
	lasts             time.Duration // after its holder was last heard
	shares            []schemas.ScanShare
	since             time.Time // when its claim was read
	seq               uint64
	charged           float64 // to the unit's turn
}

// turns is whose turn it is within a class: start-time fair queueing, where a
// unit's tag grows by what its shards cost.
type turns struct {
	now  float64
	tags map[string]float64
}

// New makes an empty queue. A scanner is taken for dead when it was silent for as
// long as given, unless its claim says otherwise.
func New(lease time.Duration) *Queue {
	return &Queue{
		lease: lease, shards: map[string]*shard{}, held: map[string]*shard{}, turns: map[schemas.ScanClass]*turns{},
		heard: map[string]time.Time{}, agents: map[string]schemas.ScanAgent{}, stops: map[string]schemas.ScanStop{},
	}
}

func (q *Queue) shard(key string) *shard {
	s := q.shards[key]
	if s == nil {
		s = &shard{}
		q.shards[key] = s
	}
	return s
}

// Task takes a task. The first of a key stands.
func (q *Queue) Task(t schemas.ScanTask, now time.Time) {
	if now.After(t.Expires.Add(keepAfter)) {
		return
	}
	s := q.shard(t.Key())
	if s.task != nil {
		return
	}
	s.task, s.cost, s.about, s.came = &t, Cost(&t), about(&t), now
	s.number, _ = strconv.Atoi(t.Shard)
	s.whose = strings.Join(t.Units, "/") // a code has no slash
	s.hours, _ = hours.Parse(t.Hours)    // what cannot be read is always
	if s.settled {
		s.forgetTargets()
	}
}

// forgetTargets frees what a settled shard needs no more.
func (s *shard) forgetTargets() {
	if s.task != nil {
		s.task.Targets, s.task.Names = nil, nil
	}
}

// Event takes an event of a shard, in the order of the topic. It says whether the
// event counts.
func (q *Queue) Event(e schemas.ScanEvent, now time.Time) bool {
	if e.Epoch < 1 || e.Instance == "" {
		return false
	}
	s := q.shard(e.Key())
	switch e.Kind {
	case schemas.ScanClaimed:
		if s.settled || e.Epoch <= s.epoch {
			return false
		}
		q.seq++
		s.epoch = e.Epoch
		lasts := q.lease
		if e.Lease > 0 {
			lasts = min(e.Lease, longest)
		}
		s.lease = &lease{e.Instance, e.Scanner, lasts, e.Shares, now, q.seq, q.served(s)}
		q.held[e.Key()] = s
	case schemas.ScanReleased, schemas.ScanSettled:
		if s.settled || s.lease == nil || e.Epoch != s.epoch || e.Instance != s.lease.instance {
			return false
		}
		if e.Outcome == schemas.ShardOffHours && s.task != nil { // it is the unit's turn for it when it is done
			q.turnsOf(s.task.ClassOf()).tags[s.task.Unit] -= s.lease.charged
		}
		s.lease, s.outcome, s.notBefore = nil, e.Outcome, e.NotBefore
		delete(q.held, e.Key())
		if e.Outcome == schemas.ShardRetry {
			s.failures++
		}
		if e.Kind == schemas.ScanSettled {
			s.settled = true
			s.forgetTargets()
		}
	default:
		return false
	}
	s.last, s.at = e, now
	return true
}

// served counts a shard against its unit, and says how much.
func (q *Queue) served(s *shard) float64 {
	if s.task == nil {
		return 0
	}
	t := q.turnsOf(s.task.ClassOf())
	t.now = max(t.tags[s.task.Unit], t.now)
	t.tags[s.task.Unit] = t.now + s.cost
	return s.cost
}

func (q *Queue) turnsOf(c schemas.ScanClass) *turns {
	t := q.turns[c]
	if t == nil {
		t = &turns{tags: map[string]float64{}}
		q.turns[c] = t
	}
	return t
}

// State takes a record of the compacted topic; nil deletes.
func (q *Queue) State(key string, r *schemas.ScanState, now time.Time) {
	switch {
	case r == nil:
		for job := range q.stops {
			if key == (&schemas.ScanState{Stop: &schemas.ScanStop{Job: job}}).Key() {
				delete(q.stops, job)
			}
		}
		for instance := range q.agents {
			if key == (&schemas.ScanState{Agent: &schemas.ScanAgent{Instance: instance}}).Key() {
				delete(q.agents, instance)
				delete(q.heard, instance) // it has said that it ends
			}
		}
	case r.Stop != nil && r.Key() == key:
		q.stops[r.Stop.Job] = *r.Stop
	case r.Agent != nil && r.Key() == key:
		q.agents[r.Agent.Instance] = *r.Agent
		q.heard[r.Agent.Instance] = now
	}
}

// Current says that everything was read that anybody had said by a time: the
// scanner has read the sign of life that it sent then. From the first call on no
// holder is silent for longer than until the last such time.
func (q *Queue) Current(t time.Time) { q.current = t }

// lapsed says that the lease's holder was not heard for too long.
func (q *Queue) lapsed(l *lease, now time.Time) bool {
	last := l.since
	if heard := q.heard[l.instance]; heard.After(last) {
		last = heard
	}
	if !q.current.IsZero() {
		now = q.current
	}
	return now.Sub(last) >= l.lasts
}

// Shares says what of bounded rates a task needs, and whether it may be claimed
// now by its network's hours.
type Shares func(*schemas.ScanTask) (shares []schemas.ScanShare, may bool)

// Next is the claim that a scanner should make, if there is any: interactive jobs
// before second looks before periodic ones; of a class the unit that has had the
// least; of a unit what failed the least, then the oldest job, in its order. What
// another scanner should take is left to the others for a while, if there are any.
// Its shares are cut to what is left of each bound. What has to wait for hours of
// which the topics do not tell is claimed as well: its holder gives it back and
// says until when.
func (q *Queue) Next(now time.Time, me schemas.ScanAgent, shares Shares) (schemas.ScanEvent, bool) {
	if _, stopped := q.stops[schemas.AllJobs]; stopped {
		return schemas.ScanEvent{}, false
	}
	others := slices.ContainsFunc(q.Agents(now), func(a schemas.ScanAgent) bool { return a.Scanner != me.Scanner })
	ready := map[schemas.ScanClass]map[string][]*shard{}
	for _, s := range q.shards {
		if q.ready(s, now) && !(s.task.NotBy == me.Scanner && now.Before(s.came.Add(wished)) && others) {
			class := s.task.ClassOf()
			if ready[class] == nil {
				ready[class] = map[string][]*shard{}
			}
			ready[class][s.task.Unit] = append(ready[class][s.task.Unit], s)
		}
	}
	used := q.used(now)
	for _, class := range []schemas.ScanClass{schemas.ScanInteractive, schemas.ScanConfirm, schemas.ScanPeriodic} {
		units, t := ready[class], q.turnsOf(class)
		for _, unit := range slices.SortedFunc(maps.Keys(units), func(a, b string) int {
			return cmp.Or(cmp.Compare(max(t.tags[a], t.now), max(t.tags[b], t.now)), cmp.Compare(a, b))
		}) {
			// Usually the first will do, and sorting all of them is dear.
			if e, ok := q.claim(slices.MinFunc(units[unit], before), me, now, used, shares); ok {
				return e, true
			}
			slices.SortFunc(units[unit], before)
			for _, s := range units[unit][1:] {
				if e, ok := q.claim(s, me, now, used, shares); ok {
					return e, true
				}
			}
		}
	}
	return schemas.ScanEvent{}, false
}

// ready says whether a shard waits for a scanner.
func (q *Queue) ready(s *shard, now time.Time) bool {
	if s.task == nil || s.settled || now.After(s.task.Expires.Add(keepAfter)) || s.lease != nil && !q.lapsed(s.lease, now) {
		return false
	}
	if _, stopped := q.stops[s.task.Job]; stopped {
		return false
	}
	if now.After(s.task.Expires) {
		return true // to be said
	}
	// Whether hours are open the registry says at any time, and may say otherwise
	// than when the shard was given back.
	return (s.outcome == schemas.ShardOffHours || !now.Before(s.notBefore)) && !now.Before(s.task.NotBefore)
}

func before(a, b *shard) int {
	return cmp.Or(cmp.Compare(a.failures, b.failures), a.task.Created.Compare(b.task.Created), cmp.Compare(a.task.Job, b.task.Job),
		cmp.Compare(a.number, b.number), cmp.Compare(a.task.Shard, b.task.Shard))
}

// used is how much of each bounded rate is taken, by leases that live.
func (q *Queue) used(now time.Time) map[string]int {
	out := map[string]int{}
	for _, s := range q.held {
		if !q.lapsed(s.lease, now) {
			for _, share := range s.lease.shares {
				out[share.Of] += share.Want
			}
		}
	}
	return out
}

func (q *Queue) claim(s *shard, me schemas.ScanAgent, now time.Time, used map[string]int, shares Shares) (schemas.ScanEvent, bool) {
	e := schemas.ScanEvent{
		Kind: schemas.ScanClaimed, Job: s.task.Job, Shard: s.task.Shard, Epoch: s.epoch + 1,
		Scanner: me.Scanner, Instance: me.Instance, Time: now,
	}
	if now.After(s.task.Expires) {
		return e, true
	}
	wanted, may := shares(s.task)
	if !may { // that it has to wait is to be said, if nobody has
		said := s.outcome == schemas.ShardOffHours && s.notBefore.IsZero() || now.Before(s.waits(now))
		return e, !said
	}
	for _, w := range wanted {
		if w.Want = min(w.Want, w.Cap-used[w.Of]); w.Want < 1 {
			return e, false
		}
		e.Shares = append(e.Shares, w)
	}
	return e, true
}

// Mine says that a claim of this scanner's is the one that counts.
func (q *Queue) Mine(e schemas.ScanEvent) bool {
	s := q.shards[e.Key()]
	return s != nil && s.lease != nil && s.lease.instance == e.Instance && s.epoch == e.Epoch
}

// Decided says that the topic holds a claim of this number or a later one, so
// that Mine is final.
func (q *Queue) Decided(e schemas.ScanEvent) bool {
	s := q.shards[e.Key()]
	return s != nil && (s.settled || s.epoch >= e.Epoch)
}

// Fits says that a claim that counts leaves every bounded rate kept, by those
// that came before it.
func (q *Queue) Fits(e schemas.ScanEvent, now time.Time) bool {
	s := q.shards[e.Key()]
	if s == nil || s.lease == nil {
		return false
	}
	for _, share := range s.lease.shares {
		sum := share.Want
		for _, other := range q.held {
			if other.lease.seq >= s.lease.seq || q.lapsed(other.lease, now) {
				continue
			}
			for _, o := range other.lease.shares {
				if o.Of == share.Of {
					sum += o.Want
				}
			}
		}
		if sum > share.Cap {
			return false
		}
	}
	return true
}

// Claimed is the task of a claim, and how often the shard has failed.
func (q *Queue) Claimed(e schemas.ScanEvent) (t schemas.ScanTask, failures int, ok bool) {
	s := q.shards[e.Key()]
	if s == nil || s.task == nil {
		return schemas.ScanTask{}, 0, false
	}
	return *s.task, s.failures, true
}

// Stopped says whether a job may not go on, and who has said so.
func (q *Queue) Stopped(job string) (schemas.ScanStop, bool) {
	if stop, ok := q.stops[schemas.AllJobs]; ok {
		return stop, true
	}
	stop, ok := q.stops[job]
	return stop, ok
}

// Stops is everything that is stopped, by job.
func (q *Queue) Stops() []schemas.ScanStop {
	return slices.SortedFunc(maps.Values(q.stops), func(a, b schemas.ScanStop) int { return cmp.Compare(a.Job, b.Job) })
}

// Agents is the scanners that were heard within a lease, by name. For who has
// just read the topic all were heard just now: their own times tell more then.
func (q *Queue) Agents(now time.Time) []schemas.ScanAgent {
	var out []schemas.ScanAgent
	for instance, a := range q.agents {
		if now.Sub(q.heard[instance]) < q.lease {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, func(a, b schemas.ScanAgent) int {
		return cmp.Or(cmp.Compare(a.Scanner, b.Scanner), cmp.Compare(a.Instance, b.Instance))
	})
	return out
}

// Silent is the scanners that have said nothing for a time, and not that they
// end: what they said last may be forgotten.
func (q *Queue) Silent(now time.Time, long time.Duration) []schemas.ScanAgent {
	var out []schemas.ScanAgent
	for instance, a := range q.agents {
		if now.Sub(q.heard[instance]) >= long {
			out = append(out, a)
		}
	}
	return out
}

// Forget drops what nobody needs any more.
func (q *Queue) Forget(now time.Time) {
	maps.DeleteFunc(q.shards, func(_ string, s *shard) bool {
		if s.task == nil {
			return now.Sub(s.at) > keepEvents
		}
		return now.After(s.task.Expires.Add(keepAfter)) && (s.lease == nil || q.lapsed(s.lease, now))
	})
	held := map[string]bool{}
	for key, s := range q.held {
		if q.shards[key] == nil {
			delete(q.held, key)
		} else {
			held[s.lease.instance] = true
		}
	}
	maps.DeleteFunc(q.heard, func(instance string, _ time.Time) bool {
		_, known := q.agents[instance]
		return !known && !held[instance]
	})
}
