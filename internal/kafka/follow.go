package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"

	kafkago "github.com/segmentio/kafka-go"
)

// Follow reads every partition of a topic from its beginning and goes on for
// ever; it is for compacted topics, whose records are a state. It belongs to no
// group and commits nothing. apply is called for one record at a time. caughtUp
// (which may be nil) is called once, when everything that stood in the topic
// when Follow began has been applied; at once if the topic is empty.
//
// It waits for the topic to exist and outlives the broker's absence. It returns
// apply's error, or ctx's.
func Follow(ctx context.Context, cfg Config, deps Deps, topic string, apply func(Record) error, caughtUp func()) error {
	c, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer c.close()
	f := &follower{c: c, topic: topic, apply: apply, quiet: quiet{log: deps.log()}}
	ends, err := f.begin(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var behind, all sync.WaitGroup
	for partition, b := range ends {
		behind.Add(1)
		all.Go(func() { cancel(f.partition(ctx, partition, b, behind.Done)) })
	}
	if caughtUp != nil {
		all.Go(func() {
			behind.Wait()
			if ctx.Err() == nil {
				caughtUp()
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

type follower struct {
	c     *client
	topic string
	quiet quiet

	mu    sync.Mutex // one record at a time
	apply func(Record) error
}

type bounds struct{ first, end int64 }

// begin waits until the topic is there and returns the bounds of its partitions.
func (f *follower) begin(ctx context.Context) ([]bounds, error) {
	var b backoff
	for {
		all, err := f.c.allBounds(ctx, f.topic)
		if err == nil {
			return all, nil
		}
		if ctx.Err() == nil {
			f.quiet.warn("waiting for a topic", "topic", f.topic, "error", err)
		}
		if b.wait(ctx) != nil {
			return nil, fmt.Errorf("following %s: %w", f.topic, context.Cause(ctx))
		}
	}
}

func (c *client) allBounds(ctx context.Context, topic string) ([]bounds, error) {
	ask, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	n, err := c.partitions(ask, topic)
	if err != nil {
		return nil, err
	}
	all := make([]bounds, n)
	for i := range all {
		if all[i].first, all[i].end, err = c.bounds(ctx, topic, i); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// partition follows one partition until ctx ends or apply fails. It calls done
// once in any case.
func (f *follower) partition(ctx context.Context, partition int, at bounds, done func()) error {
	var once sync.Once
	defer once.Do(done)
	r := &reader{c: f.c, topic: f.topic, partition: partition, offset: at.first}
	var b backoff
	for {
		if r.offset >= at.end {
			once.Do(done)
		}
		got, err := r.fetch(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if errors.Is(err, kafkago.OffsetOutOfRange) {
			// Compacted or cut behind us: what is gone was replaced.
			var first int64
			if first, _, err = f.c.bounds(ctx, f.topic, partition); err == nil {
				r.offset = first
				continue
			}
		}
		if err != nil {
			f.quiet.warn("following a topic", "topic", f.topic, "partition", partition, "error", err)
			if b.wait(ctx) != nil {
				return context.Cause(ctx)
			}
			continue
		}
		b.reset()
		for _, rec := range got.records {
			if err := f.one(rec); err != nil {
				return fmt.Errorf("applying %s/%d offset %d: %w", f.topic, partition, rec.Offset, err)
			}
		}
	}
}

func (f *follower) one(r Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.apply(r)
}
