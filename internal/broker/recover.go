package broker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What is in the broker's directory, as kfake writes it:
//
//	meta.json, topics.json, groups.log, …      state
//	partitions/<topic>-<n>/<offset>.dat        a segment: record batches, one after another
//	partitions/<topic>-<n>/<offset>.idx        15 bytes for each batch of the segment
//	partitions/<topic>-<n>/snapshot.json       written when it stops: lets it start without a full replay
//
// and, as we do:
//
//	lock                                       who uses it
//	ends.json                                  end of each partition, see saveEnds
//	compaction/<topic>-<n>/                    what stood before a compaction that has not ended
const (
	partitionsDir = "partitions"
	endsFile      = "ends.json"
	compactionDir = "compaction"
	snapshotFile  = "snapshot.json"

	indexEntry = 15
	// Bit of an index entry's last byte: the batch belonged to an open transaction.
	indexInTx = 1
)

// prepare makes the directory ready for kfake after whatever has ended the
// process before. Left alone, kfake
//
//   - holds the whole log in memory, all partitions at once, when it was killed;
//     we write the snapshot that spares it that;
//   - begins again at offset 0 where retention has deleted every record, so that
//     offsets are given twice; we tell it where the partition had ended;
//   - loses a compacted topic when it is killed while it compacts; we put back
//     what stood before.
func prepare(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "meta.json")); errors.Is(err, fs.ErrNotExist) {
		return nil // a new one
	}
	if err := undoCompaction(dir); err != nil {
		return fmt.Errorf("undoing an interrupted compaction: %w", err)
	}
	ends, err := loadEnds(dir)
	if err != nil {
		return err
	}
	parts, err := os.ReadDir(filepath.Join(dir, partitionsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range parts {
		if err := preparePartition(filepath.Join(dir, partitionsDir, p.Name()), ends[p.Name()]); err != nil {
			return fmt.Errorf("preparing partition %s: %w", p.Name(), err)
		}
	}
	// The configuration says who may log in, not what was saved.
	if err := os.Remove(filepath.Join(dir, "sasl.json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// snapshot is kfake's snapshot.json.
type snapshot struct {
	Version          int               `json:"version"`
	HighWatermark    int64             `json:"high_watermark"`
	LastStableOffset int64             `json:"last_stable_offset"`
	LogStartOffset   int64             `json:"log_start_offset"`
	Epoch            int32             `json:"epoch"`
	LeaderNode       int32             `json:"leader_node,omitempty"`
	MaxTimestamp     int64             `json:"max_timestamp"`
	CreatedAt        time.Time         `json:"created_at"`
	AbortedTxns      []json.RawMessage `json:"aborted_txns,omitempty"`
	Segments         []snapshotSegment `json:"segments"`
}

type snapshotSegment struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
	MinEpoch   int32 `json:"min_epoch,omitempty"`
	MaxEpoch   int32 `json:"max_epoch,omitempty"`
}

// preparePartition cuts off what the last write left unfinished and writes the
// snapshot. end is where the partition is known to have ended at least.
func preparePartition(dir string, end int64) error {
	segments, err := listSegments(dir)
	if err != nil {
		return err
	}
	// Only the newest segment can be unfinished; it may be so from its start.
	for len(segments) > 0 {
		last := &segments[len(segments)-1]
		next, err := trimSegment(dir, last)
		if err != nil {
			return err
		}
		if next > 0 {
			end = next
			break
		}
		if err := removeSegment(dir, last.BaseOffset); err != nil {
			return err
		}
		segments = segments[:len(segments)-1]
	}
	snap, err := loadSnapshot(dir)
	if err != nil {
		return err
	}
	if len(segments) == 0 {
		if end == 0 {
			return nil
		}
		// kfake reads a snapshot only beside a segment: an empty one will do.
		if err := os.WriteFile(filepath.Join(dir, segmentName(end)), nil, 0o600); err != nil {
			return err
		}
		segments = []snapshotSegment{{BaseOffset: end}}
	}
	if snap != nil && slices.Equal(sizes(snap.Segments), sizes(segments)) && snap.HighWatermark == end {
		return nil // it was stopped, not killed
	}
	if tx, err := transactions(dir, segments); err != nil || tx || (snap != nil && len(snap.AbortedTxns) > 0) {
		return err // only a full replay finds out how they ended
	}
	next := snapshot{
		Version: 1, HighWatermark: end, LastStableOffset: end, LogStartOffset: segments[0].BaseOffset,
		CreatedAt: time.Now(), Segments: segments,
	}
	if snap != nil {
		next.Epoch, next.LeaderNode, next.CreatedAt = snap.Epoch, snap.LeaderNode, snap.CreatedAt
		next.LogStartOffset = min(max(next.LogStartOffset, snap.LogStartOffset), end)
	}
	return writeJSON(filepath.Join(dir, snapshotFile), next)
}

func sizes(segments []snapshotSegment) []snapshotSegment {
	out := make([]snapshotSegment, len(segments))
	for i, s := range segments {
		out[i] = snapshotSegment{BaseOffset: s.BaseOffset, Size: s.Size}
	}
	return out
}

func segmentName(base int64) string { return strconv.FormatInt(base, 10) + ".dat" }
func indexName(base int64) string   { return strconv.FormatInt(base, 10) + ".idx" }

func listSegments(dir string) ([]snapshotSegment, error) {
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var segments []snapshotSegment
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".dat")
		if !ok {
			continue
		}
		base, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			continue // not one of kfake's
		}
		info, err := f.Info()
		if err != nil {
			return nil, err
		}
		segments = append(segments, snapshotSegment{BaseOffset: base, Size: info.Size()})
	}
	slices.SortFunc(segments, func(a, b snapshotSegment) int { return int(min(max(a.BaseOffset-b.BaseOffset, -1), 1)) })
	return segments, nil
}

