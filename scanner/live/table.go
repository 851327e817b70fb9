package live

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// Neighbour is what the kernel knows of an address on an own link.
type Neighbour struct {
	MAC       string // "" where nobody has said
	Reachable bool   // it has answered within the last half minute or so
	Failed    bool   // the kernel has asked three times and nobody answered
}

// Table is the kernel's table of neighbours. Reading it needs no privilege and
// sends nothing.
func Table() (map[netip.Addr]Neighbour, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETNEIGH, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("reading the table of neighbours: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, fmt.Errorf("reading the table of neighbours: %w", err)
	}
	out := map[netip.Addr]Neighbour{}
	for _, m := range messages {
		if m.Header.Type == unix.RTM_NEWNEIGH {
			if ip, n, ok := neighbour(m.Data); ok {
				out[ip] = n
			}
		}
	}
	return out, nil
}

// neighbour reads a struct ndmsg and its attributes (rtnetlink(7)).
func neighbour(b []byte) (netip.Addr, Neighbour, bool) {
	const header, state = 12, 8
	if len(b) < header {
		return netip.Addr{}, Neighbour{}, false
	}
	nud := binary.NativeEndian.Uint16(b[state:])
	n := Neighbour{Reachable: nud&unix.NUD_REACHABLE != 0, Failed: nud&unix.NUD_FAILED != 0}
	var ip netip.Addr
	for b = b[header:]; len(b) >= 4; {
		length, kind := int(binary.NativeEndian.Uint16(b)), binary.NativeEndian.Uint16(b[2:])
		if length < 4 || length > len(b) {
			break
		}
		switch value := b[4:length]; kind {
		case unix.NDA_DST:
			ip, _ = netip.AddrFromSlice(value) // else invalid, and left out
		case unix.NDA_LLADDR:
			if len(value) == 6 {
				n.MAC = net.HardwareAddr(append([]byte(nil), value...)).String()
			}
		}
		b = b[min((length+3)&^3, len(b)):]
	}
	return ip, n, ip.IsValid() && !ip.IsMulticast()
}
