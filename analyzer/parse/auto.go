package parse

import (
	"strings"

	"fengsui/schemas"
)

// parseAuto recognises a record by its shape. It is for sources that mix
// formats or are not known yet: a format that is named costs less and guesses
// nothing.
func parseAuto(ev *schemas.Event, line string) error {
	return recognise(ev, line)(ev, line)
}

func recognise(ev *schemas.Event, line string) func(*schemas.Event, string) error {
	switch {
	case line[0] == '{':
		return recogniseJSON(line)
	case strings.Contains(ev.Preamble, "#fields"):
		return parseZeekTSV
	case line[0] == '[' && len(line) > 26 && month(line[5:]) > 0:
		return parseApacheError
	case len(line) > 19 && line[4] == '/' && line[7] == '/':
		return parseNginxError
	case line[0] != '<' && looksAccess(line):
		return parseApacheAccess
	}
	return parseSyslog
}

// recogniseJSON tells JSON records apart by keys that only they have.
func recogniseJSON(line string) func(*schemas.Event, string) error {
	switch {
	case strings.Contains(line, `"_path"`), strings.Contains(line, `"id.orig_h"`):
		return parseZeekJSON
	case strings.Contains(line, `"event_type"`) && strings.Contains(line, `"timestamp"`):
		return parseSuricata
	case strings.Contains(line, `"EventID"`), strings.Contains(line, `"winlog`):
		return parseWindows
	case strings.Contains(line, `"remote_addr"`):
		return parseNginxAccess
	}
	return parseJSON
}
