package store

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// server answers ClickHouse's HTTP interface. One request is one statement on
// one connection of its own.
type server struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	open    func() (*connection, error)
	reader  *readerRules
	version string
	slots   chan struct{}
	tags    atomic.Uint64
	run     string // begins every tag: another run's tags are not ours
}

// The HTTP status of the exceptions that clients tell apart; others are 500.
var statusOf = map[int]int{
	62: http.StatusBadRequest, 36: http.StatusBadRequest, 115: http.StatusBadRequest,
	60: http.StatusNotFound, 81: http.StatusNotFound,
	164: http.StatusForbidden, 497: http.StatusForbidden, 516: http.StatusForbidden,
	202: http.StatusServiceUnavailable,
	159: http.StatusRequestTimeout,
}

var exceptionCode = regexp.MustCompile(`^Code: (\d+)\.`)

func codeOf(text string) int {
	if m := exceptionCode.FindStringSubmatch(text); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1002 // UNKNOWN_EXCEPTION
}

func exception(code int, name, format string, args ...any) error {
	return &engineError{fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name)}
}

// refuse answers with an exception, as ClickHouse does.
func refuse(w http.ResponseWriter, err error) {
	text := err.Error()
	var ee *engineError
	if !errors.As(err, &ee) {
		text = "Code: 1002. DB::Exception: " + text + " (UNKNOWN_EXCEPTION)"
	}
	code := codeOf(text)
	status, known := statusOf[code]
	if !known {
		status = http.StatusInternalServerError
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text+"\n") // the client may be gone; nobody else could be told
}

// handler serves one listener; trusted is true on the unix socket.
func (s *server) handler(trusted bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			_, _ = io.WriteString(w, "Ok.\n")
			return
		}
		user, err := s.authenticate(r, trusted)
		if err != nil {
			s.metrics.queries.WithLabelValues("auth", "error").Inc()
			refuse(w, err)
			return
		}
		s.serve(w, r, user)
	})
}

// authenticate returns the user of the request. On a trusted listener who can
// connect is known already, and the name only chooses the rights.
func (s *server) authenticate(r *http.Request, trusted bool) (string, error) {
	user, key := r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	if name, password, ok := r.BasicAuth(); ok {
		user, key = name, password
	}
	if user == "" || user == "default" {
		user = UserFull
	}
	password := s.cfg.Password
	if user == UserReader {
		password = s.cfg.ReaderPassword
	}
	known := user == UserFull || user == UserReader
	if trusted && known {
		return user, nil
	}
	given, want := sha256.Sum256([]byte(key)), sha256.Sum256([]byte(password))
	if same := subtle.ConstantTimeCompare(given[:], want[:]) == 1; !same || !known || password == "" {
		return "", exception(516, "AUTHENTICATION_FAILED", "%.64s: Authentication failed: password is incorrect, or there is no user with such name", user)
	}
	return user, nil
}

// request is a statement with everything it was asked with.
type request struct {
	user     string
	sql      string
	body     io.Reader // data of an INSERT; nil when the statement came in the body
	database string
	format   string
	revision uint64
	settings []string // a='b'
	params   []param
	readOnly bool // by the method or the user
}

