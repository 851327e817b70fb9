package parse

import (
	"strings"

	"fengsui/schemas"
)

// bodyOf is the parser of a program's messages, or nil. A message that it does not
// know is left as it is: the event has it in message.
func bodyOf(app string) func(ev *schemas.Event, message string) {
	switch app {
	case "sshd", "sshd-session", "sshd-auth": // OpenSSH 9.8 and later, 10 and later
		return sshd
	case "sudo":
		return sudo
	case "su":
		return su
	case "cron", "crond", "CRON", "CROND", "anacron", "crontab":
		return cron
	case "login":
		return login
	case "useradd", "usermod", "userdel", "groupadd", "groupmod", "groupdel", "gpasswd", "passwd", "chpasswd", "chage":
		return accounts
	case "systemd":
		return systemd
	case "systemd-logind":
		return logind
	case "kernel":
		return kernel
	case "nginx", "httpd", "apache2":
		return httpBody
	case "suricata":
		return eveBody
	case "ftpd":
		return ftpd
	case "vsftpd":
		return vsftpd
	case "dovecot":
		return dovecot
	case "postfix/smtpd", "postfix/submission/smtpd", "postfix/smtps/smtpd":
		return postfix
	case "klogind", "rshd":
		return klogind
	}
	return nil
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
	f := bodyOf(app)
	if f == nil || app == "kernel" && strings.HasPrefix(message, "devid=") { // Venustech's packet filter logs as the kernel it is part of
		return false
	}
	f(ev, message)
	return true
}

// repeated opens rsyslog's "message repeated 5 times: [ … ]"; of the older "last
// message repeated 5 times" nothing is left.
func repeated(s string) (inner, times string, ok bool) {
	if s == "" || s[0] != 'm' && s[0] != 'l' {
		return "", "", false
	}
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
