package parse

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"fengsui/schemas"
)

// header is what a syslog line says before its message.
type header struct {
	priority int // -1 is none
	version  string
	time     time.Time
	host     string
	app      string
	procid   string
	msgid    string
	data     string // RFC 5424 structured data as JSON
	message  string

	content  string // what follows the time and the host: tag and message
	elements string // RFC 5424 structured data as it came
}

// severity is the name of the priority's severity, or "".
func (h *header) severity() string {
	if h.priority < 0 {
		return ""
	}
	return severities[h.priority&7]
}

// parseSyslog reads a line of RFC 5424 or RFC 3164 and what devices make of
// them, with or without the priority, and then the body by its program.
//
// RFC 3164 (4.3) has a relay accept any line, so text without a header is an
// event with that text for message. What looks like a header and holds a time
// that does not exist is an error, as is what is not text.
func parseSyslog(ev *schemas.Event, line string, trace *Explanation) error {
	return syslogLine(ev, line, nil, trace)
}

// syslogLine reads a line whose message is a device's, or, where the device is
// nil, that of the program or device that it is recognised by.
func syslogLine(ev *schemas.Event, line string, d *device, trace *Explanation) error {
	var h header
	rest := h.cutPriority(line)
	var err error
	switch {
	case looks5424(rest):
		err = h.rfc5424(rest, ev.Received)
	default:
		err = h.rfc3164(rest, ev.Received)
	}
	if err != nil {
		return err
	}
	if h.time.IsZero() && h.host == "" && h.app == "" && h.version == "" {
		if i := notText(line); i >= 0 && !auditRecord(line) { // whose ENRICHED records have a group separator
			return fmt.Errorf("not a syslog line: control character at byte %d and no header", i)
		}
	}
	h.set(ev)
	if d != nil {
		return d.read(ev, &h, trace)
	}
	if body(ev, appName(h.app), h.message) {
		return nil
	}
	if found := theDevices().finder.find(&h, trace); found != nil {
		_ = found.device.read(ev, &h, trace) // what is not as the device writes it stays a line of syslog
	}
	return nil
}

// cutPriority reads <PRI>, 0 to 191, and returns what follows it.
func (h *header) cutPriority(s string) string {
	h.priority = -1
	if s[0] != '<' {
		return s
	}
	n, d := number(s[1:])
	if d == 0 || d > 3 || n > 191 || len(s) < d+2 || s[d+1] != '>' {
		return s
	}
	h.priority = int(n)
	return s[d+2:]
}

// looks5424 says that s begins with RFC 5424's version and a time or "-".
func looks5424(s string) bool {
	n, d := number(s)
	if n == 0 || d > 3 || len(s) < d+3 || s[d] != ' ' {
		return false
	}
	s = s[d+1:]
	if s[0] == '-' {
		return s[1] == ' '
	}
	_, d = number(s)
	return d == 4 && len(s) > 4 && s[4] == '-'
}

var errShort5424 = errors.New("RFC 5424 header ends too early")

// rfc5424 reads VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID
// SP STRUCTURED-DATA [SP MSG]. A sender that leaves the structured data out is
// forgiven.
func (h *header) rfc5424(s string, received time.Time) error {
	var fields [6]string
	for i := range fields {
		sp := strings.IndexByte(s, ' ')
		if sp < 0 {
			if i < len(fields)-1 {
				return errShort5424
			}
			sp = len(s)
		}
		fields[i], s = s[:sp], s[min(sp+1, len(s)):]
	}
	if fields[1] != "-" {
		t, err := isoWhole(fields[1], received.Location())
		if err != nil {
			return err
		}
		h.time = t
	}
	h.version = fields[0]
	h.host, h.app, h.procid, h.msgid = nilValue(fields[2]), nilValue(fields[3]), nilValue(fields[4]), nilValue(fields[5])
	switch {
	case s == "-" || strings.HasPrefix(s, "- "):
		s = strings.TrimPrefix(s[1:], " ")
	case strings.HasPrefix(s, "["):
		if data, n := structuredData(s); n > 0 {
			h.elements = s[:n]
			h.data, s = data, strings.TrimPrefix(s[n:], " ")
		}
	}
	h.message = strings.TrimPrefix(s, bom)
	h.content = h.message
	return nil
}

