package analyzer

import (
	"fmt"
	"testing"
	"time"

	"fengsui/analyzer/correlate"
	"fengsui/analyzer/match"
	"fengsui/analyzer/parse"
	"fengsui/rules"
	"fengsui/schemas"
)

// login is an event that two of the shipped correlations count: one of many, by
// number.
func login(tb testing.TB, i int) *schemas.Event {
	tb.Helper()
	at := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC).Add(time.Duration(i) * 10 * time.Microsecond)
	ev := &schemas.Event{
		Origin: schemas.Origin{
			Stream: "collector-1/syslog-1732262400", Seq: uint64(i), Unit: "10001", Source: "192.0.2.7", Input: "syslog", //nolint:gosec // not negative
			Format: "syslog", Received: at.Add(30 * time.Millisecond),
		},
		Original: fmt.Sprintf("<86>1 %s host%d.campus.example.edu.cn sshd %d - - Accepted publickey for student%d from 198.51.100.%d port %d ssh2: ED25519 SHA256:Zk3w0RrX0bS7aVb1yq2c9Jm4uT5pLd8oQnE6fGhIjKl",
			at.Format("2006-01-02T15:04:05.000000Z"), i%200, i, i%5000, i%250, 1024+i%60000),
	}
	if err := parse.Parse(ev); err != nil {
		tb.Fatal(err)
	}
	settle(ev)
	return ev
}

func shippedEngine(tb testing.TB) *match.Engine {
	tb.Helper()
	rs, errs := rules.Shipped()
	if len(errs) > 0 {
		tb.Fatal(errs[0])
	}
	e, _ := match.Compile(rs, match.Options{})
	return e
}

// BenchmarkMatch is the way of the matches of one login, of which there are two:
// making them, encoding, decoding and counting them.
func BenchmarkMatch(b *testing.B) {
	engine := shippedEngine(b)
	const events = 10_000
	var (
		evs     [events]*schemas.Event
		all     []schemas.Match
		enc     schemas.MatchEncoder
		dec     schemas.MatchDecoder
		records [][]byte
		size    int
	)
	for i := range evs {
		evs[i] = login(b, i)
		engine.Match(evs[i], func(h match.Hit) { all = append(all, h.ToMatch(evs[i])) })
	}
	if len(all) != 2*events {
		b.Fatalf("%d matches of %d logins", len(all), events)
	}
	for i := range all {
		record, err := enc.Append(nil, &all[i])
		if err != nil {
			b.Fatal(err)
		}
		records, size = append(records, record), size+len(record)
	}
	each := func(name string, f func(i int)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				f(i)
			}
		})
	}
	each("match", func(i int) { engine.Match(evs[i%events], func(match.Hit) {}) })
	each("make", func(i int) {
		engine.Match(evs[i%events], func(h match.Hit) { h.ToMatch(evs[i%events]) })
	})
	var buf []byte
	each("encode", func(i int) {
		for k := range 2 {
			var err error
			if buf, err = enc.Append(buf[:0], &all[(2*i+k)%len(all)]); err != nil {
				b.Fatal(err)
			}
		}
	})
	var m schemas.Match
	each("decode", func(i int) {
		for k := range 2 {
			if err := dec.Decode(records[(2*i+k)%len(records)], &m); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("fold", func(b *testing.B) {
		fold, later := correlate.New(correlate.DefaultConfig()), time.Duration(0)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if i%events == 0 {
				later += time.Duration(events) * 10 * time.Microsecond
			}
			for k := range 2 {
				m := all[(2*i+k)%len(all)]
				m.Time, m.Received = m.Time.Add(later), m.Received.Add(later)
				m.EventID = fmt.Sprintf("collector-1/syslog-1732262400-%d", i)
				fold.Add(&m, 0, int64(2*i+k), m.Time)
			}
		}
	})
	b.Logf("%d bytes a match, such as %q", size/len(records), records[0])
}
