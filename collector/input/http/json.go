package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"unicode/utf8"
)

// The functions below walk JSON that json.Valid has found valid, without making
// values of it: what is passed on is passed on as its bytes.

// valueEnd is where the value at the start of b ends, or -1 where b ends first.
// Of what is no JSON it says anything.
func valueEnd(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	switch b[0] {
	case '"':
		return stringEnd(b)
	case '{', '[':
	default:
		if end := bytes.IndexAny(b, ",]}\" \t\r\n"); end >= 0 {
			return max(end, 1)
		}
		return len(b)
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		case '"':
			end := stringEnd(b[i:])
			if end < 0 {
				return -1
			}
			i += end - 1
		}
	}
	return -1
}

// stringEnd is where the string at the start of b ends, or -1.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func skipSpace(b []byte) []byte { return bytes.TrimLeft(b, " \t\r\n") }

// members visits the members of an object, until visit says no; of another
// value there are none.
func members(object []byte, visit func(key string, value []byte) bool) {
	b := skipSpace(object)
	if len(b) == 0 || b[0] != '{' {
		return
	}
	for b = skipSpace(b[1:]); len(b) > 0 && b[0] == '"'; b = skipSpace(b[1:]) {
		end := stringEnd(b)
		if end < 0 {
			return
		}
		key := text(b[:end])
		b = skipSpace(skipSpace(b[end:])[1:]) // the colon
		if end = valueEnd(b); end < 0 || !visit(key, b[:end]) {
			return
		}
		if b = skipSpace(b[end:]); len(b) == 0 || b[0] != ',' {
			return
		}
	}
}

// elements visits those of an array; of another value there are none.
func elements(array []byte, visit func(value []byte) bool) {
	b := skipSpace(array)
	if len(b) == 0 || b[0] != '[' {
		return
	}
	for b = skipSpace(b[1:]); len(b) > 0 && b[0] != ']'; b = skipSpace(b[1:]) {
		end := valueEnd(b)
		if end < 0 || !visit(b[:end]) {
			return
		}
		if b = skipSpace(b[end:]); len(b) == 0 || b[0] != ',' {
			return
		}
	}
}

// member is one of an object's, or nil.
func member(object []byte, name string) (found []byte) {
	members(object, func(key string, value []byte) bool {
		if key == name {
			found = value
		}
		return found == nil
	})
	return found
}

// text is what a string says; of another value, its bytes.
func text(value []byte) string {
	if len(value) < 2 || value[0] != '"' {
		return string(value)
	}
	if inner := value[1 : len(value)-1]; bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	_ = json.Unmarshal(value, &s) // it is valid
	return s
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string; bytes that are no UTF-8 become U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += size
		}
	}
	return append(b, '"')
}

// writeJSON writes a small answer.
func writeJSON(w http.ResponseWriter, status int, v any) {
	b, _ := json.Marshal(v) // plain maps
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // a client that is gone does not read it
}
