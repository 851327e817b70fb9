package syslog

import (
	"bytes"
	"fmt"

	"fengsui/collector/input"
)

// framer cuts a TCP stream into messages (RFC 6587). It is pure: bytes go in,
// messages come out; the same stream gives the same messages however it was
// chopped up.
//
// Octet counting is "LENGTH SP MESSAGE" with a message that begins with "<", or
// with anything once the connection has used octet counting before. Everything
// else ends at a newline, or at a NUL that another message's priority follows, as
// some firewalls end their messages.
type framer struct {
	maxLine int
	// grow asks for more memory than base for a message and is asked again for
	// each doubling; release gives it back.
	grow    func(bytes int) bool
	release func(bytes int)

	buf     []byte
	scanned int  // bytes of an unfinished line that are known to hold no newline
	octet   bool // the connection has counted octets
	over    *overlong

	lines []message // what the last calls found; taken by take
	taken []message // what take gave away last, to be used again
	used  int       // bytes of buf that belong to lines
	given int       // granted bytes that take gave away, or will; until settle
}

// message is a framed message, or what could be kept of one.
type message struct {
	value  []byte
	reject string
}

// overlong is a message of which only the beginning is kept.
type overlong struct {
	kept  []byte
	total int // bytes so far, or of the whole message where that was said
	left  int // bytes to come, or -1: up to the next newline
	why   string

	granted int // bytes that grow gave for kept
}

const (
	base = 64 << 10 // of the buffer that every connection has
	// mostLines is how many messages a connection's list has room for while it is idle.
	mostLines = 4096
	// maxDigits keeps a length within an int, and what waits for a decision short.
	maxDigits  = 9
	headerRoom = maxDigits + 1
)

func newFramer(maxLine int, grow func(int) bool, release func(int)) *framer {
	return &framer{maxLine: maxLine, grow: grow, release: release, buf: make([]byte, 0, base)}
}

// space is where the next bytes of the stream are to be read into.
func (f *framer) space() []byte { return f.buf[len(f.buf):cap(f.buf)] }

// fed says that n more bytes of space were filled, and frames them. After it,
// take must be called before space is used again.
func (f *framer) fed(n int) {
	f.buf = f.buf[:len(f.buf)+n]
	for f.used < len(f.buf) && f.next() {
	}
}

// next frames one message at the start of what is unused; false: it needs more.
func (f *framer) next() bool {
	b := f.buf[f.used:]
	if f.over != nil {
		return f.skip(b)
	}
	length, head, ok := f.octetHeader(b)
	if !ok {
		return false
	}
	if head == 0 {
		return f.untilNewline(b)
	}
	f.octet = true
	switch {
	case len(b) >= head+length:
		// rsyslog counts a newline of its template in.
		f.add(bytes.TrimSuffix(b[head:head+length], []byte("\n")), head+length)
		return true
	case head+length <= cap(f.buf) && length <= input.MaxValue:
		return false
	}
	return f.needs(head, length)
}

// octetHeader finds "LENGTH SP" at the start of b. head is its size, 0 for
// newline framing; not ok: more bytes must tell.
func (f *framer) octetHeader(b []byte) (length, head int, ok bool) {
	i := 0
	for i < len(b) && i <= maxDigits && b[i] >= '0' && b[i] <= '9' {
		length = length*10 + int(b[i]-'0')
		i++
	}
	switch {
	case i == 0 || b[0] == '0' || i > maxDigits:
		return 0, 0, true
	case i == len(b):
		return 0, 0, false
	case b[i] != ' ':
		return 0, 0, true
	case f.octet:
		return length, i + 1, true
	case i+1 == len(b):
		return 0, 0, false
	case b[i+1] == '<':
		return length, i + 1, true
	}
	return 0, 0, true
}

func (f *framer) untilNewline(b []byte) bool {
	end, next := endOfLine(b, f.scanned)
	if end >= 0 {
		f.scanned = 0
		f.add(trimCR(b[:end]), next)
		return true
	}
	f.scanned = next
	if len(b) < cap(f.buf) {
		return false
	}
	return f.needs(0, -1)
}

// endOfLine is where a line ends, of which so many bytes are known, and where the
// next begins. Where it does not end, end is -1, and next says how many bytes are
// known now.
func endOfLine(b []byte, known int) (end, next int) {
	end = bytes.IndexByte(b[known:], '\n')
	line := b
	if end >= 0 {
		end += known
		line = b[:end]
	}
	for at := known; ; at++ {
		n := bytes.IndexByte(line[at:], 0)
		if n < 0 {
			break
		}
		at += n
		if end < 0 && at+2 >= len(b) { // what follows it must tell
			return -1, at
		}
		if at+2 < len(line) && line[at+1] == '<' && line[at+2]-'0' <= 9 {
			return at, at + 1
		}
	}
	if end < 0 {
		return -1, len(b)
	}
	return end, end + 1
}

func trimCR(b []byte) []byte { return bytes.TrimSuffix(b, []byte("\r")) }

