package collector

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/collector/spool"
)

// metrics says where every line is. When nothing moves,
//
//	received = shipped{by="direct"} + spooled + queued + lost
//	spool at the start + spooled = shipped{by="spool"} + spool
//
// but for lines that the spool was given twice after an error of the disk.
type metrics struct {
	received *prometheus.CounterVec
	bytes    *prometheus.CounterVec
	rejected *prometheus.CounterVec
	shipped  *prometheus.CounterVec
	spooled  prometheus.Counter
	lost     prometheus.Counter
	cut      prometheus.Counter
	full     prometheus.Counter
	troubles prometheus.Counter

	queued atomic.Int64
	spool  atomic.Pointer[spool.Spool]
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{}
	var all []prometheus.Collector
	vec := func(name, help, label string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "fengsui", Subsystem: "collector", Name: name, Help: help}, []string{label})
		all = append(all, c)
		return c
	}
	counter := func(name, help string) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fengsui", Subsystem: "collector", Name: name, Help: help})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string, value func() float64) {
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "fengsui", Subsystem: "collector", Name: name, Help: help}, value))
	}
	m.received = vec("received_lines_total", "Lines accepted from inputs.", "input")
	m.bytes = vec("received_bytes_total", "Bytes of the lines accepted from inputs.", "input")
	m.rejected = vec("rejected_lines_total", "Lines accepted that are no whole records of their framing; they become dead letters.", "input")
	m.shipped = vec("shipped_lines_total", "Lines acknowledged by Kafka, sent directly or out of the spool.", "by")
	m.spooled = counter("spooled_lines_total", "Lines written to the spool.")
	m.lost = counter("lost_lines_total", "Lines accepted that found no room in Kafka or the spool before the end.")
	m.cut = counter("cut_lines_total", "Times that a line was cut because it was larger than Kafka takes.")
	m.full = counter("spool_waits_total", "Times that lines had to wait because the spool was full.")
	m.troubles = counter("spool_errors_total", "Failures to write or read the spool.")
	gauge("queued_lines", "Lines in memory on their way.", func() float64 { return float64(m.queued.Load()) })
	onSpool := func(value func(*spool.Spool) float64) func() float64 {
		return func() float64 {
			if s := m.spool.Load(); s != nil {
				return value(s)
			}
			return 0
		}
	}
	gauge("spool_lines", "Lines in the spool.", onSpool(func(s *spool.Spool) float64 { return float64(s.Len()) }))
	gauge("spool_bytes", "Bytes of disk that the spool takes.", onSpool(func(s *spool.Spool) float64 { return float64(s.Bytes()) }))
	gauge("spool_full", "1 while lines wait because the spool is full.", onSpool(func(s *spool.Spool) float64 {
		if s.FullSince().IsZero() {
			return 0
		}
		return 1
	}))
	gauge("spool_damaged_lines", "Lines found damaged in the spool since the start.", onSpool(func(s *spool.Spool) float64 { return float64(s.Lost()) }))
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return m, nil
}

// spooledNow is how many lines are in the spool.
func (m *metrics) spooledNow() uint64 {
	if s := m.spool.Load(); s != nil {
		return s.Len()
	}
	return 0
}

// inputMetrics is one input's share.
type inputMetrics struct {
	received, bytes, rejected prometheus.Counter
}

func (m *metrics) of(name string) inputMetrics {
	return inputMetrics{m.received.WithLabelValues(name), m.bytes.WithLabelValues(name), m.rejected.WithLabelValues(name)}
}

// count counts lines as received.
func (m inputMetrics) count(runs []run) {
	for _, r := range runs {
		m.received.Add(float64(r.lines))
		m.bytes.Add(float64(r.bytes))
		m.rejected.Add(float64(r.rejected))
	}
}
