// Package marks says of what logs saw on an address of nobody's which unit's
// marks it carries: the unit's name in a page's title or in a certificate's
// organisation, the number of an ICP filing, or a name that is made of one of the
// unit's domains.
//
// It is pure: the registry and what was seen come in as arguments. It never says
// that a site is a fraud (a person decides that), and what is of a name that is
// registered carries no mark: where such a name may lie is another question.
package marks

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"fengsui/internal/directory"
	"fengsui/internal/suffix"
	"fengsui/schemas"
)

// The bounds of what makes a site a unit's.
const (
	minName   = 4   // letters of a unit's name: shorter ones stand in too many titles
	maxName   = 64  // letters
	minLabel  = 4   // letters of a domain's own label
	maxTitle  = 256 // letters that are looked at
	maxTokens = 16  // parts of a name that are looked at
	maxLabels = 5   // of a domain that is looked for inside of a name
	maxNames  = 32  // of a certificate
)

// Mark is a unit's mark.
type Mark struct {
	Unit string
	What string // title, certificate, icp or name
	Text string // what was found: the unit's name, the filing's number, the label or domain
	Host string // of a mark that is in a name: that name, which the mark is then about
	Own  string // a name of ours that Host is made of: it may be an alias's target
}

// String is the mark in a few words.
func (m Mark) String() string { return m.What + " " + m.Text }

// Marks are those of all units of a registry. It is safe for concurrent use.
type Marks struct {
	snap    *directory.Snapshot
	names   map[string]string // of units, to the unit's code; "" where several have it
	lengths []int             // of names, in letters
	filings map[string]string // ICP numbers without their last part
	domains map[string]string
	labels  map[string]string // the first of domains that somebody registered
}

// New gathers the marks of a registry.
func New(snap *directory.Snapshot) *Marks {
	m := &Marks{snap: snap.Places(), names: map[string]string{}, filings: map[string]string{}, domains: map[string]string{}, labels: map[string]string{}}
	has := map[int]bool{}
	for _, u := range snap.Units() {
		name := strings.TrimSpace(u.Name)
		n := utf8.RuneCountInString(name)
		if n < minName || n > maxName || u.Level == schemas.Province || u.Level == schemas.City || u.Level == schemas.County {
			continue
		}
		add(m.names, name, u.Code)
		if !has[n] {
			has[n] = true
			m.lengths = append(m.lengths, n)
		}
	}
	for _, s := range snap.Systems() {
		if number, ok := filing(s.ICP); ok && s.Unit != "" {
			add(m.filings, number, s.Unit)
		}
	}
	for _, d := range snap.AllDomains() {
		name := schemas.CanonicalName(d.Name)
		if labels := strings.Count(name, ".") + 1; d.Unit == "" || labels < 2 || labels > maxLabels {
			continue
		}
		add(m.domains, strings.ReplaceAll(name, "-", "."), d.Unit)
		if registered, ok := suffix.Registered(name); ok && registered == name {
			if label, _, _ := strings.Cut(name, "."); len(label) >= minLabel && !generic[label] && !strings.Contains(label, "-") && strings.ContainsFunc(label, unicode.IsLetter) {
				add(m.labels, label, d.Unit)
			}
		}
	}
	return m
}

// For says whether these are the marks of a registry.
func (m *Marks) For(snap *directory.Snapshot) bool { return m != nil && m.snap.SamePlaces(snap) }

// add notes a mark of a unit; one that several have is none's.
func add(marks map[string]string, key, unit string) {
	if was, known := marks[key]; known && was != unit {
		unit = ""
	}
	marks[key] = unit
}

// generic are labels that say what a site is for, not whose it is.
var generic = func() map[string]bool {
	out := map[string]bool{}
	for label := range strings.FieldsSeq("admin auth blog campus cert class cloud college data demo docs download education email " +
		"example file files forum home help host image images info jiaoyu lab library live login mail mobile news office online open " +
		"page pass play portal public research school science search secure server service shop site static student study support " +
		"system teacher tech test university user video vpn wechat wiki work xuexiao zhaosheng") {
		out[label] = true
	}
	return out
}()

// Of is the mark of an observation, if there is one: of a service on an address,
// or of a name that resolves. Whose the address is, it does not ask.
func (m *Marks) Of(o *schemas.Observation) (Mark, bool) {
	hosts := make([]string, 0, 4)
	if o.Name != "" {
		hosts = append(hosts, o.Name)
	}
	s := o.Service
	if s != nil && s.TLS != nil {
		if name := attribute(s.TLS.Subject, "CN"); strings.Contains(name, ".") {
			hosts = append(hosts, name)
		}
		hosts = append(hosts, s.TLS.Names[:min(len(s.TLS.Names), maxNames)]...)
	}
	for i, host := range hosts {
		hosts[i] = schemas.CanonicalName(strings.TrimPrefix(host, "*."))
		if m.Ours(hosts[i]) {
			return Mark{}, false
		}
	}
	if s != nil {
		if mark, ok := m.ofService(s); ok {
			return mark, true
		}
	}
	for _, host := range hosts {
		if mark, ok := m.ofName(host); ok {
			return mark, true
		}
	}
	return Mark{}, false
}

