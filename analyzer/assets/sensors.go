package assets

import (
	"strconv"
	"strings"

	"fengsui/schemas"
)

// readers are what tells of the map, by the dataset of the log. Each looks for
// the server's own word: a reply's code, a banner, a certificate.
var readers = map[string]func(*passive) []schemas.Observation{
	"zeek.conn": (*passive).conn,
	"flow.conn": (*passive).conn, // a flow has a state where its flags tell one
	"zeek.ssl":  (*passive).tls,
	"zeek.http": (*passive).http,
	"zeek.dns":  (*passive).dns,
	"zeek.ssh":  (*passive).zeekSSH,
	"zeek.dhcp": (*passive).zeekDHCP,

	"zeek.smtp":         says("zeek.extra.last_reply", startsWithDigit, "tcp", "smtp"),
	"zeek.ftp":          says("zeek.extra.reply_code", startsWithDigit, "tcp", "ftp"),
	"zeek.rdp":          says("zeek.extra.security_protocol", anything, "tcp", "ms-wbt-server"),
	"zeek.smb_mapping":  says("zeek.extra.share_type", anything, "tcp", "microsoft-ds"),
	"zeek.ntlm":         says("zeek.extra.server_nb_computer_name", anything, "tcp", ""), // inside of one of several protocols
	"zeek.mysql":        says("zeek.extra.success", anything, "tcp", "mysql"),
	"zeek.mqtt_connect": says("zeek.extra.connect_status", anything, "tcp", "mqtt"),
	"zeek.sip":          says("zeek.extra.status_code", startsWithDigit, "", "sip"),
	"zeek.kerberos":     says("zeek.extra.success", anything, "", "kerberos"),
	"zeek.ldap":         says("zeek.extra.result", anything, "", "ldap"),
	"zeek.radius":       says("zeek.extra.result", anything, "udp", "radius"),
	"zeek.snmp":         says("zeek.extra.get_responses", positive, "udp", "snmp"),

	"zeek.known_hosts":    func(p *passive) []schemas.Observation { return p.host(p.text("zeek.extra.host")) },
	"zeek.known_services": (*passive).zeekKnownService,
	"zeek.known_certs":    (*passive).zeekKnownCertificate,
	"zeek.software":       (*passive).zeekSoftware,

	"suricata.flow": (*passive).suricataFlow,
	"suricata.http": (*passive).http,
	"suricata.dns":  (*passive).suricataDNS,
	"suricata.tls":  (*passive).suricataTLS,
	"suricata.ssh": func(p *passive) []schemas.Observation {
		return p.ssh(p.text("suricata.eve.ssh.server.software_version"), "")
	},
	"suricata.smb":  says("suricata.eve.smb.dialect", anything, "tcp", "microsoft-ds"),
	"suricata.ftp":  says("suricata.eve.ftp.completion_code", startsWithDigit, "tcp", "ftp"),
	"suricata.sip":  says("suricata.eve.sip.code", startsWithDigit, "", "sip"),
	"suricata.mqtt": says("suricata.eve.mqtt.connack.return_code", startsWithDigit, "tcp", "mqtt"),
	"suricata.rdp":  says("suricata.eve.rdp.protocol", anything, "tcp", "ms-wbt-server"),

	"iis.access":    (*passive).http,
	"nginx.access":  (*passive).http,
	"apache.access": (*passive).http,
	"system.auth":   (*passive).sshd,
}

// says makes a reader of logs that have a field where the server has answered.
// Without a transport it is the record's.
func says(field string, is func(string) bool, transport, service string) func(*passive) []schemas.Observation {
	return func(p *passive) []schemas.Observation {
		if !is(p.text(field)) {
			return nil
		}
		t := transport
		if t == "" {
			t = p.transport()
		}
		return p.service(t, &schemas.Service{Name: service})
	}
}

func anything(text string) bool { return text != "" && text != "-" }

func startsWithDigit(text string) bool { return text != "" && text[0] >= '0' && text[0] <= '9' }

func positive(text string) bool { return startsWithDigit(text) && strings.Trim(text, "0.") != "" }

// text is a field's, or the first of its several.
func (p *passive) text(name string) string {
	v := p.ev.Lookup(name)
	if list := v.List(); len(list) > 0 {
		v = list[0]
	}
	return v.Text()
}

// transport is the record's, tcp where it does not say.
func (p *passive) transport() string {
	if p.ev.Str(schemas.FieldNetworkTransport) == "udp" {
		return "udp"
	}
	return "tcp"
}

// ssh is a service that told its software, such as "OpenSSH_9.2p1 Debian-2".
func (p *passive) ssh(software, banner string) []schemas.Observation {
	if software == "" || len(software) > maxShort {
		return nil
	}
	name, _, _ := strings.Cut(software, " ")
	product, version, _ := strings.Cut(name, "_")
	return p.service("tcp", &schemas.Service{Name: "ssh", Product: product, Version: version, Banner: banner})
}

