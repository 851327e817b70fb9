package parse

import (
	"strings"

	"fengsui/schemas"
)

// bodies are the parsers of messages, by program. A message that its parser
// does not know is left as it is: the event has it in message.
var bodies map[string]func(ev *schemas.Event, message string)

func init() {
	bodies = map[string]func(*schemas.Event, string){
		"sshd":                     sshd,
		"sshd-session":             sshd, // OpenSSH 9.8 and later
		"sshd-auth":                sshd, // OpenSSH 10 and later
		"sudo":                     sudo,
		"su":                       su,
		"cron":                     cron,
		"crond":                    cron,
		"CRON":                     cron,
		"CROND":                    cron,
		"anacron":                  cron,
		"crontab":                  cron,
		"login":                    login,
		"useradd":                  accounts,
		"usermod":                  accounts,
		"userdel":                  accounts,
		"groupadd":                 accounts,
		"groupmod":                 accounts,
		"groupdel":                 accounts,
		"gpasswd":                  accounts,
		"passwd":                   accounts,
		"chpasswd":                 accounts,
		"chage":                    accounts,
		"systemd":                  systemd,
		"systemd-logind":           logind,
		"kernel":                   kernel,
		"nginx":                    httpBody,
		"httpd":                    httpBody,
		"apache2":                  httpBody,
		"suricata":                 eveBody,
		"ftpd":                     ftpd,
		"vsftpd":                   vsftpd,
		"dovecot":                  dovecot,
		"postfix/smtpd":            postfix,
		"postfix/submission/smtpd": postfix,
		"postfix/smtps/smtpd":      postfix,
		"klogind":                  klogind,
		"rshd":                     klogind,
	}
}

// body reads a message by the program that wrote it, and says whether there is a
// parser for it.
func body(ev *schemas.Event, app, message string) bool {
	message = noSpaces(message)
	if ev.Get(schemas.FieldEventCode).IsNone() {
		ev.SetString(schemas.FieldEventModule, "system")
		ev.SetString(schemas.FieldEventDataset, "system.syslog")
	} else { // a network device's line, by its code
		ev.SetString(schemas.FieldEventModule, "device")
		ev.SetString(schemas.FieldEventDataset, "device.syslog")
	}
	if inner, times, ok := repeated(message); ok {
		label(ev, "labels.repeated", times)
		if message = inner; message == "" {
			return true
		}
	}
	if auditRecord(message) {
		auditd(ev, message)
		return true
	}
	if pam(ev, app, message) {
		return true
	}
	f := bodies[app]
	if f == nil || app == "kernel" && strings.HasPrefix(message, "devid=") { // Venustech's packet filter logs as the kernel it is part of
		return false
	}
	f(ev, message)
	return true
}

// repeated opens rsyslog's "message repeated 5 times: [ … ]"; of the older "last
// message repeated 5 times" nothing is left.
func repeated(s string) (inner, times string, ok bool) {
	s, ok = strings.CutPrefix(strings.TrimPrefix(s, "last "), "message repeated ")
	if !ok {
		return "", "", false
	}
	if times, ok = strings.CutSuffix(s, " times"); ok && allDigits(times) {
		return "", times, true
	}
	times, s, ok = strings.Cut(s, " times: [")
	if _, d := number(times); !ok || d == 0 || d != len(times) {
		return "", "", false
	}
	return strings.TrimSuffix(strings.TrimPrefix(s, " "), "]"), times, true
}
