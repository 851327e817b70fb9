package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/input/charset"
)

var (
	errPut      = errors.New("handing lines over")
	errReplaced = errors.New("the file's content was replaced")
	errState    = errors.New("keeping how far the files were read")
	errOther    = errors.New("the archive is not of the log that it was taken for")
)

const (
	// idleClose is how long a file without news is held open.
	idleClose = 10 * time.Minute
	// turnPieces is how many pieces a file may read before it is another's turn.
	turnPieces = 4
)

// follow is one open file.
type follow struct {
	id     inode
	path   string
	file   *os.File
	packed *packing // nil: a log
	named  bool     // some path still leads to it
	entry  *entry

	charset  charset.Charset
	split    *splitter // nil when there is nothing begun
	join     joiner
	at       int64     // where the next line to be read begins
	tail     tail      // of what lies before the records that are not put
	size     int64     // when it was last read to its end
	grew     time.Time // when its size was last seen to change
	complete bool      // an archive that is read
	preamble preamble

	// Of an archive:
	skipTo int64   // lines before it are durable
	logs   []entry // that it may be of; the first is taken for it until a line tells otherwise
	proved bool    // a line has told that it is
}

func (f *follow) archive() bool { return f.packed != nil }

// unread says that there is something of the file that was not put.
func (f *follow) unread() bool { return !f.complete && (f.size > f.at || len(f.join.open) > 0) }

func inodeOf(info os.FileInfo) inode {
	st := info.Sys().(*syscall.Stat_t)
	return inode{uint64(st.Dev), st.Ino} //nolint:unconvert // not uint64 everywhere
}

