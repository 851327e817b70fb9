package match

import (
	"encoding/binary"
	"hash/maphash"
	"iter"
	"math/bits"
	"slices"
	"unsafe"
)

// Values repeat: the same images, users and registry keys come again and again.
// What a value makes true is worked out when it is first seen and remembered, a
// bounded number of values for each slot.

// Limits of what one goroutine remembers.
const (
	bucketSize     = 7
	minBuckets     = 16
	maxBuckets     = 1024     // of a slot
	maxCachedValue = 64 << 10 // bytes; a longer value is worked out each time
	maxCachedBytes = 64 << 20 // of all values, after which all is forgotten
	entryBytes     = 320      // that an entry takes besides its value, roughly
	maxViews       = 64       // of an entry
)

// entry is what a value makes true. What is asked of nearly every one stands
// first, so that it comes with one read of the memory.
type entry struct {
	own        view    // of the first plan that asked
	atoms      []int32 // in order
	maybe      []int32 // atoms that wait for later
	view       *view   // of the other plans, the one that asked last
	views      []*view
	predicates []int32 // in order
	later      []later
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
	slot    int32
	rules   []int32 // that may hold
	holds   []int32 // that do hold: they ask for nothing else
	entry   *entry
	sample  uint32 // that uses were counted in
	uses    uint32
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

// meets answers an atom of the slot.
func (s *state) meets(e *entry, slot, a int32) bool {
	if _, ok := slices.BinarySearch(e.atoms, a); ok {
		return true
	}
	if len(e.maybe) == 0 || !slices.Contains(e.maybe, a) {
		return false
	}
	holds := partial(s.engine.index.atoms[a].body, func(leaf *formula) truth {
		if s.predicateHolds(e, slot, leaf.id) {
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
	e.own.version = 0 // of no plan
	for _, v := range e.views {
		v.version = 0
	}
}

// tryNow asks a predicate of the event's own texts.
func (s *state) tryNow(slot, predicate int32) bool {
	return slices.ContainsFunc(s.slotTexts(int(slot)), s.engine.predicates[predicate].holds)
}

// cache remembers the entries of one slot's values: a table of buckets. It grows
// when a bucket has to forget. When it cannot grow any more, a bucket puts first
// what is asked for, and forgets the last. Most of what a look-up costs is waiting
// for memory, so a bucket is one line of it, and a value with what belongs to it
// another.
type cache struct {
	last    *remembered // that was asked for: values come several times in a row
	buckets []bucket    // as many as a power of two
}

type bucket struct {
	tags uint64 // a byte of each key's hash, the first place's lowest; the eighth is of none
	held [bucketSize]*remembered
}

type remembered struct {
	*entry
	key   string
	short [shortKey]byte // the key itself, if it has room here
}

// shortKey is what is left of a line of memory.
const shortKey = 40 // bytes

var seed = maphash.MakeSeed()

func newRemembered(key []byte, e *entry) *remembered {
	r := &remembered{entry: e}
	if len(key) > shortKey {
		r.key = string(key)
	} else {
		r.key = stringOf(r.short[:copy(r.short[:], key)])
	}
	return r
}

// find is the bucket of a key and what it is told by there.
func (c *cache) find(key []byte) (b *bucket, tag uint64) {
	h := maphash.Bytes(seed, key)
	return &c.buckets[h&uint64(len(c.buckets)-1)], h >> 56
}

func (c *cache) get(key []byte) *entry {
	if r := c.last; r != nil && r.key == string(key) {
		return r.entry
	}
	if len(c.buckets) == 0 {
		return nil
	}
	b, tag := c.find(key)
	for m := b.places(tag); m != 0; m &= m - 1 {
		i := bits.TrailingZeros64(m) / 8
		if r := b.held[i]; r != nil && r.key == string(key) {
			if c.last = r; i > 0 && len(c.buckets) == maxBuckets {
				b.put(i, tag, r)
			}
			return r.entry
		}
	}
	return nil
}

// places has the highest bit of a byte set for each place that may have the tag.
// Those that have it are among them.
func (b *bucket) places(tag uint64) uint64 {
	const ones, highest = 0x0001010101010101, 0x0080808080808080
	x := b.tags ^ tag*ones
	return (x - ones) &^ x & highest
}

// put sets the first of a bucket's places; what stood there and behind moves up
// to the given one, which is overwritten.
func (b *bucket) put(last int, tag uint64, r *remembered) {
	copy(b.held[1:last+1], b.held[:last])
	b.held[0] = r
	moved := uint64(1)<<(8*(last+1)) - 1
	b.tags = b.tags&^moved | (b.tags<<8|tag)&moved
}

// put remembers an entry. It returns how many bytes that takes.
func (c *cache) put(key []byte, e *entry) int {
	if len(key) > maxCachedValue {
		return 0
	}
	if len(c.buckets) == 0 {
		c.buckets = make([]bucket, minBuckets)
	}
	b, tag := c.find(key)
	for b.held[bucketSize-1] != nil && len(c.buckets) < maxBuckets {
		c.grow()
		b, tag = c.find(key)
	}
	b.put(bucketSize-1, tag, newRemembered(key, e))
	return len(key) + entryBytes
}

func (c *cache) grow() {
	old := c.buckets
	c.buckets = make([]bucket, 2*len(old))
	for i := range old {
		for _, r := range slices.Backward(old[i].held[:]) { // the last that came comes last
			if r != nil {
				b, tag := c.find(bytesOf(r.key))
				b.put(bucketSize-1, tag, r)
			}
		}
	}
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
