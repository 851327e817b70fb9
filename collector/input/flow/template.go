package flow

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// template is how a record's fields lie.
type template struct {
	steps   []step
	least   int // bytes of the shortest record, never 0
	options bool
	last    time.Time // when the exporter repeated it
}

// The bounds of what an exporter may define.
const (
	maxTemplates = 1024 // in one observation domain
	maxFields    = 512  // in one template
)

var errCut = errors.New("cut off")

// cursor reads big-endian numbers; after the end it fails.
type cursor struct{ b []byte }

func (c *cursor) u16() (uint16, error) {
	if len(c.b) < 2 {
		return 0, errCut
	}
	v := binary.BigEndian.Uint16(c.b)
	c.b = c.b[2:]
	return v, nil
}

func (c *cursor) take(n int) ([]byte, error) {
	if n > len(c.b) {
		return nil, errCut
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b, nil
}

// field reads one specifier of a field.
func (c *cursor) field(v version) (step, error) {
	id, err := c.u16()
	if err != nil {
		return step{}, err
	}
	length, err := c.u16()
	if err != nil {
		return step{}, err
	}
	pen := uint32(0)
	if v == ipfix && id&0x8000 != 0 {
		b, err := c.take(4)
		if err != nil {
			return step{}, err
		}
		pen, id = binary.BigEndian.Uint32(b), id&0x7fff
	}
	return stepOf(v, id, pen, length), nil
}

// templates reads a set of templates. Up to three bytes at the end are padding.
func (d *domain) templates(m *message, set []byte, options bool) error {
	c := cursor{set}
	for len(c.b) >= 4 {
		id, _ := c.u16() // there are 4 bytes
		count, _ := c.u16()
		switch {
		case id == 0 && count == 0 && m.version == netflow9: // padding, longer than it should be
			return nil
		case count == 0 && m.version == ipfix:
			d.withdraw(id, options)
			continue
		case id < 256:
			return fmt.Errorf("template %d: the number is less than 256", id)
		}
		t, err := readTemplate(m, &c, count, options)
		if err != nil {
			return fmt.Errorf("template %d: %w", id, err)
		}
		if d.known[id] == nil && len(d.known) >= maxTemplates {
			return fmt.Errorf("template %d: the exporter has more than %d", id, maxTemplates)
		}
		d.known[id] = t
	}
	return nil
}

// readTemplate reads what follows a template's number and count.
func readTemplate(m *message, c *cursor, count uint16, options bool) (*template, error) {
	scopes, fields := 0, int(count)
	if options {
		n, err := c.u16()
		if err != nil {
			return nil, err
		}
		if scopes = int(n); m.version == netflow9 { // both in bytes
			scopes, fields = int(count)/4, int(count)/4+int(n)/4
		}
	}
	if fields > maxFields || scopes > fields {
		return nil, fmt.Errorf("%d fields, of which %d are scopes", fields, scopes)
	}
	t := &template{options: options, last: m.received, steps: make([]step, 0, min(fields, len(c.b)/4))}
	for i := range fields {
		var s step
		var err error
		if i < scopes && m.version == netflow9 {
			s, err = c.scope()
		} else {
			s, err = c.field(m.version)
		}
		if err != nil {
			return nil, err
		}
		t.least += int(s.length)
		if s.length == variable {
			t.least -= variable - 1
		}
		t.steps = append(t.steps, s)
	}
	if t.least == 0 { // endless records could be read from it
		return nil, errors.New("its records have no bytes")
	}
	return t, nil
}

// scope reads a scope of NetFlow v9, which has numbers of its own (RFC 3954, 6.1).
func (c *cursor) scope() (step, error) {
	id, err := c.u16()
	if err != nil {
		return step{}, err
	}
	length, err := c.u16()
	if err != nil {
		return step{}, err
	}
	s := step{length: length}
	if id == 2 { // an interface
		s.class, s.at = number, uint8(nScopeInterface)
	}
	return s, nil
}

// withdraw forgets a template (RFC 7011, 8.1); the number of the set itself
// stands for all.
func (d *domain) withdraw(id uint16, options bool) {
	if id >= 256 {
		delete(d.known, id)
		return
	}
	for id, t := range d.known {
		if t.options == options {
			delete(d.known, id)
		}
	}
}

// next reads one record off the front of b.
func (t *template) next(r *record, b []byte) (rest []byte, err error) {
	r.reset()
	for _, s := range t.steps {
		n := int(s.length)
		if n == variable {
			if len(b) == 0 {
				return nil, errCut
			}
			n, b = int(b[0]), b[1:]
			if n == 255 {
				if len(b) < 2 {
					return nil, errCut
				}
				n, b = int(binary.BigEndian.Uint16(b)), b[2:]
			}
		}
		if n > len(b) {
			return nil, errCut
		}
		if s.class != skip {
			s.read(r, b[:n])
		}
		b = b[n:]
	}
	return b, nil
}
