package parse

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

// zeekHeader is the header of a TSV file, ready for its records.
type zeekHeader struct {
	separator, setSeparator, empty, unset string

	path    *zeekPath
	columns []zeekColumn
}

// zeekColumn is one column: its type, and how it is mapped.
type zeekColumn struct {
	kind zeekType
	list bool // a set or a vector
	set  zeekSetter
	name string // zeek.extra.name, where it is not mapped
}

type zeekType uint8

const (
	zeekString zeekType = iota
	zeekNumber          // count, int, port, double, interval
	zeekTruth           // bool
	zeekMoment          // time
)

var errNoHeader = errors.New("no #fields header came with the record")

// parseZeekTSV reads a record of a TSV file, whose header is in the origin.
func parseZeekTSV(ev *schemas.Event, line string) error {
	if strings.HasPrefix(line, "#") {
		return errors.New("a header line, not a record")
	}
	h, err := zeekHeaders.get(ev.Preamble)
	if err != nil {
		return err
	}
	return h.record(ev, line)
}

func (h *zeekHeader) record(ev *schemas.Event, line string) error {
	r := zeekRows.Get().(*zeekRow)
	defer r.release()
	r.record = zeekRecord{ev: ev, path: h.path}
	r.record.begin()
	rest, more := line, true
	for i := range h.columns {
		if !more {
			return fmt.Errorf("%d columns, the header has %d", i, len(h.columns))
		}
		var text string
		text, rest, more = strings.Cut(rest, h.separator)
		if more && i == len(h.columns)-1 {
			return fmt.Errorf("more columns than the header's %d", len(h.columns))
		}
		if text == h.unset {
			continue
		}
		if err := h.column(r, &h.columns[i], text); err != nil {
			return err
		}
	}
	return r.record.end()
}

// zeekRow is what reading one record needs.
type zeekRow struct {
	record zeekRecord
	value  jsonValue
	list   []jsonValue
}

var zeekRows = sync.Pool{New: func() any { return &zeekRow{list: make([]jsonValue, 0, 16)} }}

func (r *zeekRow) release() {
	r.record, r.value = zeekRecord{}, jsonValue{}
	clear(r.list[:cap(r.list)])
	zeekRows.Put(r)
}

// column makes a value of a column's text and has it written.
func (h *zeekHeader) column(r *zeekRow, c *zeekColumn, text string) error {
	switch {
	case !c.list:
		r.value = h.scalar(c, text)
	case text == h.empty:
		r.value = jsonValue{kind: jsonList}
	default:
		r.list = r.list[:0]
		for more := true; more; {
			var element string
			element, text, more = strings.Cut(text, h.setSeparator)
			if element == h.unset {
				continue
			}
			if len(r.list) == maxValues {
				return errJSONList
			}
			r.list = append(r.list, h.scalar(c, element))
		}
		r.value = jsonValue{kind: jsonList, list: r.list}
	}
	if c.set != nil {
		c.set(&r.record, &r.value)
	} else {
		zeekExtra(r.record.ev, c.name, &r.value)
	}
	return nil
}

func (h *zeekHeader) scalar(c *zeekColumn, text string) jsonValue {
	switch c.kind {
	case zeekNumber:
		return jsonValue{kind: jsonNumber, text: text}
	case zeekTruth:
		if text == "T" {
			return jsonValue{kind: jsonTrue, text: "true"}
		}
		return jsonValue{kind: jsonFalse, text: "false"}
	case zeekMoment:
		return jsonValue{kind: jsonString, text: isoText(text)}
	}
	if text == h.empty {
		return jsonValue{kind: jsonString}
	}
	return jsonValue{kind: jsonString, text: unescapeZeek(text)}
}

