// Package resolve asks DNS servers many questions at once: one UDP socket a
// server, many queries in flight, time-outs that follow the server's pace, TCP
// where an answer was cut.
//
// It asks only the servers it was given, follows no referral, keeps no cache,
// and decides nothing about what may be asked.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	attempts    = 4 // for one question, over all servers
	udpSize     = 1232
	tcpTimeout  = 5 * time.Second
	firstWait   = time.Second // before a server's pace is known
	leastWait   = 250 * time.Millisecond
	mostWait    = 3 * time.Second
	maxInFlight = 500
	maxValues   = 256 // of one answer
)

// ErrNoAnswer says that no server answered a question in time.
var ErrNoAnswer = errors.New("no DNS server answered")

// Answer is what a server says about one name and type.
type Answer struct {
	RCode  string   // NOERROR, NXDOMAIN, SERVFAIL …
	Values []string // in order; names in lower case without a final dot, MX as "10 mx.example"
}

// Settled says whether the answer tells what there is, or that there is nothing.
func (a Answer) Settled() bool { return a.RCode == "NOERROR" || a.RCode == "NXDOMAIN" }

// Client asks. Ask may be called from many goroutines; Close ends it.
type Client struct {
	servers []*server
}

// System is the servers of /etc/resolv.conf.
func System() ([]netip.AddrPort, error) {
	conf, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil, fmt.Errorf("reading the system's DNS servers: %w", err)
	}
	var out []netip.AddrPort
	for _, s := range conf.Servers {
		at, err := ParseServer(net.JoinHostPort(s, conf.Port))
		if err != nil {
			return nil, err
		}
		out = append(out, at)
	}
	if len(out) == 0 {
		return nil, errors.New("/etc/resolv.conf names no DNS server")
	}
	return out, nil
}

// ParseServer reads "192.0.2.53", "[2001:db8::53]:5353" and the like.
func ParseServer(text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(text); err == nil {
		return netip.AddrPortFrom(ip, 53), nil
	}
	at, err := netip.ParseAddrPort(text)
	if err != nil || at.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("DNS server %q is not an address, with or without a port", text)
	}
	return at, nil
}

// Open makes the sockets. It sends nothing.
func Open(servers []netip.AddrPort) (*Client, error) {
	if len(servers) == 0 {
		return nil, errors.New("no DNS servers")
	}
	c := &Client{}
	for _, at := range servers {
		conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("opening a socket for the DNS server %s: %w", at, err)
		}
		s := &server{at: at, conn: conn, pending: map[uint16]query{}, pace: pace{size: 32}}
		s.done.Go(s.read)
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// Close closes the sockets. Questions in progress find no answer.
func (c *Client) Close() {
	for _, s := range c.servers {
		_ = s.conn.Close()
	}
	for _, s := range c.servers {
		s.done.Wait()
	}
}

// Ask asks for the records of a type under a name. A server that fails or
// refuses is answered for by the next; if all do, theirs is the answer.
func (c *Client) Ask(ctx context.Context, name string, qtype uint16) (Answer, error) {
	question := new(dns.Msg)
	question.SetQuestion(dns.Fqdn(name), qtype)
	question.SetEdns0(udpSize, false)
	var failed *dns.Msg
	var trouble error
	for i := range attempts {
		s := c.servers[i%len(c.servers)]
		reply, err := s.ask(ctx, question, i/len(c.servers))
		switch {
		case ctx.Err() != nil:
			return Answer{}, fmt.Errorf("asking for %s %s: %w", name, dns.TypeToString[qtype], context.Cause(ctx))
		case err != nil:
			trouble = err
		case reply.Rcode == dns.RcodeSuccess || reply.Rcode == dns.RcodeNameError:
			return answer(question, reply), nil
		default:
			failed = reply
			if i >= len(c.servers) { // each was asked, this one twice
				return answer(question, failed), nil
			}
		}
	}
	if failed != nil {
		return answer(question, failed), nil
	}
	return Answer{}, fmt.Errorf("%w about %s %s: %w", ErrNoAnswer, name, dns.TypeToString[qtype], trouble)
}

// server is one server with its socket.
type server struct {
	at   netip.AddrPort
	conn *net.UDPConn
	done sync.WaitGroup
	pace pace

	mu      sync.Mutex
	pending map[uint16]query
}

type query struct {
	question dns.Question
	reply    chan *dns.Msg // of size 1
}

var errTimeout = errors.New("time-out")

func (s *server) ask(ctx context.Context, question *dns.Msg, tries int) (*dns.Msg, error) {
	if err := s.pace.take(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	reply, err := s.exchange(ctx, question, s.pace.wait(tries))
	s.pace.give(err == nil, time.Since(start))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.at, err)
	}
	if !reply.Truncated {
		return reply, nil
	}
	tcp := dns.Client{Net: "tcp", Timeout: tcpTimeout}
	whole, _, err := tcp.ExchangeContext(ctx, question, s.at.String())
	if err != nil {
		return nil, fmt.Errorf("%s over TCP: %w", s.at, err)
	}
	return whole, nil
}

