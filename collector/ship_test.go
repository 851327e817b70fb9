package collector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"fengsui/collector/input"
	"fengsui/collector/spool"
	"fengsui/internal/kafka"
	"fengsui/schemas"
)

// moody is a Kafka of three partitions that at times takes only the first few
// records for each, or takes them and does not say so, or finds one too large.
type moody struct {
	limit      int
	draw       func(n int) int // 0 to n
	partitions [3][]kafka.Record
}

func (m *moody) TryProduce(_ context.Context, _ string, records []kafka.Record) (unacked []kafka.Record, err error) {
	var stopped [3]bool
	for _, r := range records {
		p := int(r.Key[0]) % 3
		if stopped[p] {
			unacked = append(unacked, r)
			continue
		}
		if len(r.Value) > m.limit {
			stopped[p] = true
			unacked = append(unacked, r)
			err = errors.Join(err, kafka.ErrRecordTooLarge)
			continue
		}
		switch m.draw(20) {
		case 0: // not taken
			stopped[p] = true
			unacked = append(unacked, r)
			if err == nil {
				err = errors.New("away")
			}
			continue
		case 1: // taken, and the answer lost
			stopped[p] = true
			unacked = append(unacked, r)
			if err == nil {
				err = errors.New("away")
			}
		}
		r.Key, r.Value, r.Encoded = bytes.Clone(r.Key), bytes.Clone(r.Value), bytes.Clone(r.Encoded) // theirs again when we return
		m.partitions[p] = append(m.partitions[p], r)
	}
	return unacked, err
}

// TestShippingModel: whatever Kafka's moods, a consumer that follows the rule of
// schemas.Origin stores each line once and in its order.
func TestShippingModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp("", "ship")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		disk, err := spool.Open(filepath.Join(dir, "spool"), 64<<20)
		if err != nil {
			t.Fatal(err)
		}
		defer disk.Close()
		m, err := newMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		k := &moody{limit: 2000, draw: func(n int) int { return rapid.IntRange(0, n).Draw(t, "mood") }}
		s := &shipper{topic: "logs", stream: "c", producer: k, spool: disk, queue: newQueue(64 << 20), metrics: m, accounts: newAccounts(), log: slog.New(slog.DiscardHandler)}
		s.quiet.Log = s.log
		s.begin()
		defer s.endSend()
		defer s.endSpool()
		told := 0 // the last line whose sender was told that it is safe
		put := func(b batch) {
			m.queued.Add(int64(len(b.lines)))
			if err := s.queue.put(context.Background(), b); err != nil {
				t.Fatal(err)
			}
		}
		storeOne := func() { s.store(<-s.ready) }
		drainSome := func() {
			if disk.Len() == 0 {
				return
			}
			b, err := disk.Take(context.Background(), rapid.IntRange(0, 3000).Draw(t, "bytes"))
			if err != nil {
				t.Fatal(err)
			}
			records, err := decodeRecords(b.Records)
			if err != nil {
				t.Fatal(err)
			}
			all := records
			for len(records) > 0 {
				if records, err = s.send(context.Background(), records, "spool"); err == nil {
					break
				}
			}
			if err := disk.Commit(b); err != nil {
				t.Fatal(err)
			}
			s.accounts.drained(all)
		}
		sent := map[string]int64{}
		in := &InputConfig{Name: "net", Unit: "41", Format: "auto"}
		n := 0
		for range rapid.IntRange(1, 15).Draw(t, "steps") {
			for len(s.free) == 0 || len(s.ready) > 0 && rapid.Bool().Draw(t, "store") {
				storeOne()
			}
			var lines []input.Line
			for range rapid.IntRange(1, 30).Draw(t, "lines") {
				value := fmt.Appendf(nil, "%d ", n)
				if rapid.IntRange(0, 30).Draw(t, "large") == 0 {
					value = append(value, bytes.Repeat([]byte("x"), 5000)...)
				}
				lines = append(lines, input.Line{Value: value, Source: string(rune('a' + rapid.IntRange(0, 5).Draw(t, "source")))})
				sent[lines[len(lines)-1].Source]++
				n++
			}
			runs, number := runsOf(in, lines), n
			s.accounts.received(runs, 1)
			put(batch{input: in, lines: lines, runs: runs, done: func() {
				if number <= told {
					t.Fatalf("told of line %d after %d", number, told)
				}
				told = number
			}})
			p := <-s.free
			p.batches = s.queue.take(takeLines, takeWeight)
			s.fill(p)
			s.deliver(p)
			ready := int64(0)
			for _, a := range s.accounts.all() {
				if a.Received != sent[a.Source] || a.Received != a.Shipped+a.Spooled+a.Queued || a.Lost != 0 {
					t.Fatalf("%d lines of %s, and in the books %+v", sent[a.Source], a.Source, a)
				}
				ready += a.Queued
			}
			if (ready > 0) != (len(s.ready) > 0) || ready == 0 && told != n || ready != m.queued.Load() {
				t.Fatalf("%d lines wait for the disk in %d parcels, %d are queued; told of %d lines of %d", ready, len(s.ready), m.queued.Load(), told, n)
			}
			for range rapid.IntRange(0, 2).Draw(t, "drains") {
				drainSome()
			}
		}
		for len(s.ready) > 0 {
			storeOne()
		}
		for disk.Len() > 0 {
			drainSome()
		}
		if told != n {
			t.Fatalf("told of %d of %d lines", told, n)
		}
		for _, a := range s.accounts.all() {
			if a.Drained != a.Spooled {
				t.Fatalf("the spool is empty, and in the books %+v", a)
			}
		}
		stored := 0
		for p, records := range k.partitions {
			last, number := uint64(0), -1
			for _, r := range records {
				headers, err := r.AllHeaders()
				if err != nil {
					t.Fatal(err)
				}
				o, err := schemas.ParseOrigin(headers, "logs", p, 0, time.Time{})
				if err != nil {
					t.Fatal(err)
				}
				if o.Seq <= last {
					continue
				}
				last = o.Seq
				stored++
				var got int
				if _, err := fmt.Sscan(string(r.Value), &got); err != nil || got <= number {
					t.Fatalf("line %d after %d: %v", got, number, err)
				}
				number = got
				if (o.Reject != "") != (len(r.Value) > 100) {
					t.Fatalf("%d bytes with reject %q", len(r.Value), o.Reject)
				}
			}
		}
		if stored != n {
			t.Fatalf("%d lines stored of %d", stored, n)
		}
	})
}

