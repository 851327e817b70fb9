package match

import (
	"encoding/binary"
	"iter"
	"slices"
	"unsafe"
)

// Values repeat: the same images, users and registry keys come again and again.
// What a value makes true is worked out when it is first seen and remembered, a
// bounded number of values for each slot.

// Limits of what one goroutine remembers.
const (
	latestBits     = 6
	latestKeys     = 1 << latestBits // values of a slot that are at hand without a look in its map
	maxCached      = 4096            // values of a slot, and as many older ones
	maxCachedValue = 64 << 10        // bytes; a longer value is worked out each time
	maxCachedBytes = 64 << 20        // of all values, after which all is forgotten
	entryBytes     = 256             // that an entry takes besides its value, roughly
	maxViews       = 64              // of an entry
)

// entry is what a value makes true.
type entry struct {
	predicates []int32 // in order
	atoms      []int32 // in order
	later      []later
	maybe      []int32 // atoms that wait for those
	view       *view   // that was asked for last
	views      []*view
}

// later is an expression that is tried when a rule asks for it.
type later struct {
	predicate int32
	holds     truth
}

// nothing is the entry of all values that make nothing true.
var nothing = &entry{}

// view is what an entry means to one plan: the rules that it may make hold.
type view struct {
	plan    *livePlan
	version uint32
	sample  uint32 // that uses were counted in
	uses    uint32
	entry   *entry
	slot    int32
	rules   []int32 // that may hold
	holds   []int32 // that do hold: they ask for nothing else
}

// all are the atoms that hold or may hold.
func (e *entry) all() iter.Seq[int32] {
	return func(yield func(int32) bool) {
		for _, a := range e.atoms {
			if !yield(a) {
				return
			}
		}
		for _, a := range e.maybe {
			if !yield(a) {
				return
			}
		}
	}
}

// predicateHolds answers a predicate of the slot.
func (s *state) predicateHolds(e *entry, slot, predicate int32) bool {
	if _, ok := slices.BinarySearch(e.predicates, predicate); ok {
		return true
	}
	for i := range e.later {
		l := &e.later[i]
		if l.predicate != predicate {
			continue
		}
		if l.holds == unknown {
			l.holds = no
			if s.tryNow(slot, predicate) {
				l.holds = yes
			}
		}
		return l.holds == yes
	}
	return false
}

// meets answers an atom.
func (s *state) meets(e *entry, a int32) bool {
	if _, ok := slices.BinarySearch(e.atoms, a); ok {
		return true
	}
	if len(e.maybe) == 0 || !slices.Contains(e.maybe, a) {
		return false
	}
	at := &s.engine.index.atoms[a]
	holds := partial(at.body, func(leaf *formula) truth {
		if s.predicateHolds(e, at.slot, leaf.id) {
			return yes
		}
		return no
	}) == yes
	e.settle(a, holds)
	return holds
}

// settle notes what an atom that waited has turned out to be, for good: what the
// entry means to plans is looked at anew.
func (e *entry) settle(a int32, holds bool) {
	e.maybe = slices.DeleteFunc(e.maybe, func(m int32) bool { return m == a })
	if holds {
		at, _ := slices.BinarySearch(e.atoms, a)
		e.atoms = slices.Insert(e.atoms, at, a)
	}
	for _, v := range e.views {
		v.version = 0 // of no plan
	}
}

// tryNow asks a predicate of the event's own texts.
func (s *state) tryNow(slot, predicate int32) bool {
	return slices.ContainsFunc(s.slotTexts(int(slot)), s.engine.predicates[predicate].holds)
}

// cache remembers the entries of one slot's values. What was not used while as
// many others came as it holds is forgotten.
type cache struct {
	young, old map[string]remembered
	latest     *[latestKeys]remembered // the last of each of some kinds of keys: values come in a row
}

type remembered struct {
	*entry
	key string
}

func (c *cache) get(key []byte) *entry {
	if c.latest == nil {
		return nil
	}
	last := &c.latest[kindOfKey(key)]
	if last.entry != nil && last.key == string(key) {
		return last.entry
	}
	r, ok := c.young[string(key)]
	if !ok {
		if r, ok = c.old[string(key)]; !ok {
			return nil
		}
		c.keep(r)
	}
	*last = r
	return r.entry
}

