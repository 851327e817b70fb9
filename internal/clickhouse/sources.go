package clickhouse

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Spoke is what the stored events of one source tell of a stretch of time.
type Spoke struct {
	Unit, Source, Input, Format string
	First, Last                 time.Time // when the collector accepted the oldest and the newest
	Records                     uint64
}

// Sources returns who sent the events of a Kafka partition since a time, in
// stretches of the given length, in order of time: between two stretches lies
// every gap that is longer than one. At most limit stretches are returned, the
// newest.
func (db *DB) Sources(ctx context.Context, partition int, since time.Time, stretch time.Duration, limit int) ([]Spoke, error) {
	const query = `SELECT unit, source, input, format, min(received) AS first, max(received) AS last, count() AS records
		FROM events WHERE kafka_partition = ? AND ingested > ? AND received > ?
		GROUP BY unit, source, input, format, intDiv(toUnixTimestamp(received), ?)
		ORDER BY last DESC LIMIT ?`
	rows, err := db.Query(ctx, query, partition, since, since, max(1, int64(stretch/time.Second)), limit)
	if err != nil {
		return nil, fmt.Errorf("sources of %d: %w", partition, err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []Spoke
	for rows.Next() {
		var s Spoke
		if err := rows.Scan(&s.Unit, &s.Source, &s.Input, &s.Format, &s.First, &s.Last, &s.Records); err != nil {
			return nil, fmt.Errorf("sources of %d: %w", partition, err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sources of %d: %w", partition, err)
	}
	slices.Reverse(out)
	return out, nil
}
