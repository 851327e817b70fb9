package file

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	headMost = 256 // bytes at the start of a file that tell it from others
	tailMost = 256 // bytes before the place reached, likewise
	// keepFor is how long a file that is gone is remembered: another with the
	// same inode and beginning must not take its stream's name.
	keepFor = 30 * 24 * time.Hour
)

// entry is what is remembered of one file.
//
// A file is its device, inode and first bytes. Of a file that was small when it
// was met the bytes of that time count, so that its stream keeps its name while
// it grows; and each name is on disk before the first line carries it. Content
// that begins alike in the same inode (a log truncated under its writer, or an
// inode used again) is told apart by the bytes before the place reached, and
// gets the next generation, so that its lines do not look like repetitions.
//
// An archive never grows, and so is its content: its size, first and last bytes,
// under whatever name and inode. Where it turns out to be that of a log that was
// followed, which has been rotated and compressed, it goes on where that log was
// left, with that log's stream.
type entry struct {
	Stream     string `json:"stream"`
	Path       string `json:"path"` // where it was met; the lines' source, also after a rename
	Dev        uint64 `json:"dev"`
	Ino        uint64 `json:"ino"`
	HeadLen    int    `json:"head_len"`
	HeadSum    string `json:"head_sum"`
	Generation int    `json:"generation,omitempty"`

	Offset     int64  `json:"offset"` // the lines before it are durable
	Tail       tail   `json:"tail"`
	PreambleAt int64  `json:"preamble_at"`       // -1: none
	Done       bool   `json:"done,omitempty"`    // an archive that was read to its end
	Size       int64  `json:"size,omitempty"`    // of the archive
	EndSum     string `json:"end_sum,omitempty"` // of the archive's last bytes
	Of         string `json:"of,omitempty"`      // stream of the log that the archive is of
	Gone       int64  `json:"gone,omitempty"`    // Unix time since when it is another file's inode, or nobody's
	Seen       int64  `json:"seen"`              // Unix time, about
}

// isArchive: a log's size is not kept.
func (e *entry) isArchive() bool { return e.Size > 0 }

// stream is the name that the lines carry.
func (e *entry) stream() string {
	if e.Of != "" {
		return e.Of
	}
	return e.Stream
}

// tail is the end of what was read of a file.
type tail struct {
	At  int64  `json:"at"`
	Len int    `json:"len"`
	Sum string `json:"sum"`
}

func tailOf(l line) tail {
	if l.last != nil {
		l = *l.last
	}
	raw := l.value
	if l.raw != nil {
		raw = l.raw
	}
	from := max(0, len(raw)-tailMost)
	if l.at == l.end { // says something of the file, and does not stand in it
		return tail{}
	}
	return tail{At: l.at + int64(from), Len: len(raw) - from, Sum: sumOf(raw[from:])}
}

func (t tail) matches(f *os.File) bool {
	if t.Len == 0 {
		return true
	}
	if t.Len < 0 || t.Len > tailMost {
		return false
	}
	b := make([]byte, t.Len)
	_, err := f.ReadAt(b, t.At)
	return err == nil && sumOf(b) == t.Sum
}

func sumOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// state is the entries, and the file that they are kept in ("" for none).
type state struct {
	path string

	mu      sync.Mutex
	entries map[string]*entry // by stream
	byInode map[inode]*entry  // those that are not gone
	idle    map[inode]seenAs  // read to their end, and closed
	dirty   bool
}

// seenAs is how a file looked.
type seenAs struct {
	size    int64
	changed time.Time
}

func newState(path string) *state {
	return &state{
		path: path, entries: make(map[string]*entry), byInode: make(map[inode]*entry), idle: make(map[inode]seenAs),
	}
}

func openState(path string) (*state, error) {
	s := newState(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errState, err)
	}
	var entries []*entry
	if err := json.Unmarshal(raw, &entries); err != nil {
		return nil, fmt.Errorf("%w: reading %s: %w", errState, path, err)
	}
	for _, e := range entries {
		s.entries[e.Stream] = e
		if e.Gone == 0 {
			s.byInode[inode{e.Dev, e.Ino}] = e
		}
	}
	return s, nil
}

