package drift

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"fengsui/analyzer/marks"
	"fengsui/schemas"
)

// changes judges whether what runs on a whitelisted port is what the entry says,
// and what it was before.
func (l *look) changes(svc service, entry *schemas.WhitelistEntry, f *fact) {
	is, was := read(f.is), read(f.was)
	if is.Name == "" {
		return
	}
	if !l.again() && l.scan {
		// What this look could not tell is not what the one before has told.
		is = profileOf(l.o.Service)
	}
	if entry.Service != "" && sameName(entry.Service, is.Name) && !sameName(was.Name, is.Name) {
		f.was = f.is // the registry has expected it
		was = is
	}
	found := l.firstChange(svc, entry, was, is)
	if l.again() {
		if found.kind == schemas.UnlistedService || found.kind == schemas.ServiceChanged {
			l.holds(found)
		}
		return
	}
	l.there(svc, func(s *state) {
		switch s.Kind {
		case schemas.UnlistedService, schemas.ServiceChanged, schemas.ProductChanged, schemas.VersionChanged:
			if s.Kind != found.kind && tells(s.Kind, is) {
				l.fails(s)
			}
		}
	})
	if found.kind != "" {
		l.holds(found)
	}
	l.certificate(svc, entry, was, is)
}

// there calls f with every drift of a service that is not closed.
func (l *look) there(svc service, f func(*state)) {
	l.j.there(svc.ip, func(s *state) {
		if s.svc == svc {
			f(s)
		}
	})
}

// tells says whether a look that saw so much could have seen the difference.
func tells(kind schemas.DriftKind, is schemas.ServiceProfile) bool {
	switch kind {
	case schemas.ProductChanged:
		return is.Product != ""
	case schemas.VersionChanged:
		return is.Version != ""
	}
	return is.Name != ""
}

// firstChange is the one thing that has changed first: with another service its
// product and version mean nothing.
func (l *look) firstChange(svc service, entry *schemas.WhitelistEntry, was, is schemas.ServiceProfile) finding {
	var f finding
	switch {
	case entry.Service != "" && !sameName(entry.Service, is.Name):
		f.kind = schemas.UnlistedService
	case was.Name != "" && !sameName(was.Name, is.Name):
		f.kind = schemas.ServiceChanged
	case was.Product != "" && is.Product != "" && was.Product != is.Product:
		f.kind = schemas.ProductChanged
	case was.Version != "" && is.Version != "" && was.Version != is.Version && was.Product == is.Product:
		f.kind = schemas.VersionChanged
		if newer(was.Version, is.Version) {
			f.accept = ReasonUpgraded
		}
	default:
		return f // nearly always: nothing is written
	}
	f.asset, f.unit, f.whitelist, f.ip, f.svc = svc.key(), cmp.Or(l.snap.UnitOf(svc.ip), entry.Unit), entry.Key(), svc.ip, svc
	f.expected, f.observed, f.baseline = words(was.Name, was.Product, was.Version), words(is.Name, is.Product, is.Version), clone(was)
	if f.kind == schemas.UnlistedService {
		f.expected, f.baseline = entry.Service, nil
	}
	return f
}

// newer says whether the second version is surely later than the first: numbers
// are compared as such, and whatever else there is must be the same.
func newer(before, after string) bool {
	a, b := versionParts(before), versionParts(after)
	for i := range min(len(a), len(b)) {
		if a[i] == b[i] {
			continue
		}
		x, errX := strconv.ParseUint(a[i], 10, 64)
		y, errY := strconv.ParseUint(b[i], 10, 64)
		return errX == nil && errY == nil && y > x
	}
	return len(b) > len(a)
}

// versionParts splits "9.2p1" into 9, 2, p, 1.
func versionParts(s string) []string {
	var out []string
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	for i := 0; i < len(s); {
		if c := s[i]; c == '.' || c == '-' || c == '_' || c == '+' || c == ' ' || c == '~' || c == ':' {
			i++
			continue
		}
		end := i + 1
		for end < len(s) && digit(s[end]) == digit(s[i]) && !strings.ContainsRune(".-_+ ~:", rune(s[end])) {
			end++
		}
		out = append(out, s[i:end])
		i = end
	}
	return out
}

// certificate judges whether a service shows another certificate. One of the same
// names and issuer is a renewal, unless it vouches for itself.
func (l *look) certificate(svc service, entry *schemas.WhitelistEntry, was, is schemas.ServiceProfile) {
	if was.Certificate == "" || is.Certificate == "" {
		return
	}
	if was.Certificate == is.Certificate {
		l.there(svc, func(s *state) {
			if s.Kind == schemas.CertificateChanged {
				l.fails(s)
			}
		})
		return
	}
	f := finding{
		kind: schemas.CertificateChanged, asset: svc.key(), unit: cmp.Or(l.snap.UnitOf(svc.ip), entry.Unit), whitelist: entry.Key(), ip: svc.ip, svc: svc,
		expected: certificateText(was), observed: certificateText(is), baseline: clone(was),
	}
	selfSigned := l.o.Service.TLS != nil && l.o.Service.TLS.SelfSigned
	if was.Names == is.Names && sameIssuer(was.Issuer, is.Issuer) && !selfSigned {
		f.accept = ReasonRenewed
	}
	l.holds(f)
}

// clone makes a profile of its own; taking the address of one that is at hand would
// put every one of them on the heap.
func clone(p schemas.ServiceProfile) *schemas.ServiceProfile { return &p }

func certificateText(p schemas.ServiceProfile) string {
	return words("sha256", p.Certificate[:min(len(p.Certificate), 16)], p.Names, "by", p.Issuer)
}

// sameIssuer compares issuers by their organisation where both name one: an
// authority signs with many intermediates.
func sameIssuer(a, b string) bool {
	if x, y := marks.Organisation(a), marks.Organisation(b); x != "" && y != "" {
		return x == y
	}
	return a == b
}

// exposures judges in which ways a service is open that should not be: one drift
// each. Whether the port is whitelisted does not matter.
func (l *look) exposures(svc service) {
	seen := l.o.Service.Exposures
	if l.scan && l.o.Service.Name != "" {
		l.there(svc, func(s *state) {
			if s.Kind == schemas.Exposed && !slices.ContainsFunc(seen, func(e schemas.Exposure) bool { return string(e.Kind) == s.Detail }) {
				l.fails(s)
			}
		})
	}
	for _, e := range seen[:min(len(seen), 16)] {
		l.holds(finding{
			kind: schemas.Exposed, asset: svc.key(), detail: string(e.Kind), unit: l.snap.UnitOf(svc.ip), ip: svc.ip, svc: svc,
			observed: words(serviceText(l.o.Service)+":", clip(e.Evidence)),
		})
	}
}
