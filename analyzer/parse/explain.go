package parse

import (
	"fengsui/analyzer/parse/structure"
	"fengsui/schemas"
)

// Explanation is how a record became an event.
type Explanation struct {
	Format  string      `json:"format"`            // whose parser read it
	Device  string      `json:"device,omitempty"`  // file that says what its keys mean
	Message string      `json:"message,omitempty"` // kind of line within the device; "" is one that the file does not know
	Fields  []Explained `json:"fields,omitempty"`  // in the order they were set
	Left    []Logged    `json:"left,omitempty"`    // keys that no field took
	Ignored []Logged    `json:"ignored,omitempty"` // keys that the file wants ignored
	Error   string      `json:"error,omitempty"`   // why it is no record of the format

	header   int      // which of the device's header patterns matched
	patterns []string // that matched
	when     []int    // lines of the conditions that held
	detect   []int    // lines of what the device was recognised by
}

// Explained is a key that became a field.
type Explained struct {
	Key   string `json:"key,omitempty"`
	Value string `json:"value,omitempty"` // as logged
	Field string `json:"field"`
	Text  string `json:"text"` // as stored

	line int
}

// Logged is a key with its value as logged.
type Logged struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Explain parses as Parse does, and says what it did. Of formats that no device
// file describes it only says the fields.
func Explain(ev *schemas.Event) (Explanation, error) {
	x := Explanation{Format: ev.Format, header: -1}
	f, err := lookup(ev.Format)
	if err == nil {
		err = f.parsed(ev, &x)
	}
	if err != nil {
		x.Error = err.Error()
		return x, err
	}
	if x.Device == "" {
		ev.Each(func(id schemas.FieldID, v schemas.Value) {
			x.Fields = append(x.Fields, Explained{Field: id.String(), Text: v.Text()})
		})
		for _, o := range ev.Open() {
			x.Fields = append(x.Fields, Explained{Field: o.Name, Text: o.Value.Text()})
		}
	}
	return x, nil
}

func (r *deviceReader) explain(d *device, m *message) {
	if r.trace == nil {
		return
	}
	r.trace.Device = d.file.ID
	if m != nil {
		r.trace.Message = m.file.Name
	}
}

func (r *deviceReader) traceHeader(which int) {
	if r.trace != nil {
		r.trace.header = which
	}
}

// tracePattern notes which of a structure's patterns matched; it reads again,
// since nobody but who asks for an explanation needs to know.
func (r *deviceReader) tracePattern(of structure.Reader, body string) {
	if p, ok := of.(patternReader); ok && r.trace != nil {
		if _, which := p.patterns.Append(nil, body); which >= 0 {
			r.trace.patterns = append(r.trace.patterns, p.patterns.Text(which))
		}
	}
}

func (r *deviceReader) traceWhen(w *clause) {
	if r.trace != nil {
		r.trace.when = append(r.trace.when, w.line)
	}
}

func (r *deviceReader) traceStep(d *device, s *step, text string) {
	key := ""
	for i, k := range s.keys {
		if i > 0 {
			key += " + "
		}
		key += d.keys.Name(k)
	}
	x := Explained{Key: key, Value: text, Field: s.to, Text: r.ev.Lookup(s.to).Text(), line: s.line}
	if s.kind == "address" || s.kind == "endpoint" {
		for _, id := range []schemas.FieldID{s.ends.ip, s.ends.address} {
			if v := r.ev.Get(id); !v.IsNone() && x.Text == "" {
				x.Field, x.Text = id.String(), v.Text()
			}
		}
		if v := r.ev.Get(s.ends.port); s.kind == "endpoint" && !v.IsNone() {
			x.Text += " " + v.Text()
		}
	}
	r.trace.Fields = append(r.trace.Fields, x)
}

func (r *deviceReader) traceRest(p *structure.Pair, ignored bool) {
	if r.trace == nil {
		return
	}
	if ignored {
		r.trace.Ignored = append(r.trace.Ignored, Logged{p.Key, p.Value})
	} else {
		r.trace.Left = append(r.trace.Left, Logged{p.Key, p.Value})
	}
}
