package packet

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"fengsui/collector/input"
)

// identityBytes is how much of a capture's beginning goes into its identity.
const identityBytes = 1 << 20

// capture is an open capture file.
type capture struct {
	file *os.File
	read func() ([]byte, gopacket.CaptureInfo, error)
	link func(gopacket.CaptureInfo) layers.LinkType
}

func openCapture(path string) (c *capture, identity string, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, "", fmt.Errorf("opening capture: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close())
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return nil, "", fmt.Errorf("opening capture: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, "", fmt.Errorf("opening capture %s: not a regular file", path)
	}
	if identity, err = identify(f, info.Size()); err != nil {
		return nil, "", fmt.Errorf("reading capture %s: %w", path, err)
	}
	c = &capture{file: f}
	if err := c.begin(); err != nil {
		return nil, "", fmt.Errorf("reading the header of capture %s: %w", path, err)
	}
	return c, identity, nil
}

// identify names a capture by its beginning and its size, so that it is the
// same under another path and another one under the same path.
func identify(f *os.File, size int64) (string, error) {
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, identityBytes)); err != nil {
		return "", err
	}
	if err := binary.Write(h, binary.BigEndian, size); err != nil {
		return "", err
	}
	_, err := f.Seek(0, io.SeekStart)
	return "pcap-" + hex.EncodeToString(h.Sum(nil)[:12]), err
}

// begin unpacks gzip and recognises the format.
func (c *capture) begin() error {
	r := bufio.NewReaderSize(c.file, 1<<20)
	magic, err := r.Peek(4)
	if err != nil {
		return err
	}
	if magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(r)
		if err != nil {
			return err
		}
		r = bufio.NewReaderSize(z, 1<<20)
		if magic, err = r.Peek(4); err != nil {
			return err
		}
	}
	if binary.BigEndian.Uint32(magic) == 0x0a0d0d0a {
		ng, err := pcapgo.NewNgReader(r, pcapgo.NgReaderOptions{WantMixedLinkType: true, SkipUnknownVersion: true})
		if err != nil {
			return err
		}
		c.read = ng.ZeroCopyReadPacketData
		c.link = func(ci gopacket.CaptureInfo) layers.LinkType {
			if len(ci.AncillaryData) > 0 {
				if l, ok := ci.AncillaryData[0].(layers.LinkType); ok {
					return l
				}
			}
			return 0xffff
		}
		return nil
	}
	p, err := pcapgo.NewReader(r)
	if err != nil {
		return err
	}
	c.read = p.ZeroCopyReadPacketData
	link := p.LinkType()
	c.link = func(gopacket.CaptureInfo) layers.LinkType { return link }
	return nil
}

func (s *Sensor) runFile(ctx context.Context, sink input.Sink) (err error) {
	c, identity, err := openCapture(s.cfg.File)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.file.Close()) }()
	close(s.ready)
	out := &batch{sink: sink, source: s.cfg.File, stream: identity}
	e := newEngine(identity, s.cfg.limits(), s.cfg.Records, s.m, out.add)
	n := 0
	for ctx.Err() == nil {
		data, ci, err := c.read()
		if errors.Is(err, io.EOF) && ci.CaptureLength > 0 {
			err = io.ErrUnexpectedEOF // a packet's header, and then nothing
		}
		if errors.Is(err, io.EOF) {
			err = out.end(ctx, e)
			s.log.Info("capture read", "file", s.cfg.File, "packets", n, "records", out.seq)
			return s.stopped(ctx, err)
		}
		if err != nil {
			if err := out.end(ctx, e); err != nil {
				return s.stopped(ctx, err)
			}
			return s.brokenFile(ctx, out, n, err)
		}
		n++
		e.packet(ci.Timestamp.UnixNano(), c.link(ci), data[:min(len(data), s.cfg.SnapLen)], 0)
		if out.full() {
			if err := out.flush(ctx); err != nil {
				return s.stopped(ctx, err)
			}
		}
	}
	return nil // stopped before the end: the next run begins anew with the same ids
}

// brokenFile ends a capture that cannot be read on after n packets.
func (s *Sensor) brokenFile(ctx context.Context, out *batch, n int, cause error) error {
	s.m.truncated.Inc()
	why := fmt.Sprintf("capture cannot be read after packet %d: %v", n, cause)
	s.log.Warn("capture breaks off", "file", s.cfg.File, "packets", n, "error", cause)
	out.lines = append(out.lines, input.Line{
		Value: []byte(s.cfg.File), Source: s.cfg.File, Received: time.Now(), Format: Format,
		Reject: why, Stream: out.stream, Seq: out.seq,
	})
	return s.stopped(ctx, out.flush(ctx))
}

// stopped hides the context's own error: a stop that was asked for is none.
func (s *Sensor) stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
