package parse

import (
	"strings"

	"fengsui/schemas"
)

var (
	mailLogin  = what{"authentication", "start", "mail_login", "success"}
	mailFailed = what{"authentication", "start", "mail_login", "failure"}
)

// dovecot reads what its login processes say when a client has logged in, or has
// gone without: "imap-login: Login: user=<alice>, method=PLAIN, rip=192.0.2.5,
// lip=…" and "imap-login: Disconnected: Connection closed (auth failed, 1 attempts
// in 2 secs): user=<alice>, …", with all the ways in which versions say the
// second.
func dovecot(ev *schemas.Event, s string) {
	service, rest, ok := strings.Cut(s, ": ")
	if !ok || !strings.HasSuffix(service, "-login") {
		return
	}
	w := mailLogin
	switch {
	case strings.HasPrefix(rest, "Login: "), strings.HasPrefix(rest, "Logged in: "):
	case strings.Contains(rest, "auth failed"):
		w = mailFailed
	default:
		return
	}
	i := strings.Index(rest, "user=<")
	if i < 0 {
		return
	}
	user, pairs, ok := strings.Cut(rest[i+len("user=<"):], ">, ")
	if !ok {
		return
	}
	mail(ev, w, user, strings.TrimSuffix(service, "-login"))
	for pairs != "" {
		var pair string
		pair, pairs, _ = strings.Cut(pairs, ", ")
		switch key, value, _ := strings.Cut(pair, "="); key {
		case "rip":
			setSource(ev, value)
		case "lip":
			setDestination(ev, value)
		case "method":
			label(ev, "labels.auth_method", value)
		}
	}
	setNetworkType(ev)
}

// postfix reads what smtpd says of logins: "warning: unknown[192.0.2.5]: SASL
// LOGIN authentication failed: …[, sasl_username=alice]" and "4F1: client=
// host[192.0.2.5], sasl_method=LOGIN, sasl_username=alice". Before version 3.5 a
// failure does not say whose.
func postfix(ev *schemas.Event, s string) {
	_, user, named := cutLast(s, "sasl_username=")
	user, _, _ = strings.Cut(user, ",")
	if rest, ok := strings.CutPrefix(s, "warning: "); ok {
		client, text, ok := strings.Cut(rest, "]: SASL ")
		if !ok || !strings.Contains(text, " authentication failed") {
			return
		}
		mail(ev, mailFailed, user, "smtp")
		postfixClient(ev, client)
		method, _ := word(text)
		label(ev, "labels.auth_method", method)
		return
	}
	_, rest, ok := strings.Cut(s, ": client=")
	client, rest, ok2 := strings.Cut(rest, "], sasl_method=")
	if !ok || !ok2 || !named {
		return
	}
	mail(ev, mailLogin, user, "smtp")
	postfixClient(ev, client)
	method, _, _ := strings.Cut(rest, ",")
	label(ev, "labels.auth_method", method)
}

// postfixClient reads "host[192.0.2.5", the bracket cut off.
func postfixClient(ev *schemas.Event, s string) {
	name, address, ok := cutLast(s, "[")
	if !ok {
		return
	}
	setSource(ev, address)
	if name != "unknown" {
		ev.SetString(schemas.FieldSourceDomain, domain(name))
	}
	setNetworkType(ev)
}

func mail(ev *schemas.Event, w what, user, protocol string) {
	w.set(ev)
	ev.SetString(schemas.FieldEventDataset, "system.mail")
	ev.SetString(schemas.FieldNetworkProtocol, protocol)
	ev.SetString(schemas.FieldUserName, user)
}
