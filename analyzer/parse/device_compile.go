package parse

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"fengsui/analyzer/parse/structure"
	"fengsui/schemas"
	"fengsui/schemas/devices"
)

// device is a device file made ready: keys are numbered, and what a kind of line
// becomes is a list of steps over those numbers.
type device struct {
	file    *devices.Device
	header  *structure.Patterns
	reader  structure.Reader
	nested  []nestedKey
	keys    *structure.Keys
	labels  []string // labels.<key>, by number
	empty   []string
	readers sync.Pool // of deviceReader

	emptyFirst [256]bool          // by the first byte of a value: it may mean none
	special    [len(specials)]int // numbers of the keys that the syslog header gives, or -1
	constants  []constant         // of every line of the device
	base       program            // of a line that is no known message
	messages   []message
	byID       map[string][]int
	byRest     []int // messages that are not told by an id
}

// specials are the keys that hold what the syslog header says.
var specials = [...]string{"$program", "$msgid", "$host", "$severity"}

func (h *header) specials() [len(specials)]string {
	return [...]string{h.app, h.msgid, h.host, h.severity()}
}

// message is one kind of line.
type message struct {
	file    *devices.Message
	reader  structure.Reader
	own     bool // it has a structure of its own
	nested  []nestedKey
	conds   []condition
	program program
}

type nestedKey struct {
	key    int
	reader structure.Reader
	names  names
}

// program is what a line becomes.
type program struct {
	set      []constant
	steps    []step
	goal     []goal // of each step: what is asked before it is looked at
	goals    int    // how many fields the steps may set
	when     []clause
	ignore   []bool     // by number of the key
	left     []leftover // of a form: in the place of ignore and endings
	endings  []string   // beginnings of keys to ignore
	keepRest bool
}

// goal is a step's first key, and the number of the field it may set.
type goal struct{ key, goal int32 }

type constant struct {
	id    schemas.FieldID
	open  string // name, where it is in an open namespace
	value schemas.Value
}

func (c *constant) apply(ev *schemas.Event) {
	if c.open != "" {
		ev.SetOpen(c.open, c.value)
		return
	}
	ev.Set(c.id, c.value)
}

type clause struct {
	conds []condition
	set   []constant
	line  int
}

type condition struct {
	key   int
	wants []want
}

// compiler makes one device.
type compiler struct {
	file  *devices.Device
	names []string
	known map[string]int
	errs  []error
}

// compileDevice makes a device ready. The errors are those that reading the file
// cannot see: patterns, and captures that name no field.
func compileDevice(f *devices.Device) (*device, error) {
	c := &compiler{file: f, known: map[string]int{}}
	d := &device{file: f, empty: *f.Empty, byID: map[string][]int{}}
	for i, name := range specials {
		d.special[i] = c.key(name)
	}
	for _, v := range d.empty {
		if v != "" {
			d.emptyFirst[v[0]] = true
		}
	}
	var named []string
	d.header, named = c.patterns(f.Header, 1)
	var own []string
	d.reader, own = c.structure(f.Structure)
	named = append(named, own...)
	d.nested = c.nested(f.Structure)
	d.constants = c.constants(devices.Constants{
		{Field: "event.module", Value: f.Module},
		{Field: "event.dataset", Value: f.Dataset},
		{Field: "observer.vendor", Value: f.Vendor},
		{Field: "observer.product", Value: f.Product},
		{Field: "observer.type", Value: f.Type},
	})
	d.base = c.program(f, named, nil, nil)
	for i := range f.Messages {
		m := &f.Messages[i]
		made := message{file: m, own: m.Structure != nil, nested: c.nested(m.Structure)}
		var captured []string
		made.reader, captured = c.structure(m.Structure)
		made.conds = c.conditions(m.If)
		made.program = c.program(f, named, &m.Layer, captured)
		d.messages = append(d.messages, made)
		exact := len(m.ID) > 0 && !slices.ContainsFunc(m.ID, func(id string) bool { return strings.HasSuffix(id, "*") })
		if !exact {
			d.byRest = append(d.byRest, i)
			continue
		}
		for _, id := range m.ID {
			d.byID[id] = append(d.byID[id], i)
		}
	}
	d.keys = structure.NewKeys(c.names)
	d.readers.New = func() any { return newDeviceReader(d) }
	for _, name := range c.names {
		d.labels = append(d.labels, "labels."+name)
	}
	d.pad()
	return d, errors.Join(c.errs...)
}

