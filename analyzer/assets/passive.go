package assets

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

// Recent keeps the rate of passive observations low: it lets the same fact
// through once in a while. It is not safe for concurrent use.
type Recent struct {
	every time.Duration
	max   int
	last  map[fact]time.Time

	marked  int       // sites with marks that were told of
	since   time.Time // this time
	dropped uint64    // and those that were too many
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

// Dropped counts the sightings of sites with marks that were not told, because too
// many others were (see Abroad).
func (r *Recent) Dropped() uint64 { return r.dropped }

// allow says whether a fact is new enough to be told.
func (r *Recent) allow(f fact, at time.Time) bool {
	if r.told(f, at) {
		return false
	}
	r.note(f, at)
	return true
}

func (r *Recent) told(f fact, at time.Time) bool {
	was, ok := r.last[f]
	return ok && at.Sub(was) < r.every && was.Sub(at) < r.every
}

// note remembers that a fact is told. When the memory is full it is emptied: then
// facts are told once more than needed, which does no harm.
func (r *Recent) note(f fact, at time.Time) {
	if len(r.last) >= r.max {
		clear(r.last)
	}
	f.service, f.name = strings.Clone(f.service), strings.Clone(f.name)
	r.last[f] = at
}

// FromEvent is what a record of logs tells of the map's own hosts: an established
// connection to a service, what a server answered, its certificate, a name that
// resolves to an internal address, a lease. Most events tell nothing. The
// client's side is never a service, a question is no answer, and what a log
// cannot prove it does not tell: which address a web server's log line came to,
// for one, unless it says so.
func FromEvent(ev *schemas.Event, internal func(netip.Addr) bool, recent *Recent) []schemas.Observation {
	p := passive{ev: ev, internal: internal, recent: recent}
	if read := readers[ev.Str(schemas.FieldEventDataset)]; read != nil {
		return read(&p)
	}
	switch {
	case ev.Str(schemas.FieldEventAction) == "address_assigned":
		return p.lease(ev.Str(schemas.FieldSourceIP), ev.Str(schemas.FieldSourceMAC), ev.Str(schemas.FieldSourceDomain))
	case ev.Str(schemas.FieldDNSType) == "answer" && ev.Str(schemas.FieldEventAction) == "dns_answer":
		return p.dns() // of a server's own log
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
	case "ssl", "tls", "failed", "unknown":
		return "" // what runs inside is not known
	case "dns":
		return "domain"
	case "smb":
		return "microsoft-ds"
	case "rdp":
		return "ms-wbt-server"
	case "krb", "krb5", "krb_tcp":
		return "kerberos"
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
	return p.certificate()
}

// certificate is the observation of what a TLS handshake showed.
func (p *passive) certificate() []schemas.Observation {
	return p.service("tcp", &schemas.Service{TLS: &schemas.TLS{
		Version:   p.ev.Str(schemas.FieldTLSVersion),
		Cipher:    p.ev.Str(schemas.FieldTLSCipher),
		Subject:   p.ev.Str(schemas.FieldTLSServerSubject),
		Issuer:    p.ev.Str(schemas.FieldTLSServerIssuer),
		NotBefore: p.ev.Get(schemas.FieldTLSServerNotBefore).Time(),
		NotAfter:  p.ev.Get(schemas.FieldTLSServerNotAfter).Time(),
		SHA256:    p.ev.Str(schemas.FieldTLSServerHashSHA256),
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
	return p.serviceAt(p.ev.Str(schemas.FieldDestinationIP), int(p.ev.Get(schemas.FieldDestinationPort).Int()), transport, s)
}

// serviceAt is the observation that a service answers at an address and port.
func (p *passive) serviceAt(address string, port int, transport string, s *schemas.Service) []schemas.Observation {
	ip, ours := p.address(address)
	if !ours || port < 1 || port > 65535 {
		return nil
	}
	bound(s)
	kind := s.Name
	switch {
	case s.TLS != nil:
		kind = "tls " + s.TLS.SHA256
	case s.HTTP != nil:
		kind = "page"
	case s.Product != "":
		kind += " " + s.Product + " " + s.Version
	}
	if !p.recent.allow(fact{ip: ip, port: port, transport: transport, service: kind}, p.time()) {
		return nil
	}
	own(s)
	o := p.observation(schemas.ObservedPort, schemas.ServiceKey(ip, transport, port))
	o.IP, o.Port, o.Transport, o.Open = ip, port, strings.Clone(transport), true
	if !s.IsZero() {
		o.Service = s
	}
	return []schemas.Observation{o}
}

// address reads an address of ours that something can be at.
func (p *passive) address(text string) (ip netip.Addr, ours bool) {
	ip, err := netip.ParseAddr(text)
	ip = ip.Unmap()
	if err != nil || ip.Zone() != "" || ip.IsMulticast() || ip.IsUnspecified() || !p.internal(ip) {
		return netip.Addr{}, false
	}
	return ip, true
}

// The bounds of a passive service's texts, in bytes. Whoever answers writes them.
const (
	maxBanner = 512
	maxTLS    = 1024
	maxMAC    = 23 // of InfiniBand and EUI-64, with colons
)

// eachText calls f for the texts of a service, with how long each may be.
func eachText(s *schemas.Service, f func(text *string, most int)) {
	for _, text := range [...]*string{&s.Name, &s.Product, &s.Version, &s.OS} {
		f(text, maxShort)
	}
	f(&s.Banner, maxBanner)
	if t := s.TLS; t != nil {
		for _, text := range [...]*string{&t.Version, &t.Cipher, &t.Subject, &t.Issuer, &t.SHA256, &t.Serial} {
			f(text, maxTLS)
		}
	}
}

// bound leaves out what is longer than any honest text.
func bound(s *schemas.Service) {
	eachText(s, func(text *string, most int) {
		if len(*text) > most {
			*text = ""
		}
	})
}

// own makes the texts of a service its own: those of an event are gone with it. Few
// services are told, so it is done for those alone.
func own(s *schemas.Service) {
	eachText(s, func(text *string, _ int) { *text = strings.Clone(*text) })
}

// hostName is a name as it is compared, "" for what cannot be one.
func hostName(text string) string {
	name := schemas.CanonicalName(text)
	if len(name) > 253 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' || r == ':' || r == utf8.RuneError }) {
		return ""
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return ""
	}
	return name
}

// dns is the observation that a name resolves to internal addresses. A server
// that logs each answer by itself does not say what was asked.
func (p *passive) dns() []schemas.Observation {
	kind := p.ev.Str(schemas.FieldDNSQuestionType)
	name := hostName(p.ev.Str(schemas.FieldDNSQuestionName))
	answers := p.ev.Get(schemas.FieldDNSAnswersData).List()
	if name == "" || len(answers) == 0 || kind != "" && kind != "A" && kind != "AAAA" {
		return nil
	}
	if code := p.ev.Str(schemas.FieldDNSResponseCode); code != "" && code != "NOERROR" {
		return nil
	}
	var values []string
	for _, v := range answers {
		ip, ours := p.address(v.Str())
		if !ours || len(values) >= maxValues {
			continue
		}
		if kind == "" {
			if kind = "AAAA"; ip.Is4() {
				kind = "A"
			}
		}
		if ip.Is4() == (kind == "A") {
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

// host is the observation that an address answers.
func (p *passive) host(address string) []schemas.Observation {
	ip, ours := p.address(address)
	if !ours || !p.recent.allow(fact{ip: ip, service: "host"}, p.time()) {
		return nil
	}
	o := p.observation(schemas.ObservedHost, schemas.HostKey(ip))
	o.IP, o.Open = ip, true
	return []schemas.Observation{o}
}

// MethodLease is how a host was come by that was only given an address. It is a
// client of the network: whether it should be there is not for the whitelist of
// servers to say.
const MethodLease = "lease"

// lease is the observation that a machine was given an address.
func (p *passive) lease(address, mac, name string) []schemas.Observation {
	ip, ours := p.address(address)
	if !ours || p.ev.Str(schemas.FieldEventOutcome) == "failure" {
		return nil
	}
	if mac = strings.ReplaceAll(strings.ToLower(mac), "-", ":"); len(mac) > maxMAC || strings.Trim(mac, "0123456789abcdef:.") != "" {
		mac = ""
	}
	name = hostName(name)
	if !p.recent.allow(fact{ip: ip, service: MethodLease + " " + mac, name: name}, p.time()) {
		return nil
	}
	o := p.observation(schemas.ObservedHost, schemas.HostKey(ip))
	o.IP, o.Open, o.Method, o.MAC = ip, true, MethodLease, strings.Clone(mac)
	o.Name = strings.Clone(name)
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
