package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
)

const (
	batchBytes   = 1 << 20 // of a request, unless one record is larger
	batchRecords = 20_000
	tryAttempts  = 3
)

// ErrRecordTooLarge says that a record is over MaxRecordBytes, or over what the
// broker takes. Nothing of its Produce call after it in its partition was sent.
var ErrRecordTooLarge = errors.New("record is too large")

// Producer sends records. It is safe for concurrent use.
//
// In each partition there is one batch on its way at a time, and the next is
// sent only when it is acknowledged, by all in-sync replicas. So a record never
// overtakes one of an earlier call, however often either was sent. A batch whose
// answer was lost is sent again and may then stand twice: ids are for that.
type Producer struct {
	c     *client
	codec compress.Compression
	cfg   Config
	quiet quiet
	next  atomic.Uint64 // partition of the next records without a key

	mu    sync.Mutex
	lanes map[lane]chan struct{}

	records, bytes, retries, failed *prometheus.CounterVec
	seconds                         *prometheus.HistogramVec
}

type lane struct {
	topic     string
	partition int
}

// NewProducer checks cfg and connects to nothing.
func NewProducer(cfg Config, deps Deps) (*Producer, error) {
	c, err := newClient(cfg)
	if err != nil {
		return nil, err
	}
	reg := deps.Metrics
	return &Producer{
		c:       c,
		codec:   codecs[cfg.Compression],
		cfg:     cfg,
		quiet:   quiet{log: deps.log()},
		lanes:   make(map[lane]chan struct{}),
		records: counter(reg, "produced_records_total", "Records that Kafka has acknowledged.", "topic"),
		bytes:   counter(reg, "produced_bytes_total", "Bytes of acknowledged batches, as sent.", "topic"),
		retries: counter(reg, "produce_retries_total", "Batches that were sent again.", "topic"),
		failed:  counter(reg, "produce_failed_records_total", "Records given back to the caller without acknowledgement.", "topic"),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "fengsui", Subsystem: "kafka", Name: "produce_seconds",
			Help: "Time from sending a batch to its acknowledgement.", Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 10),
		}, []string{"topic"})),
	}, nil
}

// Close ends the connections. Calls in progress fail.
func (p *Producer) Close() error {
	p.c.close()
	return nil
}

// Produce sends the records and returns nil once every one is acknowledged by
// all in-sync replicas. It tries for ever, until ctx ends; only a record that
// Kafka can never take ends it sooner. After an error some records, in each
// partition the first ones, may have been stored.
func (p *Producer) Produce(ctx context.Context, topic string, records []Record) error {
	_, err := p.produce(ctx, topic, records, 0)
	return err
}

// TryProduce is Produce for a caller that has a place for what cannot be sent
// now: it gives up after a few attempts, or when ctx ends, and returns the
// records that were not acknowledged, in their order. They may nevertheless have
// been stored.
func (p *Producer) TryProduce(ctx context.Context, topic string, records []Record) (unacked []Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*p.cfg.Timeout)
	defer cancel()
	return p.produce(ctx, topic, records, tryAttempts)
}

