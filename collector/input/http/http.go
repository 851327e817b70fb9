// Package http receives lines over HTTP, in the dialects that shippers speak:
// newline-delimited text (/logs), Elasticsearch's _bulk, Splunk's HTTP Event
// Collector, and OTLP logs. It frames, and never looks into a line for its
// meaning; it keeps no index and answers no search.
//
// A request is answered with success once all of its lines are durable. A
// request whose lines the collector has no room for is told to come again; what
// was told to come again may have been stored after all, never the reverse.
package http

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
)

// Config says where to listen, for whom, and for how much. What is zero takes its
// default.
type Config struct {
	Listen    string     `koanf:"listen"` // address to listen on, such as ":9200"
	TLS       listen.TLS `koanf:"tls"`
	Tokens    []Token    `koanf:"tokens"`    // one of them must be shown, or a certificate of tls.clients
	Anonymous bool       `koanf:"anonymous"` // also take lines from those that show none

	Limits      listen.Limits `koanf:",squash"`
	MaxHeader   int           `koanf:"max_header"`   // bytes of a request's header; 16 KiB
	MaxBody     int           `koanf:"max_body"`     // bytes of a request, as sent and decompressed; 32 MiB
	MaxRatio    int           `koanf:"max_ratio"`    // bytes that one compressed byte may become, once they are more than 1 MiB; 200
	MaxLine     int           `koanf:"max_line"`     // bytes; a longer line becomes a dead letter; 1 MiB
	MaxLines    int           `koanf:"max_lines"`    // of one request; 100000
	MaxRequests int           `koanf:"max_requests"` // at the same time; more are told to come again; 256
	Memory      int64         `koanf:"memory"`       // bytes that all requests hold until their lines are durable; 256 MiB

	HeaderTimeout time.Duration `koanf:"header_timeout"` // for a request's header, and for the handshake; 10s
	BodyTimeout   time.Duration `koanf:"body_timeout"`   // for a whole request; 60s
	IdleTimeout   time.Duration `koanf:"idle_timeout"`   // a connection without a request is closed; 2m
	Wait          time.Duration `koanf:"wait"`           // for a request's lines to be durable; then it is told to come again; 30s

	ElasticVersion string `koanf:"elastic_version"` // that is told to clients of Elasticsearch; 8.17.0
}

// Deps is what the input needs from the process. Metrics is the input's own.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// WithDefaults fills in what is zero.
func (c Config) WithDefaults() Config {
	c.Limits = c.Limits.WithDefaults()
	number := func(v *int, preset int) {
		if *v == 0 {
			*v = preset
		}
	}
	period := func(v *time.Duration, preset time.Duration) {
		if *v == 0 {
			*v = preset
		}
	}
	number(&c.MaxHeader, 16<<10)
	number(&c.MaxBody, 32<<20)
	number(&c.MaxRatio, 200)
	number(&c.MaxLine, 1<<20)
	number(&c.MaxLines, 100_000)
	number(&c.MaxRequests, 256)
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	period(&c.HeaderTimeout, 10*time.Second)
	period(&c.BodyTimeout, time.Minute)
	period(&c.IdleTimeout, 2*time.Minute)
	period(&c.Wait, 30*time.Second)
	if c.ElasticVersion == "" {
		c.ElasticVersion = "8.17.0"
	}
	return c
}

var versionShape = regexp.MustCompile(`^\d{1,2}\.\d{1,3}\.\d{1,3}$`)

// Validate says what is wrong with c.
func (c Config) Validate() error {
	c = c.WithDefaults()
	errs := []error{listen.Address("listen", c.Listen), c.TLS.Validate(), c.Limits.Validate()}
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Anonymous || len(c.Tokens) > 0 || len(c.TLS.Clients) > 0,
		"tokens: without any, and without tls.clients, nobody may send; anonymous: true lets everybody")
	for i, t := range c.Tokens {
		if err := t.validate(); err != nil {
			errs = append(errs, fmt.Errorf("tokens: number %d: %w", i+1, err))
		}
	}
	between := func(name string, v, low, high int64) {
		check(v >= low && v <= high, "%s: %d is not between %d and %d", name, v, low, high)
	}
	between("max_header", int64(c.MaxHeader), 1<<10, 1<<20)
	between("max_body", int64(c.MaxBody), 1<<10, 1<<30)
	between("max_ratio", int64(c.MaxRatio), 2, 1<<20)
	between("max_line", int64(c.MaxLine), 480, input.MaxValue)
	between("max_lines", int64(c.MaxLines), 1, 10_000_000)
	between("max_requests", int64(c.MaxRequests), 1, 1<<20)
	check(c.Memory >= 4*int64(c.MaxBody), "memory: %d is less than four times max_body", c.Memory)
	for name, d := range map[string]time.Duration{
		"header_timeout": c.HeaderTimeout, "body_timeout": c.BodyTimeout, "idle_timeout": c.IdleTimeout, "wait": c.Wait,
	} {
		check(d >= 100*time.Millisecond, "%s: %v is less than 100ms", name, d)
	}
	check(versionShape.MatchString(c.ElasticVersion), "elastic_version: %q is no version such as 8.17.0", c.ElasticVersion)
	return errors.Join(errs...)
}

