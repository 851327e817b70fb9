package graph

import (
	"net/netip"
	"slices"
	"strings"

	"fengsui/schemas"
)

// The bounds of what one observation shows.
const (
	maxValues           = 64 // of one record set
	maxCertificateNames = 64
)

// AppendEdges appends the edges that one observation shows, each counted once.
// What says that something is gone shows none, and neither does an open port
// that is doubted: a middlebox that answers on every port is no host of services.
func AppendEdges(dst []schemas.Edge, o *schemas.Observation, offset int64) []schemas.Edge {
	e := edges{list: dst, like: schemas.Edge{Source: o.Source, First: o.Time, Last: o.Time, Count: 1, Offset: offset}}
	switch o.Kind {
	case schemas.ObservedName:
		e.names(schemas.CanonicalName(o.Name), o.RecordType, o.Values)
	case schemas.ObservedPort:
		if o.Open && o.Doubt == "" && o.IP.IsValid() && o.Port > 0 && o.Port < 65536 && (o.Transport == "tcp" || o.Transport == "udp") {
			key := schemas.ServiceKey(o.IP, o.Transport, o.Port)
			e.add(schemas.HostKey(o.IP), schemas.EdgeServes, key)
			e.service(key, o.Service)
		}
	}
	return e.list
}

// EdgesOf is the edges that an asset has in the state that it is in.
func EdgesOf(a *schemas.Asset) []schemas.Edge {
	var e edges
	switch a.Kind {
	case schemas.AssetDomain:
		for _, r := range a.Records {
			e.names(a.Name, r.Type, r.Values)
		}
	case schemas.AssetHost:
		for _, name := range a.Names {
			e.add(a.Key, schemas.EdgePTR, schemas.DomainKey(name))
		}
	case schemas.AssetService:
		if a.Alive {
			e.add(schemas.HostKey(a.IP), schemas.EdgeServes, a.Key)
			e.service(a.Key, a.Service)
		}
	}
	return e.list
}

// edges gathers edges of one kind of evidence, each once.
type edges struct {
	list []schemas.Edge
	like schemas.Edge
}

func (e *edges) add(from string, kind schemas.EdgeKind, to string) {
	one := e.like
	one.From, one.Kind, one.To = from, kind, to
	e.list = append(e.list, one)
}

// targets are the record types that lead from a name to another.
var targets = map[string]schemas.EdgeKind{
	"CNAME": schemas.EdgeAlias, "DNAME": schemas.EdgeAlias, "NS": schemas.EdgeNS, "MX": schemas.EdgeMX, "SRV": schemas.EdgeSRV,
}

func (e *edges) names(name, kind string, values []string) {
	if name == "" {
		return
	}
	from := len(e.list)
	for _, v := range values[:min(len(values), maxValues)] {
		switch kind {
		case "A", "AAAA":
			if ip, err := netip.ParseAddr(v); err == nil {
				e.add(schemas.DomainKey(name), schemas.EdgeResolves, schemas.HostKey(ip))
			}
		case "PTR":
			if ip, ok := ReverseAddr(name); ok {
				e.name(schemas.HostKey(ip), schemas.EdgePTR, v)
			}
		default:
			if edge, ok := targets[kind]; ok {
				fields := strings.Fields(v) // "10 mx.example.cn": the name comes last
				if len(fields) > 0 {
					e.name(schemas.DomainKey(name), edge, fields[len(fields)-1])
				}
			}
		}
	}
	e.once(from)
}

// name adds an edge to a name; the root, which an MX or SRV record names to say
// that there is none, is no name.
func (e *edges) name(from string, kind schemas.EdgeKind, to string) {
	if to = schemas.CanonicalName(to); to != "" && len(to) <= 253 {
		e.add(from, kind, schemas.DomainKey(to))
	}
}

func (e *edges) service(key string, s *schemas.Service) {
	if s == nil {
		return
	}
	from := len(e.list)
	if s.Product != "" {
		e.add(key, schemas.EdgeRuns, schemas.TechnologyKey(s.Product))
	}
	for _, t := range s.Technologies {
		if t.Name != "" {
			e.add(key, schemas.EdgeRuns, schemas.TechnologyKey(t.Name))
		}
	}
	if t := s.TLS; t != nil && t.SHA256 != "" {
		certificate := schemas.CertificateKey(strings.ToLower(t.SHA256))
		e.add(key, schemas.EdgePresents, certificate)
		for _, name := range t.Names[:min(len(t.Names), maxCertificateNames)] {
			e.name(certificate, schemas.EdgeNames, name)
		}
	}
	e.once(from)
}

// once leaves each edge from a place on once.
func (e *edges) once(from int) {
	list := e.list[from:]
	if len(list) < 2 {
		return
	}
	slices.SortFunc(list, func(a, b schemas.Edge) int { return compareEdges(&a, &b) })
	e.list = e.list[:from+len(slices.CompactFunc(list, func(a, b schemas.Edge) bool { return compareEdges(&a, &b) == 0 }))]
}

func compareEdges(a, b *schemas.Edge) int {
	for _, pair := range [][2]string{{a.From, b.From}, {string(a.Kind), string(b.Kind)}, {a.To, b.To}, {a.Source, b.Source}} {
		if c := strings.Compare(pair[0], pair[1]); c != 0 {
			return c
		}
	}
	return 0
}

// Tally sums the edges of many observations.
type Tally struct {
	at   map[edgeKey]int
	list []schemas.Edge
}

type edgeKey struct {
	from, to, source string
	kind             schemas.EdgeKind
}

// NewTally makes an empty one.
func NewTally() *Tally { return &Tally{at: map[edgeKey]int{}} }

// Add counts edges in.
func (t *Tally) Add(edges []schemas.Edge) {
	for i := range edges {
		e := &edges[i]
		key := edgeKey{e.From, e.To, e.Source, e.Kind}
		at, known := t.at[key]
		if !known {
			t.at[key] = len(t.list)
			t.list = append(t.list, *e)
			continue
		}
		sum := &t.list[at]
		if e.First.Before(sum.First) {
			sum.First = e.First
		}
		if e.Last.After(sum.Last) {
			sum.Last = e.Last
		}
		sum.Count += e.Count
		sum.Offset = max(sum.Offset, e.Offset)
	}
}

// List is the sums, in the order of what came first.
func (t *Tally) List() []schemas.Edge { return t.list }

// ReverseAddr is the address that a name of in-addr.arpa (RFC 1035, 3.5) or
// ip6.arpa (RFC 3596, 2.5) stands for.
func ReverseAddr(name string) (netip.Addr, bool) {
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
