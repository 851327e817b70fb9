package schemas

import (
	"net/netip"
	"time"
)

// ScanTaskKind says what a shard asks for.
type ScanTaskKind string

// The kinds of scan task.
const (
	TaskNames   ScanTaskKind = "names"   // resolve Names and the PTRs of Targets
	TaskSweep   ScanTaskKind = "sweep"   // find open Ports of Targets and identify them
	TaskConfirm ScanTaskKind = "confirm" // look once more at exactly these Targets and Ports, or Names
)

// ScanTask is one shard of a scan. Everything in it is checked against the
// registry's scope where it is made and again where packets are sent.
type ScanTask struct {
	Job     string         `json:"job"`
	Shard   string         `json:"shard"` // unique within the job
	Shards  int            `json:"shards"`
	Kind    ScanTaskKind   `json:"kind"`
	Unit    string         `json:"unit"`
	Targets []netip.Prefix `json:"targets,omitempty"`
	Ports   string         `json:"ports,omitempty"` // "22,80,1000-2000"
	Names   []string       `json:"names,omitempty"`
	Rate    int            `json:"rate,omitempty"` // packets a second; 0 is the scanner's default
	By      string         `json:"by"`             // who asked: a person, or "drift"
	Reason  string         `json:"reason,omitempty"`
	Created time.Time      `json:"created"`
	Expires time.Time      `json:"expires"` // not started after this

	// NotBy is the scanner that has seen what is asked about: another one should
	// take the shard if one can, since a second vantage tells more than a second
	// look. It is a wish, not a ban.
	NotBy string `json:"not_by,omitempty"`
}
