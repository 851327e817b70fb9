package schemas

import (
	"net/netip"
	"strings"
	"time"
)

// ScanTaskKind says what a shard asks for.
type ScanTaskKind string

// The kinds of scan task.
const (
	TaskNames ScanTaskKind = "names" // resolve Names and the PTRs of Targets
	TaskSweep ScanTaskKind = "sweep" // find open Ports of Targets and identify them
	// TaskDiscover finds the names of a zone, the first of Names. The others are
	// names in it that certificates showed.
	TaskDiscover ScanTaskKind = "discover"
	TaskConfirm  ScanTaskKind = "confirm" // look once more at exactly these Targets and Ports, or Names
)

// ScanClass is what passes what.
type ScanClass string

// The classes, the first passing all others. A task without one is interactive,
// or a confirmation by its kind.
const (
	ScanInteractive ScanClass = "interactive" // a person waits
	ScanConfirm     ScanClass = "confirm"     // a drift waits for its second look
	ScanPeriodic    ScanClass = "periodic"    // nobody waits
)

// ScanTask is one shard of a scan. Everything in it is checked against the
// registry's scope, exclusions, hours and rates where it is made and again where
// packets are sent.
type ScanTask struct {
	Job         string         `json:"job"`
	Shard       string         `json:"shard"` // unique within the job
	Shards      int            `json:"shards"`
	Kind        ScanTaskKind   `json:"kind"`
	Class       ScanClass      `json:"class,omitempty"`
	Unit        string         `json:"unit"`
	Units       []string       `json:"units,omitempty"` // whose networks and domains it looks at, as the registry was when it was planned: for people
	Targets     []netip.Prefix `json:"targets,omitempty"`
	Ports       string         `json:"ports,omitempty"` // "22,80,1000-2000"
	Names       []string       `json:"names,omitempty"`
	Rate        int            `json:"rate,omitempty"`         // packets a second; 0 is the scanner's default
	HostRate    int            `json:"host_rate,omitempty"`    // packets a second to one address; 0 is no bound
	NetworkRate int            `json:"network_rate,omitempty"` // packets a second into the network that the shard is of; 0 is no bound
	By          string         `json:"by"`                     // who asked: a person, "drift" or "schedule"
	Reason      string         `json:"reason,omitempty"`
	Scope       []string       `json:"scope,omitempty"` // of a job's first shard: the address blocks and names that were asked for; empty: all that is authorised
	Created     time.Time      `json:"created"`
	Hours       string         `json:"hours,omitempty"`     // in which it may be done, as the registry said when it was planned: for people, since the registry decides
	NotBefore   time.Time      `json:"not_before,omitzero"` // their beginning
	Expires     time.Time      `json:"expires"`             // not started after this

	// NotBy is the scanner that has seen what is asked about: another one should
	// take the shard if one can, since a second vantage tells more than a second
	// look. It is a wish, not a ban.
	NotBy string `json:"not_by,omitempty"`
}

// Key is the Kafka key: of the task, and of everything that is said about it.
func (t *ScanTask) Key() string { return t.Job + "/" + t.Shard }

// ShardOf takes such a key apart.
func ShardOf(key string) (job, shard string) {
	at := strings.LastIndexByte(key, '/')
	if at < 0 {
		return "", key
	}
	return key[:at], key[at+1:]
}

// ClassOf is the task's class.
func (t *ScanTask) ClassOf() ScanClass {
	switch {
	case t.Class != "":
		return t.Class
	case t.Kind == TaskConfirm:
		return ScanConfirm
	}
	return ScanInteractive
}

// ScanEventKind is what happened to a shard.
type ScanEventKind string

// The kinds of event.
const (
	ScanClaimed  ScanEventKind = "claimed"  // a scanner wants to carry it out
	ScanReleased ScanEventKind = "released" // it gives it back
	ScanSettled  ScanEventKind = "settled"  // nothing more will be done about it
)

// ScanOutcome is how an attempt at a shard ended.
type ScanOutcome string

