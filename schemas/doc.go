// Package schemas holds the contracts every service speaks: the catalogue of
// fields, the shape of an event and of every record on a Kafka topic, the
// topics themselves and (in schemas/clickhouse) the tables.
//
// It is data and encodings only. It never opens a connection, reads a clock or
// imports another package of this module, so that any service may import it.
package schemas

//go:generate go run ./gen