// Input listens. New makes one.
type Input struct {
	cfg    Config
	log    *slog.Logger
	quiet  input.Quiet
	sink   input.Sink
	tokens []knownToken
	memory *listen.Budget
	slots  chan struct{} // one for each request that is served
	name   string        // begins the ids given to documents
	serial atomic.Uint64 // of documents and of Splunk's acknowledgements
	ready  chan struct{}

	mu    sync.Mutex
	addrs []net.Addr

	conns    listen.Metrics
	requests *prometheus.CounterVec
	items    prometheus.Counter
}

// New checks cfg. Nothing listens, and no file is read, before Run.
func New(cfg Config, deps Deps) (*Input, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	cfg = cfg.WithDefaults()
	var name [8]byte
	_, _ = rand.Read(name[:]) // never fails
	in := &Input{
		cfg: cfg, log: deps.Log, quiet: input.Quiet{Log: deps.Log}, ready: make(chan struct{}),
		memory: listen.NewBudget(cfg.Memory), slots: make(chan struct{}, cfg.MaxRequests),
		name: strings.ToLower(base32.StdEncoding.EncodeToString(name[:])[:12]), conns: listen.NewMetrics("http"),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_collector_http_requests_total", Help: "Requests with lines, by protocol and by what became of them.",
		}, []string{"protocol", "result"}),
		items: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_collector_http_refused_items_total", Help: "Actions of _bulk that were answered with an error, since they are neither index nor create.",
		}),
	}
	if err := listen.Register(deps.Metrics, append(in.conns.All(), in.requests, in.items)...); err != nil {
		return nil, err
	}
	return in, nil
}

// Ready is closed when the input listens.
func (in *Input) Ready() <-chan struct{} { return in.ready }

// Addrs is where the input listens, once it is ready.
func (in *Input) Addrs() []net.Addr {
	in.mu.Lock()
	defer in.mu.Unlock()
	return append([]net.Addr(nil), in.addrs...)
}

// Refusals is what senders were refused, by the reason.
func (in *Input) Refusals() map[string]uint64 { return in.conns.Refusals() }

// drainTime bounds how long requests that have begun are served after the end.
const drainTime = 2 * time.Second

// Run listens until ctx ends, answers the requests that have begun, and returns
// nil. Any other end is an error.
func (in *Input) Run(ctx context.Context, sink input.Sink) error {
	in.sink = sink
	var err error
	if in.tokens, err = readTokens(in.cfg.Tokens); err != nil {
		return err
	}
	// What is served while draining must still find the sink open.
	drain, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	server := &http.Server{
		Handler: in, MaxHeaderBytes: in.cfg.MaxHeader, ReadHeaderTimeout: in.cfg.HeaderTimeout, ReadTimeout: in.cfg.BodyTimeout,
		IdleTimeout: in.cfg.IdleTimeout, WriteTimeout: in.cfg.BodyTimeout + in.cfg.Wait + answerTime,
		BaseContext:  func(net.Listener) context.Context { return drain },
		ErrorLog:     slog.NewLogLogger(quietHandler{in}, slog.LevelWarn),
		TLSNextProto: nil, Protocols: new(http.Protocols),
	}
	server.Protocols.SetHTTP1(true) // streams would be connections that no limit counts
	if in.cfg.TLS.Enabled() {
		if server.TLSConfig, err = in.cfg.TLS.Config(); err != nil {
			return err
		}
	}
	l, err := listen.TCP(ctx, in.cfg.Listen, in.cfg.Limits, in.conns)
	if err != nil {
		return fmt.Errorf("listening for HTTP on %s: %w", in.cfg.Listen, err)
	}
	in.mu.Lock()
	in.addrs = []net.Addr{l.Addr()}
	in.mu.Unlock()
	close(in.ready)

	ended := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			ended <- server.ServeTLS(l, "", "")
			return
		}
		ended <- server.Serve(l)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serving HTTP on %s: %w", in.cfg.Listen, err)
	case <-ctx.Done():
	}
	soon, stop := context.WithTimeout(drain, drainTime)
	defer stop()
	if server.Shutdown(soon) != nil { // some still wait for their lines to be durable
		cancel()
		last, stop := context.WithTimeout(context.Background(), time.Second)
		defer stop()
		_ = server.Shutdown(last) // lets them say so
		_ = server.Close()
	}
	<-ended
	return nil
}

// quietHandler passes on what net/http says of single connections.
type quietHandler struct{ in *Input }

func (quietHandler) Enabled(context.Context, slog.Level) bool { return true }
func (h quietHandler) WithAttrs([]slog.Attr) slog.Handler     { return h }
func (h quietHandler) WithGroup(string) slog.Handler          { return h }

func (h quietHandler) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, "TLS handshake error") {
		h.in.conns.HandshakeFailed()
	}
	h.in.quiet.Warn("an HTTP connection failed", "error", strings.TrimSpace(r.Message))
	return nil
}
