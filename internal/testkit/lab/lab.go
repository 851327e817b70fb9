// Package lab is a small network for tests: hosts in Linux network namespaces
// around a router, with real servers on them.
//
// Nothing in it reaches a real network: every host's only link ends at the
// router's namespace, and the router has no other link. Addresses may therefore
// be any; documentation and private ones say best what they are. An address that
// nobody has is answered by the router with "unreachable", one in a Blackhole
// with nothing. Everything is gone when the test ends.
package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	prefix    = "fslab" // of every namespace's name: prefix-PID-LAB-HOST
	netnsDir  = "/run/netns"
	gateway4  = "169.254.0.1" // the router's end of every link
	gateway6  = "fe80::1"
	startWait = 20 * time.Second
)

// labs numbers the labs of this process.
var labs atomic.Int64

var possible = sync.OnceValue(func() error {
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("network namespaces need the program ip (iproute2)")
	}
	name := fmt.Sprintf("%s-%d-probe", prefix, os.Getpid())
	if err := run("ip", "netns", "add", name); err != nil {
		return fmt.Errorf("this machine makes no network namespaces: %w", err)
	}
	defer func() { _ = run("ip", "netns", "del", name) }()
	if err := run("ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1"); err != nil {
		return fmt.Errorf("this machine makes no virtual links: %w", err)
	}
	return nil
})

// Require skips the test, with the reason, where no lab can be made or one of
// the programs is missing.
func Require(t testing.TB, programs ...string) {
	t.Helper()
	if err := possible(); err != nil {
		t.Skipf("no lab: %v", err)
	}
	for _, p := range programs {
		if _, err := find(p); err != nil {
			t.Skipf("no lab: the program %s is missing", p)
		}
	}
}

// find is exec.LookPath that also looks where Debian keeps servers.
func find(program string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	return exec.LookPath(filepath.Join("/usr/sbin", program))
}

// Lab is a network of its own.
type Lab struct {
	t      testing.TB
	name   string
	router string // namespace
	links  int
	used   map[string]bool
}

// New makes a network without hosts. It skips the test where that is
// impossible.
func New(t testing.TB) *Lab {
	t.Helper()
	Require(t)
	sweepStale()
	l := &Lab{t: t, name: fmt.Sprintf("%s-%d-%d", prefix, os.Getpid(), labs.Add(1)), used: map[string]bool{}}
	l.router = l.namespace("router")
	l.set(l.router, "net/ipv4/ip_forward", "1")
	l.set(l.router, "net/ipv6/conf/all/forwarding", "1")
	// The router answers for every address that nobody has: by default the
	// kernel sends only one such answer a second.
	l.set(l.router, "net/ipv4/icmp_ratelimit", "0")
	l.set(l.router, "net/ipv6/icmp/ratelimit", "0")
	return l
}

// sweepStale removes the namespaces that killed tests left.
func sweepStale() {
	entries, err := os.ReadDir(netnsDir)
	if err != nil {
		return // nothing was ever made
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "-")
		if len(parts) < 3 || parts[0] != prefix {
			continue
		}
		pid, err := strconv.Atoi(parts[1])
		if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
			continue
		}
		_ = run("ip", "netns", "del", e.Name()) // another test may have been faster
	}
}

func (l *Lab) namespace(name string) string {
	l.t.Helper()
	ns := l.name + "-" + name
	l.must("ip", "netns", "add", ns)
	l.t.Cleanup(func() {
		if err := run("ip", "netns", "del", ns); err != nil {
			l.t.Errorf("lab: removing %s: %v", ns, err)
		}
	})
	l.must("ip", "-n", ns, "link", "set", "lo", "up")
	return ns
}

// Blackhole makes the router drop what is sent to the block, as a firewall does.
func (l *Lab) Blackhole(block string) {
	l.t.Helper()
	l.must("ip", "-n", l.router, "route", "add", "blackhole", block)
}

