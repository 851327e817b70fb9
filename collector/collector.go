// Package collector receives logs and ships them to Kafka. It gives each line its
// origin (unit, source, format, stream and sequence number) and never its meaning:
// it parses nothing, filters nothing and answers nobody.
//
// What it has accepted is acknowledged by Kafka or on disk in the spool before it
// says so. While Kafka is away, lines go to the spool, and go on doing so until
// it is empty again, so that their order never changes. When the spool is full
// too, inputs wait: a TCP sender is slowed down, a file is read later; only over
// UDP, where nobody can wait, the kernel drops, and counts.
package collector

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
	"fengsui/collector/input/beats"
	"fengsui/collector/input/file"
	"fengsui/collector/input/flow"
	"fengsui/collector/input/http"
	kafkainput "fengsui/collector/input/kafka"
	"fengsui/collector/input/packet"
	"fengsui/collector/input/syslog"
	"fengsui/collector/spool"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Deps is what the collector needs from the process. Progress, which may be nil,
// is told how far files have been read.
type Deps struct {
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Progress func(file.Progress)
	// FileRate bounds the lines a second that each file input reads; 0 is no bound.
	FileRate float64
}

// Collector is the service. New makes one.
type Collector struct {
	cfg      Config
	log      *slog.Logger
	inputs   []*runner
	producer *kafka.Producer
	metrics  *metrics
	accounts *accounts
	stream   string
	since    time.Time // when it was started

	spoolAtStart uint64
	ready        chan struct{}
}

// runner is one input.
type runner struct {
	input.Input
	cfg InputConfig
}

// New checks cfg. Nothing is opened or connected before Run.
func New(cfg Config, deps Deps) (*Collector, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	if deps.Metrics == nil {
		deps.Metrics = prometheus.NewRegistry()
	}
	c := &Collector{cfg: cfg, log: deps.Log, stream: newStream(), accounts: newAccounts(), ready: make(chan struct{})}
	var err error
	if c.metrics, err = newMetrics(deps.Metrics); err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	kafkaConfig := cfg.Kafka
	kafkaConfig.ClientID = "fengsui-collector-" + cfg.ID
	if c.producer, err = kafka.NewProducer(kafkaConfig, kafka.Deps{Log: deps.Log, Metrics: deps.Metrics}); err != nil {
		return nil, fmt.Errorf("collector: %w", err)
	}
	for _, in := range cfg.Inputs {
		r, err := c.newRunner(in, deps)
		if err != nil {
			return nil, fmt.Errorf("collector: input %s: %w", in.Name, err)
		}
		c.inputs = append(c.inputs, r)
	}
	return c, nil
}

func (c *Collector) newRunner(in InputConfig, deps Deps) (*runner, error) {
	if in.Format == "" {
		in.Format = "auto"
	}
	log := deps.Log.With("input", in.Name)
	metrics := prometheus.WrapRegistererWith(prometheus.Labels{"input": in.Name}, deps.Metrics)
	r := &runner{cfg: in}
	var err error
	switch in.Type {
	case "syslog":
		r.Input, err = syslog.New(*in.Syslog, syslog.Deps{Log: log, Metrics: metrics})
	case "file":
		cfg := *in.File
		cfg.Once, cfg.Rate = c.cfg.Once, deps.FileRate
		r.Input, err = file.New(cfg, file.Deps{
			Log: log, Metrics: metrics, Name: in.Name, Format: in.Format, StateDir: c.cfg.StateDir, Progress: deps.Progress,
		})
	case "packet":
		r.Input, err = packet.New(packetConfig(in.Packet), packet.Deps{Log: log, Metrics: metrics})
	case "flow":
		r.Input, err = flow.New(*in.Flow, flow.Deps{Log: log, Metrics: metrics})
	case "http":
		r.Input, err = http.New(*in.HTTP, http.Deps{Log: log, Metrics: metrics})
	case "beats":
		r.Input, err = beats.New(*in.Beats, beats.Deps{Log: log, Metrics: metrics})
	case "kafka":
		r.Input, err = kafkainput.New(*in.Kafka, kafkainput.Deps{
			Log: log, Metrics: metrics, Groups: deps.Metrics, Own: c.cfg.Kafka, Spooled: c.metrics.spooledNow,
		})
	default:
		err = fmt.Errorf("type %q is not known", in.Type)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// newStream names the sequence that the lines of this run count in.
func newStream() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return "c" + strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))[:10]
}

// Ready is closed when every input reads or listens.
func (c *Collector) Ready() <-chan struct{} { return c.ready }

// Addrs is where the inputs listen, by their names, once the collector is ready.
func (c *Collector) Addrs() map[string][]net.Addr {
	addrs := make(map[string][]net.Addr)
	for _, r := range c.inputs {
		if l, ok := r.Input.(interface{ Addrs() []net.Addr }); ok {
			addrs[r.cfg.Name] = l.Addrs()
		}
	}
	return addrs
}

// inputsStop bounds how long inputs may take to end.
const inputsStop = 5 * time.Second

