package schemas

import "time"

// ScanJobState says where a job is.
type ScanJobState string

// The states of a job.
const (
	JobDone    ScanJobState = "done"    // every shard
	JobPartial ScanJobState = "partial" // it is over, and not every shard was done
	JobStopped ScanJobState = "stopped"
	JobRunning ScanJobState = "running"
	JobQueued  ScanJobState = "queued"
	JobWaiting ScanJobState = "waiting" // for hours, or for another attempt
)

// ScanJob is how far a job is, as the topics of scans tell it.
type ScanJob struct {
	ID      string       `json:"job"`
	Class   ScanClass    `json:"class"`
	Unit    string       `json:"unit"`
	Scope   []string     `json:"scope,omitempty"` // what of the unit was asked for; empty: all that is authorised
	By      string       `json:"by"`
	Reason  string       `json:"reason,omitempty"`
	Created time.Time    `json:"created"`
	Expires time.Time    `json:"expires"`
	State   ScanJobState `json:"state"`
	// Above is for who may see a part of the job alone, since a unit above theirs has
	// asked for it: then all that is told is of their units' networks and domains.
	Above bool `json:"above,omitempty"`

	ScanProgress
	Seen    int       `json:"observations"`
	Seconds float64   `json:"seconds_left,omitempty"` // an estimate; 0 when it is over or stopped
	Agents  []string  `json:"agents,omitempty"`
	Stopped *ScanStop `json:"stopped,omitempty"`
	Errors  []string  `json:"errors,omitempty"`
}

// ScanProgress is how many shards are where.
type ScanProgress struct {
	Shards  int       `json:"shards"`
	Queued  int       `json:"queued"`  // could be done now
	Waiting int       `json:"waiting"` // for their hours, or for another attempt
	Running int       `json:"running"`
	Done    int       `json:"done"`
	Failed  int       `json:"failed"`
	Refused int       `json:"refused"`
	Expired int       `json:"expired"`
	Percent float64   `json:"percent"`
	Next    time.Time `json:"next,omitzero"` // of those that wait, the first
}

// Add counts other shards in. Percent stays as it is: only shards' costs tell it.
func (p *ScanProgress) Add(o ScanProgress) {
	p.Shards += o.Shards
	p.Queued += o.Queued
	p.Waiting += o.Waiting
	p.Running += o.Running
	p.Done += o.Done
	p.Failed += o.Failed
	p.Refused += o.Refused
	p.Expired += o.Expired
	if p.Next.IsZero() || !o.Next.IsZero() && o.Next.Before(p.Next) {
		p.Next = o.Next
	}
}

// Over says that nothing more will be done.
func (p *ScanProgress) Over() bool {
	return p.Shards > 0 && p.Done+p.Failed+p.Refused+p.Expired >= p.Shards
}

// At is where shards of which so many are where are together.
func (p *ScanProgress) At(stopped bool) ScanJobState {
	switch {
	case p.Over() && p.Done == p.Shards:
		return JobDone
	case p.Over():
		return JobPartial
	case stopped:
		return JobStopped
	case p.Running > 0:
		return JobRunning
	case p.Queued > 0:
		return JobQueued
	}
	return JobWaiting
}

// ScanPart is how far those shards of a job are that look at networks and domains of
// the same units.
type ScanPart struct {
	Job   string
	Units []string
	ScanProgress
	Cost, Settled float64 // of its shards, and of those that are settled: what Percent is of
}

// ScanShard is where a shard is.
type ScanShard struct {
	Shard    string       `json:"shard"`
	Kind     ScanTaskKind `json:"kind"`
	About    string       `json:"about"`             // the first of what it looks at, and how many more
	State    string       `json:"state"`             // running, waiting, queued or, once it is settled, its outcome
	Outcome  ScanOutcome  `json:"outcome,omitempty"` // of the last attempt
	Attempts int          `json:"attempts"`
	Scanner  string       `json:"scanner,omitempty"` // that has it, or had it last
	Since    time.Time    `json:"since,omitzero"`    // of one that runs
	Next     time.Time    `json:"next,omitzero"`     // of one that waits
	Seconds  float64      `json:"seconds,omitempty"` // that the last attempt took
	Seen     int          `json:"observations,omitempty"`
	Error    string       `json:"error,omitempty"`
	Hours    string       `json:"hours,omitempty"` // in which it may be done, as the registry said when it was planned
	Units    []string     `json:"-"`               // as of its task
}

// ScanLeftOut is something in or around a scan's scope that it does not look at.
type ScanLeftOut struct {
	What string      `json:"what"` // an address block or a name
	Why  ScanLeftWhy `json:"why"`
}

// ScanLeftWhy says why something is left out.
type ScanLeftWhy string

// The reasons.
const (
	LeftUnauthorised ScanLeftWhy = "not_authorised" // the registry does not authorise scans of it
	LeftExcluded     ScanLeftWhy = "excluded"
	LeftOthers       ScanLeftWhy = "other_unit" // a network inside, or a domain below, of another unit
	LeftTooLarge     ScanLeftWhy = "too_large"  // an IPv6 network: known addresses alone are looked at
)
