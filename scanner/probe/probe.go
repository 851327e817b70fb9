// Package probe finds open ports by whole connections, many thousands at once,
// from one thread: an epoll loop over non-blocking sockets.
//
// What the kernel answers is the whole truth of a probe: it repeats a lost SYN
// itself and keeps an answer until it is read, so a busy machine makes a sweep
// slower and never wrong. Every connection that opens is reset at once and no
// byte is sent. A machine that has no socket left waits; it never takes that for
// a closed port. The package needs no privilege and knows no scope: it connects
// to exactly what it is given.
package probe

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Answer is what came back from a port.
type Answer uint8

// The answers. Silence is none at all, or a router's that the host cannot be
// reached.
const (
	Silence Answer = iota
	Refused        // the host is up, the port closed
	Open
)

// Config says how to probe.
type Config struct {
	Rate int // probes a second over all; lowered while the network drops
	// HostRate and NetworkRate bound what one address, and what one IPv4 /24 or
	// IPv6 /64, gets in a second; 0 is no bound of its own.
	HostRate, NetworkRate int
	Timeout               time.Duration // for one connection; the kernel repeats its SYN after one second
	// Passes is how often at most a port is tried that gives no answer. More than
	// one is spent only where the network has been seen to drop, or where it costs
	// little (see again).
	Passes  int
	Sockets int // at the same time at most; 0: as many as the process may open
}

// Stats is how a run went.
type Stats struct {
	Probes  int // connections that were begun
	Open    int
	Refused int
	Silent  int // in the end
	Late    int // answers to the kernel's second SYN or a later one
	Again   int // probes that repeated a silent one
	Stalls  int // times that the machine had no socket left
	Rate    int // the lowest that it was lowered to
}

const (
	// lateAfter is from when on an answer must be one to a repeated SYN: Linux
	// repeats the first after one second (RFC 6298, section 2).
	lateAfter = 900 * time.Millisecond
	// lossy is the share of late answers from which all of what is silent is tried
	// again, and the rate lowered.
	lossy = 1.0 / 200

	most     = 32 << 10 // sockets
	spare    = 64       // files that are left to the rest of the process
	batch    = 256      // connections begun before answers are read
	giveUp   = 10 * time.Second
	adaptIn  = time.Second // the effect of a lower rate shows after the kernel's second SYN
	slowest  = 1.0 / 16    // of the rate asked for
	maxPause = 500 * time.Millisecond
)

// ErrMachine says that this machine could not probe: it had no file, port or
// memory left, or may not send. What was not reported is unknown.
var ErrMachine = errors.New("this machine cannot connect")

// Run probes every port of every address: all addresses by turns, each through
// the ports in an order of its own, so that none gets a second probe before all
// others had their first. It calls see for each open port and for the first
// refusal of each address, from this goroutine. The addresses must be all IPv4
// or all IPv6, and no address or port may be there twice.
func Run(ctx context.Context, hosts []netip.Addr, ports []uint16, cfg Config, see func(netip.AddrPort, Answer)) (Stats, error) {
	if len(hosts) == 0 || len(ports) == 0 {
		return Stats{}, nil
	}
	if int64(len(hosts))*int64(len(ports)) >= 1<<32 {
		return Stats{}, fmt.Errorf("probe: %d addresses × %d ports are too many", len(hosts), len(ports))
	}
	if cfg.Rate < 1 || cfg.Timeout <= 0 || cfg.Passes < 1 {
		return Stats{}, fmt.Errorf("probe: rate %d, timeout %v, passes %d", cfg.Rate, cfg.Timeout, cfg.Passes)
	}
	sockets, err := sockets(cfg.Sockets)
	if err != nil {
		return Stats{}, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	l := &loop{
		ctx: ctx, cfg: cfg, see: see, v6: hosts[0].Is6(), limit: sockets,
		hosts: shuffled(hosts), ports: shuffled(ports), seen: make([]tally, len(hosts)),
	}
	l.stats.Rate = cfg.Rate
	if l.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return Stats{}, fmt.Errorf("probe: %w: epoll: %w", ErrMachine, err)
	}
	defer l.close()
	return l.run()
}

