package identity_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"fengsui/analyzer/identity"
	"fengsui/schemas"
)

// tree is units whose codes begin with that of the unit above.
type tree struct{}

func (tree) Under(code, ancestor string) bool {
	return ancestor != "" && strings.HasPrefix(code, ancestor)
}

// finder looks sightings up as the store does.
func finder(all []schemas.Sighting) identity.Find {
	return func(_ context.Context, keys []schemas.IdentityKey, from, to time.Time) (found []schemas.Sighting, _ error) {
		for i := range all {
			if since := all[i].Since(); slices.Contains(keys, all[i].Key()) && !since.Before(from) && !since.After(to) {
				found = append(found, all[i])
			}
		}
		return found, nil
	}
}

// short is what an answer comes to.
func short(w *schemas.Identity) string {
	s := fmt.Sprintf("%s %s%s%s", w.Kind, w.MAC, w.User, w.Inside)
	if w.Apart > 0 {
		s += " apart " + w.Apart.String()
	}
	return s
}

func minutes(n int) time.Time { return at.Add(time.Duration(n) * time.Minute) }

// TestAsk: stories of one address, and who had it.
func TestAsk(t *testing.T) {
	cfg := identity.DefaultConfig()
	f := func(story string, q identity.Question, all []schemas.Sighting, want ...string) {
		t.Helper()
		for i := range all {
			all[i].EventID = fmt.Sprintf("e-%d", i)
		}
		answers, err := cfg.Ask(t.Context(), tree{}, []identity.Question{q}, finder(append(all, all...)))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for i := range answers[0] {
			got = append(got, short(&answers[0][i]))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", story, got, want)
		}
	}
	ask := func(minute int) identity.Question {
		return identity.Question{Unit: "10001", Address: "10.1.2.3", Transport: "tcp", At: minutes(minute)}
	}
	lease := func(mac string, from, until int) schemas.Sighting {
		s := schemas.Sighting{Kind: schemas.IdentityLease, Unit: "10001", Address: "10.1.2.3", MAC: mac, From: minutes(from)}
		if until != 0 {
			s.Until = minutes(until)
		}
		return s
	}
	released := func(mac string, minute int) schemas.Sighting {
		return schemas.Sighting{Kind: schemas.IdentityLease, Unit: "10001", Address: "10.1.2.3", MAC: mac, Until: minutes(minute), Ended: true}
	}
	login := func(user, mac string, from int) schemas.Sighting {
		return schemas.Sighting{Kind: schemas.IdentityLogin, Unit: "10001", Address: "10.1.2.3", MAC: mac, User: user, From: minutes(from), System: "portal"}
	}
	of := func(unit string, s schemas.Sighting) schemas.Sighting { s.Unit = unit; return s }

	f("nothing is known", ask(5), nil)
	f("one lease", ask(5), []schemas.Sighting{lease("a", 0, 60)}, "lease a")
	f("it has run out", ask(65), []schemas.Sighting{lease("a", 0, 60)})
	f("it has run out by less than clocks differ", ask(61), []schemas.Sighting{lease("a", 0, 60)}, "lease a apart 1m0s")
	f("it comes later", ask(-5), []schemas.Sighting{lease("a", 0, 60)})
	f("its server's clock is ahead", ask(-1), []schemas.Sighting{lease("a", 0, 60)}, "lease a apart 1m0s")
	f("two that overlap: the newer holds", ask(40), []schemas.Sighting{lease("a", 0, 60), lease("b", 30, 90)}, "lease b")
	f("before that the older", ask(20), []schemas.Sighting{lease("b", 30, 90), lease("a", 0, 60)}, "lease a")
	f("given back", ask(20), []schemas.Sighting{lease("a", 0, 60), released("a", 10)})
	f("given back by somebody else", ask(20), []schemas.Sighting{lease("a", 0, 60), released("b", 10)}, "lease a")
	f("given back before it was given", ask(20), []schemas.Sighting{released("a", -10), lease("a", 0, 60)}, "lease a")
	f("it ends before it begins, so nothing is said of its end", ask(20), []schemas.Sighting{lease("a", 0, -30)}, "lease a")
	f("no end was said: a day", ask(24*60-1), []schemas.Sighting{lease("a", 0, 0)}, "lease a")
	f("and no longer", ask(24*60+2), []schemas.Sighting{lease("a", 0, 0)})
	f("a year's lease holds for eight days", ask(8*24*60+2), []schemas.Sighting{lease("a", 0, 365*24*60)})
	f("an account", ask(5), []schemas.Sighting{lease("a", 0, 60), login("alice", "a", 1)}, "lease a", "login aalice")
	f("the next account takes its place", ask(5), []schemas.Sighting{login("alice", "", 1), login("bob", "", 2)}, "login bob")
	f("two systems may both know", ask(5), []schemas.Sighting{
		login("alice", "", 1), {Kind: schemas.IdentityLogin, Unit: "10001", Address: "10.1.2.3", User: "EDU\\alice", From: minutes(2), System: "kerberos"},
	}, "login EDU\\alice", "login alice")
	f("802.1X knows the machine only", ask(5), []schemas.Sighting{
		lease("a", 1, 60),
		{Kind: schemas.IdentityLogin, Unit: "10001", MAC: "a", User: "alice", From: minutes(0), System: "switch"},
		{Kind: schemas.IdentityLogin, Unit: "10001", MAC: "b", User: "bob", From: minutes(0), System: "switch"},
	}, "lease a", "login aalice")

	f("another unit's", ask(5), []schemas.Sighting{of("10002", lease("x", 0, 60))})
	f("another unit's beside", ask(5), []schemas.Sighting{of("10002", lease("x", 1, 60)), lease("a", 0, 60)}, "lease a")
	f("the unit's above", ask(5), []schemas.Sighting{of("10", lease("a", 0, 60))}, "lease a")
	f("the unit's below", ask(5), []schemas.Sighting{of("10001-lib", lease("a", 0, 60))}, "lease a")
	f("two below: who knows", ask(5), []schemas.Sighting{of("10001-lib", lease("a", 0, 60)), of("10001-dorm", lease("b", 1, 60))})

	nat := func(port int, inside, peer string, from, until int) schemas.Sighting {
		s := schemas.Sighting{Kind: schemas.IdentityNAT, Unit: "10001", Address: "198.51.100.1", Port: port, Transport: "tcp", Inside: inside, Peer: peer, From: minutes(from)}
		if until != 0 {
			s.Until, s.Ended = minutes(until), true
		}
		return s
	}
	outside := func(port, minute int, peer string) identity.Question {
		return identity.Question{Unit: "10001", Address: "198.51.100.1", Port: port, Transport: "tcp", Peer: peer, At: minutes(minute)}
	}
	behind := []schemas.Sighting{
		lease("a", 0, 600), login("alice", "a", 1), nat(40001, "10.1.2.3", "", 5, 10), nat(40001, "10.1.2.4", "", 20, 0), nat(40002, "10.1.2.4", "", 5, 0),
		{Kind: schemas.IdentityBlock, Unit: "10001", Address: "198.51.100.1", Port: 50000, LastPort: 50999, Inside: "10.1.2.3", From: minutes(0)},
	}
	f("through a translation", outside(40001, 6, "203.0.113.9"), behind, "nat 10.1.2.3", "lease a", "login aalice")
	f("its port is another's since", outside(40001, 21, ""), behind, "nat 10.1.2.4")
	f("between the two it was nobody's", outside(40001, 15, ""), behind)
	f("another port", outside(40003, 6, ""), behind)
	f("no port", outside(0, 6, ""), behind)
	f("another protocol", identity.Question{Unit: "10001", Address: "198.51.100.1", Port: 40001, Transport: "udp", At: minutes(6)}, behind)
	f("a block of ports", outside(50999, 6, ""), behind, "block 10.1.2.3", "lease a", "login aalice")
	f("outside the block", outside(51000, 6, ""), behind)
	shared := []schemas.Sighting{nat(40001, "10.1.2.3", "203.0.113.9", 5, 0), nat(40001, "10.1.2.4", "203.0.113.10", 5, 0)}
	f("one port for two peers", outside(40001, 6, "203.0.113.9"), shared, "nat 10.1.2.3")
	f("and the other", outside(40001, 6, "203.0.113.10"), shared, "nat 10.1.2.4")
	f("twice translated", outside(40001, 6, ""), []schemas.Sighting{
		{Kind: schemas.IdentityNAT, Unit: "10001", Address: "198.51.100.1", Port: 40001, Inside: "100.64.0.9", InsidePort: 3000, From: minutes(5)},
		{Kind: schemas.IdentityNAT, Unit: "10001", Address: "100.64.0.9", Port: 3000, Inside: "10.1.2.3", InsidePort: 2000, From: minutes(5)},
		lease("a", 0, 60),
	}, "nat 100.64.0.9", "nat 10.1.2.3", "lease a")
	f("a circle ends", outside(40001, 6, ""), []schemas.Sighting{
		{Kind: schemas.IdentityNAT, Unit: "10001", Address: "198.51.100.1", Inside: "10.1.2.3", From: minutes(5)},
		{Kind: schemas.IdentityNAT, Unit: "10001", Address: "10.1.2.3", Inside: "198.51.100.1", From: minutes(5)},
	}, "nat 10.1.2.3", "nat 198.51.100.1")
}

