package drift

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"fengsui/analyzer/marks"
	"fengsui/schemas"
)

const (
	minMark   = 4 // letters of a unit's name that makes an icon its own
	maxIcons  = 10_000
	markShare = 10 // what others put their sites' names to may fill this part of MaxDrifts
)

func (l *look) marks() *marks.Marks {
	if !l.j.marks.For(l.snap) {
		l.j.marks = marks.New(l.snap)
	}
	return l.j.marks
}

// learnIcon notes the favicon of a page of ours that names its unit. Only such a
// page's icon is a mark: those of products are everybody's.
func (j *Judge) learnIcon(unit string, s *schemas.Service) {
	if s == nil || s.HTTP == nil || s.HTTP.IconHash == "" || unit == "" || len(j.icons) >= maxIcons || j.snap == nil {
		return
	}
	u, ok := j.snap.Unit(unit)
	if !ok || utf8.RuneCountInString(u.Name) < minMark || !strings.Contains(s.HTTP.Title, u.Name) {
		return
	}
	if was, known := j.icons[s.HTTP.IconHash]; known && was != unit {
		unit = "" // of two: of none
	}
	j.icons[strings.Clone(s.HTTP.IconHash)] = unit
}

// foreign judges a page that logs saw on an address of nobody's: does it carry a
// unit's marks? Nobody scans such an address; a scan's word would not be believed
// to be in its scope.
func (l *look) foreign() {
	o := l.o
	if l.scan || o.Service == nil || l.snap.Internal(o.IP) || l.sendsToUs() {
		return
	}
	if key := schemas.CanonicalName(o.Name); key != "" && l.ourName(key) {
		return // a name of ours there is another kind
	}
	mark, ok := l.marks().Of(o)
	if h := o.Service.HTTP; !ok && h != nil && l.j.icons[h.IconHash] != "" {
		mark, ok = marks.Mark{Unit: l.j.icons[h.IconHash], What: "icon", Text: h.IconHash}, true
	}
	switch {
	case !ok:
	case mark.Host != "":
		l.markedName(mark, o.IP.Unmap().String())
	default:
		svc := service{o.IP.Unmap(), o.Transport, o.Port}
		l.marked(finding{asset: svc.key(), observed: mark.String(), ip: svc.ip, svc: svc}, mark.Unit)
	}
}

// sendsToUs says whether a page only sends people to us.
func (l *look) sendsToUs() bool {
	h := l.o.Service.HTTP
	if h == nil {
		return false
	}
	u, err := url.Parse(h.Location)
	return err == nil && u.Hostname() != "" && l.ourName(strings.ToLower(u.Hostname()))
}

// foreignMarks judges a name of others that logs saw resolve to addresses of
// nobody's: is it made of a domain of ours?
func (l *look) foreignMarks(key string) {
	if l.scan || len(l.o.Values) == 0 {
		return
	}
	for _, text := range l.o.Values {
		if ip, err := netip.ParseAddr(text); err != nil || l.snap.Internal(ip) {
			return // a foreign name on an address of ours is another kind
		}
	}
	if mark, ok := l.marks().Of(l.o); ok && mark.Host == key {
		l.markedName(mark, l.o.Values[0])
	}
}

// markedName is a foreign name that carries marks: one drift, whatever told of it.
// The target of an alias of ours is our own affair, however it is named.
func (l *look) markedName(mark marks.Mark, at string) {
	if alias := l.j.facts.names[mark.Own].find("CNAME"); mark.Own != "" && alias != nil &&
		slices.ContainsFunc(alias.values, func(v string) bool { return schemas.CanonicalName(v) == mark.Host }) {
		return
	}
	l.marked(finding{asset: schemas.DomainKey(mark.Host), observed: mark.String() + " " + at}, mark.Unit)
}

// marked takes a site that carries a unit's marks. Whoever names a site after a
// unit makes one more of them: they never fill the room of all others.
func (l *look) marked(f finding, unit string) {
	f.kind, f.detail, f.unit, f.observed = schemas.UnregisteredMarks, unit, unit, clip(f.observed)
	if l.j.drifts[f.key()] == nil && l.j.marked >= max(1, l.j.cfg.MaxDrifts/markShare) {
		l.j.dropped++
		return
	}
	l.holds(f)
}

// settledMarks says why the registry alone ends a drift of a site with our marks.
func (l *look) settledMarks(s *state) string {
	if _, ok := l.snap.Unit(s.Detail); !ok {
		return ReasonUnregistered
	}
	if name, ok := strings.CutPrefix(s.Asset, "domain/"); ok {
		if l.ourName(name) {
			return ReasonRegistered
		}
		return ""
	}
	if _, ours := l.snap.NetworkOf(s.ip); ours {
		return ReasonRegistered
	}
	return ""
}
