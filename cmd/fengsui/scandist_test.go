package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"fengsui/internal/clickhouse"
	"fengsui/internal/hours"
	"fengsui/internal/kafka"
	"fengsui/internal/testkit/lab"
	"fengsui/scanner/queue"
	"fengsui/schemas"
)

// scanLab is a campus with a second scanner on another machine. The embedded
// broker serves its own machine alone, so what the second one says to it is
// carried over by the test, beside the lab's links: these carry scans alone.
type scanLab struct {
	*campus
	there     *lab.Host
	remote    *exec.Cmd
	remoteLog *logBuffer
	carried   bool
}

// newScanLab starts the system, whose own scanner is named "here".
func newScanLab(t *testing.T, scanning string) *scanLab {
	t.Helper()
	c := newCampusWith(t, ", id: here, lease: 5s"+scanning)
	c.bind(campusRecords)
	c.start()
	return &scanLab{campus: c, there: c.lab.Host("remote", "10.52.0.2", "")}
}

// carry has what a process in one place says to an address of its loopback said to
// the same address of a host.
func carry(t *testing.T, from func(func() error) error, to *lab.Host, addr string) {
	t.Helper()
	var ln net.Listener
	if err := from(func() (err error) { ln, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			a, err := ln.Accept()
			if err != nil {
				return
			}
			var b net.Conn
			if err := to.In(func() (err error) { b, err = net.Dial("tcp", addr); return err }); err != nil {
				_ = a.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
				go func() {
					_, _ = io.Copy(way[0], way[1])
					_ = a.Close()
					_ = b.Close()
				}()
			}
		}
	}()
}

// second starts the second scanner, named "there".
func (s *scanLab) second() {
	s.t.Helper()
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	carry(s.t, s.there.In, s.scanner, cfg.Kafka.Brokers[0])
	s.remoteLog = &logBuffer{}
	s.remote = s.there.Command(binary, "scanner", "--data-dir", s.dir)
	s.remote.Env = append(s.env, "FENGSUI_SCANNER__ID=there")
	s.remote.Stderr = s.remoteLog
	if err := s.remote.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.killSecond()
		if s.t.Failed() {
			s.t.Logf("the second scanner said:\n%s", s.remoteLog.tail(4000))
		}
	})
	s.eventually(30*time.Second, "two scanners live", func() error {
		if agents := s.agents(); len(agents) != 2 {
			return fmt.Errorf("%+v", agents)
		}
		return nil
	})
}

// killSecond ends it as kill -9 does.
func (s *scanLab) killSecond() {
	if s.remote.ProcessState == nil {
		_ = s.remote.Process.Kill()
		_ = s.remote.Wait()
	}
}

func lines[T any](t *testing.T, text string) (out []T) {
	t.Helper()
	for line := range strings.Lines(text) {
		var v T
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		out = append(out, v)
	}
	return out
}

func (s *scanLab) agents() []schemas.ScanAgent {
	s.t.Helper()
	return lines[schemas.ScanAgent](s.t, s.run("scan", "agents", "--json"))
}

func (s *scanLab) status(job string) queue.Job {
	s.t.Helper()
	return lines[queue.Job](s.t, s.run("scan", "status", job, "--json"))[0]
}

// plan starts a job and does not wait for it.
func (s *scanLab) plan(args ...string) string {
	s.t.Helper()
	out := s.run(append([]string{"scan", "--json"}, args...)...)
	var said struct{ Job string }
	if err := json.Unmarshal([]byte(out), &said); err != nil || said.Job == "" {
		s.t.Fatalf("%q: %v", out, err)
	}
	return said.Job
}

// over waits until a job is over and in the store, and returns it.
func (s *scanLab) over(job string, limit time.Duration) (j queue.Job) {
	s.t.Helper()
	db := s.db()
	s.eventually(limit, "the job is over", func() error {
		j = s.status(job)
		n, err := s.count(db, "SELECT uniqExact(shard) FROM observations WHERE job = ? AND kind = 'done'", job)
		if err != nil || !j.Over() || int(n) != j.Shards {
			return fmt.Errorf("%+v, %d in the store, %w", j, n, err)
		}
		return nil
	})
	return j
}

