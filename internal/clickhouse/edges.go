package clickhouse

import (
	"context"
	"fmt"
	"time"

	"fengsui/schemas"
)

// InsertVersions stores what assets were. A version that is written again
// replaces itself.
func (db *DB) InsertVersions(ctx context.Context, versions []schemas.AssetVersion, token string) error {
	return assetVersionTable.insert(ctx, db, versions, token)
}

var assetVersionTable = table[schemas.AssetVersion]{name: "asset_versions", doc: true, columns: []attribute[schemas.AssetVersion]{
	textOf("key", func(v *schemas.AssetVersion) string { return v.Key }),
	countOf("version", func(v *schemas.AssetVersion) uint64 { return v.Version }),
	timeOf("since", func(v *schemas.AssetVersion) time.Time { return v.Since }),
	timeOf("until", func(v *schemas.AssetVersion) time.Time { return v.Until }),
	lowOf("unit", func(v *schemas.AssetVersion) string { return v.Unit }),
}}

// edgeRow is an edge as it is seen from one of its ends.
type edgeRow struct {
	*schemas.Edge
	back bool
}

// InsertEdges adds edges to those that are stored. Unlike documents they are
// summed up: only the token keeps a repetition from being counted, and what is
// in another batch is counted again.
func (db *DB) InsertEdges(ctx context.Context, edges []schemas.Edge, token string) error {
	rows := make([]edgeRow, 0, 2*len(edges))
	for i := range edges {
		rows = append(rows, edgeRow{&edges[i], false}, edgeRow{&edges[i], true})
	}
	return edgeTable.insert(ctx, db, rows, token)
}

const aggregatedTime = "DateTime64(6, 'UTC')"

var edgeTable = table[edgeRow]{name: "edges", columns: []attribute[edgeRow]{
	textOf("node", func(e *edgeRow) string { return e.ends()[0] }),
	boolOf("back", func(e *edgeRow) bool { return e.back }),
	lowOf("kind", func(e *edgeRow) string { return string(e.Kind) }),
	textOf("peer", func(e *edgeRow) string { return e.ends()[1] }),
	lowOf("source", func(e *edgeRow) string { return e.Source }),
	numberOf("first", "SimpleAggregateFunction(min, "+aggregatedTime+")", 8, func(e *edgeRow) uint64 { return micros(e.First) }),
	numberOf("last", "SimpleAggregateFunction(max, "+aggregatedTime+")", 8, func(e *edgeRow) uint64 { return micros(e.Last) }),
	numberOf("count", "SimpleAggregateFunction(sum, UInt64)", 8, func(e *edgeRow) uint64 { return e.Count }),
	numberOf("kafka_offset", "SimpleAggregateFunction(max, UInt64)", 8, func(e *edgeRow) uint64 { return uint64(e.Offset) }),
}}

func (e *edgeRow) ends() [2]string {
	if e.back {
		return [2]string{e.To, e.From}
	}
	return [2]string{e.From, e.To}
}

// EdgesCounted is the place in the topic up to which observations are counted
// in, -1 when none is.
func (db *DB) EdgesCounted(ctx context.Context) (offset int64, err error) {
	var (
		last uint64
		some bool
	)
	if err := db.QueryRow(ctx, "SELECT max(kafka_offset), count() > 0 FROM edges").Scan(&last, &some); err != nil {
		return 0, fmt.Errorf("asking which edges are stored: %w", err)
	}
	if !some {
		return -1, nil
	}
	return int64(last), nil
}