func removeSegment(dir string, base int64) error {
	for _, name := range []string{segmentName(base), indexName(base)} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// trimSegment cuts a segment after its last whole batch and returns the offset
// that follows it; 0 when there is no whole batch.
func trimSegment(dir string, s *snapshotSegment) (next int64, err error) {
	f, err := os.OpenFile(filepath.Join(dir, segmentName(s.BaseOffset)), os.O_RDWR, 0o600)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var (
		pos     int64
		batches int64
		buf     []byte
		head    [12]byte
	)
	for {
		if _, err := f.ReadAt(head[:], pos); err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return 0, err
		}
		n := int64(binary.BigEndian.Uint32(head[8:]))
		if n < 49 || pos+12+n > s.Size {
			break
		}
		buf = slices.Grow(buf[:0], int(n))[:n]
		if _, err := f.ReadAt(buf, pos+12); err != nil {
			return 0, err
		}
		if binary.BigEndian.Uint32(buf[5:]) != crc32.Checksum(buf[9:], castagnoli) {
			break
		}
		offset := int64(binary.BigEndian.Uint64(head[:]))                     //nolint:gosec // as Kafka has it
		next = offset + int64(int32(binary.BigEndian.Uint32(buf[11:15]))) + 1 //nolint:gosec // as Kafka has it
		pos += 12 + n
		batches++
	}
	if pos < s.Size {
		if err := f.Truncate(pos); err != nil {
			return 0, err
		}
		s.Size = pos
	}
	index := filepath.Join(dir, indexName(s.BaseOffset))
	if info, err := os.Stat(index); err == nil && info.Size() > batches*indexEntry {
		if err := os.Truncate(index, batches*indexEntry); err != nil {
			return 0, err
		}
	}
	return next, nil
}

// transactions says whether a transaction wrote to the segments.
func transactions(dir string, segments []snapshotSegment) (bool, error) {
	for _, s := range segments {
		b, err := os.ReadFile(filepath.Join(dir, indexName(s.BaseOffset)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		for ; len(b) >= indexEntry; b = b[indexEntry:] {
			if b[indexEntry-1]&indexInTx != 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

func loadSnapshot(dir string) (*snapshot, error) {
	b, err := os.ReadFile(filepath.Join(dir, snapshotFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var s snapshot
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, nil //nolint:nilerr // kfake ignores it too; we write another
	}
	return &s, nil
}

func loadEnds(dir string) (map[string]int64, error) {
	b, err := os.ReadFile(filepath.Join(dir, endsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where partitions ended: %w", err)
	}
	var ends map[string]int64
	if err := json.Unmarshal(b, &ends); err != nil {
		return nil, fmt.Errorf("reading where partitions ended: %s: %w", endsFile, err)
	}
	return ends, nil
}

// writeJSON replaces a file as a whole or not at all.
func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// keepForCompaction links the segments of partitions away, whole or not at all.
// kfake deletes a partition's files before it writes the compacted ones, and the
// links outlive that.
func keepForCompaction(dir string, partitions []string) error {
	tmp := filepath.Join(dir, compactionDir+".tmp")
	if err := os.RemoveAll(tmp); err != nil {
		return err
	}
	for _, p := range partitions {
		to := filepath.Join(tmp, p)
		if err := os.MkdirAll(to, 0o700); err != nil {
			return err
		}
		if err := linkSegments(filepath.Join(dir, partitionsDir, p), to); err != nil {
			return err
		}
	}
	return os.Rename(tmp, filepath.Join(dir, compactionDir))
}

// dropKept forgets what was kept: the compaction has ended.
func dropKept(dir string) error {
	kept, tmp := filepath.Join(dir, compactionDir), filepath.Join(dir, compactionDir+".tmp")
	if err := os.Rename(kept, tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.RemoveAll(tmp)
}

// undoCompaction puts back what was kept, if anything. Nothing was written to
// these partitions since: see Broker.compact.
func undoCompaction(dir string) error {
	kept := filepath.Join(dir, compactionDir)
	parts, err := os.ReadDir(kept)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, p := range parts {
		to := filepath.Join(dir, partitionsDir, p.Name())
		segments, err := listSegments(to)
		if err != nil {
			return err
		}
		for _, s := range segments {
			if err := removeSegment(to, s.BaseOffset); err != nil {
				return err
			}
		}
		if err := linkSegments(filepath.Join(kept, p.Name()), to); err != nil {
			return err
		}
	}
	return dropKept(dir)
}

func linkSegments(from, to string) error {
	segments, err := listSegments(from)
	if err != nil {
		return err
	}
	for _, s := range segments {
		for _, name := range []string{segmentName(s.BaseOffset), indexName(s.BaseOffset)} {
			if err := os.Link(filepath.Join(from, name), filepath.Join(to, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