// journal is what was put down of a job's attempts, in order of time.
func (s *scanLab) journal(job string) []schemas.Observation {
	s.t.Helper()
	all, err := clickhouse.LoadDocs[schemas.Observation](s.t.Context(), s.db(), "observations", "job = ? AND kind IN ('begun', 'ended', 'done')", job)
	if err != nil {
		s.t.Fatal(err)
	}
	slices.SortFunc(all, func(a, b schemas.Observation) int { return a.Time.Compare(b.Time) })
	return all
}

// sent is how many packets a host has sent to an address.
func sent(t *testing.T, s *lab.Sniffer, ip string) int {
	t.Helper()
	all, err := s.Sent()
	if err != nil {
		t.Fatal(err)
	}
	return all[netip.MustParseAddr(ip)]
}

const scanUnits = "units: [{code: edu, name: 省教育厅, level: province}, {code: u1, name: 示例大学, level: university, parent: edu}]\n"

// singleNetwork is one address as a network of its own, to be scanned in a way of its own.
func singleNetwork(ip, more string) string {
	return fmt.Sprintf("  - {prefix: %s/32, unit: u1, scan: true%s}\n", ip, more)
}

// Two scanners on two machines share a job; one is killed in the middle of a
// shard, which goes to the other. Each shard is done once, nothing is missing,
// and why each packet was sent can be told.
func TestTwoScannersShareAJob(t *testing.T) {
	s := newScanLab(t, "")
	registry := scanUnits + "networks:\n"
	var ips []string
	for i := range 6 {
		ip := fmt.Sprintf("10.60.1.%d", 100+i)
		s.web.AddAddress(ip)
		ips = append(ips, ip)
		registry += singleNetwork(ip, ", rate: 800")
	}
	s.web.Listen(3000)
	s.register(registry)
	s.second()

	begin := time.Now()
	job := s.plan("--unit", "u1", "--ports", "1-4000", "--reason", "年度普查")
	victim := ""
	s.eventually(time.Minute, "both work, the second on ports", func() error {
		j := s.status(job)
		for _, a := range s.agents() {
			if a.Scanner == "there" {
				victim = a.Shard
			}
		}
		began := slices.ContainsFunc(s.journal(job), func(o schemas.Observation) bool {
			return o.Kind == schemas.ObservedBegun && o.Name == victim && o.Attempt.Kind == schemas.TaskSweep
		})
		if len(j.Agents) != 2 || !began {
			return fmt.Errorf("%+v, the second at %q", j, victim)
		}
		if j.Left <= 0 && j.Seconds <= 0 {
			t.Errorf("no estimate: %+v", j)
		}
		return nil
	})
	s.killSecond()
	killed := time.Now()
	j := s.over(job, 2*time.Minute)
	t.Logf("%d shards took %v; the killed scanner's shard was waited for %v", j.Shards, time.Since(begin).Round(time.Second), time.Since(killed).Round(time.Second))
	if j.Done != j.Shards || j.Failed+j.Refused+j.Expired != 0 {
		t.Errorf("%+v", j)
	}

	by, begun := map[string][]string{}, map[string]int{}
	takenOver := false
	for _, o := range s.journal(job) {
		switch {
		case o.Kind == schemas.ObservedBegun:
			begun[o.Scanner]++
			takenOver = takenOver || o.Name == victim && o.Scanner == "here" && o.Attempt.Epoch == 2
		case o.Kind == schemas.ObservedDone:
			by[o.Name] = append(by[o.Name], o.Scanner)
		}
	}
	if begun["here"] == 0 || begun["there"] == 0 || !takenOver {
		t.Errorf("begun by %v; the killed one's shard %s taken over: %v", begun, victim, takenOver)
	}
	for shard, scanners := range by {
		if len(scanners) != 1 {
			t.Errorf("%s was done by %v", shard, scanners)
		}
	}
	for _, ip := range ips {
		if n, err := s.count(s.db(), "SELECT count() FROM assets FINAL WHERE key = ?", "service/"+ip+"/tcp/3000"); err != nil || n != 1 {
			t.Errorf("%s: %d services, %v", ip, n, err)
		}
	}

	// Who sent that packet to one of them, and why? The killed one's attempt never
	// ended; the other's did.
	var target string
	for _, o := range s.journal(job) {
		if o.Name == victim && o.Kind == schemas.ObservedBegun && o.Scanner == "there" {
			target = o.Attempt.Targets[0].Addr().String()
			at := o.Attempt.Started.Add(time.Second).Format(time.RFC3339)
			found := lines[schemas.Observation](t, s.run("scan", "why", target, "--at", at, "--json"))
			i := slices.IndexFunc(found, func(f schemas.Observation) bool { return f.Name == victim && f.Scanner == "there" })
			if i < 0 {
				t.Fatalf("%s at %s: %+v", target, at, found)
			}
			a := found[i].Attempt
			if a.By != me() || a.Reason != "年度普查" || !slices.Equal(a.Sources, []netip.Addr{s.there.IP4}) || !a.Ended.IsZero() || a.Rate != 800 {
				t.Errorf("%+v", a)
			}
		}
	}
	if target == "" {
		t.Errorf("the second scanner's attempt at %s is not in the journal", victim)
	}
	if text := s.run("scan", "why", "10.60.1.200"); !strings.Contains(text, "nothing found") {
		t.Errorf("an address that nobody looked at: %s", text)
	}
	if text := s.run("scan", "why", target); !strings.Contains(text, "年度普查") || !strings.Contains(text, job) {
		t.Errorf("%s", text)
	}
}

