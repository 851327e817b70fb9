package packet

import (
	"bytes"
	"encoding/base64"
	"net"
	"strconv"
	"strings"
)

// Bounds of one HTTP message.
const (
	maxHTTPLine    = 16 << 10
	maxHeaders     = 200
	maxHeaderBytes = 64 << 10
	maxRequests    = 32       // of one connection that wait for their response
	maxJSON        = 64 << 10 // of a body, a line or a frame that is read as JSON
)

// httpState is where in a message a direction stands.
type httpState uint8

const (
	httpStart httpState = iota
	httpHeader
	httpBody // remaining bytes of it
	httpChunkSize
	httpChunkEnd
	httpTrailer
	httpUntilClose
)

// httpTx is one request with its response.
type httpTx struct {
	at       int64
	depth    int
	method   string
	uri      string
	host     string
	version  string
	referrer string
	agent    string
	origin   string
	user     string
	proxied  string
	reqType  string
	respType string
	reqLen   int64
	respLen  int64
	status   int
	message  string
	infoCode int
	infoText string
	upgrade  bool // asks to go on as WebSocket
	answered bool
	written  bool
}

// httpHalf is the message that a direction is in.
type httpHalf struct {
	state     httpState
	response  bool
	tx        *httpTx
	headers   int
	bytes     int
	remaining int64
	length    int64 // Content-Length; -1 without
	chunked   bool
	mime      string
	upgrade   bool
	body      []byte // kept while it may be JSON
	keep      bool
}

// httpSession pairs requests with responses.
type httpSession struct {
	waiting []*httpTx
	depth   int
}

func (s *session) httpStep(dir int, b []byte) int {
	h := &s.halves[dir]
	if h.http == nil {
		h.http = &httpHalf{length: -1}
	}
	if s.http == nil {
		s.http = &httpSession{}
	}
	x := h.http
	switch x.state {
	case httpBody:
		n := int(min(int64(len(b)), x.remaining))
		s.httpData(dir, b[:n])
		if x.remaining -= int64(n); x.remaining == 0 {
			if x.chunked {
				x.state = httpChunkEnd
			} else {
				s.httpDone(dir)
			}
		}
		return n
	case httpUntilClose:
		s.httpData(dir, b)
		return len(b)
	}
	i := bytes.IndexByte(b[min(h.scanned, len(b)):], '\n')
	if i < 0 {
		if h.scanned = len(b); len(b) > maxHTTPLine {
			s.httpBad(dir)
		}
		return 0
	}
	i += h.scanned
	line := bytes.TrimSuffix(b[:i], []byte("\r"))
	switch x.state {
	case httpStart:
		s.httpStartLine(dir, line)
	case httpHeader:
		x.headers++
		if x.bytes += len(line); x.headers > maxHeaders || x.bytes > maxHeaderBytes {
			s.httpBad(dir)
		} else if len(line) > 0 {
			s.httpHeaderLine(dir, line)
		} else {
			s.httpHeadersEnd(dir)
		}
	case httpChunkSize:
		text, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 16, 64)
		switch {
		case err != nil || n < 0:
			s.httpBad(dir)
		case n == 0:
			x.state = httpTrailer
		default:
			x.state, x.remaining = httpBody, n
		}
	case httpChunkEnd:
		if x.state = httpChunkSize; len(line) > 0 {
			s.httpBad(dir)
		}
	case httpTrailer:
		if x.headers++; x.headers > maxHeaders {
			s.httpBad(dir)
		} else if len(line) == 0 {
			s.httpDone(dir)
		}
	}
	return i + 1
}

// httpBad gives a direction up that breaks the protocol.
func (s *session) httpBad(dir int) {
	s.e.m.undecoded["http"].Inc()
	s.stop(dir)
}

func (s *session) httpStartLine(dir int, line []byte) {
	x := s.halves[dir].http
	if len(line) == 0 {
		return
	}
	if bytes.HasPrefix(line, []byte("HTTP/")) {
		s.httpStatus(dir, line)
		return
	}
	method, rest, ok := bytes.Cut(line, []byte(" "))
	i := bytes.LastIndexByte(rest, ' ')
	if !ok || i < 0 || !bytes.HasPrefix(rest[i+1:], []byte("HTTP/")) || !isToken(method) {
		s.httpBad(dir)
		return
	}
	s.c.addService("http")
	s.http.depth++
	tx := &httpTx{
		at: s.at, depth: s.http.depth, method: string(method),
		uri: string(rest[:i]), version: string(rest[i+1+len("HTTP/"):]),
	}
	if len(s.http.waiting) == maxRequests {
		s.http.waiting[0].write(s)
		s.http.waiting = s.http.waiting[1:]
	}
	s.http.waiting = append(s.http.waiting, tx)
	*x = httpHalf{state: httpHeader, tx: tx, length: -1}
}

