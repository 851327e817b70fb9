package http

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/klauspost/compress/zstd"
)

const (
	// freeRatio is how many bytes may come out of however few.
	freeRatio = 1 << 20
	// zstdWindow bounds what a decoder of zstd keeps beside its output (RFC 8878
	// asks for 8 MiB); deflateWindow what one of deflate does, about.
	zstdWindow    = 8 << 20
	deflateWindow = 64 << 10
)

// readBody reads the request's body, decompressed, into bounded memory.
func (q *request) readBody() *failure {
	limit := q.in.cfg.MaxBody
	if q.r.ContentLength > int64(limit) {
		return tooLarge("body of %d bytes: longer than %d", q.r.ContentLength, limit)
	}
	sent := &counter{from: http.MaxBytesReader(q.w, q.r.Body, int64(limit))}
	from, closeReader, f := q.decompressor(sent)
	if f != nil {
		return f
	}
	defer closeReader()
	size := 4 << 10
	if n := int(q.r.ContentLength); n > 0 && from == io.Reader(sent) {
		size = min(n+1, 64<<10) // and one byte for seeing the end
	}
	if !q.hold(size) {
		return noMemory
	}
	body := make([]byte, 0, size)
	for {
		n, err := from.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if len(body) > limit {
			return tooLarge("body is longer than %d bytes decompressed", limit)
		}
		if len(body) > freeRatio && len(body)/q.in.cfg.MaxRatio > sent.n {
			return tooLarge("body grows more than %d times when it is decompressed", q.in.cfg.MaxRatio)
		}
		if errors.Is(err, io.EOF) {
			q.body = body
			return nil
		}
		if err != nil {
			return bodyFailure(err, limit)
		}
		if len(body) < cap(body) {
			continue
		}
		larger := min(2*cap(body), limit+1)
		if !q.hold(larger) {
			return noMemory
		}
		old := cap(body)
		body = append(make([]byte, 0, larger), body...)
		q.unhold(old)
	}
}

func bodyFailure(err error, limit int) *failure {
	var long *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &long):
		return tooLarge("body is longer than %d bytes", limit)
	case errors.As(err, &network) && network.Timeout():
		return &failure{status: http.StatusRequestTimeout, result: "unfinished", text: "the body did not arrive in time"}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &failure{status: http.StatusBadRequest, result: "unfinished", text: "the body ends early"}
	}
	return malformed("reading the body: %v", err)
}

// decompressor reads what the body's encoding hides.
func (q *request) decompressor(sent *counter) (io.Reader, func(), *failure) {
	wrong := func(err error) (io.Reader, func(), *failure) { return nil, nil, bodyFailure(err, q.in.cfg.MaxBody) }
	none := func() {}
	switch encoding := strings.ToLower(q.r.Header.Get("Content-Encoding")); encoding {
	case "", "identity":
		return sent, none, nil
	case "gzip", "x-gzip":
		if !q.hold(deflateWindow) {
			return nil, nil, noMemory
		}
		z, err := gzip.NewReader(sent)
		if err != nil {
			return wrong(err)
		}
		return z, none, nil
	case "deflate":
		if !q.hold(deflateWindow) {
			return nil, nil, noMemory
		}
		z, err := inflate(sent)
		if err != nil {
			return wrong(err)
		}
		return z, none, nil
	case "zstd":
		if !q.hold(zstdWindow) {
			return nil, nil, noMemory
		}
		z, err := zstd.NewReader(sent, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			return wrong(err)
		}
		return z, z.Close, nil
	default:
		return nil, nil, &failure{
			status: http.StatusUnsupportedMediaType, result: "malformed",
			text: fmt.Sprintf("content encoding %.40q is none of gzip, deflate, zstd", encoding),
		}
	}
}

// inflate reads zlib's format, which "deflate" means (RFC 9110), or bare deflate,
// which some send. A zlib header is a multiple of 31, and deflate's first byte
// could only look like one in a stored or fixed block of an odd shape.
func inflate(from io.Reader) (io.Reader, error) {
	b := bufio.NewReader(from)
	head, err := b.Peek(2)
	if err != nil {
		return nil, err
	}
	if head[0]&0x0f == 8 && (int(head[0])<<8|int(head[1]))%31 == 0 {
		return zlib.NewReader(b)
	}
	return flate.NewReader(b), nil
}

// counter counts what was read.
type counter struct {
	from io.Reader
	n    int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.from.Read(b)
	c.n += n
	return n, err
}
