package assets

import (
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"strings"
	"time"

	"fengsui/schemas"
)

// doc is what is known of a service. It is never changed: services that are
// alike share one.
type doc struct {
	service schemas.Service // without its long texts
	whole   uint64          // a hash of all of it
	essence uint64          // a hash of what makes it another service when it changes
	lean    bool            // there were long texts
}

// same says that two are alike to the letter.
func (d *doc) same(other *doc) bool {
	if d == nil || other == nil {
		return d == other
	}
	return d.whole == other.whole
}

// alike says that two are the same for whoever asks what ran there: a header
// with another date is no change.
func (d *doc) alike(other *doc) bool {
	if d == nil || other == nil {
		return d == other
	}
	return d.essence == other.essence
}

// copy is the service for a caller; nil where nothing is known.
func (d *doc) copy() *schemas.Service {
	if d == nil {
		return nil
	}
	s := d.service
	return &s
}

// The bounds of what is remembered so that it is held once. When they are
// reached it is forgotten, and what comes again is held a second time.
const (
	maxDocs  = 1 << 16
	maxTexts = 1 << 16
	maxShort = 128 // bytes of a banner that is held
)

// docs makes docs, and makes the same one of what is the same.
type docs struct {
	seed  maphash.Seed
	known map[uint64]*doc
	texts map[string]string
}

func newDocs() docs {
	return docs{maphash.MakeSeed(), map[uint64]*doc{}, map[string]string{}}
}

// of is the doc of a service.
func (d *docs) of(s *schemas.Service) *doc {
	if s.IsZero() {
		return nil
	}
	whole, essence := d.hash(s)
	if known := d.known[whole]; known != nil {
		return known
	}
	made := &doc{whole: whole, essence: essence}
	made.service, made.lean = d.slim(s)
	if len(d.known) >= maxDocs {
		clear(d.known)
	}
	d.known[whole] = made
	return made
}

// merge is what is known of a service after another look. A look that could not
// tell (a passive one, or a service that said nothing) leaves what was known of
// a service that stayed open; a scan's word counts more than a passive one's.
// whole is the same with its long texts, where they are in hand.
func (d *docs) merge(known *doc, seen *schemas.Service, open, passive bool) (now *doc, whole *schemas.Service) {
	switch {
	case seen.IsZero():
		if open {
			return known, nil
		}
		return nil, nil
	case known == nil || !passive:
		s := *seen
		return d.of(seen), &s
	}
	s := known.service
	s.Name = cmp.Or(s.Name, seen.Name)
	s.Product = cmp.Or(s.Product, seen.Product)
	s.Version = cmp.Or(s.Version, seen.Version)
	s.OS = cmp.Or(s.OS, seen.OS)
	s.TLS = cmp.Or(s.TLS, seen.TLS)
	s.HTTP = cmp.Or(s.HTTP, seen.HTTP)
	if was := &known.service; s.Name == was.Name && s.Product == was.Product && s.Version == was.Version && s.OS == was.OS && s.TLS == was.TLS && s.HTTP == was.HTTP {
		return known, nil
	}
	if !known.lean {
		return d.of(&s), &s
	}
	merged := d.of(&s)
	if !merged.lean { // d.of may have been given what is held already
		leaner := *merged
		leaner.lean = true
		merged = &leaner
	}
	return merged, nil
}

