// Package kafka is the one way to Kafka: a producer that acknowledges and keeps
// order, a consumer group that commits only what was handled, a follower of
// compacted topics, and the making of topics. It works the same against Apache
// Kafka and against internal/broker.
//
// It never looks into a record, never decides what to do with one, and never
// gives a record an event's time: Kafka drops whole batches by that time.
package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"fengsui/schemas"
)

// MaxRecordBytes bounds one record: key, value and headers together.
const MaxRecordBytes = 8 << 20

// Record is one record of a topic.
//
// A nil Value is a tombstone, which deletes the key from a compacted topic; an
// empty Value is not. Topic, Partition, Offset and Time are set on what was read
// and ignored on what is produced: the key chooses the partition, and Time is
// the wall clock at the moment of sending.
type Record struct {
	Topic     string
	Partition int
	Offset    int64
	Time      time.Time
	Key       []byte
	Value     []byte
	Headers   []schemas.Header

	// Encoded, if not nil, is the headers of a record that is to be produced, in
	// place of Headers: as AppendHeaders writes them.
	Encoded []byte
}

// size is what the record counts for when batches are cut: a little more than
// what it takes on the wire.
func (r *Record) size() int {
	n := 32 + len(r.Key) + len(r.Value) + len(r.Encoded)
	for _, h := range r.Headers {
		n += 8 + len(h.Key) + len(h.Value)
	}
	return n
}

// Config says where Kafka is and how to talk to it.
type Config struct {
	Brokers     []string      `koanf:"brokers"`     // host:port of some or all brokers
	ClientID    string        `koanf:"client_id"`   // shown in the brokers' logs
	Compression string        `koanf:"compression"` // none, lz4, zstd, snappy or gzip
	Timeout     time.Duration `koanf:"timeout"`     // for one request
	TLS         TLSConfig     `koanf:"tls"`
	SASL        SASLConfig    `koanf:"sasl"`
}

// TLSConfig turns TLS on. Files are PEM; CA defaults to the system's.
type TLSConfig struct {
	Enabled    bool   `koanf:"enabled"`
	CA         string `koanf:"ca"`
	Cert       string `koanf:"cert"`
	Key        string `koanf:"key"`
	ServerName string `koanf:"server_name"`
}

// SASLConfig says who we are. An empty Mechanism is no authentication.
type SASLConfig struct {
	Mechanism string `koanf:"mechanism"` // plain, scram-sha-256 or scram-sha-512
	Username  string `koanf:"username"`
	Password  string `koanf:"password" secret:"true"`
}

// DefaultConfig is a broker on this machine, without compression.
func DefaultConfig() Config {
	return Config{
		Brokers:     []string{"127.0.0.1:9092"},
		ClientID:    "fengsui",
		Compression: "none",
		Timeout:     10 * time.Second,
	}
}

var codecs = map[string]compress.Compression{
	"":       compress.None,
	"none":   compress.None,
	"gzip":   compress.Gzip,
	"snappy": compress.Snappy,
	"lz4":    compress.Lz4,
	"zstd":   compress.Zstd,
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if len(c.Brokers) == 0 {
		errs = append(errs, errors.New("brokers: at least one host:port is needed"))
	}
	for _, b := range c.Brokers {
		if _, port, err := net.SplitHostPort(b); err != nil || port == "" {
			errs = append(errs, fmt.Errorf("brokers: %q is not host:port", b))
		}
	}
	if _, ok := codecs[c.Compression]; !ok {
		errs = append(errs, fmt.Errorf("compression: %q is none of none, lz4, zstd, snappy, gzip", c.Compression))
	}
	if c.Timeout < time.Second || c.Timeout > 5*time.Minute {
		errs = append(errs, fmt.Errorf("timeout: %v is not between 1s and 5m", c.Timeout))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	switch c.SASL.Mechanism {
	case "", "plain", "scram-sha-256", "scram-sha-512":
	default:
		errs = append(errs, fmt.Errorf("sasl.mechanism: %q is none of plain, scram-sha-256, scram-sha-512", c.SASL.Mechanism))
	}
	if c.SASL.Mechanism != "" && c.SASL.Username == "" {
		errs = append(errs, errors.New("sasl.username: is empty"))
	}
	return errors.Join(errs...)
}

// Deps is what the package needs from the process. Both may be nil.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

func (d Deps) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}

