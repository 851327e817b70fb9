package scanner

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/time/rate"

	"fengsui/scanner/identify"
	"fengsui/schemas"
)

// udpInFlight is how many questions wait for their answers at the same time:
// most get none, and each has a socket of its own.
const udpInFlight = 512

// tftp answers from a port of its own choice.
const tftp = 69

// udpTries is how often a port is asked whose answer is to be confirmed: a
// datagram may be lost, three seldom are.
const udpTries = 3

// askUDP puts one question to each UDP port of the task, at its rate, and returns
// the ports that answered by address. Silence says nothing, unless the task is to
// confirm what was seen before: then a port is asked again, and what stays silent
// is returned, too.
func (k *look) askUDP(ctx context.Context) (answered map[netip.Addr][]schemas.Observation, silent []netip.AddrPort, err error) {
	if k.udp.Len() == 0 {
		return nil, nil, nil
	}
	tries := 1
	if k.task.Kind == schemas.TaskConfirm {
		tries = udpTries
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	limit := rate.NewLimiter(rate.Limit(k.rate()), 1)
	slots := make(chan struct{}, udpInFlight)
	var asking sync.WaitGroup
	var mu sync.Mutex
	out := map[netip.Addr][]schemas.Observation{}
	ask := func(at netip.AddrPort) {
		s, err := k.askOne(ctx, at)
		for try := 1; try < tries && s == nil && err == nil && limit.Wait(ctx) == nil; try++ {
			s, err = k.askOne(ctx, at)
		}
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			cancel(err)
		case s == nil && tries > 1:
			silent = append(silent, at)
		case s != nil:
			k.m.open.Inc()
			out[at.Addr()] = append(out[at.Addr()], schemas.Observation{
				Kind: schemas.ObservedPort, IP: at.Addr(), Port: int(at.Port()), Transport: "udp", Open: true, Service: s,
			})
		}
	}
	for at := range k.udpTargets() {
		if limit.Wait(ctx) != nil {
			break
		}
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			ask(at)
		})
	}
	asking.Wait()
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	for _, open := range out {
		slices.SortFunc(open, func(a, b schemas.Observation) int { return a.Port - b.Port })
	}
	return out, silent, nil
}

// udpTargets goes through all addresses, port by port, so that no host gets all
// its questions at once.
func (k *look) udpTargets() func(yield func(netip.AddrPort) bool) {
	known := identify.UDPPorts()
	return func(yield func(netip.AddrPort) bool) {
		for port := range k.udp.Each() {
			if !slices.Contains(known, port) {
				continue // there is nothing to ask
			}
			for _, p := range k.targets {
				for ip := p.Addr(); ip.IsValid() && p.Contains(ip); ip = ip.Next() {
					if !yield(netip.AddrPortFrom(ip, uint16(port))) {
						return
					}
				}
			}
		}
	}
}

// askOne asks one port, if the registry authorises it and the host's rate allows.
func (k *look) askOne(ctx context.Context, at netip.AddrPort) (*schemas.Service, error) {
	switch err := k.allowed(ctx, "datagram", at.Addr()); {
	case ctx.Err() != nil:
		return nil, nil // askUDP knows
	case err != nil:
		return nil, err
	}
	k.m.datagrams.Inc()
	s, err := identify.UDP(ctx, identify.Target{
		Host: at.Addr().String(), Port: int(at.Port()), Now: time.Now(),
		Dial: func(ctx context.Context) (net.Conn, error) { return dialUDP(ctx, at) },
	}, k.cfg.Timeout)
	switch {
	case ctx.Err() != nil:
		return nil, nil // askUDP knows
	case err != nil && (silence(err) || errors.Is(err, syscall.ECONNREFUSED)):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking %s over UDP: %w", at, err)
	}
	return s, nil
}

// dialUDP makes a socket that hears the port alone, or for TFTP the address.
func dialUDP(ctx context.Context, at netip.AddrPort) (net.Conn, error) {
	if at.Port() != tftp {
		return (&net.Dialer{}).DialContext(ctx, "udp", at.String())
	}
	local := netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
	if at.Addr().Is6() {
		local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(local))
	if err != nil {
		return nil, fmt.Errorf("a socket for %s: %w", at, err)
	}
	return &loose{c, at}, nil
}

// loose is a socket that hears every port of one address.
type loose struct {
	*net.UDPConn
	peer netip.AddrPort
}

func (l *loose) Write(b []byte) (int, error) { return l.WriteToUDPAddrPort(b, l.peer) }

func (l *loose) Read(b []byte) (int, error) {
	for {
		n, from, err := l.ReadFromUDPAddrPort(b)
		if err != nil || from.Addr().Unmap() == l.peer.Addr() {
			return n, err
		}
	}
}
