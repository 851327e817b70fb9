package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"fengsui/internal/testkit/lab"
	"fengsui/scanner/sweep"
)

var (
	asked  = flag.Bool("sweep-beside", false, "measure")
	rounds = flag.Int("rounds", 3, "of each")
	only   = flag.String("only", "", "measure what matches this expression")
)

// scene is a network, with what is really open there.
type scene struct {
	name   string
	target string // as all of the programs read it
	ports  string
	single bool
	open   map[netip.AddrPort]bool
}

// outcome is one run.
type outcome struct {
	seconds, cpu float64
	packets      int
	missed       int
	invented     int
	err          error
}

// program is one way to sweep.
type program struct {
	name string
	run  func(s *scene) (found map[netip.AddrPort]bool, cmd *exec.Cmd, err error)
}

func TestSweepBeside(t *testing.T) {
	if !*asked {
		t.Skip("not asked to measure: scanner/bench/sweep.sh does")
	}
	lab.Require(t, "nmap", "masscan")
	l := lab.New(t)
	b := &bench{t: t, scanner: l.Host("scanner", "10.50.0.2", ""), helper: lab.SweepHelper(t)}
	b.routerMAC = b.gateway()
	scenes := b.scenes(l)
	programs := []program{
		{"fengsui connect, 100,000/s", b.ours(sweep.Request{Mode: sweep.Connect, Rate: 100_000, Retries: 3, Timeout: 1500})},
		{"fengsui connect, 100,000/s, discovery quick", b.ours(sweep.Request{Mode: sweep.Connect, Rate: 100_000, Retries: 3, Timeout: 1500, Discovery: sweep.Quick})},
		{"fengsui connect, 5,000/s (the default)", b.ours(sweep.Request{Mode: sweep.Connect, Rate: 5000, Retries: 3, Timeout: 1500})},
		{"fengsui syn (naabu), 10,000/s", b.ours(sweep.Request{Mode: sweep.SYN, Rate: 10_000, Retries: 2, Timeout: 1500, Discovery: sweep.Quick})},
		{"nmap -sS -T4", b.nmap("-sS")},
		{"nmap -sT -T4", b.nmap("-sT")},
		{"masscan --rate 20000", b.masscan},
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		t.Fatal(err)
	}
	results := map[string][]outcome{}
	for round := range *rounds {
		for i := range scenes {
			for _, p := range programs {
				name := scenes[i].name + " · " + p.name
				if !wanted.MatchString(name) {
					continue
				}
				o := b.measure(&scenes[i], p)
				results[name] = append(results[name], o)
				t.Logf("round %d: %s: %.2f s, CPU %.2f s, %d packets, missed %d, invented %d, error %v",
					round+1, name, o.seconds, o.cpu, o.packets, o.missed, o.invented, o.err)
			}
		}
	}
	for i := range scenes {
		fmt.Printf("\n| %s | s | CPU s | packets sent | missed | invented |\n|---|---|---|---|---|---|\n", scenes[i].name)
		for _, p := range programs {
			runs := results[scenes[i].name+" · "+p.name]
			if len(runs) == 0 {
				continue
			}
			median := func(of func(outcome) float64) float64 {
				var all []float64
				for _, r := range runs {
					all = append(all, of(r))
				}
				slices.Sort(all)
				return all[len(all)/2]
			}
			span := func(of func(outcome) int) string {
				low, high := of(runs[0]), of(runs[0])
				for _, r := range runs {
					low, high = min(low, of(r)), max(high, of(r))
				}
				if low == high {
					return strconv.Itoa(low)
				}
				return fmt.Sprintf("%d–%d", low, high)
			}
			fmt.Printf("| %s | %.2f | %.2f | %.0f | %s | %s |\n", p.name,
				median(func(o outcome) float64 { return o.seconds }), median(func(o outcome) float64 { return o.cpu }),
				median(func(o outcome) float64 { return float64(o.packets) }),
				span(func(o outcome) int { return o.missed }), span(func(o outcome) int { return o.invented }))
		}
	}
}

type bench struct {
	t         *testing.T
	scanner   *lab.Host
	helper    string
	routerMAC string
}

