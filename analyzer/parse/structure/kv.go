package structure

import (
	"maps"
	"math/bits"
	"slices"
	"strings"
	"unicode/utf8"
)

// KVOptions say how pairs are written. The zero value reads key=value with
// blanks, commas or semicolons between, in their Chinese widths too.
type KVOptions struct {
	Separators string // each character stands between pairs; "" is DefaultSeparators
	Assign     string // each character stands between key and value; "" is DefaultAssign
	Quotes     string // each character may enclose a value; "" is DefaultQuotes, "none" is none
}

// What a KV reads when it is not told.
const (
	DefaultSeparators = " \t,;，；"
	DefaultAssign     = "=＝"
	DefaultQuotes     = `"'`
)

// What a byte may be; of a wide character, its first byte.
const (
	isSeparator = 1 << iota
	isAssign
	isQuote
	isWide // may begin a character of several bytes that is one of the above
	isBlank
)

// KV reads pairs. A value without quotes goes on until the next key that stands
// after a separator and before an assignment, so it may hold blanks. A value in
// quotes ends at a quote that a separator or the end follows; a backslash before
// a quote makes it text.
type KV struct {
	class  [256]uint8
	wide   map[rune]uint8
	assign byte // the only character of assignment, if it is one byte; else 0
	cef    bool // backslashes escape outside of quotes too
	only   byte // the only separator, if it is one byte; else 0
	apart  bool // no character both separates and assigns
}

// NewKV makes a reader.
func NewKV(o KVOptions) *KV {
	k := &KV{wide: map[rune]uint8{}}
	add := func(chars, otherwise string, what uint8) {
		if chars == "" {
			chars = otherwise
		}
		if chars == "none" {
			return
		}
		for _, r := range chars {
			if r < utf8.RuneSelf {
				k.class[r] |= what
				continue
			}
			k.wide[r] |= what
			k.class[string(r)[0]] |= isWide
		}
	}
	add(o.Separators, DefaultSeparators, isSeparator)
	add(o.Assign, DefaultAssign, isAssign)
	add(o.Quotes, DefaultQuotes, isQuote)
	add(" \t\r\n", "", isBlank)
	if len(o.Assign) == 1 {
		k.assign = o.Assign[0]
	}
	if len(o.Separators) == 1 {
		k.only = o.Separators[0]
	}
	k.apart = !slices.ContainsFunc(append(slices.Collect(maps.Values(k.wide)), k.class[:]...), func(c uint8) bool {
		return c&isAssign != 0 && c&(isSeparator|isBlank) != 0
	})
	return k
}

// key is where a key and its value begin: s[start:end], and value; and its number,
// where a lexicon expected it, or else Unknown.
type key struct{ start, end, value, number int }

// Append appends the pairs of text. Text without any pair is an error.
func (k *KV) Append(dst []Pair, s string) ([]Pair, error) { return k.AppendBy(dst, s, nil) }

// AppendBy is Append, which numbers the keys by a lexicon and finds those sooner
// that it expects. A nil lexicon expects nothing.
func (k *KV) AppendBy(dst []Pair, s string, lex *Lexicon) ([]Pair, error) {
	return k.appendAfter(dst, s, lex, AtStart)
}

