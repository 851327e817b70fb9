package clickhouse

import (
	"encoding/binary"
	"math"
	"strings"
	"time"
)

// A block is a table's rows column by column, written down as ClickHouse's
// Native format has it (docs: "Interfaces, Native"). Doing this ourselves keeps
// a value from being boxed, reflected on and copied twice on its way.

// column is one column of a block under construction.
type column interface {
	rows() int
	pad(rows int)             // fills up to rows with the type's default
	reset()                   // no rows; memory is kept
	prefix(dst []byte) []byte // state before the data, for types that have one
	encode(dst []byte) []byte // the data
}

type plain struct{}

func (plain) prefix(dst []byte) []byte { return dst }

// textColumn is String.
type textColumn struct {
	plain
	n    int
	data []byte
}

func (c *textColumn) rows() int                { return c.n }
func (c *textColumn) reset()                   { c.n, c.data = 0, c.data[:0] }
func (c *textColumn) encode(dst []byte) []byte { return append(dst, c.data...) }
func (c *textColumn) pad(rows int) {
	for ; c.n < rows; c.n++ {
		c.data = append(c.data, 0)
	}
}

func (c *textColumn) add(s string) {
	c.data = append(binary.AppendUvarint(c.data, uint64(len(s))), s...)
	c.n++
}

func (c *textColumn) addBytes(s []byte) {
	c.data = append(binary.AppendUvarint(c.data, uint64(len(s))), s...)
	c.n++
}

// lowColumn is LowCardinality(String): a dictionary, and each row's place in it.
type lowColumn struct {
	places map[string]uint32
	dict   textColumn
	keys   []uint32
	last   string // of the row before: logs repeat
	lastAt uint32
}

func (c *lowColumn) rows() int { return len(c.keys) }

func (c *lowColumn) reset() {
	clear(c.places)
	c.dict.reset()
	c.keys = c.keys[:0]
	c.last, c.lastAt = "", 0
}

func (c *lowColumn) pad(rows int) {
	c.begin()
	for len(c.keys) < rows {
		c.keys = append(c.keys, 0)
	}
}

// begin gives the default, the empty text, place 0.
func (c *lowColumn) begin() {
	if c.dict.n == 0 {
		c.dict.add("")
	}
	if c.places == nil {
		c.places = map[string]uint32{}
	}
}

func (c *lowColumn) add(s string) { c.keys = append(c.keys, c.place(s)) }

func (c *lowColumn) place(s string) uint32 {
	c.begin()
	if s == c.last {
		return c.lastAt
	}
	at, known := c.places[s]
	if !known {
		s = strings.Clone(s) // s may be a piece of a large record
		at = uint32(c.dict.n)
		c.places[s] = at
		c.dict.add(s)
	}
	c.last, c.lastAt = s, at
	return at
}

// The serialization of LowCardinality: sharedDictionariesWithAdditionalKeys, and
// in each block a dictionary of its own (hasAdditionalKeys, needUpdateDictionary)
// with the width of the places.
func (c *lowColumn) prefix(dst []byte) []byte { return binary.LittleEndian.AppendUint64(dst, 1) }

func (c *lowColumn) encode(dst []byte) []byte {
	if len(c.keys) == 0 {
		return dst
	}
	const ownDictionary = 1<<9 | 1<<10
	width := uint64(2)
	switch {
	case c.dict.n <= math.MaxUint8+1:
		width = 0
	case c.dict.n <= math.MaxUint16+1:
		width = 1
	}
	dst = binary.LittleEndian.AppendUint64(dst, ownDictionary|width)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.dict.n))
	dst = c.dict.encode(dst)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(c.keys)))
	for _, k := range c.keys {
		switch width {
		case 0:
			dst = append(dst, byte(k))
		case 1:
			dst = binary.LittleEndian.AppendUint16(dst, uint16(k))
		default:
			dst = binary.LittleEndian.AppendUint32(dst, k)
		}
	}
	return dst
}

