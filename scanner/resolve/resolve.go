// Package resolve asks DNS servers many questions at once: one UDP socket a
// server, hundreds of queries in flight, a window and time-outs that follow the
// server's pace, TCP where an answer was cut, the next server where one fails.
//
// Every question ends in an answer or an error that says why there is none. It
// asks only the servers it was given, follows no referral, keeps no cache, and
// decides nothing about what may be asked.
package resolve

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/time/rate"
)

const (
	attempts    = 5 // for one question, over all servers
	outstanding = 2048
	maxStreams  = 16 // TCP connections of a client at the same time
	tcpTimeout  = 5 * time.Second
)

var (
	// ErrNoAnswer says that no server answered a question in time.
	ErrNoAnswer = errors.New("no DNS server answered")
	errTimeout  = errors.New("time-out")
	errClosed   = errors.New("the client is closed")
)

// Question is one name and type.
type Question struct {
	Name   string
	Type   uint16
	Signed bool // ask for signatures too: they prove which answers a wildcard made
}

func (q Question) String() string { return q.Name + " " + dns.Type(q.Type).String() }

// Client asks. Its methods may be called from many goroutines; Close ends it.
type Client struct {
	servers []*server
	limit   *rate.Limiter // nil: none
	streams chan struct{}
	life    context.Context // ends with Close
	end     context.CancelFunc
	done    sync.WaitGroup

	repeated atomic.Uint64
}

// Options is how a client asks.
type Options struct {
	Rate int // questions a second over all servers, repeated ones too; 0: as fast as they answer
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
func Open(servers []netip.AddrPort, o Options) (*Client, error) {
	if len(servers) == 0 {
		return nil, errors.New("no DNS servers")
	}
	c := &Client{streams: make(chan struct{}, maxStreams)}
	c.life, c.end = context.WithCancel(context.Background())
	if o.Rate > 0 {
		c.limit = rate.NewLimiter(rate.Limit(o.Rate), min(max(o.Rate/100, 1), batch))
	}
	for _, at := range servers {
		s, err := newServer(c, at)
		if err != nil {
			c.Close()
			return nil, fmt.Errorf("opening a socket for the DNS server %s: %w", at, err)
		}
		c.servers = append(c.servers, s)
	}
	c.done.Go(c.watch)
	return c, nil
}

// Close closes the sockets. Questions in progress end with an error.
func (c *Client) Close() {
	c.end()
	for _, s := range c.servers {
		s.close()
	}
	for _, s := range c.servers {
		s.done.Wait() // which start what the client waits for
	}
	c.done.Wait()
	for _, s := range c.servers {
		for _, q := range s.abandon() {
			q.finish(Answer{}, fmt.Errorf("asking for %s: %w", q, errClosed))
		}
	}
}

// Repeated counts the questions that were asked once more, for whatever reason.
func (c *Client) Repeated() uint64 { return c.repeated.Load() }

// Servers is how many servers there are.
func (c *Client) Servers() int { return len(c.servers) }

// Server is the address of one of them.
func (c *Client) Server(i int) netip.AddrPort { return c.servers[i].at }

// Ask asks one question. A server that fails or refuses is answered for by the
// next; if all do, theirs is the answer.
func (c *Client) Ask(ctx context.Context, name string, qtype uint16) (Answer, error) {
	return c.Put(ctx, Question{Name: name, Type: qtype})
}

// Put is Ask for a question that says more.
func (c *Client) Put(ctx context.Context, q Question) (Answer, error) { return c.put(ctx, q, -1) }

// PutTo asks one server alone, by its number.
func (c *Client) PutTo(ctx context.Context, server int, q Question) (Answer, error) {
	return c.put(ctx, q, server)
}

func (c *Client) put(ctx context.Context, question Question, only int) (Answer, error) {
	result := make(chan result, 1)
	q, err := newQuery(question, only, result)
	if err != nil {
		return Answer{}, err
	}
	c.ask(q)
	select {
	case r := <-result:
		return r.answer, r.err
	case <-ctx.Done():
		q.over.Store(true)
		return Answer{}, fmt.Errorf("asking for %s: %w", question, context.Cause(ctx))
	}
}

// Each asks all of the questions and calls each, from this goroutine and in the
// order of the answers, with what came of every one of them. It ends early with
// each's error or when ctx ends. The questions are drawn from another goroutine,
// not many more than are in flight.
func (c *Client) Each(ctx context.Context, questions iter.Seq[Question], each func(Question, Answer, error) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var feeding sync.WaitGroup
	defer feeding.Wait()
	defer cancel(nil)
	results := make(chan result, outstanding) // never full: a question waits for room before it is asked
	room := make(chan struct{}, outstanding)
	asked := make(chan int, 1)
	over := new(atomic.Bool)
	defer over.Store(true)
	feeding.Go(func() {
		n := 0
		defer func() { asked <- n }()
		for question := range questions {
			select {
			case room <- struct{}{}:
			case <-ctx.Done():
				return
			}
			n++
			q, err := newQuery(question, -1, results)
			if err != nil {
				results <- result{question: question, err: err}
				continue
			}
			q.group = over
			c.ask(q)
		}
	})
	total := -1
	for got := 0; got != total; {
		select {
		case r := <-results:
			got++
			<-room
			if err := each(r.question, r.answer, r.err); err != nil {
				return err
			}
		case total = <-asked:
		case <-ctx.Done():
			return fmt.Errorf("asking DNS servers: %w", context.Cause(ctx))
		}
	}
	return nil
}

// query is a question on its way through the servers. Only the one who holds it
// touches it: a server's queue, its table, or the goroutine that moves it on.
type query struct {
	Question
	wire    []byte // the packet; its first two bytes are the id
	results chan<- result
	over    atomic.Bool  // nobody waits for it any more
	group   *atomic.Bool // likewise, of all that were asked together
	only    int          // the server that alone is asked; -1: all
	tries   int
	sent    time.Time
	expires time.Time
	failed  *Answer
	trouble error
}

type result struct {
	question Question
	answer   Answer
	err      error
}

func newQuery(q Question, only int, results chan<- result) (*query, error) {
	wire, err := pack(q)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", q, err)
	}
	return &query{Question: q, wire: wire, only: only, results: results}, nil
}

