// Package broker is the Kafka of a machine that has none: a broker that speaks
// Kafka's protocol and keeps its log in one directory.
//
// It is for one machine and one process. It never replicates, never listens
// anywhere but on loopback, and never creates a topic by itself: see
// kafka.EnsureTopics.
package broker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/net/netutil"
)

// Config says where the broker keeps its log and where it listens.
type Config struct {
	Dir               string        `koanf:"dir"`                // made with mode 0700
	Listen            string        `koanf:"listen"`             // a loopback address and port; port 0 is any free one
	Sync              bool          `koanf:"sync"`               // fsync each batch: survives a loss of power, costs throughput
	RetentionInterval time.Duration `koanf:"retention_interval"` // how often old records are deleted
	CompactInterval   time.Duration `koanf:"compact_interval"`   // how often compacted topics are compacted
	TLS               TLSConfig     `koanf:"tls"`
	SASL              SASLConfig    `koanf:"sasl"`
}

// TLSConfig turns TLS on. Files are PEM.
type TLSConfig struct {
	Cert string `koanf:"cert"`
	Key  string `koanf:"key"`
}

// SASLConfig turns authentication by SCRAM-SHA-512 on, with one user.
type SASLConfig struct {
	Username string `koanf:"username"`
	Password string `koanf:"password" secret:"true"`
}

// DefaultConfig has everything but the directory.
func DefaultConfig() Config {
	return Config{
		Listen:            "127.0.0.1:0",
		Sync:              true,
		RetentionInterval: 10 * time.Second,
		CompactInterval:   time.Hour,
	}
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Dir == "" {
		errs = append(errs, errors.New("dir: is empty"))
	}
	if a, err := netip.ParseAddrPort(c.Listen); err != nil {
		errs = append(errs, fmt.Errorf("listen: %q is not address:port", c.Listen))
	} else if !a.Addr().IsLoopback() {
		errs = append(errs, fmt.Errorf("listen: %s is not a loopback address; use Apache Kafka to serve a network", a.Addr()))
	}
	if c.RetentionInterval < 100*time.Millisecond || c.RetentionInterval > time.Hour {
		errs = append(errs, fmt.Errorf("retention_interval: %v is not between 100ms and 1h", c.RetentionInterval))
	}
	if c.CompactInterval < time.Second || c.CompactInterval > 30*24*time.Hour {
		errs = append(errs, fmt.Errorf("compact_interval: %v is not between 1s and 720h", c.CompactInterval))
	}
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		errs = append(errs, errors.New("tls: cert and key go together"))
	}
	if (c.SASL.Username == "") != (c.SASL.Password == "") {
		errs = append(errs, errors.New("sasl: username and password go together"))
	}
	return errors.Join(errs...)
}

// Deps is what the broker needs from the process. Both may be nil.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// ErrInUse says that another process has the directory.
var ErrInUse = errors.New("another process uses this directory")

// Broker is the component.
type Broker struct {
	cfg   Config
	log   *slog.Logger
	bytes *prometheus.GaugeVec
	ready chan struct{}

	mu   sync.Mutex
	addr string

	compacting atomic.Bool      // writes are put off
	ends       map[string]int64 // as written down
	compacted  map[string]int64 // bytes of compacted partitions after the last compaction
}

// New checks cfg; it opens and listens to nothing.
func New(cfg Config, deps Deps) (*Broker, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	if deps.Log == nil {
		deps.Log = slog.New(slog.DiscardHandler)
	}
	b := &Broker{cfg: cfg, log: deps.Log, ready: make(chan struct{}), compacted: make(map[string]int64)}
	b.bytes = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "fengsui", Subsystem: "broker", Name: "log_bytes", Help: "Bytes of the records kept.",
	}, []string{"partition"})
	if deps.Metrics != nil {
		if err := deps.Metrics.Register(b.bytes); err != nil {
			return nil, fmt.Errorf("broker: metrics: %w", err)
		}
	}
	return b, nil
}

// Ready is closed when the broker takes connections.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

