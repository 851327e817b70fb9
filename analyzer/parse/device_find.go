package parse

import (
	"strings"

	"fengsui/schemas/devices"
)

// maxDetect is how much of a line is looked through for what devices are
// recognised by, in bytes.
const maxDetect = 2048

// finder recognises devices by their lines. One pass over the line meets the
// literals of all of them, so that thirty devices cost what one does.
type finder struct {
	machine  literals
	known    []detection // by the number of their literal
	programs map[string][]*detection
	msgids   []*detection // without a literal in the line
}

// detection is one way to recognise a device.
type detection struct {
	device *device
	detect *devices.Detect
	weight int // bytes that it asks for: of several devices the most exact is it
}

func newFinder(all []*device) *finder {
	f := &finder{programs: map[string][]*detection{}}
	var words []string
	for _, d := range all {
		for i := range d.file.Detect {
			of := detection{device: d, detect: &d.file.Detect[i]}
			literal := of.literal()
			of.weight = of.weigh()
			switch {
			case literal != "":
				words = append(words, literal)
				f.known = append(f.known, of)
			case of.detect.Program != "":
				f.programs[of.detect.Program] = append(f.programs[of.detect.Program], &of)
			default:
				f.msgids = append(f.msgids, &of)
			}
		}
	}
	f.machine = newLiterals(words)
	return f
}

// literal is the longest text that the line must have, or "".
func (d *detection) literal() string {
	best := d.detect.Starts
	for _, s := range d.detect.Contains {
		if len(s) > len(best) {
			best = s
		}
	}
	for _, s := range d.detect.Keys {
		if len(s) >= len(best) {
			best = s + "="
		}
	}
	return best
}

func (d *detection) weigh() int {
	n := 2*len(d.detect.Starts) + len(d.detect.Program) + len(d.detect.MsgID)
	for _, s := range d.detect.Contains {
		n += len(s)
	}
	for _, s := range d.detect.Keys {
		n += len(s) + 1
	}
	return n
}

// find is the device that a line is of, or nil.
func (f *finder) find(h *header, trace *Explanation) *detection {
	text := noSpaces(h.content)
	text = text[:min(len(text), maxDetect)]
	var best *detection
	consider := func(d *detection) {
		if best != nil && d.weight <= best.weight && trace == nil || !d.holds(h, text) {
			return
		}
		if best == nil || d.weight > best.weight {
			best = d
		}
		if trace != nil {
			trace.detect = append(trace.detect, d.detect.Line)
		}
	}
	f.machine.each(text, func(i int) { consider(&f.known[i]) })
	for _, d := range f.programs[h.app] {
		consider(d)
	}
	if h.msgid != "" {
		for _, d := range f.msgids {
			consider(d)
		}
	}
	return best
}

func (d *detection) holds(h *header, text string) bool {
	of := d.detect
	if !strings.HasPrefix(text, of.Starts) || of.Program != "" && of.Program != h.app || of.MsgID != "" && !matchesEnd(of.MsgID, h.msgid) {
		return false
	}
	for _, s := range of.Contains {
		if !strings.Contains(text, s) {
			return false
		}
	}
	for _, s := range of.Keys {
		if !hasKey(text, s) {
			return false
		}
	}
	return true
}

// matchesEnd compares with a text that may have a * for its end.
func matchesEnd(pattern, s string) bool {
	prefix, ok := strings.CutSuffix(pattern, "*")
	return ok && strings.HasPrefix(s, prefix) || pattern == s
}

// hasKey says that key= stands in the text, not as the end of a longer key.
func hasKey(text, key string) bool {
	for i := 0; ; {
		n := strings.Index(text[i:], key)
		if n < 0 {
			return false
		}
		i += n
		end := i + len(key)
		if end < len(text) && text[end] == '=' && (i == 0 || !isAlnum(text[i-1]) && text[i-1] != '_') {
			return true
		}
		i = end
	}
}

// literals is the automaton of Aho and Corasick over bytes, those that no
// literal has being one. A state's number is where its row begins in next; those
// in which a literal ends are the last, so that one comparison tells.
type literals struct {
	classes [256]uint8
	width   int
	next    []uint32  // state + class
	ending  uint32    // the first state in which a literal ends
	found   [][]int32 // literals that end in the state, from ending on
}

func newLiterals(words []string) literals {
	l := literals{width: 1}
	for _, w := range words {
		for i := range len(w) {
			if l.classes[w[i]] == 0 {
				l.classes[w[i]] = uint8(l.width)
				l.width++
			}
		}
	}
	const none = ^uint16(0)
	var next []uint16
	var found [][]int32
	state := func() uint16 {
		for range l.width {
			next = append(next, none)
		}
		found = append(found, nil)
		return uint16(len(found) - 1)
	}
	state()
	for i, w := range words {
		at := uint16(0)
		for j := range len(w) {
			e := int(at)*l.width + int(l.classes[w[j]])
			if next[e] == none {
				next[e] = state()
			}
			at = next[e]
		}
		found[at] = append(found[at], int32(i))
	}
	fail := make([]uint16, len(found))
	queue := make([]uint16, 0, len(found))
	for c := range l.width {
		if to := next[c]; to == none {
			next[c] = 0
		} else {
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		found[at] = append(found[at], found[fail[at]]...)
		for c := range l.width {
			e, back := int(at)*l.width+c, next[int(fail[at])*l.width+c]
			if next[e] == none {
				next[e] = back
				continue
			}
			fail[next[e]] = back
			queue = append(queue, next[e])
		}
	}
	l.order(next, found)
	return l
}

// order gives the states their numbers.
func (l *literals) order(next []uint16, found [][]int32) {
	number := make([]uint32, len(found))
	states := make([]int, 0, len(found))
	for _, ends := range []bool{false, true} {
		if ends {
			l.ending = uint32(len(states) * l.width) //nolint:gosec // of at most 65,535 states
		}
		for at := range found {
			if len(found[at]) > 0 == ends {
				number[at] = uint32(len(states) * l.width) //nolint:gosec // likewise
				states = append(states, at)
			}
		}
	}
	for _, at := range states {
		for c := range l.width {
			l.next = append(l.next, number[next[at*l.width+c]])
		}
		if len(found[at]) > 0 {
			l.found = append(l.found, found[at])
		}
	}
}

// each calls f for each literal where it ends in s.
func (l *literals) each(s string, f func(i int)) {
	at := uint32(0)
	for i := range len(s) {
		at = l.next[at+uint32(l.classes[s[i]])]
		if at < l.ending {
			continue
		}
		for _, n := range l.found[int(at-l.ending)/l.width] {
			f(int(n))
		}
	}
}