// pad gives every program a place for every key.
func (d *device) pad() {
	grow := func(p *program) {
		for len(p.ignore) < d.keys.Len() {
			p.ignore = append(p.ignore, d.matchesIgnore(p, d.keys.Name(len(p.ignore))))
		}
	}
	grow(&d.base)
	for i := range d.messages {
		grow(&d.messages[i].program)
	}
}

func (d *device) matchesIgnore(p *program, key string) bool {
	return slices.ContainsFunc(p.endings, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}

func (c *compiler) fault(line int, err error) {
	c.errs = append(c.errs, fmt.Errorf("%s:%d: %w", c.file.File, line, err))
}

// key is the number of a key.
func (c *compiler) key(name string) int {
	if n, ok := c.known[name]; ok {
		return n
	}
	n := len(c.names)
	c.known[name] = n
	c.names = append(c.names, name)
	return n
}

// patterns compiles patterns and says what they capture.
func (c *compiler) patterns(texts []string, line int) (*structure.Patterns, []string) {
	if len(texts) == 0 {
		return nil, nil
	}
	var list []*structure.Pattern
	var captured []string
	for _, text := range texts {
		p, err := structure.NewPattern(text)
		if err != nil {
			c.fault(line, err)
			continue
		}
		list = append(list, p)
		captured = append(captured, p.Names()...)
	}
	return structure.NewPatterns(list), captured
}

// structure makes the reader of a structure, nil for none, and says which names
// its author gave to what it finds.
func (c *compiler) structure(s *devices.Structure) (structure.Reader, []string) {
	if s == nil {
		return nil, nil
	}
	switch s.Kind {
	case "kv":
		return structure.NewKV(structure.KVOptions{Separators: s.Separator, Assign: s.Assign, Quotes: s.Quote}), nil
	case "csv":
		r := &structure.Delimited{Separator: s.Separator, Quote: '"', Columns: s.Columns}
		if r.Separator == "" {
			r.Separator = ","
		}
		switch s.Quote {
		case "":
		case "none":
			r.Quote = 0
		default:
			r.Quote = s.Quote[0]
		}
		return r, s.Columns
	case "tsv":
		return &structure.Delimited{Separator: "\t", Columns: s.Columns}, s.Columns
	case "w3c":
		return newW3C(s.Separator, s.Columns), s.Columns
	case "cef":
		return structure.CEF{}, nil
	case "leef":
		return structure.LEEF{}, nil
	case "json":
		return jsonStructure{}, nil
	case "sd":
		return sdStructure{}, nil
	}
	p, captured := c.patterns(s.Patterns, s.Line)
	return patternReader{p}, captured
}

func (c *compiler) nested(s *devices.Structure) []nestedKey {
	if s == nil {
		return nil
	}
	var out []nestedKey
	for _, key := range sortedKeys(s.Nested) {
		n := s.Nested[key]
		r, _ := c.structure(&n)
		out = append(out, nestedKey{key: c.key(key), reader: r, names: names{prefix: key + "."}})
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// program joins what the device says of every line with what a message adds. The
// message's fields come first, and a key that it names is its own.
func (c *compiler) program(f *devices.Device, common []string, m *devices.Layer, captured []string) program {
	p := program{keepRest: f.Rest == devices.Labels}
	goals := map[string]int{}
	named := map[string]bool{}
	add := func(fields devices.Fields) {
		var here []string
		for i := range fields {
			joined := strings.Join(fields[i].Keys, " + ")
			if named[joined] {
				continue
			}
			here = append(here, joined)
			for j := range fields[i].Targets {
				p.steps = append(p.steps, c.step(&fields[i], &fields[i].Targets[j], goals))
			}
		}
		for _, joined := range here {
			named[joined] = true
		}
	}
	if m != nil {
		add(m.Fields)
	}
	add(f.Fields)
	add(c.implied(append(slices.Clone(captured), common...), named))
	p.goals = len(goals)
	for i := range p.steps {
		p.goal = append(p.goal, goal{int32(p.steps[i].keys[0]), int32(p.steps[i].goal)}) //nolint:gosec // a file has few thousand keys
	}
	p.set = c.constants(f.Set)
	clauses := f.When
	ignored := slices.Clone(f.Ignore)
	if m != nil {
		p.set = append(p.set, c.constants(m.Set)...)
		clauses = append(slices.Clone(clauses), m.When...)
		ignored = append(ignored, m.Ignore...)
	}
	for _, w := range clauses {
		p.when = append(p.when, clause{c.conditions(w.If), c.constants(w.Set), w.Line})
	}
	for _, key := range append(ignored, "$*", "body") {
		if prefix, ok := strings.CutSuffix(key, "*"); ok {
			p.endings = append(p.endings, prefix)
			continue
		}
		n := c.key(key)
		for len(p.ignore) <= n {
			p.ignore = append(p.ignore, false)
		}
		p.ignore[n] = true
	}
	return p
}

// implied are the captures and columns that have a field's own name: they are
// that field, without being said again.
func (c *compiler) implied(captured []string, named map[string]bool) (out devices.Fields) {
	slices.Sort(captured)
	for _, name := range slices.Compact(captured) {
		if !strings.Contains(name, ".") || named[name] {
			continue
		}
		if err := schemas.CheckField(name); err != nil {
			c.fault(1, err)
			continue
		}
		if f, ok := schemas.LookupField(name); ok && ours(f.ID) {
			c.fault(1, fmt.Errorf("%s is not a log's to set", name))
			continue
		}
		out = append(out, devices.Field{Keys: []string{name}, Targets: []devices.Target{{To: name}}})
	}
	return out
}

func (c *compiler) constants(set devices.Constants) []constant {
	var out []constant
	for _, s := range set {
		if s.Value == "" {
			continue
		}
		v, err := devices.Value(s.Field, s.Value)
		if err != nil {
			c.fault(s.Line, err)
			continue
		}
		if f, ok := schemas.LookupField(s.Field); ok {
			out = append(out, constant{id: f.ID, value: v})
		} else {
			out = append(out, constant{open: s.Field, value: v})
		}
	}
	return out
}

func (c *compiler) conditions(ifs devices.Conditions) []condition {
	var out []condition
	for _, i := range ifs {
		cond := condition{key: c.key(i.Key)}
		for _, v := range i.Values {
			cond.wants = append(cond.wants, newWant(v))
		}
		out = append(out, cond)
	}
	return out
}

// zoneOf is the zone of a target's times: its own, the device's, or nil.
func (c *compiler) zoneOf(t *devices.Target) *time.Location {
	name := t.Zone
	if name == "" {
		name = c.file.Zone
	}
	loc, err := devices.Zone(name)
	if err != nil {
		c.fault(t.Line, err)
	}
	return loc
}

// step makes what one key becomes.
func (c *compiler) step(f *devices.Field, t *devices.Target, goals map[string]int) step {
	s := step{kind: t.Type, table: t.Table, otherwise: t.Default, separator: t.Separator, zoneKey: -1, line: t.Line, to: t.To}
	for _, k := range f.Keys {
		s.keys = append(s.keys, c.key(k))
	}
	if _, ok := goals[t.To]; !ok {
		goals[t.To] = len(goals)
	}
	s.goal = goals[t.To]
	if s.kind == "address" || s.kind == "endpoint" {
		s.ends = endsOf(t.To)
		s.convert = converters[s.kind]
		return s
	}
	field, ok := schemas.LookupField(t.To)
	if ok {
		s.id, s.many = field.ID, field.List
	} else {
		s.open = t.To
	}
	if s.kind == "" {
		s.kind = "text"
		if ok {
			s.kind = ownType[field.Type]
		}
	}
	switch s.kind {
	case "time":
		s.formats, s.zone = t.Format, c.zoneOf(t)
		if len(s.formats) == 0 {
			s.formats = []string{"auto"}
		}
		if t.ZoneKey != "" {
			s.zoneKey = c.key(t.ZoneKey)
		}
	case "duration":
		s.unit = durations[t.Unit]
	case "bytes":
		s.unit = sizes[t.Unit]
	case "list":
		s.many = true
		if s.of = ownType[field.Type]; s.of == "" {
			s.of = "text"
		}
		if s.separator == "" {
			s.separator = ","
		}
	}
	s.convert = converters[s.kind]
	asItIs := s.open == "" && s.table == nil && !s.many && len(s.keys) == 1
	s.plain, s.quad = asItIs && s.kind == "text", asItIs && s.kind == "ip"
	return s
}

// ownType is the type that a field's values are read as when none is named.
var ownType = map[schemas.Type]string{
	schemas.Keyword: "text", schemas.Text: "text", schemas.Long: "int", schemas.Double: "float", schemas.Boolean: "bool", schemas.IP: "ip", schemas.Date: "time",
}
