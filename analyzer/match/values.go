package match

import (
	"encoding/binary"
	"slices"
	"unsafe"
)

// Values repeat: the same images, users and registry keys come again and again.
// What a value makes true is worked out when it is first seen and remembered, a
// bounded number of values for each slot.

// Limits of what one goroutine remembers.
const (
	maxCached      = 4096      // values of a slot, and as many older ones
	maxCachedValue = 64 << 10  // bytes; a longer value is worked out each time
	maxCachedBytes = 128 << 20 // of all values, after which all is forgotten
)

// entry is what a value makes true.
type entry struct {
	predicates []int32 // in order
	atoms      []int32 // in order
	views      []*view
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
	rules   []int32
}

func (e *entry) holds(predicate int32) bool {
	_, ok := slices.BinarySearch(e.predicates, predicate)
	return ok
}

func (e *entry) meets(atom int32) bool {
	_, ok := slices.BinarySearch(e.atoms, atom)
	return ok
}

// cache remembers the entries of one slot's values. What was not used while as
// many others came as it holds is forgotten.
type cache struct {
	young, old map[string]*entry
}

func (c *cache) get(key []byte) *entry {
	if e := c.young[string(key)]; e != nil {
		return e
	}
	e := c.old[string(key)]
	if e != nil {
		c.put(key, e)
	}
	return e
}

// put remembers an entry. It returns how many bytes that takes.
func (c *cache) put(key []byte, e *entry) int {
	if len(key) > maxCachedValue {
		return 0
	}
	if c.young == nil {
		c.young = map[string]*entry{}
	}
	if len(c.young) >= maxCached {
		c.old, c.young = c.young, map[string]*entry{}
	}
	c.young[string(key)] = e
	return len(key)
}

// valueKind tells apart the forms in which a cache's keys are written.
type valueKind uint8

const (
	plainValue   valueKind = iota // one text
	escapedValue                  // one text as JSON has it
	listValue                     // several texts, each after its length
)

// slotValues are the caches of one slot, by the form of the keys.
type slotValues [3]cache

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
	if len(x.ask) > 0 || len(x.short) > 0 || x.found == nil || !ascii(text) {
		return true
	}
	may := false
	x.found.find(bytesOf(text), func(int32, int) bool {
		may = true
		return false
	})
	return may
}

// ascii says that the text has no byte above 127. Folding other letters can make
// ASCII of them.
func ascii(s string) bool {
	b := bytesOf(s)
	for ; len(b) >= 8; b = b[8:] {
		if binary.LittleEndian.Uint64(b)&0x8080808080808080 != 0 {
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
