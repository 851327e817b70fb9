package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

const (
	maxScope   = 64   // address blocks and names that one may ask for
	maxLeftOut = 1000 // that are told of
)

// Refused is what is wrong with a request, and with which part of it.
type Refused struct {
	Field  string // "unit", "scope", "ports" or "rate"
	Zh, En string
	Err    error // what it is, if it is known by a name
}

// Error implements error.
func (r *Refused) Error() string {
	return r.Zh + " / " + r.En
}

// Unwrap is what it is.
func (r *Refused) Unwrap() error { return r.Err }

// refuse makes one. Both texts have the same arguments, by number.
func refuse(field, zh, en string, args ...any) *Refused {
	return &Refused{Field: field, Zh: fmt.Sprintf(zh, args...), En: fmt.Sprintf(en, args...)}
}

// scope is the part of a unit that somebody asks for.
type scope struct {
	all    bool
	blocks []netip.Prefix // disjoint
	names  []string       // each with all below it
}

func readScope(texts []string) (scope, error) {
	if len(texts) > maxScope {
		return scope{}, refuse("scope", "多于 %d 项", "more than %d address blocks and names", maxScope)
	}
	s := scope{all: len(texts) == 0}
	var errs error
	for _, text := range texts {
		if !s.read(strings.TrimSpace(text)) {
			errs = errors.Join(errs, refuse("scope", "%q 不是地址、网段或域名", "%q is no address, address block or domain name", text))
		}
	}
	slices.SortFunc(s.blocks, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var disjoint []netip.Prefix
	for _, b := range s.blocks {
		if !slices.ContainsFunc(disjoint, b.Overlaps) {
			disjoint = append(disjoint, b)
		}
	}
	s.blocks = disjoint
	return s, errs
}

func (s *scope) read(text string) bool {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		s.blocks = append(s.blocks, netip.PrefixFrom(ip, ip.BitLen()))
		return true
	}
	if p, err := netip.ParsePrefix(text); err == nil && !p.Addr().Is4In6() {
		s.blocks = append(s.blocks, p.Masked())
		return true
	}
	name := schemas.NameInDNS(text)
	if labels, ok := dns.IsDomainName(name); !ok || labels < 2 || strings.ContainsAny(name, " /:*") || strings.Trim(name, "0123456789.") == "" {
		return false
	}
	s.names = append(s.names, name)
	return true
}

// parts is what is asked for of a network.
func (s *scope) parts(network netip.Prefix) []netip.Prefix {
	if s.all {
		return []netip.Prefix{network}
	}
	var out []netip.Prefix
	for _, b := range s.blocks {
		switch {
		case !b.Overlaps(network):
		case b.Bits() >= network.Bits():
			out = append(out, b)
		default:
			out = append(out, network)
		}
	}
	return out
}

func (s *scope) overlaps(block netip.Prefix) bool {
	return s.all || slices.ContainsFunc(s.blocks, block.Overlaps)
}

func (s *scope) holds(ip netip.Addr) bool {
	return s.all || slices.ContainsFunc(s.blocks, func(b netip.Prefix) bool { return b.Contains(ip) })
}

// has says whether a name is asked for: itself, or one above it.
func (s *scope) has(name string) bool {
	return s.all || slices.ContainsFunc(s.names, func(n string) bool { return isBelow(name, n) })
}

func isBelow(name, above string) bool {
	return name == above || strings.HasSuffix(name, "."+above)
}

// unfound is a Refused for each thing that was asked for and has nothing in it that
// may be looked at.
func (p *planner) unfound() error {
	var errs error
	for _, b := range p.scope.blocks {
		if !slices.ContainsFunc(p.networks, func(g *group) bool {
			return slices.ContainsFunc(g.blocks, b.Overlaps) || slices.ContainsFunc(g.singles, b.Contains)
		}) {
			errs = errors.Join(errs, p.whyNoBlock(b))
		}
	}
	for _, n := range p.scope.names {
		if !slices.ContainsFunc(p.domains, func(g *group) bool {
			return slices.ContainsFunc(g.names, func(name string) bool { return isBelow(name, n) })
		}) {
			errs = errors.Join(errs, p.whyNoName(n))
		}
	}
	return errs
}

