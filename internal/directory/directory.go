// Package directory is the registry as every service holds it in memory: who
// owns which address and name, what may be scanned, and what is whitelisted.
//
// It is a fold of the compacted topic registry. It never connects to anything,
// never asks a database and never changes the registry; whoever reads the topic
// gives it the records.
package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"fengsui/schemas"
)

// readyKey is the key of the mark that ends a whole publication.
const readyKey = "ready"

// Directory follows the registry. All methods may be called at the same time.
type Directory struct {
	mu       sync.Mutex                        // guards the records, caughtUp, marked
	own      map[string]schemas.RegistryRecord // units, networks, domains, systems
	entries  map[string]schemas.RegistryRecord // of the whitelist
	decided  map[string]schemas.RegistryRecord // decisions about drifts
	dirty    map[string]bool                   // what changed since a snapshot was made
	caughtUp bool
	marked   bool
	ready    chan struct{}

	building sync.Mutex // held by the one caller that rebuilds
	current  atomic.Pointer[Snapshot]
	changes  atomic.Uint64
	held     atomic.Uint64 // the value of changes that current holds
}

// New makes an empty directory, in which nothing is allowed.
func New() *Directory {
	d := &Directory{
		own: map[string]schemas.RegistryRecord{}, entries: map[string]schemas.RegistryRecord{}, decided: map[string]schemas.RegistryRecord{},
		dirty: map[string]bool{}, ready: make(chan struct{}),
	}
	d.current.Store(build(nil))
	return d
}

// RecordKey is the record's key in the topic: "unit/CODE", "network/PREFIX",
// "domain/NAME", "whitelist/KEY", "system/CODE", "decision/DRIFT" or "ready"; ""
// for an empty record.
func RecordKey(r schemas.RegistryRecord) string {
	switch {
	case r.Unit != nil:
		return "unit/" + r.Unit.Code
	case r.Network != nil:
		return "network/" + r.Network.Prefix.String()
	case r.Domain != nil:
		return "domain/" + r.Domain.Name
	case r.Whitelist != nil:
		return "whitelist/" + r.Whitelist.Key()
	case r.System != nil:
		return "system/" + r.System.Code
	case r.Decision != nil:
		return "decision/" + r.Decision.Drift
	case r.Ready != nil:
		return readyKey
	}
	return ""
}

// Apply takes one record of the topic: the newest value of a key replaces the
// former, an empty value deletes. A record that cannot be used is an error and
// changes nothing: what was known of its key stays.
func (d *Directory) Apply(key string, value []byte) error {
	if len(value) == 0 {
		d.mu.Lock()
		defer d.mu.Unlock()
		records := d.kept(key)
		if _, known := records[key]; known {
			delete(records, key)
			d.dirty[key] = true
			d.changes.Add(1)
		}
		return nil
	}
	var r schemas.RegistryRecord
	if err := json.Unmarshal(value, &r); err != nil {
		return fmt.Errorf("registry record %q: %w", key, err)
	}
	if err := check(&r); err != nil {
		return fmt.Errorf("registry record %q: %w", key, err)
	}
	if own := RecordKey(r); own != key {
		return fmt.Errorf("registry record %q: its content belongs to the key %q", key, own)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Ready != nil {
		d.marked = true
		d.openLocked()
		return nil
	}
	d.kept(key)[key] = r
	d.dirty[key] = true
	d.changes.Add(1)
	return nil
}

// kept is where records of a key are.
func (d *Directory) kept(key string) map[string]schemas.RegistryRecord {
	switch kind, _, _ := strings.Cut(key, "/"); kind {
	case "whitelist":
		return d.entries
	case "decision":
		return d.decided
	}
	return d.own
}

// CaughtUp says that the reader has reached the end that the topic had when it
// began.
func (d *Directory) CaughtUp() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.caughtUp = true
	d.openLocked()
}

// Ready is closed once the registry is known: the end of the topic was reached
// and the registry has been published whole at least once. A topic without the
// mark is one that nobody has filled yet; judging by it would call everything
// unlisted.
func (d *Directory) Ready() <-chan struct{} { return d.ready }

func (d *Directory) openLocked() {
	if !d.caughtUp || !d.marked {
		return
	}
	select {
	case <-d.ready:
	default:
		close(d.ready)
	}
}

