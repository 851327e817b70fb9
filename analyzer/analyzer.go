// Package analyzer is all judgement: it reads raw records, observations and
// matches from Kafka, and writes events, alerts, mining detections, the asset
// map and drift to ClickHouse. What it decides, it decides in the pure packages
// below it (parse, match, correlate, mining, assets, drift); this package only
// brings records to them and results away, so that nothing is lost and nothing
// is counted twice. It never touches a network that is looked at.
package analyzer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fengsui/analyzer/assets"
	"fengsui/analyzer/correlate"
	"fengsui/analyzer/drift"
	"fengsui/analyzer/enrich"
	"fengsui/analyzer/firstmet"
	"fengsui/analyzer/health"
	"fengsui/analyzer/identity"
	"fengsui/analyzer/mask"
	"fengsui/analyzer/match"
	"fengsui/analyzer/mining"
	"fengsui/analyzer/parse"
	"fengsui/analyzer/ruleset"
	"fengsui/internal/clickhouse"
	"fengsui/internal/directory"
	"fengsui/internal/kafka"
	miningrules "fengsui/rules/mining"
	"fengsui/schemas"
)

// Config is the analyzer's configuration.
type Config struct {
	// Group is the name of the consumer groups; analyzers with the same name share
	// the work.
	Group string `koanf:"group"`
	// MaxBatch bounds the records that are parsed and stored at once.
	MaxBatch int `koanf:"max_batch"`
	// MapBatch bounds the observations that are taken into the asset map at once, of
	// a scan that is behind: the more, the less the store has to merge.
	MapBatch int `koanf:"map_batch"`
	// MaxWait is how long a batch waits to fill: the shortest time to an alert.
	MaxWait time.Duration `koanf:"max_wait"`
	// Timezone is the zone of log lines that name none; "Local" is this machine's.
	Timezone string `koanf:"timezone"`
	// RuleDirs are folders of Sigma rules beside those that are built in. They are
	// watched.
	RuleDirs []string `koanf:"rule_dirs"`
	// TuningDirs are folders of exceptions, throttles and severities. They are
	// watched.
	TuningDirs []string `koanf:"tuning_dirs"`
	// Rules is what the rules leave to this installation.
	Rules RulesConfig `koanf:"rules"`
	// DevicesDirs are folders of device files (docs/manual/devices.md) beside those
	// that are built in. They are read at the start.
	DevicesDirs []string `koanf:"devices_dirs"`
	// Formats says what sources or inputs send, over what their inputs say and what
	// is detected.
	Formats []parse.SourceFormat `koanf:"formats"`
	// Passive says whether logs feed the asset map.
	Passive bool `koanf:"passive"`
	// Rewind is how much of the matches is read again after a restart to rebuild
	// the counts of correlation rules. Where they need more (twice the longest
	// timespan and the lateness), that is read.
	Rewind time.Duration `koanf:"rewind"`

	Correlate correlate.Config  `koanf:"correlate"`
	Mining    mining.FoldConfig `koanf:"mining"`
	Drift     drift.Config      `koanf:"drift"`
	Assets    assets.Config     `koanf:"assets"`
	Health    health.Config     `koanf:"health"`

	NewDomains firstmet.Config `koanf:"new_domains"`

	// Privacy is what is masked before anything is stored or sent on.
	Privacy PrivacyConfig `koanf:"privacy"`
	Enrich  enrich.Config `koanf:"enrich"`

	// Identity says how long leases, logins and translations tell who has an address.
	Identity identity.Config `koanf:"identity"`
}

// RulesConfig is what rules leave to their installation.
type RulesConfig struct {
	// Placeholders are the values of %name% for Sigma's modifier expand.
	Placeholders map[string][]string `koanf:"placeholders"`
	// Lists are the texts of the lists that the function in_list names.
	Lists map[string][]string `koanf:"lists"`
	// CostShare is the share of the time of all rules above which a rule is named
	// in the log. It is never switched off.
	CostShare float64 `koanf:"cost_share"`
	// Rescan is how often the folders are read again without a sign of a change.
	Rescan time.Duration `koanf:"rescan"`
}

