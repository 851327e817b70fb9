// Package store serves the embedded ClickHouse: it loads libchdb (ClickHouse as
// a library) and answers ClickHouse's HTTP interface on a unix socket and, where
// asked, on a loopback port. clickhouse-go with Protocol HTTP is its client, so
// the rest of the program cannot tell it from a server.
//
// It runs in a process of its own (`fengsui store`), because a library of
// another language can end the process it lives in. One process holds one data
// directory, and can open it only once in its life.
//
// It never answers another machine, never runs two statements of one request,
// and never gives the user `reader` more than reading tables. It has no
// sessions, no compression and no external tables.
package store
