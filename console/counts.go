package console

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"
)

// Counts is what there is.
type Counts struct {
	Events           uint64 `json:"events" doc:"stored events"`
	EventsLastHour   uint64 `json:"events_last_hour" doc:"stored within the last hour"`
	EventsLastMinute uint64 `json:"events_last_minute" doc:"stored within the last minute"`
	AlertsOpen       uint64 `json:"alerts_open"`
	MiningOpen       uint64 `json:"mining_open"`
	DriftOpen        uint64 `json:"drift_open" doc:"confirmed and not closed"`
	Domains          uint64 `json:"domains" doc:"assets that are alive"`
	Hosts            uint64 `json:"hosts" doc:"assets that are alive"`
	Services         uint64 `json:"services" doc:"assets that are alive"`
	DeadLetters      uint64 `json:"dead_letters" doc:"lines that could not be parsed, kept whole"`
}

func (c *Counts) add(o *Counts) {
	for _, what := range tallies {
		*what(c) += *what(o)
	}
}

// tallies are the counts by the names that the queries give them.
var tallies = map[string]func(*Counts) *uint64{
	"events": func(c *Counts) *uint64 { return &c.Events },
	"hour":   func(c *Counts) *uint64 { return &c.EventsLastHour },
	"minute": func(c *Counts) *uint64 { return &c.EventsLastMinute },
	"alerts": func(c *Counts) *uint64 { return &c.AlertsOpen },
	"mining": func(c *Counts) *uint64 { return &c.MiningOpen },
	"drift":  func(c *Counts) *uint64 { return &c.DriftOpen },
	"domain": func(c *Counts) *uint64 { return &c.Domains }, "host": func(c *Counts) *uint64 { return &c.Hosts }, "service": func(c *Counts) *uint64 { return &c.Services },
	"dead": func(c *Counts) *uint64 { return &c.DeadLetters },
}

// UnitCounts is the counts of one unit, without those below it.
type UnitCounts struct {
	Unit string `json:"unit" doc:"its code; empty for what belongs to no known unit"`
	Name string `json:"name,omitempty"`
	Counts
}

// AllCounts is the counts of everything that the user sees.
type AllCounts struct {
	At    time.Time    `json:"at"`
	Total Counts       `json:"total"`
	Units []UnitCounts `json:"units" nullable:"false" doc:"units with anything to count, by code"`
}

type countsOutput struct{ Body AllCounts }

// Everything is counted by unit once for all who look. What grows without end is
// counted apart, since it can take long; what is new, and what is open, is read
// from little.
const (
	sqlGrown = `SELECT 'events', organization_id, count() FROM events GROUP BY organization_id
UNION ALL SELECT 'dead', unit, count() FROM dead_letters GROUP BY unit`
	sqlLive = `SELECT 'hour', organization_id, count() FROM events WHERE ingested >= {hour:DateTime64(3, 'UTC')} GROUP BY organization_id
UNION ALL SELECT 'minute', organization_id, count() FROM events WHERE ingested >= {minute:DateTime64(3, 'UTC')} GROUP BY organization_id
UNION ALL SELECT 'alerts', unit, count() FROM alerts FINAL WHERE status = 'open' GROUP BY unit
UNION ALL SELECT 'mining', unit, count() FROM mining_detections FINAL WHERE status = 'open' GROUP BY unit
UNION ALL SELECT 'drift', unit, count() FROM drift FINAL WHERE status = 'open' GROUP BY unit
UNION ALL SELECT kind, unit, count() FROM assets FINAL WHERE alive GROUP BY kind, unit`
)

type byUnit map[string]*Counts

func (c *Console) tally(sql string) func(context.Context) (byUnit, error) {
	return func(ctx context.Context) (byUnit, error) {
		now := time.Now().UTC()
		at := func(age time.Duration) string { return now.Add(-age).Format("2006-01-02 15:04:05.000") }
		params := ch.Parameters{"hour": at(time.Hour), "minute": at(time.Minute)}
		rows, err := c.deps.Store.Query(ch.Context(ctx, ch.WithParameters(params)), sql)
		if err != nil {
			return nil, fmt.Errorf("counting: %w", err)
		}
		defer rows.Close() //nolint:errcheck // Err is asked below
		units := byUnit{}
		for rows.Next() {
			var what, unit string
			var n uint64
			if err := rows.Scan(&what, &unit, &n); err != nil {
				return nil, fmt.Errorf("counting: %w", err)
			}
			if units[unit] == nil {
				units[unit] = &Counts{}
			}
			if count := tallies[what]; count != nil {
				*count(units[unit]) += n
			}
		}
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("counting: %w", err)
		}
		return units, nil
	}
}

// countsFor is the counts that the viewer may see.
func (c *Console) countsFor(ctx context.Context, v *viewer) (*AllCounts, error) {
	grown, _, err := c.grown.get(ctx, c, c.tally(sqlGrown))
	if err != nil {
		return nil, err
	}
	live, at, err := c.live.get(ctx, c, c.tally(sqlLive))
	if err != nil {
		return nil, err
	}
	units := byUnit{}
	for _, part := range []byUnit{grown, live} {
		for unit, counts := range part {
			if v.sees(unit) {
				if units[unit] == nil {
					units[unit] = &Counts{}
				}
				units[unit].add(counts)
			}
		}
	}
	all := &AllCounts{At: at, Units: []UnitCounts{}}
	for _, code := range slices.Sorted(maps.Keys(units)) {
		unit, _ := v.directory.Unit(code)
		all.Units = append(all.Units, UnitCounts{Unit: code, Name: unit.Name, Counts: *units[code]})
		all.Total.add(units[code])
	}
	return all, nil
}

func (c *Console) getCounts(ctx context.Context, _ *struct{}) (*countsOutput, error) {
	all, err := c.countsFor(ctx, viewerOf(ctx))
	if err != nil {
		return nil, c.storeProblem(ctx, "counts", err)
	}
	return &countsOutput{*all}, nil
}

// reading is an answer of the store that many who look share. It is asked for
// again when it is older than freshFor, and so seldom that it keeps the store
// busy for no more than a twentieth of the time.
type reading[T any] struct {
	turn  chan struct{} // of the one who reads
	value T
	at    time.Time
	took  time.Duration
}

const (
	freshFor  = 1900 * time.Millisecond
	dutyRatio = 20
)

func newReading[T any]() *reading[T] { return &reading[T]{turn: make(chan struct{}, 1)} }

func (r *reading[T]) get(ctx context.Context, c *Console, ask func(context.Context) (T, error)) (T, time.Time, error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return r.none(), time.Time{}, ctx.Err()
	}
	if !r.at.IsZero() && time.Since(r.at) < max(freshFor, dutyRatio*r.took) {
		return r.value, r.at, nil
	}
	begin := time.Now()
	value, err := read(ctx, c, ask)
	if err != nil {
		return r.none(), time.Time{}, err
	}
	r.value, r.at, r.took = value, begin, time.Since(begin)
	return value, r.at, nil
}

func (*reading[T]) none() (zero T) { return zero }