// kindOfKey is made of a key's length and end, which are at hand.
func kindOfKey(key []byte) int {
	h := uint64(len(key))
	if n := len(key); n >= 8 {
		h ^= binary.LittleEndian.Uint64(key[n-8:])
	} else {
		for _, c := range key {
			h = h<<8 ^ uint64(c)
		}
	}
	return int(h * 0x9E3779B97F4A7C15 >> (64 - latestBits))
}

// put remembers an entry. It returns how many bytes that takes.
func (c *cache) put(key []byte, e *entry) int {
	if len(key) > maxCachedValue {
		return 0
	}
	c.keep(remembered{e, string(key)})
	return len(key) + entryBytes
}

func (c *cache) keep(r remembered) {
	if c.young == nil {
		c.latest = new([latestKeys]remembered)
		c.young = map[string]remembered{}
	}
	if len(c.young) >= maxCached {
		c.old, c.young = c.young, map[string]remembered{}
	}
	c.young[r.key] = r
}

// valueKind tells apart the forms in which a cache's keys are written.
type valueKind uint8

const (
	plainValue   valueKind = iota // one text
	escapedValue                  // one text as JSON has it
	listValue                     // several texts, each after its length
	rawListValue                  // a list as JSON has it
	valueKinds
)

// slotValues are the caches of one slot, by the form of the keys.
type slotValues [valueKinds]cache

// entryOf finds or works out the entry of a slot for this event.
func (s *state) entryOf(slot int32) *entry {
	k := &s.known[slot]
	if k.turn == s.turn {
		return k.entry
	}
	k.turn = s.turn
	switch {
	case slot == s.engine.wordSlot() && s.raw != nil:
		k.entry = s.raw.wordsEntry()
	case slot == s.engine.wordSlot():
		k.entry = s.wordsEntry()
	case s.raw != nil:
		k.entry = s.raw.entry(slot)
	default:
		k.entry = s.fieldEntry(slot)
	}
	return k.entry
}

// fieldEntry looks the event's value up.
func (s *state) fieldEntry(slot int32) *entry {
	v := s.value(int(slot))
	if !v.there() {
		return s.missing[slot]
	}
	texts := s.list[v.from:v.to]
	if len(texts) == 1 {
		return s.textEntry(slot, bytesOf(texts[0]))
	}
	key := s.key[:0]
	for _, t := range texts {
		key = append(binary.AppendUvarint(key, uint64(len(t))), t...)
	}
	s.key = key
	c := &s.values[slot][listValue]
	if e := c.get(key); e != nil {
		return e
	}
	e := s.workOut(slot, texts...)
	s.remember(c, key, e)
	return e
}

func (s *state) textEntry(slot int32, text []byte) *entry {
	c := &s.values[slot][plainValue]
	if e := c.get(text); e != nil {
		return e
	}
	e := s.workOut(slot, stringOf(text))
	s.remember(c, text, e)
	return e
}

func (s *state) remember(c *cache, key []byte, e *entry) {
	if s.cached += c.put(key, e); s.cached > maxCachedBytes {
		clear(s.values)
		s.cached = 0
	}
}

// workOut finds what texts make true.
func (s *state) workOut(slot int32, texts ...string) *entry {
	s.finding.begin()
	x := s.engine.index.values[slot]
	for _, t := range texts {
		x.text(s.finding, t, s.fold(t))
	}
	return s.finding.result(s.engine.index)
}

// wordsEntry is of the predicates over the whole event, which is different each
// time.
func (s *state) wordsEntry() *entry {
	s.finding.begin()
	x := s.live.plan.words
	for _, t := range s.words() {
		if x.mayHold(t) {
			x.text(s.finding, t, s.fold(t))
		}
	}
	return s.finding.result(s.engine.index)
}

// mayHold is a quick look at whether some predicate can hold for the text.
func (x *slotIndex) mayHold(text string) bool {
	if len(x.ask) > 0 || !ascii(text) {
		return true
	}
	return slices.ContainsFunc(x.parts[:], func(p part) bool { return p.found != nil && p.found.any(bytesOf(text)) })
}

// ascii says that the text has no byte above 127. Folding other letters can make
// ASCII of them.
func ascii(s string) bool {
	b := bytesOf(s)
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&highs != 0 {
			return false
		}
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// bytesOf and stringOf share the memory, which nobody may change meanwhile.
func bytesOf(s string) []byte  { return unsafe.Slice(unsafe.StringData(s), len(s)) }
func stringOf(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