// Ours says whether a name is registered: below a domain, or a system's.
func (m *Marks) Ours(name string) bool {
	if _, ok := m.snap.DomainOf(name); ok {
		return true
	}
	_, ok := m.snap.SystemOfName(name)
	return ok
}

func (m *Marks) ofService(s *schemas.Service) (Mark, bool) {
	if h := s.HTTP; h != nil {
		if u, err := url.Parse(h.Location); err == nil && u.Hostname() != "" && m.Ours(u.Hostname()) {
			return Mark{}, false // it only sends people to us
		}
		if unit, name := m.Name(h.Title); unit != "" {
			return Mark{Unit: unit, What: "title", Text: name}, true
		}
	}
	if s.TLS != nil {
		if unit, name := m.Name(Organisation(s.TLS.Subject)); unit != "" {
			return Mark{Unit: unit, What: "certificate", Text: name}, true
		}
	}
	if s.HTTP != nil {
		if unit, number := m.Filing(s.HTTP.Body); unit != "" {
			return Mark{Unit: unit, What: "icp", Text: number}, true
		}
	}
	return Mark{}, false
}

// Name is the unit whose name stands in a text, and the name; "" when none or one
// that several units have.
func (m *Marks) Name(text string) (unit, name string) {
	if text == "" || len(m.lengths) == 0 {
		return "", ""
	}
	var ends [maxTitle + 1]int // where each letter begins, and the last ends
	n, more := 0, false
	for at := range text {
		ends[n] = at
		if more = n == maxTitle; more {
			break
		}
		n++
	}
	if !more {
		ends[n] = len(text)
	}
	long := 0
	for from := range n {
		for _, letters := range m.lengths {
			if letters <= long || from+letters > n {
				continue
			}
			if found := text[ends[from]:ends[from+letters]]; m.names[found] != "" {
				unit, name, long = m.names[found], found, letters
			}
		}
	}
	return unit, name
}

// Filing is the unit whose ICP filing's number stands in a text, and the number.
func (m *Marks) Filing(text string) (unit, number string) {
	if len(m.filings) == 0 {
		return "", ""
	}
	for range 16 { // of a page that is full of them
		at := strings.Index(text, "ICP")
		if at < 0 {
			break
		}
		_, letter := utf8.DecodeLastRuneInString(text[:at])
		if found, ok := filing(text[at-letter:]); ok && m.filings[found] != "" {
			return m.filings[found], found
		}
		text = text[at+len("ICP"):]
	}
	return "", ""
}

// filing is the number of an ICP filing that a text begins with, as all sites of
// one filer have it: 豫ICP备00000001号 of 豫ICP备00000001号-1.
func filing(text string) (number string, ok bool) {
	text = strings.TrimSpace(text)
	place, size := utf8.DecodeRuneInString(text)
	rest, is := strings.CutPrefix(text[size:], "ICP")
	if !is || !unicode.Is(unicode.Han, place) {
		return "", false
	}
	kind, kindSize := utf8.DecodeRuneInString(rest)
	if kind != '备' && kind != '证' {
		return "", false
	}
	rest = rest[kindSize:]
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	if digits < 5 || digits > 12 || !strings.HasPrefix(rest[digits:], "号") {
		return "", false
	}
	return text[:len(text)-len(rest)+digits] + "号", true
}

// ofName finds one of our domains, or its own label, inside of a foreign name.
func (m *Marks) ofName(host string) (Mark, bool) {
	if host == "" || len(host) > 253 || len(m.domains) == 0 {
		return Mark{}, false
	}
	parts := strings.ReplaceAll(host, "-", ".")
	var ends [maxTokens + 1]int // where each part begins; the next begins behind a dot
	n := 0
	for at := 0; n < maxTokens; n++ {
		ends[n] = at
		next := strings.IndexByte(parts[at:], '.')
		if next < 0 {
			n++
			ends[n] = len(parts) + 1
			break
		}
		at += next + 1
		ends[n+1] = at
	}
	for from := range n {
		for until := min(from+maxLabels, n); until >= from+2; until-- {
			found := parts[ends[from] : ends[until]-1]
			if unit := m.domains[found]; unit != "" {
				return Mark{Unit: unit, What: "name", Text: found, Host: host, Own: own(host, parts[:ends[until]-1])}, true
			}
		}
	}
	public := len(host)
	if registered, ok := suffix.Registered(host); ok {
		_, ending, _ := strings.Cut(registered, ".")
		public = len(host) - len(ending)
	}
	for from := range n {
		if found := parts[ends[from] : ends[from+1]-1]; ends[from] < public && m.labels[found] != "" {
			return Mark{Unit: m.labels[found], What: "name", Text: found, Host: host}, true
		}
	}
	return Mark{}, false
}

// own is the name of ours that a foreign one begins with: content networks name
// their ends so, www.x.edu.cn.cdn.example. It is "" where dots have become hyphens.
func own(host, beginning string) string {
	if strings.HasPrefix(host, beginning) {
		return beginning
	}
	return ""
}
