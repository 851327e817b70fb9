package schemas

import "time"

// DriftKind says how what is there differs from what is registered.
type DriftKind string

// The kinds of drift.
const (
	UnlistedDomain DriftKind = "unlisted_domain"
	UnlistedHost   DriftKind = "unlisted_host"
	UnlistedPort   DriftKind = "unlisted_port"
	ListedGone     DriftKind = "listed_gone"
	ServiceChanged DriftKind = "service_changed"
)

// DriftStatus is where a drift is in its life.
type DriftStatus string

// The states of a drift. Only an open one is an alert.
const (
	DriftSuspected DriftStatus = "suspected" // seen once, second look asked for
	DriftOpen      DriftStatus = "open"      // confirmed
	DriftClosed    DriftStatus = "closed"    // its cause is gone or was whitelisted
)

// Drift is one difference between registry and map, with its history.
type Drift struct {
	ID        string      `json:"id"` // from kind, asset key and first sight
	Version   uint64      `json:"version"`
	Kind      DriftKind   `json:"kind"`
	Status    DriftStatus `json:"status"`
	Asset     string      `json:"asset"` // asset key, or the whitelist entry's for ListedGone
	Unit      string      `json:"unit,omitempty"`
	Expected  string      `json:"expected,omitempty"` // what the registry says
	Observed  string      `json:"observed,omitempty"` // what was seen
	Whitelist string      `json:"whitelist,omitempty"`
	First     time.Time   `json:"first"`
	Confirmed time.Time   `json:"confirmed,omitzero"`
	Closed    time.Time   `json:"closed,omitzero"`
	Last      time.Time   `json:"last"`
	Reason    string      `json:"reason,omitempty"` // why it closed
	Evidence  []string    `json:"evidence,omitempty"`
	Updated   time.Time   `json:"updated"`

	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}
