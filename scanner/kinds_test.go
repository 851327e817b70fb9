package scanner

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/testkit/lab"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

// Real servers of many kinds, on IPv4 and IPv6, over TCP and UDP: each is
// identified with the product and version that Debian's package says it is.
func TestKindsOfService(t *testing.T) {
	lab.Require(t, "nginx", "redis-server", "sshd", "named", "mariadbd", "vsftpd", "memcached", "dovecot", "lighttpd", "mosquitto", "snmpd")
	l := lab.New(t)
	scanner := l.Host("scanner", "10.50.0.2", "fd00:50::2")
	one, two := l.Host("one", "10.60.1.10", "fd00:60::10"), l.Host("two", "10.60.1.20", "fd00:60::20")
	one.Nginx(lab.Web{Port: 80, TLS: 443, Title: "示例大学", Name: "www.u1.example"})
	one.SSHD()
	one.MariaDB()
	one.VSFTPD(true)
	one.Dovecot()
	one.SNMPD()
	one.PostgreSQL(false)
	two.Redis()
	two.Bind(lab.Zone{Name: "u1.example"})
	two.Memcached()
	two.Lighttpd()
	two.Mosquitto(true)
	two.VSFTPD(false)
	two.PostgreSQL(true)

	version := func(pkg string) string { return lab.PackageVersion(t, pkg) }
	type kind struct {
		host      *lab.Host
		transport string
		port      int
		want      string // name, product, the makers' version
		exposed   []schemas.ExposureKind
	}
	kinds := []kind{
		{one, "tcp", 80, "http nginx " + version("nginx"), nil},
		{one, "tcp", 443, "https nginx " + version("nginx"), nil},
		{one, "tcp", 22, "ssh OpenSSH " + version("openssh-server"), nil},
		{one, "tcp", 3306, "mysql MariaDB " + version("mariadb-server"), nil},
		{one, "tcp", 21, "ftp vsFTPd " + version("vsftpd"), nil},
		{one, "tcp", 143, "imap Dovecot ", nil},
		{one, "tcp", 993, "imaps Dovecot ", nil},
		{one, "tcp", 5432, "postgresql PostgreSQL ", nil},
		{one, "udp", 161, "snmp Net-SNMP ", nil},
		{two, "tcp", 6379, "redis Redis " + version("redis-server"), []schemas.ExposureKind{schemas.ExposureNoAuth}},
		{two, "tcp", 53, "domain BIND " + version("bind9"), nil},
		{two, "udp", 53, "domain BIND " + version("bind9"), nil},
		{two, "tcp", 11211, "memcache memcached " + version("memcached"), []schemas.ExposureKind{schemas.ExposureNoAuth}},
		{two, "udp", 11211, "memcache memcached " + version("memcached"), []schemas.ExposureKind{schemas.ExposureNoAuth}},
		{two, "tcp", 8080, "http lighttpd " + version("lighttpd"), []schemas.ExposureKind{schemas.ExposureDirectoryListing}},
		{two, "tcp", 1883, "mqtt mosquitto " + version("mosquitto"), []schemas.ExposureKind{schemas.ExposureNoAuth}},
		{two, "tcp", 21, "ftp vsFTPd " + version("vsftpd"), []schemas.ExposureKind{schemas.ExposurePlainLogin}},
		{two, "tcp", 5432, "postgresql PostgreSQL ", []schemas.ExposureKind{schemas.ExposureNoAuth}},
	}
	line := func(ip netip.Addr, transport string, port int, what string, exposed []schemas.ExposureKind) string {
		return fmt.Sprintf("%s %s %d %s %v", ip, transport, port, what, exposed)
	}
	var want []string
	for _, k := range kinds {
		for _, ip := range []netip.Addr{k.host.IP4, k.host.IP6} {
			want = append(want, line(ip, k.transport, k.port, k.want, k.exposed))
		}
	}
	task := sweepTask("1", "21,22,53,80,143,443,993,1883,3306,5432,6379,8080,11211,u:53,123,161,11211",
		one.IP4.String(), two.IP4.String(), one.IP6.String(), two.IP6.String())
	in := inside{
		Config: config(sweep.Connect), Units: units, Tasks: []schemas.ScanTask{task},
		Networks: []schemas.Network{network("10.60.1.0/24", "u1", true), network("fd00:60::/64", "u1", true)},
	}
	s := runInside(t, scanner, in)
	if e := strings.Join(s.Errors, ""); e != "" {
		t.Fatal(e)
	}
	var got []string
	for _, o := range s.Observations {
		if o.Kind != schemas.ObservedPort {
			continue
		}
		svc := o.Service
		if svc == nil {
			svc = &schemas.Service{}
		}
		var exposed []schemas.ExposureKind
		for _, e := range svc.Exposures {
			if e.Kind != schemas.ExposureEndOfLife { // what is old depends on the day of the test
				exposed = append(exposed, e.Kind)
			}
		}
		got = append(got, line(o.IP, o.Transport, o.Port, svc.Name+" "+svc.Product+" "+lab.Upstream(svc.Version), exposed))
		checkKind(t, o)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
	if n := s.Metrics["fengsui_scanner_udp_questions_total"]; n != 4*4 {
		t.Errorf("%v questions over UDP: %v", n, s.Metrics)
	}
	t.Logf("%d services in %v s", len(got), s.Seconds)

	// A confirmation says of a port, too, that it stayed silent.
	task = sweepTask("2", "u:123,161", one.IP4.String())
	task.Kind = schemas.TaskConfirm
	in.Tasks = []schemas.ScanTask{task}
	s = runInside(t, scanner, in)
	confirmed := map[int]bool{}
	for _, o := range s.Observations {
		if o.Kind == schemas.ObservedPort && o.Transport == "udp" {
			confirmed[o.Port] = o.Open
		}
	}
	if silent, told := confirmed[123]; len(confirmed) != 2 || !told || silent || !confirmed[161] {
		t.Errorf("confirmed: %v %v", confirmed, s.Errors)
	}
}

// checkKind looks closer at some.
func checkKind(t *testing.T, o schemas.Observation) {
	t.Helper()
	s := o.Service
	if s == nil {
		return
	}
	switch {
	case o.Port == 443:
		if s.TLS == nil || !slices.Equal(s.TLS.Versions, []string{"TLSv1.2", "TLSv1.3"}) || len(s.TLS.JARM) != 62 || strings.HasPrefix(s.TLS.JARM, "000000000") ||
			s.TLS.Key != "ECDSA P-256" || !s.TLS.SelfSigned || s.HTTP == nil || s.HTTP.Title != "示例大学" || !strings.Contains(s.HTTP.Header, "Content-Type: text/html") {
			t.Errorf("%+v %+v", s.TLS, s.HTTP)
		}
	case s.Name == "imap" || s.Name == "ftp" && len(s.Exposures) == 0: // by STARTTLS
		if s.TLS == nil || s.TLS.Subject == "" || len(s.TLS.Versions) == 0 {
			t.Errorf("%s: %+v", s.Name, s.TLS)
		}
	case s.Name == "ssh" && !strings.HasPrefix(s.OS, "Debian"):
		t.Errorf("ssh on %q: %q", s.OS, s.Banner)
	case s.Name == "snmp" && !strings.Contains(s.Banner, "SNMPv3 engine 80001f88"):
		t.Errorf("snmp: %q", s.Banner)
	case s.Name == "http" && s.Product == "nginx":
		if !slices.ContainsFunc(s.Technologies, func(x schemas.Technology) bool { return x.Name == "Nginx" && x.Version == s.Version }) {
			t.Errorf("technologies: %+v", s.Technologies)
		}
	}
}