// save writes the entries, all or nothing, if they have changed.
func (s *state) save() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.saveLocked()
}

func (s *state) saveLocked() error {
	if !s.dirty || s.path == "" {
		return nil
	}
	entries := make([]*entry, 0, len(s.entries))
	for _, e := range s.entries {
		entries = append(entries, e)
	}
	raw, err := json.Marshal(entries)
	if err == nil {
		err = writeFile(s.path, raw)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errState, err)
	}
	s.dirty = false
	return nil
}

func writeFile(path string, raw []byte) (err error) {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	d, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// entryFor finds the entry of the file, which has the given first bytes, or
// makes one and saves it. now is a copy of it as it stands.
//
// Where nothing is remembered between runs, a log of another size or time of
// change is another file: its inode may have been used again for one that begins
// alike, whose lines must not be taken for repetitions.
func (s *state) entryFor(f *follow, head []byte, info os.FileInfo) (e *entry, now entry, err error) {
	version, end := "", ""
	if f.archive() {
		if end, err = endOf(f.file, info.Size()); err != nil {
			return nil, now, err
		}
	} else if s.path == "" {
		version = fmt.Sprint(info.Size(), info.ModTime().UnixNano())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := time.Now().Unix()
	if e = s.byInode[f.id]; e != nil && !e.matches(f, head, info.Size()) {
		s.goneLocked(e, at)
		e = nil
	}
	if e == nil && f.archive() {
		e = s.sameArchive(f.id, head, end, info.Size())
	}
	if e != nil {
		if e.HeadLen < len(head) {
			e.HeadLen, e.HeadSum, s.dirty = len(head), sumOf(head), true
		}
		if f.archive() {
			e.Size, e.EndSum = info.Size(), end
		}
		e.Seen = at
		return e, *e, nil
	}
	e = &entry{
		Path: f.path, Dev: f.id.Dev, Ino: f.id.Ino, HeadLen: len(head), HeadSum: sumOf(head), PreambleAt: -1, Seen: at, EndSum: end,
	}
	if f.archive() {
		e.Size = info.Size()
	}
	for e.Stream == "" || s.entries[e.Stream] != nil {
		if e.Stream != "" {
			e.Generation++
		}
		what := fmt.Appendf(nil, "%d %d %d %s %d%s", e.Dev, e.Ino, e.HeadLen, e.HeadSum, e.Generation, version)
		if f.archive() {
			what = fmt.Appendf(nil, "%d %s %s %d", e.Size, e.HeadSum, e.EndSum, e.Generation)
		}
		e.Stream = "file-" + sumOf(what)[:24]
	}
	s.entries[e.Stream], s.byInode[f.id], s.dirty = e, e, true
	return e, *e, s.saveLocked()
}

// endOf is the sum of a file's last bytes.
func endOf(f *os.File, size int64) (string, error) {
	b := make([]byte, min(size, tailMost))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return "", fmt.Errorf("reading its end: %w", err)
	}
	return sumOf(b), nil
}

// sameArchive finds an archive of the same content, which was copied or moved
// here, and has it be this one.
func (s *state) sameArchive(id inode, head []byte, end string, size int64) *entry {
	for _, e := range s.entries {
		if e.Size == size && e.EndSum == end && e.HeadLen == len(head) && e.HeadSum == sumOf(head) {
			delete(s.byInode, inode{e.Dev, e.Ino})
			e.Dev, e.Ino, e.Gone, s.dirty = id.Dev, id.Ino, 0, true
			s.byInode[id] = e
			return e
		}
	}
	return nil
}

func (e *entry) matches(f *follow, head []byte, size int64) bool {
	if len(head) < e.HeadLen || sumOf(head[:e.HeadLen]) != e.HeadSum || f.archive() != e.isArchive() {
		return false
	}
	if f.archive() {
		return !e.Done || e.Size == size
	}
	return size >= e.Offset && e.Tail.matches(f.file)
}

// logsOf finds the logs that an archive may be of: those that its name begins
// with the name of and its text with their first bytes, the latest first.
func (s *state) logsOf(archive *entry, text []byte) []entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var logs []entry
	for _, e := range s.entries {
		rest, ok := strings.CutPrefix(archive.Path, e.Path)
		if ok && !e.isArchive() && !strings.Contains(rest, "/") && e.Tail.Len > 0 &&
			e.HeadLen <= len(text) && sumOf(text[:e.HeadLen]) == e.HeadSum {
			logs = append(logs, *e)
		}
	}
	slices.SortFunc(logs, func(a, b entry) int {
		return cmp.Or(cmp.Compare(max(b.Seen, b.Gone), max(a.Seen, a.Gone)), cmp.Compare(a.Stream, b.Stream))
	})
	return logs
}

