package analyzer

import (
	"net/netip"
	"slices"
	"strings"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// maxOwned bounds what an owner remembers.
const maxOwned = 1 << 14

// owner says which of the registry's assets and information systems events are
// about. What an address, a port or a name belongs to is remembered until the
// registry changes. It is not safe for concurrent use.
type owner struct {
	snap  *directory.Snapshot
	known map[end]*belongings
}

// end is what an event names: an address, with a port that it serves or without,
// or a name.
type end struct {
	name, transport string
	port            int
	domain          bool
}

// belongings are what an end belongs to; nil is nothing.
type belongings struct{ assets, systems, names []schemas.Value }

// set says which assets and systems an event is about: by the names that it was
// asked for, by the service that was spoken to, and by the hosts at both ends. The
// sender is none of them: it may be a relay.
func (o *owner) set(snap *directory.Snapshot, ev *schemas.Event) {
	if o.snap != snap || len(o.known) >= maxOwned {
		o.snap, o.known = snap, map[end]*belongings{}
	}
	source, destination := ev.Str(schemas.FieldSourceIP), served(ev)
	ends := [...]end{
		{name: ev.Str(schemas.FieldURLDomain), domain: true},
		{name: ev.Str(schemas.FieldTLSClientServerName), domain: true},
		destination,
		{name: source},
		{},
	}
	if ips := ev.Get(schemas.FieldHostIP).List(); len(ips) > 0 && ips[0].Str() != source && ips[0].Str() != destination.name {
		ends[4].name = ips[0].Str()
	}
	var all belongings
	for _, e := range ends {
		if e.name == "" {
			continue
		}
		if b := o.of(e); b != nil {
			all.assets, all.systems, all.names = both(all.assets, b.assets), both(all.systems, b.systems), both(all.names, b.names)
		}
	}
	for _, said := range [...]struct {
		id     schemas.FieldID
		values []schemas.Value
	}{
		{schemas.FieldFengsuiAssetID, all.assets},
		{schemas.FieldFengsuiSystemCode, all.systems},
		{schemas.FieldFengsuiSystemName, all.names},
	} {
		if len(said.values) > 0 {
			ev.Set(said.id, schemas.List(said.values...))
		}
	}
}

// served is the destination, with its port where one is said: it tells apart what
// one address serves.
func served(ev *schemas.Event) end {
	e := end{name: ev.Str(schemas.FieldDestinationIP), transport: ev.Str(schemas.FieldNetworkTransport), port: int(ev.Get(schemas.FieldDestinationPort).Int())}
	if e.port < 1 || e.port > 65535 || e.transport != "tcp" && e.transport != "udp" {
		e.transport, e.port = "", 0
	}
	return e
}

// both is one list with what the other has beyond it. Neither is changed.
func both(a, b []schemas.Value) []schemas.Value {
	if len(a) == 0 {
		return b
	}
	a = slices.Clip(a)
	for _, v := range b {
		if !slices.ContainsFunc(a, v.Equal) {
			a = append(a, v)
		}
	}
	return a
}

// of is what an end belongs to.
func (o *owner) of(e end) *belongings {
	if b, ok := o.known[e]; ok {
		return b
	}
	b := o.find(e)
	if len(b.assets)+len(b.systems) == 0 { // nobody's are too many to be remembered
		return nil
	}
	e.name, e.transport = strings.Clone(e.name), strings.Clone(e.transport) // they are part of a whole record
	kept := new(belongings)
	*kept = b
	o.known[e] = kept
	return kept
}

func (o *owner) find(e end) (b belongings) {
	if e.domain {
		if s, ok := o.snap.SystemOfName(e.name); ok {
			b.system(&s)
		}
		if _, ok := o.snap.DomainOf(e.name); ok {
			b.assets = append(b.assets, schemas.String(schemas.DomainKey(schemas.CanonicalName(e.name))))
		}
	} else if ip, err := netip.ParseAddr(e.name); err == nil {
		o.address(&b, e, ip)
	}
	return b
}

func (o *owner) address(b *belongings, e end, ip netip.Addr) {
	if e.port > 0 {
		if s, ok := o.snap.SystemOfPort(ip, e.transport, e.port); ok {
			b.system(&s)
		}
	} else {
		for _, s := range o.snap.SystemsAt(ip) {
			b.system(&s)
		}
	}
	if o.snap.UnitOf(ip) == "" {
		return
	}
	b.assets = append(b.assets, schemas.String(schemas.HostKey(ip)))
	if e.port > 0 {
		b.assets = append(b.assets, schemas.String(schemas.ServiceKey(ip, e.transport, e.port)))
	}
}

func (b *belongings) system(s *schemas.System) {
	b.systems = append(b.systems, schemas.String(s.Code))
	if s.Name != "" {
		b.names = append(b.names, schemas.String(s.Name))
	}
}
