package http

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Splunk's codes.
// https://docs.splunk.com/Documentation/Splunk/latest/Data/TroubleshootHTTPEventCollector
const (
	hecSuccess      = 0
	hecTokenNeeded  = 2
	hecInvalidToken = 4
	hecNoData       = 5
	hecInvalidData  = 6
	hecServerError  = 8
	hecBusy         = 9
	hecEventNeeded  = 12
	hecEventBlank   = 13
	hecHealthy      = 17
)

// hecProtocol is Splunk's HTTP Event Collector at what follows /services/collector.
func hecProtocol(path []string) *protocol {
	switch {
	case len(path) == 0, path[0] == "event":
		return &hecEvents
	case path[0] == "raw":
		return &hecRaw
	case path[0] == "ack":
		return &hecAcks
	}
	return nil
}

var (
	hecEvents = protocol{name: "hec", frame: (*request).frameEvents, answer: answerHEC, refuse: refuseHEC}
	hecRaw    = protocol{name: "hec", frame: (*request).frameRaw, answer: answerHEC, refuse: refuseHEC}
	// A number is given to a request only once its lines are durable, so whoever
	// asks for one that was given is told so.
	hecAcks = protocol{name: "hec", frame: (*request).frameAcks, answer: answerAcks, refuse: refuseHEC}
)

// isHECHealth says whether a request asks how Splunk's collector is.
func (q *request) isHECHealth() bool {
	return len(q.path) >= 3 && q.path[0] == "services" && q.path[1] == "collector" && q.path[2] == "health" && q.r.Method == http.MethodGet
}

func answerHEC(q *request) {
	answer := map[string]any{"text": "Success", "code": hecSuccess}
	if q.r.Header.Get("X-Splunk-Request-Channel") != "" || q.r.URL.Query().Has("channel") {
		answer["ackId"] = q.in.serial.Add(1)
	}
	writeJSON(q.w, http.StatusOK, answer)
}

func refuseHEC(q *request, f *failure) {
	code := hecServerError
	status := f.status
	answer := map[string]any{"text": f.text}
	switch {
	case f.code != 0:
		code = f.code
		if code != hecNoData {
			answer["invalid-event-number"] = f.event
		}
	case f.status == http.StatusUnauthorized && f.text == errNoToken.Error():
		code = hecTokenNeeded
	case f.status == http.StatusUnauthorized:
		code, status = hecInvalidToken, http.StatusForbidden
	case f.retry():
		code, status = hecBusy, http.StatusServiceUnavailable
	case f.status == http.StatusBadRequest:
		code = hecInvalidData
	}
	answer["code"] = code
	writeJSON(q.w, status, answer)
}

func hecFailure(code, event int, text string) *failure {
	f := malformed("%s", text)
	f.code, f.event = code, event
	return f
}

// frameEvents makes a line of each event; they stand one behind the other, with
// any space or none between. One that is none spoils the request, as the rest
// cannot be told from it.
func (q *request) frameEvents() *failure {
	rest := skipSpace(q.body)
	if len(rest) == 0 {
		return hecFailure(hecNoData, 0, "No data")
	}
	for number := 0; len(rest) > 0; number++ {
		end := valueEnd(rest)
		if end < 0 || rest[0] != '{' || !json.Valid(rest[:end]) {
			return hecFailure(hecInvalidData, number, "Invalid data format")
		}
		e := readEvent(rest[:end])
		switch {
		case e.event == nil:
			return hecFailure(hecEventNeeded, number, "Event field is required")
		case len(e.event) == 0 || string(e.event) == "null" || string(e.event) == `""`:
			return hecFailure(hecEventBlank, number, "Event field cannot be blank")
		}
		if f := q.addMade(e.line()); f != nil {
			return f
		}
		if e.event[0] == '"' && usableHost(e.host) {
			q.lines[len(q.lines)-1].Source = e.host
		}
		rest = skipSpace(rest[end:])
	}
	return nil
}

