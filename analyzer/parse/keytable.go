package parse

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
