// Package assets folds observations into the asset map: which names, hosts and
// services there are, what runs on them, what leads from one to another, and
// when they were last seen.
//
// It is pure: observations come in with their place in the topic, and the only
// time it knows is theirs. It never scans, never reads a topic or a database,
// and never says whether an asset should be there: that is drift's judgement.
//
// Observations may come repeated and out of order. A fact is only replaced by
// one that was observed later; only a scan can say that something is gone.
//
// The map is made for ten million services in one memory: keys are not stored
// but written when they are asked for, texts that repeat are held once, and of a
// service the long texts (a page's header and body) are held as a hash. Who
// writes an asset that is Lean fills them in from where they were written last.
package assets

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"fengsui/schemas"
)

// SourceScan is the source of observations that a scanner made. All others are
// passive: they say what is there, never what is not.
const SourceScan = "scan"

// Config bounds the map.
type Config struct {
	// Max is how many assets it holds. What is beyond is not taken in, and counted.
	Max int `koanf:"max"`
}

// DefaultConfig is for ten million services with their hosts and names.
func DefaultConfig() Config { return Config{Max: 20_000_000} }

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Max < 1 {
		return errors.New("max must be above zero")
	}
	return nil
}

// The bounds of one asset. What is beyond them is not taken in, and counted.
const (
	maxServices = 4096 // of one host
	maxTypes    = 16   // record types of one domain
	maxValues   = 64   // of one record set
	maxNames    = 64   // of one host
	maxSources  = 16
	maxSwept    = 16 // sets of ports of one host
	maxSets     = 1024
)

// unknownShard is how long before a sweep a service may have been seen, in a
// shard that a restart has forgotten, and not be called closed by that sweep.
const unknownShard = time.Hour

// Map is the asset map. It must be given every partition of the topic, since a
// name and its address lie in different ones. It is not safe for concurrent use.
type Map struct {
	max     int
	size    int
	places  map[netip.Addr]*place
	domains map[string]*domain
	sets    map[string]*portSet
	sources map[string]*sourceSet
	docs    docs
	dropped uint64

	// The shard of the observation before: those of one come together.
	job, shard string
	shardName  text
}

// text is a text that many assets share; the zero value is the empty one.
type text = unique.Handle[string]

func textOf(s string) text {
	if s == "" {
		return text{}
	}
	return unique.Make(s)
}

func stringOf(t text) string {
	if t == (text{}) {
		return ""
	}
	return t.Value()
}

// moment is a time in nanoseconds since 1970; 0 is none, and what was before
// 1970 is its first.
type moment int64

var lastMoment = time.Unix(0, 1<<63-1)

func momentOf(t time.Time) moment {
	switch {
	case t.IsZero():
		return 0
	case t.After(lastMoment):
		return 1<<63 - 1
	case t.Unix() < 0:
		return 1
	}
	return max(1, moment(t.UnixNano()))
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(m)).UTC()
}

// sourceSet is the sources of an asset, in order. It is never changed.
type sourceSet struct{ names []string }

func (s *sourceSet) list() []string {
	if s == nil {
		return nil
	}
	return s.names
}

// base is what every asset has.
type base struct {
	first, last, updated, since moment
	offset                      int64
	unit                        text
	sources                     *sourceSet
	version                     uint32 // 0: there is no such asset
	partition                   uint16
	alive                       bool
	udp                         bool // of a service
}

// service is a service of an address.
type service struct {
	base
	doc   *doc
	shard text // the shard that last saw it open
	port  uint16
}

// host is an address that was seen to answer.
type host struct {
	base
	name, mac string
	names     []string
	reverse   []string // those of its PTR records
	reversed  moment   // when these were observed
}

// domain is a name.
type domain struct {
	base
	name    string
	records []schemas.Record // never changed, but replaced
	types   []recordTime
}

// recordTime is when a record set was observed.
type recordTime struct {
	kind string
	at   moment
}

func (d *domain) observed(kind string) moment {
	for _, t := range d.types {
		if t.kind == kind {
			return t.at
		}
	}
	return 0
}

func (d *domain) observe(kind string, at moment) {
	for i := range d.types {
		if d.types[i].kind == kind {
			d.types[i].at = at
			return
		}
	}
	if len(d.types) < maxTypes {
		d.types = append(d.types, recordTime{strings.Clone(kind), at})
	}
}

