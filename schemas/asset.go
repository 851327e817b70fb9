package schemas

import (
	"net/netip"
	"strconv"
	"time"
)

// ObservationKind says what was looked at.
type ObservationKind string

// The kinds of observation.
const (
	ObservedName  ObservationKind = "name"  // a name and one of its record sets
	ObservedHost  ObservationKind = "host"  // an address answers, or does not
	ObservedPort  ObservationKind = "port"  // a port is open, with what runs there, or is closed
	ObservedSweep ObservationKind = "sweep" // these ports of an address were looked at: those without a port observation of the same shard are closed
	ObservedDone  ObservationKind = "done"  // a shard was worked through; Name is its job and shard
)

// Observation is one fact that a scanner or a log saw, at one time. It never
// judges. ID is from job, shard, kind and key, so a repeated shard repeats it.
type Observation struct {
	ID      string          `json:"id"`
	Kind    ObservationKind `json:"kind"`
	Time    time.Time       `json:"time"`
	Source  string          `json:"source"` // "scan", or the dataset of a log
	Job     string          `json:"job,omitempty"`
	Shard   string          `json:"shard,omitempty"`
	Scanner string          `json:"scanner,omitempty"`
	Unit    string          `json:"unit,omitempty"`

	// Name, RecordType and Values: an ObservedName. No values with RCode
	// NXDOMAIN or NOERROR says that there is no such record.
	Name       string   `json:"name,omitempty"` // lower case, no final dot
	RecordType string   `json:"record_type,omitempty"`
	Values     []string `json:"values,omitempty"`
	RCode      string   `json:"rcode,omitempty"`

	// IP and the rest: host, port and sweep.
	IP        netip.Addr `json:"ip,omitzero"`
	Port      int        `json:"port,omitempty"`
	Transport string     `json:"transport,omitempty"` // tcp or udp
	Open      bool       `json:"open,omitempty"`      // port open, host up
	Ports     string     `json:"ports,omitempty"`     // of a sweep, as "22,80,1000-2000"
	Service   *Service   `json:"service,omitempty"`
}

// Key is the Kafka key: the host or name that the observation is about.
func (o *Observation) Key() string {
	if o.Kind == ObservedName || o.Kind == ObservedDone {
		return o.Name
	}
	return o.IP.String()
}

// Service is what answered on an open port.
type Service struct {
	Name    string `json:"name,omitempty"` // IANA's service name: ssh, http, https, domain, redis …
	Product string `json:"product,omitempty"`
	Version string `json:"version,omitempty"`
	Banner  string `json:"banner,omitempty"` // printable, at most 512 bytes
	TLS     *TLS   `json:"tls,omitempty"`
	HTTP    *HTTP  `json:"http,omitempty"`
}

// TLS is what a TLS handshake showed.
type TLS struct {
	Version   string    `json:"version"`
	Cipher    string    `json:"cipher,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	Issuer    string    `json:"issuer,omitempty"`
	Names     []string  `json:"names,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	NotAfter  time.Time `json:"not_after,omitzero"`
	SHA256    string    `json:"sha256,omitempty"`
}

// HTTP is what the first page showed.
type HTTP struct {
	Status int    `json:"status"`
	Title  string `json:"title,omitempty"`
	Server string `json:"server,omitempty"`
}

// AssetKind says what an asset is.
type AssetKind string

// The kinds of asset.
const (
	AssetDomain  AssetKind = "domain"
	AssetHost    AssetKind = "host"
	AssetService AssetKind = "service"
)

// Asset is an entry of the asset map: the fold of all observations of one
// domain, host or service. The same key with a higher Version replaces it.
type Asset struct {
	Key       string     `json:"key"` // "domain/www.example.edu.cn", "host/192.0.2.1", "service/192.0.2.1/tcp/80"
	Version   uint64     `json:"version"`
	Kind      AssetKind  `json:"kind"`
	Unit      string     `json:"unit,omitempty"`
	Name      string     `json:"name,omitempty"`
	IP        netip.Addr `json:"ip,omitzero"`
	Port      int        `json:"port,omitempty"`
	Transport string     `json:"transport,omitempty"`
	Alive     bool       `json:"alive"`
	Service   *Service   `json:"service,omitempty"`
	Names     []string   `json:"names,omitempty"`     // of a host: names that resolve to it
	Addresses []string   `json:"addresses,omitempty"` // of a domain: what it resolves to
	Records   []Record   `json:"records,omitempty"`   // of a domain
	Sources   []string   `json:"sources,omitempty"`
	First     time.Time  `json:"first"`
	Last      time.Time  `json:"last"` // last seen alive
	Updated   time.Time  `json:"updated"`

	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// Record is a DNS record set of a domain.
type Record struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

// ServiceKey is the asset key of a service.
func ServiceKey(ip netip.Addr, transport string, port int) string {
	return "service/" + ip.Unmap().String() + "/" + transport + "/" + strconv.Itoa(port)
}

// HostKey is the asset key of a host.
func HostKey(ip netip.Addr) string { return "host/" + ip.Unmap().String() }

// DomainKey is the asset key of a domain.
func DomainKey(name string) string { return "domain/" + name }

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
}