func (p *planner) whyNoBlock(b netip.Prefix) error {
	if inside, ok := p.inside(b); ok {
		if inside.Scan {
			return p.whyNoBlock(inside.Prefix)
		}
		return out("%[1]s 中的网段 %[2]s 未授权扫描", "%[2]s, which is in %[1]s, is not authorised for scanning", b, inside.Prefix)
	}
	of, registered := p.snap.NetworkOf(b.Addr())
	text := strings.TrimSuffix(strings.TrimSuffix(b.String(), "/32"), "/128")
	var r *Refused
	switch {
	case !registered:
		r = refuse("scope", "%s 不在已登记的网段内", "%s is in no registered network", text)
	case !p.snap.Under(of.Unit, p.request.Unit):
		r = refuse("scope", "%s 不属于单位 %s 及其下级", "%s is not of unit %s or one below it", text, p.request.Unit)
	case slices.ContainsFunc(p.snap.Exclusions(), func(e netip.Prefix) bool { return e.Bits() <= b.Bits() && e.Overlaps(b) }):
		r = refuse("scope", "%s 被排除在扫描之外", "%s is excluded from scans", text)
	case !of.Scan:
		r = refuse("scope", "%s 所在的网段 %s 未授权扫描", "%s is in %s, which is not authorised for scanning", text, of.Prefix)
	case b.Addr().Is6() && b.Bits() < sweepable6:
		r = refuse("scope", "IPv6 网段 %s 太大，只扫描已知的地址，而其中没有", "%s is an IPv6 block too large to sweep, and no address in it is known", text)
	default:
		r = refuse("scope", "%s 中没有可扫描的地址", "no address of %s may be scanned", text)
	}
	r.Err = directory.ErrOutOfScope
	return r
}

// inside is a network of the unit that is a part of a block: of several one that is
// authorised, since that one has a reason of its own.
func (p *planner) inside(b netip.Prefix) (found schemas.Network, ok bool) {
	for _, n := range p.snap.Networks(p.request.Unit, true) {
		if n.Prefix.Bits() > b.Bits() && n.Prefix.Overlaps(b) && (!ok || n.Scan) {
			found, ok = n, true
		}
	}
	return found, ok
}

// out is a Refused of what lies outside of the authorised scope.
func out(zh, en string, args ...any) error {
	r := refuse("scope", zh, en, args...)
	r.Err = directory.ErrOutOfScope
	return r
}

func (p *planner) whyNoName(name string) error {
	d, registered := p.snap.DomainOf(name)
	var r *Refused
	switch {
	case !registered:
		r = refuse("scope", "%s 不在已登记的域名之下", "%s is below no registered domain", name)
	case !p.snap.Under(d.Unit, p.request.Unit):
		r = refuse("scope", "%s 不属于单位 %s 及其下级", "%s is not of unit %s or one below it", name, p.request.Unit)
	case !d.Scan:
		r = refuse("scope", "%s 所在的域名 %s 未授权扫描", "%s is in %s, which is not authorised for scanning", name, d.Name)
	default:
		r = refuse("scope", "%s 被排除在扫描之外", "%s is excluded from scans", name)
	}
	r.Err = directory.ErrOutOfScope
	return r
}

// LeftOut is what of a unit and those below it, or of the part of it that is asked
// for, no scan looks at, and why: at most a thousand.
func LeftOut(snap *directory.Snapshot, unit string, asked []string) ([]schemas.ScanLeftOut, error) {
	s, err := readScope(asked)
	if err != nil {
		return nil, err
	}
	out := []schemas.ScanLeftOut{}
	leave := func(what string, why schemas.ScanLeftWhy) {
		if one := (schemas.ScanLeftOut{What: what, Why: why}); len(out) < maxLeftOut && !slices.Contains(out, one) {
			out = append(out, one)
		}
	}
	for _, n := range snap.Networks(unit, true) {
		for _, part := range s.parts(n.Prefix) {
			switch {
			case !n.Scan:
				leave(part.String(), schemas.LeftUnauthorised)
			case part.Addr().Is6() && part.Bits() < sweepable6:
				leave(part.String(), schemas.LeftTooLarge)
			}
			if n.Scan {
				leaveInside(snap, unit, n.Prefix, part, leave)
			}
		}
	}
	for _, d := range snap.Domains(unit, true) {
		if !s.has(d.Name) {
			continue
		}
		if !d.Scan {
			leave(d.Name, schemas.LeftUnauthorised)
		}
		for _, name := range d.Exclude {
			leave(name, schemas.LeftExcluded)
		}
		for _, other := range snap.AllDomains() {
			if isBelow(other.Name, d.Name) && !snap.Under(other.Unit, unit) {
				leave(other.Name, schemas.LeftOthers)
			}
		}
	}
	return out, nil
}

// leaveInside tells what is excluded in a part of a network, and what of it is of
// others.
func leaveInside(snap *directory.Snapshot, unit string, network, part netip.Prefix, leave func(string, schemas.ScanLeftWhy)) {
	smaller := func(p netip.Prefix) string {
		if p.Bits() < part.Bits() {
			return part.String()
		}
		return p.String()
	}
	for _, e := range snap.Exclusions() {
		if e.Overlaps(part) {
			leave(smaller(e), schemas.LeftExcluded)
		}
	}
	for _, other := range snap.AllNetworks() {
		if other.Prefix.Bits() > network.Bits() && other.Prefix.Overlaps(part) && !snap.Under(other.Unit, unit) {
			leave(smaller(other.Prefix), schemas.LeftOthers)
		}
	}
}
