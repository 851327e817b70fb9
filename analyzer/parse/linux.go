package parse

import (
	"strings"

	"fengsui/schemas"
)

var (
	sudoRun      = what{"process", "start", "sudo_command", "success"}
	sudoFailed   = what{"authentication", "denied", "sudo_command", "failure"}
	suSwitched   = what{"authentication", "start", "su", "success"}
	suFailed     = what{"authentication", "start", "su", "failure"}
	cronRun      = what{"process", "start", "cron_command", "success"}
	cronEnd      = what{"process", "end", "cron_command", "success"}
	cronChanged  = what{"configuration", "change", "crontab_changed", "success"}
	loginOK      = what{"authentication", "start", "login", "success"}
	loginFailed  = what{"authentication", "start", "login", "failure"}
	userAdded    = what{"iam", "creation", "user_added", "success"}
	userFailed   = what{"iam", "creation", "user_added", "failure"}
	userDeleted  = what{"iam", "deletion", "user_deleted", "success"}
	userChanged  = what{"iam", "change", "user_changed", "success"}
	groupAdded   = what{"iam", "creation", "group_added", "success"}
	groupDeleted = what{"iam", "deletion", "group_deleted", "success"}
	groupChanged = what{"iam", "change", "group_changed", "success"}
	memberAdded  = what{"iam", "change", "group_member_added", "success"}
	memberGone   = what{"iam", "change", "group_member_removed", "success"}
	unitStarted  = what{"process", "start", "service_started", "success"}
	unitStopped  = what{"process", "end", "service_stopped", "success"}
	unitFailed   = what{"process", "info", "service_failed", "failure"}
	logindNew    = what{"session", "start", "session_opened", "success"}
	logindEnd    = what{"session", "end", "session_closed", "success"}
	packetLog    = what{"network", "connection", "packet_logged", ""}
	packetDeny   = what{"network", "denied", "packet_dropped", ""}
	packetAllow  = what{"network", "allowed", "packet_accepted", ""}
	outOfMemory  = what{"process", "end", "out_of_memory_kill", "success"}
	crashed      = what{"process", "end", "segmentation_fault", "failure"}
	promiscuous  = what{"network", "info", "promiscuous_mode", ""}
	ftpConnected = what{"network", "start", "ftp_connect", ""}
	ftpLogin     = what{"authentication", "start", "ftp_login", "success"}
	ftpFailed    = what{"authentication", "start", "ftp_login", "failure"}
	krbFailed    = what{"authentication", "start", "kerberos_login", "failure"}
)

// sudo reads "alice : [reason ; ]TTY=… ; PWD=… ; USER=… ; COMMAND=…". The
// command is last and may hold " ; " itself.
func sudo(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	user, rest, ok := strings.Cut(s, " : ")
	if !ok || strings.IndexByte(user, ' ') >= 0 {
		return
	}
	w := sudoRun
	for rest != "" {
		if command, ok := strings.CutPrefix(rest, "COMMAND="); ok {
			ev.SetString(schemas.FieldProcessCommandLine, command)
			program, _ := word(command)
			ev.SetString(schemas.FieldProcessExecutable, program)
			break
		}
		var part string
		part, rest, _ = strings.Cut(rest, " ; ")
		part = strings.Trim(part, " ")
		switch key, value, pair := strings.Cut(part, "="); {
		case !pair:
			ev.SetString(schemas.FieldEventReason, part)
			if part != "(command continued)" {
				w = sudoFailed
			}
		case key == "PWD":
			ev.SetString(schemas.FieldProcessWorkingDirectory, value)
		case key == "USER":
			ev.SetString(schemas.FieldUserEffectiveName, value)
		case key == "GROUP":
			ev.SetString(schemas.FieldGroupName, value)
		case key == "TTY":
			label(ev, "labels.tty", value)
		case key == "HOST":
			label(ev, "labels.sudo_host", value)
		}
	}
	ev.SetString(schemas.FieldUserName, user)
	w.set(ev)
}

