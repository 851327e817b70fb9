// Package charset turns lines of the encodings that logs in China come in into
// UTF-8. What cannot be decoded whole is an error; nothing is ever replaced.
package charset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"
	"unicode/utf8"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// Charset is an encoding of text.
type Charset uint8

// The encodings. Bytes takes them as they are and never fails. Auto is UTF-8
// where a line is that, and GB18030 otherwise. GB18030 (GB 18030-2005) reads GBK
// and GB 2312 too.
const (
	Bytes Charset = iota
	Auto
	UTF8
	GB18030
	UTF16LE
	UTF16BE
)

var names = map[string]Charset{
	"": Bytes, "auto": Auto, "utf-8": UTF8, "gb18030": GB18030, "gbk": GB18030, "gb2312": GB18030, "utf-16le": UTF16LE, "utf-16be": UTF16BE,
}

// Named is the encoding of a name; "" is Bytes.
func Named(name string) (Charset, error) {
	if c, ok := names[name]; ok {
		return c, nil
	}
	var known []string
	for name := range names {
		if name != "" {
			known = append(known, name)
		}
	}
	slices.Sort(known)
	return Bytes, fmt.Errorf("encoding %q is none of %q", name, known)
}

// OfBOM is the encoding that the byte order mark at the start of a file tells,
// where it tells UTF-16; otherwise it is the given one.
func OfBOM(head []byte, otherwise Charset) Charset {
	switch {
	case bytes.HasPrefix(head, []byte{0xff, 0xfe}):
		return UTF16LE
	case bytes.HasPrefix(head, []byte{0xfe, 0xff}):
		return UTF16BE
	}
	return otherwise
}

// Wide says that a character is two bytes or four.
func (c Charset) Wide() bool { return c == UTF16LE || c == UTF16BE }

// Decode is b as UTF-8: b itself where it is that already, else new memory. An
// error says what b is not, and where.
func (c Charset) Decode(b []byte) ([]byte, error) {
	switch c {
	case UTF8:
		if !utf8.Valid(b) {
			return nil, fmt.Errorf("not UTF-8 at byte %d", validUntil(b))
		}
		return b, nil
	case GB18030:
		return gb18030(b)
	case Auto:
		if utf8.Valid(b) {
			return b, nil
		}
		text, err := gb18030(b)
		if err != nil {
			return nil, fmt.Errorf("neither UTF-8 (at byte %d) nor GB18030", validUntil(b))
		}
		return text, nil
	case UTF16LE, UTF16BE:
		return c.utf16(b)
	default:
		return b, nil
	}
}

func validUntil(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(b)
}

var errNotGB18030 = errors.New("not GB18030")

// replacement is U+FFFD as GB18030 writes it.
var replacement = []byte{0x84, 0x31, 0xa4, 0x37}

func gb18030(b []byte) ([]byte, error) {
	if ascii(b) {
		return b, nil
	}
	text, err := simplifiedchinese.GB18030.NewDecoder().Bytes(b)
	// The decoder writes U+FFFD for what it cannot read.
	if err != nil || bytes.Count(text, []byte("\ufffd")) != bytes.Count(b, replacement) {
		return nil, errNotGB18030
	}
	return text, nil
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

const bom = '\ufeff'

func (c Charset) utf16(b []byte) ([]byte, error) {
	if len(b)%2 != 0 {
		return nil, fmt.Errorf("not UTF-16: %d bytes are no whole characters", len(b))
	}
	high, low := 1, 0
	if c == UTF16BE {
		high, low = 0, 1
	}
	unit := func(i int) rune { return rune(b[i+high])<<8 | rune(b[i+low]) }
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i += 2 {
		r := unit(i)
		switch {
		case utf16.IsSurrogate(r):
			pair := rune(utf8.RuneError)
			if i+4 <= len(b) {
				pair = utf16.DecodeRune(r, unit(i+2))
			}
			if pair == utf8.RuneError {
				return nil, fmt.Errorf("not UTF-16: half of a character at byte %d", i)
			}
			r = pair
			i += 2
		case r == bom && i == 0:
			continue
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}
