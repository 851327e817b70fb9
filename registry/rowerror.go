package registry

import (
	"errors"
	"fmt"
)

// RowError is something wrong in one cell of a table, or in a row.
type RowError struct {
	Sheet  string `json:"sheet"` // as the file names it; of a CSV file its kind
	Row    int    `json:"row"`   // counted from 1, which is the header
	Column string `json:"column,omitempty"`
	Zh     string `json:"zh"`
	En     string `json:"en"`
}

// Error implements error.
func (e *RowError) Error() string {
	text := fmt.Sprintf("%s row %d: %s", e.Sheet, e.Row, e.En)
	switch {
	case e.Zh == e.En:
		return text
	case e.Column != "":
		return text + " / " + e.Column + "：" + e.Zh
	}
	return text + " / " + e.Zh
}

// RowErrors are all in err, in the order of the file, without a bound that is
// kept for people.
func RowErrors(err error) []*RowError {
	var out []*RowError
	for _, leaf := range leaves(err) {
		if row := new(RowError); errors.As(leaf, &row) {
			out = append(out, row)
		}
	}
	return out
}

// FieldError is something wrong in a field of an entry that came from no file.
type FieldError struct {
	Field  string // as the entry's JSON names it; empty: of the whole entry
	Zh, En string
}

// FieldErrors are all in err.
func FieldErrors(err error) []FieldError {
	var out []FieldError
	for _, leaf := range leaves(err) {
		if w := (wrong{}); errors.As(leaf, &w) {
			out = append(out, FieldError{w.column, w.zh, w.en})
		}
	}
	return out
}

// leaves takes joined errors apart.
func leaves(err error) []error {
	for e := err; e != nil; e = errors.Unwrap(e) {
		if joined, ok := e.(interface{ Unwrap() []error }); ok {
			var out []error
			for _, one := range joined.Unwrap() {
				out = append(out, leaves(one)...)
			}
			return out
		}
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// wrong is a mistake in a field, in both languages.
type wrong struct{ column, en, zh string }

func (w wrong) Error() string { return w.en + " / " + w.zh }

// bad makes the mistake. Both texts may use the same arguments, by number.
func bad(column, en, zh string, args ...any) error {
	if len(args) > 0 {
		en, zh = fmt.Sprintf(en, args...), fmt.Sprintf(zh, args...)
	}
	return wrong{column, en, zh}
}

// place is where in a file an entry was read.
type place struct {
	sheet *sheet
	name  string // the sheet's, in the file
	row   int
}

// problem says what is wrong with the entry at a place.
func (at place) problem(err error) error {
	e := &RowError{Sheet: at.name, Row: at.row, En: err.Error(), Zh: err.Error()}
	var w wrong
	if errors.As(err, &w) {
		e.En, e.Zh = w.en, w.zh
		for _, col := range at.sheet.columns {
			if col.name == w.column {
				e.Column = col.title
			}
		}
	}
	return e
}

// at adds what is wrong with the i-th entry of a kind: with its place in the
// file, or else with its label.
func (p *problems) at(c *Content, kind string, i int, label string, err error) {
	places := c.places[kind]
	for _, leaf := range leaves(err) {
		if i < len(places) {
			p.keep(places[i].problem(leaf))
		} else {
			p.add(label, leaf)
		}
	}
}
