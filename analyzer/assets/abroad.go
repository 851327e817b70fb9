package assets

import (
	"encoding/base64"
	"html"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"

	"fengsui/analyzer/marks"
	"fengsui/schemas"
)

// MethodMarks is how something on an address of nobody's was come by: it carries a
// registered unit's marks. It is no asset, and never in the map.
const MethodMarks = "marks"

// The bounds of what is told of sites that carry marks: anybody can make one.
const (
	maxMarked  = 1000     // in the time in which a fact is told once
	maxPage    = 64 << 10 // bytes of a page that are read
	maxSubject = 1024     // bytes
)

// allowMarked is allow for what others can make as much of as they like.
func (r *Recent) allowMarked(f fact, at time.Time) bool {
	if r.told(f, at) {
		return false
	}
	if d := at.Sub(r.since); d >= r.every || -d >= r.every {
		r.since, r.marked = at, 0
	}
	if r.marked >= maxMarked {
		r.dropped++
		return false
	}
	r.marked++
	r.note(f, at)
	return true
}

// Abroad is what a record of logs tells of a site on an address of nobody's that
// carries a registered unit's marks: a page, a handshake, a name that resolves
// there. All else out there tells nothing. What is told holds the marks, and
// little besides: neither a page nor who looked at it.
func Abroad(ev *schemas.Event, internal func(netip.Addr) bool, known *marks.Marks, recent *Recent) []schemas.Observation {
	p := abroad{passive{ev: ev, internal: internal, recent: recent}, known}
	switch ev.Str(schemas.FieldEventDataset) {
	case "zeek.http", "suricata.http":
		return p.page()
	case "zeek.ssl":
		if ev.Get(schemas.FieldTLSEstablished).Bool() {
			return p.handshake()
		}
	case "suricata.tls":
		if ev.Str(schemas.FieldTLSServerSubject) != "" || ev.Str(schemas.FieldTLSServerJA3S) != "" {
			return p.handshake()
		}
	case "zeek.dns":
		return p.resolved()
	case "suricata.dns":
		if ev.Str(schemas.FieldDNSType) == "answer" {
			return p.resolved()
		}
	default:
		if ev.Str(schemas.FieldDNSType) == "answer" && ev.Str(schemas.FieldEventAction) == "dns_answer" {
			return p.resolved() // of a server's own log
		}
	}
	return nil
}

type abroad struct {
	passive
	known *marks.Marks
}

// foreign says whether an address is somebody's on the Internet, and not ours.
func (p *abroad) foreign(ip netip.Addr) bool {
	return ip.IsGlobalUnicast() && !ip.IsPrivate() && ip.Zone() == "" && !p.internal(ip)
}

