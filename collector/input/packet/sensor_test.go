package packet

import (
	"context"
	"encoding/json"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"fengsui/collector/input"
	"fengsui/internal/testkit/corpus"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// collect is a sink that keeps everything.
type collect struct {
	mu    sync.Mutex
	lines []input.Line
}

func (c *collect) Put(_ context.Context, lines []input.Line, done func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, lines...)
	if done != nil {
		done()
	}
	return nil
}

func (c *collect) all() []input.Line {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]input.Line(nil), c.lines...)
}

// captures is the corpus's folder of mining captures.
func captures(t testing.TB) string {
	t.Helper()
	return corpus.Path(t, "pcap-mining/testing/Traces")
}

// read runs the sensor over a capture.
func read(t testing.TB, file string, change ...func(*Config)) []input.Line {
	t.Helper()
	cfg := DefaultConfig()
	cfg.File = file
	for _, f := range change {
		f(&cfg)
	}
	s, err := New(cfg, Deps{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var sink collect
	if err := s.Run(ctx, &sink); err != nil {
		t.Fatal(err)
	}
	return sink.all()
}

type fields = map[string]any

// decodeAll reads records; each must be JSON with a time.
func decodeAll(t testing.TB, lines []input.Line) (records []fields) {
	t.Helper()
	for _, l := range lines {
		if l.Reject != "" {
			continue
		}
		var r fields
		if err := json.Unmarshal(l.Value, &r); err != nil {
			t.Fatalf("record is no JSON: %v\n%s", err, l.Value)
		}
		if _, err := time.Parse(timeLayout, r["ts"].(string)); err != nil {
			t.Fatalf("record's time: %v\n%s", err, l.Value)
		}
		records = append(records, r)
	}
	return records
}
