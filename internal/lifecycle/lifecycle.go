// Package lifecycle starts a process's components in order, stops them in
// reverse in bounded time, and ends the process when one of them dies.
//
// A component is inert until Run. Child is the component that keeps another process running.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"time"
)

// Component does one job until its context ends. Run returns nil, or ctx's
// error, after a stop that was asked for; any other error is a death.
type Component interface {
	Run(ctx context.Context) error
}

// Func makes a component of a function.
type Func func(ctx context.Context) error

// Run calls f.
func (f Func) Run(ctx context.Context) error { return f(ctx) }

// Readier is a component that others wait for: Ready is closed when it can be
// used. A component without it is ready once started.
type Readier interface {
	Ready() <-chan struct{}
}

// Supervisor runs components. Add them in the order of starting, then Run once.
type Supervisor struct {
	log         *slog.Logger
	stopTimeout time.Duration
	parts       []part
}

type part struct {
	name      string
	component Component
}

// New makes a supervisor that gives each component stopTimeout to stop.
func New(log *slog.Logger, stopTimeout time.Duration) *Supervisor {
	return &Supervisor{log: log, stopTimeout: stopTimeout}
}

// Add appends a component.
func (s *Supervisor) Add(name string, c Component) {
	s.parts = append(s.parts, part{name, c})
}

// ErrStopTimeout says that a component did not stop in time and was left.
var ErrStopTimeout = errors.New("did not stop in time")

type running struct {
	part
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// Run starts every component in order, each when the one before is ready, calls
// ready (which may be nil) when all are, and waits for ctx to end or one to
// die. Then it stops them in reverse. It returns the deaths and the time-outs;
// nil after a clean stop.
func (s *Supervisor) Run(ctx context.Context, ready func()) error {
	var (
		started []*running
		died    = make(chan *running, len(s.parts))
		first   *running
	)
	for _, p := range s.parts {
		// Each has a context of its own, so that stopping is in our order.
		own, cancel := context.WithCancel(context.WithoutCancel(ctx))
		r := &running{part: p, cancel: cancel, done: make(chan struct{})}
		started = append(started, r)
		go func() {
			r.err = runSafely(own, r.component)
			close(r.done)
			died <- r
		}()
		if rd, ok := p.component.(Readier); ok {
			select {
			case <-rd.Ready():
			case <-ctx.Done():
			case first = <-died:
			}
		}
		if first != nil || ctx.Err() != nil {
			break
		}
		s.log.Debug("started", "component", p.name)
	}
	if first == nil && ctx.Err() == nil {
		if ready != nil {
			ready()
		}
		select {
		case <-ctx.Done():
		case first = <-died:
		}
	}
	var errs []error
	if first != nil {
		err := first.err
		if err == nil || errors.Is(err, context.Canceled) {
			err = errors.New("ended by itself")
		}
		errs = append(errs, fmt.Errorf("%s: %w", first.name, err))
		s.log.Error("component died", "component", first.name, "error", err)
	}
	return errors.Join(append(errs, s.stop(started, first)...)...)
}

// stop ends the components in reverse order.
func (s *Supervisor) stop(started []*running, first *running) []error {
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.cancel()
		timer := time.NewTimer(s.stopTimeout)
		select {
		case <-r.done:
			if r != first && r.err != nil && !errors.Is(r.err, context.Canceled) {
				errs = append(errs, fmt.Errorf("%s: while stopping: %w", r.name, r.err))
			}
			s.log.Debug("stopped", "component", r.name)
		case <-timer.C:
			errs = append(errs, fmt.Errorf("%s: %w", r.name, ErrStopTimeout))
			s.log.Error("component did not stop in time", "component", r.name, "timeout", s.stopTimeout)
		}
		timer.Stop()
	}
	return errs
}

// runSafely turns a panic of the component's own goroutine into its death, so
// that the others still stop in order.
func runSafely(ctx context.Context, c Component) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			slog.Error("panic", "value", p, "stack", string(stack()))
		}
	}()
	return c.Run(ctx)
}

func stack() []byte {
	buf := make([]byte, 16<<10)
	return buf[:runtime.Stack(buf, false)]
}
