package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fengsui/internal/kafka"
	"fengsui/scanner/queue"
	"fengsui/schemas"
)

// viewPatience is how long the topics of scans may take to be read.
const viewPatience = time.Minute

// scanView is the scanners' queue as the topics tell it, kept true while it is
// open. Silence is measured by the times of the records.
type scanView struct {
	mu    sync.Mutex
	queue *queue.Queue
	end   context.CancelFunc
	all   sync.WaitGroup

	following context.Context // it ends, with the cause, when the topics are not followed any more
}

// openScanView reads the topics to their end, and follows them from then on.
func openScanView(ctx context.Context, p *process) (*scanView, error) {
	following, end := context.WithCancelCause(ctx)
	v := &scanView{queue: queue.New(p.cfg.Scanner.Lease), end: func() { end(nil) }, following: following}
	var behind sync.WaitGroup
	for topic, apply := range map[string]func(kafka.Record) error{
		schemas.TopicScanTasks: v.task, schemas.TopicScanLeases: v.event, schemas.TopicScanState: v.state,
	} {
		behind.Add(1)
		var once sync.Once
		v.all.Go(func() {
			defer once.Do(behind.Done)
			err := kafka.Follow(following, p.cfg.Kafka, kafka.Deps{Log: p.log, Metrics: p.metrics}, topic, func(r kafka.Record) error {
				v.mu.Lock()
				defer v.mu.Unlock()
				_ = apply(r) // what cannot be read tells nothing; the scanners log it
				return nil
			}, func() { once.Do(behind.Done) })
			if following.Err() == nil {
				end(fmt.Errorf("following %s: %w", topic, err))
			}
		})
	}
	read := make(chan struct{})
	go func() {
		behind.Wait()
		close(read)
	}()
	select {
	case <-read:
	case <-time.After(viewPatience):
		end(fmt.Errorf("the topics of scans were not read within %v", viewPatience))
	case <-following.Done():
	}
	if err := context.Cause(following); err != nil {
		v.all.Wait()
		return nil, err
	}
	return v, nil
}

func (v *scanView) Close() {
	v.end()
	v.all.Wait()
}

func (v *scanView) task(r kafka.Record) error {
	var t schemas.ScanTask
	if err := json.Unmarshal(r.Value, &t); err != nil {
		return err
	}
	v.queue.Task(t, time.Now())
	return nil
}

func (v *scanView) event(r kafka.Record) error {
	var e schemas.ScanEvent
	if err := json.Unmarshal(r.Value, &e); err != nil {
		return err
	}
	v.queue.Event(e, r.Time)
	return nil
}

func (v *scanView) state(r kafka.Record) error {
	if len(r.Value) == 0 {
		v.queue.State(string(r.Key), nil, r.Time)
		return nil
	}
	var s schemas.ScanState
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return err
	}
	v.queue.State(string(r.Key), &s, r.Time)
	return nil
}

func (v *scanView) jobs() []queue.Job {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Jobs(time.Now())
}

func (v *scanView) parts() []schemas.ScanPart {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Parts(time.Now())
}

func (v *scanView) agents() []schemas.ScanAgent {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Agents(time.Now())
}

func (v *scanView) stopped(job string) (schemas.ScanStop, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Stopped(job)
}

func (v *scanView) stops() []schemas.ScanStop {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Stops()
}

func (v *scanView) shards(job string) []schemas.ScanShard {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.queue.Shards(job, time.Now())
}

// job finds a job.
func (v *scanView) job(id string) (queue.Job, bool) {
	for _, j := range v.jobs() {
		if j.ID == id {
			return j, true
		}
	}
	return queue.Job{}, false
}

// sayScanState writes a record of the topic scan.state; a nil one deletes.
func sayScanState(ctx context.Context, p *process, key string, s *schemas.ScanState) (err error) {
	producer, err := kafka.NewProducer(p.cfg.Kafka, kafka.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, producer.Close()) }()
	r := kafka.Record{Key: []byte(key)}
	if s != nil {
		if r.Value, err = json.Marshal(s); err != nil {
			return fmt.Errorf("encoding %s: %w", key, err)
		}
	}
	return producer.Produce(ctx, schemas.TopicScanState, []kafka.Record{r})
}

// working says whether a job whose name begins so is not over. One that is stopped
// is at work until it is resumed and over, or has expired.
func (v *scanView) working(prefix string) bool {
	return slices.ContainsFunc(v.jobs(), func(j queue.Job) bool { return strings.HasPrefix(j.ID, prefix) && !j.Over() })
}

func (v *scanView) forget() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.queue.Forget(time.Now())
}
