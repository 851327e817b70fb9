package discover

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"fengsui/scanner/resolve"
	"fengsui/schemas"
)

// The limits of one zone transfer.
const (
	maxTransfer  = 500_000 // records
	transferTime = time.Minute
	transferIdle = 10 * time.Second
	maxServers   = 16
)

// How a transfer ended.
const (
	transferOpen    = "open"
	transferRefused = "refused"
	transferFailed  = "failed"
)

// transfer asks the zone's name servers for all of it: those of them, and only
// those, whose addresses the registry authorises to be scanned. It emits which of
// them gave it, or that none did, and says whether the zone is known whole.
func (e *explorer) transfer(ctx context.Context, zone string) (whole bool, err error) {
	addresses, err := e.nameServers(ctx, zone)
	if err != nil {
		return false, err
	}
	var gave, refused []string
	for _, ip := range addresses {
		records, how, err := e.axfr(ctx, zone, ip)
		if ctx.Err() != nil {
			return false, fmt.Errorf("a transfer of %s: %w", zone, context.Cause(ctx))
		}
		e.Transferred(how)
		switch how {
		case transferOpen:
			gave = append(gave, ip.String())
			if !whole {
				whole = true
				if err := e.transferred(zone, ip, records); err != nil {
					return false, err
				}
			}
		case transferRefused:
			refused = append(refused, ip.String())
			e.Say("a name server refuses to give the zone away", "zone", zone, "server", ip, "error", err)
		default:
			e.Warn("a name server could not be asked for the zone", "zone", zone, "server", ip, "error", err)
		}
	}
	o := schemas.Observation{Kind: schemas.ObservedName, Name: zone, RecordType: "AXFR", RCode: "NOERROR", Values: gave, Method: "axfr"}
	switch {
	case len(addresses) == 0:
		e.Say("no name server of the zone is at an address that may be scanned: none is asked for it", "zone", zone)
		return false, nil
	case len(gave) == 0 && len(refused) == 0:
		return false, nil
	case len(gave) == 0:
		o.RCode, o.Via = "REFUSED", strings.Join(refused, " ")
	}
	return whole, e.Emit(o)
}

