package main

import (
	"context"
	"fmt"

	"fengsui/internal/clickhouse"
	"fengsui/schemas"
)

const maxCertificateNames = 200_000

// certificateNames is the names that the certificates of services in the map hold.
// Which of them are ours the plan knows.
func certificateNames(ctx context.Context, db *clickhouse.DB) ([]string, error) {
	rows, err := db.Query(ctx, "SELECT DISTINCT arrayJoin(JSONExtract(doc, 'service', 'tls', 'names', 'Array(String)')) FROM assets WHERE kind = ? LIMIT ?",
		string(schemas.AssetService), maxCertificateNames)
	if err != nil {
		return nil, fmt.Errorf("loading certificates' names: %w", err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, fmt.Errorf("loading certificates' names: %w", err)
		}
		out = append(out, name)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("loading certificates' names: %w", err)
	}
	return out, nil
}