// place is an address and what belongs to it, whether or not a host was seen there.
type place struct {
	host
	ip       netip.Addr
	services []service // by transport and port
	domains  []string  // names that resolve to it, in order
	swept    []swept   // the newest sweep of each set of ports
	began    text      // the shard whose host observation came last, and with it all that the shard saw here
}

// swept is a sweep that was taken in: what is said to have been open before it
// arrived too late.
type swept struct {
	at    moment
	shard text
	ports *portSet
}

// portSet is a parsed set of ports; all addresses of a shard share one.
type portSet struct {
	transport string
	ports     Ports
}

// portSet returns the set that is written so, or nil when it cannot be read.
func (m *Map) portSet(transport, spec string) *portSet {
	key := transport + " " + spec
	if s, ok := m.sets[key]; ok {
		return s
	}
	ports, err := ParsePorts(spec)
	if err != nil {
		return nil
	}
	if len(m.sets) >= maxSets {
		clear(m.sets)
	}
	s := &portSet{transport, ports}
	m.sets[key] = s
	return s
}

// NewMap makes an empty map.
func NewMap() *Map { return NewMapWith(DefaultConfig()) }

// NewMapWith makes an empty map within bounds.
func NewMapWith(cfg Config) *Map {
	return &Map{
		max: cfg.Max, places: map[netip.Addr]*place{}, domains: map[string]*domain{},
		sets: map[string]*portSet{}, sources: map[string]*sourceSet{}, docs: newDocs(),
	}
}

// Len is the number of assets.
func (m *Map) Len() int { return m.size }

// Dropped counts the assets that were not taken in to keep within bounds.
func (m *Map) Dropped() uint64 { return m.dropped }

// Get returns an asset by its key. Of a service it has what the map holds.
func (m *Map) Get(key string) (schemas.Asset, bool) {
	kind, rest, _ := strings.Cut(key, "/")
	if kind == string(schemas.AssetDomain) {
		d := m.domains[rest]
		if d == nil {
			return schemas.Asset{}, false
		}
		return d.asset(), true
	}
	address, rest, _ := strings.Cut(rest, "/")
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return schemas.Asset{}, false
	}
	p := m.places[ip.Unmap()]
	if p == nil {
		return schemas.Asset{}, false
	}
	if kind == string(schemas.AssetHost) {
		return p.asset(), p.version > 0
	}
	transport, number, _ := strings.Cut(rest, "/")
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return schemas.Asset{}, false
	}
	if i, known := p.find(transport == "udp", uint16(port)); known {
		return p.services[i].asset(p.ip), true
	}
	return schemas.Asset{}, false
}

// All gives every asset, in no order.
func (m *Map) All(yield func(schemas.Asset) bool) {
	for _, d := range m.domains {
		if !yield(d.asset()) {
			return
		}
	}
	for _, p := range m.places {
		if p.version > 0 && !yield(p.asset()) {
			return
		}
		for i := range p.services {
			if !yield(p.services[i].asset(p.ip)) {
				return
			}
		}
	}
}

func (b *base) asset() schemas.Asset {
	return schemas.Asset{
		Version: uint64(b.version), Unit: stringOf(b.unit), Alive: b.alive, Sources: slices.Clone(b.sources.list()),
		First: b.first.time(), Last: b.last.time(), Updated: b.updated.time(), Since: b.since.time(),
		Partition: int(b.partition), Offset: b.offset,
	}
}

func (s *service) transport() string {
	if s.udp {
		return "udp"
	}
	return "tcp"
}

func (s *service) asset(ip netip.Addr) schemas.Asset {
	a := s.base.asset()
	a.Kind, a.IP, a.Port, a.Transport = schemas.AssetService, ip, int(s.port), s.transport()
	a.Key = schemas.ServiceKey(ip, a.Transport, a.Port)
	a.Service = s.doc.copy()
	return a
}

func (p *place) asset() schemas.Asset {
	a := p.base.asset()
	a.Kind, a.IP, a.Name, a.MAC, a.Names = schemas.AssetHost, p.ip, p.name, p.mac, slices.Clone(p.names)
	a.Reverse, a.Reversed = slices.Clone(p.reverse), p.reversed.time()
	a.Key = schemas.HostKey(p.ip)
	return a
}

