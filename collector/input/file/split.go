package file

import (
	"bytes"
	"fmt"
	"io"

	"fengsui/collector/input"
)

// splitter cuts a stream into lines and knows where each began. It holds at most
// input.MaxValue bytes of a line, and counts the rest.
type splitter struct {
	r       io.Reader
	maxLine int
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
		i := bytes.IndexByte(s.buf[used+s.scanned:], '\n')
		if i < 0 {
			s.scanned = len(s.buf) - used
			break
		}
		end := used + s.scanned + i
		s.scanned = 0
		if l := s.whole(used, end, end+1); l.value != nil {
			lines = append(lines, l)
		}
		used = end + 1
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
	value := bytes.TrimSuffix(s.buf[used:end], []byte("\r"))
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
