package discover

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"fengsui/internal/directory"
	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

// NameTypes is what every name is asked for.
var NameTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeNS, dns.TypeMX}

// Lead is a name to be asked about, and what led to it.
type Lead struct {
	Name   string
	Method string // axfr, words, nsec, ptr, certificate, record; empty: it was known before
	Via    string
}

// RecordSet is what an answer holds.
type RecordSet struct {
	Lead
	Type   uint16
	Values []string
}

// Asker asks about names that the registry authorises and about no others, and
// emits what the answers settle.
type Asker struct {
	Client *resolve.Client
	Snap   *directory.Snapshot
	Emit   func(schemas.Observation) error
	Count  func(result string) // of every question
	Warn   func(msg string, args ...any)

	asked, unanswered int
}

// ask asks many questions. What is not authorised is left out. A question that
// nobody answers is said and counted; if none of them is answered, that is an error.
func (a *Asker) ask(ctx context.Context, questions iter.Seq[resolve.Question], each func(resolve.Question, resolve.Answer) error) error {
	asked, unanswered := 0, 0
	allowed := func(yield func(resolve.Question) bool) {
		for q := range questions {
			if q.Type != dns.TypePTR && (!ValidName(q.Name) || a.Snap.MayResolve(q.Name) != nil) {
				continue
			}
			if !yield(q) {
				return
			}
		}
	}
	err := a.Client.Each(ctx, allowed, func(q resolve.Question, answer resolve.Answer, err error) error {
		asked++
		a.asked++
		switch {
		case errors.Is(err, resolve.ErrNoAnswer):
			unanswered++
			a.unanswered++
			a.Count("unanswered")
			a.Warn("a DNS question was not answered; nothing is reported of it", "error", err)
			return nil
		case err != nil:
			return err
		}
		a.Count(strings.ToLower(answer.RCode))
		return each(q, answer)
	})
	if err == nil && unanswered > 0 && unanswered == asked {
		err = fmt.Errorf("none of %d questions: %w", unanswered, resolve.ErrNoAnswer)
	}
	return err
}

// Names asks for records of the given types under each name and emits what there
// is; with empty also, of names that were known, that there is none. It returns
// what there is.
func (a *Asker) Names(ctx context.Context, leads []Lead, types []uint16, empty bool) (out []RecordSet, err error) {
	by := make(map[string]Lead, len(leads))
	for _, l := range leads {
		by[l.Name] = l
	}
	aliases := map[string]*alias{}
	of := func(name string) *alias {
		if aliases[name] == nil {
			aliases[name] = &alias{}
		}
		return aliases[name]
	}
	questions := func(yield func(resolve.Question) bool) {
		for _, l := range leads {
			for _, t := range types {
				if !yield(resolve.Question{Name: l.Name, Type: t}) {
					return
				}
			}
		}
	}
	err = a.ask(ctx, questions, func(q resolve.Question, answer resolve.Answer) error {
		switch {
		case answer.Referral != "" && len(answer.Values) == 0:
			return nil // another server knows
		case q.Type == dns.TypeCNAME && len(answer.Values) > 0:
			of(q.Name).values = answer.Values // told when it is known where it leads
			return nil
		case q.Type == dns.TypeA && len(answer.Chain) > 0:
			of(q.Name).leads = &answer
		case q.Type == dns.TypeNS && len(answer.Chain) > 0:
			answer.Values = nil // another zone's: an alias is none
		}
		return a.tell(by[q.Name], q.Type, answer, empty, &out)
	})
	if err != nil {
		return out, err
	}
	for _, l := range leads {
		at := aliases[l.Name]
		if at == nil || len(at.values) == 0 {
			continue
		}
		delete(aliases, l.Name)
		answer := resolve.Answer{RCode: "NOERROR", Values: at.values}
		if at.leads != nil {
			if dangles, err := a.dangles(ctx, l.Name, *at.leads); err != nil {
				return out, err
			} else if dangles {
				answer.RCode = "NXDOMAIN"
			}
		}
		if err := a.tell(l, dns.TypeCNAME, answer, empty, &out); err != nil {
			return out, err
		}
	}
	return out, nil
}

// alias is what is known of a name that is one.
type alias struct {
	values []string
	leads  *resolve.Answer // to the question for its address
}

