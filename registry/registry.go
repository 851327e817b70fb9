// Package registry is who owns what: units, networks, domains and whitelists,
// in SQLite, with every change kept and published on the compacted topic
// registry. It never looks at a network and never judges.
package registry

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Registry is the database. It is safe for concurrent use, and several
// processes may have it open.
type Registry struct {
	db *bun.DB
}

// Open opens the SQLite file at path, made with mode 0600 when absent, and
// brings its tables up to date.
func Open(ctx context.Context, path string) (*Registry, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("opening the registry %s: %w", path, err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) // SQLite would make it 0644
	if err != nil {
		return nil, fmt.Errorf("opening the registry: %w", err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("opening the registry %s: %w", path, err)
	}
	// A write transaction takes its lock at BEGIN: taking it later fails at once
	// when another process has written in between.
	dsn := "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(FULL)&_pragma=foreign_keys(1)&_txlock=immediate"
	sqldb, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("opening the registry %s: %w", path, err)
	}
	sqldb.SetMaxOpenConns(4)
	if err := migrate(ctx, sqldb); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the registry %s: %w", path, err), sqldb.Close())
	}
	return &Registry{db: bun.NewDB(sqldb, sqlitedialect.New())}, nil
}

func migrate(ctx context.Context, db *sql.DB) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(goose.DialectSQLite3, db, dir)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

// What a caller can put right; the error's text says what it is.
var (
	ErrInvalid  = errors.New("not valid")           // an entry contradicts itself or names what is not there
	ErrNotFound = errors.New("not in the registry") // there is no such entry or user
)

// classified is an error with one of the kinds above, and its own text.
type classified struct{ err, kind error }

func (e classified) Error() string   { return e.err.Error() }
func (e classified) Unwrap() []error { return []error{e.err, e.kind} }

// Close closes the database.
func (r *Registry) Close() error { return r.db.Close() }

// Content is a whole registry, or the part of one that a file holds.
type Content struct {
	Units     []schemas.Unit           `yaml:"units,omitempty" json:"units"`
	Networks  []schemas.Network        `yaml:"networks,omitempty" json:"networks"`
	Domains   []schemas.Domain         `yaml:"domains,omitempty" json:"domains"`
	Whitelist []schemas.WhitelistEntry `yaml:"whitelist,omitempty" json:"whitelist"`
}

// Len counts the entries.
func (c *Content) Len() int {
	return len(c.Units) + len(c.Networks) + len(c.Domains) + len(c.Whitelist)
}

// The rows as they are stored.
type (
	unitRow struct {
		bun.BaseModel `bun:"table:units"`
		Code          string `bun:",pk"`
		Name          string
		Level         string
		Parent        string
	}
	networkRow struct {
		bun.BaseModel `bun:"table:networks"`
		Prefix        string `bun:",pk"`
		Unit          string
		Name          string
		Scan          bool
	}
	domainRow struct {
		bun.BaseModel `bun:"table:domains"`
		Name          string `bun:",pk"`
		Unit          string
		Scan          bool
	}
	whitelistRow struct {
		bun.BaseModel `bun:"table:whitelist"`
		Key           string `bun:",pk"`
		Kind          string
		Domain        string
		Host          string
		Port          int
		Transport     string
		Service       string
		Unit          string
		Reason        string
		ValidFrom     time.Time `bun:",nullzero"`
		ValidUntil    time.Time `bun:",nullzero"`
	}
	changeRow struct {
		bun.BaseModel `bun:"table:changes"`
		ID            int64 `bun:",pk,autoincrement"`
		At            time.Time
		Who           string
		Key           string
		Value         string
	}
)

func toWhitelistRow(w *schemas.WhitelistEntry) *whitelistRow {
	row := &whitelistRow{
		Key: w.Key(), Kind: string(w.Kind), Domain: w.Domain, Port: w.Port, Transport: w.Transport,
		Service: w.Service, Unit: w.Unit, Reason: w.Reason, ValidFrom: w.From.UTC(), ValidUntil: w.Until.UTC(),
	}
	if w.Host.IsValid() {
		row.Host = w.Host.String()
	}
	return row
}

func (row *whitelistRow) entry() (schemas.WhitelistEntry, error) {
	w := schemas.WhitelistEntry{
		Kind: schemas.WhitelistKind(row.Kind), Domain: row.Domain, Port: row.Port, Transport: row.Transport,
		Service: row.Service, Unit: row.Unit, Reason: row.Reason, From: row.ValidFrom, Until: row.ValidUntil,
	}
	if row.Host == "" {
		return w, nil
	}
	var err error
	if w.Host, err = netip.ParsePrefix(row.Host); err != nil {
		return w, fmt.Errorf("whitelist entry %s: %w", row.Key, err)
	}
	return w, nil
}