// Addr is the address it listens on; "" before Ready.
func (b *Broker) Addr() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.addr
}

// Run serves until ctx ends, then writes what is open to disk and returns nil.
func (b *Broker) Run(ctx context.Context) error {
	unlock, err := lock(b.cfg.Dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := prepare(b.cfg.Dir); err != nil {
		return fmt.Errorf("preparing the broker's directory %s: %w", b.cfg.Dir, err)
	}
	c, err := b.start()
	if err != nil {
		return fmt.Errorf("starting the broker in %s: %w", b.cfg.Dir, err)
	}
	defer c.Close()
	b.mu.Lock()
	b.addr = c.ListenAddrs()[0]
	b.mu.Unlock()
	close(b.ready)
	b.log.Info("broker listens", "address", b.Addr(), "dir", b.cfg.Dir)

	retention := time.NewTicker(b.cfg.RetentionInterval)
	defer retention.Stop()
	compaction := time.NewTicker(b.cfg.CompactInterval)
	defer compaction.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-retention.C:
			if err := b.retain(c); err != nil {
				b.log.Error("deleting old records", "error", err)
			}
		case <-compaction.C:
			if err := b.compact(c); err != nil {
				b.log.Error("compacting", "error", err)
			}
		}
	}
}

func (b *Broker) start() (*kfake.Cluster, error) {
	opts := []kfake.Opt{
		kfake.NumBrokers(1),
		kfake.ClusterID("fengsui"),
		kfake.DataDir(b.cfg.Dir),
		kfake.ListenFn(b.listen),
		kfake.WithLogger(logger{b.log}),
		kfake.BrokerConfigs(map[string]string{
			// Compaction and retention run from our own timers: ten years.
			"log.cleaner.backoff.ms": "315360000000",
			"message.max.bytes":      "9437184",
			// A group that was away comes back to its place, whatever was kept.
			"offsets.retention.minutes": "525600",
		}),
	}
	if b.cfg.Sync {
		opts = append(opts, kfake.SyncWrites())
	}
	if b.cfg.SASL.Username != "" {
		opts = append(opts, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-512", b.cfg.SASL.Username, b.cfg.SASL.Password))
	}
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		return nil, err
	}
	c.ControlKey(int16(kmsg.Produce), func(req kmsg.Request) (kmsg.Response, error, bool) {
		c.KeepControl()
		res := b.putOff(req.(*kmsg.ProduceRequest))
		return res, nil, res != nil
	})
	return c, nil
}

// listen replaces kfake's own choice of address.
func (b *Broker) listen(network, _ string) (net.Listener, error) {
	ln, err := net.Listen(network, b.cfg.Listen)
	if err != nil {
		return nil, err
	}
	ln = netutil.LimitListener(ln, maxConnections)
	if b.cfg.TLS.Cert == "" {
		return guard{ln}, nil
	}
	pair, err := tls.LoadX509KeyPair(b.cfg.TLS.Cert, b.cfg.TLS.Key)
	if err != nil {
		_ = ln.Close()
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return guard{tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}})}, nil
}

// maxConnections is far more than one machine's services need.
const maxConnections = 1024

// logPartition is a partition that has a log on disk.
type logPartition struct {
	dir     string // its name under partitions/
	topic   string
	compact bool
	*kfake.PartitionInfo
}

