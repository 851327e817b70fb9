package http

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	"google.golang.org/protobuf/proto"

	"fengsui/collector/input"
)

// drop is a sink for which everything is durable at once.
type drop struct{ lines int }

func (d *drop) Put(_ context.Context, lines []input.Line, done func()) error {
	d.lines += len(lines)
	done()
	return nil
}

// BenchmarkDialects serves requests of 1000 lines of about 300 bytes.
func BenchmarkDialects(b *testing.B) {
	doc := `{"@timestamp":"2026-11-22T03:10:47.123Z","message":"` + strings.Repeat("x", 240) + `"}`
	one := exported().ResourceLogs[0].ScopeLogs[0].LogRecords[0]
	var records []*logs.LogRecord
	for range 1000 {
		records = append(records, one)
	}
	otlpBody, err := proto.Marshal(&logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: records}}}}})
	if err != nil {
		b.Fatal(err)
	}
	f := func(name, path string, body []byte) {
		b.Run(name, func(b *testing.B) {
			in, err := New(open(func(c *Config) { c.Anonymous = true }), Deps{})
			if err != nil {
				b.Fatal(err)
			}
			sink := &drop{}
			in.sink = sink
			b.ReportAllocs()
			for b.Loop() {
				in.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body)))
			}
			if sink.lines != 1000*b.N {
				b.Fatalf("%d lines", sink.lines)
			}
			b.ReportMetric(float64(sink.lines)/b.Elapsed().Seconds(), "lines/s")
		})
	}
	f("lines", "/logs", []byte(strings.Repeat(doc+"\n", 1000)))
	f("bulk", "/_bulk", []byte(strings.Repeat("{\"create\":{}}\n"+doc+"\n", 1000)))
	f("hec", "/services/collector", []byte(strings.Repeat(`{"time":1763781047.5,"event":`+doc+"}", 1000)))
	f("otlp", "/v1/logs", otlpBody)
}
