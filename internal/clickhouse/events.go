package clickhouse

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"fengsui/schemas"
)

// EventBatch gathers events for one INSERT. It copies what it needs, so an
// event can be used again after Add. It is not safe for concurrent use, and
// keeps its memory between Resets.
type EventBatch struct {
	rows int

	id, original, exact                 textColumn
	stream, unit, source, input, format lowColumn
	seq, partition, offset              numberColumn
	ingested, received                  numberColumn
	drill                               numberColumn

	fields  [schemas.NumFields]fieldColumn
	open    []mapColumn // in the order of schemas.OpenNamespaces
	block   block
	field   func(schemas.FieldID, schemas.Value)
	misfits int
	inexact inexact
	scratch []byte
}

// fieldColumn is a field's column: one of its members, by the field's type.
type fieldColumn struct {
	column
	text    *textColumn
	low     *lowColumn
	number  *numberColumn
	texts   *listColumn[*textColumn]
	lows    *listColumn[*lowColumn]
	numbers *listColumn[*numberColumn]
}

// NewEventBatch makes an empty batch.
func NewEventBatch() *EventBatch {
	b := &EventBatch{
		seq:       numberColumn{width: 8},
		partition: numberColumn{width: 2},
		offset:    numberColumn{width: 8},
		ingested:  numberColumn{width: 8},
		received:  numberColumn{width: 8},
		drill:     numberColumn{width: 1},
		open:      make([]mapColumn, len(schemas.OpenNamespaces())),
	}
	for _, f := range schemas.Fields() {
		b.fields[f.ID] = newFieldColumn(f)
	}
	b.field = b.addField
	return b
}

func newFieldColumn(f schemas.Field) (c fieldColumn) {
	width := 0
	switch f.Type {
	case schemas.Long, schemas.Double, schemas.Date:
		width = 8
	case schemas.Boolean:
		width = 1
	}
	switch {
	case width > 0 && f.List:
		c.numbers = &listColumn[*numberColumn]{inner: &numberColumn{width: width}}
		c.column = c.numbers
	case width > 0:
		c.number = &numberColumn{width: width, nullable: strings.HasPrefix(f.ColumnType(), "Nullable(")}
		c.column = c.number
	case f.Low && f.List:
		c.lows = &listColumn[*lowColumn]{inner: &lowColumn{}}
		c.column = c.lows
	case f.Low:
		c.low = &lowColumn{}
		c.column = c.low
	case f.List:
		c.texts = &listColumn[*textColumn]{inner: &textColumn{}}
		c.column = c.texts
	default:
		c.text = &textColumn{}
		c.column = c.text
	}
	return c
}

// Len is the number of events in the batch.
func (b *EventBatch) Len() int { return b.rows }

// Misfits counts the values since Reset that their field's column cannot hold,
// such as words in a number's field. They are left out of it, and kept in the
// column exact; the event is stored.
func (b *EventBatch) Misfits() int { return b.misfits }

// Reset empties the batch.
func (b *EventBatch) Reset() {
	b.rows, b.misfits = 0, 0
	for _, c := range b.base() {
		c.reset()
	}
	for i := range b.fields {
		b.fields[i].reset()
	}
	for i := range b.open {
		b.open[i].reset()
	}
}

func (b *EventBatch) base() []namedColumn {
	return []namedColumn{
		{"id", "String", &b.id},
		{"stream", "LowCardinality(String)", &b.stream},
		{"seq", "UInt64", &b.seq},
		{"kafka_partition", "UInt16", &b.partition},
		{"kafka_offset", "UInt64", &b.offset},
		{"ingested", "DateTime64(3, 'UTC')", &b.ingested},
		{"received", "DateTime64(6, 'UTC')", &b.received},
		{"unit", "LowCardinality(String)", &b.unit},
		{"source", "LowCardinality(String)", &b.source},
		{"input", "LowCardinality(String)", &b.input},
		{"format", "LowCardinality(String)", &b.format},
		{"drill", "Bool", &b.drill},
		{"original", "String", &b.original},
		{"exact", "String", &b.exact},
	}
}

// Add appends an event with its place in the topic logs. An event without a time
// of its own gets the time it was received. Times out of DateTime64's range
// (1900 to 2299) become the nearest in it.
func (b *EventBatch) Add(ev *schemas.Event, partition int, offset int64) {
	b.scratch = append(append(b.scratch[:0], ev.Stream...), '-')
	b.scratch = strconv.AppendUint(b.scratch, ev.Seq, 10)
	b.id.addBytes(b.scratch)
	b.stream.add(ev.Stream)
	b.seq.add(ev.Seq)
	b.partition.add(uint64(partition))
	b.offset.add(uint64(offset))
	b.received.add(micros(ev.Received))
	b.unit.add(ev.Unit)
	b.source.add(ev.Source)
	b.input.add(ev.Input)
	b.format.add(ev.Format)
	b.drill.addBool(ev.Drill)
	b.original.add(ev.Original)
	ev.Each(b.field)
	if at := b.fields[schemas.FieldTimestamp].number; at.n == b.rows {
		at.add(micros(ev.Received))
	}
	for _, o := range ev.Open() {
		b.addOpen(o)
	}
	b.exact.addBytes(b.inexact.end())
	b.rows++
}

