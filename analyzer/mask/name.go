package mask

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// passportKeys announce a passport number.
var passportKeys = []string{"护照", "护照号", "护照号码", "passport", "passport_no", "passportno", "passport_number", "hzhm"}

// keyword is a key as it may stand in a text.
type keyword struct {
	text  string // ASCII letters in lower case
	class Class
}

// spellings are a key as text, and where it is not ASCII as addresses and JSON
// write it.
func spellings(key string, c Class) []keyword {
	key = strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return unicode.ToLower(r)
		}
		return r
	}, key)
	out := []keyword{{key, c}}
	if !isASCII(key) {
		out = append(out, keyword{strings.ToLower(percent(key)), c}, keyword{escapes(key), c})
	}
	return out
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// percent writes what is not ASCII as in an address.
func percent(s string) string {
	var out strings.Builder
	for i := range len(s) {
		if s[i] < utf8.RuneSelf {
			out.WriteByte(s[i])
		} else {
			fmt.Fprintf(&out, "%%%02X", s[i])
		}
	}
	return out.String()
}

// escapes writes what is not ASCII as in JSON.
func escapes(s string) string {
	var out strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			out.WriteRune(r)
			continue
		}
		for _, u := range utf16.AppendRune(nil, r) {
			fmt.Fprintf(&out, "\\u%04x", u)
		}
	}
	return out.String()
}

// anchor is a byte by which keys are looked for: one that is rare in logs, so
// that a text without keys is passed over as fast as memory is read.
type anchor struct {
	b      byte
	before [256]bool // what may stand before it
	after  [256]bool // and after
	keys   []anchored
}

type anchored struct {
	keyword
	at int // of the anchor in the key
}

// ranks are the bytes of keys by how often logs have them.
const ranks = "etaoinsrl_cd012345678pf9uhgbmvwkyxjqz"

func rank(b byte) int {
	if i := strings.IndexByte(ranks, b); i >= 0 {
		return i
	}
	if b >= utf8.RuneSelf {
		return 100 + int(b&0x3f)
	}
	return 50
}

// newAnchors chooses few bytes that together are in all keys, in either case.
func newAnchors(keys []keyword) []anchor {
	// Where 姓名 is found, 学生姓名 is too.
	keys = slices.DeleteFunc(slices.Clone(keys), func(long keyword) bool {
		return slices.ContainsFunc(keys, func(k keyword) bool {
			return k != long && k.class == long.class && !isAlnum(k.text[0]) && strings.HasSuffix(long.text, k.text)
		})
	})
	slices.SortStableFunc(keys, func(a, b keyword) int { return len(b.text) - len(a.text) })
	var out []anchor
	place := func(b byte, k anchored) {
		i := slices.IndexFunc(out, func(a anchor) bool { return a.b == b })
		if i < 0 {
			i = len(out)
			out = append(out, anchor{b: b})
		}
		out[i].keys = append(out[i].keys, k)
		mark(&out[i].before, k.text, k.at-1)
		mark(&out[i].after, k.text, k.at+1)
	}
	for _, k := range keys {
		at := 0
		for i := range len(k.text) {
			chosen := slices.ContainsFunc(out, func(a anchor) bool { return a.b == k.text[i] })
			if chosen {
				at = i
				break
			}
			if rank(k.text[i]) > rank(k.text[at]) {
				at = i
			}
		}
		b := k.text[at]
		place(b, anchored{k, at})
		if isLetter(b) {
			place(b&^0x20, anchored{k, at})
		}
	}
	return out
}

// mark adds the byte of a key in either case, or what may stand beside a
// key where it has ended.
func mark(t *[256]bool, key string, at int) {
	if at < 0 {
		for c := range t {
			t[c] = true
		}
		return
	}
	if at == len(key) { // keyValue knows what may follow
		for _, c := range []byte("=:>\"'\\ \t%\xef") {
			t[c] = true
		}
		return
	}
	t[key[at]] = true
	if isLetter(key[at]) {
		t[key[at]&^0x20] = true
	}
}

// findKeyed finds the values of keys.
func (m *Masker) findKeyed(found []Found, s string) []Found {
	for i := range m.anchors {
		a := &m.anchors[i]
		for at := 0; ; at++ {
			next := strings.IndexByte(s[at:], a.b)
			if next < 0 {
				break
			}
			at += next
			if at > 0 && !a.before[s[at-1]] || at+1 < len(s) && !a.after[s[at+1]] {
				continue
			}
			for j := range a.keys {
				if f, ok := keyedAt(s, at, &a.keys[j]); ok {
					found = append(found, f)
				}
			}
		}
	}
	return found
}

