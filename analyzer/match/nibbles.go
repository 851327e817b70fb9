package match

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"strings"
)

// nibbles tells where in a text one of a few groups of bytes may stand, 32 places
// at a time, where the processor can: for each of a group's bytes a table says, by
// the lower half of a byte, which groups it may be part of (after Teddy, the filter
// of Geoffrey Langdale's in Hyperscan, which asks both halves of fewer bytes). The
// cases of a letter have one lower half. A place that it names may be none; a place
// that it does not name is none.
type nibbles struct {
	tables [gramBytes][nibbleBlock]uint8 // the sixteen entries twice; a bit a bucket
}

const (
	nibbleBuckets = 8                           // the bits of an entry
	nibbleBlock   = 32                          // places that are looked at together
	nibbleSpan    = nibbleBlock + gramBytes - 1 // bytes
	maxNibbles    = 128                         // groups: of more, a bucket holds too many to tell places apart
)

// newNibbles makes the tables for groups of ASCII. Each, the common ones first,
// shares the bucket in which it makes the fewest places more that may be named.
func newNibbles(groups []string) *nibbles {
	slices.SortFunc(groups, func(a, b string) int {
		return cmp.Or(cmp.Compare(frequency(masksOf(b)), frequency(masksOf(a))), strings.Compare(a, b))
	})
	n := &nibbles{}
	var buckets [nibbleBuckets]halfMasks
	for _, g := range slices.Compact(groups) {
		best, least := 0, math.Inf(1)
		for b, have := range buckets {
			if more := frequency(have.with(masksOf(g))) - frequency(have); more < least {
				best, least = b, more
			}
		}
		buckets[best] = buckets[best].with(masksOf(g))
		for k := range gramBytes {
			for lane := 0; lane < nibbleBlock; lane += 16 {
				n.tables[k][lane+int(g[k]&0x0f)] |= 1 << best
			}
		}
	}
	return n
}

// halfMasks are, for each byte of a group, the lower halves that it may have.
type halfMasks [gramBytes]uint16

func masksOf(group string) (m halfMasks) {
	for k := range m {
		m[k] = 1 << (group[k] & 0x0f)
	}
	return m
}

func (m halfMasks) with(o halfMasks) halfMasks {
	for k := range m {
		m[k] |= o[k]
	}
	return m
}

// nibblesOf picks of each text the group that is least common anywhere, and says
// where it stands; nil where that cannot be: of too many texts, or where one is too
// short or not of ASCII.
func nibblesOf(texts []string) (n *nibbles, at []int) {
	if !hasNibbles || len(texts) > maxNibbles {
		return nil, nil
	}
	groups := make([]string, len(texts))
	at = make([]int, len(texts))
	for n, t := range texts {
		best, least := -1, math.Inf(1)
		for i := range len(t) - gramBytes + 1 {
			g := t[i : i+gramBytes]
			if f := frequency(masksOf(g)); f < least && ascii(g) {
				best, least = i, f
			}
		}
		if best < 0 {
			return nil, nil
		}
		groups[n], at[n] = t[best:best+gramBytes], best
	}
	return newNibbles(groups), at
}

// find calls may for the places in s, in order, where a group may stand, until it
// returns false.
func (n *nibbles) find(s []byte, may func(at int) bool) {
	var short [nibbleSpan]byte
	places := len(s) - gramBytes + 1
	if places < nibbleBlock { // the rest of the block is zeroes, and no place
		copy(short[:], s)
		s = short[:]
	}
	for i := 0; i < places; i += nibbleBlock {
		left, known := places-i, 0
		if left < nibbleBlock { // with places before them, which are known
			from := max(places-nibbleBlock, 0)
			left, known, i = nibbleBlock, i-from, from
		}
		at, hits := nibbleScan(&s[i], left, n)
		if hits = hits >> known << known; hits == 0 {
			return
		}
		for i += at; hits != 0; hits &= hits - 1 {
			at := i + bits.TrailingZeros32(hits)
			if at >= places || !may(at) {
				return
			}
		}
	}
}

// byCommonness is bytes from the most to the least frequent in Windows events as
// JSON, in one case, as counted in those of EVTX-ATTACK-SAMPLES and OTRF.
const byCommonness = `a"e0st\cornid: bm12wl,-ug34pfyv568.q79hxkjz+|}{=%_()/;$'@][?#*` + "`!~^><&"

// commonHalves is how common the lower halves of ASCII are, roughly.
var commonHalves = func() (out [16]float64) {
	all := 0.0
	for rank := range len(byCommonness) {
		left := float64(len(byCommonness) - rank)
		out[byCommonness[rank]&0x0f] += left * left
		all += left * left
	}
	for h := range out {
		out[h] /= all
	}
	return out
}()

// frequency is how many of all places are named, roughly.
func frequency(m halfMasks) float64 {
	f := 1.0
	for _, halves := range m {
		sum := 0.0
		for h, often := range commonHalves {
			if halves>>h&1 != 0 {
				sum += often
			}
		}
		f *= sum
	}
	return f
}
