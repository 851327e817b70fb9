package main

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"fengsui/schemas"
)

const units = `units:
  - {code: "1", name: 某省教育厅, level: province}
  - {code: "10001", name: 第一大学, level: university, parent: "1"}
  - {code: "10002", name: 第二大学, level: university, parent: "1"}
  - {code: "10003", name: 第三大学, level: university, parent: "1"}
networks:
  - {prefix: 10.1.0.0/16, unit: "10001"}
  - {prefix: 10.2.0.0/16, unit: "10002"}
  - {prefix: 127.0.0.0/8, unit: "10003", name: 本机 / this machine}
`

// TestRealSyslog: what real programs send becomes events of the right unit, host
// and time.
func TestRealSyslog(t *testing.T) {
	for _, program := range []string{"logger", "rsyslogd"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	s := newSystem(t, loopback+`
collector:
  inputs:
    - {name: own, unit: "10001", type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
    - {name: shared, type: syslog, syslog: {udp: "127.0.0.1:0", tcp: "127.0.0.1:0"}}
`)
	s.start()
	registered(s)
	t.Run("logger", func(t *testing.T) { testLogger(t, s) })
	t.Run("rsyslog", func(t *testing.T) { testRsyslog(t, s) })
	t.Run("queries", func(t *testing.T) { testQueries(t, s) })
	t.Run("brute force", func(t *testing.T) { testBruteForce(t, s) })
	t.Run("status", func(t *testing.T) { testCollectorStatus(t, s) })
	s.stop()
}

// registered imports the units while the system runs, and waits until they are
// known to it.
func registered(s *system) {
	s.t.Helper()
	file := filepath.Join(s.dir, "units.yaml")
	write(s.t, file, units)
	s.run("registry", "import", file)
	n := 0
	s.eventually(30*time.Second, "the registry is known", func() error {
		n++
		probe := fmt.Sprintf("probe%d", n)
		send(s.t, "tcp", s.input("shared", "tcp"), "<13>1 2026-03-01T08:00:00Z "+probe+" app - - - from 10.1.2.3\n")
		time.Sleep(time.Second)
		events, err := tryFind[map[string]any](s, "events", "host.name = "+probe)
		if err == nil && (len(events) != 1 || events[0]["organization.id"] != "10003") {
			err = fmt.Errorf("%v", events)
		}
		return err
	})
}

// testCollectorStatus: the books of the collector balance, and beside them stands
// what the store knows of a source whose clock is wrong and whose lines are odd.
func testCollectorStatus(t *testing.T, s *system) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	conn, err := from.Dial("tcp", s.input("own", "tcp"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ahead := time.Now().Add(2 * time.Hour).UTC().Format(time.RFC3339)
	for _, text := range []string{"one", "two", "three", "\xff\xfe"} {
		if _, err := fmt.Fprintf(conn, "<13>1 %s clock app - - - %s\n", ahead, text); err != nil {
			t.Fatal(err)
		}
	}
	var status collectorStatus
	s.eventually(30*time.Second, "the status tells of the lines", func() error {
		status = collectorStatus{}
		if err := json.Unmarshal([]byte(s.run("collector", "status", "--json")), &status); err != nil {
			return err
		}
		for _, a := range status.Sources {
			if a.Received != a.Shipped+a.Spooled+a.Queued+a.Lost {
				t.Errorf("the books do not balance: %+v", a)
			}
			if a.Source == "127.0.0.2" && a.Received == 4 && a.Shipped == 4 && a.Queued == 0 && a.Input == "own" && a.Unit == "10001" && time.Since(a.Last) < time.Minute {
				for _, h := range status.Stored {
					if h.Source == a.Source && h.Events == 3 && h.Letters == 1 && h.Dataset == "system.syslog" && (h.Skew-2*time.Hour).Abs() < time.Minute {
						return nil
					}
				}
			}
		}
		return fmt.Errorf("%s %+v %+v", status.Store, status.Sources, status.Stored)
	})
	if len(status.Inputs) != 2 || len(status.Inputs[0].Listens) == 0 || status.Inputs[0].KernelDrops == nil {
		t.Errorf("inputs: %+v", status.Inputs)
	}
	text := s.run("collector", "status", "--sources")
	for _, want := range []string{"RECEIVED", "own", "shared", "127.0.0.2", "LETTERS"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
	t.Logf("\n%s", text)
}

// one waits for the one event that meets the query.
func (s *system) one(query string) map[string]any {
	s.t.Helper()
	var found []map[string]any
	s.eventually(30*time.Second, "one event of "+query, func() (err error) {
		found, err = tryFind[map[string]any](s, "events", query)
		if err == nil && len(found) != 1 {
			err = fmt.Errorf("%d events", len(found))
		}
		return err
	})
	return found[0]
}

// command runs a program of this machine.
func command(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
}

// arrived checks an event's unit, host, and time, which is told to the second
// at least.
func arrived(t *testing.T, ev map[string]any, unit, name string, from time.Time) {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339Nano, ev["@timestamp"].(string))
	if err != nil || at.Before(from.Truncate(time.Second)) || at.After(time.Now()) {
		t.Errorf("time %v, want between %v and now (%v)", ev["@timestamp"], from, err)
	}
	short, _, _ := strings.Cut(host, ".")
	got, _ := ev["host.name"].(string)
	if shortGot, _, _ := strings.Cut(got, "."); shortGot != short {
		t.Errorf("host %q, want %q", got, host)
	}
	if ev["organization.id"] != unit || ev["organization.name"] != name {
		t.Errorf("unit %v %v, want %s", ev["organization.id"], ev["organization.name"], unit)
	}
}

func testLogger(t *testing.T, s *system) {
	n := 0
	f := func(input, network, format, unit, name string) {
		t.Helper()
		n++
		user := fmt.Sprintf("li%d", n)
		host, port, _ := strings.Cut(s.input(input, network), ":")
		from := time.Now()
		args := []string{"--server", host, "--port", port, "--" + network, "--" + format, "--tag", "sshd", "--priority", "authpriv.info"}
		command(t, "logger", append(args, "Accepted password for "+user+" from 198.51.100.9 port 50022 ssh2")...)
		ev := s.one("user.name = " + user)
		arrived(t, ev, unit, name, from)
		if ev["source.ip"] != "198.51.100.9" || ev["event.outcome"] != "success" || ev["process.name"] != "sshd" {
			t.Errorf("%v", ev)
		}
	}
	for _, network := range []string{"udp", "tcp"} {
		for _, format := range []string{"rfc5424", "rfc3164"} {
			f("own", network, format, "10001", "第一大学")
			f("shared", network, format, "10003", "第三大学") // by the sender's address
		}
	}
	// An address of the line itself tells more than the sender's.
	host, port, _ := strings.Cut(s.input("shared", "udp"), ":")
	command(t, "logger", "--server", host, "--port", port, "--udp", "--tag", "sshd", "Accepted password for wang from 10.2.3.4 port 50022 ssh2")
	if ev := s.one("user.name = wang"); ev["organization.id"] != "10002" {
		t.Errorf("unit %v of an address in 10.2.0.0/16", ev["organization.id"])
	}
}

// testRsyslog has a real rsyslogd follow a file and forward it.
func testRsyslog(t *testing.T, s *system) {
	dir := t.TempDir()
	file := filepath.Join(dir, "app.log")
	_, tcp, _ := strings.Cut(s.input("own", "tcp"), ":")
	_, udp, _ := strings.Cut(s.input("shared", "udp"), ":")
	conf := filepath.Join(dir, "rsyslog.conf")
	write(t, conf, fmt.Sprintf(`global(workDirectory="%[1]s")
module(load="imfile" mode="polling" pollingInterval="1")
input(type="imfile" file="%[2]s" tag="sshd[42]:" severity="info" facility="auth")
action(type="omfwd" target="127.0.0.1" port="%[3]s" protocol="tcp" TCP_Framing="octet-counted" template="RSYSLOG_SyslogProtocol23Format")
action(type="omfwd" target="127.0.0.1" port="%[4]s" protocol="udp" template="RSYSLOG_TraditionalForwardFormat")
`, dir, file, tcp, udp))
	from := time.Now()
	write(t, file, "Accepted password for zhao from 198.51.100.9 port 50022 ssh2\nAccepted password for qian from 198.51.100.9 port 50023 ssh2\n")
	cmd := exec.Command("rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	cmd.Stderr = &logBuffer{}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed, as it should be
		if t.Failed() {
			t.Logf("rsyslogd: %s", cmd.Stderr)
		}
	})
	for _, user := range []string{"zhao", "qian"} {
		arrived(t, s.one("user.name = "+user+" && fengsui.input = own"), "10001", "第一大学", from)
		arrived(t, s.one("user.name = "+user+" && fengsui.input = shared"), "10003", "第三大学", from)
	}
}

// failures has logger send n failed logins from an address.
func failures(t *testing.T, s *system, n, ports int, from string) {
	t.Helper()
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Failed password for invalid user oracle from %s port %d ssh2\n", from, ports+i)
	}
	file := filepath.Join(t.TempDir(), "lines")
	write(t, file, b.String())
	host, port, _ := strings.Cut(s.input("own", "tcp"), ":")
	command(t, "logger", "--server", host, "--port", port, "--tcp", "--tag", "sshd", "--priority", "auth.info", "--file", file)
}

