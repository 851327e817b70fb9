// Package kafka gives tests a broker in a process of its own, so that it can be
// killed: the embedded one, or Apache Kafka where FENGSUI_KAFKA_LIBS names the
// folder of its jars (see deploy/kafka). Where FENGSUI_KAFKA_BROKERS names a
// running one, tests use that, and those that kill it are skipped.
//
// It is for tests only, and listens on loopback only.
package kafka

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/broker"
)

// The names of the environment variables.
const (
	EnvBrokers = "FENGSUI_KAFKA_BROKERS" // host:port, comma between: a Kafka that runs already
	EnvLibs    = "FENGSUI_KAFKA_LIBS"    // folder of Apache Kafka's jars

	envDir    = "FENGSUI_TEST_BROKER_DIR"
	envListen = "FENGSUI_TEST_BROKER_LISTEN"
	envSync   = "FENGSUI_TEST_BROKER_SYNC"
)

// Main is called first in a package's TestMain: in the child process it is the
// embedded broker and does not return.
func Main() {
	dir := os.Getenv(envDir)
	if dir == "" {
		return
	}
	cfg := broker.DefaultConfig()
	cfg.Dir, cfg.Listen, cfg.Sync = dir, os.Getenv(envListen), os.Getenv(envSync) != ""
	cfg.RetentionInterval = time.Second
	b, err := broker.New(cfg, broker.Deps{Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		err = b.Run(ctx)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Broker is a Kafka in a process of its own.
type Broker struct {
	Addr  string // host:port of one broker
	Dir   string // where it keeps its log; "" if it is not ours
	start func() *exec.Cmd

	mu   sync.Mutex
	cmd  *exec.Cmd
	gone chan struct{}
	out  *bytes.Buffer
}

// Start starts a broker with an empty log for this test and kills it at its end.
func Start(t testing.TB) *Broker {
	t.Helper()
	if addr := os.Getenv(EnvBrokers); addr != "" {
		return &Broker{Addr: strings.Split(addr, ",")[0]}
	}
	b := &Broker{Dir: filepath.Join(t.TempDir(), "kafka")}
	b.Addr = freePorts(t)
	if libs := os.Getenv(EnvLibs); libs != "" {
		_, port, _ := net.SplitHostPort(b.Addr)
		b.start = func() *exec.Cmd {
			cmd := exec.Command(script(), b.Dir, port) //nolint:gosec // our own script
			cmd.Env = append(os.Environ(), "KAFKA_LIBS="+libs)
			return cmd
		}
	} else {
		b.start = func() *exec.Cmd {
			cmd := exec.Command(os.Args[0]) //nolint:gosec // this test binary
			cmd.Env = append(os.Environ(), envDir+"="+b.Dir, envListen+"="+b.Addr)
			return cmd
		}
	}
	b.Restart(t)
	t.Cleanup(func() {
		b.Kill()
		if t.Failed() {
			t.Logf("the broker said:\n%s", b.out)
		}
	})
	return b
}

// Restart starts the broker again at the same address with the same log, and
// waits until it takes connections.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.out == nil {
		b.out = new(bytes.Buffer)
	}
	b.cmd = b.start()
	b.cmd.Stdout, b.cmd.Stderr = b.out, b.out
	b.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := b.startCmd(); err != nil {
		t.Fatalf("starting the broker: %v", err)
	}
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.DialTimeout("tcp", b.Addr, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			_ = b.cmd.Process.Kill()
			<-b.gone
			t.Fatalf("the broker does not listen on %s: %v\n%s", b.Addr, err, b.out)
		}
	}
}

// startCmd starts the child from a thread that stays until the child is gone:
// Pdeathsig is sent when the thread that started it ends, not the process.
func (b *Broker) startCmd() error {
	cmd, started := b.cmd, make(chan error, 1)
	b.gone = make(chan struct{})
	gone := b.gone
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(gone)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	return <-started
}

// Kill kills the broker with SIGKILL and waits until it is gone.
func (b *Broker) Kill() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return
	}
	_ = b.cmd.Process.Kill()
	<-b.gone
	b.cmd = nil
}

// Stop asks the broker to stop, and waits until it has.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.gone:
		b.cmd = nil
	case <-time.After(time.Minute):
		t.Fatal("the broker does not stop")
	}
}

// NeedsKill skips the test where the broker is not ours to kill.
func (b *Broker) NeedsKill(t testing.TB) {
	t.Helper()
	if b.start == nil {
		t.Skipf("%s names a broker that is not ours to kill", EnvBrokers)
	}
}

// PID is the broker's process; 0 if it is not ours.
func (b *Broker) PID() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cmd == nil {
		return 0
	}
	return b.cmd.Process.Pid
}

// freePorts returns an address whose port, and the one after it, are free.
func freePorts(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("looking for a free port: %v", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		next, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port+1)))
		_ = l.Close()
		if err == nil {
			_ = next.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no two free ports in a row")
	return ""
}

// script is deploy/kafka/run.sh.
func script() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..", "deploy", "kafka", "run.sh")
}
