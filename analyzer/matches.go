package analyzer

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"fengsui/analyzer/correlate"
	"fengsui/analyzer/mining"
	"fengsui/analyzer/ruleset"
	"fengsui/analyzer/tune"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// rewindRecords is the least number of matches that are read again after a
// restart: a crash repeats the matches of one batch of each partition of logs,
// and those must be recognised.
const rewindRecords = 100_000

// matches handles one partition of the topic matches: it folds them into alerts
// and mining detections.
type matches struct {
	*Analyzer
	producer  *kafka.Producer // of alerts
	again     *kafka.Producer // of matches
	partition int
	committed int64
	alerts    *correlate.Fold
	gate      *tune.Gate
	mining    *mining.Fold
	encoder   schemas.MatchEncoder
	decoder   schemas.MatchDecoder
	memory    [correlate.Lookahead]schemas.Match // of decoded
	decoded   [correlate.Lookahead]*schemas.Match
	counted   []*schemas.Match     // those of decoded that are folded into alerts
	chained   []kafka.Record       // what matches of this batch lead to
	told      map[string]time.Time // when a rule's losses were last logged
	untold    map[string]correlate.Losses
	who       *whoHad
}

// matchProducer compresses: many matches in a row repeat one definition, so that
// a record takes a tenth. More of them stand in the topic then, and are there for
// counting after a restart.
func (a *Analyzer) matchProducer() (*kafka.Producer, error) {
	cfg := a.deps.Kafka
	if cfg.Compression == "" || cfg.Compression == "none" {
		cfg.Compression = "lz4"
	}
	return kafka.NewProducer(cfg, a.kafkaDeps())
}

func (a *Analyzer) openMatches(producer, again *kafka.Producer) kafka.OpenFunc {
	return func(ctx context.Context, topic string, partition int, committed int64) (kafka.Handler, int64, error) {
		h := &matches{
			Analyzer: a, producer: producer, again: again, partition: partition, committed: committed,
			alerts: correlate.New(a.cfg.Correlate), gate: tune.NewGate(), mining: mining.NewFold(a.cfg.Mining),
			told: map[string]time.Time{}, untold: map[string]correlate.Losses{},
		}
		h.who = newWho(h)
		if err := h.seed(ctx); err != nil {
			return nil, 0, err
		}
		from, err := a.rewindTo(ctx, topic, partition, committed)
		if err != nil {
			return nil, 0, fmt.Errorf("finding where to read %s/%d again from: %w", topic, partition, err)
		}
		h.who.start()
		return h, from, nil
	}
}

// seed puts back what was written before a restart and may still change.
func (h *matches) seed(ctx context.Context) error {
	now := time.Now().UTC()
	alerts, err := clickhouse.LoadDocs[schemas.Alert](ctx, h.deps.Store, "alerts",
		"kind = ? AND status = ? AND updated > ?", string(schemas.AlertRule), string(schemas.AlertOpen), now.Add(-2*max(h.cfg.Correlate.Quiet, h.window())))
	if err != nil {
		return fmt.Errorf("loading open alerts: %w", err)
	}
	alerts = only(alerts, func(a *schemas.Alert) bool { return a.Partition == h.partition })
	h.alerts.Seed(alerts)
	h.who.resume(alerts, now)
	if err := h.seedGate(ctx, now); err != nil {
		return err
	}
	detections, err := clickhouse.LoadDocs[schemas.MiningDetection](ctx, h.deps.Store, "mining_detections",
		"status = ? AND updated > ?", string(schemas.AlertOpen), now.Add(-2*h.cfg.Mining.Quiet))
	if err != nil {
		return fmt.Errorf("loading open mining detections: %w", err)
	}
	detections = only(detections, func(d *schemas.MiningDetection) bool { return d.Partition == h.partition })
	h.mining.Seed(detections)
	for i := range detections {
		h.who.resume([]schemas.Alert{mining.ToAlert(&detections[i])}, now)
	}
	return nil
}

// seedGate puts back the alerts that throttles count.
func (h *matches) seedGate(ctx context.Context, now time.Time) error {
	tuner := h.rules.Current().Tuner
	rules, longest := tuner.Throttled()
	if len(rules) == 0 {
		return nil
	}
	alerts, err := clickhouse.LoadDocs[schemas.Alert](ctx, h.deps.Store, "alerts",
		"rule_id IN (?) AND (raised > ? OR first > ?) ORDER BY first DESC LIMIT 100000", rules, now.Add(-longest), now.Add(-longest))
	if err != nil {
		return fmt.Errorf("loading the alerts of throttled rules: %w", err)
	}
	slices.Reverse(alerts)
	h.gate.Seed(tuner, only(alerts, func(a *schemas.Alert) bool { return a.Partition == h.partition }))
	return nil
}