// produce sends the records with the given number of attempts for each batch; 0
// is for ever.
func (p *Producer) produce(ctx context.Context, topic string, records []Record, attempts int) ([]Record, error) {
	if len(records) == 0 {
		return nil, nil
	}
	for i := range records {
		if n := records[i].size(); n > MaxRecordBytes {
			p.failed.WithLabelValues(topic).Add(float64(len(records)))
			return records, fmt.Errorf("producing to %s: record %d of %d has %d bytes, more than %d: %w",
				topic, i, len(records), n, MaxRecordBytes, ErrRecordTooLarge)
		}
	}
	partitions, err := p.partitions(ctx, topic, attempts)
	if err != nil {
		p.failed.WithLabelValues(topic).Add(float64(len(records)))
		return records, err
	}
	parts := p.divide(records, partitions)
	acked := make([]int, partitions)
	errs := make([]error, partitions)
	var wg sync.WaitGroup
	for i, part := range parts.of {
		if len(part) == 0 {
			continue
		}
		if len(part) == len(records) { // the usual case needs no goroutine
			acked[i], errs[i] = p.send(ctx, lane{topic, i}, part, attempts)
			break
		}
		wg.Go(func() { acked[i], errs[i] = p.send(ctx, lane{topic, i}, part, attempts) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		unacked := parts.after(records, acked)
		p.failed.WithLabelValues(topic).Add(float64(len(unacked)))
		return unacked, fmt.Errorf("producing %d records to %s, %d not acknowledged: %w", len(records), topic, len(unacked), err)
	}
	return nil, nil
}

func (p *Producer) partitions(ctx context.Context, topic string, attempts int) (int, error) {
	var b backoff
	for i := 1; ; i++ {
		ask, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
		n, err := p.c.partitions(ask, topic)
		cancel()
		if err == nil {
			return n, nil
		}
		p.quiet.warn("Kafka does not answer", "topic", topic, "error", err)
		if i == attempts || permanent(err) {
			return 0, err
		}
		if b.wait(ctx) != nil {
			return 0, errors.Join(context.Cause(ctx), err)
		}
	}
}

// divided is records by partition; where[i] is the partition of record i.
type divided struct {
	of    [][]Record
	where []int
}

func (p *Producer) divide(records []Record, partitions int) divided {
	d := divided{of: make([][]Record, partitions), where: make([]int, len(records))}
	count := make([]int, partitions)
	sticky, room := -1, 0
	for i := range records {
		n := 0
		switch {
		case records[i].Key != nil:
			n = partitionOf(records[i].Key, partitions)
		default: // without a key: fill one batch, then go to the next partition
			if sticky < 0 || room < 0 {
				sticky, room = int(p.next.Add(1)%uint64(partitions)), batchBytes //nolint:gosec // a remainder
			}
			n = sticky
			room -= records[i].size()
		}
		d.where[i] = n
		count[n]++
	}
	for n, c := range count {
		if c == len(records) {
			d.of[n] = records
			return d
		}
		if c > 0 {
			d.of[n] = make([]Record, 0, c)
		}
	}
	for i, n := range d.where {
		d.of[n] = append(d.of[n], records[i])
	}
	return d
}

// after returns the records, in order, that stand in their partition after the
// acknowledged ones.
func (d divided) after(records []Record, acked []int) []Record {
	seen := make([]int, len(acked))
	var rest []Record
	for i := range records {
		n := d.where[i]
		if seen[n] >= acked[n] {
			rest = append(rest, records[i])
		}
		seen[n]++
	}
	return rest
}

// take waits for the lane: one call at a time sends to a partition.
func (p *Producer) take(ctx context.Context, l lane) (release func(), err error) {
	p.mu.Lock()
	ch, ok := p.lanes[l]
	if !ok {
		ch = make(chan struct{}, 1)
		p.lanes[l] = ch
	}
	p.mu.Unlock()
	select {
	case ch <- struct{}{}:
		return func() { <-ch }, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the records before: %w", context.Cause(ctx))
	}
}

// buffers holds memory for encoded batches.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, batchBytes+batchBytes/4); return &b }}

// send sends the records to one partition, batch after batch, and returns how
// many of them, from the first, were acknowledged.
func (p *Producer) send(ctx context.Context, l lane, records []Record, attempts int) (acked int, err error) {
	release, err := p.take(ctx, l)
	if err != nil {
		return 0, err
	}
	defer release()
	buf := buffers.Get().(*[]byte)
	limit := batchBytes
	for acked < len(records) {
		n := cut(records[acked:], limit)
		*buf, err = appendBatch((*buf)[:0], records[acked:acked+n], time.Now(), p.codec)
		if err != nil {
			return acked, err
		}
		size := len(*buf)
		clean, err := p.sendBatch(ctx, l, *buf, attempts)
		if !clean { // a connection that was given up may still be reading it
			buf = new([]byte)
		}
		if errors.Is(err, kafkago.MessageSizeTooLarge) {
			if n > 1 {
				limit = size / 2 // this broker takes less: smaller batches
				continue
			}
			err = fmt.Errorf("%w: %w", ErrRecordTooLarge, err)
		}
		if err != nil {
			return acked, err
		}
		acked += n
		p.records.WithLabelValues(l.topic).Add(float64(n))
		p.bytes.WithLabelValues(l.topic).Add(float64(size))
	}
	if cap(*buf) <= 4*batchBytes {
		buffers.Put(buf)
	}
	return acked, nil
}

// cut says how many of the records make a batch of about limit bytes; at least one.
func cut(records []Record, limit int) int {
	size := 0
	for i := range records {
		size += records[i].size()
		if i > 0 && (size > limit || i == batchRecords) {
			return i
		}
	}
	return len(records)
}

// sendBatch sends one encoded batch until it is acknowledged. clean says that the
// first attempt settled it.
func (p *Producer) sendBatch(ctx context.Context, l lane, batch []byte, attempts int) (clean bool, err error) {
	var b backoff
	for i := 1; ; i++ {
		start := time.Now()
		settled, err := p.sendOnce(ctx, l, batch)
		if err == nil {
			p.seconds.WithLabelValues(l.topic).Observe(time.Since(start).Seconds())
			return i == 1, nil
		}
		if permanent(err) {
			return settled && i == 1, err
		}
		if ctx.Err() == nil {
			p.quiet.warn("sending to Kafka failed", "topic", l.topic, "partition", l.partition, "attempt", i, "error", err)
		}
		if i == attempts {
			return false, err
		}
		if b.wait(ctx) != nil {
			return false, errors.Join(context.Cause(ctx), err)
		}
		p.retries.WithLabelValues(l.topic).Inc()
	}
}

// sendOnce sends a batch once. settled says that the broker has answered.
func (p *Producer) sendOnce(ctx context.Context, l lane, batch []byte) (settled bool, err error) {
	// The deadline is also the connection's: without one a request whose caller
	// has gone would hold the connection.
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	length := binary.BigEndian.AppendUint32(nil, uint32(len(batch))) //nolint:gosec // batches are cut below 32 bits
	res, err := p.c.RawProduce(ctx, &kafkago.RawProduceRequest{
		Topic:        l.topic,
		Partition:    l.partition,
		RequiredAcks: kafkago.RequireAll,
		RawRecords:   protocol.RawRecordSet{Reader: io.MultiReader(bytes.NewReader(length), bytes.NewReader(batch))},
	})
	settled = err == nil
	if settled {
		err = res.Error
	}
	if err != nil {
		return settled, fmt.Errorf("partition %d: %w", l.partition, err)
	}
	return settled, nil
}
