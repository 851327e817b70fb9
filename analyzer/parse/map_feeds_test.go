package parse_test

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/parse"
	"fengsui/internal/testkit/corpus"
	"fengsui/schemas"
)

// inside are the addresses of the tests' own networks.
func inside(a netip.Addr) bool {
	return netip.MustParsePrefix("192.0.2.0/24").Contains(a) || netip.MustParsePrefix("2001:db8::/32").Contains(a) || netip.MustParsePrefix("10.0.0.0/8").Contains(a)
}

func eventOf(t *testing.T, format, line string) *schemas.Event {
	t.Helper()
	ev := &schemas.Event{Original: line}
	ev.Format, ev.Stream, ev.Seq, ev.Unit, ev.Source, ev.Received = format, "s", 1, "u", "192.0.2.250", time.Date(2026, 12, 10, 4, 0, 10, 0, time.UTC)
	if err := parse.Parse(ev); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return ev
}

// told is an observation in words.
func told(o *schemas.Observation) string {
	text := string(o.Kind) + " " + o.Key()
	if o.Port > 0 {
		text += fmt.Sprintf(" %d/%s", o.Port, o.Transport)
	}
	if s := o.Service; s != nil {
		text += " " + strings.TrimSpace(s.Name+" "+s.Product+" "+s.Version)
		if s.TLS != nil {
			text += s.TLS.Subject
		}
		if s.HTTP != nil {
			text += fmt.Sprint(" ", s.HTTP.Status)
		}
	}
	rest := append([]string{text, o.MAC, o.RecordType}, o.Values...)
	if o.Kind == schemas.ObservedHost {
		rest = append(rest, o.Name)
	}
	return strings.Join(strings.Fields(strings.Join(rest, " ")), " ")
}

