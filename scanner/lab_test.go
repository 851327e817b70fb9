package scanner

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"fengsui/internal/directory"
	"fengsui/internal/testkit/lab"
	"fengsui/scanner/plan"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

var units = []schemas.Unit{{Code: "edu", Name: "省教育厅", Level: schemas.Province}, {Code: "u1", Name: "示例大学", Level: schemas.University, Parent: "edu"}}

func network(prefix, unit string, scan bool) schemas.Network {
	return schemas.Network{Prefix: netip.MustParsePrefix(prefix), Unit: unit, Scan: scan}
}

func single(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, ip.BitLen()) }

func config(mode sweep.Mode) Config {
	c := DefaultConfig()
	c.ID, c.Mode = "s1", mode
	if mode == sweep.SYN {
		c.Rate = 500 // see Config.Mode: these tests must not lose an answer on a busy machine
	}
	return c
}

// campus is two hosts with real servers and a scanner, on networks of u1.
type campus struct {
	scanner, web, data *lab.Host
	in                 inside
}

func newCampus(t *testing.T) *campus {
	t.Helper()
	lab.Require(t, "nginx", "redis-server", "sshd", "named")
	l := lab.New(t)
	c := &campus{
		scanner: l.Host("scanner", "10.50.0.2", "fd00:50::2"),
		web:     l.Host("web", "10.60.1.10", "fd00:60::10"),
		data:    l.Host("data", "10.60.1.20", "fd00:60::20"),
	}
	c.web.Nginx(lab.Web{Port: 80, TLS: 443, Title: "示例大学 & 首页", Name: "www.u1.example"})
	c.web.SSHD()
	c.data.Redis()
	c.data.Listen(5555)
	c.data.Bind(
		lab.Zone{Name: "u1.example", Records: "www IN A 10.60.1.10\nwww IN AAAA fd00:60::10\n@ IN MX 10 mail\nmail IN A 10.60.1.20\nold IN CNAME www\n"},
		lab.Reverse(map[string]string{"10.60.1.10": "www.u1.example", "10.60.1.20": "hidden.u1.example", "10.60.1.30": "other.example"}))
	c.in = inside{
		Units:    units,
		Networks: []schemas.Network{network("10.60.1.0/26", "u1", true), network("fd00:60::/64", "u1", true)},
		Domains:  []schemas.Domain{{Name: "u1.example", Unit: "u1", Scan: true}},
		Whitelist: []schemas.WhitelistEntry{
			{Kind: schemas.WhitelistHost, Host: single(c.web.IP4), Unit: "u1"},
			{Kind: schemas.WhitelistPort, Host: single(c.data.IP4), Port: 6379, Unit: "u1"},
			{Kind: schemas.WhitelistPort, Host: netip.MustParsePrefix("10.60.1.33/32"), Port: 8080, Unit: "u1"}, // gone
			{Kind: schemas.WhitelistHost, Host: single(c.web.IP6), Unit: "u1"},
			{Kind: schemas.WhitelistHost, Host: single(c.data.IP6), Unit: "u1"},
		},
	}
	return c
}

