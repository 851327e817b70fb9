package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/spf13/cobra"

	"fengsui/analyzer"
	"fengsui/collector"
	"fengsui/console"
	"fengsui/internal/broker"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/directory/follow"
	"fengsui/internal/kafka"
	"fengsui/internal/lifecycle"
	"fengsui/internal/memory"
	"fengsui/internal/store"
	"fengsui/registry"
	"fengsui/scanner"
)

// stopTimeout is what each component has to stop. All of them together take far
// less, since only the store and the broker have something to finish.
const stopTimeout = 5 * time.Second

// process is what the services of one process share.
type process struct {
	cfg     *Config
	log     *slog.Logger
	metrics *prometheus.Registry
	sup     *lifecycle.Supervisor
	reload  func() // what SIGHUP asks for; nil where there is nothing to read again
}

func newProcess(flags *globalFlags) (*process, error) {
	cfg, err := loadConfig(flags)
	if err != nil {
		return nil, usageError{err}
	}
	log, err := newLogger(cfg.Log, flags.logTo)
	if err != nil {
		return nil, usageError{err}
	}
	if err := memory.Apply(cfg.Memory); err != nil {
		return nil, usageError{err}
	}
	p := &process{cfg: cfg, log: log, metrics: prometheus.NewRegistry(), sup: lifecycle.New(log, stopTimeout)}
	p.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return p, nil
}

// serve runs what was added until ctx ends.
func (p *process) serve(ctx context.Context, ready func()) error {
	if p.cfg.Metrics.Listen != "" {
		p.sup.Add("metrics", lifecycle.Func(p.serveMetrics))
	}
	if p.reload != nil {
		p.sup.Add("hang-up", lifecycle.Func(p.followHangUps))
	}
	return p.sup.Run(ctx, ready)
}

// followHangUps reads again what can be on SIGHUP. A terminal that is closed
// sends the same signal: what was started on one ends with it.
func (p *process) followHangUps(ctx context.Context) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	defer signal.Stop(signals)
	onTerminal := isTerminal(os.Stderr)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-signals:
			if onTerminal && !isTerminal(os.Stderr) {
				return errors.New("the terminal was closed")
			}
			p.reload()
		}
	}
}

func (p *process) serveMetrics(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{}))
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: 30 * time.Second}
	ln, err := net.Listen("tcp", p.cfg.Metrics.Listen)
	if err != nil {
		return fmt.Errorf("listening for metrics: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving metrics on %s: %w", p.cfg.Metrics.Listen, err)
	}
	return nil
}

// needKafka and needStore say plainly what is missing.
func (p *process) needKafka() error { return needKafka(p.cfg) }

func needKafka(cfg *Config) error {
	if len(cfg.Kafka.Brokers) == 0 {
		return usageError{fmt.Errorf("no Kafka: set kafka.brokers, or start `fengsui up --data-dir %s`", cfg.DataDir)}
	}
	return nil
}

// reachKafka is needKafka, and sees that Kafka answers.
func reachKafka(ctx context.Context, cfg *Config) error {
	if err := needKafka(cfg); err != nil {
		return err
	}
	err := kafka.Ping(ctx, cfg.Kafka)
	if err != nil && cfg.embeddedBroker {
		return fmt.Errorf("%w (is `fengsui up --data-dir %s` running?)", err, cfg.DataDir)
	}
	return err
}

// withStore is for commands that only ask the store.
func withStore(cmd *cobra.Command, flags *globalFlags, f func(*Config, *clickhouse.DB) error) error {
	cfg, err := loadConfig(flags)
	if err != nil {
		return usageError{err}
	}
	db, err := openStore(cmd.Context(), cfg)
	if err != nil {
		return err
	}
	defer db.Close()
	return f(cfg, db)
}

