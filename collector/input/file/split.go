package file

import (
	"bytes"
	"fmt"
	"io"

	"fengsui/collector/input"
	"fengsui/collector/input/charset"
)

// splitter cuts a stream into lines and knows where each began. It holds at most
// input.MaxValue bytes of a line, and counts the rest.
type splitter struct {
	r       io.Reader
	maxLine int
	charset charset.Charset
	buf     []byte
	at      int64 // where buf begins in the stream
	scanned int   // bytes of buf that are known to hold no newline
	over    *line // a line that is longer than can be kept
}

// line is one line, and its place in the stream.
type line struct {
	at     int64
	end    int64 // where the next line begins
	value  []byte
	reject string

	last   *line  // of a record of several lines: the last of them, as it stands in the file
	raw    []byte // as it stands in the file, where value is not that
	header string // the header lines that stand above it
}

const pieceSize = 256 << 10

// next reads one piece and returns the lines that it ends, which are the
// caller's. An error is the reader's; io.EOF, too, comes after all lines.
func (s *splitter) next() ([]line, error) {
	if s.buf == nil {
		s.buf = make([]byte, 0, pieceSize)
	}
	if len(s.buf) == cap(s.buf) {
		s.makeRoom()
	}
	n, err := s.r.Read(s.buf[len(s.buf):cap(s.buf)])
	s.buf = s.buf[:len(s.buf)+n]
	if n > 0 {
		err = nil // it comes again with the next Read
	}
	return s.cut(), err
}

// makeRoom doubles the buffer of a line that fills it, or begins to skip.
func (s *splitter) makeRoom() {
	if s.over != nil {
		s.drop(len(s.buf))
		return
	}
	if cap(s.buf) < input.MaxValue {
		s.buf = append(make([]byte, 0, min(2*cap(s.buf), input.MaxValue)), s.buf...)
		return
	}
	s.over = &line{at: s.at, value: s.buf}
	s.at += int64(len(s.buf))
	s.buf, s.scanned = make([]byte, 0, pieceSize), 0
}

func (s *splitter) drop(n int) {
	s.at += int64(n)
	s.buf = s.buf[:copy(s.buf, s.buf[n:])]
	s.scanned = 0
}

// cut takes the whole lines out of the buffer.
func (s *splitter) cut() []line {
	var lines []line
	used := 0
	for {
		end, next := s.newline(used + s.scanned)
		if end < 0 {
			s.scanned = next - used
			break
		}
		s.scanned = 0
		if l := s.whole(used, end, next); l.value != nil {
			lines = append(lines, l)
		}
		used = next
	}
	if used == 0 {
		return nil
	}
	s.at += int64(used)
	rest := s.buf[used:]
	if used < cap(s.buf)/4 { // do not hold a large buffer for little
		memory := append(make([]byte, 0, used), s.buf[:used]...)
		for i := range lines {
			if n := len(lines[i].value); lines[i].at >= s.at-int64(used) {
				from := int(lines[i].at - (s.at - int64(used)))
				lines[i].value = memory[from : from+n : from+n]
			}
		}
		s.buf = s.buf[:copy(s.buf, rest)]
	} else {
		s.buf = append(make([]byte, 0, max(pieceSize, 2*len(rest))), rest...)
	}
	return lines
}

// newline finds the next newline from a place in the buffer on, and where it
// ends; end -1: there is none before the place next, from which to go on.
func (s *splitter) newline(from int) (end, next int) {
	if !s.charset.Wide() {
		if i := bytes.IndexByte(s.buf[from:], '\n'); i >= 0 {
			return from + i, from + i + 1
		}
		return -1, len(s.buf)
	}
	newline := []byte{'\n', 0}
	if s.charset == charset.UTF16BE {
		newline = []byte{0, '\n'}
	}
	for at := from; ; {
		i := bytes.Index(s.buf[at:], newline)
		if i < 0 {
			return -1, max(from, len(s.buf)-1)
		}
		if at += i; (s.at+int64(at))%2 == 0 { // otherwise it is halves of two characters
			return at, at + 2
		}
		at++
	}
}

// trimCR removes a carriage return at the end.
func (s *splitter) trimCR(b []byte) []byte {
	switch s.charset {
	case charset.UTF16LE:
		return bytes.TrimSuffix(b, []byte{'\r', 0})
	case charset.UTF16BE:
		return bytes.TrimSuffix(b, []byte{0, '\r'})
	}
	return bytes.TrimSuffix(b, []byte("\r"))
}

// whole makes the line that begins at used and ends at end in the buffer. The
// value of an empty one is nil.
func (s *splitter) whole(used, end, next int) line {
	if s.over != nil {
		l := *s.over
		s.over = nil
		l.end = s.at + int64(next)
		l.reject = fmt.Sprintf("line of %d bytes cut to %d", s.at+int64(end)-l.at, len(l.value))
		return l
	}
	l := line{at: s.at + int64(used), end: s.at + int64(next)}
	value := s.trimCR(s.buf[used:end])
	if len(value) == 0 {
		return l
	}
	l.value = value[:len(value):len(value)]
	if len(value) > s.maxLine {
		l.reject = fmt.Sprintf("line of %d bytes: longer than %d", len(value), s.maxLine)
	}
	return l
}

// rest ends the stream: it returns the last line, where it has no newline.
func (s *splitter) rest() (line, bool) {
	if s.unfinished() == 0 {
		return line{}, false
	}
	l := s.whole(0, len(s.buf), len(s.buf))
	s.at += int64(len(s.buf))
	s.buf, s.scanned = nil, 0
	return l, l.value != nil
}

// unfinished is how many bytes of a line without newline there are.
func (s *splitter) unfinished() int64 {
	if s.over != nil {
		return s.at - s.over.at + int64(len(s.buf))
	}
	return int64(len(s.buf))
}

// position is where the next line to be returned begins.
func (s *splitter) position() int64 {
	if s.over != nil {
		return s.over.at
	}
	return s.at
}
