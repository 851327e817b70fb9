// Package spool is a bounded queue of records on disk, for the time that their
// destination is away. What Append has returned for survives kill -9 and power
// loss; records leave in the order in which they came. A full spool waits, it
// never drops. It knows nothing of what the records mean.
//
// The directory holds segments, named by the index of their first record and
// made of frames (length, CRC-32C, record), and the file "position" that says how
// far the records have been taken. One process at a time uses a directory.
//
// One goroutine may append while another takes.
package spool

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frameHeader  = 8
	suffix       = ".seg"
	corruptMark  = ".corrupt"
	positionName = "position"
	minMaxBytes  = 1 << 20
	maxSegment   = 64 << 20
	minSegment   = 64 << 10
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrTooLarge says that a record can never fit into the spool.
var ErrTooLarge = errors.New("record is larger than the spool takes")

// errBadFrame says that the bytes at a place are no whole frame.
var errBadFrame = errors.New("no whole frame")

// Spool is the queue. Open makes one.
type Spool struct {
	dir          string
	maxBytes     int64
	segmentBytes int64
	lock         *os.File

	appendMu     sync.Mutex // one Append at a time
	writing      *os.File   // the last segment, or nil when the next Append starts one
	writingFirst uint64

	readMu       sync.Mutex // one Take or Commit at a time
	reading      *os.File   // the first segment, or nil
	readingFirst uint64

	mu       sync.Mutex // guards what follows; never held during I/O on a segment
	segments []segment  // oldest first
	head     place      // where the next Take starts
	next     uint64     // index of the next record to be appended
	bytes    int64      // of all segments
	lost     uint64     // records found damaged since Open
	pinned   bool       // a write to the last segment goes on
	changed  chan struct{}

	fullSince time.Time // an Append waits for room; zero: none does
}

type segment struct {
	first uint64 // index of its first record
	size  int64  // bytes that are whole and on disk
}

// place is a record's place: its index, and its offset in the first segment.
type place struct {
	index  uint64
	offset int64
}

// Open opens or makes the spool in dir. maxBytes bounds the size of its segments
// together. A tail that was torn by a crash is cut off: nobody was told that it
// was safe.
func Open(dir string, maxBytes int64) (*Spool, error) {
	if maxBytes < minMaxBytes {
		return nil, fmt.Errorf("spool of %d bytes: at least %d", maxBytes, minMaxBytes)
	}
	s := &Spool{
		dir: dir, maxBytes: maxBytes,
		segmentBytes: max(minSegment, min(maxSegment, maxBytes/8)),
		changed:      make(chan struct{}),
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the spool's directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the spool: %w", err)
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("the spool %s is in use by another process: %w", dir, err)
	}
	s.lock = lock
	if err := s.load(); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("opening the spool %s: %w", dir, err)
	}
	return s, nil
}

// load finds the segments and the position.
func (s *Spool) load() error {
	firsts, err := s.list()
	if err != nil {
		return err
	}
	position, known := s.readPosition()
	s.next = position.index
	for i, first := range firsts {
		info, err := os.Stat(s.path(first))
		if err != nil {
			return err
		}
		seg := segment{first: first, size: info.Size()}
		if i == len(firsts)-1 {
			count, size, err := s.cutTorn(first)
			if err != nil {
				return err
			}
			if count == 0 {
				if err := os.Remove(s.path(first)); err != nil {
					return err
				}
				s.next = max(s.next, first)
				continue
			}
			seg.size, s.next = size, first+count
		}
		s.segments = append(s.segments, seg)
		s.bytes += seg.size
	}
	s.head = place{index: s.next}
	if len(s.segments) == 0 {
		return nil
	}
	s.head.index = s.segments[0].first
	if !known {
		return nil // records may be repeated, which their ids make harmless
	}
	s.next = max(s.next, position.index)
	s.head.index = max(s.head.index, position.index)
	taken := s.dropTaken()
	if len(s.segments) > 0 && s.head.index != s.segments[0].first {
		if position.segment == s.segments[0].first && position.offset <= s.segments[0].size {
			s.head.offset = position.offset
		} else {
			s.head = place{index: s.segments[0].first}
		}
	}
	return s.remove(taken)
}

