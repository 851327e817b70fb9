package clickhouse

import (
	"context"
	"encoding/json"
	"fmt"
)

// HighWater returns, for each stream that has rows of the Kafka partition at or
// after fromOffset in the table ("events" or "dead_letters"), its highest seq.
// A record that comes again with a lower or equal one is stored already.
func (db *DB) HighWater(ctx context.Context, table string, partition int, fromOffset int64) (map[string]uint64, error) {
	if table != "events" && table != "dead_letters" {
		return nil, fmt.Errorf("high water of %s: the table has no streams", table)
	}
	rows, err := db.Query(ctx, "SELECT stream, max(seq) FROM "+table+
		" WHERE kafka_partition = ? AND kafka_offset >= ? GROUP BY stream", partition, fromOffset)
	if err != nil {
		return nil, fmt.Errorf("high water of %s: %w", table, err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	marks := map[string]uint64{}
	for rows.Next() {
		var stream string
		var seq uint64
		if err := rows.Scan(&stream, &seq); err != nil {
			return nil, fmt.Errorf("high water of %s: %w", table, err)
		}
		marks[stream] = seq
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("high water of %s: %w", table, err)
	}
	return marks, nil
}

// LoadDocs reads the newest version of the documents that meet the condition.
// where is a condition with ? for args, and what may follow one (ORDER BY,
// LIMIT); empty is all. T is the type that was written: schemas.Alert for alerts
// and so on.
func LoadDocs[T any](ctx context.Context, db *DB, table, where string, args ...any) ([]T, error) {
	query := "SELECT doc FROM " + table + " FINAL"
	if where != "" {
		query += " WHERE " + where
	}
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []T
	for rows.Next() {
		var doc string
		if err := rows.Scan(&doc); err != nil {
			return nil, fmt.Errorf("read %s: %w", table, err)
		}
		var v T
		if err := json.Unmarshal([]byte(doc), &v); err != nil {
			return nil, fmt.Errorf("read %s: a document: %w", table, err)
		}
		out = append(out, v)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read %s: %w", table, err)
	}
	return out, nil
}
