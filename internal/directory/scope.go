package directory

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/gaissmai/bart"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

// ErrOutOfScope says that the registry does not authorise a target.
var ErrOutOfScope = errors.New("out of scope")

// ErrOutOfHours says that the registry authorises a target, and not now.
var ErrOutOfHours = errors.New("out of hours")

// policies is how what may be scanned is scanned.
type policies struct {
	excluded      bart.Table[*schemas.Network]
	excludedNames map[string]*schemas.Domain
	hours         map[string]hours.Hours // by their text
}

func (p *policies) network(n *schemas.Network) {
	for _, e := range n.Exclude {
		p.excluded.Insert(e, n)
	}
	p.remember(n.Hours)
}

func (p *policies) domain(d *schemas.Domain) {
	for _, name := range d.Exclude {
		if p.excludedNames == nil {
			p.excludedNames = map[string]*schemas.Domain{}
		}
		p.excludedNames[name] = d
	}
	p.remember(d.Hours)
}

func (p *policies) remember(text string) {
	if p.hours == nil {
		p.hours = map[string]hours.Hours{}
	}
	h, err := hours.Parse(text)
	if err != nil {
		panic(fmt.Errorf("directory: hours of a record that was checked: %w", err))
	}
	p.hours[text] = h
}

func checkNetwork(n *schemas.Network) error {
	if err := checkPrefix("network", n.Prefix); err != nil {
		return err
	}
	for _, e := range n.Exclude {
		if err := checkPrefix("exclusion", e); err != nil {
			return fmt.Errorf("network %s: %w", n.Prefix, err)
		}
	}
	return checkPolicy("network "+n.Prefix.String(), n.Hours, n.Rate, n.HostRate)
}

