package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"fengsui/schemas"
)

// stored is a record as it is kept: exactly one of its members is set. The
// kinds that are also published have the same words as in the topic.
type stored struct {
	Unit      *schemas.Unit           `json:"unit,omitempty"`
	Network   *schemas.Network        `json:"network,omitempty"`
	Domain    *schemas.Domain         `json:"domain,omitempty"`
	Whitelist *schemas.WhitelistEntry `json:"whitelist,omitempty"`
	System    *System                 `json:"system,omitempty"`
	Contact   *Contact                `json:"contact,omitempty"`
	Request   *Request                `json:"request,omitempty"`
	Decision  *schemas.DriftDecision  `json:"decision,omitempty"`
}

// deletable are the kinds that Delete removes.
var deletable = []string{"unit", "network", "domain", "whitelist", "system", "contact"}

// record is one record with its place; an empty value is a deletion.
type record struct {
	key, kind    string
	unit, system string // whose it is, and of which information system
	value        []byte
}

// record encodes s.
func (s *stored) record() (record, error) {
	r := record{}
	switch {
	case s.Unit != nil:
		r.key, r.unit = "unit/"+s.Unit.Code, s.Unit.Parent
	case s.Network != nil:
		r.key, r.unit = "network/"+s.Network.Prefix.String(), s.Network.Unit
	case s.Domain != nil:
		r.key, r.unit = "domain/"+s.Domain.Name, s.Domain.Unit
	case s.Whitelist != nil:
		r.key, r.unit, r.system = "whitelist/"+s.Whitelist.Key(), s.Whitelist.Unit, s.Whitelist.System
	case s.System != nil:
		r.key, r.unit = "system/"+s.System.Code, s.System.Unit
	case s.Contact != nil:
		r.key, r.unit = "contact/"+s.Contact.Key(), s.Contact.Unit
	case s.Request != nil:
		r.key = "request/" + s.Request.ID
		if s.Request.State == RequestPending { // what is decided keeps no unit from going
			r.unit, r.system = s.Request.Entry.Unit, s.Request.Entry.System
		}
	}
	if s.Decision != nil { // keeps no unit from going
		r.key = "decision/" + s.Decision.Drift
	}
	r.kind, _, _ = strings.Cut(r.key, "/")
	var err error
	if r.value, err = json.Marshal(s); err != nil {
		return r, fmt.Errorf("encoding %s: %w", r.key, err)
	}
	return r, nil
}

// add takes a stored record into the content.
func (c *Content) add(key, value string) error {
	var s stored
	if err := json.Unmarshal([]byte(value), &s); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	switch {
	case s.Unit != nil:
		c.Units = append(c.Units, *s.Unit)
	case s.Network != nil:
		c.Networks = append(c.Networks, *s.Network)
	case s.Domain != nil:
		c.Domains = append(c.Domains, *s.Domain)
	case s.Whitelist != nil:
		c.Whitelist = append(c.Whitelist, *s.Whitelist)
	case s.System != nil:
		c.Systems = append(c.Systems, *s.System)
	case s.Contact != nil:
		c.Contacts = append(c.Contacts, *s.Contact)
	case s.Decision != nil:
		c.decisions = append(c.decisions, *s.Decision)
	case s.Request != nil: // is asked for, and no content yet
	default:
		return fmt.Errorf("record %s holds nothing that this version knows", key)
	}
	return nil
}

// each goes through everything in c: the i-th of each kind of sheet.
func (c *Content) each(f func(kind string, i int, s *stored)) {
	for i := range c.Units {
		f("units", i, &stored{Unit: &c.Units[i]})
	}
	for i := range c.Networks {
		f("networks", i, &stored{Network: &c.Networks[i]})
	}
	for i := range c.Domains {
		f("domains", i, &stored{Domain: &c.Domains[i]})
	}
	for i := range c.Whitelist {
		f("whitelist", i, &stored{Whitelist: &c.Whitelist[i]})
	}
	for i := range c.Systems {
		f("systems", i, &stored{System: &c.Systems[i]})
	}
	for i := range c.Contacts {
		f("contacts", i, &stored{Contact: &c.Contacts[i]})
	}
	for i := range c.decisions {
		f("", i, &stored{Decision: &c.decisions[i]})
	}
}

// recordsOf encodes everything in c. The same entry twice is one; two that
// differ contradict each other (ErrInvalid).
func recordsOf(c *Content) ([]record, error) {
	type first struct {
		value string
		at    int
	}
	out, seen := make([]record, 0, c.Len()), make(map[string]first, c.Len())
	var errs []error
	var p problems
	c.each(func(kind string, i int, s *stored) {
		r, err := s.record()
		if err != nil {
			errs = append(errs, err)
			return
		}
		before, twice := seen[r.key]
		if !twice {
			seen[r.key] = first{string(r.value), i}
			out = append(out, r)
		} else if before.value != string(r.value) {
			p.at(c, kind, i, r.key, c.again(kind, before.at))
		}
	})
	if err := p.err(); err != nil {
		errs = append(errs, classified{err, ErrInvalid})
	}
	return out, errors.Join(errs...)
}

// again is the mistake that an entry is there already, and differs.
func (c *Content) again(kind string, i int) error {
	if places := c.places[kind]; i < len(places) {
		return bad("", "is also in row %d, and differently", "与第 %d 行重复，内容不同", places[i].row)
	}
	return bad("", "is given twice, and differently", "重复出现，内容不同")
}

// publicationOf is what the topic holds of c.
func publicationOf(c *Content) ([]record, error) {
	records, err := recordsOf(c)
	if err != nil {
		return nil, err
	}
	out := records[:0]
	for _, r := range records {
		value, public, err := publication(r.key, string(r.value))
		if err != nil {
			return nil, err
		}
		if public {
			out = append(out, record{key: r.key, value: value})
		}
	}
	return out, nil
}

// publication is the part of a stored record that goes to the topic; public is
// false for kinds that never leave the registry. A deletion has no value at
// all: an empty one would not be a tombstone.
func publication(key, value string) (out []byte, public bool, err error) {
	kind, _, _ := strings.Cut(key, "/")
	switch kind {
	case "unit", "network", "domain", "whitelist", "system", "decision":
	default:
		return nil, false, nil
	}
	if value == "" {
		return nil, true, nil
	}
	if kind != "system" {
		return []byte(value), true, nil
	}
	var s stored
	if err := json.Unmarshal([]byte(value), &s); err != nil || s.System == nil {
		return nil, false, fmt.Errorf("record %s is no system: %w", key, err)
	}
	out, err = json.Marshal(schemas.RegistryRecord{System: &s.System.System})
	return out, true, err
}