// scenes makes the networks: each is one namespace that has all their addresses.
func (b *bench) scenes(l *lab.Lab) []scene {
	r := rand.New(rand.NewPCG(1, 2))
	top := b.top100()
	all := func() int { return 1 + r.IntN(65535) }
	often := func() int { return top[r.IntN(len(top))] }
	one := scene{name: "1 host × 65,535 ports", target: "10.61.0.10", ports: "1-65535", single: true}
	b.fill(l, &one, []string{"10.61.0.10"}, 46, all)
	var dense, sparse []string
	for i := 1; i < 256; i++ {
		dense = append(dense, fmt.Sprintf("10.62.0.%d", i))
	}
	for _, i := range r.Perm(254)[:40] {
		sparse = append(sparse, fmt.Sprintf("10.63.0.%d", i+1))
	}
	var text []string
	for _, p := range top {
		text = append(text, strconv.Itoa(p))
	}
	ports := strings.Join(text, ",")
	l.Blackhole("10.62.0.0/24")
	l.Blackhole("10.63.0.0/24")
	d := scene{name: "dense /24 × top 100, 255 up", target: "10.62.0.0/24", ports: ports}
	b.fill(l, &d, dense, 1635, often)
	s := scene{name: "sparse /24 × top 100, 40 up", target: "10.63.0.0/24", ports: ports}
	b.fill(l, &s, sparse, 116, often)
	out := []scene{one, d, s}
	for i := range out {
		out[i].name += fmt.Sprintf(", %d open", len(out[i].open))
	}
	return out
}

// fill makes a host with the addresses and opens n ports on them.
func (b *bench) fill(l *lab.Lab, s *scene, ips []string, n int, port func() int) {
	s.open = map[netip.AddrPort]bool{}
	h := l.Host("net"+strings.ReplaceAll(ips[0], ".", "-"), ips[0], "")
	for _, ip := range ips[1:] {
		h.AddAddress(ip)
	}
	for i := 0; len(s.open) < n; i++ {
		at := netip.AddrPortFrom(netip.MustParseAddr(ips[i%len(ips)]), uint16(port()))
		if s.open[at] {
			continue
		}
		s.open[at] = true
		var listener net.Listener
		if err := h.In(func() (err error) {
			listener, err = net.Listen("tcp4", at.String())
			return err
		}); err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { _ = listener.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
	}
}

// top100 is nmap's list; nothing is sent for it.
func (b *bench) top100() (out []int) {
	text, _ := b.scanner.Command("nmap", "-v", "-oG", "-", "--top-ports", "100").Output() // it says that it has no target
	_, list, _ := strings.Cut(string(text), "TCP(100;")
	list, _, _ = strings.Cut(list, ")")
	for item := range strings.SplitSeq(list, ",") {
		low, high, isRange := strings.Cut(item, "-")
		from, err := strconv.Atoi(low)
		to := from
		if err == nil && isRange {
			to, err = strconv.Atoi(high)
		}
		if err != nil {
			b.t.Fatalf("nmap's 100 ports: %v in %s", err, text)
		}
		for p := from; p <= to; p++ {
			out = append(out, p)
		}
	}
	if len(out) != 100 {
		b.t.Fatalf("%d ports in %s", len(out), text)
	}
	return out
}

// gateway is the router's hardware address, which masscan wants to be told.
func (b *bench) gateway() string {
	out, err := b.scanner.Command("sh", "-c", "ping -c 1 -W 1 169.254.0.1 >/dev/null 2>&1; ip neigh show 169.254.0.1").Output()
	if err == nil {
		if _, after, ok := strings.Cut(string(out), "lladdr "); ok {
			return strings.Fields(after)[0]
		}
	}
	// Without ping, a connection makes the kernel ask.
	_ = b.scanner.In(func() error {
		c, err := net.DialTimeout("tcp", "169.254.0.1:9", time.Second)
		if err == nil {
			_ = c.Close()
		}
		return nil
	})
	out, err = b.scanner.Command("ip", "neigh", "show", "169.254.0.1").Output()
	_, after, ok := strings.Cut(string(out), "lladdr ")
	if err != nil || !ok {
		b.t.Fatalf("the router's address: %v, %s", err, out)
	}
	return strings.Fields(after)[0]
}

// sent is the packets that have left the scanner's only link.
func (b *bench) sent() int {
	out, err := b.scanner.Command("cat", "/sys/class/net/eth0/statistics/tx_packets").Output()
	n, convErr := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil || convErr != nil {
		b.t.Fatalf("packets: %v, %v", err, convErr)
	}
	return n
}

func (b *bench) measure(s *scene, p program) (o outcome) {
	before, start := b.sent(), time.Now()
	found, cmd, err := p.run(s)
	o.seconds, o.err = time.Since(start).Seconds(), err
	if cmd != nil && cmd.ProcessState != nil {
		o.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	}
	o.packets = b.sent() - before
	for at := range s.open {
		if !found[at] {
			o.missed++
		}
	}
	for at := range found {
		if !s.open[at] {
			o.invented++
		}
	}
	return o
}

// ours runs the helper as the scanner does, from its start to its end.
func (b *bench) ours(r sweep.Request) func(*scene) (map[netip.AddrPort]bool, *exec.Cmd, error) {
	return func(s *scene) (map[netip.AddrPort]bool, *exec.Cmd, error) {
		r := r
		target, err := netip.ParsePrefix(s.target)
		if err != nil {
			ip := netip.MustParseAddr(s.target)
			target = netip.PrefixFrom(ip, ip.BitLen())
		}
		r.Targets, r.Scope, r.Ports = []netip.Prefix{target}, []netip.Prefix{target}, s.ports
		path := b.helper
		if r.Mode == sweep.SYN {
			path = filepath.Join(filepath.Dir(path), sweep.ProgramSYN)
		}
		line, err := json.Marshal(r)
		if err != nil {
			return nil, nil, err
		}
		cmd := b.scanner.Command(path)
		stdin, err := cmd.StdinPipe()
		if err != nil {
			return nil, nil, err
		}
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			return nil, nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, nil, err
		}
		if _, err := stdin.Write(append(line, '\n')); err != nil {
			return nil, cmd, err
		}
		found := map[netip.AddrPort]bool{}
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			var l sweep.Line
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return nil, cmd, err
			}
			if l.Port != 0 {
				found[netip.AddrPortFrom(l.IP, uint16(l.Port))] = true
			}
		}
		return found, cmd, cmd.Wait()
	}
}

