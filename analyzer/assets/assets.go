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

	"fengsui/internal/graph"
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
	reverse  []string  // names of its PTR records
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
		// Which of them came from PTR records shows in Settle.
		p.host = host{base: b, name: a.Name, mac: a.MAC, names: a.Names}
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
// PTR records.
func (m *Map) Settle() {
	for _, p := range m.places {
		for _, name := range p.names {
			if _, explained := slices.BinarySearch(p.domains, name); !explained && !slices.Contains(p.reverse, name) {
				p.reverse = append(p.reverse, name)
			}
		}
	}
}

// Change is an asset as an observation has left it.
type Change struct {
	schemas.Asset
	// Was is what it was until now, where it has become something else, and not
	// only been seen again.
	Was *schemas.AssetVersion
	// Lean says that long texts of the service are missing, and are as they were
	// written last.
	Lean bool
}

// Apply takes one observation in and returns the assets that it changed, each
// with its version raised. They are the caller's own.
func (m *Map) Apply(o *schemas.Observation, partition int, offset int64) []Change {
	c := change{m: m, o: o, partition: partition, offset: offset, at: momentOf(o.Time)}
	switch o.Kind {
	case schemas.ObservedName:
		c.observeName()
	case schemas.ObservedHost:
		c.observeHost()
	case schemas.ObservedPort:
		if o.IP.IsValid() && o.Port > 0 && o.Port < 65536 && (o.Transport == "tcp" || o.Transport == "udp") {
			c.observePort()
		}
	case schemas.ObservedSweep:
		if o.IP.IsValid() && !c.passive() {
			c.observeSweep()
		}
	}
	return c.changed
}

// change is the taking in of one observation.
type change struct {
	m         *Map
	o         *schemas.Observation
	at        moment
	partition int
	offset    int64
	changed   []Change
}

func (c *change) passive() bool { return c.o.Source != SourceScan }

// shard is the observation's shard.
func (c *change) shard() text {
	m, o := c.m, c.o
	if o.Job != m.job || o.Shard != m.shard || m.shardName == (text{}) {
		m.job, m.shard = strings.Clone(o.Job), strings.Clone(o.Shard)
		m.shardName = textOf(o.Job + "/" + o.Shard)
	}
	return m.shardName
}

// counted says whether an asset has the observation counted in already.
func (c *change) counted(b *base) bool {
	return b.version > 0 && int(b.partition) == c.partition && c.offset <= b.offset
}

// newer says whether the observation is at least as new as what the asset was
// last judged by.
func (c *change) newer(b *base) bool { return c.at >= b.updated }

// own makes the asset the observation's unit's, where it names one.
func (c *change) own(b *base) {
	if c.o.Unit != "" && stringOf(b.unit) != c.o.Unit {
		b.unit = textOf(c.o.Unit)
	}
}

// stamp notes in an asset that the observation is counted in.
func (c *change) stamp(b *base) {
	if b.first == 0 || c.at < b.first {
		b.first = c.at
	}
	b.updated = max(b.updated, c.at)
	b.sources = c.m.with(b.sources, c.o.Source)
	b.partition, b.offset = uint16(c.partition), c.offset
}

// turn says whether anything has changed, raises the version if so, and where it
// has become something else begins a new time of being so. until is when the
// former ended, 0 when there was none or it lasted no time.
func (c *change) turn(was, b *base, touched, turned bool) (changed bool, until moment) {
	turned = turned || was.alive != b.alive || was.unit != b.unit
	if !turned && !touched && was.first == b.first && was.last == b.last && was.updated == b.updated && was.sources == b.sources {
		return false, 0
	}
	b.version++
	switch {
	case was.version == 0:
		b.since = c.at
	case turned:
		b.since = max(was.since, c.at)
		if b.since > was.since {
			until = b.since
		}
	}
	return true, until
}

func (c *change) add(a schemas.Asset, lean bool, was *schemas.AssetVersion) {
	if c.changed == nil {
		c.changed = make([]Change, 0, 2)
	}
	c.changed = append(c.changed, Change{a, was, lean})
}

// observeHost notes that an address answers, or that it does not.
func (c *change) observeHost() {
	o := c.o
	if !o.IP.IsValid() {
		return
	}
	if c.passive() && !o.Open {
		return
	}
	p := c.m.at(o.IP)
	if p == nil {
		return
	}
	if !c.passive() {
		p.began = c.shard()
	}
	c.host(p, o.Open)
}

func (c *change) host(p *place, up bool) {
	if !up && (c.passive() || p.version == 0) || p.version == 0 && !c.m.room() || c.counted(&p.base) {
		return
	}
	was := p.host
	if c.newer(&p.base) {
		p.alive = up
		c.own(&p.base)
		if o := c.o; o.Kind == schemas.ObservedHost && up {
			p.name, p.mac = replace(p.name, o.Name), replace(p.mac, o.MAC)
		}
	}
	if up {
		p.last = max(p.last, c.at)
	}
	p.rename()
	c.stamp(&p.base)
	c.hostTurned(p, &was)
}

