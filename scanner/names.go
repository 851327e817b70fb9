package scanner

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

// nameTypes is what every name is asked for.
var nameTypes = []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeCNAME, dns.TypeNS, dns.TypeMX}

// question is one name and type; a PTR's name is the address's reverse name.
type question struct {
	name  string
	qtype uint16
}

// lookAtNames asks for the task's names and for the PTRs of its targets. Names
// that answers hold are asked for too, once, where the registry authorises them:
// so a host's PTR shows a name that nobody registered. A confirmation asks
// exactly what it was told.
func (k *look) lookAtNames(ctx context.Context) error {
	servers := k.resolvers
	if servers == nil {
		var err error
		if servers, err = resolve.System(); err != nil {
			return err
		}
	}
	client, err := resolve.Open(servers)
	if err != nil {
		return err
	}
	defer client.Close()

	asked := map[string]bool{}
	var questions []question
	add := func(name string) {
		if asked[name] || len(asked) >= 2*MaxNames {
			return
		}
		asked[name] = true
		for _, t := range nameTypes {
			questions = append(questions, question{name, t})
		}
	}
	for _, n := range k.names {
		add(n)
	}
	if k.task.Kind == schemas.TaskNames {
		for _, p := range k.targets {
			for ip := p.Addr(); ip.IsValid() && p.Contains(ip); ip = ip.Next() {
				reverse, err := dns.ReverseAddr(ip.String())
				if err != nil {
					return fmt.Errorf("the reverse name of %s: %w", ip, err)
				}
				questions = append(questions, question{resolve.Canonical(reverse), dns.TypePTR})
			}
		}
	}
	found, err := k.askAll(ctx, client, questions)
	if err != nil || k.task.Kind == schemas.TaskConfirm {
		return err
	}
	questions = nil
	for _, n := range found {
		if validName(n) && k.snap.MayResolve(n) == nil {
			add(n)
		}
	}
	_, err = k.askAll(ctx, client, questions)
	return err
}

// askAll asks many questions at once, emits what the answers settle, and returns
// the names that they hold.
func (k *look) askAll(ctx context.Context, client *resolve.Client, questions []question) (found []string, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type reply struct {
		question
		answer resolve.Answer
		err    error
	}
	todo, replies := make(chan question), make(chan reply)
	var workers sync.WaitGroup
	for range min(len(questions), 512) { // the client itself bounds what is in flight
		workers.Go(func() {
			for q := range todo {
				if err := k.toAsk(ctx); err != nil {
					replies <- reply{question: q, err: err}
					continue
				}
				a, err := client.Ask(ctx, q.name, q.qtype)
				replies <- reply{q, a, err}
			}
		})
	}
	go func() {
		defer close(replies)
		defer workers.Wait()
		defer close(todo)
		for _, q := range questions {
			select {
			case todo <- q:
			case <-ctx.Done():
				return
			}
		}
	}()
	unanswered := 0
	for r := range replies {
		switch {
		case err != nil: // draining
		case errors.Is(r.err, resolve.ErrNoAnswer):
			unanswered++
			k.m.questions.WithLabelValues("unanswered").Inc()
			k.log.warn("a DNS question was not answered; nothing is reported of it", "job", k.task.Job, "error", r.err)
		case r.err != nil:
			err = r.err
			cancel(err)
		default:
			k.m.questions.WithLabelValues(strings.ToLower(r.answer.RCode)).Inc()
			found = append(found, names(r.qtype, r.answer.Values)...)
			if err = k.named(r.question, r.answer); err != nil {
				cancel(err)
			}
		}
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && unanswered > 0 && unanswered == len(questions) {
		err = fmt.Errorf("none of %d questions: %w", unanswered, resolve.ErrNoAnswer)
	}
	return found, err
}

// named reports an answer. That an address has no PTR is nothing to report.
func (k *look) named(q question, a resolve.Answer) error {
	if q.qtype == dns.TypePTR && len(a.Values) == 0 {
		return nil
	}
	return k.send(schemas.Observation{
		Kind: schemas.ObservedName, Name: q.name, RecordType: dns.TypeToString[q.qtype], Values: a.Values, RCode: a.RCode,
	})
}

// names is what of an answer's values is a name.
func names(qtype uint16, values []string) []string {
	switch qtype {
	case dns.TypeCNAME, dns.TypeNS, dns.TypePTR:
		return values
	case dns.TypeMX:
		var out []string
		for _, v := range values {
			_, name, _ := strings.Cut(v, " ")
			out = append(out, name)
		}
		return out
	}
	return nil
}
