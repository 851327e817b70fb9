package scanner

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"fengsui/schemas"
)

// attempt begins the journal's entry of a claim.
func (s *Scanner) attempt(claim schemas.ScanEvent, t *schemas.ScanTask, began time.Time) *schemas.Attempt {
	return &schemas.Attempt{
		Epoch: claim.Epoch, Kind: t.Kind, Class: t.ClassOf(), By: t.By, Reason: t.Reason, Asked: t.Created,
		Targets: t.Targets, Ports: t.Ports, Names: t.Names, Instance: claim.Instance, Sources: sources(t.Targets),
		Rate: t.Rate, Started: began.UTC(),
	}
}

// entry is an observation of the journal: that an attempt begins, or how it ended.
func (s *Scanner) entry(kind schemas.ObservationKind, t *schemas.ScanTask, a schemas.Attempt) schemas.Observation {
	name := t.Key()
	id := name + "/" + string(kind)
	if kind != schemas.ObservedDone {
		id += "/" + strconv.Itoa(a.Epoch)
	}
	s.m.observations.WithLabelValues(string(kind)).Inc()
	return schemas.Observation{
		ID: id, Kind: kind, Time: time.Now().UTC(), Source: "scan", Job: t.Job, Shard: t.Shard, Scanner: s.id,
		Unit: t.Unit, Name: name, Attempt: &a,
	}
}

// sources is this machine's addresses on the way to the targets. Nothing is sent.
func sources(targets []netip.Prefix) (out []netip.Addr) {
	for _, v4 := range []bool{true, false} {
		i := slices.IndexFunc(targets, func(p netip.Prefix) bool { return p.Addr().Is4() == v4 })
		if i < 0 {
			continue
		}
		c, err := net.Dial("udp", netip.AddrPortFrom(targets[i].Addr(), 9).String())
		if err != nil {
			continue // the look itself says so
		}
		if at, err := netip.ParseAddrPort(c.LocalAddr().String()); err == nil {
			out = append(out, at.Addr().Unmap().WithZone(""))
		}
		_ = c.Close()
	}
	return out
}
