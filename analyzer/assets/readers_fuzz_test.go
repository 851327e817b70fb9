package assets

import (
	"encoding/json"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/analyzer/marks"
	"fengsui/analyzer/mask"
	"fengsui/internal/directory"
	"fengsui/schemas"
)

// What readers look at: fields of the catalogue, and those that sensors name.
var (
	textFields = []schemas.FieldID{
		schemas.FieldDestinationIP, schemas.FieldSourceIP, schemas.FieldDNSQuestionName, schemas.FieldDNSQuestionType, schemas.FieldDNSResponseCode, schemas.FieldDNSType,
		schemas.FieldEventAction, schemas.FieldEventOutcome, schemas.FieldHTTPResponseBodyContent, schemas.FieldNetworkProtocol, schemas.FieldNetworkTransport,
		schemas.FieldOrganizationID, schemas.FieldProcessName, schemas.FieldSourceDomain, schemas.FieldSourceMAC, schemas.FieldTLSCipher, schemas.FieldTLSClientServerName,
		schemas.FieldTLSServerHashSHA256, schemas.FieldTLSServerIssuer, schemas.FieldTLSServerJA3S, schemas.FieldTLSServerSubject, schemas.FieldTLSVersion, schemas.FieldURLDomain,
		schemas.FieldZeekConnState,
	}
	openFields = []string{
		"zeek.extra.assigned_addr", "zeek.extra.connect_status", "zeek.extra.get_responses", "zeek.extra.host", "zeek.extra.host_name", "zeek.extra.host_p",
		"zeek.extra.issuer_subject", "zeek.extra.last_reply", "zeek.extra.mac", "zeek.extra.msg_types", "zeek.extra.name", "zeek.extra.port_num", "zeek.extra.port_proto",
		"zeek.extra.reply_code", "zeek.extra.result", "zeek.extra.security_protocol", "zeek.extra.serial", "zeek.extra.server", "zeek.extra.server_nb_computer_name",
		"zeek.extra.service", "zeek.extra.share_type", "zeek.extra.software_type", "zeek.extra.status_code", "zeek.extra.subject", "zeek.extra.success",
		"zeek.extra.version.addl", "zeek.extra.version.major", "zeek.extra.version.minor", "zeek.extra.version.minor2",
		"suricata.eve.ftp.completion_code", "suricata.eve.http.http_response_body", "suricata.eve.mqtt.connack.return_code", "suricata.eve.rdp.protocol",
		"suricata.eve.sip.code", "suricata.eve.smb.dialect", "suricata.eve.ssh.server.software_version", "suricata.eve.tcp.tcp_flags_tc", "suricata.eve.tls.subjectaltname",
	}
	datasets = append(slices.Sorted(maps.Keys(readers)), "", "dhcp", "named")
	ports    = []schemas.FieldID{schemas.FieldDestinationPort, schemas.FieldDestinationPackets, schemas.FieldHTTPResponseStatusCode}
)

// worth are values that lead readers on.
var worth = []string{
	"10.0.0.7", "fd00::7", "::ffff:10.0.0.7", "fe80::1%eth0", "fd00::1%" + strings.Repeat("z", 300), "0.0.0.0", "224.0.0.1", "203.0.113.9", "2001:db8:1::9", "tcp", "udp", "dns", "http", "ssl",
	"SF", "A", "AAAA", "NOERROR", "NXDOMAIN", "answer", "dns_answer", "address_assigned", "www.a.cn", "shilidaxue.top", "sshd", "SSH-2.0-OpenSSH_9.2p1 Debian-2", "OpenSSH_9.2",
	"HTTP::SERVER", "443", "65536", "-1", "12", "13812345678", "11010519491231002X", "张三", "CN=13812345678,O=示例大学", "00-00-5E-00-53-01", "ACK", "<title>示例大学 13812345678</title>",
	"PHRpdGxlPuekuuS+i+Wkp+WtpiAxMzgxMjM0NTY3ODwvdGl0bGU+", "豫ICP备00000001号-1", strings.Repeat("x", 2000), "a b", "\xff\x00", "a/b",
}