// TestStamp: what a record's headers say is the line's origin, whatever the lines
// before it were.
func TestStamp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s stamper
		word := rapid.SampledFrom([]string{"", "a", "b", strings.Repeat("c", 200)})
		for range rapid.IntRange(1, 5).Draw(t, "batches") {
			s.begin()
			var want []schemas.Origin
			var got []kafka.Record
			for range rapid.IntRange(1, 8).Draw(t, "lines") {
				o := schemas.Origin{
					Stream: "s" + word.Draw(t, "stream"), Seq: rapid.Uint64().Draw(t, "seq"), Unit: word.Draw(t, "unit"), Source: word.Draw(t, "source"),
					Input: word.Draw(t, "input"), Format: word.Draw(t, "format"), Received: time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "received")).UTC(),
					Drill: rapid.Bool().Draw(t, "drill"), Preamble: word.Draw(t, "preamble"), Reject: word.Draw(t, "reject"),
				}
				key, headers := s.stamp(&o)
				want, got = append(want, o), append(got, kafka.Record{Key: key, Encoded: headers})
			}
			for i, o := range want {
				headers, err := got[i].AllHeaders()
				if err != nil {
					t.Fatal(err)
				}
				back, err := schemas.ParseOrigin(headers, "logs", 0, 0, time.Time{})
				if err != nil || back != o || string(got[i].Key) != o.Source {
					t.Fatalf("%+v became %+v with key %q (%v)", o, back, got[i].Key, err)
				}
			}
		}
	})
}

func TestRecordRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		blob := rapid.SliceOf(rapid.Byte())
		r := kafka.Record{Key: blob.Draw(t, "key"), Value: blob.Draw(t, "value")}
		for range rapid.IntRange(0, 12).Draw(t, "headers") {
			r.Headers = append(r.Headers, schemas.Header{Key: rapid.String().Draw(t, "name"), Value: blob.Draw(t, "header")})
		}
		got, err := decodeRecord(appendRecord(nil, &r))
		if err != nil {
			t.Fatal(err)
		}
		if got.Headers, err = got.AllHeaders(); err != nil {
			t.Fatal(err)
		}
		same := bytes.Equal(got.Key, r.Key) && bytes.Equal(got.Value, r.Value) &&
			slices.EqualFunc(got.Headers, r.Headers, func(a, b schemas.Header) bool { return a.Key == b.Key && bytes.Equal(a.Value, b.Value) })
		if !same {
			t.Fatalf("%+v became %+v", r, got)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add(appendRecord(nil, &kafka.Record{Key: []byte("k"), Value: []byte("v"), Headers: []schemas.Header{{Key: "a", Value: []byte("b")}}}))
	f.Add([]byte{recordVersion1, 1, 'k', 1, 'v', 1, 1, 'a', 1, 'b'}) // as before there was version 2
	f.Add([]byte{recordVersion1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord(b)
		if err != nil {
			return
		}
		again, err := decodeRecord(appendRecord(nil, &r))
		if err != nil || !bytes.Equal(again.Value, r.Value) {
			t.Fatalf("%q: %v", b, err)
		}
		before, _ := r.AllHeaders()
		after, err := again.AllHeaders()
		if err != nil || len(before) != len(after) {
			t.Fatalf("%q: %d headers became %d: %v", b, len(before), len(after), err)
		}
	})
}
