package clickhouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"fengsui/schemas"
)

// A column has one type, and a value may be of another: a list where there is one
// text, words where there is a number, a time to the nanosecond. Such values
// stand in the column exact, too, so that an event that is read back has the
// texts that rules saw.

// survives says that a value's texts are the same once its column was read back.
func survives(id schemas.FieldID, v schemas.Value) bool {
	f := id.Field()
	if !f.List {
		return survivesAlone(f.Type, v)
	}
	for _, e := range v.List() {
		switch {
		case e.Kind() == schemas.KindList || e.Kind() == schemas.None:
			return false
		case f.Type == schemas.Long, f.Type == schemas.Double, f.Type == schemas.Boolean, f.Type == schemas.Date:
			if !survivesAlone(f.Type, e) {
				return false
			}
		}
	}
	return true // a text in a list may be empty
}

func survivesAlone(t schemas.Type, v schemas.Value) bool {
	if v.Kind() == schemas.KindList {
		if !single(v) {
			return false
		}
		v = v.List()[0]
	}
	switch t {
	case schemas.Long:
		return v.Kind() == schemas.KindInt
	case schemas.Double:
		return v.Kind() == schemas.KindFloat
	case schemas.Boolean:
		return v.Kind() == schemas.KindBool
	case schemas.Date:
		at := v.Time()
		return v.Kind() == schemas.KindTime && at.Nanosecond()%1000 == 0 && clamp(at).Equal(at)
	}
	return v.Kind() != schemas.KindString || v.Str() != "" // else it is a missing field
}

// single says that a list has one element, which is no list.
func single(v schemas.Value) bool {
	return len(v.List()) == 1 && v.List()[0].Kind() != schemas.KindList
}

// inexact gathers the values of one event that do not survive.
type inexact struct{ buf []byte }

func (x *inexact) add(name string, v schemas.Value) {
	if len(x.buf) == 0 {
		x.buf = append(x.buf, '{')
	} else {
		x.buf = append(x.buf, ',')
	}
	key, err := json.Marshal(name)
	if err != nil { // cannot happen for a string
		key = []byte(`""`)
	}
	x.buf = append(append(x.buf, key...), ':')
	if v.Kind() == schemas.KindTime { // not a text that looks like one
		x.buf = append(v.AppendJSON(append(x.buf, `{"time":`...)), '}')
		return
	}
	x.buf = v.AppendJSON(x.buf)
}

// end is the event's text, empty as a rule. It is good until the next add.
func (x *inexact) end() []byte {
	out := x.buf
	if len(out) > 0 {
		out = append(out, '}')
	}
	x.buf = out[:0]
	return out
}

// restore sets the values of an event that its columns could not say.
func restore(ev *schemas.Event, text string) error {
	if text == "" {
		return nil
	}
	var values map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &values); err != nil {
		return fmt.Errorf("column exact: %w", err)
	}
	for name, raw := range values {
		v, err := exactValue(raw)
		if err != nil {
			return fmt.Errorf("column exact: %s: %w", name, err)
		}
		if f, ok := schemas.LookupField(name); ok {
			ev.Set(f.ID, v)
		} else {
			ev.SetOpen(name, v)
		}
	}
	return nil
}

func exactValue(raw json.RawMessage) (schemas.Value, error) {
	if raw[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(raw, &list); err != nil {
			return schemas.Value{}, err
		}
		vs := make([]schemas.Value, len(list))
		for i, e := range list {
			var err error
			if vs[i], err = exactValue(e); err != nil {
				return schemas.Value{}, err
			}
		}
		return schemas.List(vs...), nil
	}
	if raw[0] == '{' {
		var t struct {
			Time time.Time `json:"time"`
		}
		err := json.Unmarshal(raw, &t)
		return schemas.Time(t.Time), err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return schemas.Value{}, err
	}
	switch v := v.(type) {
	case string:
		return schemas.String(v), nil
	case bool:
		return schemas.Bool(v), nil
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return schemas.Int(n), nil
		}
		f, err := v.Float64()
		return schemas.Float(f), err
	}
	return schemas.Value{}, nil
}