func (s *server) exchange(ctx context.Context, question *dns.Msg, wait time.Duration) (*dns.Msg, error) {
	q := query{question: question.Question[0], reply: make(chan *dns.Msg, 1)}
	msg := *question // its own id; nothing else differs
	msg.Id = s.register(q)
	defer s.forget(msg.Id)
	wire, err := msg.Pack()
	if err != nil {
		return nil, fmt.Errorf("encoding the question: %w", err)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	if _, err := s.conn.Write(wire); err != nil && errors.Is(err, net.ErrClosed) {
		return nil, err
	} // another error is an old "unreachable": the question goes unanswered
	select {
	case m := <-q.reply:
		return m, nil
	case <-timer.C:
		return nil, errTimeout
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// register gives a question an id that no other in flight has and that cannot
// be guessed.
func (s *server) register(q query) uint16 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		id := uint16(rand.Uint32()) // the runtime's ChaCha8, seeded by the system
		if _, used := s.pending[id]; !used {
			s.pending[id] = q
			return id
		}
	}
}

func (s *server) forget(id uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// read gives replies to those who wait for them. What fits no question is
// nobody's: late, or forged.
func (s *server) read() {
	buf := make([]byte, 64<<10)
	for {
		n, err := s.conn.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Millisecond) // "unreachable": the question's own time-out tells
			continue
		}
		reply := new(dns.Msg)
		if err := reply.Unpack(buf[:n]); err != nil && !reply.Truncated {
			continue
		}
		s.mu.Lock()
		q, ok := s.pending[reply.Id]
		s.mu.Unlock()
		if !ok || !fits(q.question, reply) {
			continue
		}
		select {
		case q.reply <- reply:
		default: // answered already
		}
	}
}

func fits(q dns.Question, reply *dns.Msg) bool {
	if !reply.Response || len(reply.Question) != 1 {
		return false
	}
	r := reply.Question[0]
	return r.Qtype == q.Qtype && r.Qclass == q.Qclass && strings.EqualFold(r.Name, q.Name)
}

// pace bounds the questions in flight to a server and says how long to wait for
// one, from how it has done so far: more while it answers, half when it is
// silent (as TCP does; RFC 5681, RFC 6298).
type pace struct {
	mu       sync.Mutex
	size     float64
	used     int
	waiting  []chan struct{}
	smooth   time.Duration // mean round trip
	vary     time.Duration // and its mean deviation
	lastHalf time.Time
}

func (p *pace) take(ctx context.Context) error {
	p.mu.Lock()
	if p.used < int(p.size) {
		p.used++
		p.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, turn); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	} else { // the turn came at the same moment
		p.used--
		p.wakeLocked()
	}
	return context.Cause(ctx)
}

func (p *pace) give(answered bool, took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if answered {
		p.size = min(p.size+1/p.size, maxInFlight)
		if p.smooth == 0 {
			p.smooth, p.vary = took, took/2
		} else {
			p.vary += ((took - p.smooth).Abs() - p.vary) / 4
			p.smooth += (took - p.smooth) / 8
		}
	} else if now := time.Now(); now.Sub(p.lastHalf) > leastWait {
		p.size, p.lastHalf = max(p.size/2, 4), now
	}
	p.used--
	p.wakeLocked()
}

func (p *pace) wakeLocked() {
	for len(p.waiting) > 0 && p.used < int(p.size) {
		close(p.waiting[0])
		p.waiting = p.waiting[1:]
		p.used++
	}
}

// wait is how long to wait for an answer to a question asked for the n-th time.
func (p *pace) wait(tries int) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := firstWait
	if p.smooth > 0 {
		w = max(p.smooth+4*p.vary, leastWait)
	}
	return min(w<<tries, mostWait)
}

// answer takes the values out of a reply: the records of the type asked for,
// under the name itself or what it is an alias of.
func answer(question, reply *dns.Msg) Answer {
	a := Answer{RCode: dns.RcodeToString[reply.Rcode]}
	if a.RCode == "" {
		a.RCode = strconv.Itoa(reply.Rcode)
	}
	q := question.Question[0]
	owner := map[string]bool{Canonical(q.Name): true}
	if q.Qtype != dns.TypeCNAME {
		for range reply.Answer { // aliases may stand in any order
			for _, rr := range reply.Answer {
				if c, ok := rr.(*dns.CNAME); ok && owner[Canonical(c.Hdr.Name)] {
					owner[Canonical(c.Target)] = true
				}
			}
			if len(owner) > 16 {
				break
			}
		}
	}
	for _, rr := range reply.Answer {
		if rr.Header().Rrtype != q.Qtype || !owner[Canonical(rr.Header().Name)] {
			continue
		}
		if v := value(rr); v != "" && len(a.Values) < maxValues {
			a.Values = append(a.Values, v)
		}
	}
	slices.Sort(a.Values)
	a.Values = slices.Compact(a.Values)
	return a
}

func value(rr dns.RR) string {
	switch r := rr.(type) {
	case *dns.A:
		return r.A.String()
	case *dns.AAAA:
		return r.AAAA.String()
	case *dns.CNAME:
		return Canonical(r.Target)
	case *dns.NS:
		return Canonical(r.Ns)
	case *dns.MX:
		return strconv.Itoa(int(r.Preference)) + " " + Canonical(r.Mx)
	case *dns.PTR:
		return Canonical(r.Ptr)
	case *dns.TXT:
		return strings.Join(r.Txt, "")
	}
	return ""
}

// Canonical is a name in lower case without its final dot; the root is "".
func Canonical(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, "."))
}
