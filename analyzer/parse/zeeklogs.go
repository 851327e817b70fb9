package parse

import (
	"strings"
	"time"

	"fengsui/schemas"
)

// The logs of Zeek beyond those that every sensor writes by the million. Their
// fields keep Zeek's own names under zeek.extra, which Sigma's rules ask for, and
// what ECS has a name for is there too. Source: Zeek 7, script reference,
// Info records of base/protocols and base/frameworks.

// zeekAlso writes a field of the catalogue, and keeps it under zeek.extra.
func zeekAlso(name string, set zeekSetter) zeekSetter {
	full := "zeek.extra." + name
	return func(z *zeekRecord, v *jsonValue) {
		set(z, v)
		zeekExtra(z.ev, full, v)
	}
}

// also makes setters that keep what they set under zeek.extra too.
func also(fields map[string]zeekSetter) map[string]zeekSetter {
	for name, set := range fields {
		fields[name] = zeekAlso(name, set)
	}
	return fields
}

func zeekSource(z *zeekRecord, v *jsonValue) { setSource(z.ev, v.first()) }

func zeekHost(z *zeekRecord, v *jsonValue) {
	if ip, ok := canonicalIP(v.text); ok {
		setHostIP(z.ev, ip)
	}
}

func zeekDestination(z *zeekRecord, v *jsonValue) { setDestination(z.ev, v.first()) }

// zeekMomentOf reads a time other than the record's own; one that cannot be read
// is kept under zeek.extra alone.
func zeekMomentOf(id schemas.FieldID) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		read := epoch
		if v.kind == jsonString {
			read = isoUTC
		}
		if t, err := read(v.text); err == nil {
			z.ev.SetTime(id, t)
		}
	}
}

// zeekOutcome is whether it went well.
func zeekOutcome(z *zeekRecord, v *jsonValue) {
	switch v.kind {
	case jsonTrue:
		z.ev.SetString(schemas.FieldEventOutcome, "success")
	case jsonFalse:
		z.ev.SetString(schemas.FieldEventOutcome, "failure")
	}
}

// zeekWord is an outcome in a word, of which one is success.
func zeekWord(success string) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		switch text := v.first(); {
		case strings.EqualFold(text, success):
			z.ev.SetString(schemas.FieldEventOutcome, "success")
		case text != "":
			z.ev.SetString(schemas.FieldEventOutcome, "failure")
		}
	}
}

// zeekReply is a reply of FTP, SMTP or SIP, whose number tells how it went.
func zeekReply(z *zeekRecord, v *jsonValue) {
	text := v.first()
	n, digits := number(text)
	if digits != 3 {
		return
	}
	z.ev.SetString(schemas.FieldEventCode, text[:digits])
	switch {
	case n >= 400:
		z.ev.SetString(schemas.FieldEventOutcome, "failure")
	case n >= 200:
		z.ev.SetString(schemas.FieldEventOutcome, "success")
	}
}

// zeekAction is an event.action made of a word of the log's.
func zeekAction(prefix string) zeekSetter {
	return func(z *zeekRecord, v *jsonValue) {
		text := v.first()
		if i := strings.LastIndex(text, "::"); i >= 0 {
			text = text[i+2:]
		}
		if text != "" && len(text) <= 64 {
			z.ev.SetString(schemas.FieldEventAction, prefix+strings.ReplaceAll(lower(text), " ", "_"))
		}
	}
}

// zeekPrincipal is alice/EXAMPLE.EDU.CN or host$@EXAMPLE.EDU.CN.
func zeekPrincipal(z *zeekRecord, v *jsonValue) {
	text := v.first()
	i := strings.IndexAny(text, "/@")
	if i < 0 {
		i = len(text)
	}
	z.ev.SetString(schemas.FieldUserName, text[:i])
	if i < len(text) {
		z.ev.SetString(schemas.FieldUserDomain, text[i+1:])
	}
}

func zeekURL(z *zeekRecord, v *jsonValue) { setURL(z.ev, v.first(), false) }

func zeekFile(z *zeekRecord, v *jsonValue) {
	if text := v.first(); text != "" {
		z.ev.SetString(schemas.FieldFileName, baseName(text))
		z.ev.SetString(schemas.FieldFilePath, text)
	}
}

