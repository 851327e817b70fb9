// Package assets folds observations into the asset map: which names, hosts and
// services there are, what runs on them and when they were last seen.
//
// It is pure: observations come in with their place in the topic, and the only
// time it knows is theirs. It never scans, never reads a topic or a database,
// and never says whether an asset should be there: that is drift's judgement.
//
// Observations may come repeated and out of order. A fact is only replaced by
// one that was observed later; only a scan can say that something is gone.
package assets

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fengsui/schemas"
)

// SourceScan is the source of observations that a scanner made. All others are
// passive: they say what is there, never what is not.
const SourceScan = "scan"

// The bounds of the map. What is beyond them is not taken in, and counted.
const (
	maxAssets   = 2_000_000
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
	assets  map[string]*entry
	hosts   map[netip.Addr]*links
	sets    map[string]*portSet
	dropped uint64
}

// entry is an asset with what its rows do not hold.
type entry struct {
	schemas.Asset
	shard string               // of a service: the shard that last saw it open
	types map[string]time.Time // of a domain: when each record set was observed
}

// links is what belongs to an address, whether or not a host was seen there.
type links struct {
	services map[string]*entry
	domains  map[string]bool // names that resolve to it
	reverse  []string        // names of its PTR records
	swept    []swept         // the newest sweep of each set of ports
	began    string          // the shard whose host observation came last, and with it all that the shard saw here
}