// Edges returns the edges of things of the map, from or to them, that were first
// seen at or before a time: at most so many of each thing, direction and kind,
// those that were seen last.
func (db *DB) Edges(ctx context.Context, nodes []string, at time.Time, perKind int) ([]schemas.Edge, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	const query = `SELECT node, back, kind, peer, source, min(first) AS f, max(last) AS l, sum(count)
		FROM edges WHERE node IN (?) GROUP BY node, back, kind, peer, source HAVING f <= ?
		ORDER BY l DESC, peer, source LIMIT ? BY node, back, kind`
	rows, err := db.Query(ctx, query, nodes, stamp(at), perKind)
	if err != nil {
		return nil, fmt.Errorf("edges of %d nodes: %w", len(nodes), err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []schemas.Edge
	for rows.Next() {
		var (
			e          schemas.Edge
			back       bool
			node, peer string
			kind       string
		)
		if err := rows.Scan(&node, &back, &kind, &peer, &e.Source, &e.First, &e.Last, &e.Count); err != nil {
			return nil, fmt.Errorf("edges of %d nodes: %w", len(nodes), err)
		}
		e.From, e.Kind, e.To = node, schemas.EdgeKind(kind), peer
		if back {
			e.From, e.To = peer, node
		}
		e.First, e.Last = e.First.UTC(), e.Last.UTC()
		out = append(out, e)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("edges of %d nodes: %w", len(nodes), err)
	}
	return out, nil
}

// AssetsAt returns what the assets with these keys were at a time; a zero time
// is now. Who was not known then is not among them.
func (db *DB) AssetsAt(ctx context.Context, keys []string, at time.Time) (map[string]schemas.Asset, error) {
	out := make(map[string]schemas.Asset, len(keys))
	if len(keys) == 0 {
		return out, nil
	}
	now, err := LoadDocs[schemas.Asset](ctx, db, "assets", "key IN (?)", keys)
	if err != nil {
		return nil, err
	}
	var before []string
	for i := range now {
		a := &now[i]
		if at.IsZero() || !since(a).After(at) {
			out[a.Key] = *a
		} else if !a.First.After(at) {
			before = append(before, a.Key)
		}
	}
	if len(before) == 0 {
		return out, nil
	}
	then, err := LoadDocs[schemas.AssetVersion](ctx, db, "asset_versions", "key IN (?) AND since <= ? AND until > ?", before, stamp(at), stamp(at))
	if err != nil {
		return nil, err
	}
	for i := range then {
		if known, ok := out[then[i].Key]; !ok || known.Version < then[i].Version {
			out[then[i].Key] = then[i].Asset
		}
	}
	return out, nil
}

// since is when an asset became what it is; rows of old do not say.
func since(a *schemas.Asset) time.Time {
	if a.Since.IsZero() {
		return a.First
	}
	return a.Since
}

// AssetHistory is what an asset has been, the latest first, at most so many. The
// first is what it is now: its Until is zero.
func (db *DB) AssetHistory(ctx context.Context, key string, limit int) ([]schemas.AssetVersion, error) {
	now, err := LoadDocs[schemas.Asset](ctx, db, "assets", "key = ?", key)
	if err != nil {
		return nil, err
	}
	var out []schemas.AssetVersion
	for i := range now {
		now[i].Since = since(&now[i])
		out = append(out, schemas.AssetVersion{Asset: now[i]})
	}
	then, err := LoadDocs[schemas.AssetVersion](ctx, db, "asset_versions", "key = ? ORDER BY version DESC LIMIT ?", key, limit)
	if err != nil {
		return nil, err
	}
	out = append(out, then...)
	return out[:min(len(out), limit)], nil
}

// ServicesOf returns the services of assets as they were written last, by key.
func (db *DB) ServicesOf(ctx context.Context, keys []string) (map[string]*schemas.Service, error) {
	const page = 2000 // keys of one question
	out := make(map[string]*schemas.Service, len(keys))
	for from := 0; from < len(keys); from += page {
		docs, err := LoadDocs[schemas.Asset](ctx, db, "assets", "key IN (?)", keys[from:min(from+page, len(keys))])
		if err != nil {
			return nil, err
		}
		for i := range docs {
			out[docs[i].Key] = docs[i].Service
		}
	}
	return out, nil
}
