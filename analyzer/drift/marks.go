package drift

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// The bounds of what makes a page a unit's.
const (
	minMark  = 4   // letters of a unit's name: shorter ones stand in too many titles
	maxTitle = 256 // letters that are looked at
	maxIcons = 10_000
)

// marks finds units by their names in a text.
type marks struct {
	names   map[string]string // to the unit's code; "" where several have the name
	lengths []int             // of names, in letters
}

func newMarks(snap *directory.Snapshot) *marks {
	m := &marks{names: map[string]string{}}
	has := map[int]bool{}
	for _, u := range snap.Units() {
		name := strings.TrimSpace(u.Name)
		n := utf8.RuneCountInString(name)
		if n < minMark || n > 64 || u.Level == schemas.Province || u.Level == schemas.City || u.Level == schemas.County {
			continue
		}
		if _, twice := m.names[name]; twice {
			m.names[name] = ""
			continue
		}
		m.names[name] = u.Code
		if !has[n] {
			has[n] = true
			m.lengths = append(m.lengths, n)
		}
	}
	return m
}

// in is the unit whose name stands in a text, and the name; "" when none or one
// that several units have.
func (m *marks) in(text string) (unit, name string) {
	letters := []rune(text)
	letters = letters[:min(len(letters), maxTitle)]
	for from := range letters {
		for _, n := range m.lengths {
			if from+n > len(letters) {
				continue
			}
			if code := m.names[string(letters[from:from+n])]; code != "" && n > utf8.RuneCountInString(name) {
				unit, name = code, string(letters[from:from+n])
			}
		}
	}
	return unit, name
}

func (l *look) marks() *marks {
	if l.j.marks == nil {
		l.j.marks = newMarks(l.snap)
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
	s := l.o.Service
	if l.scan || s == nil || l.snap.Internal(l.o.IP) {
		return
	}
	if key := schemas.CanonicalName(l.o.Name); key != "" && l.ourName(key) {
		return // a name of ours there is another kind
	}
	unit, mark := "", ""
	if h := s.HTTP; h != nil {
		if u, err := url.Parse(h.Location); err == nil && u.Hostname() != "" && l.ourName(strings.ToLower(u.Hostname())) {
			return // it only sends people to us
		}
		if code, name := l.marks().in(h.Title); code != "" {
			unit, mark = code, "title "+name
		} else if code := l.j.icons[h.IconHash]; code != "" {
			unit, mark = code, "icon "+h.IconHash
		}
	}
	if t := s.TLS; t != nil && unit == "" {
		if code, name := l.marks().in(organisation(t.Subject)); code != "" {
			unit, mark = code, "certificate "+name
		}
		for _, key := range t.Names[:min(len(t.Names), 32)] {
			if l.ourName(strings.ToLower(strings.TrimPrefix(key, "*."))) {
				return
			}
		}
	}
	if unit == "" {
		return
	}
	svc := service{l.o.IP.Unmap(), l.o.Transport, l.o.Port}
	l.holds(finding{kind: schemas.UnregisteredMarks, asset: svc.key(), detail: unit, unit: unit, observed: clip(mark), ip: svc.ip, svc: svc})
}
