package match

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/expr-lang/expr/ast"
)

// The index is derived from the programs. A program is and, or and not over
// predicates; whatever of it asks one field alone becomes an atom: a formula of
// one field's predicates without a not. An atom's truth depends on the field's
// value and on nothing else, so it is worked out once for each value (values.go),
// and a rule is what is left: a short formula over atoms, of which some must
// hold before the rule can (plan.go). The program itself is only run where it has
// something that the index cannot read.

// formula is a program for the index.
type formula struct {
	kind formulaKind
	id   int32 // of the atom or predicate
	kids []*formula
}

type formulaKind uint8

const (
	isNo formulaKind = iota
	isYes
	isAtom
	isPredicate // inside an atom; outside one that belongs to no single field
	isAnd
	isOr
	isNot
	isProgram // what the index cannot read: only the program knows
)

var (
	formulaNo      = &formula{kind: isNo}
	formulaYes     = &formula{kind: isYes}
	formulaProgram = &formula{kind: isProgram}
)

// atom is a formula over predicates of one slot that holds only if one of them
// does.
type atom struct {
	slot  int32
	body  *formula
	prior float32 // how often it is expected to hold, before anything was seen
}

// index is what the programs of an engine are made of.
type index struct {
	atoms  []atom
	byText map[string]int32
	makes  [][]int32 // of each predicate: the atoms that hold whenever it does
	joins  [][]int32 // and others, each of which needs one of those that lead to it
	values []*slotIndex
}

// newIndex reads the programs and sets the formula of each rule.
func newIndex(e *Engine) *index {
	x := &index{byText: map[string]int32{}, makes: make([][]int32, len(e.predicates)), joins: make([][]int32, len(e.predicates))}
	r := formulaReader{e, x}
	for _, c := range e.rules {
		c.formula = r.rule(c.program.Node())
		c.formula.eachAtom(func(a int32) {
			if slot := x.atoms[a].slot; !slices.Contains(c.asks, slot) {
				c.asks = append(c.asks, slot)
				c.shaped = c.shaped || e.settled[slot]
			}
		})
		c.words = slices.Contains(c.asks, e.wordSlot())
	}
	bySlot := make([][]int32, len(e.slots))
	for id := range e.predicates {
		if s := r.slotOf(int32(id)); s != noSlot && s != e.wordSlot() { //nolint:gosec // bounded by the rules
			bySlot[s] = append(bySlot[s], int32(id)) //nolint:gosec // as above
		}
	}
	for _, ids := range bySlot {
		x.values = append(x.values, newSlotIndex(e.predicates, ids))
	}
	x.byText = nil
	return x
}

type formulaReader struct {
	e *Engine
	x *index
}

const noSlot = -1

// slotOf is the slot that a predicate alone depends on; that of the whole event
// comes after those of fields.
func (r formulaReader) slotOf(id int32) int32 {
	p := r.e.predicates[id]
	switch {
	case p.test.other != nil:
		return noSlot
	case p.slot < 0:
		return int32(len(r.e.slots)) //nolint:gosec // bounded by the rules
	}
	return int32(p.slot) //nolint:gosec // as above
}

func (r formulaReader) rule(n ast.Node) *formula {
	f := read(n)
	if f.unreadable() {
		return formulaProgram
	}
	return r.close(r.group(f))
}

// unreadable says that there is something in the formula that only the program
// knows.
func (f *formula) unreadable() bool {
	return f.kind == isProgram || slices.ContainsFunc(f.kids, (*formula).unreadable)
}

// read turns a program's tree into a formula over predicates, in which no and
// stands directly in an and, and no or in an or.
func read(n ast.Node) *formula {
	switch n := n.(type) {
	case *ast.BoolNode:
		if n.Value {
			return formulaYes
		}
		return formulaNo
	case *ast.UnaryNode:
		if n.Operator == "not" || n.Operator == "!" {
			return negate(read(n.Node))
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "and", "&&":
			return combine(isAnd, read(n.Left), read(n.Right))
		case "or", "||":
			return combine(isOr, read(n.Left), read(n.Right))
		}
	case *ast.CallNode:
		if id, ok := predicateCall(n); ok {
			return &formula{kind: isPredicate, id: int32(id)} //nolint:gosec // bounded by the rules
		}
	}
	return formulaProgram
}

func negate(f *formula) *formula {
	switch f.kind {
	case isYes:
		return formulaNo
	case isNo:
		return formulaYes
	case isNot:
		return f.kids[0]
	}
	return &formula{kind: isNot, kids: []*formula{f}}
}

