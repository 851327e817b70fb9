package store

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface. Text goes in as pointer and length, so
// that a query with a NUL byte is the engine's to refuse.
type library struct {
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv **byte) *uintptr
	closeConn         func(handle *uintptr)
	shutdown          func() int32

	queryParams       func(conn uintptr, sql *byte, sqlLen uint64, format *byte, formatLen uint64, names **byte, nameLens *uint64, values **byte, valueLens *uint64, count uint64) uintptr
	streamQueryParams func(conn uintptr, sql *byte, sqlLen uint64, format *byte, formatLen uint64, names **byte, nameLens *uint64, values **byte, valueLens *uint64, count uint64) uintptr
	streamFetch       func(conn, stream uintptr) uintptr
	streamCancel      func(conn, stream uintptr)

	insertBegin   func(conn uintptr, sql *byte, sqlLen uint64, format *byte, formatLen uint64) uintptr
	insertAppend  func(stream uintptr, data *byte, n uint64) int32
	insertDone    func(stream uintptr) uintptr
	insertCancel  func(stream uintptr)
	insertError   func(stream uintptr) string
	insertDestroy func(stream uintptr)

	resultBuffer  func(result uintptr) unsafe.Pointer
	resultLength  func(result uintptr) uint64
	resultError   func(result uintptr) string
	resultDestroy func(result uintptr)

	classify func(conn uintptr, sql *byte, sqlLen uint64, db *byte, dbLen uint64, out *classification) int32
}

// classification is what the engine says of a query's text without running it.
type classification struct {
	size       uint32
	statements uint32
	_          uint32 // flags
	class      uint32
}

// classReadOnly is the class of a query that changes nothing.
const classReadOnly = 0

var loadOnce struct {
	sync.Mutex
	path string
	lib  *library
}

// loadLibrary loads libchdb once in the life of the process: it cannot be
// unloaded.
func loadLibrary(path string) (*library, error) {
	loadOnce.Lock()
	defer loadOnce.Unlock()
	if loadOnce.lib != nil {
		if loadOnce.path != path {
			return nil, fmt.Errorf("load %s: this process already runs %s", path, loadOnce.path)
		}
		return loadOnce.lib, nil
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	lib := &library{}
	for name, target := range map[string]any{
		"chdb_set_signal_handlers_enabled": &lib.setSignalHandlers,
		"chdb_connect":                     &lib.connect,
		"chdb_close_conn":                  &lib.closeConn,
		"chdb_shutdown":                    &lib.shutdown,
		"chdb_query_with_params_n":         &lib.queryParams,
		"chdb_stream_query_with_params_n":  &lib.streamQueryParams,
		"chdb_stream_fetch_result":         &lib.streamFetch,
		"chdb_stream_cancel_query":         &lib.streamCancel,
		"chdb_stream_insert_n":             &lib.insertBegin,
		"chdb_stream_append":               &lib.insertAppend,
		"chdb_stream_done":                 &lib.insertDone,
		"chdb_stream_cancel_insert":        &lib.insertCancel,
		"chdb_stream_insert_error":         &lib.insertError,
		"chdb_destroy_insert_stream":       &lib.insertDestroy,
		"chdb_result_buffer":               &lib.resultBuffer,
		"chdb_result_length":               &lib.resultLength,
		"chdb_result_error":                &lib.resultError,
		"chdb_destroy_query_result":        &lib.resultDestroy,
		"chdb_classify_query_n":            &lib.classify,
	} {
		symbol, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("load %s: %w: is it another version of libchdb?", path, err)
		}
		purego.RegisterFunc(target, symbol)
	}
	// Before the first connection: with the library's own handlers a nil
	// dereference in Go would end or hang the process instead of panicking.
	lib.setSignalHandlers(0)
	loadOnce.path, loadOnce.lib = path, lib
	return lib, nil
}

// connection is one session of the engine. It is not safe for concurrent use.
type connection struct {
	lib    *library
	handle *uintptr
}

// open connects with the arguments of clickhouse-local, without its name.
func (l *library) open(args ...string) (*connection, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	argv := make([]*byte, 0, len(args)+2)
	for _, a := range append([]string{"clickhouse"}, args...) {
		text := append([]byte(a), 0)
		pin.Pin(&text[0])
		argv = append(argv, &text[0])
	}
	count := len(argv)
	argv = append(argv, nil)
	handle := l.connect(int32(count), &argv[0]) //nolint:gosec // a handful of arguments
	runtime.KeepAlive(argv)
	if handle == nil || *handle == 0 {
		return nil, errors.New("libchdb could not open the data directory")
	}
	return &connection{l, handle}, nil
}

func (c *connection) close() {
	if c.handle != nil {
		c.lib.closeConn(c.handle)
		c.handle = nil
	}
}

// param is one query parameter, {name:Type} in the text.
type param struct{ name, value string }

type paramArrays struct {
	names, values       []*byte
	nameLens, valueLens []uint64
}

func (a *paramArrays) args() (n **byte, nl *uint64, v **byte, vl *uint64, count uint64) {
	if len(a.names) == 0 {
		return nil, nil, nil, nil, 0
	}
	return &a.names[0], &a.nameLens[0], &a.values[0], &a.valueLens[0], uint64(len(a.names))
}