// A stop silences every scanner within two seconds, for as long as it stands;
// what was stopped goes on when it is taken back.
func TestStopSilencesAllScanners(t *testing.T) {
	s := newScanLab(t, ", rate: 300")
	s.web.AddAddress("10.60.1.101")
	s.web.AddAddress("10.60.1.102")
	s.register(scanUnits + "networks:\n" + singleNetwork("10.60.1.101", ", rate: 200") + singleNetwork("10.60.1.102", ", rate: 200"))
	s.second()
	here, there := s.scanner.Sniff(), s.there.Sniff()
	count := func() (int, int) {
		return sent(t, here, "10.60.1.101") + sent(t, here, "10.60.1.102"), sent(t, there, "10.60.1.101") + sent(t, there, "10.60.1.102")
	}
	flowing := func() {
		t.Helper()
		a, b := count()
		s.eventually(time.Minute, "both scanners send", func() error {
			if c, d := count(); c < a+100 || d < b+100 {
				return fmt.Errorf("%d and %d packets", c-a, d-b)
			}
			return nil
		})
	}
	silent := func(what string, since time.Time) { // since the stop was said: starting a command takes its time
		t.Helper()
		time.Sleep(time.Until(since.Add(2 * time.Second)))
		a, b := count()
		time.Sleep(2 * time.Second)
		if c, d := count(); a != c || b != d {
			t.Errorf("%s: %d and %d packets two seconds later", what, c-a, d-b)
		}
	}
	job := s.plan("--unit", "u1", "--ports", "1-30000")
	flowing()
	begin := time.Now()
	s.run("scan", "stop", "--all", "--reason", "误扫")
	t.Logf("stop --all returned after %v", time.Since(begin).Round(time.Millisecond))
	j := s.status(job)
	if j.Stopped != nil {
		silent("stop --all", j.Stopped.Time)
	}
	if j.Stopped == nil || j.Stopped.Reason != "误扫" || j.Stopped.By != me() || j.Running != 0 {
		t.Errorf("%+v", j)
	}
	later := s.plan("--unit", "u1", "--ports", "1-100") // nor does a later job
	silent("a job after stop --all", time.Now())
	s.run("scan", "resume", "--all")
	flowing()
	s.run("scan", "stop", job) // the other goes on, and ends
	if j := s.over(later, 2*time.Minute); j.Done != j.Shards {
		t.Errorf("%+v", j)
	}
	silent("stop JOB", time.Now())
	if out, err := s.try("scan", "stop", "nonesuch"); err == nil {
		t.Errorf("a job that does not exist is stopped: %s", out)
	}
	var stopped []string
	s.eventually(20*time.Second, "the journal tells of the stops", func() error {
		stopped = nil
		for _, o := range s.journal(job) {
			if o.Kind == schemas.ObservedEnded && o.Attempt.Outcome == schemas.ShardStopped {
				stopped = append(stopped, o.Scanner)
			}
		}
		if len(stopped) < 3 || !slices.Contains(stopped, "here") || !slices.Contains(stopped, "there") {
			return fmt.Errorf("stopped: %v", stopped)
		}
		return nil
	})
}

