package rules

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"fengsui/schemas"
)

// DecodeEvent reads an event as schemas.Event.AppendJSON writes it: one JSON
// object with dotted names. It is for rules' samples and for replaying stored
// events, not for the hot path. Unknown fields and values of the wrong type are
// errors; null is a missing field.
func DecodeEvent(line []byte) (*schemas.Event, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil, fmt.Errorf("event: not a JSON object: %.60q", line)
	}
	ev := &schemas.Event{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
		var v any
		if err := dec.Decode(&v); err != nil {
			return nil, fmt.Errorf("event: %v: %w", key, err)
		}
		if err := setField(ev, key.(string), v); err != nil {
			return nil, fmt.Errorf("event: %w", err)
		}
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("event: more text after the object")
	}
	return ev, nil
}

func setField(ev *schemas.Event, name string, v any) error {
	switch name {
	case "event.original":
		s, ok := v.(string)
		if !ok {
			return fmt.Errorf("event.original is not a text")
		}
		ev.Original = s
		return nil
	case "event.id":
		s, _ := v.(string)
		i := strings.LastIndexByte(s, '-')
		seq, err := strconv.ParseUint(s[i+1:], 10, 64)
		if i < 1 || err != nil {
			return fmt.Errorf("event.id %q is not stream-sequence", s)
		}
		ev.Stream, ev.Seq = s[:i], seq
		return nil
	}
	if err := schemas.CheckField(name); err != nil {
		return err
	}
	f, ok := schemas.LookupField(name)
	if !ok {
		ev.SetOpen(name, plainValue(v))
		return nil
	}
	val, err := typedValue(f, v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	ev.Set(f.ID, val)
	return nil
}

func typedValue(f schemas.Field, v any) (schemas.Value, error) {
	if list, ok := v.([]any); ok {
		vs := make([]schemas.Value, 0, len(list))
		for _, e := range list {
			one, err := scalarValue(f.Type, e)
			if err != nil {
				return schemas.Value{}, err
			}
			vs = append(vs, one)
		}
		return schemas.List(vs...), nil
	}
	return scalarValue(f.Type, v)
}

func scalarValue(t schemas.Type, v any) (schemas.Value, error) {
	switch v := v.(type) {
	case nil:
		return schemas.Value{}, nil
	case bool:
		if t == schemas.Boolean {
			return schemas.Bool(v), nil
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && t == schemas.Long {
			return schemas.Int(n), nil
		}
		if x, err := v.Float64(); err == nil && t == schemas.Double {
			return schemas.Float(x), nil
		}
	case string:
		switch t {
		case schemas.Keyword, schemas.Text, schemas.IP:
			return schemas.String(v), nil
		case schemas.Date:
			at, err := time.Parse(time.RFC3339Nano, v)
			if err != nil {
				return schemas.Value{}, fmt.Errorf("%q is not a time: %w", v, err)
			}
			return schemas.Time(at), nil
		}
	}
	return schemas.Value{}, fmt.Errorf("%v is not of the type %s", v, t)
}

// plainValue is the value of a field in an open namespace, which has no type.
func plainValue(v any) schemas.Value {
	switch v := v.(type) {
	case string:
		return schemas.String(v)
	case bool:
		return schemas.Bool(v)
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return schemas.Int(n)
		}
		if x, err := v.Float64(); err == nil {
			return schemas.Float(x)
		}
		return schemas.String(v.String())
	case []any:
		vs := make([]schemas.Value, 0, len(v))
		for _, e := range v {
			vs = append(vs, plainValue(e))
		}
		return schemas.List(vs...)
	case map[string]any: // kept whole, as text
		b, err := json.Marshal(v)
		if err != nil { // cannot happen: it came from JSON
			return schemas.Value{}
		}
		return schemas.String(string(b))
	}
	return schemas.Value{}
}
