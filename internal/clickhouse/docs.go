package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"time"

	"fengsui/schemas"
)

// DeadLetter is a record that could not be parsed, with its place in the topic
// logs.
type DeadLetter struct {
	schemas.Origin
	Partition int
	Offset    int64
	Reason    string
	Raw       []byte
}

// attribute is one column of a table of documents: how to make it, and how a
// document fills it.
type attribute[T any] struct {
	name, typ string
	make      func() column
	add       func(column, *T)
}

func textOf[T any](name string, get func(*T) string) attribute[T] {
	return attribute[T]{
		name, "String", func() column { return &textColumn{} },
		func(c column, v *T) { c.(*textColumn).add(get(v)) },
	}
}

func lowOf[T any](name string, get func(*T) string) attribute[T] {
	return attribute[T]{
		name, "LowCardinality(String)", func() column { return &lowColumn{} },
		func(c column, v *T) { c.(*lowColumn).add(get(v)) },
	}
}

func numberOf[T any](name, typ string, width int, get func(*T) uint64) attribute[T] {
	return attribute[T]{
		name, typ, func() column { return &numberColumn{width: width} },
		func(c column, v *T) { c.(*numberColumn).add(get(v)) },
	}
}

func countOf[T any](name string, get func(*T) uint64) attribute[T] {
	return numberOf(name, "UInt64", 8, get)
}

func timeOf[T any](name string, get func(*T) time.Time) attribute[T] {
	return numberOf(name, "DateTime64(6, 'UTC')", 8, func(v *T) uint64 { return micros(get(v)) })
}

func boolOf[T any](name string, get func(*T) bool) attribute[T] {
	return numberOf(name, "Bool", 1, func(v *T) uint64 {
		if get(v) {
			return 1
		}
		return 0
	})
}

func listOf[T any](name string, get func(*T) []string) attribute[T] {
	return attribute[T]{
		name, "Array(String)", func() column { return &listColumn[*textColumn]{inner: &textColumn{}} },
		func(c column, v *T) {
			l := c.(*listColumn[*textColumn])
			for _, s := range get(v) {
				l.inner.add(s)
			}
			l.end()
		},
	}
}

// insertRows writes rows by their attributes; with doc, the whole of each as
// JSON too.
func insertRows[T any](ctx context.Context, db *DB, table string, attrs []attribute[T], doc bool, rows []T, token string) error {
	b := &block{table: table, rows: len(rows)}
	for _, a := range attrs {
		c := a.make()
		for i := range rows {
			a.add(c, &rows[i])
		}
		b.columns = append(b.columns, namedColumn{a.name, a.typ, c})
	}
	if doc {
		docs := &textColumn{}
		for i := range rows {
			text, err := json.Marshal(&rows[i])
			if err != nil {
				return fmt.Errorf("insert into %s: row %d %w: %w", table, i, ErrEncoding, err)
			}
			docs.addBytes(text)
		}
		b.columns = append(b.columns, namedColumn{"doc", "String", docs})
	}
	return db.insert(ctx, b, token)
}

// InsertDeadLetters stores them as InsertEvents does events.
func (db *DB) InsertDeadLetters(ctx context.Context, letters []DeadLetter, ingested time.Time, token string) error {
	at := numberOf("ingested", "DateTime64(3, 'UTC')", 8, func(*DeadLetter) uint64 { return millis(ingested) })
	return insertRows(ctx, db, "dead_letters", append([]attribute[DeadLetter]{at}, deadLetterColumns...), false, letters, token)
}

var deadLetterColumns = []attribute[DeadLetter]{
	lowOf("stream", func(d *DeadLetter) string { return d.Stream }),
	countOf("seq", func(d *DeadLetter) uint64 { return d.Seq }),
	numberOf("kafka_partition", "UInt16", 2, func(d *DeadLetter) uint64 { return uint64(d.Partition) }),
	countOf("kafka_offset", func(d *DeadLetter) uint64 { return uint64(d.Offset) }),
	timeOf("received", func(d *DeadLetter) time.Time { return d.Received }),
	lowOf("unit", func(d *DeadLetter) string { return d.Unit }),
	lowOf("source", func(d *DeadLetter) string { return d.Source }),
	lowOf("input", func(d *DeadLetter) string { return d.Input }),
	lowOf("format", func(d *DeadLetter) string { return d.Format }),
	textOf("reason", func(d *DeadLetter) string { return d.Reason }),
	{"raw", "String", func() column { return &textColumn{} }, func(c column, d *DeadLetter) { c.(*textColumn).addBytes(d.Raw) }},
}