func only[T any](all []T, keep func(*T) bool) []T {
	out := all[:0]
	for i := range all {
		if keep(&all[i]) {
			out = append(out, all[i])
		}
	}
	return out
}

// window is how much of the matches rebuilds what correlations know: whether a
// condition held at any time in the last timespan before it takes the timespan
// before that, and late events may stand before it still.
func (a *Analyzer) window() time.Duration {
	return max(a.cfg.Rewind, 2*a.rules.Current().Engine.LongestTimespan()+a.cfg.Correlate.Lateness)
}

// rewindTo is where the partition is read again from: the correlation window
// before now, and at the least rewindRecords before the committed offset.
func (a *Analyzer) rewindTo(ctx context.Context, topic string, partition int, committed int64) (int64, error) {
	if committed <= 0 {
		return kafka.Committed, nil
	}
	client, err := kafka.NewClient(a.deps.Kafka)
	if err != nil {
		return 0, err
	}
	defer client.Close()
	first, _, err := client.Bounds(ctx, topic, partition)
	if err != nil {
		return 0, err
	}
	from, err := client.OffsetForTime(ctx, topic, partition, time.Now().Add(-a.window()))
	if err != nil {
		return 0, err
	}
	return max(first, min(from, committed-rewindRecords)), nil
}

// Close ends the look for who was behind the alerts' addresses.
func (h *matches) Close() error {
	h.who.close()
	return nil
}

// Handle folds one batch and writes what changed. The topic alerts comes before
// the tables: rows that hold a record's offset mark it as done.
func (h *matches) Handle(ctx context.Context, records []kafka.Record) error {
	h.who.mu.Lock()
	defer h.who.mu.Unlock()
	h.who.unsettled = true // until this batch is written
	now := time.Now().UTC()
	rules, snap := h.rules.Current(), h.registry.Snapshot()
	var (
		alerts     = newChanges(func(a *schemas.Alert) string { return a.ID })
		detections = newChanges(func(d *schemas.MiningDetection) string { return d.ID })
		first      = true
		token      string
	)
	for i := range records {
		if i%correlate.Lookahead == 0 {
			h.decode(records[i:min(i+correlate.Lookahead, len(records))])
		}
		r, m := &records[i], h.decoded[i%correlate.Lookahead]
		if m == nil {
			continue
		}
		if r.Offset < h.committed {
			h.alerts.Warm(m)
			h.mining.Warm(m, r.Partition, r.Offset)
			continue
		}
		if first {
			token, first = fmt.Sprintf("%s/%d/%d-%d", schemas.TopicMatches, h.partition, r.Offset, records[len(records)-1].Offset), false
		}
		if m.Kind == schemas.MatchMining {
			if d, changed := h.mining.Add(m, r.Partition, r.Offset, now); changed {
				detections.add(d)
			}
			continue
		}
		changed, next := h.alerts.Add(m, r.Partition, r.Offset, now)
		for _, a := range changed {
			if a = h.pass(rules, snap, a); a != nil {
				alerts.add(a)
			}
		}
		if err := h.lead(rules, next); err != nil {
			return err
		}
	}
	h.tellLosses(now)
	if err := h.sendChained(ctx); err != nil {
		return err
	}
	detected := detections.list()
	for i := range detected {
		a := mining.ToAlert(&detected[i])
		alerts.add(&a)
	}
	if err := h.writeAlerts(ctx, h.producer, alerts.list(), token); err != nil {
		return err
	}
	if err := h.writeDetections(ctx, detected, token); err != nil {
		return err
	}
	h.who.unsettled = false
	h.who.note(alerts.list(), now)
	return nil
}

// decode reads the next few matches; of what is none it leaves nil.
func (h *matches) decode(records []kafka.Record) {
	h.counted = h.counted[:0]
	for i := range records {
		r, m := &records[i], &h.memory[i]
		h.decoded[i] = nil
		if err := h.decoder.Decode(r.Value, m); err != nil {
			h.metrics.badRecords.WithLabelValues(schemas.TopicMatches).Inc()
			h.log.Warn("match passed over", "partition", r.Partition, "offset", r.Offset, "error", err)
			continue
		}
		if h.decoded[i] = m; m.Kind == schemas.MatchRule {
			h.counted = append(h.counted, m)
		}
	}
	h.alerts.Expect(h.counted)
}

// lead keeps what a correlation that was met counts for.
func (h *matches) lead(rules *ruleset.Current, next []schemas.Match) error {
	for i := range next {
		m := &next[i]
		value, err := h.encoder.Append(nil, m)
		if err != nil {
			return err
		}
		h.metrics.matches.WithLabelValues("chained").Inc()
		h.chained = append(h.chained, kafka.Record{Key: []byte(rules.Tuner.RecordKey(m)), Value: value})
	}
	return nil
}