// Host is a machine of the lab, or one already there by that name.
type Host struct {
	Name string
	NS   string // the namespace, as "ip netns exec" takes it
	IP4  netip.Addr
	IP6  netip.Addr

	lab  *Lab
	link string // the router's end
	dir  string
}

// Host adds a host with an IPv4 and an IPv6 address; "" is none.
func (l *Lab) Host(name, ip4, ip6 string) *Host {
	l.t.Helper()
	if l.used[name] || name == "router" {
		l.t.Fatalf("lab: a host %q is there already", name)
	}
	l.used[name] = true
	l.links++
	h := &Host{Name: name, lab: l, NS: l.namespace(name), link: "v" + strconv.Itoa(l.links), dir: l.t.TempDir()}
	// Servers give up their privileges and must still reach their files.
	if err := os.Chmod(h.dir, 0o755); err != nil {
		l.t.Fatalf("lab: %v", err)
	}
	l.must("ip", "-n", l.router, "link", "add", h.link, "type", "veth", "peer", "name", "eth0", "netns", h.NS)
	for _, ns := range []string{l.router, h.NS} {
		l.set(ns, "net/ipv6/conf/all/accept_dad", "0") // addresses are usable at once
		l.set(ns, "net/ipv6/conf/default/accept_dad", "0")
	}
	l.set(l.router, "net/ipv6/conf/"+h.link+"/accept_dad", "0")
	l.set(h.NS, "net/ipv6/conf/eth0/accept_dad", "0")
	l.must("ip", "-n", l.router, "addr", "add", gateway4+"/32", "dev", h.link)
	l.must("ip", "-n", l.router, "link", "set", h.link, "up")
	l.must("ip", "-n", l.router, "addr", "add", gateway6+"/64", "dev", h.link, "nodad")
	l.must("ip", "-n", h.NS, "link", "set", "eth0", "up")
	if ip4 != "" {
		h.IP4 = h.AddAddress(ip4)
	}
	if ip6 != "" {
		h.IP6 = h.AddAddress(ip6)
	}
	if ip4 != "" {
		l.must("ip", "-n", h.NS, "route", "add", gateway4, "dev", "eth0", "src", ip4)
		l.must("ip", "-n", h.NS, "route", "add", "default", "via", gateway4, "dev", "eth0", "src", ip4)
	}
	if ip6 != "" {
		l.must("ip", "-n", h.NS, "-6", "route", "add", "default", "via", gateway6, "dev", "eth0", "src", ip6)
	}
	return h
}

// AddAddress gives the host one more address.
func (h *Host) AddAddress(ip string) netip.Addr {
	h.lab.t.Helper()
	a, err := netip.ParseAddr(ip)
	if err != nil {
		h.lab.t.Fatalf("lab: host %s: %v", h.Name, err)
	}
	one := netip.PrefixFrom(a, a.BitLen()).String()
	if a.Is4() {
		h.lab.must("ip", "-n", h.NS, "addr", "add", one, "dev", "eth0")
		h.lab.must("ip", "-n", h.lab.router, "route", "add", one, "dev", h.link)
	} else {
		h.lab.must("ip", "-n", h.NS, "-6", "addr", "add", one, "dev", "eth0", "nodad")
		h.lab.must("ip", "-n", h.lab.router, "-6", "route", "add", one, "dev", h.link)
	}
	return a
}

// Command is a command inside the host. Its process is the command itself, and
// dies with the test.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	return h.CommandContext(context.Background(), name, args...)
}

