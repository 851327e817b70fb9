package correlate

// distinct counts values, given as hashes: how many different ones there are,
// with the number of each, so that one can be taken back.
type distinct struct {
	table []counter // open addressing, a power of two; n == 0 is free
	used  int
}

type counter struct {
	hash uint64
	n    uint32
}

func (d *distinct) find(h uint64) int {
	mask := len(d.table) - 1
	at := int(h) & mask //nolint:gosec // masked
	for d.table[at].n != 0 && d.table[at].hash != h {
		at = (at + 1) & mask
	}
	return at
}

func (d *distinct) add(h uint64) {
	if 4*(d.used+1) > 3*len(d.table) {
		d.grow()
	}
	c := &d.table[d.find(h)]
	if c.n == 0 {
		c.hash = h
		d.used++
	}
	c.n++
}

func (d *distinct) grow() {
	old := d.table
	d.table = make([]counter, max(4, 2*len(old)))
	for _, c := range old {
		if c.n != 0 {
			d.table[d.find(c.hash)] = c
		}
	}
}

// remove takes back one that was added.
func (d *distinct) remove(h uint64) {
	hole := d.find(h)
	if d.table[hole].n--; d.table[hole].n > 0 {
		return
	}
	d.used--
	mask := len(d.table) - 1
	for at := (hole + 1) & mask; d.table[at].n != 0; at = (at + 1) & mask {
		home := int(d.table[at].hash) & mask //nolint:gosec // masked
		if (at-home)&mask >= (at-hole)&mask {
			d.table[hole], d.table[at] = d.table[at], counter{}
			hole = at
		}
	}
}
