// Package registry is who owns what: units, networks, domains and whitelists,
// in SQLite or PostgreSQL, with every change kept and published on the compacted topic
// registry. It never looks at a network and never judges.
package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/uptrace/bun"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// Registry is the database, SQLite or PostgreSQL. It is safe for concurrent use,
// and several processes may have it open.
type Registry struct {
	db   *bun.DB
	path string // of the SQLite file; empty for PostgreSQL

	mu     sync.Mutex
	cached *directory.Snapshot
	held   int64 // the last change that cached holds
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
	Systems   []System                 `yaml:"systems,omitempty" json:"systems"`
	Contacts  []Contact                `yaml:"contacts,omitempty" json:"contacts"`

	decisions []schemas.DriftDecision // about drifts: published, and in no file

	places map[string][]place // by kind of sheet, where each was read in a table
}

// Len counts the entries.
func (c *Content) Len() int {
	return len(c.Units) + len(c.Networks) + len(c.Domains) + len(c.Whitelist) + len(c.Systems) + len(c.Contacts)
}

func (c *Content) publicSystems() []schemas.System {
	out := make([]schemas.System, len(c.Systems))
	for i := range c.Systems {
		out[i] = c.Systems[i].System
	}
	return out
}

// The rows as they are stored. A record's value is also that of its change.
type (
	recordRow struct {
		bun.BaseModel `bun:"table:records"`
		Key           string `bun:",pk"`
		Kind          string
		Unit          string
		System        string
		Value         string
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

// All reads everything, in the order of the keys.
func (r *Registry) All(ctx context.Context) (*Content, error) { return r.Read(ctx, Query{}) }

// Snapshot reads everything into the shape that planners and services use. It
// is read anew only after a change.
func (r *Registry) Snapshot(ctx context.Context) (*directory.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, err := lastChange(ctx, r.db) // before the content: what comes between is in both
	if err != nil {
		return nil, fmt.Errorf("reading the registry: %w", err)
	}
	if r.cached != nil && r.held == last {
		return r.cached, nil
	}
	c, err := r.All(ctx)
	if err != nil {
		return nil, err
	}
	s, err := directory.NewSnapshot(c.Units, c.Networks, c.Domains, c.Whitelist, c.publicSystems()...)
	if err != nil {
		return nil, err
	}
	r.cached, r.held = s, last
	return s, nil
}

// SnapshotAt is what Snapshot was at a past moment.
func (r *Registry) SnapshotAt(ctx context.Context, at time.Time) (*directory.Snapshot, error) {
	c, err := r.Read(ctx, Query{At: at})
	if err != nil {
		return nil, err
	}
	return directory.NewSnapshot(c.Units, c.Networks, c.Domains, c.Whitelist, c.publicSystems()...)
}

// Put writes the content over what is there, all of it or nothing, in the name
// of who. Entries are normalised and checked first; what is already there
// unchanged is no change. It returns how many entries changed.
func (r *Registry) Put(ctx context.Context, who string, c *Content) (changed int, err error) {
	err = r.write(ctx, func(ctx context.Context, tx bun.Tx) error {
		fresh, _, err := putContent(ctx, tx, who, c)
		changed = len(fresh)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("writing the registry: %w", err)
	}
	return changed, nil
}

// putContent writes c, and says what was new and what was there under its keys.
func putContent(ctx context.Context, tx bun.Tx, who string, c *Content) (fresh []record, there map[string]string, err error) {
	if err := Check(c); err != nil {
		return nil, nil, err
	}
	records, err := recordsOf(c)
	if err != nil {
		return nil, nil, err
	}
	if err := errors.Join(checkReferences(ctx, tx, c), checkSystems(ctx, tx, c)); err != nil {
		return nil, nil, err
	}
	keys := make([]string, len(records))
	for i, rec := range records {
		keys[i] = rec.key
	}
	if there, err = valuesOf(ctx, tx, keys); err != nil {
		return nil, nil, err
	}
	for _, rec := range records {
		if there[rec.key] != string(rec.value) {
			fresh = append(fresh, rec)
		}
	}
	if err := put(ctx, tx, who, fresh); err != nil {
		return nil, nil, err
	}
	return fresh, there, checkMoved(ctx, tx, c)
}

// checkReferences checks that what c names is there, or comes with it.
func checkReferences(ctx context.Context, db bun.IDB, c *Content) error {
	parent, err := unitsOf(ctx, db)
	if err != nil {
		return err
	}
	if err := checkTree(parent, c); err != nil {
		return classified{err, ErrInvalid}
	}
	return nil
}

// unitsOf is the code of every unit, with that of the one above it.
func unitsOf(ctx context.Context, db bun.IDB) (parent map[string]string, err error) {
	var units []recordRow
	if err := db.NewSelect().Model(&units).Column("key", "unit").Where("kind = ?", "unit").Scan(ctx); err != nil {
		return nil, err
	}
	parent = make(map[string]string, len(units))
	for _, u := range units {
		parent[strings.TrimPrefix(u.Key, "unit/")] = u.Unit
	}
	return parent, nil
}

// Delete removes entries by their record keys ("unit/CODE", "network/PREFIX",
// "domain/NAME", "whitelist/KEY", "system/CODE", "contact/UNIT/DUTY"). A
// key that is not there is an error, and so is a unit that still owns something or
// a system that the whitelist names; then nothing is removed.
func (r *Registry) Delete(ctx context.Context, who string, keys ...string) error {
	err := r.write(ctx, func(ctx context.Context, tx bun.Tx) error {
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
	if !slices.Contains(deletable, kind) {
		return classified{fmt.Errorf("%q is no key: it begins with %s", key, strings.Join(deletable, "/, ")+"/"), ErrInvalid}
	}
	switch kind {
	case "unit":
		if err := checkOwnsNothing(ctx, tx, id); err != nil {
			return err
		}
	case "system":
		if err := checkNotNamed(ctx, tx, id); err != nil {
			return err
		}
	}
	res, err := tx.NewDelete().Model((*recordRow)(nil)).Where("key = ?", key).Exec(ctx)
	if err != nil {
		return fmt.Errorf("deleting %s: %w", key, err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return errors.Join(classified{fmt.Errorf("%s is not in the registry", key), ErrNotFound}, err)
	}
	return nil
}

var kindNames = map[string]string{"network": "网段", "domain": "域名", "whitelist": "白名单", "system": "信息系统", "contact": "联系人"}

func checkOwnsNothing(ctx context.Context, db bun.IDB, unit string) error {
	var owned []struct {
		Kind  string
		Count int
	}
	err := db.NewSelect().Model((*recordRow)(nil)).Column("kind").ColumnExpr("COUNT(*) AS count").
		Where("unit = ?", unit).Group("kind").Order("kind").Scan(ctx, &owned)
	if err != nil {
		return err
	}
	var still, zh []string
	for _, o := range owned {
		if o.Kind == "unit" {
			return classified{bad("", "unit %s still has %d units below it", "单位 %s 之下还有 %d 个单位", unit, o.Count), ErrInvalid}
		}
		still, zh = append(still, fmt.Sprintf("%d of kind %s", o.Count, o.Kind)), append(zh, fmt.Sprintf("%s %d 条", kindNames[o.Kind], o.Count))
	}
	if len(still) > 0 {
		return classified{bad("", "unit %[1]s still owns entries: %[2]s", "单位 %[1]s 名下还有登记：%[3]s", unit, strings.Join(still, ", "), strings.Join(zh, "、")), ErrInvalid}
	}
	return nil
}

func checkNotNamed(ctx context.Context, db bun.IDB, system string) error {
	n, err := db.NewSelect().Model((*recordRow)(nil)).Where("system = ?", system).Count(ctx)
	if err == nil && n > 0 {
		err = classified{bad("", "system %s is still named by %d whitelist entries", "白名单中还有 %[2]d 条属于信息系统 %[1]s", system, n), ErrInvalid}
	}
	return err
}

// atOnce is how many rows one statement holds: databases bound its length.
const atOnce = 500

// put writes records over what is there, and notes them.
func put(ctx context.Context, tx bun.Tx, who string, records []record) error {
	for chunk := range slices.Chunk(records, atOnce) {
		rows := make([]recordRow, len(chunk))
		for i, rec := range chunk {
			rows[i] = recordRow{Key: rec.key, Kind: rec.kind, Unit: rec.unit, System: rec.system, Value: string(rec.value)}
		}
		_, err := tx.NewInsert().Model(&rows).On("CONFLICT (key) DO UPDATE").
			Set("unit = EXCLUDED.unit").Set("system = EXCLUDED.system").Set("value = EXCLUDED.value").Exec(ctx)
		if err != nil {
			return fmt.Errorf("writing records: %w", err)
		}
	}
	return note(ctx, tx, who, records)
}

// note keeps the changes. Their times never go back, even if the clock does, so
// that a moment of the past is a prefix of them.
func note(ctx context.Context, tx bun.Tx, who string, records []record) error {
	if len(records) == 0 {
		return nil
	}
	var last []changeRow
	if err := tx.NewSelect().Model(&last).Column("at").Order("id DESC").Limit(1).Scan(ctx); err != nil {
		return fmt.Errorf("noting changes: %w", err)
	}
	at := now()
	if len(last) > 0 && at.Before(last[0].At) {
		at = last[0].At.UTC()
	}
	for chunk := range slices.Chunk(records, atOnce) {
		rows := make([]changeRow, len(chunk))
		for i, rec := range chunk {
			rows[i] = changeRow{At: at, Who: who, Key: rec.key, Value: string(rec.value)}
		}
		if _, err := tx.NewInsert().Model(&rows).Exec(ctx); err != nil {
			return fmt.Errorf("noting changes: %w", err)
		}
	}
	return nil
}

// valuesOf are the stored values of those of the keys that are there.
func valuesOf(ctx context.Context, db bun.IDB, keys []string) (map[string]string, error) {
	there := make(map[string]string, len(keys))
	for chunk := range slices.Chunk(keys, atOnce) {
		var rows []recordRow
		if err := db.NewSelect().Model(&rows).Column("key", "value").Where("key IN (?)", bun.List(chunk)).Scan(ctx); err != nil {
			return nil, err
		}
		for _, row := range rows {
			there[row.Key] = row.Value
		}
	}
	return there, nil
}

// maxChanges bounds the changes that are read, and sent, at once.
const maxChanges = 5000

func lastChange(ctx context.Context, db bun.IDB) (id int64, err error) {
	err = db.NewSelect().Model((*changeRow)(nil)).ColumnExpr("COALESCE(MAX(id), 0)").Scan(ctx, &id)
	return id, err
}

func changesAfter(ctx context.Context, db bun.IDB, id int64) ([]changeRow, error) {
	var rows []changeRow
	err := db.NewSelect().Model(&rows).Where("id > ?", id).Order("id").Limit(maxChanges).Scan(ctx)
	return rows, err
}
