package match

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// literals finds which of many texts occur in one, without looking for each. Of
// every text one group of a few bytes is entered in a table; a text is walked
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
	size   int      // bytes of a group
	mask   uint32   // of them
	fast   *nibbles // of few texts: where their groups may stand; nil: they are looked for one by one
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

// gramBytes is the length of a group, at most, and so of the shortest text of
// literals that is found quickly.
const gramBytes = 4

// maxStride bounds how far apart the looks are: a text has that many groups.
const maxStride = 8

// newLiterals enters folded texts. Where all are long, it is enough to look every
// so many bytes.
func newLiterals(texts []string) *literals {
	l := &literals{texts: texts, stride: maxStride, size: gramBytes}
	for _, t := range texts {
		l.size = min(l.size, len(t))
	}
	for _, t := range texts {
		l.stride = min(l.stride, len(t)-l.size+1)
	}
	l.mask = 0x20202020 >> (8 * (gramBytes - l.size))
	fast, groups := nibblesOf(texts)
	if fast != nil {
		l.fast, l.stride = fast, 1 // all places are looked at
	}
	common := map[uint32]int{} // how many texts have the group
	for _, t := range texts {
		for i := range len(t) - l.size + 1 {
			common[l.group(t, i)]++
		}
	}
	byGroup := map[uint32][]place{}
	for n, t := range texts {
		from := l.rarest(t, common)
		if fast != nil {
			from = groups[n]
		}
		for k := range l.stride {
			g := l.group(t, from+k)
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

// rarest is where in a text the groups begin that are least common among all
// texts: .exe is in too many paths to tell them apart.
func (l *literals) rarest(t string, common map[uint32]int) int {
	best, least := 0, int(^uint(0)>>1)
	for i := range len(t) - l.size - l.stride + 2 {
		n := 0
		for k := range l.stride {
			n += common[l.group(t, i+k)]
		}
		if n < least {
			best, least = i, n
		}
	}
	return best
}

func (l *literals) group(t string, i int) uint32 {
	var g uint32
	for k := range l.size {
		g |= uint32(t[i+k]) << (8 * k)
	}
	return g | l.mask
}

func groupHash(g uint32) uint32 { return g * 0x9E3779B1 }

// find calls found for each text that stands in s, in any case of its ASCII
// letters, with where it begins. It stops when found returns false.
func (l *literals) find(s []byte, found func(text int32, at int) bool) {
	if l.fast != nil {
		l.fast.find(s, func(at int) bool {
			g := groupAt(s, at) | l.mask
			return l.at(s, at, g, groupHash(g), found)
		})
		return
	}
	i := 0
	if l.size == gramBytes {
		// Four looks, and one branch for all: mostly none of them sees anything.
		stride, mask := l.stride, l.mask
		for ; i <= len(s)-gramBytes-3*stride; i += 4 * stride {
			h0 := groupHash(groupAt(s, i) | mask)
			h1 := groupHash(groupAt(s, i+stride) | mask)
			h2 := groupHash(groupAt(s, i+2*stride) | mask)
			h3 := groupHash(groupAt(s, i+3*stride) | mask)
			if (l.filter[h0>>22]>>(h0>>16&63)|l.filter[h1>>22]>>(h1>>16&63)|
				l.filter[h2>>22]>>(h2>>16&63)|l.filter[h3>>22]>>(h3>>16&63))&1 == 0 {
				continue
			}
			for k, h := range [...]uint32{h0, h1, h2, h3} {
				at := i + k*stride
				if l.filter[h>>22]&(1<<(h>>16&63)) != 0 && !l.at(s, at, groupAt(s, at)|mask, h, found) {
					return
				}
			}
		}
	}
	bytes := ^uint32(0) >> (8 * (gramBytes - l.size))
	for ; i <= len(s)-gramBytes; i += l.stride {
		g := groupAt(s, i)&bytes | l.mask
		if h := groupHash(g); l.filter[h>>22]&(1<<(h>>16&63)) != 0 && !l.at(s, i, g, h, found) {
			return
		}
	}
	for ; i <= len(s)-l.size; i += l.stride {
		g := l.group(stringOf(s), i)
		if h := groupHash(g); l.filter[h>>22]&(1<<(h>>16&63)) != 0 && !l.at(s, i, g, h, found) {
			return
		}
	}
}

// groupAt is the four bytes there, which must be inside s.
func groupAt(s []byte, i int) uint32 {
	return binary.LittleEndian.Uint32((*[gramBytes]byte)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(s)), i))[:])
}

// any says whether one of the texts stands in s.
func (l *literals) any(s []byte) bool {
	found := false
	l.find(s, func(int32, int) bool {
		found = true
		return false
	})
	return found
}

// at calls found for the texts that have the group there, until it returns false.
func (l *literals) at(s []byte, i int, g, h uint32, found func(text int32, at int) bool) bool {
	for k := h >> l.shift; l.table[k].to > 0; k = (k + 1) & uint32(len(l.table)-1) { //nolint:gosec // a power of two below 2^31
		if l.table[k].group != g {
			continue
		}
		for _, p := range l.places[l.table[k].from:l.table[k].to] {
			at, text := i-int(p.offset), l.texts[p.text]
			if at >= 0 && at+len(text) <= len(s) && same(s[at:at+len(text)], text) && !found(p.text, at) {
				return false
			}
		}
		break
	}
	return true
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
