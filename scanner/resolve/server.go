package resolve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	batch         = 64 // packets in one call of the kernel
	largestPacket = 4096
	receiveBuffer = 4 << 20
	tick          = 10 * time.Millisecond
	silentFor     = 10 * time.Second // before a server counts as dead
	silentAfter   = 20               // and this many questions without an answer
	probeEvery    = time.Second      // of a dead server
)

var errDead = errors.New("it has not answered for some time")

// server is one server with its socket. Two goroutines of its own send and read.
type server struct {
	client *Client
	at     netip.AddrPort
	conn   *net.UDPConn
	pc     batchConn
	done   sync.WaitGroup

	mu     sync.Mutex
	wake   *sync.Cond // something to send, and room for it
	queue  []*query   // from head on
	head   int
	flying map[uint16]*query
	pace   pace
	heard  time.Time // when it last answered
	silent int       // questions since then that timed out
	probed time.Time
	closed bool
}

// batchConn is what ipv4.PacketConn and ipv6.PacketConn have in common.
type batchConn interface {
	ReadBatch([]ipv4.Message, int) (int, error)
	WriteBatch([]ipv4.Message, int) (int, error)
}

func newServer(c *Client, at netip.AddrPort) (*server, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	enlarge(conn)
	s := &server{client: c, at: at, conn: conn, flying: map[uint16]*query{}, pace: newPace()}
	s.wake = sync.NewCond(&s.mu)
	if at.Addr().Unmap().Is4() {
		s.pc = ipv4.NewPacketConn(conn)
	} else {
		s.pc = ipv6.NewPacketConn(conn)
	}
	s.done.Go(s.send)
	s.done.Go(s.read)
	return s, nil
}

// enlarge makes room for the answers to all that is in flight: beyond the
// system's limit where the process may, up to it where not.
func enlarge(conn *net.UDPConn) {
	_ = conn.SetReadBuffer(receiveBuffer)
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer)
		})
	}
}

func (s *server) close() {
	s.mu.Lock()
	s.closed = true
	s.wake.Broadcast()
	s.mu.Unlock()
	_ = s.conn.Close()
}

// abandon takes out what nobody will answer any more.
func (s *server) abandon() []*query {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.queue[s.head:]
	for _, q := range s.flying {
		out = append(out, q)
	}
	s.queue, s.head = nil, 0
	clear(s.flying)
	return out
}

// put queues a question. It says whether the server is still open.
func (s *server) put(q *query) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.queue = append(s.queue, q)
	if s.pace.room() > 0 {
		s.wake.Signal()
	}
	return true
}

// send sends what is queued, as far as the window and the rate let it.
func (s *server) send() {
	var (
		ready    = make([]*query, 0, batch)
		messages = make([]ipv4.Message, batch)
	)
	for i := range messages {
		messages[i].Buffers = make([][]byte, 1)
	}
	most := batch
	if s.client.limit != nil {
		most = s.client.limit.Burst()
	}
	for {
		dead, ok := s.take(&ready, most)
		if !ok {
			return
		}
		for _, q := range dead {
			s.client.unanswered(q, fmt.Errorf("%s: %w", s.at, errDead))
		}
		if len(ready) == 0 {
			continue
		}
		if err := s.client.allow(len(ready)); err != nil {
			s.giveUp(ready)
			return
		}
		for i, wire := range s.launch(ready) {
			messages[i].Buffers[0] = wire
		}
		for rest := messages[:len(ready)]; len(rest) > 0; {
			n, err := s.pc.WriteBatch(rest, 0)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil { // an old "unreachable", or a full queue: the question goes unanswered
				n = max(n, 1)
			}
			rest = rest[n:]
		}
	}
}

// take waits for questions that may be sent now, and takes them from the queue
// into the window. Those for a dead server are returned apart.
func (s *server) take(ready *[]*query, most int) (dead []*query, ok bool) {
	*ready = (*ready)[:0]
	s.mu.Lock()
	defer s.mu.Unlock()
	for !s.closed && (s.head == len(s.queue) || s.pace.room() <= 0) {
		s.wake.Wait()
	}
	if s.closed {
		return nil, false
	}
	for room := min(s.pace.room(), most); room > 0 && s.head < len(s.queue); {
		q := s.queue[s.head]
		s.queue[s.head] = nil
		s.head++
		switch {
		case q.dead():
		case s.gone():
			dead = append(dead, q)
		default:
			*ready = append(*ready, q)
			s.pace.used++
			room--
		}
	}
	if s.head == len(s.queue) {
		s.queue, s.head = s.queue[:0], 0
	} else if s.head > 4096 {
		s.queue, s.head = append(s.queue[:0], s.queue[s.head:]...), 0
	}
	return dead, true
}

