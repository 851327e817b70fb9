package parse

import (
	"strings"

	"fengsui/schemas"
)

// What PAM reports. A service usually reports the same in its own words (sshd's
// "Failed password"), so these are actions of their own.
var (
	pamFailed   = what{"authentication", "info", "pam_authentication", "failure"}
	pamUnknown  = what{"authentication", "info", "pam_unknown_user", "failure"}
	pamOpened   = what{"session", "start", "session_opened", "success"}
	pamClosed   = what{"session", "end", "session_closed", "success"}
	pamPassword = what{"iam", "change", "password_changed", "success"}
	pamExpired  = what{"authentication", "denied", "account_expired", "failure"}
	pamLocked   = what{"authentication", "denied", "account_locked", "failure"}
)

// pam reads "pam_unix(sshd:auth): …", and the body alone where the tag was
// "sshd(pam_unix)". It says whether the message was PAM's.
func pam(ev *schemas.Event, app, s string) bool {
	if strings.HasPrefix(s, "pam_") {
		module, rest, ok := strings.Cut(s, "(")
		where, text, ok2 := strings.Cut(rest, "): ")
		if !ok || !ok2 || strings.IndexByte(module, ' ') >= 0 {
			return false
		}
		service, _, _ := strings.Cut(where, ":")
		label(ev, "labels.pam_module", module)
		label(ev, "labels.pam_service", service)
		ev.SetString(schemas.FieldEventDataset, "system.auth")
		pamText(ev, text)
		return true
	}
	if tag := ev.Str(schemas.FieldLogSyslogAppname); len(tag) > len(app) && strings.HasSuffix(tag, "(pam_unix)") {
		label(ev, "labels.pam_module", "pam_unix")
		label(ev, "labels.pam_service", app)
		ev.SetString(schemas.FieldEventDataset, "system.auth")
		pamText(ev, s)
		return true
	}
	return false
}

func pamText(ev *schemas.Event, s string) {
	switch {
	case strings.HasPrefix(s, "authentication failure; "):
		pamPairs(ev, s[len("authentication failure; "):])
		pamFailed.set(ev)
	case strings.HasPrefix(s, "check pass; user unknown"), strings.HasPrefix(s, "bad username"):
		pamUnknown.set(ev)
	case strings.HasPrefix(s, "session opened for user "):
		user, by, _ := cutLast(s[len("session opened for user "):], " by ")
		ev.SetString(schemas.FieldUserName, pamUser(ev, user))
		if name := beforeUID(by); name != "" {
			ev.SetString(schemas.FieldSourceUserName, name)
		}
		pamOpened.set(ev)
	case strings.HasPrefix(s, "session closed for user "):
		ev.SetString(schemas.FieldUserName, pamUser(ev, s[len("session closed for user "):]))
		pamClosed.set(ev)
	case strings.HasPrefix(s, "password changed for "):
		ev.SetString(schemas.FieldUserTargetName, s[len("password changed for "):])
		pamPassword.set(ev)
	case strings.HasPrefix(s, "account "):
		name, rest := word(s[len("account "):])
		if strings.HasPrefix(rest, "has expired") {
			ev.SetString(schemas.FieldUserName, name)
			pamExpired.set(ev)
		}
	case strings.HasPrefix(s, "Consecutive login failures for user "):
		name, _ := word(s[len("Consecutive login failures for user "):])
		ev.SetString(schemas.FieldUserName, name)
		pamLocked.set(ev)
	}
}

// pamUser reads "root(uid=0)" or "root".
func pamUser(ev *schemas.Event, s string) string {
	name := beforeUID(s)
	if uid, ok := strings.CutPrefix(s[len(name):], "(uid="); ok {
		ev.SetString(schemas.FieldUserID, strings.TrimSuffix(uid, ")"))
	}
	return name
}

func beforeUID(s string) string {
	if i := strings.LastIndex(s, "(uid="); i >= 0 {
		return s[:i]
	}
	return s
}

// pamPairs reads "logname= uid=0 euid=0 tty=ssh ruser= rhost=H  user=U".
func pamPairs(ev *schemas.Event, s string) {
	for s != "" {
		var pair string
		pair, s = word(s)
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		switch key {
		case "rhost":
			setSource(ev, value)
		case "user":
			ev.SetString(schemas.FieldUserName, value)
		case "ruser":
			ev.SetString(schemas.FieldSourceUserName, value)
		case "tty":
			label(ev, "labels.tty", value)
		}
	}
}