// TestAgainstScan: with leases that overlap, end early, end before they begin or
// never, and in whatever order they are told, the answer is that of going through
// time minute by minute.
func TestAgainstScan(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		cfg := identity.DefaultConfig()
		cfg.Longest = time.Duration(rapid.IntRange(1, 30).Draw(r, "longest")) * time.Minute
		cfg.Lookback = cfg.Longest + time.Duration(rapid.IntRange(0, 30).Draw(r, "lookback"))*time.Minute
		cfg.LongestSession = time.Minute
		cfg.Skew = time.Duration(rapid.IntRange(0, 3).Draw(r, "skew")) * time.Minute
		n := rapid.IntRange(0, 12).Draw(r, "n")
		all := make([]schemas.Sighting, n)
		for i := range all {
			s := &all[i]
			*s = schemas.Sighting{Kind: schemas.IdentityLease, Unit: "1", Address: "10.1.2.3", EventID: fmt.Sprintf("e%02d", i)}
			s.MAC = rapid.SampledFrom([]string{"a", "b", "c"}).Draw(r, "mac")
			when := minutes(rapid.IntRange(0, 60).Draw(r, "when"))
			switch rapid.IntRange(0, 3).Draw(r, "how") {
			case 0:
				s.From = when
			case 1:
				s.From, s.Until = when, when.Add(time.Duration(rapid.IntRange(-20, 40).Draw(r, "until"))*time.Minute)
			case 2:
				s.Until, s.Ended = when, true
			case 3:
				s.From, s.Until, s.Ended = when, when.Add(time.Duration(rapid.IntRange(-5, 40).Draw(r, "ended"))*time.Minute), true
			}
		}
		var questions []identity.Question
		for minute := -5; minute < 130; minute += rapid.IntRange(1, 5).Draw(r, "step") {
			questions = append(questions, identity.Question{Unit: "1", Address: "10.1.2.3", At: minutes(minute)})
		}
		answers, err := cfg.Ask(t.Context(), tree{}, questions, finder(rapid.Permutation(all).Draw(r, "order")))
		if err != nil {
			t.Fatal(err)
		}
		for i, q := range questions {
			got := ""
			if len(answers[i]) > 0 {
				got = answers[i][0].EventID
			}
			if want := scan(cfg, all, q.At); got != want {
				r.Fatalf("minute %v: %s, want %s", q.At.Sub(at), got, want)
			}
		}
	})
}

