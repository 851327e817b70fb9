// Package sweep is how the scanner has ports swept: the request and the answers
// of the helpers, both sides of the pipe between, and the parent's part that
// starts, bounds and kills them. Fengsui-sweep makes whole connections;
// fengsui-syn sends SYN packets.
//
// A helper is a process of its own so that killing it ends all that it sends,
// whatever it is doing; of the library in fengsui-syn nothing else does. This
// package sends no packet itself and never starts a helper without an allow-list.
package sweep

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"fengsui/scanner/portset"
)

// Mode is how a port is probed.
type Mode string

// The modes: whole connections, which need no privilege, or single SYN packets,
// which need CAP_NET_RAW.
const (
	Connect Mode = "connect"
	SYN     Mode = "syn"
)

// The limits of one request.
const (
	MaxProbes  = 1 << 20 // addresses × ports
	MaxRate    = 200_000 // probes a second
	MaxSYNRate = 10_000  // the same of SYN packets; beyond it answers are lost
	MaxRetries = 5
	MaxList    = 1 << 16 // targets, scope and exclusions each
	MinTimeout = 500 * time.Millisecond
	MaxTimeout = 10 * time.Second
	MaxLine    = 16 << 20 // bytes of a request
)

// Discovery is what is sent to find out which addresses have a host, before
// their ports are swept.
type Discovery string

// The ways. Auto leaves out what is surely nobody's: addresses of an own link
// for which nobody answers ARP or neighbour discovery; whoever answers an echo is
// noted, and the rest swept none the less. Quick leaves out whatever shows no sign
// of life, so that a sparse block takes a fraction of the time, and a host that
// hides is missed. Off sends nothing but the sweep.
const (
	Auto  Discovery = "auto"
	Quick Discovery = "quick"
	Off   Discovery = "off"
)

// ErrRefused is what a request that must not be carried out is refused with.
var ErrRefused = errors.New("sweep refused")

// Request is one shard, as one line of JSON on the helper's standard input.
// The line is followed by nothing: the helper ends when its input ends.
type Request struct {
	Targets []netip.Prefix `json:"targets"`           // all IPv4 or all IPv6
	Scope   []netip.Prefix `json:"scope"`             // nothing outside may be sent to
	Exclude []netip.Prefix `json:"exclude,omitempty"` // nor to these, unless Scope names something more specific
	Ports   string         `json:"ports"`             // as portset.Parse reads it
	Rate    int            `json:"rate"`              // probes a second
	// HostRate and NetworkRate bound what one address, and what one IPv4 /24 or
	// IPv6 /64, gets in a second; 0 is no bound of its own. Connect mode only.
	HostRate    int  `json:"host_rate,omitempty"`
	NetworkRate int  `json:"network_rate,omitempty"`
	Mode        Mode `json:"mode"`
	Retries     int  `json:"retries"`    // passes: in SYN mode over everything, else over what may have been lost
	Timeout     int  `json:"timeout_ms"` // for one connection; the kernel repeats its SYN after one second
	// Discovery is off when empty. In SYN mode over IPv4 either other way leaves
	// out addresses that answer neither ICMP nor TCP on 80 and 443: a sparse block
	// takes minutes without.
	Discovery Discovery `json:"discovery,omitempty"`
}

// Shard is a request that was checked.
type Shard struct {
	Request
	ports  portset.Set
	probes int
}

// Check refuses, with ErrRefused, whatever is malformed, beyond the limits or
// not wholly inside the request's own scope.
func (r Request) Check() (*Shard, error) {
	s := &Shard{Request: r}
	var err error
	if s.ports, err = portset.Parse(r.Ports); err != nil {
		return nil, refuse("%v", err)
	}
	switch {
	case len(r.Scope) == 0:
		return nil, refuse("no scope is given")
	case len(r.Targets) == 0:
		return nil, refuse("no targets are given")
	case len(r.Targets) > MaxList, len(r.Scope) > MaxList, len(r.Exclude) > MaxList:
		return nil, refuse("more than %d targets, networks or exclusions", MaxList)
	case r.Rate < 1 || r.Rate > MaxRate:
		return nil, refuse("rate %d is not 1 to %d", r.Rate, MaxRate)
	case r.Mode == SYN && r.Rate > MaxSYNRate:
		return nil, refuse("rate %d is not 1 to %d", r.Rate, MaxSYNRate)
	case r.HostRate < 0 || r.HostRate > MaxRate, r.NetworkRate < 0 || r.NetworkRate > MaxRate:
		return nil, refuse("rate %d of a host or %d of a network is not 0 to %d", r.HostRate, r.NetworkRate, MaxRate)
	case r.Discovery != "" && r.Discovery != Auto && r.Discovery != Quick && r.Discovery != Off:
		return nil, refuse("discovery %.20q is not %s, %s or %s", r.Discovery, Auto, Quick, Off)
	case r.Retries < 1 || r.Retries > MaxRetries:
		return nil, refuse("retries %d is not 1 to %d", r.Retries, MaxRetries)
	case r.timeout() < MinTimeout || r.timeout() > MaxTimeout:
		return nil, refuse("timeout %v is not %v to %v", r.timeout(), MinTimeout, MaxTimeout)
	case r.Mode != Connect && r.Mode != SYN:
		return nil, refuse("mode %.20q is neither %s nor %s", r.Mode, Connect, SYN)
	}
	for _, p := range append(append([]netip.Prefix(nil), r.Scope...), r.Exclude...) {
		if !canonical(p) {
			return nil, refuse("scope %s is not an address block", p)
		}
	}
	addresses := 0
	for _, p := range r.Targets {
		if !canonical(p) {
			return nil, refuse("target %s is not an address block", p)
		}
		if p.Addr().Is4() != r.Targets[0].Addr().Is4() {
			return nil, refuse("targets of both families")
		}
		free := p.Addr().BitLen() - p.Bits()
		if free > 20 {
			return nil, refuse("target %s is too large", p)
		}
		if addresses += 1 << free; addresses*s.ports.Len() > MaxProbes {
			return nil, refuse("more than %d probes", MaxProbes)
		}
		if !r.authorised(p) {
			return nil, refuse("target %s is outside the scope", p)
		}
	}
	s.probes = addresses * s.ports.Len()
	return s, nil
}

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrRefused, fmt.Sprintf(format, args...))
}

