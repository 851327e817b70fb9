package parse

import (
	"strings"

	"fengsui/schemas"
)

// recognise names the format that a record has the shape of. It is for sources
// that mix formats or are not known yet: a format that is named costs less and
// guesses nothing.
func recognise(ev *schemas.Event, line string, trace *Explanation) string {
	switch {
	case line[0] == '{':
		return recogniseJSON(line, trace)
	case line[0] == '<' && eventXML(line):
		return "windows"
	case strings.Contains(ev.Preamble, "#fields"):
		return "zeek-tsv"
	case strings.Contains(ev.Preamble, "#Software: Microsoft Internet Information Services"):
		return "microsoft-iis"
	case strings.Contains(ev.Preamble, "#Log-type: Message Tracking Log"):
		return "microsoft-exchange"
	case line[0] == '[' && len(line) > 26 && month(line[5:]) > 0:
		return "apache-error"
	case len(line) > 20 && line[4] == '/' && line[7] == '/' && line[20] == '[':
		return "nginx-error"
	case line[0] != '<' && looksAccess(line):
		return "apache-access"
	}
	return "syslog"
}

// recogniseJSON tells JSON records apart by keys that only they have.
func recogniseJSON(line string, trace *Explanation) string {
	switch {
	case shipped(line):
		return "json"
	case strings.Contains(line, `"_path"`), strings.Contains(line, `"id.orig_h"`):
		return "zeek-json"
	case strings.Contains(line, `"event_type"`) && strings.Contains(line, `"timestamp"`):
		return "suricata"
	case strings.Contains(line, `"EventID"`), strings.Contains(line, `"winlog`):
		return "windows"
	case strings.Contains(line, `"remote_addr"`):
		return "nginx-access"
	}
	if found := theDevices().finder.find(&header{content: line}, trace); found != nil { // of one that writes JSON
		return found.device.file.ID
	}
	return "json"
}
