package packet

import "bytes"

// kind is what one direction of a connection speaks.
type kind uint8

const (
	kindUnknown kind = iota
	kindTLS
	kindHTTP
	kindLines // JSON, one message a line
	kindDNS   // DNS over TCP
	kindWebSocket
	kindPaused // waits for the other direction's answer to an upgrade
)

const (
	maxHalfBuffer = 72 << 10 // bytes of one direction that wait for their rest
	maxSniffs     = 16       // starts of segments looked at where the beginning is not known
)

// session listens to what is said in a TCP connection. Each direction is
// recognised on its own, by content and not by port: a pool answers a TLS hello
// with a line of JSON.
type session struct {
	e       *engine
	c       *conn
	halves  [2]half
	ssl     *sslSession
	http    *httpSession
	stratum *stratumSession
	login   *heldLogin // a login that may be a miner's
	at      int64      // time of the segment that is being read
	held    int        // bytes that the engine has on account for this session
}

// half is one direction.
type half struct {
	kind    kind
	off     bool   // nobody listens any more
	buf     []byte // not consumed yet
	scanned int    // bytes of buf in which no line end was found
	sniffs  int    // segments that were looked at in vain
	skip    bool   // in the middle of a line that is too long
	lost    bool   // bytes before this were not seen

	whole  int // attempts to read an unended line as a message
	misses int // lines that were no mining message
	tls    *tlsHalf
	http   *httpHalf
	ws     *wsHalf
}

func newSession(e *engine, c *conn) *session { return &session{e: e, c: c} }

// account tells the engine how much memory the session holds now.
func (s *session) account() {
	n := 0
	for dir := range s.halves {
		h := &s.halves[dir]
		n += len(h.buf)
		if h.tls != nil {
			n += len(h.tls.messages)
		}
		if h.http != nil {
			n += len(h.http.body)
		}
		if h.ws != nil {
			n += len(h.ws.message)
		}
	}
	if s.ssl != nil {
		n += s.ssl.certBytes
	}
	s.e.buffered += n - s.held
	s.held = n
}

// data takes the next bytes of a direction.
func (s *session) data(dir int, b []byte, at int64) {
	h := &s.halves[dir]
	if h.off || len(b) == 0 {
		return
	}
	s.at = at
	if len(h.buf) > 0 {
		h.buf = append(h.buf, b...)
		b = h.buf
	}
	s.run(dir, b)
	s.settle()
}

// run reads from b as far as it goes and keeps the rest. b is h.buf itself or
// the packet's bytes.
func (s *session) run(dir int, b []byte) {
	h := &s.halves[dir]
	for len(b) > 0 && !h.off {
		n := s.step(dir, b)
		if n == 0 {
			break
		}
		b, h.scanned = b[n:], 0
	}
	switch {
	case h.off || len(b) == 0:
		h.buf = nil
	case len(b) > maxHalfBuffer:
		s.e.m.undecoded["stream"].Inc()
		s.stop(dir)
	case len(h.buf) > 0 && len(b) < len(h.buf):
		h.buf = h.buf[:copy(h.buf, b)]
	case len(h.buf) == 0:
		h.buf = append([]byte(nil), b...)
	}
}

// step consumes something from the front of b and says how many bytes; 0 means
// that more is needed, or that the half is off.
func (s *session) step(dir int, b []byte) int {
	switch h := &s.halves[dir]; h.kind {
	case kindTLS:
		return s.tlsStep(dir, b)
	case kindHTTP:
		return s.httpStep(dir, b)
	case kindLines:
		return s.lineStep(dir, b)
	case kindDNS:
		return s.dnsStep(dir, b)
	case kindWebSocket:
		return s.wsStep(dir, b)
	case kindPaused:
		return 0
	}
	return s.sniff(dir, b)
}

// sniff recognises what a direction speaks.
func (s *session) sniff(dir int, b []byte) int {
	h := &s.halves[dir]
	k, enough := recognise(b)
	if k == kindUnknown && (s.c.port[0] == portDNS || s.c.port[1] == portDNS) {
		k, enough = kindDNS, true
	}
	if !enough {
		return 0
	}
	if k != kindUnknown {
		h.kind = k
		return s.step(dir, b)
	}
	// Where the beginning was not seen, or was lost, a later segment may begin
	// with a message; where it was, this is nothing that we know.
	if h.sniffs++; s.c.started && !h.lost || h.sniffs >= maxSniffs {
		s.stop(dir)
		return 0
	}
	return len(b)
}