// su reads util-linux's "(to root) alice on pts/0" and "FAILED SU (to root)
// alice on pts/0", and shadow's "Successful su for root by alice".
func su(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	failed := false
	if rest, ok := strings.CutPrefix(s, "FAILED SU "); ok {
		failed, s = true, rest
	} else if rest, ok := strings.CutPrefix(s, "FAILED su for "); ok {
		failed, s = true, "for "+rest
	} else if rest, ok := strings.CutPrefix(s, "Successful su "); ok {
		s = rest
	}
	var to, by string
	if rest, ok := strings.CutPrefix(s, "(to "); ok {
		to, rest, ok = strings.Cut(rest, ") ")
		if !ok {
			return
		}
		var tty string
		by, tty, _ = cutLast(rest, " on ")
		label(ev, "labels.tty", tty)
	} else if rest, ok := strings.CutPrefix(s, "for "); ok {
		to, by, _ = cutLast(rest, " by ")
	} else if len(s) > 2 && (s[0] == '+' || s[0] == '-') && s[1] == ' ' { // "+ /dev/pts/0 alice:root"
		failed = s[0] == '-'
		tty, users := word(s[2:])
		label(ev, "labels.tty", tty)
		by, to, _ = cutLast(users, ":")
	} else {
		return
	}
	ev.SetString(schemas.FieldUserName, by)
	ev.SetString(schemas.FieldUserEffectiveName, to)
	if failed {
		suFailed.set(ev)
	} else {
		suSwitched.set(ev)
	}
}

// cron reads "(root) CMD (command)" of Vixie cron, cronie and Debian's.
func cron(ev *schemas.Event, s string) {
	rest, ok := strings.CutPrefix(s, "(")
	if !ok {
		return
	}
	user, rest, ok := strings.Cut(rest, ") ")
	if !ok {
		return
	}
	verb, rest := word(rest)
	command := strings.TrimSuffix(strings.TrimPrefix(rest, "("), ")")
	switch verb {
	case "CMD", "CMDEND":
		ev.SetString(schemas.FieldProcessCommandLine, strings.TrimSpace(command))
		ev.SetString(schemas.FieldUserName, user)
		if verb == "CMD" {
			cronRun.set(ev)
		} else {
			cronEnd.set(ev)
		}
	case "RELOAD", "REPLACE", "BEGIN", "END", "DELETE", "LIST":
		ev.SetString(schemas.FieldUserName, user)
		if verb == "REPLACE" || verb == "DELETE" {
			cronChanged.set(ev)
		}
	}
}

// login reads login(1): "FAILED LOGIN (1) on '/dev/tty1' FOR 'bob', …", "ROOT
// LOGIN on '/dev/tty1'", "LOGIN ON tty1 BY bob".
func login(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	switch {
	case strings.HasPrefix(s, "FAILED LOGIN "):
		if _, user, ok := strings.Cut(s, " FOR "); ok {
			user, reason, _ := strings.Cut(user, ", ")
			ev.SetString(schemas.FieldUserName, strings.Trim(user, "`'"))
			ev.SetString(schemas.FieldEventReason, reason)
		}
		loginFailed.set(ev)
	case strings.HasPrefix(s, "ROOT LOGIN "):
		ev.SetString(schemas.FieldUserName, "root")
		loginOK.set(ev)
	case strings.HasPrefix(s, "LOGIN ON "):
		if _, user, ok := strings.Cut(s, " BY "); ok {
			user, _, _ = strings.Cut(user, " FROM ")
			ev.SetString(schemas.FieldUserName, user)
		}
		loginOK.set(ev)
	}
}

