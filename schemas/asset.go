package schemas

import (
	"net/netip"
	"strconv"
	"time"
)

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
