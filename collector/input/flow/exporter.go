package flow

import (
	"bytes"
	"math"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// exporter names one numbering of templates and sequence numbers: a device, one
// of its observation domains (engine, sub-agent), and the version it speaks.
type exporter struct {
	from    netip.Addr
	agent   netip.Addr // sFlow's
	version version
	domain  uint32
}

// domain is what is known of an exporter.
type domain struct {
	mu      sync.Mutex
	of      exporter
	last    time.Time // when it last said something
	removed bool      // forgotten: whoever still holds it looks again

	known   map[uint16]*template
	pending []pendingSet
	waiting int // bytes of pending

	expected  uint32 // the next sequence number
	counting  bool   // expected is known
	before    uint32 // IPFIX: the number before
	inclusive bool   // IPFIX: the numbers count the message's own records
	uptime    uint32 // ms, of the last datagram

	rates        map[uint64]uint32 // by sampler
	rate         uint32            // when a record names no sampler; 0: not said
	interfaces   map[uint32]string
	applications map[uint64]string
	initMillis   uint64 // when the exporter began; 0: not said
}

// pendingSet is data whose template is not known yet.
type pendingSet struct {
	message message
	id      uint16
	data    []byte
}

// The bounds of what one exporter may have us remember.
const (
	maxSamplers     = 256
	maxInterfaces   = 4096
	maxApplications = 4096
	maxPendingSets  = 256
	maxPendingBytes = 1 << 20
)

// decoder keeps the exporters. It is safe for concurrent use: what one exporter
// sends is decoded by one at a time.
type decoder struct {
	cfg     Config
	metrics *metrics
	pending atomic.Int64 // bytes that wait for templates

	mu      sync.RWMutex
	domains map[exporter]*domain
}

func newDecoder(cfg Config, m *metrics) *decoder {
	return &decoder{cfg: cfg, metrics: m, domains: make(map[exporter]*domain)}
}

func (d *decoder) count() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.domains)
}

// lock finds an exporter's domain and locks it; nil: there is no room for
// another.
func (d *decoder) lock(of exporter, now time.Time) *domain {
	for {
		d.mu.RLock()
		dom := d.domains[of]
		d.mu.RUnlock()
		if dom == nil {
			if dom = d.add(of); dom == nil {
				return nil
			}
		}
		dom.mu.Lock()
		if !dom.removed {
			dom.last = now
			return dom
		}
		dom.mu.Unlock()
	}
}

func (d *decoder) add(of exporter) *domain {
	d.mu.Lock()
	defer d.mu.Unlock()
	if dom := d.domains[of]; dom != nil {
		return dom
	}
	if len(d.domains) >= d.cfg.MaxExporters {
		return nil
	}
	dom := &domain{of: of, known: make(map[uint16]*template)}
	d.domains[of] = dom
	return dom
}

// sweep forgets what has grown too old.
func (d *decoder) sweep(now time.Time) {
	d.mu.RLock()
	all := make([]*domain, 0, len(d.domains))
	for _, dom := range d.domains {
		all = append(all, dom)
	}
	d.mu.RUnlock()
	for _, dom := range all {
		d.sweepDomain(dom, now)
	}
}

func (d *decoder) sweepDomain(dom *domain, now time.Time) {
	dom.mu.Lock()
	silent := now.Sub(dom.last) > d.cfg.TemplateLife
	for id, t := range dom.known {
		if now.Sub(t.last) > d.cfg.TemplateLife {
			delete(dom.known, id)
		}
	}
	d.drop(dom, func(p pendingSet) bool { return silent || now.Sub(p.message.received) > d.cfg.PendingTime })
	dom.removed = silent
	dom.mu.Unlock()
	if !silent {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.domains, dom.of)
	d.metrics.lost.DeletePartialMatch(prometheus.Labels{"exporter": dom.of.name()})
}

// forgetPending counts what still waits at the end.
func (d *decoder) forgetPending() {
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, dom := range d.domains {
		dom.mu.Lock()
		d.drop(dom, func(pendingSet) bool { return true })
		dom.mu.Unlock()
	}
}

// drop gives up pending sets, and counts them.
func (d *decoder) drop(dom *domain, which func(pendingSet) bool) {
	before := len(dom.pending)
	dom.pending = slices.DeleteFunc(dom.pending, func(p pendingSet) bool {
		if which(p) {
			d.unwait(dom, p)
			return true
		}
		return false
	})
	d.metrics.expired.Add(float64(before - len(dom.pending)))
}

func (d *decoder) unwait(dom *domain, p pendingSet) {
	dom.waiting -= len(p.data)
	d.pending.Add(-int64(len(p.data)))
}

// wait keeps a set of data until its template comes, if there is room.
func (d *decoder) wait(dom *domain, m *message, id uint16, set []byte) {
	if len(dom.pending) >= maxPendingSets || dom.waiting+len(set) > maxPendingBytes ||
		d.pending.Load()+int64(len(set)) > d.cfg.PendingBytes {
		d.metrics.expired.Inc()
		return
	}
	dom.pending = append(dom.pending, pendingSet{*m, id, bytes.Clone(set)})
	dom.waiting += len(set)
	d.pending.Add(int64(len(set)))
}

