package schemas

import (
	"net/netip"
	"time"
)

// EdgeKind says how one thing of the map leads to another.
type EdgeKind string

// The kinds of edge that observations show.
const (
	EdgeResolves EdgeKind = "resolves" // domain → host: an A or AAAA record
	EdgeAlias    EdgeKind = "alias"    // domain → domain: CNAME or DNAME
	EdgeNS       EdgeKind = "ns"       // domain → domain: its name server
	EdgeMX       EdgeKind = "mx"       // domain → domain: its mail server
	EdgeSRV      EdgeKind = "srv"      // domain → domain: the host of a service
	EdgePTR      EdgeKind = "ptr"      // host → domain: the name of its reverse record
	EdgeServes   EdgeKind = "serves"   // host → service
	EdgePresents EdgeKind = "presents" // service → certificate
	EdgeNames    EdgeKind = "names"    // certificate → domain: what it is good for
	EdgeRuns     EdgeKind = "runs"     // service → technology
)

// The kinds of edge that the registry says.
const (
	EdgeParent     EdgeKind = "parent"     // unit → unit below it
	EdgeOwns       EdgeKind = "owns"       // unit → network, registered domain, or asset
	EdgeOperates   EdgeKind = "operates"   // unit → system
	EdgeContains   EdgeKind = "contains"   // network → host
	EdgeRegistered EdgeKind = "registered" // system → domain, host, network or service that it is registered with
)

// Edge is one way from a thing of the map to another, as one source saw it.
// Both ends are keys: of assets, or "certificate/SHA256", "technology/NAME",
// "unit/CODE", "system/CODE", "network/PREFIX".
type Edge struct {
	From   string    `json:"from"`
	Kind   EdgeKind  `json:"kind"`
	To     string    `json:"to"`
	Source string    `json:"source,omitempty"` // as an observation's; "registry" of what the registry says
	First  time.Time `json:"first,omitzero"`
	Last   time.Time `json:"last,omitzero"`
	Count  uint64    `json:"count,omitempty"` // observations

	Offset int64 `json:"-"` // of the last observation that is counted in
}

// CertificateKey is the key of a certificate by its fingerprint.
func CertificateKey(sha256 string) string { return "certificate/" + sha256 }

// TechnologyKey is the key of a technology, whatever its version.
func TechnologyKey(name string) string { return "technology/" + name }

// UnitKey is the key of a unit.
func UnitKey(code string) string { return "unit/" + code }

// SystemKey is the key of an information system.
func SystemKey(code string) string { return "system/" + code }

// NetworkKey is the key of an address block.
func NetworkKey(p netip.Prefix) string { return "network/" + p.String() }