// replace is the newer of two texts that may be missing.
func replace(known, seen string) string {
	if seen == "" || seen == known {
		return known
	}
	return strings.Clone(seen)
}

func (c *change) hostTurned(p *place, was *host) {
	turned := was.name != p.name || was.mac != p.mac || !slices.Equal(was.names, p.names)
	changed, until := c.turn(&was.base, &p.base, false, turned)
	if !changed {
		return
	}
	var version *schemas.AssetVersion
	if until > 0 {
		former := place{host: *was, ip: p.ip}
		version = &schemas.AssetVersion{Asset: former.asset(), Until: until.time()}
	}
	c.add(p.asset(), false, version)
}

func (c *change) observePort() {
	o := c.o
	udp, port := o.Transport == "udp", uint16(o.Port)
	if !o.Open {
		p := c.m.places[o.IP.Unmap()]
		if p == nil || c.passive() {
			return
		}
		if i, known := p.find(udp, port); known {
			c.close(p, &p.services[i])
		}
		return
	}
	p := c.m.at(o.IP)
	if p == nil {
		return
	}
	i, known := p.find(udp, port)
	if !known {
		if len(p.services) >= maxServices {
			c.m.dropped++
			return
		}
		if !c.m.room() {
			return
		}
		p.insert(i, service{base: base{udp: udp}, port: port})
	}
	s := &p.services[i]
	if !c.passive() {
		s.shard = c.shard()
	}
	if !c.counted(&s.base) {
		c.open(p, s)
	}
	c.host(p, true)
}

// open notes that a service answers.
func (c *change) open(p *place, s *service) {
	o, was := c.o, *s
	var whole *schemas.Service // as it is, with its long texts
	if c.newer(&s.base) {
		s.doc, whole = c.m.docs.merge(s.doc, o.Service, s.alive, c.passive())
		s.alive = !p.sweptSince(o, c.shardOf())
		c.own(&s.base)
	}
	s.last = max(s.last, c.at)
	c.stamp(&s.base)
	c.serviceTurned(p, s, &was, whole)
}

// shardOf is the shard of an observation, none of a passive one.
func (c *change) shardOf() text {
	if c.passive() {
		return text{}
	}
	return c.shard()
}

func (c *change) serviceTurned(p *place, s, was *service, whole *schemas.Service) {
	changed, until := c.turn(&was.base, &s.base, !was.doc.same(s.doc), !was.doc.alike(s.doc))
	if !changed {
		return
	}
	var version *schemas.AssetVersion
	if until > 0 {
		version = &schemas.AssetVersion{Asset: was.asset(p.ip), Until: until.time()}
	}
	a, lean := s.asset(p.ip), s.doc != nil && s.doc.lean
	if whole != nil {
		a.Service, lean = whole, false
	}
	c.add(a, lean, version)
}

func (c *change) close(p *place, s *service) {
	if c.counted(&s.base) {
		return
	}
	was := *s
	if c.newer(&s.base) {
		s.alive = false
	}
	c.stamp(&s.base)
	c.serviceTurned(p, s, &was, nil)
}

// observeSweep closes the services of an address on the ports that were looked
// at and that the same shard did not see open.
func (c *change) observeSweep() {
	p := c.m.at(c.o.IP)
	set := c.m.portSet(cmp.Or(c.o.Transport, "tcp"), c.o.Ports)
	if p == nil || set == nil {
		return
	}
	shard := c.shard()
	p.noteSweep(swept{c.at, shard, set})
	for i := range p.services { // in order: the same records give the same rows
		s := &p.services[i]
		// What a restart has forgotten may be this shard's, unless all of the shard
		// came since.
		forgotten := s.shard == (text{}) && p.began != shard && s.last > c.at-moment(unknownShard)
		seen := s.shard == shard || forgotten
		if s.alive && s.transport() == set.transport && !seen && set.ports.Has(int(s.port)) && s.last <= c.at {
			c.close(p, s)
		}
	}
}

func (p *place) noteSweep(s swept) {
	for i := range p.swept {
		if w := &p.swept[i]; w.ports == s.ports {
			if s.at > w.at {
				*w = s
			}
			return
		}
	}
	if len(p.swept) >= maxSwept {
		p.swept = slices.Delete(p.swept, 0, 1)
	}
	p.swept = append(p.swept, s)
}

// sweptSince says whether a later sweep of another shard has looked at the port
// that the observation saw open.
func (p *place) sweptSince(o *schemas.Observation, shard text) bool {
	for i := range p.swept {
		w := &p.swept[i]
		if w.at > momentOf(o.Time) && w.ports.transport == o.Transport && w.shard != shard && w.ports.ports.Has(o.Port) {
			return true
		}
	}
	return false
}

