package schemas

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// SystemState is where an information system is in its life.
type SystemState string

// The states.
const (
	SystemApplied    SystemState = "applied"    // asked for, not yet approved
	SystemRegistered SystemState = "registered" // approved and in use
	SystemChanged    SystemState = "changed"    // in use, with a change that is not yet approved
	SystemSuspended  SystemState = "suspended"  // off for a time: nothing should answer
	SystemRetired    SystemState = "retired"    // off for good
)

// Hosting is where a system runs.
type Hosting string

// The kinds of hosting.
const (
	HostingOwn            Hosting = "own"
	HostingEducationCloud Hosting = "education_cloud"
	HostingPublicCloud    Hosting = "public_cloud"
)

// System is an information system as far as others than the registry need to
// know it: whose an address, a name or a port is, and how much it matters.
type System struct {
	Code     string      `json:"code" yaml:"code"` // unique
	Name     string      `json:"name" yaml:"name"`
	Unit     string      `json:"unit" yaml:"unit"`
	State    SystemState `json:"state" yaml:"state"`
	Level    int         `json:"level,omitempty" yaml:"level,omitempty"`       // of classified protection (等级保护), 1 to 5; 0 is not determined
	Critical bool        `json:"critical,omitempty" yaml:"critical,omitempty"` // critical information infrastructure (关键信息基础设施)
	ICP      string      `json:"icp,omitempty" yaml:"icp,omitempty"`           // number of the ICP filing (ICP备案号)
	Hosting  Hosting     `json:"hosting" yaml:"hosting"`

	Domains   []string       `json:"domains,omitempty" yaml:"domains,omitempty"`     // names, or "*.name" for all below one
	Addresses []netip.Prefix `json:"addresses,omitempty" yaml:"addresses,omitempty"` // an address is a /32 or /128
	Ports     []PortName     `json:"ports,omitempty" yaml:"ports,omitempty"`         // of its addresses; none: all that no other system there names
}

// PortName is a port of a transport, written 443/tcp.
type PortName struct {
	Port      int
	Transport string // tcp or udp
}

// String implements fmt.Stringer.
func (p PortName) String() string { return strconv.Itoa(p.Port) + "/" + p.Transport }

// MarshalText implements encoding.TextMarshaler.
func (p PortName) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler; without a transport it is tcp.
func (p *PortName) UnmarshalText(text []byte) error {
	number, transport, given := strings.Cut(strings.ToLower(strings.TrimSpace(string(text))), "/")
	n, err := strconv.Atoi(number)
	if err != nil || n < 1 || n > 65535 {
		return fmt.Errorf("port %q is not between 1 and 65535", number)
	}
	if !given {
		transport = "tcp"
	}
	if transport != "tcp" && transport != "udp" {
		return fmt.Errorf("port %q: transport is neither tcp nor udp", text)
	}
	*p = PortName{n, transport}
	return nil
}