// accounts reads the shadow tools: useradd, usermod, userdel, groupadd, gpasswd,
// passwd and their like.
func accounts(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	switch {
	case strings.HasPrefix(s, "new user: "):
		accountPairs(ev, s[len("new user: "):], schemas.FieldUserTargetName)
		userAdded.set(ev)
	case strings.HasPrefix(s, "failed adding user "):
		ev.SetString(schemas.FieldUserTargetName, quoted(s))
		userFailed.set(ev)
	case strings.HasPrefix(s, "delete user "):
		ev.SetString(schemas.FieldUserTargetName, quoted(s))
		userDeleted.set(ev)
	case strings.HasPrefix(s, "new group: "):
		accountPairs(ev, s[len("new group: "):], schemas.FieldGroupName)
		groupAdded.set(ev)
	case strings.HasPrefix(s, "removed group "), strings.HasPrefix(s, "removed shadow group "),
		strings.HasPrefix(s, "group '") && strings.Contains(s, "' removed"):
		ev.SetString(schemas.FieldGroupName, quoted(s))
		groupDeleted.set(ev)
	case strings.HasPrefix(s, "group changed in "), strings.HasPrefix(s, "change group "):
		ev.SetString(schemas.FieldGroupName, quoted(s))
		groupChanged.set(ev)
	case strings.HasPrefix(s, "add '"):
		ev.SetString(schemas.FieldUserTargetName, quoted(s))
		if _, group, ok := strings.Cut(s, "group "); ok {
			ev.SetString(schemas.FieldGroupName, quoted(group))
		}
		memberAdded.set(ev)
	case strings.HasPrefix(s, "user ") && strings.Contains(s, " by "): // gpasswd
		gpasswd(ev, s[len("user "):])
	case strings.HasPrefix(s, "password for '"):
		ev.SetString(schemas.FieldUserTargetName, quoted(s))
		if _, by, ok := strings.Cut(s, " changed by "); ok {
			ev.SetString(schemas.FieldUserName, quoted(by))
		}
		pamPassword.set(ev)
	case strings.HasPrefix(s, "change user "), strings.HasPrefix(s, "changed user "), strings.HasPrefix(s, "lock user "),
		strings.HasPrefix(s, "unlock user "), strings.HasPrefix(s, "changed password expiry for "):
		name := quoted(s)
		if name == "" {
			name, _ = word(s[strings.LastIndex(s, " ")+1:])
		}
		ev.SetString(schemas.FieldUserTargetName, name)
		userChanged.set(ev)
	}
}

// gpasswd reads "bob added by root to group docker".
func gpasswd(ev *schemas.Event, s string) {
	user, rest := word(s)
	verb, rest := word(rest)
	by, rest, _ := strings.Cut(strings.TrimPrefix(rest, "by "), " ")
	if verb != "added" && verb != "removed" {
		return
	}
	ev.SetString(schemas.FieldUserTargetName, user)
	ev.SetString(schemas.FieldUserName, by)
	if i := strings.LastIndex(rest, "group "); i >= 0 {
		ev.SetString(schemas.FieldGroupName, rest[i+len("group "):])
	}
	if verb == "added" {
		memberAdded.set(ev)
	} else {
		memberGone.set(ev)
	}
}

// accountPairs reads "name=bob, UID=1001, GID=1001, home=/home/bob, shell=…".
func accountPairs(ev *schemas.Event, s string, name schemas.FieldID) {
	for s != "" {
		var pair string
		pair, s, _ = strings.Cut(s, ", ")
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "name":
			ev.SetString(name, value)
		case "UID":
			label(ev, "labels.uid", value)
		case "GID":
			label(ev, "labels.gid", value)
		case "home":
			label(ev, "labels.home", value)
		case "shell":
			label(ev, "labels.shell", value)
		case "from":
			label(ev, "labels.tty", value)
		}
	}
}

// quoted is what stands between the first pair of single quotes.
func quoted(s string) string {
	_, s, _ = strings.Cut(s, "'")
	s, _, ok := strings.Cut(s, "'")
	if !ok {
		return ""
	}
	return s
}

