package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"fengsui/scanner/live"
	"fengsui/scanner/probe"
	"fengsui/scanner/sweep"
)

// usual is the ports by which hosts show themselves before a quick sweep: remote
// access, the web, and what Windows answers or refuses.
var usual = []uint16{22, 80, 443, 445, 3389}

const (
	// discoveryRate bounds discovery's packets of each kind.
	discoveryRate = 1000
	// neighbourWait is until the kernel has given up a neighbour that it did not
	// know: it asks three times, a second apart. One that it knew of old it trusts
	// for five seconds more before it asks, so that all is settled settleWait after
	// the last connection was given up.
	neighbourWait = 3500 * time.Millisecond
	settleWait    = 9 * time.Second
	// neighbours is how many of them are left to the kernel at once, whose table
	// holds 1,024 by default.
	neighbours = 256
	// proxied is from how many addresses with one hardware address on it is a
	// router's that answers for others, and proves nothing.
	proxied = 16
)

// looker looks at one shard.
type looker struct {
	shard *sweep.Shard
	say   func(sweep.Line)
	mu    sync.Mutex
	up    map[netip.Addr]bool
	gone  map[netip.Addr]bool
}

func look(ctx context.Context, shard *sweep.Shard, say func(sweep.Line)) (sweep.Result, error) {
	result := sweep.Result{Probes: shard.Probes(), Mode: sweep.Connect}
	if shard.Mode != sweep.Connect {
		return result, fmt.Errorf("%w: mode %s is that of %s", sweep.ErrRefused, shard.Mode, sweep.ProgramSYN)
	}
	l := &looker{shard: shard, say: say, up: map[netip.Addr]bool{}, gone: map[netip.Addr]bool{}}
	hosts := shard.Addresses()
	left := hosts
	cfg := l.config(shard.Rate, shard.Retries, l.timeout())
	var echoes sync.WaitGroup
	var echoErr error
	discover := shard.Discovery == sweep.Auto || shard.Discovery == sweep.Quick
	if discover {
		if err := l.ownLinks(ctx, hosts); err != nil {
			return result, err
		}
		left = l.keep(hosts, func(ip netip.Addr) bool { return !l.gone[ip] })
		if shard.Discovery == sweep.Quick {
			if err := l.signs(ctx, left); err != nil {
				return result, err
			}
			left = l.keep(left, func(ip netip.Addr) bool { return l.up[ip] })
		} else if share := l.share(); share > 0 {
			// Who answers an echo is worth knowing, but decides nothing: both go on
			// at once, and together keep to the rates.
			cfg.Rate -= share
			cfg.NetworkRate = max(cfg.NetworkRate-share, 0)
			echoes.Go(func() { echoErr = l.echo(ctx, left, share) })
		}
		result.Gone = len(hosts) - len(left)
	}
	stats, err := probe.Run(ctx, left, shard.PortNumbers(), cfg, l.answer)
	echoes.Wait()
	result.Sent, result.Silent, result.Late, result.Again = stats.Probes, stats.Silent, stats.Late, stats.Again
	result.Stalls, result.Lowest = stats.Stalls, stats.Rate
	return result, errors.Join(err, echoErr)
}

// share is what of the rates goes to echoes.
func (l *looker) share() int {
	of := l.shard.Rate
	if n := l.shard.NetworkRate; n > 0 {
		of = min(of, n)
	}
	return min(of/10, discoveryRate)
}

func (l *looker) timeout() time.Duration { return time.Duration(l.shard.Timeout) * time.Millisecond }

func (l *looker) config(rate, passes int, timeout time.Duration) probe.Config {
	return probe.Config{
		Rate: rate, HostRate: l.shard.HostRate, NetworkRate: l.shard.NetworkRate, Timeout: timeout, Passes: passes,
	}
}

func (l *looker) keep(ips []netip.Addr, wanted func(netip.Addr) bool) []netip.Addr {
	var out []netip.Addr
	for _, ip := range ips {
		if wanted(ip) {
			out = append(out, ip)
		}
	}
	return out
}

