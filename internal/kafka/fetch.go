package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"fengsui/schemas"
)

const (
	// fetchBytes is what the records of one answer are to take at most, unless one
	// batch is larger. The broker counts them as they are compressed, so less is
	// asked for at first, and where they are.
	fetchBytes = 4 << 20
	leastBytes = 64 << 10

	// While records come, the broker gathers up to busyBytes or busyWait before
	// it answers; when none came, it answers at the first, and keeps us waiting
	// idleWait otherwise. So a quiet topic costs little and answers at once.
	busyBytes = 64 << 10
	busyWait  = 50 * time.Millisecond
	idleWait  = time.Second
)

// reader reads one partition, from offset on.
type reader struct {
	c         *client
	topic     string
	partition int
	offset    int64 // of the next record wanted
	idle      bool  // the last answer was empty
	count     int   // of records in the last answer
	want      int64 // bytes to ask for
	arena     arena
}

// adapt asks for more or less next time, by the bytes that the last answer held.
func (r *reader) adapt(held int64) {
	switch {
	case held > fetchBytes:
		r.want = max(r.want*fetchBytes/held, leastBytes)
	case held >= r.want && held <= fetchBytes/2:
		r.want = min(2*r.want, fetchBytes)
	}
}

// fetched is one answer.
type fetched struct {
	records []Record
	next    int64 // offset to go on from
	end     int64 // end of the partition when it was answered
	reset   bool  // the partition ended before the offset wanted: its offsets began anew
}

// fetch asks once, and returns no records when none came in time.
func (r *reader) fetch(ctx context.Context) (fetched, error) {
	minBytes, wait := int64(busyBytes), busyWait
	if r.idle {
		minBytes, wait = 1, idleWait
	}
	r.want = max(r.want, leastBytes)
	ctx, cancel := context.WithTimeout(ctx, wait+r.c.Timeout)
	defer cancel()
	res, err := r.c.Fetch(ctx, &kafkago.FetchRequest{
		Topic: r.topic, Partition: r.partition, Offset: r.offset,
		MinBytes: minBytes, MaxBytes: r.want, MaxWait: wait,
	})
	if err == nil {
		err = res.Error
	}
	if err != nil {
		return fetched{}, fmt.Errorf("fetching %s/%d from offset %d: %w", r.topic, r.partition, r.offset, err)
	}
	f := fetched{next: r.offset, end: res.HighWatermark, records: make([]Record, 0, r.count)}
	if err := r.read(res.Records, &f); err != nil {
		return fetched{}, fmt.Errorf("reading %s/%d from offset %d: %w", r.topic, r.partition, r.offset, err)
	}
	held := int64(0)
	for i := range f.records {
		held += int64(f.records[i].size())
	}
	r.adapt(held)
	r.idle, r.count = len(f.records) == 0, len(f.records)
	r.offset = f.next
	return f, nil
}

// read takes the records out of an answer. It looks at every batch, because one
// that holds no record for us (a transaction's mark, or what compaction has
// emptied) must be stepped over all the same.
func (r *reader) read(from protocol.RecordReader, f *fetched) error {
	stream, ok := from.(*protocol.RecordStream)
	if !ok {
		return r.readBatch(from, f, false)
	}
	for _, batch := range stream.Records {
		control := false
		switch b := batch.(type) {
		case *protocol.ControlBatch:
			control = true
			f.next = max(f.next, b.BaseOffset+1)
		case *protocol.RecordBatch:
			f.next = max(f.next, b.BaseOffset+1)
		}
		if err := r.readBatch(batch, f, control); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) readBatch(from protocol.RecordReader, f *fetched, control bool) error {
	for {
		rec, err := from.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if control || rec.Offset < r.offset {
			closeBytes(rec.Key)
			closeBytes(rec.Value)
			f.next = max(f.next, rec.Offset+1)
			continue
		}
		out := Record{Topic: r.topic, Partition: r.partition, Offset: rec.Offset, Time: rec.Time}
		if out.Key, err = r.arena.read(rec.Key); err != nil {
			return err
		}
		if out.Value, err = r.arena.read(rec.Value); err != nil {
			return err
		}
		if len(rec.Headers) > 0 {
			out.Headers = make([]schemas.Header, len(rec.Headers))
			for i, h := range rec.Headers {
				out.Headers[i] = schemas.Header(h)
			}
		}
		f.records = append(f.records, out)
		f.next = max(f.next, rec.Offset+1)
	}
}

func closeBytes(b protocol.Bytes) {
	if b != nil {
		_ = b.Close()
	}
}

// arena gives out pieces of larger allocations: a record is two small ones.
type arena struct{ free []byte }

const arenaBytes = 64 << 10

func (a *arena) read(b protocol.Bytes) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	defer b.Close() //nolint:errcheck // memory only
	n := b.Len()
	var p []byte
	switch {
	case n == 0: // not nil: an empty value is no tombstone
		p = []byte{}
	case n > arenaBytes/4:
		p = make([]byte, n)
	default:
		if n > len(a.free) {
			a.free = make([]byte, arenaBytes)
		}
		p, a.free = a.free[:n:n], a.free[n:]
	}
	if _, err := io.ReadFull(b, p); err != nil {
		return nil, err
	}
	return p, nil
}

