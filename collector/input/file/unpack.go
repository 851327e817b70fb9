package file

import (
	"bytes"
	"compress/bzip2"
	"fmt"
	"io"
	"path/filepath"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/mikelolasagasti/xz"
)

// unpackMemory bounds what an archive may ask for to be unpacked: xz -9 and
// zstd --ultra need 64 MiB, zstd --long=27 128 MiB.
const unpackMemory = 128 << 20

// packing is a way to compress.
type packing struct {
	name   string // the end of a file's name
	magic  string // the file's first bytes
	unpack func(io.Reader) (io.Reader, error)
}

var packings = []packing{
	{".gz", "\x1f\x8b", func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }},
	{".bz2", "BZh", func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }},
	{".zst", "\x28\xb5\x2f\xfd", func(r io.Reader) (io.Reader, error) {
		// One goroutine, that of the caller: there is nothing to close.
		return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(unpackMemory))
	}},
	{".xz", "\xfd7zXZ\x00", func(r io.Reader) (io.Reader, error) { return xz.NewReader(r, unpackMemory) }},
}

// packedBy is how a file is compressed by its name; nil is not.
func packedBy(path string) *packing {
	for i := range packings {
		if filepath.Ext(path) == packings[i].name {
			return &packings[i]
		}
	}
	return nil
}

// packedAs is how a file is compressed by its first bytes; nil is not.
func packedAs(head []byte) *packing {
	for i := range packings {
		if bytes.HasPrefix(head, []byte(packings[i].magic)) {
			return &packings[i]
		}
	}
	return nil
}

// unpacker opens an archive with its first read.
type unpacker struct {
	from io.Reader
	by   *packing
	r    io.Reader
	err  error // of opening it
}

func (u *unpacker) Read(p []byte) (int, error) {
	if u.r == nil && u.err == nil {
		if u.r, u.err = u.by.unpack(u.from); u.err != nil {
			u.err = fmt.Errorf("reading the header: %w", u.err)
		}
	}
	if u.err != nil {
		return 0, u.err
	}
	return u.r.Read(p)
}
