package geo

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// The languages of names. English stands for names that the other lacks.
const (
	Chinese = "zh-CN"
	English = "en"
)

// maxName bounds the bytes of a name.
const maxName = 128

// Database is a MaxMind DB file in memory, with the records that were read of it.
// It may be used at the same time.
type Database struct {
	reader   *maxminddb.Reader
	language string
	read     [1 << 16]atomic.Pointer[record] // by the offset's hash; one takes another's place
}

// record is one of the file's records, which many networks share.
type record struct {
	offset uintptr
	place  Place
}

// OpenMMDB takes the bytes of a file, which must not be changed any more; they
// are not mapped, since who writes over a mapped file would end the program.
// Names are those of the language, Chinese or English. The error says
// what is wrong with the file; a sample of addresses is looked up for it.
func OpenMMDB(data []byte, language string) (*Database, error) {
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("no MaxMind DB: %w", err)
	}
	d := &Database{reader: r, language: language}
	if r.Metadata.NodeCount == 0 {
		return nil, errors.New("a MaxMind DB without networks")
	}
	for ip := range sample {
		if _, err := d.Find(ip); err != nil {
			return nil, fmt.Errorf("a damaged MaxMind DB: at %s: %w", ip, err)
		}
	}
	return d, nil
}

// sample is 512 addresses of each family, spread over all.
func sample(yield func(netip.Addr) bool) {
	for i := range uint32(1 << 9) {
		var four [4]byte
		var six [16]byte
		binary.BigEndian.PutUint32(four[:], i<<23|i*2654435761>>9)
		binary.BigEndian.PutUint64(six[:], 0x2000<<48|uint64(i)<<52)
		if !yield(netip.AddrFrom4(four)) || !yield(netip.AddrFrom16(six)) {
			return
		}
	}
}

// Built is when the file was made.
func (d *Database) Built() time.Time { return d.reader.Metadata.BuildTime() }

// Kind is what the file calls itself, such as GeoLite2-City.
func (d *Database) Kind() string { return d.reader.Metadata.DatabaseType }

// Find is what the file says of an address, nil for nothing. It must not be
// changed.
func (d *Database) Find(ip netip.Addr) (*Place, error) {
	if ip.Is6() && d.reader.Metadata.IPVersion == 4 {
		return nil, nil
	}
	result := d.reader.Lookup(ip)
	if !result.Found() {
		return nil, result.Err()
	}
	offset := result.Offset()
	at := &d.read[uint64(offset)*0x9E3779B97F4A7C15>>48]
	if r := at.Load(); r != nil && r.offset == offset {
		return &r.place, nil
	}
	p, err := d.decode(result)
	if err != nil {
		return nil, err
	}
	r := &record{offset, p}
	at.Store(r)
	return &r.place, nil
}

// decode reads a record: as the most common layout has it, which is quick, or as
// whatever it is. The library bounds what it makes of a record.
func (d *Database) decode(result maxminddb.Result) (Place, error) {
	var l layout
	err := result.Decode(&l)
	if err == nil {
		return l.place(d.language), nil
	}
	if !errors.As(err, new(maxminddb.UnmarshalTypeError)) {
		return Place{}, err
	}
	var v any
	if err := result.Decode(&v); err != nil {
		return Place{}, err
	}
	return d.placeOf(v), nil
}

// layout is what placeOf reads, where country and city are maps and regions and
// names of systems texts.
type layout struct {
	Country    country `maxminddb:"country"`
	Registered country `maxminddb:"registered_country"`
	Code       string  `maxminddb:"country_code"`
	Parts      []named `maxminddb:"subdivisions"`
	Region     string  `maxminddb:"region"`
	City       named   `maxminddb:"city"`

	Number       uint32 `maxminddb:"autonomous_system_number"`
	Organization string `maxminddb:"autonomous_system_organization"`
	ASN          string `maxminddb:"asn"`
	ASName       string `maxminddb:"as_name"`
	Name         string `maxminddb:"name"`
	Traits       struct {
		Number       uint32 `maxminddb:"autonomous_system_number"`
		Organization string `maxminddb:"autonomous_system_organization"`
	} `maxminddb:"traits"`
}

type country struct {
	Code string `maxminddb:"iso_code"`
}

