package schemas

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

// sameMatch compares matches as they are told: a time with its offset, whatever
// the zone is called.
var sameMatch = cmp.Options{
	cmpopts.EquateEmpty(),
	cmp.Comparer(func(a, b time.Time) bool {
		return a.Equal(b) && a.Format(time.RFC3339Nano) == b.Format(time.RFC3339Nano)
	}),
}

// anyText is often short, sometimes not UTF-8.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.SampledFrom([]string{"", "", "a", "198.51.100.7", "登录成功 / login", "\xff\xfe", "x\xc3y", "\x00", "<&>\u2028", strings.Repeat("long ", 100)}), rapid.String())
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		at := time.Unix(rapid.Int64Range(-6e10, 2e11).Draw(t, "seconds"), rapid.Int64Range(0, 1e9-1).Draw(t, "nanoseconds"))
		return at.In(time.FixedZone("", 60*rapid.SampledFrom([]int{0, 0, 480, 480, 345, -210, 1439, -1439}).Draw(t, "minutes east")))
	})
}

func anyNumber() *rapid.Generator[float64] {
	return rapid.OneOf(rapid.Float64Range(-1e300, 1e300), rapid.SampledFrom([]float64{0, math.Copysign(0, -1), 1, math.MaxFloat64, math.SmallestNonzeroFloat64}))
}

func anyCorrelation() *rapid.Generator[*Correlation] {
	return rapid.Custom(func(t *rapid.T) *Correlation {
		if rapid.Bool().Draw(t, "none") {
			return nil
		}
		return &Correlation{
			Type: rapid.SampledFrom([]CorrelationType{EventCount, ValueCount, TemporalOrdered, ""}).Draw(t, "type"), Timespan: time.Duration(rapid.Int64().Draw(t, "timespan")),
			Condition: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Comparison {
				return Comparison{Op: anyText().Draw(t, "op"), Value: anyNumber().Draw(t, "value")}
			}), 0, 2).Draw(t, "condition"),
			Logic: anyText().Draw(t, "logic"), Percentile: anyNumber().Draw(t, "percentile"), Field: anyText().Draw(t, "field"),
			Rules: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) BaseRule {
				return BaseRule{Name: anyText().Draw(t, "name"), Title: anyText().Draw(t, "title")}
			}), 0, 3).Draw(t, "rules"),
			Silent: rapid.Bool().Draw(t, "silent"), Version: anyText().Draw(t, "version"),
		}
	})
}

func anyMatch(depth int) *rapid.Generator[Match] {
	return rapid.Custom(func(t *rapid.T) Match {
		m := Match{
			Kind:    rapid.SampledFrom([]MatchKind{MatchRule, MatchRule, MatchMining, "", "other"}).Draw(t, "kind"),
			EventID: anyText().Draw(t, "event"), Time: anyTime().Draw(t, "time"), Received: anyTime().Draw(t, "received"),
			Unit: anyText().Draw(t, "unit"), Host: anyText().Draw(t, "host"),
			Rule: Rule{
				ID: rapid.SampledFrom([]string{"", "1", "2"}).Draw(t, "rule"), Title: anyText().Draw(t, "title"), Level: Level(anyText().Draw(t, "level")),
				Tags: rapid.SliceOfN(anyText(), 0, 2).Draw(t, "tags"),
			},
			Group: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) GroupValue {
				return GroupValue{Field: anyText().Draw(t, "field"), Value: anyText().Draw(t, "value")}
			}), 0, 3).Draw(t, "group"),
			Quiet: time.Duration(rapid.Int64().Draw(t, "quiet")),
			Satisfied: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Satisfied {
				return Satisfied{anyText().Draw(t, "selection"), anyText().Draw(t, "field"), anyText().Draw(t, "value")}
			}), 0, 3).Draw(t, "satisfied"),
			Summary: anyText().Draw(t, "summary"), Drill: rapid.Bool().Draw(t, "drill"),
			Correlation: anyCorrelation().Draw(t, "correlation"), Base: rapid.IntRange(-1, 3).Draw(t, "base"), From: anyText().Draw(t, "from"),
			Values: rapid.SliceOfN(anyText(), 0, 3).Draw(t, "values"), Numbers: rapid.SliceOfN(anyNumber(), 0, 3).Draw(t, "numbers"),
		}
		if rapid.IntRange(0, 4).Draw(t, "mines") == 0 {
			m.Mining = &MiningEvidence{
				Kind: PoolDomainDNS, EventID: anyText().Draw(t, "evidence's event"), Time: anyTime().Draw(t, "evidence's time"),
				Pool: anyText().Draw(t, "pool"), Port: rapid.Int().Draw(t, "port"), Weight: anyNumber().Draw(t, "weight"),
			}
		}
		if depth > 0 {
			m.Next = rapid.SliceOfN(anyMatch(depth-1), 0, 2).Draw(t, "next")
		}
		return m
	})
}

