package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Sniffer counts the packets that a host sends, by where they go.
type Sniffer struct {
	fd     int
	mu     sync.Mutex
	sent   map[netip.Addr]int
	lost   int
	err    error
	closed chan struct{}
	done   sync.WaitGroup
}

// Sniff begins to count every packet that leaves the host on any interface,
// loopback too: IPv4 and IPv6 by destination, and ARP by the address asked for.
// It is a packet socket of the kernel's: nothing that is sent escapes it, and
// what it could not take in is counted by Lost.
func (h *Host) Sniff() *Sniffer {
	h.lab.t.Helper()
	s := &Sniffer{sent: map[netip.Addr]int{}, closed: make(chan struct{})}
	err := h.In(func() (err error) {
		const all = unix.ETH_P_ALL<<8&0xff00 | unix.ETH_P_ALL>>8 // in network order
		s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, all)
		return err
	})
	if err == nil {
		err = errors.Join(
			unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
			unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}))
	}
	if err != nil {
		h.lab.t.Fatalf("lab: host %s: a packet socket: %v", h.Name, err)
	}
	s.done.Go(s.read)
	h.lab.t.Cleanup(s.Close)
	return s
}

func (s *Sniffer) read() {
	buf := make([]byte, 128)
	for {
		n, from, err := unix.Recvfrom(s.fd, buf, 0)
		select {
		case <-s.closed:
			return
		default:
		}
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			s.mu.Lock()
			s.err = fmt.Errorf("lab: reading packets: %w", err)
			s.mu.Unlock()
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		if !ok || link.Pkttype != unix.PACKET_OUTGOING {
			continue
		}
		if to, ok := destination(link.Protocol, buf[:n]); ok {
			s.mu.Lock()
			s.sent[to]++
			s.mu.Unlock()
		}
	}
}

// destination is where a packet goes to. The protocol is in network order.
func destination(protocol uint16, p []byte) (netip.Addr, bool) {
	switch protocol<<8 | protocol>>8 {
	case unix.ETH_P_IP:
		if len(p) >= 20 {
			return netip.AddrFrom4([4]byte(p[16:20])), true
		}
	case unix.ETH_P_IPV6:
		if len(p) >= 40 {
			return netip.AddrFrom16([16]byte(p[24:40])), true
		}
	case unix.ETH_P_ARP: // for IPv4 over Ethernet
		if len(p) >= 28 && binary.BigEndian.Uint16(p[2:]) == unix.ETH_P_IP {
			return netip.AddrFrom4([4]byte(p[24:28])), true
		}
	}
	return netip.Addr{}, false
}

// Sent is the number of packets to each destination so far, after waiting a
// moment for those on their way through the kernel.
func (s *Sniffer) Sent() (map[netip.Addr]int, error) {
	time.Sleep(200 * time.Millisecond)
	stats, err := unix.GetsockoptTpacketStats(s.fd, unix.SOL_PACKET, unix.PACKET_STATISTICS)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("lab: the packet socket's counters: %w", err)
	}
	s.lost += int(stats.Drops) // reading them sets them to 0
	if s.lost > 0 {
		return nil, fmt.Errorf("lab: %d packets were sent unseen", s.lost)
	}
	return maps.Clone(s.sent), s.err
}

// Close ends the counting. A second call does nothing.
func (s *Sniffer) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		return
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.done.Wait()
	_ = unix.Close(s.fd)
}