type named struct {
	Names struct {
		English string `maxminddb:"en"`
		Chinese string `maxminddb:"zh-CN"`
	} `maxminddb:"names"`
}

func (n *named) in(language string) string {
	if language == Chinese && n.Names.Chinese != "" {
		return cleanName(n.Names.Chinese)
	}
	return cleanName(n.Names.English)
}

func (l *layout) place(language string) (p Place) {
	for _, code := range [...]string{l.Country.Code, l.Code, l.Registered.Code} {
		if p.Country = countryCode(code); p.Country != "" {
			break
		}
	}
	p.Region, p.City = cleanName(l.Region), l.City.in(language)
	if len(l.Parts) > 0 {
		p.Region = l.Parts[0].in(language)
	}
	switch {
	case l.Number != 0:
		p.AS, p.Organization = int64(l.Number), cleanName(l.Organization)
	case l.ASN != "":
		if p.AS = asNumber(l.ASN); p.AS != 0 {
			p.Organization = cleanName(cmp.Or(l.ASName, l.Name))
		}
	case l.Traits.Number != 0:
		p.AS, p.Organization = int64(l.Traits.Number), cleanName(l.Traits.Organization)
	}
	return p
}

// placeOf reads a record of any of the layouts:
//
//	MaxMind, DB-IP: {country: {iso_code, names}, registered_country: …, subdivisions: [{names}], city: {names}},
//	                {autonomous_system_number, autonomous_system_organization}, either also in traits
//	IPinfo:         {country: "CN", or a name beside country_code: "CN", region, city, asn: "AS4538", as_name or name}
//
// The country in which a network is registered stands for one that is unknown.
func (d *Database) placeOf(v any) (p Place) {
	m, _ := v.(map[string]any)
	traits, _ := m["traits"].(map[string]any)
	for _, c := range []any{at(m["country"], "iso_code"), m["country_code"], m["country"], at(m["registered_country"], "iso_code")} {
		if p.Country = countryCode(c); p.Country != "" {
			break
		}
	}
	p.City = d.name(m["city"])
	p.Region = text(m["region"])
	if parts, _ := m["subdivisions"].([]any); len(parts) > 0 {
		p.Region = d.name(parts[0])
	}
	switch {
	case asNumber(m["autonomous_system_number"]) != 0:
		p.AS, p.Organization = asNumber(m["autonomous_system_number"]), text(m["autonomous_system_organization"])
	case m["asn"] != nil:
		if p.AS = asNumber(m["asn"]); p.AS != 0 {
			p.Organization = cmp.Or(text(m["as_name"]), text(m["name"]))
		}
	default:
		p.AS, p.Organization = asNumber(traits["autonomous_system_number"]), text(traits["autonomous_system_organization"])
	}
	return p
}

// at is the value of a key, nil where there is none.
func at(v any, key string) any {
	m, _ := v.(map[string]any)
	return m[key]
}

// name is a place's name in the database's language: of a map of names, or the
// text itself.
func (d *Database) name(v any) string {
	names := at(v, "names")
	if names == nil {
		return text(v)
	}
	if s := text(at(names, d.language)); s != "" {
		return s
	}
	return text(at(names, English))
}

func text(v any) string {
	s, _ := v.(string)
	return cleanName(s)
}

// cleanName makes a text fit to be stored.
func cleanName(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return strings.TrimSpace(strings.ToValidUTF8(s, ""))
}

// countryCode is two letters in capitals, or nothing.
func countryCode(v any) string {
	s, _ := v.(string)
	if len(s) != 2 {
		return ""
	}
	s = strings.ToUpper(s)
	for _, c := range []byte(s) {
		if c < 'A' || c > 'Z' {
			return ""
		}
	}
	return s
}

// asNumber is a number, also where it is written "AS4538"; 0 is none (RFC 7607).
func asNumber(v any) int64 {
	switch n := v.(type) {
	case uint64:
		if n <= 1<<32-1 {
			return int64(n)
		}
	case string:
		if len(n) > 2 && strings.EqualFold(n[:2], "AS") {
			n = n[2:]
		}
		if u, err := strconv.ParseUint(n, 10, 32); err == nil {
			return int64(u)
		}
	}
	return 0
}
