package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// Deps is what the store is given.
type Deps struct {
	Log     *slog.Logger          // nil: none
	Metrics prometheus.Registerer // nil: none
}

// Store is the embedded ClickHouse as a component.
type Store struct {
	cfg    Config
	deps   Deps
	ready  chan struct{}
	once   sync.Once
	listen net.Addr
}

// New checks the configuration and touches nothing.
func New(cfg Config, deps Deps) (*Store, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	return &Store{cfg: cfg, deps: deps, ready: make(chan struct{})}, nil
}

// Ready is closed when the store answers.
func (s *Store) Ready() <-chan struct{} { return s.ready }

// ListenAddr is the TCP address in use, once ready; nil when there is none.
func (s *Store) ListenAddr() net.Addr { return s.listen }

// ErrInUse says that another process has the data directory.
var ErrInUse = errors.New("the data directory is in use by another fengsui store")

// Bounds of stopping: requests may finish, then are cancelled, then left.
const (
	stopGrace  = 1500 * time.Millisecond
	stopCancel = 1500 * time.Millisecond
)

// Run serves until ctx ends, then finishes or cancels what is running, within
// 4 s. It can run once in a process's life.
func (s *Store) Run(ctx context.Context) error {
	path, err := s.library()
	if err != nil {
		return err
	}
	dir, err := filepath.Abs(s.cfg.Dir)
	if err != nil {
		return fmt.Errorf("data directory %s: %w", s.cfg.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "store.lock"))
	if err != nil {
		return err
	}
	defer unlock()
	args, err := s.writeEngineConfig(dir)
	if err != nil {
		return err
	}
	lib, err := loadLibrary(path)
	if err != nil {
		return err
	}
	root, err := lib.open(args...)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	closeEngine := func() {
		root.close()
		lib.shutdown()
	}
	srv, err := s.newServer(root, func() (*connection, error) { return lib.open(args...) })
	if err != nil {
		closeEngine()
		return err
	}
	listeners, err := s.listeners()
	if err != nil {
		closeEngine()
		return err
	}
	stopped, err := s.serve(ctx, srv, listeners)
	if !stopped {
		// A query would not end. The engine cannot be closed under it; its data
		// is as safe as after a crash, and the process is about to end.
		return errors.Join(err, errors.New("a query did not end in time; the engine was left open"))
	}
	closeEngine()
	return err
}

func (s *Store) library() (string, error) {
	if err := CheckMachine(); err != nil {
		return "", err
	}
	if s.cfg.Library == "" {
		return FindLibrary()
	}
	if !isFile(s.cfg.Library) {
		return "", fmt.Errorf("store.library: %s: there is no such file", s.cfg.Library)
	}
	return s.cfg.Library, nil
}

// lock takes the file for as long as this process lives; the kernel frees it.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil { //nolint:gosec // a descriptor fits
		_ = f.Close() // nothing was written
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%w: %s is locked", ErrInUse, path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // closing unlocks; it was never written
}

// writeEngineConfig writes the engine's own configuration and returns its
// arguments. Everything the engine writes stays below dir.
func (s *Store) writeEngineConfig(dir string) ([]string, error) {
	data, file := filepath.Join(dir, "data"), filepath.Join(dir, "engine.xml")
	if err := os.MkdirAll(filepath.Join(data, "user_files"), 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	max := s.cfg.MaxMemory
	text := fmt.Sprintf(engineConfig, max, max/2, max/16, max/32, xmlEscape.Replace(data))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, fmt.Errorf("write the engine's configuration: %w", err)
	}
	return []string{"--path=" + data, "--config-file=" + file}, nil
}

var xmlEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

// engineConfig bounds the engine to a small machine. The caches are part of
// max_server_memory_usage.
const engineConfig = `<clickhouse>
  <max_server_memory_usage>%d</max_server_memory_usage>
  <merges_mutations_memory_usage_soft_limit>%d</merges_mutations_memory_usage_soft_limit>
  <mark_cache_size>%d</mark_cache_size>
  <mmap_cache_size>1000</mmap_cache_size>
  <compiled_expression_cache_size>%d</compiled_expression_cache_size>
  <user_files_path>%s/user_files/</user_files_path>
  <timezone>UTC</timezone>
</clickhouse>
`