// The meanings of the further logs.
var (
	zeekProtocolSeen = what{"network", "protocol", "", ""}
	zeekSeen         = what{"network", "info", "", ""}
	zeekFileSeen     = what{"file", "info", "", ""}
	zeekFileUsed     = what{"file", "access", "", ""}
	zeekLogin        = what{"authentication", "start", "", ""}
	zeekAlert        = what{"intrusion_detection", "info", "", ""}
	zeekStatement    = what{"database", "access", "", ""}
	zeekOfItself     = what{"host", "info", "", ""}
)

// zeekOf is a log of one protocol.
func zeekOf(name, protocol string, w what, fields map[string]zeekSetter, finish func(*zeekRecord)) *zeekPath {
	return &zeekPath{dataset: "zeek." + name, protocol: protocol, what: w, fields: also(fields), finish: finish}
}

func furtherZeekPaths() map[string]*zeekPath {
	text, long := zeekText, zeekLong
	paths := map[string]*zeekPath{
		"files": zeekOf("files", "", zeekFileSeen, map[string]zeekSetter{
			"tx_hosts": zeekSource, "rx_hosts": zeekDestination, "filename": text(schemas.FieldFileName), "sha256": text(schemas.FieldFileHashSHA256),
			"total_bytes": long(schemas.FieldFileSize), "duration": zeekInterval(schemas.FieldEventDuration), "source": zeekService,
		}, nil),
		"pe": zeekOf("pe", "", zeekFileSeen, nil, nil),
		"x509": zeekOf("x509", "tls", zeekSeen, map[string]zeekSetter{
			"fingerprint": func(z *zeekRecord, v *jsonValue) {
				if len(v.text) == 64 {
					z.ev.SetString(schemas.FieldTLSServerHashSHA256, v.text)
				}
			},
			"certificate.subject": text(schemas.FieldTLSServerSubject), "certificate.issuer": text(schemas.FieldTLSServerIssuer),
			"certificate.not_valid_before": zeekMomentOf(schemas.FieldTLSServerNotBefore), "certificate.not_valid_after": zeekMomentOf(schemas.FieldTLSServerNotAfter),
		}, nil),
		"ocsp": zeekOf("ocsp", "ocsp", zeekSeen, nil, nil),
		"quic": zeekOf("quic", "quic", zeekProtocolSeen, map[string]zeekSetter{
			"server_name": zeekDomain(schemas.FieldTLSClientServerName), "client_protocol": text(schemas.FieldTLSNextProtocol),
		}, nil),
		"websocket": zeekOf("websocket", "websocket", zeekProtocolSeen, map[string]zeekSetter{
			"host": func(z *zeekRecord, v *jsonValue) { setHost2(z.ev, v.first()) }, "uri": zeekURL, "user_agent": text(schemas.FieldUserAgentOriginal),
		}, nil),

		// Who is who.
		"dhcp": zeekOf("dhcp", "dhcp", zeekProtocolSeen, map[string]zeekSetter{
			"client_addr": zeekSource, "assigned_addr": zeekSource, "server_addr": zeekDestination, "mac": zeekMAC,
			"host_name": text(schemas.FieldSourceDomain), "client_message": text(schemas.FieldEventReason),
		}, finishDHCP),
		"radius": zeekOf("radius", "radius", zeekLogin, map[string]zeekSetter{
			// The one who asks is a switch or a controller: many people are behind it.
			"id.orig_h": zeekHost, "id.orig_p": zeekIgnore, "framed_addr": zeekSource,
			"username": text(schemas.FieldUserName), "mac": zeekMAC, "reply_msg": text(schemas.FieldEventReason), "result": zeekWord("success"),
		}, func(z *zeekRecord) { z.ev.SetString(schemas.FieldEventAction, "network_login") }),
		"kerberos": zeekOf("kerberos", "kerberos", zeekLogin, map[string]zeekSetter{
			"client": zeekPrincipal, "service": text(schemas.FieldServiceName), "success": zeekOutcome, "error_msg": text(schemas.FieldEventReason),
		}, finishKerberos),
		"ntlm": zeekOf("ntlm", "ntlm", zeekLogin, map[string]zeekSetter{
			"username": text(schemas.FieldUserName), "domainname": text(schemas.FieldUserDomain), "hostname": text(schemas.FieldSourceDomain), "success": zeekOutcome,
		}, func(z *zeekRecord) { z.ev.SetString(schemas.FieldEventAction, "ntlm_login") }),
		"ldap": zeekOf("ldap", "ldap", zeekProtocolSeen, map[string]zeekSetter{
			"opcode": zeekAction("ldap_"), "result": zeekWord("success"), "diagnostic_message": text(schemas.FieldEventReason),
		}, finishLDAP),
		"ldap_search": zeekOf("ldap_search", "ldap", zeekProtocolSeen, map[string]zeekSetter{
			"result": zeekWord("success"), "diagnostic_message": text(schemas.FieldEventReason),
		}, func(z *zeekRecord) { z.ev.SetString(schemas.FieldEventAction, "ldap_search") }),
		"rdp": zeekOf("rdp", "rdp", zeekProtocolSeen, map[string]zeekSetter{
			"cookie": text(schemas.FieldUserName), "client_name": text(schemas.FieldSourceDomain),
		}, nil),
		"rfb": zeekOf("rfb", "rfb", zeekProtocolSeen, map[string]zeekSetter{"auth": zeekOutcome}, nil),
		"socks": zeekOf("socks", "socks", zeekProtocolSeen, map[string]zeekSetter{
			"user": text(schemas.FieldUserName), "status": zeekWord("succeeded"), "request.name": zeekDomain(schemas.FieldURLDomain),
		}, nil),

		// Files and calls within a network.
		"smb_files": zeekOf("smb_files", "smb", zeekFileUsed, map[string]zeekSetter{
			"action": zeekAction(""), "name": zeekFile, "size": long(schemas.FieldFileSize),
		}, nil),
		"smb_mapping": zeekOf("smb_mapping", "smb", zeekFileUsed, map[string]zeekSetter{"path": text(schemas.FieldFilePath)},
			func(z *zeekRecord) { z.ev.SetString(schemas.FieldEventAction, "share_mapped") }),
		"smb_cmd": zeekOf("smb_cmd", "smb", zeekProtocolSeen, map[string]zeekSetter{
			"rtt": zeekInterval(schemas.FieldEventDuration), "username": text(schemas.FieldUserName),
		}, nil),
		"dce_rpc": zeekOf("dce_rpc", "dce_rpc", zeekProtocolSeen, map[string]zeekSetter{"rtt": zeekInterval(schemas.FieldEventDuration)}, nil),

		// Mail, transfers and talk.
		"ftp": zeekOf("ftp", "ftp", zeekProtocolSeen, map[string]zeekSetter{
			"user": text(schemas.FieldUserName), "command": zeekAction("ftp_"), "arg": zeekTransferred, "file_size": long(schemas.FieldFileSize),
			"reply_code": zeekReply, "reply_msg": text(schemas.FieldEventReason),
		}, nil),
		"smtp": zeekOf("smtp", "smtp", what{"email", "info", "", ""}, map[string]zeekSetter{
			"last_reply": func(z *zeekRecord, v *jsonValue) {
				z.ev.SetString(schemas.FieldEventReason, v.first())
				zeekReply(z, v)
			},
			"user_agent": text(schemas.FieldUserAgentOriginal), "helo": text(schemas.FieldSourceDomain),
		}, nil),
		"irc": zeekOf("irc", "irc", zeekProtocolSeen, map[string]zeekSetter{"nick": text(schemas.FieldUserName), "command": zeekAction("irc_")}, nil),
		"sip": zeekOf("sip", "sip", zeekProtocolSeen, map[string]zeekSetter{
			"method": zeekAction("sip_"), "user_agent": text(schemas.FieldUserAgentOriginal), "status_code": zeekReply, "status_msg": text(schemas.FieldEventReason),
		}, nil),
		"mqtt_connect": zeekOf("mqtt_connect", "mqtt", zeekProtocolSeen, map[string]zeekSetter{"connect_status": zeekWord("accepted")}, nil),
		"mysql":        zeekOf("mysql", "mysql", zeekStatement, map[string]zeekSetter{"cmd": zeekAction("mysql_"), "success": zeekOutcome, "response": text(schemas.FieldEventReason)}, nil),
		"postgresql": zeekOf("postgresql", "postgresql", zeekStatement, map[string]zeekSetter{
			"user": text(schemas.FieldUserName), "frontend": zeekAction("postgresql_"), "success": zeekOutcome,
		}, nil),
		"redis":  zeekOf("redis", "redis", zeekStatement, map[string]zeekSetter{"cmd.name": zeekAction("redis_"), "success": zeekOutcome}, nil),
		"snmp":   zeekOf("snmp", "snmp", zeekProtocolSeen, map[string]zeekSetter{"duration": zeekInterval(schemas.FieldEventDuration)}, nil),
		"syslog": zeekOf("syslog", "syslog", zeekProtocolSeen, map[string]zeekSetter{"message": text(schemas.FieldMessage), "severity": zeekLower(schemas.FieldLogLevel)}, nil),
		"tunnel": zeekOf("tunnel", "", what{"network", "connection", "", ""}, map[string]zeekSetter{"action": zeekAction("tunnel_"), "tunnel_type": zeekTunnel}, nil),
		"modbus": zeekOf("modbus", "modbus", zeekProtocolSeen, map[string]zeekSetter{"exception": text(schemas.FieldEventReason)}, nil),

		// What Zeek itself judges, and what it knows of the network.
		"intel": zeekOf("intel", "", what{"threat", "indicator", "intel_match", ""}, map[string]zeekSetter{
			"seen.indicator": text(schemas.FieldRuleName), "seen.indicator_type": text(schemas.FieldRuleCategory), "seen.where": text(schemas.FieldEventReason),
		}, zeekIsAlert),
		"signatures": zeekOf("signatures", "", zeekAlert, map[string]zeekSetter{
			"sig_id": text(schemas.FieldRuleID), "event_msg": text(schemas.FieldRuleName), "note": text(schemas.FieldRuleCategory), "sub_msg": text(schemas.FieldEventReason),
			"src_addr": zeekSource, "src_port": long(schemas.FieldSourcePort), "dst_addr": zeekDestination, "dst_port": long(schemas.FieldDestinationPort),
		}, func(z *zeekRecord) {
			zeekIsAlert(z)
			setNetworkType(z.ev)
		}),
		"weird": zeekOf("weird", "", zeekSeen, map[string]zeekSetter{"name": text(schemas.FieldRuleName), "addl": text(schemas.FieldEventReason)}, nil),
		"traceroute": zeekOf("traceroute", "", zeekSeen, map[string]zeekSetter{
			"src": zeekSource, "dst": zeekDestination,
		}, func(z *zeekRecord) {
			z.ev.SetString(schemas.FieldEventAction, "traceroute")
			setNetworkType(z.ev)
		}),
		"software":    zeekOf("software", "", zeekSeen, map[string]zeekSetter{"host": zeekSource, "host_p": long(schemas.FieldSourcePort)}, finishAddresses),
		"known_hosts": zeekOf("known_hosts", "", zeekSeen, map[string]zeekSetter{"host": zeekSource}, finishAddresses),
		"known_services": zeekOf("known_services", "", zeekSeen, map[string]zeekSetter{
			"host": zeekDestination, "port_num": long(schemas.FieldDestinationPort), "port_proto": zeekLower(schemas.FieldNetworkTransport),
			"service": zeekService,
		}, finishAddresses),
		"known_certs": zeekOf("known_certs", "tls", zeekSeen, map[string]zeekSetter{
			"host": zeekDestination, "port_num": long(schemas.FieldDestinationPort), "subject": text(schemas.FieldTLSServerSubject), "issuer_subject": text(schemas.FieldTLSServerIssuer),
		}, finishAddresses),
		"dpd":      zeekOf("dpd", "", zeekSeen, map[string]zeekSetter{"failure_reason": text(schemas.FieldEventReason)}, nil),
		"analyzer": zeekOf("analyzer", "", zeekSeen, map[string]zeekSetter{"failure_reason": text(schemas.FieldEventReason)}, nil),
		"reporter": zeekOf("reporter", "", zeekOfItself, map[string]zeekSetter{
			"message": text(schemas.FieldMessage), "level": func(z *zeekRecord, v *jsonValue) {
				z.ev.SetString(schemas.FieldLogLevel, lower(v.first()[strings.LastIndex(v.first(), ":")+1:]))
			},
		}, nil),
		"capture_loss": zeekOf("capture_loss", "", zeekOfItself, nil, zeekIsMetric),
		"stats":        zeekOf("stats", "", zeekOfItself, nil, zeekIsMetric),
	}
	for _, name := range []string{"dnp3", "ntp", "mqtt_publish", "mqtt_subscribe"} {
		protocol, _, _ := strings.Cut(name, "_")
		paths[name] = zeekOf(name, protocol, zeekProtocolSeen, nil, nil)
	}
	return paths
}

