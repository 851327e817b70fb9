// Package memory sets how a process collects its garbage: rarely while there is
// room, and harder the nearer it comes to its share of the machine. It never
// refuses memory: what is alive stays, even beyond the share.
package memory

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// Config is how a process's memory is collected.
type Config struct {
	Share     float64 `koanf:"share"`      // of the machine's memory, or of the container's, over 0 up to 1: nearer to it garbage is collected harder; the environment's GOMEMLIMIT goes before it
	GCPercent int     `koanf:"gc_percent"` // garbage is collected when there is this much of it for each hundred bytes alive; the environment's GOGC goes before it
}

// DefaultConfig collects half as often as Go does by itself, and leaves half of the
// machine to the store, the broker and the files at hand.
func DefaultConfig() Config { return Config{Share: 0.5, GCPercent: 200} }

// Validate says what is wrong with c.
func (c Config) Validate() error {
	var errs []error
	if !(c.Share > 0 && c.Share <= 1) {
		errs = append(errs, fmt.Errorf("share: %v is not over 0 and up to 1", c.Share))
	}
	if c.GCPercent < 10 || c.GCPercent > 1000 {
		errs = append(errs, fmt.Errorf("gc_percent: %d is not between 10 and 1000", c.GCPercent))
	}
	return errors.Join(errs...)
}

// Apply sets it for this process; what holds then is in the metrics of the Go runtime
// (go_gc_gogc_percent, go_gc_gomemlimit_bytes). Where nobody can say how much memory there is, the
// heap has no bound but what is alive.
func Apply(c Config) error {
	if err := c.Validate(); err != nil {
		return fmt.Errorf("memory: %w", err)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(c.GCPercent)
	}
	_, err := memlimit.SetGoMemLimitWithOpts(
		memlimit.WithRatio(c.Share),
		memlimit.WithProvider(memlimit.ApplyFallback(memlimit.FromCgroup, memlimit.FromSystem)),
	)
	if err != nil {
		return fmt.Errorf("memory: bounding the heap: %w", err)
	}
	return nil
}
