package registry

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"fengsui/internal/hours"
	"fengsui/schemas"
)

// The limits of what may be said of how something is scanned.
const (
	maxExclusions = 1000
	maxPerSecond  = 1_000_000
)

// normalisePolicy brings how a network is scanned into its one form.
func normalisePolicy(n *schemas.Network) error {
	if len(n.Exclude) > maxExclusions {
		return bad("exclude", "has more than %d exclusions", "排除的地址多于 %d 个", maxExclusions)
	}
	for i, p := range n.Exclude {
		if !p.IsValid() {
			return bad("exclude", "an excluded address is invalid", "排除的地址无效")
		}
		p = normalPrefix(p)
		if p.Bits() < n.Prefix.Bits() || !n.Prefix.Contains(p.Addr()) {
			return bad("exclude", "%s is not inside %s", "%s 不在 %s 之内", p, n.Prefix)
		}
		n.Exclude[i] = p
	}
	slices.SortFunc(n.Exclude, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	n.Exclude = slices.Compact(n.Exclude)
	if err := perSecond("rate", n.Rate); err != nil {
		return err
	}
	if err := perSecond("host_rate", n.HostRate); err != nil {
		return err
	}
	return normaliseHours(&n.Hours)
}

// normaliseQuestions is normalisePolicy of a domain.
func normaliseQuestions(d *schemas.Domain) error {
	if len(d.Exclude) > maxExclusions {
		return bad("exclude", "has more than %d exclusions", "排除的名称多于 %d 个", maxExclusions)
	}
	for i, name := range d.Exclude {
		name = normalName(name)
		if err := checkName("exclude", name); err != nil {
			return err
		}
		if name != d.Name && !strings.HasSuffix(name, "."+d.Name) {
			return bad("exclude", "%s is not below %s", "%s 不在 %s 之下", name, d.Name)
		}
		d.Exclude[i] = name
	}
	slices.Sort(d.Exclude)
	d.Exclude = slices.Compact(d.Exclude)
	if err := perSecond("rate", d.Rate); err != nil {
		return err
	}
	return normaliseHours(&d.Hours)
}

func normaliseHours(text *string) error {
	h, err := hours.Parse(*text)
	if err != nil {
		return bad("hours", "%v", "扫描时段无效，应如 22:00-06:00 或“周一至周五 22:00-06:00；周六、周日”：%v", err)
	}
	*text = h.String()
	return nil
}

func perSecond(column string, n int) error {
	if n < 0 || n > maxPerSecond {
		return bad(column, "rate %d is not between 0 and %d", "速率 %d 不在 0 至 %d 之间", n, maxPerSecond)
	}
	return nil
}

// prefixes reads a cell of several address blocks.
func prefixes(column, s string) (out []netip.Prefix, err error) {
	for _, text := range fields(s) {
		p, err := prefix(column, text)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

func addressList(all []netip.Prefix) string {
	out := make([]string, len(all))
	for i, p := range all {
		out[i] = p.String()
		if p.IsSingleIP() {
			out[i] = p.Addr().String()
		}
	}
	return strings.Join(out, "\n")
}

// perSecondOf reads a cell of a rate.
func perSecondOf(column, s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, bad(column, "rate %q is not a number", "速率 %q 不是数字", s)
	}
	return n, nil
}

func positive(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}
