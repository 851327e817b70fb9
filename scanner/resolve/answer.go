package resolve

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/miekg/dns"

	"fengsui/schemas"
)

const (
	udpSize    = 1232 // RFC 9715, DNS flag day 2020
	headerSize = 12
	maxValues  = 256  // of one answer
	maxChain   = 16   // aliases
	maxText    = 4096 // bytes of one value
)

// Answer is what a server says about one name and type.
type Answer struct {
	RCode  string   // NOERROR, NXDOMAIN, SERVFAIL …
	Values []string // in order; names in lower case without a final dot, MX as "10 mx.example"
	// Chain is what the name is an alias of, one after the other, as far as the
	// answer goes. With NXDOMAIN it is its last that does not exist.
	Chain         []string
	Authoritative bool
	Recursive     bool // the server also asks others
	// Second says that another server was asked before, and failed or refused.
	Second bool
	// Synthesized says that the name is an alias because one above it is (DNAME).
	Synthesized bool
	// Referral is the zone whose servers are to be asked instead, by a server that
	// does not ask them itself.
	Referral string
	// Exact and Wildcard are what signatures say, where they were asked for: the
	// record is the name's own, or a wildcard's (RFC 4034, 3.1.3).
	Exact, Wildcard bool
	Denials         []Denial                // what proves that something is not there, of a signed question
	Glue            map[string][]netip.Addr // of a question for NS: the servers' addresses, as far as told
	Server          netip.AddrPort
}

// Denial is an NSEC record: between owner and next there is no name.
type Denial struct{ Owner, Next string }

// Settled says whether the answer tells what there is, or that there is nothing.
func (a Answer) Settled() bool { return a.RCode == "NOERROR" || a.RCode == "NXDOMAIN" }

// pack writes the packet of a question, with the id left 0.
func pack(q Question) ([]byte, error) {
	name := dns.Fqdn(q.Name)
	wire := make([]byte, headerSize+len(name)+1+4+11)
	wire[2] = 1  // recursion desired
	wire[5] = 1  // one question
	wire[11] = 1 // one additional record: EDNS
	n, err := dns.PackDomainName(name, wire, headerSize, nil, false)
	if err != nil {
		return nil, fmt.Errorf("encoding the question: %w", err)
	}
	binary.BigEndian.PutUint16(wire[n:], q.Type)
	binary.BigEndian.PutUint16(wire[n+2:], dns.ClassINET)
	opt := wire[n+4:]
	binary.BigEndian.PutUint16(opt[1:], dns.TypeOPT)
	binary.BigEndian.PutUint16(opt[3:], udpSize)
	if q.Signed {
		opt[7] = 0x80 // DO
	}
	return wire[:n+4+11], nil
}

// answers says whether a packet is a reply to the question of another: the id is
// compared already.
func answers(question, packet []byte) bool {
	end := len(question) - 11 // before EDNS
	if len(packet) < end || packet[2]&0x80 == 0 || packet[4] != 0 || packet[5] != 1 {
		return false
	}
	name := end - 4
	for i := headerSize; i < name; i++ {
		a, b := question[i], packet[i]
		if a != b && !(a|0x20 == b|0x20 && 'a' <= a|0x20 && a|0x20 <= 'z') {
			return false
		}
	}
	return string(question[name:end]) == string(packet[name:end])
}

func truncated(packet []byte) bool { return packet[2]&2 != 0 }

