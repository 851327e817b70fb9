package beats

import (
	"bufio"
	"compress/flate"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"fengsui/collector/input"
)

// Lumberjack version 2, as go-lumber and Logstash's input-beats have it:
//
//	'2' 'W' count          a window: so many events follow, then an acknowledgement
//	'2' 'J' seq size JSON  an event
//	'2' 'C' size zlib      frames, compressed
//	'2' 'A' seq            our acknowledgement: all up to this one of the window
//
// Numbers have four bytes, the highest first.
const (
	version        = '2'
	codeWindow     = 'W'
	codeJSON       = 'J'
	codeCompressed = 'C'
	codeAck        = 'A'
)

const (
	// keptValue is how much stays of an event that is too long for anything.
	keptValue = 64 << 10
	// freeRatio is how many bytes may come out of however few.
	freeRatio = 1 << 20
)

// protocolError is a peer that does not speak the protocol, or means ill.
type protocolError struct {
	reason string // in the metric
	text   string
}

func (e *protocolError) Error() string { return e.text }

func wrong(format string, args ...any) error {
	return &protocolError{"protocol", fmt.Sprintf(format, args...)}
}

// errNoWindow is the end of the connection where it may end.
var errNoWindow = errors.New("no more windows")

// reader reads frames. It holds what the event being read needs, and asks for it.
type reader struct {
	in    *bufio.Reader
	cfg   Config
	grant func(bytes int) error
	zlib  io.ReadCloser // kept for its memory
}

func newReader(in io.Reader, cfg Config, grant func(int) error) *reader {
	return &reader{in: bufio.NewReaderSize(in, 32<<10), cfg: cfg, grant: grant}
}

// window reads how many events are to come.
func (r *reader) window() (uint32, error) {
	var frame [6]byte
	if n, err := io.ReadFull(r.in, frame[:]); err != nil {
		if n == 0 {
			return 0, errors.Join(errNoWindow, err)
		}
		return 0, err
	}
	if frame[0] != version || frame[1] != codeWindow {
		return 0, wrong("a frame begins with %q and not with a window", frame[:2])
	}
	return binary.BigEndian.Uint32(frame[2:]), nil
}

// take is given an event: its number, its value or the beginning of it, and the
// size that it had.
type take func(seq uint32, value []byte, size int) error

// events reads so many.
func (r *reader) events(count uint32, to take) error {
	for count > 0 {
		code, err := frameCode(r.in)
		if err != nil {
			return unexpected(err)
		}
		switch code {
		case codeJSON:
			if err := r.event(r.in, to); err != nil {
				return unexpected(err)
			}
			count--
		case codeCompressed:
			if count, err = r.compressed(count, to); err != nil {
				return unexpected(err)
			}
		default:
			return wrong("a frame of the unknown kind %q", code)
		}
	}
	return nil
}

// unexpected is the end within a window.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func frameCode(in io.Reader) (byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, err
	}
	if head[0] != version {
		return 0, wrong("a frame of the unknown version %q", head[0])
	}
	return head[1], nil
}

// compressed reads the frames in a compressed one, and returns how many events
// are left to come.
func (r *reader) compressed(count uint32, to take) (uint32, error) {
	var head [4]byte
	if _, err := io.ReadFull(r.in, head[:]); err != nil {
		return 0, err
	}
	size := int64(binary.BigEndian.Uint32(head[:]))
	if size > int64(r.cfg.MaxFrame) {
		return 0, &protocolError{"too_large", fmt.Sprintf("a compressed frame of %d bytes", size)}
	}
	sent := &io.LimitedReader{R: r.in, N: size}
	if err := r.inflate(sent); err != nil {
		return 0, inFrame(err, sent)
	}
	in := &inflated{from: r.zlib, sent: sent, size: size, cfg: r.cfg}
	for count > 0 {
		code, err := frameCode(in)
		if errors.Is(err, io.EOF) {
			break // more frames follow it
		}
		if err == nil && code != codeJSON {
			err = wrong("a frame of the kind %q in a compressed one", code)
		}
		if err == nil {
			err = r.event(in, to)
		}
		if err != nil {
			return 0, inFrame(err, sent)
		}
		count--
	}
	if _, err := io.Copy(io.Discard, sent); err != nil {
		return 0, err
	}
	if sent.N > 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return count, nil
}

// inFrame says of an error within a compressed frame whose it is: what is no
// zlib, or was sent whole and yet ends early, is the sender's doing.
func inFrame(err error, sent *io.LimitedReader) error {
	var corrupt flate.CorruptInputError
	switch {
	case errors.As(err, &corrupt), errors.Is(err, zlib.ErrHeader), errors.Is(err, zlib.ErrDictionary), errors.Is(err, zlib.ErrChecksum):
		return wrong("a compressed frame: %v", err)
	case sent.N == 0 && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)):
		return wrong("a compressed frame ends within an event")
	}
	return err
}

func (r *reader) inflate(from io.Reader) error {
	if r.zlib != nil {
		return r.zlib.(zlib.Resetter).Reset(from, nil)
	}
	z, err := zlib.NewReader(from)
	r.zlib = z
	if err != nil {
		r.zlib = nil
	}
	return err
}

// inflated is what comes out of a compressed frame, within bounds.
type inflated struct {
	from io.Reader
	sent *io.LimitedReader
	size int64
	out  int64
	cfg  Config
}

func (i *inflated) Read(b []byte) (int, error) {
	n, err := i.from.Read(b)
	i.out += int64(n)
	if i.out > int64(i.cfg.MaxFrame) || i.out > freeRatio && i.out/int64(i.cfg.MaxRatio) > i.size-i.sent.N {
		return 0, &protocolError{"too_large", fmt.Sprintf("a compressed frame became more than %d bytes", i.out)}
	}
	return n, err
}

// event reads an event's frame behind its kind.
func (r *reader) event(in io.Reader, to take) error {
	var head [8]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return unexpected(err)
	}
	seq, size := binary.BigEndian.Uint32(head[:4]), int64(binary.BigEndian.Uint32(head[4:]))
	if size > int64(r.cfg.MaxFrame) {
		return &protocolError{"too_large", fmt.Sprintf("an event of %d bytes", size)}
	}
	kept := int(size)
	if kept > input.MaxValue {
		kept = keptValue
	}
	// All of it at once: who had a part and waited for more would keep others
	// waiting who have a part too.
	if err := r.grant(kept + lineCost); err != nil {
		return err
	}
	value := make([]byte, kept)
	if _, err := io.ReadFull(in, value); err != nil {
		return unexpected(err)
	}
	if n, err := io.CopyN(io.Discard, in, size-int64(kept)); err != nil || n < size-int64(kept) {
		return unexpected(err)
	}
	return to(seq, value, int(size))
}
