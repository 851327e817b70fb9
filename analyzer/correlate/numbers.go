package correlate

import (
	"math"
	"slices"
)

// sum adds numbers up and takes them back without drifting: whole numbers
// exactly, what is too big or has a fraction with Neumaier's compensation, which
// begins anew whenever there is none of these.
type sum struct {
	whole int64
	part  float64
	lost  float64 // what rounding took from part
	parts int
}

// wholeLimit leaves room for more terms than a window may hold.
const wholeLimit = 1 << 40

func (s *sum) add(v float64) {
	if v == math.Trunc(v) && math.Abs(v) <= wholeLimit {
		s.whole += int64(v)
		return
	}
	s.parts++
	s.term(v)
}

func (s *sum) remove(v float64) {
	if v == math.Trunc(v) && math.Abs(v) <= wholeLimit {
		s.whole -= int64(v)
		return
	}
	if s.parts--; s.parts == 0 {
		s.part, s.lost = 0, 0
		return
	}
	s.term(-v)
}

func (s *sum) term(v float64) {
	t := s.part + v
	if math.Abs(s.part) >= math.Abs(v) {
		s.lost += (s.part - t) + v
	} else {
		s.lost += (v - t) + s.part
	}
	s.part = t
}

func (s *sum) value() float64 { return float64(s.whole) + s.part + s.lost }

// ranked holds numbers in order, so that the one of any rank is found, one is
// added and one is taken back in a time that grows with the logarithm of their
// number. A few are a sorted list; many are a treap whose nodes know the size of
// what is below them.
type ranked struct {
	few   []float64
	nodes []rankedNode // 0 is no node
	free  int32
	root  int32
	seed  uint32
}

// fewest is how many are a list; a treap that has shrunk to a quarter becomes one
// again.
const fewest = 256

type rankedNode struct {
	value       float64
	left, right int32
	size        int32 // with repetitions, of the whole subtree
	count       int32 // of this value
	heap        uint32
}

func (r *ranked) len() int {
	if r.root == 0 {
		return len(r.few)
	}
	return int(r.nodes[r.root].size)
}

func (r *ranked) size(n int32) int32 { return r.nodes[n].size }

func (r *ranked) update(n int32) {
	x := &r.nodes[n]
	x.size = r.nodes[x.left].size + r.nodes[x.right].size + x.count
}

func (r *ranked) add(v float64) {
	if r.root == 0 && len(r.few) < fewest {
		at, _ := slices.BinarySearch(r.few, v)
		r.few = slices.Insert(r.few, at, v)
		return
	}
	if r.root == 0 {
		r.nodes = append(make([]rankedNode, 0, 2*fewest), rankedNode{})
		r.free, r.seed = 0, 2463534242
		for _, x := range r.few {
			r.root = r.insert(r.root, x)
		}
		r.few = nil
	}
	r.root = r.insert(r.root, v)
}

func (r *ranked) insert(n int32, v float64) int32 {
	if n == 0 {
		return r.node(v)
	}
	switch x := r.nodes[n].value; {
	case v < x:
		l := r.insert(r.nodes[n].left, v)
		r.nodes[n].left = l
		if r.nodes[l].heap > r.nodes[n].heap {
			return r.turnRight(n)
		}
	case v > x:
		k := r.insert(r.nodes[n].right, v)
		r.nodes[n].right = k
		if r.nodes[k].heap > r.nodes[n].heap {
			return r.turnLeft(n)
		}
	default:
		r.nodes[n].count++
	}
	r.update(n)
	return n
}

func (r *ranked) node(v float64) int32 {
	r.seed ^= r.seed << 13
	r.seed ^= r.seed >> 17
	r.seed ^= r.seed << 5
	x := rankedNode{value: v, size: 1, count: 1, heap: r.seed}
	if n := r.free; n != 0 {
		r.free = r.nodes[n].left
		r.nodes[n] = x
		return n
	}
	r.nodes = append(r.nodes, x)
	return int32(len(r.nodes) - 1) //nolint:gosec // bounded by the window
}

func (r *ranked) turnRight(n int32) int32 {
	l := r.nodes[n].left
	r.nodes[n].left = r.nodes[l].right
	r.nodes[l].right = n
	r.update(n)
	r.update(l)
	return l
}

func (r *ranked) turnLeft(n int32) int32 {
	k := r.nodes[n].right
	r.nodes[n].right = r.nodes[k].left
	r.nodes[k].left = n
	r.update(n)
	r.update(k)
	return k
}

// remove takes back one that was added.
func (r *ranked) remove(v float64) {
	if r.root == 0 {
		at, _ := slices.BinarySearch(r.few, v)
		r.few = slices.Delete(r.few, at, at+1)
		return
	}
	if r.root = r.delete(r.root, v); r.len() > fewest/4 {
		return
	}
	for i := range r.len() {
		r.few = append(r.few, r.at(i))
	}
	r.root, r.nodes = 0, nil
}

func (r *ranked) delete(n int32, v float64) int32 {
	x := &r.nodes[n]
	switch {
	case n == 0:
		return 0
	case v < x.value:
		l := r.delete(x.left, v)
		r.nodes[n].left = l
	case v > x.value:
		k := r.delete(x.right, v)
		r.nodes[n].right = k
	case x.count > 1:
		x.count--
	default:
		both := r.join(x.left, x.right)
		*x = rankedNode{left: r.free}
		r.free = n
		return both
	}
	r.update(n)
	return n
}

// join makes one tree of two of which the first holds the smaller numbers.
func (r *ranked) join(a, b int32) int32 {
	switch {
	case a == 0:
		return b
	case b == 0:
		return a
	case r.nodes[a].heap > r.nodes[b].heap:
		r.nodes[a].right = r.join(r.nodes[a].right, b)
		r.update(a)
		return a
	}
	r.nodes[b].left = r.join(a, r.nodes[b].left)
	r.update(b)
	return b
}

// at is the number of a rank, from 0.
func (r *ranked) at(rank int) float64 {
	if r.root == 0 {
		return r.few[rank]
	}
	n, k := r.root, int32(rank) //nolint:gosec // bounded by the window
	for {
		x := &r.nodes[n]
		below := r.size(x.left)
		switch {
		case k < below:
			n = x.left
		case k < below+x.count:
			return x.value
		default:
			k -= below + x.count
			n = x.right
		}
	}
}

// share is the number below which that share of all lies, interpolated between
// the two nearest ranks (Hyndman and Fan's type 7, which ClickHouse and NumPy
// use): a half is the median.
func (r *ranked) share(p float64) float64 {
	h := p * float64(r.len()-1)
	low := int(h)
	v := r.at(low)
	if rest := h - float64(low); rest > 0 {
		v += rest * (r.at(low+1) - v)
	}
	return v
}
