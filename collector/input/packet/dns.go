package packet

import (
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

const (
	portDNS = 53

	maxQueriesOfConn = 64 // without an answer, on one connection
	maxAnswers       = 64 // written of one response
)

// dnsQuery is a question that waits for its answer.
type dnsQuery struct {
	c    *conn
	at   int64
	head dns.MsgHdr
	q    dns.Question
	done bool
}

// dnsPending is what a connection waits for, the oldest first.
type dnsPending struct{ queries []*dnsQuery }

// queryQueue is every query of every connection in the order of asking, so that
// those that nobody answers are written in time.
type queryQueue struct {
	items []*dnsQuery
	first int
}

func (q *queryQueue) push(x *dnsQuery) { q.items = append(q.items, x) }

func (q *queryQueue) len() int { return len(q.items) - q.first }

func (q *queryQueue) head() *dnsQuery {
	if q.first == len(q.items) {
		return nil
	}
	return q.items[q.first]
}

func (q *queryQueue) pop() {
	q.items[q.first] = nil
	q.first++
	if q.first > 1024 && q.first*2 > len(q.items) {
		n := copy(q.items, q.items[q.first:])
		clear(q.items[n:])
		q.items, q.first = q.items[:n], 0
	}
}

// expireQueries writes the queries that have waited too long.
func (e *engine) expireQueries() {
	for x := e.queries.head(); x != nil; x = e.queries.head() {
		if !x.done {
			if x.at+e.limits.dnsTimeout > e.now && e.queries.len() <= e.limits.queries {
				return
			}
			x.c.dns.take(x)
			e.writeDNS(x, nil, 0)
		}
		e.queries.pop()
	}
}

func (p *dnsPending) take(x *dnsQuery) {
	x.done = true
	for i, y := range p.queries {
		if y == x {
			p.queries = append(p.queries[:i], p.queries[i+1:]...)
			return
		}
	}
}

// dnsFlush writes the queries of a connection that ends.
func (e *engine) dnsFlush(c *conn) {
	if c.dns == nil {
		return
	}
	for _, x := range c.dns.queries {
		x.done = true
		e.writeDNS(x, nil, 0)
	}
	c.dns.queries = nil
}

// dnsMessage takes one DNS message. cut says that the capture lost its end.
func (e *engine) dnsMessage(c *conn, dir int, at int64, b []byte, cut bool) {
	var m dns.Msg
	if err := m.Unpack(b); err != nil {
		// A message that is cut off still says what was asked.
		if !cut || len(m.Question) == 0 {
			e.m.undecoded["dns"].Inc()
			return
		}
	}
	if m.Opcode != dns.OpcodeQuery || len(m.Question) > 1 || len(m.Question) == 0 && !m.Response {
		return // updates, notifies, and questions that nobody may ask (RFC 9619)
	}
	c.addService("dns")
	if c.dns == nil {
		c.dns = &dnsPending{}
	}
	if !m.Response {
		x := &dnsQuery{c: c, at: at, head: m.MsgHdr, q: m.Question[0]}
		if len(c.dns.queries) == maxQueriesOfConn {
			oldest := c.dns.queries[0]
			c.dns.take(oldest)
			e.writeDNS(oldest, nil, 0)
		}
		c.dns.queries = append(c.dns.queries, x)
		e.queries.push(x)
		return
	}
	for _, x := range c.dns.queries {
		if x.head.Id == m.Id && (len(m.Question) == 0 || sameQuestion(x.q, m.Question[0])) {
			c.dns.take(x)
			e.writeDNS(x, &m, at)
			return
		}
	}
	x := &dnsQuery{c: c, at: at, head: m.MsgHdr}
	if len(m.Question) == 1 {
		x.q = m.Question[0]
	}
	e.writeDNS(x, &m, at)
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// writeDNS writes a transaction; answer is nil where none was seen.
func (e *engine) writeDNS(x *dnsQuery, answer *dns.Msg, at int64) {
	if !e.wanted["dns"] {
		return
	}
	r := x.c.head("dns", x.at, e.identity)
	r.str("proto", x.c.protoName())
	r.int("trans_id", int64(x.head.Id))
	if answer != nil && !x.head.Response {
		r.seconds("rtt", at-x.at)
	}
	if x.q.Name != "" {
		name := strings.ToLower(x.q.Name)
		if name != "." {
			name = strings.TrimSuffix(name, ".")
		}
		r.str("query", name)
		r.int("qclass", int64(x.q.Qclass))
		r.str("qclass_name", className(x.q.Qclass))
		r.int("qtype", int64(x.q.Qtype))
		r.str("qtype_name", typeName(x.q.Qtype))
	}
	h := x.head
	if answer != nil {
		h = answer.MsgHdr
		r.int("rcode", int64(h.Rcode))
		r.str("rcode_name", rcodeName(h.Rcode))
	}
	r.bool("AA", h.Authoritative)
	r.bool("TC", h.Truncated)
	r.bool("RD", x.head.RecursionDesired)
	r.bool("RA", h.RecursionAvailable)
	if h.Zero {
		r.int("Z", 1)
	} else {
		r.int("Z", 0)
	}
	if answer != nil {
		answers, ttls := answersOf(answer)
		r.strs("answers", answers)
		r.numbers("TTLs", ttls)
		r.bool("rejected", len(answer.Answer) == 0 && h.Rcode == dns.RcodeRefused)
	} else {
		r.bool("rejected", false)
	}
	e.write("dns", r.done())
}

func className(c uint16) string {
	switch c {
	case dns.ClassINET:
		return "C_INTERNET"
	case dns.ClassCHAOS:
		return "C_CHAOS"
	case dns.ClassHESIOD:
		return "C_HESIOD"
	case dns.ClassNONE:
		return "C_NONE"
	case dns.ClassANY:
		return "C_ANY"
	}
	return "qclass-" + strconv.Itoa(int(c))
}

func typeName(t uint16) string {
	if t == dns.TypeANY {
		return "*"
	}
	if s, ok := dns.TypeToString[t]; ok {
		return s
	}
	return "query-" + strconv.Itoa(int(t))
}

func rcodeName(c int) string {
	if s, ok := dns.RcodeToString[c]; ok {
		return s
	}
	return "rcode-" + strconv.Itoa(c)
}

// answersOf gives the answer section as Zeek writes it.
func answersOf(m *dns.Msg) (answers []string, ttls []uint32) {
	for _, rr := range m.Answer[:min(len(m.Answer), maxAnswers)] {
		answers = append(answers, answerText(rr))
		ttls = append(ttls, rr.Header().Ttl)
	}
	return answers, ttls
}

func answerText(rr dns.RR) string {
	bare := func(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }
	switch v := rr.(type) {
	case *dns.A:
		return v.A.String()
	case *dns.AAAA:
		return v.AAAA.String()
	case *dns.CNAME:
		return bare(v.Target)
	case *dns.NS:
		return bare(v.Ns)
	case *dns.PTR:
		return bare(v.Ptr)
	case *dns.MX:
		return bare(v.Mx)
	case *dns.SRV:
		return bare(v.Target)
	case *dns.SOA:
		return bare(v.Ns)
	case *dns.DNAME:
		return bare(v.Target)
	case *dns.TXT:
		var parts []string
		for _, t := range v.Txt {
			parts = append(parts, "TXT "+strconv.Itoa(len(t))+" "+t)
		}
		return strings.Join(parts, " ")
	}
	return strings.TrimSpace(strings.TrimPrefix(rr.String(), rr.Header().String()))
}
