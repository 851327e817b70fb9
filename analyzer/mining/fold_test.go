package mining

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

func match(id string, at time.Time, host string, kind schemas.EvidenceKind, pool string, weight float64) *schemas.Match {
	return &schemas.Match{
		Kind: schemas.MatchMining, EventID: id, Time: at, Received: at.Add(time.Second), Unit: "U", Host: host,
		Mining: &schemas.MiningEvidence{Kind: kind, EventID: id, Time: at, Pool: pool, Weight: weight},
	}
}

func add(f *Fold, m *schemas.Match, offset int64) (*schemas.MiningDetection, bool) {
	return f.Add(m, 0, offset, m.Received)
}

func TestDetectionGrows(t *testing.T) {
	f := NewFold(DefaultFoldConfig())
	at := func(minutes int) time.Time { return eventTime.Add(time.Duration(minutes) * time.Minute) }

	// A port that pools use, again and again, is never a detection.
	for i := range 30 {
		m := match(fmt.Sprint("p", i), at(i), "10.0.0.5", schemas.PoolPort, fmt.Sprint("203.0.113.", i), weightWeak)
		if d, changed := add(f, m, int64(i)); changed {
			t.Fatalf("raised by ports alone: %+v", d)
		}
	}
	d, changed := add(f, match("dns1", at(40), "10.0.0.5", schemas.PoolDomainDNS, "f2pool.com", weightDNS), 30)
	if !changed || d.Version != 1 || d.Count != 31 || !d.First.Equal(at(0)) || math.Abs(d.Confidence-0.64) > 1e-9 {
		t.Fatalf("not raised as it should be: %v %+v", changed, d)
	}
	raisedBy := at(40).Add(time.Second) // from there the time to the alert is measured
	if !d.Received.Equal(raisedBy) {
		t.Errorf("received %v, want %v", d.Received, raisedBy)
	}
	id := d.ID
	// The same again says nothing new.
	d, _ = add(f, match("dns2", at(41), "10.0.0.5", schemas.PoolDomainDNS, "f2pool.com", weightDNS), 31)
	if d.ID != id || d.Version != 2 || math.Abs(d.Confidence-0.64) > 1e-9 {
		t.Fatalf("%+v", d)
	}
	// The conversation itself does.
	m := match("login", at(42), "10.0.0.5", schemas.MinerLogin, "f2pool.com", weightLogin)
	m.Mining.Coin, m.Mining.Protocol, m.Mining.Wallet = "XMR", "xmr-stratum", "48ed"
	d, _ = add(f, m, 32)
	if d.ID != id || d.Confidence < 0.97 || d.Confidence > maxConfidence || !slices.Equal(d.Pools, []string{"f2pool.com"}) || !slices.Equal(d.Coins, []string{"XMR"}) || !slices.Equal(d.Wallets, []string{"48ed"}) || len(d.Evidence) != 33 {
		t.Fatalf("%+v", d)
	}
	a := ToAlert(d)
	if a.ID != id || a.Version != d.Version || a.Rule.Level != schemas.High || len(a.EventIDs) != 33 || a.Kind != schemas.AlertMining || !a.Received.Equal(raisedBy) {
		t.Errorf("%+v", a)
	}
	// Another host is another detection; so is the same one after a quiet day.
	if d, _ := add(f, match("x", at(43), "10.0.0.6", schemas.MinerLogin, "", weightLogin), 33); d.ID == id {
		t.Error("hosts are mixed")
	}
	if d, _ := add(f, match("y", at(42+24*60+1), "10.0.0.5", schemas.MinerLogin, "", weightLogin), 34); d.ID == id || d.Version != 1 {
		t.Error("a new day joined the old detection")
	}
	if d, _ := add(f, match("z", at(50), "10.0.0.5", schemas.MinerLogin, "", weightLogin), 35); d.ID != id {
		t.Error("late evidence did not find its detection")
	}
}

func TestBounds(t *testing.T) {
	cfg := DefaultFoldConfig()
	cfg.MaxHosts, cfg.MaxSeen = 50, 100
	f := NewFold(cfg)
	var last *schemas.MiningDetection
	for i := range 1000 {
		add(f, match(fmt.Sprint("h", i), eventTime, fmt.Sprint("h", i), schemas.PoolPort, "", weightWeak), int64(2*i))
		m := match(fmt.Sprint("a", i), eventTime, "a", schemas.MinerLogin, fmt.Sprint("pool", i), weightLogin)
		m.Mining.Wallet = fmt.Sprint("w", i)
		last, _ = add(f, m, int64(2*i+1))
	}
	if f.Hosts() > 50 || f.seen.Len() > 100 || f.Evicted() == 0 {
		t.Errorf("%d hosts, %d ids", f.Hosts(), f.seen.Len())
	}
	if last.Count != 1000 || len(last.Evidence) != schemas.MaxAlertEvents || len(last.Pools) > maxNames || len(last.Wallets) > maxNames {
		t.Errorf("count %d, %d pieces", last.Count, len(last.Evidence))
	}
	if last.Evidence[0].EventID != "a0" || last.Evidence[len(last.Evidence)-1].EventID != "a999" {
		t.Error("the first or the newest evidence is gone")
	}
	f.Forget(eventTime.Add(72 * time.Hour))
	if f.Hosts() != 0 {
		t.Errorf("%d hosts not forgotten", f.Hosts())
	}
}

