package collector

import (
	"encoding/binary"
	"errors"
	"fmt"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// recordVersion begins a record in the spool: key, value, the number of headers,
// and the headers' keys and values, each behind its length as a varint.
const recordVersion = 1

func encodeRecord(r *kafka.Record) []byte {
	size := 1 + 3*binary.MaxVarintLen32 + len(r.Key) + len(r.Value)
	for _, h := range r.Headers {
		size += 2*binary.MaxVarintLen32 + len(h.Key) + len(h.Value)
	}
	b := append(make([]byte, 0, size), recordVersion)
	b = appendBytes(b, r.Key)
	b = appendBytes(b, r.Value)
	b = binary.AppendUvarint(b, uint64(len(r.Headers)))
	for _, h := range r.Headers {
		b = appendBytes(b, []byte(h.Key))
		b = appendBytes(b, h.Value)
	}
	return b
}

func appendBytes(b, v []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(v))), v...)
}

var errNoRecord = errors.New("no record of a known version")

// decodeRecords is encodeRecord's reverse. The records share memory with b.
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
	if len(b) == 0 || b[0] != recordVersion {
		return r, errNoRecord
	}
	b = b[1:]
	if r.Key, b, err = cutBytes(b); err != nil {
		return r, err
	}
	if r.Value, b, err = cutBytes(b); err != nil {
		return r, err
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
