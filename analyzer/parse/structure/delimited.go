package structure

import (
	"fmt"
	"strconv"
	"strings"
)

// Skipped is the name of a column that nobody wants.
const Skipped = "_"

// Delimited reads columns: CSV with quotes (RFC 4180), TSV without.
type Delimited struct {
	Separator string   // between columns
	Quote     byte     // encloses a column that holds a separator, and is doubled in it; 0 is none
	Columns   []string // their names; Skipped is left out
}

// extra are the names of columns that have none.
var extra = func() (names [MaxPairs]string) {
	for i := range names {
		names[i] = "column" + strconv.Itoa(i+1)
	}
	return names
}()

// Append appends the columns; those beyond the names are column17 and so on. A
// line with fewer than two columns, where more are named, is an error.
func (d *Delimited) Append(dst []Pair, s string) ([]Pair, error) {
	for i := 0; ; i++ {
		if i == MaxPairs {
			return dst, fmt.Errorf("more than %d columns", MaxPairs)
		}
		value, rest, more := d.column(s)
		name := extra[i]
		if i < len(d.Columns) {
			name = d.Columns[i]
		}
		if name != Skipped {
			dst = append(dst, Pair{Key: name, Value: value})
		}
		if !more {
			if i == 0 && len(d.Columns) > 1 {
				return dst, fmt.Errorf("no %q between columns", d.Separator)
			}
			return dst, nil
		}
		s = rest
	}
}

// column cuts the first column off.
func (d *Delimited) column(s string) (value, rest string, more bool) {
	trimmed := strings.TrimLeft(s, " ")
	if d.Quote == 0 || trimmed == "" || trimmed[0] != d.Quote {
		value, rest, more = strings.Cut(s, d.Separator)
		return strings.Trim(value, " "), rest, more
	}
	s = trimmed[1:]
	doubled := false
	for i := 0; i < len(s); i++ {
		n := strings.IndexByte(s[i:], d.Quote)
		if n < 0 {
			break
		}
		if i += n; i+1 < len(s) && s[i+1] == d.Quote {
			doubled = true
			i++
			continue
		}
		value = s[:i]
		if doubled {
			quote := string(d.Quote)
			value = strings.ReplaceAll(value, quote+quote, quote)
		}
		_, rest, more = strings.Cut(s[i+1:], d.Separator)
		return value, rest, more
	}
	return s, "", false // the quote is never closed: it is all the last column
}
