package schemas

import (
	"net/netip"
	"strconv"
	"time"
)

// RegistryRecord is a value of the compacted topic registry: exactly one of its
// members is set. Its key is kind/id; a deletion is an empty value.
type RegistryRecord struct {
	Unit      *Unit           `json:"unit,omitempty"`
	Network   *Network        `json:"network,omitempty"`
	Domain    *Domain         `json:"domain,omitempty"`
	Whitelist *WhitelistEntry `json:"whitelist,omitempty"`
	System    *System         `json:"system,omitempty"`
	Decision  *DriftDecision  `json:"decision,omitempty"`
	// Ready marks the end of a whole publication: a reader that has seen it
	// knows the registry, even an empty one.
	Ready *RegistryReady `json:"ready,omitempty"`
}

// RegistryReady is a mark in the stream.
type RegistryReady struct {
	Version uint64 `json:"version"`
}

// UnitLevel is a unit's place in the tree.
type UnitLevel string

// The levels of unit.
const (
	Province   UnitLevel = "province"
	City       UnitLevel = "city"
	University UnitLevel = "university"
	County     UnitLevel = "county"
	School     UnitLevel = "school"
)

// Unit is an organisation that owns assets.
type Unit struct {
	Code   string    `json:"code" yaml:"code"` // unique
	Name   string    `json:"name" yaml:"name"`
	Level  UnitLevel `json:"level" yaml:"level"`
	Parent string    `json:"parent,omitempty" yaml:"parent,omitempty"` // code; empty only for the root

	Division   string `json:"division,omitempty" yaml:"division,omitempty"`       // where it is: the national division code (GB/T 2260), six digits
	SchoolCode string `json:"school_code,omitempty" yaml:"school_code,omitempty"` // of a school or university: the ministry's code (学校标识码), ten digits
}

// Network is an address block that belongs to a unit. With Scan it is also
// authorised to be scanned, in the way that the rest says.
type Network struct {
	Prefix netip.Prefix `json:"prefix" yaml:"prefix"` // unique
	Unit   string       `json:"unit" yaml:"unit"`
	Name   string       `json:"name,omitempty" yaml:"name,omitempty"`
	Scan   bool         `json:"scan" yaml:"scan"`

	Exclude  []netip.Prefix `json:"exclude,omitempty" yaml:"exclude,omitempty"`     // parts that are never scanned, whatever network inside them says
	Hours    string         `json:"hours,omitempty" yaml:"hours,omitempty"`         // when it may be scanned, as internal/hours reads it; empty: always
	Rate     int            `json:"rate,omitempty" yaml:"rate,omitempty"`           // packets a second into it, of all scanners together; 0: as many as they send
	HostRate int            `json:"host_rate,omitempty" yaml:"host_rate,omitempty"` // packets a second to one of its addresses
}

// Domain is a domain that belongs to a unit, with every name under it. With
// Scan it may be asked about, in the way that the rest says.
type Domain struct {
	Name string `json:"name" yaml:"name"` // lower case, no final dot; unique
	Unit string `json:"unit" yaml:"unit"`
	Scan bool   `json:"scan" yaml:"scan"`

	Exclude []string `json:"exclude,omitempty" yaml:"exclude,omitempty"` // names that are never asked about, each with all below it
	Hours   string   `json:"hours,omitempty" yaml:"hours,omitempty"`
	Rate    int      `json:"rate,omitempty" yaml:"rate,omitempty"` // questions a second about it, of all scanners together
}

// WhitelistKind is what an entry allows.
type WhitelistKind string

// The kinds of whitelist entry.
const (
	WhitelistDomain WhitelistKind = "domain"
	WhitelistHost   WhitelistKind = "host"
	WhitelistPort   WhitelistKind = "port"
)

// WhitelistEntry allows a domain, a host or a port. ID is its natural key,
// as made by Key.
type WhitelistEntry struct {
	Kind      WhitelistKind `json:"kind" yaml:"kind"`
	Domain    string        `json:"domain,omitempty" yaml:"domain,omitempty"` // a name, or "*.name" for all below it
	Host      netip.Prefix  `json:"host,omitzero" yaml:"host"`                // no omitempty: yaml.v3 takes every netip.Prefix for empty. An address is a /32 or /128
	Port      int           `json:"port,omitempty" yaml:"port,omitempty"`
	Transport string        `json:"transport,omitempty" yaml:"transport,omitempty"` // tcp by default
	Service   string        `json:"service,omitempty" yaml:"service,omitempty"`     // expected service name; empty is any
	Unit      string        `json:"unit" yaml:"unit"`
	System    string        `json:"system,omitempty" yaml:"system,omitempty"` // code of the information system that needs it
	Reason    string        `json:"reason,omitempty" yaml:"reason,omitempty"`
	From      time.Time     `json:"from,omitzero" yaml:"from,omitempty"`
	Until     time.Time     `json:"until,omitzero" yaml:"until,omitempty"` // zero: no end

	AskedBy    string `json:"asked_by,omitempty" yaml:"asked_by,omitempty"`       // user names
	ApprovedBy string `json:"approved_by,omitempty" yaml:"approved_by,omitempty"` // the same person, where one alone has done it
}

// Key is the entry's natural key within the registry.
func (w *WhitelistEntry) Key() string {
	switch w.Kind {
	case WhitelistDomain:
		return "domain/" + w.Domain
	case WhitelistPort:
		return "port/" + w.Host.String() + "/" + w.Transport + "/" + strconv.Itoa(w.Port)
	default:
		return "host/" + w.Host.String()
	}
}

// In says whether the entry is in force at t.
func (w *WhitelistEntry) In(t time.Time) bool {
	return (w.From.IsZero() || !t.Before(w.From)) && (w.Until.IsZero() || t.Before(w.Until))
}
