package store

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"time"
)

// The two users. Over the unix socket the file's mode is the authentication.
const (
	UserFull   = "fengsui" // everything
	UserReader = "reader"  // reads tables, under bounds: for a person's own SQL
)

// Config says where the data is, who may reach it and how much it may use.
type Config struct {
	Dir            string        `koanf:"dir"`                           // data directory, made with mode 0700
	Library        string        `koanf:"library"`                       // libchdb.so; empty: see FindLibrary
	Socket         string        `koanf:"socket"`                        // path of the unix socket; empty: store.sock in Dir
	Listen         string        `koanf:"listen"`                        // loopback address and port, such as 127.0.0.1:8123; empty: none
	Password       string        `koanf:"password" secret:"true"`        // of the user fengsui on Listen
	ReaderPassword string        `koanf:"reader_password" secret:"true"` // of the user reader on Listen; empty: reader is refused there
	MaxMemory      int64         `koanf:"max_memory"`                    // bytes the engine may use; a query over it fails with code 241
	MaxConcurrent  int           `koanf:"max_concurrent"`                // requests at once; more wait QueueTime, then are refused with code 202
	QueueTime      time.Duration `koanf:"queue_time"`
	MaxQuery       int64         `koanf:"max_query"`      // bytes of a query's text
	MaxInsert      int64         `koanf:"max_insert"`     // bytes of one INSERT's data
	QueryTimeout   time.Duration `koanf:"query_timeout"`  // of any request
	ReaderTimeout  time.Duration `koanf:"reader_timeout"` // of a request of the user reader
	ReaderResult   int64         `koanf:"reader_result"`  // bytes of a result of the user reader
}

// DefaultConfig is for a machine of 2 cores and 8 GiB; Dir must be set.
func DefaultConfig() Config {
	return Config{
		MaxMemory:     2 << 30,
		MaxConcurrent: 64,
		QueueTime:     10 * time.Second,
		MaxQuery:      4 << 20,
		MaxInsert:     512 << 20,
		QueryTimeout:  10 * time.Minute,
		ReaderTimeout: time.Minute,
		ReaderResult:  256 << 20,
	}
}

// maxSocketPath is what sockaddr_un.sun_path holds, less its final NUL: unix(7).
const maxSocketPath = 107

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("store."+format, args...)) }
	if c.Dir == "" {
		bad("dir: missing")
	}
	if n := len(c.socketPath()); n > maxSocketPath {
		bad("socket: %s has %d bytes; a unix socket's path has at most %d", c.socketPath(), n, maxSocketPath)
	}
	if c.Listen != "" {
		at, err := netip.ParseAddrPort(c.Listen)
		switch {
		case err != nil:
			bad("listen: %q: want address:port: %w", c.Listen, err)
		case !at.Addr().IsLoopback():
			bad("listen: %s is not a loopback address; the store answers this machine only", at.Addr())
		case c.Password == "":
			bad("password: missing, and listen is set")
		}
	}
	if c.ReaderPassword != "" && c.ReaderPassword == c.Password {
		bad("reader_password: the same as password")
	}
	if c.MaxMemory < 256<<20 {
		bad("max_memory: %d: the engine needs at least 268435456 (256 MiB)", c.MaxMemory)
	}
	positive := func(name string, n int64) {
		if n <= 0 {
			bad("%s: %d: must be positive", name, n)
		}
	}
	positive("max_concurrent", int64(c.MaxConcurrent))
	positive("queue_time", int64(c.QueueTime))
	positive("max_query", c.MaxQuery)
	positive("max_insert", c.MaxInsert)
	positive("query_timeout", int64(c.QueryTimeout))
	positive("reader_timeout", int64(c.ReaderTimeout))
	positive("reader_result", c.ReaderResult)
	return errors.Join(errs...)
}

func (c Config) socketPath() string {
	if c.Socket != "" {
		return c.Socket
	}
	return filepath.Join(c.Dir, "store.sock")
}

// Addr is the store's address for clickhouse.Config: "unix://" and the path.
func (c Config) Addr() string { return "unix://" + c.socketPath() }