func checkDomain(d *schemas.Domain) error {
	for _, name := range append([]string{d.Name}, d.Exclude...) {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return checkPolicy("domain "+d.Name, d.Hours, d.Rate)
}

func checkPolicy(what, text string, rates ...int) error {
	if _, err := hours.Parse(text); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if slices.Min(rates) < 0 {
		return fmt.Errorf("%s: a rate is below 0", what)
	}
	return nil
}

// MayScan is nil when packets may be sent to the address, in its hours: the most
// specific network that holds it is registered for scanning, and no network
// excludes it. Otherwise it is an ErrOutOfScope that says why.
func (s *Snapshot) MayScan(ip netip.Addr) error {
	ip = plain(ip)
	if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() {
		return fmt.Errorf("%w: %s is not a host's address", ErrOutOfScope, ip)
	}
	if n, ok := s.excluded.Lookup(ip); ok {
		return fmt.Errorf("%w: %s is excluded in %s of unit %q", ErrOutOfScope, ip, n.Prefix, n.Unit)
	}
	n, ok := s.networks.Lookup(ip)
	if !ok {
		return fmt.Errorf("%w: %s is in no registered network", ErrOutOfScope, ip)
	}
	return mayScan(n, netip.PrefixFrom(ip, ip.BitLen()))
}

// MayScanAt is MayScan, and an ErrOutOfHours when the network's hours do not
// allow it at that moment.
func (s *Snapshot) MayScanAt(ip netip.Addr, at time.Time) error {
	if err := s.MayScan(ip); err != nil {
		return err
	}
	n, _ := s.networks.Lookup(plain(ip))
	return s.inHours("network "+n.Prefix.String(), n.Hours, at)
}

func mayScan(n *schemas.Network, p netip.Prefix) error {
	if !n.Scan {
		return fmt.Errorf("%w: %s is in %s of unit %q, which is not authorised for scanning", ErrOutOfScope, what(p), n.Prefix, n.Unit)
	}
	return nil
}

func what(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func (s *Snapshot) inHours(what, text string, at time.Time) error {
	if h := s.hours[text]; !h.Open(at) {
		return fmt.Errorf("%w: %s may be scanned at %s, next from %s", ErrOutOfHours, what, h, h.Next(at).Format(time.RFC3339))
	}
	return nil
}

// MayScanPrefix is nil when every address of the block may be scanned. The
// block may lie in several networks that fill it without a gap.
func (s *Snapshot) MayScanPrefix(p netip.Prefix) error {
	return s.eachNetwork(p, mayScan)
}

// MayScanPrefixAt is MayScanPrefix, and an ErrOutOfHours when the hours of one of
// the networks do not allow it at that moment.
func (s *Snapshot) MayScanPrefixAt(p netip.Prefix, at time.Time) error {
	if err := s.MayScanPrefix(p); err != nil {
		return err
	}
	return s.eachNetwork(p, func(n *schemas.Network, _ netip.Prefix) error {
		return s.inHours("network "+n.Prefix.String(), n.Hours, at)
	})
}

// NetworksOf is the networks that decide for the addresses of a block, in its
// order, each once. It is an error where the block holds an address that is in none.
func (s *Snapshot) NetworksOf(p netip.Prefix) (out []schemas.Network, err error) {
	err = s.eachNetwork(p, func(n *schemas.Network, _ netip.Prefix) error {
		if !slices.ContainsFunc(out, func(o schemas.Network) bool { return o.Prefix == n.Prefix }) {
			out = append(out, *n)
		}
		return nil
	})
	return out, err
}

// Exclusions is every address block that no scan touches.
func (s *Snapshot) Exclusions() []netip.Prefix {
	var out []netip.Prefix
	for p := range s.excluded.AllSorted() {
		out = append(out, p)
	}
	return out
}

// neverHosts are the addresses that MayScan refuses whatever is registered.
var neverHosts = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/32"), netip.MustParsePrefix("224.0.0.0/4"),
	netip.MustParsePrefix("::/128"), netip.MustParsePrefix("ff00::/8"),
}

// eachNetwork calls f with each network that decides for a part of the block, and
// that part, until it returns an error. A block that holds an excluded address,
// or one of no network, is an error itself.
func (s *Snapshot) eachNetwork(p netip.Prefix, f func(*schemas.Network, netip.Prefix) error) error {
	if !p.IsValid() || p.Addr().Is4In6() {
		return fmt.Errorf("%w: %s is not an address block", ErrOutOfScope, p)
	}
	p = p.Masked()
	for _, never := range neverHosts {
		if p.Overlaps(never) {
			return fmt.Errorf("%w: %s holds addresses of %s, which are not hosts'", ErrOutOfScope, p, never)
		}
	}
	if s.excluded.OverlapsPrefix(p) {
		return fmt.Errorf("%w: %s holds excluded addresses", ErrOutOfScope, p)
	}
	return s.eachPart(p, f)
}

// eachPart halves the block while registered networks lie inside it, so it takes
// at most 128 steps for each of them.
func (s *Snapshot) eachPart(p netip.Prefix, f func(*schemas.Network, netip.Prefix) error) error {
	for inner := range s.networks.Subnets(p) {
		if inner.Bits() == p.Bits() {
			continue
		}
		low, high := halves(p)
		if err := s.eachPart(low, f); err != nil {
			return err
		}
		return s.eachPart(high, f)
	}
	n, ok := s.networks.LookupPrefix(p)
	if !ok {
		return fmt.Errorf("%w: %s is in no registered network", ErrOutOfScope, p)
	}
	return f(n, p)
}

func halves(p netip.Prefix) (low, high netip.Prefix) {
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	upper, _ := netip.AddrFromSlice(bytes)
	return netip.PrefixFrom(p.Addr(), p.Bits()+1), netip.PrefixFrom(upper, p.Bits()+1)
}

// MayResolve is nil when the name may be asked about, in its hours: the most
// specific registered domain above it, or itself, is registered for scanning, and
// no domain excludes it or a name above it.
func (s *Snapshot) MayResolve(name string) error {
	d, ok := s.DomainOf(name)
	if !ok {
		return fmt.Errorf("%w: %s is in no registered domain", ErrOutOfScope, name)
	}
	if !d.Scan {
		return fmt.Errorf("%w: %s is in %s of unit %q, which is not authorised for scanning", ErrOutOfScope, name, d.Name, d.Unit)
	}
	for above := range upwards(schemas.CanonicalName(name)) {
		if by := s.excludedNames[above]; by != nil {
			return fmt.Errorf("%w: %s is excluded in %s of unit %q", ErrOutOfScope, name, by.Name, by.Unit)
		}
	}
	return nil
}

// MayResolveAt is MayResolve, and an ErrOutOfHours when the domain's hours do not
// allow it at that moment.
func (s *Snapshot) MayResolveAt(name string, at time.Time) error {
	if err := s.MayResolve(name); err != nil {
		return err
	}
	d, _ := s.DomainOf(name)
	return s.inHours("domain "+d.Name, d.Hours, at)
}

// NextHours is the first moment from a time on at which all of the hours are open
// at once; zero if there is none within two weeks.
func NextHours(at time.Time, texts ...string) time.Time {
	all := make([]hours.Hours, 0, len(texts))
	for _, text := range texts {
		h, err := hours.Parse(text)
		if err != nil {
			return time.Time{}
		}
		all = append(all, h)
	}
	limit := at.Add(14 * 24 * time.Hour)
	for moved := true; moved; {
		moved = false
		for _, h := range all {
			if next := h.Next(at); next.After(at) {
				at, moved = next, true
			}
		}
		if at.After(limit) {
			return time.Time{}
		}
	}
	return at
}