// open opens a file and finds out which one it is and how far it was read.
func (in *Input) open(path string) (*follow, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f := &follow{path: path, file: file, named: true, grew: time.Now(), preamble: in.preambleFor(), join: joiner{rule: in.rule}}
	if err := in.identify(f); err != nil {
		_ = file.Close() // only read from
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func (in *Input) identify(f *follow) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if in.cfg.Once && info.Mode()&(os.ModeNamedPipe|os.ModeCharDevice) != 0 {
		return in.asStream(f)
	}
	head := make([]byte, headMost)
	n, err := f.file.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.id = inodeOf(info)
	f.packed = packedBy(f.path)
	if f.packed == nil && in.cfg.Once {
		f.packed = packedAs(head[:n])
	}
	f.charset = charset.OfBOM(head[:n], in.charset)
	var now entry
	f.entry, now, err = in.state.entryFor(f, head[:n], info)
	if err != nil {
		return err
	}
	f.size = -1
	if f.archive() {
		f.skipTo, f.complete = now.Offset, now.Done
		if f.complete {
			f.size = info.Size()
		}
		return nil
	}
	f.at, f.tail = now.Offset, now.Tail
	return in.recoverPreamble(f, now.PreambleAt)
}

// asStream prepares to read what can be read only once, such as a pipe. Its lines
// have no ids of their own, since nothing would tell them apart another time.
func (in *Input) asStream(f *follow) error {
	r := bufio.NewReaderSize(f.file, 64<<10)
	head, err := r.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.entry = &entry{Path: f.path, PreambleAt: -1}
	if f.packed = packedAs(head); f.packed == nil {
		f.packed = &packing{unpack: func(r io.Reader) (io.Reader, error) { return r, nil }}
	}
	in.beginUnpacked(f, &unpacker{from: r, by: f.packed})
	return nil
}

func (f *follow) close() {
	if f.file != nil {
		_ = f.file.Close() // only read from
		f.file = nil
	}
	f.split = nil
}

// finished says that the file need not be held open.
func (f *follow) finished(quiet time.Duration) bool {
	if f.unread() {
		return false
	}
	since := time.Since(f.grew)
	return f.complete || since > idleClose || !f.named && since > quiet
}

// turn reads some of the file and puts its lines; more: there is more to read
// at once.
func (in *Input) turn(ctx context.Context, f *follow, sink input.Sink) (more bool, err error) {
	if f.complete {
		return false, nil
	}
	info, err := f.file.Stat()
	if err != nil {
		return false, err
	}
	whole := in.cfg.Once // the end of the file ends its last line
	if !f.archive() {
		if info.Size() < f.at || f.split != nil && info.Size() < f.split.at {
			return false, in.replaced(ctx, f, sink)
		}
		quiet := time.Since(f.grew)
		switch {
		case info.Size() != f.size:
			f.grew = time.Now()
		case f.size > f.at && quiet > in.cfg.Quiet:
			whole = true
		case f.size == f.at && len(f.join.open) > 0 && quiet > in.cfg.Multiline.Wait:
			return false, in.put(ctx, f, sink, nil, f.at, pauses)
		default:
			return false, nil
		}
	}
	if f.split == nil {
		err := in.begin(f)
		if errors.Is(err, errReplaced) {
			err = in.replaced(ctx, f, sink)
		}
		if err != nil {
			return false, err
		}
	}
	for range turnPieces {
		lines, err := f.split.next()
		if err := in.put(ctx, f, sink, lines, f.split.position(), goesOn); err != nil {
			return in.otherwise(f, err)
		}
		in.progress(f, info.Size())
		if err == nil {
			continue
		}
		if f.archive() {
			if err := in.endArchive(ctx, f, sink, info.Size(), err); err != nil {
				return in.otherwise(f, err)
			}
			in.progress(f, info.Size())
			return false, nil
		}
		if !errors.Is(err, io.EOF) {
			return false, err
		}
		f.size = info.Size()
		if whole {
			err = in.putRest(ctx, f, sink)
			f.complete = in.cfg.Once
			in.progress(f, info.Size())
			return false, err
		}
		if f.split.unfinished() <= pieceSize {
			f.split = nil // little to read again, and much memory for many files
		}
		return false, nil
	}
	return true, nil
}

// begin makes the splitter, at the first byte that was not read.
func (in *Input) begin(f *follow) error {
	if f.archive() {
		if _, err := f.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		in.beginUnpacked(f, &unpacker{from: f.file, by: f.packed})
		return nil
	}
	if !f.tail.matches(f.file) {
		return errReplaced
	}
	f.split = &splitter{
		r:       io.NewSectionReader(f.file, f.at, math.MaxInt64-f.at),
		at:      f.at,
		maxLine: in.cfg.MaxLine,
		charset: f.charset,
	}
	return nil
}

// beginUnpacked makes the splitter of an archive's text, whose first bytes tell
// the encoding, and which log it may be of.
func (in *Input) beginUnpacked(f *follow, text io.Reader) {
	r := bufio.NewReaderSize(text, 64<<10)
	head, _ := r.Peek(headMost) // an error comes again with the first read
	f.charset = charset.OfBOM(head, in.charset)
	f.split = &splitter{r: r, maxLine: in.cfg.MaxLine, charset: f.charset}
	if f.logs == nil && f.entry.Stream != "" && f.entry.Of == "" && f.skipTo == 0 {
		f.logs = in.state.logsOf(f.entry, head)
		f.take()
	}
}

// take takes the archive for the next of the logs that it may be of, or for none.
func (f *follow) take() {
	f.skipTo, f.proved = 0, len(f.logs) == 0
	if !f.proved {
		f.skipTo = f.logs[0].Offset
	}
}

// otherwise begins an archive again that is not of the log that it was taken for.
func (in *Input) otherwise(f *follow, err error) (more bool, _ error) {
	if !errors.Is(err, errOther) {
		return false, err
	}
	f.logs = f.logs[1:]
	f.take()
	f.split, f.at, f.preamble, f.join.open = nil, 0, in.preambleFor(), nil
	if f.logs == nil {
		f.logs = []entry{}
	}
	return true, nil
}

// prove compares a line that is skipped with what is known of the log.
func (f *follow) prove(l line) error {
	if f.proved || len(f.logs) == 0 {
		return nil
	}
	if want := f.logs[0].Tail; l.at <= want.At && want.At < l.end {
		if tailOf(l) != want {
			return errOther
		}
		f.proved = true
	}
	return nil
}

// settle notes which log the archive is of, before the first of its lines is put.
func (in *Input) settle(f *follow) error {
	if len(f.logs) == 0 {
		return nil
	}
	if !f.proved {
		return errOther
	}
	log := f.logs[0]
	f.logs = f.logs[:0]
	return in.state.goesOn(f.entry, log)
}

// replaced ends a log whose content was replaced.
func (in *Input) replaced(ctx context.Context, f *follow, sink input.Sink) error {
	if err := in.put(ctx, f, sink, nil, f.at, pauses); err != nil {
		return err
	}
	return errReplaced
}

func (in *Input) putRest(ctx context.Context, f *follow, sink input.Sink) error {
	l, ok := f.split.rest()
	end := f.split.at
	f.split = nil
	var last []line
	if ok {
		last = append(last, l)
	}
	return in.put(ctx, f, sink, last, end, pauses)
}

// endArchive puts what an archive ends with. Where it ends too early, all that
// could be read was put, and a reject says what is missing.
func (in *Input) endArchive(ctx context.Context, f *follow, sink input.Sink, size int64, cause error) error {
	var last []line
	l, ok := f.split.rest()
	at := f.split.at
	if errors.Is(cause, io.EOF) {
		if ok {
			last = append(last, l)
		}
	} else {
		if info, err := f.file.Stat(); err == nil && info.Size() != size {
			return fmt.Errorf("%s is still being written: %w", f.path, cause) // it is opened again later
		}
		if ok {
			l.reject = "line cut off by a damaged archive"
			last = append(last, l)
		}
		last = append(last, line{
			at: at, end: at,
			value:  fmt.Appendf(nil, "%s: after %d bytes of text", f.entry.Path, at),
			reject: fmt.Sprintf("damaged or truncated archive: %v", cause),
		})
	}
	if err := in.put(ctx, f, sink, last, at, ends); err != nil {
		return err
	}
	f.complete, f.split, f.size = true, nil, size
	return nil
}

// ending is what follows the lines that are put.
type ending int

const (
	goesOn ending = iota
	pauses        // nothing for now: the record that is open is whole
	ends          // nothing ever
)

// records makes lines records: it decodes them, takes the header lines out, and
// those that are durable, and joins the others.
func (in *Input) records(f *follow, raw []line, then ending) ([]line, error) {
	lines := raw[:0]
	for _, l := range raw {
		l = in.decoded(f, l)
		if l.value == nil || f.preamble.take(l) {
			continue
		}
		if l.at < f.skipTo {
			if err := f.prove(l); err != nil {
				return nil, err
			}
			continue
		}
		l.header = f.preamble.text
		lines = append(lines, l)
	}
	if f.archive() && (len(lines) > 0 || then == ends) {
		if err := in.settle(f); err != nil {
			return nil, err
		}
	}
	lines = f.join.add(lines)
	if then != goesOn {
		lines = f.join.flush(lines)
	}
	return lines, nil
}

// decoded is the line in UTF-8. What cannot be decoded stays as it is, for a
// dead letter.
func (in *Input) decoded(f *follow, l line) line {
	text, err := f.charset.Decode(l.value)
	switch {
	case l.reject != "":
	case err != nil:
		in.undecodable.Inc()
		l.reject = err.Error()
	case len(text) == 0:
		l.value = nil
	case &text[0] != &l.value[0]:
		l.value, l.raw = text, l.value
	}
	return l
}

// put hands over the records that are whole with further lines, which lie before
// end.
func (in *Input) put(ctx context.Context, f *follow, sink input.Sink, raw []line, end int64, then ending) error {
	records, err := in.records(f, raw, then)
	if err != nil {
		return err
	}
	lines := make([]input.Line, 0, len(records))
	now := time.Now()
	for _, l := range records {
		lines = append(lines, input.Line{
			Value: l.value, Reject: l.reject, Source: f.entry.Path, Received: now, Preamble: l.header,
			Stream: f.entry.stream(), Seq: uint64(l.at), //nolint:gosec // not negative
		})
	}
	f.at = end
	done := then == ends
	if len(lines) == 0 && !done {
		return nil
	}
	if len(records) > 0 {
		f.tail = tailOf(records[len(records)-1])
	}
	reached := progressOf{offset: f.join.at(f.at), tail: f.tail, preambleAt: f.preamble.place(), done: done}
	for {
		part := lines
		if in.limiter != nil {
			part = lines[:min(len(lines), in.limiter.Burst())]
			if err := in.limiter.WaitN(ctx, len(part)); err != nil {
				return fmt.Errorf("%w: %w", errPut, err)
			}
		}
		lines = lines[len(part):]
		in.lines += int64(len(part))
		in.pending.add()
		last := len(lines) == 0
		err := sink.Put(ctx, part, func() {
			if last {
				in.state.advance(f.entry, reached)
			}
			in.pending.done()
		})
		if err != nil {
			in.pending.done()
			return fmt.Errorf("%w: %w", errPut, err)
		}
		if last {
			return nil
		}
	}
}

func (in *Input) progress(f *follow, size int64) {
	if in.deps.Progress == nil {
		return
	}
	read := f.at
	if f.archive() {
		at, err := f.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return // not worth more than a missing progress
		}
		read = at
	}
	in.deps.Progress(Progress{Path: f.path, Read: read, Size: size, Lines: in.lines})
}

