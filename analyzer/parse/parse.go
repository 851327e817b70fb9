// Package parse turns one raw record into one event with ECS fields: a line of
// syslog, an access log, a record of Zeek, Suricata or Windows.
//
// It is pure. It never opens a connection or a file, never reads a clock (the
// time a record was received comes with it) and never decides whether anything
// is good or bad. It never keeps the event, and strings of the event share the
// memory of Event.Original.
//
// What a record cannot be parsed for is an error that says why, fit for a dead
// letter. The limits are those of constants below; a record beyond one of them
// is an error too, never a crash and never a silent cut.
//
// # Times
//
// Every event has @timestamp: the record's own time, or else the time it was
// received. A record that gives a local time without a zone is read in the
// location of Event.Received: a caller whose devices log China's time sets that
// location first (ev.Received = ev.Received.In(zone)). A year that is missing is
// the latest that does not put the event more than a day after Received.
//
// A time that cannot be read, or lies outside 1900 to 2261 and so cannot be
// stored, is an error. One that can be read but not believed (before 1970, or
// more than a day after it was received) is kept as logged, and the event is
// tagged time_implausible.
//
// # Values
//
// Catalogue fields have their catalogue type. Fields of open namespaces
// (labels., zeek.extra., suricata.eve., winlog.event_data.) are text as logged,
// or lists of text. A JSON null is a missing field.
package parse

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"fengsui/schemas"
)

// The limits of one record.
const (
	MaxRecord = 1 << 20 // bytes
	maxDepth  = 32      // of nested JSON
	maxKeys   = 1024    // keys of a JSON object with those below it, or columns of a TSV
	maxValues = 16384   // elements of all lists of a record
)

// TagTimeImplausible marks an event whose own time cannot be believed.
const TagTimeImplausible = "time_implausible"

// Parser fills ev from ev.Original and ev.Origin. An error says why the record
// is not one of the format; the event's fields are then of no use.
type Parser func(ev *schemas.Event) error

// Format is a format that can be parsed.
type Format struct {
	Name string
	Zh   string
	En   string

	parse  func(ev *schemas.Event, line string) error
	traced func(ev *schemas.Event, line string, trace *Explanation) error // parse, which says what it did if trace is not nil
	ofHost bool                                                           // the sender is the host it happened on, where the record names none
}

var formats []Format

// Filled here because the parsers look formats up themselves.
func init() {
	formats = []Format{
		{"auto", "自动识别（逐条）", "Recognised record by record", nil, nil, true},
		{"syslog", "syslog（RFC 5424、RFC 3164），按程序解析正文", "Syslog (RFC 5424, RFC 3164), body by program", nil, parseSyslog, true},
		{"linux", "Linux 日志文件（auth.log、messages 等）", "Linux log files (auth.log, messages …)", nil, parseSyslog, true},
		{"nginx-access", "nginx 访问日志（combined、common 或 JSON）", "nginx access log (combined, common or JSON)", parseNginxAccess, nil, true},
		{"nginx-error", "nginx 错误日志", "nginx error log", parseNginxError, nil, true},
		{"apache-access", "Apache 访问日志（combined、common、vhost_combined）", "Apache access log (combined, common, vhost_combined)", parseApacheAccess, nil, true},
		{"apache-error", "Apache 错误日志", "Apache error log", parseApacheError, nil, true},
		{"zeek", "Zeek 日志，TSV 或 JSON", "Zeek logs, TSV or JSON", parseZeek, nil, false},
		{"zeek-tsv", "Zeek 日志，TSV（需文件头）", "Zeek logs, TSV (needs the file's header)", parseZeekTSV, nil, false},
		{"zeek-json", "Zeek 日志，JSON；内置流量传感器也用此格式", "Zeek logs, JSON; the built-in packet sensor writes it too", parseZeekJSON, nil, false},
		{"suricata", "Suricata EVE JSON", "Suricata EVE JSON", parseSuricata, nil, false},
		{"flow", "网络流（NetFlow、IPFIX、sFlow），采集器的 flow 输入所写", "Flows (NetFlow, IPFIX, sFlow), as the collector's flow input writes them", parseFlow, nil, false},
		{"windows", "Windows 事件，JSON 或 XML", "Windows events, JSON or XML", parseWindows, nil, true},
		{"json", "其它 JSON，字段名即 ECS 名", "Other JSON, keys being ECS names", nil, parseJSON, true},
	}
	for i := range formats {
		parsers[formats[i].Name] = formats[i].run
	}
}

