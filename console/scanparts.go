package console

import (
	"net/netip"
	"slices"
	"strings"

	"fengsui/schemas"
)

// What a user may see of scans is decided here: of a job of their units everything; of
// one that a unit above them has asked for, that it is there, who asks and why, and how
// far the shards are that look at networks or domains of theirs; of other jobs nothing.

// jobs are those that the viewer sees, as far as they do.
func (v *viewer) jobs(now *Scans) []schemas.ScanJob {
	if v.units == nil {
		return now.Jobs
	}
	parts, own := partsOf(now.Parts, v.sees), v.places()
	var out []schemas.ScanJob
	for i := range now.Jobs {
		j := &now.Jobs[i]
		if v.sees(j.Unit) {
			out = append(out, *j)
		} else if p, ok := parts[j.ID]; ok {
			out = append(out, part(j, p, own))
		}
	}
	return out
}

// partsOf sums, for every job, those of its parts up that look at something of units.
func partsOf(parts []schemas.ScanPart, units func(string) bool) map[string]schemas.ScanPart {
	out := map[string]schemas.ScanPart{}
	for i := range parts {
		p := &parts[i]
		if !slices.ContainsFunc(p.Units, units) {
			continue
		}
		sum := out[p.Job]
		sum.Add(p.ScanProgress)
		sum.Cost += p.Cost
		sum.Settled += p.Settled
		out[p.Job] = sum
	}
	return out
}

// part is what is told of a job of a unit above: named one by one, so that what a job
// may hold one day is not told by itself.
func part(j *schemas.ScanJob, p schemas.ScanPart, own *places) schemas.ScanJob {
	out := schemas.ScanJob{
		ID: j.ID, Class: j.Class, Unit: j.Unit, Scope: own.within(j.Scope), By: j.By, Reason: j.Reason, Created: j.Created, Expires: j.Expires,
		Above: true, ScanProgress: p.ScanProgress, Stopped: j.Stopped,
	}
	out.State = out.At(j.Stopped != nil)
	switch {
	case out.State == schemas.JobDone:
		out.Percent = 100
	case p.Cost > 0:
		out.Percent = 100 * p.Settled / p.Cost
	}
	return out
}

// places are the networks and domains of a viewer's units.
type places struct {
	*viewer
	networks []schemas.Network
	domains  []schemas.Domain
}

func (v *viewer) places() *places {
	return &places{v, v.directory.Networks(v.Unit, true), v.directory.Domains(v.Unit, true)}
}

// within is what of the addresses and names that were asked for is theirs: each as it
// was asked for, or those of their networks and domains inside it that are authorised.
func (own *places) within(scope []string) (out []string) {
	for _, asked := range scope {
		block, err := netip.ParsePrefix(asked)
		if ip, e := netip.ParseAddr(asked); e == nil {
			ip = ip.Unmap()
			block, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err == nil {
			out = append(out, own.withinBlock(block, asked)...)
		} else {
			out = append(out, own.belowName(schemas.NameInDNS(asked))...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func (own *places) withinBlock(block netip.Prefix, asked string) (out []string) {
	if n, ok := own.directory.NetworkOf(block.Addr()); ok && n.Prefix.Bits() <= block.Bits() && own.sees(n.Unit) {
		out = append(out, asked)
	}
	for _, n := range own.networks {
		if n.Scan && n.Prefix.Bits() > block.Bits() && n.Prefix.Overlaps(block) {
			out = append(out, n.Prefix.String())
		}
	}
	return out
}

func (own *places) belowName(name string) (out []string) {
	if d, ok := own.directory.DomainOf(name); ok && own.sees(d.Unit) {
		out = append(out, name)
	}
	for _, d := range own.domains {
		if d.Scan && strings.HasSuffix(d.Name, "."+name) {
			out = append(out, d.Name)
		}
	}
	return out
}

// shards are those of a part. Of one that looks at something of others, too, it is not
// told at what, nor what came of it.
func (v *viewer) shards(all []schemas.ScanShard) (out []schemas.ScanShard) {
	for i := range all {
		s := &all[i]
		switch {
		case !slices.ContainsFunc(s.Units, v.sees):
		case !slices.ContainsFunc(s.Units, func(unit string) bool { return !v.sees(unit) }):
			out = append(out, *s)
		default:
			out = append(out, schemas.ScanShard{Shard: s.Shard, Kind: s.Kind, State: s.State, Attempts: s.Attempts, Since: s.Since, Next: s.Next, Hours: s.Hours})
		}
	}
	return out
}

// notTheirs is that a job which a unit above has asked for is that unit's to stop.
func notTheirs(j *schemas.ScanJob) *Problem {
	return forbidden(mistake("", "任务由上级单位 "+j.Unit+" 发起，由该单位或其上级停止、恢复",
		"the job was started by unit "+j.Unit+" above yours: that unit, or one above it, stops it and lets it go on"))
}