func inside(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return netip.MustParsePrefix("10.0.0.0/8").Contains(ip) || netip.MustParsePrefix("fd00::/8").Contains(ip) || netip.MustParsePrefix("fe80::/10").Contains(ip) ||
		netip.MustParsePrefix("224.0.0.0/24").Contains(ip) || ip.IsUnspecified() // more than a registry should hold
}

func knownMarks(t interface{ Fatal(...any) }) *marks.Marks {
	snap, err := directory.NewSnapshot([]schemas.Unit{{Code: "U", Name: "示例大学", Level: schemas.University}}, nil,
		[]schemas.Domain{{Name: "shilidaxue.edu.cn", Unit: "U"}}, nil,
		schemas.System{Code: "s", Name: "门户", Unit: "U", State: schemas.SystemRegistered, Hosting: schemas.HostingOwn, ICP: "豫ICP备00000001号-1"})
	if err != nil {
		t.Fatal(err)
	}
	return marks.New(snap)
}

// obey checks what is true of every passive observation, whatever the record held.
func obey(t interface{ Errorf(string, ...any) }, ev *schemas.Event, o *schemas.Observation, abroad bool) {
	bad := func(what string) { t.Errorf("%s: %+v %+v\nof %s", what, *o, o.Service, ev.AppendJSON(nil)) }
	if o.Source != ev.Str(schemas.FieldEventDataset) || o.Source == SourceScan || o.Job+o.Shard+o.Scanner != "" || o.Time.IsZero() || !strings.HasPrefix(o.ID, ev.EventID()+"/") {
		bad("whose it is")
	}
	if len(o.Name) > 253 || len(o.MAC) > maxMAC || len(o.Values) > maxValues || o.Ports != "" || (o.Method == MethodMarks) != abroad {
		bad("bounds")
	}
	ours := func(ip netip.Addr) bool { return inside(ip) != abroad }
	switch o.Kind {
	case schemas.ObservedHost:
		if !o.Open || !o.IP.IsValid() || !ours(o.IP) || abroad {
			bad("a host")
		}
	case schemas.ObservedPort:
		if !o.Open || o.Port < 1 || o.Port > 65535 || o.Transport != "tcp" && o.Transport != "udp" || !ours(o.IP) {
			bad("a port")
		}
	case schemas.ObservedName:
		if o.Name == "" || o.Name != strings.ToLower(o.Name) || len(o.Values) == 0 || !slices.IsSorted(o.Values) || o.RecordType != "A" && o.RecordType != "AAAA" || o.RCode != "NOERROR" {
			bad("a name")
		}
		for _, v := range o.Values {
			if ip, err := netip.ParseAddr(v); err != nil || !ours(ip) || ip.Is4() != (o.RecordType == "A") || ip.String() != v {
				bad("a value")
			}
		}
	default:
		bad("kind")
	}
	if o.IP.IsValid() && (o.IP.IsMulticast() || o.IP.IsUnspecified() || o.IP.Is4In6() || o.IP.Zone() != "" || abroad && (o.IP.IsPrivate() || !o.IP.IsGlobalUnicast())) {
		bad("an address")
	}
	if s := o.Service; s != nil {
		if max(len(s.Name), len(s.Product), len(s.Version)) > maxShort || len(s.Banner) > maxBanner || s.HTTP != nil && len(s.HTTP.Title)+len(s.HTTP.Body) > 4*64 ||
			s.TLS != nil && (max(len(s.TLS.Subject), len(s.TLS.Issuer), len(s.TLS.Cipher), len(s.TLS.SHA256), len(s.TLS.Serial), len(s.TLS.Version)) > maxTLS || len(s.TLS.Names) > 1) {
			bad("a service's bounds")
		}
	}
	text, err := json.Marshal(o)
	if err != nil {
		bad("JSON")
	}
	// What is masked in the event is masked in what is made of it.
	for _, secret := range []string{"13812345678", "11010519491231002X", "11010519491231002x"} {
		if strings.Contains(string(text), secret) && !strings.Contains(strings.ToLower(string(ev.AppendJSON(nil))), strings.ToLower(secret)) {
			bad("unmasked " + secret)
		}
	}
}

