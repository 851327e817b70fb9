package schemas

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// DriftKind says how what is there differs from what is registered.
type DriftKind string

// The kinds of drift.
const (
	UnlistedDomain   DriftKind = "unlisted_domain"
	UnlistedHost     DriftKind = "unlisted_host"
	UnlistedPort     DriftKind = "unlisted_port"
	UnlistedService  DriftKind = "unlisted_service"  // the port is whitelisted, for another service
	WhitelistExpired DriftKind = "whitelist_expired" // the entry has ended, and it still answers
	ListedGone       DriftKind = "listed_gone"
	Zombie           DriftKind = "zombie" // a system in use of which nothing is seen, or one that is not and answers

	ForeignAddress    DriftKind = "domain_foreign_address"     // our domain, an address that is not the unit's
	ForeignDomain     DriftKind = "foreign_domain_own_address" // a domain of nobody's, our address
	UnregisteredMarks DriftKind = "unregistered_marks"         // neither is ours, and it carries a unit's marks

	ServiceChanged     DriftKind = "service_changed"
	ProductChanged     DriftKind = "product_changed"
	VersionChanged     DriftKind = "version_changed"
	CertificateChanged DriftKind = "certificate_changed"

	Exposed      DriftKind = "exposure"
	DanglingName DriftKind = "dangling_name" // a CNAME to a name that anybody may register
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
	ID        string      `json:"id"` // from kind, asset key, detail and first sight
	Version   uint64      `json:"version"`
	Kind      DriftKind   `json:"kind"`
	Status    DriftStatus `json:"status"`
	Asset     string      `json:"asset"`            // asset key, "system/CODE", or the whitelist entry's key for ListedGone
	Detail    string      `json:"detail,omitempty"` // what of the asset: an exposure, a record type, a foreign name, a unit, a system
	Unit      string      `json:"unit,omitempty"`
	System    string      `json:"system,omitempty"` // the information system that it is of
	Severity  Level       `json:"severity,omitempty"`
	Expected  string      `json:"expected,omitempty"` // what the registry says
	Observed  string      `json:"observed,omitempty"` // what was seen
	Whitelist string      `json:"whitelist,omitempty"`
	First     time.Time   `json:"first"`
	Confirmed time.Time   `json:"confirmed,omitzero"`
	Closed    time.Time   `json:"closed,omitzero"`
	Last      time.Time   `json:"last"`
	Due       time.Time   `json:"due,omitzero"`      // of a confirmed one
	Overdue   time.Time   `json:"overdue,omitzero"`  // when it was found past its due time
	Reason    string      `json:"reason,omitempty"`  // why it closed
	Work      *DriftWork  `json:"work,omitempty"`    // what people last decided about it
	History   []DriftStep `json:"history,omitempty"` // at most MaxDriftHistory, the beginning and the newest
	Evidence  []string    `json:"evidence,omitempty"`
	Vantages  []string    `json:"vantages,omitempty"` // the scanners that saw it
	Updated   time.Time   `json:"updated"`

	// Previous is the drift of the same kind and asset that had closed before, and
	// Times how many there were; its history goes on here.
	Previous string `json:"previous,omitempty"`
	Times    int    `json:"times,omitempty"`

	// What the judge needs to know again after a restart: the scan that last saw
	// it, the one that first found its cause gone, until when it may not open
	// anew, and what a changed service was before.
	Look     string          `json:"look,omitempty"`
	Doubt    string          `json:"doubt,omitempty"`
	DoubtAt  time.Time       `json:"doubt_at,omitzero"`
	Settles  time.Time       `json:"settles,omitzero"`
	Baseline *ServiceProfile `json:"baseline,omitempty"`

	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// MaxDriftHistory bounds Drift.History.
const MaxDriftHistory = 40

// DriftStep is one step of a drift's history.
type DriftStep struct {
	At   time.Time `json:"at"`
	Who  string    `json:"who"`  // a user, or "fengsui"
	What string    `json:"what"` // a state, a decision, overdue, still_seen
	Why  string    `json:"why,omitempty"`
}

// ServiceProfile is what a service is known by.
type ServiceProfile struct {
	Name        string `json:"name,omitempty"`
	Product     string `json:"product,omitempty"`
	Version     string `json:"version,omitempty"`
	Certificate string `json:"certificate,omitempty"` // SHA-256
	Issuer      string `json:"issuer,omitempty"`
	Names       string `json:"names,omitempty"` // of the certificate, sorted, with spaces between
}

// DriftWorkState is what people say of a drift.
type DriftWorkState string

// The states of work. None of them closes a drift that is still seen.
const (
	WorkAcknowledged DriftWorkState = "acknowledged"
	WorkFixed        DriftWorkState = "fixed"     // a scan is asked for, and only a clean one closes it
	WorkAccepted     DriftWorkState = "accepted"  // until a time; a change is accepted for good
	WorkRequested    DriftWorkState = "requested" // an entry on the whitelist was asked for
)

// DriftWork is a decision as far as it stays with the drift.
type DriftWork struct {
	State    DriftWorkState `json:"state"`
	By       string         `json:"by"`
	At       time.Time      `json:"at"`
	Assignee string         `json:"assignee,omitempty"`
	Until    time.Time      `json:"until,omitzero"`
	Note     string         `json:"note,omitempty"`
}

// DriftDecision is a record of the registry: the newest decision about a drift.
type DriftDecision struct {
	Drift string `json:"drift"` // id
	Unit  string `json:"unit,omitempty"`
	DriftWork
}

// IsChange says whether a drift is a change of a service that is allowed: what is
// there now can be accepted for good.
func (k DriftKind) IsChange() bool {
	return k == ServiceChanged || k == ProductChanged || k == VersionChanged || k == CertificateChanged
}

// Entry is the whitelist entry that would allow what the drift is about; false
// when no entry can.
func (d *Drift) Entry() (w WhitelistEntry, ok bool) {
	parts := strings.Split(d.Asset, "/")
	w.Unit, w.System = d.Unit, d.System
	switch d.Kind {
	case UnlistedDomain, UnlistedHost, UnlistedPort, UnlistedService, WhitelistExpired:
	default:
		return w, false
	}
	if len(parts) == 2 && parts[0] == "domain" {
		w.Kind, w.Domain = WhitelistDomain, parts[1]
		return w, true
	}
	if len(parts) < 2 {
		return w, false
	}
	ip, err := netip.ParseAddr(parts[1])
	if err != nil {
		return w, false
	}
	w.Kind, w.Host = WhitelistHost, netip.PrefixFrom(ip, ip.BitLen())
	if len(parts) == 4 && parts[0] == "service" {
		if w.Port, err = strconv.Atoi(parts[3]); err != nil {
			return w, false
		}
		w.Kind, w.Transport = WhitelistPort, cmp.Or(parts[2], "tcp")
		w.Service, _, _ = strings.Cut(d.Observed, " ")
	}
	return w, true
}
