package live

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

const (
	arpLength  = 28 // for IPv4 over Ethernet (RFC 826)
	arpRequest = 1
	ethernet   = 1
)

// network turns a number into the network's order of bytes, as packet sockets
// want their protocol.
func network(n uint16) uint16 { return n<<8 | n>>8 }

// ARP asks on the link who has the addresses, at most rate a second, and returns
// those that somebody has, with who. The rest is nobody's. ErrPrivilege says that
// nothing was sent: it needs CAP_NET_RAW.
func ARP(ctx context.Context, l *Link, ips []netip.Addr, rate int) ([]Sign, error) {
	if len(ips) == 0 {
		return nil, nil
	}
	fd, err := open(unix.AF_PACKET, unix.SOCK_DGRAM, int(network(unix.ETH_P_ARP)))
	if err != nil {
		return nil, fmt.Errorf("ARP: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: network(unix.ETH_P_ARP), Ifindex: l.Index}); err != nil {
		return nil, fmt.Errorf("ARP on %s: %w", l.Name, err)
	}
	everybody := &unix.SockaddrLinklayer{
		Protocol: network(unix.ETH_P_ARP), Ifindex: l.Index, Halen: 6, Addr: [8]byte{255, 255, 255, 255, 255, 255},
	}
	asked := index(ips)
	who := make([]string, len(ips))
	x := exchange{
		fd: fd, n: len(ips), rate: rate,
		send: func(i int) error {
			source := l.Source(ips[i])
			if !source.Is4() {
				return fmt.Errorf("ARP: %s is not on %s", ips[i], l.Name)
			}
			err := unix.Sendto(fd, request(l.MAC, source, ips[i]), 0, everybody)
			if err != nil && !errors.Is(err, unix.ENOBUFS) && !errors.Is(err, unix.EAGAIN) {
				return fmt.Errorf("ARP on %s: %w", l.Name, err)
			}
			return nil
		},
		answered: func(i int) bool { return who[i] != "" },
		received: func(b []byte, from unix.Sockaddr) {
			if link, ok := from.(*unix.SockaddrLinklayer); ok && link.Pkttype == unix.PACKET_OUTGOING {
				return
			}
			if ip, mac, ok := sender(b); ok {
				if i, ok := asked[ip]; ok {
					who[i] = mac.String()
				}
			}
		},
	}
	err = x.run(ctx)
	var out []Sign
	for i, ip := range ips {
		if who[i] != "" {
			out = append(out, Sign{IP: ip, Method: ByARP, MAC: who[i]})
		}
	}
	return out, err
}

func request(mac net.HardwareAddr, source, target netip.Addr) []byte {
	b := make([]byte, arpLength)
	binary.BigEndian.PutUint16(b[0:], ethernet)
	binary.BigEndian.PutUint16(b[2:], unix.ETH_P_IP)
	b[4], b[5] = 6, 4
	binary.BigEndian.PutUint16(b[6:], arpRequest)
	copy(b[8:], mac)
	from, to := source.As4(), target.As4()
	copy(b[14:], from[:])
	copy(b[24:], to[:])
	return b
}

// sender is who says in a packet that an address is his.
func sender(b []byte) (netip.Addr, net.HardwareAddr, bool) {
	if len(b) < arpLength || binary.BigEndian.Uint16(b[0:]) != ethernet || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 {
		return netip.Addr{}, nil, false
	}
	return netip.AddrFrom4([4]byte(b[14:18])), net.HardwareAddr(append([]byte(nil), b[8:14]...)), true
}