// partitions lists the partitions that have a log.
func (b *Broker) partitions(c *kfake.Cluster) ([]logPartition, error) {
	dirs, err := os.ReadDir(filepath.Join(b.cfg.Dir, partitionsDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var all []logPartition
	for _, d := range dirs {
		i := strings.LastIndexByte(d.Name(), '-')
		if i < 0 {
			continue
		}
		topic, terr := url.PathUnescape(d.Name()[:i])
		n, nerr := strconv.ParseInt(d.Name()[i+1:], 10, 32)
		if terr != nil || nerr != nil {
			continue
		}
		info, t := c.PartitionInfo(topic, int32(n)), c.TopicInfo(topic)
		if info == nil || t == nil {
			continue // deleted
		}
		policy := t.Configs["cleanup.policy"]
		all = append(all, logPartition{
			dir: d.Name(), topic: topic, PartitionInfo: info,
			compact: policy != nil && strings.Contains(*policy, "compact"),
		})
	}
	return all, nil
}

// retain deletes what the topics' retention no longer keeps. Where the partitions
// end is written down first: afterwards nothing else may know it.
func (b *Broker) retain(c *kfake.Cluster) error {
	parts, err := b.partitions(c)
	if err != nil {
		return err
	}
	ends := make(map[string]int64, len(parts))
	for _, p := range parts {
		ends[p.dir] = p.HighWatermark
		b.bytes.WithLabelValues(p.dir).Set(float64(p.NumBytes))
	}
	if !maps.Equal(ends, b.ends) {
		if err := writeJSON(filepath.Join(b.cfg.Dir, endsFile), ends); err != nil {
			return fmt.Errorf("writing down where partitions end: %w", err)
		}
		b.ends = ends
	}
	c.ApplyRetention()
	return nil
}

// compactBytes is the least that a compacted partition must have grown by.
const compactBytes = 1 << 20

// compact compacts, if a compacted partition has doubled since the last time.
// Meanwhile, for milliseconds, writes are put off: what is kept for the case that
// we are killed has to be all there is.
func (b *Broker) compact(c *kfake.Cluster) error {
	b.compacting.Store(true)
	defer b.compacting.Store(false)
	parts, err := b.partitions(c) // behind every write that was let through
	if err != nil {
		return err
	}
	var names []string
	grown := false
	for _, p := range parts {
		if p.compact {
			names = append(names, p.dir)
			grown = grown || p.NumBytes > 2*b.compacted[p.dir]+compactBytes
		}
	}
	if !grown {
		return nil
	}
	if err := b.retain(c); err != nil { // Compact applies retention, too
		return err
	}
	if err := keepForCompaction(b.cfg.Dir, names); err != nil {
		return fmt.Errorf("keeping what is there: %w", err)
	}
	c.Compact()
	if err := dropKept(b.cfg.Dir); err != nil {
		return fmt.Errorf("forgetting what was there: %w", err)
	}
	parts, err = b.partitions(c)
	for _, p := range parts {
		if p.compact {
			b.compacted[p.dir] = p.NumBytes
		}
	}
	return err
}

// notEnoughReplicas is an error that every client answers by trying again.
const notEnoughReplicas = 19

// putOff refuses writes while compact works. It is called by kfake's one loop.
func (b *Broker) putOff(req *kmsg.ProduceRequest) kmsg.Response {
	if !b.compacting.Load() {
		return nil
	}
	res := req.ResponseKind().(*kmsg.ProduceResponse)
	for _, t := range req.Topics {
		rt := kmsg.NewProduceResponseTopic()
		rt.Topic, rt.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			rp := kmsg.NewProduceResponseTopicPartition()
			rp.Partition, rp.ErrorCode = p.Partition, notEnoughReplicas
			rt.Partitions = append(rt.Partitions, rp)
		}
		res.Topics = append(res.Topics, rt)
	}
	return res
}

// lock makes the directory and takes it for this process. The kernel gives it
// back when the process ends, however it ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the broker's directory: %w", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil { //nolint:gosec // a directory
		return nil, fmt.Errorf("making the broker's directory private: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the broker's lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("the broker's directory %s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("locking the broker's directory %s: %w", dir, err)
	}
	return func() { _ = f.Close() }, nil
}

// logger gives kfake's log to ours.
type logger struct{ log *slog.Logger }

func (l logger) Logf(level kfake.LogLevel, format string, args ...any) {
	var to slog.Level
	switch level {
	case kfake.LogLevelError:
		to = slog.LevelError
	case kfake.LogLevelWarn:
		to = slog.LevelWarn
	default:
		return // one line for each request
	}
	if l.log.Enabled(context.Background(), to) {
		l.log.Log(context.Background(), to, "broker: "+fmt.Sprintf(format, args...))
	}
}
