package geo

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"unicode/utf8"

	"github.com/gaissmai/bart"
)

// maxNetworks bounds the lines of a file.
const maxNetworks = 1_000_000

// Networks are those that the operator has listed. It may be used at the same
// time.
type Networks struct {
	table bart.Table[*Place]
	size  int
}

// columns are the names of the columns, by what they say.
var columns = map[string]func(*Place, string) error{
	"network": nil,
	"country": func(p *Place, s string) error {
		if p.Country = countryCode(s); p.Country == "" {
			return fmt.Errorf("country %q is no code of two letters (ISO 3166-1)", s)
		}
		return nil
	},
	"region": func(p *Place, s string) error { p.Region = s; return nil },
	"city":   func(p *Place, s string) error { p.City = s; return nil },
	"asn": func(p *Place, s string) error {
		if p.AS = asNumber(s); p.AS == 0 {
			return fmt.Errorf("asn %q is no number of an autonomous system", s)
		}
		return nil
	},
	"organization": func(p *Place, s string) error { p.Organization = s; return nil },
}

// inChinese are the same columns as a table in Chinese heads them.
var inChinese = map[string]string{
	"网段": "network", "地址段": "network", "国家": "country", "省份": "region", "城市": "city", "自治系统": "asn", "机构": "organization",
}

// ReadCSV reads a table whose first line names the columns: network (a prefix or
// one address) and any of country, region, city, asn and organization, in English
// or Chinese. A line that begins with # says nothing. The most specific network
// that holds an address counts. Any mistake is an error, which names its line.
func ReadCSV(data []byte) (*Networks, error) {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if !utf8.Valid(data) {
		return nil, errors.New("the file is not UTF-8")
	}
	r := csv.NewReader(bytes.NewReader(data))
	r.Comment, r.TrimLeadingSpace, r.ReuseRecord = '#', true, true
	head, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("the line that names the columns: %w", err)
	}
	names, err := columnsOf(head)
	if err != nil {
		return nil, err
	}
	n := &Networks{}
	for {
		fields, err := r.Read()
		if errors.Is(err, io.EOF) {
			return n, nil
		}
		if err != nil {
			return nil, err // it says where
		}
		line, _ := r.FieldPos(0)
		if n.size == maxNetworks {
			return nil, fmt.Errorf("line %d: more than %d networks", line, maxNetworks)
		}
		if err := n.add(names, fields); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

func columnsOf(head []string) ([]string, error) {
	var names []string
	has := map[string]bool{}
	for _, h := range head {
		name := strings.ToLower(strings.TrimSpace(h))
		if english, ok := inChinese[name]; ok {
			name = english
		}
		if _, ok := columns[name]; !ok {
			return nil, fmt.Errorf("column %q is none of network, country, region, city, asn, organization (网段、国家、省份、城市、自治系统、机构)", h)
		}
		if has[name] {
			return nil, fmt.Errorf("column %q is there twice", h)
		}
		has[name] = true
		names = append(names, name)
	}
	if !has["network"] {
		return nil, errors.New("no column is called network (网段)")
	}
	return names, nil
}

func (n *Networks) add(names, fields []string) error {
	var prefix netip.Prefix
	p := &Place{}
	for i, name := range names {
		field := cleanName(strings.Clone(fields[i])) // the reader uses its memory again
		if name == "network" {
			var err error
			if prefix, err = parseNetwork(field); err != nil {
				return err
			}
			continue
		}
		if field == "" {
			continue
		}
		if err := columns[name](p, field); err != nil {
			return err
		}
	}
	if p.Country == "" && p.Region+p.City != "" {
		return fmt.Errorf("network %s has a region or city and no country", prefix)
	}
	if p.AS == 0 && p.Organization != "" {
		return fmt.Errorf("network %s has an organization and no asn", prefix)
	}
	if _, twice := n.table.Get(prefix); twice {
		return fmt.Errorf("network %s is listed twice", prefix)
	}
	n.table.Insert(prefix, p)
	n.size++
	return nil
}

func parseNetwork(s string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("network %q is neither a prefix nor an address", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("network %s has bits beyond its mask; %s is meant", p, p.Masked())
	}
	return p, nil
}

// Len is how many networks are listed.
func (n *Networks) Len() int { return n.size }

// Find is what the table says of an address, nil for nothing. It must not be
// changed.
func (n *Networks) Find(ip netip.Addr) *Place {
	p, _ := n.table.Lookup(ip)
	return p
}