// combine joins formulas by and or by or, and settles what is settled.
func combine(kind formulaKind, kids ...*formula) *formula {
	neutral, deciding := isYes, isNo
	if kind == isOr {
		neutral, deciding = isNo, isYes
	}
	var out []*formula
	for _, k := range kids {
		switch k.kind {
		case neutral:
		case deciding:
			return k
		case kind:
			out = append(out, k.kids...)
		default:
			out = append(out, k)
		}
	}
	switch len(out) {
	case 0:
		if kind == isOr {
			return formulaNo
		}
		return formulaYes
	case 1:
		return out[0]
	}
	slices.SortStableFunc(out, func(x, y *formula) int { return x.dear() - y.dear() })
	return &formula{kind: kind, kids: out}
}

// dear puts last what is not remembered for a value: comparing two fields.
func (f *formula) dear() int {
	switch f.kind {
	case isPredicate:
		return 1
	case isNot:
		return f.kids[0].dear()
	}
	return 0
}

// group finds atoms. What it returns is open while it may still become part of
// a larger atom of the slot; with noSlot it is done.
func (r formulaReader) group(f *formula) (*formula, int32) {
	switch f.kind {
	case isPredicate:
		return f, r.slotOf(f.id)
	case isNot:
		kid, slot := r.group(f.kids[0])
		return negate(r.close(kid, slot)), noSlot
	case isAnd, isOr:
	default:
		return f, noSlot
	}
	var (
		done  []*formula
		slots []int32
		open  = map[int32][]*formula{}
	)
	for _, k := range f.kids {
		k, slot := r.group(k)
		if slot == noSlot {
			done = append(done, k)
			continue
		}
		if open[slot] == nil {
			slots = append(slots, slot)
		}
		open[slot] = append(open[slot], k)
	}
	if len(done) == 0 && len(slots) == 1 {
		return combine(f.kind, open[slots[0]]...), slots[0]
	}
	for _, s := range slots {
		done = append(done, r.close(combine(f.kind, open[s]...), s))
	}
	return combine(f.kind, done...), noSlot
}

// close makes an atom of what is open.
func (r formulaReader) close(f *formula, slot int32) *formula {
	if slot == noSlot {
		return f
	}
	var text strings.Builder
	f.write(&text)
	id, ok := r.x.byText[text.String()]
	if !ok {
		id = int32(len(r.x.atoms)) //nolint:gosec // bounded by the rules
		r.x.byText[text.String()] = id
		r.x.atoms = append(r.x.atoms, atom{slot: slot, body: f, prior: r.prior(f)})
		for _, p := range r.needed(nil, f) {
			of := r.x.joins
			if f.madeBy(p) {
				of = r.x.makes
			}
			if n := len(of[p]); n == 0 || of[p][n-1] != id {
				of[p] = append(of[p], id)
			}
		}
	}
	return &formula{kind: isAtom, id: id}
}

// needed appends predicates of which one holds whenever the atom does: of those
// that must hold together the one that is expected least.
func (r formulaReader) needed(to []int32, f *formula) []int32 {
	switch f.kind {
	case isPredicate:
		return append(to, f.id)
	case isAnd:
		return r.needed(to, slices.MinFunc(f.kids, func(a, b *formula) int { return cmp.Compare(r.prior(a), r.prior(b)) }))
	}
	for _, k := range f.kids {
		to = r.needed(to, k)
	}
	return to
}

// madeBy says that the formula holds whenever the predicate does.
func (f *formula) madeBy(p int32) bool {
	return f.kind == isPredicate && f.id == p || f.kind == isOr && slices.ContainsFunc(f.kids, func(k *formula) bool { return k.madeBy(p) })
}

func (f *formula) write(b *strings.Builder) {
	fmt.Fprintf(b, "%d:%d(", f.kind, f.id)
	for _, k := range f.kids {
		k.write(b)
	}
	b.WriteByte(')')
}

// each calls do for every predicate of an atom.
func (f *formula) each(do func(predicate int32)) {
	if f.kind == isPredicate {
		do(f.id)
	}
	for _, k := range f.kids {
		k.each(do)
	}
}

// prior guesses how often an atom holds: long texts are rare, several are
// likelier than one.
func (r formulaReader) prior(f *formula) float32 {
	switch f.kind {
	case isPredicate:
		return r.e.predicates[f.id].prior()
	case isAnd:
		least := float32(1)
		for _, k := range f.kids {
			least = min(least, r.prior(k))
		}
		return least * 0.7
	}
	var sum float32
	for _, k := range f.kids {
		sum += r.prior(k)
	}
	return min(sum, 0.9)
}