// RuleSet is where the rules and the tuning are, and what they mean here.
func (c Config) RuleSet() (ruleset.Config, error) {
	zone, err := time.LoadLocation(c.Timezone)
	if err != nil {
		return ruleset.Config{}, fmt.Errorf("timezone: %w", err)
	}
	return ruleset.Config{
		RuleDirs: c.RuleDirs, TuningDirs: c.TuningDirs, Zone: zone, CostShare: c.Rules.CostShare, Rescan: c.Rules.Rescan,
		Options: match.Options{Placeholders: c.Rules.Placeholders, Lists: c.Rules.Lists, Zone: zone},
	}, nil
}

// DefaultConfig is for one machine.
func DefaultConfig() Config {
	return Config{
		Group: "analyzer", MaxBatch: 20_000, MapBatch: 40_000, MaxWait: 200 * time.Millisecond, Timezone: "Local", Passive: true,
		Rules: RulesConfig{CostShare: 0.2, Rescan: 30 * time.Second}, Rewind: 2 * time.Hour, Correlate: correlate.DefaultConfig(),
		Mining: mining.DefaultFoldConfig(), Drift: drift.DefaultConfig(), Assets: assets.DefaultConfig(), Health: health.DefaultConfig(),
		NewDomains: firstmet.DefaultConfig(), Privacy: PrivacyConfig{Config: mask.DefaultConfig()}, Enrich: enrich.DefaultConfig(), Identity: identity.DefaultConfig(),
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Group == "" {
		return errors.New("group is empty")
	}
	if c.MaxBatch < 1 || c.MaxBatch > 200_000 {
		return fmt.Errorf("max_batch %d is not between 1 and 200000", c.MaxBatch)
	}
	if c.MapBatch < 1 || c.MapBatch > 200_000 {
		return fmt.Errorf("map_batch %d is not between 1 and 200000", c.MapBatch)
	}
	if c.MaxWait <= 0 || c.Rewind <= 0 || c.Rules.Rescan <= 0 {
		return errors.New("max_wait, rewind and rules.rescan must be above zero")
	}
	if c.Rules.CostShare <= 0 || c.Rules.CostShare > 1 {
		return fmt.Errorf("rules.cost_share %v is not above 0 and at most 1", c.Rules.CostShare)
	}
	if _, err := time.LoadLocation(c.Timezone); err != nil {
		return fmt.Errorf("timezone: %w", err)
	}
	if err := c.Mining.Validate(); err != nil {
		return fmt.Errorf("mining: %w", err)
	}
	if err := c.NewDomains.Validate(); err != nil {
		return fmt.Errorf("new_domains: %w", err)
	}
	if err := c.Enrich.Validate(); err != nil {
		return fmt.Errorf("enrich: %w", err)
	}
	if err := c.Identity.Validate(); err != nil {
		return fmt.Errorf("identity: %w", err)
	}
	if err := c.Privacy.Validate(); err != nil {
		return fmt.Errorf("privacy: %w", err)
	}
	if err := c.Health.Validate(); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	if err := c.Drift.Validate(); err != nil {
		return fmt.Errorf("drift: %w", err)
	}
	if err := c.Assets.Validate(); err != nil {
		return fmt.Errorf("assets: %w", err)
	}
	if err := c.Correlate.Validate(); err != nil {
		return fmt.Errorf("correlate: %w", err)
	}
	return nil
}

// Deps is what the analyzer stands on.
type Deps struct {
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Kafka     kafka.Config
	Store     *clickhouse.DB
	Directory *directory.Directory // kept by whoever follows the topic registry
}

// Analyzer is the service. It is inert until Run.
type Analyzer struct {
	cfg      Config
	deps     Deps
	log      *slog.Logger
	zone     *time.Location
	rules    *ruleset.Set
	mining   *mining.Detector
	domains  *firstmet.Book
	masker   *mask.Masker
	masked   maskCounters
	enricher *enrich.Enricher
	registry *directory.Directory
	metrics  *metrics
	ready    chan struct{}
}

// New loads the rules and checks the configuration; it connects to nothing.
func New(cfg Config, deps Deps) (*Analyzer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	if err := cfg.loadDevices(); err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	where, err := cfg.RuleSet()
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	set, err := ruleset.New(where, ruleset.Deps{Log: deps.Log, Metrics: deps.Metrics})
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	knowledge, err := miningrules.Load()
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	enricher, err := enrich.New(cfg.Enrich, enrich.Deps{Log: deps.Log, Metrics: deps.Metrics})
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	m, err := newMetrics(deps.Metrics)
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	masker, err := cfg.Privacy.Masker()
	if err != nil {
		return nil, fmt.Errorf("analyzer: privacy: %w", err)
	}
	masked, err := newMaskCounters(deps.Metrics, masker)
	if err != nil {
		return nil, fmt.Errorf("analyzer: %w", err)
	}
	return &Analyzer{
		cfg: cfg, deps: deps, log: deps.Log, zone: where.Zone, rules: set, mining: mining.New(knowledge), domains: firstmet.New(cfg.NewDomains),
		enricher: enricher, masker: masker, masked: masked,
		registry: deps.Directory, metrics: m, ready: make(chan struct{}),
	}, nil
}

// ReloadRules has the folders of rules and tuning, and the files of places, read
// again, and returns at once.
func (a *Analyzer) ReloadRules() {
	a.rules.Ask()
	a.enricher.Ask()
}

// Ready is closed when the registry is known and the consumers have started.
func (a *Analyzer) Ready() <-chan struct{} { return a.ready }

// Run analyses until ctx ends.
func (a *Analyzer) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	producer, err := kafka.NewProducer(a.deps.Kafka, a.kafkaDeps())
	if err != nil {
		return fmt.Errorf("analyzer: %w", err)
	}
	defer producer.Close()
	matches, err := a.matchProducer()
	if err != nil {
		return fmt.Errorf("analyzer: %w", err)
	}
	defer matches.Close()
	var wg sync.WaitGroup
	run := func(what string, f func(context.Context) error) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if err := f(ctx); err != nil && ctx.Err() == nil {
				cancel(fmt.Errorf("analyzer: %s: %w", what, err))
			}
		}()
	}
	run("rules", a.rules.Run)
	run("places", a.enricher.Run)
	// Nothing is judged before the registry is known: everything would look
	// unlisted and belong to nobody.
	select {
	case <-a.registry.Ready():
		a.learnDomains(ctx)
		run("logs", a.group(schemas.TopicLogs, a.cfg.MaxBatch, a.openLogs(producer, matches)))
		run("matches", a.group(schemas.TopicMatches, a.cfg.MaxBatch, a.openMatches(producer, matches)))
		run("observations", a.group(schemas.TopicObservations, a.cfg.MapBatch, a.openObservations(producer)))
		close(a.ready)
	case <-ctx.Done():
	}
	<-ctx.Done()
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func (a *Analyzer) kafkaDeps() kafka.Deps {
	return kafka.Deps{Log: a.log, Metrics: a.deps.Metrics}
}