// TestMatchCodec: what is encoded is decoded as JSON would have kept it, whatever
// was encoded before by the same encoder, and whether the definition is known.
func TestMatchCodec(t *testing.T) {
	var enc MatchEncoder
	var dec MatchDecoder
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfN(anyMatch(2), 1, 4).Draw(t, "matches")
		for i := range 2 * len(all) { // each again, of a definition that is known
			m := all[i%len(all)]
			text, err := json.Marshal(&m)
			if err != nil {
				t.Fatal(err)
			}
			var want, got Match
			if err := json.Unmarshal(text, &want); err != nil {
				t.Fatal(err)
			}
			record, err := enc.Append([]byte("before"), &m)
			if err != nil {
				t.Fatal(err)
			}
			record = record[len("before"):]
			if err := dec.Decode(record, &got); err != nil {
				t.Fatal(err)
			}
			clear(record) // nothing of it is kept
			if d := cmp.Diff(want, got, sameMatch); d != "" {
				t.Fatal(d)
			}
			if got.ID() != want.ID() || got.Key() != want.Key() {
				t.Fatalf("id and key %q %q, want %q %q", got.ID(), got.Key(), want.ID(), want.Key())
			}
			if err := dec.Decode(text, &got); err != nil { // the form before
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got, sameMatch); d != "" {
				t.Fatal(d)
			}
		}
	})
}

func counted(rule, id string) *Match {
	return &Match{
		Kind: MatchRule, EventID: id, Time: time.Unix(1795334400, 5e8).UTC(), Rule: Rule{ID: rule, Title: "登录 / login", Level: High, Tags: []string{"attack.t1078"}},
		Group:       []GroupValue{{"host.name", "web1"}, {"source.ip", "198.51.100.7"}},
		Correlation: &Correlation{Type: EventCount, Timespan: time.Hour, Condition: []Comparison{{"gte", 10}}, Rules: []BaseRule{{Name: "login"}}, Version: "v1"},
		Satisfied:   []Satisfied{{"selection", "event.action", "login"}},
		Next:        []Match{{From: rule, Rule: Rule{ID: rule + "+"}, Group: []GroupValue{{"host.name", "web1"}}}},
	}
}