// sockets is how many may be open at once. It raises the process's limit.
func sockets(asked int) (int, error) {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return 0, fmt.Errorf("probe: reading the limit of open files: %w", err)
	}
	if files.Cur < files.Max {
		files.Cur = files.Max
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
			return 0, fmt.Errorf("probe: raising the limit of open files to %d: %w", files.Max, err)
		}
	}
	n := most
	if files.Cur < most+spare {
		n = int(files.Cur) - spare
	}
	if asked > 0 {
		n = min(n, asked)
	}
	return max(n, 1), nil
}

func shuffled[T any](in []T) []T {
	out := append([]T(nil), in...)
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out
}

// tally is what one address has shown.
type tally struct {
	answered, late, silent uint32 // silent is of this pass
	first                  uint32 // the index of the port that it begins with
	refused                bool
}

// none is no slot.
const none = -1

// slot is one connection under way. They form a list in the order of their
// beginning, which is the order in which they time out.
type slot struct {
	fd, prev, next int32
	item           uint32 // host × ports + port
	began          time.Duration
}

type loop struct {
	ctx   context.Context
	cfg   Config
	see   func(netip.AddrPort, Answer)
	v6    bool
	hosts []netip.Addr
	ports []uint16
	seen  []tally
	epoll int
	limit int // of sockets

	slots          []slot
	free           []int32
	oldest, newest int32
	under          int // connections under way

	pass   int
	todo   []uint32 // of a later pass; the first is implicit
	next   int      // in this pass
	back   []uint32 // what this machine could not begin
	silent []uint32 // of this pass

	start time.Time
	pace  pace
	stats Stats
}

func (l *loop) now() time.Duration { return time.Since(l.start) }

func (l *loop) run() (Stats, error) {
	l.start = time.Now()
	l.oldest, l.newest = none, none
	for h := range l.seen {
		l.seen[h].first = rand.Uint32N(uint32(len(l.ports)))
	}
	for l.pass = 1; ; l.pass++ {
		l.pace.begin(l.now(), l.bound(), l.pass > 1)
		if err := l.once(); err != nil {
			return l.stats, err
		}
		repeat := l.again()
		l.stats.Silent += len(l.silent) - len(repeat)
		if len(repeat) == 0 {
			return l.stats, nil
		}
		l.stats.Again += len(repeat)
		l.todo, l.silent, l.next = shuffled(repeat), nil, 0
		for h := range l.seen {
			l.seen[h].silent = 0
		}
	}
}

// size is the number of probes of this pass.
func (l *loop) size() int {
	if l.pass == 1 {
		return len(l.hosts) * len(l.ports)
	}
	return len(l.todo)
}

// item is the n-th probe of this pass.
func (l *loop) item(n int) uint32 {
	if l.pass > 1 {
		return l.todo[n]
	}
	h := n % len(l.hosts)
	p := (n/len(l.hosts) + int(l.seen[h].first)) % len(l.ports)
	return uint32(h*len(l.ports) + p)
}

func (l *loop) at(item uint32) (host int, at netip.AddrPort) {
	host = int(item) / len(l.ports)
	return host, netip.AddrPortFrom(l.hosts[host], l.ports[int(item)%len(l.ports)])
}

// bound is the rate of this pass: that asked for, or what keeps the busiest
// address and the busiest network within theirs. Since all take turns, the
// bound of the whole is a bound of each.
func (l *loop) bound() float64 {
	host, network := map[int]int{}, map[netip.Prefix]int{}
	add := func(h, n int) {
		host[h] += n
		bits := 24
		if l.v6 {
			bits = 64
		}
		p, _ := l.hosts[h].Prefix(bits) // of a valid address and length
		network[p] += n
	}
	if l.pass == 1 {
		for h := range l.hosts {
			add(h, len(l.ports))
		}
	} else {
		for _, item := range l.todo {
			add(int(item)/len(l.ports), 1)
		}
	}
	rate := float64(l.cfg.Rate)
	if l.cfg.HostRate > 0 {
		rate = min(rate, float64(l.cfg.HostRate)*float64(l.size())/float64(highest(host)))
	}
	if l.cfg.NetworkRate > 0 {
		rate = min(rate, float64(l.cfg.NetworkRate)*float64(l.size())/float64(highest(network)))
	}
	return rate
}

