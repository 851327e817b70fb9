package drift

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unique"

	"fengsui/schemas"
)

// The bounds of what is remembered.
const (
	maxFacts    = 4_000_000 // services and names
	maxServices = 4096      // of one address
	maxRecords  = 16        // of one name
	maxValues   = 64        // of one record
)

// facts is what was seen and is there still, as little of it as judging it anew
// needs: when the registry changes, nobody waits for the next scan to be told.
type facts struct {
	hosts map[netip.Addr]*host
	names map[string]*name
	count int // services and names
}

func newFacts() facts { return facts{hosts: map[netip.Addr]*host{}, names: map[string]*name{}} }

// host is an address, with its services in the order of transport and port.
type host struct {
	services []fact
	upAt     int64 // when it last answered by itself; 0: not, or no more
	upLook   handle
}

// fact is a service. It takes 48 bytes: texts that many share are held once.
type fact struct {
	at   int64  // when it was last seen open, in nanoseconds
	look handle // by which scan; 0: only logs tell of it
	was  profile
	is   profile
	port uint16
	udp  bool
	open bool
}

// handle is a scan's job and shard.
type handle = unique.Handle[string]

// profile is what a service is known by; the zero value is nothing.
type profile = unique.Handle[schemas.ServiceProfile]

func read(p profile) schemas.ServiceProfile {
	if p == (profile{}) {
		return schemas.ServiceProfile{}
	}
	return p.Value()
}

// name is a name with its record sets.
type name struct {
	records []record
	look    handle
	at      int64
}

type record struct {
	typ      string
	values   []string
	at       int64
	dangling bool
}

func (n *name) find(typ string) *record {
	if n == nil {
		return nil
	}
	for i := range n.records {
		if n.records[i].typ == typ {
			return &n.records[i]
		}
	}
	return nil
}

// resolves says whether the name has any record.
func (n *name) resolves() bool {
	return n != nil && slices.ContainsFunc(n.records, func(r record) bool { return len(r.values) > 0 })
}

func (f *fact) service(ip netip.Addr) service {
	transport := "tcp"
	if f.udp {
		transport = "udp"
	}
	return service{ip, transport, int(f.port)}
}

func (h *host) find(s service) (at int, known bool) {
	return slices.BinarySearchFunc(h.services, s, func(f fact, s service) int {
		udp := s.transport == "udp"
		switch {
		case f.udp == udp:
			return cmp.Compare(int(f.port), s.port)
		case udp:
			return -1
		}
		return 1
	})
}

// service finds a fact, or nil.
func (f *facts) service(s service) *fact {
	h := f.hosts[s.ip]
	if h == nil {
		return nil
	}
	if at, known := h.find(s); known {
		return &h.services[at]
	}
	return nil
}

// host finds or makes what is known of an address.
func (f *facts) host(ip netip.Addr) *host {
	h := f.hosts[ip]
	if h == nil {
		h = &host{}
		f.hosts[ip] = h
	}
	return h
}

// add finds or makes the fact of a service; nil when there is no room.
func (f *facts) add(s service) *fact {
	h := f.host(s.ip)
	at, known := h.find(s)
	if !known {
		if len(h.services) >= maxServices || f.count >= maxFacts {
			return nil
		}
		f.count++
		h.services = slices.Insert(h.services, at, fact{port: uint16(s.port), udp: s.transport == "udp"}) //nolint:gosec // a port
	}
	return &h.services[at]
}

// serve notes that a service was seen open.
func (f *facts) serve(s service, at time.Time, look handle, seen *schemas.Service) *fact {
	is := f.add(s)
	if is == nil {
		return nil
	}
	nanos := at.UnixNano()
	if look == (handle{}) {
		if is.look == (handle{}) { // what a scan has told counts more
			is.at, is.open = max(nanos, is.at), true
		}
		return is
	}
	if nanos < is.at && is.look != (handle{}) {
		return is
	}
	is.at, is.look, is.open = nanos, look, true
	if p := profileOf(seen); p != (schemas.ServiceProfile{}) {
		is.learn(p)
	}
	return is
}

