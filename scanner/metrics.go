package scanner

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	shards       *prometheus.CounterVec // kind, result
	seconds      *prometheus.HistogramVec
	busy         prometheus.Gauge
	refused      *prometheus.CounterVec // what
	probes       prometheus.Counter
	connections  prometheus.Counter
	datagrams    prometheus.Counter
	questions    *prometheus.CounterVec // result
	found        *prometheus.CounterVec // method
	transfers    *prometheus.CounterVec // result
	open         prometheus.Counter
	unconfirmed  prometheus.Counter
	overloaded   prometheus.Counter
	gone         prometheus.Counter
	late         prometheus.Counter
	stalls       prometheus.Counter
	doubted      *prometheus.CounterVec // what
	identifyErrs prometheus.Counter
	observations *prometheus.CounterVec // kind
}

func newMetrics(reg prometheus.Registerer) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fengsui", Subsystem: "scanner", Name: name, Help: help,
		}, labels))
	}
	return &metrics{
		shards: counter("shards_total", "Attempts at shards by how they ended: done, failed, refused, expired; given back: retry, off_hours, stopped, abandoned; unreadable.", "kind", "result"),
		seconds: register(reg, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "fengsui", Subsystem: "scanner", Name: "shard_seconds",
			Help: "Time that a shard took.", Buckets: prometheus.ExponentialBuckets(0.1, 3, 9),
		}, []string{"kind"})),
		busy: register(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Namespace: "fengsui", Subsystem: "scanner", Name: "busy", Help: "1 while a shard is looked at.",
		})),
		refused:      counter("refused_total", "What was not sent because the registry does not authorise it.", "what"),
		probes:       counter("probes_total", "Addresses × ports that were swept.").WithLabelValues(),
		connections:  counter("connections_total", "Connections that the scanner itself tried.").WithLabelValues(),
		datagrams:    counter("udp_questions_total", "Questions that were put to UDP ports, one datagram each.").WithLabelValues(),
		questions:    counter("dns_questions_total", "DNS questions by what came of them.", "result"),
		found:        counter("names_found_total", "Names that discovery found, by how.", "method"),
		transfers:    counter("zone_transfers_total", "Zone transfers that were asked for: open, refused, failed.", "result"),
		open:         counter("open_ports_total", "Open ports that were confirmed.").WithLabelValues(),
		unconfirmed:  counter("unconfirmed_ports_total", "Ports that a sweep found open and that did not take our connection.").WithLabelValues(),
		overloaded:   counter("overloaded_sweeps_total", "Sweeps repeated because this machine did not keep up with their rate.").WithLabelValues(),
		gone:         counter("absent_hosts_total", "Addresses whose ports were not swept because discovery found nobody there.").WithLabelValues(),
		late:         counter("late_answers_total", "Answers of a sweep to a repeated SYN: the network drops.").WithLabelValues(),
		stalls:       counter("sweep_stalls_total", "Times that a sweep waited because this machine had no socket left.").WithLabelValues(),
		doubted:      counter("doubted_total", "What answers and is not believed: host, which answers on every port, or port, which answers on every address.", "what"),
		identifyErrs: counter("identify_errors_total", "Services that could not be identified because of an error.").WithLabelValues(),
		observations: counter("observations_total", "Observations made.", "kind"),
	}
}

// register adds c, or returns the one that is there already: the registerer may
// be nil, and a test may make two scanners.
func register[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	if err := reg.Register(c); err != nil {
		var there prometheus.AlreadyRegisteredError
		if errors.As(err, &there) {
			if same, ok := there.ExistingCollector.(C); ok {
				return same
			}
		}
		panic(err) // a mistake in this file
	}
	return c
}

// seldom logs a repeated trouble at most every ten seconds, with how often it
// was silent in between.
type seldom struct {
	log     *slog.Logger
	mu      sync.Mutex
	last    map[string]time.Time
	skipped map[string]int
}

func (s *seldom) warn(msg string, args ...any) {
	s.mu.Lock()
	now := time.Now()
	if s.last == nil {
		s.last, s.skipped = map[string]time.Time{}, map[string]int{}
	}
	if now.Sub(s.last[msg]) < 10*time.Second {
		s.skipped[msg]++
		s.mu.Unlock()
		return
	}
	if n := s.skipped[msg]; n > 0 {
		args = append(args, "unlogged", n)
	}
	s.last[msg], s.skipped[msg] = now, 0
	s.mu.Unlock()
	s.log.Warn(msg, args...)
}