func highest[K comparable](of map[K]int) int {
	most := 1
	for _, n := range of {
		most = max(most, n)
	}
	return most
}

// once works through one pass, until the last connection of it has ended.
func (l *loop) once() error {
	events := make([]unix.EpollEvent, 1024)
	progress := l.now()
	var pause, until time.Duration // for what this machine lacks
	for {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		now := l.now()
		left := l.size() - l.next + len(l.back)
		if left == 0 && l.under == 0 {
			return nil
		}
		if l.under > 0 {
			progress = now // what they hold is given back
		}
		begun := 0
		for may := min(l.pace.may(now), batch, left, l.limit-l.under); begun < may && now >= until; {
			err := l.begin()
			switch {
			case err == nil:
				begun++
				pause, progress = 0, now
				continue
			case !passing(err) || now-progress > giveUp:
				return err
			}
			l.stats.Stalls++
			pause = min(max(2*pause, 5*time.Millisecond), maxPause)
			until = now + pause
		}
		l.pace.took(begun)
		wait := 1
		if begun > 0 {
			wait = 0
		}
		if err := l.answers(events, wait); err != nil {
			return err
		}
		l.expire()
		l.adapt()
	}
}

// take is the next probe: first what could not be begun before.
func (l *loop) take() uint32 {
	if n := len(l.back); n > 0 {
		item := l.back[n-1]
		l.back = l.back[:n-1]
		return item
	}
	l.next++
	return l.item(l.next - 1)
}

// passing says that an error is a lack that ends when sockets are closed.
func passing(err error) bool {
	for _, e := range []unix.Errno{
		unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL, unix.EAGAIN, unix.ENOSPC,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// begin begins one connection. After an error it is as if it had not been tried.
func (l *loop) begin() error {
	item := l.take()
	host, at := l.at(item)
	fail := func(err error) error {
		l.back = append(l.back, item)
		return fmt.Errorf("probe: %w to %s: %w", ErrMachine, at, err)
	}
	family := unix.AF_INET
	if l.v6 {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return fail(err)
	}
	if l.v6 {
		err = unix.Connect(fd, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	} else {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()})
	}
	answer, err := meaning(err)
	s := l.slot()
	if err == nil && answer == pending {
		err = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT, Fd: s})
	}
	if err != nil {
		l.free = append(l.free, s)
		_ = unix.Close(fd)
		return fail(err)
	}
	l.stats.Probes++
	l.slots[s] = slot{fd: int32(fd), item: item, began: l.now(), prev: l.newest, next: none}
	if l.newest != none {
		l.slots[l.newest].next = s
	} else {
		l.oldest = s
	}
	l.newest = s
	l.under++
	if answer != pending { // at once, over loopback
		if answer == Open && l.itself(fd, at) {
			answer = Refused
		}
		l.end(s, host, at, answer)
	}
	return nil
}

// slot is a free one.
func (l *loop) slot() int32 {
	if n := len(l.free); n > 0 {
		s := l.free[n-1]
		l.free = l.free[:n-1]
		return s
	}
	l.slots = append(l.slots, slot{})
	return int32(len(l.slots) - 1)
}

// pending is a connection that is still under way.
const pending Answer = 255

// meaning is what the result of a connection says of the port. What only tells
// of this machine is an error.
func meaning(err error) (Answer, error) {
	switch {
	case err == nil:
		return Open, nil
	case errors.Is(err, unix.EINPROGRESS), errors.Is(err, unix.EINTR):
		return pending, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ECONNRESET):
		return Refused, nil
	case errors.Is(err, unix.ETIMEDOUT), errors.Is(err, unix.EHOSTUNREACH), errors.Is(err, unix.ENETUNREACH),
		errors.Is(err, unix.EHOSTDOWN), errors.Is(err, unix.ENOPROTOOPT), errors.Is(err, unix.EPROTO),
		errors.Is(err, unix.EACCES): // the last ones are ICMP's "prohibited"
		return Silence, nil
	}
	return 0, err
}

