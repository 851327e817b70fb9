// Package devices is what the logs of devices mean: one file a device, which says
// how a line is recognised, how it is built, and which of its keys becomes which
// field of the catalogue. The files are data; package parse reads lines by them.
// docs/manual/devices.md says how to write one.
//
// Beside each file lie its samples: <id>.log, a line a record, and the events
// they become, <id>.golden.jsonl.
package devices

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"gopkg.in/yaml.v3"
)

//go:embed *.yaml
var files embed.FS

// Device is one file.
type Device struct {
	ID      string `yaml:"id"`      // the format's name and the file's
	Name    Text   `yaml:"name"`    // for people
	Vendor  string `yaml:"vendor"`  // observer.vendor
	Product string `yaml:"product"` // observer.product
	Type    string `yaml:"type"`    // observer.type
	Module  string `yaml:"module"`  // event.module; the id up to its first dash
	Dataset string `yaml:"dataset"` // event.dataset; the id with a dot for its first dash
	Docs    string `yaml:"docs"`    // where the vendor describes the format

	Envelope string                       `yaml:"envelope"` // Syslog or None
	Detect   []Detect                     `yaml:"detect"`   // any of them
	Header   Strings                      `yaml:"header"`   // patterns; the capture body goes on, the capture id names the message
	Empty    *Strings                     `yaml:"empty"`    // values that are none
	Rest     string                       `yaml:"rest"`     // Labels or Drop: what becomes of keys that no field takes
	Zone     string                       `yaml:"zone"`     // of times that name none
	Maps     map[string]map[string]string `yaml:"maps"`     // tables that fields name
	Layer    `yaml:",inline"`
	Messages []Message `yaml:"messages"`

	File string `yaml:"-"` // it was read from
}

// What Envelope and Rest may be; the first is the default.
const (
	Syslog = "syslog"
	None   = "none"
	Labels = "labels"
	Drop   = "drop"
)

// Text is a name in both languages.
type Text struct {
	Zh string `yaml:"zh"`
	En string `yaml:"en"`
}

// Layer is what a device and each of its messages say of a line.
type Layer struct {
	Structure *Structure `yaml:"structure"`
	Fields    Fields     `yaml:"fields"`
	Set       Constants  `yaml:"set"`
	When      []When     `yaml:"when"`
	Ignore    Strings    `yaml:"ignore"` // keys that nobody wants, a * at the end for any ending
}

// Message is one kind of line of a device. It is chosen when all that it says of
// id, starts, contains and if holds, and its patterns match where it has some.
type Message struct {
	Name     string     `yaml:"name"`
	ID       Strings    `yaml:"id"`
	Starts   Strings    `yaml:"starts"`
	Contains Strings    `yaml:"contains"` // all of them
	If       Conditions `yaml:"if"`
	Layer    `yaml:",inline"`
	Line     int `yaml:"-"`
}

// Detect is one way to recognise a device: all that it says must hold.
type Detect struct {
	Starts   string  `yaml:"starts"`   // what the text after the syslog header begins with
	Contains Strings `yaml:"contains"` // what it has in its first 2048 bytes, all of them
	Keys     Strings `yaml:"keys"`     // keys that it has there, with = after them, all of them
	Program  string  `yaml:"program"`  // the syslog header's program
	MsgID    string  `yaml:"msgid"`    // RFC 5424's message id, or a network device's code; a * at the end for any ending
	Line     int     `yaml:"-"`
}

// Structure is how a text is built.
type Structure struct {
	Kind      string               `yaml:"kind"` // kv, csv, tsv, w3c, cef, leef, json, sd or patterns
	Separator string               `yaml:"separator"`
	Assign    string               `yaml:"assign"`
	Quote     string               `yaml:"quote"`
	Columns   Strings              `yaml:"columns"`
	Patterns  Strings              `yaml:"patterns"`
	Nested    map[string]Structure `yaml:"nested"` // keys whose values have a structure of their own
	Line      int                  `yaml:"-"`
}

// Kinds are the structures.
var Kinds = []string{"kv", "csv", "tsv", "w3c", "cef", "leef", "json", "sd", "patterns"}

// Field says what becomes of a key.
type Field struct {
	Keys    []string // joined by a blank where there are several
	Targets []Target
	Line    int
}

// Target is one field that a key becomes.
type Target struct {
	To        string            `yaml:"to"`
	Type      string            `yaml:"type"`
	Format    Strings           `yaml:"format"`    // of a time
	Zone      string            `yaml:"zone"`      // of a time that names none
	ZoneKey   string            `yaml:"zone_key"`  // the key that names the zone
	Unit      string            `yaml:"unit"`      // of a duration or of bytes
	Map       *Map              `yaml:"map"`       // value by value
	Default   string            `yaml:"default"`   // of what the map does not have
	Separator string            `yaml:"separator"` // of a list
	Line      int               `yaml:"-"`
	Table     map[string]string `yaml:"-"` // the map, found
}

// Map is a table, or the name of one.
type Map struct {
	Name  string
	Table map[string]string
}

// Types are what a value may be read as. "" is the field's own type.
var Types = []string{"text", "lower", "ip", "hexip", "port", "int", "float", "bool", "time", "duration", "bytes", "mac", "url", "domain", "user", "list", "address", "endpoint"}

// Fields are in the order of the file, which decides: of several keys for one
// field the first with a value gives it.
type Fields []Field

// Constant is a field with its value.
type Constant struct {
	Field string
	Value string
	Line  int
}

// Constants are in the order of the file.
type Constants []Constant

// When sets fields where conditions on keys hold.
type When struct {
	If   Conditions `yaml:"if"`
	Set  Constants  `yaml:"set"`
	Line int        `yaml:"-"`
}

