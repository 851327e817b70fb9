package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"fengsui/internal/clickhouse"
	"fengsui/internal/kafka"
	"fengsui/internal/lifecycle"
)

func newUp(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "up", Short: "一台机器上运行全部服务 / run everything on one machine",
		Long: `在一台机器上运行全部服务；存储与消息队列内嵌，数据都在 --data-dir 之下。Ctrl-C 结束。
Run every service on one machine. The store and the broker are embedded, unless
clickhouse.addr and kafka.brokers name others; everything is kept under
--data-dir. Ctrl-C stops it.`,
		Example: "  fengsui up --data-dir ./data", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess(flags)
			if err != nil {
				return err
			}
			unlock, err := lock(p.cfg)
			if err != nil {
				return err
			}
			defer unlock()
			return up(cmd, flags, p)
		},
	}
}

// lock takes the data directory, so that a second `up` on it is refused.
func lock(cfg *Config) (unlock func(), err error) {
	path := cfg.lockFile()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the data directory: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s 已有一个 fengsui up 在使用 / another `fengsui up` is using %s; stop it first, or give another --data-dir", cfg.DataDir, cfg.DataDir)
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	return func() { _ = f.Close() }, nil // closing releases the lock
}

func up(cmd *cobra.Command, flags *globalFlags, p *process) error {
	ctx := cmd.Context()
	if err := p.addEngines(flags); err != nil {
		return err
	}
	if err := p.cfg.checkServices(); err != nil {
		return usageError{err}
	}
	db, err := clickhouse.Open(p.cfg.ClickHouse)
	if err != nil {
		return usageError{err}
	}
	defer db.Close()
	reg, err := p.cfg.Registry.open(ctx)
	if err != nil {
		return err
	}
	defer reg.Close()
	password, err := reg.EnsureAdmin(ctx)
	if err != nil {
		return err
	}
	p.sup.Add("tables and topics", newOnce(func(ctx context.Context) error { return p.prepare(ctx, db) }))
	web, err := p.addConsole(reg, db)
	if err != nil {
		return err
	}
	dir, err := p.addDirectory()
	if err != nil {
		return err
	}
	if err := p.addAnalyzer(db, dir); err != nil {
		return err
	}
	if err := p.addScanner(dir); err != nil {
		return err
	}
	col, err := p.addCollector()
	if err != nil {
		return err
	}
	var printErr error
	err = p.serve(ctx, func() {
		printErr = printReady(cmd, flags, &readyInfo{
			Console: web.URL(), Inputs: inputURLs(col.Addrs()), DataDir: p.cfg.DataDir,
			User: "admin", Password: password,
		})
	})
	return errors.Join(err, printErr)
}

// once does something before the components after it start.
type once struct {
	do    func(context.Context) error
	ready chan struct{}
}

func newOnce(do func(context.Context) error) *once { return &once{do: do, ready: make(chan struct{})} }

func (o *once) Ready() <-chan struct{} { return o.ready }

func (o *once) Run(ctx context.Context) error {
	if err := o.do(ctx); err != nil {
		return err
	}
	close(o.ready)
	<-ctx.Done()
	return nil
}

// brokerMemory is what the broker's process may use before it collects harder: it
// reads its whole log when it starts.
const brokerMemory = "512MiB"

