package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Router asks the kernel by which way it would send. Nothing is sent.
type Router struct {
	fd  int
	seq uint32
}

// NewRouter opens the way to the kernel.
func NewRouter() (*Router, error) {
	fd, err := open(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("asking for routes: %w", err)
	}
	return &Router{fd: fd}, nil
}

// Close ends it.
func (r *Router) Close() { _ = unix.Close(r.fd) }

// Direct is the index of the link on which an address is a neighbour, or 0 where
// the way leads over a gateway, to this machine itself, or nowhere.
func (r *Router) Direct(ip netip.Addr) (int, error) {
	r.seq++
	destination := ip.AsSlice()
	const header, message, attribute = unix.NLMSG_HDRLEN, 12, 4
	b := make([]byte, header+message+attribute+len(destination))
	binary.NativeEndian.PutUint32(b, uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], unix.RTM_GETROUTE)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	binary.NativeEndian.PutUint32(b[8:], r.seq)
	b[header] = unix.AF_INET
	if ip.Is6() {
		b[header] = unix.AF_INET6
	}
	b[header+1] = byte(8 * len(destination))
	binary.NativeEndian.PutUint16(b[header+message:], uint16(attribute+len(destination)))
	binary.NativeEndian.PutUint16(b[header+message+2:], unix.RTA_DST)
	copy(b[header+message+attribute:], destination)
	if err := unix.Sendto(r.fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("asking for the route to %s: %w", ip, err)
	}
	answer := make([]byte, 8192)
	for {
		n, err := unix.Read(r.fd, answer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN): // the kernel answers before it returns; this is for good measure
			if _, err := unix.Poll([]unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}, 1000); err != nil && !errors.Is(err, unix.EINTR) {
				return 0, fmt.Errorf("asking for the route to %s: %w", ip, err)
			}
			continue
		case err != nil:
			return 0, fmt.Errorf("asking for the route to %s: %w", ip, err)
		}
		if link, ours := direct(answer[:n], r.seq); ours {
			return link, nil
		}
	}
}

// direct reads an answer, if it is that to the request of the given number.
func direct(b []byte, seq uint32) (link int, ours bool) {
	const header, message = unix.NLMSG_HDRLEN, 12
	if len(b) < header+message || binary.NativeEndian.Uint32(b[8:]) != seq {
		return 0, false
	}
	if binary.NativeEndian.Uint16(b[4:]) != unix.RTM_NEWROUTE || b[header+7] != unix.RTN_UNICAST {
		return 0, true // an error, which says that there is none, or not a neighbour
	}
	for b = b[header+message:]; len(b) >= 4; {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < 4 || length > len(b) {
			break
		}
		switch kind {
		case unix.RTA_GATEWAY, unix.RTA_VIA:
			return 0, true
		case unix.RTA_OIF:
			if length >= 8 {
				link = int(binary.NativeEndian.Uint32(b[4:]))
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return link, true
}
