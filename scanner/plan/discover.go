package plan

import (
	"slices"
	"strings"

	"fengsui/schemas"
)

const maxCertificates = 5000 // names of one task

// discoverTasks has every authorised domain looked through for names, each in a
// shard of its own: the domain, and what certificates showed below it.
func (p *planner) discoverTasks() error {
	if !p.request.Discover {
		return nil
	}
	shown := map[string][]string{}
	for _, n := range p.request.Certificates {
		n = strings.TrimPrefix(schemas.CanonicalName(n), "*.")
		if d, ok := p.snap.DomainOf(n); ok && n != d.Name {
			shown[d.Name] = append(shown[d.Name], n)
		}
	}
	for _, d := range p.snap.Domains(p.request.Unit, true) {
		if !d.Scan || !p.scope.has(d.Name) || p.snap.MayResolve(d.Name) != nil {
			continue
		}
		names := shown[d.Name]
		slices.Sort(names)
		names = slices.Compact(names)
		names = append([]string{d.Name}, names[:min(len(names), maxCertificates)]...)
		g := groupOf(&p.domains, d.Name, d.Hours, d.Rate, 0)
		if err := p.add(g, schemas.ScanTask{Kind: schemas.TaskDiscover, Names: names}); err != nil {
			return err
		}
	}
	return nil
}