func (p *predicate) prior() float32 {
	one := float32(0.1)
	switch p.test.op {
	case opExists, opNull:
		return 0.6
	case opGt, opGte, opLt, opLte:
		return 0.4
	case opCIDR:
		return 0.3
	case opRe, opLike:
		one = 0.02
	case opIs:
		one = 0.03
	case opHas, opWord, opStarts, opEnds:
		one = 0
		for _, t := range p.texts {
			one += float32(math.Pow(0.8, float64(len(t)))) * 0.3
		}
		return min(one+0.001, 0.9)
	}
	return min(one*float32(max(1, len(p.test.want))), 0.9)
}

// slotIndex finds the predicates of one slot that hold for a text, without
// asking each.
type slotIndex struct {
	predicates []*predicate // of the engine
	exact      map[string][]int32
	parts      [gramBytes]part // texts by their length, the last for all longer ones
	ask        []int32         // predicates that nothing can be known of beforehand
	there      []int32         // those that hold for every value
	missing    []int32         // those that hold without one
}

// part is texts of one length, with what each means.
type part struct {
	found *literals
	uses  [][]use
}

// use says what a text that was found means to a predicate.
type use struct {
	predicate int32
	how       op // opHas, opStarts or opEnds; with opLike the predicate is asked
}

func newSlotIndex(predicates []*predicate, ids []int32) *slotIndex {
	x := &slotIndex{predicates: predicates}
	var byText [gramBytes]map[string]int
	var texts [gramBytes][]string
	for _, id := range ids {
		p := predicates[id]
		switch p.test.op {
		case opExists:
			x.there = append(x.there, id)
			continue
		case opNull:
			x.missing = append(x.missing, id)
			continue
		}
		keys, how := p.keys()
		if keys == nil || p.test.fn != asIs {
			x.ask = append(x.ask, id)
			continue
		}
		for _, key := range keys {
			if how == opIs {
				if x.exact == nil {
					x.exact = map[string][]int32{}
				}
				x.exact[key] = append(x.exact[key], id)
				continue
			}
			k := min(len(key), gramBytes) - 1
			n, ok := byText[k][key]
			if !ok {
				if byText[k] == nil {
					byText[k] = map[string]int{}
				}
				n = len(texts[k])
				byText[k][key] = n
				texts[k] = append(texts[k], key)
				x.parts[k].uses = append(x.parts[k].uses, nil)
			}
			x.parts[k].uses[n] = append(x.parts[k].uses[n], use{id, how})
		}
	}
	for k := range texts {
		if len(texts[k]) > 0 {
			x.parts[k].found = newLiterals(texts[k])
		}
	}
	return x
}

// texts are all that are looked for, of which one must be in a text for any
// predicate to hold, save those of ask.
func (x *slotIndex) texts() []string {
	var out []string
	for k := range x.parts {
		if x.parts[k].found != nil {
			out = append(out, x.parts[k].found.texts...)
		}
	}
	return out
}

// keys are folded texts of which one must be in any folded text that meets the
// predicate, and what it means that one is; nil if there are none such.
func (p *predicate) keys() ([]string, op) {
	switch {
	case p.letters != nil:
		return nil, opLike
	case p.test.op == opRe || p.test.op == opWordRe:
		return p.required, opLike
	case p.test.op == opLike || p.test.op == opWordLike:
		var keys []string
		for _, g := range p.globs {
			key := ""
			for _, e := range g {
				if t := fold(e.text); e.kind == lit && len(t) > len(key) {
					key = t
				}
			}
			keys = append(keys, key)
		}
		return someOf(keys), opLike
	case p.test.cased:
		var keys []string
		for _, t := range p.texts {
			keys = append(keys, fold(t))
		}
		return someOf(keys), opLike
	}
	switch p.test.op {
	case opIs:
		return p.texts, opIs
	case opStarts, opEnds:
		return someOf(p.texts), p.test.op
	case opHas, opWord:
		return someOf(p.texts), opHas
	}
	return nil, opLike
}

// someOf is nil where one of the keys is empty, which says nothing.
func someOf(keys []string) []string {
	if slices.Contains(keys, "") {
		return nil
	}
	return keys
}

// finding is the memory of looking predicates up.
type finding struct {
	turn  uint32
	holds []uint32 // the turn in which a predicate was found to hold
	texts uint32   // how many texts were looked at
	asked []uint32 // the text that a predicate was last asked of
	atoms []uint32 // the turn in which an atom was looked at
	found []int32
	later []int32 // expressions that may match, which cost too much to try unasked
	yes   []int32 // atoms that hold
	maybe []int32 // and that wait for what is later

	entries []*entry          // that were made, by number
	byFound map[string]uint32 // their numbers by what was found
	key     []int32
}

func newFinding(e *Engine) *finding {
	return &finding{
		holds: make([]uint32, len(e.predicates)),
		asked: make([]uint32, len(e.predicates)),
		atoms: make([]uint32, len(e.index.atoms)),

		entries: []*entry{nothing},
		byFound: map[string]uint32{},
	}
}