// feed has an event read, masked as it is before it is stored.
func feed(t interface {
	Errorf(string, ...any)
	Fatal(...any)
}, ev *schemas.Event, known *marks.Marks, scope *mask.Scope,
) (told int) {
	scope.Begin(ev)
	scope.Event(ev)
	recent := NewRecent(10, time.Minute)
	for _, o := range FromEvent(ev, inside, recent) {
		obey(t, ev, &o, false)
		told++
	}
	for _, o := range Abroad(ev, inside, known, recent) {
		obey(t, ev, &o, true)
		told++
	}
	return told
}

func masking(t interface{ Fatal(...any) }) *mask.Scope {
	m, err := mask.New(mask.DefaultConfig(), nil, []string{"张三"})
	if err != nil {
		t.Fatal(err)
	}
	return m.NewScope()
}

func begun(dataset string) *schemas.Event {
	ev := &schemas.Event{Original: "13812345678 11010519491231002X"}
	ev.Stream, ev.Seq, ev.Unit, ev.Received = "s", 1, "U", time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)
	ev.SetString(schemas.FieldEventDataset, dataset)
	return ev
}

// fill sets every field that is looked at: the n-th value in order, one after
// another.
func fill(ev *schemas.Event, value func() string, number func() int64) {
	for _, id := range textFields {
		if text := value(); text != "" {
			ev.SetString(id, text)
		}
	}
	for _, name := range openFields {
		if text := value(); text != "" {
			ev.SetOpen(name, schemas.String(text))
		}
	}
	ev.Set(schemas.FieldDNSAnswersData, schemas.Strings(value(), value(), value()))
	ev.SetOpen("suricata.eve.tls.subjectaltname", schemas.Strings(value(), value()))
	for _, id := range ports {
		ev.SetInt(id, number())
	}
	ev.Set(schemas.FieldTLSEstablished, schemas.Bool(number()%2 == 0))
}

// FuzzReaders gives every reader, whatever its log, values that no log has.
func FuzzReaders(f *testing.F) {
	for i := range datasets {
		f.Add(uint8(i), strings.Join(worth, "\n"), int64(443))
	}
	f.Add(uint8(0), "10.0.0.7", int64(-1))
	known, scope := knownMarks(f), masking(f)
	f.Fuzz(func(t *testing.T, dataset uint8, text string, number int64) {
		values, i := strings.Split(text, "\n"), 0
		ev := begun(datasets[int(dataset)%len(datasets)])
		fill(ev, func() string {
			i++
			return values[(i-1)%len(values)]
		}, func() int64 {
			number = number*31 + 7
			return number % 70_000
		})
		feed(t, ev, known, scope)
	})
}

// Of values that lead readers on, in any fields of any log, the rules hold, too;
// and many readers are led to tell something.
func TestReadersObey(t *testing.T) {
	known, scope, told := knownMarks(t), masking(t), map[string]int{}
	rapid.Check(t, func(t *rapid.T) {
		dataset := rapid.SampledFrom(datasets).Draw(t, "dataset")
		ev := begun(dataset)
		fill(ev, func() string { return rapid.SampledFrom(append(worth, "")).Draw(t, "value") },
			func() int64 { return rapid.SampledFrom([]int64{0, 1, 200, 443, 65535, 65536, -1}).Draw(t, "number") })
		for _, id := range []schemas.FieldID{schemas.FieldDestinationIP, schemas.FieldSourceIP} {
			ev.SetString(id, rapid.SampledFrom(worth[:9]).Draw(t, "address"))
		}
		for _, name := range []string{"zeek.extra.host", "zeek.extra.assigned_addr"} {
			ev.SetOpen(name, schemas.String(rapid.SampledFrom(worth[:9]).Draw(t, "address")))
		}
		if n := feed(t, ev, known, scope); n > 0 {
			told[dataset] += n
		}
	})
	if len(told) == 0 {
		t.Errorf("told: %v", told)
	}
}
