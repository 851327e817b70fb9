package devices

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

// checker collects the faults of a file.
type checker struct {
	file string
	errs []error
}

func (c *checker) at(line int, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%s:%d: %w", c.file, line, fmt.Errorf(format, args...)))
}

var idShape = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Allowed values of ECS's fields of categorisation. Source: ECS 9.5.
var allowed = map[string][]string{
	"event.kind": {"alert", "asset", "enrichment", "event", "metric", "state", "pipeline_error", "signal"},
	"event.category": {
		"api", "authentication", "configuration", "database", "driver", "email", "file", "host", "iam", "intrusion_detection", "library", "malware",
		"network", "package", "process", "registry", "session", "threat", "vulnerability", "web",
	},
	"event.type": {
		"access", "admin", "allowed", "change", "connection", "creation", "deletion", "denied", "device", "end", "error", "group", "indicator", "info",
		"installation", "protocol", "start", "user",
	},
	"event.outcome": {"success", "failure", "unknown"},
}

// check says all that is wrong with the device.
func (d *Device) check() error {
	c := &checker{file: d.File}
	if !idShape.MatchString(d.ID) {
		c.at(1, "id %q is not small letters and digits with single dashes between", d.ID)
	} else if d.ID+".yaml" != d.File {
		c.at(1, "id is %q, the file's name %q: they must be one", d.ID, d.File)
	}
	if d.Name.Zh == "" || d.Name.En == "" {
		c.at(1, "name needs zh and en")
	}
	d.defaults()
	c.oneOf(1, "envelope", d.Envelope, Syslog, None)
	c.oneOf(1, "rest", d.Rest, Labels, Drop)
	c.zone(1, d.Zone)
	for i := range d.Detect {
		c.detect(&d.Detect[i])
	}
	if len(d.Fields) == 0 && len(d.Messages) == 0 {
		c.at(1, "neither fields nor messages: the file says nothing")
	}
	c.layer(d, &d.Layer, 1)
	names := map[string]bool{}
	for i := range d.Messages {
		m := &d.Messages[i]
		if m.Name == "" {
			c.at(m.Line, "a message without a name")
		}
		if names[m.Name] {
			c.at(m.Line, "message %q is said twice", m.Name)
		}
		names[m.Name] = true
		c.conditions(m.If)
		c.layer(d, &m.Layer, m.Line)
		if m.Structure == nil && d.Structure == nil && len(d.Header) == 0 {
			c.at(m.Line, "message %q has no structure, and the device none", m.Name)
		}
	}
	return errors.Join(c.errs...)
}

func (d *Device) defaults() {
	first, rest, dashed := strings.Cut(d.ID, "-")
	if d.Module == "" {
		d.Module = first
	}
	if d.Dataset == "" {
		d.Dataset = first
		if dashed {
			d.Dataset += "." + strings.ReplaceAll(rest, "-", "_")
		}
	}
	if d.Envelope == "" {
		d.Envelope = Syslog
	}
	if d.Rest == "" {
		d.Rest = Labels
	}
	if d.Empty == nil {
		d.Empty = &Strings{"-"}
	}
}

func (c *checker) oneOf(line int, what, value string, known ...string) {
	if !slices.Contains(known, value) {
		c.at(line, "%s %q is none of %s", what, value, strings.Join(known, ", "))
	}
}

func (c *checker) zone(line int, name string) {
	if _, err := Zone(name); err != nil {
		c.at(line, "%w", err)
	}
}

// Zone is a zone by its name in the time zone database or as +08:00; nil for "".
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return nil, nil
	}
	if t, err := time.Parse("-07:00", name); err == nil {
		return t.Location(), nil
	}
	loc, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("zone %q is neither a name such as Asia/Shanghai nor an offset such as +08:00", name)
	}
	return loc, nil
}

func (c *checker) detect(d *Detect) {
	if d.Starts == "" && len(d.Contains) == 0 && len(d.Keys) == 0 && d.Program == "" && d.MsgID == "" {
		c.at(d.Line, "detect says nothing")
	}
	for _, s := range append(slices.Clone(d.Contains), d.Keys...) {
		if s == "" {
			c.at(d.Line, "detect has an empty text")
		}
	}
}