// keyedAt is the value of a key whose anchor stands there.
func keyedAt(s string, at int, k *anchored) (Found, bool) {
	from := at - k.at
	to := from + len(k.text)
	if from < 0 || to > len(s) || !equalFold(s[from:to], k.text) {
		return Found{}, false
	}
	if isAlnum(k.text[0]) && from > 0 && isAlnum(s[from-1]) && !afterPercent(s, from) {
		return Found{}, false
	}
	from, to, ok := keyValue(s, to)
	if !ok {
		return Found{}, false
	}
	if k.class == Passport {
		return passport(s, from, to)
	}
	return Found{Name, from, to}, isName(s[from:to])
}

// afterPercent says that an escape of an address ends there.
func afterPercent(s string, at int) bool {
	return at >= 3 && s[at-3] == '%' && isHex(s[at-2]) && isHex(s[at-1])
}

// keyValue is the value that stands after a key: key=value, key: "value",
// key => 'value', <key>value, 键：值, and JSON within JSON.
func keyValue(s string, at int) (from, to int, ok bool) {
	skip := func(chars string, n int) {
		for ; n > 0 && at < len(s) && strings.IndexByte(chars, s[at]) >= 0; n-- {
			at++
		}
	}
	if strings.HasPrefix(s[at:], "%22") {
		at += 3
	}
	skip(`\"'`, 2)
	skip(" \t", 3)
	switch rest := s[at:]; {
	case strings.HasPrefix(rest, "=>"):
		at += 2
	case strings.HasPrefix(rest, "=") || strings.HasPrefix(rest, ":") || strings.HasPrefix(rest, ">"): // XML's <xm>
		at++
	case strings.HasPrefix(rest, "："):
		at += len("：")
	case len(rest) >= 3 && (equalFold(rest[:3], "%3d") || equalFold(rest[:3], "%3a")):
		at += 3
	default:
		return 0, 0, false
	}
	skip(" \t", 3)
	for _, quote := range []string{`\"`, `"`, `'`, "%22"} {
		if strings.HasPrefix(s[at:], quote) {
			from = at + len(quote)
			if to, ok = quoted(s, from, quote); ok {
				return from, to, to > from
			}
		}
	}
	to = unquoted(s, at)
	return at, to, to > at
}

// quoted is where a quoted value ends.
func quoted(s string, from int, quote string) (to int, ok bool) {
	for i := from; i < len(s) && i-from <= maxValue; i++ {
		if strings.HasPrefix(s[i:], quote) {
			return i, true
		}
		if s[i] == '\\' {
			i++
		}
	}
	return 0, false
}

// unquoted is where a value without quotes ends: a run of Chinese characters with
// them, another with the next blank or mark.
func unquoted(s string, from int) int {
	to := from
	for r, size := utf8.DecodeRuneInString(s[to:]); unicode.Is(unicode.Han, r) || r == '·' || r == '•'; r, size = utf8.DecodeRuneInString(s[to:]) {
		if to+size-from > maxValue {
			return to
		}
		to += size
	}
	if to > from {
		for to < len(s) && s[to] == '*' { // masked before
			to++
		}
		return to
	}
	for to < len(s) && to-from < maxValue {
		c := s[to]
		if c <= ' ' || strings.IndexByte(",;:=&|\"'<>()[]{}", c) >= 0 {
			break
		}
		if c == '\\' && (to+1 >= len(s) || s[to+1] != 'u' && s[to+1] != 'x') {
			break
		}
		if c < utf8.RuneSelf {
			to++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[to:])
		if unicode.IsPunct(r) && r != '·' && r != '•' || to+size-from > maxValue {
			break
		}
		to += size
	}
	return to
}

// nobody are values that name nobody.
var nobody = []string{"null", "nil", "none", "unknown", "undefined", "true", "false", "n/a", "na", "anonymous"}

