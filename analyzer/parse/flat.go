package parse

import (
	"errors"
	"strings"
	"sync"
	"time"

	"fengsui/schemas"
)

// parseJSON reads any JSON object, nested or flat. A key that is a name of the
// catalogue, or lies in an open namespace, keeps its name; any other key is kept
// under labels., and so is a value that is not of its field's type. Who owns the
// event is not the log's to say: organization.* are labels too.
//
// The time is @timestamp, timestamp, time, ts or datetime, the first of them
// that is there. The first two must be times; the rest may be something else.
//
// Where a shipper has wrapped a line of a log (Filebeat, Vector, Fluent Bit and
// others), the line is recognised and parsed, and the event is what it says. So is
// a Windows event in XML, under any key.
func parseJSON(ev *schemas.Event, line string, trace *Explanation) error {
	r := flatReaders.Get().(*flatReader)
	defer r.release()
	r.ev, r.wrapped = ev, shipped(line)
	if err := r.walker.walk(line, r); err != nil {
		return err
	}
	if r.wrapped && r.raw != "" {
		if err := r.end(); err != nil {
			return err
		}
		return r.unwrap(line, trace)
	}
	if ev.Get(schemas.FieldEventModule).IsNone() {
		ev.SetString(schemas.FieldEventModule, "json")
	}
	return r.end()
}

type flatReader struct {
	ev     *schemas.Event
	walker jsonWalker
	labels names
	access bool // the keys are nginx's variables

	wrapped              bool // a shipper wrote it
	whole                bool // raw is the line as it was in the file
	raw, host, path, app string

	times [len(flatTimes)]jsonValue
}

var flatReaders = sync.Pool{New: func() any { return &flatReader{labels: names{prefix: "labels."}} }}

func (r *flatReader) release() {
	*r = flatReader{walker: r.walker, labels: r.labels}
	r.walker.forget()
	flatReaders.Put(r)
}

// flatTimes are the names of times, the best first.
var flatTimes = [...]string{"@timestamp", "timestamp", "time", "ts", "datetime", "time_iso8601", "time_local", "msec"}

// mustBeTimes is how many of flatTimes must be times if they are there.
const mustBeTimes = 2

func (r *flatReader) visit(path []byte, v *jsonValue) {
	if v.kind == jsonNull {
		return
	}
	for i, name := range flatTimes {
		if string(path) == name {
			r.times[i] = jsonValue{kind: v.kind, text: v.text}
			return
		}
	}
	if r.wrapped && v.kind == jsonString && r.shipper(string(path), v.text) {
		return
	}
	if v.kind == jsonString && eventXML(v.text) { // under whatever key an agent has it
		r.raw, r.whole, r.wrapped = v.text, true, true
		return
	}
	if r.access {
		if set := accessFields[string(path)]; set != nil {
			set(r.ev, v.text)
			return
		}
	}
	if f, ok := schemas.LookupField(string(path)); ok && f.Name == string(path) && !ours(f.ID) && setTyped(r.ev, f, v) {
		return
	}
	if _, ok := schemas.OpenField(string(path)); ok {
		keep(r.ev, string(path), v)
		return
	}
	keep(r.ev, r.labels.of(path), v)
}

// ours says that the field is set by the analyzer, never by a log.
func ours(id schemas.FieldID) bool {
	switch id {
	case schemas.FieldOrganizationID, schemas.FieldOrganizationName, schemas.FieldTags,
		schemas.FieldFengsuiUnitPath, schemas.FieldFengsuiAssetTags, schemas.FieldFengsuiAssetID,
		schemas.FieldFengsuiSystemCode, schemas.FieldFengsuiSystemName, schemas.FieldFengsuiDomainFirstMet:
		return true
	}
	return false
}

// end sets the time.
func (r *flatReader) end() error {
	for i := range r.times {
		v := &r.times[i]
		if v.kind == jsonNull {
			continue
		}
		if !r.ev.Get(schemas.FieldTimestamp).IsNone() { // a better one was read
			label(r.ev, "labels."+flatTimes[i], v.text)
			continue
		}
		t, err := anyTime(v, r.ev.Received.Location())
		switch {
		case err == nil:
			r.ev.SetTime(schemas.FieldTimestamp, t)
		case i < mustBeTimes:
			return err
		default:
			label(r.ev, "labels."+flatTimes[i], v.text)
		}
	}
	return nil
}

// anyTime reads ISO 8601, an access log's time, or seconds, milliseconds,
// microseconds or nanoseconds since 1970, told apart by their size.
func anyTime(v *jsonValue, loc *time.Location) (time.Time, error) {
	s := v.text
	if n, d := number(s); d >= 13 && d == len(s) {
		for n > 1e17 {
			n /= 1000
		}
		if n < 1e14 {
			n *= 1000
		}
		t := time.UnixMicro(n).UTC()
		return t, checkYear(t.Year())
	}
	if v.kind == jsonNumber || s != "" && strings.Trim(s, "0123456789.") == "" {
		return epoch(s)
	}
	if len(s) >= 20 && s[2] == '/' {
		return accessClock(s, loc)
	}
	return isoWhole(s, loc)
}

var errNotTyped = errors.New("value is not of the field's type")

