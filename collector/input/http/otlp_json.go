package http

import (
	"strconv"
	"strings"
)

// readOTLPJSON reads an ExportLogsServiceRequest as JSON: protobuf's mapping, but
// with hexadecimal ids. The body is valid JSON; what is not of the right shape is
// passed over, as an unknown field is.
func readOTLPJSON(body []byte, e *encoder) (err error) {
	elements(member(body, "resourceLogs"), func(resourceLogs []byte) bool {
		var s scope
		jsonAttributes(member(member(resourceLogs, "resource"), "attributes"), s.add)
		elements(member(resourceLogs, "scopeLogs"), func(scopeLogs []byte) bool {
			s.logger = ""
			if name := member(member(scopeLogs, "scope"), "name"); name != nil {
				s.logger = text(name)
			}
			elements(member(scopeLogs, "logRecords"), func(logRecord []byte) bool {
				var r record
				members(logRecord, r.json)
				err = e.record(&s, &r)
				return err == nil
			})
			return err == nil
		})
		return err == nil
	})
	return err
}

// json takes a member of a LogRecord.
func (r *record) json(key string, value []byte) bool {
	number := func() uint64 {
		n, _ := strconv.ParseUint(text(value), 10, 64) // what is none is none
		return n
	}
	switch key {
	case "timeUnixNano":
		r.time = number()
	case "observedTimeUnixNano":
		r.observed = number()
	case "severityNumber":
		r.severity = number()
	case "severityText":
		r.level = text(value)
	case "body":
		var err error
		if r.body, err = jsonValue(nil, value, 0); err != nil {
			r.body, r.reject = nil, err
		}
	case "attributes":
		jsonAttributes(value, r.add)
	case "traceId":
		r.trace = strings.ToLower(text(value))
	case "spanId":
		r.span = strings.ToLower(text(value))
	case "eventName":
		r.event = text(value)
	}
	return true
}

func jsonAttributes(array []byte, add func(key string, value []byte, err error)) {
	elements(array, func(keyValue []byte) bool {
		value, err := jsonValue(nil, member(keyValue, "value"), 0)
		add(text(member(keyValue, "key")), value, err)
		return err == nil
	})
}

// jsonValue appends an AnyValue as plain JSON.
func jsonValue(out, anyValue []byte, depth int) (_ []byte, err error) {
	if depth > maxDepth {
		return out, errDepth
	}
	start := len(out)
	members(anyValue, func(key string, value []byte) bool {
		switch key {
		case "intValue": // a text, since JSON's numbers are not all exact
			if n, wrong := strconv.ParseInt(text(value), 10, 64); wrong == nil {
				out = strconv.AppendInt(out, n, 10)
			}
		case "stringValue", "boolValue", "doubleValue", "bytesValue":
			if value[0] != '{' && value[0] != '[' {
				out = append(out, value...)
			}
		case "arrayValue":
			out, err = jsonArray(out, member(value, "values"), depth)
		case "kvlistValue":
			out, err = jsonList(out, member(value, "values"), depth)
		}
		return err == nil && len(out) == start
	})
	if err == nil && len(out) == start {
		out = append(out, "null"...)
	}
	return out, err
}

func jsonArray(out, array []byte, depth int) (_ []byte, err error) {
	out = append(out, '[')
	first := true
	elements(array, func(value []byte) bool {
		if !first {
			out = append(out, ',')
		}
		first = false
		out, err = jsonValue(out, value, depth+1)
		return err == nil
	})
	return append(out, ']'), err
}

func jsonList(out, array []byte, depth int) (_ []byte, err error) {
	out = append(out, '{')
	first := true
	elements(array, func(keyValue []byte) bool {
		if !first {
			out = append(out, ',')
		}
		first = false
		out = append(appendString(out, text(member(keyValue, "key"))), ':')
		out, err = jsonValue(out, member(keyValue, "value"), depth+1)
		return err == nil
	})
	return append(out, '}'), err
}
