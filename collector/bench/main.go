// Command bench measures how fast the collector takes syslog in, beside rsyslog
// and syslog-ng: the same messages, from the same generator, into the same broker,
// which is fengsui's own. It prints a table in Markdown. See ingest.sh.
//
// All of it listens and sends on loopback only.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"fengsui/internal/kafka"
	"fengsui/schemas"
)

type bench struct {
	fengsui     string // the program
	aside       string // where syslog-ng is unpacked
	dir         string
	connections int
	messages    int
	udpSeconds  float64
	compression string
	kafka       string // address of the broker
	metrics     string
}

func main() {
	var b bench
	var peers, rates string
	var rounds int
	flag.StringVar(&b.fengsui, "fengsui", "bin/fengsui", "the program")
	flag.StringVar(&b.aside, "aside", "deploy/setup/aside", "where syslog-ng is unpacked")
	flag.StringVar(&peers, "peers", "fengsui,fengsui-spool,rsyslog,syslog-ng", "who is measured")
	flag.IntVar(&b.connections, "connections", 4, "over TCP")
	flag.IntVar(&b.messages, "messages", 6_000_000, "over TCP")
	flag.IntVar(&rounds, "rounds", 3, "over TCP; the median is told")
	flag.StringVar(&rates, "rates", "100000,200000,300000,400000,500000", "messages a second over UDP, up to the first that loses; empty: none")
	flag.Float64Var(&b.udpSeconds, "seconds", 3, "of each rate over UDP")
	flag.StringVar(&b.compression, "compression", "none", "of what goes to the broker: none or lz4")
	flag.Parse()
	if err := b.run(strings.Split(peers, ","), rounds, numbers(rates)); err != nil {
		log.Fatal(err)
	}
}

func numbers(list string) (out []int) {
	for s := range strings.SplitSeq(list, ",") {
		if n, err := strconv.Atoi(s); err == nil {
			out = append(out, n)
		}
	}
	return out
}

func (b *bench) run(peers []string, rounds int, rates []int) (err error) {
	if b.dir, err = os.MkdirTemp("", "ingest"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir) //nolint:errcheck // in the folder for such things
	fmt.Printf("| TCP, %d connections, %d messages of %d B, octet counting | messages/s | CPU s per million |\n|---|---|---|\n", b.connections, b.messages, len(message))
	for _, name := range peers {
		var speeds, costs []float64
		for range rounds {
			speed, cost, err := b.tcp(name)
			if err != nil {
				return fmt.Errorf("%s over TCP: %w", name, err)
			}
			speeds, costs = append(speeds, speed), append(costs, cost)
		}
		fmt.Printf("| %s | %.0fk | %.2f |\n", name, median(speeds)/1000, median(costs))
	}
	if len(rates) == 0 {
		return nil
	}
	fmt.Printf("\n| UDP, for %gs | sent/s | arrived | CPU s per million |\n|---|---|---|---|\n", b.udpSeconds)
	for _, name := range peers {
		for _, rate := range rates {
			if name == "fengsui-spool" {
				break
			}
			sent, arrived, took, cost, err := b.udp(name, rate)
			if err != nil {
				return fmt.Errorf("%s over UDP: %w", name, err)
			}
			fmt.Printf("| %s | %.0fk | %.3f %% | %.2f |\n", name, float64(sent)/took.Seconds()/1000, 100*float64(arrived)/float64(sent), cost)
			if arrived < sent {
				break
			}
		}
	}
	return nil
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

// tcp measures one peer: messages a second from the first byte to the last record
// in the broker, or in the spool, and processor seconds per million of them.
func (b *bench) tcp(name string) (speed, cost float64, err error) {
	p, err := b.start(name)
	if err != nil {
		return 0, 0, err
	}
	defer p.stop()
	if err := send(p.tcp, 1, 100); err != nil { // what is done only once is done
		return 0, 0, err
	}
	if err := p.arrive(100, time.Minute); err != nil {
		return 0, 0, err
	}
	before, start := p.cpu(), time.Now()
	if err := send(p.tcp, b.connections, b.messages); err != nil {
		return 0, 0, err
	}
	if err := p.arrive(100+b.messages, 5*time.Minute); err != nil {
		return 0, 0, err
	}
	took := time.Since(start)
	return float64(b.messages) / took.Seconds(), (p.cpu() - before) * 1e6 / float64(b.messages), nil
}

// udp sends at a rate and counts what arrived.
func (b *bench) udp(name string, rate int) (sent, arrived int, took time.Duration, cost float64, err error) {
	p, err := b.start(name)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	defer p.stop()
	if err := send(p.tcp, 1, 100); err != nil {
		return 0, 0, 0, 0, err
	}
	if err := p.arrive(100, time.Minute); err != nil {
		return 0, 0, 0, 0, err
	}
	before, start := p.cpu(), time.Now()
	if sent, err = sendDatagrams(p.udp, rate, b.udpSeconds); err != nil {
		return 0, 0, 0, 0, err
	}
	took = time.Since(start)
	arrived = p.settle() - 100
	return sent, arrived, took, (p.cpu() - before) * 1e6 / float64(max(arrived, 1)), nil
}

// peer is one that runs, with a broker of its own.
type peer struct {
	cmd, broker *exec.Cmd
	dir         string // of both
	tcp, udp    string
	count       func() (int, error) // records that it has brought where they belong
}

func (p *peer) stop() {
	for _, c := range []*exec.Cmd{p.cmd, p.broker} {
		if c != nil && c.Process != nil {
			_ = c.Process.Kill()
			_ = c.Wait() // it was killed
		}
	}
	_ = os.RemoveAll(p.dir) // else the next would share the disk with what this one wrote
}

// cpu is the processor time in seconds that the peer has used, user and system,
// of all its threads: getrusage(2)'s figures as /proc has them.
func (p *peer) cpu() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+2:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100 // USER_HZ
}

