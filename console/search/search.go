// Package search reads back what the analyzer wrote: events, alerts, mining
// detections, the asset map and drift, by the search language of internal/query.
// It is what the command line and the API both stand on. It never writes.
package search

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"fengsui/internal/clickhouse"
	"fengsui/internal/query"
	"fengsui/schemas"
)

// MaxLimit bounds the rows of one answer.
const MaxLimit = 10_000

// Query asks for the newest rows that meet a condition.
type Query struct {
	Text  string    // in the search language; empty is everything
	Since time.Time // only what happened at or after; zero is no bound
	Limit int       // rows, 1 to MaxLimit
	Units []string  // only of these units; nil is every unit, empty is none
	Now   time.Time // what ages in Text are counted back from
}

// table is a table as it can be searched.
type table struct {
	name   string
	fields map[string]query.Field
	text   query.Field
	since  string // the column that Since bounds and that orders
	order  string
}

var alertFields = map[string]query.Field{
	"id": {SQL: "id"}, "kind": {SQL: "kind"}, "status": {SQL: "status"}, "level": {SQL: "level"},
	"rule": {SQL: "rule_id"}, "title": {SQL: "rule_title", Type: query.Text}, "unit": {SQL: "unit"}, "host": {SQL: "host"},
	"first": {SQL: "first", Type: query.Time}, "last": {SQL: "last", Type: query.Time},
	"raised": {SQL: "raised", Type: query.Time}, "updated": {SQL: "updated", Type: query.Time},
	"count": {SQL: "count", Type: query.Number}, "summary": {SQL: "summary", Type: query.Text}, "drill": {SQL: "drill", Type: query.Bool},
}

var tables = map[string]*table{
	"alerts": {name: "alerts", fields: alertFields, text: query.Field{SQL: "concat(rule_title, ' ', summary, ' ', host)", Type: query.Text}, since: "last", order: "last DESC, id"},
	"mining": {
		name: "mining_detections", since: "last", order: "last DESC, id",
		text: query.Field{SQL: "concat(host, ' ', arrayStringConcat(pools, ' '))", Type: query.Text},
		fields: map[string]query.Field{
			"id": {SQL: "id"}, "status": {SQL: "status"}, "unit": {SQL: "unit"}, "host": {SQL: "host"},
			"pool": {SQL: "pools", List: true}, "coin": {SQL: "coins", List: true}, "protocol": {SQL: "protocols", List: true},
			"wallet": {SQL: "wallets", List: true}, "confidence": {SQL: "confidence", Type: query.Number},
			"first": {SQL: "first", Type: query.Time}, "last": {SQL: "last", Type: query.Time},
			"raised": {SQL: "raised", Type: query.Time}, "count": {SQL: "count", Type: query.Number}, "drill": {SQL: "drill", Type: query.Bool},
		},
	},
	"assets": {
		name: "assets", since: "last", order: "kind, ip, port, name, key",
		text: query.Field{SQL: "key", Type: query.Text},
		fields: map[string]query.Field{
			"key": {SQL: "key"}, "kind": {SQL: "kind"}, "unit": {SQL: "unit"}, "name": {SQL: "name", Type: query.Text}, "domain": {SQL: "name"},
			"ip": {SQL: "ip", Type: query.IP}, "port": {SQL: "port", Type: query.Number}, "transport": {SQL: "transport"},
			"alive": {SQL: "alive", Type: query.Bool}, "service": {SQL: "service"}, "product": {SQL: "product", Type: query.Text},
			"first": {SQL: "first", Type: query.Time}, "last": {SQL: "last", Type: query.Time},
		},
	},
	"drift": {
		name: "drift", since: "last", order: "last DESC, id",
		text: query.Field{SQL: "concat(asset, ' ', observed, ' ', detail)", Type: query.Text},
		fields: map[string]query.Field{
			"id": {SQL: "id"}, "kind": {SQL: "kind"}, "status": {SQL: "status"}, "asset": {SQL: "asset", Type: query.Text}, "unit": {SQL: "unit"},
			"detail": {SQL: "detail", Type: query.Text}, "severity": {SQL: "severity"}, "system": {SQL: "system"}, "work": {SQL: "work"}, "assignee": {SQL: "assignee"},
			"due": {SQL: "due", Type: query.Time}, "overdue": {SQL: "overdue > 0", Type: query.Bool},
			"expected": {SQL: "expected", Type: query.Text}, "observed": {SQL: "observed", Type: query.Text},
			"first": {SQL: "first", Type: query.Time}, "last": {SQL: "last", Type: query.Time},
		},
	},
}

