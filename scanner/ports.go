package scanner

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"fengsui/scanner/identify"
	"fengsui/scanner/live"
	"fengsui/scanner/sweep"
	"fengsui/schemas"
)

const (
	// directProbes is up to how many probes a confirmation makes itself, without
	// the helper, whose start alone takes two seconds.
	directProbes = 4096
	// maxIdentified bounds what is spent on one address: one that has every port
	// open is a trap or a middlebox.
	maxIdentified = 256
	// discoverFrom is the number of addresses from which a block is first looked at
	// for who is up; smaller ones are swept in any case.
	discoverFrom = 64
	passes       = 3 // of a sweep over what may have been lost
	// overloadSlack is fengsui-syn's start, its wait for late answers, and then some.
	overloadSlack = 6 * time.Second
	tries         = 2 // of our own connections, where there is no answer
)

// job is one port to be connected to.
type job struct {
	host  *host
	port  int
	swept bool // the sweep found it open
}

// host is what is known of one address.
type host struct {
	ip     netip.Addr
	known  bool // reported even when nothing answers
	up     bool
	method string // how it showed itself
	mac    string
	left   int // jobs that are not done
	open   []schemas.Observation

	takesAll int   // how many random ports took a connection, of an address that answers on all
	doubted  []int // ports that nearly every address answers on, without a word
}

// lookAtPorts sweeps, connects to what is open and to what should be, and
// reports each address that has something to say.
func (k *look) lookAtPorts(ctx context.Context) error {
	if err := k.routed(); err != nil {
		return err
	}
	hosts := map[netip.Addr]*host{}
	at := func(ip netip.Addr) *host {
		if hosts[ip] == nil {
			hosts[ip] = &host{ip: ip}
		}
		return hosts[ip]
	}
	direct := k.task.Kind == schemas.TaskConfirm && k.probes() <= directProbes
	answered, silent, err := k.askUDP(ctx)
	if err != nil {
		return err
	}
	for _, at := range silent {
		if err := k.send(schemas.Observation{Kind: schemas.ObservedPort, IP: at.Addr(), Port: int(at.Port()), Transport: "udp"}); err != nil {
			return err
		}
	}
	for ip, open := range answered {
		h := at(ip)
		h.up, h.known, h.open = true, true, open
	}
	if k.ports.Len() == 0 {
		return k.reportIdle(hosts, nil)
	}
	var jobs []job
	if direct {
		for _, p := range k.targets {
			for ip := p.Addr(); ip.IsValid() && p.Contains(ip); ip = ip.Next() {
				for port := range k.ports.Each() {
					jobs = append(jobs, job{host: at(ip), port: port})
				}
			}
		}
	} else {
		found, err := k.sweep(ctx, func(l sweep.Line) {
			if k.snap.MayScan(l.IP) == nil {
				h := at(l.IP)
				h.up, h.method, h.mac = true, l.Method, l.MAC
			}
		})
		if err != nil {
			return err
		}
		for _, f := range found {
			jobs = append(jobs, job{host: at(f.Addr()), port: int(f.Port()), swept: true})
		}
	}
	for _, ip := range k.single {
		at(ip).known = true
	}
	listed := k.listed()
	for ip := range listed {
		at(ip).known = true
	}
	jobs, err = k.doubts(ctx, listed, jobs, direct)
	if err != nil {
		return err
	}
	if !direct {
		jobs = append(jobs, k.expected(hosts, listed, jobs)...)
	}
	if err := k.reportIdle(hosts, jobs); err != nil {
		return err
	}
	return k.connectAll(ctx, hosts, jobs)
}

// probes is addresses × ports.
func (k *look) probes() int { return k.addresses() * k.ports.Len() }

// routed makes sure that this machine has a way to the targets at all: without
// one every port would look closed. Nothing is sent.
func (k *look) routed() error {
	for i, p := range k.targets {
		if i > 0 && p.Addr().Is4() == k.targets[i-1].Addr().Is4() {
			continue
		}
		c, err := net.Dial("udp", netip.AddrPortFrom(p.Addr(), 9).String())
		if err != nil {
			return fmt.Errorf("this scanner has no way to %s: %w", p, err)
		}
		_ = c.Close()
	}
	return nil
}

