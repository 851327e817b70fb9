// Package live finds which addresses have a host: by ICMP and ICMPv6 echo, by
// ARP on this machine's own links, by the kernel's table of neighbours, and by
// an echo to all nodes of a link.
//
// Each way says how a host showed itself and, on an own link, its hardware
// address. Silence proves nothing, but for ARP and neighbour discovery: an
// address of an own link for which nobody answers is nobody's. The package knows
// no scope: it sends to exactly what it is given, and to all nodes of a link only
// when asked for that link.
package live

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// The methods by which a host shows itself, as schemas.Observation.Method has
// them.
const (
	ByARP     = "arp"
	ByNDP     = "ndp"
	ByICMP    = "icmp"
	ByConnect = "connect"
)

// ErrPrivilege says that this process may not send such packets.
var ErrPrivilege = errors.New("not permitted")

// Sign is how a host showed itself.
type Sign struct {
	IP     netip.Addr
	Method string
	MAC    string // "" beyond the own links
}

// Link is a network interface of this machine.
type Link struct {
	Index int
	Name  string
	MAC   net.HardwareAddr
	Own   []netip.Prefix // its addresses, each with the length of its link's prefix
}

// Links is this machine's Ethernet-like links that are up.
func Links() ([]Link, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("reading the network interfaces: %w", err)
	}
	var out []Link
	for _, i := range interfaces {
		if i.Flags&net.FlagUp == 0 || i.Flags&net.FlagLoopback != 0 || len(i.HardwareAddr) != 6 {
			continue
		}
		addresses, err := i.Addrs()
		if err != nil {
			return nil, fmt.Errorf("reading the addresses of %s: %w", i.Name, err)
		}
		l := Link{Index: i.Index, Name: i.Name, MAC: i.HardwareAddr}
		for _, a := range addresses {
			p, err := netip.ParsePrefix(a.String())
			if err != nil || p.IsSingleIP() || p.Addr().IsLinkLocalUnicast() {
				continue // a single address has no link that others are on
			}
			l.Own = append(l.Own, p)
		}
		out = append(out, l)
	}
	return out, nil
}

// Source is this machine's address on the link from which it speaks to another
// there, or none if that is not on the link or is this machine itself.
func (l *Link) Source(ip netip.Addr) netip.Addr {
	var source netip.Addr
	for _, p := range l.Own {
		if p.Addr() == ip {
			return netip.Addr{}
		}
		if p.Contains(ip) {
			source = p.Addr()
		}
	}
	return source
}

// On is the link that an address is on, or nil.
func On(links []Link, ip netip.Addr) *Link {
	for i := range links {
		if links[i].Source(ip).IsValid() {
			return &links[i]
		}
	}
	return nil
}

const (
	rounds     = 3 // of sending to what has not answered
	roundWait  = 400 * time.Millisecond
	lastWait   = time.Second
	receiveBuf = 4 << 20
)

// exchange sends to n addresses, in rounds, and takes answers in between. It
// ends early when all have answered.
type exchange struct {
	fd       int
	n        int
	rate     int // packets a second
	send     func(i int) error
	answered func(i int) bool
	received func(packet []byte, from unix.Sockaddr)
}

func (x *exchange) run(ctx context.Context) error {
	buf := make([]byte, 2048)
	pause := time.Second / time.Duration(max(x.rate, 1))
	due := time.Now()
	for round := range rounds {
		left := 0
		for i := range x.n {
			if x.answered(i) {
				continue
			}
			left++
			if err := x.send(i); err != nil {
				return err
			}
			due = due.Add(pause)
			if err := x.take(ctx, due, buf); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
		wait := roundWait
		if round == rounds-1 {
			wait = lastWait
		}
		due = time.Now().Add(wait)
		if err := x.take(ctx, due, buf); err != nil {
			return err
		}
	}
	return nil
}

// take takes what arrives until the given time; at least what has arrived.
func (x *exchange) take(ctx context.Context, until time.Time, buf []byte) error {
	for {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		wait := time.Until(until)
		if wait < time.Millisecond {
			wait = 0 // shorter waits add up before one is waited for
		}
		wait = min(wait, 100*time.Millisecond)
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(x.fd), Events: unix.POLLIN}}, int(wait/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for answers: %w", err)
		}
		if n <= 0 {
			if time.Until(until) < time.Millisecond {
				return nil
			}
			continue
		}
		length, from, err := unix.Recvfrom(x.fd, buf, unix.MSG_DONTWAIT)
		switch {
		case err == nil:
			x.received(buf[:length], from)
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), unreachable(err):
		default:
			return fmt.Errorf("reading answers: %w", err)
		}
	}
}