func (b *bench) nmap(kind string) func(*scene) (map[netip.AddrPort]bool, *exec.Cmd, error) {
	return func(s *scene) (map[netip.AddrPort]bool, *exec.Cmd, error) {
		args := []string{"-n", kind, "-T4", "-oG", "-", "-p", s.ports}
		if s.single {
			args = append(args, "-Pn")
		}
		cmd := b.scanner.Command("nmap", append(args, s.target)...)
		out, err := cmd.Output()
		found := map[netip.AddrPort]bool{}
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line)
			_, ports, ok := strings.Cut(line, "Ports: ")
			if !ok || len(fields) < 2 {
				continue
			}
			for item := range strings.SplitSeq(ports, ",") {
				if port, state, _ := strings.Cut(strings.TrimSpace(item), "/"); strings.HasPrefix(state, "open/") {
					if n, err := strconv.Atoi(port); err == nil {
						found[netip.AddrPortFrom(netip.MustParseAddr(fields[1]), uint16(n))] = true
					}
				}
			}
		}
		return found, cmd, err
	}
}

func (b *bench) masscan(s *scene) (map[netip.AddrPort]bool, *exec.Cmd, error) {
	cmd := b.scanner.Command("masscan", "--rate", "20000", "--wait", "2", "-e", "eth0", "--adapter-ip", "10.50.0.2",
		"--router-mac", b.routerMAC, "-p", s.ports, "-oL", "-", s.target)
	var said bytes.Buffer
	cmd.Stderr = io.Discard
	cmd.Stdout = &said
	err := cmd.Run()
	found := map[netip.AddrPort]bool{}
	for line := range strings.Lines(said.String()) {
		f := strings.Fields(line) // open tcp 80 192.0.2.1 1700000000
		if len(f) < 4 || f[0] != "open" {
			continue
		}
		if n, err := strconv.Atoi(f[2]); err == nil {
			found[netip.AddrPortFrom(netip.MustParseAddr(f[3]), uint16(n))] = true
		}
	}
	return found, cmd, err
}
