package clickhouse

import (
	"log/slog"

	"github.com/pressly/goose/v3/database/dialect"
)

// versionTable is goose's table of the steps that were run. goose's own dialect
// for ClickHouse knows no cluster, and orders rows by day only.
type versionTable struct{ layout }

var _ dialect.Querier = versionTable{}

func (v versionTable) CreateTable(table string) string {
	return "CREATE TABLE IF NOT EXISTS " + table + " " + v.On() + ` (
    version_id Int64,
    is_applied UInt8,
    tstamp     DateTime64(6, 'UTC') DEFAULT now64(6)
) ENGINE = ` + v.Engine("MergeTree") + ` ORDER BY (version_id, tstamp)`
}

func (versionTable) InsertVersion(table string) string {
	return "INSERT INTO " + table + " (version_id, is_applied) VALUES ($1, $2)"
}

func (versionTable) DeleteVersion(table string) string {
	return "ALTER TABLE " + table + " DELETE WHERE version_id = $1 SETTINGS mutations_sync = 2"
}

func (versionTable) GetMigrationByVersion(table string) string {
	return "SELECT tstamp, is_applied FROM " + table + " WHERE version_id = $1 ORDER BY tstamp DESC LIMIT 1"
}

func (versionTable) ListMigrations(table string) string {
	return "SELECT version_id, is_applied FROM " + table + " ORDER BY version_id DESC"
}

func (versionTable) GetLatestVersion(table string) string {
	return "SELECT max(version_id) FROM " + table
}

// silent: goose logs each step, which a service does not.
var silent = slog.New(slog.DiscardHandler)
