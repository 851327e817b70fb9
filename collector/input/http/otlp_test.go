package http

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

func protoBytes(b []byte, number protowire.Number, v []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
}

func textValue(s string) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: s}}
}

func intValue(n int64) *common.AnyValue {
	return &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: n}}
}

func pair(key string, v *common.AnyValue) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: v}
}

// exported is a request as OpenTelemetry's own types encode it.
func exported() *logs.LogsData {
	nested := &common.AnyValue{Value: &common.AnyValue_KvlistValue{KvlistValue: &common.KeyValueList{Values: []*common.KeyValue{
		pair("list", &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{textValue("a"), intValue(-7)}}}}),
		pair("yes", &common.AnyValue{Value: &common.AnyValue_BoolValue{BoolValue: true}}),
		pair("half", &common.AnyValue{Value: &common.AnyValue_DoubleValue{DoubleValue: 0.5}}),
		pair("bytes", &common.AnyValue{Value: &common.AnyValue_BytesValue{BytesValue: []byte{1, 2}}}),
		pair("none", nil),
	}}}}
	return &logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{
		Resource: &resource.Resource{Attributes: []*common.KeyValue{
			pair("service.name", textValue("portal")), pair("host.name", textValue("web-1")), pair("os.type", textValue("linux")),
		}},
		ScopeLogs: []*logs.ScopeLogs{{
			Scope: &common.InstrumentationScope{Name: "login"},
			LogRecords: []*logs.LogRecord{{
				TimeUnixNano: 1763781047123456789, SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_WARN2, Body: textValue("登录 \"failed\"\n<b>"),
				Attributes: []*common.KeyValue{
					pair("net.peer.ip", textValue("10.1.2.3")), pair("net.peer.port", intValue(4022)), pair("host.name", textValue("web-2")), pair("extra", nested),
				},
				TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), EventName: "login",
			}, {ObservedTimeUnixNano: 1763781048000000000, SeverityText: "ERROR", Body: nested}},
		}},
	}}}
}

const exportedLine = `{"@timestamp":"2025-11-22T03:10:47.123456789Z","message":"登录 \"failed\"\u000a<b>","log.level":"warn","log.logger":"login",` +
	`"trace.id":"30313233343536373839616263646566","span.id":"3031323334353637","event.action":"login","source.ip":"10.1.2.3","source.port":4022,"host.name":"web-2",` +
	`"extra":{"list":["a",-7],"yes":true,"half":0.5,"bytes":"AQI="},"service.name":"portal","host.os.type":"linux"}`

// exportedJSON is the same as a JSON exporter writes it.
const exportedJSON = `{"resourceLogs":[{"scopeLogs":[{"scope":{"name":"login"},"logRecords":[{
"timeUnixNano":"1763781047123456789","severityNumber":14,"body":{"stringValue":"登录 \"failed\"\n<b>"},
"attributes":[{"key":"net.peer.ip","value":{"stringValue":"10.1.2.3"}},{"key":"net.peer.port","value":{"intValue":"4022"}},{"key":"host.name","value":{"stringValue":"web-2"}},
{"key":"extra","value":{"kvlistValue":{"values":[{"key":"list","value":{"arrayValue":{"values":[{"stringValue":"a"},{"intValue":-7}]}}},{"key":"yes","value":{"boolValue":true}},
{"key":"half","value":{"doubleValue":0.5}},{"key":"bytes","value":{"bytesValue":"AQI="}}]}}}],
"traceId":"30313233343536373839616263646566","spanId":"3031323334353637","eventName":"login"},
{"observedTimeUnixNano":"1763781048000000000","severityText":"ERROR"}]}],
"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"portal"}},{"key":"host.name","value":{"stringValue":"web-1"}},{"key":"os.type","value":{"stringValue":"linux"}}]}}]}`

// TestOTLP sends what OpenTelemetry's own code encodes, in both encodings.
func TestOTLP(t *testing.T) {
	s := serve(t, open(nil))
	body, err := proto.Marshal(exported())
	if err != nil {
		t.Fatal(err)
	}
	f := func(body []byte, contentType, wantType, wantAnswer string) {
		t.Helper()
		before := len(s.sink.Lines())
		status, answer, h := s.do("POST", "/v1/logs", body, "Content-Type", contentType)
		if status != 200 || answer != wantAnswer || h.Get("Content-Type") != wantType {
			t.Fatalf("%d %q %s", status, answer, h.Get("Content-Type"))
		}
		lines := s.sink.Lines()[before:]
		if len(lines) != 2 || lines[0].Format != "json" || lines[0].Reject != "" {
			t.Fatalf("%+v", lines)
		}
		// JSON keeps a string's escapes as they came.
		if got := strings.ReplaceAll(string(lines[0].Value), `\n`, `\u000a`); got != exportedLine {
			t.Errorf("\n got %s\nwant %s", got, exportedLine)
		}
		for _, l := range lines {
			if !json.Valid(l.Value) {
				t.Errorf("no JSON: %s", l.Value)
			}
		}
		if !strings.Contains(string(lines[1].Value), `"log.level":"ERROR"`) || !strings.Contains(string(lines[1].Value), `"@timestamp":"2025-11-22T03:10:48Z"`) {
			t.Errorf("%s", lines[1].Value)
		}
	}
	f(body, "application/x-protobuf", "application/x-protobuf", "")
	f([]byte(exportedJSON), "application/json", "application/json", "{}")
	f([]byte(exportedJSON), "Application/JSON; charset=utf-8", "application/json", "{}")
	g := func(body, contentType string, want int) {
		t.Helper()
		before := len(s.sink.Lines())
		if status, answer, _ := s.do("POST", "/v1/logs", []byte(body), "Content-Type", contentType); status != want || len(s.sink.Lines()) != before {
			t.Errorf("%q: %d %s, want %d", body, status, answer, want)
		}
	}
	g("{", "application/json", 400)
	g("\x0a\x7fnonsense", "application/x-protobuf", 400)
	g(exportedJSON, "text/plain", 415)
	f(body, "", "application/x-protobuf", "")
	s.balanced()
}

// TestOTLPBounds: a record with too much in it is a dead letter.
func TestOTLPBounds(t *testing.T) {
	f := func(r *logs.LogRecord, want string) {
		t.Helper()
		body, err := proto.Marshal(&logs.LogsData{ResourceLogs: []*logs.ResourceLogs{{ScopeLogs: []*logs.ScopeLogs{{LogRecords: []*logs.LogRecord{r}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		var rejects []string
		e := encoder{seen: map[string]bool{}, take: func(line []byte, reject string) bool {
			if !json.Valid(line) {
				t.Errorf("no JSON: %s", line)
			}
			rejects = append(rejects, reject)
			return true
		}}
		if err := readProto(body, &e); err != nil || len(rejects) != 1 || rejects[0] != want {
			t.Errorf("%v %q", err, rejects)
		}
	}
	many := &logs.LogRecord{}
	for i := range 1025 {
		many.Attributes = append(many.Attributes, pair(fmt.Sprint(i), intValue(1)))
	}
	f(many, "OTLP: more than 1024 attributes")
	deep := textValue("x")
	for range 12 {
		deep = &common.AnyValue{Value: &common.AnyValue_ArrayValue{ArrayValue: &common.ArrayValue{Values: []*common.AnyValue{deep}}}}
	}
	f(&logs.LogRecord{Body: deep}, "OTLP: values nested too deep")
	f(&logs.LogRecord{Attributes: []*common.KeyValue{pair("k", deep)}}, "OTLP: values nested too deep")
}
