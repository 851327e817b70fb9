package match

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// walker reads JSON's tokens from a line.
type walker struct {
	line []byte
	high uint64 // the eighth bits of its bytes
	// hidden are the letters of ASCII that escapes stand for.
	hidden asciiSet
}

// asciiSet is a set of bytes of ASCII.
type asciiSet [2]uint64

func (l *asciiSet) add(c byte)          { l[c>>6&1] |= 1 << (c & 63) }
func (l asciiSet) meet(o asciiSet) bool { return l[0]&o[0]|l[1]&o[1] != 0 }

func (w *walker) space(i int) int {
	for i < len(w.line) && (w.line[i] == ' ' || w.line[i] == '\t' || w.line[i] == '\n' || w.line[i] == '\r') {
		i++
	}
	return i
}

// value reads one value and returns where it ends, or -1.
func (w *walker) value(i int, v *rawValue) int {
	if i >= len(w.line) {
		return -1
	}
	c := w.line[i]
	switch {
	case c == '"':
		end, escaped := w.text(i + 1)
		v.kind, v.from, v.to = rawText, int32(i+1), int32(end) //nolint:gosec // a record is at most 1 MiB
		if escaped {
			v.kind = rawEscaped
		}
		if end < 0 {
			return -1
		}
		return end + 1
	case c == '-' || '0' <= c && c <= '9':
		end := i + 1
		for end < len(w.line) && '0' <= w.line[end] && w.line[end] <= '9' {
			end++
		}
		digits := w.line[i:end]
		if c == '-' {
			digits = digits[1:]
		}
		if len(digits) == 0 || len(digits) > 1 && digits[0] == '0' {
			return -1
		}
		v.kind, v.from, v.to = rawText, int32(i), int32(end) //nolint:gosec // as above
		return end                                           // a fraction or an exponent is not what follows a value
	case c == '[':
		return w.list(i+1, v)
	}
	for _, word := range [...]string{"true", "false", "null"} {
		if bytes.HasPrefix(w.line[i:], bytesOf(word)) {
			v.kind, v.from, v.to = rawText, int32(i), int32(i+len(word)) //nolint:gosec // as above
			if word == "null" {
				v.kind = rawNull
			}
			return i + len(word)
		}
	}
	return -1
}

// list passes over a list of scalars.
func (w *walker) list(i int, v *rawValue) int {
	from := int32(i - 1) //nolint:gosec // a record is at most 1 MiB
	if i = w.space(i); i < len(w.line) && w.line[i] == ']' {
		v.kind, v.from, v.to = rawList, from, int32(i+1) //nolint:gosec // as above
		return i + 1
	}
	for {
		if i = w.space(i); i >= len(w.line) || w.line[i] == '[' || w.line[i] == '{' {
			return -1
		}
		if i = w.value(i, v); i < 0 {
			return -1
		}
		if i = w.space(i); i >= len(w.line) {
			return -1
		}
		if w.line[i] == ']' {
			v.kind, v.from, v.to = rawList, from, int32(i+1) //nolint:gosec // as above
			return i + 1
		}
		if w.line[i] != ',' {
			return -1
		}
		i++
	}
}

// text finds the quote that ends a string, eight bytes at a time (after Alan
// Mycroft's test for a zero byte, 1987), or -1.
func (w *walker) text(i int) (end int, escaped bool) {
	line := w.line
	for {
		for ; i+8 <= len(line); i += 8 {
			x := binary.LittleEndian.Uint64(line[i:])
			w.high |= x
			quote, slash := x^ones*'"', x^ones*'\\'
			stop := ((quote-ones)&^quote | (slash-ones)&^slash | (x-ones*' ')&^x) & highs
			if stop != 0 {
				i += bits.TrailingZeros64(stop) / 8
				break
			}
		}
		for i < len(line) && line[i] != '"' && line[i] != '\\' && line[i] >= ' ' {
			w.high |= uint64(line[i])
			i++
		}
		if i >= len(line) || line[i] < ' ' {
			return -1, escaped
		}
		if line[i] == '"' {
			return i, escaped
		}
		if i+1 >= len(line) {
			return -1, escaped
		}
		escaped = true
		switch line[i+1] {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			i += 2
		case '/':
			w.hidden.add('/')
			i += 2
		case 'u':
			if !hex4(line, i+2) {
				return -1, escaped
			}
			c := unhex4(line[i+2:])
			if c = foldRune(c); c < utf8.RuneSelf {
				w.hidden.add(byte(c)) //nolint:gosec // of ASCII
			}
			i += 6
		default:
			return -1, escaped
		}
	}
}

func hex4(line []byte, i int) bool {
	if i+4 > len(line) {
		return false
	}
	for _, c := range line[i : i+4] {
		if !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}

// escapes are what the letters after a backslash stand for.
var escapes = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// unescape appends a well-formed string without its escapes. Half a surrogate
// pair becomes U+FFFD, as in encoding/json.
func unescape(b, text []byte) []byte {
	for i := 0; i < len(text); i++ {
		run := bytes.IndexByte(text[i:], '\\')
		if run < 0 {
			return append(b, text[i:]...)
		}
		b = append(b, text[i:i+run]...)
		if i += run + 1; text[i] != 'u' {
			b = append(b, escapes[text[i]])
			continue
		}
		c := unhex4(text[i+1:])
		i += 4
		if utf16.IsSurrogate(c) {
			low := rune(0)
			if i+6 < len(text) && text[i+1] == '\\' && text[i+2] == 'u' {
				low = unhex4(text[i+3:])
			}
			if c = utf16.DecodeRune(c, low); c != utf8.RuneError {
				i += 6
			}
		}
		b = utf8.AppendRune(b, c)
	}
	return b
}

// unhex4 reads four hexadecimal digits.
func unhex4(text []byte) rune {
	var r rune
	for _, c := range text[:4] {
		if c >= 'A' {
			c = c&^0x20 - 'A' + '9' + 1
		}
		r = r<<4 | rune(c-'0')
	}
	return r
}