// answers reads what has come of the connections under way, all of it.
func (l *loop) answers(events []unix.EpollEvent, wait int) error {
	for {
		n, err := unix.EpollWait(l.epoll, events, wait)
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("probe: %w: epoll: %w", ErrMachine, err)
		}
		for _, e := range events[:n] {
			s := e.Fd
			host, at := l.at(l.slots[s].item)
			var result error
			if e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0 {
				code, err := unix.GetsockoptInt(int(l.slots[s].fd), unix.SOL_SOCKET, unix.SO_ERROR)
				if err != nil {
					return fmt.Errorf("probe: %w: a connection's state: %w", ErrMachine, err)
				}
				if code != 0 { // else it was opened and closed from the other side at once
					result = unix.Errno(code)
				}
			}
			answer, err := meaning(result)
			if err != nil {
				return fmt.Errorf("probe: %w to %s: %w", ErrMachine, at, err)
			}
			if answer == Open && l.itself(int(l.slots[s].fd), at) {
				answer = Refused
			}
			l.end(s, host, at, answer)
		}
		if n < len(events) {
			return nil
		}
		wait = 0
	}
}

// itself says that a connection has met its own beginning: to a port of this
// machine from which, by chance, the connection was made.
func (l *loop) itself(fd int, at netip.AddrPort) bool {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false
	}
	switch n := name.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(n.Addr), uint16(n.Port)) == at
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(n.Addr), uint16(n.Port)) == at
	}
	return false
}

// end notes what came of a connection and closes it.
func (l *loop) end(s int32, host int, at netip.AddrPort, answer Answer) {
	c := &l.slots[s]
	if answer == Open {
		// Reset, so that neither side keeps the connection's end for minutes.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	_ = unix.Close(int(c.fd)) // epoll forgets it by itself
	if c.prev != none {
		l.slots[c.prev].next = c.next
	} else {
		l.oldest = c.next
	}
	if c.next != none {
		l.slots[c.next].prev = c.prev
	} else {
		l.newest = c.prev
	}
	l.free = append(l.free, s)
	l.under--

	t := &l.seen[host]
	if answer == Silence {
		t.silent++
		l.silent = append(l.silent, c.item)
		return
	}
	t.answered++
	late := l.now()-c.began >= lateAfter
	l.pace.answer(late)
	if late {
		t.late++
		l.stats.Late++
	}
	if answer == Open {
		l.stats.Open++
		l.see(at, Open)
	} else {
		l.stats.Refused++
		if !t.refused {
			t.refused = true
			l.see(at, Refused)
		}
	}
}

// expire ends the connections that have had their time. All answers that had
// come were read before.
func (l *loop) expire() {
	for now := l.now(); l.oldest != none && now-l.slots[l.oldest].began >= l.cfg.Timeout; {
		s := l.oldest
		host, at := l.at(l.slots[s].item)
		l.end(s, host, at, Silence)
	}
}

// again is what of the silent is to be tried once more: ports of an address that
// mostly answers, since that costs little; of one that has answered late; and of
// all where the network has been seen to drop. What a firewall drops, by the
// tens of thousands on a network that loses nothing, is not asked twice.
func (l *loop) again() []uint32 {
	if l.pass >= l.cfg.Passes {
		return nil
	}
	answers := l.stats.Open + l.stats.Refused
	drops := float64(l.stats.Late) >= lossy*float64(answers) && l.stats.Late > 0
	var out []uint32
	for _, item := range l.silent {
		t := &l.seen[int(item)/len(l.ports)]
		if drops || t.late > 0 || t.answered >= t.silent {
			out = append(out, item)
		}
	}
	return out
}

// adapt lowers the rate while the network drops and raises it again.
func (l *loop) adapt() {
	if rate, lowered := l.pace.adapt(l.now()); lowered {
		l.stats.Rate = min(l.stats.Rate, int(rate))
	}
}

func (l *loop) close() {
	for s := l.oldest; s != none; s = l.slots[s].next {
		_ = unix.Close(int(l.slots[s].fd))
	}
	_ = unix.Close(l.epoll)
}
