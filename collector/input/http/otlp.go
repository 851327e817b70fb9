package http

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
)

// otlp is OTLP over HTTP, as protobuf and as JSON.
// https://opentelemetry.io/docs/specs/otlp/#otlphttp
//
// Each record becomes a line of JSON, with the attributes of its resource and its
// own beside each other under their names, which mostly are ECS's already. The
// messages are walked, not decoded: two bytes of one can stand for an object of
// two hundred.
var otlp = protocol{name: "otlp", frame: (*request).frameOTLP, answer: answerOTLP, refuse: refuseOTLP}

const (
	maxAttributes = 1024 // of a record and its resource each
	maxDepth      = 10   // of values in values
)

var (
	errAttributes = errors.New("more than 1024 attributes")
	errDepth      = errors.New("values nested too deep")
	errProto      = errors.New("no ExportLogsServiceRequest in protobuf")
)

func (q *request) isJSON() bool { return q.isOf("application/json") }

// isOf says whether the body is said to be of a type. Types have no case: RFC 9110,
// 8.3.1.
func (q *request) isOf(mediaType string) bool {
	return strings.HasPrefix(strings.ToLower(q.r.Header.Get("Content-Type")), mediaType)
}

func answerOTLP(q *request) {
	if q.isJSON() {
		writeJSON(q.w, http.StatusOK, map[string]any{})
		return
	}
	q.w.Header().Set("Content-Type", "application/x-protobuf")
	q.w.WriteHeader(http.StatusOK) // an empty message is no bytes
}

// refuseOTLP answers with a google.rpc.Status.
func refuseOTLP(q *request, f *failure) {
	if q.isJSON() {
		writeJSON(q.w, f.status, map[string]any{"code": rpcCode(f), "message": f.text})
		return
	}
	b := protowire.AppendTag(nil, 1, protowire.VarintType)
	b = protowire.AppendVarint(b, rpcCode(f))
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendString(b, f.text)
	q.w.Header().Set("Content-Type", "application/x-protobuf")
	q.w.WriteHeader(f.status)
	_, _ = q.w.Write(b) // a client that is gone does not read it
}

// rpcCode is gRPC's code of a failure.
func rpcCode(f *failure) uint64 {
	switch {
	case f.retry():
		return 14 // unavailable
	case f.status == http.StatusUnauthorized:
		return 16 // unauthenticated
	}
	return 3 // invalid argument
}

func (q *request) frameOTLP() *failure {
	read := readProto
	if q.isJSON() {
		if !json.Valid(q.body) {
			return malformed("the body is no JSON")
		}
		read = readOTLPJSON
	} else if !q.isOf("application/x-protobuf") && q.r.Header.Get("Content-Type") != "" {
		return &failure{status: http.StatusUnsupportedMediaType, result: "malformed", text: "the body must be application/x-protobuf or application/json"}
	}
	var failed *failure
	e := encoder{seen: make(map[string]bool), take: func(line []byte, reject string) bool {
		if failed = q.addMade(line); failed != nil {
			return false
		}
		l := &q.lines[len(q.lines)-1]
		l.Format = "json"
		if l.Reject == "" {
			l.Reject = reject
		}
		return true
	}}
	if err := read(q.body, &e); err != nil && failed == nil {
		return malformed("%v", err)
	}
	return failed
}

// attribute is a name with its value as JSON.
type attribute struct {
	key   string
	value []byte
}

// scope is what records share.
type scope struct {
	resource []attribute
	logger   string
	reject   error
}

// record is a log record.
type record struct {
	time, observed uint64 // ns since 1970
	severity       uint64
	level          string
	body           []byte // JSON
	trace, span    string // hex
	event          string
	attributes     []attribute
	reject         error
}

func (r *record) add(key string, value []byte, err error) {
	if err == nil && len(r.attributes) >= maxAttributes {
		err = errAttributes
	}
	if err != nil {
		r.reject = err
		return
	}
	r.attributes = append(r.attributes, attribute{key, value})
}

func (s *scope) add(key string, value []byte, err error) {
	if err == nil && len(s.resource) >= maxAttributes {
		err = errAttributes
	}
	if err != nil {
		s.reject = err
		return
	}
	s.resource = append(s.resource, attribute{key, value})
}

// encoder makes lines of records.
type encoder struct {
	take func(line []byte, reject string) bool // false: no more
	seen map[string]bool                       // keys of the line
	line []byte
}

var errNoMore = errors.New("no more lines are taken")

func (e *encoder) record(s *scope, r *record) error {
	clear(e.seen)
	e.line = append(e.line[:0], '{')
	at := r.time
	if at == 0 {
		at = r.observed
	}
	if at != 0 && at < 1<<63 {
		e.text("@timestamp", time.Unix(0, int64(at)).UTC().Format(time.RFC3339Nano)) //nolint:gosec // just checked
	}
	switch {
	case len(r.body) == 0:
	case r.body[0] == '"':
		e.value("message", r.body)
	default:
		e.value("body", r.body)
	}
	if r.level == "" && r.severity > 0 && r.severity <= 24 {
		r.level = levels[(r.severity-1)/4]
	}
	e.text("log.level", r.level)
	e.text("log.logger", s.logger)
	e.text("trace.id", r.trace)
	e.text("span.id", r.span)
	e.text("event.action", r.event)
	for _, attributes := range [][]attribute{r.attributes, s.resource} {
		for _, a := range attributes {
			e.value(ecsName(a.key), a.value)
		}
	}
	e.line = append(e.line, '}')
	reject := ""
	if err := errors.Join(s.reject, r.reject); err != nil {
		reject = "OTLP: " + strings.ReplaceAll(err.Error(), "\n", "; ")
	}
	if !e.take(append([]byte(nil), e.line...), reject) {
		return errNoMore
	}
	return nil
}

var levels = [...]string{"trace", "debug", "info", "warn", "error", "fatal"}

func (e *encoder) text(key, s string) {
	if s != "" {
		e.value(key, appendString(nil, s))
	}
}

// value writes a member, if none of its name is there yet.
func (e *encoder) value(key string, value []byte) {
	if e.seen[key] || key == "" || len(value) == 0 {
		return
	}
	e.seen[key] = true
	if len(e.line) > 1 {
		e.line = append(e.line, ',')
	}
	e.line = append(append(appendString(e.line, key), ':'), value...)
}

// ecsName is ECS's name of an attribute where OpenTelemetry has another.
func ecsName(key string) string {
	if name, ok := ecsNames[key]; ok {
		return name
	}
	return key
}

// https://www.elastic.co/docs/reference/ecs/ecs-otel-alignment-overview
var ecsNames = map[string]string{
	"service.instance.id":         "service.node.name",
	"deployment.environment":      "service.environment",
	"deployment.environment.name": "service.environment",
	"host.arch":                   "host.architecture",
	"os.type":                     "host.os.type",
	"os.name":                     "host.os.name",
	"os.version":                  "host.os.version",
	"process.executable.path":     "process.executable",
	"process.executable.name":     "process.name",
	"process.command_args":        "process.args",
	"process.owner":               "user.name",
	"exception.message":           "error.message",
	"exception.type":              "error.type",
	"exception.stacktrace":        "error.stack_trace",
	"network.peer.address":        "source.ip",
	"network.peer.port":           "source.port",
	"net.peer.ip":                 "source.ip",
	"net.peer.port":               "source.port",
	"http.status_code":            "http.response.status_code",
	"http.method":                 "http.request.method",
	"http.url":                    "url.original",
	"http.user_agent":             "user_agent.original",
	"enduser.id":                  "user.id",
}
