package parse

import (
	"strings"
	"time"

	"fengsui/schemas"
)

// The further types of Suricata's EVE. Their fields keep Suricata's names under
// suricata.eve, and what ECS has a name for is there too. Source: Suricata 7 and 8
// User Guide, EVE JSON Format.

// eveAlso writes a field of the catalogue, and keeps it under suricata.eve.
func eveAlso(name string, set eveSetter) eveSetter {
	full := "suricata.eve." + name
	return func(e *eve, v *jsonValue) {
		set(e, v)
		keep(e.ev, full, v)
	}
}

// eveFacts are what one event says that only all of it together has a
// meaning for.
type eveFacts struct {
	command string // of a protocol of commands
	code    string // of the reply
	message string // krb5: msg_type; dhcp: dhcp_type
	request string // krb5: failed_request; ldap: operation
	granted string // dhcp: the address
	seconds string // dhcp: how long
}

func eveFact(of func(f *eveFacts) *string) eveSetter {
	return func(e *eve, v *jsonValue) {
		if at := of(&e.facts); *at == "" {
			*at = v.first()
		}
	}
}

func eveFile(e *eve, v *jsonValue) {
	if text := v.first(); text != "" {
		e.ev.SetString(schemas.FieldFilePath, text)
		e.ev.SetString(schemas.FieldFileName, baseName(text))
	}
}

func eveMAC(e *eve, v *jsonValue) {
	if mac, ok := toMAC(nil, nil, v.first()); ok {
		e.ev.Set(schemas.FieldSourceMAC, mac)
	}
}

func furtherEVEFields() map[string]eveSetter {
	text := eveText
	command := eveFact(func(f *eveFacts) *string { return &f.command })
	code := eveFact(func(f *eveFacts) *string { return &f.code })
	message := eveFact(func(f *eveFacts) *string { return &f.message })
	request := eveFact(func(f *eveFacts) *string { return &f.request })
	fields := map[string]eveSetter{
		"arp.src_mac":                    eveMAC,
		"dhcp.assigned_ip":               eveFact(func(f *eveFacts) *string { return &f.granted }),
		"dhcp.client_mac":                eveMAC,
		"dhcp.dhcp_type":                 message,
		"dhcp.hostname":                  text(schemas.FieldSourceDomain),
		"dhcp.lease_time":                eveFact(func(f *eveFacts) *string { return &f.seconds }),
		"ftp.command":                    command,
		"ftp.completion_code":            code,
		"ftp.reply":                      text(schemas.FieldEventReason),
		"ftp_data.command":               command,
		"ftp_data.filename":              eveFile,
		"krb5.cname":                     text(schemas.FieldUserName),
		"krb5.error_code":                text(schemas.FieldEventReason),
		"krb5.failed_request":            request,
		"krb5.msg_type":                  message,
		"krb5.realm":                     text(schemas.FieldUserDomain),
		"krb5.sname":                     text(schemas.FieldServiceName),
		"ldap.request.bind_request.name": text(schemas.FieldUserName),
		"ldap.request.operation":         request,
		"ldap.responses.bind_response.result_code":      code,
		"ldap.responses.search_result_done.result_code": code,
		"mdns.queries.rrname":                           eveQuestion,
		"mdns.queries.rrtype":                           eveQuestionType,
		"mqtt.connack.return_code":                      code,
		"mqtt.connect.username":                         text(schemas.FieldUserName),
		"nfs.filename":                                  eveFile,
		"nfs.procedure":                                 command,
		"nfs.status":                                    code,
		"pgsql.request.startup_parameters.user":         text(schemas.FieldUserName),
		"pop3.request.command":                          command,
		"quic.ja3.hash":                                 text(schemas.FieldTLSClientJA3),
		"quic.ja4":                                      text(schemas.FieldTLSClientJA4),
		"quic.sni":                                      eveDomain(schemas.FieldTLSClientServerName),
		"quic.ua":                                       text(schemas.FieldUserAgentOriginal),
		"rdp.client.client_name":                        text(schemas.FieldSourceDomain),
		"rdp.cookie":                                    text(schemas.FieldUserName),
		"rfb.authentication.security_result":            code,
		"sip.code":                                      code,
		"sip.method":                                    command,
		"sip.reason":                                    text(schemas.FieldEventReason),
		"smb.command":                                   command,
		"smb.filename":                                  eveFile,
		"smb.ntlmssp.domain":                            text(schemas.FieldUserDomain),
		"smb.ntlmssp.host":                              text(schemas.FieldSourceDomain),
		"smb.ntlmssp.user":                              text(schemas.FieldUserName),
		"smb.status":                                    code,
		"smtp.helo":                                     text(schemas.FieldSourceDomain),
		"tftp.file":                                     eveFile,
		"tftp.packet":                                   command,
	}
	for name, set := range fields {
		fields[name] = eveAlso(name, set)
	}
	return fields
}

