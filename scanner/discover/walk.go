package discover

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
)

// walk goes along a zone's NSEC records, each of which names the next, and says
// whether it came round to the beginning: then every name is known. The names of
// NSEC3 are hashed; that is said, and nothing is done about it.
func (e *explorer) walk(ctx context.Context, zone string) (whole bool, err error) {
	at := zone
	for steps := 0; ; steps++ {
		if len(e.known)+len(e.fresh) >= e.cfg.MaxNames {
			e.Warn("an NSEC chain is longer than the names that one zone may have", "zone", zone, "max_names", e.cfg.MaxNames)
			return false, nil
		}
		next, err := e.after(ctx, zone, at)
		switch {
		case errors.Is(err, resolve.ErrNoAnswer):
			return false, nil // said already
		case err != nil:
			return false, err
		case next == zone:
			return true, nil
		case next == "":
			if steps > 0 {
				e.Say("an NSEC chain ends before its beginning", "zone", zone, "after", at)
			}
			return false, nil
		case !resolve.Within(next, zone) || !before(at, next):
			e.Say("an NSEC chain goes back or leaves its zone", "zone", zone, "after", at, "next", next)
			return false, nil
		case !ValidName(next):
			// RFC 4470, RFC 9824: made for the question, and for every one anew.
			e.Say("NSEC records are made for each question and name nothing", "zone", zone)
			return false, nil
		case e.Snap.MayResolve(next) != nil:
			e.Say("an NSEC chain leads to a name that is not authorised", "zone", zone, "next", next)
			return false, nil
		}
		e.fresh = append(e.fresh, Lead{next, "nsec", at})
		at = next
	}
}

// after is the name that follows another in its zone; "" when nothing tells.
func (e *explorer) after(ctx context.Context, zone, name string) (next string, err error) {
	a, err := e.one(ctx, resolve.Question{Name: name, Type: dns.TypeNSEC})
	if err != nil {
		return "", err
	}
	if a.RCode == "NOERROR" && len(a.Values) == 1 && len(a.Chain) == 0 {
		fields := strings.Fields(a.Values[0])
		own := name == zone || !hasField(fields[1:], "SOA") // else it is the zone's below
		if own {
			return fields[0], nil
		}
	}
	// A name whose servers are another zone's: what denies the next possible name
	// beside it is this zone's.
	label, rest, _ := strings.Cut(name, ".")
	if name == zone || len(label) == 63 {
		return "", nil
	}
	beside := label + "-." + rest
	if !ValidName(beside) {
		return "", nil
	}
	a, err = e.one(ctx, resolve.Question{Name: beside, Type: dns.TypeA, Signed: true})
	if err != nil {
		return "", err
	}
	for _, d := range a.Denials {
		if d.Owner == name {
			return d.Next, nil
		}
	}
	return "", nil
}

func hasField(fields []string, want string) bool {
	for _, f := range fields {
		if f == want {
			return true
		}
	}
	return false
}

// one asks a single question that must be authorised.
func (e *explorer) one(ctx context.Context, q resolve.Question) (a resolve.Answer, err error) {
	if err := e.Snap.MayResolve(q.Name); err != nil {
		return a, err
	}
	err = e.ask(ctx, func(yield func(resolve.Question) bool) { yield(q) }, func(_ resolve.Question, answer resolve.Answer) error {
		a = answer
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("asking for %s: %w", q, err)
	}
	return a, nil
}

// before says whether a name comes before another in the order of RFC 4034, 6.1.
func before(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 1; i <= min(len(as), len(bs)); i++ {
		if x, y := as[len(as)-i], bs[len(bs)-i]; x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}
