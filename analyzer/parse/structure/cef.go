package structure

import (
	"errors"
	"strconv"
	"strings"
)

// CEF reads ArcSight's Common Event Format: the header's fields under their
// names in ArcSight, then the extension's. A key that has a label (cs1Label) goes
// by its label, with the key as its alias. Source: "Implementing ArcSight Common
// Event Format", version 26.
type CEF struct{}

var cefHeader = [...]string{"cefVersion", "deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "name", "severity"}

var errCEF = errors.New("no CEF header of seven fields")

var cefExtension = func() *KV {
	k := NewKV(KVOptions{Separators: " ", Assign: "=", Quotes: "none"})
	k.cef = true
	return k
}()

// maxLabels bounds the labels that are looked for in a line: the format has
// about twenty.
const maxLabels = 64

// Append appends the pairs of the first "CEF:" in text.
func (c CEF) Append(dst []Pair, s string) ([]Pair, error) { return c.AppendBy(dst, s, nil) }

// AppendBy is Append, which numbers the keys by a lexicon, but for those that have
// an alias. A nil lexicon numbers none.
func (CEF) AppendBy(dst []Pair, s string, lex *Lexicon) ([]Pair, error) {
	_, s, ok := strings.Cut(s, "CEF:")
	if !ok {
		return dst, errCEF
	}
	before, last := len(dst), AtStart
	for i, name := range cefHeader {
		value, rest, ok := cutUnescaped(s, '|')
		if !ok && i < len(cefHeader)-1 {
			return dst, errCEF
		}
		p := Pair{Key: name, Value: unescapeCEF(value)}
		if lex != nil {
			last = lex.Number(name, last)
			p.Number = int32(max(last, -1) + 1) //nolint:gosec // of few thousand words
		}
		dst, s = append(dst, p), rest
	}
	if strings.TrimLeft(s, " ") == "" {
		return dst, nil
	}
	from := len(dst)
	dst, err := cefExtension.appendAfter(dst, s, lex, last)
	if err != nil && !errors.Is(err, errNoPairs) {
		return dst[:before], err
	}
	for i := from; i < len(dst); i++ {
		dst[i].Value = unescapeCEF(dst[i].Value)
	}
	return label(dst, from), nil
}

// cutUnescaped is strings.Cut at the first c without a backslash before it.
func cutUnescaped(s string, c byte) (before, after string, ok bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case c:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

func unescapeCEF(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	b := append(make([]byte, 0, len(s)), s[:i]...)
	for ; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b = append(b, s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b = append(b, '\n')
		case 'r':
			b = append(b, '\r')
		case '\\', '|', '=', '"', ' ':
			b = append(b, s[i])
		default: // a path that was not escaped
			b = append(b, '\\', s[i])
		}
	}
	return string(b)
}

// label renames the pairs that have a label, and drops the labels.
func label(pairs []Pair, from int) []Pair {
	labels := 0
	for i := from; i < len(pairs) && labels < maxLabels; i++ {
		base, ok := strings.CutSuffix(pairs[i].Key, "Label")
		if !ok || base == "" || pairs[i].Value == "" {
			continue
		}
		labels++
		for j := from; j < len(pairs); j++ {
			if pairs[j].Key == base {
				pairs[j].Key, pairs[j].Alias, pairs[j].Number = pairs[i].Value, base, 0
				pairs[i].Key = ""
				break
			}
		}
	}
	if labels == 0 {
		return pairs
	}
	kept := pairs[:from]
	for _, p := range pairs[from:] {
		if p.Key != "" {
			kept = append(kept, p)
		}
	}
	return kept
}

// LEEF reads IBM QRadar's Log Event Extended Format, 1.0 and 2.0. Source: "IBM
// QRadar: Log Event Extended Format (LEEF)", version 2.
type LEEF struct{}

var leefHeader = [...]string{"leefVersion", "deviceVendor", "deviceProduct", "deviceVersion", "eventId"}

var errLEEF = errors.New("no LEEF header of five fields")

var leefBlanks = NewKV(KVOptions{Separators: " \t", Assign: "=", Quotes: "none"})

// Append appends the pairs of the first "LEEF:" in text. Version 2.0 may name
// its delimiter, itself or as hexadecimal (x5E, 0x5E); else it is a tab. Where no
// tab is left, because something on the way made them blanks, a value goes on
// until the next key.
func (LEEF) Append(dst []Pair, s string) ([]Pair, error) {
	_, s, ok := strings.Cut(s, "LEEF:")
	if !ok {
		return dst, errLEEF
	}
	version := s
	for i, name := range leefHeader {
		value, rest, ok := strings.Cut(s, "|")
		if !ok {
			return dst, errLEEF
		}
		if i == 0 {
			version = value
		}
		dst = append(dst, Pair{Key: name, Value: value})
		s = rest
	}
	delimiter := "\t"
	if strings.HasPrefix(version, "2") {
		if name, rest, ok := strings.Cut(s, "|"); ok && len(name) <= 5 {
			if d := leefDelimiter(name); d != "" {
				delimiter, s = d, rest
			} else if name == "" {
				s = rest
			}
		}
	}
	if delimiter == "\t" && strings.IndexByte(s, '\t') < 0 {
		pairs, err := leefBlanks.Append(dst, s)
		if errors.Is(err, errNoPairs) {
			return dst, nil
		}
		return pairs, err
	}
	before := len(dst)
	for more := true; more; {
		var one string
		one, s, more = strings.Cut(s, delimiter)
		name, value, ok := strings.Cut(one, "=")
		if name = strings.Trim(name, " "); !ok || name == "" {
			continue
		}
		if len(dst)-before == MaxPairs {
			return dst, errPairs
		}
		dst = append(dst, Pair{Key: name, Value: strings.Trim(value, " ")})
	}
	return dst, nil
}

// leefDelimiter is the character that LEEF 2.0's header names, or "".
func leefDelimiter(s string) string {
	hex, ok := strings.CutPrefix(s, "0x")
	if !ok {
		hex, ok = strings.CutPrefix(s, "x")
	}
	if ok && hex != "" {
		n, err := strconv.ParseUint(hex, 16, 8)
		if err != nil || n == 0 || n >= 0x80 {
			return ""
		}
		return string(rune(n))
	}
	if s != "" && len([]rune(s)) == 1 {
		return s
	}
	return ""
}
