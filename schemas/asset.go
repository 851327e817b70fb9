package schemas

import (
	"net/netip"
	"strconv"
	"strings"
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
	Name      string     `json:"name,omitempty"` // of a domain; of a host: what it calls itself
	IP        netip.Addr `json:"ip,omitzero"`
	MAC       string     `json:"mac,omitempty"` // of a host, the last that was seen
	Port      int        `json:"port,omitempty"`
	Transport string     `json:"transport,omitempty"`
	Alive     bool       `json:"alive"`
	Service   *Service   `json:"service,omitempty"`
	Names     []string   `json:"names,omitempty"`     // of a host: names that resolve to it, or that its PTR records say
	Reverse   []string   `json:"reverse,omitempty"`   // of a host: those of its PTR records
	Reversed  time.Time  `json:"reversed,omitzero"`   // when these were observed
	Addresses []string   `json:"addresses,omitempty"` // of a domain: what it resolves to
	Records   []Record   `json:"records,omitempty"`   // of a domain
	Sources   []string   `json:"sources,omitempty"`
	First     time.Time  `json:"first"`
	Last      time.Time  `json:"last"` // last seen alive
	Updated   time.Time  `json:"updated"`
	Since     time.Time  `json:"since,omitzero"` // since when it is what it is now: what was before is an AssetVersion

	Partition int   `json:"partition"`
	Offset    int64 `json:"offset"`
}

// Record is a DNS record set of a domain.
type Record struct {
	Type   string   `json:"type"`
	Values []string `json:"values"`
}

// AssetVersion is what an asset was from Since until Until, when it became
// something else. Texts that are long and say little (a page's header and body)
// are not in it.
type AssetVersion struct {
	Asset
	Until time.Time `json:"until"`
}

// ServiceKey is the asset key of a service.
func ServiceKey(ip netip.Addr, transport string, port int) string {
	b := appendAddr(append(make([]byte, 0, 64), "service/"...), ip)
	b = append(append(append(b, '/'), transport...), '/')
	return string(strconv.AppendInt(b, int64(port), 10))
}

// HostKey is the asset key of a host.
func HostKey(ip netip.Addr) string {
	return string(appendAddr(append(make([]byte, 0, 64), "host/"...), ip))
}

func appendAddr(b []byte, ip netip.Addr) []byte {
	if !ip.IsValid() {
		return append(b, ip.String()...)
	}
	return ip.Unmap().AppendTo(b)
}

// CanonicalName is a domain name in lower case without its final dot, as all of
// ours are held and compared; the root is "".
func CanonicalName(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// DomainKey is the asset key of a domain.
func DomainKey(name string) string { return "domain/" + name }