func nilValue(s string) string {
	if s == "-" {
		return ""
	}
	return s
}

// structuredData reads RFC 5424's SD-ELEMENTs into a JSON object of objects; a
// parameter said twice is a list. n is 0 when s is not structured data, which
// must be followed by a space or the end.
func structuredData(s string) (text string, n int) {
	b := append(make([]byte, 0, len(s)+16), '{')
	var params []sdParam
	for n < len(s) && s[n] == '[' {
		if n > 0 {
			b = append(b, ',')
		}
		var id string
		var used int
		if id, params, used = sdElement(s[n:], params[:0]); used == 0 {
			return "", 0
		}
		n += used
		b = appendParams(b, id, params)
	}
	if n < len(s) && s[n] != ' ' {
		return "", 0
	}
	return string(append(b, '}')), n
}

type sdParam struct{ name, value string }

// sdElement reads one "[id name="value" …]".
func sdElement(s string, params []sdParam) (id string, _ []sdParam, n int) {
	i := 1
	for i < len(s) && s[i] > ' ' && s[i] != ']' && s[i] != '=' && s[i] != '"' {
		i++
	}
	if id = s[1:i]; id == "" {
		return "", params, 0
	}
	for i < len(s) && s[i] == ' ' {
		i++
		eq := strings.IndexByte(s[i:], '=')
		if eq <= 0 || strings.ContainsAny(s[i:i+eq], ` "]`) || i+eq+1 >= len(s) || s[i+eq+1] != '"' {
			return "", params, 0
		}
		name := s[i : i+eq]
		value, used := sdValue(s[i+eq+1:])
		if used == 0 {
			return "", params, 0
		}
		if len(params) == maxKeys { // comparing their names takes the square of their number
			return "", params, 0
		}
		params = append(params, sdParam{name, value})
		i += eq + 1 + used
	}
	if i >= len(s) || s[i] != ']' {
		return "", params, 0
	}
	return id, params, i + 1
}

// sdValue reads a quoted value; the backslash escapes ", \ and ] only.
func sdValue(s string) (value string, n int) {
	var unescaped []byte // of what stands before start
	for i, start := 1, 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			if start == 1 {
				return s[1:i], i + 1
			}
			return string(append(unescaped, s[start:i]...)), i + 1
		case '\\':
			if i+1 < len(s) && strings.IndexByte(`"\]`, s[i+1]) >= 0 {
				unescaped = append(unescaped, s[start:i]...)
				i++
				start = i
			}
		case ']':
			return "", 0 // must be escaped
		}
	}
	return "", 0
}

