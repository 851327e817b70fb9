package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	testkafka "fengsui/internal/testkit/kafka"
)

// TestNothingIsLost kills the broker with SIGKILL, again and again, while two
// producers send 50,000 records and a group, whose handlers fail now and then,
// reads them. Every record arrives; each producer's records keep their order in
// each partition; and no offset is committed before a handler has returned it.
func TestNothingIsLost(t *testing.T) {
	const (
		producers = 2
		each      = 25_000
		batch     = 250
		kills     = 3
	)
	b := testkafka.Start(t)
	b.NeedsKill(t)
	cfg := testConfig(b)
	cfg.Timeout = 3 * time.Second
	topic := testTopic(t, cfg, 3)
	gc := groupConfig(topic)
	gc.MaxBatch = 500

	ledger := &ledger{next: map[string]int{}, done: map[int]int64{}}
	join(t, cfg, testDeps(t), gc, func(_ context.Context, _ string, partition int, committed int64) (Handler, int64, error) {
		ledger.opened(t, partition, committed)
		n := 0
		return handlerFunc(func(ctx context.Context, rs []Record) error {
			if n++; n%20 == 0 {
				return errors.New("one batch in twenty fails")
			}
			ledger.handled(t, rs)
			time.Sleep(time.Millisecond)
			return nil
		}), Committed, nil
	})

	var (
		wg   sync.WaitGroup
		sent atomic.Int64
	)
	for who := range producers {
		p := testProducer(t, cfg)
		wg.Go(func() {
			for i := 0; i < each; i += batch {
				rs := make([]Record, batch)
				for j := range rs { // ten keys spread over the partitions
					key := fmt.Sprintf("%d/%d", who, j%10)
					rs[j] = Record{Key: []byte(key), Value: fmt.Appendf(nil, "%s/%d", key, (i+j)/10)}
				}
				if err := p.Produce(testContext(t), topic, rs); err != nil {
					t.Error(err)
					return
				}
				sent.Add(batch)
			}
		})
	}
	for k := range kills {
		part := (k + 1) * producers * each / (kills + 2)
		eventually(t, "all go on", func() bool { return int(sent.Load()) >= part && ledger.count() >= part/2 })
		b.Kill()
		time.Sleep(300 * time.Millisecond)
		b.Restart(t)
	}
	wg.Wait()
	eventually(t, "all are handled", func() bool { return ledger.count() >= producers*each })
	ledger.complete(t, producers*each)
}

// ledger holds what handlers have returned.
type ledger struct {
	mu      sync.Mutex
	next    map[string]int // of a key: the number that its next new record must have
	total   int            // records, each counted once
	again   int            // seen before
	done    map[int]int64  // of a partition: offset after the last that a handler returned
	opens   int
	trouble bool
}

func (l *ledger) opened(t *testing.T, partition int, committed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opens++
	if committed > l.done[partition] {
		t.Errorf("partition %d: %d is committed, only %d was handled", partition, committed, l.done[partition])
	}
}

func (l *ledger) handled(t *testing.T, rs []Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rs {
		key, value := string(r.Key), string(r.Value)
		n, err := strconv.Atoi(value[strings.LastIndexByte(value, '/')+1:])
		if err != nil {
			t.Errorf("value %q: %v", value, err)
		}
		switch want := l.next[key]; {
		case n == want:
			l.next[key] = n + 1
			l.total++
		case n < want:
			l.again++
		case !l.trouble:
			l.trouble = true
			t.Errorf("%s: record %d came before %d", key, n, want)
		}
	}
	last := rs[len(rs)-1]
	l.done[last.Partition] = max(l.done[last.Partition], last.Offset+1)
}

func (l *ledger) count() int { l.mu.Lock(); defer l.mu.Unlock(); return l.total }

func (l *ledger) complete(t *testing.T, want int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total != want {
		t.Errorf("%d records, want %d", l.total, want)
	}
	t.Logf("%d records, %d seen again, handlers opened %d times", l.total, l.again, l.opens)
}

// TestTryProduce: with Kafka away the caller soon has its records back, in
// order, and they can be sent when it is there again.
func TestTryProduce(t *testing.T) {
	b := testkafka.Start(t)
	b.NeedsKill(t)
	cfg := testConfig(b)
	cfg.Timeout = 2 * time.Second
	topic := testTopic(t, cfg, 3)
	p := testProducer(t, cfg)
	ctx := testContext(t)
	if unacked, err := p.TryProduce(ctx, topic, numbered(0, 100, 10)); err != nil || len(unacked) != 0 {
		t.Fatalf("%d unacknowledged: %v", len(unacked), err)
	}
	b.Kill()
	start := time.Now()
	spool, err := p.TryProduce(ctx, topic, numbered(100, 100, 10))
	if err == nil || len(spool) != 100 {
		t.Fatalf("%d unacknowledged without a broker: %v", len(spool), err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v to say so", d)
	}
	for i, r := range spool {
		if string(r.Value) != fmt.Sprintf("%08d", 100+i) {
			t.Fatalf("record %d of the spool is %s", i, r.Value)
		}
	}
	fresh := testProducer(t, cfg) // one that never saw a broker
	if rest, err := fresh.TryProduce(ctx, topic, spool); err == nil || len(rest) != 100 {
		t.Fatalf("%d unacknowledged without a broker: %v", len(rest), err)
	}
	b.Restart(t)
	eventually(t, "the spool drains", func() bool {
		spool, err = p.TryProduce(ctx, topic, spool)
		return err == nil
	})
	if err := fresh.Produce(ctx, topic, numbered(200, 100, 10)); err != nil {
		t.Fatal(err)
	}
	var s seen
	s.add(readAll(t, cfg, topic))
	if n := len(distinct(&s)); n != 300 {
		t.Errorf("%d different records, want 300", n)
	}
	next := map[string]string{}
	for _, r := range s.records {
		if v := string(r.Value); v < next[string(r.Key)] {
			t.Errorf("%s: %s after %s", r.Key, v, next[string(r.Key)])
		} else {
			next[string(r.Key)] = v
		}
	}
}

// TestFollowOutlivesTheBroker: what is written after a restart is applied.
func TestFollowOutlivesTheBroker(t *testing.T) {
	b := testkafka.Start(t)
	b.NeedsKill(t)
	cfg := testConfig(b)
	topic := testTopic(t, cfg, 2)
	p := testProducer(t, cfg)
	ctx, stop := context.WithCancel(testContext(t))
	var s seen
	var caughtUp atomic.Int32
	done := make(chan error, 1)
	go func() {
		done <- Follow(ctx, cfg, testDeps(t), topic, func(r Record) error { s.add([]Record{r}); return nil }, func() { caughtUp.Add(1) })
	}()
	for i := range 3 {
		if err := p.Produce(ctx, topic, numbered(i*100, 100, 10)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it follows", func() bool { return len(distinct(&s)) == (i+1)*100 })
		b.Kill()
		b.Restart(t)
	}
	stop()
	<-done
	if n := caughtUp.Load(); n != 1 {
		t.Errorf("caught up %d times", n)
	}
}