// swept is a sweep that was taken in: what is said to have been open before it
// arrived too late.
type swept struct {
	at    time.Time
	shard string
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
func NewMap() *Map {
	return &Map{assets: map[string]*entry{}, hosts: map[netip.Addr]*links{}, sets: map[string]*portSet{}}
}

// Len is the number of assets.
func (m *Map) Len() int { return len(m.assets) }

// Dropped counts the assets that were not taken in to keep within bounds.
func (m *Map) Dropped() uint64 { return m.dropped }

// Get returns an asset by its key.
func (m *Map) Get(key string) (schemas.Asset, bool) {
	e, ok := m.assets[key]
	if !ok {
		return schemas.Asset{}, false
	}
	return e.copy(), true
}

// Seed puts back the assets that were written before a restart.
func (m *Map) Seed(assets []schemas.Asset) {
	for i := range assets {
		e := &entry{Asset: assets[i]}
		m.assets[e.Key] = e
		switch e.Kind {
		case schemas.AssetService:
			m.at(e.IP).serve(e)
		case schemas.AssetDomain:
			m.link(e, e.Addresses)
		}
	}
	// A host's names that no domain explains came from PTR records.
	for i := range assets {
		if a := &assets[i]; a.Kind == schemas.AssetHost {
			l := m.at(a.IP)
			for _, name := range a.Names {
				if !l.domains[name] {
					l.reverse = append(l.reverse, name)
				}
			}
		}
	}
}

// Apply takes one observation in and returns the assets that it changed, each
// with its version raised. They are the caller's own.
func (m *Map) Apply(o *schemas.Observation, partition int, offset int64) []schemas.Asset {
	c := change{m: m, o: o, partition: partition, offset: offset}
	switch o.Kind {
	case schemas.ObservedName:
		c.name()
	case schemas.ObservedHost:
		if o.IP.IsValid() {
			if !c.passive() {
				m.at(o.IP).began = shardOf(o)
			}
			c.host(o.Open)
		}
	case schemas.ObservedPort:
		if o.IP.IsValid() && o.Port > 0 && o.Port < 65536 && (o.Transport == "tcp" || o.Transport == "udp") {
			c.port()
		}
	case schemas.ObservedSweep:
		if o.IP.IsValid() && o.Source == SourceScan {
			c.sweep()
		}
	}
	return c.changed
}

func shardOf(o *schemas.Observation) string { return o.Job + "/" + o.Shard }

// at finds or makes what belongs to an address.
func (m *Map) at(ip netip.Addr) *links {
	ip = ip.Unmap()
	l := m.hosts[ip]
	if l == nil {
		l = &links{}
		m.hosts[ip] = l
	}
	return l
}

// change is the taking in of one observation.
type change struct {
	m         *Map
	o         *schemas.Observation
	partition int
	offset    int64
	changed   []schemas.Asset
}

func (c *change) passive() bool { return c.o.Source != SourceScan }

// edit lets f change an asset and keeps what came of it if anything did. An
// observation that the asset has counted in already is passed over.
func (c *change) edit(e *entry, f func(a *schemas.Asset)) {
	if e.Version > 0 && e.Partition == c.partition && c.offset <= e.Offset {
		return
	}
	before := e.copy()
	f(&e.Asset)
	if c.o.Time.Before(e.First) || e.First.IsZero() {
		e.First = c.o.Time
	}
	if c.o.Time.After(e.Updated) {
		e.Updated = c.o.Time
	}
	if at, known := slices.BinarySearch(e.Sources, c.o.Source); !known && len(e.Sources) < maxSources {
		e.Sources = slices.Insert(e.Sources, at, c.o.Source)
	}
	e.Partition, e.Offset = c.partition, c.offset
	if same(&before, &e.Asset) {
		return
	}
	e.Version++
	c.changed = append(c.changed, e.copy())
}

// asset finds or makes an asset; nil when the map is full.
func (c *change) asset(key string, kind schemas.AssetKind) *entry {
	if e := c.m.assets[key]; e != nil {
		return e
	}
	if len(c.m.assets) >= maxAssets {
		c.m.dropped++
		return nil
	}
	e := &entry{Asset: schemas.Asset{Key: key, Kind: kind, Unit: c.o.Unit}}
	c.m.assets[key] = e
	return e
}

// newer says whether the observation is at least as new as what the asset was
// last judged by.
func (c *change) newer(a *schemas.Asset) bool { return !c.o.Time.Before(a.Updated) }

// host notes that an address answers, or that it does not.
func (c *change) host(up bool) {
	key := schemas.HostKey(c.o.IP)
	if !up && (c.passive() || c.m.assets[key] == nil) {
		return
	}
	e := c.asset(key, schemas.AssetHost)
	if e == nil {
		return
	}
	c.edit(e, func(a *schemas.Asset) {
		a.IP = c.o.IP.Unmap()
		if c.newer(a) {
			a.Alive = up
			a.Unit = cmp.Or(c.o.Unit, a.Unit)
		}
		if up && c.o.Time.After(a.Last) {
			a.Last = c.o.Time
		}
		a.Names = c.m.at(a.IP).names()
	})
}

func (c *change) port() {
	o := c.o
	key := schemas.ServiceKey(o.IP, o.Transport, o.Port)
	if !o.Open {
		if e := c.m.assets[key]; e != nil && !c.passive() {
			c.close(e)
		}
		return
	}
	l := c.m.at(o.IP)
	if l.services[key] == nil && len(l.services) >= maxServices {
		c.m.dropped++
		return
	}
	e := c.asset(key, schemas.AssetService)
	if e == nil {
		return
	}
	l.serve(e)
	if !c.passive() {
		e.shard = shardOf(o)
	}
	c.edit(e, func(a *schemas.Asset) {
		a.IP, a.Port, a.Transport = o.IP.Unmap(), o.Port, o.Transport
		if c.newer(a) {
			a.Service = merge(a.Service, o.Service, a.Alive, c.passive())
			a.Alive = !l.sweptSince(o)
			a.Unit = cmp.Or(o.Unit, a.Unit)
		}
		if o.Time.After(a.Last) {
			a.Last = o.Time
		}
	})
	c.host(true)
}

// merge is what is known of a service after another look. A look that could not
// tell (a passive one, or a service that said nothing) leaves what was known of
// a service that stayed open; a scan's word counts more than a passive one's.
func merge(known, seen *schemas.Service, open, passive bool) *schemas.Service {
	switch {
	case seen.IsZero():
		if open {
			return known
		}
		return nil
	case known == nil || !passive:
		s := *seen
		return &s
	}
	s := *known
	s.Name = cmp.Or(s.Name, seen.Name)
	s.Product = cmp.Or(s.Product, seen.Product)
	s.Version = cmp.Or(s.Version, seen.Version)
	s.OS = cmp.Or(s.OS, seen.OS)
	s.TLS = cmp.Or(s.TLS, seen.TLS)
	s.HTTP = cmp.Or(s.HTTP, seen.HTTP)
	return &s
}

func (c *change) close(e *entry) {
	c.edit(e, func(a *schemas.Asset) {
		if c.newer(a) {
			a.Alive = false
		}
	})
}

// sweep closes the services of an address on the ports that were looked at and
// that the same shard did not see open.
func (c *change) sweep() {
	l := c.m.at(c.o.IP)
	set := c.m.portSet(cmp.Or(c.o.Transport, "tcp"), c.o.Ports)
	if set == nil {
		return
	}
	shard := shardOf(c.o)
	l.noteSweep(swept{c.o.Time, shard, set})
	keys := make([]string, 0, len(l.services))
	for key, e := range l.services {
		// What a restart has forgotten may be this shard's, unless all of the shard
		// came since.
		forgotten := e.shard == "" && l.began != shard && e.Last.After(c.o.Time.Add(-unknownShard))
		seen := e.shard == shard || forgotten
		if e.Alive && e.Transport == set.transport && !seen && set.ports.Has(e.Port) && !e.Last.After(c.o.Time) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys) // the same records give the same rows in the same order
	for _, key := range keys {
		c.close(l.services[key])
	}
}

func (l *links) noteSweep(s swept) {
	for i := range l.swept {
		if w := &l.swept[i]; w.ports == s.ports {
			if s.at.After(w.at) {
				*w = s
			}
			return
		}
	}
	if len(l.swept) >= maxSwept {
		l.swept = slices.Delete(l.swept, 0, 1)
	}
	l.swept = append(l.swept, s)
}

// sweptSince says whether a later sweep of another shard has looked at the port
// that the observation saw open.
func (l *links) sweptSince(o *schemas.Observation) bool {
	for i := range l.swept {
		w := &l.swept[i]
		if w.at.After(o.Time) && w.ports.transport == o.Transport && w.shard != shardOf(o) && w.ports.ports.Has(o.Port) {
			return true
		}
	}
	return false
}

// name notes a record set, or that there is none.
func (c *change) name() {
	o := c.o
	name := strings.ToLower(strings.TrimSuffix(o.Name, "."))
	gone := len(o.Values) == 0
	if name == "" || gone && (c.passive() || o.RCode != "NXDOMAIN" && o.RCode != "NOERROR") {
		return // a failure to answer says nothing
	}
	if o.RecordType == "PTR" {
		if ip, ok := reverseAddr(name); ok {
			c.reverse(ip)
			return
		}
	}
	key := schemas.DomainKey(name)
	if gone && c.m.assets[key] == nil {
		return
	}
	e := c.asset(key, schemas.AssetDomain)
	if e == nil {
		return
	}
	before := e.Addresses
	c.edit(e, func(a *schemas.Asset) {
		a.Name = name
		c.records(e)
		a.Alive = len(a.Records) > 0
		a.Unit = cmp.Or(o.Unit, a.Unit)
		if !gone && o.Time.After(a.Last) {
			a.Last = o.Time
		}
		a.Addresses = addresses(a.Records)
	})
	if !slices.Equal(before, e.Addresses) {
		c.relink(e, before)
	}
}

// records replaces a record set by a later one. What passive observations see is
// added: a resolver's answer may be one of many views.
func (c *change) records(e *entry) {
	o := c.o
	if e.types == nil {
		e.types = map[string]time.Time{}
	}
	if len(o.Values) == 0 && o.RCode == "NXDOMAIN" {
		e.Records = slices.DeleteFunc(slices.Clone(e.Records), func(r schemas.Record) bool {
			return !o.Time.Before(e.types[r.Type])
		})
		for t, at := range e.types {
			if o.Time.After(at) {
				e.types[t] = o.Time
			}
		}
		return
	}
	if o.Time.Before(e.types[o.RecordType]) {
		return
	}
	records := slices.Clone(e.Records)
	at, known := slices.BinarySearchFunc(records, o.RecordType, func(r schemas.Record, t string) int { return cmp.Compare(r.Type, t) })
	values := slices.Clone(o.Values)
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
		records = slices.Insert(records, at, schemas.Record{Type: o.RecordType, Values: values})
	}
	e.Records = records
	if len(e.types) < maxTypes || !e.types[o.RecordType].IsZero() {
		e.types[o.RecordType] = o.Time
	}
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
	names := make([]string, 0, len(c.o.Values))
	for _, v := range c.o.Values {
		names = append(names, strings.ToLower(strings.TrimSuffix(v, ".")))
	}
	slices.Sort(names)
	l := c.m.at(ip)
	l.reverse = names[:min(len(names), maxNames)]
	c.rename(ip)
}