// appendParams appends an element as "id":{"name":"value"}.
func appendParams(b []byte, id string, params []sdParam) []byte {
	b = append(schemas.String(id).AppendJSON(b), ":{"...)
	for i, p := range params {
		if said(params[:i], p.name) {
			continue
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(schemas.String(p.name).AppendJSON(b), ':')
		if !said(params[i+1:], p.name) {
			b = schemas.String(p.value).AppendJSON(b)
			continue
		}
		b = append(b, '[')
		for _, other := range params[i:] {
			if other.name == p.name {
				b = append(schemas.String(other.value).AppendJSON(b), ',')
			}
		}
		b[len(b)-1] = ']'
	}
	return append(b, '}')
}

func said(params []sdParam, name string) bool {
	for _, p := range params {
		if p.name == name {
			return true
		}
	}
	return false
}

// rfc3164 reads [sequence ": "] TIMESTAMP [HOSTNAME] TAG[pid]: MSG. A line
// without a time has no header: all of it is the message, unless a priority
// shows that it is a syslog message whose tag may be looked for.
func (h *header) rfc3164(s string, received time.Time) error {
	start := strings.TrimLeft(s, " ")
	if n, d := number(start); d > 0 && n >= 0 && strings.HasPrefix(start[d:], ": ") { // Cisco's sequence number
		start = strings.TrimLeft(start[d+2:], " ")
	}
	rest, err := h.timestamp(start, received)
	if err != nil {
		return err
	}
	if after, ok := strings.CutPrefix(start, ":"); ok && h.time.IsZero() { // Cisco's EMBLEM: ":Mar  1 …"
		if rest, err = h.timestamp(strings.TrimLeft(after, " "), received); err != nil {
			return err
		}
	}
	if h.time.IsZero() { // Cisco: "host: *Mar  1 …"
		if host, after, ok := strings.Cut(start, ": "); ok && isHost(host) {
			if rest, err = h.timestamp(after, received); err != nil {
				return err
			}
			if !h.time.IsZero() {
				h.host = host
			}
		}
	}
	switch {
	case h.time.IsZero() && (h.priority >= 0 || strings.HasPrefix(start, "%")):
		h.tag(start)
	case h.time.IsZero():
		h.message, h.content = s, s
	default:
		h.hostAndTag(rest)
	}
	return nil
}

// timestamp reads the header's time and returns what follows it, or leaves
// h.time zero where there is none.
func (h *header) timestamp(s string, received time.Time) (rest string, err error) {
	starred := strings.TrimLeft(s, "*.") // Cisco marks a clock that is not synchronised
	t, n, err := bsd(starred, received)
	if n == 0 && err == nil {
		t, n, err = iso(starred, received.Location())
	}
	if err != nil {
		return "", fmt.Errorf("time %q: %w", clip(s[:min(len(s), 32)]), err)
	}
	if n == 0 {
		return s, nil
	}
	h.time = t
	rest = starred[n:]
	if z, after, ok := strings.Cut(rest, ": %"); ok && isZoneName(z) { // "… 12:00:00.123 UTC: %SYS-5-…"
		return rest[len(rest)-len(after)-1:], nil
	}
	return strings.TrimLeft(strings.TrimPrefix(rest, ":"), " "), nil
}

func isZoneName(s string) bool {
	s = strings.TrimPrefix(s, " ")
	if len(s) > 5 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if s[i] < 'A' || s[i] > 'Z' {
			return false
		}
	}
	return true
}

// hostAndTag reads what follows the time. The first word is the host, unless it
// is a tag already: a program that logs to its own machine leaves the host out.
func (h *header) hostAndTag(s string) {
	first, rest := word(s)
	if h.host == "" && isHost(first) {
		h.host = first
		s = strings.TrimPrefix(rest, ": ") // Cisco ASA: "host : %ASA-…"
	}
	h.tag(s)
}

func isHost(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isAlnum(c) && c < 0x80 && c != '.' && c != '-' && c != '_' && c != ':' && c != '/' && c != '@' {
			return false
		}
	}
	return s[len(s)-1] != ':' || strings.HasSuffix(s, "::")
}

// tag reads "app[pid]: message", "app: message" and the %FACILITY-SEVERITY-
// MNEMONIC of network devices; a message without a tag is all message.
func (h *header) tag(s string) {
	h.message, h.content = s, s
	if strings.HasPrefix(s, "%") {
		h.deviceTag(s)
		return
	}
	i := 0
	for i < len(s) && i < 128 && (isAlnum(s[i]) || s[i] >= 0x80 || strings.IndexByte("._-/()@+*#", s[i]) >= 0) {
		i++
	}
	if i == 0 || i == len(s) {
		return
	}
	app, pid, rest := s[:i], "", s[i:]
	if app == "CEF" || app == "LEEF" { // the message begins there
		return
	}
	if rest[0] == '[' {
		end := strings.IndexByte(rest, ']')
		if end < 0 || end > 64 {
			return
		}
		pid, rest = rest[1:end], rest[end+1:]
	}
	switch {
	case strings.HasPrefix(rest, ":") && !strings.HasPrefix(rest, "://") && !strings.HasPrefix(rest, ":\\"):
		rest = rest[1:]
	case pid != "" && (rest == "" || rest[0] == ' '):
	default:
		return
	}
	h.app, h.procid, h.message = app, pid, strings.TrimPrefix(rest, " ")
}

