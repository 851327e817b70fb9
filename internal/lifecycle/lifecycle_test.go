package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// journal notes what happens in which order.
type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) note(s string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, s)
}

type component struct {
	name  string
	j     *journal
	ready chan struct{}
	die   chan error
}

func (c *component) Ready() <-chan struct{} { return c.ready }

func (c *component) Run(ctx context.Context) error {
	c.j.note("start " + c.name)
	close(c.ready)
	select {
	case <-ctx.Done():
		c.j.note("stop " + c.name)
		return nil
	case err := <-c.die:
		return err
	}
}

func TestSupervisorStopsInReverse(t *testing.T) {
	f := func(death error, wantErr string) {
		t.Helper()
		j := &journal{}
		s := New(quiet(), time.Second)
		parts := map[string]*component{}
		for _, name := range []string{"store", "broker", "analyzer"} {
			parts[name] = &component{name: name, j: j, ready: make(chan struct{}), die: make(chan error, 1)}
			s.Add(name, parts[name])
		}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		err := s.Run(ctx, func() {
			j.note("all ready")
			if death != nil {
				parts["broker"].die <- death
			} else {
				cancel()
			}
		})
		want := []string{"start store", "start broker", "start analyzer", "all ready", "stop analyzer", "stop broker", "stop store"}
		if death != nil {
			want = slices.DeleteFunc(want, func(s string) bool { return s == "stop broker" })
		}
		if !slices.Equal(j.lines, want) {
			t.Errorf("order %q, want %q", j.lines, want)
		}
		if got := fmt.Sprint(err); got != wantErr {
			t.Errorf("error %q, want %q", got, wantErr)
		}
	}
	f(nil, "<nil>")
	f(errors.New("disk full"), "broker: disk full")
}

func TestSupervisorReportsPanicAndTimeout(t *testing.T) {
	s := New(quiet(), 20*time.Millisecond)
	hang := make(chan struct{})
	s.Add("stuck", Func(func(context.Context) error { <-hang; return nil }))
	s.Add("panics", Func(func(context.Context) error { panic("oh") }))
	err := s.Run(context.Background(), nil)
	close(hang)
	if err == nil || !strings.Contains(err.Error(), "panics: panic: oh") || !errors.Is(err, ErrStopTimeout) {
		t.Errorf("got %v", err)
	}
}

// TestChildIsRestarted kills a child and sees another take its place.
func TestChildIsRestarted(t *testing.T) {
	dir := t.TempDir()
	pidFile := filepath.Join(dir, "pid")
	readPid := func() int {
		raw, _ := os.ReadFile(pidFile)
		pid, _ := strconv.Atoi(strings.TrimSpace(string(raw)))
		return pid
	}
	var restarts atomic.Int32
	c := &Child{
		Name: "sleeper", Log: quiet(), Output: io.Discard, StopTimeout: 5 * time.Second,
		Command: func() *exec.Cmd {
			return exec.Command("sh", "-c", `echo $$ > "$0.tmp" && mv "$0.tmp" "$0" && exec sleep 60`, pidFile)
		},
		Probe: func(context.Context) error {
			if readPid() == 0 {
				return errors.New("not yet")
			}
			return nil
		},
		Restarted: func() { restarts.Add(1) },
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- c.Run(ctx) }()
	<-c.Ready()
	first := readPid()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for readPid() == first && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	second := readPid()
	if second == first || restarts.Load() != 1 {
		t.Fatalf("pid %d after %d, %d restarts", second, first, restarts.Load())
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(second, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the child outlived its supervisor: %v", err)
	}
}

func TestChildThatNeverStartsIsAnError(t *testing.T) {
	c := &Child{
		Name: "broken", Log: quiet(), Output: io.Discard, StopTimeout: time.Second,
		Command: func() *exec.Cmd { return exec.Command("sh", "-c", "echo 'no such library' >&2; exit 3") },
		Probe:   func(context.Context) error { return errors.New("no") },
	}
	err := c.Run(context.Background())
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "no such library") {
		t.Errorf("got %v", err)
	}
}