// httpMethods begin requests; those of WebDAV and the like are left out.
var httpMethods = [][]byte{
	[]byte("GET "), []byte("POST "), []byte("HEAD "), []byte("PUT "), []byte("DELETE "),
	[]byte("OPTIONS "), []byte("CONNECT "), []byte("PATCH "), []byte("TRACE "),
	[]byte("PROPFIND "), []byte("HTTP/1."),
}

// recognise looks at the beginning of what one side says. enough is false when
// it could still become something.
func recognise(b []byte) (k kind, enough bool) {
	switch b[0] {
	case recordHandshake:
		if len(b) < 6 {
			return kindUnknown, false
		}
		known := b[1] == 3 && b[2] <= 4 || b[1] == 1 && b[2] == 1
		if known && (b[5] == helloClient || b[5] == helloServer) {
			return kindTLS, true
		}
		return kindUnknown, true
	case '{', '[':
		return kindLines, true
	case ' ', '\t', '\r', '\n':
		t := bytes.TrimLeft(b, " \t\r\n")
		switch {
		case len(t) > 0 && (t[0] == '{' || t[0] == '['):
			return kindLines, true
		case len(t) == 0 && len(b) < 16:
			return kindUnknown, false
		}
		return kindUnknown, true
	}
	for _, m := range httpMethods {
		if bytes.HasPrefix(b, m) {
			return kindHTTP, true
		}
		if len(b) < len(m) && bytes.HasPrefix(m, b) {
			return kindUnknown, false
		}
	}
	return kindUnknown, true
}

// lineStep reads one line of JSON.
func (s *session) lineStep(dir int, b []byte) int {
	h := &s.halves[dir]
	i := bytes.IndexByte(b[min(h.scanned, len(b)):], '\n')
	if i < 0 {
		h.scanned = len(b)
		switch {
		case h.skip:
			return len(b)
		case len(b) > maxJSON:
			h.skip = true
			return len(b)
		case b[len(b)-1] == '}' && h.whole < 8:
			// Some miners send no line end.
			if h.whole++; s.jsonLine(dir, b) {
				h.whole = 0
				return len(b)
			}
		}
		return 0
	}
	i += h.scanned
	line := bytes.TrimSpace(b[:i])
	if h.skip {
		h.skip = false
	} else if len(line) > 0 && !s.jsonLine(dir, line) {
		if h.misses++; h.misses >= maxMisses && s.stratum == nil {
			s.stop(dir)
		}
	}
	return i + 1
}

// dnsStep reads one message of DNS over TCP (RFC 1035 4.2.2).
func (s *session) dnsStep(dir int, b []byte) int {
	if len(b) < 2 {
		return 0
	}
	n := int(b[0])<<8 | int(b[1])
	if n < 12 {
		s.stop(dir)
		return 0
	}
	if len(b) < 2+n {
		return 0
	}
	s.e.dnsMessage(s.c, dir, s.at, b[2:2+n], false)
	return 2 + n
}

// gap says that n bytes of a direction were never seen.
func (s *session) gap(dir, n int) {
	h := &s.halves[dir]
	if h.off {
		return
	}
	h.buf, h.scanned = nil, 0
	if h.kind == kindHTTP && h.http.skipHole(n) {
		return
	}
	if h.kind == kindTLS {
		s.stop(dir)
	} else {
		*h = half{kind: kindUnknown, lost: true, misses: h.misses}
		if s.http != nil {
			s.http.lost(s)
		}
	}
	s.settle()
}

// resume reads on in a direction that was paused, as kind k.
func (s *session) resume(dir int, k kind) {
	h := &s.halves[dir]
	h.kind, h.http, h.scanned = k, nil, 0
	if k == kindWebSocket {
		h.ws = &wsHalf{}
	}
	if len(h.buf) > 0 {
		s.run(dir, h.buf)
	}
}

// stop ends listening to one direction.
func (s *session) stop(dir int) { s.halves[dir].off = true }

// settle lets go of the connection when neither direction is listened to.
func (s *session) settle() {
	if s.c.deaf || s.c.session != s {
		return
	}
	for dir := range s.halves {
		if h := &s.halves[dir]; h.off {
			h.buf = nil
		}
	}
	s.account()
	if s.halves[0].off && s.halves[1].off {
		s.e.close(s.c)
	}
}

// end writes what is known so far of conversations that are not over.
func (s *session) end() {
	if s.ssl != nil {
		s.ssl.write(s)
	}
	if s.http != nil {
		s.http.end(s)
	}
}
