package discover

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
)

const (
	probes = 3 // random labels below a parent
	// enough is how many without anything new tell that all of a wildcard's answers
	// are known: one that it gives a quarter of the time is missed once in ten
	// thousand.
	enough     = 32
	someProbes = 8
	mostProbes = 256 // of one parent
)

// wildcard is what a parent answers about names that nobody made.
type wildcard struct {
	there   bool
	unknown bool // it was not answered: nothing below can be judged
	endless bool // every name is answered differently
	probes  int
	news    int             // the probe that last showed something new
	a, aaaa map[string]bool // the answers, as mark writes them
}

// wild finds out, once, what a parent answers about names that nobody made. Such
// an answer may come from any wildcard above too.
func (e *explorer) wild(ctx context.Context, parent string) (*wildcard, error) {
	w := e.wilds[parent]
	if w != nil {
		return w, nil
	}
	if len(e.wilds) >= maxParents {
		return &wildcard{unknown: true}, nil
	}
	w = &wildcard{a: map[string]bool{}, aaaa: map[string]bool{}}
	e.wilds[parent] = w
	if err := e.probe(ctx, parent, w, probes); err != nil {
		return nil, err
	}
	if w.unknown {
		e.Warn("names below cannot be judged: questions for names that nobody made were not answered", "parent", parent)
	}
	return w, nil
}

// probe asks for names that nobody made.
func (e *explorer) probe(ctx context.Context, parent string, w *wildcard, n int) error {
	labels := make([]string, n)
	for i := range labels {
		labels[i] = randomLabel() + "." + parent
	}
	answered := 0
	at := map[string]int{}
	for i, l := range labels {
		at[l] = w.probes + i + 1
	}
	questions := func(yield func(resolve.Question) bool) {
		for _, l := range labels {
			for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
				if !ValidName(l) || !yield(resolve.Question{Name: l, Type: t}) {
					return
				}
			}
		}
	}
	err := e.ask(ctx, questions, func(q resolve.Question, a resolve.Answer) error {
		if !a.Settled() || a.Referral != "" && a.Referral != q.Name {
			return nil
		}
		answered++
		if !exists(a) {
			return nil
		}
		w.there = true
		seen := w.a
		if q.Type == dns.TypeAAAA {
			seen = w.aaaa
		}
		if m := mark(a); !seen[m] {
			seen[m] = true
			w.news = max(w.news, at[q.Name])
		}
		return nil
	})
	w.probes += n
	w.unknown = w.unknown || answered < 2*n
	if errors.Is(err, resolve.ErrNoAnswer) {
		return nil // said already
	}
	return err
}

// extend asks on until nothing new has come for a while: a wildcard may answer in
// turns.
func (e *explorer) extend(ctx context.Context, parent string, w *wildcard) error {
	for w.probes-w.news < enough {
		if w.probes >= mostProbes {
			if !w.endless {
				w.endless = true
				e.Warn("names below cannot be judged: every name is answered differently", "parent", parent)
			}
			return nil
		}
		if err := e.probe(ctx, parent, w, someProbes); err != nil || w.unknown {
			return err
		}
	}
	return nil
}

// exists says whether an answer is about a name that is there, if only by a
// wildcard's doing.
func exists(a resolve.Answer) bool {
	return a.RCode == "NOERROR" || a.RCode == "NXDOMAIN" && len(a.Chain) > 0
}

// mark is what tells one answer from another: where an alias leads to, or else the
// addresses. What an alias leads to may change its addresses as it likes.
func mark(a resolve.Answer) string {
	if len(a.Chain) > 0 {
		return "CNAME " + a.Chain[0]
	}
	return strings.Join(a.Values, " ")
}

func randomLabel() string {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789"
	b := make([]byte, 16)
	for i := range b {
		b[i] = letters[rand.IntN(len(letters))]
	}
	b[0] = letters[rand.IntN(26)]
	return string(b)
}

// hit is a name that was answered about.
type hit struct {
	Lead
	answer resolve.Answer
}

// genuine keeps the names that are there themselves: those that a wildcard does
// not answer for in the same way, by A and by AAAA.
func (e *explorer) genuine(ctx context.Context, hits []hit) (out []Lead, err error) {
	var doubtful []hit
	for _, h := range hits {
		w, err := e.wild(ctx, parent(h.Name))
		switch {
		case err != nil:
			return nil, err
		case h.answer.Exact, h.answer.Referral == h.Name:
			out = append(out, h.Lead)
		case h.answer.Wildcard, h.answer.Synthesized, w.unknown:
		case !w.there:
			out = append(out, h.Lead)
		default:
			doubtful = append(doubtful, h)
		}
	}
	for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if qtype == dns.TypeAAAA {
			if doubtful, err = e.again(ctx, doubtful, qtype); err != nil {
				return nil, err
			}
		}
		var alike []hit
		for _, h := range doubtful {
			own, err := e.own(ctx, h, qtype)
			if err != nil {
				return nil, err
			}
			if own {
				out = append(out, h.Lead)
			} else {
				alike = append(alike, h)
			}
		}
		doubtful = alike
	}
	return out, nil
}

// own says whether an answer is none of the wildcard's.
func (e *explorer) own(ctx context.Context, h hit, qtype uint16) (bool, error) {
	w := e.wilds[parent(h.Name)]
	seen := w.a
	if qtype == dns.TypeAAAA {
		seen = w.aaaa
	}
	if seen[mark(h.answer)] {
		return false, nil
	}
	if err := e.extend(ctx, parent(h.Name), w); err != nil {
		return false, err
	}
	return !w.endless && !w.unknown && !seen[mark(h.answer)], nil
}

// again asks for another type of the same names.
func (e *explorer) again(ctx context.Context, hits []hit, qtype uint16) (out []hit, err error) {
	by := make(map[string]Lead, len(hits))
	for _, h := range hits {
		by[h.Name] = h.Lead
	}
	questions := func(yield func(resolve.Question) bool) {
		for _, h := range hits {
			if !yield(resolve.Question{Name: h.Name, Type: qtype, Signed: e.signedAt(h.Name)}) {
				return
			}
		}
	}
	err = e.ask(ctx, questions, func(q resolve.Question, a resolve.Answer) error {
		if exists(a) {
			out = append(out, hit{by[q.Name], a})
		}
		return nil
	})
	return out, err
}

func parent(name string) string {
	_, above, _ := strings.Cut(name, ".")
	return above
}