// bounds returns a partition's first offset and its end: the offset that the
// next record will have.
func (c *client) bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	res, err := c.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{
		topic: {kafkago.FirstOffsetOf(partition), kafkago.LastOffsetOf(partition)},
	}})
	if err != nil {
		return 0, 0, fmt.Errorf("asking for the bounds of %s/%d: %w", topic, partition, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Partition == partition {
			if p.Error != nil {
				return 0, 0, fmt.Errorf("asking for the bounds of %s/%d: %w", topic, partition, p.Error)
			}
			return p.FirstOffset, p.LastOffset, nil
		}
	}
	return 0, 0, fmt.Errorf("asking for the bounds of %s/%d: %w", topic, partition, kafkago.UnknownTopicOrPartition)
}

// Client asks about offsets. It is safe for concurrent use. Its methods try again
// until Kafka answers or ctx ends.
type Client struct{ c *client }

// NewClient checks cfg and connects to nothing.
func NewClient(cfg Config) (*Client, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	return &Client{c}, nil
}

// Close ends the connections.
func (c *Client) Close() error {
	c.c.close()
	return nil
}

// retry calls f until it succeeds, cannot, or ctx ends.
func (c *Client) retry(ctx context.Context, f func(context.Context) error) error {
	var b backoff
	for {
		ask, cancel := context.WithTimeout(ctx, c.c.Timeout)
		err := f(ask)
		cancel()
		if err == nil || permanent(err) {
			return err
		}
		if b.wait(ctx) != nil {
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// Partitions returns how many partitions a topic has.
func (c *Client) Partitions(ctx context.Context, topic string) (n int, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		n, err = c.c.partitions(ctx, topic)
		return err
	})
	return n, err
}

// Bounds returns the offset of a partition's first record and the offset that
// its next one will have.
func (c *Client) Bounds(ctx context.Context, topic string, partition int) (first, end int64, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		first, end, err = c.c.bounds(ctx, topic, partition)
		return err
	})
	return first, end, err
}

// OffsetForTime returns the offset of the first record with a time of t or
// later (the time when it was sent to Kafka), or the partition's end.
func (c *Client) OffsetForTime(ctx context.Context, topic string, partition int, t time.Time) (offset int64, err error) {
	err = c.retry(ctx, func(ctx context.Context) error {
		offset, err = c.c.offsetForTime(ctx, topic, partition, t)
		return err
	})
	return offset, err
}

func (c *client) offsetForTime(ctx context.Context, topic string, partition int, t time.Time) (int64, error) {
	res, err := c.ListOffsets(ctx, &kafkago.ListOffsetsRequest{Topics: map[string][]kafkago.OffsetRequest{
		topic: {kafkago.TimeOffsetOf(partition, t)},
	}})
	if err != nil {
		return 0, fmt.Errorf("asking %s/%d for the offset at %v: %w", topic, partition, t, err)
	}
	for _, p := range res.Topics[topic] {
		if p.Partition != partition {
			continue
		}
		if p.Error != nil {
			return 0, fmt.Errorf("asking %s/%d for the offset at %v: %w", topic, partition, t, p.Error)
		}
		for offset := range p.Offsets {
			if offset >= 0 {
				return offset, nil
			}
		}
	}
	_, end, err := c.bounds(ctx, topic, partition) // nothing so new: the end
	return end, err
}
