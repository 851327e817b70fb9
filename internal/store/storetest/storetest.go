// Package storetest gives a test the real embedded store, in a process of its
// own: the test's program run again. It is for tests only.
//
//	func TestMain(m *testing.M) { storetest.Main(m, goleak.VerifyTestMain) }
//	func TestX(t *testing.T) { s := storetest.Start(t); … s.Config.Addr() … }
package storetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/store"
)

const childEnv = "FENGSUI_STORETEST_CHILD"

// readyLine is what the child prints once it answers.
const readyLine = "ready"

// Main is for TestMain. In the child it serves and never returns; else it runs
// the tests, by run where it is given (such as one that looks for leaks).
func Main(m *testing.M, run func(*testing.M)) {
	if text := os.Getenv(childEnv); text != "" {
		os.Exit(child(text))
	}
	if run != nil {
		run(m)
		return
	}
	os.Exit(m.Run())
}

func child(text string) int {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	fail := func(err error) int {
		log.Error("store", "error", err)
		return 1
	}
	var cfg store.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return fail(err)
	}
	s, err := store.New(cfg, store.Deps{Log: log})
	if err != nil {
		return fail(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	// The child must not outlive the test: its standard input ends with it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	go func() {
		select {
		case <-s.Ready():
			tcp := ""
			if a := s.ListenAddr(); a != nil {
				tcp = a.String()
			}
			_, _ = os.Stdout.WriteString(readyLine + " " + tcp + "\n")
		case <-ctx.Done():
		}
	}()
	if err := s.Run(ctx); err != nil {
		return fail(err)
	}
	return 0
}

// Store is a running store.
type Store struct {
	Config store.Config
	TCP    string // the address of Config.Listen, when set
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.Closer
	stderr *strings.Builder
	done   chan struct{}
	err    error
}

// Config is the default configuration with a directory of the test's own.
func Config(t testing.TB) store.Config {
	t.Helper()
	cfg := store.DefaultConfig()
	// Not t.TempDir(): a test's long name would not fit a unix socket's path.
	dir, err := os.MkdirTemp("", "fss")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg.Dir = filepath.Join(dir, "d")
	return cfg
}

// Start runs a store until the test ends, or skips the test where libchdb
// cannot run.
func Start(t testing.TB) *Store {
	t.Helper()
	return StartWith(t, Config(t))
}

// StartWith is Start with a configuration.
func StartWith(t testing.TB, cfg store.Config) *Store {
	t.Helper()
	s, err := TryStart(t, cfg)
	if err != nil {
		t.Fatalf("start the store: %v", err)
	}
	return s
}

// TryStart is StartWith, for a store that may refuse to start.
func TryStart(t testing.TB, cfg store.Config) (*Store, error) {
	t.Helper()
	Require(t)
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	s := &Store{Config: cfg, t: t, cmd: cmd, stderr: &strings.Builder{}, done: make(chan struct{})}
	cmd.Stderr = s.stderr
	if s.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	ready := lines.Scan() && strings.HasPrefix(lines.Text(), readyLine)
	if ready {
		s.TCP = strings.TrimSpace(strings.TrimPrefix(lines.Text(), readyLine))
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		s.err = cmd.Wait()
		close(s.done)
	}()
	t.Cleanup(func() { _ = s.Stop() })
	if !ready {
		<-s.done
		return nil, errors.New(s.stderr.String())
	}
	return s, nil
}

// Require skips the test where libchdb cannot run.
func Require(t testing.TB) {
	t.Helper()
	if err := store.CheckMachine(); err != nil {
		t.Skip(err)
	}
	if _, err := store.FindLibrary(); err != nil {
		t.Skip(err)
	}
}

// Stop ends the store as a supervisor does, and returns what it died of.
func (s *Store) Stop() error {
	_ = s.stdin.Close() // it may be gone already
	select {
	case <-s.done:
	case <-time.After(10 * time.Second):
		s.t.Errorf("the store did not stop in 10 s")
		s.Kill()
	}
	if s.err != nil {
		return errors.Join(s.err, errors.New(s.stderr.String()))
	}
	return nil
}

// Kill ends the store as a crash does (SIGKILL).
func (s *Store) Kill() {
	_ = s.cmd.Process.Kill() // it may be gone already
	<-s.done
}

// PID is the store's process.
func (s *Store) PID() int { return s.cmd.Process.Pid }

// Done is closed when the process has ended.
func (s *Store) Done() <-chan struct{} { return s.done }
