package packet

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// maxText bounds a string in a record, in bytes; longer ones are cut and end
// in "…".
const maxText = 2048

// record writes one JSON object, field by field in the order of the calls, so
// that equal packets give equal bytes. Names of fields are Zeek's own.
type record struct{ b []byte }

// timeLayout is how Zeek writes a time with LogAscii::json_timestamps =
// JSON::TS_ISO8601.
const timeLayout = "2006-01-02T15:04:05.000000Z"

func newRecord(path string, at int64) *record {
	r := &record{b: make([]byte, 0, 512)}
	r.b = append(r.b, `{"_path":"`...)
	r.b = append(r.b, path...)
	r.b = append(r.b, `","ts":"`...)
	r.b = time.Unix(0, at).UTC().AppendFormat(r.b, timeLayout)
	r.b = append(r.b, '"')
	return r
}

func (r *record) key(name string) {
	r.b = append(r.b, ',', '"')
	r.b = append(r.b, name...)
	r.b = append(r.b, '"', ':')
}

// str writes a text; an empty one is left out, as Zeek leaves out what is unset.
func (r *record) str(name, v string) {
	if v == "" {
		return
	}
	r.key(name)
	r.b = appendText(r.b, v)
}

func (r *record) int(name string, v int64) {
	r.key(name)
	r.b = strconv.AppendInt(r.b, v, 10)
}

func (r *record) bool(name string, v bool) {
	r.key(name)
	r.b = strconv.AppendBool(r.b, v)
}

// seconds writes a span given in nanoseconds, to the microsecond.
func (r *record) seconds(name string, ns int64) {
	r.key(name)
	r.b = strconv.AppendFloat(r.b, float64(ns/1000)/1e6, 'f', -1, 64)
}

func (r *record) strs(name string, vs []string) {
	if len(vs) == 0 {
		return
	}
	r.key(name)
	r.b = append(r.b, '[')
	for i, v := range vs {
		if i > 0 {
			r.b = append(r.b, ',')
		}
		r.b = appendText(r.b, v)
	}
	r.b = append(r.b, ']')
}

func (r *record) numbers(name string, vs []uint32) {
	if len(vs) == 0 {
		return
	}
	r.key(name)
	r.b = append(r.b, '[')
	for i, v := range vs {
		if i > 0 {
			r.b = append(r.b, ',')
		}
		r.b = strconv.AppendUint(r.b, uint64(v), 10)
		r.b = append(r.b, '.', '0') // Zeek's type is interval: a real number
	}
	r.b = append(r.b, ']')
}

func (r *record) done() []byte { return append(r.b, '}') }

const hexDigits = "0123456789abcdef"

// appendText appends v as a JSON string. Bytes that are no UTF-8 become \xNN in
// the text, as Zeek writes them.
func appendText(b []byte, v string) []byte {
	cut := len(v) > maxText
	if cut {
		v = v[:maxText]
	}
	b = append(b, '"')
	for i := 0; i < len(v); {
		c := v[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			_, n := utf8.DecodeRuneInString(v[i:])
			if n == 1 {
				b = append(b, '\\', '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
			} else {
				b = append(b, v[i:i+n]...)
			}
			i += n
		}
	}
	if cut {
		b = append(b, "…"...)
	}
	return append(b, '"')
}
