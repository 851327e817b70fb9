package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"
	"pgregory.net/rapid"

	"fengsui/schemas"
)

// TestBatchIsWhatKafkaGoReads: our encoder against another's decoder.
func TestBatchIsWhatKafkaGoReads(t *testing.T) {
	optional := rapid.Custom(func(t *rapid.T) []byte {
		if rapid.Bool().Draw(t, "null") {
			return nil
		}
		return rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "bytes")
	})
	header := rapid.Custom(func(t *rapid.T) schemas.Header {
		return schemas.Header{Key: rapid.StringN(0, 10, 30).Draw(t, "name"), Value: optional.Draw(t, "value")}
	})
	record := rapid.Custom(func(t *rapid.T) Record {
		r := Record{Key: optional.Draw(t, "key"), Value: optional.Draw(t, "value")}
		if n := rapid.IntRange(0, 3).Draw(t, "headers"); n > 0 {
			r.Headers = rapid.SliceOfN(header, n, n).Draw(t, "headers")
		}
		return r
	})
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.SliceOfN(record, 1, 50).Draw(t, "records")
		codec := rapid.SampledFrom([]compress.Compression{compress.None, compress.Gzip, compress.Snappy, compress.Lz4, compress.Zstd}).Draw(t, "codec")
		now := time.UnixMilli(rapid.Int64Range(1, 1<<41).Draw(t, "now"))
		b, err := appendBatch(nil, in, now, codec)
		if err != nil {
			t.Fatal(err)
		}
		var set protocol.RecordSet
		if _, err := set.ReadFrom(io.MultiReader(bytes.NewReader(binary.BigEndian.AppendUint32(nil, uint32(len(b)))), bytes.NewReader(b))); err != nil {
			t.Fatalf("%s: %v", codec, err)
		}
		r := &reader{}
		var f fetched
		if err := r.read(set.Records, &f); err != nil {
			t.Fatal(err)
		}
		if f.next != int64(len(in)) {
			t.Fatalf("goes on from %d after %d records", f.next, len(in))
		}
		for i := range in {
			in[i].Offset, in[i].Time = int64(i), now
		}
		if d := cmp.Diff(in, f.records, cmp.Comparer(time.Time.Equal)); d != "" {
			t.Fatalf("%s: %s", codec, d)
		}
	})
}

// TestPartitionOf: the values of Kafka's own UtilsTest.
func TestPartitionOf(t *testing.T) {
	f := func(key string, want int32) {
		t.Helper()
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("murmur2(%q) = %d, want %d", key, got, want)
		}
		theirs := kafkago.Murmur2Balancer{}.Balance(kafkago.Message{Key: []byte(key)}, 0, 1, 2, 3, 4, 5, 6)
		if got := partitionOf([]byte(key), 7); got != theirs {
			t.Errorf("partition of %q is %d, kafka-go says %d", key, got, theirs)
		}
	}
	f("21", -973932308)
	f("foobar", -790332482)
	f("a-little-bit-long-string", -985981536)
	f("a-little-bit-longer-string", -1486304829)
	f("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971)
	f("abc", 479470107)
}

func TestCut(t *testing.T) {
	f := func(limit int, sizes []int, want int) {
		t.Helper()
		rs := make([]Record, len(sizes))
		for i, n := range sizes {
			rs[i].Value = make([]byte, n-32)
		}
		if got := cut(rs, limit); got != want {
			t.Errorf("cut(%v, %d) = %d, want %d", sizes, limit, got, want)
		}
	}
	f(100, []int{50}, 1)
	f(100, []int{50, 50}, 2)
	f(100, []int{50, 51}, 1)
	f(100, []int{500, 50}, 1) // one at least
	f(100, []int{40, 40, 40}, 2)
}

// TestAfter: what is given back keeps its order over all partitions.
func TestAfter(t *testing.T) {
	rs := make([]Record, 6)
	for i := range rs {
		rs[i].Offset = int64(i)
	}
	d := divided{where: []int{0, 1, 0, 1, 1, 0}}
	f := func(acked []int, want ...int64) {
		t.Helper()
		var got []int64
		for _, r := range d.after(rs, acked) {
			got = append(got, r.Offset)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("after(%v): %s", acked, d)
		}
	}
	f([]int{0, 0}, 0, 1, 2, 3, 4, 5)
	f([]int{1, 2}, 2, 4, 5)
	f([]int{3, 0}, 1, 3, 4)
	f([]int{3, 3})
}

func TestConfig(t *testing.T) {
	f := func(change func(*Config), want string) {
		t.Helper()
		cfg := DefaultConfig()
		change(&cfg)
		err := cfg.Validate()
		if want == "" && err != nil {
			t.Errorf("refused: %v", err)
		}
		if want != "" && (err == nil || !bytes.Contains([]byte(err.Error()), []byte(want))) {
			t.Errorf("says %v, want %q in it", err, want)
		}
		if _, nerr := NewProducer(cfg, Deps{}); (nerr == nil) != (err == nil) {
			t.Errorf("NewProducer says %v, Validate %v", nerr, err)
		}
	}
	f(func(*Config) {}, "")
	f(func(c *Config) { c.Compression = "zstd"; c.SASL = SASLConfig{"scram-sha-512", "u", "p"} }, "")
	f(func(c *Config) { c.Brokers = nil }, "at least one")
	f(func(c *Config) { c.Brokers = []string{"kafka"} }, "not host:port")
	f(func(c *Config) { c.Compression = "brotli" }, "compression")
	f(func(c *Config) { c.Timeout = 0 }, "timeout")
	f(func(c *Config) { c.TLS.Cert = "x" }, "go together")
	f(func(c *Config) { c.SASL.Mechanism = "gssapi" }, "mechanism")
	f(func(c *Config) { c.SASL.Mechanism = "plain" }, "username")
}

// TestReadSteps: batches that hold nothing for us are stepped over.
func TestReadSteps(t *testing.T) {
	f := func(name string, offset, want int64, n int, batches ...protocol.RecordReader) {
		t.Helper()
		r := &reader{offset: offset}
		got := fetched{next: offset}
		if err := r.read(&protocol.RecordStream{Records: batches}, &got); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		if got.next != want || len(got.records) != n {
			t.Errorf("%s: goes on from %d with %d records, want %d with %d", name, got.next, len(got.records), want, n)
		}
	}
	records := func(base int64, offsets ...int64) protocol.RecordReader {
		var rs []protocol.Record
		for _, o := range offsets {
			rs = append(rs, protocol.Record{Offset: o, Value: protocol.NewBytes([]byte("x"))})
		}
		return &protocol.RecordBatch{BaseOffset: base, Records: protocol.NewRecordReader(rs...)}
	}
	mark := func(offset int64) protocol.RecordReader {
		b := protocol.NewControlBatch(protocol.ControlRecord{Offset: offset})
		b.BaseOffset = offset
		return b
	}
	f("records", 5, 8, 3, records(5, 5, 6, 7))
	f("a batch that begins before", 6, 8, 2, records(5, 5, 6, 7))
	f("compacted away", 5, 11, 2, records(5, 9, 10))
	f("an emptied batch", 5, 6, 0, records(5))
	f("a transaction's mark", 5, 6, 0, mark(5))
	f("records and a mark", 5, 8, 2, records(5, 5, 6), mark(7))
}
