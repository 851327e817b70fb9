package match

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// automaton looks for one regular expression in texts, a table look-up for a
// character: what package regexp works out anew at every character is worked out
// once and kept. It answers only whether there is a match. Tables are bounded:
// where an expression needs more of them, the automaton declines, and is given up
// after a few times. It is for one goroutine at a time.
//
// A state is the instructions of the program that wait for the next character,
// before assertions (^, \b …) are looked at, since those depend on that
// character, with what the assertions ask of the character before.
type automaton struct {
	*classes
	prog     *syntax.Prog
	anchored bool
	known    map[string]int32 // states by their keys
	states   []automatonState
	next     []int32 // by state and class: the row of the state that follows, or one of those below
	bytes    int     // of all this
	start    int32
	declined int

	set   []uint32 // what a state is made of, meanwhile
	stack []uint32
	seen  []uint32 // by instruction: the turn in which it was met
	turn  uint32
	key   []byte
}

type automatonState struct {
	waiting []uint32 // instructions, in order
	before  rune     // stands for the kind of character before; -1 is the text's beginning
}

// What stands in next besides rows, which begin after them.
const (
	nextUnknown int32 = iota
	nextMatch
	nextNever
	nextCount
)

// Limits of one automaton.
const (
	maxAutomaton = 512 << 10 // bytes
	maxDeclined  = 8         // times, after which it is given up
	maxClasses   = 200
	maxProgram   = 4096 // instructions
)

// classes are kinds of characters that an expression does not tell apart.
type classes struct {
	ascii   [utf8.RuneSelf]uint8
	from    []rune  // where intervals begin, in order
	of      []uint8 // the class of each interval
	member  []rune  // one of each class
	asserts bool    // the program has assertions
	words   bool    // of word boundaries
}

func newClasses(prog *syntax.Prog) *classes {
	c := &classes{}
	cuts := []rune{0, utf8.RuneSelf, '\n', '\n' + 1}
	for i := range prog.Inst {
		in := &prog.Inst[i]
		switch in.Op {
		case syntax.InstEmptyWidth:
			c.asserts = true
			c.words = c.words || syntax.EmptyOp(in.Arg)&(syntax.EmptyWordBoundary|syntax.EmptyNoWordBoundary) != 0
		case syntax.InstRune, syntax.InstRune1:
			cuts = appendCuts(cuts, in)
		}
	}
	if c.words {
		cuts = append(cuts, '0', '9'+1, 'A', 'Z'+1, '_', '_'+1, 'a', 'z'+1)
	}
	slices.Sort(cuts)
	cuts = slices.Compact(cuts)
	byKind := map[string]uint8{}
	for _, r := range cuts {
		kind := c.kind(prog, r)
		k, ok := byKind[kind]
		if !ok {
			if len(byKind) >= maxClasses {
				return nil
			}
			k = uint8(len(byKind)) //nolint:gosec // at most maxClasses
			byKind[kind] = k
			c.member = append(c.member, r)
		}
		c.from, c.of = append(c.from, r), append(c.of, k)
	}
	for r := range c.ascii {
		c.ascii[r] = c.search(rune(r))
	}
	return c
}

// appendCuts appends where what an instruction takes begins and ends.
func appendCuts(cuts []rune, in *syntax.Inst) []rune {
	if len(in.Rune) != 1 {
		for i := 0; i+1 < len(in.Rune); i += 2 {
			cuts = append(cuts, in.Rune[i], in.Rune[i+1]+1)
		}
		return cuts
	}
	r := in.Rune[0]
	cuts = append(cuts, r, r+1)
	if syntax.Flags(in.Arg)&syntax.FoldCase != 0 {
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			cuts = append(cuts, f, f+1)
		}
	}
	return cuts
}

// kind tells characters apart by what instructions and assertions make of them.
func (c *classes) kind(prog *syntax.Prog, r rune) string {
	kind := []byte{0}
	if c.asserts && r == '\n' {
		kind[0] |= 1
	}
	if c.words && syntax.IsWordChar(r) {
		kind[0] |= 2
	}
	for i := range prog.Inst {
		if takes(&prog.Inst[i], r) {
			kind = binary.AppendUvarint(kind, uint64(i)) //nolint:gosec // not negative
		}
	}
	return string(kind)
}

// takes says whether the instruction takes the character.
func takes(in *syntax.Inst, r rune) bool {
	switch in.Op {
	case syntax.InstRune, syntax.InstRune1:
		return in.MatchRune(r)
	case syntax.InstRuneAny:
		return true
	case syntax.InstRuneAnyNotNL:
		return r != '\n'
	}
	return false
}

func (c *classes) search(r rune) uint8 {
	i, found := slices.BinarySearch(c.from, r)
	if !found {
		i--
	}
	return c.of[i]
}

func (c *classes) end() int32   { return int32(len(c.member)) } //nolint:gosec // at most maxClasses
func (c *classes) width() int32 { return c.end() + 1 }

func newAutomaton(prog *syntax.Prog, c *classes) *automaton {
	a := &automaton{
		classes: c, prog: prog,
		anchored: prog.StartCond()&syntax.EmptyBeginText != 0,
		seen:     make([]uint32, len(prog.Inst)),
	}
	a.reset()
	return a
}

// reset forgets all states but the first.
func (a *automaton) reset() {
	a.known, a.states, a.next, a.bytes = map[string]int32{}, nil, make([]int32, nextCount), 0
	a.start = a.row(automatonState{before: -1})
}