func (d *domain) asset() schemas.Asset {
	a := d.base.asset()
	a.Kind, a.Name, a.Records, a.Addresses = schemas.AssetDomain, d.name, slices.Clone(d.records), addresses(d.records)
	a.Key = schemas.DomainKey(d.name)
	return a
}

// at finds or makes an address's place; nil when there are too many.
func (m *Map) at(ip netip.Addr) *place {
	ip = ip.Unmap()
	p := m.places[ip]
	if p == nil {
		if len(m.places) >= m.max {
			m.dropped++
			return nil
		}
		p = &place{ip: ip}
		m.places[ip] = p
	}
	return p
}

// room says whether another asset may be taken in.
func (m *Map) room() bool {
	if m.size >= m.max {
		m.dropped++
		return false
	}
	m.size++
	return true
}

// find is where a service is, or belongs.
func (p *place) find(udp bool, port uint16) (int, bool) {
	return slices.BinarySearchFunc(p.services, portOrder(udp, port), func(s service, want uint32) int {
		return cmp.Compare(portOrder(s.udp, s.port), want)
	})
}

// portOrder is the order of an address's services.
func portOrder(udp bool, port uint16) uint32 {
	if udp {
		return 1<<16 | uint32(port)
	}
	return uint32(port)
}

// insert makes room for a service. A slice that doubles would waste more than
// it saves: most hosts have few.
func (p *place) insert(i int, s service) {
	if len(p.services) == cap(p.services) {
		grown := make([]service, len(p.services), len(p.services)+max(2, len(p.services)/4))
		copy(grown, p.services)
		p.services = grown
	}
	p.services = slices.Insert(p.services, i, s)
}

// with is a set of sources with another.
func (m *Map) with(s *sourceSet, source string) *sourceSet {
	known := s.list()
	at, has := slices.BinarySearch(known, source)
	if has || len(known) >= maxSources {
		return s
	}
	return m.sourceSet(slices.Insert(slices.Clone(known), at, strings.Clone(source)))
}

func (m *Map) sourceSet(names []string) *sourceSet {
	if len(names) == 0 {
		return nil
	}
	key := strings.Join(names, "\x00")
	if s := m.sources[key]; s != nil {
		return s
	}
	if len(m.sources) >= maxSets {
		clear(m.sources)
	}
	s := &sourceSet{names}
	m.sources[key] = s
	return s
}

// Seed puts back the assets that were written before a restart.
func (m *Map) Seed(assets []schemas.Asset) {
	for i := range assets {
		m.Put(&assets[i])
	}
	m.Settle()
}

// Put puts one asset back that was written before a restart. After the last,
// Settle is to be called.
func (m *Map) Put(a *schemas.Asset) {
	b := base{
		first: momentOf(a.First), last: momentOf(a.Last), updated: momentOf(a.Updated), since: momentOf(a.Since), offset: a.Offset,
		unit: textOf(a.Unit), sources: m.sourceSet(slices.Clone(a.Sources)), version: uint32(min(max(a.Version, 1), 1<<32-1)),
		partition: uint16(a.Partition), alive: a.Alive,
	}
	if b.since == 0 {
		b.since = b.first // of a row that was written before there was Since
	}
	if a.Kind == schemas.AssetDomain {
		if m.domains[a.Name] == nil && !m.room() {
			return
		}
		d := &domain{base: b, name: a.Name, records: a.Records}
		m.domains[a.Name] = d
		m.link(d.name, a.Addresses)
		return
	}
	p := m.at(a.IP)
	if p == nil {
		return
	}
	if a.Kind == schemas.AssetHost {
		if p.version == 0 && !m.room() {
			return
		}
		p.host = host{base: b, name: a.Name, mac: a.MAC, names: a.Names, reverse: a.Reverse, reversed: momentOf(a.Reversed)}
		return
	}
	b.udp = a.Transport == "udp"
	i, known := p.find(b.udp, uint16(a.Port))
	s := service{base: b, port: uint16(a.Port), doc: m.docs.of(a.Service)}
	switch {
	case known:
		p.services[i] = s
	case m.room():
		p.insert(i, s)
	}
}

// Settle ends the putting back: a host's names that no domain explains came from
// PTR records, also where its row is of before it said so.
func (m *Map) Settle() {
	for _, p := range m.places {
		for _, name := range p.names {
			if _, explained := slices.BinarySearch(p.domains, name); !explained && !slices.Contains(p.reverse, name) {
				p.reverse = append(p.reverse, name)
			}
		}
	}
}
