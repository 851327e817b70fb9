package collector

import (
	"encoding/binary"
	"errors"
	"fmt"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// A record in the spool begins with a version, and its key and value, each behind
// its length as a varint. Then it has its headers: of version 2 as Kafka has them,
// and of version 1, which is only read, their number, keys and values behind their
// lengths.
const (
	recordVersion1 = 1
	recordVersion2 = 2
)

// appendRecord encodes a record for the spool.
func appendRecord(b []byte, r *kafka.Record) []byte {
	b = append(b, recordVersion2)
	b = appendBytes(b, r.Key)
	b = appendBytes(b, r.Value)
	if r.Encoded != nil {
		return append(b, r.Encoded...)
	}
	return kafka.AppendHeaders(b, r.Headers)
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

var errNoRecord = errors.New("no record of a known version")

// decodeRecords is appendRecord's reverse. The records share memory with b.
func decodeRecords(encoded [][]byte) ([]kafka.Record, error) {
	records := make([]kafka.Record, len(encoded))
	for i, b := range encoded {
		var err error
		if records[i], err = decodeRecord(b); err != nil {
			return nil, fmt.Errorf("record %d of the spool's batch: %w", i, err)
		}
	}
	return records, nil
}

func decodeRecord(b []byte) (r kafka.Record, err error) {
	if len(b) == 0 || b[0] != recordVersion1 && b[0] != recordVersion2 {
		return r, errNoRecord
	}
	version, b := b[0], b[1:]
	if r.Key, b, err = cutBytes(b); err != nil {
		return r, err
	}
	if r.Value, b, err = cutBytes(b); err != nil {
		return r, err
	}
	if version == recordVersion2 {
		r.Encoded = b
		if r.EachHeader(func(string, []byte) {}) != nil {
			return kafka.Record{}, errNoRecord
		}
		return r, nil
	}
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)) {
		return r, errNoRecord
	}
	b = b[used:]
	r.Headers = make([]schemas.Header, n)
	for i := range r.Headers {
		var key []byte
		if key, b, err = cutBytes(b); err != nil {
			return r, err
		}
		r.Headers[i].Key = string(key)
		if r.Headers[i].Value, b, err = cutBytes(b); err != nil {
			return r, err
		}
	}
	if len(b) != 0 {
		return r, errNoRecord
	}
	return r, nil
}

func cutBytes(b []byte) (v, rest []byte, err error) {
	n, used := binary.Uvarint(b)
	if used <= 0 || n > uint64(len(b)-used) {
		return nil, nil, errNoRecord
	}
	end := used + int(n) //nolint:gosec // not more than len(b)
	return b[used:end:end], b[end:], nil
}
