package analyzer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/drift"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// observations handles the topic observations: it keeps the asset map and finds
// drift. The topic has one partition, since a name and its address are judged
// together.
type observations struct {
	*Analyzer
	producer  *kafka.Producer
	partition int
	assets    *assets.Map
	counted   int64  // the place up to which edges are counted in
	full      uint64 // assets that found no room, as far as was said
	fullSaid  time.Time

	// mu keeps a batch and a reconsideration apart.
	mu     sync.Mutex
	judge  *drift.Judge
	judged *directory.Snapshot // the registry that the drifts were last judged by
	at     time.Time           // and when
	owed   []schemas.Drift     // judged, and not yet written
	noted  noted

	unasked []schemas.ScanTask // wanted by the judge, and not yet asked for

	stop    context.CancelFunc
	stopped chan struct{}
}

// The registry is looked at for changes this often, and every drift is judged
// anew this often even without one, since entries begin and end with time.
const (
	reconsiderEvery  = 250 * time.Millisecond
	reconsiderAnyway = time.Minute
)

func (a *Analyzer) openObservations(producer *kafka.Producer) kafka.OpenFunc {
	return func(ctx context.Context, topic string, partition int, _ int64) (kafka.Handler, int64, error) {
		if partition != 0 {
			return nil, 0, fmt.Errorf("the topic %s has more than one partition: a name and its address must be judged together", topic)
		}
		h := &observations{Analyzer: a, producer: producer, partition: partition, assets: assets.NewMapWith(a.cfg.Assets), judge: drift.NewJudge(a.cfg.Drift)}
		drifts, err := clickhouse.LoadDocs[schemas.Drift](ctx, a.deps.Store, "drift", "")
		if err != nil {
			return nil, 0, fmt.Errorf("loading drifts: %w", err)
		}
		h.judge.Seed(drifts)
		h.noted.seed(drifts)
		if err := h.seedMap(ctx); err != nil {
			return nil, 0, err
		}
		var own context.Context
		own, h.stop = context.WithCancel(ctx)
		h.stopped = make(chan struct{})
		go h.keepNoted(own)
		go h.reconsider(own)
		return h, kafka.Committed, nil
	}
}

// Close ends the reconsidering.
func (h *observations) Close() error {
	h.stop()
	<-h.stopped
	<-h.noted.stopped
	return nil
}

// reconsider judges the drifts anew when the registry has changed.
func (h *observations) reconsider(ctx context.Context) {
	defer close(h.stopped)
	tick := time.NewTicker(reconsiderEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			if err := h.reconsiderOnce(ctx, now.UTC()); err != nil && ctx.Err() == nil {
				h.metrics.retries.WithLabelValues("drift").Inc()
				h.log.Warn("judging drifts anew", "error", err)
			}
		}
	}
}

func (h *observations) reconsiderOnce(ctx context.Context, now time.Time) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	snap := h.registry.Snapshot()
	if snap == h.judged && now.Sub(h.at) < reconsiderAnyway && len(h.owed)+len(h.unasked) == 0 {
		return nil
	}
	// What a scan passes over in silence, as it does a host that was switched
	// off, is only found by looking again at what is open.
	if now.Sub(h.at) >= reconsiderAnyway {
		h.unasked = append(h.unasked, h.judge.Recheck(snap, now)...)
	}
	drifts, asked := h.judge.Reconsider(snap, now)
	h.judged, h.at = snap, now
	// The judge has moved on: what cannot be written or asked for now is the next
	// time.
	h.owed, h.unasked = append(h.owed, drifts...), append(h.unasked, asked...)
	if err := h.askAgain(ctx, h.unasked); err != nil {
		return err
	}
	h.unasked = nil
	token := fmt.Sprintf("reconsidered/%d", now.UnixNano())
	if err := h.writeDrift(ctx, snap, h.owed, token); err != nil {
		return err
	}
	if err := h.note(ctx, snap, nil, h.owed, now, token); err != nil {
		return err
	}
	h.owed = nil
	return nil
}

// changeSet is what one batch changes.
type changeSet struct {
	seen   []schemas.Observation
	assets *changes[schemas.Asset]
	mapped mapChanges
	drifts *changes[schemas.Drift]
	asked  []schemas.ScanTask
}