var (
	settingName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	formatName  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]*$`)
)

// ours are the URL's parameters that are no settings; those that would need
// what this server does not do are refused.
var ours = map[string]bool{
	"query": true, "database": true, "default_format": true, "client_protocol_version": true,
	"query_id": true, "quota_key": true, "user": true, "password": true,
	"wait_end_of_query": true, "buffer_size": true, "log_comment": true, "readonly": true,
}

// readerIgnores are the settings that the driver sends by itself. The user
// reader's bounds are ours to set.
var readerIgnores = map[string]bool{"max_execution_time": true, "http_write_exception_in_output_format": true}

func (s *server) parse(r *http.Request, user string) (*request, error) {
	q := &request{user: user, format: "TabSeparated", readOnly: user == UserReader || r.Method == http.MethodGet}
	switch r.Method {
	case http.MethodGet, http.MethodPost:
	default:
		return nil, exception(36, "BAD_ARGUMENTS", "method %s is not served", r.Method)
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") || r.Header.Get("Content-Encoding") != "" {
		return nil, exception(48, "NOT_IMPLEMENTED", "the embedded store takes no external tables and no compression")
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, exception(36, "BAD_ARGUMENTS", "URL: %s", err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		value := values.Get(name)
		switch {
		case strings.HasPrefix(name, "param_"):
			q.params = append(q.params, param{strings.TrimPrefix(name, "param_"), value})
		case name == "session_id", name == "role", (name == "compress" || name == "decompress") && value != "0":
			return nil, exception(48, "NOT_IMPLEMENTED", "the embedded store has no %s", name)
		case ours[name], name == "compress", name == "decompress":
		case !settingName.MatchString(name):
			return nil, exception(36, "BAD_ARGUMENTS", "%.64q is not a setting's name", name)
		case q.user == UserReader && readerIgnores[name]:
		case q.user == UserReader:
			return nil, readOnlyError("the user reader may not set " + name)
		default:
			q.settings = append(q.settings, name+"="+quoteString(value))
		}
	}
	q.database = values.Get("database")
	if f := values.Get("default_format"); f != "" {
		if !formatName.MatchString(f) {
			return nil, exception(73, "UNKNOWN_FORMAT", "unknown format %.64q", f)
		}
		q.format = f
	}
	if v := values.Get("client_protocol_version"); v != "" {
		if q.revision, err = strconv.ParseUint(v, 10, 32); err != nil {
			return nil, exception(36, "BAD_ARGUMENTS", "client_protocol_version: %s", err)
		}
	}
	q.sql, q.body = values.Get("query"), r.Body
	if q.sql == "" && r.Method == http.MethodPost {
		text, err := io.ReadAll(io.LimitReader(r.Body, s.cfg.MaxQuery+1))
		if err != nil {
			return nil, fmt.Errorf("read the query: %w", err)
		}
		q.sql, q.body = string(text), nil
	}
	if int64(len(q.sql)) > s.cfg.MaxQuery {
		return nil, exception(62, "SYNTAX_ERROR", "the query has more than %d bytes", s.cfg.MaxQuery)
	}
	return q, nil
}

// serve runs one request.
func (s *server) serve(w http.ResponseWriter, r *http.Request, user string) {
	start := time.Now()
	kind := "other"
	err := func() error {
		q, err := s.parse(r, user)
		if err != nil {
			return err
		}
		if isHello(q.sql) {
			kind = "hello"
			_, err := w.Write(helloBlock(q.revision, s.version))
			return err
		}
		timeout := s.cfg.QueryTimeout
		if user == UserReader {
			timeout = s.cfg.ReaderTimeout
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := s.enter(ctx); err != nil {
			return err
		}
		defer s.leave()
		conn, err := s.open()
		if err != nil {
			return err
		}
		defer conn.close()
		kind, err = s.execute(ctx, w, conn, q)
		return err
	}()
	result := "ok"
	var sent *sentError
	switch {
	case errors.As(err, &sent):
		result = "error"
	case err != nil:
		result = "error"
		// Answered before the whole body is read, a client sees a broken
		// connection instead of what is wrong with its data.
		_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, s.cfg.MaxInsert))
		refuse(w, err)
	}
	if err != nil && r.Context().Err() != nil {
		result = "cancelled"
	}
	s.metrics.queries.WithLabelValues(kind, result).Inc()
	s.metrics.duration.WithLabelValues(kind).Observe(time.Since(start).Seconds())
	if err != nil {
		s.log.Debug("query failed", "kind", kind, "user", user, "error", err)
	}
}

// enter takes a slot, or gives up.
func (s *server) enter(ctx context.Context) error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(s.cfg.QueueTime)
	defer wait.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return exception(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "more than %d requests at once", cap(s.slots))
	}
}

func (s *server) leave() { <-s.slots }

// sentError is a failure that the client has been told of already.
type sentError struct{ error }

func (e *sentError) Unwrap() error { return e.error }

// execute prepares the connection and runs the statement; kind is for the metrics.
func (s *server) execute(ctx context.Context, w http.ResponseWriter, conn *connection, q *request) (kind string, err error) {
	what, err := conn.analyse(q.sql)
	if err != nil {
		return "other", err
	}
	word := firstWord(q.sql)
	kind = kindOf(word, what.class)
	switch {
	case word == "" && what.statements == 0:
		return kind, exception(62, "SYNTAX_ERROR", "empty query")
	case what.statements == 0 && hasInnerSemicolon(q.sql):
		return kind, exception(62, "SYNTAX_ERROR", "cannot read the query; one request is one statement")
	case what.statements > 1:
		return kind, exception(62, "SYNTAX_ERROR", "one request is one statement; this one has %d", what.statements)
	case what.statements == 0:
		q.readOnly = true // the engine is asked only to say what is wrong with it
	case q.readOnly && what.class != classReadOnly:
		return kind, readOnlyError("this request may only read")
	}
	if q.user == UserReader {
		if err := s.reader.check(q.sql); err != nil {
			return kind, err
		}
	}
	tag, err := s.prepare(conn, q)
	if err != nil {
		return kind, err
	}
	stop := s.killOnEnd(ctx, tag)
	defer stop()
	switch {
	case kind == "insert" && q.body != nil:
		err = s.insert(ctx, w, conn, q)
	case kind == "select":
		err = s.query(ctx, w, conn, q)
	default:
		var out []byte
		if out, err = conn.query(q.sql, q.format, q.params...); err == nil {
			w.Header().Set("Content-Length", strconv.Itoa(len(out)))
			w.Header().Set("X-ClickHouse-Format", q.format)
			_, err = w.Write(out)
			err = sent(err)
		}
	}
	if ctxErr := ctx.Err(); err != nil && errors.Is(ctxErr, context.DeadlineExceeded) {
		return kind, exception(159, "TIMEOUT_EXCEEDED", "the request took longer than it may")
	}
	return kind, err
}

func sent(err error) error {
	if err == nil {
		return nil
	}
	return &sentError{err}
}

func kindOf(word string, class uint32) string {
	switch {
	case class == classReadOnly && (word == "SELECT" || word == "WITH" || word == "FROM"):
		return "select"
	case word == "INSERT":
		return "insert"
	}
	return "other"
}

// threadMemory is the free memory for which the engine takes a thread more for a
// query. Its own measure is 1 GiB, by which a store of 2 GiB answers every
// question with one processor.
const threadMemory = 128 << 20 // bytes

// prepare gives the connection its database, settings, tag and rights.
func (s *server) prepare(conn *connection, q *request) (tag string, err error) {
	tag = s.run + strconv.FormatUint(s.tags.Add(1), 10)
	if q.database != "" && q.database != "default" {
		if _, err := conn.query("USE "+quoteIdentifier(q.database), "Null"); err != nil {
			return "", err
		}
	}
	settings := []string{"max_threads_min_free_memory_per_thread=" + quoteString(strconv.Itoa(threadMemory))}
	settings = append(append(settings, q.settings...), "log_comment="+quoteString(tag))
	if q.user == UserReader {
		settings = append(settings, "max_execution_time="+quoteString(strconv.FormatInt(int64(s.cfg.ReaderTimeout/time.Second)+1, 10)))
	}
	if q.readOnly {
		settings = append(settings, "readonly='1'") // last: nothing can be set after it
	}
	if _, err := conn.query("SET "+strings.Join(settings, ","), "Null"); err != nil {
		return "", err
	}
	return tag, nil
}

// killEvery is how often a query whose request has ended is killed again: it
// may not have been running yet the time before.
const killEvery = 100 * time.Millisecond

// killOnEnd ends the tagged query when ctx does; the caller calls stop once the
// engine is done with it.
func (s *server) killOnEnd(ctx context.Context, tag string) (stop func()) {
	finished, gone := make(chan struct{}), make(chan struct{})
	unhook := context.AfterFunc(ctx, func() {
		defer close(gone)
		for {
			if err := s.kill(tag); err != nil {
				s.log.Warn("could not cancel a query", "error", err)
			}
			select {
			case <-finished:
				return
			case <-time.After(killEvery):
			}
		}
	})
	return func() {
		close(finished)
		if !unhook() {
			<-gone
		}
	}
}

func (s *server) kill(tag string) error {
	conn, err := s.open()
	if err != nil {
		return err
	}
	defer conn.close()
	_, err = conn.query("KILL QUERY WHERE Settings['log_comment']="+quoteString(tag)+" ASYNC", "Null")
	return err
}

// insertPiece is how much of an INSERT's data the engine is given at once.
const insertPiece = 1 << 20

// insert streams the body into the engine. A body that ends early, or has no
// byte, stores nothing: the driver sends an empty one when it fails to encode a
// batch, and must not be told that the batch is stored.
func (s *server) insert(ctx context.Context, w http.ResponseWriter, conn *connection, q *request) error {
	statement, format, ok := splitInsert(q.sql)
	if !ok {
		return exception(62, "SYNTAX_ERROR", "an INSERT with data must end in FORMAT and the data's format")
	}
	if len(q.params) > 0 {
		return exception(48, "NOT_IMPLEMENTED", "the embedded store takes no parameters with an INSERT's data")
	}
	in, err := conn.insert(statement, format)
	if err != nil {
		return err
	}
	defer in.close()
	n, err := s.feed(ctx, in, q.body)
	switch {
	case err != nil:
		in.cancel()
		return err
	case n == 0:
		in.cancel()
		return exception(108, "NO_DATA_TO_INSERT", "the INSERT has no data")
	}
	if err := in.done(); err != nil {
		return err
	}
	s.metrics.inserted.Add(float64(n))
	w.Header().Set("Content-Length", "0")
	return nil
}

func (s *server) feed(ctx context.Context, in *insertion, body io.Reader) (n int64, err error) {
	buf := make([]byte, insertPiece)
	for {
		got, err := fill(body, buf)
		n += int64(got)
		if n > s.cfg.MaxInsert {
			return n, exception(307, "TOO_MANY_BYTES", "the INSERT's data has more than %d bytes", s.cfg.MaxInsert)
		}
		if got > 0 {
			if err := in.append(buf[:got]); err != nil {
				return n, err
			}
		}
		switch {
		case ctx.Err() != nil:
			return n, ctx.Err()
		case errors.Is(err, io.EOF):
			return n, nil
		case err != nil:
			return n, fmt.Errorf("read the INSERT's data: %w", err)
		}
	}
}

// fill reads until buf is full or the reader ends. Unlike io.ReadFull it keeps
// the reader's own end apart from a connection that broke.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var got int
		got, err = r.Read(buf[n:])
		n += got
	}
	return n, err
}

// query streams a SELECT's result. Failures before the first byte have a
// status; those after it are framed in the body, as ClickHouse frames them.
func (s *server) query(ctx context.Context, w http.ResponseWriter, conn *connection, q *request) error {
	exceptionTag := rand.Text()[:16]
	w.Header().Set("X-ClickHouse-Exception-Tag", exceptionTag)
	w.Header().Set("X-ClickHouse-Format", q.format)
	var sentBytes int64
	var clientGone error
	err := conn.stream(q.sql, q.format, q.params, func(piece []byte) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if sentBytes += int64(len(piece)); q.user == UserReader && sentBytes > s.cfg.ReaderResult {
			return exception(396, "TOO_MANY_ROWS_OR_BYTES", "the result has more than %d bytes", s.cfg.ReaderResult)
		}
		_, clientGone = w.Write(piece)
		return clientGone
	})
	switch {
	case err == nil && sentBytes == 0:
		w.Header().Set("Content-Length", "0")
	case clientGone != nil:
		return &sentError{clientGone}
	case err != nil && sentBytes > 0:
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			err = exception(159, "TIMEOUT_EXCEEDED", "the request took longer than it may")
		}
		text := err.Error()
		_, _ = fmt.Fprintf(w, "\r\n__exception__\r\n%s\r\n%s\n%d %s\r\n__exception__\r\n", exceptionTag, text, len(text)+1, exceptionTag)
		return &sentError{err}
	}
	return err
}
