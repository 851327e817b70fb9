package collector

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/spool"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// producer is what the shipper needs of Kafka: it sends the records and returns,
// in their order, those that were not acknowledged.
type producer interface {
	TryProduce(ctx context.Context, topic string, records []kafka.Record) (unacked []kafka.Record, err error)
}

// shipper brings lines from the queue to Kafka, directly while all is well. When
// Kafka does not take them they go to the spool, and so does everything after
// them, until the spool is empty: nothing overtakes. So in each partition the
// numbers of a stream only ever go up, but for repetitions.
//
// Three goroutines: ship takes parcels of lines from the queue, and sends them or
// makes them ready for the spool; store brings those to the disk, in their order,
// while ship makes the next one ready; drain takes from the spool.
type shipper struct {
	topic    string
	stream   string
	seq      uint64
	producer producer
	spool    *spool.Spool
	queue    *queue
	metrics  *metrics
	accounts *accounts
	log      *slog.Logger
	quiet    input.Quiet

	free    chan *parcel // to be filled by ship
	ready   chan *parcel // for the spool; has room for all parcels
	storing atomic.Int64 // parcels that are ready, or being stored

	lost     atomic.Uint64
	drained  atomic.Uint64 // records that have left the spool
	draining atomic.Bool   // Kafka took the last that were sent from the spool

	sending   context.Context // ends when there is no more time to send to Kafka
	spooling  context.Context // ends when there is no more time at all
	endSend   context.CancelFunc
	endSpool  context.CancelFunc
	shipEnded chan struct{}
}

const (
	takeLines  = 20_000
	takeWeight = 16 << 20
	// parcels is how many there are: one is stored while the next is made ready.
	parcels    = 2
	drainBytes = 4 << 20
	// gather is how much later than the last some lines are sent, at the least: each
	// sending costs as much as hundreds of lines do.
	gather = 5 * time.Millisecond
	// retryAfter is the wait after a failure that may pass.
	retryAfter = time.Second
	// paceMost bounds how long new lines are held back, should Kafka go away again.
	paceMost = time.Second
)

// begin makes what the goroutines need.
func (s *shipper) begin() {
	s.sending, s.endSend = context.WithCancel(context.Background())
	s.spooling, s.endSpool = context.WithCancel(context.Background())
	s.shipEnded = make(chan struct{})
	s.free, s.ready = make(chan *parcel, parcels), make(chan *parcel, parcels)
	for range parcels {
		s.free <- &parcel{}
	}
}

// start starts the goroutines; the channel is closed when they have ended.
func (s *shipper) start() <-chan struct{} {
	s.begin()
	return together(func() {
		defer close(s.shipEnded)
		<-together(func() {
			defer close(s.ready)
			s.ship()
		}, func() {
			for p := range s.ready {
				s.store(p)
			}
		})
	}, s.drain)
}

// stop, after the queue was closed, gives what is in it half of the time to reach
// Kafka, and the other half to reach the spool.
func (s *shipper) stop(timeout time.Duration) {
	half := time.AfterFunc(timeout/2, s.endSend)
	full := time.AfterFunc(timeout, s.endSpool)
	<-s.shipEnded
	half.Stop()
	full.Stop()
	s.endSend() // drain has nothing more to wait for: the spool is on disk
	s.endSpool()
}

// waitEmpty waits until all of the queue, which was closed, and of the spool is
// acknowledged, or ctx ends.
func (s *shipper) waitEmpty(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-s.shipEnded:
	}
	for s.spool.Len() > 0 && pause(ctx, 20*time.Millisecond) {
	}
}

// pause waits; false: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// parcel is the lines of one look into the queue, on their way to Kafka or to the
// disk. Its memory is used again.
type parcel struct {
	batches []batch
	runs    []run          // of the lines
	records []kafka.Record // of the lines
	rest    []kafka.Record // of records, those that Kafka has not acknowledged
	frames  spool.Frames   // of rest, for the spool
	stamper stamper        // has the memory of the records
}

// ship empties the queue until it is closed.
func (s *shipper) ship() {
	for last := (time.Time{}); ; {
		p := <-s.free
		// Lines that come in twos and threes go together.
		if wait := gather - time.Since(last); wait > 0 {
			pause(s.sending, wait)
		}
		if p.batches = s.queue.take(takeLines, takeWeight); len(p.batches) == 0 {
			return
		}
		last = time.Now()
		s.fill(p)
		s.deliver(p)
	}
}

