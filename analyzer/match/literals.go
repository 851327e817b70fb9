package match

import (
	"encoding/binary"
	"math/bits"
)

// literals finds which of many texts occur in one, without looking for each. Of
// every text one group of four bytes is entered in a table; a text is walked
// once, and only where such a group stands is anything compared.
//
// A group is taken with the fifth bit of every byte set, which brings letters to
// one case and confuses some other bytes: both sides do it, so at worst a
// comparison is made for nothing.
type literals struct {
	filter [1024]uint64 // 65,536 bits: may a group with this hash be in the table?
	table  []gram       // open addressing; its length is a power of two
	shift  int
	places []place
	texts  []string // folded
	stride int      // every how many bytes a text is looked at
}

type gram struct {
	group    uint32
	from, to int32 // of places
}

// place says that a group stands in a text at an offset.
type place struct {
	text   int32
	offset int32
}

// gramBytes is the length of a group, and so of the shortest text of literals.
const gramBytes = 4

// maxStride bounds how far apart the looks are: a text has that many groups.
const maxStride = 8

// newLiterals enters texts of at least gramBytes folded bytes. Texts that may
// stand anywhere can be long enough to look only every so many bytes.
func newLiterals(texts []string) *literals {
	l := &literals{texts: texts, stride: maxStride}
	for _, t := range texts {
		l.stride = min(l.stride, len(t)-gramBytes+1)
	}
	common := map[uint32]int{} // how many texts have the group
	for _, t := range texts {
		for i := range len(t) - gramBytes + 1 {
			common[groupAt(t, i)]++
		}
	}
	byGroup := map[uint32][]place{}
	for n, t := range texts {
		from := rarest(t, l.stride, common)
		for k := range l.stride {
			g := groupAt(t, from+k)
			byGroup[g] = append(byGroup[g], place{int32(n), int32(from + k)}) //nolint:gosec // bounded by the rules' size
		}
	}
	size := 1 << bits.Len(uint(2*len(byGroup)))
	l.table, l.shift = make([]gram, size), 32-bits.Len(uint(size-1))
	if size == 1 {
		l.shift = 31
		l.table = make([]gram, 2)
	}
	for g, ps := range byGroup {
		h := groupHash(g)
		l.filter[h>>22] |= 1 << (h >> 16 & 63)
		i := h >> l.shift
		for l.table[i].to > 0 {
			i = (i + 1) & uint32(len(l.table)-1) //nolint:gosec // a power of two below 2^31
		}
		from := int32(len(l.places)) //nolint:gosec // bounded by the rules' size
		l.places = append(l.places, ps...)
		l.table[i] = gram{g, from, int32(len(l.places))} //nolint:gosec // as above
	}
	return l
}

// rarest is where in a text the stride groups begin that are least common among
// all texts: .exe is in too many paths to tell them apart.
func rarest(t string, stride int, common map[uint32]int) int {
	best, least := 0, int(^uint(0)>>1)
	for i := range len(t) - gramBytes - stride + 2 {
		n := 0
		for k := range stride {
			n += common[groupAt(t, i+k)]
		}
		if n < least {
			best, least = i, n
		}
	}
	return best
}

func groupAt(t string, i int) uint32 {
	return (uint32(t[i]) | uint32(t[i+1])<<8 | uint32(t[i+2])<<16 | uint32(t[i+3])<<24) | 0x20202020
}

func groupHash(g uint32) uint32 { return g * 0x9E3779B1 }

// find calls found for each text that stands in s, in any case of its ASCII
// letters, with where it begins. It stops when found returns false.
func (l *literals) find(s []byte, found func(text int32, at int) bool) {
	n := len(s) - gramBytes
	for i := 0; i <= n; i += l.stride {
		g := binary.LittleEndian.Uint32(s[i:]) | 0x20202020
		h := groupHash(g)
		if l.filter[h>>22]&(1<<(h>>16&63)) == 0 {
			continue
		}
		for k := h >> l.shift; l.table[k].to > 0; k = (k + 1) & uint32(len(l.table)-1) { //nolint:gosec // a power of two below 2^31
			if l.table[k].group != g {
				continue
			}
			for _, p := range l.places[l.table[k].from:l.table[k].to] {
				at, text := i-int(p.offset), l.texts[p.text]
				if at >= 0 && at+len(text) <= len(s) && same(s[at:at+len(text)], text) && !found(p.text, at) {
					return
				}
			}
			break
		}
	}
}

// same compares bytes of one length with a folded text.
func same(s []byte, folded string) bool {
	for i, c := range s {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != folded[i] {
			return false
		}
	}
	return true
}