// unreachable says that an error only tells that a packet did not arrive.
func unreachable(err error) bool {
	for _, e := range []unix.Errno{unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EHOSTDOWN, unix.ECONNREFUSED, unix.EACCES, unix.ENOBUFS, unix.EAGAIN, unix.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// open opens a socket of a kind that only some may have.
func open(family, kind, protocol int) (int, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return -1, ErrPrivilege
	}
	if err != nil {
		return -1, fmt.Errorf("opening a socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuf) // as much as is allowed
	return fd, nil
}

// pinger is a socket for echoes of one family.
type pinger struct {
	fd    int
	v6    bool
	ip    bool // packets come with their IPv4 header
	token [8]byte
}

// newPinger opens one: the kernel's own for everybody's ping where the machine
// allows it (net.ipv4.ping_group_range), or else a raw one.
func newPinger(v6 bool) (*pinger, error) {
	p := &pinger{v6: v6}
	family, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if v6 {
		family, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	var err error
	if p.fd, err = open(family, unix.SOCK_DGRAM, protocol); errors.Is(err, ErrPrivilege) {
		p.ip = !v6
		p.fd, err = open(family, unix.SOCK_RAW, protocol)
	}
	if err != nil {
		return nil, fmt.Errorf("echo: %w", err)
	}
	if _, err := rand.Read(p.token[:]); err != nil {
		return nil, errors.Join(fmt.Errorf("echo: %w", err), unix.Close(p.fd))
	}
	return p, nil
}

const (
	echo4, echoReply4 = 8, 0     // RFC 792
	echo6, echoReply6 = 128, 129 // RFC 4443
	echoHeader        = 8
)

// packet is an echo request that carries the token.
func (p *pinger) packet(sequence int) []byte {
	b := make([]byte, echoHeader+len(p.token))
	b[0] = echo4
	if p.v6 {
		b[0] = echo6 // whose checksum the kernel makes
	}
	copy(b[4:6], p.token[:2]) // the identifier; the kernel's own socket puts another
	binary.BigEndian.PutUint16(b[6:], uint16(sequence))
	copy(b[echoHeader:], p.token[:])
	if !p.v6 {
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	}
	return b
}

// reply says whether a packet answers one of ours.
func (p *pinger) reply(b []byte) bool {
	if p.ip {
		if len(b) < 20 {
			return false
		}
		length := int(b[0]&15) * 4
		if length < 20 || len(b) < length {
			return false
		}
		b = b[length:]
	}
	want := byte(echoReply4)
	if p.v6 {
		want = echoReply6
	}
	return len(b) >= echoHeader+len(p.token) && b[0] == want && [8]byte(b[echoHeader:]) == p.token
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

func sockaddr(ip netip.Addr, zone int) unix.Sockaddr {
	if ip.Is4() {
		return &unix.SockaddrInet4{Addr: ip.As4()}
	}
	return &unix.SockaddrInet6{Addr: ip.As16(), ZoneId: uint32(zone)}
}

func addr(from unix.Sockaddr) netip.Addr {
	switch a := from.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(a.Addr)
	}
	return netip.Addr{}
}

// Ping sends echo requests to the addresses, all IPv4 or all IPv6, at most rate
// a second, and returns those that answer. ErrPrivilege says that nothing was
// sent.
func Ping(ctx context.Context, ips []netip.Addr, rate int) ([]Sign, error) {
	if len(ips) == 0 {
		return nil, nil
	}
	p, err := newPinger(ips[0].Is6())
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(p.fd) }()
	asked := index(ips)
	up := make([]bool, len(ips))
	x := exchange{
		fd: p.fd, n: len(ips), rate: rate,
		send: func(i int) error {
			err := unix.Sendto(p.fd, p.packet(i), 0, sockaddr(ips[i], 0))
			if err != nil && !unreachable(err) {
				return fmt.Errorf("echo to %s: %w", ips[i], err)
			}
			return nil
		},
		answered: func(i int) bool { return up[i] },
		received: func(b []byte, from unix.Sockaddr) {
			if i, ok := asked[addr(from)]; ok && p.reply(b) {
				up[i] = true
			}
		},
	}
	err = x.run(ctx)
	var out []Sign
	for i, ip := range ips {
		if up[i] {
			out = append(out, Sign{IP: ip, Method: ByICMP})
		}
	}
	return out, err
}

func index(ips []netip.Addr) map[netip.Addr]int {
	out := make(map[netip.Addr]int, len(ips))
	for i, ip := range ips {
		out[ip] = i
	}
	return out
}

// allNodes is every IPv6 host of a link (RFC 4291, section 2.7.1).
var allNodes = netip.MustParseAddr("ff02::1")

// AllNodes sends an echo to all nodes of the link, from this machine's address
// in the given prefix of it, and returns those that answer from that prefix.
// Every host of the link receives it, so the whole prefix must be authorised.
func AllNodes(ctx context.Context, l *Link, prefix netip.Prefix) ([]Sign, error) {
	var source netip.Addr
	for _, own := range l.Own {
		if own.Addr().Is6() && own.Masked() == prefix {
			source = own.Addr()
		}
	}
	if !source.IsValid() {
		return nil, fmt.Errorf("echo to all nodes: this machine has no address of %s on %s", prefix, l.Name)
	}
	p, err := newPinger(true)
	if err != nil {
		return nil, err
	}
	defer func() { _ = unix.Close(p.fd) }()
	if err := errors.Join(
		unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, l.Index),
		unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 1),
		unix.SetsockoptInt(p.fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, 0),
		unix.Bind(p.fd, sockaddr(source, 0)),
	); err != nil {
		return nil, fmt.Errorf("echo to all nodes of %s: %w", l.Name, err)
	}
	const most = 1 << 16 // what a hostile link may make us keep
	seen := map[netip.Addr]bool{}
	x := exchange{
		fd: p.fd, n: 1, rate: 10,
		send: func(int) error {
			if err := unix.Sendto(p.fd, p.packet(0), 0, sockaddr(allNodes, l.Index)); err != nil {
				return fmt.Errorf("echo to all nodes of %s: %w", l.Name, err)
			}
			return nil
		},
		answered: func(int) bool { return false },
		received: func(b []byte, from unix.Sockaddr) {
			if ip := addr(from); prefix.Contains(ip) && ip != source && len(seen) < most && p.reply(b) {
				seen[ip] = true
			}
		},
	}
	err = x.run(ctx)
	var out []Sign
	for ip := range seen {
		out = append(out, Sign{IP: ip, Method: ByNDP})
	}
	return out, err
}