// learn takes in what a service is. What one look could not tell stays; what the
// baseline did not know is added to it.
func (f *fact) learn(p schemas.ServiceProfile) {
	seen := unique.Make(p)
	if seen == f.is && seen == f.was {
		return
	}
	f.is = seen
	was := read(f.was)
	if was.Name == "" {
		was.Name = p.Name
	}
	if sameName(was.Name, p.Name) {
		if was.Product == "" {
			was.Product = p.Product
		}
		if was.Version == "" && was.Product == p.Product {
			was.Version = p.Version
		}
	}
	if was.Certificate == "" {
		was.Certificate, was.Issuer, was.Names = p.Certificate, p.Issuer, p.Names
	}
	f.was = unique.Make(was)
}

// profileOf is what a service is known by. Texts come from the network: they are
// bounded.
func profileOf(s *schemas.Service) schemas.ServiceProfile {
	if s == nil {
		return schemas.ServiceProfile{}
	}
	p := schemas.ServiceProfile{Name: clip(s.Name), Product: clip(s.Product), Version: clip(s.Version)}
	if t := s.TLS; t != nil && t.SHA256 != "" {
		p.Certificate, p.Issuer, p.Names = clip(t.SHA256), clip(t.Issuer), certificateNames(t)
	}
	return p
}

func clip(s string) string { return s[:min(len(s), 256)] }

func certificateNames(t *schemas.TLS) string {
	if len(t.Names) == 0 {
		return ""
	}
	names := slices.Clone(t.Names[:min(len(t.Names), 32)])
	slices.Sort(names)
	return strings.ToLower(strings.Join(slices.Compact(names), " "))
}

// close notes that services of an address were found closed.
func (h *host) close(ip netip.Addr, at time.Time, closed func(service) bool) {
	if h == nil {
		return
	}
	nanos := at.UnixNano()
	for i := range h.services {
		if f := &h.services[i]; f.open && f.at <= nanos && closed(f.service(ip)) {
			f.open = false
		}
	}
}

// resolve notes a record set of a name, and returns what is known of it; nil when
// nothing is.
func (f *facts) resolve(key string, o *schemas.Observation, look handle) *name {
	n := f.names[key]
	nanos := o.Time.UnixNano()
	if len(o.Values) == 0 {
		if n == nil {
			return nil
		}
		all := n.gone(o)
		n.records = slices.DeleteFunc(n.records, func(r record) bool { return r.at <= nanos && (r.typ == o.RecordType || all) })
		return n
	}
	if n == nil {
		if f.count >= maxFacts {
			return nil
		}
		f.count++
		n = &name{}
		f.names[strings.Clone(key)] = n
	}
	if nanos >= n.at {
		n.at = nanos
		if look != (handle{}) {
			n.look = look
		}
	}
	r := n.find(o.RecordType)
	switch {
	case r == nil && len(n.records) >= maxRecords:
		return n
	case r == nil:
		n.records = append(n.records, record{typ: strings.Clone(o.RecordType)})
		r = &n.records[len(n.records)-1]
	case nanos < r.at:
		return n
	}
	r.at, r.dangling = nanos, dangles(o)
	r.values = o.Values[:min(len(o.Values), maxValues)]
	return n
}

// gone says whether an answer means that there is no such name. The target of a
// CNAME may be what there is not: then only an answer about the CNAME tells.
func (n *name) gone(o *schemas.Observation) bool {
	return o.RCode == "NXDOMAIN" && len(o.Values) == 0 && (o.RecordType == "CNAME" || n.find("CNAME") == nil)
}

func dangles(o *schemas.Observation) bool {
	return o.RecordType == "CNAME" && o.RCode == "NXDOMAIN" && len(o.Values) > 0
}
