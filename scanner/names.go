package scanner

import (
	"context"
	"net/netip"

	"fengsui/scanner/discover"
	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

// asker opens the sockets to the DNS servers, for at most so many questions a
// second. Close its Client.
func (k *look) asker(rate int) (discover.Asker, error) {
	servers := k.resolvers
	if servers == nil {
		var err error
		if servers, err = resolve.System(); err != nil {
			return discover.Asker{}, err
		}
	}
	client, err := resolve.Open(servers, resolve.Options{Rate: rate})
	if err != nil {
		return discover.Asker{}, err
	}
	return discover.Asker{
		Client: client, Snap: k.snap, Emit: k.send,
		Count: func(result string) { k.m.questions.WithLabelValues(result).Inc() },
		Warn:  k.warn,
	}, nil
}

// warn says something of this shard, seldom.
func (k *look) warn(msg string, args ...any) {
	k.log.warn(msg, append([]any{"job", k.task.Job, "shard", k.task.Shard}, args...)...)
}

// lookAtNames asks for the task's names and for the PTRs of its targets. Names
// that answers hold are asked for too, once, where the registry authorises them:
// so a host's PTR shows a name that nobody registered. A confirmation asks
// exactly what it was told.
func (k *look) lookAtNames(ctx context.Context) error {
	asker, err := k.asker(k.rate())
	if err != nil {
		return err
	}
	defer asker.Client.Close()
	asked := map[string]bool{}
	var leads []discover.Lead
	add := func(l discover.Lead) {
		if !asked[l.Name] && len(asked) < 2*MaxNames && k.snap.MayResolve(l.Name) == nil {
			asked[l.Name] = true
			leads = append(leads, l)
		}
	}
	for _, n := range k.names {
		add(discover.Lead{Name: n})
	}
	found, err := asker.Names(ctx, leads, discover.NameTypes, true)
	if err != nil || k.task.Kind == schemas.TaskConfirm {
		return err
	}
	reverse, err := asker.Reverse(ctx, k.eachTarget)
	if err != nil {
		return err
	}
	leads = nil
	for _, l := range discover.Leads(append(found, reverse...)) {
		add(l)
	}
	_, err = asker.Names(ctx, leads, discover.NameTypes, true)
	return err
}

// eachTarget goes through the addresses of the targets.
func (k *look) eachTarget(yield func(netip.Addr) bool) {
	for _, p := range k.targets {
		for ip := p.Addr(); ip.IsValid() && p.Contains(ip); ip = ip.Next() {
			if !yield(ip) {
				return
			}
		}
	}
}

// discover finds the names of the task's zone.
func (k *look) discover(ctx context.Context) error {
	zone := k.task.Names[0]
	if err := k.snap.MayResolve(zone); err != nil {
		return refuse("%v", err)
	}
	asker, err := k.asker(min(k.rate(), k.cfg.Discover.Rate))
	if err != nil {
		return err
	}
	defer asker.Client.Close()
	return discover.Explore(ctx, k.cfg.Discover, discover.Deps{
		Asker: asker, Words: k.words,
		Transferred: func(how string) { k.m.transfers.WithLabelValues(how).Inc() },
		Found: func(method string) {
			if method == "" {
				method = "known"
			}
			k.m.found.WithLabelValues(method).Inc()
		},
		Say: func(msg string, args ...any) {
			k.log.log.Info(msg, append([]any{"job", k.task.Job, "shard", k.task.Shard}, args...)...)
		},
	}, zone, k.task.Names[1:])
}