// fill gives the parcel's lines their origin, and so their place in the order.
func (s *shipper) fill(p *parcel) {
	n := 0
	p.runs = p.runs[:0]
	for _, b := range p.batches {
		n += len(b.lines)
		p.runs = append(p.runs, b.runs...)
	}
	p.stamper.begin()
	p.records = slices.Grow(p.records[:0], n)
	for _, b := range p.batches {
		for i := range b.lines {
			l := &b.lines[i]
			o := schemas.Origin{
				Stream: l.Stream, Seq: l.Seq, Unit: b.input.Unit, Source: l.Source, Input: b.input.Name,
				Format: b.input.Format, Received: l.Received, Drill: b.input.Drill, Preamble: l.Preamble, Reject: l.Reject,
			}
			if l.Format != "" {
				o.Format = l.Format
			}
			if l.Unit != "" {
				o.Unit = l.Unit
			}
			if o.Stream == "" {
				s.seq++
				o.Stream, o.Seq = s.stream, s.seq
			}
			key, headers := p.stamper.stamp(&o)
			p.records = append(p.records, kafka.Record{Key: key, Value: l.Value, Encoded: headers})
		}
	}
}

// deliver sends a parcel to Kafka, or makes what Kafka does not take ready for the
// spool: all of it, while anything is there or on its way there.
func (s *shipper) deliver(p *parcel) {
	s.pace(uint64(len(p.records)))
	p.rest = p.records
	if s.storing.Load() == 0 && s.direct(p) {
		s.settle(p, nil, nil)
		s.reuse(p)
		return
	}
	s.frame(p)
	s.storing.Add(1)
	s.ready <- p
}

// direct sends the rest of a parcel, if nothing is in the spool; true: there is no
// rest any more.
func (s *shipper) direct(p *parcel) bool {
	if s.spool.Len() > 0 || s.sending.Err() != nil {
		return false
	}
	unacked, err := s.send(s.sending, p.rest, "direct")
	if err == nil {
		return true
	}
	p.rest = unacked
	s.quiet.Warn("Kafka does not take lines; they go to the spool", "error", err)
	return false
}

// frame encodes the rest of a parcel for the spool.
func (s *shipper) frame(p *parcel) {
	p.frames.Reset()
	for i := range p.rest {
		p.frames.Add(func(b []byte) []byte { return appendRecord(b, &p.rest[i]) })
	}
}

// store brings a parcel to the spool.
func (s *shipper) store(p *parcel) {
	spooled, lost := s.append(p)
	s.settle(p, spooled, lost)
	s.storing.Add(-1) // when the lines are settled: what is sent directly is settled after them
	s.reuse(p)
}

// append appends a parcel to the spool, or, while the disk does not take it and
// nothing else is there, sends it to Kafka after all. It returns the records that it
// has brought to the spool, or those that it could bring nowhere before the time
// was up.
func (s *shipper) append(p *parcel) (spooled, lost []kafka.Record) {
	for {
		if !s.spool.HasRoom(p.frames.Size()) {
			s.metrics.full.Inc()
			s.quiet.Warn("the spool is full: inputs wait, and datagrams are dropped, until Kafka takes lines", "lines", s.spool.Len(), "bytes", s.spool.Bytes())
		}
		err := s.spool.Append(s.spooling, &p.frames)
		if err == nil {
			s.metrics.spooled.Add(float64(len(p.rest)))
			return p.rest, nil
		}
		s.metrics.troubles.Inc()
		s.quiet.Warn("the spool does not take lines; inputs wait", "error", err)
		if !pause(s.spooling, retryAfter) {
			return nil, p.rest
		}
		if s.direct(p) {
			return nil, nil
		}
		s.frame(p)
	}
}

// settle says in the books where a parcel's lines are, and tells those who wait
// for it.
func (s *shipper) settle(p *parcel, spooled, lost []kafka.Record) {
	s.accounts.delivered(p.runs, spooled, lost)
	if len(lost) == 0 {
		for _, b := range p.batches {
			if b.done != nil {
				b.done()
			}
		}
	} else {
		s.metrics.lost.Add(float64(len(lost)))
		s.lost.Add(uint64(len(lost)))
	}
	s.metrics.queued.Add(-int64(len(p.records)))
	s.queue.release(p.batches)
}

