// Package clickhouse is the one way to ClickHouse, be it a server, a cluster or
// the embedded store: connecting, making the tables, writing batches that may be
// sent again without harm, and reading back.
//
// It never decides what to write, and never retries: IsRetryable tells the
// caller what may be tried again.
package clickhouse

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// The protocols.
const (
	HTTP   = "http"
	Native = "native"
)

// Config says where ClickHouse is.
type Config struct {
	Addr        string        `koanf:"addr"`     // "unix:///path" of the embedded store, or host:port
	Protocol    string        `koanf:"protocol"` // http or native; the embedded store has http
	Database    string        `koanf:"database"`
	User        string        `koanf:"user"`
	Password    string        `koanf:"password" secret:"true"`
	TLS         bool          `koanf:"tls"`
	CAFile      string        `koanf:"ca_file"` // PEM; empty: the system's
	Cluster     string        `koanf:"cluster"` // name for ON CLUSTER, with replicated engines; empty: one server
	MaxConns    int           `koanf:"max_conns"`
	DialTimeout time.Duration `koanf:"dial_timeout"`
	ReadTimeout time.Duration `koanf:"read_timeout"` // from a request to its answer's first byte
}

// DefaultConfig is the embedded store; Addr must be set.
func DefaultConfig() Config {
	return Config{
		Protocol: HTTP, Database: "fengsui", User: "fengsui", MaxConns: 10,
		DialTimeout: 10 * time.Second, ReadTimeout: 5 * time.Minute,
	}
}

// Validate says what is wrong with the configuration.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("clickhouse."+format, args...)) }
	path, unix := c.socket()
	switch {
	case c.Addr == "":
		bad("addr: missing")
	case unix && !filepath.IsAbs(path):
		bad("addr: %q: a socket's path must be absolute", c.Addr)
	case unix && c.Protocol == Native:
		bad("protocol: a unix socket has http")
	case unix && c.TLS:
		bad("tls: a unix socket has none")
	case !unix:
		if _, port, err := net.SplitHostPort(c.Addr); err != nil || port == "" {
			bad("addr: %q: want host:port or unix:///path", c.Addr)
		}
	}
	if c.Protocol != HTTP && c.Protocol != Native {
		bad("protocol: %q: want %s or %s", c.Protocol, HTTP, Native)
	}
	if c.Database == "" || c.Database == "default" {
		bad("database: %q: want a name of its own", c.Database)
	}
	if c.CAFile != "" && !c.TLS {
		bad("ca_file: set, and tls is off")
	}
	if c.MaxConns < 1 {
		bad("max_conns: %d: must be positive", c.MaxConns)
	}
	if c.DialTimeout <= 0 {
		bad("dial_timeout: %s: must be positive", c.DialTimeout)
	}
	if c.ReadTimeout <= 0 {
		bad("read_timeout: %s: must be positive", c.ReadTimeout)
	}
	return errors.Join(errs...)
}

// socket is the path of a unix socket, where Addr is one.
func (c Config) socket() (string, bool) { return strings.CutPrefix(c.Addr, "unix://") }

// DB is a pool of connections to one database. Its embedded driver.Conn is for
// what the rest of this package does not do.
type DB struct {
	driver.Conn
	cfg Config

	part struct { // what SearchPart has found
		sync.Mutex
		name string
		at   time.Time
	}
}

// Open makes the pool and connects to nothing yet.
func Open(cfg Config) (*DB, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	opts, err := cfg.options(cfg.Database)
	if err != nil {
		return nil, err
	}
	conn, err := ch.Open(opts)
	if err != nil {
		return nil, fmt.Errorf("clickhouse at %s: %w", cfg.Addr, err)
	}
	return &DB{Conn: conn, cfg: cfg}, nil
}

func (c Config) options(database string) (*ch.Options, error) {
	opts := &ch.Options{
		Addr:        []string{c.Addr},
		Protocol:    ch.HTTP,
		Auth:        ch.Auth{Database: database, Username: c.User, Password: c.Password},
		Compression: c.compression(),
		DialTimeout: c.DialTimeout, ReadTimeout: c.ReadTimeout,
		MaxOpenConns: c.MaxConns, MaxIdleConns: c.MaxConns,
		ConnMaxLifetime: time.Hour,
	}
	if c.Protocol == Native {
		opts.Protocol = ch.Native
	}
	if path, ok := c.socket(); ok {
		opts.Addr = []string{"localhost"} // a proxy in the environment is not asked for it
		opts.DialContext = func(ctx context.Context, _ string) (net.Conn, error) {
			d := net.Dialer{Timeout: c.DialTimeout}
			return d.DialContext(ctx, "unix", path)
		}
	}
	if c.TLS {
		opts.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if c.CAFile != "" {
			pem, err := os.ReadFile(c.CAFile)
			if err != nil {
				return nil, fmt.Errorf("clickhouse.ca_file: %w", err)
			}
			opts.TLS.RootCAs = x509.NewCertPool()
			if !opts.TLS.RootCAs.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("clickhouse.ca_file: %s holds no certificate", c.CAFile)
			}
		}
	}
	return opts, nil
}

// compression is none on this machine. Elsewhere HTTP has gzip: with LZ4 and
// ZSTD the driver takes a row that holds the text "__exception__" for an error.
func (c Config) compression() *ch.Compression {
	if c.Protocol == Native {
		return &ch.Compression{Method: ch.CompressionLZ4}
	}
	host, _, _ := net.SplitHostPort(c.Addr)
	ip, err := netip.ParseAddr(host)
	if _, unix := c.socket(); unix || host == "localhost" || err == nil && ip.IsLoopback() {
		return &ch.Compression{Method: ch.CompressionNone}
	}
	return &ch.Compression{Method: ch.CompressionGZIP, Level: 1}
}

// Codes of exceptions after which the same statement can succeed later.
var retryableCodes = map[int32]bool{
	159: true, // TIMEOUT_EXCEEDED
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	203: true, // NO_FREE_CONNECTION
	209: true, // SOCKET_TIMEOUT
	210: true, // NETWORK_ERROR
	241: true, // MEMORY_LIMIT_EXCEEDED
	242: true, // TABLE_IS_READ_ONLY: a replica without its keeper
	243: true, // NOT_ENOUGH_SPACE
	252: true, // TOO_MANY_PARTS
	285: true, // TOO_FEW_LIVE_REPLICAS
	286: true, // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
	319: true, // UNKNOWN_STATUS_OF_INSERT
	394: true, // QUERY_WAS_CANCELLED: the server is stopping
	425: true, // SYSTEM_ERROR
	999: true, // KEEPER_EXCEPTION
}

// IsRetryable says whether what failed with err may succeed unchanged later: the
// connection broke, or the server is overloaded, starting, stopping or full. A
// statement that the server refuses, and an ended context, are not.
func IsRetryable(err error) bool {
	var ex *ch.Exception
	switch {
	case err == nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &ex):
		return retryableCodes[ex.Code]
	case errors.Is(err, ErrEncoding):
		return false
	}
	var http *ch.HTTPError
	if errors.As(err, &http) {
		return http.StatusCode >= 500 || http.StatusCode == 429 // a proxy's word, not ClickHouse's
	}
	return true
}

// ErrEncoding says that a batch could not be written down; it never can be.
var ErrEncoding = errors.New("cannot be encoded")
