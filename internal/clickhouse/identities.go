package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	ch "github.com/ClickHouse/clickhouse-go/v2"

	"fengsui/schemas"
)

// InsertIdentities stores sightings as InsertEvents does events. One that is
// written again, in another batch, is read back once.
func (db *DB) InsertIdentities(ctx context.Context, sightings []schemas.Sighting, ingested time.Time, token string) error {
	at := numberOf("ingested", "DateTime64(3, 'UTC')", 8, func(*schemas.Sighting) uint64 { return millis(ingested) })
	t := table[schemas.Sighting]{name: "identities", columns: append([]attribute[schemas.Sighting]{at}, identityColumns...)}
	return t.insert(ctx, db, sightings, token)
}

var identityColumns = []attribute[schemas.Sighting]{
	lowOf("kind", func(s *schemas.Sighting) string { return string(s.Kind) }),
	textOf("name", func(s *schemas.Sighting) string { return s.Key().Name }),
	portOf("port", func(s *schemas.Sighting) int { return s.Key().Port }),
	timeOf("since", func(s *schemas.Sighting) time.Time { return s.Since() }),
	textOf("event_id", func(s *schemas.Sighting) string { return s.EventID }),
	lowOf("unit", func(s *schemas.Sighting) string { return s.Unit }),
	portOf("first_port", func(s *schemas.Sighting) int { return s.Port }),
	portOf("last_port", func(s *schemas.Sighting) int { return s.LastPort }),
	lowOf("transport", func(s *schemas.Sighting) string { return s.Transport }),
	textOf("inside", func(s *schemas.Sighting) string { return s.Inside }),
	portOf("inside_port", func(s *schemas.Sighting) int { return s.InsidePort }),
	textOf("peer", func(s *schemas.Sighting) string { return s.Peer }),
	textOf("mac", func(s *schemas.Sighting) string { return s.MAC }),
	textOf("host", func(s *schemas.Sighting) string { return s.Host }),
	textOf("user", func(s *schemas.Sighting) string { return s.User }),
	timeOf("began", func(s *schemas.Sighting) time.Time { return s.From }),
	timeOf("until", func(s *schemas.Sighting) time.Time { return s.Until }),
	boolOf("ended", func(s *schemas.Sighting) bool { return s.Ended }),
	lowOf("system", func(s *schemas.Sighting) string { return s.System }),
	lowOf("source", func(s *schemas.Sighting) string { return s.Source }),
}

func portOf[T any](name string, get func(*T) int) attribute[T] {
	return numberOf(name, "UInt16", 2, func(v *T) uint64 { return uint64(get(v)) })
}

// HasIdentities says whether there is any sighting at all.
func (db *DB) HasIdentities(ctx context.Context) (bool, error) {
	var n uint64
	if err := db.QueryRow(ctx, "SELECT count() FROM (SELECT 1 FROM identities LIMIT 1)").Scan(&n); err != nil {
		return false, fmt.Errorf("asking for sightings: %w", err)
	}
	return n > 0, nil
}

// Bounds of an answer: the newest of one key and unit, and of all together.
const (
	maxSightingsOfKey = 2_000
	maxSightings      = 200_000
)

