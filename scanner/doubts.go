package scanner

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"golang.org/x/time/rate"

	"fengsui/scanner/portset"
	"fengsui/schemas"
)

// What answers is not always who was asked. A SYN proxy, a tarpit or a port
// mapper takes connections on every port of an address; an antivirus on this
// machine or a mail filter on the way takes those to some ports of every address.
const (
	// randomPorts is how many high ports that nobody uses are tried at an address
	// of which much is open.
	randomPorts          = 8
	randomLow, randomTop = 20_000, 61_000
	// much is from how many open ports on, or from what part of those asked for, an
	// address is tried so.
	muchPorts = 16
	muchPart  = 4
	// believed is how many ports of an address that answers on all of them are
	// looked at none the less, beside the whitelist's: what speaks there is there.
	believed = 8
	// everywhereFrom is the number of addresses from which on a port can be one
	// that is open everywhere, on at least nine of ten of them.
	everywhereFrom = 16
)

// doubts looks for addresses that answer on every port, and for ports on which
// nearly every address answers. Of the jobs, which a sweep has found open or a
// confirmation (direct) asks for, it returns those that are still worth a
// connection.
func (k *look) doubts(ctx context.Context, listed map[netip.Addr][]int, jobs []job, direct bool) ([]job, error) {
	ports := map[*host][]int{}
	addresses := map[int]int{} // by port
	for _, j := range jobs {
		ports[j.host] = append(ports[j.host], j.port)
		addresses[j.port]++
	}
	if swept := k.probes() / k.ports.Len(); !direct && swept >= everywhereFrom {
		for port, n := range addresses {
			if 10*n >= 9*swept {
				k.everywhere.Add(port)
			}
		}
	}
	var suspects []*host
	for h, open := range ports {
		if direct || len(open) >= muchPorts || muchPart*len(open) >= k.ports.Len() {
			suspects = append(suspects, h)
		}
	}
	if err := k.tryRandom(ctx, suspects); err != nil || direct {
		return jobs, err
	}
	for _, h := range suspects {
		if h.takesAll > 0 {
			slices.Sort(ports[h])
			ports[h] = append(ports[h][:min(believed, len(ports[h])):believed], listed[h.ip]...)
		}
	}
	return slices.DeleteFunc(jobs, func(j job) bool {
		return j.host.takesAll > 0 && !slices.Contains(ports[j.host], j.port)
	}), nil
}

// tryRandom connects to random ports of the addresses, and notes those where
// more than the configured share takes the connection.
func (k *look) tryRandom(ctx context.Context, hosts []*host) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := rate.NewLimiter(rate.Limit(k.rate()), k.cfg.Workers)
	ports := k.unlikely()
	todo := make(chan *host)
	var workers sync.WaitGroup
	for range min(max(k.cfg.Workers/randomPorts, 1), len(hosts)) {
		workers.Go(func() {
			for h := range todo {
				n, err := k.takes(ctx, h.ip, ports, limit)
				if err != nil {
					cancel(err)
				}
				if n == randomPorts || float64(n) > k.cfg.FakeShare*randomPorts {
					h.takesAll = n
					k.m.doubted.WithLabelValues("host").Inc()
				}
			}
		})
	}
	for _, h := range hosts {
		todo <- h
	}
	close(todo)
	workers.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// takes is how many of the ports take a connection.
func (k *look) takes(ctx context.Context, ip netip.Addr, ports []int, limit *rate.Limiter) (int, error) {
	errs := make([]error, len(ports))
	var all sync.WaitGroup
	for i, port := range ports {
		all.Go(func() {
			conn, err := k.dial(ctx, netip.AddrPortFrom(ip, uint16(port)), limit)
			if err == nil {
				_ = conn.Close()
			}
			errs[i] = err
		})
	}
	all.Wait()
	n := 0
	for _, err := range errs {
		switch {
		case err == nil:
			n++
		case errors.Is(err, syscall.ECONNREFUSED), silence(err):
		default:
			return n, fmt.Errorf("connecting to a random port of %s: %w", ip, err)
		}
	}
	return n, nil
}

// unlikely is some random high ports, none asked for or whitelisted if that can
// be helped.
func (k *look) unlikely() []int {
	used := k.ports
	for _, w := range k.snap.Whitelist() {
		used.Add(w.Port)
	}
	var out portset.Set
	for try := 0; out.Len() < randomPorts; try++ {
		port := randomLow + rand.IntN(randomTop-randomLow)
		if try > 1000 || !used.Contains(port) {
			out.Add(port)
		}
	}
	return slices.Collect(out.Each())
}

// doubtful says, and notes, that a port that took our connection is none: nothing
// has spoken there, and the address answers on every port, or every address on
// this one.
func (k *look) doubtful(h *host, port int, s *schemas.Service) bool {
	switch {
	case !s.IsZero():
		return false
	case h.takesAll > 0:
		return true
	case k.everywhere.Contains(port):
		h.doubted = append(h.doubted, port)
		return true
	}
	return false
}

// doubt is why not all that answers at an address is believed, or "".
func (h *host) doubt() string {
	switch {
	case h.takesAll > 0:
		return fmt.Sprintf("answers on every port: %d of %d random ones took a connection", h.takesAll, randomPorts)
	case len(h.doubted) > 0:
		ports := portset.Of(h.doubted...)
		return "takes connections and is silent, as nearly every address here, on " + ports.String()
	}
	return ""
}

// settled is the ports of which the task has found out whether they are open:
// of an address that answers on all of them none, nor of one that was not asked
// for.
func (k *look) settled(h *host) string {
	if h.takesAll > 0 || !k.targeted(h.ip) {
		return ""
	}
	var ports portset.Set
	for p := range k.ports.Each() {
		if !slices.Contains(h.doubted, p) {
			ports.Add(p)
		}
	}
	return ports.String()
}