// listed is the whitelist's single addresses among the targets, with those of
// their ports that are asked for.
func (k *look) listed() map[netip.Addr][]int {
	out := map[netip.Addr][]int{}
	now := time.Now()
	for _, w := range k.snap.Whitelist() {
		if w.Kind == schemas.WhitelistDomain || !w.Host.IsSingleIP() || !w.In(now) || !k.targeted(w.Host.Addr()) {
			continue
		}
		ports := out[w.Host.Addr()]
		if w.Kind == schemas.WhitelistPort && w.Transport != "udp" && k.ports.Contains(w.Port) {
			ports = append(ports, w.Port)
		}
		out[w.Host.Addr()] = ports
	}
	return out
}

func (k *look) targeted(ip netip.Addr) bool {
	i, _ := slices.BinarySearchFunc(k.targets, ip, func(p netip.Prefix, ip netip.Addr) int {
		if p.Contains(ip) {
			return 0
		}
		return p.Addr().Compare(ip)
	})
	return i < len(k.targets) && k.targets[i].Contains(ip)
}

// expected is what we connect to although the sweep did not find it: the
// whitelisted ports, so that one lost packet makes no whitelisted service
// "gone", and one port of each other known address that has not shown itself,
// which even when closed tells whether the host is up.
func (k *look) expected(hosts map[netip.Addr]*host, listed map[netip.Addr][]int, found []job) []job {
	has := map[netip.AddrPort]bool{}
	asked := map[netip.Addr]bool{}
	for _, j := range found {
		has[netip.AddrPortFrom(j.host.ip, uint16(j.port))] = true
		asked[j.host.ip] = true
	}
	var jobs []job
	want := func(h *host, port int) {
		at := netip.AddrPortFrom(h.ip, uint16(port))
		if !has[at] {
			has[at], asked[h.ip] = true, true
			jobs = append(jobs, job{host: h, port: port})
		}
	}
	for ip, ports := range listed {
		for _, port := range ports {
			want(hosts[ip], port)
		}
	}
	for ip, h := range hosts {
		if h.known && !h.up && !asked[ip] {
			for port := range k.ports.Each() {
				want(h, port)
				break
			}
		}
	}
	return jobs
}