// slim is a service without its long texts, of texts of its own.
func (d *docs) slim(s *schemas.Service) (out schemas.Service, lean bool) {
	out = *s
	out.Name, out.Product, out.Version, out.OS = d.text(s.Name), d.text(s.Product), d.text(s.Version), d.text(s.OS)
	if len(s.Banner) > maxShort {
		out.Banner, lean = "", true
	}
	if s.TLS != nil {
		t := *s.TLS
		t.Version, t.Cipher, t.Issuer, t.Key, t.JARM = d.text(t.Version), d.text(t.Cipher), d.text(t.Issuer), d.text(t.Key), d.text(t.JARM)
		if len(t.Chain) > 0 {
			t.Chain, lean = nil, true
		}
		out.TLS = &t
	}
	if s.HTTP != nil {
		h := *s.HTTP
		h.Title, h.Server, h.IconHash = d.text(h.Title), d.text(h.Server), d.text(h.IconHash)
		if h.Header != "" || h.Body != "" {
			h.Header, h.Body, lean = "", "", true
		}
		out.HTTP = &h
	}
	if len(s.Technologies) > 0 {
		out.Technologies = make([]schemas.Technology, len(s.Technologies))
		for i, t := range s.Technologies {
			out.Technologies[i] = schemas.Technology{Name: d.text(t.Name), Version: d.text(t.Version)}
		}
	}
	return out, lean
}

// text is a text that is held once.
func (d *docs) text(s string) string {
	if s == "" {
		return ""
	}
	if known, ok := d.texts[s]; ok {
		return known
	}
	if len(d.texts) >= maxTexts {
		clear(d.texts)
	}
	s = strings.Clone(s)
	d.texts[s] = s
	return s
}

// hash is the hashes of all of a service, and of what makes it another.
func (d *docs) hash(s *schemas.Service) (whole, essence uint64) {
	var h hasher
	h.SetSeed(d.seed)
	h.texts(s.Name, s.Product, s.Version, s.OS)
	h.number(len(s.Technologies))
	for _, t := range s.Technologies {
		h.texts(t.Name, t.Version)
	}
	h.number(len(s.Exposures))
	for _, e := range s.Exposures {
		h.texts(string(e.Kind))
	}
	if t := s.TLS; t != nil {
		h.texts("tls", t.Version, t.Subject, t.Issuer, t.SHA256)
		h.list(t.Versions)
	}
	if p := s.HTTP; p != nil {
		h.texts("http", p.Title, p.Server, p.Location, p.IconHash)
		h.number(p.Status)
	}
	essence = h.Sum64()
	h.texts(s.Banner)
	for _, e := range s.Exposures {
		h.texts(e.Evidence)
	}
	if t := s.TLS; t != nil {
		h.texts(t.Cipher, t.Serial, t.Key, t.JARM)
		h.list(t.Names)
		h.time(t.NotBefore)
		h.time(t.NotAfter)
		if t.SelfSigned {
			h.number(1)
		}
		for _, c := range t.Chain {
			h.texts(c.SHA256, c.Subject, c.Issuer)
			h.time(c.NotAfter)
		}
	}
	if p := s.HTTP; p != nil {
		h.texts(p.Header, p.Body)
	}
	return h.Sum64(), essence
}

// hasher hashes texts so that no two lists of them look the same.
type hasher struct{ maphash.Hash }

func (h *hasher) number(n int) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	_, _ = h.Write(b[:]) // never fails
}

func (h *hasher) texts(texts ...string) {
	for _, s := range texts {
		h.number(len(s))
		_, _ = h.WriteString(s) // never fails
	}
}

func (h *hasher) list(texts []string) {
	h.number(len(texts))
	h.texts(texts...)
}

func (h *hasher) time(t time.Time) { h.number(int(t.Unix())) }

// Fill puts the long texts of a Lean service back from where it was written last.
func Fill(s, stored *schemas.Service) {
	if s == nil || stored == nil {
		return
	}
	s.Banner = cmp.Or(s.Banner, stored.Banner)
	if s.TLS != nil && stored.TLS != nil && s.TLS.SHA256 == stored.TLS.SHA256 && len(s.TLS.Chain) == 0 {
		t := *s.TLS
		t.Chain = stored.TLS.Chain
		s.TLS = &t
	}
	if s.HTTP != nil && stored.HTTP != nil {
		h := *s.HTTP
		h.Header, h.Body = cmp.Or(h.Header, stored.HTTP.Header), cmp.Or(h.Body, stored.HTTP.Body)
		s.HTTP = &h
	}
}