// forget forgets the entries. Numbers are given anew.
func (f *finding) forget() {
	f.entries = slices.Delete(f.entries, 1, len(f.entries))
	clear(f.byFound)
}

func (f *finding) begin() {
	f.found, f.later, f.yes, f.maybe = f.found[:0], f.later[:0], f.yes[:0], f.maybe[:0]
	if f.turn++; f.turn == 0 {
		clear(f.holds)
		clear(f.atoms)
		f.turn = 1
	}
}

func (f *finding) add(ids ...int32) {
	for _, id := range ids {
		if f.holds[id] != f.turn {
			f.holds[id] = f.turn
			f.found = append(f.found, id)
		}
	}
}

// text adds the predicates that hold for one text.
func (x *slotIndex) text(f *finding, text, folded string) {
	f.add(x.there...)
	ask := func(id int32) {
		if f.holds[id] != f.turn && x.predicates[id].meets(text, folded) {
			f.add(id)
		}
	}
	for _, id := range x.ask {
		if p := x.predicates[id]; p.test.op == opRe && p.test.fn == asIs {
			if p.mayMatch(folded) {
				f.wait(id)
			}
		} else {
			ask(id)
		}
	}
	for _, id := range x.exact[folded] {
		f.add(id)
	}
	if f.texts++; f.texts == 0 {
		clear(f.asked)
		f.texts = 1
	}
	for k := range x.parts {
		part := &x.parts[k]
		if part.found == nil {
			continue
		}
		part.found.find(bytesOf(folded), func(n int32, at int) bool {
			end := at + len(part.found.texts[n])
			for _, u := range part.uses[n] {
				switch u.how {
				case opHas:
					f.add(u.predicate)
				case opStarts:
					if at == 0 {
						f.add(u.predicate)
					}
				case opEnds:
					if end == len(folded) {
						f.add(u.predicate)
					}
				default:
					if f.asked[u.predicate] == f.texts {
						continue
					}
					f.asked[u.predicate] = f.texts
					if p := x.predicates[u.predicate]; p.test.op != opRe {
						ask(u.predicate)
					} else if p.mayMatch(folded) {
						f.wait(u.predicate)
					}
				}
			}
			return true
		})
	}
}

func (f *finding) wait(id int32) {
	if !slices.Contains(f.later, id) {
		f.later = append(f.later, id)
	}
}

// known is what was found of a predicate.
func (f *finding) known(leaf *formula) truth {
	id := leaf.id
	switch {
	case f.holds[id] == f.turn:
		return yes
	case len(f.later) > 0 && slices.Contains(f.later, id):
		return unknown
	}
	return no
}

// first says that the atom was not looked at yet.
func (f *finding) first(atom int32) bool {
	if f.atoms[atom] == f.turn {
		return false
	}
	f.atoms[atom] = f.turn
	return true
}

// result is the entry of what was found.
func (f *finding) result(x *index) *entry {
	if len(f.found)+len(f.later) == 0 {
		return nothing
	}
	slices.Sort(f.found)
	slices.Sort(f.later)
	f.key = append(append(append(f.key[:0], f.found...), noSlot), f.later...)
	key := bytesOfNumbers(f.key)
	if n, ok := f.byFound[string(key)]; ok {
		return f.entries[n]
	}
	e := f.entry(x)
	e.number = uint32(len(f.entries)) //nolint:gosec // bounded by maxEntries and what one event has
	f.entries = append(f.entries, e)
	f.byFound[string(key)] = e.number
	return e
}

// entry makes one, with the atoms that hold by what was found.
func (f *finding) entry(x *index) *entry {
	for _, p := range f.found {
		for _, id := range x.makes[p] {
			if f.first(id) {
				f.yes = append(f.yes, id)
			}
		}
	}
	for _, p := range f.later {
		for _, id := range x.makes[p] {
			if f.first(id) {
				f.maybe = append(f.maybe, id)
			}
		}
	}
	for _, found := range [...][]int32{f.found, f.later} {
		for _, p := range found {
			for _, id := range x.joins[p] {
				if !f.first(id) {
					continue
				}
				switch partial(x.atoms[id].body, f.known) {
				case yes:
					f.yes = append(f.yes, id)
				case unknown:
					f.maybe = append(f.maybe, id)
				}
			}
		}
	}
	slices.Sort(f.yes)
	return &entry{
		says:  len(f.yes)+len(f.maybe) > 0,
		atoms: slices.Clone(f.yes), maybe: slices.Clone(f.maybe),
		predicates: slices.Clone(f.found), later: slices.Clone(f.later),
	}
}

// bytesOfNumbers are the numbers' own bytes, which nobody may change meanwhile.
func bytesOfNumbers(n []int32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(n))), 4*len(n))
}
