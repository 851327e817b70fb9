package collector

import (
	"strconv"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// stamper encodes the origins of lines. Lines that follow each other mostly have
// one source, and differ only in their number and time: what they share is encoded
// once.
type stamper struct {
	last   schemas.Origin
	key    []byte // of the last line's record
	shared []byte // its headers but for seq and received, behind the number of all
	memory []byte // of the headers of all records since begin

	received int64  // of the last line, in microseconds
	when     []byte // its header
}

// begin allows the memory of what was stamped before to be used again.
func (s *stamper) begin() { s.memory = s.memory[:0] }

// stamp is the key and the encoded headers of a line's record. The key is shared,
// and the headers are valid until begin.
func (s *stamper) stamp(o *schemas.Origin) (key, headers []byte) {
	if s.shared == nil || !sameButForTheLine(o, &s.last) {
		s.share(o)
	}
	from := len(s.memory)
	b := append(s.memory, s.shared...)
	var digits [20]byte
	b = kafka.AppendHeader(b, schemas.HeaderSeq, strconv.AppendUint(digits[:0], o.Seq, 10))
	if at := o.Received.UnixMicro(); at != s.received || s.when == nil { // lines of one read have one time
		s.received = at
		s.when = kafka.AppendHeader(s.when[:0], schemas.HeaderReceived, strconv.AppendInt(digits[:0], at, 10))
	}
	b = append(b, s.when...)
	s.memory = b
	return s.key, b[from:len(b):len(b)]
}

func (s *stamper) share(o *schemas.Origin) {
	var shared []schemas.Header
	for _, h := range o.Headers() {
		if h.Key != schemas.HeaderSeq && h.Key != schemas.HeaderReceived {
			shared = append(shared, h)
		}
	}
	// The number is that of all; two more make no more bytes of it.
	b := kafka.AppendHeaders(nil, append(shared, schemas.Header{}, schemas.Header{}))
	s.shared = b[:len(b)-4] // an empty header is two bytes
	s.last, s.key = *o, []byte(o.Source)
}

func sameButForTheLine(a, b *schemas.Origin) bool {
	return a.Source == b.Source && a.Stream == b.Stream && a.Unit == b.Unit && a.Input == b.Input && a.Format == b.Format &&
		a.Drill == b.Drill && a.Preamble == b.Preamble && a.Reject == b.Reject
}