// relink makes the hosts that a domain did or does resolve to say so.
func (c *change) relink(e *entry, before []string) {
	for _, text := range before {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(e.Addresses, text) {
			delete(c.m.at(ip).domains, e.Name)
			c.rename(ip)
		}
	}
	c.m.link(e, e.Addresses)
	for _, text := range e.Addresses {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(before, text) {
			c.rename(ip)
		}
	}
}

func (m *Map) link(e *entry, addresses []string) {
	for _, text := range addresses {
		if ip, err := netip.ParseAddr(text); err == nil {
			l := m.at(ip)
			if l.domains == nil {
				l.domains = map[string]bool{}
			}
			l.domains[e.Name] = true
		}
	}
}

func (l *links) serve(e *entry) {
	if l.services == nil {
		l.services = map[string]*entry{}
	}
	l.services[e.Key] = e
}

// rename gives a host its names anew. Names come from other partitions than the
// host's own observations, so its place in the topic stays as it is.
func (c *change) rename(ip netip.Addr) {
	e := c.m.assets[schemas.HostKey(ip)]
	if e == nil {
		return
	}
	names := c.m.at(ip).names()
	if slices.Equal(names, e.Names) {
		return
	}
	e.Names = names
	e.Version++
	c.changed = append(c.changed, e.copy())
}