// preamble is the header lines of a file.
type preamble struct {
	prefix string // "" for none
	auto   bool   // the file's first line decides
	text   string
	at     int64 // where the block begins
	known  bool  // there is a block
	open   bool  // the last line belonged to it
}

// maxPreamble bounds what each line of a file carries.
const maxPreamble = 64 << 10

func (in *Input) preambleFor() preamble {
	headed := strings.HasPrefix(in.deps.Format, "zeek") || in.deps.Format == "microsoft-iis" || in.deps.Format == "microsoft-exchange"
	switch p := in.cfg.Preamble; {
	case p == "none":
		return preamble{}
	case p != "":
		return preamble{prefix: p}
	case headed:
		return preamble{prefix: "#"}
	case in.deps.Format == "auto":
		return preamble{prefix: "#", auto: true}
	}
	return preamble{}
}

// take says whether l is a header line, and remembers it then. A block that
// stands further on takes the place of the one before. Zeek's "#close" ends a
// file and belongs to no block.
func (p *preamble) take(l line) bool {
	if p.auto && l.at == 0 {
		p.auto = false
		if s := string(l.value); !strings.HasPrefix(s, "#separator") && !strings.HasPrefix(s, "#Software:") {
			p.prefix = ""
		}
	}
	if p.prefix == "" || l.reject != "" || !strings.HasPrefix(string(l.value), p.prefix) {
		p.open = false
		return false
	}
	switch {
	case strings.HasPrefix(string(l.value), "#close"):
	case !p.open:
		p.open, p.known, p.at, p.text = true, true, l.at, string(l.value)
	case len(p.text)+len(l.value) < maxPreamble:
		p.text += "\n" + string(l.value)
	}
	return true
}

// place is where the block begins, or -1.
func (p *preamble) place() int64 {
	if !p.known {
		return -1
	}
	return p.at
}

// recoverPreamble reads the header lines again that stand before the place where
// reading goes on.
func (in *Input) recoverPreamble(f *follow, from int64) error {
	p := &f.preamble
	if f.at == 0 {
		return nil
	}
	if p.auto && from < 0 {
		p.prefix = ""
	}
	p.auto = false
	if p.prefix == "" || from < 0 {
		return nil
	}
	s := splitter{r: io.NewSectionReader(f.file, from, f.at-from), at: from, maxLine: maxPreamble, charset: f.charset}
	for {
		lines, err := s.next()
		for _, l := range lines {
			if !p.take(in.decoded(f, l)) {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the header lines again: %w", err)
		}
	}
}