// All reads everything, in the order of the keys.
func (r *Registry) All(ctx context.Context) (*Content, error) {
	var c *Content
	err := r.db.RunInTx(ctx, &sql.TxOptions{ReadOnly: true}, func(ctx context.Context, tx bun.Tx) (err error) {
		c, err = readAll(ctx, tx)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the registry: %w", err)
	}
	return c, nil
}

func readAll(ctx context.Context, db bun.IDB) (*Content, error) {
	var (
		c         Content
		units     []unitRow
		networks  []networkRow
		domains   []domainRow
		whitelist []whitelistRow
	)
	if err := db.NewSelect().Model(&units).Order("code").Scan(ctx); err != nil {
		return nil, err
	}
	for _, u := range units {
		c.Units = append(c.Units, schemas.Unit{Code: u.Code, Name: u.Name, Level: schemas.UnitLevel(u.Level), Parent: u.Parent})
	}
	if err := db.NewSelect().Model(&networks).Order("prefix").Scan(ctx); err != nil {
		return nil, err
	}
	for _, n := range networks {
		p, err := netip.ParsePrefix(n.Prefix)
		if err != nil {
			return nil, fmt.Errorf("network %q: %w", n.Prefix, err)
		}
		c.Networks = append(c.Networks, schemas.Network{Prefix: p, Unit: n.Unit, Name: n.Name, Scan: n.Scan})
	}
	if err := db.NewSelect().Model(&domains).Order("name").Scan(ctx); err != nil {
		return nil, err
	}
	for _, d := range domains {
		c.Domains = append(c.Domains, schemas.Domain{Name: d.Name, Unit: d.Unit, Scan: d.Scan})
	}
	if err := db.NewSelect().Model(&whitelist).Order("key").Scan(ctx); err != nil {
		return nil, err
	}
	for i := range whitelist {
		w, err := whitelist[i].entry()
		if err != nil {
			return nil, err
		}
		c.Whitelist = append(c.Whitelist, w)
	}
	return &c, nil
}

// Snapshot reads everything into the shape that planners and services use.
func (r *Registry) Snapshot(ctx context.Context) (*directory.Snapshot, error) {
	c, err := r.All(ctx)
	if err != nil {
		return nil, err
	}
	return directory.NewSnapshot(c.Units, c.Networks, c.Domains, c.Whitelist)
}

// Put writes the content over what is there, all of it or nothing, in the name
// of who. Entries are normalised and checked first; what is already there
// unchanged is no change. It returns how many entries changed.
func (r *Registry) Put(ctx context.Context, who string, c *Content) (changed int, err error) {
	if err := Check(c); err != nil {
		return 0, err
	}
	err = r.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		before, err := readAll(ctx, tx)
		if err != nil {
			return err
		}
		if err := checkTree(before.Units, c); err != nil {
			return classified{err, ErrInvalid}
		}
		records, err := newRecords(before, c)
		if err != nil {
			return err
		}
		changed = len(records)
		if err := putRows(ctx, tx, c); err != nil {
			return err
		}
		return note(ctx, tx, who, records)
	})
	if err != nil {
		return 0, fmt.Errorf("writing the registry: %w", err)
	}
	return changed, nil
}

// Delete removes entries by their record keys ("unit/CODE", "network/PREFIX",
// "domain/NAME", "whitelist/KEY"). A key that is not there is an error, and so
// is a unit that still owns something; then nothing is removed.
func (r *Registry) Delete(ctx context.Context, who string, keys ...string) error {
	err := r.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		records := make([]record, 0, len(keys))
		for _, key := range keys {
			if err := deleteRow(ctx, tx, key); err != nil {
				return err
			}
			records = append(records, record{key: key})
		}
		return note(ctx, tx, who, records)
	})
	if err != nil {
		return fmt.Errorf("deleting from the registry: %w", err)
	}
	return nil
}

func deleteRow(ctx context.Context, tx bun.Tx, key string) error {
	kind, id, _ := strings.Cut(key, "/")
	column := map[string]string{"unit": "code", "network": "prefix", "domain": "name", "whitelist": "key"}[kind]
	if column == "" {
		return fmt.Errorf("%q is no key: it begins with unit/, network/, domain/ or whitelist/", key)
	}
	table := map[string]string{"unit": "units", "network": "networks", "domain": "domains", "whitelist": "whitelist"}[kind]
	if kind == "unit" {
		children, err := tx.NewSelect().Table("units").Where("parent = ?", id).Count(ctx)
		if err != nil {
			return err
		}
		if children > 0 {
			return fmt.Errorf("unit %s still has %d units below it", id, children)
		}
	}
	res, err := tx.NewDelete().Table(table).Where("? = ?", bun.Ident(column), id).Exec(ctx)
	if err != nil {
		if strings.Contains(err.Error(), "FOREIGN KEY") {
			return fmt.Errorf("unit %s still owns networks, domains or whitelist entries", id)
		}
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(classified{fmt.Errorf("%s is not in the registry", key), ErrNotFound}, err)
	}
	return nil
}

