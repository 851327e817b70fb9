// Package scanner looks at networks and names inside the scope that the registry
// authorises, and reports what it saw as observations.
//
// It takes shards of a scan from a topic, has their hosts found and their ports
// swept by fengsui-sweep, confirms every open port by a connection of its own, identifies what answers,
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
	ID    string `koanf:"id"`    // in observations and the journal; empty: the machine's name
	Sweep string `koanf:"sweep"` // path of fengsui-sweep; empty: beside this program, or in PATH
	// Mode is connect, or syn where the process has CAP_NET_RAW. Whole connections
	// are the default with the privilege too: they are faster, and what captures
	// the answers to SYNs loses some on a busy machine, which makes a closed port.
	Mode        sweep.Mode `koanf:"mode"`
	Rate        int        `koanf:"rate"`         // probes a second, and the most that a task may ask for
	HostRate    int        `koanf:"host_rate"`    // of these to one address; 0: no bound of its own
	NetworkRate int        `koanf:"network_rate"` // of these to one IPv4 /24 or IPv6 /64; 0: no bound of its own
	// Discovery is auto: addresses of an own link for which nobody answers ARP or
	// neighbour discovery are left out, echoes are sent beside the sweep, and the
	// rest is swept whether it shows itself or not. quick: what shows no sign of
	// life is left out of blocks, which misses hosts that hide. off: nothing is sent
	// but the sweep.
	Discovery sweep.Discovery `koanf:"discovery"`
	// FakeShare is the share of a few random high ports of an address above which
	// what answers there is taken for something that answers on every port, and its
	// ports for unknown.
	FakeShare    float64       `koanf:"fake_share"`
	Timeout      time.Duration `koanf:"timeout"`       // for one connection; at least 1.5 s lets the kernel repeat its SYN
	Workers      int           `koanf:"workers"`       // connections at the same time for confirming and identifying
	Resolvers    []string      `koanf:"resolvers"`     // DNS servers; empty: those of /etc/resolv.conf
	ShardTimeout time.Duration `koanf:"shard_timeout"` // a shard that takes longer is left, to be tried again; after three times it has failed
	Lease        time.Duration `koanf:"lease"`         // a scanner that is silent for so long is taken for dead, and its shard goes to another

	Discover discover.Config `koanf:"discover"` // how names are looked for
}

// DefaultConfig is for one scanner on a network of its own.
func DefaultConfig() Config {
	return Config{
		Mode:         sweep.Connect,
		Rate:         5000,
		HostRate:     2000,
		Discovery:    sweep.Auto,
		FakeShare:    0.5,
		Timeout:      1500 * time.Millisecond,
		Workers:      64,
		ShardTimeout: 30 * time.Minute,
		Lease:        15 * time.Second,
		Discover:     discover.DefaultConfig(),
	}
}

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if c.Mode != sweep.Connect && c.Mode != sweep.SYN {
		errs = append(errs, fmt.Errorf("mode: %q is neither connect nor syn", c.Mode))
	}
	if c.Rate < 1 || c.Rate > sweep.MaxRate {
		errs = append(errs, fmt.Errorf("rate: %d is not between 1 and %d", c.Rate, sweep.MaxRate))
	}
	if c.Mode == sweep.SYN && c.Rate > sweep.MaxSYNRate {
		errs = append(errs, fmt.Errorf("rate: %d is more than %d, beyond which answers to SYNs are lost", c.Rate, sweep.MaxSYNRate))
	}
	if c.HostRate < 0 || c.HostRate > sweep.MaxRate {
		errs = append(errs, fmt.Errorf("host_rate: %d is not between 0 and %d", c.HostRate, sweep.MaxRate))
	}
	if c.NetworkRate < 0 || c.NetworkRate > sweep.MaxRate {
		errs = append(errs, fmt.Errorf("network_rate: %d is not between 0 and %d", c.NetworkRate, sweep.MaxRate))
	}
	if c.Discovery != sweep.Auto && c.Discovery != sweep.Quick && c.Discovery != sweep.Off {
		errs = append(errs, fmt.Errorf("discovery: %q is neither auto, quick nor off", c.Discovery))
	}
	if c.FakeShare <= 0 || c.FakeShare > 1 {
		errs = append(errs, fmt.Errorf("fake_share: %v is not above 0 and at most 1", c.FakeShare))
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
	if c.Lease < 3*time.Second || c.Lease > 10*time.Minute {
		errs = append(errs, fmt.Errorf("lease: %v is not between 3s and 10m", c.Lease))
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
