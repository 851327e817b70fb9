package parse

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// eventXML says that a text is a Windows event as Windows itself renders it, in
// XML: <Event xmlns="…">, after XML's declaration or not.
func eventXML(s string) bool {
	if s == "" || s[0] != '<' {
		return false
	}
	if strings.HasPrefix(s, "<?xml ") {
		if _, rest, ok := strings.Cut(s[:min(len(s), 256)], "?>"); ok {
			s = strings.TrimLeft(rest, " \t\r\n")
		}
	}
	after, ok := strings.CutPrefix(s, "<Event")
	return ok && after != "" && strings.IndexByte(" \t\r\n>", after[0]) >= 0
}

// xmlWalker walks a Windows event's XML once and builds nothing: a visitor meets
// elements without elements in them, and attributes, by their path, as it would
// meet those of the same event in JSON. A Data element goes by its Name. There are
// no entities but XML's own, and no document type.
type xmlWalker struct {
	s      string
	i      int
	depth  int
	keys   int
	pieces int // of texts
	path   []byte
	value  jsonValue
	to     jsonVisitor
}

// maxPieces bounds the comments and CDATA sections that cut an event's texts.
const maxPieces = 256

var (
	errXMLEnd    = errors.New("XML ends too early")
	errXMLDepth  = fmt.Errorf("XML is nested deeper than %d", maxDepth)
	errXMLKeys   = fmt.Errorf("XML has more than %d elements and attributes", maxKeys)
	errXMLPieces = fmt.Errorf("XML has text of more than %d pieces", maxPieces)
	errXMLBare   = errors.New("XML: & without an entity of XML's own")
)

// walk visits the event that s is.
func (w *xmlWalker) walk(s string, to jsonVisitor) error {
	*w = xmlWalker{s: s, path: w.path[:0], to: to}
	if err := w.misc(); err != nil {
		return err
	}
	if err := w.element(); err != nil {
		return err
	}
	if err := w.misc(); err != nil {
		return err
	}
	if w.i < len(w.s) {
		return fmt.Errorf("XML: something follows the event at byte %d", w.i)
	}
	return nil
}

// misc passes over blanks, comments and processing instructions.
func (w *xmlWalker) misc() error {
	for {
		w.space()
		rest := w.s[w.i:]
		end := ""
		switch {
		case strings.HasPrefix(rest, "<!--"):
			end = "-->"
		case strings.HasPrefix(rest, "<?"):
			end = "?>"
		default:
			return nil
		}
		if !w.past(end) {
			return errXMLEnd
		}
	}
}

func (w *xmlWalker) space() {
	for w.i < len(w.s) && strings.IndexByte(" \t\r\n", w.s[w.i]) >= 0 {
		w.i++
	}
}

// past goes on behind the next end.
func (w *xmlWalker) past(end string) bool {
	n := strings.Index(w.s[w.i:], end)
	if n < 0 {
		return false
	}
	w.i += n + len(end)
	return true
}

func (w *xmlWalker) unexpected() error {
	if w.i >= len(w.s) {
		return errXMLEnd
	}
	return fmt.Errorf("XML: unexpected %q at byte %d", w.s[w.i], w.i)
}

// element reads one element, with all that is in it.
func (w *xmlWalker) element() error {
	if w.depth++; w.depth > maxDepth {
		return errXMLDepth
	}
	if w.keys++; w.keys > maxKeys {
		return errXMLKeys
	}
	if w.i >= len(w.s) || w.s[w.i] != '<' {
		return w.unexpected()
	}
	w.i++
	tag := w.name()
	if tag == "" {
		return w.unexpected()
	}
	before := len(w.path)
	w.push(local(tag))
	many, empty, err := w.attributes(tag)
	if err != nil {
		return err
	}
	if !empty {
		err = w.content(tag, many)
	}
	w.path = w.path[:before]
	w.depth--
	return err
}

// local is a name without the prefix of its namespace.
func local(tag string) string { return tag[strings.IndexByte(tag, ':')+1:] }

func (w *xmlWalker) push(name string) {
	if len(w.path) > 0 {
		w.path = append(w.path, '.')
	}
	w.path = append(w.path, name...)
}

func (w *xmlWalker) name() string {
	from := w.i
	for w.i < len(w.s) && strings.IndexByte(" \t\r\n=/<>\"'&!?", w.s[w.i]) < 0 {
		w.i++
	}
	return w.s[from:w.i]
}

