package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Child keeps another process running: it starts it, waits until it can be
// used, passes its log on, and starts it again when it dies. Stopping sends
// SIGTERM, and SIGKILL after StopTimeout. The child dies with this process.
type Child struct {
	Name        string
	Command     func() *exec.Cmd                // a new command for each start
	Probe       func(ctx context.Context) error // nil when the child can be used
	StopTimeout time.Duration
	Log         *slog.Logger
	Output      io.Writer // where the child's log goes, as it is
	Restarted   func()    // called for each start after the first; may be nil

	once  sync.Once
	ready chan struct{}
}

// The wait before a restart doubles from the first to the second as long as
// the child dies within steadyAfter of its start.
const (
	restartFirst = 200 * time.Millisecond
	restartMost  = 10 * time.Second
	steadyAfter  = 30 * time.Second
	probeEvery   = 50 * time.Millisecond
)

func (c *Child) init() { c.once.Do(func() { c.ready = make(chan struct{}) }) }

// Ready is closed when the child can be used for the first time.
func (c *Child) Ready() <-chan struct{} {
	c.init()
	return c.ready
}

// Run keeps the child running until ctx ends. A child that dies before it could
// be used even once is an error of its own: it would not get better.
func (c *Child) Run(ctx context.Context) error {
	c.init()
	wait := restartFirst
	for first := true; ; first = false {
		if !first && c.Restarted != nil {
			c.Restarted()
		}
		started := time.Now()
		err := c.runOnce(ctx, first)
		if ctx.Err() != nil {
			return nil
		}
		if first {
			select {
			case <-c.ready:
			default:
				return fmt.Errorf("%s did not start: %w", c.Name, err)
			}
		}
		if time.Since(started) > steadyAfter {
			wait = restartFirst
		}
		c.Log.Error("child process ended; restarting", "child", c.Name, "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		wait = min(2*wait, restartMost)
	}
}

func (c *Child) runOnce(ctx context.Context, first bool) error {
	cmd := c.Command()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	// A process group of its own keeps the terminal's Ctrl-C from reaching the
	// child before its users have stopped. Pdeathsig is bound to the thread that
	// started the child, so that thread is held for the child's life.
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("starting %s: %w", c.Name, err)
	}
	exited := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			started <- err
			return
		}
		started <- nil
		var last string
		copied := make(chan struct{})
		go func() {
			defer close(copied)
			last = c.passLog(stderr)
		}()
		<-copied // before Wait, which closes the pipe
		err := cmd.Wait()
		if err == nil {
			err = errors.New("exit status 0")
		}
		if last != "" {
			err = fmt.Errorf("%w: %s", err, last)
		}
		exited <- err
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", c.Name, err)
	}
	c.Log.Debug("child process started", "child", c.Name, "pid", cmd.Process.Pid)
	probing, stopProbing := context.WithCancel(ctx)
	defer stopProbing()
	if first {
		go c.probe(probing)
	}
	select {
	case err := <-exited:
		return err
	case <-ctx.Done():
		return c.stop(cmd, exited)
	}
}

func (c *Child) stop(cmd *exec.Cmd, exited <-chan error) error {
	_ = cmd.Process.Signal(syscall.SIGTERM) // already gone is as good
	timer := time.NewTimer(c.StopTimeout)
	defer timer.Stop()
	select {
	case <-exited:
		return nil
	case <-timer.C:
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("%s: %w, killed", c.Name, ErrStopTimeout)
	}
}

// probe closes ready once the child answers.
func (c *Child) probe(ctx context.Context) {
	for {
		if c.Probe == nil || c.Probe(ctx) == nil {
			if ctx.Err() == nil {
				close(c.ready)
			}
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(probeEvery):
		}
	}
}

// passLog passes the child's lines on and returns the last one, which tells why
// a child died.
func (c *Child) passLog(r io.Reader) (last string) {
	lines := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		if len(line) > 0 {
			last = strings.TrimSuffix(string(line), "\n")
			if _, err := c.Output.Write(line); err != nil {
				c.Log.Warn("passing the child's log on", "child", c.Name, "error", err)
			}
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return last
		}
	}
}
