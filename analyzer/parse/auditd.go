package parse

import (
	"encoding/hex"
	"strings"

	"fengsui/schemas"
)

// maxAuditKeys bounds the fields of one record of the audit daemon.
const maxAuditKeys = maxKeys

// auditRecord says whether a message is a record of Linux's audit daemon, as in
// /var/log/audit/audit.log or as its syslog plugin sends it:
//
//	type=EXECVE msg=audit(1735689600.123:77): argc=2 a0="cat" a1="/etc/shadow"
func auditRecord(s string) bool {
	if !strings.HasPrefix(s, "type=") && !strings.HasPrefix(s, "node=") {
		return false
	}
	return strings.Contains(s[:min(len(s), 512)], " msg=audit(")
}

// kernelAudit says whether a message of the kernel's is an audit record, which it
// writes itself where no audit daemon runs:
//
//	audit: type=1400 audit(1735689600.123:77): apparmor="DENIED" operation="open" …
func kernelAudit(s string) bool {
	return strings.HasPrefix(s, "type=") && strings.Contains(s[:min(len(s), 64)], " audit(")
}

// auditTypes are the names of the types that the kernel writes by number: those of
// linux/audit.h that are about access.
var auditTypes = map[string]string{
	"1300": "SYSCALL", "1302": "PATH", "1305": "CONFIG_CHANGE", "1307": "CWD", "1309": "EXECVE", "1320": "EOE", "1325": "NETFILTER_CFG", "1326": "SECCOMP",
	"1327": "PROCTITLE", "1334": "BPF", "1400": "AVC", "1404": "MAC_STATUS", "1403": "MAC_POLICY_LOAD", "1700": "ANOM_PROMISCUOUS", "1701": "ANOM_ABEND",
}

// auditd keeps a record's fields under labels., as they are named there, and
// says the best known of them in the catalogue's names, too. The names that
// ENRICHED records add (SYSCALL=openat AUID="root") are fields like the others.
func auditd(ev *schemas.Event, s string) {
	head, rest, ok := strings.Cut(s, " msg=audit(")
	if !ok {
		head, rest, _ = strings.Cut(s, " audit(")
	}
	stamp, rest, ok := strings.Cut(rest, "):")
	if !ok {
		return
	}
	ev.SetString(schemas.FieldEventModule, "auditd")
	ev.SetString(schemas.FieldEventDataset, "auditd.log")
	ev.SetString(schemas.FieldHostOSType, "linux")
	at, serial, _ := strings.Cut(stamp, ":")
	if t, err := epoch(at); err == nil {
		ev.SetTime(schemas.FieldTimestamp, t)
	}
	label(ev, "labels.audit_id", serial)
	r := auditReader{ev: ev}
	r.fields(head)
	r.fields(r.selinux(rest))
	r.confined()
	if len(r.command) > 0 {
		ev.SetString(schemas.FieldProcessCommandLine, strings.Join(r.command, " "))
	}
}

type auditReader struct {
	ev      *schemas.Event
	kind    string   // type of the record
	command []string // of EXECVE
	confine confinement
	keys    int
}

// confinement is what AppArmor or SELinux says of an access by a program that it
// confines.
type confinement struct{ by, verdict, operation, profile, name, path, family string }

// selinux reads the words of a record of SELinux's, and returns the fields behind
// them:
//
//	avc:  denied  { read open } for  pid=1234 comm="httpd" name="shadow" …
func (r *auditReader) selinux(s string) string {
	words, ok := strings.CutPrefix(strings.TrimLeft(s, " "), "avc:")
	if !ok {
		return s
	}
	verdict, rest, ok := strings.Cut(words, "{")
	operation, rest, closed := strings.Cut(rest, "}")
	if verdict = strings.TrimSpace(verdict); !ok || !closed || verdict != "denied" && verdict != "granted" {
		return s
	}
	r.confine.by, r.confine.verdict, r.confine.operation = "selinux", verdict, strings.TrimSpace(operation)
	label(r.ev, "labels.operation", r.confine.operation)
	return rest
}

