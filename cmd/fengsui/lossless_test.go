package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"fengsui/internal/clickhouse"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// serviceProcess is one service in a process of its own, as at scale.
type serviceProcess struct {
	s    *system
	name string
	cmd  *exec.Cmd
	log  *logBuffer
	dead chan error
}

// startService runs one service of the system's configuration.
func (s *system) startService(name string) *serviceProcess {
	s.t.Helper()
	p := &serviceProcess{s: s, name: name, log: &logBuffer{}}
	p.start()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Logf("the end of the log of %s:\n%s", name, p.log.tail(3000))
		}
	})
	return p
}

func (p *serviceProcess) start() {
	p.s.t.Helper()
	p.cmd = exec.Command(binary, p.name, "--data-dir", p.s.dir)
	p.cmd.Env, p.cmd.Stderr = p.s.env, p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		p.s.t.Fatal(err)
	}
	dead := make(chan error, 1)
	p.dead = dead
	cmd := p.cmd
	go func() { dead <- cmd.Wait() }()
}

func (p *serviceProcess) kill() {
	if p.cmd != nil {
		_ = p.cmd.Process.Kill()
		<-p.dead
		p.cmd = nil
	}
}

// waitReady waits for the service's own word.
func (p *serviceProcess) waitReady() {
	p.s.t.Helper()
	p.s.eventually(60*time.Second, p.name+" is ready", func() error {
		select {
		case err := <-p.dead:
			p.dead <- err
			p.s.t.Fatalf("%s ended: %v\n%s", p.name, err, p.log.tail(3000))
		default:
		}
		if strings.Contains(p.log.String(), "msg=ready service="+p.name) {
			return nil
		}
		return errors.New("not yet")
	})
}

func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// apart starts every service that a line passes in a process of its own, on the
// embedded engines.
func apart(t *testing.T) (s *system, syslog string, services map[string]*serviceProcess) {
	t.Helper()
	s = newSystem(t, "")
	broker := freePort(t)
	syslog = freePort(t)
	write(t, filepath.Join(s.dir, "fengsui.yaml"), fmt.Sprintf(`
kafka: {brokers: [%q]}
broker: {listen: %q}
clickhouse: {addr: "unix://%s/store/store.sock"}
console: {listen: "127.0.0.1:0"}
collector:
  inputs:
    - {name: syslog, type: syslog, format: syslog, unit: u1, syslog: {tcp: %q}}
`, broker, broker, s.dir, syslog))
	services = map[string]*serviceProcess{}
	for _, name := range []string{"store", "broker"} {
		services[name] = s.startService(name)
		services[name].waitReady()
	}
	s.run("migrate")
	for _, name := range []string{"console", "analyzer", "collector"} {
		services[name] = s.startService(name)
		services[name].waitReady()
	}
	return s, syslog, services
}

// sender sends numbered lines from one address. Every line of a sender is an
// sshd failure from one of its attackers, but for each hundredth, which is
// garbage.
type sender struct {
	n       int
	lines   int
	perStep time.Duration // pause after each thousand
}

const attackers = 5

func (sn sender) host() string { return fmt.Sprintf("host%d", sn.n) }

func (sn sender) attacker(i int) string { return fmt.Sprintf("192.0.2.%d", 10*sn.n+i%attackers) }

func garbage(i int) bool { return i%100 == 99 }

func (sn sender) run(address string) error {
	from, err := net.ResolveTCPAddr("tcp", fmt.Sprintf("127.0.0.%d:0", 10+sn.n))
	if err != nil {
		return err
	}
	conn, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	w := bufio.NewWriterSize(conn, 64<<10)
	start := time.Now().UTC()
	for i := range sn.lines {
		if garbage(i) {
			fmt.Fprintf(w, "<86>1 garbage %d \xff\xfe of %s\n", i, sn.host())
		} else {
			fmt.Fprintf(w, "<86>1 %s %s sshd %d - - Failed password for root from %s port 22 ssh2\n",
				start.Add(time.Duration(i)*time.Microsecond).Format("2006-01-02T15:04:05.000000Z"), sn.host(), i, sn.attacker(i))
		}
		if i%1000 == 999 {
			if err := w.Flush(); err != nil {
				return err
			}
			time.Sleep(sn.perStep)
		}
	}
	return w.Flush()
}

