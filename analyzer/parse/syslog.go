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
	code     bool // msgid is a network device's own

	content  string // what follows the time and the host: tag and message
	elements string // RFC 5424 structured data as it came
	preamble string // header lines of the file that the line came from
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
	h := header{preamble: ev.Preamble}
	if err := h.read(line, ev.Received); err != nil {
		return err
	}
	bare := h.time.IsZero() && h.host == "" && h.app == "" && h.version == ""
	if bare {
		if i := notText(line); i >= 0 && !auditRecord(line) { // whose ENRICHED records have a group separator
			return fmt.Errorf("not a syslog line: control character at byte %d and no header", i)
		}
	}
	app := h.set(ev, bare && !h.code)
	if d != nil {
		return d.read(ev, &h, trace)
	}
	if body(ev, app, h.message) {
		return nil
	}
	if found := theDevices().finder.find(&h, trace); found != nil {
		_ = found.device.read(ev, &h, trace) // what is not as the device writes it stays a line of syslog
		return nil
	}
	h.record(ev)
	return nil
}

// record reads a message that is a record of JSON, as NXLog sends Windows's events
// by syslog and others those of Zeek and Suricata, or a Windows event in XML. What the header says of a
// program is the sender's then, not the record's.
func (h *header) record(ev *schemas.Event) {
	text := strings.TrimPrefix(noSpaces(h.message), "@cee: ")
	var parse func(ev *schemas.Event, line string) error
	switch {
	case strings.HasPrefix(text, "{"):
		parse = embedded[recogniseJSON(text, nil)]
	case eventXML(text):
		parse = parseWindows
	}
	if parse == nil {
		return
	}
	bare := *h
	bare.app, bare.procid = "", ""
	begin(ev)
	bare.set(ev, false)
	ev.SetString(schemas.FieldLogSyslogAppname, h.app)
	ev.SetString(schemas.FieldLogSyslogProcid, h.procid)
	if parse(ev, text) == nil {
		return
	}
	begin(ev)
	body(ev, h.set(ev, false), h.message) // knows no more of it than before
	addTag(ev, tagBodyUnparsed)
}

// begin empties an event but for where it came from.
func begin(ev *schemas.Event) {
	original, origin := ev.Original, ev.Origin
	ev.Reset()
	ev.Original, ev.Origin = original, origin
}

// embedded are the formats whose records other programs send by syslog.
var embedded = map[string]func(ev *schemas.Event, line string) error{
	"zeek-json": parseZeekJSON, "suricata": parseSuricata, "windows": parseWindows, "nginx-access": parseNginxAccess,
}

// read reads the header of a line, or that of the line that a relay has put its
// own before.
func (h *header) read(line string, received time.Time) error {
	rest := h.cutPriority(line)
	if strings.HasPrefix(rest, "<") { // <13><14>…
		var inner header
		if rest = inner.cutPriority(rest); inner.priority >= 0 {
			h.priority = inner.priority
		}
	}
	if err := h.rfc(rest, received); err != nil {
		return err
	}
	if h.time.IsZero() || !strings.HasPrefix(h.message, "<") {
		return nil
	}
	var inner header // <13>Dec 10 12:00:00 relay1 <14>Dec 10 11:59:59 host1 app: …
	rest = inner.cutPriority(h.message)
	if inner.priority < 0 || inner.rfc(rest, received) != nil || inner.time.IsZero() || inner.host == "" {
		return nil
	}
	*h = inner
	return nil
}

// rfc reads what follows the priority.
func (h *header) rfc(s string, received time.Time) error {
	s = noSpaces(s)
	if looks5424(s) {
		return h.rfc5424(s, received)
	}
	if after, ok := strings.CutPrefix(s, "1 "); ok && h.priority >= 0 && after != "" && isDigit(after[0]) { // Meraki's "1 1796875200.123 host …"
		if _, n := compactTime(after, received); n > 0 {
			s = after
		}
	}
	return h.rfc3164(s, received)
}