// answer takes what the sweep sees. An open port is said as such and no more:
// what it tells of the host is for whoever knows all of them.
func (l *looker) answer(at netip.AddrPort, a probe.Answer) {
	if a == probe.Open {
		l.say(sweep.Line{IP: at.Addr(), Port: int(at.Port())})
		return
	}
	l.sign(live.Sign{IP: at.Addr(), Method: live.ByConnect})
}

// sign notes that a host is there, and says so the first time.
func (l *looker) sign(s live.Sign) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.up[s.IP] {
		l.up[s.IP] = true
		l.say(sweep.Line{IP: s.IP, Up: true, Method: s.Method, MAC: s.MAC})
	}
}

// signs looks for any sign of life: an echo, or an answer of a usual port.
func (l *looker) signs(ctx context.Context, hosts []netip.Addr) error {
	var echoes sync.WaitGroup
	var echoErr error
	half := max(l.shard.Rate/2, 1)
	echoes.Go(func() { echoErr = l.echo(ctx, hosts, max(l.share(), 1)) })
	_, err := probe.Run(ctx, hosts, usual, l.config(half, 1, l.timeout()), func(at netip.AddrPort, _ probe.Answer) {
		l.sign(live.Sign{IP: at.Addr(), Method: live.ByConnect})
	})
	echoes.Wait()
	return errors.Join(err, echoErr)
}

// echo notes who answers an echo. Where this process may send none it says so,
// and nothing else is lost.
func (l *looker) echo(ctx context.Context, hosts []netip.Addr, rate int) error {
	signs, err := live.Ping(ctx, hosts, rate)
	for _, s := range signs {
		l.sign(s)
	}
	return unlessForbidden(err)
}

// unlessForbidden is nil where a process merely lacks a privilege: the same is
// then found in other ways, or is swept.
func unlessForbidden(err error) error {
	if errors.Is(err, live.ErrPrivilege) {
		fmt.Fprintf(os.Stderr, "%s: discovery without %v\n", sweep.Program, err)
		return nil
	}
	return err
}

// ownLinks finds who is there on the links of this machine, and who is not.
func (l *looker) ownLinks(ctx context.Context, hosts []netip.Addr) error {
	links, err := live.Links()
	if err != nil {
		return err
	}
	router, err := live.NewRouter()
	if err != nil {
		return err
	}
	defer router.Close()
	on := make([][]netip.Addr, len(links))
	for _, ip := range hosts {
		if live.On(links, ip) == nil {
			continue
		}
		index, err := router.Direct(ip)
		if err != nil {
			return err
		}
		for i := range links {
			if links[i].Index == index && links[i].Source(ip).IsValid() {
				on[i] = append(on[i], ip)
			}
		}
	}
	for i := range links {
		if len(on[i]) == 0 {
			continue
		}
		if err := l.link(ctx, &links[i], on[i]); err != nil {
			return err
		}
		if err := l.allNodes(ctx, &links[i]); err != nil {
			return err
		}
	}
	return nil
}