func (r *auditReader) confined() {
	c := &r.confine
	if c.verdict == "" {
		return
	}
	if c.profile != "" {
		r.ev.SetString(schemas.FieldRuleName, c.profile)
	}
	file := c.path
	if file == "" {
		file = c.name
	}
	switch c.verdict {
	case "STATUS": // of AppArmor; name is that of a profile
		if strings.HasPrefix(c.operation, "profile_") {
			r.ev.SetString(schemas.FieldRuleName, c.name)
			what{"configuration", "change", "apparmor_profile_changed", ""}.set(r.ev)
		}
		return
	case "ALLOWED", "granted", "permissive": // the profile only complains
		what{"process", "allowed", c.by + "_allowed", "success"}.set(r.ev)
	case "DENIED", "denied":
		category := "process"
		if c.family != "" {
			category = "network"
		} else if c.by == "selinux" && file != "" || strings.HasPrefix(file, "/") && c.operation != "exec" {
			category = "file"
		}
		what{category, "denied", c.by + "_denied", "failure"}.set(r.ev)
	}
	if strings.HasPrefix(file, "/") {
		r.ev.SetString(schemas.FieldFilePath, file)
	}
}

// fields reads key=value, the value in quotes or not; msg='…' holds more of
// them.
func (r *auditReader) fields(s string) {
	for r.keys < maxAuditKeys {
		s = strings.TrimLeft(s, " \x1d")
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return
		}
		if i := strings.LastIndexAny(key, " \x1d"); i >= 0 { // words without a value
			key = key[i+1:]
		}
		var value string
		quoted := rest != "" && (rest[0] == '"' || rest[0] == '\'')
		if quoted {
			value, s, _ = strings.Cut(rest[1:], rest[:1])
		} else {
			i := strings.IndexAny(rest, " \x1d")
			if i < 0 {
				i = len(rest)
			}
			value, s = rest[:i], rest[i:]
		}
		r.keys++
		if key == "msg" && quoted {
			r.fields(value)
			continue
		}
		r.field(key, value, quoted)
	}
}

func (r *auditReader) field(key, value string, quoted bool) {
	argument := r.kind == "EXECVE" && len(key) > 1 && key[0] == 'a' && isNumber(key[1:])
	switch key {
	case "name", "proctitle", "comm", "exe", "cwd", "cmd", "data":
		if !quoted {
			value = auditText(value)
		}
	default:
		if argument && !quoted {
			value = auditText(value)
		}
	}
	if key == "" || value == "" || value == "(null)" {
		return
	}
	if argument {
		r.command = append(r.command, value)
	}
	label(r.ev, "labels."+key, value)
	switch key {
	case "apparmor":
		r.confine.by, r.confine.verdict = key, value
	case "operation":
		r.confine.operation = value
	case "profile":
		r.confine.profile = value
	case "family":
		r.confine.family = value
	case "tclass":
		if strings.HasSuffix(value, "_socket") {
			r.confine.family = value
		}
	case "permissive":
		if value == "1" && r.confine.verdict == "denied" {
			r.confine.verdict = key
		}
	case "path":
		r.confine.path = value
	case "pid":
		setWhole(r.ev, schemas.FieldProcessPID, value)
	case "type":
		if name, ok := auditTypes[value]; ok {
			value = name
			label(r.ev, "labels.type", name)
		}
		r.kind = value
		r.ev.SetString(schemas.FieldEventAction, lower(value))
	case "node":
		r.ev.SetString(schemas.FieldHostName, value)
	case "exe":
		r.ev.SetString(schemas.FieldProcessExecutable, value)
	case "comm":
		r.ev.SetString(schemas.FieldProcessName, value)
	case "cwd":
		r.ev.SetString(schemas.FieldProcessWorkingDirectory, value)
	case "name":
		if r.confine.verdict != "" {
			r.confine.name = value
		} else {
			r.ev.SetString(schemas.FieldFilePath, value)
		}
	case "acct":
		r.ev.SetString(schemas.FieldUserName, value)
	case "addr":
		r.ev.SetIP(schemas.FieldSourceIP, value)
	case "res", "success":
		switch value {
		case "success", "yes", "1":
			r.ev.SetString(schemas.FieldEventOutcome, "success")
		case "failed", "no", "0":
			r.ev.SetString(schemas.FieldEventOutcome, "failure")
		}
	}
}

func isNumber(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// auditText decodes a text that has spaces or quotes: the daemon writes it in
// hexadecimal, with NUL between the words of a command line.
func auditText(s string) string {
	if len(s)%2 != 0 || strings.Trim(s, "0123456789ABCDEF") != "" {
		return s
	}
	b, err := hex.DecodeString(s)
	if err != nil {
		return s
	}
	return strings.ReplaceAll(strings.TrimRight(string(b), "\x00"), "\x00", " ")
}
