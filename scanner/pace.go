package scanner

import (
	"context"
	"net/netip"
	"sync"

	"golang.org/x/time/rate"
)

// paces keeps the bound of a task's own packets to one address beside the rate.
type paces struct {
	mu    sync.Mutex
	hosts map[netip.Addr]*rate.Limiter
}

// toHost waits until another packet may be sent to an address.
func (k *look) toHost(ctx context.Context, ip netip.Addr) error {
	if k.task.HostRate == 0 {
		return nil
	}
	k.paces.mu.Lock()
	l := k.paces.hosts[ip]
	if l == nil {
		if k.paces.hosts == nil {
			k.paces.hosts = map[netip.Addr]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Limit(k.task.HostRate), 1)
		k.paces.hosts[ip] = l
	}
	k.paces.mu.Unlock()
	return l.Wait(ctx)
}

// addresses is how many the task's targets are.
func (k *look) addresses() int {
	n := 0
	for _, p := range k.targets {
		n += 1 << (p.Addr().BitLen() - p.Bits())
	}
	return n
}