func (c *checker) layer(d *Device, l *Layer, line int) {
	if l.Structure != nil {
		c.structure(l.Structure, 0)
	}
	for i := range l.Fields {
		c.field(d, &l.Fields[i])
	}
	c.constants(l.Set)
	for _, w := range l.When {
		if len(w.If) == 0 || len(w.Set) == 0 {
			c.at(w.Line, "when needs if and set")
		}
		c.conditions(w.If)
		c.constants(w.Set)
	}
	for _, key := range l.Ignore {
		if strings.TrimSuffix(key, "*") == "" {
			c.at(line, "ignore: %q is no key", key)
		}
	}
}

func (c *checker) structure(s *Structure, depth int) {
	c.oneOf(s.Line, "structure", s.Kind, Kinds...)
	need := func(has, wanted bool, what string) {
		if has != wanted {
			if wanted {
				c.at(s.Line, "%s needs %s", s.Kind, what)
			} else {
				c.at(s.Line, "%s has no %s", s.Kind, what)
			}
		}
	}
	table := s.Kind == "csv" || s.Kind == "tsv" || s.Kind == "w3c"
	need(len(s.Columns) > 0, table, "columns")
	need(len(s.Patterns) > 0, s.Kind == "patterns", "patterns")
	if s.Kind != "kv" {
		need(s.Assign != "", false, "assign")
		if s.Kind != "csv" {
			need(s.Quote != "", false, "quote")
			need(s.Separator != "" && s.Kind != "w3c", false, "separator")
		}
	}
	if s.Kind == "csv" && s.Quote != "none" && (len(s.Quote) > 1 || s.Quote != "" && s.Quote[0] >= 0x80) {
		c.at(s.Line, "quote %q is not one ASCII character", s.Quote)
	}
	for key, n := range s.Nested {
		if depth > 0 {
			c.at(s.Line, "nested %q: only one level is read", key)
			continue
		}
		c.structure(&n, depth+1)
	}
}

func (c *checker) field(d *Device, f *Field) {
	for _, k := range f.Keys {
		if k == "" {
			c.at(f.Line, "a field without a key")
		}
	}
	if len(f.Targets) == 0 {
		c.at(f.Line, "%s becomes nothing; what nobody wants belongs in ignore", strings.Join(f.Keys, " + "))
	}
	for i := range f.Targets {
		c.target(d, &f.Targets[i])
	}
}

// Tables that every device may name.
var Tables = map[string]map[string]string{
	"ip_protocol": {
		"0": "ipv6-hopopt", "1": "icmp", "2": "igmp", "4": "ipv4", "6": "tcp", "8": "egp", "17": "udp", "27": "rdp", "41": "ipv6", "46": "rsvp", "47": "gre",
		"50": "esp", "51": "ah", "58": "ipv6-icmp", "88": "eigrp", "89": "ospf", "94": "ipip", "103": "pim", "112": "vrrp", "115": "l2tp", "132": "sctp",
		"136": "udplite", "TCP": "tcp", "UDP": "udp", "ICMP": "icmp", "ICMPv6": "ipv6-icmp", "ICMPV6": "ipv6-icmp", "icmp6": "ipv6-icmp",
		"icmpv6": "ipv6-icmp", "IGMP": "igmp", "GRE": "gre", "ESP": "esp", "AH": "ah", "SCTP": "sctp", "OSPF": "ospf", "VRRP": "vrrp",
		"Tcp": "tcp", "Udp": "udp", "Icmp": "icmp",
	},
}

