package geo

import (
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
// Names are those of the language, of English where it has none. The error says
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

// sample is 4096 addresses of each family, spread over all.
func sample(yield func(netip.Addr) bool) {
	for i := range uint32(1 << 12) {
		var four [4]byte
		var six [16]byte
		binary.BigEndian.PutUint32(four[:], i<<20|i*2654435761>>12)
		binary.BigEndian.PutUint64(six[:], 0x2000<<48|uint64(i)<<49)
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
	var v any // its decoder bounds what it makes
	if err := result.Decode(&v); err != nil {
		return nil, err
	}
	r := &record{offset, d.placeOf(v)}
	at.Store(r)
	return &r.place, nil
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
	for _, from := range []map[string]any{m, traits} {
		if p.AS != 0 {
			break
		}
		if p.AS = asNumber(from["autonomous_system_number"]); p.AS != 0 {
			p.Organization = text(from["autonomous_system_organization"])
		} else if p.AS = asNumber(from["asn"]); p.AS != 0 {
			if p.Organization = text(from["as_name"]); p.Organization == "" {
				p.Organization = text(from["name"])
			}
		}
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
	return text(at(names, "en"))
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
