package store

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	queries  *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inserted prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, running func() float64) *metrics {
	m := &metrics{
		queries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fengsui_store_requests_total",
			Help: "Requests by kind (select, insert, other, hello, auth) and result (ok, error, cancelled).",
		}, []string{"kind", "result"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "fengsui_store_request_seconds",
			Help:    "Time from a request's arrival to its last byte.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"kind"}),
		inserted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "fengsui_store_inserted_bytes_total",
			Help: "Bytes of the data of acknowledged INSERTs.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.queries, m.duration, m.inserted, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "fengsui_store_running_requests",
			Help: "Requests that the engine is working on.",
		}, running))
	}
	return m
}
