package registry

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

//go:embed migrations
var migrations embed.FS

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
	if err := migrate(ctx, sqldb, goose.DialectSQLite3, "migrations/sqlite"); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the registry %s: %w", path, err), sqldb.Close())
	}
	return &Registry{db: bun.NewDB(sqldb, sqlitedialect.New()), path: path}, nil
}

// OpenPostgres opens the PostgreSQL database that dsn names (a URL such as
// postgres://fengsui@db.example/fengsui, or words such as "host=/run/postgresql
// dbname=fengsui"; what is left out is taken from the PG… environment) and
// brings its tables up to date. The database itself must be there.
func OpenPostgres(ctx context.Context, dsn string) (*Registry, error) {
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("registry.dsn: %w", err) // pgx leaves the password out
	}
	// bun writes values into the statement: preparing each would fill the
	// server's memory with statements that never come again.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	sqldb := stdlib.OpenDB(*cfg)
	sqldb.SetMaxOpenConns(8)
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 60))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("opening the registry: %w", err), sqldb.Close())
	}
	if err := migrate(ctx, sqldb, goose.DialectPostgres, "migrations/postgres", goose.WithSessionLocker(locker)); err != nil {
		return nil, errors.Join(fmt.Errorf("opening the registry in the database %s of %s: %w", cfg.Database, cfg.Host, err), sqldb.Close())
	}
	return &Registry{db: bun.NewDB(sqldb, pgdialect.New())}, nil
}

func migrate(ctx context.Context, db *sql.DB, dialect goose.Dialect, dir string, options ...goose.ProviderOption) error {
	files, err := fs.Sub(migrations, dir)
	if err != nil {
		return err
	}
	provider, err := goose.NewProvider(dialect, db, files, options...)
	if err != nil {
		return fmt.Errorf("reading migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrating: %w", err)
	}
	return nil
}

func (r *Registry) postgres() bool { return r.db.Dialect().Name() == dialect.PG }

// write runs f in a transaction that no other writer's overlaps, whatever the
// process: ids of changes become visible in their order, so that whoever has
// read up to one has missed none, and what f has checked stays true until it is
// written. Readers wait for nobody.
func (r *Registry) write(ctx context.Context, f func(context.Context, bun.Tx) error) error {
	return r.db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
		if r.postgres() { // SQLite has taken its lock at BEGIN
			if _, err := tx.ExecContext(ctx, "LOCK TABLE changes IN SHARE ROW EXCLUSIVE MODE"); err != nil {
				return fmt.Errorf("waiting for the turn to write: %w", err)
			}
		}
		return f(ctx, tx)
	})
}

// publisherLock is the advisory lock of the one process that publishes: "fengsui" in ASCII.
const publisherLock = 0x66656e67737569

// lead makes this process the one that publishes. While another is, it returns
// nil. The turn ends with end, with the process, and with the connection to
// PostgreSQL: use conn to read what is published, and it fails when the turn is
// over.
func (r *Registry) lead(ctx context.Context) (conn bun.IDB, end func(), err error) {
	if r.postgres() {
		return r.leadPostgres(ctx)
	}
	f, err := os.OpenFile(r.path+".publisher", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("the lock of the publisher: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil { //nolint:gosec // a descriptor is small
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, nil, nil
		}
		return nil, nil, fmt.Errorf("the lock of the publisher: %w", err)
	}
	return r.db, func() { _ = f.Close() }, nil
}

func (r *Registry) leadPostgres(ctx context.Context) (bun.IDB, func(), error) {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("the lock of the publisher: %w", err)
	}
	var mine bool
	if err := conn.QueryRowContext(ctx, "SELECT pg_try_advisory_lock(?)", publisherLock).Scan(&mine); err != nil || !mine {
		if errClose := conn.Close(); err == nil {
			return nil, nil, errClose
		}
		return nil, nil, fmt.Errorf("the lock of the publisher: %w", err)
	}
	end := func() {
		// Given back to the pool the connection would keep the lock.
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock(?)", publisherLock)
		_ = conn.Close()
	}
	return conn, end, nil
}