// Field implements query.Fields.
func (t *table) Field(name string) (query.Field, error) {
	f, ok := t.fields[name]
	if !ok {
		return f, query.Bad("unknown field %q; there are %s", "没有字段 %q；有 %s", name, strings.Join(sortedKeys(t.fields), ", "))
	}
	return f, nil
}

// Text implements query.Fields.
func (t *table) Text() query.Field { return t.text }

// where is the condition of a search with everything that follows it.
func (q *Query) where(fields query.Fields, since, order, unit string) (query.Condition, error) {
	if q.Limit < 1 || q.Limit > MaxLimit {
		return query.Condition{}, fmt.Errorf("limit %d is not between 1 and %d", q.Limit, MaxLimit)
	}
	c, err := query.Compile(q.Text, fields, q.Now)
	if err != nil {
		return c, err
	}
	if !q.Since.IsZero() {
		c.SQL += " AND " + since + " >= {since:DateTime64(6, 'UTC')}"
		c.Params["since"] = q.Since.UTC().Format("2006-01-02 15:04:05.000000")
	}
	if q.Units != nil {
		c.SQL += " AND " + unit + " IN {units:Array(String)}"
		c.Params["units"] = arrayOf(q.Units)
	}
	c.SQL += " ORDER BY " + order + " LIMIT " + strconv.Itoa(q.Limit)
	return c, nil
}

var inQuotes = strings.NewReplacer(`\`, `\\`, `'`, `\'`)

func quoted(s string) string { return "'" + inQuotes.Replace(s) + "'" }

// arrayOf writes texts as a value of the type Array(String).
func arrayOf(texts []string) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, s := range texts {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoted(s))
	}
	b.WriteByte(']')
	return b.String()
}

func find[T any](ctx context.Context, db *clickhouse.DB, name string, q Query) ([]T, error) {
	t := tables[name]
	c, err := q.where(t, t.since, t.order, "unit")
	if err != nil {
		return nil, err
	}
	return clickhouse.LoadDocs[T](ch.Context(ctx, ch.WithParameters(c.Params)), db, t.name, c.SQL)
}

// Alerts returns alerts, the newest first.
func Alerts(ctx context.Context, db *clickhouse.DB, q Query) ([]schemas.Alert, error) {
	return find[schemas.Alert](ctx, db, "alerts", q)
}

// Detections returns mining detections, the newest first.
func Detections(ctx context.Context, db *clickhouse.DB, q Query) ([]schemas.MiningDetection, error) {
	return find[schemas.MiningDetection](ctx, db, "mining", q)
}

// Assets returns entries of the asset map, by kind, address, port and name.
func Assets(ctx context.Context, db *clickhouse.DB, q Query) ([]schemas.Asset, error) {
	return find[schemas.Asset](ctx, db, "assets", q)
}

// Drift returns drifts, the newest first.
func Drift(ctx context.Context, db *clickhouse.DB, q Query) ([]schemas.Drift, error) {
	return find[schemas.Drift](ctx, db, "drift", q)
}

// DriftByID returns one drift; false when there is none.
func DriftByID(ctx context.Context, db *clickhouse.DB, id string) (schemas.Drift, bool, error) {
	found, err := clickhouse.LoadDocs[schemas.Drift](ctx, db, "drift", "id = ?", id)
	if err != nil || len(found) == 0 {
		return schemas.Drift{}, false, err
	}
	return found[0], true, nil
}

// IsQueryError says whether err is a mistake in a query, and where it is.
func IsQueryError(err error) (*query.Error, bool) {
	var e *query.Error
	return e, errors.As(err, &e)
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
