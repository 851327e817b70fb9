package queue

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"fengsui/schemas"
)

// What a shard is at that is not settled.
const (
	shardRunning = "running"
	shardWaiting = "waiting" // for its hours, or for another attempt
	shardQueued  = "queued"
)

// stateOf is what a shard is at, and until when it waits if it does.
func (q *Queue) stateOf(s *shard, now time.Time) (state string, until time.Time) {
	switch {
	case s.settled:
		return string(s.outcome), until
	case s.lease != nil && !q.lapsed(s.lease, now):
		return shardRunning, until
	case now.After(s.task.Expires):
		return string(schemas.ShardExpired), until
	}
	if until = s.waits(now); now.Before(until) {
		return shardWaiting, until
	}
	return shardQueued, until
}

// waits is until when an unsettled shard waits, by what is said of it in the topics.
func (s *shard) waits(now time.Time) time.Time {
	until := s.notBefore
	for _, begin := range []time.Time{s.task.NotBefore, s.hours.Next(now)} {
		if begin.After(until) {
			until = begin
		}
	}
	return until
}

// Shards is the shards of a job: those that run, those that went wrong, those that
// wait, and then the others, each in their order.
func (q *Queue) Shards(job string, now time.Time) []schemas.ScanShard {
	type numbered struct {
		schemas.ScanShard
		rank, number int
	}
	var all []numbered
	for _, s := range q.shards {
		if s.task == nil || s.task.Job != job {
			continue
		}
		state, wait := q.stateOf(s, now)
		one := schemas.ScanShard{
			Shard: s.task.Shard, Kind: s.task.Kind, About: s.about, State: state, Outcome: s.outcome, Attempts: s.epoch,
			Scanner: s.last.Scanner, Seconds: s.last.Seconds, Seen: s.last.Seen, Error: s.last.Error,
			Hours: s.task.Hours, Units: s.task.Units,
		}
		switch state {
		case shardRunning:
			one.Since = s.lease.since
		case shardWaiting:
			one.Next = wait
		}
		rank := slices.Index([]string{shardRunning, string(schemas.ShardFailed), string(schemas.ShardRefused), string(schemas.ShardExpired), shardWaiting, shardQueued}, state)
		if rank < 0 {
			rank = 99 // done: after all others
		}
		all = append(all, numbered{one, rank, s.number})
	}
	slices.SortFunc(all, func(a, b numbered) int {
		return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.number, b.number), cmp.Compare(a.Shard, b.Shard))
	})
	out := make([]schemas.ScanShard, len(all))
	for i := range all {
		out[i] = all[i].ScanShard
	}
	return out
}

// about says what a task looks at: a settled one's targets are not kept.
func about(t *schemas.ScanTask) string {
	first, more := "", len(t.Targets)+len(t.Names)-1
	switch {
	case len(t.Targets) > 0 && t.Targets[0].IsSingleIP():
		first = t.Targets[0].Addr().String()
	case len(t.Targets) > 0:
		first = t.Targets[0].String()
	case len(t.Names) > 0:
		first = t.Names[0]
	}
	if more > 0 {
		return fmt.Sprintf("%s +%d", first, more)
	}
	return first
}