func zeekIsAlert(z *zeekRecord) { z.ev.SetString(schemas.FieldEventKind, "alert") }

func zeekIsMetric(z *zeekRecord) { z.ev.SetString(schemas.FieldEventKind, "metric") }

// finishAddresses says the version of an address that is not the connection's.
func finishAddresses(z *zeekRecord) { setNetworkType(z.ev) }

func zeekMAC(z *zeekRecord, v *jsonValue) {
	if mac, ok := toMAC(nil, nil, v.first()); ok {
		z.ev.Set(schemas.FieldSourceMAC, mac)
	}
}

func zeekTunnel(z *zeekRecord, v *jsonValue) {
	text := v.first()
	z.ev.SetString(schemas.FieldNetworkProtocol, lower(text[strings.LastIndex(text, ":")+1:]))
}

// zeekTransferred is what an FTP command is about: a URL.
func zeekTransferred(z *zeekRecord, v *jsonValue) {
	if text := v.first(); strings.HasPrefix(text, "ftp://") {
		zeekURL(z, v)
		zeekFile(z, &jsonValue{kind: jsonString, text: z.ev.Str(schemas.FieldURLPath)})
	}
}

// finishDHCP says what became of an address. A lease ends when its time has run
// out.
func finishDHCP(z *zeekRecord) {
	ev := z.ev
	setNetworkType(ev)
	switch messages := ev.Lookup("zeek.extra.msg_types").Text(); {
	case strings.Contains(messages, "RELEASE"):
		ev.SetString(schemas.FieldEventAction, "address_released")
		ev.SetString(schemas.FieldEventType, "end")
	case strings.Contains(messages, "ACK") && !strings.Contains(messages, "NAK"):
		ev.SetString(schemas.FieldEventAction, "address_assigned")
		ev.SetString(schemas.FieldEventType, "start")
		ev.SetString(schemas.FieldEventOutcome, "success")
		if us, ok := micros(ev.Lookup("zeek.extra.lease_time").Text()); ok && us > 0 && us < 1e15 && !ev.Time().IsZero() {
			ev.SetTime(schemas.FieldEventEnd, ev.Time().Add(time.Duration(us)*time.Microsecond))
		}
	case strings.Contains(messages, "NAK"), strings.Contains(messages, "DECLINE"):
		ev.SetString(schemas.FieldEventOutcome, "failure")
	}
}

