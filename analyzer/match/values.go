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
	bucketSize     = 12
	minBuckets     = 1
	maxBuckets     = 1024     // of a slot
	maxCachedValue = 64 << 10 // bytes; a longer value is worked out each time
	maxCachedBytes = 64 << 20 // of all values, after which all is forgotten
	firstMemory    = 16 << 10 // bytes, of the values
	valueBytes     = 64       // that a value takes besides its text, roughly
	maxEntries     = 16 << 10 // after which all is forgotten, too
	nearViews      = 8        // of an entry; a power of two
	maxViews       = 24       // of an entry, besides
)

// entry is what a value makes true. Values that make the same true share one, which
// never changes but for the views. What is asked of nearly every one stands first, so
// that it comes with one read of the processor's memory.
type entry struct {
	number     uint32           // that it is remembered by
	says       bool             // there are atoms: a rule may be triggered by it
	views      [nearViews]*view // one for each plan that asked, in places by the plans' numbers
	more       []*view          // those that had to leave
	atoms      []int32          // in order
	maybe      []int32          // atoms that wait for later
	predicates []int32          // in order
	later      []int32          // expressions that are tried when a rule asks for one, in order
}

// nothing is the entry of all values that make nothing true. Its number is 0.
var nothing = &entry{}

// view is what an entry means to one plan: the rules that it may make hold.
type view struct {
	plan    uint64 // its number: no view keeps a plan that is gone
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
func (s *state) predicateHolds(slot, predicate int32) bool {
	e := s.entryOf(slot)
	if _, ok := slices.BinarySearch(e.predicates, predicate); ok {
		return true
	}
	if _, ok := slices.BinarySearch(e.later, predicate); !ok {
		return false
	}
	holds := s.tryNow(slot, predicate)
	s.settle(slot, predicate, holds)
	return holds
}

// meets answers an atom of the slot.
func (s *state) meets(slot, a int32) bool {
	e := s.entryOf(slot)
	if _, ok := slices.BinarySearch(e.atoms, a); ok {
		return true
	}
	if !slices.Contains(e.maybe, a) {
		return false
	}
	return partial(s.engine.index.atoms[a].body, func(leaf *formula) truth {
		if s.predicateHolds(slot, leaf.id) {
			return yes
		}
		return no
	}) == yes
}

// settle notes what an expression that waited has turned out to be: from now on the
// value has the entry of those of which it is known.
func (s *state) settle(slot, predicate int32, holds bool) {
	k := &s.known[slot]
	s.finding.begin()
	s.finding.add(k.entry.predicates...)
	for _, id := range k.entry.later {
		switch {
		case id != predicate:
			s.finding.wait(id)
		case holds:
			s.finding.add(id)
		}
	}
	k.entry = s.finding.result(s.engine.index)
	if k.value != unremembered {
		s.values.set(k.value, k.entry)
	}
}

// tryNow asks a predicate of the event's own texts.
func (s *state) tryNow(slot, predicate int32) bool {
	return slices.ContainsFunc(s.slotTexts(int(slot)), s.engine.predicates[predicate].holds)
}

// values are the values that one goroutine remembers: one behind the other in one
// memory, each after the number of its entry and its length. What is looked for is
// found by the tables.
type values struct {
	tables [][valueKinds]table // of each slot, by the form of the keys
	memory []byte
	cached int // bytes, roughly
}

// valueRef is where in the memory a value stands.
type valueRef uint32

const unremembered valueRef = 0

// valueHead is what stands before a value's text: the number of its entry and the
// text's length.
const valueHead = 4 + 4 // bytes

func newValues(slots int) *values {
	v := &values{tables: make([][valueKinds]table, slots)}
	v.forget()
	return v
}

// forget forgets all.
func (v *values) forget() {
	clear(v.tables)
	v.memory, v.cached = make([]byte, valueHead, firstMemory), 0 // at 0 stands no value
}

func (v *values) text(at valueRef) []byte {
	m := v.memory[at:]
	return m[valueHead:][:binary.LittleEndian.Uint32(m[4:])]
}

// entry is the number of the value's.
func (v *values) entry(at valueRef) uint32 { return binary.LittleEndian.Uint32(v.memory[at:]) }

func (v *values) set(at valueRef, e *entry) { binary.LittleEndian.PutUint32(v.memory[at:], e.number) }

// add appends a value.
func (v *values) add(text []byte, e *entry) valueRef {
	at := valueRef(len(v.memory)) //nolint:gosec // bounded by maxCachedBytes and what one event has
	v.memory = binary.LittleEndian.AppendUint32(v.memory, e.number)
	v.memory = binary.LittleEndian.AppendUint32(v.memory, uint32(len(text))) //nolint:gosec // at most maxCachedValue
	v.memory = append(v.memory, text...)
	v.memory = append(v.memory, make([]byte, -len(text)&(valueHead-1))...)
	v.cached += len(text) + valueBytes
	return at
}

// table finds one slot's values: buckets, of which each is one line of the
// processor's memory. It grows when a bucket has to forget. When it cannot grow any
// more, a bucket puts first what is asked for, and forgets the last.
type table struct {
	last    valueRef // that was asked for: values come several times in a row
	buckets []bucket // as many as a power of two
}

type bucket struct {
	tags [bucketSize]uint8 // of each value's hash
	held [bucketSize]valueRef
	_    [64 - 5*bucketSize]byte
}

var seed = maphash.MakeSeed()

// find is the bucket of a text and what it is told by there.
func (t *table) find(text []byte) (b *bucket, tag uint8) {
	h := maphash.Bytes(seed, text)
	return &t.buckets[h&uint64(len(t.buckets)-1)], uint8(h >> 56)
}

// get is unremembered for a value that it does not find.
func (v *values) get(t *table, text []byte) valueRef {
	if t.last != unremembered && string(v.text(t.last)) == string(text) {
		return t.last
	}
	if len(t.buckets) == 0 {
		return unremembered
	}
	b, tag := t.find(text)
	for m := b.places(tag); m != 0; m &= m - 1 {
		i := placeOf(m)
		if at := b.held[i]; at != unremembered && string(v.text(at)) == string(text) {
			if t.last = at; i > 0 && len(t.buckets) == maxBuckets {
				b.put(i, tag, at)
			}
			return at
		}
	}
	return unremembered
}

// places has a bit for each place that may have the tag, in a form that placeOf
// reads. Those that have it are among them.
func (b *bucket) places(tag uint8) uint64 {
	x := binary.LittleEndian.Uint64(b.tags[:]) ^ uint64(tag)*ones
	y := uint64(binary.LittleEndian.Uint32(b.tags[8:])) ^ uint64(tag)*(ones>>32)
	return (x-ones)&^x&highs | (y-ones>>32)&^y&(highs>>32)>>4
}

// placeOf is the place of the lowest bit: the first eight places have the highest bit
// of a byte each, and the others the fourth.
func placeOf(m uint64) int {
	i := bits.TrailingZeros64(m)
	return i/8 + 2*(^i&4)
}

// put sets the first of a bucket's places; what stood there and behind moves up
// to the given one, which is overwritten.
func (b *bucket) put(last int, tag uint8, at valueRef) {
	copy(b.held[1:last+1], b.held[:last])
	copy(b.tags[1:last+1], b.tags[:last])
	b.held[0], b.tags[0] = at, tag
}

// put remembers a value, unless it is too long.
func (v *values) put(t *table, text []byte, e *entry) valueRef {
	if len(text) > maxCachedValue {
		return unremembered
	}
	if len(t.buckets) == 0 {
		t.buckets = make([]bucket, minBuckets)
	}
	b, tag := t.find(text)
	for b.held[bucketSize-1] != unremembered && len(t.buckets) < maxBuckets {
		v.grow(t)
		b, tag = t.find(text)
	}
	at := v.add(text, e)
	b.put(bucketSize-1, tag, at)
	return at
}

func (v *values) grow(t *table) {
	old := t.buckets
	t.buckets = make([]bucket, 2*len(old))
	for i := range old {
		for _, at := range slices.Backward(old[i].held[:]) { // the last that came comes last
			if at != unremembered {
				b, tag := t.find(v.text(at))
				b.put(bucketSize-1, tag, at)
			}
		}
	}
}

// valueKind tells apart the forms in which a table's keys are written.
type valueKind uint8

const (
	plainValue   valueKind = iota // one text
	escapedValue                  // one text as JSON has it
	listValue                     // several texts, each after its length
	rawListValue                  // a list as JSON has it
	valueKinds
)

// entryOf finds or works out the entry of a slot for this event.
func (s *state) entryOf(slot int32) *entry {
	k := &s.known[slot]
	if k.turn == s.turn {
		return k.entry
	}
	k.turn, k.value = s.turn, unremembered
	switch {
	case slot == s.engine.wordSlot() && s.raw != nil:
		k.entry = s.raw.wordsEntry()
	case slot == s.engine.wordSlot():
		k.entry = s.wordsEntry()
	case s.raw != nil:
		k.entry, k.value = s.raw.lookUp(slot)
	default:
		k.entry, k.value = s.lookUp(slot)
	}
	return k.entry
}

// lookUp finds the entry of the event's value, and the value if it is remembered.
func (s *state) lookUp(slot int32) (*entry, valueRef) {
	v := s.value(int(slot))
	if !v.there() {
		return s.missing[slot], unremembered
	}
	texts := s.list[v.from:v.to]
	if len(texts) == 1 {
		return s.lookUpText(slot, bytesOf(texts[0]))
	}
	key := s.key[:0]
	for _, t := range texts {
		key = append(binary.AppendUvarint(key, uint64(len(t))), t...)
	}
	s.key = key
	t := &s.values.tables[slot][listValue]
	if at := s.values.get(t, key); at != unremembered {
		return s.remembered(at), at
	}
	return s.remember(t, key, s.workOut(slot, texts...))
}

func (s *state) lookUpText(slot int32, text []byte) (*entry, valueRef) {
	t := &s.values.tables[slot][plainValue]
	if at := s.values.get(t, text); at != unremembered {
		return s.remembered(at), at
	}
	return s.remember(t, text, s.workOut(slot, stringOf(text)))
}

func (s *state) remembered(at valueRef) *entry { return s.finding.entries[s.values.entry(at)] }

func (s *state) remember(t *table, key []byte, e *entry) (*entry, valueRef) {
	return e, s.values.put(t, key, e)
}

// forget forgets all values and entries, if they are too many. What an event has
// found must not be asked for any more.
func (s *state) forget() {
	if s.values.cached > maxCachedBytes || len(s.finding.entries) > maxEntries {
		s.values.forget()
		s.finding.forget()
		s.findMissing()
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