// sendChained puts it back into the topic, before the records that led to it are
// committed. Done again after a crash it repeats the same ids, which are known.
func (h *matches) sendChained(ctx context.Context) error {
	if len(h.chained) == 0 {
		return nil
	}
	if err := h.again.Produce(ctx, schemas.TopicMatches, h.chained); err != nil {
		return fmt.Errorf("sending to %s: %w", schemas.TopicMatches, err)
	}
	clear(h.chained)
	h.chained = h.chained[:0]
	return nil
}

// lossesEvery is how often the log repeats that a rule does not count all.
const lossesEvery = 10 * time.Minute

// tellLosses counts what correlations had to pass over, and logs it by rule.
func (h *matches) tellLosses(now time.Time) {
	h.alerts.Losses(func(l correlate.Losses) {
		sum := h.untold[l.Rule.ID]
		sum.Rule = l.Rule
		for _, what := range []struct {
			name string
			n    uint64
			sum  *uint64
		}{
			{"groups", l.Groups, &sum.Groups},
			{"events", l.Events, &sum.Events},
			{"values", l.Values, &sum.Values},
			{"late", l.Late, &sum.Late},
			{"unusable", l.Unusable, &sum.Unusable},
		} {
			if what.n > 0 {
				h.metrics.evicted.WithLabelValues(l.Rule.ID, l.Rule.Title, what.name).Add(float64(what.n))
				*what.sum += what.n
			}
		}
		h.untold[l.Rule.ID] = sum
	})
	for id, l := range h.untold {
		if now.Sub(h.told[id]) < lossesEvery {
			continue
		}
		h.log.Warn("a correlation does not count everything; raise analyzer.correlate's bounds or narrow the rule",
			"rule", id, "title", l.Rule.Title, "partition", h.partition, "groups_evicted", l.Groups, "events_evicted", l.Events,
			"values_evicted", l.Values, "too_late", l.Late, "unusable", l.Unusable)
		h.told[id] = now
		delete(h.untold, id)
	}
}

// pass gives an alert its level, or keeps it back.
func (h *matches) pass(rules *ruleset.Current, snap *directory.Snapshot, a *schemas.Alert) *schemas.Alert {
	out, by := h.gate.Pass(rules.Tuner, a, snap)
	if by != nil {
		h.metrics.suppressed.WithLabelValues("throttle", a.Rule.ID, by.Name).Inc()
	}
	return out
}

// writeDetections stores detections, after their alerts: a detection's row marks
// its records as done.
func (h *matches) writeDetections(ctx context.Context, detected []schemas.MiningDetection, token string) error {
	if len(detected) == 0 {
		return nil
	}
	err := h.persist(ctx, "mining_detections", func(ctx context.Context) error {
		return h.deps.Store.InsertDetections(ctx, detected, token)
	})
	if err != nil {
		return err
	}
	for i := range detected {
		if detected[i].Version == 1 {
			h.metrics.detections.Inc()
		}
	}
	return nil
}

// writeAlerts sends alerts to the topic and stores them.
func (a *Analyzer) writeAlerts(ctx context.Context, producer *kafka.Producer, alerts []schemas.Alert, token string) error {
	if len(alerts) == 0 {
		return nil
	}
	out := make([]kafka.Record, len(alerts))
	for i := range alerts {
		value, err := json.Marshal(&alerts[i])
		if err != nil {
			return fmt.Errorf("encoding alert %s: %w", alerts[i].ID, err)
		}
		out[i] = kafka.Record{Key: []byte(alerts[i].ID), Value: value}
	}
	if err := producer.Produce(ctx, schemas.TopicAlerts, out); err != nil {
		return fmt.Errorf("sending to %s: %w", schemas.TopicAlerts, err)
	}
	err := a.persist(ctx, "alerts", func(ctx context.Context) error {
		return a.deps.Store.InsertAlerts(ctx, alerts, token)
	})
	if err != nil {
		return err
	}
	stored := time.Now()
	for i := range alerts {
		if alerts[i].Version == 1 {
			a.metrics.alerts.Inc()
			if !alerts[i].Received.IsZero() {
				a.metrics.latency.Observe(stored.Sub(alerts[i].Received).Seconds())
			}
		}
	}
	return nil
}

// changes keeps the newest state of each thing that a batch changed, in the
// order in which they first changed.
type changes[T any] struct {
	id    func(*T) string
	at    map[string]int
	items []T
}

func newChanges[T any](id func(*T) string) *changes[T] {
	return &changes[T]{id: id, at: map[string]int{}}
}

func (c *changes[T]) add(v *T) {
	id := c.id(v)
	if i, ok := c.at[id]; ok {
		c.items[i] = *v
		return
	}
	c.at[id] = len(c.items)
	c.items = append(c.items, *v)
}

func (c *changes[T]) list() []T { return c.items }
