package match

import (
	"encoding/binary"
	"unicode"
	"unicode/utf8"
)

// Sigma's texts match in any case of letters. Two letters are the same when
// Unicode's simple case folding says so: what strings.EqualFold calls equal.

// fold brings a text to one case.
func fold(s string) string {
	if foldedAlready(s) {
		return s
	}
	return string(appendFold(make([]byte, 0, len(s)+4), s))
}

func foldedAlready(s string) bool {
	b := bytesOf(s)
	for ; len(b) >= 8; b = b[8:] {
		if x := binary.LittleEndian.Uint64(b); x&highs|capitals(x) != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// capitals has the eighth bit of each of eight bytes that is a capital letter, if
// all of them are ASCII.
func capitals(x uint64) uint64 {
	return (x + ones*(0x80-'A')) &^ (x + ones*(0x80-'Z'-1)) & highs
}

// appendFold keeps bytes that are not UTF-8 as they are.
func appendFold(dst []byte, s string) []byte {
	from := len(dst)
	dst = append(dst, s...)
	i := from
	for ; i+8 <= len(dst); i += 8 {
		x := binary.LittleEndian.Uint64(dst[i:])
		if x&highs != 0 {
			break
		}
		binary.LittleEndian.PutUint64(dst[i:], x|capitals(x)>>2)
	}
	for ; i < len(dst); i++ {
		c := dst[i]
		if c >= utf8.RuneSelf {
			return appendFoldRunes(dst[:i], s[i-from:])
		}
		if 'A' <= c && c <= 'Z' {
			dst[i] = c + 'a' - 'A'
		}
	}
	return dst
}

func appendFoldRunes(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, c)
		} else {
			dst = utf8.AppendRune(dst, foldRune(r))
		}
		i += n
	}
	return dst
}

// foldRune is the least letter that folds to the same, in lower case if ASCII.
func foldRune(r rune) rune {
	if 0x3000 <= r && r < 0xa000 { // ideographs, kana: one case
		return r
	}
	least := r
	for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
		least = min(least, o)
	}
	if 'A' <= least && least <= 'Z' {
		least += 'a' - 'A'
	}
	return least
}