// names is every name of an address, sorted.
func (l *links) names() []string {
	names := slices.Clone(l.reverse)
	for name := range l.domains {
		names = append(names, name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return nil
	}
	return names[:min(len(names), maxNames)]
}

func (e *entry) copy() schemas.Asset {
	a := e.Asset
	if a.Service != nil {
		s := *a.Service
		a.Service = &s
	}
	a.Names, a.Addresses, a.Sources = slices.Clone(a.Names), slices.Clone(a.Addresses), slices.Clone(a.Sources)
	a.Records = slices.Clone(a.Records)
	return a
}

// same says that two states of an asset tell a reader the same.
func same(a, b *schemas.Asset) bool {
	return a.Alive == b.Alive && a.Unit == b.Unit && a.Name == b.Name && a.IP == b.IP && a.First.Equal(b.First) && a.Last.Equal(b.Last) &&
		a.Updated.Equal(b.Updated) && slices.Equal(a.Names, b.Names) && slices.Equal(a.Addresses, b.Addresses) && slices.Equal(a.Sources, b.Sources) &&
		slices.EqualFunc(a.Records, b.Records, func(x, y schemas.Record) bool { return x.Type == y.Type && slices.Equal(x.Values, y.Values) }) &&
		sameService(a.Service, b.Service)
}

func sameService(x, y *schemas.Service) bool {
	if x == nil || y == nil {
		return x == y
	}
	if (x.TLS == nil) != (y.TLS == nil) || x.TLS != nil && x.TLS.SHA256 != y.TLS.SHA256 {
		return false
	}
	if (x.HTTP == nil) != (y.HTTP == nil) || x.HTTP != nil && *x.HTTP != *y.HTTP {
		return false
	}
	return x.Name == y.Name && x.Product == y.Product && x.Version == y.Version && x.OS == y.OS && x.Banner == y.Banner &&
		slices.Equal(x.Technologies, y.Technologies) && slices.Equal(x.Exposures, y.Exposures)
}

// Ports is a set of ports as a task or a sweep writes it.
type Ports []portRange

type portRange struct{ first, last int }

// ParsePorts reads "22,80,1000-2000".
func ParsePorts(s string) (Ports, error) {
	var out Ports
	for part := range strings.SplitSeq(s, ",") {
		low, high, isRange := strings.Cut(strings.TrimSpace(part), "-")
		first, err := strconv.ParseUint(low, 10, 16)
		if err != nil {
			return nil, err
		}
		last := first
		if isRange {
			if last, err = strconv.ParseUint(high, 10, 16); err != nil {
				return nil, err
			}
		}
		out = append(out, portRange{int(first), int(last)})
	}
	return out, nil
}

// Has says whether a port is in the set.
func (p Ports) Has(port int) bool {
	return slices.ContainsFunc(p, func(r portRange) bool { return r.first <= port && port <= r.last })
}

// First is the first n ports of the set, as it is written.
func (p Ports) First(n int) []int {
	var out []int
	for _, r := range p {
		for port := r.first; port <= r.last && len(out) < n; port++ {
			out = append(out, port)
		}
	}
	return out
}

// reverseAddr is the address that a name of in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5) stands for.
func reverseAddr(name string) (netip.Addr, bool) {
	if text, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		labels := strings.Split(text, ".")
		slices.Reverse(labels)
		ip, err := netip.ParseAddr(strings.Join(labels, "."))
		return ip, err == nil && ip.Is4()
	}
	if text, ok := strings.CutSuffix(name, ".ip6.arpa"); ok && len(text) == 63 {
		var b strings.Builder
		for i := 62; i >= 0; i -= 2 {
			b.WriteByte(text[i])
			if i%8 == 0 && i > 0 {
				b.WriteByte(':')
			}
		}
		ip, err := netip.ParseAddr(b.String())
		return ip, err == nil
	}
	return netip.Addr{}, false
}