// scan goes minute by minute from the beginning and keeps who holds the address.
func scan(cfg identity.Config, all []schemas.Sighting, when time.Time) string {
	all = slices.DeleteFunc(slices.Clone(all), func(s schemas.Sighting) bool {
		return s.Since().Before(when.Add(-cfg.Lookback)) || s.Since().After(when.Add(cfg.Skew))
	})
	holder, last := -1, -1 // who has it, and who had it last
	var lost time.Time     // when the last one lost it
	for now := minutes(-200); ; now = now.Add(time.Minute) {
		if holder >= 0 && !now.Before(over(cfg, all, holder)) {
			last, lost, holder = holder, now, -1
		}
		for i := range all { // of those that begin at once the one that says the latest end, then the later event
			s := &all[i]
			if !s.From.Equal(now) || s.From.IsZero() {
				continue
			}
			if h := holder; h < 0 || !all[h].From.Equal(now) || s.Until.After(all[h].Until) || s.Until.Equal(all[h].Until) && s.EventID > all[h].EventID {
				holder = i
			}
		}
		if now.Equal(when) {
			break
		}
	}
	if holder >= 0 {
		return all[holder].EventID
	}
	apart := cfg.Skew + 1
	answer := ""
	if last >= 0 && when.Sub(lost) <= cfg.Skew {
		apart, answer = when.Sub(lost), all[last].EventID
	}
	next := -1
	for i := range all {
		if s := &all[i]; s.From.After(when) && (next < 0 || s.From.Before(all[next].From) || s.From.Equal(all[next].From) &&
			(s.Until.Before(all[next].Until) || s.Until.Equal(all[next].Until) && s.EventID < all[next].EventID)) {
			next = i
		}
	}
	if next >= 0 && all[next].From.Sub(when) < apart {
		answer = all[next].EventID
	}
	return answer
}

