package assets

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

// Recent keeps the rate of passive observations low: it lets the same fact
// through once in a while. It is not safe for concurrent use.
type Recent struct {
	every time.Duration
	max   int
	last  map[fact]time.Time
}

// fact is what a passive observation says, without its details.
type fact struct {
	ip        netip.Addr
	port      int
	transport string
	service   string
	name      string
}

// NewRecent makes a filter that lets the same fact through once in every, in
// event time, and remembers up to max facts.
func NewRecent(max int, every time.Duration) *Recent {
	return &Recent{every: every, max: max, last: map[fact]time.Time{}}
}

// allow says whether a fact is new enough to be told. When the memory is full it
// is emptied: then facts are told once more than needed, which does no harm.
func (r *Recent) allow(f fact, at time.Time) bool {
	if was, ok := r.last[f]; ok && at.Sub(was) < r.every && was.Sub(at) < r.every {
		return false
	}
	if len(r.last) >= r.max {
		clear(r.last)
	}
	f.service, f.name = strings.Clone(f.service), strings.Clone(f.name)
	r.last[f] = at
	return true
}

// FromEvent is what a network sensor's record of internal hosts tells of the
// map: an established connection to a service, its protocol, its certificate,
// a name that resolves to an internal address. Most events tell nothing. The
// client's side is never a service.
func FromEvent(ev *schemas.Event, internal func(netip.Addr) bool, recent *Recent) []schemas.Observation {
	p := passive{ev: ev, internal: internal, recent: recent}
	switch ev.Str(schemas.FieldEventDataset) {
	case "zeek.conn", "flow.conn": // a flow has a state where its flags tell one
		return p.conn()
	case "zeek.ssl":
		return p.tls()
	case "zeek.http":
		return p.http()
	case "zeek.dns":
		return p.dns()
	}
	return nil
}

type passive struct {
	ev       *schemas.Event
	internal func(netip.Addr) bool
	recent   *Recent
}

// established are Zeek's connection states in which both sides have spoken.
var established = []string{"SF", "S1", "S2", "S3", "RSTO", "RSTR"}

func (p *passive) conn() []schemas.Observation {
	if !slices.Contains(established, p.ev.Str(schemas.FieldZeekConnState)) {
		return nil
	}
	transport, protocol := p.ev.Str(schemas.FieldNetworkTransport), p.ev.Str(schemas.FieldNetworkProtocol)
	if transport != "tcp" && (transport != "udp" || protocol == "") {
		return nil // without a handshake only a known protocol tells who serves
	}
	return p.service(transport, &schemas.Service{Name: serviceName(protocol)})
}

// serviceName is IANA's name for a protocol as sensors name it.
func serviceName(protocol string) string {
	switch protocol {
	case "ssl", "tls":
		return "" // what runs inside is not known
	case "dns":
		return "domain"
	}
	if strings.Contains(protocol, ",") {
		return "" // several, one inside the other
	}
	return protocol
}

func (p *passive) tls() []schemas.Observation {
	if !p.ev.Get(schemas.FieldTLSEstablished).Bool() {
		return nil
	}
	return p.service("tcp", &schemas.Service{TLS: &schemas.TLS{
		Version:   strings.Clone(p.ev.Str(schemas.FieldTLSVersion)),
		Cipher:    strings.Clone(p.ev.Str(schemas.FieldTLSCipher)),
		Subject:   strings.Clone(p.ev.Str(schemas.FieldTLSServerSubject)),
		Issuer:    strings.Clone(p.ev.Str(schemas.FieldTLSServerIssuer)),
		NotBefore: p.ev.Get(schemas.FieldTLSServerNotBefore).Time(),
		NotAfter:  p.ev.Get(schemas.FieldTLSServerNotAfter).Time(),
		SHA256:    strings.Clone(p.ev.Str(schemas.FieldTLSServerHashSHA256)),
	}})
}

func (p *passive) http() []schemas.Observation {
	status := int(p.ev.Get(schemas.FieldHTTPResponseStatusCode).Int())
	if status == 0 {
		return nil
	}
	return p.service("tcp", &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: status}})
}

// service is the observation that the record's responder serves.
func (p *passive) service(transport string, s *schemas.Service) []schemas.Observation {
	ip, err := netip.ParseAddr(p.ev.Str(schemas.FieldDestinationIP))
	port := int(p.ev.Get(schemas.FieldDestinationPort).Int())
	if err != nil || port < 1 || port > 65535 || ip.IsMulticast() || !p.internal(ip) {
		return nil
	}
	kind := s.Name
	switch {
	case s.TLS != nil:
		kind = "tls " + s.TLS.SHA256
	case s.HTTP != nil:
		kind = "page"
	}
	if !p.recent.allow(fact{ip: ip, port: port, transport: transport, service: kind}, p.time()) {
		return nil
	}
	s.Name = strings.Clone(s.Name)
	o := p.observation(schemas.ObservedPort, schemas.ServiceKey(ip, transport, port))
	o.IP, o.Port, o.Transport, o.Open = ip, port, strings.Clone(transport), true
	if !s.IsZero() {
		o.Service = s
	}
	return []schemas.Observation{o}
}

// dns is the observation that a name resolves to internal addresses.
func (p *passive) dns() []schemas.Observation {
	kind := p.ev.Str(schemas.FieldDNSQuestionType)
	name := strings.ToLower(strings.TrimSuffix(p.ev.Str(schemas.FieldDNSQuestionName), "."))
	if name == "" || len(name) > 253 || kind != "A" && kind != "AAAA" {
		return nil
	}
	var values []string
	for _, v := range p.ev.Get(schemas.FieldDNSAnswersData).List() {
		ip, err := netip.ParseAddr(v.Str())
		if err == nil && ip.Is4() == (kind == "A") && p.internal(ip) && len(values) < maxValues {
			values = append(values, ip.String())
		}
	}
	if len(values) == 0 {
		return nil
	}
	slices.Sort(values)
	if !p.recent.allow(fact{name: name, service: kind + " " + values[0]}, p.time()) {
		return nil
	}
	o := p.observation(schemas.ObservedName, schemas.DomainKey(name)+"/"+kind)
	o.Name, o.RecordType, o.Values, o.RCode = strings.Clone(name), strings.Clone(kind), slices.Compact(values), "NOERROR"
	return []schemas.Observation{o}
}

func (p *passive) time() time.Time {
	if t := p.ev.Time(); !t.IsZero() {
		return t
	}
	return p.ev.Received
}

func (p *passive) observation(kind schemas.ObservationKind, key string) schemas.Observation {
	return schemas.Observation{
		ID: p.ev.EventID() + "/" + key, Kind: kind, Time: p.time(), Source: strings.Clone(p.ev.Str(schemas.FieldEventDataset)),
		Unit: strings.Clone(cmp.Or(p.ev.Str(schemas.FieldOrganizationID), p.ev.Unit)),
	}
}