// TestLogsFeedTheMap: what each kind of log proves, from the line on, and what
// proves nothing.
func TestLogsFeedTheMap(t *testing.T) {
	f := func(format, line, source, want string) {
		t.Helper()
		got := ""
		for _, o := range assets.FromEvent(eventOf(t, format, line), inside, assets.NewRecent(10, time.Minute)) {
			got += told(&o)
			if o.Source != source || o.Unit != "u" || o.ID == "" || o.Time.IsZero() {
				t.Errorf("%s\n%+v", line, o)
			}
			if o.Kind == schemas.ObservedSweep || o.Kind != schemas.ObservedName && !o.Open {
				t.Errorf("%s\nsays that something is gone: %+v", line, o)
			}
		}
		if got != want {
			t.Errorf("%s\ntells %q, want %q", line, got, want)
		}
	}
	eve := func(kind, ends, more, want string) {
		t.Helper()
		f("suricata", `{"timestamp":"2026-12-10T12:00:00.000000+0800","event_type":"`+kind+`",`+ends+`,`+more+`}`, "suricata."+kind, want)
	}
	const (
		in  = `"src_ip":"203.0.113.9","src_port":40000,"dest_ip":"192.0.2.80","dest_port":8022,"proto":"TCP"`
		out = `"src_ip":"192.0.2.80","src_port":40000,"dest_ip":"203.0.113.9","dest_port":22,"proto":"TCP"`
		udp = `"src_ip":"203.0.113.9","src_port":40000,"dest_ip":"192.0.2.53","dest_port":53,"proto":"UDP"`
	)
	eve("ssh", in, `"ssh":{"client":{"software_version":"libssh"},"server":{"software_version":"OpenSSH_9.2p1"}}`, "port 192.0.2.80 8022/tcp ssh OpenSSH 9.2p1")
	eve("ssh", in, `"ssh":{"client":{"software_version":"libssh"}}`, "") // nobody answered
	eve("ssh", out, `"ssh":{"server":{"software_version":"OpenSSH_9.2p1"}}`, "")
	eve("http", in, `"http":{"hostname":"www.example.edu.cn","url":"/","status":200}`, "port 192.0.2.80 8022/tcp http 200")
	eve("http", in, `"http":{"hostname":"www.example.edu.cn","url":"/"}`, "")
	eve("tls", in, `"tls":{"sni":"www.example.edu.cn","version":"TLS 1.3","subject":"CN=www.example.edu.cn","issuerdn":"CN=CA"}`, "port 192.0.2.80 8022/tcp CN=www.example.edu.cn")
	eve("tls", in, `"tls":{"sni":"www.example.edu.cn","version":"UNDETERMINED"}`, "")
	eve("smb", in, `"smb":{"id":1,"dialect":"3.11"}`, "port 192.0.2.80 8022/tcp microsoft-ds")
	eve("flow", in, `"app_proto":"mysql","flow":{"pkts_toserver":5,"pkts_toclient":4,"state":"closed"},"tcp":{"tcp_flags_ts":"1b","tcp_flags_tc":"1b"}`, "port 192.0.2.80 8022/tcp mysql")
	eve("flow", in, `"app_proto":"failed","flow":{"pkts_toserver":5,"pkts_toclient":4,"state":"closed"},"tcp":{"tcp_flags_tc":"1b"}`, "port 192.0.2.80 8022/tcp")
	eve("flow", in, `"flow":{"pkts_toserver":1,"pkts_toclient":1,"state":"closed"},"tcp":{"tcp_flags_ts":"02","tcp_flags_tc":"14"}`, "") // refused
	eve("flow", in, `"flow":{"pkts_toserver":3,"pkts_toclient":0,"state":"new"},"tcp":{"tcp_flags_ts":"02"}`, "")
	eve("flow", udp, `"app_proto":"dns","flow":{"pkts_toserver":1,"pkts_toclient":1}`, "port 192.0.2.53 53/udp domain")
	eve("flow", udp, `"flow":{"pkts_toserver":1,"pkts_toclient":1}`, "")
	eve("dns", udp, `"dns":{"version":2,"type":"answer","rrname":"WWW.example.edu.cn","rrtype":"A","rcode":"NOERROR","answers":[{"rrtype":"CNAME","rdata":"web.example.edu.cn"},{"rrtype":"A","rdata":"192.0.2.80"}]}`, "name www.example.edu.cn A 192.0.2.80")
	eve("dns", udp, `"dns":{"type":"query","rrname":"www.example.edu.cn","rrtype":"A"}`, "")
	eve("dns", udp, `"dns":{"version":2,"type":"answer","rrname":"x.example.edu.cn","rrtype":"A","rcode":"NXDOMAIN"}`, "")
	eve("alert", in, `"alert":{"signature_id":1,"signature":"x","severity":1}`, "")

	zeek := func(path, more, want string) {
		t.Helper()
		f("zeek", `{"_path":"`+path+`","ts":"2026-12-10T04:00:00.000000Z",`+more+`}`, "zeek."+path, want)
	}
	const ends = `"uid":"C1","id.orig_h":"203.0.113.9","id.orig_p":40000,"id.resp_h":"192.0.2.80","id.resp_p":2222,`
	zeek("ssh", ends+`"version":2,"client":"SSH-2.0-Go","server":"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3"`, "port 192.0.2.80 2222/tcp ssh OpenSSH 9.2p1")
	zeek("ssh", ends+`"version":2,"client":"SSH-2.0-Go"`, "")
	zeek("smtp", ends+`"helo":"x","last_reply":"250 2.0.0 Ok"`, "port 192.0.2.80 2222/tcp smtp")
	zeek("smtp", ends+`"helo":"x"`, "")
	zeek("ftp", ends+`"user":"anonymous","command":"PASV","reply_code":227`, "port 192.0.2.80 2222/tcp ftp")
	zeek("rdp", ends+`"result":"encrypted","security_protocol":"HYBRID"`, "port 192.0.2.80 2222/tcp ms-wbt-server")
	zeek("rdp", ends+`"cookie":"admin"`, "")
	zeek("snmp", ends+`"community":"public","get_responses":2`, "port 192.0.2.80 2222/udp snmp")
	zeek("snmp", ends+`"community":"public","get_responses":0`, "")
	zeek("ntlm", ends+`"server_nb_computer_name":"SRV","success":true`, "port 192.0.2.80 2222/tcp")
	zeek("known_services", `"host":"192.0.2.80","port_num":8080,"port_proto":"tcp","service":["HTTP"]`, "port 192.0.2.80 8080/tcp http")
	zeek("known_services", `"host":"192.0.2.80","port_num":443,"port_proto":"tcp","service":["SSL","HTTP"]`, "port 192.0.2.80 443/tcp")
	zeek("known_services", `"host":"203.0.113.1","port_num":8080,"port_proto":"tcp","service":["HTTP"]`, "")
	zeek("known_hosts", `"host":"192.0.2.81"`, "host 192.0.2.81")
	zeek("known_certs", `"host":"192.0.2.80","port_num":443,"subject":"CN=x.cn","issuer_subject":"CN=CA","serial":"01"`, "port 192.0.2.80 443/tcp CN=x.cn")
	zeek("software", `"host":"192.0.2.80","host_p":80,"software_type":"HTTP::SERVER","name":"nginx","version.major":1,"version.minor":22,"version.minor2":1,"unparsed_version":"nginx/1.22.1"`, "port 192.0.2.80 80/tcp http nginx 1.22.1")
	zeek("software", `"host":"192.0.2.81","software_type":"HTTP::BROWSER","name":"Firefox","version.major":120`, "")
	zeek("dhcp", `"uids":["C2"],"client_addr":"192.0.2.60","server_addr":"192.0.2.2","mac":"00:00:5e:00:53:60","host_name":"pc60","assigned_addr":"192.0.2.60","lease_time":3600.0,"msg_types":["REQUEST","ACK"]`, "host 192.0.2.60 00:00:5e:00:53:60 pc60")
	zeek("dhcp", `"uids":["C2"],"mac":"00:00:5e:00:53:60","assigned_addr":"192.0.2.60","msg_types":["DISCOVER","OFFER"]`, "")
	zeek("weird", ends+`"name":"x"`, "")

	const on = "<30>Dec 10 12:00:00 srv1 "
	f("syslog", on+"dhcpd[712]: DHCPACK on 192.0.2.60 to 00:00:5e:00:53:60 (pc60) via eth0", "isc.dhcpd", "host 192.0.2.60 00:00:5e:00:53:60 pc60")
	f("syslog", on+"dhcpd[712]: DHCPACK on 203.0.113.60 to 00:00:5e:00:53:60 (pc60) via eth0", "", "")
	f("syslog", on+"dhcpd[712]: DHCPOFFER on 192.0.2.60 to 00:00:5e:00:53:60 (pc60) via eth0", "", "")
	f("syslog", on+"dnsmasq[512]: reply www.example.edu.cn is 192.0.2.80", "dnsmasq", "name www.example.edu.cn A 192.0.2.80")
	f("syslog", on+"dnsmasq[512]: reply www.example.edu.cn is 2001:db8::80", "dnsmasq", "name www.example.edu.cn AAAA 2001:db8::80")
	f("syslog", on+"dnsmasq[512]: query[A] www.example.edu.cn from 192.0.2.5", "", "") // that somebody asked does not make it so
	f("syslog", on+"dnsmasq[512]: gravity blocked ads.example.net is 192.0.2.1", "", "")
	f("syslog", on+"named[812]: client @0x7f2c5c0012a0 192.0.2.5#53123 (www.example.edu.cn): query: www.example.edu.cn IN A +E(0)K (192.0.2.53)", "", "")
	f("syslog", on+"unbound[812]: [812:0] info: 192.0.2.5 www.example.edu.cn. A IN NOERROR 0.012345 0 64", "", "") // an answer, and not which
	f("syslog", "<86>Dec 10 12:00:00 srv1 sshd[712]: Connection from 203.0.113.9 port 40022 on 192.0.2.80 port 2222 rdomain \"\"", "system.auth", "port 192.0.2.80 2222/tcp ssh")
	f("syslog", "<86>Dec 10 12:00:00 srv1 sshd[712]: Accepted password for root from 203.0.113.9 port 40022 ssh2", "", "") // at which address is not said
	f("syslog", "<86>Dec 10 12:00:00 srv1 sshd[712]: Server listening on 0.0.0.0 port 22.", "", "")
	f("syslog", "<86>Dec 10 12:00:00 srv1 sshd[712]: Server listening on 192.0.2.80 port 22.", "system.auth", "port 192.0.2.80 22/tcp ssh")
	f("nginx-access", `203.0.113.9 - - [10/Dec/2026:12:00:00 +0800] "GET / HTTP/1.1" 200 612 "-" "curl/8.0"`, "", "") // at which address is not said
}