// nameServers is the addresses of a zone's servers that may be scanned: as the
// answer itself tells them, or as names that may be asked for have them.
func (e *explorer) nameServers(ctx context.Context, zone string) ([]netip.Addr, error) {
	var names []string
	found := map[netip.Addr]bool{}
	ask := func(qtype uint16, names []string, each func(resolve.Answer)) error {
		questions := func(yield func(resolve.Question) bool) {
			for _, n := range names {
				if !yield(resolve.Question{Name: n, Type: qtype}) {
					return
				}
			}
		}
		err := e.ask(ctx, questions, func(_ resolve.Question, a resolve.Answer) error {
			each(a)
			return nil
		})
		if errors.Is(err, resolve.ErrNoAnswer) {
			return nil // said already
		}
		return err
	}
	err := ask(dns.TypeNS, []string{zone}, func(a resolve.Answer) {
		names = a.Values
		for _, n := range names {
			for _, ip := range a.Glue[n] {
				found[ip] = true
			}
		}
	})
	for _, t := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if err == nil {
			err = ask(t, names, func(a resolve.Answer) {
				for _, v := range a.Values {
					if ip, err := netip.ParseAddr(v); err == nil {
						found[ip.Unmap()] = true
					}
				}
			})
		}
	}
	var out []netip.Addr
	for ip := range found {
		if e.MayDial(ip) == nil {
			out = append(out, ip)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out[:min(len(out), maxServers)], err
}

// axfr asks one server for a zone.
func (e *explorer) axfr(ctx context.Context, zone string, ip netip.Addr) (records []dns.RR, how string, err error) {
	if err := e.MayDial(ip); err != nil {
		return nil, transferFailed, err
	}
	ctx, cancel := context.WithTimeout(ctx, transferTime)
	defer cancel()
	conn, err := (&net.Dialer{Timeout: transferIdle}).DialContext(ctx, "tcp", netip.AddrPortFrom(ip, e.port).String())
	if err != nil {
		return nil, transferFailed, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	tr := &dns.Transfer{Conn: &dns.Conn{Conn: conn}, ReadTimeout: transferIdle, WriteTimeout: transferIdle}
	q := new(dns.Msg)
	q.SetAxfr(dns.Fqdn(zone))
	parts, err := tr.In(q, ip.String())
	if err != nil {
		return nil, transferFailed, err
	}
	for part := range parts { // to its end: whoever sends it must not be left waiting
		switch {
		case err != nil:
		case part.Error != nil:
			err = part.Error
			_ = conn.Close()
		case len(records)+len(part.RR) > maxTransfer:
			err = fmt.Errorf("more than %d records", maxTransfer)
			_ = conn.Close()
		default:
			records = append(records, part.RR...)
		}
	}
	switch {
	case err == nil && len(records) > 0:
		return records, transferOpen, nil
	case err != nil && strings.Contains(err.Error(), "bad xfr rcode"): // the library's words for an answer that is a refusal
		return nil, transferRefused, err
	case err == nil:
		err = errors.New("it gives nothing")
	}
	return nil, transferFailed, err
}

// transferred emits the records of a zone and follows what they lead to.
func (e *explorer) transferred(zone string, from netip.Addr, records []dns.RR) error {
	sets, aliases, beyond, cuts := group(zone, from.String(), records)
	for _, c := range cuts {
		e.cut(c)
	}
	for _, s := range sets {
		if e.Snap.MayResolve(s.Name) != nil || !ValidName(s.Name) || !e.know(s.Lead) || s.Name != zone && e.opened[s.Name] {
			continue // the last: the zone below says it itself
		}
		e.told[s.Name] = true
		e.mine(s)
		if err := e.Emit(schemas.Observation{
			Kind: schemas.ObservedName, Name: s.Name, RecordType: dns.Type(s.Type).String(), Values: s.Values, RCode: "NOERROR",
			Method: s.Method, Via: s.Via,
		}); err != nil {
			return err
		}
	}
	for _, l := range beyond {
		e.lead(l)
	}
	e.fresh = append(e.fresh, aliases...)
	return nil
}

// group makes record sets of a zone's records. Names that are aliases are only
// named, since it takes a question to say where they lead; so are those below a
// cut, which are another zone's.
func group(zone, via string, records []dns.RR) (sets []RecordSet, aliases, beyond []Lead, cuts []string) {
	type key struct {
		name  string
		qtype uint16
	}
	at := map[key]int{}
	isCut := map[string]bool{}
	for _, rr := range records {
		if name := schemas.CanonicalName(rr.Header().Name); rr.Header().Rrtype == dns.TypeNS && name != zone && resolve.Within(name, zone) && !isCut[name] {
			isCut[name] = true
			cuts = append(cuts, name)
		}
	}
	isBeyond := func(name string) bool {
		for above := parent(name); resolve.Within(above, zone) && above != zone; above = parent(above) {
			if isCut[above] {
				return true
			}
		}
		return false
	}
	led := map[string]bool{}
	for _, rr := range records {
		name, t := schemas.CanonicalName(rr.Header().Name), rr.Header().Rrtype
		value := resolve.Value(rr)
		lead := Lead{name, "axfr", via}
		switch {
		case !resolve.Within(name, zone) || value == "" || t == dns.TypeNSEC:
		case isBeyond(name):
			if !led[name] {
				led[name] = true
				beyond = append(beyond, lead)
			}
		case t == dns.TypeCNAME:
			aliases = append(aliases, lead)
		default:
			i, there := at[key{name, t}]
			if !there {
				i = len(sets)
				at[key{name, t}] = i
				sets = append(sets, RecordSet{lead, t, nil})
			}
			sets[i].Values = append(sets[i].Values, value)
		}
	}
	for i := range sets {
		slices.Sort(sets[i].Values)
		sets[i].Values = slices.Compact(sets[i].Values)
		sets[i].Values = sets[i].Values[:min(len(sets[i].Values), maxSet)]
	}
	return sets, aliases, beyond, cuts
}