func putRows(ctx context.Context, tx bun.Tx, c *Content) error {
	for _, u := range parentsFirst(c.Units) {
		row := &unitRow{Code: u.Code, Name: u.Name, Level: string(u.Level), Parent: u.Parent}
		if err := upsert(ctx, tx, row, "code", "name", "level", "parent"); err != nil {
			return fmt.Errorf("unit %s: %w", u.Code, err)
		}
	}
	for _, n := range c.Networks {
		row := &networkRow{Prefix: n.Prefix.String(), Unit: n.Unit, Name: n.Name, Scan: n.Scan}
		if err := upsert(ctx, tx, row, "prefix", "unit", "name", "scan"); err != nil {
			return fmt.Errorf("network %s: %w", n.Prefix, err)
		}
	}
	for _, d := range c.Domains {
		row := &domainRow{Name: d.Name, Unit: d.Unit, Scan: d.Scan}
		if err := upsert(ctx, tx, row, "name", "unit", "scan"); err != nil {
			return fmt.Errorf("domain %s: %w", d.Name, err)
		}
	}
	for i := range c.Whitelist {
		row := toWhitelistRow(&c.Whitelist[i])
		if err := upsert(ctx, tx, row, "key", "service", "unit", "reason", "valid_from", "valid_until"); err != nil {
			return fmt.Errorf("whitelist entry %s: %w", row.Key, err)
		}
	}
	return nil
}

func upsert(ctx context.Context, tx bun.Tx, row any, key string, columns ...string) error {
	q := tx.NewInsert().Model(row).On("CONFLICT (?) DO UPDATE", bun.Ident(key))
	for _, c := range columns {
		q = q.Set("? = EXCLUDED.?", bun.Ident(c), bun.Ident(c))
	}
	_, err := q.Exec(ctx)
	return err
}

// record is one value of the topic registry; an empty one is a deletion.
type record struct {
	key   string
	value []byte
}

func note(ctx context.Context, tx bun.Tx, who string, records []record) error {
	if len(records) == 0 {
		return nil
	}
	now := time.Now().UTC()
	for chunk := range slices.Chunk(records, 500) { // SQLite bounds the parameters of one statement
		rows := make([]changeRow, len(chunk))
		for i, rec := range chunk {
			rows[i] = changeRow{At: now, Who: who, Key: rec.key, Value: string(rec.value)}
		}
		if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return fmt.Errorf("noting changes: %w", err)
		}
	}
	return nil
}

// recordsOf encodes everything in c as records.
func recordsOf(c *Content) ([]record, error) {
	out := make([]record, 0, c.Len())
	add := func(r schemas.RegistryRecord) error {
		value, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding %s: %w", directory.RecordKey(r), err)
		}
		out = append(out, record{directory.RecordKey(r), value})
		return nil
	}
	var errs []error
	for i := range c.Units {
		errs = append(errs, add(schemas.RegistryRecord{Unit: &c.Units[i]}))
	}
	for i := range c.Networks {
		errs = append(errs, add(schemas.RegistryRecord{Network: &c.Networks[i]}))
	}
	for i := range c.Domains {
		errs = append(errs, add(schemas.RegistryRecord{Domain: &c.Domains[i]}))
	}
	for i := range c.Whitelist {
		errs = append(errs, add(schemas.RegistryRecord{Whitelist: &c.Whitelist[i]}))
	}
	return out, errors.Join(errs...)
}

// newRecords are the records of c that before does not hold in the same words.
func newRecords(before, c *Content) ([]record, error) {
	old, err := recordsOf(before)
	if err != nil {
		return nil, err
	}
	known := make(map[string]string, len(old))
	for _, r := range old {
		known[r.key] = string(r.value)
	}
	records, err := recordsOf(c)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(records, func(r record) bool { return known[r.key] == string(r.value) }), nil
}

// maxChanges bounds the changes that are read, and sent, at once.
const maxChanges = 5000

func (r *Registry) lastChange(ctx context.Context) (id int64, err error) {
	err = r.db.NewSelect().Model((*changeRow)(nil)).ColumnExpr("COALESCE(MAX(id), 0)").Scan(ctx, &id)
	return id, err
}

func (r *Registry) changesAfter(ctx context.Context, id int64) ([]changeRow, error) {
	var rows []changeRow
	err := r.db.NewSelect().Model(&rows).Where("id > ?", id).Order("id").Limit(maxChanges).Scan(ctx)
	return rows, err
}