// server is where the record's responder is, if that is abroad: nearly all that is
// not is done with here, before anything of it is read.
func (p *abroad) server() (at netip.AddrPort, ok bool) {
	ip, err := netip.ParseAddr(p.ev.Str(schemas.FieldDestinationIP))
	port := p.ev.Get(schemas.FieldDestinationPort).Int()
	if ip = ip.Unmap(); err != nil || port < 1 || port > 65535 || !p.foreign(ip) {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(ip, uint16(port)), true
}

// page is a page that a foreign server answered with.
func (p *abroad) page() []schemas.Observation {
	at, ok := p.server()
	status := int(p.ev.Get(schemas.FieldHTTPResponseStatusCode).Int())
	if !ok || status < 100 || status > 999 {
		return nil
	}
	text := p.body()
	return p.site(at, p.ev.Str(schemas.FieldURLDomain), &schemas.Service{Name: "http", HTTP: &schemas.HTTP{Status: status, Title: title(text), Body: text}})
}

// body is the page as far as the log has it: as text, or as Suricata's base64.
func (p *abroad) body() string {
	raw := p.text("suricata.eve.http.http_response_body")
	if raw == "" {
		body := p.ev.Str(schemas.FieldHTTPResponseBodyContent)
		return body[:min(len(body), maxPage)]
	}
	raw = raw[:min(len(raw), maxPage)]
	body, err := base64.StdEncoding.DecodeString(raw[:len(raw)/4*4])
	if err != nil {
		return ""
	}
	for cut := range utf8.UTFMax { // the end may be in the middle of a letter
		if cut <= len(body) && utf8.Valid(body[:len(body)-cut]) {
			return string(body[:len(body)-cut])
		}
	}
	if decoded, err := simplifiedchinese.GB18030.NewDecoder().Bytes(body); err == nil {
		return string(decoded)
	}
	return ""
}

// title is a page's title.
func title(page string) string {
	at := -1
	for from := 0; at < 0; {
		next := strings.IndexByte(page[from:], '<')
		if next < 0 || from+next+6 > len(page) {
			return ""
		}
		if from += next; strings.EqualFold(page[from:from+6], "<title") {
			at = from + 6
		}
		from++
	}
	page = page[at:]
	begin := strings.IndexByte(page, '>')
	if begin < 0 {
		return ""
	}
	page = page[begin+1:]
	if end := strings.IndexByte(page, '<'); end >= 0 {
		page = page[:end]
	}
	return strings.TrimSpace(html.UnescapeString(page[:min(len(page), 4096)]))
}

// handshake is a certificate that a foreign server showed, and the name that it
// was asked for.
func (p *abroad) handshake() []schemas.Observation {
	at, ok := p.server()
	if !ok {
		return nil
	}
	t := &schemas.TLS{Subject: p.ev.Str(schemas.FieldTLSServerSubject)}
	if len(t.Subject) > maxSubject {
		t.Subject = ""
	}
	if names := p.ev.Lookup("suricata.eve.tls.subjectaltname"); !names.IsNone() {
		list := names.List()
		if len(list) == 0 {
			list = []schemas.Value{names}
		}
		for _, v := range list[:min(len(list), maxValues)] {
			if name := v.Str(); name != "" && len(name) <= 253 {
				t.Names = append(t.Names, name)
			}
		}
	}
	return p.site(at, p.ev.Str(schemas.FieldTLSClientServerName), &schemas.Service{TLS: t})
}

// site is the observation of a service abroad, if it carries marks.
func (p *abroad) site(at netip.AddrPort, host string, s *schemas.Service) []schemas.Observation {
	ip, port := at.Addr(), int(at.Port())
	o := schemas.Observation{Kind: schemas.ObservedPort, Name: hostName(host), IP: ip, Port: port, Transport: "tcp", Open: true, Service: s}
	mark, ok := p.known.Of(&o)
	if !ok {
		return nil
	}
	told := fact{ip: ip, port: port, transport: "tcp", service: mark.What + " " + mark.Text, name: mark.Host}
	if mark.Host != "" {
		told = fact{service: mark.What + " " + mark.Text, name: mark.Host}
	}
	if !p.recent.allowMarked(told, p.time()) {
		return nil
	}
	o.Service = shows(s, mark)
	return p.tell(o, schemas.ServiceKey(ip, "tcp", port))
}

// shows is as much of a service as shows its mark.
func shows(s *schemas.Service, mark marks.Mark) *schemas.Service {
	out := &schemas.Service{Name: s.Name}
	if s.HTTP != nil {
		out.HTTP = &schemas.HTTP{Status: s.HTTP.Status}
		switch mark.What {
		case "title":
			out.HTTP.Title = strings.Clone(mark.Text)
		case "icp":
			out.HTTP.Body = strings.Clone(mark.Text)
		}
	}
	if s.TLS != nil {
		out.TLS = &schemas.TLS{Subject: strings.Clone(s.TLS.Subject)}
		for _, name := range s.TLS.Names {
			if hostName(name) == mark.Host {
				out.TLS.Names = []string{strings.Clone(name)}
			}
		}
	}
	return out
}

// resolved is a foreign name that resolves to nothing but foreign addresses, if it
// carries marks.
func (p *abroad) resolved() []schemas.Observation {
	kind, name := p.ev.Str(schemas.FieldDNSQuestionType), hostName(p.ev.Str(schemas.FieldDNSQuestionName))
	code := p.ev.Str(schemas.FieldDNSResponseCode)
	answers := p.ev.Get(schemas.FieldDNSAnswersData).List()
	if name == "" || len(answers) == 0 || kind != "" && kind != "A" && kind != "AAAA" || code != "" && code != "NOERROR" {
		return nil
	}
	o := schemas.Observation{Kind: schemas.ObservedName, Name: name, RCode: "NOERROR"}
	mark, ok := p.known.Of(&o)
	if !ok {
		return nil
	}
	for _, v := range answers {
		ip, err := netip.ParseAddr(v.Str())
		if err != nil {
			continue // an alias
		}
		ip = ip.Unmap()
		if !p.foreign(ip) {
			return nil
		}
		if kind == "" {
			if kind = "AAAA"; ip.Is4() {
				kind = "A"
			}
		}
		if len(o.Values) < maxValues && ip.Is4() == (kind == "A") {
			o.Values = append(o.Values, ip.String())
		}
	}
	if len(o.Values) == 0 || !p.recent.allowMarked(fact{service: mark.What + " " + mark.Text, name: name}, p.time()) {
		return nil
	}
	slices.Sort(o.Values)
	o.Values, o.RecordType = slices.Compact(o.Values), kind
	return p.tell(o, schemas.DomainKey(name)+"/"+kind)
}

func (p *abroad) tell(o schemas.Observation, key string) []schemas.Observation {
	like := p.observation(o.Kind, key)
	o.ID, o.Time, o.Source, o.Unit = like.ID, like.Time, like.Source, like.Unit
	o.Name, o.RecordType, o.Method = strings.Clone(o.Name), strings.Clone(o.RecordType), MethodMarks
	return []schemas.Observation{o}
}
