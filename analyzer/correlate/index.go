package correlate

// index finds groups by their keys.
type index struct {
	table []entry // open addressing, a power of two, at most half full
	used  int
}

type entry struct {
	key   uint64
	group *group // nil is free
}

func (x *index) find(key uint64) int {
	mask := len(x.table) - 1
	at := int(key) & mask //nolint:gosec // masked
	for x.table[at].group != nil && x.table[at].key != key {
		at = (at + 1) & mask
	}
	return at
}

func (x *index) get(key uint64) *group {
	if x.used == 0 {
		return nil
	}
	return x.table[x.find(key)].group
}

// put adds a group whose key is not there.
func (x *index) put(g *group) {
	if 2*(x.used+1) > len(x.table) {
		old := x.table
		x.table = make([]entry, max(64, 2*len(old)))
		for _, e := range old {
			if e.group != nil {
				x.table[x.find(e.key)] = e
			}
		}
	}
	x.table[x.find(g.key)] = entry{g.key, g}
	x.used++
}

// remove takes out a key that is there.
func (x *index) remove(key uint64) {
	mask := len(x.table) - 1
	hole := x.find(key)
	x.table[hole] = entry{}
	x.used--
	for at := (hole + 1) & mask; x.table[at].group != nil; at = (at + 1) & mask {
		home := int(x.table[at].key) & mask //nolint:gosec // masked
		if (at-home)&mask >= (at-hole)&mask {
			x.table[hole], x.table[at] = x.table[at], entry{}
			hole = at
		}
	}
}