// read takes an answer out of a packet that fits the question.
func read(q Question, packet []byte, from netip.AddrPort) (Answer, error) {
	if a, ok := quick(q, packet, from); ok {
		return a, nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(packet); err != nil {
		return Answer{}, err
	}
	if len(m.Question) != 1 {
		return Answer{}, errors.New("it has no question")
	}
	return answer(q, m, from), nil
}

// quick reads the packets that nearly all are: "no such name", and addresses of
// the name itself. It leaves all others, whatever is odd about them.
func quick(q Question, packet []byte, from netip.AddrPort) (a Answer, ok bool) {
	size := 4
	switch {
	case q.Signed || packet[3]&0x0f != 0 && packet[3]&0x0f != dns.RcodeNameError:
		return a, false
	case q.Type == dns.TypeAAAA:
		size = 16
	case q.Type != dns.TypeA:
		return a, false
	}
	count := int(binary.BigEndian.Uint16(packet[6:]))
	a = Answer{RCode: "NOERROR", Authoritative: packet[2]&4 != 0, Recursive: packet[3]&0x80 != 0, Server: from}
	if packet[3]&0x0f == dns.RcodeNameError {
		a.RCode = "NXDOMAIN"
		return a, count == 0 && plainEDNS(packet)
	}
	if count == 0 || count > maxValues || !plainEDNS(packet) {
		return a, false
	}
	at := headerSize
	for at < len(packet) && packet[at] != 0 { // the question's name is written out
		if packet[at] > 63 {
			return a, false
		}
		at += int(packet[at]) + 1
	}
	at += 1 + 4
	for range count {
		if at+12+size > len(packet) || packet[at] != 0xc0 || packet[at+1] != headerSize ||
			binary.BigEndian.Uint16(packet[at+2:]) != q.Type || binary.BigEndian.Uint16(packet[at+4:]) != dns.ClassINET ||
			binary.BigEndian.Uint16(packet[at+10:]) != uint16(size) {
			return a, false
		}
		ip, _ := netip.AddrFromSlice(packet[at+12 : at+12+size])
		if ip.Is4In6() {
			return a, false
		}
		a.Values = append(a.Values, ip.String())
		at += 12 + size
	}
	slices.Sort(a.Values)
	a.Values = slices.Compact(a.Values)
	return a, true
}

// plainEDNS says whether the packet ends with an EDNS record that adds nothing to
// the header's code, or has none.
func plainEDNS(packet []byte) bool {
	if packet[10] == 0 && packet[11] == 0 {
		return true
	}
	opt := packet[max(0, len(packet)-11):]
	return len(opt) == 11 && opt[0] == 0 && binary.BigEndian.Uint16(opt[1:]) == dns.TypeOPT && opt[5] == 0 && opt[9] == 0 && opt[10] == 0
}

// answer takes the values out of a reply: the records of the type asked for,
// under the name itself or what it is an alias of.
func answer(question Question, reply *dns.Msg, from netip.AddrPort) Answer {
	a := Answer{RCode: dns.RcodeToString[reply.Rcode], Authoritative: reply.Authoritative, Recursive: reply.RecursionAvailable, Server: from}
	if a.RCode == "" {
		a.RCode = strconv.Itoa(reply.Rcode)
	}
	name := schemas.CanonicalName(question.Name)
	a.follow(name, question.Type, reply.Answer)
	owner := name
	if n := len(a.Chain); n > 0 && question.Type != dns.TypeCNAME {
		owner = a.Chain[n-1]
	}
	for _, rr := range reply.Answer {
		if schemas.CanonicalName(rr.Header().Name) == owner && rr.Header().Rrtype == question.Type {
			a.add(Value(rr))
		}
	}
	a.readAuthority(name, question.Type, reply)
	slices.Sort(a.Values)
	a.Values = slices.Compact(a.Values)
	return a
}

func (a *Answer) add(value string) {
	if value != "" && len(a.Values) < maxValues {
		a.Values = append(a.Values, value)
	}
}

// follow goes along the aliases, in whatever order they stand, and reads what
// signatures say about the name itself.
func (a *Answer) follow(name string, qtype uint16, records []dns.RR) {
	next := map[string]string{}
	for _, rr := range records {
		owner := schemas.CanonicalName(rr.Header().Name)
		switch r := rr.(type) {
		case *dns.CNAME:
			if _, twice := next[owner]; !twice {
				next[owner] = schemas.CanonicalName(r.Target)
			}
		case *dns.DNAME:
			a.Synthesized = a.Synthesized || owner != name
		case *dns.RRSIG:
			if owner == name && !strings.HasPrefix(owner, "*.") {
				labels := dns.CountLabel(dns.Fqdn(owner))
				a.Exact = a.Exact || int(r.Labels) == labels
				a.Wildcard = a.Wildcard || int(r.Labels) < labels
			}
		}
	}
	if qtype == dns.TypeCNAME {
		return
	}
	seen := map[string]bool{name: true}
	for at := name; len(a.Chain) < maxChain; {
		to, is := next[at]
		if !is || seen[to] {
			return
		}
		seen[to] = true
		a.Chain = append(a.Chain, to)
		at = to
	}
}

// readAuthority reads what stands beside the answer: that another zone's servers
// are to be asked, and servers' addresses.
func (a *Answer) readAuthority(name string, qtype uint16, reply *dns.Msg) {
	if reply.Rcode == dns.RcodeSuccess && len(reply.Answer) == 0 && !reply.Authoritative {
		for _, rr := range reply.Ns {
			if rr.Header().Rrtype == dns.TypeSOA {
				a.Referral = ""
				break
			}
			ns, is := rr.(*dns.NS)
			if owner := schemas.CanonicalName(rr.Header().Name); is && Within(name, owner) {
				a.Referral = owner
				if owner == name && qtype == dns.TypeNS {
					a.add(Value(ns))
				}
			}
		}
	}
	for _, rr := range reply.Ns {
		if r, is := rr.(*dns.NSEC); is && len(a.Denials) < maxChain {
			a.Denials = append(a.Denials, Denial{schemas.CanonicalName(r.Hdr.Name), schemas.CanonicalName(r.NextDomain)})
		}
	}
	if qtype != dns.TypeNS {
		return
	}
	for _, rr := range reply.Extra {
		var ip netip.Addr
		switch r := rr.(type) {
		case *dns.A:
			ip, _ = netip.AddrFromSlice(r.A)
		case *dns.AAAA:
			ip, _ = netip.AddrFromSlice(r.AAAA)
		}
		if ip = ip.Unmap(); !ip.IsValid() {
			continue
		}
		owner := schemas.CanonicalName(rr.Header().Name)
		if a.Glue == nil {
			a.Glue = map[string][]netip.Addr{}
		}
		if len(a.Glue) < maxValues && len(a.Glue[owner]) < maxChain {
			a.Glue[owner] = append(a.Glue[owner], ip)
		}
	}
}

// Value is a record's data as text, as observations write it.
func Value(rr dns.RR) string {
	switch r := rr.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	case *dns.CNAME:
		return schemas.CanonicalName(r.Target)
	case *dns.NS:
		return schemas.CanonicalName(r.Ns)
	case *dns.MX:
		return strconv.Itoa(int(r.Preference)) + " " + schemas.CanonicalName(r.Mx)
	case *dns.PTR:
		return schemas.CanonicalName(r.Ptr)
	case *dns.SRV:
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, schemas.CanonicalName(r.Target))
	case *dns.SOA:
		return fmt.Sprintf("%s %s %d %d %d %d %d", schemas.CanonicalName(r.Ns), schemas.CanonicalName(r.Mbox), r.Serial, r.Refresh, r.Retry, r.Expire, r.Minttl)
	case *dns.CAA:
		return short(fmt.Sprintf("%d %s %q", r.Flag, r.Tag, r.Value))
	case *dns.TXT:
		return short(strings.Join(r.Txt, ""))
	case *dns.NSEC:
		types := make([]string, 0, len(r.TypeBitMap)+1)
		types = append(types, schemas.CanonicalName(r.NextDomain))
		for _, t := range r.TypeBitMap {
			types = append(types, dns.Type(t).String())
		}
		return short(strings.Join(types, " "))
	case *dns.NSEC3PARAM:
		return short(fmt.Sprintf("%d %d %d %s", r.Hash, r.Flags, r.Iterations, strings.ToLower(cmp.Or(r.Salt, "-"))))
	}
	return ""
}

func short(text string) string { return text[:min(len(text), maxText)] }

// Within says whether a name is a domain or below it; both are canonical.
func Within(name, domain string) bool {
	rest, is := strings.CutSuffix(name, domain)
	return is && (rest == "" || domain == "" || strings.HasSuffix(rest, "."))
}