// needs makes room for a message that is larger than the buffer, or, where there
// is none to have, keeps its beginning and skips the rest. length is -1 where
// only a newline will tell. It is called with nothing before the message in the
// buffer, or with messages there that take has to clear away first.
func (f *framer) needs(head, length int) bool {
	size := cap(f.buf)
	if f.used > 0 || len(f.buf) < size {
		return false // take moves the message to the front, or there is room still
	}
	why := fmt.Sprintf("longer than %d bytes", input.MaxValue)
	if size < input.MaxValue+headerRoom {
		larger := min(2*size, input.MaxValue+headerRoom)
		if f.grow(larger - size) {
			f.buf = append(make([]byte, 0, larger), f.buf...)
			return false
		}
		why = "too many long messages at once"
	}
	kept := f.buf[head:]
	f.over = &overlong{kept: kept[:min(len(kept), input.MaxValue)], total: len(kept), left: -1, why: why, granted: size - base}
	if length >= 0 {
		f.over.left, f.over.total = length-len(kept), length
	}
	f.buf, f.scanned = make([]byte, 0, base), 0
	return false
}

// skip passes over the rest of an overlong message.
func (f *framer) skip(b []byte) bool {
	o, n := f.over, 0
	if o.left >= 0 {
		n = min(o.left, len(b))
		o.left -= n
		f.used += n
		if o.left > 0 {
			return true
		}
	} else {
		n = bytes.IndexByte(b, '\n')
		if n < 0 {
			o.total += len(b)
			f.used += len(b)
			return true
		}
		o.total += n
		f.used += n + 1
	}
	f.endOverlong("")
	return true
}

func (f *framer) endOverlong(how string) {
	o := f.over
	f.over = nil
	f.given += o.granted
	f.lines = append(f.lines, message{o.kept, fmt.Sprintf("message of %d bytes cut to %d: %s%s", o.total, len(o.kept), o.why, how)})
}

// add takes a whole message that ends used bytes further on. An empty one is
// nothing.
func (f *framer) add(value []byte, used int) {
	f.used += used
	if len(value) == 0 {
		return
	}
	m := message{value: value[:len(value):len(value)]}
	if len(value) > f.maxLine {
		m.reject = fmt.Sprintf("message of %d bytes: longer than %d", len(value), f.maxLine)
	}
	f.lines = append(f.lines, m)
}

// partial says that a message has begun and not ended.
func (f *framer) partial() bool { return f.over != nil || len(f.buf) > f.used }

// end gives what is left of an unfinished message. A line without a newline is
// whole at the end of a connection, since many senders leave the last one out;
// why, if not "", says that it was cut off.
func (f *framer) end(why string) {
	if f.over != nil {
		if why == "" {
			why = "the connection ended"
		}
		f.endOverlong("; " + why)
		return
	}
	b := f.buf[f.used:]
	length, head, ok := f.octetHeader(b)
	f.used = len(f.buf)
	switch {
	case ok && head > 0:
		if why == "" {
			why = "the connection ended"
		}
		f.lines = append(f.lines, message{b[head:], fmt.Sprintf("%d of %d bytes: %s", len(b)-head, length, why)})
	case len(trimCR(b)) == 0:
	case why != "":
		f.lines = append(f.lines, message{b, "line without an end: " + why})
	default:
		f.add(trimCR(b), 0)
	}
}

// take returns the messages found so far and makes the buffer ready for more. The
// list is the caller's until the next take, and their values for ever: a buffer
// with much in it is given away, little is copied out of it, so that small
// messages do not hold large memory.
func (f *framer) take() []message {
	lines, rest := f.lines, f.buf[f.used:]
	if f.used == 0 && len(lines) == 0 {
		return nil
	}
	f.lines, f.taken = f.taken[:0], lines
	if cap(lines) > mostLines {
		f.taken = nil
	}
	if f.used < cap(f.buf)/4 && cap(f.buf) == base {
		copyOut(lines)
		f.buf = f.buf[:copy(f.buf, rest)]
		f.used = 0
		return lines
	}
	size := base
	for size < len(rest)+1 {
		size *= 2 // the memory was granted: this is not more than the old buffer
	}
	size = min(size, cap(f.buf))
	f.given += cap(f.buf) - size
	if len(lines) == 0 {
		f.buf = f.buf[:copy(f.buf[:cap(f.buf)], rest)]
		if size < cap(f.buf) {
			f.buf = append(make([]byte, 0, size), f.buf...)
		}
	} else {
		f.buf = append(make([]byte, 0, size), rest...)
	}
	f.used = 0
	return lines
}

// settle releases the memory of messages that were taken and handed over.
func (f *framer) settle() {
	if f.given > 0 {
		f.release(f.given)
		f.given = 0
	}
}

// close releases everything.
func (f *framer) close() {
	f.given += cap(f.buf) - base
	if f.over != nil {
		f.given += f.over.granted
	}
	f.settle()
}

func copyOut(lines []message) {
	size := 0
	for _, l := range lines {
		size += len(l.value)
	}
	memory := make([]byte, 0, size)
	for i, l := range lines {
		start := len(memory)
		memory = append(memory, l.value...)
		lines[i].value = memory[start:len(memory):len(memory)]
	}
}
