package clickhouse

import (
	"context"
	"fmt"
	"time"
)

// Domains calls f for the registered domains of DNS queries in events since a
// time, each with when it was first met, at most limit of them: the latest met,
// the earliest of those first.
func (db *DB) Domains(ctx context.Context, since time.Time, limit int, f func(name string, first time.Time)) error {
	const query = "SELECT name, first FROM (SELECT dns_question_registered_domain AS name, min(received) AS first, max(received) AS last" +
		" FROM events WHERE ingested > ? AND dns_question_registered_domain != '' GROUP BY name ORDER BY last DESC LIMIT ?) ORDER BY last"
	rows, err := db.Query(ctx, query, since, limit)
	if err != nil {
		return fmt.Errorf("domains that were met: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	for rows.Next() {
		var name string
		var first time.Time
		if err := rows.Scan(&name, &first); err != nil {
			return fmt.Errorf("domains that were met: %w", err)
		}
		f(name, first)
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("domains that were met: %w", err)
	}
	return nil
}
