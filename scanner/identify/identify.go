// Package identify says what answers on an open port: the service's name,
// product and version, its banner, its certificate, its page, what it is made
// with, and in which ways it is open that should not be.
//
// It makes no connection itself: whoever calls it dials, and so decides where to.
// It sends only what an ordinary client sends first or asks for, never a
// password, changes nothing, follows no redirect to another address or port, and
// reads a bounded amount for a bounded time. What it sends to which port is
// written down in docs/manual/identification.md.
package identify

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"time"

	"fengsui/schemas"
)

const (
	maxBanner   = 512
	maxRead     = 80 << 10 // of one answer: a page of 64 KiB and its header
	probeWait   = 2 * time.Second
	maxDuration = 10 * time.Second // for one port, all probes together
	maxDetails  = 10 * time.Second // for what is asked of a service that is known
	// enoughSilence is after how many protocols without a byte of answer no more
	// are tried: whatever speaks, answers a greeting, TLS or HTTP, if with an error.
	enoughSilence = 3
)

// Dial makes one more connection to the port.
type Dial func(ctx context.Context) (net.Conn, error)

// Target is an open port, and how to reach it.
type Target struct {
	Host string    // an address
	Name string    // by which the address is known, for TLS and HTTP; empty: the address
	Port int       // for what is usual there
	Now  time.Time // against which certificates and versions are held
	Dial Dial

	page  *page   // the first, of a web server
	begin upgrade // of a service that begins in clear
}

// probe tries one protocol on a fresh connection. A nil service is "not this";
// silent says that the other side said nothing at all.
type probe struct {
	name string
	try  func(ctx context.Context, t *Target) (s *schemas.Service, silent bool, err error)
}

var probes = []probe{
	{"banner", tryBanner},
	{"tls", tryTLS},
	{"http", tryHTTP},
	{"redis", tryRedis},
	{"memcached", tryMemcached},
	{"dns", tryDNS},
	{"mongodb", tryMongoDB},
	{"postgresql", tryPostgreSQL},
	{"amqp", tryAMQP},
	{"mqtt", tryMQTT},
	{"zookeeper", tryZooKeeper},
	{"ajp", tryAJP},
	{"x11", tryX11},
}

// hints is the protocol to try first on a usual port. On others the side that
// speaks first is let speak first.
var hints = map[int]string{
	21: "banner", 22: "banner", 23: "banner", 25: "banner", 110: "banner", 143: "banner", 587: "banner", 873: "banner", 2121: "banner", 2222: "banner",
	2525: "banner", 3306: "banner", 3307: "banner", 5900: "banner", 5901: "banner",
	53: "dns", 6379: "redis", 6380: "redis", 11211: "memcached", 27017: "mongodb", 27018: "mongodb", 27019: "mongodb",
	5432: "postgresql", 5433: "postgresql", 5672: "amqp", 1883: "mqtt", 2181: "zookeeper", 2182: "zookeeper", 8009: "ajp", 6000: "x11", 6001: "x11",
	80: "http", 81: "http", 591: "http", 2375: "http", 2379: "http", 3000: "http", 5000: "http", 5601: "http", 5984: "http",
	7001: "http", 8000: "http", 8001: "http", 8008: "http", 8080: "http", 8081: "http", 8088: "http", 8500: "http", 8888: "http",
	9000: "http", 9090: "http", 9200: "http", 10255: "http", 15672: "http",
	443: "tls", 465: "tls", 636: "tls", 853: "tls", 990: "tls", 993: "tls", 995: "tls", 2376: "tls", 4443: "tls", 5671: "tls", 6443: "tls",
	8443: "tls", 8883: "tls", 9443: "tls", 10250: "tls",
}

// Service finds out what listens on a TCP port. nil is an open port that tells
// nothing. The error is of the dialling: ctx's, or a connection that could not
// be made any more.
func Service(ctx context.Context, t Target) (*schemas.Service, error) {
	s, err := t.identify(ctx)
	if s == nil || err != nil {
		return nil, err
	}
	t.details(ctx, s)
	t.expose(s)
	return s, nil
}

func (t *Target) identify(ctx context.Context) (*schemas.Service, error) {
	ctx, cancel := context.WithTimeout(ctx, maxDuration)
	defer cancel()
	order := slices.Clone(probes)
	if hint := hints[t.Port]; hint != "" {
		slices.SortStableFunc(order, func(a, b probe) int { return btoi(b.name == hint) - btoi(a.name == hint) })
	}
	allSilent := true
	for i, p := range order {
		if allSilent && i >= enoughSilence && p.name != hints[t.Port] {
			break // it says nothing to anybody
		}
		s, silent, err := p.try(ctx, t)
		if s != nil {
			return s, nil
		}
		if err != nil {
			return nil, timedOut(ctx, err)
		}
		allSilent = allSilent && silent
	}
	s, err := tryLibrary(ctx, t, allSilent)
	return s, timedOut(ctx, err)
}

// details asks a service that is known for more, on further connections. What
// it does not get in time, or at all, stays unknown.
func (t *Target) details(ctx context.Context, s *schemas.Service) {
	ctx, cancel := context.WithTimeout(ctx, maxDetails)
	defer cancel()
	if s.TLS == nil {
		t.startTLS(ctx, s)
	} else {
		t.handshakes(ctx, s.TLS)
	}
}

// timedOut makes the end of our own time for a port no error: it is simply not
// identified.
func timedOut(ctx context.Context, err error) error {
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return nil
	}
	return err
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// with dials, and closes the connection after f, or when ctx ends. silent says
// that the other side neither said anything nor hung up.
func (t *Target) with(ctx context.Context, wait time.Duration, f func(net.Conn)) (silent bool, err error) {
	conn, err := t.Dial(ctx)
	if err != nil {
		return true, err
	}
	heard := &listener{Conn: conn}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	_ = conn.SetDeadline(time.Now().Add(wait)) // fails only on a closed connection, as f will
	f(heard)
	return !heard.anything, nil
}

// listener notes whether the other side does anything.
type listener struct {
	net.Conn
	anything bool
}

func (l *listener) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	var timeout net.Error
	l.anything = l.anything || n > 0 || err != nil && !(errors.As(err, &timeout) && timeout.Timeout())
	return n, err
}

// exchange sends and reads until enough, the end or the time-out.
func exchange(c net.Conn, send []byte, enough func([]byte) bool) []byte {
	if _, err := c.Write(send); err != nil {
		return nil
	}
	var got []byte
	buf := make([]byte, 4096)
	for len(got) < maxRead {
		n, err := c.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil || enough(got) {
			break
		}
	}
	return got
}

// bounded is a connection of which no more than maxRead is read.
func bounded(c net.Conn) io.Reader { return io.LimitReader(c, maxRead) }
