package clickhouse

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"fengsui/schemas"
	files "fengsui/schemas/clickhouse"
)

// RetentionConfig says how long each table's rows are kept; 0 is for ever.
type RetentionConfig struct {
	Events       time.Duration `koanf:"events"`
	DeadLetters  time.Duration `koanf:"dead_letters"`
	Alerts       time.Duration `koanf:"alerts"`
	Detections   time.Duration `koanf:"detections"`
	Drift        time.Duration `koanf:"drift"`
	Observations time.Duration `koanf:"observations"`
	Identities   time.Duration `koanf:"identities"`
	Versions     time.Duration `koanf:"asset_versions"` // what assets were, since it ended
	Edges        time.Duration `koanf:"edges"`          // since they were last seen
}

const day = 24 * time.Hour

// DefaultRetention keeps logs 180 days: China's Cybersecurity Law, article 21,
// asks for six months at least. The asset map, edges included, is kept for ever.
func DefaultRetention() RetentionConfig {
	return RetentionConfig{
		Events: 180 * day, DeadLetters: 180 * day, Alerts: 730 * day, Detections: 730 * day,
		Drift: 730 * day, Observations: 180 * day, Identities: 180 * day,
		Versions: 730 * day,
	}
}

// Validate says what is wrong with the durations.
func (r RetentionConfig) Validate() error {
	var errs []error
	for _, t := range r.tables() {
		if t.keep < 0 || t.keep > 0 && t.keep < time.Hour || t.keep%time.Second != 0 {
			errs = append(errs, fmt.Errorf("retention.%s: %s: want whole seconds, an hour or more, or 0 for ever", t.table, t.keep))
		}
	}
	return errors.Join(errs...)
}

type tableRetention struct {
	table, column string
	keep          time.Duration
}

func (r RetentionConfig) tables() []tableRetention {
	return []tableRetention{
		{"events", "ingested", r.Events},
		{"dead_letters", "ingested", r.DeadLetters},
		{"alerts", "updated", r.Alerts},
		{"mining_detections", "updated", r.Detections},
		{"drift", "updated", r.Drift},
		{"observations", "time", r.Observations},
		{"identities", "ingested", r.Identities},
		{"asset_versions", "until", r.Versions},
		{"edges", "last", r.Edges},
	}
}

// layout is the one place that knows whether there is a cluster. Its shards must
// be one: tables are replicated, not distributed.
type layout struct{ cluster string }

// On is the ON CLUSTER clause, or nothing.
func (l layout) On() string {
	if l.cluster == "" {
		return ""
	}
	return "ON CLUSTER " + quote(l.cluster)
}

// Engine is a table's engine.
func (l layout) Engine(name string, args ...string) string {
	if l.cluster != "" {
		name = "Replicated" + name
	}
	return name + "(" + strings.Join(args, ", ") + ")"
}

// Dedup keeps the tokens of the newest 10,000 batches of a table.
func (l layout) Dedup() string {
	if l.cluster != "" {
		return "replicated_deduplication_window = 10000, replicated_deduplication_window_seconds = 604800"
	}
	return "non_replicated_deduplication_window = 10000"
}

func quote(s string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(s) + "'"
}

// Migrate makes the database, runs the steps of schemas/clickhouse that it has
// not seen, gives the table events the catalogue's columns, and sets how long
// rows are kept. It can be run at every start: a second run changes nothing.
func Migrate(ctx context.Context, db *DB, retention RetentionConfig) error {
	_, err := migrate(ctx, db, retention, schemas.Fields(), schemas.OpenNamespaces())
	return err
}

// migrate returns how many statements changed something after the steps.
func migrate(ctx context.Context, db *DB, retention RetentionConfig, fields []schemas.Field, open []schemas.OpenNamespace) (changes int, err error) {
	if err := retention.Validate(); err != nil {
		return 0, err
	}
	l := layout{db.cfg.Cluster}
	if err := createDatabase(ctx, db.cfg, l); err != nil {
		return 0, err
	}
	if err := runSteps(ctx, db.cfg, l); err != nil {
		return 0, err
	}
	alters, err := convergeEvents(ctx, db, fields, open)
	if err != nil {
		return 0, err
	}
	ttl, err := convergeTTL(ctx, db, retention)
	if err != nil {
		return 0, err
	}
	settings, err := convergeSettings(ctx, db)
	if err != nil {
		return 0, err
	}
	for _, a := range slices.Concat(alters, ttl, settings) {
		statement := "ALTER TABLE " + a.table + " " + l.On() + " " + strings.Join(a.actions, ", ")
		if err := db.Exec(ctx, statement); err != nil {
			return changes, fmt.Errorf("change table %s: %w", a.table, err)
		}
		changes++
	}
	return changes, nil
}

