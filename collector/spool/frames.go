package spool

import "encoding/binary"

// maxKept bounds the memory that Frames keep when they are used again.
const maxKept = 16 << 20

// Frames are records in the form in which they go to the disk. Records are encoded
// right into their frames, so that they are copied once. The zero value is empty and
// ready.
type Frames struct {
	buf  []byte
	ends []int // of each frame in buf
}

// Add adds a record: what write appends.
func (f *Frames) Add(write func(b []byte) []byte) {
	at := len(f.buf)
	f.buf = write(append(f.buf, make([]byte, frameHeader)...))
	head, body := f.buf[at:at+frameHeader], f.buf[at+frameHeader:]
	binary.LittleEndian.PutUint32(head, uint32(len(body))) //nolint:gosec // Append refuses what is too large
	binary.LittleEndian.PutUint32(head[4:], checksum(head[:4], body))
	f.ends = append(f.ends, len(f.buf))
}

// Len is the number of records, Size their bytes on the disk.
func (f *Frames) Len() int { return len(f.ends) }

// Size is how many bytes the records take on the disk.
func (f *Frames) Size() int64 { return int64(len(f.buf)) }

// Reset forgets the records and keeps the memory, unless that is much.
func (f *Frames) Reset() {
	f.buf, f.ends = f.buf[:0], f.ends[:0]
	if cap(f.buf) > maxKept {
		f.buf = nil
	}
}

// group is the frames from the given one on that go into one segment: how many, and
// their bytes. The first always does.
func (f *Frames) group(from int, most int64) (n int, bytes []byte) {
	start := 0
	if from > 0 {
		start = f.ends[from-1]
	}
	end := f.ends[from]
	for n = 1; from+n < len(f.ends) && int64(f.ends[from+n]-start) <= most; n++ {
		end = f.ends[from+n]
	}
	return n, f.buf[start:end]
}

// largest is the size of the largest frame.
func (f *Frames) largest() (size int) {
	start := 0
	for _, end := range f.ends {
		size = max(size, end-start)
		start = end
	}
	return size
}
