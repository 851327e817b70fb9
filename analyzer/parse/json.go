package parse

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"fengsui/schemas"
)

// jsonKind is what a JSON value is. Objects never reach a visitor: their
// members do.
type jsonKind uint8

const (
	jsonNull jsonKind = iota
	jsonString
	jsonNumber
	jsonTrue
	jsonFalse
	jsonList
)

// jsonValue is one value as a visitor meets it.
type jsonValue struct {
	kind jsonKind
	text string      // a string's content; a number as written; true, false
	list []jsonValue // the scalars of a list; only valid during the visit
	many bool        // one of several values of the same path: it is in a list of objects
}

// jsonVisitor meets the values of one JSON object, in order, by their dotted
// path. The path is only valid during the visit.
type jsonVisitor interface {
	visit(path []byte, v *jsonValue)
}

// jsonWalker walks a JSON object once (RFC 8259, strictly) and builds nothing.
// Strings without escapes share the record's memory. The members of objects in
// a list are met as many values of one path.
type jsonWalker struct {
	s       string
	i       int
	depth   int
	lists   int // how many lists we are in
	keys    int
	values  int
	path    []byte
	text    []byte // of a string with escapes, while it is read
	scalars []jsonValue
	value   jsonValue // what is being visited: here, so that it needs no memory of its own
	to      jsonVisitor
}

var (
	errJSONEnd   = errors.New("JSON ends too early")
	errJSONDepth = fmt.Errorf("JSON is nested deeper than %d", maxDepth)
	errJSONKeys  = fmt.Errorf("JSON has more than %d keys", maxKeys)
	errJSONList  = fmt.Errorf("JSON has more than %d list elements", maxValues)
)

// walk visits the object that s is.
func (w *jsonWalker) walk(s string, to jsonVisitor) error {
	*w = jsonWalker{s: s, path: w.path[:0], text: w.text, scalars: w.scalars[:0], to: to}
	w.space()
	if w.i == len(s) || s[w.i] != '{' {
		return errors.New("not a JSON object")
	}
	if err := w.object(); err != nil {
		return err
	}
	if w.space(); w.i != len(s) {
		return w.unexpected()
	}
	return nil
}

// forget lets the record go, so that a pooled walker does not keep its memory.
func (w *jsonWalker) forget() {
	clear(w.scalars[:cap(w.scalars)])
	if cap(w.text) > maxKept {
		w.text = nil
	}
	*w = jsonWalker{path: w.path[:0], text: w.text, scalars: w.scalars[:0]}
}

// maxKept is how much memory in bytes a pooled walker keeps for the next record.
const maxKept = 64 << 10

func (w *jsonWalker) space() {
	for w.i < len(w.s) && (w.s[w.i] == ' ' || w.s[w.i] == '\t' || w.s[w.i] == '\n' || w.s[w.i] == '\r') {
		w.i++
	}
}

func (w *jsonWalker) unexpected() error {
	if w.i >= len(w.s) {
		return errJSONEnd
	}
	return fmt.Errorf("JSON: unexpected %q at byte %d", w.s[w.i], w.i)
}

// expect reads the byte c after spaces.
func (w *jsonWalker) expect(c byte) bool {
	w.space()
	if w.i < len(w.s) && w.s[w.i] == c {
		w.i++
		return true
	}
	return false
}

func (w *jsonWalker) object() error {
	if w.depth++; w.depth > maxDepth {
		return errJSONDepth
	}
	w.i++ // {
	prefix := len(w.path)
	if prefix > 0 {
		w.path = append(w.path, '.')
		prefix++
	}
	for first := true; ; first = false {
		if w.expect('}') {
			break
		}
		if !first && !w.expect(',') {
			return w.unexpected()
		}
		w.space()
		key, err := w.str()
		if err != nil {
			return err
		}
		if !w.expect(':') {
			return w.unexpected()
		}
		if w.keys++; w.keys > maxKeys {
			return errJSONKeys
		}
		w.path = append(w.path[:prefix], key...)
		if err := w.member(); err != nil {
			return err
		}
	}
	w.path = w.path[:max(prefix-1, 0)]
	w.depth--
	return nil
}

// member reads the value of w.path and has it visited.
func (w *jsonWalker) member() error {
	w.space()
	if w.i >= len(w.s) {
		return errJSONEnd
	}
	switch w.s[w.i] {
	case '{':
		return w.object()
	case '[':
		return w.array()
	}
	v, err := w.scalar()
	if err != nil {
		return err
	}
	w.value = v
	w.value.many = w.lists > 0
	w.to.visit(w.path, &w.value)
	return nil
}

// array has the scalars of a list visited as one list, and its objects' members
// each. Lists in a list are visited as lists of their own.
func (w *jsonWalker) array() error {
	if w.depth++; w.depth > maxDepth {
		return errJSONDepth
	}
	w.lists++
	w.i++ // [
	mark, path := len(w.scalars), len(w.path)
	nested := false
	for first := true; ; first = false {
		if w.expect(']') {
			break
		}
		if !first && !w.expect(',') {
			return w.unexpected()
		}
		if w.values++; w.values > maxValues {
			return errJSONList
		}
		w.space()
		if w.i >= len(w.s) {
			return errJSONEnd
		}
		if c := w.s[w.i]; c == '{' || c == '[' {
			nested = true
			if err := w.member(); err != nil {
				return err
			}
			w.path = w.path[:path]
			continue
		}
		v, err := w.scalar()
		if err != nil {
			return err
		}
		if v.kind != jsonNull {
			w.scalars = append(w.scalars, v)
		}
	}
	w.lists--
	w.depth--
	if list := w.scalars[mark:]; len(list) > 0 || !nested {
		w.value = jsonValue{kind: jsonList, list: list, many: w.lists > 0}
		w.to.visit(w.path, &w.value)
	}
	w.scalars = w.scalars[:mark]
	return nil
}