// zeekSSH has the server's identification string (RFC 4253, 4.2).
func (p *passive) zeekSSH() []schemas.Observation {
	banner := p.text("zeek.extra.server")
	parts := strings.SplitN(banner, "-", 3)
	if len(parts) < 3 || parts[0] != "SSH" {
		return nil
	}
	return p.ssh(parts[2], banner)
}

// sshd is sshd's own log: it says which of its addresses a client came to.
func (p *passive) sshd() []schemas.Observation {
	if p.ev.Str(schemas.FieldProcessName) != "sshd" {
		return nil
	}
	return p.service("tcp", &schemas.Service{Name: "ssh"})
}

func (p *passive) zeekDHCP() []schemas.Observation {
	if messages := p.ev.Lookup("zeek.extra.msg_types").Text(); messages != "" && !strings.Contains(messages, "ACK") {
		return nil // an offer is no lease
	}
	return p.lease(p.text("zeek.extra.assigned_addr"), p.text("zeek.extra.mac"), p.text("zeek.extra.host_name"))
}

// zeekKnownService is a service of a local host with which a connection was
// established.
func (p *passive) zeekKnownService() []schemas.Observation {
	port, err := strconv.Atoi(p.text("zeek.extra.port_num"))
	transport := p.text("zeek.extra.port_proto")
	if err != nil || transport != "tcp" && transport != "udp" {
		return nil
	}
	name := ""
	if list := p.ev.Lookup("zeek.extra.service").List(); len(list) < 2 { // else one inside the other
		name = serviceName(strings.ToLower(p.text("zeek.extra.service")))
	}
	if transport == "udp" && name == "" {
		return nil
	}
	return p.serviceAt(p.text("zeek.extra.host"), port, transport, &schemas.Service{Name: name})
}

func (p *passive) zeekKnownCertificate() []schemas.Observation {
	port, err := strconv.Atoi(p.text("zeek.extra.port_num"))
	subject := p.text("zeek.extra.subject")
	if err != nil || subject == "" {
		return nil
	}
	return p.serviceAt(p.text("zeek.extra.host"), port, "tcp", &schemas.Service{TLS: &schemas.TLS{
		Subject: subject, Issuer: p.text("zeek.extra.issuer_subject"), Serial: p.text("zeek.extra.serial"),
	}})
}

// zeekSoftware is a server's software; what a client runs is no service.
func (p *passive) zeekSoftware() []schemas.Observation {
	port, err := strconv.Atoi(p.text("zeek.extra.host_p"))
	product := p.text("zeek.extra.name")
	name, known := map[string]string{
		"HTTP::SERVER": "http", "HTTP::APPSERVER": "http", "SSH::SERVER": "ssh", "SMTP::MAIL_SERVER": "smtp", "FTP::SERVER": "ftp", "MYSQL::SERVER": "mysql",
	}[p.text("zeek.extra.software_type")]
	if err != nil || !known || product == "" {
		return nil
	}
	version := ""
	for _, part := range []string{"major", "minor", "minor2"} {
		if n := p.text("zeek.extra.version." + part); startsWithDigit(n) {
			version = strings.TrimPrefix(version+"."+n, ".")
		}
	}
	return p.serviceAt(p.text("zeek.extra.host"), port, "tcp", &schemas.Service{Name: name, Product: product, Version: version + p.text("zeek.extra.version.addl")})
}

// suricataFlow is a flow in which the server has spoken: its protocol was known,
// or it accepted (SYN and ACK among its flags).
func (p *passive) suricataFlow() []schemas.Observation {
	if p.ev.Get(schemas.FieldDestinationPackets).Int() == 0 {
		return nil
	}
	protocol := serviceName(p.ev.Str(schemas.FieldNetworkProtocol))
	switch p.ev.Str(schemas.FieldNetworkTransport) {
	case "tcp":
		const synAck = 0x12
		flags, err := strconv.ParseUint(p.text("suricata.eve.tcp.tcp_flags_tc"), 16, 8)
		if err == nil && flags&synAck == synAck || err != nil && p.ev.Str(schemas.FieldNetworkProtocol) != "" {
			return p.service("tcp", &schemas.Service{Name: protocol})
		}
	case "udp":
		if protocol != "" {
			return p.service("udp", &schemas.Service{Name: protocol})
		}
	}
	return nil
}

func (p *passive) suricataDNS() []schemas.Observation {
	if p.ev.Str(schemas.FieldDNSType) != "answer" {
		return nil
	}
	return p.dns()
}

// suricataTLS has a subject or a fingerprint of the server's hello where the
// server has answered.
func (p *passive) suricataTLS() []schemas.Observation {
	if p.ev.Str(schemas.FieldTLSServerSubject) == "" && p.ev.Str(schemas.FieldTLSServerJA3S) == "" {
		return nil
	}
	return p.certificate()
}
