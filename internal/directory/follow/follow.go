// Package follow keeps a directory equal to the topic registry, for the services
// of one process. It never writes to the topic.
package follow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// Deps is what a follower stands on.
type Deps struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Follower is a component: it reads the topic from its beginning, and then on
// for ever.
type Follower struct {
	dir  *directory.Directory
	cfg  kafka.Config
	deps Deps
	bad  prometheus.Counter
}

// New makes a follower of the directory; it connects to nothing.
func New(cfg kafka.Config, dir *directory.Directory, deps Deps) (*Follower, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("registry follower: %w", err)
	}
	f := &Follower{dir: dir, cfg: cfg, deps: deps, bad: prometheus.NewCounter(prometheus.CounterOpts{
		Name: "fengsui_registry_bad_records_total", Help: "Records of the topic registry that could not be used; what was known of their key stays.",
	})}
	if err := deps.Metrics.Register(f.bad); err != nil {
		return nil, fmt.Errorf("registry follower: %w", err)
	}
	return f, nil
}

// Ready is closed when the registry is known whole.
func (f *Follower) Ready() <-chan struct{} { return f.dir.Ready() }

// Run follows until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	apply := func(r kafka.Record) error {
		if err := f.dir.Apply(string(r.Key), r.Value); err != nil {
			f.bad.Inc()
			f.deps.Log.Warn("registry record passed over", "offset", r.Offset, "error", err)
		}
		return nil
	}
	err := kafka.Follow(ctx, f.cfg, kafka.Deps{Log: f.deps.Log, Metrics: f.deps.Metrics}, schemas.TopicRegistry, apply, f.dir.CaughtUp)
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
