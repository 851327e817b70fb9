package packet

import (
	"container/list"
	"net/netip"
	"time"
)

// Bounds of the reassembly of IP fragments.
const (
	maxFragmented     = 4096             // datagrams in pieces at one time
	maxFragments      = 128              // pieces of one datagram
	maxFragmentBytes  = 16 << 20         // of all together
	maxDatagram       = 65535            // what IP allows
	fragmentTimeout   = 30 * time.Second // RFC 791 suggests 15, RFC 8200 says 60
	fragmentTimeoutNs = int64(fragmentTimeout)
)

type fragKey struct {
	src, dst netip.Addr
	id       uint32
	proto    uint8
}

type fragBuffer struct {
	key     fragKey
	first   int64 // time of the first piece
	pieces  []fragPiece
	bytes   int
	total   int // declared length of the body; -1 until the last piece is there
	ipLen   int // sum over the pieces, so that a conn's byte count stays true
	element *list.Element
}

type fragPiece struct {
	offset int
	body   []byte
}

// defragmenter puts IPv4's and IPv6's fragments together again. Pieces that
// overlap condemn their datagram: no honest sender makes them (RFC 5722).
type defragmenter struct {
	buffers map[fragKey]*fragBuffer
	order   *list.List // oldest first
	bytes   int
}

func newDefragmenter() *defragmenter {
	return &defragmenter{buffers: map[fragKey]*fragBuffer{}, order: list.New()}
}

func (f *defragmenter) drop(b *fragBuffer) {
	delete(f.buffers, b.key)
	f.order.Remove(b.element)
	f.bytes -= b.bytes
}

// expire drops what stayed incomplete and says how many datagrams that were.
func (f *defragmenter) expire(now int64) (dropped int) {
	for e := f.order.Front(); e != nil; e = f.order.Front() {
		b := e.Value.(*fragBuffer)
		if now-b.first < fragmentTimeoutNs && len(f.buffers) <= maxFragmented && f.bytes <= maxFragmentBytes {
			break
		}
		f.drop(b)
		dropped++
	}
	return dropped
}

// add takes a fragment. With the last missing piece d becomes the whole
// datagram and the answer is true.
func (f *defragmenter) add(now int64, d *datagram) (whole bool, flt fault) {
	if len(d.body) < d.bodyLen { // cut off by the capture: can never be whole
		return false, faultFragment
	}
	end := d.offset + d.bodyLen
	if end > maxDatagram || d.bodyLen == 0 || (d.more && d.bodyLen%8 != 0) {
		return false, faultFragment
	}
	key := fragKey{d.src, d.dst, d.fragID, d.proto}
	b := f.buffers[key]
	if b == nil {
		b = &fragBuffer{key: key, first: now, total: -1}
		b.element = f.order.PushBack(b)
		f.buffers[key] = b
	}
	at := len(b.pieces)
	for i, p := range b.pieces {
		if d.offset == p.offset && d.bodyLen == len(p.body) {
			return false, faultNone // the same piece again
		}
		if d.offset < p.offset+len(p.body) && p.offset < end {
			f.drop(b)
			return false, faultFragment
		}
		if p.offset > d.offset && at == len(b.pieces) {
			at = i
		}
	}
	if len(b.pieces) == maxFragments || (b.total >= 0 && end > b.total) {
		f.drop(b)
		return false, faultFragment
	}
	if !d.more {
		b.total = end
	}
	b.pieces = append(b.pieces, fragPiece{})
	copy(b.pieces[at+1:], b.pieces[at:])
	b.pieces[at] = fragPiece{d.offset, append([]byte(nil), d.body...)}
	b.bytes += d.bodyLen
	b.ipLen += d.ipLen
	f.bytes += d.bodyLen
	if last := b.pieces[len(b.pieces)-1]; b.total >= 0 && last.offset+len(last.body) > b.total {
		f.drop(b)
		return false, faultFragment
	}
	if b.bytes != b.total { // without overlaps equal sums mean complete
		return false, faultNone
	}
	body := make([]byte, 0, b.total)
	for _, p := range b.pieces {
		body = append(body, p.body...)
	}
	d.body, d.bodyLen, d.ipLen, d.fragmented = body, len(body), b.ipLen, false
	f.drop(b)
	return true, faultNone
}