// link looks for the addresses of one link, by ARP where that is possible, or
// else by what the kernel itself learns when it is to connect to them.
func (l *looker) link(ctx context.Context, link *live.Link, hosts []netip.Addr) error {
	if hosts[0].Is4() {
		signs, err := live.ARP(ctx, link, hosts, max(l.share(), 1))
		if err == nil {
			l.asked(hosts, signs)
			return nil
		}
		if err := unlessForbidden(err); err != nil {
			return err
		}
	}
	for len(hosts) > 0 {
		some := hosts[:min(neighbours, len(hosts))]
		hosts = hosts[len(some):]
		if err := l.neighbours(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// asked takes the answers to ARP: who has not answered is not there.
func (l *looker) asked(hosts []netip.Addr, signs []live.Sign) {
	has := map[netip.Addr]bool{}
	shared := map[string]int{}
	for _, s := range signs {
		has[s.IP] = true
		shared[s.MAC]++
	}
	for _, s := range signs {
		if shared[s.MAC] < proxied {
			l.sign(s)
		}
	}
	for _, ip := range hosts {
		l.gone[ip] = !has[ip]
	}
}

// neighbours has the kernel look for some neighbours and reads what it learned.
func (l *looker) neighbours(ctx context.Context, hosts []netip.Addr) error {
	cfg := l.config(max(l.share(), 1), 1, neighbourWait)
	answered := map[netip.Addr]bool{}
	var asking sync.WaitGroup
	var askErr error
	done := make(chan struct{})
	asking.Go(func() {
		defer close(done)
		_, askErr = probe.Run(ctx, hosts, usual[1:2], cfg, func(at netip.AddrPort, _ probe.Answer) {
			answered[at.Addr()] = true
		})
	})
	table, err := learned(hosts, done)
	asking.Wait()
	if err := errors.Join(err, askErr); err != nil {
		return err
	}
	shared := map[string]int{}
	for _, ip := range hosts {
		shared[table[ip].MAC]++
	}
	method := live.ByARP
	if hosts[0].Is6() {
		method = live.ByNDP
	}
	for _, ip := range hosts {
		n := table[ip]
		switch {
		case n.Reachable && n.MAC != "" && shared[n.MAC] < proxied:
			l.sign(live.Sign{IP: ip, Method: method, MAC: n.MAC})
		case answered[ip]:
			l.sign(live.Sign{IP: ip, Method: live.ByConnect, MAC: n.MAC})
		case n.Failed:
			l.gone[ip] = true
		}
	}
	return nil
}

// learned is what the kernel comes to know of the addresses: until they are
// asked and it knows of each, but not longer than it would take. The table is
// read all the while, since what it says passes (see learn).
func learned(hosts []netip.Addr, asked <-chan struct{}) (map[netip.Addr]live.Neighbour, error) {
	known := make(map[netip.Addr]live.Neighbour, len(hosts))
	every := time.NewTicker(200 * time.Millisecond)
	defer every.Stop()
	var until time.Time
	for {
		select {
		case <-asked:
			if until.IsZero() {
				until = time.Now().Add(settleWait)
			}
		default:
		}
		over := !until.IsZero() && time.Now().After(until)
		table, err := live.Table()
		if err != nil {
			return nil, err
		}
		pending := learn(known, hosts, table)
		if over || !until.IsZero() && !pending {
			return known, nil
		}
		<-every.C // this process is ended from outside
	}
}

// learn adds one reading of the kernel's table to what is known of the
// addresses, and says whether the kernel is still to decide about any. A kernel
// whose table is full forgets at once who has not answered: one that it was
// asking for and no longer knows has failed. And one that answered a moment ago
// stays reachable while the kernel only doubts it again, until it has failed.
func learn(known map[netip.Addr]live.Neighbour, hosts []netip.Addr, table map[netip.Addr]live.Neighbour) (pending bool) {
	for _, ip := range hosts {
		was := known[ip]
		n, ok := table[ip]
		switch {
		case ok && was.Reachable && !n.Failed && n.MAC == was.MAC:
			n.Reachable, n.Pending = true, false
		case !ok && was.Pending && was.MAC == "":
			n = live.Neighbour{Failed: true}
		case !ok:
			n = was
		}
		known[ip] = n
		pending = pending || n.Pending
	}
	return pending
}

// allNodes has every IPv6 host of a link show itself, where the link's whole
// prefix is authorised.
func (l *looker) allNodes(ctx context.Context, link *live.Link) error {
	for _, own := range link.Own {
		prefix := own.Masked()
		if !own.Addr().Is6() || !l.shard.Authorised(prefix) {
			continue
		}
		signs, err := live.AllNodes(ctx, link, prefix)
		if err := unlessForbidden(err); err != nil {
			return err
		}
		table, err := live.Table() // they have asked for us, and so are known
		if err != nil {
			return err
		}
		for _, s := range signs {
			if l.shard.MayName(s.IP) {
				s.MAC = table[s.IP].MAC
				l.sign(s)
			}
		}
	}
	return nil
}
