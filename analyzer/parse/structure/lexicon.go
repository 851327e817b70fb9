package structure

import "strings"

// maxLearned bounds the keys that a Lexicon remembers beside those it was given.
const maxLearned = 512

// Keys numbers the keys that somebody knows, in their order.
type Keys struct{ table keyTable }

// NewKeys numbers keys.
func NewKeys(keys []string) *Keys { return &Keys{newKeyTable(keys)} }

// Find is the key's number, or -1.
func (k *Keys) Find(key string) int { return k.table.find(key) }

// Len is how many keys there are.
func (k *Keys) Len() int { return len(k.table.keys) }

// Name is the key of a number.
func (k *Keys) Name(n int) string { return k.table.keys[n] }

// Lexicon numbers the keys of lines: those of Keys by their numbers there, others
// that it meets by the numbers after, as far as it can remember them. It remembers
// which key came after which, since a device writes its keys in the same order
// again and again: a key that follows as it did before is known at a glance, not
// looked for and not looked up. It is not safe for concurrent use.
type Lexicon struct {
	known   *Keys
	learned map[string]int32
	words   []lexeme
	first   int32 // the word that a line began with, or -1
}

type lexeme struct {
	key  string
	next int32 // the word that came after it, or -1
	by   *KV   // that found it in a line last: whether a text is a key depends on the reader
}

// What comes before a key that comes after no known one.
const (
	AtStart = -1 // nothing: the line begins with it
	Unknown = -2 // a key without a number
)

// NewLexicon makes a lexicon that knows keys.
func NewLexicon(known *Keys) *Lexicon {
	l := &Lexicon{known: known, learned: map[string]int32{}, first: -1}
	for _, key := range known.table.keys {
		l.words = append(l.words, lexeme{key: key, next: -1})
	}
	return l
}

// Len is how many keys are numbered.
func (l *Lexicon) Len() int { return len(l.words) }

// Word is the key of a number.
func (l *Lexicon) Word(n int) string { return l.words[n].key }

// Number is the number of a key that comes after the one numbered before (or
// AtStart, Unknown). Unknown is a key that cannot be remembered.
func (l *Lexicon) Number(key string, before int) int {
	n := l.after(before)
	if n >= 0 && l.words[n].key == key {
		return n
	}
	if n = l.known.Find(key); n < 0 {
		n = l.learn(key)
	}
	switch {
	case before >= 0:
		l.words[before].next = int32(n) //nolint:gosec // of few thousand words
	case before == AtStart:
		l.first = int32(n) //nolint:gosec // likewise
	}
	return n
}

// numberBy is Number of a key that a reader found.
func (l *Lexicon) numberBy(k *KV, key string, before int) int {
	n := l.Number(key, before)
	if n >= 0 {
		l.words[n].by = k
	}
	return n
}

// after is the word that is expected after the one numbered before, or negative.
func (l *Lexicon) after(before int) int {
	switch {
	case before >= 0:
		return int(l.words[before].next)
	case before == AtStart:
		return int(l.first)
	}
	return Unknown
}

func (l *Lexicon) learn(key string) int {
	if n, ok := l.learned[key]; ok {
		return int(n)
	}
	if len(l.learned) == maxLearned || len(key) > MaxKey {
		return Unknown
	}
	key = strings.Clone(key) // it is part of a whole record
	n := len(l.words)
	l.words = append(l.words, lexeme{key: key, next: -1})
	l.learned[key] = int32(n) //nolint:gosec // of few thousand words
	return n
}

// keyTable numbers the keys that a device knows: a hash table made when the
// device is loaded, with a seed under which few keys meet.
type keyTable struct {
	seed  uint64
	shift uint8
	cells []int32 // number of the first key, plus one
	keys  []string
	next  []int32 // the next key of the same cell, plus one
}

// newKeyTable numbers keys in their order.
func newKeyTable(keys []string) keyTable {
	t := keyTable{keys: keys, next: make([]int32, len(keys)), shift: 64}
	size := 4
	for size < 4*len(keys) {
		size *= 2
	}
	for s := size; s > 1; s /= 2 {
		t.shift--
	}
	best, fewest := uint64(1), len(keys)+1
	for seed := uint64(1); seed < 64 && fewest > 0; seed++ {
		t.seed = seed * 0x9e3779b97f4a7c15
		met, seen := 0, make([]bool, size)
		for _, k := range keys {
			cell := t.cell(k)
			if seen[cell] {
				met++
			}
			seen[cell] = true
		}
		if met < fewest {
			best, fewest = t.seed, met
		}
	}
	t.seed = best
	t.cells = make([]int32, size)
	for i := len(keys) - 1; i >= 0; i-- {
		cell := t.cell(keys[i])
		t.next[i] = t.cells[cell]
		t.cells[cell] = int32(i + 1)
	}
	return t
}

// find is the key's number, or -1.
func (t *keyTable) find(key string) int {
	for i := t.cells[t.cell(key)]; i > 0; i = t.next[i-1] {
		if t.keys[i-1] == key {
			return int(i - 1)
		}
	}
	return -1
}

// cell mixes the key's length with its first, middle and last bytes.
func (t *keyTable) cell(k string) int {
	n := len(k)
	h := uint64(n) ^ t.seed
	switch {
	case n >= 8:
		h = mix(h ^ eight(k))
		h = mix(h ^ eight(k[n-8:]))
		if n > 16 {
			h = mix(h ^ eight(k[(n-8)/2:]))
		}
	case n > 0:
		h = mix(h ^ uint64(k[0]) ^ uint64(k[n/2])<<8 ^ uint64(k[n-1])<<16 ^ uint64(k[n/4])<<24 ^ uint64(k[n-1-n/4])<<32)
	}
	return int(h * 0x9e3779b97f4a7c15 >> t.shift)
}

func mix(h uint64) uint64 {
	h *= 0xbf58476d1ce4e5b9
	return h ^ h>>29
}

func eight(s string) uint64 {
	_ = s[7]
	return uint64(s[0]) | uint64(s[1])<<8 | uint64(s[2])<<16 | uint64(s[3])<<24 | uint64(s[4])<<32 | uint64(s[5])<<40 | uint64(s[6])<<48 | uint64(s[7])<<56
}
