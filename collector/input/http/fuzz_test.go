package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"fengsui/collector/input/listen/listentest"
)

// post frames a body by itself; what comes out is within the bounds, and each
// line of a dialect that makes JSON is JSON.
func post(t *testing.T, path, contentType string, body []byte) (int, *listentest.Sink) {
	t.Helper()
	in, err := New(open(func(c *Config) { c.Anonymous, c.MaxBody, c.MaxLine, c.Memory = true, 1<<20, 1<<16, 64<<20 }), Deps{})
	if err != nil {
		t.Fatal(err)
	}
	sink := &listentest.Sink{}
	in.sink = sink
	r := httptest.NewRequest(http.MethodPost, path, bytes.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	w := httptest.NewRecorder()
	in.ServeHTTP(w, r)
	if left := in.memory.Left(); left != in.cfg.Memory {
		t.Fatalf("%d bytes are not given back", in.cfg.Memory-left)
	}
	if w.Code >= 300 && len(sink.Lines()) > 0 {
		t.Fatalf("%d, and %d lines", w.Code, len(sink.Lines()))
	}
	if w.Body.Len() > 0 && strings.HasPrefix(w.Header().Get("Content-Type"), "application/json") && !json.Valid(w.Body.Bytes()) {
		t.Fatalf("the answer is no JSON: %s", w.Body)
	}
	return w.Code, sink
}

func FuzzBulk(f *testing.F) {
	f.Add([]byte("{\"index\":{\"_index\":\"a\",\"_id\":\"\\u0041\"}}\n{\"n\":1}\n{\"delete\":{}}\n"))
	f.Add([]byte("{\"create\":{}}\r\n\xff\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		code, sink := post(t, "/i/_bulk", "application/x-ndjson", body)
		if code == 200 && len(sink.Lines()) > bytes.Count(body, []byte("\n")) {
			t.Fatalf("%d lines", len(sink.Lines()))
		}
	})
}

func FuzzHEC(f *testing.F) {
	f.Add([]byte(`{"event":{"a":"}"},"time":"1.5","host":"h","fields":{"x":1}}{"event":"t\u0000"}`))
	f.Add([]byte(`{"event": [1,2]} {"event":{ },"source":"s"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		code, sink := post(t, "/services/collector", "application/json", body)
		lines := sink.Lines()
		if code == 200 && len(lines) == 0 {
			t.Fatal("success without lines")
		}
		for _, l := range lines {
			if len(l.Value) > 0 && l.Value[0] == '{' && bytes.Contains(body, []byte(`"event":{`)) && !bytes.Contains(body, []byte(`"event":"`)) &&
				!bytes.Contains(body, []byte(`\u`)) && !json.Valid(l.Value) {
				t.Fatalf("no JSON: %s", l.Value)
			}
		}
	})
}

func FuzzOTLP(f *testing.F) {
	body, err := proto.Marshal(exported())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body, false)
	f.Add([]byte(exportedJSON), true)
	f.Fuzz(func(t *testing.T, body []byte, isJSON bool) {
		contentType := "application/x-protobuf"
		if isJSON {
			contentType = "application/json"
		}
		_, sink := post(t, "/v1/logs", contentType, body)
		for _, l := range sink.Lines() {
			if !json.Valid(l.Value) {
				t.Fatalf("no JSON: %s", l.Value)
			}
		}
	})
}