// Snapshot is the registry as it is now. It is never changed; the same pointer
// comes back until something changes. Of many callers after a change one
// rebuilds, and the others have the former snapshot until it is done, so a
// burst of changes costs few rebuilds and stops nobody.
func (d *Directory) Snapshot() *Snapshot {
	if d.held.Load() == d.changes.Load() || !d.building.TryLock() {
		return d.current.Load()
	}
	defer d.building.Unlock()
	d.mu.Lock()
	seen := d.changes.Load()
	many := len(d.dirty) > manyChanges
	own, entries, decided := d.changedLocked(many)
	d.mu.Unlock()
	if seen == d.held.Load() {
		return d.current.Load()
	}
	before := d.current.Load()
	s := &Snapshot{places: before.places, whitelist: before.whitelist, decisions: decide(before.decisions, decided)}
	if own != nil {
		s.places = newPlaces(own)
	}
	switch {
	case many:
		s.whitelist = newWhitelist(entries)
	case len(entries) > 0:
		s.whitelist = before.with(entries)
	}
	d.current.Store(s)
	d.held.Store(seen)
	return s
}

// manyChanges is from how many on the whitelist is made anew rather than changed.
const manyChanges = 4096

// changedLocked is what a new snapshot needs: all that is owned, if any of it
// changed, and the entries and decisions that did (an empty one was deleted), or
// all entries.
func (d *Directory) changedLocked(many bool) (own, entries, decided map[string]schemas.RegistryRecord) {
	entries, decided = map[string]schemas.RegistryRecord{}, map[string]schemas.RegistryRecord{}
	for key := range d.dirty {
		switch kind, _, _ := strings.Cut(key, "/"); kind {
		case "whitelist":
			entries[key] = d.entries[key]
		case "decision":
			decided[key] = d.decided[key]
		default:
			if own == nil {
				own = maps.Clone(d.own)
			}
		}
	}
	if many {
		entries = maps.Clone(d.entries)
	}
	clear(d.dirty)
	return own, entries, decided
}

// check says what is wrong with a record by itself.
func check(r *schemas.RegistryRecord) error {
	set := 0
	for _, is := range []bool{r.Unit != nil, r.Network != nil, r.Domain != nil, r.Whitelist != nil, r.System != nil, r.Decision != nil, r.Ready != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("holds %d things, not one", set)
	}
	switch {
	case r.Unit != nil:
		if r.Unit.Code == "" {
			return errors.New("a unit without a code")
		}
		if r.Unit.Parent == r.Unit.Code {
			return fmt.Errorf("unit %q is its own parent", r.Unit.Code)
		}
	case r.Network != nil:
		return checkNetwork(r.Network)
	case r.Domain != nil:
		return checkDomain(r.Domain)
	case r.Whitelist != nil:
		return checkEntry(r.Whitelist)
	case r.System != nil:
		return checkSystem(r.System)
	case r.Decision != nil:
		return checkDecision(r.Decision)
	}
	return nil
}

func checkPrefix(what string, p netip.Prefix) error {
	if !p.IsValid() {
		return fmt.Errorf("%s without an address block", what)
	}
	if p.Addr().Is4In6() {
		return fmt.Errorf("%s %s: write an IPv4 block as IPv4", what, p)
	}
	if p != p.Masked() {
		return fmt.Errorf("%s %s has bits beyond its length; %s is meant?", what, p, p.Masked())
	}
	return nil
}

func checkName(name string) error {
	if name == "" || len(name) > 253 {
		return fmt.Errorf("domain name %q: not 1 to 253 bytes long", name)
	}
	if name != strings.ToLower(name) || strings.HasSuffix(name, ".") {
		return fmt.Errorf("domain name %q: not in lower case without a final dot", name)
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return fmt.Errorf("domain name %q: a label is empty or longer than 63 bytes", name)
		}
	}
	return nil
}

func checkSystem(s *schemas.System) error {
	if s.Code == "" {
		return errors.New("a system without a code")
	}
	for _, name := range s.Domains {
		if err := checkName(strings.TrimPrefix(name, "*.")); err != nil {
			return fmt.Errorf("system %s: %w", s.Code, err)
		}
	}
	for _, p := range s.Addresses {
		if err := checkPrefix("system "+s.Code, p); err != nil {
			return err
		}
	}
	return nil
}

func checkEntry(w *schemas.WhitelistEntry) error {
	switch w.Kind {
	case schemas.WhitelistDomain:
		return checkName(strings.TrimPrefix(w.Domain, "*."))
	case schemas.WhitelistHost:
		return checkPrefix("whitelisted host", w.Host)
	case schemas.WhitelistPort:
		if w.Port < 1 || w.Port > 65535 {
			return fmt.Errorf("whitelisted port %d: not 1 to 65535", w.Port)
		}
		if t := w.Transport; t != "" && t != "tcp" && t != "udp" {
			return fmt.Errorf("whitelisted port %d: transport %q is neither tcp nor udp", w.Port, t)
		}
		return checkPrefix("whitelisted port", w.Host)
	}
	return fmt.Errorf("whitelist entry of unknown kind %q", w.Kind)
}