func (c *campus) plan(t *testing.T, ports string) []schemas.ScanTask {
	t.Helper()
	snap, err := directory.NewSnapshot(c.in.Units, c.in.Networks, c.in.Domains, c.in.Whitelist)
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := plan.Plan(snap, plan.Request{Unit: "edu", By: "test", Ports: ports, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	return tasks
}

// what is an observation in one line.
func what(o schemas.Observation) string {
	switch o.Kind {
	case schemas.ObservedName:
		return fmt.Sprintf("%s %s %s %s", o.Name, o.RecordType, o.RCode, strings.Join(o.Values, ","))
	case schemas.ObservedHost:
		return fmt.Sprintf("%s up=%v", o.IP, o.Open)
	case schemas.ObservedSweep:
		return fmt.Sprintf("%s swept", o.IP)
	case schemas.ObservedDone, schemas.ObservedBegun, schemas.ObservedEnded:
		return o.Name + " " + string(o.Kind) + " " + string(o.Attempt.Outcome)
	}
	name := "?"
	if o.Service != nil {
		name = o.Service.Name + "/" + o.Service.Product
	}
	return fmt.Sprintf("%s %d %s", o.IP, o.Port, name)
}

// The scan finds exactly what runs there, over both families and in both modes,
// and says of what should be there that it is not.
func TestScanFindsExactlyWhatRuns(t *testing.T) {
	c := newCampus(t)
	var want []string
	for _, web := range []netip.Addr{c.web.IP4, c.web.IP6} {
		want = append(want, web.String()+" up=true", web.String()+" 22 ssh/OpenSSH", web.String()+" 80 http/nginx",
			web.String()+" 443 https/nginx", web.String()+" swept")
	}
	for _, data := range []netip.Addr{c.data.IP4, c.data.IP6} {
		want = append(want, data.String()+" up=true", data.String()+" 53 domain/BIND", data.String()+" 5555 ?",
			data.String()+" 6379 redis/Redis", data.String()+" swept")
	}
	want = append(want, "10.60.1.33 up=false", "10.60.1.33 swept",
		"u1.example A NOERROR ", "u1.example AAAA NOERROR ", "u1.example CNAME NOERROR ",
		"u1.example NS NOERROR ns.u1.example", "u1.example MX NOERROR 10 mail.u1.example",
		"mail.u1.example A NOERROR 10.60.1.20", "hidden.u1.example A NXDOMAIN ",
		"10.1.60.10.in-addr.arpa PTR NOERROR www.u1.example", "www.u1.example AAAA NOERROR fd00:60::10",
		"30.1.60.10.in-addr.arpa PTR NOERROR other.example")
	for _, mode := range []sweep.Mode{sweep.Connect, sweep.SYN} {
		t.Run(string(mode), func(t *testing.T) {
			want := slices.Clone(want)
			if mode == sweep.Connect { // with the usual ports, so over UDP too
				for _, data := range []netip.Addr{c.data.IP4, c.data.IP6} {
					want = append(want, data.String()+" 53 domain/BIND")
				}
			}
			slices.Sort(want)
			in := c.in
			in.Config = config(mode)
			in.Config.Resolvers = []string{c.data.IP4.String()}
			in.Tasks = c.plan(t, map[sweep.Mode]string{sweep.SYN: "20-25,53,80,443,5555"}[mode])
			s := runInside(t, c.scanner, in)
			for i, e := range s.Errors {
				if e != "" {
					t.Errorf("task %d: %s", i, e)
				}
			}
			var got []string
			ids := map[string]bool{}
			for _, o := range s.Observations {
				if ids[o.ID] {
					t.Errorf("id %s is given twice, to %s", o.ID, what(o))
				}
				ids[o.ID] = true
				if o.Unit != "u1" && o.RecordType != "PTR" || o.Scanner != "s1" || o.Source != "scan" || o.Time.IsZero() {
					t.Errorf("badly stamped: %+v", o)
				}
				line := what(o)
				if o.Kind != schemas.ObservedName || slices.Contains(want, line) {
					got = append(got, line)
				}
				if strings.HasPrefix(line, "other.example") {
					t.Errorf("asked about a name outside the scope: %s", line)
				}
			}
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want-, got+:\n%s", diff)
			}
			checkOrder(t, s.Observations)
			checkServices(t, c, s.Observations)
			t.Logf("%d tasks, seconds %v", len(in.Tasks), s.Seconds)
		})
	}
}

// checkOrder: of one address the host, then its ports, then the sweep.
func checkOrder(t *testing.T, all []schemas.Observation) {
	t.Helper()
	rank := map[schemas.ObservationKind]int{schemas.ObservedHost: 1, schemas.ObservedPort: 2, schemas.ObservedSweep: 3}
	last := map[string]int{}
	for _, o := range all {
		key := o.Shard + " " + o.Key()
		if rank[o.Kind] < last[key] {
			t.Errorf("%s comes too late", what(o))
		}
		last[key] = rank[o.Kind]
	}
}

func checkServices(t *testing.T, c *campus, all []schemas.Observation) {
	t.Helper()
	at := func(ip netip.Addr, port int) *schemas.Service {
		for _, o := range all {
			if o.Kind == schemas.ObservedPort && o.IP == ip && o.Port == port {
				return o.Service
			}
		}
		return nil
	}
	https := at(c.web.IP6, 443)
	if https == nil || https.TLS == nil || https.HTTP == nil {
		t.Fatalf("https: %+v", https)
	}
	if https.TLS.Subject != "CN=www.u1.example,O=Lab" || https.TLS.Version != "TLSv1.3" || len(https.TLS.SHA256) != 64 ||
		!slices.Equal(https.TLS.Names, []string{"www.u1.example"}) || !https.TLS.NotAfter.After(time.Now()) {
		t.Errorf("certificate: %+v", https.TLS)
	}
	if https.HTTP.Status != 200 || https.HTTP.Title != "示例大学 & 首页" || !strings.HasPrefix(https.HTTP.Server, "nginx/") {
		t.Errorf("page: %+v", https.HTTP)
	}
	if r := at(c.data.IP4, 6379); r == nil || r.Version == "" {
		t.Errorf("redis: %+v", r)
	}
	if d := at(c.data.IP4, 53); d == nil || !strings.HasPrefix(d.Version, "9.") {
		t.Errorf("dns: %+v", d)
	}
	if s := at(c.web.IP4, 22); s == nil || !strings.HasPrefix(s.Banner, "SSH-2.0-OpenSSH_") || s.Version == "" {
		t.Errorf("ssh: %+v", s)
	}
}

// nmap is the oracle: every port of the two hosts, by both.
func TestEveryPortAgreesWithNmap(t *testing.T) {
	lab.Require(t, "nmap")
	c := newCampus(t)
	for p := 20000; p < 20300; p += 11 {
		c.data.Listen(p)
	}
	ips := []string{c.web.IP4.String(), c.data.IP4.String()}
	in := c.in
	in.Config = config(sweep.Connect)
	in.Config.Rate = 10_000
	in.Whitelist = nil
	in.Tasks = []schemas.ScanTask{
		sweepTask("1", "all", ips[0]), sweepTask("2", "all", ips[1]),
	}
	s := runInside(t, c.scanner, in)
	var ours []string
	for _, o := range s.Observations {
		if o.Kind == schemas.ObservedPort {
			ours = append(ours, fmt.Sprintf("%s:%d", o.IP, o.Port))
		}
	}
	start := time.Now()
	out, err := c.scanner.Command("nmap", append([]string{"-n", "-Pn", "-sT", "-T4", "-p-", "-oG", "-"}, ips...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(start)
	var theirs []string
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		if len(fields) < 5 || fields[0] != "Host:" || !strings.Contains(line, "Ports:") {
			continue
		}
		for _, f := range fields {
			if port, ok := strings.CutSuffix(f, "///,"); ok || strings.HasSuffix(f, "///") {
				port, state, _ := strings.Cut(port, "/")
				if strings.HasPrefix(state, "open/") {
					theirs = append(theirs, fields[1]+":"+port)
				}
			}
		}
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if len(theirs) < 30 {
		t.Fatalf("nmap found only %v in\n%s", theirs, out)
	}
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("nmap-, ours+:\n%s", diff)
	}
	t.Logf("2 hosts × 65535 ports, %d open: ours with identification %v s, nmap -sT without %v", len(ours), s.Seconds, took)
}

func sweepTask(shard, ports string, targets ...string) schemas.ScanTask {
	task := schemas.ScanTask{
		Job: "j", Shard: shard, Shards: 1, Kind: schemas.TaskSweep, Unit: "u1", Ports: ports, By: "test",
		Created: time.Now(), Expires: time.Now().Add(time.Hour),
	}
	for _, text := range targets {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			p = single(netip.MustParseAddr(text))
		}
		task.Targets = append(task.Targets, p)
	}
	return task
}

// A confirmation looks at exactly what it was asked for.
func TestConfirm(t *testing.T) {
	c := newCampus(t)
	in := c.in
	in.Config = config(sweep.Connect)
	in.Config.Sweep = "/nonexistent" // needs none
	task := sweepTask("1", "80,8080", c.web.IP4.String(), "10.60.1.34")
	task.Kind = schemas.TaskConfirm
	named := sweepTask("2", "")
	named.Kind, named.Names = schemas.TaskConfirm, []string{"www.u1.example", "gone.u1.example"}
	in.Tasks = []schemas.ScanTask{task, named}
	in.Config.Resolvers = []string{c.data.IP6.String()}
	s := runInside(t, c.scanner, in)
	var got []string
	for _, o := range s.Observations {
		if o.RecordType == "" || o.RecordType == "A" {
			got = append(got, what(o))
		}
	}
	slices.Sort(got)
	want := []string{
		"10.60.1.10 80 http/nginx", "10.60.1.10 swept", "10.60.1.10 up=true", "10.60.1.34 swept", "10.60.1.34 up=false",
		"gone.u1.example A NXDOMAIN ", "www.u1.example A NOERROR 10.60.1.10",
	}
	if diff := cmp.Diff(want, got); diff != "" || strings.Join(s.Errors, "") != "" {
		t.Errorf("%v, want-, got+:\n%s", s.Errors, diff)
	}
}

// Nothing leaves for an address, or about a name, that the registry does not
// authorise: counted by a packet socket that sees everything the scanner's host
// sends.
func TestNotOnePacketLeavesOutsideTheScope(t *testing.T) {
	c := newCampus(t)
	in := c.in
	in.Networks = append(in.Networks, network("10.60.1.20/32", "u1", false), network("10.61.0.0/16", "u1", false))
	in.Whitelist = nil
	in.Domains = append(in.Domains, schemas.Domain{Name: "secret.u1.example", Unit: "u1"})
	names := sweepTask("n", "")
	names.Kind, names.Names = schemas.TaskNames, []string{"www.other.example", "a.secret.u1.example"}
	ptr := sweepTask("p", "", "10.61.3.0/28")
	ptr.Kind = schemas.TaskNames
	confirm := sweepTask("c", "1-1000", "10.60.1.20", "10.61.3.4", "fd00:61::1")
	confirm.Kind = schemas.TaskConfirm
	outside := []schemas.ScanTask{
		sweepTask("1", "1-1000", "10.60.1.20"),    // excluded inside a network
		sweepTask("2", "1-1000", "10.60.1.0/26"),  // holds the excluded one
		sweepTask("3", "1-1000", "10.60.1.64/32"), // just beyond
		sweepTask("4", "1-1000", "10.61.3.0/28"),  // registered, not authorised
		sweepTask("5", "1-1000", "192.0.2.0/28"),  // nobody's
		sweepTask("6", "1-1000", "fd00:61::1"),    // likewise
		sweepTask("7", "1-1000", "224.0.0.1"), sweepTask("8", "1-1000", "0.0.0.0/32"), sweepTask("9", "all", "0.0.0.0/0"),
		confirm, names, ptr,
	}
	for _, service := range []bool{false, true} {
		for _, mode := range []sweep.Mode{sweep.Connect, sweep.SYN} {
			t.Run(fmt.Sprintf("%s,service=%v", mode, service), func(t *testing.T) {
				in := in
				in.Service = service
				in.Config = config(mode)
				in.Config.Resolvers = []string{c.data.IP4.String()}
				in.Tasks = outside
				sniffer := c.scanner.Sniff()
				s := runInside(t, c.scanner, in)
				sent := elsewhere(t, sniffer)
				if len(sent) > 0 {
					t.Errorf("packets were sent: %v", sent)
				}
				if seen := facts(s); len(seen) > 0 {
					t.Errorf("something was seen: %v", seen)
				}
				for i, e := range s.Errors {
					if !strings.Contains(e, ErrRefused.Error()) {
						t.Errorf("task %d: %q is no refusal", i, e)
					}
				}
				if n := s.Metrics["fengsui_scanner_shards_total{kind=sweep,result=refused}"]; service && n != 9 {
					t.Errorf("%v sweeps are counted as refused: %v", n, s.Metrics)
				}
				if n := s.Metrics["fengsui_scanner_refused_total{what=name}"]; n != 2 {
					t.Errorf("%v names are counted as refused: %v", n, s.Metrics)
				}

				// The same with something authorised among it: only that is looked at.
				in.Tasks = []schemas.ScanTask{sweepTask("1", "22,80", c.web.IP4.String(), "10.60.1.20", "10.61.3.0/28", "192.0.2.1")}
				s = runInside(t, c.scanner, in)
				sent = elsewhere(t, sniffer)
				if sent[c.web.IP4] == 0 {
					t.Errorf("the counter does not count: %v", sent)
				}
				delete(sent, c.web.IP4)
				if seen := facts(s); len(sent) > 0 || len(seen) != 4 {
					t.Errorf("packets were sent: %v; %d observations", sent, len(seen))
				}
				sniffer.Close()
			})
		}
	}
}

// facts is what was seen, without the journal.
func facts(s said) (out []schemas.Observation) {
	for _, o := range s.Observations {
		if !o.OfShard() {
			out = append(out, o)
		}
	}
	return out
}

// elsewhere is what was sent to others than this host, the router's link and
// the kernel's own multicast.
func elsewhere(t *testing.T, s *lab.Sniffer) map[netip.Addr]int {
	t.Helper()
	sent, err := s.Sent()
	if err != nil {
		t.Fatal(err)
	}
	for ip := range sent {
		if ip.IsLoopback() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || ip == netip.MustParseAddr("10.50.0.2") {
			delete(sent, ip)
		}
	}
	return sent
}

// Without a registry nothing is sent, whatever is asked.
func TestNoRegistryNoPacket(t *testing.T) {
	c := newCampus(t)
	sniffer := c.scanner.Sniff()
	in := c.in
	in.Config = config(sweep.Connect)
	in.Service, in.NoReady, in.For = true, true, 3*time.Second
	in.Tasks = []schemas.ScanTask{sweepTask("1", "22,80", c.web.IP4.String())}
	s := runInside(t, c.scanner, in)
	if sent := elsewhere(t, sniffer); len(sent) > 0 || len(s.Observations) > 0 {
		t.Errorf("packets were sent: %v", sent)
	}
}

// The service carries tasks out, drops what has expired or is no task, and does
// not stumble over either.
func TestService(t *testing.T) {
	c := newCampus(t)
	in := c.in
	in.Whitelist = nil
	in.Config = config(sweep.Connect)
	in.Service = true
	expired := sweepTask("2", "22", c.web.IP4.String())
	expired.Expires = time.Now().Add(-time.Second)
	bad := sweepTask("3", "0-99999", c.web.IP4.String())
	huge := sweepTask("4", "all", "10.60.1.0/26")
	fast := sweepTask("5", "22", c.web.IP4.String())
	fast.Rate = 1 << 30
	unknown := sweepTask("6", "22", c.web.IP4.String())
	unknown.Kind = "exploit"
	in.Tasks = []schemas.ScanTask{expired, bad, huge, fast, unknown, sweepTask("7", "22", c.web.IP4.String(), c.web.IP6.String())}
	s := runInside(t, c.scanner, in)
	var got []string
	for _, o := range s.Observations {
		got = append(got, what(o))
	}
	slices.Sort(got)
	want := []string{
		"10.60.1.10 22 ssh/OpenSSH", "10.60.1.10 swept", "10.60.1.10 up=true",
		"fd00:60::10 22 ssh/OpenSSH", "fd00:60::10 swept", "fd00:60::10 up=true",
		"j/2 done expired", "j/3 done refused", "j/4 done refused", "j/5 done refused", "j/6 done refused",
		"j/7 begun ", "j/7 done done",
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("want-, got+:\n%s", diff)
	}
	for name, want := range map[string]float64{
		"{kind=sweep,result=done}": 1, "{kind=sweep,result=expired}": 1, "{kind=sweep,result=refused}": 3, "{kind=unknown,result=refused}": 1,
	} {
		if n := s.Metrics["fengsui_scanner_shards_total"+name]; n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
}

// A scanner that is told to stop, or is killed, sends nothing two seconds later.
func TestStopEndsTraffic(t *testing.T) {
	c := newCampus(t)
	for _, mode := range []sweep.Mode{sweep.Connect, sweep.SYN} {
		for _, kill := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,kill=%v", mode, kill), func(t *testing.T) {
				in := c.in
				in.Config = config(mode)
				in.Config.Rate = 1000
				in.Tasks = []schemas.ScanTask{sweepTask("1", "all", c.web.IP4.String())} // a minute and more
				path := writeInside(t, in)
				cmd := c.scanner.Command("env", insideVariable+"="+path, "TMPDIR="+t.TempDir(), testBinary(t))
				sniffer := c.scanner.Sniff()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				defer func() {
					_ = cmd.Process.Kill()
					_ = cmd.Wait()
				}()
				count := func() int { return elsewhere(t, sniffer)[c.web.IP4] }
				for deadline := time.Now().Add(20 * time.Second); count() < 500; {
					if time.Now().After(deadline) {
						t.Fatal("no traffic")
					}
				}
				if kill {
					_ = cmd.Process.Kill()
				} else {
					_ = cmd.Process.Signal(terminate)
				}
				time.Sleep(2 * time.Second)
				before := count()
				time.Sleep(time.Second)
				if after := count(); after != before {
					t.Errorf("%d packets more, two seconds after the end", after-before)
				}
			})
		}
	}
}