// TestNothingIsLost sends 200,000 lines while the analyzer, the store and the
// broker are ended in turn by kill -9, and then 40,000 more with Kafka away for
// a minute. Each line is stored once; each attack is one alert that counted each
// of its failures once.
func TestNothingIsLost(t *testing.T) {
	away := time.Minute
	if testing.Short() {
		away = 5 * time.Second
	}
	s, address, services := apart(t)
	db := s.db()
	const senders, each = 4, 50_000
	errs := make(chan error, senders)
	for n := range senders {
		go func() { errs <- sender{n: n, lines: each, perStep: 100 * time.Millisecond}.run(address) }()
	}
	stored := func() uint64 {
		n, _ := s.count(db, "SELECT (SELECT count() FROM events) + (SELECT count() FROM dead_letters)") // the store may be away
		return n
	}
	for i, victim := range []string{"analyzer", "store", "broker", "analyzer"} {
		s.eventually(60*time.Second, "lines are being stored", func() error {
			if n := stored(); n < uint64(i+1)*20_000 {
				return fmt.Errorf("%d so far", n)
			}
			return nil
		})
		p := services[victim]
		p.kill()
		time.Sleep(500 * time.Millisecond)
		p.log = &logBuffer{}
		p.start()
		t.Logf("%s killed at %d lines", victim, stored())
		p.waitReady()
	}
	for range senders {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	checkExact(t, s, db, senders, each)

	// Kafka is away; lines go to the spool.
	services["broker"].kill()
	late := sender{n: senders, lines: 40_000}
	if err := late.run(address); err != nil {
		t.Fatal(err)
	}
	time.Sleep(away)
	if n := stored(); n != senders*each {
		t.Errorf("%d lines stored while Kafka was away", n-senders*each)
	}
	services["broker"].start()
	s.eventually(90*time.Second, "the spool has drained", func() error {
		if n := stored(); n < senders*each+uint64(late.lines) {
			return fmt.Errorf("%d of %d", n, senders*each+late.lines)
		}
		return nil
	})
	checkSender(t, s, db, late)
}

func checkExact(t *testing.T, s *system, db *clickhouse.DB, senders, each int) {
	t.Helper()
	want := uint64(senders * each)
	s.eventually(120*time.Second, "every line is stored", func() error {
		n, err := s.count(db, "SELECT (SELECT count() FROM events) + (SELECT count() FROM dead_letters)")
		if err == nil && n < want {
			err = fmt.Errorf("%d of %d", n, want)
		}
		return err
	})
	for n := range senders {
		checkSender(t, s, db, sender{n: n, lines: each})
	}
	drained(t, s)
	for _, q := range []string{
		"SELECT count() FROM events", "SELECT uniqExact(id) FROM events",
	} {
		if n, err := s.count(db, q); err != nil || n != want*99/100 {
			t.Errorf("%s: %d, want %d (%v)", q, n, want*99/100, err)
		}
	}
	for _, q := range []string{
		"SELECT count() FROM dead_letters", "SELECT uniqExact(raw) FROM dead_letters",
	} {
		if n, err := s.count(db, q); err != nil || n != want/100 {
			t.Errorf("%s: %d, want %d (%v)", q, n, want/100, err)
		}
	}
}

// checkSender sees that each line of a sender is there once and that its
// attackers are one alert each, which counted every failure once.
func checkSender(t *testing.T, s *system, db *clickhouse.DB, sn sender) {
	t.Helper()
	s.eventually(60*time.Second, "every line of "+sn.host()+" is there", func() error {
		n, err := s.count(db, "SELECT uniqExact(process_pid) FROM events WHERE host_name = ?", sn.host())
		if want := uint64(sn.lines * 99 / 100); err == nil && n != want {
			err = fmt.Errorf("%d different lines, want %d", n, want)
		}
		return err
	})
	failures := map[string]uint64{}
	for i := range sn.lines {
		if !garbage(i) {
			failures[sn.attacker(i)]++
		}
	}
	s.eventually(60*time.Second, "the alerts of "+sn.host()+" have counted everything", func() error {
		alerts, err := tryFind[schemas.Alert](s, "alerts", "host = "+sn.host())
		if err != nil {
			return err
		}
		got := map[string]uint64{}
		for _, a := range alerts {
			ip := groupValue(&a, "source.ip")
			if _, twice := got[a.Rule.ID+ip]; twice {
				return fmt.Errorf("two alerts of rule %s for %s", a.Rule.Title, ip)
			}
			got[a.Rule.ID+ip] = a.Count
			if strings.Contains(a.Rule.Title, "brute force") && a.Count != failures[ip] {
				return fmt.Errorf("the alert for %s has counted %d of %d failures", ip, a.Count, failures[ip])
			}
		}
		if len(got) < attackers {
			return fmt.Errorf("%d alerts, want at least %d: %v", len(got), attackers, got)
		}
		return nil
	})
}

func groupValue(a *schemas.Alert, field string) string {
	for _, g := range a.Group {
		if g.Field == field {
			return g.Value
		}
	}
	return ""
}

// drained waits until the analyzer has committed everything in its topics, after
// which nothing can be stored twice any more.
func drained(t *testing.T, s *system) {
	t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		t.Fatal(err)
	}
	c, err := kafka.NewClient(cfg.Kafka)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s.eventually(60*time.Second, "the topics are read to their end", func() error {
		for _, topic := range []string{schemas.TopicLogs, schemas.TopicMatches} {
			lag, err := c.Lag(context.Background(), cfg.Analyzer.Group+"-"+topic, topic)
			if err != nil {
				return err
			}
			if lag > 0 {
				return fmt.Errorf("%s: %d records behind", topic, lag)
			}
		}
		return nil
	})
}
