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
// added and one is taken back without moving or passing by many others. They stand
// in blocks of up to blockMost, of which any two neighbours hold more than half of
// that and none is empty: few numbers are one block.
type ranked struct {
	few  []float64   // the first block
	more [][]float64 // those after it
	size int
}

// blockMost is as many numbers as are moved in about the time that a block takes
// to be found among those of a big window.
const blockMost = 256

// block is the last block that begins with v or less, else the first, with its
// place: -1 is few, others are in more. If v is anywhere, it is there.
func (r *ranked) block(v float64) (at int, numbers []float64) {
	at, _ = slices.BinarySearchFunc(r.more, v, func(b []float64, v float64) int {
		if b[0] <= v {
			return -1
		}
		return 1
	})
	return at - 1, r.get(at - 1)
}

func (r *ranked) get(at int) []float64 {
	if at < 0 {
		return r.few
	}
	return r.more[at]
}

func (r *ranked) set(at int, numbers []float64) {
	if at < 0 {
		r.few = numbers
	} else {
		r.more[at] = numbers
	}
}

func (r *ranked) add(v float64) {
	r.size++
	at, b := r.block(v)
	if len(b) == blockMost {
		upper := append(make([]float64, 0, blockMost), b[blockMost/2:]...)
		b = b[:blockMost/2]
		r.set(at, b)
		r.more = slices.Insert(r.more, at+1, upper)
		if v >= upper[0] {
			at, b = at+1, upper
		}
	}
	k, _ := slices.BinarySearch(b, v)
	r.set(at, slices.Insert(b, k, v))
}

// remove takes back one that was added.
func (r *ranked) remove(v float64) {
	r.size--
	at, b := r.block(v)
	k, _ := slices.BinarySearch(b, v)
	b = slices.Delete(b, k, k+1)
	r.set(at, b)
	if len(b) > blockMost/2 {
		return
	}
	if at+1 < len(r.more) {
		r.join(at)
	}
	if at >= 0 {
		r.join(at - 1)
	}
}

// join makes one block of two neighbours that hold few.
func (r *ranked) join(at int) {
	a, b := r.get(at), r.more[at+1]
	if len(a) == 0 || len(b) == 0 || len(a)+len(b) <= blockMost/2 {
		r.set(at, append(a, b...))
		r.more = slices.Delete(r.more, at+1, at+2)
	}
}

// at is the number of a rank, from 0, and the next.
func (r *ranked) at(rank int) (v, next float64) {
	place, b := -1, r.few
	for rank >= len(b) {
		rank -= len(b)
		place++
		b = r.more[place]
	}
	v = b[rank]
	switch {
	case rank+1 < len(b):
		return v, b[rank+1]
	case place+1 < len(r.more):
		return v, r.more[place+1][0]
	}
	return v, v
}

// share is the number below which that share of all lies, interpolated between
// the two nearest ranks (Hyndman and Fan's type 7, which ClickHouse and NumPy
// use): a half is the median.
func (r *ranked) share(p float64) float64 {
	h := p * float64(r.size-1)
	low := int(h)
	v, next := r.at(low)
	if rest := h - float64(low); rest > 0 {
		v += rest * (next - v)
	}
	return v
}