func (a *Analyzer) group(topic string, maxBatch int, open kafka.OpenFunc) func(context.Context) error {
	return func(ctx context.Context) error {
		cfg := kafka.DefaultGroupConfig()
		cfg.Group, cfg.Topics = a.cfg.Group+"-"+topic, []string{topic}
		cfg.MaxBatch, cfg.MaxWait = maxBatch, a.cfg.MaxWait
		g, err := kafka.NewGroup(a.deps.Kafka, a.kafkaDeps(), cfg, open)
		if err != nil {
			return err
		}
		return g.Run(ctx)
	}
}

// persist calls write until it succeeds or ctx ends. A batch is never given up:
// its records are not committed, so giving up would only mean reading them
// again.
func (a *Analyzer) persist(ctx context.Context, what string, write func(context.Context) error) error {
	wait := 100 * time.Millisecond
	for {
		err := write(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.metrics.retries.WithLabelValues(what).Inc()
		a.log.Warn("writing failed; trying again", "what", what, "error", err, "in", wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		wait = min(2*wait, 5*time.Second)
	}
}

// metrics counts what passes through.
type metrics struct {
	received     prometheus.Counter
	stored       prometheus.Counter
	deadLettered prometheus.Counter
	repeated     prometheus.Counter
	misfits      prometheus.Counter
	matches      *prometheus.CounterVec
	alerts       prometheus.Counter
	detections   prometheus.Counter
	drift        prometheus.Counter
	observations prometheus.Counter
	assets       prometheus.Gauge
	assetsFull   prometheus.Counter
	edges        prometheus.Counter
	unmarked     prometheus.Counter
	badRecords   *prometheus.CounterVec
	retries      *prometheus.CounterVec
	forgotten    prometheus.Counter
	evicted      *prometheus.CounterVec
	suppressed   *prometheus.CounterVec
	latency      prometheus.Histogram
	sightings    prometheus.Counter
	whoNamed     prometheus.Counter
	whoFailed    prometheus.Counter
	whoDropped   prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "fengsui", Subsystem: "analyzer", Name: name, Help: help})
	}
	vec := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "fengsui", Subsystem: "analyzer", Name: name, Help: help}, []string{label})
	}
	m := &metrics{
		received:     counter("records_received_total", "Raw records read from the topic logs: stored, dead-lettered and repeated ones together."),
		stored:       counter("events_stored_total", "Events acknowledged by ClickHouse."),
		deadLettered: counter("dead_letters_total", "Records that could not be parsed, kept whole."),
		repeated:     counter("records_repeated_total", "Records delivered again and known to be stored."),
		misfits:      counter("misfit_values_total", "Values that their field's column cannot hold, left out of a stored event; the record itself is kept in event.original."),
		matches:      vec("matches_total", "Matches sent on, by kind.", "kind"),
		alerts:       counter("alerts_raised_total", "Alerts raised."),
		detections:   counter("mining_detections_raised_total", "Mining detections raised."),
		drift:        counter("drift_changes_total", "Changes of drifts."),
		observations: counter("observations_total", "Observations folded into the map."),
		assets:       prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "fengsui", Subsystem: "analyzer", Name: "assets", Help: "Assets in the map."}),
		assetsFull:   counter("assets_dropped_total", "Assets not taken in because the map (assets.max), or a host in it, was full."),
		edges:        counter("edges_stored_total", "Edges of the map acknowledged by ClickHouse, each once for a batch."),
		unmarked:     counter("marks_dropped_total", "Sightings of sites on foreign addresses with a unit's marks not passed on, because too many others were within an hour."),
		badRecords:   vec("bad_records_total", "Records of our own topics that could not be read.", "topic"),
		retries:      vec("write_retries_total", "Writes that failed and were tried again.", "what"),
		forgotten:    counter("sources_forgotten_total", "Log sources dropped to stay within health.max_sources; their silence goes unnoticed."),
		sightings:    counter("identities_stored_total", "Sightings of who has an address, acknowledged by ClickHouse."),
		whoNamed:     counter("alerts_named_total", "Versions of alerts written because somebody behind their addresses could be named."),
		whoFailed:    counter("alerts_naming_failed_total", "Looks for who was behind the addresses of alerts that failed; they are repeated."),
		whoDropped:   counter("alerts_unnamed_total", "Alerts not looked after because too many are: nobody is named in them."),
		evicted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "correlation_evicted_total",
			Help: "What a rule did not count: groups, events and values dropped to stay within the memory bounds, events that came too late, matches that say nothing to count.",
		}, []string{"rule", "title", "what"}),
		suppressed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "suppressed_total",
			Help: "Matches that an exception, and alerts that a throttle kept back, by rule and entry of the tuning.",
		}, []string{"kind", "rule", "entry"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "fengsui", Subsystem: "analyzer", Name: "alert_latency_seconds",
			Help:    "From the acceptance of a line by the collector to the alert it raised being stored.",
			Buckets: []float64{.05, .1, .2, .3, .5, .75, 1, 1.5, 2, 3, 5, 10, 30, 60},
		}),
	}
	for _, c := range []prometheus.Collector{
		m.received, m.stored, m.deadLettered, m.repeated, m.misfits, m.matches, m.alerts, m.detections, m.drift,
		m.observations, m.badRecords, m.retries, m.forgotten, m.evicted, m.suppressed, m.latency,
		m.assets, m.assetsFull, m.edges, m.unmarked,
		m.sightings, m.whoNamed, m.whoFailed, m.whoDropped,
	} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}