// Condition holds when the key's value is one of Values, in any case of letters:
// "*" is any value, a * at the end any ending, a * at both ends any place, "" no
// value, a ! before it the opposite.
type Condition struct {
	Key    string
	Values []string
	Line   int
}

// Conditions must all hold.
type Conditions []Condition

// Strings is a text or a list of them.
type Strings []string

// UnmarshalYAML reads either.
func (s *Strings) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = Strings{n.Value}
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		return fmt.Errorf("line %d: neither a text nor a list of texts", n.Line)
	}
	for _, e := range n.Content {
		if e.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: not a text", e.Line)
		}
		*s = append(*s, e.Value)
	}
	return nil
}

// UnmarshalYAML reads a table or a name.
func (m *Map) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		m.Name = n.Value
		return nil
	}
	return n.Decode(&m.Table)
}

// pairs calls f for each key of a mapping.
func pairs(n *yaml.Node, what string, f func(key, value *yaml.Node) error) error {
	if n.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: %s is no mapping", n.Line, what)
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if err := f(n.Content[i], n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// strict decodes a mapping and refuses keys that are not among those known:
// yaml's KnownFields does not reach into types that decode themselves.
func strict(n *yaml.Node, what string, into any, known ...string) error {
	err := pairs(n, what, func(key, _ *yaml.Node) error {
		if !slices.Contains(known, key.Value) {
			return fmt.Errorf("line %d: %s has no %q (there are %s)", key.Line, what, key.Value, strings.Join(known, ", "))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return n.Decode(into)
}

// UnmarshalYAML keeps the order and the lines.
func (f *Fields) UnmarshalYAML(n *yaml.Node) error {
	return pairs(n, "fields", func(key, value *yaml.Node) error {
		field := Field{Line: key.Line}
		for _, k := range strings.Split(key.Value, " + ") {
			field.Keys = append(field.Keys, strings.TrimSpace(k))
		}
		each := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			each = value.Content
		}
		for _, e := range each {
			t := Target{Line: e.Line}
			if e.Kind == yaml.ScalarNode {
				t.To = e.Value
			} else if err := strict(e, "a field", &t, "to", "type", "format", "zone", "zone_key", "unit", "map", "default", "separator"); err != nil {
				return err
			}
			field.Targets = append(field.Targets, t)
		}
		*f = append(*f, field)
		return nil
	})
}

// UnmarshalYAML keeps the order and the lines.
func (c *Constants) UnmarshalYAML(n *yaml.Node) error {
	return pairs(n, "set", func(key, value *yaml.Node) error {
		if value.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: the value of %s is not a text", value.Line, key.Value)
		}
		*c = append(*c, Constant{key.Value, value.Value, key.Line})
		return nil
	})
}

// UnmarshalYAML keeps the order and the lines.
func (c *Conditions) UnmarshalYAML(n *yaml.Node) error {
	return pairs(n, "if", func(key, value *yaml.Node) error {
		var values Strings
		if err := values.UnmarshalYAML(value); err != nil {
			return err
		}
		*c = append(*c, Condition{key.Value, values, key.Line})
		return nil
	})
}

// UnmarshalYAML keeps the line.
func (w *When) UnmarshalYAML(n *yaml.Node) error {
	type plain When
	w.Line = n.Line
	return strict(n, "when", (*plain)(w), "if", "set")
}

// UnmarshalYAML keeps the line.
func (d *Detect) UnmarshalYAML(n *yaml.Node) error {
	type plain Detect
	d.Line = n.Line
	return strict(n, "detect", (*plain)(d), "starts", "contains", "keys", "program", "msgid")
}

// UnmarshalYAML keeps the line.
func (m *Message) UnmarshalYAML(n *yaml.Node) error {
	type plain Message
	m.Line = n.Line
	return strict(n, "a message", (*plain)(m), "name", "id", "starts", "contains", "if", "structure", "fields", "set", "when", "ignore")
}

// UnmarshalYAML reads a structure, or only its kind. Columns may stand in one
// text with commas between.
func (s *Structure) UnmarshalYAML(n *yaml.Node) error {
	s.Line = n.Line
	switch n.Kind {
	case yaml.ScalarNode:
		s.Kind = n.Value
		return nil
	case yaml.SequenceNode: // patterns
		s.Kind = "patterns"
		return n.Decode(&s.Patterns)
	}
	type plain Structure
	if err := strict(n, "structure", (*plain)(s), "kind", "separator", "assign", "quote", "columns", "patterns", "nested"); err != nil {
		return err
	}
	if len(s.Columns) == 1 {
		s.Columns = strings.Split(s.Columns[0], ",")
	}
	for i := range s.Columns {
		s.Columns[i] = strings.TrimSpace(s.Columns[i])
	}
	if s.Kind == "" && len(s.Patterns) > 0 {
		s.Kind = "patterns"
	}
	return nil
}

// Read reads one file and checks it. The error has every fault, each with the
// file and the line.
func Read(file string, data []byte) (*Device, error) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	dec.KnownFields(true)
	d := &Device{File: file}
	if err := dec.Decode(d); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	return d, nil
}

// Load reads every device file of a folder, in the order of their names. The
// error has the faults of all of them.
func Load(from fs.FS) ([]*Device, error) {
	names, err := fs.Glob(from, "*.yaml")
	if err != nil {
		return nil, err
	}
	var out []*Device
	var errs []error
	for _, name := range names {
		data, err := fs.ReadFile(from, name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		d, err := Read(path.Base(name), data)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, d)
	}
	return out, errors.Join(errs...)
}

// Shipped are the devices that are part of the program.
var Shipped = sync.OnceValues(func() ([]*Device, error) { return Load(files) })
