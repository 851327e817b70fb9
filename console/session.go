package console

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/alexedwards/scs/v2"
	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"
)

// maxSessions bounds the sessions that are open at once.
const maxSessions = 10_000

// endedFor is how long the end of a session is remembered: longer than a request
// takes. Streams ask whether theirs is still there.
const endedFor = 10 * time.Minute

// memory keeps sessions. A restart of the console ends them all.
//
// One that has ended stays so: every request keeps its session anew when it is
// answered, so one that is under way when somebody logs out would bring the
// session back.
type memory struct {
	mu       sync.Mutex
	sessions map[string]stored
}

type stored struct {
	data  []byte
	until time.Time
	ended bool
}

// Find implements scs.Store.
func (m *memory) Find(token string) ([]byte, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, ok := m.sessions[token]
	if !ok || s.ended || time.Now().After(s.until) {
		return nil, false, nil
	}
	return s.data, true, nil
}

// Commit implements scs.Store.
func (m *memory) Commit(token string, data []byte, until time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	s, known := m.sessions[token]
	if s.ended {
		return nil
	}
	if !known {
		m.sweep()
		if len(m.sessions) >= maxSessions {
			return errors.New("too many sessions are open")
		}
	}
	m.sessions[token] = stored{data: data, until: until}
	return nil
}

func (m *memory) sweep() {
	now := time.Now()
	maps.DeleteFunc(m.sessions, func(_ string, s stored) bool { return now.After(s.until) })
}

// Delete implements scs.Store.
func (m *memory) Delete(token string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.sessions[token]; known {
		m.sessions[token] = stored{until: time.Now().Add(endedFor), ended: true}
	}
	return nil
}

// All implements scs.IterableStore.
func (m *memory) All() (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sweep()
	all := make(map[string][]byte, len(m.sessions))
	for token, s := range m.sessions {
		if !s.ended {
			all[token] = s.data
		}
	}
	return all, nil
}

// nameKey is the only thing that a session knows: who it is. What they may do is
// asked of the registry at each request.
const nameKey = "name"

func (c *Console) newSessions() *scs.SessionManager {
	s := &scs.SessionManager{ // scs.New would start a store of its own, with a goroutine
		Store: &memory{sessions: map[string]stored{}}, Codec: scs.GobCodec{},
		Lifetime: c.cfg.SessionLifetime, IdleTimeout: c.cfg.SessionIdle,
		Cookie: scs.SessionCookie{Name: "fengsui", Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode},
	}
	if c.cfg.TLS.Cert != "" {
		s.Cookie.Secure, s.Cookie.Name = true, "__Host-fengsui"
	}
	s.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) { c.internal("keeping a session", err).write(w) }
	return s
}

// endOthers ends all sessions of a user but the one of ctx.
func (c *Console) endOthers(ctx context.Context, name string) error {
	mine := c.sessions.Token(ctx)
	return c.sessions.Iterate(ctx, func(ctx context.Context) error {
		if c.sessions.GetString(ctx, nameKey) == name && c.sessions.Token(ctx) != mine {
			return c.sessions.Destroy(ctx)
		}
		return nil
	})
}

// attempts bounds how often passwords are tried: for one name, and from one
// address. Who got it right begins anew.
type attempts struct {
	byName, byAddress *lru.Cache[string, *rate.Limiter]
	every             time.Duration // one more is allowed in so long
	working           chan struct{} // each check of a password takes 64 MiB
}

// The bounds: so many at once, and then one in so long.
const (
	attemptsByName    = 10
	attemptsByAddress = 30
	attemptEvery      = 6 * time.Second
	rememberAttempts  = 10_000 // names, and addresses
	workingAttempts   = 2
)

func newAttempts() *attempts {
	a := &attempts{every: attemptEvery, working: make(chan struct{}, workingAttempts)}
	a.byName, _ = lru.New[string, *rate.Limiter](rememberAttempts) // fails for sizes below 1 only
	a.byAddress, _ = lru.New[string, *rate.Limiter](rememberAttempts)
	return a
}

// try counts an attempt, and waits for its turn; done ends it. Not ok is one
// attempt too many.
func (a *attempts) try(ctx context.Context, name, address string) (done func(right bool), ok bool) {
	if !a.limiter(a.byAddress, address, attemptsByAddress).Allow() || !a.limiter(a.byName, name, attemptsByName).Allow() {
		return nil, false
	}
	select {
	case a.working <- struct{}{}:
	case <-ctx.Done():
		return nil, false
	}
	return func(right bool) {
		<-a.working
		if right {
			a.byName.Remove(name)
			a.byAddress.Remove(address)
		}
	}, true
}

func (a *attempts) limiter(known *lru.Cache[string, *rate.Limiter], key string, burst int) *rate.Limiter {
	fresh := rate.NewLimiter(rate.Every(a.every), burst)
	if l, found, _ := known.PeekOrAdd(key, fresh); found {
		known.Get(key) // it is in use: what is forgotten is the oldest
		return l
	}
	return fresh
}

// peer is the address that a request came from, without its port. Headers that
// claim another are not believed.
func peer(r *http.Request) net.IP {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	return net.ParseIP(host)
}