func (b *EventBatch) addField(id schemas.FieldID, v schemas.Value) {
	c := &b.fields[id]
	if c.rows() > b.rows {
		return // a field is set once an event
	}
	c.pad(b.rows)
	if !survives(id, v) {
		b.inexact.add(id.String(), v)
	}
	switch {
	case c.text != nil:
		c.text.add(text(v))
	case c.low != nil:
		c.low.add(text(v))
	case c.number != nil:
		if bits, ok := number(id, v); ok {
			c.number.add(bits)
		} else {
			b.misfits++
		}
	default:
		b.addList(id, c, v.List())
	}
}

func (b *EventBatch) addList(id schemas.FieldID, c *fieldColumn, vs []schemas.Value) {
	for _, v := range vs {
		switch {
		case c.texts != nil:
			c.texts.inner.add(text(v))
		case c.lows != nil:
			c.lows.inner.add(text(v))
		default:
			if bits, ok := number(id, v); ok {
				c.numbers.inner.add(bits)
			} else {
				b.misfits++
			}
		}
	}
	c.pad(b.rows + 1)
}

func (b *EventBatch) addOpen(o schemas.OpenValue) {
	if o.Value.Kind() == schemas.KindList && !single(o.Value) {
		b.inexact.add(o.Name, o.Value)
	}
	for i, n := range schemas.OpenNamespaces() {
		if name, ok := strings.CutPrefix(o.Name, n.Prefix); ok && name != "" {
			b.open[i].put(b.rows, name, text(o.Value))
			return
		}
	}
	b.misfits++
	b.inexact.add(o.Name, o.Value)
}

func text(v schemas.Value) string {
	if v.Kind() == schemas.KindString {
		return v.Str()
	}
	return v.Text()
}

// number is the value as its field's column holds it, and whether it can.
func number(id schemas.FieldID, v schemas.Value) (bits uint64, ok bool) {
	if v.Kind() == schemas.KindList && len(v.List()) == 1 {
		v = v.List()[0]
	}
	switch fieldTypes[id] {
	case schemas.Long:
		return long(v)
	case schemas.Double:
		switch v.Kind() {
		case schemas.KindInt, schemas.KindFloat:
			return math.Float64bits(v.Float()), true
		case schemas.KindString:
			f, err := strconv.ParseFloat(v.Str(), 64)
			return math.Float64bits(f), err == nil
		}
	case schemas.Boolean:
		if v.Kind() == schemas.KindBool {
			if v.Bool() {
				return 1, true
			}
			return 0, true
		}
	case schemas.Date:
		if v.Kind() == schemas.KindTime {
			return micros(v.Time()), true
		}
	}
	return 0, false
}

func long(v schemas.Value) (bits uint64, ok bool) {
	switch v.Kind() {
	case schemas.KindInt:
		return uint64(v.Int()), true
	case schemas.KindBool:
		if v.Bool() {
			return 1, true
		}
		return 0, true
	case schemas.KindFloat:
		if f := v.Float(); f >= math.MinInt64 && f < math.MaxInt64 {
			return uint64(int64(f)), true
		}
	case schemas.KindString:
		n, err := strconv.ParseInt(v.Str(), 10, 64)
		return uint64(n), err == nil
	}
	return 0, false
}

var fieldTypes = func() (types [schemas.NumFields]schemas.Type) {
	for _, f := range schemas.Fields() {
		types[f.ID] = f.Type
	}
	return types
}()

// InsertEvents stores the batch and returns when it is acknowledged: all of it
// or, with an error, none of it. A repetition with the same token changes
// nothing, if the batch and ingested are the same too. The batch is kept.
func (db *DB) InsertEvents(ctx context.Context, b *EventBatch, ingested time.Time, token string) error {
	b.prepare(ingested)
	return db.insert(ctx, &b.block, token)
}

// prepare makes the block of the columns that any event of the batch uses.
func (b *EventBatch) prepare(ingested time.Time) {
	b.ingested.reset()
	for range b.rows {
		b.ingested.add(millis(ingested))
	}
	blk := &b.block
	blk.table, blk.rows = "events", b.rows
	blk.columns = append(blk.columns[:0], b.base()...)
	for i, f := range schemas.Fields() {
		if c := b.fields[i]; c.rows() > 0 {
			blk.columns = append(blk.columns, namedColumn{f.Column(), columnTypes[i], c.column})
		}
	}
	for i, n := range schemas.OpenNamespaces() {
		if b.open[i].rows() > 0 {
			blk.columns = append(blk.columns, namedColumn{n.Column(), openType, &b.open[i]})
		}
	}
}

// openType is the type of an open namespace's column.
const openType = "Map(LowCardinality(String), String)"

var columnTypes = func() (types [schemas.NumFields]string) {
	for _, f := range schemas.Fields() {
		types[f.ID] = f.ColumnType()
	}
	return types
}()
