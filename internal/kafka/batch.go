package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"time"

	"github.com/segmentio/kafka-go/compress"

	"fengsui/schemas"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batchHeader is the length of a record batch's header
// (https://kafka.apache.org/documentation/#recordbatch).
const batchHeader = 61

// appendBatch encodes records as one record batch of version 2, all of them with
// the time now. We encode ourselves, rather than through kafka-go, because a
// batch is then encoded once however often it is sent, and its size is known.
func appendBatch(dst []byte, records []Record, now time.Time, codec compress.Compression) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, batchHeader)...)
	body := len(dst)
	for i := range records {
		dst = appendRecord(dst, &records[i], i)
	}
	if codec != compress.None {
		var z bytes.Buffer
		z.Grow((len(dst) - body) / 2)
		w := codec.Codec().NewWriter(&z)
		if _, err := w.Write(dst[body:]); err != nil {
			return nil, fmt.Errorf("compressing a batch with %s: %w", codec, err)
		}
		if err := w.Close(); err != nil {
			return nil, fmt.Errorf("compressing a batch with %s: %w", codec, err)
		}
		dst = append(dst[:body], z.Bytes()...)
	}
	b := dst[start:]
	be := binary.BigEndian
	none := ^uint64(0)                            // -1: no producer id, epoch or sequence
	be.PutUint32(b[8:], uint32(len(b)-12))        //nolint:gosec // batches are cut below 32 bits
	be.PutUint32(b[12:], uint32(none))            //nolint:gosec // -1: partition leader epoch
	b[16] = 2                                     // magic
	be.PutUint16(b[21:], uint16(codec))           //nolint:gosec // 0 to 4
	be.PutUint32(b[23:], uint32(len(records)-1))  //nolint:gosec // last offset delta
	be.PutUint64(b[27:], uint64(now.UnixMilli())) //nolint:gosec // first time
	be.PutUint64(b[35:], uint64(now.UnixMilli())) //nolint:gosec // last time
	be.PutUint64(b[43:], none)                    // producer id
	be.PutUint16(b[51:], uint16(none&0xffff))     // producer epoch
	be.PutUint32(b[53:], uint32(none&0xffffffff)) // base sequence
	be.PutUint32(b[57:], uint32(len(records)))    //nolint:gosec // number of records
	be.PutUint32(b[17:], crc32.Checksum(b[21:], castagnoli))
	return dst, nil
}

func appendRecord(dst []byte, r *Record, i int) []byte {
	n := 1 + 1 + varintLen(int64(i)) + bytesLen(r.Key) + bytesLen(r.Value) + len(r.Encoded)
	if r.Encoded == nil {
		n += varintLen(int64(len(r.Headers)))
		for _, h := range r.Headers {
			n += varintLen(int64(len(h.Key))) + len(h.Key) + bytesLen(h.Value)
		}
	}
	dst = binary.AppendVarint(dst, int64(n))
	dst = append(dst, 0, 0) // attributes, time delta
	dst = binary.AppendVarint(dst, int64(i))
	dst = appendBytes(dst, r.Key)
	dst = appendBytes(dst, r.Value)
	if r.Encoded != nil {
		return append(dst, r.Encoded...)
	}
	return AppendHeaders(dst, r.Headers)
}

// AppendHeaders appends headers as a record has them: their number, and each one.
func AppendHeaders(dst []byte, headers []schemas.Header) []byte {
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for _, h := range headers {
		dst = AppendHeader(dst, h.Key, h.Value)
	}
	return dst
}

// AppendHeader appends one header, for who has appended the number of headers.
func AppendHeader(dst []byte, key string, value []byte) []byte {
	dst = append(binary.AppendVarint(dst, int64(len(key))), key...)
	return appendBytes(dst, value)
}

var errHeaders = errors.New("headers of a record that are none")

// EachHeader calls f for each header of the record, encoded or not. The value is
// only valid during the call.
func (r *Record) EachHeader(f func(key string, value []byte)) error {
	if r.Encoded == nil {
		for _, h := range r.Headers {
			f(h.Key, h.Value)
		}
		return nil
	}
	n, used := binary.Varint(r.Encoded)
	if used <= 0 || n < 0 {
		return errHeaders
	}
	b := r.Encoded[used:]
	for range n {
		key, rest, ok := cutVarBytes(b)
		if !ok {
			return errHeaders
		}
		value, rest, ok := cutVarBytes(rest)
		if !ok {
			return errHeaders
		}
		f(schemas.HeaderName(key), value)
		b = rest
	}
	if len(b) > 0 {
		return errHeaders
	}
	return nil
}

// AllHeaders is the record's headers, encoded or not.
func (r *Record) AllHeaders() (headers []schemas.Header, err error) {
	if r.Encoded == nil {
		return r.Headers, nil
	}
	err = r.EachHeader(func(key string, value []byte) {
		headers = append(headers, schemas.Header{Key: key, Value: bytes.Clone(value)})
	})
	return headers, err
}

// cutVarBytes reads bytes behind their length; a length of -1 is nil.
func cutVarBytes(b []byte) (v, rest []byte, ok bool) {
	n, used := binary.Varint(b)
	if used <= 0 || n < -1 || n > int64(len(b)-used) {
		return nil, nil, false
	}
	if b = b[used:]; n < 0 {
		return nil, b, true
	}
	return b[:n:n], b[n:], true
}

func appendBytes(dst, b []byte) []byte {
	if b == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(b))), b...)
}

func bytesLen(b []byte) int {
	if b == nil {
		return 1
	}
	return varintLen(int64(len(b))) + len(b)
}

func varintLen(x int64) int {
	n := 1
	for u := uint64(x)<<1 ^ uint64(x>>63); u >= 0x80; u >>= 7 { //nolint:gosec // zigzag
		n++
	}
	return n
}

// partitionOf is the partition of a key, as Java's default partitioner has it,
// so that every producer agrees.
func partitionOf(key []byte, partitions int) int {
	return int(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is org.apache.kafka.common.utils.Utils.murmur2.
func murmur2(data []byte) uint32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(data)) //nolint:gosec // records are smaller
	for ; len(data) >= 4; data = data[4:] {
		k := binary.LittleEndian.Uint32(data) * m
		k = (k ^ k>>r) * m
		h = h*m ^ k
	}
	switch len(data) {
	case 3:
		h ^= uint32(data[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(data[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(data[0])) * m
	}
	h = (h ^ h>>13) * m
	return h ^ h>>15
}