// row is where the state's transitions stand.
func (a *automaton) row(s automatonState) int32 {
	key := binary.AppendVarint(a.key[:0], int64(s.before))
	for _, pc := range s.waiting {
		key = binary.AppendUvarint(key, uint64(pc))
	}
	a.key = key
	if row, ok := a.known[string(key)]; ok {
		return row
	}
	row := int32(len(a.next)) //nolint:gosec // bounded by maxAutomaton
	a.known[string(key)] = row
	a.states = append(a.states, automatonState{slices.Clone(s.waiting), s.before})
	a.next = append(a.next, make([]int32, a.width())...)
	a.bytes += 64 + len(key) + 4*len(s.waiting) + 4*int(a.width())
	return row
}

// match says whether the expression matches in the text, beginning at from or
// later; ok is false where the tables do not suffice to tell.
func (a *automaton) match(text string, from int) (holds, ok bool) {
	row := a.start
	if from > 0 {
		before, _ := utf8.DecodeLastRuneInString(text[:from])
		row = a.row(automatonState{before: a.kindBefore(before)})
	}
	for i := from; i < len(text); {
		var class uint8
		if c := text[i]; c < utf8.RuneSelf {
			class = a.ascii[c]
			i++
		} else {
			r, n := utf8.DecodeRuneInString(text[i:])
			class = a.search(r)
			i += n
		}
		next := a.next[row+int32(class)]
		if next < nextCount {
			if next == nextUnknown {
				next = a.step(row, int32(class))
			}
			switch next {
			case nextMatch:
				return true, true
			case nextNever:
				return false, true
			case nextUnknown:
				a.declined++
				a.reset()
				return false, false
			}
		}
		row = next
	}
	last := a.next[row+a.end()]
	if last == nextUnknown {
		last = a.step(row, a.end())
	}
	return last == nextMatch, true
}

// step works a transition out and notes it. It is unknown where the state that
// follows would take too much memory.
func (a *automaton) step(row, class int32) int32 {
	if a.bytes > maxAutomaton && class != a.end() {
		return nextUnknown
	}
	s := a.states[(row-nextCount)/a.width()]
	next := a.follow(s, class)
	a.next[row+class] = next
	return next
}

func (a *automaton) follow(s automatonState, class int32) int32 {
	after := rune(-1)
	if class != a.end() {
		after = a.member[class]
	}
	asserted := syntax.EmptyOpContext(s.before, after)
	if a.turn++; a.turn == 0 {
		clear(a.seen)
		a.turn = 1
	}
	a.set = a.set[:0]
	a.stack = append(a.stack[:0], s.waiting...)
	a.stack = append(a.stack, uint32(a.prog.Start)) //nolint:gosec // at most maxProgram; a match may begin anywhere
	for len(a.stack) > 0 {
		pc := a.stack[len(a.stack)-1]
		a.stack = a.stack[:len(a.stack)-1]
		if a.seen[pc] == a.turn {
			continue
		}
		a.seen[pc] = a.turn
		in := &a.prog.Inst[pc]
		switch in.Op {
		case syntax.InstMatch:
			return nextMatch
		case syntax.InstAlt, syntax.InstAltMatch:
			a.stack = append(a.stack, in.Out, in.Arg)
		case syntax.InstCapture, syntax.InstNop:
			a.stack = append(a.stack, in.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(in.Arg)&^asserted == 0 {
				a.stack = append(a.stack, in.Out)
			}
		case syntax.InstFail:
		default:
			if after >= 0 && takes(in, after) {
				a.set = append(a.set, in.Out)
			}
		}
	}
	if len(a.set) == 0 && a.anchored || class == a.end() {
		return nextNever
	}
	slices.Sort(a.set)
	return a.row(automatonState{slices.Compact(a.set), a.kindBefore(after)})
}

// kindBefore stands for all characters that assertions do not tell apart.
func (a *automaton) kindBefore(r rune) rune {
	switch {
	case a.asserts && r == '\n':
		return '\n'
	case a.words && syntax.IsWordChar(r):
		return 'a'
	}
	return ' '
}

// automata are the automata of one expression, as many as goroutines ask at once.
// Nothing is made before the first is needed.
type automata struct {
	want    string
	prefix  string // of all that it matches
	mu      sync.Mutex
	prog    *syntax.Prog
	classes *classes
	free    []*automaton
	given   bool // up
}

// match says whether the expression matches in the text, if that can be told.
func (a *automata) match(text string) (holds, ok bool) {
	from := strings.Index(text, a.prefix)
	if from < 0 {
		return false, true
	}
	one := a.take()
	if one == nil {
		return false, false
	}
	holds, ok = one.match(text, from)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given = a.given || one.declined > maxDeclined; a.given {
		a.free, a.prog, a.classes = nil, nil, nil
	} else {
		a.free = append(a.free, one)
	}
	return holds, ok
}

// take lends an automaton; nil if the expression is given up.
func (a *automata) take() *automaton {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.given {
		return nil
	}
	if n := len(a.free); n > 0 {
		one := a.free[n-1]
		a.free = a.free[:n-1]
		return one
	}
	if a.prog == nil && !a.prepare() {
		a.given = true
		return nil
	}
	return newAutomaton(a.prog, a.classes)
}

// prepare is false for what is too large.
func (a *automata) prepare() bool {
	re, err := syntax.Parse(a.want, syntax.Perl)
	if err != nil { // cannot happen: it was compiled
		return false
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil || len(prog.Inst) > maxProgram {
		return false
	}
	a.prog, a.classes = prog, newClasses(prog)
	return a.classes != nil
}