func (t TLSConfig) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("reading the CA certificates: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

func (s SASLConfig) mechanism() (sasl.Mechanism, error) {
	switch s.Mechanism {
	case "":
		return nil, nil
	case "plain":
		return plain.Mechanism{Username: s.Username, Password: s.Password}, nil
	case "scram-sha-256":
		return scram.Mechanism(scram.SHA256, s.Username, s.Password)
	case "scram-sha-512":
		return scram.Mechanism(scram.SHA512, s.Username, s.Password)
	}
	return nil, fmt.Errorf("SASL mechanism %q is not known", s.Mechanism)
}

// dialTimeout bounds the making of a connection, with TLS and SASL.
const dialTimeout = 5 * time.Second

// metadataTTL is how long a client may believe in the last known layout of the
// cluster: a new topic, or a moved leader, is seen within this time.
const metadataTTL = 3 * time.Second

// client is kafka-go's client with connections that can be closed at once:
// otherwise one that waits in a long poll outlives whoever asked.
type client struct {
	*kafkago.Client
	tls  *tls.Config
	sasl sasl.Mechanism

	cancel context.CancelFunc // of what kafka-go does behind our back
	mu     sync.Mutex
	conns  map[net.Conn]struct{}
	closed bool
}

func newClient(cfg Config) (*client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	t, err := cfg.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("kafka: TLS: %w", err)
	}
	m, err := cfg.SASL.mechanism()
	if err != nil {
		return nil, fmt.Errorf("kafka: SASL: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &client{tls: t, sasl: m, conns: make(map[net.Conn]struct{}), cancel: cancel}
	c.Client = &kafkago.Client{
		Addr:    kafkago.TCP(cfg.Brokers...),
		Timeout: cfg.Timeout,
		Transport: &kafkago.Transport{
			Dial:        c.dial,
			DialTimeout: dialTimeout,
			MetadataTTL: metadataTTL,
			ClientID:    cfg.ClientID,
			TLS:         t,
			SASL:        m,
			Context:     ctx,
		},
	}
	return c, nil
}

type trackedConn struct {
	net.Conn
	c *client
}

func (t *trackedConn) Close() error {
	t.c.mu.Lock()
	delete(t.c.conns, t)
	t.c.mu.Unlock()
	return t.Conn.Close()
}

func (c *client) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	t := &trackedConn{conn, c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	c.conns[t] = struct{}{}
	return t, nil
}

// close ends every connection, whatever it waits for.
func (c *client) close() {
	c.Transport.(*kafkago.Transport).CloseIdleConnections()
	c.cancel()
	c.mu.Lock()
	c.closed = true
	conns := make([]net.Conn, 0, len(c.conns))
	for conn := range c.conns {
		conns = append(conns, conn)
	}
	c.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
}

// partitions returns how many partitions a topic has.
func (c *client) partitions(ctx context.Context, topic string) (int, error) {
	m, err := c.Metadata(ctx, &kafkago.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, fmt.Errorf("asking for the partitions of topic %s: %w", topic, err)
	}
	for _, t := range m.Topics {
		if t.Name != topic {
			continue
		}
		if t.Error != nil {
			return 0, fmt.Errorf("asking for the partitions of topic %s: %w", topic, t.Error)
		}
		if len(t.Partitions) > 0 {
			return len(t.Partitions), nil
		}
	}
	return 0, fmt.Errorf("topic %s: %w", topic, kafkago.UnknownTopicOrPartition)
}

// backoff waits longer after each failure: 50 ms, doubling up to 2 s.
type backoff struct{ failures int }

func (b *backoff) reset() { b.failures = 0 }

func (b *backoff) wait(ctx context.Context) error {
	d := 50 * time.Millisecond << min(b.failures, 6)
	b.failures++
	t := time.NewTimer(min(d, 2*time.Second))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