// A target that answers nothing does not hold the queue: its shard is left in
// time, the others are done meanwhile, and the job ends and says what failed.
func TestABlackholeDoesNotHoldTheQueue(t *testing.T) {
	s := newScanLab(t, ", shard_timeout: 8s")
	s.lab.Blackhole("10.66.0.0/24")
	s.web.AddAddress("10.60.1.101")
	s.web.Listen(3000)
	// The blackhole has no rate of its own, so it is the first in the job.
	s.register(scanUnits + "networks:\n  - {prefix: 10.66.0.0/24, unit: u1, scan: true}\n" + singleNetwork("10.60.1.101", ", rate: 999"))
	job := s.plan("--unit", "u1", "--ports", "2500-3400")
	db := s.db()
	s.eventually(2*time.Minute, "what answers is found", func() error {
		n, err := s.count(db, "SELECT count() FROM assets FINAL WHERE key = 'service/10.60.1.101/tcp/3000'")
		if err != nil || n != 1 {
			return fmt.Errorf("%d, %w", n, err)
		}
		return nil
	})
	if j := s.status(job); j.Over() {
		t.Errorf("the blackhole was not in the way: %+v", j)
	}
	j := s.over(job, 4*time.Minute)
	if j.Failed == 0 || j.Done == 0 || len(j.Errors) == 0 || !strings.Contains(j.Errors[0], "took longer than 8s") {
		t.Errorf("%+v", j)
	}
	attempts := map[string]int{}
	for _, o := range s.journal(job) {
		if o.Kind == schemas.ObservedBegun {
			attempts[o.Shard]++
		}
		if o.Kind != schemas.ObservedBegun && o.Attempt.Ended.Sub(o.Attempt.Started) > 12*time.Second {
			t.Errorf("an attempt took %v", o.Attempt.Ended.Sub(o.Attempt.Started))
		}
	}
	if most := slices.Max(slices.Collect(maps.Values(attempts))); most != 3 {
		t.Errorf("attempts by shard: %v", attempts)
	}
	t.Logf("%+v", j)
}

// A job that somebody waits for passes one in the background, as soon as a shard
// ends.
func TestInteractivePassesBackground(t *testing.T) {
	s := newScanLab(t, "")
	registry := scanUnits + "networks:\n"
	for i := range 5 {
		ip := fmt.Sprintf("10.60.1.%d", 100+i)
		s.web.AddAddress(ip)
		registry += singleNetwork(ip, ", rate: 1000")
	}
	s.register(registry)
	slow := s.plan("--unit", "u1", "--ports", "1-3000", "--background")
	s.eventually(time.Minute, "the background job runs", func() error {
		if j := s.status(slow); j.Running == 0 {
			return fmt.Errorf("%+v", j)
		}
		return nil
	})
	fast := s.plan("--unit", "u1", "--ports", "1-50")
	if j := s.over(fast, 2*time.Minute); j.Done != j.Shards {
		t.Errorf("%+v", j)
	}
	j := s.status(slow)
	if j.Over() || j.Class != schemas.ScanPeriodic {
		t.Errorf("the background job came first: %+v", j)
	}
	journal := s.journal(fast)
	first, last := journal[0].Time, journal[len(journal)-1].Time
	s.over(slow, 3*time.Minute)
	between := 0
	for _, o := range s.journal(slow) {
		if o.Kind == schemas.ObservedBegun && o.Time.After(first) && o.Time.Before(last) {
			between++
		}
	}
	if between > 0 {
		t.Errorf("%d shards of the background job began while the other waited", between)
	}
}