// over is when a holder loses the address without another one's coming.
func over(cfg identity.Config, all []schemas.Sighting, i int) time.Time {
	s := &all[i]
	ends := []time.Time{s.From.Add(cfg.Longest)}
	if s.Until.After(s.From) {
		ends = []time.Time{s.Until, s.From.Add(cfg.Lookback)}
	}
	if !s.Ended || !s.Until.After(s.From) {
		for k := range all {
			if o := &all[k]; o.Ended && o.MAC == s.MAC && o.Until.After(s.From) {
				ends = append(ends, o.Until)
			}
		}
	}
	return slices.MinFunc(ends, time.Time.Compare)
}

// TestMerge: what was asked again is replaced, others stay, and all is bounded.
func TestMerge(t *testing.T) {
	who := func(minute int, user string) schemas.Identity {
		return schemas.Identity{At: minutes(minute), Sighting: schemas.Sighting{Kind: schemas.IdentityLogin, Address: "10.1.2.3", User: user}}
	}
	f := func(before, now []schemas.Identity, want string) {
		t.Helper()
		var got []string
		for _, w := range identity.Merge(before, now, []time.Time{minutes(0), minutes(9)}) {
			got = append(got, w.User)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s, want %s", s, want)
		}
	}
	f(nil, nil, "")
	f(nil, []schemas.Identity{who(0, "a"), who(9, "a")}, "a")
	f([]schemas.Identity{who(0, "x"), who(5, "b")}, []schemas.Identity{who(0, "a"), who(9, "a")}, "a b")
	f([]schemas.Identity{who(0, "x"), who(5, "b")}, []schemas.Identity{who(9, "c")}, "b c")
	var many []schemas.Identity
	for i := range 40 {
		many = append(many, who(10+i, fmt.Sprint(i)))
	}
	f(many, nil, "0 1 2 3 4 5 6 7 32 33 34 35 36 37 38 39")
}