func (q *query) dead() bool { return q.over.Load() || q.group != nil && q.group.Load() }

// finish tells the outcome, once.
func (q *query) finish(a Answer, err error) {
	if q.over.CompareAndSwap(false, true) && (q.group == nil || !q.group.Load()) {
		q.results <- result{q.Question, a, err} // there is room
	}
}

// ask puts a question to the server whose turn it is.
func (c *Client) ask(q *query) {
	s := c.servers[(max(q.only, 0)+q.tries)%len(c.servers)]
	if q.only >= 0 {
		s = c.servers[q.only]
	}
	if !s.put(q) {
		q.finish(Answer{}, fmt.Errorf("asking for %s: %w", q, errClosed))
	}
}

// answered ends a question, or moves it on when the server failed.
func (c *Client) answered(q *query, a Answer) {
	a.Second = q.failed != nil && q.failed.Server != a.Server
	n := len(c.servers)
	if q.only >= 0 {
		n = 1
	}
	if a.Settled() || q.tries >= n { // each was asked, this one twice
		q.finish(a, nil)
		return
	}
	q.failed = &a
	c.again(q)
}

// unanswered moves a question on.
func (c *Client) unanswered(q *query, why error) {
	q.trouble = why
	c.again(q)
}

func (c *Client) again(q *query) {
	q.tries++
	switch {
	case q.dead():
	case q.tries < attempts:
		c.repeated.Add(1)
		c.ask(q)
	case q.failed != nil:
		q.finish(*q.failed, nil)
	default:
		q.finish(Answer{}, fmt.Errorf("%w about %s: %w", ErrNoAnswer, q, q.trouble))
	}
}

// stream asks once more over TCP, where there is room for the whole answer.
func (c *Client) stream(s *server, q *query) {
	c.done.Go(func() {
		select {
		case c.streams <- struct{}{}:
			defer func() { <-c.streams }()
		case <-c.life.Done():
		}
		if err := c.allow(1); err != nil {
			q.finish(Answer{}, fmt.Errorf("asking for %s: %w", q, errClosed))
			return
		}
		question := new(dns.Msg)
		err := question.Unpack(q.wire)
		if err == nil {
			question.Id = dns.Id()
			tcp := dns.Client{Net: "tcp", Timeout: tcpTimeout}
			var whole *dns.Msg
			if whole, _, err = tcp.ExchangeContext(c.life, question, s.at.String()); err == nil {
				if !fits(question.Question[0], whole) {
					err = errors.New("the answer is to another question")
				} else {
					c.answered(q, answer(q.Question, whole, s.at))
					return
				}
			}
		}
		c.unanswered(q, fmt.Errorf("%s over TCP: %w", s.at, err))
	})
}

// allow waits until n more questions may be sent.
func (c *Client) allow(n int) error {
	if c.limit == nil {
		return c.life.Err()
	}
	return c.limit.WaitN(c.life, n)
}

// watch finds the questions that were not answered in time.
func (c *Client) watch() {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		select {
		case <-c.life.Done():
			return
		case now := <-ticker.C:
			for _, s := range c.servers {
				for _, q := range s.expired(now) {
					c.unanswered(q, fmt.Errorf("%s: %w", s.at, errTimeout))
				}
			}
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