// Run collects until ctx ends, brings what it has accepted to Kafka or the spool,
// and returns nil. An input that fails ends it with an error. With Config.Once it
// also ends when every input has, and Kafka has acknowledged their lines.
func (c *Collector) Run(ctx context.Context) error {
	disk, err := spool.Open(c.cfg.Spool.Dir, c.cfg.Spool.MaxBytes)
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	defer func() {
		if err := disk.Close(); err != nil {
			c.log.Error("closing the spool failed", "error", err)
		}
		_ = c.producer.Close() // never fails
	}()
	c.metrics.spool.Store(disk)
	c.since, c.spoolAtStart = time.Now().UTC(), disk.Len()
	if n := disk.Len(); n > 0 {
		c.log.Info("the spool holds lines of an earlier run", "lines", n, "bytes", disk.Bytes())
	}
	q := newQueue(c.cfg.QueueBytes)
	s := &shipper{
		topic: schemas.TopicLogs, stream: c.stream, producer: c.producer, spool: disk, queue: q,
		metrics: c.metrics, accounts: c.accounts, log: c.log, quiet: input.Quiet{Log: c.log},
	}
	shipped := s.start()

	running, stopInputs := context.WithCancel(ctx)
	defer stopInputs()
	status := together(func() {
		if !c.cfg.Once { // which ends, and may run beside one that does not
			c.serveStatus(running)
		}
	})
	defer func() { <-status }()
	defer stopInputs()
	ended := c.startInputs(running, q)
	err = c.supervise(ctx, ended)
	stopInputs()
	err = errors.Join(err, c.await(ended))
	q.close()
	if c.cfg.Once && ctx.Err() == nil {
		s.waitEmpty(ctx)
	}
	s.stop(c.cfg.StopTimeout)
	<-shipped
	if n := s.lost.Load(); n > 0 {
		err = errors.Join(err, fmt.Errorf("%d accepted lines found no room in Kafka or the spool before the end", n))
	}
	if err != nil {
		return fmt.Errorf("collector: %w", err)
	}
	return nil
}

// running is the inputs that run.
type running struct {
	ends  chan error // one for each input
	count int        // of ends to come
}

func (c *Collector) startInputs(ctx context.Context, q *queue) *running {
	run := &running{ends: make(chan error, len(c.inputs)), count: len(c.inputs)}
	for _, r := range c.inputs {
		into := &sink{queue: q, input: r.cfg, metrics: c.metrics.of(r.cfg.Name), queued: &c.metrics.queued, accounts: c.accounts}
		go func() {
			err := r.Run(ctx, into)
			if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, errStopped)) {
				err = nil
			}
			if err != nil {
				err = fmt.Errorf("input %s: %w", r.cfg.Name, err)
			}
			run.ends <- err
		}()
	}
	go func() {
		for _, r := range c.inputs {
			if l, ok := r.Input.(interface{ Ready() <-chan struct{} }); ok {
				select {
				case <-l.Ready():
				case <-ctx.Done():
					return
				}
			}
		}
		close(c.ready)
	}()
	return run
}

// supervise waits for the end of ctx, of all inputs, or of one by an error.
func (c *Collector) supervise(ctx context.Context, run *running) error {
	var errs []error
	for {
		if run.count == 0 && c.cfg.Once {
			return errors.Join(errs...)
		}
		select {
		case <-ctx.Done():
			return errors.Join(errs...)
		case err := <-run.ends:
			run.count--
			if err != nil {
				errs = append(errs, err)
				if !c.cfg.Once { // the others still have their work
					return errors.Join(errs...)
				}
			}
		}
	}
}

// await waits for the inputs to end.
func (c *Collector) await(run *running) error {
	timer := time.NewTimer(inputsStop)
	defer timer.Stop()
	var errs []error
	for ; run.count > 0; run.count-- {
		select {
		case err := <-run.ends:
			errs = append(errs, err)
		case <-timer.C:
			return errors.Join(append(errs, fmt.Errorf("%d inputs did not stop in %v", run.count, inputsStop))...)
		}
	}
	return errors.Join(errs...)
}

// sink is what an input puts its lines into.
type sink struct {
	queue   *queue
	input   InputConfig
	metrics inputMetrics
	queued  *atomic.Int64

	accounts *accounts
}

// Put is input.Sink's.
func (s *sink) Put(ctx context.Context, lines []input.Line, done func()) error {
	for i := range lines {
		if l := &lines[i]; len(l.Value) > input.MaxValue {
			l.Reject = strings.TrimPrefix(fmt.Sprintf("%s; value of %d bytes cut to %d", l.Reject, len(l.Value), input.MaxValue), "; ")
			l.Value = l.Value[:input.MaxValue]
		}
	}
	runs := runsOf(&s.input, lines)
	// Counted before, so that nothing is shipped that was not received.
	s.queued.Add(int64(len(lines)))
	s.accounts.received(runs, 1)
	if err := s.queue.put(ctx, batch{input: &s.input, lines: lines, runs: runs, done: done}); err != nil {
		s.queued.Add(-int64(len(lines)))
		s.accounts.received(runs, -1)
		return err
	}
	s.metrics.count(runs)
	return nil
}

// together runs the functions and closes the channel when all have returned.
func together(fs ...func()) <-chan struct{} {
	var wg sync.WaitGroup
	for _, f := range fs {
		wg.Go(f)
	}
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	return done
}
