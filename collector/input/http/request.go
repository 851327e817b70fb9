package http

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"fengsui/collector/input"
	"fengsui/collector/input/listen"
)

const (
	// answerTime is for writing an answer to a slow reader.
	answerTime = 10 * time.Second
	// retryAfter is what a client waits that is told to come again.
	retryAfter = 2 * time.Second
	// lineCost is what a line costs beside its bytes, in a slice that grew.
	lineCost = 320
	// growth bounds what a body's lines may come to together, by its own bound:
	// OTLP says once what every line repeats.
	growth = 4
)

// failure is why a request was refused.
type failure struct {
	status int
	result string // in the metric
	text   string
	code   int // Splunk's, where one fits better than by the status
	event  int // the number of the event, from 0, where code is set
}

func (f *failure) retry() bool {
	return f.status == http.StatusTooManyRequests || f.status == http.StatusServiceUnavailable
}

func malformed(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, result: "malformed", text: fmt.Sprintf(format, args...)}
}

func tooLarge(format string, args ...any) *failure {
	return &failure{status: http.StatusRequestEntityTooLarge, result: "too_large", text: fmt.Sprintf(format, args...)}
}

func busy(text string) *failure {
	return &failure{status: http.StatusTooManyRequests, result: "busy", text: text}
}

var (
	noMemory = busy("too many requests hold too much memory")
	noSlot   = busy("too many requests at the same time")
	full     = busy("the collector is full")
	unsure   = &failure{
		status: http.StatusServiceUnavailable, result: "unacknowledged",
		text: "the lines are not stored yet; send them again",
	}
)

// protocol is one of the dialects.
type protocol struct {
	name   string
	frame  func(*request) *failure  // makes lines of the body
	answer func(*request)           // once they are durable
	refuse func(*request, *failure) // instead
}

// request is one request with lines, and what it holds.
type request struct {
	in       *Input
	w        http.ResponseWriter
	r        *http.Request
	path     []string
	source   string
	unit     string
	received time.Time

	body  []byte
	lines []input.Line
	made  int    // bytes of lines that are not the body's
	items []item // of _bulk

	held  int          // of the input's memory
	users atomic.Int32 // of what is held: this handler, and the sink until all is durable
}

func (q *request) hold(n int) bool {
	if !q.in.memory.Take(n) {
		return false
	}
	q.held += n
	return true
}

func (q *request) unhold(n int) {
	q.in.memory.Give(n)
	q.held -= n
}

// leave is called by each user when it needs the memory no more.
func (q *request) leave() {
	if q.users.Add(-1) == 0 {
		q.in.memory.Give(q.held)
	}
}

// ServeHTTP answers a request of any dialect.
func (in *Input) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := &request{
		in: in, w: w, r: r, path: strings.Split(strings.Trim(r.URL.Path, "/"), "/"),
		source: listen.SourceOf(r.RemoteAddr), received: time.Now(),
	}
	if q.isHECHealth() {
		writeJSON(w, http.StatusOK, map[string]any{"text": "HEC is healthy", "code": hecHealthy})
		return
	}
	p := q.protocol()
	if p == nil {
		in.serveElastic(q)
		return
	}
	f := q.serve(p)
	result := "taken"
	if f != nil {
		result = f.result
		if f.retry() {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
		}
		p.refuse(q, f)
		in.conns.Refuse(result)
		in.quiet.Warn("an HTTP request was refused", "from", q.source, "protocol", p.name, "reason", f.text)
	}
	in.requests.WithLabelValues(p.name, result).Inc()
}

// protocol is the dialect of the request's path; nil: it brings no lines.
func (q *request) protocol() *protocol {
	last := q.path[len(q.path)-1]
	switch {
	case len(q.path) == 1 && last == "logs":
		return &textLines
	case len(q.path) == 2 && q.path[0] == "v1" && last == "logs":
		return &otlp
	case len(q.path) >= 2 && q.path[0] == "services" && q.path[1] == "collector":
		return hecProtocol(q.path[2:])
	case len(q.path) <= 2 && last == "_bulk":
		return &bulk
	case len(q.path) >= 2 && len(q.path) <= 3 && (q.path[1] == "_doc" || q.path[1] == "_create") && q.r.Method != http.MethodGet:
		return &document
	}
	return nil
}

