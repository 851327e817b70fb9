package broker

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// maxRequest bounds a request: the largest batch, and what surrounds it.
const maxRequest = 16 << 20

// guard keeps from kfake what it does not survive: it believes the length that a
// request begins with and takes that much memory, and it does not look whether
// it knows the kind of the request. A connection that speaks something else is
// closed.
type guard struct{ net.Listener }

func (g guard) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &guarded{Conn: c}, nil
}

// guarded reads requests: four bytes of length, then two of kind, and so on.
type guarded struct {
	net.Conn
	head [8]byte
	have []byte // of head, not given out yet
	left int    // of the request, after head
}

// Read is called by one goroutine at a time.
func (g *guarded) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if len(g.have) == 0 && g.left == 0 {
		if _, err := io.ReadFull(g.Conn, g.head[:]); err != nil {
			return 0, err
		}
		size := binary.BigEndian.Uint32(g.head[:])
		if size < 8 || size > maxRequest {
			return 0, fmt.Errorf("a request of %d bytes", size)
		}
		kind := int16(binary.BigEndian.Uint16(g.head[4:])) //nolint:gosec // as the protocol has it
		if kmsg.RequestForKey(kind) == nil {
			return 0, fmt.Errorf("a request of the unknown kind %d", kind)
		}
		g.have, g.left = g.head[:], int(size)-4
	}
	if len(g.have) > 0 {
		n := copy(p, g.have)
		g.have = g.have[n:]
		return n, nil
	}
	n, err := g.Conn.Read(p[:min(len(p), g.left)])
	g.left -= n
	return n, err
}