func (w *jsonWalker) scalar() (v jsonValue, err error) {
	switch c := w.s[w.i]; {
	case c == '"':
		v.kind = jsonString
		v.text, err = w.str()
	case c == '-' || isDigit(c):
		v.kind = jsonNumber
		v.text, err = w.num()
	case strings.HasPrefix(w.s[w.i:], "true"):
		v.kind, v.text = jsonTrue, w.s[w.i:w.i+4]
		w.i += 4
	case strings.HasPrefix(w.s[w.i:], "false"):
		v.kind, v.text = jsonFalse, w.s[w.i:w.i+5]
		w.i += 5
	case strings.HasPrefix(w.s[w.i:], "null"):
		w.i += 4
	default:
		err = w.unexpected()
	}
	return v, err
}

// num reads a number by RFC 8259's grammar.
func (w *jsonWalker) num() (string, error) {
	start := w.i
	digits := func() int {
		from := w.i
		for w.i < len(w.s) && isDigit(w.s[w.i]) {
			w.i++
		}
		return w.i - from
	}
	if w.s[w.i] == '-' {
		w.i++
	}
	zero := w.i < len(w.s) && w.s[w.i] == '0'
	if n := digits(); n == 0 || zero && n > 1 {
		return "", w.unexpected()
	}
	if w.i < len(w.s) && w.s[w.i] == '.' {
		w.i++
		if digits() == 0 {
			return "", w.unexpected()
		}
	}
	if w.i < len(w.s) && w.s[w.i]|0x20 == 'e' {
		w.i++
		if w.i < len(w.s) && (w.s[w.i] == '+' || w.s[w.i] == '-') {
			w.i++
		}
		if digits() == 0 {
			return "", w.unexpected()
		}
	}
	return w.s[start:w.i], nil
}

// str reads a string.
func (w *jsonWalker) str() (string, error) {
	if w.i >= len(w.s) || w.s[w.i] != '"' {
		return "", w.unexpected()
	}
	w.i++
	start := w.i
	for ; w.i < len(w.s); w.i++ {
		switch c := w.s[w.i]; {
		case c == '"':
			w.i++
			return w.s[start : w.i-1], nil
		case c == '\\':
			return w.escaped(start)
		case c < ' ':
			return "", w.unexpected()
		}
	}
	return "", errJSONEnd
}

// escaped reads the rest of a string from its first escape on. Half a surrogate
// pair becomes U+FFFD, as in encoding/json.
func (w *jsonWalker) escaped(start int) (string, error) {
	b := append(w.text[:0], w.s[start:w.i]...)
	defer func() { w.text = b }()
	for w.i < len(w.s) {
		switch c := w.s[w.i]; {
		case c == '"':
			w.i++
			return string(b), nil
		case c < ' ':
			return "", w.unexpected()
		case c != '\\':
			b = append(b, c)
			w.i++
			continue
		}
		if w.i++; w.i >= len(w.s) {
			return "", errJSONEnd
		}
		if w.s[w.i] == 'u' {
			r, ok := w.rune()
			if !ok {
				return "", w.unexpected()
			}
			b = utf8.AppendRune(b, r)
			continue
		}
		k := strings.IndexByte(`"\/bfnrt`, w.s[w.i])
		if k < 0 {
			return "", w.unexpected()
		}
		b = append(b, "\"\\/\b\f\n\r\t"[k])
		w.i++
	}
	return "", errJSONEnd
}

// rune reads uXXXX, and the second half of a surrogate pair.
func (w *jsonWalker) rune() (rune, bool) {
	r, ok := hex4(w.s, w.i+1)
	if !ok {
		return 0, false
	}
	w.i += 5
	if !utf16.IsSurrogate(r) {
		return r, true
	}
	if strings.HasPrefix(w.s[w.i:], `\u`) {
		if low, ok := hex4(w.s, w.i+2); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				w.i += 6
				return pair, true
			}
		}
	}
	return utf8.RuneError, true
}

func hex4(s string, i int) (rune, bool) {
	if i+4 > len(s) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(s[i : i+4]) {
		if !isHex(c) {
			return 0, false
		}
		r = r<<4 | rune(unhex(c))
	}
	return r, true
}

// keep keeps a value in an open field as it was written, even an empty one.
func keep(ev *schemas.Event, name string, v *jsonValue) {
	if v.kind != jsonList {
		if v.many {
			addOpen(ev, name, []schemas.Value{schemas.String(v.text)})
		} else {
			ev.SetOpen(name, schemas.String(v.text))
		}
		return
	}
	list := make([]schemas.Value, len(v.list))
	for i := range v.list {
		list[i] = schemas.String(v.list[i].text)
	}
	if v.many {
		addOpen(ev, name, list)
	} else {
		ev.SetOpen(name, schemas.List(list...))
	}
}
