package parse

import (
	"errors"
	"fmt"
	"strings"

	"fengsui/schemas"
)

var errNoBracket = errors.New(`no "[time]" at the start`)

// parseApacheError reads the error log of Apache 2.4 and before: [time] [module:
// level] [pid 1:tid 2] [client A:P] AH00000: message, referer: …
func parseApacheError(ev *schemas.Event, line string) error {
	ev.SetString(schemas.FieldEventModule, "apache")
	ev.SetString(schemas.FieldEventDataset, "apache.error")
	at, rest, ok := bracket(line)
	if !ok {
		return errNoBracket
	}
	if err := apacheTime(ev, at); err != nil {
		return err
	}
	what{"web", "error", "", ""}.set(ev)
	for {
		part, after, ok := bracket(rest)
		if !ok {
			break
		}
		key, value, _ := strings.Cut(part, " ")
		switch {
		case key == "client" || key == "remote":
			address, port := value, ""
			if _, isIP := canonicalIP(value); !isIP {
				if i := strings.LastIndexByte(value, ':'); i > 0 {
					address, port = strings.Trim(value[:i], "[]"), value[i+1:]
				}
			}
			setSource(ev, address)
			setWhole(ev, schemas.FieldSourcePort, port)
		case key == "pid":
			pid, _, _ := strings.Cut(value, ":")
			setWhole(ev, schemas.FieldProcessPID, pid)
		case isLevel(part):
			module, level, ok := strings.Cut(part, ":")
			if !ok {
				module, level = "", part
			}
			ev.SetString(schemas.FieldLogLevel, level)
			ev.SetString(schemas.FieldEventProvider, module)
		default:
			ok = false
		}
		if !ok {
			break
		}
		rest = after
	}
	if len(rest) > 7 && strings.HasPrefix(rest, "AH") && rest[7] == ':' {
		ev.SetString(schemas.FieldEventCode, rest[:7])
	}
	ev.SetString(schemas.FieldMessage, rest)
	if _, referrer, ok := cutLast(rest, ", referer: "); ok {
		ev.SetString(schemas.FieldHTTPRequestReferrer, referrer)
	}
	return nil
}

// bracket reads "[…] " at the start of s.
func bracket(s string) (inside, rest string, ok bool) {
	if !strings.HasPrefix(s, "[") {
		return "", s, false
	}
	i := strings.Index(s, "] ")
	if i < 0 {
		if !strings.HasSuffix(s, "]") {
			return "", s, false
		}
		return s[1 : len(s)-1], "", true
	}
	return s[1:i], strings.TrimLeft(s[i+2:], " "), true
}

// isLevel says that s is "error" or "module:error", so that a message which
// begins with a bracket stays a message.
func isLevel(s string) bool {
	_, level, ok := strings.Cut(s, ":")
	if !ok {
		level = s
	}
	switch level {
	case "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug":
		return true
	}
	return strings.HasPrefix(level, "trace") && len(level) == len("trace1")
}

// apacheTime reads "Fri Sep 09 10:42:29.902022 2011", which has no zone.
func apacheTime(ev *schemas.Event, s string) error {
	weekday, rest := word(s)
	t, n, err := bsd(rest, ev.Received)
	if err == nil && n > 0 && n < len(rest) { // the year follows a fraction
		if y, d := number(strings.TrimLeft(rest[n:], " ")); d == 4 {
			moved := rest[:len("Sep 09 ")] + strings.TrimLeft(rest[n:], " ") + " " + rest[len("Sep 09 "):n]
			t, _, err = bsd(moved, ev.Received)
			_ = y
			n = len(rest)
		}
	}
	if err != nil {
		return fmt.Errorf("time %q: %w", clip(s), err)
	}
	if len(weekday) != 3 || n != len(rest) {
		return fmt.Errorf("time %q cannot be read", clip(s))
	}
	ev.SetTime(schemas.FieldTimestamp, t)
	return nil
}

// parseNginxError reads "2026/03/01 12:00:00 [error] 12#34: *56 message, client:
// A, server: S, request: "…", upstream: "…", host: "…", referrer: "…"".
func parseNginxError(ev *schemas.Event, line string) error {
	ev.SetString(schemas.FieldEventModule, "nginx")
	ev.SetString(schemas.FieldEventDataset, "nginx.error")
	t, n, err := iso(line, ev.Received.Location())
	if err != nil {
		return fmt.Errorf("time %q: %w", clip(line[:min(len(line), 32)]), err)
	}
	level, rest, ok := bracket(strings.TrimLeft(line[n:], " "))
	if n == 0 || !ok {
		return errors.New(`no "time [level]" at the start`)
	}
	ev.SetTime(schemas.FieldTimestamp, t)
	ev.SetString(schemas.FieldLogLevel, level)
	what{"web", "error", "", ""}.set(ev)
	if pid, after, ok := strings.Cut(rest, ": "); ok {
		if id, _, ok := strings.Cut(pid, "#"); ok && setWhole(ev, schemas.FieldProcessPID, id) {
			rest = after
		}
	}
	if strings.HasPrefix(rest, "*") { // the connection's number
		_, rest = word(rest)
	}
	ev.SetString(schemas.FieldMessage, rest)
	i := strings.LastIndex(rest, ", client: ")
	if i < 0 {
		return nil
	}
	nginxContext(ev, rest[i+2:])
	return nil
}

func nginxContext(ev *schemas.Event, s string) {
	for s != "" {
		key, rest, ok := strings.Cut(s, ": ")
		if !ok {
			return
		}
		value, n := quotedText(rest)
		if n == 0 {
			value, s, _ = strings.Cut(rest, ", ")
		} else {
			s = strings.TrimPrefix(rest[n:], ", ")
		}
		switch key {
		case "client":
			setSource(ev, value)
		case "request":
			setRequest(ev, value)
		case "host":
			setHost2(ev, value)
		case "server":
			if ev.Get(schemas.FieldURLDomain).IsNone() {
				setHost(ev, value, "")
			}
		case "referrer":
			ev.SetString(schemas.FieldHTTPRequestReferrer, value)
		case "upstream":
			label(ev, "labels.upstream", value)
		}
	}
}
