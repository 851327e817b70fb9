package identity

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"fengsui/schemas"
)

// Config says how long a sighting holds.
type Config struct {
	// Longest is how long a lease or a login holds whose end nobody said.
	Longest time.Duration `koanf:"longest"`
	// LongestSession is the same for an address translation.
	LongestSession time.Duration `koanf:"longest_session"`
	// Lookback is how long one holds at the most, whatever it says of its end.
	Lookback time.Duration `koanf:"lookback"`
	// Skew is how far outside its time one still answers where nothing else does:
	// the clocks of the devices differ.
	Skew time.Duration `koanf:"skew"`
	// Refresh is how long after an alert was raised or changed its answer is
	// looked for again, for logs that come late. 0: once only.
	Refresh time.Duration `koanf:"refresh"`
	// Timeout bounds one such question to the store.
	Timeout time.Duration `koanf:"timeout"`
}

// DefaultConfig has leases of a week in mind, as Windows DHCP servers give them.
func DefaultConfig() Config {
	return Config{
		Longest: 24 * time.Hour, LongestSession: 2 * time.Hour, Lookback: 8 * 24 * time.Hour,
		Skew: time.Minute, Refresh: 10 * time.Minute, Timeout: 10 * time.Second,
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	if c.Longest <= 0 || c.LongestSession <= 0 || c.Lookback < max(c.Longest, c.LongestSession) || c.Lookback > 90*24*time.Hour {
		return errors.New("longest and longest_session must be above zero, and lookback no shorter than these and at most 90 days")
	}
	if c.Skew < 0 || c.Skew > time.Hour || c.Refresh < 0 || c.Refresh > 24*time.Hour || c.Timeout <= 0 {
		return errors.New("skew must be from zero to an hour, refresh from zero to a day, timeout above zero")
	}
	return nil
}

// Units knows which unit is below which.
type Units interface {
	Under(code, ancestor string) bool
}

// Question asks who had an address at a time.
type Question struct {
	Role      string // is repeated in the answer
	Unit      string // whose address it is
	Address   string
	Port      int    // 0: not known; then only a translation of all ports answers
	Transport string // empty: not known
	Peer      string // whom it spoke with; empty: not known
	At        time.Time
}

// The keys that a question begins with.
func (q *Question) keys() []schemas.IdentityKey {
	keys := []schemas.IdentityKey{
		{Kind: schemas.IdentityLease, Name: q.Address},
		{Kind: schemas.IdentityLogin, Name: q.Address},
		{Kind: schemas.IdentityNAT, Name: q.Address},
		{Kind: schemas.IdentityBlock, Name: q.Address},
	}
	if q.Port > 0 {
		keys = append(keys, schemas.IdentityKey{Kind: schemas.IdentityNAT, Name: q.Address, Port: q.Port})
	}
	return keys
}

// Keys are those that a question begins with, for who looks for its units.
func (q *Question) Keys() []schemas.IdentityKey { return q.keys() }

// Find looks for the sightings of keys that begin within a time, ends included.
type Find func(ctx context.Context, keys []schemas.IdentityKey, from, to time.Time) ([]schemas.Sighting, error)

// rounds bounds how often is looked: for the address, what is behind its
// translation, what is behind that one's, and the account of a machine.
const rounds = 4

// Ask answers questions, each by itself, with few looks for all together. The
// answer to a question is the same however many others are asked with it.
func (c Config) Ask(ctx context.Context, units Units, questions []Question, find Find) ([][]schemas.Identity, error) {
	answers := make([][]schemas.Identity, len(questions))
	if len(questions) == 0 {
		return answers, nil
	}
	first, last := questions[0].At, questions[0].At
	for i := range questions {
		if at := questions[i].At; at.Before(first) {
			first = at
		} else if at.After(last) {
			last = at
		}
	}
	b := &book{Config: c, units: units, known: map[schemas.IdentityKey][]schemas.Sighting{}}
	for range rounds {
		for i := range questions {
			answers[i] = b.answer(&questions[i])
		}
		if len(b.wanted) == 0 {
			break
		}
		found, err := find(ctx, b.wanted, first.Add(-c.Lookback), last.Add(c.Skew))
		if err != nil {
			return nil, err
		}
		b.learn(found)
	}
	return answers, nil
}

// book is what is known while questions are answered.
type book struct {
	Config
	units  Units
	known  map[schemas.IdentityKey][]schemas.Sighting
	wanted []schemas.IdentityKey
}

// learn takes in what was found of the wanted keys.
func (b *book) learn(found []schemas.Sighting) {
	for _, k := range b.wanted {
		b.known[k] = nil
	}
	b.wanted = b.wanted[:0]
	for i := range found {
		k := found[i].Key()
		b.known[k] = append(b.known[k], found[i])
	}
	for k, all := range b.known { // written twice it still is one
		slices.SortFunc(all, func(x, y schemas.Sighting) int { return cmp.Compare(x.EventID, y.EventID) })
		b.known[k] = slices.CompactFunc(all, func(x, y schemas.Sighting) bool { return x.EventID == y.EventID })
	}
}

// of returns the sightings of keys, and notes the keys of which none are known
// yet as wanted.
func (b *book) of(keys ...schemas.IdentityKey) (all []schemas.Sighting) {
	for _, k := range keys {
		found, ok := b.known[k]
		if !ok && !slices.Contains(b.wanted, k) {
			b.wanted = append(b.wanted, k)
		}
		all = append(all, found...)
	}
	return all
}

// answer is as much as is known: translations first, then what holds the
// addresses that these lead to.
func (b *book) answer(q *Question) []schemas.Identity {
	var out []schemas.Identity
	addresses := []Question{*q}
	for range rounds - 1 { // a translation of a translation ends
		here := addresses[len(addresses)-1]
		inside, ok := b.through(&here)
		if !ok {
			break
		}
		out = append(out, inside)
		next := Question{Role: q.Role, Unit: inside.Unit, Address: inside.Inside, Port: inside.InsidePort, Transport: here.Transport, Peer: here.Peer, At: q.At}
		if slices.ContainsFunc(addresses, func(a Question) bool { return a.Address == next.Address }) {
			break
		}
		addresses = append(addresses, next)
	}
	for i := range addresses {
		out = append(out, b.holders(&addresses[i])...)
	}
	return out
}

// through is the translation that made the address of another.
func (b *book) through(q *Question) (schemas.Identity, bool) {
	keys := q.keys()[2:]
	if q.Port > 0 {
		slices.Reverse(keys) // a port's own translation tells most, then its block, then that of all ports
	} else {
		keys = keys[:1]
	}
	all := b.of(keys...)
	for _, k := range keys {
		s := b.at(filter(all, func(s *schemas.Sighting) bool {
			return s.Key() == k && (s.Transport == "" || q.Transport == "" || s.Transport == q.Transport) &&
				(s.Kind != schemas.IdentityBlock || s.Port <= q.Port && q.Port <= s.LastPort)
		}), q)
		own := filter(s, func(s *schemas.Sighting) bool { return q.Peer == "" || s.Peer == "" || s.Peer == q.Peer })
		for _, some := range [][]schemas.Sighting{own, s} { // one port may serve many peers
			if h, apart, ok := b.holder(some, q.At); ok {
				return schemas.Identity{Role: q.Role, At: q.At, Sighting: h, Apart: apart}, true
			}
		}
	}
	return schemas.Identity{}, false
}

// holders are the lease and the logins that hold an address, and the logins of
// the machine that the lease names.
func (b *book) holders(q *Question) (out []schemas.Identity) {
	add := func(all []schemas.Sighting) {
		if h, apart, ok := b.holder(all, q.At); ok {
			out = append(out, schemas.Identity{Role: q.Role, At: q.At, Sighting: h, Apart: apart})
		}
	}
	keys := q.keys()
	all := b.at(b.of(keys[0], keys[1]), q)
	add(filter(all, func(s *schemas.Sighting) bool { return s.Kind == schemas.IdentityLease }))
	logins := filter(all, func(s *schemas.Sighting) bool { return s.Kind == schemas.IdentityLogin })
	if len(out) > 0 && out[0].MAC != "" {
		logins = append(logins, b.at(b.of(schemas.IdentityKey{Kind: schemas.IdentityLogin, Name: out[0].MAC}), q)...)
	}
	for _, system := range systems(logins) { // a portal and a domain may both know who is there
		add(filter(logins, func(s *schemas.Sighting) bool { return s.System == system }))
	}
	return out
}

func systems(all []schemas.Sighting) (names []string) {
	for i := range all {
		if !slices.Contains(names, all[i].System) {
			names = append(names, all[i].System)
		}
	}
	slices.Sort(names)
	return names
}

func filter(all []schemas.Sighting, keep func(*schemas.Sighting) bool) (some []schemas.Sighting) {
	for i := range all {
		if keep(&all[i]) {
			some = append(some, all[i])
		}
	}
	return some
}

// at is what may say something of the question's time and of its unit: that unit,
// those above it, and those below it as long as they are of one branch. Of two
// branches each may have given the address to somebody else.
func (b *book) at(all []schemas.Sighting, q *Question) []schemas.Sighting {
	var below []string
	all = filter(all, func(s *schemas.Sighting) bool {
		if since := s.Since(); since.Before(q.At.Add(-b.Lookback)) || since.After(q.At.Add(b.Skew)) {
			return false
		}
		switch {
		case s.Unit == q.Unit || s.Unit == "" || b.under(q.Unit, s.Unit):
			return true
		case q.Unit == "" || b.under(s.Unit, q.Unit):
			below = append(below, s.Unit)
			return true
		}
		return false
	})
	for i := range below {
		if below[i] != below[0] && !b.under(below[i], below[0]) && !b.under(below[0], below[i]) {
			return filter(all, func(s *schemas.Sighting) bool { return !slices.Contains(below, s.Unit) })
		}
	}
	return all
}

func (b *book) under(code, ancestor string) bool {
	return b.units != nil && ancestor != "" && b.units.Under(code, ancestor)
}

// holder is the one of the sightings that holds at a time. They are of one key
// and one system, or of translations of one port, so the newest beginning ends
// what was before. Where none holds, the nearest within Skew does.
func (b *book) holder(all []schemas.Sighting, at time.Time) (holds schemas.Sighting, apart time.Duration, ok bool) {
	begun := filter(all, func(s *schemas.Sighting) bool { return !s.From.IsZero() })
	slices.SortFunc(begun, func(x, y schemas.Sighting) int {
		return cmp.Or(x.From.Compare(y.From), x.Until.Compare(y.Until), cmp.Compare(x.EventID, y.EventID))
	})
	next := len(begun)
	for next > 0 && begun[next-1].From.After(at) {
		next--
	}
	if next > 0 {
		holds = begun[next-1]
		end := b.end(&holds, all)
		if at.Before(end) {
			return holds, 0, true
		}
		if apart = at.Sub(end); apart <= b.Skew {
			ok = true
		}
	}
	if next < len(begun) {
		if early := begun[next].From.Sub(at); early <= b.Skew && (!ok || early < apart) {
			return begun[next], early, true
		}
	}
	return holds, apart, ok
}

// end is when a sighting no longer holds, nobody having followed it: its own end,
// that which another one said of it, or the longest that it may hold.
func (b *book) end(s *schemas.Sighting, all []schemas.Sighting) time.Time {
	longest := b.Longest
	if s.Kind == schemas.IdentityNAT || s.Kind == schemas.IdentityBlock {
		longest = b.LongestSession
	}
	end := s.From.Add(longest)
	if s.Until.After(s.From) {
		if end = s.From.Add(b.Lookback); s.Until.Before(end) {
			end = s.Until
		}
		if s.Ended {
			return end
		}
	}
	for i := range all {
		if o := &all[i]; o.Ended && o.Until.After(s.From) && o.Until.Before(end) && same(s, o) {
			end = o.Until
		}
	}
	return end
}

// same says that nothing tells the holders of two sightings apart.
func same(x, y *schemas.Sighting) bool {
	alike := func(a, b string) bool { return a == "" || b == "" || strings.EqualFold(a, b) }
	return alike(x.MAC, y.MAC) && alike(x.User, y.User) && alike(x.Inside, y.Inside) && alike(x.Peer, y.Peer) &&
		(x.InsidePort == y.InsidePort || x.InsidePort == 0 || y.InsidePort == 0)
}

// Merge brings what was answered before together with what is answered now, for
// the same alert: what was asked again is replaced, and who was named at another
// time stays named. It holds schemas.MaxWho, the first and the newest.
func Merge(before, now []schemas.Identity, asked []time.Time) []schemas.Identity {
	all := slices.Clone(now)
	for i := range before {
		if !slices.ContainsFunc(asked, before[i].At.Equal) {
			all = append(all, before[i])
		}
	}
	slices.SortStableFunc(all, func(x, y schemas.Identity) int { return x.At.Compare(y.At) })
	var out []schemas.Identity
	for i := range all {
		if !slices.ContainsFunc(out, func(o schemas.Identity) bool { return sameAnswer(&o, &all[i]) }) {
			out = append(out, all[i])
		}
	}
	if len(out) > schemas.MaxWho {
		out = slices.Delete(out, schemas.MaxWho/2, len(out)-schemas.MaxWho/2)
	}
	return out
}

// sameAnswer says that two answers name the same.
func sameAnswer(x, y *schemas.Identity) bool {
	return x.Kind == y.Kind && x.Role == y.Role && x.Address == y.Address && x.Unit == y.Unit && x.Inside == y.Inside &&
		x.MAC == y.MAC && x.User == y.User && x.Host == y.Host && x.System == y.System
}

// Public says that an address is one of the Internet's, which only one has.
func Public(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() && !carrier.Contains(a.Unmap())
}

// carrier is shared between providers' customers (RFC 6598).
var carrier = netip.MustParsePrefix("100.64.0.0/10")