// arrive waits for a number of records.
func (p *peer) arrive(n int, most time.Duration) error {
	deadline := time.Now().Add(most)
	for {
		got, err := p.count()
		if err == nil && got >= n {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d records after %v: %w", got, n, most, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// settle is the number of records when no more have come for a second.
func (p *peer) settle() (n int) {
	for last := time.Now(); time.Since(last) < time.Second; time.Sleep(20 * time.Millisecond) {
		if got, err := p.count(); err == nil && got != n {
			n, last = got, time.Now()
		}
	}
	return n
}

func (b *bench) start(name string) (*peer, error) {
	dir, err := os.MkdirTemp(b.dir, name)
	if err != nil {
		return nil, err
	}
	p := &peer{dir: dir}
	ports := freePorts(5)
	p.tcp, p.udp, b.kafka, b.metrics = "127.0.0.1:"+ports[0], "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2], "127.0.0.1:"+ports[3]
	if name != "fengsui-spool" {
		err = b.startBroker(p, dir)
	}
	if err == nil {
		switch name {
		case "fengsui", "fengsui-spool":
			err = b.startFengsui(p, name, dir)
		case "rsyslog":
			err = b.startRsyslog(p, dir)
		case "syslog-ng":
			err = b.startSyslogNG(p, dir)
		default:
			err = fmt.Errorf("%q is none of the peers", name)
		}
	}
	if err == nil {
		err = reachable(p.tcp)
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func freePorts(n int) (ports []string) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			log.Fatal(err)
		}
		defer l.Close() //nolint:errcheck // nothing was accepted
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func reachable(address string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			return c.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func run(dir string, env []string, name string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(name, args...) //nolint:gosec // what is measured
	out, err := os.Create(filepath.Join(dir, filepath.Base(name)+".out"))
	if err != nil {
		return nil, err
	}
	defer out.Close() //nolint:errcheck // the child has it
	cmd.Stdout, cmd.Stderr, cmd.Env = out, out, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd, cmd.Start()
}

func write(dir, name, text string) (string, error) {
	path := filepath.Join(dir, name)
	return path, os.WriteFile(path, []byte(text), 0o600)
}

// startBroker starts the broker with the topic that everybody writes into.
func (b *bench) startBroker(p *peer, dir string) error {
	conf, err := write(dir, "broker.yaml", fmt.Sprintf("data_dir: %s/data\nbroker: {dir: %s/broker, listen: %s, sync: false}\n", dir, dir, b.kafka))
	if err == nil {
		p.broker, err = run(dir, nil, b.fengsui, "broker", "--config", conf)
	}
	if err == nil {
		err = reachable(b.kafka)
	}
	if err != nil {
		return fmt.Errorf("starting the broker: %w", err)
	}
	cfg := kafka.DefaultConfig()
	cfg.Brokers = []string{b.kafka}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	topic := schemas.Topic{Name: schemas.TopicLogs, Partitions: 4, Retention: time.Hour, RetentionBytes: 8 << 30}
	if err := kafka.EnsureTopics(ctx, cfg, []schemas.Topic{topic}, 1); err != nil {
		return err
	}
	client, err := kafka.NewClient(cfg)
	if err != nil {
		return err
	}
	p.count = func() (sum int, err error) {
		for i := range topic.Partitions {
			_, end, err := client.Bounds(context.Background(), topic.Name, i)
			if err != nil {
				return 0, err
			}
			sum += int(end)
		}
		return sum, nil
	}
	return nil
}

func (b *bench) startFengsui(p *peer, name, dir string) (err error) {
	conf, err := write(dir, "fengsui.yaml", fmt.Sprintf(`data_dir: %[1]s/data
log: {level: warn}
metrics: {listen: "%[5]s"}
kafka: {brokers: ["%[2]s"], compression: %[6]s}
collector:
  spool: {max_bytes: 8589934592}
  inputs:
    - {name: bench, type: syslog, unit: "410100", format: syslog, syslog: {udp: "%[3]s", tcp: "%[4]s"}}
`, dir, b.kafka, p.udp, p.tcp, b.metrics, b.compression))
	if err != nil {
		return err
	}
	if name == "fengsui-spool" {
		p.count = func() (int, error) {
			return metric("http://"+b.metrics+"/metrics", "fengsui_collector_spooled_lines_total")
		}
	}
	p.cmd, err = run(dir, nil, b.fengsui, "collector", "--config", conf)
	return err
}

// metric asks for one of the collector's counters.
func metric(url, name string) (int, error) {
	res, err := http.Get(url) //nolint:gosec,noctx // our own address
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // only read from
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if text, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
			return int(n), err
		}
	}
	return 0, errors.New("no " + name)
}

// startRsyslog has rsyslog write what fengsui writes, the raw message, as fast as
// its manual tells: large batches, a worker for each processor.
func (b *bench) startRsyslog(p *peer, dir string) (err error) {
	_, tcp, _ := net.SplitHostPort(p.tcp)
	_, udp, _ := net.SplitHostPort(p.udp)
	conf, err := write(dir, "rsyslog.conf", fmt.Sprintf(`global(workDirectory="%[1]s" maxMessageSize="64k")
main_queue(queue.type="LinkedList" queue.size="500000" queue.dequeueBatchSize="4096" queue.workerThreads="2")
module(load="imudp" batchSize="64" threads="2")
module(load="imptcp" threads="2")
module(load="omkafka")
template(name="raw" type="string" string="%%rawmsg%%")
input(type="imudp" address="127.0.0.1" port="%[3]s" rcvbufSize="8m")
input(type="imptcp" address="127.0.0.1" port="%[2]s")
action(type="omkafka" broker=["%[4]s"] topic="logs" template="raw" partitions.auto="on" errorFile="%[1]s/errors"
  confParam=["compression.codec=%[5]s", "linger.ms=50", "batch.num.messages=10000", "queue.buffering.max.messages=500000", "acks=all"])
`, dir, tcp, udp, b.kafka, b.compression))
	if err == nil {
		p.cmd, err = run(dir, nil, "/usr/sbin/rsyslogd", "-n", "-f", conf, "-i", filepath.Join(dir, "pid"))
	}
	return err
}

// startSyslogNG is startRsyslog for syslog-ng.
func (b *bench) startSyslogNG(p *peer, dir string) error {
	_, tcp, _ := net.SplitHostPort(p.tcp)
	_, udp, _ := net.SplitHostPort(p.udp)
	root, err := filepath.Abs(b.aside)
	if err != nil {
		return err
	}
	libraries, _ := filepath.Glob(filepath.Join(root, "usr/lib/*-linux-gnu"))
	modules, _ := filepath.Glob(filepath.Join(root, "usr/lib/syslog-ng/[0-9]*"))
	if len(modules) != 1 {
		return fmt.Errorf("no syslog-ng in %s: run make test-packages", root)
	}
	conf, err := write(dir, "syslog-ng.conf", fmt.Sprintf(`@version: 3.38
options { stats-freq(0); keep-hostname(yes); threaded(yes); use-dns(no); log-msg-size(65536); };
source tcp { syslog(ip("127.0.0.1") port(%[1]s) transport("tcp") max-connections(64) log-iw-size(100000) log-fetch-limit(1000) flags(store-raw-message)); };
source udp { syslog(ip("127.0.0.1") port(%[2]s) transport("udp") so-rcvbuf(8388608) log-iw-size(100000) log-fetch-limit(1000) flags(store-raw-message)); };
destination d { kafka-c(bootstrap-servers("%[3]s") topic("logs") message("$RAWMSG") workers(2) batch-lines(10000) batch-timeout(50) log-fifo-size(1000000)
  config("compression.codec" => "%[4]s", "linger.ms" => "50", "batch.num.messages" => "10000", "queue.buffering.max.messages" => "500000", "acks" => "all")); };
log { source(tcp); source(udp); destination(d); flags(flow-control); };
`, tcp, udp, b.kafka, b.compression))
	if err == nil {
		p.cmd, err = run(dir, []string{"LD_LIBRARY_PATH=" + strings.Join(append(libraries, filepath.Join(root, "usr/lib/syslog-ng")), ":")},
			filepath.Join(root, "usr/sbin/syslog-ng"), "--foreground", "--stderr", "--no-caps", "--cfgfile="+conf, "--persist-file="+filepath.Join(dir, "persist"),
			"--control="+filepath.Join(dir, "ctl"), "--pidfile="+filepath.Join(dir, "pid"), "--module-path="+modules[0])
	}
	return err
}