// Identities returns the sightings of the keys that begin within a time, both
// ends included; the newest of each, where there are more than one answer holds.
func (db *DB) Identities(ctx context.Context, keys []schemas.IdentityKey, from, to time.Time) ([]schemas.Sighting, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	// What was written before its time came is kept for its clock's sake: two days.
	const query = `SELECT kind, name, event_id, unit, first_port, last_port, transport, inside, inside_port, peer, mac, host, user,
			began, until, ended, system, source
		FROM identities WHERE (kind, name, port) IN (?) AND since >= ? AND since <= ? AND ingested >= ?
		ORDER BY since DESC, event_id LIMIT ? BY kind, name, port, unit LIMIT ?`
	rows, err := db.Query(ctx, query, keySet(keys), stamp(from), stamp(to), stamp(from.Add(-2*day)), maxSightingsOfKey, maxSightings)
	if err != nil {
		return nil, fmt.Errorf("sightings of %d keys: %w", len(keys), err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []schemas.Sighting
	for rows.Next() {
		s, err := scanIdentity(rows.Scan)
		if err != nil {
			return nil, fmt.Errorf("sightings of %d keys: %w", len(keys), err)
		}
		out = append(out, s)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sightings of %d keys: %w", len(keys), err)
	}
	return out, nil
}

func keySet(keys []schemas.IdentityKey) []ch.GroupSet {
	set := make([]ch.GroupSet, len(keys))
	for i, k := range keys {
		set[i] = ch.GroupSet{Value: []any{string(k.Kind), k.Name, k.Port}}
	}
	return set
}

func scanIdentity(scan func(...any) error) (s schemas.Sighting, err error) {
	var (
		kind, name          string
		first, last, inside uint16
	)
	err = scan(&kind, &name, &s.EventID, &s.Unit, &first, &last, &s.Transport, &s.Inside, &inside, &s.Peer, &s.MAC, &s.Host, &s.User,
		&s.From, &s.Until, &s.Ended, &s.System, &s.Source)
	s.Kind, s.Port, s.LastPort, s.InsidePort = schemas.IdentityKind(kind), int(first), int(last), int(inside)
	if name != s.MAC {
		s.Address = name
	}
	s.From, s.Until = stored(s.From), stored(s.Until)
	return s, err
}

// stored is a time as it was before it was written: 1970 is none.
func stored(t time.Time) time.Time {
	if t.UnixMicro() == 0 {
		return time.Time{}
	}
	return t.UTC()
}

// UnitsOfIdentities are the units with sightings of the keys within a time.
func (db *DB) UnitsOfIdentities(ctx context.Context, keys []schemas.IdentityKey, from, to time.Time) ([]string, error) {
	var units []string
	err := db.QueryRow(ctx, "SELECT arraySort(groupUniqArray(10000)(unit)) FROM identities WHERE (kind, name, port) IN (?) AND since >= ? AND since <= ?",
		keySet(keys), stamp(from), stamp(to)).Scan(&units)
	if err != nil {
		return nil, fmt.Errorf("units of %d keys: %w", len(keys), err)
	}
	return units, nil
}

// EventPlace is what an alert's event says of where it happened.
type EventPlace struct {
	ID              string
	Time            time.Time
	Unit            string // organization.id
	SourceIP        string
	SourcePort      int
	SourceNATIP     string
	DestinationIP   string
	DestinationPort int
	Transport       string
	HostIPs         []string
}

// EventPlaces looks for events by id. Each is only looked for at the given
// times, to the microsecond: events lie in the order of their time.
func (db *DB) EventPlaces(ctx context.Context, ids []string, times []time.Time) ([]EventPlace, error) {
	if len(ids) == 0 || len(times) == 0 {
		return nil, nil
	}
	args := make([]any, 0, len(times)+2)
	for _, t := range times {
		args = append(args, stamp(t))
	}
	// Constants one by one, for only then the order of the table is made use of.
	query := `SELECT id, timestamp, organization_id, source_ip, ifNull(source_port, 0), source_nat_ip,
			destination_ip, ifNull(destination_port, 0), network_transport, host_ip
		FROM events WHERE timestamp IN (` + strings.Repeat(", toDateTime64(?, 6, 'UTC')", len(times))[2:] + `) AND id IN (?) LIMIT ?`
	rows, err := db.Query(ctx, query, append(args, ids, len(ids))...)
	if err != nil {
		return nil, fmt.Errorf("places of %d events: %w", len(ids), err)
	}
	defer rows.Close() //nolint:errcheck // Err is asked below
	var out []EventPlace
	for rows.Next() {
		var (
			p        EventPlace
			src, dst int64
		)
		if err := rows.Scan(&p.ID, &p.Time, &p.Unit, &p.SourceIP, &src, &p.SourceNATIP, &p.DestinationIP, &dst, &p.Transport, &p.HostIPs); err != nil {
			return nil, fmt.Errorf("places of %d events: %w", len(ids), err)
		}
		p.SourcePort, p.DestinationPort = int(src), int(dst)
		out = append(out, p)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("places of %d events: %w", len(ids), err)
	}
	return out, nil
}
