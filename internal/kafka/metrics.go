package kafka

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// register adds c to reg, or returns the same collector that another producer or
// group of this process has added before.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	err := reg.Register(c)
	var already prometheus.AlreadyRegisteredError
	if errors.As(err, &already) {
		if old, ok := already.ExistingCollector.(C); ok {
			return old
		}
	}
	if err != nil {
		panic(err) // two different metrics of one name: a mistake in the program
	}
	return c
}

func counter(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.CounterVec {
	return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: "fengsui", Subsystem: "kafka", Name: name, Help: help,
	}, labels))
}

func gauge(reg prometheus.Registerer, name, help string, labels ...string) *prometheus.GaugeVec {
	return register(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: "fengsui", Subsystem: "kafka", Name: name, Help: help,
	}, labels))
}

// quiet logs a repeated trouble at most every ten seconds, and says how often it
// was silent in between.
type quiet struct {
	log *slog.Logger

	mu     sync.Mutex
	last   time.Time
	silent int
}

func (q *quiet) warn(msg string, args ...any) {
	q.mu.Lock()
	if time.Since(q.last) < 10*time.Second {
		q.silent++
		q.mu.Unlock()
		return
	}
	if q.silent > 0 {
		args = append(args, "not_logged", q.silent)
	}
	q.last, q.silent = time.Now(), 0
	q.mu.Unlock()
	q.log.Warn(msg, args...)
}