// preauthRequired is what every client is told first: no failure, and no login yet.
const preauthRequired = "KDC_ERR_PREAUTH_REQUIRED"

// finishKerberos says what was asked for: a ticket for oneself, as at a login, or
// one for a service.
func finishKerberos(z *zeekRecord) {
	ev := z.ev
	if ev.Str(schemas.FieldEventReason) == preauthRequired {
		ev.SetString(schemas.FieldEventOutcome, "unknown")
		return
	}
	switch kind := ev.Lookup("zeek.extra.request_type").Text(); {
	case kind == "AS" && ev.Has(schemas.FieldEventOutcome):
		ev.SetString(schemas.FieldEventAction, "kerberos_ticket_requested")
	case kind == "TGS":
		ev.SetString(schemas.FieldEventType, "info")
		ev.SetString(schemas.FieldEventAction, "kerberos_service_ticket_requested")
	}
}

// finishLDAP makes a login of a bind.
func finishLDAP(z *zeekRecord) {
	ev := z.ev
	if strings.HasPrefix(ev.Str(schemas.FieldEventAction), "ldap_bind") {
		ev.SetString(schemas.FieldEventCategory, "authentication")
		ev.SetString(schemas.FieldEventType, "start")
		ev.SetString(schemas.FieldUserName, ev.Lookup("zeek.extra.object").Text())
	}
}
