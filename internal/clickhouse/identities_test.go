package clickhouse

import (
	"cmp"
	"slices"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"fengsui/schemas"
)

// TestIdentities: sightings come back as they were written, by key and time, and
// one that is written again in another batch replaces itself.
func TestIdentities(t *testing.T) {
	db := open(t)
	at := time.Date(2026, 11, 22, 8, 0, 0, 1000, time.UTC)
	none, err := db.HasIdentities(t.Context())
	if err != nil || none {
		t.Fatalf("an empty table has sightings: %v, %v", none, err)
	}
	all := []schemas.Sighting{
		{
			Kind: schemas.IdentityLease, Unit: "10001", Address: "10.1.2.3", MAC: "00:00:5e:00:53:17", Host: "PC-王", From: at, Until: at.Add(time.Hour),
			System: "h3c.comware", Source: "192.0.2.1", EventID: "s-1",
		},
		{Kind: schemas.IdentityLease, Unit: "10002", Address: "10.1.2.3", MAC: "00:00:5e:00:53:18", Until: at.Add(time.Minute), Ended: true, EventID: "s-2"},
		{Kind: schemas.IdentityLogin, Unit: "10001", MAC: "00:00:5e:00:53:17", User: "20260101", From: at, EventID: "s-3"},
		{Kind: schemas.IdentityLogin, Address: "2001:db8::1", User: "alice", Peer: "203.0.113.9", From: at, EventID: "s-4"},
		{
			Kind: schemas.IdentityNAT, Address: "198.51.100.1", Port: 65535, Transport: "tcp", Inside: "10.1.2.3", InsidePort: 50000, Peer: "203.0.113.80",
			From: at, Until: at.Add(time.Second), Ended: true, EventID: "s-5",
		},
		{Kind: schemas.IdentityBlock, Address: "198.51.100.1", Port: 1024, LastPort: 2047, Inside: "10.1.2.4", From: at, EventID: "s-6"},
	}
	for _, token := range []string{"a", "a", "b"} {
		if err := db.InsertIdentities(t.Context(), all, ingested, token); err != nil {
			t.Fatal(err)
		}
	}
	if has, err := db.HasIdentities(t.Context()); err != nil || !has {
		t.Fatalf("%v, %v", has, err)
	}
	f := func(from, to time.Time, keys []schemas.IdentityKey, want ...schemas.Sighting) {
		t.Helper()
		got, err := db.Identities(t.Context(), keys, from, to)
		if err != nil {
			t.Fatal(err)
		}
		slices.SortStableFunc(got, func(x, y schemas.Sighting) int { return cmp.Compare(x.EventID, y.EventID) })
		got = slices.Compact(got)
		if d := gocmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
	var keys []schemas.IdentityKey
	for i := range all {
		keys = append(keys, all[i].Key())
	}
	early, late := at.Add(-time.Hour), at.Add(time.Hour)
	f(early, late, keys, all...)
	f(early, late, keys[:1], all[0], all[1])
	f(at, at, keys[:1], all[0])
	f(at.Add(time.Microsecond), late, keys, all[1])
	f(early, late, []schemas.IdentityKey{{Kind: schemas.IdentityNAT, Name: "198.51.100.1"}, {Kind: schemas.IdentityNAT, Name: "198.51.100.1'); --", Port: 1}})
	f(early, late, nil)
	units, err := db.UnitsOfIdentities(t.Context(), keys[:1], early, late)
	if err != nil || !slices.Equal(units, []string{"10001", "10002"}) {
		t.Errorf("units %v, %v", units, err)
	}
}

// TestEventPlaces: an event is found by its id at its time, and at no other.
func TestEventPlaces(t *testing.T) {
	db := open(t)
	b := NewEventBatch()
	var ev schemas.Event
	for i := range 3 {
		sshd(&ev, i)
		ev.Set(schemas.FieldHostIP, schemas.Strings("10.1.2.3"))
		b.Add(&ev, 0, int64(i))
	}
	if err := db.InsertEvents(t.Context(), b, ingested, "t"); err != nil {
		t.Fatal(err)
	}
	got, err := db.EventPlaces(t.Context(), []string{"collector-1/syslog/7-2", "collector-1/syslog/7-1", "x"}, []time.Time{ev.Time()})
	want := []EventPlace{{
		ID: "collector-1/syslog/7-2", Time: ev.Time(), Unit: "u-001", SourceIP: "203.0.0.2", SourcePort: 1026, Transport: "tcp", HostIPs: []string{"10.1.2.3"},
	}}
	if d := gocmp.Diff(want, got); err != nil || d != "" {
		t.Error(err, d)
	}
}