func TestFoldConfig(t *testing.T) {
	if err := DefaultFoldConfig().Validate(); err != nil {
		t.Error(err)
	}
	for _, c := range []FoldConfig{{}, {Threshold: 0.1, Quiet: 1, MaxHosts: 1, MaxSeen: 1}, {Threshold: 0.5, MaxHosts: 1, MaxSeen: 1}} {
		if c.Validate() == nil {
			t.Errorf("%+v accepted", c)
		}
	}
}

// genMatches draws a topic's content: a few hosts, evidence of all weights, with
// days of quiet between some of it.
func genMatches(t *rapid.T, jitter int) []*schemas.Match {
	var out []*schemas.Match
	now := eventTime
	for i := range rapid.IntRange(1, 40).Draw(t, "n") {
		now = now.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 1, 60, 1500}).Draw(t, "pause")) * time.Minute)
		at := now.Add(-time.Duration(rapid.IntRange(0, jitter).Draw(t, "late")) * time.Minute)
		kind := rapid.SampledFrom([]schemas.EvidenceKind{schemas.PoolPort, schemas.PoolAddress, schemas.PoolDomainDNS, schemas.MinerLogin}).Draw(t, "kind")
		weight := map[schemas.EvidenceKind]float64{schemas.PoolPort: weightWeak, schemas.PoolAddress: weightAddress, schemas.PoolDomainDNS: weightDNS, schemas.MinerLogin: weightLogin}[kind]
		m := match(fmt.Sprint("e", i), at, rapid.SampledFrom([]string{"10.0.0.1", "10.0.0.2"}).Draw(t, "host"), kind, rapid.SampledFrom([]string{"a", "b"}).Draw(t, "pool"), weight)
		m.Received = now
		out = append(out, m)
	}
	return out
}

// rows is what a table of detections holds: the highest version of each id.
type rows map[string]schemas.MiningDetection

func (r rows) write(d *schemas.MiningDetection, changed bool) {
	if changed && d.Version >= r[d.ID].Version {
		r[d.ID] = *d
	}
}

var ignorePlace = cmpopts.IgnoreFields(schemas.MiningDetection{}, "Offset", "Updated")

func TestRedeliveryChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		matches := genMatches(t, 3000)
		want := rows{}
		f := NewFold(DefaultFoldConfig())
		for i, m := range matches {
			want.write(f.Add(m, 0, int64(i), m.Received))
		}
		// Second copies at places of their own, and rewinds to earlier offsets.
		got, topic := rows{}, []*schemas.Match{}
		for _, m := range matches {
			topic = append(topic, m)
			if rapid.Bool().Draw(t, "copied") {
				topic = append(topic, topic[rapid.IntRange(0, len(topic)-1).Draw(t, "copy of")])
			}
		}
		f = NewFold(DefaultFoldConfig())
		for next, rewinds := 0, 0; next < len(topic); next++ {
			got.write(f.Add(topic[next], 0, int64(next), topic[next].Received))
			if rewinds < 5 && rapid.IntRange(0, 9).Draw(t, "rewind?") == 0 {
				next = rapid.IntRange(-1, next).Draw(t, "rewind to")
				rewinds++
			}
		}
		if diff := cmp.Diff(want, got, ignorePlace); diff != "" {
			t.Fatal(diff)
		}
	})
}

func TestRestartChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		matches := genMatches(t, 0)
		want := rows{}
		f := NewFold(DefaultFoldConfig())
		for i, m := range matches {
			want.write(f.Add(m, 0, int64(i), m.Received))
		}
		// Written up to one place, committed up to an earlier one, and then killed.
		got := rows{}
		written := rapid.IntRange(0, len(matches)).Draw(t, "written")
		committed := rapid.IntRange(0, written).Draw(t, "committed")
		f = NewFold(DefaultFoldConfig())
		for i, m := range matches[:written] {
			got.write(f.Add(m, 0, int64(i), m.Received))
		}
		f = NewFold(DefaultFoldConfig())
		var seeds []schemas.MiningDetection
		for _, d := range got {
			seeds = append(seeds, d)
		}
		f.Seed(seeds)
		for i, m := range matches[:committed] {
			f.Warm(m, 0, int64(i))
		}
		for i, m := range matches[committed:] {
			got.write(f.Add(m, 0, int64(committed+i), m.Received))
		}
		if diff := cmp.Diff(want, got, ignorePlace); diff != "" {
			t.Fatal(diff)
		}
	})
}

// Confidence never falls, never passes its bounds, and does not depend on the
// order of the evidence.
func TestConfidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var evidence []schemas.MiningEvidence
		for range rapid.IntRange(1, 30).Draw(t, "n") {
			evidence = append(evidence, schemas.MiningEvidence{
				Kind: schemas.EvidenceKind(rapid.StringN(1, 1, 1).Draw(t, "kind")), Pool: rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "pool"),
				Weight: rapid.Float64Range(0.01, 0.99).Draw(t, "weight"),
			})
		}
		was, heaviest := 0.0, 0.0
		for i := range evidence {
			heaviest = max(heaviest, evidence[i].Weight)
			c := confidence(evidence[:i+1])
			if c < was || c > maxConfidence || heaviest < weakBelow && c > weakBelow {
				t.Fatalf("%v after %v, heaviest %v", c, was, heaviest)
			}
			was = c
		}
		if c := confidence(rapid.Permutation(evidence).Draw(t, "order")); c != was {
			t.Fatalf("%v in another order, %v before", c, was)
		}
	})
}

func BenchmarkFold(b *testing.B) {
	f := NewFold(DefaultFoldConfig())
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		i++
		add(f, match(fmt.Sprint(i), eventTime, fmt.Sprint(i%1000), schemas.MinerLogin, "a", weightLogin), int64(i))
	}
}