// What is excluded, and what is out of its hours, gets no packet, whoever asks
// for it; and when hours end, a shard that runs is left.
func TestHoursAndExclusionsOnTheWire(t *testing.T) {
	s := newScanLab(t, "")
	for i := range 4 {
		s.web.AddAddress(fmt.Sprintf("10.60.1.%d", 100+i))
	}
	now := time.Now().In(hours.Zone)
	hour := func(from, until time.Duration) string {
		return now.Add(from).Format("15:04") + "-" + now.Add(until).Format("15:04")
	}
	closed, open := hour(2*time.Hour, 3*time.Hour), hour(-time.Hour, 2*time.Hour)
	registry := func(hours string) string {
		return scanUnits + "networks:\n  - {prefix: 10.60.1.100/31, unit: u1, scan: true, exclude: [10.60.1.101/32]}\n" +
			singleNetwork("10.60.1.102", fmt.Sprintf(", hours: %q", closed)) +
			singleNetwork("10.60.1.103", fmt.Sprintf(", rate: 300, hours: %q", hours))
	}
	s.register(registry(open))
	sniffer := s.scanner.Sniff()
	job := s.plan("--unit", "u1", "--ports", "1-30000")
	// Somebody else writes tasks as well: for what is excluded, and for what is closed.
	s.write(schemas.ScanTask{Job: "forged", Shard: "1", Targets: []netip.Prefix{netip.MustParsePrefix("10.60.1.100/31")}})
	s.write(schemas.ScanTask{Job: "forged", Shard: "2", Targets: []netip.Prefix{netip.MustParsePrefix("10.60.1.102/32")}})
	s.write(schemas.ScanTask{Job: "forged", Shard: "3", Targets: []netip.Prefix{netip.MustParsePrefix("10.60.1.101/32")}})

	flowing := func() {
		t.Helper()
		before := sent(t, sniffer, "10.60.1.103")
		s.eventually(2*time.Minute, "the open network is scanned", func() error {
			if n := sent(t, sniffer, "10.60.1.103"); n < before+200 {
				return fmt.Errorf("%d packets", n-before)
			}
			return nil
		})
	}
	flowing()
	// Its hours end.
	s.register(registry(closed))
	time.Sleep(3 * time.Second)
	before := sent(t, sniffer, "10.60.1.103")
	time.Sleep(2 * time.Second)
	if after := sent(t, sniffer, "10.60.1.103"); after != before {
		t.Errorf("%d packets out of hours", after-before)
	}
	s.eventually(time.Minute, "what is open is done, and the rest waits", func() error {
		j := s.status(job)
		forged := s.status("forged")
		if j.Waiting == 0 || j.Running+j.Queued+j.Failed+j.Refused != 0 || j.Next.Before(now.Add(time.Hour)) || forged.Refused != 2 || forged.Waiting != 1 {
			return fmt.Errorf("%+v, %+v", j, forged)
		}
		return nil
	})
	// They begin again, sooner than was said: the rest is done.
	s.register(registry(open))
	flowing()

	if n := sent(t, sniffer, "10.60.1.100"); n == 0 {
		t.Error("the counter does not count, or nothing was looked at")
	}
	for _, ip := range []string{"10.60.1.101", "10.60.1.102"} {
		if n := sent(t, sniffer, ip); n != 0 {
			t.Errorf("%d packets to %s", n, ip)
		}
	}
	// Two addresses of one network at 300 packets a second, measured.
	from := sent(t, sniffer, "10.60.1.103")
	start := time.Now()
	time.Sleep(5 * time.Second)
	n := sent(t, sniffer, "10.60.1.103") - from
	if rate := float64(n) / time.Since(start).Seconds(); rate > 1.5*300 { // what was held up is sent a little faster
		t.Errorf("%.0f packets a second, 300 are allowed", rate)
	} else {
		t.Logf("%.0f packets a second of 300", rate)
	}
}

// write puts a task on the topic, as whoever may write there can.
func (s *scanLab) write(task schemas.ScanTask) {
	s.t.Helper()
	task.Kind, task.Unit, task.By, task.Shards, task.Ports = schemas.TaskSweep, "u1", "somebody", 3, "1-1000"
	task.Created, task.Expires = time.Now(), time.Now().Add(time.Hour)
	cfg, err := loadConfig(&globalFlags{dataDir: s.dir})
	if err != nil {
		s.t.Fatal(err)
	}
	value, err := json.Marshal(task)
	if err != nil {
		s.t.Fatal(err)
	}
	if !s.carried { // this test is on no machine of the lab
		s.carried = true
		carry(s.t, func(f func() error) error { return f() }, s.scanner, cfg.Kafka.Brokers[0])
	}
	producer, err := kafka.NewProducer(cfg.Kafka, kafka.Deps{})
	if err == nil {
		record := kafka.Record{Key: []byte(task.Key()), Value: value}
		err = errors.Join(producer.Produce(s.t.Context(), schemas.TopicScanTasks, []kafka.Record{record}), producer.Close())
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
