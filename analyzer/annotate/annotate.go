// Package annotate says of an asset what the registry, the map and the drifts
// know of it besides: whose it is and where, which information system has it,
// whether it is allowed, and how it differs. It is what people search assets by.
//
// It is pure: registry, asset, names, drifts and the time are arguments. It never
// judges (a drift is taken as it is) and never changes an asset.
package annotate

import (
	"slices"
	"strings"
	"time"

	"fengsui/internal/directory"
	"fengsui/schemas"
)

// Annotator holds one registry, and what it says of each unit, worked out once.
// It is not safe for concurrent use.
type Annotator struct {
	snap     *directory.Snapshot
	cities   map[string]*schemas.Unit // by division code
	counties map[string]*schemas.Unit
	units    map[string]*place
}

// place is what holds for everything of a unit. Its lists are shared.
type place struct{ in, city, county, school []string }

// New makes the annotator of a registry.
func New(snap *directory.Snapshot) *Annotator {
	n := &Annotator{snap: snap, cities: map[string]*schemas.Unit{}, counties: map[string]*schemas.Unit{}, units: map[string]*place{}}
	units := snap.Units()
	for i := range units {
		u := &units[i]
		switch {
		case u.Division == "":
		case u.Level == schemas.City:
			n.cities[u.Division] = u
		case u.Level == schemas.County:
			n.counties[u.Division] = u
		}
	}
	return n
}

// Snapshot is the registry that the annotator holds.
func (n *Annotator) Snapshot() *directory.Snapshot { return n.snap }

// Note says what is known of an asset at a time. names are those of the asset's
// address, drifts the kinds of its open drifts. What it returns must not be
// changed.
func (n *Annotator) Note(a *schemas.Asset, names []string, drifts []schemas.DriftKind, now time.Time) schemas.Notes {
	p := n.placeOf(a.Unit)
	notes := schemas.Notes{Names: names, UnitIn: p.in, City: p.city, County: p.county, School: p.school}
	var system schemas.System
	var has bool
	switch a.Kind {
	case schemas.AssetDomain:
		notes.Names = []string{a.Name}
		system, has = n.snap.SystemOfName(a.Name)
		_, notes.Allowed = n.snap.WhitelistedDomain(a.Name, now)
	case schemas.AssetHost:
		if at := n.snap.SystemsAt(a.IP); len(at) > 0 {
			system, has = at[0], true
		}
		_, notes.Allowed = n.snap.WhitelistedHost(a.IP, now)
	case schemas.AssetService:
		system, has = n.snap.SystemOfPort(a.IP, a.Transport, a.Port)
		_, notes.Allowed = n.snap.WhitelistedPort(a.IP, a.Transport, a.Port, now)
	}
	if has {
		notes.System, notes.Level = lines(system.Name, system.Code), system.Level
		notes.Filed = system.State == schemas.SystemRegistered || system.State == schemas.SystemChanged
	}
	for _, k := range drifts {
		notes.Drift = append(notes.Drift, string(k))
	}
	slices.Sort(notes.Drift)
	notes.Drift = slices.Compact(notes.Drift)
	return notes
}

// placeOf works out what holds for a unit. Where it is in the tree comes first;
// a university hangs below the province, and its division says which city it is
// in.
func (n *Annotator) placeOf(code string) *place {
	if p := n.units[code]; p != nil {
		return p
	}
	p := &place{}
	division := ""
	for _, c := range n.snap.Path(code) {
		u, _ := n.snap.Unit(c)
		p.in = append(p.in, lines(u.Code, u.Name)...)
		if division == "" {
			division = u.Division
		}
		switch u.Level {
		case schemas.City:
			p.city = first(p.city, lines(u.Name, u.Code, u.Division))
		case schemas.County:
			p.county = first(p.county, lines(u.Name, u.Code, u.Division))
		case schemas.School, schemas.University:
			p.school = first(p.school, lines(u.Name, u.Code, u.SchoolCode))
		}
	}
	if u := n.counties[division]; u != nil {
		p.county = first(p.county, lines(u.Name, u.Code, u.Division))
	}
	if u := n.cityOf(division); u != nil {
		p.city = first(p.city, lines(u.Name, u.Code, u.Division))
	}
	n.units[code] = p
	return p
}

// cityOf is the city of a division by GB/T 2260: the division itself where it
// has a city's place (Jiyuan), or the one of its first four digits.
func (n *Annotator) cityOf(division string) *schemas.Unit {
	if u := n.cities[division]; u != nil || len(division) != 6 {
		return u
	}
	return n.cities[division[:4]+"00"]
}

func first(known, given []string) []string {
	if len(known) > 0 {
		return known
	}
	return given
}

// lines are the texts that are not empty, each once and on one line.
func lines(texts ...string) []string {
	var out []string
	for _, s := range texts {
		if s = strings.Join(strings.Fields(s), " "); s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// Mark tells apart what is written of an asset: its version and its notes.
func Mark(version uint64, notes *schemas.Notes) uint64 {
	h := fnv(14695981039346656037)
	h.number(version)
	for _, list := range [][]string{notes.Names, notes.UnitIn, notes.City, notes.County, notes.School, notes.System, notes.Drift} {
		h.number(uint64(len(list)))
		for _, s := range list {
			h.number(uint64(len(s)))
			h.text(s)
		}
	}
	h.number(uint64(notes.Level))
	h.truth(notes.Filed)
	h.truth(notes.Allowed)
	return uint64(h)
}

// fnv is FNV-1a of 64 bits, which must be the same after a restart.
type fnv uint64

func (h *fnv) octet(b byte) { *h = (*h ^ fnv(b)) * 1099511628211 }

func (h *fnv) text(s string) {
	for i := range len(s) {
		h.octet(s[i])
	}
}

func (h *fnv) number(n uint64) {
	for ; n > 0x7f; n >>= 7 {
		h.octet(byte(n) | 0x80)
	}
	h.octet(byte(n))
}

func (h *fnv) truth(b bool) {
	if b {
		h.octet(1)
	} else {
		h.octet(0)
	}
}