// addEngines adds the embedded store and broker as child processes, so that a
// crash there is survived, and fixes the address that the broker keeps over its
// restarts.
func (p *process) addEngines(flags *globalFlags) error {
	restarts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "fengsui_child_restarts_total", Help: "Starts of a child process after its first.",
	}, []string{"child"})
	if err := p.metrics.Register(restarts); err != nil {
		return err
	}
	child := func(name string, probe func(context.Context) error, env ...string) error {
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("finding this program's file: %w", err)
		}
		args := []string{name, "--data-dir", p.cfg.DataDir}
		if flags.config != "" {
			args = append(args, "--config", flags.config)
		}
		p.sup.Add(name, &lifecycle.Child{
			Name: name, Log: p.log, Output: flags.logTo, StopTimeout: stopTimeout, Probe: probe,
			Command: func() *exec.Cmd {
				cmd := exec.Command(exe, args...)
				// The address of the metrics is this process's.
				cmd.Env = append(append(os.Environ(), "FENGSUI_METRICS__LISTEN="), env...)
				return cmd
			},
			Restarted: restarts.WithLabelValues(name).Inc,
		})
		return nil
	}
	if p.cfg.embeddedStore {
		err := child("store", func(ctx context.Context) error { return clickhouse.Alive(ctx, p.cfg.ClickHouse) })
		if err != nil {
			return err
		}
	}
	if p.cfg.embeddedBroker {
		addr, err := p.cfg.placeBroker()
		if err != nil {
			return err
		}
		err = child("broker", func(ctx context.Context) error { return kafka.Ping(ctx, p.cfg.Kafka) }, "FENGSUI_BROKER__LISTEN="+addr, "GOMEMLIMIT="+brokerMemory)
		if err != nil {
			return err
		}
	}
	return nil
}

// placeBroker chooses the broker's address and secret, and writes them where
// this machine's commands find them. The address of the last time is taken again
// if it is free.
func (c *Config) placeBroker() (addr string, err error) {
	if addr, err = c.freeAddress(); err != nil {
		return "", fmt.Errorf("finding a free port for the broker: %w", err)
	}
	secret, err := os.ReadFile(c.secretFile())
	if errors.Is(err, os.ErrNotExist) {
		secret = []byte(rand.Text())
		err = os.WriteFile(c.secretFile(), secret, 0o600)
	}
	if err == nil {
		err = os.WriteFile(c.brokerFile(), []byte(addr), 0o600)
	}
	if err != nil {
		return "", fmt.Errorf("noting where the broker is: %w", err)
	}
	c.useSecret(strings.TrimSpace(string(secret)))
	c.Kafka.Brokers = []string{addr}
	c.Collector.Kafka = c.Kafka
	return addr, nil
}

func (c *Config) freeAddress() (string, error) {
	host, port, err := net.SplitHostPort(c.Broker.Listen)
	if err != nil || port != "0" {
		return c.Broker.Listen, err
	}
	candidates := []string{net.JoinHostPort(host, "0")}
	if last, err := os.ReadFile(c.brokerFile()); err == nil {
		candidates = append([]string{strings.TrimSpace(string(last))}, candidates...)
	}
	for _, candidate := range candidates {
		var ln net.Listener
		if ln, err = net.Listen("tcp", candidate); err == nil {
			return ln.Addr().String(), ln.Close()
		}
	}
	return "", err
}

// readyInfo is what a person needs once everything runs.
type readyInfo struct {
	Console  string              `json:"console"`
	Inputs   map[string][]string `json:"inputs"`
	DataDir  string              `json:"data_dir"`
	User     string              `json:"user,omitempty"`
	Password string              `json:"one_time_password,omitempty"`
}

func printReady(cmd *cobra.Command, flags *globalFlags, r *readyInfo) error {
	var b strings.Builder
	line := func(zh, en, value string) { fmt.Fprintf(&b, "  %s / %-18s %s\n", zh, en, value) }
	b.WriteString("烽燧已就绪 / Fengsui is ready\n")
	line("控制台", "console", r.Console)
	for _, name := range sortedKeys(r.Inputs) {
		for _, addr := range r.Inputs[name] {
			line("日志输入", "input "+name, addr)
		}
	}
	line("数据目录", "data directory", r.DataDir)
	if r.Password != "" {
		line("首个管理员", "first administrator", r.User)
		line("一次性口令", "one-time password", r.Password)
	} else {
		r.User = ""
	}
	return out(cmd, flags, r, strings.TrimSuffix(b.String(), "\n"))
}

// inputURLs writes where inputs listen as "udp://address".
func inputURLs(addrs map[string][]net.Addr) map[string][]string {
	urls := make(map[string][]string, len(addrs))
	for name, list := range addrs {
		for _, a := range list {
			urls[name] = append(urls[name], a.Network()+"://"+a.String())
		}
	}
	return urls
}
