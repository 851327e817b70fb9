package correlate

import (
	"math"
	"math/bits"
	"slices"

	"fengsui/schemas"
)

// never is before all times.
const never = math.MinInt64

// sighting is an event that a correlation counts, or one of several values of
// it, which then follow one another.
type sighting struct {
	at    int64  // event time
	fired int64  // latest event time, up to this, at which the condition held
	value uint64 // a value's hash, or a number's bits
	base  uint8
	more  bool // the next sighting is a value of the same event
	leads bool // its origin has a match
	on    bool // the condition held at this event
	told  bool // what refers to the correlation was told of it
}

// origin is the event of a sighting. Counting needs no more than to note it, so
// it stands apart: two sightings are a line of the processor's memory.
type origin struct {
	eventID string
	match   *schemas.Match // what the event becomes when the condition is met; nil is nothing
}

// window is what is known of one group: its events in order of time, and what
// the last timespan up to the newest of them adds up to. The condition is looked
// at for each event once, over the timespan that ends with it; that is repeated
// only for events newer than one that came late. Nothing looks through a window.
type window struct {
	def     *definition // what every update needs stands first, together
	items   []sighting
	origins []origin // of each item
	head    int      // items before it are gone
	lo      int      // the window is items[lo:hi]
	hi      int      // all of items, but while a late event is put in
	gone    int64    // sighting.fired of the last that is gone
	last    int64    // time of the newest, and its sighting.fired: known without looking there
	fired   int64

	sum    sum
	values distinct
	ranked ranked
	rules  []uint32 // of each base rule, its sightings in the window
	met    uint64   // base rules with any
	// Of temporal_ordered: for each place of each chain the latest time at which
	// a run of the rules up to that place began, and for each sighting what stood
	// there before it.
	starts []int64
	undo   []int64

	reached float64 // when the condition held last, of what add looked at
}

func newWindow(d *definition) window {
	w := window{def: d, gone: never, last: never, fired: never}
	if d.kind == temporal || d.kind == ordered {
		w.rules = make([]uint32, len(d.Rules))
		for _, c := range d.chains {
			w.starts = append(w.starts, slices.Repeat([]int64{never}, c.length)...)
		}
	}
	return w
}

func (w *window) len() int { return len(w.items) - w.head }

// add puts in the values of one event and looks at the condition for it and for
// every newer one. It returns how many sightings were looked at: they are the
// last.
func (w *window) add(event []sighting, of origin) int {
	from, fired := len(w.items), w.fired
	if event[0].at > w.last { // as most do
		w.items = append(w.items, event...)
		for range event {
			w.origins = append(w.origins, of)
		}
	} else {
		if from = w.place(&event[0], of.eventID); from < len(w.items) {
			w.rewind(from, event[0].at)
		}
		w.items = slices.Insert(w.items, from, event...)
		w.origins = slices.Insert(w.origins, from, slices.Repeat([]origin{of}, len(event))...)
		if fired = w.gone; from > w.head {
			fired = w.items[from-1].fired
		}
	}
	if n := len(w.def.chains); n > 0 {
		w.undo = slices.Insert(w.undo, from*n, make([]int64, n*len(event))...)
	}
	for i := from; i < len(w.items); i++ {
		fired = w.step(i, fired)
	}
	w.last, w.fired = w.items[len(w.items)-1].at, fired
	return len(w.items) - from
}

// place is where an event belongs: after all that are older, and among those of
// one time by base rule and id where that matters, else as they come.
func (w *window) place(s *sighting, id string) int {
	p := len(w.items)
	for p > w.head {
		o := &w.items[p-1]
		if o.at < s.at || o.at == s.at && (!w.def.sorted || s.base > o.base || s.base == o.base && id >= w.origins[p-1].eventID) {
			break
		}
		p--
	}
	return p
}

// step takes the next sighting into the window, leaves behind what is too old
// for it, and looks at the condition. It is told the latest time before at which
// that held, and returns the latest up to it.
func (w *window) step(i int, fired int64) int64 {
	s := &w.items[i]
	w.enter(i)
	w.hi = i + 1
	for oldest := s.at - w.def.span; w.items[w.lo].at < oldest; w.lo++ {
		w.leave(&w.items[w.lo])
	}
	s.on = false
	if !s.more {
		var v float64
		if v, s.on = w.holds(s.at); s.on {
			w.reached = v
		}
	}
	if s.fired = fired; s.on {
		s.fired = s.at
	}
	return s.fired
}

