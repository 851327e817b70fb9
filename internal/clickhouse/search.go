package clickhouse

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

// InsertSearch stores the rows that assets are searched by. Of each key the
// highest version is found, and of one version the row that was written last.
func (db *DB) InsertSearch(ctx context.Context, rows []schemas.NotedAsset, token string) error {
	return searchTable.insert(ctx, db, rows, token)
}

// searchPartFor is how long the answer of SearchPart may be used again: asking
// takes longer than many a search.
const searchPartFor = 5 * time.Second

// SearchPart is the part of asset_search that holds more than half of its rows and
// what was written first, "" when none does: whatever an asset's row there says,
// what another part says is newer. The answer may be some seconds old. Such a part
// keeps its promise as long as there is one of that name.
func (db *DB) SearchPart(ctx context.Context) (string, error) {
	db.part.Lock()
	defer db.part.Unlock()
	if time.Since(db.part.at) < searchPartFor {
		return db.part.name, nil
	}
	var name string
	var first bool
	var rows, all uint64
	if err := db.QueryRow(ctx, `SELECT argMax(name, rows), argMax(level, rows) > 0 AND argMax(min_block_number, rows) = min(min_block_number), max(rows), sum(rows)
		FROM system.parts WHERE database = currentDatabase() AND table = 'asset_search' AND active`).Scan(&name, &first, &rows, &all); err != nil {
		return "", fmt.Errorf("looking for the largest part of asset_search: %w", err)
	}
	if !first || 2*rows <= all {
		name = ""
	}
	db.part.name, db.part.at = name, time.Now()
	return name, nil
}

// SearchMarks calls f for every row's key and mark, until f fails.
func (db *DB) SearchMarks(ctx context.Context, f func(key string, mark uint64) error) error {
	return db.searchKeys(ctx, "SELECT key, mark FROM asset_search FINAL", f)
}

// Unsearched calls f for every asset that has no row to be searched by: those
// that were stored before there were such rows.
func (db *DB) Unsearched(ctx context.Context, f func(key string) error) error {
	return db.searchKeys(ctx, "SELECT key, toUInt64(0) FROM assets LEFT ANTI JOIN asset_search USING (key) GROUP BY key SETTINGS join_algorithm = 'grace_hash,hash'",
		func(key string, _ uint64) error { return f(key) })
}

func (db *DB) searchKeys(ctx context.Context, query string, f func(string, uint64) error) (err error) {
	rows, err := db.Query(ctx, query)
	if err != nil {
		return fmt.Errorf("reading what is searched: %w", err)
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var key string
		var mark uint64
		if err := rows.Scan(&key, &mark); err != nil {
			return fmt.Errorf("reading what is searched: %w", err)
		}
		if err := f(key, mark); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("reading what is searched: %w", err)
	}
	return nil
}

type noted = schemas.NotedAsset

// Most of what a row costs is its indexes of texts: they are made by the first
// merge, which makes them anyway, and what is not merged yet is little.
var searchTable = table[noted]{name: "asset_search", unindexed: true, columns: []attribute[noted]{
	{"ip", "IPv6", func() column { return &addrColumn{} }, func(c column, v *noted) { c.(*addrColumn).add(v.IP) }},
	numberOf("port", "UInt16", 2, func(v *noted) uint64 { return uint64(v.Port) }),
	lowOf("transport", func(v *noted) string { return v.Transport }),
	textOf("name", func(v *noted) string { return v.Name }),
	countOf("id", func(v *noted) uint64 { return keyID(v.Key) }),
	textOf("key", func(v *noted) string { return v.Key }),
	countOf("version", func(v *noted) uint64 { return v.Version }),
	countOf("mark", func(v *noted) uint64 { return v.Mark }),
	lowOf("kind", func(v *noted) string { return string(v.Kind) }),
	boolOf("alive", func(v *noted) bool { return v.Alive }),
	lowOf("unit", func(v *noted) string { return v.Unit }),
	linesOf("unit_in", func(v *noted) []string { return v.Notes.UnitIn }),
	linesOf("city", func(v *noted) []string { return v.Notes.City }),
	linesOf("county", func(v *noted) []string { return v.Notes.County }),
	linesOf("school", func(v *noted) []string { return v.Notes.School }),
	linesOf("system", func(v *noted) []string { return v.Notes.System }),
	numberOf("level", "UInt8", 1, func(v *noted) uint64 { return uint64(v.Notes.Level) }),
	boolOf("registered", func(v *noted) bool { return v.Notes.Filed }),
	boolOf("whitelisted", func(v *noted) bool { return v.Notes.Allowed }),
	linesOf("drift", func(v *noted) []string { return v.Notes.Drift }),
	linesOf("exposure", exposures),
	linesOf("app", apps),
	lowOf("protocol", func(v *noted) string { return serviceOf(v.Service).Name }),
	lowOf("product", func(v *noted) string { return serviceOf(v.Service).Product }),
	lowOf("release", func(v *noted) string { return serviceOf(v.Service).Version }),
	lowOf("os", func(v *noted) string { return serviceOf(v.Service).OS }),
	lowOf("server", func(v *noted) string { return httpOf(v).Server }),
	numberOf("status", "UInt16", 2, func(v *noted) uint64 { return uint64(httpOf(v).Status) }),
	textOf("host", func(v *noted) string { return Lines(v.Notes.Names) }),
	listOf("domain", func(v *noted) []string { return within(v.Notes.Names) }),
	textOf("title", func(v *noted) string { return httpOf(v).Title }),
	textOf("header", func(v *noted) string { return httpOf(v).Header }),
	textOf("body", func(v *noted) string { return httpOf(v).Body }),
	textOf("banner", func(v *noted) string { return serviceOf(v.Service).Banner }),
	textOf("cert", func(v *noted) string { return Lines(certificate(v)) }),
	textOf("icon_hash", func(v *noted) string { return httpOf(v).IconHash }),
	timeOf("first", func(v *noted) time.Time { return v.First }),
	timeOf("last", func(v *noted) time.Time { return v.Last }),
}}