// goesOn notes that the archive is that of the log, and goes on where that was
// left.
func (s *state) goesOn(archive *entry, log entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	archive.Of, archive.Path, archive.Offset, s.dirty = log.stream(), log.Path, log.Offset, true
	return s.saveLocked()
}

// progressOf is how far a file's lines are durable.
type progressOf struct {
	offset     int64
	tail       tail
	preambleAt int64
	done       bool
}

// advance notes that a file's lines are durable up to a place.
func (s *state) advance(e *entry, p progressOf) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.offset > e.Offset {
		e.Offset, e.PreambleAt, s.dirty = p.offset, p.preambleAt, true
		if !e.isArchive() {
			e.Tail = p.tail
		}
	}
	if p.done {
		e.Done, s.dirty = true, true
	}
}

// gone notes that the file of an entry is no more.
func (s *state) gone(e *entry, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.goneLocked(e, now.Unix())
}

func (s *state) goneLocked(e *entry, now int64) {
	e.Gone, s.dirty = now, true
	id := inode{e.Dev, e.Ino}
	if s.byInode[id] == e {
		delete(s.byInode, id)
	}
}

// noteIdle notes how a file looked that is closed, if it was read to its end.
func (s *state) noteIdle(id inode, read bool, info os.FileInfo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if read {
		s.idle[id] = seenAs{info.Size(), info.ModTime()}
	}
}

// unchanged says that the file looks as it did when it was closed.
func (s *state) unchanged(id inode, info os.FileInfo) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	last, ok := s.idle[id]
	return ok && last.size == info.Size() && last.changed.Equal(info.ModTime())
}

// forgetGone drops what has not been seen for a long time.
func (s *state) forgetGone(seen map[inode]bool, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.idle {
		if !seen[id] {
			delete(s.idle, id)
		}
	}
	for stream, e := range s.entries {
		id := inode{e.Dev, e.Ino}
		if seen[id] && e.Gone == 0 {
			if now.Unix()-e.Seen > 3600 {
				e.Seen, s.dirty = now.Unix(), true
			}
			continue
		}
		if now.Unix()-max(e.Seen, e.Gone) > int64(keepFor/time.Second) {
			delete(s.entries, stream)
			if s.byInode[id] == e {
				delete(s.byInode, id)
			}
			s.dirty = true
		}
	}
}

// pending counts what was put and is not durable.
type pending struct {
	mu    sync.Mutex
	count int
	zero  chan struct{} // made by wait, closed at zero
}

func (p *pending) add() {
	p.mu.Lock()
	p.count++
	p.mu.Unlock()
}

func (p *pending) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.count--
	if p.count == 0 && p.zero != nil {
		close(p.zero)
		p.zero = nil
	}
}

// wait waits until nothing is pending, for d unless that is 0; false: ctx ended
// or the time ran out.
func (p *pending) wait(ctx context.Context, d time.Duration) bool {
	p.mu.Lock()
	if p.count == 0 {
		p.mu.Unlock()
		return true
	}
	if p.zero == nil {
		p.zero = make(chan struct{})
	}
	zero := p.zero
	p.mu.Unlock()
	if d > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d)
		defer cancel()
	}
	select {
	case <-zero:
		return true
	case <-ctx.Done():
		return false
	}
}