// rewind makes the window again what it was before the sighting at p, for an
// event at the given time that goes there.
func (w *window) rewind(p int, at int64) {
	for w.hi > p {
		w.hi--
		w.unstart(w.hi)
		if w.hi >= w.lo {
			w.leave(&w.items[w.hi])
		} else {
			w.lo = w.hi
		}
	}
	for oldest := at - w.def.span; w.lo > w.head && w.items[w.lo-1].at >= oldest; {
		w.lo--
		w.count(&w.items[w.lo])
	}
}

// enter takes a sighting in at the new end.
func (w *window) enter(i int) {
	w.count(&w.items[i])
	n := len(w.def.chains)
	for k := range w.def.chains {
		c, s := &w.def.chains[k], &w.items[i]
		place := c.place[s.base]
		if place < 0 {
			continue
		}
		began := s.at
		if place > 0 {
			began = w.starts[c.first+place-1]
		}
		at := &w.starts[c.first+place]
		w.undo[i*n+k] = *at
		*at = max(*at, began)
	}
}

// unstart takes back what enter did to the chains.
func (w *window) unstart(i int) {
	n := len(w.def.chains)
	for k := range w.def.chains {
		c := &w.def.chains[k]
		if place := c.place[w.items[i].base]; place >= 0 {
			w.starts[c.first+place] = w.undo[i*n+k]
		}
	}
}

func (w *window) count(s *sighting) {
	switch w.def.kind {
	case valueCount:
		w.values.add(s.value)
	case sumOf, average:
		w.sum.add(math.Float64frombits(s.value))
	case percentile:
		w.ranked.add(math.Float64frombits(s.value))
	case temporal, ordered:
		if w.rules[s.base]++; w.rules[s.base] == 1 {
			w.met |= 1 << s.base
		}
	case eventCount:
	}
}

func (w *window) leave(s *sighting) {
	switch w.def.kind {
	case valueCount:
		w.values.remove(s.value)
	case sumOf, average:
		w.sum.remove(math.Float64frombits(s.value))
	case percentile:
		w.ranked.remove(math.Float64frombits(s.value))
	case temporal, ordered:
		if w.rules[s.base]--; w.rules[s.base] == 0 {
			w.met &^= 1 << s.base
		}
	case eventCount:
	}
}

// holds is the value that the condition looks at, and whether it is met.
func (w *window) holds(now int64) (v float64, ok bool) {
	d := w.def
	switch d.kind {
	case eventCount:
		v = float64(w.hi - w.lo)
	case valueCount:
		v = float64(w.values.used)
	case sumOf:
		v = w.sum.value()
	case average:
		v = w.sum.value() / float64(w.hi-w.lo)
	case percentile:
		v = w.ranked.share(d.share)
	case temporal:
		v = float64(bits.OnesCount64(w.met))
		if d.logic != nil {
			return v, d.logic.Holds(w.met)
		}
	case ordered:
		for k := range d.chains {
			c := &d.chains[k]
			ok = ok || w.starts[c.first+c.length-1] >= now-d.span
		}
		return float64(bits.OnesCount64(w.met)), ok
	}
	return v, d.met(v)
}

// trim lets go of what no late event can need any more. Those were looked at, so
// nothing changes.
func (w *window) trim() {
	oldest := w.last - w.def.keep
	for w.head < w.lo && w.items[w.head].at < oldest {
		w.drop()
	}
	w.compact()
}

// evict drops the oldest sighting, though it may still count. It says whether it
// did.
func (w *window) evict() (counted bool) {
	if w.head == w.lo {
		w.leave(&w.items[w.head])
		w.lo++
		counted = true
	}
	w.drop()
	w.compact()
	return counted
}

func (w *window) drop() {
	s := &w.items[w.head]
	if w.gone = s.fired; s.leads {
		w.origins[w.head].match = nil // which is big; the id is freed by compact
	}
	w.head++
}

// compact moves what is left to the front when half is gone, so that each
// sighting is moved once for each that came.
func (w *window) compact() {
	if w.head < 8 || 2*w.head < len(w.items) {
		return
	}
	w.items = w.items[:copy(w.items, w.items[w.head:])]
	n := copy(w.origins, w.origins[w.head:])
	clear(w.origins[n:])
	w.origins = w.origins[:n]
	if k := len(w.def.chains); k > 0 {
		m := copy(w.undo, w.undo[w.head*k:])
		w.undo = w.undo[:m]
	}
	w.lo -= w.head
	w.hi -= w.head
	w.head = 0
}