// systemd reads "Started X." and "x.service: Failed with result 'exit-code'.".
func systemd(ev *schemas.Event, s string) {
	verb, rest := word(s)
	switch {
	case verb == "Started":
		unitStarted.set(ev)
	case verb == "Stopped":
		unitStopped.set(ev)
	case verb == "Failed" && strings.HasPrefix(rest, "to start "):
		rest = rest[len("to start "):]
		unitFailed.set(ev)
	case strings.HasSuffix(verb, ".service:"):
		ev.SetString(schemas.FieldServiceName, strings.TrimSuffix(verb, ":"))
		if strings.HasPrefix(rest, "Failed with result ") {
			ev.SetString(schemas.FieldEventReason, quoted(rest))
			unitFailed.set(ev)
		}
		return
	default:
		return
	}
	// "cron.service - Regular background program processing daemon." since 249
	name, _, _ := strings.Cut(rest, " - ")
	ev.SetString(schemas.FieldServiceName, strings.TrimRight(name, "."))
}

// logind reads "New session 5 of user alice.".
func logind(ev *schemas.Event, s string) {
	ev.SetString(schemas.FieldEventDataset, "system.auth")
	switch {
	case strings.HasPrefix(s, "New session "):
		id, rest := word(s[len("New session "):])
		if user, ok := strings.CutPrefix(rest, "of user "); ok {
			ev.SetString(schemas.FieldUserName, strings.TrimSuffix(user, "."))
		}
		label(ev, "labels.session", strings.Trim(id, "'"))
		logindNew.set(ev)
	case strings.HasPrefix(s, "Removed session "):
		label(ev, "labels.session", strings.Trim(s[len("Removed session "):], "'."))
		logindEnd.set(ev)
	}
}

// kernel reads netfilter's packet log, the out-of-memory killer and crashes.
func kernel(ev *schemas.Event, s string) {
	if strings.HasPrefix(s, "[") { // time since boot
		if _, rest, ok := strings.Cut(s, "] "); ok && strings.IndexByte("[ 0123456789", s[1]) >= 0 {
			s = rest
		}
	}
	if record := strings.TrimPrefix(s, "audit: "); kernelAudit(record) {
		auditd(ev, record)
		return
	}
	switch {
	case strings.Contains(s, "IN=") && strings.Contains(s, " SRC=") && strings.Contains(s, " DST="):
		netfilter(ev, s)
	case strings.HasPrefix(s, "Out of memory: Kill"):
		if _, rest, ok := strings.Cut(s, " process "); ok {
			pid, rest := word(rest)
			setWhole(ev, schemas.FieldProcessPID, pid)
			name, _, _ := strings.Cut(strings.TrimPrefix(rest, "("), ")")
			ev.SetString(schemas.FieldProcessName, name)
			outOfMemory.set(ev)
		}
	case strings.Contains(s, "]: segfault at "):
		name, rest, _ := strings.Cut(s, "[")
		pid, _, _ := strings.Cut(rest, "]")
		ev.SetString(schemas.FieldProcessName, name)
		setWhole(ev, schemas.FieldProcessPID, pid)
		crashed.set(ev)
	case strings.Contains(s, " entered promiscuous mode"):
		promiscuous.set(ev)
	}
}

// netfilter reads "[UFW BLOCK] IN=eth0 OUT= MAC=… SRC=… DST=… PROTO=TCP SPT=…".
// What was done stands only in the prefix that the administrator chose.
func netfilter(ev *schemas.Event, s string) {
	i := strings.Index(s, "IN=")
	prefix := strings.Trim(s[:i], " :[]")
	w := packetLog
	switch upper := strings.ToUpper(prefix); {
	case containsAny(upper, "BLOCK", "DROP", "DENY", "DENIED", "REJECT"):
		w = packetDeny
	case containsAny(upper, "ALLOW", "ACCEPT"):
		w = packetAllow
	}
	w.set(ev)
	ev.SetString(schemas.FieldRuleName, prefix)
	ev.SetString(schemas.FieldEventDataset, "system.netfilter")
	for rest := s[i:]; rest != ""; {
		var pair string
		pair, rest = word(rest)
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		switch key {
		case "IN":
			ev.SetString(schemas.FieldObserverIngressInterfaceName, value)
		case "OUT":
			ev.SetString(schemas.FieldObserverEgressInterfaceName, value)
		case "SRC":
			setSource(ev, value)
		case "DST":
			setDestination(ev, value)
		case "SPT":
			setWhole(ev, schemas.FieldSourcePort, value)
		case "DPT":
			setWhole(ev, schemas.FieldDestinationPort, value)
		case "PROTO":
			ev.SetString(schemas.FieldNetworkTransport, lower(value))
		case "LEN":
			if ev.Get(schemas.FieldNetworkBytes).IsNone() { // a second LEN is UDP's own
				setWhole(ev, schemas.FieldNetworkBytes, value)
			}
		}
	}
	setNetworkType(ev)
}

