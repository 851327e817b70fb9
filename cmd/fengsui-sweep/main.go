// Fengsui-sweep sweeps the ports of one shard with naabu and ends.
//
// It reads one request, a line of JSON (scanner/sweep.Request), from its
// standard input and writes an open port a line to its standard output, then a
// line with "done", or one with "error" and a non-zero exit status. It ends at
// once when its standard input ends or its parent dies, so whoever calls it
// keeps the input open until the last line.
//
// It is a program of its own because naabu needs cgo, opens raw sockets when it
// is merely linked in, and stops sending only when its process ends. It never
// resolves names, never sends without an allow-list of networks in the request,
// and never reports what was not asked for.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/projectdiscovery/goflags"
	"github.com/projectdiscovery/gologger"
	"github.com/projectdiscovery/gologger/levels"
	"github.com/projectdiscovery/naabu/v2/pkg/privileges"
	"github.com/projectdiscovery/naabu/v2/pkg/result"
	"github.com/projectdiscovery/naabu/v2/pkg/runner"
	"github.com/projectdiscovery/naabu/v2/pkg/scan"

	"fengsui/cmd/fengsui-sweep/early"
	"fengsui/scanner/sweep"
)

// The exit statuses.
const (
	exitFailed  = 1
	exitRefused = 2 // nothing was sent
	exitOrphan  = 3 // the input ended
)

func main() {
	out := &output{to: json.NewEncoder(early.Output)}
	in := bufio.NewReaderSize(os.Stdin, 64<<10)
	shard, err := readRequest(in)
	if err == nil {
		go dieWithInput(in)
		err = run(shard, out)
	}
	early.Cleanup()
	if err != nil {
		out.fail(err)
		fmt.Fprintf(os.Stderr, "fengsui-sweep: %v\n", err)
		if errors.Is(err, sweep.ErrRefused) {
			os.Exit(exitRefused)
		}
		os.Exit(exitFailed)
	}
	// The runner is left as it is: closing it while a late answer arrives
	// crashes, and all it holds is this process.
	os.Exit(0)
}

func readRequest(in *bufio.Reader) (*sweep.Shard, error) {
	line, err := io.ReadAll(io.LimitReader(lineReader{in}, sweep.MaxLine+1))
	if err != nil {
		return nil, fmt.Errorf("%w: reading the request: %w", sweep.ErrRefused, err)
	}
	if len(line) > sweep.MaxLine {
		return nil, fmt.Errorf("%w: a request of more than %d bytes", sweep.ErrRefused, sweep.MaxLine)
	}
	var req sweep.Request
	if err := json.Unmarshal(line, &req); err != nil {
		return nil, fmt.Errorf("%w: reading the request: %w", sweep.ErrRefused, err)
	}
	return req.Check()
}

// lineReader ends at the end of the line.
type lineReader struct{ *bufio.Reader }

func (r lineReader) Read(p []byte) (int, error) {
	for i := range p {
		c, err := r.ReadByte()
		if err != nil || c == '\n' {
			return i, io.EOF
		}
		p[i] = c
	}
	return len(p), nil
}

func dieWithInput(in io.Reader) {
	_, _ = io.Copy(io.Discard, in) // however it ends, the parent is gone
	early.Cleanup()
	os.Exit(exitOrphan)
}

func run(shard *sweep.Shard, out *output) error {
	gologger.DefaultLogger.SetMaxLevel(levels.LevelFatal)
	mode, err := possible(shard)
	if err != nil {
		return err
	}
	var targets goflags.StringSlice
	for _, p := range shard.Targets {
		targets = append(targets, p.String())
	}
	r, err := runner.NewRunner(options(shard, mode, targets, func(h *result.HostResult) { out.open(shard, h) }))
	if err != nil {
		return fmt.Errorf("preparing the sweep: %w", err)
	}
	if err := r.RunEnumeration(context.Background()); err != nil {
		return fmt.Errorf("sweeping: %w", err)
	}
	return out.done(shard.Probes(), mode)
}

// possible is the mode that this process can do. It raises the limit of open
// files, because naabu takes a connection that found none left for a closed port.
func possible(shard *sweep.Shard) (sweep.Mode, error) {
	if shard.Mode == sweep.SYN {
		if !privileges.IsPrivileged || scan.PkgRouter == nil || len(scan.ListenHandlers) == 0 {
			return "", errors.New("SYN mode needs CAP_NET_RAW")
		}
		return sweep.SYN, nil
	}
	const spare = 256
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return "", fmt.Errorf("reading the limit of open files: %w", err)
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return "", fmt.Errorf("raising the limit of open files to %d: %w", files.Max, err)
	}
	if need := uint64(shard.Rate + spare); files.Cur < need {
		return "", fmt.Errorf("a rate of %d needs %d open files, the limit is %d", shard.Rate, need, files.Cur)
	}
	return sweep.Connect, nil
}

func options(shard *sweep.Shard, mode sweep.Mode, targets goflags.StringSlice, found result.ResultFn) *runner.Options {
	o := &runner.Options{
		Host:               targets,
		Ports:              shard.PortList(),
		Rate:               shard.Rate,
		Retries:            shard.Retries,
		Timeout:            time.Duration(shard.Timeout) * time.Millisecond,
		ScanType:           runner.ConnectScan,
		IPVersion:          goflags.StringSlice{scan.IPv4}, // both at once invent hosts
		WarmUpTime:         1,                              // the wait for late answers; 0 finds nothing
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
	if mode == sweep.SYN {
		o.ScanType = runner.SynScan
		o.WarmUpTime = 2
		// Over IPv6 naabu would discover by multicast, which no scope holds.
		o.WithHostDiscovery = shard.Discover && shard.Targets[0].Addr().Is4()
	}
	return o
}

// output writes each open port once. Naabu calls from several goroutines, twice
// for a port in SYN mode, and still after the end.
type output struct {
	mu    sync.Mutex
	to    *json.Encoder
	seen  map[netip.AddrPort]bool
	ended bool
	err   error
}

func (o *output) open(shard *sweep.Shard, h *result.HostResult) {
	ip, err := netip.ParseAddr(h.IP)
	if err != nil {
		return // not one of our targets
	}
	ip = ip.Unmap()
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range h.Ports {
		at := netip.AddrPortFrom(ip, uint16(p.Port))
		if o.ended || o.seen[at] || !shard.Asked(ip, p.Port) {
			continue
		}
		if o.seen == nil {
			o.seen = map[netip.AddrPort]bool{}
		}
		o.seen[at] = true
		o.err = errors.Join(o.err, o.to.Encode(sweep.Line{IP: ip, Port: p.Port}))
	}
}

func (o *output) done(probes int, mode sweep.Mode) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.err == nil {
		o.err = o.to.Encode(sweep.Line{Done: true, Probes: probes, Mode: mode})
	}
	if o.err != nil {
		return fmt.Errorf("writing results: %w", o.err)
	}
	return nil
}

func (o *output) fail(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	_ = o.to.Encode(sweep.Line{Error: err.Error()}) // standard error and the status say it too
}