// numberColumn is a type of fixed width: the integers, Float64, Bool and
// DateTime64, or their Nullable.
type numberColumn struct {
	plain
	width    int // bytes: 1, 2 or 8
	nullable bool
	n        int
	nulls    []byte
	data     []byte
}

func (c *numberColumn) rows() int { return c.n }
func (c *numberColumn) reset()    { c.n, c.nulls, c.data = 0, c.nulls[:0], c.data[:0] }

func (c *numberColumn) pad(rows int) {
	for ; c.n < rows; c.n++ {
		if c.nullable {
			c.nulls = append(c.nulls, 1)
		}
		for range c.width {
			c.data = append(c.data, 0)
		}
	}
}

func (c *numberColumn) add(bits uint64) {
	if c.nullable {
		c.nulls = append(c.nulls, 0)
	}
	switch c.width {
	case 1:
		c.data = append(c.data, byte(bits))
	case 2:
		c.data = binary.LittleEndian.AppendUint16(c.data, uint16(bits))
	default:
		c.data = binary.LittleEndian.AppendUint64(c.data, bits)
	}
	c.n++
}

func (c *numberColumn) addBool(b bool) {
	if b {
		c.add(1)
	} else {
		c.add(0)
	}
}

func (c *numberColumn) encode(dst []byte) []byte { return append(append(dst, c.nulls...), c.data...) }

// listColumn is Array.
type listColumn[C column] struct {
	offsets []uint64
	inner   C
}

func (c *listColumn[C]) rows() int                { return len(c.offsets) }
func (c *listColumn[C]) reset()                   { c.offsets = c.offsets[:0]; c.inner.reset() }
func (c *listColumn[C]) end()                     { c.offsets = append(c.offsets, uint64(c.inner.rows())) }
func (c *listColumn[C]) prefix(dst []byte) []byte { return c.inner.prefix(dst) }

func (c *listColumn[C]) pad(rows int) {
	for len(c.offsets) < rows {
		c.end()
	}
}

func (c *listColumn[C]) encode(dst []byte) []byte {
	for _, o := range c.offsets {
		dst = binary.LittleEndian.AppendUint64(dst, o)
	}
	return c.inner.encode(dst)
}

// mapColumn is Map(LowCardinality(String), String).
type mapColumn struct {
	offsets []uint64
	keys    lowColumn
	values  textColumn
}

func (c *mapColumn) rows() int                { return len(c.offsets) }
func (c *mapColumn) prefix(dst []byte) []byte { return c.keys.prefix(dst) }

func (c *mapColumn) reset() {
	c.offsets = c.offsets[:0]
	c.keys.reset()
	c.values.reset()
}

func (c *mapColumn) pad(rows int) {
	for len(c.offsets) < rows {
		c.offsets = append(c.offsets, uint64(c.values.n))
	}
}

// put adds an entry to the given row, which must be the last or a new one.
func (c *mapColumn) put(row int, key, value string) {
	c.pad(row + 1)
	c.keys.add(key)
	c.values.add(value)
	c.offsets[row]++
}

func (c *mapColumn) encode(dst []byte) []byte {
	for _, o := range c.offsets {
		dst = binary.LittleEndian.AppendUint64(dst, o)
	}
	return c.values.encode(c.keys.encode(dst))
}

// The bounds of DateTime64, whose range is 1900 to 2299.
var (
	minTime = time.Date(1900, 1, 1, 0, 0, 0, 0, time.UTC)
	maxTime = time.Date(2299, 12, 31, 23, 59, 59, 999999000, time.UTC)
)

// clamp moves a time that DateTime64 cannot hold to the nearest that it can.
func clamp(t time.Time) time.Time {
	switch {
	case t.Before(minTime):
		return minTime
	case t.After(maxTime):
		return maxTime
	}
	return t
}

// micros is a DateTime64(6). The zero time, which is no time, is 1970.
func micros(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(clamp(t).UnixMicro())
}

// millis is a DateTime64(3).
func millis(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(clamp(t).UnixMilli())
}