func canonical(p netip.Prefix) bool {
	return p.IsValid() && p == p.Masked() && !p.Addr().Is4In6() && !p.Addr().IsMulticast() &&
		(p.Bits() > 0 && !p.Addr().IsUnspecified())
}

func (r *Request) timeout() time.Duration { return time.Duration(r.Timeout) * time.Millisecond }

// authorised says whether every address of the block is in the scope. The most
// specific block of scope and exclusions around an address decides for it, as
// the registry's networks do; where both name the same block, the exclusion wins.
func (r *Request) authorised(p netip.Prefix) bool {
	best, allowed, inside := -1, false, false
	look := func(blocks []netip.Prefix, allows bool) {
		for _, b := range blocks {
			switch {
			case !b.Overlaps(p):
			case b.Bits() > p.Bits():
				inside = true
			case b.Bits() >= best:
				best, allowed = b.Bits(), allows
			}
		}
	}
	look(r.Scope, true)
	look(r.Exclude, false) // second, so that it wins
	if !inside {
		return allowed
	}
	low, high := Halves(p)
	return r.authorised(low) && r.authorised(high)
}

// Halves are the two blocks that a block is made of. It must not be a single
// address.
func Halves(p netip.Prefix) (low, high netip.Prefix) {
	b := p.Addr().AsSlice()
	b[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(b) // of the same length, so always right
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
}

// Asked says whether a result is one of what was asked for.
func (s *Shard) Asked(ip netip.Addr, port int) bool {
	if !s.ports.Contains(port) {
		return false
	}
	for _, t := range s.Targets {
		if t.Contains(ip) {
			return true
		}
	}
	return false
}

// MayName says whether a host may be reported: one that was asked for, or one in
// the scope that showed itself on an own link.
func (s *Shard) MayName(ip netip.Addr) bool {
	return ip.IsValid() && !ip.Is4In6() && ip.Zone() == "" && s.Authorised(netip.PrefixFrom(ip, ip.BitLen()))
}

// Authorised says whether every address of a block is in the scope.
func (s *Shard) Authorised(p netip.Prefix) bool { return canonical(p) && s.authorised(p) }

// Addresses is every address asked for, once, in order.
func (s *Shard) Addresses() []netip.Addr {
	var out []netip.Addr
	for _, p := range s.Targets {
		for ip := p.Addr(); ip.IsValid() && p.Contains(ip); ip = ip.Next() {
			out = append(out, ip)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

// PortNumbers is the ports asked for, in order.
func (s *Shard) PortNumbers() []uint16 {
	var out []uint16
	for p := range s.ports.Each() {
		out = append(out, uint16(p))
	}
	return out
}

// PortList is the set of ports asked for, shortest.
func (s *Shard) PortList() string { return s.ports.String() }

// Probes is addresses × ports; each is sent Retries times at most.
func (s *Shard) Probes() int { return s.probes }

// Line is a line of a helper's standard output: an open port, a host that showed
// itself, the end, or an error.
type Line struct {
	IP     netip.Addr `json:"ip,omitzero"`
	Port   int        `json:"port,omitempty"` // open
	Up     bool       `json:"up,omitempty"`   // the host is there; Method and MAC say how that is known
	Method string     `json:"method,omitempty"`
	MAC    string     `json:"mac,omitempty"`
	Done   bool       `json:"done,omitempty"`
	Error  string     `json:"error,omitempty"`
	*Result
}

// Result is how a sweep went, in the last line.
type Result struct {
	Probes int  `json:"probes,omitempty"` // asked for
	Mode   Mode `json:"mode,omitempty"`   // what was really done
	// What connect mode tells besides.
	Sent   int `json:"sent,omitempty"`   // connections that were begun
	Silent int `json:"silent,omitempty"` // ports without an answer in the end
	Late   int `json:"late,omitempty"`   // answers to a repeated SYN: the network drops
	Again  int `json:"again,omitempty"`  // probes that repeated a silent one
	Gone   int `json:"gone,omitempty"`   // addresses left out after discovery
	Stalls int `json:"stalls,omitempty"` // times that the machine had no socket left
	Lowest int `json:"lowest,omitempty"` // the rate that it was lowered to
}