func isToken(b []byte) bool {
	for _, c := range b {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 32
}

func (s *session) httpStatus(dir int, line []byte) {
	version, rest, _ := bytes.Cut(line, []byte(" "))
	text, message, _ := bytes.Cut(rest, []byte(" "))
	code, err := strconv.Atoi(string(text))
	if err != nil || code < 100 || code > 999 {
		s.httpBad(dir)
		return
	}
	s.c.addService("http")
	var tx *httpTx
	if len(s.http.waiting) > 0 {
		tx = s.http.waiting[0]
	} else {
		s.http.depth++
		tx = &httpTx{at: s.at, depth: s.http.depth}
		s.http.waiting = append(s.http.waiting, tx)
	}
	if code < 200 && code != 101 {
		tx.infoCode, tx.infoText = code, string(message)
	} else {
		tx.status, tx.message = code, string(message)
	}
	if tx.version == "" {
		tx.version = strings.TrimPrefix(string(version), "HTTP/")
	}
	*s.halves[dir].http = httpHalf{state: httpHeader, response: true, tx: tx, length: -1}
}

func (s *session) httpHeaderLine(dir int, line []byte) {
	x := s.halves[dir].http
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return
	}
	v := string(bytes.TrimSpace(value))
	switch strings.ToLower(string(name)) {
	case "content-length":
		if n, err := strconv.ParseInt(v, 10, 64); err == nil && n >= 0 {
			x.length = n
		}
	case "transfer-encoding":
		x.chunked = strings.Contains(strings.ToLower(v), "chunked")
	case "content-type":
		media, _, _ := strings.Cut(v, ";")
		x.mime = strings.ToLower(strings.TrimSpace(media))
	case "upgrade":
		x.upgrade = strings.EqualFold(v, "websocket")
	case "host":
		x.tx.host = hostOf(v)
	case "user-agent":
		x.tx.agent = v
	case "referer":
		x.tx.referrer = v
	case "origin":
		x.tx.origin = v
	case "x-forwarded-for":
		x.tx.proxied = "X-FORWARDED-FOR -> " + v
	case "authorization":
		// The name only: a password is never written anywhere.
		if kind, text, _ := strings.Cut(v, " "); strings.EqualFold(kind, "basic") {
			if plain, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text)); err == nil {
				x.tx.user, _, _ = strings.Cut(string(plain), ":")
			}
		}
	}
}

// hostOf takes the port off a Host header, as Zeek does.
func hostOf(v string) string {
	if h, _, err := net.SplitHostPort(v); err == nil {
		return h
	}
	return strings.Trim(v, "[]")
}

func (s *session) httpHeadersEnd(dir int) {
	x := s.halves[dir].http
	if x.response {
		x.tx.respType = x.mime
		if x.tx.answered = x.tx.status != 0; !x.tx.answered {
			*x = httpHalf{length: -1} // 100 Continue and the like: the response is still to come
			return
		}
		if s.switched(dir) {
			return
		}
	} else {
		x.tx.reqType, x.tx.upgrade = x.mime, x.upgrade
	}
	bodiless := x.response && (x.tx.method == "HEAD" || x.tx.status == 204 || x.tx.status == 304)
	switch {
	case bodiless:
		s.httpDone(dir)
	case x.chunked:
		x.state, x.keep = httpChunkSize, true
	case x.length > 0:
		x.state, x.remaining, x.keep = httpBody, x.length, x.length <= maxJSON
	case x.length < 0 && x.response:
		x.state, x.keep = httpUntilClose, true
	default:
		s.httpDone(dir)
	}
}

// switched goes on as what an accepted CONNECT or upgrade asked for.
func (s *session) switched(dir int) bool {
	tx := s.halves[dir].http.tx
	next := kindHTTP
	switch {
	case tx.status == 101 && tx.upgrade:
		next = kindWebSocket
		s.c.addService("websocket")
	case tx.method == "CONNECT" && tx.status/100 == 2:
		next = kindUnknown
	}
	if next == kindHTTP {
		return false
	}
	s.http.finish(s, tx)
	h := &s.halves[dir]
	h.kind, h.http = next, nil
	if next == kindWebSocket {
		h.ws = &wsHalf{}
	}
	if s.halves[1-dir].kind == kindPaused {
		s.resume(1-dir, next)
	}
	return true
}

// httpData takes a piece of a body.
func (s *session) httpData(dir int, b []byte) {
	x := s.halves[dir].http
	if x.response {
		x.tx.respLen += int64(len(b))
	} else {
		x.tx.reqLen += int64(len(b))
	}
	if !x.keep || len(b) == 0 {
		return
	}
	if len(x.body) == 0 {
		if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && t[0] != '{' && t[0] != '[' {
			x.keep = false
			return
		}
	}
	if len(x.body)+len(b) > maxJSON {
		x.keep, x.body = false, nil
		return
	}
	x.body = append(x.body, b...)
}

// httpDone ends a message.
func (s *session) httpDone(dir int) {
	x := s.halves[dir].http
	tx := x.tx
	if x.keep && len(x.body) > 0 {
		s.jsonBody(dir, x.body, tx)
	}
	if x.response {
		s.http.finish(s, tx)
		*x = httpHalf{length: -1}
		if s.halves[1-dir].kind == kindPaused {
			s.resume(1-dir, kindHTTP) // the upgrade was refused
		}
		return
	}
	*x = httpHalf{length: -1}
	if (tx.upgrade || tx.method == "CONNECT") && !tx.answered {
		s.halves[dir].kind = kindPaused
	}
}

