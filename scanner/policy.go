package scanner

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"fengsui/internal/directory"
	"fengsui/internal/hours"
	"fengsui/schemas"
)

// policy is how the registry wants what a task names to be looked at.
type policy struct {
	texts    []string
	hours    []hours.Hours
	shares   []schemas.ScanShare // of networks and domains whose rate is bounded
	hostRate int                 // 0: no bound
	addrs    int                 // of the targets
}

// policyOf reads the registry about the part of a task that it authorises.
func policyOf(snap *directory.Snapshot, t *schemas.ScanTask, rate int) policy {
	var p policy
	hour := func(text string) {
		if h, err := hours.Parse(text); err == nil && !h.Always() && !slices.Contains(p.texts, text) {
			p.texts, p.hours = append(p.texts, text), append(p.hours, h)
		}
	}
	share := func(of string, most int) {
		if most > 0 && !slices.ContainsFunc(p.shares, func(s schemas.ScanShare) bool { return s.Of == of }) {
			p.shares = append(p.shares, schemas.ScanShare{Of: of, Cap: most, Want: min(rate, most)})
		}
	}
	for _, target := range t.Targets {
		networks, err := snap.NetworksOf(target)
		if err != nil {
			continue
		}
		p.addrs += 1 << min(target.Addr().BitLen()-target.Bits(), 24)
		for _, n := range networks {
			hour(n.Hours)
			share(n.Prefix.String(), n.Rate)
			if n.HostRate > 0 && (p.hostRate == 0 || n.HostRate < p.hostRate) {
				p.hostRate = n.HostRate
			}
		}
	}
	for _, name := range t.Names {
		if d, ok := snap.DomainOf(name); ok {
			hour(d.Hours)
			share(d.Name, d.Rate)
		}
	}
	return p
}

// closed is an ErrOutOfHours when not all hours are open.
func (p *policy) closed(now time.Time) error {
	for _, h := range p.hours {
		if !h.Open(now) {
			return fmt.Errorf("%w: %s", directory.ErrOutOfHours, h)
		}
	}
	return nil
}

// opens is when all hours are open again.
func (p *policy) opens(now time.Time) time.Time { return directory.NextHours(now, p.texts...) }

// bound puts what the registry and the lease allow into a task.
func (p *policy) bound(t *schemas.ScanTask, rate int, shares []schemas.ScanShare) {
	lower := func(at *int, to int) {
		if to > 0 && (*at == 0 || to < *at) {
			*at = to
		}
	}
	lower(&t.HostRate, p.hostRate)
	for _, s := range shares {
		lower(&t.NetworkRate, s.Want)
	}
	lower(&t.Rate, rate)
	lower(&t.Rate, t.NetworkRate)
}

// book remembers policies while the registry does not change.
type book struct {
	snap *directory.Snapshot
	rate int
	of   map[string]policy
}

const maxBook = 200_000 // tasks

func (b *book) policy(snap *directory.Snapshot, t *schemas.ScanTask) policy {
	if b.snap != snap || len(b.of) >= maxBook {
		b.snap, b.of = snap, map[string]policy{}
	}
	p, ok := b.of[t.Key()]
	if !ok {
		p = policyOf(snap, t, b.rate)
		b.of[t.Key()] = p
	}
	return p
}

// shares is a queue.Shares: of tasks that may be done now by their hours.
func (b *book) shares(snap *directory.Snapshot, t *schemas.ScanTask, now time.Time) ([]schemas.ScanShare, bool) {
	p := b.policy(snap, t)
	return p.shares, p.closed(now) == nil
}

// withdrawn is an error when something that was authorised is no longer.
func withdrawn(began, now *directory.Snapshot, t *schemas.ScanTask) error {
	var errs error
	for _, p := range t.Targets {
		if err := now.MayScanPrefix(p); err != nil && began.MayScanPrefix(p) == nil {
			errs = errors.Join(errs, fmt.Errorf("authorisation withdrawn: %w", err))
			break
		}
	}
	for _, n := range t.Names {
		if err := now.MayResolve(n); err != nil && began.MayResolve(n) == nil {
			errs = errors.Join(errs, fmt.Errorf("authorisation withdrawn: %w", err))
			break
		}
	}
	return errs
}

// allowed waits until an address may be sent another packet, and says whether the
// registry authorises it at that moment.
func (k *look) allowed(ctx context.Context, what string, ip netip.Addr) error {
	if err := k.toHost(ctx, ip); err != nil {
		return err
	}
	if err := k.mayDial(ip); err != nil {
		k.refused(what, err)
		return err
	}
	return nil
}

// mayDial is nil when a packet may be sent to an address at this moment.
func (k *look) mayDial(ip netip.Addr) error { return k.snap.MayScanAt(ip, time.Now()) }