// isoText writes seconds since 1970 the way Zeek's JSON has times.
func isoText(s string) string {
	t, err := epoch(s)
	if err != nil {
		return s
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}

// unescapeZeek opens \xHH and \\ where the result is valid UTF-8; bytes that
// are not stay as Zeek escaped them, as in its JSON.
func unescapeZeek(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\' || i+1 == len(s):
			b = append(b, s[i])
		case s[i+1] == '\\':
			b = append(b, '\\')
			i++
		case s[i+1] == 'x' && i+3 < len(s) && isHex(s[i+2]) && isHex(s[i+3]):
			b = append(b, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		default:
			b = append(b, s[i])
		}
	}
	if !utf8.Valid(b) {
		return s
	}
	return string(b)
}

// headerCache remembers headers by their text: records repeat theirs.
type headerCache struct {
	sync.RWMutex
	known map[string]*zeekHeader
}

// maxHeaders bounds the cache; beyond it everything is forgotten and read anew.
const maxHeaders = 256

var zeekHeaders = headerCache{known: map[string]*zeekHeader{}}

func (c *headerCache) get(preamble string) (*zeekHeader, error) {
	c.RLock()
	h := c.known[preamble]
	c.RUnlock()
	if h != nil {
		return h, nil
	}
	h, err := readZeekHeader(preamble)
	if err != nil {
		return nil, err
	}
	c.Lock()
	defer c.Unlock()
	if len(c.known) >= maxHeaders {
		clear(c.known)
	}
	c.known[strings.Clone(preamble)] = h
	return h, nil
}

// maxPreamble bounds a header's text in bytes.
const maxPreamble = 64 << 10

// readZeekHeader reads the lines #separator, #set_separator, #empty_field,
// #unset_field, #path, #fields and #types.
func readZeekHeader(preamble string) (*zeekHeader, error) {
	if len(preamble) > maxPreamble {
		return nil, fmt.Errorf("header of %d bytes is longer than %d", len(preamble), maxPreamble)
	}
	h := &zeekHeader{separator: "\t", setSeparator: ",", empty: "(empty)", unset: "-"}
	var fields, types []string
	name := ""
	for line := range strings.Lines(strings.Clone(preamble)) { // the header outlives the event
		line = strings.TrimRight(line, "\r\n")
		if value, ok := strings.CutPrefix(line, "#separator "); ok {
			if h.separator = unescapeZeek(value); h.separator == "" {
				return nil, errors.New("header has an empty #separator")
			}
			continue
		}
		key, value, _ := strings.Cut(line, h.separator)
		switch key {
		case "#set_separator":
			h.setSeparator = unescapeZeek(value)
		case "#empty_field":
			h.empty = value
		case "#unset_field":
			h.unset = value
		case "#path":
			name = value
		case "#fields":
			fields = strings.Split(value, h.separator)
		case "#types":
			types = strings.Split(value, h.separator)
		}
	}
	switch {
	case len(fields) == 0:
		return nil, errNoHeader
	case len(fields) != len(types):
		return nil, fmt.Errorf("header has %d #fields and %d #types", len(fields), len(types))
	case len(fields) > maxKeys:
		return nil, fmt.Errorf("header has more than %d #fields", maxKeys)
	case h.setSeparator == "":
		return nil, errors.New("header has an empty #set_separator")
	}
	h.path = zeekPathOf(name)
	for i, f := range fields {
		if f == "" {
			return nil, fmt.Errorf("column %d of the header has no name", i+1)
		}
		h.columns = append(h.columns, newZeekColumn(h.path, f, types[i]))
	}
	return h, nil
}

func newZeekColumn(path *zeekPath, name, kind string) zeekColumn {
	c := zeekColumn{set: path.setter(name), name: "zeek.extra." + name}
	for _, prefix := range [...]string{"set[", "vector[", "list["} {
		if inner, ok := strings.CutPrefix(kind, prefix); ok {
			c.list, kind = true, strings.TrimSuffix(inner, "]")
		}
	}
	switch kind {
	case "count", "int", "port", "double", "interval":
		c.kind = zeekNumber
	case "bool":
		c.kind = zeekTruth
	case "time":
		c.kind = zeekMoment
		if name == "ts" { // spares writing it as text only to read it again
			c.kind = zeekNumber
		}
	}
	return c
}

func isoUTC(s string) (time.Time, error) { return isoWhole(s, time.UTC) }