// TestCorpusFeedsTheMap: Zeek's logs of a real network tell of its servers, and
// only of those.
func TestCorpusFeedsTheMap(t *testing.T) {
	f := func(name, service string, least int) {
		t.Helper()
		file, err := os.Open(corpus.Path(t, "zeek/"+name+".json.gz"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		text, err := gzip.NewReader(file)
		if err != nil {
			t.Fatal(err)
		}
		recent := assets.NewRecent(100_000, 24*time.Hour)
		lines, found := bufio.NewScanner(text), 0
		lines.Buffer(nil, 1<<20)
		for n := 0; lines.Scan() && n < 5000; n++ {
			ev := eventOf(t, "zeek", lines.Text())
			for _, o := range assets.FromEvent(ev, inside, recent) {
				found++
				if o.Source != "zeek."+name || o.Kind != schemas.ObservedPort || !o.Open || !inside(o.IP) || service != "" && o.Service.Name != service {
					t.Fatalf("%s\n%s", lines.Text(), told(&o))
				}
				if client := ev.Str(schemas.FieldSourceIP); client == o.IP.String() && client != ev.Str(schemas.FieldDestinationIP) {
					t.Fatalf("%s\na client serves: %s", lines.Text(), told(&o))
				}
			}
		}
		if err := lines.Err(); err != nil {
			t.Fatal(err)
		}
		if found < least {
			t.Errorf("%s tells of %d services", name, found)
		}
	}
	f("known_services", "", 20)
	f("ssh", "ssh", 3)
	f("smtp", "smtp", 2)
	f("ftp", "ftp", 2)
	f("rdp", "ms-wbt-server", 2)
	f("ntlm", "", 2)
	f("ssl", "", 2)
}
