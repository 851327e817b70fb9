package clickhouse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"sync"
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

// table is a table whose rows are made of T.
type table[T any] struct {
	name      string
	columns   []attribute[T]
	doc       bool // it has the whole of each row as JSON too
	unindexed bool // until parts merge
	spare     sync.Pool
}

// draft is a block under construction with the columns that are a table's own.
// What one INSERT needed is used again by the next.
type draft struct {
	block
	docs textColumn
	json bytes.Buffer
}

// maxSpare bounds the memory that is kept for the next INSERT, in bytes.
const maxSpare = 64 << 20

func (t *table[T]) draft() *draft {
	if d, ok := t.spare.Get().(*draft); ok {
		return d
	}
	d := &draft{block: block{table: t.name, unindexed: t.unindexed}}
	for _, a := range t.columns {
		d.columns = append(d.columns, namedColumn{a.name, a.typ, a.make()})
	}
	if t.doc {
		d.columns = append(d.columns, namedColumn{"doc", "String", &d.docs})
	}
	return d
}

// insert writes rows by their attributes.
func (t *table[T]) insert(ctx context.Context, db *DB, rows []T, token string) error {
	d := t.draft()
	d.rows = len(rows)
	for i, a := range t.columns {
		for k := range rows {
			a.add(d.columns[i].column, &rows[k])
		}
	}
	if t.doc {
		text := json.NewEncoder(&d.json)
		for i := range rows {
			if err := text.Encode(&rows[i]); err != nil {
				return fmt.Errorf("insert into %s: row %d %w: %w", t.name, i, ErrEncoding, err)
			}
			d.docs.addBytes(bytes.TrimSuffix(d.json.Bytes(), []byte{'\n'}))
			d.json.Reset()
		}
	}
	if err := db.insert(ctx, &d.block, token); err != nil {
		return err // the connection may be reading it still
	}
	if cap(d.out) <= maxSpare {
		for _, c := range d.columns {
			c.reset()
		}
		t.spare.Put(d)
	}
	return nil
}

// InsertDeadLetters stores them as InsertEvents does events.
func (db *DB) InsertDeadLetters(ctx context.Context, letters []DeadLetter, ingested time.Time, token string) error {
	at := numberOf("ingested", "DateTime64(3, 'UTC')", 8, func(*DeadLetter) uint64 { return millis(ingested) })
	t := table[DeadLetter]{name: "dead_letters", columns: append([]attribute[DeadLetter]{at}, deadLetterColumns...)}
	return t.insert(ctx, db, letters, token)
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
	return alertTable.insert(ctx, db, alerts, token)
}

var alertTable = table[schemas.Alert]{name: "alerts", doc: true, columns: []attribute[schemas.Alert]{
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
}}

// InsertDetections stores mining detections.
func (db *DB) InsertDetections(ctx context.Context, detections []schemas.MiningDetection, token string) error {
	return detectionTable.insert(ctx, db, detections, token)
}

var detectionTable = table[schemas.MiningDetection]{name: "mining_detections", doc: true, columns: []attribute[schemas.MiningDetection]{
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
}}

// InsertAssets stores entries of the asset map.
func (db *DB) InsertAssets(ctx context.Context, assets []schemas.Asset, token string) error {
	return assetTable.insert(ctx, db, assets, token)
}

var assetTable = table[schemas.Asset]{name: "assets", doc: true, columns: []attribute[schemas.Asset]{
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
}}

// InsertDrift stores drifts.
func (db *DB) InsertDrift(ctx context.Context, drifts []schemas.Drift, token string) error {
	return driftTable.insert(ctx, db, drifts, token)
}

var driftTable = table[schemas.Drift]{name: "drift", doc: true, columns: []attribute[schemas.Drift]{
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
}}

// InsertObservations appends observations. One that is written again, with the
// same time and id, replaces itself.
func (db *DB) InsertObservations(ctx context.Context, observations []schemas.Observation, token string) error {
	return observationTable.insert(ctx, db, observations, token)
}

var observationTable = table[schemas.Observation]{name: "observations", columns: []attribute[schemas.Observation]{
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
}}

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