// attributes reads a tag to its end. many says that elements of the tag's name
// follow one another: values without names. Namespaces are nobody's data.
func (w *xmlWalker) attributes(tag string) (many, empty bool, err error) {
	many = tag == "Data"
	for {
		w.space()
		if strings.HasPrefix(w.s[w.i:], "/>") {
			w.i += 2
			return many, true, nil
		}
		if w.i < len(w.s) && w.s[w.i] == '>' {
			w.i++
			return many, false, nil
		}
		name := w.name()
		if w.space(); name == "" || w.i >= len(w.s) || w.s[w.i] != '=' {
			return many, false, w.unexpected()
		}
		w.i++
		w.space()
		if w.i >= len(w.s) || w.s[w.i] != '"' && w.s[w.i] != '\'' {
			return many, false, w.unexpected()
		}
		quote := w.s[w.i]
		w.i++
		n := strings.IndexByte(w.s[w.i:], quote)
		if n < 0 {
			return many, false, errXMLEnd
		}
		value, err := xmlText(w.s[w.i : w.i+n])
		if err != nil {
			return many, false, err
		}
		w.i += n + 1
		if w.keys++; w.keys > maxKeys {
			return many, false, errXMLKeys
		}
		switch {
		case name == "xmlns" || strings.HasPrefix(name, "xmlns:") || strings.HasPrefix(name, "xml:"):
		case many && name == "Name":
			w.path = append(w.path[:len(w.path)-len(tag)], value...)
			many = false
		default:
			before := len(w.path)
			w.push(local(name))
			w.visit(value, false)
			w.path = w.path[:before]
		}
	}
}

// content reads what stands between an element's tags.
func (w *xmlWalker) content(tag string, many bool) error {
	text, elements := "", false
	for {
		n := strings.IndexByte(w.s[w.i:], '<')
		if n < 0 {
			return errXMLEnd
		}
		piece, err := xmlText(w.s[w.i : w.i+n])
		if err != nil {
			return err
		}
		if elements {
			piece = ""
		}
		if text, err = w.join(text, piece); err != nil {
			return err
		}
		w.i += n
		rest := w.s[w.i:]
		switch {
		case strings.HasPrefix(rest, "</"):
			w.i += 2
			if w.name() != tag {
				return fmt.Errorf("XML: another element than %s ends at byte %d", clip(tag), w.i)
			}
			if w.space(); w.i >= len(w.s) || w.s[w.i] != '>' {
				return w.unexpected()
			}
			w.i++
			if text = strings.Trim(text, " \t\r\n"); text != "" && !elements {
				w.visit(text, many)
			}
			return nil
		case strings.HasPrefix(rest, "<![CDATA["):
			inner, _, ok := strings.Cut(rest[len("<![CDATA["):], "]]>")
			if !ok {
				return errXMLEnd
			}
			if text, err = w.join(text, inner); err != nil {
				return err
			}
			w.i += len("<![CDATA[") + len(inner) + len("]]>")
		case strings.HasPrefix(rest, "<!--"), strings.HasPrefix(rest, "<?"):
			if err := w.misc(); err != nil {
				return err
			}
		default:
			text, elements = "", true
			if err := w.element(); err != nil {
				return err
			}
		}
	}
}

// join is both texts, without an allocation where there is only one.
func (w *xmlWalker) join(a, b string) (string, error) {
	switch {
	case a == "":
		return b, nil
	case b == "":
		return a, nil
	}
	if w.pieces++; w.pieces > maxPieces { // each joined to all those before
		return "", errXMLPieces
	}
	return a + b, nil
}

func (w *xmlWalker) visit(text string, many bool) {
	w.value = jsonValue{kind: jsonString, text: text, many: many}
	w.to.visit(w.path, &w.value)
}

// xmlText is a text with its entities read; it shares the record's memory where it
// has none.
func xmlText(s string) (string, error) {
	amp := strings.IndexByte(s, '&')
	if amp < 0 {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for amp >= 0 {
		out = append(out, s[:amp]...)
		name, _, ok := strings.Cut(s[amp+1:min(len(s), amp+12)], ";")
		if !ok {
			return "", errXMLBare
		}
		c, ok := xmlEntity(name)
		if !ok {
			return "", errXMLBare
		}
		out = utf8.AppendRune(out, c)
		s = s[amp+1+len(name)+1:]
		amp = strings.IndexByte(s, '&')
	}
	return string(append(out, s...)), nil
}

func xmlEntity(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "quot":
		return '"', true
	case "apos":
		return '\'', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	if !ok {
		return 0, false
	}
	base := 10
	if hex, ok := strings.CutPrefix(digits, "x"); ok {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 21)
	return rune(n), err == nil && n != 0 && utf8.ValidRune(rune(n)) //nolint:gosec // 21 bits
}
