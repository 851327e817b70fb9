package registry

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/miekg/dns"

	"fengsui/schemas"
)

// maxErrors bounds what one refused file says.
const maxErrors = 50

// problems collects the errors of many entries.
type problems struct {
	errs  []error
	count int
}

func (p *problems) add(where string, err error) {
	if err == nil {
		return
	}
	if p.count++; p.count <= maxErrors {
		p.errs = append(p.errs, fmt.Errorf("%s: %w", where, err))
	}
}

func (p *problems) err() error {
	if p.count > maxErrors {
		p.errs = append(p.errs, fmt.Errorf("and %d more", p.count-maxErrors))
	}
	return errors.Join(p.errs...)
}

// Check brings every entry into its one form, in place, and says what is wrong
// with it by itself (ErrInvalid). Whether what it names exists, Put sees.
func Check(c *Content) error {
	if err := c.normalise(); err != nil {
		return classified{err, ErrInvalid}
	}
	return nil
}

// normalise brings every entry into its one form and checks it by itself.
func (c *Content) normalise() error {
	var p problems
	for i := range c.Units {
		p.add(fmt.Sprintf("unit %d %q", i+1, c.Units[i].Code), normaliseUnit(&c.Units[i]))
	}
	for i := range c.Networks {
		p.add(fmt.Sprintf("network %d %q", i+1, c.Networks[i].Prefix), normaliseNetwork(&c.Networks[i]))
	}
	for i := range c.Domains {
		p.add(fmt.Sprintf("domain %d %q", i+1, c.Domains[i].Name), normaliseDomain(&c.Domains[i]))
	}
	for i := range c.Whitelist {
		p.add(fmt.Sprintf("whitelist entry %d", i+1), normaliseEntry(&c.Whitelist[i]))
	}
	for i := range c.Systems {
		p.add(fmt.Sprintf("system %d %q", i+1, c.Systems[i].Code), normaliseSystem(&c.Systems[i]))
	}
	for i := range c.Contacts {
		p.add(fmt.Sprintf("contact %d of unit %q", i+1, c.Contacts[i].Unit), normaliseContact(&c.Contacts[i]))
	}
	return p.err()
}

func normaliseUnit(u *schemas.Unit) error {
	u.Code, u.Name, u.Parent = strings.TrimSpace(u.Code), strings.TrimSpace(u.Name), strings.TrimSpace(u.Parent)
	u.Division, u.SchoolCode = strings.TrimSpace(u.Division), strings.TrimSpace(u.SchoolCode)
	switch {
	case u.Code == "":
		return errors.New("code is missing")
	case !isCode(u.Code):
		return errors.New("code may have at most 64 bytes, no space and no slash")
	case u.Name == "":
		return errors.New("name is missing")
	case u.Parent == u.Code:
		return errors.New("is its own parent")
	case u.Division != "" && !digits(u.Division, 6):
		return fmt.Errorf("division %q is not six digits (GB/T 2260)", u.Division)
	case u.SchoolCode != "" && !digits(u.SchoolCode, 10):
		return fmt.Errorf("school code %q is not ten digits (学校标识码)", u.SchoolCode)
	}
	switch u.Level {
	case schemas.Province, schemas.City, schemas.University, schemas.County, schemas.School:
		return nil
	}
	return fmt.Errorf("level %q is none of province, city, university, county, school", u.Level)
}

// isCode says whether s can be the name of something within a key.
func isCode(s string) bool {
	return s != "" && len(s) <= 64 && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r) })
}

func digits(s string, n int) bool {
	return len(s) == n && !strings.ContainsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func normaliseNetwork(n *schemas.Network) error {
	if !n.Prefix.IsValid() {
		return errors.New("prefix is missing or invalid")
	}
	n.Prefix = normalPrefix(n.Prefix)
	if n.Unit == "" {
		return errors.New("unit is missing")
	}
	return nil
}

func normalPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

func normaliseDomain(d *schemas.Domain) error {
	d.Name = normalName(d.Name)
	if d.Unit == "" {
		return errors.New("unit is missing")
	}
	return checkName(d.Name)
}

func normalName(s string) string {
	return strings.ToLower(strings.TrimSuffix(strings.TrimSpace(s), "."))
}

func checkName(name string) error {
	if labels, ok := dns.IsDomainName(name); name == "" || !ok || labels < 2 {
		return fmt.Errorf("%q is no domain name", name)
	}
	return nil
}

func normaliseEntry(w *schemas.WhitelistEntry) error {
	for _, text := range []*string{&w.System, &w.Reason, &w.AskedBy, &w.ApprovedBy} {
		*text = strings.TrimSpace(*text)
	}
	if w.Unit == "" {
		return errors.New("unit is missing")
	}
	if !w.From.IsZero() && !w.Until.IsZero() && !w.From.Before(w.Until) {
		return fmt.Errorf("ends (%s) before it begins (%s)", w.Until.Format(time.DateOnly), w.From.Format(time.DateOnly))
	}
	switch w.Kind {
	case schemas.WhitelistDomain:
		w.Domain = normalName(w.Domain)
		w.Host, w.Port, w.Transport, w.Service = netip.Prefix{}, 0, "", ""
		return checkName(strings.TrimPrefix(w.Domain, "*."))
	case schemas.WhitelistHost, schemas.WhitelistPort:
		if !w.Host.IsValid() {
			return fmt.Errorf("a %s entry needs a host", w.Kind)
		}
		w.Host, w.Domain = normalPrefix(w.Host), ""
		if w.Kind == schemas.WhitelistHost {
			w.Port, w.Transport, w.Service = 0, "", ""
			return nil
		}
		w.Transport = cmp.Or(strings.ToLower(w.Transport), "tcp")
		if w.Port < 1 || w.Port > 65535 {
			return fmt.Errorf("port %d is not between 1 and 65535", w.Port)
		}
		if w.Transport != "tcp" && w.Transport != "udp" {
			return fmt.Errorf("transport %q is neither tcp nor udp", w.Transport)
		}
		w.Service = strings.ToLower(w.Service)
		return nil
	}
	return fmt.Errorf("kind %q is none of domain, host, port", w.Kind)
}

// checkTree checks that every unit that is named exists, before (parent: code to
// that of the unit above) or in c, and that the units form a forest.
func checkTree(parent map[string]string, c *Content) error {
	for _, u := range c.Units {
		parent[u.Code] = u.Parent
	}
	var p problems
	exists := func(where, code string) {
		if _, ok := parent[code]; !ok {
			p.add(where, fmt.Errorf("unit %q is not in the registry", code))
		}
	}
	for _, u := range c.Units {
		if u.Parent != "" {
			exists("unit "+u.Code, u.Parent)
		}
		p.add("unit "+u.Code, checkNoCycle(u.Code, parent))
	}
	for _, n := range c.Networks {
		exists("network "+n.Prefix.String(), n.Unit)
	}
	for _, d := range c.Domains {
		exists("domain "+d.Name, d.Unit)
	}
	for i := range c.Systems {
		exists("system "+c.Systems[i].Code, c.Systems[i].Unit)
	}
	for i := range c.Contacts {
		exists("contact "+c.Contacts[i].Key(), c.Contacts[i].Unit)
	}
	for i := range c.Whitelist {
		exists("whitelist entry "+c.Whitelist[i].Key(), c.Whitelist[i].Unit)
	}
	return p.err()
}

func checkNoCycle(code string, parent map[string]string) error {
	at := code
	for range len(parent) + 1 {
		if at = parent[at]; at == "" {
			return nil
		}
		if at == code {
			return errors.New("is below itself")
		}
	}
	return nil // a cycle above code is reported at its own units
}