// setTyped sets a field of the catalogue, if the value is of its type.
func setTyped(ev *schemas.Event, f schemas.Field, v *jsonValue) bool {
	if f.List {
		values := make([]schemas.Value, 0, max(len(v.list), 1))
		elements := v.list
		if v.kind != jsonList {
			elements = []jsonValue{*v}
		}
		for i := range elements {
			value, err := typed(f.Type, &elements[i], ev.Received.Location())
			if err != nil {
				return false
			}
			value = asMAC(f.ID, value)
			values = append(values, value)
		}
		if v.many {
			values = append(ev.Get(f.ID).List(), values...)
		}
		ev.Set(f.ID, schemas.List(values...))
		return true
	}
	if v.kind == jsonList {
		if len(v.list) != 1 {
			return false
		}
		v = &v.list[0]
	}
	if v.many && !ev.Get(f.ID).IsNone() {
		return false
	}
	value, err := typed(f.Type, v, ev.Received.Location())
	if err != nil {
		return false
	}
	if value.Kind() == schemas.KindString && value.Str() == "" {
		return true
	}
	ev.Set(f.ID, asMAC(f.ID, value))
	return true
}

// asMAC writes a MAC address as the catalogue has it; Beats have 00-00-5E-00-53-01.
func asMAC(id schemas.FieldID, v schemas.Value) schemas.Value {
	switch id {
	case schemas.FieldHostMAC, schemas.FieldSourceMAC, schemas.FieldDestinationMAC:
		if mac, ok := toMAC(nil, nil, v.Str()); ok {
			return mac
		}
	}
	return v
}

func typed(t schemas.Type, v *jsonValue, loc *time.Location) (schemas.Value, error) {
	switch t {
	case schemas.Long:
		if n, ok := whole(v.text); ok {
			return schemas.Int(n), nil
		}
		if us, ok := micros(v.text); ok && us%1_000_000 == 0 {
			return schemas.Int(us / 1_000_000), nil
		}
	case schemas.Double:
		if f, ok := float(v.text); ok {
			return schemas.Float(f), nil
		}
	case schemas.Boolean:
		if v.text == "true" || v.text == "false" {
			return schemas.Bool(v.text == "true"), nil
		}
	case schemas.IP:
		if ip, ok := canonicalIP(v.text); ok {
			return schemas.String(ip), nil
		}
	case schemas.Date:
		if at, err := anyTime(v, loc); err == nil {
			return schemas.Time(at), nil
		}
	default:
		return schemas.String(v.text), nil
	}
	return schemas.Value{}, errNotTyped
}

// accessJSON reads an access log written as JSON whose keys are nginx's
// variables (or Apache's log_format names for the same); others are as in
// parseJSON.
func accessJSON(ev *schemas.Event, line string) error {
	r := flatReaders.Get().(*flatReader)
	defer r.release()
	r.ev, r.access = ev, true
	if err := r.walker.walk(line, r); err != nil {
		return err
	}
	if err := r.end(); err != nil {
		return err
	}
	setAccess(ev)
	return nil
}

var accessFields map[string]func(ev *schemas.Event, s string)

func init() {
	text := func(id schemas.FieldID) func(*schemas.Event, string) {
		return func(ev *schemas.Event, s string) { setLogged(ev, id, s) }
	}
	long := func(id schemas.FieldID) func(*schemas.Event, string) {
		return func(ev *schemas.Event, s string) { setWhole(ev, id, s) }
	}
	host := func(ev *schemas.Event, s string) { setHost2(ev, s) }
	version := func(ev *schemas.Event, s string) {
		ev.SetString(schemas.FieldHTTPVersion, strings.TrimPrefix(s, "HTTP/"))
	}
	accessFields = map[string]func(*schemas.Event, string){
		"remote_addr":     setSource,
		"client_ip":       setSource,
		"remote_port":     long(schemas.FieldSourcePort),
		"remote_user":     text(schemas.FieldUserName),
		"request":         setRequest,
		"request_method":  text(schemas.FieldHTTPRequestMethod),
		"request_uri":     func(ev *schemas.Event, s string) { setURL(ev, s, false) },
		"uri":             func(ev *schemas.Event, s string) { setPath(ev, s) },
		"args":            text(schemas.FieldURLQuery),
		"query_string":    text(schemas.FieldURLQuery),
		"status":          long(schemas.FieldHTTPResponseStatusCode),
		"body_bytes_sent": long(schemas.FieldHTTPResponseBodyBytes),
		"request_length":  long(schemas.FieldSourceBytes),
		"bytes_sent":      long(schemas.FieldDestinationBytes),
		"http_referer":    text(schemas.FieldHTTPRequestReferrer),
		"http_referrer":   text(schemas.FieldHTTPRequestReferrer),
		"http_user_agent": text(schemas.FieldUserAgentOriginal),
		"user_agent":      text(schemas.FieldUserAgentOriginal),
		"http_host":       host,
		"host":            host,
		"server_name": func(ev *schemas.Event, s string) {
			if ev.Get(schemas.FieldURLDomain).IsNone() {
				setHost2(ev, s)
			}
		},
		"server_addr":     setDestination,
		"server_port":     long(schemas.FieldDestinationPort),
		"server_protocol": version,
		"scheme":          text(schemas.FieldURLScheme),
		"request_time": func(ev *schemas.Event, s string) {
			if us, ok := micros(s); ok {
				ev.SetInt(schemas.FieldEventDuration, us*1000)
			}
		},
		"ssl_protocol":    setTLSVersion,
		"ssl_cipher":      text(schemas.FieldTLSCipher),
		"ssl_server_name": text(schemas.FieldTLSClientServerName),
	}
}

// setPath sets a path that came without its query, unless the whole URL did too.
func setPath(ev *schemas.Event, s string) {
	if ev.Get(schemas.FieldURLOriginal).IsNone() {
		setURL(ev, s, false)
	}
}