// serve takes the request's lines over and returns when all are durable.
func (q *request) serve(p *protocol) *failure {
	if q.r.Method != http.MethodPost && q.r.Method != http.MethodPut {
		q.w.Header().Set("Allow", "POST, PUT")
		return &failure{status: http.StatusMethodNotAllowed, result: "malformed", text: "the method is neither POST nor PUT"}
	}
	var err error
	if q.unit, err = q.in.unit(q.r); err != nil {
		return &failure{status: http.StatusUnauthorized, result: "unauthorized", text: err.Error()}
	}
	select {
	case q.in.slots <- struct{}{}:
		defer func() { <-q.in.slots }()
	default:
		return noSlot
	}
	q.users.Store(1)
	defer q.leave()
	if f := q.readBody(); f != nil {
		return f
	}
	if f := p.frame(q); f != nil {
		return f
	}
	if f := q.deliver(); f != nil {
		return f
	}
	p.answer(q)
	return nil
}

// add takes a line of the body.
func (q *request) add(value []byte) *failure {
	if len(q.lines) >= q.in.cfg.MaxLines {
		return tooLarge("more than %d lines", q.in.cfg.MaxLines)
	}
	if !q.hold(lineCost) {
		return noMemory
	}
	l := input.Line{Value: value[:len(value):len(value)], Source: q.source, Unit: q.unit, Received: q.received}
	if len(value) > q.in.cfg.MaxLine {
		l.Reject = fmt.Sprintf("line of %d bytes: longer than %d", len(value), q.in.cfg.MaxLine)
	}
	q.lines = append(q.lines, l)
	return nil
}

// addMade takes a line that was made of the body's parts.
func (q *request) addMade(value []byte) *failure {
	if q.made += len(value); q.made > growth*q.in.cfg.MaxBody {
		return tooLarge("the lines are longer than %d bytes together", growth*q.in.cfg.MaxBody)
	}
	if !q.hold(len(value)) {
		return noMemory
	}
	return q.add(value)
}

// deliver hands the lines over and waits until they are durable.
func (q *request) deliver() *failure {
	if len(q.lines) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(q.r.Context(), q.in.cfg.Wait)
	defer cancel()
	durable := make(chan struct{})
	q.users.Add(1)
	err := q.in.sink.Put(ctx, q.lines, func() {
		close(durable)
		q.leave()
	})
	q.lines = nil // the sink's
	if err != nil {
		q.leave()
		if errors.Is(err, context.DeadlineExceeded) {
			return full
		}
		return &failure{status: http.StatusServiceUnavailable, result: "stopped", text: "the collector stops; send the lines again"}
	}
	select {
	case <-durable:
		return nil
	case <-ctx.Done():
		return unsure
	}
}

// textLines is newline-delimited text: JSON, or lines of any format.
var textLines = protocol{
	name:  "lines",
	frame: (*request).frameLines,
	answer: func(q *request) {
		q.w.WriteHeader(http.StatusNoContent)
	},
	refuse: func(q *request, f *failure) {
		if f.status == http.StatusUnauthorized {
			q.w.Header().Set("WWW-Authenticate", `Bearer realm="fengsui"`)
		}
		writeJSON(q.w, f.status, map[string]string{"error": f.text})
	},
}

// frameLines makes each line of the body one; empty ones are none.
func (q *request) frameLines() *failure {
	for rest := q.body; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if line = bytes.TrimSuffix(line, []byte("\r")); len(line) == 0 {
			continue
		}
		if f := q.add(line); f != nil {
			return f
		}
	}
	return nil
}
