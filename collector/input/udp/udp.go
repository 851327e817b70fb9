// Package udp receives datagrams for inputs as fast as Linux gives them: batches
// of up to 64 with one system call, from several sockets that share an address,
// with large buffers. Over UDP nobody can wait; what does not fit into a
// socket's buffer is dropped by the kernel, and the package reads how much.
//
// It never looks into a datagram and never answers one.
package udp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// BatchSize is how many datagrams one call of Serve's take has at most.
	BatchSize   = 64
	maxDatagram = 65535
	// At the end datagrams are read until none came for drainQuiet, but no longer
	// than drainMost.
	drainQuiet = 50 * time.Millisecond
	drainMost  = time.Second
)

// Config says where to listen.
type Config struct {
	Address       string // host:port; with port 0 the other sockets follow the first
	Sockets       int    // that share the address
	ReceiveBuffer int    // bytes of the kernel's buffer of each
}

// Socket is one of the sockets of an address.
type Socket struct {
	conn *net.UDPConn

	mu    sync.Mutex
	last  uint32 // the kernel counts in 32 bits
	drops uint64
}

// Listen binds the sockets. What is said to log is how the buffer came out.
func Listen(ctx context.Context, cfg Config, log *slog.Logger) (sockets []*Socket, err error) {
	defer func() {
		if err != nil {
			for _, s := range sockets {
				_ = s.Close() // nothing was read from it
			}
			sockets = nil
		}
	}()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = cfg.prepare(int(fd), log) }), err)
	}}
	address := cfg.Address
	for range cfg.Sockets {
		pc, err := lc.ListenPacket(ctx, "udp", address)
		if err != nil {
			return sockets, fmt.Errorf("listening on UDP %s: %w", address, err)
		}
		s := &Socket{conn: pc.(*net.UDPConn)}
		sockets = append(sockets, s)
		address = s.Addr().String()
		if s.last, err = kernelDrops(s.conn); err != nil {
			return sockets, fmt.Errorf("reading the drop counter of UDP %s: %w", address, err)
		}
	}
	return sockets, nil
}

// prepare lets several sockets share the address and asks for a large buffer, by
// force where we may, since the default of 208 KiB loses datagrams from 50,000 a
// second on.
func (cfg Config) prepare(fd int, log *slog.Logger) error {
	if cfg.Sockets > 1 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("sharing the address: %w", err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, cfg.ReceiveBuffer) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, cfg.ReceiveBuffer); err != nil {
		return fmt.Errorf("setting the receive buffer: %w", err)
	}
	// The kernel doubles what it is asked for, up to twice net.core.rmem_max.
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil && got < 2*cfg.ReceiveBuffer {
		log.Warn("the UDP receive buffer is smaller than asked for; raise net.core.rmem_max or give CAP_NET_ADMIN",
			"asked", cfg.ReceiveBuffer, "got", got/2)
	}
	return nil
}

// Addr is where the socket listens.
func (s *Socket) Addr() net.Addr { return s.conn.LocalAddr() }

// Close closes the socket. Its drops stay known.
func (s *Socket) Close() error {
	s.Drops()
	return s.conn.Close()
}

// Serve gives take what arrives, in batches, until ctx ends and what had arrived
// by then is taken; then, or when take fails, it closes the socket. The messages
// and their buffers are only take's until it returns. A datagram is Buffers[0],
// N bytes long; From says who sent it.
func (s *Socket) Serve(ctx context.Context, take func([]ipv4.Message) error) error {
	defer s.Close() //nolint:errcheck // only read from
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		_ = s.conn.SetReadDeadline(time.Now())
	})
	defer stop()
	messages := make([]ipv4.Message, BatchSize)
	buffers := make([]byte, BatchSize*maxDatagram)
	for i := range messages {
		messages[i].Buffers = [][]byte{buffers[i*maxDatagram:][:maxDatagram]}
	}
	reader := newBatchReader(s.conn)
	read := func() error {
		n, err := reader.ReadBatch(messages, 0)
		if err != nil {
			return fmt.Errorf("reading from UDP %s: %w", s.Addr(), err)
		}
		return take(messages[:n])
	}
	for ctx.Err() == nil {
		if err := read(); err != nil && (ctx.Err() == nil || !errors.Is(err, os.ErrDeadlineExceeded)) {
			return err
		}
	}
	<-woken // the deadlines are ours from here on
	end := time.Now().Add(drainMost)
	_ = s.conn.SetReadDeadline(end) // an error is the next read's
	for time.Now().Before(end) {
		if waits, err := s.waits(drainQuiet); !waits {
			return err
		}
		if err := read(); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// waits says whether a datagram is there or comes within d. The kernel is asked:
// a read with a deadline of d never looks into the socket when we were not
// scheduled for so long.
func (s *Socket) waits(d time.Duration) (bool, error) {
	raw, err := s.conn.SyscallConn()
	if err != nil {
		return false, err
	}
	var n int
	failed := raw.Control(func(fd uintptr) {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(d.Milliseconds())) //nolint:gosec // descriptors are small
		}
	})
	if err := errors.Join(failed, err); err != nil {
		return false, fmt.Errorf("polling UDP %s: %w", s.Addr(), err)
	}
	return n > 0, nil
}

// batchReader is what ipv4.PacketConn and ipv6.PacketConn have in common.
type batchReader interface {
	ReadBatch(ms []ipv4.Message, flags int) (int, error)
}

func newBatchReader(c *net.UDPConn) batchReader {
	if addr := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); addr.Is4() {
		return ipv4.NewPacketConn(c)
	}
	return ipv6.NewPacketConn(c)
}

// From is the address that sent a message, as IPv4 where it is that, without
// zone.
func From(m *ipv4.Message) netip.Addr {
	udp, ok := m.Addr.(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return udp.AddrPort().Addr().Unmap().WithZone("")
}

// Names keeps the text of addresses that were seen, so that it is made once and
// not for every datagram. It is not safe for concurrent use.
type Names map[netip.Addr]string

const maxNames = 1 << 16 // anybody can send from any address

// Of is the text of an address; "" if it is none.
func (n Names) Of(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	name, ok := n[a]
	if !ok {
		if len(n) >= maxNames {
			clear(n)
		}
		name = a.String()
		n[a] = name
	}
	return name
}

// Drops is how many datagrams the kernel has dropped at this socket since
// Listen.
func (s *Socket) Drops() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := kernelDrops(s.conn); err == nil { // a closed socket drops nothing more
		s.drops += uint64(n - s.last)
		s.last = n
	}
	return s.drops
}

// Drops adds up what the kernel dropped at several sockets. The zero value is
// ready.
type Drops struct {
	mu      sync.Mutex
	sockets []*Socket
}

// Watch adds sockets.
func (d *Drops) Watch(sockets ...*Socket) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sockets = append(d.sockets, sockets...)
}

// Total is the sum since the sockets were bound.
func (d *Drops) Total() (sum uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range d.sockets {
		sum += s.Drops()
	}
	return sum
}

// kernelDrops reads a socket's counter of dropped datagrams, the ninth number of
// SO_MEMINFO (Linux 4.12, linux/sock_diag.h).
func kernelDrops(c *net.UDPConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info [9]uint32
	var errno syscall.Errno
	size := uint32(unsafe.Sizeof(info))
	err = raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	if err != nil {
		return 0, err
	}
	if errno != 0 {
		return 0, errno
	}
	return info[8], nil
}