// list returns the first indices of the segments, in order.
func (s *Spool) list() ([]uint64, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, err
	}
	var firsts []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok {
			continue
		}
		first, err := strconv.ParseUint(name, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%s is no segment's name", e.Name())
		}
		firsts = append(firsts, first)
	}
	slices.Sort(firsts)
	return firsts, nil
}

// cutTorn finds the whole frames at the start of the newest segment and cuts
// off what follows them.
func (s *Spool) cutTorn(first uint64) (count uint64, size int64, err error) {
	f, err := os.OpenFile(s.path(first), os.O_RDWR, 0)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	r := io.NewSectionReader(f, 0, info.Size())
	var head [frameHeader]byte
	var body []byte
	for {
		if _, err := io.ReadFull(r, head[:]); err != nil {
			break
		}
		n := int64(binary.LittleEndian.Uint32(head[:]))
		if n > info.Size()-size-frameHeader {
			break
		}
		if int64(cap(body)) < n {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(r, body); err != nil {
			return 0, 0, err
		}
		if checksum(head[:4], body) != binary.LittleEndian.Uint32(head[4:]) {
			break
		}
		count++
		size += frameHeader + n
	}
	if size == info.Size() {
		return count, size, nil
	}
	if err := f.Truncate(size); err != nil {
		return 0, 0, err
	}
	return count, size, f.Sync()
}

func (s *Spool) path(first uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%020d%s", first, suffix))
}

func checksum(length, body []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, body)
}

// Append puts the records behind all others and returns when they are on disk.
// While the spool is full it waits. After an error some of the first of them may
// be in the spool: append them all again, in the same order.
func (s *Spool) Append(ctx context.Context, f *Frames) error {
	if n := f.largest(); int64(n) > s.maxBytes/2 {
		return fmt.Errorf("%d bytes: %w", n-frameHeader, ErrTooLarge)
	}
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	for from := 0; from < f.Len(); {
		n, frames := f.group(from, s.segmentBytes)
		if err := s.waitRoom(ctx, int64(len(frames))); err != nil {
			return err
		}
		if err := s.write(n, frames); err != nil {
			return fmt.Errorf("writing to the spool %s: %w", s.dir, err)
		}
		from += n
	}
	return nil
}