// CommandContext is Command that is killed when ctx ends.
func (h *Host) CommandContext(ctx context.Context, name string, args ...string) *exec.Cmd {
	if path, err := find(name); err == nil {
		name = path
	}
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", h.NS, name}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// In calls f on a thread that is inside the host's namespace: sockets that f
// itself makes (net.Listen, net.Dial to an address) are the host's, for ever. Goroutines
// that f starts are not inside.
func (h *Host) In(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open("/proc/thread-self/ns/net")
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("lab: opening this thread's namespace: %w", err)
			return
		}
		defer func() { _ = home.Close() }()
		there, err := os.Open(filepath.Join(netnsDir, h.NS))
		if err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("lab: opening the namespace of %s: %w", h.Name, err)
			return
		}
		defer func() { _ = there.Close() }()
		if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("lab: entering the namespace of %s: %w", h.Name, err)
			return
		}
		err = f()
		// A thread that cannot come back stays locked and ends with this goroutine.
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Listen opens a TCP port of the host on all its addresses. Who connects is
// greeted with the banner, if there is one, and kept until he leaves. The port
// closes with Close or the test.
func (h *Host) Listen(port int, banner ...string) *Listener {
	h.lab.t.Helper()
	l := &Listener{banner: strings.Join(banner, "")}
	err := h.In(func() (err error) {
		l.socket, err = net.Listen("tcp", ":"+strconv.Itoa(port))
		return err
	})
	if err != nil {
		h.lab.t.Fatalf("lab: host %s, port %d: %v", h.Name, port, err)
	}
	l.done.Go(l.serve)
	h.lab.t.Cleanup(l.Close)
	return l
}

// Listener is an open port.
type Listener struct {
	socket net.Listener
	banner string
	done   sync.WaitGroup
	mu     sync.Mutex
	conns  map[net.Conn]bool
	closed bool
}

func (l *Listener) serve() {
	for {
		c, err := l.socket.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		if l.closed {
			l.mu.Unlock()
			_ = c.Close()
			return
		}
		if l.conns == nil {
			l.conns = map[net.Conn]bool{}
		}
		l.conns[c] = true
		l.mu.Unlock()
		l.done.Go(func() { l.keep(c) })
	}
}

func (l *Listener) keep(c net.Conn) {
	defer func() {
		_ = c.Close()
		l.mu.Lock()
		delete(l.conns, c)
		l.mu.Unlock()
	}()
	if l.banner != "" {
		if _, err := c.Write([]byte(l.banner)); err != nil {
			return
		}
	}
	buf := make([]byte, 1024)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}

// Close closes the port and its connections. A second call does nothing.
func (l *Listener) Close() {
	l.mu.Lock()
	l.closed = true
	_ = l.socket.Close()
	for c := range l.conns {
		_ = c.Close()
	}
	l.mu.Unlock()
	l.done.Wait()
}

// Here is the variable that a test finds set, to the host's name, when it was
// started by Rerun.
const Here = "FENGSUI_LAB_HOST"

// Rerun runs the calling test once more, in a process of this test's binary
// inside the host, with the given environment ("KEY=value") added, and fails
// with it. The test asks Inside which of the two it is. What the inner one wrote
// is logged.
func (h *Host) Rerun(t *testing.T, env ...string) {
	t.Helper()
	parts := strings.Split(t.Name(), "/")
	for i, p := range parts {
		parts[i] = "^" + p + "$"
	}
	cmd := h.CommandContext(t.Context(), os.Args[0], "-test.run", strings.Join(parts, "/"), "-test.v", "-test.timeout=5m")
	cmd.Env = append(append(os.Environ(), env...), Here+"="+h.Name)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	t.Logf("inside %s:\n%s", h.Name, out)
	switch {
	case err != nil:
		t.Fatalf("inside %s: %v", h.Name, err)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()):
		t.Fatalf("inside %s the test did not run", h.Name)
	}
}

// Inside is the name of the host that this process was put into by Rerun, or "".
func Inside() string { return os.Getenv(Here) }

func (l *Lab) set(ns, key, value string) {
	l.t.Helper()
	l.must("ip", "netns", "exec", ns, "sh", "-c", "echo "+value+" > /proc/sys/"+key)
}

func (l *Lab) must(name string, args ...string) {
	l.t.Helper()
	if err := run(name, args...); err != nil {
		l.t.Fatalf("lab: %v", err)
	}
}

func run(name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
