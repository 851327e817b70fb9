package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"fengsui/analyzer"
	"fengsui/collector"
	"fengsui/collector/input/syslog"
	"fengsui/console"
	"fengsui/internal/broker"
	"fengsui/internal/clickhouse"
	"fengsui/internal/config"
	"fengsui/internal/kafka"
	"fengsui/internal/memory"
	"fengsui/internal/store"
	"fengsui/scanner"
	"fengsui/schemas"
)

// Config is everything that can be configured, for every service.
type Config struct {
	DataDir     string                     `koanf:"data_dir"` // everything that is kept, unless a section says otherwise
	Log         LogConfig                  `koanf:"log"`
	Metrics     MetricsConfig              `koanf:"metrics"`
	Memory      memory.Config              `koanf:"memory"`
	Kafka       kafka.Config               `koanf:"kafka"` // brokers empty: the embedded broker
	Topics      map[string]TopicConfig     `koanf:"topics"`
	Replication int                        `koanf:"replication"` // copies of each partition
	ClickHouse  clickhouse.Config          `koanf:"clickhouse"`  // addr empty: the embedded store
	Retention   clickhouse.RetentionConfig `koanf:"retention"`
	Store       store.Config               `koanf:"store"`
	Broker      broker.Config              `koanf:"broker"`
	Registry    RegistryConfig             `koanf:"registry"`
	Collector   collector.Config           `koanf:"collector"`
	Scanner     scanner.Config             `koanf:"scanner"`
	Schedule    []ScheduleConfig           `koanf:"schedule"` // scans that nobody asks for each time
	Analyzer    analyzer.Config            `koanf:"analyzer"`
	Console     console.Config             `koanf:"console"`

	// Whether this machine's own engines are used: nobody said where others are.
	embeddedStore, embeddedBroker bool
}

// LogConfig is how the program's own log is written, to standard error.
type LogConfig struct {
	Level  string `koanf:"level"`  // debug, info, warn or error
	Format string `koanf:"format"` // text or json
}

// MetricsConfig is where Prometheus may ask.
type MetricsConfig struct {
	Listen string `koanf:"listen"` // loopback address and port; empty: none
}

// RegistryConfig is where the registry is kept.
type RegistryConfig struct {
	Path string `koanf:"path"`              // SQLite file; empty: registry.db in data_dir
	DSN  string `koanf:"dsn" secret:"true"` // PostgreSQL instead: a URL such as postgres://fengsui@db.example/fengsui, or words; the password may be in ~/.pgpass
}

// TopicConfig changes what schemas.Topics says of a topic; zero leaves it.
type TopicConfig struct {
	Partitions     int           `koanf:"partitions"`
	Retention      time.Duration `koanf:"retention"`
	RetentionBytes int64         `koanf:"retention_bytes"` // of each partition
}

// ScheduleConfig is a scan that is planned again and again, by the console's process.
type ScheduleConfig struct {
	Unit   string        `koanf:"unit"`  // code, with all units below it
	Every  time.Duration `koanf:"every"` // 1h to 168h; counted from midnight in China
	Ports  string        `koanf:"ports"` // as fengsui scan --ports
	Rate   int           `koanf:"rate"`  // packets a second; 0: the scanner's
	Reason string        `koanf:"reason"`
}

// defaultConfig is one machine with embedded engines, listening on loopback.
func defaultConfig() Config {
	c := Config{
		DataDir:     "data",
		Log:         LogConfig{Level: "info", Format: "text"},
		Memory:      memory.DefaultConfig(),
		Kafka:       kafka.DefaultConfig(),
		Replication: 1,
		ClickHouse:  clickhouse.DefaultConfig(),
		Retention:   clickhouse.DefaultRetention(),
		Store:       store.DefaultConfig(),
		Broker:      broker.DefaultConfig(),
		Collector:   collector.DefaultConfig(),
		Scanner:     scanner.DefaultConfig(),
		Analyzer:    analyzer.DefaultConfig(),
		Console:     console.DefaultConfig(),
	}
	c.Kafka.Brokers = nil
	return c
}

// Validate checks what belongs to no single service; each service checks its
// own section when it is made.
func (c Config) Validate() error {
	var errs []error
	if c.DataDir == "" {
		errs = append(errs, errors.New("data_dir is empty"))
	}
	if _, err := c.Log.level(); err != nil {
		errs = append(errs, err)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		errs = append(errs, fmt.Errorf("log.format %q is neither text nor json", c.Log.Format))
	}
	if c.Replication < 1 {
		errs = append(errs, fmt.Errorf("replication %d is below 1", c.Replication))
	}
	known := map[string]bool{}
	for _, t := range schemas.Topics() {
		known[t.Name] = true
	}
	for name := range c.Topics {
		if !known[name] {
			errs = append(errs, fmt.Errorf("topics.%s: no such topic; there are %s", name, strings.Join(slices.Sorted(maps.Keys(known)), ", ")))
		}
	}
	if err := c.Retention.Validate(); err != nil {
		errs = append(errs, err)
	}
	errs = append(errs, checkSchedule(c.Schedule))
	if c.Metrics.Listen != "" {
		if err := checkLoopback(c.Metrics.Listen); err != nil {
			errs = append(errs, fmt.Errorf("metrics.listen: %w", err))
		}
	}
	return errors.Join(errs...)
}

func checkLoopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s is not a loopback address", host)
	}
	return nil
}

// checkServices checks every service's section.
func (c Config) checkServices() error {
	checks := []struct {
		name string
		err  error
	}{
		{"memory", c.Memory.Validate()},
		{"kafka", c.Kafka.Validate()},
		{"clickhouse", c.ClickHouse.Validate()},
		{"store", c.Store.Validate()},
		{"broker", c.Broker.Validate()},
		{"collector", c.Collector.Validate()},
		{"scanner", c.Scanner.Validate()},
		{"analyzer", c.Analyzer.Validate()},
		{"console", c.Console.Validate()},
	}
	var errs []error
	for _, check := range checks {
		if check.err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", check.name, check.err))
		}
	}
	return errors.Join(errs...)
}

// loadConfig reads the configuration of a command: the file of --config, or
// fengsui.yaml in the data directory if there is one, then the environment, then
// --data-dir; and fills in where the embedded engines are.
func loadConfig(flags *globalFlags) (*Config, error) {
	c := defaultConfig()
	if flags.dataDir != "" {
		c.DataDir = flags.dataDir
	}
	path := flags.config
	if path == "" {
		if candidate := filepath.Join(c.DataDir, "fengsui.yaml"); isFile(candidate) {
			path = candidate
		}
	}
	if err := config.Load(path, &c); err != nil {
		return nil, err
	}
	if flags.dataDir != "" {
		c.DataDir = flags.dataDir
	}
	return &c, c.fill()
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// fill derives the paths and addresses that the configuration leaves open.
func (c *Config) fill() error {
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	c.DataDir = dir
	orIn := func(s *string, name string) {
		if *s == "" {
			*s = filepath.Join(dir, name)
		}
	}
	orIn(&c.Store.Dir, "store")
	orIn(&c.Broker.Dir, "broker")
	orIn(&c.Registry.Path, "registry.db")
	orIn(&c.Collector.Spool.Dir, "spool")
	orIn(&c.Collector.StateDir, "collector")
	if len(c.Collector.Inputs) == 0 {
		// Only this machine may send until somebody says who else.
		c.Collector.Inputs = []collector.InputConfig{{
			Name: "syslog", Type: "syslog", Format: "auto", Syslog: &syslog.Config{UDP: "127.0.0.1:5514", TCP: "127.0.0.1:5514"},
		}}
	}
	c.embeddedStore, c.embeddedBroker = c.ClickHouse.Addr == "", len(c.Kafka.Brokers) == 0
	if c.embeddedStore {
		c.ClickHouse.Addr = c.Store.Addr()
	}
	if c.embeddedBroker {
		// Where `up` started it. Until then there is nothing to talk to, and the
		// commands that need it say so.
		if addr, err := os.ReadFile(c.brokerFile()); err == nil {
			c.Kafka.Brokers = []string{strings.TrimSpace(string(addr))}
		}
		secret, err := os.ReadFile(c.secretFile())
		if err == nil {
			c.useSecret(strings.TrimSpace(string(secret)))
		}
	}
	c.Collector.Kafka = c.Kafka
	return nil
}

// embeddedUser is who all services are to the embedded broker.
const embeddedUser = "fengsui"

func (c *Config) useSecret(secret string) {
	c.Broker.SASL.Username, c.Broker.SASL.Password = embeddedUser, secret
	c.Kafka.SASL.Mechanism, c.Kafka.SASL.Username, c.Kafka.SASL.Password = "scram-sha-512", embeddedUser, secret
}

func (c *Config) brokerFile() string { return filepath.Join(c.DataDir, "run", "broker.addr") }
func (c *Config) secretFile() string { return filepath.Join(c.DataDir, "run", "broker.secret") }
func (c *Config) lockFile() string   { return filepath.Join(c.DataDir, "run", "up.lock") }

// topics is schemas.Topics with what the configuration changes.
func (c *Config) topics() []schemas.Topic {
	topics := schemas.Topics()
	for i := range topics {
		t := &topics[i]
		change := c.Topics[t.Name]
		if change.Partitions > 0 {
			t.Partitions = change.Partitions
		}
		if change.Retention > 0 && !t.Compact {
			t.Retention = change.Retention
		}
		if change.RetentionBytes > 0 && !t.Compact {
			t.RetentionBytes = change.RetentionBytes
		}
	}
	return topics
}
