package console

import (
	"context"
	"testing"
	"time"

	"github.com/alexedwards/scs/v2"
)

// A request that is under way when its session ends, or when it gets another
// token, does not bring the session back.
func TestSessionsStayEnded(t *testing.T) {
	m := &memory{sessions: map[string]stored{}}
	s := &scs.SessionManager{Store: m, Codec: scs.GobCodec{}, Lifetime: time.Hour, IdleTimeout: time.Minute}
	load := func(token string) context.Context {
		t.Helper()
		ctx, err := s.Load(context.Background(), token)
		must(t, err)
		return ctx
	}
	commit := func(ctx context.Context) string {
		t.Helper()
		token, _, err := s.Commit(ctx)
		must(t, err)
		return token
	}
	logIn := func() string {
		ctx := load("")
		s.Put(ctx, nameKey, "zhang")
		return commit(ctx)
	}
	f := func(name string, end func(ctx context.Context) error) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			token := logIn()
			under, ending := load(token), load(token)
			must(t, end(ending))
			commit(under)
			if got := s.GetString(load(token), nameKey); got != "" {
				t.Errorf("the session of %s is back", got)
			}
			all, err := m.All()
			must(t, err)
			if _, there := all[token]; there {
				t.Error("it is among those that are open")
			}
		})
	}
	f("logged out", s.Destroy)
	f("another token", s.RenewToken)

	if token := logIn(); s.GetString(load(token), nameKey) != "zhang" {
		t.Error("who logs in anew is not in")
	}
}
