package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Further kinds of real servers. What they write goes to a /run of their own: the
// mounts of "ip netns exec" are private, and a socket's path must be short.

// inRun starts a server by a script, in a /run of its own.
func (h *Host) inRun(port int, script string) *Service {
	h.lab.t.Helper()
	return h.start(port, "sh", "-c", "set -e; mount -t tmpfs -o mode=0755 tmpfs /run; "+script)
}

// MariaDB starts the real MariaDB on port 3306.
func (h *Host) MariaDB() *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "mariadbd", "mariadb-install-db")
	return h.inRun(3306, `mkdir /run/d
mariadb-install-db --no-defaults --user=root --datadir=/run/d --skip-test-db --auth-root-authentication-method=normal >/dev/null
echo "CREATE USER app@'%' IDENTIFIED BY 'unused';" >/run/init
exec `+program("mariadbd")+` --no-defaults --user=root --datadir=/run/d --socket=/run/s --pid-file=/run/pid --port=3306 '--bind-address=*' --skip-name-resolve --init-file=/run/init --innodb-buffer-pool-size=8M`)
}

// PostgreSQL starts the real PostgreSQL on port 5432. With trust it lets anybody
// in without a password.
func (h *Host) PostgreSQL(trust bool) *Service {
	h.lab.t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres") // the pattern is well-formed
	if len(found) == 0 {
		h.lab.t.Skip("no lab: the program postgres is missing")
	}
	bin, method := filepath.Dir(found[len(found)-1]), "scram-sha-256"
	if trust {
		method = "trust"
	}
	as := "setpriv --reuid=postgres --regid=postgres --clear-groups "
	return h.inRun(5432, fmt.Sprintf(`mkdir /run/d; chown postgres /run/d; cd /run/d; echo secret >/run/pw
%s %s/initdb -D /run/d -A trust -U postgres >/dev/null
printf 'host all all 0.0.0.0/0 %s\nhost all all ::/0 %s\n' >/run/d/pg_hba.conf
exec %s %s/postgres -D /run/d -h '*' -p 5432 -c unix_socket_directories=/run/d -c fsync=off`, as, bin, method, method, as, bin))
}

// VSFTPD starts the real vsftpd on port 21, with or without TLS.
func (h *Host) VSFTPD(tls bool) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "vsftpd")
	conf := "listen=NO\nlisten_ipv6=YES\nbackground=NO\nanonymous_enable=NO\nlocal_enable=YES\nsecure_chroot_dir=/run/empty\nseccomp_sandbox=NO\n"
	if tls {
		cert, key := certificate(h, h.Name+".example")
		conf += "ssl_enable=YES\nrsa_cert_file=" + h.file("ftp-cert.pem", cert) + "\nrsa_private_key_file=" + h.file("ftp-key.pem", key) + "\n"
	}
	return h.inRun(21, "mkdir -m 0555 /run/empty; exec "+program("vsftpd")+" "+h.file("vsftpd.conf", conf))
}

// Memcached starts the real memcached on port 11211 of TCP and UDP.
func (h *Host) Memcached() *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "memcached")
	return h.start(11211, "memcached", "-u", "root", "-m", "16", "-p", "11211", "-U", "11211", "-l", "0.0.0.0,::")
}

// Dovecot starts the real Dovecot with IMAP on port 143, and IMAPS on 993.
func (h *Host) Dovecot() *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "dovecot")
	cert, key := certificate(h, h.Name+".example")
	conf := h.file("dovecot.conf", fmt.Sprintf(`protocols = imap
listen = *, ::
base_dir = /run/dovecot
state_dir = /run/dovecot
log_path = /dev/stderr
ssl = yes
ssl_cert = <%s
ssl_key = <%s
passdb {
  driver = static
  args = password=unused
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=/run/home
}
`, h.file("imap-cert.pem", cert), h.file("imap-key.pem", key)))
	return h.inRun(143, "mkdir /run/dovecot; exec "+program("dovecot")+" -F -c "+conf)
}

// Lighttpd starts the real lighttpd on port 8080, listing a folder.
func (h *Host) Lighttpd() *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "lighttpd")
	h.file("listed/one.txt", "one\n")
	conf := h.file("lighttpd.conf", fmt.Sprintf(`server.modules = ( "mod_dirlisting" )
server.document-root = "%s/listed"
server.port = 8080
server.bind = "0.0.0.0"
$SERVER["socket"] == "[::]:8080" { }
dir-listing.activate = "enable"
`, h.dir))
	return h.start(8080, "lighttpd", "-D", "-f", conf)
}

// Mosquitto starts the real Mosquitto on port 1883, open to anybody or to nobody.
func (h *Host) Mosquitto(anybody bool) *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "mosquitto")
	conf := h.file("mosquitto.conf", fmt.Sprintf("listener 1883\nallow_anonymous %v\nuser root\npersistence false\n", anybody))
	return h.start(1883, "mosquitto", "-c", conf)
}

// SNMPD starts the real net-snmp on UDP port 161, which knows no community and no
// user.
func (h *Host) SNMPD() *Service {
	h.lab.t.Helper()
	Require(h.lab.t, "snmpd")
	conf := h.file("snmpd.conf", "sysLocation lab\n")
	said := &lockedBuffer{}
	s := &Service{Port: 161, said: said, cmd: h.Command("sh", "-c",
		"set -e; mount -t tmpfs tmpfs /run; SNMP_PERSISTENT_DIR=/run SNMPCONFPATH=/run exec "+program("snmpd")+" -f -Lo -I -smux -C -c "+conf+" udp:161 udp6:161")}
	s.cmd.Stdout, s.cmd.Stderr = said, said
	s.cmd.WaitDelay = time.Second
	if err := s.cmd.Start(); err != nil {
		h.lab.t.Fatalf("lab: host %s: starting snmpd: %v", h.Name, err)
	}
	h.lab.t.Cleanup(s.Stop)
	for deadline := time.Now().Add(startWait); ; time.Sleep(50 * time.Millisecond) {
		open, err := h.Command("cat", "/proc/net/udp", "/proc/net/udp6").Output()
		if err == nil && len(regexp.MustCompile(`(?m)^ *\d+: [0-9A-F]+:00A1 `).FindAll(open, -1)) == 2 {
			return s
		}
		if time.Now().After(deadline) || syscall.Kill(s.cmd.Process.Pid, 0) != nil {
			h.lab.t.Fatalf("lab: host %s: snmpd does not listen\n%s", h.Name, said)
		}
	}
}

// program is a program's path, for scripts; its name where there is none.
func program(name string) string {
	if path, err := find(name); err == nil {
		return path
	}
	return name
}

// PackageVersion is the version that Debian's package of a program says its makers
// gave it. Where there is no dpkg the test is skipped.
func PackageVersion(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", name).Output()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatalf("dpkg-query of %s: %v", name, err)
		}
		t.Skipf("no package %s by dpkg-query: %v", name, err)
	}
	return Upstream(string(out))
}

// Upstream is the makers' part of a Debian version: "1:9.2p1-2+deb12u3" is 9.2p1.
func Upstream(version string) string {
	if _, rest, found := strings.Cut(version, ":"); found {
		version = rest
	}
	version, _, _ = strings.Cut(version, "-")
	version, _, _ = strings.Cut(version, "+")
	version, _, _ = strings.Cut(version, "~")
	return version
}
