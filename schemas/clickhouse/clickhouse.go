// Package clickhouse holds the SQL that makes ClickHouse's tables, one file a
// step. It is text only: internal/clickhouse runs it.
//
// A file is a template: {{.On}} is the ON CLUSTER clause or nothing,
// {{.Engine "MergeTree"}} the engine's name on one server or its replicated
// form, {{.Dedup}} the settings that make a resent batch harmless. Statements
// end with a semicolon at the end of a line. A file that has been released is
// never changed; the columns of the field catalogue are not in it, because the
// table events converges to the catalogue at every start.
package clickhouse

import "embed"

// Files are the steps, named NNNNN_what.sql.
//
//go:embed *.sql
var Files embed.FS