// createDatabase needs a connection that names no database: ours may not exist.
func createDatabase(ctx context.Context, cfg Config, l layout) error {
	opts, err := cfg.options("")
	if err != nil {
		return err
	}
	conn, err := ch.Open(opts)
	if err != nil {
		return fmt.Errorf("clickhouse at %s: %w", cfg.Addr, err)
	}
	defer conn.Close() //nolint:errcheck // nothing is pending
	err = conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS `"+strings.ReplaceAll(cfg.Database, "`", "")+"` "+l.On()+" ENGINE = Atomic")
	if err != nil {
		return fmt.Errorf("create database %s: %w", cfg.Database, err)
	}
	return nil
}

func runSteps(ctx context.Context, cfg Config, l layout) error {
	opts, err := cfg.options(cfg.Database)
	if err != nil {
		return err
	}
	pool := ch.OpenDB(opts)
	defer pool.Close() //nolint:errcheck // nothing is pending
	steps, err := readSteps(l)
	if err != nil {
		return err
	}
	versions, err := database.NewStoreFromQuerier("schema_versions", versionTable{l})
	if err != nil {
		return fmt.Errorf("clickhouse migrations: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectCustom, pool, nil,
		goose.WithStore(versions), goose.WithGoMigrations(steps...), goose.WithDisableGlobalRegistry(true), goose.WithSlog(silent))
	if err != nil {
		return fmt.Errorf("clickhouse migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("clickhouse migrations: %w", err)
	}
	return nil
}

// readSteps makes goose's migrations of the files. They are Go migrations and
// not SQL ones because the files are templates.
func readSteps(l layout) ([]*goose.Migration, error) {
	entries, err := files.Files.ReadDir(".")
	if err != nil {
		return nil, fmt.Errorf("clickhouse migrations: %w", err)
	}
	var steps []*goose.Migration
	for _, e := range entries {
		text, err := files.Files.ReadFile(e.Name())
		if err != nil {
			return nil, fmt.Errorf("clickhouse migrations: %w", err)
		}
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("clickhouse migrations: %s: the name must begin with a number", e.Name())
		}
		statements, err := render(string(text), l)
		if err != nil {
			return nil, fmt.Errorf("clickhouse migrations: %s: %w", e.Name(), err)
		}
		steps = append(steps, goose.NewGoMigration(version, &goose.GoFunc{
			RunDB: func(ctx context.Context, pool *sql.DB) error {
				for _, s := range statements {
					if _, err := pool.ExecContext(ctx, s); err != nil {
						return err
					}
				}
				return nil
			},
		}, nil))
	}
	return steps, nil
}

var (
	commentLine  = regexp.MustCompile(`(?m)^\s*--.*$`)
	statementEnd = regexp.MustCompile(`;[ \t]*(\n|$)`)
)

func render(text string, l layout) ([]string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, l); err != nil {
		return nil, err
	}
	var statements []string
	for _, s := range statementEnd.Split(commentLine.ReplaceAllString(out.String(), ""), -1) {
		if s = strings.TrimSpace(s); s != "" {
			statements = append(statements, s)
		}
	}
	return statements, nil
}

type alter struct {
	table   string
	actions []string
}

// indexed are the fields that people look for one value of.
var indexed = []schemas.FieldID{
	schemas.FieldSourceIP, schemas.FieldDestinationIP, schemas.FieldHostName, schemas.FieldUserName,
	schemas.FieldDNSQuestionName, schemas.FieldTLSClientServerName, schemas.FieldURLDomain,
}

// convergeEvents says what the table events lacks of the catalogue.
func convergeEvents(ctx context.Context, db *DB, fields []schemas.Field, open []schemas.OpenNamespace) ([]alter, error) {
	have, err := pairs(ctx, db, "SELECT name, type FROM system.columns WHERE database = ? AND table = 'events'", db.cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("read the columns of events: %w", err)
	}
	indexes, err := pairs(ctx, db, "SELECT name, type FROM system.data_skipping_indices WHERE database = ? AND table = 'events'", db.cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("read the indexes of events: %w", err)
	}
	a := alter{table: "events"}
	for _, f := range fields {
		action, err := wantColumn(have, f.Column(), f.ColumnType())
		if err != nil {
			return nil, err
		}
		a.actions = append(a.actions, action...)
	}
	for _, n := range open {
		action, err := wantColumn(have, n.Column(), openType)
		if err != nil {
			return nil, err
		}
		a.actions = append(a.actions, action...)
	}
	for _, id := range indexed {
		if _, ok := indexes["by_"+id.Field().Column()]; !ok {
			c := id.Field().Column()
			a.actions = append(a.actions, "ADD INDEX IF NOT EXISTS by_"+c+" `"+c+"` TYPE bloom_filter(0.01) GRANULARITY 4")
		}
	}
	if len(a.actions) == 0 {
		return nil, nil
	}
	return []alter{a}, nil
}

// wantColumn is what makes the column be of the type: to add it, or to change
// between String and its LowCardinality. No other change of type is made: it
// could lose what is stored.
func wantColumn(have map[string]string, name, typ string) ([]string, error) {
	is, ok := have[name]
	switch {
	case !ok:
		return []string{"ADD COLUMN IF NOT EXISTS `" + name + "` " + typ}, nil
	case normalType(is) == normalType(typ):
		return nil, nil
	case strings.NewReplacer("LowCardinality(String)", "String").Replace(is) == strings.NewReplacer("LowCardinality(String)", "String").Replace(typ):
		return []string{"MODIFY COLUMN `" + name + "` " + typ}, nil
	}
	return nil, fmt.Errorf("table events: column %s is %s, and the field catalogue says %s: this change needs a migration of its own", name, is, typ)
}

func pairs(ctx context.Context, db *DB, query string, args ...any) (map[string]string, error) {
	rows, err := db.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	out := map[string]string{}
	for rows.Next() {
		var k, v string
		if err := rows.Scan(&k, &v); err != nil {
			return nil, err
		}
		out[k] = v
	}
	return out, rows.Err()
}

// ttlClause finds a table's TTL in its engine's full text.
var ttlClause = regexp.MustCompile(`\bTTL (.+?)(?: SETTINGS |$)`)

// convergeTTL says which tables keep their rows longer or shorter than they are to.
func convergeTTL(ctx context.Context, db *DB, retention RetentionConfig) ([]alter, error) {
	engines, err := pairs(ctx, db, "SELECT name, engine_full FROM system.tables WHERE database = ?", db.cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("read the tables' retention: %w", err)
	}
	var alters []alter
	for _, t := range retention.tables() {
		is := ""
		if m := ttlClause.FindStringSubmatch(engines[t.table]); m != nil {
			is = m[1]
		}
		want := ""
		if t.keep > 0 {
			want = fmt.Sprintf("toDateTime(%s) + toIntervalSecond(%d)", t.column, int64(t.keep/time.Second))
		}
		switch {
		case is == want:
		case want == "":
			alters = append(alters, alter{t.table, []string{"REMOVE TTL"}})
		default:
			alters = append(alters, alter{t.table, []string{"MODIFY TTL " + want}})
		}
	}
	return alters, nil
}

// convergeSettings sets what only newer servers know: empty Nullable columns
// take no room.
func convergeSettings(ctx context.Context, db *DB) ([]alter, error) {
	const name, value = "nullable_serialization_version", "'allow_sparse'"
	known, err := pairs(ctx, db, "SELECT name, type FROM system.merge_tree_settings WHERE name = ?", name)
	if err != nil {
		return nil, fmt.Errorf("read the server's settings: %w", err)
	}
	engines, err := pairs(ctx, db, "SELECT name, engine_full FROM system.tables WHERE database = ? AND name = 'events'", db.cfg.Database)
	if err != nil {
		return nil, fmt.Errorf("read the settings of events: %w", err)
	}
	if len(known) == 0 || strings.Contains(engines["events"], name+" = "+value) {
		return nil, nil
	}
	return []alter{{"events", []string{"MODIFY SETTING " + name + " = " + value}}}, nil
}
