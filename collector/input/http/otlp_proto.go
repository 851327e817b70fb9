package http

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

// The numbers of the fields below are those of
// https://github.com/open-telemetry/opentelemetry-proto at 1.7.

// field is one of a message: its number, and its value by its wire type.
type field struct {
	number protowire.Number
	kind   protowire.Type
	bytes  []byte
	n      uint64 // a varint, or a fixed number
}

// fields visits a message's. What has another wire type than expected is as
// unknown as what has another number.
func fields(message []byte, visit func(f field) error) error {
	for len(message) > 0 {
		number, kind, n := protowire.ConsumeTag(message)
		if n < 0 {
			return errProto
		}
		message = message[n:]
		f := field{number: number, kind: kind}
		switch kind {
		case protowire.VarintType:
			f.n, n = protowire.ConsumeVarint(message)
		case protowire.Fixed32Type:
			var v uint32
			v, n = protowire.ConsumeFixed32(message)
			f.n = uint64(v)
		case protowire.Fixed64Type:
			f.n, n = protowire.ConsumeFixed64(message)
		case protowire.BytesType:
			f.bytes, n = protowire.ConsumeBytes(message)
		default:
			n = protowire.ConsumeFieldValue(number, kind, message)
		}
		if n < 0 {
			return errProto
		}
		message = message[n:]
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

// is says whether the field is a message, text or bytes of that number.
func (f field) is(number protowire.Number) bool {
	return f.number == number && f.kind == protowire.BytesType
}

// readProto reads an ExportLogsServiceRequest.
func readProto(body []byte, e *encoder) error {
	return fields(body, func(f field) error {
		if !f.is(1) {
			return nil
		}
		return protoResource(f.bytes, e)
	})
}

// protoResource reads a ResourceLogs, whose resource may stand behind its logs.
func protoResource(b []byte, e *encoder) error {
	var resource scope
	err := fields(b, func(f field) error {
		if !f.is(1) {
			return nil
		}
		return fields(f.bytes, func(f field) error {
			if f.is(1) {
				return protoAttribute(f.bytes, resource.add)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return fields(b, func(f field) error {
		if !f.is(2) {
			return nil
		}
		return protoScope(f.bytes, resource, e)
	})
}

// protoScope reads a ScopeLogs.
func protoScope(b []byte, s scope, e *encoder) error {
	err := fields(b, func(f field) error {
		if !f.is(1) {
			return nil
		}
		return fields(f.bytes, func(f field) error {
			if f.is(1) {
				s.logger = string(f.bytes)
			}
			return nil
		})
	})
	if err != nil {
		return err
	}
	return fields(b, func(f field) error {
		if !f.is(2) {
			return nil
		}
		var r record
		if err := fields(f.bytes, r.proto); err != nil {
			return err
		}
		return e.record(&s, &r)
	})
}

// proto takes a field of a LogRecord.
func (r *record) proto(f field) error {
	switch {
	case f.number == 1 && f.kind == protowire.Fixed64Type:
		r.time = f.n
	case f.number == 11 && f.kind == protowire.Fixed64Type:
		r.observed = f.n
	case f.number == 2 && f.kind == protowire.VarintType:
		r.severity = f.n
	case f.is(3):
		r.level = string(f.bytes)
	case f.is(5):
		var err error
		if r.body, err = protoValue(nil, f.bytes, 0); err != nil {
			r.body = nil
			return r.failed(err)
		}
	case f.is(6):
		return protoAttribute(f.bytes, r.add)
	case f.is(9):
		r.trace = hex.EncodeToString(f.bytes[:min(len(f.bytes), 16)])
	case f.is(10):
		r.span = hex.EncodeToString(f.bytes[:min(len(f.bytes), 8)])
	case f.is(12):
		r.event = string(f.bytes)
	}
	return nil
}

// failed keeps an error of the record's own; one of the framing is the request's.
func (r *record) failed(err error) error {
	if err == errProto { //nolint:errorlint // never wrapped
		return err
	}
	r.reject = err
	return nil
}

// protoAttribute reads a KeyValue.
func protoAttribute(b []byte, add func(key string, value []byte, err error)) error {
	key, value, err := protoKeyValue(b, 0)
	if err == errProto { //nolint:errorlint // never wrapped
		return err
	}
	add(key, value, err)
	return nil
}

func protoKeyValue(b []byte, depth int) (key string, value []byte, err error) {
	err = fields(b, func(f field) (err error) {
		switch {
		case f.is(1):
			key = string(f.bytes)
		case f.is(2):
			value, err = protoValue(nil, f.bytes, depth)
		}
		return err
	})
	return key, value, err
}

// protoValue appends an AnyValue as JSON.
func protoValue(out, b []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return out, errDepth
	}
	start := len(out)
	err := fields(b, func(f field) error {
		out = out[:start] // of several, the last counts
		switch {
		case f.is(1):
			out = appendString(out, string(f.bytes))
		case f.number == 2 && f.kind == protowire.VarintType:
			out = strconv.AppendBool(out, f.n != 0)
		case f.number == 3 && f.kind == protowire.VarintType:
			out = strconv.AppendInt(out, int64(f.n), 10) //nolint:gosec // two's complement is what is meant
		case f.number == 4 && f.kind == protowire.Fixed64Type:
			out = appendDouble(out, math.Float64frombits(f.n))
		case f.is(5):
			return protoArray(&out, f.bytes, depth)
		case f.is(6):
			return protoList(&out, f.bytes, depth)
		case f.is(7):
			out = append(out, '"')
			out = base64.StdEncoding.AppendEncode(out, f.bytes)
			out = append(out, '"')
		}
		return nil
	})
	if err == nil && len(out) == start {
		out = append(out, "null"...)
	}
	return out, err
}

// appendDouble writes what is no number in JSON as text.
func appendDouble(out []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return appendString(out, strconv.FormatFloat(v, 'g', -1, 64))
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

func protoArray(out *[]byte, b []byte, depth int) error {
	*out = append(*out, '[')
	first := true
	err := fields(b, func(f field) (err error) {
		if !f.is(1) {
			return nil
		}
		if !first {
			*out = append(*out, ',')
		}
		first = false
		*out, err = protoValue(*out, f.bytes, depth+1)
		return err
	})
	*out = append(*out, ']')
	return err
}

func protoList(out *[]byte, b []byte, depth int) error {
	*out = append(*out, '{')
	first := true
	err := fields(b, func(f field) error {
		if !f.is(1) {
			return nil
		}
		key, value, err := protoKeyValue(f.bytes, depth+1)
		if err != nil || len(value) == 0 {
			return err
		}
		if !first {
			*out = append(*out, ',')
		}
		first = false
		*out = append(append(appendString(*out, key), ':'), value...)
		return nil
	})
	*out = append(*out, '}')
	return err
}