func packParams(pin *runtime.Pinner, params []param) *paramArrays {
	a := &paramArrays{}
	for _, p := range params {
		name, value := bytesOf(p.name), bytesOf(p.value)
		pin.Pin(name)
		pin.Pin(value)
		a.names, a.nameLens = append(a.names, name), append(a.nameLens, uint64(len(p.name)))
		a.values, a.valueLens = append(a.values, value), append(a.valueLens, uint64(len(p.value)))
	}
	return a
}

// bytesOf is a pointer to the text, never nil: the engine takes nil for a
// missing argument even with length 0.
func bytesOf(s string) *byte {
	if s == "" {
		return &[]byte{0}[0]
	}
	return unsafe.StringData(s)
}

// engineError is an exception of the engine, its text as ClickHouse writes it:
// "Code: N. DB::Exception: …".
type engineError struct{ text string }

func (e *engineError) Error() string { return e.text }

// take copies a result's bytes and destroys it.
func (c *connection) take(result uintptr) ([]byte, error) {
	if result == 0 {
		return nil, &engineError{"Code: 1002. DB::Exception: the engine gave no result (UNKNOWN_EXCEPTION)"}
	}
	defer c.lib.resultDestroy(result)
	if text := c.lib.resultError(result); text != "" {
		return nil, &engineError{text}
	}
	n := c.lib.resultLength(result)
	if n == 0 {
		return nil, nil
	}
	return append([]byte(nil), unsafe.Slice((*byte)(c.lib.resultBuffer(result)), n)...), nil
}

// query runs one statement and returns its whole result.
func (c *connection) query(sql, format string, params ...param) ([]byte, error) {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := packParams(&pin, params)
	n, nl, v, vl, count := a.args()
	result := c.lib.queryParams(*c.handle, bytesOf(sql), uint64(len(sql)), bytesOf(format), uint64(len(format)), n, nl, v, vl, count)
	runtime.KeepAlive(a)
	return c.take(result)
}

// stream runs a SELECT and gives its result to each, piece by piece; the piece
// is valid only during the call.
func (c *connection) stream(sql, format string, params []param, each func([]byte) error) error {
	var pin runtime.Pinner
	defer pin.Unpin()
	a := packParams(&pin, params)
	n, nl, v, vl, count := a.args()
	stream := c.lib.streamQueryParams(*c.handle, bytesOf(sql), uint64(len(sql)), bytesOf(format), uint64(len(format)), n, nl, v, vl, count)
	runtime.KeepAlive(a)
	if stream == 0 {
		return &engineError{"Code: 1002. DB::Exception: the engine gave no stream (UNKNOWN_EXCEPTION)"}
	}
	defer c.lib.resultDestroy(stream)
	if text := c.lib.resultError(stream); text != "" {
		return &engineError{text}
	}
	for {
		done, err := c.fetch(stream, each)
		if err != nil {
			c.lib.streamCancel(*c.handle, stream)
			return err
		}
		if done {
			return nil
		}
	}
}

func (c *connection) fetch(stream uintptr, each func([]byte) error) (done bool, err error) {
	piece := c.lib.streamFetch(*c.handle, stream)
	if piece == 0 {
		return true, nil
	}
	defer c.lib.resultDestroy(piece)
	if text := c.lib.resultError(piece); text != "" {
		return true, &engineError{text}
	}
	n := c.lib.resultLength(piece)
	if n == 0 {
		return true, nil
	}
	return false, each(unsafe.Slice((*byte)(c.lib.resultBuffer(piece)), n))
}

// insertion is an INSERT whose data comes piece by piece.
type insertion struct {
	conn   *connection
	stream uintptr
}

// insert begins an INSERT; sql has no FORMAT clause.
func (c *connection) insert(sql, format string) (*insertion, error) {
	stream := c.lib.insertBegin(*c.handle, bytesOf(sql), uint64(len(sql)), bytesOf(format), uint64(len(format)))
	if stream == 0 {
		return nil, &engineError{"Code: 1002. DB::Exception: the engine could not begin the INSERT (UNKNOWN_EXCEPTION)"}
	}
	in := &insertion{c, stream}
	if err := in.failure(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *insertion) failure() error {
	if text := in.conn.lib.insertError(in.stream); text != "" {
		return &engineError{text}
	}
	return nil
}

// append gives the engine one piece of data.
func (in *insertion) append(data []byte) error {
	if len(data) == 0 {
		return nil
	}
	if in.conn.lib.insertAppend(in.stream, &data[0], uint64(len(data))) != 0 {
		if err := in.failure(); err != nil {
			return err
		}
		return &engineError{"Code: 1002. DB::Exception: the engine refused a piece of the INSERT (UNKNOWN_EXCEPTION)"}
	}
	return nil
}

// done ends the data and waits until the rows are stored.
func (in *insertion) done() error {
	_, err := in.conn.take(in.conn.lib.insertDone(in.stream))
	return err
}

// cancel drops what has not been stored.
func (in *insertion) cancel() { in.conn.lib.insertCancel(in.stream) }

// close frees the insertion, after done or cancel.
func (in *insertion) close() { in.conn.lib.insertDestroy(in.stream) }

// analyse says what a query's text holds, without running it.
func (c *connection) analyse(sql string) (classification, error) {
	out := classification{size: uint32(unsafe.Sizeof(classification{}))}
	if code := c.lib.classify(*c.handle, bytesOf(sql), uint64(len(sql)), nil, 0, &out); code != 0 {
		return out, fmt.Errorf("the engine could not read the query (%d)", code)
	}
	return out, nil
}
