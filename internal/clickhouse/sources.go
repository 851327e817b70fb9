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

// SourceHealth is what became of the lines of one source.
type SourceHealth struct {
	Unit    string        `json:"unit,omitempty"`
	Source  string        `json:"source"`
	Input   string        `json:"input"`
	Events  uint64        `json:"events"`
	Letters uint64        `json:"dead_letters"`
	Dataset string        `json:"dataset,omitempty"` // what most of its events are read as
	Skew    time.Duration `json:"skew_ns"`           // median of the event's own time less that of receiving: above zero, its clock is ahead
}

// maxSourceHealth bounds an answer.
const maxSourceHealth = 100_000

// SourcesHealth looks at what was received since a time.
func (db *DB) SourcesHealth(ctx context.Context, since time.Time) ([]SourceHealth, error) {
	const query = `SELECT unit, source, input, sum(events), sum(letters), toInt64(if(sum(events) > 0, max(skew), 0)), max(dataset) FROM (
			SELECT unit, source, input, count() AS events, 0 AS letters, toString(arrayElement(topK(1)(event_dataset), 1)) AS dataset,
				quantile(0.5)(dateDiff('millisecond', received, timestamp)) AS skew
			FROM events WHERE received > ? AND ingested > ? GROUP BY unit, source, input
			UNION ALL
			SELECT unit, source, input, 0, count(), '', -inf FROM dead_letters WHERE received > ? AND ingested > ? GROUP BY unit, source, input
		) GROUP BY unit, source, input ORDER BY input, unit, source LIMIT ?`
	rows, err := db.Query(ctx, query, since, since, since, since, maxSourceHealth)
	if err != nil {
		return nil, fmt.Errorf("health of the sources: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []SourceHealth
	for rows.Next() {
		var (
			h  SourceHealth
			ms int64
		)
		if err := rows.Scan(&h.Unit, &h.Source, &h.Input, &h.Events, &h.Letters, &ms, &h.Dataset); err != nil {
			return nil, fmt.Errorf("health of the sources: %w", err)
		}
		if h.Events > 0 {
			h.Skew = time.Duration(ms) * time.Millisecond
		}
		out = append(out, h)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("health of the sources: %w", err)
	}
	return out, nil
}
