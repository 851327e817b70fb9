package file

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Multiline says which lines belong to the record that the line before them
// belongs to: those that Start does not match, those that Next matches, and,
// with Indented, those that begin with a space or a tab; each where it is set.
// The record has its lines with newlines between them, and its place is that of
// its first line. A record that would be longer than is allowed ends, and what
// follows is one of its own.
type Multiline struct {
	Start    string `koanf:"start"`    // regular expression (https://pkg.go.dev/regexp/syntax) of a record's first line
	Next     string `koanf:"next"`     // regular expression of a record's further lines
	Indented bool   `koanf:"indented"` // lines that begin with a space or a tab are further lines

	MaxLines int           `koanf:"max_lines"` // of a record; 500
	MaxBytes int           `koanf:"max_bytes"` // of a record; max_line
	Wait     time.Duration `koanf:"wait"`      // a record is whole when nothing was written for so long; quiet
}

func (m Multiline) enabled() bool { return m.Start != "" || m.Next != "" || m.Indented }

func (m Multiline) withDefaults(c Config) Multiline {
	if m.MaxLines == 0 {
		m.MaxLines = 500
	}
	if m.MaxBytes == 0 {
		m.MaxBytes = c.MaxLine
	}
	if m.Wait == 0 {
		m.Wait = c.Quiet
	}
	return m
}

func (m Multiline) validate(c Config) error {
	if !m.enabled() {
		return nil
	}
	var errs []error
	for _, of := range []struct{ key, text string }{{"start", m.Start}, {"next", m.Next}} {
		if _, err := regexp.Compile(of.text); err != nil {
			errs = append(errs, fmt.Errorf("multiline.%s: %w", of.key, err))
		}
	}
	if m.MaxLines < 2 || m.MaxLines > 100_000 {
		errs = append(errs, fmt.Errorf("multiline.max_lines: %d is not between 2 and 100000", m.MaxLines))
	}
	if m.MaxBytes < 480 || m.MaxBytes > c.MaxLine {
		errs = append(errs, fmt.Errorf("multiline.max_bytes: %d is not between 480 and max_line", m.MaxBytes))
	}
	if m.Wait < 10*time.Millisecond || m.Wait > c.Quiet {
		errs = append(errs, fmt.Errorf("multiline.wait: %v is not between 10ms and quiet", m.Wait))
	}
	return errors.Join(errs...)
}

// rule is Multiline, compiled; nil joins nothing.
type rule struct {
	Multiline
	start, next *regexp.Regexp
}

func (c Config) rule() *rule {
	if !c.Multiline.enabled() {
		return nil
	}
	r := &rule{Multiline: c.Multiline}
	if r.Start != "" {
		r.start = regexp.MustCompile(r.Start) // Validate has compiled it
	}
	if r.Next != "" {
		r.next = regexp.MustCompile(r.Next)
	}
	return r
}

func (r *rule) further(value []byte) bool {
	return r.start != nil && !r.start.Match(value) || r.next != nil && r.next.Match(value) ||
		r.Indented && (value[0] == ' ' || value[0] == '\t')
}

// joiner joins the lines of one file into records. It holds the record that is
// not whole yet.
type joiner struct {
	rule  *rule
	open  []line
	bytes int
}

// add takes lines and returns the records that are whole with them.
func (j *joiner) add(lines []line) []line {
	if j.rule == nil {
		return lines
	}
	var records []line
	for _, l := range lines {
		if l.reject != "" {
			records = append(j.flush(records), l)
			continue
		}
		size := j.bytes + 1 + len(l.value)
		if len(j.open) > 0 && (!j.rule.further(l.value) || len(j.open) == j.rule.MaxLines || size > j.rule.MaxBytes) {
			records = j.flush(records)
			size = len(l.value)
		}
		j.open, j.bytes = append(j.open, l), size
	}
	return records
}

// flush ends the record that is open.
func (j *joiner) flush(records []line) []line {
	if len(j.open) == 0 {
		return records
	}
	l, last := j.open[0], j.open[len(j.open)-1]
	if len(j.open) > 1 {
		values := make([][]byte, len(j.open))
		for i := range j.open {
			values[i] = j.open[i].value
		}
		l.value, l.end, l.last = bytes.Join(values, []byte("\n")), last.end, &last
	}
	clear(j.open)
	j.open, j.bytes = j.open[:0], 0
	return append(records, l)
}

// at is where the open record begins, or the given place where there is none.
func (j *joiner) at(end int64) int64 {
	if len(j.open) > 0 {
		return j.open[0].at
	}
	return end
}