// reuse lets a parcel be filled again.
func (s *shipper) reuse(p *parcel) {
	clear(p.records) // which hold the lines
	p.batches, p.rest = nil, nil
	s.free <- p
}

// pace holds n new records back while Kafka takes the spool's, until twice as
// many have left it: so it empties, though senders never pause.
func (s *shipper) pace(n uint64) {
	target, until := s.drained.Load()+2*n, time.Now().Add(paceMost)
	for s.draining.Load() && s.spool.Len() > 0 && s.drained.Load() < target && time.Now().Before(until) {
		if !pause(s.sending, time.Millisecond) {
			return
		}
	}
}

// drain sends what is in the spool, in its order, for ever.
func (s *shipper) drain() {
	for {
		b, err := s.spool.Take(s.sending, drainBytes)
		if s.sending.Err() != nil {
			return
		}
		var records []kafka.Record
		if err == nil {
			records, err = decodeRecords(b.Records)
		}
		if err == nil {
			if !s.sendAll(records) {
				return
			}
			err = s.spool.Commit(b)
			s.drained.Add(uint64(len(records)))
			s.accounts.drained(records)
		}
		if err != nil {
			s.metrics.troubles.Inc()
			s.quiet.Warn("reading the spool failed", "error", err)
			if !pause(s.sending, retryAfter) {
				return
			}
		}
	}
}

// sendAll sends until Kafka has acknowledged everything; false: the time is up.
func (s *shipper) sendAll(records []kafka.Record) bool {
	for {
		unacked, err := s.send(s.sending, records, "spool")
		s.draining.Store(err == nil)
		if err == nil {
			return true
		}
		records = unacked
		s.quiet.Warn("Kafka does not take lines; the spool keeps them", "lines", s.spool.Len(), "error", err)
		if !pause(s.sending, retryAfter) {
			return false
		}
	}
}

// send sends records and returns those that were not acknowledged. One that
// is too large for this Kafka, whose limit we do not know, is found by halving,
// and cut down to a dead letter, so that it does not hold up the others.
func (s *shipper) send(ctx context.Context, records []kafka.Record, by string) ([]kafka.Record, error) {
	unacked, err := s.producer.TryProduce(ctx, s.topic, records)
	s.metrics.shipped.WithLabelValues(by).Add(float64(len(records) - len(unacked)))
	if err == nil || !errors.Is(err, kafka.ErrRecordTooLarge) {
		return unacked, err
	}
	if len(unacked) == 1 {
		if !s.cutDown(&unacked[0]) {
			s.accounts.refused(&unacked[0], by == "direct")
			return nil, nil
		}
		return s.send(ctx, unacked, by)
	}
	half := len(unacked) / 2
	first, err := s.send(ctx, unacked[:half], by)
	if err != nil {
		return append(first[:len(first):len(first)], unacked[half:]...), err
	}
	return s.send(ctx, unacked[half:], by)
}

// leastValue is where cutting down ends.
const leastValue = 256

// cutDown halves a record that Kafka refuses for its size, and says so in its
// origin; false: nothing is left to cut, and the record is counted as lost.
func (s *shipper) cutDown(r *kafka.Record) bool {
	var o schemas.Origin
	headers, err := r.AllHeaders()
	if err == nil {
		o, err = schemas.ParseOrigin(headers, s.topic, 0, 0, time.Time{})
	}
	if err != nil || len(r.Value) <= leastValue && o.Preamble == "" {
		s.metrics.lost.Inc()
		s.log.Error("Kafka refuses a record for its size, however small", "bytes", len(r.Value))
		return false
	}
	if o.Reject == "" {
		o.Reject = fmt.Sprintf("cut from %d bytes: larger than Kafka takes", len(r.Value))
	}
	o.Preamble = ""
	if len(r.Value) > leastValue {
		r.Value = r.Value[:len(r.Value)/2]
	}
	r.Headers, r.Encoded = o.Headers(), nil
	s.metrics.cut.Inc()
	return true
}
