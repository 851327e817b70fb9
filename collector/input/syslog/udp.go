package syslog

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

	"fengsui/collector/input"
)

const (
	batchSize   = 64
	maxDatagram = 65535
	// udpDrain is how long datagrams are read that arrived before the end.
	udpDrain = 100 * time.Millisecond
)

// listenUDP binds the sockets. With port 0 the others follow the first.
func (in *Input) listenUDP(ctx context.Context) (conns []*net.UDPConn, err error) {
	if in.cfg.UDP == "" {
		return nil, nil
	}
	defer func() {
		if err != nil {
			for _, c := range conns {
				_ = c.Close() // nothing was read from it
			}
			conns = nil
		}
	}()
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		return errors.Join(raw.Control(func(fd uintptr) { err = in.prepareSocket(int(fd)) }), err)
	}}
	address := in.cfg.UDP
	for range in.cfg.UDPSockets {
		pc, err := lc.ListenPacket(ctx, "udp", address)
		if err != nil {
			return conns, fmt.Errorf("listening for syslog on UDP %s: %w", address, err)
		}
		c := pc.(*net.UDPConn)
		conns = append(conns, c)
		address = c.LocalAddr().String()
		if err := in.drops.add(c); err != nil {
			return conns, fmt.Errorf("reading the drop counter of UDP %s: %w", address, err)
		}
	}
	in.mu.Lock()
	in.addrs = append(in.addrs, conns[0].LocalAddr())
	in.mu.Unlock()
	return conns, nil
}

// prepareSocket lets several sockets share the address and asks for a large
// buffer, by force where we may, since the default of 208 KiB loses datagrams
// from 50,000 a second on.
func (in *Input) prepareSocket(fd int) error {
	if in.cfg.UDPSockets > 1 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("sharing the address: %w", err)
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, in.cfg.ReceiveBuffer) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, in.cfg.ReceiveBuffer); err != nil {
		return fmt.Errorf("setting the receive buffer: %w", err)
	}
	// The kernel doubles what it is asked for, up to twice net.core.rmem_max.
	if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil && got < 2*in.cfg.ReceiveBuffer {
		in.log.Warn("the UDP receive buffer is smaller than asked for; raise net.core.rmem_max or give CAP_NET_ADMIN",
			"asked", in.cfg.ReceiveBuffer, "got", got/2)
	}
	return nil
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

func (in *Input) serveUDP(ctx, drain context.Context, c *net.UDPConn, sink input.Sink) error {
	defer func() {
		in.drops.remove(c)
		_ = c.Close() // only read from
	}()
	defer context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now().Add(udpDrain)) })()
	reader, sources := newBatchReader(c), sourceNames{}
	messages := make([]ipv4.Message, batchSize)
	buffers := make([]byte, batchSize*maxDatagram)
	for i := range messages {
		messages[i].Buffers = [][]byte{buffers[i*maxDatagram:][:maxDatagram]}
	}
	for {
		n, err := reader.ReadBatch(messages, 0)
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading syslog from UDP %s: %w", c.LocalAddr(), err)
		}
		lines := datagrams(messages[:n], sources, time.Now())
		if len(lines) == 0 {
			continue
		}
		if err := sink.Put(drain, lines, nil); err != nil {
			if drain.Err() != nil {
				return nil
			}
			return fmt.Errorf("handing over syslog from UDP: %w", err)
		}
	}
}

// datagrams copies the messages out of the read buffers, all into one piece of
// memory. One newline at the end, which some senders add, is not the message's.
func datagrams(messages []ipv4.Message, sources sourceNames, now time.Time) []input.Line {
	size := 0
	for i := range messages {
		size += messages[i].N
	}
	memory := make([]byte, 0, size)
	lines := make([]input.Line, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		b := bytes.TrimSuffix(m.Buffers[0][:m.N], []byte("\n"))
		if len(b) == 0 {
			continue
		}
		start := len(memory)
		memory = append(memory, b...)
		lines = append(lines, input.Line{
			Value: memory[start:len(memory):len(memory)], Source: sources.of(m.Addr), Received: now,
		})
	}
	return lines
}

// sourceNames keeps the text of addresses that were seen, so that it is made
// once and not for every datagram.
type sourceNames map[netip.Addr]string

const maxSourceNames = 1 << 16 // anybody can send from any address

func (s sourceNames) of(a net.Addr) string {
	udp, ok := a.(*net.UDPAddr)
	if !ok {
		return ""
	}
	addr := udp.AddrPort().Addr().Unmap().WithZone("")
	name, ok := s[addr]
	if !ok {
		if len(s) >= maxSourceNames {
			clear(s)
		}
		name = addr.String()
		s[addr] = name
	}
	return name
}

// dropCounter adds up what the kernel dropped on several sockets. The kernel
// counts in 32 bits per socket.
type dropCounter struct {
	mu      sync.Mutex
	sum     uint64
	sockets map[*net.UDPConn]uint32
}

func (d *dropCounter) add(c *net.UDPConn) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n, err := kernelDrops(c)
	if err != nil {
		return err
	}
	if d.sockets == nil {
		d.sockets = make(map[*net.UDPConn]uint32)
	}
	d.sockets[c] = n
	return nil
}

func (d *dropCounter) remove(c *net.UDPConn) {
	d.total()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sockets, c)
}

func (d *dropCounter) total() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	for c, last := range d.sockets {
		if n, err := kernelDrops(c); err == nil { // a closed socket drops nothing more
			d.sum += uint64(n - last)
			d.sockets[c] = n
		}
	}
	return d.sum
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