// usableHost says whether a name may stand for who sent a line.
func usableHost(s string) bool {
	return s != "" && len(s) <= 253 && strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f }) < 0
}

// hecEvent is an event with what Splunk's clients say beside it.
type hecEvent struct {
	event                           []byte // JSON
	time                            string
	host, source, sourceType, index string
	fields                          []byte // JSON
}

func readEvent(object []byte) (e hecEvent) {
	members(object, func(key string, value []byte) bool {
		switch key {
		case "event":
			e.event = value
		case "time":
			e.time = text(value)
		case "host":
			e.host = text(value)
		case "source":
			e.source = text(value)
		case "sourcetype":
			e.sourceType = text(value)
		case "index":
			e.index = text(value)
		case "fields":
			e.fields = value
		}
		return true
	})
	return e
}

// line is the event: a text as it is, since it is a line of some log, and an
// object with what was said beside it, where it does not say so itself.
func (e hecEvent) line() []byte {
	switch e.event[0] {
	case '"':
		return []byte(text(e.event))
	case '{':
	default:
		return e.event
	}
	own := make(map[string]bool)
	members(e.event, func(key string, _ []byte) bool {
		own[key] = true
		return len(own) < 10_000
	})
	line := bytes.TrimRight(bytes.TrimSuffix(oneLine(e.event), []byte("}")), " \t\r")
	line = line[:len(line):len(line)] // what follows in the body is not overwritten
	some := len(own) > 0
	add := func(key string, value []byte) {
		if some {
			line = append(line, ',')
		}
		line = append(append(appendString(line, key), ':'), value...)
		some = true
	}
	if t, ok := epoch(e.time); ok && !own["@timestamp"] && !own["timestamp"] && !own["time"] {
		add("@timestamp", appendString(nil, t.Format(time.RFC3339Nano)))
	}
	if e.host != "" && !own["host"] && !own["host.name"] {
		add("host.name", appendString(nil, e.host))
	}
	if len(e.fields) > 2 && e.fields[0] == '{' && !own["labels"] {
		add("labels", oneLine(e.fields))
	}
	for _, said := range []struct{ key, value string }{
		{"splunk.source", e.source}, {"splunk.sourcetype", e.sourceType}, {"splunk.index", e.index},
	} {
		if said.value != "" {
			add(said.key, appendString(nil, said.value))
		}
	}
	return append(line, '}')
}

// epoch reads seconds since 1970 with a fraction, or milliseconds, which are
// told by their size.
func epoch(s string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(s, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds <= 0 || seconds > 9e12 {
		return time.Time{}, false
	}
	fraction = (fraction + "000000000")[:9]
	nanos, err := strconv.ParseInt(fraction, 10, 64)
	if err != nil || nanos < 0 {
		return time.Time{}, false
	}
	if seconds > 1e11 {
		return time.UnixMilli(seconds).UTC(), true
	}
	return time.Unix(seconds, nanos).UTC(), true
}

// frameRaw makes each line of the body one; the query says whose they are.
func (q *request) frameRaw() *failure {
	if f := q.frameLines(); f != nil {
		return f
	}
	if len(q.lines) == 0 {
		return hecFailure(hecNoData, 0, "No data")
	}
	if host := q.r.URL.Query().Get("host"); usableHost(host) {
		for i := range q.lines {
			q.lines[i].Source = host
		}
	}
	return nil
}

func (q *request) frameAcks() *failure {
	if !json.Valid(q.body) {
		return hecFailure(hecInvalidData, 0, "Invalid data format")
	}
	return nil
}

func answerAcks(q *request) {
	acks := make(map[string]bool)
	elements(member(q.body, "acks"), func(value []byte) bool {
		id, err := strconv.ParseUint(string(value), 10, 64)
		if err == nil {
			acks[string(value)] = id > 0 && id <= q.in.serial.Load()
		}
		return len(acks) < 10_000
	})
	writeJSON(q.w, http.StatusOK, map[string]any{"acks": acks})
}
