package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/gzip"

	"fengsui/collector/input"
	"fengsui/internal/gzfile"
)

var (
	errPut      = errors.New("handing lines over")
	errReplaced = errors.New("the file's content was replaced")
	errState    = errors.New("keeping how far the files were read")
)

const (
	// idleClose is how long a file without news is held open.
	idleClose = 10 * time.Minute
	// turnPieces is how many pieces a file may read before it is another's turn.
	turnPieces = 4
)

// follow is one open file.
type follow struct {
	id      inode
	path    string
	file    *os.File
	archive bool
	named   bool // some path still leads to it
	entry   *entry

	split    *splitter // nil when there is nothing begun
	offset   int64     // where the next line to be put begins
	tail     tail      // of what lies before it
	size     int64     // when it was last read to its end
	grew     time.Time // when its size was last seen to change
	skipTo   int64     // lines of an archive before it are durable
	complete bool      // an archive that is read
	preamble preamble
}

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
	f := &follow{path: path, file: file, named: true, grew: time.Now(), preamble: in.preambleFor()}
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
	f.archive = isArchive(f.path) || in.cfg.Once && n > 1 && head[0] == 0x1f && head[1] == 0x8b
	var now entry
	f.entry, now, err = in.state.entryFor(f, head[:n], info)
	if err != nil {
		return err
	}
	f.size = -1
	if f.archive {
		f.skipTo, f.complete = now.Offset, now.Done
		if f.complete {
			f.size = info.Size()
		}
		return nil
	}
	f.offset, f.tail = now.Offset, now.Tail
	return f.recoverPreamble(now.PreambleAt)
}

// asStream prepares to read what can be read only once, such as a pipe. Its lines
// have no ids of their own, since nothing would tell them apart another time.
func (in *Input) asStream(f *follow) error {
	r, err := gzfile.NewReader(f.file)
	if err != nil {
		return err
	}
	f.archive, f.entry = true, &entry{Path: f.path, PreambleAt: -1, archive: true}
	f.split = &splitter{r: r, maxLine: in.cfg.MaxLine}
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
	if !f.archive {
		if info.Size() < f.offset || f.split != nil && info.Size() < f.split.at {
			return false, errReplaced
		}
		if info.Size() != f.size {
			f.grew = time.Now()
		} else if f.size > f.offset && time.Since(f.grew) > in.cfg.Quiet {
			whole = true
		} else {
			return false, nil
		}
	}
	if f.split == nil {
		if err := in.begin(f); err != nil {
			return false, err
		}
	}
	for range turnPieces {
		lines, err := f.split.next()
		if err := in.put(ctx, f, sink, lines, f.split.position(), false); err != nil {
			return false, err
		}
		in.progress(f, info.Size())
		if err == nil {
			continue
		}
		if f.archive {
			err = in.endArchive(ctx, f, sink, info.Size(), err)
			in.progress(f, info.Size())
			return false, err
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

// begin makes the splitter, at the first byte that was not put.
func (in *Input) begin(f *follow) error {
	if f.archive {
		f.split = &splitter{r: &gunzip{file: f.file}, maxLine: in.cfg.MaxLine}
		return nil
	}
	if !f.tail.matches(f.file) {
		return errReplaced
	}
	f.split = &splitter{
		r:       io.NewSectionReader(f.file, f.offset, math.MaxInt64-f.offset),
		at:      f.offset,
		maxLine: in.cfg.MaxLine,
	}
	return nil
}

// gunzip opens the archive with its first read.
type gunzip struct {
	file *os.File
	z    *gzip.Reader
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.z == nil {
		z, err := gzip.NewReader(g.file)
		if err != nil {
			return 0, fmt.Errorf("reading the header: %w", err)
		}
		g.z = z
	}
	return g.z.Read(p)
}

func (in *Input) putRest(ctx context.Context, f *follow, sink input.Sink) error {
	l, ok := f.split.rest()
	end := f.split.at
	f.split = nil
	if !ok {
		f.offset = end
		return nil
	}
	return in.put(ctx, f, sink, []line{l}, end, false)
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
	f.complete, f.split, f.size = true, nil, size
	return in.put(ctx, f, sink, last, at, true)
}

// put hands lines over, without the header lines, which it remembers. They lie
// before end. done says that they are an archive's last.
func (in *Input) put(ctx context.Context, f *follow, sink input.Sink, raw []line, end int64, done bool) error {
	lines := make([]input.Line, 0, len(raw))
	now := time.Now()
	for _, l := range raw {
		if f.preamble.take(l) || l.at < f.skipTo {
			continue
		}
		f.tail = tailOf(l)
		lines = append(lines, input.Line{
			Value: l.value, Reject: l.reject, Source: f.entry.Path, Received: now, Preamble: f.preamble.text,
			Stream: f.entry.Stream, Seq: uint64(l.at), //nolint:gosec // not negative
		})
	}
	f.offset = end
	if len(lines) == 0 && !done {
		return nil
	}
	reached := progressOf{offset: f.offset, tail: f.tail, preambleAt: f.preamble.place(), done: done}
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
	read := f.offset
	if f.archive {
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
	zeek := strings.HasPrefix(in.deps.Format, "zeek")
	switch p := in.cfg.Preamble; {
	case p == "none":
		return preamble{}
	case p != "":
		return preamble{prefix: p}
	case zeek:
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
		if !strings.HasPrefix(string(l.value), "#separator") {
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
func (f *follow) recoverPreamble(from int64) error {
	p := &f.preamble
	if f.offset == 0 {
		return nil
	}
	if p.auto && from < 0 {
		p.prefix = ""
	}
	p.auto = false
	if p.prefix == "" || from < 0 {
		return nil
	}
	s := splitter{r: io.NewSectionReader(f.file, from, f.offset-from), at: from, maxLine: maxPreamble}
	for {
		lines, err := s.next()
		for _, l := range lines {
			if !p.take(l) {
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