// The outcomes. The first four settle a shard; the others give it back.
const (
	ShardDone    ScanOutcome = "done"
	ShardFailed  ScanOutcome = "failed"  // too often
	ShardRefused ScanOutcome = "refused" // malformed, or the registry does not authorise it
	ShardExpired ScanOutcome = "expired" // nobody came to it in time

	ShardRetry     ScanOutcome = "retry"     // failed, and is tried again
	ShardOffHours  ScanOutcome = "off_hours" // its network's hours are over
	ShardStopped   ScanOutcome = "stopped"   // somebody has stopped it
	ShardAbandoned ScanOutcome = "abandoned" // the scanner ends, or lost the lease
)

// ScanEvent is one event of a shard, on the topic scan.leases. The events' order
// there decides: see scanner/queue.
type ScanEvent struct {
	Kind  ScanEventKind `json:"kind"`
	Job   string        `json:"job"`
	Shard string        `json:"shard"`
	// Epoch counts a shard's claims: a claim's is one more than its scanner had
	// seen, and other events have that of the claim they end.
	Epoch    int       `json:"epoch"`
	Scanner  string    `json:"scanner"`  // its name
	Instance string    `json:"instance"` // the process
	Time     time.Time `json:"time"`     // for people; nothing is decided by it

	// Of a claim.
	Lease  time.Duration `json:"lease,omitempty"` // how long its scanner may be silent
	Shares []ScanShare   `json:"shares,omitempty"`

	// Of the others.
	Outcome   ScanOutcome `json:"outcome,omitempty"`
	Error     string      `json:"error,omitempty"`
	NotBefore time.Time   `json:"not_before,omitzero"` // released: not claimed before this
	Seconds   float64     `json:"seconds,omitempty"`
	Seen      int         `json:"seen,omitempty"` // observations
}

// Key is the Kafka key.
func (e *ScanEvent) Key() string { return e.Job + "/" + e.Shard }

// ScanShare is what a scanner wants of something whose rate is bounded for all
// scanners together: a network, or a domain.
type ScanShare struct {
	Of   string `json:"of"`   // the network's prefix or the domain's name
	Cap  int    `json:"cap"`  // what all may have together
	Want int    `json:"want"` // packets a second
}

// ScanState is a value of the compacted topic scan.state: exactly one of its
// members is set.
type ScanState struct {
	Stop  *ScanStop  `json:"stop,omitempty"`
	Agent *ScanAgent `json:"agent,omitempty"`
}

// AllJobs is the job of a stop that holds for every job there is or will be.
const AllJobs = "*"

// ScanStop stops a job, or everything, until it is taken back.
type ScanStop struct {
	Job    string    `json:"job"`
	By     string    `json:"by"`
	Reason string    `json:"reason,omitempty"`
	Time   time.Time `json:"time"`
}

// ScanAgent is a scanner's sign of life.
type ScanAgent struct {
	Instance string    `json:"instance"`
	Scanner  string    `json:"scanner"`
	Host     string    `json:"host,omitempty"`
	Rate     int       `json:"rate"`
	Shard    string    `json:"shard,omitempty"` // what it is at, as ScanTask.Key
	Started  time.Time `json:"started"`
	Time     time.Time `json:"time"`
}

// Key is the Kafka key.
func (s *ScanState) Key() string {
	switch {
	case s.Stop != nil:
		return "stop/" + s.Stop.Job
	case s.Agent != nil:
		return "agent/" + s.Agent.Instance
	}
	return ""
}

// Attempt is why and how packets were sent, so that the reason of each can be
// found: who asked for what, and which scanner did it when.
type Attempt struct {
	Epoch    int            `json:"epoch"` // which attempt at the shard
	Kind     ScanTaskKind   `json:"kind"`
	Class    ScanClass      `json:"class"`
	By       string         `json:"by"`
	Reason   string         `json:"reason,omitempty"`
	Asked    time.Time      `json:"asked"`
	Targets  []netip.Prefix `json:"targets,omitempty"`
	Ports    string         `json:"ports,omitempty"`
	Names    []string       `json:"names,omitempty"`
	Instance string         `json:"instance"`
	Sources  []netip.Addr   `json:"sources,omitempty"` // the scanner's own addresses towards the targets
	Rate     int            `json:"rate,omitempty"`    // what it was allowed, packets a second
	Started  time.Time      `json:"started"`
	Ended    time.Time      `json:"ended,omitzero"`
	Outcome  ScanOutcome    `json:"outcome,omitempty"`
	Error    string         `json:"error,omitempty"`
	Seen     int            `json:"seen,omitempty"` // observations
}