func (c *checker) target(d *Device, t *Target) {
	c.zone(t.Line, t.Zone)
	if t.Type != "" {
		c.oneOf(t.Line, "type", t.Type, Types...)
	}
	if t.Type == "address" || t.Type == "endpoint" {
		for _, part := range []string{".ip", ".address", ".port"} {
			if _, ok := schemas.LookupField(t.To + part); !ok {
				c.at(t.Line, "type %s is for source and destination, not for %q", t.Type, t.To)
				break
			}
		}
		return
	}
	f, closed := c.name(t.Line, t.To)
	c.options(t, f, closed)
	if t.Map != nil {
		t.Table = t.Map.Table
		if t.Map.Name != "" {
			table, ok := d.Maps[t.Map.Name]
			if !ok {
				table, ok = Tables[t.Map.Name]
			}
			if !ok {
				c.at(t.Line, "no map %q in maps", t.Map.Name)
			}
			t.Table = table
		}
		for _, v := range t.Table {
			c.value(t.Line, t.To, v)
		}
	}
	if t.Default != "" {
		if t.Map == nil {
			c.at(t.Line, "default without a map")
		}
		c.value(t.Line, t.To, t.Default)
	}
}

// options holds a target's type to its field's, and its options to its type.
func (c *checker) options(t *Target, f schemas.Field, closed bool) {
	if closed && !fits(t.Type, f) {
		c.at(t.Line, "type %s does not fit %s, which is %s", t.Type, f.Name, f.Type)
	}
	if !closed && t.Type != "" && !slices.Contains([]string{"text", "lower", "mac", "domain", "list"}, t.Type) {
		c.at(t.Line, "%s holds text as logged: type %s does not fit", t.To, t.Type)
	}
	isTime := t.Type == "time" || t.Type == "" && closed && f.Type == schemas.Date
	if !isTime && (len(t.Format) > 0 || t.Zone != "" || t.ZoneKey != "") {
		c.at(t.Line, "format, zone and zone_key are of times, and %s is none", t.To)
	}
	for _, format := range t.Format {
		if err := CheckTimeFormat(format); err != nil {
			c.at(t.Line, "%w", err)
		}
	}
	switch t.Type {
	case "duration":
		c.oneOf(t.Line, "unit", t.Unit, "", "ns", "us", "ms", "s", "m", "h", "d")
	case "bytes":
		c.oneOf(t.Line, "unit", t.Unit, "", "B", "KB", "MB", "GB", "TB", "bit")
	default:
		if t.Unit != "" {
			c.at(t.Line, "unit is of durations and bytes")
		}
	}
	if t.Separator != "" && t.Type != "list" {
		c.at(t.Line, "separator is of lists")
	}
}

// fits says that a type makes values of the field's type.
func fits(kind string, f schemas.Field) bool {
	switch kind {
	case "":
		return true
	case "list":
		return f.List
	case "int", "port", "duration", "bytes":
		return f.Type == schemas.Long
	case "float":
		return f.Type == schemas.Double
	case "bool":
		return f.Type == schemas.Boolean
	case "time":
		return f.Type == schemas.Date
	case "ip", "hexip":
		return f.Type == schemas.IP
	}
	return f.Type == schemas.Keyword || f.Type == schemas.Text
}

// ours are fields that no log may set.
var ours = []string{"organization.", "fengsui.", "tags", "event.id", "event.original"}

// name checks the name of a field; closed says that it is in the catalogue and
// not of an open namespace.
func (c *checker) name(line int, name string) (f schemas.Field, closed bool) {
	for _, prefix := range ours {
		if name == prefix || strings.HasSuffix(prefix, ".") && strings.HasPrefix(name, prefix) {
			c.at(line, "%s is not a log's to set", name)
			return f, false
		}
	}
	if err := schemas.CheckField(name); err != nil {
		c.at(line, "%w", err)
		return f, false
	}
	f, closed = schemas.LookupField(name)
	if closed && f.Name != name {
		c.at(line, "%s is a short name; write %s", name, f.Name)
	}
	return f, closed
}

// value holds a constant to its field's type and to ECS's list.
func (c *checker) value(line int, field, value string) {
	if _, err := Value(field, value); err != nil {
		c.at(line, "%w", err)
	}
}

func (c *checker) constants(set Constants) {
	for _, s := range set {
		c.name(s.Line, s.Field)
		c.value(s.Line, s.Field, s.Value)
	}
}

func (c *checker) conditions(ifs Conditions) {
	for _, i := range ifs {
		if i.Key == "" {
			c.at(i.Line, "a condition without a key")
		}
		if len(i.Values) == 0 {
			c.at(i.Line, "%s: no value to compare with", i.Key)
		}
	}
}
