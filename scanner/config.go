// Package scanner looks at networks and names inside the scope that the registry
// authorises, and reports what it saw as observations.
//
// It takes shards of a scan from a topic, has their ports swept by fengsui-sweep,
// confirms every open port by a connection of its own, identifies what answers,
// and asks DNS. It never judges what it sees, and sends nothing to an address or
// about a name that the registry does not authorise at that moment.
//
// An IPv4 block is swept whole. An IPv6 block cannot be: only known addresses
// are looked at there (see scanner/plan).
package scanner

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/scanner/discover"
	"fengsui/scanner/resolve"
	"fengsui/scanner/sweep"
)

// Config is the scanner's configuration.
type Config struct {
	ID    string `koanf:"id"`    // in observations; empty: the machine's name
	Group string `koanf:"group"` // consumer group: its members share the shards
	Sweep string `koanf:"sweep"` // path of fengsui-sweep; empty: beside this program, or in PATH
	// Mode is connect, or syn where the process has CAP_NET_RAW. Whole connections
	// are the default with the privilege too: naabu captures the answers to its
	// SYNs into a ring of 32 frames (libpcap's immediate mode with its snap length),
	// which overflows on a busy machine, and a lost answer is a closed port.
	Mode         sweep.Mode    `koanf:"mode"`
	Rate         int           `koanf:"rate"`          // packets a second, and the most that a task may ask for
	Timeout      time.Duration `koanf:"timeout"`       // for one connection; at least 1.5 s lets the kernel repeat its SYN
	Workers      int           `koanf:"workers"`       // connections at the same time for confirming and identifying
	Resolvers    []string      `koanf:"resolvers"`     // DNS servers; empty: those of /etc/resolv.conf
	ShardTimeout time.Duration `koanf:"shard_timeout"` // a shard that takes longer is given up

	Discover discover.Config `koanf:"discover"` // how names are looked for
}

// DefaultConfig is for one scanner on a network of its own.
func DefaultConfig() Config {
	return Config{
		Group:        "scanner",
		Mode:         sweep.Connect,
		Rate:         5000,
		Timeout:      1500 * time.Millisecond,
		Workers:      64,
		ShardTimeout: 30 * time.Minute,
		Discover:     discover.DefaultConfig(),
	}
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Group == "" {
		errs = append(errs, errors.New("group: is empty"))
	}
	if c.Mode != sweep.Connect && c.Mode != sweep.SYN {
		errs = append(errs, fmt.Errorf("mode: %q is neither connect nor syn", c.Mode))
	}
	if c.Rate < 1 || c.Rate > sweep.MaxRate {
		errs = append(errs, fmt.Errorf("rate: %d is not between 1 and %d", c.Rate, sweep.MaxRate))
	}
	if c.Timeout < sweep.MinTimeout || c.Timeout > sweep.MaxTimeout {
		errs = append(errs, fmt.Errorf("timeout: %v is not between %v and %v", c.Timeout, sweep.MinTimeout, sweep.MaxTimeout))
	}
	if c.Workers < 1 || c.Workers > 1024 {
		errs = append(errs, fmt.Errorf("workers: %d is not between 1 and 1024", c.Workers))
	}
	if c.ShardTimeout < time.Second || c.ShardTimeout > 24*time.Hour {
		errs = append(errs, fmt.Errorf("shard_timeout: %v is not between 1s and 24h", c.ShardTimeout))
	}
	for _, r := range c.Resolvers {
		if _, err := resolve.ParseServer(r); err != nil {
			errs = append(errs, fmt.Errorf("resolvers: %w", err))
		}
	}
	if err := c.Discover.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("discover: %w", err))
	}
	return errors.Join(errs...)
}

// Deps is what the scanner needs from the process. A Looker needs neither Kafka
// nor Producer nor Directory. Log and Metrics may be nil.
type Deps struct {
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Directory *directory.Directory // kept by whoever follows the topic registry
	Kafka     kafka.Config
	Producer  *kafka.Producer
}

func (d Deps) log() *slog.Logger {
	if d.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return d.Log
}
