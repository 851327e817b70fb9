package schemas

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

//go:embed sigma.yml
var sigmaYAML []byte

// SigmaSource is one of Sigma's log sources as events of this catalogue: which
// events belong to it, and what its field names mean.
type SigmaSource struct {
	Product, Category, Service string
	When                       [][]SigmaTerm // any of these, each of whose terms hold
	FedBy                      string        // the parser of ours that writes such events; "" is none
	fields                     *sigmaFields
}

// SigmaTerm holds for an event whose field has one of the values, by any case of
// letters; the value "*" is any at all.
type SigmaTerm struct {
	Field  string
	Values []string
}

type sigmaKey struct{ product, category, service string }

type sigmaFields struct {
	names map[string][]string // Sigma's name -> ours, the first that an event has
	known []string            // those of names, and common ones that stand under rest
	rest  string              // open namespace of every other name; "" is none
}

var sigmaSources = loadSigma()

// LookupSigma finds a log source by Sigma's names, "" for what a rule leaves out.
func LookupSigma(product, category, service string) (*SigmaSource, bool) {
	s, ok := sigmaSources[sigmaKey{product, category, service}]
	return s, ok
}

// NearSigma is the log source that one which is not known was most likely meant
// for: by a slip or two, or by a category that is a service; nil if there is none.
func NearSigma(product, category, service string) *SigmaSource {
	if s, ok := LookupSigma(product, service, category); ok {
		return s
	}
	asked := product + "/" + category + "/" + service
	var best *SigmaSource
	bestDistance := min(3, len(asked)/3)
	for _, s := range sigmaSources {
		name := s.Product + "/" + s.Category + "/" + s.Service
		d := editDistance(asked, name)
		if d < bestDistance || d == bestDistance && best != nil && name < best.Product+"/"+best.Category+"/"+best.Service {
			best, bestDistance = s, d
		}
	}
	return best
}

// SigmaSources are all log sources known, in no order.
func SigmaSources() []*SigmaSource {
	all := make([]*SigmaSource, 0, len(sigmaSources))
	for _, s := range sigmaSources {
		all = append(all, s)
	}
	return all
}

// Fields says which fields of the catalogue a rule's field name stands for; an
// event's value is that of the first it has. A name that Sigma gives this log
// source comes first, then the catalogue's own dotted names, then the namespace
// where the log source keeps its other keys. The error is *UnknownFieldError.
func (s *SigmaSource) Fields(name string) ([]string, error) {
	if ours, ok := s.fields.names[name]; ok {
		return ours, nil
	}
	if s.fields.rest != "" && !(dottedName(name) && (knownField(name) || s.mistyped(name))) {
		return []string{s.fields.rest + name}, nil
	}
	if err := CheckField(name); err != nil {
		return nil, err
	}
	return []string{name}, nil
}

// Meant is the name that one was most likely meant for which stands where the log
// source keeps its other keys, so that nothing refuses it: a known one in other
// letters (commandline), or with a slip or two; "" if there is none.
func (s *SigmaSource) Meant(name string) string {
	if s.fields.rest == "" || dottedName(name) {
		return ""
	}
	if _, known := slices.BinarySearch(s.fields.known, name); known {
		return ""
	}
	slips := 0
	if n := len(name); n >= 9 {
		slips = 2
	} else if n >= 6 {
		slips = 1
	}
	small := strings.ToLower(name)
	for _, k := range s.fields.known {
		if editDistance(small, strings.ToLower(k)) <= slips {
			return k
		}
	}
	return ""
}

// mistyped says that a name can only be meant for the catalogue: it begins as
// fields of the catalogue do, and a parser of ours writes these events, so that
// it is known that no other key of theirs is called so.
func (s *SigmaSource) mistyped(name string) bool {
	root, _, _ := strings.Cut(name, ".")
	return s.FedBy != "" && slices.ContainsFunc(catalogue.Fields, func(f Field) bool { return strings.HasPrefix(f.Name, root+".") })
}

// dottedName tells the catalogue's full names from its aliases, which are words
// that a log source may use for something else.
func dottedName(name string) bool {
	return strings.Contains(name, ".") || strings.HasPrefix(name, "@")
}

func knownField(name string) bool {
	_, open := OpenField(name)
	_, ok := byName[name]
	return ok || open
}

// The document sigma.yml.
type sigmaDoc struct {
	Mappings map[string]struct {
		Base   string                  `yaml:"base"` // a mapping that this one adds to
		Rest   string                  `yaml:"rest"`
		Known  []string                `yaml:"known"` // common names under rest
		Fields map[string]stringOrList `yaml:"fields"`
	} `yaml:"mappings"`
	Sources []struct {
		Product  string                    `yaml:"product"`
		Category string                    `yaml:"category"`
		Service  string                    `yaml:"service"`
		Fields   string                    `yaml:"fields"`
		FedBy    string                    `yaml:"fed_by"`
		When     []map[string]stringOrList `yaml:"when"`
	} `yaml:"sources"`
}

type stringOrList []string

func (s *stringOrList) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		*s = []string{n.Value}
		return nil
	}
	var list []string
	if err := n.Decode(&list); err != nil {
		return err
	}
	*s = list
	return nil
}

// loadSigma panics on a broken table: it is part of the program, and TestSigma
// reads it before anyone else does.
func loadSigma() map[sigmaKey]*SigmaSource {
	var doc sigmaDoc
	dec := yaml.NewDecoder(bytes.NewReader(sigmaYAML))
	dec.KnownFields(true)
	if err := dec.Decode(&doc); err != nil {
		panic(fmt.Sprintf("schemas: sigma.yml: %v", err))
	}
	mappings := map[string]*sigmaFields{}
	var mapping func(name string) *sigmaFields
	mapping = func(name string) *sigmaFields {
		if f := mappings[name]; f != nil {
			return f
		}
		m, ok := doc.Mappings[name]
		if !ok {
			panic(fmt.Sprintf("schemas: sigma.yml: no mapping %q", name))
		}
		f := &sigmaFields{names: map[string][]string{}, known: m.Known, rest: m.Rest}
		mappings[name] = f
		if m.Base != "" {
			base := mapping(m.Base)
			for k, v := range base.names {
				f.names[k] = v
			}
			if f.rest == "" {
				f.rest = base.rest
			}
			f.known = slices.Concat(f.known, base.known)
		}
		for k, v := range m.Fields {
			f.names[k] = v
			f.known = append(f.known, k)
		}
		slices.Sort(f.known)
		f.known = slices.Compact(f.known)
		return f
	}
	sources := make(map[sigmaKey]*SigmaSource, len(doc.Sources))
	for _, d := range doc.Sources {
		key := sigmaKey{d.Product, d.Category, d.Service}
		if sources[key] != nil {
			panic(fmt.Sprintf("schemas: sigma.yml: %v is said twice", key))
		}
		s := &SigmaSource{Product: d.Product, Category: d.Category, Service: d.Service, FedBy: d.FedBy, fields: mapping(d.Fields)}
		for _, all := range d.When {
			var terms []SigmaTerm
			for field, values := range all {
				terms = append(terms, SigmaTerm{field, values})
			}
			slices.SortFunc(terms, func(a, b SigmaTerm) int { return strings.Compare(a.Field, b.Field) })
			s.When = append(s.When, terms)
		}
		sources[key] = s
	}
	return sources
}