// InsertAlerts stores alerts; of each id the highest version is read back. A
// repetition with the same token changes nothing. The same holds for
// InsertDetections, InsertAssets and InsertDrift.
func (db *DB) InsertAlerts(ctx context.Context, alerts []schemas.Alert, token string) error {
	return insertRows(ctx, db, "alerts", alertColumns, true, alerts, token)
}

var alertColumns = []attribute[schemas.Alert]{
	textOf("id", func(a *schemas.Alert) string { return a.ID }),
	countOf("version", func(a *schemas.Alert) uint64 { return a.Version }),
	lowOf("kind", func(a *schemas.Alert) string { return string(a.Kind) }),
	lowOf("status", func(a *schemas.Alert) string { return string(a.Status) }),
	lowOf("level", func(a *schemas.Alert) string { return string(a.Rule.Level) }),
	textOf("rule_id", func(a *schemas.Alert) string { return a.Rule.ID }),
	textOf("rule_title", func(a *schemas.Alert) string { return a.Rule.Title }),
	lowOf("unit", func(a *schemas.Alert) string { return a.Unit }),
	textOf("host", func(a *schemas.Alert) string { return a.Host }),
	timeOf("first", func(a *schemas.Alert) time.Time { return a.First }),
	timeOf("last", func(a *schemas.Alert) time.Time { return a.Last }),
	timeOf("raised", func(a *schemas.Alert) time.Time { return a.Raised }),
	timeOf("updated", func(a *schemas.Alert) time.Time { return a.Updated }),
	countOf("count", func(a *schemas.Alert) uint64 { return a.Count }),
	textOf("summary", func(a *schemas.Alert) string { return a.Summary }),
	boolOf("drill", func(a *schemas.Alert) bool { return a.Drill }),
}

// InsertDetections stores mining detections.
func (db *DB) InsertDetections(ctx context.Context, detections []schemas.MiningDetection, token string) error {
	return insertRows(ctx, db, "mining_detections", detectionColumns, true, detections, token)
}

var detectionColumns = []attribute[schemas.MiningDetection]{
	textOf("id", func(d *schemas.MiningDetection) string { return d.ID }),
	countOf("version", func(d *schemas.MiningDetection) uint64 { return d.Version }),
	lowOf("status", func(d *schemas.MiningDetection) string { return string(d.Status) }),
	lowOf("unit", func(d *schemas.MiningDetection) string { return d.Unit }),
	textOf("host", func(d *schemas.MiningDetection) string { return d.Host }),
	numberOf("confidence", "Float64", 8, func(d *schemas.MiningDetection) uint64 { return math.Float64bits(d.Confidence) }),
	timeOf("first", func(d *schemas.MiningDetection) time.Time { return d.First }),
	timeOf("last", func(d *schemas.MiningDetection) time.Time { return d.Last }),
	timeOf("raised", func(d *schemas.MiningDetection) time.Time { return d.Raised }),
	timeOf("updated", func(d *schemas.MiningDetection) time.Time { return d.Updated }),
	countOf("count", func(d *schemas.MiningDetection) uint64 { return d.Count }),
	listOf("pools", func(d *schemas.MiningDetection) []string { return d.Pools }),
	listOf("coins", func(d *schemas.MiningDetection) []string { return d.Coins }),
	listOf("protocols", func(d *schemas.MiningDetection) []string { return d.Protocols }),
	listOf("wallets", func(d *schemas.MiningDetection) []string { return d.Wallets }),
	boolOf("drill", func(d *schemas.MiningDetection) bool { return d.Drill }),
}

// InsertAssets stores entries of the asset map.
func (db *DB) InsertAssets(ctx context.Context, assets []schemas.Asset, token string) error {
	return insertRows(ctx, db, "assets", assetColumns, true, assets, token)
}

var assetColumns = []attribute[schemas.Asset]{
	textOf("key", func(a *schemas.Asset) string { return a.Key }),
	countOf("version", func(a *schemas.Asset) uint64 { return a.Version }),
	lowOf("kind", func(a *schemas.Asset) string { return string(a.Kind) }),
	lowOf("unit", func(a *schemas.Asset) string { return a.Unit }),
	textOf("name", func(a *schemas.Asset) string { return a.Name }),
	textOf("ip", func(a *schemas.Asset) string { return address(a.IP) }),
	numberOf("port", "UInt16", 2, func(a *schemas.Asset) uint64 { return uint64(a.Port) }),
	lowOf("transport", func(a *schemas.Asset) string { return a.Transport }),
	boolOf("alive", func(a *schemas.Asset) bool { return a.Alive }),
	lowOf("service", func(a *schemas.Asset) string { return serviceOf(a.Service).Name }),
	lowOf("product", func(a *schemas.Asset) string { return serviceOf(a.Service).Product }),
	timeOf("first", func(a *schemas.Asset) time.Time { return a.First }),
	timeOf("last", func(a *schemas.Asset) time.Time { return a.Last }),
	timeOf("updated", func(a *schemas.Asset) time.Time { return a.Updated }),
}

