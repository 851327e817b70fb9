package clickhouse

import (
	"fmt"
	"testing"

	"fengsui/schemas"
)

// BenchmarkEncode is the client's own work for a batch, without a server.
func BenchmarkEncode(b *testing.B) {
	events := benchEvents(10_000)
	batch := NewEventBatch()
	b.ReportAllocs()
	for b.Loop() {
		batch.Reset()
		for i := range events {
			batch.Add(&events[i], 0, int64(i))
		}
		batch.prepare(ingested)
		batch.block.encode()
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(len(batch.block.out))/10_000, "B/row")
}

// BenchmarkInsertEvents is rows acknowledged by the embedded store, with one
// writer: rows/s.
func BenchmarkInsertEvents(b *testing.B) {
	for _, n := range []int{10_000, 50_000} {
		b.Run(fmt.Sprintf("rows=%d", n), func(b *testing.B) {
			db := open(b)
			events := benchEvents(n)
			batch := NewEventBatch()
			token := 0
			for b.Loop() {
				batch.Reset()
				for i := range events {
					batch.Add(&events[i], 0, int64(i))
				}
				token++
				if err := db.InsertEvents(b.Context(), batch, ingested, fmt.Sprint(token)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "rows/s")
		})
	}
}

func benchEvents(n int) []schemas.Event {
	events := make([]schemas.Event, n)
	for i := range events {
		sshd(&events[i], i)
	}
	return events
}