// gone says whether the server is dead: one question a second is sent to it
// nevertheless.
func (s *server) gone() bool {
	now := time.Now()
	if s.silent < silentAfter || now.Sub(s.heard) < silentFor {
		return false
	}
	if now.Sub(s.probed) >= probeEvery {
		s.probed = now
		return false
	}
	return true
}

func (s *server) giveUp(ready []*query) {
	for _, q := range ready {
		q.finish(Answer{}, fmt.Errorf("asking for %s: %w", q, errClosed))
	}
}

// launch gives each question an id that no other in flight has and that cannot
// be guessed, and starts its clock. It returns the packets: once a question is in
// the table it is another's.
func (s *server) launch(ready []*query) [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.heard.IsZero() {
		s.heard = now // asked for the first time
	}
	wires := make([][]byte, len(ready))
	for i, q := range ready {
		id := uint16(rand.Uint32()) // the runtime's ChaCha8, seeded by the system
		for s.flying[id] != nil {
			id = uint16(rand.Uint32())
		}
		if q.tries > 0 { // the packet of the last attempt may still be on its way to the kernel
			q.wire = append([]byte(nil), q.wire...)
		}
		binary.BigEndian.PutUint16(q.wire, id)
		rounds := q.tries
		if q.only < 0 {
			rounds /= len(s.client.servers)
		}
		q.sent, q.expires = now, now.Add(s.pace.wait(rounds))
		s.flying[id] = q
		wires[i] = q.wire
	}
	return wires
}

// read gives replies to those who wait for them. What fits no question is
// nobody's: late, or forged.
func (s *server) read() {
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, largestPacket)}
	}
	owners := make([]*query, batch)
	for {
		n, err := s.pc.ReadBatch(messages, 0)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			if errors.Is(err, unix.ECONNREFUSED) {
				s.hurry()
			}
			time.Sleep(time.Millisecond)
			continue
		}
		s.claim(messages[:n], owners)
		for i, q := range owners[:n] {
			if q != nil && !q.dead() {
				s.reply(q, messages[i].Buffers[0][:messages[i].N])
			}
		}
	}
}

// hurry has what is in flight wait no longer than an answer would take: the
// server's machine says that nobody listens there.
func (s *server) hurry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	soon := time.Now().Add(leastWait)
	for _, q := range s.flying {
		if soon.Before(q.expires) {
			q.expires = soon
		}
	}
}

// claim finds the question of each packet and ends its flight.
func (s *server) claim(messages []ipv4.Message, owners []*query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for i := range messages {
		owners[i] = nil
		packet := messages[i].Buffers[0][:messages[i].N]
		if len(packet) < headerSize {
			continue
		}
		id := binary.BigEndian.Uint16(packet)
		q := s.flying[id]
		if q == nil || !answers(q.wire, packet) {
			continue
		}
		delete(s.flying, id)
		s.pace.answered(now.Sub(q.sent), now)
		s.heard, s.silent = now, 0
		owners[i] = q
	}
	if s.head < len(s.queue) {
		s.wake.Signal()
	}
}

func (s *server) reply(q *query, packet []byte) {
	if truncated(packet) || len(packet) == largestPacket {
		s.client.stream(s, q)
		return
	}
	a, err := read(q.Question, packet, s.at)
	if err != nil {
		s.client.unanswered(q, fmt.Errorf("%s: an answer that cannot be read: %w", s.at, err))
		return
	}
	s.client.answered(q, a)
}

// expired takes out the questions whose time is over.
func (s *server) expired(now time.Time) (out []*query) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, q := range s.flying {
		if now.After(q.expires) {
			delete(s.flying, id)
			s.pace.lost(now)
			s.silent++
			out = append(out, q)
		}
	}
	if len(out) > 0 || s.head < len(s.queue) {
		s.wake.Signal()
	}
	return out
}