// InsertDrift stores drifts.
func (db *DB) InsertDrift(ctx context.Context, drifts []schemas.Drift, token string) error {
	return insertRows(ctx, db, "drift", driftColumns, true, drifts, token)
}

var driftColumns = []attribute[schemas.Drift]{
	textOf("id", func(d *schemas.Drift) string { return d.ID }),
	countOf("version", func(d *schemas.Drift) uint64 { return d.Version }),
	lowOf("kind", func(d *schemas.Drift) string { return string(d.Kind) }),
	lowOf("status", func(d *schemas.Drift) string { return string(d.Status) }),
	textOf("asset", func(d *schemas.Drift) string { return d.Asset }),
	lowOf("unit", func(d *schemas.Drift) string { return d.Unit }),
	textOf("expected", func(d *schemas.Drift) string { return d.Expected }),
	textOf("observed", func(d *schemas.Drift) string { return d.Observed }),
	timeOf("first", func(d *schemas.Drift) time.Time { return d.First }),
	timeOf("last", func(d *schemas.Drift) time.Time { return d.Last }),
	timeOf("updated", func(d *schemas.Drift) time.Time { return d.Updated }),
	textOf("detail", func(d *schemas.Drift) string { return d.Detail }),
	lowOf("severity", func(d *schemas.Drift) string { return string(d.Severity) }),
	lowOf("system", func(d *schemas.Drift) string { return d.System }),
	lowOf("work", func(d *schemas.Drift) string { return string(d.Work.Said()) }),
	lowOf("assignee", func(d *schemas.Drift) string { return d.Work.For() }),
	timeOf("due", func(d *schemas.Drift) time.Time { return d.Due }),
	timeOf("overdue", func(d *schemas.Drift) time.Time { return d.Overdue }),
}

// InsertObservations appends observations. One that is written again, with the
// same time and id, replaces itself.
func (db *DB) InsertObservations(ctx context.Context, observations []schemas.Observation, token string) error {
	return insertRows(ctx, db, "observations", observationColumns, false, observations, token)
}

var observationColumns = []attribute[schemas.Observation]{
	textOf("id", func(o *schemas.Observation) string { return o.ID }),
	lowOf("kind", func(o *schemas.Observation) string { return string(o.Kind) }),
	timeOf("time", func(o *schemas.Observation) time.Time { return o.Time }),
	lowOf("source", func(o *schemas.Observation) string { return o.Source }),
	textOf("job", func(o *schemas.Observation) string { return o.Job }),
	textOf("shard", func(o *schemas.Observation) string { return o.Shard }),
	lowOf("scanner", func(o *schemas.Observation) string { return o.Scanner }),
	lowOf("unit", func(o *schemas.Observation) string { return o.Unit }),
	textOf("name", func(o *schemas.Observation) string { return o.Name }),
	lowOf("record_type", func(o *schemas.Observation) string { return o.RecordType }),
	textOf("ip", func(o *schemas.Observation) string { return address(o.IP) }),
	numberOf("port", "UInt16", 2, func(o *schemas.Observation) uint64 { return uint64(o.Port) }),
	lowOf("transport", func(o *schemas.Observation) string { return o.Transport }),
	boolOf("open", func(o *schemas.Observation) bool { return o.Open }),
	lowOf("service", func(o *schemas.Observation) string { return serviceOf(o.Service).Name }),
	{"doc", "String", func() column { return &textColumn{} }, func(c column, o *schemas.Observation) { c.(*textColumn).addBytes(encoded(o)) }},
}

// encoded is an observation as JSON.
func encoded(o *schemas.Observation) []byte {
	if len(o.Encoded) > 0 {
		return o.Encoded
	}
	text, err := json.Marshal(o)
	if err != nil { // cannot happen: it holds texts, numbers, addresses and times that were read
		return []byte("{}")
	}
	return text
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

func serviceOf(s *schemas.Service) schemas.Service {
	if s == nil {
		return schemas.Service{}
	}
	return *s
}