func containsAny(s string, words ...string) bool {
	for _, w := range words {
		if strings.Contains(s, w) {
			return true
		}
	}
	return false
}

// setNetworkType says ipv4 or ipv6 by the source's address.
func setNetworkType(ev *schemas.Event) {
	switch ip := ev.Str(schemas.FieldSourceIP); {
	case ip == "":
	case strings.IndexByte(ip, ':') >= 0:
		ev.SetString(schemas.FieldNetworkType, "ipv6")
	default:
		ev.SetString(schemas.FieldNetworkType, "ipv4")
	}
}

// ftpd reads "connection from 192.0.2.5 (host) at …" of the BSD server.
func ftpd(ev *schemas.Event, s string) {
	if rest, ok := strings.CutPrefix(s, "connection from "); ok {
		address, rest := word(rest)
		setSource(ev, address)
		name, _, _ := strings.Cut(strings.TrimPrefix(rest, "("), ")")
		ev.SetString(schemas.FieldSourceDomain, domain(name))
		ev.SetString(schemas.FieldNetworkProtocol, "ftp")
		ftpConnected.set(ev)
	}
}

// vsftpd reads "[alice] FAIL LOGIN: Client "192.0.2.5"" and its like.
func vsftpd(ev *schemas.Event, s string) {
	_, client, ok := strings.Cut(s, `Client "`)
	if !ok {
		return
	}
	client, _, _ = strings.Cut(client, `"`)
	setSource(ev, client)
	ev.SetString(schemas.FieldNetworkProtocol, "ftp")
	head, rest, ok := strings.Cut(s, "] ")
	if i := strings.LastIndexByte(head, '['); ok && i >= 0 {
		ev.SetString(schemas.FieldUserName, head[i+1:])
	} else {
		rest = s
	}
	switch {
	case strings.HasPrefix(rest, "OK LOGIN"):
		ftpLogin.set(ev)
	case strings.HasPrefix(rest, "FAIL LOGIN"):
		ftpFailed.set(ev)
	case strings.HasPrefix(rest, "CONNECT"):
		ftpConnected.set(ev)
	}
}

// klogind reads "Authentication failed from 192.0.2.5 (host): …" of the
// kerberised r-services.
func klogind(ev *schemas.Event, s string) {
	if rest, ok := strings.CutPrefix(s, "Authentication failed from "); ok {
		address, rest := word(rest)
		setSource(ev, address)
		_, reason, _ := strings.Cut(rest, ": ")
		ev.SetString(schemas.FieldEventReason, reason)
		krbFailed.set(ev)
	} else if strings.HasPrefix(s, "Kerberos authentication failed") {
		krbFailed.set(ev)
	}
}

// httpBody reads a web server's line that came by syslog: an access line, or an
// error line as far as it is one.
func httpBody(ev *schemas.Event, s string) {
	module := "apache"
	if ev.Str(schemas.FieldProcessName) == "nginx" {
		module = "nginx"
	}
	if looksAccess(s) && accessLine(ev, s) == nil {
		ev.SetString(schemas.FieldEventModule, module)
		ev.SetString(schemas.FieldEventDataset, module+".access")
	}
}

// tagBodyUnparsed marks a sound syslog line around a broken record.
const tagBodyUnparsed = "body_unparsed"

// eveBody reads a Suricata event that came by syslog.
func eveBody(ev *schemas.Event, s string) {
	s = strings.TrimPrefix(s, "@cee: ")
	if strings.HasPrefix(s, "{") && parseSuricata(ev, s) != nil {
		addTag(ev, tagBodyUnparsed) // the header is sound, and message has it all
	}
}
