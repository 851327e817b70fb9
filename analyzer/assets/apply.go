package assets

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"fengsui/internal/graph"
	"fengsui/schemas"
)

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
	changed, until := c.turn(&was.base, &p.base, was.reversed != p.reversed || !slices.Equal(was.reverse, p.reverse), turned)
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
	name := schemas.CanonicalName(o.Name)
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
	if p == nil || c.at < p.reversed {
		return
	}
	names := make([]string, 0, len(c.o.Values))
	for _, v := range c.o.Values {
		names = append(names, strings.Clone(schemas.CanonicalName(v)))
	}
	slices.Sort(names)
	was := p.host
	p.reverse, p.reversed = names[:min(len(names), maxNames)], c.at
	c.rename(p, &was)
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
			c.rename(p, nil)
		}
	}
	c.m.link(d.name, after)
	for _, text := range after {
		if ip, err := netip.ParseAddr(text); err == nil && !slices.Contains(before, text) {
			if p := c.m.places[ip]; p != nil {
				c.rename(p, nil)
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
// was is the host before, where anything but its domains has changed.
func (c *change) rename(p *place, was *host) {
	if p.version == 0 {
		return
	}
	if was == nil {
		before := p.host
		was = &before
	}
	p.rename()
	c.hostTurned(p, was)
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
