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

	"fengsui/internal/hours"
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
	if err != nil {
		p.keep(fmt.Errorf("%s: %w", where, err))
	}
}

func (p *problems) keep(err error) {
	if p.count++; p.count <= maxErrors {
		p.errs = append(p.errs, err)
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
		p.at(c, "units", i, fmt.Sprintf("unit %d %q", i+1, c.Units[i].Code), normaliseUnit(&c.Units[i]))
	}
	for i := range c.Networks {
		p.at(c, "networks", i, fmt.Sprintf("network %d %q", i+1, c.Networks[i].Prefix), normaliseNetwork(&c.Networks[i]))
	}
	for i := range c.Domains {
		p.at(c, "domains", i, fmt.Sprintf("domain %d %q", i+1, c.Domains[i].Name), normaliseDomain(&c.Domains[i]))
	}
	for i := range c.Whitelist {
		p.at(c, "whitelist", i, fmt.Sprintf("whitelist entry %d", i+1), normaliseEntry(&c.Whitelist[i]))
	}
	for i := range c.Systems {
		p.at(c, "systems", i, fmt.Sprintf("system %d %q", i+1, c.Systems[i].Code), normaliseSystem(&c.Systems[i]))
	}
	for i := range c.Contacts {
		p.at(c, "contacts", i, fmt.Sprintf("contact %d of unit %q", i+1, c.Contacts[i].Unit), normaliseContact(&c.Contacts[i]))
	}
	return p.err()
}

func normaliseUnit(u *schemas.Unit) error {
	u.Code, u.Name, u.Parent = strings.TrimSpace(u.Code), strings.TrimSpace(u.Name), strings.TrimSpace(u.Parent)
	u.Division, u.SchoolCode = strings.TrimSpace(u.Division), strings.TrimSpace(u.SchoolCode)
	switch {
	case u.Code == "":
		return bad("code", "code is missing", "缺少代码")
	case !isCode(u.Code):
		return bad("code", "code may have at most 64 bytes, no space and no slash", "代码最长 64 字节，不能含空格与斜杠")
	case u.Name == "":
		return bad("name", "name is missing", "缺少名称")
	case u.Parent == u.Code:
		return bad("parent", "is its own parent", "上级单位是它自己")
	case u.Division != "" && !digits(u.Division, 6):
		return bad("division", "division %q is not six digits (GB/T 2260)", "行政区划代码 %q 不是六位数字", u.Division)
	case u.SchoolCode != "" && !digits(u.SchoolCode, 10):
		return bad("school_code", "school code %q is not ten digits", "学校标识码 %q 不是十位数字", u.SchoolCode)
	}
	switch u.Level {
	case schemas.Province, schemas.City, schemas.University, schemas.County, schemas.School:
		return nil
	}
	return bad("level", "level %q is none of province, city, university, county, school", "级别 %q 不是省、市、高校、县、学校之一", u.Level)
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
		return bad("prefix", "prefix is missing or invalid", "缺少网段，或网段无效")
	}
	n.Prefix = normalPrefix(n.Prefix)
	if n.Unit == "" {
		return bad("unit", "unit is missing", "缺少单位代码")
	}
	return normalisePolicy(n)
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
		return bad("unit", "unit is missing", "缺少单位代码")
	}
	if err := checkName("name", d.Name); err != nil {
		return err
	}
	return normaliseQuestions(d)
}

func normalName(s string) string {
	return schemas.NameInDNS(strings.TrimSpace(s))
}

// checkName also refuses what is pasted for a name and is an address of a page, or
// has a port: nothing that is seen would ever be equal to it.
func checkName(column, name string) error {
	labels, ok := dns.IsDomainName(name)
	if !ok || labels < 2 || strings.ContainsFunc(name, notInName) {
		return bad(column, "%q is no domain name", "%q 不是域名", name)
	}
	return nil
}

func notInName(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
}

func normaliseEntry(w *schemas.WhitelistEntry) error {
	for _, text := range []*string{&w.System, &w.Reason, &w.AskedBy, &w.ApprovedBy} {
		*text = strings.TrimSpace(*text)
	}
	if w.Unit == "" {
		return bad("unit", "unit is missing", "缺少单位代码")
	}
	if !w.From.IsZero() && !w.Until.IsZero() && !w.From.Before(w.Until) {
		return bad("until", "ends (%s) before it begins (%s)", "失效日期 %s 早于生效日期 %s", w.Until.In(hours.Zone).Format(time.DateOnly), w.From.In(hours.Zone).Format(time.DateOnly))
	}
	switch w.Kind {
	case schemas.WhitelistDomain:
		w.Domain = normalName(w.Domain)
		w.Host, w.Port, w.Transport, w.Service = netip.Prefix{}, 0, "", ""
		return checkName("domain", strings.TrimPrefix(w.Domain, "*."))
	case schemas.WhitelistHost, schemas.WhitelistPort:
		if !w.Host.IsValid() {
			return bad("host", "a %s entry needs a host", "类型为 %s 的条目须填主机", w.Kind)
		}
		w.Host, w.Domain = normalPrefix(w.Host), ""
		if w.Kind == schemas.WhitelistHost {
			w.Port, w.Transport, w.Service = 0, "", ""
			return nil
		}
		w.Transport = cmp.Or(strings.ToLower(w.Transport), "tcp")
		if w.Port < 1 || w.Port > 65535 {
			return bad("port", "port %d is not between 1 and 65535", "端口 %d 不在 1 至 65535 之间", w.Port)
		}
		if w.Transport != "tcp" && w.Transport != "udp" {
			return bad("transport", "transport %q is neither tcp nor udp", "协议 %q 不是 tcp 或 udp", w.Transport)
		}
		w.Service = strings.ToLower(w.Service)
		return nil
	}
	return bad("kind", "kind %q is none of domain, host, port", "类型 %q 不是域名、主机、端口之一", w.Kind)
}

// checkTree checks that every unit that is named exists, before (parent: code to
// that of the unit above) or in c, and that the units form a forest.
func checkTree(parent map[string]string, c *Content) error {
	for _, u := range c.Units {
		parent[u.Code] = u.Parent
	}
	var p problems
	exists := func(kind string, i int, label, column, code string) {
		if _, ok := parent[code]; !ok {
			p.at(c, kind, i, label, bad(column, "unit %q is not in the registry", "台账中没有单位 %q", code))
		}
	}
	for i, u := range c.Units {
		if u.Parent != "" {
			exists("units", i, "unit "+u.Code, "parent", u.Parent)
		}
		p.at(c, "units", i, "unit "+u.Code, checkNoCycle(u.Code, parent))
	}
	for i, n := range c.Networks {
		exists("networks", i, "network "+n.Prefix.String(), "unit", n.Unit)
	}
	for i, d := range c.Domains {
		exists("domains", i, "domain "+d.Name, "unit", d.Unit)
	}
	for i := range c.Systems {
		exists("systems", i, "system "+c.Systems[i].Code, "unit", c.Systems[i].Unit)
	}
	for i := range c.Contacts {
		exists("contacts", i, "contact "+c.Contacts[i].Key(), "unit", c.Contacts[i].Unit)
	}
	for i := range c.Whitelist {
		exists("whitelist", i, "whitelist entry "+c.Whitelist[i].Key(), "unit", c.Whitelist[i].Unit)
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
			return bad("parent", "is below itself", "上级单位成环")
		}
	}
	return nil // a cycle above code is reported at its own units
}
