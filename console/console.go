// Package console is the API and the page: what people see of the network, and
// the decisions they take about it. It never judges and never scans: decisions
// go to the registry, and what is shown was written by the analyzer.
package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alexedwards/scs/v2"
	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/clickhouse"
	"fengsui/registry"
	"fengsui/schemas"
)

// Config is the console's configuration.
type Config struct {
	Listen          string        `koanf:"listen"`           // address and port
	SessionLifetime time.Duration `koanf:"session_lifetime"` // a login lasts this long
	SessionIdle     time.Duration `koanf:"session_idle"`     // and ends after this long without a request
	TLS             TLSConfig     `koanf:"tls"`
}

// TLSConfig turns TLS on. Files are PEM.
type TLSConfig struct {
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// DefaultConfig listens on loopback.
func DefaultConfig() Config {
	return Config{Listen: "127.0.0.1:8088", SessionLifetime: 12 * time.Hour, SessionIdle: time.Hour}
}

// Validate checks the configuration. Beyond loopback only TLS is served, since a
// password goes over it.
func (c Config) Validate() error {
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		return errors.New("tls: cert and key go together")
	}
	if c.TLS.Cert == "" && !isLoopback(host) {
		return fmt.Errorf("listen: %s is not loopback, so tls.cert and tls.key are needed", c.Listen)
	}
	if c.SessionLifetime <= 0 || c.SessionIdle <= 0 {
		return errors.New("session_lifetime and session_idle must be above zero")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Deps is what the console stands on.
type Deps struct {
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	Gatherer prometheus.Gatherer
	Registry *registry.Registry
	Store    *clickhouse.DB

	Scanners Scanners // nil: scans are neither seen nor started nor stopped here
}

// Console is the service. It is inert until Run.
type Console struct {
	cfg      Config
	deps     Deps
	router   *chi.Mux
	handler  http.Handler // the router behind what holds for every request
	api      huma.API
	ready    chan struct{}
	addr     net.Addr
	loopback bool // it listens on loopback: nobody may call it by another name

	sessions    *scs.SessionManager
	attempts    *attempts
	directories directories
	searching   chan struct{}
	planning    chan struct{}
	leftOut     leftOuts
	grown, live *reading[byUnit]
	newestMu    sync.Mutex
	newest      map[string]*reading[[]schemas.Alert] // by the unit of who looks
	streams     atomic.Int64

	requests *prometheus.CounterVec
	logins   *prometheus.CounterVec
}

// New checks the configuration and builds the routes; it listens to nothing.
func New(cfg Config, deps Deps) (*Console, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c := &Console{
		cfg: cfg, deps: deps, router: chi.NewMux(), ready: make(chan struct{}),
		attempts: newAttempts(), searching: make(chan struct{}, maxSearches), planning: make(chan struct{}, 1),
		grown: newReading[byUnit](), live: newReading[byUnit](), newest: map[string]*reading[[]schemas.Alert]{},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_console_requests_total", Help: "Requests to the API, by operation and status.",
		}, []string{"operation", "status"}),
		logins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_console_logins_total", Help: "Attempts to log in: ok, wrong, or limited.",
		}, []string{"result"}),
	}
	if err := errors.Join(deps.Metrics.Register(c.requests), deps.Metrics.Register(c.logins)); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	host, _, _ := net.SplitHostPort(cfg.Listen)
	c.loopback = isLoopback(host)
	c.sessions = c.newSessions()
	if err := c.route(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return c, nil
}

// Ready is closed when the console listens.
func (c *Console) Ready() <-chan struct{} { return c.ready }

// URL is the console's address, once ready.
func (c *Console) URL() string {
	scheme := "http"
	if c.cfg.TLS.Cert != "" {
		scheme = "https"
	}
	return scheme + "://" + c.addr.String() + "/"
}

// Run serves until ctx ends.
func (c *Console) Run(ctx context.Context) error {
	ln, err := net.Listen("tcp", c.cfg.Listen)
	if err != nil {
		return fmt.Errorf("console: %w", err)
	}
	c.addr = ln.Addr()
	srv := &http.Server{
		Handler: c.handler, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: 90 * time.Second, // a stream moves it on with each message
		IdleTimeout:  2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog:    slog.NewLogLogger(c.deps.Log.Handler(), slog.LevelWarn),
		BaseContext: func(net.Listener) context.Context { return ctx }, // ends streams when we stop
	}
	stop := context.AfterFunc(ctx, func() {
		ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		if srv.Shutdown(ending) != nil {
			_ = srv.Close()
		}
	})
	defer stop()
	close(c.ready)
	if c.cfg.TLS.Cert != "" {
		err = srv.ServeTLS(ln, c.cfg.TLS.Cert, c.cfg.TLS.Key)
	} else {
		err = srv.Serve(ln)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("console: serving on %s: %w", c.cfg.Listen, err)
}