// observeName notes a record set, or that there is none.
func (c *change) observeName() {
	o := c.o
	name := canonical(o.Name)
	gone := len(o.Values) == 0
	if name == "" || gone && (c.passive() || o.RCode != "NXDOMAIN" && o.RCode != "NOERROR") {
		return // a failure to answer says nothing
	}
	if o.RecordType == "PTR" {
		if ip, ok := graph.ReverseAddr(name); ok {
			c.reverse(ip)
			return
		}
	}
	d := c.m.domains[name]
	if d == nil {
		if gone || !c.m.room() {
			return
		}
		d = &domain{name: strings.Clone(name)}
		c.m.domains[d.name] = d
	}
	if c.counted(&d.base) {
		return
	}
	was := *d
	c.records(d)
	d.alive = len(d.records) > 0
	c.own(&d.base)
	if !gone {
		d.last = max(d.last, c.at)
	}
	c.stamp(&d.base)
	c.domainTurned(d, &was)
	if before, after := addresses(was.records), addresses(d.records); !slices.Equal(before, after) {
		c.relink(d, before, after)
	}
}

func (c *change) domainTurned(d, was *domain) {
	turned := !slices.EqualFunc(was.records, d.records, func(x, y schemas.Record) bool { return x.Type == y.Type && slices.Equal(x.Values, y.Values) })
	changed, until := c.turn(&was.base, &d.base, false, turned)
	if !changed {
		return
	}
	var version *schemas.AssetVersion
	if until > 0 {
		version = &schemas.AssetVersion{Asset: was.asset(), Until: until.time()}
	}
	c.add(d.asset(), false, version)
}

func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// records replaces a record set by a later one. What passive observations see is
// added: a resolver's answer may be one of many views.
func (c *change) records(d *domain) {
	o := c.o
	if len(o.Values) == 0 && o.RCode == "NXDOMAIN" {
		d.records = slices.DeleteFunc(slices.Clone(d.records), func(r schemas.Record) bool { return c.at >= d.observed(r.Type) })
		d.types = slices.Clone(d.types)
		for i := range d.types {
			d.types[i].at = max(d.types[i].at, c.at)
		}
		return
	}
	if c.at < d.observed(o.RecordType) {
		return
	}
	records := slices.Clone(d.records)
	at, known := slices.BinarySearchFunc(records, o.RecordType, func(r schemas.Record, t string) int { return cmp.Compare(r.Type, t) })
	values := make([]string, 0, len(o.Values))
	for _, v := range o.Values {
		values = append(values, strings.Clone(v))
	}
	if c.passive() && known {
		values = append(values, records[at].Values...)
	}
	slices.Sort(values)
	values = slices.Compact(values)
	values = values[:min(len(values), maxValues)]
	switch {
	case len(values) == 0 && known:
		records = slices.Delete(records, at, at+1)
	case len(values) == 0:
	case known:
		records[at].Values = values
	case len(records) < maxTypes:
		records = slices.Insert(records, at, schemas.Record{Type: strings.Clone(o.RecordType), Values: values})
	}
	d.records = records
	d.types = slices.Clone(d.types)
	d.observe(o.RecordType, c.at)
}

// addresses is what the A and AAAA records among the record sets say.
func addresses(records []schemas.Record) []string {
	var out []string
	for _, r := range records {
		if r.Type != "A" && r.Type != "AAAA" {
			continue
		}
		for _, v := range r.Values {
			if ip, err := netip.ParseAddr(v); err == nil {
				out = append(out, ip.Unmap().String())
			}
		}
	}
	return out
}

// reverse notes the names of an address's PTR records.
func (c *change) reverse(ip netip.Addr) {
	p := c.m.at(ip)
	if p == nil {
		return
	}
	names := make([]string, 0, len(c.o.Values))
	for _, v := range c.o.Values {
		names = append(names, strings.Clone(canonical(v)))
	}
	slices.Sort(names)
	p.reverse = names[:min(len(names), maxNames)]
	c.rename(p)
}

// relink makes the hosts that a domain did or does resolve to say so.
func (c *change) relink(d *domain, before, after []string) {
	for _, text := range before {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(after, text) {
			p := c.m.places[ip]
			if p == nil {
				continue
			}
			if i, there := slices.BinarySearch(p.domains, d.name); there {
				p.domains = slices.Delete(p.domains, i, i+1)
			}
			c.rename(p)
		}
	}
	c.m.link(d.name, after)
	for _, text := range after {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(before, text) {
			if p := c.m.places[ip]; p != nil {
				c.rename(p)
			}
		}
	}
}

func (m *Map) link(name string, addresses []string) {
	for _, text := range addresses {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		p := m.at(ip)
		if p == nil {
			continue
		}
		if i, there := slices.BinarySearch(p.domains, name); !there {
			p.domains = slices.Insert(p.domains, i, name)
		}
	}
}

// rename gives a host its names anew. Names come from other partitions than the
// host's own observations, so its place in the topic stays as it is.
func (c *change) rename(p *place) {
	if p.version == 0 {
		return
	}
	was := p.host
	p.rename()
	c.hostTurned(p, &was)
}

// rename works out every name of an address, in order. Where nothing changes,
// the slice stays the same.
func (p *place) rename() {
	if len(p.domains) == 0 && len(p.reverse) == 0 {
		p.names = nil
		return
	}
	names := append(slices.Clone(p.reverse), p.domains...)
	slices.Sort(names)
	names = slices.Compact(names)
	names = names[:min(len(names), maxNames)]
	if !slices.Equal(names, p.names) {
		p.names = slices.Clip(names)
	}
}