// furtherEVEKinds are types of event that tell of one protocol each.
var furtherEVEKinds = map[string]what{
	"arp": zeekSeen, "bittorrent_dht": zeekProtocolSeen, "dcerpc": zeekProtocolSeen, "dhcp": zeekProtocolSeen, "dnp3": zeekProtocolSeen,
	"doh2": zeekProtocolSeen, "enip": zeekProtocolSeen, "ftp": zeekProtocolSeen, "ftp_data": zeekFileUsed, "http2": zeekProtocolSeen,
	"ike": zeekProtocolSeen, "krb5": zeekLogin, "ldap": zeekProtocolSeen, "mdns": zeekProtocolSeen, "modbus": zeekProtocolSeen,
	"mqtt": zeekProtocolSeen, "nfs": zeekFileUsed, "pgsql": zeekStatement, "pop3": zeekProtocolSeen, "quic": zeekProtocolSeen,
	"rdp": zeekProtocolSeen, "rfb": zeekProtocolSeen, "sip": zeekProtocolSeen, "smb": zeekProtocolSeen, "smtp": {"email", "info", "", ""},
	"snmp": zeekProtocolSeen, "tftp": zeekFileUsed, "websocket": zeekProtocolSeen,
}

// eveProtocols are those whose type of event is not their name.
var eveProtocols = map[string]string{"ftp_data": "ftp", "krb5": "kerberos", "doh2": "dns", "pgsql": "postgresql", "dcerpc": "dce_rpc", "bittorrent_dht": "bittorrent"}

// endFurther sets what depends on the whole event.
func (e *eve) endFurther() {
	ev, f := e.ev, &e.facts
	switch e.kind {
	case "dhcp":
		e.endDHCP()
	case "krb5":
		e.endKerberos()
	case "ldap":
		e.endLDAP()
	case "smb":
		e.done(strings.TrimPrefix(strings.TrimPrefix(f.command, "SMB2_COMMAND_"), "SMB1_COMMAND_"))
		if f.code != "STATUS_MORE_PROCESSING_REQUIRED" { // a login's first half
			e.outcome(f.code == "STATUS_SUCCESS", f.code)
		}
	case "nfs":
		e.done(f.command)
		e.outcome(f.code == "OK", f.code)
	case "rfb":
		e.outcome(f.code == "OK", f.code)
	case "mqtt":
		e.outcome(f.code == "0", f.code)
	case "ftp", "ftp_data", "sip", "pop3", "tftp":
		e.done(f.command)
		if n, digits := number(f.code); digits == 3 {
			ev.SetString(schemas.FieldEventCode, f.code[:3])
			if n >= 200 {
				e.outcome(n < 400, f.code)
			}
		}
	}
}

// done names the action of a protocol of commands.
func (e *eve) done(command string) {
	if command != "" && len(command) <= 64 {
		protocol, _, _ := strings.Cut(e.kind, "_")
		e.ev.SetString(schemas.FieldEventAction, protocol+"_"+strings.ReplaceAll(lower(command), " ", "_"))
	}
}

func (e *eve) outcome(ok bool, said string) {
	switch {
	case said == "":
	case ok:
		e.ev.SetString(schemas.FieldEventOutcome, "success")
	default:
		e.ev.SetString(schemas.FieldEventOutcome, "failure")
	}
}

// endDHCP makes the client the source, as in the logs of DHCP servers, where it
// has been given an address or gives it back. A lease ends when its time has run
// out.
func (e *eve) endDHCP() {
	ev, f := e.ev, &e.facts
	switch f.message {
	case "ack":
		server := ev.Str(schemas.FieldSourceIP)
		if !setIP(ev, schemas.FieldSourceIP, f.granted) {
			return
		}
		setIP(ev, schemas.FieldDestinationIP, server)
		ev.SetInt(schemas.FieldSourcePort, 68)
		ev.SetInt(schemas.FieldDestinationPort, 67)
		what{"network", "start", "address_assigned", "success"}.set(ev)
		if n, ok := whole(f.seconds); ok && n > 0 && n < 1<<31 && !ev.Time().IsZero() {
			ev.SetTime(schemas.FieldEventEnd, ev.Time().Add(time.Duration(n)*time.Second))
		}
	case "release":
		what{"network", "end", "address_released", ""}.set(ev)
	case "nak", "decline":
		e.outcome(false, f.message)
	}
}

// endKerberos says what was asked for, and whether it was given.
func (e *eve) endKerberos() {
	f := &e.facts
	if e.ev.Str(schemas.FieldEventReason) == preauthRequired {
		e.ev.SetString(schemas.FieldEventOutcome, "unknown")
		return
	}
	asked := f.message
	if asked == "KRB_ERROR" {
		asked = f.request
	}
	switch asked {
	case "KRB_AS_REP", "KRB_AS_REQ":
		e.ev.SetString(schemas.FieldEventAction, "kerberos_ticket_requested")
	case "KRB_TGS_REP", "KRB_TGS_REQ":
		e.ev.SetString(schemas.FieldEventType, "info")
		e.ev.SetString(schemas.FieldEventAction, "kerberos_service_ticket_requested")
	}
	e.outcome(f.message != "KRB_ERROR", f.message)
}

// endLDAP makes a login of a bind.
func (e *eve) endLDAP() {
	f := &e.facts
	e.done(strings.TrimSuffix(f.request, "_request"))
	e.outcome(strings.EqualFold(f.code, "success"), f.code)
	if f.request == "bind_request" {
		e.ev.SetString(schemas.FieldEventCategory, "authentication")
		e.ev.SetString(schemas.FieldEventType, "start")
	}
}