// skipHole passes over n lost bytes where the message's framing allows it.
func (x *httpHalf) skipHole(n int) bool {
	if x == nil {
		return false
	}
	x.keep, x.body = false, nil
	switch {
	case x.state == httpUntilClose:
	case x.state == httpBody && x.remaining > int64(n):
		x.remaining -= int64(n)
	default:
		return false
	}
	if x.response {
		x.tx.respLen += int64(n)
	} else {
		x.tx.reqLen += int64(n)
	}
	return true
}

// finish writes a transaction and those before it that will get no answer.
func (p *httpSession) finish(s *session, tx *httpTx) {
	if tx.written {
		return
	}
	for len(p.waiting) > 0 {
		first := p.waiting[0]
		p.waiting = p.waiting[1:]
		first.write(s)
		if first == tx {
			return
		}
	}
}

// lost writes what waits: after a hole requests and responses cannot be paired.
func (p *httpSession) lost(s *session) {
	for _, tx := range p.waiting {
		tx.write(s)
	}
	p.waiting = nil
}

// end is the end of the connection, which may be the end of a response.
func (p *httpSession) end(s *session) {
	for dir := range s.halves {
		h := &s.halves[dir]
		if x := h.http; x != nil && h.kind == kindHTTP && x.state == httpUntilClose && !h.off {
			s.httpDone(dir)
		}
	}
	p.lost(s)
}

func (tx *httpTx) write(s *session) {
	tx.written = true
	r := s.c.head("http", tx.at, s.e.identity)
	r.int("trans_depth", int64(tx.depth))
	r.str("method", tx.method)
	r.str("host", tx.host)
	r.str("uri", tx.uri)
	r.str("referrer", tx.referrer)
	r.str("version", tx.version)
	r.str("user_agent", tx.agent)
	r.str("origin", tx.origin)
	r.int("request_body_len", tx.reqLen)
	r.int("response_body_len", tx.respLen)
	if tx.status != 0 {
		r.int("status_code", int64(tx.status))
		r.str("status_msg", tx.message)
	}
	if tx.infoCode != 0 {
		r.int("info_code", int64(tx.infoCode))
		r.str("info_msg", tx.infoText)
	}
	r.str("username", tx.user)
	if tx.proxied != "" {
		r.strs("proxied", []string{tx.proxied})
	}
	if tx.reqType != "" {
		r.strs("orig_mime_types", []string{tx.reqType})
	}
	if tx.respType != "" {
		r.strs("resp_mime_types", []string{tx.respType})
	}
	s.e.write("http", r.done())
}

// wsHalf is the frame (RFC 6455 5.2) that a direction is in.
type wsHalf struct {
	message []byte // of text, over its frames
	text    bool
	discard int64 // bytes of a frame that is passed over
}

func (s *session) wsStep(dir int, b []byte) int {
	w := s.halves[dir].ws
	if w.discard > 0 {
		n := int(min(int64(len(b)), w.discard))
		w.discard -= int64(n)
		return n
	}
	if len(b) < 2 {
		return 0
	}
	final, compressed, opcode := b[0]&0x80 != 0, b[0]&0x40 != 0, b[0]&15
	masked, n, head := b[1]&0x80 != 0, int64(b[1]&0x7f), 2
	switch n {
	case 126:
		if len(b) < 4 {
			return 0
		}
		n, head = int64(b[2])<<8|int64(b[3]), 4
	case 127:
		if len(b) < 10 {
			return 0
		}
		n, head = 0, 10
		for _, c := range b[2:10] {
			n = n<<8 | int64(c)
		}
	}
	if b[0]&0x30 != 0 || n < 0 || opcode > 10 || opcode > 2 && opcode < 8 {
		s.e.m.undecoded["websocket"].Inc()
		s.stop(dir)
		return 0
	}
	var mask [4]byte
	if masked {
		if len(b) < head+4 {
			return 0
		}
		copy(mask[:], b[head:])
		head += 4
	}
	if opcode == 1 || opcode == 2 {
		w.text, w.message = opcode == 1 && !compressed, nil
		if compressed {
			s.e.m.undecoded["websocket"].Inc()
		}
	}
	if !w.text || opcode > 1 || n+int64(len(w.message)) > maxJSON {
		w.discard = n
		if opcode < 8 {
			w.text, w.message = false, nil
		}
		return head
	}
	if int64(len(b)) < int64(head)+n {
		return 0
	}
	at := len(w.message)
	w.message = append(w.message, b[head:head+int(n)]...)
	if masked {
		for i := range w.message[at:] {
			w.message[at+i] ^= mask[i&3]
		}
	}
	if final {
		h := &s.halves[dir]
		if !s.jsonMessage(dir, w.message, "websocket", "", "") {
			if h.misses++; h.misses >= maxMisses && s.stratum == nil {
				s.stop(dir)
			}
		}
		w.text, w.message = false, nil
	}
	return head + int(n)
}
