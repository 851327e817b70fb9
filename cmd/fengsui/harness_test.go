package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/clickhouse"
	"fengsui/internal/store"
	"fengsui/internal/testkit/postgres"
)

// binary is the program as a newcomer has it, built once for all tests.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fengsui-bin-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	defer postgres.Stop()
	binary = filepath.Join(dir, "fengsui")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building fengsui: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// system is a running `fengsui up`, with its data in a folder of the test.
type system struct {
	t       *testing.T
	dir     string
	wrap    []string // what the program is run by, such as ip netns exec
	env     []string
	cmd     *exec.Cmd
	log     *logBuffer
	ready   readyInfo
	metrics string
	exited  chan error
}

// newSystem prepares a system: configuration is written to the data directory.
// It skips where ClickHouse as a library is not installed.
func newSystem(t *testing.T, configuration string) *system {
	t.Helper()
	library, err := store.FindLibrary()
	if err != nil {
		t.Skipf("no embedded ClickHouse: %v", err)
	}
	// Unix sockets have short names: the folder of a test with a long name would
	// not do.
	dir, err := os.MkdirTemp("", "fengsui-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	write(t, filepath.Join(dir, "fengsui.yaml"), configuration)
	return &system{t: t, dir: dir, env: append(os.Environ(), store.LibraryEnv+"="+library)}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// loopback is a configuration on free ports, for newSystem: more sections may be
// appended to it.
const loopback = `
console: {listen: "127.0.0.1:0"}
`

// start runs `fengsui up` and waits until it is ready.
func (s *system) start() {
	s.t.Helper()
	s.log, s.ready = &logBuffer{}, readyInfo{}
	args := append(append([]string{}, s.wrap...), binary, "up", "--json", "--data-dir", s.dir)
	s.cmd = exec.Command(args[0], args[1:]...)
	s.cmd.Env = s.env
	s.cmd.Stderr = s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.exited = make(chan error, 1)
	line := make(chan []byte, 1)
	go func() {
		r := bufio.NewReader(out)
		first, _ := r.ReadBytes('\n')
		line <- first
		_, _ = io.Copy(io.Discard, r)
		s.exited <- s.cmd.Wait()
	}()
	s.t.Cleanup(func() {
		s.kill()
		if s.t.Failed() {
			s.t.Logf("the end of the system's log:\n%s", s.log.tail(6000))
		}
	})
	select {
	case first := <-line:
		if err := json.Unmarshal(first, &s.ready); err != nil {
			s.t.Fatalf("fengsui up said %q: %v\n%s", first, err, s.log.tail(4000))
		}
	case <-time.After(90 * time.Second):
		s.t.Fatalf("fengsui up is not ready after 90 s\n%s", s.log.tail(4000))
	}
}

// stop ends the system as Ctrl-C does, and fails the test when that is not clean
// within 10 s.
func (s *system) stop() {
	s.t.Helper()
	if s.cmd == nil {
		return
	}
	begin := time.Now()
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		s.t.Fatal(err)
	}
	select {
	case err := <-s.exited:
		s.cmd = nil
		if err != nil {
			s.t.Errorf("fengsui up ended with %v\n%s", err, s.log.tail(4000))
		}
		s.t.Logf("stopped in %v", time.Since(begin).Round(time.Millisecond))
	case <-time.After(10 * time.Second):
		s.t.Errorf("fengsui up did not stop within 10 s\n%s", s.log.tail(4000))
		s.kill()
	}
}

// kill ends `fengsui up` as kill -9 does, its children with it.
func (s *system) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	<-s.exited
	s.cmd = nil
}

// child is the process id of a child process of `up`, 0 if there is none.
func (s *system) child(service string) int {
	entries, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range entries {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		args := strings.Split(string(raw), "\x00")
		if len(args) > 3 && args[0] == binary && args[1] == service && args[3] == s.dir {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return pid
		}
	}
	return 0
}

// killChild ends a child process with kill -9 and returns once there is another.
func (s *system) killChild(service string) {
	s.t.Helper()
	before := s.child(service)
	if before == 0 {
		s.t.Fatalf("no %s runs", service)
	}
	if err := syscall.Kill(before, syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
	s.eventually(30*time.Second, service+" is started again", func() error {
		if now := s.child(service); now == 0 || now == before {
			return errors.New("not yet")
		}
		return nil
	})
}

// run runs another command of the program on this system's data and returns what
// it wrote; a failure fails the test.
func (s *system) run(args ...string) string {
	s.t.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.t.Fatalf("fengsui %s: %v", strings.Join(args, " "), err)
	}
	return out
}

func (s *system) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	all := append(append([]string{}, s.wrap...), binary)
	all = append(append(all, args...), "--data-dir", s.dir)
	cmd := exec.CommandContext(ctx, all[0], all[1:]...)
	cmd.Env = s.env
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w: %s", err, errOut.String())
	}
	return out.String(), nil
}

// find runs a query command (events, alerts, mining, assets, drift) and decodes
// its rows.
func find[T any](s *system, kind, query string) []T {
	s.t.Helper()
	rows, err := tryFind[T](s, kind, query)
	if err != nil {
		s.t.Fatal(err)
	}
	return rows
}

func tryFind[T any](s *system, kind, query string) ([]T, error) {
	out, err := s.try(kind, "--json", "--limit", "10000", query)
	if err != nil {
		return nil, err
	}
	var rows []T
	for line := range strings.Lines(out) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", kind, line, err)
		}
		rows = append(rows, v)
	}
	return rows, nil
}

// db opens the system's ClickHouse.
func (s *system) db() *clickhouse.DB {
	s.t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	db, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { db.Close() })
	return db
}

// count asks ClickHouse for one number.
func (s *system) count(db *clickhouse.DB, query string, args ...any) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var n uint64
	err := db.QueryRow(ctx, query, args...).Scan(&n)
	return n, err
}

// input is where an input listens, such as "127.0.0.1:5514".
func (s *system) input(name, network string) string {
	s.t.Helper()
	for _, url := range s.ready.Inputs[name] {
		if addr, ok := strings.CutPrefix(url, network+"://"); ok {
			return addr
		}
	}
	s.t.Fatalf("input %s does not listen on %s: %v", name, network, s.ready.Inputs)
	return ""
}

// metric is the sum of a metric of `up` over its labels; the configuration must
// set metrics.listen, and s.metrics its address.
func (s *system) metric(name string) float64 {
	s.t.Helper()
	res, err := http.Get("http://" + s.metrics + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	sum := 0.0
	lines := bufio.NewScanner(res.Body)
	for lines.Scan() {
		rest, ok := strings.CutPrefix(lines.Text(), name)
		if !ok || rest == "" || rest[0] != ' ' && rest[0] != '{' {
			continue
		}
		fields := strings.Fields(rest)
		v, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err == nil {
			sum += v
		}
	}
	return sum
}

// eventually polls until check returns nil, and fails the test after three times the
// limit, which is what a quiet machine needs at most.
func (s *system) eventually(limit time.Duration, what string, check func() error) {
	s.t.Helper()
	const patience = 3
	deadline := time.Now().Add(patience * limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("after %v, %s: %v", patience*limit, what, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// logBuffer keeps what was written, safe for a process that still writes.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail(n int) string {
	s := l.String()
	return s[max(0, len(s)-n):]
}
