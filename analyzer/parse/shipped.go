package parse

import (
	"strings"

	"fengsui/schemas"
)

// shippers are what their events have, each of them in the order of its texts'
// cost; a line has all of one.
var shippers = [][]string{
	{`"message"`, `"@timestamp"`, `"agent"`, `"log"`}, // Filebeat, Elastic Agent
	{`"message"`, `"@timestamp"`, `"log.file.path"`},
	{`"message"`, `"@timestamp"`, `"input"`, `"type"`},
	{`"message"`, `"@timestamp"`, `"beat"`, `"source"`}, // Filebeat 6
	{`"message"`, `"@timestamp"`, `"@version"`},         // Logstash
	{`"message"`, `"source_type"`, `"timestamp"`},       // Vector
	{`"log"`, `"@timestamp"`, `"filename"`},             // Fluent Bit, out_es
	{`"log"`, `"date"`},                                 // Fluent Bit, out_http
	{`"log"`, `"stream"`, `"time"`},                     // Docker's, Kubernetes'
}

// shipped says that a JSON record is a line of a log as a shipper wraps it. What
// winlogbeat writes has no line in it.
func shipped(line string) bool {
	if ofWinlogbeat(line) {
		return false
	}
next:
	for _, texts := range shippers {
		for _, text := range texts {
			if !strings.Contains(line, text) {
				continue next
			}
		}
		return true
	}
	return false
}

func ofWinlogbeat(line string) bool {
	return strings.Contains(line, `"winlog":`) || strings.Contains(line, `"winlog.event_id"`)
}

// shipper takes what a shipper says of the line, and the line itself; what is not
// taken is a key like any other.
func (r *flatReader) shipper(path, text string) bool {
	switch path {
	case "message", "log":
		if !r.whole {
			r.raw = strings.TrimRight(text, "\r\n") // Docker keeps the newline
		}
		return true
	case "event.original":
		r.raw, r.whole = text, true // the message may be a part of it
		return true
	case "appname", "ident", "program", "programname", "syslog.appname", "log.syslog.appname", "syslog.identifier", "syslog_identifier":
		r.app = text
		return false
	case "host.name", "host", "hostname", "host.hostname", "beat.hostname", "kubernetes.host":
		if r.host == "" || path == "host.name" {
			r.host = text
		}
		return path != "kubernetes.host"
	case "log.file.path", "file", "filename", "source", "path":
		if r.path == "" || path == "log.file.path" {
			r.path = text
		}
		return true
	}
	return false
}

// unwrap parses the line that was wrapped. The shipper's own words stay: the
// file, labels, and the host unless the line names another, as where it comes
// from a file that a relay keeps. The time is the line's if it has one. What the
// line is not readable for leaves the event as the shipper has sent it, with the
// line for its message.
func (r *flatReader) unwrap(line string, trace *Explanation) error {
	ev := r.ev
	at := ev.Get(schemas.FieldTimestamp)
	host, path, raw := r.host, r.path, r.raw
	inner := schemas.Event{Original: raw, Origin: ev.Origin}
	format := ""
	if text := trimLine(raw); text != "" {
		format = recognise(&inner, text, trace)
		switch {
		case format == "json" && shipped(text):
			format = "" // wrapped twice: no more
		case format == "apache-access" && strings.Contains(path, "nginx"): // which write the same
			format = "nginx-access"
		}
	}
	if format != "" {
		if of, err := lookup(format); err == nil && of.read(&inner, trimLine(raw), trace) == nil && tells(&inner) {
			if trace != nil {
				trace.Format = of.Name
			}
			inner.Each(ev.Set)
			for _, o := range inner.Open() {
				ev.SetOpen(o.Name, o.Value)
			}
		} else {
			format = ""
		}
	}
	if format == "" {
		ev.SetString(schemas.FieldMessage, raw)
		ev.SetString(schemas.FieldEventModule, "json")
		r.split()
	}
	if inner.Has(schemas.FieldTimestamp) && format != "" && !at.IsNone() {
		label(ev, "labels.@timestamp", at.Text()) // when the shipper read it
	}
	if own := ev.Str(schemas.FieldLogSyslogHostname); host != "" && (format == "" || own == "" || sameHost(own, host)) {
		ev.SetString(schemas.FieldHostName, host)
	}
	ev.SetString(schemas.FieldLogFilePath, path)
	return nil
}

// split parses a message whose header the shipper has read already.
func (r *flatReader) split() {
	app := appName(r.app)
	if app == "" || bodyOf(app) == nil {
		return
	}
	r.ev.SetString(schemas.FieldLogSyslogAppname, r.app)
	r.ev.SetString(schemas.FieldProcessName, app)
	r.ev.SetString(schemas.FieldEventProvider, app)
	body(r.ev, app, r.raw)
}

// tells says that a line said more than that it is text.
func tells(ev *schemas.Event) bool {
	for _, id := range [...]schemas.FieldID{
		schemas.FieldTimestamp, schemas.FieldLogSyslogHostname, schemas.FieldLogSyslogAppname, schemas.FieldLogSyslogPriority, schemas.FieldEventCategory, schemas.FieldObserverVendor,
	} {
		if ev.Has(id) {
			return true
		}
	}
	return ev.Str(schemas.FieldEventModule) != "system"
}

// sameHost compares a short name with a full one.
func sameHost(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.EqualFold(a, "localhost") || len(a) == len(b) && strings.EqualFold(a, b) ||
		len(a) < len(b) && b[len(a)] == '.' && strings.EqualFold(a, b[:len(a)])
}