// cutPriority reads <PRI>, 0 to 191, and returns what follows it.
func (h *header) cutPriority(s string) string {
	h.priority = -1
	if s == "" || s[0] != '<' {
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
		sp := indexByte(s, ' ')
		if sp < 0 {
			if i < len(fields)-1 {
				return errShort5424
			}
			sp = len(s)
		}
		if i == 1 && sp == len("2026-12-10") && len(s) > 19 && s[sp+3] == ':' { // a space in the time
			sp += 1 + strings.IndexByte(s[sp+1:]+" ", ' ')
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

// rfc3164 reads TIMESTAMP [HOSTNAME] TAG[pid]: MSG, or what Cisco's devices have
// in the place of a header. A line without a time has none: all of it is the
// message, unless a priority shows that it is a syslog message whose tag may be
// looked for.
func (h *header) rfc3164(s string, received time.Time) error {
	if keyFirst(s) { // none of the below would find anything
		h.message, h.content = s, s
		return nil
	}
	rest, err := h.timestamp(s, received)
	if err != nil {
		return err
	}
	if h.time.IsZero() {
		if ok, err := h.cisco(s, received); ok || err != nil {
			return err
		}
		if h.priority >= 0 {
			h.tag(s)
		} else {
			h.message, h.content = s, s
		}
		return nil
	}
	return h.hostAndTag(rest, received)
}

// keyFirst says that s begins with key=, which is neither a time nor a host nor a
// tag.
func keyFirst(s string) bool {
	if s == "" || (s[0]|0x20)-'a' > 25 {
		return false
	}
	i := 1
	for i < len(s) && i < 64 && (isAlnum(s[i]) || s[i] == '_') {
		i++
	}
	return i < len(s) && s[i] == '='
}

// cisco reads [HOST ": "] [SEQUENCE ": "] [TIMESTAMP ": "] %FACILITY-SEVERITY-
// MNEMONIC: MSG, where the host and the sequence numbers may stand in any order,
// an asterisk or a dot marks a clock that is not synchronised, the time may be
// that since the start (3w2d, 00:01:23), and EMBLEM's begins with a colon. Where
// a time was found, what follows need not have a code.
func (h *header) cisco(s string, received time.Time) (ok bool, err error) {
	host := ""
	for range 5 { // parts before the code
		s = strings.TrimLeft(s, ": ")
		if strings.HasPrefix(s, "%") && h.deviceTag(s) {
			break
		}
		if _, n := number(s); n > 0 && n+1 < len(s) && s[n] == ':' && (s[n+1]|0x20)-'a' <= 25 { // Ruijie's "226:Mar 5 …"
			s = s[n+1:]
		}
		rest, err := h.timestamp(s, received)
		if err != nil {
			return false, err
		}
		if len(rest) < len(s) {
			if h.host == "" {
				h.host = host
			}
			return true, h.hostAndTag(rest, received)
		}
		end := strings.Index(s[:min(len(s), 256)], ": ")
		if end < 0 {
			break
		}
		part := s[:end]
		switch {
		case allDigits(part) || isUptime(part):
		case host == "" && h.host == "" && isHost(part):
			host = part
		default:
			return false, nil
		}
		s = s[end+2:]
	}
	if !h.code {
		return false, nil
	}
	if h.content = s; h.host == "" {
		h.host = host
	}
	return true, nil
}

// isUptime says that s is how long a device of Cisco's runs: 3w2d, 1y23w, 00:01:23.
func isUptime(s string) bool {
	var c civil
	if len(s) == 8 && c.clock(s) > 0 {
		return true
	}
	for units := 0; ; units++ {
		n, d := number(s)
		if s == "" {
			return units > 0
		}
		if n > 1<<20 || d == 0 || d == len(s) || strings.IndexByte("ywdhms", s[d]) < 0 {
			return false
		}
		s = s[d+1:]
	}
}

// timestamp reads the header's time and returns what follows it, or leaves
// h.time zero where there is none.
func (h *header) timestamp(s string, received time.Time) (rest string, err error) {
	if t, ok := plain3164(s, received); ok {
		h.time = t
		return s[len("Mmm dd hh:mm:ss "):], nil
	}
	starred := s
	for starred != "" && (starred[0] == '*' || starred[0] == '.' || starred[0] == '%') {
		starred = starred[1:]
	}
	t, n, err := bsd(starred, received)
	if n == 0 && err == nil {
		t, n, err = isoNamed(starred, received.Location())
	}
	if err != nil {
		return "", fmt.Errorf("time %q: %w", clip(s[:min(len(s), 32)]), err)
	}
	if n == 0 {
		if t, n = otherTime(starred, received); n == 0 {
			return s, nil
		}
	}
	h.time = t
	rest = starred[n:]
	if z := zoneName(rest); strings.HasPrefix(rest[z:], ": %") { // "… 12:00:00.123 BEIJ: %SYS-5-…"
		return rest[z+2:], nil
	}
	return noSpaces(strings.TrimPrefix(rest, ":")), nil
}

// maxZone bounds the name of a zone, which devices let their owners choose: CST,
// Beijing.
const maxZone = 12

// zoneName is how long the name of a zone is that s begins with, behind a blank or
// not.
func zoneName(s string) int {
	i := 0
	if s != "" && s[0] == ' ' {
		i++
	}
	for end := min(i+maxZone, len(s)); i < end && (s[i]|0x20)-'a' <= 25; {
		i++
	}
	return i
}

// hostAndTag reads what follows the time. The first word is the host, unless it
// is a tag already: a program that logs to its own machine leaves the host out.
func (h *header) hostAndTag(s string, received time.Time) error {
	if after, ok := strings.CutPrefix(s, "Message forwarded from "); ok { // AIX
		if host, rest, ok := strings.Cut(after, ": "); ok && isHost(host) {
			h.host, s = host, rest
		}
	}
	first, rest := word(s)
	if bare, ok := strings.CutPrefix(first, "["); ok && strings.HasSuffix(bare, "]") {
		if _, isIP := canonicalIP(bare[:len(bare)-1]); isIP {
			first = bare[:len(bare)-1]
		}
	}
	if strings.HasPrefix(rest, "%") { // "sw-1: %SYS-5-…"
		first = strings.TrimSuffix(first, ":")
	}
	if h.host == "" && isHost(first) && !notHost(first) && !(first == "last" && strings.HasPrefix(rest, "message repeated ")) {
		h.host = first
		s = strings.TrimPrefix(rest, ": ") // Cisco ASA: "host : %ASA-…"
		if s != "" && (isDigit(s[0]) || s[0] == '*' || s[0] == '.') && strings.Contains(s[:min(len(s), 128)], ": %") {
			if ok, err := h.cisco(s, received); ok || err != nil { // as a relay writes it
				return err
			}
		}
	}
	h.tag(s)
	return nil
}

// notHost says that a word after the time is none of a host's though it might be:
// a program's level, or a number.
func notHost(s string) bool {
	if c := s[0]; c-'A' <= 25 { // as all levels begin
		return levels[s]
	}
	_, d := number(s)
	return d == len(s)
}

// levels stand after the time in the logs of many programs, where a host would.
var levels = map[string]bool{
	"TRACE": true, "DEBUG": true, "INFO": true, "NOTICE": true, "WARN": true, "WARNING": true, "ERROR": true, "CRITICAL": true, "FATAL": true, "SEVERE": true,
}

func isHost(s string) bool {
	if s == "" || len(s) > 255 || s[0] == '-' {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; ofWord[c]&ofHost == 0 {
			return c == '%' && strings.HasPrefix(s, "fe80:")
		}
	}
	return s[len(s)-1] != ':' || strings.HasSuffix(s, "::")
}

// ofWord says whether a byte is one of a host's name, and of a tag.
var ofWord = func() (table [256]uint8) {
	for c := range table {
		if c >= 0x80 || isAlnum(byte(c)) {
			table[c] = ofHost | ofTag
		}
	}
	for _, c := range []byte(".-_:/@") {
		table[c] |= ofHost
	}
	for _, c := range []byte("._-/()@+*#") {
		table[c] |= ofTag
	}
	return table
}()

const (
	ofHost = 1 << iota
	ofTag
)

// tag reads "app[pid]: message", "app: message" and the %FACILITY-SEVERITY-
// MNEMONIC of network devices; a message without a tag is all message.
func (h *header) tag(s string) {
	h.message, h.content = s, s
	if strings.HasPrefix(s, "%") {
		h.deviceTag(s)
		return
	}
	i := 0
	for i < len(s) && i < 128 && ofWord[s[i]]&ofTag != 0 {
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
		end := indexByte(rest[:min(len(rest), 65)], ']')
		if end < 0 {
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
	if slashed(app) && h.deviceTag(s) {
		return
	}
	h.app, h.procid, h.message = app, pid, strings.TrimPrefix(rest, " ")
	h.solaris()
}

// solaris reads the "[ID 702911 auth.info] " that Solaris puts before messages.
func (h *header) solaris() {
	after, ok := strings.CutPrefix(h.message, "[ID ")
	if !ok {
		return
	}
	if id, rest, ok := strings.Cut(after, " "); ok && allDigits(id) {
		if _, message, ok := strings.Cut(rest, "] "); ok {
			h.msgid, h.message = id, message
		}
	}
}

// slashed says that a tag is FACILITY/severity/MNEMONIC.
func slashed(tag string) bool {
	i := strings.IndexByte(tag, '/')
	return i > 0 && i+2 < len(tag) && tag[i+1] >= '0' && tag[i+1] <= '7' && tag[i+2] == '/'
}

// deviceTag reads Cisco's "%SYS-5-CONFIG_I: …" and Huawei's and H3C's
// "%%01SHELL/5/LOGIN(l)[12]: …". The code is the message's kind; the number in
// it is its severity, where the line has no priority.
func (h *header) deviceTag(s string) bool {
	code, message, ok := strings.Cut(s, ":")
	if !ok || len(code) > 128 || strings.IndexByte(code, ' ') >= 0 {
		return false
	}
	code = strings.TrimLeft(code, "%")
	if i := strings.IndexAny(code, "(["); i >= 0 {
		code = code[:i]
	}
	h.msgid, h.message, h.code = code, strings.TrimLeft(message, " "), true
	if f, _, ok := strings.Cut(strings.TrimLeft(code, "0123456789"), "-"); ok {
		h.app = f
	} else if f, _, ok := strings.Cut(strings.TrimLeft(code, "0123456789"), "/"); ok {
		h.app = f
	}
	return true
}

// severities are the names of RFC 5424's numerical severities.
var severities = [8]string{"emergency", "alert", "critical", "error", "warning", "notice", "informational", "debug"}

// set writes the header into the event; all that a bare one has is a priority. It
// returns the name of the program.
func (h *header) set(ev *schemas.Event, bare bool) (app string) {
	ev.SetTime(schemas.FieldTimestamp, h.time)
	if h.priority >= 0 {
		ev.SetInt(schemas.FieldLogSyslogPriority, int64(h.priority))
		ev.SetInt(schemas.FieldLogSyslogFacilityCode, int64(h.priority>>3))
		ev.SetInt(schemas.FieldLogSyslogSeverityCode, int64(h.priority&7))
		ev.SetString(schemas.FieldLogLevel, severities[h.priority&7])
	}
	if bare {
		ev.SetString(schemas.FieldMessage, h.message)
		return ""
	}
	ev.SetString(schemas.FieldLogSyslogVersion, h.version)
	ev.SetString(schemas.FieldLogSyslogHostname, h.host)
	ev.SetString(schemas.FieldLogSyslogAppname, h.app)
	ev.SetString(schemas.FieldLogSyslogProcid, h.procid)
	ev.SetString(schemas.FieldLogSyslogMsgid, h.msgid)
	ev.SetString(schemas.FieldLogSyslogStructuredData, h.data)
	ev.SetString(schemas.FieldHostName, h.host)
	setHostIP(ev, h.host)
	ev.SetString(schemas.FieldMessage, h.message)
	app = appName(h.app)
	if h.code {
		ev.SetString(schemas.FieldEventCode, h.msgid)
		ev.SetString(schemas.FieldEventProvider, h.app)
		return app
	}
	ev.SetString(schemas.FieldProcessName, app)
	ev.SetString(schemas.FieldEventProvider, app)
	setWhole(ev, schemas.FieldProcessPID, h.procid)
	return app
}

// appName is the program's name without its path and without the PAM module
// that old versions of PAM add: "sshd(pam_unix)".
func appName(tag string) string {
	if strings.HasPrefix(tag, "/") {
		tag = baseName(tag)
	}
	if i := indexByte(tag, '('); i > 0 {
		tag = tag[:i]
	}
	return tag
}

// notText is where the first control character stands that no line of text has,
// or -1. Tabs and the escapes of coloured terminals are text.
func notText(s string) int {
	for i := 0; i < len(s); {
		for len(s)-i >= 16 && (control8(eight(s[i:]))|control8(eight(s[i+8:]))) == 0 { // as nearly always
			i += 16
		}
		for end := min(i+16, len(s)); i < end; i++ {
			if control[s[i]] {
				return i
			}
		}
	}
	return -1
}

// control8 is 0 where none of eight bytes is below a blank or DEL.
func control8(x uint64) uint64 {
	const ones, high = 0x0101010101010101, 0x8080808080808080
	return ((x - ' '*ones) | (x + ones)) &^ x & high
}

func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}

var control = func() (table [256]bool) {
	for c := range table {
		table[c] = c < ' ' && c != '\t' && c != '\n' && c != '\r' && c != 0x1b || c == 0x7f
	}
	return table
}()