// sweep has the targets swept, one family after the other, and returns what is
// open. It calls up for each host that showed itself otherwise; on an own link
// that can be one that was not asked for.
func (k *look) sweep(ctx context.Context, up func(sweep.Line)) ([]netip.AddrPort, error) {
	path, err := sweep.Find(k.cfg.Sweep)
	if err != nil {
		return nil, err
	}
	var scope, exclude []netip.Prefix
	exclude = append(exclude, k.snap.Exclusions()...)
	for _, n := range k.snap.AllNetworks() {
		if n.Scan {
			scope = append(scope, n.Prefix)
		} else {
			exclude = append(exclude, n.Prefix)
		}
	}
	found := map[netip.AddrPort]bool{}
	once := func(r sweep.Request) (keptUp bool, err error) {
		start := time.Now()
		result, err := sweep.Helper{Path: path}.Sweep(ctx, r, func(l sweep.Line) {
			if l.Port == 0 {
				up(l)
				return
			}
			found[netip.AddrPortFrom(l.IP, uint16(l.Port))] = true
		})
		if err != nil {
			return false, err
		}
		k.m.probes.Add(float64(result.Probes))
		k.m.gone.Add(float64(result.Gone))
		k.m.late.Add(float64(result.Late))
		k.m.stalls.Add(float64(result.Stalls))
		if r.Mode == sweep.Connect {
			return true, nil // it takes its time and misses nothing
		}
		// In a network that answers nothing the rate's bound on what is in flight
		// makes it up to 1.5 times as long; more is this machine's doing.
		due := time.Duration(result.Probes*r.Retries) * time.Second / time.Duration(r.Rate)
		return time.Since(start) < 2*due+overloadSlack, nil
	}
	for _, r := range k.rounds() {
		r.Scope, r.Exclude = scope, exclude
		keptUp, err := once(r)
		if err == nil && !keptUp {
			// An answer that is processed too late counts as none.
			k.m.overloaded.Inc()
			k.log.warn("this machine does not keep up with the sweep's rate; sweeping again at half of it",
				"job", k.task.Job, "shard", k.task.Shard, "rate", r.Rate)
			r.Rate = max(r.Rate/2, 1)
			_, err = once(r)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.Collect(maps.Keys(found)), nil
}

// rounds cuts the targets into the helper's runs: by family, and the blocks,
// where it first looks who is up, apart from single addresses, which are probed
// in any case.
func (k *look) rounds() []sweep.Request {
	group := map[[2]bool][]netip.Prefix{} // IPv4, discover
	for _, p := range k.targets {
		v4 := p.Addr().Is4()
		discover := k.cfg.Discovery != sweep.Off && 1<<(p.Addr().BitLen()-p.Bits()) >= discoverFrom && (v4 || k.cfg.Mode == sweep.Connect)
		group[[2]bool{v4, discover}] = append(group[[2]bool{v4, discover}], p)
	}
	var out []sweep.Request
	for _, key := range [][2]bool{{true, true}, {true, false}, {false, true}, {false, false}} {
		if len(group[key]) == 0 {
			continue
		}
		r := sweep.Request{
			Targets: group[key], Ports: k.ports.String(), Rate: k.rate(), HostRate: k.hostRate(), NetworkRate: k.cfg.NetworkRate,
			Mode: k.cfg.Mode, Retries: passes, Timeout: int(k.cfg.Timeout / time.Millisecond),
		}
		if key[1] {
			r.Discovery = k.cfg.Discovery
		}
		out = append(out, r)
	}
	return out
}

// connectAll works through the jobs with several connections at once, and
// reports each address when its last port is done.
func (k *look) connectAll(ctx context.Context, hosts map[netip.Addr]*host, jobs []job) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	slices.SortFunc(jobs, func(a, b job) int {
		if c := a.host.ip.Compare(b.host.ip); c != 0 {
			return c
		}
		return a.port - b.port
	})
	count := map[netip.Addr]int{}
	identified := make([]bool, len(jobs))
	for i, j := range jobs {
		j.host.left++
		count[j.host.ip]++
		identified[i] = count[j.host.ip] <= maxIdentified
	}
	type result struct {
		job
		outcome
	}
	limit := rate.NewLimiter(rate.Limit(k.rate()), k.cfg.Workers)
	todo, results := make(chan int), make(chan result)
	var workers sync.WaitGroup
	for range min(k.cfg.Workers, len(jobs)) {
		workers.Go(func() {
			for i := range todo {
				results <- result{jobs[i], k.connect(ctx, jobs[i], limit, identified[i])}
			}
		})
	}
	go func() {
		defer close(results)
		defer workers.Wait()
		defer close(todo)
		for i := range jobs {
			select {
			case todo <- i:
			case <-ctx.Done():
				return
			}
		}
	}()
	var err error
	for r := range results {
		if err == nil {
			if err = k.connected(r.job, r.outcome); err != nil {
				cancel(err)
			}
		}
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// connected notes what became of one port, and reports the address after its
// last.
func (k *look) connected(j job, o outcome) error {
	if o.err != nil {
		return o.err
	}
	h := j.host
	if o.open && k.doubtful(h, j.port, o.service) {
		k.m.doubted.WithLabelValues("port").Inc()
		o = outcome{}
	}
	h.up = h.up || o.answered
	if o.open {
		k.m.open.Inc()
		h.open = append(h.open, schemas.Observation{
			Kind: schemas.ObservedPort, IP: h.ip, Port: j.port, Transport: "tcp", Open: true, Service: o.service,
			Method: live.ByConnect, Doubt: h.doubt(),
		})
	} else if j.swept {
		k.m.unconfirmed.Inc()
	}
	if h.left--; h.left > 0 {
		return nil
	}
	return k.report(h)
}

// reportIdle reports the addresses that have no job: they showed themselves, and
// no port of them is open.
func (k *look) reportIdle(hosts map[netip.Addr]*host, jobs []job) error {
	busy := map[*host]bool{}
	for _, j := range jobs {
		busy[j.host] = true
	}
	for _, ip := range slices.SortedFunc(maps.Keys(hosts), netip.Addr.Compare) {
		if h := hosts[ip]; !busy[h] {
			if err := k.report(h); err != nil {
				return err
			}
		}
	}
	return nil
}

// report emits what is known of one address.
func (k *look) report(h *host) error {
	if !h.up && !h.known && h.takesAll == 0 {
		return nil
	}
	h.up = h.up || h.takesAll > 0 // somebody is there, if only a proxy
	if h.method == "" && h.up {
		h.method = live.ByConnect
	}
	if err := k.send(schemas.Observation{
		Kind: schemas.ObservedHost, IP: h.ip, Open: h.up, Method: h.method, MAC: h.mac, Doubt: h.doubt(),
	}); err != nil {
		return err
	}
	slices.SortStableFunc(h.open, func(a, b schemas.Observation) int { return a.Port - b.Port })
	for _, o := range h.open {
		if err := k.send(o); err != nil {
			return err
		}
	}
	ports := k.settled(h)
	if ports == "" {
		return nil
	}
	return k.send(schemas.Observation{Kind: schemas.ObservedSweep, IP: h.ip, Transport: "tcp", Ports: ports, Method: string(k.cfg.Mode)})
}

// outcome is what one connection showed.
type outcome struct {
	open     bool
	answered bool // a refusal is an answer of a host that is up
	service  *schemas.Service
	err      error // of this machine or the task; nothing is known of the port
}

// connect confirms one port and identifies what is there.
func (k *look) connect(ctx context.Context, j job, limit *rate.Limiter, identified bool) outcome {
	at := netip.AddrPortFrom(j.host.ip, uint16(j.port))
	dial := func(ctx context.Context) (net.Conn, error) { return k.dial(ctx, at, limit) }
	var conn net.Conn
	var err error
	for range tries {
		if conn, err = dial(ctx); err == nil || !silence(err) {
			break
		}
	}
	switch {
	case ctx.Err() != nil:
		return outcome{err: context.Cause(ctx)}
	case errors.Is(err, syscall.ECONNREFUSED):
		return outcome{answered: true}
	case silence(err):
		return outcome{}
	case err != nil:
		return outcome{err: fmt.Errorf("connecting to %s: %w", at, err)}
	}
	first := conn // identification begins on the connection that confirmed
	defer func() {
		if first != nil {
			_ = first.Close()
		}
	}()
	o := outcome{open: true, answered: true}
	if !identified {
		return o
	}
	o.service, err = identify.Service(ctx, identify.Target{Host: at.Addr().String(), Name: k.nameOf(at), Port: j.port, Now: time.Now(), Dial: func(ctx context.Context) (net.Conn, error) {
		if c := first; c != nil {
			first = nil
			return c, nil
		}
		return dial(ctx)
	}})
	if ctx.Err() != nil {
		return outcome{err: context.Cause(ctx)}
	}
	if err != nil { // the port was open; it may have closed by now
		k.m.identifyErrs.Inc()
		k.log.warn("a service could not be identified", "at", at, "job", k.task.Job, "error", err)
	}
	return o
}

// nameOf is the name by which the registry knows what is on a port: the first of
// its system, unless that has whole blocks. TLS and HTTP answer by it.
func (k *look) nameOf(at netip.AddrPort) string {
	system, _ := k.snap.SystemOfPort(at.Addr(), "tcp", int(at.Port()))
	if !slices.Contains(system.Addresses, netip.PrefixFrom(at.Addr(), at.Addr().BitLen())) {
		return ""
	}
	for _, name := range system.Domains {
		if !strings.HasPrefix(name, "*.") {
			return name
		}
	}
	return ""
}

// dial makes a connection, if the registry authorises it and the rate allows.
func (k *look) dial(ctx context.Context, at netip.AddrPort, limit *rate.Limiter) (net.Conn, error) {
	if err := limit.Wait(ctx); err != nil {
		return nil, err
	}
	if err := k.allowed(ctx, "connection", at.Addr()); err != nil {
		return nil, err
	}
	k.m.connections.Inc()
	return (&net.Dialer{Timeout: k.cfg.Timeout, KeepAlive: -1}).DialContext(ctx, "tcp", at.String())
}

// silence says that an error is of a network that gave no answer of the host:
// time-out or unreachable. Others, such as no file or no local port left, are
// our own and say nothing about the host.
func silence(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout() ||
		errors.Is(err, syscall.EHOSTUNREACH) || errors.Is(err, syscall.ENETUNREACH) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EHOSTDOWN) ||
		errors.Is(err, syscall.EACCES) // ICMPv6's "administratively prohibited"
}
