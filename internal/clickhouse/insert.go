package clickhouse

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
	ch "github.com/ClickHouse/clickhouse-go/v2"
	chcolumn "github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// namedColumn is a column of a block with its name and type in the table.
type namedColumn struct {
	name, typ string
	column
}

// block is the rows of one INSERT, in memory that is used again.
type block struct {
	table     string
	columns   []namedColumn
	rows      int
	unindexed bool // by skip indexes, until the first merge
	out       []byte
	data      []int // where in out each column's prefix and data begin
}

// encode writes the block down.
func (b *block) encode() {
	b.out, b.data = b.out[:0], b.data[:0]
	b.out = binary.AppendUvarint(b.out, uint64(len(b.columns)))
	b.out = binary.AppendUvarint(b.out, uint64(b.rows))
	for _, c := range b.columns {
		c.pad(b.rows)
		b.out = appendText(b.out, c.name)
		b.out = appendText(b.out, c.typ)
		b.data = append(b.data, len(b.out))
		b.out = c.prefix(b.out)
		b.out = c.column.encode(b.out)
	}
}

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

func (b *block) statement() string {
	var s strings.Builder
	s.WriteString("INSERT INTO " + b.table + " (")
	for i, c := range b.columns {
		if i > 0 {
			s.WriteString(", ")
		}
		s.WriteString("`" + c.name + "`")
	}
	s.WriteString(")")
	return s.String()
}

// withToken makes an INSERT one that can be sent again: the server drops a
// batch whose token it has stored in the table before. Of an unindexed one the
// skip indexes are made when parts merge, and not twice: until then questions read
// those rows.
func withToken(ctx context.Context, token string, unindexed bool) context.Context {
	settings := ch.Settings{
		"insert_deduplicate": 1,
		"deduplicate_blocks_in_dependent_materialized_views": 1,
		"async_insert": 0,
		// The batch is one block; nothing may cut it, for it is stored whole or
		// not at all.
		"max_insert_block_size":         1 << 30,
		"input_format_parallel_parsing": 0,
		"max_insert_threads":            1,
	}
	if unindexed {
		settings["materialize_skip_indexes_on_insert"] = 0
	}
	if token != "" {
		settings["insert_deduplication_token"] = token
	} else {
		settings["insert_deduplicate"] = 0
	}
	return ch.Context(ctx, ch.WithSettings(settings))
}

// insert sends the block and returns when the server has acknowledged it.
func (db *DB) insert(ctx context.Context, b *block, token string) error {
	if b.rows == 0 {
		return nil
	}
	b.encode()
	ctx = withToken(ctx, token, b.unindexed)
	var err error
	if db.cfg.Protocol == Native {
		err = db.insertNative(ctx, b)
	} else {
		err = db.InsertFormat(ctx, "Native", b.statement(), bytes.NewReader(b.out))
	}
	if err != nil {
		return fmt.Errorf("insert %d rows into %s: %w", b.rows, b.table, err)
	}
	return nil
}

// insertNative sends the block through the driver's batch, for the native
// protocol has no other way. The driver's columns read what we wrote.
func (db *DB) insertNative(ctx context.Context, b *block) error {
	batch, err := db.PrepareBatch(ctx, b.statement())
	if err != nil {
		return err
	}
	defer batch.Close() //nolint:errcheck // after Send it does nothing; before it, the error is ours already
	for i, into := range batch.Columns() {
		if err := fill(into, b, i); err != nil {
			return fmt.Errorf("column %s: %w: %w", b.columns[i].name, ErrEncoding, err)
		}
	}
	return batch.Send()
}

func fill(into chcolumn.Interface, b *block, i int) error {
	if got, want := normalType(string(into.Type())), normalType(b.columns[i].typ); got != want {
		return fmt.Errorf("the table has type %s, and not %s", got, want)
	}
	r := proto.NewReader(bytes.NewReader(b.out[b.data[i]:]))
	if state, ok := into.(chcolumn.CustomSerialization); ok {
		if err := state.ReadStatePrefix(r); err != nil {
			return err
		}
	}
	return into.Decode(r, b.rows)
}

// normalType is a type without the spaces that ClickHouse writes at will.
func normalType(t string) string { return strings.ReplaceAll(t, " ", "") }