// TestMatchDefinitions: records of one definition share it, a changed one is
// another, and one that is too large goes as JSON.
func TestMatchDefinitions(t *testing.T) {
	var enc MatchEncoder
	var dec MatchDecoder
	pass := func(m *Match) (got Match, record []byte) {
		t.Helper()
		record, err := enc.Append(nil, m)
		if err == nil {
			err = dec.Decode(record, &got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, &got, sameMatch); d != "" {
			t.Fatal(d)
		}
		return got, record
	}
	m := counted("r", "e-1")
	a, _ := pass(m)
	m.EventID, m.Group[1].Value = "e-2", "198.51.100.8"
	b, record := pass(m)
	if a.Correlation != b.Correlation || &a.Rule.Tags[0] != &b.Rule.Tags[0] {
		t.Error("the same definition was read twice")
	}
	if a.EventID != "e-1" || a.Group[1].Value != "198.51.100.7" {
		t.Errorf("the second match changed the first: %+v", a)
	}
	for what, change := range map[string]func(m *Match){
		"correlation": func(m *Match) { c := *m.Correlation; c.Version, c.Silent = "v2", true; m.Correlation = &c },
		"title":       func(m *Match) { m.Rule.Title = "other" },
		"tags":        func(m *Match) { m.Rule.Tags = []string{"attack.t1110"} },
		"group":       func(m *Match) { m.Group[0].Field = "user.name" },
		"quiet":       func(m *Match) { m.Quiet = time.Minute },
		"next":        func(m *Match) { m.Next[0].Rule.Level = Low },
		"no next":     func(m *Match) { m.Next = nil },
	} {
		changed := counted("r", what)
		change(changed)
		if _, r := pass(changed); string(definitionOf(r)) == string(definitionOf(record)) {
			t.Errorf("%s: the definition did not change", what)
		}
	}
	large := counted("r", "e-3")
	large.Rule.Title = strings.Repeat("x", maxDefinition)
	if _, r := pass(large); r[0] != '{' {
		t.Errorf("a definition of %d bytes is written as %d", maxDefinition, r[0])
	}
	many := counted("r", "e-4")
	many.Next = make([]Match, maxNext+1)
	if _, r := pass(many); r[0] != '{' {
		t.Errorf("%d matches below one are written as %d", len(many.Next), r[0])
	}
	for i := range maxShapes { // as many as are remembered
		enc.shapes[shapeKey{rule: fmt.Sprint(i)}] = &shape{}
	}
	dec.bytes = maxShapeBytes
	if pass(counted("one more", "e-5")); len(enc.shapes) != 1 || len(dec.shapes) != 1 {
		t.Errorf("%d and %d definitions are remembered", len(enc.shapes), len(dec.shapes))
	}
}

func definitionOf(record []byte) []byte {
	r := bodyReader{text: string(record[1:])}
	return []byte(r.text[:r.number()])
}

// TestMatchRefused: a record that cannot be read is refused with the reason, and
// what no reader could take is not written.
func TestMatchRefused(t *testing.T) {
	var enc MatchEncoder
	good, err := enc.Append(nil, counted("r", "e-1"))
	if err != nil {
		t.Fatal(err)
	}
	f := func(record []byte, want string, later bool) {
		t.Helper()
		err := (&MatchDecoder{}).Decode(record, &Match{})
		if err == nil || !strings.Contains(err.Error(), want) || errors.Is(err, ErrMatchVersion) != later {
			t.Errorf("%.20q: %v, want %q", record, err, want)
		}
	}
	f(nil, "empty", false)
	f([]byte{2}, "later version", true)
	f([]byte("[]"), "later version", true) // no brace, no version of ours
	f([]byte("{"), "unexpected end", false)
	f(append(good[:len(good):len(good)], 0), "1 bytes after the end", false)
	for n := 1; n < len(good); n++ {
		if err := (&MatchDecoder{}).Decode(good[:n], &Match{}); err == nil {
			t.Errorf("the first %d of %d bytes were read", n, len(good))
		}
	}
	definition := append([]byte{matchVersion}, good[1:1+1+len(definitionOf(good))]...)
	if len(definitionOf(good)) > 127 {
		definition = append([]byte{matchVersion}, good[1:1+2+len(definitionOf(good))]...)
	}
	body := func(b ...byte) []byte { return append(definition[:len(definition):len(definition)], b...) }
	f(body(0x80, 0x80, 0x01), "later version", true)                    // parts
	f(body(hasEventID, 1, 0xff), "UTF-8", false)                        // text
	f(body(hasTime, 0, 0x80, 0x94, 0xeb, 0xdc, 0x03, 0), "none", false) // 1e9 nanoseconds

	refused := func(m *Match, want string) {
		t.Helper()
		if out, err := enc.Append([]byte("x"), m); err == nil || !strings.Contains(err.Error(), want) || string(out) != "x" {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused(&Match{Numbers: []float64{math.NaN()}}, "NaN")
	refused(&Match{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}, "10000")
	refused(&Match{Next: []Match{{Received: time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC)}}}, "-1")
	refused(&Match{Correlation: &Correlation{Percentile: math.Inf(1)}}, "Inf")
	refused(&Match{Mining: &MiningEvidence{Weight: math.NaN()}}, "NaN")
}

// FuzzMatchDecode: any bytes are refused or are a match that is encoded and
// decoded the same.
func FuzzMatchDecode(f *testing.F) {
	var enc MatchEncoder
	for _, m := range []*Match{counted("r", "e-1"), {Kind: MatchMining, Mining: &MiningEvidence{Kind: PoolPort, Weight: 0.2}}, {Numbers: []float64{1.5}, Values: []string{"a"}}} {
		record, err := enc.Append(nil, m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(record)
		text, err := json.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, record []byte) {
		var enc MatchEncoder
		var dec MatchDecoder
		var m, again Match
		if dec.Decode(record, &m) != nil {
			return
		}
		record, err := enc.Append(nil, &m)
		if err != nil {
			t.Fatalf("%+v was read but cannot be written: %v", m, err)
		}
		if err := dec.Decode(record, &again); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(m, again, sameMatch); d != "" {
			t.Fatal(d)
		}
	})
}
