package collector

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/semaphore"

	"fengsui/collector/input"
)

var errStopped = errors.New("the collector has stopped")

// queue holds batches of lines between the inputs and the shipper, in bounded
// memory. A batch counts until it is released, that is, until it is durable.
type queue struct {
	capacity int64
	memory   *semaphore.Weighted

	mu      sync.Mutex
	batches []batch
	closed  bool
	wake    chan struct{}
}

// batch is the lines of one Put.
type batch struct {
	input  *InputConfig
	lines  []input.Line
	runs   []run // of the lines
	done   func()
	weight int64
}

// lineOverhead is what a line costs beside its bytes, on its way to a Kafka
// record with headers.
const lineOverhead = 512

func newQueue(capacity int64) *queue {
	return &queue{capacity: capacity, memory: semaphore.NewWeighted(capacity), wake: make(chan struct{}, 1)}
}

// put waits for room and appends the batch.
func (q *queue) put(ctx context.Context, b batch) error {
	for i := range b.lines {
		b.weight += int64(len(b.lines[i].Value)+len(b.lines[i].Preamble)) + lineOverhead
	}
	b.weight = min(b.weight, q.capacity)
	if err := q.memory.Acquire(ctx, b.weight); err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		q.memory.Release(b.weight)
		return errStopped
	}
	q.batches = append(q.batches, b)
	q.signal()
	return nil
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// take waits for batches and returns some, at least one, as many as have about
// maxLines lines and maxWeight. None: the queue is closed and empty.
func (q *queue) take(maxLines int, maxWeight int64) []batch {
	for {
		q.mu.Lock()
		n, lines, weight := 0, 0, int64(0)
		for n < len(q.batches) && (n == 0 || lines+len(q.batches[n].lines) <= maxLines && weight+q.batches[n].weight <= maxWeight) {
			lines += len(q.batches[n].lines)
			weight += q.batches[n].weight
			n++
		}
		taken, closed := q.batches[:n:n], q.closed
		q.batches = q.batches[n:]
		if len(q.batches) == 0 {
			q.batches = nil
		}
		q.mu.Unlock()
		if n > 0 || closed {
			return taken
		}
		<-q.wake
	}
}

// release gives back the memory of batches.
func (q *queue) release(batches []batch) {
	var weight int64
	for _, b := range batches {
		weight += b.weight
	}
	q.memory.Release(weight)
}

// close refuses further batches. What was put can still be taken.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}