func (s *Store) newServer(root *connection, open func() (*connection, error)) (*server, error) {
	version, err := root.query("SELECT version()", "TabSeparated")
	if err != nil {
		return nil, fmt.Errorf("ask the engine for its version: %w", err)
	}
	rules, err := newReaderRules(root)
	if err != nil {
		return nil, err
	}
	slots := make(chan struct{}, s.cfg.MaxConcurrent)
	return &server{
		cfg: s.cfg, log: s.deps.Log, open: open, reader: rules,
		version: strings.TrimSpace(string(version)),
		slots:   slots,
		metrics: newMetrics(s.deps.Metrics, func() float64 { return float64(len(slots)) }),
		run:     "fengsui-" + rand.Text()[:8] + "-",
	}, nil
}

type listener struct {
	net.Listener
	trusted bool
}

func (s *Store) listeners() ([]listener, error) {
	path := s.cfg.socketPath()
	// We hold the directory's lock, so a socket left there is a dead process's.
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("remove the old socket: %w", err)
		}
	}
	// Made in a private directory and moved: at no moment can others connect.
	dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
	if err != nil {
		return nil, fmt.Errorf("make the socket: %w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // empty by then; the next start makes another
	private := filepath.Join(dir, "s")
	unixListener, err := net.ListenUnix("unix", &net.UnixAddr{Name: private, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	unixListener.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(private, 0o600), os.Rename(private, path)); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), unixListener.Close())
	}
	ls := []listener{{unixListener, true}}
	if s.cfg.Listen != "" {
		tcp, err := net.Listen("tcp", s.cfg.Listen)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("listen on %s: %w", s.cfg.Listen, err), unixListener.Close())
		}
		s.listen = tcp.Addr()
		ls = append(ls, listener{tcp, false})
	}
	return ls, nil
}

// serve answers until ctx ends or a listener fails, and says whether every
// request has ended.
func (s *Store) serve(ctx context.Context, srv *server, listeners []listener) (stopped bool, err error) {
	requests, cancelRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer cancelRequests()
	var (
		servers []*http.Server
		failed  = make(chan error, len(listeners))
		running sync.WaitGroup
	)
	for _, l := range listeners {
		handler := srv.handler(l.trusted)
		hs := &http.Server{
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				running.Add(1)
				defer running.Done()
				handler.ServeHTTP(w, r)
			}),
			BaseContext:       func(net.Listener) context.Context { return requests },
			ReadHeaderTimeout: 10 * time.Second,
			ReadTimeout:       s.cfg.QueryTimeout,
			IdleTimeout:       5 * time.Minute,
			MaxHeaderBytes:    int(s.cfg.MaxQuery),
			ErrorLog:          slog.NewLogLogger(s.deps.Log.Handler(), slog.LevelWarn),
		}
		servers = append(servers, hs)
		go func() { failed <- hs.Serve(l) }()
	}
	s.deps.Log.Info("store ready", "socket", s.cfg.socketPath(), "tcp", s.listen, "version", srv.version)
	s.once.Do(func() { close(s.ready) })
	select {
	case <-ctx.Done():
	case err = <-failed:
		err = fmt.Errorf("serve: %w", err)
	}
	shutdown(servers, stopGrace)
	cancelRequests()
	shutdown(servers, stopCancel)
	for _, hs := range servers {
		_ = hs.Close() // what is left has been given its time
	}
	return waitFor(&running, stopCancel/2), errors.Join(err, os.Remove(s.cfg.socketPath()))
}

// shutdown lets requests finish, for at most d.
func shutdown(servers []*http.Server, d time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	for _, hs := range servers {
		_ = hs.Shutdown(ctx) // past its time the caller goes on to the next step
	}
}

func waitFor(wg *sync.WaitGroup, d time.Duration) bool {
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}