// Handle folds one batch and writes what changed. The observations themselves
// come last: who finds a shard's end among them finds what it saw in the map.
// Rows of assets and drifts hold the offset of what they have counted in, so a
// batch that is handled again changes nothing twice.
func (h *observations) Handle(ctx context.Context, records []kafka.Record) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	snap, now := h.registry.Snapshot(), time.Now().UTC()
	set := &changeSet{
		assets: newChanges(func(a *schemas.Asset) string { return a.Key }),
		mapped: newMapChanges(),
		drifts: newChanges(func(d *schemas.Drift) string { return d.ID }),
	}
	all, errs := decodeAll(records)
	for i := range records {
		if errs[i] != nil {
			h.metrics.badRecords.WithLabelValues(schemas.TopicObservations).Inc()
			h.log.Warn("observation passed over", "offset", records[i].Offset, "error", errs[i])
			continue
		}
		h.fold(snap, &records[i], &all[i], now, set)
	}
	h.metrics.observations.Add(float64(len(set.seen)))
	token := fmt.Sprintf("%s/%d/%d-%d", schemas.TopicObservations, h.partition, records[0].Offset, records[len(records)-1].Offset)
	if err := h.askAgain(ctx, set.asked); err != nil {
		return err
	}
	wait, err := h.writeMap(ctx, set, token)
	if err != nil {
		return err
	}
	err = h.writeDrift(ctx, snap, set.drifts.list(), token)
	if err == nil {
		err = h.note(ctx, snap, set.assets.list(), set.drifts.list(), now, token)
	}
	if err := errors.Join(err, wait()); err != nil {
		return err
	}
	h.counted = max(h.counted, records[len(records)-1].Offset)
	if len(set.seen) == 0 {
		return nil
	}
	return h.persist(ctx, "observations", func(ctx context.Context) error {
		return h.deps.Store.InsertObservations(ctx, set.seen, token)
	})
}

func (h *observations) fold(snap *directory.Snapshot, r *kafka.Record, o *schemas.Observation, now time.Time, set *changeSet) {
	set.seen = append(set.seen, *o)
	if !o.OfShard() && o.Method != assets.MethodMarks { // what is abroad is no asset
		h.foldMap(o, r, set)
	}
	if o.Method == assets.MethodLease {
		return // a client of the network, and no server that came unasked
	}
	drifts, asked := h.judge.Observe(snap, o, r.Partition, r.Offset, now)
	for i := range drifts {
		set.drifts.add(&drifts[i])
	}
	set.asked = append(set.asked, asked...)
}

// askAgain asks the scanners for second looks.
func (h *observations) askAgain(ctx context.Context, tasks []schemas.ScanTask) error {
	if len(tasks) == 0 {
		return nil
	}
	out := make([]kafka.Record, len(tasks))
	for i := range tasks {
		value, err := json.Marshal(&tasks[i])
		if err != nil {
			return fmt.Errorf("encoding scan task %s/%s: %w", tasks[i].Job, tasks[i].Shard, err)
		}
		out[i] = kafka.Record{Key: []byte(tasks[i].Key()), Value: value}
	}
	if err := h.producer.Produce(ctx, schemas.TopicScanTasks, out); err != nil {
		return fmt.Errorf("asking for a second look: %w", err)
	}
	return nil
}

// writeDrift stores drifts and the alerts that they open, update or close.
func (h *observations) writeDrift(ctx context.Context, snap *directory.Snapshot, drifts []schemas.Drift, token string) error {
	if len(drifts) == 0 {
		return nil
	}
	var alerts []schemas.Alert
	for i := range drifts {
		if d := &drifts[i]; drift.IsAlert(d) {
			alerts = append(alerts, drift.ToAlert(d, snap))
			if late, ok := drift.LateAlert(d, snap); ok {
				alerts = append(alerts, late)
			}
		}
	}
	if err := h.writeAlerts(ctx, h.producer, alerts, token); err != nil {
		return err
	}
	err := h.persist(ctx, "drift", func(ctx context.Context) error {
		return h.deps.Store.InsertDrift(ctx, drifts, token)
	})
	if err != nil {
		return err
	}
	h.metrics.drift.Add(float64(len(drifts)))
	return nil
}