// tell emits an answer. That what an alias leads to does not exist says nothing
// but "no such record" of the alias itself.
func (a *Asker) tell(l Lead, qtype uint16, answer resolve.Answer, empty bool, out *[]RecordSet) error {
	if len(answer.Values) > 0 {
		*out = append(*out, RecordSet{l, qtype, answer.Values})
	} else if !empty {
		return nil
	}
	rcode := answer.RCode
	if len(answer.Chain) > 0 && rcode == "NXDOMAIN" {
		rcode = "NOERROR"
	}
	return a.Emit(schemas.Observation{
		Kind: schemas.ObservedName, Name: l.Name, RecordType: dns.Type(qtype).String(), Values: answer.Values, RCode: rcode,
		Method: l.Method, Via: l.Via,
	})
}

// dangles says whether an alias leads to a name that does not exist: the servers
// of that name say so, or two that were asked. Where one fails or refuses, the
// other's word counts.
func (a *Asker) dangles(ctx context.Context, name string, first resolve.Answer) (bool, error) {
	if first.RCode != "NXDOMAIN" || len(first.Chain) == 0 {
		return false, nil
	}
	target := first.Chain[len(first.Chain)-1]
	// The bit speaks for the first name of the answer: of a server that asks others
	// too, it says nothing of a target elsewhere.
	if first.Authoritative && (!first.Recursive || a.Snap.MayResolve(target) == nil) || first.Second {
		return true, nil
	}
	for i := range a.Client.Servers() {
		if a.Client.Server(i) == first.Server {
			continue
		}
		second, err := a.Client.PutTo(ctx, i, resolve.Question{Name: name, Type: dns.TypeA})
		switch {
		case ctx.Err() != nil:
			return false, fmt.Errorf("a second word on %s: %w", name, context.Cause(ctx))
		case errors.Is(err, resolve.ErrNoAnswer):
			a.Count("unanswered")
		case err != nil:
			return false, err
		default:
			a.Count(strings.ToLower(second.RCode))
			if second.Settled() {
				return second.RCode == "NXDOMAIN" && len(second.Chain) > 0, nil
			}
		}
	}
	return false, nil
}

// Reverse asks for the names of addresses and emits those that there are.
func (a *Asker) Reverse(ctx context.Context, addresses iter.Seq[netip.Addr]) (out []RecordSet, err error) {
	via := map[string]netip.Addr{}
	var names []string
	for ip := range addresses {
		if a.Snap.MayScan(ip) != nil {
			continue
		}
		reverse, err := dns.ReverseAddr(ip.String())
		if err != nil {
			return nil, fmt.Errorf("the reverse name of %s: %w", ip, err)
		}
		reverse = schemas.CanonicalName(reverse)
		via[reverse] = ip
		names = append(names, reverse)
	}
	questions := func(yield func(resolve.Question) bool) {
		for _, n := range names {
			if !yield(resolve.Question{Name: n, Type: dns.TypePTR}) {
				return
			}
		}
	}
	err = a.ask(ctx, questions, func(q resolve.Question, answer resolve.Answer) error {
		return a.tell(Lead{q.Name, "ptr", via[q.Name].String()}, q.Type, answer, false, &out)
	})
	return out, err
}

// Leads is the names that record sets hold, each once, in order.
func Leads(sets []RecordSet) []Lead {
	var out []Lead
	seen := map[string]bool{}
	for _, s := range sets {
		method, via := "record", s.Name
		if s.Type == dns.TypePTR {
			method, via = "ptr", s.Via
		}
		for _, n := range Mine(s.Type, s.Values) {
			if !seen[n] {
				seen[n] = true
				out = append(out, Lead{n, method, via})
			}
		}
	}
	slices.SortFunc(out, func(a, b Lead) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ValidName says whether a name is one that may be asked for: in small letters
// without a final dot, of printable characters, within DNS's lengths.
func ValidName(n string) bool {
	if n == "" || len(n) > 253 {
		return false
	}
	for label := range strings.SplitSeq(n, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if c <= ' ' || c >= 0x7f || c == '\\' || 'A' <= c && c <= 'Z' {
				return false
			}
		}
	}
	return true
}