// replay decodes what waited for templates that are known now.
func (d *decoder) replay(w *writer, dom *domain) {
	if len(dom.pending) == 0 {
		return
	}
	ready := make([]pendingSet, 0, len(dom.pending))
	dom.pending = slices.DeleteFunc(dom.pending, func(p pendingSet) bool {
		if dom.known[p.id] == nil {
			return false
		}
		d.unwait(dom, p)
		ready = append(ready, p)
		return true
	})
	for i := range ready {
		p := &ready[i]
		if _, err := d.data(w, dom, &p.message, dom.known[p.id], p.data); err != nil {
			d.reject(w, p.data, p.message.received, err)
		}
	}
}

// name is the exporter as the metrics have it.
func (e exporter) name() string {
	if e.agent.IsValid() {
		return e.agent.String()
	}
	return e.from.String()
}

const (
	// farAhead is a jump of sequence numbers that nobody's loss explains.
	farAhead = 1 << 20
	// reordered is how far back a number may be without the exporter having
	// begun anew.
	reordered = 1 << 10
)

// sequence compares a datagram's number with the one expected, and says that
// the next will be n more. what names what the version counts. A datagram that
// came late was counted as lost already, and stays so.
func (d *decoder) sequence(dom *domain, number, n uint32, what string) {
	gap := int32(number - dom.expected) //nolint:gosec // modulo 2^32, as the numbers are
	if dom.counting && gap < 0 && gap > -reordered {
		return
	}
	if dom.counting && gap > 0 && gap < farAhead {
		d.metrics.lost.WithLabelValues(dom.of.name(), what).Add(float64(gap))
	}
	dom.expected, dom.counting = number+n, true
}

// sequenceIPFIX is sequence for IPFIX, whose numbers count the records before
// the message; but some exporters (softflowd) count the message's own too.
func (d *decoder) sequenceIPFIX(dom *domain, number, n uint32) {
	if dom.counting && n > 0 && number != dom.expected && number-n == dom.before {
		dom.inclusive = true
	}
	dom.before = number
	if dom.inclusive {
		number -= n
	}
	d.sequence(dom, number, n, "flows")
}

// restarted notices by its uptime that an exporter began anew: its numbers do.
func (dom *domain) restarted(uptime uint32) {
	if back := int32(dom.uptime - uptime); back > 60_000 { //nolint:gosec // modulo 2^32: it overflows after 49.7 days
		dom.counting = false
	}
	dom.uptime = uptime
}

// options takes from a record of options what explains the flows.
func (dom *domain) options(r *record) {
	if v := r.n[nInitMillis]; r.is(nInitMillis) && v <= math.MaxInt64/1_000_000 {
		dom.initMillis = v
	}
	if name := r.texts[tInterface]; len(name) > 0 {
		if index, ok := r.first(nScopeInterface, nIngress, nEgress); ok {
			remember(&dom.interfaces, uint32(index), string(name), maxInterfaces) //nolint:gosec // SNMP's are 32 bits
		}
	}
	if name := r.texts[tApplication]; len(name) > 0 && r.is(nApplicationID) {
		remember(&dom.applications, r.n[nApplicationID], string(name), maxApplications)
	}
	if rate, ok := r.rate(); ok {
		if r.is(nSamplerID) {
			remember(&dom.rates, r.n[nSamplerID], rate, maxSamplers)
		}
		// Most exporters have one sampler, and records that do not name it.
		dom.rate = rate
	}
}

func remember[K comparable, V any](into *map[K]V, k K, v V, most int) {
	if *into == nil {
		*into = make(map[K]V)
	}
	if _, ok := (*into)[k]; ok || len(*into) < most {
		(*into)[k] = v
	}
}

// maxRate bounds a sampling rate that is believed.
const maxRate = 1 << 24

// rate is the sampling rate that a record says: one packet in so many.
func (r *record) rate() (uint32, bool) {
	rate := uint64(0)
	switch {
	case r.is(nSamplingInterval) && r.n[nSamplingInterval] > 0:
		rate = r.n[nSamplingInterval]
	case r.is(nSamplerInterval) && r.n[nSamplerInterval] > 0:
		rate = r.n[nSamplerInterval]
	case r.is(nPacketInterval) && r.n[nPacketInterval] > 0 && r.is(nPacketSpace):
		if r.n[nPacketSpace] <= math.MaxUint32 && r.n[nPacketInterval] <= math.MaxUint32 {
			rate = (r.n[nPacketInterval] + r.n[nPacketSpace]) / r.n[nPacketInterval]
		}
	case r.is(nSampleSize) && r.n[nSampleSize] > 0 && r.is(nPopulation):
		rate = r.n[nPopulation] / r.n[nSampleSize]
	case r.is(nProbability):
		if p := math.Float64frombits(r.n[nProbability]); p > 1.0/maxRate && p <= 1 {
			rate = uint64(math.Round(1 / p))
		}
	}
	return uint32(rate), rate > 0 && rate <= maxRate //nolint:gosec // bounded
}

// sampling is the rate that a flow's counts are to be multiplied by.
func (d *decoder) sampling(dom *domain, r *record) uint32 {
	if rate, ok := r.rate(); ok {
		return rate
	}
	if r.is(nSamplerID) {
		if rate, ok := dom.rates[r.n[nSamplerID]]; ok {
			return rate
		}
		if r.n[nSamplerID] == 0 { // not sampled
			return 1
		}
	}
	if dom.rate > 0 {
		return dom.rate
	}
	return d.cfg.SamplingRate
}
