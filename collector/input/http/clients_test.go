package http

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/elastic/go-elasticsearch/v8/esutil"
	otel "go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploghttp"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"

	"fengsui/collector/input/listen"
	"fengsui/collector/input/listen/listentest"
)

// secure is a server behind TLS, and the authority that has signed for it.
func secure(t *testing.T, change func(*Config)) (*server, *listentest.Authority) {
	t.Helper()
	a := listentest.NewAuthority(t)
	cert, key := a.Issue("collector.test")
	s := serve(t, open(func(c *Config) {
		c.TLS = listen.TLS{Cert: cert, Key: key}
		if change != nil {
			change(c)
		}
	}))
	s.url = strings.Replace(s.url, "http:", "https:", 1)
	return s, a
}

// TestElasticClient ships with Elastic's own client, which looks whether it is
// Elasticsearch that answers, in compressed _bulk requests, while the collector is
// full at first: it comes again by itself.
func TestElasticClient(t *testing.T) {
	s, a := secure(t, func(c *Config) { c.Wait = 200 * time.Millisecond })
	transport := &http.Transport{TLSClientConfig: a.Client("")}
	defer transport.CloseIdleConnections()
	var again atomic.Int64
	client, err := elasticsearch.NewClient(elasticsearch.Config{
		Addresses: []string{s.url}, Username: "beat", Password: secret, Transport: transport, CompressRequestBody: true,
		RetryOnStatus: []int{429, 503}, MaxRetries: 100,
		RetryBackoff: func(attempt int) time.Duration {
			if again.Add(1); attempt == 2 {
				s.sink.Full(false)
			}
			return 20 * time.Millisecond
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Info()
	if err != nil || answer.IsError() {
		t.Fatalf("it is not taken for Elasticsearch: %v %v", answer, err)
	}
	_ = answer.Body.Close()
	s.sink.Full(true)
	bulk, err := esutil.NewBulkIndexer(esutil.BulkIndexerConfig{
		Client: client, Index: "logs-campus", NumWorkers: 2, FlushBytes: 8 << 10,
		OnError: func(_ context.Context, err error) { t.Errorf("a request failed: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 3000
	var failed atomic.Int64
	for i := range n {
		err := bulk.Add(t.Context(), esutil.BulkIndexerItem{
			Action: "create", Body: strings.NewReader(fmt.Sprintf(`{"message":"第 %d 行","n":%d}`, i, i)),
			OnFailure: func(context.Context, esutil.BulkIndexerItem, esutil.BulkIndexerResponseItem, error) { failed.Add(1) },
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := bulk.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats := bulk.Stats(); stats.NumFlushed != n || stats.NumFailed != 0 || failed.Load() != 0 || again.Load() < 2 {
		t.Errorf("%+v, %d failed, came again %d times", stats, failed.Load(), again.Load())
	}
	seen := map[int]bool{}
	for _, l := range s.sink.Lines() {
		var doc struct {
			Message string
			N       int
		}
		if err := json.Unmarshal(l.Value, &doc); err != nil || doc.Message != fmt.Sprintf("第 %d 行", doc.N) || l.Unit != "410105" {
			t.Fatalf("%s of unit %q: %v", l.Value, l.Unit, err)
		}
		if seen[doc.N] {
			t.Errorf("document %d is there twice", doc.N)
		}
		seen[doc.N] = true
	}
	if len(seen) != n {
		t.Errorf("%d of %d documents", len(seen), n)
	}
	s.balanced()
}

// TestOTLPExporter ships with OpenTelemetry's own SDK and exporter, compressed, while
// the collector is full at first.
func TestOTLPExporter(t *testing.T) {
	s, a := secure(t, func(c *Config) { c.Wait = 200 * time.Millisecond })
	s.sink.Full(true)
	transport := &http.Transport{TLSClientConfig: a.Client("")}
	defer transport.CloseIdleConnections()
	exporter, err := otlploghttp.New(t.Context(),
		otlploghttp.WithEndpointURL(s.url+"/v1/logs"), otlploghttp.WithHTTPClient(&http.Client{Transport: transport}),
		otlploghttp.WithHeaders(map[string]string{"Authorization": "Bearer " + secret}), otlploghttp.WithCompression(otlploghttp.GzipCompression),
		otlploghttp.WithRetry(otlploghttp.RetryConfig{Enabled: true, InitialInterval: 20 * time.Millisecond, MaxInterval: 50 * time.Millisecond, MaxElapsedTime: 20 * time.Second}))
	if err != nil {
		t.Fatal(err)
	}
	provider := sdklog.NewLoggerProvider(
		sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter, sdklog.WithExportMaxBatchSize(100), sdklog.WithMaxQueueSize(4096))),
		sdklog.WithResource(resource.NewSchemaless(otel.String("service.name", "portal"), otel.String("host.name", "web-1"))))
	logger := provider.Logger("login")
	const n = 300
	at := time.Date(2026, 11, 22, 3, 10, 47, 123456789, time.UTC)
	for i := range n {
		var r log.Record
		r.SetTimestamp(at)
		r.SetSeverity(log.SeverityWarn)
		r.SetBody(otel.StringValue(fmt.Sprintf("登录失败 %d", i)))
		r.AddAttributes(otel.String("net.peer.ip", "10.1.2.3"), otel.Int("n", i))
		logger.Emit(t.Context(), r)
	}
	listentest.Eventually(t, "it is told to come again", func() bool { return len(s.slots) > 0 })
	time.AfterFunc(300*time.Millisecond, func() { s.sink.Full(false) })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := provider.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	lines := s.sink.Lines()
	for i, l := range lines {
		var doc map[string]any
		if err := json.Unmarshal(l.Value, &doc); err != nil {
			t.Fatalf("no JSON: %s: %v", l.Value, err)
		}
		if doc["message"] != fmt.Sprintf("登录失败 %d", i) || doc["@timestamp"] != "2026-11-22T03:10:47.123456789Z" || doc["service.name"] != "portal" ||
			doc["host.name"] != "web-1" || doc["log.logger"] != "login" || doc["log.level"] != "warn" || doc["n"] != float64(i) || doc["source.ip"] != "10.1.2.3" ||
			l.Format != "json" || l.Unit != "410105" || l.Reject != "" {
			t.Fatalf("line %d is %s of %q as %q", i, l.Value, l.Unit, l.Format)
		}
	}
	if len(lines) != n {
		t.Errorf("%d of %d records", len(lines), n)
	}
	s.balanced()
}