// alerted waits until all alerts about an address are one, which has counted so
// many events.
func alerted(s *system, address string, count uint64) (alert schemas.Alert) {
	s.t.Helper()
	s.eventually(30*time.Second, fmt.Sprintf("one alert about %s that counts %d", address, count), func() error {
		all, err := tryFind[schemas.Alert](s, "alerts", "")
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(a schemas.Alert) bool {
			return !slices.Contains(a.Group, schemas.GroupValue{Field: "source.ip", Value: address})
		})
		if len(all) != 1 || all[0].Count != count {
			return fmt.Errorf("%+v", all)
		}
		alert = all[0]
		return nil
	})
	return alert
}

// testBruteForce: fifty failures are one alert, over a restart in their midst.
func testBruteForce(t *testing.T, s *system) {
	failures(t, s, 50, 40000, "203.0.113.50")
	failures(t, s, 6, 40000, "203.0.113.6") // too few as yet
	first := alerted(s, "203.0.113.50", 50)
	if !strings.Contains(first.Rule.Title, "SSH brute force") || first.Unit != "10001" || first.Status != schemas.AlertOpen || first.Host == "" {
		t.Errorf("%+v", first)
	}
	stored := find[map[string]any](s, "events", "source.ip = 203.0.113.50 && event.outcome = failure")
	if len(stored) != 50 {
		t.Errorf("%d events", len(stored))
	}
	ids := map[any]bool{}
	for _, ev := range stored {
		ids[ev["event.id"]] = true
	}
	for _, id := range first.EventIDs {
		if !ids[id] {
			t.Errorf("the alert names event %s, which is not there", id)
		}
	}
	s.eventually(30*time.Second, "the six are stored", func() error {
		six, err := tryFind[map[string]any](s, "events", "source.ip = 203.0.113.6")
		if err == nil && len(six) != 6 {
			err = fmt.Errorf("%d events", len(six))
		}
		return err
	})

	s.stop()
	s.start()
	failures(t, s, 25, 41000, "203.0.113.50")
	failures(t, s, 4, 41000, "203.0.113.6")
	if again := alerted(s, "203.0.113.50", 75); again.ID != first.ID || !again.Raised.Equal(first.Raised) {
		t.Errorf("after the restart another alert: %+v", again)
	}
	alerted(s, "203.0.113.6", 10) // six before the restart and four after it
	for _, a := range find[schemas.Alert](s, "alerts", "") {
		if a.Rule.Title == "SSH 登录失败 / SSH login failed" {
			t.Errorf("a single failure is an alert: %+v", a)
		}
	}
}
