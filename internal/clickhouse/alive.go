package clickhouse

import (
	"context"
	"fmt"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// Alive returns nil when the server answers, whether or not it has the database
// yet.
func Alive(ctx context.Context, cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	opts, err := cfg.options("")
	if err != nil {
		return err
	}
	conn, err := ch.Open(opts)
	if err != nil {
		return fmt.Errorf("clickhouse at %s: %w", cfg.Addr, err)
	}
	defer conn.Close() //nolint:errcheck // nothing is pending
	return conn.Ping(ctx)
}
