package schemas

import (
	"encoding/json"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
	"unsafe"
)

// Kind is what a Value holds.
type Kind uint8

// The kinds of value. None is a missing field.
const (
	None Kind = iota
	KindString
	KindInt
	KindFloat
	KindBool
	KindTime
	KindList
)

// Value is one field's value. The zero Value is a missing field.
//
// It is three words, since events are filled with many of them, and an event is
// parsed in less than a microsecond: a string and a list are kept as the pointer
// to their first byte or element, which holds them, and their length. Compare with
// Equal, not with ==.
type Value struct {
	data unsafe.Pointer // of a string or a list
	num  int64          // its length; or int, bool, time in ns since 1970, the bits of a float
	kind Kind
}

// String, Int, Float and List make values. An address is a string
// in its canonical form.
func String(s string) Value {
	return Value{kind: KindString, data: unsafe.Pointer(unsafe.StringData(s)), num: int64(len(s))}
}
func Int(n int64) Value     { return Value{kind: KindInt, num: n} }
func Float(f float64) Value { return Value{kind: KindFloat, num: int64(math.Float64bits(f))} }
func List(vs ...Value) Value {
	return Value{kind: KindList, data: unsafe.Pointer(unsafe.SliceData(vs)), num: int64(len(vs))}
}

func Addr(a netip.Addr) Value { return String(a.Unmap().String()) }

// The times that a Value can hold: nanoseconds since 1970 in 64 bits.
var minTime, maxTime = time.Unix(0, math.MinInt64), time.Unix(0, math.MaxInt64)

// Time makes a time. One before 1677 or after 2262 becomes the nearest that a
// Value can hold, so that a wrong clock stays visibly wrong.
func Time(t time.Time) Value {
	const within = math.MaxInt64 / int64(time.Second) // seconds, of either sign, all of whose nanoseconds can be held
	if sec := t.Unix(); sec > -within && sec < within {
		return Value{kind: KindTime, num: sec*int64(time.Second) + int64(t.Nanosecond())}
	}
	switch {
	case t.Before(minTime):
		t = minTime
	case t.After(maxTime):
		t = maxTime
	}
	return Value{kind: KindTime, num: t.UnixNano()}
}

// Bool makes a truth value.
func Bool(b bool) Value {
	v := Value{kind: KindBool}
	if b {
		v.num = 1
	}
	return v
}

// Strings makes a list of strings.
func Strings(ss ...string) Value {
	vs := make([]Value, len(ss))
	for i, s := range ss {
		vs[i] = String(s)
	}
	return List(vs...)
}

// Kind says what the value holds.
func (v Value) Kind() Kind { return v.kind }

// IsNone says that the field is missing.
func (v Value) IsNone() bool { return v.kind == None }

// Str is the string held, or "" for another kind.
func (v Value) Str() string {
	if v.kind != KindString {
		return ""
	}
	return v.str()
}

// str is the string of a value of that kind.
func (v Value) str() string { return unsafe.String((*byte)(v.data), int(v.num)) }

// list is the list of a value of that kind; appending to it copies it.
func (v Value) list() []Value { return unsafe.Slice((*Value)(v.data), int(v.num)) }

// Int is the integer held, or 0 for another kind.
func (v Value) Int() int64 {
	if v.kind != KindInt {
		return 0
	}
	return v.num
}

// Float is the number held, whole or not, or 0 for another kind.
func (v Value) Float() float64 {
	switch v.kind {
	case KindFloat:
		return math.Float64frombits(uint64(v.num))
	case KindInt:
		return float64(v.num)
	}
	return 0
}

// Bool is the truth held, or false for another kind.
func (v Value) Bool() bool { return v.kind == KindBool && v.num != 0 }

// Time is the time held in UTC, or the zero time for another kind.
func (v Value) Time() time.Time {
	if v.kind != KindTime {
		return time.Time{}
	}
	return time.Unix(0, v.num).UTC()
}

// List is the list held, or the value itself as a list of one; none is empty.
func (v Value) List() []Value {
	switch v.kind {
	case None:
		return nil
	case KindList:
		return v.list()
	}
	return []Value{v}
}

// Text is the value as a person reads it; a list is joined by ", ".
func (v Value) Text() string {
	switch v.kind {
	case KindString:
		return v.str()
	case KindInt:
		return strconv.FormatInt(v.num, 10)
	case KindFloat:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case KindBool:
		return strconv.FormatBool(v.num != 0)
	case KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case KindList:
		parts := make([]string, v.num)
		for i, e := range v.list() {
			parts[i] = e.Text()
		}
		return strings.Join(parts, ", ")
	}
	return ""
}

// Equal says that both values are the same in kind and content.
func (v Value) Equal(o Value) bool {
	if v.kind != o.kind || v.num != o.num { // so that strings and lists are of one length
		return false
	}
	switch v.kind {
	case KindString:
		return v.str() == o.str()
	case KindList:
		return slices.EqualFunc(v.list(), o.list(), Value.Equal)
	}
	return true
}

// AppendJSON appends the value as JSON. A float that JSON cannot say is null.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.kind {
	case KindString:
		return appendJSONString(dst, v.str())
	case KindInt:
		return strconv.AppendInt(dst, v.num, 10)
	case KindFloat:
		f := v.Float()
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(dst, "null"...)
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case KindBool:
		return strconv.AppendBool(dst, v.num != 0)
	case KindTime:
		dst = append(dst, '"')
		dst = v.Time().AppendFormat(dst, time.RFC3339Nano)
		return append(dst, '"')
	case KindList:
		dst = append(dst, '[')
		for i, e := range v.list() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = e.AppendJSON(dst)
		}
		return append(dst, ']')
	}
	return append(dst, "null"...)
}

// appendJSONString quotes s. The common line of printable ASCII is copied; what
// needs escaping, and bytes that are not UTF-8, go the library's way.
func appendJSONString(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil { // cannot happen for a string
				return append(dst, `""`...)
			}
			return append(dst, quoted...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