var parsers = map[string]Parser{}

// Formats lists the formats, in the order they are shown to people: those built
// in, and then the devices.
func Formats() []Format { return append(append([]Format(nil), formats...), theDevices().formats...) }

// Lookup finds the parser of a format.
func Lookup(format string) (Parser, error) {
	if p, ok := parsers[format]; ok {
		return p, nil
	}
	f, err := lookup(format)
	if err != nil {
		return nil, err
	}
	return f.run, nil
}

func lookup(format string) (*Format, error) {
	for i := range formats {
		if formats[i].Name == format {
			return &formats[i], nil
		}
	}
	if f, ok := theDevices().byName[format]; ok {
		return f, nil
	}
	var names []string
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return nil, fmt.Errorf("unknown format %q; known are %s", format, strings.Join(names, ", "))
}

// Parse parses the event's record by the format its origin names.
func Parse(ev *schemas.Event) error {
	p, err := Lookup(ev.Format)
	if err != nil {
		return err
	}
	return p(ev)
}

func (f *Format) run(ev *schemas.Event) error { return f.parsed(ev, nil) }

// parsed parses, and says what it did if trace is not nil.
func (f *Format) parsed(ev *schemas.Event, trace *Explanation) error {
	if ev.Reject != "" {
		return errors.New(ev.Reject)
	}
	if len(ev.Original) > MaxRecord {
		return fmt.Errorf("%s: record of %d bytes is longer than %d", f.Name, len(ev.Original), MaxRecord)
	}
	if !utf8.ValidString(ev.Original) {
		return fmt.Errorf("%s: invalid UTF-8 at byte %d", f.Name, invalidAt(ev.Original))
	}
	line := trimLine(ev.Original)
	if line == "" {
		return fmt.Errorf("%s: empty record", f.Name)
	}
	if f.parse == nil && f.traced == nil { // auto
		of, err := lookup(recognise(ev, line, trace))
		if err != nil {
			return err
		}
		return of.parsed(ev, trace)
	}
	if trace != nil {
		trace.Format = f.Name
	}
	if err := f.read(ev, line, trace); err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	f.complete(ev)
	return nil
}

func (f *Format) read(ev *schemas.Event, line string, trace *Explanation) error {
	if f.traced != nil {
		return f.traced(ev, line, trace)
	}
	return f.parse(ev, line)
}

// complete sets what every event has.
func (f *Format) complete(ev *schemas.Event) {
	t := ev.Get(schemas.FieldTimestamp)
	switch at := t.Time(); {
	case t.IsNone():
		ev.SetTime(schemas.FieldTimestamp, ev.Received)
	case at.Unix() < 0, tooFarAhead(at, ev.Received):
		addTag(ev, TagTimeImplausible)
	}
	ev.SetString(schemas.FieldOrganizationID, ev.Unit)
	if ev.Get(schemas.FieldEventKind).IsNone() {
		ev.SetString(schemas.FieldEventKind, "event")
	}
	setRegisteredDomain(ev)
	if strings.HasPrefix(ev.Source, "/") {
		ev.SetString(schemas.FieldLogFilePath, ev.Source)
		return
	}
	if f.ofHost && ev.Get(schemas.FieldHostName).IsNone() && ev.Source != "" {
		ev.SetString(schemas.FieldHostName, ev.Source)
		setHostIP(ev, ev.Source)
	}
	if !f.ofHost && ev.Get(schemas.FieldObserverIP).IsNone() {
		setIP(ev, schemas.FieldObserverIP, ev.Source)
	}
}

// maxAhead is how far a device's clock may be ahead of ours and be believed.
const maxAhead = 24 * time.Hour

func tooFarAhead(at, received time.Time) bool {
	if at.Unix()-received.Unix() < int64(maxAhead/time.Second) { // as nearly always
		return false
	}
	return !received.IsZero() && at.Sub(received) > maxAhead
}

func addTag(ev *schemas.Event, tag string) {
	ev.Set(schemas.FieldTags, schemas.List(append(ev.Get(schemas.FieldTags).List(), schemas.String(tag))...))
}

// trimLine removes what framing leaves at the end of a line, and a byte order
// mark at its start.
func trimLine(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r' || s[len(s)-1] == 0) {
		s = s[:len(s)-1]
	}
	return strings.TrimPrefix(s, bom)
}

const bom = "\ufeff"

func invalidAt(s string) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(s)
}