func (s *Spool) waitRoom(ctx context.Context, size int64) error {
	for {
		s.mu.Lock()
		ok, changed := s.bytes+size <= s.maxBytes, s.changed
		switch {
		case ok || ctx.Err() != nil:
			s.fullSince = time.Time{}
		case s.fullSince.IsZero():
			s.fullSince = time.Now()
		}
		s.mu.Unlock()
		if ok {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for room in the spool %s: %w", s.dir, context.Cause(ctx))
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// write appends one group of frames to one segment and syncs it.
func (s *Spool) write(n int, frames []byte) error {
	size := int64(len(frames))
	last := s.pin(size)
	err := s.writeAt(last, frames)

	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = false
	if err == nil {
		if last.size == 0 {
			s.segments = append(s.segments, last)
		}
		s.segments[len(s.segments)-1].size += size
		s.bytes += size
		s.next += uint64(n) //nolint:gosec // not negative
	}
	s.signal()
	return errors.Join(err, s.remove(s.dropTaken()))
}

// pin returns the segment that takes size more bytes, a new one with size 0 or
// the last, and keeps that from being deleted until the write is over.
func (s *Spool) pin(size int64) segment {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pinned = true
	if n := len(s.segments); n > 0 && s.writing != nil {
		last := s.segments[n-1]
		if last.first == s.writingFirst && last.size+size <= s.segmentBytes {
			return last
		}
	}
	return segment{first: s.next}
}

// writeAt writes frames to the end of the segment, which is made if empty.
func (s *Spool) writeAt(last segment, frames []byte) error {
	if last.size == 0 {
		if err := s.startSegment(last.first); err != nil {
			return err
		}
	}
	_, err := s.writing.WriteAt(frames, last.size)
	if err == nil {
		err = unix.Fdatasync(int(s.writing.Fd()))
	}
	if err == nil {
		return nil
	}
	// After a failed sync the kernel may have dropped the pages: the segment ends
	// here, and what comes next starts another.
	err = errors.Join(err, s.writing.Truncate(last.size), s.writing.Close())
	s.writing = nil
	if last.size == 0 {
		err = errors.Join(err, os.Remove(s.path(last.first)))
	}
	return err
}

func (s *Spool) startSegment(first uint64) error {
	if s.writing != nil {
		_ = s.writing.Close() // synced already
		s.writing = nil
	}
	f, err := os.OpenFile(s.path(first), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := syncDir(s.dir); err != nil {
		_ = f.Close()
		return err
	}
	s.writing, s.writingFirst = f, first
	return nil
}

// dropTaken forgets the segments whose records have all been taken, moves the
// head to the first that is left, and returns the forgotten ones. mu is held.
func (s *Spool) dropTaken() (taken []segment) {
	for len(s.segments) > 0 {
		end := s.next
		if len(s.segments) > 1 {
			end = s.segments[1].first
		}
		if s.head.index < end || (s.pinned && len(s.segments) == 1) {
			return taken
		}
		taken = append(taken, s.segments[0])
		s.bytes -= s.segments[0].size
		s.segments = s.segments[1:]
		s.head.offset = 0
	}
	return taken
}

func (s *Spool) remove(taken []segment) error {
	for _, seg := range taken {
		if err := os.Remove(s.path(seg.first)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("deleting a taken segment: %w", err)
		}
	}
	return nil
}

// Batch is some records from the head of the spool, in order.
type Batch struct {
	Records [][]byte // each is the caller's
	end     place
}

// Take returns the records at the head, at least one, at most about maxBytes of
// them, and waits while there are none. They stay in the spool until Commit.
func (s *Spool) Take(ctx context.Context, maxBytes int) (Batch, error) {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	for {
		s.mu.Lock()
		head, changed := s.head, s.changed
		var seg segment
		some := s.head.index < s.next
		if some {
			seg = s.segments[0]
		}
		s.mu.Unlock()
		if !some {
			select {
			case <-ctx.Done():
				return Batch{}, fmt.Errorf("waiting for records in the spool: %w", context.Cause(ctx))
			case <-changed:
				continue
			}
		}
		batch, err := s.read(seg, head, maxBytes)
		if errors.Is(err, errBadFrame) {
			err = s.abandon(seg, head)
			if err == nil {
				continue
			}
		}
		if err != nil {
			return Batch{}, fmt.Errorf("reading the spool %s: %w", s.dir, err)
		}
		return batch, nil
	}
}

// read reads whole frames of a segment from head on.
func (s *Spool) read(seg segment, head place, maxBytes int) (Batch, error) {
	if s.reading == nil || s.readingFirst != seg.first {
		if s.reading != nil {
			_ = s.reading.Close() // only read from
			s.reading = nil
		}
		f, err := os.Open(s.path(seg.first))
		if err != nil {
			return Batch{}, err
		}
		s.reading, s.readingFirst = f, seg.first
	}
	left := seg.size - head.offset
	want := min(left, int64(max(maxBytes, frameHeader)))
	for {
		buf := make([]byte, want)
		if _, err := s.reading.ReadAt(buf, head.offset); errors.Is(err, io.EOF) {
			return Batch{}, errBadFrame // shorter than it was
		} else if err != nil {
			return Batch{}, err
		}
		batch := Batch{end: head}
		for {
			record, used, err := frame(buf)
			if err != nil && len(batch.Records) == 0 && used <= left && int64(used) > want {
				want = used // the first record alone is larger than maxBytes
				break
			}
			if err != nil || len(buf) == 0 {
				if len(batch.Records) == 0 {
					return Batch{}, errBadFrame
				}
				return batch, nil // a bad frame is met again as the first of the next batch
			}
			batch.Records = append(batch.Records, record)
			batch.end.index++
			batch.end.offset += used
			buf = buf[used:]
		}
	}
}

// frame returns the record at the start of buf and how many bytes its frame has,
// which may be more than buf when it is an error.
func frame(buf []byte) (record []byte, used int64, err error) {
	if len(buf) < frameHeader {
		return nil, frameHeader, errBadFrame
	}
	used = frameHeader + int64(binary.LittleEndian.Uint32(buf))
	if used > int64(len(buf)) {
		return nil, used, errBadFrame
	}
	record = buf[frameHeader:used:used]
	if checksum(buf[:4], record) != binary.LittleEndian.Uint32(buf[4:]) {
		return nil, used, errBadFrame
	}
	return record, used, nil
}

// abandon gives up what is left of a damaged segment, counts its records as
// lost, and keeps the file for whoever wants to look.
func (s *Spool) abandon(seg segment, head place) error {
	s.mu.Lock()
	end := s.next
	if len(s.segments) > 1 {
		end = s.segments[1].first
	} else if s.pinned {
		changed := s.changed
		s.mu.Unlock()
		<-changed // the write that goes on ends soon, and signals
		return nil
	}
	s.lost += end - head.index
	s.head.index = end
	s.dropTaken()
	s.signal()
	s.mu.Unlock()
	return os.Rename(s.path(seg.first), s.path(seg.first)+corruptMark)
}

// Commit removes the batch, the last that Take returned, from the spool.
func (s *Spool) Commit(b Batch) error {
	s.readMu.Lock()
	defer s.readMu.Unlock()
	s.mu.Lock()
	s.head = b.end
	taken := s.dropTaken()
	p := position{place: s.head}
	if len(s.segments) > 0 {
		p.segment = s.segments[0].first
	}
	s.signal()
	s.mu.Unlock()
	if err := s.writePosition(p); err != nil {
		return fmt.Errorf("keeping the position of the spool %s: %w", s.dir, err)
	}
	return s.remove(taken)
}

// position is what the file of that name holds.
type position struct {
	place
	segment uint64 // the segment that the offset is in
}

// The position is not synced. If a loss of power takes it, records are taken
// once more, which their ids make harmless.
func (s *Spool) writePosition(p position) error {
	buf := binary.LittleEndian.AppendUint64(nil, p.index)
	buf = binary.LittleEndian.AppendUint64(buf, p.segment)
	buf = binary.LittleEndian.AppendUint64(buf, uint64(p.offset)) //nolint:gosec // not negative
	buf = binary.LittleEndian.AppendUint32(buf, crc32.Checksum(buf, castagnoli))
	name := filepath.Join(s.dir, positionName)
	if err := os.WriteFile(name+".new", buf, 0o600); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

func (s *Spool) readPosition() (p position, known bool) {
	buf, err := os.ReadFile(filepath.Join(s.dir, positionName))
	if err != nil || len(buf) != 28 || crc32.Checksum(buf[:24], castagnoli) != binary.LittleEndian.Uint32(buf[24:]) {
		return p, false
	}
	p.index = binary.LittleEndian.Uint64(buf)
	p.segment = binary.LittleEndian.Uint64(buf[8:])
	p.offset = int64(binary.LittleEndian.Uint64(buf[16:])) //nolint:gosec // we wrote it
	return p, true
}

// Len is how many records are in the spool.
func (s *Spool) Len() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next - s.head.index
}

// Bytes is how much of the disk the spool takes.
func (s *Spool) Bytes() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// HasRoom says that so many bytes of frames would not have to wait.
func (s *Spool) HasRoom(size int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes+size <= s.maxBytes
}

// FullSince is since when an Append waits for room; the zero time: none does.
func (s *Spool) FullSince() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fullSince
}

// Lost is how many records were found damaged on the disk since Open.
func (s *Spool) Lost() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

// Close lets another process use the directory. Nothing is in memory only.
func (s *Spool) Close() error {
	s.appendMu.Lock()
	defer s.appendMu.Unlock()
	s.readMu.Lock()
	defer s.readMu.Unlock()
	var errs []error
	for _, f := range []*os.File{s.writing, s.reading, s.lock} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	s.writing, s.reading = nil, nil
	return errors.Join(errs...)
}

// signal wakes those who wait for a change. mu is held.
func (s *Spool) signal() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