// openStore connects to ClickHouse and sees that it answers.
func openStore(ctx context.Context, cfg *Config) (*clickhouse.DB, error) {
	db, err := clickhouse.Open(cfg.ClickHouse)
	if err != nil {
		return nil, usageError{err}
	}
	pinging, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := clickhouse.Alive(pinging, cfg.ClickHouse); err != nil {
		err = fmt.Errorf("no answer from ClickHouse at %s: %w", cfg.ClickHouse.Addr, err)
		if cfg.embeddedStore {
			err = fmt.Errorf("%w (is `fengsui up --data-dir %s` running?)", err, cfg.DataDir)
		}
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func (p *process) addStore() error {
	s, err := store.New(p.cfg.Store, store.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	p.sup.Add("store", s)
	return nil
}

func (p *process) addBroker() error {
	b, err := broker.New(p.cfg.Broker, broker.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	p.sup.Add("broker", b)
	return nil
}

// addDirectory adds the follower of the registry, for the services after it.
func (p *process) addDirectory() (*directory.Directory, error) {
	dir := directory.New()
	f, err := follow.New(p.cfg.Kafka, dir, follow.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return nil, err
	}
	p.sup.Add("registry follower", f)
	return dir, nil
}

func (p *process) addAnalyzer(db *clickhouse.DB, dir *directory.Directory) error {
	a, err := analyzer.New(p.cfg.Analyzer, analyzer.Deps{Log: p.log, Metrics: p.metrics, Kafka: p.cfg.Kafka, Store: db, Directory: dir})
	if err != nil {
		return err
	}
	p.reload = a.ReloadRules
	p.sup.Add("analyzer", a)
	return nil
}

func (p *process) addCollector() (*collector.Collector, error) {
	c, err := collector.New(p.cfg.Collector, collector.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return nil, err
	}
	p.sup.Add("collector", c)
	return c, nil
}

func (p *process) addScanner(dir *directory.Directory) error {
	producer, err := kafka.NewProducer(p.cfg.Kafka, kafka.Deps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return err
	}
	s, err := scanner.New(p.cfg.Scanner, scanner.Deps{Log: p.log, Metrics: p.metrics, Kafka: p.cfg.Kafka, Directory: dir, Producer: producer})
	if err != nil {
		return err
	}
	p.sup.Add("scanner", s)
	return nil
}

func (p *process) addConsole(reg *registry.Registry, db *clickhouse.DB) (*console.Console, error) {
	pub, err := registry.NewPublisher(reg, p.cfg.Kafka, registry.PublisherDeps{Log: p.log, Metrics: p.metrics})
	if err != nil {
		return nil, err
	}
	p.sup.Add("registry publisher", pub)
	scans := newScans(p, reg, db)
	c, err := console.New(p.cfg.Console, console.Deps{Log: p.log, Metrics: p.metrics, Gatherer: p.metrics, Registry: reg, Store: db, Scanners: scans})
	if err != nil {
		return nil, err
	}
	p.sup.Add("scans", scans)
	p.sup.Add("console", c)
	if len(p.cfg.Schedule) > 0 {
		p.sup.Add("schedule", &schedule{process: p, registry: reg, store: db, scans: scans})
	}
	return c, nil
}

// prepare brings tables and topics up to date.
func (p *process) prepare(ctx context.Context, db *clickhouse.DB) error {
	if err := clickhouse.Migrate(ctx, db, p.cfg.Retention); err != nil {
		return fmt.Errorf("bringing the tables up to date: %w", err)
	}
	if err := kafka.EnsureTopics(ctx, p.cfg.Kafka, p.cfg.topics(), p.cfg.Replication); err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	return nil
}

// service makes the command of one service.
func service(flags *globalFlags, use, short, example string, add func(ctx context.Context, p *process) error) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess(flags)
			if err != nil {
				return err
			}
			if err := add(cmd.Context(), p); err != nil {
				return err
			}
			return p.serve(cmd.Context(), func() { p.log.Info("ready", "service", use) })
		},
	}
}

func newStore(flags *globalFlags) *cobra.Command {
	return service(flags, "store", "内嵌 ClickHouse / the embedded ClickHouse, on a unix socket",
		"  fengsui store --data-dir ./data",
		func(_ context.Context, p *process) error { return p.addStore() })
}

func newBroker(flags *globalFlags) *cobra.Command {
	return service(flags, "broker", "内嵌 Kafka / the embedded Kafka broker, on loopback",
		"  FENGSUI_BROKER__LISTEN=127.0.0.1:9092 fengsui broker --data-dir ./data",
		func(_ context.Context, p *process) error { return p.addBroker() })
}

func newAnalyzer(flags *globalFlags) *cobra.Command {
	return service(flags, "analyzer", "分析：解析、规则、挖矿、资产、差异 / parse, match, map assets, find drift and mining",
		"  fengsui analyzer --config /etc/fengsui.yaml",
		func(ctx context.Context, p *process) error {
			if err := p.needKafka(); err != nil {
				return err
			}
			db, err := openStore(ctx, p.cfg)
			if err != nil {
				return err
			}
			dir, err := p.addDirectory()
			if err != nil {
				return err
			}
			return p.addAnalyzer(db, dir)
		})
}

func newCollector(flags *globalFlags) *cobra.Command {
	cmd := service(flags, "collector", "采集：接收日志并送入 Kafka / receive logs and ship them to Kafka",
		"  fengsui collector --config /etc/fengsui.yaml",
		func(_ context.Context, p *process) error {
			if err := p.needKafka(); err != nil {
				return err
			}
			_, err := p.addCollector()
			return err
		})
	cmd.AddCommand(newCollectorStatus(flags))
	return cmd
}

func newScanner(flags *globalFlags) *cobra.Command {
	return service(flags, "scanner", "扫描：在授权范围内查看网络 / look at networks inside the authorised scope",
		"  fengsui scanner --config /etc/fengsui.yaml",
		func(_ context.Context, p *process) error {
			if err := p.needKafka(); err != nil {
				return err
			}
			dir, err := p.addDirectory()
			if err != nil {
				return err
			}
			return p.addScanner(dir)
		})
}

func newConsole(flags *globalFlags) *cobra.Command {
	return service(flags, "console", "控制台：API 与网页，并发布台账 / the API and the web page; publishes the registry",
		"  fengsui console --config /etc/fengsui.yaml",
		func(ctx context.Context, p *process) error {
			if err := p.needKafka(); err != nil {
				return err
			}
			db, err := openStore(ctx, p.cfg)
			if err != nil {
				return err
			}
			reg, err := p.cfg.Registry.open(ctx)
			if err != nil {
				return err
			}
			_, err = p.addConsole(reg, db)
			return err
		})
}

func newMigrate(flags *globalFlags) *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "建表与建主题 / bring ClickHouse's tables and Kafka's topics up to date",
		Example: "  fengsui migrate --config /etc/fengsui.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess(flags)
			if err != nil {
				return err
			}
			if err := p.needKafka(); err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), p.cfg)
			if err != nil {
				return err
			}
			defer db.Close()
			if err := p.prepare(cmd.Context(), db); err != nil {
				return err
			}
			return out(cmd, flags, map[string]any{"migrated": true}, "表与主题已是最新 / tables and topics are up to date")
		},
	}
}