// isName says that a value may name somebody.
func isName(s string) bool {
	if len(s) < 2 || len(s) > maxValue || s[0] == '*' {
		return false
	}
	for _, n := range nobody {
		if equalFold(s, n) {
			return false
		}
	}
	for i := range len(s) {
		if isLetter(s[i]) || s[i] >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// passport is the passport number that a value begins with: GA/T 704, one letter
// or two and eight or seven digits.
func passport(s string, from, to int) (Found, bool) {
	letters, digits := 0, 0
	for from+letters < to && letters < 2 && isLetter(s[from+letters]) {
		letters++
	}
	for from+letters+digits < to && isDigit(s[from+letters+digits]) {
		digits++
	}
	end := from + letters + digits
	return Found{Passport, from, end}, letters > 0 && letters+digits == 9 && ends(s, end)
}

// fieldKeys are the keys as parts of field names.
type fieldKeys struct {
	keys  []string
	sizes [maxKey + 1]bool
}

func newFieldKeys(keys []string) (f fieldKeys) {
	for _, k := range keys {
		f.keys = append(f.keys, spellings(k, Name)[0].text)
		f.sizes[len(k)] = true
	}
	return f
}

// has says that a field's name, or its last part, is a key.
func (f *fieldKeys) has(name string) bool {
	if f.is(name) {
		return true
	}
	i := strings.LastIndexByte(name, '.')
	return i >= 0 && f.is(name[i+1:])
}

func (f *fieldKeys) is(name string) bool {
	if len(name) > maxKey || !f.sizes[len(name)] {
		return false
	}
	for _, k := range f.keys {
		if equalFold(name, k) {
			return true
		}
	}
	return false
}

// Bounds of the list of names.
const (
	maxNames   = 500_000
	maxListed  = 60 // bytes of a name
	filterBits = 1 << 18
)

// nameSet finds listed names in any text.
type nameSet struct {
	names   map[string]struct{}
	lengths []int // longest first
	filter  []uint64
}

// newNameSet takes names, each as text and as addresses and JSON write it.
func newNameSet(names []string) (*nameSet, error) {
	if len(names) == 0 {
		return nil, nil
	}
	if len(names) > maxNames {
		return nil, fmt.Errorf("%d names on the list: at most %d", len(names), maxNames)
	}
	n := &nameSet{names: make(map[string]struct{}, 4*len(names)), filter: make([]uint64, filterBits/64)}
	for i, name := range names {
		if !utf8.ValidString(name) || utf8.RuneCountInString(name) < 2 || len(name) < 3 || len(name) > maxListed {
			return nil, fmt.Errorf("name %d of the list has not between 2 characters (3 where they are letters) and %d bytes", i+1, maxListed)
		}
		n.add(name)
		if !isASCII(name) {
			p, e := percent(name), escapes(name)
			n.add(p)
			n.add(strings.ToLower(p))
			n.add(e)
			n.add(strings.ReplaceAll(strings.ToUpper(e), `\U`, `\u`))
		}
	}
	slices.SortFunc(n.lengths, func(a, b int) int { return b - a })
	return n, nil
}

func (n *nameSet) add(name string) {
	n.names[name] = struct{}{}
	if !slices.Contains(n.lengths, len(name)) {
		n.lengths = append(n.lengths, len(name))
	}
	h := first3(name)
	n.filter[h/64] |= 1 << (h % 64)
}

// first3 is a hash of the first three bytes.
func first3(s string) uint32 {
	return (uint32(s[0])<<16 | uint32(s[1])<<8 | uint32(s[2])) * 2654435761 >> 14
}

func (n *nameSet) find(found []Found, s string) []Found {
	for at := 0; at+3 <= len(s); {
		if h := first3(s[at:]); n.filter[h/64]&(1<<(h%64)) == 0 {
			at++
			continue
		}
		length := n.longest(s, at)
		if length == 0 {
			at++
			continue
		}
		found = append(found, Found{Name, at, at + length})
		at += length
	}
	return found
}

// longest is the length of the longest name there, 0 for none. A name of letters
// is a word by itself.
func (n *nameSet) longest(s string, at int) int {
	for _, length := range n.lengths {
		if at+length > len(s) {
			continue
		}
		if _, ok := n.names[s[at:at+length]]; ok && isWord(s, at, at+length) {
			return length
		}
	}
	return 0
}

func isWord(s string, from, to int) bool {
	return (from == 0 || !isAlnum(s[from]) || !isAlnum(s[from-1]) || afterPercent(s, from)) &&
		(to == len(s) || !isAlnum(s[to-1]) || !isAlnum(s[to]) || s[from] == '%' || s[from] == '\\')
}

// findName finds one name.
func findName(found []Found, s, name string) []Found {
	for at := 0; ; {
		i := strings.Index(s[at:], name)
		if i < 0 {
			return found
		}
		at += i
		if isWord(s, at, at+len(name)) {
			found = append(found, Found{Name, at, at + len(name)})
		}
		at += len(name)
	}
}

// findEmails finds addresses by their @.
func findEmails(found []Found, s string) []Found {
	for at := 0; ; at++ {
		i := strings.IndexByte(s[at:], '@')
		if i < 0 {
			return found
		}
		at += i
		from, to, dot := at, at+1, 0
		for from > 0 && at-from < 64 && (isAlnum(s[from-1]) || strings.IndexByte("._+-", s[from-1]) >= 0) {
			from--
		}
		for to < len(s) && to-at < 255 && (isAlnum(s[to]) || s[to] == '-' || s[to] == '.') {
			if s[to] == '.' && to > at+1 {
				dot = to
			}
			to++
		}
		if dot == to-1 { // the end of a sentence
			to--
			dot = strings.LastIndexByte(s[at:to], '.') + at
		}
		if from < at && dot > at+1 && to-dot > 2 {
			found = append(found, Found{Email, from, to})
		}
	}
}
