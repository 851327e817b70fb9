// Fengsui-syn sweeps the ports of one shard by SYN packets, with naabu, and ends.
//
// It speaks as fengsui-sweep does (scanner/sweep): a request on its standard
// input, lines of JSON on its standard output. It ends at once when its standard
// input ends or its parent dies.
//
// It is a program of its own because naabu needs cgo, opens raw sockets when it
// is merely linked in, and stops sending only when its process ends. It never
// resolves names, never sends without an allow-list of networks in the request,
// and never reports what was not asked for.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/projectdiscovery/goflags"
	"github.com/projectdiscovery/gologger"
	"github.com/projectdiscovery/gologger/levels"
	"github.com/projectdiscovery/naabu/v2/pkg/privileges"
	"github.com/projectdiscovery/naabu/v2/pkg/result"
	"github.com/projectdiscovery/naabu/v2/pkg/runner"
	"github.com/projectdiscovery/naabu/v2/pkg/scan"

	"fengsui/cmd/fengsui-syn/early"
	"fengsui/scanner/sweep"
)

func main() {
	status := sweep.Serve(os.Stdin, early.Output, early.Cleanup, run)
	// The runner is left as it is: closing it while a late answer arrives
	// crashes, and all it holds is this process.
	os.Exit(status)
}

func run(shard *sweep.Shard, say func(sweep.Line)) (sweep.Result, error) {
	if shard.Mode != sweep.SYN {
		return sweep.Result{}, fmt.Errorf("%w: mode %s is that of %s", sweep.ErrRefused, shard.Mode, sweep.Program)
	}
	gologger.DefaultLogger.SetMaxLevel(levels.LevelFatal)
	if !privileges.IsPrivileged || scan.PkgRouter == nil || len(scan.ListenHandlers) == 0 {
		return sweep.Result{}, errors.New("SYN mode needs CAP_NET_RAW")
	}
	var targets goflags.StringSlice
	for _, p := range shard.Targets {
		targets = append(targets, p.String())
	}
	found := &found{shard: shard, say: say}
	r, err := runner.NewRunner(options(shard, targets, found.open))
	if err != nil {
		return sweep.Result{}, fmt.Errorf("preparing the sweep: %w", err)
	}
	if err := r.RunEnumeration(context.Background()); err != nil {
		return sweep.Result{}, fmt.Errorf("sweeping: %w", err)
	}
	return sweep.Result{Probes: shard.Probes(), Mode: sweep.SYN}, nil
}

func options(shard *sweep.Shard, targets goflags.StringSlice, found result.ResultFn) *runner.Options {
	o := &runner.Options{
		Host:               targets,
		Ports:              shard.PortList(),
		Rate:               shard.Rate,
		Retries:            shard.Retries,
		Timeout:            time.Duration(shard.Timeout) * time.Millisecond,
		ScanType:           runner.SynScan,
		IPVersion:          goflags.StringSlice{scan.IPv4}, // both at once invent hosts
		WarmUpTime:         2,                              // the wait for late answers; 0 finds nothing
		DisableStdin:       true,
		Silent:             true,
		DisableStdout:      true,
		DisableUpdateCheck: true,
		OnReceive:          found, // never nil: it would print
		OnResult:           func(*result.HostResult) {},
	}
	if shard.Targets[0].Addr().Is6() {
		o.IPVersion = goflags.StringSlice{scan.IPv6}
	}
	// Over IPv6 naabu would discover by multicast, which no scope holds.
	o.WithHostDiscovery = (shard.Discovery == sweep.Auto || shard.Discovery == sweep.Quick) && shard.Targets[0].Addr().Is4()
	return o
}

// found says each open port once. Naabu calls from several goroutines, and twice
// for a port.
type found struct {
	shard *sweep.Shard
	say   func(sweep.Line)
	mu    sync.Mutex
	seen  map[netip.AddrPort]bool
}

func (f *found) open(h *result.HostResult) {
	ip, err := netip.ParseAddr(h.IP)
	if err != nil {
		return // not one of our targets
	}
	ip = ip.Unmap()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range h.Ports {
		at := netip.AddrPortFrom(ip, uint16(p.Port))
		if f.seen[at] || !f.shard.Asked(ip, p.Port) {
			continue
		}
		if f.seen == nil {
			f.seen = map[netip.AddrPort]bool{}
		}
		f.seen[at] = true
		f.say(sweep.Line{IP: ip, Port: p.Port})
	}
}
