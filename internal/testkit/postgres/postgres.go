// Package postgres gives tests a real PostgreSQL: one server for a test binary,
// on a unix socket in a directory of its own, and an empty database for each
// test. It is for tests only, and never touches another server.
package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Server is a PostgreSQL that the test binary has started.
type server struct {
	dir string
	cmd *exec.Cmd
}

var (
	once    sync.Once
	running *server
	startup error
	made    int
	mu      sync.Mutex // guards made
)

// errMissing says that this machine has no PostgreSQL.
var errMissing = errors.New("no PostgreSQL server on this machine (Debian: postgresql)")

// Database is the DSN of a new empty database, which is gone at the end of the
// test. The server is started at the first call; call Stop in TestMain. Where
// there is no PostgreSQL the test is skipped, or fails in CI.
func Database(t testing.TB) (dsn string) {
	t.Helper()
	once.Do(func() { running, startup = start() })
	if errors.Is(startup, errMissing) && os.Getenv("CI") == "" {
		t.Skip(startup)
	}
	if startup != nil {
		t.Fatal(startup)
	}
	mu.Lock()
	made++
	name := "test" + strconv.Itoa(made)
	mu.Unlock()
	if err := running.do("CREATE DATABASE " + name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := running.do("DROP DATABASE " + name + " WITH (FORCE)"); err != nil {
			t.Error(err)
		}
	})
	return running.dsn(name)
}

// Cut ends every connection to a database, as the end of a network would.
func Cut(t testing.TB, dsn string) {
	t.Helper()
	db, err := sql.Open("pgx", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"); err != nil {
		t.Fatal(err)
	}
}

// Stop ends the server, if one was started, and removes its directory.
func Stop() {
	if running != nil {
		running.stop()
	}
}

func (s *server) dsn(database string) string {
	return fmt.Sprintf("host=%s user=fengsui dbname=%s", s.dir, database)
}

func (s *server) do(statement string) error {
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		return fmt.Errorf("%s: %w", statement, err)
	}
	return nil
}

// programs is the directory of the newest server that Debian has installed.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", errMissing
	}
	newest := slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })
	return filepath.Dir(newest), nil
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no version
	return n
}

func start() (*server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pg") // short: a socket's path has at most 107 bytes
	if err != nil {
		return nil, err
	}
	s := &server{dir: dir}
	as, err := unprivileged(dir)
	if err != nil {
		s.stop()
		return nil, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--no-sync", "--no-instructions", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--username=fengsui", "--pgdata="+data)
	initdb.SysProcAttr, initdb.Dir = as, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		s.stop()
		return nil, fmt.Errorf("initdb: %w: %s", err, out)
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		s.stop()
		return nil, err
	}
	defer log.Close()
	s.cmd = exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "shared_buffers=16MB")
	s.cmd.SysProcAttr, s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = as, dir, log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		s.stop()
		return nil, fmt.Errorf("starting PostgreSQL: %w", err)
	}
	if err := s.wait(); err != nil {
		said, _ := os.ReadFile(log.Name())
		s.stop()
		return nil, fmt.Errorf("PostgreSQL does not answer: %w: %s", err, said)
	}
	return s, nil
}

// unprivileged is who the server runs as: it refuses to be root.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("root cannot run PostgreSQL: %w", err)
	}
	uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(errUID, errGID, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

func (s *server) wait() error {
	db, err := sql.Open("pgx", s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer db.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = db.PingContext(context.Background()); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

func (s *server) stop() {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(syscall.SIGINT) // PostgreSQL's fast shutdown
		_ = s.cmd.Wait()
	}
	_ = os.RemoveAll(s.dir)
}
