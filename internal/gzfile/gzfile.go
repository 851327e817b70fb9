// Package gzfile opens files that may be compressed by gzip, told by their
// first bytes and not by their name. It never writes.
package gzfile

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
)

// Open opens the file for reading what is in it; "-" is standard input.
func Open(path string) (io.ReadCloser, error) {
	if path == "-" {
		r, err := NewReader(os.Stdin)
		return io.NopCloser(r), err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	r, err := NewReader(f)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reading %s: %w", path, err), f.Close())
	}
	return &file{r, f}, nil
}

type file struct {
	io.Reader
	f *os.File
}

func (f *file) Close() error { return f.f.Close() }

// NewReader reads r, uncompressed if it is gzip (RFC 1952: it begins 1f 8b 08).
func NewReader(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(head) == "\x1f\x8b\x08" {
		return gzip.NewReader(b)
	}
	return b, nil
}