// appendAfter is AppendBy of what follows the key numbered last.
func (k *KV) appendAfter(dst []Pair, s string, lex *Lexicon, last int) ([]Pair, error) {
	before := len(dst)
	unclosed := [2]bool{} // no closing quote is ahead, so none is looked for again
	at, ok := k.first(s, lex, last)
	for ok {
		if at.number >= 0 && unclosed == [2]bool{} {
			if dst, at, ok = k.appendExpected(dst, s, at, lex, before+MaxPairs); !ok {
				break
			}
		}
		if len(dst)-before == MaxPairs {
			return dst, errPairs
		}
		var p *Pair
		dst, p = grow(dst)
		p.Key, p.Number = s[at.start:at.end], 0
		if lex != nil {
			if at.number < 0 {
				at.number = lex.numberBy(k, p.Key, last)
			}
			last = at.number
			p.Number = int32(max(last, -1) + 1) //nolint:gosec // of few thousand words
		}
		v := at.value
		for v < len(s) && k.class[s[v]]&isBlank != 0 {
			v++
		}
		if v < len(s) && k.class[s[v]]&isQuote != 0 {
			which := 0
			if s[v] != '"' {
				which = 1
			}
			if !unclosed[which] {
				end, escaped := k.closing(s, v)
				if end > 0 {
					p.Value = s[v+1 : end]
					if escaped {
						p.Value = strings.ReplaceAll(p.Value, `\`+s[v:v+1], s[v:v+1])
					}
					at, ok = k.following(s, end+1, end+1, lex, last)
					continue
				}
				unclosed[which] = true
			}
		}
		floor := at.value
		if v == floor && k.apart {
			// What stands before the first separator is after an assignment and not
			// after a separator: no key begins there.
			at, ok = k.following(s, k.separator(s, v), floor, lex, last)
		} else {
			at, ok = k.next(s, v, floor)
		}
		end := len(s)
		if ok {
			end = at.start
		}
		p.Value = k.trim(s[min(v, end):end])
	}
	if len(dst) == before {
		return dst, errNoPairs
	}
	return dst, nil
}

// appendExpected appends the pair whose key is at, and those after it, as long as
// each is simple and followed by the key that the lexicon expects or by the end:
// nothing else could be read there. It returns the key whose pair is not so; false
// is the end.
func (k *KV) appendExpected(dst []Pair, s string, at key, lex *Lexicon, most int) ([]Pair, key, bool) {
	for len(dst) < most && at.value < len(s) {
		v, end, after := at.value, 0, 0
		switch c := k.class[s[v]]; {
		case c&isQuote != 0:
			v++
			end = near(s, v, s[v-1])
			if after = end + 1; end < 0 || s[end-1] == '\\' {
				return dst, at, true
			}
		case c&isBlank != 0 || !k.apart:
			return dst, at, true
		default:
			end = k.separator(s, v)
			if after = end; end > v && k.class[s[end-1]]&isBlank != 0 {
				return dst, at, true
			}
		}
		next, ok := key{}, after < len(s)
		if ok {
			if next = k.expectedAfter(s, after, lex, at.number); next.number < 0 {
				return dst, at, true
			}
		}
		var p *Pair
		dst, p = grow(dst)
		p.Key, p.Value, p.Number = s[at.start:at.end], s[v:end], int32(at.number+1) //nolint:gosec // of few thousand words
		if at = next; !ok {
			return dst, at, false
		}
	}
	return dst, at, true
}

// grow makes room for one pair, which may have what another left there in its Key,
// its Value and its Number.
func grow(dst []Pair) ([]Pair, *Pair) {
	n := len(dst)
	if n == cap(dst) {
		dst = slices.Grow(dst, max(32, n))
	}
	dst = dst[:n+1]
	dst[n].Alias = ""
	return dst, &dst[n]
}

// first finds the first key.
func (k *KV) first(s string, lex *Lexicon, last int) (key, bool) {
	if lex != nil {
		if at := k.expected(s, 0, lex, last); at.number >= 0 {
			return at, true
		}
	}
	return k.next(s, 0, 0)
}

// following is next, where what stands between floor and from is known to have no
// key, which tries the expected key first.
func (k *KV) following(s string, from, floor int, lex *Lexicon, last int) (key, bool) {
	if lex != nil && last >= 0 {
		if at := k.expectedAfter(s, from, lex, last); at.number >= 0 {
			return at, true
		}
	}
	return k.next(s, from, floor)
}

// expectedAfter is the key that the lexicon expects, if it stands behind a few
// separators at from.
func (k *KV) expectedAfter(s string, from int, lex *Lexicon, last int) key {
	start, between := from, uint8(0)
	for start < len(s) && start-from < 4 && k.class[s[start]]&(isSeparator|isBlank) != 0 {
		between |= k.class[s[start]]
		start++
	}
	if between&isSeparator == 0 {
		return key{number: Unknown}
	}
	return k.expected(s, start, lex, last)
}

// expected is the key that the lexicon expects after the last one, if it stands at
// start with an assignment right behind it.
func (k *KV) expected(s string, start int, lex *Lexicon, last int) key {
	n := lex.after(last)
	if n < 0 {
		return key{number: Unknown}
	}
	w := &lex.words[n]
	end := start + len(w.key)
	if end >= len(s) || k.class[s[end]]&isAssign == 0 || s[start:end] != w.key || w.by != k {
		return key{number: Unknown}
	}
	return key{start, end, end + 1, n}
}

// separator is the first separator at i or after it, or a character that may be a
// wide one; len(s) is none.
func (k *KV) separator(s string, i int) int {
	if k.only != 0 {
		if n := near(s, i, k.only); n >= 0 {
			return n
		}
		return len(s)
	}
	for i < len(s) && k.class[s[i]]&(isSeparator|isWide) == 0 {
		i++
	}
	return i
}

// next finds the first key whose assignment stands at from or after it and that
// begins at floor or after it.
func (k *KV) next(s string, from, floor int) (key, bool) {
	for i := from; i < len(s); {
		n := 1
		if k.assign != 0 {
			j := strings.IndexByte(s[i:], k.assign)
			if j < 0 {
				return key{}, false
			}
			i += j
		} else {
			i, n = k.find(s, i)
			if n == 0 {
				return key{}, false
			}
		}
		if start, end := k.before(s, i, floor); start >= 0 {
			return key{start, end, i + n, Unknown}, true
		}
		i += n
	}
	return key{}, false
}

// find is the next assignment at i or after it, and its length; 0 is none.
func (k *KV) find(s string, i int) (at, n int) {
	for ; i < len(s); i++ {
		c := k.class[s[i]]
		if c&isAssign != 0 {
			return i, 1
		}
		if c&isWide != 0 {
			if r, size := utf8.DecodeRuneInString(s[i:]); k.wide[r]&isAssign != 0 {
				return i, size
			}
		}
	}
	return i, 0
}

// before is the key that ends before the assignment at i, or start -1. It stands
// at the start of the text or after a separator.
func (k *KV) before(s string, i, floor int) (start, end int) {
	if k.cef && i > floor && s[i-1] == '\\' {
		return -1, 0
	}
	for end = i; end > floor && k.class[s[end-1]]&isBlank != 0; end-- {
	}
	start = end
	digits := true
	for start > floor && end-start <= MaxKey {
		c := s[start-1]
		class := k.class[c]
		if c < utf8.RuneSelf {
			if class&(isSeparator|isAssign|isQuote) != 0 || !keyByte[c] && c != ' ' {
				break
			}
			digits = digits && (c-'0' <= 9 || c == ' ')
			start--
			continue
		}
		r, size := utf8.DecodeLastRuneInString(s[floor:start])
		if k.wide[r]&(isSeparator|isAssign) != 0 {
			break
		}
		digits = false
		start -= size
	}
	for start < end && s[start] == ' ' {
		start++
	}
	if start == end || end-start > MaxKey || digits && strings.IndexByte(s[start:end], ' ') < 0 {
		return -1, 0
	}
	for j := start; j > 0; { // what stands before it, blanks aside where they are no separators
		c := k.class[s[j-1]]
		switch {
		case c&isSeparator != 0:
			return start, end
		case c&isBlank != 0:
			j--
			if j == 0 {
				return start, end
			}
			if start-j > MaxKey {
				return -1, 0
			}
			continue
		case s[j-1] >= utf8.RuneSelf:
			if r, _ := utf8.DecodeLastRuneInString(s[:j]); k.wide[r]&isSeparator != 0 {
				return start, end
			}
		}
		return -1, 0
	}
	return start, end
}

// keyByte are the ASCII bytes that a key has.
var keyByte = func() (t [256]bool) {
	for c := range 128 {
		t[c] = c-'0' >= 0 && c-'0' <= 9 || (c|0x20)-'a' >= 0 && (c|0x20)-'a' <= 25
	}
	for _, c := range "_-./[]@#$()" {
		t[c] = true
	}
	return t
}()

// closing is where the value whose opening quote stands at i ends, or 0.
func (k *KV) closing(s string, i int) (end int, escaped bool) {
	quote := s[i]
	for j := i + 1; ; j++ {
		if j = near(s, j, quote); j < 0 {
			return 0, false
		}
		slashes := 0
		for j-1-slashes > i && s[j-1-slashes] == '\\' {
			slashes++
		}
		if slashes%2 == 1 {
			escaped = true
			continue
		}
		if j+1 == len(s) || k.ends(s, j+1) {
			return j, escaped
		}
	}
}

// near is where c stands first, at i or after it, or -1: strings.IndexByte for what
// is mostly a few bytes away.
func near(s string, i int, c byte) int {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	for range 2 {
		if len(s)-i < 8 {
			break
		}
		x := eight(s[i:]) ^ uint64(c)*ones
		if zero := (x - ones) &^ x & high; zero != 0 {
			return i + bits.TrailingZeros64(zero)/8
		}
		i += 8
	}
	if n := strings.IndexByte(s[i:], c); n >= 0 {
		return i + n
	}
	return -1
}

// ends says that what stands at i may follow a quoted value.
func (k *KV) ends(s string, i int) bool {
	c := k.class[s[i]]
	if c&(isSeparator|isBlank) != 0 || strings.IndexByte(")]}>", s[i]) >= 0 {
		return true
	}
	if c&isWide == 0 {
		return false
	}
	r, _ := utf8.DecodeRuneInString(s[i:])
	return k.wide[r]&isSeparator != 0
}

// trim removes the separators and blanks at the end of a value.
func (k *KV) trim(s string) string {
	for len(s) > 0 {
		c := s[len(s)-1]
		if k.class[c]&(isSeparator|isBlank) != 0 {
			s = s[:len(s)-1]
			continue
		}
		if c < utf8.RuneSelf {
			return s
		}
		r, size := utf8.DecodeLastRuneInString(s)
		if k.wide[r]&isSeparator == 0 {
			return s
		}
		s = s[:len(s)-size]
	}
	return s
}