// deviceTag reads Cisco's "%SYS-5-CONFIG_I: …" and Huawei's and H3C's
// "%%01SHELL/5/LOGIN(l)[12]: …". The code is the message's kind; the number in
// it is its severity, where the line has no priority.
func (h *header) deviceTag(s string) {
	code, message, ok := strings.Cut(s, ":")
	if !ok || len(code) > 128 || strings.IndexByte(code, ' ') >= 0 {
		return
	}
	code = strings.TrimLeft(code, "%")
	if i := strings.IndexAny(code, "(["); i >= 0 {
		code = code[:i]
	}
	h.msgid, h.message = code, strings.TrimLeft(message, " ")
	if f, _, ok := strings.Cut(strings.TrimLeft(code, "0123456789"), "-"); ok {
		h.app = f
	} else if f, _, ok := strings.Cut(strings.TrimLeft(code, "0123456789"), "/"); ok {
		h.app = f
	}
}

// severities are the names of RFC 5424's numerical severities.
var severities = [8]string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// set writes the header into the event.
func (h *header) set(ev *schemas.Event) {
	ev.SetTime(schemas.FieldTimestamp, h.time)
	if h.priority >= 0 {
		ev.SetInt(schemas.FieldLogSyslogPriority, int64(h.priority))
		ev.SetInt(schemas.FieldLogSyslogFacilityCode, int64(h.priority>>3))
		ev.SetInt(schemas.FieldLogSyslogSeverityCode, int64(h.priority&7))
		ev.SetString(schemas.FieldLogLevel, severities[h.priority&7])
	}
	ev.SetString(schemas.FieldLogSyslogVersion, h.version)
	ev.SetString(schemas.FieldLogSyslogHostname, h.host)
	ev.SetString(schemas.FieldLogSyslogAppname, h.app)
	ev.SetString(schemas.FieldLogSyslogProcid, h.procid)
	ev.SetString(schemas.FieldLogSyslogMsgid, h.msgid)
	ev.SetString(schemas.FieldLogSyslogStructuredData, h.data)
	ev.SetString(schemas.FieldHostName, h.host)
	if ip, ok := canonicalIP(h.host); ok {
		ev.Set(schemas.FieldHostIP, schemas.Strings(ip))
	}
	ev.SetString(schemas.FieldMessage, h.message)
	if h.msgid != "" && h.version == "" { // a network device's own code
		ev.SetString(schemas.FieldEventCode, h.msgid)
		ev.SetString(schemas.FieldEventProvider, h.app)
		return
	}
	app := appName(h.app)
	ev.SetString(schemas.FieldProcessName, app)
	ev.SetString(schemas.FieldEventProvider, app)
	setWhole(ev, schemas.FieldProcessPID, h.procid)
}

// appName is the program's name without its path and without the PAM module
// that old versions of PAM add: "sshd(pam_unix)".
func appName(tag string) string {
	if strings.HasPrefix(tag, "/") {
		tag = baseName(tag)
	}
	if i := strings.IndexByte(tag, '('); i > 0 {
		tag = tag[:i]
	}
	return tag
}

// notText is where the first control character stands that no line of text has,
// or -1. Tabs and the escapes of coloured terminals are text.
func notText(s string) int {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != 0x1b || c == 0x7f {
			return i
		}
	}
	return -1
}