// linesOf is a list in one text, as Lines writes it.
func linesOf(name string, get func(*noted) []string) attribute[noted] {
	return lowOf(name, func(v *noted) string { return Lines(get(v)) })
}

// Lines writes a list as the text that columns of lists hold: every one between
// line ends, so that "\nx\n" finds a whole one. An empty list is "".
func Lines(list []string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	for _, s := range list {
		b.WriteByte('\n')
		b.WriteString(strings.ReplaceAll(s, "\n", " "))
	}
	b.WriteByte('\n')
	return b.String()
}

// keyID stands for a key in sets of them. Of ten million keys two share one with
// a chance of 3 in a million.
func keyID(key string) uint64 {
	sum := sha256.Sum256([]byte(key))
	return binary.BigEndian.Uint64(sum[:])
}

func httpOf(v *noted) schemas.HTTP {
	if v.Service == nil || v.Service.HTTP == nil {
		return schemas.HTTP{}
	}
	return *v.Service.HTTP
}

func exposures(v *noted) []string {
	var out []string
	for _, e := range serviceOf(v.Service).Exposures {
		out = append(out, string(e.Kind))
	}
	return out
}

// apps are the products that a service is or is made with.
func apps(v *noted) []string {
	var out []string
	if v.Service == nil {
		return nil
	}
	if v.Service.Product != "" {
		out = append(out, v.Service.Product)
	}
	for _, t := range v.Service.Technologies {
		out = append(out, t.Name)
	}
	slices.SortFunc(out, func(a, b string) int {
		return cmp.Or(cmp.Compare(strings.ToLower(a), strings.ToLower(b)), cmp.Compare(a, b))
	})
	return slices.CompactFunc(out, strings.EqualFold)
}

func certificate(v *noted) []string {
	if v.Service == nil || v.Service.TLS == nil {
		return nil
	}
	t := v.Service.TLS
	out := make([]string, 0, 4+len(t.Names))
	for _, s := range append([]string{t.Subject, t.Issuer, t.SHA256, t.Serial}, t.Names...) {
		if s != "" {
			out = append(out, s)
		}
	}
	return out
}

// within is every name and each domain that it lies in, from two labels on.
func within(names []string) []string {
	var out []string
	for _, name := range names {
		for {
			_, above, more := strings.Cut(name, ".")
			if !more {
				break
			}
			if !slices.Contains(out, name) {
				out = append(out, name)
			}
			name = above
		}
	}
	return out
}

// addrColumn is IPv6, with IPv4 as ::ffff:a.b.c.d and no address as ::.
type addrColumn struct {
	plain
	n    int
	data []byte
}

func (c *addrColumn) rows() int { return c.n }
func (c *addrColumn) reset()    { c.n, c.data = 0, c.data[:0] }

func (c *addrColumn) pad(rows int) {
	for c.n < rows {
		c.add(netip.Addr{})
	}
}

func (c *addrColumn) add(a netip.Addr) {
	b := netip.IPv6Unspecified().As16()
	if a.IsValid() {
		b = a.As16()
	}
	c.data = append(c.data, b[:]...)
	c.n++
}

func (c *addrColumn) encode(dst []byte) []byte { return append(dst, c.data...) }
