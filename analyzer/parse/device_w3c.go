package parse

import (
	"fmt"
	"strings"
	"sync/atomic"

	"fengsui/analyzer/parse/structure"
)

// w3cStructure reads W3C's extended log format, whose columns are named by the
// line "#Fields: date time …" among the header lines of the file. Lines that came
// without any have the columns that the device file names. Source: "Extended Log
// File Format", W3C working draft WD-logfile-960323.
type w3cStructure struct {
	separator string
	otherwise *w3cColumns
	last      atomic.Pointer[w3cColumns] // those of the header lines last met
}

// w3cColumns reads lines of one set of columns.
type w3cColumns struct {
	preamble string
	columns  structure.Delimited
}

func newW3C(separator string, columns []string) *w3cStructure {
	if separator == "" {
		separator = " "
	}
	w := &w3cStructure{separator: separator}
	w.otherwise = w.of("", columns)
	return w
}

func (w *w3cStructure) of(preamble string, columns []string) *w3cColumns {
	return &w3cColumns{preamble, structure.Delimited{Separator: w.separator, Quote: '"', Columns: columns}}
}

// Append reads a line that came without header lines.
func (w *w3cStructure) Append(dst []structure.Pair, text string) ([]structure.Pair, error) {
	return w.otherwise.Append(dst, text)
}

// by is the reader of lines that came with header lines. Those of one file follow
// each other, so the last one's columns are kept.
func (w *w3cStructure) by(preamble string) *w3cColumns {
	if last := w.last.Load(); last != nil && last.preamble == preamble {
		return last
	}
	i := strings.LastIndex(preamble, "#Fields:")
	if i < 0 {
		return w.otherwise
	}
	line, _, _ := strings.Cut(preamble[i+len("#Fields:"):], "\n")
	columns := strings.Split(strings.Clone(strings.TrimSpace(line)), w.separator)
	if len(columns) > structure.MaxPairs {
		return w.otherwise
	}
	for i := range columns {
		columns[i] = strings.TrimSpace(columns[i])
	}
	made := w.of(strings.Clone(preamble), columns) // which shares the memory of a whole batch
	w.last.Store(made)
	return made
}

// Append appends the columns. What the client sent, cs(…), has a plus for each
// blank.
func (c *w3cColumns) Append(dst []structure.Pair, text string) ([]structure.Pair, error) {
	before := len(dst)
	dst, err := c.columns.Append(dst, text)
	if err != nil {
		return dst, err
	}
	if n := len(dst) - before; n != len(c.columns.Columns) {
		return dst, fmt.Errorf("%d columns, and %d names of columns", n, len(c.columns.Columns))
	}
	for i := before; i < len(dst); i++ {
		if p := &dst[i]; strings.HasPrefix(p.Key, "cs(") && strings.IndexByte(p.Value, '+') >= 0 {
			p.Value = strings.ReplaceAll(p.Value, "+", " ")
		}
	}
	return dst, nil
}