// The helper itself refuses, whoever starts it.
func TestHelperRefusesByItself(t *testing.T) {
	c := newCampus(t)
	ours := lab.SweepHelper(t)
	for _, helper := range []string{ours, filepath.Join(filepath.Dir(ours), sweep.ProgramSYN)} {
		t.Run(filepath.Base(helper), func(t *testing.T) { refusesByItself(t, c, helper) })
	}
}

func refusesByItself(t *testing.T, c *campus, helper string) {
	sniffer := c.scanner.Sniff()
	f := func(request, reason string) {
		t.Helper()
		cmd := c.scanner.Command(helper)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte{}); err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = in.Write([]byte(request + "\n")) }() // kept open: its end would end the helper
		out, err := cmd.Output()
		_ = in.Close()
		var exit *exec.ExitError
		if !asExit(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), reason) {
			t.Errorf("%s: %v, %s; want exit status 2 and %q", request, err, out, reason)
		}
	}
	base := `"ports":"22","rate":100,"mode":"connect","retries":1,"timeout_ms":1500`
	f(`{"targets":["10.60.1.10/32"],`+base+`}`, "no scope")
	f(`{"targets":["10.60.1.10/32"],"scope":["10.61.0.0/16"],`+base+`}`, "outside the scope")
	f(`{"targets":["10.60.0.0/23"],"scope":["10.60.1.0/24"],`+base+`}`, "outside the scope")
	f(`{"targets":["10.60.1.10/32"],"scope":["10.60.0.0/16"],"exclude":["10.60.1.0/24"],`+base+`}`, "outside the scope")
	f(`{"targets":["10.60.1.10/32"],"scope":["0.0.0.0/0"],`+base+`}`, "not an address block")
	f(`{"targets":["10.60.1.10/32","fd00:60::10/128"],"scope":["10.60.1.0/24","fd00:60::/64"],`+base+`}`, "both families")
	f(`{"targets":["10.60.0.0/16"],"scope":["10.60.0.0/16"],"ports":"all","rate":100,"mode":"syn","retries":1,"timeout_ms":1500}`, "more than")
	f(`{"targets":["10.60.1.10/32"],"scope":["10.60.1.0/24"],"ports":"22","rate":0,"mode":"syn","retries":1,"timeout_ms":1500}`, "rate")
	f(`{"targets":["10.60.1.10/32"],"scope":["10.60.1.0/24"],"ports":"22","rate":100000,"mode":"syn","retries":1,"timeout_ms":1500}`, "rate")
	f(`not json`, "reading the request")
	if sent := elsewhere(t, sniffer); len(sent) > 0 {
		t.Errorf("packets were sent: %v", sent)
	}
}
